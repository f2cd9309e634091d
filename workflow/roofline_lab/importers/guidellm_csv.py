"""GuideLLM results as CSV: what GuideLLM 0.2 and 0.3 write, and tables of reports with one row per benchmark.

Contract: `is_csv` recognises both by their columns, `read_csv` makes a load point of every row. Single requests are
not in such files, so that every request has the mean lengths of its row.
Columns of GuideLLM's own file as remembered from its public source: `Successful <metric> mean`, `median` and
`[min, 0.1, 1, 5, 10, 25, 75, 90, 95, 99, max]`, a list. Later releases write a header of three rows, which is refused.
A table has `ttft_mean_ms`, `req_latency_mean_s` and the like, with the unit in the name; `-` is no figure.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth.json_stream import READ_ERRORS, open_text
from roofline_lab.ground_truth.kept_up import Judgement, Load
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.common import (
    LARGEST,
    MS_PER_S,
    Mean,
    Measurement,
    Notes,
    arrivals_as_sent,
    constant_workload,
    judged,
    measured_metrics,
    measurement,
    rates,
    refuse_impossible,
    refuse_longer_than_run,
    request_counts,
    unrecorded_day,
)
from simulator.errors import ConfigError
from simulator.input_files import csv_records, unreadable

OWN_MARK = "Successful Time to first token ms mean"
TABLE_MARK = "req_latency_mean_s"
# Groups of columns in the first row of later releases.
GROUPED = frozenset({"Run Info", "Request Counts"})
CSV_MARKS = frozenset({OWN_MARK, TABLE_MARK, *GROUPED})

MAX_ROWS = 1000
LONGEST_LIST = 2000

# Positions of the 90th and 99th percentile in the lists of GuideLLM's own file.
_LISTED = {"p90": 7, "p99": 9, "max": 10}
_STRATEGY = re.compile(r"(?P<kind>synchronous|throughput|concurrent|constant|poisson)(?:@(?P<amount>[\d.]+))?")
_LATENCIES = {"ttft": "Time to first token ms", "itl": "Inter token latency ms", "e2e": "Request latency"}


@dataclass(frozen=True, slots=True)
class _Row:
    """One benchmark; latencies in ms by metric name, such as `ttft_p99`."""

    source: str
    kind: str
    amount: float | None
    run_s: float
    completed: int
    failed: int
    cancelled: int | None
    prompt_tokens: float
    output_tokens: float
    latencies: Mapping[str, float]
    concurrency: float | None = None
    day: date | None = None
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Strategy with its rate or width."""
        return self.kind + (f"-{self.amount:g}" if self.amount is not None else "")

    @property
    def sent(self) -> int:
        return self.completed + self.failed + (self.cancelled or 0)


def is_csv(path: Path) -> bool:
    """Whether the first line of a file is the header of such a CSV."""
    if path.name.removesuffix(".gz").endswith((".json", ".yaml", ".yml")):
        return False
    try:
        with open_text(path) as stream:
            header = next(csv_records([stream.readline(1 << 18)], str(path)), (0, []))[1]
    except (*READ_ERRORS, ConfigError):
        return False
    return bool(CSV_MARKS & set(header))


def read_csv(file: Path) -> Measurement:
    """Read the rows of a file as load points of one run.

    Raises
    ------
    ConfigError
        Naming row, column, what is wrong and what is allowed.
    """
    header, cells = _cells(file)
    if OWN_MARK in header:
        rows = [_own_row(f"{file}: row {number}", row) for number, row in cells]
    elif TABLE_MARK in header:
        rows = [_table_row(f"{file}: row {number}", row) for number, row in cells]
    else:
        raise ConfigError(
            f"{file}: the CSV of GuideLLM 0.4 or later, whose header has several rows, is not read; GuideLLM writes "
            "the same report as JSON (benchmarks.json): give that"
        )
    if not rows:
        raise ConfigError(f"{file}: no row below the header; the run measured nothing")
    notes = Notes()
    points = [{**_load_point(row, position, notes), **_own_lengths(row, rows[0])} for position, row in enumerate(rows)]
    layout = "0.2 or 0.3 (by its layout)" if OWN_MARK in header else None
    measured_on = (rows[0].day, "Start of the first benchmark, as the file has it.") if rows[0].day else None
    return measurement(
        tool="guidellm",
        tool_version=layout,
        source=str(file),
        document=f"GuideLLM {layout} CSV {file.name}" if layout else f"table of GuideLLM reports {file.name}",
        measured_on=measured_on or unrecorded_day(file.absolute().parent),
        workload=_workload(rows, notes),
        load_points=points,
        notes=notes,
    )


def _cells(file: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    try:
        with open_text(file) as stream:
            records = csv_records(stream, str(file))
            header = [name.strip() for name in next(records, (0, []))[1]]
            rows = []
            for number, row in records:
                if len(rows) > MAX_ROWS:
                    raise ConfigError(f"{file}: more than {MAX_ROWS} rows; is this a table of benchmarks?")
                if any(cell.strip() for cell in row):
                    if len(row) != len(header):
                        raise ConfigError(
                            f"{file}: row {number}: {len(row)} cells, but the header names {len(header)} columns"
                        )
                    rows.append((number, dict(zip(header, (cell.strip() for cell in row), strict=True))))
    except READ_ERRORS as error:
        raise unreadable(file, error) from None
    if len(set(header)) != len(header) and not GROUPED & set(header):
        raise ConfigError(f"{file}: a column is given twice in the header; each must be there once")
    return header, rows


# --- both kinds of rows ---------------------------------------------------------------------------


def _own_row(source: str, row: Mapping[str, str]) -> _Row:
    name = row.get("Name", "")
    strategy = _STRATEGY.fullmatch(name.lower().replace(" ", ""))
    if strategy is None:
        raise ConfigError(
            f"{source}: Name: '{name[:40]}' cannot be repeated; allowed: synchronous, throughput, concurrent@N, "
            "constant@RATE, poisson@RATE"
        )
    latencies: dict[str, float] = {}
    for metric, words in _LATENCIES.items():
        factor = MS_PER_S if metric == "e2e" else 1.0
        listed = _list(source, row, f"Successful {words} [min, 0.1, 1, 5, 10, 25, 75, 90, 95, 99, max]")
        values = {"mean": _number(source, row, f"Successful {words} mean")}
        values |= {"p50": _optional(source, row, f"Successful {words} median")}
        values |= {rank: listed[place] for rank, place in _LISTED.items()} if listed else {}
        latencies |= {f"{metric}_{rank}": value * factor for rank, value in values.items() if value is not None}
    counts = {status: _optional(source, row, f"{status} Requests") for status in ("Errored", "Incomplete")}
    return _Row(
        source=source,
        kind=strategy["kind"],
        amount=float(strategy["amount"]) if strategy["amount"] else None,
        run_s=_number(source, row, "Duration"),
        completed=round(_number(source, row, "Successful Requests")),
        failed=round(counts["Errored"] or 0),
        cancelled=round(counts["Incomplete"] or 0),
        prompt_tokens=_number(source, row, "Successful Prompt token count mean"),
        output_tokens=_number(source, row, "Successful Output token count mean"),
        latencies=latencies,
        day=_day(row.get("Start Time", "")),
        keys={metric: f"Successful {words} mean" for metric, words in _LATENCIES.items()},
    )


def _table_row(source: str, row: Mapping[str, str]) -> _Row:
    latencies: dict[str, float] = {}
    for metric, stem, unit, factor in (
        ("ttft", "ttft", "ms", 1.0),
        ("itl", "itl", "ms", 1.0),
        ("e2e", "req_latency", "s", MS_PER_S),
    ):
        for rank, word in (("mean", "mean"), ("p50", "median"), ("p99", "p99")):
            value = _optional(source, row, f"{stem}_{word}_{unit}")
            if value is not None:
                latencies[f"{metric}_{rank}"] = value * factor
    kind, rate = row.get("profile", "").lower(), _optional(source, row, "rate")
    concurrency = _optional(source, row, "concurrency_mean")
    total, failed = _number(source, row, "total_requests"), _number(source, row, "error_requests")
    if failed > total:
        raise ConfigError(f"{source}: error_requests: {failed:g} exceeds total_requests {total:g}")
    return _Row(
        source=source,
        kind=kind,
        amount=rate if kind != "concurrent" else rate or _width(row.get("source_file", ""), concurrency),
        run_s=_number(source, row, "duration_s"),
        completed=round(total - failed),
        failed=round(failed),
        cancelled=None,
        prompt_tokens=_number(source, row, "prompt_tokens_mean"),
        output_tokens=_number(source, row, "output_tokens_mean"),
        latencies=latencies,
        concurrency=concurrency,
        keys={"ttft": "ttft_mean_ms", "itl": "itl_mean_ms", "e2e": "req_latency_mean_s"},
    )


def _width(name: str, concurrency: float | None) -> float | None:
    """Return the width of a closed loop: as its report is called, else as many as were in flight."""
    found = re.search(r"concurren\w*?[-_@]?(\d+)", name)
    return float(found[1]) if found else concurrency


def _number(source: str, row: Mapping[str, str], column: str) -> float:
    value = _optional(source, row, column)
    if value is None:
        raise ConfigError(f"{source}: {column}: missing; a number is required")
    return value


def _optional(source: str, row: Mapping[str, str], column: str) -> float | None:
    text = row.get(column, "")
    if text in ("", "-", "None", "null"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= LARGEST:
        raise ConfigError(f"{source}: {column}: must be a number, 0 or greater, or '-', got '{text[:40]}'")
    return value


def _list(source: str, row: Mapping[str, str], column: str) -> list[float]:
    text = row.get(column, "")
    if not text:
        return []
    try:
        found = ast.literal_eval(text) if len(text) < LONGEST_LIST else None
        values = [float(value) for value in found]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, OverflowError):
        values = []
    if len(values) != _LISTED["max"] + 1 or not all(0 <= value <= LARGEST for value in values):
        raise ConfigError(f"{source}: {column}: must be a list of 11 numbers, 0 or greater, got '{text[:40]}'")
    return values


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text[:10], "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


# --- load points ----------------------------------------------------------------------------------


def _load_point(row: _Row, position: int, notes: Notes) -> dict[str, Any]:
    _check(row)
    name = f"{position:02d}-{row.id}"
    arrivals = _arrivals(row)
    requested = arrivals.get("rate_per_s")
    found = _judged(row, arrivals, name, notes)
    notes.converted("Latencies in seconds are written in ms.")
    return {
        "id": name,
        "arrivals": arrivals_as_sent(arrivals, found, row.sent),
        "benchmark_index": position,
        "rate": rates(requested, found),
        "duration_s": row.run_s,
        "requests": request_counts(
            sent=row.sent,
            completed=row.completed,
            failed=row.failed,
            cancelled=row.cancelled,
            basis=f"The counts of the row: {row.completed} answered, {row.failed} errors.",
        ),
        "saturation": found.saturation,
        "measured": measured_metrics(row.source, _values(row), {"tpot": "inter_token_weighted", "itl": "inter_token"}),
    }


def _check(row: _Row) -> None:
    if not row.completed:
        raise ConfigError(f"{row.source}: no successful request; without an answer nothing is measured")
    if not row.run_s or row.prompt_tokens < 1 or row.output_tokens < 1:
        raise ConfigError(f"{row.source}: duration and mean token counts must be above 0; the server must count tokens")
    means = {
        metric: Mean(key, row.latencies[f"{metric}_mean"])
        for metric, key in row.keys.items()
        if f"{metric}_mean" in row.latencies
    }
    for mean in means.values():
        refuse_longer_than_run(row.source, mean.key, mean.value_ms / MS_PER_S, row.run_s)
    refuse_impossible(
        row.source,
        ttft=means.get("ttft"),
        e2e=means.get("e2e"),
        itl=means.get("itl"),
        tokens=row.output_tokens,
    )


def _arrivals(row: _Row) -> dict[str, Any]:
    match row.kind:
        case "synchronous":
            return {"kind": "closed_loop", "concurrency": 1}
        case "concurrent" if row.amount and row.amount >= 1:
            return {"kind": "closed_loop", "concurrency": round(row.amount)}
        case "throughput":
            return {"kind": "burst"}
        case "constant" if row.amount:
            return {"kind": "constant_rate", "rate_per_s": row.amount, "first": "zero"}
        case "poisson" if row.amount:
            return {"kind": "poisson", "rate_per_s": row.amount}
    raise ConfigError(
        f"{row.source}: '{row.kind[:40]}' with rate {row.amount} cannot be repeated; allowed: synchronous, concurrent "
        "with its width, throughput, constant or poisson with a positive rate"
    )


def _judged(row: _Row, arrivals: Mapping[str, Any], name: str, notes: Notes) -> Judgement:
    if row.kind == "throughput":
        return Judgement("saturated", "The throughput strategy sends everything as fast as it can.")
    seconds = {key: value / MS_PER_S for key, value in row.latencies.items()}
    load = Load(
        sent=row.sent,
        completed=row.completed,
        failed=row.failed,
        requested_per_s=arrivals.get("rate_per_s"),
        random_gaps=arrivals["kind"] == "poisson",
        in_flight=arrivals.get("concurrency"),
        run_s=row.run_s,
        ttft_s=seconds.get("ttft_mean"),
        e2e_s=seconds.get("e2e_mean"),
        longest_s=seconds.get("e2e_max"),
    )
    return judged(load, notes, name)


def _values(row: _Row) -> dict[str, float | None]:
    found: dict[str, float | None] = {name: value for name, value in row.latencies.items() if not name.endswith("_max")}
    found["tpot_mean"] = row.latencies.get("itl_mean")
    found["request_throughput"] = row.completed / row.run_s
    found["output_token_throughput"] = row.completed * row.output_tokens / row.run_s
    return found


# --- lengths --------------------------------------------------------------------------------------


def _workload(rows: Sequence[_Row], notes: Notes) -> dict[str, Any]:
    """Return the lengths of the first row; rows that differ have their own."""
    notes.say(Flag.LENGTHS_UNKNOWN, "Single requests are not in the file; every request has the mean lengths.")
    notes.say(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client.")
    return constant_workload(rows[0].prompt_tokens, rows[0].output_tokens, "Mean lengths of the first row.")


def _own_lengths(row: _Row, first: _Row) -> dict[str, Any]:
    """Return the lengths of a row that are not those of the first."""
    own, meant = (constant_workload(each.prompt_tokens, each.output_tokens, "-") for each in (row, first))
    return {name: own[name] for name in ("prompt", "output") if own[name] != meant[name]}
