"""Constant efficiencies: the same answer for every shape, and times that follow from it."""

from __future__ import annotations

import pytest

from simulator.kernels.base import AttentionShape, ConstantMfu, PiecewiseLinear

LLAMA_7B = AttentionShape(32, 32, 128)


def test_the_default_constants_are_those_of_the_calibration_guide():
    kernels = ConstantMfu()
    assert kernels.gemm_mfu(8, 4096, 4096, phase="prefill") == 0.65
    assert kernels.gemm_mfu(8, 4096, 4096, phase="decode") == 0.12
    assert kernels.attention(LLAMA_7B).prefill_mfu(512) == 0.65
    assert kernels.attention(LLAMA_7B).decode_mfu(1, 512) == 0.12


def test_seconds_are_flops_over_peak_times_efficiency():
    kernels = ConstantMfu(prefill=0.5, decode=0.1)
    assert kernels.gemm_seconds(100, 4096, 4096) == pytest.approx(2 * 100 * 4096**2 / (989.5e12 * 0.5))
    assert kernels.gemm_seconds(100, 4096, 4096, dtype="fp8") == pytest.approx(2 * 100 * 4096**2 / (1979e12 * 0.5))
    bound = kernels.attention(LLAMA_7B, tp=2)
    assert bound.prefill_seconds(0, 1000) == pytest.approx(2 * 32 * 128 * 1000**2 / (989.5e12 * 0.5) / 2)
    assert bound.decode_seconds(4, 4000) == pytest.approx(4 * 32 * 128 * 4000 / (989.5e12 * 0.1) / 2)


def test_the_decode_curve_of_a_constant_is_one_flat_interval():
    curve = ConstantMfu().attention(LLAMA_7B).decode_mfu_curve(7)
    assert curve == PiecewiseLinear((), (0.12,), (0.0,), (True,))
    assert curve.at(5000) == 0.12


def test_piecewise_intervals_close_on_the_left():
    curve = PiecewiseLinear((10, 20), (1.0, 0.0, 5.0), (0.0, 0.1, 0.0), (True, True, True))
    assert [curve.at(x) for x in (9, 10, 19, 20)] == pytest.approx([1.0, 1.0, 1.9, 5.0])


def test_a_lookup_names_the_constant_it_used():
    kernels = ConstantMfu()
    assert kernels.gemm_lookup(1, 2, 3, phase="decode").table == "constant:decode"
    lookup = kernels.attention(LLAMA_7B).decode_lookup(3, 100)
    assert lookup.value == 0.12
    assert lookup.match is not None
    assert lookup.match.exact
