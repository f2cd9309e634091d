"""What an experiment shows by itself or beside others becomes a flag, whoever wrote it down."""

from __future__ import annotations

import json
import random
import shutil

import pytest
import yaml

from roofline_lab.ground_truth.experiment_lint import seen_among, seen_in, unflagged
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.reading import experiment_from, load_experiment
from roofline_lab.importers import import_experiment
from simulator.validation import read_yaml
from tests.roofline_lab.builders import ROOT, own
from tests.roofline_lab.importers.samples import (
    Sent,
    guidellm_benchmark,
    guidellm_report,
    inference_perf_stage,
    per_request,
    pooled,
    sent,
    vllm_result,
    write_guidellm,
    write_inference_perf,
    write_vllm,
)
from tests.roofline_lab.predict.strangers import point

CONSTANT = {"type_": "constant", "rate": 1.0}


def imported(project, folder, requests=None, strategy=CONSTANT, tool="guidellm", name="mine"):
    if tool == "guidellm":
        source = write_guidellm(folder, guidellm_report([guidellm_benchmark(requests or sent(), strategy)]))
    else:
        source = write_vllm(folder, vllm_result(requests or sent(), detailed=True))
    return import_experiment(tool, source, project / "ground_truth" / name).experiment


def flags(experiment):
    return {flag.flag: flag for flag in experiment.quality}


def edited(experiment, project, change):
    """Return the experiment after a person has changed its file."""
    path = project / "ground_truth" / experiment.id / "experiment.yaml"
    content = yaml.safe_load(path.read_text("utf-8"))
    change(content)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_experiment(path.parent)


def cycling(count=60, prompts=10):
    return [Sent(float(k), 100 + 13 * (k % prompts), 30, 0.05, 0.01) for k in range(count)]


@pytest.mark.parametrize("tool", ["guidellm", "vllm-bench"])
def test_prompts_that_repeat_are_flagged_whatever_tool_sent_them(project, tmp_path, tool):
    found = flags(imported(project, tmp_path / "r", cycling(), tool=tool))
    assert "repeat after 10 requests" in found[Flag.PROMPTS_REPEAT].text
    assert found[Flag.PROMPTS_REPEAT].treatment == "noted"  # nobody says that the texts are equal too


def test_a_pool_that_is_replayed_is_corrected(project, tmp_path):
    requests = pooled()
    folder = write_inference_perf(tmp_path / "run", [inference_perf_stage(requests, 40)])
    path = folder / "results" / "per_request_lifecycle_metrics.json"
    path.write_text(json.dumps(per_request(requests)), encoding="utf-8")
    experiment = import_experiment("inference-perf", folder, project / "ground_truth" / "mine").experiment
    assert flags(experiment)[Flag.PROMPTS_REPEAT].treatment == "corrected"


@pytest.mark.parametrize("tool", ["guidellm", "vllm-bench"])
def test_a_cold_first_request_is_flagged_whatever_tool_sent_it(project, tmp_path, tool):
    requests = [Sent(0.0, 200, 30, 0.9, 0.01), *sent()[1:]]
    assert (
        "first request waited 900.0 ms"
        in flags(imported(project, tmp_path / "r", requests, tool=tool))[Flag.COLD_START_INCLUDED].text
    )


@pytest.mark.parametrize("tool", ["guidellm", "vllm-bench"])
def test_lengths_that_took_no_time_are_flagged_whatever_tool_counted_them(project, tmp_path, tool):
    # Every answer takes the same time, although the client says that their lengths differ by half.
    lengths = [40 + (37 * k) % 21 for k in range(120)]
    requests = [Sent(float(k), 100 + k, n, 0.05, (0.4 + 0.005 * (k % 11)) / (n - 1)) for k, n in enumerate(lengths)]
    found = flags(imported(project, tmp_path / "r", requests, tool=tool))
    assert found[Flag.OUTPUT_RETOKENISED].treatment == "noted"


def test_even_arrivals_that_are_exponential_are_flagged(project, tmp_path):
    source, at, requests = random.Random(3), 0.0, []
    for k in range(150):
        requests.append(Sent(at, 100 + k, 30, 0.05, 0.01))
        at += source.expovariate(1.0)
    found = flags(imported(project, tmp_path / "r", requests))
    assert found[Flag.CONSTANT_IS_POISSON].treatment == "corrected"  # their arrivals are replayed
    assert Flag.CONSTANT_IS_POISSON not in flags(imported(project, tmp_path / "s", sent(150), name="even"))


def test_a_report_of_unfinished_requests_stands_for_a_part_of_the_run(project, tmp_path):
    benchmark = guidellm_benchmark(sent(), {"type_": "concurrent", "streams": 4})
    benchmark["metrics"]["request_totals"]["incomplete"] = 10
    source = write_guidellm(tmp_path / "r", guidellm_report([benchmark]))
    experiment = import_experiment("guidellm", source, project / "ground_truth" / "mine").experiment
    assert "20 of 30 requests that did not fail" in flags(experiment)[Flag.PART_OF_THE_RUN].text


def test_means_that_are_not_those_of_the_recorded_requests_are_found(project, tmp_path):
    experiment = imported(project, tmp_path / "r")
    assert not unflagged(experiment, seen_in(experiment))

    def raise_means(content):
        for name in ("ttft_mean", "ttft_p50", "ttft_p90", "ttft_p99"):
            content["load_points"][0]["measured"][name]["value"] *= 1.1

    (seen,) = unflagged(experiment, seen_in(edited(experiment, project, raise_means)))
    assert seen.flag is Flag.FIGURES_CONTRADICT
    assert "ttft_mean" in seen.text


def test_a_second_import_of_the_same_files_is_a_copy(project, tmp_path):
    imported(project, tmp_path / "r")
    second = imported(project, tmp_path / "r", name="again")
    assert "equals that of mine" in flags(second)[Flag.COPY_OF_ANOTHER_RUN].text


@pytest.mark.parametrize("name", ["again", "zzz"])
def test_a_copy_is_asked_of_the_later_run_only(project, tmp_path, name):
    first = imported(project, tmp_path / "r")
    second = imported(project, tmp_path / "r", name=name)
    assert Flag.COPY_OF_ANOTHER_RUN in flags(second)
    assert unflagged(first, seen_among(first, [first, second])) == []
    unsaid = [replaced.model_copy(update={"quality": ()}) for replaced in (first, second)]
    asked = [[seen.flag for seen in seen_among(one, unsaid)] for one in unsaid]
    assert sorted(map(len, asked)) == [0, 1]


def test_one_configuration_with_two_results_is_a_contradiction(project, tmp_path):
    one = imported(project, tmp_path / "r")
    other = imported(project, tmp_path / "s", sent(ttft_s=0.08), name="again")
    assert "mine has the same configuration" in flags(other)[Flag.FIGURES_CONTRADICT].text
    assert "ttft_mean 80.95 and 50.95" in flags(other)[Flag.FIGURES_CONTRADICT].text
    spread = edited(other, project, lambda content: content["server"]["known"].update(expert_parallel=True))
    assert [seen for seen in seen_among(spread, [one]) if seen.flag is Flag.FIGURES_CONTRADICT] == []
    near = imported(project, tmp_path / "t", sent(ttft_s=0.0505), name="near")
    assert [seen for seen in seen_among(near, [one]) if seen.flag is Flag.FIGURES_CONTRADICT] == []


def test_a_tail_that_only_the_lighter_stage_has_is_a_cold_start(project):
    experiment_id = "17-llama-4-scout-17b-16e-tp2-general-lite-2-1"
    shutil.copytree(ROOT / "ground_truth" / experiment_id, project / "ground_truth" / experiment_id)
    experiment = load_experiment(project / "ground_truth" / experiment_id)
    (seen,) = seen_in(experiment)
    assert (seen.flag, seen.load_points) == (Flag.COLD_START_INCLUDED, ("stage_0",))
    assert "138.6 ms" in seen.text
    assert "79.8 ms" in seen.text


def test_what_is_flagged_already_is_not_asked_for_again(project, tmp_path):
    requests = [Sent(0.0, 200, 30, 0.9, 0.01), *sent()[1:]]
    experiment = imported(project, tmp_path / "r", requests)
    assert [seen.flag for seen in seen_in(experiment)] == [Flag.COLD_START_INCLUDED]
    assert unflagged(experiment, seen_in(experiment)) == []
    bare = edited(experiment, project, lambda content: content.pop("quality"))
    assert [seen.flag for seen in unflagged(bare, seen_in(bare))] == [Flag.COLD_START_INCLUDED]


def test_the_projects_own_experiments_flag_everything_they_show():
    folders = [ROOT / "ground_truth" / name for name in sorted(own("ground_truth"))]
    experiments = [load_experiment(folder) for folder in folders if (folder / "experiment.yaml").exists()]
    unsaid = {
        experiment.id: unflagged(experiment, (*seen_in(experiment), *seen_among(experiment, experiments)))
        for experiment in experiments
    }
    assert {name: seen for name, seen in unsaid.items() if seen} == {}
    assert sum(len(list(seen_in(experiment))) for experiment in experiments) > 5


@pytest.mark.parametrize(
    ("changes", "in_step"),
    [
        ({}, True),
        ({"arrivals": {"kind": "closed_loop", "concurrency": 8, "ramp_s": 3.0}}, False),
        ({"arrivals": {"kind": "closed_loop", "concurrency": 1}}, False),
        ({"output": {"kind": "uniform", "min_tokens": 15, "max_tokens": 25}}, False),
    ],
)
def test_a_closed_loop_with_answers_of_one_length_is_flagged(stranger, changes, in_step):
    loop = point("c8", concurrency=8, requests=80, **{key: changes[key] for key in changes if key == "arrivals"})
    workload = {
        "name": "w",
        "prompt": {"kind": "constant", "tokens": 500},
        "output": {"kind": "constant", "tokens": 20},
    }
    workload |= {key: changes[key] for key in changes if key == "output"}
    path = stranger.add("a", load_points=[loop], workload=workload)
    experiment = experiment_from(read_yaml(path), source="a", name="a", folder=path.parent)
    assert (Flag.LOCK_STEP in {flag.flag for flag in seen_in(experiment)}) is in_step
