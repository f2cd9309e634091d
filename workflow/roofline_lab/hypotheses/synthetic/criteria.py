"""Accept criteria of a synthetic hypothesis: typed kinds over rows, fixed before the run.

Every kind yields an `CriterionOutcome` with the observed value, the bound, and a margin that is positive
exactly when the criterion holds with room to spare. Rows without a number make a criterion NOT
MEASURED; so does a clause that needs something this hypothesis never runs (`not_measured`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from roofline_lab.formatting import quantity
from roofline_lab.hypotheses.criteria import CriterionOutcome
from roofline_lab.hypotheses.synthetic.rows import Row, RowTable, sequences
from roofline_lab.hypotheses.synthetic.summaries import PERCENT, Direction, Summary, breaks, summarise, sweeps_of
from roofline_lab.scoring.errors import ape_pct
from roofline_lab.vocabulary import CriterionResult
from simulator.validation import Finite, NonNegative, StrictModel

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Judged(StrictModel):
    """What every kind says."""

    id: Name
    decisive: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns the criterion reads."""
        return ()

    @property
    def summaries(self) -> tuple[str, ...]:
        """Summaries it reads."""
        return ()


class _Bounded(_Judged):
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
        """Return the bounds as text."""
        named = (("above", self.above), ("at least", self.at_least), ("below", self.below), ("at most", self.at_most))
        return " and ".join(f"{word} {quantity(bound, unit)}" for word, bound in named if bound is not None)


class _OnRows(_Judged):
    """A kind that reads one column of some rows."""

    column: Name
    sweeps: tuple[Name, ...] = ()
    where: Text | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The column it reads."""
        return (self.column,)


class EveryRow(_OnRows, _Bounded):
    """Every row's value lies within the bounds; observed is the row that comes nearest to a breach."""

    kind: Literal["every_row"]


class RowCount(_OnRows, _Bounded):
    """At least, or at most, so many rows lie within the bounds."""

    kind: Literal["row_count"]
    rows_at_least: Annotated[int, Field(ge=0)] | None = None
    rows_at_most: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _counts(self) -> RowCount:
        if (self.rows_at_least is None) == (self.rows_at_most is None):
            raise ValueError("give one of rows_at_least and rows_at_most")
        return self


class Monotone(_OnRows):
    """The column moves in one direction along an axis, in every sequence of points."""

    kind: Literal["monotone"]
    along: Name
    expect: Direction


class Exact(_OnRows):
    """Every row equals a value, or another column, to within a stated absolute difference."""

    kind: Literal["exact"]
    equals: Finite | Name
    within: NonNegative = 0.0

    @property
    def columns(self) -> tuple[str, ...]:
        """The column, and the one it is compared with."""
        return (self.column, self.equals) if isinstance(self.equals, str) else (self.column,)


class Equivalence(_OnRows):
    """Every row lies within so many percent of another column."""

    kind: Literal["equivalence"]
    to: Name
    within_pct: NonNegative

    @property
    def columns(self) -> tuple[str, ...]:
        """The column and the one it is compared with."""
        return (self.column, self.to)


class OnSummary(_Bounded):
    """A summary lies within the bounds: overall, or in every one of its sweeps."""

    kind: Literal["summary"]
    of: Name
    in_every_sweep: bool = False

    @property
    def summaries(self) -> tuple[str, ...]:
        """The summary it reads."""
        return (self.of,)


class NotMeasured(_Judged):
    """A clause of the rule that this hypothesis does not run, and why; it stays NOT MEASURED."""

    kind: Literal["not_measured"]
    statement: Text
    reason: Text


RowCriterion = Annotated[
    EveryRow | RowCount | Monotone | Exact | Equivalence | OnSummary | NotMeasured, Field(discriminator="kind")
]


class Judge:
    """Evaluates criteria on the rows of one choice of kernels.

    Parameters
    ----------
    table
        The rows.
    labels, units
        Of every column.
    summaries
        By id.
    """

    def __init__(
        self, table: RowTable, labels: Mapping[str, str], units: Mapping[str, str], summaries: Mapping[str, Summary]
    ) -> None:
        self._table = table
        self._labels = labels
        self._units = units
        self._summaries = summaries

    def evaluate(self, criterion: RowCriterion) -> CriterionOutcome:
        """Return what became of one criterion; it cannot pass while a row it reads has no number."""
        outcome = self._evaluate(criterion)
        missing = self._missing(criterion)
        if outcome.result is not CriterionResult.PASS or not missing:
            return outcome
        detail = f"holds where there is a number, but {len(missing)} rows have none: {missing[0].reason}"
        return replace(outcome, result=CriterionResult.NOT_MEASURED, detail=detail)

    def _evaluate(self, criterion: RowCriterion) -> CriterionOutcome:
        evaluators: Mapping[type, Callable[..., CriterionOutcome]] = {
            EveryRow: self._every_row,
            RowCount: self._row_count,
            Monotone: self._monotone,
            Exact: self._exact,
            Equivalence: self._equivalence,
            OnSummary: self._summary,
            NotMeasured: self._not_run,
        }
        return evaluators[type(criterion)](criterion)

    def _every_row(self, criterion: EveryRow) -> CriterionOutcome:
        unit = self._units[criterion.column]
        statement = f"{self._what(criterion)} is {criterion.words(unit)} in every row"
        rows = self._rows(criterion)
        if not rows:
            return _unmeasured(criterion, statement, self._why_empty(criterion), unit)
        worst = min(rows, key=lambda row: criterion.margin(_cell(row, criterion.column))[0])
        observed = _cell(worst, criterion.column)
        margin, bound = criterion.margin(observed)
        within = sum(criterion.holds(_cell(row, criterion.column)) for row in rows)
        detail = f"{within} of {len(rows)} rows; nearest to the bound: {worst.label}"
        return _decided(criterion, statement, within == len(rows), observed, bound, margin, detail, unit)

    def _row_count(self, criterion: RowCount) -> CriterionOutcome:
        unit = self._units[criterion.column]
        least, most = criterion.rows_at_least, criterion.rows_at_most
        number = f"at least {least}" if least is not None else f"at most {most}"
        statement = f"{self._what(criterion)} is {criterion.words(unit)} in {number} rows"
        rows = self._rows(criterion)
        if not rows:
            return _unmeasured(criterion, statement, self._why_empty(criterion), "count")
        count = sum(criterion.holds(_cell(row, criterion.column)) for row in rows)
        bound = least if least is not None else most
        assert bound is not None  # the record itself demands one
        margin = count - bound if least is not None else bound - count
        detail = f"{count} of {len(rows)} rows"
        return _decided(criterion, statement, margin >= 0, count, bound, margin, detail, "count")

    def _monotone(self, criterion: Monotone) -> CriterionOutcome:
        words = criterion.expect.replace("_", " ")
        statement = f"{self._what(criterion)} is {words} along {criterion.along}"
        rows = self._rows(criterion)
        lines = [[_cell(row, criterion.column) for row in sequence] for sequence in sequences(rows, criterion.along)]
        steps = sum(len(line) - 1 for line in lines)
        if not steps:
            return _unmeasured(criterion, statement, self._why_empty(criterion), "count")
        found = [change for line in lines for change in breaks(line, criterion.expect)]
        worst = f"; the largest is {max(found, key=abs) * PERCENT:+.2f} %" if found else ""
        detail = f"{len(found)} of {steps} steps go the other way{worst}"
        return _decided(criterion, statement, not found, len(found), 0, -len(found), detail, "count")

    def _exact(self, criterion: Exact) -> CriterionOutcome:
        unit = self._units[criterion.column]
        named = isinstance(criterion.equals, str)
        target = self._labels[str(criterion.equals)] if named else quantity(float(criterion.equals), unit)
        slack = f", to within {quantity(criterion.within, unit)}" if criterion.within else " exactly"
        statement = f"{self._what(criterion)} equals {target} in every row{slack}"
        rows = self._rows(criterion)
        if not rows:
            return _unmeasured(criterion, statement, self._why_empty(criterion), unit)

        def gap(row: Row) -> float:
            wanted = _cell(row, str(criterion.equals)) if named else float(criterion.equals)
            return abs(_cell(row, criterion.column) - wanted)

        worst = max(rows, key=gap)
        holding = sum(gap(row) <= criterion.within for row in rows)
        detail = f"{holding} of {len(rows)} rows; largest difference: {worst.label}"
        margin = criterion.within - gap(worst)
        return _decided(criterion, statement, holding == len(rows), gap(worst), criterion.within, margin, detail, unit)

    def _equivalence(self, criterion: Equivalence) -> CriterionOutcome:
        statement = (
            f"{self._what(criterion)} lies within {quantity(criterion.within_pct, 'pct')} of "
            f"{self._labels[criterion.to]} in every row"
        )
        rows = [row for row in self._rows(criterion) if _cell(row, criterion.to)]
        if not rows:
            return _unmeasured(criterion, statement, self._why_empty(criterion), "pct")

        def gap(row: Row) -> float:
            return ape_pct(_cell(row, criterion.column), _cell(row, criterion.to))

        worst = max(rows, key=gap)
        holding = sum(gap(row) <= criterion.within_pct for row in rows)
        detail = f"{holding} of {len(rows)} rows; farthest: {worst.label}"
        margin = criterion.within_pct - gap(worst)
        passed = holding == len(rows)
        return _decided(criterion, statement, passed, gap(worst), criterion.within_pct, margin, detail, "pct")

    def _summary(self, criterion: OnSummary) -> CriterionOutcome:
        summary = self._summaries[criterion.of]
        unit = summary.unit(self._units[summary.column])
        where = " in every sweep" if criterion.in_every_sweep else ""
        statement = f"{summary.label} is {criterion.words(unit)}{where}"
        places = sweeps_of(summary, self._table)
        values: dict[str, float] = {}
        for name in places if criterion.in_every_sweep else ("",):
            value = summarise(summary, self._table, name or None)
            if value is not None:
                values[name] = value
        if not values:
            return _unmeasured(criterion, statement, "no row has a number", unit)
        worst = min(values, key=lambda name: criterion.margin(values[name])[0])
        margin, bound = criterion.margin(values[worst])
        within = sum(criterion.holds(value) for value in values.values())
        detail = (
            f"{within} of {len(values)} sweeps; nearest to the bound: {worst}" if worst else f"over {_listed(places)}"
        )
        passed = within == len(values)
        return _decided(criterion, statement, passed, values[worst], bound, margin, detail, unit)

    def _not_run(self, criterion: NotMeasured) -> CriterionOutcome:
        return _unmeasured(criterion, criterion.statement, criterion.reason, "count")

    def _rows(self, criterion: _OnRows) -> tuple[Row, ...]:
        return self._table.select(criterion.columns, criterion.sweeps, criterion.where)

    def _missing(self, criterion: RowCriterion) -> list[Row]:
        sweeps: Sequence[str] = ()
        if isinstance(criterion, _OnRows):
            sweeps = criterion.sweeps
        elif isinstance(criterion, OnSummary):
            sweeps = self._summaries[criterion.of].sweeps
        return [row for row in self._table.unmeasured() if not sweeps or row.sweep in sweeps]

    def _what(self, criterion: _OnRows) -> str:
        of = f" ({criterion.where})" if criterion.where else ""
        return f"{self._labels[criterion.column]}{of}"

    def _why_empty(self, criterion: _OnRows) -> str:
        reasons = dict.fromkeys(row.reason for row in self._table.unmeasured())
        return "; ".join(reasons) or f"no row has a number for {', '.join(criterion.columns)} here"


def _cell(row: Row, column: str) -> float:
    value = row.cells[column]
    assert value is not None  # `select` keeps rows with a number only
    return value


def _listed(names: Iterable[str]) -> str:
    found: Sequence[str] = list(names)
    return f"{len(found)} sweeps" if len(found) > 3 else ", ".join(found)


def _decided(
    criterion: _Judged,
    statement: str,
    passed: bool,
    observed: float,
    threshold: float,
    margin: float,
    detail: str,
    unit: str,
) -> CriterionOutcome:
    result = CriterionResult.PASS if passed else CriterionResult.FAIL
    return CriterionOutcome(
        criterion.id,
        statement,
        result,
        float(observed),
        float(threshold),
        float(margin),
        None,
        detail,
        criterion.decisive,
        unit,
    )


def _unmeasured(criterion: _Judged, statement: str, reason: str, unit: str) -> CriterionOutcome:
    missing = CriterionResult.NOT_MEASURED
    return CriterionOutcome(criterion.id, statement, missing, None, None, None, None, reason, criterion.decisive, unit)
