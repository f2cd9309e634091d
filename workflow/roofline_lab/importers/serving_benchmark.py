"""The result format that vLLM's `benchmark_serving.py`, `vllm bench serve` and their offspring write.

Contract: `results_of` reads every result of a file - one JSON object, or several one after the other - and refuses
what lacks its counts or contradicts itself. What differs between the tools is a `Dialect`. Where the lists of single
requests were saved the figures are formed from them, so that what is no measurement can be left out: answers without a
token, times of 0, a first chunk that was no token (`serving_requests`). Facts: `benchmarks/serve.py` of vLLM
0.8.5 and 0.11.0, `bench_serving.py` of SGLang 0.4 and 0.5.

Units, as vLLM's documentation gives them: names that end in `_ms` are milliseconds, lists (`ttfts`, `itls`) and
`duration` are seconds. TPOT is already (E2E - TTFT) / (N - 1) per request.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import create_model

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.json_stream import stream_documents
from roofline_lab.ground_truth.kept_up import Judgement, Load, fills_loop
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import checked_requests
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
    constant_workload,
    judged,
    measured_metrics,
    measurement,
    rates,
    refuse_impossible,
    refuse_longer_than_run,
    request_counts,
    unrecorded_day,
)
from roofline_lab.importers.disaggregated import refuse_disaggregated
from roofline_lab.importers.run_metadata import read_run_metadata
from roofline_lab.importers.server_facts import stated_by
from roofline_lab.importers.serving_requests import Answers, GapsOfRequests, answers_of
from roofline_lab.importers.stated_server import with_server
from roofline_lab.importers.tools import refuse_other_tool
from roofline_lab.importers.unmeasured import unmeasured_below
from simulator.errors import ConfigError
from simulator.validation import parse

LOAD_POINT = "bench"
# What results in seconds are called: the benchmark of InferenceX is vLLM's, with other names for its figures.
IN_SECONDS = "InferenceX result"

# What vLLM's benchmark leaves out unless it is asked for: without this there is no E2E in the file.
ALL_METRICS = "ttft,tpot,itl,e2el"

# Texts, which nothing here needs; they are read one by one, as there may be a gigabyte of them.
SKIPPED = ("generated_texts",)
DESCEND = frozenset({(), ("itls",), *((name,) for name in SKIPPED)})
# A rate without limit; vLLM writes it as text.
INFINITE = frozenset({"request_rate"})

# How far means of the lists may lie from the scalars, which are formed from the same requests.
LISTS_TOLERANCE = 0.01

# Our statistics of our metrics, and what the files call them.
STATISTICS = {"mean": "mean", "p50": "median", "p90": "p90", "p95": "p95", "p98": "p98", "p99": "p99"}
METRICS = {"ttft": "ttft", "tpot": "tpot", "itl": "itl", "e2e": "e2el"}

# A mean this far below the median where the 99th percentile is near it: some of the values were next to nothing.
BELOW_THE_MEDIAN = 0.9
NEAR_THE_MEDIAN = 1.2

_DATE_FORMATS = ("%Y%m%d-%H%M%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d")

_KEYS = tuple(f"{rank}_{own}_ms" for rank in STATISTICS.values() for own in METRICS.values())
_BARE_KEYS = {key.removesuffix("_ms"): key for key in _KEYS}
_Figures = create_model("_Figures", __base__=Foreign, **dict.fromkeys(_KEYS, (Latency | None, None)))  # type: ignore[call-overload]


class _Counts(Foreign):
    """What stands beside the figures."""

    date: str | None = None
    model_id: str | None = None
    num_prompts: WholeNumber = 0
    completed: WholeNumber
    failed: WholeNumber | None = None
    duration: Latency
    request_rate: float | str | None = None
    burstiness: float | None = None
    ramp_up_strategy: str | None = None
    max_concurrency: WholeNumber | None = None
    total_input_tokens: WholeNumber
    total_output_tokens: WholeNumber
    request_throughput: Latency | None = None
    output_throughput: Latency | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What a result says of itself beyond its figures, as a dialect reads it.

    Attributes
    ----------
    model_name
        Of the server.
    server
        Facts about it, under any names that `server_facts` knows.
    tool_version
        Of the client.
    lengths
        Prompt and output length of every request that was sent, in order of sending, where they are known.
    remark
        What it says of its prompts that cannot be simulated as sent.
    """

    model_name: str | None = None
    server: Mapping[str, Any] = field(default_factory=dict)
    tool_version: str | None = None
    lengths: tuple[Sequence[int], Sequence[int]] | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a tool writes the format.

    Attributes
    ----------
    tool, title
        Its name on the command line, and what a result of it is called.
    wanted
        Keys of which a result has one at least, and what to say otherwise.
    all_metrics
        What to do to have every latency in a result.
    detailed
        What to do to have the lists of single requests in a result.
    renamed
        Keys that vLLM's benchmark calls otherwise.
    said
        Reads what else a result says of itself.
    """

    tool: str
    title: str
    wanted: tuple[frozenset[str], str]
    all_metrics: str
    detailed: str
    renamed: Mapping[str, str]
    said: Callable[[Mapping[str, Any]], Said]


@dataclass(frozen=True, slots=True)
class _Result:
    """One result: its file and place in it, counts, figures in ms by our names, answers where they are listed.

    `in_seconds`: the file has them in seconds under names without a unit, as InferenceX writes some results.
    `lowest`: every percentile it has of TTFT and E2E.
    """

    source: str
    counts: _Counts
    figures: Mapping[str, float | None]
    answers: Answers | None
    said: Said
    in_seconds: bool = False
    lowest: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def figure(self, metric: str) -> Mean | None:
        """Return the mean of a metric under the name the file has for it."""
        value = self.figures[f"{metric}_mean"]
        return None if value is None else Mean(f"mean_{METRICS[metric]}_ms", value)


def results_of(file: Path, dialect: Dialect) -> list[Measurement]:
    """Read the results of one file.

    Raises
    ------
    ConfigError
        If one is not what the tool writes, is damaged, or has no successful request.
    """
    refuse_disaggregated(file)
    documents = list(_documents(file, dialect))
    found = []
    for number, (values, gaps) in enumerate(documents, start=1):
        source = str(file) if len(documents) == 1 else f"{file}, result {number}"
        found.append(_measurement(file, _result(file, source, values, gaps, dialect), dialect))
    return found


def _measurement(file: Path, result: _Result, dialect: Dialect) -> Measurement:
    notes = Notes()
    metadata = read_run_metadata(file.parent)
    said, answers = result.said, result.answers
    # Only files with `start_times` say when requests were sent.
    recorded = checked_requests(result.source, answers.requests) if answers and answers.timed else ()
    workload = _workload(result, recorded, dialect, notes)
    load_point = _load_point(result, dialect, notes)
    _note_quality(result, dialect, notes)
    found = measurement(
        tool=dialect.tool,
        tool_version=said.tool_version,
        source=result.source,
        document=", ".join((f"{IN_SECONDS if result.in_seconds else dialect.title} {file.name}", *metadata.files)),
        measured_on=_day(file, result),
        model_name=said.model_name or result.counts.model_id,
        workload=workload,
        load_points=[load_point],
        notes=notes,
        requests=recorded,
    )
    asked = f"rate_{_rate(result):g}".replace("+", "")
    return with_server(replace(found, asked=asked), stated_by(str(file), said.server))


# --- the file ---------------------------------------------------------------------------------


def _documents(file: Path, dialect: Dialect) -> Iterator[tuple[dict[str, Any], GapsOfRequests]]:
    """Yield the values at the top of every result of a file, and the gaps between the tokens of its requests."""
    number, values, gaps = 0, dict[str, Any](), GapsOfRequests(str(file))
    for document, place, value in stream_documents(file, DESCEND, INFINITE):
        if not place or not isinstance(place[0], str):
            raise ConfigError(f"{file}: not a {dialect.title}: the file is no JSON object")
        if document != number:
            yield values, gaps
            number, values, gaps = document, {}, GapsOfRequests(f"{file}, result {document + 1}")
        if place[0] == "itls":
            gaps.add(place, value)
        elif place[0] not in SKIPPED:
            values[place[0]] = value
    yield values, gaps


def _result(file: Path, source: str, values: dict[str, Any], gaps: GapsOfRequests, dialect: Dialect) -> _Result:
    refuse_other_tool(file, values, dialect.tool)
    keys, otherwise = dialect.wanted
    if not keys & values.keys():
        raise ConfigError(f"{source}: {otherwise}")
    in_seconds = not any(key in values for key in _KEYS) and any(key in values for key in _BARE_KEYS)
    values = {dialect.renamed.get(key, key): value for key, value in (_in_ms(values) if in_seconds else values).items()}
    counts = parse(_Counts, values, source=source)
    # What is asked for as a percentile may be there without the median.
    p50 = {f"median_{own}_ms": values.get(f"p50_{own}_ms") for own in METRICS.values()}
    parsed = parse(_Figures, {**p50, **values}, source=source)
    figures = {
        f"{name}_{statistic}": getattr(parsed, f"{rank}_{own}_ms")
        for name, own in METRICS.items()
        for statistic, rank in STATISTICS.items()
    }
    if all(figure is None for figure in figures.values()):
        raise ConfigError(f"{source}: no mean and no percentile of any latency; {dialect.all_metrics}")
    _check(source, counts, figures)
    answers = answers_of(source, values, gaps, completed=counts.completed, remedy=dialect.detailed)
    result = _Result(source, counts, figures, answers, dialect.said(values), in_seconds, _percentiles(values))
    return _as_answered(result)


def _percentiles(values: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return all percentiles of the times to the first token and of requests; `--metric-percentiles` asks for any."""
    return {
        name: {
            key: value
            for key, value in values.items()
            if re.fullmatch(rf"(?:mean|median|p[\d.]+)_{METRICS[name]}_ms", key)
            and isinstance(value, int | float)
            and not isinstance(value, bool)
        }
        for name in ("ttft", "e2e")
    }


def _in_ms(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result whose latencies are in seconds, in ms."""
    latencies = {_BARE_KEYS[key]: value for key, value in values.items() if key in _BARE_KEYS}
    numbers = {
        key: value * MS_PER_S if isinstance(value, int | float) and not isinstance(value, bool) else value
        for key, value in latencies.items()
    }
    return {**values, **numbers}


def _check(source: str, counts: _Counts, figures: Mapping[str, float | None]) -> None:
    if not counts.completed:
        raise ConfigError(f"{source}: completed: 0; without an answer nothing is measured")
    if counts.completed > counts.num_prompts and "num_prompts" in counts.model_fields_set:
        raise ConfigError(f"{source}: completed: {counts.completed} exceeds num_prompts {counts.num_prompts}")
    if not counts.duration or not counts.total_input_tokens or not counts.total_output_tokens:
        raise ConfigError(f"{source}: duration, total_input_tokens and total_output_tokens must be above 0")
    for name in ("ttft", "e2e"):
        for statistic in ("mean", "p50"):
            key = f"{STATISTICS[statistic]}_{METRICS[name]}_ms"
            seconds = (figures[f"{name}_{statistic}"] or 0.0) / MS_PER_S
            refuse_longer_than_run(source, key, seconds, counts.duration)
    rate = counts.completed / counts.duration
    if counts.request_throughput is not None and abs(counts.request_throughput / rate - 1) > 0.01:
        raise ConfigError(
            f"{source}: duration: {counts.completed} requests in {counts.duration:g} s are {rate:.4g} per second, but "
            f"request_throughput is {counts.request_throughput:.4g}; is the duration in seconds?"
        )


def _as_answered(result: _Result) -> _Result:
    """Return the result with the counts of what was really answered, as far as they are known."""
    counts, answers = result.counts, result.answers
    if counts.failed is not None:
        # A small data set keeps the number sent below the number asked for.
        sent = counts.completed + counts.failed
    else:
        sent = answers.sent if answers else counts.num_prompts or counts.completed
    changes: dict[str, Any] = {"num_prompts": max(sent, counts.completed)}
    if answers:
        _check_unit(result.source, answers, result.figures)
        if answers.completed != counts.completed:
            changes |= {
                "completed": answers.completed,
                "total_input_tokens": answers.prompt_tokens,
                "total_output_tokens": answers.output_tokens,
            }
    return replace(result, counts=counts.model_copy(update=changes))


def _check_unit(source: str, answers: Answers, figures: Mapping[str, float | None]) -> None:
    """Refuse lists in milliseconds, which would make every latency a thousand times too long."""
    statistic = "mean" if figures["ttft_mean"] else "p50"
    stated_ms = figures[f"ttft_{statistic}"] or 0.0
    if answers.listed_ttft_s > stated_ms / 2 > 0:
        raise ConfigError(
            f"{source}: ttfts: a mean of {answers.listed_ttft_s:.4g}, but {STATISTICS[statistic]}_ttft_ms is "
            f"{stated_ms:.4g}; lists must be in seconds, names that end in _ms in milliseconds"
        )


def _day(file: Path, result: _Result) -> tuple[date | None, str]:
    text = result.counts.date
    if text is None:
        return unrecorded_day(file.absolute().parent)
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime(text[:19], form).date(), "The file's own date."
        except ValueError:
            continue
    raise ConfigError(f"{result.source}: date: must be like 20250131-142500, got {text!r:.40}; is this a result file?")


# --- what it means ----------------------------------------------------------------------------


def _load_point(result: _Result, dialect: Dialect, notes: Notes) -> dict[str, Any]:
    counts, answers = result.counts, result.answers
    arrivals = _arrivals(result)
    recorded_us = [request.arrival_us for request in answers.requests] if answers and answers.timed else []
    found = _judged(arrivals, result, recorded_us, notes)
    lost = answers.lost if answers else {"failed": counts.failed} if counts.failed is not None else {}
    basis = f"The file's num_prompts {counts.num_prompts} and completed {counts.completed}."
    return {
        "id": LOAD_POINT,
        "arrivals": arrivals_as_sent(arrivals, found, counts.num_prompts, recorded_us),
        "rate": rates(arrivals.get("rate_per_s"), found),
        "duration_s": counts.duration,
        "requests": request_counts(sent=counts.num_prompts, completed=counts.completed, basis=basis, **lost),
        "saturation": found.saturation,
        "measured": _measured(result, dialect, notes),
    }


def _arrivals(result: _Result) -> dict[str, Any]:
    counts = result.counts
    if counts.ramp_up_strategy:
        raise ConfigError(
            f"{result.source}: ramp_up_strategy: '{counts.ramp_up_strategy[:40]}'; a rate that rises during the run is "
            "no load point; run the benchmark once per rate"
        )
    rate = _rate(result)
    limit = counts.max_concurrency if counts.max_concurrency and counts.max_concurrency < counts.num_prompts else None
    if math.isinf(rate) and not limit:
        return {"kind": "burst"}
    if limit and (math.isinf(rate) or fills_loop(_load(result), limit)):
        return {"kind": "closed_loop", "concurrency": limit}
    burstiness = counts.burstiness if counts.burstiness is not None else 1.0
    if burstiness == 1.0:
        return {"kind": "poisson", "rate_per_s": rate}
    if not 0 < burstiness < math.inf:
        raise ConfigError(f"{result.source}: burstiness: must be positive, got {burstiness!r:.40}")
    # vLLM draws gamma gaps of shape `burstiness`, whose coefficient of variation is its inverse root.
    return {"kind": "gamma", "rate_per_s": rate, "cv": burstiness**-0.5}


def _rate(result: _Result) -> float:
    """Return requests per second, infinite where everything is sent at once."""
    stated = result.counts.request_rate
    try:
        rate = math.inf if stated is None else float(stated)
    except ValueError:
        rate = math.nan
    if not rate > 0:
        raise ConfigError(f"{result.source}: request_rate: must be a positive number or inf, got {stated!r:.40}")
    return rate


def _completed_per_s(counts: _Counts) -> float:
    return counts.completed / counts.duration


def _load(result: _Result, **known: Any) -> Load:
    """Return what the file says of its load, by medians where it has no means; E2E may follow from other figures."""
    counts = result.counts
    ttft_ms, tpot_ms, e2e_ms = (
        result.figures[f"{name}_mean"] or result.figures[f"{name}_p50"] for name in ("ttft", "tpot", "e2e")
    )
    if e2e_ms is None and ttft_ms is not None and tpot_ms is not None:
        e2e_ms = ttft_ms + tpot_ms * max(0.0, counts.total_output_tokens / counts.completed - 1)
    return Load(
        sent=counts.num_prompts,
        completed=counts.completed,
        failed=result.answers.lost.get("failed", 0) if result.answers else counts.num_prompts - counts.completed,
        run_s=counts.duration,
        ttft_s=None if ttft_ms is None else ttft_ms / MS_PER_S,
        e2e_s=None if e2e_ms is None else e2e_ms / MS_PER_S,
        **known,
    )


def _judged(arrivals: Mapping[str, Any], result: _Result, recorded_us: Sequence[int], notes: Notes) -> Judgement:
    if arrivals["kind"] == "burst":
        return Judgement("saturated", "Everything is sent at once (request_rate inf).")
    load = _load(
        result,
        requested_per_s=arrivals.get("rate_per_s"),
        random_gaps=arrivals["kind"] in ("poisson", "gamma"),
        in_flight=arrivals.get("concurrency"),
        arrivals_s=[arrival_us / US_PER_S for arrival_us in recorded_us],
        waits=result.answers.ttft_ms if result.answers else (),
    )
    return judged(load, notes, LOAD_POINT)


def _measured(result: _Result, dialect: Dialect, notes: Notes) -> dict[str, Any]:
    counts, answers = result.counts, result.answers
    refuse_impossible(result.source, ttft=result.figure("ttft"), e2e=result.figure("e2e"))
    values: dict[str, float | None] = {
        "request_throughput": _completed_per_s(counts),
        "output_token_throughput": counts.output_throughput or counts.total_output_tokens / counts.duration,
    }
    values |= result.figures
    values |= _corrections(result, notes)
    if answers:
        notes.converted("Lists are in seconds; TTFT, TPOT and E2E are formed from them, in ms.")
        values |= answers.statistics()
    else:
        in_seconds = "Latencies were in seconds, under names without a unit, and are written in ms."
        notes.converted(in_seconds if result.in_seconds else "Names that end in _ms are taken as they are.")
    _tell_missing(values, dialect, notes)
    return measured_metrics(result.source, values, {"tpot": "inter_token", "itl": "pooled_gaps"}, notes)


def _tell_missing(values: Mapping[str, float | None], dialect: Dialect, notes: Notes) -> None:
    missing = [name for name in METRICS if not any(values.get(f"{name}_{statistic}") for statistic in STATISTICS)]
    if missing:
        names = ", ".join(name.upper() for name in missing)
        notes.converted(f"The file has no {names}; to have every latency, {dialect.all_metrics}.")
    medians = [name for name in METRICS if values.get(f"{name}_p50") and not values.get(f"{name}_mean")]
    if medians:
        names = ", ".join(name.upper() for name in medians)
        notes.converted(f"The file has no mean of {names}; a median stays the 50th percentile and is no mean.")


def _corrections(result: _Result, notes: Notes) -> dict[str, float | None]:
    """Return figures whose definition, by the numbers, is not the one of vLLM's benchmark."""
    tokens = result.counts.total_output_tokens / result.counts.completed
    ttft, e2e, tpot = (result.figures[f"{name}_mean"] for name in ("ttft", "e2e", "tpot"))
    corrected: dict[str, float | None] = {}
    if e2e is None or ttft is None:
        return corrected
    contains = lint.tpot_includes_ttft(ttft=ttft, e2e=e2e, tpot=tpot or 0.0, tokens=tokens)
    if contains is not None:
        notes.flag(contains, "corrected", LOAD_POINT)
        notes.converted("mean_tpot_ms contains TTFT and is not used; TPOT is the time between tokens.")
        corrected |= {f"tpot_{statistic}": None for statistic in STATISTICS} | {"tpot_mean": contains.value}
    lines = lint.stream_lines_counted(ttft=ttft, e2e=e2e, tpot=result.figures["itl_mean"] or 0.0, tokens=tokens)
    if lines is not None:
        notes.flag(lines, "corrected", LOAD_POINT)
        notes.converted("Inter-token latencies counted blank lines of the stream and are left out.")
        corrected |= {f"itl_{statistic}": None for statistic in STATISTICS}
    return corrected


def _workload(result: _Result, recorded: Sequence[object], dialect: Dialect, notes: Notes) -> dict[str, Any]:
    counts, lengths = result.counts, result.said.lengths
    if lengths and not recorded:
        drawn = [
            {"kind": "constant", "tokens": side[0]}
            if len(set(side)) == 1
            else {"kind": "empirical", "tokens": tuple(side), "order": "recorded"}
            for side in lengths
        ]
        if any(side["kind"] == "empirical" for side in drawn):
            text = (
                "The sums of prompt and generated tokens are those of the lengths that the client draws from its seed."
            )
            notes.say(Flag.LENGTHS_FROM_SEED, text, load_point=LOAD_POINT)
        return {"prompt": drawn[0], "output": drawn[1], "note": "Drawn again as the client drew them."}
    if not recorded:
        text = "Every request has the mean lengths; when single requests were sent is not recorded."
        if result.answers is None:
            text += f" Whether answers without a token are in the means is not recorded either; {dialect.detailed}."
        notes.say(Flag.LENGTHS_UNKNOWN, text)
    note = "Recorded requests are replayed; these are means." if recorded else "Mean lengths of the file."
    return constant_workload(
        counts.total_input_tokens / counts.completed, counts.total_output_tokens / counts.completed, note
    )


def _note_quality(result: _Result, dialect: Dialect, notes: Notes) -> None:
    notes.say(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client.")
    if result.said.remark:
        notes.say(Flag.SETTING_ASSUMED, result.said.remark)
    answers = result.answers
    if answers is None:
        notes.flag(unmeasured_below(result.source, result.lowest), "noted")
        _note_hidden_zeros(result, dialect, notes)
        return
    for finding, treatment in answers.findings:
        notes.flag(finding, treatment)
    ttft, e2e = answers.ttft_ms, answers.e2e_ms
    # Where answers were left out or corrected, the scalars are of something else, which is told already.
    same = "without_output" not in answers.lost
    names = ("ttft_mean", "e2e_mean") if same and not answers.corrected else ("e2e_mean",) if same else ()
    stated = {name: value for name in names if (value := result.figures[name])}
    if stated.get("ttft_mean"):
        in_seconds = (
            f"ttfts have a mean of {answers.listed_ttft_s:.4g}, mean_ttft_ms is {stated['ttft_mean']:.4g}: lists of "
            "single requests are in seconds, the other figures in ms."
        )
        notes.say(Flag.SECONDS_CONVERTED, in_seconds, "corrected")
    if stated:
        of_lists = {name: fmean(values) for name, values in (("ttft_mean", ttft), ("e2e_mean", e2e)) if values}
        notes.flag(lint.figures_contradict(stated, of_lists, LISTS_TOLERANCE), "noted")
    timed = [(request.output_tokens, request.e2e_ms) for request in answers.requests if request.e2e_ms is not None]
    notes.flag(lint.cold_start(ttft), "noted")
    notes.flag(lint.lengths_unrelated_to_time([tokens for tokens, _ in timed], [time for _, time in timed]), "noted")
    notes.flag(lint.prompts_repeat([request.prompt_tokens for request in answers.requests]), "noted")


def _note_hidden_zeros(result: _Result, dialect: Dialect, notes: Notes) -> None:
    """Note a mean TTFT that only requests without a first token can have pulled below all percentiles."""
    mean, median, p99 = (result.figures[f"ttft_{statistic}"] for statistic in ("mean", "p50", "p99"))
    if not mean or not median or not p99 or mean > BELOW_THE_MEDIAN * median or p99 > NEAR_THE_MEDIAN * median:
        return
    completed = result.counts.completed
    zeros = round(completed * (1 - mean / median))
    text = (
        f"mean_ttft_ms {mean:.4g} lies far below the median, {median:.4g}, although 99 % are below {p99:.4g}: as if "
        f"about {zeros} of {completed} requests had a TTFT of 0, which means no answer. The mean lengths and every "
        f"mean would be wrong then; {dialect.detailed}."
    )
    notes.say(Flag.FIGURES_CONTRADICT, text, load_point=LOAD_POINT)
