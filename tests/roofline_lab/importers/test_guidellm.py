"""GuideLLM reports: definitions converted, lengths drawn again, other layouts refused."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers import import_experiment
from roofline_lab.importers.tools import read_results
from simulator.errors import ConfigError
from simulator.workload.lengths import guidellm_draws
from tests.roofline_lab.importers.samples import (
    AsWritten,
    Sent,
    guidellm_benchmark,
    guidellm_report,
    sent,
    write_guidellm,
)
from tests.roofline_lab.importers.test_trace import row as trace_row
from tests.roofline_lab.importers.test_trace import trace

SAMPLE = "ground_truth/formats/guidellm_jan20-codellama-prefill-1"
CONSTANT = {"type_": "constant", "rate": 1.0}
DRAWN = {
    "prompt_tokens": 500,
    "prompt_tokens_stdev": 100,
    "prompt_tokens_min": 50,
    "prompt_tokens_max": 900,
    "output_tokens": 30,
    "output_tokens_stdev": 10,
    "output_tokens_min": 2,
    "output_tokens_max": 60,
}


def read(path):
    return AsWritten(read_results("guidellm", path))


def flags(imported):
    return {flag.flag: flag for flag in imported.quality}


def values(point):
    return {name: figure["value"] for name, figure in point["measured"].items()}


def one_point(folder, requests=None, strategy=CONSTANT, **report):
    benchmark = guidellm_benchmark(requests or sent(), strategy)
    return write_guidellm(folder, guidellm_report([benchmark], **report))


def drawn_requests(shift=-2, prefix=100, seed=42, index=0):
    prompts = guidellm_draws(seed + index, 20, mean=500, stdev=100, minimum=50, maximum=900)
    outputs = guidellm_draws(seed + index + 1, 20, mean=30, stdev=10, minimum=2, maximum=60)
    pairs = enumerate(zip(prompts, outputs, strict=True))
    return [Sent(float(i), prompt + prefix + shift, output, 0.05, 0.01) for i, (prompt, output) in pairs]


# --- the recorded report ----------------------------------------------------------------------


def test_the_recorded_report_has_its_two_load_points_in_milliseconds(shared_dir):
    found = read(shared_dir / SAMPLE)
    assert [point["id"] for point in found.load_points] == ["00-synchronous", "02-constant-0.758997"]
    figures = values(found.load_points[0])
    assert figures["ttft_mean"] == pytest.approx(905.625, abs=0.001)
    assert figures["e2e_mean"] == pytest.approx(1678.904, abs=0.001)
    assert figures["tpot_mean"] == pytest.approx(26.046, abs=0.001)
    assert found.load_points[0]["measured"]["tpot_mean"]["definition"] == "inter_token_weighted"
    assert found.load_points[1]["rate"]["requested_per_s"] == pytest.approx(0.758997, abs=1e-6)


def test_the_recorded_report_is_flagged_without_being_told(shared_dir):
    found = flags(read(shared_dir / SAMPLE))
    assert set(found) == {
        Flag.TPOT_INCLUDES_TTFT,
        Flag.COLD_START_INCLUDED,
        Flag.CLIENT_TIME_INCLUDED,
        Flag.SECONDS_CONVERTED,
        Flag.LENGTHS_FROM_SEED,
    }
    assert found[Flag.TPOT_INCLUDES_TTFT].treatment == "corrected"
    assert "9.9 ms more TTFT and 10.0 ms more E2E" in found[Flag.CLIENT_TIME_INCLUDED].text


def test_lengths_of_the_recorded_report_are_drawn_again_from_its_seed(shared_dir):
    workload = read(shared_dir / SAMPLE).workload
    assert (workload["prompt"]["random_seed"], workload["prompt"]["adjustment_tokens"]) == (42, -2)
    assert workload["prefix"] == {"kind": "shared", "tokens": 1024, "counted": "on_top"}


def test_the_servers_log_gives_its_settings(shared_dir):
    found = read(shared_dir / SAMPLE)
    assert found.known == {
        "software": "vLLM 0.11.0",
        "token_budget": 64,
        "max_running": 32,
        "max_model_len_tokens": 8192,
        "kv_blocks": 2790,
        "prefix_caching": True,
        "kv_cache_dtype": "auto",
        "chunked_prefill": True,
        "client_offset_ms": 10.0,
    }
    assert (found.model_name, found.tensor_parallel) == ("codellama/CodeLlama-34b-Instruct-hf", 1)


# --- definitions ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_give_the_same_figures(tmp_path, version):
    requests = sent()
    (point,) = read(one_point(tmp_path, requests, version=version)).load_points
    figures = values(point)
    assert figures["ttft_mean"] == pytest.approx(1000 * sum(request.ttft_s for request in requests) / 20)
    assert figures["e2e_mean"] == pytest.approx(1000 * sum(request.e2e_s for request in requests) / 20)
    assert figures["tpot_mean"] == pytest.approx(10.0)
    assert point["measured"]["tpot_mean"]["definition"] == "inter_token"


def test_recorded_requests_are_kept_for_replay_in_order_of_sending(tmp_path):
    requests = sent()
    shuffled = requests.copy()
    random.Random(2).shuffle(shuffled)
    found = read(one_point(tmp_path, shuffled))
    assert [request.arrival_us for request in found.requests] == [1_000_000 * position for position in range(20)]
    assert [request.prompt_tokens for request in found.requests] == [request.prompt for request in requests]
    assert found.requests[3].e2e_ms == pytest.approx(requests[3].e2e_s * 1000)
    assert Flag.LENGTHS_UNKNOWN not in flags(found)


def test_a_report_with_some_of_its_requests_has_mean_lengths_and_says_so(tmp_path):
    benchmark = guidellm_benchmark(sent(), CONSTANT, recorded=3)
    found = read(write_guidellm(tmp_path, guidellm_report([benchmark])))
    assert found.requests == ()
    assert found.workload["output"]["kind"] == "constant"
    assert Flag.LENGTHS_UNKNOWN in flags(found)
    assert "recorded in part only" in found.conversions[0]


@pytest.mark.parametrize("version", [1, 2])
def test_draws_that_match_records_and_means_replace_what_is_not_recorded(tmp_path, version):
    benchmarks = [
        guidellm_benchmark(drawn_requests(index=index), CONSTANT, index=index, recorded=3) for index in (0, 2)
    ]
    report = guidellm_report(benchmarks, version, data={**DRAWN, "prefix_tokens": 100})
    found = read(write_guidellm(tmp_path, report))
    assert found.workload["prompt"]["adjustment_tokens"] == -2
    assert Flag.LENGTHS_FROM_SEED in flags(found)


@pytest.mark.parametrize("change", [{"seed": 43}, {"data": {**DRAWN, "output_tokens_max": 35}}])
def test_draws_that_do_not_match_are_not_used(tmp_path, change):
    benchmark = guidellm_benchmark(drawn_requests(shift=0, prefix=0), CONSTANT, recorded=3)
    report = guidellm_report([benchmark], **{"data": DRAWN, **change})
    found = flags(read(write_guidellm(tmp_path, report)))
    assert Flag.LENGTHS_UNKNOWN in found
    assert Flag.LENGTHS_FROM_SEED not in found


@pytest.mark.parametrize(
    ("strategy", "arrivals"),
    [
        ({"type_": "synchronous"}, {"kind": "closed_loop", "concurrency": 1}),
        ({"type_": "concurrent", "streams": 4}, {"kind": "closed_loop", "concurrency": 4}),
        ({"type_": "throughput", "max_concurrency": 512}, {"kind": "burst"}),
        ({"type_": "throughput", "max_concurrency": 8}, {"kind": "closed_loop", "concurrency": 8}),
        (CONSTANT, {"kind": "constant_rate", "rate_per_s": 1.0, "first": "zero"}),
        ({"type_": "poisson", "rate": 1.5}, {"kind": "poisson", "rate_per_s": 1.5}),
        ({"type_": "trace"}, {"kind": "recorded", "arrival_us": tuple(1_000_000 * position for position in range(20))}),
    ],
)
def test_every_strategy_becomes_its_kind_of_arrivals(tmp_path, strategy, arrivals):
    (point,) = read(one_point(tmp_path, strategy=strategy)).load_points
    assert point["arrivals"] == arrivals


def test_a_warm_up_is_sent_but_stands_in_no_figure(tmp_path):
    benchmark = guidellm_benchmark(sent(), {"type_": "concurrent", "streams": 4})
    made = {"successful": 24, "errored": 1, "incomplete": 0, "total": 25}
    benchmark["scheduler_metrics"] = {"requests_made": made}
    (point,) = read(write_guidellm(tmp_path, guidellm_report([benchmark]))).load_points
    counts = point["requests"]
    assert (counts["sent"], counts["completed"], counts["failed"]) == (25, 20, 1)
    assert counts["lost_positions"] == "unknown"
    assert "20 successful" in counts["basis"]
    assert "of 25 that were sent" in counts["basis"]


def test_a_server_that_falls_behind_is_saturated_and_flagged(tmp_path):
    waiting = [replace(one, ttft_s=0.05 + 0.5 * place) for place, one in enumerate(sent())]
    found = read(one_point(tmp_path, waiting))
    assert found.load_points[0]["saturation"]["state"] == "saturated"
    assert Flag.OVERLOADED in flags(found)


def test_a_server_that_keeps_up_is_not_saturated(tmp_path):
    found = read(one_point(tmp_path))
    assert found.load_points[0]["saturation"]["state"] == "not_saturated"
    assert Flag.OVERLOADED not in flags(found)


def test_a_client_that_was_slow_is_named_and_its_recorded_arrivals_are_the_load(shared_dir):
    found = read(shared_dir / "cases" / "02-idle-called-overloaded")
    (point,) = found.load_points
    assert point["saturation"]["state"] == "not_saturated"
    assert point["rate"] == {"requested_per_s": 2.0, "achieved_per_s": pytest.approx(0.42, abs=0.002)}
    assert point["arrivals"] == {"kind": "recorded", "arrival_us": tuple(range(0, 50_000_000, 2_500_000))}
    assert values(point)["request_throughput"] == pytest.approx(20 / 47.64, abs=1e-4)
    assert Flag.CLIENT_FELL_SHORT in flags(found)
    assert Flag.OVERLOADED not in flags(found)


def test_a_slow_clients_rate_is_the_load_where_its_requests_are_not_recorded(tmp_path):
    benchmark = guidellm_benchmark(sent(every_s=2.5), {"type_": "constant", "rate": 2.0}, recorded=0)
    (point,) = read(write_guidellm(tmp_path, guidellm_report([benchmark]))).load_points
    assert point["saturation"]["state"] == "not_saturated"
    assert point["arrivals"]["rate_per_s"] == pytest.approx(0.42, abs=0.01)


def test_requests_cut_off_by_the_end_of_the_run_are_counted(tmp_path):
    benchmark = guidellm_benchmark(sent(), CONSTANT)
    benchmark["metrics"]["request_totals"] |= {"errored": 1, "incomplete": 3}
    (point,) = read(write_guidellm(tmp_path, guidellm_report([benchmark]))).load_points
    counts = point["requests"]
    assert (counts["sent"], counts["completed"], counts["failed"], counts["cancelled"]) == (24, 20, 1, 3)


def test_benchmarks_that_overlap_are_flagged(tmp_path):
    benchmarks = [guidellm_benchmark(sent(), CONSTANT, index=index) for index in (0, 1)]
    assert Flag.STAGES_OVERLAP in flags(read(write_guidellm(tmp_path, guidellm_report(benchmarks))))


# --- bad input --------------------------------------------------------------------------------


def refused(folder, report):
    with pytest.raises(ConfigError) as caught:
        read(write_guidellm(folder, report))
    return str(caught.value)


@pytest.mark.parametrize("version", [0, 3, "2", None, True])
def test_an_unknown_version_is_refused(tmp_path, version):
    report = guidellm_report([])
    report["metadata"]["version"] = version
    assert "known are version 1 and 2" in refused(tmp_path, report)


def test_the_layout_of_old_versions_is_refused(tmp_path):
    assert "no metadata.version" in refused(tmp_path, {"benchmarks": [{"args": {}, "run_stats": {}}]})


def test_a_report_of_another_tool_is_refused_with_the_command_for_it(tmp_path):
    message = refused(tmp_path, {"num_prompts": 3, "request_throughput": 1.0})
    assert "this is a file of vllm-bench, not of guidellm; use: import vllm-bench" in message


def test_a_run_without_a_success_is_refused(tmp_path):
    benchmark = guidellm_benchmark(sent(), CONSTANT)
    benchmark["metrics"]["request_totals"] = {"successful": 0, "errored": 20, "incomplete": 0}
    assert "request_totals.successful: 0; without an answer" in refused(tmp_path, guidellm_report([benchmark]))


def test_a_negative_latency_is_refused_with_its_field(tmp_path):
    benchmark = guidellm_benchmark(sent(), CONSTANT)
    benchmark["metrics"]["time_to_first_token_ms"]["successful"]["mean"] = -5.0
    message = refused(tmp_path, guidellm_report([benchmark]))
    assert "benchmarks.json: benchmarks.0 (GuideLLM 0.0): metrics.time_to_first_token_ms.successful.mean" in message


def test_a_negative_latency_of_one_request_is_refused_with_its_place(tmp_path):
    benchmark = guidellm_benchmark(sent(), CONSTANT)
    benchmark["requests"]["successful"][4]["request_latency"] = -1.0
    message = refused(tmp_path, guidellm_report([benchmark]))
    assert "benchmarks.0.requests.successful.4: request_latency" in message


def test_milliseconds_where_seconds_are_meant_are_refused(tmp_path):
    benchmark = guidellm_benchmark(sent(), CONSTANT)
    benchmark["metrics"]["request_latency"]["successful"]["mean"] *= 1000
    assert "are seconds and milliseconds mixed?" in refused(tmp_path, guidellm_report([benchmark]))


def test_a_request_id_given_twice_is_refused(tmp_path):
    benchmark = guidellm_benchmark(sent(), CONSTANT)
    benchmark["requests"]["successful"][7]["request_id"] = "request-2"
    message = refused(tmp_path, guidellm_report([benchmark]))
    assert "id 'request-2' is already used" in message


def test_an_unknown_strategy_is_refused_with_the_allowed_ones(tmp_path):
    report = guidellm_report([guidellm_benchmark(sent(), {"type_": "sweep"})])
    assert "config.strategy: 'sweep' (rate None) cannot be repeated; allowed: synchronous" in refused(tmp_path, report)


def test_a_replayed_trace_needs_all_of_its_requests(tmp_path):
    report = guidellm_report([guidellm_benchmark(sent(), {"type_": "trace"}, recorded=5)])
    assert "trace with all of its requests" in refused(tmp_path, report)


def test_a_report_without_benchmarks_is_refused(tmp_path):
    assert "benchmarks: empty" in refused(tmp_path, guidellm_report([]))


def test_a_truncated_report_is_refused(tmp_path):
    folder = one_point(tmp_path)
    path = folder / "benchmarks.json"
    path.write_text(path.read_text(encoding="utf-8")[:-200], encoding="utf-8")
    with pytest.raises(ConfigError, match="is the file complete"):
        read(folder)


def test_an_empty_or_ambiguous_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="one file with a GuideLLM report"):
        read(tmp_path)
    one_point(tmp_path)
    (tmp_path / "guidellm-2.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"found benchmarks\.json, guidellm-2\.json; name the file itself"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="no such file or folder"):
        read(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("exp-config.yaml", "- a list", "must be a mapping"),
        ("exp-config.yaml", "max_num_seqs: many", "max_num_seqs"),
        ("profile.yaml", "a: [", "not valid YAML"),
        ("profile.yaml", "a: 2026-99-99", "profile.yaml:1: "),
        ("traces.jsonl", "{}\n", "traces.jsonl:1: not a line of OpenTelemetry spans"),
        ("traces.jsonl", "not json\n", "traces.jsonl:1"),
    ],
)
def test_a_broken_file_beside_the_report_is_refused(tmp_path, name, text, expected):
    folder = one_point(tmp_path)
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read(folder)
    assert expected in str(caught.value)


def test_the_first_key_of_mixed_units_is_named_in_the_users_own_file(tmp_path):
    for factor in (0.001, 1000.0):
        benchmark = guidellm_benchmark(sent(gap_s=0.05), CONSTANT)
        summary = benchmark["metrics"]["time_to_first_token_ms"]["successful"]
        summary["mean"] *= factor
        message = refused(tmp_path, guidellm_report([benchmark]))
        assert message.startswith(f"{tmp_path / 'benchmarks.json'}: benchmarks.0: metrics.time_to_first_token_ms")
        assert "are seconds and milliseconds mixed?" in message


def test_a_long_time_to_first_token_in_seconds_is_refused_although_it_is_plausible_in_milliseconds(tmp_path):
    benchmark = guidellm_benchmark(sent(ttft_s=0.9), CONSTANT)
    benchmark["metrics"]["time_to_first_token_ms"]["successful"]["mean"] /= 1000
    message = refused(tmp_path, guidellm_report([benchmark]))
    assert "time_to_first_token_ms.successful.mean: a mean of 0.90" in message
    assert "leave 900.9 ms for it" in message


# --- lengths that nothing describes -----------------------------------------------------------


def longer(requests, tokens):
    return [replace(request, output=request.output + tokens) for request in requests]


def report_of_a_file_of_prompts(recorded, more=10):
    """Return two benchmarks of different mean lengths, whose prompts came from a file."""
    benchmarks = [
        guidellm_benchmark(sent(), {"type_": "synchronous"}, recorded=recorded[0]),
        guidellm_benchmark(longer(sent(first_s=100.0), more), CONSTANT, index=1, recorded=recorded[1]),
    ]
    report = guidellm_report(benchmarks)
    report["args"]["data"] = ["sharegpt.json"]
    return report


def test_load_points_of_different_mean_lengths_have_their_own(project, tmp_path):
    folder = write_guidellm(tmp_path / "r", report_of_a_file_of_prompts((3, 3)))
    experiment = import_experiment("guidellm", folder, project / "ground_truth" / "mine").experiment
    lengths = [experiment.mean_output_tokens(point.id) for point in experiment.load_points]
    assert lengths[1] - lengths[0] == pytest.approx(10, abs=1)


def test_load_points_of_nearly_the_same_mean_lengths_share_it(project, tmp_path):
    folder = write_guidellm(tmp_path / "r", report_of_a_file_of_prompts((3, 3), more=1))
    written = import_experiment("guidellm", folder, project / "ground_truth" / "mine")
    assert Flag.LENGTHS_UNKNOWN in {flag.flag for flag in written.experiment.quality}


def test_a_load_point_with_all_of_its_requests_has_its_own_lengths(project, tmp_path):
    folder = write_guidellm(tmp_path / "r", report_of_a_file_of_prompts((None, 3)))
    experiment = import_experiment("guidellm", folder, project / "ground_truth" / "mine").experiment
    lengths = [experiment.mean_output_tokens(point.id) for point in experiment.load_points]
    assert lengths[1] - lengths[0] == pytest.approx(10, abs=0.5)
    (flag,) = (quality_flag for quality_flag in experiment.quality if quality_flag.flag is Flag.LENGTHS_UNKNOWN)
    assert flag.load_points == ("01-constant-1",)


def test_a_trace_gives_the_lengths_a_report_lacks(project, tmp_path):
    folder = write_guidellm(tmp_path / "r", report_of_a_file_of_prompts((None, 3)))
    rows = [
        trace_row(position, request, stage)
        for stage, requests in enumerate((sent(), longer(sent(first_s=100.0), 10)))
        for position, request in enumerate(requests)
    ]
    path = trace(tmp_path / "t.csv", rows)
    experiment = import_experiment("guidellm", folder, project / "ground_truth" / "mine", traces=[path]).experiment
    assert [len(experiment.measured_requests(point.id)) for point in experiment.load_points] == [20, 20]


# --- time between client and engine -----------------------------------------------------------


def spans(latencies_ms):
    """Return server spans, one line per request: (TTFT, E2E) in ms by id."""
    lines = []
    for name, (ttft_ms, e2e_ms) in latencies_ms.items():
        values = {
            "gen_ai.request.id": {"stringValue": name},
            "gen_ai.latency.time_to_first_token": {"doubleValue": ttft_ms / 1000},
            "gen_ai.latency.e2e": {"doubleValue": e2e_ms / 1000},
        }
        attributes = [{"key": key, "value": value} for key, value in values.items()]
        lines.append(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": attributes}]}]}]}))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("recorded", "offset"), [((0,), None), ((3,), 5.0), ((0, 3), 5.0)])
def test_the_time_between_client_and_engine_is_measured_from_warm_requests_only(tmp_path, recorded, offset):
    requests = sent()
    folder = one_point(tmp_path, requests)
    server = {
        f"cmpl-{position}-0": (requests[position].ttft_s * 1000 - 5, requests[position].e2e_s * 1000 - 5)
        for position in recorded
    }
    (folder / "traces.jsonl").write_text(spans(server), encoding="utf-8")
    found = read(folder)
    assert found.known.get("client_offset_ms") == offset
    if offset is None:
        assert "only the first request, which is cold" in flags(found)[Flag.CLIENT_TIME_INCLUDED].text
    else:
        assert "(n = 1, " in found.server_note


@pytest.mark.parametrize(
    ("data", "groups", "tokens"),
    [
        ({"prefix_buckets": [{"bucket_weight": 100, "prefix_count": 3, "prefix_tokens": 40}]}, 3, 40),
        ({"prefix_tokens": 40, "prefix_count": 7}, 7, 40),
        ({"prefix_buckets": [{"prefix_tokens": 40}]}, 1, 40),
    ],
)
def test_prompts_begin_with_the_prefixes_of_the_buckets_the_client_drew_from(tmp_path, data, groups, tokens):
    benchmark = guidellm_benchmark(drawn_requests(), CONSTANT)
    found = read(write_guidellm(tmp_path, guidellm_report([benchmark], data={**DRAWN, **data})))
    several = {"groups": groups} if groups > 1 else {}
    assert found.workload["prefix"] == {"kind": "shared", "tokens": tokens, "counted": "on_top", **several}
    assert {request.prefix_tokens for request in found.requests} == {tokens}
    assert len({request.prefix_group for request in found.requests}) == groups


def test_prefixes_of_several_lengths_are_averaged_and_named(tmp_path):
    buckets = [{"bucket_weight": 50, "prefix_count": 3, "prefix_tokens": 40}, {"bucket_weight": 50}]
    report = guidellm_report(
        [guidellm_benchmark(drawn_requests(), CONSTANT)], data={**DRAWN, "prefix_buckets": buckets}
    )
    found = read(write_guidellm(tmp_path, report))
    assert found.workload["prefix"] == {"kind": "shared", "tokens": 20, "counted": "on_top", "groups": 4}
    assert Flag.SETTING_ASSUMED in flags(found)


def test_turns_of_conversations_are_refused(tmp_path):
    report = guidellm_report([guidellm_benchmark(drawn_requests(), CONSTANT)], data={**DRAWN, "turns": 3})
    with pytest.raises(ConfigError, match="turns: 3: conversations of several turns are not modelled"):
        read(write_guidellm(tmp_path, report))
