"""A table of measured runs: one row per stage of a run, units in the column names.

Contract: `read` turns the rows of a CSV into one `Measurement` per `experiment_id`; a run that cannot be used is
refused with its reason and costs no other. Rows with `is_summary` 1 repeat the stages and are left out. Columns and
cells are those of `table_rows`, what was sent is found by `table_workload`.

A stage measured at the client and at the server is one stage with two views: two load points with the same requests, of
which the server's has its side and `_server` in its name; what the client saw more is the time between both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.kept_up import Judgement, Load
from roofline_lab.ground_truth.quality import Finding, Flag
from roofline_lab.ground_truth.requests import listed
from roofline_lab.importers import closed_loop_table
from roofline_lab.importers.common import (
    MS_PER_S,
    Mean,
    Measurement,
    Notes,
    arrivals_as_sent,
    judged,
    measured_metrics,
    measurement,
    rates,
    refuse_impossible,
)
from roofline_lab.importers.overrides import Overrides
from roofline_lab.importers.server_facts import Stated, agreed, is_known, stated_by
from roofline_lab.importers.server_sources import SERVER_FILE, stated_in
from roofline_lab.importers.stated_server import by_options, with_server
from roofline_lab.importers.table_rows import METRIC_COLUMNS, OTHERS, RANKS, STATED_LENGTHS, BadRow, Row, read_rows
from roofline_lab.importers.table_workload import pool_prompts, sent_workload
from roofline_lab.importers.tools import at_the_top
from roofline_lab.importers.trace import with_traces
from roofline_lab.importers.writing import Imported, NotImported, project_of, write_all
from simulator.errors import ConfigError
from simulator.validation import config_error, suggest

# What all stages of a run have in common.
OF_THE_RUN = ("model_hf_id", "tp", "dp", "hardware", *STATED_LENGTHS)

# Means that a whole run and its stages must share, and how far a summary may lie from their average:
# it may count requests that ended in the next stage.
SUMMARISED = ("ttft_mean_ms", "tpot_mean_ms", "e2e_mean_ms")
SUMMARY_TOLERANCE = 0.02

# What a load is judged by, in ms.
_SECONDS = {"ttft_s": "ttft_mean_ms", "e2e_s": "e2e_mean_ms"}

# Setting -> column, and what the column of assumed fields calls it.
_SETTINGS = {
    "max_running": "max_num_seqs",
    "token_budget": "max_num_batched_tokens",
    "max_model_len_tokens": "max_model_len",
    "block_tokens": "block_size_tok",
    "kv_blocks": "total_kv_blocks",
    "cpu_kv_blocks": "cpu_kv_blocks",
}
# First words of a cell that say whether something is on.
_ON = {"on": True, "true": True, "yes": True, "1": True, "enabled": True,
       "off": False, "false": False, "no": False, "0": False, "disabled": False}  # fmt: skip
_IN_FLIGHT = re.compile(r"closed loop, (\d{1,6}) in flight")
_DAY = re.compile(r"(20\d\d)(\d\d)(\d\d)-")
_MONTH_DAY = re.compile(r"^(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)(\d\d)\b")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True, slots=True)
class Table:
    """The runs of a table, in its order: those that were read, and those that cannot be used."""

    found: Mapping[str, Measurement]
    refused: tuple[NotImported, ...]


def import_table(
    path: Path,
    table: Table,
    out: Path,
    overrides: Overrides,
    traces: Sequence[Path] = (),
    root: Path | None = None,
) -> Imported:
    """Write the experiments of a table, one folder each; a run that cannot be used is left out with its reason.

    Parameters
    ----------
    path, table
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
        If none of the experiments can be written, or one exists already.
    """
    found = table.found
    total = len(found) + len(table.refused)
    alone = (out.absolute().parent / "vocabulary.yaml").is_file() or (root is not None and total == 1)
    if (alone or traces) and total > 1:
        raise ConfigError(f"--out: {total} experiments in {path}; give --experiment, or {out.parent} as --out")
    stated = by_options(overrides.server)
    own = path.with_name(SERVER_FILE)
    if own.is_file():
        stated = stated.with_(stated_in(own))
    targets = {
        (out if alone else out / name): with_traces(with_server(_in(overrides.document, found_run), stated), traces)
        for name, found_run in found.items()
    }
    roots = {project_of(target, root) for target in targets}
    done = write_all(targets, roots.pop(), replace(overrides, document=None), each_alone=True)
    return Imported(done.written, (*table.refused, *done.refused))


def read(path: Path, experiment: str | None = None, year: int | None = None) -> Table:
    """Read a table of measured runs.

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
        If the file is no table of runs or no run of it can be used, naming file, line and column of every problem.
    """
    if {column for column, _ in at_the_top(path)} >= closed_loop_table.MARKS:
        return _closed_loops(path, experiment)
    groups: dict[str, list[Row]] = {}
    summaries: dict[tuple[str, str], Row] = {}
    bad: dict[str, list[str]] = {}
    for row in read_rows(path):
        if isinstance(row, BadRow):
            bad.setdefault(row.experiment, []).append(row.problem)
        elif row["is_summary"]:
            summaries[row["experiment_id"], row["metrics_side"]] = row
        else:
            groups.setdefault(row["experiment_id"], []).append(row)
    names = [name for name in dict.fromkeys((*groups, *bad)) if name]
    if experiment is not None and experiment not in names:
        raise ConfigError(f"{path}: experiment_id: no '{experiment}'; {suggest(experiment, names)}")
    found: dict[str, Measurement] = {}
    refused = [NotImported(f"{path.name}", problem) for problem in bad.pop("", ())]
    for name in names if experiment is None else [experiment]:
        try:
            if name in bad:
                raise config_error(f"{path}: {name}", listed(bad[name]))
            found[name] = _imported(path, name, groups[name], summaries, year)
        except ConfigError as error:
            refused.append(NotImported(name, str(error)))
    if not found:
        raise ConfigError(
            "\n".join(one.reason for one in refused) or f"{path}: no row that is a stage of a run (is_summary 0)"
        )
    return Table(found, tuple(refused))


def _in(document: str | None, run: Measurement) -> Measurement:
    """Return a run that a table took from a public document, with its place in both."""
    if document is None:
        return run
    source = run.experiment.source
    place = source.model_copy(update={"document": f"{document}; {source.document}"})
    return replace(run, experiment=run.experiment.model_copy(update={"source": place}))


def _closed_loops(path: Path, experiment: str | None) -> Table:
    """Read a table of closed-loop points, which has columns of its own."""
    groups, problems = closed_loop_table.read_points(path)
    if experiment is not None and experiment not in groups:
        raise ConfigError(f"{path}: run_id: no '{experiment}'; {suggest(experiment, groups)}")
    found: dict[str, Measurement] = {}
    refused = [NotImported(path.name, problem) for problem in problems]
    points = [point for group in groups.values() for point in group]
    for name in groups if experiment is None else [experiment]:
        try:
            found[name] = closed_loop_table.measured_run(path, name, groups[name], points)
        except ConfigError as error:
            refused.append(NotImported(name, str(error)))
    if not found:
        raise ConfigError("\n".join(one.reason for one in refused) or f"{path}: no row below the header")
    return Table(found, tuple(refused))


def _imported(
    path: Path, name: str, rows: Sequence[Row], summaries: Mapping[tuple[str, str], Row], year: int | None
) -> Measurement:
    source = f"{path}: {name}"
    rows = _with_views(path, name, rows)
    for column in OF_THE_RUN:
        values = sorted({str(row[column]) for row in rows})
        if len(values) > 1:
            raise ConfigError(
                f"{path}: column '{column}': stages of '{name}' have {' and '.join(values)}; split the run"
            )
    first = next((row for row in rows if row["metrics_side"] == "client"), rows[0])
    if (first["dp"] or 1) > 1:
        raise ConfigError(
            f"{source}: column 'dp': {first['dp']}; several replicas behind one address are not simulated"
        )
    notes = Notes()
    stated = _stated(source, rows)
    measured_on = _stated_day(stated) or _day(name, year)
    workload, lost = sent_workload(source, rows, notes)
    known, assumed = _settings(source, first)
    _note_assumptions(first, notes)
    offset_ms = _between_the_sides(rows, notes)
    known |= {} if offset_ms is None else {"client_offset_ms": offset_ms}
    for side in ("client", "server"):
        if (name, side) in summaries:
            own = [row for row in rows if row["metrics_side"] == side]
            notes.flag(_of_whole_run(own, summaries[name, side]), "noted")
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    points = [
        _load_point(source, row, stages.index(row["stage"]), lost[position], notes) for position, row in enumerate(rows)
    ]
    found = measurement(
        tool=_tool(first["client_tool"]),
        tool_version=first["client_tool"] or None,
        side=first["metrics_side"],
        site=_site(first),
        source=source,
        document=_document(rows) or path.name,
        measured_on=measured_on,
        model_name=first["model_hf_id"],
        tensor_parallel=first["tp"],
        hardware=first["hardware"],
        workload_name=first["workload_kind"].rsplit("/", 1)[-1].removesuffix("-lite"),
        known=known,
        assumed=assumed,
        workload=workload,
        load_points=[
            point if row["metrics_side"] == first["metrics_side"] else {**point, "side": row["metrics_side"]}
            for row, point in zip(rows, points, strict=True)
        ],
        notes=notes,
    )
    return with_server(found, stated)


def _stated(source: str, rows: Sequence[Row]) -> Stated:
    """Return what columns beside those of the format state of the server, under any of its names."""
    found = Stated()
    for row in rows:
        facts = {name: cell for name, cell in row[OTHERS].items() if is_known(name)}
        found = found.with_(stated_by(source, facts, loose=True))
    return found


def _stated_day(stated: Stated) -> tuple[date, str] | None:
    fact = agreed(stated.facts).get("date")
    return None if fact is None else (fact.value, "The table's own date.")


def _with_views(path: Path, name: str, rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the name of their load point: the stage's, and the side's where both sides measured it.

    Raises
    ------
    ConfigError
        If one side measured a stage twice.
    """
    views: dict[tuple[int, str], None] = {}
    for row in rows:
        key = (row["stage"], row["metrics_side"])
        if key in views:
            raise ConfigError(
                f"{path}: stage: {row['stage']} of '{name}' is given twice at the {key[1]}; remove one row"
            )
        views[key] = None
    second = {stage for stage, side in views if (stage, "client") in views and side == "server"}
    return [{**row, "point": f"stage_{row['stage']}{'_server' if _is_second(row, second) else ''}"} for row in rows]


def _is_second(row: Row, second: set[int]) -> bool:
    return row["metrics_side"] == "server" and row["stage"] in second


def _between_the_sides(rows: Sequence[Row], notes: Notes) -> float | None:
    """Return the time between client and engine in ms, where both measured a stage: the mean over stages."""
    sides = {(row["stage"], row["metrics_side"]): row for row in rows}
    both = [
        (sides[stage, "client"], row)
        for (stage, side), row in sides.items()
        if side == "server" and (stage, "client") in sides
    ]
    columns = ("ttft_mean_ms", "e2e_mean_ms")
    more_ms = [
        client[name] - server[name] for client, server in both for name in columns if client[name] and server[name]
    ]
    if not more_ms:
        return None
    offset_ms = round(fmean(more_ms), 1)
    if min(more_ms) < 0:
        text = "At some stage the server saw more time than the client, so no time between both follows from the means."
        notes.say(Flag.FIGURES_CONTRADICT, text)
        return None
    text = f"Of stages that client and server both measured (n = {len(both)}), the client saw {offset_ms:g} ms more."
    notes.say(Flag.CLIENT_TIME_INCLUDED, f"{text} The comparison adds it to the simulated side.")
    notes.converted(f"client_offset_ms {offset_ms:g} was measured from stages that client and server both measured.")
    return offset_ms


def _note_assumptions(row: Row, notes: Notes) -> None:
    if "hardware" in row["assumed_fields"].split(";"):
        text = f"The hardware is not stated by the source; {row['hardware']} is assumed."
        notes.say(Flag.SETTING_ASSUMED, text)
    precision = row["precision"]
    named = precision.lower()[:3] in row["model_hf_id"].lower()
    if precision and not named and not re.search(r"16|half|auto", precision, re.IGNORECASE):
        text = f"The table states the precision {precision[:40]}; what is simulated is that of the model's description."
        notes.say(Flag.SETTING_ASSUMED, text)


def _load_point(source: str, row: Row, position: int, lost: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    point = row["point"]
    arrivals = _arrivals(source, row)
    found = _judged(row, arrivals, point, notes)
    stated = rates(row["requested_rate_rps"], found)
    return {
        "id": point,
        "arrivals": arrivals_as_sent(arrivals, found, row["num_requests"] or 0),
        "benchmark_index": row["stage"],
        **({"rate": stated} if stated else {}),
        **({"prompts_seen_before": True} if pool_prompts(row) and position else {}),
        "requests": dict(lost),
        "saturation": found.saturation,
        "measured": _measured(f"{source}: stage {row['stage']}", row, point, notes),
    }


def _arrivals(source: str, row: Row) -> dict[str, Any]:
    process, rate = row["arrival_process"], row["requested_rate_rps"]
    in_flight = _clients(row)
    if in_flight:
        return {"kind": "closed_loop", "concurrency": in_flight}
    if process == "all at once":
        return {"kind": "burst"}
    if rate and process in ("constant spacing", "constant"):
        return {"kind": "constant_rate", "rate_per_s": rate}
    if rate and ("exponential" in process or "poisson" in process.lower()):
        return {"kind": "poisson", "rate_per_s": rate, "rescaled": "rescaled" in process}
    raise ConfigError(
        f"{source}: stage {row['stage']}: arrival_process '{process[:60]}' with requested_rate_rps {rate} cannot be "
        "repeated; allowed: closed loop, <n> in flight; all at once; constant spacing or exponential gaps with a rate"
    )


def _clients(row: Row) -> int | None:
    """Return how many requests a closed loop keeps in flight; None where the load is none."""
    in_flight = _IN_FLIGHT.search(row["arrival_process"])
    if in_flight:
        return int(in_flight.group(1))
    closed = "closed" in f"{row['arrival_process']} {row['load_mode']}".lower()
    return row["max_concurrency"] if closed and not row["requested_rate_rps"] else None


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
        at_once=arrivals["kind"] == "burst",
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


def _settings(source: str, row: Row) -> tuple[dict[str, Any], dict[str, Any]]:
    stated = {name: row[column] for name, column in _SETTINGS.items() if row[column] is not None}
    stated |= {"software": f"vLLM {row['vllm_version']}"} if row["vllm_version"] else {}
    stated |= {"prefix_caching": _on(source, row)} if row["prefix_caching"] else {}
    guessed = {field.split(" ")[0] for field in row["assumed_fields"].split(";")}
    columns = _SETTINGS | {"software": "vllm_version", "prefix_caching": "prefix_caching"}
    assumed = {name: value for name, value in stated.items() if columns[name] in guessed}
    return {name: value for name, value in stated.items() if name not in assumed}, assumed


def _on(source: str, row: Row) -> bool:
    text = row["prefix_caching"]
    word = re.split(r"[^a-z0-9]", text.lower(), maxsplit=1)[0]
    if word not in _ON:
        raise ConfigError(f"{source}: column 'prefix_caching': must be on or off, got '{text[:40]}'")
    return _ON[word]


def _document(rows: Sequence[Row]) -> str:
    first = rows[0]
    if not first["source_repo"]:
        return ""
    paths = ", ".join(dict.fromkeys(row["source_path"] for row in rows))
    return f"{first['source_repo']} at commit {first['source_commit']}, {paths}"


def _tool(text: str) -> str:
    return next((tool for tool in ("guidellm", "inference-perf", "vllm-bench") if tool in text.lower()), "other")


def _site(row: Row) -> str | None:
    """Return who published a run, with which tool and on what it was measured; None where nobody is named."""
    owner = row["source_repo"].partition("/")[0]
    return "/".join((owner, _tool(row["client_tool"]), row["hardware"])) if owner else None


def _day(name: str, year: int | None) -> tuple[date | None, str]:
    """Return the day an experiment's id names, and how it is known; None where nothing states it."""
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
    return None, "Neither the experiment's name nor a year that was given says it."


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
