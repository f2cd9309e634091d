"""Who is compared with whom on what: the rows of every set, what each set is to every simulator, and who stands where.

Contract: pure, from the rows of the hypothesis whose arms are compared (`compared_on`). A question is a metric on a set
of ground truth. Whoever was fitted to a load point of a set, states nothing of what it was fitted to, or predicts less
than half of it, has errors there and no rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import ClosedLoop, LoadPoint
from roofline_lab.ground_truth.names import readable_names
from roofline_lab.ground_truth.reading import titles_of_sets
from roofline_lab.hypotheses.arms import Arm
from roofline_lab.predict.named import fitted_in_words, holdout_of
from roofline_lab.predict.predictors import OUT_OF_SAMPLE, Holdout
from roofline_lab.project import Project
from roofline_lab.run_files import Row, error_rows
from roofline_lab.scoring.ranks import Standing, standings
from roofline_lab.scoring.scores import ErrorRow, Scores
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.simulators.costs import Costs, read_costs
from roofline_lab.vocabulary import MEANS, Metric
from simulator.trust.distance import KIND_WORDS, kind_of

# Who predicts fewer of the load points of a question does not compete in it: others would be compared on what it chose.
LEAST_SHARE = 0.5
# Requests in flight of closed loops, as classes; the last has no end.
LOADS = (1, 8, 32)


class Place(NamedTuple):
    """What a load point is, beside what its rows say."""

    load: str
    kind: str


@dataclass(frozen=True)
class Question:
    """One set of ground truth with all its rows, and who stands where by metric.

    Attributes
    ----------
    holdouts
        What the set is to each arm: how much of a test, and for which metrics.
    """

    name: str
    title: str
    method: str
    scores: Scores
    holdouts: Mapping[str, Mapping[Holdout, tuple[Metric, ...]]]
    standings: Mapping[Metric, tuple[Standing, ...]]


@dataclass(frozen=True)
class Comparison:
    """Everything the page says.

    Attributes
    ----------
    places
        Kind of load and of model, by experiment and load point.
    fitted
        What each arm was fitted to, in words.
    run_names
        What readers call the experiments.
    """

    hypothesis: str
    arms: tuple[Arm, ...]
    questions: tuple[Question, ...]
    places: Mapping[str, Place]
    fitted: Mapping[str, str]
    versions: Mapping[str, str]
    costs: Costs | None
    rows: tuple[Row, ...]
    run_names: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The arms, by name."""
        return tuple(arm.name for arm in self.arms)

    @property
    def scored(self) -> tuple[ErrorRow, ...]:
        """The rows of all sets."""
        return tuple(row for question in self.questions for row in question.scores.rows)


def compare(project: Project, hypothesis: str, rows: Sequence[Row]) -> Comparison:
    """Score the rows of every set, and rank who may be ranked."""
    spec, sets = project.hypotheses[hypothesis], project.compared_sets(hypothesis)
    arms = project.arms(hypothesis, spec.methods[-1])
    first = {run.arm.name: run for run in reversed(project.runs(hypothesis))}
    versions = {str(row["simulator"]): str(row["version"]) for row in rows if row.get("version")}
    return Comparison(
        hypothesis,
        arms,
        tuple(_question(project, hypothesis, name, members, rows) for name, members in sets.items()),
        dict(_places(project, (one for members in sets.values() for one in members))),
        {arm.name: fitted_in_words(project, first[arm.name]) for arm in arms},
        versions,
        read_costs(project.root),
        tuple(rows),
        readable_names(one for members in sets.values() for one in members),
    )


def _question(
    project: Project, hypothesis: str, name: str, members: Sequence[Experiment], rows: Sequence[Row]
) -> Question:
    spec = project.hypotheses[hypothesis]
    method, inside = spec.compared_on[name], {one.id for one in members}
    own = [row for row in rows if row["method"] == method and row["experiment"] in inside]
    held = {
        (run.arm.name, run.experiment.id, metric): holdout_of(project, run, metric)
        for run in project.runs(hypothesis)
        if run.method.id == method and run.experiment.id in inside
        for metric in MEANS
    }
    scored = Scores(
        replace(row, holdout=held[row.arm, row.experiment, Metric(row.metric)].value) for row in error_rows(own, MEANS)
    )
    holdouts = {arm: _by_holdout(held, arm) for arm in spec.arms}
    uncertainty = Uncertainty.of_settings(project.settings)
    found = {
        metric: standings(scored, tuple(spec.arms), metric, uncertainty, excluded(scored, tuple(spec.arms), metric))
        for metric in MEANS
        if any(scored.select(arm, metric) for arm in spec.arms)
    }
    return Question(name, titles_of_sets(project.root)[name], method, scored, holdouts, found)


def _by_holdout(held: Mapping[tuple[str, str, Metric], Holdout], arm: str) -> dict[Holdout, tuple[Metric, ...]]:
    own = {(holdout, metric) for (name, _, metric), holdout in held.items() if name == arm}
    found = {holdout: tuple(metric for metric in MEANS if (holdout, metric) in own) for holdout in Holdout}
    return {holdout: metrics for holdout, metrics in found.items() if metrics}


def excluded(scores: Scores, arms: Sequence[str], metric: Metric) -> dict[str, str]:
    """Return who does not compete in a question, and why."""
    reasons = {}
    for arm in arms:
        coverage, rows = scores.coverage(arm, metric), scores.select(arm, metric)
        fitted = sum(row.holdout == Holdout.IN_SAMPLE for row in rows)
        unknown = sum(row.holdout not in OUT_OF_SAMPLE for row in rows) - fitted
        if not rows:
            reasons[arm] = f"predicts none of {coverage.asked}"
        elif fitted:
            reasons[arm] = f"was fitted to {fitted} of the {len(rows)} it predicts"
        elif unknown:
            reasons[arm] = "nobody states what it was tuned to, so that no error of it is known to be a test"
        elif coverage.predicted < LEAST_SHARE * coverage.asked:
            reasons[arm] = f"predicts {coverage}, less than half"
    return reasons


def _places(project: Project, experiments: Iterable[Experiment]) -> Iterator[tuple[str, Place]]:
    for experiment in experiments:
        kind = KIND_WORDS[kind_of(project.model(experiment.model))]
        for point in experiment.load_points:
            yield f"{experiment.id}/{point.id}", Place(_load(point), kind)


def _load(point: LoadPoint) -> str:
    """Return how much is in flight at a load point, in words."""
    if not isinstance(point.arrivals, ClosedLoop):
        return "sent at a rate"
    low = 0
    for high in LOADS:
        if point.arrivals.concurrency <= high:
            return "1 in flight" if high == 1 else f"{low + 1} to {high} in flight"
        low = high
    return f"more than {low} in flight"
