"""What a user can get wrong: one clear message, exit code 2, no traceback, nothing invented."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from simulator.cli.catalog import SHIPPED_CONFIGS
from tests.simulator.cli.support import (
    LINEAR_CASE,
    SMALL,
    SMALL_LENGTHS,
    SMALL_RUN,
    STEP,
    invoke,
    json_lines,
    refused,
    write_case,
)

HARDWARE = """\
id: mine
name: mine
dense_bf16_tflops: {value: 900, unit: TFLOPS, source: test}
memory_bandwidth_tbs: {value: BANDWIDTH, unit: TB/s, source: test}
memory_gib: {value: 80, unit: GiB, source: test}
"""


@pytest.mark.parametrize("value", ["0", "-3.35", ".nan", ".inf", "'3.35'"])
def test_a_bandwidth_that_is_no_positive_number_is_refused_with_file_and_key(value, tmp_path):
    path = tmp_path / "gpu.yaml"
    path.write_text(HARDWARE.replace("BANDWIDTH", value))
    message = refused(*SMALL, "--hardware", path)
    assert str(path) in message
    assert "memory_bandwidth_tbs.value" in message


@pytest.mark.parametrize("flag", ["nan", "-0.5", "1.5"])
def test_a_bandwidth_efficiency_outside_0_to_1_is_refused(flag):
    assert "bandwidth_efficiency" in refused(*SMALL, f"--bandwidth-efficiency={flag}")


@pytest.mark.parametrize("degree", [0, -1])
def test_a_tensor_parallel_degree_below_1_is_refused(degree):
    assert "tensor_parallel" in refused(*SMALL, "--tp", degree)


def test_heads_that_do_not_divide_by_tp_are_refused_by_a_run():
    assert "not divisible by tensor_parallel 3" in refused(*SMALL, "--tp", 3)


def test_heads_that_do_not_divide_by_tp_are_only_a_warning_when_a_step_is_priced(tables):
    outcome = invoke("price", "--kernels", tables, stdin=json_lines({**STEP, "tp": 3}))
    assert outcome.code == 0
    assert outcome.lines[0]["step_us"] > 0
    assert "not divisible by tensor_parallel 3" in outcome.err


def test_heads_that_do_not_divide_by_kv_heads_are_refused_by_a_run(tmp_path, project_root):
    model = json.loads((project_root / "configs" / "models" / "llama-2-70b-hf.json").read_text())
    path = tmp_path / "odd.json"
    path.write_text(json.dumps({**model, "num_key_value_heads": 7}))
    assert "not divisible by num_key_value_heads 7" in refused(*SMALL, "--model", path)


def test_measured_kernels_without_tables_are_a_contradiction():
    message = refused(*SMALL, "--set", "steptime.mfu={kind: kernels, source: measured}")
    assert "needs a folder of kernel tables" in message


def test_tables_that_nothing_would_use_are_a_contradiction(tables):
    message = refused(*SMALL, "--set", f"tables={{folder: {tables}}}")
    assert "have no effect" in message


def test_a_lookup_policy_without_a_table_is_a_contradiction():
    assert "lookup needs a table" in refused(*SMALL, "--policy", "nearest")


def test_a_prompt_longer_than_the_kv_cache_is_dropped_and_counted():
    report = invoke(*SMALL, "--kv-blocks", 2).json
    assert report["requests"]["dropped_unservable"] == 4
    assert report["counters"]["steps"] == 0


def test_a_batch_beyond_the_table_is_priced_and_flagged(tables):
    crowd = ["--num-requests", 600, "--rate", 1e6, "--max-running", 600, "--token-budget", 100_000]
    command = ["run", "--model", "llama-2-7b-hf", "--kernels", tables, "--set", "steptime.mfu.style=mfu"]
    outcome = invoke(*command, *crowd, *SMALL_LENGTHS)
    assert outcome.code == 0
    assert any(re.search(r"outside the sizes .*batch_size [56]\d\d,", warning) for warning in outcome.json["warnings"])
    priced = invoke("price", "--kernels", tables, stdin=json_lines({**STEP, "decode": [[200, 1]] * 600}))
    assert any("batch_size 600" in use for use in priced.lines[0]["outside_tables"])


def test_an_unknown_key_of_a_file_is_refused_with_the_nearest_one(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("modell: llama-2-7b-hf\nengine: {kv_block: 7}\n")
    message = refused("run", "--config", path)
    assert str(path) in message
    assert "did you mean 'model'?" in message
    assert "did you mean 'kv_blocks'?" in message
    assert "workload: missing" in message


def test_an_unknown_step_time_option_is_refused_with_the_nearest_one():
    assert "did you mean 'lm_head'?" in refused(*SMALL, "--set", "steptime.lm_haed=true")


def test_all_that_is_unknown_or_cannot_be_is_told_before_anything_runs():
    said = refused("run", "--model", "llama-2-7b", "--hardware", "h100-smx", "--request-trace", "nowhere.csv")
    for reason in ("did you mean 'llama-2-7b-hf'?", "did you mean 'h100-sxm'?", "nowhere.csv"):
        assert reason in said
    large = ["--model", "llama-3.1-70b-instruct", "--tp", 3, "--set", "steptime.lm_haed=true", "--max-model-len", 20]
    said = refused(*SMALL, *large, "--hardware", "l40s")
    for reason in ("64 is not divisible by tensor_parallel 3", "no room", "'lm_head'?", "the 20 tokens of engine.max"):
        assert reason in said


def test_an_unknown_model_or_gpu_is_refused_with_the_nearest_one():
    assert "did you mean 'llama-2-7b-hf'?" in refused(*SMALL, "--model", "llama-2-7b")
    assert "did you mean 'h100-sxm'?" in refused(*SMALL, "--hardware", "h100-smx")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--num-requests", "100000000"), "workload.requests: Input should be less than or equal to 1000000"),
        (("--num-requests", "9" * 5000), "invalid int value: '9999"),
        (("--prompt-tokens", "9" * 5000), "--prompt-tokens: must be LENGTH"),
        (("--prompt-tokens", "1e308,1e308,1,5"), "mean_tokens: Input should be at most 1e+50 (got 1e+308)"),
        (("--output-tokens", "10000000000"), "tokens: Input should be less than or equal to 10000000"),
        (("--set", "a." * 50_000 + "b=1"), "50000 keys inside one another; at most 64"),
        (("--set", "engine=" + "[" * 50_000), "--set engine:1: not valid YAML: nested more than 64 levels deep"),
        (("--set", "steptime.bandwidth_efficiency=.inf"), "Input should be a number (got '.inf')"),
    ],
    ids=range(8),
)
def test_a_size_beyond_all_measure_is_refused_at_once_and_in_few_words(flags, told):
    said = refused(*SMALL, *flags)
    assert told in said
    assert len(said) < 5000


@pytest.mark.parametrize("name", ["m" * 300, "x/" * 3000, "a" * 300 + "/b.json", "\0", ""])
@pytest.mark.parametrize("flag", ["--model", "--hardware", "--request-trace", "--config", "--steps"])
def test_a_name_no_file_can_have_is_refused_as_a_name(flag, name):
    said = refused(*SMALL, f"{flag}={name}")
    assert "standard output" not in said
    assert len(said) < 5000


def test_more_clients_than_requests_are_as_many_clients_as_requests():
    def served(clients):
        return invoke(*SMALL, "--set", f"workload.arrivals={{kind: closed_loop, concurrency: {clients}}}")

    assert served(10**12).code == 0
    assert served(10**12).out == served(4).out


def test_a_length_that_is_no_length_is_refused():
    assert "MEAN,STDEV,MIN,MAX" in refused(*SMALL, "--prompt-tokens", "70,35")
    assert "prompt" in refused(*SMALL, "--prompt-tokens", "0")


def test_a_file_of_requests_is_a_table_or_lines(tmp_path):
    assert ".csv or .jsonl" in refused(*SMALL, "--requests", tmp_path / "requests.txt")


def test_output_files_that_cannot_be_written_are_refused_before_anything_is_simulated(tmp_path):
    nowhere, same = tmp_path / "none" / "a.csv", tmp_path / "same.json"
    for flag, path in (("--requests", nowhere), ("--steps", tmp_path), ("--trace", nowhere.with_suffix(".json"))):
        run = invoke(*SMALL, flag, path)
        assert (run.code, run.out) == (2, "")
        assert f"{flag}: " in run.err
        assert "step time" not in run.err
    assert "--steps, --trace: both name" in refused(*SMALL, "--steps", same, "--trace", same)


def test_a_value_set_inside_something_that_has_no_keys_is_refused():
    assert "is not a mapping" in refused(*SMALL, "--set", "model.layers=3")
    assert "KEY=VALUE" in refused(*SMALL, "--set", "model")


# --- price and lookup -------------------------------------------------------------------------


@pytest.mark.parametrize("overhead", [0, 37.5])
def test_an_empty_batch_costs_its_overhead_and_at_least_a_microsecond(overhead, tables):
    record = {**STEP, "decode": [], "per_layer_overhead": overhead}
    answer = invoke("price", "--kernels", tables, stdin=json_lines(record)).lines[0]
    assert answer["step_us"] == max(1, 32 * overhead)


def test_a_malformed_line_is_named_and_the_records_before_it_are_not_lost(tables):
    stdin = json_lines(STEP, STEP) + "\n" + '{"model": \n' + json_lines(STEP)
    outcome = invoke("price", "--kernels", tables, stdin=stdin)
    assert outcome.code == 2
    assert len(outcome.lines) == 2
    assert "standard input:4" in outcome.err
    assert "2 record(s) before it were answered" in outcome.err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bw_peak_tbs": 0}, "bw_peak_tbs"),
        ({"bw_peak_tbs": -1.5}, "bw_peak_tbs"),
        ({"tflops_peak": "fast"}, "tflops_peak"),
        ({"bw_eff": 1.2}, "bw_eff"),
        ({"tp": 0}, "tp"),
        ({"decode": [[1]]}, "decode"),
        ({"prefill": [[-1, 5]]}, "prefill"),
        ({"model": "gpt-2"}, "unknown id 'gpt-2'"),
        ({"prefil": []}, "did you mean 'prefill'?"),
    ],
)
def test_a_wrong_value_of_a_record_is_refused_with_its_line_and_key(change, said, tables):
    message = refused("price", "--kernels", tables, stdin=json_lines(STEP, {**STEP, **change}))
    assert "standard input:2" in message
    assert said in message


def test_nan_is_not_a_number(tables):
    stdin = json.dumps({**STEP, "bw_eff": float("nan")})
    assert "NaN is not a number" in refused("price", "--kernels", tables, stdin=stdin)


def test_other_keys_of_a_record_come_back_unchanged(tables):
    answer = invoke("price", "--kernels", tables, stdin=json_lines({**STEP, "case": "mine", "step_us": -1})).lines[0]
    assert answer["case"] == "mine"
    assert answer["step_us"] > 0


def test_recorded_steps_are_priced_as_upstream_sees_the_model(tables, tmp_path, project_root):
    own = tmp_path / "configs"
    shutil.copytree(project_root / "configs" / "models", own / "models")
    plain = json.loads((own / "models" / "llama-2-7b-hf.json").read_text())
    (own / "models" / "wide-heads.json").write_text(json.dumps({**plain, "head_dim": 256}))
    (own / "models" / "experts.json").write_text(
        json.dumps({**plain, "num_local_experts": 8, "num_experts_per_tok": 2})
    )
    command = ("price", "--kernels", tables, "--configs", own)
    priced = [invoke(*command, stdin=json_lines({**STEP, "model": name})) for name in ("llama-2-7b-hf", "wide-heads")]
    assert priced[0].lines[0]["step_us"] == priced[1].lines[0]["step_us"]
    assert "keys of its file that nothing uses: head_dim" in priced[1].err
    assert "nothing uses" not in priced[0].err
    assert "experts or quantized" in refused(*command, stdin=json_lines({**STEP, "model": "experts"}))
    assert invoke(*command, stdin=json_lines({**STEP, "model": "meta-llama/Llama-2-7b-HF"})).code == 0


def test_an_unknown_question_is_refused_with_the_nearest_one(tables):
    message = refused("lookup", "--kernels", tables, stdin=json_lines({"fn": "atn_decode"}))
    assert "did you mean 'attn_decode'?" in message


def test_a_lookup_names_the_rows_it_rests_on_when_asked(tables):
    question = {"fn": "gemm", "m": 12, "k": 4096, "n": 6144}
    plain = invoke("lookup", "--kernels", tables, stdin=json_lines(question)).lines[0]
    told = invoke("lookup", "--kernels", tables, "--origin", stdin=json_lines(question)).lines[0]
    assert plain == {**question, "mfu": told["mfu"]}
    assert [dict(row)["m"] for row in told["lookup"]["rows"]] == [8, 16]


def test_a_folder_without_tables_is_refused_by_every_command_that_needs_one(tmp_path):
    case = write_case(tmp_path / "case", {"model": "llama-2-7b-hf"}, "a,0,10,2,0,0\n")
    for command in (["price"], ["lookup"], ["replay", case, "--out", tmp_path / "o.csv"]):
        assert "no kernel tables" in refused(*command, "--kernels", tmp_path)
    assert "no kernel tables" in refused("audit", tmp_path)


# --- replay -----------------------------------------------------------------------------------


def replay_rows(folder, out, *more):
    outcome = invoke("replay", folder, "--out", out, *more)
    assert outcome.code == 0, outcome
    return out.read_text().splitlines()[1:], outcome


def test_an_output_of_0_tokens_is_served_as_1(tmp_path):
    case = write_case(tmp_path / "case", LINEAR_CASE, "zero,0,100,0,0,0\none,900000,100,1,0,0\n")
    rows, _ = replay_rows(case, tmp_path / "o.csv")
    assert rows == ["zero,6750,6750,0,0", "one,6750,6750,0,0"]


def test_a_dropped_request_has_empty_cells(tmp_path):
    case = write_case(tmp_path / "case", {**LINEAR_CASE, "total_kv_blocks": 2}, "big,0,100,2,0,0\nsmall,0,10,1,0,0\n")
    rows, outcome = replay_rows(case, tmp_path / "o.csv")
    assert rows == ["big,,,,0", "small,5175,5175,0,0"]
    assert outcome.json["requests"]["dropped_unservable"] == 1


def test_a_request_the_horizon_cuts_off_keeps_what_was_reached(tmp_path):
    config = {**LINEAR_CASE, "horizon": "6000", "max_num_running_reqs": 1}
    case = write_case(tmp_path / "case", config, "running,0,10,9,0,0\nwaiting,0,10,9,0,0\nlater,99999,10,9,0,0\n")
    rows, outcome = replay_rows(case, tmp_path / "o.csv")
    assert rows == ["running,5175,,0,0", "waiting,,,,0", "later,,,,0"]
    assert [outcome.json["requests"][state] for state in ("running", "queued", "not_arrived")] == [1, 1, 1]


def test_output_processing_is_added_to_every_token_and_delays_nothing(tmp_path):
    case = write_case(tmp_path / "case", {**LINEAR_CASE, "alpha_coeffs": "10, 0.5, 7.9"}, "a,0,100,3,0,0\n")
    rows, _ = replay_rows(case, tmp_path / "o.csv")
    # Queued after 10 + 50 us; steps of 6750, 5006, 5006 us; 7 us per token.
    assert rows == [f"a,{60 + 6750 + 7},{60 + 6750 + 2 * 5006 + 3 * 7},60,0"]


def test_the_order_of_the_waiting_queue_is_the_recorded_one(tmp_path):
    config = {**LINEAR_CASE, "max_num_running_reqs": 1}
    requests = "first,0,10,3,0,0\nlong,1,50,1,0,0\nshort,2,20,1,0,0\n"
    first_come = write_case(tmp_path / "fcfs", {**config, "scheduler": "priority-fcfs"}, requests)
    shortest = write_case(tmp_path / "sjf", {**config, "scheduler": "sjf"}, requests)
    delays = [
        [int(row.split(",")[3]) for row in replay_rows(case, tmp_path / "o.csv")[0]] for case in (first_come, shortest)
    ]
    assert delays[0][1] < delays[0][2]
    assert delays[1][1] > delays[1][2]


def test_without_a_word_about_the_step_time_coefficients_mean_linear(tmp_path):
    config = {key: value for key, value in LINEAR_CASE.items() if key != "steptime"}
    rows, _ = replay_rows(write_case(tmp_path / "case", config, "a,0,100,1,0,0\n"), tmp_path / "o.csv")
    assert rows == ["a,6750,6750,0,0"]


def test_an_absent_gpu_description_means_upstreams_own(tmp_path, tables):
    given = {"TFlopsPeak": 989.5, "BwPeakTBs": 3.35, "bwEfficiencyFactor": 0.82, "perLayerOverhead": 100}
    bare = {"model": "llama-2-7b-hf", "tp": 2}
    folders = [
        write_case(tmp_path / name, config, "a,0,100,3,0,0\n")
        for name, config in (("bare", bare), ("full", {**bare, "hardware": "H100", "hardware_config": given}))
    ]
    bare_rows, full_rows = (replay_rows(folder, tmp_path / "o.csv", "--kernels", tables)[0] for folder in folders)
    assert bare_rows == full_rows


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scheduler": "round-robin"}, "scheduler"),
        ({"num_instances": 2}, "num_instances: 2 is not modelled"),
        ({"kv-cpu-blocks": 10}, "kv_cpu_blocks: 10 is not modelled"),
        ({"priority_policy": "slo-based"}, "priority_policy"),
        ({"max_num_running_req": 5}, "did you mean 'max_num_running_reqs'?"),
        ({"total_kv_blocks": 0}, "total_kv_blocks"),
        ({"block_size_in_tokens": "many"}, "block_size_in_tokens"),
        ({"alpha_coeffs": [1, 2]}, "alpha_coeffs"),
        ({"alpha_coeffs": "1,2,x"}, "alpha_coeffs"),
        ({"alpha_coeffs": [-1, 0, 0]}, "queueing_us"),
        ({"beta_coeffs": None}, "beta_coeffs: missing"),
        ({"steptime": "guess"}, "steptime"),
        ({"steptime": "mfu roofline"}, "--kernels"),
        ({"steptime": "mfu roofline", "hardware": "H1000"}, "did you mean 'H100'?"),
        ({"steptime": "mfu roofline", "hardware_config": {"TFlopsPeak": 1}}, "BwPeakTBs: missing"),
    ],
)
def test_a_record_that_asks_for_something_else_is_refused(change, said, tmp_path):
    case = write_case(tmp_path / "case", {**LINEAR_CASE, **change}, "a,0,10,2,0,0\n")
    message = refused("replay", case, "--out", tmp_path / "o.csv")
    assert said in message
    assert not (tmp_path / "o.csv").exists()


def test_a_key_nobody_knows_is_named_and_left_out(tmp_path):
    case = write_case(tmp_path / "case", {**LINEAR_CASE, "num_instances": "1", "colour": "blue"}, "a,0,10,2,0,0\n")
    _, outcome = replay_rows(case, tmp_path / "o.csv")
    assert "'colour'" in outcome.err
    assert "num_instances" not in outcome.err


def test_a_missing_file_of_a_record_is_named(tmp_path):
    (tmp_path / "case").mkdir()
    assert "case.json: cannot be read" in refused("replay", tmp_path / "case", "--out", tmp_path / "o.csv")
    (tmp_path / "case" / "case.json").write_text(json.dumps(LINEAR_CASE))
    assert "requests.csv.gz: cannot be read" in refused("replay", tmp_path / "case", "--out", tmp_path / "o.csv")


# --- audit ------------------------------------------------------------------------------------


def test_an_audit_speaks_text_or_json(tables):
    assert "denominator" in invoke("audit", tables).out
    assert invoke("audit", tables, "--json").json["gpu"] == "h100"


def test_a_gpu_with_a_name_no_file_can_have_is_refused_as_that(tmp_path):
    sheet = (SHIPPED_CONFIGS / "hardware" / "h100-sxm.yaml").read_text().replace("id: h100-sxm", f"id: {'x' * 300}")
    path = tmp_path / "gpu.yaml"
    path.write_text(sheet)
    assert "id" in (message := refused(*SMALL, "--hardware", path))
    assert "standard output" not in message


def test_a_spread_of_minus_zero_is_none():
    assert invoke(*SMALL_RUN, "--prompt-tokens", "40,-0.0,1,80", "--output-tokens", 5).code == 0
