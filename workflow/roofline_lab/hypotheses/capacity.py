"""The key `capacity` of a hypothesis: which limits every ladder of load is asked about, and how answers are judged.

Limits are absolute and fixed before a run: a limit relative to what was measured would tell the prediction where to
look.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from roofline_lab.scoring.capacity import Question, Slo
from simulator.errors import ConfigError
from simulator.slo import read_limits
from simulator.validation import Positive, StrictModel

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Factor = Annotated[Positive, Field(gt=1)]
Load = Literal["concurrency", "rate"]


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
