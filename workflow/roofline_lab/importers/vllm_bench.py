"""Results of vLLM's `benchmark_serving.py` and `vllm bench serve`: one JSON object, one load point.

Contract: `read` accepts one result file and refuses whatever lacks its scalars or contradicts itself. With
`--save-detailed` the lists of single requests are streamed and the figures are formed from them. Facts about the
layout: `benchmarks/serve.py` of vLLM 0.8.5 and 0.11.0, which `benchmark_serving.py` was moved to.

Units, as vLLM's documentation gives them: names that end in `_ms` are milliseconds, lists (`ttfts`, `itls`) and
`duration` are seconds. TPOT is already (E2E - TTFT) / (N - 1) per request.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.json_stream import stream_values
from roofline_lab.ground_truth.kept_up import Judgement, Load, fills_loop
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import MeasuredRequest, checked_requests, refuse_too_many
from roofline_lab.importers.common import (
    LARGEST,
    MS_PER_S,
    US_PER_S,
    Foreign,
    Latency,
    Mean,
    Measurement,
    Notes,
    WholeNumber,
    arrivals_as_sent,
    constant_workload,
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
from roofline_lab.importers.run_metadata import read_run_metadata
from roofline_lab.importers.tools import refuse_other_tool
from simulator.errors import ConfigError
from simulator.validation import parse

TOOL = "vllm-bench"
MARKS = frozenset({"num_prompts", "request_throughput", "endpoint_type", "backend", "duration"})

LOAD_POINT = "bench"

# What the benchmark leaves out unless it is asked for: without this there is no E2E in the file.
ALL_METRICS = "ttft,tpot,itl,e2el"
TPOT = "mean_tpot_ms"

# Texts, which nothing here needs; they are read one by one, as there may be a gigabyte of them.
SKIPPED = ("generated_texts",)
DESCEND = frozenset({(), ("itls",), *((name,) for name in SKIPPED)})

# How far means of the lists may lie from the scalars, which are formed from the same requests.
LISTS_TOLERANCE = 0.01

_DATE_FORMATS = ("%Y%m%d-%H%M%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d")


class _Result(Foreign):
    """Scalars of a file."""

    date: str | None = None
    model_id: str | None = None
    num_prompts: WholeNumber
    completed: WholeNumber
    failed: WholeNumber | None = None
    duration: Latency
    request_rate: float | str | None = None
    burstiness: float | None = None
    ramp_up_strategy: str | None = None
    max_concurrency: WholeNumber | None = None
    total_input_tokens: WholeNumber
    total_output_tokens: WholeNumber
    request_throughput: Latency
    output_throughput: Latency
    mean_ttft_ms: Latency
    median_ttft_ms: Latency
    p90_ttft_ms: Latency | None = None
    p99_ttft_ms: Latency | None = None
    mean_tpot_ms: Latency
    median_tpot_ms: Latency
    p90_tpot_ms: Latency | None = None
    p99_tpot_ms: Latency | None = None
    mean_itl_ms: Latency | None = None
    median_itl_ms: Latency | None = None
    p90_itl_ms: Latency | None = None
    p99_itl_ms: Latency | None = None
    mean_e2el_ms: Latency | None = None
    median_e2el_ms: Latency | None = None
    p90_e2el_ms: Latency | None = None
    p99_e2el_ms: Latency | None = None


class _Lists(Foreign):
    input_lens: tuple[WholeNumber, ...] = ()
    output_lens: tuple[WholeNumber, ...] = ()
    ttfts: tuple[Latency, ...] = ()
    start_times: tuple[Latency, ...] = ()
    errors: tuple[str, ...] = ()


def read(path: Path) -> Measurement:
    """Read one result file.

    Raises
    ------
    ConfigError
        If it is not what vLLM's serving benchmark writes, is damaged, or has no successful request.
    """
    file = only_file(
        path, ("*.json", "*.json.gz"), "a result of vllm bench serve (JSON)", ignored=("profile.json", "*.pytorch.json")
    )
    result, lists, decode_s = _content(file)
    answered = _answered(file, lists, decode_s, result)
    if lists.ttfts and answered and result.failed is None:
        result = result.model_copy(update={"num_prompts": len(lists.ttfts)})
    notes = Notes()
    metadata = read_run_metadata(file.parent)
    # Only files with `start_times` say when requests were sent.
    recorded = checked_requests(str(file), answered) if lists.start_times else ()
    measured_on = _day(file, result.date)
    workload = _workload(result, recorded, notes)
    load_point = _load_point(file, result, answered, bool(recorded), notes)
    _note_quality(result, answered, notes)
    return measurement(
        tool=TOOL,
        source=str(file),
        document=", ".join((f"vLLM serving benchmark result {file.name}", *metadata.files)),
        measured_on=measured_on,
        model_name=result.model_id,
        workload=workload,
        load_points=[load_point],
        notes=notes,
        requests=recorded,
    )


# --- the file ---------------------------------------------------------------------------------


def _content(file: Path) -> tuple[_Result, _Lists, Sequence[float]]:
    """Return scalars, flat lists, and the sum of gaps of each request in seconds."""
    values: dict[str, Any] = {}
    # An array, as floats kept among those of all gaps would keep their memory from being used again.
    decode_s = array("d")
    for place, value in stream_values(file, DESCEND):
        if not place or not isinstance(place[0], str):
            raise ConfigError(f"{file}: not a result of vllm bench serve: the file is no JSON object")
        if place[0] == "itls":
            refuse_too_many(f"{file}: itls", len(decode_s) + 1)
            decode_s.append(_sum_of_gaps(file, place, value))
        elif place[0] not in SKIPPED:
            values[place[0]] = value
    refuse_other_tool(file, values, TOOL)
    if not {"num_prompts", "request_throughput"} & values.keys():
        raise ConfigError(
            f"{file}: no num_prompts and no request_throughput; is this a result that vllm bench serve wrote with "
            "--save-result?"
        )
    if TPOT not in values and "request_throughput" in values:
        raise ConfigError(f"{file}: {TPOT}: missing; run the benchmark with --percentile-metrics {ALL_METRICS}")
    result = parse(_Result, values, source=str(file))
    _check(file, result)
    if result.failed is not None:
        # A small data set keeps the number sent below the number asked for.
        result = result.model_copy(update={"num_prompts": result.completed + result.failed})
    return result, parse(_Lists, values, source=str(file)), decode_s


def _sum_of_gaps(file: Path, place: tuple[str | int, ...], value: object) -> float:
    gaps: list[Any] = value if isinstance(value, list) else [value]
    for gap in gaps:
        if isinstance(gap, bool) or not isinstance(gap, int | float) or not 0 <= gap <= LARGEST:
            where = ".".join(map(str, place))
            raise ConfigError(f"{file}: {where}: must be a list of seconds, 0 or greater, got {gap!r:.40}")
    return math.fsum(gaps)


def _check(file: Path, result: _Result) -> None:
    if not result.completed:
        raise ConfigError(f"{file}: completed: 0; without an answer nothing is measured")
    if result.completed > result.num_prompts:
        raise ConfigError(f"{file}: completed: {result.completed} exceeds num_prompts {result.num_prompts}")
    if not result.duration or not result.total_input_tokens or not result.total_output_tokens:
        raise ConfigError(f"{file}: duration, total_input_tokens and total_output_tokens must be above 0")
    for key in ("mean_ttft_ms", "mean_e2el_ms"):
        refuse_longer_than_run(str(file), key, (getattr(result, key) or 0.0) / MS_PER_S, result.duration)
    rate = result.completed / result.duration
    if abs(result.request_throughput / rate - 1) > 0.01:
        raise ConfigError(
            f"{file}: duration: {result.completed} requests in {result.duration:g} s are {rate:.4g} per second, but "
            f"request_throughput is {result.request_throughput:.4g}; is the duration in seconds?"
        )


def _answered(file: Path, lists: _Lists, decode_s: Sequence[float], result: _Result) -> tuple[MeasuredRequest, ...]:
    """Return the answered requests in order of sending, where the file has them all; a failed one has no output."""
    if not lists.ttfts or not lists.output_lens or not lists.input_lens or not decode_s:
        return ()
    sent = len(lists.ttfts)
    counts = {sent, len(lists.output_lens), len(lists.input_lens), len(decode_s), len(lists.start_times) or sent}
    if len(counts) != 1:
        raise ConfigError(f"{file}: input_lens, output_lens, ttfts, itls and start_times differ in length; truncated?")
    if lists.errors and len(lists.errors) != sent:
        raise ConfigError(f"{file}: errors: differs in length from ttfts; truncated?")
    failed = [bool(error) for error in lists.errors] or [False] * sent
    begins_s = lists.start_times or (0.0,) * sent
    rows = zip(begins_s, lists.ttfts, decode_s, lists.input_lens, lists.output_lens, failed, strict=True)
    found = [row[:5] for row in rows if row[4] and row[3] and not row[5]]
    _check_unit(file, [row[1] for row in found], result)
    if len(found) != result.completed:
        raise ConfigError(f"{file}: completed: {result.completed}, but the lists have {len(found)} answered requests")
    first_s = min(begins_s)
    return tuple(
        MeasuredRequest(
            load_point=LOAD_POINT,
            id=f"request_{position}",
            arrival_us=round((begin_s - first_s) * US_PER_S),
            prompt_tokens=prompt,
            output_tokens=output,
            ttft_ms=ttft_s * MS_PER_S,
            e2e_ms=(ttft_s + gaps_s) * MS_PER_S,
        )
        for position, (begin_s, ttft_s, gaps_s, prompt, output) in enumerate(sorted(found, key=lambda row: row[0]))
    )


def _check_unit(file: Path, ttfts_s: Sequence[float], result: _Result) -> None:
    """Refuse lists in milliseconds, which would make every latency a thousand times too long."""
    mean_s = math.fsum(ttfts_s) / max(1, len(ttfts_s))
    if mean_s > result.mean_ttft_ms / 2 > 0:
        raise ConfigError(
            f"{file}: ttfts: a mean of {mean_s:.4g}, but mean_ttft_ms is {result.mean_ttft_ms:.4g}; lists "
            "must be in seconds, names that end in _ms in milliseconds"
        )


def _day(file: Path, text: str | None) -> tuple[date, str]:
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime((text or "")[:19], form).date(), "The file's own date."
        except ValueError:
            continue
    raise ConfigError(f"{file}: date: must be like 20250131-142500, got {text!r:.40}; is this a vLLM result file?")


# --- what it means ----------------------------------------------------------------------------


def _load_point(
    file: Path, result: _Result, answered: Sequence[MeasuredRequest], recorded: bool, notes: Notes
) -> dict[str, Any]:
    arrivals = _arrivals(file, result)
    requested = arrivals.get("rate_per_s")
    recorded_us = [request.arrival_us for request in answered] if recorded else []
    found = _judged(arrivals, result, answered, recorded_us, notes)
    basis = f"The file's num_prompts {result.num_prompts} and completed {result.completed}."
    return {
        "id": LOAD_POINT,
        "arrivals": arrivals_as_sent(arrivals, found, result.num_prompts, recorded_us),
        "rate": rates(requested, found),
        "duration_s": result.duration,
        "requests": request_counts(sent=result.num_prompts, completed=result.completed, basis=basis),
        "saturation": found.saturation,
        "measured": _measured(file, result, answered, notes),
    }


def _arrivals(file: Path, result: _Result) -> dict[str, Any]:
    if result.ramp_up_strategy:
        raise ConfigError(
            f"{file}: ramp_up_strategy: '{result.ramp_up_strategy[:40]}'; a rate that rises during the run is no load "
            "point; run the benchmark once per rate"
        )
    rate = _rate(file, result)
    limit = result.max_concurrency if result.max_concurrency and result.max_concurrency < result.num_prompts else None
    if math.isinf(rate) and not limit:
        return {"kind": "burst"}
    if limit and (math.isinf(rate) or fills_loop(_load(result), limit)):
        return {"kind": "closed_loop", "concurrency": limit}
    burstiness = result.burstiness if result.burstiness is not None else 1.0
    if burstiness == 1.0:
        return {"kind": "poisson", "rate_per_s": rate}
    if not 0 < burstiness < math.inf:
        raise ConfigError(f"{file}: burstiness: must be positive, got {burstiness!r:.40}")
    # vLLM draws gamma gaps of shape `burstiness`, whose coefficient of variation is its inverse root.
    return {"kind": "gamma", "rate_per_s": rate, "cv": burstiness**-0.5}


def _rate(file: Path, result: _Result) -> float:
    """Return requests per second, infinite where everything is sent at once."""
    try:
        rate = math.inf if result.request_rate is None else float(result.request_rate)
    except ValueError:
        rate = math.nan
    if not rate > 0:
        raise ConfigError(f"{file}: request_rate: must be a positive number or inf, got {result.request_rate!r:.40}")
    return rate


def _load(result: _Result, **known: Any) -> Load:
    """Return what the file says of its load; without an E2E it follows from the figures there are."""
    tokens = result.total_output_tokens / result.completed
    e2e_ms = result.mean_e2el_ms or result.mean_ttft_ms + result.mean_tpot_ms * max(0.0, tokens - 1)
    return Load(
        sent=result.num_prompts,
        completed=result.completed,
        failed=result.num_prompts - result.completed,
        run_s=result.duration,
        ttft_s=result.mean_ttft_ms / MS_PER_S,
        e2e_s=e2e_ms / MS_PER_S,
        **known,
    )


def _judged(
    arrivals: Mapping[str, Any],
    result: _Result,
    answered: Sequence[MeasuredRequest],
    recorded_us: Sequence[int],
    notes: Notes,
) -> Judgement:
    if arrivals["kind"] == "burst":
        return Judgement("saturated", "Everything is sent at once (request_rate inf).")
    load = _load(
        result,
        requested_per_s=arrivals.get("rate_per_s"),
        random_gaps=arrivals["kind"] in ("poisson", "gamma"),
        in_flight=arrivals.get("concurrency"),
        arrivals_s=[arrival_us / US_PER_S for arrival_us in recorded_us],
        waits=[request.ttft_ms or 0.0 for request in answered],
    )
    return judged(load, notes, LOAD_POINT)


def _measured(file: Path, result: _Result, answered: Sequence[MeasuredRequest], notes: Notes) -> dict[str, Any]:
    refuse_impossible(
        str(file),
        ttft=Mean("mean_ttft_ms", result.mean_ttft_ms),
        e2e=None if result.mean_e2el_ms is None else Mean("mean_e2el_ms", result.mean_e2el_ms),
    )
    values: dict[str, float | None] = {
        "request_throughput": result.request_throughput,
        "output_token_throughput": result.output_throughput,
    }
    for name, own in (("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl"), ("e2e", "e2el")):
        for rank, key in (("mean", "mean"), ("p50", "median"), ("p90", "p90"), ("p99", "p99")):
            values[f"{name}_{rank}"] = getattr(result, f"{key}_{own}_ms")
    values |= _corrections(result, notes)
    if answered:
        notes.converted("Lists are in seconds; TTFT, TPOT and E2E are formed from them, in ms.")
        for name in ("ttft", "e2e", "tpot"):
            latencies = [getattr(request, f"{name}_ms") for request in answered]
            values |= statistics_of(name, [latency for latency in latencies if latency is not None])
    else:
        notes.converted("Names that end in _ms are taken as they are.")
    return measured_metrics(str(file), values, {"tpot": "inter_token", "itl": "pooled_gaps"})


def _corrections(result: _Result, notes: Notes) -> dict[str, float | None]:
    """Return figures whose definition, by the numbers, is not the one of vLLM's benchmark."""
    tokens = result.total_output_tokens / result.completed
    ttft, e2e = result.mean_ttft_ms, result.mean_e2el_ms
    corrected: dict[str, float | None] = {}
    if e2e is None:
        return corrected
    contains = lint.tpot_includes_ttft(ttft=ttft, e2e=e2e, tpot=result.mean_tpot_ms, tokens=tokens)
    if contains is not None:
        notes.flag(contains, "corrected", LOAD_POINT)
        notes.converted("mean_tpot_ms contains TTFT and is not used; TPOT is the time between tokens.")
        corrected |= {f"tpot_{rank}": None for rank in ("p50", "p90", "p99")} | {"tpot_mean": contains.value}
    lines = lint.stream_lines_counted(ttft=ttft, e2e=e2e, tpot=result.mean_itl_ms or 0.0, tokens=tokens)
    if lines is not None:
        notes.flag(lines, "corrected", LOAD_POINT)
        notes.converted("Inter-token latencies counted blank lines of the stream and are left out.")
        corrected |= {f"itl_{rank}": None for rank in ("mean", "p50", "p90", "p99")}
    return corrected


def _workload(result: _Result, recorded: Sequence[MeasuredRequest], notes: Notes) -> dict[str, Any]:
    if not recorded:
        text = "Every request has the mean lengths; when single requests were sent is not recorded."
        notes.say(Flag.LENGTHS_UNKNOWN, text)
    note = "Recorded requests are replayed; these are means." if recorded else "Mean lengths of the file."
    return constant_workload(
        result.total_input_tokens / result.completed, result.total_output_tokens / result.completed, note
    )


def _note_quality(result: _Result, answered: Sequence[MeasuredRequest], notes: Notes) -> None:
    notes.say(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client.")
    if not answered:
        return
    ttft, e2e = [request.ttft_ms or 0.0 for request in answered], [request.e2e_ms or 0.0 for request in answered]
    scalars = {"ttft_mean": result.mean_ttft_ms} | ({"e2e_mean": result.mean_e2el_ms} if result.mean_e2el_ms else {})
    in_seconds = (
        f"ttfts have a mean of {fmean(ttft) / MS_PER_S:.4g}, mean_ttft_ms is {result.mean_ttft_ms:.4g}: lists of "
        "single requests are in seconds, the other figures in ms."
    )
    notes.say(Flag.SECONDS_CONVERTED, in_seconds, "corrected")
    of_lists = {"ttft_mean": fmean(ttft), "e2e_mean": fmean(e2e)}
    notes.flag(lint.figures_contradict(scalars, of_lists, LISTS_TOLERANCE), "noted")
    notes.flag(lint.cold_start(ttft), "noted")
    notes.flag(lint.lengths_unrelated_to_time([request.output_tokens for request in answered], e2e), "noted")
    notes.flag(lint.prompts_repeat([request.prompt_tokens for request in answered]), "noted")
