"""Figures of an evaluation: deterministic SVG, axes with units, readable in grey.

Filling and marker tell how much of a test a prediction is. A function returns empty text where there
is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from roofline_lab.predict.predictors import Standing
from roofline_lab.predict.records import HEADLINE, PointResult, label
from roofline_lab.report.drawing import (
    BAR_HEIGHT,
    CHARACTER_WIDTH,
    EDGE,
    GAP,
    GRID,
    MARKERS,
    PANEL_WIDTH,
    SCATTER_LEFT,
    Layout,
    drawn,
    legend,
    log_log,
    svg,
)
from roofline_lab.report.evaluation.against import Pair, pairs_of
from roofline_lab.report.evaluation.aggregate import evaluated, grouped, scored
from roofline_lab.scoring.statistics import median
from roofline_lab.scoring.table import means

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILLS: Mapping[Standing, str] = {
    Standing.NEVER_SEEN: "white",
    Standing.HELD_OUT: "#4d4d4d",
    Standing.IN_SAMPLE: "#b3b3b3",
    Standing.NO_RECORD: "#8c8c8c",
}
MARKER: Mapping[Standing, str] = dict(zip(Standing, MARKERS, strict=False))
RANKS = ("mean", "p50", "p90", "p95", "p99")
LINE = "#b3b3b3"
LEAST_ROWS = 4
# Errors below this are drawn at it, as a logarithmic axis has no zero.
SMALLEST_PCT = 0.1


def predicted_versus_measured(results: Sequence[PointResult]) -> str:
    """Draw predicted against measured means on log axes, one panel per figure."""
    kept = _kept(results)
    groups = _by_standing(kept)
    if not any(scored(kept, metric) for metric in HEADLINE):
        return ""
    with drawn(Layout(len(HEADLINE), PANEL_WIDTH, SCATTER_LEFT, SCATTER_LEFT, 1, right=0.35)) as (figure, panels):
        for axes, metric in zip(panels, HEADLINE, strict=True):
            _scatter(axes, metric, groups)
        legend(figure, panels[0], len(groups) + 1)
        return svg(figure)


def error_by_family(results: Sequence[PointResult]) -> str:
    """Draw the signed error of every load point, one line per family, one panel per figure."""
    kept = _kept(results)
    families = list(grouped((result for result in kept if _has_error(result)), lambda result: result.family))
    if not families:
        return ""
    left = CHARACTER_WIDTH * max(map(len, families)) + 0.2
    rows = max(len(families), LEAST_ROWS)
    layout = Layout(len(HEADLINE), BAR_HEIGHT * 1.6 * rows, left, GAP, 1, right=0.35)
    with drawn(layout) as (figure, panels):
        for axes, metric in zip(panels, HEADLINE, strict=True):
            _lines(axes, metric, families, _by_standing(kept))
        for axes in panels[1:]:
            axes.set_yticklabels([])
        legend(figure, panels[0], len(Standing) + 1)
        return svg(figure)


def percentiles(results: Sequence[PointResult]) -> str:
    """Draw the signed error of mean and percentiles, one thin line per load point, and the median of each."""
    stems = [stem for stem in ("ttft", "tpot", "e2e") if any(scored(results, f"{stem}_{rank}") for rank in RANKS[1:])]
    if not stems:
        return ""
    with drawn(Layout(len(stems), PANEL_WIDTH * 0.8, SCATTER_LEFT, SCATTER_LEFT, 2)) as (figure, panels):
        for axes, stem in zip(panels, stems, strict=True):
            _ranks(axes, stem, results)
        legend(figure, panels[0], 2)
        return svg(figure)


def against(results: Sequence[PointResult], names: Sequence[str]) -> str:
    """Draw the absolute errors of one predictor against those of another; below the line the first is closer."""
    by_metric = {metric: pairs_of(results, names, metric) for metric in HEADLINE}
    if not any(by_metric.values()):
        return ""
    with drawn(Layout(len(HEADLINE), PANEL_WIDTH, SCATTER_LEFT + 0.15, SCATTER_LEFT, 1, right=0.35)) as (
        figure,
        panels,
    ):
        for axes, (metric, pairs) in zip(panels, by_metric.items(), strict=True):
            _errors(axes, metric, pairs, names)
        legend(figure, panels[0], 1)
        return svg(figure)


def _scatter(axes: Axes, metric: str, groups: Mapping[Standing, Sequence[PointResult]]) -> None:
    values = [value for own in groups.values() for pair in _pairs(own, metric) for value in pair] or [1.0]
    low, high = min(values) / 1.3, max(values) * 1.3
    axes.plot([low, high], [low, high], color=EDGE, linewidth=0.8, label="predicted = measured")
    for standing, own in groups.items():
        found = _pairs(own, metric)
        _mark(axes, [measured for measured, _ in found], [predicted for _, predicted in found], standing)
    log_log(axes, low, high)
    axes.set_title(f"mean {label(metric)}")
    axes.set_xlabel(f"measured mean {label(metric)} [ms]")
    axes.set_ylabel(f"predicted mean {label(metric)} [ms]")


def _lines(axes: Axes, metric: str, families: Sequence[str], groups: Mapping[Standing, Sequence[PointResult]]) -> None:
    for standing, own in groups.items():
        found = scored(own, metric)
        _mark(axes, [error for _, error in found], [families.index(result.family) for result, _ in found], standing)
    drawn_results = [result for own in groups.values() for result in own]
    signed = means(evaluated(drawn_results), ("family", "metric"), "signed_error_pct")
    for place, family in enumerate(families):
        if (family, metric) in signed:
            words = "mean of the family" if place == 0 else None
            axes.plot(
                [signed[family, metric]], [place], linestyle="none", marker="|", markersize=14, color=EDGE, label=words
            )
    axes.axvline(0.0, color=EDGE, linewidth=0.8)
    axes.set_yticks(range(len(families)), families)
    axes.set(title=f"mean {label(metric)}", ylim=(len(families) - 0.4, -0.6))
    axes.set_xlabel(f"signed error of mean {label(metric)} [%]\n(negative: predicted too fast)")
    axes.grid(axis="x", color=GRID, linewidth=0.5)


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


def _errors(axes: Axes, metric: str, pairs: Sequence[Pair], names: Sequence[str]) -> None:
    mine, theirs = ([max(pair[side].ape_pct, SMALLEST_PCT) for pair in pairs] for side in (0, 1))
    low, high = SMALLEST_PCT, max([*mine, *theirs, 10.0]) * 1.3
    axes.plot([low, high], [low, high], color=EDGE, linewidth=0.8, label="equally far; below it, the first is closer")
    axes.plot(theirs, mine, linestyle="none", marker="o", markersize=5, markerfacecolor="white", markeredgecolor=EDGE)
    log_log(axes, low, high)
    axes.set_title(f"mean {label(metric)}")
    axes.set_xlabel(f"absolute error of {names[1]} [%]")
    axes.set_ylabel(f"absolute error of {names[0]} [%]")


def _mark(axes: Axes, x: Sequence[float], y: Sequence[float], standing: Standing) -> None:
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=MARKER[standing],
        markersize=6,
        markerfacecolor=FILLS[standing],
        markeredgecolor=EDGE,
        label=standing.value,
    )


def _pairs(results: Iterable[PointResult], metric: str) -> list[tuple[float, float]]:
    """Return measured and predicted of every result that has an error."""
    found = [result.figure(metric) for result, _ in scored(results, metric)]
    return [(figure.measured, figure.predicted) for figure in found if figure and figure.measured and figure.predicted]


def _by_standing(results: Sequence[PointResult]) -> dict[Standing, list[PointResult]]:
    found = {standing: [result for result in results if result.standing is standing] for standing in Standing}
    return {standing: own for standing, own in found.items() if own}


def _kept(results: Iterable[PointResult]) -> list[PointResult]:
    """Leave out what is saturated in the simulation alone: one such error would hide all others."""
    return [result for result in results if not result.falsely_saturated]


def _has_error(result: PointResult) -> bool:
    return any(result.error_pct(metric) is not None for metric in HEADLINE)
