"""One run at a time in a folder, whoever was there before; and a run that is interrupted says so."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from roofline_lab.jobs import at_work

# Takes its turn, says so, and stays at work until its standard input ends.
RUN = """
import sys
from roofline_lab.jobs.at_work import take_turn
waited = take_turn(["/bin/snakemake", "h1", "--forceall"], lambda line: print(line, flush=True))
print("at work", waited, flush=True)
sys.stdin.read()
"""
# A copy of the process outlives it, as a worker does whose parent is killed.
WITH_A_COPY = RUN.replace(
    "sys.stdin.read()",
    "import os, time\nif os.fork() == 0:\n    print('copy', flush=True)\n    time.sleep(60)\nsys.stdin.read()",
)


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a process in one folder; what is left of them ends with the test."""
    started = []

    def begin(text=RUN):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([sys.executable, "-c", text], cwd=tmp_path, start_new_session=True, **pipes))
        return started[-1]

    yield begin
    for process in started:
        with process, contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_the_second_run_says_who_is_at_work_and_begins_when_that_one_ends(start):
    first = start()
    assert first.stdout.readline() == "at work False\n"
    second = start()
    told = second.stdout.readline()
    today = time.strftime("%Y-%m-%d")
    assert f"another run is at work in this folder (process {first.pid}, since {today} " in told
    assert "snakemake h1 --forceall" in told
    assert f"to stop the other one: kill {first.pid}" in told
    assert second.poll() is None
    first.terminate()
    assert second.stdout.readline() == "at work True\n"


@pytest.mark.parametrize("text", [RUN, WITH_A_COPY], ids=["alone", "with a copy that lives on"])
def test_a_killed_run_keeps_nobody_waiting(start, text):
    first = start(text)
    assert first.stdout.readline() == "at work False\n"
    if text is WITH_A_COPY:
        assert first.stdout.readline() == "copy\n"
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = start()
    assert second.stdout.readline() == "at work False\n"


def test_who_waits_can_be_interrupted(start):
    first = start()
    first.stdout.readline()
    second = start()
    second.stdout.readline()
    second.send_signal(signal.SIGINT)
    assert second.wait(60) == -signal.SIGINT


def test_a_lock_file_with_foreign_bytes_still_says_that_somebody_is_there(start, tmp_path):
    first = start()
    first.stdout.readline()
    (tmp_path / at_work.LOCK).write_bytes(b"\xff\xfe")
    assert "kill its process" in start().stdout.readline()


def test_a_file_system_without_locks_is_told_of_and_runs_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(at_work.fcntl, "flock", refuse)
    told = []
    assert at_work.take_turn(["snakemake"], told.append) is False
    assert told == [at_work.NO_LOCKS.format(reason="Function not implemented")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_process_ends_at_once_with_its_code_and_a_word(tmp_path, number, code):
    text = (
        "import os, time; from roofline_lab.jobs.at_work import end_when_interrupted; "
        "end_when_interrupted(os._exit); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.send_signal(number)
    assert process.communicate(timeout=60)[1] == f"{at_work.ENDED}\n"
    assert process.returncode == code


def test_a_signal_that_is_to_be_ignored_stays_so(monkeypatch):
    """A shell starts what runs in the background without a terminal so that Ctrl-C does not reach it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.getsignal(signal.SIGTERM)
    try:
        at_work.end_when_interrupted(lambda code: None)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
