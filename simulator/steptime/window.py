"""Layers that attend to the last tokens alone (sliding windows), from running sums.

A token attends to at most `tokens` tokens, itself included, in a share of the layers. Over a batch of decodes that
needs only how many of them have a longer past, and the past tokens of the others: the sums over two intervals of past
tokens, below and from `tokens` on, which the engine keeps for `Window.breakpoints`. What is returned are means over all
layers, so that formulas that multiply by all layers stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.model import Model
from simulator.steptime.batch import BatchSums


@dataclass(frozen=True, slots=True)
class Window:
    """How far a share of the layers sees, in tokens."""

    share: float
    tokens: int

    @property
    def breakpoints(self) -> tuple[int, ...]:
        """Past tokens from which a decode no longer attends to all of them."""
        return (self.tokens,)

    def past(self, sums: BatchSums) -> float:
        """Return the past tokens that decodes read, kept by the intervals of `breakpoints`."""
        return sums.decode_past_tokens + self.share * (self.seen(sums) - sums.decode_past_tokens)

    def seen(self, sums: BatchSums) -> int:
        """Return the past tokens that decodes read in a sliding layer."""
        return sums.pasts[0] + (self.tokens - 1) * sums.counts[1]

    def past_of_each(self, sums: BatchSums) -> float:
        """Return the same from every request's past tokens, whatever intervals are kept."""
        return float(sum([self.past_of_one(past) for past in sums.decode_pasts()]))

    def past_of_one(self, past: int) -> float:
        """Return the past tokens that one decode, or a prefill chunk, reads."""
        return past - self.share * max(0, past - self.tokens + 1)

    def pairs_share(self, past: int, new: int) -> float:
        """Return which share of a prefill chunk's pairs of a new token and one it attends to is left."""
        whole = new * (past + new / 2)
        if not whole:
            return 1.0
        growing = min(max(self.tokens - past, 0), new)
        seen = growing * (past + growing / 2) + (new - growing) * self.tokens
        return 1.0 + self.share * (min(seen / whole, 1.0) - 1.0)


def window_of(model: Model) -> Window | None:
    """Return how far a model's sliding layers see, or None where all layers see everything."""
    if not model.sliding_window_layers or model.sliding_window is None:
        return None
    return Window(model.sliding_window_layers / model.num_hidden_layers, model.sliding_window)


def not_windowed(model: Model) -> tuple[str, ...]:
    """Say that a family prices attention of every layer to all tokens."""
    if window_of(model) is None:
        return ()
    return (
        f"{model.id}: {model.sliding_window_layers} of {model.num_hidden_layers} layers attend to "
        f"{model.sliding_window} tokens alone; this step-time model lets all attend to all, which is too slow",
    )
