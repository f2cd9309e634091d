"""A parameter is searched on some experiments and judged on others; nothing else can be reported."""

from __future__ import annotations

import json

import pytest

from roofline_lab.hypotheses.sweep import COARSE, FINE, Search, Split, Sweep, curve, located, optimum
from roofline_lab.predict.arms import VALUES, Simulation, row_lines, run_lines, run_of, simulated
from roofline_lab.predict.sweeps import choosing_experiments, chosen_values, searches, stage_simulations
from roofline_lab.report import searches as search_tables
from roofline_lab.report.results import build_report
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import Metric, Scope
from simulator.errors import ConfigError, InvariantError
from simulator.validation import parse
from tests.roofline_lab.builders import error_row

GRID = "hg1_overhead_grid"
FILE = f"hypotheses/{GRID}/hypothesis.yaml"
TPOT = Metric.TPOT_MEAN


def sweep(**changes):
    keys = {
        "arm": "optimum",
        "option": "overhead.us",
        "start": 0,
        "stop": 100,
        "step": 25,
        "select": {"metric": "tpot_mean", "side": "train"},
        **changes,
    }
    return parse(Sweep, keys, source="test")


# --- values -------------------------------------------------------------------------------------


def test_a_range_holds_both_ends_and_no_rounding_dust():
    assert sweep().values() == (0, 25, 50, 75, 100)
    assert sweep(start=0.1, stop=0.3, step=0.1).values() == (0.1, 0.2, 0.3)
    assert sweep(stop=99).values() == (0, 25, 50, 75)
    assert sweep(stop=0).values() == (0,)


def test_the_finer_range_lies_around_the_optimum_inside_the_first_and_repeats_nothing():
    fine = sweep(then={"around_optimum": 25, "step": 5})
    assert fine.finer_values(50) == (30, 35, 40, 45, 55, 60, 65, 70)
    assert fine.finer_values(0) == (5, 10, 15, 20)
    assert fine.stages == (COARSE, FINE)
    assert sweep().finer_values(50) == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop": -1}, "no values from 0 to -1"),
        ({"step": 0}, "step"),
        ({"step": 0.01}, "at most 1000"),
        ({"select": {"metric": "tpot_mean", "side": "test"}}, "select.side"),
        ({"start": float("nan")}, "start"),
    ],
)
def test_a_sweep_without_values_or_with_too_many_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        sweep(**changes)


def test_the_swept_option_is_set_where_it_is_and_nothing_else_changes():
    arm = {"overhead": {"kind": "fixed", "us": 0}, "lm_head": True}
    assert sweep().overlay(arm, 7.0) == {"overhead": {"kind": "fixed", "us": 7.0}, "lm_head": True}
    assert arm["overhead"]["us"] == 0


# --- choosing -----------------------------------------------------------------------------------


def test_the_value_with_the_lowest_mean_error_is_chosen_and_of_equals_the_smallest():
    rows = [
        (v, error_row(experiment=e, error_pct=p, holdout="train"))
        for v, e, p in [(5, "a", 9), (5, "b", 3), (9, "a", 6), (9, "b", 6), (1, "a", 8), (1, "b", 8)]
    ]
    errors = curve(rows, TPOT, ("a", "b"))
    assert errors == pytest.approx({1: 8, 5: 6, 9: 6})
    assert optimum({5: 6.0, 9: 6.0, 1: 8.0}) == 5


def test_an_experiment_that_judges_can_never_choose():
    with pytest.raises(InvariantError, match="b does not choose"):
        curve([(1.0, error_row(experiment="b"))], TPOT, ("a",))


# --- the edge -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("chosen", "at_edge"), [(0.0, True), (25.0, False), (98.0, False), (100.0, True)])
def test_a_chosen_value_at_the_end_of_its_range_is_flagged_beside_the_search(chosen, at_edge):
    found = Search(sweep(then={"around_optimum": 25, "step": 1}), {0.0: 9.0, 50.0: 5.0, chosen: 3.0}, chosen)
    assert found.is_at_edge is at_edge
    flag = f"**The chosen value is the end of its range** ({chosen:g}, searched from 0 to 100)"
    assert (flag in search_tables.sweep(found)) is at_edge


# --- how far it moves ---------------------------------------------------------------------------


def located_over(families):
    """Search where each family is best at another of the values 0, 25 and 50, in turn."""
    rows = [
        (value, error_row(experiment=name, family=name, error_pct=abs(value - 25.0 * (place % 3))))
        for place, name in enumerate(families)
        for value in (0.0, 25.0, 50.0)
    ]
    errors = curve(rows, TPOT, families)
    where = located(rows, TPOT, families, Uncertainty(400, 95.0, 1))
    return Search(sweep(stop=50), errors, optimum(errors), located=where)


def test_a_chosen_value_stands_beside_its_interval_over_model_families():
    found = located_over("abcdef")
    assert found.interval_text == "95 % interval over model families: 0 to 50"
    assert found.interval_text in search_tables.sweep(found)


def test_a_value_chosen_by_few_families_has_no_interval_and_says_why():
    assert located_over("abc").interval_text == "no interval: 3 model families, and an interval needs 4"


def test_an_experiment_without_an_error_at_some_value_moves_nothing():
    whole = [(v, error_row(experiment=e, family=e, error_pct=v)) for e in "abcd" for v in (1.0, 2.0)]
    part = [(2.0, error_row(experiment="e", family="e", error_pct=0.0))]
    settings = Uncertainty(400, 95.0, 1)
    assert located([*whole, *part], TPOT, "abcde", settings) == located(whole, TPOT, "abcde", settings)


# --- the guard ----------------------------------------------------------------------------------


def test_a_criterion_on_the_swept_arm_must_ask_for_the_test_side(project):
    message = project.refusal(lambda spec: spec["criteria"][1].pop("side"), FILE)
    assert "criteria.test_below_20" in message
    assert "chosen on the train experiments, so its error there is no result; add `side: test`" in message


def test_the_train_error_of_a_swept_arm_cannot_be_asked_for_either(project):
    assert "no result" in project.refusal(lambda spec: spec["criteria"][1].update(side="train"), FILE)


def test_a_sweep_needs_a_split(project):
    def drop(spec):
        spec.pop("split")

    message = project.refusal(drop, FILE)
    assert "add a split" in message


def test_a_family_on_both_sides_needs_a_reason(project):
    message = project.refusal(lambda spec: spec["split"].pop("shared_families"), FILE)
    assert "Llama2-70B, Llama2-7B are on both sides" in message
    assert "shared_families" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda split: split["test"].append(split["train"][0]), "is on both sides; an experiment can only"),
        (lambda split: split["train"].pop(), "'dec17-tp1-qwen7-summarization' is on neither side"),
        (lambda split: split["test"].append("nobody"), "split.test: unknown experiment 'nobody'"),
        (lambda split: split.update(test=[]), "split.test"),
    ],
)
def test_a_split_that_does_not_divide_the_experiments_is_refused(project, change, message):
    assert message in project.refusal(lambda spec: change(spec["split"]), FILE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": "nobody"}, "sweep.arm: unknown arm 'nobody'"),
        ({"arm": "baseline"}, "the reference of every difference"),
        ({"option": "overhead.uss"}, "uss"),
        ({"start": -50}, "us"),
    ],
)
def test_a_sweep_of_an_arm_or_option_that_is_not_there_is_refused(project, change, message):
    assert message in project.refusal(lambda spec: spec["sweep"].update(change), FILE)


# --- carried out --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swept(lab):
    """Return the rows of both stages under the corrected method."""
    found = []
    for stage in (COARSE, FINE):
        found = found + rows_of(lab, stage_simulations(lab, GRID, "corrected", stage, found))
    return found


def rows_of(lab, simulations):
    """Return the rows of some simulations, as a file would hold them."""
    lines = [row_lines(one, simulated(lab, one), "digest") for one in simulations]
    return [json.loads(line) for text in lines for line in text.splitlines()]


def chosen_run(lab, run, rows):
    """Return a run of a swept arm with the value the rows choose."""
    values = chosen_values(lab, run.hypothesis, run.method.id, run.arm.name, rows).get(run.experiment.id, ())
    return run_of(lab, Simulation(run.hypothesis, run.method.id, run.arm.name, run.experiment.id, values))


def test_only_train_experiments_are_simulated_at_every_value(lab, swept):
    split = lab.hypotheses[GRID].split
    assert {row["experiment"] for row in swept} == set(split.train)
    assert len(swept) == 9 * (21 + 8)


def test_the_chosen_value_is_the_lowest_point_of_the_curve_and_inside_the_grid(lab, swept):
    (found,) = searches(lab, GRID, "corrected", swept)
    assert found.errors[found.chosen] == min(found.errors.values())
    assert 0 < found.chosen < 500
    run = lab.run(GRID, "corrected", "optimum", "jan30-llama2-7b-tp2-chatsweep")
    chosen = chosen_run(lab, run, swept)
    assert chosen.arm.configuration["overhead.us"] == found.chosen
    assert chosen.digest != run.digest


def test_every_aggregate_is_over_the_test_experiments_alone(lab, swept):
    rows = []
    for run in lab.runs(GRID):
        if run.method.id == "corrected":
            carried = chosen_run(lab, run, swept)
            rows += [json.loads(line) for line in run_lines(lab, carried).splitlines()]
    report = build_report(lab, GRID, rows, None, swept).headline
    split = lab.hypotheses[GRID].split
    assert {row.experiment for row in report.judging.rows} == set(split.test)
    numbers = {
        (n.scope, n.key): n.value
        for n in build_report(lab, GRID, rows, None, swept).numbers
        if (n.arm, n.metric, n.statistic.value) == ("optimum", TPOT, "mape")
    }
    assert numbers[Scope.OVERALL, "all"] == numbers[Scope.SPLIT, "test"] != numbers[Scope.SPLIT, "train"]
    assert "summarization" not in {key for scope, key in numbers if scope is Scope.WORKLOAD}
    assert "**85**" in search_tables.sweep(report.searches[0])


def test_a_value_and_its_rows_are_recorded_together(swept):
    assert all(isinstance(row[VALUES]["overhead.us"], float) for row in swept)


def test_a_split_knows_the_side_of_an_experiment_and_of_no_other():
    split = parse(Split, {"train": ["a"], "test": ["b"]}, source="test")
    assert [split.side_of(name) for name in ("a", "b", "c")] == ["train", "test", ""]


# --- arms that follow ---------------------------------------------------------------------------


FOLLOWED = "h19_overhead_not_over_tp"
FOLLOWED_FILE = f"hypotheses/{FOLLOWED}/hypothesis.yaml"


def test_arms_that_follow_take_the_value_the_swept_arm_chose(lab):
    arm, values = lab.hypotheses[FOLLOWED].sweep.arm, (0.0, 60.0, 150.0)
    trained = choosing_experiments(lab, FOLLOWED)
    tried = [Simulation(FOLLOWED, "corrected", arm, name, (("overhead.us", us),)) for name in trained for us in values]
    rows = rows_of(lab, tried)
    for arm in lab.hypotheses[FOLLOWED].sweep.arms:
        run = lab.run(FOLLOWED, "corrected", arm, "jan30-llama2-7b-tp4-chatsweep")
        chosen = chosen_run(lab, run, rows)
        assert chosen.arm.name == arm
        assert chosen.arm.configuration["overhead.us"] == 60.0
        assert chosen.arm.configuration["overhead.kind"] == run.arm.configuration["overhead.kind"]
        assert chosen.digest != run.digest


def test_the_rules_that_follow_one_search_cannot_be_told_apart_where_it_is_made(lab):
    """What makes the search fair: on one GPU dividing by TP changes nothing."""
    experiments = {experiment.id: experiment for experiment in lab.experiments(FOLLOWED)}
    assert {experiments[one].tensor_parallel for one in lab.hypotheses[FOLLOWED].split.train} == {1}


@pytest.mark.parametrize(
    ("followed_by", "message"),
    [
        (["nobody"], "sweep.followed_by: unknown arm 'nobody'"),
        (["none"], "sweep.followed_by: 'none' is the first arm, the reference of every difference"),
    ],
)
def test_an_arm_that_cannot_follow_is_refused(project, followed_by, message):
    assert message in project.refusal(lambda spec: spec["sweep"].update(followed_by=followed_by), FOLLOWED_FILE)


def test_an_arm_that_follows_is_judged_on_the_test_side_only(project):
    message = project.refusal(lambda spec: spec["criteria"][4].pop("side"), FOLLOWED_FILE)
    assert "criteria.divided_is_too_fast: the value of arm 'over_tp' is chosen on the train experiments" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"stop": 1e12},
        {"step": 1e-50},
        {"stop": 1e50, "step": 1e-50},
        {"then": {"around_optimum": 10.0, "step": 1e-9}},
        {"then": {"around_optimum": 1e50, "step": 1e-50}},
    ],
    ids=range(5),
)
def test_a_range_of_any_size_is_refused_at_once(changes):
    given = {"arm": "a", "option": "o", "start": 0.0, "stop": 1.0, "step": 0.1}
    with pytest.raises(ConfigError, match="values; at most 1000, use a larger step"):
        parse(Sweep, given | {"select": {"metric": "ttft_mean", "side": "train"}} | changes, source="f.yaml")
