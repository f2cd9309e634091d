"""What a hypothesis on measurements found: its rows scored, judged and compared, and every number of its report.

Pure: rows and specs go in, a `Report` comes out. How it is printed is no concern here, so that a change of a page
scores nothing again. A figure that was not measured has no line in `numbers.csv`; the page says why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from roofline_lab.config import Method
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.names import readable_names
from roofline_lab.hypotheses.proportional import (
    ExplainedCriterion,
    ProportionalArm,
    explain_criteria,
    proportional_arms,
)
from roofline_lab.hypotheses.spec import Hypothesis
from roofline_lab.hypotheses.sweep import Search
from roofline_lab.hypotheses.verdict import Verdict, judge
from roofline_lab.predict.sweeps import searches, values_of
from roofline_lab.project import Arm, Project
from roofline_lab.report.ladder_numbers import capacity_numbers
from roofline_lab.report.ladders import capacity_answers
from roofline_lab.residuals.analysis import Analysis, analyses_of
from roofline_lab.run_files import Row, error_rows, figure_rows
from roofline_lab.scoring.capacity import Answers
from roofline_lab.scoring.errors import PERCENT, mean
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS, UNITS, Number
from roofline_lab.scoring.published import Published, ReproducedCell, reproduce
from roofline_lab.scoring.scores import ErrorRow, Scores
from roofline_lab.scoring.table import numbers_of
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import LoadFigure, Metric, RowStatus, Scope, Statistic

Line = tuple[LoadFigure, Statistic, float, str]
BRANCHES = (LoadFigure.PREFILL_DOMINATES, LoadFigure.DECODE_DOMINATES, LoadFigure.BY_TOKENS)


@dataclass(frozen=True)
class MethodReport:
    """What one method found."""

    spec: Hypothesis
    method: Method
    arms: tuple[Arm, ...]
    rows: tuple[Row, ...]
    scores: Scores
    verdict: Verdict
    proportional: tuple[ProportionalArm, ...]
    explained: tuple[ExplainedCriterion, ...]
    uncertainty: Uncertainty
    searches: tuple[Search, ...] = ()
    answers: Answers | None = None

    @cached_property
    def judging(self) -> Scores:
        """The scores aggregates are taken over: all, or the test experiments where there is a split."""
        return self.scores.where(lambda row: row.counts_at(Scope.OVERALL))

    @property
    def title(self) -> str:
        """The method in words."""
        return self.method.title


@dataclass(frozen=True)
class Report:
    """One hypothesis, evaluated by all its methods."""

    spec: Hypothesis
    experiments: tuple[Experiment, ...]
    methods: tuple[MethodReport, ...]
    published: Published | None
    comparisons: tuple[ReproducedCell, ...]
    extra_experiments: tuple[Experiment, ...] = ()
    extra_rows: tuple[Row, ...] = ()
    extra_scores: Scores | None = None
    analyses: tuple[Analysis, ...] = ()

    @property
    def headline(self) -> MethodReport:
        """The method that gives the page its status: the last one listed."""
        return self.methods[-1]

    @cached_property
    def names(self) -> Mapping[str, str]:
        """What readers call the experiments of the page, by id."""
        return readable_names((*self.experiments, *self.extra_experiments))

    @cached_property
    def numbers(self) -> tuple[Number, ...]:
        """Every number of the hypothesis, in the order of `numbers.csv`."""
        arms = tuple(self.spec.arms)
        found = [number for method in self.methods for number in numbers_of(method.scores, arms, self.spec.metrics)]
        found += [number for method in self.methods for number in load_numbers(method.rows, self.spec.metrics)]
        found += [number for method in self.methods for number in coverage_numbers(method)]
        found += [number for method in self.methods for number in _capacity_numbers(method)]
        found += self._extra_numbers()
        found += [number for analysis in self.analyses for number in analysis.numbers]
        return tuple(sorted(found, key=lambda number: number.identity))

    def _extra_numbers(self) -> tuple[Number, ...]:
        """Numbers of the runs that decide nothing."""
        if self.spec.extra_experiments is None or self.extra_scores is None:
            return ()
        own = numbers_of(self.extra_scores, self.spec.extra_experiments.arms, self.spec.metrics)
        return (*own, *load_numbers(self.extra_rows, self.spec.metrics))


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
        Result lines of its sweeps, if it has some.
    """
    spec = project.hypotheses[hypothesis]
    rows = _told_here(project, spec, rows)
    methods = tuple(_method_report(project, spec, name, rows, swept) for name in spec.methods)
    comparisons: tuple[ReproducedCell, ...] = ()
    if published is not None:
        scores = {method.method.id: method.scores for method in methods}[published.source.method]
        tolerance = project.settings.reproduction.tolerance
        comparisons = reproduce(published, scores, spec.reference_arm, tolerance)
    extra = spec.extra_experiments
    extra_rows = [row for row in rows if extra is not None and row["method"] == extra.method]
    return Report(
        spec,
        project.experiments(hypothesis),
        methods,
        published,
        comparisons,
        extra_experiments=project.extra_experiments(hypothesis),
        extra_rows=tuple(extra_rows),
        extra_scores=Scores(error_rows(extra_rows, spec.metrics)) if extra else None,
        analyses=analyses_of(project, spec, {method.method.id: method.arms for method in methods}, rows),
    )


def _told_here(project: Project, spec: Hypothesis, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of a hypothesis without those that only the page of all simulators shows."""
    own = {(name, one.id) for name in spec.methods for one in project.experiments(spec.id)}
    if spec.extra_experiments is not None:
        own |= {(spec.extra_experiments.method, one.id) for one in project.extra_experiments(spec.id)}
    return [row for row in rows if (row["method"], row["experiment"]) in own]


def _method_report(
    project: Project, spec: Hypothesis, name: str, rows: Sequence[Row], swept: Sequence[Row]
) -> MethodReport:
    own = tuple(row for row in rows if row["method"] == name)
    answers = None if spec.capacity is None else capacity_answers(spec.capacity, own, project.experiments(spec.id))
    sides = spec.division.sides(project.experiments(spec.id)) if spec.division is not None else {}
    scores = Scores(error_rows(own, spec.metrics, sides), answers.judgements if answers else ())
    settings = project.settings
    searched = [row for row in swept if row["method"] == name]
    found_values = searches(project, spec.id, name, searched) if searched else ()
    arms = tuple(_with_chosen(project, spec, name, arm, found_values) for arm in project.arms(spec.id, name))
    uncertainty = Uncertainty.of_settings(settings)
    verdict = judge(
        name,
        [criterion.evaluate(scores, uncertainty) for criterion in spec.criteria],
        [control.evaluate(scores, uncertainty) for control in spec.controls],
        spec.resolutions,
    )
    found = proportional_arms(scores, {arm.name: arm.configuration for arm in arms}, spec.metrics)
    explained = explain_criteria(spec.judged, scores, found, spec.reference_arm, uncertainty)
    method = project.methods[name]
    return MethodReport(spec, method, arms, own, scores, verdict, found, explained, uncertainty, found_values, answers)


def _capacity_numbers(method: MethodReport) -> Iterator[Number]:
    """Yield what answers about capacity are judged by, where limits were asked about."""
    asked = method.spec.capacity
    if asked is not None and method.answers is not None:
        yield from capacity_numbers(method.method.id, tuple(method.spec.arms), method.answers, asked.load)


def _with_chosen(project: Project, spec: Hypothesis, method: str, arm: Arm, found: Sequence[Search]) -> Arm:
    """Return an arm at the values that were chosen; in cross-validation, at those that all experiments choose."""
    if not found or arm.name not in spec.sweep_arms:
        return arm
    return project.swept_arm(spec.id, method, arm.name, dict(values_of(found, found[-1].fold, arm.name)))[0]


def several_simulators(arms: Iterable[Arm]) -> bool:
    """Return whether anybody but our simulator predicts for an arm."""
    return any(not arm.simulator.is_builtin for arm in arms)


def coverage_numbers(method: MethodReport) -> Iterator[Number]:
    """Yield how much each arm predicts and its errors over what all arms predict, where several simulators do."""
    if not several_simulators(method.arms):
        return
    shared = method.judging.shared(method.spec.arms)
    for arm in method.spec.arms:
        for metric in method.spec.metrics:
            place = (method.method.id, arm, ALL_LOAD_POINTS)
            coverage, known = method.judging.coverage(arm, metric), shared.select(arm, metric)
            counts = ((Statistic.PREDICTED_POINTS, coverage.predicted), (Statistic.ASKED_POINTS, coverage.asked))
            for statistic, count in counts:
                yield Number(*place, Scope.OVERALL, "all", metric, statistic, float(count), "count")
            yield Number(*place, Scope.SHARED, "all", metric, Statistic.POINTS, float(len(known)), "count")
            if known:
                errors, signed = [row.ape_pct for row in known], [row.signed_error_pct for row in known]
                yield Number(*place, Scope.SHARED, "all", metric, Statistic.MAPE, mean(errors), "pct")
                yield Number(*place, Scope.SHARED, "all", metric, Statistic.SIGNED_ERROR, mean(signed), "pct")


def versions_of(report: Report) -> dict[str, list[str]]:
    """Return the versions of programs of others that predicted rows of a report, by simulator."""
    rows = [row for method in report.methods for row in method.rows] + list(report.extra_rows)
    named = {(row["simulator"], row["version"]) for row in rows if row.get("version")}
    return {name: sorted(version for other, version in named if other == name) for name, _ in sorted(named)}


def load_numbers(rows: Sequence[Row], scored: Collection[Metric] = ()) -> tuple[Number, ...]:
    """Return the figures of every load point that was replayed, but for the metrics that are scored already."""
    figures = (
        Number(row.method, row.arm, row.load_point, Scope.EXPERIMENT, row.experiment, *line)
        for row in figure_rows(rows)
        if row.metric not in scored
        for line in _figure(row)
    )
    counts = (
        Number(row["method"], row["arm"], row["load_point"], Scope.EXPERIMENT, row["experiment"], *line)
        for row in rows
        if "load" in row
        for line in (*_saturation(row["load"]["saturated"]), *_shares(row["load"]["branches"], row.get("counters", {})))
    )
    return (*figures, *counts)


def _figure(row: ErrorRow) -> Iterator[Line]:
    if row.metric not in list(LoadFigure) or row.status is RowStatus.SATURATED or row.measured is None:
        return
    name, unit = LoadFigure(row.metric), UNITS[row.unit]
    yield name, Statistic.MEASURED, row.measured, unit
    if row.is_scored and row.predicted is not None:
        yield name, Statistic.PREDICTED, row.predicted, unit
        yield name, Statistic.SIGNED_ERROR, row.signed_error_pct, "pct"
        yield name, Statistic.MAPE, row.ape_pct, "pct"


def _saturation(saturated: Mapping[str, bool | None]) -> Iterator[Line]:
    for statistic in (Statistic.MEASURED, Statistic.PREDICTED):
        if (known := saturated[statistic.value]) is not None:
            yield LoadFigure.SATURATED, statistic, float(known), "flag"


def _shares(branches: Mapping[str, int], counters: Mapping[str, int]) -> Iterator[Line]:
    """Give mixed steps and the branch each of them takes, as percent of all steps."""
    if not counters.get("steps"):
        return
    counts = {LoadFigure.MIXED_STEPS: counters["mixed_steps"]}
    counts |= {branch: branches.get(branch.value, 0) for branch in BRANCHES}
    for name, count in counts.items():
        yield name, Statistic.SHARE, count / counters["steps"] * PERCENT, "pct"
