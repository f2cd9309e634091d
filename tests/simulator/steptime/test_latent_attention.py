"""Multi-head latent attention, first dense layers and shared experts: worked out by hand from DeepSeek-V3's shape."""

from __future__ import annotations

import pytest

from simulator.errors import UnsupportedError
from simulator.hardware import load_hardware
from simulator.kernels.analytic import load_analytic
from simulator.model_files import load_model
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.matrices import layer_matrices
from simulator.steptime.named import roofline
from simulator.steptime.physics import kernels_per_layer
from simulator.steptime.roofline_check import RooflineObserver
from simulator.steptime.traffic import DynamicTraffic, Weights, gemm_flops_per_token
from tests.paths import ROOT
from tests.simulator.steptime.support import V1_PARAMETERS, BentKernels, step_time

H200, B200 = (load_hardware(ROOT / "configs" / "hardware" / f"{name}.yaml") for name in ("h200-sxm", "b200-sxm"))
DEEPSEEK, KIMI = (load_model(ROOT / "configs" / "models" / f"{name}.json") for name in ("deepseek-v3", "kimi-k2.5"))
CURVES = load_analytic(ROOT / "configs" / "kernels" / "h100" / "analytic.yaml")
PHYSICS = {"family": "calibrated_physics"}
BANDWIDTH, BF16 = 4.8e12, 989.5e12


def term(of, tp, batch, name):
    explained = step_time(PHYSICS, of=of, tp=tp, on=H200).explain(batch)
    return next(found.us for found in explained.terms if found.name == name)


@pytest.mark.parametrize("tp", [1, 8])
def test_decode_reads_576_values_per_token_and_layer_on_every_gpu(tp):
    took = term(KIMI, tp, Batch(decode=(9_999,) * 4), "decode attention")
    reading = 40_000 * 61 * 576 * 2 / BANDWIDTH * 1e6
    absorbed = 40_000 * 61 * 64 * 2 * (576 + 512) / BF16 / tp * 1e6
    assert took == pytest.approx(max(reading, absorbed))
    assert reading > absorbed


def test_decode_with_many_heads_and_an_eight_bit_cache_on_one_gpu_is_bound_by_its_flops():
    took = term(DEEPSEEK.with_kv_cache("fp8"), 1, Batch(decode=(9_999,)), "decode attention")
    assert took == pytest.approx(10_000 * 61 * 128 * 2 * (576 + 512) / BF16 * 1e6)


def test_prefill_attends_in_heads_of_192_and_128_and_makes_those_of_the_past_from_latents():
    pairs = 61 * 128 * 2 * (192 + 128)
    first = term(DEEPSEEK, 8, Batch(prefill=((0, 4096),)), "prefill attention")
    assert first == pytest.approx(pairs * 4096 * 2048 / BF16 / 8 * 1e6)
    second = term(DEEPSEEK, 8, Batch(prefill=((4096, 4096),)), "prefill attention")
    again = 61 * 2 * 512 * 128 * (128 + 128) * 4096
    assert second == pytest.approx((pairs * 4096 * (4096 + 2048) + again) / BF16 / 8 * 1e6)


def test_projections_to_latents_are_whole_on_every_gpu_and_the_others_split():
    whole = 61 * 7168 * (1536 + 576)
    assert Weights(DEEPSEEK, parallel=8).bytes(1) - Weights(DEEPSEEK).bytes(1) == 7 * whole
    assert gemm_flops_per_token(DEEPSEEK, tp=8) - gemm_flops_per_token(DEEPSEEK) == 7 * 2 * whole
    unfused, fused = (layer_matrices(DEEPSEEK, fused_qkv=joined) for joined in (False, True))
    assert sum(m.elements * m.layers for m in unfused) == sum(m.elements * m.layers for m in fused)
    assert [m.shard(8) == m for m in fused if m.name == "projections to latents"] == [True]


def test_one_decode_reads_its_experts_the_shared_one_and_the_dense_layers():
    attention = 61 * (7168 * (1536 + 576) + 1536 * 128 * 192 + 512 * 128 * 256 + 128 * 128 * 7168)
    experts, dense = 58 * 9 * 3 * 7168 * 2048, 3 * 3 * 7168 * 18432
    assert Weights(DEEPSEEK).bytes(1) == pytest.approx(attention + experts + dense)


def test_kv_traffic_is_that_of_every_gpu():
    one, eight = (DynamicTraffic(DEEPSEEK, tp=tp).decode(1, 0)[0] for tp in (1, 8))
    assert (one, eight) == (61 * 576 * 2, 8 * 61 * 576 * 2)


def test_latents_and_mixed_layers_have_kernels_of_their_own():
    plain = DEEPSEEK.model_copy(update={"kv_lora_rank": None, "first_k_dense_replace": 0})
    assert kernels_per_layer(DEEPSEEK) == kernels_per_layer(plain) + 5
    half = DEEPSEEK.model_copy(update={"first_k_dense_replace": 30})
    assert kernels_per_layer(half) < kernels_per_layer(DEEPSEEK)


@pytest.mark.parametrize(("of", "gpu"), [(DEEPSEEK, H200), (KIMI, H200), (KIMI, B200)])
@pytest.mark.parametrize("named", [None, "roofline"])
def test_no_step_is_faster_than_the_gpu_and_explained_steps_agree(of, gpu, named):
    options = PHYSICS if named is None else roofline(of, gpu)
    priced = step_time(options, of=of, tp=8, on=gpu, kernels=CURVES.on(gpu))
    observed = RooflineObserver(priced, of, gpu, 8)
    for batch in (
        Batch(decode=(2_000,) * 64),
        Batch(decode=(50_000,)),
        Batch(prefill=((0, 8192),)),
        Batch(prefill=((8192, 2048),), decode=(300,) * 8),
    ):
        sums = BatchSums.of(batch, priced.kv_breakpoints)
        assert observed.step_time_us(sums) == priced.explain(batch).total_us
    assert 1 <= observed.fastest < 10
    if named:
        lone = priced.step_time_us(BatchSums.of(Batch(decode=(2_000,)), priced.kv_breakpoints))
        assert priced.lone_decode_times_us([2_000]) == [lone]


def test_families_that_do_not_describe_latents_refuse_them():
    v1 = {"family": "calibrated_roofline", "variant": "v1_a", "parameters": V1_PARAMETERS}
    with pytest.raises(UnsupportedError, match="the calibrated roofline does not describe"):
        step_time(v1, of=KIMI, on=H200)
    with pytest.raises(UnsupportedError, match="needs fitted curves in seconds"):
        step_time({"mfu": {"kind": "kernels"}}, of=DEEPSEEK, on=H200, kernels=BentKernels())
    by_length = {"mfu": {"kind": "kernels", "style": "mfu"}}
    with pytest.raises(UnsupportedError, match="needs fitted curves in seconds"):
        step_time(by_length, of=DEEPSEEK, on=H200, kernels=CURVES.on(H200))
