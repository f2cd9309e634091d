"""Every kind of criterion, passing, failing and without a number."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from roofline_lab.hypotheses.synthetic.criteria import RowCriterion
from roofline_lab.hypotheses.synthetic.rows import Column, RowTable, Summary
from roofline_lab.vocabulary import CriterionResult
from tests.roofline_lab.hypotheses.synthetic.toys import row, table

PASS, FAIL, MISSING = CriterionResult.PASS, CriterionResult.FAIL, CriterionResult.NOT_MEASURED
VALUES = [1.0, 2.0, 4.0]
LARGEST = Summary(id="largest", label="largest x", kind="max", column="x")
COLUMNS = [Column(id=name, label=name, unit="ratio", value=name) for name in ("x", "y")]


def criterion(**data):
    return TypeAdapter(RowCriterion).validate_python({"id": "c", "column": "x"} | data)


def judged(rows, **data):
    if data["kind"] in ("summary", "not_measured"):
        data = {"column": None} | data
        data.pop("column")
        one = TypeAdapter(RowCriterion).validate_python({"id": "c"} | data)
    else:
        one = criterion(**data)
    return one.evaluate(RowTable(rows.rows, COLUMNS, [LARGEST]))


def seen(rows, **data):
    outcome = judged(rows, **data)
    return outcome.result, outcome.observed, outcome.margin


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"above": 0.5}, (PASS, 1.0, 0.5)),
        ({"above": 1.0}, (FAIL, 1.0, 0.0)),
        ({"at_least": 1.0}, (PASS, 1.0, 0.0)),
        ({"below": 4.0}, (FAIL, 4.0, 0.0)),
        ({"at_most": 4.0}, (PASS, 4.0, 0.0)),
        ({"at_least": 0.0, "at_most": 3.0}, (FAIL, 4.0, -1.0)),
        ({"at_least": 3, "where": "n == 2"}, (PASS, 4.0, 1.0)),
    ],
)
def test_every_row_is_held_to_its_bounds(data, expected):
    assert seen(table(VALUES), kind="every_row", **data) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"above": 1.5, "rows_at_least": 2}, (PASS, 2.0, 0.0)),
        ({"above": 1.5, "rows_at_least": 3}, (FAIL, 2.0, -1.0)),
        ({"above": 1.5, "rows_at_most": 1}, (FAIL, 2.0, -1.0)),
        ({"above": 9, "rows_at_most": 0}, (PASS, 0.0, 0.0)),
    ],
)
def test_rows_within_bounds_are_counted(data, expected):
    assert seen(table(VALUES), kind="row_count", **data) == expected


@pytest.mark.parametrize(
    ("values", "expect", "expected"),
    [
        ([1, 2, 3], "increasing", (PASS, 0.0, 0.0)),
        ([1, 2, 2], "increasing", (FAIL, 1.0, -1.0)),
        ([1, 2, 2], "not_decreasing", (PASS, 0.0, 0.0)),
        ([3, 2, 3], "decreasing", (FAIL, 1.0, -1.0)),
    ],
)
def test_a_direction_holds_at_every_step_or_not(values, expect, expected):
    assert seen(table([float(v) for v in values]), kind="monotone", along="n", expect=expect) == expected


def test_exactness_is_against_a_value_or_a_column():
    same = RowTable([row("s/1", x=2.0, y=2.0), row("s/2", x=3.0, y=3.5)])
    assert seen(same, kind="exact", equals="y", within=0.5) == (PASS, 0.5, 0.0)
    assert seen(same, kind="exact", equals="y") == (FAIL, 0.5, -0.5)
    assert seen(table([2.0, 2.0]), kind="exact", equals=2.0) == (PASS, 0.0, 0.0)


def test_equivalence_is_relative_to_the_other_column():
    near = RowTable([row("s/1", x=105.0, y=100.0)])
    assert seen(near, kind="equivalence", to="y", within_pct=5.1)[0] is PASS
    assert seen(near, kind="equivalence", to="y", within_pct=4.9)[0] is FAIL
    assert judged(near, kind="equivalence", to="y", within_pct=5.1).observed == pytest.approx(5)


def test_a_summary_is_judged_overall_or_in_every_sweep():
    rows = RowTable([*table([1.0, 5.0], "a").rows, *table([2.0], "b").rows])
    assert seen(rows, kind="summary", of="largest", at_least=3) == (PASS, 5.0, 2.0)
    assert seen(rows, kind="summary", of="largest", at_least=3, in_every_sweep=True) == (FAIL, 2.0, -1.0)


def test_a_clause_nobody_runs_stays_not_measured():
    outcome = judged(table(VALUES), kind="not_measured", statement="it is so", reason="no server", decisive=True)
    assert (outcome.result, outcome.statement, outcome.detail, outcome.decisive) == (
        MISSING,
        "it is so",
        "no server",
        True,
    )


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "every_row", "above": 0},
        {"kind": "row_count", "above": 0, "rows_at_least": 0},
        {"kind": "monotone", "along": "n", "expect": "increasing"},
        {"kind": "exact", "equals": 1.0},
        {"kind": "equivalence", "to": "y", "within_pct": 5},
        {"kind": "summary", "of": "largest", "above": 0},
    ],
)
def test_without_a_row_nothing_is_measured(data):
    assert judged(RowTable([]), **data).result is MISSING


def test_a_criterion_cannot_pass_while_a_row_has_no_number():
    rows = RowTable([*table(VALUES).rows, row("s/9", reason="the model is too exotic")])
    outcome = judged(rows, kind="every_row", above=0)
    assert outcome.result is MISSING
    assert "1 row without: the model is too exotic" in outcome.detail
    assert judged(rows, kind="every_row", above=3).result is FAIL


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "every_row"},
        {"kind": "every_row", "above": 1, "at_least": 2},
        {"kind": "row_count", "above": 1},
        {"kind": "row_count", "above": 1, "rows_at_least": 1, "rows_at_most": 2},
    ],
)
def test_bounds_that_say_nothing_or_too_much_are_refused(data):
    with pytest.raises(ValidationError):
        criterion(**data)
