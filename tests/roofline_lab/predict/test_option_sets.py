"""Sets of options are arms or calibrations by name; a calibration never predicts what it was fitted to."""

from __future__ import annotations

import pytest
import yaml

from roofline_lab.calibration.record import load_calibration
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.predict.choose import FILE, load_option_sets
from roofline_lab.predict.coverage import Coverage
from roofline_lab.predict.predictors import CalibratedPredictor
from roofline_lab.predict.replay import refuse_in_sample
from roofline_lab.project import load_project
from simulator.engine.options import EngineOptions
from simulator.errors import ConfigError, UnsupportedError
from tests.roofline_lab.builders import ROOT

LLAMA = "20260217-155451-llama-2-7b-tp1-codegen"


@pytest.fixture(scope="module")
def option_sets(lab):
    return {option_set.id: option_set for option_set in load_option_sets(lab)}


@pytest.fixture(scope="module")
def llama():
    return load_experiment(ROOT / "ground_truth" / LLAMA)


@pytest.fixture
def calibration():
    return load_calibration(ROOT / "configs" / "calibration" / "h100_vllm.yaml")


def setup(predictor, lab, experiment, model=None):
    return predictor.setup(experiment, model or lab.model(experiment.model), lab.hardware(experiment.hardware))


def client_offset_us(setup, side):
    return setup.client.in_figures_on(side).metric_options().client_offset_us


def test_the_adopted_arm_of_h2b_and_the_corrected_baseline_are_tried(option_sets, lab, llama):
    assert {"h1_h2b", "corrected", "calibrated"} <= option_sets.keys()
    arms = {one.name: one.steptime for one in lab.arms("h2b_scaled_overhead", "multi_rate")}
    assert setup(option_sets["h1_h2b"].predictor, lab, llama).options == arms["scaled"]
    assert setup(option_sets["corrected"].predictor, lab, llama).options.bandwidth_efficiency is None


def test_every_set_decides_something_else(option_sets):
    assert len({one.digest for one in option_sets.values()}) == len(option_sets)


def test_an_arm_takes_the_client_time_and_the_server_of_the_experiment(option_sets, lab, llama):
    for name in ("h1_h2b", "published_h1_h2b"):
        found = setup(option_sets[name].predictor, lab, llama)
        assert client_offset_us(found, "client") == 10_000
        assert client_offset_us(found, "server") == 0
        assert found.engine == EngineOptions(**llama.server.engine_settings)


def test_a_calibration_takes_the_constants_without_the_family(option_sets, lab, calibration, llama):
    found = setup(option_sets["calibrated"].predictor, lab, llama)
    held_out = calibration.held_out["Llama2-7B"]
    assert found.options.layer_us == held_out["layer_us"] != calibration.values["layer_us"]
    assert client_offset_us(found, "client") == round(held_out["inference_perf_request_us"])


def test_a_calibration_without_held_out_constants_is_no_prediction_of_its_family(lab, calibration, llama):
    alone = calibration.model_copy(update={"held_out": {}})
    predictor = CalibratedPredictor("h100_vllm", alone, Coverage())
    with pytest.raises(UnsupportedError, match=r"was fitted to Llama2-7B and keeps no constants without it"):
        refuse_in_sample(predictor, llama, lab.model(llama.model))


def test_a_family_that_was_never_fitted_to_takes_all_constants(option_sets, lab, calibration, llama):
    other = llama.model_copy(update={"family": "Another", "model": "phi-4"})
    found = setup(option_sets["calibrated"].predictor, lab, other)
    assert found.options.layer_us == calibration.values["layer_us"]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"arm": {"hypothesis": "h2b", "method": "corrected", "arm": "scaled"}}, "0.arm.hypothesis: unknown 'h2b'"),
        (
            {"arm": {"hypothesis": "h1_bw_efficiency", "method": "corected", "arm": "baseline"}},
            "0.arm.method: unknown 'corected'; did you mean 'corrected'?",
        ),
        (
            {"arm": {"hypothesis": "h1_bw_efficiency", "method": "corrected", "arm": "base"}},
            "0.arm.arm: unknown 'base'; did you mean 'baseline'?",
        ),
        ({"calibration": "h100"}, "0.calibration: unknown 'h100'; did you mean 'h100_vllm'?"),
        ({}, "give either arm or calibration"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_set_that_does_not_exist_is_refused_by_key(project, entry, told):
    whole = {"id": "one", "label": "One", "meaning": "one"} | entry
    (project.root / FILE).write_text(yaml.safe_dump({"option_sets": [whole]}), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_option_sets(project.load())
    assert "configs/replay.yaml" in str(caught.value)
    assert told in str(caught.value)


def test_an_id_given_twice_is_refused(project):
    entry = {"id": "one", "label": "One", "meaning": "one", "calibration": "h100_vllm"}
    (project.root / FILE).write_text(yaml.safe_dump({"option_sets": [entry, entry]}), encoding="utf-8")
    with pytest.raises(ConfigError, match="id 'one' is used twice"):
        load_option_sets(load_project(project.root))
