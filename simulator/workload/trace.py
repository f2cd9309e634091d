"""Recorded requests, read from CSV as strictly as they deserve.

Contract: `load_trace` returns the rows as `Request`s sorted by arrival (rows of equal arrival stay
in file order), or raises one `ConfigError` that names file and line of every problem. A column's
meaning and unit come from its name; see `COLUMNS`. Columns with other names are left alone, but a
name that looks like a misspelt one is refused. A file may be plain or gzip-compressed (`.gz`).
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from simulator.engine.records import Request
from simulator.errors import ConfigError
from simulator.input_files import csv_records, read_text
from simulator.validation import config_error, suggest
from simulator.workload.arrivals import US_PER_S
from simulator.workload.prefixes import SHARED_GROUP

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
SECONDS_COLUMNS = ("arrival_s", "arrival_seconds")

MAX_LISTED_PROBLEMS = 20
# A million requests of a public trace take a tenth of it.
MOST_TRACE_BYTES = 2**30
MISSPELLING_SIMILARITY = 0.85

_WHOLE = re.compile(r"\d{1,15}", re.ASCII)
_SIGNED = re.compile(r"-?\d{1,15}", re.ASCII)
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,18})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    cells: Mapping[str, str]


class _BadRowError(Exception):
    """What is wrong with one row; collected, never shown alone."""


def load_trace(
    path: Path, *, where: Mapping[str, str] | None = None, times_required: bool = True
) -> tuple[Request, ...]:
    """Read the requests of one CSV file.

    Parameters
    ----------
    path
        The file; a header line is required.
    where
        Keep only rows whose cells equal these (column -> text).
    times_required
        Whether an arrival column must be there; without one every arrival is 0.

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
    requests: list[Request] = []
    problems: list[str] = []
    first_line: dict[str, int] = {}
    for position, row in enumerate(kept):
        try:
            request = _request(row, columns, position)
            if first_line.setdefault(request.id, row.line) != row.line:
                raise _BadRowError(
                    f"id '{request.id}' is already used on line {first_line[request.id]}; ids are unique"
                )
            requests.append(request)
        except _BadRowError as error:
            problems.append(f"line {row.line}: {error}")
    if problems:
        raise config_error(str(path), _shortened(problems))
    return tuple(sorted(requests, key=lambda request: request.arrival_us))


def _rows(path: Path) -> tuple[list[str], list[_Row]]:
    records = csv_records(io.StringIO(read_text(path, MOST_TRACE_BYTES), newline=""), str(path))
    header = [name.strip() for name in next(records, (0, []))[1]]
    if not header:
        raise ConfigError(f"{path}: empty; the first line must name the columns")
    return header, [_row(path, header, line, cells) for line, cells in records if cells]


def _row(path: Path, header: list[str], line: int, cells: list[str]) -> _Row:
    if len(cells) != len(header):
        raise ConfigError(f"{path}:{line}: {len(cells)} cells, but the header names {len(header)} columns")
    return _Row(line, dict(zip(header, (cell.strip() for cell in cells), strict=True)))


def _columns(path: Path, header: list[str], required: Sequence[str], where: Mapping[str, str]) -> dict[str, str]:
    """Map each role present to the file's column name."""
    found = {role: [name for name in header if name in names] for role, names in COLUMNS.items()}
    problems = [f"{role}: given twice, as {' and '.join(names)}" for role, names in found.items() if len(names) > 1]
    problems += [
        f"{role}: no such column; allowed names: {', '.join(COLUMNS[role])}" for role in required if not found[role]
    ]
    problems += [f"column '{name}': looks misspelt; {suggest(name, _known())}" for name in header if _misspelt(name)]
    problems += [f"filter '{name}': no such column; {suggest(name, header)}" for name in where if name not in header]
    repeated = sorted({name for name in header if header.count(name) > 1 and name not in _known()})
    problems += [f"column '{name}': given twice" for name in repeated]
    if problems:
        raise config_error(str(path), problems)
    return {role: names[0] for role, names in found.items() if names}


def _known() -> list[str]:
    return [name for names in COLUMNS.values() for name in names]


def _misspelt(name: str) -> bool:
    known = _known()
    return name not in known and bool(difflib.get_close_matches(name, known, n=1, cutoff=MISSPELLING_SIMILARITY))


def _request(row: _Row, columns: Mapping[str, str], position: int) -> Request:
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
        arrival_us=_arrival_us(row, columns.get("arrival")),
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


def _arrival_us(row: _Row, column: str | None) -> int:
    if column is None:
        return 0
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
    return _number(row, column, _WHOLE, "a whole number, 0 or greater", int)


def _number(row: _Row, column: str, form: re.Pattern[str], wanted: str, convert: Callable[[str], int]) -> int:
    text = row.cells[column]
    if not form.fullmatch(text):
        raise _BadRowError(f"column '{column}': must be {wanted}, got '{text[:40]}'")
    return convert(text)


def _shortened(problems: list[str]) -> Iterator[str]:
    yield from problems[:MAX_LISTED_PROBLEMS]
    if len(problems) > MAX_LISTED_PROBLEMS:
        yield f"... and {len(problems) - MAX_LISTED_PROBLEMS} more"
