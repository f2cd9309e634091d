"""What criteria on the errors of arms have in common: which rows they look at, and how they come to an outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Literal

from pydantic import model_validator

from roofline_lab.hypotheses.outcome import BaseCriterion, CriterionOutcome, robust_variants
from roofline_lab.hypotheses.where import Where
from roofline_lab.scoring.scores import ErrorRow, Gain, Scores
from roofline_lab.scoring.uncertainty import Evidence
from roofline_lab.vocabulary import SIDES, Metric
from simulator.validation import Positive

NAMED = ("family", "workload", "hardware")  # what groups go by whose names are known before anything runs


class OnErrors(BaseCriterion):
    """A criterion on the errors of arms.

    Attributes
    ----------
    metric
        Whose errors are looked at.
    where
        Which rows; None: all.
    side
        `train` or `test`: look at one side of the hypothesis' split only.
    unit
        Of observed value, threshold and margin.
    """

    metric: Metric = Metric.TPOT_MEAN
    where: Where | None = None
    side: Literal["train", "test"] | None = None
    unit: ClassVar[str] = "pp"

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms the criterion names."""
        raise NotImplementedError

    @property
    def named_groups(self) -> Iterator[tuple[str, str]]:
        """(kind, name) of every family, workload, GPU and experiment the criterion names."""
        if self.where is not None:
            for kind in (*NAMED, "experiment"):
                for name in getattr(self.where, kind) or ():
                    yield kind, name

    @property
    def narrowed(self) -> str:
        """Which rows are looked at, in words behind the statement; empty for all."""
        parts = [f"on the {SIDES[self.side]}"] if self.side else []
        parts += [f"at {self.where}"] if self.where else []
        return f" ({', '.join(parts)})" if parts else ""

    def looked_at(self, scores: Scores) -> Scores:
        """Return the scores of the rows the criterion looks at."""
        chosen = scores if self.where is None else scores.where(self.where.matches)
        return chosen if self.side is None else chosen.where(lambda row: row.holdout == self.side)

    def unanswered(self, statement: str, reason: str) -> CriterionOutcome:
        """Return NOT MEASURED."""
        return self.not_measured(statement + self.narrowed, reason, self.unit)

    def compared(
        self,
        statement: str,
        observed: float,
        threshold: float,
        detail: str,
        passes: Callable[[float], bool],
        evidence: Evidence | None = None,
        *,
        rising: bool = True,
    ) -> CriterionOutcome:
        """Decide on the strict value.

        Parameters
        ----------
        passes
            Whether a value satisfies the criterion; asked for the strict and the robust values.
        rising
            Whether larger values pass.
        """
        margin = observed - threshold if rising else threshold - observed
        robust = robust_variants(evidence, passes) if evidence else ()
        said, passed = statement + self.narrowed, passes(observed)
        return self.decided(said, passed, observed, threshold, margin, detail, self.unit, evidence, robust)


class OneArm(OnErrors):
    """A criterion on one arm.

    Attributes
    ----------
    of
        The arm that is looked at.
    """

    of: str = "treatment"

    @property
    def arms(self) -> tuple[str, ...]:
        """The arm looked at."""
        return (self.of,)

    def rows(self, scores: Scores) -> Sequence[ErrorRow]:
        """Return the scored rows of the arm."""
        return self.looked_at(scores).select(self.of, self.metric)


class TwoArms(OnErrors):
    """A criterion on the gain of one arm over another.

    Attributes
    ----------
    of
        The arm that should be better.
    over
        The arm it is compared with.
    """

    of: str = "treatment"
    over: str = "baseline"

    @property
    def arms(self) -> tuple[str, ...]:
        """The two arms compared."""
        return self.of, self.over

    def gains(self, scores: Scores) -> Sequence[Gain]:
        """Return the gain of every row scored on both arms."""
        return self.looked_at(scores).gains(self.metric, self.of, self.over)


class NearOrApart(OnErrors):
    """A difference is no larger than one bound in size, or no smaller than another.

    Attributes
    ----------
    within_pp, at_least_pp
        The bound, one of both: on its size, or from below.
    """

    within_pp: Positive | None = None
    at_least_pp: Positive | None = None

    @model_validator(mode="after")
    def _has_one_bound(self) -> NearOrApart:
        if (self.within_pp is None) == (self.at_least_pp is None):
            raise ValueError("give exactly one of within_pp and at_least_pp")
        return self

    @property
    def bound_pp(self) -> float:
        """The bound that is given."""
        return self.within_pp or self.at_least_pp or 0.0

    def bounded(self, statement: str, difference: float, detail: str, evidence: Evidence) -> CriterionOutcome:
        """Decide on a difference."""
        is_near, bound = self.within_pp is not None, self.bound_pp
        margin = bound - abs(difference) if is_near else difference - bound
        robust = robust_variants(evidence, lambda v: abs(v) <= bound if is_near else v >= bound)
        said = statement + self.narrowed
        return self.decided(said, margin >= 0, difference, bound, margin, detail, self.unit, evidence, robust)
