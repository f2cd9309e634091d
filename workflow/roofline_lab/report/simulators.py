"""What a page says where several simulators predict: who they are, what each of them covers, and what is missing why.

Every function returns markdown, empty where our simulator alone predicts. A mean is over what an arm predicts, with how
many of those asked behind it; arms are compared over what all of them predict as well, because an arm that answers
easy questions alone would look best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roofline_lab.formatting import MISSING, pct, pp, signed_pct, table
from roofline_lab.report.results import MethodReport, Report, several_simulators, versions_of
from roofline_lab.report.tables import overall_gain
from roofline_lab.run_files import Row
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.scores import ErrorRow, Scores
from roofline_lab.scoring.statistics import median
from roofline_lab.simulators.description import CommandSimulator, Simulator
from roofline_lab.simulators.recording import FOLDER
from roofline_lab.vocabulary import Metric


def simulator_table(report: Report) -> str:
    """Return who predicts for which arm, in which version and from where."""
    arms = report.headline.arms
    if not several_simulators(arms):
        return ""
    versions = versions_of(report)
    lines = [
        [
            arm.name,
            arm.simulator.title,
            ", ".join(versions.get(arm.simulator.name, ())) or MISSING,
            _answers(arm.simulator),
            "as a client sees it" if arm.simulator.side == "client" else "of the server",
            arm.simulator.source or MISSING,
        ]
        for arm in arms
    ]
    return table(["Arm", "Simulator", "Version", "Predictions", "Time", "Source"], lines, left=6)


def _answers(simulator: Simulator) -> str:
    if simulator.is_ours:
        return "made for this page"
    if isinstance(simulator.described, CommandSimulator):
        return f"recorded answers, `{(FOLDER / simulator.name).as_posix()}.jsonl`"
    return f"table `{simulator.table_file}`"


def shared_summary(report: Report, bold_above_pp: float) -> str:
    """Return the mean errors of every arm over the load points at which all of them predict the metric, by method.

    Arms that predict none of them have no error here.
    """
    if not several_simulators(report.headline.arms):
        return ""
    reference, *others = report.spec.arms
    lines = []
    for method in report.methods:
        shared = method.judging.shared(report.spec.arms)
        for metric in report.spec.metrics:
            cells = [pct(shared.mape(reference, metric))]
            for arm in others:
                gain = overall_gain(shared, metric, arm, reference)
                cells += [pct(shared.mape(arm, metric)), pp(gain, bold_above=bold_above_pp)]
            points = max(len(shared.select(arm, metric)) for arm in report.spec.arms)
            lines.append([method.title, metric.label, str(points), *cells])
    header = [cell for arm in others for cell in (arm, "gain")]
    return table(["Method", "Metric", "load points", reference, *header], lines, left=2)


def coverage_table(method: MethodReport) -> str:
    """Return for every arm and metric of how many load points asked it is predicted, the errors, and what it took."""
    if not several_simulators(method.arms):
        return ""
    lines = []
    for arm in method.arms:
        for metric in method.spec.metrics:
            known = method.judging.select(arm.name, metric)
            coverage = method.judging.coverage(arm.name, metric)
            signed = signed_pct(mean([row.signed_error_pct for row in known])) if known else MISSING
            error = pct(method.judging.mape(arm.name, metric))
            lines.append([arm.name, metric.label, str(coverage), error, signed, _seconds(method.rows, arm.name)])
    header = ["Arm", "Metric", "predicted of asked", "error", "signed error", "seconds per load point"]
    return table(header, lines, left=2)


def _seconds(rows: Sequence[Row], arm: str) -> str:
    """Return the median time an answer took, where it was taken."""
    known = [row["seconds"] for row in rows if row["arm"] == arm and row.get("seconds") is not None]
    return f"{median(known):.2g}" if known else MISSING


def missing_table(scores: Scores, names: Mapping[str, str]) -> str:
    """Return what has no number and why: as many rows as there are reasons, each with its first load point.

    Parameters
    ----------
    names
        What readers call the experiments.
    """
    found: dict[tuple[str, ...], list[ErrorRow]] = {}
    for row in scores.unscored():
        found.setdefault((row.arm, Metric(row.metric).label, row.status.value, row.reason), []).append(row)
    metrics: dict[tuple[str, ...], list[str]] = {}
    for (arm, metric, *why), rows in found.items():
        first = f"{names[rows[0].experiment]}, {rows[0].load_point}"
        metrics.setdefault((arm, *why, str(len(rows)), first), []).append(metric)
    lines = [[arm, ", ".join(those), *rest] for (arm, *rest), those in metrics.items()]
    return table(["Arm", "Metric", "Status", "Reason", "Load points", "First"], lines, left=4) if lines else ""
