"""The numbers of a synthetic hypothesis, as lines of `numbers.csv`, and those once published.

Every cell of a sweep that shows its rows is a number of scope `row`; every summary is one of scope
`sweep` per sweep and one of scope `overall`. The arm is the one the column reads, or `all`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from roofline_lab.files import csv_text
from roofline_lab.hypotheses.expressions import formula
from roofline_lab.hypotheses.synthetic.resolve import MEASURED
from roofline_lab.hypotheses.synthetic.rows import RowTable
from roofline_lab.hypotheses.synthetic.spec import Column, SyntheticHypothesis
from roofline_lab.hypotheses.synthetic.summaries import summarise, sweeps_of
from roofline_lab.scoring.numbers import NUMBER_COLUMNS, VALUE_DECIMALS
from roofline_lab.scoring.published import Cell, Comparison, Published
from roofline_lab.vocabulary import Reproduction, Scope, Statistic

LOAD_POINT = "synthetic"
EVERY_ARM = "all"
EVERYTHING = "all"
OTHER_KERNELS = "published with measured kernel tables, which are not part of this project"
NO_SUCH_NUMBER = "this hypothesis has no such number"


@dataclass(frozen=True, slots=True)
class RowNumber:
    """One line of `numbers.csv`; `metric` is a column or a summary."""

    method: str
    arm: str
    scope: Scope
    key: str
    metric: str
    statistic: Statistic
    value: float
    unit: str

    @property
    def identity(self) -> tuple[str, ...]:
        """Everything but method, arm and value."""
        return (self.scope.value, self.key, self.metric, self.statistic.value)


def numbers_of(spec: SyntheticHypothesis, method: str, table: RowTable) -> tuple[RowNumber, ...]:
    """Return every number of one choice of kernels, sorted as in the file."""
    found = [*_row_numbers(spec, method, table), *_summary_numbers(spec, method, table)]
    return tuple(sorted(found, key=lambda number: (number.method, number.arm, *number.identity)))


def numbers_text(numbers: Iterable[RowNumber]) -> str:
    """Format numbers as the committed CSV."""
    rows = [
        (
            number.method,
            number.arm,
            LOAD_POINT,
            *number.identity,
            f"{number.value:.{VALUE_DECIMALS}f}",
            number.unit,
        )
        for number in numbers
    ]
    return csv_text(NUMBER_COLUMNS, rows)


def rows_text(spec: SyntheticHypothesis, tables: Iterable[tuple[str, RowTable]]) -> str:
    """Format every row as CSV, those without a number too."""
    names = [column.id for column in spec.columns]
    lines = [
        (method, row.sweep, row.key, *(_shown(row.cells.get(name)) for name in names), row.reason)
        for method, table in tables
        for row in table.rows
    ]
    return csv_text(("method", "sweep", "key", *names, "reason"), lines)


def compare(published: Published, method: str, numbers: Sequence[RowNumber]) -> tuple[Comparison, ...]:
    """Compare every published cell with the number of the same identity.

    Published step times rest on measured tables. Where other kernels answered, a cell that still
    comes out is reproduced, and one that does not is not reproducible here.
    """
    known = {number.identity: number.value for number in numbers if number.method == method}
    hidden = {(item.scope, item.key): item.reason for item in published.source.not_reproducible}
    return tuple(
        _comparison(cell, method, known.get(_identity(cell)), hidden.get((cell.scope, cell.key), ""))
        for cell in published.cells
    )


def arm_of(spec: SyntheticHypothesis, column: Column) -> str:
    """Return the one arm a column reads, directly or through other columns, or `all`."""
    arms = _arms_read(spec, column)
    return next(iter(arms)) if len(arms) == 1 else EVERY_ARM


def _arms_read(spec: SyntheticHypothesis, column: Column) -> set[str]:
    columns = {one.id: one for one in spec.columns}
    found: set[str] = set()
    for name in formula(column.value).names:
        if "." in name:
            found.add(name.split(".")[0])
        elif name in columns and name != column.id:
            found |= _arms_read(spec, columns[name])
    return found


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def _row_numbers(spec: SyntheticHypothesis, method: str, table: RowTable) -> Iterator[RowNumber]:
    shown = {sweep.id for sweep in spec.sweeps if sweep.rows}
    columns = {column.id: (column.unit, arm_of(spec, column)) for column in spec.columns}
    for row in table.rows:
        if row.sweep not in shown:
            continue
        for name, value in row.cells.items():
            if value is not None:
                unit, arm = columns[name]
                yield RowNumber(method, arm, Scope.ROW, row.key, name, Statistic.VALUE, value, unit)


def _summary_numbers(spec: SyntheticHypothesis, method: str, table: RowTable) -> Iterator[RowNumber]:
    for summary in spec.summaries:
        column = spec.column(summary.column)
        unit, arm = summary.unit(column.unit), arm_of(spec, column)
        places: list[tuple[Scope, str, str | None]] = [(Scope.OVERALL, EVERYTHING, None)]
        places += [(Scope.SWEEP, name, name) for name in sweeps_of(summary, table)]
        for scope, key, sweep in places:
            value = summarise(summary, table, sweep)
            if value is not None:
                yield RowNumber(method, arm, scope, key, summary.id, summary.statistic, value, unit)


def _identity(cell: Cell) -> tuple[str, ...]:
    return (cell.scope.value, cell.key, str(cell.metric), cell.statistic.value)


def _comparison(cell: Cell, method: str, value: float | None, hidden: str) -> Comparison:
    if hidden:
        return Comparison(cell, value, value, value, False, Reproduction.NOT_REPRODUCIBLE, hidden)
    if value is None:
        return Comparison(cell, None, None, None, False, Reproduction.NOT_REPRODUCED, NO_SUCH_NUMBER)
    fits = abs(value - cell.value) <= cell.half_digit * (1 + 1e-9)
    if fits:
        return Comparison(cell, value, value, value, True, Reproduction.REPRODUCED, "")
    if method != MEASURED:
        return Comparison(cell, value, value, value, False, Reproduction.NOT_REPRODUCIBLE, OTHER_KERNELS)
    beyond = abs(value - cell.value) - cell.half_digit
    reason = f"{beyond:.4g} {cell.unit} beyond the printed digit"
    return Comparison(cell, value, value, value, False, Reproduction.NOT_REPRODUCED, reason)
