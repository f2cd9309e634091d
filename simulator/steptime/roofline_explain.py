"""Why an MFU-roofline step costs what it costs.

The duration is the one `step_time_us` returns; the components are computed apart from it, request by
request where that matters, with the kernel answers they rest on. Tests hold both together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from simulator.kernels.base import Lookup
from simulator.steptime.attention import bucket_tokens
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.combination import COMBINATIONS, branch
from simulator.steptime.cost import LookupUse, PhaseCost, PrefillBucket, StepCost
from simulator.steptime.memory import PhaseMemory
from simulator.steptime.options import KernelMfuOptions
from simulator.steptime.rounding import whole_us

if TYPE_CHECKING:
    from simulator.steptime.roofline import MfuRoofline


def explain(model: MfuRoofline, batch: Batch) -> StepCost:
    """Price one batch and itemise it."""
    parts = model.parts
    sums = BatchSums.of(batch, model.kv_breakpoints)
    prefill = _prefill_cost(model, batch.prefill) if batch.prefill else None
    decode = _decode_cost(model, sums) if batch.decode else None
    communication_us = parts.communication_us if batch.prefill or batch.decode else 0.0
    overhead_us = parts.overhead(len(batch.prefill), len(batch.decode))
    unrounded_us = model.duration_us(sums)
    lookups = tuple(dict.fromkeys(_lookup_uses(model, batch)))
    tokens = sum(new for _, new in batch.prefill)
    return StepCost(
        family="mfu_roofline",
        total_us=whole_us(unrounded_us),
        unrounded_us=max(unrounded_us, 1.0),
        prefill=prefill,
        decode=decode,
        combined_s=_combined(model, sums, prefill, decode),
        branch=branch(parts.options.phase_combination, len(batch.prefill), tokens, len(batch.decode)),
        communication_us=communication_us,
        overhead_us=overhead_us,
        lookups=lookups,
        notes=(*_switched_off(model), *parts.warnings, *_remarks(lookups)),
    )


def _combined(model: MfuRoofline, sums: BatchSums, prefill: PhaseCost | None, decode: PhaseCost | None) -> float:
    if prefill is None or decode is None:
        single = prefill or decode
        return single.seconds if single else 0.0
    combine = COMBINATIONS.get(model.parts.options.phase_combination)
    if combine is None:
        return model.mixed_seconds(sums)
    return combine(prefill.seconds, decode.seconds, prefill.new_tokens, decode.requests)


def _decode_cost(model: MfuRoofline, sums: BatchSums) -> PhaseCost:
    parts, count = model.parts, sums.decode_count
    on = parts.options.compute_term
    moved = (parts.weights.bytes(count), *parts.traffic.decode(count, sums.decode_past_tokens))
    return _phase_cost(
        model,
        parts.decode_memory,
        requests=count,
        tokens=(count, sums.decode_past_tokens),
        compute=(
            parts.decode_gemm.layers(count) + parts.decode_gemm.head(count) if on else 0.0,
            parts.attention.decode(sums) if on else 0.0,
        ),
        moved=moved,
    )


def _prefill_cost(model: MfuRoofline, chunks: Sequence[tuple[int, int]]) -> PhaseCost:
    parts = model.parts
    on = parts.options.compute_term
    tokens = sum(new for _, new in chunks)
    return _phase_cost(
        model,
        parts.prefill_memory,
        requests=len(chunks),
        tokens=(tokens, sum(past for past, _ in chunks)),
        compute=(model.prefill_gemm_seconds(chunks), parts.attention.prefill(chunks)) if on else (0.0, 0.0),
        moved=(parts.weights.bytes(tokens), *parts.traffic.prefill(chunks)),
        buckets=tuple(_buckets(model, chunks)) if on else (),
    )


def _phase_cost(
    model: MfuRoofline,
    memory: PhaseMemory,
    *,
    requests: int,
    tokens: tuple[int, int],
    compute: tuple[float, float],
    moved: tuple[float, float, float],
    buckets: tuple[PrefillBucket, ...] = (),
) -> PhaseCost:
    gemm_s, attention_s = compute
    weights, kv, activations = moved
    memory_s = memory(weights, kv, activations, requests)
    if model.parts.options.per_component_roofline:
        kv_s = memory(0.0, kv, 0.0, requests)
        seconds = gemm_s + max(attention_s, kv_s) + memory(0.0, 0.0, activations, requests)
        candidates = {"gemm": gemm_s, "attention": attention_s, "memory": kv_s}
        bottleneck = max(candidates, key=lambda name: candidates[name])
    else:
        seconds = max(gemm_s + attention_s, memory_s)
        bottleneck = (
            "memory" if memory_s >= gemm_s + attention_s else ("gemm" if gemm_s >= attention_s else "attention")
        )
    tp = model.parts.tp
    return PhaseCost(
        requests=requests,
        new_tokens=tokens[0],
        past_tokens=tokens[1],
        gemm_s=gemm_s,
        attention_s=attention_s,
        vector_s=0.0,
        memory_s=memory_s,
        seconds=seconds,
        weight_bytes=weights / tp,
        kv_bytes=kv / tp,
        activation_bytes=activations / tp,
        bottleneck=bottleneck,
        buckets=buckets,
    )


def _buckets(model: MfuRoofline, chunks: Sequence[tuple[int, int]]) -> Iterator[PrefillBucket]:
    """Itemise the prefill by context bucket; GEMM seconds are those of the bucket alone."""
    parts = model.parts
    by_mfu = isinstance(parts.options.mfu, KernelMfuOptions) and parts.options.mfu.style == "mfu"
    members: dict[int, list[tuple[int, int]]] = {}
    for past, new in chunks:
        members.setdefault(bucket_tokens(past + new), []).append((past, new))
    for bucket, inside in sorted(members.items()):
        tokens = sum(new for _, new in inside)
        mfu = parts.attention.kernels.prefill_mfu(bucket) if by_mfu else None
        yield PrefillBucket(bucket, tokens, parts.prefill_gemm.layers(tokens), parts.attention.prefill(inside), mfu)


def _lookup_uses(model: MfuRoofline, batch: Batch) -> Iterator[LookupUse]:
    options = model.parts.options
    if not options.compute_term or not isinstance(options.mfu, KernelMfuOptions):
        return
    kernels = model.parts.attention.kernels
    if batch.prefill:
        for tokens in _gemm_token_counts(model, batch):
            yield from map(_use, model.parts.prefill_gemm.lookups(tokens))
        for past, new in batch.prefill:
            at_bucket = options.prefill_mfu_at == "bucket"
            yield _use(kernels.prefill_lookup(bucket_tokens(past + new) if at_bucket else past + new))
    if batch.decode:
        if not (batch.prefill and options.phase_combination == "additive"):
            yield from map(_use, model.parts.decode_gemm.lookups(len(batch.decode)))
        for count, length in _decode_questions(model, batch):
            yield _use(kernels.decode_lookup(count, length))


def _gemm_token_counts(model: MfuRoofline, batch: Batch) -> list[int]:
    from simulator.steptime.roofline import tokens_by_bucket

    tokens = sum(new for _, new in batch.prefill)
    if batch.decode and model.parts.options.phase_combination == "additive":
        return [tokens + len(batch.decode)]
    if model.parts.options.prefill_gemm == "per_bucket":
        return [count for _, count in tokens_by_bucket(batch.prefill)]
    return [tokens]


def _decode_questions(model: MfuRoofline, batch: Batch) -> list[tuple[int, float]]:
    """(batch size, KV length) of every decode-attention answer the step rests on."""
    options, count = model.parts.options, len(batch.decode)
    if isinstance(options.mfu, KernelMfuOptions) and options.mfu.style == "seconds":
        return [(count, sum(batch.decode) / count)]
    match options.decode_attention:
        case "max_kv" | "sum_at_max_kv":
            return [(count, max(batch.decode))]
        case "per_request":
            return [(1, past) for past in sorted(set(batch.decode))]
        case "kv_buckets":
            sums = BatchSums.of(batch, options.kv_bucket_edges)
            return [(count, total / n) for n, total in zip(sums.counts, sums.pasts, strict=True) if n]
    return [(count, past) for past in sorted(set(batch.decode))]


def _use(lookup: Lookup) -> LookupUse:
    return LookupUse(
        kernel=lookup.kernel,
        table=lookup.table,
        asked=_coordinates(lookup.target),
        used=" | ".join(_coordinates(row) for row in lookup.rows) or "formula",
        value=lookup.value,
        distance=lookup.distance,
        extrapolated=lookup.extrapolated,
        fallback=lookup.fallback,
    )


def _coordinates(pairs: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{axis} {value:g}" for axis, value in pairs)


def _switched_off(model: MfuRoofline) -> tuple[str, ...]:
    return () if model.parts.options.compute_term else ("compute term off: memory traffic alone is priced",)


def _remarks(lookups: Sequence[LookupUse]) -> Iterator[str]:
    for use in lookups:
        if use.extrapolated:
            yield f"{use.kernel} at {use.asked} lies outside {use.table}"
        if use.fallback:
            yield f"{use.kernel} at {use.asked}: near-zero entry in {use.table}, another row was used"
