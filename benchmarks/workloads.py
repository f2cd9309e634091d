"""Workloads that are timed: requests and the engine they are served by.

Contract: pure functions of their arguments, and of the files of this project for `published_matrix`.
"""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.engine.options import EngineOptions
from simulator.engine.records import Request
from simulator.validation import read_yaml
from simulator.workload.build import WorkloadSpec, build_workload

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "configs" / "methods" / "as_published"
SEED = 20_240_601

# Blocks a Llama-2-7B has on one 80 GB GPU are a few thousand; enough here that nothing is preempted,
# and no more, because the plain engine searches its list of free blocks.
OPTIONS = EngineOptions(kv_blocks=20_000)
# What the published H1 was computed with.
MEMORY_ALONE = {"family": "mfu_roofline", "compute_term": False, "phase_combination": "weighted_average"}


@dataclass(frozen=True)
class Run:
    """One simulation: what runs where, and its requests."""

    requests: Sequence[Request]
    model: str = "llama-2-7b-hf"
    tensor_parallel: int = 1
    bandwidth_efficiency: float | None = None


@dataclass(frozen=True)
class Workload:
    """One thing to time: runs, and a limit in seconds where there is one.

    `plain_runs` and `plain_requests` say which fraction the plain engine is given.
    """

    name: str
    runs: Sequence[Run]
    limit_s: float | None = None
    plain_runs: int = 1
    plain_requests: int = 300


def workloads() -> list[Workload]:
    """Return everything that is timed."""
    return [
        Workload("published H1 matrix, 26 runs", published_matrix(), 0.1, plain_runs=4, plain_requests=50),
        Workload("1,000 chat requests at 100/s", [Run(chat(1_000, 100))]),
        Workload("10,000 chat requests at 100/s", [Run(chat(10_000, 100))], 0.2),
        Workload("100,000 chat requests at 100/s", [Run(chat(100_000, 100))], 2.0),
        Workload("10,000 code requests at 20/s", [Run(code(10_000, 20))], 0.25),
    ]


def chat(count: int, rate_per_s: float, seed: int = SEED) -> list[Request]:
    """Chat: 284 shared prompt tokens, a short tail of its own, long answers; evenly spaced."""
    numbers = random.Random(seed)
    return [
        Request(
            id=f"request_{index}",
            arrival_us=int(index * 1e6 / rate_per_s),
            prompt_tokens=284 + _clipped(numbers, 70, 35, 2, 200),
            output_tokens=_clipped(numbers, 215, 80, 1, 512),
            prefix_group="system",
            prefix_tokens=284,
        )
        for index in range(count)
    ]


def code(count: int, rate_per_s: float, seed: int = SEED) -> list[Request]:
    """Code: long prompts without a common beginning, mostly short answers; evenly spaced."""
    numbers = random.Random(seed)
    return [
        Request(
            id=f"request_{index}",
            arrival_us=int(index * 1e6 / rate_per_s),
            prompt_tokens=_clipped(numbers, 2048, 500, 100, 4096),
            output_tokens=_clipped(numbers, 28, 80, 1, 512),
        )
        for index in range(count)
    ]


def published_matrix() -> list[Run]:
    """Return the 13 experiments of the published H1, each at peak and at sustained bandwidth."""
    return [
        Run(
            build_workload(WorkloadSpec.model_validate(spec["workload"]), 0, base=RECORDED).requests,
            spec["model"],
            spec["tensor_parallel"],
            spec["steptime"]["bandwidth_efficiency"],
        )
        for spec in published_specs(Path())
    ]


def published_specs(base: Path = RECORDED) -> Iterator[dict[str, Any]]:
    """Yield the same runs as `python -m simulator runs` takes them; `base` is put before the name of the trace."""
    with (RECORDED / "arrival_intervals.csv").open(encoding="utf-8", newline="") as file:
        intervals = list(csv.DictReader(file))
    for row in intervals:
        experiment: dict[str, Any] = read_yaml(ROOT / "ground_truth" / row["experiment"] / "experiment.yaml")
        lengths = {"file": str(base / "request_lengths.csv"), "where": {"workload": experiment["workload"]["name"]}}
        for share in (None, 0.82):
            yield {
                "model": experiment["model"],
                "tensor_parallel": experiment["tensor_parallel"],
                "steptime": MEMORY_ALONE | {"bandwidth_efficiency": share},
                "engine": {"kv_blocks": OPTIONS.kv_blocks},
                "workload": {
                    "trace": lengths,
                    "arrivals": {"kind": "constant_interval", "interval_us": int(row["interval_us"])},
                },
            }


def closed_loops(folder: Path) -> Path:
    """Return a folder with copies of the project's experiments in which several clients wait for answers."""
    for path in sorted((ROOT / "ground_truth").glob("*/experiment.yaml")):
        experiment: dict[str, Any] = read_yaml(path)
        if any(point["arrivals"].get("concurrency", 1) > 1 for point in experiment["load_points"]):
            shutil.copytree(path.parent, folder / path.parent.name)
    return folder


def _clipped(numbers: random.Random, mean: float, spread: float, lowest: int, highest: int) -> int:
    return min(max(round(numbers.gauss(mean, spread)), lowest), highest)
