"""Layers that see the last tokens alone: what their attention reads and computes, request by request and from sums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.hardware import load_hardware
from simulator.kernels.analytic import load_analytic
from simulator.model_files import load_model
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.physics import unavoidable_work
from simulator.steptime.roofline_check import RooflineObserver
from simulator.steptime.window import Window
from tests.paths import ROOT
from tests.simulator.steptime.support import H100, model, step_time

WINDOW = 128
HALF = {"sliding_window": WINDOW, "sliding_window_layers": 2}
PHYSICS = {"family": "calibrated_physics"}
CURVES = load_analytic(ROOT / "configs" / "kernels" / "h100" / "analytic.yaml")
WHOLE = {"kv_read_fraction": {"prefill": 1.0, "decode": 1.0}, "phase_combination": "additive", "lm_head": True}
ROOFLINE = {"mfu": {"kind": "kernels"}, **WHOLE}
CONSTANT = {"mfu": {"kind": "constant", "prefill": 0.5, "decode": 0.5}, **WHOLE}
FAMILIES = [(PHYSICS, None), (ROOFLINE, CURVES), (CONSTANT, None)]
PASTS = st.lists(st.integers(0, 400), min_size=1, max_size=20)


@given(PASTS, st.sampled_from([0.0, 0.5, 1.0]))
def test_sums_over_two_intervals_give_what_every_request_reads(pasts, share):
    window = Window(share, WINDOW)
    sums = BatchSums.of(Batch(decode=tuple(pasts)), window.breakpoints)
    read = sum((1 - share) * past + share * min(past, WINDOW - 1) for past in pasts)
    assert window.past(sums) == pytest.approx(read)
    assert window.past_of_each(sums) == pytest.approx(read)


@given(st.integers(0, 400), st.integers(1, 400))
def test_pairs_of_a_prefill_chunk_are_those_within_the_window(past, new):
    """Counted pair by pair; a chunk counts half of its own token less, as attention to everything does."""
    pairs = sum(min(past + i + 1, WINDOW) for i in range(new))
    counted = Window(1.0, WINDOW).pairs_share(past, new) * new * (past + new / 2)
    assert -1e-6 <= pairs - counted <= new / 2 + 1e-6


@pytest.mark.parametrize(("options", "kernels"), FAMILIES)
def test_a_window_no_request_reaches_costs_nothing_less(options, kernels):
    whole, half = (step_time(options, of=model(**window), kernels=kernels) for window in ({}, HALF))
    for batch in (Batch(decode=(5, 100)), Batch(prefill=((0, 100),)), Batch(prefill=((60, 40),), decode=(7,))):
        assert half.explain(batch).unrounded_us == pytest.approx(whole.explain(batch).unrounded_us, rel=1e-6)


@pytest.mark.parametrize(("options", "kernels"), FAMILIES)
def test_beyond_the_window_attention_of_those_layers_stops_growing(options, kernels):
    all_slide = {"sliding_window": WINDOW, "sliding_window_layers": 4}
    times = {}
    for name, window in (("none", {}), ("half", HALF), ("all", all_slide)):
        priced = step_time(options, of=model(**window), kernels=kernels)
        for past in (5_000, 500_000):
            times[name, past] = priced.explain(Batch(decode=(past,) * 8)).unrounded_us
    assert times["all", 500_000] == pytest.approx(times["all", 5_000])
    grown = {name: times[name, 500_000] - times[name, 5_000] for name in ("none", "half")}
    assert grown["half"] == pytest.approx(grown["none"] / 2, rel=0.02)


@pytest.mark.parametrize(("options", "kernels"), FAMILIES)
@given(pasts=PASTS, chunk=st.none() | st.tuples(st.integers(0, 300), st.integers(1, 300)))
def test_the_engines_sums_and_an_explained_batch_agree(options, kernels, pasts, chunk):
    priced = step_time(options, of=model(**HALF), kernels=kernels)
    batch = Batch(prefill=(chunk,) if chunk else (), decode=tuple(pasts))
    assert priced.kv_breakpoints == (WINDOW,)
    assert priced.step_time_us(BatchSums.of(batch, priced.kv_breakpoints)) == priced.explain(batch).total_us
    if hasattr(priced, "lone_decode_times_us"):
        lone = [priced.step_time_us(BatchSums.of(Batch(decode=(past,)), priced.kv_breakpoints)) for past in pasts]
        assert priced.lone_decode_times_us(pasts) == lone


def test_reading_by_hand_of_a_batch_with_short_and_long_requests():
    """Two of four layers, 2 x 2 x 128 values of 2 bytes per token and layer, at 3.35 TB/s."""
    priced = step_time(PHYSICS, of=model(**HALF))
    took = next(t.us for t in priced.explain(Batch(decode=(99, 999))).terms if t.name == "decode attention")
    tokens = 2 * (100 + 1000) + 2 * (100 + 128)
    assert took == pytest.approx(tokens * 2 * 2 * 128 * 2 / 3.35e12 * 1e6)


@pytest.mark.parametrize(("options", "kernels"), FAMILIES)
def test_a_windowed_step_is_never_called_faster_than_the_gpu_allows(options, kernels):
    of = model(**HALF)
    observed = RooflineObserver(step_time(options, of=of, kernels=kernels), of, H100, 1)
    observed.lone_decode_times_us([10, 200, 100_000])
    for batch in (Batch(decode=(100_000,) * 64), Batch(prefill=((0, 8192),), decode=(50, 60_000))):
        observed.step_time_us(BatchSums.of(batch, observed.kv_breakpoints))
    assert observed.fastest >= 1.0


def test_work_is_counted_alike_from_intervals_and_from_every_request():
    of, batch = model(**HALF), Batch(prefill=((10, 500),), decode=(3, 127, 128, 4000))
    in_intervals = unavoidable_work(of, 1, breakpoints=(WINDOW,))(BatchSums.of(batch, (WINDOW,)))
    assert unavoidable_work(of, 1, breakpoints=())(BatchSums.of(batch)) == pytest.approx(in_intervals)


def test_a_family_that_cannot_price_a_window_says_so():
    by_length = {"mfu": {"kind": "kernels", "style": "mfu"}}
    assert any(
        "2 of 4 layers attend to 128" in w for w in step_time(by_length, of=model(**HALF), kernels=CURVES).warnings
    )
    assert not any("attend to" in w for w in step_time(PHYSICS, of=model(**HALF)).warnings)


def test_gpt_oss_decodes_long_contexts_in_little_more_than_half_the_attention_of_full_layers():
    oss = load_model(ROOT / "configs" / "models" / "gpt-oss-120b.json")
    gpu = load_hardware(ROOT / "configs" / "hardware" / "h100-sxm.yaml")
    batch = Batch(decode=(8000,) * 16)
    full = oss.model_copy(update={"sliding_window_layers": 0})
    took, would = (
        next(t.us for t in step_time(PHYSICS, of=of, on=gpu).explain(batch).terms if t.name == "decode attention")
        for of in (oss, full)
    )
    assert took / would == pytest.approx((18 * 8001 + 18 * 128) / (36 * 8001))
