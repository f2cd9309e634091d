"""Load points beyond one request at a time: counts, rates, saturation, replay and quality flags."""

from __future__ import annotations

import csv
import gzip
import json
import shutil

import pytest
import yaml

from roofline_lab.ground_truth.quality import Flag, flag_lines
from roofline_lab.ground_truth.reading import json_schema, load_experiment, load_set
from roofline_lab.ground_truth.requests import MeasuredRequest, read_measured_requests, requests_text
from roofline_lab.importers.table import read
from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.errors import ConfigError
from tests.paths import ROOT

SWEEP = "jan21-llama7b-train-1"
CODEGEN = "20260217-155451-llama-2-7b-tp1-codegen"
CHAT = "jan30-llama2-7b-tp1-chatsweep"
MULTI_RATE = load_set(ROOT, "multi_rate")

every_experiment = pytest.mark.parametrize("experiment", MULTI_RATE, ids=[experiment.id for experiment in MULTI_RATE])


def by_id(identifier):
    return next(experiment for experiment in MULTI_RATE if experiment.id == identifier)


@pytest.fixture
def project(tmp_path):
    for name in ("configs/models", "configs/hardware", *(f"ground_truth/{text}" for text in (CHAT, CODEGEN))):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "ground_truth" / "vocabulary.yaml", tmp_path / "ground_truth")
    return tmp_path


def changed(project, change, identifier=CODEGEN):
    """Apply `change` to one experiment's file and read it."""
    folder = project / "ground_truth" / identifier
    path = folder / "experiment.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_experiment(folder)


def refused(project, change, identifier=CODEGEN):
    with pytest.raises(ConfigError) as caught:
        changed(project, change, identifier)
    return str(caught.value)


# --- the experiments of the project -----------------------------------------------------------


def test_the_sets_hold_the_sweep_and_the_fifteen_runs():
    sizes = {name: len(load_set(ROOT, name)) for name in ("guidellm_sweep_llama2_7b", "inference_perf_stages", "all")}
    assert sizes == {"guidellm_sweep_llama2_7b": 1, "inference_perf_stages": 15, "all": 29}
    assert {experiment.side for experiment in load_set(ROOT, "all_client")} == {"client"}
    assert by_id(SWEEP).side == "server"


def test_a_workload_is_called_what_the_vocabulary_calls_it_now():
    sweep = by_id("jan21-llama7b-train-1")
    assert sweep.workload.name == "mixed-lengths"
    assert "name: train" in (ROOT / "ground_truth" / sweep.id / "experiment.yaml").read_text(encoding="utf-8")


def test_the_sweep_has_twelve_load_points_of_three_strategies():
    points = by_id(SWEEP).load_points
    strategies = [point.strategy for point in points]
    assert strategies[:3] == ["synchronous", "burst", "constant"]
    assert (len(points), strategies.count("constant"), strategies.count("recorded")) == (12, 8, 2)
    assert [point.saturated for point in points[:3]] == [False, True, False]


@every_experiment
def test_every_load_point_says_rate_saturation_and_where_its_figures_are_from(experiment):
    assert "commit" in experiment.source.document
    assert "no file of the source is part of this project" in experiment.source.licence
    for point in experiment.load_points:
        assert point.saturated is not None
        assert {"ttft_mean", "ttft_p99", "e2e_mean", "e2e_p99", "tpot_mean"} <= set(point.measured)
        assert point.strategy in ("synchronous", "burst") or point.rate_per_s is not None


@every_experiment
def test_every_inference_perf_run_says_what_is_wrong_with_its_figures(experiment):
    if experiment.tool != "inference-perf":
        return
    flags = {flag.flag for flag in experiment.quality}
    assert flags >= {
        Flag.OUTPUT_RETOKENISED,
        Flag.PROMPTS_REPEAT,
        Flag.CONSTANT_IS_POISSON,
        Flag.COLD_START_INCLUDED,
        Flag.CLIENT_TIME_INCLUDED,
        Flag.USED_FOR_FITTING,
        Flag.SETTING_ASSUMED,
    }


def test_quoted_figures_are_those_of_the_table(shared_dir):
    tables = read(shared_dir / "ground_truth" / "measured_runs.csv", year=2026).found
    assert sorted(tables) == sorted(other.id for other in MULTI_RATE)
    for experiment in MULTI_RATE:
        for point, row in zip(experiment.load_points, tables[experiment.id].experiment.load_points, strict=True):
            # The table has 95th percentiles too.
            assert point.measured == {name: row.measured[name] for name in row.measured if not name.endswith("_p95")}
            assert point.requests == row.requests


def test_the_sweeps_lengths_are_the_recorded_ones(shared_dir):
    experiment = by_id(SWEEP)
    for position, point in enumerate(experiment.load_points):
        path = shared_dir / "ground_truth" / "replay" / f"{SWEEP}__stage{position}_server.csv.gz"
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            recorded = sorted(
                (int(row["input_tokens"]), int(row["output_tokens_true"])) for row in csv.DictReader(stream)
            )
        ours = [
            (request.prompt_tokens, request.output_tokens)
            for request in experiment.completed_workload(point.id).requests
        ]
        assert sorted(ours) == recorded


def test_flags_of_several_experiments_are_printed_once_each():
    lines = flag_lines(load_set(ROOT, "inference_perf_stages"))
    assert sum(line.startswith("`constant_is_poisson`") for line in lines) == 1
    assert any("20260217-155451-llama-2-7b-tp1-codegen [stage_0]" in line for line in lines)
    assert [one.flag for one in by_id(SWEEP).flags_of("throughput")] == [
        Flag.LENGTHS_FROM_SEED,
        Flag.LENGTHS_FROM_SEED,
        Flag.OVERLOADED,
        Flag.SETTING_ASSUMED,
        Flag.SETTING_ASSUMED,
    ]


def test_engine_settings_are_those_the_engine_takes():
    settings = by_id(CODEGEN).server.engine_settings
    assert EngineOptions(**settings).kv_blocks == 7462
    assert settings == {
        "token_budget": 2048,
        "max_running": 128,
        "block_tokens": 16,
        "kv_blocks": 7462,
        "prefix_caching": True,
        "schedule_ahead": True,
    }


# --- workloads --------------------------------------------------------------------------------


def test_a_stage_cycles_through_its_pool_with_gaps_that_fill_it():
    workload = by_id(CODEGEN).completed_workload("stage_0", seed=42)
    requests = workload.requests
    assert (len(requests), workload.concurrency) == (3000, None)
    assert (requests[107].prefix_group, requests[107].prefix_tokens) == ("prompt_7", 592)
    assert requests[-1].arrival_us == pytest.approx(600e6, abs=1)
    assert {request.output_tokens for request in requests} == {247}


def test_the_seed_decides_random_arrivals_and_nothing_else():
    experiment = by_id(CODEGEN)
    first, again, other = (experiment.completed_workload("stage_0", seed).requests for seed in (1, 1, 2))
    assert first == again
    assert [one.arrival_us for one in first] != [one.arrival_us for one in other]
    assert [one.prompt_tokens for one in first] == [one.prompt_tokens for one in other]
    sweep = by_id(SWEEP)
    assert sweep.completed_workload("constant_0.407", 1) == sweep.completed_workload("constant_0.407", 2)


def test_a_later_stage_meets_a_warm_cache():
    experiment = by_id(CODEGEN)
    cold, warm = (experiment.replay(point) for point in ("stage_0", "stage_1"))
    assert (cold.warm_up, warm.warm_up) == (0, 100)
    first = warm.workload.requests[:100]
    assert {one.prefix_group for one in first} == {f"prompt_{k}" for k in range(100)}
    assert {one.output_tokens for one in first} == {1}
    assert warm.workload.requests[100].arrival_us >= 100_000_000 > first[-1].arrival_us


class FixedStep:
    """Every step takes 20 ms."""

    kv_breakpoints = ()

    def step_time_us(self, sums):
        return 20_000


def test_warm_up_prompts_leave_only_their_last_block_to_compute():
    replay = by_id(CODEGEN).replay("stage_1")
    settings = EngineOptions(**by_id(CODEGEN).server.engine_settings)
    few = replay.workload.requests[:300]
    counters = run(few, FixedStep(), settings).counters
    blocks_before_the_last = (592 - 1) // 16
    assert counters.kv_block_hits == 200 * blocks_before_the_last


# --- recorded requests ------------------------------------------------------------------------


def recorded(count=50, output=200, point="synchronous"):
    return [
        MeasuredRequest(point, f"r{k}", 1000 * k, 300 + k, output, "shared", 284, True, 13.0, 1300.0)
        for k in range(count)
    ]


def record(project, requests, identifier=CHAT):
    (project / "ground_truth" / identifier / "requests.csv").write_text(requests_text(requests), encoding="utf-8")


def use_requests(content):
    content["requests_file"] = "requests.csv"
    content["load_points"][0]["measured"].pop("tpot_mean")


def test_recorded_requests_replace_drawn_ones(project):
    record(project, recorded())
    experiment = changed(project, use_requests, CHAT)
    workload = experiment.completed_workload("synchronous")
    assert workload.concurrency == 1
    assert [(request.prompt_tokens, request.output_tokens) for request in workload.requests[:2]] == [
        (300, 200),
        (301, 200),
    ]
    assert experiment.mean_output_tokens("synchronous") == 200
    assert experiment.measured_requests("synchronous")[0].e2e_ms == 1300.0
    assert experiment.measured_requests("synchronous")[0].tpot_ms == pytest.approx(1287 / 199)


def test_requests_survive_writing_and_reading(tmp_path):
    requests = (
        MeasuredRequest("a", "x", 0, 5, 0, None, 0, False, None, None),
        MeasuredRequest("a", 'y, "z"', 7, 5, 6, "g", 2, True, 0.125, 2.5),
    )
    path = tmp_path / "requests.csv"
    path.write_text(requests_text(requests), encoding="utf-8", newline="")
    assert read_measured_requests(path) == requests


def test_a_recording_of_another_number_of_requests_is_refused(project):
    record(project, recorded(count=49))
    message = refused(project, use_requests, CHAT)
    assert (
        "requests.csv: 49 completed requests of load point 'synchronous', but its requests.completed is 50" in message
    )


def test_a_recording_of_an_unknown_load_point_is_refused(project):
    record(project, [*recorded(), *recorded(count=1, point="synchronos")])
    message = refused(project, use_requests, CHAT)
    assert "requests.csv: unknown load point 'synchronos'; did you mean 'synchronous'?" in message


def test_a_missing_recording_is_one_clear_message(project):
    assert "requests.csv: cannot be read" in refused(project, use_requests, CHAT)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("r3,3000", "r2,3000", "line 5: column 'id': 'r2' is already used on line 4; ids are unique in a load point"),
        (
            "r3,3000",
            "r3,100",
            "line 5: column 'arrival_us': 100 is before the row above (2000); sort the requests of a",
        ),
        ("r3,3000", "r3,-5", "line 5: column 'arrival_us': must be a whole number"),
        ("303,200,shared,284", "303,200,shared,999", "line 5: column 'prefix_tokens': 999 exceeds prompt_tokens 303"),
        (
            "303,200,shared,284,true,13.0",
            "303,200,shared,284,true,1400.0",
            "line 5: column 'ttft_ms': 1400 is above e2e",
        ),
        ("303,200,shared,284,true", "303,200,shared,284,yes", "line 5: column 'completed': must be true or false"),
        ("303,200,shared,284,true,13.0", "303,200,shared,284,true,-1", "line 5: column 'ttft_ms'"),
        ("load_point,", "loadpoint,", "column 'loadpoint': unknown; did you mean 'load_point'?"),
        ("arrival_us,", "", "column 'arrival_us': missing"),
    ],
)
def test_a_damaged_recording_is_refused_with_file_and_line(tmp_path, old, new, expected):
    text = requests_text(recorded(count=6))
    assert old in text
    path = tmp_path / "requests.csv"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_measured_requests(path)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)


def test_a_recording_without_requests_is_refused(tmp_path):
    path = tmp_path / "requests.csv"
    path.write_text(requests_text([]), encoding="utf-8")
    with pytest.raises(ConfigError, match="no requests; give at least one"):
        read_measured_requests(path)


# --- bad descriptions -------------------------------------------------------------------------


def first_point(content):
    return content["load_points"][0]


def test_lost_requests_may_be_unknown(project):
    def change(content):
        first_point(content)["requests"] = {
            "sent": 3000,
            "completed": 2990,
            "failed": 10,
            "lost_positions": "unknown",
            "basis": "counted",
        }

    experiment = changed(project, change)
    assert len(experiment.completed_workload("stage_0").requests) == 3000


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"completed": 3001}, "completed 3001 does not add up to sent 3000"),
        ({"completed": 2990}, "do not add up to sent 3000"),
        ({"completed": 2990, "lost_positions": "unknown", "failed": 11}, "failed 11 exceeds the 10 requests"),
        ({"lost_positions": "some"}, "lost_positions"),
        ({"cancelled": 3, "lost_positions": "unknown"}, "cancelled 3 are more than the"),
        ({"sent": 10**12}, "sent"),
    ],
)
def test_counts_that_do_not_add_up_are_refused(project, change, expected):
    assert expected in refused(project, lambda content: first_point(content)["requests"].update(change))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ttft_p90": {"value": 20.0, "unit": "ms", "definition": "first_token"}}, "percentiles cannot fall"),
        ({"ttft_mean": {"value": 25.0, "unit": "1/s", "definition": "first_token"}}, "unit: must be 'ms' (got '1/s')"),
        (
            {"request_throughput": {"value": 5.0, "unit": "ms", "definition": "whole_run"}},
            "request_throughput.unit: must be '1/s'",
        ),
        (
            {"output_tokens_mean": {"value": 194.0, "unit": "tokens", "definition": "server"}},
            "output_tokens_mean.value: 194 measured, but the workload has 247.00",
        ),
        ({"throughput": {"value": 5.0, "unit": "1/s", "definition": "whole_run"}}, "throughput: unknown metric"),
    ],
)
def test_figures_that_cannot_be_are_refused(project, change, expected):
    assert expected in refused(project, lambda content: first_point(content)["measured"].update(change))


def test_a_flag_about_an_unknown_load_point_is_refused(project):
    message = refused(project, lambda content: content["quality"][1].update(load_points=["stage_00"]))
    assert "quality.1.load_points: unknown load point 'stage_00'; did you mean 'stage_0'?" in message


def test_an_unknown_flag_is_refused(project):
    message = refused(project, lambda content: content["quality"][0].update(flag="odd"))
    assert "quality.0.flag" in message


def test_saturation_needs_its_basis(project):
    message = refused(project, lambda content: first_point(content)["saturation"].pop("basis"))
    assert "saturation.basis: missing" in message


def test_a_load_point_may_be_measured_on_the_other_side(project):
    experiment = changed(project, lambda content: first_point(content).update(side="server"))
    assert (experiment.side_of("stage_0"), experiment.side_of("stage_1")) == ("server", "client")


def test_one_request_at_a_time_never_saturates(project):
    point = changed(project, lambda content: None, CHAT).point("synchronous")
    assert (point.saturated, point.strategy, point.rate_per_s) == (False, "synchronous", None)


# --- schema -----------------------------------------------------------------------------------


def test_the_schema_for_editors_is_that_of_the_format():
    text = (ROOT / "ground_truth" / "experiment.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == json_schema(), "write it again: python -m roofline_lab.ground_truth.reading"


def test_the_schema_knows_every_key_of_the_experiments():
    properties = json_schema()["properties"]
    for path in (ROOT / "ground_truth").glob("*/experiment.yaml"):
        assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) <= set(properties)
