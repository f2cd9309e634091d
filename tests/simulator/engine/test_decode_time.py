"""Stretches of decodes timed by their past tokens alone: the same run, with fewer questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import HealthCheck, given, settings

from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request
from simulator.steptime.batch import BatchSums
from tests.simulator.engine.strategies import Case, cases
from tests.simulator.engine.stub import StubStepTime

many = settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class BySums:
    """A duration that depends on chunks, number of decodes and all their past tokens."""

    kv_breakpoints: tuple[int, ...] = ()

    def step_time_us(self, sums: BatchSums) -> int:
        prefill_us = sum(3 + past % 5 + 2 * new for past, new in sums.prefill)
        return 10 + prefill_us + sums.decode_past_tokens // 3 + 2 * sums.decode_count % 7


class ByPastTokens(BySums):
    """The same, offered by past tokens for some batch sizes."""

    def __init__(self) -> None:
        self.offered = 0

    def decode_time_us(self, count: int) -> Callable[[int], int] | None:
        if count % 4 == 1:
            return None
        self.offered += 1
        return lambda past_tokens: 10 + past_tokens // 3 + 2 * count % 7


@many
@given(case=cases())
def test_a_run_is_the_same_whether_or_not_its_model_times_decodes_by_past_tokens(case: Case) -> None:
    by_sums, by_past_tokens = (
        run(case.requests, model, case.options, concurrency=case.concurrency) for model in (BySums(), ByPastTokens())
    )
    assert by_past_tokens == by_sums


@many
@given(case=cases())
def test_so_it_is_on_a_server_that_composes_the_next_step_while_one_runs(case: Case) -> None:
    options = case.options.model_copy(update={"schedule_ahead": True})
    by_sums, by_past_tokens = (
        run(case.requests, model, options, concurrency=case.concurrency) for model in (BySums(), ByPastTokens())
    )
    assert by_past_tokens == by_sums


def test_the_offer_is_taken_up_unless_steps_are_recorded() -> None:
    requests = [Request(id=str(index), arrival_us=0, prompt_tokens=40, output_tokens=30) for index in range(3)]
    plain, recorded = ByPastTokens(), ByPastTokens()
    without = run(requests, plain, EngineOptions())
    with_steps = run(requests, recorded, EngineOptions(), record_steps=True)
    assert (plain.offered > 0, recorded.offered) == (True, 0)
    assert replace(with_steps, steps=()) == without


def test_an_offer_of_a_model_with_breakpoints_is_not_taken_up() -> None:
    class Bent(StubStepTime):
        def decode_time_us(self, count: int) -> Callable[[int], int]:
            raise AssertionError("past tokens alone do not tell the interval")

    requests = [Request(id=str(index), arrival_us=0, prompt_tokens=40, output_tokens=30) for index in range(3)]
    assert run(requests, Bent((50,)), EngineOptions()) == run(requests, StubStepTime((50,)), EngineOptions())
