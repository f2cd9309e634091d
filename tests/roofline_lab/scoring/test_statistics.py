"""Bootstrap intervals: seeded, around the mean, and honest about samples too small to have one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline_lab.scoring.statistics import bootstrap_difference, bootstrap_lowest, bootstrap_mean, fewest_units

SETTINGS = {"resamples": 500, "level_pct": 95.0, "seed": 11}
SAMPLE = [3.0, 4.5, 5.0, 8.0, 12.0, 2.0]
values = st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=13)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    assert bootstrap_mean(SAMPLE, **SETTINGS) == bootstrap_mean(SAMPLE, **SETTINGS)
    assert bootstrap_mean(SAMPLE, **SETTINGS) != bootstrap_mean(SAMPLE, **{**SETTINGS, "seed": 12})


@given(values, st.randoms())
@settings(max_examples=30, deadline=None)
def test_the_order_of_experiments_does_not_matter(sample, random):
    shuffled = list(sample)
    random.shuffle(shuffled)
    assert bootstrap_mean(sample, **SETTINGS) == bootstrap_mean(shuffled, **SETTINGS)


@given(values)
@settings(max_examples=50, deadline=None)
def test_an_interval_lies_inside_the_sample_and_its_ends_are_in_order(sample):
    interval = bootstrap_mean(sample, **SETTINGS)
    slack = 1e-9 * (1 + max(abs(value) for value in sample))
    assert min(sample) - slack <= interval.low <= interval.high <= max(sample) + slack


def test_an_interval_contains_the_mean_and_narrows_with_more_experiments():
    few, many = bootstrap_mean(SAMPLE, **SETTINGS), bootstrap_mean(SAMPLE * 8, **SETTINGS)
    mean = sum(SAMPLE) / len(SAMPLE)
    for interval in (few, many):
        assert interval.low < mean < interval.high
    assert many.high - many.low < (few.high - few.low) / 2


def test_a_higher_level_gives_a_wider_interval_and_is_recorded():
    narrow, wide = (bootstrap_mean(SAMPLE, **{**SETTINGS, "level_pct": level}) for level in (80.0, 99.0))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert (narrow.level_pct, wide.level_pct) == (80.0, 99.0)


def test_the_width_agrees_with_the_standard_error():
    """For a symmetric sample the 95 % interval spans about 2 x 1.96 standard errors (n denominator)."""
    sample = [float(value) for value in range(-20, 21)]
    interval = bootstrap_mean(sample, resamples=4000, level_pct=95.0, seed=3)
    standard_error = (sum(value**2 for value in sample) / len(sample) / len(sample)) ** 0.5
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * standard_error, rel=0.05)


def test_equal_values_give_an_interval_without_width():
    interval = bootstrap_mean([7.0] * 4, **SETTINGS)
    assert interval.low == interval.high == pytest.approx(7.0)


@pytest.mark.parametrize("sample", [[], [4.0], [4.0, 9.0], [4.0, 9.0, 2.0]])
def test_fewer_experiments_than_an_interval_needs_have_none(sample):
    """Of three values drawn three at a time 1 in 27 draws is one value alone: more than the 2.5 % beyond an end."""
    assert bootstrap_mean(sample, **SETTINGS) is None
    assert bootstrap_difference(sample, SAMPLE, **SETTINGS) is None
    assert bootstrap_difference(SAMPLE, sample, **SETTINGS) is None


@pytest.mark.parametrize(("level_pct", "fewest"), [(40.0, 2), (80.0, 3), (95.0, 4), (99.0, 4), (99.9, 5)])
def test_a_higher_level_needs_more_experiments(level_pct, fewest):
    assert fewest_units(level_pct) == fewest
    tail = (1 - level_pct / 100) / 2
    assert fewest**-fewest < tail <= (fewest - 1) ** -(fewest - 1)


def test_an_interval_is_narrower_than_its_sample_from_the_fewest_experiments_on():
    """With fewer, its ends would be the smallest and the largest value at any level."""
    sample = [1.0, 4.0, 9.0, 2.0]
    interval = bootstrap_mean(sample, **SETTINGS)
    assert min(sample) < interval.low < interval.high < max(sample)


def test_a_difference_is_first_minus_second_and_contains_the_difference_of_means():
    interval = bootstrap_difference([10.0, 12.0, 14.0, 12.0], [1.0, 2.0, 3.0, 2.0], **SETTINGS)
    assert interval.low < 10.0 < interval.high
    assert interval.low > 0
    mirrored = bootstrap_difference([1.0, 2.0, 3.0, 2.0], [10.0, 12.0, 14.0, 12.0], **SETTINGS)
    assert mirrored.high < 0


def test_groups_are_resampled_independently():
    """Resampling both with the same picks would cancel a common spread to nothing."""
    interval = bootstrap_difference(SAMPLE, SAMPLE, **SETTINGS)
    assert interval.low < 0 < interval.high


# --- where a lowest mean lies -------------------------------------------------------------------


def test_the_interval_of_a_lowest_mean_spans_the_values_that_other_clusters_would_choose():
    families = ["a", "b", "c", "d", "e"]
    best = (2.0, 2.0, 3.0, 4.0, 4.0)  # the value at which each family has no error
    errors = {value: [abs(value - own) for own in best] for value in (1.0, 2.0, 3.0, 4.0, 5.0)}
    found = bootstrap_lowest(errors, families, **SETTINGS)
    assert (found.low, found.high) == (2.0, 4.0)
    assert bootstrap_lowest(dict(reversed(errors.items())), families, **SETTINGS) == found


def test_units_are_drawn_together_for_all_values():
    """Drawn apart, the noise that all values share would move the lowest one."""
    shared = (1.0, 50.0, 3.0, 90.0, 7.0)
    errors = {value: [common + value for common in shared] for value in (0.0, 0.1, 0.2)}
    found = bootstrap_lowest(errors, list("abcde"), **SETTINGS)
    assert (found.low, found.high) == (0.0, 0.0)


def test_a_lowest_mean_over_too_few_clusters_has_no_interval():
    assert bootstrap_lowest({1.0: [1.0, 2.0, 3.0, 4.0]}, ["a", "a", "b", "c"], **SETTINGS) is None
