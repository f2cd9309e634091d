"""Physical checks of one report, evaluated, not asserted."""

from __future__ import annotations

from roofline_lab.formatting import table
from roofline_lab.report.claim_tables import RATES, check_line, peak_line
from roofline_lab.report.findings import MethodReport, Report
from roofline_lab.vocabulary import RowStatus


def preconditions(report: Report) -> str:
    """Return what was checked about experiments, models and options before anything ran."""
    points = sum(len(experiment.load_points) for experiment in report.experiments)
    return (
        f"{len(report.experiments)} experiments with {points} load points have a source, "
        "plausible units and consistent means; their models and GPUs are described; every option is known"
    )


def audit_table(report: Report) -> str:
    """Return what was checked on the finished runs, one line per method and check."""
    rows = [row for method in report.methods for row in _method_audit(method)]
    return table(["Method", "Check", "Result", "Observed"], rows, left=4)


def _method_audit(report: MethodReport) -> list[list[str]]:
    title = report.method.title
    done = [row for row in report.rows if row["status"] == RowStatus.OK]
    complete, observed = len(done) == len(report.rows), f"{len(done)} of {len(report.rows)}"
    lines = [check_line(title, "every run of the matrix has a number", complete, observed)]
    priced = [row for row in done if "peak_shares" in row]
    for rate in RATES if priced else ():
        worst = max(priced, key=lambda row: (row["peak_shares"][rate], row["experiment"], row["arm"]))
        lines.append(peak_line(title, rate, worst["peak_shares"][rate], f"{worst['experiment']}, {worst['arm']}"))
    return lines
