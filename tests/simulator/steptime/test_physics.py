"""The calibrated physical model: what each constant does, and what no constants may do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import ConfigError
from simulator.hardware import Hardware, Quantity
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.options import CalibratedPhysicsOptions
from simulator.steptime.physics import kernels_per_layer, rounded_corner
from tests.simulator.steptime.support import H100, LLAMA_70B, model, step_time

LINKED = H100.model_copy(update={"link_bandwidth_gbs": Quantity(value=450.0, unit="GB/s", source="test")})
CONSTANTS = {
    "family": "calibrated_physics",
    "weight_bandwidth_efficiency": 0.93,
    "kv_bandwidth_efficiency": 0.9,
    "gemm_efficiency": 0.66,
    "attention_efficiency": 0.72,
    "layer_us": 52.0,
    "step_us": 10.0,
    "request_us": 5.0,
    "all_reduce_us": 4.0,
    "link_efficiency": 0.3,
    "sampling_us_per_kilotoken": 4.5,
    "sampling_us_per_kilotoken_request": 0.2,
}
TRUNCATED = {"top_p": 0.9, "source": "test"}
MIXTURE = model(num_local_experts=8, num_experts_per_tok=2, n_shared_experts=1, generation_config=TRUNCATED)

lengths = st.integers(0, 9000)
batches = st.builds(
    Batch,
    st.lists(st.tuples(lengths, st.integers(1, 3000)), max_size=3).map(tuple),
    st.lists(lengths, max_size=12).map(tuple),
)


def physics(of=None, tp=1, on: Hardware = LINKED, **changes):
    return step_time({**CONSTANTS, **changes}, of=of or model(), tp=tp, on=on)


def duration_us(built, batch: Batch) -> float:
    return built.duration_us(BatchSums.of(batch))


@settings(max_examples=60, deadline=None)
@given(batch=batches, tp=st.sampled_from([1, 2, 4]), mixture=st.booleans())
def test_price_from_sums_is_the_sum_of_the_terms_that_explain_lists(batch, tp, mixture):
    built = physics(MIXTURE if mixture else model(generation_config=TRUNCATED), tp)
    cost = built.explain(batch)
    assert built.step_time_us(BatchSums.of(batch)) == cost.total_us
    assert max(1.0, sum(term.us for term in cost.terms)) == pytest.approx(cost.unrounded_us)
    assert all(term.us >= 0 for term in cost.terms)


efficiencies = st.floats(0.05, 1.0)


@settings(max_examples=60, deadline=None)
@given(
    batch=batches.filter(lambda batch: batch.prefill or batch.decode),
    tp=st.sampled_from([1, 2, 4]),
    mixture=st.booleans(),
    weights=efficiencies,
    kv=efficiencies,
    gemm=efficiencies,
    attention=efficiencies,
    sharpness=st.floats(1.0, 50.0),
)
def test_no_constants_imply_a_rate_above_the_peak(batch, tp, mixture, weights, kv, gemm, attention, sharpness):
    built = step_time(
        {
            "family": "calibrated_physics",
            "weight_bandwidth_efficiency": weights,
            "kv_bandwidth_efficiency": kv,
            "gemm_efficiency": gemm,
            "attention_efficiency": attention,
            "corner_sharpness": sharpness,
        },
        of=MIXTURE if mixture else LLAMA_70B,
        tp=tp,
        on=LINKED,
    )
    flops, moved = built.work(BatchSums.of(batch))
    seconds = duration_us(built, batch) / 1e6
    assert flops <= seconds * built.peak_flops * (1 + 1e-9)
    assert moved <= seconds * built.peak_bandwidth * (1 + 1e-9)


def test_a_lone_decode_step_of_llama_2_70b_is_its_bytes_over_the_bandwidth_plus_its_layers():
    """Weights of 80 layers and the head, 1000 past tokens and the new one, written out by hand."""
    built = physics(LLAMA_70B, corner_sharpness=1000.0, sampling_us_per_kilotoken=0.0)
    layer_weights = 8192 * (2 * 8192 + 2 * 1024) + 3 * 8192 * 28672
    weights_us = 2 * (80 * layer_weights + 8192 * 32000) / (3.35e12 * 0.93) * 1e6
    kv_us = 1001 * 80 * 2 * 1024 * 2 / (3.35e12 * 0.9) * 1e6
    expected_us = weights_us + kv_us + 80 * 52.0 + 10.0 + 5.0
    assert duration_us(built, Batch(decode=(1000,))) == pytest.approx(expected_us)


def test_launches_are_not_divided_by_tensor_parallelism_and_memory_time_is():
    none = {"all_reduce_us": 0.0, "link_efficiency": 1.0}
    terms = [
        {term.name: term.us for term in physics(LLAMA_70B, tp, **none).explain(Batch(decode=(9,))).terms}
        for tp in (1, 4)
    ]
    assert terms[0]["launches"] == terms[1]["launches"] == 80 * 52.0
    assert terms[0]["layers"] == pytest.approx(4 * terms[1]["layers"])


def test_weights_are_loaded_once_for_prefill_and_decode_together():
    free = {name: 0.0 for name in CONSTANTS if name.endswith("_us")}
    built = physics(**free, sampling_us_per_kilotoken=0.0, corner_sharpness=1000.0)
    apart = duration_us(built, Batch(prefill=((0, 8),))) + duration_us(built, Batch(decode=(50,)))
    together = duration_us(built, Batch(prefill=((0, 8),), decode=(50,)))
    weights_us = built.explain(Batch(decode=(50,))).terms[0].us
    assert apart - together == pytest.approx(weights_us + built.head_us(1), rel=1e-6)


def test_truncated_sampling_costs_vocabulary_and_rows_and_plain_sampling_nothing():
    plain = physics(model(generation_config={"source": "test"}))
    sorting = physics(model(generation_config=TRUNCATED))
    more_us = duration_us(sorting, Batch(decode=(5, 5))) - duration_us(plain, Batch(decode=(5, 5)))
    assert more_us == pytest.approx(32.0 * (4.5 + 2 * 0.2))


@pytest.mark.parametrize(
    ("defaults", "truncates"),
    [({}, False), ({"top_p": 1.0}, False), ({"top_k": 0}, False), ({"top_p": 0.9}, True), ({"top_k": 20}, True)],
)
def test_only_a_limit_on_tokens_makes_a_server_sort_them(defaults, truncates):
    assert model(generation_config={**defaults, "source": "test"}).generation_config.truncates is truncates


def test_a_model_without_sampling_defaults_is_flagged():
    assert any("generation_config" in warning for warning in physics(model()).warnings)
    assert not physics(model(generation_config=TRUNCATED)).warnings


def test_layers_with_more_kernels_launch_longer():
    dense, routed, eight_bit = model(), MIXTURE, model(quantization="fp8")
    assert kernels_per_layer(dense) < kernels_per_layer(eight_bit) < kernels_per_layer(routed)


def test_all_reduces_cost_latency_and_the_bytes_a_ring_moves():
    terms = {term.name: term.us for term in physics(LLAMA_70B, 4).explain(Batch(decode=(1,) * 16)).terms}
    message = 16 * 8192 * 2
    assert terms["collectives"] == pytest.approx(160 * (4.0 + 2 * 3 / 4 * message / (450e9 * 0.3) * 1e6))


def test_several_gpus_without_a_stated_link_are_refused():
    with pytest.raises(ConfigError, match="link_bandwidth_gbs is missing"):
        physics(LLAMA_70B, 2, on=H100)
    assert physics(LLAMA_70B, 1, on=H100).step_time_us(BatchSums.of(Batch(decode=(1,)))) > 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("weight_bandwidth_efficiency", 1.01),
        ("kv_bandwidth_efficiency", 0.0),
        ("gemm_efficiency", -0.5),
        ("link_efficiency", 2.0),
        ("layer_us", -1.0),
        ("request_us", float("nan")),
        ("corner_sharpness", 0.5),
    ],
)
def test_constants_outside_physics_are_refused(key, value):
    with pytest.raises(ConfigError, match=key):
        physics(**{key: value})


def test_defaults_are_the_data_sheet_alone():
    options = CalibratedPhysicsOptions(family="calibrated_physics")
    costs = {name for name in type(options).model_fields if "_us" in name}
    assert all(getattr(options, name) == 0 for name in costs)
    assert options.weight_bandwidth_efficiency == options.gemm_efficiency == 1.0


def test_joined_times_lie_between_their_maximum_and_their_sum():
    assert rounded_corner(0.0, 0.0, 2.7) == 0.0
    assert rounded_corner(3.0, 4.0, 1.0) == pytest.approx(7.0)
    assert 4.0 < rounded_corner(3.0, 4.0, 2.7) < 7.0
    assert rounded_corner(3.0, 4.0, 500.0) == pytest.approx(4.0)


def test_the_explanation_names_the_largest_term_in_at_most_five_lines():
    cost = physics(LLAMA_70B, 4).explain(Batch(prefill=((0, 100),), decode=(1000,) * 8))
    assert cost.bottleneck == "layers"
    assert "dominated by layers" in cost.text()
    assert len(cost.text().splitlines()) <= 5


DECODE = Batch((), (500,))


def test_without_the_projection_a_step_is_shorter_by_reading_its_weights_and_by_nothing_else():
    head_us = physics().head_us(1)
    assert head_us > 0
    without = physics(lm_head=False)
    assert duration_us(physics(), DECODE) - duration_us(without, DECODE) == pytest.approx(head_us)
    assert {term.name: term.us for term in without.explain(DECODE).terms}["head"] == 0


def test_collectives_without_their_bytes_cost_their_latency_whatever_they_carry():
    latency_only = physics(tp=2, link_efficiency=None)
    layers = latency_only.model.num_hidden_layers
    for batch in (DECODE, Batch(((0, 2000),), ())):
        terms = {term.name: term.us for term in latency_only.explain(batch).terms}
        assert terms["collectives"] == pytest.approx(2 * layers * CONSTANTS["all_reduce_us"])


def test_collectives_without_their_bytes_need_no_link_bandwidth():
    unlinked = H100.model_copy(update={"link_bandwidth_gbs": None})
    assert physics(tp=2, on=unlinked, link_efficiency=None).step_time_us(BatchSums.of(DECODE)) > 0


def test_operations_are_the_terms_layer_by_layer():
    built, batch = physics(LLAMA_70B, 4), Batch(prefill=((0, 100),), decode=(1000,) * 8)
    operations = {operation.name: operation for operation in built.operations(batch)["step"]}
    assert operations["decode attention"].times == operations["layers"].times == LLAMA_70B.num_hidden_layers
    total_us = sum(operation.total_us for operation in operations.values())
    assert total_us == pytest.approx(built.explain(batch).unrounded_us)


DECODES = Batch(decode=(500,) * 8)
APART = {"expert_bandwidth_efficiency": 0.5, "expert_gemm_efficiency": 0.5}


def term(built, batch: Batch, name: str) -> float:
    return next((term.us for term in built.explain(batch).terms if term.name == name), 0.0)


def test_experts_with_efficiencies_of_their_own_are_a_term_that_rests_on_these_alone():
    both, apart = physics(MIXTURE), physics(MIXTURE, **APART)
    assert term(both, DECODES, "experts") == 0
    slower = physics(MIXTURE, expert_bandwidth_efficiency=0.25, expert_gemm_efficiency=0.25)
    assert term(slower, DECODES, "experts") == pytest.approx(2 * term(apart, DECODES, "experts"))
    assert term(slower, DECODES, "layers") == term(apart, DECODES, "layers") < term(both, DECODES, "layers")


def test_a_dense_model_has_no_term_of_experts():
    assert duration_us(physics(**APART), DECODES) == duration_us(physics(), DECODES)


def test_padding_of_experts_costs_arithmetic_for_every_expert_that_is_visited():
    many = Batch(prefill=((0, 4096),))
    # All eight experts are visited, and 4096 tokens visit two each: twice as many rows.
    bound_by_arithmetic = {**APART, "expert_bandwidth_efficiency": 1.0, "corner_sharpness": 50.0}
    bare, padded = (physics(MIXTURE, **bound_by_arithmetic, expert_padding_tokens=t) for t in (0.0, 1024.0))
    assert term(padded, many, "experts") == pytest.approx(2 * term(bare, many, "experts"), rel=1e-3)


def test_weights_are_read_more_slowly_by_steps_of_more_than_sixteen_tokens_where_a_kernel_changes_there():
    def slowdown(tokens: int) -> float:
        batch = Batch(decode=(0,) * tokens)
        return term(physics(wide_batch_slowdown=1.25), batch, "layers") / term(physics(), batch, "layers")

    assert slowdown(16) == 1.0
    assert slowdown(17) == pytest.approx(1.25, rel=0.01)


def test_a_prefill_step_outside_the_graphs_is_no_faster_than_the_host_launches_its_kernels():
    launched_us = LLAMA_70B.num_hidden_layers * kernels_per_layer(LLAMA_70B) * 1000.0
    built = physics(LLAMA_70B, 4, host_kernel_us=1000.0, graph_tokens=512)
    assert duration_us(built, Batch(prefill=((0, 513),))) == pytest.approx(launched_us, rel=1e-3)
    for captured in (Batch(prefill=((0, 512),)), Batch(decode=(100,) * 600)):
        assert duration_us(built, captured) == duration_us(physics(LLAMA_70B, 4), captured)


def test_a_host_faster_than_the_gpu_costs_nothing():
    quick = physics(LLAMA_70B, host_kernel_us=1.0)
    long = Batch(prefill=((0, 8192),))
    assert duration_us(quick, long) == pytest.approx(duration_us(physics(LLAMA_70B), long), rel=1e-6)
