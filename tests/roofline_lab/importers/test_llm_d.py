"""Benchmark reports of llm-d: figures in the units they state, and what is not modelled refused by name."""

from __future__ import annotations

import json

import pytest
import yaml

from roofline_lab.cli.main import main
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers import llm_d
from roofline_lab.importers.inspection import kind_of
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import AsWritten, llm_d_figures, llm_d_report, sent, write_llm_d

SHARED = "formats/llm-d_benchmark_report"


def read(path):
    return AsWritten(llm_d.read(path))


def values(point):
    return {name: figure["value"] for name, figure in point["measured"].items()}


def of(tmp_path, **changes):
    return read(write_llm_d(tmp_path, llm_d_report(sent(), **changes)))


def of_0_1(requests, **load):
    """Return the same figures as version 0.1 writes them: in milliseconds, rates as plain numbers."""
    figures = llm_d_figures(requests)
    for name, values_of in figures["latency"].items():
        scaled = {key: value * 1000 for key, value in values_of.items() if key != "units"}
        figures["latency"][name] = {"units": values_of["units"].replace("s", "ms", 1), **scaled}
    throughput = {
        "requests_per_sec": figures["throughput"]["request_rate"]["mean"],
        "output_tokens_per_sec": figures["throughput"]["output_token_rate"]["mean"],
    }
    return {
        "version": "0.1",
        "scenario": {
            "host": {"type": ["replica"], "accelerator": [{"model": "H100", "count": 2, "parallelism": {"tp": 2}}]},
            "platform": {"engine": [{"name": "vllm", "version": "0.9.1", "args": {"--max-num-seqs": 64}}]},
            "model": {"name": "meta-llama/Llama-2-7b-hf"},
            "load": {"name": "inference-perf", "args": {"qps": 1.0, **load}},
        },
        "metrics": {"time": {"duration": 60.0, "start": 1_767_600_000.0}, **figures, "throughput": throughput},
    }


# --- figures ------------------------------------------------------------------------------------


def test_figures_are_in_milliseconds_from_the_units_the_report_states(tmp_path):
    requests = sent()
    (point,) = of(tmp_path).load_points
    shown = values(point)
    assert shown["ttft_mean"] == pytest.approx(1000 * sum(one.ttft_s for one in requests) / 20)
    assert shown["e2e_mean"] == pytest.approx(1000 * sum(one.e2e_s for one in requests) / 20)
    assert (shown["tpot_mean"], shown["itl_p99"]) == (10.0, 10.0)
    assert point["requests"]["sent"] == 20


def test_version_0_1_gives_the_figures_of_version_0_2(tmp_path):
    old, new = read(write_llm_d(tmp_path / "a", of_0_1(sent()))), of(tmp_path / "b")
    assert values(old.load_points[0]) == pytest.approx(values(new.load_points[0]))
    assert old.tensor_parallel == 2
    assert (old.known["software"], old.known["max_running"]) == ("vLLM 0.9.1", 64)
    assert str(old.date) == "2026-01-05"


def test_yaml_and_json_are_the_same_report(tmp_path):
    report = llm_d_report(sent())
    path = tmp_path / "benchmark_report.yaml"
    path.write_text("# written by a harness\n" + yaml.safe_dump(report), encoding="utf-8")
    assert read(path).load_points == read(write_llm_d(tmp_path)).load_points
    assert kind_of(path) == "llm-d"


def test_what_the_report_states_of_the_server_is_used(tmp_path):
    found = of(tmp_path)
    assert found.known["prefix_caching"] is False
    assert found.known["max_model_len_tokens"] == 4096
    assert found.known["software"] == "vLLM 0.11.0"
    assert (found.model_name, found.tensor_parallel, str(found.date)) == ("meta-llama/Llama-2-7b-hf", 1, "2026-01-05")


def test_experts_that_lie_whole_on_gpus_are_a_setting_of_the_server(tmp_path):
    spread = {"accelerator": {"model": "NVIDIA-H100-80GB-HBM3", "parallelism": {"tp": 8, "ep": 8}}}
    found = of(tmp_path / "new", engine=spread)
    assert (found.tensor_parallel, found.known["expert_parallel"]) == (8, True)
    old = of_0_1(sent())
    old["scenario"]["host"]["accelerator"][0]["parallelism"]["ep"] = 2
    assert read(write_llm_d(tmp_path / "old", old)).known["expert_parallel"] is True
    assert "expert_parallel" not in of(tmp_path / "none").known


def test_inspect_names_the_version_of_the_report_and_the_tool_that_measured(tmp_path, capsys):
    assert main(["inspect", str(write_llm_d(tmp_path))]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("llm-d Benchmark Report 0.2 of vllm-benchmark 0.11.0, benchmark_report.json")


@pytest.mark.parametrize(
    ("load", "arrivals"),
    [
        ({}, {"kind": "poisson", "rate_per_s": 1.0}),
        ({"tool": "guidellm"}, {"kind": "constant_rate", "rate_per_s": 1.0, "first": "zero"}),
        ({"tool": "inference-perf"}, {"kind": "poisson", "rate_per_s": 1.0, "rescaled": True}),
        ({"rate_qps": None, "concurrency": 4}, {"kind": "closed_loop", "concurrency": 4}),
        ({"rate_qps": None, "concurrency": 400}, {"kind": "burst"}),
        ({"concurrency": 16}, {"kind": "poisson", "rate_per_s": 1.0}),
    ],
)
def test_every_load_becomes_its_kind_of_arrivals(tmp_path, load, arrivals):
    assert of(tmp_path, load=load).load_points[0]["arrivals"] == arrivals


def test_failed_and_unfinished_requests_are_counted(tmp_path):
    report = llm_d_report(sent(), failures=2)
    report["results"]["request_performance"]["aggregate"]["requests"] |= {"total": 25, "incomplete": 3}
    counts = read(write_llm_d(tmp_path, report)).load_points[0]["requests"]
    assert [counts[name] for name in ("sent", "completed", "failed", "cancelled")] == [25, 20, 2, 3]


def test_a_prefix_of_all_prompts_is_shared(tmp_path):
    found = of(tmp_path, load={"prefix": {"prefix_len": {"distribution": "fixed", "value": 64}, "num_groups": 1}})
    assert found.workload["prefix"] == {"kind": "shared", "tokens": 64, "counted": "included"}


def test_guidellms_time_per_token_in_a_report_contains_ttft_and_is_corrected(tmp_path):
    requests, report = sent(), llm_d_report(sent(), load={"tool": "guidellm"})
    latency = report["results"]["request_performance"]["aggregate"]["latency"]
    tokens = sum(one.output for one in requests)
    latency["time_per_output_token"]["mean"] = sum(one.e2e_s for one in requests) / tokens
    found = read(write_llm_d(tmp_path, report))
    assert Flag.TPOT_INCLUDES_TTFT in {flag.flag for flag in found.quality}
    assert values(found.load_points[0])["tpot_mean"] == pytest.approx(10.0, rel=0.01)
    assert "tpot_p99" not in values(found.load_points[0])


def test_stages_of_a_folder_are_load_points_of_one_experiment(tmp_path):
    for stage, rate in enumerate((1.0, 2.0)):
        report = llm_d_report(sent(every_s=1 / rate), load={"rate_qps": rate, "stage": stage})
        write_llm_d(tmp_path, report, f"report_{stage}.json")
    found = read(tmp_path)
    assert [point["rate"]["requested_per_s"] for point in found.load_points] == [1.0, 2.0]


def test_reports_of_two_servers_are_no_one_experiment(tmp_path):
    write_llm_d(tmp_path, llm_d_report(sent()), "a.json")
    other = llm_d_report(sent(every_s=2.0), engine={"model": {"name": "meta-llama/Llama-2-70b-hf"}})
    write_llm_d(tmp_path, other, "b.json")
    with pytest.raises(ConfigError, match="load points of one experiment have one server"):
        read(tmp_path)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"engine": {"replicas": 2}}, "replicas 2: several servers behind a router are not modelled"),
        ({"engine": {"role": "prefill"}}, r"prefill and decode on servers of their own \(disaggregation\)"),
        ({"engine": {"accelerator": {"parallelism": {"pp": 2}}}}, "pp 2: pipeline parallelism is not modelled"),
        ({"engine": {"accelerator": {"parallelism": {"dp": 4}}}}, "dp 4: data parallelism is not modelled"),
        ({"load": {"multi_turn": {"enabled": True}}}, "conversations of several turns are not modelled"),
        ({"load": {"prefix": {"num_groups": 8}}}, "8 groups of prompts"),
        ({"load": {"rate_qps": None, "concurrency": None}}, "no rate and no concurrency"),
        ({"load": {"concurrency": "many"}}, "concurrency: must be a whole number"),
        ({"version": "0.9"}, "version 0.9; known are the versions 0.1, 0.2, 0.2.1"),
    ],
)
def test_what_is_not_modelled_or_cannot_be_is_refused_by_name(tmp_path, changes, expected):
    with pytest.raises(ConfigError, match=expected):
        of(tmp_path, **changes)


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("latency", "request_latency", "units"), "min", "latency.request_latency.units: 'min'; allowed: s, ms, us"),
        (("latency", "request_latency", "units"), "ms", "are seconds and milliseconds mixed"),
        (("requests", "total"), 0, "without an answer nothing is measured"),
        (("requests", "input_length"), None, r"requests\.input_length\.mean: missing; nothing says how long prompts"),
        (("requests", "multimodal"), {"image": {}}, "pictures, sound and video"),
        (("latency", "time_to_first_token", "mean"), -1.0, r"latency\.time_to_first_token\.mean"),
    ],
)
def test_figures_that_cannot_be_are_refused_with_their_key(tmp_path, place, value, expected):
    report = llm_d_report(sent())
    content = report["results"]["request_performance"]["aggregate"]
    for key in place[:-1]:
        content = content[key]
    content[place[-1]] = value
    with pytest.raises(ConfigError, match=expected):
        read(write_llm_d(tmp_path, report))


@pytest.mark.parametrize("value", ["PT", "P1Y", "fast", -3, True, "PT0S", "9" * 100])
def test_a_duration_that_is_none_is_refused(tmp_path, value):
    report = llm_d_report(sent())
    report["run"]["time"]["duration"] = value
    with pytest.raises(ConfigError, match=r"duration: must be seconds above 0 or like PT49\.9S"):
        read(write_llm_d(tmp_path, report))


# --- the recorded examples ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("br_v0_1_example.yaml", ["prefill, decode, decode: prefill and decode on servers of their own"]),
        ("br_v0_2_example.yaml", ["replicas 2", "several turns", "32 groups of prompts"]),
        ("br_v0_2_1_example.yaml", ["replicas 2", "several turns", "32 groups of prompts", "pictures, sound"]),
    ],
)
def test_the_recorded_examples_are_recognised_and_say_what_is_not_modelled(shared_dir, name, expected):
    assert kind_of(shared_dir / SHARED / name) == "llm-d"
    with pytest.raises(ConfigError) as caught:
        read(shared_dir / SHARED / name)
    assert [text in str(caught.value) for text in expected] == [True] * len(expected)


def test_the_recorded_example_without_what_is_not_modelled_has_its_figures(shared_dir, tmp_path):
    """By hand: 500 requests, TTFT 36.858 ms (p50 36.229, p99 50.295), prompts of 2262 tokens, one engine, TP 8."""
    content = yaml.safe_load((shared_dir / SHARED / "br_v0_2_example.yaml").read_text(encoding="utf-8"))
    load, engine = content["scenario"]["load"]["standardized"], content["scenario"]["stack"][0]["standardized"]
    load["multi_turn"]["enabled"], load["prefix"]["num_groups"], engine["replicas"] = False, 1, 1
    aggregate = content["results"]["request_performance"]["aggregate"]
    # The example repeats one figure for every latency; only one of them can be.
    aggregate["latency"] = {"time_to_first_token": aggregate["latency"]["time_to_first_token"]}
    path = tmp_path / "report.json"
    path.write_text(json.dumps(content, default=str).replace("Infinity", '".inf"'), encoding="utf-8")
    found = read(path)
    shown = values(found.load_points[0])
    assert (shown["ttft_mean"], shown["ttft_p50"], shown["ttft_p99"]) == (
        pytest.approx(36.857823),
        pytest.approx(36.229309),
        pytest.approx(50.294897),
    )
    assert found.load_points[0]["arrivals"] == {"kind": "poisson", "rate_per_s": 10.0, "rescaled": True}
    assert (found.tensor_parallel, found.model_name) == (8, "Qwen/Qwen3-0.6B")
    assert found.workload["prompt"]["tokens"] == 2262
    assert found.known["max_model_len_tokens"] == 1024


def test_a_report_with_few_figures_is_recognised_and_says_what_it_lacks(shared_dir):
    path = shared_dir / "cases" / "15-yaml-and-csv-reports" / "benchmark_report.yaml"
    assert kind_of(path) == "llm-d"
    with pytest.raises(ConfigError, match=r"requests\.input_length\.mean: missing; nothing says how long prompts were"):
        read(path)
