"""The meter that says where a run's time went."""

from __future__ import annotations

import pytest

from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.shares import BottleneckMeter
from tests.simulator.steptime.support import BentKernels, step_time

TABLES = {"mfu": {"kind": "kernels", "style": "mfu"}}


def test_shares_add_up_and_weigh_steps_by_their_duration():
    meter = BottleneckMeter(step_time({}))
    prefill, decode = Batch(((0, 4000),)), Batch(decode=(100,))
    durations = [meter.price(BatchSums.of(batch)) for batch in (prefill, decode, decode)]
    summary = meter.summary()
    assert summary["steps"] == 3
    assert summary["total_us"] == sum(durations)
    assert summary["time_share"]["prefill gemm"] == pytest.approx(durations[0] / sum(durations))
    assert sum(summary["time_share"].values()) == pytest.approx(1)
    assert summary["phases"] == {"prefill": {"gemm": 1.0}, "decode": {"memory": 1.0}}
    assert summary["branches"] == {"decode_only": 2, "prefill_only": 1}


def test_lookups_outside_the_table_and_borrowed_rows_are_counted():
    built = step_time(TABLES, kernels=BentKernels())
    meter = BottleneckMeter(built)
    meter.price(BatchSums.of(Batch(decode=(600, 9000)), built.kv_breakpoints))
    lookups = meter.summary()["lookups"]
    assert (lookups["extrapolated"], lookups["fallback"]) == (1, 1)
    assert lookups["total"] == lookups["off_grid"] + 2


def test_the_meter_prices_as_the_model_it_watches():
    built = step_time({"phase_combination": "sum"})
    meter = BottleneckMeter(built)
    batch = Batch(((0, 100),), (5, 6))
    assert meter.price(BatchSums.of(batch)) == built.price(BatchSums.of(batch))
    assert meter.explain(batch) == built.explain(batch)
    assert meter.kv_breakpoints == built.kv_breakpoints


def test_a_meter_that_priced_nothing_has_an_empty_summary():
    summary = BottleneckMeter(step_time({})).summary()
    assert (summary["steps"], summary["time_share"], summary["phases"]) == (0, {}, {})
