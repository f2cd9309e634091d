"""Configurations as publishers ship them: what is read, what is passed over, what is refused by name."""

from __future__ import annotations

import pytest

from simulator.errors import RooflineLabError, UnsupportedError
from simulator.model import model_from_config
from simulator.steptime.traffic import Weights

COMMON = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.47.0",
    "use_cache": True,
}
QWEN3_MIXTURE = {
    **COMMON,
    "architectures": ["Qwen3MoeForCausalLM"],
    "decoder_sparse_step": 1,
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_window_layers": 48,
    "mlp_only_layers": [],
    "moe_intermediate_size": 768,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "sliding_window": None,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
PHI = {
    **COMMON,
    "architectures": ["Phi3ForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"},
    "embd_pdrop": 0.0,
    "hidden_size": 5120,
    "intermediate_size": 17920,
    "num_attention_heads": 40,
    "num_hidden_layers": 40,
    "num_key_value_heads": 10,
    "original_max_position_embeddings": 16384,
    "partial_rotary_factor": 1.0,
    "resid_pdrop": 0.0,
    "sliding_window": None,
    "vocab_size": 100352,
}
GEMMA = {
    **{key: value for key, value in COMMON.items() if key != "tie_word_embeddings"},
    "architectures": ["Gemma2ForCausalLM"],
    "attn_logit_softcapping": 50.0,
    "cache_implementation": "hybrid",
    "final_logit_softcapping": 30.0,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 3584,
    "intermediate_size": 14336,
    "num_attention_heads": 16,
    "num_hidden_layers": 42,
    "num_key_value_heads": 8,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "sliding_window_size": 4096,
    "vocab_size": 256000,
}
LLAMA_4_TEXT = {
    **COMMON,
    "architectures": ["Llama4ForCausalLM"],
    "attention_chunk_size": 8192,
    "head_dim": 128,
    "hidden_size": 5120,
    "interleave_moe_layer_step": 1,
    "intermediate_size": 8192,
    "intermediate_size_mlp": 16384,
    "no_rope_layers": [],
    "num_attention_heads": 40,
    "num_experts_per_tok": 1,
    "num_hidden_layers": 48,
    "num_key_value_heads": 8,
    "num_local_experts": 16,
    "use_qk_norm": True,
    "vocab_size": 202048,
}


def read(config, **changes):
    whole = {"id": "m", "source": "as published", **config, **changes}
    return model_from_config({key: value for key, value in whole.items() if value != "left out"}, source="m.json")


@pytest.mark.parametrize(
    ("config", "parameters"),
    [(QWEN3_MIXTURE, 30.53e9), (PHI, 14.66e9), (GEMMA, 9.24e9), (LLAMA_4_TEXT, 107.77e9)],
    ids=["Qwen3-30B-A3B", "Phi-4", "Gemma-2-9B", "Llama-4-Scout"],
)
def test_files_as_published_add_up_to_the_published_number_of_parameters(config, parameters):
    model = read(config)
    layers_and_head = Weights(model, lm_head=True).bytes(1_000_000) / 2
    embeddings = 0 if model.tie_word_embeddings else model.vocab_size * model.hidden_size
    assert layers_and_head + embeddings == pytest.approx(parameters, rel=0.001)


def test_embeddings_of_gemma_are_tied_and_llama_4_shares_an_expert_without_saying_so():
    assert read(GEMMA).tie_word_embeddings
    assert read(LLAMA_4_TEXT).n_shared_experts == 1
    assert read(LLAMA_4_TEXT, n_shared_experts=2).n_shared_experts == 2


def test_attention_to_a_part_of_the_context_is_announced_however_it_is_written():
    assert any("8192 is not modelled" in warning for warning in read(LLAMA_4_TEXT).warnings)
    assert any("4096 is not modelled" in warning for warning in read(GEMMA).warnings)
    windowed = read(PHI, sliding_window=2047, layer_types=["sliding_attention", "full_attention"])
    assert any("2047 is not modelled" in warning for warning in windowed.warnings)
    assert not read(PHI, sliding_window=2047, layer_types=["full_attention"]).warnings


def test_newer_names_of_the_type_and_of_rotation_are_understood():
    model = read(PHI, torch_dtype="left out", dtype="float16", rope_parameters={"rope_theta": 1e6})
    assert model.torch_dtype == "float16"


def test_a_model_of_four_byte_floats_is_announced():
    assert any("4 bytes per value" in warning for warning in read(PHI, torch_dtype="float32").warnings)


COMPRESSED = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}}


def compressed(**weights):
    return {**COMPRESSED, "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float", **weights}}}}


@pytest.mark.parametrize(
    "stated",
    [
        {"quant_method": "fp8", "weight_block_size": [128, 128]},
        {"quant_method": "fbgemm_fp8"},
        {"quant_method": "modelopt", "quant_algo": "FP8"},
        compressed(),
    ],
)
def test_eight_bit_floats_are_recognised_under_all_their_names(stated):
    assert read(PHI, quantization_config=stated).weight_bytes == 1


@pytest.mark.parametrize(
    "stated",
    [
        {"quant_method": "awq", "bits": 4},
        {"quant_method": "modelopt", "quant_algo": "NVFP4"},
        {"quant_method": ["fp8"]},
        {},
        COMPRESSED,
        compressed(num_bits=4, type="int"),
        {"quant_method": "compressed-tensors", "config_groups": {"group_0": None}},
    ],
)
def test_other_quantization_is_refused_and_never_priced_as_sixteen_bits(stated):
    with pytest.raises(UnsupportedError, match=r"m\.json: quantization_config: method .* is not modelled"):
        read(PHI, quantization_config=stated)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mlp_only_layers": [0]}, "dense and expert layers mixed"),
        ({"shared_expert_intermediate_size": 5632}, "a shared expert of another width"),
        ({"layer_types": ["linear_attention"]}, "layer_types: 'linear_attention' is not modelled"),
        ({"layer_types": [["full_attention"]]}, "is not modelled"),
        ({"hidden_act": "gelu_pytorch_tanh"}, "gelu_pytorch_tanh' is not modelled"),
        ({"architectures": ["DeepseekV2ForCausalLM"], "kv_lora_rank": 512}, "multi-head latent attention"),
    ],
)
def test_what_would_be_priced_wrongly_is_refused_by_name(changes, message):
    with pytest.raises(UnsupportedError) as caught:
        read(QWEN3_MIXTURE, **changes)
    assert message in str(caught.value)


@pytest.mark.parametrize("changes", [{"layer_types": "all"}, {"quantization_config": 8}, {"new_key": 1}])
def test_a_key_nobody_knows_is_an_error_and_never_passed_over(changes):
    with pytest.raises(RooflineLabError, match=next(iter(changes))):
        read(PHI, **changes)
