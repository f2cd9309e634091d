"""Arms of ours with steps that go by a name: the same predictions as an evaluation, and who was fitted to what."""

from __future__ import annotations

import pytest

from roofline_lab.predict.arms import Simulation, target_of
from roofline_lab.predict.choose import load_predictor
from roofline_lab.predict.named import files_behind, fitted_in_words, holdout_of, simulated
from roofline_lab.predict.predictors import Holdout
from roofline_lab.run_files import error_rows
from roofline_lab.vocabulary import Metric, RowStatus
from simulator.errors import ConfigError
from tests.roofline_lab.builders import edit_yaml
from tests.roofline_lab.simulators.samples import (
    EXPERIMENTS,
    HYPOTHESIS,
    describe,
    hypothesis,
    keep_experiments,
    write_hypothesis,
)

NAMES = ("h100_vllm", "vllm_fleet", "roofline", "v2", "v1", "data_sheet")
LOOP = "llama-3.3-70b-fp8-h200-tp4-1k-1k-20251029"


@pytest.fixture
def named(bench):
    """Return a function that loads a project with an arm for every name, on some experiments."""

    def load(*experiments, arms=NAMES, described=None):
        keep_experiments(bench.root, experiments or EXPERIMENTS[:1])
        if described is not None:
            describe(bench.root, "mine")
            edit_yaml(bench.root / "configs/simulators/mine.yaml", lambda content: content.update(described))
        steps = {name: {"simulator": {"kind": "steptime", "name": name}} for name in arms}
        others = {} if described is None else {"mine": {"simulator": "mine"}}
        write_hypothesis(bench.root, hypothesis(steps | others, method="as_measured"))
        return bench.load()

    load.root = bench.root
    return load


def rows(project, arm, experiment=EXPERIMENTS[0]):
    return simulated(project, Simulation(HYPOTHESIS, "as_measured", arm, experiment))


def run(project, arm, experiment=EXPERIMENTS[0]):
    return project.run(HYPOTHESIS, "as_measured", arm, experiment)


@pytest.mark.parametrize("name", NAMES)
def test_an_arm_predicts_what_an_evaluation_with_the_same_name_does(named, name):
    project = named()
    (row,) = rows(project, name)
    experiment = run(project, name).experiment
    target = (experiment, project.model(experiment.model), project.hardware(experiment.hardware))
    expected = load_predictor(project.root, name).predictor.predict(
        target_of(project, experiment, experiment.load_points[0])
    )
    assert row["metrics"]["ttft_mean"]["predicted"] == expected.value("ttft_mean") > 0
    assert row["metrics"]["tpot_mean"]["predicted"] == expected.value("itl_ratio_of_means")
    assert row["simulator"] == name
    assert load_predictor(project.root, name).predictor.notes(*target) is not None


@pytest.mark.parametrize("name", ["h100_vllm", "vllm_fleet"])
def test_an_arm_takes_the_model_as_its_server_kept_it(named, name):
    """A KV cache of one byte per value was read at two, which made steps of long contexts slow."""
    project = named(LOOP, arms=[name])
    experiment = run(project, name, LOOP).experiment
    assert project.model(experiment.model) != target_of(project, experiment, experiment.load_points[0]).model
    predictor = load_predictor(project.root, name).predictor
    expected = [predictor.predict(target_of(project, experiment, point)) for point in experiment.load_points]
    found = [row["metrics"]["ttft_mean"]["predicted"] for row in rows(project, name, LOOP)]
    assert found == [prediction.value("ttft_mean") for prediction in expected]


def test_a_server_is_never_faster_than_its_data_sheet(named):
    project = named()
    least = rows(project, "data_sheet")[0]["metrics"]["tpot_mean"]["predicted"]
    assert all(
        rows(project, name)[0]["metrics"]["tpot_mean"]["predicted"] > least for name in NAMES if name != "data_sheet"
    )


def test_what_a_model_cannot_describe_is_a_row_with_the_measurement_beside_it(named):
    project = named(LOOP)
    found = list(error_rows(rows(project, "v1", LOOP), [Metric.TTFT_MEAN]))
    assert {row.status for row in found} == {RowStatus.UNSUPPORTED}
    assert all("nobody calibrated its 17 parameters for h200-sxm" in row.reason for row in found)
    assert all(row.measured and row.asked and row.strategy == "closed_loop" for row in found)


def test_everybody_says_what_is_no_test_of_them(named):
    project = named(EXPERIMENTS[0], LOOP, described={"fitted_to": {"said": "two runs", "sets": ["synchronous_13"]}})
    synchronous = {arm: holdout_of(project, run(project, arm), Metric.TPOT_MEAN) for arm in (*NAMES, "mine")}
    assert synchronous == {
        "h100_vllm": Holdout.HELD_OUT,
        "vllm_fleet": Holdout.NEVER_SEEN,
        "roofline": Holdout.IN_SAMPLE,
        "v2": Holdout.IN_SAMPLE,
        "v1": Holdout.NO_RECORD,
        "data_sheet": Holdout.NEVER_SEEN,
        "mine": Holdout.IN_SAMPLE,
    }
    assert holdout_of(project, run(project, "vllm_fleet", LOOP), Metric.TPOT_MEAN) is Holdout.HELD_OUT
    assert fitted_in_words(project, run(project, "mine")) == "two runs"
    assert fitted_in_words(project, run(project, "v1")) == "nobody states what it was tuned to"
    assert "constants of the fit without it" in fitted_in_words(project, run(project, "h100_vllm"))


def test_who_states_nothing_has_no_record(named):
    project = named(described={})
    assert holdout_of(project, run(project, "mine"), Metric.TPOT_MEAN) is Holdout.NO_RECORD


def test_a_set_nobody_knows_is_refused(named):
    project = named(described={"fitted_to": {"said": "x", "sets": ["synchronos_13"]}})
    with pytest.raises(ConfigError, match="unknown set 'synchronos_13'; did you mean 'synchronous_13'"):
        holdout_of(project, run(project, "mine"), Metric.TPOT_MEAN)


def test_a_name_nobody_has_is_refused_before_anything_runs(named):
    with pytest.raises(
        ConfigError, match="unknown calibration or step-time model 'vllm_flet'; did you mean 'vllm_fleet'"
    ):
        named(arms=("vllm_flet",))


def test_the_rows_of_a_calibration_rest_on_its_file_and_those_of_a_model_on_what_is_documented(named):
    project = named()
    calibration = [path.name for path in files_behind(project, run(project, "vllm_fleet"))]
    assert calibration == ["vllm_fleet.yaml", "vllm_fleet.held_out.csv", "h100-sxm.yaml"]
    assert [path.name for path in files_behind(project, run(project, "roofline"))] == ["h100-sxm.yaml"]


def test_rows_of_a_calibration_hold_its_intervals_and_others_have_none(named):
    """The interval is the one an evaluation gives, of a cell that was left out of the fit."""
    project = named(LOOP, arms=("vllm_fleet", "roofline"))
    for row in rows(project, "vllm_fleet", LOOP):
        figures, intervals = row["load"]["figures"], row["load"]["intervals"]
        assert set(intervals) == {"ttft_mean", "tpot_mean"}
        for name, (low, high) in intervals.items():
            assert low < figures[name]["predicted"] < high
    assert all(row["load"]["intervals"] == {} for row in rows(project, "roofline", LOOP))
