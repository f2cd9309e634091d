"""Observers change no duration, and see what they say they see."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings

from simulator.engine.loop import run
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.cost import LookupUse, StepCost
from simulator.steptime.observers import BottleneckObserver, ExtremesObserver
from tests.simulator.engine.strategies import Case, cases
from tests.simulator.steptime.support import BentKernels, step_time

TABLES = {"mfu": {"kind": "kernels", "style": "mfu"}}


def test_shares_add_up_and_weigh_steps_by_their_duration():
    observer = BottleneckObserver(step_time({}))
    prefill, decode = Batch(((0, 4000),)), Batch(decode=(100,))
    durations = [observer.step_time_us(BatchSums.of(batch)) for batch in (prefill, decode, decode)]
    summary = observer.summary()
    assert summary["steps"] == 3
    assert summary["total_us"] == sum(durations)
    assert summary["time_share"]["prefill gemm"] == pytest.approx(durations[0] / sum(durations))
    assert sum(summary["time_share"].values()) == pytest.approx(1)
    assert summary["phases"] == {"prefill": {"gemm": 1.0}, "decode": {"memory": 1.0}}
    assert summary["branches"] == {"decode_only": 2, "prefill_only": 1}


def test_lookups_outside_the_table_and_borrowed_rows_are_counted():
    built = step_time(TABLES, kernels=BentKernels())
    observer = BottleneckObserver(built)
    observer.step_time_us(BatchSums.of(Batch(decode=(600, 9000)), built.kv_breakpoints))
    lookups = observer.summary()["lookups"]
    assert (lookups["extrapolated"], lookups["fallback"]) == (1, 1)
    assert lookups["total"] == lookups["off_grid"] + 2


def test_the_observer_answers_as_the_model_it_observes():
    built = step_time({"phase_combination": "sum"})
    observer = BottleneckObserver(built)
    batch = Batch(((0, 100),), (5, 6))
    assert observer.step_time_us(BatchSums.of(batch)) == built.step_time_us(BatchSums.of(batch))
    assert observer.explain(batch) == built.explain(batch)
    assert observer.kv_breakpoints == built.kv_breakpoints


def test_an_observer_that_saw_nothing_has_an_empty_summary():
    summary = BottleneckObserver(step_time({})).summary()
    assert (summary["steps"], summary["time_share"], summary["phases"]) == (0, {}, {})


class Told:
    """A step time that puts every step it is asked to explain outside what its kernels know."""

    kv_breakpoints: tuple[int, ...] = ()

    def step_time_us(self, sums: BatchSums) -> int:
        prefill_us = sum(3 + past % 5 + 2 * new for past, new in sums.prefill)
        return 10 + prefill_us + sums.decode_past_tokens // 3 + 2 * sums.decode_count % 7

    def explain(self, batch: Batch) -> StepCost:
        use = LookupUse("kernel", f"table of {batch}", "size", "", 0.5, extrapolated=True)
        return StepCost("told", 1, 1.0, lookups=(use,))


class ToldFast(Told):
    """The same with both offers that save time."""

    def lone_decode_times_us(self, pasts: Iterable[int]) -> list[int]:
        return [self.step_time_us(BatchSums.of(Batch(decode=(past,)))) for past in pasts]

    def decode_times_us(self, sums: BatchSums, steps: int, limit_us: int) -> list[int]:
        count, past = sums.decode_count, sums.decode_past_tokens
        times_us = [10 + (past + step * count) // 3 + 2 * count % 7 for step in range(steps)]
        return [time_us for place, time_us in enumerate(times_us) if sum(times_us[:place]) < limit_us]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(case=cases())
def test_the_largest_steps_are_seen_and_the_run_is_the_same_whatever_the_observed_model_offers(case: Case) -> None:
    slow, fast = ExtremesObserver(Told()), ExtremesObserver(ToldFast())
    runs = [run(case.requests, model, case.options, concurrency=case.concurrency) for model in (slow, fast, Told())]
    assert runs[0] == runs[1] == runs[2]
    assert fast.warnings(0) == slow.warnings(0)
