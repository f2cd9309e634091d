"""From simulated rows to everything a findings page shows, as one template context.

Pure: rows, specs and texts go in, strings come out. Files are read and written by
`roofline_lab.report.findings_page`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from roofline_lab.config import Method
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.hypotheses.proportional import (
    ExplainedCriterion,
    ProportionalArm,
    explain_criteria,
    proportional_arms,
)
from roofline_lab.hypotheses.spec import ExtraExperiments, Hypothesis
from roofline_lab.hypotheses.sweep import Search
from roofline_lab.hypotheses.verdict import Verdict, judge
from roofline_lab.predict.sweeps import search
from roofline_lab.project import Arm, Project
from roofline_lab.report import tables
from roofline_lab.report.load import load_numbers, load_sections
from roofline_lab.report.residuals import Analysis, analyses_of
from roofline_lab.report.tables import Tables
from roofline_lab.report.values import Values
from roofline_lab.run_files import Row, error_rows
from roofline_lab.scoring.numbers import Number
from roofline_lab.scoring.published import Published, ReproducedCell, reproduce
from roofline_lab.scoring.scores import Scores
from roofline_lab.scoring.table import numbers_of
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import Metric, RowStatus, Scope


@dataclass(frozen=True)
class MethodReport:
    """What one method found."""

    spec: Hypothesis
    method: Method
    arms: tuple[Arm, ...]
    rows: tuple[Row, ...]
    scores: Scores
    verdict: Verdict
    tables: Tables
    proportional: tuple[ProportionalArm, ...]
    explained: tuple[ExplainedCriterion, ...]
    uncertainty: Uncertainty
    search: Search | None = None

    @property
    def judging(self) -> Scores:
        """The scores aggregates are taken over: all, or the test experiments where there is a split."""
        return self.scores.where(lambda row: row.counts_at(Scope.OVERALL))

    @property
    def definitions(self) -> str:
        """Metric definitions on both sides, in words of the method."""
        words = "; ".join(
            f"{metric.label} `{one.predicted}` / `{one.measured}`"
            for metric, one in self.method.definitions.items()
            if metric in self.spec.metrics
        )
        varied = any(arm.rules and arm.rules.definitions != self.method.definitions for arm in self.arms)
        return f"{words}, where no arm varies them" if varied else words

    @property
    def kernels(self) -> str:
        """Which kernels priced the steps."""
        return "; ".join(sorted({row["kernels"] for row in self.rows if row["status"] == RowStatus.OK})) or "none"

    @property
    def load_section(self) -> str:
        """How errors go with load; empty where load points were not replayed."""
        return load_sections(self.rows, self.judging, self.spec.shown_arms, self.spec.metrics, self.uncertainty)

    @property
    def has_load_points(self) -> bool:
        """Whether experiments were compared at more than one load point."""
        return len({row.load_point for row in self.scores.rows}) > 1

    @property
    def trend_metric(self) -> Metric:
        """The metric followed along TP: that of the first trend among the controls, else of the first criterion."""
        trends = [one for one in self.spec.controls if one.kind == "trend"] or list(self.spec.criteria)
        return trends[0].metric

    @property
    def judged_proportional(self) -> list[ProportionalArm]:
        """Arms that are a constant multiple of the reference, in the metrics that criteria judge."""
        judged = {criterion.metric for criterion in self.spec.judged}
        return [arm for arm in self.proportional if arm.metric in judged]


@dataclass(frozen=True)
class Report:
    """One hypothesis, evaluated by all its methods."""

    spec: Hypothesis
    experiments: tuple[Experiment, ...]
    methods: tuple[MethodReport, ...]
    published: Published | None
    comparisons: tuple[ReproducedCell, ...]
    extra_experiments: tuple[Experiment, ...] = ()
    extra_section: str = ""
    extra_numbers: tuple[Number, ...] = ()
    analyses: tuple[Analysis, ...] = ()

    @property
    def headline(self) -> MethodReport:
        """The method that gives the page its status: the last one listed."""
        return self.methods[-1]

    @cached_property
    def numbers(self) -> tuple[Number, ...]:
        """Every number of the hypothesis, in the order of `numbers.csv`."""
        arms = tuple(self.spec.arms)
        found = [number for one in self.methods for number in numbers_of(one.scores, arms, self.spec.metrics)]
        found += [number for one in self.methods for number in load_numbers(one.rows)]
        found += self.extra_numbers
        found += [number for one in self.analyses for number in one.numbers]
        return tuple(sorted(found, key=lambda number: number.identity))

    @cached_property
    def values(self) -> Values:
        """What prose may quote."""
        return Values(
            self.numbers,
            {one.method.id: one.scores for one in self.methods},
            {one.method.id: one.verdict for one in self.methods},
            {one.method.id: one.rows for one in self.methods},
            tuple(self.spec.arms),
            {arm.name: arm.configuration for arm in self.headline.arms},
            {one.method.id: one.proportional for one in self.methods},
            {one.method.id: one.search.chosen for one in self.methods if one.search},
        )


def build_report(
    project: Project,
    hypothesis: str,
    rows: Sequence[Row],
    published: Published | None,
    swept: Sequence[Row] = (),
) -> Report:
    """Score, judge and compare everything one hypothesis simulated.

    Parameters
    ----------
    rows
        Result lines of the whole run matrix, in matrix order.
    swept
        Result lines of its sweep, if it has one.
    """
    spec = project.hypotheses[hypothesis]
    methods = tuple(_method_report(project, spec, name, rows, swept) for name in spec.methods)
    comparisons: tuple[ReproducedCell, ...] = ()
    if published is not None:
        scores = {one.method.id: one.scores for one in methods}[published.source.method]
        tolerance = project.settings.reproduction.tolerance
        comparisons = reproduce(published, scores, spec.reference_arm, tolerance)
    extra = project.extra_experiments(hypothesis)
    uncertainty = Uncertainty.of_settings(project.settings)
    section, numbers = _extra(spec, spec.extra_experiments, rows, uncertainty) if spec.extra_experiments else ("", ())
    analyses = analyses_of(project, spec, {one.method.id: one.arms for one in methods}, rows)
    return Report(
        spec, project.experiments(hypothesis), methods, published, comparisons, extra, section, numbers, analyses
    )


def _extra(
    spec: Hypothesis, extra: ExtraExperiments, rows: Sequence[Row], uncertainty: Uncertainty
) -> tuple[str, tuple[Number, ...]]:
    """Score the runs that decide nothing: their tables, and their numbers."""
    own = [row for row in rows if row["method"] == extra.method]
    scores = Scores(error_rows(own, spec.metrics))
    numbers = (*numbers_of(scores, extra.arms, spec.metrics), *load_numbers(own))
    return load_sections(own, scores, extra.arms, spec.metrics, uncertainty), numbers


def _method_report(
    project: Project, spec: Hypothesis, name: str, rows: Sequence[Row], swept: Sequence[Row]
) -> MethodReport:
    own = tuple(row for row in rows if row["method"] == name)
    scores = Scores(error_rows(own, spec.metrics, spec.split))
    settings, arms = project.settings, project.arms(spec.id, name)
    searched = [row for row in swept if row["method"] == name]
    found_value = search(project, spec.id, name, searched) if searched else None
    if found_value is not None:
        chosen = {one: project.swept_arm(spec.id, name, found_value.chosen, one)[0] for one in spec.sweep_arms}
        arms = tuple(chosen.get(arm.name, arm) for arm in arms)
    uncertainty = Uncertainty.of_settings(settings)
    verdict = judge(
        name,
        [one.evaluate(scores, uncertainty) for one in spec.criteria],
        [one.evaluate(scores, uncertainty) for one in spec.controls],
        spec.resolutions,
    )
    found = proportional_arms(scores, {arm.name: arm.configuration for arm in arms}, spec.metrics)
    explained = explain_criteria(spec.judged, scores, found, spec.reference_arm, uncertainty)
    shown = Tables(spec.shown_arms, spec.metrics, settings.bold_above_pp)
    method = project.methods[name]
    return MethodReport(spec, method, arms, own, scores, verdict, shown, found, explained, uncertainty, found_value)


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
    return tables.pp(value)


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
