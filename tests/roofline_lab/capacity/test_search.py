"""The highest load that meets something: found where it is, with few questions."""

from __future__ import annotations

import pytest

from roofline_lab.capacity.search import Highest, highest


def limit_at(true_limit):
    asked = []

    def meets(load):
        asked.append(load)
        return load <= true_limit

    return meets, asked


@pytest.mark.parametrize("true_limit", [0.0101, 0.5, 3.7, 1234.5])
def test_the_highest_rate_is_found_to_the_tolerance_from_both_sides(true_limit):
    meets, asked = limit_at(true_limit)
    found = highest(meets, 0.01, tolerance=0.01)
    assert found.meets <= true_limit < found.fails
    assert found.fails / found.meets <= 1.01
    assert len(asked) == len(set(asked)) <= 24


@pytest.mark.parametrize("true_limit", [1, 2, 3, 7, 100, 129])
def test_the_highest_number_of_clients_is_found_exactly_where_the_tolerance_is_less_than_a_client(true_limit):
    found = highest(limit_at(true_limit)[0], 1, tolerance=0.0001, whole=True)
    assert found == Highest(true_limit, true_limit + 1)


def test_many_clients_are_found_to_the_tolerance():
    found = highest(limit_at(5000)[0], 1, tolerance=0.01, whole=True)
    assert found.meets <= 5000 < found.fails
    assert found.fails / found.meets <= 1.0101


def test_a_limit_that_the_lightest_load_misses_has_no_load():
    assert highest(lambda load: False, 0.5, tolerance=0.01) == Highest(None, 0.5)


def test_a_limit_that_nothing_misses_has_no_end():
    assert highest(lambda load: True, 1, tolerance=0.01, whole=True, most=100) == Highest(100, None)


def test_loads_of_a_closed_loop_are_whole_whatever_the_step():
    meets, asked = limit_at(37)
    assert highest(meets, 3, tolerance=0.0001, whole=True, step=1.5, most=200) == Highest(37, 38)
    assert all(load == int(load) for load in asked)
