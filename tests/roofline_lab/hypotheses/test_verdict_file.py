"""`verdict.json` says what the page says, in words alone."""

from __future__ import annotations

import json

import pytest

from roofline_lab.hypotheses.verdict import VERDICT_FILE, verdict_text
from roofline_lab.regression.reading import read_verdict
from roofline_lab.report.findings_page import render_report
from roofline_lab.scoring.scores import Scores
from tests.roofline_lab.builders import error_row, unscored_row
from tests.roofline_lab.regression.pages import read_page
from tests.roofline_lab.regression.small import key


def test_status_criteria_controls_and_rows_without_a_number_are_published(h1_report):
    verdict = h1_report.headline.verdict
    scores = Scores([error_row(), unscored_row(arm="treatment", experiment="two")])
    rulings, unscored = read_verdict(verdict_text([("m", verdict, scores.unscored())]).encode(), "v")
    assert rulings["m"].status == verdict.status
    assert rulings["m"].criteria == {one.id: one.result for one in (*verdict.criteria, *verdict.controls)}
    assert unscored == {key("two", method="m"): "unsupported"}


def test_a_report_has_a_verdict_file_that_agrees_with_its_page(lab, h1_report):
    files = render_report(lab, h1_report)
    assert read_verdict(files[VERDICT_FILE].encode(), "v") == read_page(files["FINDINGS.md"])


def test_a_verdict_file_holds_no_number_that_a_tolerance_would_have_to_cover(lab, h1_report):
    text = render_report(lab, h1_report)[VERDICT_FILE]
    json.loads(text, parse_float=pytest.fail, parse_int=pytest.fail)
