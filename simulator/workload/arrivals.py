"""When requests arrive: validated arrival processes and the times they give.

Contract: `arrival_times(spec, count, seed)` returns `count` whole microseconds in non-decreasing
order that depend on nothing but its arguments. Random processes use the stream named `arrivals`.
In a closed loop a request is sent when another one ends, so the times are all 0 there and the
engine releases requests by `concurrency`. Random gaps are drawn at one request per unit of time and stretched, so that
at another mean rate the same requests come in the same pattern (common random numbers).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from simulator.errors import ConfigError
from simulator.validation import Count, NonNegativeInt, StrictModel, parse
from simulator.workload.streams import stream

US_PER_S = 1_000_000
# Halves the interval to below the last digit of a number; Newton's method ends it after a few.
BISECTIONS = 60

# Slower than one request in 11 days or faster than 1000 per microsecond is a slip, not a workload.
Rate = Annotated[float, Strict(), Field(ge=1e-6, le=1e9)]
Variation = Annotated[float, Strict(), Field(ge=0.01, le=100)]

First = Literal["zero", "one_interval"]


class ClosedLoop(StrictModel):
    """`concurrency` clients, each of which waits for its answer before it sends the next request.

    Attributes
    ----------
    ramp_s
        The clients start one after the other, evenly within so many seconds; 0: all at once.
    warm_up_requests
        So many requests are sent before the others, in the same loop, and stand in no figure.
    """

    kind: Literal["closed_loop"]
    concurrency: Count
    ramp_s: Annotated[float, Strict(), Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.0
    warm_up_requests: NonNegativeInt = 0


class ConstantInterval(StrictModel):
    """One request every `interval_us` microseconds.

    Attributes
    ----------
    interval_us
        Time between two arrivals, whole microseconds.
    first
        `zero`: the first request arrives at 0. `one_interval`: it arrives after one interval.
    """

    kind: Literal["constant_interval"]
    interval_us: Count
    first: First = "zero"


class ConstantRate(StrictModel):
    """`rate_per_s` requests per second, evenly spaced.

    The interval is 1e6 / rate cut down to a whole microsecond (at least 1), so the real rate is
    slightly higher where the quotient is not whole.
    """

    kind: Literal["constant_rate"]
    rate_per_s: Rate
    first: First = "zero"


class Poisson(StrictModel):
    """Exponential gaps with mean 1 / `rate_per_s`.

    Attributes
    ----------
    rescaled
        Stretch the gaps so that the last request arrives at exactly count / rate, as the timer
        inference-perf calls "constant" does.
    """

    kind: Literal["poisson"]
    rate_per_s: Rate
    rescaled: bool = False


class GammaGaps(StrictModel):
    """Gamma-distributed gaps with mean 1 / `rate_per_s`.

    Attributes
    ----------
    cv
        Coefficient of variation of the gaps: 1 is Poisson, below 1 smoother, above 1 burstier.
    """

    kind: Literal["gamma"]
    rate_per_s: Rate
    cv: Variation


class Burst(StrictModel):
    """Everything at once, at `at_us`."""

    kind: Literal["burst"]
    at_us: NonNegativeInt = 0


class RecordedArrivals(StrictModel):
    """Recorded times; request i arrives at the i-th."""

    kind: Literal["recorded"]
    arrival_us: tuple[NonNegativeInt, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        _require_order(self.arrival_us)
        return self


class Replayed(StrictModel):
    """Recorded times, compressed or stretched from the first one on.

    Attributes
    ----------
    arrival_us
        The times; None: those of the workload's trace.
    speed
        How many times as fast as recorded.
    rate_per_s
        Or the mean rate that they get: requests but the first, over the time from the first to the last.
    """

    kind: Literal["replayed"]
    arrival_us: tuple[NonNegativeInt, ...] | None = Field(default=None, min_length=1)
    speed: Rate = 1.0
    rate_per_s: Rate | None = None

    @model_validator(mode="after")
    def _one_speed(self) -> Self:
        if self.rate_per_s is not None and "speed" in self.model_fields_set:
            raise ValueError("speed and rate_per_s say the same in two ways; give one of them")
        _require_order(self.arrival_us or ())
        return self


class Diurnal(StrictModel):
    """A Poisson process whose rate goes up and down, the same way in every period.

    Attributes
    ----------
    rate_per_s
        Mean rate over a period.
    period_s
        Length of a period, seconds; the first one starts at 0.
    peak_to_mean
        The rate is a cosine, lowest at the start of a period, whose peak is so many times the mean.
    relative_rates
        Or the rates of slices of the period of one length, in any unit: only how they compare with each other matters.
    """

    kind: Literal["diurnal"]
    rate_per_s: Rate
    period_s: Annotated[float, Strict(), Field(ge=1e-3, le=1e9)]
    peak_to_mean: Annotated[float, Strict(), Field(ge=1, le=2)] | None = None
    relative_rates: tuple[Annotated[float, Strict(), Field(ge=0, le=1e9)], ...] | None = Field(
        default=None, min_length=1, max_length=100_000
    )

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if (self.peak_to_mean is None) == (self.relative_rates is None):
            raise ValueError("give peak_to_mean or relative_rates, one of them")
        if self.relative_rates is not None and not any(self.relative_rates):
            raise ValueError("relative_rates are all 0; at least one must be greater")
        return self


# What a measured load point may be of, and what a workload may be of besides.
AnyArrivals = ClosedLoop | ConstantInterval | ConstantRate | Poisson | GammaGaps | Burst | RecordedArrivals
ArrivalSpec = Annotated[AnyArrivals, Field(discriminator="kind")]
WorkloadArrivals = AnyArrivals | Replayed | Diurnal
WorkloadArrivalSpec = Annotated[WorkloadArrivals, Field(discriminator="kind")]

NO_RATE = {
    "closed_loop": "clients of a closed loop send when they are answered, so it has no rate; change 'concurrency'",
    "burst": "everything arrives at once, so there is no rate; give poisson, gamma, diurnal or constant_rate",
}


def arrivals_at_rate(spec: WorkloadArrivals, rate_per_s: float) -> WorkloadArrivals:
    """Return the same arrivals at another mean rate, drawn from the same random numbers.

    Raises
    ------
    ConfigError
        If arrivals of this kind have no rate, or the rate is out of all proportion.
    """
    if spec.kind in NO_RATE:
        raise ConfigError(f"arrivals: {NO_RATE[spec.kind]}")
    if isinstance(spec, ConstantInterval):
        even = {"kind": "constant_rate", "rate_per_s": rate_per_s, "first": spec.first}
        return parse(ConstantRate, even, source="arrivals")
    if isinstance(spec, RecordedArrivals | Replayed):
        times = {"kind": "replayed", "arrival_us": spec.arrival_us, "rate_per_s": rate_per_s}
        return parse(Replayed, times, source="arrivals")
    return parse(type(spec), spec.model_dump() | {"rate_per_s": rate_per_s}, source="arrivals")


def arrival_times(spec: WorkloadArrivals, count: int, seed: int) -> list[int]:
    """Return `count` arrival times in microseconds.

    Raises
    ------
    ConfigError
        If fewer than `count` times are recorded, or recorded ones cannot be given a rate.
    """
    match spec:
        case ClosedLoop():
            return [0] * count
        case ConstantInterval():
            return _evenly(spec.interval_us, spec.first, count)
        case ConstantRate():
            return _evenly(max(1, int(US_PER_S / spec.rate_per_s)), spec.first, count)
        case Poisson():
            gaps = stream(seed, "arrivals").exponential(US_PER_S / spec.rate_per_s, count).tolist()
            return _from_gaps(gaps, count * US_PER_S / spec.rate_per_s if spec.rescaled else None)
        case GammaGaps():
            return _from_gaps(_gamma_gaps(spec, count, seed), None)
        case Burst():
            return [spec.at_us] * count
        case RecordedArrivals():
            return first_times(spec.arrival_us, count)
        case Replayed():
            return replayed_times(spec, first_times(spec.arrival_us or (), count))
        case Diurnal():
            return _diurnal(spec, stream(seed, "arrivals").exponential(1.0, count).tolist())


def first_times(recorded_us: Sequence[int], count: int) -> list[int]:
    """Return the first `count` recorded times.

    Raises
    ------
    ConfigError
        If there are fewer.
    """
    if count > len(recorded_us):
        raise ConfigError(
            f"arrivals.arrival_us: {len(recorded_us)} recorded times for {count} requests; "
            "record more or lower 'requests'"
        )
    return list(recorded_us[:count])


def replayed_times(spec: Replayed, recorded_us: list[int]) -> list[int]:
    """Return recorded times at the speed or the mean rate asked for, in microseconds.

    Raises
    ------
    ConfigError
        If a mean rate is asked for and all requests arrived at one time.
    """
    first, last = min(recorded_us, default=0), max(recorded_us, default=0)
    if spec.rate_per_s is None:
        return [first + int((time - first) / spec.speed) for time in recorded_us]
    if first == last:
        raise ConfigError(
            "arrivals.rate_per_s: all recorded requests arrive at one time, which no factor turns into a rate; "
            "take another kind of arrivals"
        )
    stretch = (len(recorded_us) - 1) * US_PER_S / (spec.rate_per_s * (last - first))
    return [first + int((time - first) * stretch) for time in recorded_us]


def _require_order(arrival_us: Sequence[int]) -> None:
    for position, (earlier, later) in enumerate(pairwise(arrival_us), start=1):
        if later < earlier:
            raise ValueError(
                f"arrival_us[{position}] = {later} is before arrival_us[{position - 1}] = {earlier}; sort them"
            )


def _evenly(interval_us: int, first: First, count: int) -> list[int]:
    skipped = 1 if first == "one_interval" else 0
    return [interval_us * (position + skipped) for position in range(count)]


def _gamma_gaps(spec: GammaGaps, count: int, seed: int) -> list[float]:
    shape = 1 / spec.cv**2
    gaps: list[float] = stream(seed, "arrivals").gamma(shape, US_PER_S / spec.rate_per_s / shape, count).tolist()
    return gaps


def _from_gaps(gaps: list[float], end_us: float | None) -> list[int]:
    """Add up the gaps first and cut to microseconds last, so that the rate is not biased upward."""
    times = list(accumulate(gaps))
    if end_us is not None:
        times = [time / times[-1] * end_us for time in times]
    return [int(time) for time in times]


def _diurnal(spec: Diurnal, gaps: list[float]) -> list[int]:
    """Change the time of a Poisson process of rate 1: request i comes when the rate has added up to its time there.

    Method: the time-rescaling theorem (Cinlar, Introduction to Stochastic Processes, 1975, section 4.7), exact for any
    rate; unlike thinning it takes as many random numbers at any mean rate.
    """
    of_period = spec.rate_per_s * spec.period_s
    slices = spec.relative_rates
    grown = None if slices is None else [0.0, *accumulate(rate / math.fsum(slices) for rate in slices)]
    times = []
    for total in accumulate(gaps):
        periods, share = divmod(total / of_period, 1.0)
        within = _cosine_time(share, (spec.peak_to_mean or 1.0) - 1) if grown is None else _slice_time(share, grown)
        times.append(int((periods + within) * spec.period_s * US_PER_S))
    return times


def _slice_time(share: float, grown: Sequence[float]) -> float:
    """Return the part of the period by which `share` of its requests have come; `grown` are those at slices' ends."""
    place = min(bisect_right(grown, share), len(grown) - 1)
    while grown[place] == grown[place - 1]:  # past the last slice with requests, by rounding
        place -= 1
    inside = (share - grown[place - 1]) / (grown[place] - grown[place - 1])
    return (place - 1 + min(inside, 1.0)) / (len(grown) - 1)


def _cosine_time(share: float, swing: float) -> float:
    """Return the part x of the period at which x - swing sin(2 pi x) / (2 pi) is `share` (Kepler's equation)."""
    low, high, part = 0.0, 1.0, share
    for _ in range(BISECTIONS):
        missing = part - swing * math.sin(math.tau * part) / math.tau - share
        low, high = (part, high) if missing < 0 else (low, part)
        slope = 1 - swing * math.cos(math.tau * part)
        nearer = part - missing / slope if slope > 0 else low
        following = nearer if low < nearer < high else (low + high) / 2
        if following == part:
            break
        part = following
    return part
