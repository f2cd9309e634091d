"""Which constants predict what: no family is in fit and test of an unqualified number."""

from __future__ import annotations

import csv

import pytest
import yaml

from tests.roofline_lab.builders import ROOT
from tests.roofline_lab.predict.strangers import CALIBRATION_FILE, SEEN, STRANGE_MODEL, section


def calibration(tmp_path, change):
    """Write a changed copy of the calibration and return its path."""
    content = yaml.safe_load(CALIBRATION_FILE.read_text(encoding="utf-8"))
    change(content)
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def slow(content):
    """Make the constants of the whole fit absurd, those of every fold as they were."""
    content["constants"]["layer_us"]["value"] = 100.0


def test_a_family_of_the_fit_is_predicted_with_the_constants_of_the_fit_without_it(stranger, tmp_path):
    stranger.add(**SEEN)
    predicted = []
    for file in (CALIBRATION_FILE, calibration(tmp_path, slow)):
        assert stranger.evaluate("--force", steptime=file) == 0
        row = stranger.row("e2e_mean")
        assert row["holdout"] == "held out"
        predicted.append(row["predicted"])
    assert predicted[0] == predicted[1]


def test_a_family_in_no_fit_is_predicted_with_the_constants_of_all(stranger, tmp_path):
    stranger.add()
    predicted = []
    for file in (CALIBRATION_FILE, calibration(tmp_path, slow)):
        stranger.evaluate("--force", steptime=file)
        row = stranger.row("e2e_mean")
        assert (row["holdout"], row["flags"]) == ("never seen", "site_not_calibrated;model_note;server_not_stated")
        predicted.append(float(row["predicted"]))
    assert predicted[1] > predicted[0]


def test_without_constants_of_the_fold_a_family_is_in_sample_row_by_row_and_in_no_headline(stranger, tmp_path):
    stranger.add("seen", **SEEN)
    assert stranger.evaluate(steptime=calibration(tmp_path, lambda content: content.pop("held_out"))) == 0
    assert all(row["holdout"] == "in sample" for row in stranger.rows())
    assert all("in_sample" in row["flags"].split(";") for row in stranger.rows())
    assert "No prediction here is known to be of a model outside the fit" in stranger.page
    assert {row["method"] for row in stranger.numbers(scope="overall")} == {"in_sample"}


def test_each_standing_has_lines_of_its_own_in_every_table(stranger, tmp_path):
    stranger.add("new")
    stranger.add("held", **SEEN)
    stranger.add("inside", family="Yi-34B", model="yi-34b", tensor_parallel=2)
    stranger.evaluate(steptime=calibration(tmp_path, lambda content: content["held_out"].pop("Yi-34B")))
    result = section(stranger.page, "Result")
    for holdout, count in (("not in the fit", 2), ("never seen", 1), ("held out", 1), ("in sample", 1)):
        assert f"| {holdout}" in result
        (number,) = stranger.numbers(
            method=holdout.replace(" ", "_"), key="experiments", metric="e2e_mean", statistic="count"
        )
        assert float(number["value"]) == count
    by_degree = section(stranger.page, "By group").split("**By tensor parallelism**")[1].split("**")[0]
    lines = [line.split("|") for line in by_degree.splitlines() if line.startswith(("| 1", "| 2"))]
    assert [(degree.strip(), holdout.strip()) for _, degree, holdout, *_ in lines] == [
        ("1", "held out"),
        ("1", "never seen"),
        ("2", "in sample"),
    ]


def test_the_headline_has_no_row_that_is_in_sample(stranger, tmp_path):
    stranger.add("new")
    stranger.add("inside", **SEEN)
    stranger.evaluate(steptime=calibration(tmp_path, lambda content: content.pop("held_out")))
    (new,) = stranger.rows("e2e_mean", experiment="new")
    statement = stranger.page.splitlines()[4]
    assert f"E2E {abs(float(new['signed_error_pct'])):.1f} %" in statement
    assert "over 1 experiment on models not in the fit" in statement


@pytest.mark.parametrize("name", ["llama-2-7b-hf", "my-finetune"])
def test_a_model_of_the_fit_is_recognised_under_another_family_name(stranger, name):
    if name == "my-finetune":
        shape = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32}
        stranger.model(name, STRANGE_MODEL | shape | {"intermediate_size": 11008, "vocab_size": 32016})
    stranger.add(family="My-Own", model=name)
    stranger.evaluate()
    assert all(row["holdout"] == "held out" for row in stranger.rows())
    assert "has the shape of a model of Llama2-7B, which was fitted to" in stranger.page


def test_options_have_no_record_of_what_they_were_tuned_to(stranger):
    stranger.add(**SEEN)
    stranger.evaluate(steptime="h2b_scaled_overhead:scaled")
    assert {row["holdout"] for row in stranger.rows()} == {"no record"}
    assert "No prediction here is known to be of a model outside the fit" in stranger.page


@pytest.mark.parametrize(
    ("name", "load_point", "metrics"),
    [
        ("20260210-qwen3-14b-tp1-codesweep", "synchronous", ("ttft_mean", "itl_mean", "e2e_mean")),
        ("63-mistral-nemo-12b-tp1-codegen-1-1", "stage_0", ("ttft_mean", "itl_mean", "e2e_mean", "e2e_p99")),
        ("jan21-llama7b-train-1", "constant_0.428", ("ttft_mean", "itl_mean", "e2e_mean")),
    ],
)
def test_the_projects_own_load_points_come_out_as_in_the_report_of_the_calibration(stranger, name, load_point, metrics):
    """Same constants, same engine, same arrivals: the same predictions to the printed digit."""
    assert stranger.evaluate(path=ROOT / "ground_truth" / name) == 0
    path = ROOT / "reports" / "calibration" / "h100_vllm" / "predictions.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        reported = {
            row["metric"]: row
            for row in csv.DictReader(stream)
            if (row["load_point"], row["variant"]) == (f"{name}/{load_point}", "held_out")
        }
    for metric in metrics:
        row = stranger.row(metric.replace("itl", "inter_token"), load_point=load_point)
        assert f"{float(row['predicted']):.4f}" == reported[metric]["predicted_ms"]
        assert f"{float(row['measured']):.4f}" == reported[metric]["measured_ms"]
