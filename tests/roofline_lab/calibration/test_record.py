"""The committed calibration: readable, physical, within its targets, and honest about where it is used."""

from __future__ import annotations

import csv

import pytest
import yaml

from roofline_lab.calibration.constants import CONSTANTS
from roofline_lab.calibration.plan import all_published, data_digest, load_plan, plan_names
from roofline_lab.calibration.record import load_calibration
from roofline_lab.ground_truth.reading import load_set
from simulator.engine.options import EngineOptions
from simulator.errors import ConfigError
from tests.paths import ROOT

NAME = "h100_vllm"
FILE = ROOT / "configs" / "calibration" / f"{NAME}.yaml"
PREDICTIONS = ROOT / "reports" / "calibration" / NAME / "predictions.csv"


@pytest.fixture(scope="module")
def calibration():
    return load_calibration(FILE)


@pytest.fixture(scope="module")
def predictions():
    with PREDICTIONS.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def errors(predictions, variant, metric, points):
    found = [
        abs(float(prediction["predicted_ms"]) / float(prediction["measured_ms"]) - 1) * 100
        for prediction in predictions
        if (prediction["variant"], prediction["metric"]) == (variant, f"{metric}_mean")
        and prediction["load_point"].split("/")[0] in points
    ]
    return sum(found) / len(found)


@pytest.mark.parametrize("constant", CONSTANTS, ids=lambda one: one.name)
def test_every_constant_lies_in_its_range_with_an_interval(calibration, constant):
    fitted = calibration.constants[constant.name]
    assert constant.low <= fitted.value <= constant.high
    assert constant.low <= fitted.interval_95_pct.low <= fitted.interval_95_pct.high <= constant.high
    assert (fitted.bounds.low, fitted.bounds.high, fitted.unit) == (constant.low, constant.high, constant.unit)


def test_the_calibration_belongs_to_the_data_in_the_project(calibration):
    assert calibration.trained_on.data_sha256 == data_digest(ROOT, NAME), "the data changed: run `snakemake calibrate`"


@pytest.mark.parametrize("metric", ["ttft", "itl", "e2e"])
def test_held_out_families_are_predicted_within_the_targets(predictions, metric):
    plan = load_plan(ROOT, NAME)
    synchronous = {experiment.id for experiment in load_set(ROOT, plan.synchronous_set)}
    client = {experiment.id for name in plan.train_sets for experiment in load_set(ROOT, name)}
    limit = getattr(plan.targets.synchronous, metric)
    assert errors(predictions, "held_out", metric, synchronous) <= limit
    assert errors(predictions, "synchronous_held_out", metric, synchronous) <= limit
    assert errors(predictions, "held_out", metric, client) <= getattr(plan.targets.client, metric)


def test_calibrating_beats_the_data_sheet_tenfold_in_itl(predictions):
    client = {experiment.id for experiment in load_set(ROOT, "all_client")}
    assert errors(predictions, "data_sheet", "itl", client) > 10 * errors(predictions, "held_out", "itl", client)


def test_every_family_that_was_fitted_to_has_constants_from_the_others(calibration):
    assert set(calibration.held_out) == set(calibration.trained_on.families)
    assert set(calibration.trained_on.models.values()) == set(calibration.trained_on.families)
    for values in calibration.held_out.values():
        assert set(values) == set(calibration.values)
        assert values != calibration.values


def test_every_plan_is_published():
    assert NAME in plan_names(ROOT)
    assert [path for path in all_published(ROOT) if not (ROOT / path).is_file()] == []


def test_constants_become_options_and_client_time(calibration):
    assert calibration.options(EngineOptions()).step_us == calibration.values["host_step_us"]
    assert calibration.options(EngineOptions(schedule_ahead=True)).step_us == 0.0
    options = calibration.metric_options("guidellm", "client")
    assert options.client_offset_us == round(calibration.values["guidellm_request_us"])
    assert calibration.metric_options("guidellm", "server").client_offset_us == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["constants"].pop("layer_us"), "constants.layer_us: missing"),
        (lambda content: content["constants"].update(layer_ms=content["constants"]["layer_us"]), "did you mean"),
        (lambda content: content.pop("trained_on"), "trained_on: missing"),
        (lambda content: content["constants"]["layer_us"].update(value="43"), "constants.layer_us.value"),
        (lambda content: content["constants"]["gemm_efficiency"].update(value=1.2), "gemm_efficiency: 1.2 is outside"),
        (lambda content: content["held_out"]["Yi-34B"].pop("layer_us"), "held_out.Yi-34B.layer_us: missing"),
    ],
)
def test_a_damaged_file_is_refused_with_the_key(tmp_path, change, message):
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    change(content)
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_calibration(path)


def test_a_plan_with_a_misspelt_key_is_refused(tmp_path):
    folder = tmp_path / "configs" / "calibration" / "plans"
    folder.mkdir(parents=True)
    text = (ROOT / "configs" / "calibration" / "plans" / f"{NAME}.yaml").read_text(encoding="utf-8")
    (folder / "mine.yaml").write_text(text.replace("scatter:", "scater:"), encoding="utf-8")
    with pytest.raises(ConfigError, match="did you mean 'scatter'"):
        load_plan(tmp_path, "mine")


def test_a_lineage_is_held_out_together():
    plan = load_plan(ROOT, NAME)
    assert plan.lineage_of("Llama2-70B") == {"Llama2-7B", "Llama2-70B"}
    assert plan.lineage_of("Yi-34B") == {"Yi-34B"}
