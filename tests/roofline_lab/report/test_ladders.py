"""Rows of load points as ladders of load: which of them are rungs, what saturation means, where ranges come from."""

from __future__ import annotations

import random

import pytest

from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.hypotheses.capacity import CapacityQuestion
from roofline_lab.report.ladder_numbers import capacity_numbers
from roofline_lab.report.ladder_tables import answers_table, capacity_figure, counts_table, groups_table, limits_table
from roofline_lab.report.ladders import capacity_answers, offered
from roofline_lab.scoring.scores import Scores
from roofline_lab.vocabulary import LoadFigure, Quantity, Scope, Statistic
from simulator.errors import ConfigError
from simulator.validation import parse


class Loops:
    """An experiment by what a ladder asks of it: loops of so many clients."""

    id = "server"

    def __init__(self, *clients):
        self.load_points = [point({"kind": "closed_loop", "concurrency": each}, f"c{each}") for each in clients]


def point(arrivals, name="p", **keys):
    counts = {"sent": 10, "completed": 10, "basis": "made up"}
    return LoadPoint.model_validate({"id": name, "arrivals": arrivals, "requests": counts, "measured": {}, **keys})


def asked(*limits, load="concurrency", **changes):
    keys = {"load": load, "limits": limits, "knee": {"latency": "tpot_mean", "factor": 1.5}}
    return parse(CapacityQuestion, {**keys, "close_factor": 1.5, "wrong_met_weight": 3, **changes}, source="test")


def row(clients, measured, predicted, arm="model", full=(False, False), factors=None):
    """Return a result line of one load point: latencies in ms by name, and intervals as factors of predictions."""
    names = measured.keys() | predicted.keys()
    figures = {name: {"measured": measured.get(name), "predicted": predicted.get(name), "unit": "ms"} for name in names}
    figures["request_throughput"] = {"measured": 1.0, "predicted": 1.0, "unit": "1/s"}
    ends = {name: [value * factor for factor in factors] for name, value in predicted.items()} if factors else {}
    load = {
        "strategy": "closed_loop",
        "saturated": dict(zip(("measured", "predicted"), full, strict=True)),
        "figures": figures,
        "intervals": ends,
    }
    place = {"method": "m", "arm": arm, "experiment": "server", "load_point": f"c{clients}", "workload": "chat"}
    return {**place, "family": "Small", "model": "small", "tensor_parallel": 1, "hardware": "h100-sxm", "load": load}


def both(ttft, tpot):
    return {"ttft_mean": ttft, "tpot_mean": tpot}


@pytest.mark.parametrize(
    ("arrivals", "rate", "loads"),
    [
        ({"kind": "closed_loop", "concurrency": 8}, None, (8.0, None)),
        ({"kind": "poisson", "rate_per_s": 2.0}, {"requested_per_s": 2.0, "achieved_per_s": 1.9}, (None, 1.9)),
        ({"kind": "constant_rate", "rate_per_s": 2.0}, {"requested_per_s": 2.0}, (None, 2.0)),
        ({"kind": "burst"}, None, (None, None)),
    ],
)
def test_a_ladder_goes_up_in_clients_or_in_requests_sent_per_second(arrivals, rate, loads):
    found = point(arrivals, rate=rate)
    assert (offered(found, "concurrency"), offered(found, "rate")) == loads


def test_a_server_that_does_not_keep_up_misses_limits_on_waiting_and_says_nothing_between_tokens():
    """Measured: 200 ms at 4 clients, and full at 16 with a first token that would still be within the limit."""
    rows = [row(4, both(200.0, 10.0), both(200.0, 10.0)), row(16, both(400.0, 12.0), both(400.0, 12.0), full=(1, 0))]
    found = capacity_answers(asked("ttft_mean<=500ms", "tpot_mean<=20ms"), rows, [Loops(4, 16)])
    assert [(each.measured, each.predicted) for each in found.capacities] == [(4.0, float("inf"))]
    told = {(each.row.load_point, each.about): (each.measured, each.predicted) for each in found.verdicts}
    assert told == {
        ("c4", "ttft_mean<=500ms"): (True, True),
        ("c16", "ttft_mean<=500ms"): (False, True),
        ("c4", "tpot_mean<=20ms"): (True, True),
    }


def test_a_simulated_server_that_does_not_keep_up_says_not_met_at_both_ends_of_its_range():
    ends = (0.5, 2.0)
    rows = [
        row(4, both(200.0, 10.0), both(200.0, 10.0), factors=ends),
        row(16, both(400.0, 12.0), both(400.0, 12.0), full=(False, True)),
    ]
    found = capacity_answers(asked("ttft_mean<=300ms"), rows, [Loops(4, 16)])
    (capacity,) = found.capacities
    assert (capacity.predicted, capacity.pessimistic, capacity.optimistic) == (4.0, 0.0, 4.0)
    assert [each.by_upper_end for each in found.verdicts] == [False, False]


def test_an_arm_without_intervals_has_no_range_where_it_is_full_either():
    rows = [row(4, both(200.0, 10.0), both(200.0, 10.0)), row(16, both(400.0, 12.0), {}, full=(False, True))]
    found = capacity_answers(asked("ttft_mean<=300ms"), rows, [Loops(4, 16)])
    assert all(each.by_upper_end is None for each in found.verdicts)


def test_arms_are_ladders_of_their_own_and_the_order_of_rows_changes_nothing():
    rows = [
        row(clients, both(100.0 * clients, clients), both(50.0 * clients, clients / factor), arm=arm)
        for arm, factor in (("a", 1.0), ("b", 2.0))
        for clients in (4, 16, 64)
    ]
    question, servers = asked("tpot_mean<=20ms", "ttft_mean<=1s"), [Loops(4, 16, 64)]
    expected = capacity_answers(question, rows, servers)
    assert {(each.row.arm, each.about): each.predicted for each in expected.capacities} == {
        ("a", "tpot_mean<=20ms"): pytest.approx(20.0),
        ("b", "tpot_mean<=20ms"): pytest.approx(40.0),
        ("a", "ttft_mean<=1000ms"): pytest.approx(20.0),
        ("b", "ttft_mean<=1000ms"): pytest.approx(20.0),
    }
    for seed in range(5):
        shuffled = random.Random(seed).sample(rows, len(rows))
        found = capacity_answers(question, shuffled, servers)
        assert list(capacity_numbers("m", ["a", "b"], found, "concurrency")) == list(
            capacity_numbers("m", ["a", "b"], expected, "concurrency")
        )


def test_limits_are_read_with_their_units_and_all_that_is_wrong_is_told():
    with pytest.raises(ConfigError) as told:
        asked("ttft<=500ms", "tpot_mean<=20", "e2e_p99<=1s", "e2e_p99<=1s")
    for part in ("ttft_mean, ttft_p50", "20 of what? give the unit", "one is given twice"):
        assert part in str(told.value)


@pytest.mark.parametrize(
    "changes", [{"close_factor": 1.0}, {"wrong_met_weight": 0.5}, {"knee": {"latency": "tpot_mean", "factor": 1}}]
)
def test_factors_are_above_one_and_a_wrong_met_never_counts_less(changes):
    with pytest.raises(ConfigError):
        asked("ttft_mean<=1s", **changes)


@pytest.fixture
def answers():
    """Answers of two arms on one server: one is right, the other twice too fast, with ends a factor of two off."""
    rows = [
        row(
            clients,
            {"tpot_mean": ms},
            {"tpot_mean": ms / wrong},
            arm=arm,
            factors=(0.5, 2.0) if arm == "right" else None,
        )
        for arm, wrong in (("wrong", 2.0), ("right", 1.0))
        for clients, ms in ((4, 10.0), (16, 20.0), (64, 40.0))
    ]
    return capacity_answers(asked("tpot_mean<=15ms", "tpot_mean<=80ms"), rows, [Loops(4, 16, 64)])


def test_tables_count_wrong_answers_and_say_how_many_ladders_a_limit_divides(answers):
    """15 ms is crossed at 9 clients and, twice too fast, at 36: +300 %; at 16 clients it promises wrongly."""
    scores, arms = Scores([], answers.judgements), ["wrong", "right"]
    assert "| Mean error of the capacity | 300.0 % (n=1) | 0.0 % (n=1) |" in answers_table(scores, arms)
    assert "| wrong | prediction | 6 | 1 | 0 |" in counts_table(scores, arms)
    assert "| right | upper end | 6 | 0 | 1 |" in counts_table(scores, arms)
    limits = limits_table(answers, scores, arms)
    assert "| `tpot_mean<=15ms` | 1 of 1 | 300.0 % (n=1) | 66.7 % (n=3) | 1 / 0 | 0.0 % (n=1) |" in limits
    assert "| `tpot_mean<=80ms` | 0 of 1 | – |" in limits


def test_groups_are_those_of_the_rows_of_a_page(answers):
    place = answers.verdicts[0].row
    told = groups_table(Scores([place], answers.judgements), ["right"], "GPU", "hardware")
    assert "| h100-sxm | 0.0 % (n=1) | 0.0 % (n=1) | 100.0 % (n=6) | 0.0 % (n=6) |" in told


def test_numbers_hold_means_by_limit_and_every_capacity_that_was_measured(answers):
    numbers = {
        (each.arm, each.scope, each.key, each.load_point, each.metric, each.statistic): (each.value, each.unit)
        for each in capacity_numbers("m", ["wrong", "right"], answers, "rate")
    }
    at = ("wrong", Scope.LIMIT, "tpot_mean<=15ms", "all", Quantity.CAPACITY_ERROR, Statistic.MEAN)
    assert numbers[at] == (pytest.approx(300.0), "pct")
    ladder = ("wrong", Scope.EXPERIMENT, "server", "tpot_mean<=15ms", LoadFigure.CAPACITY)
    assert numbers[*ladder, Statistic.MEASURED] == (pytest.approx(9.0), "per_s")
    assert numbers[*ladder, Statistic.PREDICTED] == (pytest.approx(36.0), "per_s")
    assert (*ladder[:3], "tpot_mean<=80ms", LoadFigure.CAPACITY, Statistic.MEASURED) not in numbers


def test_the_figure_has_a_panel_for_each_arm_with_its_unit(answers):
    drawn = capacity_figure(answers, ["wrong", "right"], "concurrency")
    assert drawn.count("predicted capacity [requests in flight]") == 2
