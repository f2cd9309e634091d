"""What of a Hugging Face `config.json` describes a model's shape, and what would make it another architecture.

Contract: `shape_of` returns the keys a `Model` has, under its names. The text part of a multimodal configuration is
read with what its top level says of it, and what the files leave to the defaults of their class is filled in. Keys
that enter no step-time formula are dropped, other names of a key are translated, and whatever means an architecture
the formulas do not describe is refused by name, all reasons at once. A key that is in none of the lists stays, so
that `Model` reports it: nothing unknown is passed over in silence.

An architecture that is to be modelled gets a row in `CLASSES`; what it needs and others lack leaves `FOREIGN_KEYS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from simulator.errors import UnsupportedError
from simulator.quantization import ATTENTION, LATENT_ATTENTION, ONE_LATENT_ATTENTION, quantization_of

# Decoder-only transformers of gated feed-forward layers, whose differences (norms, rotation, scaling
# factors, caps on logits) cost no matrix multiplication; with each, what its files may leave unsaid: defaults of the
# classes of Hugging Face transformers that read them. None: as many as `num_attention_heads`.
_LLAMA: Mapping[str, object] = {"num_key_value_heads": None}
_MISTRAL: Mapping[str, object] = {"num_key_value_heads": 8}
_QWEN3: Mapping[str, object] = {"head_dim": 128}
_QWEN3_MIXTURE: Mapping[str, object] = {
    "num_key_value_heads": 4,
    "num_local_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
}
_MIXTRAL: Mapping[str, object] = {**_MISTRAL, "num_local_experts": 8, "num_experts_per_tok": 2}
_LLAMA4: Mapping[str, object] = {
    "head_dim": 128,
    "num_key_value_heads": 8,
    "num_local_experts": 16,
    "num_experts_per_tok": 1,
    "n_shared_experts": 1,
}
_GEMMA: Mapping[str, object] = {"tie_word_embeddings": True, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh"}
_GEMMA_HEADS: Mapping[str, object] = {"num_attention_heads": 8, "num_key_value_heads": 4}
_GPT_OSS: Mapping[str, object] = {
    "head_dim": 64,
    "num_key_value_heads": 8,
    "num_local_experts": 128,
    "num_experts_per_tok": 4,
    "sliding_window": 128,
}
_DEEPSEEK: Mapping[str, object] = {
    "num_key_value_heads": None,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "num_local_experts": 256,
    "num_experts_per_tok": 8,
    "n_shared_experts": 1,
    "moe_intermediate_size": 2048,
    "first_k_dense_replace": 3,
}
# Classes with multi-head latent attention, experts and first dense layers. Files of the first always state its numbers.
LATENT = frozenset({"DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"})
CLASSES: Mapping[str, Mapping[str, object]] = {
    "DeepseekV2ForCausalLM": {"kv_lora_rank": 512},
    "DeepseekV3ForCausalLM": _DEEPSEEK,
    "Gemma2ForCausalLM": {**_GEMMA, **_GEMMA_HEADS, "vocab_size": 256000},
    "Gemma3ForCausalLM": {**_GEMMA, **_GEMMA_HEADS, "vocab_size": 262208, "max_position_embeddings": 131072},
    "GemmaForCausalLM": _GEMMA,
    "GptOssForCausalLM": _GPT_OSS,
    "GraniteForCausalLM": _LLAMA,
    "Llama4ForCausalLM": _LLAMA4,
    "LlamaForCausalLM": _LLAMA,
    "MiMoForCausalLM": {},
    "MiniMaxM2ForCausalLM": {"qk_norm_across_heads": True},
    "MistralForCausalLM": _MISTRAL,
    "MixtralForCausalLM": _MIXTRAL,
    "Phi3ForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": {},
    "Qwen3ForCausalLM": _QWEN3,
    "Qwen3MoeForCausalLM": _QWEN3_MIXTURE,
}
# Models for images and text, by the architecture of their text part.
MULTIMODAL = {
    "Gemma3ForConditionalGeneration": "Gemma3ForCausalLM",
    "KimiK25ForConditionalGeneration": "DeepseekV3ForCausalLM",
    "Llama4ForConditionalGeneration": "Llama4ForCausalLM",
    "Mistral3ForConditionalGeneration": "MistralForCausalLM",
    "Qwen2VLForConditionalGeneration": "Qwen2ForCausalLM",
    "Qwen2_5_VLForConditionalGeneration": "Qwen2ForCausalLM",
    "Qwen3VLForConditionalGeneration": "Qwen3ForCausalLM",
    "Qwen3VLMoeForConditionalGeneration": "Qwen3MoeForCausalLM",
}
# The architecture of a file that names none, as every text part, by its `model_type`.
MODEL_TYPES = {
    "deepseek_v2": "DeepseekV2ForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "kimi_k2": "DeepseekV3ForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
    "granite": "GraniteForCausalLM",
    "llama": "LlamaForCausalLM",
    "llama4_text": "Llama4ForCausalLM",
    "mimo": "MiMoForCausalLM",
    "minimax_m2": "MiniMaxM2ForCausalLM",
    "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_5_vl_text": "Qwen2ForCausalLM",
    "qwen2_vl_text": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "qwen3_vl_moe_text": "Qwen3MoeForCausalLM",
    "qwen3_vl_text": "Qwen3ForCausalLM",
}

# Fields that do not enter a step-time formula.
IGNORED_KEYS = frozenset(
    {
        "_name_or_path",
        "aux_loss_alpha",
        "ep_size",
        "ignore_index",
        "media_placeholder_token_id",
        "n_group",
        "routed_scaling_factor",
        "seq_aux",
        "topk_group",
        "topk_method",
        "use_unified_vision_chunk",
        "video_placeholder",
        "attention_bias",
        "attention_dropout",
        "attention_multiplier",
        "attn_type_list",
        "attn_scale",
        "attn_temperature_tuning",
        "attn_logit_softcapping",
        "auto_map",
        "bos_token_id",
        "cache_implementation",
        "embd_pdrop",
        "embedding_multiplier",
        "eos_token_id",
        "final_logit_softcapping",
        "experts_implementation",
        "floor_scale",
        "for_llm_compressor",
        "id2label",
        "image_token_id",
        "initial_context_length",
        "image_token_index",
        "initializer_range",
        "intermediate_size_mlp",
        "logits_scaling",
        "label2id",
        "max_length",
        "max_window_layers",
        "mlp_bias",
        "mm_tokens_per_image",
        "model_type",
        "moe_layers",
        "mtp_transformer_layers",
        "no_rope_layers",
        "norm_topk_prob",
        "num_mtp_modules",
        "num_nextn_predict_layers",
        "original_max_position_embeddings",
        "output_router_logits",
        "pad_token_id",
        "partial_rotary_factor",
        "pretraining_tp",
        "qkv_bias",
        "qk_norm_type",
        "query_pre_attn_scalar",
        "resid_pdrop",
        "residual_multiplier",
        "rms_norm_eps",
        "rope_local_base_freq",
        "rope_parameters",
        "rope_scaling",
        "rope_theta",
        "rotary_dim",
        "router_aux_loss_coef",
        "router_jitter_noise",
        "scoring_func",
        "sliding_window_size",
        "swiglu_limit",
        "transformers_version",
        "use_cache",
        "use_mrope",
        "use_mtp",
        "use_qk_norm",
        "use_routing_bias",
        "video_token_id",
        "vision_end_token_id",
        "vision_start_token_id",
        "vision_token_id",
    }
)

# Fields of Hugging Face's base class for configurations, as files list them that were saved whole: how text is
# generated and what a call returns.
SAVED_DEFAULTS = frozenset(
    {
        "chunk_size_feed_forward",
        "diversity_penalty",
        "do_sample",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "is_decoder",
        "length_penalty",
        "min_length",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_return_sequences",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "pruned_heads",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict",
        "return_dict_in_generate",
        "temperature",
        "tf_legacy_loss",
        "tie_encoder_decoder",
        "top_k",
        "top_p",
        "torchscript",
        "typical_p",
        "use_bfloat16",
    }
)

# A field that means another architecture where it says anything, and what that is.
FOREIGN_KEYS = {
    "add_cross_attention": "attention to another model",
    "attn_layer_period": "attention in a few layers only",
    "block_configs": "layers of different shapes",
    "compress_ratios": "compressed attention",
    "decoder_layers": "an encoder-decoder transformer",
    "first_k_dense_replace": "dense and expert layers mixed in one model",
    "global_head_dim": "attention layers of two shapes",
    "hybrid_override_pattern": "state-space, attention and feed-forward layers mixed",
    "index_topk": "sparse attention through an indexer",
    "is_encoder_decoder": "an encoder-decoder transformer",
    "kv_lora_rank": "multi-head latent attention",
    "linear_attn_config": "linear attention",
    "linear_num_key_heads": "linear attention",
    "mamba_d_state": "state-space layers",
    "mamba_num_heads": "state-space layers",
    "moe_layers_enum": "dense and expert layers mixed in one model",
    "n_embd": "a GPT-2 style block without gated feed-forward layers",
    "shared_expert_intermediate_size": "a shared expert of another width than the routed ones",
    "shared_intermediate_size": "a shared expert of another width than the routed ones",
    "ssm_state_size": "state-space layers",
    "state_size": "state-space layers",
    "thinker_config": "a model that hears and speaks",
}

# What a model of it would need of the formulas, by what such a key means.
NEEDED = {
    "an encoder-decoder transformer": "a second model whose keys and values every decode step reads",
    "attention layers of two shapes": "KV bytes and FLOPs for each kind of layer",
    "compressed attention": "a KV cache of compressed blocks, and what finds and reads them",
    "layers of different shapes": "matrices and KV bytes for every layer on its own",
    "linear attention": "the state that such a layer keeps for every request, in memory and in what a step reads and "
    "writes, and the products of its recurrence",
    "sparse attention through an indexer": "the indexer's keys in the KV cache, its products with all past tokens, and "
    "attention to the chosen ones alone",
    "state-space layers": "the state that such a layer keeps for every request, in memory and in what a step reads and "
    "writes",
}

# Foreign keys that a class with latent attention has.
KEYS_OF_LATENT = frozenset({"kv_lora_rank", "first_k_dense_replace"})

# Every how many layers experts occur, under the names different families use; only 1 is modelled.
EXPERT_STEP_KEYS = frozenset({"decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_freq"})

# Fields that are no part of a `Model`, but say something about one.
TRANSLATED_KEYS = frozenset(
    {"attention_chunk_size", "layer_types", "mlp_only_layers", "sliding_window_pattern", "text_config"}
)

# Other names of a field.
SYNONYMS = {
    "compression_config": "quantization_config",
    "dtype": "torch_dtype",
    "experts_per_token": "num_experts_per_tok",
    "n_routed_experts": "num_local_experts",
    "num_experts": "num_local_experts",
}

# How many routed experts a layer has, under the names different families use.
EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts")

# What the top level of a multimodal configuration says of its text part; the embeddings are tied there.
INHERITED = ("dtype", "quantization_config", "compression_config", "torch_dtype")
DECIDED_ABOVE = ("architectures", "tie_word_embeddings")
# The project's own keys stand at the top, whatever lies beneath.
OURS = ("id", "name", "source", "generation_config")
# Encoders of images and sounds beside the text part.
ENCODERS = ("vision_config", "audio_config")

# What a list of layer kinds may hold: attention to all tokens, or to the last ones; and every which layer of a family
# attends to all where no list says so.
SLIDING = "sliding_attention"
LAYER_KINDS = frozenset({"full_attention", SLIDING})
EVERY_WHICH_SEES_ALL = {"Gemma2ForCausalLM": 2, "Gemma3ForCausalLM": 6, "GptOssForCausalLM": 2}
CHUNKED = "chunked_attention"

# Gated feed-forward layers have three matrices whatever their activation; another activation is
# accepted only of an architecture that is known to gate it.
GATED = "silu"
OTHER_GATED = {
    "gelu": frozenset({"GemmaForCausalLM"}),
    "gelu_pytorch_tanh": frozenset({"GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM"}),
}
# Other words of the first Gemma's files for its activation.
SAME_ACTIVATION = {"gelu": "gelu_pytorch_tanh"}

# Rotations whose factor is not in `max_position_embeddings` yet, and the largest factor that is one.
STRETCHING = frozenset({"dynamic", "linear", "yarn"})
MOST_STRETCHED = 1024
# Whose `max_position_embeddings` has the factor in it all the same.
STRETCHED_ALREADY = frozenset({"Gemma3ForCausalLM"})

# The type of models whose files state none: what they were trained in, and what vLLM then loads them as.
DEFAULT_TYPE = "bfloat16"


def shape_of(config: Mapping[str, object], source: str) -> dict[str, object]:
    """Return the keys of a configuration that describe the model's shape.

    Parameters
    ----------
    source
        What messages call the file.

    Raises
    ------
    UnsupportedError
        If the configuration belongs to an architecture the formulas do not describe.
    """
    text = text_part(config)
    architecture, problems = _architecture(text), list(_foreign(text))
    dropped = IGNORED_KEYS | SAVED_DEFAULTS | EXPERT_STEP_KEYS | FOREIGN_KEYS.keys()
    if architecture in LATENT:
        dropped -= KEYS_OF_LATENT
    kept = {key: value for key, value in text.items() if key not in dropped}
    for step in (_translate_names, _translate_layer_kinds, _translate_quantization):
        try:
            step(kept, text)
        except UnsupportedError as error:
            problems.append(str(error))
    problems += _unknown_architecture(text)
    if problems:
        raise UnsupportedError(f"{source}: {'; '.join(problems)}")
    _fill_in(kept, architecture)
    encoders = sum(map(encoder_parameters, (config.get(key) for key in ENCODERS)))
    if encoders:
        kept.setdefault("encoder_parameters", encoders)
    return kept


def text_part(config: Mapping[str, object]) -> dict[str, object]:
    """Return a configuration of text alone: the nested one, with what the top level says of it, or the whole.

    A key whose value is null says nothing and is left out.
    """
    top = {key: value for key, value in config.items() if value is not None and key not in ENCODERS}
    nested = top.get("text_config")
    if not isinstance(nested, Mapping) or not nested:
        return top
    own = {key: value for key, value in nested.items() if value is not None}
    decided = {key: top[key] for key in (*DECIDED_ABOVE, *OURS) if key in top}
    return {**{key: top[key] for key in INHERITED if key in top}, **own, **decided}


def _architecture(text: Mapping[str, object]) -> str | None:
    """Return the supported architecture of a text part: as it is named, else by its type; None if neither says."""
    named = [MULTIMODAL.get(name, name) for name in _architectures(text)]
    for name in named:
        if name in CLASSES:
            return name
    kind = text.get("model_type")
    return MODEL_TYPES.get(kind) if not named and isinstance(kind, str) else None


def _fill_in(kept: dict[str, object], architecture: str | None) -> None:
    """Add what the class that reads the files takes where they say nothing."""
    if "torch_dtype" not in kept and not {"id", "source"} & kept.keys():
        kept["torch_dtype"] = DEFAULT_TYPE
    for key, value in CLASSES.get(architecture or "", {}).items():
        if key not in kept:
            kept[key] = kept.get("num_attention_heads") if value is None else value


def _translate_names(kept: dict[str, object], text: Mapping[str, object]) -> None:
    for other, name in SYNONYMS.items():
        if other in kept:
            kept.setdefault(name, kept[other])
            del kept[other]
    activation = kept.pop("hidden_activation", None)  # of Gemma, whose `hidden_act` is not used where it is given
    if activation is not None:
        kept["hidden_act"] = activation
    if "hidden_act" in kept:
        kept["hidden_act"] = SAME_ACTIVATION.get(str(kept["hidden_act"]), kept["hidden_act"])
    if kept.get("mlp_only_layers") == []:
        del kept["mlp_only_layers"]
    if "attention_chunk_size" in kept:
        kept.setdefault("sliding_window", kept.pop("attention_chunk_size"))
    longest = _stretched(kept.get("max_position_embeddings"), text.get("rope_scaling") or text.get("rope_parameters"))
    if longest is not None and _architecture(text) not in STRETCHED_ALREADY:
        kept["max_position_embeddings"] = longest


def _stretched(positions: object, rope: object) -> int | None:
    """Return how far a rotation stretches the context beyond `max_position_embeddings`, as vLLM derives it, or None."""
    if not isinstance(rope, Mapping) or not isinstance(positions, int):
        return None
    kind, factor = rope.get("rope_type", rope.get("type")), rope.get("factor")
    if not isinstance(kind, str) or kind not in STRETCHING or not isinstance(factor, int | float):
        return None
    if not 1 <= factor <= MOST_STRETCHED:
        return None
    trained = rope.get("original_max_position_embeddings", positions)
    return int(trained * factor) if isinstance(trained, int) else None


def _translate_layer_kinds(kept: dict[str, object], text: Mapping[str, object]) -> None:
    kinds, pattern = kept.get("layer_types"), kept.pop("sliding_window_pattern", None)
    if not isinstance(kinds, list):
        layers, whole = text.get("num_hidden_layers"), EVERY_WHICH_SEES_ALL.get(_architecture(text) or "")
        whole = pattern if whole and isinstance(pattern, int) and pattern > 0 else whole
        if whole and kept.get("sliding_window") and isinstance(layers, int) and "sliding_window_layers" not in kept:
            kept["sliding_window_layers"] = layers - layers // whole
        return
    del kept["layer_types"]
    for kind in kinds:
        if not isinstance(kind, str) or kind not in LAYER_KINDS | {CHUNKED}:
            allowed = ", ".join(sorted(LAYER_KINDS))
            raise UnsupportedError(f"layer_types: '{kind}' is not modelled; allowed: {allowed}")
    kept["use_sliding_window"] = bool({SLIDING, CHUNKED} & set(kinds))
    if SLIDING in kinds and CHUNKED not in kinds and kept.get("sliding_window"):
        kept["sliding_window_layers"] = kinds.count(SLIDING)


def _translate_quantization(kept: dict[str, object], text: Mapping[str, object]) -> None:
    stated = kept.get("quantization_config")
    if not isinstance(stated, Mapping):
        return
    del kept["quantization_config"]
    of_class = CLASSES.get(_architecture(text) or "", {})
    experts = any(text.get(key) or of_class.get(key) for key in EXPERT_COUNTS)
    first = text.get("first_k_dense_replace", of_class.get("first_k_dense_replace", 0))
    kept |= quantization_of(
        stated,
        text.get("num_hidden_layers"),
        "quantization_config",
        experts=experts,
        dense_first=max(first, 0) if isinstance(first, int) else 0,
        attention=_attention_modules(text, latent=bool(text.get("kv_lora_rank") or of_class.get("kv_lora_rank"))),
    )


def _attention_modules(text: Mapping[str, object], *, latent: bool) -> tuple[str, ...]:
    if not latent:
        return ATTENTION
    return LATENT_ATTENTION if text.get("q_lora_rank") else ONE_LATENT_ATTENTION


def encoder_parameters(config: object) -> int:
    """Return about how many weights an encoder of images or sounds has: its layers, and its way into the text part.

    A layer has four square matrices of attention and two of a plain feed-forward part, as vision transformers do, or
    three of a gated one; patches are joined and projected by two more, once or after several layers. Where a width is
    called `embed_dim`, `hidden_size` is that of what comes out.
    """
    if not isinstance(config, Mapping):
        return 0
    width, depth, inner, merged, out = (
        next((config[key] for key in keys if isinstance(config.get(key), int)), 0)
        for keys in (
            ("embed_dim", "hidden_size", "d_model", "vt_hidden_size"),
            ("num_hidden_layers", "depth", "encoder_layers", "vt_num_hidden_layers"),
            ("intermediate_size", "encoder_ffn_dim", "vt_intermediate_size"),
            ("spatial_merge_size",),
            ("out_hidden_size", "hidden_size"),
        )
    )
    matrices = 3 if config.get("hidden_act") == GATED else 2
    taps = config.get("deepstack_visual_indexes")
    joined = width * merged**2
    projections = (1 + (len(taps) if isinstance(taps, list) else 0)) * joined * (joined + out)
    return depth * (4 * width**2 + matrices * width * (inner or 4 * width)) + projections


def _foreign(text: Mapping[str, object]) -> Iterator[str]:
    """Yield what makes a text part one that the formulas do not describe."""
    architecture = _architecture(text)
    # An architecture nobody knows is refused by its name; keys that others have are no reason.
    unknown = architecture is None and bool(_architectures(text))
    own = KEYS_OF_LATENT if architecture in LATENT or unknown else frozenset()
    for key in sorted((FOREIGN_KEYS.keys() - own) & text.keys()):
        if text[key]:
            meaning = FOREIGN_KEYS[key]
            needed = f" (it needs {NEEDED[meaning]})" if meaning in NEEDED else ""
            yield f"{key} means {meaning}, which is not modelled{needed}"
    kinds = text.get("attn_type_list")
    if kinds and not (isinstance(kinds, list) and all(kind == 1 for kind in kinds)):
        yield "attn_type_list: other numbers than 1 mean linear attention in these layers, which is not modelled"
    if "text_config" in text:
        yield "text_config means a nested multimodal configuration, and says nothing of its text part"
    for key in sorted(EXPERT_STEP_KEYS & text.keys()):
        if text[key] != 1 and text[key] is not None:
            yield f"{key} {text[key]!r} is not modelled; allowed: 1 (experts in every layer)"
    if text.get("mlp_only_layers"):
        yield "mlp_only_layers means dense and expert layers mixed, which is not modelled"
    activation = text.get("hidden_activation") or text.get("hidden_act", GATED)
    yield from _foreign_activation(activation, _architecture(text))


def _unknown_architecture(text: Mapping[str, object]) -> Iterator[str]:
    named, kind = _architectures(text), text.get("model_type")
    for name in named:
        if MULTIMODAL.get(name, name) not in CLASSES:
            yield f"architecture '{name}' is not modelled; allowed: {', '.join(sorted({*CLASSES, *MULTIMODAL}))}"
    if not named and isinstance(kind, str) and kind not in MODEL_TYPES:
        yield f"model_type '{kind}' without architectures is not modelled; allowed: {', '.join(sorted(MODEL_TYPES))}"
    if not named and not isinstance(kind, str) and not {"id", "source"} & text.keys():
        yield "neither architectures nor model_type says what kind of model this is; add one of them"


def _architectures(config: Mapping[str, object]) -> list[str]:
    stated = config.get("architectures")
    return [name for name in stated if isinstance(name, str)] if isinstance(stated, list) else []


def _foreign_activation(activation: object, architecture: str | None) -> Iterator[str]:
    if not isinstance(activation, str) or activation == GATED:
        return
    if architecture not in OTHER_GATED.get(activation, frozenset()):
        yield (
            f"hidden_act '{activation}' is not modelled; allowed: silu (SwiGLU layers), or "
            "gelu_pytorch_tanh of a Gemma model (GeGLU layers)"
        )
