"""Design rules and physical checks of a synthetic report, evaluated, not asserted."""

from __future__ import annotations

from roofline_lab.formatting import table
from roofline_lab.hypotheses.synthetic.points import points
from roofline_lab.project import Project
from roofline_lab.report.synthetic.report import KernelReport, RowReport

# Whole microseconds and float sums may put a step this far above a peak it exactly reaches.
PEAK_SLACK = 1e-6


def design_table(project: Project, report: RowReport) -> str:
    """Return rules ED-1 to ED-6 with what was done about each."""
    spec = report.spec
    count = sum(len(points(sweep)) for sweep in spec.sweeps)
    references = ", ".join(f"`{reference}`" for reference in spec.references) or "no earlier hypothesis is referenced"
    rows = [
        [
            "ED-1",
            "one dimension varies",
            f"checked before the run: arms differ only in {', '.join(f'`{name}`' for name in spec.varied)}",
        ],
        ["ED-2", "a regime where the effect vanishes", spec.vanishing or "none declared"],
        [
            "ED-3",
            "preconditions",
            f"checked before the run: every one of {count} points gives a valid batch or question; models, GPU and "
            "every name in a formula are known",
        ],
        ["ED-4", "seeds", "nothing is drawn at random"],
        ["ED-5", "reproducible", "one command; content hashes of every input in provenance.json"],
        ["ED-6", "difference to the referenced experiment", references],
    ]
    return table(["Rule", "Asks for", "Here"], rows, left=3)


def audit_table(report: RowReport) -> str:
    """Return what was checked on the finished rows, one line per kernels and check."""
    rows = [row for method in report.methods for row in _kernel_audit(method)]
    return table(["Kernels", "Check", "Result", "Observed"], rows, left=4)


def _kernel_audit(kernel_report: KernelReport) -> list[list[str]]:
    rows = kernel_report.table.rows
    priced = len(rows) - len(kernel_report.table.unmeasured())
    found = [
        [kernel_report.title, "every point has its numbers", _yes(priced == len(rows)), f"{priced} of {len(rows)}"]
    ]
    for name, label in (("flops", "FLOP rate"), ("bytes", "byte rate")):
        if name in kernel_report.peak_shares:
            share, where = kernel_report.peak_shares[name]
            observed = f"{share * 100:.1f} % of the peak ({where})"
            holds = _yes(share <= 1 + PEAK_SLACK)
            found.append([kernel_report.title, f"no step implies a {label} above the GPU's peak", holds, observed])
    return found


def _yes(holds: bool) -> str:
    return "holds" if holds else "**violated**"
