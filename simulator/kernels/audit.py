"""Audits a folder of kernel tables: what was divided by what, and which rows not to trust.

Contract: `audit_tables(path)` recomputes every row's MFU from latency and shape and returns an
`AuditReport`; nothing about the tables is taken on trust, not even the denominator. The report is
plain data; `audit_render` prints it. The only assumptions are the data-sheet peaks in `denominator`
and the HBM bandwidths below, used to express rates as shares of a peak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from simulator.kernels.base import AttentionShape
from simulator.kernels.conventions import MFU_DECIMALS, MICRO, decode_kv_bytes
from simulator.kernels.denominator import (
    CAUSAL_HALF,
    HALF_STEP,
    KNOWN_PEAKS,
    TERA,
    Denominator,
    Sample,
    decode_sample,
    gemm_sample,
    infer_denominator,
    prefill_sample,
)
from simulator.kernels.policies import MFU_FLOOR
from simulator.kernels.rowclass import (
    ON_FLOOR_RATIO,
    LaunchFloor,
    launch_bound_decode,
    launch_bound_prefill,
    launch_floor,
    warm_up_lines,
)
from simulator.kernels.statistics import percentile
from simulator.kernels.tables import AnyTable, DecodeRow, KernelTables, Table, load_tables

# TB/s; NVIDIA data sheets, by the GPU names used in `KNOWN_PEAKS`.
HBM_TBS = {"H20": 4.0, "A100": 2.039, "L40S": 0.864, "H100 PCIe": 2.0, "H100 SXM": 3.35, "B200": 8.0}
# TB/s; the same, for GPUs that share their tensor cores with another and are told by their folder's name.
HBM_TBS_BY_FOLDER = {"h200": 4.8, "h800": 3.35}

# The divisor upstream applies to dense prefill FLOPs; dimensionless, taken over from InferSim.
UPSTREAM_CAUSAL_DIVISOR = 1.8
# Share by which latency must fall with longer KV to be worth a mention.
FALLING_SHARE = 0.05
# Rounding error of the MFU column, as share of the value, that is counted as material.
ROUNDING_LIMITS = (0.05, 0.10)


@dataclass(frozen=True, slots=True)
class TableAudit:
    """One file: line numbers are those of the file, counted from 1.

    Attributes
    ----------
    disagreeing, recomputed
        Rows whose MFU column is not what latency, shape and the family's denominator give, and what
        they do give.
    zero
        Rows whose MFU is printed as 0 although their latency is valid.
    above_peak
        Rows faster than the denominator, or than the HBM bandwidth, allows.
    launch_bound, warm_up
        See `rowclass`.
    falling
        Rows that take over 5 % less time than the same batch with shorter KV.
    holes
        Grid cells without a row, as text.
    max_deviation
        Largest |column - recomputed|; 0.0005 is what rounding alone can do.
    """

    path: str
    rows: int
    disagreeing: tuple[int, ...]
    recomputed: tuple[float, ...]
    zero: tuple[int, ...]
    above_peak: tuple[int, ...]
    launch_bound: tuple[int, ...]
    warm_up: tuple[int, ...]
    falling: tuple[int, ...]
    holes: tuple[str, ...]
    max_deviation: float


@dataclass(frozen=True, slots=True)
class Rounding:
    """What printing the MFU with three decimals costs, percent of the value.

    Rows that round to zero lose all of it; they are left out of median, p95 and maximum, and are
    counted among the rows over 5 and 10 %.
    """

    median_pct: float
    p95_pct: float
    max_pct: float
    over_5_pct_rows: int
    over_10_pct_rows: int


@dataclass(frozen=True, slots=True)
class FamilyAudit:
    """All tables of one kernel.

    Attributes
    ----------
    denominator
        Inferred way the column was made.
    max_mfu
        Largest printed MFU.
    best_tflops
        Highest FLOP rate reached, in the inferred counting.
    conclusions
        What follows for whoever uses these tables, in sentences.
    """

    kernel: str
    denominator: Denominator
    max_mfu: float
    best_tflops: float
    rounding: Rounding
    tables: tuple[TableAudit, ...]
    conclusions: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Number of rows over all tables."""
        return sum(table.rows for table in self.tables)

    def count(self, kind: str) -> int:
        """Return how many rows or cells are listed under one attribute of `TableAudit`."""
        return sum(len(getattr(table, kind)) for table in self.tables)


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Everything the audit found in one folder."""

    gpu: str
    sha256: str
    launch_floor_us: float
    families: tuple[FamilyAudit, ...]

    def family(self, kernel: str) -> FamilyAudit:
        """Return the audit of `gemm`, `prefill_attention` or `decode_attention`."""
        return next(family for family in self.families if family.kernel == kernel)


def audit_tables(path: Path, gpu: str | None = None) -> AuditReport:
    """Audit a folder in InferSim layout.

    Raises
    ------
    TableError
        If the folder cannot be read as kernel tables; the audit judges numbers, not syntax.
    """
    return audit(load_tables(path, gpu))


def audit(tables: KernelTables) -> AuditReport:
    """Audit tables already read."""
    floor = launch_floor(tables.decode)
    families = []
    if tables.gemm is not None:
        families.append(_gemm(tables))
    if tables.prefill:
        families.append(_prefill(tables))
    if tables.decode:
        families.append(_decode(tables, floor))
    return AuditReport(tables.gpu, tables.sha256, floor.latency_us, tuple(families))


def _gemm(tables: KernelTables) -> FamilyAudit:
    assert tables.gemm is not None  # checked by the caller
    table = tables.gemm
    samples = [gemm_sample(row) for row in table.rows]
    denominator = infer_denominator(samples)
    pairs = sorted({(row.k, row.n) for row in table.rows})
    known = {row.key for row in table.rows}
    ms = sorted({row.m for row in table.rows})
    cells = [(m, k, n) for k, n in pairs for m in ms]
    ks, ns = sorted({k for k, _ in pairs}), sorted({n for _, n in pairs})
    holes = [f"k={k} n={n}" for k in ks for n in ns if (k, n) not in pairs]
    holes += [f"m={m} k={k} n={n}" for m, k, n in cells if (m, k, n) not in known]
    weights = max(row.k * row.n / (row.latency_us * MICRO) for row in table.rows) / TERA
    audited = _table(table, samples, denominator, holes=holes)
    conclusions = (
        *_gemm_conclusions(tables.gpu, denominator, weights),
        f"covers k in {ks}, n in {ns}, m from {ms[0]} to {ms[-1]}",
    )
    return _family("gemm", denominator, samples, (audited,), conclusions)


def _gemm_conclusions(gpu: str, denominator: Denominator, weights_tbs: float) -> Iterable[str]:
    best, peak = denominator.chosen.best_rate_tflops, denominator.known
    if peak is None or peak.dtype != "fp8":
        return
    bf16 = next(other for other in KNOWN_PEAKS if other.gpu == peak.gpu and other.dtype == "bf16")
    if best > bf16.tflops:
        yield (
            f"FP8-class kernel: {best:.0f} TFLOPS is impossible in BF16 ({bf16.tflops:g}); against {bf16.tflops:g} the "
            f"column would reach {best / bf16.tflops:.2f}, which is where 'MFU above 1' comes from"
        )
    bandwidth = _bandwidth_tbs(gpu, denominator)
    if bandwidth is not None and 2 * weights_tbs > bandwidth:
        yield (
            f"one byte per weight: reading the weights at {weights_tbs:.2f} TB/s is possible, at two bytes "
            f"({2 * weights_tbs:.2f} TB/s) it would exceed {bandwidth:g} TB/s"
        )
    yield (
        f"a model that divides by {bf16.tflops:g} TFLOPS x MFU prices a GEMM at {peak.tflops / bf16.tflops:g} x the "
        f"measured latency: an assumption about BF16, not a measurement; an FP8 model must divide by {peak.tflops:g}"
    )


def _prefill(tables: KernelTables) -> FamilyAudit:
    by_table = {shape: [prefill_sample(shape, row) for row in table.rows] for shape, table in tables.prefill.items()}
    samples = [sample for rows in by_table.values() for sample in rows]
    denominator = infer_denominator(samples)
    lengths = sorted({row.seq_len for table in tables.prefill.values() for row in table.rows})
    audited = []
    for shape, table in tables.prefill.items():
        missing = set(lengths) - {row.seq_len for row in table.rows}
        bound = launch_bound_prefill(shape, table)
        holes = [f"seq_len={length}" for length in sorted(missing)]
        audited.append(_table(table, by_table[shape], denominator, holes=holes, launch_bound=bound))
    conclusions = (*_prefill_conclusions(denominator), f"covers sequences of {lengths} tokens")
    return _family("prefill_attention", denominator, samples, tuple(audited), conclusions)


def _prefill_conclusions(denominator: Denominator) -> Iterable[str]:
    if denominator.chosen.counting == CAUSAL_HALF:
        excess = 2.0 / UPSTREAM_CAUSAL_DIVISOR
        yield (
            f"the column counts half of the dense FLOPs, so dense FLOPs must be divided by 2; dividing by "
            f"{UPSTREAM_CAUSAL_DIVISOR:g} prices prefill attention at {excess:.3f} x the measured latency "
            f"({100 * (excess - 1):+.1f} %)"
        )
    best = denominator.chosen.best_rate_tflops
    lower = [peak for peak in KNOWN_PEAKS if peak.tflops < best and peak.dtype == "bf16"]
    if lower:
        yield f"no MFU above 1 against {denominator.tflops:g} TFLOPS; against " + ", ".join(
            f"{peak.tflops:g} ({peak.name}) the column would reach {best / peak.tflops:.2f}" for peak in lower
        )


def _decode(tables: KernelTables, floor: LaunchFloor) -> FamilyAudit:
    by_table = {key: [decode_sample(*key, row) for row in table.rows] for key, table in tables.decode.items()}
    samples = [sample for rows in by_table.values() for sample in rows]
    denominator = infer_denominator(samples)
    bandwidth = _bandwidth_tbs(tables.gpu, denominator)
    audited = []
    for (shape, tp), table in tables.decode.items():
        rates = {row.line: _kv_tbs(shape, tp, row) for row in table.rows}
        audited.append(
            _table(
                table,
                by_table[(shape, tp)],
                denominator,
                holes=_decode_holes(table),
                launch_bound=launch_bound_decode(shape, tp, table, floor),
                warm_up=warm_up_lines(shape, tp, table, floor),
                falling=_falling(table),
                too_fast=[line for line, rate in rates.items() if bandwidth is not None and rate > bandwidth],
            )
        )
    conclusions = tuple(_decode_conclusions(tables, bandwidth, floor))
    return _family("decode_attention", denominator, samples, tuple(audited), conclusions)


def _bandwidth_tbs(gpu: str, denominator: Denominator) -> float | None:
    by_peak = HBM_TBS[denominator.known.gpu] if denominator.known else None
    return HBM_TBS_BY_FOLDER.get(gpu.lower(), by_peak)


def _decode_conclusions(tables: KernelTables, bandwidth_tbs: float | None, floor: LaunchFloor) -> Iterable[str]:
    best = [max(_kv_tbs(shape, tp, row) for row in table.rows) for (shape, tp), table in tables.decode.items()]
    share = (
        f" ({100 * min(best) / bandwidth_tbs:.0f}-{100 * max(best) / bandwidth_tbs:.0f} % of {bandwidth_tbs:g})"
        if bandwidth_tbs
        else ""
    )
    yield f"a bandwidth kernel: every file saturates at {min(best):.2f}-{max(best):.2f} TB/s of K and V bytes{share}"
    yield "use latency_us: three decimals cannot hold these MFU values, and a zero row borrows the nearest other one"
    on_floor = sum(_on_floor(shape, tp, table, floor) for (shape, tp), table in tables.decode.items())
    yield (
        f"launched by the host: {on_floor} rows lie on a floor of about {floor.latency_us:.1f} us; taken per layer it "
        f"adds time that a server with CUDA graphs does not spend"
    )


def _on_floor(shape: AttentionShape, tp: int, table: Table[DecodeRow], floor: LaunchFloor) -> int:
    warm_up = warm_up_lines(shape, tp, table, floor)
    limit = ON_FLOOR_RATIO * floor.latency_us
    return sum(row.latency_us <= limit and row.line not in warm_up for row in table.rows)


def _kv_tbs(shape: AttentionShape, tp: int, row: DecodeRow) -> float:
    return decode_kv_bytes(shape, tp, row.batch_size * row.kv_len) / (row.latency_us * MICRO) / TERA


def _decode_holes(table: Table[DecodeRow]) -> list[str]:
    known = {row.key for row in table.rows}
    batches, lengths = sorted({batch for batch, _ in known}), sorted({kv_len for _, kv_len in known})
    return [f"batch_size={b} kv_len={kv}" for b in batches for kv in lengths if (b, kv) not in known]


def _falling(table: Table[DecodeRow]) -> list[int]:
    lines = []
    for batch in sorted({row.batch_size for row in table.rows}):
        rows = sorted((row for row in table.rows if row.batch_size == batch), key=lambda row: row.kv_len)
        lines += [
            after.line for before, after in pairwise(rows) if after.latency_us < (1 - FALLING_SHARE) * before.latency_us
        ]
    return lines


def _table(
    table: AnyTable,
    samples: Sequence[Sample],
    denominator: Denominator,
    *,
    holes: Sequence[str] = (),
    launch_bound: Iterable[int] = (),
    warm_up: Iterable[int] = (),
    falling: Iterable[int] = (),
    too_fast: Iterable[int] = (),
) -> TableAudit:
    lines = [row.line for row in table.rows]
    true_mfus = [_true_mfu(sample, denominator) for sample in samples]
    deviations = [abs(sample.mfu - mfu) for sample, mfu in zip(samples, true_mfus, strict=True)]

    def where(condition: Callable[[int], bool]) -> tuple[int, ...]:
        return tuple(lines[place] for place in range(len(lines)) if condition(place))

    return TableAudit(
        path=table.path,
        rows=len(lines),
        disagreeing=where(lambda place: deviations[place] > HALF_STEP),
        recomputed=tuple(mfu for mfu, off in zip(true_mfus, deviations, strict=True) if off > HALF_STEP),
        zero=where(lambda place: samples[place].mfu < MFU_FLOOR),
        above_peak=tuple(sorted({*where(lambda place: true_mfus[place] > 1), *too_fast})),
        launch_bound=tuple(sorted(launch_bound)),
        warm_up=tuple(sorted(warm_up)),
        falling=tuple(sorted(falling)),
        holes=tuple(holes),
        max_deviation=max(deviations),
    )


def _true_mfu(sample: Sample, denominator: Denominator) -> float:
    return sample.tflops(denominator.chosen.counting) / denominator.tflops


def _family(
    kernel: str,
    denominator: Denominator,
    samples: Sequence[Sample],
    tables: tuple[TableAudit, ...],
    conclusions: tuple[str, ...],
) -> FamilyAudit:
    return FamilyAudit(
        kernel=kernel,
        denominator=denominator,
        max_mfu=max(sample.mfu for sample in samples),
        best_tflops=denominator.chosen.best_rate_tflops,
        rounding=_rounding(samples, denominator),
        tables=tables,
        conclusions=conclusions,
    )


def _rounding(samples: Sequence[Sample], denominator: Denominator) -> Rounding:
    """Compare every true MFU with itself at three decimals."""
    true_mfus = [_true_mfu(sample, denominator) for sample in samples]
    shares = sorted(abs(round(mfu, MFU_DECIMALS) - mfu) / mfu for mfu in true_mfus)
    over = [sum(share > limit for share in shares) for limit in ROUNDING_LIMITS]
    kept = [share for share in shares if share < 1.0] or shares
    return Rounding(100 * median(kept), 100 * percentile(kept, 0.95), 100 * kept[-1], over[0], over[1])
