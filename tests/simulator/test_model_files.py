"""Models as they lie on disk: which files belong together, what a name stands for, and what real files add up to."""

from __future__ import annotations

import json
import re

import pytest

from simulator.errors import ConfigError, UnsupportedError
from simulator.model_files import find_model_file, load_model, parts_of
from simulator.steptime.traffic import Weights

LLAMA_70B = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "model_type": "llama",
    "num_attention_heads": 64,
    "num_hidden_layers": 80,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}
FP8 = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}


def put(folder, **files):
    """Write `config` as config.json and so on; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def all_parameters(model):
    """Return every weight of a model, whatever it is stored in."""
    plain = model.model_copy(
        update={"quantization": None, "unquantized_attention_layers": 0, "unquantized_feed_forward_layers": 0}
    )
    head = not model.tie_word_embeddings
    layers = Weights(plain, lm_head=head).bytes(10**9) / plain.activation_bytes
    return layers + model.vocab_size * model.hidden_size + model.encoder_parameters


def test_a_downloaded_folder_is_a_model_and_needs_no_id_and_no_source(tmp_path):
    folder = put(tmp_path / "my-70b", config=LLAMA_70B, generation_config={"top_p": 0.9})
    for path in (folder, folder / "config.json"):
        model = load_model(path)
        assert (model.id, model.weight_bytes) == ("my-70b", 2)
        assert model.generation_config.truncates


def test_a_revision_in_the_cache_of_hugging_face_has_the_name_of_its_model(tmp_path):
    folder = put(tmp_path / "models--org--my-70b" / "snapshots" / "5206a32", config=LLAMA_70B)
    assert load_model(folder).id == "models--org--my-70b"


def test_how_weights_are_stored_may_stand_in_a_file_of_its_own(tmp_path):
    folder = put(tmp_path / "my-70b-fp8", config=LLAMA_70B, hf_quant_config=FP8)
    model = load_model(folder)
    assert (model.quantization, model.kv_cache_dtype) == ("fp8", "fp8")
    assert len(parts_of(folder)) == 2


def test_copies_of_both_files_under_one_beginning_belong_together(tmp_path):
    put(tmp_path, **{"my-70b_config": LLAMA_70B, "my-70b_hf_quant_config": FP8})
    model = load_model(tmp_path / "my-70b_config.json")
    assert (model.id, model.quantization) == ("my-70b", "fp8")


@pytest.mark.parametrize("algorithm", ["NVFP8", "MIXED_PRECISION", None])
def test_a_format_that_is_not_modelled_is_refused_wherever_it_stands(tmp_path, algorithm):
    beside = {"quantization": {"quant_algo": algorithm, "group_size": 16}}
    for name, files in (
        ("beside", {"config": LLAMA_70B, "hf_quant_config": beside}),
        (
            "inside",
            {"config": LLAMA_70B | {"quantization_config": {"quant_method": "modelopt", "quant_algo": algorithm}}},
        ),
    ):
        with pytest.raises(UnsupportedError, match=algorithm or "is not modelled"):
            load_model(put(tmp_path / name, **files))


def test_two_files_that_contradict_each_other_are_refused(tmp_path):
    config = LLAMA_70B | {"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}
    with pytest.raises(UnsupportedError, match=r"beside it says 'FP8' and its own quantization_config 'NVFP4'"):
        load_model(put(tmp_path, config=config, hf_quant_config=FP8))


def test_a_file_of_quantization_that_says_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"hf_quant_config\.json: quantization: missing"):
        load_model(put(tmp_path, config=LLAMA_70B, hf_quant_config={"producer": {}}))


def test_keys_nobody_knows_are_left_out_and_named(tmp_path):
    model = load_model(put(tmp_path / "m", config=LLAMA_70B | {"their_own_key": 1}))
    assert model.left_out == ("their_own_key",)
    assert any("keys of its file that nothing uses: their_own_key" in warning for warning in model.warnings)


def test_the_type_of_a_file_that_states_none_is_bfloat16(tmp_path):
    config = {key: value for key, value in LLAMA_70B.items() if key != "torch_dtype"}
    assert load_model(put(tmp_path, config=config)).torch_dtype == "bfloat16"


def test_a_file_that_says_nothing_of_its_kind_is_refused(tmp_path):
    config = {key: value for key, value in LLAMA_70B.items() if key not in ("architectures", "model_type")}
    with pytest.raises(UnsupportedError, match="neither architectures nor model_type"):
        load_model(put(tmp_path, config=config))


def test_a_name_stands_for_an_id_a_file_a_folder_or_the_name_on_hugging_face(tmp_path, project_root, monkeypatch):
    shelf = project_root / "configs" / "models"
    monkeypatch.chdir(put(tmp_path / "elsewhere"))
    put(tmp_path / "elsewhere" / "my-70b", config=LLAMA_70B)
    put(tmp_path / "elsewhere", mine=LLAMA_70B)
    for name, file in (
        ("llama-3.1-8b", "llama-3.1-8b.json"),
        ("Qwen/Qwen3-30B-A3B", "qwen3-30b-a3b.json"),
        ("mistralai/Mixtral-8x7B-v0.1", "mixtral-8x7b-v0.1.json"),
        ("my-70b", "config.json"),
        ("mine.json", "mine.json"),
    ):
        assert find_model_file(name, [shelf]).name == file
    assert find_model_file("nobody/knows", [shelf]) is None


# What stands for the number of parameters in a name, in billions; that of active ones has an A before it.
SIZE = re.compile(r"(?<![\d.A])(\d+(?:\.\d+)?)B(?![A-Za-z])")
# Names that count experts or active parameters: what is published, in billions.
PUBLISHED = {
    "Mixtral-8x7B": 46.7,
    "Mixtral-8x22B": 140.6,
    "Llama-4-Scout": 108.6,
    "MiniMax-M2": 228.7,
    "gpt-oss-120b": 116.8,
    "gpt-oss-20b": 20.9,
    "DeepSeek-V3": 671,
    "deepseek-v2-lite": 15.7,
    "DeepSeek-R1": 671,
    "Kimi-K2": 1026,
}


def published_size(name):
    for start, billions in PUBLISHED.items():
        if start in name:
            return billions
    return float(SIZE.search(name)[1])


def test_unedited_files_of_hugging_face_add_up_to_their_size_or_are_refused_by_name(shared_dir):
    files = sorted((shared_dir / "formats" / "huggingface_configs").glob("*.json"))
    files = [path for path in files if not path.name.endswith("hf_quant_config.json")]
    if not files:
        pytest.skip("the reference data have no files of Hugging Face")
    read, reasons = 0, []
    for path in files:
        try:
            model = load_model(path)
        except UnsupportedError as error:
            reasons.append(str(error))
            continue
        read += 1
        # Names are rounded: 8B is 8.0 to 8.8 with an encoder of images, 7B is 7.6 without its heads for later tokens.
        assert all_parameters(model) / 1e9 == pytest.approx(published_size(path.name), rel=0.12), path.name
    assert read >= 37
    assert [reason for reason in reasons if not re.search("not modelled|not read", reason)] == []


def test_real_files_beside_each_other_say_how_the_weights_are_stored(shared_dir):
    folder = shared_dir / "formats" / "huggingface_configs"
    name = "nvidia--Llama-3.1-70B-Instruct-FP8_config.json"
    if not (folder / name).is_file():
        pytest.skip(f"the reference data have no {name}")
    assert load_model(folder / name).quantization == "fp8"
    four = load_model(folder / "nvidia--Qwen3-235B-A22B-NVFP4_config.json")
    assert (four.quantization, four.kv_cache_dtype, four.unquantized_attention_layers) == ("nvfp4", "fp8", 0)
    output_alone = load_model(folder / "nvidia--DeepSeek-V3.1-NVFP4_config.json")
    assert (output_alone.unquantized_attention_layers, output_alone.unquantized_output_layers) == (61, 0)
    experts_alone = load_model(folder / "nvidia--MiniMax-M2.5-NVFP4_config.json")
    assert (experts_alone.unquantized_attention_layers, experts_alone.unquantized_feed_forward_layers) == (62, 0)


def test_the_text_part_of_the_reference_case_keeps_its_shared_expert(shared_dir):
    folder = shared_dir / "cases" / "16-flat-text-part-loses-shared-expert"
    if not folder.is_dir():
        pytest.skip("the reference data have no such case")
    for name in ("nested/config.json", "flat.json", "flat-with-architecture.json"):
        layers = Weights(load_model(folder / name), lm_head=True).bytes(10**9) / 2
        assert layers + 202048 * 5120 == pytest.approx(107.77e9, rel=0.001)


def test_the_quantization_of_the_reference_case_is_read_from_the_file_beside(shared_dir):
    folder = shared_dir / "cases" / "18-hf-quant-config-ignored" / "models"
    if not folder.is_dir():
        pytest.skip("the reference data have no such case")
    for name in ("my-70b-fp8", "my-70b-fp8-inline"):
        model = load_model(folder / name)
        assert Weights(model).bytes(1) / 2 == pytest.approx(34.2e9, rel=0.01)
