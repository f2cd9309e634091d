"""Models and GPUs a stranger brings along: which file is used, and what of Hugging Face's it means."""

from __future__ import annotations

import json

import pytest

from roofline_lab.predict.catalog import catalogue_of
from simulator.errors import ConfigError, UnsupportedError
from simulator.model import model_from_config
from simulator.model_files import translated
from tests.roofline_lab.builders import ROOT
from tests.roofline_lab.predict.strangers import STRANGE_MODEL

MIXTURE = STRANGE_MODEL | {"architectures": ["Qwen3MoeForCausalLM"], "num_experts": 16, "num_experts_per_tok": 2}
FLOAT = {"weights": {"num_bits": 8, "type": "float"}}


def model(config, **more):
    """Return the model a configuration means."""
    return model_from_config(translated(config, name="m", source="m.json", **more), source="m.json")


def write(folder, name, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(STRANGE_MODEL | changes), encoding="utf-8")
    return folder


def test_a_file_as_downloaded_is_a_model():
    found = model(STRANGE_MODEL | {"rms_norm_eps": 1e-6, "their_own_key": 1, "use_cache": True})
    assert (found.id, found.num_hidden_layers, found.weight_bytes) == ("m", 20, 2)
    assert found.left_out == ("their_own_key",)


def test_the_newer_name_of_the_number_type_is_understood():
    config = {key: value for key, value in STRANGE_MODEL.items() if key != "torch_dtype"}
    assert model(config | {"dtype": "bfloat16"}).torch_dtype == "bfloat16"


@pytest.mark.parametrize(
    "quantization",
    [
        {"quant_method": "fp8", "weight_block_size": [128, 128]},
        {"quant_method": "fbgemm_fp8"},
        {"quant_method": "compressed-tensors", "config_groups": {"group_0": FLOAT}},
        {"quant_method": "modelopt", "quant_algo": "FP8"},
    ],
    ids=lambda one: one["quant_method"],
)
def test_fp8_weights_are_recognised_however_they_are_written(quantization):
    assert model(STRANGE_MODEL | {"quantization_config": quantization}).quantization == "fp8"


@pytest.mark.parametrize(
    "quantization",
    [
        {"quant_method": "awq", "bits": 3},
        {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4, "type": "float"}}}},
        {"quant_method": "compressed-tensors", "config_groups": {}},
        "fp8",
    ],
)
def test_other_quantization_is_refused_and_never_taken_for_bf16(quantization):
    with pytest.raises((UnsupportedError, ConfigError), match="quantization_config"):
        model(STRANGE_MODEL | {"quantization_config": quantization})


def test_a_mixture_of_experts_is_read_and_one_with_dense_layers_refused():
    assert model(MIXTURE | {"mlp_only_layers": [], "decoder_sparse_step": 1}).num_local_experts == 16
    with pytest.raises(UnsupportedError, match="mlp_only_layers"):
        model(MIXTURE | {"mlp_only_layers": [0, 1]})


def test_sampling_comes_from_the_file_beside():
    assert model(STRANGE_MODEL, sampling={"top_p": 0.9, "temperature": 0.6}).generation_config.truncates
    assert not model(STRANGE_MODEL, sampling={"temperature": 0.6}).generation_config.truncates
    assert model(STRANGE_MODEL).generation_config is None


def test_a_file_in_the_projects_own_form_is_read_strictly():
    with pytest.raises(ConfigError, match="num_key_value_head"):
        model(STRANGE_MODEL | {"source": "a page", "num_key_value_head": 4})


def test_folders_a_person_names_come_first_then_those_beside_then_the_project(tmp_path):
    beside = tmp_path / "measurements"
    write(beside / "models", "both", num_hidden_layers=3)
    write(beside / "models", "qwen3-14b", num_hidden_layers=4)
    named = write(tmp_path / "named", "both", num_hidden_layers=5)
    found = catalogue_of(ROOT, beside, models=named)
    assert [found.model(name).num_hidden_layers for name in ("both", "qwen3-14b", "llama-2-7b-hf")] == [5, 4, 32]


def test_a_model_is_known_by_its_name_on_hugging_face_too(tmp_path):
    found = catalogue_of(ROOT, tmp_path)
    assert found.model("Qwen/Qwen3-30B-A3B") is found.model("qwen3-30b-a3b")
    with pytest.raises(ConfigError, match="unknown model 'Qwen/Qwen3-31B'"):
        found.model("Qwen/Qwen3-31B")


def test_models_of_a_project_shaped_folder_are_found(tmp_path):
    write(tmp_path / "configs" / "models", "theirs")
    folder = tmp_path / "ground_truth" / "run-1"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text("id: run-1\n", encoding="utf-8")
    for path in (folder.parent, folder, folder / "experiment.yaml"):
        assert catalogue_of(ROOT, path).model("theirs").id == "theirs"


def test_unused_keys_are_on_the_page(stranger):
    stranger.model("strange-1b", STRANGE_MODEL | {"their_own_key": 1})
    stranger.add()
    assert stranger.evaluate() == 0
    assert "strange-1b: keys of its file that nothing uses: their_own_key" in stranger.page
