"""Paths and jobs of sweeps: what the rules call for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from roofline_lab.files import write_text
from roofline_lab.hypotheses.sweep import COARSE
from roofline_lab.load_point import simulate
from roofline_lab.predict.sweeps import chosen_run, simulate_chosen, simulate_values, stage_values, train_experiments
from roofline_lab.project import Project, Run
from roofline_lab.run_files import read_lines

RESULTS = Path("results")


def sweep_paths(project: Project, hypothesis: str) -> list[str]:
    """Return the result files of a hypothesis' sweep under all its methods; none without a sweep."""
    methods = project.hypotheses[hypothesis].methods
    return [path for method in methods for path in _stage_paths(project, hypothesis, method, None)]


def sweep_paths_of(project: Project, wildcards: Any) -> list[str]:
    """Return the sweep results that choose the value of an arm; none for any other arm."""
    sweep = project.hypotheses[wildcards.hypothesis].sweep
    if sweep is None or wildcards.arm not in sweep.arms:
        return []
    return _stage_paths(project, wildcards.hypothesis, wildcards.method, None)


def stage_of(project: Project, wildcards: Any) -> str:
    """Return the stage whose code a run depends on: a swept arm also depends on how its value is chosen."""
    sweep = project.hypotheses[wildcards.hypothesis].sweep
    return "simulate" if sweep is None or wildcards.arm not in sweep.arms else "sweep"


def earlier_sweep_paths(project: Project, wildcards: Any) -> list[str]:
    """Return the results a stage of a sweep depends on: none for the first."""
    return [] if wildcards.stage == COARSE else _stage_paths(project, wildcards.hypothesis, wildcards.method, COARSE)


def swept_arm_file(project: Project, wildcards: Any) -> str:
    """Return the file that records the swept arm and its sweep."""
    sweep = project.hypotheses[wildcards.hypothesis].sweep
    name = sweep.arm if sweep is not None else ""
    return f"{RESULTS}/{wildcards.hypothesis}/arms/{wildcards.method}/{name}.json"


def _stage_paths(project: Project, hypothesis: str, method: str, only: str | None) -> list[str]:
    sweep = project.hypotheses[hypothesis].sweep
    if sweep is None:
        return []
    stages = sweep.stages if only is None else (only,)
    experiments = train_experiments(project, hypothesis)
    return [
        f"{RESULTS}/{hypothesis}/sweep/{method}/{stage}/{experiment}.jsonl"
        for stage in stages
        for experiment in experiments
    ]


def arm_record(project: Project, run: Run) -> dict[str, Any]:
    """Return what a run's arm depends on: its configuration and, for a swept arm, the sweep."""
    record: dict[str, Any] = {"configuration": run.arm.configuration, "digest": run.digest}
    spec = project.hypotheses[run.hypothesis]
    if spec.sweep is not None and spec.split is not None and run.arm.name in spec.sweep.arms:
        record |= {"sweep": spec.sweep.model_dump(mode="json"), "train": spec.split.train}
    return record


def simulate_job(project: Project, wildcards: Any, sweep: Iterable[str], output: str) -> None:
    """Simulate one experiment under one method and arm; a swept arm takes the value its sweep chooses."""
    run = project.run(wildcards.hypothesis, wildcards.method, wildcards.arm, wildcards.experiment)
    rows = read_lines(Path(path) for path in sweep)
    write_text(Path(output), simulate_chosen(project, run, rows) if rows else simulate(project, run))


def sweep_job(project: Project, wildcards: Any, earlier: Iterable[str], output: str) -> None:
    """Simulate one experiment at every value of one stage of a sweep."""
    hypothesis, method = wildcards.hypothesis, wildcards.method
    rows = read_lines(Path(path) for path in earlier)
    values = stage_values(project, hypothesis, method, wildcards.stage, rows)
    write_text(Path(output), simulate_values(project, hypothesis, method, wildcards.experiment, values))


def carried_out(project: Project, run: Run, rows: list[Any]) -> Run:
    """Return the run a result file must hold: of the swept arm the one with the chosen value."""
    sweep = project.hypotheses[run.hypothesis].sweep
    return run if sweep is None or run.arm.name not in sweep.arms else chosen_run(project, run, rows)
