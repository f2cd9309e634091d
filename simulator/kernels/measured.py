"""Kernels answered by measured tables.

Contract: `MeasuredKernels(tables, policy)` implements `Kernels` on a folder read by `load_tables`.
Shapes and TP degrees that have no table are answered by the nearest one and say so; a family of
kernels without any table is an `UnsupportedError`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from simulator.errors import UnsupportedError
from simulator.kernels.base import (
    AttentionMatch,
    AttentionShape,
    Dtype,
    KernelKind,
    Lookup,
    Phase,
    PiecewiseLinear,
    Policy,
    causal_attention_flops,
    decode_attention_flops,
    gemm_flops,
)
from simulator.kernels.conventions import CAUSAL_FACTOR, Convention, infer_convention
from simulator.kernels.table_lookup import Answer, DecodeGrid, GemmIndex, PrefillLine, match_attention, match_shape
from simulator.kernels.tables import AnyTable, KernelTables

Target = tuple[tuple[str, float], ...]


class MeasuredKernels:
    """Tables of one folder behind the kernel interface.

    Parameters
    ----------
    tables
        Rows read by `load_tables`.
    policy
        How to answer between rows, see `table_lookup`.
    convention
        How the tables' MFU column was normalised; needed by the seconds style and by `latency`, and
        inferred from latency and shape where it is not given.
    label
        First words of the name.
    """

    def __init__(
        self,
        tables: KernelTables,
        policy: Policy = "interpolated",
        convention: Convention | None = None,
        *,
        label: str = "measured tables",
    ) -> None:
        self.tables = tables
        self.policy = policy
        self.convention = convention = convention or infer_convention(tables)
        self._label = label
        self._gemm = GemmIndex(tables.gemm, policy, convention) if tables.gemm else None
        self._bound: dict[tuple[AttentionShape, int], MeasuredAttention] = {}

    @property
    def name(self) -> str:
        """Name kind, GPU, policy and data."""
        return f"{self._label} {self.tables.gpu} ({self.policy}, sha256 {self.tables.sha256[:12]})"

    def gemm_mfu(self, m: int, k: int, n: int, *, dtype: Dtype = "bf16", phase: Phase = "prefill") -> float:
        """Return the table's MFU; taken to hold for either data type against its own peak."""
        return self._gemm_answer(m, k, n).value

    def gemm_seconds(self, m: int, k: int, n: int, *, dtype: Dtype = "bf16", phase: Phase = "prefill") -> float:
        """Return seconds of the timed kernel, or of the other data type under the stated assumption."""
        return self.convention.gemm_seconds(gemm_flops(m, k, n), self._gemm_answer(m, k, n).value, dtype)

    def gemm_lookup(self, m: int, k: int, n: int, *, dtype: Dtype = "bf16", phase: Phase = "prefill") -> Lookup:
        """Return the MFU with the rows it came from."""
        answer = self._gemm_answer(m, k, n)
        assert self.tables.gemm is not None  # the answer above came from it
        return _lookup("gemm", answer, self.tables.gemm, (("m", m), ("k", k), ("n", n)), None)

    def attention(self, shape: AttentionShape, tp: int = 1) -> MeasuredAttention:
        """Bind the nearest tables to a shape and TP degree.

        Raises
        ------
        UnsupportedError
            If the folder has no attention table, or `tp` is below 1.
        """
        bound = self._bound.get((shape, tp))
        if bound is None:
            bound = self._bound[(shape, tp)] = MeasuredAttention(self, shape, tp)
        return bound

    def contents(self, shape: AttentionShape, tp: int = 1) -> str:
        """Say which tables answer for an attention shape and TP degree, and how many rows they have."""
        tables, bound = self.tables, self.attention(shape, tp)
        prefill, decode = bound.prefill_match.used_shape, bound.match
        return (
            f"kernel tables of {tables.gpu}: {len(tables.gemm.rows) if tables.gemm else 0} GEMM rows; "
            f"attention {shape} at TP {tp} is answered by prefill {prefill} "
            f"({len(tables.prefill[prefill].rows)} rows) and decode {decode.used_shape} at TP {decode.used_tp} "
            f"({len(tables.decode[decode.used_shape, decode.used_tp].rows)} rows)"
        )

    def _gemm_answer(self, m: int, k: int, n: int) -> Answer:
        if self._gemm is None:
            raise UnsupportedError(f"{self.tables.root}: has no GEMM table; add gemm/{self.tables.gpu}/data.csv")
        return self._gemm.answer(m, k, n)


class MeasuredAttention:
    """`MeasuredKernels` bound to one shape and TP degree."""

    def __init__(self, kernels: MeasuredKernels, shape: AttentionShape, tp: int) -> None:
        tables = kernels.tables
        if tp < 1:
            raise UnsupportedError(f"tensor parallelism must be at least 1, got {tp}")
        if not tables.prefill or not tables.decode:
            missing = "prefill" if not tables.prefill else "decode"
            raise UnsupportedError(f"{tables.root}: has no {missing} attention table for GPU '{tables.gpu}'")
        self._convention = kernels.convention
        self._latency = kernels.policy == "latency"
        self.match = match_attention(tables.decode, shape, tp)
        prefill_shape, distance = match_shape(tables.prefill, shape)
        self.prefill_match = AttentionMatch(shape, tp, prefill_shape, tp, distance)
        self._prefill_table = tables.prefill[prefill_shape]
        self._decode_table = tables.decode[(self.match.used_shape, self.match.used_tp)]
        self._line = PrefillLine(self._prefill_table, kernels.policy, prefill_shape, kernels.convention)
        self._grid = DecodeGrid(
            self._decode_table, kernels.policy, self._flops_per_token(), kernels.convention.decode_flops
        )

    @property
    def kv_breakpoints(self) -> tuple[int, ...]:
        """Return the KV lengths of the decode table."""
        return self._grid.kv_lens

    def prefill_mfu(self, seq_len: float) -> float:
        """Return the MFU of one causal sequence."""
        return self._line.answer(seq_len).value

    def decode_mfu(self, batch: int, kv_len: float) -> float:
        """Return the MFU of a batch with equal KV lengths."""
        return self._grid.value(batch, kv_len)

    def decode_mfu_curve(self, batch: int) -> PiecewiseLinear:
        """Return the MFU over KV length for one batch size."""
        return self._grid.curve(batch)

    def prefill_seconds(self, past_tokens: int, new_tokens: int) -> float:
        """Return causal FLOPs of the chunk at the efficiency of the whole context, over TP."""
        shape, tp = self.match.asked_shape, self.match.asked_tp
        flops = causal_attention_flops(shape, past_tokens, new_tokens) * self._convention.causal_factor / CAUSAL_FACTOR
        return flops / (self._convention.prefill_flops * self.prefill_mfu(past_tokens + new_tokens)) / tp

    def decode_seconds(self, batch: int, kv_sum: float) -> float:
        """Return seconds at the mean KV length of the batch."""
        if batch == 0 or kv_sum == 0:
            return 0.0
        shape, tp = self.match.asked_shape, self.match.asked_tp
        flops = decode_attention_flops(shape, kv_sum) / (tp if self._convention.decode_sharded else 1)
        return flops / (self._convention.decode_flops * self.decode_mfu(batch, kv_sum / batch))

    def prefill_lookup(self, seq_len: float) -> Lookup:
        """Return the prefill MFU with the rows it came from."""
        answer = self._line.answer(seq_len)
        return _lookup("prefill_attention", answer, self._prefill_table, (("seq_len", seq_len),), self.prefill_match)

    def decode_lookup(self, batch: int, kv_len: float) -> Lookup:
        """Return the decode MFU with the rows it came from."""
        target = (("batch_size", batch), ("kv_len", kv_len))
        return _lookup("decode_attention", self._grid.answer(batch, kv_len), self._decode_table, target, self.match)

    def _flops_per_token(self) -> float:
        divisor = self.match.used_tp if self._convention.decode_sharded else 1
        return decode_attention_flops(self.match.used_shape, 1.0) / divisor


def _lookup(kind: KernelKind, answer: Answer, table: AnyTable, target: Target, match: AttentionMatch | None) -> Lookup:
    axes = [axis for axis, _ in target]
    rows = [table.rows[position] for position in answer.rows]
    return Lookup(
        kernel=kind,
        value=answer.value,
        table=table.path,
        target=target,
        rows=tuple((*((axis, getattr(row, axis)) for axis in axes), ("mfu", row.mfu)) for row in rows),
        distance=_distance(target, rows),
        extrapolated=answer.extrapolated,
        fallback=answer.fallback,
        match=match,
    )


def _distance(target: Target, rows: Sequence[Any]) -> float:
    """Return Euclid from the target to the nearest row used, over raw coordinates; 0 without rows."""
    wanted = [value for _, value in target]
    return min((math.dist(wanted, [getattr(row, axis) for axis, _ in target]) for row in rows), default=0.0)
