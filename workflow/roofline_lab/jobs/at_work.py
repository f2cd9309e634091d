"""One run at a time in one project folder, and how a run ends that is told to.

Every command of Snakemake imports this module first, so it imports hardly anything.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from roofline_lab.simulators import processes

# Held by the run that is at work. The system lets go of it however that process ends, so none is ever left behind.
LOCK = Path(".snakemake/at_work")
OTHER = (
    "another run is at work in this folder ({who}); waiting for it to end (Ctrl-C gives up waiting; to stop the other "
    "one: kill {pid})"
)
UNKNOWN = "it did not say who it is"
NO_LOCKS = "this file system knows no locks ({reason}); do not start a second run in this folder while this one goes on"
ENDED = "interrupted: what is made stays, and the same command goes on from there"
# Bytes of the lock file that are read; one line stands in it.
ONE_LINE = 4096
Handler = Callable[[int, FrameType | None], None]
# A process that a signal ends reports 128 and the number of the signal, as shells do.
BY_SIGNAL = 128


def take_turn(arguments: Sequence[str], say: Callable[[str], None]) -> bool:
    """Be the only run of this folder from now until this process ends; wait while there is another.

    Parameters
    ----------
    arguments
        The command line, to be told to who comes next.
    say
        Is told who is at work, before waiting.

    Returns
    -------
    Whether it had to wait, so that what was read before may be out of date.
    """
    LOCK.parent.mkdir(exist_ok=True)
    handle = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    # Workers are copies of this process and must not hold its lock any longer than it lives.
    os.register_at_fork(after_in_child=lambda: os.close(handle))
    waited = False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waited = True
        say(_other(handle))
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        say(NO_LOCKS.format(reason=error.strerror))
        return False
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    words = " ".join([Path(arguments[0]).name, *arguments[1:]])
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()}, since {since}: {words}\n".encode(errors="replace")[:ONE_LINE], 0)
    return waited


def _other(handle: int) -> str:
    who = os.pread(handle, ONE_LINE, 0).decode(errors="replace").strip() or UNKNOWN
    pid = who.removeprefix("process ").partition(",")[0]
    return OTHER.format(who=who, pid=pid if pid.isdigit() else "its process")


def end_when_interrupted(leave: Callable[[int], None]) -> Handler:
    """Let SIGINT and SIGTERM end this process at once, with an exit code that says so, and return what does it.

    Snakemake would report success after an interrupt. Nothing has to be tidied up: files appear whole or not at all,
    workers end with their parent, and the next run does what this one left.

    Parameters
    ----------
    leave
        Ends the process with a code and without another word.
    """

    def end(number: int, frame: FrameType | None = None) -> None:
        try:
            sys.stderr.write(f"{ENDED}\n")
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, RuntimeError, ValueError):  # the terminal is gone, or was being written to
            pass
        processes.end_all()
        leave(BY_SIGNAL + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    return end
