"""Tables of the calibration report: what is judged, how constants scatter, what hand-set counts are worth."""

from __future__ import annotations

import pytest

from roofline_lab.calibration.constants import BLOCKS_AT_ONCE, BY_NAME, EXTRA_KERNELS, starts, with_extra_kernels
from roofline_lab.calibration.judge import MEANS, judged_table
from roofline_lab.calibration.plan import load_plan
from roofline_lab.report.calibration_tables import (
    KERNEL_VARIANTS,
    constants_table,
    every_point,
    headline,
    kernel_table,
    start_table,
)
from roofline_lab.scoring.table import means
from simulator.model_files import load_model
from simulator.steptime.physics import DENSE_KERNELS, kernels_per_layer
from tests.paths import ROOT

PLAN = load_plan(ROOT, "h100_vllm")


def judged(variant, predicted, *, mixture):
    """Return one load point whose three means are measured as 100 ms."""
    figures = {name: {"predicted": predicted, "measured": 100.0} for name in MEANS}
    return {
        "experiment": "mixture" if mixture else "dense",
        "load_point": "b",
        "family": "F",
        "workload": "general",
        "hardware": "h100",
        "tensor_parallel": 2,
        "side": "client",
        "strategy": "poisson",
        "rate_per_s": 1.0,
        "mixture": mixture,
        "variants": {variant: {"figures": figures}},
    }


def line_of(text, label, constants="held out"):
    (found,) = [
        cells
        for line in text.splitlines()
        if (cells := [cell.strip() for cell in line.strip("|").split("|")])[:2] == [label, constants]
    ]
    return found


def test_dense_models_and_mixtures_are_judged_each_on_their_own():
    points = [judged("held_out", 102.0, mixture=False), judged("held_out", 109.0, mixture=True)]
    text = headline(judged_table(points), PLAN)
    dense = line_of(text, "all client load points, dense")
    mixture = line_of(text, "all client load points, mixture of experts")
    assert [cell.split("(")[1].split(":")[0] for cell in dense[3:]] == ["met", "met", "met"]
    assert [cell.split("(")[1].split(":")[0] for cell in mixture[3:]] == ["met", "missed", "missed"]
    assert mixture[4] == "**9.0 %** (missed: at most 6 %)"


def test_constants_are_listed_with_the_least_and_greatest_of_all_folds():
    whole = starts()
    folds = {str(layer_us): {"values": {**whole, "layer_us": layer_us}} for layer_us in (47.0, 31.0, 40.0)}
    fitted = {
        "in_sample": {"values": whole, "at_bound": {}},
        "intervals": dict.fromkeys(whole, (0.0, 1.0)),
        "held_out": folds,
    }
    (line,) = [line for line in constants_table(fitted).splitlines() if "`layer_us`" in line]
    assert "| 31 to 47 " in line


def test_starts_are_shown_with_more_and_with_less_trust():
    entries = [{"divisor": divisor, "errors": [0.1, 0.1, 0.1]} for divisor in (0.1, 1 / 3, 1.0, 10.0)]
    text = start_table({"start_dependence": entries, "synchronous_start_dependence": []})
    assert [line.split("|")[2].strip() for line in text.splitlines()[2:]] == [
        "10 times more",
        "3 times more",
        "as planned",
        "10 times less",
    ]


def test_another_kernel_count_scales_only_the_launches_of_that_model():
    model = load_model(ROOT / "configs" / "models" / "llama-4-scout-17b-16e-instruct-fp8.json")
    extra = kernels_per_layer(model) - DENSE_KERNELS
    assert extra == 14
    values = starts()
    changed = with_extra_kernels(values, model, 1.5)
    assert changed["layer_us"] == pytest.approx(
        values["layer_us"] * (DENSE_KERNELS + 1.5 * extra) / (DENSE_KERNELS + extra)
    )
    assert {**changed, "layer_us": values["layer_us"]} == values
    assert with_extra_kernels(values, model, 1.0) == pytest.approx(values)


def test_kernel_counts_are_tabled_for_mixtures_alone():
    points = [judged(variant, 90.0 + 10.0 * place, mixture=True) for place, variant in enumerate(KERNEL_VARIANTS)]
    text = kernel_table(judged_table([*points, judged("held_out", 500.0, mixture=False)]))
    assert set(EXTRA_KERNELS) | {"held_out"} == set(KERNEL_VARIANTS)
    assert [line.split("|")[-2].strip() for line in text.splitlines()[2:]] == ["-10.0 %", "+0.0 %", "+10.0 %"]


def test_a_figure_that_was_not_measured_has_no_error():
    point = judged("held_out", 110.0, mixture=False)
    del point["variants"]["held_out"]["figures"]["e2e_mean"]
    table = judged_table([point])
    assert means(table, ["metric"]) == {("ttft_mean",): pytest.approx(10.0), ("itl_mean",): pytest.approx(10.0)}
    assert [cell.strip() for cell in every_point(table).splitlines()[-1].split("|")[4:7]] == ["+10.0 %", "+10.0 %", "–"]


def test_a_request_more_starts_at_one_sampling_block_over_those_that_run_at_once():
    block, request = BY_NAME["sampling_us_per_kilotoken"], BY_NAME["sampling_us_per_kilotoken_request"]
    assert request.start == pytest.approx(block.start / BLOCKS_AT_ONCE)
    assert request.spread / request.start == pytest.approx(block.spread / block.start)
