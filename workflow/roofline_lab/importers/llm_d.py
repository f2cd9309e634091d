"""Benchmark Reports of llm-d: one schema for what inference-perf, GuideLLM, vLLM's benchmark and others measure.

Contract: `read` accepts a report of version 0.1, 0.2 or 0.2.1 as YAML or JSON, or a folder of them, whose reports are
load points of one experiment. What a report describes and the simulator has no words for - prefill and decode on
servers of their own, several replicas behind a router, conversations of several turns, pictures or sound - is refused.
Units are those the report states. Which tool measured decides what its figures mean, so the checks of that tool hold
here too: GuideLLM's time per output token contains TTFT, early inference-perf counts lines of the stream. Facts about
the schema: the examples of llm-d-benchmark (`br_v0_1`, `br_v0_2`, `br_v0_2_1`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.kept_up import Load, fills_loop
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.common import (
    LARGEST,
    MS_PER_S,
    Foreign,
    Latency,
    Mean,
    Measurement,
    Notes,
    WholeNumber,
    arrivals_as_sent,
    constant_workload,
    day_of,
    judged,
    measured_metrics,
    measurement,
    rates,
    refuse_impossible,
    refuse_longer_than_run,
    request_counts,
    unrecorded_day,
)
from roofline_lab.importers.documents import document_values
from roofline_lab.importers.llm_d_scenario import Scenario, read_scenario
from roofline_lab.importers.server_facts import stated_by
from roofline_lab.importers.several import one_experiment, result_files
from roofline_lab.importers.stated_server import with_server
from roofline_lab.importers.tools import refuse_other_tool
from roofline_lab.importers.unmeasured import unmeasured_below
from simulator.errors import ConfigError
from simulator.validation import config_error, parse

TOOL = "llm-d"
MARKS = frozenset({"scenario"})
VERSIONS = ("0.1", "0.2", "0.2.1")
PATTERNS = tuple(f"*.{end}{gz}" for end in ("yaml", "yml", "json") for gz in ("", ".gz"))

# Milliseconds per unit of a latency, by the words of the schema.
UNITS_MS: Mapping[str, float] = {"s": 1000.0, "ms": 1.0, "us": 0.001, "s/token": 1000.0, "ms/token": 1.0}

# Our metrics, and the names of the schema.
LATENCIES = {
    "ttft": "time_to_first_token",
    "tpot": "time_per_output_token",
    "itl": "inter_token_latency",
    "e2e": "request_latency",
}
# Requests or tokens per second; no server reaches a millionth of it.
LARGEST_RATE_PER_S = 1e9
RANKS = ("mean", "p50", "p90", "p95", "p99")

_DURATION = re.compile(r"P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")


class _Statistics(Foreign):
    units: str
    mean: Latency
    min: Latency | None = None
    p1: Latency | None = None
    p5: Latency | None = None
    p10: Latency | None = None
    p25: Latency | None = None
    p50: Latency | None = None
    p90: Latency | None = None
    p95: Latency | None = None
    p99: Latency | None = None
    max: Latency | None = None


class _Lengths(Foreign):
    mean: Latency
    min: Latency | None = None


class _Requests(Foreign):
    total: WholeNumber
    failures: WholeNumber = 0
    incomplete: WholeNumber = 0
    input_length: _Lengths | None = None
    output_length: _Lengths | None = None


class _Latencies(Foreign):
    time_to_first_token: _Statistics | None = None
    time_per_output_token: _Statistics | None = None
    inter_token_latency: _Statistics | None = None
    request_latency: _Statistics | None = None


class _Figures(Foreign):
    """What both versions have of the requests, in version 0.2 under `results.request_performance.aggregate`."""

    requests: _Requests
    latency: _Latencies
    throughput: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class _Report:
    """One report: its place, figures, scenario and when it ran."""

    source: str
    version: str
    figures: _Figures
    scenario: Scenario
    run_s: float | None
    day: tuple[date | None, str]
    latencies: Mapping[str, float] = field(default_factory=dict)

    @property
    def completed(self) -> int:
        return self.figures.requests.total - self.figures.requests.failures - self.figures.requests.incomplete

    def mean(self, metric: str) -> float | None:
        """Return a mean latency in ms."""
        return self.latencies.get(f"{metric}_mean")


def read(path: Path) -> Measurement:
    """Read one report, or several as load points of one experiment.

    Raises
    ------
    ConfigError
        If one is no report of a known version, is damaged, has no success, or describes what is not modelled.
    """
    files, left_out = result_files(path, TOOL, PATTERNS, "a benchmark report of llm-d (YAML or JSON)")
    found = [_measurement(file, _report(file)) for file in files]
    return one_experiment(found, str(path if len(files) > 1 else files[0]), left_out)


# --- the file -------------------------------------------------------------------------------------


def _report(file: Path) -> _Report:
    document = dict(_top(file))
    refuse_other_tool(file, document, TOOL)
    version = str(document.get("version"))
    if "scenario" not in document or version not in VERSIONS:
        found = "no scenario" if "scenario" not in document else f"version {version[:20]}"
        raise ConfigError(
            f"{file}: not a benchmark report of llm-d that is known: {found}; known are the versions "
            f"{', '.join(VERSIONS)} with scenario, and metrics (0.1) or results (0.2)"
        )
    place = ("metrics",) if version == "0.1" else ("results", "request_performance", "aggregate")
    content = document
    for depth, key in enumerate(place, start=1):
        content = content.get(key) if isinstance(content, Mapping) else None  # type: ignore[assignment]
        if not isinstance(content, Mapping):
            raise ConfigError(f"{file}: {'.'.join(place[:depth])}: missing; it holds the figures of a report")
    source = f"{file}: {'.'.join(place)}"
    figures = parse(_Figures, content, source=source)
    time = _time(document, version)
    run_s = _run_s(f"{file}: time", time)
    report = _Report(source, version, figures, read_scenario(file, document), run_s, _day(file, time))
    return _checked(report)


def _top(file: Path) -> Iterator[tuple[str, Any]]:
    for place, value in document_values(file, frozenset({()}), "llm-d writes reports as plain YAML"):
        if not place or not isinstance(place[0], str):
            raise ConfigError(f"{file}: not a benchmark report of llm-d: it holds no keys at its top")
        yield place[0], value


def _time(document: Mapping[str, Any], version: str) -> Mapping[str, Any]:
    parent = document.get("metrics" if version == "0.1" else "run")
    time = parent.get("time") if isinstance(parent, Mapping) else None
    return time if isinstance(time, Mapping) else {}


def _run_s(source: str, time: Mapping[str, Any]) -> float | None:
    """Return how long the run took: seconds, or a duration of ISO 8601 such as PT49.97S."""
    stated = time.get("duration")
    if stated is None:
        return None
    if isinstance(stated, int | float) and not isinstance(stated, bool):
        # Whole numbers of any length are compared as they are: no float holds them.
        seconds = stated
    else:
        found = _DURATION.fullmatch(str(stated).strip()[:40])
        parts = [float(part or 0) for part in found.groups()] if found else []
        seconds = math.fsum(part * size for part, size in zip(parts, (86400, 3600, 60, 1), strict=False))
    if not 0 < seconds < 1e9:
        raise ConfigError(f"{source}.duration: must be seconds above 0 or like PT49.9S, got '{str(stated)[:40]}'")
    return seconds


def _day(file: Path, time: Mapping[str, Any]) -> tuple[date | None, str]:
    start = time.get("start")
    basis = "Start of the run, UTC, as the report has it."
    if isinstance(start, int | float) and not isinstance(start, bool):
        return day_of(float(max(-1, min(start, LARGEST))), f"{file}: metrics.time", "start"), basis
    if isinstance(start, datetime):
        return start.astimezone(UTC).date(), basis
    try:
        return datetime.fromisoformat(str(start)).astimezone(UTC).date(), basis
    except (ValueError, OverflowError):
        return unrecorded_day(file.absolute().parent)


def _checked(report: _Report) -> _Report:
    """Return the report with its latencies in ms, if they can be what a server did."""
    requests, problems = report.figures.requests, []
    if report.completed <= 0:
        problems.append(
            f"requests: {requests.total} in all, {requests.failures} failures and {requests.incomplete} incomplete; "
            "without an answer nothing is measured"
        )
    latencies: dict[str, float] = {}
    for metric, name in LATENCIES.items():
        given: _Statistics | None = getattr(report.figures.latency, name)
        if given is None:
            continue
        factor = UNITS_MS.get(given.units.strip().lower())
        if factor is None:
            problems.append(f"latency.{name}.units: '{given.units[:20]}'; allowed: {', '.join(UNITS_MS)}")
            continue
        values = {rank: getattr(given, rank) for rank in (*RANKS, "max")}
        latencies |= {f"{metric}_{rank}": value * factor for rank, value in values.items() if value is not None}
    if not problems and "ttft_mean" not in latencies and "e2e_mean" not in latencies:
        problems.append("latency: no time_to_first_token and no request_latency; one of them is required")
    problems += report.scenario.not_modelled
    if problems:
        raise config_error(report.source, problems)
    means = {
        metric: Mean(f"latency.{name}.mean", latencies[f"{metric}_mean"])
        for metric, name in LATENCIES.items()
        if f"{metric}_mean" in latencies
    }
    if report.run_s:
        for metric in ("ttft", "e2e"):
            if metric in means:
                refuse_longer_than_run(
                    report.source, means[metric].key, means[metric].value_ms / MS_PER_S, report.run_s
                )
    output = requests.output_length
    refuse_impossible(
        report.source,
        ttft=means.get("ttft"),
        e2e=means.get("e2e"),
        itl=means.get("itl"),
        tokens=output.mean if output else math.nan,
    )
    return _Report(report.source, report.version, report.figures, report.scenario, report.run_s, report.day, latencies)


# --- what it means --------------------------------------------------------------------------------


def _measurement(file: Path, report: _Report) -> Measurement:
    notes = Notes()
    lengths = _lengths(report)
    load_point = _load_point(report, lengths, notes)
    notes.say(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client.")
    notes.say(Flag.LENGTHS_UNKNOWN, "The report has no single requests; every request has the mean lengths.")
    scenario = report.scenario
    version = f"{report.version} of {scenario.tool}" + (f" {scenario.tool_version}" if scenario.tool_version else "")
    found = measurement(
        tool=TOOL,
        tool_version=f"Benchmark Report {version}",
        source=str(file),
        document=f"llm-d Benchmark Report {version}, {file.name}",
        measured_on=report.day,
        model_name=scenario.model,
        hardware=scenario.hardware,
        tensor_parallel=scenario.tensor_parallel,
        workload=constant_workload(*lengths, "Mean lengths of the report.", **scenario.prefix),
        load_points=[load_point],
        notes=notes,
    )
    return with_server(found, stated_by(f"{file}: scenario", scenario.server))


def _lengths(report: _Report) -> tuple[float, float]:
    """Return mean prompt and output length: as counted, else as the scenario asked for."""
    requests, missing = report.figures.requests, []
    found = []
    for key, counted in (("input", requests.input_length), ("output", requests.output_length)):
        value = counted.mean if counted is not None else report.scenario.lengths.get(key)
        if value is None or value < 1:
            missing.append(
                f"requests.{key}_length.mean: {'missing' if value is None else 'below 1'}; nothing says how long "
                f"{'prompts' if key == 'input' else 'answers'} were; add it, or "
                f"scenario.load.standardized.{key}_seq_len.value"
            )
        found.append(value or 1.0)
    if missing:
        raise config_error(report.source, missing)
    return found[0], found[1]


def _load_point(report: _Report, lengths: tuple[float, float], notes: Notes) -> dict[str, Any]:
    scenario, requests = report.scenario, report.figures.requests
    throughput_per_s = _throughput(report, "request_rate", "requests_per_sec")
    run_s = report.completed / throughput_per_s if throughput_per_s else report.run_s
    seconds = {f"{key}_s": value / MS_PER_S for key in ("ttft", "e2e") if (value := report.mean(key)) is not None}
    counts = {"sent": requests.total, "completed": report.completed, "failed": requests.failures}
    known = Load(**counts, run_s=run_s, **seconds)
    arrivals = _arrivals(report, known, notes)
    name = "report" if scenario.stage is None else f"stage_{scenario.stage}"
    load = Load(
        **counts,
        run_s=run_s,
        requested_per_s=arrivals.get("rate_per_s"),
        random_gaps=arrivals["kind"] == "poisson",
        in_flight=arrivals.get("concurrency"),
        at_once=arrivals["kind"] == "burst",
        longest_s=report.latencies["e2e_max"] / MS_PER_S if "e2e_max" in report.latencies else None,
        **seconds,
    )
    found = judged(load, notes, name)
    basis = f"The report's requests: {requests.total} in all, {requests.failures} failures, "
    basis += f"{requests.incomplete} incomplete."
    return {
        "id": name,
        "arrivals": arrivals_as_sent(arrivals, found, requests.total),
        "rate": rates(arrivals.get("rate_per_s"), found),
        "duration_s": run_s,
        "requests": request_counts(
            sent=requests.total,
            completed=report.completed,
            failed=requests.failures,
            cancelled=requests.incomplete,
            basis=basis,
        ),
        "saturation": found.saturation,
        "measured": _measured(report, lengths[1], throughput_per_s, notes, name),
    }


def _throughput(report: _Report, *names: str) -> float | None:
    """Return a throughput per second: a number in version 0.1, a distribution with its mean in 0.2."""
    for name in names:
        value = report.figures.throughput.get(name)
        value = value.get("mean") if isinstance(value, Mapping) else value
        if isinstance(value, int | float) and not isinstance(value, bool) and value != 0:
            if not 0 < value < LARGEST_RATE_PER_S:
                raise ConfigError(f"{report.source}: throughput.{name}: must be above 0 per second, got {value!r:.40}")
            return float(value)
    return None


def _arrivals(report: _Report, known: Load, notes: Notes) -> dict[str, Any]:
    scenario = report.scenario
    rate, width = scenario.rate_per_s, scenario.concurrency
    limit = width if width is not None and width < known.sent else None
    if limit is not None and (rate is None or fills_loop(known, limit)):
        return {"kind": "closed_loop", "concurrency": limit}
    if rate is None and width is not None:
        return {"kind": "burst"}
    if rate is None:
        raise ConfigError(
            f"{report.source}: scenario.load: no rate and no concurrency; nothing says how requests were sent; add "
            "scenario.load.standardized.rate_qps or concurrency"
        )
    if scenario.evenly_spaced:
        return {"kind": "constant_rate", "rate_per_s": rate, "first": "zero"}
    if not scenario.arrivals_stated:
        text = f"The report does not say how gaps between requests are; {scenario.tool} sends with random gaps."
        notes.say(Flag.SETTING_ASSUMED, text)
    return {"kind": "poisson", "rate_per_s": rate, **({"rescaled": True} if scenario.rescaled else {})}


def _measured(
    report: _Report, tokens: float, throughput_per_s: float | None, notes: Notes, name: str
) -> dict[str, Any]:
    values: dict[str, float | None] = {
        key: value for key, value in report.latencies.items() if not key.endswith("_max")
    }
    latency, output = report.figures.latency, report.figures.requests.output_length
    seen = {"ttft": latency.time_to_first_token, "e2e": latency.request_latency, "output": output}
    figures = {key: given.model_dump(exclude={"units"}) for key, given in seen.items() if given is not None}
    notes.flag(unmeasured_below(report.source, figures), "noted", name)
    values |= _corrections(report, tokens, notes, name)
    values["request_throughput"] = throughput_per_s or (report.completed / report.run_s if report.run_s else None)
    values["output_token_throughput"] = _throughput(report, "output_token_rate", "output_tokens_per_sec")
    notes.converted("Latencies are written in ms, from the units the report states.")
    return measured_metrics(report.source, values, {"tpot": "inter_token", "itl": "pooled_gaps"}, notes)


def _corrections(report: _Report, tokens: float, notes: Notes, name: str) -> dict[str, float | None]:
    """Return figures between tokens as their definition by the numbers allows, whatever tool they are of."""
    ttft, e2e, tpot = (report.mean(metric) for metric in ("ttft", "e2e", "tpot"))
    if ttft is None or e2e is None or tpot is None:
        return {}
    between: Sequence[str] = [f"{metric}_{rank}" for metric in ("tpot", "itl") for rank in RANKS]
    contains = lint.tpot_includes_ttft(ttft=ttft, e2e=e2e, tpot=tpot, tokens=tokens)
    if contains is not None:
        notes.flag(contains, "corrected", name)
        notes.converted("time_per_output_token contains TTFT and is not used; TPOT is the time between tokens.")
        return {key: None for key in between if key.startswith("tpot")} | {"tpot_mean": contains.value}
    lines = lint.stream_lines_counted(ttft=ttft, e2e=e2e, tpot=tpot, tokens=tokens)
    if lines is not None:
        notes.flag(lines, "corrected", name)
        notes.converted("Times between tokens counted blank lines of the stream; only their corrected mean is kept.")
        return {key: None for key in between} | {"tpot_mean": tpot * lines.value}
    return {}
