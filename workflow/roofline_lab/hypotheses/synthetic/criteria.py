"""Accept criteria of a synthetic hypothesis: typed kinds over the rows of one choice of kernels, fixed before the run.

One class per kind, with its keys and its `evaluate`, as in `roofline_lab.hypotheses.criteria`. The margin is positive
exactly when the criterion holds with room to spare. Rows without a number make a criterion NOT MEASURED; so does a
clause that needs something this hypothesis never runs (`not_measured`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from roofline_lab.formatting import counted, quantity
from roofline_lab.hypotheses.outcome import BaseCriterion, CriterionOutcome
from roofline_lab.hypotheses.spec import Name, Text
from roofline_lab.hypotheses.synthetic.rows import (
    PERCENT,
    Direction,
    Row,
    RowTable,
    breaks,
    sequences,
    summarise,
    sweeps_of,
)
from roofline_lab.scoring.errors import ape_pct
from roofline_lab.vocabulary import CriterionResult
from simulator.validation import Finite, NonNegative

# A detail names this many sweeps; more are counted.
MOST_NAMED = 3


class _OnTable(BaseCriterion):
    """A criterion on the rows of one choice of kernels."""

    id: Name

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns the criterion reads."""
        return ()

    @property
    def summaries(self) -> tuple[str, ...]:
        """Summaries it reads."""
        return ()

    def sweeps_read(self, table: RowTable) -> Sequence[str]:
        """Return the sweeps whose rows it reads; none named means all."""
        return ()

    def judged(
        self,
        table: RowTable,
        statement: str,
        passed: bool,
        observed: float,
        threshold: float,
        margin: float,
        detail: str,
        unit: str,
    ) -> CriterionOutcome:
        """Return PASS or FAIL; it cannot pass while a row it reads has no number."""
        outcome = self.decided(statement, passed, observed, threshold, margin, detail, unit)
        sweeps = self.sweeps_read(table)
        missing = [row for row in table.unmeasured() if not sweeps or row.sweep in sweeps]
        if not passed or not missing:
            return outcome
        reason = f"holds where there is a number, but {counted(len(missing), 'row')} without: {missing[0].reason}"
        return replace(outcome, result=CriterionResult.NOT_MEASURED, detail=reason)


class _Bounded(_OnTable):
    """A lower bound, an upper bound, or one of each."""

    above: Finite | None = None
    at_least: Finite | None = None
    below: Finite | None = None
    at_most: Finite | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> _Bounded:
        lower = [self.above, self.at_least].count(None)
        upper = [self.below, self.at_most].count(None)
        if lower + upper == 4 or lower == 0 or upper == 0:
            raise ValueError("give one of above and at_least, one of below and at_most, or one of each")
        return self

    def holds(self, value: float) -> bool:
        """Whether a value lies within the bounds."""
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
        )

    def margin(self, value: float) -> tuple[float, float]:
        """Return (distance to the nearest bound, that bound); negative when violated."""
        found = [(value - bound, bound) for bound in (self.above, self.at_least) if bound is not None]
        found += [(bound - value, bound) for bound in (self.below, self.at_most) if bound is not None]
        return min(found)

    def words(self, unit: str) -> str:
        """Return the bounds as text; of what is true or not, which of them is asked for."""
        if unit == "flag" and self.holds(1.0) != self.holds(0.0):
            return "true" if self.holds(1.0) else "not true"
        named = (("above", self.above), ("at least", self.at_least), ("below", self.below), ("at most", self.at_most))
        return " and ".join(f"{word} {quantity(bound, unit)}" for word, bound in named if bound is not None)


class _OnRows(_OnTable):
    """A kind that reads one column of some rows."""

    column: Name
    sweeps: tuple[Name, ...] = ()
    where: Text | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The column it reads."""
        return (self.column,)

    def sweeps_read(self, table: RowTable) -> Sequence[str]:
        """Return the sweeps it names."""
        return self.sweeps

    def rows(self, table: RowTable) -> tuple[Row, ...]:
        """Return the rows that have a number in every column it reads."""
        return table.select(self.columns, self.sweeps, self.where)

    def subject(self, table: RowTable) -> str:
        """Return what is judged, in words."""
        return table.columns[self.column].label + (f" ({self.where})" if self.where else "")

    def unanswered(self, table: RowTable, statement: str, unit: str) -> CriterionOutcome:
        """Return NOT MEASURED, with the reasons why there is no row."""
        reasons = dict.fromkeys(row.reason for row in table.unmeasured())
        reason = "; ".join(reasons) or f"no row has a number for {', '.join(self.columns)} here"
        return self.not_measured(statement, reason, unit)

    def all_within(
        self, table: RowTable, statement: str, gap: Callable[[Row], float], limit: float, unit: str, farthest: str
    ) -> CriterionOutcome:
        """Judge whether every row's gap is at most the limit; `farthest` is what the detail calls the worst row."""
        rows = self.rows(table)
        worst = max(rows, key=gap)
        holding = sum(gap(row) <= limit for row in rows)
        detail = f"{holding} of {counted(len(rows), 'row')}; {farthest}: {worst.label}"
        passed = holding == len(rows)
        return self.judged(table, statement, passed, gap(worst), limit, limit - gap(worst), detail, unit)


class EveryRow(_OnRows, _Bounded):
    """Every row's value lies within the bounds; observed is the row that comes nearest to a breach."""

    kind: Literal["every_row"]

    def evaluate(self, table: RowTable) -> CriterionOutcome:
        """Look for the row nearest to a bound, or farthest beyond it."""
        unit, rows = table.columns[self.column].unit, self.rows(table)
        statement = f"{self.subject(table)} is {self.words(unit)} in every row"
        if not rows:
            return self.unanswered(table, statement, unit)
        worst = min(rows, key=lambda row: self.margin(row.number(self.column))[0])
        observed = worst.number(self.column)
        margin, bound = self.margin(observed)
        within = sum(self.holds(row.number(self.column)) for row in rows)
        detail = f"{within} of {counted(len(rows), 'row')}; nearest to the bound: {worst.label}"
        return self.judged(table, statement, within == len(rows), observed, bound, margin, detail, unit)


class RowCount(_OnRows, _Bounded):
    """At least, or at most, this many rows lie within the bounds."""

    kind: Literal["row_count"]
    rows_at_least: Annotated[int, Field(ge=0)] | None = None
    rows_at_most: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _counts(self) -> RowCount:
        if (self.rows_at_least is None) == (self.rows_at_most is None):
            raise ValueError("give one of rows_at_least and rows_at_most")
        return self

    def evaluate(self, table: RowTable) -> CriterionOutcome:
        """Count the rows within the bounds."""
        least, rows = self.rows_at_least is not None, self.rows(table)
        bound = self.rows_at_least if self.rows_at_least is not None else self.rows_at_most
        assert bound is not None, "validated: one bound is given"
        number = f"at {'least' if least else 'most'} {counted(bound, 'row')}"
        statement = f"{self.subject(table)} is {self.words(table.columns[self.column].unit)} in {number}"
        if not rows:
            return self.unanswered(table, statement, "count")
        count = sum(self.holds(row.number(self.column)) for row in rows)
        margin = count - bound if least else bound - count
        detail = f"{count} of {counted(len(rows), 'row')}"
        return self.judged(table, statement, margin >= 0, count, bound, margin, detail, "count")


class Monotone(_OnRows):
    """The column moves in one direction along an axis, in every sequence of points."""

    kind: Literal["monotone"]
    along: Name
    expect: Direction

    def evaluate(self, table: RowTable) -> CriterionOutcome:
        """Count the steps between neighbours that go the other way."""
        statement = f"{self.subject(table)} is {self.expect.replace('_', ' ')} along {self.along}"
        lines = [[row.number(self.column) for row in line] for line in sequences(self.rows(table), self.along)]
        steps = sum(len(line) - 1 for line in lines)
        if not steps:
            return self.unanswered(table, statement, "count")
        found = [change for line in lines for change in breaks(line, self.expect)]
        worst = f"; the largest is {max(found, key=abs) * PERCENT:+.2f} %" if found else ""
        detail = f"{len(found)} of {steps} steps go the other way{worst}"
        return self.judged(table, statement, not found, len(found), 0, -len(found), detail, "count")


class Exact(_OnRows):
    """Every row equals a value, or another column, to within a stated absolute difference."""

    kind: Literal["exact"]
    equals: Finite | Name
    within: NonNegative = 0.0

    @property
    def columns(self) -> tuple[str, ...]:
        """The column, and the one it is compared with."""
        return (self.column, self.equals) if isinstance(self.equals, str) else (self.column,)

    def evaluate(self, table: RowTable) -> CriterionOutcome:
        """Look for the row with the largest difference."""
        unit, equals = table.columns[self.column].unit, self.equals
        target = table.columns[equals].label if isinstance(equals, str) else quantity(equals, unit)
        slack = f", to within {quantity(self.within, unit)}" if self.within else " exactly"
        statement = f"{self.subject(table)} equals {target} in every row{slack}"
        if not self.rows(table):
            return self.unanswered(table, statement, unit)

        def gap(row: Row) -> float:
            return abs(row.number(self.column) - (row.number(equals) if isinstance(equals, str) else equals))

        return self.all_within(table, statement, gap, self.within, unit, "largest difference")


class Equivalence(_OnRows):
    """Every row lies within this many percent of another column; rows where that is 0 are left out."""

    kind: Literal["equivalence"]
    to: Name
    within_pct: NonNegative

    @property
    def columns(self) -> tuple[str, ...]:
        """The column and the one it is compared with."""
        return (self.column, self.to)

    def rows(self, table: RowTable) -> tuple[Row, ...]:
        """Return the rows that can be compared."""
        return tuple(row for row in super().rows(table) if row.number(self.to))

    def evaluate(self, table: RowTable) -> CriterionOutcome:
        """Look for the row with the largest relative difference."""
        within = f"within {quantity(self.within_pct, 'pct')} of {table.columns[self.to].label}"
        statement = f"{self.subject(table)} lies {within} in every row"
        if not self.rows(table):
            return self.unanswered(table, statement, "pct")

        def gap_pct(row: Row) -> float:
            return ape_pct(row.number(self.column), row.number(self.to))

        return self.all_within(table, statement, gap_pct, self.within_pct, "pct", "farthest")


class OnSummary(_Bounded):
    """A summary lies within the bounds: overall, or in every one of its sweeps."""

    kind: Literal["summary"]
    of: Name
    in_every_sweep: bool = False

    @property
    def summaries(self) -> tuple[str, ...]:
        """The summary it reads."""
        return (self.of,)

    def sweeps_read(self, table: RowTable) -> Sequence[str]:
        """Return the sweeps of its summary."""
        return table.summaries[self.of].sweeps

    def evaluate(self, table: RowTable) -> CriterionOutcome:
        """Look for the sweep, or take all of them together, that is nearest to a bound or farthest beyond it."""
        summary = table.summaries[self.of]
        unit = summary.unit(table.columns[summary.column].unit)
        statement = f"{summary.label} is {self.words(unit)}{' in every sweep' if self.in_every_sweep else ''}"
        sweeps = sweeps_of(summary, table)
        found = {name: summarise(summary, table, name or None) for name in (sweeps if self.in_every_sweep else ("",))}
        values = {name: value for name, value in found.items() if value is not None}
        if not values:
            return self.not_measured(statement, "no row has a number", unit)
        worst = min(values, key=lambda name: self.margin(values[name])[0])
        margin, bound = self.margin(values[worst])
        within = sum(self.holds(value) for value in values.values())
        over = f"over {len(sweeps)} sweeps" if len(sweeps) > MOST_NAMED else f"over {', '.join(sweeps)}"
        detail = f"{within} of {counted(len(values), 'sweep')}; nearest to the bound: {worst}" if worst else over
        return self.judged(table, statement, within == len(values), values[worst], bound, margin, detail, unit)


class NotMeasured(_OnTable):
    """A clause of the rule that this hypothesis does not run, and why; it stays NOT MEASURED."""

    kind: Literal["not_measured"]
    statement: Text
    reason: Text

    def evaluate(self, table: RowTable) -> CriterionOutcome:
        """Say why it is not measured."""
        return self.not_measured(self.statement, self.reason, "count")


RowCriterion = Annotated[
    EveryRow | RowCount | Monotone | Exact | Equivalence | OnSummary | NotMeasured, Field(discriminator="kind")
]
