"""Conversations: what each turn contains, when it is sent, and what the server still knows of it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request, RequestState
from simulator.errors import ConfigError
from simulator.workload.lock_step import keeps_in_step
from tests.simulator.engine.test_loop import HundredPlusTokens
from tests.simulator.workload.test_build import GAUSSIAN, POISSON, build

THREE_TURNS = {"turns": {"kind": "constant", "turns": 3}}
RANDOM = {
    "turns": {"kind": "geometric", "mean_turns": 4.0},
    "think_s": {"kind": "exponential", "mean_s": 0.01},
}


def sessions_of(requests):
    found = {}
    for request in requests:
        found.setdefault(request.session, []).append(request)
    return list(found.values())


def served(workload, **options):
    settings = EngineOptions(block_tokens=4, **options)
    return run(workload.requests, HundredPlusTokens(), settings, concurrency=workload.concurrency)


def test_the_prompt_of_a_turn_contains_all_prompts_and_answers_before_it():
    requests = build(sessions=THREE_TURNS, prefix={"kind": "shared", "tokens": 10}).requests

    assert [(one.session, one.prompt_tokens, one.prefix_group, one.prefix_tokens) for one in requests] == [
        ("session_0", 50, "shared", 10),
        ("session_0", 98, "shared", 10),
        ("session_0", 146, "shared", 10),
        ("session_1", 50, "shared", 10),
        ("session_1", 98, "shared", 10),
        ("session_1", 146, "shared", 10),
    ]


def test_every_turn_adds_its_own_draw_and_keeps_its_own_answer():
    requests = build(requests=300, prompt=GAUSSIAN, output=GAUSSIAN, sessions=RANDOM, seed=5).requests
    single = build(requests=300, prompt=GAUSSIAN, output=GAUSSIAN, seed=5).requests

    assert [one.output_tokens for one in requests] == [one.output_tokens for one in single]
    added = []
    for turns in sessions_of(requests):
        history = 0
        for turn in turns:
            added.append(turn.prompt_tokens - history)
            history = turn.prompt_tokens + turn.output_tokens
    assert added == [one.prompt_tokens for one in single]


def test_turns_and_think_times_have_the_means_asked_for():
    lognormal = {"kind": "lognormal", "mean_s": 3.0, "cv": 1.5}
    requests = build(requests=20_000, sessions={**RANDOM, "think_s": lognormal}).requests
    thoughts = [one.think_us for turns in sessions_of(requests) for one in turns[1:]]

    assert len(requests) / len(sessions_of(requests)) == pytest.approx(4, rel=0.05)
    assert sum(thoughts) / len(thoughts) == pytest.approx(3e6, rel=0.05)
    assert all(turns[0].think_us == 0 for turns in sessions_of(requests))


@pytest.mark.parametrize("loop", [POISSON, {"kind": "closed_loop", "concurrency": 3}], ids=["open", "closed"])
def test_a_turn_arrives_a_think_time_after_the_answer_to_the_last_one(loop):
    workload = build(requests=60, arrivals=loop, sessions=RANDOM, prompt=GAUSSIAN)
    results = {one.id: one for one in served(workload).requests}

    turns = [pair for session in sessions_of(workload.requests) for pair in pairwise(session)]
    assert len(turns) > 30
    for before, after in turns:
        assert results[after.id].arrival_us == results[before.id].completed_us + after.think_us


def test_sessions_of_an_arrival_process_begin_when_it_says():
    workload = build(requests=40, arrivals=POISSON, sessions=RANDOM)
    begun = [session[0].id for session in sessions_of(workload.requests)]
    single = build(requests=len(begun), arrivals=POISSON)
    results = {one.id: one for one in served(workload).requests}

    assert [results[name].arrival_us for name in begun] == [one.arrival_us for one in single.requests]


def test_in_a_closed_loop_a_user_begins_the_next_session_behind_the_last_turn():
    workload = build(arrivals={"kind": "closed_loop", "concurrency": 1}, sessions=THREE_TURNS)
    results = served(workload).requests

    assert [later.arrival_us for later in results[1:]] == [earlier.completed_us for earlier in results[:-1]]


def test_the_cache_finds_full_blocks_of_prompt_and_answer():
    # 40 + 8 - 1 computed tokens of the first turn are 11 blocks of 4, of the second 88 + 8 - 1 are 23.
    results = served(build(sessions=THREE_TURNS)).requests[:3]

    assert [one.cached_tokens for one in results] == [0, 44, 92]


def test_the_answer_of_another_session_or_of_a_single_request_is_not_found():
    first = Request("a", 0, 40, 8, session="one")
    other = Request("b", 5000, 60, 8, session="two")
    alone = Request("c", 9000, 60, 8)

    assert [one.cached_tokens for one in run([first, other, alone], HundredPlusTokens()).requests] == [0, 0, 0]


def test_sessions_share_their_system_prompt_and_nothing_else():
    system = {"kind": "shared", "tokens": 20}
    workload = build(requests=2, sessions={"turns": {"kind": "constant", "turns": 1}}, prefix=system)

    assert [one.cached_tokens for one in served(workload).requests] == [0, 20]


def test_a_history_that_was_forgotten_is_computed_again():
    kept = [Request("a1", 0, 40, 8, session="a"), Request("a2", 0, 60, 8, session="a", think_us=100_000)]
    filler = Request("b", 50_000, 200, 1)
    small = EngineOptions(block_tokens=4, kv_blocks=51)

    with_room = run([*kept, filler], HundredPlusTokens(), EngineOptions(block_tokens=4)).requests[1]
    without = run([*kept, filler], HundredPlusTokens(), small).requests[1]

    assert (with_room.cached_tokens, without.cached_tokens) == (44, 4)


def test_turns_behind_the_horizon_or_behind_a_turn_too_large_do_not_run():
    three = [Request(f"a{turn}", 0, 40 + 48 * turn, 8, session="a", think_us=1000) for turn in range(3)]

    cut = run(three, HundredPlusTokens(), EngineOptions(horizon_us=1000)).requests
    small = run(three, HundredPlusTokens(), EngineOptions(block_tokens=4, kv_blocks=20)).requests

    completed, dropped = RequestState.COMPLETED, RequestState.DROPPED
    assert [one.state for one in cut] == [completed, RequestState.NOT_ARRIVED, RequestState.NOT_ARRIVED]
    assert [one.state for one in small] == [completed, dropped, dropped]


def test_a_session_ends_before_its_context_grows_beyond_a_limit():
    limited = {"turns": {"kind": "constant", "turns": 50}, "max_context_tokens": 150}

    requests = build(requests=8, sessions=limited).requests

    # A third turn would be 136 tokens and 8 of answer, a fourth 184 and 8.
    assert [[one.prompt_tokens for one in turns] for turns in sessions_of(requests)] == [
        [40, 88, 136],
        [40, 88, 136],
        [40, 88],
    ]


def test_clients_that_think_do_not_stay_in_step():
    loop = {"kind": "closed_loop", "concurrency": 3}
    assert keeps_in_step(build(arrivals=loop, sessions=THREE_TURNS))
    assert not keeps_in_step(build(requests=60, arrivals=loop, sessions=RANDOM))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"prefix": {"kind": "prompt_pool", "prompts": 3}}, "turns of sessions are no prompts of a pool"),
        (
            {"arrivals": {"kind": "closed_loop", "concurrency": 2, "warm_up_requests": 1}},
            "a warm-up counts single requests, not sessions",
        ),
        ({"sessions": {"turns": {"kind": "uniform", "min_turns": 4, "max_turns": 3}}}, "min_turns 4 is greater than"),
        ({"sessions": {"turns": {"kind": "constant", "turns": 0}}}, "turns"),
        ({"sessions": {**THREE_TURNS, "think_s": {"kind": "exponential", "mean_s": -1}}}, "mean_s"),
    ],
)
def test_sessions_that_mean_nothing_are_refused(changes, problem):
    with pytest.raises(ConfigError, match=problem):
        build(**{"sessions": THREE_TURNS, **changes})


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (Request("b", 0, 47, 8, session="s"), "b: prompt_tokens: must be at least 48"),
        (Request("b", 0, 60, 8, "p", 8, session="s"), "must be those of the turn before"),
        (Request("b", 0, 60, 8, "s", 8), "is the name of a prefix group too"),
        (Request("b", 0, 60, 8, session="s", think_us=-1), "b: think_us: must be a whole number of at least 0"),
        (Request("b", 0, 60, 8, session="s", outer_group="o"), "a session begins with a prefix_group alone"),
    ],
)
def test_a_turn_that_does_not_continue_its_session_is_refused(second, problem):
    with pytest.raises(ConfigError, match=problem):
        run([Request("a", 0, 40, 8, session="s"), second], HundredPlusTokens())
