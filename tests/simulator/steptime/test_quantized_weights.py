"""What weights of eight and four bits cost: bytes in decode, the units they are multiplied on in prefill."""

from __future__ import annotations

import pytest

from simulator.errors import UnsupportedError
from simulator.hardware import load_hardware
from simulator.kernels.analytic import load_analytic
from simulator.steptime.batch import Batch
from simulator.steptime.traffic import Weights
from tests.paths import ROOT
from tests.simulator.steptime.support import LLAMA_70B, BentKernels, step_time
from tests.simulator.steptime.support import model as small

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


CURVES = load_analytic(ROOT / "configs" / "kernels" / "h100" / "analytic.yaml")
B200 = load_hardware(ROOT / "configs" / "hardware" / "b200-sxm.yaml")


@pytest.mark.parametrize(("kind", "weight_bytes"), [("mxfp4", 0.53125), ("nvfp4", 0.5625), ("int4", 0.515625)])
def test_four_bit_weights_are_read_with_their_scales_on_every_gpu(kind, weight_bytes):
    for gpu in (H100, B200, A100):
        whole = layers_us(LLAMA_70B, DECODE, on=gpu)
        assert layers_us(stored(kind), DECODE, on=gpu) == pytest.approx(weight_bytes / 2 * whole, rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "gpu", "share"),
    [
        ("nvfp4", B200, 0.25),
        ("mxfp4", B200, 0.5),
        ("int4", B200, 1.0),
        ("nvfp4", H100, 1.0),
        ("mxfp4", H100, 1.0),
        ("nvfp4", A100, 1.0),
    ],
)
def test_four_bit_floats_are_multiplied_on_units_of_their_own_where_a_gpu_has_them(kind, gpu, share):
    """NVFP4 by NVFP4, MXFP4 by MXFP8; elsewhere in 16 bits, which is said."""
    for options in (PHYSICS, ROOFLINE):
        part, whole = (step_time(options, of=of, on=gpu) for of in (stored(kind), LLAMA_70B))
        took, would = (model.explain(Batch(prefill=((0, 40_000),))) for model in (part, whole))
        if options is PHYSICS:
            seconds = [next(term.us for term in cost.terms if term.name == "layers") for cost in (took, would)]
        else:
            seconds = [cost.prefill.gemm_s for cost in (took, would)]
        assert seconds[0] == pytest.approx(share * seconds[1], rel=1e-3)
        widened = any("multiplied in 16 bits" in warning for warning in part.warnings)
        assert widened == (kind != "int4" and gpu is not B200)


@pytest.mark.parametrize("gpu", [H100, B200])
def test_fitted_curves_price_four_bit_weights_and_tables_refuse_them(gpu):
    curves = {"family": "mfu_roofline", "mfu": {"kind": "kernels", "style": "seconds"}}
    fitted = CURVES.on(gpu)
    decode = Batch(decode=(10,) * 4)
    four, sixteen = (step_time(curves, of=of, on=gpu, kernels=fitted) for of in (stored("nvfp4"), LLAMA_70B))
    assert 0.28 < four.explain(decode).decode.gemm_s / sixteen.explain(decode).decode.gemm_s < 0.45
    with pytest.raises(UnsupportedError, match="no kernel table holds such a GEMM"):
        step_time(curves, of=stored("mxfp4"), on=gpu, kernels=BentKernels())


def test_matrices_that_stay_in_sixteen_bits_are_read_and_multiplied_in_them_beside_four_bit_ones():
    fitted = CURVES.on(B200)
    curves = {"family": "mfu_roofline", "mfu": {"kind": "kernels", "style": "seconds"}}
    layers = LLAMA_70B.num_hidden_layers
    everything = {"unquantized_attention_layers": layers, "unquantized_feed_forward_layers": layers}
    for batch in (DECODE, PREFILL):
        times = [
            step_time(curves, of=of, on=B200, kernels=fitted).explain(batch)
            for of in (
                stored("nvfp4"),
                stored("nvfp4", unquantized_attention_layers=layers),
                stored("nvfp4", **everything),
                LLAMA_70B,
            )
        ]
        four, half, kept, whole = ((cost.decode or cost.prefill).gemm_s for cost in times)
        assert four < half < kept == pytest.approx(whole)


def test_shared_experts_may_stay_in_sixteen_bits_alone():
    mixture = {"num_local_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1, "quantization": "int4"}
    like_routed, kept = (small(**mixture, **more) for more in ({}, {"unquantized_shared_expert_layers": 4}))
    shared = 4 * 3 * 1024 * 2816
    assert Weights(kept).bytes(1) - Weights(like_routed).bytes(1) == shared * (2 - 0.515625)
