"""The model and GPU descriptions of the project: they load, and every figure says where it is from."""

from __future__ import annotations

import json
import re

import pytest

from simulator.errors import ConfigError
from simulator.hardware import load_hardware, with_sustained
from simulator.memory import GIB, weight_bytes
from simulator.model_files import load_model
from simulator.parallelism import sharding_problems
from simulator.steptime.matrices import active_parameters, parameters
from simulator.steptime.v1_parameters import V1Parameters
from simulator.validation import read_yaml
from tests.paths import ROOT

CONFIGS = ROOT / "configs"
MODELS = sorted((CONFIGS / "models").glob("*.json"))
GPUS = sorted((CONFIGS / "hardware").glob("*.yaml"))
UNITS = {
    "dense_bf16_tflops": "TFLOPS",
    "dense_fp8_tflops": "TFLOPS",
    "dense_fp4_tflops": "TFLOPS",
    "dense_int8_tops": "TOPS",
    "memory_bandwidth_tbs": "TB/s",
    "memory_gib": "GiB",
    "usable_memory_gib": "GiB",
    "link_bandwidth_gbs": "GB/s",
}

# GPUs of which no data sheet of the vendor was at hand, and who states their figures instead.
SECOND_HAND = {
    "b200-sxm": "aiconfigurator|InferenceX",
    "b300-sxm": "aiconfigurator|InferenceX|product name",
    "mi300x": "MI300X-vs-H200|InferenceX|product name",
    "rtx-4090": "waredb|LLMServingSim|product name|PCIe",
    "rtx-pro-6000": "NVIDIA RTX PRO",
}

# Number of parameters as the models' publishers state it; the shape must add up to it.
PARAMETERS = {
    "llama-2-7b-hf": 6.74e9,
    "llama-2-70b-hf": 68.98e9,
    "codellama-34b-instruct-hf": 33.74e9,
    "qwen3-14b": 14.77e9,
    "qwen2.5-7b-instruct": 7.62e9,
    "llama-3.1-8b": 8.03e9,
    "llama-3.1-70b-instruct": 70.55e9,
    "llama-3.1-70b-instruct-fp8": 70.55e9,
    "mistral-nemo-instruct-2407": 12.25e9,
    "yi-34b": 34.39e9,
    "llama-2-13b-hf": 13.02e9,
    "llama-3.1-8b-instruct": 8.03e9,
    "llama-3.3-70b-instruct": 70.55e9,
    "llama-3.3-70b-instruct-fp8": 70.55e9,
    "llama-3.3-70b-instruct-nvfp4": 70.55e9,
    "mistral-7b-instruct-v0.3": 7.25e9,
    "phi-4": 14.66e9,
    "qwen2.5-14b-instruct": 14.77e9,
    "qwen2.5-32b-instruct": 32.76e9,
    "qwen2.5-72b-instruct": 72.71e9,
    "qwen3-8b": 8.19e9,
    "qwen3-32b": 32.76e9,
    "qwen3-32b-fp8": 32.76e9,
    "llama-3.1-8b-instruct-fp8": 8.03e9,
}
# Mixtures of experts, with the parameters of one token's path, routers and both embeddings included.
MIXTURES = {
    "mixtral-8x7b-v0.1": (46.70e9, 12.88e9),
    "mixtral-8x7b-instruct-v0.1": (46.70e9, 12.88e9),
    "qwen3-30b-a3b": (30.53e9, 3.353e9),
    "qwen3-235b-a22b": (235.09e9, 22.19e9),
    "qwen3-235b-a22b-fp8": (235.09e9, 22.19e9),
    "deepseek-v3": (671.03e9, 37.55e9),
    "deepseek-r1": (671.03e9, 37.55e9),
    "deepseek-v3.1-nvfp4": (671.03e9, 37.55e9),
    "kimi-k2.5": (1026.41e9, 32.86e9),
    "kimi-k2.5-nvfp4": (1026.41e9, 32.86e9),
    "gpt-oss-120b": (116.79e9, 5.71e9),
    "minimax-m2.5": (228.69e9, 11.04e9),
    "minimax-m2.5-nvfp4": (228.69e9, 11.04e9),
    "llama-4-scout-17b-16e-instruct-fp8": (107.77e9, 17.17e9),
}

# Bytes of one token's keys and values in 16 bits over all layers and heads: two times layers, KV heads and their width,
# or layers and the width of the latent and its rotated key, as the models' config.json state these
# (ai-dynamo/aiconfigurator@095f58a51c4c, model_configs).
KV_BYTES = {
    "llama-3.1-8b-instruct-fp8": 131072,
    "llama-3.3-70b-instruct-fp8": 327680,
    "qwen3-32b-fp8": 262144,
    "qwen3-235b-a22b": 192512,
    "gpt-oss-120b": 73728,
    "minimax-m2.5": 253952,
    "kimi-k2.5": 70272,
    "deepseek-r1": 70272,
}

MODELS_FOLDER = CONFIGS / "models"
# Ours by the names in the reference data.
DERIVED = [
    ("DeepSeek-R1", "deepseek-v3"),
    ("DeepSeek-R1", "deepseek-r1"),
    ("DeepSeek-R1", "deepseek-v3.1-nvfp4"),
    ("Llama-3.1-8B", "llama-3.1-8b"),
    ("Llama-3.1-8B", "llama-3.1-8b-instruct-fp8"),
    ("Qwen3-32B", "qwen3-32b-fp8"),
    ("Qwen3-235B-A22B", "qwen3-235b-a22b"),
    ("Qwen3-235B-A22B", "qwen3-235b-a22b-fp8"),
    ("Kimi-K2.5", "kimi-k2.5"),
    ("Kimi-K2.5", "kimi-k2.5-nvfp4"),
    ("gpt-oss-120b", "gpt-oss-120b"),
    ("Llama-3.1-70B", "llama-3.3-70b-instruct-fp8"),
    ("Llama-3.1-70B", "llama-3.3-70b-instruct-nvfp4"),
    ("Qwen3-32B", "qwen3-32b"),
    ("MiniMax-M2.5", "minimax-m2.5"),
    ("MiniMax-M2.5", "minimax-m2.5-nvfp4"),
]
# GiB of weights on each GPU, reckoned by hand from the parameters of each part and its bytes.
WEIGHTS_PER_GPU = [
    ("deepseek-v3", 8, 79.27),
    ("deepseek-v3.1-nvfp4", 8, 46.66),
    ("llama-3.1-8b-instruct-fp8", 1, 8.46),
    ("qwen3-32b-fp8", 2, 15.98),
    ("qwen3-235b-a22b-fp8", 8, 27.65),
    ("kimi-k2.5", 8, 70.95),
    ("kimi-k2.5-nvfp4", 4, 138.85),
    ("gpt-oss-120b", 1, 60.69),
    ("gpt-oss-120b", 4, 15.19),
    ("llama-3.3-70b-instruct-fp8", 1, 67.67),
    ("llama-3.3-70b-instruct-fp8", 4, 16.92),
    ("llama-3.3-70b-instruct-nvfp4", 1, 39.78),
    ("minimax-m2.5", 4, 53.61),
    ("minimax-m2.5-nvfp4", 4, 31.36),
]


def names(paths):
    return [path.stem for path in paths]


@pytest.mark.parametrize("path", MODELS, ids=names(MODELS))
def test_every_model_loads_under_its_own_name_and_says_its_source(path):
    model = load_model(path)
    assert model.id == path.stem
    assert model.name
    assert "Hugging Face" in model.source
    assert model.warnings == ()


@pytest.mark.parametrize("path", MODELS, ids=names(MODELS))
def test_every_model_can_be_sharded_over_one_two_and_four_gpus(path):
    model = load_model(path)
    assert [sharding_problems(model, degree) for degree in (1, 2, 4)] == [(), (), ()]


@pytest.mark.parametrize("identifier", sorted(PARAMETERS))
def test_the_shape_adds_up_to_the_published_number_of_parameters(identifier):
    model = load_model(CONFIGS / "models" / f"{identifier}.json")
    assert parameters(model) == pytest.approx(PARAMETERS[identifier], rel=0.001)


@pytest.mark.parametrize("identifier", sorted(MIXTURES))
def test_a_mixture_of_experts_has_the_published_total_and_active_parameters(identifier):
    """Llama-4-Scout's 109 and 17 billion include its vision part of less than a billion."""
    model = load_model(CONFIGS / "models" / f"{identifier}.json")
    embedding = model.vocab_size * model.hidden_size
    assert (parameters(model), active_parameters(model) + embedding) == pytest.approx(MIXTURES[identifier], rel=0.002)


@pytest.mark.parametrize("identifier", sorted(KV_BYTES))
def test_a_token_takes_the_published_bytes_of_the_kv_cache(identifier):
    model = load_model(MODELS_FOLDER / f"{identifier}.json").with_kv_cache("bfloat16")
    assert model.kv_bytes_per_token == KV_BYTES[identifier]


@pytest.mark.parametrize(("name", "ours"), DERIVED)
def test_counts_are_those_the_reference_data_derive(shared_dir, name, ours):
    file = shared_dir / "ground_truth" / "closed_loop" / "models.json"
    if not file.is_file():
        pytest.skip("the reference data have no list of models")
    said, model = (
        json.loads(file.read_text(encoding="utf-8"))[name]["derived"],
        load_model(MODELS_FOLDER / f"{ours}.json"),
    )
    billions = [round(count / 1e9, 2) for count in (parameters(model), active_parameters(model))]
    assert billions == [said["total_params_B"], said["active_params_per_token_B_without_input_embedding"]]
    assert model.kv_bytes_per_token / model.kv_value_bytes == said["kv_elements_per_token"]


@pytest.mark.parametrize(("identifier", "degree", "gib"), sorted(WEIGHTS_PER_GPU))
def test_weights_take_the_memory_that_their_format_says(identifier, degree, gib):
    model = load_model(MODELS_FOLDER / f"{identifier}.json")
    assert weight_bytes(model, degree) / GIB == pytest.approx(gib, abs=0.05)


def test_a_model_file_without_a_source_is_refused(tmp_path):
    content = json.loads(MODELS[0].read_text(encoding="utf-8"))
    del content["source"]
    path = tmp_path / MODELS[0].name
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError, match="source: missing"):
        load_model(path)


@pytest.mark.parametrize("path", GPUS, ids=names(GPUS))
def test_every_gpu_figure_has_its_unit_and_source(path):
    hardware = load_hardware(path)
    assert hardware.id == path.stem
    figures = {name: figure for name, figure in read_yaml(path).items() if name not in ("id", "name")}
    assert {name: figure["unit"] for name, figure in figures.items()} == {name: UNITS[name] for name in figures}
    # What is left of the memory stands in no data sheet; CUDA or the driver says it.
    assert re.search("CUDA|nvidia-smi", figures.pop("usable_memory_gib", {"source": "CUDA"})["source"])
    said = [figure["source"] for figure in figures.values()]
    if hardware.id in SECOND_HAND:
        assert all(re.search(SECOND_HAND[hardware.id], source) for source in said)
    else:
        assert all("data sheet" in source for source in said)


# GPU -> memory GiB, bandwidth TB/s, dense BF16, FP8 and FP4 TFLOPS, GB/s of links in one direction.
SHEETS = {
    "h100-sxm": (80, 3.35, 989.5, 1979, None, 450),
    "h200-sxm": (141, 4.8, 989.5, 1979, None, 450),
    "b200-sxm": (180, 8.0, 2250, 4500, 9000, 900),
    "b300-sxm": (288, 8.0, 2250, 4500, 13500, 900),
    "gb200": (186, 8.0, 2500, 5000, 10000, 900),
    "a100-sxm": (80, 2.039, 312, None, None, 300),
    "a100-pcie": (80, 1.935, 312, None, None, 32),
    "l40s": (48, 0.864, 362.05, 733, None, 32),
    "rtx-4090": (24, 1.008, 165.2, 330.3, None, 32),
    "rtx-pro-6000": (96, 1.792, 503.8, 1007.6, 2015.2, 64),
    "mi300x": (192, 5.3, 1307.4, 2614.9, None, 448),
}


@pytest.mark.parametrize("gpu", SHEETS)
def test_every_gpu_has_memory_bandwidth_peaks_per_precision_and_links(gpu):
    sheet = load_hardware(CONFIGS / "hardware" / f"{gpu}.yaml")
    figures = (
        sheet.memory_gib,
        sheet.memory_bandwidth_tbs,
        sheet.dense_bf16_tflops,
        sheet.dense_fp8_tflops,
        sheet.dense_fp4_tflops,
        sheet.link_bandwidth_gbs,
    )
    assert tuple(figure and figure.value for figure in figures) == SHEETS[gpu]


def test_a_gpu_whose_int8_units_are_not_twice_as_fast_as_bf16_says_so():
    b300, b200 = (load_hardware(CONFIGS / "hardware" / f"{gpu}-sxm.yaml") for gpu in ("b300", "b200"))
    assert b300.peak_int8_ops == pytest.approx(153.5e12)
    assert b200.peak_int8_ops == pytest.approx(2 * b200.peak_flops)


def test_where_sources_disagree_the_value_used_stands_first_and_the_others_beside_it():
    bandwidth = load_hardware(CONFIGS / "hardware" / "b200-sxm.yaml").memory_bandwidth_tbs
    assert (bandwidth.value, [other.value for other in bandwidth.others]) == (8.0, [7.7])
    assert all(other.source for other in bandwidth.others)


@pytest.mark.parametrize(
    ("identifier", "bf16", "fp8", "bandwidth", "memory"),
    [
        ("h100-sxm", 989.5e12, 1979e12, 3.35e12, 80),
        ("a100-sxm", 312e12, None, 2.039e12, 80),
        ("h200-sxm", 989.5e12, 1979e12, 4.8e12, 141),
    ],
)
def test_the_gpus_have_their_data_sheet_peaks(identifier, bf16, fp8, bandwidth, memory):
    hardware = load_hardware(CONFIGS / "hardware" / f"{identifier}.yaml")
    assert hardware.peak_flops == pytest.approx(bf16)
    assert hardware.peak_fp8_flops == (None if fp8 is None else pytest.approx(fp8))
    assert hardware.peak_bandwidth == pytest.approx(bandwidth)
    assert hardware.memory_gib.value == memory


@pytest.mark.parametrize("path", GPUS, ids=names(GPUS))
def test_every_gpu_has_documented_starting_values_within_their_ranges(path):
    stated = with_sustained(load_hardware(path), path).sustained
    for share in (stated.bandwidth_efficiency, stated.causal_divisor, stated.link_efficiency):
        assert share.low <= share.value <= share.high
    assert stated.all_reduce.low_us <= stated.all_reduce.value_us <= stated.all_reduce.high_us
    assert stated.linked_gpus.value >= 1


def test_the_programmes_bandwidth_efficiencies_are_those_of_its_first_hypothesis():
    """2.747 TB/s on the H100; 0.80 is named for the others."""
    found = {path.stem: with_sustained(load_hardware(path), path).sustained.bandwidth_efficiency.value for path in GPUS}
    assert found["h100-sxm"] * 3.35 == pytest.approx(2.747)
    assert {found[gpu] for gpu in ("a100-sxm", "h200-sxm", "h800-sxm", "gb200")} == {0.80}


@pytest.mark.parametrize(("identifier", "layer_us"), [("h100-sxm", 5.0), ("a100-sxm", 6.0)])
def test_the_calibration_guides_examples_are_kept_per_gpu_with_all_17_parameters(identifier, layer_us):
    path = CONFIGS / "hardware" / f"{identifier}.yaml"
    parameters = with_sustained(load_hardware(path), path).sustained.v1
    assert len(parameters) == 17
    assert V1Parameters.model_validate(parameters).per_layer_overhead == layer_us


def test_what_a_gpus_own_file_states_wins_over_what_lies_beside_it(tmp_path):
    text = (CONFIGS / "hardware" / "h100-sxm.yaml").read_text(encoding="utf-8")
    path = tmp_path / "h100-sxm.yaml"
    path.write_text(text + "sustained: {bandwidth_efficiency: {value: 0, low: 0, high: 1, source: test}}\n", "utf-8")
    (tmp_path / "sustained").mkdir()
    beside = (CONFIGS / "hardware" / "sustained" / "h100-sxm.yaml").read_text(encoding="utf-8")
    (tmp_path / "sustained" / "h100-sxm.yaml").write_text(beside, encoding="utf-8")
    assert with_sustained(load_hardware(path), path).sustained.bandwidth_efficiency.value == 0


@pytest.mark.parametrize("value", ["-3.35", "0", ".nan", ".inf", "'3.35'"])
def test_an_impossible_bandwidth_is_refused_with_field_and_value(tmp_path, value):
    text = (CONFIGS / "hardware" / "h100-sxm.yaml").read_text(encoding="utf-8")
    path = tmp_path / "h100-sxm.yaml"
    path.write_text(text.replace("value: 3.35", f"value: {value}"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"h100-sxm\.yaml: memory_bandwidth_tbs\.value: .*\(got"):
        load_hardware(path)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("unit: TB/s", "unit: GB/s", "memory_bandwidth_tbs.unit"),
        ("value: 3.35", "value: 3350", "memory_bandwidth_tbs.value"),
        ("unit: TFLOPS", "unit: PFLOPS", "dense_bf16_tflops.unit"),
    ],
)
def test_a_data_sheet_figure_in_another_unit_is_refused(project_root, tmp_path, old, new, told):
    text = (project_root / "configs" / "hardware" / "h100-sxm.yaml").read_text(encoding="utf-8")
    path = tmp_path / "h100-sxm.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        load_hardware(path)
