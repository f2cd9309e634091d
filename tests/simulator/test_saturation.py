"""Whether a server kept up: waiting that grows through a run, and a closed loop wider than its KV cache."""

from __future__ import annotations

from simulator.engine.records import RequestResult, RequestState, RunCounters
from simulator.saturation import MIN_WAITS, grows_queue, lacks_room, queue_growth


def result(sent_us, start_us, end_us):
    times = {"scheduled_us": start_us, "first_token_us": end_us, "completed_us": end_us}
    return RequestResult("one", sent_us, 10, 10, RequestState.COMPLETED, **times)


def counters(peak_kv_blocks):
    return RunCounters(peak_kv_blocks=peak_kv_blocks)


def test_waiting_grows_where_the_last_quarter_waits_three_times_as_long_as_the_first():
    assert queue_growth([10.0] * 15 + [30.0] * 5) == (10.0, 30.0)
    assert not grows_queue([10.0] * 15 + [29.0] * 5)


def test_of_few_requests_waiting_says_nothing():
    assert not grows_queue([1.0] * 10 + [100.0] * (MIN_WAITS - 11))


def test_a_closed_loop_lacks_room_where_its_requests_wait_for_a_full_cache():
    waiting, served = [result(0, 10, 100)], [result(0, 4, 100)]
    assert lacks_room(waiting, counters(100), 100)
    assert not lacks_room(served, counters(100), 100)
    assert not lacks_room(waiting, counters(50), 100)
