"""A closed loop as weighted steps."""

from __future__ import annotations

import numpy as np
import pytest

from roofline_lab.calibration.fleet.steps import UNIT_US, weighted_steps
from roofline_lab.ground_truth.experiment import Replay
from roofline_lab.load_point import run_replay
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request
from simulator.errors import UnsupportedError
from simulator.steptime.batch import BatchSums
from simulator.workload.build import Workload

ENGINE = EngineOptions(token_budget=2048, schedule_ahead=True, prefix_caching=False)


def loop(concurrency=4, count=40):
    requests = tuple(
        Request(id=str(place), arrival_us=0, prompt_tokens=300 + 37 * (place % 7), output_tokens=50 + 11 * (place % 5))
        for place in range(count)
    )
    return Replay(Workload(requests=requests, concurrency=concurrency), 0)


class Affine:
    """A step takes as long as what is in it."""

    kv_breakpoints = ()

    def step_time_us(self, sums: BatchSums) -> int:
        new = sum(count for _, count in sums.prefill)
        return 2000 + 10 * sums.decode_count + 5 * new

    def explain(self, batch):
        raise NotImplementedError


def means_ms(steps):
    durations = 2000 + 10 * steps.decodes + 5 * (steps.tokens - steps.decodes)
    return float(np.sum(steps.weight * durations)) / 1000


def test_weighted_steps_give_the_means_that_the_engine_gives_for_any_durations():
    replay = loop()
    found = weighted_steps(replay, ENGINE)
    done = run_replay(replay, Affine(), ENGINE).requests
    ttft = np.mean([request.first_token_us - request.arrival_us for request in done]) / 1000
    between = np.mean([(r.completed_us - r.first_token_us) / (r.output_tokens - 1) for r in done]) / 1000
    assert means_ms(found.ttft) == pytest.approx(ttft, rel=0.01)
    assert means_ms(found.per_token) == pytest.approx(between, rel=0.01)


def test_weights_of_the_time_per_token_add_up_to_one_step_per_token():
    assert float(np.sum(weighted_steps(loop(), ENGINE).per_token.weight)) == pytest.approx(1.0)


def test_a_request_waits_for_the_step_after_next_however_its_server_composes_steps():
    ahead, behind = (weighted_steps(loop(), ENGINE.model_copy(update={"schedule_ahead": on})) for on in (True, False))
    assert np.array_equal(ahead.ttft.weight, behind.ttft.weight)


def test_an_open_loop_has_no_steps_of_its_own():
    requests = tuple(Request(id=str(n), arrival_us=n * UNIT_US, prompt_tokens=10, output_tokens=5) for n in range(3))
    with pytest.raises(UnsupportedError, match="do not wait for each other"):
        weighted_steps(Replay(Workload(requests=requests, concurrency=None), 0), ENGINE)
