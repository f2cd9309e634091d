"""Single requests of an inference-perf run, where the client recorded them.

Contract: `read_requests` streams `per_request_lifecycle_metrics.json` (a list of any length), keeps
times and lengths, never texts, and assigns requests to stages by their number. Without the file it
returns nothing; a file that cannot belong to the stages is refused.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth import measurement_lint as lint
from roofline_lab.ground_truth.json_stream import EACH, stream_values
from roofline_lab.ground_truth.requests import MeasuredRequest, checked_requests, refuse_too_many
from roofline_lab.importers.imported import (
    MS_PER_S,
    US_PER_S,
    Foreign,
    Latency,
    WholeNumber,
)
from roofline_lab.importers.inference_perf_report import Stage
from roofline_lab.importers.inference_perf_workload import Profile
from simulator.errors import ConfigError
from simulator.validation import parse
from simulator.workload.prefixes import recognise_pool

# Fields of a request, each of which fits into a float.
NUMBERS = 8

REQUESTS_FILE = "per_request_lifecycle_metrics.json"


class _Text(Foreign):
    input_tokens: WholeNumber | None = None


class _RequestMetrics(Foreign):
    text: _Text | None = None


class _ResponseMetrics(Foreign):
    output_tokens: WholeNumber | None = None
    output_token_times: tuple[Latency, ...] = ()
    server_usage: dict[str, Any] | None = None


class _Info(Foreign):
    input_tokens: WholeNumber | None = None
    output_tokens: WholeNumber | None = None
    output_token_times: tuple[Latency, ...] = ()
    request_metrics: _RequestMetrics | None = None
    response_metrics: _ResponseMetrics | None = None


class _Request(Foreign):
    start_time: Latency
    end_time: Latency
    info: _Info | None = None
    error: dict[str, Any] | str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """Requests of all stages.

    Attributes
    ----------
    stages_s
        When each stage began and ended, in seconds.
    findings
        What the client's own counts of tokens and stream times show, by stage.
    """

    requests: tuple[MeasuredRequest, ...] = ()
    stages_s: tuple[tuple[float, float], ...] = ()
    findings: tuple[tuple[str, lint.Finding], ...] = ()


@dataclass(frozen=True, slots=True)
class _One:
    start_s: float
    end_s: float
    first_token_s: float | None
    prompt_tokens: int
    output_tokens: int
    client_tokens: int | None
    events: int
    failed: bool


def read_requests(folder: Path, profile: Profile, stages: Sequence[Stage]) -> Recorded:
    """Read the single requests of a results folder.

    Raises
    ------
    ConfigError
        If the file is damaged, or has another number of requests than the stages.
    """
    path = next((one for one in (folder / REQUESTS_FILE, folder / f"{REQUESTS_FILE}.gz") if one.is_file()), None)
    if path is None:
        return Recorded()
    found = sorted(_streamed(path, profile), key=lambda one: one.start_s)
    sent = sum(stage.load.count for stage in stages)
    if len(found) != sent:
        raise ConfigError(f"{path}: {len(found)} requests, but the stages sent {sent}; are the files of one run?")
    requests: list[MeasuredRequest] = []
    times: list[tuple[float, float]] = []
    findings: list[tuple[str, lint.Finding]] = []
    pool = recognise_pool(profile.pool, [one.prompt_tokens for one in found]) if profile.pool else None
    begin = 0
    for stage in stages:
        part = found[begin : begin + stage.load.count]
        if sum(not one.failed for one in part) != stage.completed:
            raise ConfigError(f"{path}: successes of {stage.id} differ from {stage.path}; are the files of one run?")
        times.append((part[0].start_s, max(one.end_s for one in part)))
        findings += [(stage.id, finding) for finding in _of_counts([one for one in part if not one.failed], profile)]
        for position, one in enumerate(part, start=begin):
            prompt = pool[position] if pool else None
            requests.append(_measured(stage.id, position, one, part[0].start_s, prompt))
        begin += stage.load.count
    return Recorded(checked_requests(str(path), requests), tuple(times), tuple(findings))


def _of_counts(answered: Sequence[_One], profile: Profile) -> Iterator[lint.Finding]:
    """Yield what the client's counts show: lengths that took no time, times that are no tokens."""
    counted = [(one.client_tokens, one.end_s - one.start_s) for one in answered if one.client_tokens is not None]
    unrelated = lint.lengths_unrelated_to_time([tokens for tokens, _ in counted], [time for _, time in counted])
    events = lint.stream_events_counted([one.events for one in answered if one.events], profile.output_tokens or 0)
    yield from (finding for finding in (unrelated, events) if finding is not None)


def _streamed(path: Path, profile: Profile) -> list[_One]:
    """Read request by request.

    Numbers are kept in an array: as objects they would lie between those of the times of tokens, of
    which there are hundreds per request, and keep the memory of all of them from being used again.
    """
    packed = array("d")
    for place, value in stream_values(path, frozenset({()})):
        if len(place) != 1 or not isinstance(place[0], int):
            raise ConfigError(f"{path}: must be a list of requests; is this a file of inference-perf?")
        refuse_too_many(str(path), place[0] + 1)
        source = f"{path}: {EACH if not place else place[0]}"
        packed.extend(_packed(_one(parse(_Request, value, source=source), profile, source)))
    rows = range(0, len(packed), NUMBERS)
    return [_unpacked(packed[row : row + NUMBERS]) for row in rows]


def _packed(one: _One) -> tuple[float, ...]:
    """Return a request as `NUMBERS` numbers; what is not known is not a number."""
    values = (one.start_s, one.end_s, one.first_token_s, one.prompt_tokens, one.output_tokens, one.client_tokens)
    return (*(math.nan if value is None else value for value in values), one.events, one.failed)


def _unpacked(numbers: Sequence[float]) -> _One:
    start_s, end_s, first_token_s, prompt_tokens, output_tokens, client_tokens, events, failed = numbers
    return _One(
        start_s=start_s,
        end_s=end_s,
        first_token_s=None if math.isnan(first_token_s) else first_token_s,
        prompt_tokens=int(prompt_tokens),
        output_tokens=int(output_tokens),
        client_tokens=None if math.isnan(client_tokens) else int(client_tokens),
        events=int(events),
        failed=bool(failed),
    )


def _one(request: _Request, profile: Profile, source: str) -> _One:
    info = request.info or _Info()
    response = info.response_metrics or _ResponseMetrics()
    text = (info.request_metrics.text if info.request_metrics else None) or _Text()
    times = info.output_token_times or response.output_token_times
    prompt_tokens = info.input_tokens or text.input_tokens
    usage = response.server_usage or {}
    counted = usage.get("completion_tokens") or info.output_tokens or response.output_tokens
    output_tokens = profile.output_tokens or (counted if isinstance(counted, int) else None)
    if request.end_time < request.start_time:
        raise ConfigError(f"{source}: end_time is before start_time; the file is damaged")
    if times and not request.start_time <= times[0] <= request.end_time:
        raise ConfigError(
            f"{source}: info.output_token_times.0: not between start_time and end_time; are clocks mixed?"
        )
    if not prompt_tokens or (output_tokens is None and request.error is None):
        raise ConfigError(f"{source}: info: no input_tokens or output_tokens; record requests with their info")
    return _One(
        start_s=request.start_time,
        end_s=request.end_time,
        first_token_s=times[0] if times else None,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens or 0,
        client_tokens=info.output_tokens or response.output_tokens,
        events=len(times),
        failed=request.error is not None,
    )


def _measured(stage: str, position: int, one: _One, begin_s: float, prompt: Any) -> MeasuredRequest:
    answered = not one.failed
    return MeasuredRequest(
        load_point=stage,
        id=f"request_{position}",
        arrival_us=round((one.start_s - begin_s) * US_PER_S),
        prompt_tokens=one.prompt_tokens,
        output_tokens=one.output_tokens,
        prefix_group=prompt.prefix_group if prompt else None,
        prefix_tokens=prompt.prefix_tokens if prompt else 0,
        completed=answered,
        ttft_ms=(one.first_token_s - one.start_s) * MS_PER_S if answered and one.first_token_s is not None else None,
        e2e_ms=(one.end_s - one.start_s) * MS_PER_S if answered else None,
    )
