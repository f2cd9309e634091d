"""Audits a folder of kernel tables: what was divided by what, and which rows not to trust.

Contract: `audit_tables(path)` recomputes every row's MFU from latency and shape and returns an
`AuditReport` of plain data; nothing about the tables is taken on trust, not even the denominator. `render`
prints it for people (text) and for programs (JSON): the same report gives the same bytes. The only assumptions
are the data-sheet peaks in `conventions` and the HBM bandwidths below, used to express rates as shares of a peak.

Rows that timed something else than the kernel:

* Launch-bound: the host needed longer to launch the kernel than the GPU to run it, wholly or in part,
  so that latency says little about the kernel. Decode: rows below twice the launch floor, the floor
  being the median over files of each file's fastest row. Prefill: rows that reach less than half of
  the best efficiency of their file, because fixed time dominates. GEMM tables time the GPU alone, so
  none of their rows is launch-bound.
* Warm-up: the first row of a decode file, where it takes clearly longer than the launch floor although
  rows with more KV bytes do not; the process was still compiling or clocking up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from simulator.kernels.base import AttentionShape
from simulator.kernels.conventions import (
    CAUSAL_HALF,
    HALF_STEP,
    KNOWN_PEAKS,
    MFU_DECIMALS,
    MICRO,
    TERA,
    Denominator,
    Sample,
    decode_kv_bytes,
    decode_sample,
    gemm_sample,
    infer_denominator,
    prefill_row_mfu,
    prefill_sample,
)
from simulator.kernels.table_lookup import MFU_FLOOR
from simulator.kernels.tables import AnyTable, DecodeRow, GemmRow, KernelTables, PrefillRow, Table, load_tables

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
# Dimensionless: rows up to this multiple of the launch floor lie on it; repetition noise on the
# floor of the reference tables is 15 %, and their warm-up rows stand 50 % above it.
ON_FLOOR_RATIO = 1.25
# Dimensionless: a kernel shorter than this many launch floors still hides partly behind a launch.
LAUNCH_BOUND_RATIO = 2.0
# Dimensionless: share of a file's best efficiency below which fixed time dominates a prefill row.
FIXED_TIME_SHARE = 0.5

# What is printed: attribute of `TableAudit`, heading of its column, and what it means.
KINDS = (
    ("rows", "rows", ""),
    ("disagreeing", "wrong", "the MFU column is not FLOPs / (latency x denominator)"),
    ("zero", "zero", "printed as 0.000 by rounding, although the latency is valid"),
    ("above_peak", ">peak", "faster than the denominator or the HBM bandwidth allows"),
    (
        "launch_bound",
        "launch",
        "shorter than twice the launch floor; prefill: under half of the file's best efficiency",
    ),
    ("warm_up", "warm-up", "first row, clearly above the launch floor with little KV"),
    ("falling", "falling", "over 5 % faster than the same batch with shorter KV"),
    ("holes", "holes", "grid cells without a row"),
)
LINES_SHOWN = 12


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
        See the module.
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

    def count(self, kind: str) -> int:
        """Return how many rows or cells are listed under one attribute."""
        return self.rows if kind == "rows" else len(getattr(self, kind))


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
        return self.count("rows")

    def count(self, kind: str) -> int:
        """Return how many rows or cells are listed under one attribute of `TableAudit`."""
        return sum(table.count(kind) for table in self.tables)


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


@dataclass(frozen=True, slots=True)
class LaunchFloor:
    """Time below which no decode kernel was seen, and the most KV bytes that were read within it."""

    latency_us: float
    kv_bytes: float


@dataclass(frozen=True, slots=True)
class _Counted:
    """One table with its rows' FLOPs counted, and what is known of it before its denominator is: see `TableAudit`."""

    table: AnyTable
    samples: Sequence[Sample]
    holes: Sequence[str] = ()
    launch_bound: Iterable[int] = ()
    warm_up: Iterable[int] = ()
    falling: Iterable[int] = ()


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
        families.append(_gemm(tables.gemm, tables.gpu))
    if tables.prefill:
        families.append(_prefill(tables.prefill))
    if tables.decode:
        families.append(_decode(tables, floor))
    return AuditReport(tables.gpu, tables.sha256, floor.latency_us, tuple(families))


# Rows that timed something else -------------------------------------------------------------------


def launch_floor(tables: Mapping[tuple[AttentionShape, int], Table[DecodeRow]]) -> LaunchFloor:
    """Find the launch floor of a set of decode tables; the first row of each is not asked."""
    later = {key: table.rows[1:] or table.rows for key, table in tables.items()}
    fastest = [min(row.latency_us for row in rows) for rows in later.values()]
    floor_us = median(fastest) if fastest else 0.0
    read = [
        decode_kv_bytes(shape, tp, row.batch_size * row.kv_len)
        for (shape, tp), rows in later.items()
        for row in rows
        if row.latency_us <= ON_FLOOR_RATIO * floor_us
    ]
    return LaunchFloor(floor_us, max(read, default=0.0))


def warm_up_lines(shape: AttentionShape, tp: int, table: Table[DecodeRow], floor: LaunchFloor) -> frozenset[int]:
    """Return the lines of warm-up rows (none or the first)."""
    first = table.rows[0]
    slow = first.latency_us > ON_FLOOR_RATIO * floor.latency_us
    small = decode_kv_bytes(shape, tp, first.batch_size * first.kv_len) <= floor.kv_bytes
    return frozenset({first.line}) if slow and small else frozenset()


def launch_bound_decode(shape: AttentionShape, tp: int, table: Table[DecodeRow], floor: LaunchFloor) -> frozenset[int]:
    """Return the lines of launch-bound rows, warm-up rows not among them."""
    limit = LAUNCH_BOUND_RATIO * floor.latency_us
    return frozenset(row.line for row in table.rows if row.latency_us < limit) - warm_up_lines(shape, tp, table, floor)


def launch_bound_prefill(shape: AttentionShape, table: Table[PrefillRow]) -> frozenset[int]:
    """Return the lines of rows that reach less than half of their file's best efficiency."""
    mfus = {row.line: prefill_row_mfu(shape, row) for row in table.rows}
    limit = FIXED_TIME_SHARE * max(mfus.values())
    return frozenset(line for line, mfu in mfus.items() if mfu < limit)


# Families -----------------------------------------------------------------------------------------


def _gemm(table: Table[GemmRow], gpu: str) -> FamilyAudit:
    samples = [gemm_sample(row) for row in table.rows]
    denominator = infer_denominator(samples)
    pairs, known = sorted({(row.k, row.n) for row in table.rows}), {row.key for row in table.rows}
    ms, ks, ns = (sorted({getattr(row, axis) for row in table.rows}) for axis in ("m", "k", "n"))
    holes = [f"k={k} n={n}" for k in ks for n in ns if (k, n) not in pairs]
    holes += [f"m={m} k={k} n={n}" for k, n in pairs for m in ms if (m, k, n) not in known]
    weights_tbs = max(row.k * row.n / (row.latency_us * MICRO) for row in table.rows) / TERA
    conclusions = (
        *_gemm_conclusions(gpu, denominator, weights_tbs),
        f"covers k in {ks}, n in {ns}, m from {ms[0]} to {ms[-1]}",
    )
    return _family("gemm", denominator, [_Counted(table, samples, holes)], conclusions)


def _gemm_conclusions(gpu: str, denominator: Denominator, weights_tbs: float) -> Iterator[str]:
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


def _prefill(tables: Mapping[AttentionShape, Table[PrefillRow]]) -> FamilyAudit:
    lengths = sorted({row.seq_len for table in tables.values() for row in table.rows})
    counted = []
    for shape, table in tables.items():
        known = {row.seq_len for row in table.rows}
        samples = [prefill_sample(shape, row) for row in table.rows]
        holes = [f"seq_len={length}" for length in lengths if length not in known]
        counted.append(_Counted(table, samples, holes, launch_bound_prefill(shape, table)))
    denominator = _denominator_of(counted)
    conclusions = (*_prefill_conclusions(denominator), f"covers sequences of {lengths} tokens")
    return _family("prefill_attention", denominator, counted, conclusions)


def _prefill_conclusions(denominator: Denominator) -> Iterator[str]:
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
    counted, kv_tbs, on_floor = [], {}, 0
    for (shape, tp), table in tables.decode.items():
        samples = [decode_sample(shape, tp, row) for row in table.rows]
        bound, warm_up = launch_bound_decode(shape, tp, table, floor), warm_up_lines(shape, tp, table, floor)
        counted.append(_Counted(table, samples, _decode_holes(table), bound, warm_up, _falling(table)))
        kv_tbs[table.path] = [
            decode_kv_bytes(shape, tp, row.batch_size * row.kv_len) / (row.latency_us * MICRO) / TERA
            for row in table.rows
        ]
        limit = ON_FLOOR_RATIO * floor.latency_us
        on_floor += sum(row.latency_us <= limit and row.line not in warm_up for row in table.rows)
    denominator = _denominator_of(counted)
    bandwidth = _bandwidth_tbs(tables.gpu, denominator)
    best = [max(rates) for rates in kv_tbs.values()]
    conclusions = tuple(_decode_conclusions(best, bandwidth, on_floor, floor.latency_us))
    return _family("decode_attention", denominator, counted, conclusions, kv_tbs, bandwidth)


def _decode_conclusions(
    best_tbs: Sequence[float], bandwidth_tbs: float | None, on_floor: int, floor_us: float
) -> Iterator[str]:
    low, high, share = min(best_tbs), max(best_tbs), ""
    if bandwidth_tbs:
        share = f" ({100 * low / bandwidth_tbs:.0f}-{100 * high / bandwidth_tbs:.0f} % of {bandwidth_tbs:g})"
    yield f"a bandwidth kernel: every file saturates at {low:.2f}-{high:.2f} TB/s of K and V bytes{share}"
    yield "use latency_us: three decimals cannot hold these MFU values, and a zero row borrows the nearest other one"
    yield (
        f"launched by the host: {on_floor} rows lie on a floor of about {floor_us:.1f} us; taken per layer it "
        f"adds time that a server with CUDA graphs does not spend"
    )


def _decode_holes(table: Table[DecodeRow]) -> list[str]:
    known = {row.key for row in table.rows}
    batches, lengths = sorted({batch for batch, _ in known}), sorted({kv_len for _, kv_len in known})
    return [f"batch_size={b} kv_len={kv}" for b in batches for kv in lengths if (b, kv) not in known]


def _falling(table: Table[DecodeRow]) -> list[int]:
    ordered = sorted(table.rows, key=lambda row: row.key)
    return [
        after.line
        for before, after in pairwise(ordered)
        if before.batch_size == after.batch_size and after.latency_us < (1 - FALLING_SHARE) * before.latency_us
    ]


def _bandwidth_tbs(gpu: str, denominator: Denominator) -> float | None:
    by_peak = HBM_TBS[denominator.known.gpu] if denominator.known else None
    return HBM_TBS_BY_FOLDER.get(gpu.lower(), by_peak)


def _denominator_of(counted: Sequence[_Counted]) -> Denominator:
    return infer_denominator([sample for entry in counted for sample in entry.samples])


def _family(
    kernel: str,
    denominator: Denominator,
    counted: Sequence[_Counted],
    conclusions: tuple[str, ...],
    kv_tbs: Mapping[str, Sequence[float]] | None = None,
    bandwidth_tbs: float | None = None,
) -> FamilyAudit:
    """Judge the tables of one kernel; `kv_tbs` has, by path, the rates at which their rows read K and V."""
    samples = [sample for entry in counted for sample in entry.samples]
    limit = math.inf if bandwidth_tbs is None else bandwidth_tbs
    return FamilyAudit(
        kernel=kernel,
        denominator=denominator,
        max_mfu=max(sample.mfu for sample in samples),
        best_tflops=denominator.chosen.best_rate_tflops,
        rounding=_rounding(_true_mfus(samples, denominator)),
        tables=tuple(
            _table(entry, denominator, [rate > limit for rate in (kv_tbs or {}).get(entry.table.path, ())])
            for entry in counted
        ),
        conclusions=conclusions,
    )


def _table(counted: _Counted, denominator: Denominator, too_fast: Sequence[bool]) -> TableAudit:
    """Judge one table; `too_fast` flags the rows that read faster than the memory, empty where none was asked."""
    lines = [row.line for row in counted.table.rows]
    mfus = _true_mfus(counted.samples, denominator)
    printed = [sample.mfu for sample in counted.samples]
    deviations = [abs(shown - mfu) for shown, mfu in zip(printed, mfus, strict=True)]
    wrong = [(line, mfu) for line, mfu, off in zip(lines, mfus, deviations, strict=True) if off > HALF_STEP]
    above = [mfu > 1 or fast for mfu, fast in zip(mfus, too_fast or [False] * len(lines), strict=True)]
    return TableAudit(
        path=counted.table.path,
        rows=len(lines),
        disagreeing=tuple(line for line, _ in wrong),
        recomputed=tuple(mfu for _, mfu in wrong),
        zero=tuple(line for line, mfu in zip(lines, printed, strict=True) if mfu < MFU_FLOOR),
        above_peak=tuple(line for line, over in zip(lines, above, strict=True) if over),
        launch_bound=tuple(sorted(counted.launch_bound)),
        warm_up=tuple(sorted(counted.warm_up)),
        falling=tuple(sorted(counted.falling)),
        holes=tuple(counted.holes),
        max_deviation=max(deviations),
    )


def _true_mfus(samples: Sequence[Sample], denominator: Denominator) -> list[float]:
    counting = denominator.chosen.counting
    return [sample.tflops(counting) / denominator.tflops for sample in samples]


def _rounding(mfus: Sequence[float]) -> Rounding:
    """Compare every true MFU with itself at three decimals."""
    shares = sorted(abs(round(mfu, MFU_DECIMALS) - mfu) / mfu for mfu in mfus)
    over = [sum(share > limit for share in shares) for limit in ROUNDING_LIMITS]
    kept = [share for share in shares if share < 1.0] or shares
    return Rounding(100 * median(kept), 100 * percentile(kept, 0.95), 100 * kept[-1], over[0], over[1])


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return a percentile of sorted values, with linear interpolation between neighbours.

    Parameters
    ----------
    ordered
        At least one value, ascending.
    share
        Rank as a share of the way from the first to the last value, 0 to 1.
    """
    rank = share * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


# Printing -----------------------------------------------------------------------------------------


def render(report: AuditReport, form: str = "text") -> str:
    """Return the report as `text`, which names lines only where something is wrong, or all of it as `json`."""
    return _render_json(report) if form == "json" else _render_text(report)


def _render_json(report: AuditReport) -> str:
    content = asdict(report)
    for family, data in zip(report.families, content["families"], strict=True):
        data["totals"] = {kind: family.count(kind) for kind, _, _ in KINDS}
    return json.dumps(_finite(content), indent=1, sort_keys=True) + "\n"


def _finite(value: Any) -> Any:
    """Return the value with infinities as null, because JSON has none."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def _render_text(report: AuditReport) -> str:
    lines = [f"Kernel tables of GPU '{report.gpu}', sha256 {report.sha256[:12]}"]
    if report.launch_floor_us:
        lines.append(f"Launch floor of decode tables: {report.launch_floor_us:.1f} us")
    for family in report.families:
        lines += ["", *_summary(family), *_listing(family)]
        lines += [line for table in family.tables for line in _flagged(table)]
    legend = [f"{heading}: {meaning}" for _, heading, meaning in KINDS if meaning]
    return "\n".join([*lines, "", *legend]) + "\n"


def _summary(family: FamilyAudit) -> Iterator[str]:
    found, rounding = family.denominator, family.rounding
    peak = found.known.name if found.known else "no published peak"
    yield f"== {family.kernel}: {family.rows} rows in {len(family.tables)} tables"
    yield f"   denominator {found.tflops:.6g} TFLOPS ({peak}), FLOPs counted as {found.chosen.counting}"
    yield from (f"   - {reason}" for reason in found.reasons)
    yield f"   largest MFU {family.max_mfu:.3f}; highest rate {family.best_tflops:.4g} TFLOPS"
    yield (
        f"   three decimals cost median {rounding.median_pct:.1f} %, p95 {rounding.p95_pct:.1f} %, at most "
        f"{rounding.max_pct:.0f} % of the value; over 5 % in {rounding.over_5_pct_rows} rows, over 10 % in "
        f"{rounding.over_10_pct_rows} (zero rows included)"
    )
    yield from (f"   - {conclusion}" for conclusion in family.conclusions)


def _listing(family: FamilyAudit) -> Iterator[str]:
    width = max(len(table.path) for table in family.tables)
    counted = [(table.path, table.count) for table in family.tables]
    yield "   " + "table".ljust(width) + "".join(heading.rjust(9) for _, heading, _ in KINDS)
    for name, count in (*counted, ("total", family.count)):
        yield "   " + name.ljust(width) + "".join(str(count(kind)).rjust(9) for kind, _, _ in KINDS)


def _flagged(table: TableAudit) -> Iterator[str]:
    wrong = list(zip(table.disagreeing, table.recomputed, strict=True))
    for line, mfu in wrong[:LINES_SHOWN]:
        yield f"   wrong: {table.path} line {line}: latency and shape give {mfu:.3f}"
    if len(wrong) > LINES_SHOWN:
        yield f"   wrong: {table.path}: {len(wrong)} lines in all"
    for heading, lines in (("zero", table.zero), (">peak", table.above_peak)):
        if lines:
            shown = ", ".join(map(str, lines[:LINES_SHOWN]))
            more = f", ... ({len(lines)} in all)" if len(lines) > LINES_SHOWN else ""
            yield f"   {heading}: {table.path} line{'s' if len(lines) > 1 else ''} {shown}{more}"
