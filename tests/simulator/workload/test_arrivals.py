"""Arrival processes: exact times, independence from lengths, and their statistics."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import ConfigError
from simulator.validation import parse
from simulator.workload.arrivals import (
    Burst,
    ClosedLoop,
    ConstantInterval,
    ConstantRate,
    GammaGaps,
    Poisson,
    RecordedArrivals,
    arrival_times,
)


def gaps_of(times):
    return [later - earlier for earlier, later in pairwise([0, *times])]


def variation(values):
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5 / mean


def test_a_constant_interval_starts_at_zero_or_after_one_interval():
    at_zero = ConstantInterval(kind="constant_interval", interval_us=334_444)
    later = ConstantInterval(kind="constant_interval", interval_us=334_444, first="one_interval")

    assert arrival_times(at_zero, 3, 0) == [0, 334_444, 668_888]
    assert arrival_times(later, 3, 0) == [334_444, 668_888, 1_003_332]


@pytest.mark.parametrize(("rate", "interval_us"), [(0.77, 1_298_701), (3, 333_333), (10, 100_000), (1e9, 1)])
def test_a_constant_rate_cuts_the_interval_to_whole_microseconds(rate, interval_us):
    spec = ConstantRate(kind="constant_rate", rate_per_s=rate, first="one_interval")

    assert arrival_times(spec, 2, 0) == [interval_us, 2 * interval_us]


def test_a_burst_and_a_closed_loop_put_every_arrival_at_one_time():
    assert arrival_times(Burst(kind="burst", at_us=5), 3, 0) == [5, 5, 5]
    assert arrival_times(ClosedLoop(kind="closed_loop", concurrency=2), 3, 0) == [0, 0, 0]


def test_recorded_arrivals_come_back_as_given():
    spec = RecordedArrivals(kind="recorded", arrival_us=(0, 7, 7, 20))

    assert arrival_times(spec, 3, 0) == [0, 7, 7]
    with pytest.raises(ConfigError, match="4 recorded times for 5 requests"):
        arrival_times(spec, 5, 0)


def test_recorded_arrivals_out_of_order_are_refused():
    with pytest.raises(ConfigError, match=r"arrival_us\[2\] = 6 is before arrival_us\[1\] = 7"):
        parse(RecordedArrivals, {"kind": "recorded", "arrival_us": [0, 7, 6]}, source="workload.yaml")


@pytest.mark.parametrize(
    ("spec", "cv"),
    [
        (Poisson(kind="poisson", rate_per_s=20), 1.0),
        (GammaGaps(kind="gamma", rate_per_s=20, cv=0.5), 0.5),
        (GammaGaps(kind="gamma", rate_per_s=20, cv=2), 2.0),
    ],
    ids=["poisson", "smooth", "bursty"],
)
def test_random_gaps_have_the_mean_and_variation_asked_for(spec, cv):
    gaps = gaps_of(arrival_times(spec, 20_000, 11))

    assert sum(gaps) / len(gaps) == pytest.approx(50_000, rel=5 * cv / 20_000**0.5)
    assert variation(gaps) == pytest.approx(cv, rel=0.06)


def test_rescaled_poisson_gaps_end_at_exactly_count_over_rate():
    spec = Poisson(kind="poisson", rate_per_s=7, rescaled=True)

    assert arrival_times(spec, 700, 5)[-1] == 100_000_000
    assert variation(gaps_of(arrival_times(spec, 700, 5))) == pytest.approx(1, abs=0.2)


RANDOM_SPECS = st.one_of(
    st.builds(Poisson, kind=st.just("poisson"), rate_per_s=st.floats(1e-3, 1e6), rescaled=st.booleans()),
    st.builds(GammaGaps, kind=st.just("gamma"), rate_per_s=st.floats(1e-3, 1e6), cv=st.floats(0.01, 20)),
    st.builds(ConstantRate, kind=st.just("constant_rate"), rate_per_s=st.floats(1e-3, 1e9)),
)


@settings(max_examples=80, deadline=None)
@given(spec=RANDOM_SPECS, count=st.integers(1, 40), seed=st.integers(0, 2**63))
def test_times_are_whole_non_decreasing_and_repeat(spec, count, seed):
    times = arrival_times(spec, count, seed)

    assert len(times) == count
    assert all(type(time) is int and time >= 0 for time in times)
    assert times == sorted(times)
    assert times == arrival_times(spec, count, seed)


def test_another_seed_gives_other_arrivals():
    spec = Poisson(kind="poisson", rate_per_s=20)

    assert arrival_times(spec, 10, 1) != arrival_times(spec, 10, 2)


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="seed: must be 0 or greater, got -1"):
        arrival_times(Poisson(kind="poisson", rate_per_s=20), 10, -1)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "20", 1e-300])
def test_a_rate_that_is_not_a_sensible_positive_number_is_refused(rate):
    with pytest.raises(ConfigError, match="rate_per_s"):
        parse(Poisson, {"kind": "poisson", "rate_per_s": rate}, source="workload.yaml")
