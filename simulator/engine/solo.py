"""Step costs of a request that decodes alone, each asked for once.

A lone decode step is a function of its past tokens only, because pricing is pure in the batch's sums.
Runs at low load consist almost wholly of such steps.
"""

from __future__ import annotations

from bisect import bisect_right

from simulator.steptime.base import StepTimeModel
from simulator.steptime.batch import Batch, BatchSums


class SoloCosts:
    """Durations of decode steps of one request alone in the batch."""

    def __init__(self, step_time: StepTimeModel) -> None:
        self._step_time = step_time
        self._breakpoints = step_time.kv_breakpoints
        self._costs_us: list[int | None] = []
        self._sums = BatchSums.of(Batch(decode=(0,)), self._breakpoints)
        self._interval = bisect_right(self._breakpoints, 0)

    def durations_us(self, past_tokens: int, steps: int, limit_us: int | None) -> list[int]:
        """Return the durations of the next steps, in microseconds.

        There are `steps` of them, or fewer if the last one returned starts before and ends at or
        after `limit_us` (measured from the start of the first).
        """
        end = past_tokens + steps
        if len(self._costs_us) < end:
            self._costs_us += [None] * (end - len(self._costs_us))
        durations = self._costs_us[past_tokens:end]
        if None not in durations and (limit_us is None or sum(durations) <= limit_us):  # type: ignore[arg-type]
            return durations  # type: ignore[return-value]
        return self._one_by_one(past_tokens, end, limit_us)

    def _one_by_one(self, past_tokens: int, end: int, limit_us: int | None) -> list[int]:
        durations: list[int] = []
        elapsed_us = 0
        for past in range(past_tokens, end):
            if limit_us is not None and elapsed_us >= limit_us:
                break
            cost_us = self._costs_us[past]
            if cost_us is None:
                cost_us = self._costs_us[past] = self._price(past)
            durations.append(cost_us)
            elapsed_us += cost_us
        return durations

    def _price(self, past_tokens: int) -> int:
        sums = self._sums
        interval = bisect_right(self._breakpoints, past_tokens)
        if interval != self._interval:
            left = self._interval
            sums.counts[left] = sums.pasts[left] = sums.squares[left] = 0
            sums.counts[interval] = 1
            self._interval = interval
        sums.decode_past_tokens = sums.pasts[interval] = past_tokens
        sums.squares[interval] = past_tokens * past_tokens
        sums.decode_pasts = lambda: (past_tokens,)
        return self._step_time.price(sums)
