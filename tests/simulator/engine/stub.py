"""Step times for engine tests: cheap, awkward on purpose, and suspicious of the sums they are given."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.steptime.batch import Batch, BatchSums


class StubStepTime:
    """A duration that depends on every sum and differs between KV-length intervals."""

    def __init__(self, kv_breakpoints: Sequence[int] = (), base_us: int = 10, check: bool = False) -> None:
        self.kv_breakpoints = tuple(kv_breakpoints)
        self._base_us = base_us
        self._check = check

    def step_time_us(self, sums: BatchSums) -> int:
        if self._check:
            assert_sums_are_true(sums, self.kv_breakpoints)
        prefill_us = sum(3 + past % 5 + 2 * new for past, new in sums.prefill)
        decode_us = sums.decode_past_tokens // 3 + sum(
            (j + 1) * count + j * past + square % 7
            for j, (count, past, square) in enumerate(zip(sums.counts, sums.pasts, sums.squares, strict=True))
        )
        return self._base_us + prefill_us + decode_us

    def batch_time_us(self, prefill: list[tuple[int, int]], decode: list[int]) -> int:
        """Price a step that is given request by request, as the reference engine does."""
        return self.step_time_us(BatchSums.of(Batch(tuple(prefill), tuple(decode)), self.kv_breakpoints))


def assert_sums_are_true(sums: BatchSums, kv_breakpoints: Sequence[int]) -> None:
    """Compare running sums with sums over the requests they claim to summarise."""
    true = BatchSums.of(Batch(tuple(sums.prefill), tuple(sums.decode_pasts())), kv_breakpoints)
    for name in ("decode_count", "decode_past_tokens", "counts", "pasts", "squares"):
        assert getattr(sums, name) == getattr(true, name), name
