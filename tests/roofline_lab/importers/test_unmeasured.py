"""Whatever tool recorded single requests: a latency of 0 and an answer without a token are in no figure."""

from __future__ import annotations

import json

import pytest

from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import MeasuredRequest, read_measured_requests, requests_text
from roofline_lab.importers import aiperf, guidellm, import_experiment, llm_d, vllm_bench
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import (
    Sent,
    aiperf_export,
    guidellm_benchmark,
    guidellm_report,
    inference_perf_stage,
    llm_d_report,
    per_request,
    pooled,
    sent,
    vllm_result,
    write_aiperf,
    write_guidellm,
    write_inference_perf,
    write_llm_d,
    write_vllm,
)

# 11 tokens, the first after 40 ms, the others 10 ms apart.
REQUESTS = [Sent(float(second), 100, 11, 0.04, 0.01) for second in range(20)]
RIGHT = {"ttft_mean": 40.0, "ttft_p50": 40.0, "tpot_mean": 10.0, "e2e_mean": 140.0}


def imported(project, tmp_path, key, value):
    """Return a GuideLLM run two of whose requests have a value that is no measurement."""
    benchmark = guidellm_benchmark(REQUESTS, {"type_": "constant", "rate": 1.0})
    for position in (3, 5):
        benchmark["requests"]["successful"][position][key] = value
    source = write_guidellm(tmp_path / "r", guidellm_report([benchmark]))
    return import_experiment("guidellm", source, project / "ground_truth" / "mine").experiment


def figures(experiment):
    return {name: experiment.load_points[0].measured[name].value for name in RIGHT}


def test_a_first_token_time_of_zero_is_in_no_figure_of_guidellm(project, tmp_path):
    experiment = imported(project, tmp_path, "time_to_first_token_ms", 0.0)
    assert figures(experiment) == pytest.approx(RIGHT)
    assert [request.ttft_ms for request in experiment.recorded()].count(None) == 2
    assert "2 of 20 answers have a latency of 0" in " ".join(flag.text for flag in experiment.quality)


def test_an_answer_without_a_token_is_in_no_figure_of_guidellm(project, tmp_path):
    experiment = imported(project, tmp_path, "output_tokens", 0)
    assert figures(experiment) == pytest.approx(RIGHT)
    counts = experiment.load_points[0].requests
    assert (counts.sent, counts.completed, counts.without_output) == (20, 18, 2)
    assert len(experiment.recorded()) == 18


def test_a_run_without_any_token_is_refused(project, tmp_path):
    benchmark = guidellm_benchmark(REQUESTS, {"type_": "constant", "rate": 1.0})
    for request in benchmark["requests"]["successful"]:
        request["output_tokens"] = 0
    source = write_guidellm(tmp_path / "r", guidellm_report([benchmark]))
    with pytest.raises(ConfigError, match="no request was answered with a token"):
        import_experiment("guidellm", source, project / "ground_truth" / "mine")


def test_zeros_among_some_recorded_requests_are_told_as_the_others_have_them_too(project, tmp_path):
    benchmark = guidellm_benchmark(REQUESTS, {"type_": "constant", "rate": 1.0}, recorded=8)
    benchmark["requests"]["successful"][3]["time_to_first_token_ms"] = 0.0
    source = write_guidellm(tmp_path / "r", guidellm_report([benchmark]))
    experiment = import_experiment("guidellm", source, project / "ground_truth" / "mine").experiment
    assert "1 of 8 recorded requests have a latency of 0 or no token" in " ".join(
        flag.text for flag in experiment.quality
    )


def test_a_first_token_that_came_with_the_request_is_in_no_figure_of_inference_perf(project, tmp_path):
    requests = pooled()
    recorded = per_request(requests)
    recorded[7]["info"]["output_token_times"] = [recorded[7]["start_time"]]
    folder = write_inference_perf(tmp_path / "run", [inference_perf_stage(requests, 40)])
    path = folder / "results" / "per_request_lifecycle_metrics.json"
    path.write_text(json.dumps(recorded), encoding="utf-8")
    experiment = import_experiment("inference-perf", folder, project / "ground_truth" / "mine").experiment
    assert [request.ttft_ms for request in experiment.recorded()].count(None) == 1
    expected = 1000 * sum(one.ttft_s for position, one in enumerate(requests) if position != 7) / (len(requests) - 1)
    assert experiment.load_points[0].measured["ttft_mean"].value == pytest.approx(expected, rel=1e-6)


def test_a_latency_of_zero_beside_an_experiment_is_read_as_not_measured(tmp_path):
    path = tmp_path / "requests.csv"
    path.write_text(requests_text([MeasuredRequest("p", "a", 0, 5, 6, ttft_ms=0.0, e2e_ms=90.0)]), encoding="utf-8")
    (request,) = read_measured_requests(path)
    assert (request.ttft_ms, request.e2e_ms, request.tpot_ms) == (None, 90.0, None)


def lowest(tmp_path, tool, metric, **statistics):
    """Import figures without single requests, of which some statistics were changed."""
    if tool == "aiperf":
        content = aiperf_export(sent())
        content[{"ttft": "time_to_first_token", "output": "output_sequence_length"}[metric]] |= statistics
        return aiperf.read(write_aiperf(tmp_path, content)).experiment
    if tool == "guidellm":
        benchmark = guidellm_benchmark(sent(), {"type_": "constant", "rate": 1.0}, recorded=0)
        key = {"ttft": "time_to_first_token_ms", "output": "output_token_count"}[metric]
        summary = benchmark["metrics"][key]["successful"]
        summary["percentiles"] |= {f"p{int(rank[1:]):02d}": statistics[rank] for rank in statistics if rank != "min"}
        summary |= {"min": statistics["min"]} if "min" in statistics else {}
        return guidellm.read(write_guidellm(tmp_path, guidellm_report([benchmark]))).experiment
    if tool == "llm-d":
        report = llm_d_report(sent())
        aggregate = report["results"]["request_performance"]["aggregate"]
        latency, requests = aggregate["latency"], aggregate["requests"]
        place = latency["time_to_first_token"] if metric == "ttft" else requests["output_length"]
        place |= statistics
        return llm_d.read(write_llm_d(tmp_path, report)).experiment
    content = vllm_result(sent()) | {f"{rank}_ttft_ms": value for rank, value in statistics.items()}
    return vllm_bench.read(write_vllm(tmp_path, content)).experiment


@pytest.mark.parametrize("tool", ["aiperf", "guidellm", "llm-d", "vllm-bench"])
@pytest.mark.parametrize("rank", ["p1", "p25"])
def test_a_low_percentile_of_0_is_refused_as_a_median_of_0_is(tmp_path, tool, rank):
    with pytest.raises(ConfigError, match="0, which means not measured"):
        lowest(tmp_path, tool, "ttft", **{rank: 0.0})


@pytest.mark.parametrize("tool", ["aiperf", "guidellm", "llm-d"])
@pytest.mark.parametrize(("metric", "said"), [("ttft", "least TTFT is 0"), ("output", "shortest answer has 0 tokens")])
def test_a_least_value_of_0_is_flagged_as_in_the_means(tmp_path, tool, metric, said):
    (flag,) = (one for one in lowest(tmp_path, tool, metric, min=0).quality if one.flag is Flag.PART_OF_THE_RUN)
    assert said in flag.text
