"""Condensing a column to one number."""

from __future__ import annotations

import pytest

from roofline_lab.hypotheses.synthetic.rows import RowTable, Summary, breaks, jumps, summarise
from simulator.errors import ConfigError
from simulator.validation import parse
from tests.roofline_lab.hypotheses.synthetic.toys import row, table

STAIRS = [1.0, 1.0, 2.0, 2.0, 2.0, 4.0]


def summary(kind, **changes):
    return parse(Summary, {"id": "s", "label": "l", "kind": kind, "column": "x"} | changes, source="test")


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("points", {}, 6),
        ("min", {}, 1),
        ("max", {}, 4),
        ("mean", {}, 2),
        ("sum", {}, 12),
        ("distinct", {}, 3),
        ("count", {"when": "x > 1"}, 4),
        ("share", {"when": "x > 1"}, pytest.approx(66.666667)),
        ("jumps", {"at_least_pct": 50}, 2),
        ("jumps", {"at_least_pct": 50.1}, 0),
        ("largest_jump", {}, 50),
        ("longest_flat", {}, 3),
        ("breaks", {"expect": "not_decreasing"}, 0),
        ("breaks", {"expect": "increasing"}, 3),
        ("points", {"where": "n >= 2"}, 4),
    ],
)
def test_every_kind_of_a_staircase(kind, changes, expected):
    assert summarise(summary(kind, **changes), table(STAIRS)) == expected


def test_sequences_of_several_sweeps_never_touch_and_add_up():
    rows = RowTable([*table([1.0, 2.0], "a").rows, *table([8.0, 8.0, 8.0], "b").rows])
    assert summarise(summary("jumps", at_least_pct=1), rows) == 1
    assert summarise(summary("distinct"), rows) == 3
    assert summarise(summary("longest_flat"), rows) == 3
    assert summarise(summary("longest_flat"), rows, "a") == 1


def test_a_sequence_runs_along_one_axis_only():
    rows = RowTable(row(f"s/{m}{n}", axes={"m": m, "n": n}, x=float(10 * m - n)) for m in (1, 2) for n in (1, 2))
    assert summarise(summary("breaks", expect="decreasing", along="n"), rows) == 0
    assert summarise(summary("breaks", expect="decreasing"), rows) == 1


def test_without_rows_there_is_no_number():
    assert summarise(summary("max", where="x > 9"), table(STAIRS)) is None


def test_a_jump_is_measured_against_the_larger_neighbour():
    assert jumps([1.0, 4.0, 1.0]) == [75.0, 75.0]
    assert jumps([0.0, 0.0]) == [0.0]


def test_rounding_of_floats_is_no_change():
    assert breaks([1.0, 1.0 + 1e-15, 1.0], "not_increasing") == []
    assert len(breaks([1.0, 1.0 + 1e-9], "not_increasing")) == 1


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        ("count", {}, "when: missing for kind count or share"),
        ("max", {"when": "x > 1"}, "when: only for kind count or share"),
        ("jumps", {}, "at_least_pct: missing"),
        ("breaks", {}, "expect: missing"),
    ],
)
def test_a_kind_without_what_it_needs_is_refused(kind, changes, told):
    with pytest.raises(ConfigError, match=told):
        summary(kind, **changes)


def test_the_unit_follows_from_kind_and_column():
    assert summary("max").unit("us") == "us"
    assert summary("sum").unit("flag") == "count"
    assert summary("jumps", at_least_pct=1).unit("us") == "count"
    assert summary("largest_jump").unit("mfu") == "pct"
