"""Totals and the step log of a run in progress."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.engine.records import RunCounters, StepRecord
from simulator.engine.scheduler import Scheduler


class RunStatistics:
    """Counts steps by kind (see `RunCounters`), and keeps their records and the gaps between tokens if asked to.

    A request that decodes in a step had its previous token at the end of the step before, so the gap is the step's
    duration. Only a pause or a preemption makes it longer.
    """

    def __init__(self, recording: bool, counting_gaps: bool = False) -> None:
        self.recording = recording
        self.counting_gaps = counting_gaps
        self.gaps: dict[int, int] = {}
        self.records: list[StepRecord] = []
        self._prefill_steps = self._prefill_us = self._prefill_tokens = 0
        self._decode_steps = self._decode_us = self._decode_tokens = 0
        self._mixed_steps = self._mixed_us = 0
        self._peak_kv_blocks = 0
        self._end_us = 0

    def count_gap(self, gap_us: int, count: int) -> None:
        """Count tokens that came `gap_us` after the one before."""
        self.gaps[gap_us] = self.gaps.get(gap_us, 0) + count

    def step(self, scheduler: Scheduler, start_us: int, duration_us: int) -> None:
        """Count one step as it was formed."""
        decodes = scheduler.decoding.sums.decode_count
        if self.counting_gaps:
            self._count_gaps(scheduler, start_us, duration_us)
        end_us = start_us + duration_us
        if not scheduler.chunks:
            self.decode_stretch(1, decodes, duration_us, end_us, scheduler.kv.used_blocks)
        else:
            self._prefill_tokens += scheduler.prefill_tokens
            self._decode_tokens += decodes
            if decodes:
                self._mixed_steps += 1
                self._mixed_us += duration_us
            else:
                self._prefill_steps += 1
                self._prefill_us += duration_us
            self._mark(end_us, scheduler.kv.used_blocks)
        if self.recording:
            self.record(scheduler, start_us, duration_us)

    def decode_stretch(self, steps: int, tokens: int, busy_us: int, end_us: int, kv_blocks: int) -> None:
        """Count decode steps that followed each other; `kv_blocks` are in use in the last one."""
        self._decode_steps += steps
        self._decode_tokens += tokens
        self._decode_us += busy_us
        self._mark(end_us, kv_blocks)

    def record(self, scheduler: Scheduler, start_us: int, duration_us: int) -> None:
        """Keep the record of a step that is about to be taken."""
        step = scheduler.decoding.step
        prefill = tuple((live.request.id, past, new_tokens) for live, past, new_tokens in scheduler.chunks)
        decode = tuple((live.request.id, live.base + step) for live in scheduler.decode_members())
        waiting, used, elsewhere = len(scheduler.waiting), scheduler.kv.used_blocks, scheduler.decoding.sums.elsewhere
        self.add_record(start_us, duration_us, prefill, decode, waiting, used, elsewhere)

    def add_record(
        self,
        start_us: int,
        duration_us: int,
        prefill: tuple[tuple[str, int, int], ...],
        decode: tuple[tuple[str, int], ...],
        waiting: int,
        kv_blocks: int,
        elsewhere: int = 0,
    ) -> None:
        """Keep one step's record."""
        self.records.append(StepRecord(start_us, duration_us, prefill, decode, waiting, kv_blocks, elsewhere))

    def counters(self, schedulers: Sequence[Scheduler]) -> RunCounters:
        """Return the totals."""
        hit_blocks = sum([scheduler.hit_blocks for scheduler in schedulers])
        return RunCounters(
            steps=self._prefill_steps + self._decode_steps + self._mixed_steps,
            prefill_steps=self._prefill_steps,
            decode_steps=self._decode_steps,
            mixed_steps=self._mixed_steps,
            prefill_us=self._prefill_us,
            decode_us=self._decode_us,
            mixed_us=self._mixed_us,
            prefill_tokens=self._prefill_tokens,
            decode_tokens=self._decode_tokens,
            cached_tokens=hit_blocks * schedulers[0].kv.block_tokens,
            preemptions=sum([scheduler.preemptions for scheduler in schedulers]),
            peak_kv_blocks=self._peak_kv_blocks,
            kv_block_hits=hit_blocks,
            end_us=self._end_us,
        )

    def _count_gaps(self, scheduler: Scheduler, start_us: int, duration_us: int) -> None:
        """Count the gaps that one step ends."""
        end_us = start_us + duration_us
        self.count_gap(duration_us, scheduler.decoding.sums.decode_count)
        for live in scheduler.resumed:
            self.count_gap(duration_us, -1)
            self.count_gap(end_us - live.last_token_us, 1)
        for live, _, new_tokens in scheduler.chunks:
            # A preempted request has its next token when everything it had is computed again.
            if live.first_token_us is not None and live.computed + new_tokens == live.target_tokens:
                self.count_gap(end_us - live.last_token_us, 1)

    def _mark(self, end_us: int, kv_blocks: int) -> None:
        if kv_blocks > self._peak_kv_blocks:
            self._peak_kv_blocks = kv_blocks
        if end_us > self._end_us:
            self._end_us = end_us


def ordered_gaps(gaps: dict[int, int]) -> tuple[tuple[int, int], ...]:
    """Return the gaps counted, shortest first."""
    return tuple([(gap_us, count) for gap_us, count in sorted(gaps.items()) if count])
