"""What a step-time model may ask about GPU kernels, whoever answers.

Contract: a `Kernels` prices one GEMM; `attention(shape, tp)` binds an attention shape once and
prices prefill and decode attention for it. Every answer exists in two styles:

* MFU style, for the roofline built on tables: the fraction of the dense peak (of `dtype`) that the
  kernel reaches. Prefill counts causal FLOPs (`2 * H * e * s**2` for one sequence of s tokens),
  decode `4 * B * H * e * kv / tp`, GEMM `2 * m * k * n`.
* Seconds style, for kernels that know their own time: seconds of one layer on one GPU.

`*_lookup` gives the MFU answer again with everything it rests on. All answers are deterministic,
positive and finite; a question outside the known range is answered and flagged, never refused.
Implementations: `measured` (tables of a folder), `analytic` (fitted curves, the embedded default),
`tabulated` (analytic curves sampled on a table grid) and `ConstantMfu` below.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal, Protocol

Dtype = Literal["bf16", "fp8", "fp4"]
Phase = Literal["prefill", "decode"]
KernelKind = Literal["gemm", "prefill_attention", "decode_attention"]
# How a table answers between its rows; see `table_lookup`.
Policy = Literal["nearest", "interpolated", "latency"]

# Dimensionless; hardware-config calibration guide of the upstream programme, H100 section
# (`mfuPrefill`, `mfuDecode`), where they were tuned by hand against vLLM runs.
GUIDE_MFU_PREFILL = 0.65
GUIDE_MFU_DECODE = 0.12

# FLOP/s; H100 SXM data sheet, dense BF16 and FP8 tensor-core peaks as the upstream configuration
# rounds them. They are also the denominators of the H100 kernel tables.
H100_BF16_FLOPS = 989.5e12
H100_FP8_FLOPS = 1979e12


@dataclass(frozen=True, slots=True, order=True)
class AttentionShape:
    """Unsharded attention shape of a model.

    Attributes
    ----------
    heads, kv_heads
        Query heads and key/value heads of the whole model.
    head_dim
        Elements per head.
    """

    heads: int
    kv_heads: int
    head_dim: int

    def __str__(self) -> str:
        return f"{self.heads}-{self.kv_heads}-{self.head_dim}"


@dataclass(frozen=True, slots=True)
class AttentionMatch:
    """Which known shape and TP degree answer for the ones asked.

    `shape_distance` is Euclid over (heads, kv_heads, head_dim); 0 means exact. Kernels without a
    shape of their own (constants, curves of a formula) answer with what was asked.
    """

    asked_shape: AttentionShape
    asked_tp: int
    used_shape: AttentionShape
    used_tp: int
    shape_distance: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether nothing was substituted."""
        return self.asked_shape == self.used_shape and self.asked_tp == self.used_tp


@dataclass(frozen=True, slots=True)
class Lookup:
    """One MFU answer and what it rests on.

    Attributes
    ----------
    kernel
        Kind of kernel asked about.
    value
        MFU, dimensionless.
    table
        Table or curve that answered, relative to its folder.
    target
        Coordinates asked for, as (axis, value) pairs.
    rows
        Table rows used, as (axis, value) pairs ending with the row's own MFU; empty for a formula.
    distance
        Euclid from the target to the nearest row used, over raw coordinates; 0 for a formula.
    extrapolated
        The target lies outside the range the table or the fit covers.
    fallback
        The regular answer was below 1e-4 or did not exist, and another row was taken instead.
    match
        Shape and TP substitution; None for GEMM.
    """

    kernel: KernelKind
    value: float
    table: str
    target: tuple[tuple[str, float], ...]
    rows: tuple[tuple[tuple[str, float], ...], ...] = ()
    distance: float = 0.0
    extrapolated: bool = False
    fallback: bool = False
    match: AttentionMatch | None = None


@dataclass(frozen=True, slots=True)
class PiecewiseLinear:
    """A function of KV length, linear between breakpoints.

    Interval j holds `breakpoints[j-1] <= x < breakpoints[j]`, as in `BatchSums`; there are
    `len(breakpoints) + 1` intervals. Where `linear[j]` is false the coefficients do not describe
    the function, and the caller must ask point by point.
    """

    breakpoints: tuple[int, ...]
    intercepts: tuple[float, ...]
    slopes: tuple[float, ...]
    linear: tuple[bool, ...]

    def at(self, x: float) -> float:
        """Return the value at x; meaningless where `linear` is false."""
        interval = bisect_right(self.breakpoints, x)
        return self.intercepts[interval] + self.slopes[interval] * x


class AttentionKernels(Protocol):
    """Attention kernels bound to one shape and TP degree."""

    @property
    def match(self) -> AttentionMatch:
        """Shape and TP that answer."""
        ...

    @property
    def kv_breakpoints(self) -> tuple[int, ...]:
        """KV lengths (tokens) at which `decode_mfu` changes its formula; empty for smooth curves."""
        ...

    def prefill_mfu(self, seq_len: float) -> float:
        """Return the MFU of causal attention over one sequence of `seq_len` tokens."""
        ...

    def decode_mfu(self, batch: int, kv_len: float) -> float:
        """Return the MFU of decode attention of `batch` requests with `kv_len` KV tokens each."""
        ...

    def decode_mfu_curve(self, batch: int) -> PiecewiseLinear:
        """Return `decode_mfu(batch, kv)` over kv as linear pieces on `kv_breakpoints`."""
        ...

    def prefill_seconds(self, past_tokens: int, new_tokens: int) -> float:
        """Return seconds per layer and GPU of one chunk that attends to past and new tokens."""
        ...

    def decode_seconds(self, batch: int, kv_sum: float) -> float:
        """Return seconds per layer and GPU of one decode batch with `kv_sum` KV tokens in all."""
        ...

    def prefill_lookup(self, seq_len: float) -> Lookup:
        """Return `prefill_mfu` with its origin."""
        ...

    def decode_lookup(self, batch: int, kv_len: float) -> Lookup:
        """Return `decode_mfu` with its origin."""
        ...


class Kernels(Protocol):
    """A set of kernels for one GPU."""

    @property
    def name(self) -> str:
        """What a report prints: kind, GPU, policy and data hash."""
        ...

    def gemm_mfu(self, m: int, k: int, n: int, *, dtype: Dtype = "bf16", phase: Phase = "prefill") -> float:
        """Return the MFU of (m x k) @ (k x n) against the dense peak of `dtype`.

        `phase` says which half of the step asks; only constant efficiencies care.
        """
        ...

    def gemm_seconds(self, m: int, k: int, n: int, *, dtype: Dtype = "bf16", phase: Phase = "prefill") -> float:
        """Return seconds of one (m x k) @ (k x n) on one GPU."""
        ...

    def gemm_lookup(self, m: int, k: int, n: int, *, dtype: Dtype = "bf16", phase: Phase = "prefill") -> Lookup:
        """Return `gemm_mfu` with its origin."""
        ...

    def attention(self, shape: AttentionShape, tp: int = 1) -> AttentionKernels:
        """Bind an attention shape and TP degree; matching happens here, once."""
        ...


def gemm_flops(m: float, k: float, n: float) -> float:
    """FLOPs of (m x k) @ (k x n), a multiply-add counted as two."""
    return 2.0 * m * k * n


def causal_attention_flops(shape: AttentionShape, past_tokens: float, new_tokens: float) -> float:
    """FLOPs of QK^T and PV when new tokens attend to the past and, on average, to half of themselves."""
    return 4.0 * shape.heads * shape.head_dim * new_tokens * (past_tokens + new_tokens / 2.0)


def decode_attention_flops(shape: AttentionShape, kv_sum: float) -> float:
    """FLOPs of QK^T and PV of one new token per request, over `kv_sum` KV tokens in all."""
    return 4.0 * shape.heads * shape.head_dim * kv_sum


@dataclass(frozen=True, slots=True)
class ConstantMfu:
    """One efficiency per phase, whatever the shape: the calibrated roofline's assumption.

    Attributes
    ----------
    prefill, decode
        MFU of every kernel of the phase, dimensionless.
    peak_flops, peak_fp8_flops
        Dense peaks in FLOP/s, used by the seconds style only.
    """

    prefill: float = GUIDE_MFU_PREFILL
    decode: float = GUIDE_MFU_DECODE
    peak_flops: float = H100_BF16_FLOPS
    peak_fp8_flops: float = H100_FP8_FLOPS

    @property
    def name(self) -> str:
        """Say which constants apply."""
        return f"constant MFU (prefill {self.prefill:g}, decode {self.decode:g})"

    def gemm_mfu(self, m: int, k: int, n: int, *, dtype: Dtype = "bf16", phase: Phase = "prefill") -> float:
        """Return the phase's constant."""
        return self.prefill if phase == "prefill" else self.decode

    def gemm_seconds(self, m: int, k: int, n: int, *, dtype: Dtype = "bf16", phase: Phase = "prefill") -> float:
        """Return FLOPs over peak times the phase's constant."""
        peak = self.peak_flops if dtype == "bf16" else self.peak_fp8_flops
        return gemm_flops(m, k, n) / (peak * self.gemm_mfu(m, k, n, phase=phase))

    def gemm_lookup(self, m: int, k: int, n: int, *, dtype: Dtype = "bf16", phase: Phase = "prefill") -> Lookup:
        """Return the phase's constant and name it."""
        target = (("m", m), ("k", k), ("n", n))
        return Lookup("gemm", self.gemm_mfu(m, k, n, phase=phase), f"constant:{phase}", target)

    def attention(self, shape: AttentionShape, tp: int = 1) -> ConstantAttention:
        """Bind the shape, which only the FLOP counts of the seconds style need."""
        return ConstantAttention(self, AttentionMatch(shape, tp, shape, tp))


@dataclass(frozen=True, slots=True)
class ConstantAttention:
    """`ConstantMfu` bound to one shape and TP degree."""

    constants: ConstantMfu
    match: AttentionMatch
    kv_breakpoints: tuple[int, ...] = field(default=())

    def prefill_mfu(self, seq_len: float) -> float:
        """Return the prefill constant."""
        return self.constants.prefill

    def decode_mfu(self, batch: int, kv_len: float) -> float:
        """Return the decode constant."""
        return self.constants.decode

    def decode_mfu_curve(self, batch: int) -> PiecewiseLinear:
        """Return one flat interval."""
        return PiecewiseLinear((), (self.constants.decode,), (0.0,), (True,))

    def prefill_seconds(self, past_tokens: int, new_tokens: int) -> float:
        """Return causal FLOPs over peak times the prefill constant, divided over the TP group."""
        flops = causal_attention_flops(self.match.asked_shape, past_tokens, new_tokens)
        return flops / (self.constants.peak_flops * self.constants.prefill) / self.match.asked_tp

    def decode_seconds(self, batch: int, kv_sum: float) -> float:
        """Return FLOPs over peak times the decode constant, divided over the TP group."""
        flops = decode_attention_flops(self.match.asked_shape, kv_sum)
        return flops / (self.constants.peak_flops * self.constants.decode) / self.match.asked_tp

    def prefill_lookup(self, seq_len: float) -> Lookup:
        """Return the prefill constant and name it."""
        return Lookup(
            "prefill_attention", self.constants.prefill, "constant:prefill", (("seq_len", seq_len),), match=self.match
        )

    def decode_lookup(self, batch: int, kv_len: float) -> Lookup:
        """Return the decode constant and name it."""
        target = (("batch_size", batch), ("kv_len", kv_len))
        return Lookup("decode_attention", self.constants.decode, "constant:decode", target, match=self.match)
