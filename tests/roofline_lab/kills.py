"""Runs that are ended at random moments, and whether the next one makes good: `python -m tests.roofline_lab.kills`.

Works on a copy of the project with a plain finding and one with a sweep. What a kill may never leave: a page that is
not whole, a command that does not resume, a byte that differs, a file that is missing, a lock. The suite has a small
version (`jobs/test_findings.py`); this one is for whoever changes how results are written.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.roofline_lab.builders import SOURCES, copy_project
from tests.roofline_lab.snakemake_runs import contents, snakemake, start_run

FINDINGS = ("h1_bw_efficiency", "h19_overhead_not_over_tp")
# SIGKILL as a lost machine does, SIGTERM as a scheduler does, SIGINT as a terminal does.
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# Which files a run may be at when it is ended; what it made of others is compared all the same.
FOLDERS = ("results", "reports")


def main() -> int:
    """End many runs, print one line for each, and return how many were not made good."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40, metavar="N", help="how many runs are ended (default 40)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of moments, signals and targets")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return ended_at_random(Path(folder), arguments.kills, random.Random(arguments.seed))


def ended_at_random(folder: Path, kills: int, drawn: random.Random) -> int:
    """End runs in copies of one project, made once; return how many were not made good."""
    made = copy_project(folder / "made", SOURCES)
    done = snakemake(made, *FINDINGS)
    assert done.returncode == 0, done.stdout
    expected = {name: contents(made / name) for name in FOLDERS}
    durations_s = {forced: _duration_s(made, folder / "timed", forced) for forced in (False, True)}
    faults: collections.Counter[str] = collections.Counter()
    for number in range(kills):
        project = Path(shutil.copytree(made, folder / "killed", symlinks=True))
        forced = drawn.random() < 0.7
        if not forced:
            shutil.rmtree(project / "results" / drawn.choice(FINDINGS))
        sent, after_s = drawn.choice(SIGNALS), drawn.uniform(0.3, durations_s[forced])
        code = _ended(project, ["--forceall"] * forced, sent, after_s)
        found = list(_faults(project, expected, sent, code))
        faults.update(found)
        kind, told = "forced" if forced else "plain", ", ".join(found) or "made good"
        _say(f"{number + 1:3} {sent.name:8} after {after_s:5.2f} s {kind:7} exit {code:4}: {told}")
        shutil.rmtree(project)
    _say(f"{kills} runs ended; {sum(faults.values())} faults {dict(faults) or ''}")
    return sum(faults.values())


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _duration_s(made: Path, folder: Path, forced: bool) -> float:
    project = Path(shutil.copytree(made, folder, symlinks=True))
    if not forced:
        shutil.rmtree(project / "results" / FINDINGS[1])
    begin = time.monotonic()
    snakemake(project, *FINDINGS, *["--forceall"] * forced)
    shutil.rmtree(project)
    return time.monotonic() - begin


def _ended(project: Path, options: list[str], sent: signal.Signals, after_s: float) -> int:
    """Start a run, end it after a while and return its exit code."""
    run = start_run(project, *FINDINGS, *options)
    time.sleep(after_s)
    with contextlib.suppress(ProcessLookupError):
        (os.kill if sent is signal.SIGTERM else os.killpg)(run.pid, sent)
    run.communicate()
    return run.returncode


def _faults(project: Path, expected: dict[str, dict[str, str]], sent: signal.Signals, code: int):
    """Yield what is wrong after a run was ended, and after the next one."""
    if code not in (0, -sent, 128 + sent):
        yield f"exit code {code}"
    pages = {name: hashed for name, hashed in contents(project / "reports").items() if name.endswith("FINDINGS.md")}
    yield from (f"{name} is half written" for name, hashed in pages.items() if expected["reports"][name] != hashed)
    done = snakemake(project, *FINDINGS)
    if done.returncode != 0:
        yield f"does not resume:\n{done.stdout}"
        return
    # Lines of the ledger stand in the order of what was made until a run that succeeds sorts them.
    ledger = {"made.sha256": expected["results"]["made.sha256"]}
    for folder, same in (("results", ledger), ("reports", {})):
        now = contents(project / folder) | same
        yield from (f"{folder}/{name} is missing" for name in expected[folder].keys() - now.keys())
        yield from (f"{folder}/{name} is left over" for name in now.keys() - expected[folder].keys())
        yield from (f"{folder}/{name} differs" for name in expected[folder] if now.get(name) != expected[folder][name])


if __name__ == "__main__":
    sys.exit(bool(main()))
