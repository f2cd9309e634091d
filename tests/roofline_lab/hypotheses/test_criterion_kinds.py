"""Every further kind of criterion: what passes, what fails, what was not measured, and by how much."""

from __future__ import annotations

from typing import get_args

import pytest

from roofline_lab.hypotheses import criteria, factorial
from roofline_lab.hypotheses.criteria import Criterion
from roofline_lab.hypotheses.outcome import BaseCriterion
from roofline_lab.hypotheses.synthetic import criteria as synthetic_criteria
from roofline_lab.hypotheses.synthetic.criteria import RowCriterion
from roofline_lab.scoring.scores import Judgement, Scores
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import CriterionResult, Quantity
from simulator.errors import ConfigError
from simulator.validation import StrictModel, parse
from tests.roofline_lab.builders import error_row, pair, unscored_row

PASS, FAIL, NOT_MEASURED = CriterionResult.PASS, CriterionResult.FAIL, CriterionResult.NOT_MEASURED
UNDECIDED = CriterionResult.UNDECIDED


class Holder(StrictModel):
    """A record with one criterion, as a hypothesis has many."""

    criterion: Criterion


def judged(rows, **keys):
    """Evaluate a criterion on rows with a small bootstrap."""
    criterion = parse(Holder, {"criterion": {"id": "c", **keys}}, source="test").criterion
    return criterion.evaluate(Scores(rows), Uncertainty(200, 95.0, 1))


def gains(*values, **changes):
    """Return pairs of rows whose errors fall from 40 % by these percentage points."""
    return [row for i, gain in enumerate(values) for row in pair(f"e{i}", -40, -40 + gain, **changes)]


# --- no row worse than --------------------------------------------------------------------------


@pytest.mark.parametrize(("worst", "expected"), [(-4.9, PASS), (-5.1, FAIL), (3.0, PASS)])
def test_no_row_may_be_worse_than_the_limit_whatever_the_mean(worst, expected):
    found = judged(gains(30, 30, worst), kind="no_row_worse", by_more_than_pp=5)
    assert found.result is expected
    assert found.observed == pytest.approx(worst)
    assert found.margin == pytest.approx(worst + 5)
    assert found.detail.startswith("worst: e2")


def test_robust_variants_stand_beside_a_failed_strict_criterion_and_do_not_decide():
    found = judged(gains(10, 10, 10, 10, -20), kind="no_row_worse", by_more_than_pp=5)
    assert found.result is FAIL
    names = ["median", "20 % trimmed mean", "worst left out", "limit doubled"]
    assert [(check.name, check.result) for check in found.robust] == list(zip(names, [PASS] * 3 + [FAIL], strict=True))
    assert [check.observed for check in found.robust] == pytest.approx([10.0, 10.0, 10.0, -20.0])


def test_a_worst_case_passes_relaxed_where_one_row_alone_fails_it_by_less_than_its_limit():
    found = judged(gains(10, 10, -4, -8.2), kind="no_row_worse", by_more_than_pp=5)
    assert found.result is FAIL
    assert [check.result for check in found.robust] == [PASS, PASS, PASS, PASS]
    two = judged(gains(-6, -8.2), kind="no_row_worse", by_more_than_pp=5)
    assert [check.result for check in two.robust][2:] == [FAIL, PASS]


def test_an_effect_that_vanishes_but_in_one_row_is_said_to():
    found = judged(gains(0.1, 0.2, 3.0), kind="vanishes", less_than_pp=1, where={"workload": ["chat"]})
    assert found.result is FAIL
    assert [(check.name, check.result) for check in found.robust] == [("worst left out", PASS), ("limit doubled", FAIL)]


def test_a_single_row_has_no_worst_that_could_be_left_out():
    assert [check.name for check in judged(gains(1.0), kind="no_row_worse").robust][2:] == ["limit doubled"]


# --- below --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "expected"), [(20.1, UNDECIDED), (20.0, FAIL), (19.9, FAIL)])
def test_an_error_equal_to_the_limit_is_not_below_it(limit, expected):
    rows = [error_row("treatment", "a", 30.0), error_row("treatment", "b", -10.0)]
    found = judged(rows, kind="below", than_pct=limit)
    assert found.result is expected
    assert (found.observed, found.unit) == (pytest.approx(20.0), "pct")
    assert found.margin == pytest.approx(limit - 20.0)


def test_one_arm_is_below_another_only_if_its_mean_error_is():
    assert judged(gains(10, 11, 12, 13, 14, 15), kind="below_arm").result is PASS
    assert judged(gains(10, -4), kind="below_arm").result is UNDECIDED
    assert judged(gains(4, -10), kind="below_arm").result is FAIL
    assert judged(gains(0, 0), kind="below_arm").result is FAIL


# --- vanishes, equivalence ----------------------------------------------------------------------


SYNCHRONOUS = {"load_point": ["synchronous"]}


def vanishing(rows):
    return judged(rows, kind="vanishes", less_than_pp=1, where=SYNCHRONOUS)


def test_an_effect_vanishes_in_a_regime_by_its_size_not_its_sign():
    rows = gains(0.5, -0.3) + gains(20, load_point="throughput")
    assert vanishing(rows).result is PASS
    found = vanishing(gains(-3, -2))
    assert (found.result, found.observed, found.margin) == (FAIL, pytest.approx(3.0), pytest.approx(-2.0))
    assert found.detail == "0 of 2 experiments within it; largest: e0/synchronous -3.00 pp (positive: predicted slower)"


def test_an_effect_that_turns_an_error_into_the_same_of_the_other_sign_has_not_vanished():
    """From 10 % too fast to 10 % too slow no error changes, and every predicted time does."""
    found = vanishing(pair("a", -10, 10) + pair("b", -10, 10.5))
    assert (found.result, found.observed) == (FAIL, pytest.approx(20.5))


def test_an_effect_that_cancels_over_rows_has_not_vanished():
    found = vanishing(gains(5, -5, 4, -4))
    assert (found.result, found.observed) == (FAIL, pytest.approx(5.0))


def test_one_row_in_which_an_effect_does_not_vanish_is_enough():
    assert vanishing(gains(*[0.0] * 20, 1.1)).result is FAIL


def test_an_effect_that_must_vanish_names_where():
    with pytest.raises(ConfigError, match="name the regime"):
        judged(gains(1), kind="vanishes", less_than_pp=1)


def test_a_regime_nobody_measured_is_not_a_vanishing_effect():
    found = judged(gains(0), kind="vanishes", less_than_pp=1, where={"load_point": ["throughput"]})
    assert found.result is NOT_MEASURED


def test_two_arms_are_equivalent_only_with_their_whole_interval():
    assert judged(gains(0.1, -0.1, 0.05, 0, 0.02, -0.04), kind="equivalence", within_pp=1).result is PASS
    assert judged(gains(0.1, -0.1, 0.05, 0), kind="equivalence", within_pp=1).result is UNDECIDED
    few = judged(gains(0.1, -0.1, 0.05), kind="equivalence", within_pp=1)
    assert (few.result, few.detail) == (NOT_MEASURED, "there is no interval: 3 experiments, and an interval needs 4")
    wide = judged(gains(3, -3, 3, -3), kind="equivalence", within_pp=1)
    assert wide.result is FAIL
    assert wide.detail.startswith("mean difference +0.00 pp; observed is the end of the interval")


# --- counts, ratios, signs ----------------------------------------------------------------------


def test_rows_are_counted_that_gain_enough():
    rows = gains(5, 3, -1)
    assert judged(rows, kind="count_of_rows", gaining_at_least_pp=3, at_least=2).result is PASS
    found = judged(rows, kind="count_of_rows", gaining_at_least_pp=3, at_least=3)
    assert (found.result, found.observed, found.margin, found.unit) == (FAIL, 2.0, -1.0, "count")
    assert judged(rows, kind="count_of_rows", gaining_at_least_pp=0, at_most=1).result is FAIL


@pytest.mark.parametrize("bounds", [{}, {"at_least": 1, "at_most": 2}])
def test_a_count_has_exactly_one_bound(bounds):
    with pytest.raises(ConfigError, match="exactly one of at_least and at_most"):
        judged(gains(1), kind="count_of_rows", **bounds)


def test_a_latency_ratio_is_judged_by_its_worst_row():
    rows = pair("a", -50, -40) + pair("b", -50, -45)
    assert judged(rows, kind="latency_ratio", at_least=1.05).result is PASS
    found = judged(rows, kind="latency_ratio", at_most=1.15)
    assert (found.result, found.observed) == (FAIL, pytest.approx(1.2))
    both = judged(rows, kind="latency_ratio", at_least=1.15, at_most=2)
    assert (both.result, both.observed) == (FAIL, pytest.approx(1.1))


def test_the_sign_of_an_error_is_a_prediction_like_any_other():
    sure = [error_row("treatment", f"e{i}", -10.0 - i) for i in range(6)]
    assert judged(sure, kind="sign_of_error", expect="too_fast").result is PASS
    rows = [error_row("treatment", "a", -10.0), error_row("treatment", "b", 4.0)]
    assert judged(rows, kind="sign_of_error", expect="too_fast").result is UNDECIDED
    found = judged(rows, kind="sign_of_error", expect="too_slow")
    assert (found.result, found.detail.partition(";")[0]) == (FAIL, "1 of 2 experiments too slow")


# --- signed gaps --------------------------------------------------------------------------------


def signed(**errors_pct):
    """Return rows of the arm `treatment`, two experiments for each GPU with these signed errors."""
    return [
        error_row("treatment", f"{gpu}-{place}", error, hardware=gpu)
        for gpu, errors in errors_pct.items()
        for place, error in enumerate(errors)
    ]


GAP = {"kind": "signed_gap", "by": "hardware", "groups": ["new", "old"]}


@pytest.mark.parametrize(("new", "expected"), [((-14, -16), UNDECIDED), ((-16, -18), FAIL), ((-4, -2), FAIL)])
def test_two_groups_share_their_error_where_their_signed_means_lie_within_the_limit(new, expected):
    found = judged(signed(new=new, old=(-10, -10)), **GAP, within_pp=5)
    assert found.result is expected
    assert found.observed == pytest.approx(sum(new) / 2 + 10)
    assert (found.threshold, found.margin) == (5.0, pytest.approx(5 - abs(sum(new) / 2 + 10)))


def test_errors_of_opposite_sign_and_equal_size_are_a_gap():
    found = judged(signed(new=(8, 8), old=(-8, -8)), **GAP, within_pp=5)
    assert (found.result, found.observed) == (FAIL, pytest.approx(16.0))
    assert found.detail.startswith("new +8.0 % (n=2), old -8.0 % (n=2)")


def test_a_shared_error_is_decided_by_a_whole_interval_within_the_limit_on_both_sides():
    """A difference of nearly nothing is far from the limit above and as far from the one below."""
    alike = signed(new=(-8, -9, -10, -11), old=(-8, -9, -10, -11))
    assert judged(alike, **GAP, within_pp=5).result is PASS
    assert judged(alike, **GAP, within_pp=1).result is UNDECIDED
    askew = signed(new=(-20, -2, -12, -3), old=(-10, -10, -10, -10))
    found = judged(askew, **GAP, within_pp=4)
    assert (found.result, found.interval.low < -4) == (UNDECIDED, True)


@pytest.mark.parametrize(("new", "expected"), [((-4, -4), UNDECIDED), ((-6, -6), FAIL), ((-20, -20), FAIL)])
def test_a_gap_that_is_asked_for_has_a_direction(new, expected):
    found = judged(signed(new=new, old=(-10, -10)), **GAP, at_least_pp=5)
    assert (found.result, found.margin) == (expected, pytest.approx(sum(new) / 2 + 10 - 5))


def test_a_gap_of_one_experiment_on_either_side_has_no_interval_and_is_judged_all_the_same():
    found = judged(signed(new=(-30,), old=(-10, -10)), **GAP, within_pp=5)
    assert (found.result, found.interval) == (FAIL, None)


def test_a_gap_to_a_group_nobody_measured_is_not_measured():
    assert judged(signed(new=(-30, -30)), **GAP, within_pp=5).result is NOT_MEASURED


@pytest.mark.parametrize("bounds", [{}, {"within_pp": 1, "at_least_pp": 2}])
def test_a_signed_gap_has_exactly_one_bound(bounds):
    with pytest.raises(ConfigError, match="exactly one of within_pp and at_least_pp"):
        judged(signed(new=(1,), old=(1,)), **GAP, **bounds)


# --- train and test -----------------------------------------------------------------------------


def test_a_gap_is_test_minus_train_and_needs_both_sides():
    rows = [error_row("treatment", "a", 10.0, holdout="train"), error_row("treatment", "b", 17.0, holdout="test")]
    found = judged(rows, kind="test_gap", at_most_pp=5)
    assert (found.result, found.observed) == (FAIL, pytest.approx(7.0))
    assert found.detail.partition(";")[0] == "fitting set 10.0 %, test set 17.0 %"
    assert judged(rows[:1], kind="test_gap", at_most_pp=5).result is NOT_MEASURED


def test_a_test_error_far_below_the_train_error_is_a_gap_only_either_way():
    rows = [error_row("treatment", "a", 30.0, holdout="train"), error_row("treatment", "b", 10.0, holdout="test")]
    assert judged(rows, kind="test_gap", at_most_pp=5).result is UNDECIDED
    assert judged(rows, kind="test_gap", at_most_pp=5, either_way=True).result is FAIL


def test_a_gap_is_decided_by_as_many_experiments_on_both_sides_as_an_interval_needs():
    rows = [error_row("treatment", f"a{i}", 30.0 + i, holdout="train") for i in range(4)]
    rows += [error_row("treatment", f"b{i}", 10.0 + i, holdout="test") for i in range(4)]
    found = judged(rows, kind="test_gap", at_most_pp=5)
    assert found.result is PASS
    assert found.interval.low < -20.0 < found.interval.high
    assert judged(rows, kind="test_gap", at_most_pp=20, either_way=True).result is UNDECIDED


def test_a_criterion_on_one_side_sees_no_other_row():
    rows = gains(20, holdout="train") + pair("other", -40, -39, holdout="test")
    found = judged(rows, kind="improvement", at_least_pp=3, side="test")
    assert (found.result, found.observed) == (FAIL, pytest.approx(1.0))
    assert "on the test set" in found.statement


# --- where --------------------------------------------------------------------------------------


def test_a_criterion_can_be_narrowed_to_some_rows():
    rows = gains(10, workload="chat") + pair("x", -40, -39, workload="code")
    found = judged(rows, kind="improvement", at_least_pp=3, where={"workload": ["chat"]})
    assert (found.observed, found.statement[-18:]) == (pytest.approx(10.0), "(at workload chat)")
    assert judged(rows, kind="improvement", at_least_pp=3, where={"except_load_point": ["synchronous"]}).result is (
        NOT_MEASURED
    )


def test_a_criterion_can_be_narrowed_to_gpus():
    rows = gains(10, hardware="h200-sxm") + pair("x", -40, -39, hardware="b200-sxm")
    found = judged(rows, kind="improvement", at_least_pp=3, where={"hardware": ["b200-sxm"]})
    assert (found.result, found.observed) == (FAIL, pytest.approx(1.0))
    assert found.statement.endswith("(at GPU b200-sxm)")


def test_all_other_groups_can_stand_against_one():
    rows = gains(0, load_point="synchronous") + gains(9, load_point="fast") + gains(5, load_point="faster")
    order = {"kind": "improvement_order", "by": "load_point", "groups": ["*", "synchronous"]}
    found = judged(rows, **order)
    assert (found.result, found.observed) == (UNDECIDED, pytest.approx(7.0))
    assert judged(gains(0), **order).result is NOT_MEASURED


@pytest.mark.parametrize(
    "kind",
    [
        {"kind": "no_row_worse"},
        {"kind": "below", "than_pct": 20},
        {"kind": "below_arm"},
        {"kind": "equivalence", "within_pp": 1},
        {"kind": "count_of_rows", "at_least": 1},
        {"kind": "latency_ratio", "at_least": 1},
        {"kind": "sign_of_error", "expect": "too_fast"},
    ],
)
def test_rows_without_a_number_make_no_criterion_pass_or_fail(kind):
    found = judged([error_row("baseline"), unscored_row("treatment")], **kind)
    assert (found.result, found.observed, found.margin) == (NOT_MEASURED, None, None)


@pytest.mark.parametrize(
    ("modules", "union"),
    [((criteria, factorial), Criterion), ((synthetic_criteria,), RowCriterion)],
    ids=["measured", "synthetic"],
)
def test_every_class_of_a_kind_can_be_written_in_a_hypothesis_and_judges(modules, union):
    """A new kind that is not in the union would be refused as unknown, in spite of its class."""
    classes = {found for module in modules for found in vars(module).values() if isinstance(found, type)}
    kinds = {found for found in classes if issubclass(found, BaseCriterion) and "kind" in found.model_fields}
    assert kinds == set(get_args(get_args(union)[0]))
    assert all("evaluate" in vars(found) for found in kinds)


# --- answers about capacity ---------------------------------------------------------------------


def answered(of=(), over=(), quantity=Quantity.CAPACITY_ERROR, **keys):
    """Evaluate a criterion on judgements: one value per server of each arm."""
    values = [("treatment", value, i) for i, value in enumerate(of)]
    values += [("baseline", value, i) for i, value in enumerate(over)]
    judgements = [Judgement(quantity, error_row(arm, f"e{i}"), "ttft", value) for arm, value, i in values]
    criterion = parse(Holder, {"criterion": {"id": "c", "quantity": quantity, **keys}}, source="test").criterion
    return criterion.evaluate(Scores([], judgements), Uncertainty(200, 95.0, 1))


@pytest.mark.parametrize(
    ("keys", "expected", "margin"),
    [
        ({"at_most_pct": 21}, PASS, 1.0),
        ({"at_most_pct": 19}, FAIL, -1.0),
        ({"at_least_pct": 19}, PASS, 1.0),
        ({"at_least_pct": 21}, FAIL, -1.0),
    ],
)
def test_answers_about_capacity_are_held_to_a_bound_from_one_side(keys, expected, margin):
    found = answered(of=[20.0] * 8, kind="capacity", **keys)
    assert (found.result, found.observed, found.unit) == (expected, 20.0, "pct")
    assert found.margin == pytest.approx(margin)
    assert found.detail.startswith("8 answers on 8 servers")


@pytest.mark.parametrize(("quantity", "observed"), [(Quantity.CAPACITY_ERROR, -10.0), (Quantity.VERDICT_RIGHT, 10.0)])
def test_a_gain_is_positive_where_errors_fall_or_shares_of_right_answers_rise(quantity, observed):
    found = answered(of=[30.0] * 8, over=[20.0] * 8, quantity=quantity, kind="capacity_gain")
    assert (found.observed, found.unit) == (observed, "pp")
    assert found.result is (PASS if observed > 0 else FAIL)


def test_a_gain_is_over_what_both_arms_answer():
    assert answered(of=[30.0, 90.0], over=[40.0], kind="capacity_gain").observed == 10.0


@pytest.mark.parametrize("keys", [{"kind": "capacity", "at_most_pct": 1}, {"kind": "capacity_gain"}])
def test_without_an_answer_about_capacity_nothing_was_measured(keys):
    assert answered(**keys).result is NOT_MEASURED


@pytest.mark.parametrize("keys", [{}, {"at_least_pct": 1, "at_most_pct": 2}])
def test_a_bound_on_answers_about_capacity_has_one_side(keys):
    with pytest.raises(ConfigError, match="exactly one of at_least_pct and at_most_pct"):
        answered(kind="capacity", **keys)
