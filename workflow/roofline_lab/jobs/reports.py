"""A report of either kind of hypothesis: read from its rows, scored, rendered. Nothing is written here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from roofline_lab import provenance
from roofline_lab.capacity.ask import ask
from roofline_lab.capacity.question import read_question
from roofline_lab.files import json_text
from roofline_lab.hypotheses.verdict import VERDICT_FILE, Verdict
from roofline_lab.jobs import paths
from roofline_lab.made import read_made
from roofline_lab.predict.arms import Simulation, run_of
from roofline_lab.predict.sweeps import chosen_values
from roofline_lab.project import Project
from roofline_lab.report import capacity, compared
from roofline_lab.report.findings import render_report
from roofline_lab.report.results import MethodReport, Report, build_report, several_simulators, versions_of
from roofline_lab.report.synthetic import render_row_report
from roofline_lab.report.synthetic_results import KernelReport, RowReport, build_row_report, rows_text
from roofline_lab.run_files import Row, read_lines, read_rows
from roofline_lab.scoring.numbers import errors_text, numbers_text
from roofline_lab.trust.proof import proof_in
from roofline_lab.vocabulary import Metric, Reproduction
from simulator.errors import RooflineLabError

Files = dict[str, str]


def score_and_render(project: Project, hypothesis: str) -> tuple[Files, Files | None]:
    """Return the files of the scores and those of the page, of a report that is built once.

    A page whose texts are wrong is None: its scores are right all the same, and who wants the page asks `render`.
    """
    report = read_report(project, hypothesis)
    scores = score_files(report)
    try:
        return scores, page_files(project, report)
    except RooflineLabError:
        return scores, None


def render(project: Project, hypothesis: str) -> Files:
    """Return the files of the page, name to text.

    Raises
    ------
    ConfigError
        If a text asks for a number that is not there, or rows are damaged.
    """
    return page_files(project, read_report(project, hypothesis))


def read_report(project: Project, hypothesis: str) -> Report | RowReport:
    """Return the report of one hypothesis from the rows its jobs wrote.

    Raises
    ------
    ConfigError
        If a file of rows is damaged, or not of these runs and configurations.
    """
    published = project.published[hypothesis]
    if hypothesis in project.synthetic:
        files = map(Path, paths.row_paths(project, hypothesis))
        return build_row_report(project, project.synthetic[hypothesis], read_lines(files), published)
    swept = read_lines(map(Path, paths.sweep_paths(project, hypothesis)))
    return build_report(project, hypothesis, _measured_rows(project, hypothesis, swept), published, swept)


def simulators(project: Project) -> Files:
    """Return the files of the page that compares all simulators, the page last.

    Raises
    ------
    ConfigError
        If rows are damaged.
    """
    assert project.comparing is not None, "only asked where a hypothesis compares them"
    return compared.files_of(project, project.comparing, _measured_rows(project, project.comparing, []))


def answered(project: Project, question: str) -> Files:
    """Return the files of the answer to a question about capacity, the page last.

    Raises
    ------
    RooflineLabError
        If the question is wrong, or no server it asks about can be.
    """
    file = paths.question_file(question)
    asked = ask(read_question(project.root / file, project.root), file, project.root)
    for numbers in paths.proof_paths(project, question):
        content = read_made(Path(numbers)).encode()
        proof = proof_in(content, numbers, asked.chosen.step_time, asked.question.load)
        asked = replace(asked, proof=proof)
    return capacity.report_files(asked)


def _measured_rows(project: Project, hypothesis: str, swept: Sequence[Row]) -> list[Row]:
    """Return all rows of a hypothesis on measurements, in matrix order."""
    files, runs = map(Path, paths.row_paths(project, hypothesis)), []
    for (method, arm), matrix in paths.runs_by_arm(project, hypothesis).items():
        chosen, names = chosen_values(project, hypothesis, method, arm, swept), [run.experiment.id for run in matrix]
        wanted = (Simulation(hypothesis, method, arm, name, chosen.get(name, ())) for name in names)
        runs.append([run_of(project, simulation) for simulation in wanted])
    return read_rows(zip(files, runs, strict=True))


def score_files(report: Report | RowReport) -> Files:
    """Return what scoring writes, name to text, the verdict last."""
    if isinstance(report, RowReport):
        rows = rows_text(report.spec, [(method.method, method.table) for method in report.methods])
    else:
        rows = errors_text([row for method in report.methods for row in method.scores.rows])
    return {"rows.csv": rows, "numbers.csv": numbers_text(report.numbers), VERDICT_FILE: json_text(_summary(report))}


def page_files(project: Project, report: Report | RowReport) -> Files:
    """Return every file of a report folder, name to text, FINDINGS.md last."""
    versions = {} if isinstance(report, RowReport) else versions_of(report)
    record = {"provenance.json": provenance.provenance_text(project, report.spec.id, versions)}
    if isinstance(report, RowReport):
        return record | render_row_report(project, report)
    return record | render_report(project, report)


def _summary(report: Report | RowReport) -> dict[str, Any]:
    """Return what the command line and the index say about a hypothesis."""
    counts = {state.value: sum(c.verdict is state for c in report.comparisons) for state in Reproduction}
    methods: list[dict[str, Any]]
    if isinstance(report, RowReport):
        methods = [_conclusion(method.method, method.verdict, _decisive(method)) for method in report.methods]
    else:
        methods = [_measured_conclusion(report, method) for method in report.methods]
    return {"methods": methods, "reproduction": counts if report.comparisons else {}}


def _conclusion(method: str, verdict: Verdict, result: str) -> dict[str, Any]:
    criteria = {each.id: each.result.value for each in verdict.outcomes}
    return {
        "method": method,
        "status": verdict.status.value,
        "reason": verdict.reason,
        "result": result,
        "criteria": criteria,
    }


def _measured_conclusion(report: Report, method: MethodReport) -> dict[str, Any]:
    """Return the conclusion, with the mean errors: of the shown arms in words, of all in numbers."""
    told, found = [], {}
    for metric in report.spec.metrics:
        errors = found[metric.value] = {arm: method.judging.mape(arm, metric) for arm in report.spec.arms}
        shown = (_error_in_words(method, arm, metric, errors[arm]) for arm in report.spec.shown_arms)
        told.append(f"{metric.label} {' -> '.join(shown)} %")
    return _conclusion(method.method.id, method.verdict, ", ".join(told)) | {"errors": found}


def _error_in_words(method: MethodReport, arm: str, metric: Metric, error_pct: float | None) -> str:
    """Return a mean error; where arms do not predict the same load points, with how many of those asked it is of."""
    words = "n/a" if error_pct is None else f"{error_pct:.1f}"
    return f"{words} ({method.judging.coverage(arm, metric)})" if several_simulators(method.arms) else words


def _decisive(method: KernelReport) -> str:
    """Return what decided, in words."""
    return ", ".join(f"{outcome.id} {outcome}" for outcome in method.verdict.criteria if outcome.decisive)
