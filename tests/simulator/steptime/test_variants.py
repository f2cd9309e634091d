"""What each option of the MFU roofline changes, and what it leaves alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import UnsupportedError
from simulator.hardware import Hardware
from simulator.steptime.attention import bucket_tokens
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.experts import experts_touched
from simulator.steptime.gemm import layer_matrices
from simulator.steptime.overhead import log_batch_scale
from simulator.steptime.traffic import Weights
from tests.simulator.steptime.support import H100, LLAMA_70B, BentKernels, model, step_time

TABLES = {"mfu": {"kind": "kernels", "style": "mfu"}}
DECODE = Batch(decode=(1000,) * 8)
PREFILL = Batch(((0, 1500),))
MIXED = Batch(((0, 1500),), (1000,) * 8)

FP8_GPU = Hardware.model_validate(
    {
        **H100.model_dump(),
        "dense_fp8_tflops": {"value": 1979.0, "unit": "TFLOPS", "source": "test"},
    }
)


def cost(options: dict, batch: Batch, **build):
    return step_time(options, **build).explain(batch)


def test_bandwidth_efficiency_divides_every_memory_second():
    peak, sustained = cost({}, DECODE), cost({"bandwidth_efficiency": 0.8}, DECODE)
    assert sustained.decode.memory_s == pytest.approx(peak.decode.memory_s / 0.8)
    assert sustained.decode.gemm_s == peak.decode.gemm_s


def test_phase_bandwidth_efficiencies_replace_the_common_one():
    options = {"bandwidth_efficiency": 0.9, "decode_bandwidth_efficiency": 0.5}
    peak, split = cost({}, MIXED), cost(options, MIXED)
    assert split.decode.memory_s == pytest.approx(peak.decode.memory_s / 0.5)
    assert split.prefill.memory_s == pytest.approx(peak.prefill.memory_s / 0.9)


def test_kv_traffic_at_its_own_efficiency_adds_its_own_time():
    peak = cost({}, DECODE).decode
    split = cost({"bandwidth_efficiency": 0.9, "kv_bandwidth_efficiency": 0.5}, DECODE).decode
    streamed = (peak.weight_bytes + peak.activation_bytes) / (3.35e12 * 0.9)
    assert split.memory_s == pytest.approx(streamed + peak.kv_bytes / (3.35e12 * 0.5))


@pytest.mark.parametrize(("requests", "efficiency"), [(1, 0.4 + 0.3 / 64), (32, 0.55), (64, 0.7), (200, 0.7)])
def test_kv_efficiency_grows_with_batch_and_saturates(requests, efficiency):
    batch = Batch(decode=(1000,) * requests)
    grown = cost({"bandwidth_efficiency": 0.9, "kv_bandwidth_growth": {}}, batch).decode
    streamed = (grown.weight_bytes + grown.activation_bytes) / (3.35e12 * 0.9)
    assert grown.memory_s == pytest.approx(streamed + grown.kv_bytes / (3.35e12 * efficiency))


def test_discounts_scale_kv_reads_and_activations_but_not_kv_writes():
    full = {"kv_read_fraction": {"prefill": 1.0, "decode": 1.0}, "activation_fraction": {"prefill": 1.0, "decode": 1.0}}
    none = {"kv_read_fraction": {"prefill": 0.0, "decode": 0.0}, "activation_fraction": {"prefill": 0.0, "decode": 0.0}}
    token = 2 * 4 * 256 * 2
    assert cost(full, DECODE).decode.kv_bytes == token * (8 + 8000)
    assert cost({}, DECODE).decode.kv_bytes == pytest.approx(token * (8 + 0.8 * 8000))
    assert cost(none, DECODE).decode.kv_bytes == token * 8
    assert cost(full, DECODE).decode.activation_bytes == 4 * 1024 * 2 * 8
    assert cost(none, DECODE).decode.activation_bytes == 0


def test_a_one_token_chunk_reads_its_context_as_a_decode_does():
    one = cost({}, Batch(((500, 1),))).prefill
    decode = cost({}, Batch(decode=(500,))).decode
    assert (one.kv_bytes, one.activation_bytes) == (decode.kv_bytes, decode.activation_bytes)


def test_without_the_compute_term_only_bytes_cost_time():
    built = cost({"compute_term": False}, PREFILL).prefill
    assert (built.gemm_s, built.attention_s) == (0.0, 0.0)
    assert built.seconds == built.memory_s


def test_constant_mfu_covers_gemm_and_causal_attention():
    phase = cost({"mfu": {"kind": "constant", "prefill": 0.5, "decode": 0.1}}, PREFILL).prefill
    gemm = 2 * 1500 * 4 * (1024 * (1024 + 512) + 1024 * 1024 + 3 * 1024 * 2816)
    assert phase.gemm_s == pytest.approx(gemm / (989.5e12 * 0.5))
    assert phase.attention_s == pytest.approx(4 * 1024 * 1500 * 750 * 4 / (989.5e12 * 0.5))


def test_earlier_tokens_of_a_chunked_prompt_are_attended_to_in_full():
    causal = cost({}, Batch(((1000, 500),))).prefill.attention_s
    assert causal == pytest.approx(4 * 1024 * 500 * (1000 + 250) * 4 / (989.5e12 * 0.65))
    whole = cost({}, Batch(((0, 1500),))).prefill.attention_s
    parts = sum(cost({}, Batch(((past, 500),))).prefill.attention_s for past in (0, 500, 1000))
    assert parts == pytest.approx(whole)


def test_the_causal_divisor_scales_prefill_attention_only_and_can_differ_per_gpu():
    by_two = cost(TABLES, MIXED, kernels=BentKernels())
    upstream = cost({**TABLES, "causal_divisor": 1.8}, MIXED, kernels=BentKernels())
    per_gpu = cost({**TABLES, "causal_divisor_by_gpu": {H100.id: 1.8}}, MIXED, kernels=BentKernels())
    assert upstream.prefill.attention_s == pytest.approx(by_two.prefill.attention_s * 2 / 1.8)
    assert upstream.decode.attention_s == by_two.decode.attention_s
    assert per_gpu.prefill.attention_s == upstream.prefill.attention_s


@given(st.integers(1, 200_000))
def test_a_bucket_is_the_smallest_power_of_two_that_holds_the_context(context):
    bucket = bucket_tokens(context)
    assert 512 <= bucket <= 65536
    assert bucket & (bucket - 1) == 0
    assert bucket >= min(context, 65536)
    assert bucket == 512 or bucket < 2 * context


def test_prefill_buckets_each_pay_their_own_gemm_and_one_gemm_shares_it():
    batch = Batch(((0, 300), (0, 900)))
    floor = {"gemm_memory_floor": True, **TABLES}
    together = cost(floor, batch, kernels=BentKernels()).prefill
    apart = cost({**floor, "prefill_gemm": "per_bucket"}, batch, kernels=BentKernels()).prefill
    assert [(b.bucket_tokens, b.new_tokens) for b in apart.buckets] == [(512, 300), (1024, 900)]
    assert apart.gemm_s == pytest.approx(sum(b.gemm_s for b in apart.buckets))
    assert apart.gemm_s > together.gemm_s


def test_a_gemm_is_never_faster_than_loading_its_weights_with_the_floor():
    batch = Batch(decode=(10,))
    bare = cost({}, batch).decode
    floored = cost({"gemm_memory_floor": True, "bandwidth_efficiency": 0.5}, batch).decode
    assert bare.gemm_s < bare.weight_bytes / 3.35e12
    assert floored.gemm_s == pytest.approx(floored.weight_bytes / (3.35e12 * 0.5))


def test_the_per_component_roofline_adds_up_what_limits_each_component():
    options = {**TABLES, "per_component_roofline": True}
    phase = cost(options, DECODE, kernels=BentKernels()).decode
    kv_s, activation_s = phase.kv_bytes / 3.35e12, phase.activation_bytes / 3.35e12
    assert phase.seconds == pytest.approx(phase.gemm_s + max(phase.attention_s, kv_s) + activation_s)
    per_phase = cost(TABLES, DECODE, kernels=BentKernels()).decode
    assert phase.seconds >= per_phase.seconds


def test_fused_qkv_is_one_gemm_with_the_same_flops():
    separate, fused = layer_matrices(model()), layer_matrices(model(), fused_qkv=True)
    assert (fused[0].inputs, fused[0].outputs) == (1024, 1024 + 2 * 256)
    flops = [sum(m.count * m.inputs * m.outputs for m in matrices) for matrices in (separate, fused)]
    assert flops[0] == flops[1]
    in_seconds = {"mfu": {"kind": "kernels", "style": "seconds"}}
    slow = cost(in_seconds, DECODE, kernels=BentKernels()).decode.gemm_s
    fast = cost({**in_seconds, "fused_qkv": True}, DECODE, kernels=BentKernels()).decode.gemm_s
    assert slow - fast == pytest.approx(4 * 2 * 4e-6)


def test_the_lm_head_costs_one_row_per_request_and_its_weights_once():
    without, with_head = cost({}, MIXED), cost({"lm_head": True}, MIXED)
    head = 2 * 1024 * 32000
    assert with_head.decode.gemm_s - without.decode.gemm_s == pytest.approx(8 * head / (989.5e12 * 0.12))
    assert with_head.prefill.gemm_s - without.prefill.gemm_s == pytest.approx(head / (989.5e12 * 0.65))
    assert with_head.decode.weight_bytes - without.decode.weight_bytes == head


def test_two_all_reduces_per_layer_are_paid_only_across_gpus():
    assert cost({"all_reduce_us": 20.0}, DECODE).communication_us == 0
    assert cost({"all_reduce_us": 20.0}, DECODE, tp=2).communication_us == 2 * 4 * 20


def test_tensor_parallelism_divides_linearly_or_by_a_power():
    one, four = cost({}, MIXED), cost({}, MIXED, tp=4)
    power = cost({"tensor_parallel": {"kind": "exponent", "prefill": 0.5, "decode": 1.0}}, MIXED, tp=4)
    assert four.prefill.seconds == pytest.approx(one.prefill.seconds / 4)
    assert power.prefill.compute_s == pytest.approx(one.prefill.compute_s / 2)
    assert power.decode.compute_s == pytest.approx(one.decode.compute_s / 4)
    assert power.prefill.memory_s == pytest.approx(one.prefill.memory_s / 4)


def test_a_sharded_gemm_keeps_its_launch_time_that_a_divided_one_loses():
    options = {"mfu": {"kind": "kernels", "style": "seconds"}}
    divided = cost(options, DECODE, tp=4, kernels=BentKernels()).decode.gemm_s
    sharded = cost(
        {**options, "tensor_parallel_gemm": "split_shape"}, DECODE, tp=4, kernels=BentKernels()
    ).decode.gemm_s
    assert sharded - divided == pytest.approx(4 * 7 * 4e-6 * (1 - 1 / 4))


def test_the_additive_rule_loads_weights_once_and_multiplies_all_tokens_together():
    built = cost({"phase_combination": "additive", "mfu": {"kind": "constant", "prefill": 1.0, "decode": 1.0}}, MIXED)
    tokens = 2 * (1500 + 8) * 4 * (1024 * (1024 + 512) + 1024 * 1024 + 3 * 1024 * 2816)
    attention = 4 * 1024 * 4 * (1500 * 750 + 8000)
    assert built.combined_s == pytest.approx((tokens + attention) / 989.5e12)
    memory = cost({"phase_combination": "additive", "compute_term": False}, MIXED)
    moved = memory.prefill.bytes + memory.decode.bytes - memory.decode.weight_bytes
    assert memory.combined_s == pytest.approx(moved / 3.35e12)


@pytest.mark.parametrize(
    ("batch", "weights"),
    [
        (Batch(((0, 500),), (10,) * 4), (0.75, 0.25)),
        (Batch(((0, 100),), (10,) * 4), (100 / 104, 4 / 104)),
        (Batch(((0, 400),), (10,) * 100), (0.8, 0.2)),
        (Batch(((0, 20),), (10,) * 51), (0.35, 0.65)),
        (Batch(((0, 25),), (10,) * 50), (25 / 75, 50 / 75)),
        (Batch(((0, 26),), (10,) * 52), (26 / 78, 52 / 78)),
    ],
)
def test_the_weighted_average_switches_at_its_thresholds(batch, weights):
    built = cost({"phase_combination": "weighted_average"}, batch)
    expected = weights[0] * built.prefill.seconds + weights[1] * built.decode.seconds
    assert built.combined_s == pytest.approx(expected)


@pytest.mark.parametrize("rule", ["max", "weighted_average", "smooth", "additive", "sum"])
@pytest.mark.parametrize("batch", [PREFILL, DECODE, Batch(decode=(10,) * 100)])
def test_a_step_with_one_phase_costs_that_phase_whatever_the_rule(rule, batch):
    built = cost({"phase_combination": rule}, batch)
    assert built.combined_s == (built.prefill or built.decode).seconds


@pytest.mark.parametrize(
    ("overhead", "expected"),
    [
        ({"kind": "none"}, (0, 0, 0)),
        ({"kind": "fixed", "us": 5000.0}, (5000, 5000, 5000)),
        ({"kind": "per_layer", "us": 5.0}, (20, 20, 20)),
        ({"kind": "per_layer_over_tp", "us": 100.0}, (200, 200, 200)),
        (
            {"kind": "per_phase", "step_us": 5000.0, "prefill_us": 30000.0, "mixed_prefill_us": 15000.0},
            (35000, 5000, 20000),
        ),
        (
            {
                "kind": "per_phase",
                "step_us": 100.0,
                "prefill_us": 500.0,
                "mixed_prefill_us": 250.0,
                "times": "layers_over_tp",
            },
            (1200, 200, 700),
        ),
        ({"kind": "curved", "base_us": 7.0, "gain_us": 10.0, "of": "sqrt_layers"}, (27, 27, 27)),
        ({"kind": "curved", "gain_us": 10.0, "of": "log_layers"}, (13.862943611,) * 3),
        ({"kind": "by_phase", "prefill_us": 70.0, "decode_us": 20.0}, (70, 20, 70)),
        ({"kind": "by_phase", "prefill_us": 70.0, "decode_us": 20.0, "times": "layers"}, (280, 80, 280)),
        # 1500 new tokens, one, 1501.
        ({"kind": "curved", "base_us": 7.0, "gain_us": 10.0, "of": "sqrt_tokens"}, (394.298334621, 17, 394.427417863)),
        ({"kind": "curved", "gain_us": 10.0, "of": "log_tokens"}, (73.138868316, 6.931471806, 73.145534983)),
    ],
)
def test_overhead_follows_its_rule_in_prefill_decode_and_mixed_steps(overhead, expected):
    steps = (PREFILL, Batch(decode=(1000,)), Batch(((0, 1500),), (1000,)))
    found = tuple(cost({"overhead": overhead}, batch, tp=2).overhead_us for batch in steps)
    assert found == pytest.approx(expected)


def test_the_log_batch_scale_is_one_up_to_two_requests_and_grows_with_decodes():
    assert [log_batch_scale(*counts) for counts in ((0, 0), (0, 1), (2, 0), (1, 1))] == [1.0] * 4
    assert log_batch_scale(0, 8) == pytest.approx(1 + 0.15 * 2 * (0.3 + 2))
    assert log_batch_scale(4, 4) == pytest.approx(1 + 0.15 * 2 * (0.3 + 1))


@pytest.mark.parametrize(("overhead_us", "expected"), [(0.0, 1), (0.3, 1), (3200.0, 3200)])
def test_an_empty_batch_costs_its_overhead_and_at_least_a_microsecond(overhead_us, expected):
    built = step_time({"overhead": {"kind": "fixed", "us": overhead_us}, "all_reduce_us": 9.0}, tp=2)
    assert built.step_time_us(BatchSums.of(Batch())) == expected
    assert built.explain(Batch()).total_us == expected


def test_decode_aggregations_agree_on_equal_lengths_and_differ_on_mixed_ones():
    equal, spread = Batch(decode=(2000,) * 8), Batch(decode=(8000, *[100] * 7))
    rules = ("flops_weighted", "max_kv", "sum_at_max_kv", "kv_buckets")

    def seconds(rule, batch):
        return cost({**TABLES, "decode_attention": rule}, batch, kernels=BentKernels()).decode.attention_s

    assert len({round(seconds(rule, equal), 12) for rule in rules}) == 1
    assert seconds("max_kv", spread) > 5 * seconds("sum_at_max_kv", spread)
    assert seconds("flops_weighted", spread) > seconds("sum_at_max_kv", spread)


def test_kv_buckets_weigh_their_efficiency_by_request_count():
    batch = Batch(decode=(100, 300, 5000))
    built = step_time({**TABLES, "decode_attention": "kv_buckets"}, kernels=BentKernels())
    bound = BentKernels().attention(built.parts.attention.kernels.match.asked_shape)
    mfu = (2 * bound.decode_mfu(3, 200) + bound.decode_mfu(3, 5000)) / 3
    assert built.kv_breakpoints == (2048, 8192, 32768)
    assert built.explain(batch).decode.attention_s == pytest.approx(4 * 1024 * 5400 * 4 / (989.5e12 * mfu))


def test_heads_that_do_not_divide_by_tp_only_warn_when_a_step_is_priced():
    built = step_time({"overhead": {"kind": "fixed", "us": 0.0}}, tp=3)
    assert any("not divisible by tensor_parallel 3" in warning for warning in built.warnings)
    assert built.step_time_us(BatchSums.of(Batch())) == 1
    assert built.step_time_us(BatchSums.of(DECODE)) > 1


def test_a_substituted_attention_table_is_announced():
    built = step_time(TABLES, of=model(head_dim=65), kernels=BentKernels())
    assert any("attention 8-2-65 has no table; 8-2-64 answers (distance 1)" in w for w in built.warnings)


def test_head_dim_shapes_q_and_o_but_not_the_residual_stream():
    nemo = model(hidden_size=5120, num_attention_heads=32, num_key_value_heads=8, head_dim=128)
    shapes = [(m.inputs, m.outputs) for m in layer_matrices(nemo)]
    assert shapes[:3] == [(5120, 4096), (5120, 1024), (4096, 5120)]


# --- FP8 weights and mixtures of experts ---


def test_fp8_weights_halve_the_bytes_and_double_the_gemm_rate_but_leave_kv_alone():
    bf16 = cost({}, MIXED, on=FP8_GPU)
    fp8 = cost({}, MIXED, of=model(quantization="fp8"), on=FP8_GPU)
    assert fp8.decode.weight_bytes * 2 == bf16.decode.weight_bytes
    assert fp8.decode.kv_bytes == bf16.decode.kv_bytes
    assert fp8.prefill.gemm_s == pytest.approx(bf16.prefill.gemm_s / 2)
    assert fp8.prefill.attention_s == bf16.prefill.attention_s


def test_fp8_weights_on_a_gpu_without_fp8_units_are_refused():
    with pytest.raises(UnsupportedError, match="FP8 weights, but hardware custom states no FP8 peak"):
        step_time({}, of=model(quantization="fp8"))


def test_one_token_touches_its_own_experts_and_a_crowd_touches_all():
    assert experts_touched(8, 2, 1) == pytest.approx(2.0)
    assert experts_touched(8, 2, 2) == pytest.approx(3.5)
    assert experts_touched(8, 2, 10_000) == pytest.approx(8.0)


def test_expert_weights_are_loaded_as_far_as_experts_are_touched():
    mixture = model(num_local_experts=8, num_experts_per_tok=2)
    expert, attention = 3 * 1024 * 2816, 1024 * (1024 + 512) + 1024 * 1024
    assert Weights(mixture).bytes(1) == pytest.approx(4 * 2 * (attention + 2 * expert))
    assert Weights(mixture).bytes(10_000) == pytest.approx(4 * 2 * (attention + 8 * expert))


def test_a_mixture_computes_its_active_parameters_only():
    mixture = model(num_local_experts=8, num_experts_per_tok=2, n_shared_experts=1)
    dense = model(intermediate_size=3 * 2816)
    for batch in (PREFILL, DECODE, Batch(decode=(7,))):
        found, expected = cost({}, batch, of=mixture), cost({}, batch, of=dense)
        phase, other = found.prefill or found.decode, expected.prefill or expected.decode
        assert phase.gemm_s == pytest.approx(other.gemm_s)


def test_a_mixture_with_one_expert_is_the_dense_model():
    one = model(num_local_experts=1, num_experts_per_tok=1)
    for batch in (PREFILL, DECODE, MIXED):
        ours = cost(TABLES, batch, of=one, kernels=BentKernels())
        assert ours.unrounded_us == pytest.approx(cost(TABLES, batch, kernels=BentKernels()).unrounded_us)


def test_expert_gemms_with_few_rows_cost_more_than_one_dense_gemm():
    mixture = model(num_local_experts=8, num_experts_per_tok=1)
    batch = Batch(decode=(100,) * 64)
    spread = cost(TABLES, batch, of=mixture, kernels=BentKernels()).decode.gemm_s
    dense = cost(TABLES, batch, kernels=BentKernels()).decode.gemm_s
    assert spread > 2 * dense


def test_kernels_are_asked_about_the_whole_model_and_the_answer_is_divided_by_tp():
    options = {**TABLES, "gemm_memory_floor": True}
    one, four = (cost(options, MIXED, of=LLAMA_70B, tp=tp, kernels=BentKernels()) for tp in (1, 4))
    assert four.prefill.gemm_s == pytest.approx(one.prefill.gemm_s / 4)
    assert four.decode.attention_s == pytest.approx(one.decode.attention_s / 4)
