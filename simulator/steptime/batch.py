"""What a step-time model is told about one engine step.

`Batch` is the exact composition, for people and explanations. `BatchSums` is the running summary
the engine keeps, from which `step_time_us` must reach the same duration without visiting requests.

Terms: a prefill chunk is `(past_tokens, new_tokens)`: KV entries that exist before the step, and
prompt tokens computed in it. A decode request is its `past_tokens`, the KV entries it attends to
before its own new token is written.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Batch:
    """One step of one group of GPUs, request by request (all lengths in tokens).

    `elsewhere` are the new tokens that other groups compute in the same step, with experts that all of them share
    (`Parallelism.attention_data_parallel`).
    """

    prefill: tuple[tuple[int, int], ...] = ()
    decode: tuple[int, ...] = ()
    elsewhere: int = 0


class BatchSums:
    """Integer sums over one step's batch, kept up to date by the engine.

    Attributes
    ----------
    prefill
        The step's prefill chunks `(past_tokens, new_tokens)`; few, so kept as they are.
    decode_count
        Number of decode requests.
    decode_past_tokens
        Sum of their past tokens.
    counts, pasts, squares
        Per KV-length interval (between the model's `kv_breakpoints`): number of decode requests,
        sum of past tokens, sum of squared past tokens. Interval j holds past tokens in
        `[breakpoints[j-1], breakpoints[j])`; there are `len(breakpoints) + 1` intervals.
    decode_pasts
        Returns the past tokens of every decode request, in batch order; the slow road, for models
        that cannot answer from sums.
    elsewhere
        New tokens that other groups of GPUs compute in the same step.
    """

    __slots__ = (
        "counts",
        "decode_count",
        "decode_past_tokens",
        "decode_pasts",
        "elsewhere",
        "pasts",
        "prefill",
        "squares",
    )

    def __init__(self, interval_count: int = 1) -> None:
        self.prefill: list[tuple[int, int]] = []
        self.decode_count = 0
        self.decode_past_tokens = 0
        self.counts = [0] * interval_count
        self.pasts = [0] * interval_count
        self.squares = [0] * interval_count
        self.decode_pasts: Callable[[], Sequence[int]] = tuple
        self.elsewhere = 0

    @classmethod
    def of(cls, batch: Batch, kv_breakpoints: Sequence[int] = ()) -> BatchSums:
        """Summarise one batch; the reference the engine's running sums must equal."""
        sums = cls(len(kv_breakpoints) + 1)
        sums.prefill = list(batch.prefill)
        sums.elsewhere = batch.elsewhere
        sums.decode_count = len(batch.decode)
        sums.decode_past_tokens = sum(batch.decode)
        sums.decode_pasts = lambda: batch.decode
        for past_tokens in batch.decode:
            interval = bisect_right(kv_breakpoints, past_tokens)
            sums.counts[interval] += 1
            sums.pasts[interval] += past_tokens
            sums.squares[interval] += past_tokens * past_tokens
        return sums
