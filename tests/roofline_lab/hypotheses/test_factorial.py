"""A factorial design says what each correction is worth, and what several are worth beside each for itself."""

from __future__ import annotations

import pytest

from roofline_lab.hypotheses.factorial import arms_of, effect_pp
from roofline_lab.vocabulary import CriterionResult
from simulator.errors import ConfigError
from tests.roofline_lab.builders import error_row
from tests.roofline_lab.hypotheses.test_criterion_kinds import judged

# Errors in percent: each of the first two takes off six, both together only two; the third does nothing.
ERRORS = {"none": 20, "a": 14, "b": 14, "c": 20, "a_b": 18, "a_c": 14, "b_c": 14, "a_b_c": 18}
DESIGN = {"kind": "effect", "among": ["a", "b", "c"]}


def rows(experiments=5, without=(), **shift):
    """Return the rows of every arm, each experiment a little worse than the one before."""
    return [
        error_row(arm, f"e{place}", -(error + place + shift.get(arm, 0)))
        for place in range(experiments)
        for arm, error in ERRORS.items()
        if arm not in without
    ]


def test_a_design_has_an_arm_for_every_selection_of_its_factors():
    assert arms_of(["a", "b"]) == ("none", "a", "b", "a_b")
    assert len(arms_of("abcd")) == 16
    assert sorted(arms_of("abc")) == sorted(ERRORS)


@pytest.mark.parametrize(
    ("factors", "effect"),
    [("a", (6 + 6 - 4 - 4) / 4), ("b", 1.0), ("c", 0.0), ("ab", (-4 - 6) / 2), ("ac", 0.0), ("abc", 0.0)],
)
def test_an_effect_is_a_mean_gain_and_an_interaction_half_of_how_much_it_grows(factors, effect):
    assert effect_pp(tuple(factors), ERRORS) == pytest.approx(effect)


def test_corrections_that_are_worth_less_together_do_not_add_up():
    found = judged(rows(), **DESIGN, factors=["a", "b"], within_pp=2)
    assert (found.result, found.observed) == (CriterionResult.FAIL, pytest.approx(-5.0))
    assert (found.threshold, found.margin) == (2.0, pytest.approx(-3.0))
    assert found.statement.startswith("TPOT interaction of a x b, over all selections of the other factors, is within")
    assert found.detail.startswith("from -5.0 to -5.0 pp, n=5")
    assert found.interval is not None


def test_a_correction_is_worth_at_least_what_was_asked_on_average_over_the_others():
    assert judged(rows(6), **DESIGN, factors=["a"], at_least_pp=0.5).result is CriterionResult.PASS
    assert judged(rows(6), **DESIGN, factors=["a"], at_least_pp=1.5).result is CriterionResult.FAIL


def test_an_experiment_that_one_arm_cannot_predict_has_no_effect():
    found = judged(
        [row for row in rows() if (row.arm, row.experiment) != ("a_b", "e0")], **DESIGN, factors=["a"], at_least_pp=1
    )
    assert "pp, n=4" in found.detail
    assert (
        judged(rows(without=("a_b_c",)), **DESIGN, factors=["a"], at_least_pp=1).result is CriterionResult.NOT_MEASURED
    )


@pytest.mark.parametrize(
    ("factors", "among"), [(["a", "z"], ["a", "b"]), (["a", "a"], ["a", "b"]), (["a"], ["a", "a"])]
)
def test_an_effect_is_of_factors_of_the_design_named_once(factors, among):
    with pytest.raises(ConfigError, match="factors: name each once, of those in among"):
        judged(rows(), kind="effect", factors=factors, among=among, within_pp=1)


def test_a_design_that_lacks_an_arm_is_refused(project):
    def lack(spec):
        spec["arms"].pop("h2b_h4")

    message = project.refusal(lack, "hypotheses/h34_factorial/hypothesis.yaml")
    assert "criteria.bandwidth_and_overhead_add_up: unknown arm 'h2b_h4'" in message


def test_tables_show_the_arms_without_the_other_factors(lab):
    shown = lab.hypotheses["h34_factorial"].shown_arms
    assert shown == ("none", "h1", "h2b", "h3", "h4", "h1_h2b", "h1_h2b_h3_h4")
