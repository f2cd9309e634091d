"""Figures of the page on terms: deterministic SVG, axes with units, readable in grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from roofline_lab.calibration.constants import Vector
from roofline_lab.report.calibration.tables import METRIC_LABELS
from roofline_lab.report.plots import CHARACTER_INCHES, EDGE, GAP_INCHES, GRID, Layout, drawn, legend, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAR_PITCH = 0.27
FALL, RISE = "#b3b3b3", "#4d4d4d"


def draw_chain(labels: Sequence[str], errors: Vector) -> str:
    """Draw a waterfall of the error while terms are added, one panel per metric.

    Parameters
    ----------
    labels
        What was added, first the start.
    errors
        Percent, shape (labels, metrics).
    """
    with drawn(_layout(labels)) as (figure, panels):
        for metric, axes in enumerate(panels):
            _waterfall(axes, errors[:, metric])
            _finish(axes, labels if not metric else (), len(labels), METRIC_LABELS[metric])
            axes.set_xlabel("held-out mean absolute error [%]")
            axes.set_xlim(0, 1.15 * float(errors[:, metric].max()))
        legend(figure, panels[0], 3)
        return svg(figure)


def draw_shares(labels: Sequence[str], shared: Vector, dropped: Vector) -> str:
    """Draw Shapley shares beside the growth of the error without each term, one panel per metric."""
    with drawn(_layout(labels)) as (figure, panels):
        for metric, axes in enumerate(panels):
            places = range(len(labels))
            style = {"height": 0.38, "edgecolor": EDGE, "linewidth": 0.6}
            axes.barh([place - 0.2 for place in places], shared[:, metric], color=RISE, label="Shapley share", **style)
            axes.barh(
                [place + 0.2 for place in places],
                dropped[:, metric],
                color="white",
                hatch="///",
                label="error without this term, less the full model's",
                **style,
            )
            axes.axvline(0.0, color=EDGE, linewidth=0.8)
            _finish(axes, labels if not metric else (), len(labels), METRIC_LABELS[metric])
            axes.set_xlabel("held-out error [percentage points]")
        legend(figure, panels[0], 2)
        return svg(figure)


def _layout(labels: Sequence[str]) -> Layout:
    left = max(map(len, labels)) * CHARACTER_INCHES + 0.2
    return Layout(len(METRIC_LABELS), len(labels) * BAR_PITCH, left, GAP_INCHES, 1, right=0.3)


def _waterfall(axes: Axes, errors: Vector) -> None:
    """Draw the start as a whole bar, and every later error as the piece it took away or added."""
    style = {"height": 0.62, "edgecolor": EDGE, "linewidth": 0.6}
    axes.barh([0], [errors[0]], color="white", label="data sheet only", **style)
    for fall, colour, label in ((True, FALL, "lowers the error"), (False, RISE, "raises the error")):
        # A bar of no size for the legend, which takes its colour from a bar: this panel may have none of a kind.
        axes.bar(0, 0, color=colour, label=label, edgecolor=EDGE, linewidth=style["linewidth"])
        chosen = [place for place in range(1, len(errors)) if (errors[place] <= errors[place - 1]) == fall]
        axes.barh(
            chosen,
            [abs(errors[place] - errors[place - 1]) for place in chosen],
            left=[min(errors[place], errors[place - 1]) for place in chosen],
            color=colour,
            **style,
        )
    for place, error in enumerate(errors):
        right = max(error, errors[place - 1]) if place else error
        axes.annotate(f"{error:.1f}", (right, place), (3, 0), textcoords="offset points", va="center", fontsize=7.5)


def _finish(axes: Axes, labels: Sequence[str], count: int, title: str) -> None:
    axes.set_title(title)
    axes.set_yticks(range(count), labels or [""] * count)
    axes.set_ylim(count - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.5)
