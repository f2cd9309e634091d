"""A synthetic findings page: a `RowReport` and the author's texts become markdown, tables and figures.

Line style, grey and marker tell lines apart, filling and hatch tell bars apart; one panel per sweep, the panels of one
figure on one scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from roofline_lab.hypotheses.synthetic.resolve import MEASURED, hardware_of
from roofline_lab.hypotheses.synthetic.rows import Row, RowTable, sequences
from roofline_lab.hypotheses.synthetic.spec import (
    Figure,
    FigureAxis,
    SyntheticHypothesis,
    points,
)
from roofline_lab.hypotheses.verdict import verdict_text
from roofline_lab.project import Project
from roofline_lab.report import synthetic_tables
from roofline_lab.report.design import PAGE, design_table
from roofline_lab.report.page import context_of, file_names, page_files
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
from roofline_lab.report.synthetic_results import RowReport
from roofline_lab.report.values import RowValues, row_values_of
from roofline_lab.vocabulary import Reproduction

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def render_row_report(project: Project, report: RowReport) -> dict[str, str]:
    """Return every file of a report folder, name to text; provenance is added by the caller.

    Raises
    ------
    ConfigError
        If a text asks for a number that is not there.
    """
    spec, values = report.spec, row_values_of(report)
    drawn = (draw(figure, spec, report.headline.table) for figure in spec.figures)
    figures = dict(zip(_figure_names(spec), drawn, strict=True))
    verdict = verdict_text((method.method, method.verdict, ()) for method in report.methods)
    return page_files(
        report,
        values,
        verdict,
        figures,
        ("synthetic_details.md.j2", "synthetic.md.j2"),
        _context(project, report, values),
    )


def row_report_files(project: Project, hypothesis: str) -> list[str]:
    """Return the names of all files a report of this hypothesis has, FINDINGS.md last."""
    spec = project.synthetic[hypothesis]
    return file_names(project, spec, _figure_names(spec))


def _figure_names(spec: SyntheticHypothesis) -> list[str]:
    return [f"figures/{figure.id}.svg" for figure in spec.figures]


def _context(project: Project, report: RowReport, values: RowValues) -> dict[str, Any]:
    spec, count = report.spec, sum(len(points(sweep)) for sweep in report.spec.sweeps)
    return context_of(project, report, values) | {
        "row_tables": synthetic_tables,
        "builds_on": [f"Builds on [{name}](../{name}/{PAGE})." for name in spec.references],
        "data_line": f"- **Data:** {count} generated points; nothing here was measured on a server",
        "decided_by": report.headline.title.lower(),
        "report": report,
        "on_measured_tables": report.headline.method == MEASURED,
        "setup": _setup(project, report),
        "point_count": count,
        "design_table": design_table(spec, _preconditions(spec), "nothing is drawn at random"),
        "audit_table": synthetic_tables.audit_table(report),
        "changes": _changes(report),
        "reproduction": _reproduction(report),
    }


def _setup(project: Project, report: RowReport) -> dict[str, str]:
    spec = report.spec
    hardware = hardware_of(project, spec)
    found = [point for sweep in spec.sweeps for point in points(sweep)]
    override = spec.setup.hardware_override
    peaks = (
        f"{hardware.dense_bf16_tflops.value:g} TFLOPS dense BF16, {hardware.memory_bandwidth_tbs.value:g} TB/s peak HBM"
    )
    return {
        "hardware": f"{hardware.name}; {peaks}",
        "override": override.source if override else "",
        "models": ", ".join(dict.fromkeys(f"`{point.model(spec.setup)}`" for point in found)),
        "tensor_parallel": ", ".join(dict.fromkeys(str(point.tensor_parallel(spec.setup)) for point in found)),
    }


def _changes(report: RowReport) -> list[str]:
    """Return what differs between the first and the last choice of kernels, as sentences."""
    if len(report.methods) < 2:
        return []
    first, last = report.methods[0], report.methods[-1]
    old, new = first.verdict.status, last.verdict.status
    sentences = [f"The status stays {new}." if old is new else f"The status changes from {old} to {new}."]
    for before, after in zip(first.verdict.outcomes, last.verdict.outcomes, strict=True):
        stays = "stays" if before.result is after.result else "changes"
        sentences.append(f"`{before.id}` {stays}: {before} on {first.title.lower()}, {after} on {last.title.lower()}")
    return sentences


def _reproduction(report: RowReport) -> dict[str, Any] | None:
    if report.published is None:
        return None
    missed = [cell for cell in report.comparisons if cell.verdict is not Reproduction.REPRODUCED]
    return {
        "source": report.published.source,
        "reasons": list(dict.fromkeys(cell.reason for cell in missed if cell.reason.startswith("published"))),
        "groups": [f"`{group.key}`: {group.reason}" for group in report.published.source.not_reproducible],
    }


def _preconditions(spec: SyntheticHypothesis) -> str:
    count = sum(len(points(sweep)) for sweep in spec.sweeps)
    known = "models, GPU and every name in a formula are known"
    return f"every one of {count} points gives a valid batch or question; {known}"


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
    marks = ((figure.mark.value, figure.mark.label),) if figure.mark is not None else ()
    panel = Panel(figure.title, figure.x.label, series, marks=marks)
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
