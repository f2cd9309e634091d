"""Accept criteria: written as data before a run, evaluated by code after it.

Every kind compares arms over the same experiments and yields an `Outcome`: PASS, FAIL or
NOT MEASURED, with the observed value, its threshold, the margin and a bootstrap interval over
experiments. Gains follow one sign convention: error of arm `over` minus error of arm `of`, in
percentage points, positive = `of` is better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from simulator.validation import Finite, NonNegative, StrictModel
from workflow.lib.scoring import Scores, mean
from workflow.lib.statistics import Interval, bootstrap_difference, bootstrap_mean
from workflow.lib.vocabulary import CriterionResult, Metric


class _Comparison(StrictModel):
    """What every kind says: which metric, and which arm against which."""

    id: str
    metric: Metric = Metric.TPOT_MEAN
    of: str = "treatment"
    over: str = "baseline"
    decisive: bool = False

    @property
    def arms(self) -> tuple[str, str]:
        """The two arms compared."""
        return self.of, self.over


class Improvement(_Comparison):
    """The mean error over all experiments falls by at least so much."""

    kind: Literal["improvement"]
    at_least_pp: Finite


class ImprovementOrder(_Comparison):
    """The first group gains more than the second, by more than so much."""

    kind: Literal["improvement_order"]
    by: Literal["workload", "family"] = "workload"
    groups: Annotated[tuple[str, str], Field()]
    more_than_pp: NonNegative = 0.0


class Trend(_Comparison):
    """The gain moves in one direction along TP, in every model and workload measured at several TP."""

    kind: Literal["trend"]
    by: Literal["tensor_parallel"]
    expect: Literal["decreasing", "increasing"]


Criterion = Annotated[Improvement | ImprovementOrder | Trend, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One criterion after evaluation; `observed`, `threshold` and `margin` are in `unit`."""

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


def evaluate(criterion: Criterion, scores: Scores, bootstrap: Callable[..., Interval | None]) -> Outcome:
    """Evaluate one criterion on one method's scores.

    Parameters
    ----------
    criterion
        What was fixed in advance.
    scores
        The errors of one method at its load points.
    bootstrap
        Returns the interval of the mean of one sample, or of the difference of two.
    """
    evaluators: Mapping[type, Callable[..., Outcome]] = {
        Improvement: _improvement,
        ImprovementOrder: _improvement_order,
        Trend: _trend,
    }
    return evaluators[type(criterion)](criterion, scores, bootstrap)


def bootstrapper(resamples: int, level_pct: float, seed: int) -> Callable[..., Interval | None]:
    """Return a bootstrap with the laboratory's settings, for one sample or the difference of two."""

    def interval(first: list[float], second: list[float] | None = None) -> Interval | None:
        if second is None:
            return bootstrap_mean(first, resamples=resamples, level_pct=level_pct, seed=seed)
        return bootstrap_difference(first, second, resamples=resamples, level_pct=level_pct, seed=seed)

    return interval


def _improvement(criterion: Improvement, scores: Scores, bootstrap: Callable[..., Interval | None]) -> Outcome:
    gains = [gain.value for gain in scores.gains(criterion.metric, criterion.of, criterion.over)]
    statement = (
        f"{criterion.metric.label} error falls by at least {criterion.at_least_pp:g} pp "
        f"({criterion.of} over {criterion.over})"
    )
    if not gains:
        return _not_measured(criterion, statement, "no experiment was scored on both arms")
    observed = mean(gains)
    passed = observed >= criterion.at_least_pp
    better = sum(gain > 0 for gain in gains)
    detail = f"{better} of {len(gains)} experiments improve, from {min(gains):+.1f} to {max(gains):+.1f} pp"
    return _decided(criterion, statement, passed, observed, criterion.at_least_pp, bootstrap(gains), detail)


def _improvement_order(
    criterion: ImprovementOrder, scores: Scores, bootstrap: Callable[..., Interval | None]
) -> Outcome:
    first, second = criterion.groups
    gains = scores.gains(criterion.metric, criterion.of, criterion.over)
    samples = [[gain.value for gain in gains if gain.group(criterion.by) == name] for name in criterion.groups]
    statement = (
        f"{criterion.metric.label} error falls more for {first} than for {second}, "
        f"by more than {criterion.more_than_pp:g} pp"
    )
    if not all(samples):
        return _not_measured(criterion, statement, f"no scored experiment in {first} or in {second}")
    observed = mean(samples[0]) - mean(samples[1])
    detail = ", ".join(
        f"{name} {mean(sample):+.1f} pp (n={len(sample)})"
        for name, sample in zip(criterion.groups, samples, strict=True)
    )
    interval = bootstrap(samples[0], samples[1])
    if interval is not None and interval.low <= 0 <= interval.high:
        detail += "; the difference is not distinguishable from zero"
    passed = observed > criterion.more_than_pp
    return _decided(criterion, statement, passed, observed, criterion.more_than_pp, interval, detail)


def _trend(criterion: Trend, scores: Scores, bootstrap: Callable[..., Interval | None]) -> Outcome:
    series = scores.tp_series(criterion.metric, criterion.of, criterion.over)
    statement = (
        f"{criterion.metric.label} gain is {criterion.expect} in TP, in every model and workload measured at several TP"
    )
    if not series:
        return _not_measured(criterion, statement, "no model and workload was measured at two or more TP")
    sign = -1.0 if criterion.expect == "decreasing" else 1.0
    steps = [sign * (b - a) for row in series for a, b in zip(row.values, row.values[1:], strict=False)]
    observed = min(steps)
    detail = "; ".join(f"{row.label}: {', '.join(f'{value:+.1f}' for value in row.values)} pp" for row in series)
    return _decided(criterion, statement, observed > 0, observed, 0.0, None, detail)


def _decided(
    criterion: _Comparison,
    statement: str,
    passed: bool,
    observed: float,
    threshold: float,
    interval: Interval | None,
    detail: str,
) -> Outcome:
    result = CriterionResult.PASS if passed else CriterionResult.FAIL
    margin = observed - threshold
    return Outcome(criterion.id, statement, result, observed, threshold, margin, interval, detail, criterion.decisive)


def _not_measured(criterion: _Comparison, statement: str, reason: str) -> Outcome:
    return Outcome(
        criterion.id, statement, CriterionResult.NOT_MEASURED, None, None, None, None, reason, criterion.decisive
    )
