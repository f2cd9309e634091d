"""Times of single requests and tokens, as the different tools define them.

Contract: `RequestTimes` holds every quantity of many requests at once, in microseconds (whole ones where the
definition has no division); the functions of one request are the same formulas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import attrgetter

from simulator.engine.records import RequestResult, RequestState
from simulator.errors import InvariantError
from simulator.validation import NonNegative, NonNegativeInt, Positive, StrictModel


class MetricOptions(StrictModel):
    """What lies between the engine's clock and the number reported.

    Attributes
    ----------
    output_processing_us
        Time from the end of a step until its token is delivered (a2 of the alpha model); it does
        not delay the engine.
    client_offset_us
        Added to TTFT and E2E of every request, where the other side was measured at the client.
    client_us_per_prompt_token
        The same for each token of its prompt.
    skip_first
        Leave out this many requests (in the order given), to keep warm-up out of percentiles.
    ttft_limit_ms, tpot_limit_ms, e2e_limit_ms
        Limits of goodput; None does not limit.
    """

    output_processing_us: NonNegativeInt = 0
    client_offset_us: NonNegativeInt = 0
    client_us_per_prompt_token: NonNegative = 0.0
    skip_first: NonNegativeInt = 0
    ttft_limit_ms: Positive | None = None
    tpot_limit_ms: Positive | None = None
    e2e_limit_ms: Positive | None = None

    @property
    def limited(self) -> bool:
        """Whether anything limits goodput."""
        return any(limit is not None for limit in (self.ttft_limit_ms, self.tpot_limit_ms, self.e2e_limit_ms))


DEFAULT = MetricOptions()


class RequestTimes:
    """Times of requests in whole microseconds, one list per quantity, in the order given.

    A list is made when it is asked for; those that several metrics need most are kept, the others cost memory.
    Requests that have not reached what a list needs are a bug (`InvariantError`), so whoever asks keeps the
    completed ones only.

    Parameters
    ----------
    results
        The requests.
    options
        What lies between the engine's clock and the reported number.
    """

    def __init__(self, results: Sequence[RequestResult], options: MetricOptions = DEFAULT) -> None:
        self.results = results
        self.options = options

    @cached_property
    def output_tokens(self) -> list[int]:
        """N: a server always samples one token."""
        return [max(1, result.output_tokens) for result in self.results]

    @cached_property
    def arrival_us(self) -> list[int]:
        """Time of arrival."""
        return [result.arrival_us for result in self.results]

    @cached_property
    def scheduled_us(self) -> list[int]:
        """Start of the step that (last) admitted the request."""
        return self._reached("scheduled_us")

    @cached_property
    def first_token_us(self) -> list[int]:
        """End of the step that produced the first token."""
        return self._reached("first_token_us")

    @cached_property
    def completed_us(self) -> list[int]:
        """End of the step that produced the last token."""
        return self._reached("completed_us")

    @cached_property
    def ttft_us(self) -> list[int]:
        """Time to first token."""
        return self._delivered(self.first_token_us)

    @cached_property
    def e2e_us(self) -> list[int]:
        """Arrival to delivery of the last token."""
        return self._delivered(self.completed_us)

    @property
    def e2e_processing_per_token_us(self) -> list[int]:
        """TTFT plus all inter-token latencies when output processing is added to each of them.

        Upstream reports it this way although the processing overlaps with later steps: N times the
        processing time instead of once. Equal to `e2e_us` without output processing.
        """
        processing_us = self.options.output_processing_us
        return [e2e_us + processing_us * (n - 1) for e2e_us, n in zip(self.e2e_us, self.output_tokens, strict=True)]

    @property
    def e2e_last_step_twice_us(self) -> list[int]:
        """Upstream's E2E, which has one inter-token latency too many, equal to the last one."""
        processing_us = self.options.output_processing_us
        last_steps_us = self._reached("last_step_us")
        pairs = zip(self.e2e_processing_per_token_us, last_steps_us, strict=True)
        return [e2e_us + last_us + processing_us for e2e_us, last_us in pairs]

    @property
    def queue_time_us(self) -> list[int]:
        """Arrival to the start of the step that (last) admitted the request."""
        return _differences(self.scheduled_us, self.arrival_us)

    @property
    def prefill_time_us(self) -> list[int]:
        """(Last) admission to first token."""
        return _differences(self.first_token_us, self.scheduled_us)

    @property
    def decode_time_us(self) -> list[int]:
        """First token to last token."""
        return _differences(self.completed_us, self.first_token_us)

    @property
    def inference_time_us(self) -> list[int]:
        """(Last) admission to last token."""
        return _differences(self.completed_us, self.scheduled_us)

    @cached_property
    def tpot_us(self) -> list[float | None]:
        """(E2E - TTFT) / (N - 1), or None for a request of one token; a quotient, hence not whole."""
        return self._per_further_token(self.decode_time_us)

    @property
    def tpot_last_step_twice_us(self) -> list[float | None]:
        """The same ratio with upstream's E2E: about N / (N - 1) of the true value."""
        return self._per_further_token(_differences(self.e2e_last_step_twice_us, self.ttft_us))

    def _reached(self, field: str) -> list[int]:
        times_us = list(map(attrgetter(field), self.results))
        if None in times_us:
            result = self.results[times_us.index(None)]
            raise InvariantError(f"request {result.id} is {result.state} but has no {field}")
        return times_us

    def _delivered(self, token_us: list[int]) -> list[int]:
        """Return the times from arrival until tokens produced at `token_us` are with the client."""
        triples = zip(token_us, self.arrival_us, self._outside_us, strict=True)
        return [end_us - arrival_us + outside_us for end_us, arrival_us, outside_us in triples]

    @cached_property
    def _outside_us(self) -> list[int]:
        """Time of every request that is outside the engine."""
        options = self.options
        constant_us = options.output_processing_us + options.client_offset_us
        per_token_us = options.client_us_per_prompt_token
        if not per_token_us:
            return [constant_us] * len(self.results)
        return [constant_us + round(per_token_us * result.prompt_tokens) for result in self.results]

    def _per_further_token(self, durations_us: list[int]) -> list[float | None]:
        pairs = zip(durations_us, self.output_tokens, strict=True)
        return [duration_us / (n - 1) if n > 1 else None for duration_us, n in pairs]


def _differences(later_us: list[int], earlier_us: list[int]) -> list[int]:
    return [later - earlier for later, earlier in zip(later_us, earlier_us, strict=True)]


def ttft_us(result: RequestResult, options: MetricOptions = DEFAULT) -> int:
    """Return `RequestTimes.ttft_us` of one request."""
    return RequestTimes((result,), options).ttft_us[0]


def e2e_us(result: RequestResult, options: MetricOptions = DEFAULT) -> int:
    """Return `RequestTimes.e2e_us` of one request."""
    return RequestTimes((result,), options).e2e_us[0]


def tpot_us(result: RequestResult, options: MetricOptions = DEFAULT) -> float | None:
    """Return `RequestTimes.tpot_us` of one request."""
    return RequestTimes((result,), options).tpot_us[0]


def completed(results: Iterable[RequestResult]) -> list[RequestResult]:
    """Keep the requests that got their last token."""
    return [result for result in results if result.state is RequestState.COMPLETED]
