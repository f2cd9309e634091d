"""Stretches of decodes timed in one call: the same run, with fewer questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request
from simulator.steptime.batch import BatchSums
from tests.simulator.engine.strategies import Case, cases
from tests.simulator.engine.stub import StubStepTime

many = settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def stretch_us(step_time: StubStepTime, sums: BatchSums, steps: int, limit_us: int) -> Iterator[int]:
    """Yield durations step by step, by sums that grow as the requests do; squares are those of one interval each."""
    grown = BatchSums(len(sums.counts))
    grown.decode_count = sums.decode_count
    grown.counts, grown.elsewhere = list(sums.counts), sums.elsewhere
    elapsed_us = 0
    for step in range(steps):
        if elapsed_us >= limit_us:
            return
        grown.decode_past_tokens = sums.decode_past_tokens + step * sums.decode_count
        places = range(len(sums.counts))
        grown.pasts = [sums.pasts[j] + step * sums.counts[j] for j in places]
        grown.squares = [sums.squares[j] + step * (2 * sums.pasts[j] + step * sums.counts[j]) for j in places]
        duration_us = step_time.step_time_us(grown)
        yield duration_us
        elapsed_us += duration_us


class AtOnce(StubStepTime):
    """The stub, offering to time many decodes at once but for some batch sizes: those that leave a rest of 1."""

    offered = 0
    divisor = 4

    def decode_times_us(self, sums: BatchSums, steps: int, limit_us: int) -> list[int] | None:
        if sums.decode_count % self.divisor == 1:
            return None
        self.offered += 1
        return list(stretch_us(self, sums, steps, limit_us))


class AlwaysAtOnce(AtOnce):
    divisor = 1


def runs(case: Case, options: EngineOptions, kind: type[AtOnce] = AtOnce, **further: bool):
    models = (StubStepTime(case.kv_breakpoints), kind(case.kv_breakpoints))
    return [run(case.requests, model, options, concurrency=case.concurrency, **further) for model in models]


@many
@given(case=cases())
def test_a_run_is_the_same_whether_or_not_its_model_times_decodes_at_once(case: Case) -> None:
    step_by_step, at_once = runs(case, case.options)
    assert at_once == step_by_step


@many
@given(case=cases())
def test_so_it_is_on_a_server_that_composes_the_next_step_while_one_runs(case: Case) -> None:
    step_by_step, at_once = runs(case, case.options.model_copy(update={"schedule_ahead": True}), count_gaps=True)
    assert at_once == step_by_step


@many
@given(case=cases(), groups=st.integers(2, 3), kind=st.sampled_from([AtOnce, AlwaysAtOnce]))
def test_so_it_is_on_groups_of_gpus_that_wait_for_the_slowest(case: Case, groups: int, kind: type[AtOnce]) -> None:
    options = case.options.model_copy(update={"attention_data_parallel": groups})
    step_by_step, at_once = runs(case, options, kind, count_gaps=True)
    assert at_once == step_by_step


@pytest.mark.parametrize("breakpoints", [(), (50,)])
def test_the_offer_is_taken_up_unless_steps_are_recorded(breakpoints: tuple[int, ...]) -> None:
    requests = [Request(id=str(index), arrival_us=0, prompt_tokens=40, output_tokens=30) for index in range(3)]
    plain, recorded = AtOnce(breakpoints), AtOnce(breakpoints)
    without = run(requests, plain, EngineOptions())
    with_steps = run(requests, recorded, EngineOptions(), record_steps=True)
    # All three pass the breakpoint together, which is the one event between their prompts and their ends.
    assert (plain.offered, recorded.offered) == (1 + len(breakpoints), 0)
    assert replace(with_steps, steps=()) == without
