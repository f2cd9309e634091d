"""Answers about capacity, on ladders whose crossings are worked out by hand."""

from __future__ import annotations

import math
import random

import pytest

from roofline_lab.scoring.capacity import (
    Question,
    Rung,
    answers_of,
    capacity_of,
    crossing,
    knee_of,
    meets,
    text_of,
    verdict_on,
)
from roofline_lab.scoring.scores import Scores
from roofline_lab.vocabulary import Quantity
from simulator.slo import read_limits
from tests.roofline_lab.builders import error_row

INF = math.inf


def slo(text):
    return read_limits(text, "test")


def rung(load, measured, predicted, low=None, high=None, experiment="server", arm="model", **names):
    """Return a rung on which a number stands for a mean TPOT in ms, and a dict for several latencies."""
    given = (measured, predicted, low, high)
    sides = [{"tpot_mean": side} if isinstance(side, float) else side or {} for side in given]
    return Rung(error_row(arm, experiment, 0.0, load_point=f"c{load}", **names), float(load), *sides)


def question(*limits, weight=3.0):
    return Question(tuple(slo(text) for text in limits), "tpot_mean", 1.5, 1.5, weight)


# TPOT doubles with every fourfold load: 10, 20, 40 ms at 4, 16 and 64 in flight.
LADDER = [(4.0, 10.0), (16.0, 20.0), (64.0, 40.0)]


@pytest.mark.parametrize(
    ("at_most", "expected"),
    [
        (10.0 * math.sqrt(2.0), 8.0),  # half way between 10 and 20 ms, so half way between 4 and 16
        (20.0, 16.0),  # met at 16, and crossed right behind it
        (20.0 * 2.0**0.25, 16.0 * 4.0**0.25),
        (9.9, 0.0),
        (40.0, INF),
    ],
)
def test_a_limit_is_crossed_on_a_line_between_logarithms(at_most, expected):
    assert crossing(LADDER, at_most) == pytest.approx(expected)


def test_the_first_crossing_counts_where_a_latency_falls_again():
    assert crossing([(4.0, 10.0), (16.0, 40.0), (64.0, 10.0)], 20.0) == pytest.approx(8.0)


def test_next_to_a_latency_without_end_the_last_load_that_meets_is_the_capacity():
    assert crossing([(4.0, 10.0), (16.0, 20.0), (64.0, INF)], 30.0) == 16.0


def test_capacity_is_compared_in_percent_of_the_measured_one():
    """Twice as fast: the limit of 20 ms, crossed at 16 in flight, is predicted to be crossed at 64, so +300 %."""
    rungs = [rung(4, 10.0, 5.0), rung(16, 20.0, 10.0), rung(64, 40.0, 20.0), rung(256, 80.0, 40.0)]
    found = capacity_of(rungs, slo("tpot_mean<=20ms"))
    assert (found.measured, found.predicted) == (pytest.approx(16.0), pytest.approx(64.0))
    assert found.error_pct == pytest.approx(300.0)
    assert (found.is_divided, found.is_beyond) == (True, False)


def test_a_capacity_predicted_beyond_the_ladder_is_taken_to_be_at_its_end():
    rungs = [rung(4, 10.0, 5.0), rung(16, 20.0, 10.0), rung(64, 40.0, 20.0)]
    above = capacity_of(rungs, slo("tpot_mean<=20ms"))
    assert (above.predicted, above.shown, above.is_beyond) == (INF, 64.0, True)
    below = capacity_of([rung(4, 10.0, 30.0), rung(16, 20.0, 50.0)], slo("tpot_mean<=15ms"))
    assert (below.predicted, below.shown, below.is_beyond) == (0.0, 4.0, True)


def test_several_limits_are_crossed_where_the_first_of_them_is():
    rungs = [
        rung(load, {"tpot_mean": tpot, "ttft_mean": ttft}, {"tpot_mean": tpot, "ttft_mean": 2.0 * ttft})
        for load, tpot, ttft in ((4, 10.0, 100.0), (16, 20.0, 200.0), (64, 40.0, 400.0))
    ]
    both = slo("tpot_mean<=20ms, ttft_mean<=400ms")
    found = capacity_of(rungs, both)
    assert (found.measured, found.predicted) == (pytest.approx(16.0), pytest.approx(16.0))
    tighter = capacity_of(rungs, slo("tpot_mean<=40ms, ttft_mean<=200ms"))
    assert (tighter.measured, tighter.predicted) == (pytest.approx(16.0), pytest.approx(4.0))
    assert found.about == text_of(both) == "tpot_mean<=20ms, ttft_mean<=400ms"


def test_a_load_at_which_one_side_is_unknown_counts_on_neither():
    """Without the last load the measured server is not seen to miss the limit."""
    rungs = [rung(4, 10.0, 10.0), rung(16, 20.0, 20.0), rung(64, 40.0, {})]
    found = capacity_of(rungs, slo("tpot_mean<=30ms"))
    assert (found.measured, found.highest) == (INF, 16.0)
    assert capacity_of([rung(4, 10.0, 10.0), rung(16, 20.0, {})], slo("tpot_mean<=15ms")) is None


def test_the_range_goes_from_the_upper_ends_to_the_lower_ones():
    """Ends a factor of two off: half and twice the latency, a quarter and four times the load."""
    ladder = ((1, 5.0), (4, 10.0), (16, 20.0), (64, 40.0), (256, 80.0))
    rungs = [rung(load, ms, ms, ms / 2.0, ms * 2.0) for load, ms in ladder]
    found = capacity_of(rungs, slo("tpot_mean<=20ms"))
    assert (found.pessimistic, found.optimistic) == (pytest.approx(4.0), pytest.approx(64.0))
    assert (found.is_inside, found.is_open) == (True, False)
    outside = [
        rung(load, 4.0 * ms, ms, ms / 2.0, ms * 2.0)
        for load, ms in ((1, 2.5), (4, 5.0), (16, 10.0), (64, 20.0), (256, 40.0))
    ]
    assert capacity_of(outside, slo("tpot_mean<=20ms")).is_inside is False


def test_without_intervals_there_is_no_range():
    found = capacity_of([rung(4, 10.0, 10.0), rung(16, 20.0, 20.0)], slo("tpot_mean<=15ms"))
    assert (found.pessimistic, found.optimistic, found.is_inside) == (None, None, None)


def test_the_knee_is_where_a_side_reaches_a_multiple_of_its_own_first_value():
    """1.5 x 10 ms on a line that doubles per fourfold load: 4 x 4^log2(1.5) = 9; the other side is flat at first."""
    rungs = [rung(4, 10.0, 30.0), rung(16, 20.0, 30.0), rung(64, 40.0, 60.0)]
    found = knee_of(rungs, question("tpot_mean<=1ms"))
    assert found.measured == pytest.approx(9.0)
    assert found.predicted == pytest.approx(16.0 * 4.0 ** math.log2(1.5))


@pytest.mark.parametrize(
    ("latencies", "expected"),
    [
        ({"tpot_mean": 20.0, "ttft_mean": 100.0}, True),
        ({"tpot_mean": 20.1, "ttft_mean": 100.0}, False),
        ({"ttft_mean": INF}, False),
        ({"ttft_mean": 100.0}, None),
    ],
)
def test_a_missed_limit_decides_alone_and_an_unknown_latency_decides_nothing(latencies, expected):
    assert meets(latencies, slo("tpot_mean<=20ms, ttft_mean<=100ms")) is expected


def test_a_verdict_is_close_within_a_factor_of_the_limit():
    limit = slo("tpot_mean<=20ms")
    assert verdict_on(rung(4, 29.0, 1.0), limit, 1.5).is_close
    assert not verdict_on(rung(4, 31.0, 1.0), limit, 1.5).is_close
    assert not verdict_on(rung(4, 13.0, 1.0), limit, 1.5).is_close


def test_wrong_verdicts_are_counted_apart_and_a_wrong_met_costs_more():
    rungs = [
        rung(1, 10.0, 10.0, 9.0, 11.0),  # met, and said so by both
        rung(2, 21.0, 19.0, 15.0, 25.0),  # missed; the prediction says met, its upper end does not
        rung(4, 19.0, 21.0, 15.0, 25.0),  # met; both say missed
        rung(8, 30.0, 30.0, 25.0, 35.0),
    ]
    scores = Scores([], answers_of([rungs], question("tpot_mean<=20ms")).judgements)

    def mean_of(quantity):
        values = [each.value_pct for each in scores.judged("model", quantity)]
        return sum(values) / len(values)

    assert mean_of(Quantity.VERDICT_RIGHT) == 50.0
    assert mean_of(Quantity.CLOSE_VERDICT_RIGHT) == pytest.approx(100.0 / 3.0)
    assert (mean_of(Quantity.WRONG_MET), mean_of(Quantity.WRONG_NOT_MET)) == (25.0, 25.0)
    assert mean_of(Quantity.VERDICT_COST) == 100.0
    assert (mean_of(Quantity.UPPER_WRONG_MET), mean_of(Quantity.UPPER_WRONG_NOT_MET)) == (0.0, 25.0)
    assert mean_of(Quantity.UPPER_VERDICT_COST) == 25.0


def test_a_single_load_has_verdicts_and_no_capacity():
    found = answers_of([[rung(1, 10.0, 30.0)]], question("tpot_mean<=20ms"))
    assert (found.capacities, found.knees) == ((), ())
    assert [each.quantity for each in found.judgements if each.value_pct] == [
        Quantity.WRONG_NOT_MET,
        Quantity.VERDICT_COST,
    ]


def test_a_limit_that_divides_no_ladder_has_no_error():
    rungs = [rung(4, 10.0, 12.0), rung(16, 20.0, 24.0)]
    found = answers_of([rungs], question("tpot_mean<=5ms", "tpot_mean<=50ms"))
    assert len(found.capacities) == 2
    assert not [each for each in found.judgements if each.quantity is Quantity.CAPACITY_ERROR]


def test_the_order_of_rungs_changes_nothing():
    rungs = [rung(4, 10.0, 12.0), rung(16, 20.0, 22.0), rung(64, 40.0, 50.0)]
    asked = question("tpot_mean<=15ms", "tpot_mean<=30ms")
    expected = answers_of([rungs], asked)
    for seed in range(5):
        shuffled = random.Random(seed).sample(rungs, len(rungs))
        assert answers_of([shuffled], asked) == expected
