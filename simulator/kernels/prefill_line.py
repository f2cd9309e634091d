"""Indexed prefill-attention lookup along the sequence length.

Contract: `PrefillLine(table, policy, shape, convention).answer(seq_len)` returns the MFU, counting
causal FLOPs, with the rows it came from.
"""

from __future__ import annotations

from simulator.kernels.base import AttentionShape
from simulator.kernels.conventions import Convention, prefill_row_mfu
from simulator.kernels.policies import MFU_FLOOR, Answer, Policy, mix, outside, segment
from simulator.kernels.tables import PrefillRow, Table


class PrefillLine:
    """One prefill table, ready to be asked."""

    def __init__(self, table: Table[PrefillRow], policy: Policy, shape: AttentionShape, convention: Convention) -> None:
        ordered = sorted((row.seq_len, position) for position, row in enumerate(table.rows))
        self._positions = tuple(position for _, position in ordered)
        self._lengths = tuple(length for length, _ in ordered)
        rows = [table.rows[position] for position in self._positions]
        precise = policy == "latency"
        self._mfus = tuple(prefill_row_mfu(shape, row, convention) if precise else row.mfu for row in rows)
        self._floor = 0.0 if precise else MFU_FLOOR
        self._steps = policy == "nearest"

    def answer(self, seq_len: float) -> Answer:
        """Return the MFU of causal attention over one sequence."""
        low, high, fraction = segment(self._lengths, seq_len)
        if self._steps:
            high, fraction = low, 0.0
        value = mix(self._mfus[low], self._mfus[high], fraction)
        extrapolated = outside(self._lengths, seq_len)
        if value < self._floor:
            return self._fallback(seq_len, extrapolated)
        return Answer(value, tuple(self._positions[place] for place in sorted({low, high})), extrapolated)

    def _fallback(self, seq_len: float, extrapolated: bool) -> Answer:
        usable = [place for place, mfu in enumerate(self._mfus) if mfu >= MFU_FLOOR]
        if not usable:
            return Answer(MFU_FLOOR, (), extrapolated, fallback=True)
        nearest = min(usable, key=lambda place: (abs(self._lengths[place] - seq_len), self._positions[place]))
        return Answer(self._mfus[nearest], (self._positions[nearest],), extrapolated, fallback=True)
