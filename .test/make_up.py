"""Make up the measurements of the example lab: runs of the project's own simulator, distorted in a way stated here.

    python .test/make_up.py .test/measured

Writes results as `vllm bench serve --save-detailed` would. Nobody measured anything: model, GPU and times are made up.
The distortion stands for what a simulator does not describe, so that predictions cannot agree to the digit.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

from simulator import EngineOptions, build_step_time, load_hardware, load_model, parse_options, run
from simulator.engine.records import StepRecord
from simulator.input_files import read_yaml
from simulator.validation import parse
from simulator.workload.build import Workload, WorkloadSpec, build_workload

LAB = Path(__file__).parent
# The distortion: a token takes so many times what was simulated, and a client sees the first one so much later.
SLOWER = 1.04
CLIENT_S = 0.006
FIRST_SEED = 40
US_PER_S = 1e6
# Experiment -> prompt and output lengths in tokens (mean, deviation, least, most), rates in requests per second.
WORKLOADS: Mapping[str, tuple[tuple[int, int, int, int], tuple[int, int, int, int], tuple[int, ...]]] = {
    "made-up-chat": ((60, 20, 10, 120), (64, 16, 16, 96), (2, 8)),
    "made-up-code": ((900, 200, 300, 1500), (16, 4, 4, 32), (1, 4)),
    "made-up-mix": ((300, 100, 50, 600), (40, 12, 8, 80), (1, 4, 8)),
}
REQUESTS = 30
# What a person would state of a server: here the defaults of the simulated one.
SERVER = "token_budget: 2048\nprefix_caching: false\nschedule_ahead: false\n"


def main(target: Path) -> None:
    """Write every result below `target`."""
    for name, (prompt, output, rates) in WORKLOADS.items():
        for rate in rates:
            path = target / name / f"rate_{rate}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(_result(prompt, output, rate)) + "\n", encoding="utf-8")
        (target / name / "server.yaml").write_text(SERVER, encoding="utf-8")


def _result(prompt: Sequence[int], output: Sequence[int], rate: int) -> dict[str, Any]:
    """Simulate one rate and return it as the client would have seen it."""
    arrivals = {"kind": "poisson", "rate_per_s": float(rate)}
    spec = {"requests": REQUESTS, "arrivals": arrivals, "prompt": _lengths(prompt), "output": _lengths(output)}
    workload = build_workload(parse(WorkloadSpec, spec, source="make_up.py"), FIRST_SEED + rate)
    gpu = load_hardware(LAB / "configs" / "hardware" / "made-up-gpu.yaml")
    model = load_model(LAB / "configs" / "models" / "made-up-1b.json")
    options = parse_options(read_yaml(LAB / "truth.yaml"), source="truth.yaml")
    step_time = build_step_time(options, model, gpu, 1)
    done = run(workload.requests, step_time, EngineOptions(prefix_caching=False), record_steps=True)
    return _as_written(workload, _token_times_s(done.steps), rate)


def _lengths(numbers: Sequence[int]) -> dict[str, Any]:
    return dict(zip(("mean_tokens", "stdev_tokens", "min_tokens", "max_tokens"), numbers, strict=True)) | {
        "kind": "gaussian"
    }


def _token_times_s(steps: Sequence[StepRecord]) -> dict[str, list[float]]:
    """Return when each request got its tokens; a step with a chunk of its prompt counts until the last one did."""
    found: dict[str, list[float]] = {}
    for step in steps:
        end_s = (step.start_us + step.duration_us) / US_PER_S
        for request, *_ in step.prefill:
            found[request] = [end_s]
        for request, _ in step.decode:
            found[request].append(end_s)
    return found


def _as_written(workload: Workload, times_s: Mapping[str, Sequence[float]], rate: int) -> dict[str, Any]:
    """Return the result's fields under the names vLLM's benchmark gives them, distorted."""
    requests = workload.requests
    starts = [request.arrival_us / US_PER_S for request in requests]
    ttfts = [round(times_s[each.id][0] - start + CLIENT_S, 6) for each, start in zip(requests, starts, strict=True)]
    itls = [
        [round(SLOWER * (after - before), 6) for before, after in pairwise(times)]
        for times in (times_s[each.id] for each in requests)
    ]
    e2els = [ttft + sum(gaps) for ttft, gaps in zip(ttfts, itls, strict=True)]
    tpots = [fmean(gaps) for gaps in itls]
    duration = max(start + e2el for start, e2el in zip(starts, e2els, strict=True)) - min(starts)
    prompts = [each.prompt_tokens for each in requests]
    outputs = [each.output_tokens for each in requests]
    result = {
        "date": "20260131-120000",
        "backend": "vllm",
        "model_id": "made-up-1b",
        "num_prompts": len(requests),
        "request_rate": float(rate),
        "burstiness": 1.0,
        "max_concurrency": None,
        "duration": duration,
        "completed": len(requests),
        "total_input_tokens": sum(prompts),
        "total_output_tokens": sum(outputs),
        "request_throughput": len(requests) / duration,
        "output_throughput": sum(outputs) / duration,
    }
    lists = (("ttft", ttfts), ("tpot", tpots), ("itl", [gap for gaps in itls for gap in gaps]), ("e2el", e2els))
    for name, values in lists:
        result |= {f"mean_{name}_ms": 1000 * fmean(values), f"median_{name}_ms": 1000 * median(values)}
    rounded = {key: round(value, 6) if isinstance(value, float) else value for key, value in result.items()}
    recorded = {"input_lens": prompts, "output_lens": outputs, "ttfts": ttfts, "itls": itls}
    return rounded | recorded | {"start_times": [round(start, 6) for start in starts]}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
