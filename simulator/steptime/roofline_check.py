"""Whether a run is possible at all: every step against what the GPU's peaks allow.

Contract: `RooflineObserver` changes no duration. The bound is the work no server can avoid, whatever the step-time
model counts or discounts: weights once (of experts, those expected to be visited), the projection to the vocabulary,
every byte of the KV cache, causal attention; over the data sheet's peaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from simulator.errors import UnsupportedError
from simulator.hardware import Hardware
from simulator.model import Model
from simulator.parallelism import Parallelism
from simulator.steptime.base import GivesDecodeTimes, GivesLoneDecodeTimes, StepTimeModel
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.cost import MICROSECONDS
from simulator.steptime.gemm import gemm_peak
from simulator.steptime.observers import ROUNDING_US, StepTimeObserver
from simulator.steptime.physics import unavoidable_work
from simulator.steptime.window import window_of


def _fastest_flops(model: Model, hardware: Hardware) -> float:
    """Return the peak FLOP/s of the model's GEMMs; BF16 where the GPU has no units for its weights."""
    try:
        return gemm_peak(model, hardware)
    except UnsupportedError:
        return hardware.peak_flops


class RooflineObserver(StepTimeObserver):
    """Adds up what the peaks allow and remembers the step that came nearest to them, or beyond.

    Attributes
    ----------
    total_us, bound_us
        Durations of all steps seen, and the least the peaks allow for them. Steps of a lone decode that were timed
        ahead and not taken are among both.
    fastest
        Least ratio of a step's duration to what the peaks allow; below 1 no GPU of this kind can do it. Infinity
        before any step.
    fastest_batch
        Prefill tokens, decodes and their past tokens of that step.
    compute_share, bandwidth_share
        Largest FLOP rate and byte rate, as fractions of the peak.
    """

    def __init__(
        self, step_time: StepTimeModel, model: Model, hardware: Hardware, parallelism: Parallelism | int
    ) -> None:
        super().__init__(step_time)
        self._work = unavoidable_work(model, parallelism, breakpoints=step_time.kv_breakpoints)
        self._slides = window_of(model) is not None
        self._flops_per_us = _fastest_flops(model, hardware) / MICROSECONDS
        self._bytes_per_us = hardware.peak_bandwidth / MICROSECONDS
        self.total_us = 0
        self.bound_us = 0.0
        self.fastest = float("inf")
        self.fastest_batch = (0, 0, 0)
        self.compute_share = 0.0
        self.bandwidth_share = 0.0

    def observe(self, sums: BatchSums, duration_us: int) -> None:
        """Compare one step with its bound."""
        flops, moved = self._work(sums)
        if self._fastest_yet(flops, moved, duration_us):
            tokens = sum([new for _, new in sums.prefill])
            self.fastest_batch = (tokens, sums.decode_count, sums.decode_past_tokens)

    def lone_decode_times_us(self, pasts: Iterable[int]) -> list[int]:
        """Return the observed model's durations of lone decodes, each of them compared."""
        asked = tuple(pasts)
        if isinstance(self.step_time, GivesLoneDecodeTimes):
            durations_us = self.step_time.lone_decode_times_us(asked)
        else:
            batches = (Batch(decode=(past,)) for past in asked)
            durations_us = [self.step_time.step_time_us(BatchSums.of(batch, self.kv_breakpoints)) for batch in batches]
        if self._slides:
            for past, duration_us in zip(asked, durations_us, strict=True):
                self.observe(BatchSums.of(Batch(decode=(past,)), self.kv_breakpoints), duration_us)
            return durations_us
        note = self._decodes(1)
        for past, duration_us in zip(asked, durations_us, strict=True):
            note(past, duration_us)
        return durations_us

    def decode_times_us(self, sums: BatchSums, steps: int, limit_us: int) -> list[int] | None:
        """Return what the observed model offers for the coming steps of the same decodes, each of them compared."""
        if self._slides or not isinstance(self.step_time, GivesDecodeTimes):
            return None
        times_us = self.step_time.decode_times_us(sums, steps, limit_us)
        if times_us is not None:
            note, past, count = (
                self._decodes(sums.decode_count, sums.elsewhere),
                sums.decode_past_tokens,
                sums.decode_count,
            )
            for place, time_us in enumerate(times_us):
                note(past + place * count, time_us)
        return times_us

    def _decodes(self, count: int, elsewhere: int = 0) -> Callable[[int, int], None]:
        """Return a function that compares a step of `count` decodes: its work is linear in their past tokens."""
        sums = BatchSums(1)
        sums.decode_count, sums.elsewhere = count, elsewhere
        flops_0, bytes_0 = self._work(sums)
        sums.decode_past_tokens = 1
        flops_1, bytes_1 = self._work(sums)
        flops_each, bytes_each = flops_1 - flops_0, bytes_1 - bytes_0

        def note(past_tokens: int, duration_us: int) -> None:
            flops, moved = flops_0 + flops_each * past_tokens, bytes_0 + bytes_each * past_tokens
            if self._fastest_yet(flops, moved, duration_us):
                self.fastest_batch = (0, count, past_tokens)

        return note

    def _fastest_yet(self, flops: float, moved: float, duration_us: int) -> bool:
        """Add up one step, and say whether none before came nearer to its bound; an empty one does not."""
        compute_us, memory_us = flops / self._flops_per_us, moved / self._bytes_per_us
        bound_us, longest_us = max(compute_us, memory_us), duration_us + ROUNDING_US
        self.total_us += duration_us
        self.bound_us += bound_us
        self.compute_share = max(self.compute_share, compute_us / longest_us)
        self.bandwidth_share = max(self.bandwidth_share, memory_us / longest_us)
        if not bound_us or longest_us / bound_us >= self.fastest:
            return False
        self.fastest = longest_us / bound_us
        return True
