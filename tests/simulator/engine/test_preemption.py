"""What happens when KV blocks run out."""

from __future__ import annotations

import random

import pytest

from simulator.engine.records import Request, RequestState
from tests.simulator.engine.test_loop import by_id, request, serve

# Two requests of 8 + 8 tokens in 6 blocks of 4 tokens: they need 4 blocks each at the end.
PAIR = (request("a", 8, 9), request("b", 8, 9))


def test_the_request_admitted_last_is_preempted_and_the_other_goes_on() -> None:
    result = by_id(serve(PAIR, kv_blocks=6))
    assert (result["a"].preemptions, result["b"].preemptions) == (0, 1)
    assert result["a"].completed_us == 116 + 8 * 100
    assert result["b"].state is RequestState.COMPLETED


def test_generated_tokens_are_kept_and_computed_again_as_part_of_the_prompt() -> None:
    steps = serve(PAIR, kv_blocks=6, prefix_caching=False).steps
    (again,) = [step for step in steps[1:] if step.prefill]
    # Preempted with 12 tokens computed and a 13th sampled.
    assert again.prefill == (("b", 0, 13),)
    assert sum(len(step.decode) for step in steps) == 8 + 7


def test_the_first_token_of_a_preempted_request_keeps_its_time() -> None:
    result = by_id(serve(PAIR, kv_blocks=6))["b"]
    assert result.first_token_us == 116
    assert result.scheduled_us > result.first_token_us


def test_no_request_is_admitted_in_a_step_that_preempts() -> None:
    # The blocks freed would hold the first chunk of b's second try at once.
    steps = serve(PAIR, kv_blocks=6, token_budget=4, prefix_caching=False).steps
    place = next(place for place, step in enumerate(steps[:-1]) if len(step.decode) == 1 and step.waiting)
    assert not steps[place].prefill
    assert steps[place + 1].prefill == (("b", 0, 3),)


def test_a_preempted_request_goes_before_those_that_waited() -> None:
    result = by_id(serve([*PAIR, request("c", 8, 1, at=200)], kv_blocks=6))
    assert result["b"].scheduled_us <= result["c"].scheduled_us


def test_a_preempted_request_finds_its_own_blocks_again() -> None:
    steps = serve([request("a", 8, 6), request("b", 8, 9)], kv_blocks=6).steps
    (again,) = [step for step in steps[1:] if step.prefill]
    assert again.prefill == (("b", 8, 5),)


def test_a_request_that_lacks_a_block_itself_is_preempted_if_it_is_the_last() -> None:
    # b needs its third block first, a its own two steps later.
    result = by_id(serve([request("a", 10, 5), request("b", 8, 9)], kv_blocks=5))
    assert (result["a"].preemptions, result["b"].preemptions) == (0, 1)


def test_a_prefill_that_runs_out_of_blocks_is_preempted_before_its_first_token() -> None:
    requests = [request("a", 16, 9), request("b", 24, 1)]
    result = by_id(serve(requests, kv_blocks=7, token_budget=20))
    assert result["b"].preemptions == 1
    assert result["b"].state is RequestState.COMPLETED


@pytest.mark.parametrize("prefix_caching", [True, False])
@pytest.mark.parametrize("scheduler", ["fcfs", "shortest_job", "priority"])
def test_under_heavy_pressure_everything_completes_and_no_block_leaks(scheduler: str, prefix_caching: bool) -> None:
    numbers = random.Random(7)
    requests = [
        Request(f"r{i}", 50 * i, numbers.randint(1, 60), numbers.randint(1, 40), "g", 0, numbers.randint(0, 2))
        for i in range(120)
    ]
    result = serve(requests, kv_blocks=26, scheduler=scheduler, prefix_caching=prefix_caching)
    assert result.counters.preemptions > 50
    assert {r.state for r in result.requests} == {RequestState.COMPLETED}
    (last,) = result.steps[-1].decode or [entry[:2] for entry in result.steps[-1].prefill]
    longest = max(r.prompt_tokens + r.output_tokens for r in result.requests)
    assert result.steps[-1].kv_blocks_used <= -(-longest // 4), last
