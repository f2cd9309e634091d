"""A calibration carried onto a GPU or a site by measured runs: from arguments to constants and their judgement.

Contract: `prepare` reads and checks everything and raises one `ConfigError` that lists every problem before anything
runs; `carry` fits (`calibration.transfer`) by engine runs and judges: every load point as the data sheet, the donor, a
fit to the other load points, and the fit to all predict it. A fit simulates one sequence of arrivals, a judgement as
many as any other prediction. Nothing of a load point enters the constants it is held out from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np

from roofline_lab.calibration.constants import SITES, Values, Vector, calibrated_client, data_sheet, options_of
from roofline_lab.calibration.ownership import Owner
from roofline_lab.calibration.plan import FOLDER
from roofline_lab.calibration.points import setup_of
from roofline_lab.calibration.record import Calibration, load_calibration
from roofline_lab.calibration.transfer import (
    NORMAL_95,
    SCATTER,
    Carried,
    Prior,
    alone,
    carry_over,
    fit_told,
    jacobian_of,
    prior_of,
    spread_of,
)
from roofline_lab.config import RandomArrivals, Settings, load_settings
from roofline_lab.ground_truth.deployment import Ran
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE
from roofline_lab.ground_truth.requests import REQUESTS_FILE
from roofline_lab.importers.stated_server import settings_by_options
from roofline_lab.load_point import Prediction, Target, compared, simulate
from roofline_lab.places import listed, place_of
from roofline_lab.predict.catalog import catalogue_of
from roofline_lab.predict.evaluate import Task, find_experiments, read_experiments, saturated, task_of
from roofline_lab.predict.predictors import Note
from roofline_lab.predict.records import count
from roofline_lab.scoring.comparison import Comparison, wanted_metrics
from roofline_lab.scoring.errors import PERCENT, mean, relative_difference
from simulator.errors import ConfigError, RooflineLabError
from simulator.steptime.batch import Batch
from simulator.steptime.build import build_step_time
from simulator.validation import config_error, read_yaml, suggest

Progress = Callable[[str], None]
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
# How a load point is predicted, and what pages call it.
VARIANTS: Mapping[str, str] = {
    "data_sheet": "data sheet",
    "carried_over": "carried over",
    "held_out": "held out",
    "in_sample": "in sample",
}
US_PER_MS = 1000.0
CALIBRATIONS = f"give a name in {FOLDER.as_posix()}, or the file of a calibration"
# A chunk of a prompt whose cost pages state.
CHUNK_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for; see `roofline-lab calibrate --help`.

    Attributes
    ----------
    runs
        Folders of experiments, or ids of experiments of the project.
    """

    root: Path
    onto: str
    donor: str
    runs: tuple[str, ...]
    models: Path | None = None
    hardware: Path | None = None
    software: str | None = None
    server: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A donor, and the load points it is carried over by.

    Attributes
    ----------
    targets
        Load points with mean latencies that were not saturated.
    left_out
        The others, each with the reason.
    notes
        What had to be assumed about the servers.
    requests
        Files of recorded requests.
    """

    gpu: str
    calibration: Calibration
    targets: tuple[Target, ...]
    left_out: tuple[tuple[str, str], ...]
    notes: tuple[Note, ...]
    requests: tuple[Path, ...]
    settings: Settings


@dataclass(frozen=True, slots=True)
class Judgement:
    """One load point as every variant of the constants predicts it: figures by variant."""

    target: Target
    figures: Mapping[str, tuple[Comparison, ...]]

    def figure(self, variant: str, metric: str) -> Comparison | None:
        """Return a figure as a variant predicts it; None where it was not measured or not predicted."""
        return next((one for one in self.figures.get(variant, ()) if one.name == metric), None)


@dataclass(frozen=True, slots=True)
class Cost:
    """One cost of the run's server, before and after the run was looked at, each with its standard deviation."""

    name: str
    unit: str
    before: float
    before_deviation: float
    after: float
    after_deviation: float


@dataclass(frozen=True, slots=True)
class Alone:
    """What one constant would have to be if no other differed from the donor's, and what that leaves.

    Attributes
    ----------
    left_pct
        Mean absolute error by metric.
    """

    name: str
    value: float
    left_pct: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Result:
    """Constants carried over, and how well they predict the run.

    Attributes
    ----------
    held_out
        Load point -> the constants fitted to the others; empty where there is one load point alone.
    costs
        What the run could show, model by model.
    """

    prepared: Prepared
    carried: Carried
    held_out: Mapping[str, Values]
    judged: tuple[Judgement, ...]
    costs: Mapping[str, tuple[Cost, ...]]
    alone: tuple[Alone, ...]


# --- before anything runs ---------------------------------------------------------------------------


@dataclass(slots=True)
class _Problems:
    """What is wrong with the arguments, all of it."""

    found: list[str] = field(default_factory=list)

    def attempt(
        self, ask: Callable[Parameters, Returned], *arguments: Parameters.args, **more: Parameters.kwargs
    ) -> Returned | None:
        """Return what a function returns, or None and remember why."""
        try:
            return ask(*arguments, **more)
        except RooflineLabError as error:
            self.found.append(str(error))
            return None


def prepare(request: Request) -> Prepared:
    """Read and check everything.

    Raises
    ------
    ConfigError
        Naming every argument that is wrong, and every run that cannot be used.
    """
    settings, problems = load_settings(request.root), _Problems()
    calibration = problems.attempt(load_donor, request.root, request.donor)
    paths = [path for name in request.runs if (path := problems.attempt(_path, request.root, name)) is not None]
    gpu = problems.attempt(_gpu, request, paths)
    tasks = [task for path in paths for task in _tasks(request, path, settings, problems)]
    for task in tasks:
        problems.found += _problems(task, gpu, request)
        if calibration is not None:
            problems.attempt(setup_of, task.experiment, task.model, task.hardware, calibration.values)
    left_out = {name: reason for task in tasks for name, reason in _left_out(task)}
    targets = tuple(target for task in tasks for target in _targets(task) if target.name not in left_out)
    problems.found += [
        f"{task.experiment.id}: {'; '.join(_reasons(task, left_out))}; one load point with mean latencies that kept up "
        "with its load is needed"
        for task in tasks
        if not any(target.experiment.id == task.experiment.id for target in targets)
    ]
    if problems.found or calibration is None or gpu is None:
        raise config_error("calibrate", list(dict.fromkeys(problems.found)))
    requests = (file.parent / REQUESTS_FILE for path in paths for file in find_experiments(path))
    recorded = tuple(sorted(file for file in requests if file.is_file()))
    notes = tuple(dict.fromkeys(note for task in tasks for note in task.notes))
    return Prepared(gpu, calibration, targets, tuple(left_out.items()), notes, recorded, settings)


def load_donor(root: Path, text: str) -> Calibration:
    """Return the calibration that `--from` names.

    Raises
    ------
    ConfigError
        If there is none, or the file is none.
    """
    path = Path(text) if Path(text).is_file() else place_of(root, FOLDER / f"{text}.yaml")
    if not path.is_file():
        known = [file.stem for file in listed(root, FOLDER, "*.yaml")]
        raise ConfigError(f"--from: no calibration '{text}'; {CALIBRATIONS} ({suggest(text, known)})")
    content = read_yaml(path)
    if isinstance(content, Mapping) and "effects" in content:
        raise ConfigError(
            f"--from: {path.name} is the calibration of a fleet, whose factors no single run tells; borrow from "
            "that of one GPU, such as h100_vllm"
        )
    if not isinstance(content, Mapping) or "constants" not in content:
        raise ConfigError(f"--from: {path.name} has no 'constants', so there is nothing to borrow; {CALIBRATIONS}")
    return load_calibration(path)


def expected_of(prepared: Prepared) -> Prior:
    """Return where the donor lets the constants be expected, on this GPU and at the sites of the runs."""
    calibration = prepared.calibration
    deviations = {
        name: (one.interval_95_pct.high - one.interval_95_pct.low) / (2 * NORMAL_95)
        for name, one in calibration.constants.items()
    }
    return prior_of(calibration.values, deviations, at_home(prepared))


def at_home(prepared: Prepared) -> frozenset[Owner]:
    """Return what the donor was fitted on as well: the GPU, and the site where it knows that of every run."""
    same_site = all(_known_site(target.experiment, prepared.calibration.values) for target in prepared.targets)
    same_gpu = prepared.calibration.covers(prepared.gpu)
    owners: dict[Owner, bool] = {"GPU": same_gpu, "site": same_site}
    return frozenset(owner for owner, same in owners.items() if same)


def _path(root: Path, name: str) -> Path:
    """Return where a run lies: the path itself, else that of an experiment of the project."""
    own = root / "ground_truth" / name
    path = own if not Path(name).exists() and (own / EXPERIMENT_FILE).is_file() else Path(name)
    try:
        find_experiments(path)
    except RooflineLabError as error:
        raise ConfigError(f"--with: {error}") from None
    return path


def _gpu(request: Request, paths: Sequence[Path]) -> str:
    """Return the id of the GPU that `--onto` names."""
    beside = paths[0] if paths else request.root
    try:
        return catalogue_of(request.root, beside, request.models, request.hardware).hardware_id(request.onto)
    except RooflineLabError as error:
        raise ConfigError(f"--onto: {error}") from None


def _tasks(request: Request, path: Path, settings: Settings, problems: _Problems) -> Iterator[Task]:
    catalogue = problems.attempt(catalogue_of, request.root, path, request.models, request.hardware)
    stated = problems.attempt(settings_by_options, request.server)
    if catalogue is None or stated is None:
        return
    for source in read_experiments(path, find_experiments(path)):
        found = task_of(source, catalogue, (), settings.arrivals, request.software, stated)
        if isinstance(found, Task):
            yield found
        else:
            problems.found.append(f"{found.place}: {found.reason}")


def _problems(task: Task, gpu: str | None, request: Request) -> Iterator[str]:
    ran_on = task.hardware.id
    if gpu is not None and ran_on != gpu:
        yield (
            f"{task.experiment.id}: was measured on {ran_on}, not on {gpu}; say --onto {ran_on}, or give a run on "
            f"{request.onto}"
        )


def _targets(task: Task) -> Iterator[Target]:
    for point in task.experiment.load_points:
        yield Target(task.experiment, point, task.model, task.hardware, task.arrivals)


def _left_out(task: Task) -> Iterator[tuple[str, str]]:
    """Yield the load points that say nothing about the constants, and why."""
    for target in _targets(task):
        if saturated(task.experiment, target.load_point):
            yield target.name, "is saturated, so its latencies depend on when the run ended"
        elif not _fitted_metrics(target):
            yield target.name, "has neither a mean TTFT nor a mean time between tokens"


def _reasons(task: Task, left_out: Mapping[str, str]) -> Iterator[str]:
    for target in _targets(task):
        yield f"{target.load_point.id} {left_out[target.name]}"


def _fitted_metrics(target: Target) -> dict[str, tuple[str, float]]:
    """Return the measured means a fit looks at: name -> definition that predicts it, and the figure."""
    return {
        wanted.name: (wanted.predicted_by, wanted.measured)
        for wanted in wanted_metrics(target.experiment, target.load_point)
        if wanted.name in SCATTER and wanted.predicted_by is not None and wanted.measured
    }


# --- fitting ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Figures:
    """Errors of one load point's means over their scatter, at any constants; each place is simulated once."""

    target: Target
    prior: Prior
    known: dict[tuple[float, ...], Vector] = field(default_factory=dict)

    def errors(self, place: Vector) -> Vector:
        """Return (predicted / measured - 1) / scatter, shape (figures,).

        Raises
        ------
        ConfigError
            If no request completes.
        """
        key = tuple(place.tolist())
        if key not in self.known:
            self.known[key] = self._simulated(self.prior.values(place))
        return self.known[key]

    def _simulated(self, values: Values) -> Vector:
        target = self.target
        prediction = simulate(target, setup_of(target.experiment, target.model, target.hardware, values))
        found = []
        for name, (definition, measured) in _fitted_metrics(target).items():
            predicted = prediction.value(definition)
            if predicted is None:
                raise ConfigError(f"{target.name}: no request completes; the load is beyond what this server can do")
            found.append(relative_difference(predicted, measured) / SCATTER[name])
        return np.array(found)


def carry(prepared: Prepared, progress: Progress) -> Result:
    """Fit the constants to all load points and to all but each, and judge them.

    Parameters
    ----------
    progress
        Told what is being done, one line at a time.
    """
    prior = expected_of(prepared)
    figures = [_Figures(_once(target), prior) for target in prepared.targets]
    told = _telling(prior.names, progress)
    progress(f"fitting to {count(len(figures), 'load point')}: what each constant does at the donor's values")
    first = [jacobian_of(one.errors, prior, prior.origin, told if one is figures[-1] else _quiet) for one in figures]
    progress("fitting: what each constant does at the solution")
    carried = carry_over(_joined(figures), prior, np.vstack(first), told)
    progress("what each constant would have to be if it alone were another")
    single = tuple(_alone(figures, np.vstack(first), prior))
    held_out = dict(_held_out(figures, first, prior, progress))
    variants = {"data_sheet": data_sheet(), "carried_over": prior.values(prior.origin), "in_sample": carried.values}
    judged = []
    for place, target in enumerate(prepared.targets, start=1):
        progress(f"judging load point {place} of {len(prepared.targets)}: {target.name}")
        own = variants | ({"held_out": held_out[target.name]} if held_out else {})
        judged.append(Judgement(target, {name: _judged(target, own[name]) for name in VARIANTS if name in own}))
    return Result(prepared, carried, held_out, tuple(judged), dict(_costs(prepared.targets, carried)), single)


def _once(target: Target) -> Target:
    """Return the same load point with one sequence of arrivals, which is enough to tell what a constant does."""
    return replace(target, arrivals=RandomArrivals(seeds=target.arrivals.seeds[:1], requests=1))


def _quiet(place: int) -> None:
    """Tell nobody."""


def _telling(names: Sequence[str], progress: Progress) -> Callable[[int], None]:
    return lambda place: progress(f"  {names[place]} ({place + 1} of {len(names)})")


def _joined(figures: Sequence[_Figures]) -> Callable[[Vector], Vector]:
    return lambda place: np.concatenate([one.errors(place) for one in figures])


def _alone(figures: Sequence[_Figures], first: Vector, prior: Prior) -> Iterator[Alone]:
    metrics = np.array([name for one in figures for name in _fitted_metrics(one.target)])
    scatter = np.array([SCATTER[name] for name in metrics])
    for name, value, left in alone(_joined(figures), first, prior):
        off = np.abs(left) * scatter * PERCENT
        yield Alone(name, value, {str(one): mean(off[metrics == one].tolist()) for one in dict.fromkeys(metrics)})


def _held_out(
    figures: Sequence[_Figures], first: Sequence[Vector], prior: Prior, progress: Progress
) -> Iterator[tuple[str, Values]]:
    """Yield, per load point, the constants fitted to the others, with derivatives at the donor's constants."""
    for place, one in enumerate(figures):
        others = [index for index in range(len(figures)) if index != place]
        if not others:
            return
        progress(f"fitting without {one.target.name}")
        jacobian = np.vstack([first[index] for index in others])
        errors = _joined([figures[index] for index in others])
        found, *_ = fit_told(errors, jacobian, prior, prior.origin)
        yield one.target.name, prior.values(found)


def _judged(target: Target, values: Values) -> tuple[Comparison, ...]:
    prediction = simulate(target, setup_of(target.experiment, target.model, target.hardware, values))
    return compared(wanted_metrics(target.experiment, target.load_point), prediction)


# --- what the run says ------------------------------------------------------------------------------


def _costs(targets: Iterable[Target], carried: Carried) -> Iterator[tuple[str, tuple[Cost, ...]]]:
    """Yield, per experiment, what its load points could show of the server."""
    busiest: dict[str, tuple[float, Target, Prediction]] = {}
    for target in map(_once, targets):
        setup = setup_of(target.experiment, target.model, target.hardware, carried.values)
        prediction = simulate(target, setup)
        seen = prediction.occupancy
        batch = (seen.decode_requests if seen else None) or 1.0
        if batch > busiest.get(target.experiment.id, (0.0,))[0]:
            busiest[target.experiment.id] = (batch, target, prediction)
    for name, (batch, target, prediction) in busiest.items():
        yield name, tuple(_costs_of(target, prediction, max(2, round(batch)), carried))


def _costs_of(target: Target, prediction: Prediction, batch: int, carried: Carried) -> Iterator[Cost]:
    seen = prediction.occupancy
    tokens = round((seen.decode_kv_tokens or 0.0) / (seen.decode_requests or 1.0)) if seen else 0
    prompt = seen.prompt_tokens if seen else 0.0
    alone, together = Batch(decode=(tokens,)), Batch(decode=(tokens,) * batch)

    def step_us(values: Values, work: Batch) -> float:
        options = options_of(values, schedule_ahead=prediction.setup.engine.schedule_ahead)
        model = build_step_time(options, target.model, target.hardware, target.experiment.parallelism)
        return model.explain(work).unrounded_us

    def client_ms(values: Values) -> float:
        ran = target.experiment
        time = calibrated_client(values, ran.tool, ran.site).in_figures_of(ran, target.load_point.id)
        return (time.request_us + time.us_per_prompt_token * prompt) / US_PER_MS

    chunk = Batch(prefill=((0, CHUNK_TOKENS),))
    quantities: tuple[tuple[str, str, Callable[[Values], float]], ...] = (
        ("a step of one request", "ms", lambda values: step_us(values, alone) / US_PER_MS),
        (
            f"each further request in a step, up to {batch}",
            "us",
            lambda values: (step_us(values, together) - step_us(values, alone)) / (batch - 1),
        ),
        (f"{CHUNK_TOKENS} prompt tokens in a step", "ms", lambda values: step_us(values, chunk) / US_PER_MS),
        ("outside the engine, per request", "ms", client_ms),
    )
    prior, unit = carried.prior, np.eye(len(carried.place))
    for name, measured_in, quantity in quantities:
        before = spread_of(quantity, prior, prior.origin, unit)
        after = spread_of(quantity, prior, carried.place, carried.covariance)
        yield Cost(name, measured_in, quantity(prior.values(prior.origin)), before, quantity(carried.values), after)


def _known_site(experiment: Ran, values: Values) -> bool:
    """Whether constants hold the client's time of the very place an experiment was measured at."""
    return any(experiment.site == site.name and site.constant in values for site in SITES)
