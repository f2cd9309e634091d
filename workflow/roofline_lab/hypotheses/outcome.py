"""What a criterion comes to: result, numbers that say why, and whether the evidence settles it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from roofline_lab.formatting import quantity
from roofline_lab.scoring.statistics import Interval
from roofline_lab.scoring.uncertainty import Evidence
from roofline_lab.vocabulary import CriterionResult
from simulator.validation import StrictModel

TOO_FEW = "too few experiments for a permutation test"


@dataclass(frozen=True, slots=True)
class Robust:
    """The same criterion by a statistic that single rows cannot move, or relaxed; it decides nothing."""

    name: str
    observed: float
    result: CriterionResult


@dataclass(frozen=True, slots=True)
class CriterionOutcome:
    """Result of one criterion; `observed`, `threshold` and `margin` are in `unit`.

    `margin` is the distance to the threshold on the side that passes: positive, room to spare.
    """

    id: str
    statement: str
    result: CriterionResult
    observed: float | None
    threshold: float | None
    margin: float | None
    interval: Interval | None
    detail: str
    decisive: bool
    unit: str = "pp"
    evidence: Evidence | None = None
    robust: tuple[Robust, ...] = ()

    def __str__(self) -> str:
        """Return result and observed value, as in `PASS (+3.2 pp)`."""
        return f"{self.result} ({quantity(self.observed, self.unit)})"


class BaseCriterion(StrictModel):
    """What every criterion has, of measured and of synthetic hypotheses, and how it comes to its outcome.

    Attributes
    ----------
    decisive
        Whether its failure refutes the claim.
    """

    id: str
    decisive: bool = False

    def decided(
        self,
        statement: str,
        passed: bool,
        observed: float,
        threshold: float,
        margin: float,
        detail: str,
        unit: str,
        evidence: Evidence | None = None,
        robust: tuple[Robust, ...] = (),
    ) -> CriterionOutcome:
        """Return PASS or FAIL, with the numbers that say why; PASS, undecided where evidence does not settle it."""
        interval = evidence.interval if evidence else None
        numbers = (float(observed), float(threshold), float(margin), interval)
        result = _result(passed)
        if evidence is not None and evidence.is_distinguishable is not True:
            result = CriterionResult.UNDECIDED if passed else result
            detail += f"; {_not_told_apart(evidence)}"
        return CriterionOutcome(self.id, statement, result, *numbers, detail, self.decisive, unit, evidence, robust)

    def not_measured(self, statement: str, reason: str, unit: str) -> CriterionOutcome:
        """Return the outcome of a criterion that nothing answers."""
        nothing = CriterionResult.NOT_MEASURED
        return CriterionOutcome(self.id, statement, nothing, None, None, None, None, reason, self.decisive, unit)


def robust_variants(evidence: Evidence, passes: Callable[[float], bool]) -> tuple[Robust, ...]:
    """Return the criterion by every statistic that single rows cannot move."""
    return tuple(Robust(name, value, _result(passes(value))) for name, value in evidence.robust)


def relaxed_worst_case(
    worst_first: Sequence[float], limit: float, holds: Callable[[float, float], bool]
) -> tuple[Robust, ...]:
    """Return a criterion on the worst row with that row left out, and with twice its limit.

    Parameters
    ----------
    worst_first
        What is judged of every row, the worst first.
    holds
        Whether a value satisfies a limit.
    """
    left_out = [Robust("worst left out", value, _result(holds(value, limit))) for value in worst_first[1:2]]
    return (*left_out, Robust("limit doubled", worst_first[0], _result(holds(worst_first[0], 2 * limit))))


def _result(passed: bool) -> CriterionResult:
    return CriterionResult.PASS if passed else CriterionResult.FAIL


def _not_told_apart(evidence: Evidence) -> str:
    """Say that a mean cannot be told from the threshold, and what is missing for it."""
    threshold = "the threshold" if evidence.threshold else "zero"
    if evidence.is_distinguishable is None:
        return f"cannot be told from {threshold}: {evidence.no_interval or TOO_FEW}"
    return f"not distinguishable from {threshold}"
