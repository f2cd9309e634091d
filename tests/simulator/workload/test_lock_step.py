"""Closed loops whose clients nothing pulls apart, and how far their predictions range."""

from __future__ import annotations

import pytest

from simulator.workload.lock_step import keeps_in_step, spread
from tests.simulator.cli.support import invoke
from tests.simulator.workload.test_build import build

LOOP = {"kind": "closed_loop", "concurrency": 3}
SCATTERED = {"kind": "uniform", "min_tokens": 4, "max_tokens": 12}


def test_answers_of_one_length_keep_a_closed_loop_in_step():
    assert keeps_in_step(build(arrivals=LOOP))
    assert keeps_in_step(build(arrivals=LOOP, prompt=SCATTERED))


@pytest.mark.parametrize(
    "changes",
    [
        {"arrivals": LOOP, "output": SCATTERED},
        {"arrivals": {**LOOP, "ramp_s": 1.0}},
        {"arrivals": {**LOOP, "concurrency": 1}},
        {"arrivals": {**LOOP, "concurrency": 6}},
        {},
    ],
)
def test_scatter_a_ramp_one_client_one_wave_and_an_open_loop_do_not(changes):
    assert not keeps_in_step(build(**changes))


def test_a_spread_loop_starts_its_clients_over_one_request():
    assert spread(build(arrivals=LOOP), 2000.4).ramp_us == 2000


RUN = ["run", "--model", "llama-2-7b-hf", "--num-requests", "160", "--concurrency", "16", "--prompt-tokens", "1024"]


def test_a_run_in_step_says_so_and_gives_the_range():
    report = invoke(*RUN, "--output-tokens", "256").json
    ends = {name: values["ttft_mean_ms"] for name, values in report["lock_step"].items()}
    assert ends["all_at_once"] == report["metrics"]["ttft_mean"]["value"]
    assert ends["all_at_once"] > 2 * ends["spread"]
    (warning,) = [text for text in report["warnings"] if "in step for ever" in text]
    assert f"{ends['spread']:.4g} ms" in warning


@pytest.mark.parametrize("more", [["--output-tokens", "205-256"], ["--output-tokens", "256", "--ramp-s", "5"]])
def test_lengths_with_their_scatter_and_a_ramp_have_no_range(more):
    report = invoke(*RUN, *more).json
    assert "lock_step" not in report
    assert not any("in step" in text for text in report["warnings"])


def test_a_warm_up_is_in_no_figure():
    report = invoke(*RUN, "--output-tokens", "20-40", "--warm-up-requests", "32").json
    assert report["requests"]["total"] == report["requests"]["completed"] == 160


def test_a_ramp_without_a_closed_loop_is_refused():
    done = invoke("run", "--model", "llama-2-7b-hf", "--rate", "1", "--ramp-s", "3")
    assert done.code == 2
    assert "--ramp-s, --warm-up-requests: are of a closed loop; give --concurrency too" in done.err
