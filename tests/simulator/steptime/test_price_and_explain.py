"""`step_time_us` and `explain` are the same model, and both are the formula written out plainly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.traffic import attention_shape
from tests.simulator.steptime.support import LINKED, LLAMA_70B, V1_PARAMETERS, BentKernels, model, step_time

TABLES = {"mfu": {"kind": "kernels", "style": "mfu"}}
SECONDS = {"mfu": {"kind": "kernels", "style": "seconds"}}
MIXTURE = model(num_local_experts=8, num_experts_per_tok=2, n_shared_experts=1, quantization=None)

VARIANTS: dict[str, dict[str, object]] = {
    "constant": {},
    "memory_only": {"compute_term": False, "phase_combination": "weighted_average", "bandwidth_efficiency": 0.82},
    "smooth": {"phase_combination": "smooth"},
    "sum": {"phase_combination": "sum", "all_reduce_us": 12.5},
    "additive": {"phase_combination": "additive", "lm_head": True},
    "additive_memory_only": {"phase_combination": "additive", "compute_term": False},
    "additive_components": {**TABLES, "phase_combination": "additive", "per_component_roofline": True},
    "phase_bandwidths": {"prefill_bandwidth_efficiency": 0.85, "decode_bandwidth_efficiency": 0.55},
    "kv_bandwidth": {"bandwidth_efficiency": 0.9, "kv_bandwidth_efficiency": 0.5},
    "kv_growth": {"bandwidth_efficiency": 0.9, "kv_bandwidth_growth": {}},
    "components": {"per_component_roofline": True, "kv_bandwidth_efficiency": 0.5},
    "tables": TABLES,
    "tables_floor": {**TABLES, "gemm_memory_floor": True, "fused_qkv": True, "lm_head": True},
    "tables_components": {**TABLES, "per_component_roofline": True},
    "max_kv": {**TABLES, "decode_attention": "max_kv"},
    "sum_at_max_kv": {**TABLES, "decode_attention": "sum_at_max_kv"},
    "per_request": {**TABLES, "decode_attention": "per_request"},
    "kv_buckets": {**TABLES, "decode_attention": "kv_buckets", "kv_bucket_edges": [700, 3000]},
    "bucketed": {
        **TABLES,
        "prefill_context": "bucket",
        "prefill_mfu_at": "bucket",
        "prefill_gemm": "per_bucket",
        "causal_divisor": 1.8,
    },
    "actual": {**TABLES, "prefill_context": "actual", "causal_divisor_by_gpu": {"custom": 1.9}},
    "seconds": SECONDS,
    "by_head": {"kv_split": "by_head"},
    "grouped": {**SECONDS, "experts": "grouped", "phase_combination": "additive"},
    "grouped_tables": {**TABLES, "experts": "grouped"},
    "seconds_efficiency": {**SECONDS, "tensor_parallel": {"kind": "efficiency", "by_degree": {2: 0.9, 4: 0.8}}},
    "linked": {"all_reduce_us": 10.0, "link_efficiency": 0.5},
    "seconds_sharded": {**SECONDS, "tensor_parallel_gemm": "split_shape"},
    "exponent": {"tensor_parallel": {"kind": "exponent", "prefill": 0.8, "decode": 0.95}},
    "overhead_fixed": {"overhead": {"kind": "fixed", "us": 5000.0}},
    "overhead_layers": {"overhead": {"kind": "per_layer", "us": 5.0}},
    "overhead_layers_tp": {"overhead": {"kind": "per_layer_over_tp", "us": 100.0}},
    "overhead_phases": {
        "overhead": {
            "kind": "per_phase",
            "step_us": 100.0,
            "prefill_us": 500.0,
            "mixed_prefill_us": 250.0,
            "times": "layers_over_tp",
            "log_batch_scale": True,
        }
    },
    "overhead_curved": {"overhead": {"kind": "curved", "base_us": 20.0, "gain_us": 300.0, "of": "sqrt_layers"}},
    "overhead_of_tokens": {"overhead": {"kind": "curved", "base_us": 20.0, "gain_us": 30.0, "of": "sqrt_tokens"}},
    "overhead_by_phase": {"overhead": {"kind": "by_phase", "prefill_us": 90.0, "decode_us": 20.0, "times": "layers"}},
    "v1_a": {"family": "calibrated_roofline", "variant": "v1_a", "parameters": V1_PARAMETERS},
    "v1_b": {"family": "calibrated_roofline", "variant": "v1_b", "parameters": V1_PARAMETERS},
    "v1_c": {"family": "calibrated_roofline", "variant": "v1_c", "parameters": V1_PARAMETERS},
    "v1_guide": {"family": "calibrated_roofline", "variant": "v1_guide", "parameters": V1_PARAMETERS},
    "physics_with_experts_apart": {
        "family": "calibrated_physics",
        "expert_bandwidth_efficiency": 0.8,
        "expert_gemm_efficiency": 0.2,
        "expert_padding_tokens": 10.5,
        "wide_batch_slowdown": 1.25,
        "layer_us": 40.0,
    },
    "physics_launched_by_the_host": {
        "family": "calibrated_physics",
        "layer_us": 40.0,
        "host_kernel_us": 35.0,
        "graph_tokens": 512,
    },
    "linear": {"family": "linear", "step_us": 700.5, "prefill_us_per_token": 13.7, "decode_us_per_token": 2.25},
}

lengths = st.integers(0, 9000)
batches = st.builds(
    Batch,
    st.lists(st.tuples(lengths, st.integers(1, 3000)), max_size=3).map(tuple),
    st.lists(lengths, max_size=12).map(tuple),
)


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=25, deadline=None)
@given(batch=batches, tp=st.sampled_from([1, 2, 4]), mixture=st.booleans())
def test_price_from_sums_is_the_total_that_explain_itemises(name, batch, tp, mixture):
    built = step_time(VARIANTS[name], of=MIXTURE if mixture else model(), tp=tp, kernels=BentKernels(), on=LINKED)
    cost = built.explain(batch)
    assert built.step_time_us(BatchSums.of(batch, built.kv_breakpoints)) == cost.total_us
    parts_us = cost.combined_s * 1e6 + cost.communication_us + cost.overhead_us
    assert cost.unrounded_us == pytest.approx(max(parts_us, 1.0), rel=1e-9)
    assert len(cost.text().splitlines()) <= 5
    for _, phase in cost.phases():
        assert phase.seconds > 0


@pytest.mark.parametrize("name", [name for name in VARIANTS if "family" not in VARIANTS[name]])
@settings(max_examples=10, deadline=None)
@given(batch=batches, tp=st.sampled_from([1, 2, 4]), mixture=st.booleans())
def test_the_operations_of_a_step_add_up_to_the_compute_time_of_its_phases(name, batch, tp, mixture):
    built = step_time(VARIANTS[name], of=MIXTURE if mixture else model(), tp=tp, kernels=BentKernels(), on=LINKED)
    cost = built.explain(batch)
    total_us = {phase: sum(each.total_us for each in found) for phase, found in built.operations(batch).items()}
    beside_us = cost.communication_us + cost.overhead_us
    if built.parts.options.phase_combination == "additive" and cost.prefill and cost.decode:
        return
    assert total_us["step"] == pytest.approx(beside_us)
    for phase, found in cost.phases():
        assert total_us.get(phase, 0.0) == pytest.approx(found.compute_s * 1e6)


@pytest.mark.parametrize("name", [name for name in VARIANTS if "family" not in VARIANTS[name]])
@settings(max_examples=25, deadline=None)
@given(pasts=st.lists(lengths, max_size=8), tp=st.sampled_from([1, 2]))
def test_lone_decodes_priced_together_cost_what_each_costs_alone(name, pasts, tp):
    built = step_time(VARIANTS[name], tp=tp, kernels=BentKernels(), on=LINKED)
    one_by_one = [built.step_time_us(BatchSums.of(Batch(decode=(past,)), built.kv_breakpoints)) for past in pasts]
    assert built.lone_decode_times_us(pasts) == one_by_one


BY_PAST_TOKENS = [
    name
    for name, options in VARIANTS.items()
    if "family" not in options and ("mfu" not in options or not options.get("compute_term", True))
]


WINDOWED = model(sliding_window=128, sliding_window_layers=1)
SHAPES = {"dense": model(), "mixture": MIXTURE, "windowed": WINDOWED}


@pytest.mark.parametrize("name", [*BY_PAST_TOKENS, "physics"])
@settings(max_examples=50, deadline=None)
@given(
    pasts=st.lists(lengths, min_size=1, max_size=8),
    tp=st.sampled_from([1, 2]),
    shape=st.sampled_from([*SHAPES]),
    steps=st.integers(1, 40),
    limit_us=st.integers(1, 200_000),
)
def test_decodes_priced_many_steps_at_once_cost_what_each_step_costs(name, pasts, tp, shape, steps, limit_us):
    options = {"family": "calibrated_physics"} if name == "physics" else VARIANTS[name]
    built = step_time(options, of=SHAPES[shape], tp=tp, on=LINKED)
    if name != "physics" and shape == "windowed":
        assert built.decode_times_us(BatchSums.of(Batch(decode=tuple(pasts)), built.kv_breakpoints), 1, 1) is None
        return
    nearest = min((point - past for past in pasts for point in built.kv_breakpoints if past < point), default=steps)
    steps = min(steps, nearest)
    batches = [tuple(past + step for past in pasts) for step in range(steps)]
    sums = [BatchSums.of(Batch(decode=batch), built.kv_breakpoints) for batch in batches]
    each_us = [built.step_time_us(one) for one in sums]
    taken = [time_us for place, time_us in enumerate(each_us) if sum(each_us[:place]) < limit_us]
    assert built.decode_times_us(sums[0], steps, limit_us) == taken


@pytest.mark.parametrize("name", ["tables", "seconds", "max_kv", "kv_buckets", "per_request"])
def test_kernels_that_know_each_length_are_not_priced_by_past_tokens_alone(name):
    built = step_time(VARIANTS[name], kernels=BentKernels())
    assert built.decode_times_us(BatchSums.of(Batch(decode=(9, 90)), built.kv_breakpoints), 1, 1) is None


def plain_roofline_us(batch: Batch, shape, kernels, tp: int) -> float:
    """Return the default roofline on tables written out request by request, with nothing shared but the kernels."""
    d, layers, width = shape.hidden_size, shape.num_hidden_layers, shape.intermediate_size
    kv = shape.num_key_value_heads * (d // shape.num_attention_heads)
    matrices = [(d, d), (d, kv), (d, kv), (d, d), (d, width), (d, width), (width, d)]
    peak, bandwidth = 989.5e12, 3.35e12
    bound = kernels.attention(attention_shape(shape), tp)

    def gemm(tokens):
        return layers / tp * sum(2 * tokens * k * n / (peak * kernels.gemm_mfu(tokens, k, n)) for k, n in matrices)

    def moved(past, new):
        read, act = (0.80, 0.75) if new == 1 else (0.92, 0.85)
        return 2 * layers * kv * 2 * (new + past * read) + layers * d * 2 * new * act

    weights = layers * 2 * sum(k * n for k, n in matrices)
    phases = []
    if batch.prefill:
        flops = [(4 * d * new * (past + new / 2) * layers, past + new) for past, new in batch.prefill]
        compute = gemm(sum(new for _, new in batch.prefill))
        compute += sum(f / (peak * bound.prefill_mfu(length)) / tp for f, length in flops)
        phases.append(max(compute, (weights + sum(moved(*chunk) for chunk in batch.prefill)) / tp / bandwidth))
    if batch.decode:
        flops = [4 * d * past * layers for past in batch.decode]
        mean = sum(f * bound.decode_mfu(len(batch.decode), past) for f, past in zip(flops, batch.decode, strict=True))
        attention = sum(flops) ** 2 / (peak * mean) / tp if sum(flops) else 0.0
        memory = (weights + sum(moved(past, 1) for past in batch.decode)) / tp / bandwidth
        phases.append(max(gemm(len(batch.decode)) + attention, memory))
    return max(phases, default=0.0) * 1e6


@settings(max_examples=200, deadline=None)
@given(batch=batches, tp=st.sampled_from([1, 2, 4]))
def test_the_roofline_is_its_formula_summed_request_by_request(batch, tp):
    kernels = BentKernels()
    built = step_time(TABLES, tp=tp, kernels=kernels)
    plain_us = plain_roofline_us(batch, model(), kernels, tp)
    assert built.explain(batch).unrounded_us == pytest.approx(max(plain_us, 1.0), rel=1e-9)


def test_an_explanation_says_why_in_at_most_five_lines():
    built = step_time(
        {**TABLES, "bandwidth_efficiency": 0.82, "overhead": {"kind": "per_layer_over_tp", "us": 100.0}},
        of=LLAMA_70B,
        tp=4,
        kernels=BentKernels(),
    )
    text = built.explain(Batch(((0, 2000),), (600, 9000))).text()
    lines = text.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("step ")
    assert "ms overhead; dominated by prefill" in lines[0]
    assert "most of it gemm" in lines[1]
    assert lines[2].startswith("  decode: 2 request(s)")
    assert "1 outside the table, 1 borrowed" in lines[3]
    assert "decode_attention at batch_size 2, kv_len 9000 lies outside decode.csv" in lines[4]


def test_an_explanation_names_the_branch_that_combined_the_phases():
    built = step_time({"phase_combination": "weighted_average"})
    branches = {
        Batch(((0, 500),), (10,)): "weighted_average_prefill_dominates",
        Batch(((0, 10),), (10,) * 60): "weighted_average_decode_dominates",
        Batch(((0, 10),), (10,)): "weighted_average_by_tokens",
        Batch(((0, 10),)): "prefill_only",
        Batch((), (10,)): "decode_only",
        Batch(): "empty",
    }
    assert {batch: built.explain(batch).branch for batch in branches} == branches


def test_an_explanation_is_plain_data_for_json():
    import json

    cost = step_time(TABLES, kernels=BentKernels()).explain(Batch(((0, 20),), (600,)))
    data = json.loads(json.dumps(cost.as_dict()))
    assert data["total_us"] == cost.total_us
    assert data["bottleneck"] == cost.bottleneck
    assert data["decode"]["kv_bytes"] > 0


def test_running_sums_answer_for_a_batch_whose_intervals_are_all_straight_without_visiting_requests():
    built = step_time(TABLES, kernels=BentKernels())
    sums = BatchSums.of(Batch(decode=(100, 300, 2000, 5000)), built.kv_breakpoints)

    def visited():
        raise AssertionError("a sum would have sufficed")

    sums.decode_pasts = visited
    assert built.step_time_us(sums) > 1
    bent = BatchSums.of(Batch(decode=(700, 710)), built.kv_breakpoints)
    bent.decode_pasts = visited
    with pytest.raises(AssertionError, match="a sum would have sufficed"):
        built.step_time_us(bent)
