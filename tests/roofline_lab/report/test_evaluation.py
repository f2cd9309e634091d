"""Two predictors side by side, and what `--steptime` may name."""

from __future__ import annotations

import re

import pytest
import yaml

from roofline_lab.scoring.statistics import sign_flip_p
from tests.roofline_lab.predict.strangers import CALIBRATION_FILE, SEEN, point, poisson, rate, section

OPTIONS = {"family": "mfu_roofline", "bandwidth_efficiency": 0.82, "overhead": {"kind": "per_layer", "us": 30}}


@pytest.fixture
def options(tmp_path):
    """Return a file with options of a step-time model."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(OPTIONS), encoding="utf-8")
    return path


def test_both_are_on_the_page_with_gain_test_and_rows_better_or_worse(stranger):
    stranger.add("a", **SEEN)
    stranger.add("b", load_points=[poisson(identifier="x"), poisson(identifier="y", per_s=8.0)])
    assert stranger.evaluate("--against", "h2b_scaled_overhead:scaled") == 0
    text = section(stranger.page, "Side by side")
    assert "better by 1 pp" in text
    assert (stranger.out / "figures" / "against.svg").is_file()
    mine, theirs = ("h100_vllm", "h2b_scaled_overhead:scaled")
    errors = {
        name: {
            (row["experiment"], row["load_point"]): abs(float(row["signed_error_pct"]))
            for row in stranger.rows("e2e_mean", predictor=name)
        }
        for name in (mine, theirs)
    }
    gains = {key: errors[theirs][key] - errors[mine][key] for key in errors[mine]}
    by_experiment = [gains["a", "synchronous"], (gains["b", "x"] + gains["b", "y"]) / 2]
    (delta,) = stranger.numbers(method="not_in_the_fit", statistic="delta", metric="e2e_mean")
    assert float(delta["value"]) == pytest.approx(sum(by_experiment) / 2, abs=1e-5)
    (p_value,) = stranger.numbers(method="not_in_the_fit", statistic="p_value", metric="e2e_mean")
    assert float(p_value["value"]) == pytest.approx(sign_flip_p(by_experiment, draws=1, seed=0).value)


def test_the_other_one_enters_no_table_of_the_one_judged(stranger):
    stranger.add()
    stranger.add("two", tensor_parallel=2)
    stranger.evaluate("--against", "h2b_scaled_overhead:scaled")
    assert "| no record" not in section(stranger.page, "Result")
    assert "| no record" not in section(stranger.page, "By group")


def test_what_the_other_cannot_predict_is_left_out_with_its_reason(stranger, tmp_path):
    kernels = OPTIONS | {"mfu": {"kind": "kernels", "style": "seconds", "source": "measured"}}
    path = tmp_path / "tables.yaml"
    path.write_text(yaml.safe_dump(kernels), encoding="utf-8")
    stranger.add()
    assert stranger.evaluate("--against", path) == 0
    text = section(stranger.page, "Side by side")
    assert "No load point was predicted by both." in text
    assert "needs a folder of kernel tables" in text


def test_where_only_the_other_is_in_sample_the_page_says_so(stranger, tmp_path):
    content = yaml.safe_load(CALIBRATION_FILE.read_text(encoding="utf-8"))
    content.pop("held_out")
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(content | {"name": "other"}), encoding="utf-8")
    stranger.add(**SEEN)
    stranger.evaluate("--against", path)
    assert "`other` was fitted to the families of 1 of these load points" in stranger.page


def test_options_of_any_family_can_be_judged(stranger, options):
    stranger.add()
    assert stranger.evaluate(steptime=options) == 0
    assert stranger.row("e2e_mean")["predictor"] == "mine"


def test_a_client_offset_the_experiment_states_is_in_client_side_predictions_of_options(stranger, options):
    offset = {"assumed": {"token_budget": 2048, "prefix_caching": True, "client_offset_ms": 7.0}}
    stranger.add("client", server=offset)
    stranger.add("server", server=offset, side="server")
    stranger.evaluate(steptime=options)
    at_client, at_server = (
        float(stranger.row("ttft_mean", experiment=name)["predicted"]) for name in ("client", "server")
    )
    assert at_client - at_server == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("steptime", "more", "message"),
    [
        ("h100_vlm", [], "--steptime: no calibration 'h100_vlm'; give a name in configs/calibration"),
        ("h100_vllm", ["--against", "h2b:scaled"], "--against: unknown hypothesis 'h2b'"),
        ("h2b_scaled_overhead:scald", [], "unknown arm 'scald'; did you mean 'scaled'?"),
        ("h10_decode_mfu_shape:any", [], "prices generated batches"),
        ("h100_vllm", ["--against", "h100_vllm"], "--against: is what --steptime names"),
        ("h100_vllm", ["--models", "nowhere"], "--models: no such folder"),
        ("h100_vllm", ["--jobs", "0"], "--jobs: must be 1 or greater"),
        ("h100_vllm", ["--root", "tests"], "--root: tests has no configs/"),
    ],
)
def test_a_wrong_argument_is_one_message_before_anything_runs(stranger, capsys, steptime, more, message):
    stranger.add()
    assert stranger.evaluate(*more, steptime=steptime) == 2
    streams = capsys.readouterr()
    assert message in streams.err
    assert streams.err.count("error:") == 1
    assert "1 of 1" not in streams.err
    assert not stranger.out.exists()


def test_a_file_that_is_neither_calibration_nor_options_is_refused(stranger, tmp_path, capsys):
    path = tmp_path / "neither.yaml"
    path.write_text("name: x\n", encoding="utf-8")
    stranger.add()
    assert stranger.evaluate(steptime=path) == 2
    assert "has neither 'constants' nor 'family'" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_nothing_to_evaluate_is_refused_with_what_to_do(stranger, tmp_path, capsys, what):
    folder = tmp_path / what
    if what == "empty":
        folder.mkdir()
    assert stranger.evaluate(path=folder) == 2
    assert ("no such file or folder" if what == "missing" else "roofline-lab import") in capsys.readouterr().err


def test_an_earlier_evaluation_is_only_replaced_by_force(stranger, capsys):
    stranger.add()
    assert stranger.evaluate() == 0
    (stranger.out / "mine.txt").write_text("a note", encoding="utf-8")
    assert stranger.evaluate() == 2
    assert "replace it with --force" in capsys.readouterr().err
    assert (stranger.out / "mine.txt").is_file()
    assert stranger.evaluate("--force") == 0
    assert not (stranger.out / "mine.txt").exists()


def test_a_folder_that_is_no_evaluation_is_never_replaced(stranger, capsys):
    stranger.add()
    stranger.out.mkdir()
    (stranger.out / "thesis.tex").write_text("years of work", encoding="utf-8")
    assert stranger.evaluate("--force") == 2
    assert "is no earlier evaluation" in capsys.readouterr().err
    assert (stranger.out / "thesis.tex").is_file()


def test_a_failure_while_writing_leaves_nothing_behind(stranger, monkeypatch, capsys):
    from roofline_lab.report import evaluation as report

    def broken(folder, files):
        raise OSError("disk full")

    stranger.add()
    monkeypatch.setattr(report, "write_report", broken)
    assert stranger.evaluate() == 2
    assert "cannot be written: disk full" in capsys.readouterr().err
    assert sorted(path.name for path in stranger.out.parent.iterdir()) == ["measurements"]


def test_progress_is_on_stderr_and_the_result_on_stdout(stranger, capsys):
    stranger.add()
    stranger.evaluate()
    streams = capsys.readouterr()
    assert "1 of 1 experiments: run-1 (1 load point)" in streams.err
    assert "never seen (1 experiment): TTFT" in streams.out
    assert "EVALUATION.md" in streams.out


def test_an_arm_predicts_with_its_own_step_time_model_and_its_own_client(stranger):
    """A claim that leaves the step time to its arms is replayed by the method it names."""
    stranger.add()
    assert stranger.evaluate("--against", "h24_client_time:per_request", steptime="h24_client_time:none") == 0
    (none,) = stranger.rows("ttft_mean", predictor="h24_client_time:none")
    (more,) = stranger.rows("ttft_mean", predictor="h24_client_time:per_request")
    assert float(more["predicted"]) - float(none["predicted"]) == pytest.approx(6.0)


def test_options_without_a_record_are_said_to_have_none(stranger):
    stranger.add()
    stranger.evaluate("--against", "h2b_scaled_overhead:scaled")
    assert "`h2b_scaled_overhead:scaled` has no record of what it was tuned to" in section(
        stranger.page, "Side by side"
    )


def test_the_gain_has_its_median_and_the_page_says_how_small_p_can_get(stranger):
    for name in ("a", "b", "c"):
        stranger.add(name)
    stranger.evaluate("--against", "h2b_scaled_overhead:scaled")
    text = section(stranger.page, "Side by side")
    assert "median over load points" in text
    assert "With 3 experiments p cannot fall below 0.25" in text
    (middle,) = stranger.numbers(method="never_seen", statistic="delta_median", metric="e2e_mean")
    (mean,) = stranger.numbers(method="never_seen", statistic="delta", metric="e2e_mean")
    assert middle["value"] == mean["value"]


def test_saturation_that_only_the_other_predicts_makes_no_gain(stranger, tmp_path):
    path = tmp_path / "slow.yaml"
    path.write_text(yaml.safe_dump(OPTIONS | {"overhead": {"kind": "fixed", "us": 900000}}), encoding="utf-8")
    stranger.add("calm")
    stranger.add("busy", load_points=[poisson(per_s=20.0, requests=200)])
    assert stranger.evaluate("--against", path) == 0
    groups = {row["method"] for row in stranger.numbers(statistic="delta", metric="e2e_mean")}
    assert groups == {"never_seen", "never_seen_slow_predicted_saturated"}


SATURATED = {"saturation": {"state": "saturated", "basis": "made up"}}
THROUGHPUT = {"measured": {"request_throughput": rate(4.0)}}
TOO_WIDE = {"tensor_parallel": 3}


@pytest.mark.parametrize(
    ("experiments", "why"),
    [
        ({"a": {"load_points": [poisson(state="saturated")]}}, "(1 saturated)"),
        ({"a": {"model": "nobodys"}}, "(1 experiment refused)"),
        ({"a": TOO_WIDE}, "(1 not predicted)"),
        ({"a": {"load_points": [point(**THROUGHPUT)]}}, "(1 without a measured mean latency that can be predicted)"),
        (
            {"a": {"load_points": [poisson(state="saturated")]}, "b": TOO_WIDE, "c": {"hardware": "abacus"}},
            "(1 saturated, 1 not predicted, 1 experiment refused)",
        ),
        ({"a": {**SEEN, "load_points": [poisson(state="saturated")]}}, "(1 saturated)"),
    ],
)
def test_where_nothing_could_be_scored_the_headline_says_why(stranger, capsys, experiments, why):
    for name, changes in experiments.items():
        stranger.add(name, **changes)
    stranger.evaluate()
    opening = stranger.page.split("\n\n")[2]
    assert opening == f"**No load point could be scored on latency** {why}, so there is no headline error."
    assert f"No load point could be scored on latency {why}, so there is no headline error." in capsys.readouterr().out
    assert "outside the fit" not in stranger.page


def test_where_only_load_points_of_the_fit_are_scored_the_headline_says_what_became_of_the_others(stranger, tmp_path):
    content = yaml.safe_load(CALIBRATION_FILE.read_text(encoding="utf-8"))
    content.pop("held_out", None)
    alone = tmp_path / "alone.yaml"
    alone.write_text(yaml.safe_dump(content), encoding="utf-8")
    stranger.add("a", load_points=[poisson(state="saturated")])
    stranger.add("b", **SEEN)
    stranger.evaluate(steptime=alone)
    assert (
        "**No load point of a model outside the fit could be scored on latency** (1 saturated), so there is no headline"
        in stranger.page
    )


def test_of_what_was_not_predicted_nothing_is_said_to_be_within(stranger):
    stranger.add("a", model="nobodys")
    stranger.evaluate()
    assert "within" not in section(stranger.page, "Where predictions leave")
    assert "Not known: nothing was predicted." in stranger.page


def test_a_load_point_without_a_scored_latency_is_not_counted_as_scored(stranger):
    stranger.add("a", load_points=[point("x"), point("y", **THROUGHPUT)])
    stranger.evaluate()
    assert "1 scored on latency, 0 saturated, 0 not predicted, 1 without a measured mean latency" in stranger.page


def test_a_closed_loop_that_stays_in_step_is_flagged_with_the_range_of_predictions(stranger):
    loop = point("c16", concurrency=16, requests=160)
    scattered = {"kind": "uniform", "min_tokens": 10, "max_tokens": 30}
    stranger.add("a", load_points=[loop])
    stranger.add("b", load_points=[loop], workload={"name": "w", "prompt": scattered, "output": scattered})
    stranger.evaluate()
    (row,) = [line for line in stranger.page.splitlines() if line.startswith("| `lock_step` ")]
    assert row.split("|")[-2].strip() == "a"
    at_once, apart = re.search(r"of ([\d.]+) ms is predicted .* and of ([\d.]+) ms with clients spread", row).groups()
    assert float(at_once) == pytest.approx(float(stranger.row("ttft_mean", experiment="a")["predicted"]), rel=1e-3)
    assert float(apart) < float(at_once)
