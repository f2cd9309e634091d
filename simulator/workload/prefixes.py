"""Which prompts begin with the same tokens: validated kinds of sharing.

Contract: only identity matters to a prefix cache, so a prefix is a group name and a length. A
prompt pool repeats whole prompts: request i sends prompt i mod n.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from simulator.errors import ConfigError
from simulator.validation import Count, StrictModel

SHARED_GROUP = "shared"


class NoSharing(StrictModel):
    """Every prompt is new."""

    kind: Literal["none"]


class SharedPrefix(StrictModel):
    """All prompts begin with the same `tokens` tokens.

    Attributes
    ----------
    tokens
        Length of the common beginning.
    counted
        `on_top`: the prompt distribution describes what follows the prefix. `included`: it
        describes whole prompts, prefix included.
    """

    kind: Literal["shared"]
    tokens: Count
    counted: Literal["on_top", "included"] = "on_top"


class PromptPool(StrictModel):
    """`prompts` distinct prompts, sent in turn again and again."""

    kind: Literal["prompt_pool"]
    prompts: Count


AnyPrefix = NoSharing | SharedPrefix | PromptPool
PrefixSpec = Annotated[AnyPrefix, Field(discriminator="kind")]


class Prompt(NamedTuple):
    """One prompt: whole length, and the group whose members share its first `prefix_tokens`."""

    tokens: int
    prefix_group: str | None
    prefix_tokens: int


def distinct_prompts(spec: AnyPrefix, count: int) -> int:
    """Return how many prompt lengths `count` requests need."""
    return min(spec.prompts, count) if isinstance(spec, PromptPool) else count


def share(spec: AnyPrefix, lengths: Sequence[int], count: int) -> list[Prompt]:
    """Give each of `count` requests its prompt, from `distinct_prompts(spec, count)` drawn lengths.

    Raises
    ------
    ConfigError
        If a prompt would be shorter than the prefix it is said to include.
    """
    match spec:
        case NoSharing():
            return [Prompt(_at_least_one(tokens), None, 0) for tokens in lengths]
        case SharedPrefix():
            return [_prefixed(spec, tokens, position) for position, tokens in enumerate(lengths)]
        case PromptPool():
            pool = [_whole(entry, _at_least_one(tokens)) for entry, tokens in enumerate(lengths)]
            return [pool[position % spec.prompts] for position in range(count)]


def recognise_pool(prompts: int, lengths: Sequence[int]) -> list[Prompt]:
    """Find the pool entry of each request of a recorded run that cycled through `prompts` prompts.

    Prompt k is what the k-th request sent. Later requests of another length than their turn
    suggests were sent out of turn: they belong to the entry of their own length nearest in the
    cycle (the earlier one of two), and to none if no entry has that length.
    """
    pool = list(lengths[:prompts])
    return [_recognised(pool, position % prompts, tokens) for position, tokens in enumerate(lengths)]


def _recognised(pool: list[int], turn: int, tokens: int) -> Prompt:
    if pool[turn] == tokens:
        return _whole(turn, tokens)
    candidates = [entry for entry, length in enumerate(pool) if length == tokens]
    if not candidates:
        return Prompt(tokens, None, 0)
    size = len(pool)
    return _whole(min(candidates, key=lambda entry: min((entry - turn) % size, (turn - entry) % size)), tokens)


def _whole(entry: int, tokens: int) -> Prompt:
    return Prompt(tokens, f"prompt_{entry}", tokens)


def _prefixed(spec: SharedPrefix, tokens: int, position: int) -> Prompt:
    whole = _at_least_one(spec.tokens + tokens if spec.counted == "on_top" else tokens)
    if whole < spec.tokens and spec.counted == "included":
        raise ConfigError(
            f"prefix: request {position} has {whole} prompt tokens, fewer than the {spec.tokens} of the prefix "
            "it should include; lengthen the prompts, shorten the prefix, or set counted: on_top"
        )
    return Prompt(whole, SHARED_GROUP, min(spec.tokens, whole))


def _at_least_one(tokens: int) -> int:
    return max(1, tokens)
