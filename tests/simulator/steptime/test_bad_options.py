"""Options that are wrong or contradict each other: one clear error each, before anything is priced."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import ConfigError, RooflineLabError
from simulator.hardware import Hardware
from simulator.steptime.options import FAMILIES, parse_options
from tests.simulator.steptime.support import step_time

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bandwidth_efficiency": -0.1}, "bandwidth_efficiency: Input should be greater than 0 (got -0.1)"),
        (
            {"mfu": {"kind": "kernels"}, "tensor_parallel": {"kind": "efficiency", "by_degree": {1: 0.9}}},
            "by_degree",
        ),
        ({"bandwidth_efficiency": 1.2}, "bandwidth_efficiency: Input should be less than or equal to 1 (got 1.2)"),
        ({"bandwidth_efficiency": -0.5}, "bandwidth_efficiency"),
        ({"bandwidth_efficiency": NAN}, "bandwidth_efficiency"),
        ({"bandwidth_efficiency": "0.8"}, "bandwidth_efficiency"),
        ({"bandwith_efficiency": 0.8}, "did you mean 'bandwidth_efficiency'?"),
        ({"kv_bandwidth_efficiency": 2.0}, "kv_bandwidth_efficiency"),
        ({"kv_bandwidth_efficiency": 0.5, "kv_bandwidth_growth": {}}, "exclude each other"),
        ({"kv_bandwidth_growth": {"base": 0.8, "gain": 0.3}}, "base + gain must not exceed 1"),
        ({"kv_bandwidth_growth": {"saturation_batch": 0}}, "kv_bandwidth_growth.saturation_batch"),
        ({"mfu": {"kind": "constant", "prefill": 1.5}}, "prefill: Input should be less than or equal to 1"),
        ({"mfu": {"kind": "constant", "decode": 0.0}}, "decode: Input should be greater than 0"),
        ({"mfu": {"kind": "guess"}}, "mfu"),
        ({"causal_divisor": 0.0}, "causal_divisor"),
        ({"causal_divisor": INFINITY}, "causal_divisor"),
        ({"phase_combination": "mean"}, "phase_combination"),
        ({"overhead": {"kind": "fixed", "us": -1.0}}, "overhead.us"),
        ({"overhead": {"kind": "fixed"}}, "us: missing"),
        ({"overhead": {"kind": "sometimes"}}, "overhead"),
        ({"all_reduce_us": NAN}, "all_reduce_us"),
        ({"tensor_parallel": {"kind": "exponent", "prefill": 0.0}}, "tensor_parallel"),
        ({"kv_bucket_edges": [2048, 2048]}, "kv_bucket_edges must be a non-empty ascending list"),
        ({"kv_read_fraction": {"prefill": -0.1, "decode": 1.0}}, "kv_read_fraction.prefill"),
        ({"compute_term": False, "per_component_roofline": True}, "need compute_term: true"),
        ({"compute_term": False, "gemm_memory_floor": True}, "need compute_term: true"),
        ({"mfu": {"kind": "kernels"}, "causal_divisor": 1.8}, "causal_divisor: no effect with mfu.style 'seconds'"),
        ({"mfu": {"kind": "kernels"}, "decode_attention": "max_kv"}, "decode_attention: no effect"),
        ({"mfu": {"kind": "kernels"}}, "needs kernel tables or fitted kernels, and none were given"),
    ],
)
def test_a_wrong_or_contradictory_option_is_one_clear_error(options, message):
    with pytest.raises(ConfigError) as caught:
        step_time(options)
    assert message in str(caught.value)


@pytest.mark.parametrize("family", [None, "mfu_rooflin", 3])
def test_an_unknown_family_lists_the_known_ones(family):
    with pytest.raises(ConfigError, match="allowed: calibrated_physics, calibrated_roofline, linear, mfu_roofline"):
        parse_options({"family": family}, source="arm")


@pytest.mark.parametrize("tp", [0, -2, 1.0])
def test_tensor_parallelism_below_one_is_refused(tp):
    with pytest.raises(ConfigError, match="tensor_parallel: must be a whole number of at least 1"):
        step_time({}, tp=tp)


@pytest.mark.parametrize("value", [0.0, -3.35, NAN, INFINITY])
def test_a_senseless_peak_is_refused_by_name(value):
    with pytest.raises(ConfigError, match=r"memory_bandwidth_tbs\.value"):
        Hardware.from_peaks(989.5, value, source="record")
    with pytest.raises(ConfigError, match=r"dense_bf16_tflops\.value"):
        Hardware.from_peaks(value, 3.35, source="record")


KEYS = sorted({name for family in FAMILIES.values() for name in family.model_fields})
garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "us", "base"]), inner),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(
    family=st.sampled_from(sorted(FAMILIES)),
    options=st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6), garbage, max_size=5),
)
def test_garbage_options_are_only_ever_a_clean_error(family, options):
    with suppress(RooflineLabError):
        step_time({"family": family, **options})
