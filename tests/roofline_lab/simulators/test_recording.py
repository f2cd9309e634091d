"""Recorded answers: written and read back as they were, by content alone, and a damaged line is told."""

from __future__ import annotations

import pytest

from roofline_lab.simulators.answers import Predicted
from roofline_lab.simulators.recording import Recorded, answers_in, question_digest, read_recorded, recorded_text
from roofline_lab.vocabulary import RowStatus
from simulator.errors import ConfigError
from tests.roofline_lab.simulators.samples import RIGHT, question

SAID = Predicted(
    RowStatus.OK,
    "",
    RIGHT,
    {"ttft_p90": (RowStatus.NOT_COMPARABLE, "asked for ttft_p90, answered ttft_mean")},
    False,
    "mine 1.0",
    0.25,
)


def recorded(name="my-run/c8", said=SAID, asked=None):
    return Recorded(name, question_digest(asked or question(name)), "program", said)


def test_answers_come_back_as_they_were_written():
    failed = Predicted(RowStatus.FAILED, "the program ended with code 7", version="mine 1.0")
    answers = [recorded("b/c2"), recorded("a/c1", failed, question(options={"margin": 0.1}))]
    found = answers_in(recorded_text(answers), "recorded")
    assert sorted(found.values(), key=lambda one: one.id) == sorted(answers, key=lambda one: one.id)


def test_the_file_does_not_depend_on_the_order_of_answers():
    answers = [recorded(f"run/c{place}", asked=question(requests=place)) for place in range(1, 5)]
    assert recorded_text(answers) == recorded_text(answers[::-1])


def test_how_a_load_point_is_called_is_no_part_of_the_question_and_all_else_is():
    assert question_digest(question("one/c8")) == question_digest(question("other/c8"))
    others = [question(requests=3), question(asked=("ttft_mean",)), question(options={"margin": 0.1})]
    assert len({question_digest(one) for one in (question(), *others)}) == 4


def test_without_a_file_there_is_no_answer(tmp_path):
    assert read_recorded(tmp_path / "mine.jsonl", "mine.jsonl") == {}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"status": "ok"', '"status": "not_asked"', "status: Input should be 'ok', 'unsupported' or 'failed'"),
        ('"version": "mine 1.0"', '"version": ""', "version: String should have at least 1 character"),
        ("80.0", "NaN", "NaN is not a number"),
        ('"saturated": false, ', "", "saturated: missing; it is required"),
        ("{", "<<<<<<< HEAD\n{", "not valid JSON"),
    ],
)
def test_a_damaged_line_is_told_with_its_number_and_key(old, new, told):
    text = recorded_text([recorded()]).replace(old, new, 1)
    with pytest.raises(ConfigError) as caught:
        answers_in(text, "configs/simulators/recorded/mine.jsonl")
    assert "configs/simulators/recorded/mine.jsonl: line 1 (restore the file, or delete the line" in str(caught.value)
    assert told in str(caught.value)
