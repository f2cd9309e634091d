"""Several servers behind a router: each is a server like any other, and the router sees what is in flight."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.engine.arrivals import arrivals_of
from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request, RequestState, RunCounters
from simulator.engine.replicas import Replicas
from simulator.engine.run_statistics import RunStatistics
from simulator.errors import ConfigError
from simulator.validation import parse
from tests.simulator.engine.strategies import cases, session_cases
from tests.simulator.engine.stub import StubStepTime
from tests.simulator.engine.test_loop import HundredPlusTokens

ROUTERS = ("round_robin", "least_requests", "prefix_aware")
many = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
any_cases = st.one_of(cases(), session_cases())
# A server that is free before its last step ends takes requests before it has completed what it was sent.
sound_cases = any_cases.filter(lambda case: case.options.idle_until == "step_end")


def fits(case):
    """Whether all requests can be served; a single server drops others when it looks at its queue, a router at once."""
    room = case.options.kv_blocks * case.options.block_tokens
    return all(request.prompt_tokens + max(request.output_tokens, 1) - 1 <= room for request in case.requests)


def options_of(case, **changes):
    return case.options.model_copy(update=changes)


def served(case, **changes):
    step_time = StubStepTime(case.kv_breakpoints, check=True)
    more = {"concurrency": case.concurrency, "record_steps": True, "count_gaps": True}
    return run(case.requests, step_time, options_of(case, **changes), **more)


def alone(case, requests, **changes):
    """Serve some requests at their own times by a single server."""
    step_time = StubStepTime(case.kv_breakpoints)
    return run(requests, step_time, options_of(case, **changes), record_steps=True, count_gaps=True)


@many
@given(sound_cases.filter(fits), st.sampled_from(ROUTERS), st.booleans())
def test_one_server_behind_a_router_is_a_server_without_one(case, router, ahead):
    options = options_of(case, router=router, schedule_ahead=ahead)
    arrivals = arrivals_of(case.requests, case.concurrency, 0)
    step_time = StubStepTime(case.kv_breakpoints)
    server = Replicas(case.requests, arrivals, step_time, options, [RunStatistics(True, True)])
    server.serve()
    routed = server.outcome()

    assert replace(routed, replicas=()) == served(case, schedule_ahead=ahead)
    assert routed.replicas[0].counters == routed.counters


@many
@given(cases(), st.integers(2, 4))
def test_in_turn_each_server_runs_as_if_alone_with_every_nth_request(case, replicas):
    case = replace(case, concurrency=None)
    result = served(case, replicas=replicas)
    by_time = sorted(
        range(len(case.requests)),
        key=lambda place: (
            case.requests[place].arrival_us + case.requests[place].queueing_delay_us,
            case.requests[place].arrival_us,
            place,
        ),
    )
    for place in range(replicas):
        own = sorted(by_time[place::replicas])
        expected = alone(case, [case.requests[index] for index in own])
        assert [result.requests[index] for index in own] == list(expected.requests)
        assert result.replicas[place].counters == expected.counters
        assert [replace(step, replica=0) for step in result.steps if step.replica == place] == list(expected.steps)


@many
@given(sound_cases, st.integers(2, 3), st.sampled_from(ROUTERS), st.booleans())
def test_requests_at_one_server_change_no_step_of_another(case, replicas, router, ahead):
    # Without a prefix cache the turns of a session are requests like any other, once it is known when they came.
    limits = {"prefix_caching": False, "horizon_us": None, "schedule_ahead": ahead}
    result = served(case, replicas=replicas, router=router, **limits)
    assert sorted(index for share in result.replicas for index in share.requests) == list(range(len(case.requests)))
    for place, share in enumerate(result.replicas):
        own = sorted(share.requests)
        sent = [
            replace(case.requests[index], arrival_us=result.requests[index].arrival_us, session=None) for index in own
        ]
        expected = alone(case, sent, **limits)
        assert [result.requests[index] for index in own] == list(expected.requests)
        assert share.counters == expected.counters
        assert [replace(step, replica=0) for step in result.steps if step.replica == place] == list(expected.steps)


@many
@given(sound_cases, st.integers(2, 4))
def test_the_fewest_requests_are_in_flight_where_one_is_sent(case, replicas):
    case = replace(case, requests=tuple(replace(request, queueing_delay_us=0) for request in case.requests))
    result = served(case, replicas=replicas, router="least_requests", horizon_us=None)
    for share in result.replicas:
        order = [result.requests[index].arrival_us for index in share.requests]
        assert order == sorted(order)
    placed = {index: place for place, share in enumerate(result.replicas) for index in share.requests}
    for index, request in enumerate(result.requests):
        now_us = request.arrival_us
        in_flight, together = [0] * replicas, [0] * replicas
        for other, place in placed.items():
            each = result.requests[other]
            ends_us = each.arrival_us if each.completed_us is None else each.completed_us
            in_flight[place] += each.arrival_us < now_us < ends_us
            together[place] += each.arrival_us == now_us
        # Of requests that arrive together, the router sees those before.
        own = in_flight[placed[index]]
        assert own <= min(seen + more for seen, more in zip(in_flight, together, strict=True))


@many
@given(any_cases, st.integers(2, 3), st.sampled_from(ROUTERS))
def test_every_request_is_accounted_for_and_totals_are_sums(case, replicas, router):
    result = served(case, replicas=replicas, router=router)
    assert [request.id for request in result.requests] == [request.id for request in case.requests]
    if case.options.horizon_us is None:
        assert {request.state for request in result.requests} <= {RequestState.COMPLETED, RequestState.DROPPED}
    for field in fields(RunCounters):
        values = [getattr(share.counters, field.name) for share in result.replicas]
        summed = max(values) if field.name in ("peak_kv_blocks", "end_us") else sum(values)
        assert getattr(result.counters, field.name) == summed
    assert served(case, replicas=replicas, router=router) == result, "a repetition differs"


def places(requests, **options):
    result = run(requests, HundredPlusTokens(), EngineOptions(block_tokens=4, **options))
    return [
        next(place for place, share in enumerate(result.replicas) if i in share.requests) for i in range(len(requests))
    ]


def test_a_prefix_stays_where_it_was_sent_unless_too_many_are_in_flight_there():
    sent = [Request(str(place), place, 40, 9, group, 20) for place, group in enumerate("abaaaa")]
    aware = {"replicas": 2, "router": "prefix_aware"}

    # After "aba" two and one are in flight. With factor 2, the third "a" makes 3 against 2, the fourth 4, the fifth 5.
    assert places(sent, **aware, router_load_factor=2.0) == [0, 1, 0, 0, 0, 1]
    assert places(sent, **aware, router_load_factor=1e6) == [0, 1, 0, 0, 0, 0]


def test_a_session_stays_where_it_began_and_finds_its_history_there():
    turns = [
        Request(f"{session}{turn}", 0, 40 + 48 * turn, 8, session=session, think_us=5)
        for session in "abc"
        for turn in range(3)
    ]

    aware = run(turns, HundredPlusTokens(), EngineOptions(block_tokens=4, replicas=3, router="prefix_aware"))
    in_turn = run(turns, HundredPlusTokens(), EngineOptions(block_tokens=4, replicas=2))

    assert [share.requests for share in aware.replicas] == [(0, 1, 2), (3, 4, 5), (6, 7, 8)]
    assert [request.cached_tokens for request in aware.requests] == [0, 44, 92] * 3
    assert in_turn.counters.cached_tokens < aware.counters.cached_tokens


def test_requests_without_a_prefix_go_where_the_fewest_are():
    sent = [Request("long", 0, 40, 90), *(Request(str(place), 1 + 500 * place, 40, 1) for place in range(3))]

    assert places(sent, replicas=2, router="prefix_aware") == [0, 1, 1, 1]
    assert places(sent, replicas=2, router="least_requests") == [0, 1, 1, 1]
    assert places(sent, replicas=2, router="round_robin") == [0, 1, 0, 1]


def test_of_idle_servers_the_next_in_turn_is_taken():
    sent = [Request(str(place), 1000 * place, 40, 1) for place in range(5)]

    assert places(sent, replicas=3, router="least_requests") == [0, 1, 2, 0, 1]


def test_a_closed_loop_keeps_so_many_requests_in_flight_over_all_servers():
    sent = [Request(str(place), 0, 40, 3) for place in range(12)]
    options = EngineOptions(replicas=2, router="least_requests", prefix_caching=False)
    result = run(sent, HundredPlusTokens(), options, concurrency=4)

    ends = sorted(request.completed_us for request in result.requests)
    assert [request.arrival_us for request in result.requests] == [0] * 4 + ends[:8]
    assert [len(share.requests) for share in result.replicas] == [6, 6]


def test_servers_of_several_groups_stand_behind_a_router_too():
    sent = [Request(str(place), 100 * place, 40, 5) for place in range(12)]
    grouped = EngineOptions(attention_data_parallel=2, prefix_caching=False)
    result = run(sent, HundredPlusTokens(), grouped.model_copy(update={"replicas": 2}))

    for place, share in enumerate(result.replicas):
        expected = run(sent[place::2], HundredPlusTokens(), grouped)
        assert [result.requests[index] for index in share.requests] == list(expected.requests)


@pytest.mark.parametrize(
    "changes", [{"replicas": 0}, {"replicas": 5000}, {"router": "random"}, {"router_load_factor": 0.5}]
)
def test_routers_and_numbers_of_servers_that_do_not_exist_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        parse(EngineOptions, changes, source="here")
