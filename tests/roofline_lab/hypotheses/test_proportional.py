"""A result that is arithmetic is called that: constant multiples are found, explained, and not invented."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline_lab.hypotheses.criteria import Criterion
from roofline_lab.hypotheses.proportional import explain_criteria, explained_pct, proportional_arms
from roofline_lab.report.tables import explained_criteria, explained_gains, proportional
from roofline_lab.scoring.scores import Scores
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import CriterionResult, Metric
from simulator.validation import StrictModel, parse
from tests.roofline_lab.builders import error_row

TPOT = Metric.TPOT_MEAN
UNLIKE = {"baseline": {"a": 1}, "treatment": {"a": 2}}
BANDWIDTH = {"baseline": {"bandwidth_efficiency": None}, "treatment": {"bandwidth_efficiency": 0.8}}


class Holder(StrictModel):
    """A record with one criterion."""

    criterion: Criterion


def scaled(errors_pct, factor, **changes):
    """Return rows of a baseline with these errors and a treatment that predicts `factor` times as much."""
    rows = []
    for index, error in enumerate(errors_pct):
        predicted = 100.0 + error
        rows += [
            error_row("baseline", f"e{index}", predicted=predicted, **changes),
            error_row("treatment", f"e{index}", predicted=factor * predicted, **changes),
        ]
    return rows


def only(rows, configurations=None):
    found = proportional_arms(Scores(rows), configurations or UNLIKE, [TPOT])
    assert len(found) == 1
    return found[0]


@given(st.lists(st.floats(-80, 200), max_size=5), st.floats(0.5, 2.0))
@settings(max_examples=60, deadline=None)
def test_a_constant_multiple_explains_all_of_its_gains_whatever_the_signs(errors, factor):
    found = only(scaled([-60.0, -20.0, 30.0, *errors], factor))
    assert found.is_constant_multiple
    assert found.scale == pytest.approx(factor)
    assert [row.gain for row in found.rows] == pytest.approx([row.if_proportional for row in found.rows], abs=1e-6)


def test_too_fast_before_and_after_the_gain_is_factor_minus_one_times_what_is_left_of_100():
    found = only(scaled([-50.0, -30.0, -20.0], 1.2))
    assert [row.if_proportional for row in found.rows] == pytest.approx([0.2 * 50.0, 0.2 * 70.0, 0.2 * 80.0])
    assert found.explained_pct == pytest.approx(100.0)


def test_an_arm_that_helps_some_experiments_more_is_no_constant_multiple():
    rows = [
        *scaled([-60.0, -50.0, -40.0], 1.2),
        error_row("baseline", "other", predicted=50.0),
        error_row("treatment", "other", predicted=70.0),
    ]
    found = only(rows)
    assert not found.is_constant_multiple
    assert found.spread_pct > 5


def test_the_factor_follows_from_the_options_where_only_bandwidth_differs():
    found = only(scaled([-50.0, -30.0], 1.251), BANDWIDTH)
    assert (found.scale, found.is_computed) == (1.25, True)
    assert not only(scaled([-50.0, -30.0], 1.5), BANDWIDTH).is_computed


def test_an_arm_that_changes_nothing_is_a_multiple_of_one_and_has_nothing_to_explain():
    found = only(scaled([-50.0, -30.0], 1.0))
    assert (found.scale, found.spread_pct, found.explained_pct) == (1.0, 0.0, None)


def test_a_share_explained_is_never_negative():
    assert explained_pct([(1.0, 5.0)]) == 0.0
    assert explained_pct([(10.0, 9.0), (10.0, 11.0)]) == pytest.approx(90.0)


@pytest.mark.parametrize(
    ("rows", "points"),
    [
        (scaled([-50.0], 1.2), 1),
        (scaled([-50.0, -30.0], 1.2), 2),
        (scaled([-50.0, -50.3, -49.8, -50.2], 1.2), 1),
        ([row for i in range(5) for row in scaled([-50.0 + 9 * i], 1.2, load_point=str(i))], 1),
    ],
    ids=["one experiment", "two", "four alike", "load points of one experiment"],
)
def test_a_factor_is_not_told_from_fewer_than_three_different_experiments(rows, points):
    found = only(rows)
    assert (found.points, found.spread_pct, found.is_constant_multiple) == (points, pytest.approx(0.0), False)
    assert judge(rows, kind="improvement", at_least_pp=1) == ()
    assert explained_gains([found], [TPOT]) == ""
    assert f"cannot be told from {points} different experiment" in proportional([found])


def judge(rows, **keys):
    criterion = parse(Holder, {"criterion": {"id": "c", **keys}}, source="test").criterion
    scores = Scores(rows)
    found = proportional_arms(scores, UNLIKE, [TPOT])
    return explain_criteria([criterion], scores, found, "baseline", Uncertainty(100, 95.0, 1))


def test_a_contrast_between_groups_that_the_factor_gives_is_said_to_follow_from_it():
    rows = scaled([-30.0, -35.0], 1.2, workload="chat") + [
        row for row in scaled([-60.0, -60.0, -60.0, -65.0], 1.2, workload="code") if row.experiment in ("e2", "e3")
    ]
    (found,) = judge(rows, kind="improvement_order", groups=["chat", "code"])
    assert found.observed.result is CriterionResult.UNDECIDED
    assert found.is_explained
    assert found.if_proportional.observed == pytest.approx(found.observed.observed)


def test_criteria_on_arms_that_are_no_multiple_are_left_alone():
    rows = [
        *scaled([-60.0, -50.0, -40.0], 1.2),
        error_row("baseline", "other", predicted=50.0),
        error_row("treatment", "other", predicted=90.0),
    ]
    assert judge(rows, kind="improvement", at_least_pp=1) == ()


# --- H1 -----------------------------------------------------------------------------------------


def test_the_gain_of_h1_is_the_factor_minus_one_times_100_minus_the_baseline_error(h1_report):
    """With the last step counted once and one definition on both sides nothing is left to explain."""
    corrected = h1_report.headline
    tpot = next(identity for identity in corrected.proportional if identity.metric is TPOT)
    assert tpot.is_constant_multiple
    assert (tpot.is_computed, tpot.scale) == (True, pytest.approx(1 / 0.82))
    for row in corrected.scores.select("baseline", TPOT):
        gain = next(one.gain for one in tpot.rows if one.experiment == row.experiment)
        assert gain == pytest.approx((1 / 0.82 - 1) * (100 - row.ape_pct), abs=0.01)


def test_every_published_criterion_of_h1_follows_from_the_factor(h1_report):
    published = h1_report.methods[0]
    assert [criterion.observed.id for criterion in published.explained] == [
        "tpot_improves",
        "chat_more_than_code",
        "tp_scaling",
    ]
    assert all(criterion.is_explained for criterion in published.explained)
    tpot = next(identity for identity in published.proportional if identity.metric is TPOT)
    assert tpot.explained_pct > 98
    assert "follows from the factor" in explained_criteria(published.explained)


def test_the_first_token_of_h1_is_no_constant_multiple_under_either_method(h1_report):
    for method in h1_report.methods:
        ttft = next(identity for identity in method.proportional if identity.metric is Metric.TTFT_MEAN)
        assert not ttft.is_constant_multiple


def test_an_arm_compared_with_other_measured_figures_is_no_multiple_of_the_reference():
    """Its gain comes from the other side of the comparison, which a factor on predictions says nothing about."""
    rows = [error_row("baseline", "a", measured=100.0), error_row("treatment", "a", predicted=90.0, measured=90.0)]
    assert proportional_arms(Scores(rows), UNLIKE, [TPOT]) == ()


def test_an_arm_that_changes_no_gain_leaves_nothing_to_explain_experiment_by_experiment():
    assert explained_gains(proportional_arms(Scores(scaled([-10.0, 5.0], 1.0)), UNLIKE, [TPOT]), [TPOT]) == ""
