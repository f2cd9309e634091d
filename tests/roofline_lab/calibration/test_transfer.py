"""Carrying constants over, on errors that are known exactly: what figures tell is fitted, the rest is borrowed."""

from __future__ import annotations

import numpy as np
import pytest

from roofline_lab.calibration.constants import CONSTANTS, starts
from roofline_lab.calibration.ownership import OWNERSHIP
from roofline_lab.calibration.transfer import (
    FITTED_FROM,
    alike,
    alone,
    carry_over,
    jacobian_of,
    prior_of,
    spread_of,
)

NAMES = [one.name for one in CONSTANTS]
DEVIATIONS = {one.name: one.spread / 4 for one in CONSTANTS}
ELSEWHERE = prior_of(starts(), DEVIATIONS)


def at(*names):
    return [NAMES.index(name) for name in names]


def figures(prior, truth, rows):
    """Return errors over scatter that are zero where the constants add up to what they do at `truth`."""
    slopes = np.zeros((len(rows), len(NAMES)))
    for number, row in enumerate(rows):
        for name, slope in row.items():
            slopes[number, NAMES.index(name)] = slope
    goal = slopes @ prior.place(truth)
    return lambda place: slopes @ place - goal


def carried(rows, prior=ELSEWHERE, **truth):
    errors = figures(prior, {**starts(), **truth}, rows)
    first = jacobian_of(errors, prior, np.zeros(len(NAMES)), lambda place: None)
    return carry_over(errors, prior, first, lambda place: None)


def test_a_place_and_the_constants_there_are_each_others_inverse():
    place = np.linspace(-0.5, 0.5, len(NAMES))
    assert ELSEWHERE.place(ELSEWHERE.values(place)) == pytest.approx(place)
    assert ELSEWHERE.values(np.zeros(len(NAMES))) == pytest.approx(starts())


def test_what_figures_tell_is_recovered_and_everything_else_keeps_the_donors_value_to_the_digit():
    found = carried([{"layer_us": 30.0}, {"gemm_efficiency": 20.0}], layer_us=70.0, gemm_efficiency=0.5)
    assert found.fitted == {"layer_us", "gemm_efficiency"}
    assert found.values["layer_us"] == pytest.approx(70.0, rel=0.01)
    assert found.values["gemm_efficiency"] == pytest.approx(0.5, rel=0.01)
    borrowed = set(NAMES) - found.fitted
    assert {name: found.values[name] for name in borrowed} == pytest.approx(
        {name: starts()[name] for name in borrowed}, rel=1e-12
    )


def test_an_interval_shrinks_with_what_is_told_and_stays_what_was_expected_where_nothing_is():
    found = carried([{"layer_us": 30.0}], layer_us=70.0)
    expected = ELSEWHERE.interval(np.zeros(len(NAMES)), np.ones(len(NAMES)))
    low, high = found.intervals["layer_us"]
    assert low < 70.0 < high
    assert high - low < 0.1 * (expected["layer_us"].high - expected["layer_us"].low)
    assert found.intervals["request_us"] == pytest.approx(expected["request_us"])
    assert found.told["layer_us"] > 0.99
    assert found.told["request_us"] == pytest.approx(0.0, abs=1e-9)


def test_a_sum_that_figures_tell_is_known_better_than_its_parts():
    names = ("weight_bandwidth_efficiency", "layer_us")
    found = carried([dict.fromkeys(names, 20.0)], layer_us=70.0)
    total = found.place[at(*names)].sum()
    variance = found.covariance[np.ix_(at(*names), at(*names))].sum()
    assert total == pytest.approx(ELSEWHERE.place({**starts(), "layer_us": 70.0})[at(*names)].sum(), rel=0.01)
    assert variance < 0.01 < found.covariance[at("layer_us")[0], at("layer_us")[0]]
    assert {name for pair in alike(found, 0.4) for name in pair[:2]} == set(names)


def test_weak_hints_leave_a_constant_borrowed():
    slope = 0.9 * (FITTED_FROM / (1 - FITTED_FROM)) ** 0.5
    assert carried([{"layer_us": slope}], layer_us=70.0).values["layer_us"] == pytest.approx(starts()["layer_us"])
    assert carried([{"layer_us": 2 * slope}], layer_us=70.0).fitted == {"layer_us"}


def test_no_figures_move_a_constant_beyond_what_any_gpu_has():
    errors = figures(ELSEWHERE, starts(), [{"gemm_efficiency": 30.0}])
    shifted = lambda place: errors(place) - 1000.0  # noqa: E731
    first = jacobian_of(shifted, ELSEWHERE, np.zeros(len(NAMES)), lambda place: None)
    found = carry_over(shifted, ELSEWHERE, first, lambda place: None)
    assert found.values["gemm_efficiency"] == pytest.approx(OWNERSHIP["gemm_efficiency"].low)
    assert found.at_end() == {"gemm_efficiency": "low"}


def test_on_the_donors_own_gpu_its_constants_are_as_certain_as_they_were_fitted():
    here = prior_of(starts(), DEVIATIONS, ["GPU"]).interval(np.zeros(len(NAMES)), np.ones(len(NAMES)))
    there = ELSEWHERE.interval(np.zeros(len(NAMES)), np.ones(len(NAMES)))
    for name, row in OWNERSHIP.items():
        width, elsewhere = (one[name].high - one[name].low for one in (here, there))
        assert (width < elsewhere) is (row.owner == "GPU"), name


def test_another_donors_value_moves_a_solution_as_fitting_from_it_would():
    rows = [{"layer_us": 2.0, "request_us": 1.0}, {"request_us": 1.5}]
    other = {**starts(), "layer_us": 60.0, "request_us": 8.0}
    moved = carried(rows, layer_us=70.0, request_us=12.0).from_centre(other)
    errors = figures(ELSEWHERE, {**starts(), "layer_us": 70.0, "request_us": 12.0}, rows)
    prior = prior_of(other, DEVIATIONS)
    again = lambda place: errors(ELSEWHERE.place(prior.values(place)))  # noqa: E731
    first = jacobian_of(again, prior, np.zeros(len(NAMES)), lambda place: None)
    fitted = carry_over(again, prior, first, lambda place: None).values
    assert {name: moved[name] for name in ("layer_us", "request_us")} == pytest.approx(
        {name: fitted[name] for name in ("layer_us", "request_us")}, rel=1e-6
    )


def test_the_spread_of_a_quantity_is_that_of_the_constant_it_is():
    found = carried([{"layer_us": 30.0}], layer_us=70.0)
    deviation = spread_of(lambda values: values["layer_us"], found.prior, found.place, found.covariance)
    index = at("layer_us")[0]
    assert deviation == pytest.approx(found.covariance[index, index] ** 0.5 * ELSEWHERE.spread[index], rel=1e-6)


def test_the_constant_that_alone_explains_the_figures_comes_first_and_one_that_cannot_leaves_errors():
    rows = [{"layer_us": 30.0, "request_us": 10.0}, {"layer_us": 10.0, "request_us": 30.0}]
    errors = figures(ELSEWHERE, {**starts(), "layer_us": 70.0}, rows)
    first = jacobian_of(errors, ELSEWHERE, np.zeros(len(NAMES)), lambda place: None)
    (best, value, left), (other, _, missed) = alone(errors, first, ELSEWHERE)
    assert (best, other) == ("layer_us", "request_us")
    assert value == pytest.approx(70.0)
    assert np.abs(left).max() < 1e-6 < 1.0 < np.abs(missed).max()


def test_constants_that_do_nothing_at_the_donors_values_are_not_tried_again():
    tried = []
    errors = figures(ELSEWHERE, starts(), [{"layer_us": 30.0}])
    first = jacobian_of(errors, ELSEWHERE, np.zeros(len(NAMES)), lambda place: None)
    carry_over(errors, ELSEWHERE, first, tried.append)
    assert [NAMES[place] for place in tried] == ["layer_us"]
