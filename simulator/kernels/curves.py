"""Efficiency curves: how long a kernel takes, from at most four parameters each.

Contract: pure functions of sizes, parameters and peaks; seconds out. One formula serves the fit and
the simulation. Peaks are those of the GPU, efficiencies are fractions of them.

* GEMM: launch time, then weight-and-activation traffic and arithmetic, joined by a p-norm:
  `launch + ((bytes / (e_b * BW))**s + (flops / (e_c * P))**s)**(1/s)`. A large `s` is the ideal
  roofline maximum; the fit says how rounded the corner is.
* Prefill attention: `fixed + causal flops / (e_c * P)`, and never faster than reading K and V once.
* Decode attention: `fixed + KV bytes / (e_b * BW)`, and with launches by the host (no CUDA graph)
  never shorter than `launch_floor`. One curve for heads with a KV head of their own, one for grouped.

Every curve grows with every size, so that more work never takes less time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.kernels.base import AttentionShape, Dtype, causal_attention_flops, gemm_flops
from simulator.kernels.conventions import MICRO, decode_kv_bytes
from simulator.validation import Efficiency, NonNegative, Positive, StrictModel

# Bytes per element of inputs by data type; the output is BF16 in both GEMM kernels.
# Four-bit floats bring an 8-bit scale for every 16 (NVFP4).
INPUT_BYTES: dict[Dtype, float] = {"fp4": 0.5625, "fp8": 1.0, "bf16": 2.0}
OUTPUT_BYTES = 2.0


class GemmCurve(StrictModel):
    """Parameters of the GEMM curve, for every data type with its own peak and bytes."""

    launch_us: NonNegative
    bandwidth_efficiency: Efficiency
    compute_efficiency: Efficiency
    sharpness: Positive


class PrefillCurve(StrictModel):
    """Parameters of the causal prefill-attention curve."""

    fixed_us: NonNegative
    compute_efficiency: Efficiency


class DecodeCurve(StrictModel):
    """Parameters of a decode-attention curve; the launch floor applies to host launches only."""

    fixed_us: NonNegative
    bandwidth_efficiency: Efficiency
    launch_floor_us: NonNegative


@dataclass(frozen=True, slots=True)
class Peaks:
    """Rates the efficiencies are fractions of: FLOP/s and bytes/s of one GPU.

    `fp8_flops` is that of its eight-bit units, `fp4_flops` of its four-bit ones, or 0 where it has none.
    """

    bf16_flops: float
    fp8_flops: float
    bandwidth: float
    fp4_flops: float = 0.0

    def flops(self, dtype: Dtype) -> float:
        """Return the dense peak of a data type."""
        if dtype == "fp4":
            return self.fp4_flops
        return self.bf16_flops if dtype == "bf16" else self.fp8_flops


@dataclass(frozen=True, slots=True)
class DecodeLine:
    """A decode curve with everything but the KV tokens filled in: seconds, and seconds per KV token."""

    fixed_s: float
    per_token_s: float
    floor_s: float

    def at(self, kv_sum: float) -> float:
        """Return seconds of one batch with `kv_sum` KV tokens in all."""
        seconds = self.fixed_s + self.per_token_s * kv_sum
        return seconds if seconds > self.floor_s else self.floor_s


def gemm_bytes(m: float, k: float, n: float, dtype: Dtype) -> float:
    """Bytes of one pass over both inputs and the BF16 output."""
    return (m * k + k * n) * INPUT_BYTES[dtype] + m * n * OUTPUT_BYTES


def gemm_seconds(
    curve: GemmCurve, peaks: Peaks, m: float, k: float, n: float, dtype: Dtype, weight_bytes: float | None = None
) -> float:
    """Return seconds of (m x k) @ (k x n); `weight_bytes` of one weight, where it is not stored in `dtype`."""
    moved = gemm_bytes(m, k, n, dtype)
    if weight_bytes is not None:
        moved += k * n * (weight_bytes - INPUT_BYTES[dtype])
    traffic = moved / (curve.bandwidth_efficiency * peaks.bandwidth)
    arithmetic = gemm_flops(m, k, n) / (curve.compute_efficiency * peaks.flops(dtype))
    longer, shorter = max(traffic, arithmetic), min(traffic, arithmetic)
    rounding = math.pow(1.0 + math.pow(shorter / longer, curve.sharpness), 1.0 / curve.sharpness)
    return curve.launch_us * MICRO + longer * rounding


def prefill_seconds(
    curve: PrefillCurve, peaks: Peaks, shape: AttentionShape, tp: int, past: float, new: float
) -> float:
    """Return seconds of one chunk of `new` tokens after `past` cached ones."""
    arithmetic = causal_attention_flops(shape, past, new) / tp / (curve.compute_efficiency * peaks.bf16_flops)
    reading = decode_kv_bytes(shape, tp, past + new) / peaks.bandwidth
    return curve.fixed_us * MICRO + max(arithmetic, reading)


def decode_seconds(
    curve: DecodeCurve, peaks: Peaks, shape: AttentionShape, tp: int, kv_sum: float, *, eager: bool
) -> float:
    """Return seconds of one decode batch with `kv_sum` KV tokens in all."""
    return decode_line(curve, peaks, shape, tp, eager=eager).at(kv_sum)


def decode_line(curve: DecodeCurve, peaks: Peaks, shape: AttentionShape, tp: int, *, eager: bool) -> DecodeLine:
    """Return the decode curve of one shape and TP degree, for whoever asks often."""
    per_token_s = decode_kv_bytes(shape, tp, 1.0) / (curve.bandwidth_efficiency * peaks.bandwidth)
    return DecodeLine(curve.fixed_us * MICRO, per_token_s, curve.launch_floor_us * MICRO if eager else 0.0)
