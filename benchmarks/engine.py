"""Speed of the serving engine: `python -m benchmarks.engine [--plain]`.

Prints one line per workload: wall time, what it may cost, steps, microseconds per step, and how many times
longer the plain engine of the tests takes in the same process. The plain engine is given the first
requests of each workload only (`--plain N`) and the ratio is per step; it is quadratic in places, so the
ratio is a lower bound for the whole workload.

The step time is a parameter of every function here, so the same workloads can be timed with any model.
"""

from __future__ import annotations

import argparse
import gc
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request
from simulator.steptime.base import StepTimeModel
from simulator.steptime.batch import Batch, BatchSums

# Blocks a Llama-2-7B has on one 80 GB GPU are a few thousand; enough here that nothing is preempted,
# so that the plain engine, which searches its free list, is not hindered by their number.
OPTIONS = EngineOptions(kv_blocks=20_000)
SEED = 20_240_601


class MemoryStub:
    """Step time of a memory-bound 7B model: weights once per step, KV read per token of context."""

    kv_breakpoints: tuple[int, ...] = ()
    # 13.5 GB of weights at 3.35 TB/s, and 0.5 MiB of KV per token at the same rate.
    _weights_us = 4000.0
    _us_per_past_token = 0.156
    # 2 x 6.7e9 FLOP per token at 600 TFLOPS.
    _us_per_prefill_token = 22.0

    def price(self, sums: BatchSums) -> int:
        """Return the step's duration in microseconds."""
        memory_us = self._weights_us + self._us_per_past_token * sums.decode_past_tokens
        compute_us = 0.0
        for past_tokens, new_tokens in sums.prefill:
            memory_us += self._us_per_past_token * past_tokens
            compute_us += self._us_per_prefill_token * new_tokens
        return round(max(memory_us, compute_us))

    def explain(self, batch: Batch) -> object:
        """Say nothing: this stub only has a duration."""
        raise NotImplementedError


@dataclass(frozen=True)
class Workload:
    """One thing to time: a name, a limit in seconds, and the runs it consists of."""

    name: str
    limit_s: float
    runs: Sequence[Sequence[Request]]
    concurrency: int | None = None


def _clipped(random_numbers: random.Random, mean: float, spread: float, lowest: int, highest: int) -> int:
    return min(max(round(random_numbers.gauss(mean, spread)), lowest), highest)


def chat(count: int, rate_per_s: float, seed: int = SEED) -> list[Request]:
    """Chat: 284 shared prompt tokens, a short tail of its own, long answers."""
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
    """Code: long prompts without a common beginning, mostly short answers."""
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


def workloads() -> list[Workload]:
    """Return everything that has a limit, and the smaller sizes that show linear time."""
    closed = [chat(50, 1, seed) if seed % 2 else code(50, 1, seed) for seed in range(26)]
    return [
        Workload("26 runs of 50 requests, one client", 0.1, closed, concurrency=1),
        Workload("1,000 chat requests at 100/s", 0.02, [chat(1_000, 100)]),
        Workload("10,000 chat requests at 100/s", 0.2, [chat(10_000, 100)]),
        Workload("100,000 chat requests at 100/s", 2.0, [chat(100_000, 100)]),
        Workload("10,000 code requests at 20/s", 0.25, [code(10_000, 20)]),
    ]


def measure(workload: Workload, step_time: Callable[[], StepTimeModel], repeats: int) -> tuple[float, int]:
    """Return the best wall time of `repeats` and the number of steps."""
    best_s, steps = float("inf"), 0
    for _ in range(repeats):
        gc.collect()
        start = time.perf_counter()
        results = [run(requests, step_time(), OPTIONS, concurrency=workload.concurrency) for requests in workload.runs]
        best_s = min(best_s, time.perf_counter() - start)
        steps = sum(result.counters.steps for result in results)
    return best_s, steps


def plain_us_per_step(workload: Workload, step_time: StepTimeModel, count: int) -> float:
    """Return what a step costs the plain engine, over the first `count` requests."""
    from tests.reference_engine import serve

    def price(prefill: list[tuple[int, int]], decode: list[int]) -> int:
        return step_time.price(BatchSums.of(Batch(tuple(prefill), tuple(decode)), step_time.kv_breakpoints))

    requests = list(workload.runs[0][:count])
    start = time.perf_counter()
    steps = len(serve(requests, OPTIONS, price, workload.concurrency)["steps"])
    return 1e6 * (time.perf_counter() - start) / steps


def main() -> None:
    """Time every workload and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs per workload; the best counts (default 3)")
    parser.add_argument("--plain", type=int, default=300, help="requests given to the plain engine; 0: leave it out")
    arguments = parser.parse_args()
    print(f"{'workload':38s} {'s':>8s} {'limit s':>8s} {'steps':>9s} {'us/step':>8s} {'plain/fast':>10s}")
    for workload in workloads():
        best_s, steps = measure(workload, MemoryStub, arguments.repeats)
        us_per_step = 1e6 * best_s / steps
        ratio = plain_us_per_step(workload, MemoryStub(), arguments.plain) / us_per_step if arguments.plain else 0.0
        row = f"{workload.name:38s} {best_s:8.3f} {workload.limit_s:8.3f} {steps:9d} {us_per_step:8.2f}"
        print(f"{row} {ratio:9.0f}x" if ratio else row, flush=True)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process: {peak_mib:.0f} MiB")


if __name__ == "__main__":
    main()
