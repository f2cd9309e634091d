"""The residual analysis of a hypothesis: which arm under which method, its residuals, and what they suggest.

Drawing and tables are the business of `roofline_lab.report.residuals`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from roofline_lab.config import MeasuredDefinition, Method, Settings
from roofline_lab.hypotheses.arms import Arm
from roofline_lab.hypotheses.spec import Hypothesis
from roofline_lab.project import Project
from roofline_lab.residuals.drivers import DRIVERS, correlation
from roofline_lab.residuals.ranking import Resampling, Suggestion, ranked_terms
from roofline_lab.residuals.record import Residual
from roofline_lab.residuals.rows import NAMES, residuals_of
from roofline_lab.run_files import Row
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS, Number
from roofline_lab.vocabulary import Metric, Scope, Statistic
from simulator.metrics import MetricName

# Terms that a page shows and whose numbers it may quote.
SHOWN_TERMS = 5


@dataclass(frozen=True)
class Analysis:
    """What the residuals of one arm under one method say.

    Attributes
    ----------
    extra
        Whether these are the load points that decide nothing.
    """

    method: Method
    arm: str
    metrics: tuple[Metric, ...]
    residuals: tuple[Residual, ...]
    resampling: Resampling
    extra: bool = False

    @cached_property
    def ranked(self) -> Mapping[str, tuple[Suggestion, ...]]:
        """Every candidate term by metric, best first."""
        names = [NAMES[metric] for metric in self.metrics]
        return {name: ranked_terms(self.residuals, name, resampling=self.resampling) for name in names}

    @property
    def numbers(self) -> Iterator[Number]:
        """Rank correlations, and what the terms on the page would do, for `numbers.csv`."""
        for metric in self.metrics:
            for driver in DRIVERS:
                found = correlation(self.residuals, driver, NAMES[metric])
                if found.value is not None:
                    yield self._number(metric, Scope.DRIVER, driver.name, Statistic.RANK_CORRELATION, found.value)
            for suggestion in self.ranked[NAMES[metric]][:SHOWN_TERMS]:
                yield from self._term(metric, suggestion)

    def _term(self, metric: Metric, suggestion: Suggestion) -> Iterator[Number]:
        if suggestion.constant is None or suggestion.mape_after is None:
            return
        where = (metric, Scope.TERM, suggestion.term.name)
        unit = "ratio" if suggestion.term.kind == "rate" else "us"
        yield self._number(*where, Statistic.VALUE, suggestion.constant, unit)
        yield self._number(*where, Statistic.MAPE, suggestion.mape_after, "pct")
        if suggestion.held_out is not None:
            yield self._number(*where, Statistic.HELD_OUT, suggestion.held_out, "pct")

    def _number(
        self, metric: Metric, scope: Scope, key: str, statistic: Statistic, value: float, unit: str = "ratio"
    ) -> Number:
        return Number(self.method.id, self.arm, ALL_LOAD_POINTS, scope, key, metric, statistic, value, unit)


def analyses_of(
    project: Project, spec: Hypothesis, arms: Mapping[str, Sequence[Arm]], rows: Sequence[Row]
) -> tuple[Analysis, ...]:
    """Return the analyses of one hypothesis.

    Parameters
    ----------
    arms
        The resolved arms by method.
    rows
        All result lines. Those an option was chosen by are left out, as from every aggregate.
    """
    return tuple(
        _analysis(project, spec, name, _arm(spec, arms.get(name, project.arms(spec.id, name)), extra), rows, extra)
        for name, extra in analysed(project, spec)
    )


def analysed(project: Project, spec: Hypothesis) -> list[tuple[str, bool]]:
    """Return the methods to analyse, and whether on the runs that decide nothing.

    These are the last method that measures as it predicts, and the one of the runs that decide nothing.
    """
    if not any(metric in NAMES for metric in spec.metrics):
        return []
    deciding = [name for name in spec.methods if _measures_as_it_predicts(project.methods[name])]
    found = [(name, False) for name in deciding[-1:]]
    if spec.extra_experiments is not None and _measures_as_it_predicts(project.methods[spec.extra_experiments.method]):
        found.append((spec.extra_experiments.method, True))
    return found


def _measures_as_it_predicts(method: Method) -> bool:
    """Whether both sides of the time per token are the time between tokens, and not one of upstream's quirks."""
    definition = method.definitions[Metric.TPOT_MEAN]
    return definition.measured is MeasuredDefinition.ITL_FROM_MEANS or definition.predicted == MetricName.TPOT_REQUEST


def _chose(spec: Hypothesis, row: Row) -> bool:
    return spec.split is not None and spec.split.side_of(row["experiment"]) == "train"


def _arm(spec: Hypothesis, arms: Sequence[Arm], extra: bool) -> Arm:
    """Return the arm a hypothesis ends with: the one it adopts, else the last one its page shows."""
    shown = spec.extra_experiments.arms if extra and spec.extra_experiments else spec.shown_arms
    name = spec.adopts if spec.adopts in shown else shown[-1]
    return next(arm for arm in arms if arm.name == name)


def _analysis(project: Project, spec: Hypothesis, method: str, arm: Arm, rows: Sequence[Row], extra: bool) -> Analysis:
    deciding = {experiment.id for experiment in project.experiments(spec.id)}
    own = [row for row in rows if row["method"] == method and (extra or row["experiment"] in deciding)]
    # What a term adds to a step is seen in means.
    metrics = tuple(metric for metric in spec.metrics if metric in NAMES)
    residuals = residuals_of(project, [row for row in own if not _chose(spec, row)], arm, metrics)
    resampling = resampling_of(project.settings)
    return Analysis(project.methods[method], arm.name, metrics, residuals, resampling, extra)


def resampling_of(settings: Settings) -> Resampling:
    """Return the laboratory's bootstrap over families."""
    return Resampling(settings.bootstrap.resamples, settings.bootstrap.level_pct, settings.seeds.bootstrap)
