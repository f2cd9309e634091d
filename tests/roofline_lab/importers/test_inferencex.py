"""InferenceX: aggregated and single results of one server are read, those of several nodes are named."""

from __future__ import annotations

import json

import pytest

from roofline_lab.cli.main import EXIT_FAILURE, main
from roofline_lab.importers import inferencex, vllm_bench
from roofline_lab.importers.inspection import kind_of
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import AsWritten, inferencex_run, sent, vllm_result, write_inferencex

AGG, SINGLE = "formats/inferencex_agg", "formats/inferencex_experimental"


def read(path, tool=inferencex):
    return AsWritten(tool.read(path))


def values(point):
    return {name: figure["value"] for name, figure in point["measured"].items()}


# --- aggregated results ---------------------------------------------------------------------------


def test_latencies_are_seconds_and_throughputs_are_those_of_all_gpus(tmp_path):
    """By hand: 4 in flight, 50 ms + 99 gaps of 10 ms = 1.04 s each, so 4 / 1.04 requests per second of 100 tokens."""
    (point,) = read(write_inferencex(tmp_path)).load_points
    shown = values(point)
    assert (shown["ttft_mean"], shown["tpot_p50"], shown["e2e_p99"]) == (50.0, 10.0, 1040.0)
    assert shown["request_throughput"] == pytest.approx(4 / 1.04, rel=1e-6)
    assert shown["output_token_throughput"] == pytest.approx(400 / 1.04, rel=1e-6)
    assert point["arrivals"] == {"kind": "closed_loop", "concurrency": 4}
    assert (point["requests"]["sent"], point["duration_s"]) == (40, pytest.approx(10.4))


def test_a_range_of_lengths_follows_from_the_figures(tmp_path):
    run = inferencex_run(tokens=90, prompt=180, isl=200, osl=100)
    found = read(write_inferencex(tmp_path, run))
    assert found.workload["prompt"] == {"kind": "uniform", "min_tokens": 160, "max_tokens": 200}
    assert found.workload["output"] == {"kind": "uniform", "min_tokens": 80, "max_tokens": 100}


def test_what_a_run_states_of_its_server_is_used(tmp_path):
    found = read(write_inferencex(tmp_path))
    assert (found.tensor_parallel, found.model_name) == (2, "meta-llama/Llama-2-7b-hf")
    assert found.known["software"] == "vLLM 0.11.0"


def test_runs_of_one_file_and_of_a_folder_are_load_points(tmp_path):
    runs = [inferencex_run(concurrency) for concurrency in (16, 4, 64)]
    together = read(write_inferencex(tmp_path / "a", runs))
    for place, run in enumerate(runs):
        write_inferencex(tmp_path / "b", run, f"agg_{place}.json")
    apart = read(tmp_path / "b")
    for found in (together, apart):
        assert [point["arrivals"]["concurrency"] for point in found.load_points] == [4, 16, 64]
    assert kind_of(tmp_path / "a" / "agg_run.json") == kind_of(tmp_path / "b") == "inferencex"


def test_runs_of_two_servers_are_no_one_experiment(tmp_path):
    with pytest.raises(
        ConfigError, match=r"tensor parallelism 4, but .* load points of one experiment have one server"
    ):
        read(write_inferencex(tmp_path, [inferencex_run(), inferencex_run(16, gpus=4)]))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"disagg": True}, r"prefill and decode on GPUs of their own \(disaggregation\)"),
        ({"disagg": "true"}, "disaggregation"),
        ({"num_prefill_gpu": 8}, "disaggregation"),
        ({"is_multinode": True}, "a server on several nodes is not modelled"),
        ({"spec_decoding": "mtp"}, "mtp: speculative decoding is not modelled"),
        ({"mean_e2el": 900.0}, r"leave 9e\+04 tokens for an answer"),
        ({"mean_ttft": 5.0}, "is not below mean_e2el"),
        ({"conc": 0}, "must be above 0"),
        ({"tp": "two"}, "tp"),
        ({"output_tput_per_gpu": -1.0}, "output_tput_per_gpu"),
    ],
)
def test_what_is_not_modelled_or_cannot_be_is_refused_by_name(tmp_path, change, expected):
    with pytest.raises(ConfigError, match=expected):
        read(write_inferencex(tmp_path, inferencex_run(**change)))


def test_attention_in_data_parallel_is_a_group_per_gpu_and_said_to_be_taken_so(tmp_path):
    found = read(write_inferencex(tmp_path, inferencex_run(dp_attention="true", ep=2)))
    known = found.known
    assert (found.tensor_parallel, known["attention_data_parallel"], known["expert_parallel"]) == (1, 2, True)
    assert any("every GPU is taken to be a group" in flag.text for flag in found.quality)


def test_inspect_names_the_tool(tmp_path, capsys):
    assert main(["inspect", str(write_inferencex(tmp_path))]) == 0
    assert capsys.readouterr().out.startswith("InferenceX aggregated result agg_run.json")


# --- single results -------------------------------------------------------------------------------


def in_seconds():
    """Return a result as InferenceX writes some: no means, no unit in the names, seconds."""
    result = vllm_result(sent(count=60), rate="inf", max_concurrency=4)
    latencies = {key: value for key, value in result.items() if key.endswith("_ms")}
    kept = {key: value for key, value in result.items() if not key.endswith("_ms")}
    bare = {key.removesuffix("_ms"): value / 1000 for key, value in latencies.items() if not key.startswith("mean")}
    return kept | bare | {"tokenizer_id": "x", "good_completed": None}


def test_a_single_result_in_seconds_is_read_in_milliseconds(tmp_path, capsys):
    path = tmp_path / "model_tp8_conc4.json"
    path.write_text(json.dumps(in_seconds()), encoding="utf-8")
    (point,) = read(path, vllm_bench).load_points
    expected = vllm_result(sent(count=60))
    assert values(point)["ttft_p50"] == pytest.approx(expected["median_ttft_ms"])
    assert values(point)["e2e_p99"] == pytest.approx(expected["p99_e2el_ms"])
    assert "ttft_mean" not in values(point)
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("InferenceX result model_tp8_conc4.json")
    assert "Latencies were in seconds, under names without a unit" in shown


def test_milliseconds_without_a_unit_in_their_names_are_refused(tmp_path):
    result = in_seconds() | {"median_ttft": 60_000.0}
    (tmp_path / "x.json").write_text(json.dumps(result), encoding="utf-8")
    with pytest.raises(ConfigError, match="are seconds and milliseconds mixed"):
        read(tmp_path / "x.json", vllm_bench)


@pytest.mark.parametrize(
    "name", ["results_concurrency_4_gpus_16_ctx_8_gen_8.json", "run_2p1d.json", "agg-disagg.json", "ctx4_gen4.json"]
)
def test_a_result_whose_name_says_that_prefill_and_decode_were_apart_is_refused(tmp_path, name):
    (tmp_path / name).write_text(json.dumps(vllm_result(sent())), encoding="utf-8")
    with pytest.raises(ConfigError, match="prefill and decode on GPUs of their own"):
        read(tmp_path / name, vllm_bench)


# --- recorded results -----------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [AGG, f"{AGG}/minimax-m2.5"])
def test_every_recorded_result_of_several_nodes_is_named_as_not_modelled(shared_dir, folder, capsys):
    files = sorted((shared_dir / folder).glob("concurrency_*.json"))
    assert len(files) == 8
    for path in files:
        assert main(["inspect", str(path)]) == EXIT_FAILURE
        shown = capsys.readouterr().err
        assert (
            "(8 GPUs for prefill, 8 for decode); disaggregation and servers on several nodes are not modelled" in shown
        )


@pytest.mark.parametrize(
    ("name", "concurrency", "ttft_ms", "tpot_ms", "e2e_p99_ms", "per_s"),
    [
        ("isl10240_osl128_conc4", 4, 1343.107, 45.089, 9673.44, 40 / 71.37951),
        ("isl10240_osl128_conc16", 16, 3138.245, 141.052, 30149.847, 160 / 214.63911),
        ("isl1024_osl128_conc32", 32, None, None, None, 320 / 63.18377),
    ],
)
def test_recorded_single_results_have_their_medians(shared_dir, name, concurrency, ttft_ms, tpot_ms, e2e_p99_ms, per_s):
    found = read(shared_dir / SINGLE / f"glm5_fp8_vllm_tp8_{name}.json", vllm_bench)
    (point,) = found.load_points
    shown = values(point)
    assert point["arrivals"] == {"kind": "closed_loop", "concurrency": concurrency}
    assert shown["request_throughput"] == pytest.approx(per_s, rel=1e-5)
    if ttft_ms is not None:
        assert shown["ttft_p50"] == pytest.approx(ttft_ms, abs=0.01)
        assert shown["tpot_p50"] == pytest.approx(tpot_ms, abs=0.01)
        assert shown["e2e_p99"] == pytest.approx(e2e_p99_ms, abs=0.01)
    assert found.workload["output"]["tokens"] == 128


def test_a_folder_of_recorded_single_results_is_one_experiment(shared_dir):
    found = read(shared_dir / SINGLE, vllm_bench)
    assert len(found.load_points) == 6
    assert {point["arrivals"]["concurrency"] for point in found.load_points} == {4, 8, 16, 32}


@pytest.mark.parametrize("off", [False, "off", "null", "0", None])
def test_speculative_decoding_that_is_off_is_off_however_it_is_written(tmp_path, off):
    assert inferencex.read(write_inferencex(tmp_path, inferencex_run(spec_decoding=off)))


def test_speculative_decoding_that_is_on_is_refused_as_a_switch_too(tmp_path):
    with pytest.raises(ConfigError, match="speculative decoding is not modelled"):
        inferencex.read(write_inferencex(tmp_path, inferencex_run(spec_decoding=True)))
