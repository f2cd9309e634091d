"""Running Snakemake on a small copy of the project, as a user would from a shell."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from roofline_lab.jobs.paths import LOGS
from roofline_lab.made import write_made
from tests.roofline_lab.builders import HYPOTHESIS, ROOT, SOURCES, copy_project, edit_yaml

SNAKEMAKE = Path(sys.executable).parent / "snakemake"
EXPERIMENTS = ("jan30-llama2-7b-tp1-chatsweep", "jan30-llama2-7b-tp1-codesweep")
# The rate sweep, of the load points that decide nothing.
SWEEP = "jan21-llama7b-train-1"
# Far beyond what any run takes; only a run that hangs reaches it.
TIMEOUT_S = 600
ROWS = f"results/{HYPOTHESIS}/rows"
PAGE = f"reports/{HYPOTHESIS}/FINDINGS.md"


def small_project(target):
    """Copy the project with a single hypothesis on two experiments and the rate sweep, without any result.

    Claims about published tables are left out: they are about all experiments.
    """
    copy_project(target, [name for name in SOURCES if name not in ("hypotheses", "documents")])
    without_claims = shutil.ignore_patterns("claims.yaml", "errata")
    shutil.copytree(ROOT / "hypotheses" / HYPOTHESIS, target / "hypotheses" / HYPOTHESIS, ignore=without_claims)
    edit_yaml(target / "ground_truth" / "sets.yaml", _keep_two)
    return target


def _keep_two(sets):
    kept = {"synchronous_13": list(EXPERIMENTS), "load_points_of_dense_models": [SWEEP]}
    sets["sets"] = {name: {**sets["sets"][name], "experiments": experiments} for name, experiments in kept.items()}


def clone(built, target):
    """Copy a project with its results, modification times included."""
    shutil.copytree(built, target, ignore=shutil.ignore_patterns("__pycache__", "log"))
    return target


def environment(hash_seed="0", package=None, threads=None):
    """Return an environment without any of Snakemake's own settings, and without the package installed.

    Parameters
    ----------
    package
        A project whose own package the command line is to be found in; Snakemake needs none.
    threads
        Of the BLAS library; by default as many as it likes.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SNAKEMAKE", "PYTHON", "OPENBLAS"))}
    found = {} if package is None else {"PYTHONPATH": str(package / "workflow")}
    counted = {} if threads is None else {"OPENBLAS_NUM_THREADS": str(threads)}
    return kept | found | counted | {"PYTHONHASHSEED": hash_seed}


def snakemake(project, *arguments, hash_seed="0", threads=None):
    """Run Snakemake and return the finished process; both streams together in `stdout`."""
    return subprocess.run(
        [SNAKEMAKE, *arguments],
        cwd=project,
        env=environment(hash_seed, threads=threads),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def start_run(project, *arguments):
    """Start Snakemake in a process group of its own and return it as it runs."""
    return subprocess.Popen(
        [SNAKEMAKE, *arguments],
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def succeed(project, *arguments, **keys):
    """Run Snakemake and insist on success."""
    done = snakemake(project, *arguments, **keys)
    assert done.returncode == 0, done.stdout
    return done


def contents(folder):
    """Return name and content hash of every file below a folder but logs, which say how long something took."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != LOGS
    }


def states(folder):
    """Return name, inode and modification time of every file below a folder but logs: what a write would change."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != LOGS
    }


def mark_rows(project):
    """Mark every row of every result file as if it had been made so; only a row that is made again loses its mark."""
    for path in (project / ROWS).rglob("*.jsonl"):
        rows = [json.loads(line) | {"marked": True} for line in path.read_text(encoding="utf-8").splitlines()]
        text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
        write_made(path.relative_to(project), text, project)


def made_again(project):
    """Return method, arm and experiment of every row without a mark."""
    lines = [line for path in (project / ROWS).rglob("*.jsonl") for line in path.read_text("utf-8").splitlines()]
    rows = [json.loads(line) for line in lines]
    return {(row["method"], row["arm"], row["experiment"]) for row in rows if "marked" not in row}


def remade(project, before, folder):
    """Return the files below `folder` that were written since `before`."""
    now = states(project / folder)
    return {name for name, state in now.items() if before[folder].get(name) != state}


def snapshot(project):
    """Return the states of results and reports."""
    return {folder: states(project / folder) for folder in (ROWS, "results", "reports")}
