"""What is simulated for a measured hypothesis: one experiment by one arm, at a value of its sweep if it has one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from roofline_lab.predict.arms import simulate
from roofline_lab.project import Project, Run

VALUE = "swept_value"


@dataclass(frozen=True, slots=True)
class Simulation:
    """One experiment, simulated at all its load points.

    Attributes
    ----------
    value
        What the swept option of the arm is set to; None where no sweep sets one.
    """

    hypothesis: str
    method: str
    arm: str
    experiment: str
    value: float | None = None


def run_of(project: Project, wanted: Simulation) -> Run:
    """Return the method, arm and experiment of a simulation, the arm with its value.

    Raises
    ------
    ConfigError
        If the matrix has no such run, or the option cannot take the value.
    """
    run = project.run(wanted.hypothesis, wanted.method, wanted.arm, wanted.experiment)
    if wanted.value is None:
        return run
    arm, digest = project.swept_arm(wanted.hypothesis, wanted.method, wanted.value, wanted.arm)
    return replace(run, arm=arm, digest=digest)


def simulated(project: Project, wanted: Simulation) -> list[dict[str, Any]]:
    """Return one row per load point of a simulation's experiment."""
    return [json.loads(line) for line in simulate(project, run_of(project, wanted)).splitlines()]


def row_lines(wanted: Simulation, rows: Sequence[dict[str, Any]], made_from: str) -> str:
    """Return rows as JSON lines in the name of the arm that asked, as another of the same options may have been run.

    Parameters
    ----------
    made_from
        Digest of code and data behind the rows; with their configuration it tells whether they still stand.
    """
    own: dict[str, Any] = {"hypothesis": wanted.hypothesis, "arm": wanted.arm, "made_from": made_from}
    if wanted.value is not None:
        own[VALUE] = wanted.value
    return "".join(json.dumps({**row, **own}, sort_keys=True, allow_nan=False) + "\n" for row in rows)
