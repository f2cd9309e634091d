"""Results of vLLM's `benchmark_serving.py` and `vllm bench serve`: one JSON object, one load point.

Contract: `read` accepts one result file and refuses whatever lacks its scalars. With
`--save-detailed` the lists of single requests are streamed and the figures are formed from them.

Units, as vLLM's documentation gives them: names that end in `_ms` are milliseconds, lists (`ttfts`,
`itls`) and `duration` are seconds. TPOT is already (E2E - TTFT) / (N - 1) per request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from roofline_lab.ground_truth import measurement_lint as lint
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import MeasuredRequest, checked_requests
from roofline_lab.importers.imported import (
    MS_PER_S,
    US_PER_S,
    Imported,
    Notes,
    figures,
    only_file,
    saturation,
    statistics_of,
)
from roofline_lab.importers.impossible import Mean, refuse_impossible
from roofline_lab.importers.surroundings import look_around
from roofline_lab.importers.vllm_bench_report import TOOL, One, Result, read_result
from simulator.errors import ConfigError

__all__ = ["TOOL", "read"]

LOAD_POINT = "bench"

# How far means of the lists may lie from the scalars, which are formed from the same requests.
LISTS_TOLERANCE = 0.01

_DATE_FORMATS = ("%Y%m%d-%H%M%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d")


def read(path: Path) -> Imported:
    """Read one result file.

    Raises
    ------
    ConfigError
        If it is not what vLLM's serving benchmark writes, is damaged, or has no successful request.
    """
    file = only_file(
        path, ("*.json", "*.json.gz"), "a result of vllm bench serve (JSON)", ignored=("profile.json", "*.pytorch.json")
    )
    result, singles = read_result(file)
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


def _recorded(file: Path, singles: Sequence[One]) -> tuple[MeasuredRequest, ...]:
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


def _load_point(file: Path, result: Result, singles: Sequence[One], notes: Notes) -> dict[str, Any]:
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
        "measured": _measured(file, result, singles, notes),
    }


def _arrivals(file: Path, result: Result) -> dict[str, Any]:
    if result.ramp_up_strategy:
        raise ConfigError(
            f"{file}: ramp_up_strategy: '{result.ramp_up_strategy[:40]}'; a rate that rises during the run is no load "
            "point; run the benchmark once per rate"
        )
    rate = _rate(file, result)
    limit = result.max_concurrency if result.max_concurrency and result.max_concurrency < result.num_prompts else None
    if math.isinf(rate):
        return {"kind": "closed_loop", "concurrency": limit} if limit else {"kind": "burst"}
    if limit and result.request_throughput < lint.KEPT_UP * rate:
        return {"kind": "closed_loop", "concurrency": limit}
    burstiness = result.burstiness if result.burstiness is not None else 1.0
    if burstiness == 1.0:
        return {"kind": "poisson", "rate_per_s": rate}
    if not 0 < burstiness < math.inf:
        raise ConfigError(f"{file}: burstiness: must be positive, got {burstiness!r:.40}")
    # vLLM draws gamma gaps of shape `burstiness`, whose coefficient of variation is its inverse root.
    return {"kind": "gamma", "rate_per_s": rate, "cv": burstiness**-0.5}


def _rate(file: Path, result: Result) -> float:
    """Return requests per second, infinite where everything is sent at once."""
    try:
        rate = math.inf if result.request_rate is None else float(result.request_rate)
    except ValueError:
        rate = math.nan
    if not rate > 0:
        raise ConfigError(f"{file}: request_rate: must be a positive number or inf, got {result.request_rate!r:.40}")
    return rate


def _saturation(arrivals: Mapping[str, Any], result: Result, singles: Sequence[One]) -> dict[str, str]:
    if arrivals["kind"] == "burst":
        return {"state": "saturated", "basis": "Everything is sent at once (request_rate inf)."}
    if arrivals["kind"] == "closed_loop":
        return {"state": "not_saturated", "basis": "A closed loop waits for its answers."}
    finding = _overload(arrivals, result, singles)
    return saturation(finding, f"{result.request_throughput:.3g} requests per second completed.")


def _overload(arrivals: Mapping[str, Any], result: Result, singles: Sequence[One]) -> lint.Finding | None:
    # Sending ended about one answer before the last answer did.
    sending_s = max(result.duration - (result.mean_e2el_ms or 0.0) / MS_PER_S, result.duration / 2)
    return lint.overloaded(
        requested_per_s=arrivals.get("rate_per_s"),
        completed_per_s=result.completed / sending_s,
        sent=result.num_prompts,
        failed=result.num_prompts - result.completed,
    ) or lint.queue_grows([one.ttft_ms for one in singles])


def _measured(file: Path, result: Result, singles: Sequence[One], notes: Notes) -> dict[str, Any]:
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
    if singles:
        notes.converted("Lists are in seconds; TTFT, TPOT and E2E are formed from them, in ms.")
        values |= statistics_of("ttft", [one.ttft_ms for one in singles])
        values |= statistics_of("e2e", [one.e2e_ms for one in singles])
        values |= statistics_of("tpot", [one.tpot_ms for one in singles if one.tpot_ms is not None])
    else:
        notes.converted("Names that end in _ms are taken as they are.")
    return figures(str(file), values, {"tpot": "inter_token", "itl": "pooled_gaps"})


def _corrections(result: Result, notes: Notes) -> dict[str, float | None]:
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


def _workload(result: Result, recorded: Sequence[MeasuredRequest], notes: Notes) -> dict[str, Any]:
    if not recorded:
        text = "Every request has the mean lengths; when single requests were sent is not recorded."
        notes.flag(lint.Finding(Flag.LENGTHS_UNKNOWN, text), "noted")
    return {
        "prompt": {"kind": "constant", "tokens": max(1, round(result.total_input_tokens / result.completed))},
        "output": {"kind": "constant", "tokens": max(1, round(result.total_output_tokens / result.completed))},
        "prefix": {"kind": "none"},
        "note": "Recorded requests are replayed; these are means." if recorded else "Mean lengths of the file.",
    }


def _quality(result: Result, singles: Sequence[One], notes: Notes) -> tuple[Any, ...]:
    notes.flag(lint.Finding(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client."), "noted")
    if singles:
        ttft, e2e = [one.ttft_ms for one in singles], [one.e2e_ms for one in singles]
        scalars = {"ttft_mean": result.mean_ttft_ms} | (
            {"e2e_mean": result.mean_e2el_ms} if result.mean_e2el_ms else {}
        )
        of_lists = {"ttft_mean": fmean(ttft), "e2e_mean": fmean(e2e)}
        in_seconds = (
            f"ttfts have a mean of {fmean(ttft) / MS_PER_S:.4g}, mean_ttft_ms is {result.mean_ttft_ms:.4g}: lists of "
            "single requests are in seconds, the other figures in ms."
        )
        notes.flag(lint.Finding(Flag.SECONDS_CONVERTED, in_seconds), "corrected")
        notes.flag(lint.figures_contradict(scalars, of_lists, LISTS_TOLERANCE), "noted")
        notes.flag(lint.cold_start(ttft), "noted")
        notes.flag(lint.lengths_unrelated_to_time([one.output_tokens for one in singles], e2e), "noted")
        notes.flag(lint.prompts_repeat([one.prompt_tokens for one in singles]), "noted")
    return notes.quality()


def _day(file: Path, text: str | None) -> tuple[date, str]:
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime((text or "")[:19], form).date(), "The file's own date."
        except ValueError:
            continue
    raise ConfigError(f"{file}: date: must be like 20250131-142500, got {text!r:.40}; is this a vLLM result file?")
