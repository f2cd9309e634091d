"""Results of inference-perf: one load point per stage of a run.

Contract: `read` accepts the folder of one run (stage metrics, optionally with single requests, in it or in its
`results`), with the client's `config.yaml` or `profile.yaml` beside them, because the metrics do not say how many
tokens were generated. Every stage becomes a load point. Facts about the layout: a real run of February 2026 (commit
e8e0aa99), and the report generator of inference-perf 0.7.0, which adds token counts of the server.

Conversions: seconds to ms; a TPOT that counted stream lines is multiplied by (2 N + 1) / (N - 1), and the percentiles
of its gaps are those between tokens at twice the distance from 100; output lengths are those the server had to
generate, not the client's count of the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.json_stream import stream_values
from roofline_lab.ground_truth.kept_up import Load
from roofline_lab.ground_truth.quality import Finding, Flag
from roofline_lab.ground_truth.requests import MeasuredRequest, checked_requests
from roofline_lab.importers.common import (
    MS_PER_S,
    US_PER_S,
    Foreign,
    Latency,
    Mean,
    Measurement,
    Notes,
    WholeNumber,
    arrivals_as_sent,
    judged,
    measured_metrics,
    measurement,
    rates,
    refuse_impossible,
    refuse_longer_than_run,
    request_counts,
    unrecorded_day,
)
from roofline_lab.importers.inference_perf_workload import Profile, SentRequest, read_profile, read_requests
from roofline_lab.importers.stated_server import RESULTS_FOLDER
from roofline_lab.importers.tools import refuse_other_tool
from roofline_lab.importers.unmeasured import unmeasured_below
from simulator.conversions import itl_from_means_ms, stream_line_percentile
from simulator.errors import ConfigError
from simulator.validation import parse
from simulator.workload.prefixes import recognise_pool

TOOL = "inference-perf"
MARKS = frozenset({"load_summary", "successes", "failures"})

STAGE_FILE = re.compile(r"stage_(\d{1,4})_lifecycle_metrics\.json(?:\.gz)?")
SUMMARY_FILE = "summary_lifecycle_metrics.json"
MAX_FILE_BYTES = 1 << 24
# Means that are written as whole tokens differ by their rounding.
HALF_A_TOKEN = 0.5

# Percentile names of the files by ours.
_RANKS = {"p50": "median", "p75": "p75", "p90": "p90", "p95": "p95", "p99": "p99", "p99.9": "p99.9", "max": "max"}


def read(path: Path) -> Measurement:
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
    stages = _stages(results)
    profile = read_profile(results, run)
    profile = profile.as_sent(stream_lines=any(_counts_lines(stage, profile.output_tokens) for stage in stages))
    notes = Notes()
    requests = _requests(results, profile, stages, notes)
    load_points = [_load_point(stage, stages, profile, requests, notes) for stage in stages]
    _look_at_run(stages, profile, notes, recorded=bool(requests))
    files = [*(stage.path.name for stage in stages), profile.file]
    return measurement(
        tool=TOOL,
        source=str(path),
        document=f"inference-perf run {run.name}: {', '.join(dict.fromkeys(files))}",
        measured_on=unrecorded_day(run),
        model_name=profile.model_name,
        workload=profile.workload(_mean_of(stages, _prompt_tokens), _mean_of(stages, _tokens_by(profile))),
        load_points=load_points,
        notes=notes,
        requests=requests,
    )


# --- the files of stages ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Summary:
    """Mean and percentiles of one latency."""

    mean: float
    ranks: Mapping[str, float]

    def at(self, rank: str) -> float | None:
        """Return a percentile, or None if the file does not have it."""
        return self.ranks.get(rank)

    def scaled(self, factor: float) -> _Summary:
        """Return the same in another unit."""
        return _Summary(self.mean * factor, {rank: value * factor for rank, value in self.ranks.items()})

    def metrics(self, name: str) -> dict[str, float | None]:
        """Return mean and percentiles under their metric names."""
        return {f"{name}_mean": self.mean} | {f"{name}_{rank}": self.at(rank) for rank in ("p50", "p90", "p99")}


class _Load(Foreign):
    """What was sent in one stage."""

    count: WholeNumber
    requested_rate: Latency | None = None
    achieved_rate: Latency | None = None
    concurrency: WholeNumber | None = None


class _Mean(Foreign):
    mean: Latency
    min: Latency | None = None
    max: Latency | None = None


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
    load_summary: _Load
    successes: _Successes
    failures: _Failures


@dataclass(frozen=True, slots=True)
class _Stage:
    """One stage; latencies in seconds, as in the file.

    Attributes
    ----------
    number
        Its place in the run, from 0.
    output_is_from_server
        Whether the mean output length is the server's count.
    least
        Mean and minimum of TTFT, and of the tokens the server counted.
    """

    id: str
    number: int
    path: Path
    load: _Load
    completed: int
    failed: int
    ttft: _Summary
    e2e: _Summary
    tpot: _Summary | None
    itl: _Summary | None
    requests_per_s: float
    prompt_len_mean: float
    output_len_mean: float
    output_is_from_server: bool
    prompt_lengths_vary: bool
    least: Mapping[str, Mapping[str, float | None]]


def _stages(folder: Path) -> list[_Stage]:
    """Read the stage files of a results folder; a lone summary stands for the one stage of a run."""
    found = {int(match[1]): path for path in folder.iterdir() if (match := STAGE_FILE.fullmatch(path.name))}
    if found:
        return [_stage(found[number], f"stage_{number}", number) for number in sorted(found)]
    for name in (SUMMARY_FILE, f"{SUMMARY_FILE}.gz"):
        if (folder / name).is_file():
            return [_stage(folder / name, "summary", 0)]
    raise ConfigError(
        f"{folder}: no stage_<n>_lifecycle_metrics.json and no {SUMMARY_FILE}; "
        "give the folder that inference-perf wrote, with its per-stage reports"
    )


def _stage(path: Path, name: str, number: int) -> _Stage:
    report = _report(path)
    done, latency = report.successes, report.successes.latency
    if latency is None or latency.time_to_first_token is None:
        raise ConfigError(
            f"{path}: successes.latency.time_to_first_token: missing; run inference-perf with api.streaming: true"
        )
    prompt, output = done.prompt_tokens or done.prompt_len, done.output_tokens or done.output_len
    needed = {"prompt_len": prompt, "output_len": output, "throughput": done.throughput}
    if prompt is None or output is None or done.throughput is None:
        missing = next(key for key, value in needed.items() if value is None)
        raise ConfigError(f"{path}: successes.{missing}: missing; is this a file of inference-perf?")
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
    tpot, itl = latency.time_per_output_token, latency.inter_token_latency
    return _Stage(
        id=name,
        number=number,
        path=path,
        load=report.load_summary,
        completed=done.count,
        failed=report.failures.count,
        ttft=ttft,
        e2e=e2e,
        tpot=None if tpot is None else _summary(path, "time_per_output_token", tpot),
        itl=None if itl is None else _summary(path, "inter_token_latency", itl),
        requests_per_s=done.throughput.requests_per_sec,
        prompt_len_mean=prompt.mean,
        output_len_mean=output.mean,
        prompt_lengths_vary=done.prompt_len is None or done.prompt_len.min != done.prompt_len.max,
        output_is_from_server=done.output_tokens is not None and not done.client_fallback_requests.get("output"),
        least={
            "ttft": {"mean": ttft.mean, "min": latency.time_to_first_token.get("min")},
            "output": {} if done.output_tokens is None else {"mean": output.mean, "min": output.min},
        },
    )


def _report(path: Path) -> _Report:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: {size} bytes, far more than a summary has; is this a file of inference-perf?")
    document = {str(place[-1]) if place else "": value for place, value in stream_values(path, frozenset({()}))}
    refuse_other_tool(path, document, TOOL)
    if not {"load_summary", "successes"} & document.keys():
        raise ConfigError(f"{path}: no load_summary and no successes; is this a stage report of inference-perf?")
    report = parse(_Report, document, source=str(path))
    if not report.successes.count:
        raise ConfigError(f"{path}: successes.count: 0; without an answer nothing is measured")
    if report.successes.count + report.failures.count > report.load_summary.count:
        raise ConfigError(f"{path}: load_summary.count: below successes and failures together; the file is damaged")
    return report


def _summary(path: Path, name: str, values: Mapping[str, float]) -> _Summary:
    if "mean" not in values:
        raise ConfigError(f"{path}: successes.latency.{name}.mean: missing; it is required")
    return _Summary(values["mean"], {rank: values[key] for rank, key in _RANKS.items() if key in values})


# --- load points ------------------------------------------------------------------------------


def _load_point(
    stage: _Stage, stages: Sequence[_Stage], profile: Profile, requests: Sequence[MeasuredRequest], notes: Notes
) -> dict[str, Any]:
    load = stage.load
    arrivals = profile.arrivals(load.requested_rate, load.concurrency, str(stage.path))
    own = [request for request in requests if request.load_point == stage.id]
    found = judged(_load_of(stage, arrivals, own), notes, stage.id)
    basis = f"{stage.path.name}: {stage.completed} successes and {stage.failed} failures."
    return {
        "id": stage.id,
        "arrivals": arrivals_as_sent(arrivals, found, load.count, [request.arrival_us for request in own]),
        "rate": rates(load.requested_rate, found) if load.requested_rate else None,
        **_prompts_before(stage, stages, profile),
        "requests": {
            **request_counts(sent=load.count, completed=stage.completed, failed=stage.failed, basis=basis),
            **({"lost_positions": "unknown"} if stage.failed else {}),
        },
        "saturation": found.saturation,
        **_own_lengths(stage, stages, profile),
        "measured": _measured(stage, profile, notes),
    }


def _own_lengths(stage: _Stage, stages: Sequence[_Stage], profile: Profile) -> dict[str, Any]:
    """Return lengths of a stage that the mean of the run does not stand for; prompts of a pool are always the same."""
    if profile.pool is not None:
        return {}
    sides = {"prompt": _prompt_tokens, "output": _tokens_by(profile)}
    means = {side: (value(stage), _mean_of(stages, value)) for side, value in sides.items()}
    return {
        side: profile.lengths(side, own)
        for side, (own, run) in means.items()
        if abs(own - run) > max(HALF_A_TOKEN, lint.DEFINITION_TOLERANCE * run)
    }


def _prompts_before(stage: _Stage, stages: Sequence[_Stage], profile: Profile) -> dict[str, Any]:
    """Return what earlier stages left in a prefix cache: all prompts, or as many as they sent."""
    if profile.pool is None or not stage.number:
        return {}
    earlier = [each for each in stages if each.number < stage.number]
    sent = sum(each.load.count for each in earlier)
    # Nobody knows how much a stage sent whose metrics are missing; a round is what stages usually exceed.
    if sent >= profile.pool.prompts or len(earlier) < stage.number:
        return {"prompts_seen_before": True}
    return {"prompts_sent_before": sent}


def _load_of(stage: _Stage, arrivals: Mapping[str, Any], requests: Sequence[MeasuredRequest]) -> Load:
    return Load(
        sent=stage.load.count,
        completed=stage.completed,
        failed=stage.failed,
        requested_per_s=arrivals.get("rate_per_s"),
        # The client's timer stretches its gaps to the length of the stage, so that the rate is no chance.
        random_gaps=arrivals["kind"] == "poisson" and not arrivals.get("rescaled"),
        in_flight=arrivals.get("concurrency"),
        sent_per_s=stage.load.achieved_rate or None,
        run_s=stage.completed / stage.requests_per_s if stage.requests_per_s else None,
        ttft_s=stage.ttft.mean,
        e2e_s=stage.e2e.mean,
        longest_s=stage.e2e.at("max"),
        waits=_ttft_ms(requests),
    )


def _ttft_ms(requests: Sequence[MeasuredRequest]) -> list[float]:
    return [request.ttft_ms for request in requests if request.ttft_ms is not None]


def _measured(stage: _Stage, profile: Profile, notes: Notes) -> dict[str, Any]:
    """Return figures in ms by our definitions."""
    tokens = profile.generated_tokens(stage.output_len_mean, stage.output_is_from_server, str(stage.path))
    ttft, e2e = stage.ttft.scaled(MS_PER_S), stage.e2e.scaled(MS_PER_S)
    notes.converted("Latencies were in seconds and are written in ms.")
    values: dict[str, float | None] = {
        **ttft.metrics("ttft"),
        **e2e.metrics("e2e"),
        **_between_tokens(stage, profile, ttft.mean, e2e.mean, tokens, notes),
        "request_throughput": stage.requests_per_s,
        "output_token_throughput": stage.requests_per_s * tokens,
        # Where single lengths are drawn, the mean is what was counted.
        "output_tokens_mean": tokens if profile.lengths("output", tokens)["kind"] != "constant" else None,
    }
    _compare_counts(stage, profile, notes)
    retokenised = lint.output_retokenised(reported=stage.output_len_mean, generated=tokens)
    if not stage.output_is_from_server and retokenised is not None:
        notes.flag(retokenised, "corrected", stage.id)
        notes.converted(
            "Output lengths and token throughput are those of the profile, as the server must generate them."
        )
    notes.flag(unmeasured_below(str(stage.path), stage.least), "noted", stage.id)
    return measured_metrics(str(stage.path), values, {"tpot": "inter_token", "itl": "pooled_gaps"}, notes)


def _stream_lines(stage: _Stage, tokens: float | None) -> Finding | None:
    """Find a client that counted blank lines of the stream; every ratio is free of units."""
    if stage.tpot is None or tokens is None:
        return None
    return lint.stream_lines_counted(ttft=stage.ttft.mean, e2e=stage.e2e.mean, tpot=stage.tpot.mean, tokens=tokens)


def _counts_lines(stage: _Stage, tokens: float | None) -> bool:
    """Whether the client counted blank lines of the stream, however many tokens came in one line."""
    return _stream_lines(stage, tokens) is not None or _is_half_empty(stage.itl)


def _is_half_empty(gaps: _Summary | None) -> bool:
    """Whether every second gap between pieces of the stream is empty; a ratio, free of units."""
    if gaps is None:
        return False
    return lint.every_second_gap_is_empty(p50=gaps.at("p50") or 0.0, p75=gaps.at("p75") or 0.0) is not None


def _compare_counts(stage: _Stage, profile: Profile, notes: Notes) -> None:
    """Note a server that generated another number of tokens than the profile fixes; its count is used."""
    fixed, counted = profile.output_tokens, stage.output_len_mean
    if not stage.output_is_from_server or not fixed:
        return
    if lint.output_retokenised(reported=counted, generated=fixed) is not None:
        text = f"{profile.file} fixes {fixed} tokens per answer, the server counted {counted:g}; those are used."
        notes.say(Flag.FIGURES_CONTRADICT, text, load_point=stage.id)


def _between_tokens(
    stage: _Stage, profile: Profile, ttft_ms: float, e2e_ms: float, tokens: float, notes: Notes
) -> dict[str, float | None]:
    """Return TPOT and ITL, corrected where the client counted stream lines."""
    if stage.tpot is None or tokens <= 1:
        return {}
    tpot = stage.tpot.scaled(MS_PER_S)
    gaps = stage.itl.scaled(MS_PER_S) if stage.itl else None
    finding = _stream_lines(stage, tokens)
    if finding is None:
        chunks = _in_chunks(stage, profile, tokens)
        if chunks is not None:
            notes.flag(chunks, "corrected", stage.id)
            return {"tpot_mean": itl_from_means_ms(e2e_ms, ttft_ms, tokens)}
        _refuse_unexplained(stage)
        return tpot.metrics("tpot") | (gaps.metrics("itl") if gaps else {})
    notes.flag(finding, "corrected", stage.id)
    notes.converted("TPOT is multiplied by (2 N + 1) / (N - 1), as the client had counted 2 N + 2 stream lines.")
    values = tpot.scaled(finding.value).metrics("tpot") | {"tpot_mean": itl_from_means_ms(e2e_ms, ttft_ms, tokens)}
    if gaps is not None:
        notes.converted("Half of the reported gaps are empty: ITL p50, p90, p98 are the reported p75, p95, p99.")
        values |= {f"itl_p{rank}": gaps.at(f"p{stream_line_percentile(rank):g}") for rank in (50, 90, 98)}
    return values


def _in_chunks(stage: _Stage, profile: Profile, tokens: float) -> Finding | None:
    """Find several tokens per chunk, where every answer has the same length, so that means of ratios are ratios."""
    if stage.tpot is None or not profile.output_tokens:
        return None
    return lint.tokens_in_chunks(
        ttft=stage.ttft.mean,
        e2e=stage.e2e.mean,
        tpot=stage.tpot.mean,
        tokens=tokens,
        text_tokens=stage.output_len_mean,
        lines=_is_half_empty(stage.itl),
    )


def _refuse_unexplained(stage: _Stage) -> None:
    """Refuse gaps that are half empty although the means do not show 2 N + 1 of them."""
    if _is_half_empty(stage.itl):
        raise ConfigError(
            f"{stage.path}: successes.latency: every second gap between tokens is empty, as if stream lines were "
            "counted, but the means do not fit the output length of the profile; give the profile of this run"
        )


def _mean_of(stages: Sequence[_Stage], value: Callable[[_Stage], float]) -> float:
    """Return the mean over all answers of a run."""
    count = sum(stage.completed for stage in stages)
    return sum(value(stage) * stage.completed for stage in stages) / count


def _prompt_tokens(stage: _Stage) -> float:
    return stage.prompt_len_mean


def _tokens_by(profile: Profile) -> Callable[[_Stage], float]:
    return lambda stage: profile.generated_tokens(stage.output_len_mean, stage.output_is_from_server, str(stage.path))


# --- single requests --------------------------------------------------------------------------


def _requests(folder: Path, profile: Profile, stages: Sequence[_Stage], notes: Notes) -> tuple[MeasuredRequest, ...]:
    """Return the single requests of all stages, assigned by their number, and note what they show."""
    found = read_requests(folder, profile)
    if found is None:
        return ()
    path, sent = found
    counted = sum(stage.load.count for stage in stages)
    if len(sent) != counted:
        raise ConfigError(f"{path}: {len(sent)} requests, but the stages sent {counted}; are the files of one run?")
    lengths = [int(request.prompt_tokens) for request in sent]
    pool = recognise_pool(profile.pool.spec(max(lengths)), lengths) if profile.pool else None
    notes.flag(lint.prompts_repeat(lengths), "corrected" if profile.pool else "noted")
    requests: list[MeasuredRequest] = []
    spans_s = []
    for stage in stages:
        begin = len(requests)
        part = sent[begin : begin + stage.load.count]
        answered = [request for request in part if not request.failed]
        if len(answered) != stage.completed:
            raise ConfigError(f"{path}: successes of {stage.id} differ from {stage.path}; are the files of one run?")
        spans_s.append((part[0].start_s, max(request.end_s for request in part)))
        requests += [
            _measured_request(stage.id, position, request, part[0].start_s, pool[position] if pool else None)
            for position, request in enumerate(part, start=begin)
        ]
        own = requests[begin:]
        for finding in _of_counts(answered, profile):
            notes.flag(finding, "corrected" if profile.output_tokens else "noted", stage.id)
        notes.flag(_first_chunk(answered), "noted", stage.id, "The first token came later than TTFT says.")
        notes.flag(lint.constant_is_poisson([request.arrival_us for request in own]), "corrected", stage.id)
        notes.flag(lint.cold_start(_ttft_ms(own)), "noted", stage.id)
    notes.flag(lint.stages_overlap(spans_s), "noted")
    return checked_requests(str(path), requests)


def _of_counts(answered: Sequence[SentRequest], profile: Profile) -> Iterator[Finding | None]:
    """Yield what the client's counts show: lengths that took no time, times that are no tokens."""
    counted = [
        (request.client_tokens, request.end_s - request.start_s)
        for request in answered
        if not math.isnan(request.client_tokens)
    ]
    yield lint.lengths_unrelated_to_time([tokens for tokens, _ in counted], [time_s for _, time_s in counted])
    events = [int(request.events) for request in answered if request.events]
    yield lint.stream_events_counted(events, profile.output_tokens or 0)


def _first_chunk(answered: Sequence[SentRequest]) -> Finding | None:
    timed = [request for request in answered if not math.isnan(request.typical_gap_s)]
    return lint.first_chunk_is_no_token(
        ttft=[(request.first_token_s - request.start_s) * MS_PER_S for request in timed],
        first_gap=[request.first_gap_s * MS_PER_S for request in timed],
        typical_gap=[request.typical_gap_s * MS_PER_S for request in timed],
    )


def _measured_request(stage: str, position: int, sent: SentRequest, begin_s: float, prompt: Any) -> MeasuredRequest:
    timed = not sent.failed and not math.isnan(sent.first_token_s)
    return MeasuredRequest(
        load_point=stage,
        id=f"request_{position}",
        arrival_us=round((sent.start_s - begin_s) * US_PER_S),
        prompt_tokens=int(sent.prompt_tokens),
        output_tokens=int(sent.output_tokens),
        prefix_group=prompt.prefix_group if prompt else None,
        prefix_tokens=prompt.prefix_tokens if prompt else 0,
        outer_group=prompt.outer_group if prompt else None,
        outer_tokens=prompt.outer_tokens if prompt else 0,
        completed=not sent.failed,
        ttft_ms=(sent.first_token_s - sent.start_s) * MS_PER_S if timed else None,
        e2e_ms=None if sent.failed else (sent.end_s - sent.start_s) * MS_PER_S,
    )


# --- the run as a whole -----------------------------------------------------------------------


def _look_at_run(stages: Sequence[_Stage], profile: Profile, notes: Notes, *, recorded: bool) -> None:
    numbers = {stage.number for stage in stages}
    missing = [str(number) for number in range(max(numbers)) if number not in numbers]
    if missing:
        text = (
            f"There are no metrics of stage {', '.join(missing)}, although stage {max(numbers)} is there: what was "
            "sent in between is in no figure, and may have filled the prefix cache."
        )
        notes.say(Flag.PART_OF_THE_RUN, text)
    for stage in stages:
        largest, tail = stage.ttft.at("max"), stage.ttft.at("p99.9")
        if largest and tail:
            cold = lint.cold_tail(largest=largest * MS_PER_S, p99_9=tail * MS_PER_S, requests=stage.completed)
            notes.flag(cold, "noted", stage.id)
    for finding in profile.findings(sum(stage.load.count for stage in stages)):
        notes.flag(finding, "corrected")
    notes.say(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client.")
    if recorded:
        return
    if any(stage.prompt_lengths_vary for stage in stages):
        drawn = profile.lengths("prompt", _mean_of(stages, _prompt_tokens))["kind"] != "constant"
        how = "they are drawn again as the client drew them" if drawn else "every prompt has the mean length"
        notes.say(Flag.LENGTHS_UNKNOWN, f"Single prompt lengths are not recorded; {how}.")
    if profile.output_tokens is None:
        drawn = profile.lengths("output", _mean_of(stages, _tokens_by(profile)))["kind"] != "constant"
        how = "they are drawn again as the client drew them"
        how = how if drawn else "every answer has the mean length that the server counted"
        notes.say(Flag.LENGTHS_UNKNOWN, f"Single output lengths are not recorded; {how}.")
