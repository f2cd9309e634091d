"""On the committed measurements the analysis finds, one after the other, the terms a step-time model lacks.

The ranking knows nothing of these tests: it is the held-out error of one fitted constant, for every candidate alike.
"""

from __future__ import annotations

import dataclasses
import json

import pytest

from roofline_lab.hypotheses.arms import Arm
from roofline_lab.predict.arms import run_lines
from roofline_lab.residuals.ranking import ranked_terms
from roofline_lab.residuals.rows import residuals_of
from roofline_lab.vocabulary import MEANS
from simulator.steptime.options import parse_options
from tests.roofline_lab.builders import HYPOTHESIS

# The weights of the layers and every byte of the KV cache, no activations, at about what reads of HBM sustain.
MEMORY = {
    "bandwidth_efficiency": 0.91,
    "kv_read_fraction": {"prefill": 1.0, "decode": 1.0},
    "activation_fraction": {"prefill": 0.0, "decode": 0.0},
}
LAYERS = {"overhead": {"kind": "per_layer", "us": 65.0}}


@pytest.fixture(scope="module")
def ranked(lab):
    """Return a function from step-time options to the ranking on the synchronous experiments."""

    def rank(options, metric):
        method = lab.methods["corrected"]
        steptime = parse_options({"family": "mfu_roofline", **method.steptime, **options}, source="test")
        arm = Arm("tried", steptime, {})
        rows = []
        for run in lab.runs(HYPOTHESIS):
            if run.method.id == "corrected" and run.arm.name == "baseline":
                # A digest of its own: results are remembered by it.
                tried = dataclasses.replace(run, arm=arm, digest=json.dumps(options, sort_keys=True))
                rows += [json.loads(line) for line in run_lines(lab, tried).splitlines()]
        return ranked_terms(residuals_of(lab, rows, arm, MEANS), metric)

    return rank


@pytest.mark.parametrize("efficiency", [0.82, None])
@pytest.mark.parametrize("metric", ["itl", "e2e"])
def test_after_the_bandwidth_correction_it_suggests_an_overhead_per_layer_not_divided_by_tp(ranked, efficiency, metric):
    best, *others = ranked({"bandwidth_efficiency": efficiency}, metric)
    assert best.term.name == "layer"
    assert 50.0 <= best.constant <= 100.0
    assert best.low > 40.0
    assert best.beyond_noise
    assert best.held_out < 0.25 * best.mape_before
    (divided,) = [other for other in others if other.term.name == "layer_over_tp"]
    assert divided.held_out > 2 * best.held_out


def test_after_the_overhead_it_suggests_the_lm_head(ranked):
    best, *others = ranked({**MEMORY, **LAYERS}, "itl")
    assert best.term.name == "lm_head"
    assert best.constant >= 1.0
    assert best.held_out < best.mape_before
    # Sampling grows with the vocabulary as the LM head does, and the page says how close it comes.
    assert others[0].term.name == "vocabulary"
    assert "vocabulary" in best.rivals


def test_it_finds_the_lm_head_as_well_when_it_goes_on_from_its_own_suggestion(ranked):
    first = ranked({"bandwidth_efficiency": None}, "itl")[0]
    second = ranked({"bandwidth_efficiency": None, "overhead": {"kind": "per_layer", "us": first.constant}}, "itl")[0]
    assert (first.term.name, second.term.name) == ("layer", "lm_head")


def test_with_both_terms_a_model_is_close_and_no_term_stands_out(ranked):
    best = ranked({**MEMORY, **LAYERS, "lm_head": True}, "itl")[0]
    assert best.mape_before == pytest.approx(2.6, abs=0.1)
    assert not best.beyond_noise
