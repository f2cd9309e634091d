"""Single requests: `requests.csv` beside an experiment, and request traces, all read by one reader.

Contract: `read_measured_requests` reads a `requests.csv`, `read_trace` a trace; both return the requests in file order
or raise one `ConfigError` with file, line, column and what is allowed. What a kind of file may look like is its
`Layout`; what a row must be, alone and beside the rows above it, is the same for all of them. No more of a file than
its current line is held beside the requests, and reading stops at as many problems as are listed.
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path

from roofline_lab.files import DIGEST_CHARACTERS, csv_text
from roofline_lab.ground_truth.json_stream import READ_ERRORS, open_text, stream_values
from roofline_lab.ground_truth.trace_columns import FURTHER_COLUMNS, TRACE_COLUMNS
from simulator.engine.records import Request
from simulator.errors import ConfigError
from simulator.input_files import csv_records, unreadable
from simulator.validation import config_error, suggest

REQUESTS_FILE = "requests.csv"
# Names of traces that are replayed.
SUFFIXES = (".csv", ".csv.gz")
# A trace in JSON is an object with this list.
REQUESTS_KEY = "requests"

MAX_LISTED_PROBLEMS = 20
# Far more than any number of tokens or microseconds of a run; keeps a damaged file from overflowing.
MAX_DIGITS = 15
# Single requests kept of one run: ten times the longest recorded one, and at most half a gigabyte.
MAX_RECORDED = 200_000
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class MeasuredRequest:
    """One request; field names are the columns of `requests.csv`.

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
    outer_group, outer_tokens
        Groups of one outer group share their first `outer_tokens` tokens.
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
    outer_group: str | None = None
    outer_tokens: int = 0

    @property
    def tpot_ms(self) -> float | None:
        """(E2E - TTFT) / (N - 1); None for one token or without both latencies."""
        if self.ttft_ms is None or self.e2e_ms is None or self.output_tokens < 2:
            return None
        return (self.e2e_ms - self.ttft_ms) / (self.output_tokens - 1)


@dataclass(frozen=True, slots=True)
class Trace:
    """The requests of one trace.

    Attributes
    ----------
    path, digest
        The file, and a short hash of its bytes.
    requests
        In file order, which is that of arrival; `load_point` is the stage's number, and arrivals count from any start.
    client_tokens
        Output length of each as the client counted the text; None if it did not.
    published, notes
        Whose format it has, where it is one published without latencies, and what a reader of it should know.
    """

    path: Path
    digest: str
    requests: tuple[MeasuredRequest, ...]
    client_tokens: tuple[int | None, ...]
    published: str | None = None
    notes: tuple[str, ...] = ()


# --- what files look like ---------------------------------------------------------------------

COLUMNS = tuple(column.name for column in fields(MeasuredRequest) if not column.name.startswith("outer"))
# Written where a request has them.
OUTER_COLUMNS = ("outer_group", "outer_tokens")


@dataclass(frozen=True, slots=True)
class Layout:
    """What one kind of request file looks like.

    Attributes
    ----------
    columns
        Names a column may have, by field; the best one first.
    required
        Fields that must have a column.
    completed
        Words of the column of that field, and whether they say that the request completed; without it all did.
    others
        Further columns that may be there and are left alone.
    foreign
        A trace of another tool: any further columns, as JSON too, ids and load points where they are given.
    one_clock
        Arrivals run through all load points of the file; else each load point has its own clock.
    in_turn
        Load points are numbers, and run one after the other.
    latencies
        `optional`: they may be missing. `positive`: of a completed request they are above 0 where given. `required`:
        of a completed request both are given, above 0.
    answered
        A completed request has at least one output token, as it must have to be sent again.
    """

    columns: Mapping[str, tuple[str, ...]]
    required: Collection[str]
    completed: Mapping[str, bool]
    others: Collection[str] = ()
    foreign: bool = False
    one_clock: bool = True
    in_turn: bool = False
    latencies: str = "positive"
    answered: bool = True

    def label(self, name: str) -> str:
        """Return what messages call a column."""
        return f"column '{' or '.join(self.columns[name])}':"


BESIDE_EXPERIMENT = Layout(
    columns={name: (name,) for name in (*COLUMNS, *OUTER_COLUMNS)},
    required=COLUMNS,
    completed={"true": True, "false": False},
    one_clock=False,
    latencies="optional",
    answered=False,
)

_TRACE_FIELDS = ("id", "load_point", "arrival_us", "prompt_tokens", "output_tokens", "ttft_ms", "e2e_ms")

REPLAYED = Layout(
    columns={
        **{name: (column,) for name, column in zip(_TRACE_FIELDS, TRACE_COLUMNS, strict=True)},
        "completed": ("has_error",),
    },
    required=_TRACE_FIELDS,
    completed={"0": True, "1": False},
    others=FURTHER_COLUMNS,
    in_turn=True,
    latencies="required",
)

# Traces of other tools: columns by several names, in any order, beside others; as JSON too.
OF_OTHER_TOOLS = Layout(
    columns={
        "id": ("id", "request_id", "index"),
        "load_point": ("stage",),
        "arrival_us": ("arrival_us", "arrival_time_us"),
        "prompt_tokens": ("prompt_tokens", "input_tokens"),
        "output_tokens": ("output_tokens_true", "output_tokens"),
        "client_tokens": ("output_tokens_client_retokenized",),
        "completed": ("has_error",),
        "ttft_ms": ("ttft_ms",),
        "e2e_ms": ("e2e_ms",),
    },
    required=("arrival_us", "prompt_tokens", "output_tokens"),
    completed={"": True, "0": True, "1": False, "true": False, "false": True},
    foreign=True,
)
# To look at a trace it is no matter whether its answers could be sent again: some clients count the tokens of the text.
LOOKED_AT = replace(OF_OTHER_TOOLS, answered=False)


# --- reading and writing files ----------------------------------------------------------------


def read_measured_requests(path: Path) -> tuple[MeasuredRequest, ...]:
    """Read a `requests.csv`; a file that has not changed is read once.

    Raises
    ------
    ConfigError
        If the file cannot be read, columns are not `COLUMNS`, a cell is not what its column promises, an id is given
        twice, or arrivals go backwards.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    return _read(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _read(path: Path, modified_ns: int, size_bytes: int) -> tuple[MeasuredRequest, ...]:
    requests, _ = _requests(path, BESIDE_EXPERIMENT, "no requests; give at least one, or remove the file")
    return tuple(requests)


def read_trace(path: Path, layout: Layout = REPLAYED) -> Trace:
    """Read one trace, plain or compressed by gzip; one of `OF_OTHER_TOOLS` may be JSON.

    Raises
    ------
    ConfigError
        If the file cannot be read to its end, a column is missing or unknown, a cell is not what its column promises,
        an id is given twice in a stage, arrivals or stages go backwards, or latencies contradict each other.
    """
    requests, client_tokens = _requests(path, layout, "no requests below the header; is this a trace?")
    return Trace(path, digest_of_trace(path), tuple(requests), tuple(client_tokens))


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
            inside = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES) and file.is_file())
            if not inside:
                raise ConfigError(f"{path}: no trace in this folder; traces are named *.csv or *.csv.gz")
            found += inside
        elif not path.is_file():
            raise ConfigError(f"{path}: no such file or folder; give traces, or a folder of them")
        else:
            found.append(path)
    return tuple(found)


def requests_text(requests: Iterable[MeasuredRequest]) -> str:
    """Format requests as the content of a `requests.csv`."""
    rows = tuple(requests)
    columns = (*COLUMNS, *OUTER_COLUMNS) if any(request.outer_group for request in rows) else COLUMNS
    return csv_text(columns, ([_written(getattr(request, name)) for name in columns] for request in rows))


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
            outer_group=request.outer_group,
            outer_tokens=request.outer_tokens,
        )
        for request in requests
    )


def checked_requests(source: str, requests: Sequence[MeasuredRequest]) -> tuple[MeasuredRequest, ...]:
    """Return requests that come from no request file, if ids are unique, arrivals in order and latencies possible.

    Raises
    ------
    ConfigError
        Naming every request that is not.
    """
    rows, problems = _Rows(BESIDE_EXPERIMENT, in_file=False), []
    for position, request in enumerate(requests, start=1):
        try:
            rows.check(f"request {position}", request)
        except BadCellError as error:
            problems.append(f"request {position}: {error}")
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in listed(problems))
        raise ConfigError(f"{source}: requests cannot be right\n{lines}")
    return tuple(requests)


def refuse_too_many(source: str, count: int) -> None:
    """Refuse more single requests than are kept in memory.

    Raises
    ------
    ConfigError
        If there are more than `MAX_RECORDED`.
    """
    if count > MAX_RECORDED:
        raise ConfigError(
            f"{source}: more than {MAX_RECORDED} single requests; import the run in parts, or without its requests"
        )


def listed(problems: Sequence[str]) -> list[str]:
    """Return the first problems and how many more there are."""
    more = len(problems) - MAX_LISTED_PROBLEMS
    return [*problems[:MAX_LISTED_PROBLEMS], *([f"... and {more} more"] if more > 0 else [])]


def _written(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value


def digest_of_trace(path: Path) -> str:
    """Return a short hash of a file's bytes."""
    content = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            content.update(chunk)
    return content.hexdigest()[:DIGEST_CHARACTERS]


# --- rows -------------------------------------------------------------------------------------


class BadCellError(Exception):
    """What is wrong with one row; collected, never shown alone."""


def _requests(path: Path, layout: Layout, nothing: str) -> tuple[list[MeasuredRequest], list[int | None]]:
    """Return the requests of a file, and how many tokens the client counted in each."""
    requests: list[MeasuredRequest] = []
    client_tokens: list[int | None] = []
    problems: list[str] = []
    rows = _Rows(layout)
    for position, (place, cells) in enumerate(_cells(path, layout)):
        if layout.foreign:
            refuse_too_many(str(path), position + 1)
        try:
            if isinstance(cells, str):
                raise BadCellError(cells)
            if layout.foreign:
                cells = _completed_cells(cells, position)
            request = _request(cells, layout)
            rows.check(place, request)
            requests.append(request)
            client_tokens.append(_whole(cells, "client_tokens", 0, layout) if cells.get("client_tokens") else None)
        except BadCellError as error:
            problems.append(f"{place}: {error}")
        if len(problems) == MAX_LISTED_PROBLEMS:
            problems.append("... reading stopped here")
            break
    if problems or not requests:
        raise config_error(str(path), problems or [nothing])
    return requests, client_tokens


def _cells(path: Path, layout: Layout) -> Iterator[tuple[str, dict[str, str] | str]]:
    """Yield place and cells by field of every row, or what is wrong with their number."""
    if layout.foreign and path.name.endswith((".json", ".json.gz")):
        yield from _json_cells(path, layout)
        return
    try:
        with open_text(path) as stream:
            records = csv_records(stream, str(path))
            header = [name.strip() if layout.foreign else name for name in next(records, (0, []))[1]]
            columns = _columns(path, header, layout)
            for line, cells in records:
                place = f"line {line}"
                if len(cells) == len(header):
                    yield place, {name: cells[position] for name, position in columns.items()}
                elif cells:
                    yield place, f"{len(cells)} cells, but the header names {len(header)} columns"
    except READ_ERRORS as error:
        raise unreadable(path, error) from None


def _json_cells(path: Path, layout: Layout) -> Iterator[tuple[str, dict[str, str]]]:
    for place, value in stream_values(path, frozenset({(), (REQUESTS_KEY,)})):
        if len(place) != 2 or place[0] != REQUESTS_KEY:
            continue
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: {REQUESTS_KEY}.{place[1]}: must be a record of one request")
        values = [str(_written(cell)) for cell in value.values()]
        columns = _columns(path, list(value), layout)
        yield f"{REQUESTS_KEY}.{place[1]}", {name: values[position] for name, position in columns.items()}


def _columns(path: Path, header: Sequence[str], layout: Layout) -> dict[str, int]:
    """Return the position of the column of every field.

    Raises
    ------
    ConfigError
        If a column is missing, unknown or given twice.
    """
    problems = list(_header_problems(header, layout))
    if problems:
        raise config_error(str(path), problems)
    found = {field: next((name for name in names if name in header), None) for field, names in layout.columns.items()}
    return {field: header.index(name) for field, name in found.items() if name is not None}


def _header_problems(header: Sequence[str], layout: Layout) -> Iterator[str]:
    known = [name for names in layout.columns.values() for name in names]
    if not header:
        names = ", ".join(layout.columns[name][0] for name in layout.required)
        yield f"empty; the first line must name the columns {names}"
        return
    for required in layout.required:
        best, *further = layout.columns[required]
        if best not in header and not any(name in header for name in further):
            other = f" (or {' or '.join(further)})" if further else ""
            yield f"column '{best}'{other}: missing; {_what_is_missing(best, header, layout)}"
    if not layout.foreign:
        allowed = {*known, *layout.others}
        yield from (f"column '{name}': unknown; {suggest(name, allowed)}" for name in header if name not in allowed)
    for name in sorted(set(header)):
        if header.count(name) > 1 and (name in known or not layout.foreign):
            yield f"column '{name}': given twice"


def _what_is_missing(name: str, header: Sequence[str], layout: Layout) -> str:
    if layout.foreign:
        # What is allowed is what a trace may have, never what this file happens to hold.
        near = difflib.get_close_matches(name, header, n=1)
        meant = f"is it '{near[0]}'? then rename it; " if near else ""
        columns = ", ".join(layout.columns[required][0] for required in layout.required)
        return f"is this a request trace? {meant}a trace has the columns {columns}"
    return f"it holds: {TRACE_COLUMNS[name]}" if name in TRACE_COLUMNS and layout.others else "it is required"


def _completed_cells(cells: Mapping[str, str], position: int) -> dict[str, str]:
    """Return the cells of a trace of another tool, with the id and the stage it need not give."""
    given = {name: text.strip() for name, text in cells.items()}
    given["completed"] = given.get("completed", "").lower()
    return {**given, "id": given.get("id") or str(position), "load_point": given.get("load_point") or "0"}


def _request(cells: Mapping[str, str], layout: Layout) -> MeasuredRequest:
    text = cells.get("completed")
    completed = True if text is None else layout.completed.get(text)
    if completed is None:
        *words, last = [word for word in layout.completed if word]
        allowed = f"{', '.join(words)} or {last}"
        raise BadCellError(f"{layout.label('completed')} must be {allowed}, got '{cells['completed'][:40]}'")
    return MeasuredRequest(
        load_point=str(_whole(cells, "load_point", 0, layout)) if layout.one_clock else cells["load_point"],
        id=cells["id"],
        arrival_us=_whole(cells, "arrival_us", 0, layout),
        prompt_tokens=_whole(cells, "prompt_tokens", 1, layout),
        output_tokens=_whole(cells, "output_tokens", 1 if completed and layout.answered else 0, layout),
        prefix_group=cells.get("prefix_group") or None,
        prefix_tokens=_whole(cells, "prefix_tokens", 0, layout) if "prefix_tokens" in cells else 0,
        completed=completed,
        ttft_ms=_milliseconds(cells, "ttft_ms", layout),
        e2e_ms=_milliseconds(cells, "e2e_ms", layout),
        outer_group=cells.get("outer_group") or None,
        outer_tokens=_whole(cells, "outer_tokens", 0, layout) if "outer_tokens" in cells else 0,
    )


def _whole(cells: Mapping[str, str], name: str, smallest: int, layout: Layout) -> int:
    text = cells[name]
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS) or int(text) < smallest:
        raise BadCellError(f"{layout.label(name)} must be a whole number, {smallest} or greater, got '{text[:40]}'")
    return int(text)


def _milliseconds(cells: Mapping[str, str], name: str, layout: Layout) -> float | None:
    text = cells.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise BadCellError(f"{layout.label(name)} must be milliseconds, 0 or greater, or empty, got '{text[:40]}'")
    # No request takes no time, so 0 was not measured; where latencies are needed, the row is refused instead.
    return None if value == 0 and layout.latencies == "optional" else value


@dataclass(slots=True)
class _Rows:
    """What earlier requests said, as far as later ones must fit to it."""

    layout: Layout
    in_file: bool = True
    _first: dict[tuple[str, str], str] = field(default_factory=dict)
    _latest_us: dict[str, int] = field(default_factory=dict)
    _latest_stage: int = 0

    def check(self, place: str, request: MeasuredRequest) -> None:
        """Compare a request with itself and with those above it, and remember it.

        Raises
        ------
        BadCellError
            If its id is empty or given twice, it comes before the one above, or its latencies are not possible.
        """
        if not request.id or not request.load_point:
            raise BadCellError(f"{self._label('load_point' if request.id else 'id')} must not be empty")
        first = self._first.setdefault((request.load_point, request.id), place)
        if first != place:
            raise BadCellError(
                f"{self._label('id')} '{request.id[:40]}' is already used on {first}; ids are unique in a "
                f"{'stage' if self.layout.one_clock else 'load point'}"
            )
        self._check_order(request)
        if request.prefix_tokens > request.prompt_tokens:
            raise BadCellError(
                f"{self._label('prefix_tokens')} {request.prefix_tokens} exceeds prompt_tokens {request.prompt_tokens}"
            )
        if request.outer_tokens > request.prefix_tokens:
            raise BadCellError(
                f"{self._label('outer_tokens')} {request.outer_tokens} exceeds prefix_tokens {request.prefix_tokens}"
            )
        self._check_latencies(request)

    def _check_order(self, request: MeasuredRequest) -> None:
        clock = "" if self.layout.one_clock else request.load_point
        latest_us = self._latest_us.get(clock, 0)
        if request.arrival_us < latest_us:
            raise BadCellError(
                f"{self._label('arrival_us')} {request.arrival_us} is before the row above ({latest_us}); "
                f"sort the requests{'' if self.layout.one_clock else ' of a load point'} by arrival"
            )
        self._latest_us[clock] = request.arrival_us
        if self.layout.in_turn:
            if int(request.load_point) < self._latest_stage:
                raise BadCellError(
                    f"{self._label('load_point')} {request.load_point} comes after {self._latest_stage}; stages run "
                    "one after the other"
                )
            self._latest_stage = int(request.load_point)

    def _check_latencies(self, request: MeasuredRequest) -> None:
        ttft, e2e = (self.layout.columns[name][0] for name in ("ttft_ms", "e2e_ms"))
        given = {"ttft_ms": request.ttft_ms, "e2e_ms": request.e2e_ms} if request.completed else {}
        if self.layout.latencies == "required" and None in given.values():
            raise BadCellError(f"columns '{ttft}' and '{e2e}': must be above 0 unless has_error is 1")
        for name, value in given.items():
            if value == 0 and self.layout.latencies != "optional":
                raise BadCellError(f"{self._label(name)} must be above 0 unless has_error is 1")
        judged = request.completed or self.layout.latencies == "optional"
        if judged and request.ttft_ms is not None and request.e2e_ms is not None and request.ttft_ms > request.e2e_ms:
            raise BadCellError(
                f"{self._label('ttft_ms')} {request.ttft_ms:g} is above {e2e} {request.e2e_ms:g}; check both units"
            )

    def _label(self, name: str) -> str:
        return self.layout.label(name) if self.in_file else name
