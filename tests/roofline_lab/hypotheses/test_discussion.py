"""Prose takes its numbers from the results: one typed by hand is refused, a name is not."""

from __future__ import annotations

import pytest

from roofline_lab.hypotheses.discussion import SECTIONS
from roofline_lab.vocabulary import Status
from tests.roofline_lab.builders import HYPOTHESIS

FIRST = "## Root Cause Analysis\n\n"


def say(project, sentence):
    """Put one sentence at the start of the discussion."""
    text = project.discussion.read_text(encoding="utf-8")
    project.discussion.write_text(text.replace(FIRST, f"{FIRST}{sentence}\n\n", 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("sentence", "number"),
    [
        ("The error falls by 11.6 on average.", "11.6"),
        ("The error falls to 36 %.", "36 %"),
        ("The error falls to 36%.", "36%"),
        ("It gains 12 pp.", "12 pp"),
        ("It gains +12 pp.", "12 pp"),
        ("Prefill takes 67 ms.", "67 ms"),
        ("A step takes 250us.", "250us"),
        ("Between 80 and 82 % is reached.", "82 %"),
        ("Predictions are -12 % off.", "12 %"),
        ("Predictions are -12.2 pp off.", "12.2"),
        ("Predictions are \N{MINUS SIGN}12.2 pp off.", "12.2"),
        ("(0.82 of the peak)", "0.82"),
        ("It reaches 82 percent.", "82 percent"),
        ("It reaches 80-82 %.", "82 %"),
        ("In 12 of 13 experiments, over 2 methods.", "12 of 13"),
        ("It improves twelve of thirteen experiments.", "twelve of thirteen"),
        ("It improves 12 out of\nthe 13 experiments.", "12 out of the 13"),
        ("Nine of 13 improve.", "Nine of 13"),
        ("The error falls by five percent.", "five percent"),
        ("The error falls by twenty-two percentage points.", "twenty-two percentage points"),
        ("A step takes ten milliseconds.", "ten milliseconds"),
        ("A step takes 250 microseconds.", "250 microseconds"),
    ],
)
def test_a_number_typed_by_hand_is_refused_and_quoted(project, sentence, number):
    say(project, sentence)
    message = project.refusal()
    assert "discussion.md: Root Cause Analysis: " in message
    assert f"'{number}' is typed by hand; take it from the results" in message


@pytest.mark.parametrize(
    "sentence",
    [
        "Llama-2-7B, Qwen2.5-7B-Instruct and Qwen3-14B on an H100 at TP 1.",
        "vLLM v0.6.3 and Llama-3.1-8B.",
        "It leaves 100 % of the peak, or 100% of it, unused.",
        "See `overhead: 2.5 ms` and {{ v.gain('corrected', 'tpot_mean') | pp }}.",
        "In 13 experiments, over two methods and three load points.",
        "It improves {{ v.improving('corrected', 'tpot_mean') }} of {{ v.count('corrected', 'tpot_mean') }}.",
        "It is the one of the three that describes what the GPU runs, and none of them is faster.",
        "A hundred percent of the peak is a whole, and twenty-one layers are not a result.",
        "MSE-2.5D is a name.",
    ],
)
def test_names_counts_code_and_template_expressions_are_allowed(project, sentence):
    say(project, sentence)
    project.load()


@pytest.mark.parametrize("section", SECTIONS)
def test_a_missing_section_is_refused_by_name(project, section):
    text = project.discussion.read_text(encoding="utf-8")
    project.discussion.write_text(text.replace(f"## {section}", f"### {section}"), encoding="utf-8")
    assert f"missing or empty section '## {section}'" in project.refusal()


def test_a_section_without_text_counts_as_missing(project):
    text = project.discussion.read_text(encoding="utf-8")
    head = text.index("## Parameters and Generality")
    project.discussion.write_text(text[:head] + "## Parameters and Generality\n\n", encoding="utf-8")
    assert "missing or empty section '## Parameters and Generality'" in project.refusal()


def test_an_unknown_section_is_refused_because_no_page_would_show_it(project):
    text = project.discussion.read_text(encoding="utf-8")
    project.discussion.write_text(text + "\n## Afterthoughts\n\nNothing.\n", encoding="utf-8")
    assert "unknown section '## Afterthoughts'" in project.refusal()


def test_every_problem_of_a_discussion_is_reported_at_once(project):
    project.discussion.write_text(f"{FIRST}It gains 12 pp and 3 ms.\n\n## Odd\n\nx\n", encoding="utf-8")
    message = project.refusal()
    assert "6 problems" in message
    assert message.count("missing or empty section") == 3
    assert message.count("typed by hand") == 2


def test_a_hypothesis_without_a_discussion_is_refused(project):
    project.discussion.unlink()
    assert "discussion.md: cannot be read" in project.refusal()


@pytest.mark.parametrize(
    ("list_name", "key"),
    [("findings", "finding"), ("findings", "action"), ("evidence", "value"), ("evidence", "confidence")],
)
def test_the_texts_of_findings_and_evidence_obey_the_same_rule(project, list_name, key):
    message = project.refusal(lambda spec: spec[list_name][0].update({key: "It gains 12.2 pp."}))
    assert f"{list_name}.0: '12.2' is typed by hand" in message or f"{list_name}.0: '12.2 pp' is typed" in message


# --- the status a text was written for ----------------------------------------------------------


def front_matter(project, lines):
    text = project.discussion.read_text(encoding="utf-8")
    body = text[text.index("## ") :]
    project.discussion.write_text(f"---\n{lines}\n---\n{body}", encoding="utf-8")


def test_a_discussion_names_the_status_it_was_written_for(project):
    front_matter(project, "# a remark\nwritten_for: Confirmed with nuance")
    assert project.load().discussions[HYPOTHESIS].written_for is Status.CONFIRMED_WITH_NUANCE
    front_matter(project, "# written_for: Confirmed")
    assert project.load().discussions[HYPOTHESIS].written_for is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("written_for: Confirmt", "written_for: unknown status 'Confirmt'; did you mean 'Confirmed'?"),
        ("status: Confirmed", "unknown key 'status' in the front matter; allowed: written_for"),
    ],
)
def test_a_status_there_is_not_and_a_key_nobody_reads_are_refused(project, lines, message):
    front_matter(project, lines)
    assert message in project.refusal()
