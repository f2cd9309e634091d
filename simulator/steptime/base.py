"""The two calls every step-time model offers, and what a model may offer besides.

`step_time_us` is all the engine's loop ever calls; `explain` answers "why does this step cost that?".
Both rest on the same formulas, and a test holds them together for every model. A model may offer two more,
`lone_decode_times_us` and `decode_times_us`, which only save time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.cost import Operation, StepCost


class StepTimeModel(Protocol):
    """How long one engine step takes on a given model, GPU and tensor-parallel degree."""

    @property
    def kv_breakpoints(self) -> tuple[int, ...]:
        """Past-token counts at which the decode formula changes; empty when it does not."""
        ...

    def step_time_us(self, sums: BatchSums) -> int:
        """Return the step's duration in whole microseconds, at least 1."""
        ...

    def explain(self, batch: Batch) -> StepCost:
        """Return the same duration with everything it is made of."""
        ...


@runtime_checkable
class GivesLoneDecodeTimes(Protocol):
    """A step-time model that times many steps of one lone decode request in a single call."""

    def lone_decode_times_us(self, pasts: Iterable[int]) -> list[int]:
        """Return what `step_time_us` returns for a step of nothing but one decode, by its past tokens."""
        ...


@runtime_checkable
class GivesDecodeTimes(Protocol):
    """A step-time model that may time many steps of the same decodes in a single call."""

    def decode_times_us(self, sums: BatchSums, steps: int, limit_us: int) -> list[int] | None:
        """Return what `step_time_us` returns for the coming steps, in microseconds.

        In all of them the same requests decode and nothing else is done; none passes a breakpoint but after the last.
        There are `steps` of them (at least 1), or fewer if the last one returned starts before and ends at or after
        `limit_us` (measured from the start of the first, at least 1). `sums` are those of the first one and stay as
        they are. None where the time depends on more than sums that grow by as much in every step.
        """
        ...


@runtime_checkable
class ItemisesSteps(Protocol):
    """A step-time model that can say what its steps are made of, kernel by kernel."""

    def operations(self, batch: Batch) -> dict[str, list[Operation]]:
        """Return the operations of each phase, and under `step` those of none."""
        ...


class KnowsWork(StepTimeModel, Protocol):
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
