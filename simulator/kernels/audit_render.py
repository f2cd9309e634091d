"""Prints an `AuditReport`, for people (text) and for programs (JSON).

Contract: the same report gives the same bytes. Text lists counts per table and names lines only where
something is wrong; JSON holds every line number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from simulator.kernels.audit import AuditReport, FamilyAudit, TableAudit

# Columns of the per-table listing: attribute of `TableAudit` and its heading.
COLUMNS = (
    ("rows", "rows"),
    ("disagreeing", "wrong"),
    ("zero", "zero"),
    ("above_peak", ">peak"),
    ("launch_bound", "launch"),
    ("warm_up", "warm-up"),
    ("falling", "falling"),
    ("holes", "holes"),
)
LINES_SHOWN = 12

LEGEND = (
    "wrong: the MFU column is not FLOPs / (latency x denominator)",
    "zero: printed as 0.000 by rounding, although the latency is valid",
    ">peak: faster than the denominator or the HBM bandwidth allows",
    "launch: shorter than twice the launch floor; prefill: under half of the file's best efficiency",
    "warm-up: first row, clearly above the launch floor with little KV",
    "falling: over 5 % faster than the same batch with shorter KV",
    "holes: grid cells without a row",
)


def render(report: AuditReport, form: str = "text") -> str:
    """Return the report as `text` or `json`."""
    return render_json(report) if form == "json" else render_text(report)


def render_json(report: AuditReport) -> str:
    """Return everything as JSON; an unbounded interval end is null."""
    content = asdict(report)
    for place, family in enumerate(report.families):
        content["families"][place]["totals"] = {kind: _count(family, kind) for kind, _ in COLUMNS}
    return json.dumps(_finite(content), indent=1, sort_keys=True) + "\n"


def render_text(report: AuditReport) -> str:
    """Return the report for reading."""
    lines = [f"Kernel tables of GPU '{report.gpu}', sha256 {report.sha256[:12]}"]
    if report.launch_floor_us:
        lines.append(f"Launch floor of decode tables: {report.launch_floor_us:.1f} us")
    for family in report.families:
        lines += ["", *_family_lines(family)]
    return "\n".join([*lines, "", *LEGEND]) + "\n"


def _family_lines(family: FamilyAudit) -> Iterator[str]:
    found = family.denominator
    peak = found.known.name if found.known else "no published peak"
    yield f"== {family.kernel}: {family.rows} rows in {len(family.tables)} tables"
    yield f"   denominator {found.tflops:.6g} TFLOPS ({peak}), FLOPs counted as {found.chosen.counting}"
    yield from (f"   - {reason}" for reason in found.reasons)
    rounding = family.rounding
    yield f"   largest MFU {family.max_mfu:.3f}; highest rate {family.best_tflops:.4g} TFLOPS"
    yield (
        f"   three decimals cost median {rounding.median_pct:.1f} %, p95 {rounding.p95_pct:.1f} %, at most "
        f"{rounding.max_pct:.0f} % of the value; over 5 % in {rounding.over_5_pct_rows} rows, over 10 % in "
        f"{rounding.over_10_pct_rows} (zero rows included)"
    )
    yield from (f"   - {conclusion}" for conclusion in family.conclusions)
    yield from _listing(family)


def _listing(family: FamilyAudit) -> Iterator[str]:
    width = max(len(table.path) for table in family.tables)
    yield "   " + "table".ljust(width) + "".join(heading.rjust(9) for _, heading in COLUMNS)
    for table in family.tables:
        yield "   " + table.path.ljust(width) + "".join(str(_size(table, kind)).rjust(9) for kind, _ in COLUMNS)
    yield "   " + "total".ljust(width) + "".join(str(_count(family, kind)).rjust(9) for kind, _ in COLUMNS)
    for table in family.tables:
        yield from _flagged(table)


def _flagged(table: TableAudit) -> Iterator[str]:
    wrong = list(zip(table.disagreeing, table.recomputed, strict=True))
    for line, mfu in wrong[:LINES_SHOWN]:
        yield f"   wrong: {table.path} line {line}: latency and shape give {mfu:.3f}"
    if len(wrong) > LINES_SHOWN:
        yield f"   wrong: {table.path}: {len(wrong)} lines in all"
    for kind, heading in (("zero", "zero"), ("above_peak", ">peak")):
        lines: Sequence[int] = getattr(table, kind)
        if lines:
            yield f"   {heading}: {table.path} line{'s' if len(lines) > 1 else ''} {_some(lines)}"


def _some(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:LINES_SHOWN]))
    return shown + (f", ... ({len(lines)} in all)" if len(lines) > LINES_SHOWN else "")


def _size(table: TableAudit, kind: str) -> int:
    return table.rows if kind == "rows" else len(getattr(table, kind))


def _count(family: FamilyAudit, kind: str) -> int:
    return family.rows if kind == "rows" else family.count(kind)


def _finite(value: Any) -> Any:
    """Return the value with infinities as null, because JSON has none."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and math.isinf(value) else value
