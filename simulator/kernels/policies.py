"""Small shared pieces of table lookup: policies, zero fallback, straight lines, shape matching.

Three policies answer between and outside the rows of a table:

* `nearest`: the row at or below the target (the smallest row where none is);
* `interpolated`: straight lines between the rows' MFU column, clamped at the edges;
* `latency`: the same grid, but from `latency_us` at full precision, because the MFU column is
  rounded to three decimals. GEMM and decode attention interpolate the latency itself (it is affine in
  rows and in KV tokens); prefill attention interpolates the efficiency recomputed from it.

Under the first two an answer below `MFU_FLOOR` is replaced by the nearest row that is not.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from simulator.kernels.base import AttentionMatch, AttentionShape

Policy = Literal["nearest", "interpolated", "latency"]

# Dimensionless; the upstream program treats a smaller MFU as "no measurement", because three
# decimals cannot hold it, and answers this much where a table holds nothing larger.
MFU_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class Answer:
    """An MFU and the positions of the table rows it was made from."""

    value: float
    rows: tuple[int, ...] = ()
    extrapolated: bool = False
    fallback: bool = False


def segment(grid: Sequence[float], x: float) -> tuple[int, int, float]:
    """Locate x in a sorted grid.

    Returns
    -------
    (low, high, fraction)
        Neighbouring positions and how far x lies from the lower towards the higher one; equal
        positions and 0 on a grid point and beyond either edge.
    """
    above = bisect_right(grid, x)
    if above == 0:
        return 0, 0, 0.0
    low = above - 1
    if above == len(grid) or grid[low] == x:
        return low, low, 0.0
    return low, above, (x - grid[low]) / (grid[above] - grid[low])


def mix(low: float, high: float, fraction: float) -> float:
    """Return the point `fraction` of the way from low to high."""
    return low + (high - low) * fraction


def outside(grid: Sequence[float], x: float) -> bool:
    """Whether x lies beyond the edges of a sorted grid."""
    return x < grid[0] or x > grid[-1]


def match_shape(known: Iterable[AttentionShape], asked: AttentionShape) -> tuple[AttentionShape, float]:
    """Return the known shape closest to `asked` and its distance; ties go to the smaller shape."""
    return min(((shape, shape_distance(shape, asked)) for shape in sorted(known)), key=lambda found: found[1])


def shape_distance(shape: AttentionShape, other: AttentionShape) -> float:
    """Euclid over heads, KV heads and head dimension."""
    return math.dist((shape.heads, shape.kv_heads, shape.head_dim), (other.heads, other.kv_heads, other.head_dim))


def match_tp(known: Iterable[int], asked: int) -> int:
    """Return the known TP degree closest to `asked`; the lower one wins a tie."""
    return min(sorted(known), key=lambda tp: abs(tp - asked))


def match_attention(known: Iterable[tuple[AttentionShape, int]], shape: AttentionShape, tp: int) -> AttentionMatch:
    """Match the shape first, then the TP degree among that shape's tables."""
    pairs = list(known)
    used, distance = match_shape({pair[0] for pair in pairs}, shape)
    return AttentionMatch(shape, tp, used, match_tp((pair[1] for pair in pairs if pair[0] == used), tp), distance)
