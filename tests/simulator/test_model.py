"""Model descriptions: what is read, what is derived, what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import ConfigError, RooflineLabError, UnsupportedError
from simulator.model import model_from_config
from simulator.model_files import load_model
from simulator.parallelism import require_runnable, sharding_problems

LLAMA = {
    "id": "llama-2-7b-hf",
    "source": "public architecture facts",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "intermediate_size": 11008,
    "vocab_size": 32000,
    "torch_dtype": "float16",
    "hidden_act": "silu",
    "rms_norm_eps": 1e-05,
}


def read(**changes: object):
    config = {**LLAMA, **changes}
    return model_from_config({k: v for k, v in config.items() if v is not None}, source="m.json")


def test_a_hugging_face_config_is_read_from_its_file(tmp_path: Path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(LLAMA), encoding="utf-8")
    model = load_model(path)
    assert (model.hidden_size, model.head_elements, model.kv_width, model.weight_bytes) == (4096, 128, 4096, 2)
    assert model.warnings == ()


def test_every_shipped_model_can_be_read_and_run(project_root: Path):
    files = sorted((project_root / "configs" / "models").glob("*.json"))
    assert files
    for path in files:
        model = load_model(path)
        assert model.id == path.stem
        require_runnable(model, 1)


def test_head_dim_is_taken_from_the_config_and_is_nothing_to_warn_of():
    model = read(hidden_size=5120, num_key_value_heads=8, head_dim=128)
    assert (model.head_elements, model.query_width) == (128, 4096)
    assert model.warnings == ()


def test_fp8_weights_have_one_byte_and_a_16_bit_cache():
    model = read(quantization="fp8")
    assert (model.weight_bytes, model.activation_bytes) == (1, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 0}, "hidden_size: Input should be greater than or equal to 1 (got 0)"),
        ({"hidden_size": None}, "hidden_size: missing"),
        ({"hidden_size": 4096.5}, "hidden_size"),
        ({"num_hiden_layers": 3}, "did you mean 'num_hidden_layers'?"),
        ({"num_key_value_heads": 64}, "num_key_value_heads must not exceed num_attention_heads"),
        ({"torch_dtype": "int4"}, "torch_dtype"),
        ({"num_local_experts": 8}, "num_experts_per_tok must lie in 1..num_local_experts"),
        ({"num_experts_per_tok": 2}, "need num_local_experts"),
        ({"quantization": "awq"}, "quantization"),
        ({"source": None}, "source: missing"),
    ],
)
def test_a_wrong_field_is_one_clear_error(changes, message):
    with pytest.raises(ConfigError) as caught:
        read(**changes)
    assert message in str(caught.value)
    assert str(caught.value).startswith("m.json: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["DeepseekV4ForCausalLM"]}, "architecture 'DeepseekV4ForCausalLM' is not modelled"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not modelled; allowed: silu"),
        ({"kv_lora_rank": 512}, "multi-head latent attention"),
        ({"text_config": {}}, "nested multimodal configuration"),
        ({"text_config": [1]}, "says nothing of its text part"),
        ({"decoder_sparse_step": 2}, "decoder_sparse_step 2 is not modelled; allowed: 1"),
    ],
)
def test_another_architecture_is_refused_by_name(changes, message):
    with pytest.raises(UnsupportedError, match=r"m\.json: ") as caught:
        read(**changes)
    assert message in str(caught.value)


def test_heads_that_do_not_divide_stop_a_run_and_only_a_run():
    model = read(num_attention_heads=28, hidden_size=3584, num_key_value_heads=8)
    assert sharding_problems(model, 3) == (
        "num_attention_heads 28 is not divisible by num_key_value_heads 8",
        "num_attention_heads 28 is not divisible by tensor_parallel 3",
    )
    with pytest.raises(ConfigError, match="4 problems"):
        require_runnable(model, 3)


@pytest.mark.parametrize("tp", [0, -1, 1.5, True, "2"])
def test_tensor_parallelism_below_one_or_not_whole_is_refused(tp):
    with pytest.raises(ConfigError, match="tensor_parallel: must be a whole number of at least 1"):
        require_runnable(read(), tp)


@pytest.mark.parametrize(
    ("name", "word"),
    [("Llama-3.3-70B-Instruct-FP8", "FP8"), ("k2.5-nvfp4", "NVFP4"), ("llama-awq", "AWQ"), ("yi-34b", None)],
)
def test_a_name_that_says_how_weights_are_stored_where_the_files_do_not_is_told(name, word):
    said = [text for text in read(id=name, source="s").warnings if "its files do not" in text]
    assert [f"its name says {word}" in text for text in said] == ([True] if word else [])
    assert read(id=name, source="s", quantization="fp8").warnings == ()


def test_a_sliding_window_is_announced_as_not_modelled():
    assert "sliding_window 4096 is not modelled" in read(sliding_window=4096).warnings[0]
    assert read(sliding_window=4096, use_sliding_window=False).warnings == ()


garbage = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(LLAMA)) | st.text(max_size=8), garbage, max_size=6))
def test_garbage_in_a_config_is_only_ever_a_clean_error(changes):
    with suppress(RooflineLabError):
        model_from_config({**LLAMA, **changes}, source="m.json")


@given(garbage)
def test_a_file_that_is_not_a_config_is_only_ever_a_clean_error(data):
    with pytest.raises(RooflineLabError):
        model_from_config(data, source="m.json")


def test_experts_are_read_under_either_name_of_their_count():
    for name in ("num_local_experts", "num_experts"):
        model = read(**{name: 8, "num_experts_per_tok": 2, "moe_intermediate_size": 1408, "decoder_sparse_step": 1})
        assert (model.num_local_experts, model.expert_width) == (8, 1408)
