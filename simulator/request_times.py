"""Times of single requests and tokens, as the different tools define them.

Contract: every per-request function takes a completed request and `MetricOptions` and returns microseconds
(whole ones where the definition has no division). A completed request that lacks a time is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from simulator.engine.records import RequestResult, RequestState, RunResult
from simulator.errors import InvariantError, UnsupportedError
from simulator.validation import NonNegative, NonNegativeInt, Positive, StrictModel


class MetricOptions(StrictModel):
    """What lies between the engine's clock and the number reported.

    Attributes
    ----------
    output_processing_us
        Time from the end of a step until its token is delivered (a2 of the alpha model); it does
        not delay the engine.
    client_offset_us, client_us_per_prompt_token
        Added to TTFT and E2E where the other side was measured at the client: per request, and for
        each token of its prompt.
    skip_first
        Leave out this many requests (in the order given), to keep warm-up out of percentiles.
    ttft_limit_ms, tpot_limit_ms
        Limits of goodput; None does not limit.
    """

    output_processing_us: NonNegativeInt = 0
    client_offset_us: NonNegativeInt = 0
    client_us_per_prompt_token: NonNegative = 0.0
    skip_first: NonNegativeInt = 0
    ttft_limit_ms: Positive | None = None
    tpot_limit_ms: Positive | None = None


DEFAULT = MetricOptions()


def generated_tokens(result: RequestResult) -> int:
    """Return N: a server always samples one token."""
    return max(1, result.output_tokens)


def ttft_us(result: RequestResult, options: MetricOptions = DEFAULT) -> int:
    """Return the time to first token."""
    return reached_us(result, "first_token_us") - result.arrival_us + _delivery_us(result, options)


def e2e_us(result: RequestResult, options: MetricOptions = DEFAULT) -> int:
    """Return arrival to delivery of the last token."""
    return reached_us(result, "completed_us") - result.arrival_us + _delivery_us(result, options)


def e2e_processing_per_token_us(result: RequestResult, options: MetricOptions = DEFAULT) -> int:
    """Return TTFT plus all inter-token latencies when output processing is added to each of them.

    Upstream reports it this way although the processing overlaps with later steps: N times the
    processing time instead of once. Equal to `e2e_us` without output processing.
    """
    return e2e_us(result, options) + options.output_processing_us * (generated_tokens(result) - 1)


def e2e_last_step_twice_us(result: RequestResult, options: MetricOptions = DEFAULT) -> int:
    """Return upstream's E2E, which has one inter-token latency too many, equal to the last one."""
    phantom_us = reached_us(result, "last_step_us") + options.output_processing_us
    return e2e_processing_per_token_us(result, options) + phantom_us


def queue_time_us(result: RequestResult, options: MetricOptions = DEFAULT) -> int:
    """Return arrival to the start of the step that (last) admitted the request."""
    return reached_us(result, "scheduled_us") - result.arrival_us


def prefill_time_us(result: RequestResult, options: MetricOptions = DEFAULT) -> int:
    """Return (last) admission to first token."""
    return reached_us(result, "first_token_us") - reached_us(result, "scheduled_us")


def decode_time_us(result: RequestResult, options: MetricOptions = DEFAULT) -> int:
    """Return first token to last token."""
    return reached_us(result, "completed_us") - reached_us(result, "first_token_us")


def inference_time_us(result: RequestResult, options: MetricOptions = DEFAULT) -> int:
    """Return (last) admission to last token."""
    return reached_us(result, "completed_us") - reached_us(result, "scheduled_us")


def tpot_us(result: RequestResult, options: MetricOptions = DEFAULT) -> float | None:
    """Return (E2E - TTFT) / (N - 1), or None for a request of one token."""
    return _per_further_token(result, decode_time_us(result))


def tpot_last_step_twice_us(result: RequestResult, options: MetricOptions = DEFAULT) -> float | None:
    """Return the same ratio with upstream's E2E: about N / (N - 1) of the true value."""
    return _per_further_token(result, e2e_last_step_twice_us(result, options) - ttft_us(result, options))


def _per_further_token(result: RequestResult, duration_us: int) -> float | None:
    further = generated_tokens(result) - 1
    return duration_us / further if further else None


def _delivery_us(result: RequestResult, options: MetricOptions) -> int:
    constant_us = options.output_processing_us + options.client_offset_us
    if not options.client_us_per_prompt_token:
        return constant_us
    return constant_us + round(options.client_us_per_prompt_token * result.prompt_tokens)


def reached_us(result: RequestResult, field: str) -> int:
    """Return one of the request's times."""
    value: int | None = getattr(result, field)
    if value is None:
        raise InvariantError(f"request {result.id} is {result.state} but has no {field}")
    return value


def completed(results: Iterable[RequestResult]) -> list[RequestResult]:
    """Keep the requests that got their last token."""
    return [result for result in results if result.state is RequestState.COMPLETED]


def itl_gaps_us(run: RunResult) -> list[int] | None:
    """Return the gaps between consecutive tokens of all completed requests, pooled; needs the step log.

    Raises
    ------
    UnsupportedError
        If a request was preempted: its recomputed steps deliver no new token, and the log does not
        say which they are.
    """
    done = completed(run.requests)
    if not run.steps or not done:
        return None
    preempted = sorted(result.id for result in done if result.preemptions)
    if preempted:
        raise UnsupportedError(f"inter-token gaps: request {preempted[0]} was preempted; use tpot_request instead")
    ends: dict[str, list[int]] = {result.id: [reached_us(result, "first_token_us")] for result in done}
    for step in run.steps:
        for request_id, _ in step.decode:
            if request_id in ends:
                ends[request_id].append(step.start_us + step.duration_us)
    return [later - earlier for times in ends.values() for earlier, later in pairwise(times)]
