"""From arguments to results: everything is checked first, then experiments are simulated side by side.

Contract: `prepare` reads arguments, predictors and experiments and raises one `ConfigError` before
anything runs; an experiment that cannot be read, or names what nobody describes, is kept as refused.
`simulate_all` gives results in the order of the experiments, whatever number of processes worked.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from roofline_lab.config import RandomArrivals, Settings, load_settings
from roofline_lab.ground_truth.assumed_server import with_assumed_server
from roofline_lab.predict.catalog import Catalogue, catalogue_of
from roofline_lab.predict.choose import Chosen, load_predictor
from roofline_lab.predict.evaluate import Task, evaluate_experiment
from roofline_lab.predict.predictors import Flag, Note, Predictor
from roofline_lab.predict.records import PointResult, Refused, count
from roofline_lab.predict.sources import Source, find_experiments, folders_without, read_experiments
from roofline_lab.vocabulary import RowStatus
from simulator.errors import ConfigError, RooflineLabError

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for; see `roofline-lab evaluate --help`.

    Attributes
    ----------
    software
        Serving software of experiments that name none.
    """

    root: Path
    experiments: Path
    steptime: str
    against: str | None = None
    models: Path | None = None
    hardware: Path | None = None
    software: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A folder of experiments, ready to be simulated or simulated.

    Attributes
    ----------
    title, software
        Name of the folder, and the serving software where none was stated.
    tasks
        One per experiment that can be run, in order of their places.
    sources
        Every experiment file, refused ones too.
    refused
        What cannot be run, and why.
    overlooked
        Subfolders without an experiment.
    """

    title: str
    software: str | None
    settings: Settings
    chosen: tuple[Chosen, ...]
    catalogue: Catalogue
    sources: tuple[Source, ...]
    tasks: tuple[Task, ...]
    refused: tuple[Refused, ...]
    overlooked: tuple[str, ...]
    results: tuple[PointResult, ...] = ()

    @property
    def predictors(self) -> tuple[Predictor, ...]:
        """Who predicts, the one that is judged first."""
        return tuple(choice.predictor for choice in self.chosen)


def prepare(request: Request) -> Evaluation:
    """Read and check everything an evaluation needs.

    Raises
    ------
    ConfigError
        If an argument is wrong: nothing to evaluate, no such calibration, no such folder.
    """
    settings = load_settings(request.root)
    chosen = _chosen(request)
    catalogue = catalogue_of(request.root, request.experiments, request.models, request.hardware)
    files = find_experiments(request.experiments)
    sources = read_experiments(request.experiments, files)
    tasks: list[Task] = []
    refused: list[Refused] = []
    predictors = tuple(choice.predictor for choice in chosen)
    for source in sources:
        found = _task(source, catalogue, predictors, settings.arrivals, request.software)
        (tasks if isinstance(found, Task) else refused).append(found)  # type: ignore[arg-type]
    return Evaluation(
        title=request.experiments.absolute().name,
        software=request.software,
        settings=settings,
        chosen=chosen,
        catalogue=catalogue,
        sources=sources,
        tasks=tuple(tasks),
        refused=tuple(refused),
        overlooked=folders_without(request.experiments, files),
    )


def simulate_all(evaluation: Evaluation, jobs: int, progress: Progress) -> Evaluation:
    """Return the evaluation with its results.

    Parameters
    ----------
    jobs
        Processes that simulate; results do not depend on it.
    progress
        Told one line per experiment that is done.
    """
    found = []
    for place, results in enumerate(_in_order(evaluation.tasks, jobs), start=1):
        found.append(results)
        task = evaluation.tasks[place - 1]
        points = count(len(task.experiment.load_points), "load point")
        progress(f"{place} of {len(evaluation.tasks)}: {task.experiment.id} ({points})")
    return replace(evaluation, results=tuple(chain.from_iterable(found)))


def _chosen(request: Request) -> tuple[Chosen, ...]:
    first = load_predictor(request.root, request.steptime, "--steptime")
    if request.against is None:
        return (first,)
    second = load_predictor(request.root, request.against, "--against")
    if second.digest == first.digest and second.predictor.name == first.predictor.name:
        raise ConfigError("--against: is what --steptime names; compare two different ones, or leave it out")
    if second.predictor.name == first.predictor.name:
        second = replace(second, predictor=replace(second.predictor, name=f"{second.predictor.name} (2)"))  # type: ignore[type-var]
    return (first, second)


def _task(
    source: Source,
    catalogue: Catalogue,
    predictors: Sequence[Predictor],
    arrivals: RandomArrivals,
    software: str | None,
) -> Task | Refused:
    experiment = source.experiment
    if experiment is None:
        return Refused(source.place, RowStatus.REFUSED, source.reason)
    problems = []
    for describe in (lambda: catalogue.model(experiment.model), lambda: catalogue.hardware(experiment.hardware)):
        try:
            describe()
        except RooflineLabError as error:
            problems.append(str(error))
    if problems:
        return Refused(source.place, RowStatus.REFUSED, "; ".join(problems))
    model, hardware = catalogue.model(experiment.model), catalogue.hardware(experiment.hardware)
    filled, assumed = with_assumed_server(experiment, model, hardware, software)
    notes = tuple(Note(Flag.SERVER, text) for text in assumed)
    unused = catalogue.unused_keys(experiment.model)
    if unused:
        notes += (Note(Flag.MODEL, f"{model.id}: keys of its file that nothing uses: {', '.join(unused)}"),)
    return Task(filled, model, hardware, tuple(predictors), arrivals, notes)


def _in_order(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[PointResult, ...]]:
    if min(jobs, len(tasks)) <= 1:
        yield from map(evaluate_experiment, tasks)
        return
    try:
        with ProcessPoolExecutor(max_workers=min(jobs, len(tasks)), initializer=_leave_interrupts) as pool:
            yield from pool.map(evaluate_experiment, tasks)
    except BrokenProcessPool:
        raise ConfigError("a worker process was ended from outside, perhaps for memory; try --jobs 1") from None


def _leave_interrupts() -> None:
    """Let the main process alone answer an interrupt from the keyboard."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
