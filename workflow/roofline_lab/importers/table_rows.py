"""The rows of a table of measured runs: columns, units in their names, and what a cell may hold.

Contract: `read_rows` returns the rows of a CSV in the file's order, known columns converted; a row that cannot be right
is a `BadRow` with its line and experiment, so that it costs no other experiment. Empty cells are figures that were not
measured. Columns are those of `COLUMNS`, latencies in the unit their name ends in; what others hold stands under
`OTHERS`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth.json_stream import READ_ERRORS, open_text
from simulator.errors import ConfigError
from simulator.input_files import csv_records, unreadable

IDENTITY = ("experiment_id", "stage", "is_summary", "metrics_side", "client_tool", "model_hf_id", "tp")
REQUIRED = ("experiment_id", "model_hf_id", "stage", "is_summary")
WHOLE = ("stage", "is_summary", "tp", "dp", "max_num_seqs", "max_num_batched_tokens", "max_model_len",
         "block_size_tok", "total_kv_blocks", "cpu_kv_blocks", "max_concurrency", "num_requests", "num_success",
         "num_failed", "overloaded", "wl_system_prompt_len_tok", "wl_question_len_tok", "wl_output_len_tok",
         "wl_effective_unique_prompts", "wl_prefix_tok")  # fmt: skip
# Where 0 of something is no measurement and no setting of a server.
ABOVE_ZERO = ("tp", "dp")

RANKS = ("mean", "p50", "p90", "p95", "p99")

# Metric -> column.
METRIC_COLUMNS: Mapping[str, str] = {
    **{f"{kind}_{rank}": f"{kind}_{rank}_ms" for kind in ("ttft", "tpot", "e2e") for rank in RANKS},
    "itl_mean": "itl_mean_ms",
    "itl_p50": "itl_p50_ms",
    "itl_p90": "itl_p90_ms",
    "itl_p98": "itl_p98_ms",
    "queue_time_mean": "queue_mean_ms",
    "request_throughput": "requests_per_s",
    "output_token_throughput": "output_tok_per_s",
}

LENGTHS = ("mean", "sd", "min", "max")
# What a table states about lengths; the same for all stages of a run.
STATED_LENGTHS = tuple(f"wl_{side}_{part}_tok" for side in ("prompt", "out") for part in LENGTHS)
NUMBERS = (*METRIC_COLUMNS.values(), "requested_rate_rps", "achieved_rate_rps", "stage_duration_s",
           "prompt_len_mean_tok", "output_len_mean_tok", "output_len_client_retok_mean_tok", "asreported_tpot_mean_ms",
           "input_tok_per_s", *STATED_LENGTHS)  # fmt: skip
TEXTS = ("source_repo", "source_commit", "source_path", "hardware", "precision", "vllm_version", "prefix_caching",
         "workload_kind", "load_mode", "arrival_process", "assumed_fields", "notes")  # fmt: skip
COLUMNS = tuple(dict.fromkeys((*IDENTITY, *WHOLE, *NUMBERS, *TEXTS)))

# Under which a row has its cells of other columns.
OTHERS = "others"

# A latency in another unit, or spelled otherwise: e2e_mean_s, ttft_median_ms, "TTFT mean (ms)".
_LATENCY = re.compile(
    r"(ttft|tpot|itl|e2e)[ _](mean|avg|median|p\d\d)[ _]*[(\[]?(ms|msec|s|sec|seconds|us)[)\]]?", re.IGNORECASE
)
_UNITS_MS = {"ms": 1.0, "msec": 1.0, "s": 1000.0, "sec": 1000.0, "seconds": 1000.0, "us": 0.001}
_RANK_NAMES = {"avg": "mean", "median": "p50"}

# A table of runs is one row per stage; a longer file is something else.
MAX_ROWS = 20_000

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be right: which experiment it belongs to (empty if it does not say), and what is wrong."""

    experiment: str
    problem: str


def read_rows(path: Path) -> list[Row | BadRow]:
    """Read a table.

    Raises
    ------
    ConfigError
        If the file cannot be read, is no table of runs, or has a row with another number of cells than the header.
    """
    try:
        return list(_rows(path))
    except READ_ERRORS as error:
        raise unreadable(path, error) from None


def _rows(path: Path) -> Iterator[Row | BadRow]:
    with open_text(path) as stream:
        records = csv_records(stream, str(path))
        written = [name.strip() for name in next(records, (0, []))[1]]
        header, factors = _columns(written)
        missing = [name for name in IDENTITY if name not in header]
        if missing:
            raise ConfigError(f"{path}:1: no column {' and no column '.join(missing)}; is this a table of runs?")
        for line, cells in records:
            if len(cells) != len(header):
                raise ConfigError(f"{path}: line {line}: another number of cells than the header has")
            if line > MAX_ROWS:
                raise ConfigError(f"{path}: more than {MAX_ROWS} rows; is this a table of runs?")
            given = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
            try:
                yield _row(given, factors)
            except ValueError as error:
                yield BadRow(given["experiment_id"], f"line {line}: {error}")


def _columns(written: list[str]) -> tuple[list[str], dict[str, float]]:
    """Return the columns as they are called here, and what turns a latency of another unit into ms."""
    header, factors = list(written), dict[str, float]()
    for place, name in enumerate(written):
        match = None if name in COLUMNS else _LATENCY.fullmatch(name)
        if match is None:
            continue
        kind, rank, unit = (part.lower() for part in match.groups())
        column = f"{kind}_{_RANK_NAMES.get(rank, rank)}_ms"
        if column not in header:
            header[place], factors[column] = column, _UNITS_MS[unit]
    return header, factors


def _row(cells: Mapping[str, str], factors: Mapping[str, float]) -> Row:
    row: dict[str, Any] = {name: cells.get(name, "") for name in COLUMNS}
    row[OTHERS] = {name: cell for name, cell in cells.items() if name not in COLUMNS and cell}
    for name in NUMBERS:
        value = _number(name, row[name])
        row[name] = None if value is None else value * factors.get(name, 1.0)
    for name in WHOLE:
        value = _number(name, row[name])
        if value is not None and not value.is_integer():
            raise ValueError(f"column '{name}': must be a whole number, got '{row[name][:40]}'")
        row[name] = None if value is None else int(value)
    _check(row)
    return row


def _check(row: dict[str, Any]) -> None:
    for name in REQUIRED:
        if row[name] in ("", None):
            raise ValueError(f"column '{name}': must not be empty")
    for name in ABOVE_ZERO:
        if row[name] == 0:
            raise ValueError(f"column '{name}': must be 1 or greater, or empty")
    if row["num_failed"] and row["num_success"] is None and row["num_requests"] is not None:
        if row["num_failed"] >= row["num_requests"]:
            raise ValueError(
                f"column 'num_failed': {row['num_failed']} of num_requests {row['num_requests']}; no answer"
            )
        row["num_success"] = row["num_requests"] - row["num_failed"]
    if not row["is_summary"] and row["num_success"] == 0:
        raise ValueError("column 'num_success': 0; without an answer nothing is measured, so remove the row")
    if row["num_requests"] is not None and (row["num_success"] or 0) > row["num_requests"]:
        raise ValueError(f"column 'num_success': {row['num_success']} exceeds num_requests {row['num_requests']}")
    if row["metrics_side"] not in ("client", "server"):
        raise ValueError(f"column 'metrics_side': must be client or server, got '{row['metrics_side'][:40]}'")


def _number(name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"column '{name}': must be a number, got '{text[:40]}'") from None
    if not math.isfinite(value) or (value < 0 and name != "stage"):
        raise ValueError(f"column '{name}': must be a finite number, 0 or greater, got '{text[:40]}'")
    return value
