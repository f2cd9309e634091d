"""What the rules of `snakemake calibrate` call: one function per rule, of the same name.

Imports nothing heavy before a job runs, because every Snakemake run loads this module. What takes time is done by the
workers, so that experiments are simulated side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from roofline_lab.files import write_text
from roofline_lab.jobs.findings import CALIBRATION_STEPS, logged
from roofline_lab.jobs.progress import PROGRESS
from roofline_lab.jobs.workers import Workers
from roofline_lab.made import require_made, write_made
from roofline_lab.project import Project


@logged
def calibration_surface(workers: Workers, name: str, experiment: str, output: str) -> None:
    """Simulate one experiment over the constants a calibration may choose from."""
    from roofline_lab.calibration import jobs

    _write(output, workers, jobs.surface_job, name, experiment)


@logged
def calibration_fit(workers: Workers, name: str, surfaces: Iterable[str], output: str) -> None:
    """Fit the constants of one calibration."""
    from roofline_lab.calibration import jobs

    _require(surfaces)
    _write(output, workers, jobs.fit_job, name, tuple(surfaces))


@logged
def calibration_waiting_surface(workers: Workers, name: str, experiment: str, output: str) -> None:
    """Simulate one experiment as if its server never scheduled ahead."""
    from roofline_lab.calibration import terms

    _write(output, workers, terms.waiting_surface_job, name, experiment)


@logged
def calibration_subsets(
    workers: Workers, name: str, ahead: str, surfaces: Iterable[str], waiting: Iterable[str], output: str
) -> None:
    """Fit and judge every set of terms with or without scheduling ahead."""
    from roofline_lab.calibration import terms

    _require([*surfaces, *waiting])
    _write(output, workers, terms.subsets_job, name, ahead, tuple(surfaces), tuple(waiting))


@logged
def calibration_chain(
    workers: Workers, name: str, surfaces: Iterable[str], waiting: Iterable[str], output: str
) -> None:
    """Fit and simulate one term more at a time."""
    from roofline_lab.calibration import terms

    _require([*surfaces, *waiting])
    _write(output, workers, terms.chain_job, name, tuple(surfaces), tuple(waiting))


@logged
def calibration_judgement(workers: Workers, name: str, experiment: str, fit: str, output: str) -> None:
    """Judge a fit on one experiment."""
    from roofline_lab.calibration import jobs

    _require([fit])
    _write(output, workers, jobs.judge_job, name, experiment, fit)


@logged
def calibration_terms(root: Path, name: str, chain: str, subsets: Iterable[str]) -> None:
    """Write the page on terms of one calibration."""
    from roofline_lab.report.calibration_terms import publish

    _require([chain, *subsets])
    publish(root, name, chain, list(subsets))
    PROGRESS.step(CALIBRATION_STEPS, f"{name}/page on terms")


@logged
def calibration_report(root: Path, parameters: str, fit: str, judged: Iterable[str]) -> None:
    """Write the parameter file, whose stem names the calibration, and its report."""
    from roofline_lab.report.calibration import publish

    _require([fit, *judged])
    publish(root, Path(parameters).stem, fit, list(judged))
    PROGRESS.step(CALIBRATION_STEPS, f"{Path(parameters).stem}/constants and page")


@logged
def calibrate_fleet(workers: Workers) -> None:
    """Fit every fleet, all of it and without every fold, and write its file, its held-out predictions and its page."""
    from roofline_lab.calibration.fleet.plan import fleet_plan_names

    for name in fleet_plan_names(workers.project.root):
        _fleet(workers, name)


def _fleet(workers: Workers, name: str) -> None:
    from roofline_lab.calibration.fleet import jobs
    from roofline_lab.report.fleet import publish

    def ask(key: tuple[object, ...], job: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return workers.ask(("fleet", name, *key), _text, job, *arguments)

    root = workers.project.root
    experiments = jobs.experiments_of(root, name)
    asked = [ask(("points", one), jobs.points_job, name, one) for one in experiments]
    everything = [point for found in _told("experiments", experiments, asked) for point in found]
    problem, folds = jobs.problems(jobs.load_fleet_plan(root, name), jobs.fitted_points(everything))
    fit = ask(("fit",), jobs.fit_job, problem).result()
    held_out = [ask(("fold", fold.fold, fold.name), jobs.fit_job, jobs.without(problem, fold)) for fold in folds]
    fitted = _told("fits", [f"without {fold.fold} {fold.name}" for fold in folds], held_out)
    publish(root, name, jobs.results_of(root, name, everything, fit, list(fitted)))
    _record(workers.project, name)


@logged
def calibration_record(project: Project, name: str) -> None:
    """Write down what a calibration's files are and what made them, for the check."""
    _record(project, name)
    PROGRESS.step(CALIBRATION_STEPS, f"{name}/record")


def _record(project: Project, name: str) -> None:
    from roofline_lab.report.calibration_guard import record_of_folder
    from roofline_lab.report.recorded import PROVENANCE

    record = record_of_folder(project.root, name)
    write_text(project.root / "reports" / "calibration" / name / PROVENANCE, record)


@logged
def calibration_held_out(workers: Workers, name: str, output: str) -> None:
    """Write what a calibration predicts of each model from the others, beside its file."""
    from roofline_lab.predict.held_out import held_out_rows
    from roofline_lab.trust.held_out import held_out_text

    write_text(Path(output), held_out_text(held_out_rows(workers.project.root, name)))
    PROGRESS.step(CALIBRATION_STEPS, f"{name}/predictions without each family")


def _told(kind: str, names: Sequence[str], asked: Sequence[Future[Any]]) -> Iterator[Any]:
    """Yield answers in the order they were asked for, and say of each that it is there."""
    PROGRESS.start({kind: len(asked)})
    for name, one in zip(names, asked, strict=True):
        answer = one.result()
        PROGRESS.step(kind, name)
        yield answer


def _require(results: Iterable[str]) -> None:
    require_made(map(Path, results))


def _write(output: str, workers: Workers, job: Callable[..., str], *arguments: Any) -> None:
    """Write the text that a worker gets from a job of the calibration."""
    write_made(Path(output), workers.ask((job.__name__, *arguments), _text, job, *arguments).result())
    PROGRESS.step(CALIBRATION_STEPS, "/".join(Path(output).with_suffix("").parts[2:]))


def _text(project: Project, job: Callable[..., Any], *arguments: Any) -> Any:
    return job(project.root, *arguments)
