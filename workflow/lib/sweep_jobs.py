"""Paths and jobs of sweeps: what the rules call for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workflow.lib.files import write_text
from workflow.lib.laboratory import Laboratory, Run
from workflow.lib.results import read_lines
from workflow.lib.simulate import simulate
from workflow.lib.sweep import COARSE
from workflow.lib.sweeps import chosen_run, simulate_chosen, simulate_values, stage_values, train_experiments

RESULTS = Path("results")


def sweep_paths(lab: Laboratory, hypothesis: str) -> list[str]:
    """Return the result files of a hypothesis' sweep under all its methods; none without a sweep."""
    methods = lab.hypotheses[hypothesis].methods
    return [path for method in methods for path in _stage_paths(lab, hypothesis, method, None)]


def sweep_paths_of(lab: Laboratory, wildcards: Any) -> list[str]:
    """Return the sweep results that choose the value of an arm; none for any other arm."""
    sweep = lab.hypotheses[wildcards.hypothesis].sweep
    if sweep is None or wildcards.arm not in sweep.arms:
        return []
    return _stage_paths(lab, wildcards.hypothesis, wildcards.method, None)


def earlier_sweep_paths(lab: Laboratory, wildcards: Any) -> list[str]:
    """Return the results a stage of a sweep depends on: none for the first."""
    return [] if wildcards.stage == COARSE else _stage_paths(lab, wildcards.hypothesis, wildcards.method, COARSE)


def swept_arm_file(lab: Laboratory, wildcards: Any) -> str:
    """Return the file that records the swept arm and its sweep."""
    sweep = lab.hypotheses[wildcards.hypothesis].sweep
    name = sweep.arm if sweep is not None else ""
    return f"{RESULTS}/{wildcards.hypothesis}/arms/{wildcards.method}/{name}.json"


def _stage_paths(lab: Laboratory, hypothesis: str, method: str, only: str | None) -> list[str]:
    sweep = lab.hypotheses[hypothesis].sweep
    if sweep is None:
        return []
    stages = sweep.stages if only is None else (only,)
    experiments = train_experiments(lab, hypothesis)
    return [
        f"{RESULTS}/{hypothesis}/sweep/{method}/{stage}/{experiment}.jsonl"
        for stage in stages
        for experiment in experiments
    ]


def arm_record(lab: Laboratory, run: Run) -> dict[str, Any]:
    """Return what a run's arm depends on: its configuration and, for a swept arm, the sweep."""
    record: dict[str, Any] = {"configuration": run.arm.configuration, "digest": run.digest}
    spec = lab.hypotheses[run.hypothesis]
    if spec.sweep is not None and spec.split is not None and run.arm.name in spec.sweep.arms:
        record |= {"sweep": spec.sweep.model_dump(mode="json"), "train": spec.split.train}
    return record


def simulate_job(lab: Laboratory, wildcards: Any, sweep: Iterable[str], output: str) -> None:
    """Simulate one experiment under one method and arm; a swept arm takes the value its sweep chooses."""
    run = lab.run(wildcards.hypothesis, wildcards.method, wildcards.arm, wildcards.experiment)
    rows = read_lines(Path(path) for path in sweep)
    write_text(Path(output), simulate_chosen(lab, run, rows) if rows else simulate(lab, run))


def sweep_job(lab: Laboratory, wildcards: Any, earlier: Iterable[str], output: str) -> None:
    """Simulate one experiment at every value of one stage of a sweep."""
    hypothesis, method = wildcards.hypothesis, wildcards.method
    rows = read_lines(Path(path) for path in earlier)
    values = stage_values(lab, hypothesis, method, wildcards.stage, rows)
    write_text(Path(output), simulate_values(lab, hypothesis, method, wildcards.experiment, values))


def carried_out(lab: Laboratory, run: Run, rows: list[Any]) -> Run:
    """Return the run a result file must hold: of the swept arm the one with the chosen value."""
    sweep = lab.hypotheses[run.hypothesis].sweep
    return run if sweep is None or run.arm.name not in sweep.arms else chosen_run(lab, run, rows)
