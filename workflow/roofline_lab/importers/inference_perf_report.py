"""The metrics files of inference-perf, one per stage, validated.

Contract: `read_stages` returns the stages of a results folder in order, or raises one `ConfigError`
with file and field. Facts about the layout: a real run of February 2026 (commit e8e0aa99), and the
report generator of inference-perf 0.7.0, which adds token counts of the server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from roofline_lab.ground_truth.json_stream import stream_values
from roofline_lab.importers.imported import (
    MS_PER_S,
    Foreign,
    Latency,
    WholeNumber,
    refuse_longer_than_run,
    refuse_other_tool,
)
from roofline_lab.importers.impossible import Mean, refuse_impossible
from simulator.errors import ConfigError
from simulator.validation import parse

STAGE_FILE = re.compile(r"stage_(\d{1,4})_lifecycle_metrics\.json(?:\.gz)?")
SUMMARY_FILE = "summary_lifecycle_metrics.json"
MAX_FILE_BYTES = 1 << 24

# Percentile names of the files by ours.
_RANKS = {"p50": "median", "p75": "p75", "p90": "p90", "p95": "p95", "p99": "p99", "p99.9": "p99.9", "max": "max"}


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean and percentiles of one latency."""

    mean: float
    ranks: Mapping[str, float]

    def at(self, rank: str) -> float | None:
        """Return a percentile, or None if the file does not have it."""
        return self.ranks.get(rank)

    def scaled(self, factor: float) -> Summary:
        """Return the same in another unit."""
        return Summary(self.mean * factor, {rank: value * factor for rank, value in self.ranks.items()})


class LoadSummary(Foreign):
    """What was sent in one stage."""

    count: WholeNumber
    requested_rate: Latency | None = None
    achieved_rate: Latency | None = None
    concurrency: WholeNumber | None = None


class _Mean(Foreign):
    mean: Latency


class _Latencies(Foreign):
    request_latency: dict[str, Latency]
    time_to_first_token: dict[str, Latency] | None = None
    time_per_output_token: dict[str, Latency] | None = None
    inter_token_latency: dict[str, Latency] | None = None


class _Throughput(Foreign):
    requests_per_sec: Latency


class _Successes(Foreign):
    count: WholeNumber
    latency: _Latencies | None = None
    throughput: _Throughput | None = None
    prompt_len: _Mean | None = None
    prompt_tokens: _Mean | None = None
    output_len: _Mean | None = None
    output_tokens: _Mean | None = None
    client_fallback_requests: dict[str, WholeNumber] = Field(default_factory=dict)


class _Failures(Foreign):
    count: WholeNumber


class _Report(Foreign):
    load_summary: LoadSummary
    successes: _Successes
    failures: _Failures


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage; latencies in seconds, as in the file.

    Attributes
    ----------
    number
        Its place in the run, from 0.
    output_is_from_server
        Whether the mean output length is the server's count.
    """

    id: str
    number: int
    path: Path
    load: LoadSummary
    completed: int
    failed: int
    ttft: Summary
    e2e: Summary
    tpot: Summary | None
    itl: Summary | None
    requests_per_s: float
    prompt_len_mean: float
    output_len_mean: float
    output_is_from_server: bool

    @property
    def file(self) -> str:
        """Name of the file, without folders."""
        return self.path.name


def read_stages(folder: Path) -> list[Stage]:
    """Read the stage files of a results folder; a lone summary stands for the one stage of a run.

    Raises
    ------
    ConfigError
        If there are none, or one of them is damaged or has no success.
    """
    found = {int(match.group(1)): path for path in folder.iterdir() if (match := STAGE_FILE.fullmatch(path.name))}
    if found:
        return [_stage(found[number], f"stage_{number}", number) for number in sorted(found)]
    for name in (SUMMARY_FILE, f"{SUMMARY_FILE}.gz"):
        if (folder / name).is_file():
            return [_stage(folder / name, "summary", 0)]
    raise ConfigError(
        f"{folder}: no stage_<n>_lifecycle_metrics.json and no {SUMMARY_FILE}; "
        "give the folder that inference-perf wrote, with its per-stage reports"
    )


def _stage(path: Path, name: str, number: int) -> Stage:
    document = _document(path)
    refuse_other_tool(path, document, "inference-perf")
    if not {"load_summary", "successes"} & document.keys():
        raise ConfigError(f"{path}: no load_summary and no successes; is this a stage report of inference-perf?")
    report = parse(_Report, document, source=str(path))
    done = report.successes
    if not done.count:
        raise ConfigError(f"{path}: successes.count: 0; without an answer nothing is measured")
    if done.count + report.failures.count > report.load_summary.count:
        raise ConfigError(f"{path}: load_summary.count: below successes and failures together; the file is damaged")
    latency = done.latency
    if latency is None or latency.time_to_first_token is None:
        raise ConfigError(
            f"{path}: successes.latency.time_to_first_token: missing; run inference-perf with api.streaming: true"
        )
    prompt, output = done.prompt_tokens or done.prompt_len, done.output_tokens or done.output_len
    missing = [
        key
        for key, value in (("prompt_len", prompt), ("output_len", output), ("throughput", done.throughput))
        if not value
    ]
    if prompt is None or output is None or done.throughput is None:
        raise ConfigError(f"{path}: successes.{missing[0]}: missing; is this a file of inference-perf?")
    if prompt.mean < 1:
        raise ConfigError(f"{path}: successes.prompt_len.mean: {prompt.mean:g}; every prompt has at least one token")
    e2e = _summary(path, "request_latency", latency.request_latency)
    if done.throughput.requests_per_sec:
        run_s = done.count / done.throughput.requests_per_sec
        refuse_longer_than_run(str(path), "successes.latency.request_latency", e2e.mean, run_s)
    ttft = _summary(path, "time_to_first_token", latency.time_to_first_token)
    refuse_impossible(
        str(path),
        ttft=Mean("successes.latency.time_to_first_token.mean", ttft.mean * MS_PER_S),
        e2e=Mean("successes.latency.request_latency.mean", e2e.mean * MS_PER_S),
    )
    return Stage(
        id=name,
        number=number,
        path=path,
        load=report.load_summary,
        completed=done.count,
        failed=report.failures.count,
        ttft=ttft,
        e2e=e2e,
        tpot=_optional(path, "time_per_output_token", latency.time_per_output_token),
        itl=_optional(path, "inter_token_latency", latency.inter_token_latency),
        requests_per_s=done.throughput.requests_per_sec,
        prompt_len_mean=prompt.mean,
        output_len_mean=output.mean,
        output_is_from_server=done.output_tokens is not None and not done.client_fallback_requests.get("output"),
    )


def _optional(path: Path, name: str, values: Mapping[str, float] | None) -> Summary | None:
    return None if values is None else _summary(path, name, values)


def _summary(path: Path, name: str, values: Mapping[str, float]) -> Summary:
    if "mean" not in values:
        raise ConfigError(f"{path}: successes.latency.{name}.mean: missing; it is required")
    ranks = {rank: values[key] for rank, key in _RANKS.items() if key in values}
    return Summary(values["mean"], ranks)


def _document(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: {size} bytes, far more than a summary has; is this a file of inference-perf?")
    return {str(place[-1]) if place else "": value for place, value in stream_values(path, frozenset({()}))}
