"""Experiments are dealt into folds: each judges once, with values that it had no part in choosing."""

from __future__ import annotations

import json

import pytest

from roofline_lab.hypotheses.sweep import ALL, CrossValidation, Fold, Search, Sweep
from roofline_lab.predict.arms import Simulation, row_lines, run_lines, run_of, simulated
from roofline_lab.predict.sweeps import chosen_values, folds_of, searches
from roofline_lab.report import searches as search_tables
from roofline_lab.report.results import build_report
from roofline_lab.report.values import values_of
from roofline_lab.scoring.scores import Scores
from simulator.errors import ConfigError
from simulator.validation import parse
from tests.roofline_lab.builders import error_row

BY_PHASE = "h36_overhead_by_phase"
FILE = f"hypotheses/{BY_PHASE}/hypothesis.yaml"
SHAPES_FILE = "hypotheses/h35_overhead_shapes/hypothesis.yaml"
METHOD = "corrected"


def dealt(folds, **keys):
    return parse(CrossValidation, {"folds": folds, **keys}, source="test")


# --- dealing --------------------------------------------------------------------------------------


def test_whole_families_are_dealt_in_the_order_of_the_set(lab):
    experiments = lab.experiments(BY_PHASE)
    folds = dealt(2).folds(experiments)
    families = {one.id: one.family for one in experiments}
    held_out = [sorted({families[name] for name in fold.run}) for fold in folds]
    assert held_out == [["Llama2-70B", "Llama2-7B", "Qwen2.5-7B"], ["CodeLlama-34B", "Qwen3-14B"], []]


def test_single_experiments_are_dealt_where_a_reason_is_given(lab):
    folds = dealt(4, shared_families="Too few families.").folds(lab.experiments(BY_PHASE))
    assert [(len(fold.chose), len(fold.run)) for fold in folds] == [(9, 4), (10, 3), (10, 3), (10, 3), (13, 0)]


@pytest.mark.parametrize("keys", [{}, {"shared_families": "Too few."}])
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_experiment_judges_once_and_never_what_it_chose(lab, folds, keys):
    experiments = lab.experiments(BY_PHASE)
    found = dealt(folds, **keys).folds(experiments)
    assert sorted(name for fold in found for name in fold.run) == sorted(one.id for one in experiments)
    assert all(sorted((*fold.chose, *fold.run)) == sorted(one.id for one in experiments) for fold in found)
    assert found[-1].name == ALL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": 6}, "cross_validation.folds: 6 folds of 5 model families; use at most 5, or say in shared_families"),
        ({"folds": 14, "shared_families": "Why."}, "14 folds of 13 experiments; use at most 13"),
        ({"folds": 1}, "cross_validation.folds"),
        ({"fold": 3}, "cross_validation.fold: unknown key"),
    ],
)
def test_folds_that_cannot_be_dealt_are_refused(project, change, message):
    assert message in project.refusal(lambda spec: spec["cross_validation"].update(change), FILE)


def test_folds_of_nothing_that_is_chosen_are_refused(project):
    message = project.refusal(lambda spec: spec.pop("sweeps"), FILE)
    assert "cross_validation: no value is chosen; add a sweep, or drop it" in message


def test_a_split_and_folds_together_are_refused(project):
    split = {"train": ["dec17-tp1-qwen7-summarization"], "test": ["jan30-llama2-7b-tp1-chatsweep"]}
    message = project.refusal(lambda spec: spec.update(split=split), FILE)
    assert "cross_validation: a split divides the experiments already; give one of both" in message


def test_an_option_that_two_searches_would_set_is_refused(project):
    message = project.refusal(lambda spec: spec["sweeps"].append(spec["sweeps"][0]), FILE)
    assert "sweeps: 'overhead.us' of arm 'together' is searched twice; leave one" in message


def test_a_search_whose_values_nobody_judges_is_refused(project):
    message = project.refusal(lambda spec: spec.pop("cross_validation"), SHAPES_FILE)
    assert "add a split or cross_validation" in message


# --- choosing -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tried(lab):
    """Return rows of every search at two of its values, for every experiment."""
    simulations = [
        Simulation(BY_PHASE, METHOD, sweep.arm, experiment.id, ((sweep.option, value),))
        for sweep in lab.hypotheses[BY_PHASE].all_sweeps
        for experiment in lab.experiments(BY_PHASE)
        for value in sweep.values()[2:5:2]
    ]
    lines = [row_lines(one, simulated(lab, one), "digest") for one in simulations]
    return [json.loads(line) for text in lines for line in text.splitlines()]


def test_what_a_fold_measures_has_no_part_in_the_values_it_is_judged_with(lab, tried):
    fold = folds_of(lab, BY_PHASE)[0]

    def made_perfect(row):
        perfect = {name: {**figure, "predicted": figure["measured"]} for name, figure in row["metrics"].items()}
        return {**row, "metrics": perfect} if row["experiment"] in fold.run else row

    def chosen(rows, name):
        return [one.chosen for one in searches(lab, BY_PHASE, METHOD, rows) if one.fold.name == name]

    # Whatever value the held-out rows would like best: their errors at the smaller value of each search are taken away.
    smaller = {(sweep.arm, sweep.option): sweep.values()[2] for sweep in lab.hypotheses[BY_PHASE].all_sweeps}
    changed = [
        made_perfect(row)
        if all(smaller[row["arm"], option] == value for option, value in row["swept_values"].items())
        else row
        for row in tried
    ]
    assert chosen(changed, fold.name) == chosen(tried, fold.name)
    assert chosen(changed, ALL) != chosen(tried, ALL)


def test_an_arm_takes_the_values_of_all_its_searches_by_fold(lab, tried):
    found = searches(lab, BY_PHASE, METHOD, tried)
    for experiment, values in chosen_values(lab, BY_PHASE, METHOD, "apart", tried).items():
        mine = {
            one.sweep.option: one.chosen for one in found if one.sweep.arm == "apart" and experiment in one.fold.run
        }
        assert dict(values) == mine
        run = run_of(lab, Simulation(BY_PHASE, METHOD, "apart", experiment, values))
        assert {option: run.arm.configuration[option] for option in mine} == mine
        assert len(mine) == 2


def test_the_report_judges_every_experiment_and_shows_what_was_chosen(lab, tried):
    rows = []
    for run in lab.runs(BY_PHASE):
        values = chosen_values(lab, BY_PHASE, METHOD, run.arm.name, tried).get(run.experiment.id, ())
        wanted = Simulation(BY_PHASE, METHOD, run.arm.name, run.experiment.id, values)
        rows += [json.loads(line) for line in run_lines(lab, run_of(lab, wanted)).splitlines()]
    built = build_report(lab, BY_PHASE, rows, None, tried)
    report, values = built.headline, values_of(built)
    assert {row.holdout for row in report.judging.rows} == {f"fold {number}" for number in range(1, 6)}
    assert len({row.experiment for row in report.judging.rows}) == 13
    apart = next(arm for arm in report.arms if arm.name == "apart")
    assert values.chosen(METHOD, "apart", option="overhead.prefill_us") == apart.configuration["overhead.prefill_us"]
    assert values.fitted(METHOD, "apart", "fold 1", "overhead.prefill_us") == min(report.searches[12].errors.values())
    with pytest.raises(ConfigError, match="2 searches are meant; there are: apart overhead"):
        values.chosen(METHOD, "apart")
    assert "| apart | `overhead.prefill_us` | TTFT |" in search_tables.cross_validation(report.searches, report.scores)


def test_the_page_shows_the_error_where_a_value_was_chosen_beside_the_one_held_out():
    sweep = Sweep(arm="treatment", option="overhead.us", start=0, stop=10, step=5, select={"metric": "tpot_mean"})
    folds = [Fold("fold 1", ("b",), ("a",)), Fold("fold 2", ("a",), ("b",)), Fold(ALL, ("a", "b"), ())]
    errors = [{0.0: 9.0, 5.0: 2.0}, {5.0: 9.0, 10.0: 4.0}, {5.0: 6.0, 10.0: 7.0}]
    found = [Search(sweep, e, min(e, key=e.get), fold) for e, fold in zip(errors, folds, strict=True)]
    scores = Scores([error_row("treatment", "a", 30.0, family="A"), error_row("treatment", "b", -10.0, family="B")])
    short, long = search_tables.cross_validation(found, scores), search_tables.folds(found, scores)
    assert "| treatment | `overhead.us` | TPOT | 5 to 10 | 3.0 % | 20.0 % | 5 |" in short
    assert "**The chosen value is the end of its range** (treatment (overhead.us), fold 2: 10" in short
    assert "| treatment | `overhead.us` | fold 1 | A | 1 | 5 | TPOT | 2.0 % | 30.0 % |" in long
