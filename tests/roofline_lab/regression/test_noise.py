"""What counts as noise: rounding and sampling error decide only where a prediction crosses the measurement."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline_lab.regression.noise import (
    Fate,
    Figure,
    Measurement,
    change_of,
    half_printed_digit,
    half_width_ms,
    standard_error,
)
from tests.roofline_lab.regression.small import scored

HERE = Measurement("one", "synchronous", "tpot_mean")


def direction(before, after, half_width=0.0, threshold_pp=0.5):
    return change_of(scored(before), scored(after), (half_width, half_width), threshold_pp).fate


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (110.0, 105.0, Fate.BETTER),
        (105.0, 110.0, Fate.WORSE),
        (90.0, 95.0, Fate.BETTER),
        (110.0, 110.4, Fate.SAME),
        (110.0, 109.6, Fate.SAME),
        (110.0, 110.6, Fate.WORSE),
        (110.0, 90.0, Fate.SAME),
    ],
)
def test_a_row_changes_direction_only_beyond_the_floor(before, after, expected):
    assert direction(before, after) is expected


def test_moving_away_on_one_side_is_worse_however_coarse_the_measurement():
    assert direction(120.0, 123.0, half_width=10.0) is Fate.WORSE


def test_moving_across_a_coarse_measurement_tells_nothing():
    assert direction(102.0, 96.0, half_width=0.1) is Fate.WORSE
    assert direction(102.0, 96.0, half_width=5.0) is Fate.SAME


def test_a_change_inside_the_measurements_own_width_tells_nothing():
    change = change_of(scored(102.0), scored(101.0), (4.0, 4.0), 0.5)
    assert change.fate is Fate.SAME
    assert change.is_unclear(0.5)
    assert not change.is_unclear(1.5)


def test_the_floor_can_be_set_to_nothing():
    assert direction(110.0, 110.01, threshold_pp=0.0) is Fate.WORSE
    assert direction(110.0, 110.0, threshold_pp=0.0) is Fate.SAME


def test_the_change_is_after_minus_before():
    change = change_of(scored(110.0), scored(104.0), (0.0, 0.0), 0.5)
    assert change.pp == pytest.approx(-6.0)
    assert not change.remeasured


def test_another_measured_figure_is_named_and_its_uncertainty_is_independent():
    change = change_of(scored(110.0, 100.0), scored(110.0, 105.0), (0.0, 0.0), 0.5)
    assert change.remeasured
    assert change.fate is Fate.BETTER
    unsure = change_of(scored(110.0, 100.0), scored(110.0, 105.0), (4.0, 4.0), 0.5)
    assert unsure.fate is Fate.SAME


POSITIVE = st.floats(1.0, 1000.0)


@given(POSITIVE, POSITIVE, POSITIVE, st.floats(0.0, 50.0), st.floats(-1.0, 1.0), st.floats(0.0, 5.0))
def test_no_true_value_within_the_width_contradicts_a_direction(before, after, measured, half_width, where, floor):
    change = change_of(scored(before, measured), scored(after, measured), (half_width, half_width), floor)
    truth = max(measured + where * half_width, measured * 1e-3)
    difference = (abs(after - truth) - abs(before - truth)) / truth * 100
    if change.fate is Fate.WORSE:
        assert difference > floor - 1e-6 * max(1.0, abs(difference))
    if change.fate is Fate.BETTER:
        assert difference < -floor + 1e-6 * max(1.0, abs(difference))


@given(POSITIVE, POSITIVE, POSITIVE, st.floats(0.0, 50.0))
def test_swapping_the_sides_swaps_the_direction(before, after, measured, half_width):
    widths = (half_width, half_width)
    there = change_of(scored(before, measured), scored(after, measured), widths, 0.5).fate
    back = change_of(scored(after, measured), scored(before, measured), widths, 0.5).fate
    opposite = {Fate.WORSE: Fate.BETTER, Fate.BETTER: Fate.WORSE, Fate.SAME: Fate.SAME}
    assert back is opposite[there]


# --- how well a figure is known ---------------------------------------------------------------


def test_a_figure_of_the_ground_truth_has_its_rounding_and_sampling_error():
    figures = {HERE: Figure(100.0, half_digit=0.05, standard_error=2.0)}
    assert half_width_ms(scored(90.0), HERE, figures) == pytest.approx(0.05 + 1.959964 * 2.0)


def test_a_time_between_tokens_derived_from_means_inherits_their_rounding():
    figures = {
        HERE._replace(metric="ttft_mean"): Figure(50.0, half_digit=0.5),
        HERE._replace(metric="e2e_mean"): Figure(250.0, half_digit=1.5),
    }
    assert half_width_ms(scored(9.0, 10.0), HERE, figures) == pytest.approx(10.0 * 2.0 / 200.0)


def test_a_time_between_tokens_takes_its_sampling_error_from_the_published_tpot():
    figures = {
        HERE: Figure(20.0, half_digit=0.5, standard_error=0.4),
        HERE._replace(metric="ttft_mean"): Figure(50.0, half_digit=0.0),
        HERE._replace(metric="e2e_mean"): Figure(250.0, half_digit=0.0, standard_error=90.0),
    }
    for metric in ("tpot_mean", "itl_mean"):
        width = half_width_ms(scored(9.0, 10.0), HERE._replace(metric=metric), figures)
        assert width == pytest.approx(10.0 * 1.959964 * 0.4 / 20.0)


def test_a_figure_that_is_not_the_one_compared_with_says_nothing():
    assert half_width_ms(scored(9.0, 10.5), HERE, {HERE: Figure(99.0, 0.5)}) == pytest.approx(0.05)


@pytest.mark.parametrize(("value", "half"), [(100.0, 0.5), (8.1, 0.05), (8.12, 0.005), (9.828781, 5e-7)])
def test_without_ground_truth_the_printed_digits_are_what_is_known(value, half):
    assert half_printed_digit(value) == pytest.approx(half)


def test_the_standard_error_of_a_mean_is_the_spread_over_the_root_of_requests():
    assert standard_error("mean", {"mean": 100.0, "p90": 112.81552}, 100) == pytest.approx(1.0, rel=1e-5)


def test_the_widest_percentile_gives_the_spread():
    narrow = standard_error("mean", {"mean": 100.0, "p90": 101.0}, 100)
    assert standard_error("mean", {"mean": 100.0, "p90": 101.0, "p99": 200.0}, 100) > 10 * narrow


def test_a_percentile_is_less_well_known_than_the_mean():
    figures = {"mean": 100.0, "p90": 112.81552, "p99": 123.26348}
    mean, p90, p99 = (standard_error(name, figures, 100) for name in ("mean", "p90", "p99"))
    assert mean < p90 < p99
    assert p90 == pytest.approx(mean * math.sqrt(0.09) / 0.1754983, rel=1e-4)


@pytest.mark.parametrize(
    ("figures", "requests"),
    [
        ({"mean": 100.0}, 100),
        ({"mean": 100.0, "p50": 120.0}, 100),
        ({"mean": 100.0, "p90": 90.0}, 100),
        ({"p90": 90.0}, 100),
        ({"mean": 100.0, "p90": 110.0}, None),
        ({"mean": 100.0, "p90": 110.0}, 0),
    ],
)
def test_without_spread_or_number_of_requests_there_is_no_sampling_error(figures, requests):
    assert standard_error("mean", figures, requests) is None
