"""The page that compares all simulators: who is closest in which question, who was fitted to what, what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from roofline_lab.files import csv_text
from roofline_lab.project import Project
from roofline_lab.rendering import render
from roofline_lab.report import compared_tables
from roofline_lab.report.comparison import Comparison, compare
from roofline_lab.report.plots import MARKERS, Panel, Series, dots
from roofline_lab.run_files import Row
from roofline_lab.scoring.numbers import NUMBER_COLUMNS
from roofline_lab.vocabulary import MEANS, Metric

FOLDER = Path("reports/simulators")
PAGE, NUMBERS, FIGURE = "SIMULATORS.md", "numbers.csv", "errors.svg"


def files_of(project: Project, hypothesis: str, rows: Sequence[Row]) -> dict[str, str]:
    """Return every file of the page by name, the page last.

    Parameters
    ----------
    rows
        Result lines of all runs of the hypothesis.
    """
    found = compare(project, hypothesis, rows)
    page = render("simulators.md.j2", {"found": found, "tables": compared_tables, "figure": FIGURE, "metrics": MEANS})
    lines = sorted(compared_tables.number_lines(found))
    return {FIGURE: errors_figure(found), NUMBERS: csv_text(NUMBER_COLUMNS, lines), PAGE: page}


def errors_figure(found: Comparison) -> str:
    """Draw the mean absolute error of every arm, a panel per metric and a marker per set."""
    panels = [Panel(metric.label, "mean absolute error [%]", tuple(_series(found, metric))) for metric in MEANS]
    return dots(panels, found.names)


def _series(found: Comparison, metric: Metric) -> Iterator[Series]:
    for place, question in enumerate(found.questions):
        errors = {each.arm: each.error_pct for each in question.standings.get(metric, ())}
        points = ((error, float(found.names.index(arm))) for arm, error in errors.items() if error is not None)
        yield Series(question.name, tuple(sorted(points)), place % len(MARKERS), place)
