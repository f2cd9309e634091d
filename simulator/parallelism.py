"""How a server spreads one model over its GPUs, and which ways of doing so cannot be.

Contract: a `Parallelism` is what vLLM's options say: `--tensor-parallel-size`, `--data-parallel-size` of a model with
experts, `--enable-expert-parallel`. `require_runnable` refuses, all reasons at once, what no server would start with.
Where only tensor parallelism is meant, its degree alone may be given (`as_parallelism`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from simulator.errors import ConfigError
from simulator.hardware import Hardware
from simulator.model import Model
from simulator.validation import config_error


@dataclass(frozen=True, slots=True)
class Parallelism:
    """The GPUs of one server and what each of them holds.

    Attributes
    ----------
    tensor_parallel
        GPUs that split every matrix outside the experts, and the attention heads of a request, among them.
    attention_data_parallel
        Groups of so many GPUs. Each has all weights outside the experts, and requests and a KV cache of its own;
        experts are spread over all of them, so that all compute a step together.
    expert_parallel
        A GPU holds whole experts, an equal number of them, in place of a slice of each.
    """

    tensor_parallel: int = 1
    attention_data_parallel: int = 1
    expert_parallel: bool = False

    @property
    def gpus(self) -> int:
        """All GPUs of the server."""
        return self.tensor_parallel * self.attention_data_parallel

    @property
    def expert_shards(self) -> int:
        """Into how many slices an expert is cut."""
        return 1 if self.expert_parallel else self.gpus

    def __str__(self) -> str:
        """Say it as people write it: TP 4, or TP 1 x DP 8 with expert parallelism."""
        data = f" x DP {self.attention_data_parallel}" if self.attention_data_parallel > 1 else ""
        return f"TP {self.tensor_parallel}{data}{' with expert parallelism' if self.expert_parallel else ''}"


def as_parallelism(given: Parallelism | int) -> Parallelism:
    """Return what is meant; a whole number is tensor parallelism alone."""
    return given if isinstance(given, Parallelism) else Parallelism(given)


def sharding_problems(model: Model, tensor_parallel: int) -> tuple[str, ...]:
    """Say which head counts do not divide evenly; empty when the model can be run."""
    heads, kv_heads = model.num_attention_heads, model.num_key_value_heads
    found = []
    if heads % kv_heads:
        found.append(f"num_attention_heads {heads} is not divisible by num_key_value_heads {kv_heads}")
    if heads % tensor_parallel:
        found.append(f"num_attention_heads {heads} is not divisible by tensor_parallel {tensor_parallel}")
    if model.head_dim is None and model.hidden_size % heads:
        found.append(f"hidden_size {model.hidden_size} is not divisible by num_attention_heads {heads}; give head_dim")
    return tuple(found)


def require_runnable(model: Model, parallelism: Parallelism | int) -> None:
    """Refuse a model that a server could not spread over its GPUs.

    Raises
    ------
    ConfigError
        Naming everything that is in the way: degrees below 1; heads, KV heads or feed-forward layers that cannot be
        split over as many GPUs; experts that cannot be dealt out evenly; what only a model with experts can do.
    """
    parallel = as_parallelism(parallelism)
    require_degrees(parallel)
    problems = [*sharding_problems(model, parallel.tensor_parallel), *_split_problems(model, parallel)]
    if problems:
        raise config_error(f"model {model.id}", problems)


def require_degrees(parallelism: Parallelism | int) -> None:
    """Refuse a degree of parallelism that is not a whole number of at least 1."""
    parallel = as_parallelism(parallelism)
    for name in ("tensor_parallel", "attention_data_parallel"):
        degree: Any = getattr(parallel, name)
        if not isinstance(degree, int) or isinstance(degree, bool) or degree < 1:
            raise ConfigError(f"{name}: must be a whole number of at least 1 (got {degree!r})")


def require_linked(hardware: Hardware, parallelism: Parallelism | int) -> None:
    """Refuse a server beyond the links of a GPU.

    Raises
    ------
    ConfigError
        If more GPUs are asked for than the links join.
    """
    parallel, linked = as_parallelism(parallelism), hardware.sustained.linked_gpus
    if linked is not None and parallel.gpus > linked.value:
        raise ConfigError(
            f"tensor_parallel: {parallel} is {parallel.gpus} GPUs, but the links of {hardware.id} join {linked.value} "
            f"({linked.source}); communication between servers is not modelled"
        )


def block_warnings(model: Model, parallel: Parallelism) -> Iterator[str]:
    """Say when a GPU's share of a feed-forward layer is no whole number of blocks of quantized weights."""
    shards = parallel.expert_shards if model.num_local_experts else parallel.tensor_parallel
    share, block = model.expert_width // shards, model.quantized_block
    if block is not None and share % block:
        yield (
            f"{model.id}: a width of {model.expert_width} over {shards} GPUs is {share}, no whole number of "
            f"blocks of {block} quantized weights; a server refuses that, unless it puts whole experts on each GPU"
        )


def _split_problems(model: Model, parallel: Parallelism) -> Iterator[str]:
    """Say what else of a model a server could not split evenly over its GPUs."""
    tp, kv_heads = parallel.tensor_parallel, model.num_key_value_heads
    if not model.latent and kv_heads % tp and tp % kv_heads:
        yield f"{model.id} has {kv_heads} KV heads, which {tp} GPUs can neither split nor copy evenly"
    if not model.num_local_experts:
        if model.intermediate_size % tp:
            yield f"intermediate_size {model.intermediate_size} is not divisible by tensor_parallel {tp}"
        yield from _needs_experts(parallel)
        return
    width = "moe_intermediate_size" if model.moe_intermediate_size else "intermediate_size"
    if parallel.expert_parallel and model.num_local_experts % parallel.gpus:
        yield f"expert_parallel: {model.num_local_experts} experts cannot be dealt out evenly over {parallel.gpus} GPUs"
    if model.expert_width % parallel.expert_shards:
        yield f"{width} {model.expert_width} is not divisible by {_shards_in_words(parallel)}"
    if model.n_shared_experts and parallel.expert_parallel and model.expert_width * model.n_shared_experts % tp:
        yield f"shared experts of width {model.expert_width} are not divisible by tensor_parallel {tp}"
    first = model.first_k_dense_replace
    if first and model.intermediate_size % tp:
        yield f"intermediate_size {model.intermediate_size} is not divisible by tensor_parallel {tp}"


def _shards_in_words(parallel: Parallelism) -> str:
    if parallel.attention_data_parallel == 1:
        return f"tensor_parallel {parallel.tensor_parallel}"
    return f"the {parallel.gpus} GPUs of tensor_parallel x attention_data_parallel; put whole experts on each GPU"


def _needs_experts(parallel: Parallelism) -> Iterator[str]:
    if parallel.expert_parallel:
        yield "expert_parallel: the model has no experts; leave it out"
    if parallel.attention_data_parallel > 1:
        yield (
            f"attention_data_parallel {parallel.attention_data_parallel}: the model has no experts, so its copies are "
            "servers of their own: engine.replicas (--replicas)"
        )
