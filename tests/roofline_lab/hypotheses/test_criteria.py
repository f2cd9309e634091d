"""Criteria fixed in advance are judged by code: passed, failed or not measured, with the margin."""

from __future__ import annotations

import pytest

from roofline_lab.hypotheses.criteria import Criterion
from roofline_lab.scoring.scores import Scores
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import CriterionResult
from simulator.errors import ConfigError
from simulator.validation import StrictModel, parse
from tests.roofline_lab.builders import error_row, pair, unscored_row


class Holder(StrictModel):
    """A record with one criterion, as a hypothesis has many."""

    criterion: Criterion


def criterion(**keys):
    """Build a criterion as a file would."""
    return parse(Holder, {"criterion": {"id": "c", **keys}}, source="test").criterion


def judged(keys, rows):
    """Evaluate a criterion on rows with a small bootstrap."""
    return criterion(**keys).evaluate(Scores(rows), Uncertainty(200, 95.0, 1))


IMPROVEMENT = {"kind": "improvement", "at_least_pp": 3.0}
ORDER = {"kind": "improvement_order", "groups": ["chat", "code"]}
TREND = {"kind": "trend", "by": "tensor_parallel", "expect": "decreasing"}


def at_tp(*gains, model="small", workload="chat"):
    """Return the rows of one model whose gains at TP 1, 2, 4 are `gains`."""
    rows = []
    for tensor_parallel, gain in zip((1, 2, 4), gains, strict=False):
        rows += pair(
            f"{model}-{workload}-{tensor_parallel}",
            -40,
            -40 + gain,
            tensor_parallel=tensor_parallel,
            model=model,
            workload=workload,
        )
    return rows


def test_a_gain_along_tp_is_told_for_every_gpu_and_over_all_load_points():
    """A point that took the place of another one would make a trend of whatever came last."""
    rows = [
        row
        for gpu, shift in (("h100-sxm", 0), ("b200-sxm", 10))
        for tp in (1, 2)
        for point, gain in (("c4", 3 * tp), ("c64", tp))
        for row in pair(f"{gpu}-{tp}", -40, -40 + gain + shift, hardware=gpu, tensor_parallel=tp, load_point=point)
    ]
    found = {series.label: series.values for series in Scores(rows).tp_series("tpot_mean", "treatment", "baseline")}
    assert found == {
        "small/h100-sxm/chat": pytest.approx((2, 4)),
        "small/b200-sxm/chat": pytest.approx((12, 14)),
    }
    assert judged(TREND | {"expect": "increasing"}, rows).result is CriterionResult.PASS


# --- improvement ------------------------------------------------------------------------------------


def test_an_improvement_is_the_mean_gain_over_experiments_with_its_margin():
    found = judged(IMPROVEMENT, [*pair("a", -40, -30), *pair("b", -40, -36)])
    assert found.result is not CriterionResult.FAIL
    assert found.observed == pytest.approx(7.0)
    assert (found.threshold, found.margin) == (3.0, pytest.approx(4.0))
    assert found.detail.partition(";")[0] == "2 of 2 experiments improve, from +4.0 to +10.0 pp"


@pytest.mark.parametrize(
    ("after_pct", "expected"),
    [(-37.0, CriterionResult.UNDECIDED), (-37.5, CriterionResult.FAIL), (-36.5, CriterionResult.UNDECIDED)],
)
def test_an_improvement_of_exactly_the_threshold_passes(after_pct, expected):
    rows = pair("a", -40.0, after_pct, predicted=None)
    rows = [error_row("baseline", "a", predicted=60.0), error_row("treatment", "a", predicted=100.0 + after_pct)]
    assert judged(IMPROVEMENT, rows).result is expected


def test_overshooting_is_no_improvement():
    found = judged(IMPROVEMENT, pair("a", -10, +30))
    assert found.result is CriterionResult.FAIL
    assert found.observed == pytest.approx(-20.0)
    assert found.detail.startswith("0 of 1 experiment improve")


def test_an_unchanged_experiment_is_not_counted_as_improved():
    found = judged(IMPROVEMENT, [*pair("a", -40, -20), *pair("b", -40, -40)])
    assert found.detail.startswith("1 of 2 experiments improve")


def test_an_improvement_nobody_measured_is_neither_passed_nor_failed():
    found = judged(IMPROVEMENT, [unscored_row("baseline"), error_row("treatment")])
    assert found.result is CriterionResult.NOT_MEASURED
    assert (found.observed, found.margin, found.interval) == (None, None, None)
    assert "no experiment was scored on both arms" in found.detail


def test_one_experiment_has_no_interval():
    assert judged(IMPROVEMENT, pair("a", -40, -30)).interval is None


def test_the_interval_lies_around_what_was_observed():
    found = judged(
        IMPROVEMENT, [row for i, gain in enumerate((10, 4, 20, 8)) for row in pair(f"e{i}", -40, -40 + gain)]
    )
    assert found.interval.low < found.observed < found.interval.high


# --- order ------------------------------------------------------------------------------------------


def groups(chat, code):
    rows = [row for i, gain in enumerate(chat) for row in pair(f"chat{i}", -40, -40 + gain, workload="chat")]
    return rows + [row for i, gain in enumerate(code) for row in pair(f"code{i}", -40, -40 + gain, workload="code")]


def test_an_order_compares_the_mean_gains_of_two_groups():
    found = judged(ORDER, groups([12, 10], [8, 8]))
    assert found.result is CriterionResult.UNDECIDED
    assert found.observed == pytest.approx(3.0)
    assert found.detail.startswith("chat +11.0 pp (n=2), code +8.0 pp (n=2)")


def test_an_order_fails_the_other_way_round():
    assert judged(ORDER, groups([8, 8], [12, 10])).result is CriterionResult.FAIL


def test_equal_gains_are_no_order():
    found = judged(ORDER, groups([10, 10], [10, 10]))
    assert found.result is CriterionResult.FAIL
    assert found.observed == 0.0


def test_a_difference_of_exactly_the_threshold_is_not_more_than_it():
    rows = groups([12], [10])
    observed = judged(ORDER, rows).observed
    assert judged({**ORDER, "more_than_pp": observed}, rows).result is CriterionResult.FAIL
    assert judged({**ORDER, "more_than_pp": observed - 1e-9}, rows).result is CriterionResult.UNDECIDED


def test_an_order_within_noise_says_so():
    within = judged(ORDER, groups([0, 20, 10, 12], [9, 8, 10, 9]))
    assert within.result is CriterionResult.UNDECIDED
    assert within.detail.endswith("; not distinguishable from zero")
    beyond = judged(ORDER, groups([20, 21, 22, 23], [1, 2, 3, 4]))
    assert beyond.result is CriterionResult.PASS
    assert "distinguishable" not in beyond.detail


def test_a_failure_stays_one_however_little_it_can_be_told_from_the_threshold():
    found = judged(ORDER, groups([9, 8, 10, 8.5], [0, 20, 10, 12]))
    assert found.result is CriterionResult.FAIL
    assert found.detail.endswith("; not distinguishable from zero")


@pytest.mark.parametrize(("chat", "code"), [([], [8]), ([8], []), ([], [])])
def test_an_order_without_one_of_its_groups_is_not_measured(chat, code):
    assert judged(ORDER, groups(chat, code)).result is CriterionResult.NOT_MEASURED


def test_an_order_can_be_by_model_family():
    rows = [*pair("a", -40, -20, family="Small"), *pair("b", -40, -30, family="Big")]
    found = judged({**ORDER, "by": "family", "groups": ["Small", "Big"]}, rows)
    assert found.observed == pytest.approx(10.0)


# --- trend ------------------------------------------------------------------------------------------


def test_a_trend_holds_when_every_step_goes_its_way():
    found = judged(TREND, at_tp(14, 10, 6))
    assert found.result is CriterionResult.PASS
    assert found.observed == pytest.approx(4.0)
    assert found.detail == "small/chat: +14.0, +10.0, +6.0 pp"


def test_a_trend_fails_by_one_wrong_step_in_one_series():
    found = judged(TREND, [*at_tp(14, 10, 6), *at_tp(9, 4, 5, workload="code")])
    assert found.result is CriterionResult.FAIL
    assert found.observed == pytest.approx(-1.0)


def test_a_flat_step_is_no_trend():
    rows = [row for row in at_tp(10, 10)]
    assert judged(TREND, rows).result is CriterionResult.FAIL


def test_an_increasing_trend_is_the_mirror_image():
    increasing = {**TREND, "expect": "increasing"}
    assert judged(increasing, at_tp(6, 10, 14)).result is CriterionResult.PASS
    assert judged(increasing, at_tp(14, 10, 6)).result is CriterionResult.FAIL


def test_a_trend_at_a_single_tp_is_not_measured():
    assert judged(TREND, at_tp(14)).result is CriterionResult.NOT_MEASURED


def test_an_unscored_step_does_not_join_its_neighbours_into_a_failure():
    rows = at_tp(14, 10, 6)
    rows[3] = unscored_row("treatment", rows[3].experiment, tensor_parallel=2)
    found = judged(TREND, rows)
    assert found.result is CriterionResult.PASS
    assert found.observed == pytest.approx(8.0)


# --- the record -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "improvement"},
        {"kind": "improvement", "at_least_pp": float("nan")},
        {"kind": "improvement", "at_least_pp": "3"},
        {"kind": "improvement_order", "groups": ["chat"]},
        {"kind": "improvement_order", "groups": ["a", "b"], "more_than_pp": -1.0},
        {"kind": "improvement_order", "groups": ["a", "b"], "by": "tensor_parallel"},
        {"kind": "trend", "by": "workload", "expect": "decreasing"},
        {"kind": "trend", "by": "tensor_parallel", "expect": "falling"},
    ],
)
def test_a_criterion_that_could_not_be_judged_is_refused(wrong):
    with pytest.raises(ConfigError):
        criterion(**wrong)


def test_several_load_points_of_one_experiment_are_not_called_experiments():
    rows = [*pair("sweep", -40, -30, load_point="low"), *pair("sweep", -40, -30, load_point="high")]
    keys = {**IMPROVEMENT, "metric": "tpot_mean", "of": "treatment", "over": "baseline"}
    assert judged(keys, rows).detail.startswith("2 of 2 load points improve")
    assert judged(keys, pair("one", -40, -30)).detail.startswith("1 of 1 experiment improve")


def test_a_direction_that_so_few_experiments_cannot_tell_says_so():
    rows = [*pair("one", -40, -30, workload="chat"), *pair("two", -40, -31, workload="code")]
    keys = {**ORDER, "by": "workload", "metric": "tpot_mean", "of": "treatment", "over": "baseline"}
    found = judged(keys, rows)
    assert found.result is CriterionResult.UNDECIDED
    assert "cannot be told from zero: 1 experiment, and an interval needs 4" in found.detail
