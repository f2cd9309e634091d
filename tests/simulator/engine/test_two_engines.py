"""The fast engine against the plain one, on thousands of random workloads."""

from __future__ import annotations

from dataclasses import fields, replace

from hypothesis import HealthCheck, given, settings

from simulator.engine.loop import run
from simulator.engine.records import RequestState, RunResult, StepRecord
from tests.reference_engine import serve
from tests.simulator.engine.strategies import Case, cases, session_cases
from tests.simulator.engine.stub import StubStepTime

many = settings(max_examples=2000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def fast(case: Case, *, record_steps: bool = True) -> RunResult:
    step_time = StubStepTime(case.kv_breakpoints, check=True)
    options = {"concurrency": case.concurrency, "record_steps": record_steps, "count_gaps": True}
    return run(case.requests, step_time, case.options, **options)


@many
@given(cases())
def test_both_engines_agree_on_every_request_step_and_total(case: Case) -> None:
    assert_both_agree(case)


@settings(many, max_examples=400)
@given(session_cases())
def test_both_engines_agree_on_sessions(case: Case) -> None:
    assert_both_agree(case)


def assert_both_agree(case: Case) -> None:
    result = fast(case)
    time_us = StubStepTime(case.kv_breakpoints).batch_time_us
    plain = serve(case.requests, case.options, time_us, case.concurrency)
    for step, plain_step in zip(result.steps, plain["steps"], strict=False):
        assert as_dict(step) == plain_step | {"elsewhere": 0, "replica": 0}
    assert len(result.steps) == len(plain["steps"])
    for request in result.requests:
        expected = plain["requests"][request.id]
        assert {name: getattr(request, name) for name in expected} == expected
    for name, value in plain["totals"].items():
        assert getattr(result.counters, name) == value, name
    assert [gap_us for gap_us, count in result.token_gaps for _ in range(count)] == plain["gaps"]
    assert_invariants(case, result)


def as_dict(step: StepRecord) -> dict[str, object]:
    return {field.name: getattr(step, field.name) for field in fields(step)}


def assert_invariants(case: Case, result: RunResult) -> None:
    assert_every_request_is_accounted_for(case, result)
    assert_times_are_in_order(case, result)
    assert_totals_follow_from_the_steps(result)
    assert_blocks_stay_within_the_cache(case, result)
    if case.options.idle_until == "step_end":
        assert_the_server_never_idles_with_work(case, result)
    assert fast(case) == result, "a repetition differs"
    unrecorded = fast(case, record_steps=False)
    assert unrecorded == replace(result, steps=()), "recording changes the run"


def assert_every_request_is_accounted_for(case: Case, result: RunResult) -> None:
    assert [request.id for request in result.requests] == [request.id for request in case.requests]
    for request in result.requests:
        last_token = request.prompt_tokens + max(request.output_tokens, 1) - 1
        fits = last_token <= case.options.kv_blocks * case.options.block_tokens
        assert (request.state is RequestState.DROPPED) <= (not fits)
        if case.options.horizon_us is None:
            assert request.state is (RequestState.COMPLETED if fits else RequestState.DROPPED)
    assert result.counters.preemptions == sum(request.preemptions for request in result.requests)


def assert_times_are_in_order(case: Case, result: RunResult) -> None:
    starts = [step.start_us for step in result.steps]
    assert starts == sorted(starts)
    for request in result.requests:
        times = [request.arrival_us, request.scheduled_us, request.first_token_us, request.completed_us]
        if request.preemptions:
            del times[1]  # the last admission may come after the first token
        known = [time for time in times if time is not None]
        assert known == sorted(known)
        assert (request.completed_us is not None) == (request.state is RequestState.COMPLETED)
    horizon_us = case.options.horizon_us
    assert horizon_us is None or not starts or starts[-1] <= horizon_us


def assert_totals_follow_from_the_steps(result: RunResult) -> None:
    kinds = {"prefill": [], "decode": [], "mixed": []}
    for step in result.steps:
        kinds["decode" if not step.prefill else "mixed" if step.decode else "prefill"].append(step.duration_us)
    counters = result.counters
    for kind, durations in kinds.items():
        assert getattr(counters, f"{kind}_steps") == len(durations)
        assert getattr(counters, f"{kind}_us") == sum(durations)
    assert counters.steps == len(result.steps)
    assert counters.prefill_tokens == sum(new for step in result.steps for _, _, new in step.prefill)
    assert counters.decode_tokens == sum(len(step.decode) for step in result.steps)


def assert_blocks_stay_within_the_cache(case: Case, result: RunResult) -> None:
    for step in result.steps:
        assert 0 < step.kv_blocks_used <= case.options.kv_blocks
    assert result.counters.peak_kv_blocks <= case.options.kv_blocks


def assert_the_server_never_idles_with_work(case: Case, result: RunResult) -> None:
    """Check that in a gap between steps everything that had come was done, and that it ends with the next to come."""
    delays_us = {request.id: request.queueing_delay_us for request in case.requests}
    for step, following in zip(result.steps, result.steps[1:], strict=False):
        end_us = step.start_us + step.duration_us
        assert end_us <= following.start_us
        if end_us == following.start_us:
            continue
        for request in result.requests:
            done = request.completed_us is not None and request.completed_us <= end_us
            elsewhere = request.state in (RequestState.DROPPED, RequestState.NOT_ARRIVED)
            entered_us = request.arrival_us + delays_us[request.id]
            assert done or elsewhere or entered_us >= following.start_us
