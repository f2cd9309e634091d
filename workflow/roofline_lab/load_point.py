"""The one engine call: a measured load point under what a predictor says of steps, server and client.

Contract: `simulate` gives the same `Prediction` to whoever asks: an arm of a hypothesis, a calibration, a file of
options, the fit of a calibration, or the replay of a trace. Decided here, once, for every page:

* random arrivals that nobody recorded are drawn with the seeds of `configs/lab.yaml`, several times where one sequence
  has few requests, and a prediction is the mean over them (`Target.replays`);
* a setting of the server that nobody stated is assumed as `ground_truth.assumed_server` says (`measured_server`);
* requests that only warm the prefix cache are sent first and count for nothing;
* time outside the engine is in figures taken at the client alone (`client_overhead`).

Measured figures play no part in a prediction. What cannot be simulated raises `UnsupportedError`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from roofline_lab.client_overhead import ClientTime
from roofline_lab.config import Arrivals, Lengths, Limits, RandomArrivals, WorkloadRule
from roofline_lab.ground_truth.assumed_server import require_room, with_assumed_server
from roofline_lab.ground_truth.deployment import Ran
from roofline_lab.ground_truth.experiment import Experiment, Replay
from roofline_lab.ground_truth.load import LoadPoint, Side
from roofline_lab.ground_truth.recorded_inputs import Recorded, RecordedLength
from roofline_lab.scoring.comparison import Comparison, Wanted
from simulator.engine.loop import run as run_engine
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request, RequestResult, RunCounters
from simulator.errors import AllAtOnce, UnsupportedError
from simulator.hardware import Hardware
from simulator.metrics import DEFINITIONS, MetricName, Samples
from simulator.model import Model
from simulator.occupancy import Occupancy, occupancy
from simulator.parallelism import require_runnable
from simulator.request_times import MetricOptions, completed
from simulator.saturation import grows_queue, lacks_room
from simulator.steptime.base import StepTimeModel
from simulator.steptime.build import BuiltStepTime
from simulator.steptime.options import StepTimeOptions
from simulator.validation import parse
from simulator.workload.build import Workload
from simulator.workload.lock_step import keeps_in_step, spread

SHARED_GROUP = "shared"
AS_MEASURED = WorkloadRule(lengths=Lengths.REGENERATED, arrivals=Arrivals.AS_MEASURED)
# Workloads that are kept because another arm or predictor is asked about the same load point.
KEPT_WORKLOADS = 256
US_PER_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Target:
    """A load point that is to be predicted, with all that does not depend on who predicts it.

    Attributes
    ----------
    arrivals
        How often random arrivals are drawn, and with which seeds.
    """

    experiment: Experiment
    load_point: LoadPoint
    model: Model
    hardware: Hardware
    arrivals: RandomArrivals

    @property
    def name(self) -> str:
        """Experiment and load point."""
        return f"{self.experiment.id}/{self.load_point.id}"

    @property
    def draws(self) -> int:
        """How many sequences of arrivals and lengths a prediction is averaged over; 1 where nothing is random."""
        point = self.load_point
        random = self.experiment.draws_lengths(point.id) or (
            point.draws_arrivals and not self.experiment.measured_requests(point.id)
        )
        return self.arrivals.draws(self.load_point.requests.sent) if random else 1

    def replays(self) -> tuple[Replay, ...]:
        """Return the requests as the client sent them, one set per sequence of arrivals."""
        drawings = (_Drawing(self.experiment, self.load_point.id, seed) for seed in self.arrivals.seeds[: self.draws])
        return tuple(map(_drawn, drawings))


@dataclass(frozen=True, slots=True)
class Setup:
    """What a predictor decides for one load point: how long steps take, on which server, seen from which client."""

    options: StepTimeOptions
    step_time: BuiltStepTime
    engine: EngineOptions
    client: ClientTime


@dataclass(frozen=True, slots=True)
class Draw:
    """What became of the requests of one engine run, those that only warmed the prefix cache left out.

    Attributes
    ----------
    in_flight
        Clients of a closed loop; None where requests arrive whether or not others were answered.
    """

    requests: tuple[RequestResult, ...]
    counters: RunCounters
    in_flight: int | None = None


@dataclass(frozen=True)
class Prediction:
    """One load point as simulated.

    Attributes
    ----------
    draws
        One engine run per sequence of arrivals. What is no figure of the load point (steps, occupancy, distances) is
        told of the first.
    seen
        What the measured figures contain beside the engine's time.
    """

    setup: Setup
    draws: tuple[Draw, ...]
    seen: MetricOptions

    def value(self, definition: str) -> float | None:
        """Return what a definition of `simulator.metrics` gives: the mean over the draws that have it, else None."""
        found = [DEFINITIONS[definition].function(samples) for samples in self._samples]
        known = [value for value in found if value is not None]
        return math.fsum(known) / len(known) if known else None

    def goodput(self, limits: Limits) -> float | None:
        """Return requests within some limits per second: the mean over the draws, else None."""
        wanted = {f"{name}_limit_ms": limit for name, limit in limits.by_latency.items()}
        return replace(self, seen=self.seen.model_copy(update=wanted)).value(MetricName.GOODPUT)

    @cached_property
    def _samples(self) -> list[Samples]:
        """Times of the completed requests of every draw that has some."""
        return [Samples(done, self.seen) for draw in self.draws if (done := completed(draw.requests))]

    @cached_property
    def completed(self) -> Sequence[RequestResult]:
        """Completed requests of the first draw."""
        return completed(self.draws[0].requests)

    @property
    def requests(self) -> int:
        """How many requests count, per draw."""
        return len(self.draws[0].requests)

    @property
    def counters(self) -> RunCounters:
        """Steps of the first draw, those of the warm-up included."""
        return self.draws[0].counters

    @cached_property
    def occupancy(self) -> Occupancy | None:
        """What the completed requests of the first draw saw of each other; None where there are none."""
        return occupancy(self.completed)

    @property
    def saturated(self) -> bool:
        """Whether waiting grows through the load point in most draws, or a closed loop is wider than its server."""
        growing = sum(grows_queue(samples.ttft_us) for samples in self._samples)
        return 2 * max(growing, self._without_room) > len(self.draws)

    @property
    def _without_room(self) -> int:
        """In how many draws of a closed loop the KV cache is too small for it."""
        loops = (draw for draw in self.draws if draw.in_flight is not None)
        blocks = self.setup.engine.kv_blocks
        return sum(lacks_room(completed(draw.requests), draw.counters, blocks) for draw in loops)


def simulate(
    target: Target, setup: Setup, replays: Iterable[Replay] | None = None, observer: StepTimeModel | None = None
) -> Prediction:
    """Predict one load point.

    Parameters
    ----------
    replays
        What the engine is given instead of the requests as they were measured.
    observer
        Answers in place of the step-time model in the first draw, to look at its steps.
    """
    wanted = target.replays() if replays is None else tuple(replays)
    return serve(setup, wanted, target.experiment.side_of(target.load_point.id), observer)


def serve(setup: Setup, wanted: Sequence[Replay], side: Side, observer: StepTimeModel | None = None) -> Prediction:
    """Predict requests, whether they were measured or not, as figures that are taken on a side; see `simulate`."""
    models = [observer or setup.step_time, *[setup.step_time] * (len(wanted) - 1)]
    draws = tuple(run_replay(replay, model, setup.engine) for replay, model in zip(wanted, models, strict=True))
    return Prediction(setup, draws, setup.client.in_figures_on(side).metric_options())


def spread_apart(target: Target, prediction: Prediction) -> tuple[Replay, ...] | None:
    """Return the requests of a closed loop that stays in step, with its clients spread over the time of one request.

    None where nothing keeps the requests in step, or none was completed.
    """
    replays = target.replays()
    if not all(keeps_in_step(replay.workload) for replay in replays):
        return None
    request_ms = prediction.value("e2e_mean")
    if request_ms is None:
        return None
    return tuple(replace(replay, workload=spread(replay.workload, request_ms * US_PER_MS)) for replay in replays)


def compared(wanted: Iterable[Wanted], prediction: Prediction) -> tuple[Comparison, ...]:
    """Return measured metrics beside their predictions, in order."""
    return tuple(
        metric.beside(None if metric.predicted_by is None else prediction.value(metric.predicted_by))
        for metric in wanted
    )


def run_replay(replay: Replay, step_time: StepTimeModel, engine: EngineOptions) -> Draw:
    """Serve requests once; the only place of the laboratory where the engine runs on a measured load."""
    sent = replay.workload
    run = run_engine(sent.requests, step_time, engine, concurrency=sent.concurrency, ramp_us=sent.ramp_us)
    return Draw(tuple(run.requests[replay.warm_up :]), run.counters, sent.concurrency)


def measured_server(
    experiment: Ran, model: Model, hardware: Hardware, changes: Mapping[str, Any], source: str
) -> EngineOptions:
    """Return the engine that stands for the measured server, or for one that is described and was not measured.

    Parameters
    ----------
    changes
        Options a predictor wants otherwise.
    source
        What messages call the predictor.

    Raises
    ------
    UnsupportedError
        If the model cannot be split over the GPUs, or leaves no room for a KV cache on them.
    """
    filled, _ = with_assumed_server(experiment, model, hardware)
    told = AllAtOnce()
    with told:
        require_runnable(model, experiment.parallelism)
    with told:
        require_room(filled, model, hardware)
    told.refuse()
    return parse(EngineOptions, {**filled.server.engine_settings, **changes}, source=source)


# --- requests ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What decides a workload; hashed by name, because experiments have no hash of their own."""

    experiment: Experiment
    load_point: str
    seed: int = 0
    rule: WorkloadRule = AS_MEASURED
    recordings: Path | None = None

    def __hash__(self) -> int:
        return hash((self.experiment.id, self.load_point, self.seed, self.rule, self.recordings))


def replay_by_rule(experiment: Experiment, load_point: str, rule: WorkloadRule, recordings: Path) -> Replay:
    """Return the requests of a load point as a rule other than `AS_MEASURED` wants them sent.

    Parameters
    ----------
    recordings
        Folder of recorded lengths and intervals, read where the rule asks for them.

    Raises
    ------
    UnsupportedError
        If recorded lengths are to be sent in a closed loop that was none.
    """
    return _drawn(_Drawing(experiment, load_point, rule=rule, recordings=recordings))


@lru_cache(maxsize=KEPT_WORKLOADS)
def _drawn(drawing: _Drawing) -> Replay:
    experiment, load_point, rule = drawing.experiment, drawing.load_point, drawing.rule
    if rule == AS_MEASURED or drawing.recordings is None:
        return experiment.replay(load_point, drawing.seed)
    measured = experiment.completed_workload(load_point, drawing.seed)
    requests = _of_one_phase(measured.requests, rule.lengths)
    if rule.lengths is not Lengths.RECORDED and rule.arrivals is Arrivals.CLOSED_LOOP:
        return Replay(replace(measured, requests=requests), measured.warm_up)
    recorded = Recorded.load(drawing.recordings)
    if rule.lengths is Lengths.RECORDED:
        requests = _recorded_requests(recorded.lengths(experiment.workload.name))
    if rule.arrivals is Arrivals.CLOSED_LOOP:
        return Replay(_closed_loop(requests, measured, f"{experiment.id}, {load_point}"), 0)
    interval_us = recorded.interval_us(experiment.id)
    spaced = (replace(request, arrival_us=place * interval_us) for place, request in enumerate(requests))
    return Replay(Workload(requests=tuple(spaced), concurrency=None), 0)


def _of_one_phase(requests: tuple[Request, ...], lengths: Lengths) -> tuple[Request, ...]:
    """Return requests with one token in the other phase, where the rule sends one phase alone; a prompt shares none."""
    one_token = {
        Lengths.PREFILL_ALONE: {"output_tokens": 1},
        Lengths.DECODE_ALONE: {"prompt_tokens": 1, "prefix_group": None, "prefix_tokens": 0}
        | {"outer_group": None, "outer_tokens": 0},
    }.get(lengths)
    return requests if one_token is None else tuple(replace(request, **one_token) for request in requests)


def _recorded_requests(lengths: Iterable[RecordedLength]) -> tuple[Request, ...]:
    return tuple(
        Request(
            id=str(length.index),
            arrival_us=0,
            prompt_tokens=length.prompt_tokens,
            output_tokens=length.output_tokens,
            prefix_group=SHARED_GROUP if length.shared_prefix_tokens else None,
            prefix_tokens=length.shared_prefix_tokens,
        )
        for length in lengths
    )


def _closed_loop(requests: tuple[Request, ...], measured: Workload, where: str) -> Workload:
    """Keep as many requests in flight as the client did."""
    if measured.concurrency is None:
        raise UnsupportedError(f"{where}: was not measured in a closed loop, so recorded lengths have no place in it")
    return replace(measured, requests=requests)
