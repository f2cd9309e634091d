"""The calibrated physics on models, GPUs, batches and lengths nobody calibrated: never silly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline_lab.calibration.constants import CONSTANTS, data_sheet, options_of
from simulator.hardware import load_hardware
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.build import build_step_time
from simulator.steptime.fleet import is_fleet
from simulator.validation import read_yaml
from tests.paths import ROOT
from tests.simulator.steptime.support import LLAMA_70B, model

CALIBRATIONS = [path for path in sorted((ROOT / "configs" / "calibration").glob("*.yaml")) if not is_fleet(path)]
GPUS = sorted((ROOT / "configs" / "hardware").glob("*.yaml"))


def constants_of(path: Path) -> dict[str, float]:
    constants = read_yaml(path)["constants"]
    return {constant.name: constants[constant.name]["value"] for constant in CONSTANTS}


@st.composite
def models(draw):
    kv_heads = draw(st.sampled_from([1, 2, 4, 8, 16]))
    mixture = {}
    if draw(st.booleans()):
        experts = draw(st.sampled_from([4, 8, 16, 64, 128]))
        mixture = {
            "num_local_experts": experts,
            "num_experts_per_tok": draw(st.integers(1, min(8, experts))),
            "n_shared_experts": draw(st.integers(0, 2)),
            "moe_intermediate_size": draw(st.sampled_from([768, 1408, 8192])),
        }
    return model(
        hidden_size=draw(st.sampled_from([1024, 2048, 4096, 8192])),
        num_hidden_layers=draw(st.integers(8, 96)),
        num_attention_heads=kv_heads * draw(st.sampled_from([1, 4, 8])),
        num_key_value_heads=kv_heads,
        head_dim=draw(st.sampled_from([64, 128, 256])),
        intermediate_size=draw(st.sampled_from([4096, 14336, 28672])),
        vocab_size=draw(st.sampled_from([32000, 128256, 262144])),
        generation_config=draw(st.sampled_from([None, {"source": "test"}, {"top_p": 0.9, "source": "test"}])),
        **mixture,
    )


@st.composite
def servers(draw):
    """Draw a step-time model with fitted or data-sheet constants on a random model, GPU and TP degree."""
    values = draw(st.sampled_from([constants_of(path) for path in CALIBRATIONS] + [data_sheet()]))
    options = options_of(values, schedule_ahead=draw(st.booleans()))
    hardware = load_hardware(draw(st.sampled_from(GPUS)))
    tp = draw(st.sampled_from([1, 2, 4, 8]))
    eight_bit = hardware.peak_fp8_flops is not None and draw(st.booleans())
    of = draw(models()).model_copy(update={"quantization": "fp8" if eight_bit else None})
    return build_step_time(options, of, hardware, tp)


lengths = st.integers(0, 200_000)
chunks = st.tuples(lengths, st.integers(1, 16_384))
steps = st.builds(Batch, st.lists(chunks, max_size=3).map(tuple), st.lists(lengths, min_size=1, max_size=64).map(tuple))


def us(server, batch: Batch) -> float:
    return server.duration_us(BatchSums.of(batch))


@settings(max_examples=150, deadline=None)
@given(server=servers(), batch=steps)
def test_no_step_is_faster_than_the_data_sheet_allows(server, batch):
    flops, moved = server.work(BatchSums.of(batch))
    seconds = us(server, batch) / 1e6
    assert seconds >= flops / server.peak_flops * (1 - 1e-9)
    assert seconds >= moved / server.peak_bandwidth * (1 - 1e-9)


@settings(max_examples=150, deadline=None)
@given(server=servers(), batch=steps, more=lengths)
def test_another_request_never_makes_a_step_faster(server, batch, more):
    assert us(server, Batch(batch.prefill, (*batch.decode, more))) >= us(server, batch)


@settings(max_examples=150, deadline=None)
@given(server=servers(), batch=steps, longer=st.integers(1, 100_000))
def test_a_longer_context_never_makes_a_step_faster(server, batch, longer):
    first, *rest = batch.decode
    assert us(server, Batch(batch.prefill, (first + longer, *rest))) > us(server, batch)


@settings(max_examples=150, deadline=None)
@given(server=servers(), batch=steps, chunk=chunks, longer=st.integers(1, 10_000))
def test_a_longer_prompt_never_makes_a_step_faster(server, batch, chunk, longer):
    past, new = chunk
    shorter = us(server, Batch(((past, new), *batch.prefill), batch.decode))
    assert us(server, Batch(((past, new + longer), *batch.prefill), batch.decode)) >= shorter
    assert us(server, Batch(((past + longer, new), *batch.prefill), batch.decode)) >= shorter


@settings(max_examples=80, deadline=None)
@given(server=servers(), past=st.integers(0, 100_000), halves=st.integers(64, 8192))
def test_a_prompt_in_two_chunks_takes_at_least_as_long_as_in_one(server, past, halves):
    whole = us(server, Batch(((past, 2 * halves),)))
    first, second = us(server, Batch(((past, halves),))), us(server, Batch(((past + halves, halves),)))
    assert first + second >= whole * (1 - 1e-9)


def test_decodes_far_beyond_the_calibrated_lengths_cost_their_kv_bytes():
    """128 requests of 32,768 tokens: 1.37 TB of KV over 8 GPUs dwarf everything else of Llama-2-70B."""
    hardware = load_hardware(ROOT / "configs" / "hardware" / "h100-sxm.yaml")
    values = constants_of(CALIBRATIONS[0])
    server = build_step_time(options_of(values, schedule_ahead=True), LLAMA_70B, hardware, 8)
    kv_bytes = 128 * 32_768 * 80 * 2 * 1024 * 2
    expected_us = kv_bytes / 8 / (3.35e12 * values["kv_bandwidth_efficiency"]) * 1e6
    longer = us(server, Batch(decode=(32_768,) * 128)) - us(server, Batch(decode=(0,) * 128))
    assert longer == pytest.approx(expected_us, rel=1e-6)


def test_beyond_as_many_gpus_as_kv_heads_reading_the_cache_gets_no_faster():
    """Four KV heads on eight GPUs: every GPU still reads a whole head."""
    of = model(num_attention_heads=32, num_key_value_heads=4, head_dim=128)
    hardware = load_hardware(ROOT / "configs" / "hardware" / "h100-sxm.yaml")
    options = options_of(data_sheet(), schedule_ahead=True)
    reading_us = []
    for tp in (2, 4, 8):
        server = build_step_time(options, of, hardware, tp)
        reading_us.append(us(server, Batch(decode=(10_000_000,))) - us(server, Batch(decode=(0,))))
    assert reading_us[0] == pytest.approx(2 * reading_us[1])
    assert reading_us[2] == pytest.approx(reading_us[1])
