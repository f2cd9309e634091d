"""What a run at a load point says beyond its three means: load, steps, percentiles, saturation.

Contract: `load_record` returns plain data for one result line. Every measured figure is there, with
the prediction of the same definition beside it or the reason why there is none. Whether a server was
saturated is decided for measurement and simulation alike from what was observed, never assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.measurement_lint import queue_grows
from roofline_lab.ground_truth.metrics import KINDS
from roofline_lab.ground_truth.requests import MeasuredRequest
from roofline_lab.scoring.distances import kolmogorov_smirnov, quantile_difference
from simulator.engine.records import RequestResult, RunResult
from simulator.metrics import DEFINITIONS, measure
from simulator.request_times import MetricOptions, RequestTimes, completed
from simulator.workload.arrivals import ClosedLoop

US_PER_MS = 1000.0
# Kinds of load as the measuring clients name them; their load points are named after them.
CLIENT_STRATEGIES = ("synchronous", "constant", "throughput", "poisson", "concurrent", "stage")
# (kind, measured definition) -> predicted definition of the mean, and stem of its percentiles.
PREDICTIONS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("ttft", "first_token"): ("ttft_mean", "ttft"),
    ("e2e", "request_latency"): ("e2e_mean", "e2e"),
    ("tpot", "inter_token"): ("tpot_request", "tpot_request"),
    ("tpot", "inter_token_weighted"): ("itl_token_weighted", ""),
    ("tpot", "guidellm"): ("tpot_guidellm", ""),
    ("itl", "inter_token"): ("itl_token_weighted", ""),
    ("queue_time", "server"): ("queue_time_mean", ""),
    ("request_throughput", "whole_run"): ("request_throughput", ""),
    ("output_token_throughput", "whole_run"): ("output_token_throughput", ""),
    ("total_token_throughput", "whole_run"): ("total_token_throughput", ""),
    ("output_tokens", "server"): ("output_tokens_mean", ""),
}
NOT_COMPARABLE = "no prediction has this definition"


def load_record(
    experiment: Experiment, point: LoadPoint, result: RunResult, options: MetricOptions, mixed: Mapping[str, int]
) -> dict[str, Any]:
    """Return what one run says about its load point.

    Parameters
    ----------
    options
        Of every metric; its `skip_first` requests only warmed the prefix cache.
    mixed
        Mixed steps by branch of the weighted average.
    """
    done = completed(result.requests[options.skip_first :])
    return {
        "strategy": strategy_of(point),
        "requested_per_s": point.rate.requested_per_s if point.rate else None,
        "achieved_per_s": _achieved(point),
        "saturated": {"measured": point.saturated, "predicted": grows_queue(done, options)},
        "branches": dict(sorted(mixed.items())),
        "figures": _figures(point, result.requests, options),
        "distances": distances_of(experiment.measured_requests(point.id), done, options),
    }


def strategy_of(point: LoadPoint) -> str:
    """Return the kind of load as the client called it, else by its arrivals."""
    named = point.id.split("_")[0]
    if named == "stage" and isinstance(point.arrivals, ClosedLoop):
        return point.strategy
    return named if named in CLIENT_STRATEGIES else point.strategy


def _achieved(point: LoadPoint) -> float | None:
    completed_per_s = point.measured.get("request_throughput")
    if completed_per_s is not None:
        return completed_per_s.value
    return point.rate.achieved_per_s if point.rate else None


def grows_queue(done: Sequence[RequestResult], options: MetricOptions) -> bool:
    """Return whether waiting grows through a simulated load point; judged as recorded requests are."""
    return queue_grows([time_us / US_PER_MS for time_us in RequestTimes(done, options).ttft_us]) is not None


def _figures(point: LoadPoint, requests: Sequence[RequestResult], options: MetricOptions) -> dict[str, Any]:
    found = {}
    for name, figure in point.measured.items():
        prediction = prediction_of(name, figure.definition)
        value = None if prediction is None else measure(prediction, requests, options)
        found[name] = {
            "measured": figure.value,
            "predicted": value,
            "unit": figure.unit,
            "reason": NOT_COMPARABLE if value is None else "",
        }
    return found


def prediction_of(name: str, definition: str) -> str | None:
    """Return the definition of `simulator.metrics` that predicts a measured figure, or None if there is none."""
    kind = KINDS[name]
    mean, stem = PREDICTIONS.get((kind, definition), ("", ""))
    statistic = name.removeprefix(kind).removeprefix("_")
    wanted = mean if statistic in ("", "mean") else f"{stem}_{statistic}"
    return wanted if wanted in DEFINITIONS else None


def distances_of(
    measured: Sequence[MeasuredRequest], done: Sequence[RequestResult], options: MetricOptions
) -> dict[str, Any]:
    """Compare distributions over requests, where single requests were recorded."""
    recorded = [one for one in measured if one.completed]
    times = RequestTimes(done, options)
    samples: dict[str, tuple[Sequence[float | None], list[float | None]]] = {
        "ttft": (times.ttft_us, [one.ttft_ms for one in recorded]),
        "tpot": (times.tpot_us, [one.tpot_ms for one in recorded]),
        "e2e": (times.e2e_us, [one.e2e_ms for one in recorded]),
    }
    found = {}
    for name, (predicted_us, measured_ms) in samples.items():
        predicted = [value / US_PER_MS for value in predicted_us if value is not None]
        reference = [value for value in measured_ms if value]
        if predicted and reference:
            found[name] = {
                "requests": len(reference),
                "kolmogorov_smirnov": kolmogorov_smirnov(predicted, reference),
                "quantile_difference": quantile_difference(predicted, reference),
            }
    return found
