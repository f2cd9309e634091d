"""Figures of a calibration report: deterministic SVG, axes with units, readable in grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from roofline_lab.calibration.judge import MEANS
from roofline_lab.report.plots import (
    EDGE,
    GAP_INCHES,
    GRID,
    LEFT_INCHES,
    PANEL_WIDTH,
    Layout,
    Panel,
    Series,
    drawn,
    legend,
    scatter,
    svg,
)

if TYPE_CHECKING:
    import pandas as pd

LABELS = {"ttft_mean": "mean TTFT", "itl_mean": "mean ITL", "e2e_mean": "mean E2E"}
FILLS = ("white", "#4d4d4d", "#b3b3b3")
STYLES = (("-", "o"), ("--", "s"), (":", "^"))


def held_out(rows: pd.DataFrame) -> str:
    """Draw predicted against measured means of families the constants have not seen."""
    synchronous, mixture = rows["strategy"] == "synchronous", rows["mixture"].astype(bool)
    groups = {
        "one request at a time": rows[synchronous],
        "dense, under load": rows[~synchronous & ~mixture],
        "mixture of experts, under load": rows[~synchronous & mixture],
    }
    panels = [
        Panel(
            LABELS[metric],
            f"measured {LABELS[metric]} [ms]",
            tuple(
                Series(label, _measured_and_predicted(own, metric), place, place)
                for place, (label, own) in enumerate(groups.items())
            ),
            f"predicted {LABELS[metric]} [ms]",
        )
        for metric in MEANS
    ]
    return scatter(panels, "predicted = measured")


def learning(sizes: Sequence[int], errors: Sequence[Sequence[float]]) -> str:
    """Draw the error of unseen families against the number of families in the fit.

    Parameters
    ----------
    errors
        Mean absolute errors in percent of TTFT, ITL and E2E, one row per size.
    """
    with drawn(Layout(1, PANEL_WIDTH, LEFT_INCHES, GAP_INCHES, 1)) as (figure, (axes,)):
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


def sweep(rows: pd.DataFrame) -> str:
    """Draw measured and predicted means of one experiment against its sending rate."""
    ordered = rows[rows["rate_per_s"].notna()].sort_values(["rate_per_s", "load_point"])
    with drawn(Layout(len(MEANS), PANEL_WIDTH, LEFT_INCHES, LEFT_INCHES, 1)) as (figure, panels):
        for axes, metric in zip(panels, MEANS, strict=True):
            own = ordered[ordered["metric"] == metric]
            for place, label in enumerate(("predicted", "measured")):
                line, marker = STYLES[place]
                style = {"marker": marker, "color": EDGE, "markerfacecolor": FILLS[place], "label": label}
                axes.plot(own["rate_per_s"].tolist(), own[label].tolist(), line, **style)
            axes.set(title=LABELS[metric], ylim=(0, None))
            axes.set_xlabel("sending rate [requests/s]")
            axes.set_ylabel(f"{LABELS[metric]} [ms]")
            axes.grid(color=GRID, linewidth=0.5)
        legend(figure, panels[0], 2)
        return svg(figure)


def _label(metric: str) -> str:
    return LABELS[metric].removeprefix("mean ")


def _measured_and_predicted(rows: pd.DataFrame, metric: str) -> tuple[tuple[float, float], ...]:
    own = rows[rows["metric"] == metric]
    return tuple(zip(own["measured"].tolist(), own["predicted"].tolist(), strict=True))
