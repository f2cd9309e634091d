"""Answers about capacity: limits are met at the highest load and not at the next one, and ends keep their order."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from roofline_lab.capacity.answer import TOLERANCE, answer, meets
from roofline_lab.capacity.ask import Asked, ask
from roofline_lab.capacity.assumptions import moved
from roofline_lab.capacity.question import limits_of, question_of, variants
from roofline_lab.capacity.serve import QUEUE_GROWS, Ends, Served, Simulated, _arriving
from roofline_lab.report.capacity_tables import proof_words
from roofline_lab.trust.proof import Proof
from simulator.errors import ConfigError
from simulator.slo import Limit, read_limits
from simulator.workload.build import WorkloadSpec, build_workload
from tests.paths import ROOT

CONFIGS = ROOT / "configs"
RATE = {"kind": "poisson", "rate_per_s": 1.0}
SHORT = {
    "requests": 200,
    "prompt": {"kind": "uniform", "min_tokens": 900, "max_tokens": 1100},
    "output": {"kind": "uniform", "min_tokens": 180, "max_tokens": 260},
}


def asked(**changes):
    data = {
        "model": "llama-3.3-70b-instruct-fp8",
        "hardware": "h200-sxm",
        "tensor_parallel": 4,
        "workload": SHORT,
        "slo": "ttft_mean<=400ms, tpot_mean<=25ms",
        **changes,
    }
    return question_of(data, "q", ROOT)


@cache
def answered(**changes):
    question = asked(**changes)
    (variant,) = variants(question, "q")
    return answer(variant, limits_of(question, "q"), CONFIGS), variant, limits_of(question, "q")


@pytest.mark.parametrize("load", ["rate", "concurrency"])
def test_limits_are_met_at_the_highest_load_and_not_at_the_next_one_tried(load):
    found, variant, limits = answered(load=load)
    server = Simulated(variant, CONFIGS)
    assert meets(server.at(found.highest), limits)
    beyond = min(each.load for each in found.points if each.load > found.highest)
    assert not meets(server.at(beyond), limits)
    assert beyond <= max(found.highest * (1 + TOLERANCE), found.highest + 1) * 1.000001
    assert found.binding


@pytest.mark.parametrize("load", ["rate", "concurrency"])
def test_the_pessimistic_end_is_no_higher_and_the_optimistic_end_no_lower_than_the_answer(load):
    found, _, limits = answered(load=load)
    assert found.pessimistic <= found.highest <= found.optimistic
    low = next(each for each in found.points if each.load == found.pessimistic)
    assert all(low.ends(limit).high <= limit.at_most_ms for limit in limits)


def test_the_same_question_has_the_same_answer_whatever_was_asked_of_the_server_before():
    found, variant, limits = answered()
    server = Simulated(variant, CONFIGS)
    for served in reversed(found.points):
        assert server.at(served.load) == served
    assert answer(variant, limits, CONFIGS) == found


def test_a_tighter_limit_never_allows_a_higher_load():
    loads = [answered(slo=f"ttft_mean<=400ms, tpot_mean<={limit}ms")[0].highest for limit in (15, 20, 25, 40)]
    assert loads == sorted(loads)
    assert loads[0] < loads[-1]


def test_a_limit_that_a_request_alone_misses_is_told_with_what_it_has_in_its_place():
    found, _, _ = answered(slo="ttft_mean<=1ms, tpot_mean<=25ms")
    assert found.highest is None
    assert found.best is None
    assert [missed.limit for missed in found.missed_alone] == ["TTFT mean at most 1 ms"]
    assert found.missed_alone[0].value_ms > 1


def test_a_model_that_fits_nowhere_is_an_answer_with_the_reason_beside_those_that_do():
    question = asked(model="llama-3.3-70b-instruct", tensor_parallel=[1, 4], hardware="h100-sxm")
    found = ask(question, "q", ROOT)
    refused, able = found.answers
    assert "leave no room" in refused.refused
    assert refused.highest is None
    assert able.best is not None
    assert found.best == able


def test_where_no_server_can_be_the_question_is_refused_with_the_reason():
    with pytest.raises(ConfigError, match="leave no room"):
        ask(asked(tensor_parallel=1, hardware="l40s"), "q", ROOT)


def test_an_open_loop_beyond_what_a_server_gets_done_is_overloaded_and_has_no_interval():
    _, variant, _ = answered()
    served = Simulated(variant, CONFIGS).at(200.0)
    assert served.overloaded == QUEUE_GROWS
    assert served.intervals == {}


def test_a_run_is_long_enough_to_have_a_steady_part_of_several_times_what_is_in_flight():
    _, variant, _ = answered()
    served = Simulated(variant, CONFIGS).at(8.0)
    assert served.in_flight > 20
    assert served.steady >= 3 * served.in_flight
    assert served.values["request_throughput"] == 8.0


def test_prices_and_gpus_follow_from_tokens_per_second():
    found, _, _ = answered()
    rate = found.best.values["output_token_throughput"] / 4
    assert found.tokens_per_s_per_gpu == rate
    assert found.cost_per_million_tokens(3.6) == pytest.approx(3.6 / (rate * 3600) * 1e6)


def served(**intervals):
    values = {"ttft_mean": 100.0, "ttft_p95": 200.0, "tpot_request": 10.0}
    return Served(load=1.0, requests=1, steady=1, values=values, intervals=intervals)


def test_a_statistic_that_was_never_held_out_has_the_widest_interval_of_its_latency_and_says_so():
    known = served(ttft_mean=Ends(low=90.0, high=150.0))
    assert known.ends(Limit("ttft_mean", 1.0)) == Ends(low=90.0, high=150.0)
    assert known.ends(Limit("ttft_p95", 1.0)) == Ends(low=180.0, high=300.0, borrowed=True)
    assert known.ends(Limit("tpot_mean", 1.0)) is None


def test_beyond_its_intervals_an_answer_promises_no_more_than_they_reach_and_no_optimistic_end():
    question = question_of(
        {"model": "llama-3.1-8b", "workload": "chat", "slo": "tpot_mean<=28ms", "hardware": "h100-sxm"}, "q", ROOT
    )
    (variant,) = variants(question, "q")
    found = answer(variant, limits_of(question, "q"), CONFIGS)
    assert found.pessimistic < found.highest
    assert found.optimistic is None
    assert "an interval needs" in found.no_interval


def test_assumptions_are_told_by_what_they_cost_and_what_is_stated_is_none():
    found, variant, limits = answered()
    costs = moved(variant, found, limits, CONFIGS)
    sizes = [abs(each.factor(found.highest) - 1) for each in costs]
    assert sizes == sorted(sizes, reverse=True)
    assert {each.assumed.split()[-1] for each in costs} >= {"batch", "(Poisson)"}


def test_what_a_question_states_is_not_assumed():
    question = asked(engine={"max_running": 64, "token_budget": 4096})
    (variant,) = variants(question, "q")
    limits = limits_of(question, "q")
    costs = moved(variant, answer(variant, limits, CONFIGS), limits, CONFIGS)
    assert not any("batch" in each.assumed or "budget" in each.assumed for each in costs)


def test_answers_that_were_kept_are_taken_up_and_the_others_are_asked(tmp_path):
    question = asked(tensor_parallel=[2, 4])
    whole = ask(question, "q", ROOT, kept=tmp_path)
    files = sorted(tmp_path.glob("*.json"))
    assert len(files) == 2
    files[0].unlink()
    told = []
    again = ask(question, "q", ROOT, kept=tmp_path, say=lambda done, total: told.append((done, total)))
    assert again == whole
    assert told == [(1, 2), (2, 2)]


def test_limits_on_gaps_between_tokens_are_held_to_the_gaps():
    found, variant, _ = answered()
    limits = read_limits("itl_p99<=60ms", "q")
    other = answer(variant, limits, CONFIGS)
    assert other.best.values["itl_p99"] <= 60
    assert other.highest != found.highest


def test_two_servers_behind_a_router_take_about_twice_as_much_on_twice_the_gpus():
    one, _, _ = answered()
    question = asked(engine={"replicas": 2})
    (variant,) = variants(question, "q")
    two = answer(variant, limits_of(question, "q"), CONFIGS)
    assert two.gpus == 2 * one.gpus
    assert 1.8 < two.highest / one.highest < 2.3


CONVERSATIONS = {
    "requests": 200,
    "prompt": {"kind": "constant", "tokens": 200},
    "output": {"kind": "constant", "tokens": 50},
    "sessions": {"turns": {"kind": "constant", "turns": 4}, "think_s": {"kind": "constant", "mean_s": 1.0}},
}


def test_of_conversations_the_load_is_one_of_sessions_and_every_turn_counts():
    question = asked(workload=CONVERSATIONS)
    assert question.unit == "sessions/s"
    assert asked(workload=CONVERSATIONS, load="concurrency").unit == "users"
    (variant,) = variants(question, "q")
    served = Simulated(variant, CONFIGS).at(2.0)
    assert not served.overloaded
    assert served.values["request_throughput"] == pytest.approx(8.0, rel=0.2)


def test_a_request_at_another_time_is_the_same_request():
    requests = build_workload(WorkloadSpec.model_validate({**CONVERSATIONS, "arrivals": RATE}), 1).requests
    moved_on = [_arriving(each, each.arrival_us + 5) for each in requests]
    assert moved_on == [replace(each, arrival_us=each.arrival_us + 5) for each in requests]


def test_what_measured_servers_said_of_such_answers_is_told_only_where_one_is_near():
    found, _, limits = answered()
    near = Asked(asked(), "q", limits, (found,), proof=Proof("h_x", 10.0, 5.0, 40, 90.0, 97.0, 2.0, 500, 1.0))
    assert "(`h_x`)" in proof_words(near)
    assert "off by 10.0 % in the mean and 5.0 % in the median of 40, 90.0 %" in proof_words(near)
    far = found.model_copy(update={"best": found.best.model_copy(update={"word": "outside"})})
    assert proof_words(replace(near, answers=(far,))) == ""
    assert proof_words(replace(near, proof=None)) == ""
