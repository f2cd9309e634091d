"""The calibrated physics worked out a second time, from public configuration files and data sheets alone.

`by_hand` knows nothing of the project's records and formulas: it reads a model's raw configuration and
adds up parameters, bytes, FLOPs and messages of one step as one would on paper.
"""

from __future__ import annotations

import json
from itertools import combinations, product
from math import comb

import pytest

from simulator.hardware import load_hardware
from simulator.model_files import load_model
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.build import build_step_time
from simulator.steptime.experts import experts_touched
from simulator.steptime.options import CalibratedPhysicsOptions
from tests.paths import ROOT

CONFIGS = ROOT / "configs"
# H100 SXM data sheet: HBM bytes/s, BF16 and FP8 FLOP/s, NVLink bytes/s per direction.
HBM, BF16, FP8, NVLINK = 3.35e12, 989.5e12, 1979e12, 450e9
C = {
    "weight_bandwidth_efficiency": 0.91,
    "kv_bandwidth_efficiency": 0.88,
    "gemm_efficiency": 0.65,
    "attention_efficiency": 0.72,
    "corner_sharpness": 2.7,
    "layer_us": 43.0,
    "step_us": 200.0,
    "request_us": 7.0,
    "all_reduce_us": 5.0,
    "link_efficiency": 0.3,
    "sampling_us_per_kilotoken": 5.0,
    "sampling_us_per_kilotoken_request": 0.02,
}
BATCHES = {
    "one decode": Batch(decode=(500,)),
    "64 decodes": Batch(decode=tuple(range(400, 464))),
    "long prompt": Batch(prefill=((0, 2048),)),
    "second chunk of a prompt, and decodes": Batch(prefill=((2048, 1024), (0, 17)), decode=(100, 30000, 7)),
}
MODELS = [
    ("llama-2-70b-hf", 4),
    ("qwen3-14b", 2),
    ("mistral-nemo-instruct-2407", 1),
    ("mixtral-8x7b-v0.1", 2),
    ("llama-4-scout-17b-16e-instruct-fp8", 2),
]


def by_hand(config: dict, tp: int, batch: Batch) -> float:
    """Microseconds of one step."""
    layers, width, vocabulary = config["num_hidden_layers"], config["hidden_size"], config["vocab_size"]
    head = config.get("head_dim") or width // config["num_attention_heads"]
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    experts, active = config.get("num_local_experts", 0), config.get("num_experts_per_tok", 0)
    shared = config.get("n_shared_experts", 0)
    eight_bit = config.get("quantization") == "fp8"
    feed_forward = 3 * width * config["intermediate_size"]
    attention = width * q + 2 * width * kv + q * width

    tokens = len(batch.decode) + sum(new for _, new in batch.prefill)
    rows = len(batch.decode) + len(batch.prefill)
    visited = sum(1 - (1 - active / experts) ** tokens for _ in range(experts)) if experts else 0
    read = layers * (attention + feed_forward * (visited + shared if experts else 1)) * (1 if eight_bit else 2)
    multiplied = 2 * layers * (attention + feed_forward * (active + shared if experts else 1)) * tokens
    loading = read / tp / (HBM * C["weight_bandwidth_efficiency"])
    computing = multiplied / tp / ((FP8 if eight_bit else BF16) * C["gemm_efficiency"])
    seconds = (loading ** C["corner_sharpness"] + computing ** C["corner_sharpness"]) ** (1 / C["corner_sharpness"])

    head_loading = 2 * width * vocabulary / tp / (HBM * C["weight_bandwidth_efficiency"])
    head_computing = 2 * width * vocabulary * rows / tp / (BF16 * C["gemm_efficiency"])
    seconds += max(head_loading, head_computing)

    def kv_seconds(positions: float) -> float:
        return positions * layers * 2 * kv * 2 / tp / (HBM * C["kv_bandwidth_efficiency"])

    seconds += kv_seconds(sum(past + 1 for past in batch.decode))
    for past, new in batch.prefill:
        # Two matrix products of 2 FLOPs per query element, for every pair of a token and one before it.
        pairs = new * past + new * new / 2
        seconds += max(4 * layers * q * pairs / tp / (BF16 * C["attention_efficiency"]), kv_seconds(past + new))

    kernels = 10 + 6 * bool(experts) + 4 * bool(shared) + 4 * eight_bit
    microseconds = seconds * 1e6 + layers * C["layer_us"] * kernels / 10
    if tp > 1:
        ring = 2 * (tp - 1) / tp * tokens * width * 2 / (NVLINK * C["link_efficiency"])
        microseconds += 2 * layers * (C["all_reduce_us"] + ring * 1e6)
    defaults = config["generation_config"]
    if "top_p" in defaults or "top_k" in defaults:
        each = C["sampling_us_per_kilotoken_request"]
        microseconds += vocabulary / 1000 * (C["sampling_us_per_kilotoken"] + each * rows)
    return microseconds + C["step_us"] + C["request_us"] * rows


@pytest.mark.parametrize(("name", "tp"), MODELS)
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_a_step_costs_what_it_costs_on_paper(name, tp, batch):
    path = CONFIGS / "models" / f"{name}.json"
    options = CalibratedPhysicsOptions(family="calibrated_physics", **C)
    built = build_step_time(options, load_model(path), load_hardware(CONFIGS / "hardware" / "h100-sxm.yaml"), tp)
    config = json.loads(path.read_text(encoding="utf-8"))
    assert built.duration_us(BatchSums.of(batch)) == pytest.approx(by_hand(config, tp, batch), rel=1e-9)


@pytest.mark.parametrize(("experts", "active", "tokens"), [(4, 1, 3), (4, 2, 2), (5, 2, 3), (3, 3, 2)])
def test_experts_touched_is_the_mean_over_all_ways_to_route(experts, active, tokens):
    choices = list(combinations(range(experts), active))
    assert len(choices) == comb(experts, active)
    routings = list(product(choices, repeat=tokens))
    mean = sum(len(set().union(*routing)) for routing in routings) / len(routings)
    assert experts_touched(experts, active, tokens) == pytest.approx(mean)


def test_the_head_read_per_step_is_a_noticeable_part_of_small_models_with_large_vocabularies():
    """Qwen2.5-7B: 152064 x 3584 BF16 weights are 1.09 of 14.15 GB that a step reads."""
    path = CONFIGS / "models" / "qwen2.5-7b-instruct.json"
    hardware = load_hardware(CONFIGS / "hardware" / "h100-sxm.yaml")
    with_head, without = (
        build_step_time(
            CalibratedPhysicsOptions(family="calibrated_physics", lm_head=flag), load_model(path), hardware, 1
        ).duration_us(BatchSums.of(Batch(decode=(0,))))
        for flag in (True, False)
    )
    assert with_head - without == pytest.approx(152064 * 3584 * 2 / HBM * 1e6)
    assert (with_head - without) / with_head == pytest.approx(1.09 / 14.15, abs=0.002)
