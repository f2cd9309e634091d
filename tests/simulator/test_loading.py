"""Models as a server loads them on a GPU."""

from __future__ import annotations

import pytest

from simulator.cli.catalog import SHIPPED_CONFIGS, find_hardware, find_model
from simulator.loading import as_loaded
from simulator.memory import weight_bytes


def gpu(name):
    return find_hardware(name, SHIPPED_CONFIGS)


@pytest.fixture
def model():
    return find_model("llama-2-7b-hf", SHIPPED_CONFIGS)


def test_fp8_weights_keep_their_bytes_and_lose_their_units_on_a_gpu_that_has_none(model):
    fp8 = model.model_copy(update={"quantization": "fp8"})
    loaded, notes = as_loaded(fp8, gpu("a100-sxm"))
    assert (loaded.quantization, loaded.weight_bytes) == ("w8a16", 1)
    assert "a100-sxm has no FP8 units" in notes[0]
    assert as_loaded(fp8, gpu("h100-sxm")) == (fp8, ())


def test_floats_of_32_bits_are_loaded_in_16_and_it_is_said(model):
    loaded, notes = as_loaded(model.model_copy(update={"torch_dtype": "float32"}), gpu("h100-sxm"))
    assert weight_bytes(loaded, 1) == weight_bytes(model, 1)
    assert "float32 is loaded in 16 bits" in notes[0]
    assert as_loaded(model, gpu("h100-sxm")) == (model, ())
