"""A server that composes the next step while one runs sees an arrival one step later."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request, RequestState
from tests.simulator.engine.stub import StubStepTime

STEP_US = 100


class Constant:
    kv_breakpoints = ()

    def step_time_us(self, sums):
        return STEP_US


def first_tokens(*requests: Request, ahead: bool, **more) -> list[int]:
    result = run(requests, Constant(), EngineOptions(schedule_ahead=ahead, prefix_caching=False, **more))
    return [request.first_token_us for request in result.requests]


@pytest.mark.parametrize(("ahead", "first_token_us"), [(False, 400), (True, 500)])
def test_an_arrival_during_a_step_waits_for_the_step_already_composed(ahead, first_token_us):
    """It arrives at 250, during the step from 200 to 300; the one from 300 to 400 is composed at 200."""
    busy, late = Request("busy", 0, 8, 50), Request("late", 250, 8, 3)
    assert first_tokens(busy, late, ahead=ahead)[1] == first_token_us


@pytest.mark.parametrize("ahead", [False, True])
def test_an_idle_server_starts_at_once(ahead):
    assert first_tokens(Request("a", 70, 8, 5), Request("b", 9000, 8, 5), ahead=ahead) == [170, 9100]


def test_one_step_is_the_whole_difference_at_every_phase_of_a_step():
    for at in range(101, 400, 37):
        requests = Request("busy", 0, 8, 50), Request("late", at, 8, 3)
        later, sooner = (first_tokens(*requests, ahead=ahead)[1] for ahead in (True, False))
        assert later - sooner == (STEP_US if at % STEP_US else 0)


def test_with_a_single_client_nothing_ever_arrives_during_a_step():
    requests = [Request(str(index), 0, 30 + index, 7) for index in range(6)]
    runs = [
        run(requests, StubStepTime((20, 37)), EngineOptions(schedule_ahead=ahead), concurrency=1) for ahead in (0, 1)
    ]
    assert runs[0] == runs[1]


@settings(max_examples=50, deadline=None)
@given(
    arrivals=st.lists(st.integers(0, 3000), min_size=1, max_size=12),
    outputs=st.lists(st.integers(1, 20), min_size=12, max_size=12),
    blocks=st.integers(6, 40),
)
def test_every_request_completes_and_none_starts_before_it_arrives(arrivals, outputs, blocks):
    requests = [Request(str(i), at, 10, output) for i, (at, output) in enumerate(zip(arrivals, outputs, strict=False))]
    result = run(requests, Constant(), EngineOptions(schedule_ahead=True, kv_blocks=blocks, max_running=4))
    assert all(request.state is RequestState.COMPLETED for request in result.requests)
    assert all(request.scheduled_us >= request.arrival_us for request in result.requests)
