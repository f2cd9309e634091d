"""Ways to spread a model over GPUs: what they are called, and which are refused before anything runs."""

from __future__ import annotations

import pytest

from simulator.errors import ConfigError, UnsupportedError
from simulator.memory import memory_plan, weight_bytes
from simulator.parallelism import Parallelism, require_runnable
from simulator.steptime.matrices import expert_matrices, stored_bytes
from tests.simulator.steptime.support import H100, LLAMA_70B, V1_PARAMETERS, model, step_time

EXPERTS = model(num_local_experts=8, num_experts_per_tok=2, moe_intermediate_size=1536, num_key_value_heads=8)


def test_a_way_to_spread_a_model_is_written_as_people_write_it():
    assert str(Parallelism(4)) == "TP 4"
    assert str(Parallelism(2, 4, expert_parallel=True)) == "TP 2 x DP 4 with expert parallelism"
    assert Parallelism(2, 4).gpus == 8


@pytest.mark.parametrize(
    ("of", "parallel", "said"),
    [
        (EXPERTS, Parallelism(1, 3, expert_parallel=True), "8 experts cannot be dealt out evenly over 3 GPUs"),
        (EXPERTS, Parallelism(1, 5), "moe_intermediate_size 1536 is not divisible by the 5 GPUs"),
        (LLAMA_70B, Parallelism(8, expert_parallel=True), "expert_parallel: the model has no experts"),
        (LLAMA_70B, Parallelism(1, 8), "attention_data_parallel 8: the model has no experts"),
        (LLAMA_70B, Parallelism(3), "8 KV heads, which 3 GPUs can neither split nor copy evenly"),
        (EXPERTS, Parallelism(0), "tensor_parallel: must be a whole number of at least 1"),
        (EXPERTS, Parallelism(1, True), "attention_data_parallel: must be a whole number of at least 1"),
    ],
)
def test_a_topology_that_cannot_be_is_refused_by_name(of, parallel, said):
    with pytest.raises(ConfigError) as caught:
        require_runnable(of, parallel)
    assert said in str(caught.value)


def test_all_that_is_wrong_with_a_topology_is_told_at_once():
    with pytest.raises(ConfigError, match="3 problems") as caught:
        require_runnable(EXPERTS, Parallelism(3, expert_parallel=True))
    for said in ("num_attention_heads 8", "8 KV heads", "8 experts"):
        assert said in str(caught.value)


def test_whole_experts_need_no_width_that_can_be_split():
    narrow = model(num_local_experts=8, num_experts_per_tok=2, moe_intermediate_size=1001)
    with pytest.raises(ConfigError, match="moe_intermediate_size 1001"):
        require_runnable(narrow, 2)
    require_runnable(narrow, Parallelism(2, expert_parallel=True))


def test_a_gpu_holds_as_many_bytes_of_experts_whole_or_in_slices_and_a_whole_rest_per_group():
    assert weight_bytes(EXPERTS, Parallelism(8, expert_parallel=True)) == weight_bytes(EXPERTS, 8)
    experts = 8 * stored_bytes(EXPERTS, expert_matrices(EXPERTS))
    rest = weight_bytes(EXPERTS, 1) - experts
    assert weight_bytes(EXPERTS, Parallelism(1, 4, expert_parallel=True)) == pytest.approx(rest + experts / 4)


def test_a_group_keeps_the_kv_cache_of_its_own_requests_whole():
    spread = memory_plan(EXPERTS, H100, Parallelism(1, 8, expert_parallel=True))
    assert spread.block_bytes == memory_plan(EXPERTS, H100, 1).block_bytes
    assert spread.block_bytes == 8 * memory_plan(EXPERTS, H100, 8).block_bytes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"family": "calibrated_roofline", "parameters": V1_PARAMETERS},
            "which the calibrated roofline does not describe",
        ),
        ({}, "needs tensor_parallel_gemm: split_shape and phase_combination: additive"),
    ],
)
def test_formulas_that_know_no_such_experts_refuse_them(options, said):
    with pytest.raises(UnsupportedError) as caught:
        step_time(options, of=EXPERTS, tp=Parallelism(1, 4, expert_parallel=True))
    assert said in str(caught.value)
