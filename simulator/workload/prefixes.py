"""Which prompts begin with the same tokens: validated kinds of sharing.

Contract: only identity matters to a prefix cache, so a prefix is a group name and a length. A
prompt pool repeats whole prompts: request i sends prompt i mod n.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, Strict, model_validator

from simulator.errors import ConfigError
from simulator.validation import Count, NonNegativeInt, StrictModel
from simulator.workload.streams import stream

SHARED_GROUP = "shared"


class NoSharing(StrictModel):
    """Every prompt is new."""

    kind: Literal["none"]


class SharedPrefix(StrictModel):
    """All prompts begin with the same `tokens` tokens, or with one of `groups` such prefixes.

    Attributes
    ----------
    tokens
        Length of the common beginning.
    counted
        `on_top`: the prompt distribution describes what follows the prefix. `included`: it
        describes whole prompts, prefix included.
    groups
        Different prefixes, sent in turn. A client that draws one for each request computes as many of them, so for a
        prefix cache the order is the same.
    """

    kind: Literal["shared"]
    tokens: Count
    counted: Literal["on_top", "included"] = "on_top"
    groups: Count = 1

    def group_of(self, position: int) -> str:
        """Return the name of the prefix that a request sends, by its place in the order of sending."""
        return SHARED_GROUP if self.groups == 1 else f"{SHARED_GROUP}_{position % self.groups}"


class PromptPool(StrictModel):
    """`prompts` distinct prompts, sent in turn again and again.

    Attributes
    ----------
    groups, shared_tokens
        Prompts of one group begin with the same `shared_tokens` tokens, as under one system prompt. The first
        `prompts / groups` prompts are the first group, and so on.
    """

    kind: Literal["prompt_pool"]
    prompts: Count
    groups: Count = 1
    shared_tokens: NonNegativeInt = 0

    @model_validator(mode="after")
    def _groups_of_one_size(self) -> Self:
        if self.prompts % self.groups:
            raise ValueError(f"prompts {self.prompts} cannot be split into {self.groups} groups of one size")
        return self


class DrawnPrefix(StrictModel):
    """All prompts begin with one of `groups` prefixes of `tokens` tokens, some of which are asked for more often.

    Attributes
    ----------
    counted
        As of the kind `shared`.
    exponent
        Zipf's: the k-th prefix is drawn k ** -exponent times as often as the first; 0: all of them as often.
    """

    kind: Literal["drawn"]
    tokens: Count
    groups: Annotated[int, Strict(), Field(ge=1, le=1_000_000)]
    exponent: Annotated[float, Strict(), Field(ge=0, le=10)] = 1.0
    counted: Literal["on_top", "included"] = "on_top"


# What a measured workload may be of, and what a simulated one may be of besides.
AnyPrefix = NoSharing | SharedPrefix | PromptPool
PrefixSpec = Annotated[AnyPrefix, Field(discriminator="kind")]
WorkloadPrefix = AnyPrefix | DrawnPrefix
WorkloadPrefixSpec = Annotated[WorkloadPrefix, Field(discriminator="kind")]


class Prompt(NamedTuple):
    """One prompt: whole length, the group whose members share its first `prefix_tokens`, and the group of groups."""

    tokens: int
    prefix_group: str | None
    prefix_tokens: int
    outer_group: str | None = None
    outer_tokens: int = 0


def distinct_prompts(spec: WorkloadPrefix, count: int) -> int:
    """Return how many prompt lengths `count` requests need."""
    return min(spec.prompts, count) if isinstance(spec, PromptPool) else count


def share(spec: WorkloadPrefix, lengths: Sequence[int], count: int, seed: int) -> list[Prompt]:
    """Give each of `count` requests its prompt, from `distinct_prompts(spec, count)` drawn lengths.

    Prefixes that are drawn have the random stream named `prefix`.

    Raises
    ------
    ConfigError
        If a prompt would be shorter than the prefix it is said to include.
    """
    if isinstance(spec, PromptPool):
        pool = [_of_pool(spec, entry, _at_least_one(tokens)) for entry, tokens in enumerate(lengths)]
        return [pool[position % spec.prompts] for position in range(count)]
    prompt = prompts_of(spec, count, seed)
    return [prompt(position, tokens) for position, tokens in enumerate(lengths)]


def prompts_of(spec: NoSharing | SharedPrefix | DrawnPrefix, count: int, seed: int) -> Callable[[int, int], Prompt]:
    """Return what makes a prompt of the place of a request, or session, among `count` and of its drawn length."""
    match spec:
        case NoSharing():
            return lambda position, tokens: Prompt(_at_least_one(tokens), None, 0)
        case SharedPrefix():
            return lambda position, tokens: _prefixed(spec, tokens, position, spec.group_of(position))
        case DrawnPrefix():
            drawn = _zipf(spec, count, seed)
            return lambda position, tokens: _prefixed(spec, tokens, position, f"{SHARED_GROUP}_{drawn[position]}")


def recognise_pool(pool: PromptPool, lengths: Sequence[int]) -> list[Prompt]:
    """Find the pool entry of each request of a recorded run that cycled through the prompts of a pool.

    Prompt k is what the k-th request sent. Later requests of another length than their turn
    suggests were sent out of turn: they belong to the entry of their own length nearest in the
    cycle (the earlier one of two), and to none if no entry has that length.
    """
    first = list(lengths[: pool.prompts])
    return [_recognised(pool, first, position % pool.prompts, tokens) for position, tokens in enumerate(lengths)]


def _recognised(pool: PromptPool, lengths: list[int], turn: int, tokens: int) -> Prompt:
    if lengths[turn] == tokens:
        return _of_pool(pool, turn, tokens)
    candidates = [entry for entry, length in enumerate(lengths) if length == tokens]
    if not candidates:
        return Prompt(tokens, None, 0)
    size = len(lengths)
    nearest = min(candidates, key=lambda entry: min((entry - turn) % size, (turn - entry) % size))
    return _of_pool(pool, nearest, tokens)


def _of_pool(pool: PromptPool, entry: int, tokens: int) -> Prompt:
    if not pool.shared_tokens:
        return Prompt(tokens, f"prompt_{entry}", tokens)
    group = f"{SHARED_GROUP}_{entry // (pool.prompts // pool.groups)}"
    return Prompt(tokens, f"prompt_{entry}", tokens, group, min(pool.shared_tokens, tokens))


def _zipf(spec: DrawnPrefix, count: int, seed: int) -> list[int]:
    ends = list(accumulate(rank**-spec.exponent for rank in range(1, spec.groups + 1)))
    return [bisect_left(ends, draw * ends[-1]) for draw in stream(seed, "prefix").random(count).tolist()]


def _prefixed(spec: SharedPrefix | DrawnPrefix, tokens: int, position: int, group: str) -> Prompt:
    whole = _at_least_one(spec.tokens + tokens if spec.counted == "on_top" else tokens)
    if whole < spec.tokens and spec.counted == "included":
        raise ConfigError(
            f"prefix: request {position} has {whole} prompt tokens, fewer than the {spec.tokens} of the prefix "
            "it should include; lengthen the prompts, shorten the prefix, or set counted: on_top"
        )
    return Prompt(whole, group, min(spec.tokens, whole))


def _at_least_one(tokens: int) -> int:
    return max(1, tokens)
