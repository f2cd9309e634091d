"""What a simulator said of one load point, as numbers or as reasons why there are none.

Contract: pure. `read_answer` takes whatever came back for a question and gives a `Predicted`, never an error: what is
no answer, or no number, is a status and a reason, in words that name the field, what was expected and what a right
answer looks like.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from roofline_lab.ground_truth.metrics import MS_PER_S, PLAUSIBLE_MS
from roofline_lab.simulators.contract import Answer, AnsweredRequest, Question
from roofline_lab.vocabulary import RowStatus
from simulator.engine.records import RequestResult, RequestState
from simulator.errors import ConfigError
from simulator.metrics import DEFINITIONS, NEED_LIMITS, MetricName, Samples
from simulator.request_times import DEFAULT
from simulator.saturation import grows_queue
from simulator.validation import parse

US_PER_MS = 1000.0
# Longest part of a reason that a program decides; a page has to be read.
SHOWN_CHARACTERS = 300
EXAMPLE = '{"id": "ID", "metrics": {"ttft_mean": {"value": 74.1, "unit": "ms"}}}'
# Definitions that need more of a request than when it was sent and when its first and its last token were there.
NEED_MORE = frozenset(
    {
        MetricName.E2E_LAST_STEP_TWICE,
        MetricName.TPOT_LAST_STEP_TWICE,
        MetricName.ITL_ENTRIES_LAST_STEP_TWICE,
        MetricName.QUEUE_TIME_MEAN,
        MetricName.PREFILL_TIME_MEAN,
        MetricName.INFERENCE_TIME_MEAN,
        *NEED_LIMITS,
    }
)
# Definitions that may be 0.
MAY_BE_ZERO = ("queue_time_mean",)
# Why something that was asked for is no number, with its status, by definition.
Refused = Mapping[str, tuple[RowStatus, str]]


@dataclass(frozen=True, slots=True)
class Predicted:
    """One load point as a simulator predicts it.

    Attributes
    ----------
    status, reason
        `ok`, or why there is nothing.
    metrics
        By definition of `simulator.metrics`, each one that was asked for and is a number.
    refused
        Why another one that was asked for is none, with its status, by definition.
    saturated
        Whether waiting grows; None where the simulator does not say.
    version
        Of the program that answered; empty where nobody says.
    seconds
        How long the answer took; None where nothing came.
    """

    status: RowStatus
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    refused: Refused = field(default_factory=dict)
    saturated: bool | None = None
    version: str = ""
    seconds: float | None = None


def without(status: RowStatus, reason: str) -> Predicted:
    """Return a load point without any number."""
    return Predicted(status, reason)


def read_answers(found: Sequence[object], question: Question) -> Predicted:
    """Return what was said of a load point, which has to be said once."""
    if len(found) == 1:
        return read_answer(found[0], question)
    if not found:
        return without(RowStatus.FAILED, "no answer to this load point")
    return without(RowStatus.FAILED, f"answered {len(found)} times; a load point has one answer")


def read_answer(data: object, question: Question) -> Predicted:
    """Return the numbers of one answer, and the reason for each one that is missing."""
    if not isinstance(data, Mapping):
        return without(RowStatus.FAILED, f"must be a JSON object such as {_example(question)}, got {shown(data)}")
    given = data.get("metrics")
    if not isinstance(given, Mapping) or not given:
        return _parsed(data, question, {}, ())
    kept, refused = _numbers(given, question)
    if kept:
        return _parsed({**data, "metrics": kept}, question, refused, tuple(given))
    saturated = data.get("saturated")
    missing = _missing(question, refused, tuple(given))
    return Predicted(RowStatus.OK, "", {}, {**refused, **missing}, saturated if isinstance(saturated, bool) else None)


def _parsed(data: Mapping[str, Any], question: Question, refused: Refused, names: Sequence[str]) -> Predicted:
    """Return an answer whose metrics may all be numbers; `names` are those it came with."""
    try:
        answer = parse(Answer, data, source="answer")
    except ConfigError as error:
        return without(RowStatus.FAILED, f"{shown(str(error))}; expected is for instance {_example(question)}")
    if answer.status == "unsupported":
        return without(RowStatus.UNSUPPORTED, shown(answer.reason or ""))
    if answer.requests is not None:
        return _from_requests(answer.requests, question, answer.saturated)
    metrics = {name: metric.value for name, metric in (answer.metrics or {}).items()}
    return _checked(metrics, refused, question, answer.saturated, names)


def shown(value: object) -> str:
    """Return what somebody wrote, in one line of bounded length."""
    text = " ".join((value if isinstance(value, str) else repr(value)).split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _example(question: Question) -> str:
    return EXAMPLE.replace("ID", question.id)


# --- metrics ----------------------------------------------------------------------------------------


def _numbers(given: Mapping[str, Any], question: Question) -> tuple[dict[str, Any], Refused]:
    """Return the entries asked for that may be numbers, and why others cannot be."""
    units = {metric.name: metric.unit for metric in question.asked}
    wanted = {name: entry for name, entry in given.items() if name in units}
    problems = {
        name: problem
        for name, entry in wanted.items()
        if isinstance(entry, Mapping) and (problem := _problem(name, entry, units[name]))
    }
    kept = {name: entry for name, entry in wanted.items() if name not in problems}
    return kept, {name: (RowStatus.FAILED, problem) for name, problem in problems.items()}


def _problem(name: str, entry: Mapping[str, Any], unit: str) -> str:
    value, said = entry.get("value"), entry.get("unit")
    expected = f'expected is a finite number above 0, such as {{"value": 74.1, "unit": "{unit}"}}'
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return f"metrics.{name}.value: {shown(value)}; {expected}"
    if value < 0 or (value == 0 and name not in MAY_BE_ZERO):
        return f"metrics.{name}.value: {value:g}; {expected}"
    if said != unit:
        return f"metrics.{name}.unit: {shown(said)}; expected is '{unit}', in which the value was asked for"
    return ""


def _missing(question: Question, known: Container[str], names: Sequence[str]) -> Refused:
    """Return a reason for everything that was asked for and not answered; `names` are what was."""
    answered = shown(", ".join(sorted(names))) or "times of requests, from which it does not follow"
    return {
        asked.name: (RowStatus.NOT_COMPARABLE, f"asked for {asked.name} ({asked.definition}), answered {answered}")
        for asked in question.asked
        if asked.name not in known
    }


def _checked(
    metrics: Mapping[str, float], refused: Refused, question: Question, saturated: bool | None, names: Sequence[str]
) -> Predicted:
    """Return the numbers that were asked for; none of them where one latency is such that the unit is in doubt."""
    if doubts := list(_implausible(metrics)):
        return without(RowStatus.FAILED, doubts[0])
    missing = _missing(question, {*metrics, *refused}, names)
    return Predicted(RowStatus.OK, "", metrics, {**refused, **missing}, saturated)


def _implausible(metrics: Mapping[str, float]) -> Iterator[str]:
    for name, value_ms in metrics.items():
        kind = next((kind for kind in PLAUSIBLE_MS if name.startswith(f"{kind}_")), None)
        if kind is None or DEFINITIONS[name].unit != "ms":
            continue
        low, high = PLAUSIBLE_MS[kind]
        if value_ms < low:
            yield (
                f"metrics.{name}.value: {value_ms:g} ms is less than any server takes (expected: {low:g} to {high:g} "
                f"ms); if these are seconds, answer {value_ms * MS_PER_S:g}"
            )
        elif value_ms > high:
            yield (
                f"metrics.{name}.value: {value_ms:g} ms is more than any server takes (expected: {low:g} to {high:g} "
                f"ms); if these are microseconds, answer {value_ms / MS_PER_S:g}"
            )


# --- times of requests ------------------------------------------------------------------------------


def _from_requests(found: Sequence[AnsweredRequest], question: Question, saturated: bool | None) -> Predicted:
    """Return the metrics that follow from times of requests, as they are formed of the project's own."""
    counted = [request for request in question.workload.requests if not request.warm_up]
    if problem := _times_problem(found, {request.id for request in counted}, question):
        return without(RowStatus.FAILED, problem)
    times = {request.id: request for request in found}
    done = [
        RequestResult(
            request.id,
            round(times[request.id].sent_ms * US_PER_MS),
            request.prompt_tokens,
            request.output_tokens,
            RequestState.COMPLETED,
            first_token_us=round(times[request.id].first_token_ms * US_PER_MS),
            completed_us=round(times[request.id].last_token_ms * US_PER_MS),
        )
        for request in counted
    ]
    samples = Samples(done, DEFAULT)
    names = [asked.name for asked in question.asked if asked.name not in NEED_MORE]
    values = {name: DEFINITIONS[name].function(samples) for name in names}
    known = {name: value for name, value in values.items() if value is not None}
    grows = grows_queue(samples.ttft_us) if saturated is None else saturated
    return _checked(known, {}, question, grows, ())


def _times_problem(found: Sequence[AnsweredRequest], wanted: set[str], question: Question) -> str:
    warm_up = {request.id for request in question.workload.requests if request.warm_up}
    ids = [request.id for request in found if request.id not in warm_up]
    if len(set(ids)) != len(ids):
        return f"requests: '{next(one for one in ids if ids.count(one) > 1)}' is given twice"
    if unknown := sorted(set(ids) - wanted):
        return f"requests: '{shown(unknown[0])}' is no request of the question; repeat the ids of workload.requests"
    if missing := sorted(wanted - set(ids)):
        return (
            f"requests: {len(missing)} of {len(wanted)} have no times, such as '{missing[0]}'; expected is every "
            "request that is no warm-up"
        )
    for request in found:
        if not request.sent_ms <= request.first_token_ms <= request.last_token_ms:
            return f"requests.{request.id}: expected is sent_ms <= first_token_ms <= last_token_ms"
    return ""
