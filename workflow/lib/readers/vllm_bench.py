"""Results of vLLM's `benchmark_serving.py` and `vllm bench serve`: one JSON object, one load point.

Contract: `read` accepts one result file and refuses whatever lacks its scalars. With
`--save-detailed` the lists of single requests are streamed and the figures are formed from them.

Units, as vLLM's documentation gives them: names that end in `_ms` are milliseconds, lists (`ttfts`,
`itls`) and `duration` are seconds. TPOT is already (E2E - TTFT) / (N - 1) per request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from simulator.errors import ConfigError
from simulator.validation import parse
from workflow.lib import measurement_lint as lint
from workflow.lib.measured_requests import MeasuredRequest
from workflow.lib.quality_flags import Flag
from workflow.lib.readers.imported import (
    LARGEST,
    MS_PER_S,
    US_PER_S,
    Foreign,
    Imported,
    Latency,
    Notes,
    WholeNumber,
    checked_requests,
    figures,
    only_file,
    refuse_longer_than_run,
    refuse_other_tool,
    saturation,
    statistics_of,
)
from workflow.lib.readers.json_stream import stream_values
from workflow.lib.readers.surroundings import look_around

TOOL = "vllm-bench"
LOAD_POINT = "bench"

DESCEND = frozenset({(), ("itls",)})
# Texts, which nothing here needs.
SKIPPED = ("generated_texts",)

_DATE_FORMATS = ("%Y%m%d-%H%M%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d")


class _Result(Foreign):
    date: str | None = None
    model_id: str | None = None
    num_prompts: WholeNumber
    completed: WholeNumber
    duration: Latency
    request_rate: float | str | None = None
    burstiness: float | None = None
    max_concurrency: WholeNumber | None = None
    total_input_tokens: WholeNumber
    total_output_tokens: WholeNumber
    request_throughput: Latency
    output_throughput: Latency
    mean_ttft_ms: Latency
    median_ttft_ms: Latency
    p99_ttft_ms: Latency | None = None
    mean_tpot_ms: Latency
    median_tpot_ms: Latency
    p99_tpot_ms: Latency | None = None
    mean_itl_ms: Latency | None = None
    median_itl_ms: Latency | None = None
    p99_itl_ms: Latency | None = None
    mean_e2el_ms: Latency | None = None
    median_e2el_ms: Latency | None = None
    p99_e2el_ms: Latency | None = None


class _Lists(Foreign):
    input_lens: tuple[WholeNumber, ...] = ()
    output_lens: tuple[WholeNumber, ...] = ()
    ttfts: tuple[Latency, ...] = ()
    start_times: tuple[Latency, ...] = ()
    errors: tuple[str, ...] = ()


@dataclass(slots=True)
class _File:
    """A result file: scalars and flat lists, and the sum of gaps of each request."""

    values: dict[str, Any] = field(default_factory=dict)
    decode_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _One:
    """One answered request of a detailed file; arrival relative to the first, None if not recorded."""

    arrival_s: float | None
    prompt_tokens: int
    output_tokens: int
    ttft_ms: float
    e2e_ms: float

    @property
    def tpot_ms(self) -> float | None:
        return (self.e2e_ms - self.ttft_ms) / (self.output_tokens - 1) if self.output_tokens > 1 else None


def read(path: Path) -> Imported:
    """Read one result file.

    Raises
    ------
    ConfigError
        If it is not what vLLM's serving benchmark writes, is damaged, or has no successful request.
    """
    file = only_file(path, ("*.json",), "a result of vllm bench serve (JSON)", ignored=("profile.json",))
    content = _streamed(file)
    refuse_other_tool(file, content.values, TOOL)
    result = parse(_Result, content.values, source=str(file))
    _check(file, result)
    singles = _singles(file, parse(_Lists, content.values, source=str(file)), content.decode_s, result)
    notes = Notes()
    around = look_around(file.parent)
    recorded = _recorded(file, singles)
    measured_on, basis = _day(file, result.date)
    return Imported(
        tool=TOOL,
        document=", ".join((f"vLLM serving benchmark result {file.name}", *around.files)),
        date=measured_on,
        date_basis=basis,
        model_name=result.model_id or around.model_name,
        tensor_parallel=around.tensor_parallel,
        known=dict(around.settings),
        workload=_workload(result, recorded, notes),
        load_points=[_load_point(file, result, singles, notes)],
        quality=_quality(result, singles, notes),
        conversions=notes.conversions(),
        requests=recorded,
    )


def _streamed(file: Path) -> _File:
    content = _File()
    for place, value in stream_values(file, DESCEND):
        if not place or not isinstance(place[0], str):
            raise ConfigError(f"{file}: not a result of vllm bench serve: the file is no JSON object")
        if place[0] == "itls":
            content.decode_s.append(_sum_of_gaps(file, place, value))
        elif place[0] not in SKIPPED:
            content.values[place[0]] = value
    return content


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


def _singles(file: Path, lists: _Lists, decode_s: Sequence[float], result: _Result) -> list[_One]:
    """Return answered requests where the file has them all; a failed one has no output."""
    if not lists.ttfts or not lists.output_lens or not lists.input_lens or not decode_s:
        return []
    counts = {len(lists.ttfts), len(lists.output_lens), len(lists.input_lens), len(decode_s)}
    if len(counts) != 1 or (lists.start_times and len(lists.start_times) != len(lists.ttfts)):
        raise ConfigError(f"{file}: input_lens, output_lens, ttfts, itls and start_times differ in length; truncated?")
    begin_s = min(lists.start_times, default=0.0)
    failed = [bool(error) for error in lists.errors] or [False] * len(lists.ttfts)
    if len(failed) != len(lists.ttfts):
        raise ConfigError(f"{file}: errors: differs in length from ttfts; truncated?")
    rows = zip(lists.ttfts, decode_s, lists.input_lens, lists.output_lens, failed, strict=True)
    found = [
        _One(
            arrival_s=lists.start_times[position] - begin_s if lists.start_times else None,
            prompt_tokens=prompt,
            output_tokens=output,
            ttft_ms=ttft_s * MS_PER_S,
            e2e_ms=(ttft_s + gaps_s) * MS_PER_S,
        )
        for position, (ttft_s, gaps_s, prompt, output, is_failed) in enumerate(rows)
        if output and prompt and not is_failed
    ]
    if len(found) != result.completed:
        raise ConfigError(f"{file}: completed: {result.completed}, but the lists have {len(found)} answered requests")
    return found


def _recorded(file: Path, singles: Sequence[_One]) -> tuple[MeasuredRequest, ...]:
    """Return single requests for replay; only files with `start_times` say when they were sent."""
    if not singles or singles[0].arrival_s is None:
        return ()
    ordered = sorted(singles, key=lambda one: one.arrival_s or 0.0)
    requests = [
        MeasuredRequest(
            load_point=LOAD_POINT,
            id=f"request_{position}",
            arrival_us=round((one.arrival_s or 0.0) * US_PER_S),
            prompt_tokens=one.prompt_tokens,
            output_tokens=one.output_tokens,
            ttft_ms=one.ttft_ms,
            e2e_ms=one.e2e_ms,
        )
        for position, one in enumerate(ordered)
    ]
    return checked_requests(str(file), requests)


def _load_point(file: Path, result: _Result, singles: Sequence[_One], notes: Notes) -> dict[str, Any]:
    arrivals = _arrivals(file, result)
    requested = arrivals.get("rate_per_s")
    lost: dict[str, Any] = {} if result.completed == result.num_prompts else {"lost_positions": "unknown"}
    return {
        "id": LOAD_POINT,
        "arrivals": arrivals,
        **({"rate": {"requested_per_s": requested}} if requested else {}),
        "duration_s": result.duration,
        "requests": {
            "sent": result.num_prompts,
            "completed": result.completed,
            **lost,
            "basis": f"The file's num_prompts {result.num_prompts} and completed {result.completed}.",
        },
        "saturation": _saturation(arrivals, result, singles),
        "measured": _measured(result, singles, notes),
    }


def _arrivals(file: Path, result: _Result) -> dict[str, Any]:
    try:
        rate = math.inf if result.request_rate is None else float(result.request_rate)
    except ValueError:
        rate = math.nan
    if result.max_concurrency:
        return {"kind": "closed_loop", "concurrency": result.max_concurrency}
    if math.isinf(rate) and rate > 0:
        return {"kind": "burst"}
    if not rate > 0:
        raise ConfigError(f"{file}: request_rate: must be a positive number or inf, got {result.request_rate!r:.40}")
    burstiness = result.burstiness if result.burstiness is not None else 1.0
    if burstiness == 1.0:
        return {"kind": "poisson", "rate_per_s": rate}
    if not 0 < burstiness < math.inf:
        raise ConfigError(f"{file}: burstiness: must be positive, got {burstiness!r:.40}")
    # vLLM draws gamma gaps of shape `burstiness`, whose coefficient of variation is its inverse root.
    return {"kind": "gamma", "rate_per_s": rate, "cv": burstiness**-0.5}


def _saturation(arrivals: Mapping[str, Any], result: _Result, singles: Sequence[_One]) -> dict[str, str]:
    if arrivals["kind"] == "burst":
        return {"state": "saturated", "basis": "Everything is sent at once (request_rate inf)."}
    if arrivals["kind"] == "closed_loop":
        return {"state": "not_saturated", "basis": "A closed loop waits for its answers."}
    finding = _overload(arrivals, result, singles)
    return saturation(finding, f"{result.request_throughput:.3g} requests per second completed.")


def _overload(arrivals: Mapping[str, Any], result: _Result, singles: Sequence[_One]) -> lint.Finding | None:
    # Sending ended about one answer before the last answer did.
    sending_s = max(result.duration - (result.mean_e2el_ms or 0.0) / MS_PER_S, result.duration / 2)
    return lint.overloaded(
        requested_per_s=arrivals.get("rate_per_s"),
        completed_per_s=result.completed / sending_s,
        sent=result.num_prompts,
        failed=result.num_prompts - result.completed,
    ) or lint.queue_grows([one.ttft_ms for one in singles])


def _measured(result: _Result, singles: Sequence[_One], notes: Notes) -> dict[str, Any]:
    values: dict[str, float | None] = {
        "ttft_mean": result.mean_ttft_ms,
        "ttft_p50": result.median_ttft_ms,
        "ttft_p99": result.p99_ttft_ms,
        "tpot_mean": result.mean_tpot_ms,
        "tpot_p50": result.median_tpot_ms,
        "tpot_p99": result.p99_tpot_ms,
        "itl_mean": result.mean_itl_ms,
        "itl_p50": result.median_itl_ms,
        "itl_p99": result.p99_itl_ms,
        "e2e_mean": result.mean_e2el_ms,
        "e2e_p50": result.median_e2el_ms,
        "e2e_p99": result.p99_e2el_ms,
        "request_throughput": result.request_throughput,
        "output_token_throughput": result.output_throughput,
    }
    if singles:
        notes.converted("Lists are in seconds; TTFT, TPOT and E2E are formed from them, in ms.")
        values |= statistics_of("ttft", [one.ttft_ms for one in singles])
        values |= statistics_of("e2e", [one.e2e_ms for one in singles])
        values |= statistics_of("tpot", [one.tpot_ms for one in singles if one.tpot_ms is not None])
    else:
        notes.converted("Names that end in _ms are taken as they are.")
    return figures(values, {"tpot": "inter_token", "itl": "pooled_gaps"})


def _workload(result: _Result, recorded: Sequence[MeasuredRequest], notes: Notes) -> dict[str, Any]:
    if not recorded:
        text = "Every request has the mean lengths; when single requests were sent is not recorded."
        notes.flag(lint.Finding(Flag.LENGTHS_UNKNOWN, text), "noted")
    return {
        "prompt": {"kind": "constant", "tokens": max(1, round(result.total_input_tokens / result.completed))},
        "output": {"kind": "constant", "tokens": max(1, round(result.total_output_tokens / result.completed))},
        "prefix": {"kind": "none"},
        "note": "Recorded requests are replayed; these are means." if recorded else "Mean lengths of the file.",
    }


def _quality(result: _Result, singles: Sequence[_One], notes: Notes) -> tuple[Any, ...]:
    notes.flag(lint.Finding(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client."), "noted")
    if singles:
        in_seconds = "Lists of single requests are in seconds, the other figures in ms."
        notes.flag(lint.Finding(Flag.SECONDS_CONVERTED, in_seconds), "corrected")
        notes.flag(lint.cold_start([one.ttft_ms for one in singles]), "noted")
    return notes.quality()


def _day(file: Path, text: str | None) -> tuple[date, str]:
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime((text or "")[:19], form).date(), "The file's own date."
        except ValueError:
            continue
    raise ConfigError(f"{file}: date: must be like 20250131-142500, got {text!r:.40}; is this a vLLM result file?")
