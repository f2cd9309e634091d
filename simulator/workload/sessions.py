"""Conversations: turns whose prompts contain all that was said before, each sent some time after the last answer.

Contract: `session_requests` returns `count` turns, session by session, that depend on nothing but its arguments. Turns
and think times have a random stream each; the n-th turn of the workload has the n-th prompt, answer and think time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from simulator.engine.records import Request
from simulator.validation import Count, StrictModel
from simulator.workload.arrivals import US_PER_S
from simulator.workload.prefixes import Prompt
from simulator.workload.streams import stream

# A session of more turns, or a user who thinks for more than a year, is a slip.
Turns = Annotated[int, Strict(), Field(ge=1, le=100_000)]
Seconds = Annotated[float, Strict(), Field(ge=0, le=3.2e7)]


class ConstantTurns(StrictModel):
    """Every session has `turns` turns."""

    kind: Literal["constant"]
    turns: Turns


class UniformTurns(StrictModel):
    """Every number from `min_turns` to `max_turns` with the same chance."""

    kind: Literal["uniform"]
    min_turns: Turns
    max_turns: Turns

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_turns > self.max_turns:
            raise ValueError(f"min_turns {self.min_turns} is greater than max_turns {self.max_turns}")
        return self


class GeometricTurns(StrictModel):
    """After every turn, the session ends with the same chance; `mean_turns` on average."""

    kind: Literal["geometric"]
    mean_turns: Annotated[float, Strict(), Field(ge=1, le=100_000)]


TurnsSpec = Annotated[ConstantTurns | UniformTurns | GeometricTurns, Field(discriminator="kind")]


class ConstantThinking(StrictModel):
    """The next turn comes `mean_s` seconds after the answer."""

    kind: Literal["constant"]
    mean_s: Seconds


class ExponentialThinking(StrictModel):
    """Exponential think times."""

    kind: Literal["exponential"]
    mean_s: Seconds


class LognormalThinking(StrictModel):
    """Lognormal think times; `cv` is their standard deviation over their mean."""

    kind: Literal["lognormal"]
    mean_s: Seconds
    cv: Annotated[float, Strict(), Field(ge=0, le=100)]


ThinkingSpec = Annotated[ConstantThinking | ExponentialThinking | LognormalThinking, Field(discriminator="kind")]


class SessionsSpec(StrictModel):
    """Conversations of users with the server.

    Attributes
    ----------
    turns
        How many turns a session has.
    think_s
        Time from the end of an answer to the next turn.
    max_context_tokens
        A turn whose prompt and answer together would be longer is not sent, and ends its session; the first one is sent
        whatever its length. None: no limit.
    """

    turns: TurnsSpec
    think_s: ThinkingSpec = ConstantThinking(kind="constant", mean_s=0.0)
    max_context_tokens: Count | None = None


def session_requests(
    spec: SessionsSpec,
    new_tokens: Sequence[int],
    output_tokens: Sequence[int],
    opening: Callable[[int, int], Prompt],
    seed: int,
) -> list[Request]:
    """Return one turn for every length, which all arrive at 0: only first turns need a time of their own.

    Parameters
    ----------
    new_tokens, output_tokens
        What each turn adds to the conversation before it, and the length of its answer.
    opening
        From the number of a session and its first new tokens to its first prompt.
    """
    count = len(new_tokens)
    turns, think_us = _turns(spec.turns, count, seed), _think_us(spec.think_s, count, seed)
    requests: list[Request] = []
    session = turn = history = 0
    first = Prompt(1, None, 0)
    for position, (new, output) in enumerate(zip(new_tokens, output_tokens, strict=True)):
        prompt, answer = history + max(new, 1), max(output, 1)
        too_long = spec.max_context_tokens is not None and prompt + answer > spec.max_context_tokens
        if turn == turns[session] or (turn and too_long):
            session, turn = session + 1, 0
        if not turn:
            first = opening(session, new)
            prompt = first.tokens
        requests.append(
            Request(
                id=f"request_{position}",
                arrival_us=0,
                prompt_tokens=prompt,
                output_tokens=answer,
                prefix_group=first.prefix_group,
                prefix_tokens=first.prefix_tokens,
                session=f"session_{session}",
                think_us=think_us[position] if turn else 0,
            )
        )
        turn, history = turn + 1, prompt + answer
    return requests


def _turns(spec: ConstantTurns | UniformTurns | GeometricTurns, count: int, seed: int) -> list[int]:
    match spec:
        case ConstantTurns():
            return [spec.turns] * count
        case UniformTurns():
            drawn = stream(seed, "turns").integers(spec.min_turns, spec.max_turns + 1, size=count)
        case GeometricTurns():
            drawn = stream(seed, "turns").geometric(1 / spec.mean_turns, size=count)
    return [int(turns) for turns in drawn.tolist()]


def _think_us(spec: ConstantThinking | ExponentialThinking | LognormalThinking, count: int, seed: int) -> list[int]:
    """Return think times in microseconds: draws of mean 1, stretched."""
    mean_us = spec.mean_s * US_PER_S
    match spec:
        case ConstantThinking():
            return [int(mean_us)] * count
        case ExponentialThinking():
            drawn = stream(seed, "think").exponential(1.0, count)
        case LognormalThinking():
            variance = math.log1p(spec.cv**2)
            drawn = stream(seed, "think").lognormal(-variance / 2, math.sqrt(variance), count)
    return [int(mean_us * times) for times in drawn.tolist()]
