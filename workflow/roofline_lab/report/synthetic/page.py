"""A synthetic findings page: a `RowReport` and the author's texts become markdown, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roofline_lab.formatting import MISSING, table
from roofline_lab.hypotheses.expectations import expectation_files, expectation_names
from roofline_lab.hypotheses.synthetic.resolve import MEASURED, columns_of, hardware_of
from roofline_lab.hypotheses.synthetic.rows import RowTable, summarise, sweeps_of
from roofline_lab.hypotheses.synthetic.spec import Axis, KernelQuestion, Range, Sweep, SyntheticHypothesis, points
from roofline_lab.hypotheses.verdict import VERDICT_FILE, verdict_text
from roofline_lab.project import Project
from roofline_lab.rendering import render, render_text
from roofline_lab.report import tables
from roofline_lab.report.design import (
    RATES,
    check_line,
    design_table,
    difference_table,
    evidence_table,
    findings_table,
    peak_line,
)
from roofline_lab.report.synthetic.plots import draw
from roofline_lab.report.synthetic.report import KernelReport, RowReport
from roofline_lab.scoring.numbers import numbers_text
from roofline_lab.scoring.published import ReproducedCell
from roofline_lab.vocabulary import FAMILY_LABELS, PURPOSE_LABELS, Reproduction

PAGE = "FINDINGS.md"
# Microseconds; a float this near a whole number is one.
WHOLE = 1e-6
# Below every printed digit; also keeps a minus sign away from zero.
NOTHING = 5e-5
UNIT_LABELS = {"us": "us", "pct": "%", "gflop": "GFLOP", "gb": "GB"}


def render_row_report(project: Project, report: RowReport) -> dict[str, str]:
    """Return every file of a report folder, name to text; provenance is added by the caller.

    Raises
    ------
    ConfigError
        If a text asks for a number that is not there.
    """
    files = {"numbers.csv": numbers_text(report.numbers)}
    files[VERDICT_FILE] = verdict_text((method.method, method.verdict, ()) for method in report.methods)
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
    names += [f"figures/{figure.id}.svg" for figure in spec.figures]
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
        "reports": [_results(report, method) for method in report.methods],
        "on_measured_tables": report.headline.method == MEASURED,
        "verdict_table": _verdict_table(report),
        "status_reasons": [
            f"{method.title}: **{method.verdict.status}**, because {method.verdict.reason}" for method in report.methods
        ],
        "family": FAMILY_LABELS[spec.family],
        "purpose": PURPOSE_LABELS[spec.vvuq],
        "type": spec.type.value.replace("-", " ").capitalize(),
        "diff_table": difference_table(report.headline.arms),
        "kernel_lines": [f"**{method.title}**: {method.kernels}" for method in report.methods],
        "setup": _setup(project, report),
        "sweeps_table": sweeps_table(spec),
        "columns_table": columns_table(spec),
        "point_count": sum(len(points(sweep)) for sweep in spec.sweeps),
        "criteria_statements": [
            f"{outcome.statement}{' (decisive)' if outcome.decisive else ''} — `{outcome.id}`"
            for outcome in report.headline.verdict.criteria
        ],
        "design_table": design_table(spec, _preconditions(spec), "nothing is drawn at random"),
        "audit_table": audit_table(report),
        "changes": _changes(report),
        "reproduction": _reproduction(report),
        "figures": spec.figures,
        "discussion": {name: text(body, f"discussion.md: {name}") for name, body in sections.items()},
        "findings_table": findings_table(spec, text),
        "evidence_table": evidence_table(spec, text),
    }


def _results(report: RowReport, method: KernelReport) -> dict[str, Any]:
    """Return what one choice of kernels found, ready to print."""
    return {
        "title": method.title,
        "summary_table": summary_table(report.spec, method.table),
        "row_tables": row_tables(report.spec, method.table),
        "hidden": [sweep.title for sweep in report.spec.sweeps if not sweep.rows],
        "criteria_table": tables.criteria(method.verdict),
        "unmeasured": unmeasured_table(method.table),
    }


def _verdict_table(report: RowReport) -> str:
    """Return one line per choice of kernels: status, and what each criterion observed."""
    header = ["Kernels", "Status", *(f"`{criterion.id}`" for criterion in report.spec.criteria)]
    rows = [
        [method.title, method.verdict.status.value, *(str(outcome) for outcome in method.verdict.criteria)]
        for method in report.methods
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
        "summary": tables.reproduction_summary(report.comparisons),
        "reasons": list(dict.fromkeys(cell.reason for cell in missed if cell.reason.startswith("published"))),
        "groups": [f"`{group.key}`: {group.reason}" for group in report.published.source.not_reproducible],
    }


def _preconditions(spec: SyntheticHypothesis) -> str:
    count = sum(len(points(sweep)) for sweep in spec.sweeps)
    known = "models, GPU and every name in a formula are known"
    return f"every one of {count} points gives a valid batch or question; {known}"


# --- tables -----------------------------------------------------------------------------------


def audit_table(report: RowReport) -> str:
    """Return what was checked on the finished rows, one line per kernels and check."""
    rows = [row for method in report.methods for row in _kernel_audit(method)]
    return table(["Kernels", "Check", "Result", "Observed"], rows, left=4)


def _kernel_audit(report: KernelReport) -> list[list[str]]:
    rows = report.table.rows
    priced = len(rows) - len(report.table.unmeasured())
    complete = check_line(report.title, "every point has its numbers", priced == len(rows), f"{priced} of {len(rows)}")
    rates = [rate for rate in RATES if rate in report.peak_shares]
    return [complete, *(peak_line(report.title, rate, *report.peak_shares[rate]) for rate in rates)]


def number(value: float | None, unit: str) -> str:
    """Format a number whose unit stands in the head of its column."""
    if value is None:
        return MISSING
    if unit == "flag":
        return "yes" if value else "no"
    if abs(value) < NOTHING:
        value = 0.0
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "us":
        return f"{value:,.0f}" if abs(value - round(value)) < WHOLE else f"{value:,.1f}"
    return {"pct": f"{value:.2f}", "ratio": f"{value:.4f}", "mfu": f"{value:.4f}"}.get(unit, f"{value:,.4g}")


def sweeps_table(spec: SyntheticHypothesis) -> str:
    """Return what is generated: sweep, points, axes and what is priced at each."""
    rows = [
        [f"`{sweep.id}`", sweep.title, str(len(points(sweep))), _axes(sweep), _priced(sweep)] for sweep in spec.sweeps
    ]
    return table(["Sweep", "What", "Points", "Axes", "Evaluated at each point"], rows, left=2)


def columns_table(spec: SyntheticHypothesis) -> str:
    """Return every column with its unit and formula."""
    rows = [
        [f"`{column.id}`", column.label, UNIT_LABELS.get(column.unit, column.unit), f"`{column.value}`"]
        for column in spec.columns
    ]
    return table(["Column", "What", "Unit", "Formula"], rows, left=4)


def summary_table(spec: SyntheticHypothesis, rows: RowTable) -> str:
    """Return every summary, sweep by sweep and over all of them; empty without summaries."""
    if not spec.summaries:
        return ""
    header = ["Sweep"]
    units = []
    for summary in spec.summaries:
        unit = summary.unit(spec.column(summary.column).unit)
        units.append(unit)
        header.append(f"{summary.label} [{UNIT_LABELS[unit]}]" if unit in UNIT_LABELS else summary.label)
    places = {summary.id: sweeps_of(summary, rows) for summary in spec.summaries}
    lines = [
        [
            f"`{sweep.id}`",
            *(
                number(summarise(summary, rows, sweep.id) if sweep.id in places[summary.id] else None, unit)
                for summary, unit in zip(spec.summaries, units, strict=True)
            ),
        ]
        for sweep in spec.sweeps
        if any(sweep.id in found for found in places.values())
    ]
    total = [number(summarise(summary, rows), unit) for summary, unit in zip(spec.summaries, units, strict=True)]
    return table(header, [*lines, ["**all**", *total]])


def row_tables(spec: SyntheticHypothesis, rows: RowTable) -> list[tuple[str, str]]:
    """Return (title, table) of every sweep that shows its rows."""
    return [(sweep.title, _rows(spec, sweep, rows)) for sweep in spec.sweeps if sweep.rows]


def unmeasured_table(rows: RowTable) -> str:
    """Return the points an arm could not price, with the reason; empty if there are none."""
    lines = [[row.sweep, row.label, row.reason] for row in rows.unmeasured()]
    return table(["Sweep", "Point", "Reason"], lines, left=3) if lines else ""


def reproduction_cells(comparisons: Sequence[ReproducedCell]) -> str:
    """Return every published cell beside its regenerated value."""
    lines = []
    for comparison in comparisons:
        cell, digits = comparison.cell, comparison.cell.decimals + 1
        lines.append(
            [
                cell.table,
                cell.key,
                str(cell.metric),
                cell.statistic.value,
                f"{cell.value:.{cell.decimals}f}",
                MISSING if comparison.regenerated is None else f"{comparison.regenerated:.{digits}f}",
                MISSING if comparison.difference is None else f"{comparison.difference:+.{digits}f}",
                cell.unit,
                comparison.verdict.value + (f": {comparison.reason}" if comparison.reason else ""),
            ]
        )
    header = ["Table", "Key", "Number", "Statistic", "Published", "Regenerated", "Difference", "Unit", "Verdict"]
    return table(header, lines, left=4)


def _rows(spec: SyntheticHypothesis, sweep: Sweep, rows: RowTable) -> str:
    columns = columns_of(spec, sweep)
    header = ["Point"]
    for column in columns:
        unit = UNIT_LABELS.get(column.unit)
        header.append(f"{column.label} [{unit}]" if unit else column.label)
    lines = [
        [row.label, *(number(row.cells.get(column.id), column.unit) for column in columns)]
        for row in rows.of_sweep(sweep.id)
    ]
    return table(header, lines)


def _axes(sweep: Sweep) -> str:
    parts = [f"{name}: {_axis(axis)}" for name, axis in sweep.axes.items()]
    if sweep.cases:
        parts.append(f"{len(sweep.cases)} named cases")
    if sweep.where:
        parts.append(f"where {sweep.where}")
    return "; ".join(parts)


def _axis(axis: Axis) -> str:
    if isinstance(axis, Range):
        by = f"times {axis.factor}" if axis.factor else f"step {axis.step}"
        return f"{axis.start} to {axis.to}, {by}"
    return ", ".join(str(value) for value in axis)


def _priced(sweep: Sweep) -> str:
    if sweep.lookup is not None:
        return _question(sweep.lookup)
    parts = []
    for name, plan in sweep.batches.items():
        phases = [word for word, part in (("prefill", plan.prefill), ("decode", plan.decode)) if part]
        parts.append(f"batch `{name}` ({' and '.join(phases)})")
    return "; ".join(parts)


def _question(question: KernelQuestion) -> str:
    if question.gemm is not None:
        one = question.gemm
        return f"GEMM efficiency at m {one.m}, k {one.k}, n {one.n}"
    if question.prefill is not None:
        return f"prefill attention efficiency at {question.prefill.tokens} tokens"
    assert question.decode is not None
    return f"decode attention efficiency at batch {question.decode.batch}, KV {question.decode.kv}"
