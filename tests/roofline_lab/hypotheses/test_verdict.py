"""The status of a claim follows from its criteria and controls by one rule."""

from __future__ import annotations

import json
from itertools import product

import pytest

from roofline_lab.hypotheses.verdict import DEFAULT_RESOLUTIONS, VERDICT_FILE, judge, verdict_text
from roofline_lab.regression.reading import read_verdict
from roofline_lab.report.findings import render_report
from roofline_lab.scoring.scores import Scores
from roofline_lab.vocabulary import CriterionResult, Resolution, Status
from simulator.errors import ConfigError
from tests.roofline_lab.builders import error_row, outcome, unscored_row
from tests.roofline_lab.regression.pages import read_page
from tests.roofline_lab.regression.small import key

PASS, FAIL, MISSING = CriterionResult.PASS, CriterionResult.FAIL, CriterionResult.NOT_MEASURED
OPEN = CriterionResult.UNDECIDED


def status(decisive, others=(), controls=()):
    """Judge one decisive criterion, others and controls, given by their results."""
    criteria = [outcome("main", decisive, decisive=True)]
    criteria += [outcome(f"other{i}", result) for i, result in enumerate(others)]
    found = judge("m", criteria, [outcome(f"control{i}", result) for i, result in enumerate(controls)], {})
    return found.status


@pytest.mark.parametrize(
    ("decisive", "others", "controls", "expected"),
    [
        (PASS, [], [], Status.CONFIRMED),
        (PASS, [PASS], [PASS], Status.CONFIRMED),
        (PASS, [PASS], [FAIL], Status.CONFIRMED_WITH_NUANCE),
        (PASS, [PASS], [MISSING], Status.CONFIRMED_WITH_NUANCE),
        (OPEN, [PASS], [PASS], Status.CONFIRMED_WITH_NUANCE),
        (PASS, [OPEN], [PASS], Status.CONFIRMED_WITH_NUANCE),
        (PASS, [PASS], [OPEN], Status.CONFIRMED_WITH_NUANCE),
        (OPEN, [FAIL], [PASS], Status.PARTIALLY_CONFIRMED),
        (PASS, [FAIL], [PASS], Status.PARTIALLY_CONFIRMED),
        (PASS, [MISSING], [PASS], Status.PARTIALLY_CONFIRMED),
        (PASS, [FAIL, MISSING], [FAIL], Status.PARTIALLY_CONFIRMED),
        (FAIL, [PASS], [PASS], Status.REFUTED),
        (FAIL, [MISSING], [MISSING], Status.REFUTED),
        (MISSING, [PASS], [PASS], Status.INCONCLUSIVE),
        (MISSING, [FAIL], [FAIL], Status.INCONCLUSIVE),
    ],
)
def test_the_status_follows_from_the_results(decisive, others, controls, expected):
    assert status(decisive, others, controls) is expected


def test_only_a_claim_all_of_whose_criteria_passed_is_confirmed_in_any_way():
    """An open refutation clause forbids a confirmation, and so does a failed criterion."""
    for results in product((PASS, OPEN, FAIL, MISSING), repeat=4):
        found = status(results[0], results[1:3], results[3:])
        confirmed = found in (Status.CONFIRMED, Status.CONFIRMED_WITH_NUANCE)
        assert confirmed == (set(results[:3]) <= {PASS, OPEN}), results
        assert (found is Status.CONFIRMED) == (set(results) == {PASS}), results


def test_a_failure_outweighs_a_gap_among_several_decisive_criteria():
    criteria = [outcome("a", MISSING, decisive=True), outcome("b", FAIL, decisive=True)]
    found = judge("m", criteria, [], {})
    assert found.status is Status.REFUTED
    assert "b" in found.reason


def test_the_first_criterion_decides_where_none_is_marked():
    assert judge("m", [outcome("a", FAIL), outcome("b", PASS)], [], {}).status is Status.REFUTED
    assert judge("m", [outcome("a", PASS), outcome("b", FAIL)], [], {}).status is Status.PARTIALLY_CONFIRMED
    marked = judge("m", [outcome("a"), outcome("b")], [], {}).criteria
    assert [one.decisive for one in marked] == [True, False]


def test_a_marked_criterion_takes_the_decision_from_the_first():
    criteria = [outcome("a", FAIL), outcome("b", PASS, decisive=True)]
    assert judge("m", criteria, [], {}).status is Status.PARTIALLY_CONFIRMED


@pytest.mark.parametrize(
    ("criteria", "controls", "words"),
    [
        ([outcome("main", FAIL)], [], "the decisive criterion main fails"),
        ([outcome("main", MISSING)], [], "the decisive criterion main was not measured"),
        ([outcome("main"), outcome("x", FAIL), outcome("y", FAIL)], [], "x, y fails"),
        ([outcome("main"), outcome("x", MISSING)], [], "x was not measured"),
        ([outcome("main")], [outcome("trend", FAIL)], "the control trend does not"),
        ([outcome("main")], [outcome("x", OPEN)], "all criteria pass, x cannot be told from its threshold"),
        (
            [outcome("main", OPEN)],
            [outcome("x", FAIL)],
            "the control x does not and main cannot be told from its threshold",
        ),
        ([outcome("main")], [], "all criteria and controls pass"),
    ],
)
def test_the_reason_names_what_decided(criteria, controls, words):
    assert words in judge("m", criteria, controls, {}).reason


def test_every_status_has_a_resolution_which_a_hypothesis_may_override():
    assert set(DEFAULT_RESOLUTIONS) == set(Status)
    override = {Status.REFUTED: Resolution.PARTIAL_SURPRISE}
    assert judge("m", [outcome("a", FAIL)], [], override).resolution is Resolution.PARTIAL_SURPRISE
    assert judge("m", [outcome("a", PASS)], [], override).resolution is Resolution.CLEAN


def test_what_is_only_undecided_stays_an_open_question_and_speaks_of_no_wrong_mechanism():
    assert judge("m", [outcome("a", OPEN)], [], {}).resolution is Resolution.OPEN_QUESTION
    assert judge("m", [outcome("a")], [outcome("b", OPEN)], {}).resolution is Resolution.OPEN_QUESTION
    assert judge("m", [outcome("a", OPEN)], [outcome("b", FAIL)], {}).resolution is Resolution.WRONG_MECHANISM


def test_an_outcome_is_found_by_name_and_a_misspelt_name_says_which_there_is():
    verdict = judge("m", [outcome("main", PASS)], [outcome("control", FAIL)], {})
    assert verdict.outcome("control").result is FAIL
    with pytest.raises(ConfigError, match=r"no criterion or control 'contrl'.*did you mean 'control'"):
        verdict.outcome("contrl")


# --- verdict.json: what the page says, in words alone -----------------------------------------


def test_status_criteria_controls_and_rows_without_a_number_are_published(h1_report):
    verdict = h1_report.headline.verdict
    scores = Scores([error_row(), unscored_row(arm="treatment", experiment="two")])
    rulings, unscored = read_verdict(verdict_text([("m", verdict, scores.unscored())]).encode(), "v")
    assert rulings["m"].status == verdict.status
    assert rulings["m"].criteria == {outcome.id: outcome.result for outcome in verdict.outcomes}
    assert unscored == {key("two", method="m"): "unsupported"}


def test_a_report_has_a_verdict_file_that_agrees_with_its_page(lab, h1_report):
    files = render_report(lab, h1_report)
    assert read_verdict(files[VERDICT_FILE].encode(), "v") == read_page(files["DETAILS.md"])


def test_a_verdict_file_holds_no_number_that_a_tolerance_would_have_to_cover(lab, h1_report):
    text = render_report(lab, h1_report)[VERDICT_FILE]
    json.loads(text, parse_float=pytest.fail, parse_int=pytest.fail)
