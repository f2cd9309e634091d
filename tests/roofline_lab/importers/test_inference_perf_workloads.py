"""What an inference-perf client sent: groups of prompts, drawn lengths, counted tokens, several tokens per chunk."""

from __future__ import annotations

import json

import pytest

from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import requests_text
from roofline_lab.importers.tools import read_results
from simulator.engine.loop import run
from simulator.engine.options import EngineOptions
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import (
    inference_perf_config,
    inference_perf_stage,
    per_request,
    pooled,
    write_inference_perf,
)
from tests.simulator.engine.test_loop import HundredPlusTokens


def read(path):
    return read_results("inference-perf", path).experiment


def flag(experiment, name):
    return next((each for each in experiment.quality if each.flag is name), None)


def groups_config(groups=2, per_group=3, system=40, output=50):
    config = inference_perf_config(output=output)
    config["data"]["shared_prefix"] = {
        "num_groups": groups,
        "num_prompts_per_group": per_group,
        "system_prompt_len": system,
        "question_len": 60,
        "output_len": output,
    }
    return config


def drawn_config(output=None, ignore_eos=True, kind="random"):
    config = inference_perf_config()
    config["data"] = {
        "type": kind,
        "input_distribution": {"min": 100, "max": 100, "mean": 100, "std_dev": 0},
        "output_distribution": output or {"min": 50, "max": 50, "mean": 50, "std_dev": 0},
    }
    config["server"]["ignore_eos"] = ignore_eos
    return config


def stage(count=6, output=50, prompt=100, server=None, **options):
    requests = pooled(count=count, output=output)
    content = inference_perf_stage(requests, output, **{"stream_lines": False, **options})
    content["successes"]["prompt_len"] = {"mean": prompt, "min": prompt, "max": prompt}
    if server is not None:
        content["successes"]["output_tokens"] = {"mean": server, "total": server * count}
    return content


def cached_tokens(experiment, point, **options):
    """Return how many prompt tokens of each request a server of this experiment finds in its cache."""
    replay = experiment.replay(point)
    engine = EngineOptions(block_tokens=20, kv_blocks=100_000, token_budget=100_000, **options)
    results = run(replay.workload.requests, HundredPlusTokens(), engine).requests
    return [result.cached_tokens for result in results[replay.warm_up :]]


# --- shared system prompts --------------------------------------------------------------------


def test_prompts_of_a_group_begin_alike_and_only_the_first_of_each_is_computed_as_a_whole(tmp_path):
    experiment = read(write_inference_perf(tmp_path, [stage(count=6)], groups_config()))
    assert experiment.workload.prefix.model_dump() == {
        "kind": "prompt_pool",
        "prompts": 6,
        "groups": 2,
        "shared_tokens": 40,
    }
    assert cached_tokens(experiment, "stage_0") == [0, 40, 40, 0, 40, 40]


def test_a_prompt_that_is_sent_again_is_found_as_a_whole(tmp_path):
    experiment = read(write_inference_perf(tmp_path, [stage(count=8)], groups_config()))
    # Of a prompt found as a whole, the last block is computed again.
    assert cached_tokens(experiment, "stage_0") == [0, 40, 40, 0, 40, 40, 80, 80]


def test_without_prefix_caching_nothing_is_found(tmp_path):
    experiment = read(write_inference_perf(tmp_path, [stage(count=8)], groups_config()))
    assert cached_tokens(experiment, "stage_0", prefix_caching=False) == [0] * 8


def test_a_group_of_one_prompt_repeats_that_prompt(tmp_path):
    experiment = read(write_inference_perf(tmp_path, [stage(count=4)], groups_config(groups=2, per_group=1)))
    assert cached_tokens(experiment, "stage_0") == [0, 0, 80, 80]


def test_without_a_system_prompt_prompts_share_nothing(tmp_path):
    experiment = read(write_inference_perf(tmp_path, [stage(count=6)], groups_config(system=0)))
    assert cached_tokens(experiment, "stage_0") == [0] * 6


def test_a_later_stage_goes_on_where_the_one_before_ended(tmp_path):
    stages = [stage(count=4), stage(count=4)]
    experiment = read(write_inference_perf(tmp_path, stages, groups_config()))
    points = experiment.load_points
    assert [(point.prompts_seen_before, point.prompts_sent_before) for point in points] == [(False, 0), (False, 4)]
    # Prompts 4 and 5 begin as prompt 3 of their group did; then the pool begins again.
    assert cached_tokens(experiment, "stage_1") == [40, 40, 80, 80]


def test_a_stage_after_a_whole_round_finds_every_prompt(tmp_path):
    stages = [stage(count=6), stage(count=4)]
    experiment = read(write_inference_perf(tmp_path, stages, groups_config()))
    assert experiment.load_points[1].prompts_seen_before
    assert cached_tokens(experiment, "stage_1") == [80] * 4


@pytest.mark.parametrize(
    ("count", "said", "unsaid"),
    [
        (4, "So no prompt is sent twice", "after the first round"),
        (8, "With prefix caching on, the server holds them after the first round", "no prompt is sent twice"),
    ],
)
def test_the_text_claims_cached_prompts_only_where_a_round_was_sent(tmp_path, count, said, unsaid):
    text = flag(read(write_inference_perf(tmp_path, [stage(count=count)], groups_config())), Flag.PROMPTS_REPEAT).text
    assert f"6 prompts in turn, and {count} requests in all" in text
    assert said in text
    assert unsaid not in text
    assert "Without prefix caching every prompt is computed as a whole" in text


def test_replayed_conversations_are_refused(tmp_path):
    path = write_inference_perf(tmp_path, [stage()], drawn_config(kind="conversation_replay"))
    with pytest.raises(ConfigError, match=r"data\.type: conversation_replay: conversations of several turns are not"):
        read(path)


def test_turns_of_conversations_are_named(tmp_path):
    config = groups_config()
    config["data"]["shared_prefix"]["enable_multi_turn_chat"] = True
    text = flag(read(write_inference_perf(tmp_path, [stage()], config)), Flag.PROMPTS_REPEAT).text
    assert "turns of conversations" in text


# --- how many tokens were generated -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["random", "synthetic"])
@pytest.mark.parametrize(
    "output",
    [
        {"min": 50, "max": 50, "mean": 50, "std_dev": 0},
        {"min": 50, "max": 50},
        {"min": 1, "max": 900, "mean": 50, "std_dev": 0},
        {"type": "fixed", "mean": 50},
        {"type": "normal", "mean": 50.0, "std_dev": 0.0, "min": 10, "max": 80},
    ],
)
def test_a_distribution_of_one_length_fixes_it(tmp_path, kind, output):
    experiment = read(write_inference_perf(tmp_path, [stage()], drawn_config(output, kind=kind)))
    assert experiment.workload.output.tokens == 50
    assert experiment.workload.prefix.kind == "none"


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (drawn_config({"min": 10, "max": 90, "mean": 50, "std_dev": 5}), "output_distribution is missing or has more"),
        (drawn_config({"type": "uniform", "min": 10, "max": 90, "mean": 50, "std_dev": 0}), "has more than one length"),
        (drawn_config(ignore_eos=False), "server.ignore_eos is not true"),
        (drawn_config(kind="shareGPT"), "data.type shareGPT takes its lengths from texts"),
    ],
)
def test_lengths_that_are_not_fixed_need_the_servers_count(tmp_path, config, why):
    with pytest.raises(ConfigError) as caught:
        read(write_inference_perf(tmp_path / "old", [stage()], config))
    assert why in str(caught.value)
    assert "successes.output_tokens" in str(caught.value)
    experiment = read(write_inference_perf(tmp_path / "new", [stage(server=50.0)], config))
    assert experiment.mean_output_tokens("stage_0") == 50
    assert "Single output lengths are not recorded" in flag(experiment, Flag.LENGTHS_UNKNOWN).text


def test_what_the_server_counted_decides_over_the_profile(tmp_path):
    experiment = read(write_inference_perf(tmp_path, [stage(output=40, server=40.0)], drawn_config()))
    assert experiment.workload.output.tokens == 40
    assert "fixes 50 tokens per answer, the server counted 40" in flag(experiment, Flag.FIGURES_CONTRADICT).text


# --- several tokens per chunk -----------------------------------------------------------------


def chunked(tokens=64, chunks=58, lines=True, text=62.5):
    content = stage(output=tokens)
    latency = content["successes"]["latency"]
    ttft_s, e2e_s = 0.0375, 0.7135
    gap_s = (e2e_s - ttft_s) / (2 * chunks + 1 if lines else chunks - 1)
    latency["time_to_first_token"] = {"mean": ttft_s, "median": ttft_s}
    latency["request_latency"] = {"mean": e2e_s, "median": e2e_s}
    latency["time_per_output_token"] = {"mean": gap_s, "median": gap_s}
    latency["inter_token_latency"] = {"mean": gap_s, "median": 3.8e-5 if lines else gap_s, "p75": 0.0119, "p90": 0.0121}
    content["successes"]["output_len"] = {"mean": text}
    content["successes"]["throughput"]["requests_per_sec"] = 1.0
    return content


@pytest.mark.parametrize("lines", [True, False])
def test_tokens_that_came_in_chunks_give_the_mean_and_no_percentile(tmp_path, lines):
    config = groups_config(output=64)
    experiment = read(write_inference_perf(tmp_path, [chunked(lines=lines)], config))
    (point,) = experiment.load_points
    assert point.measured["tpot_mean"].value == pytest.approx((713.5 - 37.5) / 63)
    assert point.measured["ttft_mean"].value == pytest.approx(37.5)
    assert {name for name in point.measured if name.startswith(("tpot", "itl"))} == {"tpot_mean"}
    text = flag(experiment, Flag.STREAM_LINES_COUNTED).text
    assert "64 tokens came in 58 chunks" in text
    assert "speculative decoding (which is not simulated)" in text


@pytest.mark.parametrize("lines", [True, False])
def test_one_token_per_chunk_is_left_as_it_is(tmp_path, lines):
    experiment = read(write_inference_perf(tmp_path, [chunked(chunks=64, lines=lines)], groups_config(output=64)))
    assert experiment.load_points[0].measured["tpot_p50"].value == pytest.approx((713.5 - 37.5) / 63)


def test_chunks_that_the_text_confirms_as_tokens_are_of_another_profile(tmp_path):
    with pytest.raises(ConfigError, match="give the profile of this run"):
        read(write_inference_perf(tmp_path, [chunked(text=57.0)], groups_config(output=64)))


# --- the shared cases -------------------------------------------------------------------------


def shared_case(shared_dir, name):
    return read(shared_dir / "cases" / name)


def test_the_shared_case_of_one_system_prompt_is_simulated_as_sent(shared_dir):
    experiment = shared_case(shared_dir, "07-shared-system-prompt")
    (first, *others) = cached_tokens(experiment, "stage_0")
    assert first == 0
    assert set(others) == {4000}
    assert len(others) == 119


def test_the_shared_case_whose_tokens_the_server_counted(shared_dir):
    experiment = shared_case(shared_dir, "08-server-counts-one-token")
    assert (experiment.workload.output.tokens, experiment.workload.prompt.tokens) == (51, 200)
    assert experiment.workload.prefix.kind == "none"


def test_the_shared_case_whose_distribution_is_one_length(shared_dir):
    experiment = shared_case(shared_dir, "09-random-fixed-length")
    assert experiment.workload.output.tokens == 51
    assert experiment.load_points[0].measured["tpot_mean"].value == pytest.approx(10.0)


def test_the_shared_case_of_speculative_decoding(shared_dir):
    (point,) = shared_case(shared_dir, "20-speculative-decoding-refused").load_points
    figures = {name: point.measured[name].value for name in ("ttft_mean", "e2e_mean", "tpot_mean")}
    assert figures == {"ttft_mean": 37.5, "e2e_mean": 713.5, "tpot_mean": pytest.approx(10.73, abs=0.001)}
    assert "itl_p50" not in point.measured


# --- lengths that are drawn -------------------------------------------------------------------


def test_drawn_lengths_keep_their_scatter_where_they_have_the_measured_mean(tmp_path):
    config = drawn_config({"min": 10, "max": 90, "mean": 50, "std_dev": 10})
    config["data"]["input_distribution"] = {"type": "uniform", "min": 50, "max": 150}
    experiment = read(write_inference_perf(tmp_path, [stage(server=50.2)], config))
    assert experiment.workload.output.model_dump() == {
        "kind": "gaussian",
        "mean_tokens": 50,
        "stdev_tokens": 10,
        "min_tokens": 10,
        "max_tokens": 90,
    }
    assert experiment.workload.prompt.model_dump() == {"kind": "uniform", "min_tokens": 50, "max_tokens": 150}
    assert experiment.mean_output_tokens("stage_0") == 50.2


def test_drawn_lengths_of_another_mean_are_left_for_the_measured_one(tmp_path):
    config = drawn_config({"min": 10, "max": 90, "mean": 30, "std_dev": 10})
    experiment = read(write_inference_perf(tmp_path, [stage(server=50.0)], config))
    assert experiment.workload.output.tokens == 50


def test_a_stage_of_other_lengths_keeps_its_own(tmp_path):
    stages = [stage(server=50.0, prompt=100), stage(output=70, server=70.0, prompt=140)]
    config = drawn_config({"min": 10, "max": 90, "mean": 30, "std_dev": 10})
    first, second = read(write_inference_perf(tmp_path, stages, config)).load_points
    assert (first.prompt.tokens, first.output.tokens) == (100, 50)
    assert (second.prompt.tokens, second.output.tokens) == (140, 70)


def test_recorded_requests_know_the_group_their_prompt_begins_with(tmp_path):
    requests = pooled(count=8, prompts=6)
    folder = write_inference_perf(tmp_path, [inference_perf_stage(requests, 50)], groups_config())
    text = json.dumps(per_request(requests))
    (folder / "results" / "per_request_lifecycle_metrics.json").write_text(text, encoding="utf-8")
    recorded = read(folder).recorded()
    assert [request.outer_group for request in recorded] == [f"shared_{group}" for group in (0, 0, 0, 1, 1, 1, 0, 0)]
    assert {request.outer_tokens for request in recorded} == {40}
    assert requests_text(recorded).splitlines()[0].endswith("outer_group,outer_tokens")
