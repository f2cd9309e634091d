"""The summary that aiperf and genai-perf write: one entry per metric with its unit and statistics, as JSON or CSV.

Contract: `json_export` and `csv_export` read one file into an `Export`, `load_point_of` and `workload_of` say what it
means. Latencies become ms and durations seconds by the unit the file names; a unit nobody knows is refused. Facts about
the layout: `exporters/metrics_json_exporter.py` and `metrics_csv_exporter.py` of aiperf 0.1 and 0.13, `export_data` of
genai-perf 0.0.16. Their inter-token latency is (E2E - TTFT) / (N - 1) of each request, so it is our TPOT; their
inter-chunk latency is the pool of all gaps, our ITL where chunks are tokens.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth.json_stream import READ_ERRORS, open_text, stream_values
from roofline_lab.ground_truth.kept_up import Judgement, Load, fills_loop
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.common import (
    CONVERSATIONS,
    LARGEST,
    MS_PER_S,
    US_PER_S,
    Mean,
    Notes,
    arrivals_as_sent,
    constant_workload,
    judged,
    measured_metrics,
    rates,
    refuse_impossible,
    refuse_longer_than_run,
    request_counts,
    scattered_lengths,
)
from roofline_lab.importers.serving_requests import Answers
from roofline_lab.importers.unmeasured import unmeasured_below
from simulator.errors import ConfigError
from simulator.input_files import csv_records, unreadable

LOAD_POINT = "profile"

# Metrics by the tags of JSON (an underscore for each space of the CSV's names), and what they are here.
METRICS: Mapping[str, str] = {
    "time_to_first_token": "ttft",
    "ttft": "ttft",
    "inter_token_latency": "tpot",
    "inter_chunk_latency": "itl",
    "request_latency": "e2e",
    "input_sequence_length": "prompt",
    "output_sequence_length": "output",
    "request_count": "completed",
    "error_request_count": "errors",
    "benchmark_duration": "duration",
    "request_throughput": "request_throughput",
    "output_token_throughput": "output_token_throughput",
}
LATENCIES = ("ttft", "tpot", "itl", "e2e")
STATISTICS = {"mean": "avg", "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}

# Of a latency in ms, of a duration in s.
_MS = {"ms": 1.0, "milliseconds": 1.0, "s": MS_PER_S, "sec": MS_PER_S, "seconds": MS_PER_S, "us": 1e-3, "ns": 1e-6}
_UNIT_IN_A_NAME = re.compile(r"(.*?)\s*(?:\(([^()]*)\))?\s*")

# What the tools call the length of shared beginnings of prompts, and the number of different ones.
_PREFIX_TOKENS = ("length", "shared_system_prompt_length", "prefix_prompt_length")
_PREFIX_NUMBERS = ("pool_size", "num", "num_prefix_prompts")

# Chunks are tokens where their number is that of the tokens but for so much.
SAME_NUMBER = 0.02

_IN_A_FOLDER = {
    "concurrency": re.compile(r"concurrency[_-]?(\d+)"),
    "rate": re.compile(r"request[_-]rate[_-]?(\d+(?:\.\d+)?)"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the client was told to send; `kind` is constant, poisson or gamma."""

    concurrency: int | None = None
    rate_per_s: float | None = None
    kind: str = "constant"
    smoothness: float | None = None
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Export:
    """One summary.

    Attributes
    ----------
    file
        Where it stands.
    metrics
        Statistics by our metric, latencies in ms and the duration in s.
    content
        What else is at the top of a JSON file.
    answers
        Its single requests, where they are recorded.
    """

    file: Path
    metrics: Mapping[str, Mapping[str, float]]
    content: Mapping[str, Any] = field(default_factory=dict)
    answers: Answers | None = None

    @property
    def source(self) -> str:
        """What messages call it."""
        return str(self.file)

    def value(self, metric: str, statistic: str = "avg") -> float | None:
        """Return one figure, None where the file has none."""
        return self.metrics.get(metric, {}).get(statistic)

    @property
    def config(self) -> Mapping[str, Any]:
        """The client's configuration."""
        found = self.content.get("input_config")
        return found if isinstance(found, Mapping) else {}


# --- files ------------------------------------------------------------------------------------


def json_export(file: Path) -> Export:
    """Read the summary of a JSON file.

    Raises
    ------
    ConfigError
        If it is no JSON object, or a metric has a unit or a value that it cannot have.
    """
    content: dict[str, Any] = {}
    for place, value in stream_values(file, frozenset({()})):
        if not place or not isinstance(place[0], str):
            raise ConfigError(f"{file}: not a summary of metrics: the file is no JSON object")
        content[place[0]] = value
    records = content.get("records")
    entries = records if isinstance(records, Mapping) else content
    metrics = {}
    for tag, entry in entries.items():
        if tag in METRICS and isinstance(entry, Mapping):
            statistics = {name: value for name, value in entry.items() if _is_statistic(name)}
            metrics[METRICS[tag]] = _converted(f"{file}: {tag}", METRICS[tag], entry.get("unit"), statistics)
    return Export(file, metrics, content)


def csv_export(file: Path) -> Export:
    """Read the summary of a CSV file.

    Raises
    ------
    ConfigError
        If it cannot be read, or a metric has a unit or a value that it cannot have.
    """
    metrics: dict[str, Mapping[str, float]] = {}
    try:
        with open_text(file) as stream:
            for header, cells in _rows(csv_records(stream, str(file))):
                name, unit = _UNIT_IN_A_NAME.fullmatch(cells[0].strip()).groups()  # type: ignore[union-attr]
                metric = METRICS.get(name.lower().replace(" ", "_"))
                if metric is None or metric in metrics:
                    continue
                statistics = {"avg" if key == "Value" else key: text for key, text in zip(header, cells, strict=False)}
                given = {key: text for key, text in statistics.items() if _is_statistic(key) and text.strip()}
                metrics[metric] = _converted(f"{file}: {name}", metric, unit, given)
    except READ_ERRORS as error:
        raise unreadable(file, error) from None
    return Export(file, metrics)


def _rows(records: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield header and cells of every row of the tables whose first column is `Metric`."""
    header: list[str] = []
    for _, cells in records:
        if not cells or not any(cells):
            header = []
        elif not header:
            header = [cell.strip() for cell in cells]
        elif header[0] == "Metric":
            yield header, cells


def _is_statistic(name: str) -> bool:
    return name in ("avg", "min", "max", "std", "count") or re.fullmatch(r"p\d{1,2}", name) is not None


def _converted(source: str, metric: str, unit: object, statistics: Mapping[str, object]) -> dict[str, float]:
    factor = 1.0
    if metric in LATENCIES or metric == "duration":
        if str(unit) not in _MS:
            raise ConfigError(f"{source}: unit: must be one of {', '.join(_MS)}, got {unit!r:.40}")
        factor = _MS[str(unit)] / (MS_PER_S if metric == "duration" else 1.0)
    found = {}
    for name, value in statistics.items():
        if value is None:
            continue
        number = _number(value)
        if number is None:
            raise ConfigError(f"{source}: {name}: must be a number, 0 or greater, got {value!r:.40}")
        found[name] = number if name == "count" else number * factor
    return found


def _number(value: object) -> float | None:
    try:
        # Thousands are set apart in the CSV of genai-perf.
        number = float(value.replace(",", "")) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if not isinstance(value, bool) and 0 <= number <= LARGEST * MS_PER_S**3 else None


# --- load -------------------------------------------------------------------------------------


def named_by(folder: Path) -> Asked:
    """Return the load in the name of a folder, as both tools name those of their results."""
    name = folder.absolute().name
    concurrency, rate = (pattern.search(name) for pattern in _IN_A_FOLDER.values())
    return Asked(concurrency=int(concurrency[1]) if concurrency else None, rate_per_s=float(rate[1]) if rate else None)


def load_point_of(export: Export, asked: Asked, lost: Mapping[str, int], tool: str, notes: Notes) -> dict[str, Any]:
    """Return a load point as the format writes it.

    Parameters
    ----------
    lost
        Why requests are in no figure, by the names of `RequestCounts`.
    tool
        What messages call what wrote it.

    Raises
    ------
    ConfigError
        If the export does not say what a load point needs, or cannot be.
    """
    answers = export.answers
    completed = answers.completed if answers else _completed(export)
    lost = answers.lost if answers else lost
    sent = max(answers.sent if answers else 0, completed + sum(lost.values()))
    load = _load(export, completed, sent, lost.get("failed", 0))
    arrivals = _arrivals(export, asked, load, tool)
    recorded_us = [request.arrival_us for request in answers.requests] if answers and answers.timed else []
    found = _judged(arrivals, load, answers, recorded_us, notes)
    if arrivals["kind"] != "recorded":
        arrivals = arrivals_as_sent(arrivals, found, sent, recorded_us)
    basis = f"{export.file.name}: {completed} answered, {sent - completed} not."
    return {
        "id": LOAD_POINT,
        "arrivals": arrivals,
        "rate": rates(arrivals.get("rate_per_s"), found),
        "duration_s": load.run_s,
        "requests": request_counts(sent=sent, completed=completed, basis=basis, **lost),
        "saturation": found.saturation,
        "measured": _measured(export, completed, load, notes),
    }


def _completed(export: Export) -> int:
    counted = export.value("completed")
    if counted is None:
        counted = next((stats["count"] for name, stats in export.metrics.items() if "count" in stats), None)
    if counted is None:
        raise ConfigError(f"{export.source}: no request_count: how many requests are behind the figures is not said")
    if not counted or counted != round(counted) or counted > LARGEST:
        raise ConfigError(f"{export.source}: request_count: must be a whole number above 0, got {counted:g}")
    return round(counted)


def _load(export: Export, completed: int, sent: int, failed: int) -> Load:
    ttft, e2e = (export.value(name) or export.value(name, "p50") for name in ("ttft", "e2e"))
    run_s = export.value("duration") or None
    throughput = export.value("request_throughput")
    if run_s is None and throughput:
        run_s = _completed(export) / throughput if export.value("completed") else completed / throughput
    return Load(
        sent=sent,
        completed=completed,
        failed=failed,
        run_s=run_s,
        ttft_s=ttft / MS_PER_S if ttft else None,
        e2e_s=e2e / MS_PER_S if e2e else None,
    )


def _arrivals(export: Export, asked: Asked, load: Load, tool: str) -> dict[str, Any]:
    limit = asked.concurrency if asked.concurrency and asked.concurrency < load.sent else None
    if asked.rate_per_s is None and asked.concurrency is not None:
        return {"kind": "closed_loop", "concurrency": limit} if limit else {"kind": "burst"}
    if asked.rate_per_s is None:
        return _recorded(export, tool)
    if limit and fills_loop(load, limit):
        return {"kind": "closed_loop", "concurrency": limit}
    if asked.kind == "constant":
        return {"kind": "constant_rate", "rate_per_s": asked.rate_per_s}
    if asked.kind == "gamma" and asked.smoothness not in (None, 1.0):
        # Gaps of shape `smoothness`, whose coefficient of variation is its inverse root.
        return {"kind": "gamma", "rate_per_s": asked.rate_per_s, "cv": float(asked.smoothness or 1.0) ** -0.5}
    return {"kind": "poisson", "rate_per_s": asked.rate_per_s}


def _recorded(export: Export, tool: str) -> dict[str, Any]:
    answers = export.answers
    if answers is None or not answers.timed:
        raise ConfigError(
            f"{export.source}: {tool} result, but neither the file nor the name of its folder says how requests were "
            "sent; give the JSON summary that the tool writes beside it, or a folder whose name says it, such as "
            "'llama-openai-chat-concurrency8' or '...-request_rate4'"
        )
    return {"kind": "recorded", "arrival_us": tuple(request.arrival_us for request in answers.requests)}


def _judged(
    arrivals: Mapping[str, Any], load: Load, answers: Answers | None, recorded_us: list[int], notes: Notes
) -> Judgement:
    if arrivals["kind"] == "burst":
        return Judgement("saturated", "Everything is sent at once.")
    known = Load(
        **{name: getattr(load, name) for name in ("sent", "completed", "failed", "run_s", "ttft_s", "e2e_s")},
        requested_per_s=arrivals.get("rate_per_s"),
        random_gaps=arrivals["kind"] in ("poisson", "gamma"),
        in_flight=arrivals.get("concurrency"),
        arrivals_s=[arrival_us / US_PER_S for arrival_us in recorded_us],
        waits=answers.ttft_ms if answers else (),
    )
    return judged(known, notes, LOAD_POINT)


# --- figures ----------------------------------------------------------------------------------


def _measured(export: Export, completed: int, load: Load, notes: Notes) -> dict[str, Any]:
    names = {"ttft": "time to first token", "e2e": "request latency"}
    means = {name: Mean(names[name], value) if (value := export.value(name)) else None for name in names}
    refuse_impossible(export.source, ttft=means["ttft"], e2e=means["e2e"])
    for name, mean in means.items():
        if mean is not None and load.run_s:
            refuse_longer_than_run(export.source, names[name], mean.value_ms / MS_PER_S, load.run_s)
    values: dict[str, float | None] = {
        f"{name}_{statistic}": export.value(name, theirs)
        for name in LATENCIES
        for statistic, theirs in STATISTICS.items()
    }
    if not _chunks_are_tokens(export):
        values |= {f"itl_{statistic}": None for statistic in STATISTICS}
        if export.value("itl") is not None:
            notes.converted("Gaps between chunks are left out: nothing says that every chunk was one token.")
    values |= {name: export.value(name) for name in ("request_throughput", "output_token_throughput")}
    if export.answers:
        notes.converted("TTFT, TPOT and E2E are formed from the single requests.")
        values |= export.answers.statistics()
        values["request_throughput"] = completed / load.run_s if load.run_s else None
    else:
        notes.flag(unmeasured_below(export.source, export.metrics), "noted")
        notes.converted("Inter-token latency is (E2E - TTFT) / (N - 1) of each request: time per output token.")
    return measured_metrics(export.source, values, {"tpot": "inter_token", "itl": "pooled_gaps"}, notes)


def _chunks_are_tokens(export: Export) -> bool:
    chunks, tokens, answers = (export.value(*of) for of in (("itl", "count"), ("output", "avg"), ("output", "count")))
    if not chunks or not tokens or not answers:
        return False
    return math.isclose(chunks, (tokens - 1) * answers, rel_tol=SAME_NUMBER)


def refuse_conversations(export: Export) -> None:
    """Refuse turns of conversations.

    Raises
    ------
    ConfigError
        If the client was told to hold any.
    """
    given = _mapping(export.config.get("input"))
    turn = _mapping(_mapping(given.get("conversation")).get("turn")).get("mean")
    turns = turn if turn is not None else _mapping(given.get("sessions")).get("turns")
    mean = _mapping(turns).get("mean") if isinstance(turns, Mapping) else turns
    if isinstance(mean, int | float) and mean > 1:
        raise ConfigError(f"{export.source}: input_config.input: {mean:g} turns: {CONVERSATIONS}")


def _shared_prefix(export: Export, prompt_tokens: float) -> dict[str, Any]:
    """Return the prefixes that prompts were made to begin with; lengths of prompts contain them.

    Source: `prefix_prompt` of both tools, a pool of which every request draws one.
    """
    given = _mapping(export.config.get("input"))
    found = _mapping(_mapping(given.get("prompt")).get("prefix_prompt") or given.get("prefix_prompt"))
    whole = {
        name: value
        for name, value in {**_older(export.config), **found}.items()
        if isinstance(value, int) and not isinstance(value, bool) and value > 0
    }
    tokens = next((whole[name] for name in _PREFIX_TOKENS if name in whole), 0)
    if not 0 < tokens < prompt_tokens:
        return {}
    groups = next((whole[name] for name in _PREFIX_NUMBERS if name in whole), 1)
    several = {"groups": groups} if groups > 1 else {}
    return {"kind": "shared", "tokens": tokens, "counted": "included", **several}


def _older(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of earlier releases, which stood at the top."""
    return {name: config[name] for name in ("prefix_prompt_length", "num_prefix_prompts") if name in config}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def workload_of(export: Export, tool: str, notes: Notes) -> dict[str, Any]:
    """Return the workload: recorded requests, or their mean lengths.

    Raises
    ------
    ConfigError
        If the lengths are not known.
    """
    refuse_conversations(export)
    answers = export.answers
    if answers:
        prompt, output = answers.prompt_tokens / answers.completed, answers.output_tokens / answers.completed
    else:
        prompt, output = (export.value(name) or 0.0 for name in ("prompt", "output"))
    if not prompt or not output:
        raise ConfigError(
            f"{export.source}: {tool} result without input or output sequence length, so that nothing can be "
            "simulated; give the JSON summary that the tool writes beside it"
        )
    prefix = _shared_prefix(export, prompt)
    if answers and answers.timed:
        return constant_workload(prompt, output, "Recorded requests are replayed; these are means.", **prefix)
    workload = constant_workload(prompt, output, "Mean lengths of the file.", **prefix)
    spread = {
        side: lengths
        for side, mean in (("prompt", prompt), ("output", output))
        if (lengths := scattered_lengths(mean, *(export.value(side, name) for name in ("std", "min", "max"))))
    }
    how = "Lengths are drawn with the deviation and the limits" if spread else "Every request has the mean lengths"
    notes.say(Flag.LENGTHS_UNKNOWN, f"{how} of the file; when single requests were sent is not recorded.")
    return {**workload, **spread}
