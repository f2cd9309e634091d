"""How far a deployment is from what was fitted to: kind, GPU, precision, load and lengths, in three words."""

from __future__ import annotations

import pytest

from simulator.model_files import load_model
from simulator.trust.distance import Cell, Load, Reach, Run, Word, kind_of, precision_of, reach_of, seen_in
from tests.paths import ROOT
from tests.roofline_lab.trust.made_up import CELLS

LOAD = Load(tensor_parallel=4, concurrency=16, prompt_tokens=1000, output_tokens=1000)
SEEN = seen_in(
    Run(cell, Load(gpus, concurrency, tokens, 1000), "our client")
    for cell in CELLS
    for gpus, concurrency, tokens in ((1, 4, 900), (8, 64, 7400))
)


def reach(cell, load=LOAD, seen=SEEN):
    return reach_of(Run(cell, load), seen)[0]


def test_a_cell_that_was_fitted_to_is_inside():
    assert reach_of(Run(CELLS[0], LOAD), SEEN) == (Reach.CELL, ())
    assert Reach.CELL.word is Word.INSIDE


def test_another_model_of_a_kind_on_a_gpu_in_a_precision_that_were_fitted_to_together_is_inside_one_step_farther():
    found, reasons = reach_of(Run(Cell("phi", "dense", "h100-sxm", "fp8"), LOAD), SEEN)
    assert (found, found.word) == (Reach.MODEL, Word.INSIDE)
    assert reasons == ("the model phi was not fitted to",)


def test_a_pair_of_which_each_was_fitted_to_is_near():
    found, reasons = reach_of(Run(Cell("llama", "dense", "b200-sxm", "nvfp4"), LOAD), SEEN)
    assert (found, found.word) == (Reach.PAIRING, Word.NEAR)
    assert "never together" in reasons[0]


@pytest.mark.parametrize(
    ("cell", "unseen"),
    [
        (Cell("gpt", "moe", "h100-sxm", "mxfp4"), "mxfp4"),
        (Cell("llama", "dense", "b300-sxm", "fp8"), "b300-sxm"),
        (Cell("mamba", "state space", "h100-sxm", "fp8"), "state space"),
    ],
)
def test_what_was_never_fitted_to_is_outside_and_named(cell, unseen):
    found, reasons = reach_of(Run(cell, LOAD), SEEN)
    assert (found, found.word) == (Reach.UNSEEN, Word.OUTSIDE)
    assert len(reasons) == 1
    assert reasons[0].startswith(f"{unseen} was not fitted to")


def test_everything_that_is_unseen_is_named():
    assert len(reach_of(Run(Cell("x", "moe", "b300-sxm", "mxfp4"), LOAD), SEEN)[1]) == 2


@pytest.mark.parametrize(
    "load",
    [
        Load(4, 128, 1000, 1000),
        Load(4, 1, 1000, 1000),
        Load(4, 16, 30_000, 1000),
        Load(4, 16, 100, 1000),
        Load(4, 16, 1000, 10_000),
        Load(16, 16, 1000, 1000),
    ],
    ids=["more load", "less load", "longer prompts", "shorter prompts", "longer answers", "more GPUs"],
)
def test_load_or_lengths_beyond_what_was_measured_make_inside_near_and_near_outside(load):
    assert [reach(CELLS[0], load), reach(Cell("phi", "dense", "h100-sxm", "fp8"), load)] == [Reach.PAIRING] * 2
    assert reach(Cell("llama", "dense", "b200-sxm", "nvfp4"), load) is Reach.UNSEEN
    assert reach(Cell("llama", "dense", "b300-sxm", "fp8"), load) is Reach.UNSEEN


def test_another_measuring_site_makes_inside_near_because_its_client_takes_time_of_its_own():
    found, reasons = reach_of(Run(CELLS[0], LOAD, "their client"), SEEN)
    assert found is Reach.PAIRING
    assert reasons == ("the time of client and host at their client was not fitted to, but that at our client",)
    assert reach_of(Run(CELLS[0], LOAD, "our client"), SEEN)[0] is Reach.CELL


def test_a_site_that_nobody_knows_makes_no_difference():
    assert reach(CELLS[0]) is Reach.CELL
    nowhere = seen_in([Run(CELLS[0], LOAD)])
    assert reach_of(Run(CELLS[0], LOAD, "their client"), nowhere)[0] is Reach.CELL


def test_what_is_a_little_beyond_is_as_measured():
    assert reach(CELLS[0], Load(8, 70, 8192, 1024)) is Reach.CELL


def test_of_a_calibration_that_rests_on_nothing_everything_is_outside():
    assert reach(CELLS[0], seen=seen_in([])) is Reach.UNSEEN


@pytest.mark.parametrize(
    ("model", "kind", "precision"),
    [
        ("llama-3.3-70b-instruct-fp8", "dense", "fp8"),
        ("qwen3-32b", "dense", "bf16"),
        ("minimax-m2.5", "moe", "fp8"),
        ("gpt-oss-120b", "moe", "mxfp4"),
        ("kimi-k2.5-nvfp4", "mla", "nvfp4"),
        ("kimi-k2.5", "mla", "int4"),
    ],
)
def test_kind_and_precision_of_a_model_are_read_from_its_file(model, kind, precision):
    found = load_model(ROOT / "configs" / "models" / f"{model}.json")
    assert (kind_of(found), precision_of(found)) == (kind, precision)
