"""What a server's GPU memory holds, and how many KV blocks are left: vLLM's own sum, before anything runs.

Contract: `memory_plan` divides the memory of one GPU of an instance as vLLM's profile run does:

    KV cache = share * reported memory - weights - activations - outside - CUDA graphs

`share` is `gpu_memory_utilization`. Weights are those of one GPU of a tensor-parallel group: what is split, and what
every GPU holds (norms, routers, KV heads beyond their number); experts are spread over all groups. Activations are the
peak of one step of the largest batch. All sizes are per GPU and in bytes. Whoever needs a number of KV blocks that
nobody stated asks here; with attention data parallelism it is that of one group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from simulator.errors import UnsupportedError
from simulator.hardware import Hardware
from simulator.model import Model
from simulator.parallelism import Parallelism, as_parallelism
from simulator.steptime.matrices import KEYS_AND_VALUES, Matrix, expert_matrices, layer_matrices, stored_bytes
from simulator.steptime.window import Window, window_of

GIB = 2**30
# vLLM's default share of GPU memory a server may use (`gpu_memory_utilization`), dimensionless.
DEFAULT_SHARE = 0.9
# vLLM's default size of a batch by GPU, as its engine arguments choose it (`get_batch_defaults`): tokens and requests
# of one step where a GPU has at least 70 GiB and is no A100, and elsewhere.
LARGE_GPU_GIB = 70
LARGE_BATCH, SMALL_BATCH = (8192, 1024), (2048, 256)
# Vocabulary is padded to a multiple of this before it is split (`DEFAULT_VOCAB_PADDING_SIZE`), tokens.
VOCABULARY_PADDING = 64
# Bytes per request and token of the vocabulary while sampling: logits, probabilities and random numbers, each in
# 32-bit floats (vLLM's `Sampler` and `random_sample`). Logits of all GPUs are gathered on each.
SAMPLING_BYTES = 3 * 4
# Most of the room for KV that is set aside for sliding windows, dimensionless; see `_hybrid`.
MOST_IN_WINDOWS = 0.5
# Hidden states alive at the peak of a step: a layer's input and the residual.
HIDDEN_STATES = 2
# Most tokens that grouped GEMMs of experts take at once (`VLLM_FUSED_MOE_CHUNK_SIZE`), tokens.
EXPERT_CHUNK = 32768
# Memory beside weights, activations and CUDA graphs, GiB per GPU: libraries and their workspaces; and, where GPUs work
# together, the buffers of NCCL and of vLLM's own all-reduce. What the logs of the dense servers in the project leave
# (vLLM 0.11 and 0.15 on H100, seven with one GPU and four with several), rounded.
OUTSIDE_GIB = 0.3
COMMUNICATION_GIB = 0.7
# Positions up to which the table of sines and cosines of the rotation is part of `OUTSIDE_GIB`, as servers behind that
# have one: 32 MiB for heads of 128. vLLM makes it for all of `max_position_embeddings` (`RotaryEmbedding`), whatever
# length is served: 2.5 GiB for the ten million of Llama 4 Scout.
ROTATED_OUTSIDE = 131_072
# CUDA graphs, GiB per GPU, alone and in a group, whose all-reduces are captured too. vLLM counts them before it sizes
# the KV cache from this version on; until then they took their room from what the share leaves. Calibrated: the mean
# over the KV cache sizes that vLLM 0.19 printed for dense models on H100 (llm-d-planner, accuracy results v0.19.0).
GRAPHS_COUNTED_FROM = (0, 19)
GRAPHS_GIB = 0.3
GROUP_GRAPHS_GIB = 1.45


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """How the memory of one GPU is divided, in bytes.

    Attributes
    ----------
    share, allowed
        Which share of what the GPU reports the server may use (`gpu_memory_utilization`), and how much that is.
    weights, activations, overhead
        What is taken before the KV cache; `overhead` is all that is neither weights nor activations.
    block_bytes
        One KV block on this GPU, of the layers that keep every token.
    windows
        What layers with a sliding window keep, set aside for every request that may run.
    """

    share: float
    allowed: float
    weights: float
    activations: float
    overhead: float
    block_bytes: float
    windows: float = 0.0

    @property
    def room(self) -> float:
        """Bytes left for the KV cache; negative where even the rest does not fit."""
        return self.allowed - self.weights - self.activations - self.overhead - self.windows

    @property
    def kv_blocks(self) -> int:
        """How many KV blocks fit; 0 where there is no room."""
        return max(0, int(self.room / self.block_bytes))

    def gib(self) -> dict[str, float]:
        """Return the parts in GiB, for people."""
        parts = {
            "allowed": self.allowed,
            "weights": self.weights,
            "activations": self.activations,
            "overhead": self.overhead,
            "kv_cache": self.kv_blocks * self.block_bytes,
        }
        return {f"{name}_gib": round(size / GIB, 3) for name, size in parts.items()}


def memory_plan(
    model: Model,
    hardware: Hardware,
    parallelism: Parallelism | int,
    *,
    share: float | None = None,
    block_tokens: int = 16,
    token_budget: int | None = None,
    max_running: int | None = None,
    graphs_counted: bool = True,
) -> MemoryPlan:
    """Divide the memory of one GPU.

    Parameters
    ----------
    parallelism
        How the model is spread; a whole number is tensor parallelism alone.
    share
        `gpu_memory_utilization`; None: vLLM's default.
    token_budget, max_running
        Tokens and requests of the largest batch; None: vLLM's default for this GPU.
    graphs_counted
        Whether the server counts its CUDA graphs before it sizes the KV cache, as vLLM does from 0.19 on.
    """
    tokens, requests = default_batch(hardware)
    share = DEFAULT_SHARE if share is None else share
    parallel = as_parallelism(parallelism)
    tp = parallel.tensor_parallel
    token_bytes = model.kv_bytes_per_token * model.kv_copies(tp) / tp
    plan = MemoryPlan(
        share=share,
        allowed=share * hardware.usable_memory,
        weights=weight_bytes(model, parallel),
        activations=_activation_bytes(model, parallel, token_budget or tokens, max_running or requests),
        overhead=_overhead_gib(parallel.gpus, graphs_counted) * GIB + _rotation_bytes(model),
        block_bytes=block_tokens * token_bytes,
    )
    window = window_of(model)
    return (
        plan if window is None or window.share == 1.0 else _hybrid(plan, window, block_tokens, max_running or requests)
    )


def _hybrid(plan: MemoryPlan, window: Window, block_tokens: int, running: int) -> MemoryPlan:
    """Let sliding layers keep their window alone, as vLLM's hybrid KV cache manager does.

    An assumption stands for its shared pool of blocks: every request that may run holds a full window and one block,
    and windows never take more than half of what is left, as far fewer requests run where memory is scarce.
    """
    held = running * (window.tokens + block_tokens) * window.share * plan.block_bytes / block_tokens
    whole = plan.block_bytes * (1.0 - window.share)
    return replace(plan, block_bytes=whole, windows=max(0.0, min(held, MOST_IN_WINDOWS * plan.room)))


def default_batch(hardware: Hardware) -> tuple[int, int]:
    """Return tokens and requests of the largest batch that vLLM chooses for a GPU where nobody states them."""
    return LARGE_BATCH if _is_large(hardware) else SMALL_BATCH


def require_room(model: Model, hardware: Hardware, parallelism: Parallelism | int, plan: MemoryPlan) -> None:
    """Refuse a model that leaves no room for one KV block.

    Raises
    ------
    UnsupportedError
        Saying what takes how much.
    """
    if plan.kv_blocks:
        return
    share = "nine tenths" if plan.share == DEFAULT_SHARE else f"{plan.share:g}"
    raise UnsupportedError(
        f"{model.id}: its weights leave no room for a KV cache in {share} of the memory of "
        f"{as_parallelism(parallelism).gpus} x "
        f"{hardware.id}: {plan.weights / GIB:.1f} GiB of weights, {plan.activations / GIB:.1f} of activations and "
        f"{plan.overhead / GIB:.1f} of overhead in {plan.allowed / GIB:.1f} GiB per GPU; no server runs like that. "
        "Take more GPUs (tensor_parallel), larger ones, or a larger gpu_memory_utilization"
    )


def weight_bytes(model: Model, parallelism: Parallelism | int) -> float:
    """Return the bytes of a model's weights on one GPU.

    Split are matrices of attention, experts and feed-forward layers, embedding and LM head (one matrix where tied);
    KV heads beyond their number are copied, norms and routers are on every GPU. Experts are split over all GPUs, whole
    or in slices; everything else over those of one group.
    """
    parallel = as_parallelism(parallelism)
    tp = parallel.tensor_parallel
    d, layers, value = model.hidden_size, model.num_hidden_layers, model.activation_bytes
    split = stored_bytes(model, layer_matrices(model), tp)
    split += stored_bytes(model, _further_kv_heads(model)) * (model.kv_copies(tp) - 1)
    experts = stored_bytes(model, expert_matrices(model)) * model.num_local_experts
    split += experts / parallel.attention_data_parallel
    padded = ceil(model.vocab_size / VOCABULARY_PADDING) * VOCABULARY_PADDING
    vocabulary = padded * d * (1 if model.tie_word_embeddings else 2)
    split += (vocabulary + model.encoder_parameters) * value
    everywhere = (layers * 2 * d + model.routed_layers * d * model.num_local_experts) * value
    return split / tp + everywhere


def _further_kv_heads(model: Model) -> list[Matrix]:
    """Return the projections of which GPUs beyond the number of KV heads hold copies."""
    return [matrix for matrix in layer_matrices(model) if matrix.name == KEYS_AND_VALUES]


def _activation_bytes(model: Model, parallel: Parallelism, tokens: int, requests: int) -> float:
    """Return the bytes at the peak of one step of `tokens` tokens and `requests` requests of a group.

    Experts are given the tokens of all groups; a GPU that holds whole ones has room for every visit, as all may be its
    own.
    """
    value, d, tp = model.activation_bytes, model.hidden_size, parallel.tensor_parallel
    sampling = requests * model.vocab_size * SAMPLING_BYTES
    further = model.num_attention_heads * (model.v_head_dim or 0) if model.latent else model.kv_width
    copies = 1 if model.latent else model.kv_copies(tp)
    attention = (2 * model.query_width + 2 * further * copies) / tp
    inner = model.expert_width / tp
    if model.num_local_experts:
        # The workspaces of the grouped GEMMs stay allocated: gate and up or the output of every visit, and the product.
        groups, routed = parallel.attention_data_parallel, model.expert_width / parallel.expert_shards
        at_once = min(tokens * groups, EXPERT_CHUNK)
        held = at_once * model.num_experts_per_tok * (max(2 * routed, d) + routed) * value
        if groups > 1:
            held += groups * tokens * d * value
        inner *= model.n_shared_experts
    else:
        held = 0.0
    layer = tokens * max(3 * inner, attention) * value
    return held + HIDDEN_STATES * tokens * d * value + max(layer, sampling)


def _overhead_gib(gpus: int, graphs_counted: bool) -> float:
    if gpus == 1:
        return OUTSIDE_GIB + (GRAPHS_GIB if graphs_counted else 0.0)
    return OUTSIDE_GIB + COMMUNICATION_GIB + (GROUP_GRAPHS_GIB if graphs_counted else 0.0)


def _rotation_bytes(model: Model) -> float:
    """Return what the table of the rotation takes on every GPU beyond `ROTATED_OUTSIDE`, a value for each dimension.

    A head that is rotated in part is taken to be rotated as a whole; no file that is read says otherwise.
    """
    rotated = model.qk_rope_head_dim if model.latent else model.head_elements
    further = max(0, (model.max_position_embeddings or 0) - ROTATED_OUTSIDE)
    return further * (rotated or 0) * model.activation_bytes


def _is_large(hardware: Hardware) -> bool:
    return hardware.memory_gib.value >= LARGE_GPU_GIB and "a100" not in hardware.id.lower()
