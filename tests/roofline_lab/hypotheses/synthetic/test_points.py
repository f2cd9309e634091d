"""From axes and cases to points and engine steps."""

from __future__ import annotations

import pytest

from roofline_lab.hypotheses.synthetic.spec import Sweep, batch_at, points
from simulator.errors import ConfigError
from simulator.validation import parse


def sweep(**changes):
    data = {"id": "s", "title": "t", "axes": {"n": [1, 2]}, "batches": {"b": {"decode": [{"kv": 8, "count": "n"}]}}}
    return parse(Sweep, data | changes, source="test")


def keys(**changes):
    return [point.key for point in points(sweep(**changes))]


def batch(plan, **values):
    one = sweep(axes={}, cases=[{"id": "c", "values": values}], batches={"b": plan})
    return batch_at(one.batches["b"], points(one)[0])


def test_axes_make_a_grid_with_the_last_one_fastest():
    assert keys(axes={"m": [1, 2], "n": [3, 4]}) == ["s/m=1/n=3", "s/m=1/n=4", "s/m=2/n=3", "s/m=2/n=4"]


def test_cases_are_repeated_at_every_point_of_the_grid():
    assert keys(axes={"n": [1, 2]}, cases=[{"id": "a"}, {"id": "b"}]) == ["s/n=1/a", "s/n=1/b", "s/n=2/a", "s/n=2/b"]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ({"from": 1, "to": 5, "step": 2}, [1, 3, 5]),
        ({"from": 1, "to": 6, "step": 2}, [1, 3, 5]),
        ({"from": 1, "to": 9, "factor": 2}, [1, 2, 4, 8]),
        ({"from": 4, "to": 4}, [4]),
    ],
)
def test_a_range_never_goes_beyond_its_end(axis, expected):
    assert [point.values["n"] for point in points(sweep(axes={"n": axis}))] == expected


def test_where_keeps_the_points_it_holds_for():
    assert keys(axes={"m": [1, 2], "n": [1, 2]}, where="m <= n") == ["s/m=1/n=1", "s/m=1/n=2", "s/m=2/n=2"]


def test_a_sweep_of_zero_points_is_refused():
    with pytest.raises(ConfigError, match=r"sweeps\.s: has no point"):
        points(sweep(where="n > 2"))


def test_a_condition_on_an_unknown_axis_is_refused():
    with pytest.raises(ConfigError, match="'k' is no axis; allowed: n"):
        points(sweep(where="k > 2"))


def test_a_sweep_of_very_many_points_is_refused():
    with pytest.raises(ConfigError, match="20001 values; at most 20000"):
        points(sweep(axes={"n": {"from": 1, "to": 20001}}))
    with pytest.raises(ConfigError, match="has 40000 points; at most 20000 are allowed"):
        points(sweep(axes={"n": {"from": 1, "to": 200}, "m": {"from": 1, "to": 200}}))


@pytest.mark.parametrize("size", [10**7, 10**12, 2**63 - 1])
def test_an_axis_of_any_size_is_refused_at_once(size):
    with pytest.raises(ConfigError, match=f"axes.n: {size} values; at most 20000"):
        sweep(axes={"n": {"from": 1, "to": size}})
    axes = {name: {"from": 1, "to": 20_000} for name in "nmk"}
    with pytest.raises(ConfigError, match="8000000000000 points; at most 200000 are looked at"):
        points(sweep(axes=axes, where="n * m * k < 5"))


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ({"prefill": [{"new": 1, "count": 10**12}]}, "1000000000000 at n 8; lengths and sizes go up to 1000000000"),
        ({"decode": [{"kv": 1, "count": 10**8}]}, "the batch at n 8 has 100000000 requests; at most 10000 are priced"),
        ({"decode": [{"spread": {"from": 1, "to": 2, "count": 10**9}}]}, "has 1000000000 requests"),
        ({"decode": [{"steps": {"from": 1, "step": 2, "count": "n * 10000000"}}]}, "has 80000000 requests"),
        ({"decode": [{"kv": [1] * 20, "count": 9_000}]}, "the batch at n 8 has 180000 requests; at most 10000"),
        ({"decode": [{"kv": 10**12}]}, "is 1000000000000 at n 8; lengths and sizes go up to 1000000000"),
        ({"prefill": [{"new": "n * 1000000000"}]}, "is 8000000000 at n 8; lengths and sizes go up to 1000000000"),
    ],
    ids=range(7),
)
def test_a_batch_of_any_size_is_refused_at_once(batch, told):
    one = sweep(axes={"n": [8]}, batches={"b": batch})
    with pytest.raises(ConfigError) as caught:
        batch_at(one.batches["b"], points(one)[0])
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"axes": {"n": {"from": 2, "to": 1}}}, "holds no point"),
        ({"axes": {"n": []}}, "at least 1"),
        ({"axes": {}}, "give axes, cases or both"),
        ({"batches": {}}, "either batches or lookup"),
        ({"lookup": {"prefill": {"tokens": "n"}}}, "either batches or lookup"),
        ({"cases": [{"id": "a"}, {"id": "a"}]}, "id is given twice"),
        ({"batches": {"b": {"decode": [{"kv": 8, "spread": {"from": 1, "to": 2, "count": 2}}]}}}, "exactly one of kv"),
    ],
)
def test_a_malformed_sweep_says_what_is_wrong(changes, told):
    with pytest.raises(ConfigError, match=told):
        sweep(**changes)


def test_groups_make_a_batch_in_the_order_written():
    plan = {"prefill": [{"new": "n", "past": 5, "count": 2}], "decode": [{"kv": [7, "n"], "count": 2}, {"kv": 9}]}
    made = batch(plan, n=3)
    assert made.prefill == ((5, 3), (5, 3))
    assert made.decode == (7, 3, 7, 3, 9)


def test_a_spread_reaches_both_ends_and_rounds_down():
    assert batch({"decode": [{"spread": {"from": 256, "to": 4096, "count": 4}}]}).decode == (256, 1536, 2816, 4096)
    assert batch({"decode": [{"spread": {"from": 256, "to": 4096, "count": 1}}]}).decode == (256,)


def test_steps_are_equally_far_apart():
    assert batch({"decode": [{"steps": {"from": 10, "step": 5, "count": "n"}}]}, n=3).decode == (10, 15, 20)


def test_a_group_of_none_adds_nothing():
    assert batch({"decode": [{"kv": 4}, {"kv": 9, "count": "n - 1"}]}, n=1).decode == (4,)


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ({"decode": [{"kv": 8, "count": "n - 2"}]}, "count is -1 at c; it must be at least 0"),
        ({"decode": [{"kv": "n / 2"}]}, "must be a whole number"),
        ({"decode": [{"kv": "k"}]}, "names 'k', which is no axis; allowed: n"),
        ({"decode": [{"kv": 8, "count": 0}]}, "has no request"),
        ({"prefill": [{"new": 0}]}, "new is 0 at c; it must be at least 1"),
    ],
)
def test_a_batch_that_cannot_be_says_where(plan, told):
    with pytest.raises(ConfigError, match=told):
        batch(plan, n=1)
