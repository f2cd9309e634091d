"""How long recorded traces take to replay: `python -m benchmarks.replay TRACES [--options ID] [--repeats N]`.

Prints one line per trace and set of options: requests, engine steps, seconds to read the trace and match it with its
experiment, best and median seconds of several simulations, the least processor time of one, and whether the best one
is within the limit. Where processor time is far below, other processes were in the way. A simulation is everything from
options to results: the step-time model is built anew each time, so no price is remembered.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from pathlib import Path

from roofline_lab.ground_truth.requests import find_traces
from roofline_lab.predict.choose import OptionSet, load_option_sets
from roofline_lab.predict.recording import Recording, load_recordings
from roofline_lab.predict.replay import serve_again
from roofline_lab.project import Project, load_project
from simulator.errors import RooflineLabError

ROOT = Path(__file__).resolve().parents[1]
# Seconds one trace may take on a quiet core.
LIMIT_S = 0.5
COLUMNS = f"{'trace':<48s} {'requests':>8s} {'steps':>7s} {'read s':>7s} {'best s':>7s} {'median s':>8s} {'CPU s':>7s}"


def simulate(project: Project, recording: Recording, options: OptionSet) -> int:
    """Serve a recording once and return the number of engine steps."""
    return serve_again(project, recording, options).counters.steps


def report(project: Project, path: Path, options: OptionSet, repeats: int) -> bool:
    """Time one trace, print its line and return whether it is within the limit."""
    begin = time.perf_counter()
    (recording,) = load_recordings(project.root, [path])
    read_s = time.perf_counter() - begin
    seconds, processor_s, steps = [], [], 0
    for _ in range(repeats):
        gc.collect()
        begin, begin_processor = time.perf_counter(), time.process_time()
        steps = simulate(project, recording, options)
        seconds.append(time.perf_counter() - begin)
        processor_s.append(time.process_time() - begin_processor)
    met = min(seconds) <= LIMIT_S
    print(
        f"{recording.source:<48s} {len(recording.replay.workload.requests):8d} {steps:7d} {read_s:7.3f} "
        f"{min(seconds):7.3f} {statistics.median(seconds):8.3f} {min(processor_s):7.3f}   {'met' if met else 'MISSED'}",
        flush=True,
    )
    return met


def main() -> int:
    """Time every trace; exit code 1 where one is over the limit, 2 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", nargs="+", type=Path, help="traces, or folders of them")
    parser.add_argument("--options", metavar="ID", help="only this set of options of configs/replay.yaml")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="simulations per trace (default 5)")
    arguments = parser.parse_args()
    met = True
    try:
        project = load_project(ROOT)
        for options in load_option_sets(project):
            if arguments.options in (None, options.id):
                print(f"{options.label}; at most {LIMIT_S} s per trace\n{COLUMNS}")
                for path in find_traces(arguments.traces):
                    met &= report(project, path, options, arguments.repeats)
    except RooflineLabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
