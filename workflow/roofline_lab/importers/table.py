"""A table of measured runs: one row per stage of a run, units in the column names.

Contract: `read` turns the rows of a CSV into one `Measurement` per `experiment_id`. Rows with `is_summary` 1 repeat the
stages and are left out. Empty cells are figures that were not measured. Columns are those of `COLUMNS`; others are left
alone.

GuideLLM's lengths are drawn again and kept only if every row's mean lengths come out; requests that are missing are
then recognised as those whose draws leave the means right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.json_stream import READ_ERRORS, open_text
from roofline_lab.ground_truth.kept_up import Judgement, Load
from roofline_lab.ground_truth.quality import Finding, Flag
from roofline_lab.ground_truth.requests import listed
from roofline_lab.importers.common import (
    MS_PER_S,
    Mean,
    Measurement,
    Notes,
    arrivals_as_sent,
    constant_workload,
    drawn_lengths,
    judged,
    measured_metrics,
    measurement,
    rates,
    refuse_impossible,
)
from roofline_lab.importers.overrides import Overrides
from roofline_lab.importers.stated_server import by_options, with_server
from roofline_lab.importers.trace import with_traces
from roofline_lab.importers.writing import Written, project_of, write_all
from simulator.errors import ConfigError
from simulator.input_files import csv_records, unreadable
from simulator.validation import config_error, suggest
from simulator.workload.lengths import GUIDELLM_DEFAULT_SEED

IDENTITY = ("experiment_id", "stage", "is_summary", "metrics_side", "client_tool", "model_hf_id", "tp")
REQUIRED = ("experiment_id", "model_hf_id", "stage", "is_summary")
# What all stages of a run have in common.
OF_THE_RUN = ("model_hf_id", "tp", "hardware", "metrics_side", "client_tool")
WHOLE = ("stage", "is_summary", "tp", "max_num_seqs", "max_num_batched_tokens", "max_model_len", "block_size_tok",
         "total_kv_blocks", "cpu_kv_blocks", "num_requests", "num_success", "num_failed", "overloaded",
         "wl_system_prompt_len_tok", "wl_question_len_tok", "wl_output_len_tok", "wl_effective_unique_prompts",
         "wl_prefix_tok")  # fmt: skip

RANKS = ("mean", "p50", "p90", "p99")
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

# What a load is judged by, in ms.
_SECONDS = {"ttft_s": "ttft_mean_ms", "e2e_s": "e2e_mean_ms"}

# Means that a whole run and its stages must share, and how far a summary may lie from their average:
# it may count requests that ended in the next stage.
SUMMARISED = ("ttft_mean_ms", "tpot_mean_ms", "e2e_mean_ms")
SUMMARY_TOLERANCE = 0.02

# How far a mean printed with three decimals may lie from that of the draws, in tokens.
MEAN_TOLERANCE_TOKENS = 0.001

# Prompts of a pool, where the source says that prompts repeat but not how many there are: the
# default of the client that measured the other runs of the same collection, 10 x 10.
DEFAULT_POOL = 100

_MAX_REQUESTS = re.compile(r"\bmax-requests (\d{1,6})\b")

LENGTHS = ("mean", "sd", "min", "max")
NUMBERS = (*METRIC_COLUMNS.values(), "requested_rate_rps", "achieved_rate_rps", "stage_duration_s",
           "prompt_len_mean_tok", "output_len_mean_tok", "output_len_client_retok_mean_tok", "asreported_tpot_mean_ms",
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
    found: Mapping[str, Measurement],
    out: Path,
    overrides: Overrides,
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
    overrides, traces
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
    stated = by_options(overrides.server)
    targets = {
        (out if alone else out / name): with_traces(with_server(found_run, stated), traces)
        for name, found_run in found.items()
    }
    roots = {project_of(target, root) for target in targets}
    return write_all(targets, roots.pop(), overrides)


def read(path: Path, experiment: str | None = None, year: int | None = None) -> dict[str, Measurement]:
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
            records = csv_records(stream, str(path))
            header = next(records, (0, []))[1]
            missing = [name for name in IDENTITY if name not in header]
            if missing:
                raise ConfigError(f"{path}:1: no column {' and no column '.join(missing)}; is this a table of runs?")
            for line, cells in records:
                try:
                    if len(cells) != len(header):
                        raise ValueError("another number of cells than the header has")
                    rows.append(_row(dict(zip(header, cells, strict=True))))
                except ValueError as error:
                    problems.append(f"line {line}: {error}")
                if line > MAX_ROWS:
                    raise ConfigError(f"{path}: more than {MAX_ROWS} rows; is this a table of runs?")
    except READ_ERRORS as error:
        raise unreadable(path, error) from None
    if problems:
        raise config_error(str(path), listed(problems))
    return iter(rows)


def _row(cells: Mapping[str, str]) -> Row:
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


def _imported(path: Path, name: str, rows: Sequence[Row], summary: Row | None, year: int | None) -> Measurement:
    first = rows[0]
    for column in OF_THE_RUN:
        values = sorted({str(row[column]) for row in rows})
        if len(values) > 1:
            raise ConfigError(
                f"{path}: column '{column}': stages of '{name}' have {' and '.join(values)}; split the run"
            )
    notes = Notes()
    measured_on = _day(path, name, year)
    workload, lost = _sent_workload(rows, notes)
    known, assumed = _settings(first)
    if "hardware" in first["assumed_fields"].split(";"):
        text = f"The hardware is not stated by the source; {first['hardware']} is assumed."
        notes.say(Flag.SETTING_ASSUMED, text)
    if summary is not None:
        notes.flag(_of_whole_run(rows, summary), "noted")
    points = [_load_point(f"{path}: {name}", row, position, lost[position], notes) for position, row in enumerate(rows)]
    return measurement(
        tool=_tool(first["client_tool"]),
        tool_version=first["client_tool"] or None,
        side=first["metrics_side"],
        source=f"{path}: {name}",
        document=_document(rows) or path.name,
        measured_on=measured_on,
        model_name=first["model_hf_id"],
        tensor_parallel=first["tp"],
        hardware=first["hardware"],
        workload_name=first["workload_kind"].rsplit("/", 1)[-1].removesuffix("-lite"),
        known=known,
        assumed=assumed,
        workload=workload,
        load_points=points,
        notes=notes,
    )


def _load_point(source: str, row: Row, position: int, lost: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    point = f"stage_{row['stage']}"
    arrivals = _arrivals(source, row)
    found = _judged(row, arrivals, point, notes)
    stated = rates(row["requested_rate_rps"], found)
    return {
        "id": point,
        "arrivals": arrivals_as_sent(arrivals, found, row["num_requests"] or 0),
        "benchmark_index": row["stage"],
        **({"rate": stated} if stated else {}),
        **({"prompts_seen_before": True} if _pool_prompts(row) and position else {}),
        "requests": dict(lost),
        "saturation": found.saturation,
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


def _judged(row: Row, arrivals: Mapping[str, Any], point: str, notes: Notes) -> Judgement:
    """Say whether the server kept up: by the source's word, else by the figures."""
    irregular = lint.arrivals_irregular(
        requested_per_s=row["requested_rate_rps"], completed_per_s=row["requests_per_s"]
    )
    notes.flag(irregular, "noted", point)
    found = judged(_load_of(row, arrivals), notes, point)
    if found.overload is None and row["overloaded"]:
        listed = Finding(Flag.OVERLOADED, "The source lists this stage as overloaded.")
        notes.flag(listed, "noted", point)
        return replace(found, state="saturated", basis=listed.text)
    if found.overload is None and row["overloaded"] is not None and arrivals["kind"] != "closed_loop":
        tail = row["ttft_p99_ms"]
        basis = "The source does not list this stage as overloaded"
        basis += f", and 99 % of TTFT are below {tail:g} ms." if tail else "."
        return replace(found, state="not_saturated", basis=basis)
    return found


def _load_of(row: Row, arrivals: Mapping[str, Any]) -> Load:
    completed = row["num_success"] or row["num_requests"] or 0
    seconds = {name: row[column] / MS_PER_S if row[column] else None for name, column in _SECONDS.items()}
    return Load(
        sent=row["num_requests"] or 0,
        completed=completed,
        failed=row["num_failed"] or 0,
        requested_per_s=row["requested_rate_rps"],
        random_gaps=arrivals["kind"] == "poisson" and not arrivals.get("rescaled"),
        in_flight=arrivals.get("concurrency"),
        sent_per_s=_sent_per_s(row),
        run_s=completed / row["requests_per_s"] if row["requests_per_s"] else None,
        **seconds,
    )


def _sent_per_s(row: Row) -> float | None:
    """Return the rate of sending; where only answered requests are known, their number per second is none."""
    return row["achieved_rate_rps"] if row["achieved_rate_rps"] != row["requests_per_s"] else None


def _measured(source: str, row: Row, point: str, notes: Notes) -> dict[str, Any]:
    tokens, ttft, e2e = row["output_len_mean_tok"], row["ttft_mean_ms"], row["e2e_mean_ms"]
    values = {name: row[column] for name, column in METRIC_COLUMNS.items()}
    pooled = values["itl_p50"] is not None
    if pooled or row["metrics_side"] == "client":
        del values["itl_mean"]  # there it repeats TPOT
    reported = row["asreported_tpot_mean_ms"]
    if reported and tokens and ttft and e2e:
        notes.flag(lint.stream_lines_counted(ttft=ttft, e2e=e2e, tpot=reported, tokens=tokens), "corrected", point)
    values |= _corrected_metrics(row, point, notes)
    means = {name: values[f"{name}_mean"] for name in ("ttft", "e2e")}
    columns = {name: Mean(f"{name}_mean_ms", value) if value else None for name, value in means.items()}
    refuse_impossible(source, ttft=columns["ttft"], e2e=columns["e2e"], tokens=tokens or math.nan)
    counted = row["output_len_client_retok_mean_tok"]
    if counted and tokens:
        notes.flag(lint.output_retokenised(reported=counted, generated=tokens), "corrected", point)
    notes.converted("Figures are taken as the table has them, in the units of its column names.")
    return measured_metrics(
        source, values, {"tpot": "inter_token", "itl": "pooled_gaps" if pooled else "inter_token"}, notes
    )


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


# --- figures ----------------------------------------------------------------------------------


def _corrected_metrics(row: Row, point: str, notes: Notes) -> dict[str, float | None]:
    """Return the figures that replace those of a row: E2E in ms, TPOT without TTFT."""
    tokens, ttft, e2e, tpot = (
        row[name] for name in ("output_len_mean_tok", "ttft_mean_ms", "e2e_mean_ms", "tpot_mean_ms")
    )
    replaced: dict[str, float | None] = {}
    if not (tokens and ttft and e2e and tpot):
        return replaced
    seconds = lint.seconds_among_milliseconds(ttft=ttft, e2e=e2e, itl=tpot, tokens=tokens)
    if seconds is not None:
        notes.flag(seconds, "corrected", point)
        notes.converted("E2E was in seconds although its columns end in _ms; it is written in ms.")
        replaced |= {f"e2e_{rank}": row[f"e2e_{rank}_ms"] * MS_PER_S for rank in RANKS if row[f"e2e_{rank}_ms"]}
        e2e *= MS_PER_S
    contains = lint.tpot_includes_ttft(ttft=ttft, e2e=e2e, tpot=tpot, tokens=tokens)
    if contains is not None:
        notes.flag(contains, "corrected", point)
        notes.converted("TPOT contains TTFT and is replaced by the time between tokens, as the means give it.")
        replaced |= {f"tpot_{rank}": None for rank in RANKS} | {"tpot_mean": contains.value}
    return replaced


def _of_whole_run(rows: Sequence[Row], summary: Row) -> Finding | None:
    """Find a summary whose means are not those of its stages, weighted by their requests."""
    weights = [row["num_success"] or row["num_requests"] or 0 for row in rows]
    stages: dict[str, float] = {}
    for column in SUMMARISED:
        if sum(weights) and all(row[column] for row in rows):
            weighted = sum(weight * row[column] for weight, row in zip(weights, rows, strict=True))
            stages[column] = weighted / sum(weights)
    stated = {column: summary[column] for column in stages if summary[column]}
    return lint.figures_contradict(stages, stated, SUMMARY_TOLERANCE)


# --- what was sent ----------------------------------------------------------------------------


def _pool_prompts(row: Row) -> int | None:
    """Return how many prompts are sent in turn; None if prompts do not repeat."""
    if row["wl_question_len_tok"] is None:
        return None
    return row["wl_effective_unique_prompts"] or DEFAULT_POOL


def _sent_workload(rows: Sequence[Row], notes: Notes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the workload, and `requests` of every row.

    Raises
    ------
    ConfigError
        If a row says neither how long answers are nor how many requests were answered.
    """
    first = rows[0]
    if _pool_prompts(first):
        return _pooled(first, notes), [_counted(row) for row in rows]
    drawn = [_drawn(row) for row in rows] if first["wl_prompt_mean_tok"] else [None]
    found = [counts for counts in drawn if counts is not None]
    if len(found) < len(rows):
        return _constant(rows, notes), [_counted(row) for row in rows]
    shift = (first["wl_prefix_tok"] or 0) and -2
    text = (
        f"Lengths are drawn again from seed {GUIDELLM_DEFAULT_SEED}; at every load point the measured mean lengths are "
        "those of the draws."
    )
    notes.say(Flag.LENGTHS_FROM_SEED, text)
    prefix = first["wl_prefix_tok"]
    return {
        "prompt": {**_lengths(first, "prompt"), "adjustment_tokens": shift},
        "output": _lengths(first, "out"),
        "prefix": {"kind": "shared", "tokens": prefix, "counted": "on_top"} if prefix else {"kind": "none"},
        "note": "Lengths of the client's profile, drawn again from its seed.",
    }, found


def _pooled(row: Row, notes: Notes) -> dict[str, Any]:
    pool = _pool_prompts(row)
    measured = row["prompt_len_mean_tok"]
    asked = (row["wl_system_prompt_len_tok"] or 0) + (row["wl_question_len_tok"] or 0)
    assumed = "" if row["wl_effective_unique_prompts"] else " (their number is assumed)"
    repeat = f"{pool} prompts are sent in turn{assumed}; after the first round the prefix cache holds them, so that "
    notes.say(Flag.PROMPTS_REPEAT, f"{repeat}TTFT is that of cached prompts.", "corrected")
    unknown = "Single prompt lengths are not published; every prompt has the "
    unknown += "measured mean length." if measured else "length the profile asks for."
    notes.say(Flag.LENGTHS_UNKNOWN, unknown)
    notes.say(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client.")
    if "exponential" in row["arrival_process"]:
        text = "The timer called constant draws exponential gaps and stretches them to the length of the stage."
        notes.say(Flag.CONSTANT_IS_POISSON, text, "corrected")
    note = f"{pool} prompts sent in turn; every answer has the length the profile fixes."
    output = row["wl_output_len_tok"] or row["output_len_mean_tok"] or 1
    workload = constant_workload(measured or asked, output, note, kind="prompt_pool", prompts=pool)
    # A profile that asks for prompts of no token is refused, as the format refuses it.
    return {**workload, "prompt": {"kind": "constant", "tokens": round(measured or asked)}}


def _constant(rows: Sequence[Row], notes: Notes) -> dict[str, Any]:
    unknown = "Lengths of single requests are not published and not drawn again; every request has the mean length."
    notes.say(Flag.LENGTHS_UNKNOWN, unknown)
    means = [[row[name] for row in rows if row[name]] for name in ("prompt_len_mean_tok", "output_len_mean_tok")]
    prompt, output = (fmean(lengths) if lengths else 1 for lengths in means)
    return constant_workload(prompt, output, "Mean lengths of the table.")


def _counted(row: Row) -> dict[str, Any]:
    answered = row["num_success"] if row["num_success"] is not None else row["num_requests"]
    sent = row["num_requests"] or answered or 1
    failed = row["num_failed"]
    unpublished = row["num_success"] is None
    basis = "Number sent; how many failed was not published." if unpublished else "Counts of the source."
    return {
        "sent": sent,
        "completed": answered or sent,
        **({} if failed is None else {"failed": failed}),
        **({"lost_positions": "unknown"} if (answered or sent) < sent else {}),
        "basis": basis,
    }


def _drawn(row: Row) -> dict[str, Any] | None:
    """Return the request counts of a row whose mean lengths are those of the client's draws."""
    completed = row["num_success"]
    if not completed or row["prompt_len_mean_tok"] is None or row["output_len_mean_tok"] is None:
        return None
    for sent in _possibly_sent(row, completed):
        seed = GUIDELLM_DEFAULT_SEED + row["stage"]
        prompts = drawn_lengths(_lengths(row, "prompt"), seed, sent)
        outputs = drawn_lengths(_lengths(row, "out"), seed + 1, sent)
        shortest = [position for position, tokens in enumerate(prompts) if tokens == row["wl_prompt_min_tok"]]
        lost = shortest if len(shortest) == sent - completed else []
        kept = [position for position in range(sent) if position not in lost]
        if len(kept) != completed:
            continue
        means = [fmean(lengths[position] for position in kept) for lengths in (prompts, outputs)]
        shift = ((row["wl_prefix_tok"] or 0) - 2) if row["wl_prefix_tok"] else 0
        measured = (row["prompt_len_mean_tok"] - shift, row["output_len_mean_tok"])
        if all(abs(a - b) <= MEAN_TOLERANCE_TOKENS for a, b in zip(means, measured, strict=True)):
            return _explained(sent, completed, lost)
    return None


def _possibly_sent(row: Row, completed: int) -> list[int]:
    """Return how many requests may have been sent: the number the notes state, else a few more than answered."""
    stated = _MAX_REQUESTS.search(row["notes"])
    return [int(stated.group(1))] if stated else list(range(completed, completed + completed // 4 + 1))


def _explained(sent: int, completed: int, lost: Sequence[int]) -> dict[str, Any]:
    basis = f"Not published; {sent} draws from the client's seed give the measured mean lengths"
    if lost:
        basis += f" without those {len(lost)} whose prompt is the shortest possible"
    return {"sent": sent, "completed": completed, "lost_positions": list(lost), "basis": basis + "."}


def _lengths(row: Row, side: str) -> dict[str, Any]:
    return {
        "kind": "guidellm",
        "mean_tokens": row[f"wl_{side}_mean_tok"],
        "stdev_tokens": row[f"wl_{side}_sd_tok"] or 0.0,
        "min_tokens": int(row[f"wl_{side}_min_tok"] or 1),
        "max_tokens": int(row[f"wl_{side}_max_tok"] or 1),
        "random_seed": GUIDELLM_DEFAULT_SEED,
    }
