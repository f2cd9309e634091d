"""What a run at a load point says beyond its three means: which definition predicts a metric, saturation, distances.

Contract: pure. Whether a server was saturated is decided for measurement and simulation alike from what was observed,
never assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roofline_lab.ground_truth.lint import queue_grows
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.metrics import KINDS
from roofline_lab.ground_truth.requests import MeasuredRequest
from roofline_lab.scoring.distances import kolmogorov_smirnov, quantile_difference
from simulator.engine.records import RequestResult, RunCounters
from simulator.metrics import DEFINITIONS
from simulator.request_times import MetricOptions, RequestTimes
from simulator.workload.arrivals import ClosedLoop

US_PER_MS = 1000.0
# From which share of the KV blocks on a cache was full, and from which share of its time on a request waits that is not
# admitted, dimensionless. Clients of a closed loop wait for a prefill where many begin at once, up to 0.04 of the time
# in simulated loops that kept up; where measured ones did not, because the cache was full, simulated ones wait 0.06 and
# more (Llama-3.3-70B on H100 and H200, Qwen3-32B on H100).
FULL_SHARE = 0.99
WAITING_SHARE = 0.05
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


def strategy_of(point: LoadPoint) -> str:
    """Return the kind of load as the client called it, else by its arrivals."""
    named = point.id.split("_")[0]
    if named == "stage" and isinstance(point.arrivals, ClosedLoop):
        return point.strategy
    return named if named in CLIENT_STRATEGIES else point.strategy


def grows_queue(ttft_us: Sequence[int]) -> bool:
    """Return whether waiting grows through a simulated load point, from TTFT in order of sending.

    Judged as recorded requests are.
    """
    return queue_grows([time_us / US_PER_MS for time_us in ttft_us]) is not None


def lacks_room(done: Sequence[RequestResult], counters: RunCounters, kv_blocks: int) -> bool:
    """Return whether a simulated closed loop is wider than its server: the KV cache fills up, and requests wait for it.

    Waiting cannot grow there, because no client sends more until it is answered.
    """
    if counters.peak_kv_blocks < FULL_SHARE * kv_blocks:
        return False
    times = [(each.arrival_us, each.scheduled_us, each.completed_us) for each in done]
    known = [(sent, start, end) for sent, start, end in times if start is not None and end is not None]
    waited_us, took_us = sum(start - sent for sent, start, _ in known), sum(end - sent for sent, _, end in known)
    return waited_us > WAITING_SHARE * took_us


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
