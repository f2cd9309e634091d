"""The fleet calibration as a predictor: held-out values for cells that were fitted to, borrowed ones elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from roofline_lab.calibration.fleet.plan import load_fleet_plan
from roofline_lab.calibration.fleet.points import fleet_points
from roofline_lab.ground_truth.deployment import Deployment
from roofline_lab.predict.choose import load_predictor
from roofline_lab.predict.fleet import FleetPredictor
from roofline_lab.predict.predictors import Flag, Holdout
from roofline_lab.trust.held_out import read_held_out
from simulator.hardware import load_hardware
from simulator.model_files import load_model

ROOT = Path(__file__).resolve().parents[3]
# Mean over requests of (last - first token) / (tokens - 1).
TPOT = "tpot_request"
EXPERIMENT = "llama-3.3-70b-fp8-h100-tp4-1k-1k-20251029"


@pytest.fixture(scope="module")
def predictor():
    found = load_predictor(ROOT, "vllm_fleet").predictor
    assert isinstance(found, FleetPredictor)
    return found


@pytest.fixture(scope="module")
def targets():
    sets = load_fleet_plan(ROOT, "vllm_fleet").train_sets
    return [point.target for point in fleet_points(ROOT, sets, only=EXPERIMENT)]


def test_what_an_evaluation_simulates_is_what_was_held_out_of_the_fit(predictor, targets):
    rows = {
        (row.load_point, row.metric): row.predicted_ms
        for row in read_held_out(ROOT / "configs" / "calibration" / "vllm_fleet.held_out.csv")
        if row.fold == "cell" and row.experiment == EXPERIMENT
    }
    assert rows
    for target in targets[:3]:
        found = predictor.predict(target)
        for metric, definition, near in (("ttft_mean", "ttft_mean", 0.03), ("tpot_mean", TPOT, 0.01)):
            assert found.value(definition) == pytest.approx(rows[target.load_point.id, metric], rel=near)


def test_a_cell_that_was_fitted_to_is_predicted_without_it_and_any_other_by_all(predictor, targets):
    target = targets[0]
    assert predictor.holdout(target.experiment, target.model) is Holdout.HELD_OUT
    elsewhere = target.experiment.model_copy(update={"hardware": "b300-sxm"})
    assert predictor.holdout(elsewhere, target.model) is Holdout.NEVER_SEEN
    whole = predictor.calibration.values
    assert predictor.calibration.held_out[predictor.fitted_as(target.experiment, target.model)] != whole


def test_a_server_nobody_fitted_to_is_predicted_and_says_what_is_borrowed(predictor):
    model = load_model(ROOT / "configs" / "models" / "gpt-oss-120b.json")
    hardware = load_hardware(ROOT / "configs" / "hardware" / "b300-sxm.yaml")
    server = {"known": {"token_budget": 8192, "prefix_caching": False, "software": "vLLM 0.18.0"}}
    stranger = Deployment(
        model="gpt-oss-120b", hardware="b300-sxm", server={**server, "assumed": {"client_offset_ms": 0.0}}
    )
    flags = {note.flag for note in predictor.notes(stranger, model, hardware)}
    assert Flag.HARDWARE in flags
    assert predictor.setup(stranger, model, hardware).options.expert_gemm_efficiency


def test_groups_of_gpus_are_simulated_as_groups_and_said_to_be_new_to_the_calibration(predictor):
    model = load_model(ROOT / "configs" / "models" / "minimax-m2.5-nvfp4.json")
    hardware = load_hardware(ROOT / "configs" / "hardware" / "b200-sxm.yaml")
    known = {"token_budget": 2048, "prefix_caching": False, "expert_parallel": True, "attention_data_parallel": 4}
    server = {"known": {**known, "software": "vLLM 0.19.0"}, "assumed": {"client_offset_ms": 0.0}}
    grouped = Deployment(model=model.id, hardware=hardware.id, server=server)
    texts = [note.text for note in predictor.notes(grouped, model, hardware)]
    assert any("4 groups of GPUs with requests of their own were not calibrated on" in text for text in texts)
    setup = predictor.setup(grouped, model, hardware)
    assert setup.engine.attention_data_parallel == 4
    assert str(setup.step_time.parallel) == "TP 1 x DP 4 with expert parallelism"


def test_time_between_two_steps_of_a_loop_is_no_step_of_a_client(predictor, targets):
    target = targets[0]
    assert predictor.setup(target.experiment, target.model, target.hardware).engine.schedule_ahead
