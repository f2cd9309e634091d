"""The measured experiments: complete, sourced, consistent with themselves, and strict about bad input."""

from __future__ import annotations

import csv
import shutil

import pytest
import yaml

from roofline_lab.ground_truth.reading import load_experiment, load_set
from simulator.errors import ConfigError
from simulator.workload.arrivals import ClosedLoop
from tests.paths import ROOT

EXPERIMENTS = load_set(ROOT, "synchronous_13")
IDS = [experiment.id for experiment in EXPERIMENTS]
CODE = "jan30-llama2-7b-tp1-codesweep"
CHAT = "jan30-llama2-7b-tp1-chatsweep"
SYNCHRONOUS = "synchronous"

every_experiment = pytest.mark.parametrize("experiment", EXPERIMENTS, ids=IDS)


def by_id(identifier):
    return next(experiment for experiment in EXPERIMENTS if experiment.id == identifier)


@pytest.fixture
def project(tmp_path):
    """Return a copy of what the reader needs, free to be damaged."""
    for name in ("ground_truth", "configs/models", "configs/hardware"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def damage(project, change, identifier=CODE):
    """Apply `change` to one experiment's file and return the error of reading it."""
    folder = project / "ground_truth" / identifier
    path = folder / "experiment.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_experiment(folder)
    message = str(caught.value)
    assert message.startswith(f"ground_truth/{identifier}/experiment.yaml: ")
    return message


def measured(content):
    return content["load_points"][0]["measured"]


def test_the_set_has_six_chat_six_code_and_one_summarization_experiment():
    names = [experiment.workload.name for experiment in EXPERIMENTS]
    assert (names.count("chatsweep"), names.count("codesweep"), names.count("summarization")) == (6, 6, 1)
    assert len({experiment.family for experiment in EXPERIMENTS}) == 5
    assert {experiment.tensor_parallel for experiment in EXPERIMENTS} == {1, 2, 4}


@every_experiment
def test_every_experiment_says_source_tool_side_date_and_what_is_assumed(experiment):
    assert "FINDINGS.md" in experiment.source.document
    assert experiment.source.date.isoformat() == "2026-02-24"
    assert experiment.source.licence
    assert (experiment.tool, experiment.side, experiment.hardware) == ("guidellm", "client", "h100-sxm")
    assert experiment.date < experiment.source.date
    assert "name" in experiment.date_basis
    assumed = experiment.server.assumed
    assert (assumed.token_budget, assumed.prefix_caching, assumed.client_offset_ms) == (2048, True, 0)
    assert "not published" in experiment.server.note


@every_experiment
def test_every_experiment_is_one_request_at_a_time_with_three_means_in_milliseconds(experiment):
    (point,) = experiment.load_points
    assert point.id == SYNCHRONOUS
    assert point.arrivals == ClosedLoop(kind="closed_loop", concurrency=1)
    assert {name: figure.definition for name, figure in point.measured.items()} == {
        "ttft_mean": "first_token",
        "tpot_mean": "guidellm",
        "e2e_mean": "request_latency",
    }
    assert {figure.unit for figure in point.measured.values()} == {"ms"}


@pytest.mark.parametrize(
    ("identifier", "mean_output_tokens", "completed"),
    [
        (CHAT, 207.32, 50),
        (CODE, 41.0, 49),
        ("20260210-qwen3-14b-tp1-codesweep", 40.36, 50),
        ("dec17-tp1-qwen7-summarization", 500.225, 40),
    ],
)
def test_the_regenerated_output_lengths_have_the_known_means(identifier, mean_output_tokens, completed):
    experiment = by_id(identifier)
    assert experiment.mean_output_tokens(SYNCHRONOUS) == pytest.approx(mean_output_tokens, abs=1e-9)
    assert len(experiment.completed_workload(SYNCHRONOUS).requests) == completed


@every_experiment
def test_regenerated_output_lengths_agree_with_the_measured_latencies(experiment):
    """GuideLLM's TPOT divides the whole latency by N, so E2E / TPOT is the mean output length."""
    means = experiment.point(SYNCHRONOUS).measured
    implied = means["e2e_mean"].value / means["tpot_mean"].value
    assert implied == pytest.approx(experiment.mean_output_tokens(SYNCHRONOUS), rel=0.012)


@every_experiment
def test_the_number_of_completed_requests_is_explained(experiment):
    counts = experiment.point(SYNCHRONOUS).requests
    assert "E2E / TPOT" in counts.basis
    assert counts.completed + len(counts.lost_positions) == counts.sent
    five_of_six = experiment.workload.name == "codesweep" and experiment.family != "Qwen3-14B"
    assert len(counts.lost_positions) == (1 if five_of_six else 0)


def test_chat_prompts_are_draws_behind_a_shared_prefix_and_two_tokens_shorter():
    requests = by_id(CHAT).completed_workload(SYNCHRONOUS).requests
    # random.Random(42).gauss(70, 35) starts with 64.96, 63.95 and 66.10.
    assert [request.prompt_tokens for request in requests[:3]] == [284 + 65 - 2, 284 + 64 - 2, 284 + 66 - 2]
    assert {(request.prefix_tokens, request.prefix_group) for request in requests} == {(284, "shared")}


def test_a_lost_request_is_left_out_and_the_order_of_the_others_kept():
    experiment = by_id(CODE)
    kept = [request.id for request in experiment.completed_workload(SYNCHRONOUS).requests]
    assert kept == [f"request_{position}" for position in range(49)]
    assert experiment.workload_spec(SYNCHRONOUS).requests == 50


def test_a_later_load_point_of_a_sweep_draws_other_lengths():
    experiment = by_id(CHAT)
    later = experiment.load_points[0].model_copy(update={"id": "second", "benchmark_index": 1})
    sweep = experiment.model_copy(update={"load_points": (*experiment.load_points, later)})
    first, second = (sweep.completed_workload(point).requests for point in (SYNCHRONOUS, "second"))
    assert [one.prompt_tokens for one in first] != [one.prompt_tokens for one in second]
    assert [one.output_tokens for one in first] != [one.output_tokens for one in second]


def test_the_measured_time_between_tokens_leaves_the_first_token_out():
    assert by_id(CODE).measured_itl_ms(SYNCHRONOUS) == pytest.approx((334.0 - 67.1) / 40.0)
    assert by_id(CODE).measured_itl_half_digit_ms(SYNCHRONOUS) == pytest.approx(0.1 / 40.0)
    assert by_id(CHAT).measured_itl_ms(SYNCHRONOUS) == pytest.approx((1292.6 - 13.9) / 206.32)


def test_figures_are_the_published_ones(shared_dir):
    path = shared_dir / "published" / "h1_absolute.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = {row["experiment"]: row for row in csv.DictReader(stream)}
    assert sorted(rows) == sorted(IDS)
    for experiment in EXPERIMENTS:
        figures = experiment.point(SYNCHRONOUS).measured
        row = rows[experiment.id]
        assert {metric: figures[f"{metric}_mean"].value for metric in ("ttft", "tpot", "e2e")} == {
            metric: float(row[f"gt_{metric}_ms"]) for metric in ("ttft", "tpot", "e2e")
        }


def test_experiments_are_described_as_published(shared_dir):
    path = shared_dir / "published" / "h1_experiments.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [tuple(row.values()) for row in csv.DictReader(stream)]
    ours = [
        (experiment.id, experiment.model, str(experiment.tensor_parallel), experiment.workload.name)
        for experiment in EXPERIMENTS
    ]
    assert ours == rows


@pytest.mark.parametrize("key", ["document", "licence"])
def test_a_figure_without_a_source_is_refused(project, key):
    message = damage(project, lambda content: content["source"].pop(key))
    assert message.endswith(f"source.{key}: missing; it is required")


def test_an_experiment_without_any_source_is_refused(project):
    assert damage(project, lambda content: content.pop("source")).endswith("source: missing; it is required")


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_source_is_refused(project, text):
    message = damage(project, lambda content: content["source"].update(document=text))
    assert "source.document:" in message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("model", "llama-2-7b", "unknown model 'llama-2-7b'; did you mean 'llama-2-7b-hf'?"),
        ("hardware", "h100", "unknown hardware 'h100'; did you mean 'h100-sxm'?"),
        ("family", "Llama-7B", "unknown family 'Llama-7B'; did you mean 'Llama2-7B'?"),
        ("id", "another", f"id: must be the folder's name '{CODE}' (got 'another')"),
    ],
)
def test_a_name_nothing_answers_to_is_refused_with_the_nearest(project, key, value, expected):
    assert expected in damage(project, lambda content: content.update({key: value}))


def test_an_unknown_workload_is_refused_with_the_nearest(project):
    message = damage(project, lambda content: content["workload"].update(name="codeswep"))
    assert "workload.name: unknown workload 'codeswep'; did you mean 'codesweep'?" in message


@pytest.mark.parametrize("name", ["ttft_mean", "tpot_mean", "e2e_mean"])
def test_seconds_where_milliseconds_are_meant_are_refused(project, name):
    value = measured({"load_points": [by_id(CODE).load_points[0].model_dump()]})[name]["value"]
    message = damage(project, lambda content: measured(content)[name].update(value=value / 1000))
    assert f"load_points.0.measured.{name}.value" in message
    assert "implausibly small" in message
    assert f"seconds given where ms are meant? then write {value:g}" in message


def test_a_whole_load_point_in_seconds_is_one_message_with_every_figure(project):
    def change(content):
        for figure in measured(content).values():
            figure["value"] /= 1000

    message = damage(project, change)
    assert ": 3 problems\n" in message
    assert message.count("implausibly small") == 3


def test_microseconds_where_milliseconds_are_meant_are_refused(project):
    message = damage(project, lambda content: measured(content)["tpot_mean"].update(value=81_000.0))
    assert "implausibly large" in message


def test_another_unit_than_milliseconds_is_refused(project):
    message = damage(project, lambda content: measured(content)["e2e_mean"].update(unit="s"))
    assert ": load_points.0.measured.e2e_mean.unit: Input should be 'ms', '1/s', " in message
    assert "(got 's')" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -8.1, 0.0, "8.1", True, None])
def test_a_figure_that_is_no_positive_number_is_refused(project, value):
    message = damage(project, lambda content: measured(content)["tpot_mean"].update(value=value))
    assert "experiment.yaml: load_points.0.measured.tpot_mean.value: " in message


def test_a_request_shorter_than_its_first_token_is_refused(project):
    message = damage(project, lambda content: measured(content)["ttft_mean"].update(value=340.0))
    assert "e2e_mean.value: 334 ms is not above ttft_mean 340 ms" in message


def test_a_time_per_token_that_contradicts_the_token_count_is_refused(project):
    message = damage(project, lambda content: measured(content)["tpot_mean"].update(value=6.7))
    assert "imply 49.85 output tokens per request, the workload has 41.00" in message


def test_the_wrong_definition_of_the_time_per_token_is_noticed(project):
    message = damage(project, lambda content: measured(content)["tpot_mean"].update(definition="inter_token"))
    assert "with definition 'inter_token' the latencies imply 33.95 output tokens" in message


def test_an_unknown_definition_is_refused_with_the_allowed_ones(project):
    message = damage(project, lambda content: measured(content)["tpot_mean"].update(definition="guidelm"))
    assert "tpot_mean.definition: unknown definition 'guidelm'; did you mean 'guidellm'? allowed: guidellm" in message


def test_an_unknown_metric_is_refused_with_the_nearest(project):
    message = damage(project, lambda content: measured(content).update(ttft_men=measured(content)["ttft_mean"]))
    assert "ttft_men: unknown metric; did you mean 'ttft_mean'?" in message


def test_a_misspelt_key_is_refused_with_the_nearest(project):
    message = damage(project, lambda content: content.update(tensor_paralel=1))
    assert "tensor_paralel: unknown key; did you mean 'tensor_parallel'?" in message


def test_an_unknown_kind_of_arrivals_is_refused_with_the_allowed_ones(project):
    message = damage(project, lambda content: content["load_points"][0]["arrivals"].update(kind="closedloop"))
    assert "load_points.0.arrivals" in message
    assert "closed_loop" in message


def test_a_setting_that_is_neither_known_nor_assumed_is_refused(project):
    message = damage(project, lambda content: content["server"]["assumed"].pop("token_budget"))
    assert "server: token_budget is given neither as known nor as assumed" in message


def test_a_setting_that_is_both_known_and_assumed_is_refused(project):
    message = damage(project, lambda content: content["server"].update(known={"token_budget": 2048}))
    assert "server: token_budget is given as known and as assumed" in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"completed": 50}, "do not add up to sent 50"),
        ({"completed": 49, "lost_positions": [50]}, "each must be below sent 50"),
        ({"failed": 2}, "failed 2 exceeds the 1 lost_positions"),
    ],
)
def test_request_counts_that_do_not_add_up_are_refused(project, change, expected):
    assert expected in damage(project, lambda content: content["load_points"][0]["requests"].update(change))


def test_an_experiment_without_figures_is_refused(project):
    assert "load_points: empty" in damage(project, lambda content: content.update(load_points=[]))
    assert "load_points.0.measured: empty" in damage(project, lambda content: measured(content).clear(), CHAT)


def test_two_load_points_of_one_name_are_refused(project):
    message = damage(project, lambda content: content["load_points"].append(content["load_points"][0]))
    assert "load_points: id 'synchronous' is used twice" in message


def test_a_recording_with_too_few_lengths_is_refused_with_the_file(project):
    lengths = {"kind": "empirical", "tokens": [5, 6, 7]}
    message = damage(project, lambda content: content["workload"].update(output=lengths))
    assert "3 recorded lengths for 50 requests" in message


def test_lengths_of_an_unknown_distribution_are_refused(project):
    drawn = {"kind": "lognormal", "mean_tokens": 28, "stdev_tokens": 60, "min_tokens": 6, "max_tokens": 200}
    message = damage(project, lambda content: content["workload"].update(output=drawn))
    assert "workload.output" in message


def test_a_distribution_that_cannot_give_the_measured_mean_length_is_refused(project):
    def change(content):
        content["workload"]["output"] = {"kind": "uniform", "min_tokens": 800, "max_tokens": 1000}
        counted = {"value": 500.0, "unit": "tokens", "definition": "server"}
        content["load_points"][0]["measured"] = {"output_tokens_mean": counted}

    message = damage(project, change)
    assert "output_tokens_mean.value: 500 measured, but workload.output has a mean of 900.00" in message


def test_every_problem_of_a_file_is_reported_at_once(project):
    def change(content):
        content.update(model="gpt", hardware="tpu")
        measured(content)["ttft_mean"]["value"] = 0.0671

    message = damage(project, change)
    assert ": 3 problems\n" in message
    assert all(key in message for key in ("model:", "hardware:", "ttft_mean.value:"))


def test_an_unknown_set_is_refused_with_the_nearest(project):
    with pytest.raises(ConfigError, match=r"unknown set 'synchronous_12'; did you mean 'synchronous_13'\?"):
        load_set(project, "synchronous_12")


def test_a_set_with_an_unknown_or_repeated_experiment_is_refused(project):
    path = project / "ground_truth" / "sets.yaml"
    text = path.read_text(encoding="utf-8").replace(f"- {CODE}\n", f"- {CODE}x\n    - {CHAT}\n")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_set(project, "synchronous_13")
    assert f"unknown experiment '{CODE}x'; did you mean '{CODE}'?" in str(caught.value)
    assert f"'{CHAT}' is listed twice" in str(caught.value)


def test_a_missing_file_is_one_clear_message(project):
    (project / "ground_truth" / CODE / "experiment.yaml").unlink()
    with pytest.raises(ConfigError, match=r"experiment\.yaml: cannot be read: No such file"):
        load_experiment(project / "ground_truth" / CODE)


def test_the_documented_example_is_a_valid_experiment(project):
    text = (ROOT / "docs" / "ground-truth.md").read_text(encoding="utf-8")
    example = text.split("```yaml\n")[1].split("```")[0]
    folder = project / "ground_truth" / "my-experiment"
    folder.mkdir()
    (folder / "experiment.yaml").write_text(example, encoding="utf-8")
    assert load_experiment(folder).measured_itl_ms(SYNCHRONOUS) == pytest.approx(6.6725)
