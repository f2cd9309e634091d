"""An answer becomes numbers, or a status and a reason that says which field, what was expected, and what is right."""

from __future__ import annotations

import pytest

from roofline_lab.simulators.answers import NEED_MORE, read_answer, read_answers
from roofline_lab.vocabulary import RowStatus
from simulator.metrics import DEFINITIONS
from tests.roofline_lab.simulators.samples import ASKED, RIGHT, question

EXAMPLE = '{"id": "my-run/c8", "metrics": {"ttft_mean": {"value": 74.1, "unit": "ms"}}}'


def metrics(unit="ms", **changed):
    return {name: {"value": value, "unit": unit} for name, value in (RIGHT | changed).items()}


def times(*requests):
    return [
        {"id": name, "sent_ms": sent, "first_token_ms": first, "last_token_ms": last}
        for name, sent, first, last in requests
    ]


def read(asked=None, **answer):
    asked = asked or question()
    return read_answer({"id": asked.id, **answer}, asked)


def test_metrics_that_were_asked_for_are_taken_and_others_are_not():
    found = read(metrics=metrics() | {"queue_time_mean": {"value": 1.0, "unit": "s"}})
    assert (found.status, found.metrics, found.refused) == (RowStatus.OK, RIGHT, {})


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({}, "answer: give either metrics or requests, and at least one of them; expected is for instance " + EXAMPLE),
        ({"metrics": "fast"}, "answer: metrics: Input should be a mapping of keys to values (got 'fast')"),
        ({"metrics": {"ttft_mean": 80.0}}, "answer: metrics.ttft_mean: Input should be a mapping of keys to values"),
        ({"metrics": metrics(), "tpot": 3}, "answer: tpot: unknown key; allowed: id, metrics, reason, requests"),
        ({"status": "unsupported"}, 'answer: status unsupported: give a reason and nothing else, such as "reason"'),
        ({"requests": [{"id": "request_0"}]}, "requests.0.sent_ms: missing; it is required"),
    ],
)
def test_an_answer_outside_the_schema_names_field_expectation_and_example(answer, told):
    found = read(**answer)
    assert found.status is RowStatus.FAILED
    assert told in found.reason
    assert EXAMPLE in found.reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -3.0, "80", None, True])
def test_a_value_that_is_no_latency_is_no_number_of_that_metric_alone(value):
    found = read(metrics=metrics(ttft_mean=value))
    status, reason = found.refused["ttft_mean"]
    assert status is RowStatus.FAILED
    assert reason.startswith("metrics.ttft_mean.value: ")
    assert 'expected is a finite number above 0, such as {"value": 74.1, "unit": "ms"}' in reason
    assert set(found.metrics) == {"itl_ratio_of_means", "e2e_mean"}


def test_where_no_metric_is_a_number_each_has_its_reason():
    found = read(metrics=metrics(unit="s"))
    assert (found.status, found.metrics) == (RowStatus.OK, {})
    assert {reason for _, reason in found.refused.values()} == {
        f"metrics.{name}.unit: s; expected is 'ms', in which the value was asked for" for name in RIGHT
    }


def test_a_metric_of_another_definition_is_not_comparable_and_says_what_was_answered():
    found = read(metrics={"ttft_mean": metrics()["ttft_mean"], "tpot_request": {"value": 8.0, "unit": "ms"}})
    assert found.metrics == {"ttft_mean": 80.0}
    assert found.refused["itl_ratio_of_means"] == (
        RowStatus.NOT_COMPARABLE,
        "asked for itl_ratio_of_means ((mean E2E - mean TTFT) / (mean N - 1)), answered tpot_request, ttft_mean",
    )


def test_metrics_under_names_nobody_knows_are_told_by_those_names():
    found = read(metrics={"tpot_mean": {"value": 8.0, "unit": "ms"}})
    assert (found.status, found.metrics) == (RowStatus.OK, {})
    assert all(reason.endswith("answered tpot_mean") for _, reason in found.refused.values())


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"itl_ratio_of_means": 0.008}, "if these are seconds, answer 8"),
        ({"e2e_mean": 1.6}, "if these are seconds, answer 1600"),
        ({"ttft_mean": 8e6}, "if these are microseconds, answer 8000"),
    ],
)
def test_one_latency_no_server_has_puts_the_unit_of_all_in_doubt(changed, told):
    found = read(metrics=metrics(**changed))
    assert (found.status, found.metrics) == (RowStatus.FAILED, {})
    assert told in found.reason


def test_a_reason_of_a_simulator_is_one_line_of_bounded_length():
    found = read(status="unsupported", reason="no data\nfor this GPU " + "x" * 10_000)
    assert found.status is RowStatus.UNSUPPORTED
    assert found.reason.startswith("no data for this GPU xxx")
    assert len(found.reason) < 400


def test_no_answer_and_two_answers_are_failures():
    asked = question()
    answer = {"id": asked.id, "metrics": metrics()}
    assert read_answers([answer], asked).metrics == RIGHT
    assert read_answers([], asked).reason == "no answer to this load point"
    assert read_answers([answer, answer], asked).reason == "answered 2 times; a load point has one answer"
    assert read_answers([["id"]], asked).reason.startswith("must be a JSON object such as " + EXAMPLE)


# --- times of requests ------------------------------------------------------------------------------


def test_times_of_requests_become_the_same_metrics_as_those_of_our_engine():
    asked = question(asked=(*ASKED, "ttft_p90", "request_throughput", "tpot_guidellm"))
    found = read(asked, requests=times(("request_0", 0.0, 10.0, 110.0), ("request_1", 110.0, 130.0, 230.0)))
    assert found.metrics == {
        "ttft_mean": 15.0,
        "itl_ratio_of_means": 10.0,
        "e2e_mean": 115.0,
        "ttft_p90": 19.0,
        "request_throughput": pytest.approx(2 / 0.230),
        "tpot_guidellm": pytest.approx(230 / 22),
    }
    assert found.saturated is False


def test_warm_up_requests_may_have_times_and_count_for_nothing():
    asked = question(requests=3, warm_up=1)
    both = times(("request_1", 0.0, 10.0, 110.0), ("request_2", 0.0, 20.0, 120.0))
    warm = times(("request_0", 0.0, 500.0, 9000.0))
    assert read(asked, requests=both).metrics == read(asked, requests=warm + both).metrics
    assert read(asked, requests=both).metrics["ttft_mean"] == 15.0


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([("request_0", 0.0, 10.0, 110.0)], "1 of 2 have no times, such as 'request_1'"),
        ([("request_0", 0.0, 10.0, 110.0)] * 2, "'request_0' is given twice"),
        ([("request_0", 0.0, 10.0, 110.0), ("r1", 0.0, 10.0, 110.0)], "'r1' is no request of the question"),
        ([("request_0", 0.0, 10.0, 110.0), ("request_1", 20.0, 10.0, 110.0)], "sent_ms <= first_token_ms"),
    ],
)
def test_times_that_are_not_those_of_every_request_are_no_answer(found, told):
    predicted = read(requests=times(*found))
    assert (predicted.status, predicted.metrics) == (RowStatus.FAILED, {})
    assert told in predicted.reason


def test_what_needs_more_than_three_times_does_not_follow_from_them():
    asked = question(asked=(*ASKED, "queue_time_mean"))
    found = read(asked, requests=times(("request_0", 0.0, 10.0, 110.0), ("request_1", 0.0, 20.0, 120.0)))
    assert found.refused["queue_time_mean"][1].endswith("times of requests, from which it does not follow")
    assert set(DEFINITIONS) >= set(NEED_MORE)


def test_requests_that_wait_longer_and_longer_are_a_saturated_server():
    asked = question(requests=200)
    waiting = times(*((f"request_{i}", 0.0 + i, 10.0 + 100.0 * i, 110.0 + 100.0 * i) for i in range(200)))
    assert read(asked, requests=waiting).saturated is True
    assert read(asked, requests=waiting, saturated=False).saturated is False, "what the simulator says counts"
