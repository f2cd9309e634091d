"""From the rows of all arms to everything a synthetic findings page shows.

Pure: rows, spec and published cells go in, a `RowReport` comes out. Of its numbers, every cell of a sweep that shows
its rows is one of scope `row`, and every summary one of scope `sweep` per sweep and one of scope `overall`; the arm is
the one the column reads, or `all`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roofline_lab.files import csv_text
from roofline_lab.hypotheses.arms import Arm
from roofline_lab.hypotheses.expressions import formula
from roofline_lab.hypotheses.synthetic.resolve import MEASURED, columns_of, methods_of, resolve_arms, split_name
from roofline_lab.hypotheses.synthetic.rows import Column, Row, RowTable, summarise, sweeps_of
from roofline_lab.hypotheses.synthetic.spec import Point, Sweep, SyntheticHypothesis, points
from roofline_lab.hypotheses.verdict import Verdict, judge
from roofline_lab.project import Project
from roofline_lab.scoring.numbers import Number
from roofline_lab.scoring.published import Cell, Published, ReproducedCell
from roofline_lab.vocabulary import KERNEL_LABELS, Reproduction, Scope, Statistic
from simulator.errors import ConfigError, InvariantError

# What an arm wrote about one point.
Line = Mapping[str, Any]
LOAD_POINT = "synthetic"
EVERY_ARM = "all"
EVERYTHING = "all"
OTHER_KERNELS = "published with measured kernel tables, which are not part of this project"
NO_SUCH_NUMBER = "this hypothesis has no such number"


@dataclass(frozen=True)
class KernelReport:
    """What one choice of kernels found.

    Attributes
    ----------
    peak_shares
        Largest FLOP and byte rate any step implies, as a share of the GPU's peak, and where.
    """

    method: str
    kernels: str
    arms: tuple[Arm, ...]
    table: RowTable
    verdict: Verdict
    peak_shares: Mapping[str, tuple[float, str]]

    @property
    def title(self) -> str:
        """The choice in words."""
        return KERNEL_LABELS[self.method]


@dataclass(frozen=True)
class RowReport:
    """One synthetic hypothesis, evaluated under all its kernels."""

    spec: SyntheticHypothesis
    methods: tuple[KernelReport, ...]
    published: Published | None
    comparisons: tuple[ReproducedCell, ...]
    numbers: tuple[Number, ...]

    @property
    def headline(self) -> KernelReport:
        """The kernels that give the page its status: the last ones listed."""
        return self.methods[-1]


def build_row_report(
    project: Project, spec: SyntheticHypothesis, lines: Sequence[Line], published: Published | None
) -> RowReport:
    """Work out, judge and compare everything one synthetic hypothesis ran.

    Parameters
    ----------
    lines
        What the arms wrote, under all kernels.
    """
    methods = tuple(_kernel_report(spec, name, lines) for name in methods_of(project, spec))
    numbers = tuple(number for method in methods for number in numbers_of(spec, method.method, method.table))
    ordered = tuple(sorted(numbers, key=lambda number: number.identity))
    comparisons = () if published is None else compare(published, methods[-1].method, ordered)
    return RowReport(spec, methods, published, comparisons, ordered)


def _kernel_report(spec: SyntheticHypothesis, method: str, lines: Sequence[Line]) -> KernelReport:
    own = [line for line in lines if line["method"] == method]
    table = build_table(spec, own, f"hypotheses/{spec.id}/hypothesis.yaml")
    verdict = judge(
        method,
        [criterion.evaluate(table) for criterion in spec.criteria],
        [control.evaluate(table) for control in spec.controls],
        spec.resolutions,
    )
    kernels = "; ".join(dict.fromkeys(line["kernels"] for line in own))
    return KernelReport(method, kernels, resolve_arms(spec, method), table, verdict, _peak_shares(own))


def _peak_shares(lines: Sequence[Line]) -> dict[str, tuple[float, str]]:
    found: dict[str, tuple[float, str]] = {}
    for line in lines:
        for name, share in line["peak_shares"].items():
            if name not in found or share > found[name][0]:
                found[name] = (share, f"{line['key']}, {line['arm']}")
    return found


# --- rows -------------------------------------------------------------------------------------


def build_table(spec: SyntheticHypothesis, lines: Iterable[Line], source: str) -> RowTable:
    """Return the rows of one choice of kernels.

    Parameters
    ----------
    lines
        What every arm wrote about every point.
    source
        File named in an error.

    Raises
    ------
    ConfigError
        If a column cannot be worked out at some point (a division by zero, say), or is no number.
    InvariantError
        If an arm says nothing about a point.
    """
    by_arm: dict[str, dict[str, Line]] = {name: {} for name in spec.arms}
    for line in lines:
        by_arm[line["arm"]][line["key"]] = line
    rows = (
        _row(point, sweep, columns_of(spec, sweep), by_arm, source) for sweep in spec.sweeps for point in points(sweep)
    )
    return RowTable(rows, spec.columns, spec.summaries)


def _row(
    point: Point, sweep: Sweep, columns: Iterable[Column], by_arm: Mapping[str, Mapping[str, Line]], source: str
) -> Row:
    lines = {arm: found.get(point.key) for arm, found in by_arm.items()}
    absent = [arm for arm, line in lines.items() if line is None]
    if absent:
        raise InvariantError(f"{source}: arm {absent[0]} has no line for {point.key}")
    values: dict[str, Any] = dict(point.values)
    reason = "; ".join(dict.fromkeys(line["reason"] for line in lines.values() if line and line["reason"]))
    if reason:
        return Row(sweep.id, point.key, point.label, point.values, {}, reason)

    def value_of(name: str) -> Any:
        parts = split_name(name, sweep)
        if parts is None:
            return values[name]
        arm, batch, quantity = parts
        line = lines[arm]
        assert line is not None  # refused above
        return line["values"][f"{batch}.{quantity}" if batch else quantity]

    cells: dict[str, float | None] = {}
    for column in columns:
        try:
            value = formula(column.value)(value_of)
        except ConfigError as error:
            raise ConfigError(f"{source}: columns.{column.id} at {point.key}: {error}") from None
        if isinstance(value, str):
            raise ConfigError(f"{source}: columns.{column.id} at {point.key}: gives the word '{value}', not a number")
        cells[column.id] = values[column.id] = float(value)
    return Row(sweep.id, point.key, point.label, point.values, cells)


# --- numbers ----------------------------------------------------------------------------------


def numbers_of(spec: SyntheticHypothesis, method: str, table: RowTable) -> tuple[Number, ...]:
    """Return every number of one choice of kernels."""
    return (*_row_numbers(spec, method, table), *_summary_numbers(spec, method, table))


def rows_text(spec: SyntheticHypothesis, tables: Iterable[tuple[str, RowTable]]) -> str:
    """Format every row as CSV, those without a number too."""
    names = [column.id for column in spec.columns]
    lines = [
        (method, row.sweep, row.key, *(_shown(row.cells.get(name)) for name in names), row.reason)
        for method, table in tables
        for row in table.rows
    ]
    return csv_text(("method", "sweep", "key", *names, "reason"), lines)


def compare(published: Published, method: str, numbers: Iterable[Number]) -> tuple[ReproducedCell, ...]:
    """Compare every published cell with the number of the same identity.

    Published step times rest on measured tables. Where other kernels answered, a cell that still
    comes out is reproduced, and one that does not is not reproducible here.
    """
    known = {_identity(number): number.value for number in numbers if number.method == method}
    return tuple(_comparison(cell, published, method, known.get(_identity(cell))) for cell in published.cells)


def arm_of(spec: SyntheticHypothesis, column: Column) -> str:
    """Return the one arm a column reads, directly or through other columns, or `all`."""
    arms = _arms_read(spec, column)
    return next(iter(arms)) if len(arms) == 1 else EVERY_ARM


def _arms_read(spec: SyntheticHypothesis, column: Column) -> set[str]:
    columns = {column.id: column for column in spec.columns}
    found: set[str] = set()
    for name in formula(column.value).names:
        if "." in name:
            found.add(name.split(".")[0])
        elif name in columns and name != column.id:
            found |= _arms_read(spec, columns[name])
    return found


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def _row_numbers(spec: SyntheticHypothesis, method: str, table: RowTable) -> Iterator[Number]:
    shown = {sweep.id for sweep in spec.sweeps if sweep.rows}
    columns = {column.id: (column.unit, arm_of(spec, column)) for column in spec.columns}
    for row in table.rows:
        if row.sweep not in shown:
            continue
        for name, value in row.cells.items():
            if value is not None:
                unit, arm = columns[name]
                yield Number(method, arm, LOAD_POINT, Scope.ROW, row.key, name, Statistic.VALUE, value, unit)


def _summary_numbers(spec: SyntheticHypothesis, method: str, table: RowTable) -> Iterator[Number]:
    for summary in spec.summaries:
        column = spec.column(summary.column)
        unit, arm = summary.unit(column.unit), arm_of(spec, column)
        places: list[tuple[Scope, str, str | None]] = [(Scope.OVERALL, EVERYTHING, None)]
        places += [(Scope.SWEEP, name, name) for name in sweeps_of(summary, table)]
        for scope, key, sweep in places:
            value = summarise(summary, table, sweep)
            if value is not None:
                yield Number(method, arm, LOAD_POINT, scope, key, summary.id, summary.statistic, value, unit)


def _identity(entry: Cell | Number) -> tuple[str, ...]:
    return (entry.scope.value, entry.key, str(entry.metric), entry.statistic.value)


def _comparison(cell: Cell, published: Published, method: str, value: float | None) -> ReproducedCell:
    def found(verdict: Reproduction, reason: str = "") -> ReproducedCell:
        return ReproducedCell(cell, value, value, value, verdict is Reproduction.REPRODUCED, verdict, reason)

    for group in published.source.not_reproducible:
        if group.covers(cell):
            return found(Reproduction.NOT_REPRODUCIBLE, group.reason)
    if value is None:
        return found(Reproduction.NOT_REPRODUCED, NO_SUCH_NUMBER)
    distance = abs(value - cell.value)
    if distance <= cell.half_digit * (1 + 1e-9):
        return found(Reproduction.REPRODUCED)
    if method != MEASURED:
        return found(Reproduction.NOT_REPRODUCIBLE, OTHER_KERNELS)
    beyond = f"{distance - cell.half_digit:.4g} {cell.unit} beyond the printed digit"
    return found(Reproduction.NOT_REPRODUCED, beyond)
