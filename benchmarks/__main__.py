"""How fast everything is: `python -m benchmarks [--long] [--only TEXT] [--runs N]`.

Prints one line per command: medians of wall and processor seconds of whole processes, both divided by those of a fixed
loop of plain Python that ran in between (so that machines can be compared), peak memory (never less than this program's
own), and the seconds aimed at on an idle machine of two cores. Says whether the simulator ran compiled or from its
sources. Commands run as from a shell, once unmeasured first, so that byte code is cached and the laboratory's files are
up to date.
`--long` adds what takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import simulator
from benchmarks.workloads import closed_loops, published_specs

ROOT = Path(__file__).resolve().parents[1]
LOOP_STEPS = 1_000_000
SIMULATOR = ("-m", "simulator")
CHAT = "--model llama-2-7b-hf --rate 100 --prompt-tokens 70,35,2,200 --output-tokens 215,80,1,512 --prefix-tokens 284"
TINY = "--model llama-2-7b-hf --rate 10 --num-requests 20 --prompt-tokens 100 --output-tokens 20"


@dataclass(frozen=True)
class Row:
    """One command that is timed.

    Attributes
    ----------
    arguments, standard_input
        What Python is given.
    target_s
        Seconds aimed at on an idle machine of two cores.
    long
        Takes minutes, so it runs once, and only where asked for.
    """

    name: str
    arguments: tuple[str, ...]
    target_s: float
    long: bool = False
    standard_input: str = ""


class Cost(NamedTuple):
    """What one run of something took."""

    wall_s: float
    processor_s: float
    peak_mib: float = 0.0


def rows(scratch: Path) -> Iterator[Row]:
    """Yield every row; what a command writes beside the laboratory's own files goes to `scratch`."""
    yield Row("import of run and build_step_time", ("-c", "from simulator import run, build_step_time"), 0.12)
    yield Row("simulator --help", (*SIMULATOR, "--help"), 0.3)
    yield Row("simulator run, 20 requests", (*SIMULATOR, "run", *TINY.split()), 0.2)
    lines = "".join(json.dumps(spec) + "\n" for spec in published_specs())
    yield Row("simulator runs, the 26 of published H1", (*SIMULATOR, "runs"), 0.32, standard_input=lines)
    yield Row("simulator run, 10,000 chat", (*SIMULATOR, "run", *CHAT.split(), "--num-requests", "10000"), 0.45)
    few_blocks = ("--num-requests", "2000", "--kv-blocks", "400")
    yield Row("simulator run, 2,000 chat on 400 KV blocks", (*SIMULATOR, "run", *CHAT.split(), *few_blocks), 0.5)
    million = (*SIMULATOR, "run", *CHAT.split(), "--num-requests", "1000000")
    yield Row("simulator run, 1,000,000 chat", million, 30.0, long=True)
    lab, snakemake = ("-m", "roofline_lab"), ("-m", "snakemake", "--cores", str(os.cpu_count()))
    yield Row("roofline-lab --help", (*lab, "--help"), 0.3)
    yield Row("roofline-lab lint", (*lab, "lint"), 2.0)
    evaluate = ("evaluate", "ground_truth", "--steptime", "h100_vllm", "--out", str(scratch / "page"), "--force")
    yield Row("roofline-lab evaluate, the project's own", (*lab, *evaluate), 25.0)
    evaluate = ("evaluate", str(closed_loops(scratch / "closed")), *evaluate[2:])
    yield Row("roofline-lab evaluate, 379 closed loops", (*lab, *evaluate), 20.0)
    yield Row("snakemake h1, forced", (*snakemake, "h1_bw_efficiency", "--forceall"), 3.0)
    yield Row("snakemake h1, nothing to do", (*snakemake, "h1_bw_efficiency"), 1.5)
    yield Row("snakemake, all findings, forced", (*snakemake, "--forceall"), 25.0, long=True)
    yield Row("snakemake, nothing to do", snakemake, 2.0)
    yield Row("snakemake check", (*snakemake, "check"), 4.0)
    yield Row("snakemake calibrate, forced", (*snakemake, "calibrate", "--forceall"), 240.0, long=True)
    yield Row("tests", ("-m", "pytest", "-n", "auto", "--maxprocesses", "8"), 150.0, long=True)


def loop() -> Cost:
    """Time the fixed loop everything is compared with."""
    wall_s, processor_s = time.perf_counter(), time.process_time()
    total = 0
    for number in range(LOOP_STEPS):
        total += number * number % 7
    return Cost(time.perf_counter() - wall_s, time.process_time() - processor_s)


def process(row: Row, environment: dict[str, str]) -> Cost:
    """Run a row's command once, its output thrown away.

    Raises
    ------
    CalledProcessError
        If the command fails.
    """
    with tempfile.TemporaryFile("w+") as given:
        given.write(row.standard_input)
        given.seek(0)
        begin_s = time.perf_counter()
        streams = {"stdin": given, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started = subprocess.Popen([sys.executable, *row.arguments], cwd=ROOT, env=environment, **streams)
        _, status, usage = os.wait4(started.pid, 0)
        wall_s = time.perf_counter() - begin_s
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), row.arguments)
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def shell_environment(scratch: Path) -> dict[str, str]:
    """Return the environment of a shell in which the laboratory is installed and byte code is cached."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(filter(None, (str(ROOT / "workflow"), os.environ.get("PYTHONPATH"))))
    return kept | {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(scratch / "byte_code")}


def measure(row: Row, runs: int, environment: dict[str, str]) -> str:
    """Time one row, and the loop before and after each run; return the row's cells.

    Raises
    ------
    CalledProcessError
        If the command fails.
    """
    if not row.long:
        process(row, environment)
    loops, costs = [loop()], []
    for _ in range(1 if row.long else runs):
        costs.append(process(row, environment))
        loops.append(loop())
    wall_s, processor_s, peak_mib = (statistics.median(column) for column in zip(*costs, strict=True))
    loop_s, loop_processor_s, _ = (statistics.median(column) for column in zip(*loops, strict=True))
    ratios = f"{wall_s / loop_s:9.1f} {processor_s / loop_processor_s:8.1f}"
    return f"{wall_s:8.2f} {processor_s:7.2f} {ratios} {peak_mib:5.0f} {row.target_s:8.2f}"


def main() -> int:
    """Print the table; exit code 1 where a command failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="also what takes minutes")
    parser.add_argument("--only", default="", metavar="TEXT", help="only rows whose name contains this")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="runs per row (default 5; of long ones 1)")
    arguments = parser.parse_args()
    core = "compiled" if simulator.COMPILED else "pure"
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, simulator: {core}")
    print(f"{'command':<43s}   wall s   CPU s wall/loop CPU/loop   MiB target s")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        environment = shell_environment(Path(folder))
        for row in rows(Path(folder)):
            if arguments.only not in row.name or (row.long and not arguments.long):
                continue
            try:
                cells = measure(row, arguments.runs, environment)
            except subprocess.CalledProcessError as error:
                cells, failed = f"failed with exit code {error.returncode}", True
            print(f"{row.name:<43s} {cells}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
