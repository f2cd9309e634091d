"""From one validated description to the requests an engine runs.

Contract: `build_workload(spec, seed)` is a function of its arguments (and of the trace file, if one
is named). Requests are in order of arrival and named `request_0`, `request_1`, ... unless a trace
names them. In a closed loop every arrival is 0 and `Workload.concurrency` says how many requests
are in flight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from simulator.engine.records import Request
from simulator.errors import ConfigError, InvariantError
from simulator.validation import NonNegativeInt, StrictModel
from simulator.workload.arrivals import (
    US_PER_S,
    ClosedLoop,
    Replayed,
    WorkloadArrivals,
    WorkloadArrivalSpec,
    arrival_times,
    arrivals_at_rate,
    first_times,
    replayed_times,
)
from simulator.workload.lengths import LengthSpec, draw_lengths
from simulator.workload.prefixes import (
    DrawnPrefix,
    NoSharing,
    PromptPool,
    SharedPrefix,
    WorkloadPrefixSpec,
    distinct_prompts,
    prompts_of,
    recognise_pool,
    share,
)
from simulator.workload.sessions import SessionsSpec, session_requests
from simulator.workload.streams import stream

# Ten times the 100,000 requests the engine is built for; stops a slip from filling the memory.
MAX_REQUESTS = 1_000_000

RequestCount = Annotated[int, Strict(), Field(ge=1, le=MAX_REQUESTS)]


@dataclass(frozen=True, slots=True)
class Workload:
    """What an engine is given.

    Attributes
    ----------
    requests
        In order of arrival.
    concurrency
        Requests in flight of a closed loop; None when arrivals are given by `arrival_us`.
    ramp_us
        Time over which the clients of a closed loop start; 0: all at once.
    warm_up
        How many requests, the first ones, are in no figure.
    notes
        What a reader of a recording should know.
    """

    requests: tuple[Request, ...]
    concurrency: int | None
    ramp_us: int = 0
    warm_up: int = 0
    notes: tuple[str, ...] = ()


class TraceSource(StrictModel):
    """A recorded run.

    Attributes
    ----------
    file
        CSV or CSV.gz; a relative name starts at the `base` given to `build_workload`.
    where
        Keep only rows whose cells equal these texts.
    order
        `recorded`: the first `requests` rows, each once. `resampled`: `requests` rows drawn with replacement, prompt
        and answer of a row together, to arrive by a process of their own.
    """

    file: str = Field(min_length=1)
    where: dict[str, str] = Field(default_factory=dict)
    order: Literal["recorded", "resampled"] = "recorded"


class WorkloadSpec(StrictModel):
    """Which requests arrive when.

    Either everything is drawn (`requests`, `arrivals`, `prompt`, `output`, optionally `prefix`) or
    recorded (`trace`; `requests` then keeps the first ones, `arrivals` replaces the recorded times,
    and `prefix` may only be a prompt pool to recognise).

    With `sessions`, requests are turns of conversations: `arrivals` are those of the sessions, `prompt` is what a turn
    adds to the conversation, and `prefix` is what a session begins with.

    Attributes
    ----------
    requests
        How many.
    arrivals
        When they arrive.
    prompt, output
        Their lengths in tokens.
    prefix
        What prompts share.
    sessions
        Turns of conversations, and the time between them.
    sent_before
        Requests of the same client that came before these, so that those of a prompt pool go on where they were.
    trace
        Recorded requests.
    """

    requests: RequestCount | None = None
    arrivals: WorkloadArrivalSpec | None = None
    prompt: LengthSpec | None = None
    output: LengthSpec | None = None
    prefix: WorkloadPrefixSpec = NoSharing(kind="none")
    sessions: SessionsSpec | None = None
    sent_before: NonNegativeInt = 0
    trace: TraceSource | None = None

    @model_validator(mode="after")
    def _drawn_or_recorded(self) -> Self:
        drawn = {"requests": self.requests, "arrivals": self.arrivals, "prompt": self.prompt, "output": self.output}
        if self.trace is None:
            missing = [name for name, value in drawn.items() if value is None]
            if missing:
                raise ValueError(f"missing: {', '.join(missing)}; give them, or a 'trace'")
            if isinstance(self.arrivals, Replayed) and self.arrivals.arrival_us is None:
                raise ValueError("replayed arrivals without arrival_us are those of a trace; give them, or a 'trace'")
            return self
        extra = [name for name in ("prompt", "output") if drawn[name] is not None]
        if extra:
            raise ValueError(f"a trace already has lengths; remove {' and '.join(extra)}, or remove 'trace'")
        if isinstance(self.prefix, SharedPrefix | DrawnPrefix):
            raise ValueError("a trace names its shared prefixes in its own columns; remove 'prefix'")
        if self.trace.order == "resampled":
            _require_resampled(self)
        return self

    @model_validator(mode="after")
    def _sessions_alone(self) -> Self:
        if self.sessions is None:
            return self
        if self.trace is not None:
            raise ValueError("sessions are drawn, and a trace has requests of its own; remove 'sessions' or 'trace'")
        if isinstance(self.prefix, PromptPool):
            raise ValueError("turns of sessions are no prompts of a pool; take a prefix of kind shared or drawn")
        if isinstance(self.arrivals, ClosedLoop) and self.arrivals.warm_up_requests:
            raise ValueError("a warm-up counts single requests, not sessions; remove arrivals.warm_up_requests")
        return self


def _require_resampled(spec: WorkloadSpec) -> None:
    """Refuse to draw rows of a trace without saying how many there are and when they come."""
    missing = [name for name in ("requests", "arrivals") if getattr(spec, name) is None]
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}; a resampled trace does not say how many come when")
    if isinstance(spec.prefix, PromptPool):
        raise ValueError("rows drawn at random repeat no prompt pool; remove 'prefix', or trace.order")


def build_workload(spec: WorkloadSpec, seed: int, *, base: Path = Path()) -> Workload:
    """Make the requests of one run.

    Parameters
    ----------
    spec
        The description.
    seed
        Seed of every random draw; arrivals, prompts and outputs have a stream each.
    base
        Folder that a relative trace file name starts from.

    Raises
    ------
    ConfigError
        If a recording has too few requests, or a trace cannot be read.
    """
    requests, notes = (_drawn(spec, seed), ()) if spec.trace is None else _recorded(spec, spec.trace, seed, base)
    if not isinstance(spec.arrivals, ClosedLoop):
        return Workload(requests, None, notes=notes)
    return replace(in_closed_loop(requests, spec.arrivals), notes=notes)


def at_rate(spec: WorkloadSpec, rate_per_s: float) -> WorkloadSpec:
    """Return the same workload at another mean rate of arrivals.

    Built with one seed, both have the same random numbers: requests have the same lengths and come in the same pattern,
    faster or slower. A trace keeps the pattern it was recorded with.

    Raises
    ------
    ConfigError
        If its arrivals have no rate (a closed loop, a burst), or the rate is out of all proportion.
    """
    arrivals = Replayed(kind="replayed") if spec.arrivals is None else spec.arrivals
    return spec.model_copy(update={"arrivals": arrivals_at_rate(arrivals, rate_per_s)})


def in_closed_loop(requests: tuple[Request, ...], loop: ClosedLoop) -> Workload:
    """Return requests as the clients of a closed loop send them, the first `warm_up_requests` to warm up.

    Raises
    ------
    ConfigError
        If no request is left behind the warm-up.
    """
    warm_up = loop.warm_up_requests
    if warm_up >= len(requests):
        raise ConfigError(
            f"arrivals.warm_up_requests: {warm_up} of {len(requests)} requests warm up, so none is left to measure; "
            "lower it, or send more requests"
        )
    return Workload(requests, loop.concurrency, round(loop.ramp_s * US_PER_S), warm_up)


def _drawn(spec: WorkloadSpec, seed: int) -> tuple[Request, ...]:
    count, arrivals, prompt, output = spec.requests, spec.arrivals, spec.prompt, spec.output
    if count is None or arrivals is None or prompt is None or output is None:
        raise InvariantError("a workload description without a trace lost a part that validation requires")
    if spec.sessions is not None and not isinstance(spec.prefix, PromptPool):
        new_tokens = draw_lengths(prompt, count, "prompt", seed)
        outputs = draw_lengths(output, count, "output", seed)
        opening = prompts_of(spec.prefix, count, seed)
        return _begin(session_requests(spec.sessions, new_tokens, outputs, opening, seed), arrivals, seed)
    warm_up = arrivals.warm_up_requests if isinstance(arrivals, ClosedLoop) else 0
    count += warm_up
    times = arrival_times(arrivals, count, seed)
    before = spec.sent_before if isinstance(spec.prefix, PromptPool) else 0
    lengths = draw_lengths(prompt, distinct_prompts(spec.prefix, before + count), "prompt", seed)
    prompts = share(spec.prefix, lengths, before + count, seed)[before:]
    outputs = draw_lengths(output, count, "output", seed)
    return tuple(
        Request(
            id=f"request_{position - warm_up}" if position >= warm_up else f"loop_warm_up_{position}",
            arrival_us=arrival_us,
            prompt_tokens=drawn.tokens,
            output_tokens=max(1, output_tokens),
            prefix_group=drawn.prefix_group,
            prefix_tokens=drawn.prefix_tokens,
            outer_group=drawn.outer_group,
            outer_tokens=drawn.outer_tokens,
        )
        for position, (arrival_us, drawn, output_tokens) in enumerate(zip(times, prompts, outputs, strict=True))
    )


def _begin(turns: list[Request], arrivals: WorkloadArrivals, seed: int) -> tuple[Request, ...]:
    """Let the sessions of turns arrive one after the other."""
    sessions = list(dict.fromkeys(turn.session for turn in turns))
    times = dict(zip(sessions, arrival_times(arrivals, len(sessions), seed), strict=True))
    return tuple(replace(turn, arrival_us=times[turn.session]) for turn in turns)


def _recorded(
    spec: WorkloadSpec, trace: TraceSource, seed: int, base: Path
) -> tuple[tuple[Request, ...], tuple[str, ...]]:
    from simulator.workload.trace import read_trace  # drawn workloads need no reader

    path = base / trace.file
    own_times = spec.arrivals is None or (isinstance(spec.arrivals, Replayed) and spec.arrivals.arrival_us is None)
    found = read_trace(path, where=trace.where, times_required=own_times)
    requests, notes = found.requests, tuple(f"{path.name}: {note}" for note in found.notes)
    recorded_us = [request.arrival_us for request in requests]
    if isinstance(spec.prefix, PromptPool):
        requests = _pooled(requests, spec.prefix)
    if spec.requests is not None:
        resampled = trace.order == "resampled"
        requests = _resampled(requests, spec.requests, seed) if resampled else _first(requests, spec.requests, path)
    if spec.arrivals is not None:
        times = _times_of(spec.arrivals, recorded_us, len(requests), seed)
        requests = tuple(replace(request, arrival_us=time) for request, time in zip(requests, times, strict=True))
    return requests, notes


def _times_of(arrivals: WorkloadArrivals, recorded_us: list[int], count: int, seed: int) -> list[int]:
    if isinstance(arrivals, Replayed) and arrivals.arrival_us is None:
        return replayed_times(arrivals, first_times(recorded_us, count))
    return arrival_times(arrivals, count, seed)


def _first(requests: tuple[Request, ...], count: int, path: Path) -> tuple[Request, ...]:
    if count > len(requests):
        raise ConfigError(f"{path}: has {len(requests)} requests, but 'requests' asks for {count}; lower it")
    return requests[:count]


def _resampled(requests: tuple[Request, ...], count: int, seed: int) -> tuple[Request, ...]:
    picks = stream(seed, "rows").integers(len(requests), size=count).tolist()
    return tuple(replace(requests[pick], id=f"request_{position}") for position, pick in enumerate(picks))


def _pooled(requests: tuple[Request, ...], pool: PromptPool) -> tuple[Request, ...]:
    prompts = recognise_pool(pool, [request.prompt_tokens for request in requests])
    return tuple(
        replace(
            request,
            prefix_group=prompt.prefix_group,
            prefix_tokens=prompt.prefix_tokens,
            outer_group=prompt.outer_group,
            outer_tokens=prompt.outer_tokens,
        )
        for request, prompt in zip(requests, prompts, strict=True)
    )
