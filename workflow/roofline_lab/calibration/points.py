"""The load points a calibration is fitted to or judged on, ready to be simulated again and again.

Contract: `load_points` gives every load point of some sets that was not saturated, once, in the sets'
order. A point knows its measured means and predicts them from a step-time model. Where only its first
`limit` requests are simulated, cold ones (the first round of a prompt pool) still count as much as in
the whole run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from roofline_lab.calibration.client_overhead import ClientTime, client_time
from roofline_lab.calibration.constants import Values, options_of
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.reading import load_set
from simulator.engine.loop import run as run_engine
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request, RequestResult
from simulator.errors import ConfigError
from simulator.hardware import Hardware, load_hardware
from simulator.model import Model, load_model
from simulator.request_times import RequestTimes, completed
from simulator.steptime.build import build_step_time
from simulator.workload.prefixes import PromptPool

METRICS = ("ttft", "itl", "e2e")


class EngineMeans(NamedTuple):
    """Means over requests: TTFT and decode time in us, tokens after the first, prompt tokens."""

    ttft_us: float
    decode_us: float
    gaps: float
    prompt_tokens: float


@dataclass(frozen=True, slots=True)
class Point:
    """One measured load point.

    Attributes
    ----------
    requests, warm_up, concurrency
        What the engine is given; the first `warm_up` requests only fill the prefix cache.
    cold, cold_share
        How many of the others come first and find nothing in the cache, and their share of the
        whole measured run.
    measured
        Mean TTFT, ITL and E2E in ms.
    lm_head
        Whether steps contain the projection to the vocabulary; see `switched`.
    """

    experiment: Experiment
    load_point: LoadPoint
    model: Model
    hardware: Hardware
    engine: EngineOptions
    requests: tuple[Request, ...]
    warm_up: int
    concurrency: int | None
    cold: int
    cold_share: float
    measured: tuple[float, float, float]
    lm_head: bool = True

    @property
    def name(self) -> str:
        """Experiment and load point."""
        return f"{self.experiment.id}/{self.load_point.id}"

    @property
    def family(self) -> str:
        """Model family; what is held out together."""
        return self.experiment.family

    @property
    def mixture(self) -> bool:
        """Whether the model routes tokens to experts."""
        return bool(self.model.num_local_experts)

    def switched(self, *, lm_head: bool, schedule_ahead: bool) -> Point:
        """Return the same point on a server without the LM head, or one that never schedules ahead."""
        engine = self.engine.model_copy(update={"schedule_ahead": self.engine.schedule_ahead and schedule_ahead})
        return replace(self, engine=engine, lm_head=lm_head)

    def run(self, values: Values) -> tuple[RequestResult, ...]:
        """Return what became of the measured requests when a step costs what `values` say."""
        options = options_of(values, schedule_ahead=self.engine.schedule_ahead, lm_head=self.lm_head)
        step_time = build_step_time(options, self.model, self.hardware, self.experiment.tensor_parallel)
        return run_engine(self.requests, step_time, self.engine, concurrency=self.concurrency).requests[self.warm_up :]

    def engine_means(self, values: Values) -> EngineMeans:
        """Return predicted means as the engine sees them."""
        return self._means(self.run(values))

    def client(self, values: Values) -> ClientTime:
        """Return what the measured figures contain beside the engine's time."""
        return client_time(values, self.experiment.tool, self.experiment.side_of(self.load_point.id))

    def _means(self, results: Sequence[RequestResult]) -> EngineMeans:
        """Weight cold requests by their share of the whole run."""
        parts = [(self.cold_share, results[: self.cold]), (1.0 - self.cold_share, results[self.cold :])]
        known = [(share, means) for share, part in parts if (means := _plain_means(part)) is not None]
        total = sum(share for share, _ in known)
        if not total:
            raise ConfigError(f"{self.name}: no request completes; the load is beyond what this server can do")
        return EngineMeans(*(sum(share / total * one[field] for share, one in known) for field in range(4)))


def _shortened(requests: tuple[Request, ...], warm_up: int, limit: int | None) -> tuple[Request, ...]:
    """Keep the warm-up and the first `limit` requests, stretched to arrive at the mean rate of all.

    Without the stretch the first few hundred random gaps would miss the rate of the whole run by several
    percent, and every figure with it.
    """
    measured = requests[warm_up:]
    if limit is None or len(measured) <= limit:
        return requests
    kept, begin_us = measured[:limit], measured[0].arrival_us
    mean_gap_us = (measured[-1].arrival_us - begin_us) / (len(measured) - 1)
    span_us = kept[-1].arrival_us - begin_us
    stretch = mean_gap_us * (limit - 1) / span_us if span_us else 1.0
    return requests[:warm_up] + tuple(
        replace(one, arrival_us=begin_us + round((one.arrival_us - begin_us) * stretch)) for one in kept
    )


def _plain_means(results: Sequence[RequestResult]) -> EngineMeans | None:
    done = completed(results)
    if not done:
        return None
    count, times = len(done), RequestTimes(done)
    return EngineMeans(
        sum(times.ttft_us) / count,
        sum(times.decode_time_us) / count,
        (sum(times.output_tokens) - count) / count,
        sum(one.prompt_tokens for one in done) / count,
    )


def load_points(root: Path, sets: Iterable[str], limit: int | None, seed: int) -> tuple[Point, ...]:
    """Return every load point of `sets` that is not known to be saturated, each experiment once.

    Parameters
    ----------
    root
        The project's folder.
    limit
        Requests simulated per load point; None simulates all.
    seed
        Of random arrivals that were not recorded.
    """
    experiments = {one.id: one for name in sets for one in load_set(root, name)}
    return tuple(
        point_of(root, experiment, load_point, limit, seed)
        for experiment in experiments.values()
        for load_point in experiment.load_points
        if not load_point.saturated
    )


def point_of(root: Path, experiment: Experiment, load_point: LoadPoint, limit: int | None, seed: int) -> Point:
    """Prepare one load point."""
    replay = experiment.replay(load_point.id, seed)
    warm_up = replay.warm_up
    requests = _shortened(replay.workload.requests, warm_up, limit)
    prefix = experiment.workload.prefix
    pool = prefix.prompts if isinstance(prefix, PromptPool) and not load_point.prompts_seen_before else 0
    measured = load_point.measured
    return Point(
        experiment=experiment,
        load_point=load_point,
        model=load_model(root / "configs" / "models" / f"{experiment.model}.json"),
        hardware=load_hardware(root / "configs" / "hardware" / f"{experiment.hardware}.yaml"),
        engine=EngineOptions(**experiment.server.engine_settings),
        requests=requests,
        warm_up=warm_up,
        concurrency=replay.workload.concurrency,
        cold=pool,
        cold_share=pool / load_point.requests.sent,
        measured=(
            measured["ttft_mean"].value,
            experiment.measured_itl_ms(load_point.id),
            measured["e2e_mean"].value,
        ),
    )
