"""Small multiples of signed residuals against their drivers, as an SVG written line by line.

Contract: the same residuals give the same text. Written by hand because two dozen panels of a plotting library would
take longer than the rest of a page. Grey alone; every axis has a label with its unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
FONT = 'font-family="DejaVu Sans, sans-serif"'
EDGE, GRID, DOT = "#222222", "#dddddd", "#4d4d4d"
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
        found = _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high)
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
        return _svg(EMPTY_WIDTH, TOP + BOTTOM, [_text(LEFT, TOP + 12, "no residual that could vary", "start")])
    lines = []
    for row, metric in enumerate(rows):
        vertical = axis_of([0.0, *_residuals(chosen, metric, columns)], may_be_log=False)
        top = TOP + row * (PANEL_HEIGHT + GAP_Y)
        lines.append(_row_label(top, metric))
        for column, driver in enumerate(columns):
            left = LEFT + column * (PANEL_WIDTH + GAP_X)
            horizontal = axis_of(_values(chosen, driver, rows), may_be_log=True)
            last = row == len(rows) - 1
            lines += _panel(left, top, horizontal, vertical, pairs(chosen, driver, metric))
            lines += _x_labels(left, top, horizontal, driver.title if last else "")
            lines += _y_labels(top, vertical) if column == 0 else []
    width = LEFT + len(columns) * (PANEL_WIDTH + GAP_X) - GAP_X + RIGHT
    height = TOP + len(rows) * (PANEL_HEIGHT + GAP_Y) - GAP_Y + BOTTOM
    return _svg(width, height, lines)


def _has_points(residuals: Sequence[Residual], driver: Driver, metrics: Sequence[str]) -> bool:
    return any(pairs(residuals, driver, metric) for metric in metrics)


def _values(residuals: Sequence[Residual], driver: Driver, metrics: Sequence[str]) -> list[float]:
    return [value for metric in metrics for value, _ in pairs(residuals, driver, metric)]


def _residuals(residuals: Sequence[Residual], metric: str, drivers: Sequence[Driver]) -> list[float]:
    return [residual for driver in drivers for _, residual in pairs(residuals, driver, metric)]


def _panel(left: float, top: float, x: Axis, y: Axis, points: Sequence[tuple[float, float]]) -> list[str]:
    found = [_line(left, _y(top, y, tick), left + PANEL_WIDTH, _y(top, y, tick), GRID) for tick in y.ticks]
    found.append(_line(left, _y(top, y, 0.0), left + PANEL_WIDTH, _y(top, y, 0.0), EDGE))
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
        found.append(_line(place, bottom, place, bottom + 3, EDGE))
        half_width = len(label) * CHARACTER_WIDTH / 2
        # A label that would run into the one before is left out; its tick stays.
        if title and place - half_width >= free_from:
            found.append(_text(place, bottom + 13, label, "middle"))
            free_from = place + half_width + CHARACTER_WIDTH / 2
    if title:
        found.append(_text(left + PANEL_WIDTH / 2, bottom + 28, title, "middle"))
    return found


def _y_labels(top: float, axis: Axis) -> list[str]:
    return [_text(LEFT - 5, _y(top, axis, tick) + 3, f"{tick:g}", "end") for tick in axis.ticks]


def _row_label(top: float, metric: str) -> str:
    """Name a row's error and its sign, in two lines beside the panel."""
    middle = top + PANEL_HEIGHT / 2
    words = {10.0: f"residual of {LABELS[metric]} [%]", 20.0: "(negative: too fast)"}
    return "\n".join(
        f'<text x="{x}" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 {x} {middle:.1f})">{text}</text>'
        for x, text in words.items()
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="0.6"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _svg(width: float, height: float, lines: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.1f}pt" height="{height:.1f}pt" '
        f'viewBox="0 0 {width:.1f} {height:.1f}" {FONT} font-size="8" fill="{EDGE}">'
    )
    background = f'<rect width="{width:.1f}" height="{height:.1f}" fill="white"/>'
    return "\n".join([head, background, *lines, "</svg>"]) + "\n"


def _linear_ticks(low: float, high: float) -> list[float]:
    """Return the multiples of the finest round step that gives few enough of them."""
    power = 10.0 ** math.floor(math.log10((high - low) / (MAX_TICKS + 1)))
    for step in (one * power for one in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first < MAX_TICKS:
            return [round(index * step, 10) for index in range(first, last + 1)]
    raise AssertionError(f"no round step between {low} and {high}")


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [one * 10.0**power for power in powers for one in (1, 3) if low <= one * 10.0**power <= high]
