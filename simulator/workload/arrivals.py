"""When requests arrive: validated arrival processes and the times they give.

Contract: `arrival_times(spec, count, seed)` returns `count` whole microseconds in non-decreasing
order that depend on nothing but its arguments. Random processes use the stream named `arrivals`.
In a closed loop a request is sent when another one ends, so the times are all 0 there and the
engine releases requests by `concurrency`.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from simulator.errors import ConfigError
from simulator.validation import Count, NonNegativeInt, StrictModel
from simulator.workload.streams import stream

US_PER_S = 1_000_000

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
        for position, (earlier, later) in enumerate(pairwise(self.arrival_us), start=1):
            if later < earlier:
                raise ValueError(
                    f"arrival_us[{position}] = {later} is before arrival_us[{position - 1}] = {earlier}; sort them"
                )
        return self


AnyArrivals = ClosedLoop | ConstantInterval | ConstantRate | Poisson | GammaGaps | Burst | RecordedArrivals
ArrivalSpec = Annotated[AnyArrivals, Field(discriminator="kind")]


def arrival_times(spec: AnyArrivals, count: int, seed: int) -> list[int]:
    """Return `count` arrival times in microseconds.

    Raises
    ------
    ConfigError
        If fewer than `count` times are recorded.
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
            return _recorded(spec, count)


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


def _recorded(spec: RecordedArrivals, count: int) -> list[int]:
    if count > len(spec.arrival_us):
        raise ConfigError(
            f"arrivals.arrival_us: {len(spec.arrival_us)} recorded times for {count} requests; "
            "record more or lower 'requests'"
        )
    return list(spec.arrival_us[:count])
