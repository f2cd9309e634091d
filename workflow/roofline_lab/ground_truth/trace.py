"""One recorded request trace, read line by line from a CSV file, plain or gzip-compressed.

Contract: `read_trace` returns the requests in file order, `load_point` being the number of the stage, or raises one
`ConfigError` with file, line, column and what is allowed. No more of a file than its current line is held beside
the requests, and reading stops when as many problems were found as are listed.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from roofline_lab.files import DIGEST_CHARACTERS
from roofline_lab.ground_truth.requests import (
    MAX_LISTED_PROBLEMS,
    BadCellError,
    MeasuredRequest,
    milliseconds_cell,
    whole_cell,
)
from roofline_lab.ground_truth.trace_rows import Rows, fewest_output_tokens
from simulator.errors import ConfigError
from simulator.validation import config_error, suggest

SUFFIXES = (".csv", ".csv.gz")
# Column -> what it holds. Arrivals count from any start and run through all stages of a file.
COLUMNS: Mapping[str, str] = {
    "index": "name of the request, unique in its stage",
    "stage": "number of the load point, from 0 in the order they were run",
    "arrival_time_us": "when it was sent, whole microseconds",
    "input_tokens": "prompt length, shared prefix included",
    "output_tokens_true": "tokens really generated",
    "ttft_ms": "measured time to first token, milliseconds",
    "e2e_ms": "measured time to the last token, milliseconds",
}
# Columns that may be there; all but `has_error` are left alone.
FURTHER_COLUMNS: Mapping[str, str] = {
    "has_error": "1 where the request failed, else 0",
    "output_tokens_client_retokenized": "tokens the client counted in the text",
    "queue_ms": "time in the waiting queue, milliseconds",
    "prefill_ms": "first scheduled to first token, milliseconds",
    "decode_ms": "first to last token, milliseconds",
}
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Trace:
    """The requests of one file.

    Attributes
    ----------
    path, digest
        The file, and a short hash of its bytes.
    requests
        In file order, which is that of arrival; `load_point` is the stage's number.
    """

    path: Path
    digest: str
    requests: tuple[MeasuredRequest, ...]


def find_traces(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the trace files among `paths`; of a folder those in it, sorted by name.

    Raises
    ------
    ConfigError
        If there is nothing to read.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.name.endswith(SUFFIXES) and one.is_file())
            if not inside:
                raise ConfigError(f"{path}: no trace in this folder; traces are named *.csv or *.csv.gz")
            found += inside
        elif not path.is_file():
            raise ConfigError(f"{path}: no such file or folder; give traces, or a folder of them")
        else:
            found.append(path)
    return tuple(found)


def read_trace(path: Path) -> Trace:
    """Read one trace.

    Raises
    ------
    ConfigError
        If the file cannot be read to its end, a column is missing or unknown, a cell is not what its column promises,
        an id is given twice in a stage, arrivals or stages go backwards, or latencies contradict each other.
    """
    try:
        with _opened(path) as stream:
            requests = _requests(path, csv.reader(stream, strict=True))
        return Trace(path, _digest(path), requests)
    except (OSError, EOFError, zlib.error, ValueError, csv.Error) as error:  # ValueError: not UTF-8
        raise ConfigError(f"{path}: cannot be read to its end: {error}; is the file complete?") from None


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _digest(path: Path) -> str:
    content = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            content.update(chunk)
    return content.hexdigest()[:DIGEST_CHARACTERS]


def _requests(path: Path, rows: Iterator[list[str]]) -> tuple[MeasuredRequest, ...]:
    header = next(rows, [])
    problems = list(_header_problems(header))
    if problems:
        raise config_error(str(path), problems)
    requests: list[MeasuredRequest] = []
    seen, latest_stage = Rows(), 0
    for line, cells in enumerate(rows, start=2):
        if not cells:
            continue
        try:
            requests.append(_request(header, cells, line, latest_stage, seen))
            latest_stage = int(requests[-1].load_point)
        except BadCellError as error:
            problems.append(f"line {line}: {error}")
        if len(problems) == MAX_LISTED_PROBLEMS:
            problems.append("... reading stopped here")
            break
    if problems or not requests:
        raise config_error(str(path), problems or ["no request below the header"])
    return tuple(requests)


def _header_problems(header: Sequence[str]) -> Iterator[str]:
    known = [*COLUMNS, *FURTHER_COLUMNS]
    if not header:
        yield f"empty; the first line must name the columns {', '.join(COLUMNS)}"
        return
    yield from (f"column '{name}': missing; it holds: {COLUMNS[name]}" for name in COLUMNS if name not in header)
    yield from (f"column '{name}': unknown; {suggest(name, known)}" for name in header if name not in known)
    yield from (f"column '{name}': given twice" for name in sorted(set(header)) if header.count(name) > 1)


def _request(header: Sequence[str], cells: Sequence[str], line: int, latest_stage: int, rows: Rows) -> MeasuredRequest:
    if len(cells) != len(header):
        raise BadCellError(f"{len(cells)} cells, but the header names {len(header)} columns")
    row = dict(zip(header, cells, strict=True))
    stage = whole_cell(row, "stage", 0)
    completed = _completed(row)
    one = MeasuredRequest(
        load_point=str(stage),
        id=row["index"],
        arrival_us=whole_cell(row, "arrival_time_us", 0),
        prompt_tokens=whole_cell(row, "input_tokens", 1),
        output_tokens=whole_cell(row, "output_tokens_true", fewest_output_tokens(completed=completed)),
        completed=completed,
        ttft_ms=milliseconds_cell(row, "ttft_ms"),
        e2e_ms=milliseconds_cell(row, "e2e_ms"),
    )
    _refuse_contradictions(one, line, stage, latest_stage, rows)
    return one


def _completed(row: Mapping[str, str]) -> bool:
    failed = row.get("has_error", "0")
    if failed not in ("0", "1"):
        raise BadCellError(f"column 'has_error': must be 0 or 1, got '{failed[:40]}'")
    return failed == "0"


def _refuse_contradictions(request: MeasuredRequest, line: int, stage: int, latest_stage: int, rows: Rows) -> None:
    """Ask for what a replay needs beyond a possible row: both latencies, and stages in turn."""
    rows.check(
        f"line {line}",
        stage=stage,
        name=request.id,
        arrival_us=request.arrival_us,
        completed=request.completed,
        ttft_ms=request.ttft_ms,
        e2e_ms=request.e2e_ms,
    )
    if stage < latest_stage:
        raise BadCellError(f"column 'stage': {stage} comes after {latest_stage}; stages run one after the other")
    if request.completed and (request.ttft_ms is None or request.e2e_ms is None):
        raise BadCellError("columns 'ttft_ms' and 'e2e_ms': must be above 0 unless has_error is 1")
