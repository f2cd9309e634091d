"""What the serving loop does, one behaviour per test, with step times that can be worked out by hand.

A step costs 100 us plus 1 us per prefill token unless a test says otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request, RequestResult, RequestState, RunResult
from simulator.errors import ConfigError
from simulator.steptime.batch import BatchSums
from tests.simulator.engine.stub import StubStepTime


class HundredPlusTokens:
    kv_breakpoints = ()

    def step_time_us(self, sums: BatchSums) -> int:
        return 100 + sum(new for _, new in sums.prefill)


def request(name: str, prompt: int, output: int, at: int = 0, **more: Any) -> Request:
    return Request(name, at, prompt, output, **more)


def serve(requests: Sequence[Request], concurrency: int | None = None, **options: Any) -> RunResult:
    settings = EngineOptions(**{"block_tokens": 4, **options})
    return run(requests, HundredPlusTokens(), settings, concurrency=concurrency, record_steps=True)


def by_id(result: RunResult) -> dict[str, RequestResult]:
    return {request.id: request for request in result.requests}


def test_nothing_to_serve_is_an_empty_run() -> None:
    result = serve([])
    assert result.requests == ()
    assert result.counters.steps == result.counters.end_us == 0


def test_the_prefill_step_yields_the_first_token_and_each_decode_step_one_more() -> None:
    (result,) = serve([request("a", prompt=10, output=3, at=7)]).requests
    assert (result.scheduled_us, result.first_token_us, result.completed_us) == (7, 117, 317)
    assert result.last_step_us == 100


@pytest.mark.parametrize("output", [0, 1])
def test_a_request_without_output_tokens_still_gets_one(output: int) -> None:
    (result,) = serve([request("a", prompt=10, output=output)]).requests
    assert result.state is RequestState.COMPLETED
    assert result.first_token_us == result.completed_us == 110


def test_a_decode_step_attends_to_all_tokens_computed_before() -> None:
    result = serve([request("a", prompt=10, output=3)])
    assert [step.prefill for step in result.steps] == [(("a", 0, 10),), (), ()]
    assert [step.decode for step in result.steps] == [(), (("a", 10),), (("a", 11),)]


def test_requests_that_arrive_during_a_step_wait_for_its_end() -> None:
    result = by_id(serve([request("a", 10, 1), request("b", 10, 1, at=50)]))
    assert result["b"].scheduled_us == result["a"].completed_us == 110


def test_with_overlapping_idle_steps_an_arrival_starts_its_own_step_at_once() -> None:
    result = by_id(serve([request("a", 10, 1), request("b", 10, 1, at=50)], idle_until="step_start"))
    assert result["b"].scheduled_us == 50
    assert result["a"].completed_us == 110


def test_overlap_needs_an_empty_batch() -> None:
    result = by_id(serve([request("a", 10, 2), request("b", 10, 1, at=50)], idle_until="step_start"))
    assert result["b"].scheduled_us == 110


def test_requests_that_arrive_together_run_in_the_order_given() -> None:
    result = serve([request("z", 10, 1), request("a", 10, 1), request("m", 10, 1)], max_running=1)
    assert [step.prefill[0][0] for step in result.steps] == ["z", "a", "m"]


def test_the_order_given_does_not_matter_for_different_arrival_times() -> None:
    requests = [request("a", 10, 4), request("b", 20, 2, at=30), request("c", 5, 9, at=40)]
    assert by_id(serve(requests)) == by_id(serve(requests[::-1]))


def test_a_queueing_delay_postpones_entering_the_queue_but_not_the_arrival() -> None:
    (result,) = serve([request("a", 10, 1, at=5, queueing_delay_us=20)]).requests
    assert (result.arrival_us, result.scheduled_us) == (5, 25)


def test_the_shortest_prompt_goes_first_and_ties_go_by_arrival_then_id() -> None:
    requests = [request("first", 8, 1), request("long", 9, 1, 1), request("b", 4, 1, 2), request("a", 4, 1, 2)]
    result = serve([*requests, request("early", 4, 1, 1)], max_running=1, scheduler="shortest_job")
    assert [step.prefill[0][0] for step in result.steps] == ["first", "early", "a", "b", "long"]


def test_the_highest_priority_goes_first() -> None:
    requests = [request("first", 8, 1), request("low", 4, 1, 1, priority=-1), request("high", 9, 1, 2, priority=5)]
    result = serve(requests, max_running=1, scheduler="priority")
    assert [step.prefill[0][0] for step in result.steps] == ["first", "high", "low"]


def test_no_more_requests_run_than_the_cap_allows() -> None:
    result = serve([request(f"r{i}", 4, 5) for i in range(7)], max_running=3)
    assert max(len(step.prefill) + len(step.decode) for step in result.steps) == 3


def test_a_prompt_longer_than_the_budget_is_computed_in_chunks() -> None:
    result = serve([request("a", 25, 1)], token_budget=10)
    assert [step.prefill for step in result.steps] == [(("a", 0, 10),), (("a", 10, 10),), (("a", 20, 5),)]


def test_decodes_take_their_tokens_from_the_budget_first() -> None:
    result = serve([request("a", 4, 9), request("b", 20, 1, at=1)], token_budget=10)
    assert result.steps[1].decode == (("a", 4),)
    assert result.steps[1].prefill == (("b", 0, 9),)


def test_the_long_prefill_threshold_leaves_room_for_others() -> None:
    result = serve([request("a", 20, 1), request("b", 4, 1)], token_budget=16, long_prefill_threshold_tokens=8)
    assert result.steps[0].prefill == (("a", 0, 8), ("b", 0, 4))
    assert result.steps[1].prefill == (("a", 8, 8),)


def test_a_head_that_does_not_fit_blocks_those_behind_it() -> None:
    requests = [request("a", 12, 8), request("big", 20, 1, at=1), request("small", 2, 1, at=2)]
    result = by_id(serve(requests, kv_blocks=6))
    assert result["small"].scheduled_us == result["big"].scheduled_us == result["a"].completed_us


def test_a_prompt_longer_than_the_cache_is_dropped_and_counted() -> None:
    result = by_id(serve([request("big", 41, 1), request("a", 4, 1)], kv_blocks=10))
    assert result["big"].state is RequestState.DROPPED
    assert result["big"].completed_us is None
    assert result["a"].state is RequestState.COMPLETED


@pytest.mark.parametrize(("output", "state"), [(13, RequestState.COMPLETED), (14, RequestState.DROPPED)])
def test_a_request_is_dropped_exactly_if_its_last_computed_token_does_not_fit(output: int, state: RequestState) -> None:
    # 40 tokens of cache; the last of 28 + 13 tokens is never computed.
    (result,) = serve([request("a", 28, output)], kv_blocks=10).requests
    assert result.state is state


def test_a_dropped_request_frees_its_client_in_a_closed_loop() -> None:
    requests = [request("big", 50, 1), request("huge", 60, 1), request("a", 4, 1)]
    result = by_id(serve(requests, concurrency=1, kv_blocks=10))
    assert result["a"].arrival_us == 0
    assert result["a"].completed_us == 104


def test_a_closed_loop_releases_requests_in_the_order_given() -> None:
    requests = [request("a", 10, 3, at=999), request("b", 10, 1), request("c", 10, 1), request("d", 10, 1)]
    result = serve(requests, concurrency=2)
    assert [r.arrival_us for r in result.requests] == [0, 0, 120, 230]


def test_the_clients_of_a_closed_loop_start_one_after_the_other_within_the_ramp() -> None:
    requests = [request(name, 10, 1) for name in "abcde"]
    result = run(requests, HundredPlusTokens(), EngineOptions(block_tokens=4), concurrency=4, ramp_us=2000)
    assert [r.arrival_us for r in result.requests] == [0, 500, 1000, 1500, 110]


def test_no_step_starts_after_the_horizon_and_the_last_one_is_finished() -> None:
    requests = [request("a", 10, 2), request("b", 10, 1, at=105), request("c", 10, 1, at=300)]
    result = serve(requests, horizon_us=110, max_running=1)
    assert [r.state for r in result.requests] == [
        RequestState.COMPLETED,
        RequestState.QUEUED,
        RequestState.NOT_ARRIVED,
    ]
    assert result.counters.end_us == 210


def test_a_request_cut_off_by_the_horizon_is_reported_as_running() -> None:
    (result,) = serve([request("a", 10, 50)], horizon_us=500).requests
    assert result.state is RequestState.RUNNING
    assert result.first_token_us == 110
    assert result.completed_us is None


def test_a_stretch_of_decodes_ends_with_the_step_in_which_somebody_arrives() -> None:
    result = by_id(serve([request("a", 10, 500), request("b", 10, 1, at=12_345)]))
    assert result["b"].scheduled_us == 12_410


def test_counters_tell_prefill_decode_and_mixed_steps_apart() -> None:
    counters = serve([request("a", 10, 4), request("b", 6, 1, at=1)]).counters
    assert (counters.prefill_steps, counters.mixed_steps, counters.decode_steps) == (1, 1, 2)
    assert (counters.prefill_us, counters.mixed_us, counters.decode_us) == (110, 106, 200)
    assert (counters.prefill_tokens, counters.decode_tokens) == (16, 3)
    assert (counters.steps, counters.end_us, counters.peak_kv_blocks) == (4, 416, 5)


def test_a_repetition_gives_the_same_result() -> None:
    numbers = random.Random(1)
    requests = [request(f"r{i}", numbers.randint(1, 60), numbers.randint(1, 60), 40 * i) for i in range(50)]
    first, second = (serve(requests, kv_blocks=60, token_budget=40) for _ in range(2))
    assert first.counters.preemptions > 0
    assert repr(first) == repr(second)


def test_a_lone_decode_costs_the_same_whether_or_not_its_steps_were_priced_before() -> None:
    alone = [request(f"r{i}", 10 + i, 40, at=100_000 * i) for i in range(5)]
    step_time = StubStepTime((20, 37), check=True)
    together = run(alone, step_time, EngineOptions())
    for lone, result in zip(alone, together.requests, strict=True):
        (single,) = run([lone], StubStepTime((20, 37)), EngineOptions()).requests
        assert result == single


BAD = {
    "prompt_tokens: must be a whole number of at least 1, got 0": {"prompt_tokens": 0},
    "output_tokens: must be a whole number of at least 0, got -1": {"output_tokens": -1},
    "arrival_us: must be a whole number of at least 0, got -5": {"arrival_us": -5},
    "arrival_us: must be a whole number of at least 0, got nan": {"arrival_us": float("nan")},
    "prompt_tokens: must be a whole number of at least 1, got 4.5": {"prompt_tokens": 4.5},
    "queueing_delay_us: must be a whole number of at least 0, got -1": {"queueing_delay_us": -1},
    "prefix_tokens: must be at most prompt_tokens (10), got 11": {"prefix_tokens": 11},
    "prefix_tokens: must be a whole number of at least 0, got -1": {"prefix_tokens": -1},
    "priority: must be a whole number, got inf": {"priority": float("inf")},
}


@pytest.mark.parametrize("message", BAD)
def test_a_request_that_means_nothing_is_refused_by_name_and_key(message: str) -> None:
    bad = replace(request("odd", 10, 1), **BAD[message])
    with pytest.raises(ConfigError) as refusal:
        serve([request("fine", 10, 1), bad])
    assert str(refusal.value) == f"requests: odd: {message}"


def test_ids_given_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match="a: id is given twice"):
        serve([request("a", 10, 1), request("a", 11, 1)])


def test_many_bad_requests_are_listed_in_one_short_message() -> None:
    with pytest.raises(ConfigError, match="and 30 more") as refusal:
        serve([request(f"r{i}", 0, 1) for i in range(40)])
    assert len(str(refusal.value).splitlines()) == 12


@pytest.mark.parametrize("clients", [0, -1, 1.5])
def test_a_closed_loop_needs_a_whole_number_of_clients(clients: float) -> None:
    with pytest.raises(ConfigError, match="concurrency: must be a whole number of at least 1"):
        serve([request("a", 10, 1)], concurrency=clients)


@pytest.mark.parametrize("block_tokens", [4096, 4097, 10**12])
def test_a_block_longer_than_every_request_costs_no_memory_and_changes_no_time(block_tokens) -> None:
    requests = [request("a", 3, 4), request("b", 5, 9, at=150), request("c", 2, 2, at=300)]
    usual = serve(requests, block_tokens=64)
    assert serve(requests, block_tokens=block_tokens).requests == usual.requests
