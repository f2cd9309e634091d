"""The front page: the best model today, how corrections add up to it, and where every hypothesis stands."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roofline_lab.config import Settings
from roofline_lab.formatting import MISSING
from roofline_lab.hypotheses.spec import Claim, Hypothesis
from roofline_lab.hypotheses.verdict import Conclusion
from roofline_lab.project import Project
from roofline_lab.report.index import CHAIN_METRICS, correction_chain
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS
from roofline_lab.scoring.statistics import Interval, bootstrap_mean
from roofline_lab.site.row_links import Row
from roofline_lab.site.tables import Column, Table
from roofline_lab.trust.held_out import E2E, TTFT, HeldOut, figure_of
from roofline_lab.vocabulary import Scope, Statistic
from simulator.trust.intervals import INTER_TOKEN

FIGURES: Mapping[str, str] = {E2E: "end-to-end latency", INTER_TOKEN: "time per token", TTFT: "time to first token"}
# What a fit had not seen, the first of these that a calibration was tried on.
HEADLINE_FOLDS: Mapping[str, str] = {
    "model": "models of families the fit never saw",
    "cell": "pairs of model and GPU the fit never saw",
}
# The method whose corrections are added up: the measurement repeated as it was made.
CHAIN_METHOD = "corrected"

# By hypothesis: what each of its methods concludes, the deciding one last; none of those without a report.
Conclusions = Mapping[str, Sequence[Conclusion]]


@dataclass(frozen=True, slots=True)
class Error:
    """Mean absolute error of held-out predictions, percent, with the bootstrap interval of the mean over models."""

    name: str
    mean_pct: float
    interval: Interval | None
    points: int
    models: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How well a calibration predicts what it was not fitted to.

    Attributes
    ----------
    unseen
        What the fit had not seen, in words.
    errors
        By figure.
    coverage
        In percent by figure: how many held-out means lie in the 90 % interval of their prediction, and the median
        width of it; from the numbers of the page on trust, with the lines they stand on.
    """

    name: str
    title: str
    unseen: str
    errors: Mapping[str, Error]
    coverage: Mapping[str, Mapping[str, Row]]

    @property
    def headline(self) -> Error:
        """The error that calibrations are ranked by: of the end-to-end latency where it was measured."""
        return next(iter(self.errors.values()))


def standing(name: str, title: str, rows: Sequence[HeldOut], trust: Sequence[Row], settings: Settings) -> Standing:
    """Return how a calibration stands, from its held-out predictions and the numbers on trust."""
    fold = next((fold for fold in HEADLINE_FOLDS if any(row.fold == fold for row in rows)), "")
    errors = {}
    for figure, words in FIGURES.items():
        own = [row for row in rows if row.fold == fold and _figure(row) == figure and row.residual is not None]
        if own:
            errors[figure] = _error(words, own, settings)
    mine = [row for row in trust if row.method == name and row.scope == "trust"]
    coverage = {
        figure: {row.statistic: row for row in mine if row.metric == figure}
        for figure in FIGURES
        if any(row.metric == figure for row in mine)
    }
    return Standing(name, title, HEADLINE_FOLDS.get(fold, ""), errors, coverage)


def _figure(row: HeldOut) -> str:
    return figure_of(row.metric)


def _error(words: str, rows: Sequence[HeldOut], settings: Settings) -> Error:
    errors = [abs(error) for row in rows if (error := row.error_pct) is not None]
    models = [row.model for row in rows]
    bootstrap = settings.bootstrap
    interval = bootstrap_mean(
        errors,
        resamples=bootstrap.resamples,
        level_pct=bootstrap.level_pct,
        seed=settings.seeds.bootstrap,
        clusters=models,
    )
    return Error(words, math.fsum(errors) / len(errors), interval, len(errors), len(set(models)))


# --- how corrections add up ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One correction on top of the ones before it.

    Attributes
    ----------
    hypothesis, calibration
        Whose it is; empty where it is not that.
    errors
        Percent, of the time per token and of the end-to-end latency.
    """

    label: str
    hypothesis: str
    errors: tuple[float | None, ...]
    calibration: str = ""


def chain(
    project: Project,
    verdicts: Conclusions,
    numbers: Mapping[str, Sequence[Row]],
    best: tuple[str, Sequence[HeldOut]] | None,
) -> list[Step]:
    """Return the steps from a roofline at peak rates to the calibrated model.

    All steps are judged on the experiments of the first one; the last, calibrated one by predictions that were held
    out, and it is left away unless it predicts all of these experiments.
    """
    told = {
        name: {"methods": [_with_errors(project, name, one, numbers.get(name, ())) for one in verdicts.get(name, ())]}
        for name in project.names
    }
    links = correction_chain(project, CHAIN_METHOD, told)
    steps = [
        Step(*_words(project, link.label), tuple(link.errors[metric] for metric in CHAIN_METRICS)) for link in links
    ]
    last = _calibrated_step(project, steps[-1].hypothesis, best) if steps and best else None
    return [*steps, last] if last else steps


def _words(project: Project, label: str) -> tuple[str, str]:
    """Return what a step adds, in words, and the hypothesis that adds it."""
    names = label.split("`")[1::2]
    if not names:
        return "Peak rates, no correction", ""
    return f"{'+ ' if len(names) > 1 else ''}{named(project, names[-1])}", names[-1]


def _calibrated_step(project: Project, hypothesis: str, best: tuple[str, Sequence[HeldOut]]) -> Step | None:
    name, rows = best
    ran = project.experiments(hypothesis)
    wanted = {(experiment.id, point.id) for experiment in ran for point in experiment.load_points}
    own = [row for row in rows if row.fold in HEADLINE_FOLDS and (row.experiment, row.load_point) in wanted]
    if {(row.experiment, row.load_point) for row in own} != wanted:
        return None
    errors = []
    for metric in CHAIN_METRICS:
        known = (row.error_pct for row in own if _figure(row) == figure_of(metric.value))
        found = [abs(error) for error in known if error is not None]
        errors.append(math.fsum(found) / len(found) if found else None)
    fold = own[0].fold
    return Step(f"Calibrated physics, on {HEADLINE_FOLDS[fold]}", "", tuple(errors), name)


def _with_errors(project: Project, name: str, conclusion: Conclusion, rows: Sequence[Row]) -> dict[str, Any]:
    """Return a conclusion as the index of findings takes it, with the mean errors by metric and arm."""
    spec = project.hypotheses.get(name)
    errors = _errors(spec, conclusion.method, rows) if spec is not None else {}
    return {"method": conclusion.method, "status": conclusion.status, "errors": errors}


def _errors(spec: Hypothesis, method: str, rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    own = [row for row in rows if row.method == method and row.statistic == Statistic.MAPE and _is_overall(spec, row)]
    everywhere = [row for row in own if row.load_point == ALL_LOAD_POINTS]
    found: dict[str, dict[str, float]] = {}
    for row in everywhere or own:
        found.setdefault(row.metric, {})[row.arm] = float(row.value)
    return found


def _is_overall(spec: Hypothesis, row: Row) -> bool:
    if spec.split is not None:
        return row.scope == Scope.SPLIT and row.key == "test"
    return row.scope == Scope.OVERALL


# --- every hypothesis ----------------------------------------------------------------------------------


def number_of(name: str) -> str:
    """Return what a hypothesis is called for short: `H2b` of `h2b_scaled_overhead`, its name where it has no number."""
    number = re.match(r"h(g?)(\d+)([a-z]?)_", name)
    return f"H{number[1].upper()}{number[2]}{number[3]}" if number else name


def spec_of(project: Project, name: str) -> Claim:
    """Return a hypothesis of either kind."""
    return project.hypotheses.get(name) or project.synthetic[name]


def named(project: Project, name: str) -> str:
    """Return number and title of a hypothesis."""
    return f"{number_of(name)}: {spec_of(project, name).title}"


def status_table(project: Project, verdicts: Conclusions) -> Table:
    """Return the status of every hypothesis under each of its methods."""
    lines = list(_status_lines(project, verdicts))
    columns = [
        Column("number", "No.", [line[0] for line in lines]),
        Column("title", "Hypothesis", [line[1] for line in lines], link="reports/{}/FINDINGS.html", link_by="id"),
        Column("method", "Method", [line[2] for line in lines], filters=True),
        Column("status", "Status", [line[3] for line in lines], filters=True),
        Column("family", "Family", [line[4] for line in lines], filters=True),
        Column("purpose", "Purpose", [line[5] for line in lines], filters=True),
        Column("id", "Name", [line[6] for line in lines], hidden=True),
    ]
    return Table("hypotheses and their status", columns)


def _status_lines(project: Project, verdicts: Conclusions) -> Iterator[tuple[str, ...]]:
    for name in project.names:
        spec = spec_of(project, name)
        kind = (spec.family.value.replace("-", " "), spec.vvuq.value)
        if name not in verdicts:
            yield number_of(name), spec.title, MISSING, "no report yet", *kind, ""
        for one in verdicts.get(name, ()):
            yield number_of(name), spec.title, one.method.replace("_", " "), one.status, *kind, name


def status_counts(project: Project, verdicts: Conclusions) -> dict[str, int]:
    """Return how many hypotheses have which status, by the last of their methods, the most frequent first."""
    found: dict[str, int] = {}
    for name in project.names:
        status = verdicts[name][-1].status if verdicts.get(name) else "No report yet"
        found[status] = found.get(status, 0) + 1
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def best_of(standings: Iterable[Standing]) -> Standing | None:
    """Return the calibration with the least headline error, None without any."""
    return min((one for one in standings if one.errors), key=lambda one: one.headline.mean_pct, default=None)
