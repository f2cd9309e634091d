"""Intervals from held-out residuals hold what they promise, however few and however alike the clusters are."""

from __future__ import annotations

import random

import numpy as np
import pytest

from roofline_lab.scoring.conformal import (
    FEWEST_CLUSTERS,
    effective_number,
    held_out_spread,
    stretch,
    student_t,
)

LEVEL = 0.9
# Tables of Student's t at 95 %, one side.
TABLE = {2: 2.920, 3: 2.353, 6: 1.943, 9: 1.833, 18: 1.734, 69: 1.667}


def drawn(generator, clusters, *, between, within, parts=10, values=5):
    """Return values, clusters and parts: every cluster misses by its own amount, and so does every part of one."""
    found, names, servers = [], [], []
    for cluster in range(clusters):
        own = between * generator.standard_normal()
        for part in range(parts):
            shared = within * generator.standard_normal()
            found += (own + shared + 0.5 * within * generator.standard_normal(values)).tolist()
            names += [str(cluster)] * values
            servers += [f"{cluster}/{part}"] * values
    return found, names, servers


def coverage(generator, clusters, repeats, **spreads):
    """Return the mean share of values of one more cluster that lie in the interval made from the others."""
    shares = []
    for _ in range(repeats):
        values, names, servers = drawn(generator, clusters + 1, **spreads)
        known = [place for place, name in enumerate(names) if name != "0"]
        picked = ([column[place] for place in known] for column in (values, names, servers))
        spread = held_out_spread(*picked, LEVEL)
        new = [value for value, name in zip(values, names, strict=True) if name == "0"]
        shares.append(sum(spread.low <= value <= spread.high for value in new) / len(new))
    return float(np.mean(shares)), float(np.std(shares)) / len(shares) ** 0.5


@pytest.mark.parametrize("clusters", [3, 7, 12])
@pytest.mark.parametrize(
    "spreads",
    [{"between": 0.1, "within": 0.04}, {"between": 0.05, "within": 0.1}, {"between": 0.0, "within": 0.1}],
    ids=["clusters apart", "clusters alike", "one population"],
)
def test_nine_of_ten_values_of_a_cluster_nobody_has_seen_lie_inside(clusters, spreads):
    """Within three standard errors of 87 to 94 %, whatever part of the spread clusters share."""
    share, error = coverage(np.random.default_rng(20260301), clusters, 120, **spreads)
    assert 0.87 - 3 * error <= share <= 0.94 + 3 * error


def test_plain_quantiles_of_the_same_values_would_be_too_narrow():
    """The control: what the correction for few clusters is there for."""
    generator, shares = np.random.default_rng(20260302), []
    for _ in range(150):
        values, names, _ = drawn(generator, 4, between=0.1, within=0.04)
        known = [value for value, name in zip(values, names, strict=True) if name != "0"]
        low, high = np.quantile(known, [0.05, 0.95])
        shares.append(np.mean([low <= value <= high for value in values[:50]]))
    assert np.mean(shares) < 0.8


def test_many_independent_values_give_their_own_quantiles():
    values = np.random.default_rng(3).standard_normal(2000).tolist()
    names = [str(place) for place in range(2000)]
    spread = held_out_spread(values, names, names, LEVEL)
    assert spread.effective == 2000
    assert (spread.low, spread.high) == pytest.approx(np.quantile(values, [0.05, 0.95]).tolist(), abs=0.02)


def test_fewer_than_three_clusters_give_no_interval_however_many_values_they_have():
    values, names, servers = drawn(np.random.default_rng(4), FEWEST_CLUSTERS - 1, between=0.1, within=0.1)
    assert held_out_spread(values, names, servers, LEVEL) is None


def test_an_interval_does_not_depend_on_the_order_of_values():
    columns = drawn(np.random.default_rng(5), 6, between=0.1, within=0.05)
    rows = list(zip(*columns, strict=True))
    random.Random(6).shuffle(rows)
    assert held_out_spread(*zip(*rows, strict=True), LEVEL) == held_out_spread(*columns, LEVEL)


def test_the_interval_of_mirrored_values_is_the_mirrored_interval():
    values, names, servers = drawn(np.random.default_rng(7), 6, between=0.1, within=0.05)
    spread = held_out_spread(values, names, servers, LEVEL)
    mirrored = held_out_spread([-value for value in values], names, servers, LEVEL)
    assert (mirrored.low, mirrored.high) == pytest.approx((-spread.high, -spread.low))


def test_a_skewed_sample_gives_a_skewed_interval():
    values = np.random.default_rng(8).exponential(size=300).tolist()
    names = [str(place) for place in range(300)]
    spread, middle = held_out_spread(values, names, names, LEVEL), float(np.median(values))
    assert spread.high - middle > 2 * (middle - spread.low)


def test_a_cluster_with_many_values_weighs_as_much_as_one_with_few():
    """Ninety values at 0 in one cluster cannot outvote single values at 1 in nine others."""
    values, names = [0.0] * 90 + [1.0] * 9, ["big"] * 90 + [str(place) for place in range(9)]
    spread = held_out_spread(values, names, names, LEVEL)
    assert spread.low <= 0.0
    assert spread.high >= 1.0


def test_values_that_agree_within_clusters_count_as_one_each():
    values, names = [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 5.0, 5.0], list("aabbccdd")
    assert effective_number(values, names) == pytest.approx(4.0)


def test_values_that_do_not_agree_within_clusters_count_as_many_as_they_are():
    values, names = [0.0, 1.0, 0.0, 1.0, 0.0, 1.0], list("aabbcc")
    assert effective_number(values, names) == pytest.approx(6.0)


def test_parts_of_a_cluster_that_agree_keep_the_number_down():
    """Clusters alike, servers in them not: twenty-four values of twelve servers are twelve."""
    values, names = [-1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 1.0] * 3, ["a"] * 8 + ["b"] * 8 + ["c"] * 8
    servers = [str(place // 2) for place in range(24)]
    assert held_out_spread(values, names, servers, LEVEL).effective == pytest.approx(12.0)
    assert held_out_spread(values, names, [str(place) for place in range(24)], LEVEL).effective == pytest.approx(24.0)


@pytest.mark.parametrize("freedom", TABLE)
def test_quantiles_of_students_t_are_those_of_the_tables(freedom):
    assert student_t(float(freedom), 0.95) == pytest.approx(TABLE[freedom], rel=0.004)


def test_the_factor_shrinks_to_one_as_clusters_become_many():
    factors = [stretch(float(number), LEVEL) for number in (3, 4, 7, 12, 30, 100, 10_000)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == pytest.approx(2.51, abs=0.02)
    assert factors[-1] == pytest.approx(1.0, abs=0.001)
