"""A calibration of several GPUs: which effects act where, and what they mean together."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.errors import ConfigError
from simulator.hardware import load_hardware
from simulator.model_files import load_model
from simulator.steptime.fleet import (
    Where,
    below_one,
    conditions_of,
    constants_on,
    fleet_options,
    load_fleet,
    weight_kind,
)

ROOT = Path(__file__).resolve().parents[3]
FLEET = ROOT / "configs" / "calibration" / "vllm_fleet.yaml"


def model(name):
    return load_model(ROOT / "configs" / "models" / f"{name}.json")


def gpu(name):
    return load_hardware(ROOT / "configs" / "hardware" / f"{name}.yaml")


def on(name="llama-3.3-70b-instruct-fp8", hardware="h100-sxm", **more):
    return conditions_of(model(name), gpu(hardware), **{"schedule_ahead": True, **more})


@pytest.mark.parametrize(
    ("name", "hardware", "kind"),
    [
        ("qwen3-32b", "h100-sxm", "16_bit"),
        ("llama-3.3-70b-instruct-fp8", "b200-sxm", "fp8_matrix"),
        ("minimax-m2.5", "h200-sxm", "fp8_block"),
        ("kimi-k2.5", "h200-sxm", "widened"),
        ("kimi-k2.5-nvfp4", "b200-sxm", "fp4"),
        ("kimi-k2.5-nvfp4", "h200-sxm", "widened"),
        ("gpt-oss-120b", "h100-sxm", "widened"),
        ("gpt-oss-120b", "b200-sxm", "fp4"),
    ],
)
def test_weights_are_told_apart_by_how_they_reach_the_units_that_multiply_them(name, hardware, kind):
    assert weight_kind(model(name), gpu(hardware)) == kind


@pytest.mark.parametrize(
    ("where", "more", "holds"),
    [
        ({"gpus": ("h100-sxm",)}, {}, True),
        ({"gpus": ("b200-sxm",)}, {}, False),
        ({"since": "0.15"}, {"software": (0, 10)}, False),
        ({"since": "0.15"}, {"software": (0, 16)}, True),
        ({"since": "0.15"}, {}, True),
        ({"decode_graphs_only": True}, {"graph_mode": "FULL_DECODE_ONLY"}, True),
        ({"decode_graphs_only": True}, {}, False),
        ({"sites": ("here",)}, {"site": "here"}, True),
        ({"sites": ("here",)}, {}, False),
        ({"gpus": ("h100-sxm",), "latent": True}, {}, False),
    ],
)
def test_an_effect_acts_where_all_its_conditions_hold(where, more, holds):
    assert Where(**where).holds(on(**more)) is holds


def test_factors_multiply_the_base_of_their_constant_and_no_other():
    effects = [
        ("layer_us", None, 40.0),
        ("layer_us", Where(gpus=("h100-sxm",)), 0.5),
        ("layer_us", Where(gpus=("b200-sxm",)), 9.0),
        ("request_us", None, 7.0),
    ]
    assert constants_on(on(), effects) == {"layer_us": 20.0, "request_us": 7.0}


def test_no_product_of_factors_lifts_a_share_above_its_peak():
    effects = [("kv_bandwidth_efficiency", None, 0.9), ("kv_bandwidth_efficiency", Where(gpus=("h100-sxm",)), 2.0)]
    assert 0.99 < constants_on(on(), effects)["kv_bandwidth_efficiency"] < 1.0
    assert below_one(0.7) == pytest.approx(0.7, rel=1e-4)


def test_the_host_is_waited_for_by_servers_that_do_not_schedule_ahead_alone():
    constants = {"step_us": 90.0, "host_step_us": 200.0}
    for ahead, step_us in ((True, 90.0), (False, 290.0)):
        there = on(schedule_ahead=ahead)
        options = fleet_options(constants, there, model("llama-3.3-70b-instruct-fp8"), gpu("h100-sxm"))
        assert options.step_us == step_us


def test_the_rate_of_experts_becomes_a_share_of_the_units_that_multiply_them():
    constants = {"expert_gemm_of_16_bit_peak": 0.2}
    kimi, b200, h200 = model("kimi-k2.5-nvfp4"), gpu("b200-sxm"), gpu("h200-sxm")
    narrow = fleet_options(constants, on("kimi-k2.5-nvfp4", "b200-sxm"), kimi, b200)
    wide = fleet_options(constants, on("kimi-k2.5-nvfp4", "h200-sxm"), kimi, h200)
    assert narrow.expert_gemm_efficiency == pytest.approx(0.2 * 2250 / 9000)
    assert wide.expert_gemm_efficiency == 0.2


def test_graphs_of_decodes_alone_hold_no_step_with_prefill():
    assert on().graph_tokens == 512
    assert on(graph_tokens=2048).graph_tokens == 2048
    assert on(graph_mode="full_decode_only", graph_tokens=2048).graph_tokens == 0


def test_the_shipped_fleet_prices_every_shipped_gpu_and_borrows_where_nothing_was_measured():
    fleet = load_fleet(FLEET)
    dense = model("llama-3.3-70b-instruct-fp8")
    for path in sorted((ROOT / "configs" / "hardware").glob("*.yaml")):
        hardware = load_hardware(path)
        if hardware.peak_fp8_flops is None:
            continue
        options = fleet.options(conditions_of(dense, hardware, schedule_ahead=True), dense, hardware)
        assert 0 < options.weight_bandwidth_efficiency < 1
    b200, b300 = (fleet.constants(on(hardware=name)) for name in ("b200-sxm", "b300-sxm"))
    assert b200 == b300


def test_a_file_with_an_effect_twice_or_values_of_none_is_refused_with_all_that_is_wrong(tmp_path):
    text = FLEET.read_text(encoding="utf-8")
    start = text.index("- constant:")
    end = text.index("- constant:", start + 5)
    broken = text[:end] + text[start:end] + text[end:]
    path = tmp_path / "broken.yaml"
    path.write_text(broken.replace("    layer_us: ", "    layer_ms: ", 1), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_fleet(path)
    text = str(refused.value)
    assert "is given twice" in text
    assert "layer_us: missing" in text
    assert "layer_ms: no effect has this name" in text
