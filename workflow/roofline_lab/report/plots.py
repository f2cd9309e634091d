"""Figures of a findings report: deterministic SVG, labelled with units, readable in grey.

Shape tells the workload, filling tells the arm, so that no figure needs colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from roofline_lab.report.drawing import (
    ARM_FILLS,
    ARM_HATCHES,
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
    legend_columns,
    log_log,
    svg,
)
from roofline_lab.scoring.scores import ErrorRow, Scores
from roofline_lab.vocabulary import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_COLUMNS = 3


def predicted_versus_measured(metric: Metric, arms: Sequence[str], methods: Mapping[str, Scores]) -> str:
    """Draw predicted against measured means on log axes, one panel per method; returns SVG text."""
    workloads = sorted({row.workload for scores in methods.values() for row in scores.rows})
    labels = [f"{arm}, {workload}" for arm in arms for workload in workloads]
    width = Layout(len(methods), PANEL_WIDTH, SCATTER_LEFT, SCATTER_LEFT, 0).width
    columns = legend_columns(width, labels, MOST_COLUMNS)
    layout = Layout(len(methods), PANEL_WIDTH, SCATTER_LEFT, SCATTER_LEFT, -(-(1 + len(labels)) // columns))
    with drawn(layout) as (figure, panels):
        for axes, (title, scores) in zip(panels, methods.items(), strict=True):
            _scatter(axes, title, metric, arms, workloads, scores)
        legend(figure, panels[0], columns)
        return svg(figure)


def signed_errors(metric: Metric, arms: Sequence[str], methods: Mapping[str, Scores]) -> str:
    """Draw the signed error of every experiment and arm as bars, one panel per method; returns SVG text."""
    names = _experiments(methods, arms, metric)
    left = CHARACTER_WIDTH * max((len(name) for name in names), default=1) + 0.2
    height = BAR_HEIGHT * len(names) * (len(arms) + 0.5)
    columns = legend_columns(Layout(len(methods), height, left, GAP, 0).width, arms, len(arms))
    layout = Layout(len(methods), height, left, GAP, -(-len(arms) // columns))
    with drawn(layout) as (figure, panels):
        for axes, (title, scores) in zip(panels, methods.items(), strict=True):
            _bars(axes, title, metric, arms, scores, names)
        _share_range(panels)
        for axes in panels[1:]:
            axes.set_yticklabels([])
        legend(figure, panels[0], columns)
        return svg(figure)


def _share_range(panels: Sequence[Axes]) -> None:
    limits = [axes.get_xlim() for axes in panels]
    for axes in panels:
        axes.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))


def _scatter(
    axes: Axes, title: str, metric: Metric, arms: Sequence[str], workloads: Sequence[str], scores: Scores
) -> None:
    rows = [row for arm in arms for row in scores.select(arm, metric)]
    values = [value for row in rows for value in (row.predicted, row.measured) if value] or [1.0]
    low, high = min(values) / 1.6, max(values) * 1.6
    axes.plot([low, high], [low, high], color=EDGE, linewidth=0.8, label="predicted = measured")
    for arm, fill in zip(arms, cycle(ARM_FILLS), strict=False):
        for workload, marker in zip(workloads, MARKERS, strict=False):
            chosen = [row for row in rows if row.arm == arm and row.workload == workload]
            axes.plot(
                [row.measured for row in chosen],
                [row.predicted for row in chosen],
                linestyle="none",
                marker=marker,
                markersize=6,
                markerfacecolor=fill,
                markeredgecolor=EDGE,
                label=f"{arm}, {workload}",
            )
    log_log(axes, low, high)
    axes.set_title(title)
    axes.set_xlabel(f"measured mean {metric.label} [ms]")
    axes.set_ylabel(f"predicted mean {metric.label} [ms]")


def _bars(axes: Axes, title: str, metric: Metric, arms: Sequence[str], scores: Scores, names: Sequence[str]) -> None:
    thickness = 0.8 / len(arms)
    for index, arm in enumerate(arms):
        by_name = {_name(row): row for row in scores.select(arm, metric)}
        chosen = [(place, by_name[name]) for place, name in enumerate(names) if name in by_name]
        axes.barh(
            [place - 0.4 + thickness * (index + 0.5) for place, _ in chosen],
            [row.signed_error_pct for _, row in chosen],
            height=thickness,
            facecolor=ARM_FILLS[index % len(ARM_FILLS)],
            edgecolor=EDGE,
            linewidth=0.6,
            hatch=ARM_HATCHES[index % len(ARM_HATCHES)],
            label=arm,
        )
    axes.axvline(0.0, color=EDGE, linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set(title=title, ylim=(len(names) - 0.4, -0.6))
    axes.set_xlabel(f"signed error of mean {metric.label} [%]\n(negative: predicted too fast)")
    axes.grid(axis="x", color=GRID, linewidth=0.5)


def _experiments(methods: Mapping[str, Scores], arms: Sequence[str], metric: Metric) -> list[str]:
    rows: list[ErrorRow] = [row for scores in methods.values() for arm in arms for row in scores.select(arm, metric)]
    return list(dict.fromkeys(map(_name, rows)))


def _name(row: ErrorRow) -> str:
    """Name a bar: replayed load points one by one, as an experiment has several."""
    return f"{row.experiment}, {row.load_point}" if row.strategy else row.experiment
