"""What a run says while it goes on: a line per finished step, with how many findings are made and what is left.

A terminal is told how long the rest will take; a log gets lines that are the same in every run, and with `snakemake -q`
nothing is said but errors.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

SECONDS_PER_MINUTE = 60
# Of fewer findings nothing can be told about the others.
FIRST_TOLD = 3


class Progress:
    """The findings of one run.

    Parameters
    ----------
    clock
        Seconds from any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.quiet = False
        self._clock = clock
        self._lock = threading.Lock()
        self._total = self._done = 0
        self._since = 0.0

    def start(self, total: int) -> None:
        """Begin to count towards all findings that are to be made."""
        self._total, self._done, self._since = total, 0, self._clock()

    def say(self, line: str) -> None:
        """Say one line on standard error, the channel of progress."""
        if not self.quiet:
            print(line, file=sys.stderr)  # noqa: T201 - the pipeline's progress channel is standard error

    def finding_made(self, line: str) -> None:
        """Say that one more finding is made, and of how many."""
        with self._lock:
            self._done += 1
            told = f" ({self._done} of {self._total} findings{self._left()})" if self._total > 1 else ""
        self.say(f"{line}{told}")

    def _left(self) -> str:
        """Return how long the rest takes at the rate so far, for who looks at a terminal."""
        rest = self._total - self._done
        if not sys.stderr.isatty() or self._done < FIRST_TOLD or rest <= 0:
            return ""
        seconds = (self._clock() - self._since) / self._done * rest
        return f", about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Return a time in seconds, or in minutes from two minutes on."""
    if seconds < 2 * SECONDS_PER_MINUTE:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / SECONDS_PER_MINUTE:.0f} min"


PROGRESS = Progress()
