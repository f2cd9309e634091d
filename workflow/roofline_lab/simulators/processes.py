"""Processes that are started for others, and that none of them outlives who started it.

Each has a session of its own, so that it ends with all it started. Whoever ends this process at once says so first
(`end_all`). Every command of Snakemake imports this module, so it imports hardly anything.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

# Time a program that has closed its output has to end by itself.
GRACE_S = 1.0
LOOK_EVERY_S = 0.01
_running: set[int] = set()
_elsewhere: list[Callable[[], None]] = []


def start(words: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a program with pipes for its three streams; no shell takes its words apart.

    Raises
    ------
    OSError, ValueError
        If it cannot be started.
    """
    process = subprocess.Popen(
        words,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A Python program that prints an answer has then written it.
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    _running.add(process.pid)
    return process


def end(process: subprocess.Popen[bytes], *, at_once: bool) -> int | None:
    """End a process and all it started, and return its own exit code; None if it had to be killed.

    Parameters
    ----------
    at_once
        Leave it no time to end by itself.
    """
    ended = _has_ended(process.pid, 0.0 if at_once else GRACE_S)
    # It is not waited for yet, so that its number still names its group and nobody else's.
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    _running.discard(process.pid)
    return code if ended else None


def end_elsewhere_too(end: Callable[[], None]) -> None:
    """Let a function end what runs on other machines whenever all processes are ended."""
    _elsewhere.append(end)


def end_all() -> None:
    """Kill every process that is still running, and do not wait for it."""
    for end_there in _elsewhere:
        end_there()
    for group in tuple(_running):
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)


def _has_ended(pid: int, wait_s: float) -> bool:
    until = time.monotonic() + wait_s
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() >= until:
            return False
        time.sleep(LOOK_EVERY_S)
    return True
