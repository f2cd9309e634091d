"""Design rules and physical checks of one report, evaluated, not asserted.

Design rules follow the ED list of the upstream experiment standards; what a machine can check is
checked here or was checked before the run, and the table says which.
"""

from __future__ import annotations

from roofline_lab.formatting import table
from roofline_lab.project import Project
from roofline_lab.report.findings import MethodReport, Report
from roofline_lab.report.scope import seeds_in_words
from roofline_lab.vocabulary import RowStatus

# Whole microseconds and float sums may put a step this far above a peak it exactly reaches.
PEAK_SLACK = 1e-6


def design_table(project: Project, report: Report) -> str:
    """Return rules ED-1 to ED-6 with what was done about each."""
    spec = report.spec
    references = ", ".join(f"`{reference}`" for reference in spec.references) or "no earlier hypothesis is referenced"
    rows = [
        [
            "ED-1",
            "one dimension varies",
            f"checked before the run: arms differ only in {', '.join(f'`{v}`' for v in spec.varied)}",
        ],
        ["ED-2", "a regime where the effect vanishes", spec.vanishing or "none declared"],
        ["ED-3", "preconditions", _preconditions(report)],
        [
            "ED-4",
            "seeds",
            seeds_in_words(report, project.settings),
        ],
        ["ED-5", "reproducible", "one command; content hashes of every input in provenance.json"],
        ["ED-6", "difference to the referenced experiment", references],
    ]
    return table(["Rule", "Asks for", "Here"], rows, left=3)


def audit_table(report: Report) -> str:
    """Return what was checked on the finished runs, one line per method and check."""
    rows = [row for method in report.methods for row in _method_audit(method)]
    return table(["Method", "Check", "Result", "Observed"], rows, left=4)


def _preconditions(report: Report) -> str:
    points = sum(len(experiment.load_points) for experiment in report.experiments)
    return (
        f"checked before the run: {len(report.experiments)} experiments with {points} load points have a source, "
        "plausible units and consistent means; their models and GPUs are described; every option is known"
    )


def _method_audit(method: MethodReport) -> list[list[str]]:
    title = method.method.title
    scored = [row for row in method.rows if row["status"] == RowStatus.OK]
    lines = [
        [
            title,
            "every run of the matrix has a number",
            _yes(len(scored) == len(method.rows)),
            f"{len(scored)} of {len(method.rows)}",
        ]
    ]
    scored = [row for row in scored if "peak_shares" in row]
    for kind, label in (("flops", "FLOP rate"), ("bytes", "byte rate")):
        if not scored:
            continue
        worst = max(scored, key=lambda row: (row["peak_shares"][kind], row["experiment"], row["arm"]))
        share = worst["peak_shares"][kind]
        where = f"{share * 100:.1f} % of the peak ({worst['experiment']}, {worst['arm']})"
        lines.append([title, f"no step implies a {label} above the GPU's peak", _yes(share <= 1 + PEAK_SLACK), where])
    return lines


def _yes(holds: bool) -> str:
    return "holds" if holds else "**violated**"
