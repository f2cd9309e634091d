"""Comparing two snapshots: every row, criterion and report has exactly one fate."""

from __future__ import annotations

import pytest

from roofline_lab.regression.difference import Flip, compare, natural
from roofline_lab.regression.noise import Fate, Figure
from roofline_lab.regression.reading import RIGHT, WRONG, GroupKey, NumberKey, Report, Ruling
from tests.roofline_lab.regression.small import H1, METRIC, key, report, scored, snapshot

HERE = GroupKey("corrected", "treatment", METRIC)
SATURATED = {key("two"): "saturated"}


def compared(before, after, threshold_pp=0.5, **figures):
    return compare(snapshot(before, **figures), snapshot(after, **figures), threshold_pp)


def only_group(before, after, **keys):
    (group,) = compared(before, after, **keys).groups
    return group


def ruled(status="Confirmed", method="corrected", **criteria):
    return report({"one": 110.0}, rulings={method: Ruling(status, criteria)})


# --- means ------------------------------------------------------------------------------------


def test_the_change_of_a_mean_is_after_minus_before():
    group = only_group(report({"one": 110.0, "two": 120.0}), report({"one": 104.0, "two": 122.0}))
    assert (group.before, group.after, group.change_pp) == pytest.approx((15.0, 13.0, -2.0))
    assert group.counts == {Fate.BETTER: 1, Fate.WORSE: 1}
    assert group.same_rows


def test_the_mean_a_report_gives_itself_comes_before_that_of_its_rows():
    before = report({"one": 110.0, "two": 120.0}, means={HERE: 10.0})
    group = only_group(before, report({"one": 110.0, "two": 130.0}, means={HERE: 12.0}))
    assert (group.before, group.after, group.change_pp) == (10.0, 12.0, 2.0)


def test_a_row_on_one_side_alone_is_listed_and_enters_no_change():
    group = only_group(report({"one": 110.0, "two": 150.0}), report({"one": 112.0, "three": 100.0}))
    assert group.counts == {Fate.WORSE: 1, Fate.GONE: 1, Fate.NEW: 1}
    assert (group.before, group.after) == pytest.approx((30.0, 6.0))
    assert group.change_pp == pytest.approx(2.0)
    assert not group.same_rows


def test_a_row_that_lost_its_number_is_no_row_that_is_gone():
    before, after = report({"one": 110.0, "two": 110.0}), report({"one": 110.0}, unscored=SATURATED)
    found = compared(before, after)
    assert found.groups[0].counts == {Fate.SAME: 1, Fate.LOST: 1}
    assert [(state.key, state.before, state.after) for state in found.states] == [(key("two"), "ok", "saturated")]
    back = compared(after, before)
    assert back.groups[0].counts == {Fate.SAME: 1, Fate.NEW: 1}
    assert [(state.before, state.after) for state in back.states] == [("saturated", "ok")]


def test_another_reason_to_have_no_number_is_a_state_that_changed():
    before = report({"one": 110.0}, unscored={key("two"): "not_measured"})
    found = compared(before, report({"one": 110.0}, unscored=SATURATED))
    assert [(state.before, state.after) for state in found.states] == [("not_measured", "saturated")]
    assert not found.is_empty
    assert found.count(*(fate for fate in Fate if fate not in (Fate.SAME, Fate.UNSCORED))) == 0


def test_a_saturation_no_longer_foreseen_is_worse():
    right, wrong = (
        report({"one": 110.0}, unscored={key("two", metric="saturated"): state}) for state in (RIGHT, WRONG)
    )
    found = compared(right, wrong)
    assert (found.count(Fate.WORSE), found.count(Fate.BETTER), len(found.states)) == (1, 0, 1)
    assert [group.is_on_one_side for group in found.groups] == [False, False]
    assert compared(wrong, right).count(Fate.BETTER) == 1
    assert compared(wrong, wrong).count(Fate.SAME) == 2


def test_a_mean_without_rows_on_one_side_has_no_change():
    group = only_group(report({"one": 110.0}), report(rows={}, unscored={key("one"): "unsupported"}))
    assert (group.after, group.change_pp, group.p_value) == (None, None, None)
    assert not group.is_on_one_side


def test_an_arm_that_is_new_is_on_one_side_and_its_rows_are_no_states():
    rows = {key("one"): scored(110.0), key("one", "other"): scored(105.0)}
    found = compared(report({"one": 110.0}), Report(H1, rows=rows))
    assert [group.is_on_one_side for group in found.groups] == [True, False]
    assert found.states == ()
    assert found.count(Fate.NEW) == 1


def test_the_p_value_is_over_experiments_not_over_load_points():
    def rows(factor):
        return {key("one", load_point=str(point)): scored(110.0 + factor * point) for point in range(1, 8)}

    assert only_group(Report(H1, rows=rows(0)), Report(H1, rows=rows(1))).p_value is None
    before = report({str(number): 110.0 for number in range(5)})
    after = report({str(number): 112.0 + number for number in range(5)})
    assert only_group(before, after).p_value == pytest.approx(2 / 2**5)


def test_noise_is_what_the_ground_truth_says():
    coarse = {"figures": {key("one").measurement: Figure(100.0, half_digit=5.0)}}
    before, after = report({"one": 102.0}), report({"one": 96.0})
    assert only_group(before, after).counts == {Fate.WORSE: 1}
    assert only_group(before, after, **coarse).counts == {Fate.SAME: 1}


def test_a_remeasured_row_is_counted_as_such():
    before = Report(H1, rows={key(): scored(110.0, 100.0)})
    found = compared(before, Report(H1, rows={key(): scored(110.0, 105.0)}))
    assert found.groups[0].remeasured == 1
    assert found.count(Fate.BETTER) == 1


# --- verdicts ---------------------------------------------------------------------------------


def test_status_and_criteria_that_differ_are_flips():
    found = compared(ruled("Confirmed", a="PASS", b="PASS"), ruled("Refuted", a="FAIL", b="PASS"))
    expected = [("status", "Confirmed", "Refuted"), ("a", "PASS", "FAIL")]
    assert [(flip.subject, flip.before, flip.after) for flip in found.flips] == expected
    assert found.verdicts_flipped == 2


def test_criteria_and_methods_on_one_side_are_no_flips():
    found = compared(ruled(a="PASS"), ruled(b="FAIL"))
    assert found.flips == (Flip(H1, "corrected", "a", "PASS", None), Flip(H1, "corrected", "b", None, "FAIL"))
    assert found.verdicts_flipped == 0
    methods = compared(ruled(method="old", a="PASS"), ruled(method="new", a="PASS"))
    assert [(flip.method, flip.before, flip.after) for flip in methods.flips] == [
        ("old", "Confirmed", None),
        ("new", None, "Confirmed"),
    ]


def test_a_verdict_that_cannot_be_read_flips_nothing():
    assert compared(ruled(a="PASS"), report({"one": 110.0})).flips == ()


# --- reports and generated points -------------------------------------------------------------


def test_reports_on_one_side_are_new_or_gone_and_enter_no_count():
    found = compare(snapshot(report({"one": 110.0})), snapshot(report({"one": 150.0}, "h2_other")), 0.5)
    assert ([one.name for one in found.new], [one.name for one in found.gone]) == (["h2_other"], [H1])
    assert found.groups == ()


def test_generated_numbers_are_counted_and_the_largest_change_named():
    def values(**found):
        return Report(
            H1,
            values={
                NumberKey("m", "all", "synthetic", "row", name, "step", "value", "us"): v for name, v in found.items()
            },
        )

    (one,) = compared(values(a=1.0, b=100.0, c=5.0, d=7.0), values(a=2.0, b=110.0, c=5.0000001, e=0.0)).values
    assert (one.total, one.changed, one.new, one.gone) == (5, 2, 1, 1)
    assert one.largest is not None
    assert (one.largest[0].key, *one.largest[1:]) == ("a", 1.0, 2.0)


def test_the_same_snapshot_differs_in_nothing():
    one = Report(H1, rows={key(): scored(110.0)}, rulings={"m": Ruling("Confirmed", {"a": "PASS"})})
    assert compared(one, one).is_empty
    assert not compared(one, Report(H1, rows={key(): scored(110.1)}, rulings=one.rulings)).is_empty


def test_hypotheses_come_in_the_order_a_reader_expects():
    assert sorted(["h10_b", "h2b_a", "h2_c", "hg1_d", "h1_e"], key=natural) == [
        "h1_e",
        "h2_c",
        "h2b_a",
        "h10_b",
        "hg1_d",
    ]
