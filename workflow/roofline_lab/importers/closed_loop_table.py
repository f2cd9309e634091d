"""A table of closed-loop points: one row per server configuration and number of requests in flight.

Contract: `read_points` turns the rows into one `Measurement` per `run_id`, whose load points are the concurrencies. The
client is vLLM's old serving benchmark: all clients start at once, and with a `range_ratio` below 1 the lengths of every
request are known, because its generator starts from a fixed seed (`drawn_pairs`). Without one the lengths are taken to
be the nominal ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from roofline_lab.ground_truth.json_stream import READ_ERRORS, open_text
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import MeasuredRequest, refuse_too_many
from roofline_lab.importers.common import Foreign, Measurement, Notes, measured_metrics, measurement
from simulator.errors import ConfigError
from simulator.input_files import csv_records, unreadable
from simulator.validation import parse

# Columns that make a table one of this kind.
MARKS = frozenset({"run_id", "isl", "osl", "concurrency", "ttft_ms", "tpot_ms"})
# Seed of the client's generator; source: `sample_random_requests` of vLLM's benchmark_serving.py as InferenceX runs it
# (random.seed and np.random.seed with --seed, default 0). Checked by the lengths its protocol prints.
CLIENT_SEED = 0
_NUMBER = re.compile(r"\d+(\.\d+)?")
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def _stated(text: object) -> object:
    """Return the number a cell begins with, such as 8192 of `8192 (vLLM default)`; None where it is empty or a word."""
    words = str(text).strip()
    found = _NUMBER.match(words)
    if found is None:
        return words if re.match(r"[-+.\d]", words) else None
    return float(found[0]) if found[1] else int(found[0])


Stated = BeforeValidator(_stated)
_Count = Annotated[int, Field(ge=1, le=10**9)]
_Share = Annotated[float, Field(gt=0, le=1)]
Counted = Annotated[_Count, Stated]
MaybeCounted = Annotated[_Count | None, Stated]
MaybeShare = Annotated[_Share | None, Stated]
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
    vllm_version: str = ""
    date: str = ""
    isl: Counted
    osl: Counted
    range_ratio: MaybeShare = None
    concurrency: Counted
    num_prompts: MaybeCounted = None
    max_num_seqs: MaybeCounted = None
    max_num_batched_tokens: MaybeCounted = None
    max_model_len: MaybeCounted = None
    prefix_caching: str = ""
    gpu_memory_utilization: MaybeShare = None
    kv_dtype: str = ""
    ttft_ms: Milliseconds = None
    tpot_ms: Milliseconds = None
    outlier: str = ""
    saturated: str = ""
    source: str = ""

    @property
    def sent(self) -> int:
        """Requests of the point: ten rounds of its clients, as the client sends where nobody says otherwise."""
        return self.num_prompts or 10 * self.concurrency

    @property
    def drawn(self) -> bool:
        """Whether lengths scatter below the nominal ones."""
        return self.range_ratio is not None and self.range_ratio < 1


def read_points(path: Path) -> tuple[dict[str, list[_Point]], list[str]]:
    """Return the points by the name of their experiment, in the table's order, and what is wrong with others.

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
                    point = parse(_Point, content, source=f"{path}: line {line}")
                    points.setdefault(_NO_NAME.sub("-", point.run_id).strip("-._"), []).append(point)
                except ValueError:
                    problems.append(f"{path}: line {line}: another number of cells than the header has")
                except ConfigError as error:
                    problems.append(str(error))
    except READ_ERRORS as error:
        raise unreadable(path, error) from None
    return points, problems


def measured_run(path: Path, name: str, points: Sequence[_Point]) -> Measurement:
    """Return the points of one server configuration as an experiment.

    Raises
    ------
    ConfigError
        If it is of a kind that is not simulated, or its points contradict each other.
    """
    source, first = f"{path}: {name}", points[0]
    if (first.attention_dp or 1) > 1:
        raise ConfigError(f"{source}: attention_dp: {first.attention_dp}; data-parallel attention is not simulated")
    widths = [point.concurrency for point in points]
    if len(set(widths)) < len(widths):
        twice = next(width for width in widths if widths.count(width) > 1)
        raise ConfigError(f"{source}: concurrency: {twice} is given twice; remove one row")
    refuse_too_many(source, sum(point.sent for point in points if point.drawn))
    notes = Notes()
    _note(first, notes)
    known, assumed = _settings(points)
    return measurement(
        tool="vllm-bench",
        tool_version="benchmark_serving.py, closed loop" if first.drawn else None,
        source=source,
        document=f"{path.name}, {first.run_id}",
        measured_on=_day(source, first),
        model_name=first.model_hf_id,
        tensor_parallel=first.tp,
        hardware=first.system,
        workload=_workload(first, notes),
        load_points=[_load_point(source, point, notes) for point in points],
        notes=notes,
        requests=tuple(request for point in points if point.drawn for request in _requests(point)),
        known=known,
        assumed=assumed,
    )


def drawn_pairs(isl: int, osl: int, ratio: float, count: int) -> list[tuple[int, int]]:
    """Return prompt and output lengths as the client draws them: all prompts, then all outputs, from one stream."""
    from numpy.random import RandomState

    stream = RandomState(CLIENT_SEED)
    prompts = stream.randint(int(ratio * isl), isl + 1, count)
    outputs = stream.randint(int(ratio * osl), osl + 1, count)
    return list(zip(prompts.tolist(), outputs.tolist(), strict=True))


def _requests(point: _Point) -> list[MeasuredRequest]:
    pairs = drawn_pairs(point.isl, point.osl, point.range_ratio or 1.0, point.sent)
    return [
        MeasuredRequest(f"c{point.concurrency}", str(place), 0, prompt, output)
        for place, (prompt, output) in enumerate(pairs)
    ]


def _workload(point: _Point, notes: Notes) -> dict[str, Any]:
    if point.drawn:
        text = f"Lengths are drawn again from seed {CLIENT_SEED}, {point.range_ratio:.0%} to 100 % of {point.isl} and "
        notes.say(Flag.LENGTHS_FROM_SEED, f"{text}{point.osl} tokens.")
    else:
        text = "The source does not say how lengths scatter; all requests have the nominal ones."
        notes.say(Flag.LENGTHS_UNKNOWN, text)
    lengths = {"prompt": point.isl, "output": point.osl}
    return {
        **{side: _lengths(tokens, point) for side, tokens in lengths.items()},
        "prefix": {"kind": "none"},
        "note": "The client's random prompts, which share nothing.",
    }


def _lengths(tokens: int, point: _Point) -> dict[str, Any]:
    if not point.drawn:
        return {"kind": "constant", "tokens": tokens}
    return {"kind": "uniform", "min_tokens": int((point.range_ratio or 1.0) * tokens), "max_tokens": tokens}


def _load_point(source: str, point: _Point, notes: Notes) -> dict[str, Any]:
    name = f"c{point.concurrency}"
    if point.outlier == "1":
        notes.say(Flag.FIGURES_CONTRADICT, "The source lists this point as an outlier.", load_point=name)
    listed = point.saturated == "1"
    words = "lists" if listed else "does not list"
    if listed:
        notes.say(Flag.OVERLOADED, "The source lists this point as saturated.", load_point=name)
    return {
        "id": name,
        "arrivals": {"kind": "closed_loop", "concurrency": point.concurrency},
        "requests": {"sent": point.sent, "completed": point.sent, "basis": "Prompts the client was told to send."},
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


def _settings(points: Sequence[_Point]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the rows state, and what they say is a default of the software."""
    first = points[0]
    # A server of its own stood behind each point; a batch as large as its load limits nobody.
    largest = [point.max_num_seqs for point in points if point.max_num_seqs]
    stated = {
        "max_running": max(largest, default=None),
        "token_budget": first.max_num_batched_tokens,
        "max_model_len_tokens": first.max_model_len,
        "gpu_memory_utilization": first.gpu_memory_utilization,
        "kv_cache_dtype": None if first.kv_dtype in ("", "unknown") else first.kv_dtype.split()[0],
        "software": f"vLLM {first.vllm_version}" if first.vllm_version else None,
    }
    caching: Mapping[str, bool] = {"on": True, "off": False}
    word = first.prefix_caching.split(" ")[0]
    if word in caching:
        stated["prefix_caching"] = caching[word]
    return {name: value for name, value in stated.items() if value is not None}, {}


def _note(point: _Point, notes: Notes) -> None:
    notes.converted("Figures are means over all requests of a point, the first wave of all clients at once included.")
    notes.say(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client.")
    if (point.ep or 1) > 1:
        text = f"Experts were spread over {point.ep} GPUs (expert parallelism), which is priced as tensor parallelism."
        notes.say(Flag.SETTING_ASSUMED, text)


def _day(source: str, point: _Point) -> tuple[date | None, str]:
    if not point.date:
        return None, "The source states no date."
    try:
        return date.fromisoformat(point.date), "As the source states it."
    except ValueError:
        raise ConfigError(f"{source}: date: '{point.date[:20]}' is no day such as 2026-03-27; correct it") from None
