"""Recorded inputs of a method: the request lengths and arrival intervals of runs once made elsewhere.

Contract: `Recorded.load` reads `request_lengths.csv` and `arrival_intervals.csv` of one method's
folder; every malformed line is refused with file and line. Lengths belong to a workload, intervals
to an experiment.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import ConfigError
from simulator.input_files import csv_records, read_text
from simulator.validation import config_error, suggest
from simulator.workload.trace import load_trace

LENGTHS_FILE = "request_lengths.csv"
INTERVALS_FILE = "arrival_intervals.csv"
INTERVAL_COLUMNS = ("experiment", "interval_us", "note")


@dataclass(frozen=True, slots=True)
class RecordedLength:
    """One request of a recorded workload; lengths in tokens, the prompt with its shared prefix."""

    index: int
    prompt_tokens: int
    shared_prefix_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """The recorded inputs in one folder.

    Attributes
    ----------
    folder
        Where they are.
    intervals_us
        Time between two arrivals by experiment, whole microseconds.
    """

    folder: Path
    intervals_us: Mapping[str, int]

    @classmethod
    def load(cls, folder: Path) -> Recorded:
        """Read one folder.

        Raises
        ------
        ConfigError
            Naming file and line of every malformed interval.
        """
        return cls(folder, _intervals(folder / INTERVALS_FILE))

    def lengths(self, workload: str) -> tuple[RecordedLength, ...]:
        """Return the requests of one workload, in order of sending.

        Raises
        ------
        ConfigError
            If the file is malformed or has no request of this workload.
        """
        requests = load_trace(self.folder / LENGTHS_FILE, where={"workload": workload}, times_required=False)
        return tuple(
            RecordedLength(position, request.prompt_tokens, request.prefix_tokens, request.output_tokens)
            for position, request in enumerate(requests)
        )

    def interval_us(self, experiment: str) -> int:
        """Return the constant time between arrivals of one experiment, in microseconds.

        Raises
        ------
        ConfigError
            If none was recorded.
        """
        if experiment not in self.intervals_us:
            raise ConfigError(
                f"{self.folder / INTERVALS_FILE}: no interval for '{experiment}'; "
                f"{suggest(experiment, self.intervals_us)}"
            )
        return self.intervals_us[experiment]


def _intervals(path: Path) -> dict[str, int]:
    intervals: dict[str, int] = {}
    problems: list[str] = []
    for line, cells in _lines(path):
        experiment, text = cells[0], cells[1]
        if re.fullmatch(r"[0-9]{1,18}", text) is None or int(text) == 0:
            problems.append(f"line {line}: interval_us must be a whole number of microseconds above 0 (got '{text}')")
        elif experiment in intervals:
            problems.append(f"line {line}: experiment '{experiment}' is given twice")
        else:
            intervals[experiment] = int(text)
    if problems:
        raise config_error(str(path), problems)
    return intervals


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of every line below the header."""
    records = csv_records(io.StringIO(read_text(path), newline=""), str(path))
    if tuple(next(records, (0, []))[1]) != INTERVAL_COLUMNS:
        raise ConfigError(f"{path}:1: the header must be {','.join(INTERVAL_COLUMNS)}")
    for line, cells in records:
        if len(cells) != len(INTERVAL_COLUMNS):
            raise ConfigError(f"{path}:{line}: {len(cells)} cells instead of {len(INTERVAL_COLUMNS)}")
        yield line, cells
