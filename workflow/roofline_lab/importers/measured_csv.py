"""A table of measured runs: one row per stage of a run, units in the column names.

Contract: `read` turns the rows of a CSV into one `Imported` per `experiment_id`. Rows with
`is_summary` 1 repeat the stages and are left out. Empty cells are figures that were not measured.
Columns are those of `COLUMNS`; others are left alone.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth import measurement_lint as lint
from roofline_lab.ground_truth.json_stream import READ_ERRORS, open_text
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import listed
from roofline_lab.importers.csv_figures import FIGURES, corrected_figures, of_whole_run
from roofline_lab.importers.csv_workload import pool_prompts, sent_workload
from roofline_lab.importers.imported import Imported, Notes, figures, saturation
from roofline_lab.importers.impossible import Mean, refuse_impossible
from roofline_lab.importers.naming import Names
from roofline_lab.importers.trace import with_traces
from roofline_lab.importers.writing import Written, project_of, write_all
from simulator.errors import ConfigError
from simulator.validation import config_error, suggest

IDENTITY = ("experiment_id", "stage", "is_summary", "metrics_side", "client_tool", "model_hf_id", "tp")
REQUIRED = ("experiment_id", "model_hf_id", "stage", "is_summary")
# What all stages of a run have in common.
OF_THE_RUN = ("model_hf_id", "tp", "hardware", "metrics_side", "client_tool")
WHOLE = ("stage", "is_summary", "tp", "max_num_seqs", "max_num_batched_tokens", "max_model_len", "block_size_tok",
         "total_kv_blocks", "cpu_kv_blocks", "num_requests", "num_success", "num_failed", "overloaded",
         "wl_system_prompt_len_tok", "wl_question_len_tok", "wl_output_len_tok", "wl_effective_unique_prompts",
         "wl_prefix_tok")  # fmt: skip

LENGTHS = ("mean", "sd", "min", "max")
NUMBERS = (*FIGURES.values(), "requested_rate_rps", "achieved_rate_rps", "stage_duration_s", "prompt_len_mean_tok",
           "output_len_mean_tok", "output_len_client_retok_mean_tok", "asreported_tpot_mean_ms",
           *(f"wl_{side}_{part}_tok" for side in ("prompt", "out") for part in LENGTHS))  # fmt: skip
TEXTS = ("source_repo", "source_commit", "source_path", "hardware", "vllm_version", "prefix_caching", "workload_kind",
         "arrival_process", "assumed_fields", "notes")  # fmt: skip
COLUMNS = tuple(dict.fromkeys((*IDENTITY, *WHOLE, *NUMBERS, *TEXTS)))

# A table of runs is one row per stage; a longer file is something else.
MAX_ROWS = 20_000

# Setting -> column, and what the column of assumed fields calls it.
_SETTINGS = {
    "max_running": "max_num_seqs",
    "token_budget": "max_num_batched_tokens",
    "max_model_len_tokens": "max_model_len",
    "block_tokens": "block_size_tok",
    "kv_blocks": "total_kv_blocks",
    "cpu_kv_blocks": "cpu_kv_blocks",
}
_IN_FLIGHT = re.compile(r"closed loop, (\d{1,6}) in flight")
_DAY = re.compile(r"(20\d\d)(\d\d)(\d\d)-")
_MONTH_DAY = re.compile(r"^(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)(\d\d)\b")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

Row = Mapping[str, Any]


def import_table(
    path: Path,
    found: Mapping[str, Imported],
    out: Path,
    names: Names,
    traces: Sequence[Path] = (),
    root: Path | None = None,
) -> list[Written]:
    """Write the experiments of a table, one folder each, all of them or none.

    Parameters
    ----------
    path, found
        The table, and what was read from it.
    out
        `ground_truth/<id>` for one experiment, or `ground_truth` for all of them under their ids.
    names, traces
        What a person says about the runs, and request traces of the only one.
    root
        The project whose models and GPUs are named, where `out` lies elsewhere; a single experiment is then
        written to `out` itself.

    Raises
    ------
    ConfigError
        If one of the experiments cannot be written, or exists already.
    """
    alone = (out.absolute().parent / "vocabulary.yaml").is_file() or (root is not None and len(found) == 1)
    if (alone or traces) and len(found) > 1:
        raise ConfigError(f"--out: {len(found)} experiments in {path}; give --experiment, or {out.parent} as --out")
    targets = {(out if alone else out / name): with_traces(imported, traces) for name, imported in found.items()}
    roots = {project_of(target, root) for target in targets}
    return write_all(targets, roots.pop(), names)


def read(path: Path, experiment: str | None = None, year: int | None = None) -> dict[str, Imported]:
    """Read a table of measured runs; returns experiments by id, in the table's order.

    Parameters
    ----------
    path
        The table.
    experiment
        Only this one.
    year
        Of runs whose id has only a month and a day.

    Raises
    ------
    ConfigError
        Naming file, line and column of every problem.
    """
    groups: dict[str, list[Row]] = {}
    summaries: dict[str, Row] = {}
    for row in _rows(path):
        if row["is_summary"]:
            summaries[row["experiment_id"]] = row
            continue
        stages = groups.setdefault(row["experiment_id"], [])
        if any(stage["stage"] == row["stage"] for stage in stages):
            raise ConfigError(
                f"{path}: stage: {row['stage']} of '{row['experiment_id']}' is given twice; remove one row"
            )
        stages.append(row)
    if experiment is not None and experiment not in groups:
        raise ConfigError(f"{path}: experiment_id: no '{experiment}'; {suggest(experiment, groups)}")
    wanted = groups if experiment is None else {experiment: groups[experiment]}
    if not wanted:
        raise ConfigError(f"{path}: no row that is a stage of a run (is_summary 0)")
    return {name: _imported(path, name, rows, summaries.get(name), year) for name, rows in wanted.items()}


def _rows(path: Path) -> Iterator[Row]:
    problems: list[str] = []
    rows: list[Row] = []
    try:
        with open_text(path) as stream:
            reader = csv.DictReader(stream, strict=True)
            header = reader.fieldnames or []
            missing = [name for name in IDENTITY if name not in header]
            if missing:
                raise ConfigError(f"{path}:1: no column {' and no column '.join(missing)}; is this a table of runs?")
            for line, cells in enumerate(reader, start=2):
                try:
                    rows.append(_row(cells))
                except ValueError as error:
                    problems.append(f"line {line}: {error}")
                if line > MAX_ROWS:
                    raise ConfigError(f"{path}: more than {MAX_ROWS} rows; is this a table of runs?")
    except (*READ_ERRORS, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if problems:
        raise config_error(str(path), listed(problems))
    return iter(rows)


def _row(cells: Mapping[str | None, Any]) -> Row:
    if None in cells or None in cells.values():
        raise ValueError("another number of cells than the header has")
    row: dict[str, Any] = {name: (cells.get(name) or "").strip() for name in COLUMNS}
    for name in NUMBERS:
        row[name] = _number(name, row[name])
    for name in WHOLE:
        value = _number(name, row[name])
        if value is not None and not value.is_integer():
            raise ValueError(f"column '{name}': must be a whole number, got '{row[name][:40]}'")
        row[name] = None if value is None else int(value)
    _check(row)
    return row


def _check(row: Row) -> None:
    for name in REQUIRED:
        if row[name] in ("", None):
            raise ValueError(f"column '{name}': must not be empty")
    if row["tp"] == 0:
        raise ValueError("column 'tp': must be 1 or greater, or empty")
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


def _imported(path: Path, name: str, rows: Sequence[Row], summary: Row | None, year: int | None) -> Imported:
    first = rows[0]
    for column in OF_THE_RUN:
        values = sorted({str(row[column]) for row in rows})
        if len(values) > 1:
            raise ConfigError(
                f"{path}: column '{column}': stages of '{name}' have {' and '.join(values)}; split the run"
            )
    notes = Notes()
    measured_on, basis = _day(path, name, year)
    workload, lost = sent_workload(rows, notes)
    known, assumed = _settings(first)
    if "hardware" in first["assumed_fields"].split(";"):
        text = f"The hardware is not stated by the source; {first['hardware']} is assumed."
        notes.flag(lint.Finding(Flag.SETTING_ASSUMED, text), "noted")
    if summary is not None:
        notes.flag(of_whole_run(rows, summary), "noted")
    points = [_load_point(f"{path}: {name}", row, position, lost[position], notes) for position, row in enumerate(rows)]
    return Imported(
        tool=_tool(first["client_tool"]),
        tool_version=first["client_tool"] or None,
        side=first["metrics_side"],
        document=_document(rows) or path.name,
        source=f"{path}: {name}",
        date=measured_on,
        date_basis=basis,
        model_name=first["model_hf_id"],
        tensor_parallel=first["tp"],
        hardware=first["hardware"] or None,
        workload_name=first["workload_kind"].rsplit("/", 1)[-1].removesuffix("-lite") or None,
        known=known,
        assumed=assumed,
        workload=workload,
        load_points=points,
        quality=notes.quality(),
        conversions=notes.conversions(),
    )


def _load_point(source: str, row: Row, position: int, lost: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    point = f"stage_{row['stage']}"
    # Where only answered requests are known, their number per second is a throughput, not a rate of sending.
    sent_per_s = row["achieved_rate_rps"] if row["achieved_rate_rps"] != row["requests_per_s"] else None
    rates = {"requested_per_s": row["requested_rate_rps"], "achieved_per_s": sent_per_s}
    stated = {key: value for key, value in rates.items() if value}
    return {
        "id": point,
        "arrivals": _arrivals(source, row),
        "benchmark_index": row["stage"],
        **({"rate": stated} if stated else {}),
        **({"prompts_seen_before": True} if pool_prompts(row) and position else {}),
        "requests": dict(lost),
        "saturation": _saturation(row, point, notes),
        "measured": _measured(f"{source}: stage {row['stage']}", row, point, notes),
    }


def _arrivals(source: str, row: Row) -> dict[str, Any]:
    process, rate = row["arrival_process"], row["requested_rate_rps"]
    in_flight = _IN_FLIGHT.search(process)
    if in_flight and int(in_flight.group(1)):
        return {"kind": "closed_loop", "concurrency": int(in_flight.group(1))}
    if process == "all at once":
        return {"kind": "burst"}
    if rate and process == "constant spacing":
        return {"kind": "constant_rate", "rate_per_s": rate}
    if rate and ("exponential" in process or "poisson" in process.lower()):
        return {"kind": "poisson", "rate_per_s": rate, "rescaled": "rescaled" in process}
    raise ConfigError(
        f"{source}: stage {row['stage']}: arrival_process '{process[:60]}' with requested_rate_rps {rate} cannot be "
        "repeated; allowed: closed loop, <n> in flight; all at once; constant spacing or exponential gaps with a rate"
    )


def _saturation(row: Row, point: str, notes: Notes) -> dict[str, str]:
    finding = lint.overloaded(
        requested_per_s=row["requested_rate_rps"],
        completed_per_s=row["achieved_rate_rps"] if row["metrics_side"] == "client" else None,
        sent=row["num_requests"] or 0,
        failed=row["num_failed"] or 0,
    )
    if finding is None and row["overloaded"]:
        finding = lint.Finding(Flag.OVERLOADED, "The source lists this stage as overloaded.")
    notes.flag(finding, "noted", point)
    irregular = lint.arrivals_irregular(
        requested_per_s=row["requested_rate_rps"], completed_per_s=row["requests_per_s"]
    )
    notes.flag(irregular, "noted", point)
    if finding is None and row["overloaded"] is None:
        return {"state": "unknown", "basis": "The source does not say."}
    basis = "The source does not list this stage as overloaded"
    tail = row["ttft_p99_ms"]
    return saturation(finding, basis + (f", and 99 % of TTFT are below {tail:g} ms." if tail else "."))


def _measured(source: str, row: Row, point: str, notes: Notes) -> dict[str, Any]:
    tokens, ttft, e2e = row["output_len_mean_tok"], row["ttft_mean_ms"], row["e2e_mean_ms"]
    values = {name: row[column] for name, column in FIGURES.items()}
    pooled = values["itl_p50"] is not None
    if pooled or row["metrics_side"] == "client":
        del values["itl_mean"]  # there it repeats TPOT
    reported = row["asreported_tpot_mean_ms"]
    if reported and tokens and ttft and e2e:
        notes.flag(lint.stream_lines_counted(ttft=ttft, e2e=e2e, tpot=reported, tokens=tokens), "corrected", point)
    values |= corrected_figures(row, point, notes)
    means = {name: values[f"{name}_mean"] for name in ("ttft", "e2e")}
    columns = {name: Mean(f"{name}_mean_ms", value) if value else None for name, value in means.items()}
    refuse_impossible(source, ttft=columns["ttft"], e2e=columns["e2e"], tokens=tokens or math.nan)
    counted = row["output_len_client_retok_mean_tok"]
    if counted and tokens:
        notes.flag(lint.output_retokenised(reported=counted, generated=tokens), "corrected", point)
    notes.converted("Figures are taken as the table has them, in the units of its column names.")
    return figures(source, values, {"tpot": "inter_token", "itl": "pooled_gaps" if pooled else "inter_token"})


def _settings(row: Row) -> tuple[dict[str, Any], dict[str, Any]]:
    stated = {name: row[column] for name, column in _SETTINGS.items() if row[column] is not None}
    stated |= {"software": f"vLLM {row['vllm_version']}"} if row["vllm_version"] else {}
    stated |= {"prefix_caching": row["prefix_caching"].startswith("on")} if row["prefix_caching"] else {}
    guessed = {field.split(" ")[0] for field in row["assumed_fields"].split(";")}
    columns = _SETTINGS | {"software": "vllm_version", "prefix_caching": "prefix_caching"}
    assumed = {name: value for name, value in stated.items() if columns[name] in guessed}
    return {name: value for name, value in stated.items() if name not in assumed}, assumed


def _document(rows: Sequence[Row]) -> str:
    first = rows[0]
    if not first["source_repo"]:
        return ""
    paths = ", ".join(dict.fromkeys(row["source_path"] for row in rows))
    return f"{first['source_repo']} at commit {first['source_commit']}, {paths}"


def _tool(text: str) -> str:
    return next((tool for tool in ("guidellm", "inference-perf", "vllm-bench") if tool in text.lower()), "other")


def _day(path: Path, name: str, year: int | None) -> tuple[date, str]:
    """Return the day an experiment's id names.

    Raises
    ------
    ConfigError
        If it names none.
    """
    whole, short = _DAY.search(name), _MONTH_DAY.search(name)
    try:
        if whole:
            return date(*(int(part) for part in whole.groups())), "From the experiment's name."
        if short and year:
            month = _MONTHS.index(short.group(1)) + 1
            return date(year, month, int(short.group(2))), "Day and month from the experiment's name; year as given."
    except ValueError:
        pass
    if year:
        return date(year, 12, 31), "Only the year is known; the day is its last."
    raise ConfigError(f"{path}: experiment_id '{name}': names no day, such as 20260217-...; give --year")
