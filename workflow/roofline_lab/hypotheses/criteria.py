"""Accept criteria: what a hypothesis promises before a run, and how a run is judged by it.

One class per kind. Its fields are what an author may write in `hypothesis.yaml`; its `evaluate` turns one method's
scores into a `CriterionOutcome`: PASS, FAIL or NOT MEASURED, with observed value, threshold and margin. A new kind
is a class here (on answers about capacity: beside their question), and its name in the union `Criterion` below.

A criterion on a mean speaks of more experiments than were measured. Where it passes, but interval and permutation test
do not tell the mean from the threshold, it is PASS, undecided. A criterion on every single row speaks of these rows
alone and has no interval.

Gains follow one sign convention: error of arm `over` minus error of arm `of`, in percentage points,
positive = `of` is better. `where` narrows a criterion to some rows; `side` to one side of a split.
Medians and trimmed means stand beside the strict value and never decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from roofline_lab.formatting import counted
from roofline_lab.hypotheses.capacity import CapacityAnswers, CapacityGain
from roofline_lab.hypotheses.factorial import Effect
from roofline_lab.hypotheses.on_errors import NAMED, NearOrApart, OneArm, OnErrors, TwoArms
from roofline_lab.hypotheses.outcome import CriterionOutcome, relaxed_worst_case, robust_variants
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.scores import ErrorRow, Gain, Scores
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import SIDES, Scope
from simulator.validation import Finite, NonNegative, NonNegativeInt, Positive

# Every group but the other one that is named.
OTHERS = "*"
NOTHING_ON_BOTH_ARMS = "no experiment was scored on both arms"
NOTHING_SCORED = "no experiment was scored"


class Improvement(TwoArms):
    """The mean error over all rows falls by at least this much."""

    kind: Literal["improvement"]
    at_least_pp: Finite

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Compare the mean gain with what is asked."""
        gains, asked = self.gains(scores), self.at_least_pp
        change = f"falls by at least {asked:g} pp" if asked >= 0 else f"rises by at most {-asked:g} pp"
        statement = f"{self.metric.label} error {change} ({self.of} over {self.over})"
        if not gains:
            return self.unanswered(statement, NOTHING_ON_BOTH_ARMS)
        evidence = uncertainty.of_gains(gains, asked)
        return self.compared(statement, _mean(gains), asked, _range_of(gains), lambda v: v >= asked, evidence)


class _TwoGroups(OnErrors):
    by: Literal["workload", "family", "load_point", "strategy", "hardware"] = "workload"
    groups: Annotated[tuple[str, str], Field()]

    @property
    def named_groups(self) -> Iterator[tuple[str, str]]:
        """The two groups, and what `where` names."""
        yield from super().named_groups
        yield from ((self.by, name) for name in self.groups if self.by in NAMED and name != OTHERS)

    @property
    def group_names(self) -> tuple[str, str]:
        """Both in words."""
        first, second = (name if name != OTHERS else "all others" for name in self.groups)
        return first, second

    def parted(self, values: Sequence[Gain]) -> tuple[list[Gain], list[Gain]]:
        """Return what belongs to the first group, and what to the second."""
        first, second = ([value for value in values if self._has(value.row, index)] for index in (0, 1))
        return first, second

    def means(self, groups: Iterable[Sequence[Gain]], unit: str) -> str:
        """Return the mean of each group, in words."""
        named = zip(self.group_names, groups, strict=True)
        return ", ".join(f"{name} {_mean(group):+.1f} {unit} (n={len(group)})" for name, group in named)

    def _has(self, row: ErrorRow, index: int) -> bool:
        """Say whether a row is in the first or second group."""
        group, wanted, other = row.group(Scope(self.by)), self.groups[index], self.groups[1 - index]
        return group == wanted or (wanted == OTHERS and group != other)


class ImprovementOrder(TwoArms, _TwoGroups):
    """The first group gains more than the second, by more than this much."""

    kind: Literal["improvement_order"]
    more_than_pp: NonNegative = 0.0

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Compare the mean gains of the two groups."""
        asked, (first, second) = self.more_than_pp, self.group_names
        statement = f"{self.metric.label} error falls more for {first} than for {second}, by more than {asked:g} pp"
        if not all(groups := self.parted(self.gains(scores))):
            return self.unanswered(statement, f"no scored experiment in {first} or in {second}")
        evidence = uncertainty.of_groups(*groups, asked)
        order, detail = _mean(groups[0]) - _mean(groups[1]), self.means(groups, "pp")
        return self.compared(statement, order, asked, detail, lambda v: v > asked, evidence)


class SignedGap(OneArm, _TwoGroups, NearOrApart):
    """Mean signed errors of two groups lie so near each other, or apart; an error that both share cancels."""

    kind: Literal["signed_gap"]

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Compare the mean signed error of the first group less that of the second, negative: predicted faster."""
        near, (first, second) = self.within_pp is not None, self.group_names
        wanted = f"within {self.bound_pp:g} pp of" if near else f"at least {self.bound_pp:g} pp above"
        statement = f"signed {self.metric.label} error of {self.of} for {first} is {wanted} that for {second}"
        # A value per row, which the statistics of a difference know as a gain.
        groups = self.parted([Gain(row, row.signed_error_pct) for row in self.rows(scores)])
        if not all(groups):
            return self.unanswered(statement, f"no scored experiment in {first} or in {second}")
        evidence = uncertainty.of_groups(*groups, self.bound_pp, either_way=near)
        return self.bounded(statement, _mean(groups[0]) - _mean(groups[1]), self.means(groups, "%"), evidence)


class NoRowWorse(TwoArms):
    """No row's error rises by more than this much."""

    kind: Literal["no_row_worse"]
    by_more_than_pp: NonNegative = 0.0

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Look for the row that loses most; the robust values stand beside it without an interval."""
        gains, limit = self.gains(scores), -self.by_more_than_pp
        statement = (
            f"no experiment's {self.metric.label} error rises by more than {self.by_more_than_pp:g} pp "
            f"({self.of} over {self.over})"
        )
        if not gains:
            return self.unanswered(statement, NOTHING_ON_BOTH_ARMS)
        worst = min(gains, key=lambda gain: (gain.value, gain.row.experiment))
        losing = sum(gain.value < limit for gain in gains)
        detail = f"worst: {worst.row.experiment} {worst.value:+.1f} pp; {losing} of {len(gains)} beyond the limit"
        robust = robust_variants(uncertainty.of_gains(gains, 0.0), lambda v: v >= limit)
        values = sorted(gain.value for gain in gains)
        robust += relaxed_worst_case(values, limit, lambda value, least: value >= least)
        said, margin = statement + self.narrowed, worst.value - limit
        return self.decided(said, margin >= 0, worst.value, limit, margin, detail, self.unit, robust=robust)


class Below(OneArm):
    """The mean error of an arm is below a limit."""

    kind: Literal["below"]
    than_pct: Positive
    unit: ClassVar[str] = "pct"

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Compare the mean error with the limit."""
        rows, limit = self.rows(scores), self.than_pct
        statement = f"mean {self.metric.label} error of {self.of} is below {limit:g} %"
        if not rows:
            return self.unanswered(statement, NOTHING_SCORED)
        errors = [row.ape_pct for row in rows]
        evidence = uncertainty.of_errors(errors, rows, limit)
        detail = f"{sum(error < limit for error in errors)} of {_counted(rows)} below it"
        return self.compared(statement, mean(errors), limit, detail, lambda v: v < limit, evidence, rising=False)


class BelowArm(TwoArms):
    """The mean error of one arm is below that of another."""

    kind: Literal["below_arm"]

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Compare the mean gain with zero."""
        gains = self.gains(scores)
        statement = f"mean {self.metric.label} error of {self.of} is below that of {self.over}"
        if not gains:
            return self.unanswered(statement, NOTHING_ON_BOTH_ARMS)
        evidence = uncertainty.of_gains(gains, 0.0)
        return self.compared(statement, _mean(gains), 0.0, _range_of(gains), lambda v: v > 0, evidence)


class Vanishes(TwoArms):
    """No predicted time changes by as much as this in a regime where it should not; `where` names the regime.

    Judged is the largest change of any row, in percent of the measured time, and never a mean of gains: an effect that
    turns an error of one sign into the same of the other, or that goes up here and down there, is no vanished effect.
    Where arms are compared with different measured figures, it is the change of the signed error.
    """

    kind: Literal["vanishes"]
    less_than_pp: Positive

    @model_validator(mode="after")
    def _names_a_regime(self) -> Vanishes:
        if self.where is None:
            raise ValueError("where: name the regime in which the effect should vanish")
        return self

    @property
    def narrowed(self) -> str:
        """The side alone: the statement itself names the regime."""
        return f" (on the {SIDES[self.side]})" if self.side else ""

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Compare the size of the largest change with the limit."""
        pairs, limit = self.looked_at(scores).pairs(self.metric, self.of, self.over), self.less_than_pp
        statement = (
            f"{self.metric.label} effect of {self.of} over {self.over} is smaller than {limit:g} pp at {self.where}, "
            "in every row"
        )
        if not pairs:
            return self.unanswered(statement, f"{NOTHING_ON_BOTH_ARMS} there")
        changes = {row: row.signed_error_pct - other.signed_error_pct for row, other in pairs}
        worst = max(changes, key=lambda row: (abs(changes[row]), row.place))
        within = sum(abs(change) < limit for change in changes.values())
        detail = f"{within} of {_counted(list(changes))} within it; largest: {worst.place} "
        detail += f"{changes[worst]:+.2f} pp (positive: predicted slower)"
        sizes = sorted(map(abs, changes.values()), reverse=True)
        robust = relaxed_worst_case(sizes, limit, lambda value, most: value < most)
        said, size = statement + self.narrowed, sizes[0]
        return self.decided(said, size < limit, size, limit, limit - size, detail, self.unit, robust=robust)


class Equivalence(TwoArms):
    """The mean difference lies within this much of zero with its whole interval."""

    kind: Literal["equivalence"]
    within_pp: Positive

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Compare the end of the interval that is farther from zero with the limit."""
        gains, limit = self.gains(scores), self.within_pp
        statement = (
            f"{self.metric.label} errors of {self.of} and {self.over} differ by less than {limit:g} pp, "
            "with the whole interval"
        )
        if not gains:
            return self.unanswered(statement, NOTHING_ON_BOTH_ARMS)
        evidence = uncertainty.of_gains(gains, limit, either_way=True)
        if evidence.interval is None:
            return self.unanswered(statement, f"there is no interval: {evidence.no_interval}")
        farthest = max(abs(evidence.interval.low), abs(evidence.interval.high))
        mean_gain = f"mean difference {_mean(gains):+.2f} pp"
        detail = f"{mean_gain}; observed is the end of the interval that is farther from zero"
        return self.compared(statement, farthest, limit, detail, lambda v: abs(v) < limit, evidence, rising=False)


class CountOfRows(TwoArms):
    """At least, or at most, this many rows gain at least this much."""

    kind: Literal["count_of_rows"]
    gaining_at_least_pp: Finite = 0.0
    at_least: NonNegativeInt | None = None
    at_most: NonNegativeInt | None = None
    unit: ClassVar[str] = "count"

    @model_validator(mode="after")
    def _has_one_bound(self) -> CountOfRows:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give exactly one of at_least and at_most")
        return self

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Count the rows that gain enough."""
        gains, rising = self.gains(scores), self.at_least is not None
        bound = self.at_least if self.at_least is not None else self.at_most
        assert bound is not None, "validated: one bound is given"
        statement = (
            f"{'at least' if rising else 'at most'} {counted(bound, 'experiment')} gain "
            f"{self.gaining_at_least_pp:g} pp or more in {self.metric.label} ({self.of} over {self.over})"
        )
        if not gains:
            return self.unanswered(statement, NOTHING_ON_BOTH_ARMS)
        count = sum(gain.value >= self.gaining_at_least_pp for gain in gains)
        detail = f"{count} of {_counted([gain.row for gain in gains])}"
        return self.compared(
            statement, count, bound, detail, lambda v: v >= bound if rising else v <= bound, rising=rising
        )


class Trend(TwoArms):
    """The gain moves in one direction along TP, in every model and workload measured at several TP."""

    kind: Literal["trend"]
    by: Literal["tensor_parallel"]
    expect: Literal["decreasing", "increasing"]

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Look for the smallest step in the expected direction."""
        series = self.looked_at(scores).tp_series(self.metric, self.of, self.over)
        every = "in every model and workload measured at several TP"
        statement = f"{self.metric.label} gain is {self.expect} in TP, {every}"
        if not series:
            return self.unanswered(statement, "no model and workload was measured at two or more TP")
        sign = -1.0 if self.expect == "decreasing" else 1.0
        steps = [sign * (b - a) for row in series for a, b in zip(row.values, row.values[1:], strict=False)]
        detail = "; ".join(f"{row.label}: {', '.join(f'{value:+.1f}' for value in row.values)} pp" for row in series)
        return self.compared(statement, min(steps), 0.0, detail, lambda v: v > 0)


class SignOfError(OneArm):
    """The mean signed error has a predicted sign: of a latency too fast is negative, of a rate too slow is."""

    kind: Literal["sign_of_error"]
    expect: Literal["too_fast", "too_slow"]
    unit: ClassVar[str] = "pct"

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Compare the mean signed error with zero."""
        rows, words = self.rows(scores), self.expect.replace("_", " ")
        statement = f"{self.of} predicts {self.metric.label} {words} on average"
        if not rows:
            return self.unanswered(statement, NOTHING_SCORED)
        # More requests per second are faster, more time is slower.
        sign = -1.0 if (self.expect == "too_fast") is not self.metric.is_rate else 1.0
        errors = [row.signed_error_pct for row in rows]
        evidence = uncertainty.of_errors(errors, rows)
        detail = f"{sum(sign * error > 0 for error in errors)} of {_counted(rows)} {words}"
        return self.compared(statement, mean(errors), 0.0, detail, lambda v: sign * v > 0, evidence, rising=sign > 0)


class LatencyRatio(TwoArms):
    """Predictions of one arm over those of another stay within bounds in every row."""

    kind: Literal["latency_ratio"]
    at_least: Positive | None = None
    at_most: Positive | None = None
    unit: ClassVar[str] = "ratio"

    @model_validator(mode="after")
    def _has_a_bound(self) -> LatencyRatio:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least, at_most or both")
        return self

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Look for the ratio with the least room to a bound."""
        low, high = self.at_least, self.at_most
        bounds = [(words, bound) for words, bound in (("at least", low), ("at most", high)) if bound is not None]
        within = " and ".join(f"{words} {bound:g}" for words, bound in bounds)
        statement = f"{self.of} over {self.over}: predicted {self.metric.label} in every row {within}"
        ratios = self.looked_at(scores).ratios(self.metric, self.of, self.over).values()
        if not ratios:
            return self.unanswered(statement, "no experiment was predicted by both arms")
        rooms = [
            (ratio - bound if words == "at least" else bound - ratio, ratio, words, bound)
            for ratio in ratios
            for words, bound in bounds
        ]
        room, worst, words, bound = min(rooms, key=lambda entry: entry[0])
        detail = f"from {min(ratios):.4f} to {max(ratios):.4f}"
        return self.compared(statement, worst, bound, detail, lambda _: room >= 0, rising=words == "at least")


class TestGap(OneArm):
    """The error on the test experiments exceeds the one on the train experiments by at most this much.

    With `either_way` the two may not differ by more in either direction.
    """

    kind: Literal["test_gap"]
    at_most_pp: NonNegative
    either_way: bool = False

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Compare the mean errors of the two sides."""
        limit, fitted, tested = self.at_most_pp, SIDES["train"], SIDES["test"]
        told = f"{self.metric.label} error of {self.of}"
        told += (
            f" differs between {tested} and {fitted}"
            if self.either_way
            else f" is worse on the {tested} than on the {fitted}"
        )
        statement = f"{told} by at most {limit:g} pp"
        # A value per row, which the statistics of a difference know as a gain.
        errors = [Gain(row, row.ape_pct) for row in self.rows(scores)]
        train, test = ([error for error in errors if error.row.holdout == side] for side in SIDES)
        if not train or not test:
            return self.unanswered(statement, f"no scored experiment in the {tested if train else fitted}")
        means = [_mean(train), _mean(test)]
        gap = means[1] - means[0]
        evidence = uncertainty.of_groups(test, train, limit, either_way=self.either_way)
        detail = f"{fitted} {means[0]:.1f} %, {tested} {means[1]:.1f} %"
        observed = abs(gap) if self.either_way else gap
        return self.compared(statement, observed, limit, detail, self._holds, evidence, rising=False)

    def _holds(self, gap: float) -> bool:
        return (abs(gap) if self.either_way else gap) <= self.at_most_pp


Criterion = Annotated[
    Improvement
    | ImprovementOrder
    | SignedGap
    | Effect
    | NoRowWorse
    | Below
    | BelowArm
    | Vanishes
    | Equivalence
    | CountOfRows
    | Trend
    | SignOfError
    | LatencyRatio
    | TestGap
    | CapacityAnswers
    | CapacityGain,
    Field(discriminator="kind"),
]


def _mean(gains: Sequence[Gain]) -> float:
    return mean([gain.value for gain in gains])


def _range_of(gains: Sequence[Gain]) -> str:
    values = [gain.value for gain in gains]
    better = sum(value > 0 for value in values)
    chosen = _counted([gain.row for gain in gains])
    return f"{better} of {chosen} improve, from {min(values):+.1f} to {max(values):+.1f} pp"


def _counted(rows: Sequence[ErrorRow]) -> str:
    """Return how many rows there are, and of what: experiments, or load points where some experiment has several."""
    noun = "experiment" if len({row.experiment for row in rows}) == len(rows) else "load point"
    return counted(len(rows), noun)
