"""Outputs on inputs of our own stay what they are, to the last digit, until someone updates them on purpose."""

from __future__ import annotations

import csv
import io
import json
from functools import cache
from pathlib import Path

import pytest

from roofline_lab.predict.arms import run_lines
from roofline_lab.project import load_project
from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request
from simulator.hardware import load_hardware
from simulator.kernels.analytic import load_analytic
from simulator.model_files import load_model
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.build import build_step_time
from simulator.steptime.kernel_choice import choose_kernels
from simulator.steptime.options import parse_options
from tests.paths import ROOT

GOLDEN = Path(__file__).parent / "golden"

MEMORY_ONLY = {
    "family": "mfu_roofline",
    "compute_term": False,
    "phase_combination": "weighted_average",
    "bandwidth_efficiency": 0.82,
}
CONSTANT = {"family": "mfu_roofline", "mfu": {"kind": "constant", "prefill": 0.65, "decode": 0.12}}
ADDITIVE = {
    **CONSTANT,
    "phase_combination": "additive",
    "overhead": {"kind": "per_layer_over_tp", "us": 100.0},
    "lm_head": True,
    "all_reduce_us": 10.0,
}
COMPONENTS = {
    **CONSTANT,
    "phase_combination": "sum",
    "per_component_roofline": True,
    "fused_qkv": True,
    "kv_bandwidth_efficiency": 0.6,
    "tensor_parallel": {"kind": "exponent", "prefill": 0.8, "decode": 1.0},
}
CURVES = {"family": "mfu_roofline", "mfu": {"kind": "kernels"}, "bandwidth_efficiency": 0.82}
BUCKETS = {
    "family": "mfu_roofline",
    "mfu": {"kind": "kernels", "style": "mfu"},
    "gemm_memory_floor": True,
    "prefill_context": "bucket",
    "prefill_gemm": "per_bucket",
    "decode_attention": "max_kv",
    "causal_divisor": 1.8,
}
CALIBRATED = {
    "family": "calibrated_roofline",
    "parameters": {
        "TFlopsPeak": 989.5,
        "BwPeakTBs": 3.35,
        "BwEffConstant": 0.72,
        "mfuPrefill": 0.6,
        "mfuDecode": 0.11,
    },
}
LINEAR = {"family": "linear", "step_us": 2100.0, "prefill_us_per_token": 9.5, "decode_us_per_token": 31.0}
OPTION_SETS = {
    "memory_only": MEMORY_ONLY,
    "constant": CONSTANT,
    "additive": ADDITIVE,
    "components": COMPONENTS,
    "curves": CURVES,
    "buckets": BUCKETS,
    "calibrated": CALIBRATED,
    "linear": LINEAR,
}
PLACES = (("llama-3.1-8b", "h100-sxm", 1), ("llama-2-70b-hf", "h100-sxm", 4), ("qwen3-14b", "h200-sxm", 2))
BATCHES = (
    Batch(prefill=((0, 1),)),
    Batch(prefill=((0, 17),)),
    Batch(prefill=((0, 777),)),
    Batch(prefill=((4096, 1000), (0, 48))),
    Batch(prefill=((0, 2048),)),
    Batch(decode=(0,)),
    Batch(decode=(311,)),
    Batch(decode=(9000,)),
    Batch(decode=tuple(range(64, 1088, 16))),
    Batch(decode=(100,) * 200 + (12_000,)),
    Batch(prefill=((0, 500),), decode=(600, 1300, 2900)),
    Batch(prefill=((1024, 1), (16, 300)), decode=tuple(range(10, 1290, 10))),
)


def step_time(options, model, hardware, tensor_parallel):
    """Build a step-time model from the project's own descriptions."""
    gpu = load_hardware(ROOT / f"configs/hardware/{hardware}.yaml")
    parsed = parse_options(options, source="golden")
    embedded = load_analytic(ROOT / "configs/kernels/h100/analytic.yaml")
    kernels = choose_kernels(parsed, gpu, embedded=embedded)
    described = load_model(ROOT / f"configs/models/{model}.json")
    return build_step_time(parsed, described, gpu, tensor_parallel, kernels)


def requests():
    """Return 24 requests in three bursts, a third of them with a shared prefix."""
    return [
        Request(
            id=f"r{index:02d}",
            arrival_us=(index // 8) * 150_000 + (index % 8) * 1_300,
            prompt_tokens=40 + (index * 397) % 1500,
            output_tokens=1 + (index * 53) % 90,
            prefix_group="greeting" if index % 3 == 0 else None,
            prefix_tokens=min(40 + (index * 397) % 1500, 96) if index % 3 == 0 else 0,
            priority=index % 5,
        )
        for index in range(24)
    ]


ENGINE_CASES = {
    "roomy": (EngineOptions(), None),
    "tight": (EngineOptions(token_budget=512, max_running=6, kv_blocks=220), None),
    "small_chunks": (EngineOptions(token_budget=1024, long_prefill_threshold_tokens=200, block_tokens=32), None),
    "one_client": (EngineOptions(), 1),
    "four_clients": (EngineOptions(prefix_caching=False), 4),
    "priority": (EngineOptions(scheduler="priority", max_running=4), None),
    "shortest": (EngineOptions(scheduler="shortest_job", max_running=4), None),
    "upstream": (EngineOptions(idle_until="step_start", cached_prefix_context="ignored", horizon_us=400_000), None),
}


@cache
def engine_requests():
    """Run every engine case and list every request."""
    model = step_time(CONSTANT, "llama-3.1-8b", "h100-sxm", 1)
    rows = []
    for name, (options, concurrency) in ENGINE_CASES.items():
        for request in run(requests(), model, options, concurrency=concurrency).requests:
            times = (request.scheduled_us, request.first_token_us, request.completed_us, request.last_step_us)
            rows.append(
                [
                    name,
                    request.id,
                    request.state.value,
                    request.arrival_us,
                    *times,
                    request.preemptions,
                    request.cached_tokens,
                ]
            )
    header = ["case", "request", "state", "arrival_us", "scheduled_us", "first_token_us", "completed_us"]
    return [[*header, "last_step_us", "preemptions", "cached_tokens"], *rows]


@cache
def step_prices():
    """Price every batch under every option set at every place."""
    rows = []
    for name, options in OPTION_SETS.items():
        for model, hardware, tensor_parallel in PLACES:
            priced = step_time(options, model, hardware, tensor_parallel)
            prices = [priced.step_time_us(BatchSums.of(batch, priced.kv_breakpoints)) for batch in BATCHES]
            rows.append([name, model, hardware, tensor_parallel, *prices])
    return [["options", "model", "hardware", "tp", *(f"batch_{i}_us" for i in range(len(BATCHES)))], *rows]


def h1_runs():
    """Simulate H1 on two experiments."""
    laboratory = load_project(ROOT)
    rows = []
    for planned in laboratory.runs("h1_bw_efficiency"):
        if planned.experiment.id in ("jan30-llama2-7b-tp1-codesweep", "20260210-qwen3-14b-tp2-chatsweep"):
            found = json.loads(run_lines(laboratory, planned))
            predicted = [
                f"{found['metrics'][metric]['predicted']:.6f}" for metric in ("ttft_mean", "tpot_mean", "e2e_mean")
            ]
            rows.append(
                [planned.method.id, planned.arm.name, planned.experiment.id, *predicted, found["counters"]["steps"]]
            )
    return [["method", "arm", "experiment", "ttft_ms", "tpot_ms", "e2e_ms", "steps"], *rows]


@pytest.mark.parametrize("produce", [engine_requests, step_prices, h1_runs], ids=lambda function: function.__name__)
def test_frozen_outputs_come_out_again(produce, update_golden):
    path = GOLDEN / f"{produce.__name__}.csv"
    text = _csv(produce())
    if update_golden:
        path.write_text(text, encoding="utf-8", newline="")
    assert text.splitlines() == path.read_text(encoding="utf-8").splitlines()


def test_the_frozen_engine_runs_reach_every_corner_they_are_meant_to():
    """A frozen output that never preempts or caches would guard nothing."""
    rows = [dict(zip(engine_requests()[0], row, strict=True)) for row in engine_requests()[1:]]
    of = {name: [row for row in rows if row["case"] == name] for name in ENGINE_CASES}
    assert sum(row["preemptions"] for row in of["tight"]) > 0
    assert sum(row["cached_tokens"] for row in of["roomy"]) > 0
    assert sum(row["cached_tokens"] for row in of["four_clients"]) == 0
    assert {row["state"] for row in of["upstream"]} > {"completed"}
    assert {row["state"] for row in of["roomy"]} == {"completed"}
    orders = {name: [row["request"] for row in sorted(of[name], key=lambda row: row["scheduled_us"])] for name in of}
    assert orders["priority"] != orders["shortest"] != orders["roomy"]


def test_frozen_prices_tell_option_sets_models_and_batches_apart():
    prices = [tuple(row[4:]) for row in step_prices()[1:]]
    linear = [tuple(row[4:]) for row in step_prices()[1:] if row[0] == "linear"]
    assert len(set(prices)) == len(prices) - len(linear) + 1
    assert all(len(set(row)) >= len(BATCHES) - 3 for row in prices)


def _csv(rows):
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(["" if cell is None else cell for cell in row] for row in rows)
    return stream.getvalue()
