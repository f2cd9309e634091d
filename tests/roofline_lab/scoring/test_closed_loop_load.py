"""Closed loops that are wider than their server: predicted as saturated, and judged by what they served."""

from __future__ import annotations

import pytest

from roofline_lab.client_overhead import ClientTime
from roofline_lab.ground_truth.experiment import Replay
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.load_point import Setup, serve
from roofline_lab.scoring.comparison import IN_FLIGHT, THROUGHPUT, wanted_metrics
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request
from simulator.workload.build import Workload
from tests.paths import ROOT
from tests.simulator.engine.stub import StubStepTime

SATURATED = "llama-3.3-70b-fp8-h200-tp1-8k-1k-20251029"
CLIENTS, PROMPT, ANSWER, BLOCK = 8, 320, 64, 16
# What all clients need at once, in KV blocks.
NEEDED = CLIENTS * (PROMPT + ANSWER) // BLOCK


def predicted(kv_blocks, concurrency=CLIENTS):
    requests = tuple(
        Request(id=str(place), arrival_us=0 if concurrency else place, prompt_tokens=PROMPT, output_tokens=ANSWER)
        for place in range(10 * CLIENTS)
    )
    engine = EngineOptions(kv_blocks=kv_blocks, block_tokens=BLOCK, max_running=CLIENTS, prefix_caching=False)
    setup = Setup(None, StubStepTime(), engine, ClientTime())
    return serve(setup, [Replay(Workload(requests, concurrency), 0)], "client")


def test_a_closed_loop_that_the_kv_cache_cannot_hold_is_predicted_to_be_saturated():
    assert predicted(NEEDED // 2).saturated


def test_a_closed_loop_with_room_for_all_of_its_clients_is_not():
    assert not predicted(2 * NEEDED).saturated


def test_of_a_saturated_loop_the_throughput_follows_from_the_time_of_a_request():
    experiment = load_experiment(ROOT / "ground_truth" / SATURATED)
    point = experiment.point("c64")
    (wanted,) = (each for each in wanted_metrics(experiment, point) if each.name == THROUGHPUT)
    ttft, tpot = (point.measured[name].value for name in ("ttft_mean", "tpot_mean"))
    request_s = (ttft + tpot * (experiment.mean_output_tokens("c64") - 1)) / 1000
    assert (wanted.definition, wanted.measured) == (IN_FLIGHT, pytest.approx(64 / request_s))
    found = wanted.beside(1000 * request_s / 2)
    assert found.error_pct == pytest.approx(100.0)
    assert not found.is_latency


def test_a_loop_that_kept_up_is_judged_by_its_latencies_alone():
    experiment = load_experiment(ROOT / "ground_truth" / SATURATED)
    assert THROUGHPUT not in {each.name for each in wanted_metrics(experiment, experiment.point("c8"))}
