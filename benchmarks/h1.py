"""How long one hypothesis takes to regenerate, and where the time goes.

Run `python -m benchmarks.h1 [HYPOTHESIS] [--runs N]`. The whole process is timed (a new `snakemake
--forceall` each time, Snakemake's start-up included), then each part alone in this process. Prints
minimum and median; figures of a shared machine are only comparable with each other.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SNAKEMAKE = [sys.executable, "-m", "snakemake"]


def main() -> int:
    """Print one line per part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hypothesis", nargs="?", default="h1_bw_efficiency")
    parser.add_argument("--runs", type=int, default=5, help="repetitions of each part (default 5)")
    arguments = parser.parse_args()
    whole = _line("whole: snakemake --forceall", arguments.runs, lambda: _snakemake(arguments.hypothesis, "--forceall"))
    _line("no-op: nothing to be done", arguments.runs, lambda: _snakemake(arguments.hypothesis), whole)
    _line("start-up: snakemake --version", arguments.runs, lambda: _snakemake("--version"), whole)
    for name, part in _parts(arguments.hypothesis):
        _line(name, arguments.runs, part, whole)
    return 0


def _parts(hypothesis: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the laboratory's own parts, to be timed in this process."""
    from roofline_lab.jobs import findings as pipeline
    from roofline_lab.jobs.reports import read_report
    from roofline_lab.load_point import simulate
    from roofline_lab.report.plots import predicted_versus_measured, signed_errors

    project = pipeline.open_project(ROOT)
    runs = project.runs(hypothesis)
    report = read_report(project, hypothesis)
    panels = {method.method.title: method.scores for method in report.methods}
    arms = tuple(report.spec.arms)
    yield "loading and validation", lambda: pipeline.open_project(ROOT)
    yield f"simulation ({len(runs)} runs)", lambda: [simulate(project, run) for run in runs]
    yield "rows, scores and verdict", lambda: read_report(project, hypothesis).numbers
    yield (
        f"figures ({2 * len(report.spec.metrics)})",
        lambda: [
            draw(metric, arms, panels)
            for metric in report.spec.metrics
            for draw in (predicted_versus_measured, signed_errors)
        ],
    )


def _snakemake(*arguments: str) -> None:
    subprocess.run([*SNAKEMAKE, *arguments, "--cores", "2"], cwd=ROOT, check=True, capture_output=True)


def _line(name: str, runs: int, part: Callable[[], object], whole: float | None = None) -> float:
    """Time one part and print it; returns the median in seconds."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        part()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    share = f"{median / whole:7.0%} of the whole" if whole else ""
    print(f"{name:<32} min {min(seconds):6.3f} s   median {median:6.3f} s {share}")
    return median


if __name__ == "__main__":
    raise SystemExit(main())
