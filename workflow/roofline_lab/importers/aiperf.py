"""Results of NVIDIA's aiperf: its summary as JSON or CSV, and its single requests as JSON lines.

Contract: `read` accepts a folder of one run (`profile_export_aiperf.json`, `profile_export.jsonl`,
`profile_export_aiperf.csv`), one of these files, or a folder of such folders, whose runs become load points. Of one run
the JSON says the load, the lines hold every request, and the CSV repeats the figures with fewer digits: it is read
where it stands alone. Facts about the layout: real results of aiperf 0.1 and the sources of 0.13.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Any

from pydantic import Field, Strict

from roofline_lab.ground_truth.json_stream import stream_documents
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import checked_requests, refuse_too_many
from roofline_lab.importers.common import (
    LARGEST,
    MS_PER_S,
    Foreign,
    Measurement,
    Notes,
    day_of,
    measurement,
    unrecorded_day,
)
from roofline_lab.importers.metric_exports import (
    LOAD_POINT,
    Asked,
    Export,
    csv_export,
    json_export,
    load_point_of,
    named_by,
    workload_of,
)
from roofline_lab.importers.serving_requests import Answers, Row, answers_from
from roofline_lab.importers.several import one_experiment, result_files
from roofline_lab.importers.tools import at_the_top, refuse_other_tool
from roofline_lab.importers.trace import grouped
from simulator.errors import ConfigError
from simulator.validation import parse

TOOL = "aiperf"
MARKS = frozenset({"aiperf_version", "was_cancelled", "error_summary"})

PATTERNS = ("*.json", "*.jsonl", "*.csv", "*.json.gz", "*.jsonl.gz", "*.csv.gz")
# What else the tool and people keep beside results.
IGNORED = ("inputs*.json", "profile.json", "traces*", "*raw.jsonl*", "server_metrics*", "gpu_telemetry*", "*timeslice*")

NS_PER_S = 1_000_000_000
Nanoseconds = Annotated[int, Strict(), Field(ge=0, le=LARGEST * NS_PER_S)]
# A status that the client gives a request it gave up on.
CANCELLED_CODE = 499


class _Metadata(Foreign):
    timestamp_ns: Nanoseconds | None = None
    request_start_ns: Nanoseconds | None = None
    credit_phase: str | None = None
    benchmark_phase: str | None = None
    was_cancelled: bool | None = None


class _Line(Foreign):
    """One request of `profile_export.jsonl`."""

    metadata: _Metadata
    metrics: Mapping[str, Any] = {}
    error: Mapping[str, Any] | None = None


def recognises(top: Mapping[str, Any]) -> bool:
    """Say whether a file is of this tool that has no mark: its CSV and its JSON lines."""
    return {"Metric", "avg", "std"} <= top.keys() or {"metadata", "metrics", "error"} <= top.keys()


def read(path: Path) -> Measurement:
    """Read the results of one run, or of several as load points of one experiment.

    Raises
    ------
    ConfigError
        If they are not what aiperf writes, are damaged, or have no answered request.
    """
    files, left_out = result_files(path, TOOL, PATTERNS, "a result of aiperf (profile_export*)", IGNORED)
    runs: dict[Path, list[Path]] = {}
    for file in files:
        runs.setdefault(file.parent, []).append(file)
    found = [run for inside in runs.values() for run in _runs(inside)]
    return one_experiment(found, str(path if len(files) > 1 else files[0]), left_out)


def _runs(files: Sequence[Path]) -> Iterator[Measurement]:
    """Yield the runs of the files of one folder: of one run where they are of different kinds, else one for each."""
    kinds: dict[str, list[Path]] = {}
    for file in files:
        kinds.setdefault(file.name.removesuffix(".gz").rpartition(".")[2], []).append(file)
    summaries = kinds.get("json") or kinds.get("csv") or []
    lines = kinds.get("jsonl", [])
    if len(lines) > 1 and summaries and len(lines) != len(summaries):
        names = ", ".join(file.name for file in (*summaries, *lines))
        raise ConfigError(f"{files[0].parent}: which lines belong to which summary? found {names}; one run, one folder")
    pairs: list[tuple[Path | None, Path | None]]
    pairs = [(file, None) for file in summaries] or [(None, file) for file in lines]
    if summaries and lines:
        pairs = list(zip(summaries, lines, strict=False)) if len(lines) > 1 else [(summaries[0], lines[0])]
        pairs += [(file, None) for file in summaries[len(pairs) :]]
    yield from (_run(summary, requests) for summary, requests in pairs)


def _run(summary: Path | None, requests: Path | None) -> Measurement:
    export = Export(requests, {}) if summary is None and requests is not None else _summary(summary)
    if requests is not None:
        export = replace(export, answers=_answers(requests))
        _refuse_other_run(export, requests)
        if summary is None:
            export = _of_requests_alone(export, requests)
    notes = Notes()
    answers = export.answers
    if export.content.get("was_cancelled"):
        notes.say(Flag.PART_OF_THE_RUN, "The run was cancelled before its end; the figures stand for what was done.")
    elif export.content.get("is_complete") is False:
        notes.say(
            Flag.PART_OF_THE_RUN, f"The run is not complete: {str(export.content.get('incomplete_reason'))[:200]}."
        )
    for finding, treatment in answers.findings if answers else ():
        notes.flag(finding, treatment)
    notes.say(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client.")
    version = export.content.get("aiperf_version")
    names = ", ".join(file.name for file in (summary, requests) if file is not None)
    found = measurement(
        tool=TOOL,
        tool_version=version if isinstance(version, str) else None,
        source=export.source,
        document=f"aiperf {version} result {names}" if isinstance(version, str) else f"aiperf result {names}",
        measured_on=_day(export, requests),
        model_name=_model(export.config),
        workload=workload_of(export, TOOL, notes),
        load_points=[load_point_of(export, _asked(export), _lost(export), TOOL, notes)],
        notes=notes,
        requests=checked_requests(export.source, answers.requests) if answers and answers.timed else (),
    )
    sent = found.experiment.recorded()
    shared = tuple(grouped(found.experiment, sent))
    return replace(found, experiment=found.experiment.with_requests(shared)) if sent else found


# --- the summary ------------------------------------------------------------------------------


def _summary(file: Path | None) -> Export:
    assert file is not None
    if ".csv" in file.suffixes[-2:]:
        refuse_other_tool(file, dict(at_the_top(file)), TOOL)
        export = csv_export(file)
    else:
        export = json_export(file)
        refuse_other_tool(file, export.content, TOOL)
    if not any(export.value(name) is not None for name in ("ttft", "e2e", "tpot")):
        raise ConfigError(f"{file}: no latency of any request; is this a result that aiperf profile wrote?")
    return export


def _model(config: Mapping[str, Any]) -> str | None:
    endpoint, models = config.get("endpoint"), config.get("models")
    names = endpoint.get("model_names") if isinstance(endpoint, Mapping) else None
    if isinstance(models, Mapping) and isinstance(models.get("items"), list):
        names = [item.get("name") for item in models["items"] if isinstance(item, Mapping)]
    known = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return known[0] if len(known) == 1 else None


def _asked(export: Export) -> Asked:
    """Return the load of a configuration, of either layout, else that in the name of the folder."""
    config, phases = export.config, export.config.get("phases")
    loads = [phase for phase in phases if isinstance(phase, Mapping)] if isinstance(phases, list) else []
    measured = [phase for phase in loads if "warmup" not in (phase.get("kind"), phase.get("name"))]
    load = measured[-1] if measured else config.get("loadgen")
    if not isinstance(load, Mapping):
        return named_by(export.file.parent)
    concurrency, rate = load.get("concurrency"), load.get("rate", load.get("request_rate"))
    kind = str(load.get("type") or load.get("arrival_pattern") or load.get("request_rate_mode") or "poisson")
    smoothness = load.get("smoothness", load.get("arrival_smoothness"))
    return Asked(
        concurrency=concurrency if isinstance(concurrency, int) and 0 < concurrency <= LARGEST else None,
        rate_per_s=_positive(export, rate),
        kind=kind if kind in ("constant", "gamma") else "poisson",
        smoothness=_positive(export, smoothness),
    )


def _positive(export: Export, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LARGEST:
        raise ConfigError(f"{export.source}: input_config: a rate must be a positive number, got {value!r:.40}")
    return float(value)


def _lost(export: Export) -> dict[str, int]:
    """Return failed and cancelled requests; what is summed up by its kind is known better."""
    total = round(export.value("errors") or 0)
    cancelled = 0
    summary = export.content.get("error_summary")
    for entry in summary if isinstance(summary, list) else ():
        details = entry.get("error_details") if isinstance(entry, Mapping) else None
        if isinstance(details, Mapping) and _gave_up(details) and isinstance(entry.get("count"), int):
            cancelled += max(0, entry["count"])
    cancelled = min(cancelled, total)
    return {name: number for name, number in (("failed", total - cancelled), ("cancelled", cancelled)) if number}


def _gave_up(error: Mapping[str, Any]) -> bool:
    return error.get("code") == CANCELLED_CODE or "cancel" in str(error.get("type", "")).lower()


def _day(export: Export, requests: Path | None) -> tuple[date | None, str]:
    text = export.content.get("start_time")
    if text is not None:
        try:
            return datetime.fromisoformat(str(text)).date(), "The file's own date."
        except ValueError:
            raise ConfigError(f"{export.source}: start_time: must be an ISO time, got {text!r:.40}") from None
    start_s = export.value("start", "avg")
    if start_s:
        return day_of(start_s, export.source, "metadata.request_start_ns"), "The file's own times."
    return unrecorded_day(export.file.absolute().parent)


# --- single requests --------------------------------------------------------------------------


def _answers(file: Path) -> Answers:
    """Return the requests of a file of lines, without those of a warm-up."""
    rows = []
    for number, place, value in stream_documents(file, frozenset()):
        source = f"{file}: line {number + 1}"
        if place or not isinstance(value, Mapping):
            raise ConfigError(f"{source}: must be a record of one request")
        refuse_other_tool(file, value, TOOL)
        refuse_too_many(str(file), number + 1)
        line = parse(_Line, value, source=source)
        if "warmup" not in (line.metadata.credit_phase, line.metadata.benchmark_phase):
            rows.append(_row(source, line))
    if not rows:
        raise ConfigError(f"{file}: no request outside a warm-up; without an answer nothing is measured")
    return answers_from(str(file), rows, timed=all(row.start_s for row in rows), load_point=LOAD_POINT)


def _row(source: str, line: _Line) -> Row:
    start_ns = line.metadata.request_start_ns or line.metadata.timestamp_ns or 0
    error = line.error
    lost = ""
    if error or line.metadata.was_cancelled:
        lost = "cancelled" if line.metadata.was_cancelled or _gave_up(error or {}) else "failed"
    values = {name: _value(source, name, entry) for name, entry in line.metrics.items() if name in _USED}
    gaps_ms = values.get("inter_chunk_latency") or []
    gaps_ms = gaps_ms if isinstance(gaps_ms, list) else [gaps_ms]
    ttft_ms = _one(values.get("time_to_first_token", values.get("ttft")))
    e2e_ms = _one(values.get("request_latency"))
    if ttft_ms > e2e_ms > 0:
        raise ConfigError(f"{source}: time to first token {ttft_ms:g} ms is above the request latency {e2e_ms:g} ms")
    prompt, output = (round(_one(values.get(f"{side}_sequence_length"))) for side in ("input", "output"))
    if output and not prompt and not lost:
        raise ConfigError(f"{source}: metrics.input_sequence_length: missing or 0; an answer has a prompt")
    return Row(
        start_s=start_ns / NS_PER_S,
        prompt=prompt,
        output=output,
        lost=lost,
        ttft_s=ttft_ms / MS_PER_S,
        decode_s=(e2e_ms - ttft_ms) / MS_PER_S if e2e_ms else 0.0,
        first_gap_s=gaps_ms[0] / MS_PER_S if gaps_ms else 0.0,
        typical_gap_s=median(gaps_ms[1:]) / MS_PER_S if len(gaps_ms) > 1 else 0.0,
        gaps=len(gaps_ms),
    )


# Metrics of a line that are used, and what one of their unit is in ms or tokens.
_USED = (
    "time_to_first_token",
    "ttft",
    "request_latency",
    "inter_chunk_latency",
    "input_sequence_length",
    "output_sequence_length",
)
_UNITS = {"ms": 1.0, "sec": MS_PER_S, "s": MS_PER_S, "us": 1e-3, "ns": 1e-6, "tokens": 1.0}


def _value(source: str, name: str, entry: object) -> float | list[float]:
    unit = entry.get("unit") if isinstance(entry, Mapping) else None
    value = entry.get("value") if isinstance(entry, Mapping) else None
    if not isinstance(unit, str) or unit not in _UNITS:
        raise ConfigError(f"{source}: metrics.{name}.unit: must be one of {', '.join(_UNITS)}, got {unit!r:.40}")
    values: list[Any] = value if isinstance(value, list) else [value]
    for one in values:
        if isinstance(one, bool) or not isinstance(one, int | float) or not 0 <= one <= LARGEST * MS_PER_S:
            raise ConfigError(f"{source}: metrics.{name}.value: must be a number, 0 or greater, got {one!r:.40}")
    found = [float(one) * _UNITS[unit] for one in values]
    return found if isinstance(value, list) else found[0]


def _one(value: float | list[float] | None) -> float:
    return 0.0 if value is None or isinstance(value, list) else value


def _refuse_other_run(export: Export, requests: Path) -> None:
    """Refuse lines that are not those of the summary."""
    counted, answers = export.value("completed"), export.answers
    if counted is None or answers is None:
        return
    listed = answers.completed + answers.lost.get("without_output", 0)
    if round(counted) not in (answers.completed, listed):
        raise ConfigError(
            f"{requests}: {listed} answered requests, but {export.file.name} has a request_count of {counted:g}; are "
            "the files of one run?"
        )


def _of_requests_alone(export: Export, requests: Path) -> Export:
    """Return an export whose few needed figures follow from its requests."""
    answers = export.answers
    assert answers is not None
    if not answers.e2e_ms or not answers.timed:
        return export
    ends = [one.arrival_us / 1e6 + (one.e2e_ms or 0.0) / MS_PER_S for one in answers.requests]
    run_s = max(ends)
    metrics = {
        "duration": {"avg": run_s},
        "output_token_throughput": {"avg": answers.output_tokens / run_s},
        "ttft": {"avg": sum(answers.ttft_ms) / len(answers.ttft_ms)} if answers.ttft_ms else {},
        "e2e": {"avg": sum(answers.e2e_ms) / len(answers.e2e_ms)},
        "start": {"avg": answers.first_s},
    }
    return replace(export, metrics=metrics)
