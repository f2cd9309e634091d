"""Configurations as publishers ship them: what is read, what is passed over, what is refused by name."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import RooflineLabError, UnsupportedError
from simulator.huggingface import encoder_parameters
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


COMPRESSED = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}}


FLOAT_8 = {"weights": {"num_bits": 8, "type": "float"}, "input_activations": {"num_bits": 8, "type": "float"}}
INT_8 = {"weights": {"num_bits": 8, "type": "int"}, "input_activations": {"num_bits": 8, "type": "int"}}
INT_4 = {"weights": {"num_bits": 4, "type": "int"}, "input_activations": None}
GROUPS_OF_32 = {"weights": {"num_bits": 4, "type": "int", "group_size": 32}, "input_activations": None}


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


def test_experts_a_file_leaves_to_its_class_are_filled_in_and_the_model_is_not_taken_for_a_dense_one():
    said = ("num_experts", "num_local_experts", "num_experts_per_tok", "moe_intermediate_size")
    silent = dict.fromkeys(said, "left out")
    mixtral = {"architectures": ["MixtralForCausalLM"], "num_key_value_heads": 8}
    assert read(QWEN3_MIXTURE, **silent) == read(QWEN3_MIXTURE)
    assert read(LLAMA_4_TEXT, **silent) == read(LLAMA_4_TEXT)
    model = read(PHI, **mixtral)
    assert (model.num_local_experts, model.num_experts_per_tok) == (8, 2)


def test_a_window_as_long_as_the_context_leaves_nothing_out_and_is_not_announced():
    for window, announced in ((262144, False), (131072, False), (2047, True)):
        warnings = read(PHI, sliding_window=window, max_position_embeddings=131072).warnings
        assert any("sliding_window" in warning for warning in warnings) is announced


def test_the_first_gemmas_word_for_its_activation_is_known_and_refused_of_others():
    assert read(GEMMA, architectures=["GemmaForCausalLM"], hidden_act="gelu", hidden_activation=None).hidden_act
    with pytest.raises(UnsupportedError, match="hidden_act 'gelu' is not modelled"):
        read(PHI, hidden_act="gelu")


def test_the_encoder_of_qwen2_vl_has_the_width_it_calls_embed_dim():
    older = {"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "spatial_merge_size": 2, "mlp_ratio": 4}
    gated = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "hidden_act": "silu"}
    newer = {**gated, "out_hidden_size": 3584, "spatial_merge_size": 2}
    for encoder in (older, newer):  # published: 0.675 billion
        assert encoder_parameters(encoder) == pytest.approx(0.675e9, rel=0.01)


def test_gemma_3_says_how_long_its_stretched_context_is():
    gemma = {"architectures": ["Gemma3ForCausalLM"], "max_position_embeddings": 131072}
    stretched = {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}}
    assert read(GEMMA, **gemma, **stretched).max_position_embeddings == 131072


def test_attention_to_a_part_of_the_context_is_announced_however_it_is_written():
    assert any("8192 is not modelled" in warning for warning in read(LLAMA_4_TEXT).warnings)
    assert any("4096 is not modelled" in warning for warning in read(PHI, sliding_window=4096).warnings)
    assert not read(PHI, sliding_window=2047, layer_types=["full_attention"]).warnings


def test_layers_that_slide_are_counted_from_their_list_or_the_pattern_of_their_family():
    alternating = ["sliding_attention", "full_attention"] * 20
    listed = read(PHI, sliding_window=2047, layer_types=alternating)
    assert (listed.sliding_window_layers, listed.warnings) == (20, ())
    assert (read(GEMMA).sliding_window_layers, read(GEMMA).sliding_window) == (21, 4096)
    gemma_3 = {"architectures": ["Gemma3ForCausalLM"], "num_hidden_layers": 34, "sliding_window": 1024}
    assert read(GEMMA, **gemma_3).sliding_window_layers == 29
    assert read(GEMMA, **gemma_3, sliding_window_pattern=2).sliding_window_layers == 17
    assert read(PHI, sliding_window=2047, layer_types=["chunked_attention"] * 40).sliding_window_layers == 0


GPT_OSS = {
    **{key: value for key, value in COMMON.items() if key != "torch_dtype"},
    "architectures": ["GptOssForCausalLM"],
    "attention_bias": True,
    "experts_per_token": 2,
    "head_dim": 64,
    "hidden_size": 1024,
    "initial_context_length": 4096,
    "intermediate_size": 1024,
    "layer_types": ["sliding_attention", "full_attention"] * 4,
    "num_attention_heads": 16,
    "num_hidden_layers": 8,
    "num_key_value_heads": 4,
    "num_local_experts": 16,
    "quantization_config": {
        "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"],
        "quant_method": "mxfp4",
    },
    "sliding_window": 128,
    "swiglu_limit": 7.0,
    "vocab_size": 32000,
}


def test_a_file_of_gpt_oss_has_its_windows_and_its_experts_alone_in_four_bits():
    model = read(GPT_OSS, torch_dtype="bfloat16")
    assert (model.quantization, model.num_experts_per_tok, model.sliding_window_layers) == ("mxfp4", 2, 4)
    assert (model.unquantized_attention_layers, model.unquantized_feed_forward_layers) == (8, 0)


LATENT = {
    **COMMON,
    "architectures": ["DeepseekV3ForCausalLM"],
    "first_k_dense_replace": 2,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "kv_lora_rank": 512,
    "moe_intermediate_size": 256,
    "moe_layer_freq": 1,
    "n_group": 1,
    "n_routed_experts": 16,
    "n_shared_experts": 1,
    "num_attention_heads": 8,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 6,
    "num_key_value_heads": 8,
    "q_lora_rank": 384,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "topk_method": "noaux_tc",
    "v_head_dim": 128,
    "vocab_size": 32000,
}
ROUTED_ALONE = ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*"]


def test_a_file_with_latent_attention_has_its_ranks_and_its_first_dense_layers():
    model = read(LATENT)
    assert (model.kv_lora_rank, model.first_k_dense_replace, model.num_local_experts) == (512, 2, 16)
    assert model.kv_bytes_per_token == 6 * (512 + 64) * 2
    assert read(LATENT, q_lora_rank=None).q_lora_rank is None
    nested = {"architectures": ["KimiK25ForConditionalGeneration"], "model_type": "kimi_k25", "text_config": LATENT}
    assert read(nested, vision_config={"vt_hidden_size": 64}).num_hidden_layers == 6


def test_defaults_that_were_saved_with_a_file_say_nothing_unless_they_mean_another_architecture():
    saved = {
        "is_encoder_decoder": False,
        "add_cross_attention": False,
        "tie_encoder_decoder": False,
        "return_dict": True,
    }
    assert read(LATENT, **saved) == read(LATENT)
    with pytest.raises(UnsupportedError, match="is_encoder_decoder means an encoder-decoder transformer"):
        read(LATENT, is_encoder_decoder=True)


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, (0, 0, 0, 0)),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"g": INT_4}, "ignore": ROUTED_ALONE},
            (6, 0, 4, 2),
        ),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["model.layers.0*"]}, (1, 0, 0, 1)),
        (
            {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["*.mlp.shared_experts*", "*self_attn*"]},
            (6, 0, 4, 0),
        ),
    ],
)
def test_every_part_of_such_a_model_may_stay_in_sixteen_bits_alone(stated, kept):
    model = read(LATENT, quantization_config=stated)
    assert kept == (
        model.unquantized_attention_layers,
        model.unquantized_feed_forward_layers,
        model.unquantized_shared_expert_layers,
        model.unquantized_dense_layers,
    )


def test_the_output_projection_of_attention_may_be_quantized_alone():
    four_bits = {"quant_method": "modelopt", "quant_algo": "NVFP4"}
    names = ("kv_a_proj_with_mqa", "kv_b_proj", "q_a_proj", "q_b_proj")
    kept = [f"model.layers.{layer}.self_attn.{name}" for layer in range(6) for name in names]
    model = read(LATENT, quantization_config={**four_bits, "ignore": kept})
    assert (model.unquantized_attention_layers, model.unquantized_output_layers) == (6, 0)
    both = read(LATENT, quantization_config={**four_bits, "ignore": ["*self_attn*"]})
    assert Weights(both).bytes(1) - Weights(model).bytes(1) == 6 * 8 * 128 * 1024 * (2 - 0.5625)
    alone = read(PHI, quantization_config={"quant_method": "fp8", "ignore": ["re:.*o_proj"]})
    assert (alone.unquantized_attention_layers, alone.unquantized_output_layers) == (0, 40)


def test_latent_attention_that_is_quantized_in_part_is_refused():
    kept = [
        f"model.layers.{layer}.self_attn.{name}" for layer in range(6) for name in ("kv_a_proj_with_mqa", "kv_b_proj")
    ]
    with pytest.raises(UnsupportedError, match="a part of the attention of layer 0"):
        read(LATENT, quantization_config={"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": kept})


def test_the_text_part_of_a_multimodal_file_is_read_with_what_the_top_level_says_of_it():
    text = {key: value for key, value in LLAMA_4_TEXT.items() if key not in ("architectures", "torch_dtype")}
    nested = {
        "architectures": ["Llama4ForConditionalGeneration"],
        "model_type": "llama4",
        "torch_dtype": "float16",
        "tie_word_embeddings": True,
        "quantization_config": {"quant_method": "fp8"},
        "text_config": {**text, "model_type": "llama4_text", "tie_word_embeddings": False},
        "vision_config": {"hidden_size": 1408, "num_hidden_layers": 34, "intermediate_size": 5632},
        "image_token_index": 200092,
    }
    model = read(nested)
    assert (model.torch_dtype, model.quantization, model.tie_word_embeddings) == ("float16", "fp8", True)
    assert (model.n_shared_experts, model.hidden_size) == (1, 5120)
    assert model.encoder_parameters == 34 * (4 * 1408**2 + 2 * 1408 * 5632)
    assert any("their encoder counts as about 0.8 billion weights" in warning for warning in model.warnings)


@pytest.mark.parametrize("named", [{"architectures": "left out", "model_type": "llama4_text"}, {}])
def test_a_flat_text_part_has_the_shared_expert_of_its_class_whether_or_not_it_names_it(named):
    assert Weights(read(LLAMA_4_TEXT, **named)).bytes(10**6) == Weights(read(LLAMA_4_TEXT)).bytes(10**6)


def test_what_gemma_leaves_to_its_class_is_filled_in():
    sparse = {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {
            "model_type": "gemma3_text",
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "num_hidden_layers": 34,
            "sliding_window": 1024,
        },
    }
    model = read(sparse, torch_dtype="bfloat16")
    assert (model.head_dim, model.num_attention_heads, model.num_key_value_heads) == (256, 8, 4)
    assert (model.vocab_size, model.tie_word_embeddings, model.hidden_act) == (262208, True, "gelu_pytorch_tanh")
    assert Weights(model, lm_head=True).bytes(1) / 2 == pytest.approx(3.88e9, rel=0.001)


def test_another_activation_of_gemma_is_the_one_its_class_uses():
    assert read(GEMMA, hidden_act="gelu").hidden_act == "gelu_pytorch_tanh"


def test_a_model_type_nobody_knows_is_refused_where_no_architecture_is_named():
    with pytest.raises(UnsupportedError, match="model_type 'their_text' without architectures is not modelled"):
        read(PHI, architectures="left out", model_type="their_text")


def test_all_reasons_against_an_architecture_are_told_at_once():
    with pytest.raises(UnsupportedError) as caught:
        read(PHI, kv_lora_rank=512, first_k_dense_replace=3, mlp_only_layers=[0])
    for reason in ("multi-head latent attention", "dense and expert layers mixed", "mlp_only_layers"):
        assert reason in str(caught.value)


def test_what_others_have_is_no_reason_against_an_architecture_nobody_knows():
    with pytest.raises(UnsupportedError) as caught:
        read(PHI, architectures=["GlmMoeDsaForCausalLM"], kv_lora_rank=512, first_k_dense_replace=3, index_topk=2048)
    for reason in ("sparse attention through an indexer", "'GlmMoeDsaForCausalLM'"):
        assert reason in str(caught.value)
    assert "multi-head latent attention" not in str(caught.value)


def test_keys_without_a_value_say_nothing():
    silent = (
        "quantization_config",
        "layer_types",
        "mlp_only_layers",
        "attention_chunk_size",
        "text_config",
        "head_dim",
    )
    model = read(PHI, **dict.fromkeys((*silent, "head_dim", "tie_word_embeddings", "hidden_act"), None))
    assert model == read(PHI)


def test_the_older_name_of_quantization_is_never_passed_over():
    assert read(PHI, compression_config=compressed()).quantization == "fp8"


@pytest.mark.parametrize(
    ("rope", "longest"),
    [
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 131072),
        ({"rope_type": "linear", "factor": 2}, 65536),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 32768),
        (None, 32768),
    ],
)
def test_a_stretched_rotation_makes_the_context_as_long_as_a_server_takes_it(rope, longest):
    assert read(PHI, max_position_embeddings=32768, rope_scaling=rope).max_position_embeddings == longest


def test_a_foreign_key_that_says_nothing_does_not_refuse_a_model():
    assert read(PHI, kv_lora_rank=None, first_k_dense_replace=0, shared_expert_intermediate_size=0).hidden_size == 5120


def test_newer_names_of_the_type_and_of_rotation_are_understood():
    model = read(PHI, torch_dtype="left out", dtype="float16", rope_parameters={"rope_theta": 1e6})
    assert model.torch_dtype == "float16"


def float_4(group):
    four = {"num_bits": 4, "type": "float", "group_size": group}
    return {"weights": four, "input_activations": four}


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
        {"quant_method": "awq", "bits": 3},
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 64},
        {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"},
        {"quant_method": ["fp8"]},
        {},
        COMPRESSED,
        compressed(num_bits=4, type="float"),
        {
            "quant_method": "compressed-tensors",
            "config_groups": {"g": {**FLOAT_8, **{"weights": {"num_bits": 4, "type": "float", "group_size": 16}}}},
        },
        {"quant_method": "compressed-tensors", "config_groups": {"a": FLOAT_8, "b": INT_4}},
        {"quant_method": "compressed-tensors", "config_groups": {"group_0": None}},
    ],
)
def test_other_quantization_is_refused_and_never_priced_as_sixteen_bits(stated):
    with pytest.raises(UnsupportedError, match=r"m\.json: quantization_config: method .* is not modelled"):
        read(PHI, quantization_config=stated)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"config_groups": {"g": {**FLOAT_8, "targets": ["re:.*mlp.*"]}}}, "targets"),
        ({"sparsity_config": {"format": "sparse-24-bitmask"}}, "sparsity_config of format 'sparse-24-bitmask'"),
        ({"dynamic": {"-:.*down_proj": {}}}, "dynamic gives single modules other weights"),
        ({"extra_config": {"model.layers.0": {"bits": 8}}}, "extra_config gives single modules"),
        ({"lm_head": True}, "a quantized LM head"),
        ({"kv_cache_scheme": {"num_bits": 8, "type": "int"}}, "kv_cache_scheme"),
        ({"kv_cache_quant_algo": "NVFP4"}, "kv_cache_quant_algo 'NVFP4'"),
        ({"ignore": ["model.layers.3.mlp.gate_proj"]}, "a part of the feed-forward part of layer 3"),
        ({"ignore": ["model.layers.3.self_attn.k_proj"]}, "a part of the attention of layer 3"),
    ],
)
def test_what_departs_from_the_format_in_single_modules_or_in_the_cache_is_refused_by_name(more, told):
    plain = {"quant_method": "compressed-tensors", "config_groups": {"g": {**FLOAT_8, "targets": ["Linear"]}}}
    harmless = {"sparsity_config": {"format": "dense"}, "kv_cache_scheme": None, "lm_head": False, "dynamic": {}}
    assert read(PHI, quantization_config={**plain, **harmless}).quantization == "fp8"
    whole = ["model.layers.3.mlp.gate_up_proj", "model.layers.3.mlp.down_proj"]
    assert read(PHI, quantization_config={**plain, "ignore": whole}).unquantized_feed_forward_layers == 1
    with pytest.raises(UnsupportedError, match=re.escape(told)):
        read(PHI, quantization_config={**plain, **more})


@pytest.mark.parametrize(
    ("stated", "kind", "weight_bytes"),
    [
        ({"quant_method": "awq", "bits": 4}, "int4", 0.515625),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "int4", 0.515625),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "int4", 0.5625),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, "int4", 0.515625),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": GROUPS_OF_32}}, "int4", 0.5625),
        ({"quant_method": "gptq", "bits": 8}, "w8a16", 1),
        ({"quant_method": "modelopt", "quant_algo": "INT4_AWQ"}, "int4", 0.515625),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": INT_4}}, "int4", 0.515625),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": INT_8}}, "int8", 1),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"g": {**FLOAT_8, "input_activations": None}}},
            "w8a16",
            1,
        ),
        ({"quant_algo": "FP8", "config_groups": {"g": FLOAT_8}}, "fp8", 1),
        ({"quant_method": "mxfp4"}, "mxfp4", 0.53125),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}, "nvfp4", 0.5625),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": float_4(16)}}, "nvfp4", 0.5625),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": float_4(32)}}, "mxfp4", 0.53125),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {**INT_4, "weights": {**INT_4["weights"], "group_size": 32}}},
            },
            "int4",
            0.5625,
        ),
    ],
)
def test_every_format_has_its_bytes_per_weight(stated, kind, weight_bytes):
    model = read(PHI, quantization_config=stated)
    assert (model.quantization, model.weight_bytes) == (kind, weight_bytes)


@pytest.mark.parametrize(
    ("kept", "attention", "feed_forward"),
    [
        ({"ignore": ["lm_head"]}, 0, 0),
        ({"ignore": ["lm_head", "re:.*self_attn.*", "re:.*router"]}, 40, 0),
        ({"modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}, 40, 0),
        ({"modules_to_not_convert": ["model.layers.3", "model.layers.5.mlp"]}, 1, 2),
        ({"exclude_modules": ["language_model.model.layers.0.self_attn*"]}, 1, 0),
        ({"ignore": ["model.layers.0.mlp.gate", "model.layers.0.input_layernorm"]}, 0, 0),
    ],
)
def test_layers_that_stay_in_sixteen_bits_are_counted(kept, attention, feed_forward):
    model = read(PHI, quantization_config={"quant_method": "fp8", **kept})
    assert (model.unquantized_attention_layers, model.unquantized_feed_forward_layers) == (attention, feed_forward)
    all_fp8 = Weights(read(PHI, quantization_config={"quant_method": "fp8"})).bytes(1)
    attention_weights, feed_forward_weights = 5120 * (2 * 5120 + 2 * 1280), 3 * 5120 * 17920
    more = attention * attention_weights + feed_forward * feed_forward_weights
    assert Weights(model).bytes(1) == all_fp8 + more


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("re:.*self_attn.[qk]_proj", "in a form that is not read"),
        ("re:.*self_attn.(q|k)_proj", "a part of the attention of layer 0"),
        ("re:.*v_proj", "a part of the attention of layer 0"),
    ],
)
def test_a_list_of_modules_that_cannot_be_read_is_never_passed_over(pattern, message):
    with pytest.raises(UnsupportedError, match=message):
        read(PHI, quantization_config={"quant_method": "fp8", "ignore": [pattern]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mlp_only_layers": [0]}, "dense and expert layers mixed"),
        ({"shared_expert_intermediate_size": 5632}, "a shared expert of another width"),
        ({"layer_types": ["linear_attention"]}, "layer_types: 'linear_attention' is not modelled"),
        ({"layer_types": [["full_attention"]]}, "is not modelled"),
        ({"hidden_act": "gelu_pytorch_tanh"}, "gelu_pytorch_tanh' is not modelled"),
        ({"kv_lora_rank": 512}, "multi-head latent attention"),
        ({"index_topk": 2048}, "it needs the indexer's keys in the KV cache, its products with all past tokens"),
        ({"linear_num_key_heads": 16}, "it needs the state that such a layer keeps for every request"),
        ({"attn_type_list": [1, 0, 1]}, "attn_type_list: other numbers than 1 mean linear attention"),
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


garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["fp8", "re:.*", "*", "yarn", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
QUANTIZATION_KEYS = ["quant_method", "quant_algo", "bits", "config_groups", "ignore", "kv_cache_scheme", "weights"]
TOP_KEYS = ["text_config", "vision_config", "architectures", "model_type"]
TEXT_KEYS = [*LLAMA_4_TEXT, "quantization_config", "layer_types", "rope_scaling", "hidden_activation", "num_experts"]


@given(
    st.dictionaries(st.sampled_from(QUANTIZATION_KEYS), garbage, max_size=4),
    st.dictionaries(st.sampled_from(TEXT_KEYS), garbage, max_size=4),
    st.dictionaries(
        st.sampled_from(["text_config", "vision_config", "architectures", "model_type"]), garbage, max_size=2
    ),
)
def test_garbage_anywhere_in_a_multimodal_file_is_only_ever_a_clean_error(quantization, text, top):
    nested = {"architectures": ["Llama4ForConditionalGeneration"], "text_config": {**LLAMA_4_TEXT, **text}}
    with suppress(RooflineLabError):
        read({**nested, "quantization_config": {"quant_method": "fp8", **quantization}, **top})
