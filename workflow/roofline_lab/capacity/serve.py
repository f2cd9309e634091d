"""What a server does at one load: its metrics in the steady part of a run, their intervals, how far it is tested.

Contract: `Simulated.at` gives the same answer for the same load, whatever was asked before; draws of lengths and
arrivals are the same at every load (a rate stretches the same arrivals), so that loads differ in nothing else.

Steady part: a run begins and ends with an emptier server than it is about, for as many requests as it serves at once
(Little's law: rate x time in service). So many are left out at both ends, and a run has at least `WINDOWS` times as
many; of a closed loop, the clients. Runs longer than `MOST_REQUESTS` are not made, and it is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from roofline_lab.capacity.question import Variant
from simulator.cli.run import Setup, build_setup, predicted_of, simulate
from simulator.cli.run_spec import RunSpec
from simulator.cli.server import memory_warnings, serving_warnings
from simulator.cli.trust import trust_report
from simulator.engine.records import Request, RequestResult, RunResult
from simulator.errors import ConfigError
from simulator.metrics import DEFINITIONS, MetricName, mean, measure, measure_all, measure_gaps
from simulator.request_times import completed
from simulator.slo import Limit
from simulator.validation import StrictModel
from simulator.workload.arrivals import ClosedLoop, GammaGaps, Poisson
from simulator.workload.build import Workload, at_rate, build_workload

WINDOWS = 6
MOST_REQUESTS = 20_000
# Requests of a run where nobody says how many: so many that a percentile of 99 is one of ten, fewer where answers are
# so long that they have more tokens than this.
MOST_WITHOUT_NEED, FEWEST, TOKENS = 1000, 300, 2.4e6
US_PER_S = 1e6
MS_PER_S = 1000.0
# Beside what a run calls its metrics.
PROMPT_TOKENS = "prompt_tokens_mean"
QUEUE_GROWS = "requests wait longer and longer: the server cannot keep up"
NEVER_STEADY = f"no steady state within {MOST_REQUESTS:,} requests: the server cannot keep up, or hardly"
# Statistics that were never held out take the interval of the same latency that was, at least as wide.
BORROWED: Mapping[str, tuple[str, ...]] = {
    "ttft": ("ttft_mean", "ttft_p90", "ttft_p99"),
    "tpot": ("tpot_request",),
    "itl": ("itl_token_weighted",),
    "e2e": ("e2e_mean", "e2e_p90", "e2e_p99"),
}


class Ends(StrictModel):
    """Between which values a latency lies, in ms.

    Attributes
    ----------
    borrowed
        Whether another statistic of the same latency was held out, and this one was not.
    """

    low: float
    high: float
    borrowed: bool = False


class Served(StrictModel):
    """What a server does at one load.

    Attributes
    ----------
    load
        Requests per second, or clients.
    requests
        Simulated; `steady` of them are in the metrics.
    values
        Metrics by name, in the units of `simulator.metrics.DEFINITIONS`; None where no request has one.
    intervals
        Of latencies, in ms; `no_interval` says why there is none.
    overloaded
        Why the server does not keep up; empty where it does.
    word, why, nearest
        Whether this is inside, near or outside of what was validated, what makes it so, and what is nearest.
    in_flight
        Requests in the server at once, on average.
    """

    load: float
    requests: int
    steady: int
    values: dict[str, float | None]
    intervals: dict[str, Ends]
    no_interval: str = ""
    overloaded: str = ""
    word: str = ""
    why: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()
    in_flight: float = 0.0
    warnings: tuple[str, ...] = ()

    def value(self, limit: Limit) -> float | None:
        """Return what a limit is about, in ms."""
        return self.values.get(limit.metric)

    def ends(self, limit: Limit) -> Ends | None:
        """Return the interval of what a limit is about, borrowed from the widest of its latency where it has none."""
        own = self.intervals.get(limit.metric)
        value = self.values.get(limit.metric)
        if own is not None or value is None:
            return own
        factors = [
            (found.low / known, found.high / known)
            for name in BORROWED[limit.latency]
            if (found := self.intervals.get(name)) is not None and (known := self.values.get(name))
        ]
        if not factors:
            return None
        low, high = min(low for low, _ in factors), max(high for _, high in factors)
        return Ends(low=value * low, high=value * high, borrowed=True)


class Simulated:
    """One server of a question, asked at any load.

    Raises
    ------
    RooflineLabError
        If it cannot be: the model does not fit, a key is wrong, something is not modelled.
    """

    def __init__(self, variant: Variant, configs: Path) -> None:
        self._variant = variant
        self._known: dict[float, Served] = {}
        self._drawn: dict[int, Workload] = {}
        # Any load will do: what is built from it is the server, which is the same at all of them.
        self.setup = build_setup(variant.spec_at(1.0, variant.requests or FEWEST), Path(), configs)
        answer_tokens = mean([each.output_tokens for each in self.setup.workload.requests]) or 1.0
        self._requests = variant.requests or round(min(max(TOKENS / answer_tokens, FEWEST), MOST_WITHOUT_NEED))

    @property
    def served(self) -> tuple[Served, ...]:
        """Everything that was asked so far, by load."""
        return tuple(self._known[load] for load in sorted(self._known))

    @property
    def gpus(self) -> int:
        """GPUs of the server, of all its replicas."""
        return self.setup.spec.parallelism.gpus * self.setup.server.engine.replicas

    def at(self, load: float) -> Served:
        """Return what the server does at a load."""
        if load not in self._known:
            self._known[load] = self._served(load)
        return self._known[load]

    def alone_ms(self, requests: int) -> float:
        """Return the mean E2E of a request that has the server to itself."""
        spec = self._variant.spec_at(1.0, requests)
        loop = spec.workload.model_copy(update={"arrivals": ClosedLoop(kind="closed_loop", concurrency=1)})
        setup = replace(self.setup, workload=build_workload(loop, spec.seed))
        e2e_ms = measure("e2e_mean", simulate(setup, setup.step_time).requests)
        if e2e_ms is None:
            raise ConfigError(
                "no request can be served: each needs more KV cache than there is; shorten them, or give it memory"
            )
        return e2e_ms

    def _served(self, load: float) -> Served:
        setup, result, margin = self._run(load, self._requests)
        needed = WINDOWS * margin
        if needed > len(result.requests):
            setup, result, margin = self._run(load, min(needed, MOST_REQUESTS))
        served = _report(setup, result, load, min(margin, len(result.requests) // 3))
        if needed > MOST_REQUESTS and setup.workload.concurrency is None and not served.overloaded:
            return served.model_copy(update={"overloaded": NEVER_STEADY, "intervals": {}})
        return served

    def _run(self, load: float, requests: int) -> tuple[Setup, RunResult, int]:
        """Return a run, and how many requests at its ends see an emptier server than it is about."""
        spec = self._variant.spec_at(load, requests)
        setup = replace(self.setup, spec=spec, workload=self._workload(spec, load))
        result = simulate(setup, setup.step_time)
        if self._variant.load == "concurrency":
            return setup, result, round(load)
        if spec.workload.sessions is not None:
            return setup, result, math.ceil(_in_sessions(setup.workload.requests, result, load))
        engine = setup.server.engine
        return setup, result, min(math.ceil(_in_service(result)), engine.max_running * engine.replicas)

    def _workload(self, spec: RunSpec, load: float) -> Workload:
        """Return the requests of a run: random arrivals are drawn once, and stretched to the load."""
        if not isinstance(spec.workload.arrivals, Poisson | GammaGaps):
            return build_workload(spec.workload, spec.seed)
        count = spec.workload.requests or 0
        if count not in self._drawn:
            self._drawn[count] = build_workload(at_rate(spec.workload, 1.0), spec.seed)
        return _at_rate(self._drawn[count], load)


def _at_rate(workload: Workload, rate_per_s: float) -> Workload:
    """Return requests, or sessions of them, stretched so that as many as there are begin at a rate.

    The mean of a thousand random gaps is off by some percent, which is more than an answer is wide.
    """
    begun = len({each.session or each.id for each in workload.requests})
    factor = begun / rate_per_s * US_PER_S / max(each.arrival_us for each in workload.requests)
    stretched = [_arriving(each, int(each.arrival_us * factor)) for each in workload.requests]
    return replace(workload, requests=tuple(stretched))


def _arriving(request: Request, arrival_us: int) -> Request:
    """Return a request at another time; `dataclasses.replace` takes five times as long."""
    return Request(
        request.id,
        arrival_us,
        request.prompt_tokens,
        request.output_tokens,
        request.prefix_group,
        request.prefix_tokens,
        request.priority,
        request.queueing_delay_us,
        request.outer_group,
        request.outer_tokens,
        request.session,
        request.think_us,
    )


def _in_service(result: RunResult) -> float:
    """Return how many requests are served at once on average, by Little's law: their times over that of arriving."""
    times_us = [
        each.completed_us - each.scheduled_us
        for each in result.requests
        if each.completed_us is not None and each.scheduled_us is not None
    ]
    return sum(times_us) / _arriving_us(result.requests)


def _in_sessions(requests: Sequence[Request], result: RunResult, sessions_per_s: float) -> float:
    """Return how many turns the sessions have that are open at once on average, by Little's law."""
    spans = _sessions_us(requests, result)
    open_us = sum(end_us - start_us for start_us, end_us in spans)
    return sessions_per_s * open_us / US_PER_S / len(spans) * len(requests) / len(spans)


def _sessions_us(requests: Sequence[Request], result: RunResult) -> list[tuple[int, int]]:
    """Return when each session begins, and when the answer to its last turn ends."""
    starts_us: dict[str | None, int] = {}
    ends_us: dict[str | None, int] = {}
    for request, served in zip(requests, result.requests, strict=True):
        starts_us.setdefault(request.session, served.arrival_us)
        ends_us[request.session] = served.completed_us or served.arrival_us
    return [(start_us, ends_us[session]) for session, start_us in starts_us.items()]


def _steady(setup: Setup, result: RunResult, margin: int) -> Sequence[RequestResult]:
    """Return the requests that see the server as it is in the middle of a run, in order of arrival.

    Of sessions that arrive by themselves, those are the ones sent from twice the length of a session on, until the last
    session begins.
    """
    if setup.spec.workload.sessions is None:
        return result.requests[margin : len(result.requests) - margin]
    ordered = sorted(result.requests, key=lambda each: each.arrival_us)
    if setup.workload.concurrency is not None:
        return ordered[margin : len(ordered) - margin]
    spans = _sessions_us(setup.workload.requests, result)
    length_us = sum(end_us - start_us for start_us, end_us in spans) / len(spans)
    first_us, last_us = min(start for start, _ in spans), max(start for start, _ in spans)
    return [each for each in ordered if first_us + 2 * length_us <= each.arrival_us <= last_us]


def _arriving_us(results: Sequence[RequestResult]) -> int:
    """Return the time from the first arrival to the last one, at least a microsecond."""
    arrivals_us = [each.arrival_us for each in results]
    return max(1, max(arrivals_us) - min(arrivals_us)) if arrivals_us else 1


def _report(setup: Setup, result: RunResult, load: float, margin: int) -> Served:
    steady = _steady(setup, result, margin)
    values = measure_all(steady, setup.spec.metrics) | measure_gaps(result.token_gaps)
    values |= dict(_throughputs(setup, steady, values, load))
    predicted = predicted_of(setup, result, steady, values)
    trust = trust_report(setup.chosen.tested, predicted)
    return Served(
        load=load,
        requests=len(result.requests),
        steady=len(steady),
        values=values,
        intervals={
            name: Ends(low=each["low"], high=each["high"])
            for name, each in trust.get("intervals", {}).items()
            if "none" not in each
        },
        no_interval=trust.get("none", "") or _first_reason(trust.get("intervals", {})),
        overloaded=_overloaded(setup, steady, grows=predicted.saturated),
        word=trust.get("word", ""),
        why=tuple(trust.get("why", ())),
        nearest=tuple(trust.get("nearest", ())),
        in_flight=predicted.load.concurrency if predicted.load else 0.0,
        warnings=(
            *memory_warnings(setup.server, setup.hardware, result.counters),
            *serving_warnings(setup.server, steady),
        ),
    )


def _throughputs(
    setup: Setup, steady: Sequence[RequestResult], values: Mapping[str, float | None], load: float
) -> Iterator[tuple[str, float]]:
    """Yield what a server gives per second for as long as it keeps up with a load.

    The span of requests that were cut out of a run has ends that belong to no steady state, so the rate is what is
    sent, and of a closed loop, by Little's law, clients over the time of a request.
    """
    e2e_ms, output_tokens = values["e2e_mean"], values["output_tokens_mean"]
    if e2e_ms is None or output_tokens is None:
        return
    rate = load if setup.workload.concurrency is None else load / e2e_ms * MS_PER_S
    if setup.spec.workload.sessions is not None:  # the load is one of sessions, and users think
        rate = len(steady) / _arriving_us(steady) * US_PER_S
    prompt_tokens = mean([each.prompt_tokens for each in steady]) or 0.0
    yield PROMPT_TOKENS, prompt_tokens
    yield MetricName.REQUEST_THROUGHPUT, rate
    yield MetricName.OUTPUT_TOKEN_THROUGHPUT, rate * output_tokens
    yield MetricName.TOTAL_TOKEN_THROUGHPUT, rate * (prompt_tokens + output_tokens)


def _overloaded(setup: Setup, steady: Sequence[RequestResult], *, grows: bool) -> str:
    """Return why a server does not keep up; clients of a closed loop wait for it, so it always does there."""
    if not steady:
        return NEVER_STEADY
    unanswered = len(steady) - len(completed(steady))
    if unanswered:
        return f"{unanswered} of {len(steady)} requests are never answered"
    return QUEUE_GROWS if grows and setup.workload.concurrency is None else ""


def _first_reason(intervals: Mapping[str, Mapping[str, str]]) -> str:
    return next((each["none"] for each in intervals.values() if "none" in each), "")


def unit_of(metric: str) -> str:
    """Return the unit of a metric."""
    return DEFINITIONS[metric].unit if metric in DEFINITIONS else "ms"
