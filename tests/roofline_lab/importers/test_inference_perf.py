"""inference-perf runs: counted stream lines, re-tokenised lengths, repeating prompts, single requests."""

from __future__ import annotations

import json
import shutil

import pytest

from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.tools import read_results
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import (
    AsWritten,
    inference_perf_config,
    inference_perf_stage,
    per_request,
    pooled,
    write_inference_perf,
)

SAMPLE = "ground_truth/formats/inference-perf_20260217-155451-llama-2-7b-tp1-codegen"


def read(path):
    return AsWritten(read_results("inference-perf", path))


def flags(imported):
    return {flag.flag: flag for flag in imported.quality}


def values(point):
    return {name: figure["value"] for name, figure in point["measured"].items()}


# --- the recorded run -------------------------------------------------------------------------


def test_the_recorded_run_has_two_stages_with_corrected_figures(shared_dir):
    found = read(shared_dir / SAMPLE)
    first, second = (values(point) for point in found.load_points)
    assert (first["ttft_mean"], first["e2e_mean"]) == (pytest.approx(25.0366), pytest.approx(1810.3224))
    assert first["tpot_mean"] == pytest.approx(7.25726, abs=1e-5)
    assert first["tpot_p90"] == pytest.approx(7.77305, abs=1e-5)
    assert (first["itl_p50"], first["itl_p90"], first["itl_p98"]) == (
        pytest.approx(7.187, abs=1e-4),
        pytest.approx(7.8924, abs=1e-4),
        pytest.approx(8.5843, abs=1e-4),
    )
    assert second["output_token_throughput"] == pytest.approx(2463.492, abs=1e-3)
    assert found.date.isoformat() == "2026-02-17"


def test_the_recorded_run_is_flagged_without_being_told(shared_dir):
    found = flags(read(shared_dir / SAMPLE))
    assert set(found) == {
        Flag.LENGTHS_UNKNOWN,
        Flag.STREAM_LINES_COUNTED,
        Flag.OUTPUT_RETOKENISED,
        Flag.PROMPTS_REPEAT,
        Flag.CONSTANT_IS_POISSON,
        Flag.COLD_START_INCLUDED,
        Flag.CLIENT_TIME_INCLUDED,
    }
    assert "100 prompts in turn" in found[Flag.PROMPTS_REPEAT].text
    assert "asked for 11 x 4 prompts, which this client did not understand" in found[Flag.PROMPTS_REPEAT].text


def test_the_recorded_run_becomes_a_pool_with_stretched_exponential_gaps(shared_dir):
    found = read(shared_dir / SAMPLE)
    assert found.workload["prefix"] == {"kind": "prompt_pool", "prompts": 100, "groups": 10, "shared_tokens": 100}
    assert found.workload["output"] == {"kind": "constant", "tokens": 247}
    assert found.load_points[1]["arrivals"] == {"kind": "poisson", "rate_per_s": 10.0, "rescaled": True}
    assert ["prompts_seen_before" in point for point in found.load_points] == [False, True]


# --- definitions ------------------------------------------------------------------------------


def test_counted_stream_lines_are_corrected_and_correct_ones_left_alone(tmp_path):
    old = read(write_inference_perf(tmp_path / "old", [inference_perf_stage(pooled(), 40, stream_lines=True)]))
    new = read(write_inference_perf(tmp_path / "new", [inference_perf_stage(pooled(), 40, stream_lines=False)]))
    for found in (old, new):
        figures = values(found.load_points[0])
        assert (figures["tpot_mean"], figures["tpot_p99"]) == (pytest.approx(10.0), pytest.approx(10.0))
        assert figures["itl_p50"] == pytest.approx(10.0)
    assert Flag.STREAM_LINES_COUNTED in flags(old)
    assert Flag.STREAM_LINES_COUNTED not in flags(new)


def test_retokenised_lengths_are_replaced_by_those_the_profile_fixes(tmp_path):
    found = read(write_inference_perf(tmp_path))
    assert flags(found)[Flag.OUTPUT_RETOKENISED].treatment == "corrected"
    point = found.load_points[0]
    assert values(point)["output_token_throughput"] == pytest.approx(50 * values(point)["request_throughput"])


def test_the_servers_own_count_is_used_where_it_is_recorded(tmp_path):
    stage = inference_perf_stage(pooled(), 40, stream_lines=False)
    stage["successes"]["output_tokens"] = {"mean": 50.0, "total": 15000.0}
    stage["successes"]["client_fallback_requests"] = {"prompt": 0, "output": 0}
    config = inference_perf_config()
    config["server"]["ignore_eos"] = False
    found = read(write_inference_perf(tmp_path, [stage], config))
    assert Flag.OUTPUT_RETOKENISED not in flags(found)
    assert values(found.load_points[0])["output_token_throughput"] == pytest.approx(
        50 * values(found.load_points[0])["request_throughput"]
    )


def test_single_requests_are_kept_for_replay_with_the_pool_they_come_from(tmp_path):
    requests = pooled()
    folder = write_inference_perf(tmp_path, [inference_perf_stage(requests, 40)])
    path = folder / "results" / "per_request_lifecycle_metrics.json"
    path.write_text(json.dumps(per_request(requests)), encoding="utf-8")
    found = read(folder)
    assert len(found.requests) == 300
    assert {request.output_tokens for request in found.requests} == {50}
    assert [request.prefix_group for request in found.requests[8:12]] == [
        "prompt_8",
        "prompt_9",
        "prompt_0",
        "prompt_1",
    ]
    assert found.requests[1].arrival_us == 1_000_000
    assert found.requests[5].ttft_ms == pytest.approx(requests[5].ttft_s * 1000, abs=1e-6)
    assert flags(found)[Flag.PROMPTS_REPEAT]


def test_the_clients_own_counts_of_each_request_are_looked_at(tmp_path):
    requests = pooled()
    folder = write_inference_perf(tmp_path, [inference_perf_stage(requests, 40)])
    records = per_request(requests)
    for position, record in enumerate(records):
        record["info"]["output_tokens"] = 20 + (16 * position) % 29
        record["info"]["output_token_times"] *= 2 * 50 + 2
        record["end_time"] += 0.001 * (position % 11)
    (folder / "results" / "per_request_lifecycle_metrics.json").write_text(json.dumps(records), encoding="utf-8")
    texts = [flag.text for flag in read(folder).quality]
    assert any("300 of 300 answers have 2 N + 2 = 102 recorded times for N = 50 tokens" in text for text in texts)
    assert any("Reported output lengths vary by" in text for text in texts)


def test_single_requests_of_another_run_are_refused(tmp_path):
    folder = write_inference_perf(tmp_path)
    path = folder / "results" / "per_request_lifecycle_metrics.json"
    path.write_text(json.dumps(per_request(pooled(count=100))), encoding="utf-8")
    with pytest.raises(ConfigError, match="100 requests, but the stages sent 300; are the files of one run"):
        read(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"end_time": 999.0}, "end_time is before start_time"),
        ({"start_time": -5.0}, "start_time"),
        ({"info": None}, "no input_tokens or output_tokens"),
        ({"info": {"input_tokens": 5, "output_token_times": [0.5]}}, "output_token_times.0: not between start_time"),
    ],
)
def test_an_impossible_single_request_is_refused(tmp_path, change, expected):
    folder = write_inference_perf(tmp_path)
    content = per_request(pooled())
    content[3] |= change
    path = folder / "results" / "per_request_lifecycle_metrics.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read(folder)
    assert expected in str(caught.value)


def test_a_new_client_understands_the_new_names(tmp_path):
    names = ("num_unique_system_prompts", "num_users_per_system_prompt")
    config = inference_perf_config(groups=(4, 3), names=names)
    found = read(write_inference_perf(tmp_path, config=config, profile=config))
    assert found.workload["prefix"] == {"kind": "prompt_pool", "prompts": 12}
    assert "did not understand" not in flags(found)[Flag.PROMPTS_REPEAT].text


@pytest.mark.parametrize(("stream_lines", "prompts"), [(True, 100), (False, 8)])
def test_without_a_record_of_what_ran_the_clients_age_shows_in_its_gaps(tmp_path, stream_lines, prompts):
    names = ("num_unique_system_prompts", "num_users_per_system_prompt")
    asked = inference_perf_config(groups=(4, 2), names=names)
    stage = inference_perf_stage(pooled(), 50, stream_lines=stream_lines)
    found = read(write_inference_perf(tmp_path, [stage], config=False, profile=asked))
    assert found.workload["prefix"] == {"kind": "prompt_pool", "prompts": prompts}
    assert f"{prompts} prompts in turn" in flags(found)[Flag.PROMPTS_REPEAT].text


def test_the_recorded_run_has_its_pool_of_a_hundred_prompts_even_without_its_config(tmp_path, shared_dir):
    shutil.copytree(shared_dir / SAMPLE, tmp_path / "run", copy_function=shutil.copyfile)
    (tmp_path / "run" / "results" / "config.yaml").unlink()
    prefix = read(tmp_path / "run").workload["prefix"]
    assert prefix == {"kind": "prompt_pool", "prompts": 100, "groups": 10, "shared_tokens": 100}


@pytest.mark.parametrize("change", [{"mean": 0.0}, {"mean": 0.4}])
def test_a_prompt_of_no_token_is_refused(tmp_path, change):
    stage = inference_perf_stage(pooled(), 50)
    stage["successes"]["prompt_len"] |= change
    with pytest.raises(ConfigError, match=r"successes\.prompt_len\.mean: .*at least one token"):
        read(write_inference_perf(tmp_path, [stage]))


def test_a_request_that_took_no_time_is_refused(tmp_path):
    stage = inference_perf_stage(pooled(), 50)
    stage["successes"]["latency"]["time_to_first_token"]["p99"] = 0
    with pytest.raises(ConfigError, match=r"stage_0_lifecycle_metrics\.json: ttft_p99: 0, which means not measured"):
        read(write_inference_perf(tmp_path, [stage]))


def test_a_closed_loop_stage_keeps_its_width(tmp_path):
    stage = inference_perf_stage(pooled(), 40)
    stage["load_summary"] |= {"concurrency": 8, "requested_rate": 0.0}
    found = read(write_inference_perf(tmp_path, [stage]))
    assert found.load_points[0]["arrivals"] == {"kind": "closed_loop", "concurrency": 8}


def test_failures_make_a_stage_overloaded(tmp_path):
    found = read(write_inference_perf(tmp_path, [inference_perf_stage(pooled(), 40, failures=60)]))
    point = found.load_points[0]
    assert point["saturation"]["state"] == "saturated"
    assert point["requests"]["lost_positions"] == "unknown"
    assert (point["requests"]["sent"], point["requests"]["completed"]) == (360, 300)
    assert Flag.OVERLOADED in flags(found)


def test_a_summary_alone_is_the_one_stage_of_a_run(tmp_path):
    folder = write_inference_perf(tmp_path)
    (folder / "results" / "stage_0_lifecycle_metrics.json").rename(
        folder / "results" / "summary_lifecycle_metrics.json"
    )
    assert [point["id"] for point in read(folder).load_points] == ["summary"]


# --- bad input --------------------------------------------------------------------------------


def test_a_run_without_its_profile_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"neither config\.yaml nor profile\.yaml; the metrics do not say"):
        read(write_inference_perf(tmp_path, config=False))


def test_a_profile_that_does_not_fix_the_length_is_refused(tmp_path):
    config = inference_perf_config()
    config["server"]["ignore_eos"] = False
    with pytest.raises(ConfigError, match="does not fix the number of tokens"):
        read(write_inference_perf(tmp_path, config=config))


def test_stream_lines_under_the_wrong_profile_are_refused(tmp_path):
    stage = inference_perf_stage(pooled(output=50), 40)
    with pytest.raises(ConfigError, match="means do not fit the output length of the profile"):
        read(write_inference_perf(tmp_path, [stage], inference_perf_config(output=200)))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda stage: stage["successes"].update(count=0), "successes.count: 0; without an answer"),
        (lambda stage: stage["successes"].update(count=400), "below successes and failures together"),
        (lambda stage: stage["successes"]["latency"].pop("time_to_first_token"), "api.streaming: true"),
        (lambda stage: stage["successes"]["latency"]["request_latency"].pop("mean"), "request_latency.mean: missing"),
        (lambda stage: stage["successes"]["latency"]["request_latency"].update(p99=-1.0), "request_latency.p99"),
        (lambda stage: stage["successes"].pop("output_len"), "successes.output_len: missing"),
        (lambda stage: stage.pop("failures"), "failures: missing"),
        (lambda stage: stage["load_summary"].update(requested_rate=0.0), "load_summary.requested_rate: missing or 0"),
        (lambda stage: stage["load_summary"].update(count="300"), "load_summary.count"),
    ],
)
def test_a_damaged_stage_is_refused_with_file_and_field(tmp_path, change, expected):
    stage = inference_perf_stage(pooled(), 40)
    change(stage)
    with pytest.raises(ConfigError) as caught:
        read(write_inference_perf(tmp_path, [stage]))
    assert "stage_0_lifecycle_metrics.json" in str(caught.value)
    assert expected in str(caught.value)


def test_milliseconds_where_seconds_are_meant_are_refused(tmp_path):
    stage = inference_perf_stage(pooled(), 40)
    for summary in stage["successes"]["latency"].values():
        summary.update({rank: value * 1000 for rank, value in summary.items()})
    with pytest.raises(ConfigError, match="are seconds and milliseconds mixed"):
        read(write_inference_perf(tmp_path, [stage]))


def test_a_stage_of_another_tool_is_refused_with_the_command_for_it(tmp_path):
    folder = write_inference_perf(tmp_path, [{"metadata": {}, "benchmarks": []}])
    with pytest.raises(ConfigError, match="this is a file of guidellm, not of inference-perf"):
        read(folder)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no stage_<n>_lifecycle_metrics"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        read(tmp_path / "none")


@pytest.mark.parametrize(
    "text", ["data: 3", "- list", "data: {type: shared_prefix}\nload: {}", "data: {type: [}", "load: {type: constant}"]
)
def test_a_broken_profile_is_refused(tmp_path, text):
    folder = write_inference_perf(tmp_path)
    (folder / "results" / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        read(folder)


def test_a_time_to_first_token_above_the_whole_request_is_named_before_any_conversion(tmp_path):
    stage = inference_perf_stage(pooled(), 40)
    first = stage["successes"]["latency"]["time_to_first_token"]
    first.update({rank: value * 1000 for rank, value in first.items()})
    folder = write_inference_perf(tmp_path, [stage])
    with pytest.raises(ConfigError) as caught:
        read(folder)
    file = folder / "results" / "stage_0_lifecycle_metrics.json"
    assert str(caught.value).startswith(f"{file}: successes.latency.time_to_first_token.mean: ")
    assert "is not below successes.latency.request_latency.mean" in str(caught.value)


@pytest.mark.parametrize(("renamed", "missing"), [((1, 2), "stage 1, although stage 2"), ((0, 2), "stage 0, although")])
def test_a_missing_stage_is_flagged(tmp_path, renamed, missing):
    folder = write_inference_perf(tmp_path, [inference_perf_stage(pooled(), 40) for _ in range(2)])
    files = [folder / "results" / f"stage_{number}_lifecycle_metrics.json" for number in range(3)]
    files[renamed[0]].rename(files[renamed[1]])
    found = flags(read(folder))
    assert missing in found[Flag.PART_OF_THE_RUN].text
    assert all("prompts_seen_before" in point for point in read(folder).load_points if point["id"] != "stage_0")


def test_stages_without_a_gap_are_not_flagged(tmp_path):
    folder = write_inference_perf(tmp_path, [inference_perf_stage(pooled(), 40) for _ in range(2)])
    assert Flag.PART_OF_THE_RUN not in flags(read(folder))


def test_a_first_chunk_that_is_no_token_is_noted(tmp_path):
    requests = pooled()
    recorded = per_request(requests)
    for one in recorded:
        begin_s = one["start_time"]
        one["info"]["output_token_times"] = [begin_s + at_s for at_s in (0.005, 0.05, 0.06, 0.07, 0.08)]
    folder = write_inference_perf(tmp_path / "run", [inference_perf_stage(requests, 40)])
    path = folder / "results" / "per_request_lifecycle_metrics.json"
    path.write_text(json.dumps(recorded), encoding="utf-8")
    texts = [flag.text for flag in read(folder).quality if flag.flag is Flag.STREAM_LINES_COUNTED]
    assert any("that chunk was no token" in text and text.endswith("later than TTFT says.") for text in texts)
