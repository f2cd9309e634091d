"""Rules about the figures the project rests on: measured ones, and published errors of others.

What is asked is whether a pitfall that the numbers show by themselves is also said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.experiment_lint import seen_among, seen_in, unflagged
from roofline_lab.ground_truth.quality import QualityFlag
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE, load_experiment, words_of
from roofline_lab.lint.rules import Breach, Findings, Subject, findings
from roofline_lab.project import Project
from roofline_lab.scoring.errors import relative_difference
from roofline_lab.scoring.published import Cell
from roofline_lab.vocabulary import Scope, Statistic
from simulator.errors import ConfigError

# Method under which published errors of two hypotheses are about the same runs.
PUBLISHED_METHOD = "as_published"

# Two arms predict the same when no experiment's prediction differs by more than this share.
SAME_PREDICTION = 0.05
# How far rounding two errors to one decimal moves them apart, in percent.
ROUNDING_PCT = 0.1

# Hypothesis and arm; errors in percent by metric and experiment.
Place = tuple[str, str]
Errors = dict[tuple[str, str], float]


def pitfalls_flagged(project: Project) -> Findings:
    """GT: every pitfall an experiment shows is one of its quality flags."""
    sets = [project.all_experiments(name) for name in project.hypotheses]
    loaded = {experiment.id: experiment for members in sets for experiment in members}
    experiments, breaches, words = [], [], words_of(project.root)
    for path in sorted((project.root / "ground_truth").glob(f"*/{EXPERIMENT_FILE}")):
        try:
            experiments.append(loaded.get(path.parent.name) or load_experiment(path.parent, words))
        except ConfigError as error:
            breaches.append(Breach(f"ground_truth/{path.parent.name}", str(error), "correct the file"))
    for experiment in experiments:
        missing = unflagged(experiment, (*seen_in(experiment), *seen_among(experiment, experiments)))
        breaches += [_unsaid(experiment, seen) for seen in missing]
    return findings(f"{len(experiments)} experiments, their figures and recorded requests", breaches)


def published_agree(project: Project) -> Findings:
    """PUB: published errors are means of their parts, and arms that predict the same have errors that allow it."""
    notes = [*_odd_averages(project), *_contradictions(project)]
    known = [name for name, published in sorted(project.published.items()) if published is not None]
    return findings(f"published tables of {len(known)} hypotheses", notes=notes)


def _unsaid(experiment: Experiment, seen: QualityFlag) -> Breach:
    where = f"ground_truth/{experiment.id}/{EXPERIMENT_FILE} quality"
    points = f" at {', '.join(seen.load_points)}" if seen.load_points else ""
    return Breach(where, f"no flag {seen.flag}{points}, but: {seen.text}", "add the flag")


def _cells(project: Project, hypothesis: str, statistic: Statistic) -> Iterator[Cell]:
    published = project.published.get(hypothesis)
    if published is not None and hypothesis in project.hypotheses:
        yield from (cell for cell in published.cells if cell.statistic is statistic)


def _odd_averages(project: Project) -> Iterator[str]:
    """Yield overall errors that are a root mean square of the errors beside them, as a training loss is."""
    for hypothesis in sorted(project.hypotheses):
        cells = list(_cells(project, hypothesis, Statistic.MAPE))
        for overall in (cell for cell in cells if cell.scope is Scope.OVERALL):
            parts = [
                cell.value
                for cell in cells
                if (cell.scope, cell.arm, cell.metric) == (Scope.EXPERIMENT, overall.arm, overall.metric)
            ]
            if lint.kind_of_average(parts, overall.value) == "root_mean_square":
                yield (
                    f"{hypothesis}: the published overall {overall.metric} error of {overall.arm}, {overall.value:g} "
                    f"{overall.unit}, is the root mean square of its {len(parts)} experiments, not their mean"
                )


def _contradictions(project: Project) -> Iterator[str]:
    """Yield errors of two pages that cannot both be right, as their arms predict nearly the same.

    If predictions differ by the share d, errors in percent differ by at most d (100 + error).
    """
    errors = {
        (hypothesis, arm): values
        for hypothesis in sorted(project.hypotheses)
        if PUBLISHED_METHOD in project.hypotheses[hypothesis].methods
        for arm, values in _errors(project, hypothesis).items()
    }
    subjects = {hypothesis: Subject(project, hypothesis) for hypothesis, _ in errors}
    for place, other in combinations(errors, 2):
        if place[0] != other[0]:
            yield from _impossible(subjects, place, other, errors[place], errors[other])


def _impossible(
    subjects: Mapping[str, Subject], place: Place, other: Place, errors: Errors, others: Errors
) -> Iterator[str]:
    for metric in sorted({metric for metric, _ in errors} & {metric for metric, _ in others}):
        sides = [subjects[hypothesis].predicted(PUBLISHED_METHOD, arm, metric) for hypothesis, arm in (place, other)]
        shares = {
            key: abs(relative_difference(sides[1][point, key], value))
            for (point, key), value in sides[0].items()
            if sides[1].get((point, key))
        }
        if not shares or max(shares.values()) > SAME_PREDICTION:
            continue
        kept: tuple[dict[str, float], dict[str, float]] = ({}, {})
        for key, share in sorted(shares.items()):
            left, right = errors.get((metric, key)), others.get((metric, key))
            if left is None or right is None:
                continue
            if abs(left - right) > share * (100 + max(left, right)) + ROUNDING_PCT:
                kept[0][key], kept[1][key] = left, right
        found = lint.figures_contradict(kept[0], kept[1], 0.0)
        if found is not None:
            yield (
                f"{place[0]} {place[1]} and {other[0]} {other[1]} predict the same {metric} within "
                f"{max(shares.values()):.1%}, but their published errors in percent differ. {found.text}"
            )


def _errors(project: Project, hypothesis: str) -> dict[str, Errors]:
    """Return published errors in percent by arm, and by metric and experiment."""
    found: dict[str, Errors] = {}
    for cell in _cells(project, hypothesis, Statistic.MAPE):
        if cell.scope is Scope.EXPERIMENT and cell.value:
            found.setdefault(cell.arm, {})[cell.metric, cell.key] = cell.value
    return found
