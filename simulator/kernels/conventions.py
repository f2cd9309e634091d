"""How a table's MFU column is made: which FLOPs over which peak.

Contract: for a row and a `Convention`, `row_mfu` is the unrounded value the column should hold.
The conventions of the H100 tables are constants here and are not taken on trust: the audit infers
them from latency and shape alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.kernels.base import H100_BF16_FLOPS, H100_FP8_FLOPS, AttentionShape, Dtype
from simulator.kernels.tables import DecodeRow, GemmRow, PrefillRow

MICRO = 1e-6

# Fraction of the dense 4 * s**2 * H * e FLOPs a causal mask leaves; the generators of the prefill
# tables divide by two (the diagonal is neglected).
CAUSAL_FACTOR = 0.5

# Dimensionless, assumed: ratio of the dense FP8 peak to the dense BF16 peak, and of bytes per weight.
BF16_OVER_FP8_TIME = 2.0

# Decimals of the `mfu` column in tables of this layout.
MFU_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Convention:
    """Denominators of the three table families.

    Attributes
    ----------
    gemm_flops, prefill_flops, decode_flops
        Peak the column is normalised by, FLOP/s.
    causal_factor
        Part of the dense attention FLOPs that prefill counts.
    decode_sharded
        Whether decode FLOPs are divided by the TP degree.
    gemm_dtype
        Data type of the timed GEMM kernel. The other type is derived, not measured: BF16 is taken
        to need twice the time of FP8, having half the peak and twice the weight bytes.
    """

    gemm_flops: float = H100_FP8_FLOPS
    prefill_flops: float = H100_BF16_FLOPS
    decode_flops: float = H100_BF16_FLOPS
    causal_factor: float = CAUSAL_FACTOR
    decode_sharded: bool = True
    gemm_dtype: Dtype = "fp8"

    def gemm_seconds(self, flops: float, mfu: float, dtype: Dtype) -> float:
        """Return seconds of a GEMM of `dtype` whose timed sibling reaches `mfu`."""
        measured = flops / (self.gemm_flops * mfu)
        if dtype == self.gemm_dtype:
            return measured
        return measured * BF16_OVER_FP8_TIME if dtype == "bf16" else measured / BF16_OVER_FP8_TIME


H100_CONVENTION = Convention()


def gemm_row_flops(row: GemmRow) -> float:
    """FLOPs of one GEMM row, a multiply-add counted as two."""
    return 2.0 * row.m * row.k * row.n


def dense_prefill_flops(shape: AttentionShape, row: PrefillRow) -> float:
    """FLOPs of QK^T and PV without a mask, over the whole square."""
    return 4.0 * row.seq_len * row.seq_len * shape.heads * shape.head_dim


def dense_decode_flops(shape: AttentionShape, row: DecodeRow) -> float:
    """FLOPs of QK^T and PV of one new token per request, over all heads."""
    return 4.0 * row.batch_size * row.kv_len * shape.heads * shape.head_dim


def gemm_row_mfu(row: GemmRow, convention: Convention = H100_CONVENTION) -> float:
    """Recompute a GEMM row's MFU from its latency."""
    return gemm_row_flops(row) / (row.latency_us * MICRO * convention.gemm_flops)


def prefill_row_mfu(shape: AttentionShape, row: PrefillRow, convention: Convention = H100_CONVENTION) -> float:
    """Recompute a prefill row's MFU from its latency."""
    flops = convention.causal_factor * dense_prefill_flops(shape, row)
    return flops / (row.latency_us * MICRO * convention.prefill_flops)


def decode_row_mfu(shape: AttentionShape, tp: int, row: DecodeRow, convention: Convention = H100_CONVENTION) -> float:
    """Recompute a decode row's MFU from its latency."""
    flops = dense_decode_flops(shape, row) / (tp if convention.decode_sharded else 1)
    return flops / (row.latency_us * MICRO * convention.decode_flops)


def decode_kv_bytes(shape: AttentionShape, tp: int, kv_tokens: float, bytes_per_element: float = 2.0) -> float:
    """Bytes of K and V one GPU reads for `kv_tokens`; at least one KV head per GPU."""
    return 2.0 * kv_tokens * max(1.0, shape.kv_heads / tp) * shape.head_dim * bytes_per_element
