"""Which rows of a table timed the kernel, and which timed something else.

* Launch-bound: the host needed longer to launch the kernel than the GPU to run it, wholly or in part,
  so that latency says little about the kernel. Decode: rows below twice the launch floor, the floor
  being the median over files of each file's fastest row. Prefill: rows that reach less than half of
  the best efficiency of their file, because fixed time dominates. GEMM tables time the GPU alone, so
  none of their rows is launch-bound.
* Warm-up: the first row of a decode file, where it takes clearly longer than the launch floor although
  rows with more KV bytes do not; the process was still compiling or clocking up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from simulator.kernels.base import AttentionShape
from simulator.kernels.conventions import decode_kv_bytes, prefill_row_mfu
from simulator.kernels.tables import DecodeRow, PrefillRow, Table

DecodeTables = Mapping[tuple[AttentionShape, int], Table[DecodeRow]]

# Dimensionless: rows up to this multiple of the launch floor lie on it; repetition noise on the
# floor of the reference tables is 15 %, and their warm-up rows stand 50 % above it.
ON_FLOOR_RATIO = 1.25
# Dimensionless: a kernel shorter than this many launch floors still hides partly behind a launch.
LAUNCH_BOUND_RATIO = 2.0
# Dimensionless: share of a file's best efficiency below which fixed time dominates a prefill row.
FIXED_TIME_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class LaunchFloor:
    """Time below which no decode kernel was seen, and the most KV bytes that were read within it."""

    latency_us: float
    kv_bytes: float


def launch_floor(tables: DecodeTables) -> LaunchFloor:
    """Find the launch floor of a set of decode tables; the first row of each is not asked."""
    later = {key: table.rows[1:] or table.rows for key, table in tables.items()}
    fastest = [min(row.latency_us for row in rows) for rows in later.values()]
    floor_us = median(fastest) if fastest else 0.0
    read = [
        decode_kv_bytes(shape, tp, row.batch_size * row.kv_len)
        for (shape, tp), rows in later.items()
        for row in rows
        if row.latency_us <= ON_FLOOR_RATIO * floor_us
    ]
    return LaunchFloor(floor_us, max(read, default=0.0))


def warm_up_lines(shape: AttentionShape, tp: int, table: Table[DecodeRow], floor: LaunchFloor) -> frozenset[int]:
    """Return the lines of warm-up rows (none or the first)."""
    first = table.rows[0]
    slow = first.latency_us > ON_FLOOR_RATIO * floor.latency_us
    small = decode_kv_bytes(shape, tp, first.batch_size * first.kv_len) <= floor.kv_bytes
    return frozenset({first.line}) if slow and small else frozenset()


def launch_bound_decode(shape: AttentionShape, tp: int, table: Table[DecodeRow], floor: LaunchFloor) -> frozenset[int]:
    """Return the lines of launch-bound rows, warm-up rows not among them."""
    limit = LAUNCH_BOUND_RATIO * floor.latency_us
    return frozenset(row.line for row in table.rows if row.latency_us < limit) - warm_up_lines(shape, tp, table, floor)


def launch_bound_prefill(shape: AttentionShape, table: Table[PrefillRow]) -> frozenset[int]:
    """Return the lines of rows that reach less than half of their file's best efficiency."""
    mfus = {row.line: prefill_row_mfu(shape, row) for row in table.rows}
    limit = FIXED_TIME_SHARE * max(mfus.values())
    return frozenset(line for line, mfu in mfus.items() if mfu < limit)
