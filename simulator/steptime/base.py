"""The two calls every step-time model offers.

`price` is all the engine's loop ever calls; `explain` answers "why does this step cost that?".
Both rest on the same formulas, and a test holds them together for every model. A model may offer two more,
`price_lone` and `decode_price`, which only save time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.cost import StepCost


class StepTimeModel(Protocol):
    """How long one engine step takes on a given model, GPU and tensor-parallel degree."""

    @property
    def kv_breakpoints(self) -> tuple[int, ...]:
        """Past-token counts at which the decode formula changes; empty when it does not."""
        ...

    def price(self, sums: BatchSums) -> int:
        """Return the step's duration in whole microseconds, at least 1."""
        ...

    def explain(self, batch: Batch) -> StepCost:
        """Return the same duration with everything it is made of."""
        ...


@runtime_checkable
class PricesLoneDecodes(Protocol):
    """A step-time model that prices many steps of one lone decode request in a single call."""

    def price_lone(self, pasts: Iterable[int]) -> list[int]:
        """Return what `price` returns for a step of nothing but one decode, by its past tokens."""
        ...


@runtime_checkable
class PricesDecodes(Protocol):
    """A step-time model that may know what steps of nothing but decodes cost by their past tokens alone."""

    def decode_price(self, count: int) -> Callable[[int], int] | None:
        """Return a function that gives what `price` gives for steps of nothing but `count` decodes.

        Its argument is the sum of their past tokens. None where the price depends on more than that sum.
        """
        ...
