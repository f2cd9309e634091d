"""Results of GuideLLM: one load point per benchmark of a report.

Contract: `read` accepts a report as JSON of any size, as YAML or as CSV, or the folder it lies in: versions 1 and 2,
and the layouts of GuideLLM 0.1 to 0.4, which have no version (`guidellm_layouts`). It refuses every other layout, a
missing or negative figure, and a benchmark without a successful request. Facts about the layouts: a real report of
version 1 (GuideLLM 0.6.0.dev5), and the schemas of GuideLLM 0.5.2 (version 1, arguments under `args`) and 0.8.1
(version 2, under `config`).

Conversions: `request_latency` is in seconds, everything else in ms; `time_per_output_token_ms` contains TTFT, so the
time between tokens is taken from `inter_token_latency_ms`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.json_stream import EACH, Place
from roofline_lab.ground_truth.kept_up import Judgement, Load
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import MeasuredRequest, checked_requests, refuse_too_many
from roofline_lab.importers.common import (
    MS_PER_S,
    US_PER_S,
    BothSides,
    Foreign,
    Latency,
    Mean,
    Measurement,
    Notes,
    Number,
    WholeNumber,
    arrivals_as_sent,
    day_of,
    judged,
    measured_metrics,
    measurement,
    only_file,
    rates,
    refuse_impossible,
    refuse_longer_than_run,
    request_counts,
    statistics_of,
)
from roofline_lab.importers.documents import document_values
from roofline_lab.importers.guidellm_csv import CSV_MARKS, is_csv, read_csv
from roofline_lab.importers.guidellm_layouts import (
    Summary,
    as_version_1,
    data_of,
    model_of,
    release_of,
    request_as_version_1,
)
from roofline_lab.importers.guidellm_workload import NO_PREFIX, Observed, Prefixes, reconstruct, synthetic_settings
from roofline_lab.importers.run_metadata import RunMetadata, read_run_metadata
from roofline_lab.importers.tools import refuse_other_tool
from roofline_lab.importers.unmeasured import unmeasured_among, unmeasured_below
from simulator.errors import ConfigError
from simulator.validation import parse
from simulator.workload.build import MAX_REQUESTS
from simulator.workload.prefixes import SharedPrefix

TOOL = "guidellm"
MARKS = frozenset({"benchmarks", *CSV_MARKS})

VERSIONS = (1, 2)
ENDS = ("json", "yaml", "yml", "csv")
STATUSES = ("successful", "errored", "incomplete")

# Containers of a report that are read entry by entry.
_BENCHMARK = ("benchmarks", EACH)
DESCEND = frozenset(
    {(), ("benchmarks",), _BENCHMARK, (*_BENCHMARK, "requests")}
    | {(*_BENCHMARK, "requests", status) for status in STATUSES}
)

# TTFT and E2E of one request in ms.
Latencies = tuple[float, float]


def read(path: Path) -> Measurement:
    """Read one report.

    Raises
    ------
    ConfigError
        If it is no GuideLLM report, of an unknown version, incomplete, or without a successful request.
    """
    file = _file(path)
    if is_csv(file):
        return read_csv(file)
    report, points = _report(file)
    metadata = read_run_metadata(file.parent)
    notes = Notes()
    settings = synthetic_settings(report, metadata.profile, str(file))
    workload = reconstruct(settings, [point.observed for point in points], notes)
    if not all(point.all_recorded for point in points):
        notes.converted("Single requests are recorded in part only; figures are those of the report's summaries.")
    requests = tuple(request for point in points if point.all_recorded for request in point.requests(workload.prefixes))
    both = tuple(_both_sides(points, metadata))
    client, server = dict(_client_latencies(points)), {sides.request: sides.server for sides in both}
    offset_ms = _client_offset_ms(client, server, notes)
    load_points = [{**_load_point(point, notes), **workload.own.get(point.id, {})} for point in points]
    _note_quality(points, notes)
    release = _release(report)
    beside = f" with {', '.join(metadata.files)}" if metadata.files else ""
    return measurement(
        tool=TOOL,
        tool_version=release.removeprefix("GuideLLM "),
        source=str(file),
        document=f"{release} report {file.name}{beside}",
        measured_on=(
            day_of(points[0].benchmark.start_time, points[0].source, "start_time"),
            "Start of the first benchmark, UTC, as the client recorded it.",
        ),
        model_name=report["model"],
        known={} if offset_ms is None else {"client_offset_ms": offset_ms},
        server_note=None if offset_ms is None else f"client_offset_ms is {_measured_from(client, server)}.",
        workload=workload.description,
        load_points=load_points,
        notes=notes,
        requests=requests,
        both_sides=both,
    )


# --- the file ---------------------------------------------------------------------------------


def _file(path: Path) -> Path:
    """Return the report of a folder: GuideLLM writes the same as JSON, YAML and CSV, and JSON says most."""
    wanted = "a GuideLLM report (JSON, YAML or CSV)"
    stems = {end: ("*",) if end == "csv" else ("benchmarks", "guidellm*") for end in ENDS}
    names = [tuple(f"{stem}.{end}{gz}" for stem in stems[end] for gz in ("", ".gz")) for end in ENDS]
    for patterns in names:
        if path.is_dir() and any(file for pattern in patterns for file in path.glob(pattern)):
            return only_file(path, patterns, wanted)
    return only_file(path, [pattern for patterns in names for pattern in patterns], wanted)


class _ByStatus(Foreign):
    successful: Summary


class _Totals(Foreign):
    successful: WholeNumber
    errored: WholeNumber
    incomplete: WholeNumber

    @property
    def all(self) -> int:
        return self.successful + self.errored + self.incomplete


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


class _Request(Foreign):
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
    requests: dict[str, list[_Request]] = field(default_factory=lambda: {status: [] for status in STATUSES})


def _report(file: Path) -> tuple[dict[str, Any], list[_Point]]:
    """Return what stands outside of `benchmarks`, and the benchmarks."""
    report: dict[str, Any] = {}
    raws: dict[int, _Raw] = {}
    hint = "GuideLLM writes the same report as JSON (benchmarks.json): give that"
    for place, value in document_values(file, DESCEND, hint):
        if not place:
            raise ConfigError(f"{file}: not a GuideLLM report: the file is no JSON object")
        if place[0] == "benchmarks" and len(place) > 2:
            _place(file, raws.setdefault(int(place[1]), _Raw()), place, value)
        else:
            report[str(place[0])] = value
    refuse_other_tool(file, report if not raws else {**report, "benchmarks": None}, TOOL)
    releases = {release_of(raw.fields) for raw in raws.values()}
    _check_version(file, report, releases)
    if not raws:
        raise ConfigError(f"{file}: benchmarks: empty; the run measured nothing")
    _add_statements(report, raws, releases)
    points = [raw for position in sorted(raws) for raw in _expanded(file, raws[position], position)]
    release = _release(report)
    return report, [_Point(f"{file}: benchmarks.{index}", raw, release) for index, raw in enumerate(points)]


def _release(report: Mapping[str, Any]) -> str:
    return f"GuideLLM {_mapping(report.get('metadata')).get('guidellm_version', 'of unknown version')}"


def _add_statements(report: dict[str, Any], raws: Mapping[int, _Raw], releases: set[str | None]) -> None:
    """Put what old reports say elsewhere where the reader looks for it: data, model and release."""
    first = raws[min(raws)].fields
    if releases != {None}:
        told = ", ".join(sorted(release for release in releases if release))
        report["metadata"] = {"guidellm_version": f"{told} (by its layout)", **_mapping(report.get("metadata"))}
        report.setdefault("args", {"data": data_of(first)})
    report["model"] = _text(_mapping(report.get("args")).get("model")) or model_of(first)


def _expanded(file: Path, raw: _Raw, position: int) -> Iterator[_Raw]:
    """Yield the benchmarks of one entry; those of GuideLLM 0.1 hold their requests themselves."""
    for fields in as_version_1(raw.fields, position):
        found = _Raw(fields, raw.requests)
        if isinstance(requests := fields.pop("requests", None), Mapping):
            found = _Raw(fields)
            for status in STATUSES:
                for index, value in enumerate(requests.get(status) or ()):
                    _place(file, found, ("benchmarks", position, "requests", status, index), value)
        yield found


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _place(file: Path, raw: _Raw, place: Place, value: Any) -> None:
    name = str(place[2])
    if name != "requests":
        raw.fields[name] = value
    elif len(place) == 5 and place[3] in STATUSES:
        source = f"{file}: {'.'.join(str(part) for part in place)}"
        refuse_too_many(f"{file}: benchmarks.{place[1]}.requests.{place[3]}", int(place[4]) + 1)
        raw.requests[str(place[3])].append(parse(_Request, request_as_version_1(value, int(place[4])), source=source))


def _check_version(file: Path, report: Mapping[str, Any], releases: set[str | None]) -> None:
    version = _mapping(report.get("metadata")).get("version")
    if version is None and releases and None not in releases:
        return
    if version not in VERSIONS or isinstance(version, bool):
        found = "no metadata.version" if version is None else f"version {version!r:.40}"
        raise ConfigError(
            f"{file}: not a GuideLLM report of a version this reader knows: {found}; known are version "
            f"{' and '.join(map(str, VERSIONS))} (GuideLLM 0.5, 0.6 and 0.8 write them), and the layouts of GuideLLM "
            "0.1 to 0.4; run the benchmark again"
        )


class _Point:
    """One benchmark, validated."""

    def __init__(self, source: str, raw: _Raw, release: str) -> None:
        self.source = source
        self.benchmark = parse(_Benchmark, raw.fields, source=f"{source} ({release})")
        totals = self.benchmark.metrics.request_totals
        # The scheduler also counts what a warm-up or a cool-down keeps out of the figures.
        made = self.benchmark.scheduler_metrics.requests_made if self.benchmark.scheduler_metrics else totals
        self.completed = totals.successful
        self.failed = max(totals.errored, made.errored)
        self.cancelled = max(totals.incomplete, made.incomplete)
        self.sent = max(totals.all, made.all)
        self.run_s = self.benchmark.end_time - self.benchmark.start_time
        self.index = self.benchmark.config.run_index
        self.strategy = self.benchmark.config.strategy
        self.ttft, self.e2e_s, self.itl, self.tpot, self.prompts, self.outputs = (
            getattr(self.benchmark.metrics, name).successful
            for name in (
                "time_to_first_token_ms",
                "request_latency",
                "inter_token_latency_ms",
                "time_per_output_token_ms",
                "prompt_token_count",
                "output_token_count",
            )
        )
        self._check()
        self.successful = sorted(raw.requests["successful"], key=lambda request: request.request_start_time or 0.0)
        self.starts_s = sorted(
            request.request_start_time
            for requests in raw.requests.values()
            for request in requests
            if request.request_start_time
        )

    def _check(self) -> None:
        if not self.completed:
            raise ConfigError(
                f"{self.source}: metrics.request_totals.successful: 0; without an answer nothing is measured"
            )
        if self.sent > MAX_REQUESTS:
            raise ConfigError(
                f"{self.source}: metrics.request_totals: {self.sent}, but at most {MAX_REQUESTS} are read"
            )
        if self.run_s <= 0:
            raise ConfigError(f"{self.source}: end_time is not after start_time; the report is damaged")
        for name, counts in (("prompt_token_count", self.prompts), ("output_token_count", self.outputs)):
            if counts.mean < 1:
                raise ConfigError(
                    f"{self.source}: metrics.{name}.successful.mean: below 1; the server must count its tokens"
                )
        refuse_longer_than_run(self.source, "metrics.request_latency", self.e2e_s.mean, self.run_s)
        refuse_longer_than_run(self.source, "metrics.time_to_first_token_ms", self.ttft.mean / MS_PER_S, self.run_s)
        refuse_impossible(
            self.source,
            ttft=Mean("metrics.time_to_first_token_ms.successful.mean", self.ttft.mean),
            e2e=Mean("metrics.request_latency.successful.mean", self.e2e_s.mean * MS_PER_S),
            itl=Mean("metrics.inter_token_latency_ms.successful.mean", self.itl.mean),
            tokens=self.outputs.mean,
        )

    @property
    def id(self) -> str:
        """Strategy with its rate or width, and the benchmark's position."""
        width = self.strategy.rate if self.strategy.rate is not None else self.strategy.streams
        return f"{self.index:02d}-{self.strategy.type_}" + (f"-{width:g}" if width is not None else "")

    @cached_property
    def answered(self) -> list[_Request]:
        """Recorded successful requests that have every latency."""
        return [
            request
            for request in self.successful
            if None not in (request.request_latency, request.time_to_first_token_ms)
        ]

    @cached_property
    def all_recorded(self) -> bool:
        """Whether every successful request is in the file, with its latencies and lengths."""
        whole = [request for request in self.answered if request.prompt_tokens and request.request_start_time]
        return len(whole) == self.completed

    @property
    def ttft_ms(self) -> list[float]:
        """TTFT of the recorded requests, in order of sending."""
        return [request.time_to_first_token_ms for request in self.answered if request.time_to_first_token_ms]

    @property
    def arrival_us(self) -> list[int]:
        """When each recorded request was sent, whatever became of it, from the first one on."""
        return [round((start_s - self.starts_s[0]) * US_PER_S) for start_s in self.starts_s]

    @property
    def observed(self) -> Observed:
        """What the report says about lengths."""
        return Observed(
            load_point=self.id,
            source=self.source,
            recorded=self.all_recorded,
            benchmark_index=self.index,
            sent=self.sent,
            complete=self.completed == self.sent,
            prompt_tokens=[request.prompt_tokens for request in self.successful if request.prompt_tokens],
            output_tokens=[request.output_tokens for request in self.successful if request.output_tokens],
            mean_prompt_tokens=self.prompts.mean,
            mean_output_tokens=self.outputs.mean,
        )

    def requests(self, prefixes: Prefixes = NO_PREFIX) -> tuple[MeasuredRequest, ...]:
        """Return the successful requests in our form."""
        shared, first_s = prefixes.spec, self.successful[0].request_start_time or 0.0
        found = [
            MeasuredRequest(
                load_point=self.id,
                id=request.request_id,
                arrival_us=round(((request.request_start_time or 0.0) - first_s) * US_PER_S),
                prompt_tokens=request.prompt_tokens or 1,
                output_tokens=request.output_tokens or 0,
                prefix_group=shared.group_of(place) if isinstance(shared, SharedPrefix) else None,
                prefix_tokens=min(prefixes.tokens, request.prompt_tokens or 1),
                ttft_ms=request.time_to_first_token_ms,
                e2e_ms=(request.request_latency or 0.0) * MS_PER_S,
            )
            for place, request in enumerate(self.successful)
        ]
        return checked_requests(f"{self.source}.requests.successful", found)


# --- load points ------------------------------------------------------------------------------


def _load_point(point: _Point, notes: Notes) -> dict[str, Any]:
    arrivals = _arrivals(point)
    requested = arrivals.get("rate_per_s")
    begin_s = _begin_s(point, arrivals)
    duration_s = point.benchmark.end_time - begin_s
    if duration_s <= 0:
        raise ConfigError(f"{point.source}: the run ended before its first request was due; the report is damaged")
    found = _judged(point, requested, duration_s, notes)
    totals = point.benchmark.metrics.request_totals
    basis = f"The report's request_totals: {totals.successful} successful, {totals.errored} errored, "
    basis += f"{totals.incomplete} incomplete, of {point.sent} that were sent."
    return {
        "id": point.id,
        "arrivals": arrivals_as_sent(arrivals, found, point.sent, point.arrival_us),
        "benchmark_index": point.index,
        "rate": rates(requested, found),
        "duration_s": round(duration_s, 6),
        "requests": request_counts(
            sent=point.sent, completed=point.completed, failed=point.failed, cancelled=point.cancelled, basis=basis
        ),
        "saturation": found.saturation,
        "measured": _measured(point, duration_s, notes),
    }


def _begin_s(point: _Point, arrivals: Mapping[str, Any]) -> float:
    """Return when the first request was sent: as recorded, else an interval after the benchmark began."""
    if point.all_recorded:
        return point.starts_s[0]
    waits_s = 1 / arrivals["rate_per_s"] if arrivals["kind"] == "constant_rate" else 0.0
    return point.benchmark.start_time + waits_s


def _arrivals(point: _Point) -> dict[str, Any]:
    strategy = point.strategy
    match strategy.type_:
        case "synchronous":
            return {"kind": "closed_loop", "concurrency": 1}
        case "concurrent" if strategy.streams or strategy.max_concurrency:
            return {"kind": "closed_loop", "concurrency": strategy.streams or strategy.max_concurrency}
        case "throughput":
            wide = strategy.max_concurrency is None or strategy.max_concurrency >= point.sent
            return {"kind": "burst"} if wide else {"kind": "closed_loop", "concurrency": strategy.max_concurrency}
        case "constant" if strategy.rate and strategy.rate > 0:
            return {"kind": "constant_rate", "rate_per_s": strategy.rate, "first": "zero"}
        case "poisson" if strategy.rate and strategy.rate > 0:
            return {"kind": "poisson", "rate_per_s": strategy.rate}
        case "trace" if point.all_recorded and point.completed == point.sent:
            return {
                "kind": "recorded",
                "arrival_us": tuple(request.arrival_us for request in point.requests()),
            }
    raise ConfigError(
        f"{point.source}: config.strategy: '{strategy.type_[:40]}' (rate {strategy.rate}) cannot be repeated; allowed: "
        "synchronous, concurrent with streams, throughput, constant or poisson with a positive rate, and trace "
        "with all of its requests"
    )


def _judged(point: _Point, requested: float | None, run_s: float, notes: Notes) -> Judgement:
    strategy = point.strategy
    if strategy.type_ == "throughput":
        return Judgement("saturated", "The throughput strategy sends everything as fast as it can.")
    closed = strategy.type_ in ("synchronous", "concurrent")
    load = Load(
        sent=point.sent,
        completed=point.completed,
        failed=point.failed,
        requested_per_s=requested,
        random_gaps=strategy.type_ == "poisson",
        in_flight=(strategy.streams or strategy.max_concurrency or 1) if closed else None,
        arrivals_s=point.starts_s,
        run_s=run_s,
        ttft_s=point.ttft.mean / MS_PER_S,
        e2e_s=point.e2e_s.mean,
        longest_s=point.e2e_s.max,
        waits=point.ttft_ms if point.all_recorded else (),
    )
    return judged(load, notes, point.id)


def _measured(point: _Point, duration_s: float, notes: Notes) -> dict[str, Any]:
    if not point.all_recorded:
        seen = {"ttft": point.ttft.lower, "e2e": point.e2e_s.lower, "output": point.outputs.lower}
        notes.flag(unmeasured_below(point.source, seen), "noted", point.id)
    _look_at_definitions(point, notes)
    values: dict[str, float | None] = {}
    for name, summary, factor in (("ttft", point.ttft, 1.0), ("e2e", point.e2e_s, MS_PER_S), ("itl", point.itl, 1.0)):
        values[f"{name}_mean"] = summary.mean * factor
        values |= {f"{name}_{rank}": getattr(summary.percentiles, rank) * factor for rank in ("p50", "p90", "p99")}
    values["request_throughput"] = point.completed / duration_s
    values["output_token_throughput"] = point.completed * point.outputs.mean / duration_s
    # TPOT by our definition: per request where all are recorded, else weighted by N - 1.
    definition = "inter_token" if point.all_recorded else "inter_token_weighted"
    if point.all_recorded:
        per_request = [request.tpot_ms for request in point.requests()]
        values |= statistics_of("tpot", [value for value in per_request if value is not None])
    else:
        values["tpot_mean"] = point.itl.mean
    notes.converted("request_latency was in seconds and is written in ms, as E2E.")
    notes.converted("Throughput is completed requests, and their tokens, from first request to last answer.")
    return measured_metrics(point.source, values, {"tpot": definition, "itl": "inter_token"}, notes)


def _look_at_definitions(point: _Point, notes: Notes) -> None:
    means = {"ttft": point.ttft.mean, "tokens": point.outputs.mean}
    seconds = lint.seconds_among_milliseconds(**means, e2e=point.e2e_s.mean, itl=point.itl.mean)
    notes.flag(seconds, "corrected", point.id)
    contains = lint.tpot_includes_ttft(**means, e2e=point.e2e_s.mean * MS_PER_S, tpot=point.tpot.mean)
    notes.flag(contains, "corrected", point.id)
    if contains is not None:
        notes.converted("time_per_output_token_ms contains TTFT and is not used; TPOT is the time between tokens.")


# --- client and server, and what the figures hold ---------------------------------------------


def _both_sides(points: Sequence[_Point], metadata: RunMetadata) -> Iterator[BothSides]:
    """Yield the requests that the server's spans tell of too; a span's id has the number of the sample behind it."""
    spans = metadata.spans
    server = {name.rsplit("-", 1)[0]: latencies for name, latencies in spans.items()} | dict(spans)
    for name, latencies in _client_latencies(points):
        if name in server:
            yield BothSides(name, latencies, server[name])


def _client_offset_ms(client: Mapping[str, Latencies], server: Mapping[str, Latencies], notes: Notes) -> float | None:
    """Measure the time between client and engine where server spans of the same warm requests are there."""
    finding = lint.client_time_included(client, server)
    if finding is None:
        text = "Latencies were taken at the client."
        if server and not lint.warm_requests(client, server):
            text += " The server recorded only the first request, which is cold: no time between both is measured."
        notes.say(Flag.CLIENT_TIME_INCLUDED, text)
        return None
    notes.flag(finding, "noted", more="The comparison adds it to the simulated side.")
    notes.converted(f"client_offset_ms {finding.value:.1f} was {_measured_from(client, server)}.")
    return round(finding.value, 1)


def _measured_from(client: Mapping[str, Latencies], server: Mapping[str, Latencies]) -> str:
    count = len(lint.warm_requests(client, server))
    return f"measured from requests that client and server recorded (n = {count}, without the cold first one)"


def _client_latencies(points: Sequence[_Point]) -> Iterator[tuple[str, Latencies]]:
    for point in points:
        for request in point.answered:
            if request.response_id is not None:
                ttft_ms, latency_s = request.time_to_first_token_ms or 0.0, request.request_latency or 0.0
                yield request.response_id, (ttft_ms, latency_s * MS_PER_S)


def _note_quality(points: Sequence[_Point], notes: Notes) -> None:
    for point in points:
        ttft = point.ttft_ms
        cold = lint.cold_start(ttft) if point.all_recorded else None
        if cold is None and ttft:
            cold = lint.first_is_slowest(first=ttft[0], largest=point.ttft.max, p90=point.ttft.percentiles.p90)
        notes.flag(cold, "noted", point.id)
        figures = [(one.time_to_first_token_ms, one.request_latency, one.output_tokens) for one in point.successful]
        notes.flag(None if point.all_recorded else unmeasured_among(figures), "noted", point.id)
    spans = [(point.benchmark.start_time, point.benchmark.end_time) for point in points]
    notes.flag(lint.stages_overlap(spans), "noted")
