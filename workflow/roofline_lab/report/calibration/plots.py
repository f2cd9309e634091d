"""Figures of a calibration report: deterministic SVG, axes with units, readable in grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from roofline_lab.calibration.rows import MEANS, Row
from roofline_lab.report.drawing import (
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {"ttft_mean": "mean TTFT", "itl_mean": "mean ITL", "e2e_mean": "mean E2E"}
FILLS = ("white", "#4d4d4d", "#b3b3b3")
STYLES = (("-", "o"), ("--", "s"), (":", "^"))


def held_out(rows: Sequence[Row]) -> str:
    """Draw predicted against measured means of families the constants have not seen."""
    groups = {
        "one request at a time": [row for row in rows if row.strategy == "synchronous"],
        "dense, under load": [row for row in rows if row.strategy != "synchronous" and not row.mixture],
        "mixture of experts, under load": [row for row in rows if row.strategy != "synchronous" and row.mixture],
    }
    with drawn(Layout(len(MEANS), PANEL_WIDTH, SCATTER_LEFT, SCATTER_LEFT, 1, right=0.35)) as (figure, panels):
        for axes, metric in zip(panels, MEANS, strict=True):
            _scatter(axes, metric, groups)
        legend(figure, panels[0], 4)
        return svg(figure)


def learning(sizes: Sequence[int], errors: Sequence[Sequence[float]]) -> str:
    """Draw the error of unseen families against the number of families in the fit.

    Parameters
    ----------
    errors
        Mean absolute errors in percent of TTFT, ITL and E2E, one row per size.
    """
    with drawn(Layout(1, PANEL_WIDTH, SCATTER_LEFT, GAP, 1)) as (figure, (axes,)):
        for place, metric in enumerate(MEANS):
            line, marker = STYLES[place]
            values = [row[place] for row in errors]
            axes.plot(
                sizes, values, line, marker=marker, color=EDGE, markerfacecolor=FILLS[place], label=_label(metric)
            )
        axes.set(title="Error of families not in the fit", ylim=(0, None))
        axes.set_xlabel("model families in the fit")
        axes.set_ylabel("mean absolute error [%]")
        axes.set_xticks(list(sizes))
        axes.grid(axis="y", color=GRID, linewidth=0.5)
        legend(figure, axes, 3)
        return svg(figure)


def sweep(rows: Sequence[Row]) -> str:
    """Draw measured and predicted means of one experiment against its sending rate."""
    ordered = sorted((row for row in rows if row.rate_per_s is not None), key=lambda row: (row.rate_per_s, row.name))
    with drawn(Layout(len(MEANS), PANEL_WIDTH, SCATTER_LEFT, SCATTER_LEFT, 1)) as (figure, panels):
        for axes, metric in zip(panels, MEANS, strict=True):
            rates = [row.rate_per_s for row in ordered]
            for place, label in enumerate(("predicted", "measured")):
                line, marker = STYLES[place]
                values = [row.figures[metric][place] for row in ordered]
                axes.plot(rates, values, line, marker=marker, color=EDGE, markerfacecolor=FILLS[place], label=label)
            axes.set(title=LABELS[metric], ylim=(0, None))
            axes.set_xlabel("sending rate [requests/s]")
            axes.set_ylabel(f"{LABELS[metric]} [ms]")
            axes.grid(color=GRID, linewidth=0.5)
        legend(figure, panels[0], 2)
        return svg(figure)


def _label(metric: str) -> str:
    return LABELS[metric].removeprefix("mean ")


def _scatter(axes: Axes, metric: str, groups: Mapping[str, Sequence[Row]]) -> None:
    values = [value for rows in groups.values() for row in rows for value in row.figures[metric]] or [1.0]
    low, high = min(values) / 1.3, max(values) * 1.3
    axes.plot([low, high], [low, high], color=EDGE, linewidth=0.8, label="predicted = measured")
    for place, (label, rows) in enumerate(groups.items()):
        axes.plot(
            [row.figures[metric][1] for row in rows],
            [row.figures[metric][0] for row in rows],
            linestyle="none",
            marker=MARKERS[place],
            markersize=6,
            markerfacecolor=FILLS[place],
            markeredgecolor=EDGE,
            label=label,
        )
    log_log(axes, low, high)
    axes.set_title(LABELS[metric])
    axes.set_xlabel(f"measured {LABELS[metric]} [ms]")
    axes.set_ylabel(f"predicted {LABELS[metric]} [ms]")
