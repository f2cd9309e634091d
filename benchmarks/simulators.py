"""What a prediction of our own simulator costs: `python -m benchmarks.simulators`, written to configs/costs.yaml.

Every arm of the hypothesis that compares simulators (`compared_on`) predicts every load point of every set once, in one
process. Processor seconds are counted, so that others at work on the machine count little. Programs of others are timed
when they are asked, and their seconds stand with their recorded answers.
"""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import yaml

import simulator
from roofline_lab.files import write_text
from roofline_lab.predict.arms import Simulation
from roofline_lab.predict.named import simulated
from roofline_lab.project import Project, load_project
from roofline_lab.simulators.costs import FILE
from roofline_lab.vocabulary import RowStatus

ROOT = Path(__file__).resolve().parents[1]
HEAD = "# Written by `python -m benchmarks.simulators`, once: it differs from run to run and from machine to machine.\n"
DIGITS = 2


def costs(project: Project) -> dict[str, dict[str, float]]:
    """Return the processor seconds of one load point, by arm and set; nothing of sets an arm cannot predict."""
    hypothesis = project.comparing
    if hypothesis is None:
        raise SystemExit("no hypothesis compares simulators (compared_on)")
    arms = dict.fromkeys(run.arm.name for run in project.runs(hypothesis) if run.arm.simulator.is_ours)
    sets = project.compared_sets(hypothesis)
    found = {arm: {name: _seconds(project, hypothesis, arm, name) for name in sets} for arm in arms}
    return {arm: {name: value for name, value in own.items() if value is not None} for arm, own in found.items()}


def _seconds(project: Project, hypothesis: str, arm: str, name: str) -> float | None:
    method = project.hypotheses[hypothesis].compared_on[name]
    project.outcomes.clear()
    start, predicted = time.process_time(), 0
    for experiment in project.compared_sets(hypothesis)[name]:
        rows = simulated(project, Simulation(hypothesis, method, arm, experiment.id))
        predicted += sum(row["status"] == RowStatus.OK for row in rows)
    spent = time.process_time() - start
    return float(f"{spent / predicted:.{DIGITS}g}") if predicted else None


def main() -> None:
    """Measure and write."""
    core = "simulator compiled" if simulator.COMPILED else "simulator as Python sources"
    found = {
        "machine": f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, {core}",
        "method": "processor seconds of one process over the load points of a set that an arm predicts",
        "seconds_per_load_point": costs(load_project(ROOT)),
    }
    write_text(ROOT / FILE, HEAD + yaml.safe_dump(found, sort_keys=False, width=120))


if __name__ == "__main__":
    main()
