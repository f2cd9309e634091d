"""How a table's MFU column is made, which FLOPs over which peak, and finding that out from the table itself.

Contract: for a row and a `Convention`, `..._row_mfu` is the unrounded value the column should hold.
The conventions of the H100 tables are constants here and are not taken on trust:
`infer_denominator(samples)` takes rows whose FLOPs can be counted in one or more ways (causal half or full
square, heads of one GPU or of all) and returns, for every way of counting, the interval of peaks that
reproduces the most rows within the column's rounding, the published peaks in it, and which way is the most
plausible and why. A column rounded to three decimals admits, per row, `flops / (latency * (mfu +- 0.0005))`;
the rows' intervals must overlap.

Counting half the FLOPs against one peak equals counting all against twice the peak, so arithmetic
alone cannot always decide; then the data type and physics do: a kernel cannot exceed the peak of the
GPU and data type it ran with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from simulator.kernels.base import H100_BF16_FLOPS, H100_FP8_FLOPS, AttentionShape, Dtype

if TYPE_CHECKING:
    from simulator.kernels.tables import DecodeRow, GemmRow, KernelTables, PrefillRow

MICRO = 1e-6
TERA = 1e12

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


# Half a unit in the last place of the column, widened by a hair for values printed from floats.
HALF_STEP = 0.5 * 10**-MFU_DECIMALS * (1 + 1e-6)

WHOLE_GEMM = "2*m*k*n"
CAUSAL_HALF = "causal half"
FULL_SQUARE = "full square"
ONE_GPU = "heads of one GPU (over TP)"
ALL_HEADS = "heads of all GPUs"


@dataclass(frozen=True, slots=True)
class KnownPeak:
    """A dense tensor-core peak from a data sheet, TFLOPS."""

    tflops: float
    gpu: str
    dtype: str

    @property
    def name(self) -> str:
        """Name GPU and data type."""
        return f"{self.gpu} {self.dtype.upper()} dense"


# TFLOPS, dense (half of the figure "with sparsity" where only that is printed): NVIDIA data sheets of
# the named GPUs. H200 and H800 share the tensor cores of H100 SXM.
KNOWN_PEAKS = (
    KnownPeak(148.0, "H20", "bf16"),
    KnownPeak(296.0, "H20", "fp8"),
    KnownPeak(312.0, "A100", "bf16"),
    KnownPeak(362.05, "L40S", "bf16"),
    KnownPeak(733.0, "L40S", "fp8"),
    KnownPeak(756.5, "H100 PCIe", "bf16"),
    KnownPeak(989.5, "H100 SXM", "bf16"),
    KnownPeak(1513.0, "H100 PCIe", "fp8"),
    KnownPeak(1979.0, "H100 SXM", "fp8"),
    KnownPeak(2250.0, "B200", "bf16"),
    KnownPeak(4500.0, "B200", "fp8"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One row: FLOPs by way of counting, measured latency and the MFU as printed.

    `dtype` is the data type the table states, or None where it states none.
    """

    flops: Mapping[str, float]
    latency_us: float
    mfu: float
    dtype: str | None = None

    def tflops(self, counting: str) -> float:
        """Return the rate this row reached, in TFLOPS."""
        return self.flops[counting] / (self.latency_us * MICRO) / TERA


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way of counting FLOPs and the denominator that fits it best.

    Attributes
    ----------
    counting
        Which FLOPs were counted.
    low_tflops, high_tflops
        Peaks that reproduce the most rows; `high_tflops` is infinite where every row is zero.
    agreeing
        Number of rows reproduced.
    known
        Published peaks inside the interval.
    best_rate_tflops
        Highest rate over the rows when FLOPs are counted this way.
    """

    counting: str
    low_tflops: float
    high_tflops: float
    agreeing: int
    known: tuple[KnownPeak, ...]
    best_rate_tflops: float

    @property
    def middle_tflops(self) -> float:
        """Middle of the interval, or its lower end where it has no upper one."""
        return self.low_tflops if math.isinf(self.high_tflops) else (self.low_tflops + self.high_tflops) / 2


@dataclass(frozen=True, slots=True)
class Denominator:
    """The most plausible way an MFU column was made, the others, and why it was preferred.

    `tflops` is the published peak inside the interval, else the interval's middle.
    """

    chosen: Candidate
    others: tuple[Candidate, ...]
    tflops: float
    rows: int
    reasons: tuple[str, ...]

    @property
    def known(self) -> KnownPeak | None:
        """The published peak that was recognised."""
        return self.chosen.known[0] if self.chosen.known else None

    @property
    def flops(self) -> float:
        """The denominator in FLOP/s."""
        return self.tflops * TERA


def infer_denominator(samples: Sequence[Sample]) -> Denominator:
    """Infer what the MFU of these rows was divided by.

    Raises
    ------
    ValueError
        If there are no rows, or they were counted in different ways.
    """
    if not samples or any(sample.flops.keys() != samples[0].flops.keys() for sample in samples):
        raise ValueError("needs at least one row, all counted in the same ways")
    dtype = samples[0].dtype
    candidates = [_candidate(samples, counting) for counting in samples[0].flops]
    ranked = sorted(candidates, key=lambda candidate: _rank(candidate, dtype), reverse=True)
    chosen, others = ranked[0], tuple(ranked[1:])
    preferred = tuple(sorted(chosen.known, key=lambda peak: (dtype not in (None, peak.dtype), peak.tflops)))
    chosen = replace(chosen, known=preferred)
    tflops = preferred[0].tflops if preferred else chosen.middle_tflops
    reasons = (*_why_chosen(chosen, others, dtype, len(samples)), *_why_above_one(samples, chosen, tflops))
    return Denominator(chosen, others, tflops, len(samples), reasons)


def infer_convention(tables: KernelTables) -> Convention:
    """Infer how every family of a folder was normalised; a family without tables keeps the default.

    A GEMM denominator that is no published FP8 peak is taken to belong to a BF16 kernel.
    """
    parts: dict[str, Any] = {}
    if tables.gemm is not None:
        gemm = infer_denominator([gemm_sample(row) for row in tables.gemm.rows])
        is_fp8 = gemm.known is not None and gemm.known.dtype == "fp8"
        parts |= {"gemm_flops": gemm.flops, "gemm_dtype": "fp8" if is_fp8 else "bf16"}
    if tables.prefill:
        prefill = infer_denominator(prefill_samples(tables))
        halved = prefill.chosen.counting == CAUSAL_HALF
        parts |= {"prefill_flops": prefill.flops, "causal_factor": CAUSAL_FACTOR if halved else 1.0}
    if tables.decode:
        decode = infer_denominator(decode_samples(tables))
        parts |= {"decode_flops": decode.flops, "decode_sharded": decode.chosen.counting == ONE_GPU}
    return Convention(**parts)


def prefill_samples(tables: KernelTables) -> list[Sample]:
    """Count every prefill row of a folder."""
    return [prefill_sample(shape, row) for shape, table in tables.prefill.items() for row in table.rows]


def decode_samples(tables: KernelTables) -> list[Sample]:
    """Count every decode row of a folder."""
    return [decode_sample(shape, tp, row) for (shape, tp), table in tables.decode.items() for row in table.rows]


def gemm_sample(row: GemmRow) -> Sample:
    """Count a GEMM row; there is one way to do it."""
    return Sample({WHOLE_GEMM: gemm_row_flops(row)}, row.latency_us, row.mfu)


def prefill_sample(shape: AttentionShape, row: PrefillRow) -> Sample:
    """Count a prefill row with and without the causal mask."""
    dense = dense_prefill_flops(shape, row)
    return Sample({CAUSAL_HALF: CAUSAL_FACTOR * dense, FULL_SQUARE: dense}, row.latency_us, row.mfu, row.dtype)


def decode_sample(shape: AttentionShape, tp: int, row: DecodeRow) -> Sample:
    """Count a decode row over the heads of one GPU and over all heads."""
    dense = dense_decode_flops(shape, row)
    return Sample({ONE_GPU: dense / tp, ALL_HEADS: dense}, row.latency_us, row.mfu, row.dtype)


def _candidate(samples: Sequence[Sample], counting: str) -> Candidate:
    """Find the peaks that round the most rows' rates to the MFU printed."""
    rates = [sample.tflops(counting) for sample in samples]
    admitted = [
        (rate / (sample.mfu + HALF_STEP), rate / (sample.mfu - HALF_STEP) if sample.mfu > HALF_STEP else math.inf)
        for rate, sample in zip(rates, samples, strict=True)
    ]
    low, high, agreeing = _densest(admitted)
    known = tuple(peak for peak in KNOWN_PEAKS if low <= peak.tflops <= high)
    return Candidate(counting, low, high, agreeing, known, max(rates))


def _densest(intervals: Sequence[tuple[float, float]]) -> tuple[float, float, int]:
    """Return the stretch that lies in the most intervals, and in how many (lowest stretch on a tie)."""
    edges = sorted([(low, 0) for low, _ in intervals] + [(high, 1) for _, high in intervals])
    depth, best = 0, (0.0, math.inf, 0)
    for place, (edge, closes) in enumerate(edges):
        depth += -1 if closes else 1
        if depth > best[2]:
            following = edges[place + 1][0]
            best = (edge, following, depth)
    return best


def _rank(candidate: Candidate, dtype: str | None) -> tuple[int, bool, bool, float]:
    """Prefer more rows, then a peak of the stated data type, then any published peak, then fewer FLOPs."""
    fitting = any(dtype in (None, peak.dtype) for peak in candidate.known)
    return candidate.agreeing, fitting, bool(candidate.known), -candidate.best_rate_tflops


def _why_chosen(chosen: Candidate, others: Sequence[Candidate], dtype: str | None, rows: int) -> tuple[str, ...]:
    peak = f"{chosen.known[0].tflops:g} TFLOPS ({chosen.known[0].name})" if chosen.known else "no published peak"
    reasons = [
        f"{chosen.agreeing} of {rows} rows admit {chosen.low_tflops:.2f}..{chosen.high_tflops:.2f} TFLOPS "
        f"when FLOPs are counted as {chosen.counting}: {peak}"
    ]
    for other in others:
        if other.agreeing < chosen.agreeing:
            reasons.append(f"counted as {other.counting} only {other.agreeing} of {rows} rows agree on one peak")
            continue
        rival = ", ".join(peak.name for peak in other.known) or "no published peak"
        impossible = _beyond_dtype(other, dtype)
        reasons.append(
            f"counted as {other.counting} the same rows admit {other.low_tflops:.2f}..{other.high_tflops:.2f} TFLOPS "
            f"({rival}){impossible}"
        )
    return tuple(reasons)


def _beyond_dtype(candidate: Candidate, dtype: str | None) -> str:
    """Say why a rival denominator is not believed: it belongs to another data type than the rows state."""
    types = {peak.dtype for peak in candidate.known}
    return (
        f", which is not the {dtype.upper()} peak of a {dtype.upper()} kernel"
        if dtype and types and dtype not in types
        else ""
    )


def _why_above_one(samples: Sequence[Sample], chosen: Candidate, tflops: float) -> tuple[str, ...]:
    above = sum(sample.mfu > 1 for sample in samples)
    if not above:
        return ()
    dtype = samples[0].dtype
    enough = [peak for peak in KNOWN_PEAKS if peak.tflops >= chosen.best_rate_tflops]
    faster = [peak.name for peak in enough if dtype in (None, peak.dtype)]
    possible = f"; possible on {', '.join(faster)}" if faster else ""
    return (
        f"{above} rows have MFU above 1: the kernel reaches {chosen.best_rate_tflops:.0f} TFLOPS, which is more than "
        f"{tflops:g}, so the denominator belongs to another GPU or data type than the one timed{possible}",
    )
