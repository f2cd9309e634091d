"""`requests.csv` beside an experiment: every request of every load point, as sent and as measured.

Contract: `read_measured_requests` returns the rows in file order or raises one `ConfigError` with
file and line of every problem. Rows of one load point are in order of arrival. `replayed` turns
them into what an engine runs.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from roofline_lab.files import csv_text
from simulator.engine.records import Request
from simulator.errors import ConfigError
from simulator.validation import config_error, suggest

REQUESTS_FILE = "requests.csv"
MAX_LISTED_PROBLEMS = 20
MAX_DIGITS = 15


@dataclass(frozen=True, slots=True)
class MeasuredRequest:
    """One request; field names are the file's columns.

    Attributes
    ----------
    load_point, id
        Where it belongs; ids are unique within a load point.
    arrival_us
        Whole microseconds since the first request of the load point was sent.
    prompt_tokens
        Prompt length, shared prefix included.
    output_tokens
        Tokens generated; for a failed request the tokens asked for.
    prefix_group, prefix_tokens
        Requests of one group share their first `prefix_tokens` tokens.
    completed
        Whether it is in the measured figures.
    ttft_ms, e2e_ms
        Measured latencies; None where the request failed or the client did not record them.
    """

    load_point: str
    id: str
    arrival_us: int
    prompt_tokens: int
    output_tokens: int
    prefix_group: str | None = None
    prefix_tokens: int = 0
    completed: bool = True
    ttft_ms: float | None = None
    e2e_ms: float | None = None

    @property
    def tpot_ms(self) -> float | None:
        """(E2E - TTFT) / (N - 1); None for one token or without both latencies."""
        if self.ttft_ms is None or self.e2e_ms is None or self.output_tokens < 2:
            return None
        return (self.e2e_ms - self.ttft_ms) / (self.output_tokens - 1)


COLUMNS = tuple(field.name for field in fields(MeasuredRequest))


class BadCellError(Exception):
    """What is wrong with one cell; collected, never shown alone."""


def requests_text(requests: Iterable[MeasuredRequest]) -> str:
    """Format requests as the content of a `requests.csv`."""
    return csv_text(COLUMNS, ([_written(getattr(request, name)) for name in COLUMNS] for request in requests))


def read_measured_requests(path: Path) -> tuple[MeasuredRequest, ...]:
    """Read a `requests.csv`; a file that has not changed is read once.

    Raises
    ------
    ConfigError
        If the file cannot be read, columns are not `COLUMNS`, a cell is not what its column
        promises, an id is given twice, or arrivals go backwards.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return _read(path, status.st_mtime_ns, status.st_size)


def replayed(requests: Sequence[MeasuredRequest]) -> tuple[Request, ...]:
    """Return what the client sent, as an engine takes it."""
    return tuple(
        Request(
            id=request.id,
            arrival_us=request.arrival_us,
            prompt_tokens=request.prompt_tokens,
            output_tokens=request.output_tokens,
            prefix_group=request.prefix_group,
            prefix_tokens=request.prefix_tokens,
        )
        for request in requests
    )


def problems_with(requests: Sequence[MeasuredRequest]) -> Iterator[str]:
    """Yield where ids repeat, arrivals go backwards, or latencies contradict each other.

    Positions count from 1, so that adding the header gives the line of a file.
    """
    seen: dict[tuple[str, str], int] = {}
    latest: dict[str, int] = {}
    for position, request in enumerate(requests, start=1):
        first = seen.setdefault((request.load_point, request.id), position)
        if first != position:
            yield f"request {position}: id '{request.id}' is already used by request {first}; ids are unique"
        if request.arrival_us < latest.get(request.load_point, 0):
            yield (
                f"request {position}: arrival_us {request.arrival_us} is before the request above it "
                f"({latest[request.load_point]}); sort the requests of a load point by arrival"
            )
        latest[request.load_point] = max(request.arrival_us, latest.get(request.load_point, 0))
        if request.ttft_ms is not None and request.e2e_ms is not None and request.ttft_ms > request.e2e_ms:
            above = f"ttft_ms {request.ttft_ms:g} is above e2e_ms {request.e2e_ms:g}"
            yield f"request {position}: {above}; check both units"
        if request.prefix_tokens > request.prompt_tokens:
            prefix, prompt = request.prefix_tokens, request.prompt_tokens
            yield f"request {position}: prefix_tokens {prefix} exceeds prompt_tokens {prompt}"


def listed(problems: Iterable[str]) -> list[str]:
    """Return the first problems and how many more there are."""
    found = list(problems)
    more = [f"... and {len(found) - MAX_LISTED_PROBLEMS} more"] if len(found) > MAX_LISTED_PROBLEMS else []
    return found[:MAX_LISTED_PROBLEMS] + more


@lru_cache(maxsize=64)
def _read(path: Path, modified_ns: int, size_bytes: int) -> tuple[MeasuredRequest, ...]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _parsed(path, csv.reader(stream, strict=True))
    except (OSError, ValueError, csv.Error) as error:  # ValueError: not UTF-8
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def _parsed(path: Path, rows: Iterator[list[str]]) -> tuple[MeasuredRequest, ...]:
    header = next(rows, [])
    unknown = [name for name in header if name not in COLUMNS]
    problems = [f"column '{name}': unknown; {suggest(name, COLUMNS)}" for name in unknown]
    problems += [f"column '{name}': missing; it is required" for name in COLUMNS if name not in header]
    problems += [f"column '{name}': given twice" for name in sorted(set(header)) if header.count(name) > 1]
    if problems:
        raise config_error(str(path), problems)
    requests: list[MeasuredRequest] = []
    for line, cells in enumerate(rows, start=2):
        try:
            if len(cells) != len(header):
                raise BadCellError(f"{len(cells)} cells, but the header names {len(header)} columns")
            requests.append(_request(dict(zip(header, cells, strict=True))))
        except BadCellError as error:
            problems.append(f"line {line}: {error}")
    problems += problems_with(requests) if not problems else []
    if problems or not requests:
        raise config_error(str(path), listed(problems) or ["no requests; give at least one, or remove the file"])
    return tuple(requests)


def _request(cells: Mapping[str, str]) -> MeasuredRequest:
    if not cells["load_point"] or not cells["id"]:
        raise BadCellError("columns 'load_point' and 'id' must not be empty")
    if cells["completed"] not in ("true", "false"):
        raise BadCellError(f"column 'completed': must be true or false, got '{cells['completed'][:40]}'")
    return MeasuredRequest(
        load_point=cells["load_point"],
        id=cells["id"],
        arrival_us=whole_cell(cells, "arrival_us", 0),
        prompt_tokens=whole_cell(cells, "prompt_tokens", 1),
        output_tokens=whole_cell(cells, "output_tokens", 0),
        prefix_group=cells["prefix_group"] or None,
        prefix_tokens=whole_cell(cells, "prefix_tokens", 0),
        completed=cells["completed"] == "true",
        ttft_ms=milliseconds_cell(cells, "ttft_ms"),
        e2e_ms=milliseconds_cell(cells, "e2e_ms"),
    )


def whole_cell(cells: Mapping[str, str], name: str, smallest: int) -> int:
    """Return one cell as a whole number, or raise `BadCellError`."""
    text = cells[name]
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS) or int(text) < smallest:
        raise BadCellError(f"column '{name}': must be a whole number, {smallest} or greater, got '{text[:40]}'")
    return int(text)


def milliseconds_cell(cells: Mapping[str, str], name: str) -> float | None:
    """Return one cell as milliseconds, None where it is empty, or raise `BadCellError`."""
    text = cells[name]
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise BadCellError(f"column '{name}': must be milliseconds, 0 or greater, or empty, got '{text[:40]}'")
    return value


def _written(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value
