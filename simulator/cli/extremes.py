"""Watches a run for questions outside what the kernels were measured or fitted on.

Contract: `ExtremesWatch` is itself a step-time model and passes every price on unchanged. It keeps the
step with the most decodes and the one with the most prefill tokens; after the run both, and the longest
context served, are explained, and what lies outside becomes one warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from simulator.engine.records import RequestResult
from simulator.steptime.base import StepTimeModel
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.cost import LookupUse, StepCost


class ExtremesWatch:
    """A step-time model that remembers the largest steps another one prices."""

    def __init__(self, step_time: StepTimeModel) -> None:
        self.step_time = step_time
        self.kv_breakpoints = step_time.kv_breakpoints
        self._inner_price = step_time.price
        self._most_decodes = 0
        self._most_prefill_tokens = 0
        self._largest_decode = Batch()
        self._largest_prefill = Batch()

    def price(self, sums: BatchSums) -> int:
        """Return the watched model's duration."""
        if sums.decode_count > self._most_decodes:
            self._most_decodes = sums.decode_count
            self._largest_decode = Batch(decode=tuple(sums.decode_pasts()))
        if sums.prefill:
            tokens = sum([new for _, new in sums.prefill])
            if tokens > self._most_prefill_tokens:
                self._most_prefill_tokens = tokens
                self._largest_prefill = Batch(prefill=tuple(sums.prefill))
        return self._inner_price(sums)

    def explain(self, batch: Batch) -> StepCost:
        """Return the watched model's explanation."""
        return self.step_time.explain(batch)

    def warnings(self, results: Iterable[RequestResult]) -> list[str]:
        """Return one warning for all kernels asked outside their range, and one for each answered from another row."""
        uses = [use for batch in self._batches(results) for use in self.step_time.explain(batch).lookups]
        outside, near_zero = list(_flagged(uses, "extrapolated")), _flagged(uses, "fallback")
        return [
            *([f"outside the sizes the kernels are known for: {'; '.join(outside)}"] if outside else []),
            *(f"{found} is near zero there; the nearest usable row answers" for found in near_zero),
        ]

    def _batches(self, results: Iterable[RequestResult]) -> Iterator[Batch]:
        if self._largest_prefill.prefill:
            yield self._largest_prefill
        if self._largest_decode.decode:
            yield self._largest_decode
        longest = max((_last_context(result) for result in results), default=0)
        if longest:
            yield Batch(decode=(longest,))


def _last_context(result: RequestResult) -> int:
    """Return the KV tokens the request's last step attended to; 0 where it never decoded."""
    return result.prompt_tokens + result.output_tokens - 2 if result.completed_us and result.output_tokens > 1 else 0


def _flagged(uses: Iterable[LookupUse], flag: str) -> Iterator[str]:
    """Name the farthest question of each table among those flagged."""
    flagged: dict[tuple[str, str], list[LookupUse]] = {}
    for use in uses:
        if getattr(use, flag):
            flagged.setdefault((use.kernel, use.table), []).append(use)
    for (kernel, table), found in flagged.items():
        farthest = max(found, key=lambda use: (use.distance, use.asked))
        others = len({use.asked for use in found}) - 1
        more = f" and {others} more" if others else ""
        yield f"{kernel} at {farthest.asked}{more} ({table})"
