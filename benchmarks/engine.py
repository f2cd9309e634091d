"""Speed of the simulator: `python -m benchmarks.engine [--kernels DIR]`.

Prints one line per workload: best and median wall time of several runs, the limit, steps, microseconds per
step and per request, and how many times longer the plain engine of the tests takes for the same requests in
the same process (a stated fraction of the workload, because it is quadratic in places). Whole commands, imports
and memory are timed by `python -m benchmarks`.

What is timed is everything from validated options to results: a step-time model is built anew for every run,
so no step's price is remembered from one run to the next; requests, model files and kernel tables are there,
and measured tables remember efficiencies they were asked for as long as they are kept, so the first
repetition with them takes longest.
Step times are those of the embedded kernels, and with `--kernels DIR` also those of measured tables; the
published H1 matrix is also timed with the step time it was published with.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import simulator
from benchmarks.workloads import MEMORY_ALONE, OPTIONS, Run, Workload, workloads
from simulator.engine.loop import run as run_engine
from simulator.hardware import Hardware, load_hardware
from simulator.kernels.analytic import load_analytic
from simulator.kernels.measured import MeasuredKernels
from simulator.kernels.tables import load_tables
from simulator.model import Model
from simulator.model_files import load_model
from simulator.steptime.base import StepTimeModel
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.build import build_step_time
from simulator.steptime.options import KernelMfuOptions, MfuRooflineOptions, upstream_options

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"

StepTimeOf = Callable[[Run], StepTimeModel]


@dataclass(frozen=True)
class Timing:
    """Wall times of the repetitions of one workload, and the steps of one."""

    seconds: Sequence[float]
    steps: int

    @property
    def best_s(self) -> float:
        """The run that was disturbed least."""
        return min(self.seconds)


@cache
def _model(name: str) -> Model:
    return load_model(CONFIGS / "models" / f"{name}.json")


@cache
def _hardware() -> Hardware:
    return load_hardware(CONFIGS / "hardware" / "h100-sxm.yaml")


def embedded() -> StepTimeOf:
    """Return step times from the embedded kernels."""
    kernels = load_analytic(CONFIGS / "kernels" / "h100" / "analytic.yaml")

    def of(run: Run) -> StepTimeModel:
        options = MfuRooflineOptions(
            family="mfu_roofline",
            bandwidth_efficiency=run.bandwidth_efficiency,
            mfu=KernelMfuOptions(kind="kernels"),
        )
        return build_step_time(options, _model(run.model), _hardware(), run.tensor_parallel, kernels)

    return of


def measured(folder: Path) -> StepTimeOf:
    """Return step times from measured tables, priced as upstream prices them."""
    kernels = MeasuredKernels(load_tables(folder))

    def of(run: Run) -> StepTimeModel:
        options = upstream_options(run.bandwidth_efficiency)
        return build_step_time(options, _model(run.model), _hardware(), run.tensor_parallel, kernels)

    return of


def memory_alone() -> StepTimeOf:
    """Return step times of memory traffic alone, as the published H1 was computed."""

    def of(run: Run) -> StepTimeModel:
        options = MfuRooflineOptions.model_validate(MEMORY_ALONE | {"bandwidth_efficiency": run.bandwidth_efficiency})
        return build_step_time(options, _model(run.model), _hardware(), run.tensor_parallel)

    return of


def time_workload(runs: Sequence[Run], step_time: StepTimeOf, repeats: int) -> Timing:
    """Serve all runs, several times."""
    seconds, steps = [], 0
    for _ in range(repeats):
        gc.collect()
        start = time.perf_counter()
        results = [run_engine(run.requests, step_time(run), OPTIONS) for run in runs]
        seconds.append(time.perf_counter() - start)
        steps = sum(result.counters.steps for result in results)
    return Timing(seconds, steps)


def plain_ratio(workload: Workload, step_time: StepTimeOf) -> tuple[float, str]:
    """Return how many times longer the plain engine takes, and for which part of the workload."""
    from tests.reference_engine import serve

    chosen = workload.runs[:: max(1, len(workload.runs) // workload.plain_runs)][: workload.plain_runs]
    part = [Run(run.requests[: workload.plain_requests], run.model, run.tensor_parallel) for run in chosen]
    start = time.perf_counter()
    for run in part:
        serve(list(run.requests), OPTIONS, _price_of(step_time(run)), None)
    plain_s = time.perf_counter() - start
    fast_s = time_workload(part, step_time, repeats=3).best_s
    return plain_s / fast_s, f"{len(part)} run(s) of {len(part[0].requests)} requests"


def _price_of(step_time: StepTimeModel) -> Callable[[list[tuple[int, int]], list[int]], int]:
    def price(prefill: list[tuple[int, int]], decode: list[int]) -> int:
        return step_time.step_time_us(BatchSums.of(Batch(tuple(prefill), tuple(decode)), step_time.kv_breakpoints))

    return price


def report(name: str, timed: Sequence[Workload], step_time: StepTimeOf, arguments: argparse.Namespace) -> bool:
    """Print one table and return whether every limit was met."""
    print(f"step times: {name}")
    print(
        f"{'workload':32s} {'best s':>8s} {'median s':>9s} {'limit s':>8s} {'steps':>8s} {'us/step':>8s} {'us/req':>7s}"
    )
    met = True
    for workload in timed:
        timing = time_workload(workload.runs, step_time, arguments.repeats)
        met &= workload.limit_s is None or timing.best_s <= workload.limit_s
        print(_row(workload, timing), end="")
        if not arguments.no_plain:
            ratio, part = plain_ratio(workload, step_time)
            print(f"   plain engine: {ratio:.0f}x ({part})", end="")
        print(flush=True)
    return met


def _row(workload: Workload, timing: Timing) -> str:
    requests = sum(len(run.requests) for run in workload.runs)
    limit = "-" if workload.limit_s is None else f"{workload.limit_s:.3f}"
    return (
        f"{workload.name:32s} {timing.best_s:8.3f} {statistics.median(timing.seconds):9.3f} {limit:>8s} "
        f"{timing.steps:8d} {1e6 * timing.best_s / timing.steps:8.2f} {1e6 * timing.best_s / requests:7.1f}"
    )


def main() -> int:
    """Time everything and print it; exit code 1 where a limit was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", type=Path, metavar="DIR", help="also time with these measured tables")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="runs per workload (default 5)")
    parser.add_argument("--no-plain", action="store_true", help="leave the plain engine out")
    arguments = parser.parse_args()
    print(f"simulator: {'compiled' if simulator.COMPILED else 'pure'}")
    timed = workloads()
    met = report("memory traffic alone, as H1 was published", timed[:1], memory_alone(), arguments)
    met &= report("embedded kernels", timed, embedded(), arguments)
    if arguments.kernels is not None:
        name = f"measured tables, upstream's options ({arguments.kernels.name})"
        met &= report(name, timed, measured(arguments.kernels), arguments)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
