"""Which step-time model a run is priced with, what is said about it, and what is refused."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise

import pytest
import yaml

from simulator.cli.catalog import SHIPPED_CONFIGS, find_curves, find_hardware, find_model, find_tables
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.build import build_step_time
from simulator.steptime.kernel_choice import choose_kernels
from simulator.steptime.named import roofline
from simulator.steptime.options import parse_options
from tests.simulator.cli.support import SMALL, SMALL_LENGTHS, invoke, json_lines, refused

RUN = ["run", "--num-requests", 4, "--rate", 5, *SMALL_LENGTHS]
GPUS = sorted(path.stem for path in (SHIPPED_CONFIGS / "hardware").glob("*.yaml"))


def itl(*argv: object) -> float:
    return invoke(*SMALL, *argv).json["metrics"]["itl_token_weighted"]["value"]


def test_a_calibration_that_covers_the_gpu_is_the_default_and_is_named_with_what_it_rests_on():
    done = invoke(*SMALL)
    assert done.json["step_time_name"] == "h100_vllm"
    assert "fitted to 37 load points of 9 model families on h100-sxm" in done.json["step_time_basis"]
    assert done.err.splitlines()[0] == f"step time: h100_vllm: {done.json['step_time_basis']}"
    assert itl() == itl("--steptime", "h100_vllm")


@pytest.mark.parametrize("gpu", ["b200-sxm", "h200-sxm"])
def test_a_gpu_that_a_fleet_covers_runs_by_default_and_says_what_that_rests_on(gpu):
    report = invoke(*SMALL, "--hardware", gpu).json
    assert report["step_time_name"] == "vllm_fleet"
    assert "load points of 5 models on b200-sxm, h100-sxm, h200-sxm" in report["step_time_basis"]


@pytest.mark.parametrize("gpu", [gpu for gpu in GPUS if gpu not in ("h100-sxm", "h200-sxm", "b200-sxm")])
def test_every_other_shipped_gpu_runs_by_default_and_says_that_nobody_measured_it(gpu):
    report = invoke(*SMALL, "--hardware", gpu).json
    assert report["requests"]["completed"] == 4
    assert report["step_time_name"] == "roofline"
    assert "80% of its bandwidth (it may be 70% to 90%)" in report["step_time_basis"]
    assert f"not validated against a measured server on {gpu}" in report["step_time_basis"]


def test_a_calibration_used_elsewhere_says_where_it_leaves_what_it_rests_on():
    command = [*RUN, "--model", "llama-3.1-70b-instruct", "--hardware", "h200-sxm", "--tp", 8]
    basis = invoke(*command, "--steptime", "h100_vllm").json["step_time_basis"]
    assert "h200-sxm was not calibrated on (h100-sxm was)" in basis
    assert "TP 8 was not calibrated on (1, 2, 4 were)" in basis
    basis = invoke(*SMALL, "--model", "qwen3-30b-a3b").json["step_time_basis"]
    assert "qwen3-30b-a3b is none of the 9 models fitted to" in basis


def test_every_name_runs_and_the_data_sheet_is_faster_than_all_of_them():
    times = {name: itl("--steptime", name) for name in ("h100_vllm", "roofline", "v2", "v1", "data_sheet")}
    assert min(times, key=times.get) == "data_sheet"
    assert len(set(times.values())) == len(times)


def test_a_name_nobody_knows_is_refused_with_the_nearest_one():
    message = refused(*SMALL, "--steptime", "h100_vlm")
    assert "unknown step-time model 'h100_vlm'; did you mean 'h100_vllm'?" in message
    assert "roofline" in message


def test_the_hand_calibrated_model_is_refused_where_nobody_calibrated_it():
    assert "nobody calibrated its 17 parameters for l40s" in refused(*SMALL, "--hardware", "l40s", "--steptime", "v1")
    assert invoke(*SMALL, "--hardware", "a100-sxm", "--steptime", "v1").json["step_time"] == "calibrated_roofline"


def test_a_name_in_a_file_takes_single_options_on_top(tmp_path):
    path = tmp_path / "run.yaml"
    run = {"model": "llama-2-7b-hf", "workload": {"requests": 2, "arrivals": {"kind": "closed_loop", "concurrency": 1}}}
    run["workload"] |= {"prompt": {"kind": "constant", "tokens": 40}, "output": {"kind": "constant", "tokens": 5}}
    found = []
    for steptime in (
        "h100_vllm",
        {"base": "h100_vllm"},
        {"base": "h100_vllm", "step_us": 1222.11},
        {"step_us": 1222.11},
    ):
        path.write_text(yaml.safe_dump({**run, "steptime": steptime}))
        found.append(invoke("run", "--config", path).json["metrics"]["itl_token_weighted"]["value"])
    assert found[0] == found[1]
    assert found[2] == found[3] == pytest.approx(found[0] + 1.0)


def test_options_from_the_ground_up_and_a_name_exclude_each_other(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("model: llama-2-7b-hf\nsteptime: {family: mfu_roofline}\n")
    assert "base and family exclude each other" in refused(*RUN, "--config", path, "--steptime", "roofline")
    assert invoke(*RUN, "--config", path).json["step_time_name"] == "custom"


def test_an_option_only_the_roofline_has_chooses_it_where_no_model_was_named():
    report = invoke(*SMALL, "--bandwidth-efficiency", 0.5).json
    assert report["step_time_name"] == "roofline"
    assert itl("--bandwidth-efficiency", 0.5) > 1.3 * itl("--steptime", "roofline")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--bandwidth-efficiency", 0.5], "bandwidth_efficiency"),
        (["--kernels", "embedded"], "mfu"),
        (["--policy", "nearest"], "mfu"),
        (["--set", "steptime.phase_combination=sum"], "phase_combination"),
    ],
)
def test_an_option_the_named_model_does_not_have_is_refused_by_name(flags, told):
    message = refused(*SMALL, "--steptime", "h100_vllm", *flags)
    assert f"{told}: unknown key" in message
    assert f"{told}: of the MFU roofline; choose it with --steptime roofline" in message


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("kv_bucket_edges=[100]", "with decode_attention flops_weighted"),
        ("prefill_gemm=per_bucket", "with phase_combination additive"),
        ("causal_divisor_by_gpu={a100-sxm: 1.9}", "on h100-sxm, which it does not name"),
    ],
)
def test_an_option_without_effect_is_refused_by_name_and_reason(assignment, told):
    style = ["--set", "steptime.mfu.style=mfu"]
    message = refused(*SMALL, "--steptime", "roofline", *style, "--set", f"steptime.{assignment}")
    assert f"{assignment.split('=')[0]}: no effect {told}" in message


def test_options_that_price_arithmetic_have_no_effect_where_memory_alone_counts():
    message = refused(*SMALL, "--set", "steptime={family: mfu_roofline, compute_term: false, fused_qkv: true}")
    assert "fused_qkv: no effect with compute_term false" in message


def test_a_bandwidth_efficiency_of_0_is_the_peak_on_the_command_line_and_in_a_gpus_file(tmp_path):
    text = (SHIPPED_CONFIGS / "hardware" / "a100-sxm.yaml").read_text()
    files = {
        "zero": text + "sustained: {bandwidth_efficiency: {value: 0, low: 0, high: 1, source: test}}\n",
        "absent": text + "sustained: {linked_gpus: {value: 8, source: test}}\n",
    }
    found = {"flag": itl("--hardware", "a100-sxm", "--bandwidth-efficiency", 0)}
    for name, content in files.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(content)
        found[name] = itl("--hardware", path)
        assert "memory runs at its peak" in invoke(*SMALL, "--hardware", path).json["step_time_basis"]
    assert len(set(found.values())) == 1
    assert found["flag"] < itl("--hardware", "a100-sxm")


def test_tables_in_seconds_are_refused_on_another_gpu_and_their_efficiencies_are_flagged(tables):
    elsewhere = [*SMALL, "--hardware", "a100-sxm", "--kernels", tables]
    assert "kernel tables hold seconds of h100, the run is on a100-sxm" in refused(*elsewhere)
    warned = invoke(*elsewhere, "--set", "steptime.mfu.style=mfu").json["warnings"]
    assert any("kernel tables are of h100, the run is on a100-sxm" in warning for warning in warned)


def test_tables_answer_by_latency_unless_another_policy_is_asked_for(tables):
    assert "latency" in invoke(*SMALL, "--kernels", tables).json["kernels"]
    assert "nearest" in invoke(*SMALL, "--kernels", tables, "--policy", "nearest").json["kernels"]


def test_decodes_beside_a_prefill_take_time():
    """The step of a long prefill is longer with 60 decodes in it than without them."""
    model, gpu = find_model("llama-2-7b-hf", SHIPPED_CONFIGS), find_hardware("h100-sxm", SHIPPED_CONFIGS)
    options = parse_options(roofline(model, gpu), source="test")
    kernels = choose_kernels(options, gpu, embedded=find_curves(gpu, SHIPPED_CONFIGS))
    built = build_step_time(options, model, gpu, 1, kernels)
    alone = built.explain(Batch(((0, 1900),))).total_us
    beside = built.explain(Batch(((0, 1900),), (2000,) * 60)).total_us
    assert beside - alone > 0.8 * 60 * 2000 * model.kv_bytes_per_token / 3.35e12 * 1e6


def test_tensor_parallelism_costs_communication_on_the_roofline_and_says_that_dividing_prefill_is_optimistic():
    command = [*RUN, "--model", "llama-3.1-70b-instruct", "--hardware", "h200-sxm", "--tp", 4]
    command += ["--steptime", "roofline"]
    plain = invoke(*command).json
    free = invoke(*command, "--set", "steptime.all_reduce_us=0", "--set", "steptime.link_efficiency=null").json
    shorter = plain["metrics"]["itl_token_weighted"]["value"] - free["metrics"]["itl_token_weighted"]["value"]
    assert shorter > 2 * 80 * 0.010
    assert "dividing prefill by TP 4 is optimistic" in plain["step_time_basis"]


def test_tensor_parallelism_ends_where_heads_or_links_end():
    assert "join 8 (NVIDIA HGX H100" in refused(*SMALL, "--tp", 16)
    model = ["--model", "qwen2.5-14b-instruct"]
    assert "not divisible by tensor_parallel 16" in refused(*RUN, *model, "--tp", 16, "--hardware", "gb200")


def test_kv_heads_that_gpus_can_neither_split_nor_copy_evenly_are_refused(tmp_path):
    config = json.loads((SHIPPED_CONFIGS / "models" / "llama-2-7b-hf.json").read_text())
    path = tmp_path / "model.json"
    three = {"num_attention_heads": 24, "num_key_value_heads": 3, "head_dim": 128, "intermediate_size": 11010}
    path.write_text(json.dumps({**config, **three}))
    assert "3 KV heads, which 2 GPUs can neither split nor copy evenly" in refused(*RUN, "--model", path, "--tp", 2)
    assert invoke(*RUN, "--model", path, "--tp", 3).code == 0


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        (["--pipeline-parallel", 2], "pipeline parallelism"),
        (["--pp", 2], "pipeline parallelism"),
        (["--speculative", "ngram"], "speculative decoding"),
        (["--disaggregated"], "disaggregated prefill and decode"),
        (["--set", "pipeline_parallel=2"], "pipeline parallelism"),
        (["--set", "speculative={tokens: 3}"], "speculative decoding"),
        (["--set", "speculative=true"], "speculative decoding"),
        (["--set", "speculative=1"], "speculative decoding"),
        (["--set", "pipeline_parallel=true"], "pipeline parallelism"),
    ],
)
def test_what_is_not_modelled_is_refused_by_name_when_asked_for(flag, told):
    message = refused(*SMALL, *flag)
    assert "not modelled" in message
    assert told in message


def test_what_is_not_modelled_is_named_in_the_help_and_its_absence_may_be_said():
    assert "not modelled:" in invoke("run", "--help").out
    assert itl("--pp", 1, "--dp", 1) == itl()
    for off in ("off", "false", "no", "0", "none"):
        assert itl("--speculative", off, "--disaggregated", off, "--expert-parallel", off) == itl()
    assert "pipeline parallelism" in refused(
        "runs", stdin=json_lines({"model": "llama-2-7b-hf", "pipeline_parallel": 4})
    )


def test_an_fp8_cache_shortens_decodes_of_long_contexts_in_every_model():
    long = ["run", "--model", "llama-2-7b-hf", "--num-requests", 4, "--concurrency", 4, "--output-tokens", 5]
    long += ["--prompt-tokens", 3000]
    for name in ("h100_vllm", "roofline", "v1", "v2"):
        whole, half = (
            invoke(*long, "--steptime", name, "--kv-cache-dtype", dtype).json["metrics"]["itl_token_weighted"]["value"]
            for dtype in ("auto", "fp8")
        )
        assert half < whole


def test_every_run_says_how_far_it_is_from_the_peaks_of_its_gpu():
    for gpu in GPUS:
        ratios = invoke(*SMALL, "--hardware", gpu).json["roofline"]
        assert 1 < ratios["fastest_step_over_bound"] <= ratios["time_over_bound"] < 4
        assert 0 < ratios["most_of_peak_flops"] < 1
        assert 0.3 < ratios["most_of_peak_bandwidth"] < 1
    at_peak = invoke(*SMALL, "--steptime", "data_sheet").json["roofline"]
    assert at_peak["fastest_step_over_bound"] == pytest.approx(1, abs=1e-3)


def test_a_run_faster_than_its_gpu_is_said_to_be_impossible_loudly():
    linear = "steptime={family: linear, step_us: 100.0, prefill_us_per_token: 0.1, decode_us_per_token: 1.0}"
    done = invoke(*SMALL, "--set", linear)
    assert "warning: IMPOSSIBLE: a step of " in done.err
    assert "of what the peaks of h100-sxm allow" in done.json["warnings"][0]
    assert invoke(*SMALL).json["warnings"] == []
    spec = {"model": "llama-2-7b-hf", "steptime": {"family": "linear", "step_us": 100.0}}
    spec["steptime"] |= {"prefill_us_per_token": 0.1, "decode_us_per_token": 1.0}
    spec["workload"] = {"requests": 1, "arrivals": {"kind": "closed_loop", "concurrency": 1}}
    spec["workload"] |= {"prompt": {"kind": "constant", "tokens": 40}, "output": {"kind": "constant", "tokens": 5}}
    assert "IMPOSSIBLE" in invoke("runs", stdin=json_lines(spec)).lines[0]["warnings"][0]


def test_a_run_that_serves_nothing_has_no_ratio():
    ratios = invoke(*SMALL, "--kv-blocks", 2).json["roofline"]
    assert (ratios["time_over_bound"], ratios["fastest_step_over_bound"]) == (None, None)


def test_sizes_beyond_a_table_are_a_warning_and_sizes_beyond_a_fitted_formula_are_told_when_asked_for(tables):
    large = ["--steptime", "roofline", "--explain"]
    assert invoke(*SMALL, *large).json["warnings"] == []
    assert "outside what was measured or fitted" in invoke(*SMALL, *large).err
    warned = invoke(*SMALL, "--kernels", tables).json["warnings"]
    assert any("outside the sizes the kernels are known for: gemm at m 40" in warning for warning in warned)


def test_fp8_weights_on_a_gpu_without_fp8_units_are_read_as_they_are_and_multiplied_in_16_bits():
    command = [*RUN, "--hardware", "a100-sxm", "--tp", 4]
    wide = invoke(*command, "--model", "llama-3.1-70b-instruct").json
    fp8 = invoke(*command, "--model", "llama-3.1-70b-instruct-fp8").json
    assert any("a100-sxm has no FP8 units" in warning for warning in fp8["warnings"])
    name = "itl_token_weighted"
    assert 0.5 < fp8["metrics"][name]["value"] / wide["metrics"][name]["value"] < 0.75
    assert fp8["roofline"]["fastest_step_over_bound"] > 1


def test_options_set_by_hand_are_named_where_it_says_what_the_model_rests_on():
    basis = invoke(*SMALL, "--bandwidth-efficiency", 0.5, "--set", "steptime.mfu={kind: constant}").json[
        "step_time_basis"
    ]
    assert basis.endswith("set by hand: bandwidth_efficiency, mfu")
    assert "set by hand" not in invoke(*SMALL).json["step_time_basis"]
    assert basis.startswith("constant efficiencies on the data sheet of h100-sxm; not validated")


def test_a_wrong_value_of_an_option_the_model_has_is_not_sent_to_another_model():
    message = refused(*SMALL, "--set", "steptime.base=h100_vllm", "--set", "steptime.link_efficiency=0")
    assert "link_efficiency: Input should be greater than 0" in message
    assert "choose it with" not in message


def test_the_operations_of_every_model_hold_the_all_reduces_of_tensor_parallelism():
    command = [*RUN, "--model", "llama-2-7b-hf", "--tp", 4, "--explain", "--steptime"]
    for name, word in (("v1", "all-reduce"), ("roofline", "all-reduce"), ("h100_vllm", "collectives")):
        operations = invoke(*command, name).json["explanation"]["typical_step"]["operations"]
        assert any(each["operation"] == word and each["total_us"] > 0 for each in operations)


def test_the_hand_calibrated_model_says_that_its_one_peak_is_that_of_16_bits():
    fp8 = [*RUN, "--tp", 4, "--model", "llama-3.1-70b-instruct-fp8", "--steptime", "v1"]
    told = "multiplied at TFlopsPeak 989.5, the rate of 16 bits"
    assert any(told in warning for warning in invoke(*fp8).json["warnings"])
    assert not any(told in warning for warning in invoke(*SMALL, "--steptime", "v1").json["warnings"])


def test_a_bandwidth_set_by_hand_is_not_described_by_the_one_it_replaces():
    words = "82% of its bandwidth"
    assert words in invoke(*SMALL, "--steptime", "roofline").json["step_time_basis"]
    assert words not in invoke(*SMALL, "--bandwidth-efficiency", 0).json["step_time_basis"]


def test_a_gpu_of_tables_without_tables_is_refused_in_terms_of_flags():
    assert "name their folder with --kernels, or the GPU that is simulated with --hardware" in refused(
        *SMALL, "--gpu", "h100"
    )


def test_coefficients_of_a_linear_model_say_what_they_do_not_know():
    linear = "steptime={family: linear, step_us: 9000.0, prefill_us_per_token: 10.0, decode_us_per_token: 1.0}"
    basis = invoke(*SMALL, "--set", linear).json["step_time_basis"]
    assert "model, GPU, tensor parallelism and KV cache do not enter" in basis


def test_steps_priced_with_measured_tables_have_no_spikes_where_efficiencies_are_rounded_to_zero(bench_tables):
    """The MFU column has three decimals: 17 of its rows are zero, all of single requests with short contexts."""
    if not bench_tables.is_dir():
        pytest.skip("the measured kernel tables are not here")
    model, gpu = find_model("llama-2-7b-hf", SHIPPED_CONFIGS), find_hardware("h100-sxm", SHIPPED_CONFIGS)
    options = parse_options(roofline(model, gpu, "measured"), source="test")
    kernels = choose_kernels(options, gpu, tables=find_tables(str(bench_tables), "h100"))
    built = build_step_time(options, model, gpu, 1, kernels)
    for requests in (1, 4, 16):
        batches = (Batch(decode=(past,) * requests) for past in range(1, 4000, 37))
        times = [built.step_time_us(BatchSums.of(batch, built.kv_breakpoints)) for batch in batches]
        assert all(0.99 < later / earlier < 1.05 for earlier, later in pairwise(times))


def test_the_default_says_how_large_its_error_was_on_families_it_had_not_seen(tmp_path):
    dense, experts = (
        invoke(*RUN, "--model", model).json["step_time_basis"] for model in ("llama-3.1-8b-instruct", "qwen3-30b-a3b")
    )
    assert "dense models of families it had not seen there: mean error TTFT 3.9 %, ITL 2.5 %, E2E 2.6 %" in dense
    assert "mixtures of experts of families it had not seen there: mean error TTFT 10.8 %" in experts
    configs = tmp_path / "configs"
    shutil.copytree(SHIPPED_CONFIGS, configs)
    shutil.rmtree(configs / "calibration" / "validated")
    assert "nobody states the error" in invoke(*SMALL, "--configs", configs).json["step_time_basis"]
