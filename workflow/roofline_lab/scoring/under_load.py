"""What a run at a load point says beyond its three means: which definition predicts a metric, saturation, distances.

Contract: pure. Whether a server was saturated is decided for measurement and simulation alike from what was observed,
never assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roofline_lab.config import Limits
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.metrics import KINDS
from roofline_lab.ground_truth.requests import MeasuredRequest
from roofline_lab.scoring.distances import kolmogorov_smirnov, quantile_difference
from simulator.engine.records import RequestResult
from simulator.metrics import DEFINITIONS
from simulator.request_times import MetricOptions, RequestTimes
from simulator.workload.arrivals import US_PER_S, ClosedLoop

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
NO_REQUESTS = "goodput is counted over single requests, and none are recorded"
NONE_WITHIN = "no measured request is within the limits, so there is no error in percent"


def strategy_of(point: LoadPoint) -> str:
    """Return the kind of load as the client called it, else by its arrivals."""
    named = point.id.split("_")[0]
    if named == "stage" and isinstance(point.arrivals, ClosedLoop):
        return point.strategy
    return named if named in CLIENT_STRATEGIES else point.strategy


def prediction_of(name: str, definition: str) -> str | None:
    """Return the definition of `simulator.metrics` that predicts a measured figure, or None if there is none."""
    kind = KINDS[name]
    mean, stem = PREDICTIONS.get((kind, definition), ("", ""))
    statistic = name.removeprefix(kind).removeprefix("_")
    wanted = mean if statistic in ("", "mean") else f"{stem}_{statistic}"
    return wanted if wanted in DEFINITIONS else None


def goodput_of(recorded: Sequence[MeasuredRequest], limits: Limits) -> float | None:
    """Return requests within limits per second, first arrival to last completion; None without single requests.

    Source: `goodput` of `simulator.metrics`, on the other side; a request of a single token has no TPOT to miss.
    """
    timed = (each for each in recorded if each.completed and each.ttft_ms is not None)
    done = [(each, each.e2e_ms) for each in timed if each.e2e_ms is not None]
    if not done:
        return None
    begin_us = min(each.arrival_us for each, _ in done)
    span_us = max(each.arrival_us + e2e_ms * US_PER_MS for each, e2e_ms in done) - begin_us
    return sum(_within(each, limits) for each, _ in done) * US_PER_S / span_us


def _within(request: MeasuredRequest, limits: Limits) -> bool:
    values = {"ttft": request.ttft_ms, "tpot": request.tpot_ms, "e2e": request.e2e_ms}
    known = ((values[name], limit_ms) for name, limit_ms in limits.by_latency.items())
    return all(value is None or value <= limit_ms for value, limit_ms in known)


def distances_of(
    measured: Sequence[MeasuredRequest], done: Sequence[RequestResult], options: MetricOptions
) -> dict[str, Any]:
    """Compare distributions over requests, where single requests were recorded."""
    recorded = [request for request in measured if request.completed]
    if not recorded:
        return {}
    times = RequestTimes(done, options)
    samples: dict[str, tuple[Sequence[float | None], list[float | None]]] = {
        "ttft": (times.ttft_us, [request.ttft_ms for request in recorded]),
        "tpot": (times.tpot_us, [request.tpot_ms for request in recorded]),
        "e2e": (times.e2e_us, [request.e2e_ms for request in recorded]),
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
