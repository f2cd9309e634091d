"""How a GPU's memory is divided, against what servers printed."""

from __future__ import annotations

import pytest

from simulator.errors import UnsupportedError
from simulator.hardware import load_hardware
from simulator.memory import GIB, memory_plan, require_room, weight_bytes
from simulator.model_files import load_model
from tests.paths import ROOT

# KV blocks of 16 tokens as vLLM 0.19 printed them on H100-80GB with gpu_memory_utilization 0.95 and nothing else set
# (github.com/llm-d-incubation/llm-d-planner, accuracy results v0.19.0).
PRINTED = {
    "llama-3.1-8b": {1: 29_750, 2: 65_293, 4: 138_112},
    "qwen2.5-7b-instruct": {1: 68_500, 2: 149_412, 4: 315_205},
    "phi-4": {1: 15_098, 2: 37_924},
    "qwen3-8b": {1: 26_168, 4: 122_064},
    "qwen3-30b-a3b": {1: 10_518, 4: 153_379},
    "mixtral-8x7b-v0.1": {2: 29_121, 4: 103_277},
    "qwen2.5-72b-instruct": {2: 1_245, 4: 30_100},
}
# Where weights nearly fill the GPU.
NEARLY_FULL = {("qwen3-30b-a3b", 1), ("mixtral-8x7b-v0.1", 2), ("qwen2.5-72b-instruct", 2)}
SERVERS = [(name, degree, blocks) for name, degrees in PRINTED.items() for degree, blocks in degrees.items()]


def model_of(name):
    return load_model(ROOT / "configs" / "models" / f"{name}.json")


def gpu(name="h100-sxm"):
    return load_hardware(ROOT / "configs" / "hardware" / f"{name}.yaml")


@pytest.mark.parametrize(("name", "degree", "printed"), SERVERS)
def test_kv_blocks_are_those_that_servers_printed(name, degree, printed):
    plan = memory_plan(model_of(name), gpu(), degree, share=0.95)
    assert plan.kv_blocks == pytest.approx(printed, rel=0.10 if (name, degree) in NEARLY_FULL else 0.03)


def test_the_table_of_a_rotation_over_millions_of_positions_is_on_every_gpu():
    """Of 10,485,760 positions, 128 values of 2 bytes each; servers of up to 131,072 have theirs in the overhead."""
    model = model_of("llama-4-scout-17b-16e-instruct-fp8")
    shorter = model.model_copy(update={"max_position_embeddings": 131_072})
    for degree in (2, 4):
        plans = [memory_plan(each, gpu(), degree) for each in (model, shorter)]
        assert plans[0].overhead - plans[1].overhead == (10_485_760 - 131_072) * 128 * 2


# KV blocks that vLLM 0.15.1 printed on H100-80GB, with 0.9 of its memory and 128 requests, of the model with a million
# positions (inference-sim, testdata/trained_physics_iter29.json at f90a1e3a).
@pytest.mark.parametrize(("degree", "tokens", "printed"), [(1, 2048, 19_251), (2, 1024, 48_009)])
def test_a_server_of_a_model_with_a_million_positions_has_the_blocks_it_printed(degree, tokens, printed):
    limits = {"token_budget": tokens, "max_running": 128, "graphs_counted": False}
    plan = memory_plan(model_of("mistral-nemo-instruct-2407"), gpu(), degree, **limits)
    assert plan.kv_blocks == pytest.approx(printed, rel=0.02)


def test_weights_are_split_and_what_every_gpu_holds_is_not():
    model = model_of("qwen3-30b-a3b")
    whole, split = weight_bytes(model, 1), weight_bytes(model, 8)
    norms_and_routers = 48 * (2 * 2048 + 2048 * 128) * 2
    second_copy_of_kv_heads = 48 * 2 * 2048 * 4 * 128 * 2
    assert 8 * split == whole + 7 * norms_and_routers + second_copy_of_kv_heads


def test_eight_bit_weights_take_half_and_embeddings_and_kept_layers_stay():
    model = model_of("llama-3.1-70b-instruct")
    eight = model.model_copy(update={"quantization": "fp8"})
    kept = model.model_copy(update={"quantization": "fp8", "unquantized_attention_layers": 80})
    vocabulary, attention = 2 * 128256 * 8192, 80 * 8192 * (2 * 8192 + 2 * 1024)
    norms = 80 * 2 * 8192
    assert weight_bytes(eight, 1) == (weight_bytes(model, 1) + (vocabulary + norms) * 2) / 2
    assert weight_bytes(kept, 1) - weight_bytes(eight, 1) == attention


def test_four_bit_weights_take_a_quarter_and_their_scales():
    model = model_of("llama-3.1-70b-instruct")
    four = model.model_copy(update={"quantization": "int4"})
    assert weight_bytes(four, 1) / 2**30 == pytest.approx(68.45e9 * 0.515625 / 2**30 + 2 * 2.102e9 / 2**30, rel=0.01)


def test_larger_batches_leave_less_room():
    model = model_of("llama-3.1-8b")
    plans = [memory_plan(model, gpu(), 1, token_budget=t, max_running=r) for t, r in ((2048, 256), (8192, 1024))]
    assert plans[0].room > plans[1].room + GIB
    assert plans[1] == memory_plan(model, gpu(), 1)


def test_a_small_gpu_profiles_small_batches():
    model = model_of("llama-3.1-8b")
    assert memory_plan(model, gpu("a100-sxm"), 1) == memory_plan(
        model, gpu("a100-sxm"), 1, token_budget=2048, max_running=256
    )


def test_a_model_without_room_is_refused_with_the_sum():
    model = model_of("qwen2.5-72b-instruct")
    with pytest.raises(UnsupportedError, match=r"the memory of 2 x h100-sxm: 67.7 GiB of weights"):
        require_room(model, gpu(), 2, memory_plan(model, gpu(), 2))
    require_room(model, gpu(), 2, memory_plan(model, gpu(), 2, share=0.95))


def test_what_the_driver_leaves_of_a_gpu_is_what_programs_see():
    assert gpu("l40s").usable_memory == 44.4 * GIB
    assert gpu().usable_memory == pytest.approx(79.2 * GIB)


def test_layers_with_a_window_keep_it_for_every_request_and_blocks_hold_the_others():
    """36 layers of 2 x 8 x 64 values of 2 bytes; half of them keep 128 tokens and a block of 16."""
    oss = model_of("gpt-oss-120b")
    plan = memory_plan(oss, gpu("h200-sxm"), 1, max_running=64)
    layer_token = 2 * 8 * 64 * 2
    assert plan.block_bytes == 16 * 18 * layer_token
    assert plan.windows == 64 * (128 + 16) * 18 * layer_token
    crowded = memory_plan(oss, gpu("h100-sxm"), 1)
    everything = crowded.room + crowded.windows
    assert crowded.windows == pytest.approx(everything / 2)
    assert memory_plan(model_of("llama-3.1-8b"), gpu(), 1).windows == 0
