"""The calibrated roofline: where each of its 17 parameters enters, per variant."""

from __future__ import annotations

import pytest

from simulator.errors import ConfigError
from simulator.steptime.batch import Batch
from simulator.steptime.v1_parameters import NO_EFFECT, V1Parameters
from tests.simulator.steptime.support import V1_PARAMETERS, model, step_time

SMALL = model()
GEMM_PER_TOKEN = 2 * 4 * (1024 * (1024 + 2 * 256) + 1024 * 1024 + 3 * 1024 * 2816)
WEIGHTS = 2 * 4 * (1024 * (1024 + 2 * 256) + 1024 * 1024 + 3 * 1024 * 2816)
PREFILL = Batch(((0, 2000), (100, 500)))
DECODE = Batch(decode=(3000,) * 8)
MIXED = Batch(PREFILL.prefill, DECODE.decode)
STEPS = (PREFILL, DECODE, MIXED)

NAMES = [field.alias for field in V1Parameters.model_fields.values()]

CHANGED = {
    "TFlopsPeak": 500.0,
    "BwPeakTBs": 0.3,
    "BwEffConstant": 0.06,
    "mfuPrefill": 0.3,
    "mfuDecode": 0.001,
    "mfuPrefillMultiplier": 0.5,
    "mfuDecodeMultiplier": 0.001,
    "vectorPeakFraction": 0.01,
    "tpScalingExponent": 0.3,
    "decodeTpScalingExponent": 0.3,
    "prefillBwFactor": 0.005,
    "decodeBwFactor": 0.1,
    "allReduceLatency": 90.0,
    "TOverheadMicros": 500.0,
    "prefillOverheadMicros": 900.0,
    "mixedPrefillOverheadMicros": 700.0,
    "perLayerOverhead": 77.0,
}


def built(variant: str, tp: int = 2, **changes: float):
    options = {"family": "calibrated_roofline", "variant": variant, "parameters": {**V1_PARAMETERS, **changes}}
    return step_time(options, tp=tp)


def durations(variant: str, **changes: float) -> tuple[float, ...]:
    return tuple(built(variant, **changes).explain(batch).unrounded_us for batch in STEPS)


def test_all_17_parameters_are_known_by_the_guides_names():
    assert sorted(NAMES) == sorted(CHANGED)
    assert len(NAMES) == 17


@pytest.mark.parametrize("variant", ["v1_a", "v1_b", "v1_c", "v1_guide"])
@pytest.mark.parametrize("name", sorted(CHANGED))
def test_every_parameter_changes_some_step_or_is_announced_as_idle(variant, name):
    changed = durations(variant, **{name: CHANGED[name]}) != durations(variant)
    announced = f"{name}: no effect in {variant}" in built(variant, **{name: CHANGED[name]}).warnings
    assert announced == (name in NO_EFFECT[variant])
    assert changed != announced


def test_v1_c_prefill_is_gemm_and_attention_over_their_own_rates():
    phase = built("v1_c", tp=4).explain(Batch(((0, 2000),))).prefill
    context = 2000 * 1999 / 2
    speedup = 4**0.8
    vector_flops = 4 * (4 * 1024 + 4 * 8) * context
    assert phase.gemm_s == pytest.approx(GEMM_PER_TOKEN * 2000 / (989.5e12 * 0.65) / speedup)
    assert phase.vector_s == pytest.approx(vector_flops / (989.5e12 * 0.1) / speedup)
    moved = WEIGHTS + 2 * 4 * 256 * 2 * 2000 + 4 * 1024 * 2 * 2000 * 0.85
    assert phase.memory_s == pytest.approx(moved / 4 / (3.35e12 * 0.72))


def test_v1_c_decode_scales_compute_and_memory_with_its_own_exponent():
    linear = built("v1_c", tp=4).explain(DECODE).decode
    steep = built("v1_c", tp=4, decodeTpScalingExponent=0.5).explain(DECODE).decode
    zero = built("v1_c", tp=4, decodeTpScalingExponent=0.0).explain(DECODE).decode
    assert steep.memory_s == pytest.approx(linear.memory_s * 2)
    assert steep.compute_s == pytest.approx(linear.compute_s * 2)
    assert zero == linear


def test_v1_a_counts_attention_products_as_gemm_and_every_byte_in_full():
    phase = built("v1_a", tp=1).explain(DECODE).decode
    context = 8 * 3000
    gemm = GEMM_PER_TOKEN * 8 + 4 * 4 * 1024 * context
    vector = 4 * (5 * 8 * context + 2 * 1024 * 8)
    assert phase.gemm_s == pytest.approx(gemm / (989.5e12 * 0.12))
    assert phase.vector_s == pytest.approx(vector / (989.5e12 * 0.1))
    assert phase.kv_bytes == 2 * 4 * 256 * 2 * (8 + context)
    assert phase.activation_bytes == 4 * 1024 * 2 * 8


def test_v1_a_adds_phases_and_pays_per_step_and_per_layer():
    cost = built("v1_a", tp=2).explain(MIXED)
    assert cost.combined_s == pytest.approx(cost.prefill.seconds + cost.decode.seconds)
    assert cost.overhead_us == 50 + 4 * 5
    assert cost.communication_us == 2 * 4 * 20


@pytest.mark.parametrize("variant", ["v1_b", "v1_c"])
def test_later_variants_pay_per_prefill_request_and_scale_the_step_overhead_with_batch(variant):
    pure, decode, mixed = (built(variant).explain(batch).overhead_us for batch in STEPS)
    assert pure == 50 + 2 * 100
    assert decode == pytest.approx(50 * (1 + 0.15 * 2 * (0.3 + 2)))
    assert mixed == pytest.approx(50 * (1 + 0.15 * 2.321928094887362 * (0.3 + 2 * 8 / 10)) + 2 * 50)


def test_later_variants_combine_phases_by_the_weighted_average():
    cost = built("v1_b").explain(MIXED)
    assert cost.branch == "weighted_average_prefill_dominates"
    assert cost.combined_s == pytest.approx(0.75 * cost.prefill.seconds + 0.25 * cost.decode.seconds)


def test_communication_is_free_on_one_gpu():
    assert built("v1_c", tp=1).explain(DECODE).communication_us == 0


@pytest.mark.parametrize(
    ("name", "value", "bounds"),
    [
        ("BwEffConstant", 0.9, "0.6 to 0.8"),
        ("mfuPrefill", 0.4, "0.5 to 0.7"),
        ("mfuDecode", 0.3, "0.08 to 0.15"),
        ("tpScalingExponent", 0.5, "0.7 to 0.9"),
        ("decodeTpScalingExponent", 0.9, "0.95 to 1"),
        ("mfuPrefillMultiplier", 1.5, "0.8 to 1.2"),
        ("mfuDecodeMultiplier", 0.5, "0.8 to 1.2"),
        ("prefillBwFactor", 0.7, "0.8 to 1"),
        ("decodeBwFactor", 0.6, "0.7 to 1"),
        ("vectorPeakFraction", 0.2, "0.05 to 0.15"),
        ("allReduceLatency", 200.0, "10 to 100"),
    ],
)
def test_a_value_outside_its_documented_range_is_announced(name, value, bounds):
    expected = f"{name}: {value:g} is outside its documented range {bounds}"
    assert expected in built("v1_c", **{name: value}).warnings


def test_a_calibration_beyond_the_hardware_is_announced():
    warnings = built("v1_c", mfuPrefillMultiplier=2.32, decodeTpScalingExponent=1.78).warnings
    assert any("mfuPrefill * mfuPrefillMultiplier = 1.51 exceeds the hardware peak" in w for w in warnings)
    assert any("decodeTpScalingExponent: 1.78 means a speed-up beyond the number of GPUs" in w for w in warnings)


def test_a_peak_that_differs_from_the_gpus_is_announced():
    assert any("TFlopsPeak: 500 differs" in w for w in built("v1_c", TFlopsPeak=500.0).warnings)


def test_the_guides_own_h100_values_raise_no_range_warning():
    assert built("v1_c").warnings == ()


@pytest.mark.parametrize("name", ["TFlopsPeak", "BwPeakTBs", "BwEffConstant", "mfuPrefill", "mfuDecode"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), None])
def test_a_missing_or_senseless_required_parameter_names_field_and_value(name, value):
    parameters = {**V1_PARAMETERS, name: value}
    if value is None:
        del parameters[name]
    with pytest.raises(ConfigError) as caught:
        step_time({"family": "calibrated_roofline", "parameters": parameters})
    assert f"parameters.{name}: " in str(caught.value)
    assert ("missing" if value is None else f"got {value}") in str(caught.value)


def test_a_misspelt_parameter_suggests_the_right_one():
    with pytest.raises(ConfigError, match="did you mean 'mfuPrefill'"):
        step_time({"family": "calibrated_roofline", "parameters": {**V1_PARAMETERS, "mfuPrefil": 0.5}})
