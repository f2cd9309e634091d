"""Figures of a synthetic hypothesis: its columns over an axis, or point by point.

Line style, grey and marker tell lines apart, filling and hatch tell bars apart; one panel per sweep,
the panels of one figure on one scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from roofline_lab.hypotheses.synthetic.rows import Row, RowTable, sequences
from roofline_lab.hypotheses.synthetic.spec import Figure, FigureAxis, SyntheticHypothesis
from roofline_lab.report.plots import (
    EDGE,
    GAP_INCHES,
    GRID,
    LEFT_INCHES,
    LINE_MARKERS,
    Layout,
    Panel,
    Series,
    bars,
    drawn,
    legend,
    plain_log_ticks,
    svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE_HEIGHT = 2.7
# Inches beside the last panel: half of a tick label at its very edge.
RIGHT = 0.32
LINE_STYLES = ("-", "--", ":", "-.")
LINE_GREYS = (EDGE, "#1f6fa8", "#7a7a7a", "#4d4d4d")
# More points than this are drawn without markers, which would only blur the line.
MOST_MARKERS = 40
LEGEND_COLUMNS = 2


def draw(figure: Figure, spec: SyntheticHypothesis, table: RowTable) -> str:
    """Return one figure as SVG text."""
    return _lines(figure, spec, table) if figure.kind == "lines" else _bars(figure, spec, table)


def _lines(figure: Figure, spec: SyntheticHypothesis, table: RowTable) -> str:
    assert figure.along is not None  # the record itself demands both for lines
    assert figure.y is not None
    entries = len(_labels(figure, spec, table)) + (figure.mark is not None)
    layout = Layout(len(figure.sweeps), LINE_HEIGHT, LEFT_INCHES, GAP_INCHES, -(-entries // LEGEND_COLUMNS), RIGHT)
    with drawn(layout) as (paper, panels):
        for axes, sweep in zip(panels, figure.sweeps, strict=True):
            _draw_lines(axes, figure, spec, table, sweep)
            axes.set_title(spec.sweep(sweep).title if len(panels) > 1 else figure.title)
            axes.set_xlabel(figure.x.label)
            axes.set(xscale="log" if figure.x.log else "linear", yscale="log" if figure.y.log else "linear")
        _share(panels)
        for axes in panels:
            _plain_ticks(axes, figure.x, "x")
            _plain_ticks(axes, figure.y, "y")
            axes.grid(color=GRID, linewidth=0.5)
        for axes in panels[1:]:
            axes.set_yticklabels([])
        panels[0].set_ylabel(figure.y.label)
        legend(paper, panels[0], LEGEND_COLUMNS)
        return svg(paper)


def _draw_lines(axes: Axes, figure: Figure, spec: SyntheticHypothesis, table: RowTable, sweep: str) -> None:
    assert figure.along is not None
    labels = _labels(figure, spec, table)
    for column in figure.columns:
        for line in sequences(table.select((column,), (sweep,)), figure.along):
            label = _label(figure, spec, column, line)
            place = labels.index(label)
            axes.plot(
                [float(row.axes[figure.along]) for row in line],
                [row.cells[column] for row in line],
                color=LINE_GREYS[place % len(LINE_GREYS)],
                linestyle=LINE_STYLES[place % len(LINE_STYLES)],
                linewidth=1.3,
                marker=LINE_MARKERS[place % len(LINE_MARKERS)] if len(line) <= MOST_MARKERS else None,
                markersize=4.5,
                markerfacecolor="white",
                label=label,
            )
    if figure.mark is not None:
        axes.axhline(figure.mark.value, color=EDGE, linewidth=0.8, dashes=(1, 2), label=figure.mark.label)


def _labels(figure: Figure, spec: SyntheticHypothesis, table: RowTable) -> list[str]:
    """Return every line's label once, in drawing order."""
    rows = [(column, table.select((column,), (sweep,))) for sweep in figure.sweeps for column in figure.columns]
    lines = [(column, line) for column, chosen in rows for line in sequences(chosen, figure.along)]
    return list(dict.fromkeys(_label(figure, spec, column, line) for column, line in lines))


def _label(figure: Figure, spec: SyntheticHypothesis, column: str, line: Sequence[Row]) -> str:
    axes = spec.sweep(line[0].sweep).axes
    others = [
        str(line[0].axes[name]) if isinstance(line[0].axes[name], str) else f"{name} {line[0].axes[name]}"
        for name in axes
        if name != figure.along
    ]
    words = [spec.column(column).label] if len(figure.columns) > 1 or not others else []
    return ", ".join([*words, *others])


def _bars(figure: Figure, spec: SyntheticHypothesis, table: RowTable) -> str:
    rows = table.select(figure.columns, figure.sweeps)
    series = tuple(
        Series(
            spec.column(column).label, tuple((row.cells[column], float(at)) for at, row in enumerate(rows)), fill=fill
        )
        for fill, column in enumerate(figure.columns)
    )
    mark = (figure.mark.value, figure.mark.label) if figure.mark is not None else None
    panel = Panel(figure.title, figure.x.label, series, mark=mark)
    return bars([panel], [row.label for row in rows], log=figure.x.log)


def _share(panels: Sequence[Axes]) -> None:
    """Give all panels one vertical range."""
    limits = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _plain_ticks(axes: Axes, axis: FigureAxis, name: str) -> None:
    """Label a logarithmic axis with plain numbers."""
    if axis.log:
        ruler = axes.xaxis if name == "x" else axes.yaxis
        plain_log_ticks(ruler, *(axes.get_xlim() if name == "x" else axes.get_ylim()))
