"""What weights of eight and four bits cost: bytes in decode, the units they are multiplied on in prefill."""

from __future__ import annotations

import pytest

from simulator.errors import UnsupportedError
from simulator.hardware import load_hardware
from simulator.steptime.batch import Batch
from tests.paths import ROOT
from tests.simulator.steptime.support import LLAMA_70B, step_time

H100, A100 = (load_hardware(ROOT / "configs" / "hardware" / f"{name}.yaml") for name in ("h100-sxm", "a100-sxm"))
DECODE, PREFILL = Batch(decode=(10,)), Batch(prefill=((0, 8000),))
ROOFLINE = {"family": "mfu_roofline", "mfu": {"kind": "constant", "prefill": 0.5, "decode": 0.5}}
PHYSICS = {"family": "calibrated_physics", "corner_sharpness": 50.0}


def stored(kind, **kept):
    return LLAMA_70B.model_copy(update={"quantization": kind, **kept})


def layers_us(of, batch, on=H100):
    """Return what the physical model takes for all layers' matrix multiplications."""
    return next(term.us for term in step_time(PHYSICS, of=of, on=on).explain(batch).terms if term.name == "layers")


def roofline(of, batch):
    return step_time(ROOFLINE, of=of, on=H100).explain(batch)


@pytest.mark.parametrize(("kind", "share"), [("fp8", 0.5), ("int8", 0.5), ("w8a16", 0.5), ("int4", 0.515625 / 2)])
def test_decode_takes_the_time_of_the_bytes(kind, share):
    assert layers_us(stored(kind), DECODE) == pytest.approx(share * layers_us(LLAMA_70B, DECODE), rel=1e-6)
    whole, part = (roofline(of, DECODE).decode.weight_bytes for of in (LLAMA_70B, stored(kind)))
    assert part == pytest.approx(share * whole)


@pytest.mark.parametrize(("kind", "share"), [("fp8", 0.5), ("int8", 0.5), ("w8a16", 1.0), ("int4", 1.0)])
def test_prefill_is_multiplied_on_the_units_of_the_format(kind, share):
    assert layers_us(stored(kind), PREFILL) == pytest.approx(share * layers_us(LLAMA_70B, PREFILL), rel=1e-3)
    whole, part = (roofline(of, PREFILL).prefill.gemm_s for of in (LLAMA_70B, stored(kind)))
    assert part == pytest.approx(share * whole, rel=1e-3)


def test_layers_that_stay_in_sixteen_bits_are_multiplied_and_read_in_them():
    layers = LLAMA_70B.num_hidden_layers
    everything = {"unquantized_attention_layers": layers, "unquantized_feed_forward_layers": layers}
    for batch in (DECODE, PREFILL):
        assert layers_us(stored("fp8", **everything), batch) == pytest.approx(layers_us(LLAMA_70B, batch))
        half = layers_us(stored("fp8", unquantized_attention_layers=layers), batch)
        assert layers_us(stored("fp8"), batch) < half < layers_us(LLAMA_70B, batch)


def test_a_family_with_one_rate_for_all_matrices_says_that_kept_layers_are_too_fast():
    kept = stored("fp8", unquantized_attention_layers=80)
    assert any("at the 8-bit rate" in each for each in step_time(ROOFLINE, of=kept, on=H100).warnings)
    assert not any("at the 8-bit rate" in each for each in step_time(PHYSICS, of=kept, on=H100).warnings)
    assert not any("at the 8-bit rate" in each for each in step_time(ROOFLINE, of=stored("fp8"), on=H100).warnings)


def test_a_gpu_without_eight_bit_float_units_takes_eight_bit_integers_and_refuses_floats():
    assert layers_us(stored("int8"), PREFILL, on=A100) == pytest.approx(
        layers_us(LLAMA_70B, PREFILL, on=A100) / 2, rel=1e-3
    )
    with pytest.raises(UnsupportedError, match="states no FP8 peak"):
        layers_us(stored("fp8"), PREFILL, on=A100)
