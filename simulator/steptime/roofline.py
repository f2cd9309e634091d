"""The MFU roofline: a phase takes the longer of its compute and its memory time.

    phase    = max(GEMM + attention, (weights + KV + activations) / TP / bandwidth)
    step     = combination(prefill phase, decode phase)
    duration = step + all-reduces + overhead, in whole us, at least 1

Where GPUs work together, collectives of every layer cost their latency and, where asked for, their bytes over the
links.

Variants: memory term only; per-component roofline (each GEMM against its weights, attention against
its KV traffic, activations on top); `additive` combination (one GEMM over all tokens of the step,
both attentions, one load of the weights). A step without requests costs its overhead.

`explain` itemises a step: its components are computed apart from the duration, request by request where that
matters, with the kernel answers they rest on. Tests hold both together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from simulator.kernels.base import Lookup
from simulator.parallelism import Parallelism
from simulator.steptime.attention import MEMO_LIMIT, AttentionTerm, bucket_tokens
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.combination import COMBINATIONS, branch
from simulator.steptime.cost import (
    FORMULA,
    MICROSECONDS,
    LookupUse,
    Operation,
    PhaseCost,
    PrefillBucket,
    StepCost,
    whole_us,
)
from simulator.steptime.gemm import PhaseGemm
from simulator.steptime.options import KernelMfuOptions, MfuRooflineOptions
from simulator.steptime.overhead import Collectives, OverheadOfTokens
from simulator.steptime.traffic import DynamicTraffic, PhaseMemory, Weights, WorkCount
from simulator.steptime.window import Window


@dataclass(frozen=True, slots=True)
class RooflineParts:
    """Everything a roofline is composed of, bound to one model, GPU and way to spread it."""

    options: MfuRooflineOptions
    parallel: Parallelism
    layers: int
    weights: Weights
    traffic: DynamicTraffic
    prefill_memory: PhaseMemory
    decode_memory: PhaseMemory
    prefill_gemm: PhaseGemm
    decode_gemm: PhaseGemm
    attention: AttentionTerm
    overhead: OverheadOfTokens
    collectives: Collectives
    collective_count: int
    work: WorkCount
    peak_flops: float
    peak_bandwidth: float
    kernels_name: str
    warnings: tuple[str, ...] = ()
    window: Window | None = None

    def past_tokens(self, sums: BatchSums) -> float:
        """Return the past tokens that decodes read, on average over the layers."""
        return sums.decode_past_tokens if self.window is None else self.window.past(sums)


@dataclass(frozen=True, slots=True)
class _DecodeConstants:
    """What a pure decode phase of one batch size costs besides its KV lengths.

    `memory_s` and `kv_s` are at zero past tokens, `kv_s_per_token` is per past token; `beside_us`
    holds for steps without prefill.
    """

    memory_s: float
    kv_s: float
    activation_s: float
    kv_s_per_token: float
    gemm_s: float
    beside_us: float

    def phase_seconds(self, past_tokens: float, attention_s: float) -> float:
        """Return the longer of compute and memory time."""
        compute_s = self.gemm_s + attention_s
        memory_s = self.memory_s + self.kv_s_per_token * past_tokens
        return compute_s if compute_s > memory_s else memory_s

    def component_seconds(self, past_tokens: float, attention_s: float) -> float:
        """Return the sum of GEMMs, attention or its KV traffic, and activations."""
        kv_s = self.kv_s + self.kv_s_per_token * past_tokens
        return self.gemm_s + max(attention_s, kv_s) + self.activation_s


class MfuRoofline:
    """The MFU roofline; see the module for its formula."""

    def __init__(self, parts: RooflineParts) -> None:
        self.parts = parts
        self._compute = parts.options.compute_term
        self._per_component = parts.options.per_component_roofline
        self._combine = COMBINATIONS.get(parts.options.phase_combination)
        own = parts.window.breakpoints if parts.window else ()
        self._breakpoints = parts.attention.kv_breakpoints if self._compute else own
        self._attention_s = parts.attention.decode if self._compute else _no_time
        self._lone_attention_s = parts.attention.lone_decode if self._compute else _no_time
        self._in_components = self._compute and self._per_component
        self._by_count: dict[tuple[int, int], _DecodeConstants] = {}
        self._lone_prefills: dict[tuple[tuple[int, int], int], float] = {}

    @property
    def kv_breakpoints(self) -> tuple[int, ...]:
        """Past-token counts at which decode attention changes its formula."""
        return self._breakpoints

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know about this model, GPU and kernels."""
        return self.parts.warnings

    @property
    def peak_flops(self) -> float:
        """Peak FLOP/s of one GPU for this model's weights."""
        return self.parts.peak_flops

    @property
    def peak_bandwidth(self) -> float:
        """Peak bytes/s of one GPU."""
        return self.parts.peak_bandwidth

    def work(self, sums: BatchSums) -> tuple[float, float]:
        """Return useful FLOPs and modelled bytes per GPU; see `WorkCount`."""
        return self.parts.work(sums)

    def step_time_us(self, sums: BatchSums) -> int:
        """Return the step's duration in whole microseconds, at least 1."""
        duration_us = self.duration_us(sums)
        return int(duration_us + 0.5) if duration_us > 1.0 else 1

    def lone_decode_times_us(self, pasts: Iterable[int]) -> list[int]:
        """Return what `step_time_us` returns for steps of a single decode request, by its past tokens."""
        constants = self._bound(1)
        phase_s = constants.component_seconds if self._in_components else constants.phase_seconds
        attention_s, beside_us = self._lone_attention_s, constants.beside_us
        window = self.parts.window
        if window is not None:
            durations_us = [
                phase_s(window.past_of_one(past), attention_s(past)) * MICROSECONDS + beside_us for past in pasts
            ]
        else:
            durations_us = [phase_s(past, attention_s(past)) * MICROSECONDS + beside_us for past in pasts]
        return [int(duration_us + 0.5) if duration_us > 1.0 else 1 for duration_us in durations_us]

    def decode_times_us(self, sums: BatchSums, steps: int, limit_us: int) -> list[int] | None:
        """Return what `step_time_us` returns for the coming steps of the same decodes; see `GivesDecodeTimes`.

        None where decode attention depends on more than the sum of past tokens.
        """
        attention_s = self.parts.attention.decode_s_per_token if self._compute else 0.0
        if attention_s is None or self.parts.window is not None:
            return None
        past, count, in_components = sums.decode_past_tokens, sums.decode_count, self._in_components
        constants = self._bound(count, sums.elsewhere)
        times_us: list[int] = []
        elapsed_us = 0
        while len(times_us) < steps and elapsed_us < limit_us:
            if in_components:
                seconds = constants.component_seconds(past, attention_s * past)
            else:
                seconds = constants.phase_seconds(past, attention_s * past)
            duration_us = seconds * MICROSECONDS + constants.beside_us
            time_us = int(duration_us + 0.5) if duration_us > 1.0 else 1
            times_us.append(time_us)
            elapsed_us += time_us
            past += count
        return times_us

    def duration_us(self, sums: BatchSums) -> float:
        """Return the duration before rounding."""
        count, chunks = sums.decode_count, sums.prefill
        if not chunks and count:
            constants = self._bound(count, sums.elsewhere)
            return self._decode_phase(constants, sums) * MICROSECONDS + constants.beside_us
        tokens = count + sum([new for _, new in chunks])
        overhead_us = self.parts.overhead(len(chunks), count, tokens)
        if not chunks:
            return overhead_us
        seconds = self.mixed_seconds(sums) if count else self.prefill_seconds(chunks, sums.elsewhere)
        return seconds * MICROSECONDS + self.parts.collectives.of(tokens, sums.elsewhere) + overhead_us

    def explain(self, batch: Batch) -> StepCost:
        """Return the same duration with everything it is made of."""
        return _explained(self, batch)

    def operations(self, batch: Batch) -> dict[str, list[Operation]]:
        """Return the compute time of each phase kernel by kernel, and under `step` what both share."""
        return _operations(self, batch)

    def decode_seconds(self, sums: BatchSums) -> float:
        """Return seconds of the decode phase."""
        return self._decode_phase(self._bound(sums.decode_count, sums.elsewhere), sums)

    def _decode_phase(self, constants: _DecodeConstants, sums: BatchSums) -> float:
        if self._in_components:
            return constants.component_seconds(self.parts.past_tokens(sums), self._attention_s(sums))
        return constants.phase_seconds(self.parts.past_tokens(sums), self._attention_s(sums))

    def _bound(self, count: int, elsewhere: int = 0) -> _DecodeConstants:
        return self._by_count.get((count, elsewhere)) or self._bind(count, elsewhere)

    def _bind(self, count: int, elsewhere: int) -> _DecodeConstants:
        """Price everything about a decode batch of `count` requests that no KV length changes."""
        parts, memory = self.parts, self.parts.decode_memory
        kv_bytes, activations = parts.traffic.decode(count, 0)
        gemm_s = parts.decode_gemm.layers(count, elsewhere) + parts.decode_gemm.head(count) if self._compute else 0.0
        constants = self._by_count[count, elsewhere] = _DecodeConstants(
            memory_s=memory(parts.weights.bytes(count, elsewhere), kv_bytes, activations, count),
            kv_s=memory(0.0, kv_bytes, 0.0, count),
            activation_s=memory(0.0, 0.0, activations, count),
            kv_s_per_token=memory(0.0, parts.traffic.decode_kv_bytes_per_past_token, 0.0, count),
            gemm_s=gemm_s,
            beside_us=parts.collectives.of(count, elsewhere) + parts.overhead(0, count, count),
        )
        return constants

    def prefill_seconds(self, chunks: Sequence[tuple[int, int]], elsewhere: int = 0) -> float:
        """Return seconds of the prefill phase; those of a single chunk are remembered."""
        if len(chunks) > 1:
            return self._prefill_seconds(chunks, elsewhere)
        memo, lone = self._lone_prefills, (chunks[0], elsewhere)
        seconds = memo.get(lone)
        if seconds is None:
            if len(memo) >= MEMO_LIMIT:
                memo.clear()
            seconds = memo[lone] = self._prefill_seconds(chunks, elsewhere)
        return seconds

    def _prefill_seconds(self, chunks: Sequence[tuple[int, int]], elsewhere: int) -> float:
        parts, requests = self.parts, len(chunks)
        tokens = chunks[0][1] if requests == 1 else sum([new for _, new in chunks])
        kv, activations = parts.traffic.prefill(chunks)
        memory = parts.prefill_memory(parts.weights.bytes(tokens, elsewhere), kv, activations, requests)
        if not self._compute:
            return memory
        gemm = self.prefill_gemm_seconds(chunks, elsewhere)
        attention = parts.attention.prefill(chunks)
        if self._per_component:
            return self._components(parts.prefill_memory, gemm, attention, kv, activations, requests)
        return max(gemm + attention, memory)

    def prefill_gemm_seconds(self, chunks: Sequence[tuple[int, int]], elsewhere: int = 0) -> float:
        """Return GEMM seconds of the prefill phase, LM head included."""
        gemm = self.parts.prefill_gemm
        if self.parts.options.prefill_gemm == "per_bucket":
            layers = sum([gemm.layers(tokens) for _, tokens in tokens_by_bucket(chunks)])
        else:
            layers = gemm.layers(sum([new for _, new in chunks]), elsewhere)
        return layers + gemm.head(len(chunks))

    def mixed_seconds(self, sums: BatchSums) -> float:
        """Return seconds of a step with both phases."""
        if self._combine is None:
            return self._additive(sums)
        tokens = sum([new for _, new in sums.prefill])
        return self._combine(self.prefill_seconds(sums.prefill), self.decode_seconds(sums), tokens, sums.decode_count)

    def _additive(self, sums: BatchSums) -> float:
        """One GEMM over every token of the step, both attentions, weights loaded once."""
        parts, chunks, count = self.parts, sums.prefill, sums.decode_count
        tokens, requests = count + sum([new for _, new in chunks]), count + len(chunks)
        kv_decode, activations_decode = parts.traffic.decode(count, parts.past_tokens(sums))
        kv_prefill, activations_prefill = parts.traffic.prefill(chunks)
        kv, activations = kv_decode + kv_prefill, activations_decode + activations_prefill
        memory = parts.prefill_memory(parts.weights.bytes(tokens, sums.elsewhere), kv, activations, requests)
        if not self._compute:
            return memory
        gemm = parts.prefill_gemm.layers(tokens, sums.elsewhere) + parts.prefill_gemm.head(requests)
        attention = parts.attention.prefill(chunks) + parts.attention.decode(sums)
        if self._per_component:
            return self._components(parts.prefill_memory, gemm, attention, kv, activations, requests)
        return max(gemm + attention, memory)

    @staticmethod
    def _components(
        memory: PhaseMemory, gemm: float, attention: float, kv: float, activations: float, requests: int
    ) -> float:
        """GEMMs already hold their own weight floor; attention meets its KV traffic here."""
        return gemm + max(attention, memory(0.0, kv, 0.0, requests)) + memory(0.0, 0.0, activations, requests)


def _no_time(question: object) -> float:
    """Stand in for attention where memory traffic alone counts."""
    return 0.0


def tokens_by_bucket(chunks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (bucket, new tokens) of every prefill bucket, shortest first."""
    if len(chunks) == 1:
        past, new = chunks[0]
        return [(bucket_tokens(past + new), new)]
    tokens: dict[int, int] = {}
    for past, new in chunks:
        bucket = bucket_tokens(past + new)
        tokens[bucket] = tokens.get(bucket, 0) + new
    return sorted(tokens.items())


def _explained(model: MfuRoofline, batch: Batch) -> StepCost:
    """Price one batch and itemise it."""
    parts = model.parts
    sums = BatchSums.of(batch, model.kv_breakpoints)
    prefill = _prefill_cost(model, batch) if batch.prefill else None
    decode = _decode_cost(model, sums) if batch.decode else None
    tokens = sum([new for _, new in batch.prefill])
    tokens_of_both = tokens + len(batch.decode)
    communication_us = parts.collectives.of(tokens_of_both, batch.elsewhere) if tokens_of_both else 0.0
    overhead_us = parts.overhead(len(batch.prefill), len(batch.decode), tokens_of_both)
    unrounded_us = model.duration_us(sums)
    lookups = tuple(dict.fromkeys(_lookup_uses(model, batch)))
    switched_off = () if parts.options.compute_term else ("compute term off: memory traffic alone is priced",)
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
        notes=(*switched_off, *parts.warnings, *_remarks(lookups)),
    )


def _operations(model: MfuRoofline, batch: Batch) -> dict[str, list[Operation]]:
    parts, chunks, count = model.parts, batch.prefill, len(batch.decode)
    on, together = parts.options.compute_term, parts.options.phase_combination == "additive"
    found: dict[str, list[Operation]] = {"step": _beside(parts, batch)}
    if on and together and chunks and count:
        tokens = count + sum([new for _, new in chunks])
        found["step"] = [
            *parts.prefill_gemm.operations(tokens, count + len(chunks), batch.elsewhere),
            *found["step"],
        ]
    if on and chunks:
        gemm = [] if together and count else _prefill_gemm_operations(model, batch)
        found["prefill"] = [*gemm, _attention(parts, parts.attention.prefill(chunks))]
    if on and count:
        gemm = [] if together and chunks else parts.decode_gemm.operations(count, count, batch.elsewhere)
        attention_s = parts.attention.decode(BatchSums.of(batch, model.kv_breakpoints))
        found["decode"] = [*gemm, _attention(parts, attention_s)]
    return found


def _beside(parts: RooflineParts, batch: Batch) -> list[Operation]:
    tokens = len(batch.decode) + sum([new for _, new in batch.prefill])
    times = parts.collective_count
    communication_us = parts.collectives.of(tokens, batch.elsewhere) if tokens else 0.0
    overhead_us = parts.overhead(len(batch.prefill), len(batch.decode), tokens)
    name = "all-reduce" if parts.parallel.attention_data_parallel == 1 else "collective"
    found = [Operation(name, times, communication_us / times)] if times else []
    return [operation for operation in (*found, Operation("overhead", 1, overhead_us)) if operation.each_us]


def _attention(parts: RooflineParts, seconds: float) -> Operation:
    return Operation("attention", parts.layers, seconds * MICROSECONDS / parts.layers)


def _prefill_gemm_operations(model: MfuRoofline, batch: Batch) -> list[Operation]:
    gemm, chunks = model.parts.prefill_gemm, batch.prefill
    rows = len(chunks)
    if model.parts.options.prefill_gemm != "per_bucket":
        return gemm.operations(sum([new for _, new in chunks]), rows, batch.elsewhere)
    buckets = [gemm.operations(tokens, rows) for _, tokens in tokens_by_bucket(chunks)]
    # The projection to the vocabulary is not priced by bucket.
    merged = [
        Operation(same[0].name, same[0].times, sum([operation.each_us for operation in same]))
        for same in zip(*buckets, strict=True)
    ]
    return [*merged[:-1], buckets[0][-1]] if model.parts.options.lm_head else merged


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
    elsewhere = sums.elsewhere
    moved = (parts.weights.bytes(count, elsewhere), *parts.traffic.decode(count, parts.past_tokens(sums)))
    return _phase_cost(
        model,
        parts.decode_memory,
        requests=count,
        tokens=(count, sums.decode_past_tokens),
        compute=(
            parts.decode_gemm.layers(count, elsewhere) + parts.decode_gemm.head(count) if on else 0.0,
            parts.attention.decode(sums) if on else 0.0,
        ),
        moved=moved,
    )


def _prefill_cost(model: MfuRoofline, batch: Batch) -> PhaseCost:
    parts, chunks, elsewhere = model.parts, batch.prefill, batch.elsewhere
    on = parts.options.compute_term
    tokens = sum([new for _, new in chunks])
    return _phase_cost(
        model,
        parts.prefill_memory,
        requests=len(chunks),
        tokens=(tokens, sum([past for past, _ in chunks])),
        compute=(model.prefill_gemm_seconds(chunks, elsewhere), parts.attention.prefill(chunks)) if on else (0.0, 0.0),
        moved=(parts.weights.bytes(tokens, elsewhere), *parts.traffic.prefill(chunks)),
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
    tp = model.parts.parallel.tensor_parallel
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
        tokens = sum([new for _, new in inside])
        mfu = parts.attention.kernels.prefill_mfu(bucket) if by_mfu else None
        yield PrefillBucket(bucket, tokens, parts.prefill_gemm.layers(tokens), parts.attention.prefill(inside), mfu)


def _lookup_uses(model: MfuRoofline, batch: Batch) -> Iterator[LookupUse]:
    options = model.parts.options
    if not options.compute_term or not isinstance(options.mfu, KernelMfuOptions):
        return
    kernels = model.parts.attention.kernels
    if batch.prefill:
        for tokens in _gemm_token_counts(model, batch):
            yield from map(_use, model.parts.prefill_gemm.lookups(tokens, batch.elsewhere))
        for past, new in batch.prefill:
            at_bucket = options.prefill_mfu_at == "bucket"
            yield _use(kernels.prefill_lookup(bucket_tokens(past + new) if at_bucket else past + new))
    if batch.decode:
        if not (batch.prefill and options.phase_combination == "additive"):
            yield from map(_use, model.parts.decode_gemm.lookups(len(batch.decode), batch.elsewhere))
        for count, length in _decode_questions(model, batch):
            yield _use(kernels.decode_lookup(count, length))


def _gemm_token_counts(model: MfuRoofline, batch: Batch) -> list[int]:
    tokens = sum([new for _, new in batch.prefill])
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
        used=" | ".join(_coordinates(row) for row in lookup.rows) or FORMULA,
        value=lookup.value,
        distance=lookup.distance,
        extrapolated=lookup.extrapolated,
        fallback=lookup.fallback,
    )


def _coordinates(pairs: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{axis} {value:g}" for axis, value in pairs)


def _remarks(lookups: Sequence[LookupUse]) -> Iterator[str]:
    for use in lookups:
        if use.extrapolated:
            yield f"{use.kernel} at {use.asked} lies outside {use.table}"
        if use.fallback:
            yield f"{use.kernel} at {use.asked}: near-zero entry in {use.table}, another row was used"
