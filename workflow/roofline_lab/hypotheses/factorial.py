"""Two-level factorial designs: an arm for every selection of some factors, named by them.

With factors `a` and `b` the arms are `none`, `a`, `b` and `a_b`. Effects are the contrasts of such a design, told as
gains: positive where errors fall (Box, Hunter and Hunter, Statistics for Experimenters, chapter 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from roofline_lab.hypotheses.on_errors import NearOrApart
from roofline_lab.hypotheses.outcome import CriterionOutcome
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.scores import Gain, Scores
from roofline_lab.scoring.uncertainty import Uncertainty

NO_FACTOR = "none"
SEPARATOR = "_"
FactorName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*$")]


def arms_of(factors: Sequence[str]) -> tuple[str, ...]:
    """Return the arm of every selection of factors, by how many they are."""
    selections = (chosen for size in range(len(factors) + 1) for chosen in combinations(factors, size))
    return tuple(SEPARATOR.join(chosen) or NO_FACTOR for chosen in selections)


def effect_pp(factors: Sequence[str], errors: Mapping[str, float]) -> float:
    """Return the mean error over half of the arms less that over the other half, in the unit of the errors.

    Of one factor, the mean gain over all selections of the others. Of two, half of what the gain of one grows by where
    the other is on: negative, they are worth less together than each for itself. Of more, and so on.

    Parameters
    ----------
    errors
        Error by arm, of every arm of the design.
    """
    # Arms that lack an even number of the factors count for the gain, the others against it.
    lacking = {arm: len(set(factors) - set(arm.split(SEPARATOR))) for arm in errors}
    return -2.0 * mean([(-1) ** lacking[arm] * error for arm, error in errors.items()])


class Effect(NearOrApart):
    """What a factor of a two-level factorial design is worth, or what several are worth beside each for itself.

    The design has an arm for every selection of its factors, named by them with `_` between, and `none`.

    Attributes
    ----------
    factors
        One, for its gain over all selections of the others; several, for how their gains depend on each other.
    among
        Every factor of the design, in the order of the arms' names.
    """

    kind: Literal["effect"]
    factors: Annotated[tuple[FactorName, ...], Field(min_length=1)]
    among: Annotated[tuple[FactorName, ...], Field(min_length=2, max_length=8)]

    @model_validator(mode="after")
    def _is_of_the_design(self) -> Effect:
        twice = any(len(set(names)) < len(names) for names in (self.factors, self.among))
        if twice or not set(self.factors) <= set(self.among):
            raise ValueError(f"factors: name each once, of those in among [{', '.join(self.among)}]")
        return self

    @property
    def arms(self) -> tuple[str, ...]:
        """Every arm of the design."""
        return arms_of(self.among)

    @property
    def shown_arms(self) -> tuple[str, ...]:
        """The arms without any other factor."""
        return arms_of(self.factors)

    def evaluate(self, scores: Scores, uncertainty: Uncertainty) -> CriterionOutcome:
        """Compare the mean effect with the bound."""
        effects, near = self._effects(self.looked_at(scores)), self.within_pp is not None
        what = f"{self.metric.label} {'interaction' if self.factors[1:] else 'gain'} of {' x '.join(self.factors)}"
        bound = f"within {self.bound_pp:g} pp of zero" if near else f"at least {self.bound_pp:g} pp"
        statement = f"{what}, over all selections of the other factors, is {bound}"
        if not effects:
            return self.unanswered(statement, "no experiment was scored on every arm of the design")
        values = [effect.value for effect in effects]
        detail = f"from {min(values):+.1f} to {max(values):+.1f} pp, n={len(values)}"
        evidence = uncertainty.of_gains(effects, self.bound_pp, either_way=near)
        return self.bounded(statement, mean(values), detail, evidence)

    def _effects(self, scores: Scores) -> list[Gain]:
        """Return the effect of every row scored on all arms."""
        found = []
        for row in scores.select(NO_FACTOR, self.metric):
            others = {arm: scores.row(arm, row.experiment, self.metric, row.load_point) for arm in self.arms}
            known = {arm: other.ape_pct for arm, other in others.items() if other is not None and other.is_scored}
            if len(known) == len(others):
                found.append(Gain(row, effect_pp(self.factors, known)))
        return found


def shown_arms_of(criterion: Any) -> tuple[str, ...]:
    """Return which arms of a criterion tables and figures show: of a design, those without other factors."""
    return criterion.shown_arms if isinstance(criterion, Effect) else tuple(criterion.arms)
