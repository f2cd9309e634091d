"""The analytic kernels as tables: sampled on the grid the timed tables have, rounded as they are.

Contract: `tabulate(kernels)` returns `KernelTables` with the same shapes, grids, holes, denominators
and three-decimal MFU column as the H100 tables, so that claims about tables (interpolation, zero rows,
sub-grid GEMM) have their subject without any third-party file. `tabulated_kernels` puts them behind
the kernel interface; `write_tables` writes them as CSV, which `load_tables` reads back unchanged.
Zero rows are not made: they arise by rounding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from simulator.kernels.analytic import AnalyticKernels
from simulator.kernels.base import AttentionShape, Policy
from simulator.kernels.conventions import MFU_DECIMALS, MICRO, decode_row_mfu, gemm_row_mfu, prefill_row_mfu
from simulator.kernels.measured import MeasuredKernels
from simulator.kernels.tables import (
    DECODE_COLUMNS,
    GEMM_COLUMNS,
    PREFILL_COLUMNS,
    DecodeRow,
    GemmRow,
    KernelTables,
    PrefillRow,
    Row,
    Table,
)

# The grid of the H100 tables (tokens, rows, heads); read off their rows.
GEMM_M = (8, 16, 32, 64, 128, 256, 512, 1024, 4096, 8192, 16384, 32768, 65536, 131072)
GEMM_K = (2048, 3584, 4096, 8192)
GEMM_N = (6144, 11008)
SHAPES = tuple(
    AttentionShape(*sizes)
    for sizes in ((28, 4, 128), (32, 8, 128), (32, 32, 128), (40, 40, 128), (56, 8, 128), (64, 8, 128))
)
TP_DEGREES = (1, 2, 4)
PREFILL_TOKENS = (1024, 4096, 8192, 16384, 32768)
DECODE_BATCHES = (1, 16, 32, 64, 128, 256, 512)
DECODE_KV_TOKENS = (1024, 4096, 8192, 16384, 32768, 65536, 131072)
# Two shapes were also timed at short KV on one GPU.
SHORT_KV_TOKENS = (256, 512)
SHORT_KV_SHAPES = (AttentionShape(28, 4, 128), AttentionShape(32, 32, 128))
# Longest KV timed per batch size; beyond it the cache did not fit into the GPU's memory.
LONGEST_KV_TOKENS = {128: 65536, 256: 16384, 512: 8192}

# Decimals of the `latency_us` column in tables of this layout.
LATENCY_DECIMALS = 3


def tabulate(kernels: AnalyticKernels) -> KernelTables:
    """Sample the curves; host launches are counted, as in the timed tables."""
    eager = AnalyticKernels(kernels.fit, "eager")
    gpu = kernels.fit.gpu
    gemm = _table(f"gemm/{gpu}/data.csv", GEMM_COLUMNS, _gemm_rows(eager))
    prefill = {
        shape: _table(f"mha/prefill/{gpu}/{shape}.csv", PREFILL_COLUMNS, _prefill_rows(eager, shape))
        for shape in sorted(SHAPES)
    }
    decode = {
        (shape, tp): _table(f"mha/decode/{gpu}/{shape}-tp{tp}.csv", DECODE_COLUMNS, _decode_rows(eager, shape, tp))
        for shape in sorted(SHAPES)
        for tp in TP_DEGREES
    }
    return KernelTables(f"tabulated {kernels.name}", gpu, gemm, prefill, decode)


def tabulated_kernels(kernels: AnalyticKernels, policy: Policy = "interpolated") -> MeasuredKernels:
    """Return sampled curves behind the kernel interface."""
    return MeasuredKernels(tabulate(kernels), policy, label="tabulated analytic kernels")


def write_tables(tables: KernelTables, root: Path) -> None:
    """Write tables as CSV files under `root`."""
    columns: dict[str, tuple[str, ...]] = {"gemm": GEMM_COLUMNS, "prefill": PREFILL_COLUMNS, "decode": DECODE_COLUMNS}
    for table in tables.tables():
        family = table.path.split("/")[0] if table.path.startswith("gemm") else table.path.split("/")[1]
        path = root / table.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_csv(columns[family], table.rows), encoding="utf-8", newline="\n")


def _gemm_rows(kernels: AnalyticKernels) -> Iterator[GemmRow]:
    sizes = ((m, k, n) for k in GEMM_K for n in GEMM_N for m in GEMM_M)
    for line, (m, k, n) in enumerate(sizes, start=2):
        latency_us = _rounded_us(kernels.gemm_seconds(m, k, n, dtype="fp8"))
        mfu = gemm_row_mfu(GemmRow(m, k, n, latency_us, 0.0, line))
        yield GemmRow(m, k, n, latency_us, round(mfu, MFU_DECIMALS), line)


def _prefill_rows(kernels: AnalyticKernels, shape: AttentionShape) -> Iterator[PrefillRow]:
    bound = kernels.attention(shape)
    for line, tokens in enumerate(PREFILL_TOKENS, start=2):
        latency_us = _rounded_us(bound.prefill_seconds(0, tokens))
        mfu = prefill_row_mfu(shape, PrefillRow("bf16", tokens, latency_us, 0.0, line))
        yield PrefillRow("bf16", tokens, latency_us, round(mfu, MFU_DECIMALS), line)


def _decode_rows(kernels: AnalyticKernels, shape: AttentionShape, tp: int) -> Iterator[DecodeRow]:
    bound = kernels.attention(shape, tp)
    for line, (batch, kv_len) in enumerate(_decode_grid(shape, tp), start=2):
        latency_us = _rounded_us(bound.decode_seconds(batch, batch * kv_len))
        mfu = decode_row_mfu(shape, tp, DecodeRow("bf16", "bf16", batch, kv_len, latency_us, 0.0, line))
        yield DecodeRow("bf16", "bf16", batch, kv_len, latency_us, round(mfu, MFU_DECIMALS), line)


def _decode_grid(shape: AttentionShape, tp: int) -> Iterator[tuple[int, int]]:
    short = SHORT_KV_TOKENS if tp == 1 and shape in SHORT_KV_SHAPES else ()
    for batch in DECODE_BATCHES:
        longest = LONGEST_KV_TOKENS.get(batch, DECODE_KV_TOKENS[-1])
        yield from ((batch, kv_len) for kv_len in (*short, *DECODE_KV_TOKENS) if kv_len <= longest)


def _rounded_us(seconds: float) -> float:
    return round(seconds / MICRO, LATENCY_DECIMALS)


def _table(path: str, columns: tuple[str, ...], rows: Iterable[Row]) -> Table[Row]:
    listed = tuple(rows)
    return Table(path, hashlib.sha256(_csv(columns, listed).encode()).hexdigest(), listed)


def _csv(columns: tuple[str, ...], rows: Iterable[GemmRow | PrefillRow | DecodeRow]) -> str:
    lines = [",".join(str(getattr(row, column)) for column in columns) for row in rows]
    return "\n".join([",".join(columns), *lines]) + "\n"
