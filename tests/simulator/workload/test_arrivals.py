"""Arrival processes: exact times, independence from lengths, and their statistics."""

from __future__ import annotations

import math
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
    Diurnal,
    GammaGaps,
    Poisson,
    RecordedArrivals,
    Replayed,
    arrival_times,
    arrivals_at_rate,
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
    st.builds(
        Diurnal,
        kind=st.just("diurnal"),
        rate_per_s=st.floats(1e-3, 1e6),
        period_s=st.floats(1e-3, 1e6),
        peak_to_mean=st.floats(1, 2),
    ),
    st.builds(
        Diurnal,
        kind=st.just("diurnal"),
        rate_per_s=st.floats(1e-3, 1e6),
        period_s=st.floats(1e-3, 1e6),
        relative_rates=st.lists(st.floats(0, 5), min_size=1, max_size=5).map(lambda rates: (*rates, 1.0)),
    ),
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


STRETCHED = {
    "poisson": Poisson(kind="poisson", rate_per_s=5),
    "rescaled": Poisson(kind="poisson", rate_per_s=5, rescaled=True),
    "gamma": GammaGaps(kind="gamma", rate_per_s=5, cv=2.5),
    "even": ConstantRate(kind="constant_rate", rate_per_s=5),
    "interval": ConstantInterval(kind="constant_interval", interval_us=200_000),
    "recorded": RecordedArrivals(kind="recorded", arrival_us=(0, 100_000, 100_000, 600_000, 800_000)),
    "replayed": Replayed(kind="replayed", arrival_us=(0, 1, 4, 9, 16), rate_per_s=5),
}


@pytest.mark.parametrize("spec", STRETCHED.values(), ids=STRETCHED)
def test_at_another_rate_the_same_arrivals_come_stretched(spec):
    slow, fast = (arrival_times(arrivals_at_rate(spec, rate), 5, 3) for rate in (5, 40))

    assert arrival_times(spec, 5, 3) == pytest.approx(slow, abs=1)
    assert fast == pytest.approx([time / 8 for time in slow], abs=1)
    assert slow[-1] > 0


def test_a_diurnal_process_at_another_rate_has_the_same_random_numbers_and_the_same_day():
    spec = Diurnal(kind="diurnal", rate_per_s=50, period_s=100, relative_rates=(1, 3))

    def requests_before(time_s, rate):
        times = arrival_times(arrivals_at_rate(spec, rate), 30_000, 3)
        return sum(time < time_s * 1_000_000 for time in times)

    # By the rate added up: 25 per second in the first half of a day, 75 in the second.
    poisson = arrival_times(Poisson(kind="poisson", rate_per_s=1), 30_000, 3)
    for rate in (50, 100):
        for time_s, added_up in ((50, 0.25), (100, 1), (150, 1.25), (175, 1.625)):
            expected = sum(time < added_up * rate * 100 * 1_000_000 for time in poisson)
            assert requests_before(time_s, rate) == pytest.approx(expected, abs=1)


def test_a_diurnal_process_without_ups_and_downs_is_a_poisson_process():
    flat = {"kind": "diurnal", "rate_per_s": 7, "period_s": 3}
    poisson = arrival_times(Poisson(kind="poisson", rate_per_s=7), 500, 9)

    assert arrival_times(Diurnal(**flat, peak_to_mean=1), 500, 9) == pytest.approx(poisson, abs=1)
    assert arrival_times(Diurnal(**flat, relative_rates=(4, 4, 4)), 500, 9) == pytest.approx(poisson, abs=1)


@pytest.mark.parametrize("peak", [1.3, 2])
def test_the_rate_of_a_cosine_is_lowest_at_the_start_and_so_many_times_the_mean_at_its_peak(peak):
    spec = Diurnal(kind="diurnal", rate_per_s=1000, period_s=10, peak_to_mean=peak)

    times_s = [time / 1e6 % 10 for time in arrival_times(spec, 200_000, 4)]

    for start in (0, 2.5, 4.75, 7):
        count = sum(start <= time < start + 0.5 for time in times_s)
        x, y = 2 * math.pi * start / 10, 2 * math.pi * (start + 0.5) / 10
        expected = 20 * 1000 * (0.5 - (peak - 1) * (math.sin(y) - math.sin(x)) * 10 / (2 * math.pi))
        assert count == pytest.approx(expected, abs=5 * max(expected, 1) ** 0.5)


def test_nothing_arrives_in_slices_without_requests():
    spec = Diurnal(kind="diurnal", rate_per_s=100, period_s=4, relative_rates=(0, 1, 0, 3))

    hours = [time // 1_000_000 % 4 for time in arrival_times(spec, 4000, 4)]

    assert set(hours) == {1, 3}
    assert hours.count(3) == pytest.approx(3000, abs=150)


def test_replayed_arrivals_keep_their_first_time_and_come_so_many_times_as_fast():
    fast = Replayed(kind="replayed", arrival_us=(10, 20, 60), speed=2)
    at_rate = Replayed(kind="replayed", arrival_us=(10, 20, 60), rate_per_s=2)

    assert arrival_times(fast, 3, 0) == [10, 15, 35]
    assert arrival_times(at_rate, 3, 0) == [10, 200_010, 1_000_010]


def test_requests_recorded_at_one_time_have_no_rate_to_be_given():
    spec = Replayed(kind="replayed", arrival_us=(10, 10), rate_per_s=2)

    with pytest.raises(ConfigError, match="all recorded requests arrive at one time"):
        arrival_times(spec, 2, 0)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (ClosedLoop(kind="closed_loop", concurrency=4), "has no rate; change 'concurrency'"),
        (Burst(kind="burst"), "everything arrives at once, so there is no rate"),
    ],
)
def test_arrivals_without_a_rate_are_refused_another_in_words(spec, problem):
    with pytest.raises(ConfigError, match=problem):
        arrivals_at_rate(spec, 3)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), 1e12])
def test_another_rate_is_checked_like_the_first(rate):
    with pytest.raises(ConfigError, match="arrivals: rate_per_s"):
        arrivals_at_rate(Poisson(kind="poisson", rate_per_s=5), rate)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "give peak_to_mean or relative_rates, one of them"),
        ({"peak_to_mean": 1.5, "relative_rates": [1]}, "give peak_to_mean or relative_rates, one of them"),
        ({"relative_rates": [0, 0]}, "relative_rates are all 0"),
        ({"peak_to_mean": 2.5}, "peak_to_mean"),
    ],
)
def test_a_day_has_one_shape(keys, problem):
    with pytest.raises(ConfigError, match=problem):
        parse(Diurnal, {"kind": "diurnal", "rate_per_s": 1, "period_s": 1, **keys}, source="workload.yaml")
