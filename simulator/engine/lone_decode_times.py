"""Durations of decode steps of a request that decodes alone, each asked for once.

A lone decode step is a function of its past tokens only, because a step-time model is pure in the batch's sums.
Runs at low load consist almost wholly of such steps, so a model that offers to time many at once is
taken up on it. Any other is asked for one step after the other, and for none that is not taken.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate

from simulator.steptime.base import GivesLoneDecodeTimes, StepTimeModel
from simulator.steptime.batch import Batch, BatchSums

# Steps timed at once: nearly all are taken sooner or later, and a stretch cut short wastes few.
STEPS_AT_ONCE = 64


class LoneDecodeTimes:
    """Durations of decode steps of one request alone in the batch."""

    def __init__(self, step_time: StepTimeModel) -> None:
        self._step_time = step_time
        self._lone_decode_times_us = (
            step_time.lone_decode_times_us if isinstance(step_time, GivesLoneDecodeTimes) else None
        )
        self._breakpoints = step_time.kv_breakpoints
        self._known_us: list[int | None] = []
        self._sums = BatchSums.of(Batch(decode=(0,)), self._breakpoints)
        self._interval = bisect_right(self._breakpoints, 0)

    def durations_us(self, past_tokens: int, steps: int, limit_us: int | None) -> list[int]:
        """Return the durations of the next steps, in microseconds.

        There are `steps` of them, or fewer if the last one returned starts before and ends at or
        after `limit_us` (measured from the start of the first).
        """
        end = past_tokens + steps
        if len(self._known_us) < end:
            self._known_us += [None] * (end - len(self._known_us))
        durations: list[int] = []
        elapsed_us = 0
        while past_tokens < end and (limit_us is None or elapsed_us < limit_us):
            some = self._some(past_tokens, min(end, past_tokens + STEPS_AT_ONCE))
            durations += some
            elapsed_us += sum(some)
            past_tokens += len(some)
        if limit_us is not None and elapsed_us > limit_us:
            del durations[bisect_left(list(accumulate(durations)), limit_us) + 1 :]
        return durations

    def _some(self, past_tokens: int, end: int) -> list[int]:
        """Return the durations of at least one step and at most all up to `end`."""
        known_us = self._known_us[past_tokens:end]
        if None not in known_us:
            return known_us  # type: ignore[return-value]
        known = known_us.index(None)
        if known:
            return known_us[:known]  # type: ignore[return-value]
        many = self._lone_decode_times_us
        times_us = [self._one(past_tokens)] if many is None else many(range(past_tokens, end))
        self._known_us[past_tokens : past_tokens + len(times_us)] = times_us
        return times_us

    def _one(self, past_tokens: int) -> int:
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
        return self._step_time.step_time_us(sums)
