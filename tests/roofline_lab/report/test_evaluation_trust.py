"""Words and intervals of an evaluation: on the page, in tables and figure, and from other measurements alone."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from roofline_lab.trust.held_out import held_out_text, read_held_out
from roofline_lab.trust.intervals import validation_of
from simulator.trust.distance import Cell, Load, Reach
from tests.roofline_lab.builders import ROOT
from tests.roofline_lab.predict.strangers import CALIBRATION_FILE, SEEN, STRANGE_MODEL, latency, point, poisson
from tests.roofline_lab.trust.made_up import row

FLEET = CALIBRATION_FILE.with_name("vllm_fleet.held_out.csv")
HELD_OUT = CALIBRATION_FILE.with_name("h100_vllm.held_out.csv")
VALIDATION = validation_of("h100_vllm", read_held_out(HELD_OUT))
MEANS = ("ttft_mean", "inter_token_mean", "e2e_mean")
DENSE = Cell("new", "dense", "h100-sxm", "bf16")
# Lengths within what h100_vllm was measured at.
WITHIN = {
    "workload": {
        "name": "their own",
        "prompt": {"kind": "constant", "tokens": 500},
        "output": {"kind": "constant", "tokens": 100},
    }
}


def calibration(tmp_path, rows=None):
    """Return a copy of the calibration, with other held-out rows or with none."""
    path = tmp_path / "theirs.yaml"
    shutil.copy(CALIBRATION_FILE, path)
    if rows is not None:
        path.with_name("theirs.held_out.csv").write_text(held_out_text(rows), encoding="utf-8")
    return path


def ends(row):
    return float(row["interval_low"]), float(row["interval_high"])


def test_every_predicted_mean_has_a_word_and_an_interval(stranger):
    """A dense model in 16 bits on an H100 that no fit has seen: inside, with the intervals of models held out."""
    stranger.add(**WITHIN)
    assert stranger.evaluate() == 0
    for name in MEANS:
        found = stranger.row(name)
        band = VALIDATION.band(name, Reach.MODEL, DENSE)
        assert found["trust"] == "inside"
        assert ends(found) == pytest.approx(band.of(float(found["predicted"])), rel=1e-5)
        assert found["no_interval"] == ""
    assert "## How far these predictions may be trusted" in stranger.page
    assert "| inside | never seen |" in stranger.page


def test_a_measured_value_outside_its_interval_is_bold_and_counted(stranger, capsys):
    """E2E is measured twice as long as anything predicted."""
    slow = {"ttft_mean": latency("ttft", 14.0), "e2e_mean": latency("e2e", 2000.0)}
    stranger.add(**WITHIN, load_points=[point(measured=slow)])
    assert stranger.evaluate() == 0
    assert "**measured 2000**" in stranger.page
    assert "E2E 0 of 1" in capsys.readouterr().out
    (coverage,) = stranger.numbers(scope="trust", metric="e2e_mean", statistic="interval_coverage")
    assert (coverage["key"], float(coverage["value"])) == ("inside", 0.0)


def test_intervals_are_drawn_behind_the_points(stranger):
    stranger.add(**WITHIN)
    stranger.evaluate()
    with_intervals = (stranger.out / "figures/predicted_vs_measured.svg").read_text(encoding="utf-8")
    assert with_intervals.count('stroke-width="1.6"') == len(MEANS)
    assert with_intervals.index('stroke-width="1.6"') < with_intervals.index("<circle")


def test_a_model_of_the_fit_is_asked_as_if_it_had_never_been_fitted_to(stranger):
    """Its own held-out rows are in no interval it is tested by, under whatever name it comes."""
    copied = yaml.safe_load((ROOT / "configs/models/llama-2-7b-hf.json").read_text(encoding="utf-8"))
    stranger.model("a-copy", {**copied, "id": "a-copy"})
    stranger.add("known", **SEEN, **WITHIN)
    stranger.add("copied", **{**SEEN, "model": "a-copy"}, **WITHIN)
    assert stranger.evaluate() == 0
    cell = next(one.cell for one in VALIDATION.tested if one.row.model == "llama-2-7b-hf")
    band = VALIDATION.less("model", cell).band("ttft_mean", Reach.MODEL, DENSE)
    assert band != VALIDATION.band("ttft_mean", Reach.MODEL, DENSE)
    for found in stranger.rows("ttft_mean"):
        assert (found["holdout"], found["trust"]) == ("held out", "inside")
        assert ends(found) == pytest.approx(band.of(float(found["predicted"])), rel=1e-5)


def test_a_fleet_gives_every_kind_of_model_on_every_gpu_an_interval(stranger):
    """A mixture of experts in a precision, and on a GPU, that nobody fitted to: outside, and as wide as that is."""
    stranger.add(**LONG, model="gpt-oss-120b", hardware="b300-sxm", tensor_parallel=1)
    stranger.add("near", **LONG, model="minimax-m2.5", hardware="b200-sxm", tensor_parallel=8)
    assert stranger.evaluate(steptime="vllm_fleet") == 0
    fleet = validation_of("vllm_fleet", read_held_out(FLEET))
    for name, word, reach in (("run-1", "outside", Reach.UNSEEN), ("near", "near", Reach.PAIRING)):
        found = stranger.row("ttft_mean", experiment=name)
        band = fleet.band("ttft_mean", reach, Cell("new", "moe", "", ""))
        assert found["trust"] == word
        assert ends(found) == pytest.approx(band.of(float(found["predicted"])), rel=1e-5)


# Lengths and load within what the fleet was measured at.
LONG = {
    "workload": {
        "name": "their own",
        "prompt": {"kind": "constant", "tokens": 1000},
        "output": {"kind": "constant", "tokens": 200},
    },
    "tool": "vllm-bench",
    "site": "benchmark_serving.py/2026",
    "load_points": [point("c4", concurrency=4, requests=40)],
}


def test_what_was_never_fitted_to_is_outside_with_the_reason(stranger):
    """One mixture of experts was held out of h100_vllm: too few to say how far another one may be off."""
    experts = {"num_local_experts": 8, "num_experts_per_tok": 2, "architectures": ["MixtralForCausalLM"]}
    stranger.model("sparse", {**STRANGE_MODEL, **experts, "model_type": "mixtral"})
    stranger.add(**WITHIN, model="sparse", hardware="h200-sxm")
    assert stranger.evaluate() == 0
    found = stranger.row("ttft_mean")
    assert (found["trust"], found["interval_low"]) == ("outside", "")
    assert "an interval needs 3" in found["no_interval"]
    assert "h200-sxm was not fitted to, but h100-sxm" in stranger.page


def test_load_beyond_what_was_measured_is_near(stranger):
    stranger.add(**WITHIN, load_points=[point(), point("many", concurrency=200, requests=400)])
    stranger.evaluate()
    words = {found["load_point"]: found["trust"] for found in stranger.rows("ttft_mean")}
    assert words == {"synchronous": "inside", "many": "near"}
    assert "requests in flight" in stranger.page


def test_another_clients_time_makes_a_prediction_near(stranger):
    stranger.add(**WITHIN, tool="vllm-bench")
    stranger.evaluate()
    assert {stranger.row(name)["trust"] for name in MEANS} == {"near"}
    assert "the time of client and host at vllm-bench was not fitted to" in stranger.page


def test_a_saturated_load_point_has_a_word_but_no_interval(stranger):
    stranger.add(**WITHIN, load_points=[poisson(state="saturated")])
    stranger.evaluate()
    found = stranger.row("ttft_mean")
    assert (found["trust"], found["interval_low"]) == ("inside", "")
    assert found["no_interval"].startswith("saturated")


def test_without_a_table_of_held_out_predictions_nothing_is_claimed(stranger, tmp_path):
    stranger.add(**WITHIN)
    assert stranger.evaluate(steptime=calibration(tmp_path)) == 0
    assert stranger.row("ttft_mean")["trust"] == ""
    assert "nothing was held out of what predicts, so there are no intervals" in stranger.page
    assert "Every prediction with its interval" not in stranger.page


def test_a_table_beside_a_calibration_of_ones_own_is_read_and_counts_as_an_input(stranger, tmp_path):
    """Three made-up cells that are off by nothing give an interval of nothing."""
    cells = [one.cell for one in VALIDATION.tested if one.row.kind == "dense"]
    made = [
        row(cell, fold="model", experiment=f"{cell.model}-{name}", metric=name, concurrency=1, **LENGTHS)
        for cell in sorted(set(cells))[:4]
        for name in ("ttft_mean", "itl_mean")
    ]
    stranger.add(**WITHIN)
    digests = []
    for rows in (None, made):
        assert stranger.evaluate("--force", steptime=calibration(tmp_path, rows)) == 0
        provenance = json.loads((stranger.out / "provenance.json").read_text(encoding="utf-8"))
        digests.append(provenance["predictors"]["h100_vllm"]["files"])
    found = stranger.row("ttft_mean")
    assert ends(found) == pytest.approx((float(found["predicted"]),) * 2)
    assert digests[0] != digests[1]


LENGTHS = {"tensor_parallel": 1, "prompt_tokens": 500, "output_tokens": 100}


def test_a_damaged_table_is_refused_before_anything_runs(stranger, tmp_path, capsys):
    stranger.add()
    path = calibration(tmp_path, [row()])
    path.with_name("theirs.held_out.csv").write_text("fold\ncell\n", encoding="utf-8")
    assert stranger.evaluate(steptime=path) == 2
    assert "theirs.held_out.csv:1: columns must be" in capsys.readouterr().err
    assert not stranger.out.exists()


def test_the_load_of_a_held_out_row_is_that_of_the_prediction():
    """One request at a time keeps one in flight, by rows and by the law of Little alike."""
    alone = [one.row.run.load for one in VALIDATION.tested if one.row.load_point == "synchronous"]
    assert all(isinstance(load, Load) and 1.0 <= load.concurrency < 1.11 for load in alone)


def test_a_figure_taken_at_the_server_has_the_interval_without_the_clients_time(stranger):
    """Held-out rows were measured at the client: an error in ms stays, so it is a larger share of a shorter figure."""
    stranger.add("client", **WITHIN)
    stranger.add("server", **WITHIN, side="server")
    assert stranger.evaluate() == 0
    at_client, at_server = (stranger.row("ttft_mean", experiment=name) for name in ("client", "server"))
    missing_ms = float(at_client["predicted"]) - float(at_server["predicted"])
    assert missing_ms > 0
    expected = [end - missing_ms for end in ends(at_client)]
    assert ends(at_server) == pytest.approx((max(0.0, expected[0]), expected[1]), rel=1e-4)
    between = [stranger.row("inter_token_mean", experiment=name) for name in ("client", "server")]
    assert ends(between[0]) == ends(between[1])
