"""The server of a `run`: KV blocks follow from memory, and what cannot be served is said."""

from __future__ import annotations

import json

import pytest

from simulator.cli.catalog import SHIPPED_CONFIGS
from tests.simulator.cli.support import SMALL, invoke, refused

LARGE = ["run", "--model", "llama-3.1-70b-instruct", "--num-requests", "4", "--rate", "5"]
LENGTHS = ["--prompt-tokens", "40", "--output-tokens", "5"]


def test_a_model_larger_than_its_gpus_is_refused_with_what_takes_how_much():
    message = refused(*LARGE, "--prompt-tokens", 500, "--output-tokens", 50)
    assert "no room for a KV cache in nine tenths of the memory of 1 x h100-sxm: 131.4 GiB of weights" in message
    assert "tensor_parallel" in message
    assert invoke(*LARGE, *LENGTHS, "--tp", 4).code == 0


def test_stated_kv_blocks_do_not_make_room_for_weights_beyond_the_memory():
    assert "no room for a KV cache" in refused(*LARGE, *LENGTHS, "--kv-blocks", 100)


def test_kv_blocks_follow_from_the_memory_and_the_share_of_it():
    memory = [
        invoke(*SMALL, *share).json["memory"] for share in ([], ["--gpu-memory-utilization", 0.5], ["--kv-blocks", 7])
    ]
    assert [each["gpu_memory_utilization"] for each in memory] == [0.9, 0.5, 0.9]
    block_gib = 16 * 2 * 32 * 4096 * 2 / 2**30
    for each in memory[:2]:
        left = each["allowed_gib"] - each["weights_gib"] - each["activations_gib"] - each["overhead_gib"]
        assert each["kv_blocks"] == pytest.approx(left / block_gib, abs=2)
        assert each["kv_cache_gib"] == pytest.approx(left, abs=block_gib + 0.002)
    assert memory[2]["kv_blocks"] == 7
    assert memory[2]["kv_cache_gib"] == pytest.approx(7 * block_gib, abs=0.001)


def test_a_share_of_memory_beside_stated_kv_blocks_has_no_effect_and_is_refused():
    message = refused(*SMALL, "--kv-blocks", 700, "--gpu-memory-utilization", 0.5)
    assert "engine.gpu_memory_utilization: no effect beside engine.kv_blocks 700" in message


def test_a_server_without_room_for_its_longest_request_is_said_not_to_start():
    nearly_full = [*LARGE, *LENGTHS, "--tp", 2]
    run = invoke(*nearly_full)
    (warning,) = run.json["warnings"]
    tokens = 16 * run.json["memory"]["kv_blocks"]
    assert f"room for {tokens} tokens, and one request may have 131072" in warning
    assert f"warning: {warning}" in run.err
    assert invoke(*nearly_full, "--max-model-len", tokens).json["warnings"] == []
    assert "(engine.max_model_len_tokens)" in invoke(*nearly_full, "--max-model-len", 50_000).json["warnings"][0]
    assert invoke(*nearly_full, "--kv-blocks", 500).json["warnings"] == []


def test_layers_with_a_window_hold_less_of_the_longest_request(tmp_path):
    config = json.loads((SHIPPED_CONFIGS / "models" / "llama-3.1-70b-instruct.json").read_text())
    for layers, starts in ((0, False), (40, False), (75, True)):
        path = tmp_path / f"windowed-{layers}.json"
        window = {"sliding_window": 1024, "sliding_window_layers": layers} if layers else {}
        path.write_text(json.dumps({**config, **window, "id": path.stem, "max_position_embeddings": 100_000}))
        warnings = invoke("run", "--model", path, "--tp", 2, *SMALL[3:]).json["warnings"]
        assert any("vLLM does not start" in each for each in warnings) is not starts


def test_a_full_batch_nobody_stated_is_said_with_what_the_server_would_take():
    many = ["run", "--model", "llama-2-7b-hf", "--num-requests", 300, "--concurrency", 300, "--prompt-tokens", 8]
    many += ["--output-tokens", "40-60"]
    (warning,) = invoke(*many).json["warnings"]
    assert "the largest batch was full: 256 requests" in warning
    assert "--max-running 1024" in warning
    assert invoke(*many, "--max-running", 256).json["warnings"] == []
    assert not any("largest batch" in each for each in invoke(*many, "--hardware", "a100-sxm").json["warnings"])


def test_a_horizon_that_cuts_requests_off_is_said_with_how_many():
    run = invoke(*SMALL, "--horizon-us", 300_000).json
    done = run["requests"]["completed"]
    assert 0 < done < 4
    assert f"engine.horizon_us 300000 ended the run with {4 - done} of 4 requests" in run["warnings"][0]
    assert invoke(*SMALL, "--horizon-us", 10**9).json["warnings"] == []


def test_an_eight_bit_cache_has_twice_the_blocks():
    sixteen, eight = (
        invoke(*SMALL, "--kv-cache-dtype", dtype).json["memory"]["kv_blocks"] for dtype in ("auto", "fp8")
    )
    assert eight == pytest.approx(2 * sixteen, abs=1)


def test_stated_kv_blocks_beyond_the_memory_are_pointed_out_once_they_are_used():
    command = ["run", "--model", "llama-2-7b-hf", "--num-requests", 60, "--rate", 1e6, "--kv-blocks", 1_000_000]
    lengths = ["--output-tokens", 2, "--token-budget", 200_000]
    used = invoke(*command, "--prompt-tokens", 3000, *lengths).json["warnings"]
    spared = invoke(*command, "--prompt-tokens", 30, *lengths).json["warnings"]
    assert any("GiB that h100-sxm has left beside the weights" in warning for warning in used)
    assert not any("left beside the weights" in warning for warning in spared)


def test_a_request_longer_than_the_server_takes_is_refused_and_one_longer_than_the_model_announced():
    longer = ["run", "--model", "llama-2-7b-hf", "--num-requests", 3, "--rate", 1, "--output-tokens", 5]
    assert "3 of 3 requests are longer (prompt and answer together, at most 5005 in request_0)" in refused(
        *longer, "--prompt-tokens", 5000, "--max-model-len", 4000
    )
    warnings = invoke(*longer, "--prompt-tokens", 5000).json["warnings"]
    assert any("longer" in each and "4096 tokens of llama-2-7b-hf" in each for each in warnings)
    assert not any("max_position" in each for each in invoke(*longer, "--prompt-tokens", 4091).json["warnings"])
    stretched = invoke(*longer, "--prompt-tokens", 5000, "--max-model-len", 8192).json["warnings"]
    assert any("8192 is more than the 4096 tokens" in each for each in stretched)


def test_requests_that_can_never_fit_are_one_clear_warning():
    (none,) = (each for each in invoke(*SMALL, "--kv-blocks", 2).json["warnings"] if "served" in each)
    assert "no request was served: all 4 of 4 need more than the 32 tokens" in none
    assert not any("served" in each for each in invoke(*SMALL).json["warnings"])


def test_more_gpus_than_the_links_join_are_refused():
    message = refused("run", "--model", "llama-3.1-8b", "--tp", 16, "--num-requests", 1, "--rate", 1, *LENGTHS)
    assert "the links of h100-sxm join 8" in message


def test_heads_and_layers_that_cannot_be_split_are_refused():
    message = refused("run", "--model", "phi-4", "--tp", 4, "--num-requests", 1, "--rate", 1, *LENGTHS)
    assert "phi-4 has 10 KV heads, which 4 GPUs can neither split nor copy evenly" in message


def test_blocks_of_quantized_weights_that_would_be_cut_are_announced(tmp_path):
    config = {
        "architectures": ["Qwen3MoeForCausalLM"],
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "moe_intermediate_size": 768,
        "num_attention_heads": 32,
        "num_experts": 16,
        "num_experts_per_tok": 2,
        "num_hidden_layers": 4,
        "num_key_value_heads": 4,
        "vocab_size": 32000,
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = ["run", "--model", tmp_path, "--num-requests", 1, "--rate", 1, *LENGTHS, "--tp"]
    assert any("over 8 GPUs is 96, no whole number of blocks" in each for each in invoke(*command, 8).json["warnings"])
    assert not any("blocks of 128" in each for each in invoke(*command, 2).json["warnings"])


def test_a_share_of_memory_is_a_share():
    assert "gpu_memory_utilization" in refused(*SMALL, "--gpu-memory-utilization", 1.5)


def test_the_memory_of_a_downloaded_folder_counts_its_eight_bit_weights(tmp_path):
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "torch_dtype": "bfloat16",
    }
    weights = []
    for name in ("sixteen", "eight"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        if name == "eight":
            (folder / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}))
        report = invoke("run", "--model", folder, "--num-requests", 1, "--rate", 1, *LENGTHS).json
        weights.append(report["memory"]["weights_gib"])
    assert weights[1] == pytest.approx(weights[0] - 6.98e9 / 2**30, abs=0.01)


MIXTURE_RUN = ["run", "--model", "qwen3-30b-a3b", "--num-requests", 12, "--concurrency", 6, "--prompt-tokens", 300]
MIXTURE_RUN += ["--output-tokens", 20]


def test_whole_experts_and_groups_are_settings_of_a_run_and_change_its_times():
    sliced = json.loads(invoke(*MIXTURE_RUN, "--tp", 4).out)
    whole = json.loads(invoke(*MIXTURE_RUN, "--tp", 4, "--expert-parallel").out)
    grouped = json.loads(invoke(*MIXTURE_RUN, "--tp", 1, "--attention-data-parallel", 4, "--ep").out)
    assert (whole["expert_parallel"], whole["attention_data_parallel"]) == (True, 1)
    assert (grouped["expert_parallel"], grouped["attention_data_parallel"]) == (True, 4)
    assert whole["memory"]["weights_gib"] == sliced["memory"]["weights_gib"] < grouped["memory"]["weights_gib"]
    itl = [report["metrics"]["itl_ratio_of_means"]["value"] for report in (sliced, whole, grouped)]
    assert len(set(itl)) == 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--tp", 1, "--attention-data-parallel", 3, "--ep"], "128 experts cannot be dealt out evenly over 3 GPUs"),
        (["--tp", 8, "--attention-data-parallel", 2], "16 GPUs, but the links of"),
        (["--data-parallel", 2], "engine.attention_data_parallel groups of one server; instances that share nothing"),
    ],
)
def test_a_spread_that_cannot_be_stops_a_run(flags, said):
    assert said in refused(*MIXTURE_RUN, *flags)
