"""What a run or a command says while it goes on, of all long steps in one way.

A log gets a plain line per finished step, the same in every run. A terminal is told rate and time left as well, in one
line that the next one overwrites where a step has no result of its own. With `-q` nothing is said but errors. What a
job of Snakemake says stands in the log of its rule too.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS_PER_MINUTE = 60
BYTES_PER_MB = 1e6
# Of fewer steps nothing can be told about the others.
FIRST_TOLD = 3
# A line of a terminal is not overwritten more often, seconds.
LEAST_BETWEEN_S = 0.2
FINDINGS = "findings"
# Back to the beginning of the line, and what stood there away.
OVER = "\r\x1b[K"


@dataclass
class _Steps:
    """Steps of one kind: how many there are, how many are done, and since when that is counted."""

    total: int
    since: float
    done: int = 0


class Progress:
    """The channel of progress, standard error.

    Parameters
    ----------
    clock
        Seconds from any beginning.
    on_terminal
        Whether somebody looks on.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        on_terminal: Callable[[], bool] = lambda: sys.stderr.isatty(),
    ) -> None:
        self.quiet = False
        self._on_terminal = on_terminal
        self._clock = clock
        self._lock = threading.RLock()
        self._own = threading.local()
        self._steps: dict[str, _Steps] = {}
        self._files: set[Path] = set()
        self._overwritten: float | None = None

    def start(self, totals: Mapping[str, int]) -> None:
        """Begin to count steps, by their kind in the plural, towards how many there are."""
        since = self._clock()
        self._steps |= {kind: _Steps(total, since) for kind, total in totals.items()}

    @contextmanager
    def kept_in(self, log: Path) -> Iterator[None]:
        """Keep in a file of its own, begun anew, what this thread says, and how long it took."""
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")
        self._own.log, since = log, self._clock()
        try:
            yield
        finally:
            self.note(f"ended after {self._clock() - since:.1f} s")
            self._own.log = None

    def note(self, line: str) -> None:
        """Say one line in the file of this thread alone."""
        if log := getattr(self._own, "log", None):
            with log.open("a", encoding="utf-8") as stream:
                stream.write(f"{line}\n")

    def say(self, line: str) -> None:
        """Say one line that stays."""
        self.note(line)
        self._write(f"{line}\n", overwritten=None)

    def finding_made(self, line: str) -> None:
        """Say that one more finding is made, and of how many."""
        with self._lock:
            steps = self._one_more(FINDINGS)
            told = f" ({steps.done} of {steps.total} {FINDINGS}{self._left(steps)})" if steps.total > 1 else ""
        self.say(f"{line}{told}")

    def step(self, kind: str, what: str) -> None:
        """Say that one more step of a kind is done, and which; the next step overwrites the line on a terminal."""
        with self._lock:
            steps = self._one_more(kind)
            place = f"{steps.done} of {steps.total} {kind}"
            if self._on_terminal() and steps.done < steps.total:
                self.note(f"{place}: {what}")
                self._overwrite(f"{place}{self._rate(steps)}{self._left(steps)}: {what}")
            else:
                self.say(f"{place}: {what}")

    def reading(self, path: Path, done_bytes: int, total_bytes: int) -> None:
        """Say to a log that a large file is read, and to a terminal how much of it and how long the rest takes."""
        with self._lock:
            if path not in self._files:
                self._files.add(path)
                self.start({str(path): total_bytes})
                self.say(f"reading {path} ({total_bytes / BYTES_PER_MB:.0f} MB)")
            steps = self._steps[str(path)]
            steps.done = done_bytes
            if self._on_terminal():
                speed = done_bytes / BYTES_PER_MB / max(self._clock() - steps.since, 1e-9)
                share = 100 * done_bytes / total_bytes
                self._overwrite(f"reading {path}: {share:.0f} %, {speed:.0f} MB/s{self._left(steps)}")

    def _one_more(self, kind: str) -> _Steps:
        if kind not in self._steps:
            self.start({kind: 0})
        steps = self._steps[kind]
        steps.done += 1
        steps.total = max(steps.total, steps.done)
        return steps

    def _rate(self, steps: _Steps) -> str:
        seconds = self._clock() - steps.since
        if steps.done < FIRST_TOLD or seconds <= 0:
            return ""
        per_second = steps.done / seconds
        return f", {per_second:.1f}/s" if per_second >= 1 else f", {per_second * SECONDS_PER_MINUTE:.1f}/min"

    def _left(self, steps: _Steps) -> str:
        """Return how long the rest takes at the rate so far, for who looks at a terminal."""
        rest = steps.total - steps.done
        if not self._on_terminal() or steps.done < FIRST_TOLD or rest <= 0:
            return ""
        return f", about {duration((self._clock() - steps.since) / steps.done * rest)} left"

    def _overwrite(self, line: str) -> None:
        now = self._clock()
        if self._overwritten is None or now - self._overwritten >= LEAST_BETWEEN_S:
            self._write(line, overwritten=now)

    def _write(self, text: str, *, overwritten: float | None) -> None:
        """Write in place of a line that is to be overwritten, and keep whether this one is."""
        if self.quiet:
            return
        with self._lock:
            over = OVER if self._overwritten is not None else ""
            self._overwritten = overwritten
            print(f"{over}{text}", end="", file=sys.stderr, flush=True)  # noqa: T201 - the channel of progress


def duration(seconds: float) -> str:
    """Return a time in seconds, or in minutes from two minutes on."""
    if seconds < 2 * SECONDS_PER_MINUTE:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / SECONDS_PER_MINUTE:.0f} min"


PROGRESS = Progress()
