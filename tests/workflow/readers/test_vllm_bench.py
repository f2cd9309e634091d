"""Results of vLLM's serving benchmark: scalars in ms, lists in seconds, single requests where recorded."""

from __future__ import annotations

import pytest

from simulator.errors import ConfigError
from tests.workflow.readers.samples import guidellm_report, sent, vllm_result, write_vllm
from workflow.lib.quality_flags import Flag
from workflow.lib.readers.vllm_bench import read


def flags(imported):
    return {one.flag for one in imported.quality}


def values(found):
    return {name: figure["value"] for name, figure in found.load_points[0]["measured"].items()}


@pytest.mark.parametrize("detailed", [False, True])
def test_scalars_and_lists_give_the_same_figures(tmp_path, detailed):
    requests = sent()
    found = read(write_vllm(tmp_path, vllm_result(requests, detailed=detailed)))
    figures = values(found)
    assert figures["ttft_mean"] == pytest.approx(1000 * sum(one.ttft_s for one in requests) / 20)
    assert figures["e2e_mean"] == pytest.approx(1000 * sum(one.e2e_s for one in requests) / 20)
    assert figures["tpot_mean"] == pytest.approx(10.0)
    assert found.model_name == "meta-llama/Llama-2-7b-hf"
    assert found.date.isoformat() == "2026-01-31"


def test_single_requests_with_their_times_are_kept_for_replay(tmp_path):
    requests = sent()
    found = read(write_vllm(tmp_path, vllm_result(requests, detailed=True)))
    assert [one.arrival_us for one in found.requests] == [1_000_000 * position for position in range(20)]
    assert [one.output_tokens for one in found.requests] == [one.output for one in requests]
    assert found.requests[4].e2e_ms == pytest.approx(requests[4].e2e_s * 1000)
    assert Flag.LENGTHS_UNKNOWN not in flags(found)
    assert Flag.SECONDS_CONVERTED in flags(found)


def test_single_requests_without_times_give_figures_but_no_replay(tmp_path):
    found = read(write_vllm(tmp_path, vllm_result(sent(), detailed=True, start_times=False)))
    assert found.requests == ()
    assert "e2e_p90" in values(found)
    assert Flag.LENGTHS_UNKNOWN in flags(found)


def test_failed_requests_are_left_out_of_the_lists(tmp_path):
    result = vllm_result(sent(), detailed=True)
    result["errors"][3] = "timeout"
    result["completed"] = 19
    result["request_throughput"] = 19 / result["duration"]
    found = read(write_vllm(tmp_path, result))
    assert len(found.requests) == 19
    assert found.load_points[0]["requests"]["lost_positions"] == "unknown"


@pytest.mark.parametrize(
    ("change", "arrivals"),
    [
        ({"request_rate": 1.0}, {"kind": "poisson", "rate_per_s": 1.0}),
        ({"request_rate": "2.5"}, {"kind": "poisson", "rate_per_s": 2.5}),
        ({"request_rate": 1.0, "burstiness": 4.0}, {"kind": "gamma", "rate_per_s": 1.0, "cv": 0.5}),
        ({"request_rate": "inf"}, {"kind": "burst"}),
        ({"request_rate": "inf", "max_concurrency": 8}, {"kind": "closed_loop", "concurrency": 8}),
    ],
)
def test_every_load_becomes_its_kind_of_arrivals(tmp_path, change, arrivals):
    assert read(write_vllm(tmp_path, vllm_result(sent(), **change))).load_points[0]["arrivals"] == arrivals


@pytest.mark.parametrize(
    ("every_s", "rate", "state"), [(1.0, 1.0, "not_saturated"), (3.0, 1.0, "saturated"), (1.0, "inf", "saturated")]
)
def test_saturation_follows_from_the_completed_rate(tmp_path, every_s, rate, state):
    found = read(write_vllm(tmp_path, vllm_result(sent(count=60, every_s=every_s), rate=rate)))
    assert found.load_points[0]["saturation"]["state"] == state


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"completed": 0}, "completed: 0; without an answer"),
        ({"completed": 21}, "completed: 21 exceeds num_prompts 20"),
        ({"duration": 0.0}, "must be above 0"),
        ({"duration": 19_000.0}, "is the duration in seconds?"),
        ({"mean_ttft_ms": -3.0}, "mean_ttft_ms"),
        ({"mean_e2el_ms": 250_000.0}, "are seconds and milliseconds mixed?"),
        ({"request_rate": -1.0}, "request_rate: must be a positive number or inf"),
        ({"request_rate": "fast"}, "request_rate: must be a positive number or inf"),
        ({"burstiness": 0.0}, "burstiness: must be positive"),
        ({"date": "yesterday"}, "date: must be like 20250131-142500"),
        ({"num_prompts": None}, "num_prompts"),
    ],
)
def test_a_damaged_result_is_refused_with_file_and_field(tmp_path, change, expected):
    with pytest.raises(ConfigError) as caught:
        read(write_vllm(tmp_path, vllm_result(sent(), **change)))
    assert "result.json" in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda result: result["ttfts"].pop(), "differ in length; truncated?"),
        (lambda result: result["errors"].pop(), "errors: differs in length"),
        (lambda result: result["ttfts"].__setitem__(2, -0.1), "ttfts.2"),
        (lambda result: result["itls"].__setitem__(2, [0.1, -0.1]), "itls.2: must be a list of seconds"),
        (lambda result: result["itls"].__setitem__(2, ["a"]), "itls.2: must be a list of seconds"),
        (lambda result: result["output_lens"].__setitem__(2, 0), "the lists have 19 answered requests"),
    ],
)
def test_damaged_lists_are_refused_with_their_place(tmp_path, change, expected):
    result = vllm_result(sent(), detailed=True)
    change(result)
    with pytest.raises(ConfigError) as caught:
        read(write_vllm(tmp_path, result))
    assert expected in str(caught.value)


def test_a_result_of_another_tool_is_refused_with_the_command_for_it(tmp_path):
    with pytest.raises(ConfigError, match="this is a file of guidellm, not of vllm-bench"):
        read(write_vllm(tmp_path, guidellm_report([])))


def test_a_file_that_is_no_object_is_refused(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(ConfigError, match="not a result of vllm bench serve"):
        read(path)
