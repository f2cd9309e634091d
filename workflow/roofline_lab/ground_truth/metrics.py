"""Measured figures: what each one means, and whether the figures of one load point fit together.

Contract: a `Measured` says value, unit, definition and rounding. `problems_of` yields one sentence
per figure that cannot be what it says it is: another unit than its kind has, a magnitude no server
has (seconds where milliseconds are meant), percentiles that fall, or means that contradict each
other or the number of tokens generated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Literal

from simulator.conversions import itl_from_means_ms
from simulator.validation import Positive, StrictModel, suggest

# Kind -> definition -> meaning. `request start` is when the client sends the request, N the number
# of tokens generated. Sources: GuideLLM v0.3.0 to v0.8.1 (request statistics, metric summaries),
# inference-perf (stage and summary reports), vLLM (server metrics, `vllm bench serve`).
DEFINITIONS: Mapping[str, Mapping[str, str]] = {
    "ttft": {"first_token": "first token minus request start; plain mean over requests"},
    "tpot": {
        "guidellm": "(last token minus request start) / N; includes TTFT; mean weighted by N",
        "inter_token": "(last token minus first token) / (N - 1); plain mean over requests with N > 1",
        "inter_token_weighted": "sum of (last token minus first token) over sum of (N - 1)",
    },
    "itl": {
        "inter_token": "(last token minus first token) / (N - 1); mean weighted by N - 1",
        "pooled_gaps": "gaps between successive tokens, those of all requests in one pool",
    },
    "e2e": {"request_latency": "request end minus request start; plain mean over requests"},
    "queue_time": {"server": "first scheduled minus arrival at the engine; plain mean over requests"},
    "request_throughput": {"whole_run": "completed requests over first arrival to last completion"},
    "output_token_throughput": {"whole_run": "tokens generated over first arrival to last completion"},
    "total_token_throughput": {"whole_run": "prompt and generated tokens over first arrival to last completion"},
    "prompt_tokens": {"server": "prompt length as the server counts it, shared prefix included"},
    "output_tokens": {"server": "tokens generated"},
}
LATENCIES = ("ttft", "tpot", "itl", "e2e", "queue_time")
THROUGHPUTS = ("request_throughput", "output_token_throughput", "total_token_throughput")
LENGTHS = ("prompt_tokens", "output_tokens")

STATISTICS = ("mean", "p50", "p90", "p95", "p98", "p99")
PERCENTILES = STATISTICS[1:]

Unit = Literal["ms", "1/s", "tokens/s", "tokens"]

# Figure name -> its kind, for example `ttft_p90` -> `ttft`.
KINDS: Mapping[str, str] = {
    **{f"{latency}_{statistic}": latency for latency in LATENCIES for statistic in STATISTICS},
    **{name: name for name in THROUGHPUTS},
    **{f"{length}_mean": length for length in LENGTHS},
}
METRICS = tuple(KINDS)
UNITS: Mapping[str, Unit] = {
    **dict.fromkeys(LATENCIES, "ms"),
    "request_throughput": "1/s",
    "output_token_throughput": "tokens/s",
    "total_token_throughput": "tokens/s",
    **dict.fromkeys(LENGTHS, "tokens"),
}

# Smallest and largest value in ms that one GPU server shows. The lower bounds lie an order of
# magnitude below the fastest step and the shortest answer of the models described here and above
# the same figures in seconds; the upper bounds are ten minutes of queueing and an hour's request.
# An idle server queues for microseconds, so a queueing time has no lower bound.
PLAUSIBLE_MS: Mapping[str, tuple[float, float]] = {
    "ttft": (0.5, 600_000.0),
    "tpot": (0.05, 10_000.0),
    "itl": (0.05, 10_000.0),
    "e2e": (10.0, 3_600_000.0),
    "queue_time": (0.0, 3_600_000.0),
}
MS_PER_S = 1000.0

# How far figures of one load point may contradict each other, beyond their rounding. Two percent
# covers an end of request that is not its last token and a few requests missing from one mean.
CONSISTENCY_TOLERANCE = 0.02
# A plain mean of per-request times between tokens is no ratio of means: with lengths that vary and a
# load that changes, recorded runs differ by up to 1 %; ten tell it from the other definitions.
PLAIN_MEAN_TOLERANCE = 0.1


class Measured(StrictModel):
    """One measured figure.

    Attributes
    ----------
    value
        The figure as printed, in `unit`.
    unit
        `ms` for latencies, `1/s` and `tokens/s` for throughputs, `tokens` for lengths; another unit
        is converted before it is written down.
    definition
        A name of `DEFINITIONS` for this kind of figure.
    rounded_to
        Last printed digit in `unit` (0.1: one decimal); None if the figure was not rounded.
    """

    value: Positive
    unit: Unit
    definition: str
    rounded_to: Positive | None = None

    @property
    def half_digit(self) -> float:
        """Half of the last printed digit, in `unit`; 0 if the figure was not rounded."""
        return (self.rounded_to or 0.0) / 2


def problems_of(measured: Mapping[str, Measured], mean_output_tokens: float, half_token: float = 0.0) -> Iterator[str]:
    """Yield what is wrong with the figures of one load point; each starts with the key.

    Parameters
    ----------
    measured
        Figures by metric name (`ttft_mean`).
    mean_output_tokens, half_token
        Mean number of tokens generated by the requests behind the figures, and how far it may be
        rounded.
    """
    own = [problem for name, figure in measured.items() for problem in _own_problems(name, figure)]
    yield from own
    if not own:
        yield from _falling_percentiles(measured)
        yield from _contradictions(measured, mean_output_tokens, half_token / mean_output_tokens)


def inter_token_ms(measured: Mapping[str, Measured], mean_output_tokens: float) -> float:
    """Mean time between tokens in ms: (mean E2E - mean TTFT) / (mean N - 1)."""
    return itl_from_means_ms(measured["e2e_mean"].value, measured["ttft_mean"].value, mean_output_tokens)


def _own_problems(name: str, figure: Measured) -> Iterator[str]:
    kind = KINDS.get(name)
    if kind is None:
        yield f"{name}: unknown metric; {suggest(name, METRICS)}"
        return
    if figure.definition not in DEFINITIONS[kind]:
        yield (
            f"{name}.definition: unknown definition '{figure.definition}'; "
            f"{suggest(figure.definition, DEFINITIONS[kind])}"
        )
    if figure.unit != UNITS[kind]:
        yield f"{name}.unit: must be '{UNITS[kind]}' (got '{figure.unit}')"
    elif kind in PLAUSIBLE_MS:
        yield from _implausible(name, figure, *PLAUSIBLE_MS[kind])


def _implausible(name: str, figure: Measured, low: float, high: float) -> Iterator[str]:
    if figure.value < low:
        yield (
            f"{name}.value: {figure.value:g} ms is implausibly small (allowed: {low:g} to {high:g} ms); were seconds "
            f"given where ms are meant? then write {figure.value * MS_PER_S:g}"
        )
    elif figure.value > high:
        yield (
            f"{name}.value: {figure.value:g} ms is implausibly large (allowed: {low:g} to {high:g} ms); were "
            f"microseconds given where ms are meant? then write {figure.value / MS_PER_S:g}"
        )


def _falling_percentiles(measured: Mapping[str, Measured]) -> Iterator[str]:
    for latency in LATENCIES:
        present = [f"{latency}_{rank}" for rank in PERCENTILES if f"{latency}_{rank}" in measured]
        for lower, upper in pairwise(present):
            if measured[upper].value < measured[lower].value:
                yield (
                    f"{upper}.value: {measured[upper].value:g} ms is below {lower} {measured[lower].value:g} ms; "
                    "percentiles cannot fall, check both and their units"
                )


def _contradictions(measured: Mapping[str, Measured], mean_output_tokens: float, rounding: float) -> Iterator[str]:
    ttft, tpot, e2e = (measured.get(f"{metric}_mean") for metric in ("ttft", "tpot", "e2e"))
    if ttft is not None and e2e is not None and ttft.value >= e2e.value and mean_output_tokens > 1:
        yield f"e2e_mean.value: {e2e.value:g} ms is not above ttft_mean {ttft.value:g} ms; check both and their units"
    elif tpot is not None and e2e is not None:
        yield from _token_count_problem(ttft, tpot, e2e, mean_output_tokens, rounding)
    length = measured.get("output_tokens_mean")
    if length is not None and abs(length.value / mean_output_tokens - 1) > CONSISTENCY_TOLERANCE + rounding:
        yield (
            f"output_tokens_mean.value: {length.value:g} measured, but the workload has {mean_output_tokens:.2f}; "
            "correct the one that is wrong"
        )


def _token_count_problem(
    ttft: Measured | None, tpot: Measured, e2e: Measured, mean_output_tokens: float, rounding: float
) -> Iterator[str]:
    """Compare the number of tokens the latencies imply with the number generated.

    GuideLLM: N = E2E / TPOT, as its TPOT is a mean weighted by N. Between tokens:
    N = (E2E - TTFT) / TPOT + 1.
    """
    if tpot.definition == "guidellm":
        implied = e2e.value / tpot.value
    elif ttft is not None:
        implied = (e2e.value - ttft.value) / tpot.value + 1
    else:
        return
    rounding += tpot.half_digit / tpot.value + e2e.half_digit / e2e.value
    allowed = rounding + (PLAIN_MEAN_TOLERANCE if tpot.definition == "inter_token" else CONSISTENCY_TOLERANCE)
    if abs(implied / mean_output_tokens - 1) > allowed:
        yield (
            f"tpot_mean: with definition '{tpot.definition}' the latencies imply {implied:.2f} output tokens per "
            f"request, the workload has {mean_output_tokens:.2f} (allowed: {allowed:.1%} apart); check unit, "
            "definition and workload"
        )
