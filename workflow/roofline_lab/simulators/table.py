"""Tables of predictions that somebody made elsewhere, as the answers a program would have given.

Contract: `read_table` refuses a file that is no such table (columns, unknown metrics, experiments and load points),
with all problems at once; a cell that is no number, and a number that is given twice, become parts of answers that
`answers` turns into a status and a reason.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from roofline_lab.files import csv_text
from simulator.input_files import csv_records, read_text
from simulator.metrics import DEFINITIONS
from simulator.validation import config_error, suggest

PLACE = ("experiment", "load_point")
LONG = (*PLACE, "metric", "value")
TIMES = ("sent_ms", "first_token_ms", "last_token_ms")
PER_REQUEST = (*PLACE, "request", *TIMES)
OPTIONAL = ("unit", "reason")
# Names that are no definition because tools mean different things by them.
AMBIGUOUS = {
    "tpot_mean": ("itl_ratio_of_means", "tpot_request", "tpot_guidellm"),
    "itl_mean": ("itl_ratio_of_means", "itl_token_weighted", "tpot_request"),
}
PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a table: its number, and its cells by column."""

    line: int
    cells: Mapping[str, str]

    @property
    def place(self) -> str:
        """Experiment and load point, as questions are called."""
        return f"{self.cells['experiment']}/{self.cells['load_point']}"


@dataclass(slots=True)
class _Gathered:
    """What the lines of one load point say."""

    metrics: list[_Row] = field(default_factory=list)
    requests: list[_Row] = field(default_factory=list)
    reasons: list[_Row] = field(default_factory=list)


def read_table(path: Path, source: str, known: Mapping[str, Sequence[str]]) -> dict[str, list[object]]:
    """Return the answers of a table by `experiment/load_point`, each as a program would have given it.

    Parameters
    ----------
    source
        What messages call the file.
    known
        Load points by experiment, of every experiment whose predictions are looked for.

    Raises
    ------
    ConfigError
        Naming file, line and column of everything that cannot be read.
    """
    rows = list(_rows(path, source))
    problems = [f"line {row.line}: {problem}" for row in rows for problem in _problems(row, known)]
    if problems:
        more = [f"{len(problems) - PROBLEMS_SHOWN} more"] if len(problems) > PROBLEMS_SHOWN else []
        raise config_error(source, [*problems[:PROBLEMS_SHOWN], *more])
    places: dict[str, _Gathered] = {}
    for row in rows:
        gathered = places.setdefault(row.place, _Gathered())
        kinds = (gathered.reasons, gathered.requests, gathered.metrics)
        kinds[0 if _is_reason(row) else 1 if "request" in row.cells else 2].append(row)
    return {place: list(_answers(place, gathered)) for place, gathered in places.items()}


def _is_reason(row: _Row) -> bool:
    return bool(row.cells.get("reason")) and not row.cells.get("value") and not row.cells.get("sent_ms")


def _rows(path: Path, source: str) -> Iterator[_Row]:
    """Yield the lines of a table whose header is one of the two that are known."""
    records = csv_records(io.StringIO(read_text(path), newline=""), source)
    _, header = next(records, (1, []))
    wanted = PER_REQUEST if "request" in header else LONG
    missing = [name for name in wanted if name not in header]
    unknown = [name for name in header if name not in (*wanted, *OPTIONAL)]
    if missing or unknown or len(set(header)) != len(header):
        told = [f"line 1: column '{name}' is missing" for name in missing]
        told += [f"line 1: unknown column '{name}'; {suggest(name, (*wanted, *OPTIONAL))}" for name in unknown]
        told += ["line 1: a column is given twice"] if len(set(header)) != len(header) else []
        raise config_error(source, [*told, f"expected is for instance\n{_example(wanted)}"])
    for line, cells in records:
        if len(cells) != len(header):
            raise config_error(source, [f"line {line}: has {len(cells)} cells, the header {len(header)}"])
        yield _Row(line, dict(zip(header, cells, strict=True)))


def _example(columns: Sequence[str]) -> str:
    place = ("my-run", "c8")
    rest = ("request_0", 0.0, 74.1, 3124.0) if "request" in columns else ("ttft_mean", 74.1)
    return csv_text(columns, [(*place, *rest)]).rstrip()


def _problems(row: _Row, known: Mapping[str, Sequence[str]]) -> Iterator[str]:
    experiment, load_point, name = (row.cells.get(key, "") for key in (*PLACE, "metric"))
    if experiment not in known:
        yield f"experiment: unknown experiment '{experiment}'; {suggest(experiment, known)}"
    elif known[experiment] and load_point not in known[experiment]:
        nearest = suggest(load_point, known[experiment])
        yield f"load_point: '{experiment}' has no load point '{load_point}'; {nearest}"
    if name in AMBIGUOUS:
        yield f"metric: '{name}' has several definitions; name one of {', '.join(AMBIGUOUS[name])} (docs/metrics.md)"
    elif "metric" in row.cells and name not in DEFINITIONS and not _is_reason(row):
        yield f"metric: unknown metric '{name}'; {suggest(name, DEFINITIONS)}"


def _answers(place: str, gathered: _Gathered) -> Iterator[object]:
    """Yield what the lines of one load point amount to: more than one answer where they contradict each other."""
    for row in gathered.reasons:
        yield {"id": place, "status": "unsupported", "reason": row.cells["reason"]}
    copies: dict[str, list[_Row]] = {}
    for row in gathered.metrics:
        copies.setdefault(row.cells["metric"], []).append(row)
    if copies:
        yield {"id": place, "metrics": {name: _metric(name, rows) for name, rows in copies.items()}}
    if gathered.requests:
        yield {"id": place, "requests": [_request(row) for row in gathered.requests]}


def _metric(name: str, rows: Sequence[_Row]) -> dict[str, object]:
    if len(rows) > 1:
        lines = " and ".join(str(row.line) for row in rows)
        return {"value": f"given {len(rows)} times, on lines {lines}", "unit": DEFINITIONS[name].unit}
    row = rows[0]
    return {"value": _number(row, "value"), "unit": row.cells.get("unit") or DEFINITIONS[name].unit}


def _request(row: _Row) -> dict[str, object]:
    return {"id": row.cells["request"], **{name: _number(row, name) for name in TIMES}}


def _number(row: _Row, column: str) -> float | str:
    """Return the number a cell holds, else what it holds and where."""
    text = row.cells[column]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    return value if math.isfinite(value) else f"{text or 'nothing'} (line {row.line})"
