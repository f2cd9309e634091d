"""Figures of an evaluation: deterministic SVG, axes with units, readable in grey.

Filling and marker tell how much of a test a prediction is. A function returns empty text where there
is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from roofline_lab.predict.predictors import Holdout
from roofline_lab.predict.records import HEADLINE, PointResult, label
from roofline_lab.report.evaluation.against import Pair, headline_pairs
from roofline_lab.report.evaluation.aggregate import evaluated, grouped, scored
from roofline_lab.report.plots import (
    EDGE,
    GRID,
    LEFT_INCHES,
    LINE,
    PANEL_WIDTH,
    Layout,
    Panel,
    Series,
    dots,
    drawn,
    legend,
    scatter,
    svg,
)
from roofline_lab.scoring.statistics import median
from roofline_lab.scoring.table import means

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILLS: Mapping[Holdout, int] = {
    Holdout.NEVER_SEEN: 0,
    Holdout.HELD_OUT: 1,
    Holdout.IN_SAMPLE: 2,
    Holdout.NO_RECORD: 5,
}
RANKS = ("mean", "p50", "p90", "p95", "p99")
LEAST_ROWS = 4
# Errors below this are drawn at it, as a logarithmic axis has no zero.
SMALLEST_PCT = 0.1


def predicted_versus_measured(results: Sequence[PointResult]) -> str:
    """Draw predicted against measured means on log axes, one panel per figure."""
    kept = _kept(results)
    if not any(scored(kept, metric) for metric in HEADLINE):
        return ""
    panels = [
        Panel(
            f"mean {label(metric)}",
            f"measured mean {label(metric)} [ms]",
            tuple(_series(holdout, _pairs(own, metric)) for holdout, own in _by_holdout(kept).items()),
            f"predicted mean {label(metric)} [ms]",
        )
        for metric in HEADLINE
    ]
    return scatter(panels, "predicted = measured")


def error_by_family(results: Sequence[PointResult]) -> str:
    """Draw the signed error of every load point, one line per family, one panel per figure."""
    kept = _kept(results)
    families = list(grouped((result for result in kept if _has_error(result)), lambda result: result.family))
    if not families:
        return ""
    panels = [_family_errors(metric, families, kept) for metric in HEADLINE]
    return dots(panels, families, LEAST_ROWS)


def _family_errors(metric: str, families: Sequence[str], results: Sequence[PointResult]) -> Panel:
    series = tuple(
        _series(holdout, [(error, families.index(result.family)) for result, error in scored(group, metric)])
        for holdout, group in _by_holdout(results).items()
    )
    signed = means(evaluated(results), ("family", "metric"), "signed_error_pct")
    ticks = [(signed[family, metric], float(at)) for at, family in enumerate(families) if (family, metric) in signed]
    words = f"signed error of mean {label(metric)} [%]\n(negative: predicted too fast; stroke: mean of the family)"
    return Panel(f"mean {label(metric)}", words, series, ticks=tuple(ticks))


def _series(holdout: Holdout, points: Iterable[tuple[float, float]]) -> Series:
    """Marker and filling tell how much of a test a prediction is."""
    place = list(Holdout).index(holdout)
    return Series(holdout.value, tuple(points), place, FILLS[holdout])


def percentiles(results: Sequence[PointResult]) -> str:
    """Draw the signed error of mean and percentiles, one thin line per load point, and the median of each."""
    stems = [stem for stem in ("ttft", "tpot", "e2e") if any(scored(results, f"{stem}_{rank}") for rank in RANKS[1:])]
    if not stems:
        return ""
    with drawn(Layout(len(stems), PANEL_WIDTH * 0.8, LEFT_INCHES, LEFT_INCHES, 2)) as (figure, panels):
        for axes, stem in zip(panels, stems, strict=True):
            _ranks(axes, stem, results)
        legend(figure, panels[0], 2)
        return svg(figure)


def against(results: Sequence[PointResult], names: Sequence[str]) -> str:
    """Draw the absolute errors of one predictor against those of another; below the line the first is closer."""
    by_metric = headline_pairs(results, names)
    if not any(by_metric.values()):
        return ""
    panels = [
        Panel(
            f"mean {label(metric)}",
            f"absolute error of {names[1]} [%]",
            (Series("one load point", tuple((_shown(pair, 1), _shown(pair, 0)) for pair in pairs)),),
            f"absolute error of {names[0]} [%]",
        )
        for metric, pairs in by_metric.items()
    ]
    return scatter(panels, "equally far; below it, the first is closer", least=SMALLEST_PCT)


def _shown(pair: Pair, side: int) -> float:
    return max(pair[side].ape_pct, SMALLEST_PCT)


def _ranks(axes: Axes, stem: str, results: Sequence[PointResult]) -> None:
    ranks = [rank for rank in RANKS if scored(results, f"{stem}_{rank}")]
    thin = "one load point"
    for result in results:
        known = [(place, error) for place, rank in enumerate(ranks) if (error := result.error_pct(f"{stem}_{rank}"))]
        if len(known) > 1:
            axes.plot(*zip(*known, strict=True), color=LINE, linewidth=0.7, label=thin)
            thin = "_nolegend_"
    found = [[error for _, error in scored(results, f"{stem}_{rank}")] for rank in ranks]
    axes.plot(range(len(ranks)), [median(errors) for errors in found], "o", color=EDGE, markersize=6, label="median")
    axes.axhline(0.0, color=EDGE, linewidth=0.8)
    counts = [f"{rank}\nn = {len(errors)}" for rank, errors in zip(ranks, found, strict=True)]
    axes.set_xticks(range(len(ranks)), counts)
    axes.set_title(label(f"{stem}_mean"))
    axes.set_xlabel("statistic over requests, and load points that have it")
    axes.set_ylabel("signed error [%]\n(negative: predicted too fast)")
    axes.grid(axis="y", color=GRID, linewidth=0.5)


def _pairs(results: Iterable[PointResult], metric: str) -> list[tuple[float, float]]:
    """Return measured and predicted of every result that has an error."""
    found = [result.figure(metric) for result, _ in scored(results, metric)]
    return [(figure.measured, figure.predicted) for figure in found if figure and figure.measured and figure.predicted]


def _by_holdout(results: Sequence[PointResult]) -> dict[Holdout, list[PointResult]]:
    found = {holdout: [result for result in results if result.holdout is holdout] for holdout in Holdout}
    return {holdout: own for holdout, own in found.items() if own}


def _kept(results: Iterable[PointResult]) -> list[PointResult]:
    """Leave out what is saturated in the simulation alone: one such error would hide all others."""
    return [result for result in results if not result.falsely_saturated]


def _has_error(result: PointResult) -> bool:
    return any(result.error_pct(metric) is not None for metric in HEADLINE)
