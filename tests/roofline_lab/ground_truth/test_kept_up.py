"""A server is overloaded by what it did, and a client is slow by what it sent; neither stands for the other."""

from __future__ import annotations

import random

import pytest

from roofline_lab.ground_truth.kept_up import Load, fills_loop, judge
from roofline_lab.ground_truth.quality import Flag

IDLE = {"ttft_s": 0.04, "e2e_s": 0.14, "longest_s": 0.15}


def poisson(count, per_s, seed):
    source, at = random.Random(seed), 0.0
    for _ in range(count):
        yield at
        at += source.expovariate(per_s)


def served(arrivals_s, service_s):
    """Return the waits of a server that serves one request after the other, and when its last answer ends."""
    free_s, waits = 0.0, []
    for at in arrivals_s:
        free_s = max(at, free_s) + service_s
        waits.append(free_s - at)
    return waits, free_s


def test_an_idle_server_behind_a_slow_client_is_not_saturated_and_the_client_is_named():
    arrivals = [2.5 * place for place in range(20)]
    found = judge(Load(sent=20, completed=20, requested_per_s=2.0, arrivals_s=arrivals, run_s=47.64, **IDLE))
    assert (found.state, found.overload) == ("not_saturated", None)
    assert found.client.flag is Flag.CLIENT_FELL_SHORT
    assert found.sent_per_s == pytest.approx(0.421, abs=0.001)
    assert "0.421 of the 2 requests per second it was asked for (21%)" in found.client.text


def test_a_slow_client_shows_without_recorded_arrivals_too():
    found = judge(Load(sent=20, completed=20, requested_per_s=2.0, run_s=47.64, **IDLE))
    assert (found.state, found.client.value) == ("not_saturated", pytest.approx(0.421, abs=0.001))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("recorded", [True, False])
def test_a_short_poisson_run_that_missed_its_rate_by_chance_is_healthy(seed, recorded):
    arrivals = list(poisson(200, 8.0, seed))
    load = Load(
        sent=200,
        completed=200,
        requested_per_s=8.0,
        random_gaps=True,
        arrivals_s=arrivals if recorded else (),
        run_s=arrivals[-1] + 1.2,
        ttft_s=0.3,
        e2e_s=1.2,
    )
    found = judge(load)
    assert (found.state, found.overload, found.client) == ("not_saturated", None, None)


def test_two_hundred_random_requests_of_which_7_47_per_second_arrived_of_8_are_healthy():
    found = judge(
        Load(sent=200, completed=200, requested_per_s=8.0, random_gaps=True, run_s=26.77 + 1, ttft_s=0.05, e2e_s=1.0)
    )
    assert (found.state, found.client) == ("not_saturated", None)


def test_long_answers_that_end_behind_the_last_request_are_no_overload():
    """Ten seconds of sending, then a minute of answers, some of them half as long again."""
    load = Load(
        sent=80, completed=80, requested_per_s=8.0, sent_per_s=8.0, run_s=100.0, ttft_s=0.2, e2e_s=60.0, longest_s=90.0
    )
    assert judge(load).state == "not_saturated"
    assert judge(Load(sent=80, completed=80, requested_per_s=8.0, run_s=100.0, ttft_s=0.2, e2e_s=60.0)).client is None


@pytest.mark.parametrize("recorded", [True, False])
def test_a_server_that_serves_less_than_is_sent_is_overloaded(recorded):
    arrivals = [place / 4 for place in range(200)]
    waits, end_s = served(arrivals, service_s=0.4)
    load = Load(
        sent=200,
        completed=200,
        requested_per_s=4.0,
        run_s=end_s,
        ttft_s=sum(waits) / 200,
        e2e_s=sum(waits) / 200,
        longest_s=max(waits),
        arrivals_s=arrivals if recorded else (),
        waits=waits if recorded else (),
    )
    found = judge(load)
    assert (found.state, found.overload.flag, found.client) == ("saturated", Flag.OVERLOADED, None)


def test_a_run_that_ends_while_its_server_is_behind_is_overloaded_by_what_it_served():
    """Sixty seconds at 10/s, 6/s served: what waited at the end was cut off."""
    load = Load(sent=600, completed=360, requested_per_s=10.0, run_s=60.0, ttft_s=12.0, e2e_s=12.5, longest_s=24.5)
    assert judge(load).state == "saturated"


def test_requests_cut_off_by_the_end_of_a_run_are_no_overload():
    """As GuideLLM counts a run of a fixed time: 629 answered at 11.4 per second, 55 still in flight at its end."""
    load = Load(sent=684, completed=629, requested_per_s=11.4, run_s=60.0, ttft_s=0.0989, e2e_s=4.209)
    assert (judge(load).state, judge(load).client) == ("not_saturated", None)


def test_a_server_that_has_nothing_to_do_at_times_is_not_behind_whatever_its_waits():
    waits = [0.02] * 15 + [0.09] * 15
    load = Load(sent=30, completed=30, requested_per_s=1.0, run_s=30.0, ttft_s=0.05, e2e_s=0.2, waits=waits)
    assert judge(load).state == "not_saturated"


def test_failures_are_an_overload_of_any_kind_of_load():
    assert judge(Load(sent=100, completed=80, failed=20, in_flight=4)).state == "saturated"
    assert "20 of 100 requests failed" in judge(Load(sent=100, completed=80, failed=20)).basis


def test_a_closed_loop_with_pauses_was_not_full():
    load = Load(sent=200, completed=200, in_flight=8, run_s=100.0, ttft_s=0.05, e2e_s=1.0)
    found = judge(load)
    assert (found.state, found.overload) == ("not_saturated", None)
    assert "On average 2 of 8 requests were in flight" in found.client.text
    assert judge(Load(sent=200, completed=200, in_flight=8, run_s=26.0, ttft_s=0.05, e2e_s=1.0)).client is None


def test_a_short_closed_loop_that_is_only_starting_and_ending_is_not_called_narrow():
    load = Load(sent=10, completed=10, in_flight=8, run_s=4.0, ttft_s=0.05, e2e_s=1.0)
    assert judge(load).client is None


def test_a_limit_was_the_load_only_where_it_was_reached():
    busy = Load(sent=400, completed=400, run_s=100.0, e2e_s=4.0)
    assert fills_loop(busy, 16)
    assert not fills_loop(busy, 512)
    assert not fills_loop(Load(sent=400, completed=400), 16)


def test_what_nobody_recorded_is_unknown():
    found = judge(Load(sent=100, completed=100, requested_per_s=4.0))
    assert (found.state, found.overload, found.client) == ("unknown", None, None)


def test_a_burst_that_is_over_before_its_first_answers_is_no_proof_that_a_server_keeps_up():
    """As rows of tables say: 80 requests within 8 s, 36 s to the first token, a run that ends with a mean answer."""
    burst = Load(sent=80, completed=80, sent_per_s=10.0, run_s=45.63, ttft_s=35.75, e2e_s=37.73)
    found = judge(burst)
    assert (found.state, found.overload) == ("unknown", None)
    assert "too short to tell: its requests are sent within 8 s and wait 35.8 s on average" in found.basis


@pytest.mark.parametrize("factor", [1.2, 2.0, 5.0])
@pytest.mark.parametrize("base_s", [0.5, 20.0])
def test_overload_is_unknown_where_requests_wait_for_a_third_of_the_time_they_are_sent_in(factor, base_s):
    """Requests come `factor` times faster than they are served, and the run is cut where a mean answer would end."""
    sending_s = 40.0
    wait_s = sending_s * (factor - 1) / 2
    run_s = sending_s + wait_s + base_s
    load = Load(sent=80, completed=80, sent_per_s=2.0, run_s=run_s, ttft_s=wait_s + 0.2, e2e_s=wait_s + base_s)
    assert judge(load).state == ("not_saturated" if wait_s + 0.2 < sending_s / 3 else "unknown")


def test_time_behind_the_last_answer_makes_no_overloaded_server_idle():
    """The run is said to last ten minutes, of which requests were sent and answered in one and a half."""
    waits = [0.2 + 0.9 * place for place in range(80)]
    mean_s = sum(waits) / 80
    cut = {"sent": 80, "completed": 80, "sent_per_s": 10.0, "run_s": 6000.0, "ttft_s": mean_s, "e2e_s": mean_s + 2}
    assert judge(Load(**cut, waits=waits)).state == "saturated"
    assert judge(Load(**cut)).state == "unknown"


def test_answers_without_a_token_were_sent_too_so_that_the_client_did_not_fall_short():
    # Twenty requests, one per second, of which seventeen were answered.
    found = judge(Load(sent=20, completed=17, requested_per_s=1.0, run_s=19.2, **IDLE))
    assert found.client is None


def test_what_is_sent_at_once_saturates_a_server_whatever_else_is_recorded():
    found = judge(Load(sent=400, completed=400, at_once=True, run_s=30.0, ttft_s=12.0, e2e_s=15.0))
    assert (found.state, found.basis, found.overload) == ("saturated", "Everything is sent at once.", None)
