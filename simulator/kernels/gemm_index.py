"""Indexed GEMM lookup: (k, n) by map, m by bisection, every repeated question from memory.

Contract: `GemmIndex(table, policy).answer(m, k, n)` returns an `Answer`. Two stages, as upstream:
among the tabulated (k, n) that cover the target in both sizes take the nearest by squared distance,
else the one with the largest k**2 + n**2; then look along m with the policy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulator.kernels.base import gemm_flops
from simulator.kernels.conventions import MICRO, Convention
from simulator.kernels.policies import MFU_FLOOR, Answer, Policy, mix, outside, segment
from simulator.kernels.tables import GemmRow, Table

# Entries; a serving run asks for a few thousand distinct (m, k, n), a sweep for more.
MEMORY_LIMIT = 1 << 17


@dataclass(frozen=True, slots=True)
class _Column:
    """All rows of one (k, n), sorted by m; `positions` are their places in the file."""

    k: int
    n: int
    ms: tuple[int, ...]
    mfus: tuple[float, ...]
    seconds: tuple[float, ...]
    positions: tuple[int, ...]


class GemmIndex:
    """One GEMM table, ready to be asked."""

    def __init__(self, table: Table[GemmRow], policy: Policy, convention: Convention) -> None:
        self._columns = _columns(table)
        self._peak = convention.gemm_flops
        by_policy: dict[Policy, Callable[[_Column, int], Answer]] = {
            "nearest": _nearest,
            "interpolated": _interpolated,
            "latency": self._from_latency,
        }
        self._along_m = by_policy[policy]
        self._column_of: dict[tuple[int, int], tuple[_Column, bool]] = {}
        self._answers: dict[tuple[int, int, int], Answer] = {}

    def answer(self, m: int, k: int, n: int) -> Answer:
        """Return the MFU of (m x k) @ (k x n)."""
        known = self._answers.get((m, k, n))
        return known if known is not None else self._remember(m, k, n)

    def _remember(self, m: int, k: int, n: int) -> Answer:
        column, covered = self._column_for(k, n)
        found = self._along_m(column, m)
        extrapolated = not covered or outside(column.ms, m)
        answer = Answer(found.value, found.rows, extrapolated, found.fallback)
        if len(self._answers) >= MEMORY_LIMIT:
            self._answers.clear()
        self._answers[(m, k, n)] = answer
        return answer

    def _column_for(self, k: int, n: int) -> tuple[_Column, bool]:
        known = self._column_of.get((k, n))
        if known is None:
            known = self._column_of[(k, n)] = _covering(self._columns, k, n)
        return known

    def _from_latency(self, column: _Column, m: int) -> Answer:
        """Interpolate seconds: constant below the grid (a floor), at the last row's rate above it."""
        low, high, fraction = segment(column.ms, m)
        seconds = mix(column.seconds[low], column.seconds[high], fraction)
        seconds *= max(1.0, m / column.ms[-1])
        return Answer(gemm_flops(m, column.k, column.n) / (self._peak * seconds), _positions(column, low, high))


def _columns(table: Table[GemmRow]) -> tuple[_Column, ...]:
    grouped: dict[tuple[int, int], list[tuple[int, float, float, int]]] = {}
    for position, row in enumerate(table.rows):
        grouped.setdefault((row.k, row.n), []).append((row.m, row.mfu, row.latency_us * MICRO, position))
    return tuple(_Column(k, n, *zip(*sorted(rows), strict=True)) for (k, n), rows in grouped.items())


def _covering(columns: tuple[_Column, ...], k: int, n: int) -> tuple[_Column, bool]:
    """Return the column for (k, n) and whether it covers it; first in file order wins a tie."""
    covering = [column for column in columns if column.k >= k and column.n >= n]
    if covering:
        return min(covering, key=lambda column: (column.k - k) ** 2 + (column.n - n) ** 2), True
    return max(columns, key=lambda column: column.k**2 + column.n**2), False


def _nearest(column: _Column, m: int) -> Answer:
    low, _, _ = segment(column.ms, m)
    return _above_floor(column, m, column.mfus[low], low, low)


def _interpolated(column: _Column, m: int) -> Answer:
    low, high, fraction = segment(column.ms, m)
    return _above_floor(column, m, mix(column.mfus[low], column.mfus[high], fraction), low, high)


def _above_floor(column: _Column, m: int, value: float, low: int, high: int) -> Answer:
    if value >= MFU_FLOOR:
        return Answer(value, _positions(column, low, high))
    usable = [place for place, mfu in enumerate(column.mfus) if mfu >= MFU_FLOOR]
    if not usable:
        return Answer(MFU_FLOOR, fallback=True)
    nearest = min(usable, key=lambda place: (abs(column.ms[place] - m), column.positions[place]))
    return Answer(column.mfus[nearest], (column.positions[nearest],), fallback=True)


def _positions(column: _Column, low: int, high: int) -> tuple[int, ...]:
    return (column.positions[low],) if low == high else (column.positions[low], column.positions[high])
