"""Claims about percentiles, throughput and goodput, from `hypothesis.yaml` to the page."""

from __future__ import annotations

import shutil

import pytest

from roofline_lab.hypotheses.criteria import SignOfError
from roofline_lab.predict.arms import rows_of
from roofline_lab.project import load_project
from roofline_lab.report.findings import render_report
from roofline_lab.report.results import build_report
from roofline_lab.scoring.scores import Scores
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import MEANS, CriterionResult, Metric
from simulator.errors import ConfigError
from simulator.metrics import DEFINITIONS, percentile
from tests.paths import ROOT
from tests.roofline_lab.builders import edit_yaml, error_row, example_lab

METRICS = ["ttft_p99", "output_token_throughput", "goodput"]
LIMITS = {"ttft_ms": 10.0, "tpot_ms": 4.0}
CRITERIA = [
    {"id": "tail", "kind": "improvement", "metric": "ttft_p99", "at_least_pp": 1, "decisive": True},
    {"id": "tokens", "kind": "below", "metric": "output_token_throughput", "of": "treatment", "than_pct": 5},
    {"id": "good", "kind": "below", "metric": "goodput", "of": "treatment", "than_pct": 60},
]
POINT = ("made-up-chat", "rate_8")


def claim(folder, **changes):
    """Add a claim about other metrics than means to a copy of the example lab, and read the lab."""

    def other(spec):
        spec.update(id="tail", aliases=[], metrics=METRICS, criteria=CRITERIA, controls=[], mechanisms=[])
        spec.update(findings=[], evidence=[], written_for=None)
        spec["base"]["method"] = {"limits": LIMITS}
        spec.update(changes)

    shutil.copytree(folder / "hypotheses" / "launch_time", folder / "hypotheses" / "tail")
    edit_yaml(folder / "hypotheses" / "tail" / "hypothesis.yaml", other)
    text = "## Root Cause Analysis\n\nx\n\n## Devil's Advocate\n\nx\n\n## Implications for Users\n\n1. x\n"
    text += "\n## Parameters and Generality\n\nx\n"
    (folder / "hypotheses" / "tail" / "discussion.md").write_text(text, encoding="utf-8")
    return load_project(folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return claim(example_lab(tmp_path_factory.mktemp("lab") / "lab"))


@pytest.fixture(scope="module")
def report(project):
    rows = [row for run in project.runs("tail") for row in rows_of(project, run)]
    return build_report(project, "tail", rows, None)


def measured_requests(project):
    (experiment,) = [one for one in project.experiments("tail") if one.id == POINT[0]]
    return experiment, [each for each in experiment.measured_requests(POINT[1]) if each.completed]


def row_of(report, metric, arm="treatment"):
    return report.headline.scores.row(arm, POINT[0], metric, POINT[1])


def test_a_percentile_is_compared_with_the_measured_one_in_its_definition(project, report):
    experiment, requests = measured_requests(project)
    row = row_of(report, "ttft_p99")
    assert row.measured == next(p for p in experiment.load_points if p.id == POINT[1]).measured["ttft_p99"].value
    assert row.measured == pytest.approx(percentile([each.ttft_ms for each in requests], 99), rel=0.02)
    assert row.unit == "ms"
    assert row.is_scored


def test_goodput_is_counted_over_single_requests_on_both_sides(project, report):
    _, requests = measured_requests(project)
    within = [each for each in requests if each.ttft_ms <= LIMITS["ttft_ms"] and each.tpot_ms <= LIMITS["tpot_ms"]]
    assert 0 < len(within) < len(requests)
    ends_s = [each.arrival_us / 1e6 + each.e2e_ms / 1e3 for each in requests]
    row = row_of(report, "goodput")
    assert row.measured == pytest.approx(len(within) / (max(ends_s) - min(each.arrival_us for each in requests) / 1e6))
    assert row.predicted is not None
    assert row.unit == "1/s"


def test_criteria_on_a_percentile_throughput_and_goodput_decide_a_status(report):
    outcomes = report.headline.verdict.outcomes
    assert [outcome.id for outcome in outcomes] == ["tail", "tokens", "good"]
    assert all(outcome.result is not CriterionResult.NOT_MEASURED for outcome in outcomes)
    assert outcomes[0].statement.startswith("TTFT p99 error falls by at least 1 pp")
    assert outcomes[1].statement.startswith("mean output token throughput error of treatment")


def test_their_numbers_are_in_numbers_csv_once_and_in_their_unit(report):
    identities = [number.identity for number in report.numbers]
    assert len(set(identities)) == len(identities)
    units = {(number.metric, number.unit) for number in report.numbers if number.statistic == "measured"}
    assert {("ttft_p99", "ms"), ("output_token_throughput", "per_s"), ("goodput", "per_s")} <= units


def test_tables_and_figures_name_metric_and_unit(project, report):
    files = render_report(project, report)
    details = files["DETAILS.md"]
    assert "measured TTFT p99 [ms]" in details
    assert "measured output token throughput [tokens/s]" in details
    figure = files["figures/goodput_predicted_vs_measured.svg"]
    assert ">measured goodput [1/s]<" in figure
    assert "negative: predicted too slow" in files["figures/goodput_signed_errors.svg"]
    assert "Predicted against measured TTFT p99" in files["FINDINGS.md"]


def test_a_saturated_load_point_has_an_error_of_throughput_and_none_of_a_percentile(tmp_path):
    folder = example_lab(tmp_path / "lab")

    def saturate(experiment):
        for point in experiment["load_points"]:
            point["saturation"] = {"state": "saturated", "basis": "made up"}

    edit_yaml(folder / "ground_truth" / POINT[0] / "experiment.yaml", saturate)
    lab = claim(folder)
    rows = [row for run in lab.runs("tail") for row in rows_of(lab, run) if run.experiment.id == POINT[0]]
    found = {row.metric: row for row in build_report(lab, "tail", rows, None).headline.scores.rows}
    assert found["output_token_throughput"].is_scored
    assert found["output_token_throughput"].asked
    assert not found["ttft_p99"].is_scored
    assert "saturated" in found["ttft_p99"].reason


def test_a_metric_nobody_measured_is_a_row_with_its_reason(tmp_path):
    folder = example_lab(tmp_path / "lab")

    def forget(experiment):
        experiment.pop("requests_file", None)
        for point in experiment["load_points"]:
            point["measured"].pop("ttft_p99")

    edit_yaml(folder / "ground_truth" / POINT[0] / "experiment.yaml", forget)
    lab = claim(folder, metrics=["ttft_p99"], criteria=CRITERIA[:1])
    rows = [row for run in lab.runs("tail") for row in rows_of(lab, run) if run.experiment.id == POINT[0]]
    report = build_report(lab, "tail", rows, None)
    assert {row.reason for row in report.headline.scores.rows} == {"the ground truth does not have this metric"}
    assert report.headline.verdict.outcomes[0].result is CriterionResult.NOT_MEASURED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["corrected"]}, "method 'corrected' does not repeat load points as they were measured"),
        (
            {"base": {"family": "mfu_roofline", "bandwidth_efficiency": 0.75}},
            "goodput: arms.baseline (method multi_rate) has no limits",
        ),
        ({"metrics": ["ttft_p98"]}, "metrics"),
    ],
)
def test_a_metric_that_the_method_cannot_tell_of_is_refused_before_anything_runs(tmp_path, changes, message):
    with pytest.raises(ConfigError) as refused:
        claim(example_lab(tmp_path / "lab"), **changes)
    assert message in str(refused.value)


def test_a_rate_predicted_too_low_is_too_slow_and_a_time_predicted_too_low_too_fast():
    for metric, words in (("tpot_mean", "too_fast"), ("request_throughput", "too_slow")):
        rows = [error_row("treatment", name, -5.0, metric=Metric(metric)) for name in ("one", "two")]
        criterion = SignOfError(id="x", kind="sign_of_error", metric=metric, expect=words)
        found = criterion.evaluate(Scores(rows), Uncertainty(20, 95.0, 1))
        assert found.result is not CriterionResult.FAIL


def test_the_table_of_metrics_in_the_manual_has_every_metric_with_its_unit():
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    lines = [line for line in text[text.index("## In claims") :].splitlines() if line.startswith("| `")]
    told = {
        name.strip().strip("`"): line.split("|")[2].strip() for line in lines for name in line.split("|")[1].split(",")
    }
    assert told == {metric.value: metric.unit for metric in Metric}


def test_every_metric_is_measured_or_counted_and_predicted_under_a_name_of_the_simulator():
    from roofline_lab.ground_truth.metrics import DEFINITIONS as MEASURED
    from roofline_lab.ground_truth.metrics import KINDS
    from roofline_lab.scoring.under_load import prediction_of

    for metric in Metric:
        if metric is Metric.GOODPUT:
            assert metric.value in DEFINITIONS
        elif metric not in MEANS:
            definitions = MEASURED[KINDS[metric.value]]
            assert any(prediction_of(metric.value, name) in DEFINITIONS for name in definitions)
