"""Every published number of the synthetic hypotheses, on the measured tables, to its printed digits.

The tables and the published files are third-party data found through `shared_dir`; with them a
mismatch fails.
"""

from __future__ import annotations

import csv

import pytest

from roofline_lab.vocabulary import CriterionResult, Reproduction, Status
from simulator.steptime.batch import Batch

PUBLISHED = (
    "h6_mfu_interpolation",
    "h7_mixed_batch_max",
    "h8_decode_max_kv",
    "h9_prefill_bucketing",
    "h10_decode_mfu_shape",
    "h11_gemm_below_grid",
    "h12_activation_discount",
)
# The mean of thirty ratios was printed one digit too low: of the ratios themselves, before rounding, it
# rounds to the next digit up. The lengths of two batches were never published.
KNOWN = {
    ("h7_mixed_batch_max", "all", "mean_ratio"),
    ("h10_decode_mfu_shape", "batch/extreme_64x_8req", "ratio"),
    ("h10_decode_mfu_shape", "batch/extreme_64x_16req", "ratio"),
}
MODELS = {
    "llama-2-7b": "llama-2-7b-hf",
    "llama-2-70b": "llama-2-70b-hf",
    "codellama-34b": "codellama-34b-instruct-hf",
    "qwen2.5-7b": "qwen2.5-7b-instruct",
}


def rows(shared_dir, name):
    with (shared_dir / "published" / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cells(measured, hypothesis, key):
    row = measured(hypothesis).headline.table.row(key)
    assert row is not None, key
    return row.cells


def summaries(measured, hypothesis):
    return {
        (number.metric, number.key): number.value for number in measured(hypothesis).numbers if number.scope != "row"
    }


@pytest.mark.parametrize("hypothesis", PUBLISHED)
def test_every_published_cell_comes_out_to_its_printed_digits(measured, hypothesis):
    report = measured(hypothesis)
    assert [method.method for method in report.methods] == ["measured"]
    missed = {
        (hypothesis, comparison.cell.key, comparison.cell.metric)
        for comparison in report.comparisons
        if comparison.verdict is not Reproduction.REPRODUCED
    }
    assert missed == {one for one in KNOWN if one[0] == hypothesis}


def test_nine_of_nine_lookup_sweeps_and_their_total(measured, shared_dir):
    found = summaries(measured, "h6_mfu_interpolation")
    columns = {"points": "points", "distinct": "unique_mfu", "longest_flat": "longest_flat"}
    columns |= {f"jumps_{size}": f"disc_ge{size}" for size in (5, 10, 20)}
    for row in rows(shared_dir, "extra_h6_sweeps.csv"):
        key = "all" if row["sweep"] == "TOTAL" else row["sweep"]
        assert {name: found[name, key] for name in columns} == {
            name: float(row[column]) for name, column in columns.items()
        }, key
        assert round(found["largest_jump", key], 1) == float(row["max_disc_pct"])


def test_thirty_of_thirty_mixed_batches(measured, shared_dir):
    found = measured("h7_mixed_batch_max").headline.table.rows
    ours = sorted(
        tuple(row.cells[name] for name in ("prefill_us", "decode_us", "longer_us", "weighted_us")) for row in found
    )
    theirs = sorted(
        tuple(float(row[name]) for name in ("prefill_only_us", "decode_only_us", "max_us", "wa_us"))
        for row in rows(shared_dir, "extra_h7_cases.csv")
    )
    assert len(ours) == 30
    assert ours == theirs


def test_thirty_two_of_thirty_two_steps_at_the_longest_kv_and_their_counterfactual(measured, shared_dir):
    for row in rows(shared_dir, "extra_h8_steps.csv"):
        ours = cells(measured, "h8_decode_max_kv", f"mix/requests={row['batch_size']}")
        if row["batch"] == "homogeneous":
            assert ours["short_us"] == float(row["published_us"])
            continue
        assert ours["padded_us"] == float(row["published_us"])
        assert ours["summed_us"] == float(row["refmodel_sumflops_us"])
        assert ours["counted"] == float(row["published_attn_flops"]) / 1e9


def test_thirty_three_of_thirty_three_prompt_lengths_with_and_without_the_bucket(measured, shared_dir):
    for row in rows(shared_dir, "extra_h9_sweep.csv"):
        ours = cells(measured, "h9_prefill_bucketing", f"length/tokens={row['seq_len']}")
        assert ours["bucketed_us"] == float(row["published_us"])
        assert ours["actual_us"] == float(row["refmodel_actual_len_us"])
        assert round(ours["ratio"], 4) == float(row["bucketed_over_actual"])


def test_every_ratio_of_a_batch_that_its_name_gives_away(measured, shared_dir):
    for row in rows(shared_dir, "extra_h10_ratios.csv"):
        key = f"batch/{row['scenario']}"
        if ("h10_decode_mfu_shape", key, "ratio") not in KNOWN:
            assert round(cells(measured, "h10_decode_mfu_shape", key)["ratio"], 6) == float(row["ratio"]), key


def test_the_batches_have_the_published_size_longest_length_and_spread(measured_lab, shared_dir):
    from roofline_lab.hypotheses.synthetic.spec import batch_at, points

    sweep = measured_lab.synthetic["h10_decode_mfu_shape"].sweep("batch")
    batches: dict[str, Batch] = {point.label: batch_at(sweep.batches["decode"], point) for point in points(sweep)}
    for row in rows(shared_dir, "extra_h10_ratios.csv"):
        lengths = batches[row["scenario"]].decode
        assert (len(lengths), max(lengths)) == (int(row["bs"]), int(row["max_kv"]))
        assert max(lengths) / min(lengths) == float(row["range"])


def test_gemm_times_of_six_models_with_and_without_the_floor(measured, shared_dir):
    for row in rows(shared_dir, "extra_h11_gemm.csv"):
        model = MODELS.get(row["model"], row["model"])
        ours = cells(measured, "h11_gemm_below_grid", f"models/{model}")
        assert round(ours["gemm_1_us"], 1) == float(row["gemm_bs1_us"])
        assert round(ours["gemm_8_us"], 1) == float(row["gemm_bs8_us"])
        assert round(ours["floor_ratio"], 4) == float(row["refmodel_floor_ratio_bs1_bs8"])
        later = cells(measured, "h17_gemm_weight_floor", f"models/{model}/requests=1")
        assert round(later["ratio"], 4) == float(row["refmodel_floor_ratio_bs1_bs8"])


def test_thirty_six_of_thirty_six_cells_of_the_regime_table(measured, shared_dir):
    printed = {"gemm_us": 1, "attn_us": 1, "memory_us": 1, "step_us": 0}
    ours_of = {"attn_us": "attention_us"}
    compared = 0
    for row in rows(shared_dir, "extra_h11_regime.csv"):
        ours = cells(measured, "h11_gemm_below_grid", f"regime/requests={row['bs']}")
        for name, digits in printed.items():
            assert round(ours[ours_of.get(name, name)], digits) == float(row[name]), (row["bs"], name)
        assert ("MEM" if ours["memory_bound"] else "COMP") == row["regime"]
        compared += len(row)
    assert compared == 36


def test_nine_of_nine_steps_under_the_activation_discount(measured, shared_dir):
    found = rows(shared_dir, "extra_h12_steps.csv")
    for row in found:
        ours = cells(measured, "h12_activation_discount", f"grid/requests={row['bs']}/kv={row['kv']}")
        assert ours["step_us"] == float(row["published_us"])
    assert len(found) == 9
    worst = max(measured("h12_activation_discount").headline.table.rows, key=lambda row: row.cells["shift"])
    assert (worst.key, round(worst.cells["shift"], 4)) == ("grid/requests=4/kv=128", 0.0120)


def test_the_projection_to_the_vocabulary_adds_what_the_reference_says(measured, shared_dir):
    for row in rows(shared_dir, "extra_h15_reference_unpublished.csv"):
        model = MODELS.get(row["model"], row["model"])
        ours = cells(measured, "h15_lm_head", f"decode/{model}/{row['scenario']}")
        assert round(ours["without_us"], 1) == float(row["baseline_us"])
        assert round(ours["with_us"], 1) == float(row["with_lm_head_us"])
        assert round(ours["increase"], 2) == float(row["increase_pct"])
        assert round(ours["weight_share"], 2) == float(row["lm_head_weight_share_pct"])


def test_bilinear_answers_stay_between_their_corners_at_68_points_and_fall_twice_with_length(measured):
    report = measured("h13_bilinear_mfu")
    found = summaries(measured, "h13_bilinear_mfu")
    assert (found["bounded_points", "all"], found["midpoints", "all"]) == (68, 68)
    assert found["falls_with_kv", "all"] == 2
    grid = report.headline.table.of_sweep("rows_of_the_table")
    assert len(grid) == 49
    controls = {control.id: control for control in report.headline.verdict.controls}
    assert controls["no_hole_counts_as_zero"].result is CriterionResult.FAIL


def test_the_kv_discount_reaches_memory_as_the_reference_says(measured):
    assert round(cells(measured, "h14_kv_bandwidth", "batch/1x128")["memory_change"], 2) == 0.02
    assert round(cells(measured, "h14_kv_bandwidth", "batch/4x8192_12x128")["memory_change"], 1) == 5.1
    assert cells(measured, "h14_kv_bandwidth", "batch/4x8192_12x128")["step_change"] == 0


def test_verdicts_on_the_measured_tables(measured):
    status = {name: measured(name).headline.verdict.status for name in PUBLISHED}
    assert status["h9_prefill_bucketing"] is Status.REFUTED
    assert status["h7_mixed_batch_max"] is Status.INCONCLUSIVE
    assert status["h8_decode_max_kv"] is Status.CONFIRMED
    assert status["h11_gemm_below_grid"] is Status.CONFIRMED
