"""The residual analysis of a page: where errors sit, and which single term would remove most of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from roofline_lab.config import MeasuredDefinition, Method, Settings
from roofline_lab.formatting import MISSING, pct, signed_pct, signless_zero, table
from roofline_lab.hypotheses.arms import Arm
from roofline_lab.hypotheses.spec import Hypothesis
from roofline_lab.project import Project
from roofline_lab.report.residuals_plot import residual_figure
from roofline_lab.residuals.drivers import DRIVERS, Driver, correlation, groups, varies
from roofline_lab.residuals.ranking import DEFAULT, Resampling, Suggestion, error_with, mape, ranked_terms
from roofline_lab.residuals.record import LABELS, METRICS, Residual, scored, unscored
from roofline_lab.residuals.rows import NAMES, residuals_of
from roofline_lab.residuals.terms import TERMS
from roofline_lab.residuals.words import constant_text, interval_text, listed, sentence, suggestion_text
from roofline_lab.run_files import Row
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS, Number
from roofline_lab.vocabulary import Metric, Scope, Statistic

FIGURE = "figures/residuals.svg"
SHOWN_TERMS = 5
NOTHING_SCORED = "No load point has a residual."
# Errors closer to each other than this share are the same number, computed in another order.
ROUNDING = 1e-9


def residual_section(
    residuals: Iterable[Residual],
    metrics: Sequence[str] = METRICS,
    resampling: Resampling = DEFAULT,
    figure: str = FIGURE,
    ranked: Mapping[str, Sequence[Suggestion]] | None = None,
) -> str:
    """Return the section as markdown.

    Parameters
    ----------
    residuals
        Of one arm, one per load point.
    metrics
        Which of `ttft`, `itl` and `e2e`.
    figure
        Where the page finds `residual_figure`.
    ranked
        `ranked_terms` of each metric, where the caller has them already.
    """
    chosen = tuple(residuals)
    present = [metric for metric in metrics if scored(chosen, metric)]
    parts = []
    if present:
        parts.append(_drivers(chosen, present))
        parts.append(f"![Signed residuals against what they may go with]({figure})")
        found = ranked or {metric: ranked_terms(chosen, metric, TERMS, resampling) for metric in present}
        parts += [_ranking(chosen, metric, found[metric], present) for metric in present]
    else:
        parts.append(NOTHING_SCORED)
    if missing := _missing(chosen, metrics):
        parts.append(missing)
    return "\n\n".join(parts)


def _drivers(residuals: Sequence[Residual], metrics: Sequence[str]) -> str:
    rows = [row for driver in DRIVERS for row in _driver_rows(residuals, driver, metrics)]
    header = ["Driver", "", *(LABELS[metric] for metric in metrics), "load points"]
    return (
        "Signed residuals by driver: Spearman's rank correlation, and means by value (negative: too fast).\n\n"
        + table(header, rows, left=2)
    )


def _driver_rows(residuals: Sequence[Residual], driver: Driver, metrics: Sequence[str]) -> list[list[str]]:
    found = {metric: correlation(residuals, driver, metric) for metric in metrics}
    points = str(max(one.points for one in found.values()))
    dashes = [MISSING] * len(metrics)
    if points == "0":
        return [[driver.title, "not known", *dashes, points]]
    if not varies(residuals, driver):
        return [[driver.title, "does not vary", *dashes, points]]
    cells = [MISSING if one.value is None else f"{signless_zero(one.value, 2):+.2f}" for one in found.values()]
    return [
        [driver.title, "rank correlation", *cells, points],
        *(
            ["", group.label, *(signed_pct(group.mean_pct[metric]) for metric in metrics), str(group.points)]
            for group in groups(residuals, driver, metrics)
        ),
    ]


def _ranking(residuals: Sequence[Residual], metric: str, ranked: Sequence[Suggestion], metrics: Sequence[str]) -> str:
    """Return the sentence, and the terms that do something; where none does, the first one alone."""
    fitted = [suggestion for suggestion in ranked if suggestion.constant is not None]
    shown = ([suggestion for suggestion in fitted if suggestion.constant] or fitted[:1])[:SHOWN_TERMS]
    others = [other for other in metrics if other != metric]
    harmful = {suggestion.term.name for suggestion in fitted if _made_worse(residuals, suggestion, others)}
    told = f"**{LABELS[metric]}.** {sentence(ranked, metric, harmful)}{_warning(residuals, fitted, others)}"
    if not shown:
        return told
    lines = [_line(place, suggestion, residuals, others) for place, suggestion in enumerate(shown, start=1)]
    header = ["", "Term", "Cannot be told from", "Constant", "Interval", "MAPE", "fitted", "held out"]
    return f"{told}\n\n{table([*header, *(f'then {LABELS[other]}' for other in others)], lines, left=3)}"


def _line(place: int, suggestion: Suggestion, residuals: Sequence[Residual], others: Sequence[str]) -> list[str]:
    errors = [pct(suggestion.mape_before), pct(suggestion.mape_after), pct(suggestion.held_out)]
    term = f"{suggestion.term.label} ({suggestion.term.formula})"
    elsewhere = [pct(error_with(residuals, other, suggestion)) for other in others]
    return [
        str(place),
        term,
        listed(suggestion.tied),
        constant_text(suggestion),
        interval_text(suggestion),
        *errors,
        *elsewhere,
    ]


def _warning(residuals: Sequence[Residual], fitted: Sequence[Suggestion], others: Sequence[str]) -> str:
    """Say so where the first term would make another mean worse, and which is the first that would not."""
    if not fitted or not fitted[0].beyond_noise or not (worse := _made_worse(residuals, fitted[0], others)):
        return ""
    consistent = next(
        (
            suggestion
            for suggestion in fitted
            if suggestion.beyond_noise and not _made_worse(residuals, suggestion, others)
        ),
        None,
    )
    text = f" But the same constant makes {' and '.join(worse)} worse, so the cause must be another."
    if consistent is None:
        return f"{text} No term beyond noise leaves the others as good as they are."
    return f"{text} The first term that does not: {suggestion_text(consistent)}."


def _made_worse(residuals: Sequence[Residual], suggestion: Suggestion, others: Sequence[str]) -> list[str]:
    """Return the other metrics, in words, whose error the constant would raise."""
    found = []
    for other in others:
        now, then = mape(residuals, other), error_with(residuals, other, suggestion)
        if now is not None and then is not None and then > now * (1 + ROUNDING):
            found.append(f"{LABELS[other]} ({pct(now)} to {pct(then)})")
    return found


def _missing(residuals: Sequence[Residual], metrics: Sequence[str]) -> str:
    """Return why load points have no residual, metrics with the same reason together."""
    found: dict[tuple[str, int], list[str]] = {}
    for metric in metrics:
        for reason, count in unscored(residuals, metric).items():
            found.setdefault((reason, count), []).append(LABELS[metric])
    if not found:
        return ""
    rows = [[reason, ", ".join(labels), str(count)] for (reason, count), labels in found.items()]
    return "Load points without a residual:\n\n" + table(["Reason", "Of", "load points"], rows, left=2)


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

    @property
    def figure_name(self) -> str:
        """Where the page finds the figure."""
        return _figure_name(self.extra)

    @property
    def figure(self) -> str:
        """SVG text."""
        return residual_figure(self.residuals, [NAMES[metric] for metric in self.metrics])

    @cached_property
    def ranked(self) -> Mapping[str, tuple[Suggestion, ...]]:
        """Every candidate term by metric, best first."""
        names = [NAMES[metric] for metric in self.metrics]
        return {name: ranked_terms(self.residuals, name, resampling=self.resampling) for name in names}

    @property
    def section(self) -> str:
        """Markdown without a heading."""
        return residual_section(self.residuals, tuple(self.ranked), ranked=self.ranked, figure=self.figure_name)

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
        for name, extra in _analysed(project, spec)
    )


def analysis_figures(project: Project, spec: Hypothesis) -> list[str]:
    """Return the names of the figures that `analyses_of` will have."""
    return [_figure_name(extra) for _, extra in _analysed(project, spec)]


def _figure_name(extra: bool) -> str:
    return f"figures/residuals{'_beyond' if extra else ''}.svg"


def _analysed(project: Project, spec: Hypothesis) -> list[tuple[str, bool]]:
    """Return the methods to analyse: the last that measures as it predicts, and the one of the extra experiments."""
    deciding = [name for name in spec.methods if _measures_as_it_predicts(project.methods[name])]
    found = [(name, False) for name in deciding[-1:]]
    if spec.extra_experiments is not None and _measures_as_it_predicts(project.methods[spec.extra_experiments.method]):
        found.append((spec.extra_experiments.method, True))
    return found


def _measures_as_it_predicts(method: Method) -> bool:
    """Whether both sides of the time per token are the time between tokens, and not one of upstream's quirks."""
    return method.definitions[Metric.TPOT_MEAN].measured is MeasuredDefinition.ITL_FROM_MEANS


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
    residuals = residuals_of(project, [row for row in own if not _chose(spec, row)], arm, spec.metrics)
    resampling = resampling_of(project.settings)
    return Analysis(project.methods[method], arm.name, spec.metrics, residuals, resampling, extra)


def resampling_of(settings: Settings) -> Resampling:
    """Return the laboratory's bootstrap over families."""
    return Resampling(settings.bootstrap.resamples, settings.bootstrap.level_pct, settings.seeds.bootstrap)
