"""SGLang's bench_serving: vLLM's format under other names, several runs in a file, lengths drawn again."""

from __future__ import annotations

import json

import pytest
from numpy.random import RandomState

from roofline_lab.cli.main import EXIT_FAILURE, main
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.importers import import_experiment, sglang_bench
from roofline_lab.importers.inspection import kind_of
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import AsWritten, sent, sglang_result, write_sglang

REAL = "formats/sglang_bench_serving"


def read(path):
    return AsWritten(sglang_bench.read(path))


def values(point):
    return {name: figure["value"] for name, figure in point["measured"].items()}


def test_the_figures_of_a_line_are_those_of_its_requests(tmp_path):
    requests = sent()
    path = write_sglang(tmp_path, sglang_result(requests))
    found = read(path)
    figures = values(found.load_points[0])
    assert figures["ttft_mean"] == pytest.approx(1000 * sum(request.ttft_s for request in requests) / 20)
    assert figures["tpot_mean"] == pytest.approx(10.0)
    assert figures["e2e_mean"] == pytest.approx(1000 * sum(request.e2e_s for request in requests) / 20)
    assert found.load_points[0]["requests"]["sent"] == 20
    assert found.model_name == "meta-llama/Llama-2-7b-hf"
    assert kind_of(path) == "sglang-bench"


def test_lines_that_runs_appended_are_load_points_and_one_may_have_no_limit(project, tmp_path):
    lines = [
        sglang_result(sent(every_s=1 / rate, ttft_s=0.05 + rate / 1000), rate=stated)
        for rate, stated in ((1, 1.0), (2, 2.0), (50, float("inf")))
    ]
    out = project / "ground_truth" / "mine"
    experiment = import_experiment("sglang-bench", write_sglang(tmp_path, *lines), out).experiment
    assert [point.id for point in experiment.load_points] == ["burst", "rate_1", "rate_2"]
    assert experiment.tool_version == "sglang-bench"
    assert load_experiment(out) == experiment


def test_infinity_anywhere_else_is_no_number(tmp_path):
    with pytest.raises(ConfigError, match="Infinity is not a number"):
        read(write_sglang(tmp_path, sglang_result(sent(), mean_ttft_ms=float("inf"))))


def test_medians_alone_stay_medians(tmp_path):
    line = {
        key: value
        for key, value in sglang_result(sent()).items()
        if key not in ("mean_ttft_ms", "mean_itl_ms", "request_throughput") and "tpot" not in key
    }
    found = read(write_sglang(tmp_path, line))
    figures = values(found.load_points[0])
    assert "ttft_mean" not in figures
    assert figures["ttft_p50"] == line["median_ttft_ms"]
    assert any("no mean of TTFT, ITL; a median stays the 50th percentile" in one for one in found.conversions)
    assert any("no TPOT" in one for one in found.conversions)


def test_facts_of_the_server_are_read_from_its_own_description(tmp_path):
    info = {
        "version": "0.5.1",
        "model_path": "Qwen/Qwen3-14B",
        "tp_size": 2,
        "disable_radix_cache": True,
        "max_running_requests": 64,
        "chunked_prefill_size": 8192,
    }
    found = read(write_sglang(tmp_path, {**sglang_result(sent()), "server_info": info}))
    assert (found.model_name, found.tensor_parallel) == ("Qwen/Qwen3-14B", 2)
    assert found.known["software"] == "SGLang 0.5.1"
    assert (found.known["prefix_caching"], found.known["max_running"], found.known["token_budget"]) == (False, 64, 8192)


def test_single_requests_are_corrected_as_those_of_vllm(tmp_path):
    """An answer without a token, one whose first token was not measured, and one that failed."""
    line = sglang_result(sent(), detailed=True)
    line["output_lens"][1], line["ttfts"][1], line["itls"][1] = 0, 0.0, []
    line["ttfts"][2] = 0.0
    line["errors"][3] = "cut"
    line |= {"completed": 19, "request_throughput": 19 / line["duration"]}
    found = read(write_sglang(tmp_path, line))
    counts = found.load_points[0]["requests"]
    assert (counts["sent"], counts["completed"], counts["failed"], counts["without_output"]) == (20, 18, 1, 1)
    assert "1 of 18 answers have no time to the first token, or one of 0" in " ".join(
        flag.text for flag in found.quality
    )


def of_random(count=40, prompt=200, output=50, share=0.0, seed=1):
    """Return a line whose lengths are drawn as SGLang draws them, and those lengths."""
    source = RandomState(seed)
    prompts = source.randint(max(1, int(prompt * share)), prompt + 1, size=count)
    outputs = source.randint(int(output * share), output + 1, size=count)
    line = sglang_result(sent(count=count)) | {
        "dataset_name": "random",
        "random_input_len": prompt,
        "random_output_len": output,
        "random_range_ratio": share,
        "total_input_tokens": int(prompts.sum()),
        "total_output_tokens": int(outputs.sum()),
    }
    # One time per token for all, so that means agree with whatever was generated.
    line["mean_e2e_latency_ms"] = line["mean_ttft_ms"] + 10.0 * (line["total_output_tokens"] / count - 1)
    return line, prompts.tolist(), [max(1, tokens) for tokens in outputs.tolist()]


def test_lengths_of_the_random_data_set_are_drawn_again(tmp_path):
    line, prompts, outputs = of_random()
    found = read(write_sglang(tmp_path, line))
    assert list(found.workload["prompt"]["tokens"]) == prompts
    assert list(found.workload["output"]["tokens"]) == outputs
    assert Flag.LENGTHS_FROM_SEED in [flag.flag for flag in found.quality]


def test_lengths_of_another_seed_stay_means(tmp_path):
    line, prompts, _ = of_random(seed=7)
    found = read(write_sglang(tmp_path, line))
    assert found.workload["prompt"] == {"kind": "constant", "tokens": round(sum(prompts) / 40)}
    assert Flag.LENGTHS_UNKNOWN in [flag.flag for flag in found.quality]


def test_a_vllm_result_is_told_apart(tmp_path, project, capsys):
    path = write_sglang(tmp_path, sglang_result(sent()))
    out = str(project / "ground_truth" / "mine")
    assert main(["import", "vllm-bench", str(path), "--out", out]) == EXIT_FAILURE
    assert "this is a file of sglang-bench, not of vllm-bench; use: import sglang-bench PATH" in capsys.readouterr().err


# --- recorded results -----------------------------------------------------------------------------


def test_the_shared_case_is_read_with_its_figures(shared_dir):
    found = read(shared_dir / "cases" / "14-sglang-jsonl" / "online.jsonl")
    figures = values(found.load_points[0])
    assert (found.workload["prompt"]["tokens"], found.workload["output"]["tokens"]) == (120, 80)
    assert (figures["ttft_mean"], figures["tpot_mean"], figures["e2e_mean"]) == (40.0, 15.06, 1230.0)
    assert figures["e2e_mean"] == pytest.approx(40 + 79 * 15.06, rel=1e-3)
    assert [point["id"] for point in found.load_points] == ["concurrency_8_rate_4", "concurrency_8_rate_inf"]
    assert Flag.COPY_OF_ANOTHER_RUN in [flag.flag for flag in found.quality]


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("deepseek_dp_mla_output", 1),
        ("llama_3_3_70b_offline_output", 7),
        ("llama_3_3_70b_online_output", 7),
        ("llama_405b_online_output", 6),
    ],
)
def test_every_recorded_file_is_imported(project, shared_dir, name, points):
    path = shared_dir / REAL / f"{name}.jsonl"
    out = project / "ground_truth" / "mine"
    arguments = ["--model", "llama-2-7b-hf", "--out", str(out)]
    assert main(["import", "sglang-bench", str(path), *arguments]) == 0
    experiment = load_experiment(out)
    assert len(experiment.load_points) == points
    stated = sorted(json.loads(line)["mean_e2e_latency_ms"] for line in path.read_text("utf-8").splitlines())
    assert sorted(point.measured["e2e_mean"].value for point in experiment.load_points) == pytest.approx(stated)


def test_recorded_figures_and_lengths_are_those_of_the_file(shared_dir):
    """By hand: 300 requests at 1/s, 152612 prompt and 160347 generated tokens, no mean of TTFT."""
    found = sglang_bench.read(shared_dir / REAL / "llama_3_3_70b_online_output.jsonl").experiment
    first = found.load_points[0]
    assert (first.id, first.arrivals.rate_per_s, first.requests.sent) == ("rate_1", 1.0, 300)
    assert first.measured["ttft_p50"].value == pytest.approx(85.745147)
    assert first.measured["e2e_mean"].value == pytest.approx(7840.616213)
    assert "ttft_mean" not in first.measured
    sent_prompts, sent_outputs = found.prompt_lengths("rate_1").tokens, found.output_lengths("rate_1").tokens
    assert (sum(sent_prompts), len(sent_prompts)) == (152612, 300)
    assert abs(sum(sent_outputs) - 160347) <= 2  # an answer of 0 tokens is one of 1


def test_speculative_decoding_is_named_and_the_room_for_keys_and_values_is_known(tmp_path):
    info = {"model_path": "meta-llama/Llama-2-7b-hf", "max_total_num_tokens": 476_000}
    line = sglang_result(sent()) | {"accept_length": 2.7, "server_info": info}
    found = read(write_sglang(tmp_path, line))
    assert "speculative_config accept_length 2.7" in found.server_note
    assert found.known["kv_blocks"] == 29_750


def test_groups_of_prompts_that_the_result_does_not_describe_are_flagged(tmp_path):
    found = read(write_sglang(tmp_path, sglang_result(sent()) | {"dataset_name": "generated-shared-prefix"}))
    assert any(flag.flag is Flag.SETTING_ASSUMED and "begin alike in groups" in flag.text for flag in found.quality)
