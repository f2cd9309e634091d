"""An evaluation: from arguments to one result per load point and predictor.

Contract: `prepare` reads arguments, predictors and experiments and raises one `ConfigError` before anything runs; an
experiment that cannot be read, or names what nobody describes, is kept as refused and never costs the others.
`simulate_all` gives results in the order of the experiments, whatever number of processes worked;
`evaluate_experiment` is pure. All requests of a load point are simulated. Measured values play no part in a
prediction. What cannot be simulated is a result with a reason; only a bug raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from roofline_lab.config import RandomArrivals, Settings, load_settings
from roofline_lab.ground_truth.assumed_server import served, with_assumed_server
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.kept_up import judge, load_of
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE, experiment_from
from roofline_lab.importers.server_facts import Fact
from roofline_lab.importers.stated_server import filled, settings_by_options
from roofline_lab.load_point import Prediction, Setup, Target, compared, simulate, spread_apart
from roofline_lab.predict.at_sites import AtSites, at_sites
from roofline_lab.predict.catalog import Catalogue, catalogue_of
from roofline_lab.predict.choose import Chosen, load_predictor
from roofline_lab.predict.coverage import architecture_of
from roofline_lab.predict.predictors import Flag, Note, Predictor
from roofline_lab.predict.processes import answers
from roofline_lab.predict.records import HEADLINE, Place, PointResult, Refused, count
from roofline_lab.predict.sensitivity import costs_of
from roofline_lab.predict.trusted import trust_in
from roofline_lab.residuals.build import priced_by, residual_of
from roofline_lab.residuals.record import Figure as ResidualFigure
from roofline_lab.residuals.record import Residual
from roofline_lab.run_files import SATURATED
from roofline_lab.scoring.comparison import Comparison, Wanted, wanted_metrics
from roofline_lab.scoring.under_load import distances_of
from roofline_lab.vocabulary import RowStatus
from simulator.errors import ConfigError, RooflineLabError
from simulator.hardware import Hardware
from simulator.loading import as_loaded
from simulator.model import Model
from simulator.parallelism import block_warnings, require_linked
from simulator.validation import read_yaml
from simulator.workload.arrivals import ClosedLoop

Progress = Callable[[str], None]
IN_SAMPLE = "the client's time at this site was taken from this load point's TTFT"
ONLY_PREDICTED_SATURATED = "saturated in the simulation alone"
IMPORT_FIRST = (
    "results of GuideLLM, inference-perf or vllm bench serve become such files with `roofline-lab import` "
    "(docs/importing.md); docs/ground-truth.md describes the format"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for; see `roofline-lab evaluate --help`.

    Attributes
    ----------
    software
        Serving software of experiments that name none.
    server
        Facts about servers, KEY=VALUE or files, for experiments that do not state them.
    site_from
        Load point that tells the client's time at its site, `lightest` for every site; None leaves it to the constants.
    """

    root: Path
    experiments: Path
    steptime: str
    against: str | None = None
    models: Path | None = None
    hardware: Path | None = None
    software: str | None = None
    server: tuple[str, ...] = ()
    site_from: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One experiment file.

    Attributes
    ----------
    place
        What pages call it: its folder relative to the one evaluated.
    experiment
        What it says; None if it cannot be used, for `reason`.
    """

    place: str
    path: Path
    experiment: Experiment | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """What one job needs: an experiment, what it names, and who predicts it.

    Attributes
    ----------
    arrivals
        How random arrivals that were not recorded are drawn.
    notes
        What had to be assumed about the server.
    """

    experiment: Experiment
    model: Model
    hardware: Hardware
    predictors: tuple[Predictor, ...]
    arrivals: RandomArrivals
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A folder of experiments, ready to be simulated or simulated.

    Attributes
    ----------
    title, software, stated, site_from
        Name of the folder, the serving software where none was stated, further facts where they were not, and the load
        point the client's time was taken from.
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
    stated: Mapping[str, str] = field(default_factory=dict)
    site_from: str | None = None

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
    stated = settings_by_options(request.server)
    tasks: list[Task] = []
    refused: list[Refused] = []
    predictors = tuple(choice.predictor for choice in chosen)
    for source in sources:
        found = task_of(source, catalogue, predictors, settings.arrivals, request.software, stated)
        (tasks if isinstance(found, Task) else refused).append(found)  # type: ignore[arg-type]
    if request.site_from is not None:
        tasks = _at_sites(tasks, predictors, request.site_from)
    return Evaluation(
        title=request.experiments.absolute().name,
        software=request.software,
        stated={name: str(fact.value) for name, fact in stated.items()},
        settings=settings,
        chosen=chosen,
        catalogue=catalogue,
        sources=sources,
        tasks=tuple(tasks),
        refused=tuple(refused),
        overlooked=folders_without(request.experiments, files),
        site_from=request.site_from,
    )


def _at_sites(tasks: Sequence[Task], predictors: Iterable[Predictor], wanted: str) -> list[Task]:
    """Return the tasks with predictors that know the client's time at sites."""
    targets = [target for task in tasks for target in _targets(task)]
    informed = tuple(at_sites(predictor, targets, wanted) for predictor in predictors)
    return [replace(task, predictors=informed) for task in tasks]


def simulate_all(evaluation: Evaluation, jobs: int, progress: Progress) -> Evaluation:
    """Return the evaluation with its results.

    Parameters
    ----------
    jobs
        Processes that simulate; results do not depend on it.
    progress
        Told which experiment is done.
    """
    tasks = evaluation.tasks
    requests = [sum(point.requests.sent for point in task.experiment.load_points) for task in tasks]
    found: dict[int, tuple[PointResult, ...]] = {}
    for place, results in answers(evaluate_experiment, tasks, jobs, requests):
        found[place] = results
        experiment = tasks[place].experiment
        points = count(len(experiment.load_points), "load point")
        progress(f"{experiment.id} ({points})")
    return replace(evaluation, results=tuple(chain.from_iterable(found[place] for place in sorted(found))))


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


def task_of(
    source: Source,
    catalogue: Catalogue,
    predictors: Sequence[Predictor],
    arrivals: RandomArrivals,
    software: str | None,
    stated: Mapping[str, Fact],
) -> Task | Refused:
    """Return what a job needs to predict one experiment, or why nothing can."""
    experiment = source.experiment
    if experiment is None:
        return Refused(source.place, RowStatus.REFUSED, source.reason)
    experiment, said = filled(experiment, stated)
    problems = []
    describing = (
        lambda: catalogue.model(experiment.model),
        lambda: catalogue.hardware(experiment.hardware),
        lambda: ran(catalogue, experiment),
        lambda: require_linked(catalogue.documented(experiment.hardware), experiment.parallelism),
    )
    for describe in describing:
        try:
            describe()
        except RooflineLabError as error:
            problems.append(str(error))
    if problems:
        return Refused(source.place, RowStatus.REFUSED, "; ".join(dict.fromkeys(problems)))
    model, hardware = ran(catalogue, experiment), catalogue.hardware(experiment.hardware)
    names = {"model": catalogue.model_id(experiment.model), "hardware": catalogue.hardware_id(experiment.hardware)}
    experiment = experiment.model_copy(update=names)
    complete, assumed = with_assumed_server(experiment, model, hardware, software)
    notes = tuple(Note(Flag.SERVER, text) for text in filter(None, (said, *assumed)))
    if model.left_out:
        notes += (Note(Flag.MODEL, model.left_out_warning),)
    notes += tuple(Note(Flag.MODEL, text) for text in block_warnings(model, experiment.parallelism))
    _, departures = as_loaded(catalogue.model(experiment.model), hardware)
    notes += tuple(Note(Flag.MODEL, text) for text in departures)
    return Task(complete, model, hardware, tuple(predictors), arrivals, notes)


def ran(catalogue: Catalogue, experiment: Experiment) -> Model:
    """Return the model of an experiment as its server ran it on its GPU."""
    return served(experiment, catalogue.model(experiment.model), catalogue.hardware(experiment.hardware))


# --- reading experiments ----------------------------------------------------------------------------


def find_experiments(path: Path) -> tuple[Path, ...]:
    """Return the experiment files a path stands for, sorted.

    Parameters
    ----------
    path
        An experiment's file or folder, or a folder that holds experiments at any depth.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise ConfigError(f"{path}: no such file or folder; give an experiment, or a folder that holds some")
    if (path / EXPERIMENT_FILE).is_file():
        return (path / EXPERIMENT_FILE,)
    found = [file for file in path.rglob(EXPERIMENT_FILE) if not _hidden(file.relative_to(path))]
    if not found:
        raise ConfigError(f"{path}: no {EXPERIMENT_FILE} in this folder or below; {IMPORT_FIRST}")
    return tuple(sorted(found, key=lambda file: file.relative_to(path).as_posix()))


def folders_without(path: Path, files: Iterable[Path]) -> tuple[str, ...]:
    """Return the subfolders of a folder of experiments in which none was found, so that none is missed unnoticed."""
    if not path.is_dir() or (path / EXPERIMENT_FILE).is_file():
        return ()
    used = {file.relative_to(path).parts[0] for file in files}
    # Descriptions of models and GPUs may stand beside experiments.
    known = {*used, "models", "hardware", "configs"}
    others = (folder for folder in path.iterdir() if folder.is_dir() and folder.name not in known)
    return tuple(sorted(folder.name for folder in others if _seen(folder)))


def read_experiments(path: Path, files: Iterable[Path]) -> tuple[Source, ...]:
    """Read every file; an id that is given twice belongs to the first."""
    taken: dict[str, str] = {}
    return tuple(_read(path, file, taken) for file in files)


def _read(path: Path, file: Path, taken: dict[str, str]) -> Source:
    place = _folder_name(path, file)
    try:
        content = read_yaml(file)
        name = str(content.get("id", place)) if isinstance(content, Mapping) else place
        experiment = experiment_from(content, source=f"{place}/{file.name}", name=name, folder=file.parent)
    except RooflineLabError as error:
        return Source(place, file, None, _without_folders(str(error), file))
    first = taken.setdefault(experiment.id, place)
    if first != place:
        return Source(place, file, None, f"id: '{experiment.id}' is that of {first} too; give each experiment its own")
    return Source(place, file, experiment)


def _folder_name(path: Path, file: Path) -> str:
    """Name an experiment by its folder, so that pages do not depend on where the folder lies."""
    inside = file.relative_to(path).parent.as_posix() if path.is_dir() else "."
    return file.absolute().parent.name if inside == "." else inside


def _without_folders(message: str, file: Path) -> str:
    return message.replace(f"{file.parent}/", "")


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _seen(folder: Path) -> bool:
    return not folder.name.startswith(".") and any(folder.iterdir())


# --- one experiment at all its load points, under every predictor -----------------------------------


def evaluate_experiment(task: Task) -> tuple[PointResult, ...]:
    """Return every load point under every predictor, load points in the experiment's order."""
    targets = _targets(task)
    ready = [_ready(task, predictor) for predictor in task.predictors]
    found = [_result(target, *each) for target in targets for each in zip(task.predictors, ready, strict=True)]
    return tuple(_with_costs(task, targets, found))


def _targets(task: Task) -> list[Target]:
    return [
        Target(task.experiment, point, task.model, task.hardware, task.arrivals)
        for point in task.experiment.load_points
    ]


@dataclass(frozen=True, slots=True)
class _Ready:
    """What a predictor says of an experiment, whatever the load point."""

    setup: Setup
    notes: tuple[Note, ...]


def _ready(task: Task, predictor: Predictor) -> _Ready | RooflineLabError:
    """Return how a predictor sees an experiment, or why it cannot predict it."""
    described = (task.experiment, task.model, task.hardware)
    try:
        return _Ready(predictor.setup(*described), (*predictor.notes(*described), *task.notes))
    except RooflineLabError as error:
        return error


def _with_costs(
    task: Task, targets: Sequence[Target], found: Sequence[tuple[PointResult, Prediction | None]]
) -> Iterator[PointResult]:
    """Yield results, with what assumptions about the server cost at the one load point they are looked at."""
    judged = task.predictors[0]
    kept_up = {
        result.place.name: prediction
        for result, prediction in found
        if prediction is not None
        and result.predictor == judged.name
        and result.status is RowStatus.OK
        and not result.falsely_saturated
    }
    predicted = [(target, kept_up[target.name]) for target in targets if target.name in kept_up]
    costs = costs_of(task.experiment, predicted, judged)
    for result, _ in found:
        own = tuple(cost for cost in costs if cost.load_point == result.place.name)
        yield replace(result, costs=own) if own and result.predictor == judged.name else result


def _result(
    target: Target, predictor: Predictor, ready: _Ready | RooflineLabError
) -> tuple[PointResult, Prediction | None]:
    """Return what comes of one load point, and its prediction where there is one."""
    experiment, model, point = target.experiment, target.model, target.load_point
    empty = PointResult(
        place=_place(target),
        predictor=predictor.name,
        holdout=predictor.holdout(experiment, model),
        status=RowStatus.UNSUPPORTED,
        reason="",
        figures=(),
        quality=tuple(dict.fromkeys(flag.flag.value for flag in experiment.flags_of(point.id))),
        saturated_measured=saturated(experiment, point),
        fitted_as=predictor.fitted_as(experiment, model),
        requests=point.requests.sent,
    )
    wanted: tuple[Wanted, ...] = ()
    try:
        wanted = wanted_metrics(experiment, point)
        if isinstance(ready, RooflineLabError):
            raise ready
        prediction = simulate(target, ready.setup)
        notes = (*ready.notes, *_in_step(target, ready.setup, prediction))
        figures = compared(wanted, prediction)
        if isinstance(predictor, AtSites):
            figures = tuple(map(_without_ttft, figures)) if predictor.taken_from(target) else figures
            predictor = predictor.predictor
        predicted_ms = {figure.name: figure.predicted for figure in figures if figure.is_latency}
        trust = trust_in(predictor, target, prediction, predicted_ms)
        result = _compared(target, prediction, replace(empty, notes=notes, trust=trust), figures)
    except RooflineLabError as error:
        figures = tuple(metric.without(RowStatus.UNSUPPORTED, str(error)) for metric in wanted)
        return replace(empty, reason=str(error), figures=figures), None
    return result, prediction


def _in_step(target: Target, setup: Setup, prediction: Prediction) -> Iterator[Note]:
    """Yield the range of predictions where a closed loop keeps all its requests in step for ever."""
    apart = spread_apart(target, prediction)
    if apart is None:
        return
    other = simulate(target, setup, apart)
    at_once, spread_out = prediction.value("ttft_mean"), other.value("ttft_mean")
    if at_once is not None and spread_out is not None:
        yield Note(
            Flag.LOCK_STEP,
            f"{target.load_point.id}: answers of one length keep all requests of the closed loop in step for ever; a "
            f"mean TTFT of {at_once:.4g} ms is predicted with all clients starting at once, which is scored, and of "
            f"{spread_out:.4g} ms with clients spread over the time of a request; describe lengths with their "
            "scatter to know which",
        )


def _compared(
    target: Target, prediction: Prediction, empty: PointResult, figures: tuple[Comparison, ...]
) -> PointResult:
    found = replace(
        empty,
        saturated_predicted=prediction.saturated,
        requests=prediction.requests,
        completed=len(prediction.completed),
    )
    if empty.saturated_measured is True:
        unjudged = tuple(map(_unjudged, figures))
        return replace(found, status=RowStatus.SATURATED, reason=SATURATED, figures=unjudged)
    recorded = target.experiment.measured_requests(target.load_point.id)
    distances = distances_of(recorded, prediction.completed, prediction.seen)
    found = replace(found, status=RowStatus.OK, figures=figures, distances=distances)
    return replace(found, residual=_residual(target, found, prediction))


def _residual(target: Target, result: PointResult, prediction: Prediction) -> Residual:
    """Return the errors of the means with what they may go with, for the residual analysis."""
    figures = {
        name: residual_figure_of(result.figure(metric), ONLY_PREDICTED_SATURATED if result.falsely_saturated else "")
        for name, metric in zip(("ttft", "itl", "e2e"), HEADLINE, strict=True)
    }
    counters, done = prediction.counters, result.completed
    return residual_of(
        experiment=target.experiment.id,
        load_point=target.load_point.id,
        family=result.family,
        model=target.model,
        hardware=target.hardware,
        tensor_parallel=target.experiment.tensor_parallel,
        occupancy=prediction.occupancy,
        figures=figures,
        rate_per_s=target.load_point.rate_per_s,
        mixed_share=counters.mixed_steps / counters.steps if counters.steps else None,
        prefill_steps=(counters.prefill_steps + counters.mixed_steps) / done if done else None,
        priced=priced_by(prediction.setup.options, target.model),
    )


def residual_figure_of(figure: Comparison | None, refusal: str = "") -> ResidualFigure:
    """Return a figure as the residual analysis takes it; `refusal` says why none of its load point has a residual."""
    if figure is None:
        return ResidualFigure(None, None, "not measured")
    reason = "" if figure.status is RowStatus.OK else figure.reason or figure.status.value
    return ResidualFigure(figure.measured, figure.predicted, refusal or reason)


def saturated(experiment: Experiment, point: LoadPoint) -> bool | None:
    """Return whether the server kept up: as stated, else as the figures or the recorded requests show; None if neither.

    Source: the judgement of `roofline_lab.ground_truth.kept_up` that importers use.
    """
    if point.saturated is not None:
        return point.saturated
    return True if judge(load_of(point, experiment.measured_requests(point.id))).overload else None


def _unjudged(figure: Comparison) -> Comparison:
    """Take the error from a latency of a saturated load point."""
    return replace(figure, status=RowStatus.SATURATED, reason=SATURATED) if figure.is_latency else figure


def _without_ttft(figure: Comparison) -> Comparison:
    """Take the error from a TTFT that a prediction has been given."""
    if not figure.name.startswith("ttft") or figure.status is not RowStatus.OK:
        return figure
    return replace(figure, status=RowStatus.IN_SAMPLE, reason=IN_SAMPLE)


def _place(target: Target) -> Place:
    experiment, model, point = target.experiment, target.model, target.load_point
    return Place(
        experiment=experiment.id,
        load_point=point.id,
        family=experiment.family,
        model=experiment.model,
        architecture=architecture_of(model),
        hardware=experiment.hardware,
        tensor_parallel=experiment.tensor_parallel,
        workload=experiment.workload.name,
        strategy=point.strategy,
        tool=experiment.tool,
        side=experiment.side_of(point.id),
        rate_per_s=point.rate_per_s,
        clients=point.arrivals.concurrency if isinstance(point.arrivals, ClosedLoop) else None,
    )
