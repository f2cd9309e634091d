"""How often each branch of the weighted average would fire in a run.

Contract: `BranchMeter` is itself a step-time model; it passes every call on and counts the steps that
hold both phases by the branch their tokens and requests fall into, whatever rule prices them. It
keeps the fast roads of the model it watches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from simulator.steptime.base import PricesDecodes, PricesLoneDecodes, StepTimeModel
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.combination import branch
from simulator.steptime.cost import StepCost

PREFIX = "weighted_average_"
BRANCHES = ("prefill_dominates", "decode_dominates", "by_tokens")


class BranchMeter:
    """A step-time model that watches another.

    Attributes
    ----------
    step_time
        The model that answers.
    mixed
        Mixed steps priced so far, by a name of `BRANCHES`.
    """

    __slots__ = ("_decode_price", "mixed", "step_time")

    def __init__(self, step_time: StepTimeModel) -> None:
        self.step_time = step_time
        self.mixed: Counter[str] = Counter()
        self._decode_price = step_time.decode_price if isinstance(step_time, PricesDecodes) else None

    @property
    def kv_breakpoints(self) -> tuple[int, ...]:
        """Breakpoints of the watched model."""
        return self.step_time.kv_breakpoints

    def price(self, sums: BatchSums) -> int:
        """Return the watched model's duration; count the step if it is mixed."""
        if sums.prefill and sums.decode_count:
            new_tokens = sum(new for _, new in sums.prefill)
            name = branch("weighted_average", len(sums.prefill), new_tokens, sums.decode_count)
            self.mixed[name.removeprefix(PREFIX)] += 1
        return self.step_time.price(sums)

    def price_lone(self, pasts: Iterable[int]) -> list[int]:
        """Return the watched model's durations of lone decodes, many at once where it offers that."""
        if isinstance(self.step_time, PricesLoneDecodes):
            return self.step_time.price_lone(pasts)
        breakpoints = self.kv_breakpoints
        return [self.step_time.price(BatchSums.of(Batch(decode=(past,)), breakpoints)) for past in pasts]

    def decode_price(self, count: int) -> Callable[[int], int] | None:
        """Return what the watched model offers: a step of decodes alone is not mixed."""
        return None if self._decode_price is None else self._decode_price(count)

    def explain(self, batch: Batch) -> StepCost:
        """Return the watched model's explanation; nothing is counted."""
        return self.step_time.explain(batch)
