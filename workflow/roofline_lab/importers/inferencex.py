"""Aggregated results of InferenceX (InferenceMAX): `agg_*.json`, one object per run, or a list of them.

Contract: `read` makes a load point of every object; those of one server are one experiment, rows of several servers are
refused with what differs. Runs on several nodes, with prefill and decode apart, with attention in data parallel or with
speculative decoding are refused by name: the simulator has no words for them. Single results have the form of vLLM's
benchmark and are read as such. The keys are those of InferenceX's public `process_result.py`, as remembered:

* latencies (`mean_ttft`, `median_tpot`, `p99_e2el`, ...) are seconds, `*_intvty` repeats TPOT as its inverse,
* `tput_per_gpu`, `input_tput_per_gpu` and `output_tput_per_gpu` are tokens per second divided by the GPUs,
* `conc` requests are in flight, `isl` and `osl` are the lengths asked for, of which 80 to 100 % are drawn by default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import create_model

from roofline_lab.ground_truth.json_stream import stream_values
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.common import (
    MS_PER_S,
    Foreign,
    Latency,
    Mean,
    Measurement,
    Notes,
    WholeNumber,
    constant_workload,
    lengths_below,
    measured_metrics,
    measurement,
    refuse_impossible,
    request_counts,
    unrecorded_day,
)
from roofline_lab.importers.server_facts import stated_by
from roofline_lab.importers.several import one_experiment, result_files
from roofline_lab.importers.stated_server import with_server
from roofline_lab.importers.tools import refuse_other_tool
from simulator.errors import ConfigError
from simulator.validation import config_error, parse

TOOL = "inferencex"
MARKS = frozenset({"tput_per_gpu", "output_tput_per_gpu", "mean_intvty", "median_intvty"})
PATTERNS = ("*.json", "*.json.gz")

MAX_ROWS = 1000
# Tokens per second and GPU: fewer are no measurement.
LEAST_TOKENS_PER_S = 1e-3
# The benchmark sends ten requests for each that is in flight (`num_prompts`), unless a result says otherwise.
REQUESTS_PER_CLIENT = 10
# Shares of the length asked for that a mean may have: lengths are all alike, or drawn from a range that ends there.
LENGTH_SHARES = (0.5, 1.02)

STATISTICS = {"mean": "mean", "p50": "median", "p90": "p90", "p95": "p95", "p99": "p99"}
METRICS = {"ttft": "ttft", "tpot": "tpot", "itl": "itl", "e2e": "e2el"}

_KEYS = tuple(f"{rank}_{own}" for rank in STATISTICS.values() for own in METRICS.values())
_Figures = create_model("_Figures", __base__=Foreign, **dict.fromkeys(_KEYS, (Latency | None, None)))  # type: ignore[call-overload]


class _Row(Foreign):
    """What an object says beside its latencies."""

    model: str | None = None
    hw: str | None = None
    image: str | None = None
    framework: str | None = None
    precision: str | None = None
    tp: WholeNumber = 1
    ep: WholeNumber = 1
    conc: WholeNumber
    isl: WholeNumber
    osl: WholeNumber
    num_prompts: WholeNumber | None = None
    input_tput_per_gpu: Latency | None = None
    output_tput_per_gpu: Latency
    disagg: bool | str = False
    is_multinode: bool | str = False
    dp_attention: bool | str = False
    spec_decoding: str | bool | None = None
    num_prefill_gpu: WholeNumber | None = None
    num_decode_gpu: WholeNumber | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """One object: its place, what it says, and its latencies in ms by our names."""

    source: str
    row: _Row
    latencies: Mapping[str, float]

    @property
    def output_tokens(self) -> float:
        """Mean output length: what E2E, TTFT and TPOT leave for it, else the one asked for."""
        ttft, tpot, e2e = (self.latencies.get(f"{name}_mean") for name in ("ttft", "tpot", "e2e"))
        if ttft is None or e2e is None or not tpot:
            return float(self.row.osl)
        return 1 + (e2e - ttft) / tpot

    @property
    def requests_per_s(self) -> float:
        return self.row.output_tput_per_gpu * self.row.tp / self.output_tokens

    @property
    def prompt_tokens(self) -> float:
        given = self.row.input_tput_per_gpu
        return float(self.row.isl) if given is None else given * self.row.tp / self.requests_per_s


def read(path: Path) -> Measurement:
    """Read the runs of a file, or of the files of a folder, as load points of one experiment.

    Raises
    ------
    ConfigError
        If a file is no aggregated result, is damaged, or holds what is not modelled; if runs are of several servers.
    """
    files, left_out = result_files(path, TOOL, PATTERNS, "an aggregated result of InferenceX (agg_*.json)")
    found = [_measurement(file, run) for file in files for run in _runs(file)]
    return one_experiment(found, str(path if len(files) > 1 else files[0]), left_out)


# --- the file -------------------------------------------------------------------------------------


def _runs(file: Path) -> list[_Run]:
    rows: dict[int, Any] = {}
    top: dict[str, Any] = {}
    for place, value in stream_values(file, frozenset({()})):
        if place and isinstance(place[0], int):
            rows[place[0]] = value
        elif place:
            top[str(place[0])] = value
    if len(rows) > MAX_ROWS:
        raise ConfigError(f"{file}: {len(rows)} runs, at most {MAX_ROWS} are read; give those of one server")
    given = [(f"{file}, run {index + 1}", row) for index, row in rows.items()] or [(str(file), top)]
    runs = []
    for source, row in given:
        if not isinstance(row, Mapping):
            raise ConfigError(f"{source}: not an aggregated result of InferenceX: it is no object")
        refuse_other_tool(file, row, TOOL)
        if not MARKS & row.keys():
            raise ConfigError(f"{source}: no tput_per_gpu; is this an aggregated result (agg_*.json) of InferenceX?")
        runs.append(_run(source, row))
    return runs


def _run(source: str, content: Mapping[str, Any]) -> _Run:
    row = parse(_Row, content, source=source)
    parsed = parse(_Figures, content, source=source)
    problems = list(_not_modelled(row))
    if not (row.tp and row.conc and row.isl and row.osl) or row.output_tput_per_gpu < LEAST_TOKENS_PER_S:
        problems.append("tp, conc, isl, osl and output_tput_per_gpu must be above 0")
    latencies = {
        f"{name}_{statistic}": value * MS_PER_S
        for name, own in METRICS.items()
        for statistic, rank in STATISTICS.items()
        if (value := getattr(parsed, f"{rank}_{own}")) is not None
    }
    if not latencies:
        problems.append("no mean_ttft, median_ttft, ..., and no other latency; nothing is measured")
    if problems:
        raise config_error(source, problems)
    run = _Run(source, row, latencies)
    means = {name: Mean(f"mean_{own}", latencies.get(f"{name}_mean", 0.0)) for name, own in METRICS.items()}
    refuse_impossible(source, ttft=means["ttft"], e2e=means["e2e"])
    low, high = LENGTH_SHARES
    if not low * row.osl <= run.output_tokens <= high * row.osl:
        raise ConfigError(
            f"{source}: osl: {row.osl}, but mean_e2el, mean_ttft and mean_tpot leave {run.output_tokens:.4g} tokens "
            f"for an answer; allowed are {low:.0%} to {high:.0%} of it; are the figures of one run, in seconds?"
        )
    return run


def _not_modelled(row: _Row) -> Iterator[str]:
    if _is_on(row.disagg) or row.num_prefill_gpu or row.num_decode_gpu:
        yield "disagg: prefill and decode on GPUs of their own (disaggregation) are not modelled"
    if _is_on(row.is_multinode):
        yield "is_multinode: a server on several nodes is not modelled"
    drafts = str(row.spec_decoding or "none").strip()
    if drafts.lower() not in ("none", "null", "false", "off", "no", "0", ""):
        yield f"spec_decoding: {drafts[:40]}: speculative decoding is not modelled"


def _is_on(value: bool | str) -> bool:
    return str(value).strip().lower() in ("true", "1", "yes", "on")


# --- what it means --------------------------------------------------------------------------------


def _measurement(file: Path, run: _Run) -> Measurement:
    row, notes = run.row, Notes()
    sent = row.num_prompts or REQUESTS_PER_CLIENT * row.conc
    if row.num_prompts is None:
        text = (
            f"The result does not say how many requests were sent; {REQUESTS_PER_CLIENT} for each in flight, as usual."
        )
        notes.say(Flag.SETTING_ASSUMED, text)
    workload, grouped = _workload(run, notes), _is_on(row.dp_attention)
    if grouped:
        text = "The result says dp_attention alone; every GPU is taken to be a group with requests of its own."
        notes.say(Flag.SETTING_ASSUMED, text)
    notes.say(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client.")
    notes.converted("Latencies were in seconds and are written in ms; throughputs are those of all GPUs.")
    framework = (row.framework or "").strip()
    found = measurement(
        tool=TOOL,
        tool_version="aggregated result" + (f" of {framework}" if framework else ""),
        source=run.source,
        document=f"InferenceX aggregated result {file.name}",
        measured_on=unrecorded_day(file.absolute().parent),
        model_name=row.model,
        hardware=row.hw,
        tensor_parallel=1 if grouped else row.tp,
        workload=workload,
        load_points=[_load_point(run, sent, notes)],
        notes=notes,
    )
    server = {
        "software": row.image or framework or None,
        "expert_parallel": row.ep > 1,
        "attention_data_parallel": row.tp if grouped else None,
        "quantization": None if (row.precision or "").lower() in ("", "bf16", "fp16") else row.precision,
    }
    return with_server(found, stated_by(run.source, server))


def _workload(run: _Run, notes: Notes) -> dict[str, Any]:
    """Return lengths that scatter as far below the nominal ones as the throughputs say, else the mean ones."""
    mean = constant_workload(run.prompt_tokens, run.output_tokens, "Mean lengths, from the throughputs.")
    nominal = {"prompt": float(run.row.isl), "output": float(run.row.osl)}
    ranges = lengths_below(nominal, {"prompt": run.prompt_tokens, "output": run.output_tokens})
    if ranges is None:
        notes.say(Flag.LENGTHS_UNKNOWN, "The result has no single requests; every request has the mean lengths.")
        return mean
    least = ranges["output"]["min_tokens"] / ranges["output"]["max_tokens"]
    text = (
        f"The result has no single requests; lengths are drawn from {least:.0%} to 100 % of the nominal ones, as the "
    )
    notes.say(Flag.LENGTHS_UNKNOWN, f"{text}mean lengths that follow from its throughputs say.")
    return {**mean, **ranges, "note": "A range below the nominal lengths, whose means the throughputs have."}


def _load_point(run: _Run, sent: int, notes: Notes) -> dict[str, Any]:
    row = run.row
    arrivals = {"kind": "closed_loop", "concurrency": row.conc} if row.conc < sent else {"kind": "burst"}
    closed = arrivals["kind"] == "closed_loop"
    values: dict[str, float | None] = {
        **run.latencies,
        "request_throughput": run.requests_per_s,
        "output_token_throughput": row.output_tput_per_gpu * row.tp,
    }
    return {
        "id": f"concurrency_{row.conc}",
        "arrivals": arrivals,
        "duration_s": sent / run.requests_per_s,
        "requests": request_counts(sent=sent, completed=sent, basis="Failures are not in the result."),
        "saturation": {
            "state": "not_saturated" if closed else "saturated",
            "basis": "A closed loop waits for its answers." if closed else "Everything is sent at once.",
        },
        "measured": measured_metrics(run.source, values, {"tpot": "inter_token", "itl": "pooled_gaps"}, notes),
    }
