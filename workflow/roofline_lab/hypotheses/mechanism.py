"""What an author says about causes, in a form a machine can check.

A `Mechanism` predicts, per group of experiments, which way one arm's times lie from another's, cites
the code that does it and may name a control arm that disables it. An `Expectation` sets a number from
first principles beside an observed one. `roofline_lab.lint` checks both against the results.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from roofline_lab.vocabulary import Metric
from simulator.validation import NonNegative, StrictModel

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Direction = Literal["longer", "shorter", "equal"]


class MechanismControl(StrictModel):
    """An arm in which the mechanism is disabled: its effect over another arm is bounded (rule RCV-4)."""

    arm: str
    over: str
    at_most_pp: NonNegative


class Mechanism(StrictModel):
    """One causal statement (rules RCV-1, RCV-3 and RCV-4).

    Attributes
    ----------
    statement
        What causes what, in words.
    of, over
        The arms it speaks of: times of `of` compared with times of `over`.
    by
        How experiments are grouped.
    predicts
        Per group: are the predicted times of `of` longer, shorter or equal?
    cites
        Where in the code it happens: `path` or `path:line`.
    control
        The arm that disables the mechanism and nothing else.
    methods
        Methods under which it is claimed; None means all.
    contradicted
        The numbers contradict this cause; it is kept to show that. The lint then demands that they do.
    """

    statement: Text
    metric: Metric = Metric.TPOT_MEAN
    of: str = "treatment"
    over: str = "baseline"
    by: Literal["workload", "family", "tp", "experiment"] = "workload"
    predicts: Annotated[dict[str, Direction], Field(min_length=1)]
    cites: Annotated[tuple[Text, ...], Field(min_length=1)]
    control: MechanismControl | None = None
    methods: tuple[str, ...] | None = None
    contradicted: bool = False

    def is_claimed_for(self, method: str) -> bool:
        """Say whether the cause is claimed under a method."""
        return self.methods is None or method in self.methods


class Expectation(StrictModel):
    """A first-principles number for a surprise (rule RCV-2); templates over the results that give one number."""

    words: Text
    expected: Text
    observed: Text
    within: NonNegative
