"""The paper every figure is drawn on: sizes, greys, and SVG that is the same for the same numbers.

Fillings, hatches and markers tell things apart, so that no figure needs colour. Matplotlib is
imported on first use (it is a third of a regeneration) and never through pyplot, which is not safe
in the threads Snakemake runs jobs in.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P")
ARM_FILLS = ("white", "#4d4d4d", "#b3b3b3", "#1f6fa8", "#f2c572", "#e6e6e6")
ARM_HATCHES = ("///", "", "...", "xxx", "\\\\\\", "+++")
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
# Marker and blanks beside a legend's text, and its smaller characters.
LEGEND_HANDLE = 0.45
LEGEND_CHARACTER_WIDTH = 0.0605
# Beyond this many decades the ticks at 2 and 5 would run into each other.
MAX_DECADES_WITH_STEPS = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes of one figure in inches: equal panels in a row, a legend below."""

    panels: int
    panel_height: float
    left: float
    gap: float
    legend_lines: int
    right: float = 0.15

    @property
    def width(self) -> float:
        """Inches."""
        return self.left + self.panels * PANEL_WIDTH + (self.panels - 1) * self.gap + self.right

    @property
    def bottom(self) -> float:
        """Inches below the panels: axis labels and legend."""
        return AXIS_HEIGHT + self.legend_lines * LEGEND_LINE_HEIGHT + 0.08

    @property
    def height(self) -> float:
        """Inches."""
        return TITLE_HEIGHT + self.panel_height + self.bottom


@contextmanager
def drawn(layout: Layout) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure and its panels; only one thread draws at a time."""
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


def legend_columns(layout_width: float, labels: Sequence[str], at_most: int) -> int:
    """Return how many columns of a legend fit into a width in inches, at least one."""
    longest = max((len(label) for label in labels), default=1)
    return max(1, min(at_most, int(layout_width / (LEGEND_HANDLE + LEGEND_CHARACTER_WIDTH * longest))))


def legend(figure: Figure, axes: Axes, columns: int) -> None:
    """Put the entries of one panel below all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=columns, frameon=False, fontsize=8, borderaxespad=0.2)


def svg(figure: Figure) -> str:
    """Return the figure as text, without anything that differs between machines or runs."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    lines = (line.rstrip() for line in stream.getvalue().splitlines())
    return "\n".join(lines) + "\n"


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times every power of ten between `low` and `high`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= MAX_DECADES_WITH_STEPS else (1,)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]


def log_log(axes: Axes, low: float, high: float) -> None:
    """Give both axes of a panel the same logarithmic range, ticks as plain numbers and a grid."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    ticks = log_ticks(low, high)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_ticklabels([f"{tick:g}" for tick in ticks])
    axes.grid(which="major", color=GRID, linewidth=0.5)
