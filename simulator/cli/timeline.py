"""The timeline of a run, as trace viewers of browsers open it (chrome://tracing, ui.perfetto.dev).

Contract: `timeline(result)` is plain data in the Trace Event Format: every engine step on one track, its queue, batch
and KV blocks as counters, and every request as its phases on the first track that is free. Several servers are a
process each. Times are us, as there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

from simulator.engine.records import RequestResult, RunResult, StepRecord

ENGINE, REQUESTS = 1, 2
Event = dict[str, Any]


def timeline(result: RunResult, cost: Callable[[StepRecord], dict[str, Any]]) -> dict[str, Any]:
    """Return the document to be written.

    Parameters
    ----------
    result
        A run with its step log.
    cost
        What each step is made of; shown when a step is selected.
    """
    return {
        "displayTimeUnit": "ms",
        "traceEvents": [
            *_names(max(len(result.replicas), 1)),
            *(event for step in result.steps for event in _step_events(step, cost(step))),
            *_request_events(result.requests),
        ],
    }


def _names(servers: int) -> Iterator[Event]:
    engines = [(_engine(place), f"engine {place}" if servers > 1 else "engine") for place in range(servers)]
    for process, name in (*engines, (REQUESTS, "requests")):
        yield {"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": name}}
    for process, _ in engines:
        yield {"ph": "M", "name": "thread_name", "pid": process, "tid": 1, "args": {"name": "steps"}}


def _engine(replica: int) -> int:
    """Return the process of a server; those behind the first one follow the requests."""
    return REQUESTS + replica if replica else ENGINE


def _step_events(step: StepRecord, cost: dict[str, Any]) -> Iterator[Event]:
    tokens = sum(new_tokens for _, _, new_tokens in step.prefill)
    seen = {"prefill_requests": len(step.prefill), "prefill_tokens": tokens, "decode_requests": len(step.decode)}
    engine = _engine(step.replica)
    yield _span(engine, 1, str(cost["kind"]), step.start_us, step.duration_us, {**seen, **cost})
    counters = {
        "batch (requests)": {"prefill": len(step.prefill), "decode": len(step.decode)},
        "waiting (requests)": {"waiting": step.waiting},
        "KV blocks in use": {"blocks": step.kv_blocks_used},
    }
    for name, values in counters.items():
        yield {"ph": "C", "name": name, "pid": engine, "tid": 0, "ts": step.start_us, "args": values}


def _request_events(results: Sequence[RequestResult]) -> Iterator[Event]:
    """Yield the phases of every request that got its last token, requests that overlap on tracks of their own."""
    busy: list[tuple[int, int]] = []
    free: list[int] = []
    tracks = 0
    done = [result for result in results if result.completed_us is not None]
    for result in sorted(done, key=lambda result: (result.arrival_us, result.id)):
        while busy and busy[0][0] <= result.arrival_us:
            heappush(free, heappop(busy)[1])
        if not free:
            tracks += 1
            heappush(free, tracks)
        track = heappop(free)
        heappush(busy, (result.completed_us or 0, track))
        yield from _phases(result, track)


def _phases(result: RequestResult, track: int) -> Iterator[Event]:
    seen = {
        "request": result.id,
        "prompt_tokens": result.prompt_tokens,
        "output_tokens": result.output_tokens,
        "cached_tokens": result.cached_tokens,
        "preemptions": result.preemptions,
    }
    first_us, end_us = result.first_token_us or 0, result.completed_us or 0
    # After a preemption the last admission may lie behind the first token.
    admitted_us = min(result.scheduled_us or 0, first_us)
    for name, start_us, stop_us in (
        ("queue", result.arrival_us, admitted_us),
        ("prefill", admitted_us, first_us),
        ("decode", first_us, end_us),
    ):
        if stop_us > start_us:
            yield _span(REQUESTS, track, name, start_us, stop_us - start_us, seen)


def _span(process: int, track: int, name: str, start_us: int, duration_us: int, seen: dict[str, Any]) -> Event:
    return {
        "ph": "X",
        "cat": name,
        "name": name,
        "pid": process,
        "tid": track,
        "ts": start_us,
        "dur": duration_us,
        "args": seen,
    }
