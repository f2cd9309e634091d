"""Figures of a findings report: deterministic SVG, labelled with units, readable in grey.

Shape tells the workload, filling tells the arm, so that no figure needs colour. Matplotlib is
imported on first use (it is a third of a regeneration) and never through pyplot, which is not safe
in the threads Snakemake runs jobs in.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflow.lib.scoring import ErrorRow, Scores
from workflow.lib.vocabulary import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P")
ARM_FILLS = ("white", "#4d4d4d", "#b3b3b3", "#1f6fa8")
ARM_HATCHES = ("///", "", "...", "xxx")
EDGE = "#222222"
GRID = "#dddddd"
# Matplotlib's settings are global to the process, and reports are rendered in threads.
_DRAWING = threading.Lock()
STYLE = {
    "svg.hashsalt": "roofline-lab",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}

# Inches. Margins are fixed instead of solved for: a layout engine draws every figure several times.
PANEL_WIDTH = 3.9
BAR_HEIGHT = 0.17
CHARACTER_WIDTH = 0.078
TITLE_HEIGHT = 0.32
AXIS_HEIGHT = 0.62
LEGEND_LINE_HEIGHT = 0.2
GAP = 0.28
SCATTER_LEFT = 0.75
# Beyond this many decades the ticks at 2 and 5 would run into each other.
MAX_DECADES_WITH_STEPS = 4


@dataclass(frozen=True, slots=True)
class _Layout:
    """Sizes of one figure in inches: equal panels in a row, a legend below."""

    panels: int
    panel_height: float
    left: float
    gap: float
    legend_lines: int

    @property
    def width(self) -> float:
        return self.left + self.panels * PANEL_WIDTH + (self.panels - 1) * self.gap + 0.15

    @property
    def bottom(self) -> float:
        return AXIS_HEIGHT + self.legend_lines * LEGEND_LINE_HEIGHT + 0.08

    @property
    def height(self) -> float:
        return TITLE_HEIGHT + self.panel_height + self.bottom


def predicted_versus_measured(metric: Metric, arms: Sequence[str], methods: Mapping[str, Scores]) -> str:
    """Draw predicted against measured means on log axes, one panel per method; returns SVG text."""
    workloads = sorted({row.workload for scores in methods.values() for row in scores.rows})
    entries = 1 + len(arms) * len(workloads)
    columns = 3
    layout = _Layout(len(methods), PANEL_WIDTH, SCATTER_LEFT, SCATTER_LEFT, -(-entries // columns))
    with _figure(layout) as (figure, panels):
        for axes, (title, scores) in zip(panels, methods.items(), strict=True):
            _scatter(axes, title, metric, arms, workloads, scores)
        _legend(figure, panels[0], columns)
        return _svg(figure)


def signed_errors(metric: Metric, arms: Sequence[str], methods: Mapping[str, Scores]) -> str:
    """Draw the signed error of every experiment and arm as bars, one panel per method; returns SVG text."""
    names = _experiments(methods, arms, metric)
    left = CHARACTER_WIDTH * max((len(name) for name in names), default=1) + 0.2
    layout = _Layout(len(methods), BAR_HEIGHT * len(names) * (len(arms) + 0.5), left, GAP, 1)
    with _figure(layout) as (figure, panels):
        for axes, (title, scores) in zip(panels, methods.items(), strict=True):
            _bars(axes, title, metric, arms, scores, names)
        _share_range(panels)
        for axes in panels[1:]:
            axes.set_yticklabels([])
        _legend(figure, panels[0], len(arms))
        return _svg(figure)


@contextmanager
def _figure(layout: _Layout) -> Iterator[tuple[Figure, list[Axes]]]:
    import matplotlib as mpl
    from matplotlib.figure import Figure as NewFigure

    with _DRAWING, mpl.rc_context(STYLE):
        figure = NewFigure(figsize=(layout.width, layout.height))
        panels = []
        for index in range(layout.panels):
            left = layout.left + index * (PANEL_WIDTH + layout.gap)
            place = (left / layout.width, layout.bottom / layout.height)
            size = (PANEL_WIDTH / layout.width, layout.panel_height / layout.height)
            panels.append(figure.add_axes((*place, *size)))
        yield figure, panels


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=columns, frameon=False, fontsize=8, borderaxespad=0.2)


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    lines = (line.rstrip() for line in stream.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def _share_range(panels: Sequence[Axes]) -> None:
    limits = [axes.get_xlim() for axes in panels]
    for axes in panels:
        axes.set_xlim(min(low for low, _ in limits), max(high for _, high in limits))


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times every power of ten between `low` and `high`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= MAX_DECADES_WITH_STEPS else (1,)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]


def _scatter(
    axes: Axes, title: str, metric: Metric, arms: Sequence[str], workloads: Sequence[str], scores: Scores
) -> None:
    rows = [row for arm in arms for row in scores.select(arm, metric)]
    values = [value for row in rows for value in (row.predicted, row.measured) if value] or [1.0]
    low, high = min(values) / 1.6, max(values) * 1.6
    axes.plot([low, high], [low, high], color=EDGE, linewidth=0.8, label="predicted = measured")
    for arm, fill in zip(arms, ARM_FILLS, strict=False):
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
    _log_axes(axes, low, high)
    axes.set_title(title)
    axes.set_xlabel(f"measured mean {metric.label} [ms]")
    axes.set_ylabel(f"predicted mean {metric.label} [ms]")


def _log_axes(axes: Axes, low: float, high: float) -> None:
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    ticks = _log_ticks(low, high)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_ticklabels([f"{tick:g}" for tick in ticks])
    axes.grid(which="major", color=GRID, linewidth=0.5)


def _bars(axes: Axes, title: str, metric: Metric, arms: Sequence[str], scores: Scores, names: Sequence[str]) -> None:
    thickness = 0.8 / len(arms)
    for index, arm in enumerate(arms):
        by_name = {row.experiment: row for row in scores.select(arm, metric)}
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
    return list(dict.fromkeys(row.experiment for row in rows))
