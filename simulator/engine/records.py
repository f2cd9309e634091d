"""What goes into an engine run and what comes out of it.

All times are integer microseconds on one clock that starts at 0; all lengths are tokens.

Not compiled: callers make requests of whatever they have read, and `check_requests` refuses in words what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the client sends it.

    Attributes
    ----------
    id
        Name in the output; unique within a run.
    arrival_us
        Time of arrival; ignored (set at release) when the run is a closed loop.
    prompt_tokens
        Prompt length, shared prefix included.
    output_tokens
        Tokens the server will generate; 0 counts as 1, as a server always samples one.
    prefix_group
        Requests of one group share their first `prefix_tokens` tokens; None shares with nobody.
    prefix_tokens
        Length of that shared prefix, at most `prompt_tokens`.
    outer_group, outer_tokens
        Several groups may begin alike: requests of one outer group share their first `outer_tokens` tokens, at most
        `prefix_tokens`, whatever their prefix group.
    session
        Conversation this is a turn of. Its turns are sent one after the other, in the order given; the prompt of each
        begins with all prompts and answers before it, and a prefix group is what the session begins with.
    think_us
        Time from the end of the turn before to the arrival of this one, whose `arrival_us` counts for nothing then.
    priority
        Only for the priority scheduler; higher runs first.
    queueing_delay_us
        Time between arrival and entering the waiting queue (alpha model); 0 by default.
    """

    id: str
    arrival_us: int
    prompt_tokens: int
    output_tokens: int
    prefix_group: str | None = None
    prefix_tokens: int = 0
    priority: int = 0
    queueing_delay_us: int = 0
    outer_group: str | None = None
    outer_tokens: int = 0
    session: str | None = None
    think_us: int = 0


class RequestState(StrEnum):
    """Where a request ended."""

    COMPLETED = "completed"
    DROPPED = "dropped_unservable"
    RUNNING = "running"
    QUEUED = "queued"
    NOT_ARRIVED = "not_arrived"


class RequestResult(NamedTuple):
    """What happened to one request; times that were not reached are None.

    Attributes
    ----------
    scheduled_us
        Start of the step that (last) admitted it.
    first_token_us, completed_us
        Ends of the steps that produced its first and its last token.
    last_step_us
        Duration of the step that produced its last token.
    cached_tokens
        Prompt tokens found in the prefix cache at (last) admission.
    """

    id: str
    arrival_us: int
    prompt_tokens: int
    output_tokens: int
    state: RequestState
    scheduled_us: int | None = None
    first_token_us: int | None = None
    completed_us: int | None = None
    last_step_us: int | None = None
    preemptions: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One engine step: when, how long, and what was in it.

    `prefill` holds `(request id, past_tokens, new_tokens)`, `decode` holds `(request id, past_tokens)`,
    both in batch order and as priced. A server of several groups has a record per group, which all last as long;
    `elsewhere` are the new tokens of the others. `replica` is the place of the server among several.
    """

    start_us: int
    duration_us: int
    prefill: tuple[tuple[str, int, int], ...]
    decode: tuple[tuple[str, int], ...]
    waiting: int
    kv_blocks_used: int
    elsewhere: int = 0
    replica: int = 0


@dataclass(frozen=True, slots=True)
class RunCounters:
    """Totals over one run.

    `steps` splits into `prefill_steps` (prefill only), `decode_steps` (decode only) and
    `mixed_steps`; the `_us` fields are the time spent in each kind. Token counts are tokens
    actually scheduled, so a preempted request's recomputation counts again. Groups of a server count their steps each,
    and `peak_kv_blocks` is the most of one group.
    """

    steps: int = 0
    prefill_steps: int = 0
    decode_steps: int = 0
    mixed_steps: int = 0
    prefill_us: int = 0
    decode_us: int = 0
    mixed_us: int = 0
    prefill_tokens: int = 0
    decode_tokens: int = 0
    cached_tokens: int = 0
    preemptions: int = 0
    peak_kv_blocks: int = 0
    kv_block_hits: int = 0
    end_us: int = 0


@dataclass(frozen=True, slots=True)
class ReplicaShare:
    """What one of several servers did: which requests it was sent, by place in the caller's list, and its totals."""

    requests: tuple[int, ...]
    counters: RunCounters


@dataclass(frozen=True, slots=True)
class RunResult:
    """Every request in the order it was given, run totals, and what else was asked for.

    Attributes
    ----------
    steps
        The step log, in the order the steps started.
    token_gaps
        `(gap_us, count)` of the gaps between consecutive tokens of one request, pooled over all requests,
        shortest first. Tokens of requests that did not complete are in it.
    replicas
        Of a run with several servers, the share of each; counters are sums then, but for `peak_kv_blocks` and `end_us`.
    """

    requests: tuple[RequestResult, ...]
    counters: RunCounters
    steps: tuple[StepRecord, ...] = field(default=())
    token_gaps: tuple[tuple[int, int], ...] = field(default=())
    replicas: tuple[ReplicaShare, ...] = field(default=())
