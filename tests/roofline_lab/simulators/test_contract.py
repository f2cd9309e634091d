"""The contract: its schema is that of the records, and an answer says one thing."""

from __future__ import annotations

import json

import pytest

from roofline_lab.simulators.contract import CONTRACT, SCHEMA_FILE, SIMULATORS, Answer, asked_metric, json_schema
from simulator.errors import ConfigError
from simulator.validation import parse
from tests.paths import ROOT

TTFT = {"ttft_mean": {"value": 74.1, "unit": "ms"}}
TIMES = [{"id": "request_0", "sent_ms": 0.0, "first_token_ms": 74.1, "last_token_ms": 3124.0}]


def test_the_committed_schema_is_that_of_the_records():
    text = (ROOT / SIMULATORS / SCHEMA_FILE).read_text(encoding="utf-8")
    assert json.loads(text) == json_schema(), "write it again: python -m roofline_lab.simulators.contract"


def test_the_examples_of_the_documentation_are_answers():
    page = (ROOT / "docs" / "simulator-contract.md").read_text(encoding="utf-8")
    lines = page.split("```json\n")[1].split("```")[0].splitlines()
    found = [parse(Answer, json.loads(line), source="example") for line in lines]
    assert [bool(one.metrics) for one in found] == [True, False, False]
    assert [bool(one.requests) for one in found] == [False, True, False]
    assert found[2].reason == "no data for this GPU"


def test_a_question_names_its_metrics_with_unit_and_definition():
    found = asked_metric("itl_ratio_of_means")
    assert (found.unit, found.definition) == ("ms", "(mean E2E - mean TTFT) / (mean N - 1)")
    assert json_schema()["$defs"]["Question"]["properties"]["contract"]["const"] == CONTRACT


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({}, "give either metrics or requests"),
        ({"metrics": TTFT, "requests": TIMES}, "give either metrics or requests"),
        ({"metrics": {}}, "give either metrics or requests"),
        ({"status": "unsupported"}, "give a reason and nothing else"),
        ({"status": "unsupported", "reason": "why", "metrics": TTFT}, "give a reason and nothing else"),
        ({"metrics": TTFT, "tpot": 3}, "tpot: unknown key"),
        ({"metrics": {"ttft_mean": 74.1}}, "metrics.ttft_mean: Input should be a mapping"),
    ],
)
def test_an_answer_that_does_not_say_one_thing_is_refused(answer, told):
    with pytest.raises(ConfigError, match="answer") as caught:
        parse(Answer, {"id": "a/b", **answer}, source="answer")
    assert told in str(caught.value)
