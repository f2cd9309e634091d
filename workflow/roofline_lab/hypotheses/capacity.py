"""The key `capacity` of a hypothesis: which limits every ladder of load is asked about, and how answers are judged.

Limits are absolute and fixed before a run: a limit relative to what was measured would tell the prediction where to
look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from roofline_lab.hypotheses.on_errors import OneArm, TwoArms
from roofline_lab.hypotheses.outcome import CriterionOutcome
from roofline_lab.scoring.capacity import Question, Slo
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.scores import ErrorRow, Gain, Scores
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import Quantity
from simulator.errors import ConfigError
from simulator.slo import read_limits
from simulator.validation import Finite, NonNegative, Positive, StrictModel

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Factor = Annotated[Positive, Field(gt=1)]
Load = Literal["concurrency", "rate"]
NO_ANSWER = "no ladder of load has such an answer"


class Knee(StrictModel):
    """Where a latency starts to rise: the load at which it is so many times its value at the lowest load."""

    latency: Text
    factor: Factor


class CapacityQuestion(StrictModel):
    """What is asked of every experiment that was measured at several loads.

    Attributes
    ----------
    load
        What a ladder goes up in: requests in flight of closed loops, or requests sent per second.
    limits
        Limits on latencies with their units; those of one text have to be met together.
    close_factor
        A load is a close call where the measured latency lies within this factor of the limit.
    wrong_met_weight
        How many wrong "not met" one wrong "met" costs.
    """

    load: Load
    limits: Annotated[tuple[Text, ...], Field(min_length=1)]
    knee: Knee
    close_factor: Factor
    wrong_met_weight: Annotated[Positive, Field(ge=1)]

    @field_validator("limits")
    @classmethod
    def _are_limits(cls, limits: tuple[str, ...]) -> tuple[str, ...]:
        problems = []
        for text in limits:
            try:
                read_limits(text, repr(text))
            except ConfigError as error:
                problems.append(str(error))
        if len(set(limits)) != len(limits):
            problems.append("one is given twice")
        if problems:
            raise ValueError("; ".join(problems))
        return limits

    @property
    def slos(self) -> tuple[Slo, ...]:
        """The limits, those that have to be met together as one."""
        return tuple(read_limits(text, "limits") for text in self.limits)

    @property
    def question(self) -> Question:
        """What is asked of a ladder."""
        knee = self.knee
        return Question(self.slos, knee.latency, knee.factor, self.close_factor, self.wrong_met_weight)


# --- criteria -------------------------------------------------------------------------------------------


class CapacityAnswers(OneArm):
    """Answers about capacity are at least this good on average, or at most this bad; `metric` plays no part."""

    kind: Literal["capacity"]
    quantity: Quantity
    at_least_pct: NonNegative | None = None
    at_most_pct: NonNegative | None = None
    unit: ClassVar[str] = "pct"

    @model_validator(mode="after")
    def _has_one_bound(self) -> CapacityAnswers:
        if (self.at_least_pct is None) == (self.at_most_pct is None):
            raise ValueError("give exactly one of at_least_pct and at_most_pct")
        return self

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Compare the mean over all answers with the bound."""
        rising = self.at_least_pct is not None
        bound = (self.at_least_pct if rising else self.at_most_pct) or 0.0
        statement = f"{self.quantity.words} of {self.of} is {'at least' if rising else 'at most'} {bound:g} %"
        found = self.looked_at(scores).judged(self.of, self.quantity)
        if not found:
            return self.unanswered(statement, NO_ANSWER)
        values, rows = [each.value_pct for each in found], [each.row for each in found]
        evidence = uncertainty.of_errors(values, rows, bound)
        passes = (lambda value: value >= bound) if rising else (lambda value: value <= bound)
        return self.compared(statement, mean(values), bound, _counted(rows), passes, evidence, rising=rising)


class CapacityGain(TwoArms):
    """One arm's answers about capacity are better than another's by at least this much, where both give one."""

    kind: Literal["capacity_gain"]
    quantity: Quantity
    at_least_pp: Finite = 0.0

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Compare the mean difference, positive where `of` is better, with what is asked."""
        asked = self.at_least_pp
        statement = f"{self.quantity.words} of {self.of} is better by at least {asked:g} pp than that of {self.over}"
        looked_at = self.looked_at(scores)
        other = {each.place: each.value_pct for each in looked_at.judged(self.over, self.quantity)}
        own = [each for each in looked_at.judged(self.of, self.quantity) if each.place in other]
        if not own:
            return self.unanswered(statement, NO_ANSWER)
        sign = 1.0 if self.quantity.more_is_better else -1.0
        gains = [Gain(each.row, sign * (each.value_pct - other[each.place])) for each in own]
        observed, evidence = mean([gain.value for gain in gains]), uncertainty.of_gains(gains, asked)
        detail = _counted([each.row for each in own])
        return self.compared(statement, observed, asked, detail, lambda value: value >= asked, evidence)


def _counted(rows: Sequence[ErrorRow]) -> str:
    return f"{len(rows):,} answers on {len({row.experiment for row in rows})} servers"
