"""A recorded trace beside the experiment it belongs to: what an engine is given, and what was measured.

Contract: `load_recordings` reads traces, finds the experiment of each in `ground_truth/`, and returns one `Recording`
per engine run, or raises one `ConfigError` that names file and remedy. A trace whose count of requests or mean
latencies are not those its experiment states is refused: it is of another run, in another unit, or not complete.

Two kinds of files are read: traces, whose name up to the first `__` is the experiment's id and whose stages
share one clock, and the `requests.csv` beside an `experiment.yaml`, whose load points each have a clock of their own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from roofline_lab.files import DIGEST_CHARACTERS
from roofline_lab.ground_truth.experiment import Experiment, Replay, behind_warm_up
from roofline_lab.ground_truth.lint import cold_start
from roofline_lab.ground_truth.load import LoadPoint, Side
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE, load_experiment
from roofline_lab.ground_truth.requests import (
    REQUESTS_FILE,
    SUFFIXES,
    MeasuredRequest,
    Trace,
    find_traces,
    read_trace,
    replayed,
)
from roofline_lab.scoring.errors import relative_difference
from simulator.errors import ConfigError
from simulator.validation import config_error, suggest
from simulator.workload.build import Workload
from simulator.workload.prefixes import Prompt, PromptPool, SharedPrefix, recognise_pool

# Mean latencies of a trace may differ from the quoted ones by so much: quoted figures have four digits or more.
SAME_RUN = 0.005
# What separates the experiment's id from the rest of a file name.
SEPARATOR = "__"
FAILED = "failed; its work on the server, if any, is not recorded"
UNRECORDED = "the client recorded no TTFT or no E2E"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Requests that are left out of all figures, and why."""

    count: int
    reason: str
    replayed: bool


@dataclass(frozen=True)
class Stage:
    """One load point of a recording.

    Attributes
    ----------
    begin
        Position of its first request among the requests of the recording's figures.
    requests
        Measured requests that completed, in order of arrival.
    failed
        How many others were sent.
    first_of_run
        The server had served nothing before.
    """

    experiment: Experiment
    point: LoadPoint
    begin: int
    requests: tuple[MeasuredRequest, ...]
    failed: int
    first_of_run: bool

    @property
    def name(self) -> str:
        """Experiment and load point."""
        return f"{self.experiment.id}, {self.point.id}"

    @property
    def side(self) -> Side:
        """Where its latencies were taken."""
        return self.experiment.side_of(self.point.id)

    @cached_property
    def cold(self) -> int:
        """How many first requests are left out because the measured server was cold.

        Only what the engine knows nothing of: the first round of a prompt pool is slow because its prompts are in no
        cache yet, which is simulated.
        """
        finding = cold_start([request.ttft_ms or 0.0 for request in self.requests]) if self.first_of_run else None
        if finding is None:
            return 0
        a_round_of_prompts = finding.value > 1 and isinstance(self.experiment.workload.prefix, PromptPool)
        return 0 if a_round_of_prompts else int(finding.value)

    @property
    def exclusions(self) -> tuple[Exclusion, ...]:
        """What the figures leave out."""
        found = [Exclusion(self.failed, FAILED, replayed=False)] if self.failed else []
        unrecorded = sum(not request.ttft_ms or not request.e2e_ms for request in self.requests[self.cold :])
        if unrecorded:
            found.append(Exclusion(unrecorded, UNRECORDED, replayed=True))
        if self.cold:
            slowest = max(request.ttft_ms or 0.0 for request in self.requests[: self.cold])
            following = max(request.ttft_ms or 0.0 for request in self.requests[self.cold :])
            told = f"cold start: TTFT up to {slowest:.1f} ms, of all later ones up to {following:.1f} ms"
            found.append(Exclusion(self.cold, told, replayed=True))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Recording:
    """One engine run: requests as they were sent, and the load points they belong to.

    Attributes
    ----------
    source, digest
        Name of the file, and a short hash of its content.
    replay
        What the engine is given; its warm-up requests belong to no load point.
    """

    source: str
    digest: str
    experiment: Experiment
    replay: Replay
    stages: tuple[Stage, ...]


def load_recordings(
    root: Path, paths: Iterable[Path], experiment: str | None = None, leaving_out: Collection[Path] = ()
) -> tuple[Recording, ...]:
    """Read traces and match them with their experiments, sorted by experiment and load point.

    Parameters
    ----------
    root
        The project's folder.
    paths
        Traces, or folders of them.
    experiment
        Id of the experiment all of them are of; None takes it from the file names.
    leaving_out
        Those of the traces that record no latencies.

    Raises
    ------
    ConfigError
        If a trace cannot be read, belongs to no known experiment, or is not of the run it claims to be.
    """
    recorded = [path for path in _recorded(paths, leaving_out) if path not in leaving_out]
    found = [one for path in recorded for one in _recordings(root, path, experiment)]
    first: dict[str, str] = {}
    for recording in found:
        for stage in recording.stages:
            other = first.setdefault(stage.name, recording.source)
            if other != recording.source:
                raise ConfigError(f"{recording.source}: {stage.name} is in {other} too; give each load point once")
    order = {point.id: place for one in found for place, point in enumerate(one.experiment.load_points)}
    return tuple(sorted(found, key=lambda one: (one.experiment.id, order[one.stages[0].point.id])))


def _recorded(paths: Iterable[Path], leaving_out: Collection[Path]) -> Iterator[Path]:
    """Yield the traces among paths; a folder may hold none that has latencies, if it holds others."""
    for path in paths:
        others = {other.parent for other in leaving_out}
        yield from [] if path.is_dir() and path in others and not _named_as_traces(path) else find_traces([path])


def _named_as_traces(folder: Path) -> bool:
    return any(file.name.endswith(SUFFIXES) for file in folder.iterdir())


def _recordings(root: Path, path: Path, experiment: str | None) -> Iterator[Recording]:
    if path.name == REQUESTS_FILE:
        yield from _own_recordings(root, path, experiment)
        return
    name = experiment or path.name.removesuffix(".gz").removesuffix(".csv").split(SEPARATOR)[0]
    yield _recording(read_trace(path), _experiment(root, name, path))


def _experiment(root: Path, name: str, path: Path) -> Experiment:
    folder = root / "ground_truth"
    known = [file.parent.name for file in folder.glob(f"*/{EXPERIMENT_FILE}")]
    if name not in known:
        raise ConfigError(
            f"{path}: unknown experiment '{name}'; {suggest(name, known)}. Name the file <experiment>{SUFFIXES[0]} or "
            f"<experiment>{SEPARATOR}<anything>{SUFFIXES[0]}, or give --experiment"
        )
    return load_experiment(folder / name)


# --- traces whose stages share one clock ------------------------------------------------------


def _recording(trace: Trace, experiment: Experiment) -> Recording:
    points = _points(trace, experiment)
    requests = _in_project_terms(trace, experiment, points)
    done = [request for request in requests if request.completed]
    stages = tuple(_stages(experiment, points.values(), requests))
    _refuse_other_runs(trace.path, stages)
    workload = Workload(replayed(done), _concurrency(trace.path, stages))
    replay = behind_warm_up(workload) if stages[0].point.prompts_seen_before else Replay(workload, 0)
    return Recording(trace.path.name, trace.digest, experiment, replay, stages)


def _points(trace: Trace, experiment: Experiment) -> dict[str, LoadPoint]:
    """Return the load point of every stage of a trace."""
    numbers = [point.benchmark_index for point in experiment.load_points]
    if len(set(numbers)) < len(numbers):
        numbers = list(range(len(numbers)))
    known = {str(number): point for number, point in zip(numbers, experiment.load_points, strict=True)}
    stages = list(dict.fromkeys(request.load_point for request in trace.requests))
    unknown = [stage for stage in stages if stage not in known]
    if unknown:
        allowed = ", ".join(f"{index} ({point.id})" for index, point in known.items())
        told = [f"column 'stage': {experiment.id} has no stage {stage}; allowed: {allowed}" for stage in unknown]
        raise config_error(str(trace.path), told)
    return {stage: known[stage] for stage in stages}


def _in_project_terms(
    trace: Trace, experiment: Experiment, points: dict[str, LoadPoint]
) -> tuple[MeasuredRequest, ...]:
    """Give every request its load point, its place in the prompt pool, and the first arrival as time 0."""
    begin_us = trace.requests[0].arrival_us
    prompts = _prompts(experiment, [request.prompt_tokens for request in trace.requests])
    return tuple(
        replace(
            request,
            load_point=points[request.load_point].id,
            arrival_us=request.arrival_us - begin_us,
            prefix_group=prompt.prefix_group,
            prefix_tokens=prompt.prefix_tokens,
            outer_group=prompt.outer_group,
            outer_tokens=prompt.outer_tokens,
        )
        for request, prompt in zip(trace.requests, prompts, strict=True)
    )


def _prompts(experiment: Experiment, lengths: Sequence[int]) -> list[Prompt]:
    match experiment.workload.prefix:
        case PromptPool() as pool:
            return recognise_pool(pool, lengths)
        case SharedPrefix() as shared:
            return [
                Prompt(tokens, shared.group_of(place), min(shared.tokens, tokens))
                for place, tokens in enumerate(lengths)
            ]
        case _:
            return [Prompt(tokens, None, 0) for tokens in lengths]


def _stages(
    experiment: Experiment, points: Iterable[LoadPoint], requests: Sequence[MeasuredRequest]
) -> Iterator[Stage]:
    begin = 0
    for place, point in enumerate(points):
        own = [request for request in requests if request.load_point == point.id]
        done = tuple(request for request in own if request.completed)
        fresh = place == 0 and not point.prompts_seen_before
        yield Stage(experiment, point, begin, done, len(own) - len(done), fresh)
        begin += len(done)


def _concurrency(path: Path, stages: Sequence[Stage]) -> int | None:
    """Return the clients of a closed loop, whose recorded arrivals depend on how fast the server was."""
    limits = [getattr(stage.point.arrivals, "concurrency", None) for stage in stages]
    if len(set(limits)) > 1:
        closed = next(stage for stage, limit in zip(stages, limits, strict=True) if limit)
        raise ConfigError(
            f"{path}: load point {closed.point.id} is a closed loop and cannot share a clock with others; "
            "put it into a file of its own"
        )
    return limits[0]


# --- requests.csv, whose load points have a clock each ----------------------------------------


def _own_recordings(root: Path, path: Path, name: str | None) -> Iterator[Recording]:
    folder = path.resolve().parent
    if not (folder / EXPERIMENT_FILE).is_file() or folder.parent != (root / "ground_truth").resolve():
        raise ConfigError(
            f"{path}: {REQUESTS_FILE} is read where it belongs, beside ground_truth/<id>/{EXPERIMENT_FILE}"
        )
    if name not in (None, folder.name):
        raise ConfigError(f"{path}: belongs to {folder.name}, not to '{name}'; leave --experiment away")
    experiment = load_experiment(folder)
    if experiment.requests_file is None:
        raise ConfigError(
            f"{path}: not used by {folder.name}; say `requests_file: {REQUESTS_FILE}` in its {EXPERIMENT_FILE}"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:DIGEST_CHARACTERS]
    recorded = {request.load_point for request in experiment.recorded()}
    for point in experiment.load_points:
        if point.id in recorded:
            yield _own_recording(experiment, point, f"{folder.name}/{REQUESTS_FILE}", digest)


def _own_recording(experiment: Experiment, point: LoadPoint, source: str, digest: str) -> Recording:
    stages = tuple(_stages(experiment, [point], experiment.measured_requests(point.id)))
    return Recording(source, digest, experiment, experiment.replay(point.id), stages)


# --- is it the run it claims to be? -----------------------------------------------------------


def _refuse_other_runs(path: Path, stages: Sequence[Stage]) -> None:
    problems = [problem for stage in stages for problem in _differences(stage)]
    if problems:
        raise config_error(str(path), problems)


def _differences(stage: Stage) -> Iterator[str]:
    stated, experiment = stage.point.requests.completed, stage.experiment.id
    if len(stage.requests) != stated:
        yield (
            f"{stage.point.id}: {len(stage.requests)} completed requests, but {experiment} states {stated}; "
            "is the trace complete, and of this run?"
        )
        return
    for name, latencies in (
        ("ttft_mean", [request.ttft_ms or 0.0 for request in stage.requests]),
        ("e2e_mean", [request.e2e_ms or 0.0 for request in stage.requests]),
    ):
        figure = stage.point.measured.get(name)
        value = math.fsum(latencies) / len(latencies)
        if figure is not None and abs(relative_difference(value, figure.value)) > SAME_RUN:
            yield (
                f"{stage.point.id}: {name} of the trace is {value:.4g} ms, but {experiment} states {figure.value:g}; "
                "it is of another run, on another side or in another unit"
            )
