"""The list of tests is the same in every process, or a parallel run collects nothing at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.paths import ROOT


def collected(seed):
    """Return the names of all tests as one process finds them."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_two_processes_a_second_apart_collect_the_same_tests():
    """Regression: a time stamp inside a parameter became part of a test's name, and parallel runs found no test."""
    first = collected("1")
    time.sleep(1.1)
    assert len(first) > 1000
    assert collected("2") == first
