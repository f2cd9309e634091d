"""Finding a known prefix again, and what it saves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.engine.kv_cache import BlockTable, KvCache
from simulator.engine.records import Request, RunResult
from simulator.errors import ConfigError, InvariantError
from tests.simulator.engine.test_loop import by_id, request, serve


def shared(name: str, prompt: int, prefix: int, at: int = 0, output: int = 1, group: str = "g") -> Request:
    return request(name, prompt, output, at, prefix_group=group, prefix_tokens=prefix)


def cached(result: RunResult) -> dict[str, int]:
    return {request.id: request.cached_tokens for request in result.requests}


def test_full_blocks_of_a_shared_prefix_are_computed_once() -> None:
    result = serve([shared("a", 20, 10), shared("b", 20, 10, at=500)])
    assert cached(result) == {"a": 0, "b": 8}
    assert result.steps[1].prefill == (("b", 8, 12),)
    assert (result.counters.kv_block_hits, result.counters.cached_tokens) == (2, 8)


def test_requests_admitted_in_the_same_step_share_already() -> None:
    result = serve([shared("a", 20, 10), shared("b", 20, 10)])
    assert result.steps[0].prefill == (("a", 0, 20), ("b", 8, 12))
    assert result.steps[0].kv_blocks_used == 5 + 3


@pytest.mark.parametrize("second", [shared("b", 20, 10, group="h"), request("b", 20, 1, prefix_tokens=10)])
def test_other_groups_and_requests_without_a_group_share_nothing(second: Request) -> None:
    assert cached(serve([shared("a", 20, 10), second]))["b"] == 0


def test_without_prefix_caching_everything_is_computed() -> None:
    assert cached(serve([shared("a", 20, 10), shared("b", 20, 10)], prefix_caching=False)) == {"a": 0, "b": 0}


def test_the_context_of_a_cached_prefix_can_be_ignored_in_the_admitting_step() -> None:
    requests = [shared("a", 20, 12), shared("b", 20, 12, at=500)]
    result = serve(requests, cached_prefix_context="ignored", token_budget=6)
    chunks = [entry for step in result.steps for entry in step.prefill if entry[0] == "b"]
    assert chunks == [("b", 0, 6), ("b", 18, 2)]


def test_a_prompt_found_wholly_computes_its_last_block_again() -> None:
    result = serve([shared("a", 16, 16), shared("b", 16, 16, at=500)])
    assert result.steps[1].prefill == (("b", 12, 4),)


def test_a_prompt_found_wholly_can_be_admitted_without_a_token() -> None:
    result = serve([shared("a", 16, 16), shared("b", 16, 16, at=500, output=2)], full_prefix_hit="admit_empty")
    assert result.steps[1].prefill == (("b", 16, 0),)
    b = by_id(result)["b"]
    assert (b.scheduled_us, b.first_token_us, b.completed_us) == (500, 600, 700)


def test_decodes_beyond_the_token_budget_are_left_out_of_the_step() -> None:
    requests = [shared("a", 8, 8, output=9), *(shared(f"b{i}", 8, 8, at=300, output=9) for i in range(3))]
    result = serve(requests, full_prefix_hit="admit_empty", token_budget=2, long_prefill_threshold_tokens=2)
    assert max(len(step.decode) + sum(new for _, _, new in step.prefill) for step in result.steps) == 2
    assert all(request.completed_us is not None for request in result.requests)


def test_a_partly_filled_block_is_never_shared() -> None:
    assert cached(serve([shared("a", 7, 7), shared("b", 7, 7, at=500)]))["b"] == 4


def test_a_shorter_prompt_uses_the_beginning_of_a_longer_known_prefix() -> None:
    result = serve([shared("a", 40, 32), shared("b", 10, 10, at=500), shared("c", 40, 32, at=900)])
    assert cached(result) == {"a": 0, "b": 8, "c": 32}


def test_the_least_recently_used_prefix_is_forgotten_first() -> None:
    requests = [
        shared("old", 8, 8, at=0, group="old"),
        shared("new", 8, 8, at=200, group="new"),
        request("filler", 20, 1, at=400),
        shared("new again", 9, 8, at=600, group="new"),
        shared("old again", 9, 8, at=800, group="old"),
    ]
    result = cached(serve(requests, kv_blocks=7))
    assert (result["new again"], result["old again"]) == (8, 0)


def test_of_requests_that_finish_together_the_one_admitted_first_is_forgotten_first() -> None:
    requests = [
        shared("a", 8, 8, group="a"),
        shared("b", 8, 8, group="b"),
        request("filler", 12, 1, at=400),
        shared("b again", 9, 8, at=600, group="b"),
        shared("a again", 9, 8, at=800, group="a"),
    ]
    result = cached(serve(requests, kv_blocks=5))
    assert (result["b again"], result["a again"]) == (8, 0)


def test_the_end_of_a_prefix_is_forgotten_before_its_beginning() -> None:
    requests = [shared("a", 16, 16), request("filler", 8, 1, at=200), shared("b", 17, 16, at=400)]
    assert cached(serve(requests, kv_blocks=5))["b"] == 12


def test_cached_but_free_blocks_count_when_a_request_is_admitted() -> None:
    # Five blocks in all, one held by a. b needs five, of which four are known and free: one too many.
    requests = [shared("warm", 16, 16), request("a", 4, 5, at=200), shared("b", 20, 16, at=300)]
    result = by_id(serve(requests, kv_blocks=5))
    assert result["b"].scheduled_us >= result["a"].completed_us


def test_an_older_copy_is_found_until_it_is_gone_then_the_next_one() -> None:
    cache = KvCache(4, 4, prefix_caching=True)
    first, second, third, seeker = (BlockTable("g", 1) for _ in range(4))
    for table in (first, second, third):
        cache.take(1)
        cache.name_shared(table, 4)
    cache.release(first, 4)
    cache.release(third, 4)
    assert cache.find(seeker, 1).free_blocks == 1
    cache.take(2)
    # The second copy is held, the third is free.
    found = cache.find(seeker, 1)
    assert (found.blocks, found.free_blocks) == (1, 0)


def test_a_run_that_is_cut_is_freed_completely_by_those_who_held_all_of_it() -> None:
    cache = KvCache(10, 4, prefix_caching=True)
    whole, part = BlockTable("g", 5), BlockTable("g", 2)
    cache.take(5)
    cache.name_shared(whole, 20)
    cache.claim(part, cache.find(part, 2))
    cache.release(whole, 20)
    assert cache.used_blocks == 2
    cache.release(part, 8)
    assert cache.free_blocks == 10
    assert cache.find(BlockTable("g", 5), 5).blocks == 5


def test_a_run_that_was_cut_is_still_forgotten_from_its_end() -> None:
    cache = KvCache(5, 4, prefix_caching=True)
    whole, part = BlockTable("g", 5), BlockTable("g", 2)
    cache.take(5)
    cache.name_shared(whole, 20)
    cache.claim(part, cache.find(part, 2))
    cache.release(part, 8)
    cache.release(whole, 20)
    cache.take(3)
    assert cache.find(BlockTable("g", 5), 5).blocks == 2


def test_a_beginning_claimed_from_a_free_run_leaves_the_rest_in_its_place() -> None:
    cache = KvCache(6, 4, prefix_caching=True)
    whole, part = BlockTable("g", 4), BlockTable("g", 1)
    cache.take(4)
    cache.name_shared(whole, 16)
    cache.release(whole, 16)
    cache.claim(part, cache.find(part, 1))
    assert cache.find(BlockTable("g", 4), 4).blocks == 4
    cache.take(3)
    assert cache.find(BlockTable("g", 4), 4).blocks == 3


def test_taking_more_blocks_than_are_free_is_a_bug() -> None:
    with pytest.raises(InvariantError, match="3 KV blocks taken but only 2 are free"):
        KvCache(2, 4, prefix_caching=True).take(3)


# --- groups that begin alike -----------------------------------------------------------------------


def grouped(name: str, group: str, outer: str = "x", at: int = 0, prompt: int = 20, outer_tokens: int = 10) -> Request:
    return request(
        name, prompt, 1, at, prefix_group=group, prefix_tokens=prompt, outer_group=outer, outer_tokens=outer_tokens
    )


def test_prompts_of_one_outer_group_share_their_beginning_and_no_more() -> None:
    result = serve([grouped("a", "p"), grouped("b", "q", at=500), grouped("c", "p", at=900)])
    # Two of five blocks are full of common tokens; a prompt found as a whole computes its last block again.
    assert cached(result) == {"a": 0, "b": 8, "c": 16}


def test_prompts_of_different_outer_groups_share_nothing() -> None:
    assert cached(serve([grouped("a", "p"), grouped("b", "q", outer="y", at=500)]))["b"] == 0


def test_a_block_that_is_only_in_part_common_is_not_shared() -> None:
    assert cached(serve([grouped("a", "p"), grouped("b", "q", at=500, outer_tokens=7)]))["b"] == 4


def test_a_common_beginning_that_is_forgotten_is_computed_again() -> None:
    requests = [grouped("a", "p"), request("filler", 20, 1, at=400), grouped("b", "q", at=800)]
    assert cached(serve(requests, kv_blocks=5))["b"] == 0


def test_an_outer_prefix_beyond_the_prefix_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a: outer_tokens: must be at most prefix_tokens \(20\), got 30"):
        serve([grouped("a", "p", outer_tokens=30)])


def test_a_prefix_group_that_begins_alike_with_two_outer_groups_is_refused() -> None:
    inside = replace(shared("b", 20, 10, at=5), outer_group="x", outer_tokens=4)
    with pytest.raises(ConfigError, match="b: outer_group: prefix group 'g' is in None in an earlier request, got 'x'"):
        serve([shared("a", 20, 10), inside])
