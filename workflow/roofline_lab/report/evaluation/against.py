"""Two predictors side by side on the same load points: who is closer, by how much, and how sure that is.

Contract: only load points both predict are compared. A gain is the absolute error of the one compared
with minus that of the one judged, in percentage points; positive: the one judged is closer. The test
flips signs of the mean gains of experiments, the interval resamples families.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from roofline_lab.config import Settings
from roofline_lab.formatting import MISSING, pct, pp, signed_pct, table
from roofline_lab.predict.predictors import Holdout
from roofline_lab.predict.records import HEADLINE, PREDICTED_SATURATED, PointResult, label
from roofline_lab.report.evaluation.aggregate import group_name, holdout_groups, rows_of
from roofline_lab.report.evaluation.numbers import Line, line
from roofline_lab.scoring.errors import gain_pp, mean
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS
from roofline_lab.scoring.scores import ErrorRow, Scores
from roofline_lab.scoring.statistics import Interval, PValue, median
from roofline_lab.scoring.table import levels, table_of
from roofline_lab.scoring.uncertainty import Uncertainty

MOST_CHANGED = 10
# Probability below which a difference is usually called significant; with few experiments no p can get there.
USUAL_P = 0.05


# One load point under both.
Pair = tuple[ErrorRow, ErrorRow]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One figure over one group of load points.

    Attributes
    ----------
    judged, other, gain
        Means over experiments, each the mean of its load points.
    median_gain
        Median over load points; a single one cannot make it.
    better, worse
        Load points on which the one judged is closer, or farther, by more than the laboratory's threshold.
    """

    group: str
    metric: str
    points: int
    experiments: int
    judged: float
    other: float
    gain: float
    median_gain: float
    interval: Interval | None
    p_value: PValue | None
    better: int
    worse: int


def headline_pairs(results: Iterable[PointResult], names: Sequence[str]) -> dict[str, tuple[Pair, ...]]:
    """Return the rows of the one judged beside those of the other, by metric, where both have an error."""
    scores = Scores(rows_of(results))
    return {metric: scores.pairs(metric, *names) for metric in HEADLINE}


def comparisons(results: Sequence[PointResult], names: Sequence[str], settings: Settings) -> list[SideBySide]:
    """Compare both predictors on every headline figure, by how much of a test the one judged is."""
    found = []
    only_other = {result.place for result in results if result.predictor == names[1] and result.falsely_saturated}
    for group, members in holdout_groups(result for result in results if result.predictor == names[0]).items():
        places = {result.place for result in members}
        # Where the other one alone saturates, its error has no upper end, and neither has the gain.
        apart = set() if group.endswith(PREDICTED_SATURATED) else only_other
        parts = {group: places - apart, group_name(group, f"{names[1]} {PREDICTED_SATURATED}"): places & apart}
        for name, chosen in parts.items():
            own = [result for result in results if result.place in chosen]
            for metric, pairs in headline_pairs(own, names).items():
                if pairs:
                    found.append(_comparison(name, metric, pairs, settings))
    return found


def _comparison(group: str, metric: str, pairs: Sequence[Pair], settings: Settings) -> SideBySide:
    gains_pp = [gain_pp(judged.ape_pct, other.ape_pct) for judged, other in pairs]
    rows = table_of(judged for judged, _ in pairs).assign(
        other_pct=[other.ape_pct for _, other in pairs], gain_pp=gains_pp
    )
    judged, other, gains = (levels(rows, value)[1] for value in ("ape_pct", "other_pct", "gain_pp"))
    uncertainty, threshold_pp = Uncertainty.of_settings(settings), settings.bold_above_pp
    return SideBySide(
        group=group,
        metric=metric,
        points=len(pairs),
        experiments=len(gains),
        judged=mean(judged.tolist()),
        other=mean(other.tolist()),
        gain=mean(gains.tolist()),
        median_gain=median(gains_pp),
        interval=uncertainty.interval_of(gains.tolist(), gains.index.get_level_values("family").tolist()),
        p_value=uncertainty.p_of_differences(gains.tolist()),
        better=sum(gain > threshold_pp for gain in gains_pp),
        worse=sum(gain < -threshold_pp for gain in gains_pp),
    )


def comparison_table(found: Iterable[SideBySide], names: Sequence[str], settings: Settings) -> str:
    """Return the comparison as markdown."""
    beyond = f"{settings.bold_above_pp:g} pp"
    lines = [
        [
            comparison.group,
            label(comparison.metric),
            f"{comparison.experiments} ({comparison.points})",
            pct(comparison.judged),
            pct(comparison.other),
            pp(comparison.gain, bold_above=settings.bold_above_pp),
            pp(comparison.median_gain),
            f"{comparison.interval.low:+.1f} to {comparison.interval.high:+.1f}" if comparison.interval else MISSING,
            f"{comparison.p_value.value:.2g}" if comparison.p_value else MISSING,
            str(comparison.better),
            str(comparison.worse),
        ]
        for comparison in found
    ]
    header = ["predictions", "figure", "experiments (load points)", names[0], names[1], "gain"]
    header += ["median over load points", "95 % interval", "p"]
    return table([*header, f"better by {beyond}", f"worse by {beyond}"], lines, left=2)


def changed_table(results: Sequence[PointResult], names: Sequence[str]) -> str:
    """List the load points and figures on which the two differ most, losses of the one judged first."""
    pairs = [pair for pairs in headline_pairs(results, names).values() for pair in pairs]
    gains = [(gain_pp(judged.ape_pct, other.ape_pct), judged, other) for judged, other in pairs]
    ranked = sorted(gains, key=lambda entry: (entry[0], entry[1].place, entry[1].metric))
    lines = [
        [
            judged.place,
            label(judged.metric),
            *map(signed_pct, (judged.signed_error_pct, other.signed_error_pct)),
            pp(gain),
        ]
        for gain, judged, other in ranked
        if gain < 0
    ][:MOST_CHANGED]
    return table(["load point", "figure", *names, "gain"], lines, left=2) if lines else ""


def unfair(results: Iterable[PointResult], names: Sequence[str]) -> str:
    """Say where one of the two may know the load points: in its own fit, or tuned without a record."""
    results, parts = list(results), []
    for name in names:
        holdouts = [result.holdout for result in results if result.predictor == name]
        seen = holdouts.count(Holdout.IN_SAMPLE)
        if seen:
            parts.append(f"`{name}` was fitted to the families of {seen} of these load points: there it is in sample.")
        if Holdout.NO_RECORD in holdouts:
            parts.append(
                f"`{name}` has no record of what it was tuned to: it may have been tuned to these very load points."
            )
    return " ".join(parts)


def smallest_p(found: Iterable[SideBySide]) -> str:
    """Say below what no p can fall with so few experiments, or empty where that hides nothing."""
    few = sorted(
        {
            comparison.experiments
            for comparison in found
            if comparison.p_value and 2.0 ** (1 - comparison.experiments) > USUAL_P
        }
    )
    words = [f"{number} experiments p cannot fall below {2.0 ** (1 - number):.2g}" for number in few]
    return f"With {', with '.join(words)}, whatever the gains are." if words else ""


def gain_lines(found: Iterable[SideBySide], names: Sequence[str]) -> Iterator[Line]:
    """Yield the lines of `numbers.csv` that hold the comparison."""
    for comparison in found:
        place = (comparison.group, names[0], ALL_LOAD_POINTS, "overall", "experiments", comparison.metric)
        yield line(*place, "delta", comparison.gain, "pp")
        yield line(*place, "delta_median", comparison.median_gain, "pp")
        yield line(*place, "better", comparison.better, "count")
        yield line(*place, "worse", comparison.worse, "count")
        if comparison.interval is not None:
            yield line(*place, "delta_low", comparison.interval.low, "pp")
            yield line(*place, "delta_high", comparison.interval.high, "pp")
        if comparison.p_value is not None:
            yield line(*place, "p_value", comparison.p_value.value, "ratio")
