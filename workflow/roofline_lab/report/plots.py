"""Every figure of every page: panels of points, bars or lines, as SVG that is the same for the same numbers.

Contract: a page says what is shown (`Panel`, `Series`), this module how. Fillings, hatches, markers and line patterns
tell things apart, so that no figure needs colour; every axis has a label with its unit. Points and bars, which each
finding has many of, are written line by line (a plotting library took a fifth of a regeneration for them); lines are
drawn by matplotlib, which is imported on first use and never through pyplot, as pages are rendered in threads.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EDGE, GRID, DOT, LINE = "#222222", "#dddddd", "#4d4d4d", "#b3b3b3"
MARKERS = (
    "circle",
    "square",
    "triangle",
    "diamond",
    "down",
    "cross",
    "hexagon",
    "left",
    "right",
    "star",
    "bar",
    "post",
)
FILLS = ("white", "#4d4d4d", "#b3b3b3", "#1f6fa8", "#f2c572", "#e6e6e6")
# Lines of each filling's hatch in a tile of HATCH points; the second filling is plain.
HATCHES: tuple[tuple[str, ...], ...] = (
    ("M0,6 L6,0",),
    (),
    ("M3,3 h0.1",),
    ("M0,6 L6,0", "M0,0 L6,6"),
    ("M0,0 L6,6",),
    ("M3,0 V6", "M0,3 H6"),
)
HATCH = 6
# What the sign of an error means, on every figure.
SIGN = "negative: predicted too fast"
SIGN_OF_RATES = "negative: predicted too slow"
DASHES = ("4 3", "1.5 2", "8 3")
BAND = "#ececec"

# Points (1/72 inch).
PANEL = 280.0
BAR_PITCH = 12.2
TITLE_HEIGHT = 23.0
AXIS_HEIGHT = 45.0
LEGEND_LINE_HEIGHT = 14.5
GAP, SCATTER_LEFT, RIGHT = 20.0, 60.0, 25.0
FONT_SIZE, SMALL = 9, 8
CHARACTER_WIDTH, SMALL_CHARACTER_WIDTH = 5.6, 4.5
LEGEND_HANDLE = 32.0
MARKER_RADIUS = 3.4
SPAN_WIDTH = 1.6
# Room between the outermost values and the frame, as a share of the range.
PADDING = 0.05
MAX_TICKS = 7
# Beyond this many decades the ticks at 2 and 5 would run into each other.
MAX_DECADES_WITH_STEPS = 4


@dataclass(frozen=True, slots=True)
class Series:
    """What one entry of a legend stands for: its values, and how they are told apart.

    Attributes
    ----------
    points
        (x, y) in data; of bars and dots y is the place of the name they belong to.
    marker, fill
        Index into `MARKERS` and `FILLS`.
    spans
        Intervals behind the points of a scatter: (x, low y, high y).
    """

    label: str
    points: tuple[tuple[float, float], ...]
    marker: int = 0
    fill: int = 0
    spans: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel of a figure.

    Attributes
    ----------
    ticks
        Short strokes on rows of dots, (value, place): means.
    marks
        Where dashed lines run across rows, and what each means.
    band
        From where to where rows are shaded, and what that means.
    """

    title: str
    x_label: str
    series: tuple[Series, ...]
    y_label: str = ""
    ticks: tuple[tuple[float, float], ...] = ()
    marks: tuple[tuple[float, str], ...] = ()
    band: tuple[float, float, str] | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """A range in data, and whether it is drawn by logarithms."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high end."""
        low, high, at = (math.log(end) if self.log else end for end in (self.low, self.high, value))
        return (at - low) / (high - low)

    @property
    def ticks(self) -> list[float]:
        """Round values inside the range, few enough to be read."""
        return log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high)


def linear_axis(values: Iterable[float]) -> Axis:
    """Return an axis that shows zero and all values, with some room around them."""
    known = [0.0, *values]
    low, high = min(known), max(known)
    if low == high:
        return Axis(-1.0, 1.0)
    room = (high - low) * PADDING
    return Axis(low - room if low < 0 else 0.0, high + room if high > 0 else 0.0)


def _row_axis(values: Sequence[float], *, log: bool) -> Axis:
    return Axis(min(values) / 1.3, max(values) * 1.3, log=True) if log else linear_axis(values)


def linear_ticks(low: float, high: float, most: int = MAX_TICKS) -> list[float]:
    """Return the multiples of the finest round step that gives few enough of them."""
    power = 10.0 ** math.floor(math.log10((high - low) / (most + 1)))
    for step in (factor * power for factor in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [round(index * step, 10) for index in range(first, last + 1)]
    raise AssertionError(f"no round step between {low} and {high}")


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times every power of ten between `low` and `high`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= MAX_DECADES_WITH_STEPS else (1,)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]


# --- what several pages show ---------------------------------------------------------------------------


def predicted_against_measured(what: str, series: Iterable[Series], title: str = "", unit: str = "ms") -> Panel:
    """Return a panel of `scatter` that shows predictions of something over its measurements."""
    return Panel(title or what, f"measured {what} [{unit}]", tuple(series), f"predicted {what} [{unit}]")


def signed_error_label(what: str, more: str = "", sign: str = SIGN) -> str:
    """Return the label of an axis of signed errors in percent, with what a negative one and its panel show."""
    return f"signed error of {what} [%]\n({sign}{more})"


# --- points and bars, line by line ------------------------------------------------------------------


def scatter(
    panels: Sequence[Panel],
    diagonal: str,
    *,
    room: float = 1.3,
    least: float | None = None,
    columns: int | None = None,
    shared: bool = False,
) -> str:
    """Draw points on log axes with the same range both ways; returns SVG text.

    Parameters
    ----------
    diagonal
        What points on the line of equal values are.
    room
        Factor between the outermost values and the frame.
    least
        Low end of every axis, instead of what the values need.
    columns
        Panels side by side, the others below; None for all.
    shared
        Whether all panels have one range.
    """
    across = min(columns or len(panels), len(panels))
    pitch = TITLE_HEIGHT + PANEL + AXIS_HEIGHT
    width = _width(across, SCATTER_LEFT, SCATTER_LEFT)
    entries = [(diagonal, None), *_labels(panels).items()]
    legend = _legend(entries, width, pitch * -(-len(panels) // across))
    every = [value for panel in panels for value in _positive(panel)]
    lines = []
    for index, panel in enumerate(panels):
        values = (every if shared else _positive(panel)) or [1.0]
        axis = Axis(least or min(values) / room, max(values) * room, log=True)
        left, top = SCATTER_LEFT + index % across * (PANEL + SCATTER_LEFT), index // across * pitch
        drawn_panel = _scattered(panel, left, axis)
        lines += [f'<g transform="translate(0 {top:.1f})">', *drawn_panel, "</g>"] if top else drawn_panel
    return _document(width, legend, lines)


def _positive(panel: Panel) -> list[float]:
    return [value for series in panel.series for point in series.points for value in point if value > 0]


def _scattered(panel: Panel, left: float, axis: Axis) -> list[str]:
    lines = _frame(panel, left, PANEL, axis, axis)
    lines.append(line(left, TITLE_HEIGHT + PANEL, left + PANEL, TITLE_HEIGHT, EDGE, 0.8))
    lines += _spans(panel, left, axis)
    for series in panel.series:
        for x, y in series.points:
            if x > 0 and y > 0:
                at = left + axis.place(x) * PANEL, TITLE_HEIGHT + (1 - axis.place(y)) * PANEL
                lines.append(_marker(series, *at))
    return lines


def _spans(panel: Panel, left: float, axis: Axis) -> Iterator[str]:
    """Yield the intervals of all points of a panel, cut off at its frame, so that they lie behind every marker."""
    for x, *ends in (span for series in panel.series for span in series.spans if span[0] > 0):
        shares = (min(1.0, max(0.0, axis.place(max(end, axis.low)))) for end in ends)
        low, high = (TITLE_HEIGHT + (1 - share) * PANEL for share in shares)
        at = left + axis.place(x) * PANEL
        yield line(at, low, at, high, LINE, SPAN_WIDTH)


def curves(panels: Sequence[Panel]) -> str:
    """Draw points joined by lines over linear axes from zero, the second series and later ones dashed; SVG text."""
    width = _width(len(panels), SCATTER_LEFT, SCATTER_LEFT)
    legend = _legend([*_labels(panels).items()], width, TITLE_HEIGHT + PANEL + AXIS_HEIGHT)
    lines = []
    for index, panel in enumerate(panels):
        left = SCATTER_LEFT + index * (PANEL + SCATTER_LEFT)
        x, y = (linear_axis(point[way] for series in panel.series for point in series.points) for way in (0, 1))
        lines += _frame(panel, left, PANEL, x, y)
        for order, series in enumerate(panel.series):
            at = [(left + x.place(a) * PANEL, TITLE_HEIGHT + (1 - y.place(b)) * PANEL) for a, b in series.points]
            lines += [line(*start, *end, EDGE, 1.0, DASHES if order else "") for start, end in pairwise(at)]
            lines += [_marker(series, *place) for place in at]
    return _document(width, legend, lines)


def bars(panels: Sequence[Panel], names: Sequence[str], *, log: bool = False) -> str:
    """Draw one horizontal bar per name and series, all panels on one range; returns SVG text.

    `points` of a series are (value, place of the name).
    """
    count = max(len(panel.series) for panel in panels)
    thickness = 0.8 / count

    def bar(series: Series, index: int, place: float, start: float, end: float, row: float) -> str:
        top, left = (place - 0.4 + thickness * index) * row, min(start, end)
        shape = f'x="{left:.1f}" y="{top:.1f}" width="{abs(end - start):.1f}" height="{thickness * row:.1f}"'
        fill = series.fill % len(FILLS)
        plain = f'<rect {shape} fill="{FILLS[fill]}" stroke="{EDGE}" stroke-width="0.6"/>'
        return plain + (f'<rect {shape} fill="url(#hatch{fill})"/>' if HATCHES[fill] else "")

    return _rows(panels, names, BAR_PITCH * (count + 0.5), bar, boxes=True, log=log)


def dots(panels: Sequence[Panel], names: Sequence[str], least_rows: int = 1) -> str:
    """Draw one row of markers per name, all panels with ranges of their own; returns SVG text."""

    def dot(series: Series, index: int, place: float, start: float, end: float, row: float) -> str:
        return _marker(series, end, place * row)

    return _rows(panels, names, BAR_PITCH * 1.6, dot, boxes=False, least_rows=least_rows)


def _rows(
    panels: Sequence[Panel],
    names: Sequence[str],
    row: float,
    draw: Callable[[Series, int, float, float, float, float], str],
    *,
    boxes: bool,
    least_rows: int = 1,
    log: bool = False,
) -> str:
    """Draw named rows of bars (one shared range) or markers (a range per panel), zero as a line."""
    left = CHARACTER_WIDTH * max(map(len, names), default=1) + 14
    width, height = _width(len(panels), left, GAP), row * max(len(names), least_rows)
    values = [[x for series in panel.series for x, _ in series.points] for panel in panels]
    values = [[*own, *(at for at, _ in panel.marks)] for own, panel in zip(values, panels, strict=True)]
    shared = _row_axis([value for own in values for value in own], log=log)
    legend = _legend(_row_entries(panels), width, TITLE_HEIGHT + height + AXIS_HEIGHT, boxes=boxes)
    lines = []
    for index, panel in enumerate(panels):
        start = left + index * (PANEL + GAP)
        axis = shared if boxes else _row_axis(values[index], log=log)
        lines += [*_band(panel, start, height, axis), *_frame(panel, start, height, axis, None)]
        lines.append(f'<g transform="translate({start:.1f} {TITLE_HEIGHT + row / 2:.1f})">')
        zero = 0.0 if log else axis.place(0.0) * PANEL
        for order, series in enumerate(panel.series):
            lines += [draw(series, order, y, zero, axis.place(x) * PANEL, row) for x, y in series.points]
        for value, place in panel.ticks:
            at = axis.place(value) * PANEL
            lines.append(line(at, place * row - 7, at, place * row + 7, EDGE, 1.5))
        for place, (value, _) in enumerate(panel.marks):
            at = axis.place(value) * PANEL
            lines.append(line(at, -row / 2, at, height - row / 2, EDGE, 1.0, DASHES[place % len(DASHES)]))
        lines += ["</g>", line(start + zero, TITLE_HEIGHT, start + zero, TITLE_HEIGHT + height, EDGE, 0.8)]
    lines += [text(left - 6, TITLE_HEIGHT + (place + 0.5) * row + 3, name, "end") for place, name in enumerate(names)]
    return _document(width, legend, lines)


def _row_entries(panels: Sequence[Panel]) -> list[tuple[str, Series | str | None]]:
    """Return the entries of a legend: what bars or dots are, then dashed lines and what is shaded."""
    marks = {words: DASHES[place % len(DASHES)] for panel in panels for place, (_, words) in enumerate(panel.marks)}
    bands = dict.fromkeys((panel.band[2], BAND) for panel in panels if panel.band)
    return [*_labels(panels).items(), *marks.items(), *bands]


def _band(panel: Panel, left: float, height: float, axis: Axis) -> list[str]:
    """Return what shades the rows between two values, as far as the axis goes."""
    if panel.band is None:
        return []
    low, high = (min(1.0, max(0.0, axis.place(end))) * PANEL for end in panel.band[:2])
    shape = f'x="{left + low:.1f}" y="{TITLE_HEIGHT}" width="{high - low:.1f}" height="{height:.1f}"'
    return [f'<rect {shape} fill="{BAND}"/>']


def _width(panels: int, left: float, gap: float) -> float:
    return left + panels * PANEL + (panels - 1) * gap + RIGHT


def _labels(panels: Sequence[Panel]) -> dict[str, Series]:
    return {series.label: series for panel in panels for series in panel.series}


def _frame(panel: Panel, left: float, height: float, x: Axis, y: Axis | None) -> list[str]:
    """Return title, axes, grid and labels of one panel; without `y` its rows are named elsewhere."""
    bottom, right = TITLE_HEIGHT + height, left + PANEL
    lines = [text(left + PANEL / 2, TITLE_HEIGHT - 8, panel.title, "middle", FONT_SIZE + 1)]
    for tick in x.ticks:
        at = left + x.place(tick) * PANEL
        lines += [line(at, TITLE_HEIGHT, at, bottom, GRID), line(at, bottom, at, bottom + 3, EDGE)]
        lines.append(text(at, bottom + 13, f"{tick:g}", "middle"))
    for tick in y.ticks if y else ():
        at = TITLE_HEIGHT + (1 - y.place(tick)) * height
        lines += [line(left, at, right, at, GRID), line(left - 3, at, left, at, EDGE)]
        lines.append(text(left - 6, at + 3, f"{tick:g}", "end"))
    lines += [line(left, bottom, right, bottom, EDGE, 0.8), line(left, TITLE_HEIGHT, left, bottom, EDGE, 0.8)]
    lines += [
        text(left + PANEL / 2, bottom + 26 + 11 * place, words, "middle")
        for place, words in enumerate(panel.x_label.split("\n"))
    ]
    if panel.y_label:
        lines.append(turned(left - 46, TITLE_HEIGHT + height / 2, panel.y_label))
    return lines


def legend_columns(width: float, labels: Sequence[str]) -> int:
    """Return how many columns of a legend fit into a width in points, at least one."""
    longest = max(map(len, labels), default=1)
    return max(1, min(len(labels), int(width / (LEGEND_HANDLE + SMALL_CHARACTER_WIDTH * longest))))


def _legend(
    entries: Sequence[tuple[str, Series | str | None]], width: float, top: float, *, boxes: bool = False
) -> tuple[float, list[str]]:
    """Return the bottom of a figure and its legend below all panels.

    An entry is a series, the dashes of a line, the colour of what is shaded, or None: the diagonal.
    """
    columns = legend_columns(width, [label for label, _ in entries])
    rows = -(-len(entries) // columns)
    pitch = LEGEND_HANDLE + SMALL_CHARACTER_WIDTH * max((len(label) for label, _ in entries), default=1)
    left = (width - columns * pitch) / 2
    lines = []
    for place, (label, shown) in enumerate(entries):
        x, y = left + place // rows * pitch, top + (place % rows + 0.5) * LEGEND_LINE_HEIGHT
        lines += [*_handle(shown, x, y, boxes=boxes), text(x + 26, y + 3, label, "start", SMALL)]
    return top + rows * LEGEND_LINE_HEIGHT + 6, lines


def _handle(shown: Series | str | None, x: float, y: float, *, boxes: bool) -> list[str]:
    """Return what stands before an entry of a legend, as it looks in the panels."""
    box = f'x="{x:.1f}" y="{y - 4:.1f}" width="20" height="8"'
    if shown == BAND:
        return [f'<rect {box} fill="{BAND}"/>']
    if not isinstance(shown, Series):
        return [line(x, y, x + 20, y, EDGE, 0.8, shown or "")]
    if not boxes:
        return [_marker(shown, x + 10, y)]
    fill = shown.fill % len(FILLS)
    hatched = [f'<rect {box} fill="url(#hatch{fill})"/>'] if HATCHES[fill] else []
    return [f'<rect {box} fill="{FILLS[fill]}" stroke="{EDGE}" stroke-width="0.6"/>', *hatched]


def _marker(series: Series, x: float, y: float) -> str:
    r, style = MARKER_RADIUS, f'fill="{FILLS[series.fill % len(FILLS)]}" stroke="{EDGE}"'
    corners: Mapping[str, Sequence[tuple[float, float]]] = {
        "square": ((-r, -r), (r, -r), (r, r), (-r, r)),
        "triangle": ((0, -r), (r, r), (-r, r)),
        "diamond": ((0, -1.3 * r), (1.3 * r, 0), (0, 1.3 * r), (-1.3 * r, 0)),
        "down": ((-r, -r), (r, -r), (0, r)),
        "cross": (
            *((-r, -r / 3), (-r / 3, -r / 3), (-r / 3, -r), (r / 3, -r), (r / 3, -r / 3), (r, -r / 3)),
            *((r, r / 3), (r / 3, r / 3), (r / 3, r), (-r / 3, r), (-r / 3, r / 3), (-r, r / 3)),
        ),
        "hexagon": ((-r, 0), (-r / 2, -r), (r / 2, -r), (r, 0), (r / 2, r), (-r / 2, r)),
        "left": ((-r, 0), (r, -r), (r, r)),
        "right": ((r, 0), (-r, -r), (-r, r)),
        "star": (
            (0, -1.4 * r),
            (r / 3, -r / 3),
            (1.4 * r, 0),
            (r / 3, r / 3),
            (0, 1.4 * r),
            (-r / 3, r / 3),
            (-1.4 * r, 0),
            (-r / 3, -r / 3),
        ),
        "bar": ((-1.3 * r, -r / 2), (1.3 * r, -r / 2), (1.3 * r, r / 2), (-1.3 * r, r / 2)),
        "post": ((-r / 2, -1.3 * r), (r / 2, -1.3 * r), (r / 2, 1.3 * r), (-r / 2, 1.3 * r)),
    }
    kind = MARKERS[series.marker % len(MARKERS)]
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" {style}/>'
    return f'<polygon points="{" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners[kind])}" {style}/>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 0.6, dashes: str = "") -> str:
    """Return a straight line between two points."""
    style = f'stroke="{colour}" stroke-width="{width}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'


def text(x: float, y: float, words: str, anchor: str, size: int = FONT_SIZE) -> str:
    """Return words whose `anchor` (start, middle, end) lies at a point."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def turned(x: float, y: float, words: str, size: int = FONT_SIZE) -> str:
    """Return words that run upward, their middle at a point."""
    turn = f"rotate(-90 {x:.1f} {y:.1f})"
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="middle" font-size="{size}"'
    return f'<text {place} transform="{turn}">{escape(words)}</text>'


def _document(width: float, legend: tuple[float, list[str]], lines: Sequence[str]) -> str:
    height, entries = legend
    used = [index for index in range(len(FILLS)) if any(f"url(#hatch{index})" in line for line in [*lines, *entries])]
    patterns = [
        f'<pattern id="hatch{index}" width="{HATCH}" height="{HATCH}" patternUnits="userSpaceOnUse">'
        f'<path d="{" ".join(HATCHES[index])}" stroke="{EDGE}" stroke-width="0.8" stroke-linecap="round"/></pattern>'
        for index in used
    ]
    return document(width, height, [*(["<defs>", *patterns, "</defs>"] if used else []), *lines, *entries])


def document(width: float, height: float, lines: Sequence[str], font_size: int = FONT_SIZE) -> str:
    """Return a whole SVG file; lengths in points."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.1f}pt" height="{height:.1f}pt" '
        f'viewBox="0 0 {width:.1f} {height:.1f}" font-family="DejaVu Sans, sans-serif" font-size="{font_size}" '
        f'fill="{EDGE}">'
    )
    return "\n".join([head, f'<rect width="{width:.1f}" height="{height:.1f}" fill="white"/>', *lines, "</svg>"]) + "\n"


# --- lines, by matplotlib ---------------------------------------------------------------------------

# Matplotlib's settings are global to the process, and reports are rendered in threads.
_DRAWING = threading.Lock()
STYLE = {
    "svg.hashsalt": "roofline-lab",
    "svg.fonttype": "none",
    # Labels are text as an author wrote it; a dollar sign begins no formula.
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}

# Inches. Margins are fixed instead of solved for: a layout engine draws every figure several times.
PANEL_WIDTH = 3.9
TITLE_INCHES, AXIS_INCHES, LEGEND_LINE_INCHES = 0.32, 0.62, 0.2
CHARACTER_INCHES = 0.078
GAP_INCHES, LEFT_INCHES = 0.28, 0.75
LINE_MARKERS = ("o", "s", "^", "D", "v", "P")


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
        return AXIS_INCHES + self.legend_lines * LEGEND_LINE_INCHES + 0.08

    @property
    def height(self) -> float:
        """Inches."""
        return TITLE_INCHES + self.panel_height + self.bottom


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


def plain_log_ticks(axis: Any, low: float, high: float) -> None:
    """Label a logarithmic axis of matplotlib with plain numbers."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    ticks = log_ticks(low, high)
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_ticklabels([f"{tick:g}" for tick in ticks])
