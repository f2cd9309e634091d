"""When a result is arithmetic: arms whose predictions are a constant multiple of the reference's.

If an arm predicts c times what the reference predicts, in every experiment, then its error follows
from the reference's signed error s (percent) and c alone:

    error = |c * (100 + s) - 100|;   too fast before and after: gain = (c - 1) * (100 - error before)

Whatever such an arm shows (who gains more, a trend along TP) would be shown by any change that scales
time by c, whatever its cause. An arm that is compared with other measured figures gains by those, so
that nothing is said about it; and a single experiment has one ratio, which is constant whatever the
arm does, so that several different ones are needed. c is computed from the options where only the bandwidth efficiency
differs and all time is memory traffic; else it is the median of the observed ratios.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from roofline_lab.hypotheses.outcome import CriterionOutcome
from roofline_lab.scoring.errors import PERCENT, ape_pct, gain_pp, mean
from roofline_lab.scoring.scores import ErrorRow, Scores
from roofline_lab.scoring.statistics import median
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import Metric

# Largest deviation of one experiment's ratio from c that still counts as a constant multiple, percent:
# steps are whole microseconds, and requests that overlap in one arm may not in the other.
TOLERANCE_PCT = 2.0
# Fewest experiments with different predictions at which one factor is no coincidence: one always has a factor, two may
# have the same by chance.
FEWEST_POINTS = 3
BANDWIDTH = "bandwidth_efficiency"


@dataclass(frozen=True, slots=True)
class ExplainedGain:
    """The gain of one experiment beside what the constant multiple alone gives, percentage points."""

    experiment: str
    load_point: str
    gain: float
    if_proportional: float


@dataclass(frozen=True, slots=True)
class ProportionalArm:
    """One arm and metric against the reference.

    Attributes
    ----------
    scale
        c, dimensionless.
    spread_pct
        Largest deviation of an experiment's ratio from c.
    is_computed
        Whether c follows from the options instead of the results.
    points
        Experiments whose predictions under the reference differ from each other by more than the tolerance.
    """

    arm: str
    metric: Metric
    scale: float
    spread_pct: float
    is_computed: bool
    rows: tuple[ExplainedGain, ...]
    points: int

    @property
    def is_told(self) -> bool:
        """Whether there are enough different experiments to tell a constant multiple from any other change."""
        return self.points >= FEWEST_POINTS

    @property
    def is_constant_multiple(self) -> bool:
        """Whether every experiment's prediction is c times the reference's, in enough different ones to tell."""
        return self.is_told and self.spread_pct <= TOLERANCE_PCT

    @property
    def gain(self) -> float:
        """Mean gain observed."""
        return mean([row.gain for row in self.rows])

    @property
    def if_proportional(self) -> float:
        """Mean gain the multiple alone gives."""
        return mean([row.if_proportional for row in self.rows])

    @property
    def explained_pct(self) -> float | None:
        """Share of the gains, experiment by experiment, that the multiple accounts for; None without gains."""
        return explained_pct([(row.gain, row.if_proportional) for row in self.rows])


@dataclass(frozen=True, slots=True)
class ExplainedCriterion:
    """A criterion as it came out, and as it comes out when the arm is replaced by c times the reference."""

    observed: CriterionOutcome
    if_proportional: CriterionOutcome

    @property
    def is_explained(self) -> bool:
        """Whether the multiple alone gives the same result."""
        return self.observed.result is self.if_proportional.result


def explained_pct(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return 100 * (1 - sum |gain - if proportional| / sum |gain|), at least 0; None if all gains are 0."""
    total = sum(abs(gain) for gain, _ in pairs)
    if total == 0:
        return None
    return max(0.0, PERCENT * (1.0 - sum(abs(gain - if_proportional) for gain, if_proportional in pairs) / total))


def proportional_arms(
    scores: Scores,
    configurations: Mapping[str, Mapping[str, Any]],
    metrics: Iterable[Metric],
) -> tuple[ProportionalArm, ...]:
    """Compare every arm with the first one.

    Parameters
    ----------
    scores
        Errors of one method.
    configurations
        Resolved options by arm, the reference first.
    """
    reference, *others = configurations
    wanted = tuple(metrics)
    scales = {arm: _computed_scale(configurations[reference], configurations[arm]) for arm in others}
    found = (_against_reference(scores, reference, arm, metric, scales[arm]) for arm in others for metric in wanted)
    return tuple(arm for arm in found if arm is not None)


def explain_criteria(
    criteria: Iterable[Any], scores: Scores, found: Sequence[ProportionalArm], reference: str, uncertainty: Uncertainty
) -> tuple[ExplainedCriterion, ...]:
    """Evaluate every criterion again with each constant multiple in place of its arm."""
    scales = {(arm.arm, arm.metric): arm.scale for arm in found if arm.is_constant_multiple}
    scaled = Scores(_scaled(row, scores, scales, reference) for row in scores.rows)
    return tuple(
        ExplainedCriterion(criterion.evaluate(scores, uncertainty), criterion.evaluate(scaled, uncertainty))
        for criterion in criteria
        if any((arm, criterion.metric) in scales for arm in criterion.arms)
    )


def _against_reference(
    scores: Scores, reference: str, arm: str, metric: Metric, computed: float | None
) -> ProportionalArm | None:
    ratios = scores.ratios(metric, arm, reference)
    if not ratios:
        return None
    scale = median(list(ratios.values()))
    if computed is not None and _spread_pct(ratios.values(), computed) <= TOLERANCE_PCT:
        scale = computed
    rows, predicted = [], dict[str, float]()
    for experiment, load_point in ratios:
        before = scores.row(reference, experiment, metric, load_point)
        after = scores.row(arm, experiment, metric, load_point)
        assert before is not None, "a ratio has both rows"
        assert after is not None, "a ratio has both rows"
        if before.measured != after.measured:
            return None
        if_proportional = gain_pp(abs(scale * (PERCENT + before.signed_error_pct) - PERCENT), before.ape_pct)
        rows.append(ExplainedGain(experiment, load_point, gain_pp(after.ape_pct, before.ape_pct), if_proportional))
        predicted.setdefault(experiment, before.predicted or 0.0)
    spread, points = _spread_pct(ratios.values(), scale), _different(predicted.values())
    return ProportionalArm(arm, metric, scale, spread, scale == computed, tuple(rows), points)


def _different(predictions: Iterable[float]) -> int:
    """Count the predictions that differ from each other by more than the tolerance."""
    kept: list[float] = []
    for value in sorted(predictions):
        if not kept or value > kept[-1] * (1.0 + TOLERANCE_PCT / PERCENT):
            kept.append(value)
    return len(kept)


def _spread_pct(ratios: Iterable[float], scale: float) -> float:
    return max(ape_pct(ratio, scale) for ratio in ratios)


def _computed_scale(reference: Mapping[str, Any], arm: Mapping[str, Any]) -> float | None:
    """Return the factor on memory time where only the bandwidth efficiency differs."""
    differing = {key for key in {*reference, *arm} if reference.get(key) != arm.get(key)}
    if not differing:
        return 1.0
    if differing != {BANDWIDTH}:
        return None
    return (reference[BANDWIDTH] or 1.0) / (arm[BANDWIDTH] or 1.0)


def _scaled(row: ErrorRow, scores: Scores, scales: Mapping[tuple[str, Metric], float], reference: str) -> ErrorRow:
    scale = scales.get((row.arm, row.metric))
    before = scores.row(reference, row.experiment, row.metric, row.load_point)
    if scale is None or before is None or before.predicted is None or not row.is_scored:
        return row
    return replace(row, predicted=scale * before.predicted)
