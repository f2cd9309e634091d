"""Condensing a column to one number, over all rows or sweep by sweep.

Kinds that look at neighbours (`jumps`, `largest_jump`, `longest_flat`, `breaks`) and `distinct` work
within one sequence of points; the overall number is their sum, or the largest for `largest_jump` and
`longest_flat`. A jump between neighbours a and b has the size abs(a - b) / max(a, b).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import Annotated, Literal

from pydantic import StringConstraints, model_validator

from roofline_lab.hypotheses.expressions import formula
from roofline_lab.hypotheses.synthetic.rows import Row, RowTable, sequences
from roofline_lab.vocabulary import Statistic
from simulator.validation import NonNegative, StrictModel

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
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


def summarise(summary: Summary, table: RowTable, sweep: str | None = None) -> float | None:
    """Return the number over all the summary's sweeps, or over one of them; None without rows."""
    rows = table.select(summary.columns, (sweep,) if sweep else summary.sweeps, summary.where)
    if not rows:
        return None
    values = [_number(row, summary.column) for row in rows]
    if summary.kind in _OVER_VALUES:
        return _OVER_VALUES[summary.kind](values)
    if summary.kind in ("count", "share"):
        assert summary.when is not None  # refused before by the record itself
        counted = sum(bool(formula(summary.when)(row.value)) for row in rows)
        return float(counted) if summary.kind == "count" else counted / len(rows) * PERCENT
    parts = [_over_sequence(summary, _line(sequence, summary)) for sequence in sequences(rows, summary.along)]
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


def _line(rows: Sequence[Row], summary: Summary) -> list[float]:
    return [_number(row, summary.column) for row in rows]


def _number(row: Row, column: str) -> float:
    value = row.cells[column]
    assert value is not None  # `select` keeps rows with a number only
    return value
