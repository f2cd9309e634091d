"""Check that no simulated step implies a rate above the hardware's peak.

Contract: `RateMeter` is itself a step-time model; it passes every call on and records the largest
FLOP rate and byte rate that the priced steps imply. A step rounded to whole microseconds may really
have lasted half a microsecond longer, which is allowed for.
"""

from __future__ import annotations

from typing import Protocol

from simulator.steptime.base import StepTimeModel
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.cost import StepCost

ROUNDING_US = 0.5
MICROSECONDS = 1e6


class MeteredStepTime(StepTimeModel, Protocol):
    """A step-time model that can say what work a step does and what the hardware can do."""

    @property
    def peak_flops(self) -> float:
        """FLOP/s of one GPU."""
        ...

    @property
    def peak_bandwidth(self) -> float:
        """Bytes/s of one GPU."""
        ...

    def work(self, sums: BatchSums) -> tuple[float, float]:
        """Return (FLOPs, bytes) of one step per GPU."""
        ...


class RateMeter:
    """A step-time model that watches another.

    Attributes
    ----------
    step_time
        The model that answers.
    compute_share, bandwidth_share
        Largest FLOP rate and byte rate seen so far, as fractions of the peak.
    """

    __slots__ = ("_bytes_per_us", "_flops_per_us", "bandwidth_share", "compute_share", "step_time")

    def __init__(self, step_time: MeteredStepTime) -> None:
        self.step_time = step_time
        self._flops_per_us = step_time.peak_flops / MICROSECONDS
        self._bytes_per_us = step_time.peak_bandwidth / MICROSECONDS
        self.compute_share = 0.0
        self.bandwidth_share = 0.0

    @property
    def kv_breakpoints(self) -> tuple[int, ...]:
        """Breakpoints of the watched model."""
        return self.step_time.kv_breakpoints

    def price(self, sums: BatchSums) -> int:
        """Return the watched model's duration and record the rates it implies."""
        duration_us = self.step_time.price(sums)
        flops, moved = self.step_time.work(sums)
        longest_us = duration_us + ROUNDING_US
        self.compute_share = max(self.compute_share, flops / longest_us / self._flops_per_us)
        self.bandwidth_share = max(self.bandwidth_share, moved / longest_us / self._bytes_per_us)
        return duration_us

    def explain(self, batch: Batch) -> StepCost:
        """Return the watched model's explanation; nothing is recorded."""
        return self.step_time.explain(batch)
