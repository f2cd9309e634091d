"""The tables of a synthetic findings page: what was generated, what was worked out of it, and what was checked."""

from __future__ import annotations

from roofline_lab.formatting import MISSING, table
from roofline_lab.hypotheses.synthetic.resolve import columns_of
from roofline_lab.hypotheses.synthetic.rows import RowTable, summarise, sweeps_of
from roofline_lab.hypotheses.synthetic.spec import Axis, KernelQuestion, Range, Sweep, SyntheticHypothesis, points
from roofline_lab.report.design import RATES, check_line, peak_line
from roofline_lab.report.synthetic_results import KernelReport, RowReport

# Microseconds; a float this near a whole number is one.
WHOLE = 1e-6
# Below every printed digit; also keeps a minus sign away from zero.
NOTHING = 5e-5
UNIT_LABELS = {"us": "us", "pct": "%", "gflop": "GFLOP", "gb": "GB"}


def verdict_table(report: RowReport) -> str:
    """Return method line per choice of kernels: status, and what each criterion observed."""
    header = ["Kernels", "Status", *(f"`{criterion.id}`" for criterion in report.spec.criteria)]
    rows = [
        [method.title, method.verdict.status.value, *(str(outcome) for outcome in method.verdict.criteria)]
        for method in report.methods
    ]
    return table(header, rows, left=2)


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


def unmeasured_table(rows: RowTable) -> str:
    """Return the points an arm could not price, with the reason; empty if there are none."""
    lines = [[row.sweep, row.label, row.reason] for row in rows.unmeasured()]
    return table(["Sweep", "Point", "Reason"], lines, left=3) if lines else ""


def row_table(spec: SyntheticHypothesis, sweep: Sweep, rows: RowTable) -> str:
    """Return every point of one sweep, a column of the hypothesis each."""
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
        gemm = question.gemm
        return f"GEMM efficiency at m {gemm.m}, k {gemm.k}, n {gemm.n}"
    if question.prefill is not None:
        return f"prefill attention efficiency at {question.prefill.tokens} tokens"
    assert question.decode is not None
    return f"decode attention efficiency at batch {question.decode.batch}, KV {question.decode.kv}"
