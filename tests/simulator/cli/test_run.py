"""`run`: one simulation from flags, from a file, or both."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys

import pytest
import yaml

from simulator.cli.catalog import SHIPPED_CONFIGS
from simulator.cli.main import parser
from simulator.cli.run import build_setup
from simulator.cli.run_spec import read_spec
from simulator.cli.trust import load_in
from simulator.cli.why import explain_run, typical_step
from simulator.engine.records import RequestResult, RequestState, StepRecord
from simulator.steptime.batch import Batch, BatchSums
from simulator.trust.distance import load_of
from tests.simulator.cli.support import SMALL, SMALL_LENGTHS, SMALL_RUN, invoke, refused

YAML = """\
model: llama-2-7b-hf
tensor_parallel: 2
steptime: {family: mfu_roofline, bandwidth_efficiency: 0.8}
engine: {kv_blocks: 900}
workload:
  requests: 3
  arrivals: {kind: closed_loop, concurrency: 1}
  prompt: {kind: constant, tokens: 100}
  output: {kind: constant, tokens: 4}
seed: 7
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(YAML)
    return path


def test_a_run_reports_metrics_counters_kernels_and_seed():
    report = invoke(*SMALL).json
    assert report["requests"]["completed"] == report["requests"]["total"] == 4
    assert report["metrics"]["ttft_mean"]["unit"] == "ms"
    assert report["metrics"]["ttft_mean"]["value"] > 0
    assert report["counters"]["decode_tokens"] == 4 * 4
    assert (report["step_time"], report["step_time_name"]) == ("calibrated_physics", "h100_vllm")
    assert (report["hardware"], report["tensor_parallel"], report["seed"]) == ("h100-sxm", 1, 42)


def test_the_same_command_gives_the_same_bytes():
    command = [*SMALL_RUN, "--prompt-tokens", "70,35,2,200", "--output-tokens", "21,8,1,50", "--explain"]
    assert invoke(*command).out == invoke(*command).out


def test_a_file_describes_the_whole_run(config):
    report = invoke("run", "--config", config).json
    assert (report["tensor_parallel"], report["seed"], report["requests"]["completed"]) == (2, 7, 3)
    assert report["kernels"] == "constant MFU (prefill 0.65, decode 0.12)"


def test_a_flag_wins_over_the_file_and_set_wins_over_both(config):
    report = invoke("run", "--config", config, "--tp", 1, "--seed", 5, "--set", "seed=6").json
    assert (report["tensor_parallel"], report["seed"]) == (1, 6)


def test_a_trace_named_in_a_file_is_found_beside_it_and_one_named_by_a_flag_in_the_working_directory(
    config, tmp_path, monkeypatch
):
    (tmp_path / "trace.csv").write_text("arrival_us,prompt_tokens,output_tokens\n0,10,2\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "trace.csv").write_text("arrival_us,prompt_tokens,output_tokens\n0,10,2\n5,10,2\n")
    config.write_text("model: llama-2-7b-hf\nworkload: {trace: {file: trace.csv}}\n")
    monkeypatch.chdir(elsewhere)
    assert invoke("run", "--config", config).json["requests"]["total"] == 1
    assert invoke("run", "--config", config, "--request-trace", "trace.csv").json["requests"]["total"] == 2


def test_kernels_may_be_embedded_tabulated_or_a_folder_of_tables(tables):
    names = [invoke(*SMALL, "--kernels", which).json["kernels"] for which in ("embedded", "tabulated", tables)]
    assert [name.split(" kernels")[0].split(" tables")[0] for name in names] == [
        "analytic",
        "tabulated analytic",
        "measured",
    ]


def test_the_requests_file_has_one_row_each_and_empty_cells_for_what_never_happened(tmp_path):
    path = tmp_path / "requests.csv"
    invoke(*SMALL, "--kv-blocks", 2, "--requests", path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert {row["state"] for row in rows} == {"dropped_unservable"}
    assert {row["ttft_us"] for row in rows} == {row["e2e_us"] for row in rows} == {""}


def test_the_requests_file_may_be_json_lines(tmp_path):
    path = tmp_path / "requests.jsonl"
    invoke(*SMALL, "--requests", path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"request_{number}" for number in range(4)]
    assert all(row["e2e_us"] > row["ttft_us"] > 0 for row in rows)


def test_the_step_log_accounts_for_every_step_and_microsecond(tmp_path):
    path = tmp_path / "steps.jsonl"
    counters = invoke(*SMALL, "--steps", path).json["counters"]
    steps = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(steps) == counters["steps"]
    assert sum(step["duration_us"] for step in steps) == sum(
        counters[kind] for kind in ("prefill_us", "decode_us", "mixed_us")
    )


def test_the_step_log_carries_what_each_duration_is_made_of(tmp_path):
    path = tmp_path / "steps.jsonl"
    invoke(*SMALL, "--set", "steptime.overhead={kind: per_layer, us: 10}", "--steps", path)
    for step in map(json.loads, path.read_text().splitlines()):
        cost = step["cost"]
        phase = cost["prefill" if step["prefill"] else "decode"]
        whole_us = phase["counted_us"] + cost["communication_us"] + cost["overhead_us"]
        assert whole_us == pytest.approx(step["duration_us"], abs=0.6)
        assert phase["counted_us"] == pytest.approx(max(phase["gemm_us"] + phase["attention_us"], phase["memory_us"]))
        assert min(phase["weight_bytes"], cost["overhead_us"]) > 0
        assert (cost["kind"], cost["bound"]) == ("prefill" if step["prefill"] else "decode", "memory")


def test_the_timeline_has_every_step_and_phases_of_requests_that_do_not_overlap_on_a_track(tmp_path):
    path = tmp_path / "run.json"
    command = ["run", "--model", "llama-2-7b-hf", "--num-requests", 30, "--rate", 200, *SMALL_LENGTHS]
    report = invoke(*command, "--trace", path).json
    events = json.loads(path.read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    steps = [span for span in spans if span["pid"] == 1]
    assert len(steps) == report["counters"]["steps"]
    assert max(span["ts"] + span["dur"] for span in spans) == report["counters"]["end_us"]
    decodes = [span for span in spans if span["name"] == "decode" and span["pid"] == 2]
    assert len({span["args"]["request"] for span in decodes}) == 30
    tracks = {}
    for span in sorted((span for span in spans if span["pid"] == 2), key=lambda span: (span["ts"], span["dur"])):
        assert span["ts"] >= tracks.get(span["tid"], 0)
        tracks[span["tid"]] = span["ts"] + span["dur"]
    assert 1 < len(tracks) < 30


def test_a_timeline_that_would_overwrite_recorded_requests_is_refused(tmp_path):
    recorded = tmp_path / "requests.csv"
    recorded.write_text("arrival_us,input_tokens,output_tokens\n0,4,2\n")
    assert "recorded requests to be served are named with --request-trace" in refused(*SMALL, "--trace", recorded)
    assert recorded.read_text().startswith("arrival_us")


def test_a_run_reports_percentiles_of_the_gaps_between_tokens():
    metrics = invoke(*SMALL).json["metrics"]
    assert metrics["itl_p50"]["value"] <= metrics["itl_p99"]["value"] <= metrics["itl_max"]["value"]
    assert metrics["itl_p50"]["value"] == pytest.approx(metrics["itl_token_weighted"]["value"], rel=0.05)


def test_every_step_counts_in_the_explanation_even_where_steps_repeat_with_a_period():
    spec, base = read_spec(parser().parse_args([str(word) for word in SMALL]))
    built = build_setup(spec, base, SHIPPED_CONFIGS).step_time
    batches = [Batch(prefill=((0, 2048),)), *[Batch(decode=(100,))] * 27] * 20
    durations_us = [built.step_time_us(BatchSums.of(batch, built.kv_breakpoints)) for batch in batches]
    steps = [
        StepRecord(0, us, tuple(("a", *chunk) for chunk in batch.prefill), tuple(("a", p) for p in batch.decode), 0, 1)
        for batch, us in zip(batches, durations_us, strict=True)
    ]
    by_kind = explain_run(built, steps)["bottlenecks"]["by_kind"]
    assert by_kind["prefill"]["time_share"] == pytest.approx(durations_us[0] / sum(durations_us[:28]))


def test_decode_of_a_large_model_at_long_context_is_memory_bound():
    command = ["run", "--model", "llama-2-70b-hf", "--tp", 4, "--num-requests", 8, "--concurrency", 8]
    report = invoke(*command, "--prompt-tokens", 8000, "--output-tokens", 192, "--explain").json
    bottlenecks = report["explanation"]["bottlenecks"]
    assert bottlenecks["by_kind"]["decode"]["bound"] == {"memory": pytest.approx(1.0)}
    assert bottlenecks["by_kind"]["prefill"]["bound"] == {"compute": pytest.approx(1.0)}


def test_an_explanation_has_shares_that_add_up_and_at_most_five_lines():
    outcome = invoke(*SMALL, "--steptime", "roofline", "--explain")
    explanation = outcome.json["explanation"]
    assert sum(explanation["bottlenecks"]["time_share"].values()) == pytest.approx(1)
    assert sum(explanation["bottlenecks"]["bound"].values()) == pytest.approx(1)
    assert set(explanation["bottlenecks"]["phases"]) == {"prefill", "decode"}
    operations = explanation["typical_step"]["operations"]
    assert {"QKV projection", "attention"} <= {each["operation"] for each in operations}
    assert all(each["total_us"] == pytest.approx(each["times"] * each["each_us"]) for each in operations)
    why = explanation["typical_step"]["why"]
    assert 1 < len(why) <= 5
    assert f"{explanation['typical_step']['duration_us'] / 1000:.3f} ms" in why[0]
    assert outcome.err.splitlines()[2 : 2 + len(why)] == why


def test_the_typical_step_is_the_median_of_the_kind_that_takes_most_time():
    def step(start_us, duration_us, *, prefill=()):
        return StepRecord(start_us, duration_us, prefill, () if prefill else (("a", 1),), 0, 1)

    chunk = (("a", 0, 10),)
    steps = [step(0, 50, prefill=chunk), step(50, 10), step(60, 30), step(90, 20)]
    assert typical_step(steps).duration_us == 20
    assert typical_step([*steps, step(110, 500, prefill=chunk)]).duration_us == 50


def test_a_run_that_serves_nothing_is_explained_as_nothing():
    report = invoke(*SMALL, "--kv-blocks", 2, "--explain").json
    assert report["explanation"] == {"bottlenecks": None, "typical_step": None}
    assert report["metrics"]["ttft_mean"]["value"] is None


def test_every_help_page_has_an_example_and_exits_with_0():
    for command in ("run", "price", "lookup", "replay", "audit"):
        outcome = invoke(command, "--help")
        assert outcome.code == 0
        assert "example:" in outcome.out
        assert f"python -m simulator {command}" in outcome.out


def test_a_reader_that_goes_away_is_no_crash(project_root):
    command = [sys.executable, "-m", "simulator", *map(str, SMALL)]
    running = subprocess.Popen(command, cwd=project_root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    running.stdout.close()
    message = running.stderr.read()
    running.stderr.close()
    assert running.wait() == 141
    assert {line.partition(b":")[0] for line in message.splitlines()} == {b"step time", b"trust"}


def test_a_wrong_flag_exits_with_2():
    assert "unrecognized arguments" in refused(*SMALL, "--frobnicate")


def test_many_runs_in_one_process_report_what_each_reports_alone(tmp_path):
    other = yaml.safe_load(YAML) | {"model": "llama-2-70b-hf", "steptime": {"family": "mfu_roofline"}, "seed": 8}
    specs = [yaml.safe_load(YAML), other, yaml.safe_load(YAML)]
    done = invoke("runs", stdin="".join(json.dumps(spec) + "\n" for spec in specs))
    alone = []
    for number, spec in enumerate(specs):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(spec))
        alone.append(invoke("run", "--config", path).json)
    assert done.code == 0
    assert done.lines == alone


def test_a_run_that_cannot_be_names_its_line_and_what_was_answered_before():
    good = yaml.safe_load(YAML)
    for bad, problem in (
        (good | {"engine": {"kv_block": 9}}, "engine.kv_block: unknown key; did you mean 'kv_blocks'?"),
        (good | {"model": "llama-2-7b"}, "model: unknown id 'llama-2-7b'; did you mean 'llama-2-7b-hf'?"),
        (good | {"tensor_parallel": 3}, "tensor"),
    ):
        done = invoke("runs", stdin=f"{json.dumps(good)}\n{json.dumps(bad)}\n")
        assert (done.code, len(done.lines)) == (2, 1)
        assert "standard input:2: " in done.err
        assert problem in done.err
        assert "1 record(s) before it were answered" in done.err


def test_measured_tables_are_introduced_with_their_rows_and_the_attention_shape_that_answers(tables):
    told = invoke(*SMALL, "--steptime", "roofline", "--kernels", tables).err
    assert re.search(r"kernel tables of h100: \d+ GEMM rows; attention 32-32-128 at TP 1 is answered by prefill", told)
    command = ["run", "--model", "qwen3-14b", "--num-requests", 1, "--rate", 1, *SMALL_LENGTHS]
    asked, used = re.search(
        r"attention (\S+) at TP 1 is answered by prefill (\S+)",
        invoke(*command, "--steptime", "roofline", "--kernels", tables).err,
    ).groups()
    assert asked == "40-8-128" != used


LENGTHS = {"prompt": {"kind": "constant", "tokens": 40}, "output": {"kind": "constant", "tokens": 5}}
WORKLOADS = {
    "a day": {"arrivals": {"kind": "diurnal", "rate_per_s": 5, "period_s": 60, "peak_to_mean": 1.8}},
    "hours": {"arrivals": {"kind": "diurnal", "rate_per_s": 5, "period_s": 60, "relative_rates": [1, 3]}},
    "replayed": {"arrivals": {"kind": "replayed", "arrival_us": [0, 5, 9, 200], "rate_per_s": 3}},
    "popular": {
        "arrivals": {"kind": "gamma", "rate_per_s": 5, "cv": 2.5},
        "prefix": {"kind": "drawn", "tokens": 32, "groups": 2, "exponent": 1.2},
    },
    "sessions": {
        "arrivals": {"kind": "poisson", "rate_per_s": 5},
        "prefix": {"kind": "shared", "tokens": 32},
        "sessions": {
            "turns": {"kind": "geometric", "mean_turns": 2},
            "think_s": {"kind": "lognormal", "mean_s": 2, "cv": 1},
            "max_context_tokens": 500,
        },
    },
    "users": {
        "arrivals": {"kind": "closed_loop", "concurrency": 2},
        "sessions": {"turns": {"kind": "uniform", "min_turns": 1, "max_turns": 3}},
    },
}


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_every_kind_of_workload_is_reached_from_a_file(config, workload):
    described = {"model": "llama-2-7b-hf", "workload": {"requests": 4, **LENGTHS, **workload}}
    config.write_text(yaml.safe_dump(described))

    assert invoke("run", "--config", config).json["requests"]["completed"] == 4


def test_turns_of_conversations_are_asked_for_by_flags():
    report = invoke(*SMALL, "--turns", "2-2", "--think-s", 5).json

    # The second turn of both sessions finds the 44 tokens computed in the first, but for the block that is not full.
    assert report["counters"]["cached_tokens"] == 2 * 32
    assert "--turns: must be N or MIN-MAX, got 'two'" in refused(*SMALL, "--turns", "two")


def test_a_trace_is_sent_faster_by_a_flag(tmp_path):
    (tmp_path / "trace.csv").write_text("arrival_us,prompt_tokens,output_tokens\n0,10,2\n8000000,10,2\n")
    command = ["run", "--model", "llama-2-7b-hf", "--request-trace", tmp_path / "trace.csv"]

    slow, fast = (invoke(*command, *more).json["counters"]["end_us"] for more in ([], ["--speed", 4]))

    assert fast == slow - 6_000_000
    assert "replayed arrivals without arrival_us" in refused(
        "run", "--model", "llama-2-7b-hf", "--num-requests", 2, *SMALL_LENGTHS, "--speed", 2
    )


THREE = ["--replicas", 3, "--router", "least_requests"]


def test_servers_behind_a_router_report_their_shares_and_their_sum():
    report = invoke(*SMALL, *THREE).json

    assert (report["replicas"], report["router"]) == (3, "least_requests")
    assert [share["requests"] for share in report["shares"]] == [2, 1, 1]
    for name in ("steps", "decode_tokens", "prefill_us"):
        assert report["counters"][name] == sum(share[name] for share in report["shares"])
    assert "shares" not in invoke(*SMALL).json


def test_every_router_serves_conversations_and_users(config):
    for router in ("round_robin", "least_requests", "prefix_aware"):
        for name in ("sessions", "users", "popular"):
            engine = {"replicas": 2, "router": router}
            described = {
                "model": "llama-2-7b-hf",
                "engine": engine,
                "workload": {"requests": 8, **LENGTHS, **WORKLOADS[name]},
            }
            config.write_text(yaml.safe_dump(described))
            report = invoke("run", "--config", config).json
            assert (report["router"], report["requests"]["completed"]) == (router, 8)


def test_data_parallel_instances_of_a_dense_model_are_servers_behind_a_router():
    by_name, instances = (invoke(*SMALL, flag, 2).json for flag in ("--replicas", "--data-parallel"))

    assert by_name == instances
    assert instances["replicas"] == 2
    assert "data_parallel 2 and engine.replicas 3 differ" in refused(*SMALL, "--dp", 2, "--replicas", 3)


def test_trust_looks_at_the_load_of_one_server():
    done = [RequestResult("a", 0, 40, 5, RequestState.COMPLETED)]
    values = {"request_throughput": 60.0, "e2e_mean": 500.0, "output_tokens_mean": 5.0}

    assert load_in(done, 2, 1, values) == load_of(2, 60.0, 500.0, 40, 5)
    assert load_in(done, 2, 3, values) == load_of(2, 20.0, 500.0, 40, 5)


def test_a_router_without_a_choice_is_refused():
    assert "round_robin has one server to send to; give engine.replicas" in refused(*SMALL, "--router", "round_robin")
    assert "only a router of kind prefix_aware looks at it" in refused(*SMALL, *THREE, "--router-load-factor", 2)


def test_the_timeline_has_a_process_for_every_server(tmp_path):
    path = tmp_path / "run.json"
    report = invoke(*SMALL, *THREE, "--trace", path).json
    events = json.loads(path.read_text())["traceEvents"]

    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names == {1: "engine 0", 2: "requests", 3: "engine 1", 4: "engine 2"}
    for process, share in zip((1, 3, 4), report["shares"], strict=True):
        steps = [event for event in events if event["ph"] == "X" and event["pid"] == process]
        assert len(steps) == share["steps"]
