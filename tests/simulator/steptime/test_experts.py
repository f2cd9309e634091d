"""Experts of the busiest GPU: their number against drawn routings, and what a step makes of it."""

from __future__ import annotations

from itertools import combinations
from random import Random
from statistics import fmean

import pytest

from simulator.parallelism import Parallelism
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.experts import ExpertLoad, experts_touched, largest_of_normals, most_on_one_gpu
from simulator.steptime.traffic import GemmFlops, Weights
from tests.simulator.steptime.support import H100, LINKED, model, step_time

WHOLE = Parallelism(4, expert_parallel=True)
GROUPS = Parallelism(1, 4, expert_parallel=True)
MIXTURE = model(num_local_experts=64, num_experts_per_tok=4, moe_intermediate_size=768, num_key_value_heads=8)
PHYSICS = {"family": "calibrated_physics", "layer_us": 3.0, "all_reduce_us": 9.0, "link_efficiency": 0.7}
ROOFLINE = {
    "mfu": {"kind": "constant", "prefill": 0.5, "decode": 0.5},
    "tensor_parallel_gemm": "split_shape",
    "phase_combination": "additive",
    "experts": "grouped",
    "all_reduce_us": 9.0,
    "link_efficiency": 0.7,
}


def test_the_most_experts_on_one_gpu_are_the_mean_over_all_sets_of_visited_ones():
    for visited in range(7):
        most = [
            max(sum(e // 2 == gpu for e in chosen) for gpu in range(3)) for chosen in combinations(range(6), visited)
        ]
        assert most_on_one_gpu(6, 3)[visited] == pytest.approx(fmean(most))


@pytest.mark.parametrize("tokens", [1, 3, 12, 100])
@pytest.mark.parametrize(("experts", "per_token", "gpus"), [(64, 4, 4), (128, 8, 8), (32, 1, 2)])
def test_experts_and_visits_of_the_busiest_gpu_agree_with_drawn_routings(experts, per_token, gpus, tokens):
    drawn, touched, visits = Random(7), [], []
    for _ in range(400):
        counts = [0] * experts
        for _ in range(tokens):
            for expert in drawn.sample(range(experts), per_token):
                counts[expert] += 1
        held = [counts[gpu::gpus] for gpu in range(gpus)]
        touched.append(max(sum(count > 0 for count in own) for own in held))
        visits.append(max(map(sum, held)))
    load = ExpertLoad(
        model(num_local_experts=experts, num_experts_per_tok=per_token), Parallelism(gpus, expert_parallel=True)
    )
    assert load.touched(tokens) == pytest.approx(fmean(touched), rel=0.04)
    assert load.visits(tokens) == pytest.approx(fmean(visits), rel=0.06)


def test_the_largest_of_two_normal_variables_is_known():
    assert largest_of_normals(2) == pytest.approx(1 / 3.141592653589793**0.5)


def test_the_busiest_gpu_reads_more_than_a_slice_of_every_visited_expert_and_no_more_than_all_its_own():
    for tokens in (1, 8, 64, 512):
        sliced, whole = Weights(MIXTURE, parallel=4).bytes(tokens), Weights(MIXTURE, parallel=WHOLE).bytes(tokens)
        assert sliced <= whole <= Weights(MIXTURE, parallel=4).bytes(10**6) * (1 + 1e-12)
    assert Weights(MIXTURE, parallel=WHOLE).bytes(1) > 1.2 * Weights(MIXTURE, parallel=4).bytes(1)
    assert GemmFlops(MIXTURE, parallel=WHOLE).of(10**6) == pytest.approx(GemmFlops(MIXTURE, parallel=4).of(10**6), 0.01)


def test_a_group_reads_its_own_rest_and_experts_for_the_tokens_of_all():
    dense, expert = Weights(model(intermediate_size=1)).bytes(1), Weights(MIXTURE).bytes(10**6)
    own = Weights(MIXTURE, parallel=GROUPS)
    assert own.bytes(10**6) < expert
    assert own.bytes(8, 24) == own.bytes(32) > own.bytes(8)
    assert dense < own.bytes(1)


@pytest.mark.parametrize("options", [PHYSICS, ROOFLINE], ids=["physics", "roofline"])
def test_both_families_price_whole_experts_and_groups_and_explain_the_same(options):
    batch = Batch(prefill=((0, 500), (64, 200)), decode=(100, 900, 40), elsewhere=1300)
    for parallel in (WHOLE, GROUPS, Parallelism(2, 2), Parallelism(2, 2, expert_parallel=True)):
        built = step_time(options, of=MIXTURE, tp=parallel, on=LINKED)
        for one in (batch, Batch(decode=(7,) * 9, elsewhere=30), Batch(prefill=((0, 33),), elsewhere=2)):
            assert built.step_time_us(BatchSums.of(one, built.kv_breakpoints)) == built.explain(one).total_us


@pytest.mark.parametrize("options", [PHYSICS, ROOFLINE], ids=["physics", "roofline"])
def test_whole_experts_are_slower_than_slices_where_few_are_visited(options):
    few = BatchSums.of(Batch(decode=(100, 200)))
    whole, sliced = (step_time(options, of=MIXTURE, tp=parallel, on=LINKED) for parallel in (WHOLE, Parallelism(4)))
    assert whole.step_time_us(few) > sliced.step_time_us(few)


@pytest.mark.parametrize("options", [PHYSICS, ROOFLINE], ids=["physics", "roofline"])
def test_tokens_of_other_groups_cost_time_in_the_experts_and_on_the_links(options):
    built = step_time(options, of=MIXTURE, tp=GROUPS, on=LINKED)
    alone, beside = (Batch(prefill=((0, 4000),), elsewhere=elsewhere) for elsewhere in (0, 12_000))
    assert built.explain(beside).communication_us > built.explain(alone).communication_us
    assert built.step_time_us(BatchSums.of(beside)) > 1.2 * built.step_time_us(BatchSums.of(alone))


def test_groups_exchange_tokens_twice_a_layer_with_experts_and_reduce_nothing_where_heads_are_not_split():
    mixture = MIXTURE.model_copy(update={"first_k_dense_replace": 1})
    only_launches = {**PHYSICS, "link_efficiency": None}
    built = step_time(only_launches, of=mixture, tp=Parallelism(1, 4, expert_parallel=True), on=H100)
    assert built.explain(Batch(decode=(1,))).communication_us == 2 * 3 * 9.0
    both = step_time(only_launches, of=mixture, tp=Parallelism(2, 2, expert_parallel=True), on=H100)
    assert both.explain(Batch(decode=(1,))).communication_us == 2 * 3 * 9.0 + 2 * 4 * 9.0


def test_a_norm_across_split_heads_costs_one_more_all_reduce_a_layer():
    across = MIXTURE.model_copy(update={"qk_norm_across_heads": True})
    plain, normed = (step_time(PHYSICS, of=of, tp=2, on=LINKED).explain(Batch(decode=(1,))) for of in (MIXTURE, across))
    assert normed.communication_us - plain.communication_us == pytest.approx(4 * 9.0)
    assert step_time(PHYSICS, of=across, on=LINKED).explain(Batch(decode=(1,))).communication_us == 0


def test_visits_of_one_gpu_alone_are_all_visits():
    load = ExpertLoad(MIXTURE, Parallelism(1, expert_parallel=True))
    assert load.visits(10) == 40
    assert load.touched(10) == experts_touched(64, 4, 10)
