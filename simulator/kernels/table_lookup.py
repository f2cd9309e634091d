"""Indexed lookup in measured tables: GEMM, prefill attention and decode attention, under three policies.

Contract: `GemmIndex`, `PrefillLine` and `DecodeGrid` answer with an `Answer`: the MFU, and the rows it came from.
`match_attention` finds the table that answers for a shape and TP degree. Between and outside the rows of a table:

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
from dataclasses import dataclass, replace

from simulator.kernels.base import AttentionMatch, AttentionShape, PiecewiseLinear, Policy, gemm_flops
from simulator.kernels.conventions import MICRO, Convention, prefill_row_mfu
from simulator.kernels.tables import DecodeRow, GemmRow, PrefillRow, Table

# Dimensionless; the upstream program treats a smaller MFU as "no measurement", because three
# decimals cannot hold it, and answers this much where a table holds nothing larger.
MFU_FLOOR = 1e-4
# Entries; a serving run asks for a few thousand distinct (m, k, n), a sweep for more.
MEMORY_LIMIT = 1 << 17
# Batch sizes whose curve or cross-section is kept (vLLM's default cap is 256 running requests).
BATCHES_LIMIT = 4096
# Answers remembered; the runs of a comparison share their tables and ask them much the same.
VALUES_LIMIT = 100_000


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


@dataclass(frozen=True, slots=True)
class _Line:
    """Rows of a table along one size, sorted by it; `positions` are their places in the file."""

    sizes: tuple[int, ...]
    positions: tuple[int, ...]
    mfus: tuple[float, ...]

    def answer(self, size: float, policy: Policy) -> Answer:
        """Return the MFU at one size; MFUs for `latency` are at full precision and have no floor."""
        low, high, fraction = segment(self.sizes, size)
        if policy == "nearest":
            high, fraction = low, 0.0
        value = mix(self.mfus[low], self.mfus[high], fraction)
        extrapolated = outside(self.sizes, size)
        if value >= MFU_FLOOR or policy == "latency":
            return Answer(value, self.between(low, high), extrapolated)
        usable = [place for place, mfu in enumerate(self.mfus) if mfu >= MFU_FLOOR]
        if not usable:
            return Answer(MFU_FLOOR, (), extrapolated, fallback=True)
        nearest = min(usable, key=lambda place: (abs(self.sizes[place] - size), self.positions[place]))
        return Answer(self.mfus[nearest], (self.positions[nearest],), extrapolated, fallback=True)

    def between(self, low: int, high: int) -> tuple[int, ...]:
        """Return the places in the file of the rows around a size."""
        return (self.positions[low],) if low == high else (self.positions[low], self.positions[high])


@dataclass(frozen=True, slots=True)
class _Column:
    """All rows of one (k, n) along m, and their seconds in the same order."""

    k: int
    n: int
    line: _Line
    seconds: tuple[float, ...]


class GemmIndex:
    """One GEMM table: (k, n) by map, m by bisection, every repeated question from memory.

    Two stages, as upstream: among the tabulated (k, n) that cover the target in both sizes take the nearest
    by squared distance, else the one with the largest k**2 + n**2; then look along m with the policy.
    """

    def __init__(self, table: Table[GemmRow], policy: Policy, convention: Convention) -> None:
        self._columns = _columns(table)
        self._policy: Policy = policy
        self._peak = convention.gemm_flops
        self._column_of: dict[tuple[int, int], tuple[_Column, bool]] = {}
        self._answers: dict[tuple[int, int, int], Answer] = {}

    def answer(self, m: int, k: int, n: int) -> Answer:
        """Return the MFU of (m x k) @ (k x n)."""
        known = self._answers.get((m, k, n))
        return known if known is not None else self._remember(m, k, n)

    def _remember(self, m: int, k: int, n: int) -> Answer:
        found = self._column_of.get((k, n))
        if found is None:
            found = self._column_of[k, n] = _covering(self._columns, k, n)
        column, covered = found
        answer = self._from_latency(column, m) if self._policy == "latency" else column.line.answer(m, self._policy)
        if not covered:
            answer = replace(answer, extrapolated=True)
        if len(self._answers) >= MEMORY_LIMIT:
            self._answers.clear()
        self._answers[m, k, n] = answer
        return answer

    def _from_latency(self, column: _Column, m: int) -> Answer:
        """Interpolate seconds: constant below the grid (a floor), at the last row's rate above it."""
        sizes = column.line.sizes
        low, high, fraction = segment(sizes, m)
        seconds = mix(column.seconds[low], column.seconds[high], fraction) * max(1.0, m / sizes[-1])
        mfu = gemm_flops(m, column.k, column.n) / (self._peak * seconds)
        return Answer(mfu, column.line.between(low, high), outside(sizes, m))


def _columns(table: Table[GemmRow]) -> tuple[_Column, ...]:
    grouped: dict[tuple[int, int], list[tuple[int, int, float, float]]] = {}
    for position, row in enumerate(table.rows):
        grouped.setdefault((row.k, row.n), []).append((row.m, position, row.mfu, row.latency_us * MICRO))
    columns = []
    for (k, n), rows in grouped.items():
        sizes, positions, mfus, seconds = zip(*sorted(rows), strict=True)
        columns.append(_Column(k, n, _Line(sizes, positions, mfus), seconds))
    return tuple(columns)


def _covering(columns: tuple[_Column, ...], k: int, n: int) -> tuple[_Column, bool]:
    """Return the column for (k, n) and whether it covers it; first in file order wins a tie."""
    covering = [column for column in columns if column.k >= k and column.n >= n]
    if covering:
        return min(covering, key=lambda column: (column.k - k) ** 2 + (column.n - n) ** 2), True
    return max(columns, key=lambda column: column.k**2 + column.n**2), False


class PrefillLine:
    """One prefill-attention table along the sequence length; causal FLOPs are counted."""

    def __init__(self, table: Table[PrefillRow], policy: Policy, shape: AttentionShape, convention: Convention) -> None:
        self._policy: Policy = policy
        precise = policy == "latency"
        rows = [
            (row.seq_len, position, prefill_row_mfu(shape, row, convention) if precise else row.mfu)
            for position, row in enumerate(table.rows)
        ]
        self._line = _Line(*zip(*sorted(rows), strict=True))

    def answer(self, seq_len: float) -> Answer:
        """Return the MFU of causal attention over one sequence."""
        return self._line.answer(seq_len, self._policy)


@dataclass(frozen=True, slots=True)
class _CrossSection:
    """What a question about one batch size needs of the grid.

    `levels` are the MFUs per KV length at that batch size. `usable` has, per KV length, the row the
    fallback would choose there: (KV length, squared distance in batch size, position, MFU).
    """

    levels: tuple[float, ...]
    usable: tuple[tuple[int, int, int, float], ...]

    def fallback(self, kv_len: float) -> float:
        """Return the MFU of the nearest usable row, as `DecodeGrid._fallback` does."""
        if not self.usable:
            return MFU_FLOOR
        return min([(gap + (kv - kv_len) ** 2, position, mfu) for kv, gap, position, mfu in self.usable])[2]


class DecodeGrid:
    """One decode-attention table: a (batch size, KV length) grid that may have holes.

    Answers the MFU at any (batch, kv) and, for a fixed batch, the whole curve over kv as linear pieces, so that
    a step-time model can time a batch from running sums. A piece on which the zero fallback or a hole makes the
    MFU jump, or on which it is not linear in kv, is flagged; there the caller asks request by request.

    Parameters
    ----------
    table
        Rows of one shape and TP degree.
    policy
        How to answer between rows.
    flops_per_token
        FLOPs per KV token that the MFU column counts on one GPU.
    peak
        Denominator of the MFU column, FLOP/s.
    """

    def __init__(self, table: Table[DecodeRow], policy: Policy, flops_per_token: float, peak: float) -> None:
        self._rows = table.rows
        self._policy = policy
        self._flops_per_token = flops_per_token
        self._peak = peak
        self.batches = tuple(sorted({row.batch_size for row in table.rows}))
        self.kv_lens = tuple(sorted({row.kv_len for row in table.rows}))
        self._position = {row.key: position for position, row in enumerate(table.rows)}
        self._usable = _usable_by_batch(table.rows)
        self._seconds = self._filled_latencies()
        self._curves: dict[int, PiecewiseLinear] = {}
        self._sections: dict[int, _CrossSection] = {}
        self._values: dict[tuple[int, float], float] = {}

    def value(self, batch: int, kv_len: float) -> float:
        """Return the same MFU as `answer` does, without the rows and so much sooner, and remember it."""
        known = self._values.get((batch, kv_len))
        if known is None:
            if len(self._values) >= VALUES_LIMIT:
                self._values.clear()
            known = self._values[batch, kv_len] = self._value(batch, kv_len)
        return known

    def _value(self, batch: int, kv_len: float) -> float:
        if self._policy != "interpolated":
            return self.answer(batch, kv_len).value
        section = self._sections.get(batch) or self._cut(batch)
        low, high, along = segment(self.kv_lens, kv_len)
        found = mix(section.levels[low], section.levels[high], along)
        return found if found >= MFU_FLOOR else section.fallback(kv_len)

    def answer(self, batch: int, kv_len: float) -> Answer:
        """Return the MFU with the rows it came from."""
        if self._policy == "latency":
            return self._from_latency(batch, kv_len)
        found = self._nearest(batch, kv_len) if self._policy == "nearest" else self._interpolated(batch, kv_len)
        return found if found.value >= MFU_FLOOR else self._fallback(batch, kv_len)

    def curve(self, batch: int) -> PiecewiseLinear:
        """Return the MFU over kv for one batch size."""
        known = self._curves.get(batch)
        if known is None:
            if len(self._curves) >= BATCHES_LIMIT:
                self._curves.clear()
            known = self._curves[batch] = self._make_curve(batch)
        return known

    def seconds(self, batch: int, kv_len: float) -> float:
        """Interpolate the latency: a floor below the grid, proportional to KV tokens above it."""
        batch_low, batch_high, across = segment(self.batches, batch)
        kv_low, kv_high, along = segment(self.kv_lens, kv_len)
        low = mix(self._seconds[batch_low][kv_low], self._seconds[batch_low][kv_high], along)
        high = mix(self._seconds[batch_high][kv_low], self._seconds[batch_high][kv_high], along)
        return mix(low, high, across) * max(1.0, batch / self.batches[-1]) * max(1.0, kv_len / self.kv_lens[-1])

    def _make_curve(self, batch: int) -> PiecewiseLinear:
        if self._policy == "latency":
            return self._pieces([(0.0, 0.0, False)] * (len(self.kv_lens) + 1))
        if self._policy == "nearest":
            return self._pieces([self._flat_piece(batch, interval) for interval in range(len(self.kv_lens) + 1)])
        levels = [self._bilinear(batch, kv_len) for kv_len in self.kv_lens]
        inner = [self._sloped_piece(interval, levels) for interval in range(1, len(self.kv_lens))]
        edges = [(level, 0.0, level >= MFU_FLOOR) for level in (levels[0], levels[-1])]
        return self._pieces([edges[0], *inner, edges[1]])

    def _cut(self, batch: int) -> _CrossSection:
        if len(self._sections) >= BATCHES_LIMIT:
            self._sections.clear()
        nearest: dict[int, tuple[int, int]] = {}
        for position, row in enumerate(self._rows):
            rank, best = ((row.batch_size - batch) ** 2, position), nearest.get(row.kv_len)
            if row.mfu >= MFU_FLOOR and (best is None or rank < best):
                nearest[row.kv_len] = rank
        section = self._sections[batch] = _CrossSection(
            tuple(self._level(batch, place) for place in range(len(self.kv_lens))),
            tuple((kv, gap, position, self._rows[position].mfu) for kv, (gap, position) in nearest.items()),
        )
        return section

    def _flat_piece(self, batch: int, interval: int) -> tuple[float, float, bool]:
        """Describe `nearest` between two grid lengths: flat where the row just below exists and is not zero."""
        below = bisect_right(self.batches, batch)
        if below == 0 or interval == 0:
            return 0.0, 0.0, False
        position = self._position.get((self.batches[below - 1], self.kv_lens[interval - 1]))
        mfu = self._rows[position].mfu if position is not None else 0.0
        return mfu, 0.0, mfu >= MFU_FLOOR

    def _sloped_piece(self, interval: int, levels: list[float]) -> tuple[float, float, bool]:
        start, end = self.kv_lens[interval - 1], self.kv_lens[interval]
        slope = (levels[interval] - levels[interval - 1]) / (end - start)
        return levels[interval - 1] - slope * start, slope, min(levels[interval - 1 : interval + 1]) >= MFU_FLOOR

    def _pieces(self, pieces: list[tuple[float, float, bool]]) -> PiecewiseLinear:
        return PiecewiseLinear(self.kv_lens, *zip(*pieces, strict=True))

    def _cell(self, batch_place: int, kv_place: int) -> float:
        """Return a cell's MFU; a hole counts as zero, as upstream."""
        position = self._position.get((self.batches[batch_place], self.kv_lens[kv_place]))
        return 0.0 if position is None else self._rows[position].mfu

    def _bilinear(self, batch: int, kv_len: float) -> float:
        kv_low, kv_high, along = segment(self.kv_lens, kv_len)
        return mix(self._level(batch, kv_low), self._level(batch, kv_high), along)

    def _level(self, batch: int, kv_place: int) -> float:
        """Return the MFU at one grid length, mixed across batch sizes first, as upstream does to the last bit."""
        batch_low, batch_high, across = segment(self.batches, batch)
        return mix(self._cell(batch_low, kv_place), self._cell(batch_high, kv_place), across)

    def _interpolated(self, batch: int, kv_len: float) -> Answer:
        rows, holes = self._corners(batch, kv_len)
        return Answer(self._bilinear(batch, kv_len), rows, holes or self._is_outside(batch, kv_len))

    def _from_latency(self, batch: int, kv_len: float) -> Answer:
        rows, holes = self._corners(batch, kv_len)
        tokens = batch * kv_len
        mfu = tokens * self._flops_per_token / (self._peak * self.seconds(batch, kv_len))
        extrapolated = holes or self._is_outside(batch, kv_len)
        return Answer(mfu, rows, extrapolated) if mfu > 0 else Answer(MFU_FLOOR, rows, extrapolated, fallback=True)

    def _corners(self, batch: int, kv_len: float) -> tuple[tuple[int, ...], bool]:
        """Return the rows around the target, and whether any of them is missing."""
        batch_low, batch_high, _ = segment(self.batches, batch)
        kv_low, kv_high, _ = segment(self.kv_lens, kv_len)
        keys = {(self.batches[b], self.kv_lens[kv]) for b in (batch_low, batch_high) for kv in (kv_low, kv_high)}
        found = [self._position[key] for key in sorted(keys) if key in self._position]
        return tuple(found), len(found) < len(keys)

    def _nearest(self, batch: int, kv_len: float) -> Answer:
        """Return the row nearest by Euclid among those not above the target, else among all."""
        below = [batch_size for batch_size in self.batches if batch_size <= batch]
        candidates = [position for size in below for position in self._last_at_or_below(size, kv_len)]
        position = self._closest(candidates or range(len(self._rows)), batch, kv_len)
        return Answer(self._rows[position].mfu, (position,), self._is_outside(batch, kv_len))

    def _last_at_or_below(self, batch_size: int, kv_len: float) -> list[int]:
        """Return the row of one batch size with the longest KV not above `kv_len`; nothing else can be nearer."""
        for place in range(bisect_right(self.kv_lens, kv_len) - 1, -1, -1):
            position = self._position.get((batch_size, self.kv_lens[place]))
            if position is not None:
                return [position]
        return []

    def _fallback(self, batch: int, kv_len: float) -> Answer:
        """Return the nearest row with a usable MFU; at most two candidates per batch size."""
        candidates: list[int] = []
        for kv_lens, positions in self._usable:
            above = bisect_right(kv_lens, kv_len)
            candidates += positions[max(0, above - 1) : above + 1]
        extrapolated = self._is_outside(batch, kv_len)
        if not candidates:
            return Answer(MFU_FLOOR, (), extrapolated, fallback=True)
        position = self._closest(candidates, batch, kv_len)
        return Answer(self._rows[position].mfu, (position,), extrapolated, fallback=True)

    def _closest(self, candidates: list[int] | range, batch: int, kv_len: float) -> int:
        """Return the candidate nearest by Euclid over raw coordinates; file order breaks ties."""
        rows = self._rows
        return min(
            candidates,
            key=lambda position: (
                (rows[position].batch_size - batch) ** 2 + (rows[position].kv_len - kv_len) ** 2,
                position,
            ),
        )

    def _is_outside(self, batch: int, kv_len: float) -> bool:
        return outside(self.batches, batch) or outside(self.kv_lens, kv_len)

    def _filled_latencies(self) -> tuple[tuple[float, ...], ...]:
        """Return seconds per [batch][kv]; a hole continues its neighbour in proportion to KV tokens."""
        grid: list[list[float]] = []
        for batch_size in self.batches:
            own = [row for row in self._rows if row.batch_size == batch_size]
            line: list[float] = []
            for place, kv_len in enumerate(self.kv_lens):
                position = self._position.get((batch_size, kv_len))
                if position is not None:
                    line.append(self._rows[position].latency_us * MICRO)
                elif place > 0:
                    line.append(line[-1] * kv_len / self.kv_lens[place - 1])
                else:  # the latency of the shortest KV timed is a floor for shorter ones
                    line.append(min(own, key=lambda row: row.kv_len).latency_us * MICRO)
            grid.append(line)
        return tuple(tuple(line) for line in grid)


def _usable_by_batch(rows: tuple[DecodeRow, ...]) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Return, per batch size, sorted KV lengths and positions of the rows whose MFU is not zero."""
    grouped: dict[int, list[tuple[int, int]]] = {}
    for position, row in enumerate(rows):
        if row.mfu >= MFU_FLOOR:
            grouped.setdefault(row.batch_size, []).append((row.kv_len, position))
    return tuple(
        (tuple(kv for kv, _ in places), tuple(position for _, position in places))
        for places in map(sorted, grouped.values())
    )


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
