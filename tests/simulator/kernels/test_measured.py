"""Answers from measured tables: policies, substitution, fallback, and agreement with recorded lookups."""

from __future__ import annotations

import gzip
import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import UnsupportedError
from simulator.kernels.base import AttentionShape
from simulator.kernels.conventions import H100_CONVENTION
from simulator.kernels.measured import MeasuredKernels
from simulator.kernels.table_lookup import MFU_FLOOR
from simulator.kernels.tables import DecodeRow, GemmRow, KernelTables, PrefillRow, Table, load_tables
from tests.simulator.kernels.folder import DECODE_HEADER, write_folder

TOY = AttentionShape(8, 2, 64)

MODEL_SHAPES = {
    "llama-2-7b-hf": AttentionShape(32, 32, 128),
    "llama-2-70b-hf": AttentionShape(64, 8, 128),
    "codellama-34b-instruct-hf": AttentionShape(64, 8, 128),
    "qwen3-14b": AttentionShape(40, 8, 128),
    "qwen2.5-7b-instruct": AttentionShape(28, 4, 128),
}


@pytest.fixture
def toy(tmp_path):
    return load_tables(write_folder(tmp_path))


@pytest.fixture(scope="module")
def reference(shared_dir):
    return load_tables(shared_dir / "bench_data")


# GEMM ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "n", "used"),
    [
        (100, 200, (100, 200)),
        (90, 190, (100, 200)),
        (101, 200, (300, 400)),
        (10, 10, (100, 200)),
        (999, 10, (300, 400)),
    ],
)
def test_gemm_takes_the_nearest_covering_size_else_the_largest(toy, k, n, used):
    rows = MeasuredKernels(toy).gemm_lookup(8, k, n).rows
    assert {(dict(row)["k"], dict(row)["n"]) for row in rows} == {used}


def test_gemm_interpolates_along_m_and_is_clamped_at_both_ends(toy):
    kernels = MeasuredKernels(toy)
    assert kernels.gemm_mfu(12, 100, 200) == pytest.approx(0.015)
    assert kernels.gemm_mfu(1, 100, 200) == 0.010
    assert kernels.gemm_mfu(999, 100, 200) == 0.020


def test_gemm_nearest_takes_the_largest_m_not_above_the_target(toy):
    kernels = MeasuredKernels(toy, "nearest")
    assert [kernels.gemm_mfu(m, 100, 200) for m in (1, 8, 15, 16, 999)] == [0.010, 0.010, 0.010, 0.020, 0.020]


def test_gemm_latency_policy_keeps_the_floor_below_the_grid_and_the_rate_above_it(toy):
    kernels = MeasuredKernels(toy, "latency", H100_CONVENTION)
    seconds = [kernels.gemm_seconds(m, 100, 200, dtype="fp8") for m in (1, 8, 12, 16, 32)]
    assert seconds == pytest.approx([10e-6, 10e-6, 10e-6, 10e-6, 20e-6])


def test_bf16_gemm_takes_twice_the_time_of_the_timed_fp8_kernel(toy):
    kernels = MeasuredKernels(toy, convention=H100_CONVENTION)
    assert kernels.gemm_seconds(8, 100, 200) == pytest.approx(2 * kernels.gemm_seconds(8, 100, 200, dtype="fp8"))
    assert kernels.gemm_seconds(8, 100, 200) == pytest.approx(2 * 8 * 100 * 200 / (989.5e12 * 0.010))


def test_a_gemm_lookup_reports_rows_distance_and_extrapolation(toy):
    lookup = MeasuredKernels(toy).gemm_lookup(12, 90, 200)
    assert lookup.table == "gemm/toy/data.csv"
    assert [dict(row)["m"] for row in lookup.rows] == [8, 16]
    assert lookup.distance == pytest.approx(math.dist((12, 90, 200), (8, 100, 200)))
    assert not lookup.extrapolated
    assert MeasuredKernels(toy).gemm_lookup(7, 90, 200).extrapolated
    assert MeasuredKernels(toy).gemm_lookup(8, 301, 200).extrapolated


def test_a_zero_gemm_row_is_replaced_by_the_nearest_usable_row_of_its_size(tmp_path):
    content = "m,k,n,latency_us,mfu\n8,1,1,9.0,0.0\n16,1,1,9.0,0.5\n32,1,1,9.0,0.7\n"
    kernels = MeasuredKernels(load_tables(write_folder(tmp_path, {"gemm/toy/data.csv": content})), "nearest")
    lookup = kernels.gemm_lookup(9, 1, 1)
    assert (lookup.value, lookup.fallback) == (0.5, True)


# Attention -------------------------------------------------------------------------------------


def test_prefill_interpolates_along_the_sequence_and_is_clamped(toy):
    bound = MeasuredKernels(toy).attention(TOY)
    assert [bound.prefill_mfu(s) for s in (1, 1000, 1500, 2000, 9999)] == pytest.approx([0.2, 0.2, 0.3, 0.4, 0.4])
    stepped = MeasuredKernels(toy, "nearest").attention(TOY)
    assert [stepped.prefill_mfu(s) for s in (1, 1999, 2000)] == [0.2, 0.2, 0.4]


def test_prefill_latency_policy_recovers_the_measured_latency_on_the_grid(toy):
    bound = MeasuredKernels(toy, "latency", H100_CONVENTION).attention(TOY)
    assert bound.prefill_seconds(0, 1000) == pytest.approx(40e-6)
    assert bound.prefill_seconds(0, 2000) == pytest.approx(100e-6)


def test_decode_is_bilinear_and_clamped(toy):
    bound = MeasuredKernels(toy).attention(TOY)
    assert bound.decode_mfu(3, 1500) == pytest.approx((0.0 + 0.002 + 0.004 + 0.008) / 4)
    assert bound.decode_mfu(5, 99999) == pytest.approx(0.008)


def test_a_missing_decode_cell_counts_as_zero_and_is_reported_as_extrapolation(toy):
    lookup = MeasuredKernels(toy).attention(TOY).decode_lookup(7, 1500)
    assert lookup.value == pytest.approx((0.004 + 0.008 + 0.010 + 0.0) / 4)
    assert lookup.extrapolated


def test_a_zero_answer_is_replaced_by_the_nearest_usable_row(toy):
    lookup = MeasuredKernels(toy).attention(TOY).decode_lookup(1, 1000)
    assert (lookup.value, lookup.fallback) == (0.004, True)
    assert lookup.distance == 4.0


def test_a_table_of_zeros_answers_the_floor(tmp_path):
    zeros = f"{DECODE_HEADER}\nbf16,bf16,1,1000,38.0,0.0\n"
    files = {"mha/decode/toy/8-2-64-tp1.csv": zeros}
    bound = MeasuredKernels(load_tables(write_folder(tmp_path, files))).attention(TOY)
    assert bound.decode_mfu(3, 4) == MFU_FLOOR
    assert bound.decode_lookup(3, 4).fallback


def test_decode_latency_policy_recovers_latencies_keeps_the_floor_and_grows_beyond_the_grid(toy):
    bound = MeasuredKernels(toy, "latency", H100_CONVENTION).attention(TOY)
    assert bound.decode_seconds(5, 5 * 1000) == pytest.approx(24e-6)
    assert bound.decode_seconds(5, 5 * 1500) == pytest.approx(36e-6)
    assert bound.decode_seconds(5, 5 * 500) == pytest.approx(24e-6)
    assert bound.decode_seconds(5, 5 * 4000) == pytest.approx(96e-6)
    assert bound.decode_seconds(9, 9 * 2000) == pytest.approx(100e-6), "a hole continues in proportion to KV tokens"


def test_an_unknown_shape_is_answered_by_the_nearest_one_and_says_so(toy):
    bound = MeasuredKernels(toy).attention(AttentionShape(10, 2, 64))
    assert bound.match.used_shape == TOY
    assert bound.match.shape_distance == 2.0
    assert not bound.decode_lookup(5, 1000).match.exact
    assert bound.prefill_lookup(1000).match.shape_distance == 2.0


@pytest.mark.parametrize(("asked", "used"), [(1, 1), (2, 1), (3, 4), (4, 4), (8, 4)])
def test_an_unknown_tp_is_answered_by_the_nearest_one_and_the_lower_wins(toy, asked, used):
    assert MeasuredKernels(toy).attention(TOY, asked).match.used_tp == used


def test_equally_distant_tp_degrees_go_to_the_lower(tmp_path):
    folder = write_folder(tmp_path)
    (folder / "mha/decode/toy/8-2-64-tp1.csv").rename(folder / "mha/decode/toy/8-2-64-tp2.csv")
    assert MeasuredKernels(load_tables(folder)).attention(TOY, 3).match.used_tp == 2


def test_a_missing_family_of_tables_is_a_clear_refusal():
    gemm = Table("gemm/toy/data.csv", "0", (GemmRow(8, 1, 1, 1.0, 0.1, 2),))
    prefill = {TOY: Table("p.csv", "0", (PrefillRow("bf16", 8, 1.0, 0.1, 2),))}
    with pytest.raises(UnsupportedError, match="no prefill attention table"):
        MeasuredKernels(KernelTables("here", "toy", gemm)).attention(TOY)
    with pytest.raises(UnsupportedError, match="no decode attention table"):
        MeasuredKernels(KernelTables("here", "toy", gemm, prefill)).attention(TOY)
    with pytest.raises(UnsupportedError, match="no GEMM table"):
        MeasuredKernels(KernelTables("here", "toy", None, prefill)).gemm_mfu(1, 1, 1)
    with pytest.raises(UnsupportedError, match="at least 1, got 0"):
        MeasuredKernels(KernelTables("here", "toy", gemm, prefill, {})).attention(TOY, 0)


def test_the_name_says_gpu_policy_and_data(toy):
    assert MeasuredKernels(toy, "nearest").name == f"measured tables toy (nearest, sha256 {toy.sha256[:12]})"


def test_the_convention_is_inferred_where_it_is_not_given(reference):
    assert MeasuredKernels(reference).convention == H100_CONVENTION


def test_tables_of_another_convention_still_give_back_their_latencies(tmp_path):
    mfu = 2 * 64 * 4096 * 4096 / (20e-6 * 989.5e12)
    decode_mfu = 4 * 8 * 4096 * 8 * 64 / 4 / (30e-6 * 312e12)
    files = {
        "gemm/toy/data.csv": f"m,k,n,latency_us,mfu\n64,4096,4096,20.0,{mfu:.3f}\n",
        "mha/decode/toy/8-2-64-tp4.csv": f"{DECODE_HEADER}\nbf16,bf16,8,4096,30.0,{decode_mfu:.6f}\n",
    }
    folder = write_folder(tmp_path, files)
    (folder / "mha/decode/toy/8-2-64-tp1.csv").unlink()
    kernels = MeasuredKernels(load_tables(folder), "latency")
    assert (kernels.convention.gemm_flops, kernels.convention.gemm_dtype) == (989.5e12, "bf16")
    assert kernels.gemm_seconds(64, 4096, 4096) == pytest.approx(20e-6)
    assert kernels.gemm_seconds(64, 4096, 4096, dtype="fp8") == pytest.approx(10e-6)
    assert kernels.attention(TOY, 4).decode_seconds(8, 8 * 4096) == pytest.approx(30e-6)


# Properties ------------------------------------------------------------------------------------

GRID_ROWS = st.dictionaries(
    st.tuples(st.sampled_from([1, 3, 8, 20]), st.sampled_from([10, 40, 100, 1000])),
    st.tuples(st.integers(0, 30).map(lambda thousandths: thousandths / 1000), st.floats(1, 100)),
    min_size=1,
)


def _decode_tables(cells):
    rows = tuple(DecodeRow("bf16", "bf16", b, kv, us, mfu, i) for i, ((b, kv), (mfu, us)) in enumerate(cells.items()))
    prefill = {TOY: Table("p.csv", "0", (PrefillRow("bf16", 8, 1.0, 0.1, 2),))}
    return KernelTables("here", "toy", None, prefill, {(TOY, 1): Table("d.csv", "0", rows)})


@settings(max_examples=200, deadline=None)
@given(
    cells=GRID_ROWS,
    batch=st.integers(1, 30),
    kv=st.integers(0, 1500),
    policy=st.sampled_from(["nearest", "interpolated"]),
)
def test_a_linear_piece_of_the_curve_equals_the_lookup_point_by_point(cells, batch, kv, policy):
    bound = MeasuredKernels(_decode_tables(cells), policy).attention(TOY)
    curve = bound.decode_mfu_curve(batch)
    assert curve.breakpoints == bound.kv_breakpoints
    assert len(curve.linear) == len(curve.breakpoints) + 1
    interval = sum(breakpoint <= kv for breakpoint in curve.breakpoints)
    if curve.linear[interval]:
        assert curve.at(kv) == pytest.approx(bound.decode_mfu(batch, kv), rel=1e-9)


@settings(max_examples=200, deadline=None)
@given(cells=GRID_ROWS, batch=st.integers(1, 30), kv=st.integers(0, 1500))
def test_indexed_nearest_and_fallback_equal_a_scan_over_all_rows(cells, batch, kv):
    tables = _decode_tables(cells)
    rows = tables.decode[(TOY, 1)].rows

    def scan(candidates):
        return min(candidates, key=lambda row: (row.batch_size - batch) ** 2 + (row.kv_len - kv) ** 2)

    below = [row for row in rows if row.batch_size <= batch and row.kv_len <= kv]
    expected = scan(below or rows).mfu
    usable = [row for row in rows if row.mfu >= MFU_FLOOR]
    if expected < MFU_FLOOR:
        expected = scan(usable).mfu if usable else MFU_FLOOR
    assert MeasuredKernels(tables, "nearest").attention(TOY).decode_mfu(batch, kv) == expected


@settings(max_examples=100, deadline=None)
@given(
    cells=GRID_ROWS,
    batch=st.integers(1, 40),
    kv=st.integers(1, 3000),
    policy=st.sampled_from(["nearest", "interpolated", "latency"]),
)
def test_every_answer_is_finite_and_positive_wherever_it_is_asked(cells, batch, kv, policy):
    bound = MeasuredKernels(_decode_tables(cells), policy).attention(TOY)
    assert 0 < bound.decode_mfu(batch, kv) < math.inf
    assert 0 < bound.decode_seconds(batch, batch * kv) < math.inf
    assert bound.decode_lookup(batch, kv).value == bound.decode_mfu(batch, kv)


# Recorded behaviour ----------------------------------------------------------------------------


def _answer(kernels, record):
    if record["fn"] == "gemm":
        return kernels.gemm_mfu(record["m"], record["k"], record["n"])
    shape = MODEL_SHAPES[record["model"]]
    if record["fn"] == "attn_prefill":
        return kernels.attention(shape).prefill_mfu(record["seq_len"])
    return kernels.attention(shape, record["tp"]).decode_mfu(record["bs"], record["kv"])


def test_every_recorded_upstream_lookup_is_reproduced(shared_dir, reference):
    kernels = MeasuredKernels(reference, "interpolated")
    with gzip.open(shared_dir / "oracle" / "mfu_lookups.jsonl.gz", "rt") as lines:
        records = [json.loads(line) for line in lines]
    wrong = [record for record in records if _answer(kernels, record) != record["mfu"]]
    assert len(records) > 2000
    assert wrong == []


def _sweep_summary(values):
    jumps = [abs(a - b) / max(a, b) * 100 for a, b in itertools.pairwise(values)]
    flat = longest = 1
    for before, after in itertools.pairwise(values):
        flat = flat + 1 if before == after else 1
        longest = max(longest, flat)
    counts = [sum(jump >= limit for jump in jumps) for limit in (5, 10, 20)]
    return [len(values), len(set(values)), *counts, round(max(jumps), 1), longest]


# Published by the upstream programme (interpolation hypothesis): points, distinct MFU values, jumps of
# at least 5/10/20 %, largest jump in %, longest flat run.
PUBLISHED_SWEEPS = {
    "gemm_n6144": [512, 7, 6, 6, 6, 51.9, 256],
    "gemm_n11008": [512, 7, 6, 6, 6, 50.0, 256],
    "decode_kv1024": [256, 3, 2, 1, 1, 20.0, 129],
    "decode_kv4096": [256, 3, 2, 1, 1, 72.7, 193],
    "decode_kv8192": [256, 3, 3, 1, 1, 58.3, 193],
    "decode_bs1": [255, 4, 3, 3, 3, 62.5, 128],
    "decode_bs32": [255, 3, 2, 1, 0, 15.4, 129],
    "decode_bs128": [255, 2, 1, 0, 0, 8.3, 193],
    "prefill": [505, 5, 4, 2, 1, 64.3, 256],
}


def test_the_nearest_policy_reproduces_the_published_sweeps(reference):
    kernels = MeasuredKernels(reference, "nearest")
    llama = kernels.attention(AttentionShape(32, 8, 128))
    sweeps = {f"gemm_n{n}": [kernels.gemm_mfu(m, 4096, n) for m in range(1, 513)] for n in (6144, 11008)}
    sweeps |= {f"decode_kv{kv}": [llama.decode_mfu(b, kv) for b in range(1, 257)] for kv in (1024, 4096, 8192)}
    sweeps |= {f"decode_bs{b}": [llama.decode_mfu(b, kv) for kv in range(128, 16385, 64)] for b in (1, 32, 128)}
    sweeps["prefill"] = [llama.prefill_mfu(s) for s in range(512, 32769, 64)]
    assert {name: _sweep_summary(values) for name, values in sweeps.items()} == PUBLISHED_SWEEPS


def test_the_latency_policy_returns_every_measured_latency(reference):
    kernels = MeasuredKernels(reference, "latency")
    for row in reference.gemm.rows:
        assert kernels.gemm_seconds(row.m, row.k, row.n, dtype="fp8") * 1e6 == pytest.approx(row.latency_us)
    for (shape, tp), table in reference.decode.items():
        bound = kernels.attention(shape, tp)
        for row in table.rows:
            seconds = bound.decode_seconds(row.batch_size, row.batch_size * row.kv_len)
            assert seconds * 1e6 == pytest.approx(row.latency_us)
    for shape, table in reference.prefill.items():
        for row in table.rows:
            assert kernels.attention(shape).prefill_seconds(0, row.seq_len) * 1e6 == pytest.approx(row.latency_us)
