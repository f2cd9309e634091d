"""Small multiples of signed residuals against their drivers, as an SVG written line by line.

Contract: the same residuals give the same text. Written by hand because two dozen panels of a plotting library would
take longer than the rest of a page. Grey alone; every axis has a label with its unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from roofline_lab.report.plots import DOT, EDGE, GRID, SMALL, document, line, linear_ticks, text, turned
from roofline_lab.residuals.drivers import DRIVERS, Driver, pairs, varies
from roofline_lab.residuals.record import LABELS, METRICS, Residual, scored

# Points: panel, gaps between panels, margins.
PANEL_WIDTH, PANEL_HEIGHT = 124.0, 92.0
GAP_X, GAP_Y = 22.0, 14.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 10.0, 8.0, 40.0
# Room between the outermost points and the frame, as a share of the range.
PADDING = 0.08
# Ranges wider than this factor are drawn on a log axis.
LOG_ABOVE = 10.0
MAX_TICKS = 5
# Of a digit at the figure's font size of 8 points.
CHARACTER_WIDTH = 5.1
EMPTY_WIDTH = 320.0


@dataclass(frozen=True, slots=True)
class Axis:
    """A range in data, whether it is drawn by logarithms, and its values where they are few."""

    low: float
    high: float
    log: bool = False
    values: tuple[float, ...] = ()

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high end."""
        low, high, at = (math.log(one) if self.log else one for one in (self.low, self.high, value))
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


def residual_figure(residuals: Iterable[Residual], metrics: Sequence[str] = METRICS) -> str:
    """Draw one row of panels per metric and one column per driver that varies; returns SVG text."""
    chosen = tuple(residuals)
    rows = [metric for metric in metrics if scored(chosen, metric)]
    columns = [driver for driver in DRIVERS if varies(chosen, driver) and _has_points(chosen, driver, rows)]
    if not rows or not columns:
        return document(
            EMPTY_WIDTH, TOP + BOTTOM, [text(LEFT, TOP + 12, "no residual that could vary", "start", SMALL)]
        )
    lines = []
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
    width = LEFT + len(columns) * (PANEL_WIDTH + GAP_X) - GAP_X + RIGHT
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
    """Name a row's error and its sign, in two lines beside the panel."""
    middle = top + PANEL_HEIGHT / 2
    words = {10.0: f"residual of {LABELS[metric]} [%]", 20.0: "(negative: too fast)"}
    return [turned(x, middle, label, SMALL) for x, label in words.items()]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [one * 10.0**power for power in powers for one in (1, 3) if low <= one * 10.0**power <= high]
