"""Load points are replayed as measured, scored by stage, and a saturated one by its throughput alone."""

from __future__ import annotations

import json

import pytest

from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.hypotheses.spec import Hypothesis
from roofline_lab.hypotheses.where import Where
from roofline_lab.predict.arms import run_lines, setup_of
from roofline_lab.project import engine_options, load_project
from roofline_lab.report.design import seeds_in_words
from roofline_lab.report.load import (
    compared,
    conditions,
    load_sections,
    means_three_ways,
    overloads,
    saturation,
    statistics,
    strategy_gains,
    unavailable,
)
from roofline_lab.report.results import build_report, load_numbers
from roofline_lab.run_files import SATURATED, error_rows
from roofline_lab.scoring.distances import kolmogorov_smirnov, quantile_difference
from roofline_lab.scoring.scores import Scores
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.scoring.under_load import strategy_of
from roofline_lab.vocabulary import LoadFigure, Metric, RowStatus
from simulator.engine.options import EngineOptions
from simulator.errors import ConfigError
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.observers import BranchObserver
from simulator.validation import parse, read_yaml
from tests.roofline_lab.builders import ROOT, error_row

HYPOTHESIS = "h7b_mixed_max_end_to_end"
SWEEP = "jan21-llama7b-train-1"
STAGES = "20260217-155451-llama-2-7b-tp1-codegen"
# The overhead per layer and the longer phase, by two names.
SAME = ((HYPOTHESIS, "longer"), ("hg1_overhead_grid", "per_layer_100"))
UNCERTAINTY = Uncertainty(resamples=500, level_pct=95.0, seed=3)
METRICS = (Metric.TTFT_MEAN, Metric.TPOT_MEAN, Metric.E2E_MEAN)


@pytest.fixture(scope="module")
def laboratory():
    return load_project(ROOT)


@pytest.fixture(scope="module")
def rows(laboratory):
    runs = [laboratory.run(HYPOTHESIS, "multi_rate", arm, SWEEP) for arm in ("weighted", "longer")]
    return [json.loads(line) for run in runs for line in run_lines(laboratory, run).splitlines()]


@pytest.fixture(scope="module")
def scores(rows):
    return Scores(error_rows(rows, METRICS))


class FixedTime:
    kv_breakpoints = ()

    def step_time_us(self, sums):
        return 7

    def explain(self, batch):
        return batch


def test_every_load_point_of_the_sweep_is_a_row_with_its_kind_and_rate(rows, laboratory):
    points = laboratory.run(HYPOTHESIS, "multi_rate", "longer", SWEEP).experiment.load_points
    longer = [row for row in rows if row["arm"] == "longer"]
    assert [row["load_point"] for row in longer] == [point.id for point in points]
    assert {row["load"]["strategy"] for row in longer} == {"synchronous", "constant", "throughput"}
    assert [row["requests"] for row in longer] == [point.requests.completed for point in points]


def test_irregular_arrivals_of_a_constant_load_point_stay_in_their_strategy(laboratory):
    experiment = laboratory.run(HYPOTHESIS, "multi_rate", "longer", SWEEP).experiment
    point = experiment.point("constant_0.538")
    assert point.strategy == "recorded"
    assert strategy_of(point) == "constant"


@pytest.mark.parametrize(
    ("arrivals", "strategy"),
    [
        ({"kind": "closed_loop", "concurrency": 8}, "closed_loop"),
        ({"kind": "closed_loop", "concurrency": 1}, "synchronous"),
        ({"kind": "poisson", "rate_per_s": 1.0}, "stage"),
    ],
)
def test_a_stage_that_waits_for_its_answers_is_a_closed_loop_whatever_its_name(arrivals, strategy):
    point = load_experiment(ROOT / "ground_truth" / STAGES).load_points[0]
    content = point.model_dump(mode="json") | {"arrivals": arrivals}
    assert strategy_of(LoadPoint.model_validate(content)) == strategy


def test_one_request_at_a_time_mixes_no_step_and_a_burst_mixes_some(rows):
    mixed = {row["load_point"]: row["counters"]["mixed_steps"] for row in rows if row["arm"] == "longer"}
    assert mixed["synchronous"] == 0
    assert mixed["throughput"] > 0


def test_branch_counts_add_up_to_the_mixed_steps(rows):
    for row in rows:
        assert sum(row["load"]["branches"].values()) == row["counters"]["mixed_steps"], row["load_point"]


def test_the_server_has_all_stated_limits(laboratory):
    run = laboratory.run(HYPOTHESIS, "multi_rate", "longer", SWEEP)
    stated = setup_of(laboratory, run).engine
    assert stated == EngineOptions(**run.experiment.server.engine_settings)
    assert stated.kv_blocks == run.experiment.server.known.kv_blocks
    assert engine_options(run.arm, run.experiment, "test").kv_blocks == EngineOptions().kv_blocks


def test_a_saturated_load_point_has_no_latency_error_but_a_throughput(rows, scores):
    found = [row for row in scores.rows if row.load_point == "throughput"]
    assert {row.status for row in found} == {RowStatus.SATURATED}
    assert {row.reason for row in found} == {SATURATED}
    assert not [row for row in scores.select("longer", Metric.E2E_MEAN) if row.load_point == "throughput"]
    table = saturation(rows, ["longer"])
    assert "| longer | yes" in table
    assert "%" in table.splitlines()[2]


def test_saturation_is_predicted_by_the_rule_that_judges_measurements(rows):
    for row in rows:
        saturated = row["load"]["saturated"]
        assert saturated["predicted"] == saturated["measured"], row["load_point"]


def test_every_measured_figure_is_there_with_a_prediction_or_a_reason(rows, laboratory):
    experiment = laboratory.run(HYPOTHESIS, "multi_rate", "longer", SWEEP).experiment
    for row in rows:
        figures = row["load"]["figures"]
        assert figures.keys() == experiment.point(row["load_point"]).measured.keys()
        for name, figure in figures.items():
            assert (figure["predicted"] is None) == bool(figure["reason"]), name


def test_percentiles_are_scored_where_they_were_measured(rows):
    table = statistics(compared(rows), ["weighted", "longer"])
    for statistic in ("mean", "p50", "p90", "p99"):
        assert f"| TTFT | {statistic} |" in table
    assert unavailable(compared(rows), "longer") == ""


def test_a_figure_that_was_not_measured_is_a_line_with_its_reason(rows):
    poorer = []
    for row in rows:
        figures = {name: figure for name, figure in row["load"]["figures"].items() if name != "e2e_p99"}
        poorer.append({**row, "load": {**row["load"], "figures": figures}})
    table = unavailable(compared(poorer), "longer")
    assert "not_measured" in table
    assert "the ground truth does not have it" in table
    assert "11 of 11" in table


def test_a_report_without_load_points_has_no_load_section():
    assert load_sections([{"arm": "a"}], Scores([error_row()]), ["a"], METRICS, UNCERTAINTY) == ""


def test_means_over_experiments_weigh_each_experiment_once():
    rows = [error_row("a", "one", 10.0, load_point=str(n), metric=Metric.E2E_MEAN) for n in range(9)]
    rows += [error_row("a", "two", 30.0, family="Large", metric=Metric.E2E_MEAN)]
    rows += [error_row("a", "three", 50.0, family="Large", metric=Metric.E2E_MEAN)]
    table = means_three_ways(Scores(rows), ["a"], [Metric.E2E_MEAN])
    points, experiments, families = (line.split("|")[2].strip() for line in table.splitlines()[2:])
    assert (points, experiments, families) == ("15.5 %", "30.0 %", "25.0 %")


def test_three_means_that_are_all_the_same_are_no_table():
    rows = [error_row("a", name, 10.0, metric=Metric.E2E_MEAN) for name in ("one", "two")]
    assert means_three_ways(Scores(rows), ["a"], [Metric.E2E_MEAN]) == ""


def overloading(rows, load_point, arm="longer"):
    """Return the rows as if one arm's simulated server had not kept up at one load point."""
    changed = []
    for row in rows:
        if (row["load_point"], row["arm"]) == (load_point, arm):
            saturated = {"measured": False, "predicted": True}
            row = {**row, "load": {**row["load"], "saturated": saturated}}
        changed.append(row)
    return changed


def test_a_load_point_one_arm_overloads_enters_the_latency_error_of_no_arm(rows):
    """Its latencies grow with the length of the run; leaving it out for one arm alone would favour that arm."""
    changed = overloading(rows, "constant_0.538")
    scored = {(row.arm, row.load_point) for row in error_rows(changed, METRICS) if row.is_scored}
    assert not {place for place in scored if place[1] == "constant_0.538"}
    assert ("weighted", "constant_0.407") in scored
    (reason,) = {row.reason for row in error_rows(changed, METRICS) if row.load_point == "constant_0.538"}
    assert "(longer)" in reason
    assert "constant_0.538" in overloads(changed)
    assert {row["load_point"] for row in compared(changed)} == {name for _, name in scored}
    assert overloads(rows) == ""


def test_percentiles_of_an_overloaded_load_point_are_no_numbers(rows):
    found = load_numbers(overloading(rows, "constant_0.538"))
    named = {(number.load_point, number.metric) for number in found}
    assert ("constant_0.407", LoadFigure.TTFT_P90) in named
    assert ("constant_0.538", LoadFigure.TTFT_P90) not in named
    assert ("constant_0.538", LoadFigure.REQUEST_THROUGHPUT) in named


def test_gains_by_strategy_have_an_interval_and_a_test_where_experiments_allow_one():
    rows = []
    for strategy, experiments in (("stage", ("one", "two", "three")), ("constant", ("sweep",))):
        for index, experiment in enumerate(experiments):
            place = {"experiment": experiment, "strategy": strategy, "family": experiment}
            rows += [error_row("a", error_pct=-40, **place), error_row("b", error_pct=-20 - index, **place)]
    lines = strategy_gains(Scores(rows), ["a", "b"], (Metric.TPOT_MEAN,), UNCERTAINTY).splitlines()[2:]
    constant, stage = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert constant == ["constant", "b", "TPOT", "1", "1", "1", "+20.0 pp", "–", "–"]
    assert stage[:7] == ["stage", "b", "TPOT", "3", "3", "3", "+19.0 pp"]
    assert stage[8] == "0.2500"


def test_the_table_of_conditions_has_one_line_per_load_point(rows):
    assert len(conditions(rows, "longer").splitlines()) == 2 + 12


def test_a_condition_narrows_rows_by_rate_and_strategy():
    slow = error_row(rate_per_s=3.9, strategy="stage")
    fast = error_row(rate_per_s=4.0, strategy="stage")
    alone = error_row(strategy="synchronous")
    assert [Where(at_least_per_s=4).matches(row) for row in (slow, fast, alone)] == [False, True, False]
    assert [Where(strategy=("stage",)).matches(row) for row in (slow, fast, alone)] == [True, True, False]
    assert str(Where(at_least_per_s=4)) == "4 requests per second or more"


def test_the_observer_counts_branches_and_changes_no_duration():
    observer = BranchObserver(FixedTime())
    batches = [
        Batch(prefill=((0, 500),), decode=(10,)),
        Batch(prefill=((0, 16),), decode=(10,) * 60),
        Batch(prefill=((0, 16),), decode=(10,) * 8),
        Batch(prefill=((0, 16),)),
        Batch(decode=(10,)),
    ]
    assert [observer.step_time_us(BatchSums.of(batch)) for batch in batches] == [7] * 5
    assert observer.mixed == {"prefill_dominates": 1, "decode_dominates": 1, "by_tokens": 1}
    assert observer.lone_decode_times_us([1, 2, 3]) == [7, 7, 7]


def test_equal_samples_have_no_distance_and_disjoint_ones_the_largest():
    assert kolmogorov_smirnov([1.0, 2.0, 3.0], [3.0, 1.0, 2.0]) == 0.0
    assert kolmogorov_smirnov([1.0, 2.0], [5.0, 6.0]) == 1.0
    assert kolmogorov_smirnov([1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0]) == 0.5


def test_a_sample_twice_as_long_differs_by_its_own_size_at_every_quantile():
    sample = [float(value) for value in range(1, 50)]
    assert quantile_difference([2 * value for value in sample], sample) == pytest.approx(1.0)
    assert quantile_difference(sample, sample) == 0.0


def beyond(**changes):
    path = ROOT / "hypotheses" / "hg1_overhead_grid" / "hypothesis.yaml"
    data = read_yaml(path)
    data["beyond"] = {**data["beyond"], **changes}
    return parse(Hypothesis, data, source="test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ["baseline", "per_layer_10"]}, "did you mean 'per_layer_100'"),
        ({"arms": ["baseline", "optimum"]}, "name arms whose options are fixed"),
        ({"method": "corrected"}, "further experiments need a method of their own"),
    ],
)
def test_experiments_beyond_are_refused_where_they_would_not_be_comparable(changes, message):
    with pytest.raises(ConfigError, match=message):
        beyond(**changes)


def test_experiments_beyond_are_run_but_enter_no_score(laboratory):
    name = "h2b_scaled_overhead"
    runs = [run for run in laboratory.runs(name) if run.method.id == "multi_rate"]
    assert {run.arm.name for run in runs} == {"baseline", "fixed", "scaled"}
    assert {run.experiment.id for run in runs} == {one.id for one in laboratory.extra_experiments(name)}
    decisive = build_report(laboratory, name, [], None)
    assert [method.method.id for method in decisive.methods] == ["as_published", "corrected"]


def test_hypotheses_that_share_a_configuration_share_its_runs(laboratory):
    shared = {laboratory.run(name, "multi_rate", arm, SWEEP).digest for name, arm in SAME}
    assert len(shared) == 1


# --- what is random -----------------------------------------------------------------------------


def page_seeds(laboratory, hypothesis):
    report = build_report(laboratory, hypothesis, [], None)
    return seeds_in_words(report, laboratory.settings)


def test_a_page_says_which_load_points_have_drawn_arrivals_and_with_which_seed(laboratory):
    words = page_seeds(laboratory, "h5b_mixed_batch_under_load")
    assert "arrivals 42, 43, 44, 45, 46: at 24 of 36 load points" in words
    assert "a prediction is their mean" in words
    assert "other draws give other values" in words


def test_a_page_of_recorded_and_regenerated_requests_says_that_nothing_is_drawn(laboratory):
    assert "draws nothing at random" in page_seeds(laboratory, "h3_fused_qkv")
