"""Time of a phase's attention kernels on one GPU, from running sums wherever a sum suffices.

FLOPs are 4 * heads * head_dim * context per new token and layer (QK^T and PV, no softmax). In the
`mfu` style a phase takes FLOPs / (peak * mfu) / TP; how one MFU stands for a batch of different KV
lengths is the choice `decode_attention`, how a prefill chunk's context is counted is
`prefill_context`. In the `seconds` style the kernels answer for the batch as a whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from operator import mul

from simulator.hardware import Hardware
from simulator.kernels.base import AttentionKernels, ConstantAttention
from simulator.model import Model
from simulator.steptime.batch import BatchSums
from simulator.steptime.gemm import compute_speedup
from simulator.steptime.options import EfficiencyTensorParallel, KernelMfuOptions, MfuRooflineOptions
from simulator.steptime.window import Window, window_of

DecodeSeconds = Callable[[BatchSums], float]
# Seconds of a batch of one, by its past tokens.
LoneSeconds = Callable[[int], float]
PrefillSeconds = Callable[[Sequence[tuple[int, int]]], float]

# Remembered answers per attention model, so that a long run cannot grow without bound.
MEMO_LIMIT = 200_000

# Bytes of one value of the KV cache that the decode-attention kernels were timed on (BF16).
TIMED_KV_BYTES = 2

# Prefill contexts are grouped by powers of two in this range (tokens), as upstream does.
SMALLEST_BUCKET = 512
LARGEST_BUCKET = 65536


def bucket_tokens(context: int) -> int:
    """Round a context up to its bucket: the smallest power of two from 512 to 65536 that holds it."""
    if context <= SMALLEST_BUCKET:
        return SMALLEST_BUCKET
    return LARGEST_BUCKET if context > LARGEST_BUCKET else 1 << (context - 1).bit_length()


@dataclass(frozen=True, slots=True)
class AttentionTerm:
    """Attention seconds of both phases, and the KV lengths at which the decode formula changes.

    `lone_decode` answers what `decode` answers for a single request. `decode_s_per_token` is set where
    `decode` is that constant times all past tokens.
    """

    decode: DecodeSeconds
    lone_decode: LoneSeconds
    prefill: PrefillSeconds
    kv_breakpoints: tuple[int, ...]
    kernels: AttentionKernels
    decode_s_per_token: float | None = None


def build_attention(
    options: MfuRooflineOptions,
    model: Model,
    hardware: Hardware,
    tp: int,
    kernels: AttentionKernels,
    prefill_kernels: AttentionKernels,
) -> AttentionTerm:
    """Choose the decode aggregation and the prefill rule; `prefill_kernels` differ where a latent is expanded."""
    term, window = _in_all_layers(options, model, hardware, tp, kernels), attention_window(options, model)
    if model.latent:
        in_prefill = _in_all_layers(options, model, hardware, tp, prefill_kernels)
        return _latent(term, in_prefill.prefill, model, hardware.peak_flops * tp)
    return term if window is None else _windowed(term, window)


def _latent(term: AttentionTerm, prefill: PrefillSeconds, model: Model, peak_flops: float) -> AttentionTerm:
    """Attention to latents: decode is bound by reading them or by its FLOPs, prefill expands those of the past.

    Kernels were timed on heads of their own keys and values, so FLOPs and expansion take what the peak allows.
    """
    token_s = model.num_hidden_layers * model.decode_pair_flops / peak_flops
    expansion_s = model.num_hidden_layers * model.expansion_flops / peak_flops
    read, read_one, rate = term.decode, term.lone_decode, term.decode_s_per_token

    def decode(sums: BatchSums) -> float:
        return max(read(sums), token_s * sums.decode_past_tokens)

    def lone(past: int) -> float:
        return max(read_one(past), token_s * past)

    def expanded(chunks: Sequence[tuple[int, int]]) -> float:
        return prefill(chunks) + sum([expansion_s * past for past, _ in chunks])

    return AttentionTerm(
        decode, lone, expanded, term.kv_breakpoints, term.kernels, None if rate is None else max(rate, token_s)
    )


def attention_window(options: MfuRooflineOptions, model: Model) -> Window | None:
    """Return the window of a model's sliding layers where the options can price it.

    Efficiencies that depend on every request's length cannot: they have intervals of their own.
    """
    varying = isinstance(options.mfu, KernelMfuOptions) and options.mfu.style == "mfu"
    if options.compute_term and (varying or options.decode_attention == "max_kv"):
        return None
    return window_of(model)


def _windowed(term: AttentionTerm, window: Window) -> AttentionTerm:
    """Let a share of the layers see no further than a window.

    Decode kernels of those layers are asked about the tokens they read, so that a batch costs the mean of both kinds.
    Prefill takes time in proportion to the pairs that are left.
    """
    share, seen = window.share, replace(window, share=1.0)
    whole_decode, whole_lone, whole_prefill = term.decode, term.lone_decode, term.prefill

    def decode(sums: BatchSums) -> float:
        inside = BatchSums(1)
        inside.decode_count = sums.decode_count
        inside.decode_past_tokens = round(seen.past(sums))
        return (1.0 - share) * whole_decode(sums) + share * whole_decode(inside)

    def lone(past: int) -> float:
        return (1.0 - share) * whole_lone(past) + share * whole_lone(round(seen.past_of_one(past)))

    def prefill(chunks: Sequence[tuple[int, int]]) -> float:
        return sum([whole_prefill([(past, new)]) * window.pairs_share(past, new) for past, new in chunks])

    return AttentionTerm(decode, lone, prefill, window.breakpoints, term.kernels)


def _in_all_layers(
    options: MfuRooflineOptions, model: Model, hardware: Hardware, tp: int, kernels: AttentionKernels
) -> AttentionTerm:
    layers = model.num_hidden_layers
    # Decode kernels were timed on a BF16 cache and are bound by reading it, so a smaller one takes less in proportion.
    cache_share = 1.0 if model.kv_cache_dtype == "auto" else model.kv_value_bytes / TIMED_KV_BYTES
    if isinstance(options.mfu, KernelMfuOptions) and options.mfu.style == "seconds":
        # The kernels know the heads of one GPU; what a degree loses beside that is stated.
        loss = 1.0 / rule.at(tp) if isinstance(rule := options.tensor_parallel, EfficiencyTensorParallel) else 1.0
        decode, lone = _decode_in_seconds(kernels, layers * loss, cache_share)
        return AttentionTerm(decode, lone, _prefill_in_seconds(kernels, layers * loss), (), kernels)
    flops_per_context = float(model.pair_flops * layers)
    decode_flops = float(model.decode_pair_flops * layers)
    decode_scale = cache_share * decode_flops / hardware.peak_flops / compute_speedup(options, tp, "decode")
    prefill_rate = (
        hardware.peak_flops * compute_speedup(options, tp, "prefill") * options.causal_divisor_on(hardware.id)
    )
    prefill = _prefill_by_mfu(options, kernels, flops_per_context / prefill_rate)
    lone = _lone_by_mfu(options, kernels, decode_scale)
    decode, breakpoints = _decode_by_mfu(options, kernels, decode_scale, lone)
    return AttentionTerm(decode, lone, prefill, breakpoints, kernels, _constant_rate(options, kernels, decode_scale))


def _constant_rate(options: MfuRooflineOptions, kernels: AttentionKernels, scale: float) -> float | None:
    """Return decode seconds per past token where it is the same for every batch, else None."""
    if isinstance(kernels, ConstantAttention) and options.decode_attention != "max_kv":
        return scale / kernels.constants.decode
    return None


def _lone_by_mfu(options: MfuRooflineOptions, kernels: AttentionKernels, scale: float) -> LoneSeconds:
    """One request: its FLOPs at its own MFU, whatever the aggregation."""
    if (seconds_per_token := _constant_rate(options, kernels, scale)) is not None:
        return lambda past: seconds_per_token * past
    mfu = kernels.decode_mfu
    return lambda past: scale * past / mfu(1, past) if past else 0.0


def _decode_by_mfu(
    options: MfuRooflineOptions, kernels: AttentionKernels, scale: float, lone: LoneSeconds
) -> tuple[DecodeSeconds, tuple[int, ...]]:
    if (seconds_per_token := _constant_rate(options, kernels, scale)) is not None:
        return lambda sums: seconds_per_token * sums.decode_past_tokens, ()
    match options.decode_attention:
        case "flops_weighted":
            return FlopsWeighted(kernels, scale, lone), tuple(kernels.kv_breakpoints)
        case "max_kv":
            return _at_longest(kernels, scale, padded=True), ()
        case "sum_at_max_kv":
            return _at_longest(kernels, scale, padded=False), ()
        case "per_request":
            return _per_request(lone), ()
        case "kv_buckets":
            return _by_kv_bucket(kernels, scale), options.kv_bucket_edges
    raise AssertionError(f"decode attention without a formula: {options.decode_attention}")


class FlopsWeighted:
    """Decode attention at the FLOPs-weighted mean of every request's own MFU.

    With FLOPs proportional to p and MFU a + b*p on an interval, the weighted sum needs only the
    interval's sums of p and p*p. Intervals on which the MFU is not linear are visited request by
    request.

    Parameters
    ----------
    kernels
        Bound attention kernels.
    scale
        Seconds per past token at MFU 1.
    lone
        Answers for a batch of one.
    """

    __slots__ = ("_breakpoints", "_curves", "_kernels", "_lone", "_points", "_scale")

    def __init__(self, kernels: AttentionKernels, scale: float, lone: LoneSeconds) -> None:
        self._kernels = kernels
        self._scale = scale
        self._lone = lone
        self._breakpoints = tuple(kernels.kv_breakpoints)
        self._curves: dict[int, tuple[tuple[float, ...], tuple[float, ...], tuple[bool, ...] | None]] = {}
        self._points: dict[tuple[int, int], float] = {}

    def __call__(self, sums: BatchSums) -> float:
        """Return seconds of all layers."""
        past = sums.decode_past_tokens
        if not past:
            return 0.0
        if sums.decode_count == 1:
            return self._lone(past)
        curve = self._curves.get(sums.decode_count)
        if curve is None:
            curve = self._bind(sums.decode_count)
        intercepts, slopes, bent = curve
        weighted: float = sum(map(mul, intercepts, sums.pasts)) + sum(map(mul, slopes, sums.squares))
        if bent is not None and any(compress(sums.counts, bent)):
            weighted += self._visited(sums, bent)
        return self._scale * past * past / weighted

    def _bind(self, count: int) -> tuple[tuple[float, ...], tuple[float, ...], tuple[bool, ...] | None]:
        """Return the curve of one batch size, its bent intervals zeroed and flagged."""
        curve = self._kernels.decode_mfu_curve(count)
        bent = tuple(not straight for straight in curve.linear)
        bound = (
            tuple(a if straight else 0.0 for a, straight in zip(curve.intercepts, curve.linear, strict=True)),
            tuple(b if straight else 0.0 for b, straight in zip(curve.slopes, curve.linear, strict=True)),
            bent if any(bent) else None,
        )
        self._curves[count] = bound
        return bound

    def _visited(self, sums: BatchSums, bent: tuple[bool, ...]) -> float:
        count, breakpoints, points = sums.decode_count, self._breakpoints, self._points
        weighted = 0.0
        for past in sums.decode_pasts():
            if bent[bisect_right(breakpoints, past)]:
                mfu = points.get((count, past))
                if mfu is None:
                    if len(points) >= MEMO_LIMIT:
                        points.clear()
                    mfu = points[count, past] = self._kernels.decode_mfu(count, past)
                weighted += past * mfu
        return weighted


def _at_longest(kernels: AttentionKernels, scale: float, *, padded: bool) -> DecodeSeconds:
    """One MFU at (batch, longest KV), over the FLOPs of a padded batch or over the true FLOPs."""

    def seconds(sums: BatchSums) -> float:
        longest = max(sums.decode_pasts())
        context = longest * sums.decode_count if padded else sums.decode_past_tokens
        return scale * context / kernels.decode_mfu(sums.decode_count, longest) if context else 0.0

    return seconds


def _per_request(lone: LoneSeconds) -> DecodeSeconds:
    """Every request as a batch of one, one after the other."""
    memo: dict[int, float] = {}

    def seconds(sums: BatchSums) -> float:
        total = 0.0
        for past in sums.decode_pasts():
            each = memo.get(past)
            if each is None:
                each = memo[past] = lone(past)
            total += each
        return total

    return seconds


def _by_kv_bucket(kernels: AttentionKernels, scale: float) -> DecodeSeconds:
    """MFU looked up at each KV-length bucket's mean, weighted by the bucket's request count."""

    def seconds(sums: BatchSums) -> float:
        past, count = sums.decode_past_tokens, sums.decode_count
        if not past:
            return 0.0
        weighted = sum(
            [n * kernels.decode_mfu(count, total / n) for n, total in zip(sums.counts, sums.pasts, strict=True) if n]
        )
        return scale * past * count / weighted

    return seconds


def _prefill_by_mfu(options: MfuRooflineOptions, kernels: AttentionKernels, scale: float) -> PrefillSeconds:
    """Seconds per (new token x context) over the MFU of that context's length.

    `causal` counts 2*past + new, so that the causal divisor leaves earlier tokens whole and halves
    the chunk's own.
    """
    rule, at_bucket = options.prefill_context, options.prefill_mfu_at == "bucket"
    memo: dict[int, float] = {}

    def inverse_mfu(length: int) -> float:
        inverse = memo.get(length)
        if inverse is None:
            inverse = memo[length] = 1.0 / kernels.prefill_mfu(length)
        return inverse

    def seconds(chunks: Sequence[tuple[int, int]]) -> float:
        total = 0.0
        for past, new in chunks:
            if rule == "causal":
                context = 2 * past + new
            else:
                context = past + new if rule == "actual" else bucket_tokens(past + new)
            if new:
                total += scale * new * context * inverse_mfu(bucket_tokens(past + new) if at_bucket else past + new)
        return total

    return seconds


def _decode_in_seconds(
    kernels: AttentionKernels, layers: float, cache_share: float
) -> tuple[DecodeSeconds, LoneSeconds]:
    """Seconds of the batch; with another KV cache than was timed, those of as many bytes as it reads."""
    of_batch = kernels.decode_seconds
    if cache_share == 1:

        def seconds(sums: BatchSums) -> float:
            return layers * of_batch(sums.decode_count, sums.decode_past_tokens)

        return seconds, lambda past: layers * of_batch(1, past)

    def scaled(sums: BatchSums) -> float:
        return layers * of_batch(sums.decode_count, sums.decode_past_tokens * cache_share)

    return scaled, lambda past: layers * of_batch(1, past * cache_share)


def _prefill_in_seconds(kernels: AttentionKernels, layers: float) -> PrefillSeconds:
    memo: dict[tuple[int, int], float] = {}

    def seconds(chunks: Sequence[tuple[int, int]]) -> float:
        total = 0.0
        for chunk in chunks:
            each = memo.get(chunk)
            if each is None:
                past, new = chunk
                each = memo[chunk] = layers * kernels.prefill_seconds(past, new) if new else 0.0
            total += each
        return total

    return seconds
