"""What a run says of how far it may be trusted: word, intervals, what was validated nearest, or why there is none."""

from __future__ import annotations

import shutil

import pytest

from simulator.cli.catalog import SHIPPED_CONFIGS
from simulator.trust.intervals import load_intervals
from tests.simulator.cli.support import invoke, json_lines

CALIBRATION = SHIPPED_CONFIGS / "calibration" / "h100_vllm.yaml"
LENGTHS = ["--prompt-tokens", "400-600", "--output-tokens", "100-300"]
LOADED = ["run", "--model", "llama-2-7b-hf", "--num-requests", "40", *LENGTHS, "--rate"]
CLOSED = ["run", "--model", "llama-2-7b-hf", "--num-requests", "40", *LENGTHS, "--concurrency", "16"]
MEANS = ("ttft_mean", "tpot_request", "e2e_mean")


@pytest.fixture(scope="module")
def inside():
    return invoke(*LOADED, "5")


def trust(*argv):
    return invoke(*argv).json["trust"]


def test_a_run_as_it_was_fitted_to_is_inside_with_an_interval_of_every_mean(inside):
    report = inside.json
    found = report["trust"]
    assert (found["calibration"], found["word"], found["why"], found["level"]) == ("h100_vllm", "inside", [], 0.9)
    assert found["nearest"] == ["llama-2-7b-hf (dense, bf16) on h100-sxm"]
    for name in MEANS:
        ends = found["intervals"][name]
        assert ends["low"] < report["metrics"][name]["value"] < ends["high"]
        assert ends["unit"] == "ms"


def test_people_are_told_what_the_report_says(inside):
    found, said = inside.json["trust"], inside.err.splitlines()
    assert "trust: inside what h100_vllm was validated on" in said
    (line,) = [line for line in said if line.startswith("trust: 90 % of means measured at the server, without ")]
    for name in MEANS:
        low, high = (found["intervals"][name][end] for end in ("low", "high"))
        assert f"{_short(low)} to {_short(high)} ms" in line
    assert said[-1] == "trust: nearest of what was validated: llama-2-7b-hf (dense, bf16) on h100-sxm"


def _short(value_ms):
    return f"{value_ms:,.0f}" if value_ms >= 100 else f"{value_ms:.3g}"


def test_a_run_that_has_its_client_has_the_intervals_as_they_were_held_out():
    outcome = invoke(*LOADED, "5", "--set", "metrics.client_offset_us=20000")
    report = outcome.json
    assert report["trust"]["client_taken_out_ms"] == 0.0
    of_kind = load_intervals(CALIBRATION.parent / "intervals" / CALIBRATION.name).figures["ttft_mean"].of_kinds["dense"]
    value, ends = report["metrics"]["ttft_mean"]["value"], report["trust"]["intervals"]["ttft_mean"]
    assert (ends["low"], ends["high"]) == of_kind.cell.band.of(value)
    assert "90 % of means measured at the client lie in: " in outcome.err


def test_another_load_gpu_and_precision_are_named_and_what_is_nearest_is_told():
    """Dense models, the B200 and 16 bits were each fitted to, and never together; so short prompts never were."""
    found = trust(*LOADED, "5", "--hardware", "b200-sxm")
    assert (found["calibration"], found["word"]) == ("vllm_fleet", "outside")
    assert found["why"][0] == "dense, b200-sxm and bf16 were fitted to, but never together"
    assert "prompt tokens were not fitted to" in found["why"][1]
    assert len(found["nearest"]) == 2
    low, high = (found["intervals"]["tpot_request"][end] for end in ("low", "high"))
    assert high / low > 1.2


def test_a_distance_at_which_too_little_was_held_out_has_no_interval_and_says_why():
    outcome = invoke(*LOADED, "5", "--model", "qwen3-30b-a3b")
    found = outcome.json["trust"]
    assert found["word"] == "near"
    assert all("an interval needs 3" in found["intervals"][name]["none"] for name in MEANS)
    assert "no interval of TTFT, TPOT, E2E: cells held out as far away: " in outcome.err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            ["--steptime", "roofline"],
            "roofline was tested on no measurement that was held out; calibrations were",
        ),
        (["--steptime", "data_sheet"], "data_sheet was tested on no measurement that was held out"),
        (["--set", "steptime.layer_us=3"], "h100_vllm with options set by hand (layer_us) was tested by nobody"),
        (["--hardware", "l40s"], "roofline was tested on no measurement"),
    ],
    ids=["roofline", "data sheet", "by hand", "a GPU that no calibration covers"],
)
def test_of_what_was_never_tested_no_interval_is_known(options, why):
    outcome = invoke(*LOADED, "5", *options)
    assert list(outcome.json["trust"]) == ["none"]
    assert outcome.json["trust"]["none"].startswith(why)
    assert f"trust: no interval is known: {why}" in outcome.err


def test_a_calibration_named_by_its_file_has_the_intervals_beside_it(tmp_path):
    own = tmp_path / "own.yaml"
    shutil.copy(CALIBRATION, own)
    assert "no intervals/own.yaml lies beside it" in trust(*LOADED, "5", "--steptime", own)["none"]
    (tmp_path / "intervals").mkdir()
    shutil.copy(CALIBRATION.parent / "intervals" / CALIBRATION.name, tmp_path / "intervals" / own.name)
    assert trust(*LOADED, "5", "--steptime", own)["word"] == "inside"


def test_a_run_that_saturates_has_a_word_and_no_interval():
    """By waiting that grows, and in a closed loop by requests that wait for room in a full KV cache."""
    for command in ([*LOADED, "1000", "--set", "engine.max_running=4"], [*CLOSED, "--kv-blocks", "120"]):
        found = trust(*command)
        assert {found["intervals"][name]["none"] for name in MEANS} == {
            "saturated: latencies depend on when the run ends"
        }
    assert "low" in trust(*CLOSED)["intervals"]["e2e_mean"]


def test_where_no_request_is_completed_no_interval_is_known():
    assert trust(*LOADED, "5", "--kv-blocks", "2") == {"none": "no request was completed"}


def test_many_runs_carry_it_as_one_does():
    workload = {
        "requests": 40,
        "arrivals": {"kind": "closed_loop", "concurrency": 16},
        "prompt": {"kind": "uniform", "min_tokens": 400, "max_tokens": 600},
        "output": {"kind": "uniform", "min_tokens": 100, "max_tokens": 300},
    }
    (line,) = invoke("runs", stdin=json_lines({"model": "llama-2-7b-hf", "workload": workload})).lines
    assert line["trust"] == trust(*CLOSED)
