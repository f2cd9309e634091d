"""Where and why a correct engine leaves the recorded runs; the account is docs/engine-differences.md.

Recorded durations price every step whose composition was recorded, so up to the first difference nothing
but scheduling is compared.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from simulator.engine.loop import run
from simulator.engine.records import RequestState, RunResult, StepRecord
from simulator.steptime.batch import BatchSums
from tests.oracle import DIFFERENT, EXACT, EXACT_WITH_OVERLAP, OracleCase, RecordedStepTime, load_case

CHAT, CODE = DIFFERENT
BUDGET_EXHAUSTION = "23_budget_exhaustion_chat_7b_tp1"


class RecordedOrTypical(RecordedStepTime):
    """Recorded durations, and 12 ms for a step that was never recorded."""

    def step_time_us(self, sums: BatchSums) -> int:
        try:
            return super().step_time_us(sums)
        except KeyError:
            return 12_000


def replayed(folder: Path) -> tuple[OracleCase, RunResult]:
    case = load_case(folder)
    return case, run(case.requests, RecordedOrTypical(case.steps), case.options, record_steps=True)


def first_difference(case: OracleCase, result: RunResult) -> int:
    pairs = zip(result.steps, case.steps, strict=False)
    return next(place for place, (ours, recorded) in enumerate(pairs) if ours != recorded)


def decoding(step: StepRecord) -> set[str]:
    return {name for name, _ in step.decode}


def blocks_of(step: StepRecord, block_tokens: int) -> int:
    """Blocks the step's requests need, if they share none."""
    lengths = [past + 1 for _, past in step.decode] + [past + new for _, past, new in step.prefill]
    return sum(-(-length // block_tokens) for length in lengths)


def own_blocks(prefix_tokens: int, past_tokens: int, case: OracleCase) -> int:
    """Blocks of a decoding request that it does not share."""
    block_tokens = case.options.block_tokens
    return -(-(past_tokens + 1) // block_tokens) - prefix_tokens // block_tokens


def test_under_chat_pressure_upstream_evicts_five_requests_where_one_is_enough(shared_dir: Path) -> None:
    case, result = replayed(shared_dir / "oracle" / "engine" / CHAT)
    place = first_difference(case, result)
    assert place == case.preempting_steps[0] == 640
    before, recorded, ours = case.steps[place - 1], case.steps[place], result.steps[place]
    last_admitted = [name for name, _ in before.decode][-5:]
    assert decoding(before) - decoding(ours) == {last_admitted[-1]}
    assert decoding(before) - decoding(recorded) == set(last_admitted)
    # Every block is in use after one eviction: nothing was freed that was not needed.
    assert ours.kv_blocks_used == case.options.kv_blocks
    assert (ours.waiting, recorded.waiting) == (2, 6)
    # Upstream visits the first victim again, as a new prompt, and evicts the other four to make room for it.
    victim = next(request for request in case.requests if request.id == last_admitted[-1])
    freed = sum(own_blocks(victim.prefix_tokens, past, case) for _, past in ours.decode[-4:])
    taken = -(-victim.prompt_tokens // case.options.block_tokens)
    assert recorded.kv_blocks_used == case.options.kv_blocks - freed + taken == 1120 - 27 + 23


def test_under_code_pressure_upstream_gives_blocks_to_a_request_it_has_just_evicted(shared_dir: Path) -> None:
    case, result = replayed(shared_dir / "oracle" / "engine" / CODE)
    place = first_difference(case, result)
    # Four steps that evict are repeated exactly: their victim is the requester itself, so upstream stops there.
    assert case.preempting_steps[:5] == (179, 276, 363, 367, place)
    recorded, ours = case.steps[place], result.steps[place]
    assert replace(ours, kv_blocks_used=0) == replace(recorded, kv_blocks_used=0)
    budget_left = case.options.token_budget - len(ours.decode)
    assert recorded.kv_blocks_used - ours.kv_blocks_used == -(-budget_left // case.options.block_tokens) == 128


@pytest.mark.parametrize(("name", "leaked"), [(CHAT, 724), (CODE, 197)])
def test_upstream_ends_with_leaked_blocks_and_this_engine_with_none(name: str, leaked: int, shared_dir: Path) -> None:
    case, result = replayed(shared_dir / "oracle" / "engine" / name)
    block_tokens = case.options.block_tokens
    assert case.steps[-1].kv_blocks_used - blocks_of(case.steps[-1], block_tokens) == leaked
    assert result.steps[-1].kv_blocks_used == blocks_of(result.steps[-1], block_tokens)
    assert {request.state for request in result.requests} == {RequestState.COMPLETED}


def test_with_a_budget_of_32_tokens_no_running_request_is_ever_left_out(shared_dir: Path) -> None:
    """The case was recorded to show what upstream does to requests beyond the budget; there are none."""
    case, result = replayed(shared_dir / "oracle" / "engine" / BUDGET_EXHAUSTION)
    assert result.steps == case.steps
    tokens = [len(step.decode) + sum(new for _, _, new in step.prefill) for step in case.steps]
    assert max(tokens) == case.options.token_budget


@pytest.mark.parametrize("name", EXACT + EXACT_WITH_OVERLAP + DIFFERENT)
def test_both_rules_for_dropping_agree_on_every_recorded_request(name: str, shared_dir: Path) -> None:
    case = load_case(shared_dir / "oracle" / "engine" / name)
    capacity = case.options.kv_blocks * case.options.block_tokens
    for request in case.requests:
        prompt_fits = request.prompt_tokens <= capacity
        assert prompt_fits == (request.prompt_tokens + max(request.output_tokens, 1) - 1 <= capacity)
