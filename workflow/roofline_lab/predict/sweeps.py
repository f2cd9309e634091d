"""Carrying out a sweep: which values are simulated at which stage, and the one that is chosen.

The test experiments are simulated once, with the chosen value; they never see another.
"""

from __future__ import annotations

from collections.abc import Sequence

from roofline_lab.hypotheses.sweep import COARSE, FINE, TRAIN, Search, Split, Sweep, curve, optimum
from roofline_lab.predict.arms import VALUE, Simulation
from roofline_lab.project import Project
from roofline_lab.run_files import Row, error_rows
from simulator.errors import InvariantError


def train_experiments(project: Project, hypothesis: str) -> tuple[str, ...]:
    """Return the experiments that choose, in the set's order."""
    split = _split(project, hypothesis)
    return tuple(
        experiment.id for experiment in project.experiments(hypothesis) if split.side_of(experiment.id) == TRAIN
    )


def stage_values(
    project: Project, hypothesis: str, method: str, stage: str, earlier: Sequence[Row]
) -> tuple[float, ...]:
    """Return the values of one stage; the finer ones depend on the rows of the first stage."""
    sweep = _sweep(project, hypothesis)
    if stage == COARSE:
        return sweep.values()
    if stage == FINE:
        return sweep.finer_values(search(project, hypothesis, method, earlier).chosen)
    raise InvariantError(f"sweep: no stage '{stage}'")


def stage_simulations(
    project: Project, hypothesis: str, method: str, stage: str, earlier: Sequence[Row]
) -> tuple[Simulation, ...]:
    """Return what one stage of a sweep simulates: every experiment that chooses, at every value of the stage."""
    values, arm = stage_values(project, hypothesis, method, stage, earlier), _sweep(project, hypothesis).arm
    experiments = train_experiments(project, hypothesis)
    return tuple(
        Simulation(hypothesis, method, arm, experiment, value) for experiment in experiments for value in values
    )


def swept_arms(project: Project, hypothesis: str) -> tuple[str, ...]:
    """Return the arms whose value a sweep chooses; none without a sweep."""
    sweep = project.hypotheses[hypothesis].sweep if hypothesis in project.hypotheses else None
    return () if sweep is None else tuple(sweep.arms)


def chosen_value(project: Project, hypothesis: str, method: str, arm: str, rows: Sequence[Row]) -> float | None:
    """Return the value that the rows of all stages choose for an arm; None for an arm that is not swept."""
    if arm not in swept_arms(project, hypothesis):
        return None
    return search(project, hypothesis, method, rows).chosen


def search(project: Project, hypothesis: str, method: str, rows: Sequence[Row]) -> Search:
    """Return the errors by value and the best value, from the rows of a sweep (those of other methods are ignored)."""
    sweep, split = _sweep(project, hypothesis), _split(project, hypothesis)
    own = [row for row in rows if row["method"] == method]
    metric = sweep.select.metric
    pairs = [(float(row[VALUE]), error) for row, error in zip(own, error_rows(own, (metric,), split), strict=True)]
    errors = curve(pairs, metric)
    return Search(sweep, errors, optimum(errors))


def _sweep(project: Project, hypothesis: str) -> Sweep:
    sweep = project.hypotheses[hypothesis].sweep
    if sweep is None:
        raise InvariantError(f"{hypothesis} has no sweep")
    return sweep


def _split(project: Project, hypothesis: str) -> Split:
    split = project.hypotheses[hypothesis].split
    if split is None:
        raise InvariantError(f"{hypothesis} has no split")
    return split
