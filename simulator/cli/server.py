"""The server of a run: how its memory is divided, how many KV blocks follow, and which requests it would refuse.

Contract: `server_of` turns what a user states into the engine's options and raises before anything runs where the
model does not fit on its GPUs; `require_served` does where a request is longer than the server is said to take. What
may be meant is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from simulator.engine.options import EngineOptions
from simulator.engine.records import Request, RequestResult, RequestState, RunCounters
from simulator.errors import ConfigError
from simulator.hardware import Hardware
from simulator.memory import DEFAULT_SHARE, GIB, MemoryPlan, default_batch, memory_plan, require_room, weight_bytes
from simulator.model import Model
from simulator.parallelism import Parallelism, as_parallelism
from simulator.steptime.matrices import active_parameters, parameters
from simulator.validation import Count, Efficiency


class ServerOptions(EngineOptions):
    """The engine's options, and what else is decided when a server starts.

    Attributes
    ----------
    gpu_memory_utilization
        Share of each GPU's memory the server may use. KV blocks follow from it, unless `kv_blocks` states them.
    max_model_len_tokens
        Longest prompt plus answer; None: the model's `max_position_embeddings`.
    """

    gpu_memory_utilization: Efficiency = DEFAULT_SHARE
    max_model_len_tokens: Count | None = None

    def stated(self, name: str) -> Any:
        """Return an option the user states, or None."""
        return getattr(self, name) if name in self.model_fields_set else None


@dataclass(frozen=True, slots=True)
class Server:
    """What a server starts with.

    Attributes
    ----------
    plan
        How the memory of one GPU is divided.
    model, parallel
        What it serves, and how that is spread over its GPUs.
    """

    engine: EngineOptions
    plan: MemoryPlan
    options: ServerOptions
    model: Model
    parallel: Parallelism

    def report(self) -> dict[str, Any]:
        """Return the memory of one GPU for people: GiB, the KV blocks of the instance, and what the model counts."""
        parts, blocks = self.plan.gib(), self.engine.kv_blocks
        held = {"kv_cache_gib": round(blocks * self.plan.block_bytes / GIB, 3), "kv_blocks": blocks}
        share = self.options.gpu_memory_utilization
        return {"gpu_memory_utilization": share, **parts, **held, **model_counts(self.model, self.parallel)}


def model_counts(model: Model, parallel: Parallelism) -> dict[str, int]:
    """Return a model's weights, how many of them a token is multiplied by, and bytes of weights and of a token's KV."""
    tp = parallel.tensor_parallel
    return {
        "parameters": parameters(model),
        "active_parameters": active_parameters(model),
        "weight_bytes_per_gpu": round(weight_bytes(model, parallel)),
        "kv_bytes_per_token": model.kv_bytes_per_token,
        "kv_bytes_per_token_per_gpu": round(model.kv_bytes_per_token * model.kv_copies(tp) / tp),
    }


def server_of(options: ServerOptions, model: Model, hardware: Hardware, parallelism: Parallelism | int) -> Server:
    """Return the server of a run; batches nobody states have the size vLLM profiles its memory with.

    Raises
    ------
    ConfigError
        If KV blocks are stated beside the share of memory they would follow from.
    UnsupportedError
        If the model does not fit.
    """
    if options.stated("kv_blocks") is not None and options.stated("gpu_memory_utilization") is not None:
        raise ConfigError(
            f"engine.gpu_memory_utilization: no effect beside engine.kv_blocks {options.kv_blocks}, which follow from "
            "it where nobody states them; drop one of the two"
        )
    _require_router(options)
    plan = memory_plan(
        model,
        hardware,
        parallelism,
        share=options.gpu_memory_utilization,
        block_tokens=options.block_tokens,
        token_budget=options.stated("token_budget"),
        max_running=options.stated("max_running"),
    )
    stated = options.stated("kv_blocks")
    if stated is None or plan.weights > hardware.usable_memory:
        require_room(model, hardware, parallelism, plan)
    values = {name: getattr(options, name) for name in EngineOptions.model_fields}
    engine = EngineOptions.model_validate(values | {"kv_blocks": stated or plan.kv_blocks})
    return Server(engine, plan, options, model, as_parallelism(parallelism))


def _require_router(options: ServerOptions) -> None:
    """Refuse a router that has no choice, or a factor that it would not look at."""
    if options.stated("router") is not None and options.replicas == 1:
        raise ConfigError(
            f"engine.router: {options.router} has one server to send to; give engine.replicas (--replicas), or drop it"
        )
    if options.stated("router_load_factor") is not None and options.router != "prefix_aware":
        raise ConfigError(
            "engine.router_load_factor: only a router of kind prefix_aware looks at it; take that (--router "
            "prefix_aware), or drop it"
        )


def require_served(requests: Iterable[Request], options: ServerOptions) -> None:
    """Refuse requests that are longer than the server is said to take.

    Raises
    ------
    ConfigError
        Naming the longest one.
    """
    limit = options.max_model_len_tokens
    longer = _longer(requests, limit)
    if longer:
        raise ConfigError(
            f"workload: {longer} than the {limit} tokens of engine.max_model_len_tokens; a server refuses them. "
            "Shorten them, or let the server take more (--max-model-len)"
        )


def length_warnings(requests: Iterable[Request], options: ServerOptions, model: Model) -> Iterator[str]:
    """Say when requests or the server go beyond what the model was made for."""
    trained = model.max_position_embeddings
    stated = options.max_model_len_tokens
    longer = _longer(requests, trained)
    if longer and stated is None:
        yield (
            f"{longer} than the {trained} tokens of {model.id} (max_position_embeddings); a server refuses them unless "
            "it is told to take more (--max-model-len)"
        )
    if trained is not None and stated is not None and stated > trained:
        yield f"engine.max_model_len_tokens {stated} is more than the {trained} tokens of {model.id}"


def start_warnings(server: Server, model: Model) -> Iterator[str]:
    """Say when a server would not start: its KV cache, as estimated, has no room for one longest request."""
    longest = server.options.max_model_len_tokens or model.max_position_embeddings
    tokens = server.engine.kv_blocks * server.engine.block_tokens
    if longest is None or _held(model, longest) <= tokens or server.options.stated("kv_blocks") is not None:
        return
    whose = "engine.max_model_len_tokens" if server.options.max_model_len_tokens else f"those of {model.id}"
    yield (
        f"the KV cache has room for {tokens} tokens, and one request may have {longest} ({whose}); vLLM does not start "
        f"like that: give it more memory, or let requests be no longer than that (--max-model-len {tokens})"
    )


def _held(model: Model, tokens: int) -> float:
    """Return how many tokens of the KV cache a request holds at least: layers with a window drop what left it.

    vLLM shares its blocks among layers of both kinds. A window in nobody knows which layers may be in all of them.
    """
    if model.sliding_window is None or model.use_sliding_window is False:
        return tokens
    windowed = (model.sliding_window_layers or model.num_hidden_layers) / model.num_hidden_layers
    return tokens * (1 - windowed) + min(tokens, model.sliding_window) * windowed


def _longer(requests: Iterable[Request], limit: int | None) -> str | None:
    """Say how many requests are longer than a limit, or None."""
    lengths = {request.id: request.prompt_tokens + request.output_tokens for request in requests}
    longer = [name for name, tokens in lengths.items() if limit is not None and tokens > limit]
    if not longer:
        return None
    longest = max(longer, key=lengths.__getitem__)
    return (
        f"{len(longer)} of {len(lengths)} requests are longer (prompt and answer together, at most "
        f"{lengths[longest]} in {longest})"
    )


def memory_warnings(server: Server, hardware: Hardware, counters: RunCounters) -> Iterator[str]:
    """Say when the run needed more KV blocks than the GPU's memory has room for."""
    if counters.peak_kv_blocks > server.plan.kv_blocks:
        yield (
            f"the KV cache held {counters.peak_kv_blocks * server.plan.block_bytes / GIB:.1f} GiB per GPU at its peak, "
            f"more than the {max(server.plan.room, 0) / GIB:.1f} GiB that {hardware.id} has left beside the weights; "
            "lower engine.kv_blocks, or leave it out"
        )


def batch_warnings(server: Server, hardware: Hardware, most_decodes: int) -> Iterator[str]:
    """Say when the largest batch was full, nobody stated it, and vLLM would take a larger one on this GPU."""
    full, (_, larger) = server.engine.max_running, default_batch(hardware)
    if server.options.stated("max_running") is None and full <= most_decodes and full < larger:
        yield (
            f"the largest batch was full: {full} requests, as nobody states it; vLLM takes {larger} on {hardware.id} "
            f"from its own default, which shortens queues: state what the server has (--max-running {larger})"
        )


def serving_warnings(server: Server, results: Iterable[RequestResult]) -> Iterator[str]:
    """Say when requests were dropped because they can never fit into the KV cache, or cut off by the horizon."""
    states = [result.state for result in results]
    dropped = states.count(RequestState.DROPPED)
    if dropped:
        tokens = server.engine.kv_blocks * server.engine.block_tokens
        who = "no request was served: all" if dropped == len(states) else "not all requests were served:"
        yield (
            f"{who} {dropped} of {len(states)} need more than the {tokens} tokens that the whole KV cache holds "
            f"({server.engine.kv_blocks} blocks); give the server more memory, or shorten the requests"
        )
    cut = sum(map(states.count, (RequestState.NOT_ARRIVED, RequestState.QUEUED, RequestState.RUNNING)))
    if cut:
        yield (
            f"engine.horizon_us {server.engine.horizon_us} ended the run with {cut} of {len(states)} requests not "
            "completed; means are of the others, among which long ones are missing"
        )
