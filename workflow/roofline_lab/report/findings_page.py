"""Rendering a findings page: a `Report` and the author's discussion become markdown and figures.

The discussion is a template too: its numbers come through `v` (see `roofline_lab.report.values`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roofline_lab.formatting import pct, pp, table
from roofline_lab.hypotheses.expectations import expectation_files, expectation_names
from roofline_lab.hypotheses.spec import Hypothesis
from roofline_lab.hypotheses.verdict import VERDICT_FILE, verdict_text
from roofline_lab.project import Project
from roofline_lab.rendering import render, render_text
from roofline_lab.report import tables
from roofline_lab.report.design import (
    OPTION,
    audit_table,
    design_table,
    difference_table,
    evidence_table,
    findings_table,
    overhead_table,
    preconditions,
    scope_of,
    seeds_in_words,
)
from roofline_lab.report.findings import MethodReport, Report, changes
from roofline_lab.report.plots import MARKERS, Panel, Series, bars, scatter
from roofline_lab.report.residuals import analysis_figures
from roofline_lab.scoring.numbers import numbers_text
from roofline_lab.scoring.published import NotReproducible, ReproducedCell
from roofline_lab.scoring.scores import ErrorRow, Scores
from roofline_lab.vocabulary import FAMILY_LABELS, PURPOSE_LABELS, Metric, Reproduction

# What arms have in common unless a hypothesis varies it, by the option that would.
CONTROLLED = {
    "model": "model",
    "workload": "method.workload.lengths",
    "arrivals": "method.workload.arrivals",
    "server settings": "engine",
}


def render_report(project: Project, report: Report) -> dict[str, str]:
    """Return every file of a report folder, name to text; provenance is added by the caller.

    Raises
    ------
    ConfigError
        If a text asks for a number that is not there.
    """
    context = _context(project, report)
    files = {"numbers.csv": numbers_text(report.numbers)}
    files[VERDICT_FILE] = verdict_text(
        (method.method.id, method.verdict, method.scores.unscored()) for method in report.methods
    )
    for metric in report.spec.metrics:
        scores = {method.method.title: method.scores for method in report.methods}
        files |= error_figures(metric, report.spec.shown_arms, scores)
    files |= {analysis.figure_name: analysis.figure for analysis in report.analyses}
    if report.published is not None:
        page = {"cells": tables.reproduction_cells(report.comparisons), "source": report.published.source}
        page["summary"] = tables.reproduction_summary(report.comparisons)
        files["reproduction.md"] = render("reproduction.md.j2", {"spec": report.spec, **page})
    source = f"hypotheses/{report.spec.id}"
    values = {"v": report.values}
    files |= expectation_files(report.spec, lambda text, where: render_text(text, values, f"{source}/{where}"))
    files["FINDINGS.md"] = render("findings.md.j2", context)
    return files


def report_files(project: Project, hypothesis: str) -> list[str]:
    """Return the names of all files a report of this hypothesis has, FINDINGS.md last."""
    spec = project.hypotheses[hypothesis]
    names = ["numbers.csv", VERDICT_FILE, "provenance.json", *expectation_names(spec)]
    for metric in spec.metrics:
        names += [f"figures/{metric.value}_predicted_vs_measured.svg", f"figures/{metric.value}_signed_errors.svg"]
    names += analysis_figures(project, spec)
    if (project.root / "hypotheses" / hypothesis / "published").is_dir():
        names.append("reproduction.md")
    return [*names, "FINDINGS.md"]


def _context(project: Project, report: Report) -> dict[str, Any]:
    spec = report.spec
    source = f"hypotheses/{spec.id}"
    values = {"v": report.values}

    def text(template: str, where: str) -> str:
        return render_text(template, values, f"{source}/{where}")

    sections = project.discussions[spec.id]
    return {
        "spec": spec,
        "headline": report.headline,
        "reports": report.methods,
        "status_reasons": [
            f"{method.method.title}: **{method.verdict.status}**, because {method.verdict.reason}"
            for method in report.methods
        ],
        "method_lines": [_method_line(method) for method in report.methods],
        "family": FAMILY_LABELS[spec.family],
        "purpose": PURPOSE_LABELS[spec.vvuq],
        "controlled": [words for words, options in CONTROLLED.items() if not _varies(spec, options)],
        "type": spec.type.value.replace("-", " ").capitalize(),
        "metrics": spec.metrics,
        "reference": spec.reference_arm,
        "bold_above_pp": project.settings.bold_above_pp,
        "summary_table": _summary(report),
        "diff_table": difference_table(report.headline.arms),
        "overhead_table": _overheads(project, report),
        "experiments": report.experiments,
        "report_extra": _extra(project, report),
        "experiment_table": _experiment_table(report),
        "criteria_statements": [_statement(criterion) for criterion in report.headline.verdict.criteria],
        "design_table": design_table(report.spec, preconditions(report), seeds_in_words(report, project.settings)),
        "audit_table": audit_table(report),
        "tables": tables,
        "scope": scope_of(project, report),
        "analyses": report.analyses,
        "changes": _changes_text(report) if len(report.methods) > 1 else "",
        "reproduction": _reproduction(project, report),
        "discussion": {name: text(body, f"discussion.md: {name}") for name, body in sections.items()},
        "findings_table": findings_table(spec, text),
        "evidence_table": evidence_table(spec, text),
    }


def _varies(spec: Hypothesis, options: str) -> bool:
    return any(f"{name}.".startswith(f"{options}.") or options.startswith(f"{name}.") for name in spec.varied)


def _extra(project: Project, report: Report) -> dict[str, Any]:
    extra = report.spec.extra_experiments
    summary = "" if extra is None else project.methods[extra.method].summary.strip()
    return {"section": report.extra_section, "experiments": report.extra_experiments, "summary": summary}


def _method_line(method: MethodReport) -> str:
    return (
        f"**{method.method.title}** (`configs/methods/{method.method.id}.yaml`): {method.method.summary.strip()} "
        f"Metric definitions, predicted / measured: {method.definitions}. Kernels: {method.kernels}."
    )


def _statement(outcome: Any) -> str:
    return f"{outcome.statement}{' (decisive)' if outcome.decisive else ''} — `{outcome.id}`"


def _summary(report: Report) -> str:
    """One line per method: status, overall errors and gains; over the test experiments where there is a split."""
    reference, *others = report.spec.shown_arms
    header = ["Method", "Status"]
    for metric in report.spec.metrics:
        header.append(f"{metric.label} {reference}")
        for arm in others:
            header += [f"{metric.label} {arm}", "gain"]
    rows = []
    for method in report.methods:
        cells = [method.method.title, method.verdict.status.value]
        for metric in report.spec.metrics:
            cells.append(pct(method.judging.mape(reference, metric)))
            for arm in others:
                gain = tables.overall_gain(method.judging, metric, arm, reference)
                cells += [pct(method.judging.mape(arm, metric)), pp(gain, bold_above=method.tables.bold_above_pp)]
        rows.append(cells)
    return table(header, rows, left=2)


def _overheads(project: Project, report: Report) -> str:
    if not any(name.split(".")[0] == OPTION for name in report.spec.varied):
        return ""
    return overhead_table(project, report.experiments, report.headline.arms)


def _experiment_table(report: Report) -> str:
    rows = [
        [
            experiment.id,
            f"`{experiment.model}`",
            str(experiment.tensor_parallel),
            experiment.workload.name,
            str(point.requests.completed),
            point.id,
        ]
        for experiment in report.experiments
        for point in experiment.load_points
    ]
    return table(["Experiment", "Model", "TP", "Workload", "Requests", "Load point"], rows, left=2)


def _changes_text(report: Report) -> str:
    first, last = report.methods[0].method.title, report.methods[-1].method.title
    found = changes(report)
    lines = [f"From the method *{first}* to the method *{last}*:", ""]
    lines += [f"- {sentence}" for sentence in found["status"]]
    lines += [f"- Conclusion that changes: {sentence}" for sentence in found["criteria"]]
    lines += [f"- Conclusion that stays: {sentence}" for sentence in found["same"]]
    lines.append(
        f"- Errors that change sign (too fast under one method, too slow under the other): {len(found['signs'])}"
    )
    lines += [f"  - {sentence}" for sentence in found["signs"]]
    return "\n".join(lines)


def _not_reproducible(group: NotReproducible) -> str:
    where = f"every {group.scope.value.replace('_', ' ')}" if group.key == "*" else f"`{group.key}`"
    return f"{where}{f' of table {group.table}' if group.table else ''}: {group.reason}"


def _reproduction(project: Project, report: Report) -> dict[str, Any] | None:
    if report.published is None:
        return None
    tolerance = project.settings.reproduction.tolerance
    missed = [comparison for comparison in report.comparisons if comparison.verdict is Reproduction.NOT_REPRODUCED]
    return {
        "source": report.published.source,
        "summary": tables.reproduction_summary(report.comparisons),
        "tolerance": f"{tolerance.ms:g} ms, {tolerance.pct:g} % or {tolerance.pp:g} pp",
        "reasons": [_not_reproducible(item) for item in report.published.source.not_reproducible],
        "missed": [_missed(comparison) for comparison in missed],
    }


def _missed(comparison: ReproducedCell) -> str:
    cell = comparison.cell
    regenerated = "nothing" if comparison.regenerated is None else f"{comparison.regenerated:.{cell.decimals + 1}f}"
    label = cell.metric.label if isinstance(cell.metric, Metric) else cell.metric
    what = f"`{cell.key}`, {cell.arm}, {label}, {cell.statistic.value}"
    return (
        f"{what}: published {cell.value:.{cell.decimals}f} {cell.unit}, regenerated {regenerated} ({comparison.reason})"
    )


def error_figures(metric: Metric, arms: Sequence[str], methods: Mapping[str, Scores]) -> dict[str, str]:
    """Draw predicted against measured means and signed errors, one panel per method; returns file name to SVG."""
    rows = {title: [row for arm in arms for row in scores.select(arm, metric)] for title, scores in methods.items()}
    names = list(dict.fromkeys(_bar_name(row) for own in rows.values() for row in own))
    workloads = sorted({row.workload for scores in methods.values() for row in scores.rows})
    label = metric.label
    points = [
        Panel(title, f"measured mean {label} [ms]", _points(own, arms, workloads), f"predicted mean {label} [ms]")
        for title, own in rows.items()
    ]
    words = f"signed error of mean {label} [%]\n(negative: predicted too fast)"
    errors = [Panel(title, words, _errors(own, arms, names)) for title, own in rows.items()]
    return {
        f"figures/{metric.value}_predicted_vs_measured.svg": scatter(points, "predicted = measured", room=1.6),
        f"figures/{metric.value}_signed_errors.svg": bars(errors, names),
    }


def _points(rows: Sequence[ErrorRow], arms: Sequence[str], workloads: Sequence[str]) -> tuple[Series, ...]:
    """Return one series per arm (its filling) and workload (its marker)."""
    return tuple(
        Series(
            f"{arm}, {workload}",
            tuple(
                (row.measured or 0.0, row.predicted or 0.0)
                for row in rows
                if (row.arm, row.workload) == (arm, workload)
            ),
            marker,
            fill,
        )
        for fill, arm in enumerate(arms)
        for marker, workload in enumerate(workloads[: len(MARKERS)])
    )


def _errors(rows: Sequence[ErrorRow], arms: Sequence[str], names: Sequence[str]) -> tuple[Series, ...]:
    found = {arm: [row for row in rows if row.arm == arm] for arm in arms}
    return tuple(
        Series(arm, tuple((row.signed_error_pct, float(names.index(_bar_name(row)))) for row in found[arm]), fill=place)
        for place, arm in enumerate(arms)
    )


def _bar_name(row: ErrorRow) -> str:
    """Name a bar: replayed load points one by one, as an experiment has several."""
    return f"{row.experiment}, {row.load_point}" if row.strategy else row.experiment
