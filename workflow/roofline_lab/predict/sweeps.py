"""Carrying out a sweep: which values are simulated at which stage, and the run that takes the chosen one.

The test experiments are simulated once, with the chosen value; they never see another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from roofline_lab.hypotheses.split import TRAIN, Split
from roofline_lab.hypotheses.sweep import COARSE, FINE, Search, Sweep, curve, optimum
from roofline_lab.load_point import simulate
from roofline_lab.project import Project, Run
from roofline_lab.run_files import Row, error_rows
from simulator.errors import InvariantError

VALUE = "swept_value"


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


def simulate_values(project: Project, hypothesis: str, method: str, experiment: str, values: Sequence[float]) -> str:
    """Return one JSON line per value and load point of one experiment."""
    arm = _sweep(project, hypothesis).arm
    run = project.run(hypothesis, method, arm, experiment)
    return "".join(_simulate_at(project, run, value) for value in values)


def simulate_chosen(project: Project, run: Run, rows: Sequence[Row]) -> str:
    """Return the JSON lines of the swept arm in one experiment, with the value the rows of all stages choose."""
    return simulate(project, chosen_run(project, run, rows))


def chosen_run(project: Project, run: Run, rows: Sequence[Row]) -> Run:
    """Return a run of the swept arm with the value the rows of all stages choose."""
    found = search(project, run.hypothesis, run.method.id, rows)
    return _at(project, run, found.chosen)


def search(project: Project, hypothesis: str, method: str, rows: Sequence[Row]) -> Search:
    """Return the errors by value and the best value, from the rows of a sweep (those of other methods are ignored)."""
    sweep, split = _sweep(project, hypothesis), _split(project, hypothesis)
    own = [row for row in rows if row["method"] == method]
    metric = sweep.select.metric
    pairs = [(float(row[VALUE]), error) for row, error in zip(own, error_rows(own, (metric,), split), strict=True)]
    errors = curve(pairs, metric)
    return Search(sweep, errors, optimum(errors))


def _simulate_at(project: Project, run: Run, value: float) -> str:
    lines = simulate(project, _at(project, run, value)).splitlines()
    return "".join(json.dumps({**json.loads(line), VALUE: value}, sort_keys=True) + "\n" for line in lines)


def _at(project: Project, run: Run, value: float) -> Run:
    arm, digest = project.swept_arm(run.hypothesis, run.method.id, value, run.arm.name)
    return replace(run, arm=arm, digest=digest)


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
