"""Errors are errors of means; aggregates are unweighted; what has no number enters no mean."""

from __future__ import annotations

import csv
import io

import pytest

from roofline_lab.run_files import error_rows
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.numbers import ERROR_COLUMNS, NUMBER_COLUMNS, errors_text, numbers_text
from roofline_lab.scoring.scores import Scores
from roofline_lab.scoring.table import numbers_of
from roofline_lab.vocabulary import MEANS, Metric, RowStatus, Scope, Statistic
from tests.roofline_lab.builders import error_row, pair, unscored_row

TPOT = Metric.TPOT_MEAN
ARMS = ("baseline", "treatment")


def number(numbers, statistic, scope=Scope.OVERALL, key="all", arm="treatment"):
    """Return the one number of that identity."""
    found = [n.value for n in numbers if (n.statistic, n.scope, n.key, n.arm) == (statistic, scope, key, arm)]
    assert len(found) == 1
    return found[0]


# --- one row ----------------------------------------------------------------------------------------


def test_an_error_is_relative_to_the_measurement_and_negative_when_predicted_too_fast():
    row = error_row(predicted=150.0, measured=200.0)
    assert row.signed_error_pct == -25.0
    assert row.ape_pct == 25.0


def test_a_prediction_that_is_too_slow_has_a_positive_error():
    assert error_row(predicted=250.0, measured=200.0).signed_error_pct == 25.0


def test_a_row_belongs_to_one_group_at_every_scope():
    told = {"workload": "code", "family": "Big", "tensor_parallel": 4, "hardware": "gpu", "strategy": "stage"}
    row = error_row(experiment="e", holdout="test", **told)
    not_of_rows = (Scope.ROW, Scope.SWEEP, Scope.DRIVER, Scope.TERM, Scope.SHARED, Scope.LIMIT)
    groups = [row.group(scope) for scope in Scope if scope not in not_of_rows]
    assert groups == ["e", "code", "Big", "4", "gpu", "synchronous", "stage", "test", "all"]


# --- aggregates -------------------------------------------------------------------------------------


def test_an_aggregate_weighs_every_experiment_alike_whatever_its_latency():
    rows = [error_row(experiment="fast", error_pct=-50, measured=1.0), error_row(experiment="slow", error_pct=-10)]
    rows[1] = error_row(experiment="slow", error_pct=-10, measured=10_000.0)
    assert Scores(rows).mape("baseline", TPOT) == pytest.approx(30.0)


def test_a_mean_signed_error_lets_directions_cancel_where_the_absolute_one_does_not():
    rows = [*pair("a", -20, 0), *pair("b", +20, 0)]
    numbers = numbers_of(Scores(rows), ARMS, [TPOT])
    assert number(numbers, Statistic.MAPE, arm="baseline") == pytest.approx(20.0)
    assert number(numbers, Statistic.SIGNED_ERROR, arm="baseline") == pytest.approx(0.0)


def test_numbers_are_aggregated_by_workload_family_tp_and_overall():
    rows = [
        *pair("a", -40, -20, workload="chat", family="Small", tensor_parallel=1),
        *pair("b", -20, -20, workload="code", family="Small", tensor_parallel=2),
        *pair("c", -30, -20, workload="code", family="Big", tensor_parallel=2),
    ]
    numbers = numbers_of(Scores(rows), ARMS, [TPOT])
    expected = {
        (Scope.WORKLOAD, "chat"): 40.0,
        (Scope.WORKLOAD, "code"): 25.0,
        (Scope.FAMILY, "Small"): 30.0,
        (Scope.FAMILY, "Big"): 30.0,
        (Scope.TP, "1"): 40.0,
        (Scope.TP, "2"): 25.0,
        (Scope.OVERALL, "all"): 30.0,
        (Scope.EXPERIMENT, "c"): 30.0,
    }
    for (scope, key), value in expected.items():
        assert number(numbers, Statistic.MAPE, scope, key, "baseline") == pytest.approx(value)


def test_numbers_are_aggregated_by_gpu_where_there_are_several():
    rows = [*pair("a", -40, -20, hardware="old"), *pair("b", -20, -20, hardware="new")]
    numbers = numbers_of(Scores(rows), ARMS, [TPOT])
    assert number(numbers, Statistic.MAPE, Scope.HARDWARE, "old", "baseline") == pytest.approx(40.0)
    assert number(numbers, Statistic.SIGNED_ERROR, Scope.HARDWARE, "new", "treatment") == pytest.approx(-20.0)
    on_one = numbers_of(Scores(pair("a", -40, -20, hardware="old")), ARMS, [TPOT])
    assert Scope.HARDWARE not in {found.scope for found in on_one}


def test_a_gain_is_the_error_of_the_first_arm_minus_the_error_of_the_other():
    numbers = numbers_of(Scores([*pair("a", -40, -30), *pair("b", -20, +30)]), ARMS, [TPOT])
    assert number(numbers, Statistic.DELTA, Scope.EXPERIMENT, "a") == pytest.approx(10.0)
    assert number(numbers, Statistic.DELTA, Scope.EXPERIMENT, "b") == pytest.approx(-10.0)
    assert number(numbers, Statistic.DELTA) == pytest.approx(0.0)


def test_the_first_arm_has_no_gain_over_itself():
    numbers = numbers_of(Scores(pair("a", -40, -30)), ARMS, [TPOT])
    assert {n.arm for n in numbers if n.statistic is Statistic.DELTA} == {"treatment"}


@pytest.mark.parametrize("values", [[1e16, 1.0, -1e16], [1e16, -1e16, 1.0], [1.0, 1e16, -1e16]])
def test_the_mean_does_not_depend_on_the_order_of_the_values(values):
    """Adding from left to right would lose the 1 beside the 1e16."""
    assert mean(values) == 1 / 3


def test_the_same_rows_in_another_order_give_the_same_text():
    rows = [row for i in range(6) for row in pair(f"e{i}", -40 - i / 7, -30 - i / 3)]
    text = numbers_text(numbers_of(Scores(rows), ARMS, [TPOT]))
    assert numbers_text(numbers_of(Scores(rows[::-1]), ARMS, [TPOT])) == text


def test_load_points_are_aggregated_apart_and_their_mean_says_that_it_is_over_all():
    rows = [error_row(load_point="low", error_pct=-10), error_row(load_point="high", error_pct=-50)]
    numbers = numbers_of(Scores(rows), ("baseline",), [TPOT])
    overall = {n.load_point: n.value for n in numbers if (n.scope, n.statistic) == (Scope.OVERALL, Statistic.MAPE)}
    assert overall == {"low": pytest.approx(10.0), "high": pytest.approx(50.0), "all": pytest.approx(30.0)}


def test_load_points_are_aggregated_by_strategy():
    rows = [
        error_row(load_point="a", strategy="constant", error_pct=-10),
        error_row(load_point="b", strategy="constant", error_pct=-20),
        error_row(load_point="c", strategy="synchronous", error_pct=-60),
    ]
    numbers = numbers_of(Scores(rows), ("baseline",), [TPOT])
    found = {n.key: n.value for n in numbers if (n.scope, n.statistic) == (Scope.STRATEGY, Statistic.MAPE)}
    assert found == {"constant": pytest.approx(15.0), "synchronous": pytest.approx(60.0)}
    assert {n.load_point for n in numbers if n.scope is Scope.STRATEGY} == {"all"}


def test_gains_along_tp_need_one_model_and_workload_at_two_or_more_tp():
    rows = [
        *pair("a1", -40, -26, tensor_parallel=1),
        *pair("a4", -40, -34, tensor_parallel=4),
        *pair("a2", -40, -30, tensor_parallel=2),
        *pair("b1", -40, -30, tensor_parallel=1, model="other"),
    ]
    (series,) = Scores(rows).tp_series(TPOT, "treatment", "baseline")
    assert series.label == "small/chat"
    assert series.tensor_parallel == (1, 2, 4)
    assert series.values == pytest.approx((14.0, 10.0, 6.0))


# --- rows without a number --------------------------------------------------------------------------


def test_a_row_without_a_number_enters_no_mean_and_is_kept():
    rows = [error_row(experiment="a", error_pct=-40), unscored_row(experiment="b")]
    scores = Scores(rows)
    assert scores.mape("baseline", TPOT) == pytest.approx(40.0)
    assert [row.experiment for row in scores.unscored()] == ["b"]


def test_a_mean_over_nothing_is_none_not_zero():
    scores = Scores([unscored_row()])
    assert scores.mape("baseline", TPOT) is None
    assert numbers_of(scores, ARMS, [TPOT]) == ()


def test_an_experiment_scored_on_one_arm_only_has_no_gain_but_keeps_its_error():
    rows = [*pair("a", -40, -30), unscored_row("baseline", "b"), error_row("treatment", "b", -90)]
    numbers = numbers_of(Scores(rows), ARMS, [TPOT])
    assert number(numbers, Statistic.DELTA) == pytest.approx(10.0)
    assert number(numbers, Statistic.MAPE) == pytest.approx(60.0)
    deltas = [n.key for n in numbers if n.statistic is Statistic.DELTA and n.scope is Scope.EXPERIMENT]
    assert deltas == ["a"]


RESULT = {
    "method": "m",
    "arm": "baseline",
    "experiment": "one",
    "load_point": "synchronous",
    "workload": "chat",
    "family": "Small",
    "model": "small",
    "tensor_parallel": 1,
    "status": "ok",
    "reason": "",
}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"predicted": None, "measured": 5.0}, "no completed request"),
        ({"predicted": 5.0, "measured": None}, "the ground truth does not have"),
        ({}, "no completed request"),
    ],
)
def test_a_missing_side_becomes_a_status_with_a_reason_and_never_a_zero(entry, words):
    (row,) = error_rows([RESULT | {"metrics": {"tpot_mean": entry}}], [TPOT])
    assert row.status is RowStatus.NOT_MEASURED
    assert words in row.reason
    assert not row.is_scored


def test_an_unsupported_run_keeps_the_reason_it_was_given_for_every_metric():
    line = RESULT | {"status": "unsupported", "reason": "no table for this shape", "metrics": {}}
    rows = list(error_rows([line], list(MEANS)))
    assert [row.status for row in rows] == [RowStatus.UNSUPPORTED] * 3
    assert {row.reason for row in rows} == {"no table for this shape"}


# --- files ------------------------------------------------------------------------------------------


def test_every_row_reaches_errors_csv_and_what_does_not_exist_is_empty():
    rows = [error_row(error_pct=-25), unscored_row(experiment="two", reason='a comma, and a "quote"')]
    table = list(csv.DictReader(io.StringIO(errors_text(rows))))
    assert tuple(table[0]) == ERROR_COLUMNS
    assert [row["experiment"] for row in table] == ["one", "two"]
    assert (table[0]["predicted"], table[0]["signed_error_pct"], table[0]["status"]) == (
        "75.000000",
        "-25.000000",
        "ok",
    )
    assert (table[1]["predicted"], table[1]["measured"], table[1]["signed_error_pct"]) == ("", "100.000000", "")
    assert (table[1]["status"], table[1]["reason"]) == ("unsupported", 'a comma, and a "quote"')


def test_numbers_csv_has_the_agreed_columns_units_and_unique_sorted_rows():
    rows = [*pair("a", -40, -30), *pair("b", -20, -10, workload="code")]
    text = numbers_text(numbers_of(Scores(rows), ARMS, [TPOT]))
    table = list(csv.DictReader(io.StringIO(text)))
    assert tuple(table[0]) == NUMBER_COLUMNS
    identities = [tuple(value for key, value in row.items() if key != "value") for row in table]
    assert len(set(identities)) == len(identities)
    assert identities == sorted(identities)
    units = {(row["statistic"], row["unit"]) for row in table}
    assert units == {
        ("predicted", "ms"),
        ("measured", "ms"),
        ("mape", "pct"),
        ("signed_error", "pct"),
        ("delta", "pp"),
    }
    assert text.endswith("\n")
    assert "\r" not in text
