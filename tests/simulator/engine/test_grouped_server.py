"""Groups of GPUs with requests of their own that take every step together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.arrivals import ClosedLoop, OpenLoop
from simulator.engine.grouped_server import GroupedServer
from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request, RequestState
from simulator.engine.run_statistics import RunStatistics
from simulator.engine.server import Server
from tests.simulator.engine.stub import StubStepTime

TWO = {"attention_data_parallel": 2, "prefix_caching": False}


class Noting(StubStepTime):
    """Remembers how many tokens each group computed, and how many the others."""

    def __init__(self):
        super().__init__((16, 40), check=True)
        self.seen = []

    def step_time_us(self, sums):
        self.seen.append((sums.decode_count + sum(new for _, new in sums.prefill), sums.elsewhere))
        return super().step_time_us(sums)


class PerToken:
    kv_breakpoints = ()

    def step_time_us(self, sums):
        return 10 * sums.decode_count + sum(new for _, new in sums.prefill)


requests = st.lists(
    st.builds(
        lambda arrival, prompt, output, group: (arrival, prompt, output, group),
        st.integers(0, 2000),
        st.integers(1, 60),
        st.integers(1, 12),
        st.sampled_from([None, "g"]),
    ),
    min_size=1,
    max_size=12,
).map(
    lambda rows: [
        Request(str(place), arrival, prompt, output, group, min(prompt, 20) if group else 0)
        for place, (arrival, prompt, output, group) in enumerate(rows)
    ]
)


@settings(max_examples=60, deadline=None)
@given(sent=requests, clients=st.none() | st.integers(1, 4), ahead=st.booleans(), blocks=st.integers(5, 12))
def test_one_group_is_a_server_like_any_other(sent, clients, ahead, blocks):
    options = EngineOptions(schedule_ahead=ahead, kv_blocks=blocks, token_budget=32, max_running=4)
    found = []
    for kind in (Server, GroupedServer):
        arrivals = OpenLoop(sent) if clients is None else ClosedLoop(sent, clients)
        server = kind(sent, arrivals, StubStepTime((16, 40)), options, RunStatistics(False, True))
        server.serve()
        found.append(server.outcome())
    assert found[0] == found[1]


@settings(max_examples=60, deadline=None)
@given(sent=requests, clients=st.none() | st.integers(1, 6), blocks=st.integers(5, 12), groups=st.integers(2, 4))
def test_groups_serve_every_request_and_know_what_the_others_compute(sent, clients, blocks, groups):
    noting = Noting()
    limits = EngineOptions(attention_data_parallel=groups, kv_blocks=blocks, token_budget=32, max_running=3)
    result = run(sent, noting, limits, concurrency=clients, count_gaps=True)
    assert {request.state for request in result.requests} <= {RequestState.COMPLETED, RequestState.DROPPED}
    assert all(own > 0 for own, _ in noting.seen)
    computed = result.counters.prefill_tokens + result.counters.decode_tokens
    assert sum(own for own, _ in noting.seen) == computed
    assert sum(elsewhere for _, elsewhere in noting.seen) <= (groups - 1) * computed


def test_a_step_lasts_as_long_as_that_of_the_group_with_most_to_do():
    sent = [Request("long", 0, 300, 3), Request("short", 0, 5, 3)]
    result = run(sent, PerToken(), EngineOptions(token_budget=512, **TWO), record_steps=True)
    first = [(step.start_us, step.duration_us, step.elsewhere) for step in result.steps[:2]]
    assert first == [(0, 300, 5), (0, 300, 300)]
    assert [request.first_token_us for request in result.requests] == [300, 300]
    assert [request.completed_us for request in result.requests] == [320, 320]


def test_limits_are_those_of_a_group():
    sent = [Request(str(place), 0, 8, 4) for place in range(4)]
    alone = run(sent, PerToken(), EngineOptions(max_running=1, prefix_caching=False))
    grouped = run(sent, PerToken(), EngineOptions(max_running=1, **TWO))
    assert [request.scheduled_us for request in grouped.requests] == [0, 0, 38, 38]
    assert [request.scheduled_us for request in alone.requests] == [0, 38, 76, 114]


def test_a_request_goes_to_the_group_with_least_to_do_and_what_waits_weighs_four_times():
    sent = [Request(str(place), 0, 8, 90) for place in range(5)] + [Request("late", 500, 8, 2)]
    steps = run(sent, PerToken(), EngineOptions(**TWO), record_steps=True).steps
    batches = {tuple(name for name, _, _ in step.prefill) for step in steps if step.prefill}
    assert batches == {("0", "2", "4"), ("1", "3"), ("late",)}
    assert any({"late", "1", "3"} <= {name for name, _ in step.decode} for step in steps)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_more_groups_share_a_closed_loop(groups):
    sent = [Request(str(place), 0, 100, 10) for place in range(32)]
    limits = EngineOptions(attention_data_parallel=groups, prefix_caching=False)
    shared, whole = (run(sent, PerToken(), options, concurrency=8).counters for options in (limits, None))
    assert shared.decode_tokens == 32 * 9
    assert shared.end_us * groups == pytest.approx(whole.end_us, rel=0.3)
