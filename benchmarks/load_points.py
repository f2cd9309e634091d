"""Engine time of closed loops: `python -m benchmarks.load_points [--steptime ID] [--only TEXT] [--repeats N]`.

Load points are those of the project's experiments in which several clients wait for answers.
Prints totals, and of the load points that take longest: processor seconds of one engine run (the best of several),
nanoseconds per step, steps, requests and preemptions; and how many times longer a run takes in which every step is
noted, as the fit of a calibration does. The last line is the most memory this process has had. Totals are also divided
by the seconds of a fixed loop of plain Python, so that machines can be compared. `python -m benchmarks --only closed`
times the whole command that predicts these load points.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import simulator
from benchmarks.__main__ import loop
from roofline_lab.load_point import Setup, Target, run_replay
from roofline_lab.predict.evaluate import Request, Task, prepare
from simulator.errors import RooflineLabError
from simulator.steptime.base import GivesDecodeTimes, StepTimeModel
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.build import BuiltStepTime
from simulator.steptime.cost import StepCost
from simulator.workload.arrivals import ClosedLoop

ROOT = Path(__file__).resolve().parents[1]
SLOWEST = 10
COLUMNS = (
    f"{'load point':<44s} {'CPU s':>7s} {'ns/step':>8s} {'noted':>6s} {'steps':>7s} {'requests':>8s} {'preempted':>9s}"
)


class Noting:
    """A step-time model that answers as another one does and notes what is in every step."""

    def __init__(self, step_time: BuiltStepTime) -> None:
        self.kv_breakpoints = step_time.kv_breakpoints
        self.steps: list[tuple[int, int, int]] = []
        self._step_time = step_time

    def step_time_us(self, sums: BatchSums) -> int:
        """Return the duration of a step, noted."""
        tokens = sum(new for _, new in sums.prefill)
        self.steps.append((tokens, sums.decode_count, sums.decode_past_tokens))
        return self._step_time.step_time_us(sums)

    def decode_times_us(self, sums: BatchSums, steps: int, limit_us: int) -> list[int] | None:
        """Return the durations of the coming steps, noted."""
        known = self._step_time
        times_us = known.decode_times_us(sums, steps, limit_us) if isinstance(known, GivesDecodeTimes) else None
        count, past = sums.decode_count, sums.decode_past_tokens
        self.steps += [(0, count, past + place * count) for place in range(len(times_us or ()))]
        return times_us

    def explain(self, batch: Batch) -> StepCost:
        """Return the other model's explanation."""
        return self._step_time.explain(batch)


@dataclass(frozen=True, slots=True)
class Timing:
    """One load point; seconds are of the processor, for all its sequences of requests."""

    name: str
    best_s: float
    steps: int
    requests: int
    preemptions: int
    again: Callable[[StepTimeModel], float]
    setup: Setup


def closed_loops(tasks: tuple[Task, ...], only: str) -> Iterator[tuple[Target, Task]]:
    """Yield the load points of closed loops with several requests in flight."""
    for task in tasks:
        for point in task.experiment.load_points:
            several = isinstance(point.arrivals, ClosedLoop) and point.arrivals.concurrency > 1
            target = Target(task.experiment, point, task.model, task.hardware, task.arrivals)
            if several and only in target.name:
                yield target, task


def timed(target: Target, task: Task, repeats: int) -> Timing:
    """Simulate one load point several times."""
    setup = task.predictors[0].setup(target.experiment, target.model, target.hardware)
    replays = target.replays()

    def seconds(step_time: StepTimeModel) -> float:
        gc.collect()
        begin_s = time.process_time()
        for replay in replays:
            run_replay(replay, step_time, setup.engine)
        return time.process_time() - begin_s

    counters = [run_replay(replay, setup.step_time, setup.engine).counters for replay in replays]
    return Timing(
        name=target.name,
        best_s=min(seconds(setup.step_time) for _ in range(repeats)),
        steps=sum(each.steps for each in counters),
        requests=sum(len(replay.workload.requests) for replay in replays),
        preemptions=sum(each.preemptions for each in counters),
        again=seconds,
        setup=setup,
    )


def line(timing: Timing, repeats: int) -> str:
    """Return one load point as a line, simulated again with every step noted."""
    noted_s = min(timing.again(Noting(timing.setup.step_time)) for _ in range(repeats))
    return (
        f"{timing.name[-44:]:<44s} {timing.best_s:7.3f} {timing.best_s / timing.steps * 1e9:8.0f} "
        f"{noted_s / timing.best_s:5.1f}x {timing.steps:7d} {timing.requests:8d} {timing.preemptions:9d}"
    )


def main() -> int:
    """Print the table; exit code 2 where an argument is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--steptime", default="h100_vllm", metavar="ID", help="calibration or options (docs/evaluating.md)"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="text that the names of the load points contain")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="simulations per load point (default 3)")
    arguments = parser.parse_args()
    try:
        tasks = prepare(Request(ROOT, ROOT / "ground_truth", arguments.steptime)).tasks
    except RooflineLabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    loops = [loop().processor_s]
    timings = [timed(target, task, arguments.repeats) for target, task in closed_loops(tasks, arguments.only)]
    if not timings:
        print(f"error: --only: no load point of a closed loop contains '{arguments.only}'", file=sys.stderr)
        return 2
    total_s, steps = sum(timing.best_s for timing in timings), sum(timing.steps for timing in timings)
    requests, loop_s = sum(timing.requests for timing in timings), min([*loops, loop().processor_s])
    core = "compiled" if simulator.COMPILED else "pure"
    print(f"{len(timings)} load points, simulator: {core}, best of {arguments.repeats}")
    print(
        f"engine: {total_s:.2f} s of processor time, {total_s / loop_s:.1f} loops; {steps:,} steps of "
        f"{total_s / steps * 1e9:.0f} ns, {requests:,} requests of {total_s / requests * 1e6:.1f} us\n{COLUMNS}"
    )
    for timing in sorted(timings, key=lambda each: -each.best_s)[:SLOWEST]:
        print(line(timing, arguments.repeats))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
