"""Reading reports: nothing is guessed, what is damaged is named by file and line."""

from __future__ import annotations

import json

import pytest

from roofline_lab.ground_truth.names import readable_names
from roofline_lab.project import load_project
from roofline_lab.regression.noise import Measurement, read_experiment
from roofline_lab.regression.reading import (
    GroupKey,
    NumberKey,
    read_predictions,
    read_report,
    read_snapshot,
    read_verdict,
)
from roofline_lab.regression.sources import open_source
from simulator.errors import ConfigError
from tests.paths import ROOT
from tests.roofline_lab.regression.pages import counted_by_reason, listed, read_page
from tests.roofline_lab.regression.small import (
    H1,
    findings_md,
    key,
    numbers_csv,
    synthetic_csv,
    verdict_json,
    write_ground_truth,
    write_report,
)

ROWS = {key("one"): (110.0, 100.0), key("two"): (80.0, 100.0)}
COMMITTED = sorted((ROOT / "reports").glob("*/verdict.json"))
REPORTS = [*(ROOT / "reports").glob("*/numbers.csv"), *(ROOT / "reports").glob("*/*/predictions.csv")]


def read(text):
    return read_report("x", text.encode(), "x/numbers.csv")


def refusal(text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


# --- numbers.csv ------------------------------------------------------------------------------


def test_rows_and_the_overall_error_are_read():
    found = read(numbers_csv(ROWS))
    assert {row: (one.predicted, one.measured) for row, one in found.rows.items()} == ROWS
    assert found.means == {GroupKey("corrected", "treatment", "tpot_mean"): 15.0}
    assert not found.is_split


def test_the_mean_of_several_load_points_is_that_of_their_rows():
    rows = {key(load_point="slow"): (110.0, 100.0), key(load_point="fast"): (80.0, 100.0)}
    assert read(numbers_csv(rows)).means == {}


def test_numbers_of_generated_points_are_no_rows():
    found = read(synthetic_csv({"grid/1": 5.0}))
    assert found.rows == {}
    assert found.values == {NumberKey("embedded", "all", "synthetic", "row", "grid/1", "step_us", "value", "us"): 5.0}


def test_a_report_with_a_split_is_known_as_one():
    line = "corrected,treatment,synchronous,split,test,tpot_mean,mape,1.0,pct\n"
    assert read(numbers_csv(ROWS) + line).is_split


def without(text, words):
    """Return text without the lines that hold some words."""
    return "".join(line for line in text.splitlines(keepends=True) if words not in line)


def test_a_measured_figure_without_prediction_is_a_row_without_a_number():
    found = read(without(numbers_csv(ROWS), "two,tpot_mean,predicted"))
    assert list(found.rows) == [key("one")]
    assert found.unscored == {key("two"): "not_predicted"}


def test_the_mean_over_all_load_points_is_read_where_there_is_one():
    line = "corrected,treatment,{},overall,all,tpot_mean,mape,{},pct\n"
    text = without(numbers_csv(ROWS), ",overall,")
    found = read(text + line.format("slow", 1.0) + line.format("fast", 2.0) + line.format("all", 1.7))
    assert found.means == {GroupKey("corrected", "treatment", "tpot_mean"): 1.7}


def test_numbers_of_a_kind_not_known_are_compared_by_value_and_means_over_rows_are_not():
    line = "corrected,treatment,all,{},layers,tpot_mean,{},0.5,ratio\n"
    found = read(numbers_csv(ROWS) + line.format("driver", "rank_correlation") + line.format("family", "mape"))
    assert [(value.scope, value.key) for value in found.values] == [("driver", "layers")]
    assert found.rows == read(numbers_csv(ROWS)).rows


def test_throughput_has_an_error_shares_and_flags_have_none():
    place = "corrected,treatment,fast,experiment,one"
    text = numbers_csv(ROWS) + (
        f"{place},request_throughput,measured,2.0,per_s\n{place},request_throughput,predicted,1.9,per_s\n"
        f"{place},saturated,predicted,0.0,flag\n{place},mixed_steps,share,12.0,pct\n"
    )
    found = read(text)
    throughput = found.rows[key("one", metric="request_throughput", load_point="fast")]
    assert (throughput.ape_pct, throughput.unit) == (pytest.approx(5.0), "per_s")
    assert [(value.metric, value.statistic) for value in found.values] == [("mixed_steps", "share")]


@pytest.mark.parametrize(("predicted", "state"), [(0.0, "predicted wrongly"), (1.0, "predicted rightly")])
def test_a_yes_or_no_is_right_or_wrong(predicted, state):
    place = "corrected,treatment,fast,experiment,one,saturated"
    found = read(numbers_csv(ROWS) + f"{place},measured,1.0,flag\n{place},predicted,{predicted},flag\n")
    assert found.unscored == {key("one", metric="saturated", load_point="fast"): state}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: "", "line 1: columns must be"),
        (lambda text: text.replace("statistic", "stat"), "line 1: columns must be"),
        (lambda text: text.splitlines()[0] + "\n", "holds no number"),
        (lambda text: text.replace("110.000000", "fast"), "'fast' is not a finite number"),
        (lambda text: text.replace("110.000000", "nan"), "'nan' is not a finite number"),
        (lambda text: text.replace("110.000000", "inf"), "'inf' is not a finite number"),
        (lambda text: text + "corrected,treatment\n", "must have 9 columns"),
        (lambda text: text + "<<<<<<< HEAD\n", "merge conflict"),
        (lambda text: text + text.splitlines()[1] + ",more\n", "must have 9 columns"),
        (lambda text: text + text.splitlines()[1] + "\n", "row given twice"),
        (lambda text: text.replace("100.000000,ms", "0.000000,ms"), "measured must be above 0"),
        (lambda text: without(text, "two,tpot_mean,measured"), "has no measured value"),
    ],
)
def test_damaged_numbers_are_refused_with_file_and_place(damage, words):
    message = refusal(damage(numbers_csv(ROWS)))
    assert message.startswith("x/numbers.csv")
    assert words in message


def test_numbers_that_are_no_text_are_refused():
    with pytest.raises(ConfigError, match="UTF-8"):
        read_report("x", b"method,\xff\xfe", "x/numbers.csv")


def test_the_line_of_a_damaged_number_is_named():
    assert "x/numbers.csv: line 7" in refusal(numbers_csv(ROWS).replace("80.000000", "?"))


# --- predictions of a calibration -------------------------------------------------------------

PREDICTIONS = "load_point,family,variant,metric,predicted_ms,measured_ms,error_pct\n"


def test_the_predictions_of_a_calibration_are_rows_with_a_variant_for_arm():
    found = read_predictions((PREDICTIONS + "run/stage_0,F,held_out,e2e_mean,110,100,10\n").encode(), "p")
    assert list(found) == [key("run", "held_out", "e2e_mean", "calibration", "stage_0")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("variant,metric\n", "has no column load_point"),
        (PREDICTIONS + 2 * "run/s,F,held_out,e2e_mean,110,100,10\n", "row given twice"),
        (PREDICTIONS + "run/s,F,held_out,e2e_mean,,100,10\n", "not a finite number"),
    ],
)
def test_damaged_predictions_are_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        read_predictions(text.encode(), "p")


def test_server_side_rows_of_a_calibration_are_an_arm_of_their_own(tmp_path):
    """As the report of a calibration gives them: the client's mean holds no figure of a server."""
    write_report(tmp_path, {"one": 110.0})
    folder = tmp_path / "reports" / "calibration" / "gpu"
    folder.mkdir(parents=True)
    rows = "".join(f"{name}/s,F,held_out,e2e_mean,110,100,10\n" for name in ("c", "s", "unknown"))
    (folder / "predictions.csv").write_text(PREDICTIONS + rows, encoding="utf-8")
    for name, side in (("c", "client"), ("s", "server")):
        path = tmp_path / "ground_truth" / name / "experiment.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(f"id: {name}\nside: {side}\nload_points: [{{id: s, measured: {{}}}}]\n", encoding="utf-8")
    found = snapshot_of(tmp_path).reports["calibration/gpu"].rows
    assert {row.experiment: row.arm for row in found} == {
        "c": "held_out",
        "s": "held_out (server side)",
        "unknown": "held_out",
    }


# --- verdicts ---------------------------------------------------------------------------------

CRITERIA = {"improves": "PASS", "vanishes": "NOT MEASURED"}
UNSCORED = ((key("three"), "saturated"),)


def test_a_page_and_its_verdict_file_say_the_same():
    from_file = read_verdict(verdict_json("Refuted", CRITERIA, unscored=UNSCORED).encode(), "v")
    assert from_file == read_page(findings_md("Refuted", CRITERIA, UNSCORED))
    assert from_file[0]["corrected"].criteria == CRITERIA
    assert from_file[1] == dict(UNSCORED)


@pytest.fixture(scope="module")
def committed():
    """Return the project as it is committed."""
    return load_project(ROOT)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_every_committed_page_and_its_verdict_file_say_the_same(path, committed):
    folder = path.parent
    text = (folder / "DETAILS.md").read_text(encoding="utf-8")
    rulings, unscored = read_page(text)
    assert rulings
    assert all(ruling.criteria for ruling in rulings.values())
    stated = read_verdict((folder / "verdict.json").read_bytes(), "v")
    assert rulings == stated[0]
    findings = (folder / "FINDINGS.md").read_text(encoding="utf-8")
    if counted := counted_by_reason(findings):
        assert counted == len(stated[1])
    else:
        names = readable_names(committed.all_experiments(folder.name) if folder.name in committed.hypotheses else ())
        assert unscored | listed(findings, list(stated[0])[-1], names) == stated[1]


def test_a_page_without_any_status_has_no_rulings():
    assert read_page("# Nothing\n\n- **bold**\n") == ({}, {})


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"methods": [{"method": "m"}]}', '{"methods": 3}', '{"methods": [3]}', "[" * 100_000],
)
def test_a_damaged_verdict_file_is_refused(text):
    with pytest.raises(ConfigError, match=r"(?s)^v:.*restore the file or regenerate the report"):
        read_verdict(text.encode(), "v")


def test_a_verdict_file_holds_no_number():
    for path in COMMITTED:
        json.loads((path.parent / "verdict.json").read_text(encoding="utf-8"), parse_float=pytest.fail)


# --- ground truth -----------------------------------------------------------------------------


def test_measured_figures_carry_rounding_and_sampling_error(tmp_path):
    write_ground_truth(tmp_path, tpot_p90={"value": 112.81552, "unit": "ms"}, throughput={"value": 1.0, "unit": "1/s"})
    content = (tmp_path / "ground_truth/one/experiment.yaml").read_bytes()
    figures, _, problem = read_experiment(content, "e")
    assert problem == ""
    figure = figures[Measurement("one", "synchronous", "tpot_mean")]
    assert figure.half_digit == pytest.approx(0.05)
    assert figure.standard_error == pytest.approx(1.0, rel=1e-5)
    assert len(figures) == 3


@pytest.mark.parametrize("text", ["", "a: [", "id: x", "id: x\nload_points: [3]", "\0", "id: x\nload_points: 3"])
def test_ground_truth_that_cannot_be_read_is_told_and_not_fatal(text):
    figures, _, problem = read_experiment(text.encode(), "e")
    assert figures == {}
    assert problem.startswith("e")


def test_every_experiment_of_the_project_can_be_read():
    for path in sorted((ROOT / "ground_truth").glob("*/experiment.yaml")):
        figures, _, problem = read_experiment(path.read_bytes(), path.parent.name)
        assert figures, problem


# --- snapshots --------------------------------------------------------------------------------


def snapshot_of(folder):
    return read_snapshot(open_source(str(folder), folder))


def test_a_snapshot_holds_reports_figures_and_what_was_skipped(tmp_path):
    write_report(tmp_path, {"one": 110.0})
    write_report(tmp_path, {"one": 110.0}, "h2_silent", page="# Nothing\n")
    (tmp_path / "reports/h3_empty").mkdir()
    (tmp_path / "reports/h3_empty/FINDINGS.md").write_text("# Nothing\n", encoding="utf-8")
    (tmp_path / "reports/calibration/gpu").mkdir(parents=True)
    (tmp_path / "reports/calibration/gpu/predictions.csv").write_text("other\n", encoding="utf-8")
    write_report(tmp_path, {"one": 110.0}, "replay", page="none")
    (tmp_path / "reports/replay/FINDINGS.md").unlink()
    write_ground_truth(tmp_path)
    found = snapshot_of(tmp_path)
    assert set(found.reports) == {H1, "h2_silent", "replay"}
    assert len(found.skipped) == 3
    assert len(found.figures) == 1
    assert [
        words
        for words in (
            "verdicts and rows without a number of h2_silent (no verdict.json",
            "h3_empty: has no numbers",
            "predictions.csv: line 1",
        )
        if not any(words in row for row in found.skipped)
    ] == []


def test_the_project_itself_can_be_read():
    found = snapshot_of(ROOT)
    assert found.skipped == ()
    assert len(found.reports) == len(REPORTS)
    assert all(report.rulings for name, report in found.reports.items() if name.startswith("h"))
