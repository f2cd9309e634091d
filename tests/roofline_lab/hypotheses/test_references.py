"""Hypotheses that do not fit together are refused before anything runs."""

from __future__ import annotations

import pytest

from roofline_lab.hypotheses.references import reference_cycle

FIXED = "hypotheses/h2_fixed_overhead/hypothesis.yaml"
H1 = "hypotheses/h1_bw_efficiency/hypothesis.yaml"


def test_two_hypotheses_cannot_have_one_name(project):
    message = project.refusal(lambda spec: spec.update(aliases=["H2b"]), FIXED)
    assert "the name 'H2b' is also that of" in message
    message = project.refusal(lambda spec: spec.update(aliases=["h1_bw_efficiency"]), FIXED)
    assert "the name 'h1_bw_efficiency' is also that of h1_bw_efficiency" in message


def test_references_that_form_a_cycle_are_refused_with_the_whole_cycle(project):
    message = project.refusal(lambda spec: spec.update(references=["h2b_scaled_overhead"]), H1)
    assert "references form a cycle" in message
    assert "h2b_scaled_overhead -> h1_bw_efficiency -> h2b_scaled_overhead" in message


@pytest.mark.parametrize(
    ("references", "cycle"),
    [
        ({}, ()),
        ({"a": ["a"]}, ("a", "a")),
        ({"a": ["b"], "b": ["c"], "c": []}, ()),
        ({"a": ["b", "c"], "b": ["c"], "c": ["d"], "d": []}, ()),
        ({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}, ("a", "b", "c", "a")),
        ({"a": ["nobody"]}, ()),
    ],
)
def test_a_cycle_is_found_wherever_it_starts_and_a_diamond_is_none(references, cycle):
    assert reference_cycle(references) == cycle
