"""Figures of a findings report: deterministic SVG, labelled with units, readable in grey.

Shape tells the workload, filling tells the arm, so that no figure needs colour. Matplotlib is
imported on first use (it is a third of a regeneration) and never through pyplot, which is not safe
in the threads Snakemake runs jobs in.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
# Matplotlib's settings are global to the process, and reports are rendered in threads.
_DRAWING = threading.Lock()
PANEL_INCHES = 4.6
BAR_INCHES = 0.34
STYLE = {
    "svg.hashsalt": "roofline-lab",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}


def predicted_versus_measured(metric: Metric, arms: Sequence[str], methods: Mapping[str, Scores]) -> str:
    """Draw predicted against measured means on log axes, one panel per method; returns SVG text."""
    with _figure(len(methods), PANEL_INCHES, 4.4) as (figure, panels):
        for axes, (title, scores) in zip(panels, methods.items(), strict=True):
            _scatter(axes, title, metric, arms, scores)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        return _svg(figure)


def signed_errors(metric: Metric, arms: Sequence[str], methods: Mapping[str, Scores]) -> str:
    """Draw the signed error of every experiment and arm as bars, one panel per method; returns SVG text."""
    names = _experiments(methods, arms, metric)
    height = 1.5 + BAR_INCHES * len(names) * max(1.0, len(arms) / 2)
    with _figure(len(methods), PANEL_INCHES, height) as (figure, panels):
        for axes, (title, scores) in zip(panels, methods.items(), strict=True):
            _bars(axes, title, metric, arms, scores, names)
        for axes in panels[1:]:
            axes.set_yticklabels([])
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(arms), frameon=False, fontsize=8)
        return _svg(figure)


@contextmanager
def _figure(panels: int, width: float, height: float) -> Iterator[tuple[Figure, list[Axes]]]:
    import matplotlib as mpl
    from matplotlib.figure import Figure as NewFigure

    with _DRAWING, mpl.rc_context(STYLE):
        figure = NewFigure(figsize=(width * panels, height), layout="constrained")
        yield figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    lines = (line.rstrip() for line in stream.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def _scatter(axes: Axes, title: str, metric: Metric, arms: Sequence[str], scores: Scores) -> None:
    rows = [row for arm in arms for row in scores.select(arm, metric)]
    values = [value for row in rows for value in (row.predicted, row.measured) if value]
    low, high = min(values) / 1.6, max(values) * 1.6
    axes.plot([low, high], [low, high], color=EDGE, linewidth=0.8, label="predicted = measured")
    workloads = sorted({row.workload for row in rows})
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
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), title=title, aspect="equal")
    axes.set_xlabel(f"measured mean {metric.label} [ms]")
    axes.set_ylabel(f"predicted mean {metric.label} [ms]")
    axes.grid(which="major", color="#dddddd", linewidth=0.5)


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
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)


def _experiments(methods: Mapping[str, Scores], arms: Sequence[str], metric: Metric) -> list[str]:
    rows: list[ErrorRow] = [row for scores in methods.values() for arm in arms for row in scores.select(arm, metric)]
    return list(dict.fromkeys(row.experiment for row in rows))
