"""Recorded requests, read from CSV and JSON lines as strictly as they deserve.

Contract: `load_trace` returns the rows as `Request`s sorted by arrival (rows of equal arrival stay
in file order), or raises one `ConfigError` that names file and line of every problem; `read_trace` says too which
format it was and what was left out. A column's meaning and unit come from its name; see `COLUMNS`, and `trace_formats`
for traces of others. Columns with other names are left alone, but a name that looks like a misspelt one is refused. A
file may be plain or gzip-compressed (`.gz`).
"""

from __future__ import annotations

import difflib
import io
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from simulator.engine.records import Request
from simulator.errors import ConfigError
from simulator.input_files import READ_ERRORS, csv_records, open_bytes, parse_json, read_text, unreadable
from simulator.validation import config_error, suggest
from simulator.workload.arrivals import US_PER_S
from simulator.workload.prefixes import SHARED_GROUP
from simulator.workload.trace_formats import (
    TEXTS,
    Format,
    arrival_us,
    begin_of_clock_us,
    doubts,
    format_of,
    shared_prefixes,
)

# Role of a column -> names it may have. One name per role and file.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "request_id"),
    "arrival": ("arrival_us", "arrival_time_us", "arrival_s", "arrival_seconds"),
    "prompt": ("prompt_tokens", "input_tokens", "prompt_tokens_including_prefix"),
    "output": ("output_tokens", "output_tokens_true"),
    "prefix group": ("prefix_group",),
    "prefix": ("prefix_tokens", "shared_prefix_tokens"),
    "priority": ("priority",),
    "queueing delay": ("queueing_delay_us",),
}
REQUIRED_ROLES = ("prompt", "output")
# Column of Azure's traces of models that take images.
IMAGES = "NumImages"
SECONDS_COLUMNS = ("arrival_s", "arrival_seconds")

MAX_LISTED_PROBLEMS = 20
# A million requests of a public trace take a tenth of it.
MOST_TRACE_BYTES = 2**30
# A first record with the ids of a hundred thousand tokens.
FIRST_BYTES = 2**20
MISSPELLING_SIMILARITY = 0.85

# Whole numbers, also as tables of numbers are written that have gaps: 374.0.
_WHOLE = re.compile(r"\d{1,15}(\.0{1,6})?", re.ASCII)
_SIGNED = re.compile(r"-?\d{1,15}", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,18})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    cells: Mapping[str, str]
    lists: Mapping[str, Sequence[object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TraceFile:
    """What a trace holds.

    Attributes
    ----------
    requests
        Sorted by arrival.
    format
        Whose format it is; None for our own columns.
    notes
        What a reader should know: rows that were left out, sharing that cannot be told.
    timed
        Whether it says when requests arrive; without, every arrival is 0.
    """

    requests: tuple[Request, ...]
    format: str | None = None
    notes: tuple[str, ...] = ()
    timed: bool = True


class _BadRowError(Exception):
    """What is wrong with one row; collected, never shown alone."""


def load_trace(
    path: Path, *, where: Mapping[str, str] | None = None, times_required: bool = True
) -> tuple[Request, ...]:
    """Read the requests of one file; see `read_trace`."""
    return read_trace(path, where=where, times_required=times_required).requests


def trace_format(path: Path) -> str | None:
    """Return whose format a trace has, by its first line or record; None if it has our own columns or none known.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    found = _published(first_columns(path))
    return None if found is None else found.name


def has_own_columns(columns: Collection[str]) -> bool:
    """Return whether columns are those of a trace in our own format: lengths under one of their names."""
    return all({*columns} & {*COLUMNS[role]} for role in REQUIRED_ROLES)


def first_columns(path: Path) -> list[str]:
    """Return what the first line, or the first record, of a trace names.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    try:
        with open_bytes(path) as stream:
            begin = stream.read(FIRST_BYTES).decode("utf-8-sig", errors="replace").lstrip()
    except READ_ERRORS as error:
        raise unreadable(path, error) from None
    return _first_record(begin) if begin[:1] in ("{", "[") else _first_cells(begin)


def _first_cells(begin: str) -> list[str]:
    return [cell.strip(' "\r') for cell in begin.partition("\n")[0].split(",")]


def _first_record(begin: str) -> list[str]:
    """Return the keys of the first JSON object of a text; none if it is not whole."""
    try:
        record, _ = json.JSONDecoder().raw_decode(begin[begin.index("{") :])
    except (ValueError, RecursionError):
        return []
    return list(record)


def read_trace(path: Path, *, where: Mapping[str, str] | None = None, times_required: bool = True) -> TraceFile:
    """Read the requests of one file.

    Parameters
    ----------
    path
        The file; a header line is required.
    where
        Keep only rows whose cells equal these (column -> text).
    times_required
        Whether a column of arrivals must be there; without one every arrival is 0.

    Raises
    ------
    ConfigError
        If the file cannot be read, a column is missing, ambiguous or misspelt, a cell is not what
        its column promises, an id is given twice, or no row is left.
    """
    header, rows = _rows(path)
    required = ("arrival", *REQUIRED_ROLES) if times_required else REQUIRED_ROLES
    columns = _columns(path, header, required, where or {})
    kept = [row for row in rows if all(row.cells[name] == text for name, text in (where or {}).items())]
    if not kept:
        raise ConfigError(f"{path}: no request left; rows: {len(rows)}, filter: {dict(where or {})}")
    published = _published(header)
    requests: list[Request] = []
    beginnings: list[Sequence[object]] = []
    problems: list[str] = []
    first_line: dict[str, int] = {}
    for position, row in enumerate(kept):
        try:
            if published is not None and _is_empty(row, columns):
                continue
            request = _request(row, columns, position, published)
            if first_line.setdefault(request.id, row.line) != row.line:
                raise _BadRowError(
                    f"id '{request.id}' is already used on line {first_line[request.id]}; ids are unique"
                )
            requests.append(request)
            beginnings.append(_beginning(row, published))
        except _BadRowError as error:
            problems.append(f"line {row.line}: {error}")
    if problems:
        raise config_error(str(path), _shortened(problems))
    if published is None:
        ordered = tuple(sorted(requests, key=lambda request: request.arrival_us))
        return TraceFile(ordered, timed="arrival" in columns)
    found = _as_published(published, requests, beginnings, len(kept))
    return replace(found, notes=(*found.notes, *_images(kept)))


def _images(rows: Sequence[_Row]) -> Iterator[str]:
    """Say how many prompts hold images."""
    shown = sum(row.cells.get(IMAGES, "0").strip("0.") != "" for row in rows)
    if shown:
        yield f"{shown} of {len(rows)} prompts hold images ({IMAGES}); what encoding them costs is not simulated"


def _as_published(
    published: Format, requests: Sequence[Request], beginnings: Sequence[Sequence[object]], rows: int
) -> TraceFile:
    """Return the requests of somebody's trace: dates on a clock that starts at 0, and what their prompts share."""
    notes = []
    if len(requests) < rows:
        notes.append(f"{rows - len(requests)} of {rows} rows have no prompt or no answer (0 tokens) and are left out")
    notes += doubts(published, requests, beginnings)
    order = sorted(range(len(requests)), key=lambda place: requests[place].arrival_us)
    begin_us = begin_of_clock_us(published, requests[order[0]].arrival_us) if requests else 0
    shared = shared_prefixes([beginnings[place] for place in order])
    found = []
    for place, (group, entries) in zip(order, shared.groups, strict=True):
        request = requests[place]
        tokens = min(entries * published.block_tokens, request.prompt_tokens)
        found.append(
            replace(request, arrival_us=request.arrival_us - begin_us, prefix_group=group, prefix_tokens=tokens)
        )
    if shared.kept < shared.known:
        notes.append(
            f"conversations branch: {shared.kept / shared.known:.1%} of what prompts have in common with earlier ones "
            "is simulated as shared"
        )
    return TraceFile(tuple(found), published.name, tuple(notes), timed=published.arrival is not None)


def _published(header: Sequence[str]) -> Format | None:
    """Return the format of a trace that has not our own columns."""
    return None if has_own_columns(header) else format_of(header)


def _beginning(row: _Row, published: Format | None) -> Sequence[object]:
    """Return what a prompt begins with, entry by entry, where its trace says so."""
    if published is None or published.shared is None:
        return ()
    entries = row.lists.get(published.shared, ())
    if not all(isinstance(entry, int | str) for entry in entries):
        raise _BadRowError(f"column '{published.shared}': must be a list of whole numbers")
    return entries


def _is_empty(row: _Row, columns: Mapping[str, str]) -> bool:
    return any(row.cells[columns[role]] in ("0", "0.0") for role in REQUIRED_ROLES)


def _rows(path: Path) -> tuple[list[str], list[_Row]]:
    text = read_text(path, MOST_TRACE_BYTES)
    if text.lstrip()[:1] in ("{", "["):
        return _json_rows(path, text)
    records = csv_records(io.StringIO(text, newline=""), str(path))
    header = [name.strip() for name in next(records, (0, []))[1]]
    if not header:
        raise ConfigError(f"{path}: empty; the first line must name the columns")
    return header, [_row(path, header, line, cells) for line, cells in records if cells]


def _json_rows(path: Path, text: str) -> tuple[list[str], list[_Row]]:
    """Return the records of JSON lines, or of one JSON list, as rows of text; lists are kept beside them."""
    if text.lstrip().startswith("["):
        content = parse_json(text, source=str(path))
        records = list(enumerate(content, start=1)) if isinstance(content, list) else []
    else:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
        records = [(number, parse_json(line, source=f"{path}:{number}")) for number, line in lines]
    for number, record in records:
        if not isinstance(record, dict):
            raise ConfigError(f'{path}:{number}: must be a record of one request, such as {{"timestamp": 0, ...}}')
    if not records:
        raise ConfigError(f"{path}: empty; the first line must name the columns")
    header = list(dict.fromkeys(key for _, record in records for key in record))
    if format_of(header) is None and any(key in header for key in TEXTS) and not set(header) & set(COLUMNS["prompt"]):
        raise ConfigError(
            f"{path}: texts of conversations without numbers of tokens; count them with the model's tokenizer and give "
            "columns prompt_tokens and output_tokens"
        )
    return header, [_json_row(number, record, header) for number, record in records]


def _json_row(number: int, record: Mapping[str, object], header: Sequence[str]) -> _Row:
    lists = {key: value for key, value in record.items() if isinstance(value, list)}
    cells = {key: "" if record.get(key) is None or key in lists else str(record[key]).strip() for key in header}
    return _Row(number, cells, lists)


def _row(path: Path, header: list[str], line: int, cells: list[str]) -> _Row:
    if len(cells) != len(header):
        raise ConfigError(f"{path}:{line}: {len(cells)} cells, but the header names {len(header)} columns")
    return _Row(line, dict(zip(header, (cell.strip() for cell in cells), strict=True)))


def _columns(path: Path, header: list[str], required: Sequence[str], where: Mapping[str, str]) -> dict[str, str]:
    """Map each role present to the file's column name."""
    found = {role: [name for name in header if name in names] for role, names in COLUMNS.items()}
    published = _published(header)
    if published is not None:
        times = [published.arrival] if published.arrival in header and published.arrival else []
        found |= {"arrival": times, "prompt": [published.prompt], "output": [published.output]}
    problems = [f"{role}: given twice, as {' and '.join(names)}" for role, names in found.items() if len(names) > 1]
    problems += [_no_column(role, published) for role in required if not found[role]]
    if published is None:
        problems += [
            f"column '{name}': looks misspelt; {suggest(name, _known())}" for name in header if _misspelt(name)
        ]
    problems += [f"filter '{name}': no such column; {suggest(name, header)}" for name in where if name not in header]
    repeated = sorted({name for name in header if header.count(name) > 1 and name not in _known()})
    problems += [f"column '{name}': given twice" for name in repeated]
    if problems:
        raise config_error(str(path), problems)
    return {role: names[0] for role, names in found.items() if names}


def _no_column(role: str, published: Format | None) -> str:
    if published is None:
        return f"{role}: no such column; allowed names: {', '.join(COLUMNS[role])}"
    return f"{role}: a {published.name} without times; say when requests arrive, for instance with --poisson"


def _known() -> list[str]:
    return [name for names in COLUMNS.values() for name in names]


def _misspelt(name: str) -> bool:
    known = _known()
    return name not in known and bool(difflib.get_close_matches(name, known, n=1, cutoff=MISSPELLING_SIMILARITY))


def _request(row: _Row, columns: Mapping[str, str], position: int, published: Format | None = None) -> Request:
    prompt_tokens = _whole(row, columns["prompt"])
    if prompt_tokens < 1:
        raise _BadRowError(f"column '{columns['prompt']}': must be 1 or greater, got {prompt_tokens}")
    prefix_tokens = _whole(row, columns["prefix"]) if "prefix" in columns else 0
    if prefix_tokens > prompt_tokens:
        raise _BadRowError(
            f"column '{columns['prefix']}': the prefix ({prefix_tokens}) is longer than the prompt ({prompt_tokens})"
        )
    return Request(
        id=_name(row, columns, position),
        arrival_us=_arrival_us(row, columns.get("arrival"), published),
        prompt_tokens=prompt_tokens,
        output_tokens=_whole(row, columns["output"]),
        prefix_group=_group(row, columns, prefix_tokens),
        prefix_tokens=prefix_tokens,
        priority=_number(row, columns["priority"], _SIGNED, "a whole number", int) if "priority" in columns else 0,
        queueing_delay_us=_whole(row, columns["queueing delay"]) if "queueing delay" in columns else 0,
    )


def _name(row: _Row, columns: Mapping[str, str], position: int) -> str:
    name = row.cells[columns["id"]] if "id" in columns else f"request_{position}"
    if not name:
        raise _BadRowError(f"column '{columns['id']}': must not be empty")
    return name


def _arrival_us(row: _Row, column: str | None, published: Format | None) -> int:
    if column is None:
        return 0
    if published is not None:
        try:
            return arrival_us(row.cells[column], published.unit)
        except ValueError as error:
            raise _BadRowError(f"column '{column}': {error}") from None
    if column not in SECONDS_COLUMNS:
        return _whole(row, column)
    return _number(row, column, _SECONDS, "seconds, 0 or greater, such as 12.345678", _us)


def _us(seconds: str) -> int:
    """Cut decimal seconds to whole microseconds without passing through binary fractions."""
    return int(Decimal(seconds) * US_PER_S)


def _group(row: _Row, columns: Mapping[str, str], prefix_tokens: int) -> str | None:
    """Without a group column, every request that has a prefix has the same one."""
    if prefix_tokens == 0:
        return None
    if "prefix group" not in columns:
        return SHARED_GROUP
    return row.cells[columns["prefix group"]] or None


def _whole(row: _Row, column: str) -> int:
    return _number(row, column, _WHOLE, "a whole number, 0 or greater", lambda text: int(text.partition(".")[0]))


def _number(row: _Row, column: str, form: re.Pattern[str], wanted: str, convert: Callable[[str], int]) -> int:
    text = row.cells[column]
    if not form.fullmatch(text):
        raise _BadRowError(f"column '{column}': must be {wanted}, got '{text[:40]}'")
    return convert(text)


def _shortened(problems: list[str]) -> Iterator[str]:
    yield from problems[:MAX_LISTED_PROBLEMS]
    if len(problems) > MAX_LISTED_PROBLEMS:
        yield f"... and {len(problems) - MAX_LISTED_PROBLEMS} more"
