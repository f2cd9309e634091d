"""What of a Hugging Face `config.json` describes a model's shape, and what would make it another architecture.

Contract: `shape_of` returns the keys a `Model` has, under its names. Keys that enter no step-time formula are
dropped, other names of a key are translated, and whatever means an architecture the formulas do not
describe is refused by name. A key that is in none of the lists stays, so that `Model` reports it: nothing unknown is
passed over in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.errors import UnsupportedError

# Decoder-only transformers of gated feed-forward layers, whose differences (norms, rotation, scaling
# factors, caps on logits) cost no matrix multiplication.
SUPPORTED_ARCHITECTURES = frozenset(
    {
        "Gemma2ForCausalLM",
        "Gemma3ForCausalLM",
        "GemmaForCausalLM",
        "GraniteForCausalLM",
        "Llama4ForCausalLM",
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "MixtralForCausalLM",
        "Phi3ForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen3ForCausalLM",
        "Qwen3MoeForCausalLM",
    }
)

# Fields that do not enter a step-time formula.
IGNORED_KEYS = frozenset(
    {
        "_name_or_path",
        "attention_bias",
        "attention_dropout",
        "attention_multiplier",
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
        "floor_scale",
        "for_llm_compressor",
        "hidden_activation",
        "initializer_range",
        "intermediate_size_mlp",
        "logits_scaling",
        "max_length",
        "max_window_layers",
        "mlp_bias",
        "model_type",
        "moe_layers",
        "no_rope_layers",
        "norm_topk_prob",
        "original_max_position_embeddings",
        "output_router_logits",
        "pad_token_id",
        "partial_rotary_factor",
        "pretraining_tp",
        "query_pre_attn_scalar",
        "resid_pdrop",
        "residual_multiplier",
        "rms_norm_eps",
        "rope_local_base_freq",
        "rope_parameters",
        "rope_scaling",
        "rope_theta",
        "router_aux_loss_coef",
        "router_jitter_noise",
        "sliding_window_pattern",
        "sliding_window_size",
        "transformers_version",
        "use_cache",
        "use_qk_norm",
    }
)

# A field whose mere presence means another architecture, and what that is.
FOREIGN_KEYS = {
    "decoder_layers": "an encoder-decoder transformer",
    "first_k_dense_replace": "dense and expert layers mixed in one model",
    "kv_lora_rank": "multi-head latent attention",
    "mamba_d_state": "state-space layers",
    "n_embd": "a GPT-2 style block without gated feed-forward layers",
    "shared_expert_intermediate_size": "a shared expert of another width than the routed ones",
    "state_size": "state-space layers",
    "text_config": "a nested multimodal configuration (give its text part as a flat file)",
}

# Every how many layers experts occur, under the names different families use; only 1 is modelled.
EXPERT_STEP_KEYS = frozenset({"decoder_sparse_step", "interleave_moe_layer_step"})

# Fields that are no part of a `Model`, but say something about one.
TRANSLATED_KEYS = frozenset({"attention_chunk_size", "layer_types", "mlp_only_layers"})

# Other names of a field.
SYNONYMS = {"num_experts": "num_local_experts", "dtype": "torch_dtype"}

# What an architecture implies and its files do not say: defaults of the classes that read them.
UNSAID: Mapping[str, Mapping[str, object]] = {
    "Gemma2ForCausalLM": {"tie_word_embeddings": True},
    "Gemma3ForCausalLM": {"tie_word_embeddings": True},
    "GemmaForCausalLM": {"tie_word_embeddings": True},
    "Llama4ForCausalLM": {"n_shared_experts": 1},
}

# What a list of layer kinds may hold: attention to all tokens, or to the last ones (which `Model` announces).
LAYER_KINDS = frozenset({"full_attention", "sliding_attention"})

# Gated feed-forward layers have three matrices whatever their activation; another activation is
# accepted only of an architecture that is known to gate it.
GATED = "silu"
OTHER_GATED = {"gelu_pytorch_tanh": frozenset({"GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM"})}

FP8_METHODS = frozenset({"fp8", "fbgemm_fp8"})


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
    _refuse_foreign(config, source)
    kept = {key: value for key, value in config.items() if key not in IGNORED_KEYS | EXPERT_STEP_KEYS}
    for other, name in SYNONYMS.items():
        if other in kept and name not in kept:
            kept[name] = kept.pop(other)
    if kept.get("mlp_only_layers") == []:
        del kept["mlp_only_layers"]
    for name in _architectures(config):
        for key, value in UNSAID.get(name, {}).items():
            kept.setdefault(key, value)
    if "attention_chunk_size" in kept:
        kept.setdefault("sliding_window", kept.pop("attention_chunk_size"))
    _translate_layer_kinds(kept, source)
    _translate_quantization(kept, source)
    return kept


def _translate_layer_kinds(kept: dict[str, object], source: str) -> None:
    kinds = kept.get("layer_types")
    if not isinstance(kinds, list):
        return
    del kept["layer_types"]
    for kind in kinds:
        if not isinstance(kind, str) or kind not in LAYER_KINDS:
            allowed = ", ".join(sorted(LAYER_KINDS))
            raise UnsupportedError(f"{source}: layer_types: '{kind}' is not modelled; allowed: {allowed}")
    kept["use_sliding_window"] = "sliding_attention" in kinds


def _translate_quantization(kept: dict[str, object], source: str) -> None:
    stated = kept.get("quantization_config")
    if not isinstance(stated, Mapping):
        return
    del kept["quantization_config"]
    if not _eight_bit_floats(stated):
        raise UnsupportedError(
            f"{source}: quantization_config: method '{stated.get('quant_method')}' is not modelled; allowed: "
            "weights of 8-bit floats (fp8, fbgemm_fp8, compressed-tensors or modelopt with them)"
        )
    kept["quantization"] = "fp8"


def _eight_bit_floats(stated: Mapping[str, Any]) -> bool:
    method = stated.get("quant_method")
    if isinstance(method, str) and method in FP8_METHODS:
        return True
    if method == "modelopt":
        return stated.get("quant_algo") == "FP8"
    groups = stated.get("config_groups")
    if method != "compressed-tensors" or not isinstance(groups, Mapping) or not groups:
        return False
    weights = [group.get("weights") if isinstance(group, Mapping) else None for group in groups.values()]
    return all(
        isinstance(weight, Mapping) and (weight.get("num_bits"), weight.get("type")) == (8, "float")
        for weight in weights
    )


def _refuse_foreign(config: Mapping[str, object], source: str) -> None:
    for key in sorted(FOREIGN_KEYS.keys() & config.keys()):
        raise UnsupportedError(f"{source}: {key} means {FOREIGN_KEYS[key]}, which is not modelled")
    for key in sorted(EXPERT_STEP_KEYS & config.keys()):
        if config[key] != 1:
            raise UnsupportedError(
                f"{source}: {key} {config[key]!r} is not modelled; allowed: 1 (experts in every layer)"
            )
    if config.get("mlp_only_layers"):
        raise UnsupportedError(f"{source}: mlp_only_layers means dense and expert layers mixed, which is not modelled")
    named = _architectures(config)
    _refuse_activation(config.get("hidden_act", GATED), named, source)
    for name in named:
        if name not in SUPPORTED_ARCHITECTURES:
            allowed = ", ".join(sorted(SUPPORTED_ARCHITECTURES))
            raise UnsupportedError(f"{source}: architecture '{name}' is not modelled; allowed: {allowed}")


def _architectures(config: Mapping[str, object]) -> list[str]:
    stated = config.get("architectures")
    return [name for name in stated if isinstance(name, str)] if isinstance(stated, list) else []


def _refuse_activation(activation: object, architectures: list[str], source: str) -> None:
    if not isinstance(activation, str) or activation == GATED:
        return
    if not OTHER_GATED.get(activation, frozenset()) & set(architectures):
        raise UnsupportedError(
            f"{source}: hidden_act '{activation}' is not modelled; allowed: silu (SwiGLU layers), or "
            "gelu_pytorch_tanh of a Gemma model (GeGLU layers)"
        )
