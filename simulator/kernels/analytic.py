"""Kernels answered by fitted curves: the embedded default, which needs no third-party file.

Contract: `load_analytic(path)` reads a file written by `python -m simulator.kernels.fit` and returns
`AnalyticKernels`, or raises `ConfigError`. The file holds parameters, fit errors per table, data
hashes and provenance; `AnalyticFile` is its schema.

What is measured and what is assumed: GEMM was timed in one data type (`gemm_dtype`, FP8 on the H100); the
other is derived from the same curve with its own peak and bytes per input element, launch time
unchanged. Attention was timed in BF16.
Attention under tensor parallelism keeps the efficiencies of the unsharded kernel.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Literal

from simulator.errors import UnsupportedError
from simulator.hardware import Hardware
from simulator.kernels import curves
from simulator.kernels.base import (
    AttentionMatch,
    AttentionShape,
    Dtype,
    Lookup,
    Phase,
    PiecewiseLinear,
    causal_attention_flops,
    decode_attention_flops,
    gemm_flops,
)
from simulator.kernels.curves import DecodeCurve, GemmCurve, Peaks, PrefillCurve
from simulator.validation import Count, NonNegative, NonNegativeInt, Positive, StrictModel, parse, read_yaml

Launch = Literal["graph", "eager"]
DecodeKind = Literal["decode_attention_mha", "decode_attention_gqa"]


class FittedPeaks(StrictModel):
    """Peaks of the GPU the curves were fitted on, with their source."""

    bf16_flops: Positive
    fp8_flops: Positive
    bandwidth_bytes_per_s: Positive
    source: str


class Span(StrictModel):
    """Smallest and largest fitted size along one axis."""

    low: Count
    high: Count


class Spans(StrictModel):
    """What the fit covers; a question outside is answered and flagged as extrapolation."""

    gemm: dict[Literal["m", "k", "n"], Span]
    prefill_attention: dict[Literal["seq_len"], Span]
    decode_attention: dict[Literal["batch_size", "kv_len"], Span]


class FitErrors(StrictModel):
    """Relative error of predicted against measured latency, in percent."""

    rows: Count
    median_pct: NonNegative
    p95_pct: NonNegative
    max_pct: NonNegative


class FittedCurves(StrictModel):
    """All parameters of one GPU."""

    gemm: GemmCurve
    prefill_attention: PrefillCurve
    decode_attention_mha: DecodeCurve
    decode_attention_gqa: DecodeCurve


class TableFit(StrictModel):
    """How well one table is described; launch-bound rows were not fitted and are reported apart."""

    table: str
    sha256: str
    curve: str
    fitted: FitErrors
    launch_bound: FitErrors | None
    warm_up_rows: NonNegativeInt


class Provenance(StrictModel):
    """Where the numbers come from."""

    data: str
    tables_sha256: str
    gemm_dtype: Dtype
    method: str
    launch_floor_us: NonNegative


class AnalyticFile(StrictModel):
    """Everything known about one GPU's curves."""

    gpu: str
    peaks: FittedPeaks
    provenance: Provenance
    curves: FittedCurves
    spans: Spans
    curve_fits: dict[str, FitErrors]
    table_fits: tuple[TableFit, ...]


def load_analytic(path: Path, launch: Launch = "graph") -> AnalyticKernels:
    """Read fitted curves.

    Raises
    ------
    ConfigError
        If the file is unreadable or a key is missing, unknown or out of range.
    """
    return AnalyticKernels(parse(AnalyticFile, read_yaml(path), source=str(path)), launch)


class AnalyticKernels:
    """Fitted curves behind the kernel interface.

    Parameters
    ----------
    fit
        Contents of a fit file.
    launch
        `graph`: kernels are launched by a CUDA graph, so only their own time counts. `eager`: the
        host launches each one, which puts a floor under decode attention, as in the timed tables.
    hardware
        Another GPU to assume the same efficiencies on; None keeps the fitted one.
    """

    def __init__(self, fit: AnalyticFile, launch: Launch = "graph", hardware: Hardware | None = None) -> None:
        self.fit = fit
        self.launch = launch
        self.hardware_id = hardware.id if hardware else None
        self.peaks = _peaks(fit) if hardware is None else peaks_of(hardware)
        self.curves = fit.curves
        self.gemm_curves: dict[Phase, GemmCurve] = {"prefill": fit.curves.gemm, "decode": fit.curves.gemm}

    @property
    def name(self) -> str:
        """Name GPU, launch mode and the data behind the curves."""
        on = f" on the peaks of {self.hardware_id}" if self.hardware_id else ""
        digest = self.fit.provenance.tables_sha256[:12]
        return f"analytic kernels {self.fit.gpu}{on} ({self.launch} launches, fitted to sha256 {digest})"

    def on(self, hardware: Hardware) -> AnalyticKernels:
        """Assume the same efficiencies on another GPU's peaks: a what-if, not a measurement."""
        return AnalyticKernels(self.fit, self.launch, hardware)

    def reading_weights_at(self, prefill: float, decode: float) -> AnalyticKernels:
        """Return the same kernels with GEMMs that read at these shares of the peak bandwidth.

        The fitted share comes from single FP8 GEMMs of 12 to 90 MB of weights, which end before the memory has
        reached its stride; layers of a served model follow each other and reach what copies reach.
        """
        other = copy(self)
        fitted = self.curves.gemm
        other.gemm_curves = {
            "prefill": fitted.model_copy(update={"bandwidth_efficiency": prefill}),
            "decode": fitted.model_copy(update={"bandwidth_efficiency": decode}),
        }
        return other

    def gemm_seconds(self, m: int, k: int, n: int, *, dtype: Dtype = "bf16", phase: Phase = "prefill") -> float:
        """Return seconds of one (m x k) @ (k x n)."""
        return curves.gemm_seconds(self.gemm_curves[phase], self.peaks, m, k, n, dtype)

    def weight_only_gemm_seconds(
        self, m: int, k: int, n: int, weight_bytes: float, phase: Phase, dtype: Dtype = "bf16"
    ) -> float:
        """Return seconds of a GEMM in `dtype` whose weights are stored in `weight_bytes` each and widened on the way.

        An assumption: nobody timed one. Reading them is what they save; the arithmetic is that of `dtype`.
        """
        return curves.gemm_seconds(self.gemm_curves[phase], self.peaks, m, k, n, dtype, weight_bytes)

    def gemm_mfu(self, m: int, k: int, n: int, *, dtype: Dtype = "bf16", phase: Phase = "prefill") -> float:
        """Return FLOPs over seconds over the peak of `dtype`."""
        return gemm_flops(m, k, n) / (self.gemm_seconds(m, k, n, dtype=dtype, phase=phase) * self.peaks.flops(dtype))

    def gemm_lookup(self, m: int, k: int, n: int, *, dtype: Dtype = "bf16", phase: Phase = "prefill") -> Lookup:
        """Return the MFU and whether the fit covers the question."""
        target = (("m", m), ("k", k), ("n", n))
        spans = self.fit.spans.gemm
        outside = _outside(spans["m"], m) or _outside(spans["k"], k) or _outside(spans["n"], n)
        value = self.gemm_mfu(m, k, n, dtype=dtype, phase=phase)
        return Lookup("gemm", value, f"analytic:gemm:{dtype}", target, extrapolated=outside)

    def attention(self, shape: AttentionShape, tp: int = 1) -> AnalyticAttention:
        """Bind a shape and TP degree.

        Raises
        ------
        UnsupportedError
            If `tp` is below 1.
        """
        if tp < 1:
            raise UnsupportedError(f"tensor parallelism must be at least 1, got {tp}")
        return AnalyticAttention(self, shape, tp)


class AnalyticAttention:
    """`AnalyticKernels` bound to one shape and TP degree."""

    kv_breakpoints: tuple[int, ...] = ()

    def __init__(self, kernels: AnalyticKernels, shape: AttentionShape, tp: int) -> None:
        self.match = AttentionMatch(shape, tp, shape, tp)
        self._shape = shape
        self._tp = tp
        self._peaks = kernels.peaks
        self._prefill = kernels.curves.prefill_attention
        self._decode_kind = decode_kind(shape)
        decode: DecodeCurve = getattr(kernels.curves, self._decode_kind)
        line = curves.decode_line(decode, self._peaks, shape, tp, eager=kernels.launch == "eager")
        self._fixed_s, self._per_token_s, self._floor_s = line.fixed_s, line.per_token_s, line.floor_s
        self._spans = kernels.fit.spans

    def prefill_seconds(self, past_tokens: int, new_tokens: int) -> float:
        """Return seconds of one chunk; nothing takes no time."""
        if new_tokens == 0:
            return 0.0
        return curves.prefill_seconds(self._prefill, self._peaks, self._shape, self._tp, past_tokens, new_tokens)

    def decode_seconds(self, batch: int, kv_sum: float) -> float:
        """Return seconds of one decode batch; an empty one takes no time."""
        if batch == 0:
            return 0.0
        # `DecodeLine.at` in place: the one call here that a simulation makes in every step.
        seconds = self._fixed_s + self._per_token_s * kv_sum
        return seconds if seconds > self._floor_s else self._floor_s

    def prefill_mfu(self, seq_len: float) -> float:
        """Return causal FLOPs over seconds over the BF16 peak, of one sequence of at least one token."""
        length = max(1.0, seq_len)
        seconds = curves.prefill_seconds(self._prefill, self._peaks, self._shape, self._tp, 0, length)
        return causal_attention_flops(self._shape, 0, length) / self._tp / (seconds * self._peaks.bf16_flops)

    def decode_mfu(self, batch: int, kv_len: float) -> float:
        """Return FLOPs over seconds over the BF16 peak, with at least one KV token per request."""
        tokens = max(1, batch) * max(1.0, kv_len)
        seconds = self.decode_seconds(max(1, batch), tokens)
        return decode_attention_flops(self._shape, tokens) / self._tp / (seconds * self._peaks.bf16_flops)

    def decode_mfu_curve(self, batch: int) -> PiecewiseLinear:
        """Return one interval that is not linear: a saturating MFU must be asked point by point."""
        return PiecewiseLinear((), (0.0,), (0.0,), (False,))

    def prefill_lookup(self, seq_len: float) -> Lookup:
        """Return the prefill MFU and whether the fit covers the question."""
        outside = _outside(self._spans.prefill_attention["seq_len"], seq_len)
        target = (("seq_len", seq_len),)
        value = self.prefill_mfu(seq_len)
        return Lookup(
            "prefill_attention", value, "analytic:prefill_attention", target, extrapolated=outside, match=self.match
        )

    def decode_lookup(self, batch: int, kv_len: float) -> Lookup:
        """Return the decode MFU and whether the fit covers the question."""
        spans = self._spans.decode_attention
        outside = _outside(spans["batch_size"], batch) or _outside(spans["kv_len"], kv_len)
        target = (("batch_size", batch), ("kv_len", kv_len))
        value = self.decode_mfu(batch, kv_len)
        table = f"analytic:{self._decode_kind}"
        return Lookup("decode_attention", value, table, target, extrapolated=outside, match=self.match)


def decode_kind(shape: AttentionShape) -> DecodeKind:
    """Say which decode curve a shape uses: every head with its own KV head, or grouped heads."""
    return "decode_attention_mha" if shape.heads == shape.kv_heads else "decode_attention_gqa"


def _peaks(fit: AnalyticFile) -> Peaks:
    peaks = fit.peaks
    return Peaks(peaks.bf16_flops, peaks.fp8_flops, peaks.bandwidth_bytes_per_s)


def peaks_of(hardware: Hardware) -> Peaks:
    """Return the peaks the curves need; eight bits are integers on a GPU without FP8 units."""
    eight_bits = hardware.peak_fp8_flops or hardware.peak_int8_ops
    return Peaks(hardware.peak_flops, eight_bits, hardware.peak_bandwidth, hardware.peak_fp4_flops or 0.0)


def _outside(span: Span, size: float) -> bool:
    return size < span.low or size > span.high
