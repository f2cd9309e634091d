"""Indexed decode-attention lookup on a (batch size, KV length) grid that may have holes.

Contract: `DecodeGrid(table, policy, flops_per_token, peak)` answers the MFU at any (batch, kv) and, for
a fixed batch, the whole curve over kv as linear pieces, so that a step-time model can price a
batch from running sums. A piece on which the zero fallback or a hole makes the MFU jump, or on which
it is not linear in kv, is flagged; there the caller asks request by request.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from simulator.kernels.base import PiecewiseLinear
from simulator.kernels.conventions import MICRO
from simulator.kernels.policies import MFU_FLOOR, Answer, Policy, mix, outside, segment
from simulator.kernels.tables import DecodeRow, Table

# Batch sizes whose curve or cross-section is kept (vLLM's default cap is 256 running requests).
BATCHES_LIMIT = 4096
# Answers remembered; the runs of a comparison share their tables and ask them much the same.
VALUES_LIMIT = 100_000


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
    """One decode table, ready to be asked.

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
            line: list[float] = []
            for place, kv_len in enumerate(self.kv_lens):
                position = self._position.get((batch_size, kv_len))
                if position is not None:
                    line.append(self._rows[position].latency_us * MICRO)
                elif place > 0:
                    line.append(line[-1] * kv_len / self.kv_lens[place - 1])
                else:
                    line.append(self._first_known(batch_size))
            grid.append(line)
        return tuple(tuple(line) for line in grid)

    def _first_known(self, batch_size: int) -> float:
        """Return the latency of a batch size's shortest KV, a floor for shorter ones."""
        return (
            next(
                row.latency_us for row in sorted(self._rows, key=lambda row: row.kv_len) if row.batch_size == batch_size
            )
            * MICRO
        )


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
