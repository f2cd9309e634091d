"""A load point as the steps its server took, each with its weight in the mean TTFT and in the mean time per token.

Contract: `weighted_steps` runs the engine once and gives two tables (`Steps`), one per figure. In a closed loop the
next request is sent when one ends, so that what is in each step does not depend on how long steps take: the engine is
run with steps of one unit, and

    mean TTFT = sum over steps of (share of requests that wait for their first token) * duration
    mean time per token = sum over steps of (mean over requests that decode, of 1 / (tokens - 1)) * duration

for whatever durations. Requests of one loop are always known to the step after next alone, as with a client that takes
longer to answer than a server to begin its next step.

Steps that are alike are put together (`BIN`), their contents averaged by weight; durations are linear in most of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from roofline_lab.ground_truth.experiment import Replay
from roofline_lab.load_point import run_replay
from simulator.engine.options import EngineOptions
from simulator.engine.records import RequestResult, RequestState
from simulator.errors import UnsupportedError
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.cost import StepCost

# Duration of every step, us, and how late a client sends its next request: too late for the step that then begins.
UNIT_US, LATE_US = 1000, 1
# Steps whose tokens differ by less than this (relative) are one; those of few decodes alone are kept apart.
BIN = 0.06
APART_UP_TO = 20
# The same of the number of requests in steps with prefill.
ROWS_BIN = 0.15

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Steps:
    """Kinds of steps of one load point; every field has shape (kinds,).

    Attributes
    ----------
    weight
        Share in the figure: its value is the sum of weight * duration.
    decodes, tokens, rows
        Decode requests, new tokens, and requests in the step.
    read_tokens
        Past tokens the decodes read.
    chunks, pairs, chunk_reads, chunk_pasts
        Prefill chunks; pairs of a new token and one it attends to; past and new tokens; past tokens alone.
    """

    weight: Column
    decodes: Column
    tokens: Column
    rows: Column
    read_tokens: Column
    chunks: Column
    pairs: Column
    chunk_reads: Column
    chunk_pasts: Column


@dataclass(frozen=True, slots=True)
class LoadPointSteps:
    """The steps of one load point, as they count in each figure, and the mean prompt in tokens."""

    ttft: Steps
    per_token: Steps
    prompt_tokens: float


class _Recorder:
    """A step-time model by which every step takes one unit, and which remembers what was in it."""

    kv_breakpoints: tuple[int, ...] = ()

    def __init__(self) -> None:
        self.decodes: list[int] = []
        self.reads: list[int] = []
        self.prefill: dict[int, list[tuple[int, int]]] = {}

    def step_time_us(self, sums: BatchSums) -> int:
        if sums.prefill:
            self.prefill[len(self.decodes)] = list(sums.prefill)
        self.decodes.append(sums.decode_count)
        self.reads.append(sums.decode_past_tokens)
        return UNIT_US

    def decode_times_us(self, sums: BatchSums, steps: int, limit_us: int) -> list[int]:
        taken = min(steps, -(-limit_us // UNIT_US))
        past, count = sums.decode_past_tokens, sums.decode_count
        self.decodes += [count] * taken
        self.reads += range(past, past + taken * count, count)
        return [UNIT_US] * taken

    def explain(self, batch: Batch) -> StepCost:
        raise NotImplementedError("steps of one unit have no explanation")


def weighted_steps(replay: Replay, engine: EngineOptions) -> LoadPointSteps:
    """Return the steps of a closed loop.

    Raises
    ------
    UnsupportedError
        If the load is no closed loop, or nothing was completed.
    """
    if replay.workload.concurrency is None:
        raise UnsupportedError("steps depend on their durations where requests do not wait for each other")
    late = tuple(replace(request, queueing_delay_us=LATE_US) for request in replay.workload.requests)
    recorder = _Recorder()
    sent = replace(replay, workload=replace(replay.workload, requests=late, ramp_us=0))
    done = run_replay(sent, recorder, engine.model_copy(update={"schedule_ahead": False})).requests
    kept = [request for request in done if request.state is RequestState.COMPLETED]
    if not kept:
        raise UnsupportedError("no request was completed")
    ttft, per_token = _weights(kept, len(recorder.decodes))
    contents = _contents(recorder)
    prompts = sum(request.prompt_tokens for request in kept) / len(kept)
    return LoadPointSteps(_together(ttft, contents), _together(per_token, contents), prompts)


def _weights(requests: Sequence[RequestResult], steps: int) -> tuple[Column, Column]:
    """Return the weights of every step in both means, from the steps in which requests arrive, answer and end."""
    waiting, decoding = np.zeros(steps + 2), np.zeros(steps + 2)
    for request in requests:
        arrived, first, last = _step(request.arrival_us), _step(request.first_token_us), _step(request.completed_us)
        waiting[arrived] += 1.0
        waiting[first] -= 1.0
        if request.output_tokens > 1:
            decoding[first] += 1.0 / (request.output_tokens - 1)
            decoding[last] -= 1.0 / (request.output_tokens - 1)
    count = len(requests)
    return np.cumsum(waiting)[:steps] / count, np.cumsum(decoding)[:steps] / count


def _step(time_us: int | None) -> int:
    """Return the step that begins at a time; an idle server has waited `LATE_US` each time, far below one unit."""
    return (time_us or 0) // UNIT_US


def _contents(recorder: _Recorder) -> dict[str, Column]:
    decodes = np.array(recorder.decodes, dtype=float)
    names = ("chunks", "new", "pairs", "chunk_reads", "chunk_pasts")
    of_prefill = {name: np.zeros(len(decodes)) for name in names}
    for step, chunks in recorder.prefill.items():
        for name, value in zip(names, _sums(chunks), strict=True):
            of_prefill[name][step] = value
    new = of_prefill.pop("new")
    return {
        "decodes": decodes,
        "tokens": decodes + new,
        "rows": decodes + of_prefill["chunks"],
        "read_tokens": np.array(recorder.reads, dtype=float),
        **of_prefill,
    }


def _sums(chunks: Iterable[tuple[int, int]]) -> tuple[float, ...]:
    """Return chunks, new tokens, pairs, reads and past tokens of a step's prefill."""
    found = list(chunks)
    return (
        float(len(found)),
        float(sum(new for _, new in found)),
        sum(new * (past + new / 2) for past, new in found),
        float(sum(past + new for past, new in found)),
        float(sum(past for past, _ in found)),
    )


def _together(weight: Column, contents: dict[str, Column]) -> Steps:
    """Put steps that are alike together, and leave out those without weight."""
    _, kind = np.unique(_kinds(contents), return_inverse=True)
    total = np.bincount(kind, weight)
    some = total > 0
    means = {name: np.bincount(kind, weight * values)[some] / total[some] for name, values in contents.items()}
    return Steps(weight=total[some], **means)


def _kinds(contents: dict[str, Column]) -> NDArray[np.int64]:
    decodes, tokens, rows = contents["decodes"], contents["tokens"], contents["rows"]
    with_prefill = contents["chunks"] > 0
    by_tokens = np.round(np.log(np.maximum(tokens, 1)) / BIN).astype(np.int64)
    few = ~with_prefill & (decodes <= APART_UP_TO)
    by_tokens = np.where(few, decodes.astype(np.int64) + 10_000, by_tokens)
    by_rows = np.where(with_prefill, np.round(np.log(np.maximum(rows, 1)) / ROWS_BIN), 0).astype(np.int64)
    return (with_prefill * 100_000 + by_tokens) * 1000 + by_rows
