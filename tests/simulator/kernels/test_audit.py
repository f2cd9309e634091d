"""The audit: it must find by itself how the tables were made, and every defect put into one."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import TableError
from simulator.kernels.analytic import load_analytic
from simulator.kernels.audit import audit, audit_tables, render
from simulator.kernels.base import AttentionShape
from simulator.kernels.conventions import (
    ALL_HEADS,
    CAUSAL_HALF,
    FULL_SQUARE,
    ONE_GPU,
    Sample,
    decode_sample,
    gemm_sample,
    infer_denominator,
    prefill_sample,
)
from simulator.kernels.tables import DecodeRow, GemmRow, KernelTables, PrefillRow, Table
from simulator.kernels.tabulated import tabulate, write_tables
from tests.paths import ROOT
from tests.simulator.kernels.folder import write_folder

KERNELS = load_analytic(ROOT / "configs" / "kernels" / "h100" / "analytic.yaml")
SAMPLED = tabulate(KERNELS)
LLAMA = AttentionShape(32, 32, 128)

# Sample rows printed in the plan review of the upstream MFU roofline (sizes, microseconds, MFU).
REVIEW_PREFILL = [
    (1024, 45.85, 1.266),
    (4096, 219.951, 4.222),
    (8192, 771.621, 4.814),
    (16384, 3107.445, 4.782),
    (32768, 12628.475, 4.706),
]
REVIEW_GEMM = [
    (8, 8.878, 0.023),
    (64, 8.682, 0.187),
    (256, 11.402, 0.571),
    (1024, 25.552, 1.019),
    (4096, 90.913, 1.146),
]


def _prefill_samples(rows, shape=LLAMA):
    return [prefill_sample(shape, PrefillRow("bf16", s, us, mfu, 0)) for s, us, mfu in rows]


def test_prefill_samples_above_one_were_divided_by_the_peak_of_another_gpu():
    found = infer_denominator(_prefill_samples(REVIEW_PREFILL))
    assert found.tflops == 148.0
    assert found.known.name == "H20 BF16 dense"
    assert found.chosen.counting == CAUSAL_HALF
    assert found.chosen.agreeing == 5
    assert "5 rows have MFU above 1" in found.reasons[-1]
    assert "H100 SXM BF16 dense" in found.reasons[-1]


@pytest.mark.parametrize("row", REVIEW_PREFILL)
def test_one_prefill_sample_is_enough_to_recognise_148(row):
    assert infer_denominator(_prefill_samples([row])).tflops == 148.0


def test_gemm_samples_above_one_were_fp8_kernels_divided_by_the_bf16_peak():
    found = infer_denominator([gemm_sample(GemmRow(m, 2048, 6144, us, mfu, 0)) for m, us, mfu in REVIEW_GEMM])
    assert found.tflops == 989.5
    assert "2 rows have MFU above 1: the kernel reaches 1134 TFLOPS" in found.reasons[-1]
    assert "H100 SXM FP8 dense" in found.reasons[-1]
    assert "BF16" not in found.reasons[-1].split("possible on")[1].replace("B200 BF16", "")


def test_decode_over_one_gpu_and_over_all_are_told_apart_by_several_tp_degrees():
    for counting in (ONE_GPU, ALL_HEADS):
        samples = []
        for tp in (1, 2, 4):
            for batch in (16, 64, 256):
                row = DecodeRow("bf16", "bf16", batch, 4096, 100.0 * batch / tp, 0.0, 0)
                plain = decode_sample(LLAMA, tp, row)
                mfu = round(plain.tflops(counting) / 312.0, 3)
                samples.append(Sample(plain.flops, plain.latency_us, mfu, "bf16"))
        found = infer_denominator(samples)
        assert (found.chosen.counting, found.chosen.agreeing) == (counting, 9)
        assert found.chosen.low_tflops <= 312.0 <= found.chosen.high_tflops


@given(
    peak=st.floats(50, 5000),
    rows=st.lists(st.tuples(st.integers(256, 65536), st.floats(0.05, 1.5)), min_size=1, max_size=20),
    counting=st.sampled_from([CAUSAL_HALF, FULL_SQUARE]),
)
def test_the_true_denominator_is_always_inside_an_admitted_interval(peak, rows, counting):
    samples = []
    for seq_len, mfu in rows:
        flops = prefill_sample(LLAMA, PrefillRow("bf16", seq_len, 1.0, 0.0, 0)).flops
        samples.append(Sample(flops, flops[counting] / (mfu * peak * 1e6), round(mfu, 3), "bf16"))
    found = infer_denominator(samples)
    candidate = next(c for c in (found.chosen, *found.others) if c.counting == counting)
    assert candidate.agreeing == len(rows)
    assert candidate.low_tflops <= peak * (1 + 1e-9)
    assert candidate.high_tflops >= peak * (1 - 1e-9)


def test_rows_of_zeros_leave_the_denominator_open_upwards():
    row = DecodeRow("bf16", "bf16", 1, 256, 23.0, 0.0, 0)
    found = infer_denominator([decode_sample(LLAMA, 1, row)])
    assert math.isinf(found.chosen.high_tflops)
    assert math.isfinite(found.tflops)


def test_samples_counted_differently_or_none_are_refused():
    with pytest.raises(ValueError, match="at least one row"):
        infer_denominator([])
    with pytest.raises(ValueError, match="same ways"):
        infer_denominator([Sample({"a": 1.0}, 1.0, 0.1), Sample({"b": 1.0}, 1.0, 0.1)])


# Whole folders -----------------------------------------------------------------------------------


def test_clean_sampled_tables_are_recognised_and_have_nothing_wrong():
    report = audit(SAMPLED)
    assert {family.kernel: family.denominator.tflops for family in report.families} == {
        "gemm": 1979.0,
        "prefill_attention": 989.5,
        "decode_attention": 989.5,
    }
    assert report.family("prefill_attention").denominator.chosen.counting == CAUSAL_HALF
    assert report.family("decode_attention").denominator.chosen.counting == ONE_GPU
    for family in report.families:
        assert family.count("disagreeing") == family.count("above_peak") == family.count("falling") == 0
    assert report.family("decode_attention").count("warm_up") == 0
    assert report.family("decode_attention").count("zero") > 10


@pytest.fixture
def damaged(tmp_path):
    """Return a function that edits one line of one sampled table and audits the folder."""
    write_tables(SAMPLED, tmp_path)

    def edit(path, line, old, new):
        file = tmp_path / path
        lines = file.read_text().split("\n")
        assert old in lines[line - 1]
        lines[line - 1] = lines[line - 1].replace(old, new)
        file.write_text("\n".join(lines))
        return audit_tables(tmp_path)

    return edit


def _table(report, kernel, path):
    return next(table for table in report.family(kernel).tables if table.path == path)


def _line_of(table, key):
    return next(row for row in table.rows if row.key == key)


def test_a_wrong_mfu_is_flagged_with_its_line_and_the_right_value(damaged):
    row = _line_of(SAMPLED.gemm, (4096, 4096, 11008))
    report = damaged("gemm/h100/data.csv", row.line, f",{row.mfu}", f",{row.mfu + 0.01:.3f}")
    table = _table(report, "gemm", "gemm/h100/data.csv")
    assert table.disagreeing == (row.line,)
    assert table.recomputed == pytest.approx((row.mfu,), abs=0.0005)
    assert f"line {row.line}: latency and shape give {row.mfu:.3f}" in render(report)


def test_a_row_faster_than_the_memory_is_flagged(damaged):
    row = _line_of(SAMPLED.decode[(LLAMA, 1)], (64, 16384))
    report = damaged(
        "mha/decode/h100/32-32-128-tp1.csv", row.line, str(row.latency_us), str(round(row.latency_us / 4, 3))
    )
    table = _table(report, "decode_attention", "mha/decode/h100/32-32-128-tp1.csv")
    assert row.line in table.above_peak
    assert row.line in table.disagreeing
    assert row.line in table.falling


def test_a_missing_cell_is_a_hole(tmp_path):
    write_tables(SAMPLED, tmp_path)
    path = tmp_path / "mha/decode/h100/32-8-128-tp1.csv"
    path.write_text(
        "\n".join(line for line in path.read_text().split("\n") if not line.startswith("bf16,bf16,32,8192,"))
    )
    gemm = tmp_path / "gemm/h100/data.csv"
    gemm.write_text("\n".join(line for line in gemm.read_text().split("\n") if not line.startswith("64,2048,6144,")))
    report = audit_tables(tmp_path)
    assert "batch_size=32 kv_len=8192" in _table(report, "decode_attention", "mha/decode/h100/32-8-128-tp1.csv").holes
    assert report.family("gemm").tables[0].holes == ("m=64 k=2048 n=6144",)


def test_an_unknown_denominator_is_reported_as_such(tmp_path):
    report = audit_tables(write_folder(tmp_path))
    assert report.family("gemm").denominator.rows == 4
    text = render(report)
    assert "GPU 'toy'" in text


NUMBER = st.floats(1e-3, 1e9)


@settings(max_examples=50, deadline=None)
@given(
    gemm=st.lists(
        st.tuples(st.integers(1, 10**6), NUMBER, st.floats(0, 10)), min_size=1, max_size=5, unique_by=lambda row: row[0]
    ),
    decode=st.lists(
        st.tuples(st.integers(1, 600), NUMBER, st.floats(0, 10)), min_size=1, max_size=5, unique_by=lambda row: row[0]
    ),
)
def test_any_readable_table_can_be_audited_and_printed(gemm, decode):
    shape = AttentionShape(8, 2, 64)
    tables = KernelTables(
        "here",
        "h20",
        Table("g", "0", tuple(GemmRow(m, m, 7, us, mfu, line) for line, (m, us, mfu) in enumerate(gemm, 2))),
        {
            shape: Table(
                "p", "0", tuple(PrefillRow("bf16", s, us, mfu, line) for line, (s, us, mfu) in enumerate(gemm, 2))
            )
        },
        {
            (shape, 2): Table(
                "d",
                "0",
                tuple(DecodeRow("fp8", "fp8", b, 9, us, mfu, line) for line, (b, us, mfu) in enumerate(decode, 2)),
            )
        },
    )
    assert render(audit(tables)).startswith("Kernel tables of GPU 'h20'")
    assert json.loads(render(audit(tables), "json"))["gpu"] == "h20"


def test_an_audit_of_something_else_is_a_clean_refusal(tmp_path):
    with pytest.raises(TableError):
        audit_tables(tmp_path)


def test_the_renderings_repeat_and_the_json_is_complete():
    report = audit(SAMPLED)
    assert render(report) == render(audit(SAMPLED))
    content = json.loads(render(report, "json"))
    assert [family["kernel"] for family in content["families"]] == ["gemm", "prefill_attention", "decode_attention"]
    assert content["families"][2]["totals"]["rows"] == sum(len(t.rows) for t in SAMPLED.decode.values())
    assert "Infinity" not in render(report, "json")


# Reference tables --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(shared_dir):
    return audit_tables(shared_dir / "bench_data")


@pytest.mark.parametrize(
    ("kernel", "tflops", "low", "high", "rows"),
    [
        ("gemm", 1979.0, 1978.93, 1979.02, 112),
        ("prefill_attention", 989.5, 989.48, 989.54, 30),
        ("decode_attention", 989.5, 989.40, 989.66, 755),
    ],
)
def test_the_reference_denominators_are_found_and_no_row_disagrees(reference, kernel, tflops, low, high, rows):
    family = reference.family(kernel)
    assert family.denominator.tflops == tflops
    assert family.denominator.chosen.low_tflops == pytest.approx(low, abs=0.01)
    assert family.denominator.chosen.high_tflops == pytest.approx(high, abs=0.01)
    assert family.denominator.chosen.agreeing == family.rows == rows
    assert family.count("disagreeing") == family.count("above_peak") == 0


def test_the_reference_gemm_is_recognised_as_fp8_and_bf16_as_an_assumption(reference):
    text = " ".join(reference.family("gemm").conclusions)
    assert "FP8-class kernel: 1286 TFLOPS" in text
    assert "would reach 1.30" in text
    assert "2 x the measured latency" in text


def test_the_reference_prefill_counts_half_so_that_1_8_overprices_by_11_percent(reference):
    family = reference.family("prefill_attention")
    assert family.denominator.chosen.counting == CAUSAL_HALF
    assert "1.111 x the measured latency (+11.1 %)" in " ".join(family.conclusions)
    assert family.count("launch_bound") == 6


def test_the_reference_decode_defects_are_all_found(reference):
    family = reference.family("decode_attention")
    assert family.denominator.chosen.counting == ONE_GPU
    assert family.count("zero") == 17
    assert family.count("warm_up") == 18
    assert family.count("falling") == 21
    assert (family.rounding.over_5_pct_rows, family.rounding.over_10_pct_rows) == (168, 65)
    assert family.rounding.max_pct == pytest.approx(78, abs=1)
    assert "3.14-3.22 TB/s" in " ".join(family.conclusions)
    assert "94-96 % of 3.35" in " ".join(family.conclusions)
    holes = {table.path.split("/")[-1]: len(table.holes) for table in family.tables}
    assert holes["40-40-128-tp1.csv"] == holes["40-40-128-tp4.csv"] + 7
    assert holes["40-40-128-tp2.csv"] == holes["32-32-128-tp1.csv"] == holes["40-40-128-tp4.csv"] + 2
