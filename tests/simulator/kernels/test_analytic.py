"""The fitted curves: physics they must obey, files they refuse, and the tables sampled from them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import ConfigError, UnsupportedError
from simulator.hardware import Hardware
from simulator.kernels.analytic import load_analytic
from simulator.kernels.base import AttentionShape, causal_attention_flops, decode_attention_flops, gemm_flops
from simulator.kernels.curves import gemm_bytes
from simulator.kernels.tables import load_tables
from simulator.kernels.tabulated import tabulate, tabulated_kernels, write_tables
from tests.paths import ROOT

FIT = ROOT / "configs" / "kernels" / "h100" / "analytic.yaml"
KERNELS = load_analytic(FIT)
EAGER = load_analytic(FIT, "eager")
BANDWIDTH = 3.35e12

SIZE = st.integers(1, 200_000)
WEIGHT_SIZE = st.integers(1, 60_000)
SHAPE = st.sampled_from(
    [AttentionShape(32, 32, 128), AttentionShape(32, 8, 128), AttentionShape(64, 8, 128), AttentionShape(8, 1, 64)]
)
TP = st.sampled_from([1, 2, 4, 8])
TOKENS = st.integers(1, 200_000)


@given(m=SIZE, k=WEIGHT_SIZE, n=WEIGHT_SIZE, dtype=st.sampled_from(["bf16", "fp8"]))
def test_no_gemm_beats_peak_arithmetic_or_peak_bandwidth(m, k, n, dtype):
    seconds = KERNELS.gemm_seconds(m, k, n, dtype=dtype)
    peak = 989.5e12 if dtype == "bf16" else 1979e12
    assert seconds >= gemm_flops(m, k, n) / peak
    assert seconds >= gemm_bytes(m, k, n, dtype) / BANDWIDTH
    assert 0 < KERNELS.gemm_mfu(m, k, n, dtype=dtype) < 1


@given(m=SIZE, k=WEIGHT_SIZE, n=WEIGHT_SIZE, more=st.integers(1, 1000))
def test_gemm_time_grows_with_every_size(m, k, n, more):
    base = KERNELS.gemm_seconds(m, k, n)
    assert KERNELS.gemm_seconds(m + more, k, n) > base
    assert KERNELS.gemm_seconds(m, k + more, n) > base
    assert KERNELS.gemm_seconds(m, k, n + more) > base


@given(m=SIZE, k=WEIGHT_SIZE, n=WEIGHT_SIZE)
def test_bf16_gemm_takes_between_one_and_two_times_the_fp8_time(m, k, n):
    ratio = KERNELS.gemm_seconds(m, k, n) / KERNELS.gemm_seconds(m, k, n, dtype="fp8")
    assert 1 <= ratio <= 2


@given(shape=SHAPE, tp=TP, past=st.integers(0, 100_000), new=TOKENS, more=st.integers(1, 1000))
def test_prefill_attention_obeys_peaks_and_grows_with_tokens_and_past(shape, tp, past, new, more):
    bound = KERNELS.attention(shape, tp)
    seconds = bound.prefill_seconds(past, new)
    assert seconds >= causal_attention_flops(shape, past, new) / tp / 989.5e12
    assert bound.prefill_seconds(past, new + more) >= seconds
    assert bound.prefill_seconds(past + more, new) >= seconds
    assert 0 < bound.prefill_mfu(new) < 1


@given(shape=SHAPE, tp=TP, batch=st.integers(1, 2000), kv_sum=st.integers(0, 10**8), more=st.integers(1, 10**6))
def test_decode_attention_obeys_peak_bandwidth_and_grows_with_kv(shape, tp, batch, kv_sum, more):
    for kernels in (KERNELS, EAGER):
        bound = kernels.attention(shape, tp)
        seconds = bound.decode_seconds(batch, kv_sum)
        assert seconds >= 4 * kv_sum * max(1, shape.kv_heads / tp) * shape.head_dim / BANDWIDTH
        assert bound.decode_seconds(batch, kv_sum + more) >= seconds
    assert EAGER.attention(shape, tp).decode_seconds(batch, kv_sum) >= KERNELS.attention(shape, tp).decode_seconds(
        batch, kv_sum
    )


@given(shape=SHAPE, tp=TP, batch=st.integers(1, 600), kv=TOKENS)
def test_mfu_and_seconds_styles_agree(shape, tp, batch, kv):
    bound = KERNELS.attention(shape, tp)
    decode = decode_attention_flops(shape, batch * kv) / tp / (989.5e12 * bound.decode_mfu(batch, kv))
    assert decode == pytest.approx(bound.decode_seconds(batch, batch * kv))
    prefill = causal_attention_flops(shape, 0, kv) / tp / (989.5e12 * bound.prefill_mfu(kv))
    assert prefill == pytest.approx(bound.prefill_seconds(0, kv))
    assert KERNELS.gemm_seconds(batch, kv, 64) == pytest.approx(
        gemm_flops(batch, kv, 64) / (989.5e12 * KERNELS.gemm_mfu(batch, kv, 64))
    )


def test_nothing_to_do_takes_no_time_and_zero_tokens_still_have_an_efficiency():
    bound = KERNELS.attention(AttentionShape(32, 32, 128))
    assert bound.decode_seconds(0, 0) == 0.0
    assert bound.prefill_seconds(100, 0) == 0.0
    assert bound.decode_mfu(1, 0) > 0
    assert bound.prefill_mfu(0) > 0


def test_the_decode_curve_says_it_must_be_asked_point_by_point():
    curve = KERNELS.attention(AttentionShape(32, 32, 128)).decode_mfu_curve(4)
    assert (curve.breakpoints, curve.linear) == ((), (False,))


def test_lookups_name_their_curve_and_flag_questions_outside_the_fit():
    assert not KERNELS.gemm_lookup(8, 4096, 11008).extrapolated
    assert KERNELS.gemm_lookup(7, 4096, 11008).extrapolated
    assert KERNELS.gemm_lookup(8, 4096, 22016).extrapolated
    assert KERNELS.gemm_lookup(8, 4096, 11008, dtype="fp8").table == "analytic:gemm:fp8"
    grouped = KERNELS.attention(AttentionShape(32, 8, 128), 2)
    assert grouped.decode_lookup(1, 100).extrapolated
    assert grouped.decode_lookup(1, 1000).table == "analytic:decode_attention_gqa"
    assert (
        KERNELS.attention(AttentionShape(32, 32, 128)).decode_lookup(1, 1000).table == "analytic:decode_attention_mha"
    )
    assert grouped.prefill_lookup(100).extrapolated
    assert grouped.prefill_lookup(2000).match.exact


def test_the_name_says_gpu_launches_and_data():
    digest = KERNELS.fit.provenance.tables_sha256[:12]
    assert KERNELS.name == f"analytic kernels h100 (graph launches, fitted to sha256 {digest})"


def test_a_faster_gpu_shortens_every_kernel_and_is_named():
    faster = Hardware.from_peaks(2000.0, 8.0, source="what-if")
    assert KERNELS.on(faster).peaks.fp8_flops == 2 * faster.peak_flops
    with_fp8 = faster.model_copy(
        update={"id": "b", "dense_fp8_tflops": faster.dense_bf16_tflops.model_copy(update={"value": 4000.0})}
    )
    moved = KERNELS.on(with_fp8)
    assert "on the peaks of b" in moved.name
    assert moved.gemm_seconds(4096, 4096, 4096) < KERNELS.gemm_seconds(4096, 4096, 4096)
    shape = AttentionShape(32, 8, 128)
    assert moved.attention(shape).decode_seconds(8, 80_000) < KERNELS.attention(shape).decode_seconds(8, 80_000)


def test_a_tp_degree_below_one_is_refused():
    with pytest.raises(UnsupportedError, match="at least 1, got 0"):
        KERNELS.attention(AttentionShape(32, 8, 128), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gpu": None}, "gpu"),
        ({"surprise": 1}, "surprise: unknown key"),
        ({"curves": {}}, "curves.gemm: missing"),
        (
            {"peaks": {"bf16_flops": float("nan"), "fp8_flops": 1.0, "bandwidth_bytes_per_s": 1.0, "source": "x"}},
            "peaks.bf16_flops",
        ),
    ],
)
def test_a_broken_fit_file_is_refused_with_file_and_key(tmp_path, change, message):
    path = tmp_path / "analytic.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(FIT.read_text()) | change))
    with pytest.raises(ConfigError) as caught:
        load_analytic(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


# Tables sampled from the curves ------------------------------------------------------------------


def test_sampled_tables_have_the_shapes_and_sizes_of_the_timed_ones():
    tables = tabulate(KERNELS)
    assert len(tables.gemm.rows) == 112
    assert {len(table.rows) for table in tables.prefill.values()} == {5}
    assert sorted({len(table.rows) for table in tables.decode.values()}) == [41, 55]
    assert len(tables.decode) == 18


def test_sampled_tables_hold_the_curve_rounded_as_timed_tables_are():
    row = next(row for row in tabulate(KERNELS).gemm.rows if row.key == (1024, 4096, 11008))
    seconds = KERNELS.gemm_seconds(1024, 4096, 11008, dtype="fp8")
    assert row.latency_us == round(seconds * 1e6, 3)
    assert row.mfu == round(KERNELS.gemm_mfu(1024, 4096, 11008, dtype="fp8"), 3)


def test_zero_rows_arise_by_rounding_and_only_at_batch_one():
    tables = tabulate(KERNELS)
    zeros = [row for table in tables.decode.values() for row in table.rows if row.mfu == 0.0]
    assert len(zeros) > 10
    assert {row.batch_size for row in zeros} == {1}
    assert max(row.kv_len for row in zeros) <= 1024


def test_sampled_tables_survive_writing_and_strict_reading(tmp_path):
    tables = tabulate(KERNELS)
    write_tables(tables, tmp_path)
    again = load_tables(tmp_path)
    assert (again.gemm, again.prefill, again.decode) == (tables.gemm, tables.prefill, tables.decode)
    assert again.sha256 == tables.sha256


def test_sampled_kernels_answer_like_tables_and_name_themselves():
    kernels = tabulated_kernels(KERNELS, "nearest")
    assert kernels.name.startswith("tabulated analytic kernels h100 (nearest")
    assert kernels.gemm_mfu(257, 4096, 11008) == kernels.gemm_mfu(511, 4096, 11008)


def test_sampled_tables_have_the_grid_of_the_reference_tables(shared_dir):
    reference, sampled = load_tables(shared_dir / "bench_data"), tabulate(KERNELS)
    assert {row.key for row in sampled.gemm.rows} == {row.key for row in reference.gemm.rows}
    assert list(sampled.prefill) == list(reference.prefill)
    assert list(sampled.decode) == list(reference.decode)
    for key, table in reference.decode.items():
        missing = {row.key for row in table.rows} - {row.key for row in sampled.decode[key].rows}
        assert missing == set()


def test_kernels_are_imported_without_numpy():
    modules = "simulator.kernels.audit, simulator.kernels.fit, simulator.kernels.tabulated"
    code = f"import sys, {modules}; print('numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
