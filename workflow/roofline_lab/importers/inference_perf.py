"""Results of inference-perf: one load point per stage of a run.

Contract: `read` accepts the folder of one run (stage metrics, optionally with single requests, in
it or in its `results`), with the client's `config.yaml` or `profile.yaml` beside them, because the
metrics do not say how many tokens were generated. Every stage becomes a load point.

Conversions: seconds to ms; a TPOT that counted stream lines is multiplied by (2 N + 1) / (N - 1),
and the percentiles of its gaps are those between tokens at twice the distance from 100; output
lengths are those the server had to generate, not the client's count of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth import measurement_lint as lint
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.imported import MS_PER_S, Imported, Notes, figures, saturation
from roofline_lab.importers.inference_perf_report import LoadSummary, Stage, Summary, read_stages
from roofline_lab.importers.inference_perf_requests import Recorded, read_requests
from roofline_lab.importers.inference_perf_workload import Profile, read_profile
from roofline_lab.importers.surroundings import look_around
from simulator.conversions import itl_from_means_ms, stream_line_percentile
from simulator.errors import ConfigError

TOOL = "inference-perf"
RESULTS_FOLDER = "results"

_DAY = re.compile(r"(?<!\d)(20\d\d)(0[1-9]|1[0-2])([0-2]\d|3[01])(?!\d)")


def read(path: Path) -> Imported:
    """Read the results of one run.

    Raises
    ------
    ConfigError
        If stage metrics or profile are missing, of another tool, damaged, or without a success.
    """
    folder = path.parent if path.is_file() else path
    if not folder.is_dir():
        raise ConfigError(f"{path}: no such folder; give the folder that inference-perf wrote")
    results = folder / RESULTS_FOLDER if (folder / RESULTS_FOLDER).is_dir() else folder
    run = results.parent if results.name == RESULTS_FOLDER else folder
    stages = read_stages(results)
    profile = read_profile(results, run)
    profile = profile.as_sent(stream_lines=any(_stream_lines(stage, profile.output_tokens) for stage in stages))
    around = look_around(run)
    recorded = read_requests(results, profile, stages)
    notes = Notes()
    _look_at_requests(recorded, profile, notes)
    points = [_load_point(stage, stages, profile, recorded, notes) for stage in stages]
    _look_at_run(stages, profile, notes)
    measured_on, basis = _day_of_run(run, results, stages)
    files = [stage.file for stage in stages] + [profile.file]
    return Imported(
        tool=TOOL,
        document=f"inference-perf run {run.name}: {', '.join(dict.fromkeys(files))}",
        date=measured_on,
        date_basis=basis,
        model_name=around.model_name or profile.model_name,
        tensor_parallel=around.tensor_parallel,
        known=dict(around.settings),
        workload=profile.workload(_mean_prompt_tokens(stages)),
        load_points=points,
        quality=notes.quality(),
        conversions=notes.conversions(),
        requests=recorded.requests,
    )


def _load_point(
    stage: Stage, stages: Sequence[Stage], profile: Profile, recorded: Recorded, notes: Notes
) -> dict[str, Any]:
    load = stage.load
    rate = {"requested_per_s": load.requested_rate, "achieved_per_s": load.achieved_rate}
    failed = stage.failed
    finding = _overload(stage, recorded)
    notes.flag(finding, "noted", stage.id)
    lost: dict[str, Any] = {"lost_positions": "unknown"} if failed else {}
    return {
        "id": stage.id,
        "arrivals": profile.arrivals(load.requested_rate, load.concurrency, str(stage.path)),
        **({"rate": {name: value for name, value in rate.items() if value}} if load.requested_rate else {}),
        **({"prompts_seen_before": True} if profile.pool and stage.number else {}),
        "requests": {
            "sent": load.count,
            "completed": stage.completed,
            "failed": failed,
            **lost,
            "basis": f"{stage.file}: {stage.completed} successes and {failed} failures.",
        },
        "saturation": saturation(finding, _kept_up(load)),
        "measured": _measured(stage, profile, notes),
    }


def _kept_up(load: LoadSummary) -> str:
    if not load.requested_rate or not load.achieved_rate:
        return "Nearly all requests were answered."
    return (
        f"{load.achieved_rate:.4g} of {load.requested_rate:.4g} requests per second were sent, and nearly all answered."
    )


def _overload(stage: Stage, recorded: Recorded) -> lint.Finding | None:
    ttft = [
        request.ttft_ms
        for request in recorded.requests
        if request.load_point == stage.id and request.ttft_ms is not None
    ]
    # Sending ended about one answer before the last answer did.
    whole_s = stage.completed / stage.requests_per_s if stage.requests_per_s else 0.0
    sending_s = max(whole_s - stage.e2e.mean, whole_s / 2)
    return lint.overloaded(
        requested_per_s=stage.load.requested_rate,
        completed_per_s=stage.completed / sending_s if sending_s else None,
        sent=stage.load.count,
        failed=stage.failed,
    ) or lint.queue_grows(ttft)


def _measured(stage: Stage, profile: Profile, notes: Notes) -> dict[str, Any]:
    """Return figures in ms by our definitions."""
    tokens = profile.generated_tokens(stage.output_len_mean, stage.output_is_from_server, str(stage.path))
    ttft, e2e = stage.ttft.scaled(MS_PER_S), stage.e2e.scaled(MS_PER_S)
    notes.converted("Latencies were in seconds and are written in ms.")
    values: dict[str, float | None] = {
        **_distribution("ttft", ttft),
        **_distribution("e2e", e2e),
        **_between_tokens(stage, ttft.mean, e2e.mean, tokens, notes),
        "request_throughput": stage.requests_per_s,
        "output_token_throughput": stage.requests_per_s * tokens,
    }
    retokenised = lint.output_retokenised(reported=stage.output_len_mean, generated=tokens)
    if not stage.output_is_from_server and retokenised is not None:
        notes.flag(retokenised, "corrected", stage.id)
        notes.converted(
            "Output lengths and token throughput are those of the profile, as the server must generate them."
        )
    return figures(str(stage.path), values, {"tpot": "inter_token", "itl": "pooled_gaps"})


def _distribution(name: str, summary: Summary) -> dict[str, float | None]:
    return {f"{name}_mean": summary.mean} | {f"{name}_{rank}": summary.at(rank) for rank in ("p50", "p90", "p99")}


def _stream_lines(stage: Stage, tokens: float | None) -> lint.Finding | None:
    """Find a client that counted blank lines of the stream; every ratio is free of units."""
    if stage.tpot is None or tokens is None:
        return None
    return lint.stream_lines_counted(ttft=stage.ttft.mean, e2e=stage.e2e.mean, tpot=stage.tpot.mean, tokens=tokens)


def _between_tokens(
    stage: Stage, ttft_ms: float, e2e_ms: float, tokens: float, notes: Notes
) -> dict[str, float | None]:
    """Return TPOT and ITL, corrected where the client counted stream lines."""
    if stage.tpot is None or tokens <= 1:
        return {}
    tpot = stage.tpot.scaled(MS_PER_S)
    finding = _stream_lines(stage, tokens)
    gaps = stage.itl.scaled(MS_PER_S) if stage.itl else None
    if finding is None and gaps is not None and gaps.at("p50") is not None and gaps.at("p75") is not None:
        _refuse_unexplained(stage, gaps)
    if finding is None:
        itl = _distribution("itl", gaps) if gaps else {}
        return _distribution("tpot", tpot) | itl
    notes.flag(finding, "corrected", stage.id)
    notes.converted("TPOT is multiplied by (2 N + 1) / (N - 1), as the client had counted 2 N + 2 stream lines.")
    values = _distribution("tpot", tpot.scaled(finding.value)) | {
        "tpot_mean": itl_from_means_ms(e2e_ms, ttft_ms, tokens)
    }
    if gaps is not None:
        notes.converted("Half of the reported gaps are empty: ITL p50, p90, p98 are the reported p75, p95, p99.")
        values |= {f"itl_p{rank}": gaps.at(f"p{stream_line_percentile(rank):g}") for rank in (50, 90, 98)}
    return values


def _refuse_unexplained(stage: Stage, gaps: Summary) -> None:
    """Refuse gaps that are half empty although the means do not show 2 N + 1 of them."""
    if lint.every_second_gap_is_empty(p50=gaps.at("p50") or 0.0, p75=gaps.at("p75") or 0.0) is not None:
        raise ConfigError(
            f"{stage.path}: successes.latency: every second gap between tokens is empty, as if stream lines were "
            "counted, but the means do not fit the output length of the profile; give the profile of this run"
        )


def _look_at_requests(recorded: Recorded, profile: Profile, notes: Notes) -> None:
    if not recorded.requests:
        return
    by_stage: dict[str, list[Any]] = {}
    for request in recorded.requests:
        by_stage.setdefault(request.load_point, []).append(request)
    repeat = lint.prompts_repeat([request.prompt_tokens for request in recorded.requests])
    notes.flag(repeat, "corrected" if profile.pool else "noted")
    for stage, finding in recorded.findings:
        notes.flag(finding, "corrected" if profile.output_tokens else "noted", stage)
    for stage, requests in by_stage.items():
        notes.flag(lint.constant_is_poisson([request.arrival_us for request in requests]), "corrected", stage)
        notes.flag(
            lint.cold_start([request.ttft_ms for request in requests if request.ttft_ms is not None]), "noted", stage
        )
    notes.flag(lint.stages_overlap(recorded.stages_s), "noted")


def _missing_stages(stages: Sequence[Stage]) -> lint.Finding | None:
    """Find a stage that ran, as a later one did, but whose metrics are not there."""
    numbers = {stage.number for stage in stages}
    missing = [str(number) for number in range(max(numbers)) if number not in numbers]
    if not missing:
        return None
    text = (
        f"There are no metrics of stage {', '.join(missing)}, although stage {max(numbers)} is there: what was sent in "
        "between is in no figure, and may have filled the prefix cache."
    )
    return lint.Finding(Flag.PART_OF_THE_RUN, text)


def _look_at_run(stages: Sequence[Stage], profile: Profile, notes: Notes) -> None:
    notes.flag(_missing_stages(stages), "noted")
    for stage in stages:
        largest, tail = stage.ttft.at("max"), stage.ttft.at("p99.9")
        if largest and tail:
            cold = lint.cold_tail(largest=largest * MS_PER_S, p99_9=tail * MS_PER_S, requests=stage.completed)
            notes.flag(cold, "noted", stage.id)
    for finding in profile.findings:
        notes.flag(finding, "corrected")
    notes.flag(lint.Finding(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client."), "noted")
    if profile.pool and not profile.lengths_recorded:
        text = "Single prompt lengths are not recorded; every prompt has the mean length."
        notes.flag(lint.Finding(Flag.LENGTHS_UNKNOWN, text), "noted")


def _mean_prompt_tokens(stages: Sequence[Stage]) -> float:
    count = sum(stage.completed for stage in stages)
    return sum(stage.prompt_len_mean * stage.completed for stage in stages) / count


def _day_of_run(run: Path, results: Path, stages: Sequence[Stage]) -> tuple[date, str]:
    """Return the day in the folder's name, else the day the first metrics file was written."""
    match = _DAY.search(run.resolve().name)
    if match:
        try:
            return date(*(int(part) for part in match.groups())), "From the name of the folder."
        except ValueError:  # a 31st of a month that has none
            pass
    written = datetime.fromtimestamp(stages[0].path.stat().st_mtime, UTC).date()
    return written, "Day on which the results file was last written; the tool records no date."
