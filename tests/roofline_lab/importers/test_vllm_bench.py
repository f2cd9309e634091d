"""Results of vLLM's serving benchmark: scalars in ms, lists in seconds, single requests where recorded."""

from __future__ import annotations

import pytest

from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.tools import read_results
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import AsWritten, guidellm_report, pooled, sent, vllm_result, write_vllm


def read(path):
    return AsWritten(read_results("vllm-bench", path))


def flags(imported):
    return {flag.flag for flag in imported.quality}


def values(found):
    return {name: figure["value"] for name, figure in found.load_points[0]["measured"].items()}


@pytest.mark.parametrize("detailed", [False, True])
def test_scalars_and_lists_give_the_same_figures(tmp_path, detailed):
    requests = sent()
    found = read(write_vllm(tmp_path, vllm_result(requests, detailed=detailed)))
    figures = values(found)
    assert figures["ttft_mean"] == pytest.approx(1000 * sum(request.ttft_s for request in requests) / 20)
    assert figures["e2e_mean"] == pytest.approx(1000 * sum(request.e2e_s for request in requests) / 20)
    assert figures["tpot_mean"] == pytest.approx(10.0)
    assert found.model_name == "meta-llama/Llama-2-7b-hf"
    assert found.date.isoformat() == "2026-01-31"


def test_single_requests_with_their_times_are_kept_for_replay(tmp_path):
    requests = sent()
    found = read(write_vllm(tmp_path, vllm_result(requests, detailed=True)))
    assert [request.arrival_us for request in found.requests] == [1_000_000 * position for position in range(20)]
    assert [request.output_tokens for request in found.requests] == [request.output for request in requests]
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
        ({"request_rate": "1.5"}, {"kind": "poisson", "rate_per_s": 1.5}),
        ({"request_rate": 1.0, "burstiness": 4.0}, {"kind": "gamma", "rate_per_s": 1.0, "cv": 0.5}),
        ({"request_rate": "inf"}, {"kind": "burst"}),
        ({"request_rate": "inf", "max_concurrency": 8}, {"kind": "closed_loop", "concurrency": 8}),
    ],
)
def test_every_load_becomes_its_kind_of_arrivals(tmp_path, change, arrivals):
    assert read(write_vllm(tmp_path, vllm_result(sent(), **change))).load_points[0]["arrivals"] == arrivals


def test_a_rate_with_a_wide_limit_is_a_rate_and_one_that_was_not_reached_a_loop(tmp_path):
    kept = read(write_vllm(tmp_path / "a", vllm_result(sent(), max_concurrency=8)))
    assert kept.load_points[0]["arrivals"] == {"kind": "poisson", "rate_per_s": 1.0}
    full = sent(count=80, every_s=0.4, gap_s=0.1)
    slow = read(write_vllm(tmp_path / "b", vllm_result(full, rate=4.0, max_concurrency=8)))
    assert slow.load_points[0]["arrivals"] == {"kind": "closed_loop", "concurrency": 8}
    wide = read(write_vllm(tmp_path / "c", vllm_result(sent(), rate="inf", max_concurrency=20)))
    assert wide.load_points[0]["arrivals"] == {"kind": "burst"}


def test_a_short_random_run_that_missed_its_rate_by_chance_is_healthy_and_no_closed_loop(tmp_path):
    result = vllm_result(sent(count=200, every_s=1 / 7.47), rate=8.0, max_concurrency=128)
    (point,) = read(write_vllm(tmp_path, result)).load_points
    assert point["arrivals"] == {"kind": "poisson", "rate_per_s": 8.0}
    assert point["saturation"]["state"] == "not_saturated"


def test_a_rate_that_rises_during_the_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"ramp_up_strategy: 'linear'; .* run the benchmark once per rate"):
        read(write_vllm(tmp_path, vllm_result(sent(), rate="inf", ramp_up_strategy="linear")))


def test_a_result_without_time_per_token_names_the_option_that_records_it(tmp_path):
    result = {key: value for key, value in vllm_result(sent()).items() if "tpot" not in key}
    found = read(write_vllm(tmp_path, result))
    assert "tpot_mean" not in values(found)
    assert any(
        "no TPOT; to have every latency, run the benchmark with --percentile-metrics ttft,tpot,itl,e2el" in sentence
        for sentence in found.conversions
    )


def test_a_result_without_any_latency_is_refused_with_the_option_that_records_them(tmp_path):
    result = {key: value for key, value in vllm_result(sent()).items() if not key.endswith("_ms")}
    with pytest.raises(ConfigError, match=r"no mean and no percentile of any latency; run the benchmark with --percen"):
        read(write_vllm(tmp_path, result))


def test_a_result_with_only_the_default_metrics_has_no_end_to_end_time(tmp_path):
    result = {key: value for key, value in vllm_result(sent()).items() if "e2el" not in key}
    figures = values(read(write_vllm(tmp_path, result)))
    assert "e2e_mean" not in figures
    assert figures["tpot_mean"] == pytest.approx(10.0)


def test_percentiles_that_were_asked_for_are_kept(tmp_path):
    figures = values(read(write_vllm(tmp_path, vllm_result(sent(), p90_ttft_ms=51.8, p90_e2el_ms=600.0))))
    assert (figures["ttft_p90"], figures["e2e_p90"]) == (51.8, 600.0)


def test_medians_alone_are_imported_as_medians(tmp_path):
    result = vllm_result(sent())
    medians = {key: value for key, value in result.items() if not key.startswith(("mean_", "p99_"))}
    found = read(write_vllm(tmp_path, medians))
    assert not [name for name in values(found) if name.endswith("_mean")]
    assert values(found)["ttft_p50"] == pytest.approx(result["median_ttft_ms"])
    assert "no mean of TTFT, TPOT, ITL, E2E; a median stays the 50th percentile" in " ".join(found.conversions)


def test_a_50th_percentile_stands_for_a_median_that_is_not_there(tmp_path):
    result = vllm_result(sent())
    result["p50_ttft_ms"] = result.pop("median_ttft_ms")
    assert values(read(write_vllm(tmp_path, result)))["ttft_p50"] == pytest.approx(result["p50_ttft_ms"])


def test_the_number_sent_is_that_of_the_lists_or_of_successes_and_failures(tmp_path):
    small = read(write_vllm(tmp_path / "a", vllm_result(sent(), detailed=True, num_prompts=1000)))
    assert small.load_points[0]["requests"]["sent"] == 20
    newer = read(write_vllm(tmp_path / "b", vllm_result(sent(), num_prompts=1000, failed=3)))
    assert newer.load_points[0]["requests"]["sent"] == 23


def test_lists_in_milliseconds_are_refused(tmp_path):
    result = vllm_result(sent(), detailed=True)
    result["ttfts"] = [1000 * ttft for ttft in result["ttfts"]]
    with pytest.raises(
        ConfigError, match=r"ttfts: a mean of 50.95, but mean_ttft_ms is 50.95; lists must be in seconds"
    ):
        read(write_vllm(tmp_path, result))


def test_scalars_that_are_not_those_of_the_lists_are_flagged(tmp_path):
    result = vllm_result(sent(), detailed=True, mean_ttft_ms=60.0)
    assert Flag.FIGURES_CONTRADICT in flags(read(write_vllm(tmp_path, result)))


def test_a_time_per_token_that_contains_the_first_is_corrected(tmp_path):
    requests = sent(ttft_s=0.4)
    tokens = sum(request.output for request in requests)
    own = 1000 * sum(request.e2e_s for request in requests) / tokens
    found = read(write_vllm(tmp_path, vllm_result(requests, mean_tpot_ms=own)))
    assert Flag.TPOT_INCLUDES_TTFT in flags(found)
    assert values(found)["tpot_mean"] == pytest.approx(10.0)
    assert "tpot_p99" not in values(found)


def test_counted_stream_lines_are_left_out(tmp_path):
    requests = pooled()
    halved = (
        1000
        * sum(request.gap_s * (request.output - 1) for request in requests)
        / sum(2 * request.output + 1 for request in requests)
    )
    found = read(write_vllm(tmp_path, vllm_result(requests, mean_itl_ms=halved)))
    assert Flag.STREAM_LINES_COUNTED in flags(found)
    assert not any(name.startswith("itl") for name in values(found))


def test_the_copy_for_another_dashboard_is_no_second_result(tmp_path):
    path = write_vllm(tmp_path)
    (tmp_path / "result.pytorch.json").write_text("[]", encoding="utf-8")
    assert values(read(tmp_path)) == values(read(path))


@pytest.mark.parametrize(
    ("every_s", "rate", "state"), [(1.0, 1.0, "not_saturated"), (3.0, 1.0, "not_saturated"), (1.0, "inf", "saturated")]
)
def test_a_slow_client_saturates_no_server(tmp_path, every_s, rate, state):
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
        (
            lambda result: result.update(completed=18, num_prompts=20, request_throughput=18 / result["duration"]),
            "completed: 18, but the lists have 20 answered requests, 0 without a token and 0 failed",
        ),
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
    with pytest.raises(ConfigError, match="not a vLLM serving benchmark result: the file is no JSON object"):
        read(path)


def test_answers_to_no_prompts_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="completed: 20 exceeds num_prompts 0"):
        read(write_vllm(tmp_path, vllm_result(sent(count=20), num_prompts=0)))


def test_speculative_decoding_that_a_result_counts_is_named(tmp_path):
    drafts = {"spec_decode_num_drafts": 40, "spec_decode_acceptance_length": 2.3}
    assert "acceptance length 2.3" in read(write_vllm(tmp_path, vllm_result(sent()) | drafts)).server_note


@pytest.mark.parametrize(
    ("backend", "software"), [("tgi", "tgi"), ("sglang", "sglang"), ("vllm", None), ("openai", None)]
)
def test_a_server_that_is_not_vllm_is_known_by_the_clients_backend(tmp_path, backend, software):
    assert read(write_vllm(tmp_path, vllm_result(sent(), backend=backend))).known.get("software") == software
