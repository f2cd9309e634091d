"""What a run computes is computed once, in as many processes as it has cores, and never outlives it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from snakemake.exceptions import WorkflowError

from roofline_lab.jobs.findings import logged
from roofline_lab.jobs.workers import Workers
from simulator.errors import ConfigError
from tests.paths import ROOT

needs_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="processes are copied")


def where(project, *arguments):
    """Return who worked out an answer, and what about."""
    return os.getpid(), project, arguments


def refused(project):
    raise ConfigError("file: key: wrong")


@pytest.fixture
def here():
    """Return workers without processes."""
    workers = Workers("project")
    yield workers
    workers.stop()


@pytest.fixture
def two():
    """Return two processes."""
    workers = Workers("project")
    workers.start(2, reuse=False)
    yield workers
    workers.stop()


def test_with_one_core_this_process_works_it_out(here):
    here.start(1, reuse=True)
    assert here.ask("key", where, 1, 2).result() == (os.getpid(), "project", (1, 2))


@needs_fork
def test_with_two_cores_another_process_does_that_knows_the_project(two):
    pid, project, arguments = two.ask("key", where, 1, 2).result()
    assert pid != os.getpid()
    assert (project, arguments) == ("project", (1, 2))


@pytest.mark.parametrize("workers", ["here", pytest.param("two", marks=needs_fork)])
def test_what_is_asked_for_twice_is_worked_out_once(workers, request):
    workers = request.getfixturevalue(workers)
    first = workers.ask("key", where, 1)
    assert workers.ask("key", where, 1) is first
    assert workers.ask("another", where, 1) is not first


@pytest.mark.parametrize("workers", ["here", pytest.param("two", marks=needs_fork)])
def test_an_expected_error_reaches_everybody_who_asked(workers, request):
    workers = request.getfixturevalue(workers)
    for _ in range(2):
        with pytest.raises(ConfigError, match="file: key: wrong"):
            workers.ask("key", refused).result()


PARENT = """
import os, sys, time
from snakemake.exceptions import WorkflowError

from roofline_lab.jobs.findings import logged
from roofline_lab.jobs.workers import Workers

def pid(project):
    time.sleep(0.1)
    return os.getpid()

workers = Workers(None)
workers.start(2, reuse=False)
asked = [workers.ask(place, pid) for place in range(4)]
print(*{one.result() for one in asked}, flush=True)
time.sleep(600)
"""


@needs_fork
def test_no_process_outlives_a_run_that_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT), encoding="utf-8")
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'workflow'}{os.pathsep}{ROOT}"}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=env) as parent:
        workers = [int(word) for word in parent.stdout.readline().split()]
        assert workers
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(_lives(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def _lives(pid):
    """Return whether a process still runs; one that waits to be collected does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return not status.stdout.strip().startswith("Z") and bool(status.stdout.strip())


def dies(project):
    os.kill(os.getpid(), signal.SIGKILL)


@needs_fork
def test_a_worker_that_is_lost_fails_its_job_with_what_to_do(two, tmp_path):
    job = logged(lambda: two.ask("key", dies).result())
    with pytest.raises(WorkflowError, match=r"a worker process ended before it answered.*fewer --cores"):
        job(log=str(tmp_path / "job.log"))
