"""A table of closed-loop points: one row per server configuration and number of requests in flight.

Contract: `read_points` groups the rows of every `run_id` under the name of an experiment, and `measured_run` makes a
`Measurement` of them, whose load points are the concurrencies. The client is vLLM's old serving benchmark: all clients
start at once, and with a `range_ratio` below 1 the lengths of every request are known, because its generator starts
from a fixed seed (`VllmRandomLengths`). Without one prompts are taken to be the nominal ones, and outputs to scatter
around theirs (`OUTPUT_SPREAD`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from roofline_lab.ground_truth.json_stream import READ_ERRORS, open_text
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import refuse_too_many
from roofline_lab.importers.closed_loop_noise import noise_of
from roofline_lab.importers.common import Foreign, Measurement, Notes, measured_metrics, measurement
from simulator.errors import AllAtOnce, ConfigError
from simulator.gpu_names import read_gpu_name
from simulator.input_files import csv_records, unreadable
from simulator.memory import LARGE_BATCH
from simulator.parallelism import Parallelism
from simulator.validation import parse

# Columns that make a table one of this kind.
MARKS = frozenset({"run_id", "isl", "osl", "concurrency", "ttft_ms", "tpot_ms"})
# Seed of the client's generator; source: `sample_random_requests` of vLLM's benchmark_serving.py as InferenceX runs it
# (random.seed and np.random.seed with --seed, default 0). Checked by the lengths its protocol prints.
CLIENT_SEED = 0
CLIENT = "benchmark_serving.py"
# Within which share of the nominal length outputs lie where nobody says. Requests of one length would arrive in waves:
# the mean TTFT of the 90 points of Qwen3-32B is 53 % off then, with this scatter 11 %, and their time per token 1.5 %
# in place of 4.7 % (constants fitted to these points either way).
OUTPUT_SPREAD = 0.1
_NUMBER = re.compile(r"\d+(\.\d+)?")
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_GRAPH_MODE = re.compile(r"\b(?:NONE|PIECEWISE|FULL(?:_[A-Z_]+)?)\b")
# Words of a name that do not tell one checkpoint of a table from another, and forms of a GPU that are the usual one.
_USUAL = re.compile(r"-(?:instruct|sxm)(?=-|$)")
KIBI = 1024
# What a word for the precision may mean, as `precision_of` says it; the first word that a cell contains counts.
STORED_AS = {
    "nvfp4": ("nvfp4",),
    "mxfp4": ("mxfp4",),
    "fp4": ("nvfp4", "mxfp4"),
    "int4": ("int4",),
    "w4a16": ("int4",),
    "fp8": ("fp8", "w8a16"),
    "int8": ("int8", "w8a16"),
    "bf16": ("bf16",),
    "bfloat16": ("bf16",),
    "fp16": ("bf16",),
    "float16": ("bf16",),
}
# What all rows of one server have in common.
OF_THE_SERVER = (
    *("model_hf_id", "system", "precision", "tp", "ep", "attention_dp", "gpus", "isl", "osl", "range_ratio"),
    *("kv_dtype", "vllm_version", "date", "max_model_len", "max_num_batched_tokens", "prefix_caching"),
)
# GPUs of at least 70 GiB that are no A100, by which vLLM chooses `LARGE_BATCH` where nobody states a batch.
LARGE_GPUS = frozenset(("h100", "h200", "h800", "h20", "b200", "b300", "gb200", "gb300", "mi300x", "mi325x", "mi355x"))


def _stated(text: object) -> object:
    """Return the number a cell begins with, such as 8192 of `8192 (vLLM default)`; None where it is empty or a word."""
    words = str(text).strip()
    found = _NUMBER.match(words)
    if found is None:
        return words if re.match(r"[-+.\d]", words) else None
    return float(found[0]) if found[1] else int(found[0])


def _needed(text: object) -> object:
    """Return the same of a cell that must state a number, and the text where it states none."""
    found = _stated(text)
    return text if found is None else found


Stated = BeforeValidator(_stated)
_Count = Annotated[int, Field(ge=1, le=10**9)]
_Share = Annotated[float, Field(gt=0, le=1)]
Counted = Annotated[_Count, BeforeValidator(_needed)]
MaybeCounted = Annotated[_Count | None, Stated]
MaybeShare = Annotated[_Share | None, Stated]
Difference = Annotated[Annotated[float, Field(ge=0, le=2)] | None, Stated]
Milliseconds = Annotated[Annotated[float, Field(ge=0, le=10**9)] | None, Stated]


class _Point(Foreign):
    """One row; cells that state no number are None."""

    run_id: str = Field(min_length=1)
    model_hf_id: str
    system: str
    precision: str = ""
    tp: Counted
    ep: MaybeCounted = None
    attention_dp: MaybeCounted = None
    gpus: MaybeCounted = None
    vllm_version: str = ""
    date: str = ""
    isl: Counted
    osl: Counted
    range_ratio: MaybeShare = None
    concurrency: Counted
    num_prompts: MaybeCounted = None
    num_warmups: Annotated[Annotated[int, Field(ge=0, le=10**9)] | None, Stated] = None
    max_num_seqs: MaybeCounted = None
    max_num_batched_tokens: MaybeCounted = None
    max_model_len: MaybeCounted = None
    prefix_caching: str = ""
    gpu_memory_utilization: MaybeShare = None
    kv_dtype: str = ""
    cudagraph: str = ""
    async_scheduling: str = ""
    stream_interval: MaybeCounted = None
    env_notes: str = ""
    ttft_ms: Milliseconds = None
    tpot_ms: Milliseconds = None
    repeat_class: str = ""
    repeat_ttft_rel: Difference = None
    repeat_tpot_rel: Difference = None
    outlier: str = ""
    saturated: str = ""
    source: str = ""

    @property
    def sent(self) -> int:
        """Requests of the point: ten rounds of its clients, as the client sends where nobody says otherwise."""
        return self.num_prompts or 10 * self.concurrency

    @property
    def configuration(self) -> tuple[object, ...]:
        """What two measurements of one load on one kind of server have in common."""
        split = (self.tp, self.ep, self.attention_dp)
        return (self.model_hf_id, self.system, self.precision, *split, self.isl, self.osl, self.concurrency)

    @property
    def drawn(self) -> bool:
        """Whether lengths scatter below the nominal ones."""
        return self.range_ratio is not None and self.range_ratio < 1

    @property
    def workload(self) -> str:
        """The word of the vocabulary for its lengths: which side is at least twice as long as the other."""
        if max(self.isl, self.osl) < 2 * min(self.isl, self.osl):
            return "random-balanced"
        return "random-prefill-heavy" if self.isl > self.osl else "random-decode-heavy"

    @property
    def name(self) -> str:
        """Model, precision, GPU, how they are split, lengths and day, as far as stated."""
        model = _word(self.model_hf_id.rsplit("/", 1)[-1])
        precision = "" if self.precision.lower() in model else _word(self.precision)
        split = [
            f"{letters}{width}" for letters, width in (("ep", self.ep), ("dp", self.attention_dp)) if (width or 1) > 1
        ]
        lengths = f"{_thousands(self.isl)}-{_thousands(self.osl)}"
        words = (model, precision, _word(self.system), f"tp{self.tp}", *split, lengths, self.date.replace("-", ""))
        return _NO_NAME.sub("-", "-".join(word for word in words if word)).strip("-._")


def read_points(path: Path) -> tuple[dict[str, list[_Point]], list[str]]:
    """Return the points by the name of their experiment, in the table's order, and what is wrong with others.

    Servers that differ in what the name does not say are called as the table calls them.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    points: dict[str, list[_Point]] = {}
    problems = []
    try:
        with open_text(path) as stream:
            records = csv_records(stream, str(path))
            header = [name.strip() for name in next(records, (0, []))[1]]
            for line, cells in records:
                try:
                    content = dict(zip(header, (cell.strip() for cell in cells), strict=True))
                    named = f" ({content['run_id']})" if content.get("run_id") else ""
                    point = parse(_Point, content, source=f"{path}: line {line}{named}")
                    points.setdefault(point.run_id, []).append(point)
                except ValueError:
                    problems.append(f"{path}: line {line}: another number of cells than the header has")
                except ConfigError as error:
                    problems.append(str(error))
    except READ_ERRORS as error:
        raise unreadable(path, error) from None
    return _by_name(points), problems


def _by_name(runs: Mapping[str, list[_Point]]) -> dict[str, list[_Point]]:
    names = [points[0].name for points in runs.values()]
    own = [_NO_NAME.sub("-", run_id).strip("-._") for run_id in runs]
    chosen = [name if names.count(name) == 1 else other for name, other in zip(names, own, strict=True)]
    return dict(zip(chosen, runs.values(), strict=True))


def _word(text: str) -> str:
    return _USUAL.sub("", text.lower().replace("_", "-"))


def _thousands(tokens: int) -> str:
    return f"{tokens // KIBI}k" if tokens % KIBI == 0 else str(tokens)


def measured_run(path: Path, name: str, points: Sequence[_Point], table: Sequence[_Point]) -> Measurement:
    """Return the points of one server configuration as an experiment.

    Parameters
    ----------
    points
        Those of the experiment `name`.
    table
        All points of the table, which may have repeated others.

    Raises
    ------
    ConfigError
        If it is of a kind that is not simulated, or its points contradict each other.
    """
    points = sorted(points, key=lambda point: point.concurrency)
    source, first = f"{path}: {name}", points[0]
    told = AllAtOnce()
    with told:
        _require_one_server(source, points)
    with told:
        stored_as = _stored_as(source, first.precision)
    with told:
        parallel = _parallelism(source, first)
    told.refuse()
    widths = [point.concurrency for point in points]
    if len(set(widths)) < len(widths):
        twice = next(width for width in widths if widths.count(width) > 1)
        raise ConfigError(f"{source}: concurrency: {twice} is given twice; remove one row")
    refuse_too_many(source, sum(point.sent for point in points if point.drawn))
    notes = Notes()
    _note(notes)
    if first.drawn and first.date:
        notes.converted(
            f"Taken to be measured at {_site(first)}, its client in its year. Client and host of another cluster take "
            "time of their own: name yours with --site."
        )
    _note_length(first, notes)
    known, assumed = _settings(points, parallel)
    found = measurement(
        tool="vllm-bench",
        tool_version=f"{CLIENT}, closed loop" if first.drawn else None,
        source=source,
        site=_site(first),
        document=f"{path.name}, {first.run_id}, from {first.source or 'a file it does not name'}",
        measured_on=_day(source, first),
        model_name=first.model_hf_id,
        tensor_parallel=parallel.tensor_parallel,
        hardware=first.system,
        workload=_workload(first, notes),
        workload_name=first.workload,
        load_points=[_load_point(source, point, notes) for point in points],
        notes=notes,
        known=known,
        assumed=assumed,
        server_note=_beside(first),
        noise=noise_of(points, table),
    )
    return replace(found, stored_as=stored_as)


def _require_one_server(source: str, points: Sequence[_Point]) -> None:
    """Refuse rows of one `run_id` that are of different servers."""
    found = {name: dict.fromkeys(str(getattr(point, name)) for point in points) for name in OF_THE_SERVER}
    several = [f"{name} ({', '.join(values)})" for name, values in found.items() if len(values) > 1]
    if several:
        raise ConfigError(
            f"{source}: run_id: its rows differ in {', '.join(several)}; give each server a run_id of its own"
        )


def _stored_as(source: str, words: str) -> tuple[str, ...]:
    """Return what formats of weights the words of a cell may mean; none where it says nothing."""
    text = words.lower()
    if text in ("", "unknown", "auto", "default"):
        return ()
    meant = next((formats for word, formats in STORED_AS.items() if word in text), None)
    if meant is None:
        raise ConfigError(f"{source}: precision: '{words[:40]}' is not modelled; allowed: {', '.join(STORED_AS)}")
    return meant


def _note_length(point: _Point, notes: Notes) -> None:
    """Say when requests are longer than the server is said to take."""
    longest, most = point.isl + point.osl, point.max_model_len
    if most is not None and longest > most:
        text = f"Requests have up to {longest} tokens, and the server is said to take {most} (max_model_len)."
        notes.say(Flag.FIGURES_CONTRADICT, text)


def _workload(point: _Point, notes: Notes) -> dict[str, Any]:
    if point.drawn:
        range_text = f"{100 * (point.range_ratio or 1):g} % to 100 % of {point.isl} and {point.osl} tokens"
        notes.say(Flag.LENGTHS_FROM_SEED, f"Lengths are drawn again from seed {CLIENT_SEED}, {range_text}.")
    else:
        spread = f"{100 * OUTPUT_SPREAD:g} %"
        text = "The source does not say how lengths scatter; prompts have the nominal one, outputs are drawn within"
        notes.say(Flag.LENGTHS_UNKNOWN, f"{text} {spread} of theirs, so that requests do not stay in step for ever.")
    return {
        **_lengths(point),
        "prefix": {"kind": "none"},
        # The client of the drawn lengths asks for the likeliest token (`temperature` 0 in its requests).
        **({"temperature": 0.0} if point.drawn else {}),
        "note": "The client's random prompts, which share nothing.",
    }


def _lengths(point: _Point) -> dict[str, Any]:
    nominal = {"prompt": point.isl, "output": point.osl}
    if not point.drawn:
        low, high = (max(1, round(share * point.osl)) for share in (1 - OUTPUT_SPREAD, 1 + OUTPUT_SPREAD))
        output = {"kind": "vllm_random", "min_tokens": low, "max_tokens": high, "random_seed": CLIENT_SEED}
        return {"prompt": {"kind": "constant", "tokens": point.isl}, "output": output}
    least = {side: max(1, int((point.range_ratio or 1.0) * tokens)) for side, tokens in nominal.items()}
    drawn: dict[str, dict[str, Any]] = {
        side: {"kind": "vllm_random", "min_tokens": least[side], "max_tokens": tokens, "random_seed": CLIENT_SEED}
        for side, tokens in nominal.items()
    }
    drawn["output"]["after_tokens"] = (least["prompt"], point.isl)
    return drawn


def _load_point(source: str, point: _Point, notes: Notes) -> dict[str, Any]:
    name = f"c{point.concurrency}"
    if point.outlier == "1":
        notes.say(Flag.FIGURES_CONTRADICT, "The source lists this point as an outlier.", load_point=name)
    listed = point.saturated == "1"
    words = "lists" if listed else "does not list"
    if listed:
        notes.say(Flag.OVERLOADED, "The source lists this point as saturated.", load_point=name)
    if point.num_warmups == 0:
        text = "No request had warmed the server up; its first ones are in the means."
        notes.say(Flag.COLD_START_INCLUDED, text, load_point=name)
    warm_up = {} if point.num_warmups is None else {"warm_up": point.num_warmups}
    return {
        "id": name,
        "arrivals": {"kind": "closed_loop", "concurrency": point.concurrency},
        "requests": {
            "sent": point.sent,
            "completed": point.sent,
            **warm_up,
            "basis": "Prompts the client was told to send.",
        },
        "saturation": {
            "state": "saturated" if listed else "not_saturated",
            "basis": f"The source {words} this point as saturated.",
        },
        "measured": measured_metrics(
            f"{source}: {name}",
            {"ttft_mean": point.ttft_ms, "tpot_mean": point.tpot_ms},
            {"tpot": "inter_token"},
            notes,
        ),
    }


def _parallelism(source: str, point: _Point) -> Parallelism:
    """Return how a row says that the model was spread; `tp` counts the GPUs of one group, or all of them.

    Raises
    ------
    ConfigError
        If its numbers of GPUs, groups and experts' places contradict each other.
    """
    groups, places = point.attention_dp or 1, point.ep or 1
    gpus = point.gpus or point.tp * groups
    if gpus % groups:
        raise ConfigError(f"{source}: attention_dp: {groups} groups do not divide {gpus} GPUs; correct one of the two")
    each = gpus // groups
    if point.tp not in (each, gpus):
        raise ConfigError(
            f"{source}: tp: {point.tp}, but {gpus} GPUs in {groups} groups leave {each} to a group; correct one of them"
        )
    if places not in (1, gpus):
        raise ConfigError(
            f"{source}: ep: {places}; whole experts are spread over all {gpus} GPUs or none; write 1 or {gpus}"
        )
    return Parallelism(each, groups, places > 1)


def _settings(points: Sequence[_Point], parallel: Parallelism) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the rows state, and what is assumed because they do not."""
    first = points[0]
    # A server of its own stood behind each point; a batch as large as its load limits nobody.
    largest = [point.max_num_seqs for point in points if point.max_num_seqs]
    words = {"prefix_caching": first.prefix_caching, "schedule_ahead": first.async_scheduling}
    mode = _GRAPH_MODE.search(first.cudagraph)
    captured = re.search(r"\d+", first.cudagraph)
    stated = {
        "max_running": max(largest, default=None),
        "token_budget": first.max_num_batched_tokens,
        "max_model_len_tokens": first.max_model_len,
        "gpu_memory_utilization": first.gpu_memory_utilization,
        "kv_cache_dtype": None if first.kv_dtype in ("", "unknown") else first.kv_dtype.split()[0],
        **{name: _switch(text) for name, text in words.items()},
        "cuda_graph_mode": mode[0].lower() if mode else None,
        "cuda_graph_tokens": int(captured[0]) if captured else None,
        "expert_parallel": parallel.expert_parallel or None,
        "attention_data_parallel": parallel.attention_data_parallel if parallel.attention_data_parallel > 1 else None,
        "software": f"vLLM {first.vllm_version}" if first.vllm_version else None,
    }
    large = read_gpu_name(first.system).model in LARGE_GPUS
    assumed = dict(zip(("token_budget", "max_running"), LARGE_BATCH, strict=True)) if large else {}
    return {name: value for name, value in stated.items() if value is not None}, assumed


def _switch(text: str) -> bool | None:
    """Return what a cell such as `on (vLLM default)` or `default on (vLLM >= 0.14)` says, else None."""
    words = text.lower().removeprefix("default ").split()
    return {"on": True, "off": False}.get(words[0]) if words else None


def _beside(point: _Point) -> str | None:
    """Return what the row says of the server that is no setting of the format."""
    said = [f"stream interval {point.stream_interval}"] if (point.stream_interval or 1) > 1 else []
    said += [point.env_notes] if point.env_notes else []
    return f"Beside these: {'; '.join(said)}." if said else None


def _note(notes: Notes) -> None:
    notes.converted("Figures are means over all requests of a point, the first wave of all clients at once included.")
    notes.say(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client.")


def _site(point: _Point) -> str | None:
    """Return the client and its year, which changed what it sends ahead; where nobody knows the client, the source."""
    return f"{CLIENT}/{point.date[:4]}" if point.drawn and point.date else point.source or None


def _day(source: str, point: _Point) -> tuple[date | None, str]:
    if not point.date:
        return None, "The source states no date."
    try:
        return date.fromisoformat(point.date), "As the source states it."
    except ValueError:
        raise ConfigError(f"{source}: date: '{point.date[:20]}' is no day such as 2026-03-27; correct it") from None
