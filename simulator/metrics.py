"""What is measured: every latency and throughput definition, by name.

Contract: `measure(name, results)` gives one number in the unit its `Definition` states, or None
where nothing was measured; a missing number is never 0. Only completed requests count. Times are
summed as whole microseconds or with `math.fsum`, so that no order of summation changes a digit.
Tools use the same names for different things, hence each definition names its source;
`docs/metrics.md` has the formulas.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import accumulate

from simulator.engine.records import RequestResult
from simulator.errors import ConfigError
from simulator.request_times import DEFAULT, MetricOptions, RequestTimes, completed
from simulator.validation import suggest

US_PER_MS = 1_000
US_PER_S = 1_000_000


class MetricName(StrEnum):
    """Names of `DEFINITIONS`."""

    TTFT_MEAN = "ttft_mean"
    TTFT_P50 = "ttft_p50"
    TTFT_P90 = "ttft_p90"
    TTFT_P95 = "ttft_p95"
    TTFT_P99 = "ttft_p99"
    E2E_MEAN = "e2e_mean"
    E2E_P50 = "e2e_p50"
    E2E_P90 = "e2e_p90"
    E2E_P95 = "e2e_p95"
    E2E_P99 = "e2e_p99"
    E2E_PROCESSING_PER_TOKEN = "e2e_processing_per_token"
    E2E_LAST_STEP_TWICE = "e2e_last_step_twice"
    TPOT_REQUEST = "tpot_request"
    TPOT_REQUEST_P50 = "tpot_request_p50"
    TPOT_REQUEST_P90 = "tpot_request_p90"
    TPOT_REQUEST_P95 = "tpot_request_p95"
    TPOT_REQUEST_P99 = "tpot_request_p99"
    TPOT_GUIDELLM = "tpot_guidellm"
    TPOT_LAST_STEP_TWICE = "tpot_last_step_twice"
    ITL_TOKEN_WEIGHTED = "itl_token_weighted"
    ITL_RATIO_OF_MEANS = "itl_ratio_of_means"
    ITL_ENTRIES_LAST_STEP_TWICE = "itl_entries_last_step_twice"
    QUEUE_TIME_MEAN = "queue_time_mean"
    PREFILL_TIME_MEAN = "prefill_time_mean"
    DECODE_TIME_MEAN = "decode_time_mean"
    INFERENCE_TIME_MEAN = "inference_time_mean"
    OUTPUT_TOKENS_MEAN = "output_tokens_mean"
    REQUEST_THROUGHPUT = "request_throughput"
    OUTPUT_TOKEN_THROUGHPUT = "output_token_throughput"
    TOTAL_TOKEN_THROUGHPUT = "total_token_throughput"
    GOODPUT = "goodput"
    SLO_ATTAINMENT = "slo_attainment"


# --- many numbers -----------------------------------------------------------------------------


def mean(values: Sequence[float]) -> float | None:
    """Return the plain mean, or None of nothing; exact before the division for whole numbers."""
    if not values:
        return None
    total = sum(values)
    return (total if isinstance(total, int) else math.fsum(values)) / len(values)


def percentile(values: Sequence[float], rank_pct: float) -> float | None:
    """Return a percentile by linear interpolation between ranks p/100 * (n - 1), or None of nothing.

    Raises
    ------
    ConfigError
        If `rank_pct` is not between 0 and 100.
    """
    if not 0 <= rank_pct <= 100:
        raise ConfigError(f"percentile: must be between 0 and 100, got {rank_pct}")
    return _at_rank(sorted(values), rank_pct)


def _at_rank(ordered: Sequence[float], rank_pct: float) -> float | None:
    if not ordered:
        return None
    rank = rank_pct * (len(ordered) - 1) / 100
    lower = math.floor(rank)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] + (ordered[upper] - ordered[lower]) * (rank - lower)


# --- definitions ------------------------------------------------------------------------------

Aggregate = Callable[["Samples"], float | None]


class Samples(RequestTimes):
    """Times of completed requests, of which there is at least one, and each list sorted once."""

    def __init__(self, results: Sequence[RequestResult], options: MetricOptions) -> None:
        super().__init__(results, options)
        self._ordered: dict[str, list[float]] = {}

    def of(self, quantity: str) -> list[float]:
        """Return the values of a list of `RequestTimes` by its name, without those of requests that have none."""
        values: list[float | None] = getattr(self, quantity)
        return [value for value in values if value is not None]

    def ordered(self, quantity: str) -> list[float]:
        """Return the same values, ascending."""
        if quantity not in self._ordered:
            self._ordered[quantity] = sorted(self.of(quantity))
        return self._ordered[quantity]

    @cached_property
    def span_us(self) -> int:
        """First arrival to last completion."""
        return max(self.completed_us) - min(self.arrival_us)

    @cached_property
    def within_limits(self) -> int:
        """How many requests met the limits; one of a single token has no TPOT to miss."""
        options = self.options
        if not options.limited:
            raise ConfigError(
                "goodput: set ttft_limit_ms, tpot_limit_ms or e2e_limit_ms, or several; without a limit it is "
                "request_throughput"
            )
        ttft_limit_us, tpot_limit_us = _limit_us(options.ttft_limit_ms), _limit_us(options.tpot_limit_ms)
        e2e_limit_us = _limit_us(options.e2e_limit_ms)
        times = zip(self.ttft_us, self.tpot_us, self.e2e_us, strict=True)
        return sum(
            ttft <= ttft_limit_us and (tpot is None or tpot <= tpot_limit_us) and e2e <= e2e_limit_us
            for ttft, tpot, e2e in times
        )


@dataclass(frozen=True, slots=True)
class Definition:
    """One named number over the completed requests of a run.

    Attributes
    ----------
    function
        From the samples of completed requests to a number in `unit`, or None.
    source
        The tool that means this by its own name for it.
    """

    name: MetricName
    unit: str
    function: Aggregate
    description: str
    source: str


def measure(name: str, results: Iterable[RequestResult], options: MetricOptions = DEFAULT) -> float | None:
    """Return one number, or None if no completed request has it.

    Raises
    ------
    ConfigError
        If there is no such definition, or goodput is asked for without a limit.
    """
    definition = DEFINITIONS.get(name)
    if definition is None:
        raise ConfigError(f"metric '{name}': unknown; {suggest(name, DEFINITIONS)}")
    samples = _samples(results, options)
    return definition.function(samples) if samples else None


def measure_all(results: Iterable[RequestResult], options: MetricOptions = DEFAULT) -> dict[str, float | None]:
    """Return every definition's number by name; those of goodput only if a limit is set."""
    samples = _samples(results, options)
    wanted = [
        definition for definition in DEFINITIONS.values() if options.limited or definition.name not in NEED_LIMITS
    ]
    return {str(definition.name): definition.function(samples) if samples else None for definition in wanted}


def measure_gaps(token_gaps: Sequence[tuple[int, int]]) -> dict[str, float | None]:
    """Return percentiles and the longest of the gaps between tokens in ms, by name; None where no gap was counted.

    Parameters
    ----------
    token_gaps
        `RunResult.token_gaps` of a run that counted them: (gap in us, count), shortest first.
    """
    counts = [count for _, count in token_gaps]
    ends = list(accumulate(counts))
    gaps_us = [gap_us for gap_us, _ in token_gaps]

    def at_rank(rank_pct: float) -> float | None:
        if not ends:
            return None
        rank = rank_pct * (ends[-1] - 1) / 100
        lower, upper = (gaps_us[bisect_right(ends, place)] for place in (math.floor(rank), math.ceil(rank)))
        return _ms(lower + (upper - lower) * (rank - math.floor(rank)))

    return {name: at_rank(rank_pct) for name, rank_pct in GAP_METRICS.items()}


def _samples(results: Iterable[RequestResult], options: MetricOptions) -> Samples | None:
    done = completed(list(results)[options.skip_first :])
    return Samples(done, options) if done else None


def _mean_ms(quantity: str) -> Aggregate:
    return lambda samples: _ms(mean(samples.of(quantity)))


def _percentile_ms(quantity: str, rank_pct: float) -> Aggregate:
    return lambda samples: _ms(_at_rank(samples.ordered(quantity), rank_pct))


def _limit_us(limit_ms: float | None) -> float:
    return math.inf if limit_ms is None else limit_ms * US_PER_MS


def _ms(value_us: float | None) -> float | None:
    return None if value_us is None else value_us / US_PER_MS


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None


def _tpot_guidellm(samples: Samples) -> float | None:
    return _ms(_ratio(sum(samples.e2e_us), sum(samples.output_tokens)))


def _itl_token_weighted(samples: Samples) -> float | None:
    return _ms(_ratio(sum(samples.decode_time_us), sum(samples.output_tokens) - len(samples.results)))


def _itl_ratio_of_means(samples: Samples) -> float | None:
    # Both means divide by the same count, which cancels; whole numbers stay exact this way.
    decode_us = sum(samples.e2e_us) - sum(samples.ttft_us)
    return _ms(_ratio(decode_us, sum(samples.output_tokens) - len(samples.results)))


def _itl_entries_last_step_twice(samples: Samples) -> float | None:
    entries_us = sum(samples.e2e_last_step_twice_us) - sum(samples.ttft_us)
    return _ms(_ratio(entries_us, sum(samples.output_tokens)))


def _output_tokens_mean(samples: Samples) -> float | None:
    return mean(samples.output_tokens)


def _request_throughput(samples: Samples) -> float | None:
    return _per_second(len(samples.results), samples)


def _output_token_throughput(samples: Samples) -> float | None:
    return _per_second(sum(samples.output_tokens), samples)


def _total_token_throughput(samples: Samples) -> float | None:
    prompt_tokens = sum(result.prompt_tokens for result in samples.results)
    return _per_second(prompt_tokens + sum(samples.output_tokens), samples)


def _goodput(samples: Samples) -> float | None:
    return _per_second(samples.within_limits, samples)


def _slo_attainment(samples: Samples) -> float | None:
    return _ratio(samples.within_limits, len(samples.results))


def _per_second(amount: int, samples: Samples) -> float | None:
    return _ratio(amount * US_PER_S, samples.span_us)


# --- the registry -----------------------------------------------------------------------------

N = MetricName
NEED_LIMITS = (N.GOODPUT, N.SLO_ATTAINMENT)
PERCENTILES = (50, 90, 95, 99)
# Percentiles of the gaps between consecutive tokens, all requests pooled, as clients that time every token report
# them (`vllm bench serve`, p99_itl_ms); 100 is the longest.
GAP_METRICS: Mapping[str, float] = {"itl_p50": 50, "itl_p90": 90, "itl_p95": 95, "itl_p99": 99, "itl_max": 100}


def _definitions() -> Iterator[Definition]:
    yield from _with_percentiles(
        N.TTFT_MEAN, "ttft", "ttft_us", "time to first token", "all tools: first token - request sent"
    )
    yield from _with_percentiles(
        N.E2E_MEAN, "e2e", "e2e_us", "end-to-end latency", "all tools: last token - request sent"
    )
    yield from _with_percentiles(
        N.TPOT_REQUEST,
        "tpot_request",
        "tpot_us",
        "time per output token, (E2E - TTFT) / (N - 1), over requests with N > 1",
        "vLLM request_time_per_output_token; vllm bench serve; upstream's analyzer, but with the true E2E",
    )
    yield from _latencies()
    yield from _rates()


def _with_percentiles(mean_name: MetricName, stem: str, quantity: str, what: str, source: str) -> Iterator[Definition]:
    yield Definition(mean_name, "ms", _mean_ms(quantity), f"{what}: plain mean over requests", source)
    for rank in PERCENTILES:
        name, text = MetricName(f"{stem}_p{rank}"), f"{what}: percentile {rank}, linear interpolation"
        yield Definition(name, "ms", _percentile_ms(quantity, rank), text, source)


def _latencies() -> Iterator[Definition]:
    per_request: list[tuple[MetricName, str, str, str]] = [
        (
            N.E2E_PROCESSING_PER_TOKEN,
            "e2e_processing_per_token_us",
            "mean of TTFT plus all inter-token latencies, output processing added to each",
            "upstream, alpha/beta mode",
        ),
        (
            N.E2E_LAST_STEP_TWICE,
            "e2e_last_step_twice_us",
            "mean E2E with the last step counted twice",
            "upstream, e2e_ms",
        ),
        (
            N.TPOT_LAST_STEP_TWICE,
            "tpot_last_step_twice_us",
            "mean over requests with N > 1 of (E2E with the last step twice - TTFT) / (N - 1)",
            "upstream's analyzer (h-roofline/*/analyze.py)",
        ),
        (N.QUEUE_TIME_MEAN, "queue_time_us", "mean of arrival to admission", "vLLM time_in_queue"),
        (N.PREFILL_TIME_MEAN, "prefill_time_us", "mean of admission to first token", "vLLM time_in_model_prefill"),
        (N.DECODE_TIME_MEAN, "decode_time_us", "mean of first to last token", "vLLM time_in_model_decode"),
        (N.INFERENCE_TIME_MEAN, "inference_time_us", "mean of admission to last token", "vLLM time_in_model_inference"),
    ]
    for name, quantity, text, source in per_request:
        yield Definition(name, "ms", _mean_ms(quantity), text, source)
    pooled: list[tuple[MetricName, Aggregate, str, str]] = [
        (
            N.TPOT_GUIDELLM,
            _tpot_guidellm,
            "sum of E2E over sum of N: contains TTFT",
            "GuideLLM time_per_output_token_ms.mean",
        ),
        (
            N.ITL_TOKEN_WEIGHTED,
            _itl_token_weighted,
            "sum of decode time over sum of N - 1",
            "GuideLLM inter_token_latency_ms.mean",
        ),
        (
            N.ITL_RATIO_OF_MEANS,
            _itl_ratio_of_means,
            "(mean E2E - mean TTFT) / (mean N - 1)",
            "what published means allow; sim-to-real ground_truth.py, there with re-tokenised N",
        ),
        (
            N.ITL_ENTRIES_LAST_STEP_TWICE,
            _itl_entries_last_step_twice,
            "mean over upstream's N inter-token entries per request, the last one twice",
            "upstream, itl_mean_ms",
        ),
    ]
    for name, function, text, source in pooled:
        yield Definition(name, "ms", function, text, source)


def _rates() -> Iterator[Definition]:
    span = "over first arrival to last completion"
    yield Definition(N.OUTPUT_TOKENS_MEAN, "tokens", _output_tokens_mean, "mean of N", "all tools")
    yield Definition(N.REQUEST_THROUGHPUT, "1/s", _request_throughput, f"completed requests {span}", "vllm bench serve")
    yield Definition(
        N.OUTPUT_TOKEN_THROUGHPUT, "tokens/s", _output_token_throughput, f"sum of N {span}", "vllm bench serve"
    )
    yield Definition(
        N.TOTAL_TOKEN_THROUGHPUT, "tokens/s", _total_token_throughput, f"sum of prompt and N {span}", "vllm bench serve"
    )
    yield Definition(N.GOODPUT, "1/s", _goodput, f"requests within the limits {span}", "vllm bench serve --goodput")
    yield Definition(
        N.SLO_ATTAINMENT, "1", _slo_attainment, "share of completed requests within the limits", "common usage"
    )


DEFINITIONS: Mapping[str, Definition] = {definition.name: definition for definition in _definitions()}
