"""What a served step costs beside dense work on one GPU: experts in groups, links, losses of tensor parallelism."""

from __future__ import annotations

import pytest

from simulator.errors import ConfigError, UnsupportedError
from simulator.hardware import load_hardware
from simulator.kernels.analytic import load_analytic
from simulator.model_files import load_model
from simulator.steptime.batch import Batch
from tests.paths import ROOT
from tests.simulator.steptime.support import H100, LINKED, BentKernels, model, step_time

MIXTURE = model(num_local_experts=128, num_experts_per_tok=8, moe_intermediate_size=768, hidden_size=2048)
SECONDS = {"mfu": {"kind": "kernels"}}
KERNELS = load_analytic(ROOT / "configs" / "kernels" / "h100" / "analytic.yaml")


def gemm_s(experts: str, batch: Batch, of=MIXTURE) -> float:
    return step_time({**SECONDS, "experts": experts}, of=of, kernels=KERNELS).explain(batch).decode.gemm_s


def test_grouped_experts_cost_their_bytes_and_one_launch_per_matrix():
    fewer, more = gemm_s("one_by_one", Batch(decode=(100,) * 64)), gemm_s("grouped", Batch(decode=(100,) * 64))
    touched = 128 * (1 - (1 - 8 / 128) ** 64)
    launches = (touched - 1) * 3 * 4 * 3.2277e-6
    assert fewer - more == pytest.approx(launches, rel=0.02)
    weights = touched * 3 * 2048 * 768 * 2 * 4
    assert more > weights / 3.35e12


def test_grouped_experts_cost_the_same_as_one_by_one_where_there_is_no_launch():
    """The FLOPs are the same; kernels that know only FLOPs see no difference."""

    class ByFlops(BentKernels):
        def gemm_seconds(self, m, k, n, *, dtype="bf16", phase="prefill"):
            return 2.0 * m * k * n / 1e15

    batch = Batch(decode=(100,) * 33)
    costs = [
        step_time({**SECONDS, "experts": experts}, of=MIXTURE, kernels=ByFlops()).explain(batch).decode.gemm_s
        for experts in ("one_by_one", "grouped")
    ]
    assert costs[1] == pytest.approx(costs[0], rel=1e-12)


def test_a_decode_of_64_requests_through_qwen3_30b_a3b_takes_what_reading_nearly_all_experts_takes():
    """59 GB at the two thirds of 3.35 TB/s that GEMMs were measured to reach; a launch per expert made it 88 ms."""
    hardware = load_hardware(ROOT / "configs" / "hardware" / "h100-sxm.yaml")
    of = load_model(ROOT / "configs" / "models" / "qwen3-30b-a3b.json")
    cost = step_time({**SECONDS, "experts": "grouped"}, of=of, kernels=KERNELS, on=hardware).explain(
        Batch(decode=(100,) * 64)
    )
    assert cost.total_us == pytest.approx(28_000, rel=0.05)


def test_all_reduces_cost_their_latency_and_their_bytes_over_the_link():
    options = {"all_reduce_us": 10.0, "link_efficiency": 0.5}
    cost = step_time(options, on=LINKED, tp=4).explain(Batch(((0, 1000),), (10,) * 24))
    moved = 2 * 3 / 4 * 1024 * 2 * 1024
    assert cost.communication_us == pytest.approx(2 * 4 * (10.0 + moved / (450e9 * 0.5) * 1e6))
    assert step_time(options, on=LINKED).explain(Batch(decode=(5,))).communication_us == 0


def test_bytes_over_links_nobody_described_are_refused_where_there_are_any():
    step_time({"link_efficiency": 0.5}, on=H100)
    with pytest.raises(ConfigError, match="link_bandwidth_gbs is missing"):
        step_time({"link_efficiency": 0.5}, on=H100, tp=2)


def test_a_stated_efficiency_of_a_degree_divides_compute_and_leaves_memory_alone():
    batch = Batch(((0, 2000),))

    def phase(tp, **rule):
        return (
            step_time({"mfu": {"kind": "kernels", "style": "mfu"}, **rule}, kernels=BentKernels(), tp=tp)
            .explain(batch)
            .prefill
        )

    stated = {"tensor_parallel": {"kind": "efficiency", "by_degree": {2: 0.8}}}
    assert phase(2, **stated).compute_s == pytest.approx(phase(2).compute_s / 0.8)
    assert phase(2, **stated).memory_s == phase(2).memory_s
    assert phase(1, **stated) == phase(1)
    with pytest.raises(ConfigError, match=r"states no efficiency at TP 4 \(stated: 2\)"):
        phase(4, **stated)


@pytest.mark.parametrize(
    "name",
    [
        "bandwidth_efficiency",
        "prefill_bandwidth_efficiency",
        "decode_bandwidth_efficiency",
        "kv_bandwidth_efficiency",
    ],
)
def test_an_efficiency_of_0_means_that_none_applies_as_if_it_were_absent(name):
    batch = Batch(((0, 2000),), (900,) * 4)
    zero, absent, stated = (
        step_time({"compute_term": False, **options}).explain(batch).total_us
        for options in ({name: 0}, {}, {name: 0.5})
    )
    assert zero == absent
    assert stated > absent


@pytest.mark.parametrize(("quantization", "share"), [("w8a16", 0.5), ("int4", 0.2578125)])
def test_weights_stored_in_fewer_bits_are_read_in_less_time_and_multiplied_in_16_bits(quantization, share):
    """What LM head and launches cost stays as it is."""
    options = {**SECONDS, "lm_head": True, "lm_head_quantized": False, "fused_qkv": True}

    def cost(tokens, of):
        return step_time(options, of=of, kernels=KERNELS).explain(Batch(decode=(1,) * tokens)).decode.gemm_s

    wide = model(hidden_size=8192, intermediate_size=28672, num_attention_heads=64, head_dim=128)
    narrow = wide.model_copy(update={"quantization": quantization})
    beside = 4 * 5 * 3.2277e-6 + 3.2277e-6 + 8192 * 32000 * 2 / (0.65802 * 3.35e12)
    assert cost(1, narrow) - beside == pytest.approx((cost(1, wide) - beside) * share, rel=0.02)
    assert cost(20_000, narrow) == pytest.approx(cost(20_000, wide), rel=0.02)


def test_tables_hold_no_gemm_of_weights_stored_in_fewer_bits():
    with pytest.raises(UnsupportedError, match=r"stores weights in fewer bits \(int4\)"):
        step_time(SECONDS, of=model().model_copy(update={"quantization": "int4"}), kernels=BentKernels())


def test_the_head_of_a_quantized_model_may_be_priced_in_16_bits():
    fp8 = model(quantization="fp8", vocab_size=128_000)
    on = LINKED.model_copy(update={"dense_fp8_tflops": LINKED.dense_bf16_tflops.model_copy(update={"value": 1979.0})})

    def head_s(*, quantized):
        options = {**SECONDS, "lm_head": True, "lm_head_quantized": quantized}
        built = step_time(options, of=fp8, kernels=KERNELS, on=on)
        return built.parts.decode_gemm.head(1) - 3.2277e-6

    assert head_s(quantized=False) == pytest.approx(2 * head_s(quantized=True), rel=0.02)
