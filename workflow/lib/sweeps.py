"""Carrying out a sweep: which values are simulated at which stage, and the run that takes the chosen one.

The test experiments are simulated once, with the chosen value; they never see another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from simulator.errors import InvariantError
from workflow.lib.laboratory import Laboratory, Run
from workflow.lib.results import Row, error_rows
from workflow.lib.simulate import simulate
from workflow.lib.split import TRAIN, Split
from workflow.lib.sweep import COARSE, FINE, Search, Sweep, curve, optimum

VALUE = "swept_value"


def train_experiments(laboratory: Laboratory, hypothesis: str) -> tuple[str, ...]:
    """Return the experiments that choose, in the set's order."""
    split = _split(laboratory, hypothesis)
    return tuple(one.id for one in laboratory.experiments(hypothesis) if split.side_of(one.id) == TRAIN)


def stage_values(
    laboratory: Laboratory, hypothesis: str, method: str, stage: str, earlier: Sequence[Row]
) -> tuple[float, ...]:
    """Return the values of one stage; the finer ones depend on the rows of the first stage."""
    sweep = _sweep(laboratory, hypothesis)
    if stage == COARSE:
        return sweep.values()
    if stage == FINE:
        return sweep.finer_values(search(laboratory, hypothesis, method, earlier).chosen)
    raise InvariantError(f"sweep: no stage '{stage}'")


def simulate_values(
    laboratory: Laboratory, hypothesis: str, method: str, experiment: str, values: Sequence[float]
) -> str:
    """Return one JSON line per value and load point of one experiment."""
    arm = _sweep(laboratory, hypothesis).arm
    run = laboratory.run(hypothesis, method, arm, experiment)
    return "".join(_simulate_at(laboratory, run, value) for value in values)


def simulate_chosen(laboratory: Laboratory, run: Run, rows: Sequence[Row]) -> str:
    """Return the JSON lines of the swept arm in one experiment, with the value the rows of all stages choose."""
    return simulate(laboratory, chosen_run(laboratory, run, rows))


def chosen_run(laboratory: Laboratory, run: Run, rows: Sequence[Row]) -> Run:
    """Return a run of the swept arm with the value the rows of all stages choose."""
    found = search(laboratory, run.hypothesis, run.method.id, rows)
    return _at(laboratory, run, found.chosen)


def search(laboratory: Laboratory, hypothesis: str, method: str, rows: Sequence[Row]) -> Search:
    """Return the errors by value and the best value, from the rows of a sweep (those of other methods are ignored)."""
    sweep, split = _sweep(laboratory, hypothesis), _split(laboratory, hypothesis)
    own = [row for row in rows if row["method"] == method]
    metric = sweep.select.metric
    pairs = [(float(row[VALUE]), error) for row, error in zip(own, error_rows(own, (metric,), split), strict=True)]
    errors = curve(pairs, metric)
    return Search(sweep, errors, optimum(errors))


def _simulate_at(laboratory: Laboratory, run: Run, value: float) -> str:
    lines = simulate(laboratory, _at(laboratory, run, value)).splitlines()
    return "".join(json.dumps({**json.loads(line), VALUE: value}, sort_keys=True) + "\n" for line in lines)


def _at(laboratory: Laboratory, run: Run, value: float) -> Run:
    arm, digest = laboratory.swept_arm(run.hypothesis, run.method.id, value, run.arm.name)
    return replace(run, arm=arm, digest=digest)


def _sweep(laboratory: Laboratory, hypothesis: str) -> Sweep:
    sweep = laboratory.hypotheses[hypothesis].sweep
    if sweep is None:
        raise InvariantError(f"{hypothesis} has no sweep")
    return sweep


def _split(laboratory: Laboratory, hypothesis: str) -> Split:
    split = laboratory.hypotheses[hypothesis].split
    if split is None:
        raise InvariantError(f"{hypothesis} has no split")
    return split
