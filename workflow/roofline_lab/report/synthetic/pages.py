"""Rendering a synthetic findings page: a `RowReport` and the author's texts become markdown and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roofline_lab.formatting import quantity, table
from roofline_lab.hypotheses.criteria import CriterionOutcome
from roofline_lab.hypotheses.expectations import expectation_files, expectation_names
from roofline_lab.hypotheses.synthetic.points import points
from roofline_lab.hypotheses.synthetic.resolve import MEASURED, hardware_of
from roofline_lab.hypotheses.verdict_file import VERDICT_FILE, verdict_text
from roofline_lab.project import Project
from roofline_lab.rendering import render, render_text
from roofline_lab.report import tables
from roofline_lab.report.claim_tables import difference_table, evidence_table, findings_table
from roofline_lab.report.synthetic.audit import audit_table, design_table
from roofline_lab.report.synthetic.layout import (
    columns_table,
    reproduction_cells,
    row_tables,
    summary_table,
    sweeps_table,
    unmeasured_table,
)
from roofline_lab.report.synthetic.numbers import numbers_text
from roofline_lab.report.synthetic.plots import draw
from roofline_lab.report.synthetic.report import KernelReport, RowReport
from roofline_lab.vocabulary import FAMILY_LABELS, PURPOSE_LABELS, Reproduction

PAGE = "FINDINGS.md"


def render_row_report(project: Project, report: RowReport) -> dict[str, str]:
    """Return every file of a report folder, name to text; provenance is added by the caller.

    Raises
    ------
    ConfigError
        If a text asks for a number that is not there.
    """
    files = {"numbers.csv": numbers_text(report.numbers)}
    files[VERDICT_FILE] = verdict_text((one.method, one.verdict, ()) for one in report.methods)
    for figure in report.spec.figures:
        files[f"figures/{figure.id}.svg"] = draw(figure, report.spec, report.headline.table)
    if report.published is not None:
        page = {"cells": reproduction_cells(report.comparisons), "source": report.published.source}
        page["summary"] = tables.reproduction_summary(report.comparisons)
        files["reproduction.md"] = render("reproduction.md.j2", {"spec": report.spec, **page})
    source = f"hypotheses/{report.spec.id}"
    values = {"v": report.values}
    files |= expectation_files(report.spec, lambda text, where: render_text(text, values, f"{source}/{where}"))
    files[PAGE] = render("synthetic.md.j2", _context(project, report))
    return files


def row_report_files(project: Project, hypothesis: str) -> list[str]:
    """Return the names of all files a report of this hypothesis has, FINDINGS.md last."""
    spec = project.synthetic[hypothesis]
    names = ["numbers.csv", VERDICT_FILE, "provenance.json", *expectation_names(spec)]
    names += [f"figures/{one.id}.svg" for one in spec.figures]
    if project.published[hypothesis] is not None:
        names.append("reproduction.md")
    return [*names, PAGE]


def _context(project: Project, report: RowReport) -> dict[str, Any]:
    spec = report.spec
    values = {"v": report.values}

    def text(template: str, where: str) -> str:
        return render_text(template, values, f"hypotheses/{spec.id}/{where}")

    sections = project.discussions[spec.id]
    return {
        "spec": spec,
        "headline": report.headline,
        "reports": [_results(report, one) for one in report.methods],
        "on_measured_tables": report.headline.method == MEASURED,
        "verdict_table": _verdict_table(report),
        "status_reasons": [
            f"{one.title}: **{one.verdict.status}**, because {one.verdict.reason}" for one in report.methods
        ],
        "family": FAMILY_LABELS[spec.family],
        "purpose": PURPOSE_LABELS[spec.vvuq],
        "type": spec.type.value.replace("-", " ").capitalize(),
        "diff_table": difference_table(report.headline.arms),
        "kernel_lines": [f"**{one.title}**: {one.kernels}" for one in report.methods],
        "setup": _setup(project, report),
        "sweeps_table": sweeps_table(spec),
        "columns_table": columns_table(spec),
        "point_count": sum(len(points(sweep)) for sweep in spec.sweeps),
        "criteria_statements": [
            f"{one.statement}{' (decisive)' if one.decisive else ''} — `{one.id}`"
            for one in report.headline.verdict.criteria
        ],
        "design_table": design_table(project, report),
        "audit_table": audit_table(report),
        "changes": _changes(report),
        "reproduction": _reproduction(report),
        "figures": spec.figures,
        "discussion": {name: text(body, f"discussion.md: {name}") for name, body in sections.items()},
        "findings_table": findings_table(spec, text),
        "evidence_table": evidence_table(spec, text),
    }


def _results(report: RowReport, one: KernelReport) -> dict[str, Any]:
    """Return what one choice of kernels found, ready to print."""
    return {
        "title": one.title,
        "summary_table": summary_table(report.spec, one.table),
        "row_tables": row_tables(report.spec, one.table),
        "hidden": [sweep.title for sweep in report.spec.sweeps if not sweep.rows],
        "criteria_table": tables.criteria(one.verdict),
        "unmeasured": unmeasured_table(one.table),
    }


def _verdict_table(report: RowReport) -> str:
    """Return one line per choice of kernels: status, and what each criterion observed."""
    header = ["Kernels", "Status", *(f"`{one.id}`" for one in report.spec.criteria)]
    rows = [
        [
            one.title,
            one.verdict.status.value,
            *(f"{outcome.result} ({quantity(outcome.observed, outcome.unit)})" for outcome in one.verdict.criteria),
        ]
        for one in report.methods
    ]
    return table(header, rows, left=2)


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
    for before, after in zip(_outcomes(first), _outcomes(last), strict=True):
        seen = [f"{one.result} ({quantity(one.observed, one.unit)})" for one in (before, after)]
        stays = "stays" if before.result is after.result else "changes"
        sentences.append(
            f"`{before.id}` {stays}: {seen[0]} on {first.title.lower()}, {seen[1]} on {last.title.lower()}"
        )
    return sentences


def _outcomes(one: KernelReport) -> Sequence[CriterionOutcome]:
    return [*one.verdict.criteria, *one.verdict.controls]


def _reproduction(report: RowReport) -> dict[str, Any] | None:
    if report.published is None:
        return None
    missed = [one for one in report.comparisons if one.verdict is not Reproduction.REPRODUCED]
    return {
        "source": report.published.source,
        "summary": tables.reproduction_summary(report.comparisons),
        "reasons": list(dict.fromkeys(one.reason for one in missed if one.reason.startswith("published"))),
        "groups": [f"`{one.key}`: {one.reason}" for one in report.published.source.not_reproducible],
    }
