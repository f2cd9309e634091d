"""The residual analysis on a page: where errors sit, and which single term would remove most of them.

The figure shows small multiples of signed residuals against their drivers, grey alone, every axis with its unit. It is
written line by line because two dozen panels of a plotting library would take longer than the rest of a page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from roofline_lab.formatting import MISSING, pct, signed_pct, signless_zero, table
from roofline_lab.hypotheses.spec import Hypothesis
from roofline_lab.project import Project
from roofline_lab.report.plots import (
    DOT,
    EDGE,
    GRID,
    SIGN,
    SMALL,
    document,
    line,
    linear_ticks,
    text,
    turned,
)
from roofline_lab.residuals.analysis import SHOWN_TERMS, Analysis, analysed
from roofline_lab.residuals.drivers import DRIVERS, Driver, correlation, groups, pairs, varies
from roofline_lab.residuals.ranking import DEFAULT, Resampling, Suggestion, error_with, mean_error_pct, ranked_terms
from roofline_lab.residuals.record import LABELS, METRICS, Residual, scored, unscored
from roofline_lab.residuals.terms import TERMS
from roofline_lab.residuals.words import constant_text, interval_text, listed, sentence, suggestion_text

FIGURE = "figures/residuals.svg"
NOTHING_SCORED = "No load point has a residual."
# Errors closer to each other than this share are the same number, computed in another order.
ROUNDING = 1e-9


def residual_section(
    residuals: Iterable[Residual],
    metrics: Sequence[str] = METRICS,
    resampling: Resampling = DEFAULT,
    figure: str = FIGURE,
    ranked: Mapping[str, Sequence[Suggestion]] | None = None,
) -> str:
    """Return the section as markdown.

    Parameters
    ----------
    residuals
        Of one arm, one per load point.
    metrics
        Which of `ttft`, `itl` and `e2e`.
    figure
        Where the page finds `residual_figure`.
    ranked
        `ranked_terms` of each metric, where the caller has them already.
    """
    chosen = tuple(residuals)
    present = [metric for metric in metrics if scored(chosen, metric)]
    parts = []
    if present:
        parts.append(_drivers(chosen, present))
        parts.append(f"![Signed residuals against what they may go with]({figure})")
        found = ranked or {metric: ranked_terms(chosen, metric, TERMS, resampling) for metric in present}
        parts += [_ranking(chosen, metric, found[metric], present) for metric in present]
    else:
        parts.append(NOTHING_SCORED)
    if missing := _missing(chosen, metrics):
        parts.append(missing)
    return "\n\n".join(parts)


def _drivers(residuals: Sequence[Residual], metrics: Sequence[str]) -> str:
    rows = [row for driver in DRIVERS for row in _driver_rows(residuals, driver, metrics)]
    header = ["Driver", "", *(LABELS[metric] for metric in metrics), "load points"]
    return (
        "Signed residuals by driver: Spearman's rank correlation, and means by value "
        f"(negative: predicted too fast).\n\n{table(header, rows, left=2)}"
    )


def _driver_rows(residuals: Sequence[Residual], driver: Driver, metrics: Sequence[str]) -> list[list[str]]:
    found = {metric: correlation(residuals, driver, metric) for metric in metrics}
    points = str(max(rank.points for rank in found.values()))
    dashes = [MISSING] * len(metrics)
    if points == "0":
        return [[driver.title, "not known", *dashes, points]]
    if not varies(residuals, driver):
        return [[driver.title, "does not vary", *dashes, points]]
    cells = [MISSING if rank.value is None else f"{signless_zero(rank.value, 2):+.2f}" for rank in found.values()]
    return [
        [driver.title, "rank correlation", *cells, points],
        *(
            ["", group.label, *(signed_pct(group.mean_pct[metric]) for metric in metrics), str(group.points)]
            for group in groups(residuals, driver, metrics)
        ),
    ]


def _ranking(residuals: Sequence[Residual], metric: str, ranked: Sequence[Suggestion], metrics: Sequence[str]) -> str:
    """Return the sentence, and the terms that do something; where none does, the first one alone."""
    fitted = [suggestion for suggestion in ranked if suggestion.constant is not None]
    shown = ([suggestion for suggestion in fitted if suggestion.constant] or fitted[:1])[:SHOWN_TERMS]
    others = [other for other in metrics if other != metric]
    harmful = {suggestion.term.name for suggestion in fitted if _made_worse(residuals, suggestion, others)}
    told = f"**{LABELS[metric]}.** {sentence(ranked, metric, harmful)}{_warning(residuals, fitted, others)}"
    if not shown:
        return told
    lines = [_line(place, suggestion, residuals, others) for place, suggestion in enumerate(shown, start=1)]
    header = ["", "Term", "Cannot be told from", "Constant", "Interval", "MAPE", "fitted", "held out"]
    return f"{told}\n\n{table([*header, *(f'then {LABELS[other]}' for other in others)], lines, left=3)}"


def _line(place: int, suggestion: Suggestion, residuals: Sequence[Residual], others: Sequence[str]) -> list[str]:
    errors = [pct(suggestion.mape_before), pct(suggestion.mape_after), pct(suggestion.held_out)]
    term = f"{suggestion.term.label} ({suggestion.term.formula})"
    elsewhere = [pct(error_with(residuals, other, suggestion)) for other in others]
    return [
        str(place),
        term,
        listed(suggestion.tied),
        constant_text(suggestion),
        interval_text(suggestion),
        *errors,
        *elsewhere,
    ]


def _warning(residuals: Sequence[Residual], fitted: Sequence[Suggestion], others: Sequence[str]) -> str:
    """Say so where the first term would make another mean worse, and which is the first that would not."""
    if not fitted or not fitted[0].beyond_noise or not (worse := _made_worse(residuals, fitted[0], others)):
        return ""
    consistent = next(
        (
            suggestion
            for suggestion in fitted
            if suggestion.beyond_noise and not _made_worse(residuals, suggestion, others)
        ),
        None,
    )
    text = f" But the same constant makes {' and '.join(worse)} worse, so the cause must be another."
    if consistent is None:
        return f"{text} No term beyond noise leaves the others as good as they are."
    return f"{text} The first term that does not: {suggestion_text(consistent)}."


def _made_worse(residuals: Sequence[Residual], suggestion: Suggestion, others: Sequence[str]) -> list[str]:
    """Return the other metrics, in words, whose error the constant would raise."""
    found = []
    for other in others:
        now, then = mean_error_pct(residuals, other), error_with(residuals, other, suggestion)
        if now is not None and then is not None and then > now * (1 + ROUNDING):
            found.append(f"{LABELS[other]} ({pct(now)} to {pct(then)})")
    return found


def _missing(residuals: Sequence[Residual], metrics: Sequence[str]) -> str:
    """Return why load points have no residual, metrics with the same reason together."""
    found: dict[tuple[str, int], list[str]] = {}
    for metric in metrics:
        for reason, count in unscored(residuals, metric).items():
            found.setdefault((reason, count), []).append(LABELS[metric])
    if not found:
        return ""
    rows = [[reason, ", ".join(labels), str(count)] for (reason, count), labels in found.items()]
    return "Load points without a residual:\n\n" + table(["Reason", "Of", "load points"], rows, left=2)


def analysis_section(analysis: Analysis) -> str:
    """Return what the residuals of one arm say, as markdown without a heading."""
    names, figure = tuple(analysis.ranked), figure_name(analysis.extra)
    return residual_section(analysis.residuals, names, figure=figure, ranked=analysis.ranked)


def figure_name(extra: bool) -> str:
    """Return where a page finds the figure of an analysis, by whether it is of the extra experiments."""
    return f"figures/residuals{'_beyond' if extra else ''}.svg"


def analysis_figures(project: Project, spec: Hypothesis) -> list[str]:
    """Return the names of the figures of all analyses of one hypothesis."""
    return [figure_name(extra) for _, extra in analysed(project, spec)]


# Points: panel, gaps between panels, margins.
PANEL_WIDTH, PANEL_HEIGHT = 124.0, 92.0
GAP_X, GAP_Y = 22.0, 14.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 10.0, 26.0, 40.0
# Room between the outermost points and the frame, as a share of the range.
PADDING = 0.08
# Ranges wider than this factor are drawn on a log axis.
LOG_ABOVE = 10.0
MAX_TICKS = 5
# Of a digit at the figure's font size of 8 points.
CHARACTER_WIDTH = 5.1
EMPTY_WIDTH = 320.0
TITLE_SIZE, TITLE_CHARACTER_WIDTH = 10, 6.0
EDGE_LEFT = 4.0


@dataclass(frozen=True, slots=True)
class Axis:
    """A range in data, whether it is drawn by logarithms, and its values where they are few."""

    low: float
    high: float
    log: bool = False
    values: tuple[float, ...] = ()

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high end."""
        low, high, at = (math.log(end) if self.log else end for end in (self.low, self.high, value))
        return (at - low) / (high - low)

    @property
    def ticks(self) -> list[float]:
        """The values themselves where they are few, else round ones inside the range, few enough to be read."""
        if 0 < len(self.values) <= MAX_TICKS:
            return list(self.values)
        found = _log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high, MAX_TICKS)
        return found if len(found) <= MAX_TICKS else found[:: -(-len(found) // MAX_TICKS)]


def axis_of(values: Sequence[float], *, may_be_log: bool) -> Axis:
    """Return an axis that shows all values with some room around them."""
    low, high = min(values), max(values)
    few = tuple(sorted(set(values)))[: MAX_TICKS + 1] if may_be_log and all(map(float.is_integer, values)) else ()
    if may_be_log and low > 0 and high / low > LOG_ABOVE:
        room = (high / low) ** PADDING
        return Axis(low / room, high * room, log=True, values=few)
    room = (high - low or abs(high) or 1.0) * PADDING
    return Axis(low - room, high + room, values=few)


def residual_figure(
    residuals: Iterable[Residual], metrics: Sequence[str] = METRICS, of: str = "the predictions"
) -> str:
    """Draw one row of panels per metric and one column per driver that varies; returns SVG text.

    Parameters
    ----------
    of
        Whose residuals these are, for the title.
    """
    chosen = tuple(residuals)
    rows = [metric for metric in metrics if scored(chosen, metric)]
    columns = [driver for driver in DRIVERS if varies(chosen, driver) and _has_points(chosen, driver, rows)]
    if not rows or not columns:
        return document(
            EMPTY_WIDTH, TOP + BOTTOM, [text(LEFT, TOP + 12, "no residual that could vary", "start", SMALL)]
        )
    title = f"Signed errors of {of} ({SIGN})"
    lines = [text(EDGE_LEFT, 14, title, "start", TITLE_SIZE)]
    for row, metric in enumerate(rows):
        vertical = axis_of([0.0, *_residuals(chosen, metric, columns)], may_be_log=False)
        top = TOP + row * (PANEL_HEIGHT + GAP_Y)
        lines += _row_label(top, metric)
        for column, driver in enumerate(columns):
            left = LEFT + column * (PANEL_WIDTH + GAP_X)
            horizontal = axis_of(_values(chosen, driver, rows), may_be_log=True)
            last = row == len(rows) - 1
            lines += _panel(left, top, horizontal, vertical, pairs(chosen, driver, metric))
            lines += _x_labels(left, top, horizontal, driver.title if last else "")
            lines += _y_labels(top, vertical) if column == 0 else []
    panels_width = LEFT + len(columns) * (PANEL_WIDTH + GAP_X) - GAP_X + RIGHT
    width = max(panels_width, EDGE_LEFT + TITLE_CHARACTER_WIDTH * len(title))
    height = TOP + len(rows) * (PANEL_HEIGHT + GAP_Y) - GAP_Y + BOTTOM
    return document(width, height, lines)


def _has_points(residuals: Sequence[Residual], driver: Driver, metrics: Sequence[str]) -> bool:
    return any(pairs(residuals, driver, metric) for metric in metrics)


def _values(residuals: Sequence[Residual], driver: Driver, metrics: Sequence[str]) -> list[float]:
    return [value for metric in metrics for value, _ in pairs(residuals, driver, metric)]


def _residuals(residuals: Sequence[Residual], metric: str, drivers: Sequence[Driver]) -> list[float]:
    return [residual for driver in drivers for _, residual in pairs(residuals, driver, metric)]


def _panel(left: float, top: float, x: Axis, y: Axis, points: Sequence[tuple[float, float]]) -> list[str]:
    found = [line(left, _y(top, y, tick), left + PANEL_WIDTH, _y(top, y, tick), GRID) for tick in y.ticks]
    found.append(line(left, _y(top, y, 0.0), left + PANEL_WIDTH, _y(top, y, 0.0), EDGE))
    found.append(
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{PANEL_WIDTH:.1f}" height="{PANEL_HEIGHT:.1f}" '
        f'fill="none" stroke="{EDGE}" stroke-width="0.6"/>'
    )
    found += [
        f'<circle cx="{left + x.place(value) * PANEL_WIDTH:.1f}" cy="{_y(top, y, residual):.1f}" r="2.6" '
        f'fill="{DOT}" fill-opacity="0.45" stroke="{EDGE}" stroke-width="0.6"/>'
        for value, residual in sorted(points)
    ]
    return found


def _y(top: float, axis: Axis, value: float) -> float:
    return top + (1.0 - axis.place(value)) * PANEL_HEIGHT


def _x_labels(left: float, top: float, axis: Axis, title: str) -> list[str]:
    bottom = top + PANEL_HEIGHT
    found: list[str] = []
    free_from = -math.inf
    for tick in axis.ticks:
        place, label = left + axis.place(tick) * PANEL_WIDTH, f"{tick:g}"
        found.append(line(place, bottom, place, bottom + 3, EDGE))
        half_width = len(label) * CHARACTER_WIDTH / 2
        # A label that would run into the one before is left out; its tick stays.
        if title and place - half_width >= free_from:
            found.append(text(place, bottom + 13, label, "middle", SMALL))
            free_from = place + half_width + CHARACTER_WIDTH / 2
    if title:
        found.append(text(left + PANEL_WIDTH / 2, bottom + 28, title, "middle", SMALL))
    return found


def _y_labels(top: float, axis: Axis) -> list[str]:
    return [text(LEFT - 5, _y(top, axis, tick) + 3, f"{tick:g}", "end", SMALL) for tick in axis.ticks]


def _row_label(top: float, metric: str) -> list[str]:
    """Name a row's error with its unit, in two lines beside the panel."""
    middle = top + PANEL_HEIGHT / 2
    words = {10.0: "signed error of", 20.0: f"mean {LABELS[metric]} [%]"}
    return [turned(x, middle, label, SMALL) for x, label in words.items()]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in (1, 3) if low <= step * 10.0**power <= high]
