"""What the KV cache costs: its type, and the heads a tensor-parallel group holds more than once."""

from __future__ import annotations

import pytest

from simulator.steptime.batch import Batch
from tests.simulator.steptime.support import V1_PARAMETERS, BentKernels, model, step_time

LONG = Batch(decode=(8000,) * 16)
MEMORY_ALONE = {"compute_term": False, "kv_read_fraction": {"prefill": 1.0, "decode": 1.0}}


def test_an_fp8_cache_has_half_the_bytes_and_auto_those_of_activations():
    assert model().kv_bytes_per_token == 2 * 4 * 256 * 2
    assert model().with_kv_cache("fp8").kv_bytes_per_token == 4 * 256 * 2
    assert model(torch_dtype="float32").kv_bytes_per_token == 2 * 4 * 256 * 4
    assert model(torch_dtype="float32").with_kv_cache("bfloat16").kv_value_bytes == 2


@pytest.mark.parametrize("family", ["mfu_roofline", "calibrated_roofline"])
def test_every_roofline_moves_half_the_kv_bytes_of_an_fp8_cache(family):
    options = {"family": family} | ({"parameters": V1_PARAMETERS} if family == "calibrated_roofline" else {})
    whole, half = (
        step_time(options, of=one).explain(LONG).decode.kv_bytes for one in (model(), model().with_kv_cache("fp8"))
    )
    assert half == pytest.approx(whole / 2)


@pytest.mark.parametrize(("options", "fixed_s"), [({"style": "seconds"}, 4 * 5e-6), ({"style": "mfu"}, 0.0)])
def test_decode_kernels_timed_on_a_bf16_cache_answer_for_the_bytes_an_fp8_cache_has(options, fixed_s):
    whole, half = (
        step_time({"mfu": {"kind": "kernels", **options}}, of=one, kernels=BentKernels()).explain(LONG)
        for one in (model(), model().with_kv_cache("fp8"))
    )
    assert half.decode.attention_s - fixed_s == pytest.approx((whole.decode.attention_s - fixed_s) / 2)


def test_the_physical_model_reads_an_fp8_cache_in_half_the_time():
    whole, half = (
        step_time({"family": "calibrated_physics"}, of=one).explain(LONG)
        for one in (model(), model().with_kv_cache("fp8"))
    )
    terms = [{term.name: term.us for term in cost.terms}["decode attention"] for cost in (whole, half)]
    assert terms[1] == pytest.approx(terms[0] / 2)


def test_kv_is_not_split_over_more_gpus_than_it_has_heads_where_gpus_hold_whole_heads():
    def kv_bytes(split, tp):
        return step_time({**MEMORY_ALONE, "kv_split": split}, tp=tp).explain(LONG).decode.kv_bytes

    assert kv_bytes("by_head", 2) == kv_bytes("even", 2)
    assert kv_bytes("by_head", 8) == kv_bytes("by_head", 2)
    assert kv_bytes("even", 8) == pytest.approx(kv_bytes("even", 2) / 4)
