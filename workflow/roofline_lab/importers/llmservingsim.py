"""Requests that LLMServingSim recorded on a real vLLM server: `requests.jsonl`, with `meta.json` beside it.

Contract: `read` makes one load point of the requests of a file, each replayed at the moment it reached the engine.
Times are those of the server: `queued_ts`, `scheduled_ts`, `first_token_ts` and `last_token_ts` are seconds of one
clock that only the machine knows, `arrival_time` is a Unix time of the client. TTFT and E2E count from `queued_ts`, as
the tool's own validation does, and so do the arrivals: between both clocks nothing can be compared to the millisecond.
What `meta.json` says of the server is read where all facts about servers are (`server_sources`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from roofline_lab.ground_truth.json_stream import stream_documents
from roofline_lab.ground_truth.kept_up import Load
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import MeasuredRequest, checked_requests, refuse_too_many
from roofline_lab.importers.common import (
    MS_PER_S,
    US_PER_S,
    Foreign,
    Latency,
    Measurement,
    Notes,
    WholeNumber,
    constant_workload,
    day_of,
    judged,
    measured_metrics,
    measurement,
    only_file,
    request_counts,
    statistics_of,
    unrecorded_day,
)
from roofline_lab.importers.tools import refuse_other_tool
from simulator.errors import ConfigError
from simulator.validation import parse, read_json

TOOL = "llmservingsim"
MARKS = frozenset({"queued_ts", "scheduled_ts", "first_token_ts", "last_token_ts"})
PATTERNS = ("requests.jsonl", "requests.jsonl.gz", "*requests*.jsonl", "*requests*.jsonl.gz")
META_FILE = "meta.json"

LOAD_POINT = "recorded"


class _Row(Foreign):
    """One request; a time that is missing was never reached."""

    request_id: str
    input_toks: WholeNumber
    output_toks: WholeNumber
    arrival_time: Latency | None = None
    queued_ts: Latency | None = None
    scheduled_ts: Latency | None = None
    first_token_ts: Latency | None = None
    last_token_ts: Latency | None = None


class _Sent(NamedTuple):
    """A request that reached the engine, and its row for messages."""

    source: str
    row: _Row
    queued_s: float

    @property
    def answered(self) -> bool:
        return self.row.first_token_ts is not None and self.row.last_token_ts is not None and self.row.output_toks > 0


def read(path: Path) -> Measurement:
    """Read the requests of one run.

    Raises
    ------
    ConfigError
        If the file is none of LLMServingSim, is damaged, or has no answered request.
    """
    file = only_file(path, PATTERNS, "requests that LLMServingSim recorded (requests.jsonl)")
    rows = list(_rows(file))
    sent = sorted(_sent(rows), key=lambda one: one.queued_s)
    answered = [one for one in sent if one.answered]
    if not answered:
        raise ConfigError(
            f"{file}: no request with first_token_ts and last_token_ts; without an answer nothing is measured"
        )
    notes = Notes()
    requests = checked_requests(str(file), [_request(one, sent[0].queued_s) for one in sent])
    _note(file, rows, answered, notes)
    return measurement(
        tool=TOOL,
        tool_version="requests.jsonl",
        source=str(file),
        document=f"LLMServingSim requests {file.name}" + (f" with {META_FILE}" if _meta(file) is not None else ""),
        measured_on=_day(file, sent),
        side="server",
        workload=constant_workload(
            fmean(one.row.input_toks for one in answered),
            fmean(one.row.output_toks for one in answered),
            "Recorded requests are replayed; these are mean lengths.",
        ),
        load_points=[_load_point(str(file), len(rows), requests, answered, notes)],
        notes=notes,
        requests=requests,
    )


# --- the file -------------------------------------------------------------------------------------


def _rows(file: Path) -> Iterator[tuple[str, _Row]]:
    """Yield every request of the file with its place in it."""
    number, values, count = 0, dict[str, Any](), 0
    for document, place, value in stream_documents(file, frozenset({()})):
        if not place or not isinstance(place[0], str):
            raise ConfigError(f"{file}, request {document + 1}: not a request of LLMServingSim: it is no JSON object")
        if document != number:
            yield _row(file, number, values)
            number, values = document, {}
        count = document + 1
        refuse_too_many(str(file), count)
        values[place[0]] = value
    yield _row(file, number, values)


def _row(file: Path, number: int, values: dict[str, Any]) -> tuple[str, _Row]:
    source = f"{file}, request {number + 1}"
    refuse_other_tool(file, values, TOOL)
    if not MARKS & values.keys():
        raise ConfigError(f"{source}: no queued_ts and no first_token_ts; is this what LLMServingSim recorded?")
    row = parse(_Row, values, source=source)
    times = [
        time for time in (row.queued_ts, row.scheduled_ts, row.first_token_ts, row.last_token_ts) if time is not None
    ]
    if times != sorted(times):
        raise ConfigError(
            f"{source}: queued_ts, scheduled_ts, first_token_ts and last_token_ts go backwards; are they of one clock?"
        )
    if not row.input_toks:
        raise ConfigError(f"{source}: input_toks: 0; a prompt has at least one token")
    return source, row


def _sent(rows: Sequence[tuple[str, _Row]]) -> Iterator[_Sent]:
    """Yield the requests that reached the engine; one that did not waited for nothing there."""
    for source, row in rows:
        if row.queued_ts is not None:
            yield _Sent(source, row, row.queued_ts)


def _meta(file: Path) -> dict[str, Any] | None:
    path = file.parent / META_FILE
    content = read_json(path) if path.is_file() else None
    return content if isinstance(content, dict) else None


def _day(file: Path, sent: Sequence[_Sent]) -> Any:
    arrivals = [one.row.arrival_time for one in sent if one.row.arrival_time is not None]
    if not arrivals:
        return unrecorded_day(file.absolute().parent)
    return day_of(min(arrivals), str(file), "arrival_time"), "First arrival, UTC, as the client recorded it."


# --- what it means --------------------------------------------------------------------------------


def _request(one: _Sent, first_s: float) -> MeasuredRequest:
    row, answered = one.row, one.answered
    return MeasuredRequest(
        load_point=LOAD_POINT,
        id=row.request_id,
        arrival_us=round((one.queued_s - first_s) * US_PER_S),
        prompt_tokens=row.input_toks,
        output_tokens=max(1, row.output_toks),
        completed=answered,
        ttft_ms=_ms(row.first_token_ts, one.queued_s) if answered else None,
        e2e_ms=_ms(row.last_token_ts, one.queued_s) if answered else None,
    )


def _ms(later_s: float | None, earlier_s: float) -> float:
    return ((later_s or 0.0) - earlier_s) * MS_PER_S


def _load_point(
    source: str, sent: int, requests: Sequence[MeasuredRequest], answered: Sequence[_Sent], notes: Notes
) -> dict[str, Any]:
    done = [request for request in requests if request.completed]
    latencies = {name: [getattr(request, f"{name}_ms") for request in done] for name in ("ttft", "e2e", "tpot")}
    values: dict[str, float | None] = {}
    for name, each in latencies.items():
        values |= statistics_of(name, [value for value in each if value is not None])
    waits = [(one.row.scheduled_ts - one.queued_s) * MS_PER_S for one in answered if one.row.scheduled_ts is not None]
    if len(waits) == len(answered):
        values["queue_time_mean"] = fmean(waits)
    ends_s = [one.row.last_token_ts or 0.0 for one in answered]
    run_s = max(ends_s) - min(one.queued_s for one in answered)
    if run_s > 0:
        values["request_throughput"] = len(done) / run_s
        values["output_token_throughput"] = math.fsum(request.output_tokens for request in done) / run_s
    found = judged(
        Load(
            sent=sent,
            completed=len(done),
            run_s=run_s or None,
            ttft_s=(values["ttft_mean"] or 0.0) / MS_PER_S,
            e2e_s=(values["e2e_mean"] or 0.0) / MS_PER_S,
            longest_s=max(latencies["e2e"]) / MS_PER_S,
            arrivals_s=[request.arrival_us / US_PER_S for request in requests],
            waits=latencies["ttft"],
        ),
        notes,
        LOAD_POINT,
    )
    return {
        "id": LOAD_POINT,
        "arrivals": {"kind": "recorded", "arrival_us": tuple(request.arrival_us for request in requests)},
        "rate": {"achieved_per_s": found.sent_per_s} if found.sent_per_s else None,
        "duration_s": run_s or None,
        "requests": request_counts(
            sent=sent,
            completed=len(done),
            basis=f"The file's rows: {len(done)} with first and last token, of {sent}.",
            cancelled=sent - len(done),
        ),
        "saturation": found.saturation,
        "measured": measured_metrics(source, values, {"tpot": "inter_token"}, notes),
    }


def _note(file: Path, rows: Sequence[tuple[str, _Row]], answered: Sequence[_Sent], notes: Notes) -> None:
    notes.converted("Times were in seconds of the server's clock; TTFT and E2E count from queued_ts, in ms.")
    lags = [one.queued_s - one.row.arrival_time for one in answered if one.row.arrival_time is not None]
    if len(lags) > 1:
        later_ms = [(lag - min(lags)) * MS_PER_S for lag in lags]
        notes.converted(
            f"Requests are replayed as the engine queued them, on average {fmean(later_ms):.1f} ms (at most "
            f"{max(later_ms):.1f}) later than arrival_time says, beside the quickest: that time is in no figure."
        )
    told = (_meta(file) or {}).get("num_requests")
    if isinstance(told, int) and not isinstance(told, bool) and told > len(rows):
        text = (
            f"{META_FILE} says that {told} requests were sent, the file has {len(rows)}: the others loaded the server, "
            "and are neither replayed nor in the figures."
        )
        notes.say(Flag.PART_OF_THE_RUN, text, load_point=LOAD_POINT)
