"""The load points a calibration is fitted to or judged on, ready to be simulated again and again.

Contract: `load_targets` gives every load point of some sets that was not saturated, once, in the sets'
order; `setup_of` says what constants mean there. For a fit, `load_points` makes a `Point` of each: it knows its
measured means and predicts them. Where only its first `limit` requests are simulated, cold ones (the first round of a
prompt pool) still count as much as in the whole run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from roofline_lab.calibration.constants import Values, calibrated_client, options_of
from roofline_lab.client_overhead import ClientTime
from roofline_lab.config import RandomArrivals
from roofline_lab.ground_truth.deployment import Ran
from roofline_lab.ground_truth.experiment import Experiment, Replay
from roofline_lab.ground_truth.reading import load_set
from roofline_lab.load_point import Setup, Target, measured_server, run_replay
from roofline_lab.places import place_of
from simulator.engine.options import EngineOptions
from simulator.engine.records import RequestResult
from simulator.errors import ConfigError
from simulator.hardware import Hardware, load_hardware
from simulator.model import Model
from simulator.model_files import load_model
from simulator.request_times import RequestTimes, completed
from simulator.steptime.build import build_step_time
from simulator.workload.prefixes import PromptPool

METRICS = ("ttft", "itl", "e2e")
SOURCE = "calibration"


def load_targets(root: Path, sets: Iterable[str], arrivals: RandomArrivals) -> tuple[Target, ...]:
    """Return every load point of `sets` that is not known to be saturated, each experiment once.

    Parameters
    ----------
    root
        The project's folder.
    arrivals
        How random arrivals that were not recorded are drawn.
    """
    experiments = {experiment.id: experiment for name in sets for experiment in load_set(root, name)}
    return tuple(
        Target(experiment, point, *what_ran(root, experiment), arrivals)
        for experiment in experiments.values()
        for point in experiment.load_points
        if not point.saturated
    )


def what_ran(root: Path, experiment: Experiment) -> tuple[Model, Hardware]:
    """Return model and GPU of an experiment of the project."""
    return (
        load_model(place_of(root, f"configs/models/{experiment.model}.json")),
        load_hardware(place_of(root, f"configs/hardware/{experiment.hardware}.yaml")),
    )


def setup_of(experiment: Ran, model: Model, hardware: Hardware, values: Values) -> Setup:
    """Return what a set of constants means for the load points of one experiment."""
    engine = measured_server(experiment, model, hardware, {}, SOURCE)
    options = options_of(values, schedule_ahead=engine.schedule_ahead)
    step_time = build_step_time(options, model, hardware, experiment.parallelism)
    return Setup(options, step_time, engine, calibrated_client(values, experiment.tool, experiment.site))


class EngineMeans(NamedTuple):
    """Means over requests: TTFT and decode time in us, tokens after the first, prompt tokens."""

    ttft_us: float
    decode_us: float
    gaps: float
    prompt_tokens: float


@dataclass(frozen=True, slots=True)
class Point:
    """One measured load point, as a fit sees it.

    Attributes
    ----------
    replay
        What the engine is given; its warm-up requests only fill the prefix cache.
    cold, cold_share
        How many of the others come first and find nothing in the cache, and their share of the
        whole measured run.
    measured
        Mean TTFT, ITL and E2E in ms.
    lm_head
        Whether steps contain the projection to the vocabulary; see `switched`.
    """

    target: Target
    engine: EngineOptions
    replay: Replay
    cold: int
    cold_share: float
    measured: tuple[float, float, float]
    lm_head: bool = True

    @property
    def name(self) -> str:
        """Experiment and load point."""
        return self.target.name

    @property
    def experiment(self) -> Experiment:
        """What was measured."""
        return self.target.experiment

    @property
    def family(self) -> str:
        """Model family; what is held out together."""
        return self.experiment.family

    def switched(self, *, lm_head: bool, schedule_ahead: bool) -> Point:
        """Return the same point on a server without the LM head, or one that never schedules ahead."""
        engine = self.engine.model_copy(update={"schedule_ahead": self.engine.schedule_ahead and schedule_ahead})
        return replace(self, engine=engine, lm_head=lm_head)

    def run(self, values: Values) -> tuple[RequestResult, ...]:
        """Return what became of the measured requests when a step costs what `values` say."""
        target = self.target
        options = options_of(values, schedule_ahead=self.engine.schedule_ahead, lm_head=self.lm_head)
        step_time = build_step_time(options, target.model, target.hardware, self.experiment.parallelism)
        return run_replay(self.replay, step_time, self.engine).requests

    def engine_means(self, values: Values) -> EngineMeans:
        """Return predicted means as the engine sees them."""
        return self._means(self.run(values))

    def client(self, values: Values) -> ClientTime:
        """Return what the measured figures contain beside the engine's time."""
        client = calibrated_client(values, self.experiment.tool, self.experiment.site)
        return client.in_figures_of(self.experiment, self.target.load_point.id)

    def _means(self, results: Sequence[RequestResult]) -> EngineMeans:
        """Weight cold requests by their share of the whole run."""
        parts = [(self.cold_share, results[: self.cold]), (1.0 - self.cold_share, results[self.cold :])]
        known = [(share, means) for share, part in parts if (means := _plain_means(part)) is not None]
        total = sum(share for share, _ in known)
        if not total:
            raise ConfigError(f"{self.name}: no request completes; the load is beyond what this server can do")
        return EngineMeans(*(sum(share / total * one[field] for share, one in known) for field in range(4)))


def _shortened(replay: Replay, limit: int | None) -> Replay:
    """Keep the warm-up and the first `limit` requests, stretched to arrive at the mean rate of all.

    Without the stretch the first few hundred random gaps would miss the rate of the whole run by several
    percent, and every figure with it.
    """
    warm_up, requests = replay.warm_up, replay.workload.requests
    measured = requests[warm_up:]
    if limit is None or len(measured) <= limit:
        return replay
    kept, begin_us = measured[:limit], measured[0].arrival_us
    mean_gap_us = (measured[-1].arrival_us - begin_us) / (len(measured) - 1)
    span_us = kept[-1].arrival_us - begin_us
    stretch = mean_gap_us * (limit - 1) / span_us if span_us else 1.0
    stretched = tuple(
        replace(request, arrival_us=begin_us + round((request.arrival_us - begin_us) * stretch)) for request in kept
    )
    return replace(replay, workload=replace(replay.workload, requests=requests[:warm_up] + stretched))


def _plain_means(results: Sequence[RequestResult]) -> EngineMeans | None:
    done = completed(results)
    if not done:
        return None
    count, times = len(done), RequestTimes(done)
    return EngineMeans(
        sum(times.ttft_us) / count,
        sum(times.decode_time_us) / count,
        (sum(times.output_tokens) - count) / count,
        sum(request.prompt_tokens for request in done) / count,
    )


def load_points(root: Path, sets: Iterable[str], limit: int | None, seed: int) -> tuple[Point, ...]:
    """Return the load points of `load_targets` as a fit sees them.

    Parameters
    ----------
    limit
        Requests simulated per load point; None simulates all.
    seed
        Of random arrivals that were not recorded; one sequence is drawn.
    """
    arrivals = RandomArrivals(seeds=(seed,), requests=1)
    return tuple(_point(target, limit) for target in load_targets(root, sets, arrivals))


def _point(target: Target, limit: int | None) -> Point:
    experiment, load_point = target.experiment, target.load_point
    (replay,) = target.replays()
    prefix = experiment.workload.prefix
    pool = prefix.prompts if isinstance(prefix, PromptPool) and not load_point.prompts_seen_before else 0
    measured = load_point.measured
    return Point(
        target=target,
        engine=measured_server(experiment, target.model, target.hardware, {}, SOURCE),
        replay=_shortened(replay, limit),
        cold=pool,
        cold_share=pool / load_point.requests.sent,
        measured=(
            measured["ttft_mean"].value,
            experiment.measured_itl_ms(load_point.id),
            measured["e2e_mean"].value,
        ),
    )
