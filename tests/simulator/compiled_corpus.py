"""Everything the engine and the step times do, printed: `test_compiled.py` runs it compiled and pure."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import simulator
from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request
from simulator.hardware import load_hardware
from simulator.kernels.analytic import load_analytic
from simulator.metrics import measure_all
from simulator.model_files import load_model
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.build import build_step_time
from simulator.steptime.kernel_choice import choose_kernels
from simulator.steptime.observers import BottleneckObserver, ExtremesObserver
from simulator.steptime.options import CalibratedPhysicsOptions, parse_options
from simulator.validation import read_yaml
from simulator.workload.build import WorkloadSpec, build_workload
from tests.simulator.steptime.test_price_and_explain import VARIANTS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
HARDWARE = load_hardware(CONFIGS / "hardware" / "h100-sxm.yaml")
CURVES = load_analytic(CONFIGS / "kernels" / "h100" / "analytic.yaml")
MODELS = [
    (load_model(CONFIGS / "models" / f"{name}.json"), tp)
    for name, tp in (("llama-2-7b-hf", 1), ("mixtral-8x7b-v0.1", 2), ("llama-4-scout-17b-16e-instruct-fp8", 4))
]
# Models that the calibrated physics alone prices as they are: sliding windows, latent attention.
PHYSICS_ALONE = [(load_model(CONFIGS / "models" / f"{name}.json"), 8) for name in ("gpt-oss-120b", "deepseek-v3")]
CONSTANTS = read_yaml(CONFIGS / "calibration" / "h100_vllm.yaml")["constants"]
FITTED = {name: CONSTANTS[name]["value"] for name in CONSTANTS if name in CalibratedPhysicsOptions.model_fields}
BATCHES = [
    Batch(prefill, decode)
    for prefill in ((), ((0, 7),), ((512, 1500), (0, 200)), ((30_000, 2048),))
    for decode in ((), (1,), (128, 700, 3001, 9000), tuple(range(3, 6000, 47)))
]
ENGINES = {
    "plain": {},
    "few_blocks": {"kv_blocks": 200},
    "small_blocks": {"kv_blocks": 4000, "block_tokens": 1},
    "budget": {"token_budget": 200, "long_prefill_threshold_tokens": 64},
    "shortest": {"kv_blocks": 300, "scheduler": "shortest_job", "max_running": 12},
    "priority": {"kv_blocks": 300, "scheduler": "priority"},
    "upstream": {"idle_until": "step_start", "cached_prefix_context": "ignored", "full_prefix_hit": "admit_empty"},
    "ahead": {"schedule_ahead": True, "kv_blocks": 500},
    "cut": {"horizon_us": 2_000_000, "prefix_caching": False},
    "groups": {"attention_data_parallel": 2, "prefix_caching": False},
}
ARRIVALS = [
    {"kind": "constant_rate", "rate_per_s": 40.0},
    {"kind": "poisson", "rate_per_s": 15.0},
    {"kind": "closed_loop", "concurrency": 9},
    {"kind": "constant_rate", "rate_per_s": 0.4},
]


def options_of(name: str):
    """Return the options of one variant; those without a family are of the roofline."""
    return parse_options({"family": "mfu_roofline", **VARIANTS[name]}, source=name)


def workload(arrivals: dict[str, object]):
    """Return 150 requests with a common beginning, of different lengths and priorities."""
    lengths = {"kind": "gaussian", "mean_tokens": 90, "stdev_tokens": 60, "min_tokens": 1, "max_tokens": 400}
    spec = {"requests": 150, "arrivals": arrivals, "prompt": lengths, "output": lengths}
    drawn = build_workload(WorkloadSpec.model_validate(spec | {"prefix": {"kind": "shared", "tokens": 100}}), 7)
    requests = [Request(**asdict(request) | {"priority": number % 3}) for number, request in enumerate(drawn.requests)]
    return requests, drawn.concurrency


def step_times():
    """Yield the name of every kind of step time on every model, and the step time."""
    for model, tp in MODELS:
        for name in VARIANTS:
            options = options_of(name)
            kernels = choose_kernels(options, HARDWARE, embedded=CURVES)
            yield f"{model.id} {name}", build_step_time(options, model, HARDWARE, tp, kernels)
    physics = parse_options({"family": "calibrated_physics", **FITTED}, source="physics")
    for model, tp in (*MODELS, *PHYSICS_ALONE):
        yield f"{model.id} physics", build_step_time(physics, model, HARDWARE, tp)


def main() -> None:
    """Print one line per priced batch and per result of a run."""
    print("compiled:", simulator.COMPILED)
    for name, step_time in step_times():
        for batch in BATCHES:
            sums = BatchSums.of(batch, step_time.kv_breakpoints)
            print(name, step_time.step_time_us(sums), json.dumps(step_time.explain(batch).as_dict()))
        observers = [BottleneckObserver(step_time), ExtremesObserver(step_time)]
        for observer in (step_time, *observers):
            served = run(workload(ARRIVALS[0])[0][:30], observer, EngineOptions(kv_blocks=400))
            print(name, served.counters, served.requests[-1])
        print(json.dumps(observers[0].summary()), observers[1].warnings(3000))
    name, step_time = next(step_times())
    for arrivals in ARRIVALS:
        requests, concurrency = workload(arrivals)
        for engine in ENGINES.values():
            for record in (False, True):
                result = run(requests, step_time, EngineOptions(**engine), concurrency=concurrency, record_steps=record)
                print(*result.requests, *result.steps, result.counters, measure_all(result.requests), sep="\n")


if __name__ == "__main__":
    main()
