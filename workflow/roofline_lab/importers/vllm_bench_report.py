"""The result file of vLLM's serving benchmark, streamed and validated.

Contract: `read_result` returns scalars and, where the file has them all, the single requests; a file
that lacks its scalars or contradicts itself raises one `ConfigError` with file and field. Facts about
the layout: `benchmarks/serve.py` of vLLM 0.8.5 and 0.11.0, which `benchmark_serving.py` was moved to.

Units: names that end in `_ms` are milliseconds; lists (`ttfts`, `itls`) and `duration` are seconds.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth.json_stream import stream_values
from roofline_lab.ground_truth.requests import refuse_too_many
from roofline_lab.importers.imported import (
    LARGEST,
    MS_PER_S,
    Foreign,
    Latency,
    WholeNumber,
    refuse_longer_than_run,
    refuse_other_tool,
)
from simulator.errors import ConfigError
from simulator.validation import parse

TOOL = "vllm-bench"

# What the benchmark leaves out unless it is asked for: without this there is no E2E in the file.
ALL_METRICS = "ttft,tpot,itl,e2el"
TPOT = "mean_tpot_ms"

# Texts, which nothing here needs; they are read one by one, as there may be a gigabyte of them.
SKIPPED = ("generated_texts",)
DESCEND = frozenset({(), ("itls",), *((name,) for name in SKIPPED)})


class Result(Foreign):
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


@dataclass(slots=True)
class _File:
    """A result file: scalars and flat lists, and the sum of gaps of each request."""

    values: dict[str, Any] = field(default_factory=dict)
    # An array, as floats kept among those of all gaps would keep their memory from being used again.
    decode_s: array[float] = field(default_factory=lambda: array("d"))


@dataclass(frozen=True, slots=True)
class One:
    """One answered request of a detailed file; arrival relative to the first, None if not recorded."""

    arrival_s: float | None
    prompt_tokens: int
    output_tokens: int
    ttft_ms: float
    e2e_ms: float

    @property
    def tpot_ms(self) -> float | None:
        """(E2E - TTFT) / (N - 1); None for one token."""
        return (self.e2e_ms - self.ttft_ms) / (self.output_tokens - 1) if self.output_tokens > 1 else None


def read_result(file: Path) -> tuple[Result, list[One]]:
    """Return the scalars and the answered requests; no request where the file does not have them all.

    Raises
    ------
    ConfigError
        If it is not what vLLM's serving benchmark writes, is damaged, or has no successful request.
    """
    content = _streamed(file)
    refuse_other_tool(file, content.values, TOOL)
    if not {"num_prompts", "request_throughput"} & content.values.keys():
        raise ConfigError(
            f"{file}: no num_prompts and no request_throughput; is this a result that vllm bench serve wrote with "
            "--save-result?"
        )
    if TPOT not in content.values and "request_throughput" in content.values:
        raise ConfigError(f"{file}: {TPOT}: missing; run the benchmark with --percentile-metrics {ALL_METRICS}")
    result = parse(Result, content.values, source=str(file))
    _check(file, result)
    lists = parse(_Lists, content.values, source=str(file))
    singles = _singles(file, lists, content.decode_s, result)
    return _with_number_sent(result, len(lists.ttfts) if singles else None), singles


def _streamed(file: Path) -> _File:
    content = _File()
    for place, value in stream_values(file, DESCEND):
        if not place or not isinstance(place[0], str):
            raise ConfigError(f"{file}: not a result of vllm bench serve: the file is no JSON object")
        if place[0] == "itls":
            refuse_too_many(f"{file}: itls", len(content.decode_s) + 1)
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


def _with_number_sent(result: Result, listed: int | None) -> Result:
    """Return the scalars with the number of requests sent, which a small data set keeps below the number asked for."""
    known = listed if result.failed is None else result.completed + result.failed
    return result if known is None else result.model_copy(update={"num_prompts": known})


def _check(file: Path, result: Result) -> None:
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


def _singles(file: Path, lists: _Lists, decode_s: Sequence[float], result: Result) -> list[One]:
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
        One(
            arrival_s=lists.start_times[position] - begin_s if lists.start_times else None,
            prompt_tokens=prompt,
            output_tokens=output,
            ttft_ms=ttft_s * MS_PER_S,
            e2e_ms=(ttft_s + gaps_s) * MS_PER_S,
        )
        for position, (ttft_s, gaps_s, prompt, output, is_failed) in enumerate(rows)
        if output and prompt and not is_failed
    ]
    _check_unit(file, found, result)
    if len(found) != result.completed:
        raise ConfigError(f"{file}: completed: {result.completed}, but the lists have {len(found)} answered requests")
    return found


def _check_unit(file: Path, found: Sequence[One], result: Result) -> None:
    """Refuse lists in milliseconds, which would make every latency a thousand times too long."""
    mean_ms = math.fsum(one.ttft_ms for one in found) / max(1, len(found))
    if mean_ms > result.mean_ttft_ms * MS_PER_S / 2 > 0:
        raise ConfigError(
            f"{file}: ttfts: a mean of {mean_ms / MS_PER_S:.4g}, but mean_ttft_ms is {result.mean_ttft_ms:.4g}; lists "
            "must be in seconds, names that end in _ms in milliseconds"
        )
