"""Figures of a replay: deterministic SVG, axes with units, readable in grey.

Shape and filling of a marker, or the pattern of a line, tell the sets of options apart. A set that saturates at a load
point the server kept up with is not drawn there: its latencies grow with the length of the run. Distributions are drawn
at whole percentiles, never request by request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from roofline_lab.predict.replay import LATENCIES, StageScore
from roofline_lab.report.plots import (
    EDGE,
    GAP_INCHES,
    GRID,
    LEFT_INCHES,
    Layout,
    Panel,
    Series,
    dots,
    drawn,
    legend,
    plain_log_ticks,
    svg,
)
from roofline_lab.report.replay.summary import by_set, by_stage
from simulator.metrics import percentile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Pattern, width in points and shade of each set's line.
LINES: tuple[tuple[Any, float, str], ...] = (
    ("--", 1.1, EDGE),
    ("-.", 1.1, EDGE),
    (":", 1.6, EDGE),
    ((0, (9, 3)), 2.2, "#8c8c8c"),
    ("-", 1.1, EDGE),
    ((0, (1, 4)), 1.6, EDGE),
)
MEASURED: tuple[Any, float, str] = ("-", 4.5, "#c4c4c4")
# A distribution of fewer requests is not drawn: its percentiles would be single requests.
DRAWN_REQUESTS = 200
CDF_HEIGHT = 2.6


def signed_errors(scores: Sequence[StageScore]) -> str:
    """Draw the signed error of the mean of every latency, one row per load point and one marker per set."""
    shown = [score for score in scores if score.has_latencies]
    stages = list(by_stage(shown))
    panels = [
        Panel(
            f"mean {latency.upper()}",
            f"signed error of mean {latency.upper()} [%]\n(negative: predicted too fast)",
            tuple(_errors(own, latency, stages, place) for place, own in enumerate(by_set(shown).values())),
        )
        for latency in LATENCIES
    ]
    return dots(panels, stages)


def _errors(scores: Sequence[StageScore], latency: str, stages: Sequence[str], place: int) -> Series:
    known = [score for score in scores if latency in score.samples and not score.queue_grows]
    points = tuple(
        (score.samples[latency].signed_error_pct("mean"), float(stages.index(score.stage.name))) for score in known
    )
    return Series(scores[0].options.label, points, place, place % 3)


def drawn_stages(scores: Sequence[StageScore]) -> dict[str, list[StageScore]]:
    """Return, by experiment, the scores of its largest load point that is worth a distribution."""
    found: dict[str, list[StageScore]] = {}
    for own in by_stage(score for score in scores if score.has_latencies).values():
        stage = own[0].stage
        best = found.get(stage.experiment.id)
        if len(stage.requests) >= DRAWN_REQUESTS and (
            best is None or len(stage.requests) > len(best[0].stage.requests)
        ):
            found[stage.experiment.id] = own
    return found


def distributions(scores: Sequence[StageScore]) -> str:
    """Draw the distribution of every latency of one load point, measured and with every set of options."""
    shown = [(LINES[place % len(LINES)], score) for place, score in enumerate(scores) if not score.queue_grows]
    layout = Layout(len(LATENCIES), CDF_HEIGHT, LEFT_INCHES, GAP_INCHES, -(-(len(shown) + 1) // 3), right=0.3)
    with drawn(layout) as (figure, panels):
        for axes, latency in zip(panels, LATENCIES, strict=True):
            curves = [(MEASURED, "measured", scores[0].samples[latency].measured)]
            curves += [(line, score.options.label, score.samples[latency].predicted) for line, score in shown]
            for line, label, values in curves:
                _curve(axes, values, line, label)
            _curve_axes(axes, latency, [values for _, _, values in curves])
        panels[0].set_ylabel("requests below [%]")
        for axes in panels[1:]:
            axes.set_yticklabels([])
        legend(figure, panels[0], 3)
        return svg(figure)


def _curve(axes: Axes, values: Sequence[float], line: tuple[Any, float, str], label: str) -> None:
    ranks = range(1, 100)
    ordered = sorted(values)
    quantiles = [percentile(ordered, rank) or 0.0 for rank in ranks]
    axes.plot(quantiles, ranks, linestyle=line[0], linewidth=line[1], color=line[2], label=label)


def _curve_axes(axes: Axes, latency: str, samples: Sequence[Sequence[float]]) -> None:
    low = min(percentile(values, 1) or 1.0 for values in samples) / 1.15
    high = max(percentile(values, 99) or 1.0 for values in samples) * 1.15
    axes.set(xscale="log", xlim=(low, high), ylim=(0, 100), title=latency.upper())
    plain_log_ticks(axes.xaxis, low, high)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_xlabel(f"{latency.upper()} [ms]")
    axes.grid(color=GRID, linewidth=0.5)
