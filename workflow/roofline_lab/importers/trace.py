"""Request traces: what was sent when, and how long it took, one row per request.

Contract: `read_trace` accepts CSV or a JSON object with a list `requests`, plain or compressed by
gzip, and returns the requests in file order, or raises one `ConfigError` with file, line and column
of every problem. `with_trace` puts them into an import whose load points they belong to, so that
these are replayed request by request. A column's meaning and unit come from its name; see `COLUMNS`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import BadCellError, MeasuredRequest, listed
from roofline_lab.ground_truth.trace_rows import NAMES, Rows, fewest_output_tokens
from roofline_lab.importers.imported import LARGEST, SHARED_GROUP, Imported, checked_requests, refuse_too_many
from roofline_lab.importers.json_stream import READ_ERRORS, open_text, stream_values
from simulator.errors import ConfigError
from simulator.validation import config_error, suggest
from simulator.workload.prefixes import recognise_pool

# Role of a column -> names it may have, the best one first.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "request_id", "index"),
    "stage": ("stage",),
    "arrival": ("arrival_us", "arrival_time_us"),
    "prompt": ("prompt_tokens", "input_tokens"),
    "output": ("output_tokens_true", "output_tokens"),
    "client": ("output_tokens_client_retokenized",),
    "failed": ("has_error",),
    "ttft": ("ttft_ms",),
    "e2e": ("e2e_ms",),
}
# What messages call the columns that are compared with each other.
ROW_NAMES = {role: " or ".join(COLUMNS[role]) for role in NAMES}
REQUIRED = ("arrival", "prompt", "output")
TRUTH = {"0": False, "1": True, "false": False, "true": True, "": False}

REQUESTS_KEY = "requests"


@dataclass(frozen=True, slots=True)
class Traced:
    """One request of a trace.

    Attributes
    ----------
    stage
        Which load point it belongs to, counted from 0.
    arrival_us
        Since the first request of the run.
    client_tokens
        Output length as the client counted the text; None if it did not.
    """

    id: str
    stage: int
    arrival_us: int
    prompt_tokens: int
    output_tokens: int
    client_tokens: int | None
    completed: bool
    ttft_ms: float | None
    e2e_ms: float | None


def read_trace(path: Path, *, replayable: bool = True) -> tuple[Traced, ...]:
    """Read one trace.

    Parameters
    ----------
    path
        The file.
    replayable
        Whether it must be possible to send the requests again: an answer then has at least one token. To look at a
        trace that is no matter, as some clients count the tokens of the text.

    Raises
    ------
    ConfigError
        If the file cannot be read, a column is missing, a cell is not what its column promises, an id
        is given twice in a stage, or arrivals go backwards.
    """
    found: list[Traced] = []
    problems: list[str] = []
    checked = Rows(ROW_NAMES)
    for line, cells in _rows(path):
        refuse_too_many(str(path), len(found) + 1)
        try:
            one = _traced(cells, len(found), replayable=replayable)
            _check(checked, line, one)
            found.append(one)
        except BadCellError as error:
            problems.append(f"{line}: {error}")
    if problems or not found:
        raise config_error(str(path), listed(problems) or ["no requests; is this a trace?"])
    return tuple(found)


def _check(rows: Rows, place: str, request: Traced) -> None:
    rows.check(
        place,
        stage=request.stage,
        name=request.id,
        arrival_us=request.arrival_us,
        completed=request.completed,
        ttft_ms=request.ttft_ms,
        e2e_ms=request.e2e_ms,
    )


def traced(imported: Imported, paths: Iterable[Path]) -> Imported:
    """Return the import with the requests of every trace; see `with_trace`."""
    for path in paths:
        imported = with_trace(imported, path, read_trace(path))
    return imported


def with_trace(imported: Imported, path: Path, sent: Sequence[Traced]) -> Imported:
    """Return the import with the requests of a trace at the load points they belong to.

    Raises
    ------
    ConfigError
        If a stage has no load point, or another number of answered requests.
    """
    source = str(path)
    by_stage: dict[int, list[tuple[int, Traced]]] = {}
    for position, request in enumerate(sent):
        by_stage.setdefault(request.stage, []).append((position, request))
    prefix = imported.workload["prefix"]
    pool = (
        recognise_pool(prefix["prompts"], [request.prompt_tokens for request in sent]) if "prompts" in prefix else None
    )
    shared = prefix["tokens"] if prefix["kind"] == "shared" else 0
    there = {request.load_point for request in imported.requests}
    points = {stage: _load_point(imported, source, stage) for stage in sorted(by_stage)}
    if all(point["id"] in there for point in points.values()):
        raise ConfigError(f"{source}: its requests are recorded already; leave one of the sources out")
    requests: list[MeasuredRequest] = []
    for stage, entries in sorted(by_stage.items()):
        point = points[stage]
        answered = sum(entry.completed for _, entry in entries)
        if answered != point["requests"]["completed"]:
            raise ConfigError(
                f"{source}: {answered} answered requests of stage {stage}, but load point '{point['id']}' has "
                f"{point['requests']['completed']}; are the files of one run?"
            )
        begin_us = entries[0][1].arrival_us
        for position, entry in entries:
            prompt = pool[position] if pool else None
            group, tokens = (prompt.prefix_group, prompt.prefix_tokens) if prompt else (None, 0)
            if shared:
                group, tokens = SHARED_GROUP, min(shared, entry.prompt_tokens)
            requests.append(_measured(point["id"], entry, begin_us, group, tokens))
    traced_points = {point["id"] for point in points.values()}
    kept = tuple(request for request in imported.requests if request.load_point not in traced_points)
    known = tuple(flag for flag in imported.quality if flag.flag is not Flag.LENGTHS_UNKNOWN)
    sentence = f"Requests of {path.name} are replayed one by one."
    return replace(
        imported,
        requests=(*kept, *checked_requests(source, requests)),
        quality=known,
        conversions=(*imported.conversions, sentence),
        document=f"{imported.document}; trace {path.name}",
        source=f"{imported.source} and {source}" if imported.source else source,
    )


def _load_point(imported: Imported, source: str, stage: int) -> Mapping[str, Any]:
    points = {point.get("benchmark_index", index): point for index, point in enumerate(imported.load_points)}
    if stage not in points:
        raise ConfigError(f"{source}: stage {stage} has no load point; there are stages {', '.join(map(str, points))}")
    return points[stage]


def _measured(load_point: str, request: Traced, begin_us: int, group: str | None, tokens: int) -> MeasuredRequest:
    return MeasuredRequest(
        load_point=load_point,
        id=request.id,
        arrival_us=request.arrival_us - begin_us,
        prompt_tokens=request.prompt_tokens,
        output_tokens=request.output_tokens,
        prefix_group=group,
        prefix_tokens=tokens,
        completed=request.completed,
        ttft_ms=request.ttft_ms if request.completed else None,
        e2e_ms=request.e2e_ms if request.completed else None,
    )


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield place and cells by role of every request."""
    if path.name.endswith((".json", ".json.gz")):
        yield from _json_rows(path)
        return
    try:
        with open_text(path) as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = _columns(path, [name.strip() for name in reader.fieldnames or []])
            for cells in reader:
                if None in cells or None in cells.values():
                    raise ConfigError(f"{path}:{reader.line_num}: another number of cells than the header has")
                yield f"line {reader.line_num}", {role: cells[name].strip() for role, name in columns.items()}
    except (*READ_ERRORS, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def _json_rows(path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    for place, value in stream_values(path, frozenset({(), (REQUESTS_KEY,)})):
        if len(place) != 2 or place[0] != REQUESTS_KEY:
            continue
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: {REQUESTS_KEY}.{place[1]}: must be a record of one request")
        columns = _columns(path, list(value))
        cells = {role: _text(value[name]) for role, name in columns.items()}
        yield f"{REQUESTS_KEY}.{place[1]}", cells


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _columns(path: Path, header: Sequence[str]) -> dict[str, str]:
    found = {role: next((name for name in names if name in header), None) for role, names in COLUMNS.items()}
    missing = [role for role in REQUIRED if found[role] is None]
    if missing:
        names = COLUMNS[missing[0]]
        raise ConfigError(
            f"{path}: column '{names[0]}' (or {' or '.join(names[1:])}): missing; is this a request trace? "
            f"{suggest(names[0], header)}"
        )
    return {role: name for role, name in found.items() if name is not None}


def _traced(cells: Mapping[str, str], position: int, *, replayable: bool) -> Traced:
    failed = cells.get("failed", "").lower()
    if failed not in TRUTH:
        raise BadCellError(f"column 'has_error': must be 0, 1, true or false, got '{failed[:40]}'")
    completed = not TRUTH[failed]
    return Traced(
        id=cells.get("id") or str(position),
        stage=_whole(cells, "stage", 0) if cells.get("stage") else 0,
        arrival_us=_whole(cells, "arrival", 0),
        prompt_tokens=_whole(cells, "prompt", 1),
        output_tokens=_whole(cells, "output", fewest_output_tokens(completed=completed and replayable)),
        client_tokens=_whole(cells, "client", 0) if cells.get("client") else None,
        completed=completed,
        ttft_ms=_milliseconds(cells, "ttft"),
        e2e_ms=_milliseconds(cells, "e2e"),
    )


def _whole(cells: Mapping[str, str], role: str, smallest: int) -> int:
    text = cells[role]
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST))) or int(text) < smallest:
        name = " or ".join(COLUMNS[role])
        raise BadCellError(f"column '{name}': must be a whole number, {smallest} or greater, got '{text[:40]}'")
    return int(text)


def _milliseconds(cells: Mapping[str, str], role: str) -> float | None:
    text = cells.get(role, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= LARGEST:
        raise BadCellError(f"column '{COLUMNS[role][0]}': must be milliseconds, 0 or greater, got '{text[:40]}'")
    return value
