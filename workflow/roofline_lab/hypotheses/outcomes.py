"""What became of one criterion, and how one observed value becomes PASS or FAIL.

`decide` judges the strict value; medians and trimmed means stand beside it and never decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from roofline_lab.hypotheses.criterion_kinds import Vanishes
from roofline_lab.scoring.statistics import Interval
from roofline_lab.scoring.uncertainty import Evidence
from roofline_lab.vocabulary import CriterionResult

NOT_DISTINGUISHABLE = "the difference is not distinguishable from zero"
UNKNOWN_DISTINCTION = "whether the difference is zero cannot be told from so few experiments"


@dataclass(frozen=True, slots=True)
class Robust:
    """The same criterion by a statistic that single rows cannot move; it decides nothing."""

    name: str
    observed: float
    result: CriterionResult


@dataclass(frozen=True, slots=True)
class Outcome:
    """One criterion after evaluation; `observed`, `threshold` and `margin` are in `unit`.

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


def result_of(passed: bool) -> CriterionResult:
    """Return PASS or FAIL."""
    return CriterionResult.PASS if passed else CriterionResult.FAIL


def decide(
    criterion: Any,
    statement: str,
    observed: float,
    threshold: float,
    evidence: Evidence | None,
    detail: str,
    *,
    passes: Callable[[float], bool],
    unit: str = "pp",
    rising: bool = True,
    comment: bool = False,
) -> Outcome:
    """Decide on the strict value.

    Parameters
    ----------
    passes
        Whether a value satisfies the criterion; asked for the strict and the robust values.
    rising
        Whether larger values pass.
    comment
        Whether the detail says that a difference cannot be told from zero.
    """
    margin = observed - threshold if rising else threshold - observed
    interval = evidence.interval if evidence else None
    if comment and evidence and evidence.against_zero and evidence.is_distinguishable is not True:
        detail += f"; {UNKNOWN_DISTINCTION if evidence.is_distinguishable is None else NOT_DISTINGUISHABLE}"
    robust = tuple(Robust(name, value, result_of(passes(value))) for name, value in evidence.robust) if evidence else ()
    return Outcome(
        criterion.id,
        statement + _narrowed(criterion),
        result_of(passes(observed)),
        observed,
        threshold,
        margin,
        interval,
        detail,
        criterion.decisive,
        unit,
        evidence,
        robust,
    )


def not_measured(criterion: Any, statement: str, reason: str, unit: str = "pp") -> Outcome:
    """Return the outcome of a criterion that nothing answers."""
    result = CriterionResult.NOT_MEASURED
    named = statement + _narrowed(criterion)
    return Outcome(criterion.id, named, result, None, None, None, None, reason, criterion.decisive, unit)


def _narrowed(criterion: Any) -> str:
    parts = [f"on the {criterion.side} experiments"] if criterion.side else []
    if criterion.where is not None and not isinstance(criterion, Vanishes):
        parts.append(f"at {criterion.where}")
    return f" ({', '.join(parts)})" if parts else ""
