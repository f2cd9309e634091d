"""Replay recordings and compare what was simulated with what was measured, request by request.

Contract: `score` returns one `StageScore` per load point and set of options. Both sides are compared over the same
requests: completed in the measurement, not excluded, completed in the simulation. A saturated load point has a
throughput and no latency, because its latencies depend on when the run ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from roofline_lab.ground_truth.assumed_server import served
from roofline_lab.ground_truth.deployment import Ran
from roofline_lab.ground_truth.requests import MeasuredRequest
from roofline_lab.load_point import Prediction, Target
from roofline_lab.predict.choose import OptionSet
from roofline_lab.predict.predictors import Holdout, Predictor
from roofline_lab.predict.recording import Recording, Stage
from roofline_lab.project import Project
from roofline_lab.scoring.distances import kolmogorov_smirnov, quantile_difference, wasserstein
from roofline_lab.scoring.errors import PERCENT, ape_pct, signed_error_pct
from simulator.engine.records import RequestResult, RequestState
from simulator.errors import UnsupportedError
from simulator.metrics import mean, percentile
from simulator.model import Model
from simulator.request_times import MetricOptions, RequestTimes
from simulator.saturation import grows_queue

US_PER_MS = 1000.0
US_PER_S = 1e6
LATENCIES = ("ttft", "tpot", "e2e")
RANKS_PCT = (50, 90, 99)
STATISTICS = ("mean", *(f"p{rank}" for rank in RANKS_PCT))


@dataclass(frozen=True)
class Sample:
    """One latency of the same requests on both sides, in order of arrival: measured in ms, predicted in us."""

    measured: tuple[float, ...]
    predicted_us: tuple[float, ...]

    @cached_property
    def predicted(self) -> tuple[float, ...]:
        """Predicted latencies in ms."""
        return tuple(us / US_PER_MS for us in self.predicted_us)

    def figure(self, statistic: str) -> tuple[float, float]:
        """Return measured and predicted value of `mean` or a percentile, ms."""
        return _statistic(self.measured, statistic), _statistic(self.predicted_us, statistic) / US_PER_MS

    def signed_error_pct(self, statistic: str) -> float:
        """Return how far the prediction is above the measurement, percent."""
        measured, predicted = self.figure(statistic)
        return signed_error_pct(predicted, measured)

    @cached_property
    def kolmogorov_smirnov(self) -> float:
        """Largest difference of the two distribution functions, from 0 to 1."""
        return kolmogorov_smirnov(self.predicted, self.measured)

    @cached_property
    def wasserstein_ms(self) -> float:
        """Area between the two distribution functions."""
        return wasserstein(self.predicted, self.measured)

    @cached_property
    def quantile_difference_pct(self) -> float:
        """Mean over ranks of the relative difference of quantiles."""
        return quantile_difference(self.predicted, self.measured) * PERCENT

    @cached_property
    def request_error_pct(self) -> float:
        """Median over requests of the absolute relative error of each one."""
        pairs = zip(self.measured, self.predicted, strict=True)
        return median(ape_pct(predicted, measured) for measured, predicted in pairs)


@dataclass(frozen=True, slots=True)
class StageScore:
    """One load point under one set of options.

    Attributes
    ----------
    samples
        By latency, over the requests of the figures.
    everything
        The same over all completed requests of the load point, those of a cold start included.
    unfinished
        Measured requests the simulation did not complete.
    throughput_per_s
        Measured and predicted completed requests per second, first arrival to last completion.
    queue_grows
        Whether waiting grows through the simulated load point, as in saturation.
    failure
        Why nothing was simulated, if so; samples are empty then.
    """

    stage: Stage
    options: OptionSet
    samples: dict[str, Sample]
    everything: dict[str, Sample]
    unfinished: int = 0
    throughput_per_s: tuple[float, float] | None = None
    queue_grows: bool | None = None
    failure: str = ""

    @property
    def has_latencies(self) -> bool:
        """Whether the latencies of the load point are scored."""
        return not self.stage.point.saturated and "e2e" in self.samples


def score(
    project: Project,
    recordings: Iterable[Recording],
    option_sets: Sequence[OptionSet],
    progress: Callable[[str], None] = lambda what: None,
) -> tuple[StageScore, ...]:
    """Replay every recording with every set of options; load points in the recordings' order.

    Parameters
    ----------
    progress
        Told which recording is served with which options, once that is done.
    """
    found: list[StageScore] = []
    for recording in recordings:
        by_set = []
        for options in option_sets:
            by_set.append(_replayed(project, recording, options))
            progress(f"{recording.experiment.id} with {options.label}")
        found += [one for same_stage in zip(*by_set, strict=True) for one in same_stage]
    return tuple(found)


def _replayed(project: Project, recording: Recording, options: OptionSet) -> list[StageScore]:
    try:
        prediction = serve_again(project, recording, options)
    except UnsupportedError as error:
        return [StageScore(stage, options, {}, {}, failure=str(error)) for stage in recording.stages]
    return [_scored(stage, options, prediction) for stage in recording.stages]


def serve_again(project: Project, recording: Recording, options: OptionSet) -> Prediction:
    """Return what these options say of the requests of one recording, in order of arrival.

    Raises
    ------
    UnsupportedError
        If these options cannot price the model on its GPUs, or were fitted to its family and keep no others.
    """
    experiment = recording.experiment
    hardware, point = project.hardware(experiment.hardware), recording.stages[0].point
    model = served(experiment, project.model(experiment.model), hardware)
    refuse_in_sample(options.predictor, experiment, model)
    target = Target(experiment, point, model, hardware, project.settings.arrivals)
    return options.predictor.predict(target, [recording.replay])


def refuse_in_sample(predictor: Predictor, experiment: Ran, model: Model) -> None:
    """Refuse a prediction that would be none.

    Raises
    ------
    UnsupportedError
        If the options were fitted to the family of the experiment and keep no others.
    """
    if predictor.holdout(experiment, model) is Holdout.IN_SAMPLE:
        raise UnsupportedError(
            f"calibration {predictor.name} was fitted to {experiment.family} and keeps no constants without it; "
            "its error there would be no prediction"
        )


def _scored(stage: Stage, options: OptionSet, prediction: Prediction) -> StageScore:
    results = prediction.draws[0].requests[stage.begin : stage.begin + len(stage.requests)]
    seen = prediction.setup.client.in_figures_of(stage.experiment, stage.point.id).metric_options()
    pairs = list(_pairs(stage.requests, results))
    kept = list(_pairs(stage.requests[stage.cold :], results[stage.cold :]))
    done = [result for _, result in pairs]
    return StageScore(
        stage=stage,
        options=options,
        samples=_samples(kept, seen),
        everything=_samples(pairs, seen),
        unfinished=sum(result.state is not RequestState.COMPLETED for result in results),
        throughput_per_s=_throughput(stage, pairs, seen),
        queue_grows=grows_queue(RequestTimes(done, seen).ttft_us),
    )


def _pairs(
    requests: Sequence[MeasuredRequest], results: Sequence[RequestResult]
) -> Iterator[tuple[MeasuredRequest, RequestResult]]:
    """Yield every request with latencies on both sides."""
    for request, result in zip(requests, results, strict=True):
        if request.ttft_ms and request.e2e_ms and result.state is RequestState.COMPLETED:
            yield request, result


def _samples(pairs: Sequence[tuple[MeasuredRequest, RequestResult]], seen: MetricOptions) -> dict[str, Sample]:
    requests, times = [request for request, _ in pairs], RequestTimes([result for _, result in pairs], seen)
    both: dict[str, tuple[list[float | None], Sequence[float | None]]] = {
        "ttft": ([request.ttft_ms for request in requests], times.ttft_us),
        "tpot": ([request.tpot_ms for request in requests], times.tpot_us),
        "e2e": ([request.e2e_ms for request in requests], times.e2e_us),
    }
    found = {}
    for latency, (measured_ms, predicted_us) in both.items():
        known = [(ms, us) for ms, us in zip(measured_ms, predicted_us, strict=True) if ms and us is not None]
        if known:
            found[latency] = Sample(tuple(one for one, _ in known), tuple(one for _, one in known))
    return found


def _throughput(
    stage: Stage, pairs: Sequence[tuple[MeasuredRequest, RequestResult]], seen: MetricOptions
) -> tuple[float, float] | None:
    if not pairs:
        return None
    measured_us = max(one.arrival_us + (one.e2e_ms or 0.0) * US_PER_MS for one, _ in pairs) - pairs[0][0].arrival_us
    times = RequestTimes([result for _, result in pairs], seen)
    ends_us = [arrival_us + e2e_us for arrival_us, e2e_us in zip(times.arrival_us, times.e2e_us, strict=True)]
    predicted_us = max(ends_us) - times.arrival_us[0]
    return len(pairs) / measured_us * US_PER_S, len(pairs) / predicted_us * US_PER_S


def _statistic(values: Sequence[float], statistic: str) -> float:
    found = mean(values) if statistic == "mean" else percentile(values, float(statistic.removeprefix("p")))
    return found or 0.0
