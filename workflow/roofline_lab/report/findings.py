"""The findings page of a hypothesis on measurements: a `Report` and the author's texts become markdown and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from roofline_lab.formatting import counted, pct, pp, table
from roofline_lab.hypotheses.proportional import FEWEST_POINTS
from roofline_lab.hypotheses.spec import Hypothesis
from roofline_lab.hypotheses.verdict import verdict_text
from roofline_lab.project import Project
from roofline_lab.report import ladder_tables, residuals, searches, simulators, tables
from roofline_lab.report.cells import RunNames
from roofline_lab.report.design import (
    OPTION,
    audit_table,
    builds_on,
    design_table,
    overhead_note,
    overhead_table,
    preconditions,
    scope_of,
    seeds_in_words,
)
from roofline_lab.report.load import load_sections
from roofline_lab.report.page import context_of, file_names, page_files
from roofline_lab.report.plots import (
    SIGN,
    SIGN_OF_RATES,
    Panel,
    Series,
    bars,
    predicted_against_measured,
    scatter,
    signed_error_label,
)
from roofline_lab.report.results import MethodReport, Report, several_simulators
from roofline_lab.report.servers import Server, ServerMarkers
from roofline_lab.report.values import Values, values_of
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.published import NotReproducible, ReproducedCell
from roofline_lab.scoring.scores import ErrorRow, Scores
from roofline_lab.vocabulary import MEANS, Metric, Reproduction, RowStatus, Scope

# What arms have in common unless a hypothesis varies it, by the option that would.
CONTROLLED = {
    "model": "model",
    "workload": "method.workload.lengths",
    "arrivals": "method.workload.arrivals",
    "server settings": "engine",
}

# Panels of a scatter side by side.
MOST_COLUMNS = 3
# Errors that are shaded as small, percent either way.
CLOSE_PCT = 10.0
CLOSE = f"within {CLOSE_PCT:g} %"


def render_report(project: Project, report: Report) -> dict[str, str]:
    """Return every file of a report folder, name to text; provenance is added by the caller.

    Raises
    ------
    ConfigError
        If a text asks for a number that is not there.
    """
    scores = {method.title: method.scores for method in report.methods}
    figures: dict[str, str] = {}
    for metric in report.spec.metrics:
        figures |= error_figures(metric, report.spec.shown_arms, scores, report.names)
    if (asked := report.spec.capacity) and (answers := report.headline.answers):
        drawn = ladder_tables.capacity_figure(answers, tuple(report.spec.arms), asked.load)
        figures[ladder_tables.FIGURE] = drawn
    for analysis in report.analyses:
        of = f"{analysis.arm}, {analysis.method.title.lower()} method"
        drawn = residuals.residual_figure(analysis.residuals, tuple(analysis.ranked), of)
        figures[residuals.figure_name(analysis.extra)] = drawn
    verdict = verdict_text((method.method.id, method.verdict, method.scores.unscored()) for method in report.methods)
    values = values_of(report)
    return page_files(
        report, values, verdict, figures, ("details.md.j2", "findings.md.j2"), _context(project, report, values)
    )


def report_files(project: Project, hypothesis: str) -> list[str]:
    """Return the names of all files a report of this hypothesis has, FINDINGS.md last."""
    spec = project.hypotheses[hypothesis]
    errors = [name for metric in spec.metrics for name in _error_figure_names(metric)]
    capacity = [ladder_tables.FIGURE] if spec.capacity else []
    return file_names(project, spec, [*errors, *capacity, *residuals.analysis_figures(project, spec)])


def _context(project: Project, report: Report, values: Values) -> dict[str, Any]:
    spec, extra, arms = report.spec, report.spec.extra_experiments, report.headline.arms
    scope, names = scope_of(project, report), report.names
    error_tables = tables.Tables(
        spec.shown_arms, spec.metrics, project.settings.bold_above_pp, covered=several_simulators(arms)
    )
    return context_of(project, report, values) | {
        "residuals": residuals,
        "ladder_tables": ladder_tables,
        "searches": searches,
        "error_tables": error_tables,
        "group_tables": partial(group_tables, error_tables),
        "several_simulators": several_simulators(arms),
        "simulators": simulators,
        "simulator_table": simulators.simulator_table(report),
        "shared_summary": simulators.shared_summary(report, project.settings.bold_above_pp),
        "load_sections": load_sections,
        "method_lines": [_method_line(method) for method in report.methods],
        "method_titles": [f"**{method.title}** method: {method.method.summary.strip()}" for method in report.methods],
        "builds_on": builds_on(project, report),
        "data_line": f"- **Date of the data:** {scope.data_date}",
        "decided_by": f"{report.headline.title.lower()} method",
        "controlled": [words for words, options in CONTROLLED.items() if not _varies(spec, options)],
        "metrics": spec.metrics,
        "only_means": set(spec.metrics) <= set(MEANS),
        "compared_points": _compared(report.headline.judging),
        "reference": spec.reference_arm,
        "bold_above_pp": project.settings.bold_above_pp,
        "fewest_points": FEWEST_POINTS,
        "summary_table": _summary(report, project.settings.bold_above_pp),
        "overhead_table": _overheads(project, report),
        "overhead_note": overhead_note(report.headline.arms),
        "experiments": report.experiments,
        "extra_experiments": report.extra_experiments,
        "extra_section": _extra_section(report),
        "extra_summary": project.methods[extra.method].summary.strip() if extra else "",
        "experiment_table": _experiment_table(report, names),
        "design_table": design_table(spec, preconditions(report), seeds_in_words(report, project.settings)),
        "audit_table": audit_table(report, names),
        "names": names,
        "scope": scope,
        "trend_metric": _trend_metric(spec),
        "judged_metrics": {criterion.metric for criterion in spec.judged},
        "analyses": report.analyses,
        "changes": _changes_text(report) if len(report.methods) > 1 else "",
        "reproduction": _reproduction(project, report),
    }


def group_tables(layout: tables.Tables, scores: Scores) -> list[str]:
    """Return errors by every grouping that has several groups, GPUs first; by family where none has."""
    scopes = (Scope.HARDWARE, Scope.FAMILY, Scope.TP, Scope.WORKLOAD)
    told = [text for scope in scopes if (text := layout.aggregates(scores, scope, only_if_several=True))]
    return told or [layout.aggregates(scores, Scope.FAMILY)]


def _compared(scores: Scores) -> str:
    """Return how many experiments means are over, with their load points where these are more."""
    experiments = {row.experiment for row in scores.rows}
    points = {(row.experiment, row.load_point) for row in scores.rows if row.is_scored}
    told = counted(len(experiments), "experiment")
    return told if len(points) == len(experiments) else f"{counted(len(points), 'load point')} of {told}"


def _varies(spec: Hypothesis, options: str) -> bool:
    return any(f"{name}.".startswith(f"{options}.") or options.startswith(f"{name}.") for name in spec.varied)


def _extra_section(report: Report) -> str:
    """Return the tables of the runs that decide nothing; empty without any."""
    extra, scores = report.spec.extra_experiments, report.extra_scores
    if extra is None or scores is None:
        return ""
    uncertainty = report.headline.uncertainty
    return load_sections(report.extra_rows, scores, extra.arms, report.spec.metrics, uncertainty)


def _trend_metric(spec: Hypothesis) -> Metric:
    """Return the metric followed along TP: that of the first trend among the controls, else of the first criterion."""
    trends = [control for control in spec.controls if control.kind == "trend"] or list(spec.criteria)
    return trends[0].metric


def _method_line(method: MethodReport) -> str:
    known = {row["kernels"] for row in method.rows if row["status"] == RowStatus.OK and "kernels" in row}
    kernels = "; ".join(sorted(known)) or "none"
    return (
        f"**{method.title}** (`configs/methods/{method.method.id}.yaml`): {method.method.summary.strip()} "
        f"Metric definitions, predicted / measured: {_definitions(method)}. Kernels: {kernels}."
    )


def _definitions(method: MethodReport) -> str:
    """Return metric definitions on both sides, in words of the method."""
    words = "; ".join(
        f"{metric.label} `{definition.predicted}` / `{definition.measured}`"
        for metric, definition in method.method.definitions.items()
        if metric in method.spec.metrics
    )
    others = [metric.label for metric in method.spec.metrics if metric not in MEANS]
    words = "; ".join(filter(None, [words, f"{', '.join(others)} as measured on both sides" if others else ""]))
    varied = any(arm.rules and arm.rules.definitions != method.method.definitions for arm in method.arms)
    return f"{words}, where no arm varies them" if varied else words


def _summary(report: Report, bold_above_pp: float) -> str:
    """One line per method: status, overall errors and gains; over the test experiments where there is a split."""
    reference, *others = report.spec.shown_arms
    header = ["Method", "Status"]
    for metric in report.spec.metrics:
        header.append(f"{metric.label} {reference}")
        for arm in others:
            header += [f"{metric.label} {arm}", "gain"]
    rows = []
    for method in report.methods:
        cells = [method.title, method.verdict.status.value]
        several = several_simulators(method.arms)
        for metric in report.spec.metrics:
            cells.append(_error(method.judging, reference, metric, covered=several))
            for arm in others:
                gain = tables.overall_gain(method.judging, metric, arm, reference)
                error = _error(method.judging, arm, metric, covered=several)
                cells += [error, pp(gain, bold_above=bold_above_pp)]
        rows.append(cells)
    return table(header, rows, left=2, only_told=True)


def _error(scores: Scores, arm: str, metric: Metric, *, covered: bool) -> str:
    return tables.covered_error(scores, arm, metric) if covered else pct(scores.mape(arm, metric))


def _overheads(project: Project, report: Report) -> str:
    if not any(name.split(".")[0] == OPTION for name in report.spec.varied):
        return ""
    return overhead_table(project, report.experiments, report.headline.arms)


def _experiment_table(report: Report, names: Mapping[str, str]) -> str:
    rows = [
        [
            names[experiment.id],
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
    return table(["Name", "Experiment", "Model", "TP", "Workload", "Requests", "Load point"], rows, left=3)


def _changes_text(report: Report) -> str:
    first, last = report.methods[0].title, report.methods[-1].title
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


def changes(report: Report) -> Mapping[str, list[str]]:
    """Return what differs between the first and the last method, as sentences by kind."""
    first, last = report.methods[0], report.methods[-1]
    return {
        "status": _status_change(first, last),
        "criteria": [
            f"`{old.id}`: {old.result} ({_signed(old.observed)}) becomes {new.result} ({_signed(new.observed)})"
            for old, new in zip(first.verdict.outcomes, last.verdict.outcomes, strict=True)
            if old.result is not new.result
        ],
        "same": [
            f"`{old.id}`: {old.result} under both ({_signed(old.observed)} and {_signed(new.observed)})"
            for old, new in zip(first.verdict.outcomes, last.verdict.outcomes, strict=True)
            if old.result is new.result
        ],
        "signs": _sign_changes(report, first, last),
    }


def _status_change(first: MethodReport, last: MethodReport) -> list[str]:
    old, new = first.verdict.status, last.verdict.status
    if old is new:
        return [f"The status stays {new}."]
    return [f"The status changes from {old} to {new}: {last.verdict.reason}."]


def _signed(value: float | None) -> str:
    return pp(value)


def _sign_changes(report: Report, first: MethodReport, last: MethodReport) -> list[str]:
    """Experiments whose prediction is too fast under one method and too slow under the other."""
    found = []
    for metric in report.spec.metrics:
        for arm in report.spec.arms:
            for row in last.scores.select(arm, metric):
                other = first.scores.row(arm, row.experiment, metric, row.load_point)
                if other is None or not other.is_scored or other.signed_error_pct * row.signed_error_pct >= 0:
                    continue
                found.append(
                    f"{row.experiment}, {arm}, {metric.label}: {other.signed_error_pct:+.1f} % becomes "
                    f"{row.signed_error_pct:+.1f} %"
                )
    return found


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


def error_figures(
    metric: Metric, arms: Sequence[str], methods: Mapping[str, Scores], names: Mapping[str, str]
) -> dict[str, str]:
    """Draw predicted against measured means and signed errors of some arms; returns file name to SVG.

    Parameters
    ----------
    methods
        Scores by title of the method, the deciding one last.
    names
        What readers call the experiments.
    """
    rows = {title: [row for arm in arms for row in scores.select(arm, metric)] for title, scores in methods.items()}
    drawn = (_scattered(metric, arms, rows), _error_bars(metric, arms, rows, names))
    return dict(zip(_error_figure_names(metric), drawn, strict=True))


def _scattered(metric: Metric, arms: Sequence[str], rows: Mapping[str, Sequence[ErrorRow]]) -> str:
    """Draw a panel for each arm, under each other by method, all with one range."""
    markers = ServerMarkers(_server(row) for own in rows.values() for row in own)
    panels = []
    for title, own in rows.items():
        for arm in arms:
            points = [(_server(row), (row.measured or 0.0, row.predicted or 0.0)) for row in own if row.arm == arm]
            name = f"{title}: {arm}" if len(rows) > 1 else arm
            panels.append(predicted_against_measured(metric.in_words, markers.series(points), name, metric.unit))
    lines_of_panels = -(-len(arms) // MOST_COLUMNS)
    columns = -(-len(arms) // lines_of_panels)
    return scatter(panels, "predicted = measured", room=1.6, columns=columns, shared=True)


def _server(row: ErrorRow) -> Server:
    return Server(row.family, row.hardware, row.tensor_parallel)


def _error_bars(
    metric: Metric, arms: Sequence[str], rows: Mapping[str, Sequence[ErrorRow]], names: Mapping[str, str]
) -> str:
    """Draw signed errors, the fastest prediction of the last arm on top, a panel for each method."""
    every = [row for title in reversed(rows) for row in rows[title]]
    deciding = sorted(
        (row for row in [*rows.values()][-1] if row.arm == arms[-1]), key=lambda row: row.signed_error_pct
    )
    named = RunNames(every, names)
    order = list(dict.fromkeys(named(row.experiment, row.load_point) for row in (*deciding, *every)))
    words = signed_error_label(metric.in_words, sign=SIGN_OF_RATES if metric.is_rate else SIGN)
    panels = [
        Panel(
            title, words, _errors(own, arms, order, named), marks=_means(own, arms), band=(-CLOSE_PCT, CLOSE_PCT, CLOSE)
        )
        for title, own in rows.items()
    ]
    return bars(panels, order)


def _means(rows: Sequence[ErrorRow], arms: Sequence[str]) -> tuple[tuple[float, str], ...]:
    """Return the mean signed errors of the first and of the last arm."""
    found = {arm: [row.signed_error_pct for row in rows if row.arm == arm] for arm in (arms[0], arms[-1])}
    return tuple((mean(errors), f"mean of {arm}") for arm, errors in found.items() if errors)


def _error_figure_names(metric: Metric) -> tuple[str, str]:
    return f"figures/{metric.value}_predicted_vs_measured.svg", f"figures/{metric.value}_signed_errors.svg"


def _errors(rows: Sequence[ErrorRow], arms: Sequence[str], order: Sequence[str], named: RunNames) -> tuple[Series, ...]:
    place = {name: float(at) for at, name in enumerate(order)}
    return tuple(
        Series(
            arm,
            tuple(
                (row.signed_error_pct, place[named(row.experiment, row.load_point)]) for row in rows if row.arm == arm
            ),
            fill=fill,
        )
        for fill, arm in enumerate(arms)
    )
