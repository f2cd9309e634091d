"""The file layout of GuideLLM reports, read benchmark by benchmark and validated.

Contract: `read_report` returns the head of a report and its benchmarks as `Point`s, or raises one
`ConfigError` with file and field: another version, a missing or negative figure, no successful
request. Facts about the layouts: a real report of version 1 (GuideLLM 0.6.0.dev5), and the schemas
of GuideLLM 0.5.2 (version 1, arguments under `args`) and 0.8.1 (version 2, under `config`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth.json_stream import EACH, Place, stream_values
from roofline_lab.ground_truth.requests import MeasuredRequest, checked_requests, refuse_too_many
from roofline_lab.importers.imported import (
    MS_PER_S,
    SHARED_GROUP,
    US_PER_S,
    Foreign,
    Latency,
    Number,
    WholeNumber,
    refuse_longer_than_run,
    refuse_other_tool,
)
from roofline_lab.importers.impossible import Mean, refuse_impossible
from simulator.errors import ConfigError
from simulator.validation import parse
from simulator.workload.build import MAX_REQUESTS

VERSIONS = (1, 2)
STATUSES = ("successful", "errored", "incomplete")

# Containers of a report that are read entry by entry.
_BENCHMARK = ("benchmarks", EACH)
DESCEND = frozenset(
    {(), ("benchmarks",), _BENCHMARK, (*_BENCHMARK, "requests")}
    | {(*_BENCHMARK, "requests", status) for status in STATUSES}
)


class _Percentiles(Foreign):
    p50: Latency
    p90: Latency
    p95: Latency
    p99: Latency


class Summary(Foreign):
    """Distribution of one metric over the requests of one status."""

    mean: Latency
    max: Latency
    percentiles: _Percentiles


class _ByStatus(Foreign):
    successful: Summary


class _Totals(Foreign):
    successful: WholeNumber
    errored: WholeNumber
    incomplete: WholeNumber


class _Metrics(Foreign):
    request_totals: _Totals
    request_latency: _ByStatus
    time_to_first_token_ms: _ByStatus
    time_per_output_token_ms: _ByStatus
    inter_token_latency_ms: _ByStatus
    prompt_token_count: _ByStatus
    output_token_count: _ByStatus


class _Strategy(Foreign):
    type_: str
    rate: Number | None = None
    streams: WholeNumber | None = None
    max_concurrency: WholeNumber | None = None


class _Config(Foreign):
    run_index: WholeNumber
    strategy: _Strategy


class _Scheduler(Foreign):
    requests_made: _Totals


class _Benchmark(Foreign):
    config: _Config
    metrics: _Metrics
    scheduler_metrics: _Scheduler | None = None
    start_time: Latency
    end_time: Latency


class Request(Foreign):
    """One request; `request_latency` is in seconds."""

    request_id: str
    response_id: str | None = None
    prompt_tokens: WholeNumber | None = None
    output_tokens: WholeNumber | None = None
    request_start_time: Latency | None = None
    request_latency: Latency | None = None
    time_to_first_token_ms: Latency | None = None


@dataclass(slots=True)
class _Raw:
    """One benchmark as the stream gives it: fields, and its requests by status."""

    fields: dict[str, Any] = field(default_factory=dict)
    requests: dict[str, list[Request]] = field(default_factory=lambda: {status: [] for status in STATUSES})


class Point:
    """One benchmark, validated."""

    def __init__(self, source: str, raw: _Raw) -> None:
        self.source = source
        self.benchmark = parse(_Benchmark, raw.fields, source=source)
        totals = self.benchmark.metrics.request_totals
        # The scheduler also counts what a warm-up or a cool-down keeps out of the figures.
        made = self.benchmark.scheduler_metrics.requests_made if self.benchmark.scheduler_metrics else totals
        self.completed = totals.successful
        self.failed = max(totals.errored, made.errored)
        measured = totals.successful + totals.errored + totals.incomplete
        self.sent = max(measured, made.successful + made.errored + made.incomplete)
        if not self.completed:
            raise ConfigError(f"{source}: metrics.request_totals.successful: 0; without an answer nothing is measured")
        if self.sent > MAX_REQUESTS:
            raise ConfigError(f"{source}: metrics.request_totals: {self.sent}, but at most {MAX_REQUESTS} are read")
        if self.benchmark.end_time <= self.benchmark.start_time:
            raise ConfigError(f"{source}: end_time is not after start_time; the report is damaged")
        for name in ("prompt_token_count", "output_token_count"):
            if self.summary(name).mean < 1:
                raise ConfigError(
                    f"{source}: metrics.{name}.successful.mean: below 1; the server must count its tokens"
                )
        run_s = self.benchmark.end_time - self.benchmark.start_time
        means = self.benchmark.metrics
        refuse_longer_than_run(source, "metrics.request_latency", means.request_latency.successful.mean, run_s)
        ttft_s = means.time_to_first_token_ms.successful.mean / MS_PER_S
        refuse_longer_than_run(source, "metrics.time_to_first_token_ms", ttft_s, run_s)
        self._refuse_mixed_units()
        self.index = self.benchmark.config.run_index
        self.strategy = self.benchmark.config.strategy
        self.successful = sorted(raw.requests["successful"], key=lambda request: request.request_start_time or 0.0)

    def _refuse_mixed_units(self) -> None:
        e2e_ms = self.summary("request_latency").mean * MS_PER_S
        others = {
            name: Mean(f"metrics.{key}.successful.mean", self.summary(key).mean)
            for name, key in (("ttft", "time_to_first_token_ms"), ("itl", "inter_token_latency_ms"))
        }
        e2e = Mean("metrics.request_latency.successful.mean", e2e_ms)
        refuse_impossible(self.source, **others, e2e=e2e, tokens=self.summary("output_token_count").mean)

    @property
    def id(self) -> str:
        """Strategy with its rate or width, and the benchmark's position."""
        width = self.strategy.rate if self.strategy.rate is not None else self.strategy.streams
        return f"{self.index:02d}-{self.strategy.type_}" + (f"-{width:g}" if width is not None else "")

    def summary(self, name: str) -> Summary:
        """Return the distribution over successful requests."""
        by_status: _ByStatus = getattr(self.benchmark.metrics, name)
        return by_status.successful

    @property
    def answered(self) -> list[Request]:
        """Recorded successful requests that have every latency."""
        return [
            request
            for request in self.successful
            if request.request_latency is not None and request.time_to_first_token_ms
        ]

    @property
    def all_recorded(self) -> bool:
        """Whether every successful request is in the file, with its latencies and lengths."""
        whole = [request for request in self.answered if request.prompt_tokens and request.request_start_time]
        return len(whole) == self.completed

    def requests(self, prefix_tokens: int) -> tuple[MeasuredRequest, ...]:
        """Return the successful requests in our form."""
        first_s = self.successful[0].request_start_time or 0.0
        found = [
            MeasuredRequest(
                load_point=self.id,
                id=request.request_id,
                arrival_us=round(((request.request_start_time or 0.0) - first_s) * US_PER_S),
                prompt_tokens=request.prompt_tokens or 1,
                output_tokens=request.output_tokens or 0,
                prefix_group=SHARED_GROUP if prefix_tokens else None,
                prefix_tokens=min(prefix_tokens, request.prompt_tokens or 1),
                ttft_ms=request.time_to_first_token_ms,
                e2e_ms=(request.request_latency or 0.0) * MS_PER_S,
            )
            for request in self.successful
        ]
        return checked_requests(f"{self.source}.requests.successful", found)


def read_report(file: Path) -> tuple[dict[str, Any], list[Point]]:
    """Return what stands outside of `benchmarks`, and the benchmarks.

    Raises
    ------
    ConfigError
        If the file is no GuideLLM report, of an unknown version, or damaged.
    """
    report, raws = _parts(file)
    refuse_other_tool(file, report, "guidellm")
    _check_version(file, report)
    if not raws:
        raise ConfigError(f"{file}: benchmarks: empty; the run measured nothing")
    return report, [Point(f"{file}: benchmarks.{index}", raw) for index, raw in enumerate(raws)]


def _parts(file: Path) -> tuple[dict[str, Any], list[_Raw]]:
    report: dict[str, Any] = {}
    raws: dict[int, _Raw] = {}
    for place, value in stream_values(file, DESCEND):
        if not place:
            raise ConfigError(f"{file}: not a GuideLLM report: the file is no JSON object")
        if place[0] != "benchmarks" or len(place) < 3:
            report[str(place[0])] = value
            continue
        raw = raws.setdefault(int(place[1]), _Raw())
        _place(file, raw, place, value)
    return report, [raws[index] for index in sorted(raws)]


def _place(file: Path, raw: _Raw, place: Place, value: Any) -> None:
    name = str(place[2])
    if name != "requests":
        raw.fields[name] = value
    elif len(place) == 5 and place[3] in STATUSES:
        source = f"{file}: {'.'.join(str(part) for part in place)}"
        refuse_too_many(f"{file}: benchmarks.{place[1]}.requests.{place[3]}", int(place[4]) + 1)
        raw.requests[str(place[3])].append(parse(Request, value, source=source))


def _check_version(file: Path, report: Mapping[str, Any]) -> None:
    metadata = report.get("metadata")
    version = metadata.get("version") if isinstance(metadata, Mapping) else None
    if version not in VERSIONS or isinstance(version, bool):
        found = "no metadata.version" if version is None else f"version {version!r:.40}"
        raise ConfigError(
            f"{file}: not a GuideLLM report of a version this reader knows: {found}; known are version "
            f"{' and '.join(map(str, VERSIONS))} (GuideLLM 0.5, 0.6 and 0.8 write them); run the benchmark again"
        )
