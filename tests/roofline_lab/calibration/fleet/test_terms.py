"""The formula that is searched is the formula that predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roofline_lab.calibration.fleet.plan import load_fleet_plan
from roofline_lab.calibration.fleet.steps import Steps
from roofline_lab.calibration.fleet.terms import durations_us, times_at_peak
from simulator.hardware import load_hardware
from simulator.model_files import load_model
from simulator.parallelism import Parallelism
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.build import build_step_time
from simulator.steptime.fleet import conditions_of, constants_on, fleet_options

ROOT = Path(__file__).resolve().parents[4]
DEPLOYMENTS = [
    ("llama-3.3-70b-instruct-fp8", "h100-sxm", Parallelism(4)),
    ("llama-3.3-70b-instruct-fp8", "b200-sxm", Parallelism(1)),
    ("qwen3-32b", "h100-sxm", Parallelism(2)),
    ("minimax-m2.5", "h200-sxm", Parallelism(4)),
    ("minimax-m2.5", "h200-sxm", Parallelism(8, expert_parallel=True)),
    ("kimi-k2.5", "h200-sxm", Parallelism(8)),
    ("kimi-k2.5-nvfp4", "b200-sxm", Parallelism(4)),
]
BATCHES = [
    Batch(decode=(1000,) * 8),
    Batch(decode=(4000,) * 64),
    Batch(prefill=((0, 900),), decode=(2000,) * 15),
    Batch(prefill=((0, 7000),)),
    Batch(prefill=((2048, 2048),), decode=(500,) * 3),
]


def steps_of(batch: Batch) -> Steps:
    new = sum(count for _, count in batch.prefill)
    decodes = len(batch.decode)
    values = {
        "weight": 1.0,
        "decodes": decodes,
        "tokens": decodes + new,
        "rows": decodes + len(batch.prefill),
        "read_tokens": sum(batch.decode),
        "chunks": len(batch.prefill),
        "pairs": sum(count * (past + count / 2) for past, count in batch.prefill),
        "chunk_reads": sum(past + count for past, count in batch.prefill),
        "chunk_pasts": sum(past for past, _ in batch.prefill),
    }
    return Steps(**{name: np.array([float(value)]) for name, value in values.items()})


@pytest.mark.parametrize(("model_id", "gpu", "parallel"), DEPLOYMENTS)
@pytest.mark.parametrize("schedule_ahead", [True, False])
def test_a_step_costs_the_same_in_the_search_and_in_the_engine(model_id, gpu, parallel, schedule_ahead):
    model = load_model(ROOT / "configs" / "models" / f"{model_id}.json")
    hardware = load_hardware(ROOT / "configs" / "hardware" / f"{gpu}.yaml")
    on = conditions_of(model, hardware, schedule_ahead=schedule_ahead)
    effects = load_fleet_plan(ROOT, "vllm_fleet").effects
    constants = constants_on(on, ((effect.constant, effect.where, effect.start) for effect in effects))
    built = build_step_time(fleet_options(constants, on, model, hardware), model, hardware, parallel)
    for batch in BATCHES:
        times = times_at_peak(
            steps_of(batch), model, hardware, parallel, graph_tokens=on.graph_tokens, schedule_ahead=schedule_ahead
        )
        expected = built.duration_us(BatchSums.of(batch, built.kv_breakpoints))
        assert durations_us(times, constants)[0] == pytest.approx(expected, rel=1e-9)
