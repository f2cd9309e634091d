"""Results of GuideLLM: one load point per benchmark of a report.

Contract: `read` accepts report versions 1 and 2 as a JSON file of any size or the folder it lies
in, and refuses every other layout; see `guidellm_report`.

Conversions: `request_latency` is in seconds, everything else in ms; `time_per_output_token_ms`
contains TTFT, so the time between tokens is taken from `inter_token_latency_ms`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth import measurement_lint as lint
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.guidellm_report import Point, read_report
from roofline_lab.importers.guidellm_workload import GuideLlmWorkload, reconstruct, synthetic_settings
from roofline_lab.importers.imported import (
    MS_PER_S,
    BothSides,
    Imported,
    Notes,
    day_of,
    figures,
    only_file,
    saturation,
    statistics_of,
)
from roofline_lab.importers.surroundings import Surroundings, look_around
from simulator.errors import ConfigError

TOOL = "guidellm"
# TTFT and E2E of one request in ms.
Latencies = tuple[float, float]


def read(path: Path) -> Imported:
    """Read one report.

    Raises
    ------
    ConfigError
        If it is no GuideLLM report, of an unknown version, incomplete, or without a successful request.
    """
    file = only_file(
        path,
        ("benchmarks.json", "benchmarks.json.gz", "guidellm*.json", "guidellm*.json.gz"),
        "a GuideLLM report (JSON)",
    )
    report, points = read_report(file)
    return _imported(file, report, points, look_around(file.parent))


def _imported(file: Path, report: Mapping[str, Any], points: Sequence[Point], around: Surroundings) -> Imported:
    notes = Notes()
    settings = synthetic_settings(report, around.profile)
    whole = all(point.all_recorded for point in points)
    workload = reconstruct(settings, [_draws_wanted(point) for point in points], notes)
    if not whole:
        notes.converted("Single requests are recorded in part only; figures are those of the report's summaries.")
    requests = tuple(
        request for point in points if point.all_recorded for request in point.requests(workload.prefix_tokens)
    )
    both = tuple(_both_sides(points, around))
    client = dict(_client_latencies(points))
    server = {sides.request: sides.server for sides in both}
    offset = _client_offset(client, server, notes)
    version = str(report["metadata"].get("guidellm_version", "unknown"))
    return Imported(
        tool=TOOL,
        tool_version=version,
        document=f"GuideLLM {version} report {file.name}"
        + (f" with {', '.join(around.files)}" if around.files else ""),
        date=day_of(points[0].benchmark.start_time, points[0].source, "start_time"),
        date_basis="Start of the first benchmark, UTC, as the client recorded it.",
        model_name=around.model_name,
        tensor_parallel=around.tensor_parallel,
        known=dict(around.settings) | ({} if offset is None else {"client_offset_ms": offset}),
        server_note=None if offset is None else f"client_offset_ms is {_measured_from(client, server)}.",
        workload=workload.description,
        load_points=[_load_point(point, workload, notes) for point in points],
        quality=_quality(points, notes),
        conversions=notes.conversions(),
        requests=requests,
        both_sides=both,
        source=str(file),
        unlike_the_workload=workload.unlike,
    )


def _draws_wanted(point: Point) -> GuideLlmWorkload.Observed:
    return GuideLlmWorkload.Observed(
        load_point=point.id,
        source=point.source,
        recorded=point.all_recorded,
        benchmark_index=point.index,
        sent=point.sent,
        complete=point.completed == point.sent,
        prompt_tokens=[request.prompt_tokens for request in point.successful if request.prompt_tokens],
        output_tokens=[request.output_tokens for request in point.successful if request.output_tokens],
        mean_prompt_tokens=point.summary("prompt_token_count").mean,
        mean_output_tokens=point.summary("output_token_count").mean,
    )


def _load_point(point: Point, workload: GuideLlmWorkload, notes: Notes) -> dict[str, Any]:
    arrivals = _arrivals(point)
    requested = arrivals.get("rate_per_s")
    begin_s = point.benchmark.start_time + (1 / requested if requested and arrivals["kind"] == "constant_rate" else 0.0)
    duration_s = point.benchmark.end_time - begin_s
    if duration_s <= 0:
        raise ConfigError(f"{point.source}: the run ended before its first request was due; the report is damaged")
    return {
        "id": point.id,
        "arrivals": arrivals,
        "benchmark_index": point.index,
        **({"rate": {"requested_per_s": requested}} if requested else {}),
        "duration_s": round(duration_s, 6),
        "requests": _counts(point),
        "saturation": _saturation(point, requested, duration_s),
        "measured": _measured(point, duration_s, notes),
    }


def _arrivals(point: Point) -> dict[str, Any]:
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
            return {"kind": "recorded", "arrival_us": [request.arrival_us for request in point.requests(0)]}
    raise ConfigError(
        f"{point.source}: config.strategy: '{strategy.type_[:40]}' (rate {strategy.rate}) cannot be repeated; allowed: "
        "synchronous, concurrent with streams, throughput, constant or poisson with a positive rate, and trace "
        "with all of its requests"
    )


def _counts(point: Point) -> dict[str, Any]:
    totals = point.benchmark.metrics.request_totals
    lost: dict[str, Any] = {} if point.completed == point.sent else {"lost_positions": "unknown"}
    return {
        "sent": point.sent,
        "completed": point.completed,
        "failed": point.failed,
        **lost,
        "basis": f"The report's request_totals: {totals.successful} successful, {totals.errored} errored, "
        f"{totals.incomplete} incomplete, of {point.sent} that were sent.",
    }


def _saturation(point: Point, requested: float | None, duration_s: float) -> dict[str, str]:
    if point.strategy.type_ == "throughput":
        return {"state": "saturated", "basis": "The throughput strategy sends everything as fast as it can."}
    if point.strategy.type_ == "trace":
        grows = lint.queue_grows([request.time_to_first_token_ms or 0.0 for request in point.answered])
        return saturation(grows, "Waiting does not grow from the first quarter of the requests to the last.")
    if requested is None:
        return {"state": "not_saturated", "basis": "A closed loop waits for its answers."}
    # Sending ended about one answer before the last answer did.
    sending_s = max(duration_s - point.summary("request_latency").mean, duration_s / 2)
    finding = _overload(point, requested, sending_s)
    return saturation(
        finding, f"Completed as requested: {point.completed / sending_s:.3g} of {requested:.3g} per second."
    )


def _overload(point: Point, requested: float, sending_s: float) -> lint.Finding | None:
    completed_per_s = point.completed / sending_s
    return lint.overloaded(
        requested_per_s=requested, completed_per_s=completed_per_s, sent=point.sent, failed=point.failed
    ) or lint.queue_grows(
        [request.time_to_first_token_ms or 0.0 for request in point.answered] if point.all_recorded else []
    )


def _measured(point: Point, duration_s: float, notes: Notes) -> dict[str, Any]:
    ttft, e2e = point.summary("time_to_first_token_ms"), point.summary("request_latency")
    itl = point.summary("inter_token_latency_ms")
    tokens = point.summary("output_token_count").mean
    _look_at_definitions(point, notes)
    values: dict[str, float | None] = {
        "ttft_mean": ttft.mean,
        "ttft_p50": ttft.percentiles.p50,
        "ttft_p90": ttft.percentiles.p90,
        "ttft_p99": ttft.percentiles.p99,
        "e2e_mean": e2e.mean * MS_PER_S,
        "e2e_p50": e2e.percentiles.p50 * MS_PER_S,
        "e2e_p90": e2e.percentiles.p90 * MS_PER_S,
        "e2e_p99": e2e.percentiles.p99 * MS_PER_S,
        "itl_mean": itl.mean,
        "itl_p50": itl.percentiles.p50,
        "itl_p90": itl.percentiles.p90,
        "itl_p99": itl.percentiles.p99,
        "request_throughput": point.completed / duration_s,
        "output_token_throughput": point.completed * tokens / duration_s,
    }
    between, definition = _time_between_tokens(point, itl.mean)
    notes.converted("request_latency was in seconds and is written in ms, as E2E.")
    notes.converted("Throughput is completed requests, and their tokens, from first request to last answer.")
    return figures(point.source, values | between, {"tpot": definition, "itl": "inter_token"})


def _time_between_tokens(point: Point, itl_mean: float) -> tuple[dict[str, float | None], str]:
    """Return TPOT by our definition: per request where all are recorded, else weighted by N - 1."""
    if not point.all_recorded:
        return {"tpot_mean": itl_mean}, "inter_token_weighted"
    per_request = [request.tpot_ms for request in point.requests(0)]
    return statistics_of("tpot", [value for value in per_request if value is not None]), "inter_token"


def _look_at_definitions(point: Point, notes: Notes) -> None:
    means = {
        "ttft": point.summary("time_to_first_token_ms").mean,
        "tokens": point.summary("output_token_count").mean,
    }
    latency, itl = point.summary("request_latency").mean, point.summary("inter_token_latency_ms").mean
    tpot = point.summary("time_per_output_token_ms").mean
    notes.flag(lint.seconds_among_milliseconds(**means, e2e=latency, itl=itl), "corrected", point.id)
    contains = lint.tpot_includes_ttft(**means, e2e=latency * MS_PER_S, tpot=tpot)
    notes.flag(contains, "corrected", point.id)
    if contains is not None:
        notes.converted("time_per_output_token_ms contains TTFT and is not used; TPOT is the time between tokens.")


def _both_sides(points: Sequence[Point], around: Surroundings) -> Iterator[BothSides]:
    """Yield the requests that the server's spans tell of too; a span's id has the number of the sample behind it."""
    server = {name.rsplit("-", 1)[0]: latencies for name, latencies in around.spans.items()} | dict(around.spans)
    for name, latencies in _client_latencies(points):
        if name in server:
            yield BothSides(name, latencies, server[name])


def _client_offset(client: Mapping[str, Latencies], server: Mapping[str, Latencies], notes: Notes) -> float | None:
    """Measure the time between client and engine where server spans of the same warm requests are there."""
    finding = lint.client_time_included(client, server)
    if finding is None:
        text = "Latencies were taken at the client."
        if server and not lint.warm_requests(client, server):
            text += " The server recorded only the first request, which is cold: no time between both is measured."
        notes.flag(lint.Finding(Flag.CLIENT_TIME_INCLUDED, text), "noted")
        return None
    notes.flag(finding, "noted", more="The comparison adds it to the simulated side.")
    notes.converted(f"client_offset_ms {finding.value:.1f} was {_measured_from(client, server)}.")
    return round(finding.value, 1)


def _measured_from(client: Mapping[str, Latencies], server: Mapping[str, Latencies]) -> str:
    count = len(lint.warm_requests(client, server))
    return f"measured from requests that client and server recorded (n = {count}, without the cold first one)"


def _client_latencies(points: Sequence[Point]) -> Iterator[tuple[str, Latencies]]:
    for point in points:
        for request in point.answered:
            if request.response_id is not None:
                ttft_ms, latency_s = request.time_to_first_token_ms or 0.0, request.request_latency or 0.0
                yield request.response_id, (ttft_ms, latency_s * MS_PER_S)


def _quality(points: Sequence[Point], notes: Notes) -> tuple[Any, ...]:
    for point in points:
        ttft = [request.time_to_first_token_ms or 0.0 for request in point.answered]
        summary = point.summary("time_to_first_token_ms")
        cold = lint.cold_start(ttft) if point.all_recorded else None
        if cold is None and ttft:
            cold = lint.first_is_slowest(first=ttft[0], largest=summary.max, p90=summary.percentiles.p90)
        notes.flag(cold, "noted", point.id)
        requested = _arrivals(point).get("rate_per_s")
        if requested:
            duration_s = point.benchmark.end_time - point.benchmark.start_time
            sending_s = max(duration_s - point.summary("request_latency").mean, duration_s / 2)
            notes.flag(_overload(point, requested, sending_s), "noted", point.id)
    notes.flag(lint.stages_overlap([(one.benchmark.start_time, one.benchmark.end_time) for one in points]), "noted")
    return notes.quality()
