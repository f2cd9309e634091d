"""The synthetic half of the programme on the kernels the project ships."""

from __future__ import annotations

import pytest

from roofline_lab.hypotheses.arms import differences
from roofline_lab.hypotheses.synthetic.resolve import hardware_of, methods_of, resolve_arms
from roofline_lab.report.synthetic import render_row_report
from roofline_lab.vocabulary import CriterionResult, Reproduction, Status

IDS = (
    "h6_mfu_interpolation",
    "h7_mixed_batch_max",
    "h8_decode_max_kv",
    "h9_prefill_bucketing",
    "h10_decode_mfu_shape",
    "h11_gemm_below_grid",
    "h12_activation_discount",
    "h13_bilinear_mfu",
    "h14_kv_bandwidth",
    "h15_lm_head",
    "h16_weighted_decode_mfu",
    "h17_gemm_weight_floor",
    "h18_activation_invariants",
    "h37_additive_seams",
)
OLD_NUMBERS = {
    "h7": "H27",
    "h8": "H28",
    "h9": "H29",
    "h10": "H33",
    "h11": "H34",
    "h12": "H35",
    "h13": "H30",
    "h14": "H31",
    "h15": "H32",
}


def test_every_synthetic_hypothesis_is_there(lab):
    assert sorted(lab.synthetic) == sorted(IDS)


def test_the_old_numbers_are_aliases(lab):
    aliases = {name.split("_")[0]: one.aliases for name, one in lab.synthetic.items()}
    assert all(old in aliases[name] for name, old in OLD_NUMBERS.items())


def test_hypotheses_are_listed_in_the_order_of_their_numbers(lab):
    own = [name for name in lab.names if name in IDS]
    assert own == list(IDS)


@pytest.mark.parametrize("hypothesis", IDS)
def test_every_page_renders_with_a_figure_and_every_point_has_its_numbers(lab, shipped, hypothesis):
    report = shipped(hypothesis)
    assert all(not method.table.unmeasured() for method in report.methods)
    files = render_row_report(lab, report)
    assert any(name.endswith(".svg") for name in files)


@pytest.mark.parametrize("hypothesis", IDS)
def test_without_the_measured_tables_no_published_number_counts_as_missed(shipped, hypothesis):
    assert all(comparison.verdict is not Reproduction.NOT_REPRODUCED for comparison in shipped(hypothesis).comparisons)


@pytest.mark.parametrize("hypothesis", IDS)
def test_no_step_implies_a_rate_above_the_peak(shipped, hypothesis):
    for method in shipped(hypothesis).methods:
        assert all(share <= 1 + 1e-6 for share, _ in method.peak_shares.values())


@pytest.mark.parametrize("hypothesis", IDS)
def test_the_first_arm_differs_from_the_others_in_what_is_declared(lab, hypothesis):
    spec = lab.synthetic[hypothesis]
    for method in methods_of(lab, spec):
        first, *others = resolve_arms(spec, method)
        for other in others:
            found = differences(first, other)
            assert found
            assert all(any(key == name or key.startswith(f"{name}.") for name in spec.varied) for key in found)


def test_the_earlier_runs_rounded_the_peak_and_the_specs_say_so(lab):
    hardware = hardware_of(lab, lab.synthetic["h8_decode_max_kv"])
    assert hardware.peak_flops == 989e12
    assert lab.hardware("h100-sxm").peak_flops == 989.5e12
    assert hardware.dense_bf16_tflops.source != lab.hardware("h100-sxm").dense_bf16_tflops.source


def test_bucketing_is_refuted_by_its_own_rule(shipped):
    for method in shipped("h9_prefill_bucketing").methods:
        assert method.verdict.status is Status.REFUTED
        assert method.verdict.criteria[0].observed < 1.05


def test_the_maximum_is_not_confirmed_because_its_rule_was_never_measured(shipped):
    verdict = shipped("h7_mixed_batch_max").headline.verdict
    results = {criterion.id: criterion.result for criterion in verdict.criteria}
    assert verdict.status is Status.INCONCLUSIVE
    assert results["end_to_end_error"] is CriterionResult.NOT_MEASURED
    assert results["average_is_faster"] is CriterionResult.PASS


def test_the_branch_that_leans_to_decode_was_never_exercised(shipped):
    controls = {control.id: control for control in shipped("h7_mixed_batch_max").headline.verdict.controls}
    assert controls["every_branch_is_exercised"].result is CriterionResult.FAIL
    assert controls["every_branch_is_exercised"].observed == 0


def test_a_table_is_needed_for_the_gemm_to_fall_with_the_batch(shipped):
    status = {method.method: method.verdict.status for method in shipped("h11_gemm_below_grid").methods}
    assert status == {"embedded": Status.REFUTED, "tabulated": Status.CONFIRMED}


def test_a_batch_of_equal_lengths_already_differs_from_request_by_request(shipped):
    for method in shipped("h10_decode_mfu_shape").methods:
        assert method.verdict.status is Status.CONFIRMED_WITH_NUANCE


def test_the_kv_discount_reaches_memory_time_and_no_step(shipped):
    for method in shipped("h14_kv_bandwidth").methods:
        cells = [row.cells for row in method.table.rows]
        assert max(cell["memory_change"] for cell in cells) > 10
        assert max(cell["step_change"] for cell in cells) < 0.1
