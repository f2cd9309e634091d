"""Rows of a synthetic hypothesis: one per point, with columns, and summaries that condense a column to one number.

Pure. A point that an arm could not price keeps its row, with a reason and without columns. Summaries that look at
neighbours (`jumps`, `largest_jump`, `longest_flat`, `breaks`) and `distinct` work within one sequence of points; the
overall number is their sum, or the largest for `largest_jump` and `longest_flat`. A jump between neighbours a and b
has the size abs(a - b) / max(a, b).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Literal

from pydantic import model_validator

from roofline_lab.hypotheses.expressions import formula
from roofline_lab.hypotheses.spec import Name, Text
from roofline_lab.vocabulary import Statistic
from simulator.validation import NonNegative, StrictModel

Scalar = int | float | str
Unit = Literal["us", "pct", "ratio", "mfu", "count", "flag", "gflop", "gb"]
Kind = Literal[
    "points",
    "count",
    "share",
    "min",
    "max",
    "mean",
    "sum",
    "distinct",
    "jumps",
    "largest_jump",
    "longest_flat",
    "breaks",
]
Direction = Literal["increasing", "decreasing", "not_decreasing", "not_increasing"]
PERCENT = 100.0
# A jump or a change smaller than this share of the value is rounding of floats, not a finding.
ROUNDING = 1e-12


class Column(StrictModel):
    """One number per point: a formula over `arm.batch.quantity`, axes and earlier columns.

    In a sweep of one batch, or of a look-up, the batch is left out: `arm.quantity`.
    """

    id: Name
    label: Text
    unit: Unit
    value: Text
    sweeps: tuple[Name, ...] = ()


class Summary(StrictModel):
    """One number about one column.

    Attributes
    ----------
    when
        For `count` and `share`: the formula that a counted row satisfies.
    where
        Rows that enter at all.
    along
        Axis the neighbours differ in; by default a sweep is one sequence.
    at_least_pct
        For `jumps`: smallest size that counts, percent.
    expect
        For `breaks`: the direction that a break violates.
    """

    id: Name
    label: Text
    kind: Kind
    column: Name
    sweeps: tuple[Name, ...] = ()
    where: Text | None = None
    when: Text | None = None
    along: Name | None = None
    at_least_pct: NonNegative | None = None
    expect: Direction | None = None

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Summary:
        needs = {"when": ("count", "share"), "at_least_pct": ("jumps",), "expect": ("breaks",)}
        for key, kinds in needs.items():
            given = getattr(self, key) is not None
            if given != (self.kind in kinds):
                raise ValueError(f"{key}: {'only for' if given else 'missing for'} kind {' or '.join(kinds)}")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The column, as a tuple."""
        return (self.column,)

    @property
    def statistic(self) -> Statistic:
        """What kind of number this is, in the laboratory's vocabulary."""
        return Statistic(self.kind)

    def unit(self, column_unit: str) -> str:
        """Return the unit of the result, given the column's."""
        if column_unit == "flag" and self.kind in ("mean", "sum"):
            return "ratio" if self.kind == "mean" else "count"
        if self.kind in ("min", "max", "mean", "sum"):
            return column_unit
        return "pct" if self.kind in ("largest_jump", "share") else "count"


@dataclass(frozen=True, slots=True)
class Row:
    """One point of one sweep under one choice of kernels.

    Attributes
    ----------
    key
        Unique name, starting with the sweep.
    axes
        Axis and case values.
    cells
        Column values; None where the column is not of this sweep or was not measured.
    reason
        Why there are no values, or empty.
    """

    sweep: str
    key: str
    label: str
    axes: Mapping[str, Scalar]
    cells: Mapping[str, float | None]
    reason: str = ""

    def has(self, name: str) -> bool:
        """Whether there is a cell or an axis value of this name."""
        return self.cells.get(name) is not None or name in self.axes

    def value(self, name: str) -> Any:
        """Return a cell or an axis value by name."""
        return self.cells[name] if name in self.cells else self.axes[name]

    def number(self, column: str) -> float:
        """Return a cell of a row that was selected for having a number there."""
        value = self.cells[column]
        assert value is not None, "a selected row has a number"
        return value


class RowTable:
    """All rows of one choice of kernels, in the order of the sweeps, and what is known about their columns."""

    def __init__(self, rows: Iterable[Row], columns: Iterable[Column] = (), summaries: Iterable[Summary] = ()) -> None:
        self.rows = tuple(rows)
        self.columns = {column.id: column for column in columns}
        self.summaries = {summary.id: summary for summary in summaries}
        self._by_key = {row.key: row for row in self.rows}
        self._by_sweep: dict[str, list[Row]] = {}
        for row in self.rows:
            self._by_sweep.setdefault(row.sweep, []).append(row)
        self._selected: dict[tuple[object, ...], tuple[Row, ...]] = {}

    def row(self, key: str) -> Row | None:
        """Return one row, or None."""
        return self._by_key.get(key)

    def of_sweep(self, sweep: str) -> tuple[Row, ...]:
        """Return the rows of one sweep."""
        return tuple(self._by_sweep.get(sweep, ()))

    def select(self, columns: Sequence[str], sweeps: Sequence[str] = (), where: str | None = None) -> tuple[Row, ...]:
        """Return the rows that have a number in every one of `columns` and satisfy `where`."""
        asked = (tuple(columns), tuple(sweeps), where)
        if asked not in self._selected:
            self._selected[asked] = tuple(self._select(columns, sweeps or tuple(self._by_sweep), where))
        return self._selected[asked]

    def _select(self, columns: Sequence[str], sweeps: Sequence[str], where: str | None) -> Iterator[Row]:
        condition = formula(where) if where is not None else None
        for row in self.rows if len(sweeps) == len(self._by_sweep) else self._in(sweeps):
            if any(row.cells.get(name) is None for name in columns):
                continue
            # A name that a row's sweep does not have excludes the row: the condition is not about it.
            if condition is None or (all(row.has(name) for name in condition.names) and condition(row.value)):
                yield row

    def _in(self, sweeps: Sequence[str]) -> Iterator[Row]:
        return (row for name, rows in self._by_sweep.items() if name in sweeps for row in rows)

    def unmeasured(self) -> tuple[Row, ...]:
        """Return the rows an arm could not price."""
        return tuple(row for row in self.rows if row.reason)


def sequences(rows: Iterable[Row], along: str | None) -> Iterator[list[Row]]:
    """Group rows into sequences: per sweep, and per value of every axis but `along`.

    Without `along` a sweep is one sequence, in the order of its points.
    """
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        others = () if along is None else tuple(item for item in row.axes.items() if item[0] != along)
        found.setdefault((row.sweep, *others), []).append(row)
    yield from found.values()


def summarise(summary: Summary, table: RowTable, sweep: str | None = None) -> float | None:
    """Return the number over all the summary's sweeps, or over one of them; None without rows."""
    rows = table.select(summary.columns, (sweep,) if sweep else summary.sweeps, summary.where)
    if not rows:
        return None
    values = [row.number(summary.column) for row in rows]
    if summary.kind in _OVER_VALUES:
        return _OVER_VALUES[summary.kind](values)
    if summary.kind in ("count", "share"):
        assert summary.when is not None  # refused before by the record itself
        counted = sum(bool(formula(summary.when)(row.value)) for row in rows)
        return float(counted) if summary.kind == "count" else counted / len(rows) * PERCENT
    parts = [
        _over_sequence(summary, [row.number(summary.column) for row in sequence])
        for sequence in sequences(rows, summary.along)
    ]
    return max(parts) if summary.kind in ("largest_jump", "longest_flat") else math.fsum(parts)


def sweeps_of(summary: Summary, table: RowTable) -> tuple[str, ...]:
    """Return the sweeps that have rows for a summary."""
    rows = table.select(summary.columns, summary.sweeps, summary.where)
    return tuple(dict.fromkeys(row.sweep for row in rows))


def breaks(values: Sequence[float], expect: Direction) -> list[float]:
    """Return the steps between neighbours that go against `expect`, as signed relative changes."""
    found = []
    for a, b in pairwise(values):
        size = max(abs(a), abs(b))
        change = (b - a) / size if size else 0.0
        if abs(change) <= ROUNDING:
            change = 0.0
        wrong = {
            "increasing": change <= 0,
            "decreasing": change >= 0,
            "not_decreasing": change < 0,
            "not_increasing": change > 0,
        }
        if wrong[expect]:
            found.append(change)
    return found


def jumps(values: Sequence[float]) -> list[float]:
    """Return the sizes of all changes between neighbours, in percent of the larger one."""
    sizes = []
    for a, b in pairwise(values):
        larger = max(abs(a), abs(b))
        sizes.append(abs(a - b) / larger * PERCENT if larger else 0.0)
    return sizes


_OVER_VALUES: dict[str, Callable[[Sequence[float]], float]] = {
    "points": lambda values: float(len(values)),
    "min": min,
    "max": max,
    "mean": lambda values: math.fsum(values) / len(values),
    "sum": math.fsum,
}


def _over_sequence(summary: Summary, values: Sequence[float]) -> float:
    match summary.kind:
        case "distinct":
            return float(len(set(values)))
        case "jumps":
            assert summary.at_least_pct is not None
            return float(sum(size >= summary.at_least_pct for size in jumps(values)))
        case "largest_jump":
            return max(jumps(values), default=0.0)
        case "longest_flat":
            return float(max(len(list(group)) for _, group in groupby(values)))
        case "breaks":
            assert summary.expect is not None
            return float(len(breaks(values, summary.expect)))
    raise AssertionError(f"summary without a formula: {summary.kind}")
