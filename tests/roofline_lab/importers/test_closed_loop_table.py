"""Points of a closed loop: an experiment per server, a load point per number of clients, lengths as they were drawn."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
import yaml

from benchmarks.closed_loop import AS_SENT, ONE_LENGTH, compare
from roofline_lab.cli.main import main
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.reading import load_set
from roofline_lab.importers.inspection import TABLE, kind_of
from roofline_lab.importers.table import read
from simulator.errors import ConfigError
from simulator.parallelism import Parallelism
from tests.paths import ROOT

ROW = {
    "run_id": "Mine|h100_sxm|tp2", "model_hf_id": "Qwen/Qwen3-32B", "system": "h100_sxm", "tp": "2", "ep": "1",
    "attention_dp": "1", "gpus": "", "vllm_version": "0.12.0", "date": "2026-03-01", "isl": "1000", "osl": "200",
    "range_ratio": "0.8", "concurrency": "4", "num_prompts": "40", "max_num_seqs": "4",
    "max_num_batched_tokens": "8192 (vLLM default)", "max_model_len": "unknown", "prefix_caching": "off",
    "gpu_memory_utilization": "0.90", "kv_dtype": "auto", "num_warmups": "8", "cudagraph": "vLLM default",
    "async_scheduling": "default on (vLLM >= 0.14)", "stream_interval": "1", "env_notes": "", "precision": "",
    "source": "results.csv", "ttft_ms": "80.5", "tpot_ms": "14.25", "outlier": "0",
    "saturated": "0",
}  # fmt: skip
WIDER = ROW | {"concurrency": "16", "num_prompts": "160", "max_num_seqs": "16", "ttft_ms": "95.0"}


def table(folder, *rows, columns=tuple(ROW)):
    path = folder / "points.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def one(folder, *rows):
    (run,) = read(table(folder, *rows)).found.values()
    return run.experiment


def test_the_concurrencies_of_a_server_are_the_load_points_of_one_experiment(tmp_path):
    experiment = one(tmp_path, ROW, WIDER)
    assert [point.id for point in experiment.load_points] == ["c4", "c16"]
    assert [point.arrivals.concurrency for point in experiment.load_points] == [4, 16]
    measured = experiment.load_points[0].measured
    assert (measured["ttft_mean"].value, measured["tpot_mean"].value) == (80.5, 14.25)
    assert measured["tpot_mean"].definition == "inter_token"
    assert (experiment.tensor_parallel, experiment.hardware, str(experiment.date)) == (2, "h100_sxm", "2026-03-01")


def test_points_of_one_client_and_year_come_from_one_site_and_those_of_an_unknown_client_from_their_source(tmp_path):
    assert one(tmp_path, ROW).site == "benchmark_serving.py/2026"
    assert one(tmp_path, ROW | {"range_ratio": ""}).site == ROW["source"]


def test_settings_are_known_as_far_as_cells_state_numbers(tmp_path):
    known = one(tmp_path, ROW, WIDER).server.known
    assert (known.token_budget, known.max_running, known.prefix_caching) == (8192, 16, False)
    assert (known.max_model_len_tokens, known.gpu_memory_utilization) == (None, 0.9)
    assert (known.software, known.kv_cache_dtype) == ("vLLM 0.12.0", "auto")
    assert (known.schedule_ahead, known.cuda_graph_mode, known.cuda_graph_tokens) == (True, None, None)


@pytest.mark.parametrize(
    ("cell", "mode", "tokens"),
    [
        ("FULL_DECODE_ONLY", "full_decode_only", None),
        ("max capture 2048", None, 2048),
        ("sizes 2048, FULL_AND_PIECEWISE", "full_and_piecewise", 2048),
        ("unknown", None, None),
    ],
)
def test_cells_about_cuda_graphs_give_mode_and_largest_batch(tmp_path, cell, mode, tokens):
    known = one(tmp_path, ROW | {"cudagraph": cell}).server.known
    assert (known.cuda_graph_mode, known.cuda_graph_tokens) == (mode, tokens)


def test_what_the_format_has_no_setting_for_is_a_note_of_the_server(tmp_path):
    server = one(tmp_path, ROW | {"stream_interval": "20", "env_notes": "fused all-reduce"}).server
    assert server.note == "Beside these: stream interval 20; fused all-reduce."


def test_a_batch_nobody_states_is_the_default_of_the_software_for_that_gpu(tmp_path):
    unknown = ROW | {"max_num_seqs": "unknown", "max_num_batched_tokens": "unknown"}
    assumed = one(tmp_path, unknown).server.assumed
    assert (assumed.token_budget, assumed.max_running) == (8192, 1024)
    small = one(tmp_path, unknown | {"system": "l40s"}).server.assumed
    assert (small.token_budget, small.max_running) == (2048, None)


def test_requests_that_warmed_the_server_up_are_counted_and_their_lack_is_flagged(tmp_path):
    warm = one(tmp_path, ROW)
    assert warm.load_points[0].requests.warm_up == 8
    assert Flag.COLD_START_INCLUDED not in {flag.flag for flag in warm.quality}
    cold = one(tmp_path, ROW | {"num_warmups": "0"})
    assert cold.load_points[0].requests.warm_up == 0
    assert Flag.COLD_START_INCLUDED in {flag.flag for flag in cold.quality}


def test_lengths_of_a_range_are_those_the_client_drew(tmp_path):
    experiment = one(tmp_path, ROW, WIDER)
    sent = experiment.completed_workload("c16").requests
    source = np.random.RandomState(0)
    assert [request.prompt_tokens for request in sent] == source.randint(800, 1001, 160).tolist()
    assert [request.output_tokens for request in sent] == source.randint(160, 201, 160).tolist()
    assert not experiment.draws_lengths("c16")
    assert Flag.LENGTHS_FROM_SEED in {flag.flag for flag in experiment.quality}


def test_the_draws_are_those_the_protocol_of_the_client_prints(tmp_path):
    run = read(table(tmp_path, ROW | {"isl": "1024", "osl": "1024"})).found["qwen3-32b-h100-tp2-1k-1k-20260301"]
    sent = run.experiment.completed_workload("c4").requests
    pairs = [(request.prompt_tokens, request.output_tokens) for request in sent]
    assert pairs[:4] == [(991, 851), (866, 1012), (936, 828), (1011, 1004)]


def test_a_name_says_model_precision_gpu_split_lengths_and_day(tmp_path):
    row = ROW | {
        "model_hf_id": "nvidia/Llama-3.3-70B-Instruct-FP8", "precision": "fp8", "system": "h200_sxm", "tp": "8",
        "ep": "8", "attention_dp": "1", "isl": "8192", "osl": "1024", "date": "",
    }  # fmt: skip
    assert list(read(table(tmp_path, row)).found) == ["llama-3.3-70b-fp8-h200-tp8-ep8-8k-1k"]
    kimi = row | {"model_hf_id": "nvidia/Kimi-K2.5-NVFP4", "precision": "fp4", "ep": "", "date": "2026-03-11"}
    assert list(read(table(tmp_path, kimi)).found) == ["kimi-k2.5-nvfp4-h200-tp8-8k-1k-20260311"]


def test_servers_with_one_name_are_called_as_the_table_calls_them(tmp_path):
    again = ROW | {"run_id": "Mine|h100_sxm|tp2|again", "vllm_version": "0.13.0"}
    assert list(read(table(tmp_path, ROW, again)).found) == ["Mine-h100_sxm-tp2", "Mine-h100_sxm-tp2-again"]


def test_load_points_come_in_the_order_of_their_load(tmp_path):
    assert [point.id for point in one(tmp_path, WIDER, ROW).load_points] == ["c4", "c16"]


def test_without_a_range_prompts_have_the_nominal_length_and_outputs_scatter_so_that_requests_do_not_stay_in_step(
    tmp_path,
):
    experiment = one(tmp_path, ROW | {"range_ratio": "1.0 (fixed lengths, assumed)"})
    output = experiment.workload.output
    assert (output.min_tokens, output.max_tokens) == (180, 220)
    assert experiment.workload.prompt.kind == "constant"
    assert not {flag.flag for flag in experiment.quality} & {Flag.LOCK_STEP}
    assert experiment.requests_file is None
    assert Flag.LENGTHS_UNKNOWN in {flag.flag for flag in experiment.quality}


def test_a_point_the_source_calls_saturated_or_an_outlier_is_flagged(tmp_path):
    experiment = one(tmp_path, ROW, WIDER | {"saturated": "1", "outlier": "1"})
    assert [point.saturated for point in experiment.load_points] == [False, True]
    flags = {flag.flag: flag.load_points for flag in experiment.quality}
    assert flags[Flag.OVERLOADED] == flags[Flag.FIGURES_CONTRADICT] == ("c16",)


def test_a_day_nobody_states_is_unknown(tmp_path):
    assert one(tmp_path, ROW | {"date": ""}).date is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"attention_dp": "3", "gpus": "4"}, "attention_dp: 3 groups do not divide 4 GPUs"),
        ({"tp": "3", "attention_dp": "2", "gpus": "8"}, "tp: 3, but 8 GPUs in 2 groups leave 4 to a group"),
        ({"tp": "8", "ep": "4"}, "ep: 4; whole experts are spread over all 8 GPUs or none; write 1 or 8"),
        ({"concurrency": "4", "ttft_ms": "90"}, "concurrency: 4 is given twice; remove one row"),
        ({"concurrency": "-4"}, "line 3 (Mine|h100_sxm|tp2): concurrency: "),
        (
            {"concurrency": "8", "tp": "4", "kv_dtype": "fp8"},
            "run_id: its rows differ in tp (2, 4), kv_dtype (auto, fp8)",
        ),
        ({"precision": "fp6"}, "precision: 'fp6' is not modelled; allowed: nvfp4, mxfp4, fp4, "),
        ({"tp": "two"}, "line 3 (Mine|h100_sxm|tp2): tp: "),
        ({"num_prompts": "900000000"}, "more than 200000 single requests"),
        ({"date": "spring"}, "date: 'spring' is no day such as 2026-03-27"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_by_name_and_costs_no_other_server(tmp_path, change, expected):
    second = ROW | {"run_id": "Other", "osl": "300"}
    bad = [ROW, WIDER | change] if "concurrency" in change else [WIDER | change]
    rows = [*bad, second] if len(bad) > 1 else [second, *bad]
    found = read(table(tmp_path, *rows))
    assert "qwen3-32b-h100-tp2-1000-300-20260301" in found.found
    assert any(expected in one.reason for one in found.refused)


def test_a_table_of_which_nothing_can_be_used_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="3 groups do not divide 2 GPUs"):
        read(table(tmp_path, ROW | {"attention_dp": "3", "gpus": "2"}))


@pytest.mark.parametrize(
    ("changes", "spread"),
    [
        ({"tp": "8", "ep": "8"}, Parallelism(8, 1, expert_parallel=True)),
        ({"tp": "8", "ep": "1"}, Parallelism(8)),
        ({"tp": "1", "ep": "8", "attention_dp": "8"}, Parallelism(1, 8, expert_parallel=True)),
        ({"tp": "1", "ep": "4", "attention_dp": "4", "gpus": "4"}, Parallelism(1, 4, expert_parallel=True)),
        ({"tp": "4", "ep": "4", "attention_dp": "4", "gpus": "4"}, Parallelism(1, 4, expert_parallel=True)),
        ({"tp": "4", "ep": "1", "attention_dp": "2", "gpus": "8"}, Parallelism(4, 2)),
    ],
)
def test_a_row_says_how_its_model_was_spread_whether_tp_counts_a_group_or_all_gpus(tmp_path, changes, spread):
    assert one(tmp_path, ROW | changes).parallelism == spread


def test_a_precision_that_is_not_that_of_the_checkpoint_is_told_and_one_that_may_be_is_not(tmp_path, capsys):
    cells = [("openai/gpt-oss-120b", "fp4"), ("MiniMaxAI/MiniMax-M2.5", "NVFP4"), ("moonshotai/Kimi-K2.5", "int4")]
    rows = [ROW | {"run_id": name, "model_hf_id": name, "precision": word, "tp": "4"} for name, word in cells]
    command = ["import", "--from-csv", str(table(tmp_path, *rows)), "--root", str(ROOT), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    said = [line for line in "".join(capsys.readouterr()).splitlines() if "figures_contradict" in line]
    assert len(said) == 1
    assert "weights in nvfp4; what is simulated is minimax-m2.5 with weights in fp8" in said[0]


def test_requests_longer_than_the_server_takes_are_told(tmp_path):
    for limit, told in (("1100", True), ("1200", False), ("unknown", False)):
        found = [flag.text for flag in one(tmp_path, ROW | {"max_model_len": limit}).quality]
        assert any("up to 1200 tokens, and the server is said to take" in text for text in found) == told


def test_the_table_is_known_by_its_columns_and_imported_by_the_same_command(tmp_path, capsys):
    path = table(tmp_path, ROW, WIDER)
    assert kind_of(path) == TABLE
    out = tmp_path / "out" / "mine"
    assert main(["import", "--from-csv", str(path), "--root", str(ROOT), "--out", str(out)]) == 0
    assert "load points: 2" in capsys.readouterr().out
    assert [file.name for file in out.iterdir()] == ["experiment.yaml"]


def test_every_configuration_of_the_published_points_is_read(shared_dir):
    found = read(shared_dir / "ground_truth" / "closed_loop" / "runs.csv")
    assert (len(found.found), found.refused) == (78, ())
    assert sum(len(run.experiment.load_points) for run in found.found.values()) == 379


def test_lengths_without_their_scatter_keep_a_loop_in_step_and_multiply_the_error_of_ttft(shared_dir, tmp_path):
    source = shared_dir / "ground_truth" / "closed_loop" / "runs.csv"
    found = compare(source, tmp_path, only="llama-3.3-70b-fp8-h100-tp4-1k-1k")
    assert found[AS_SENT].points == found[ONE_LENGTH].points == 5
    assert found[AS_SENT].ttft_pct < 25
    assert found[ONE_LENGTH].ttft_pct > 4 * found[AS_SENT].ttft_pct


def test_the_committed_closed_loops_are_what_the_import_of_the_published_points_gives(shared_dir):
    found = read(shared_dir / "ground_truth" / "closed_loop" / "runs.csv").found
    committed = {experiment.id: experiment for experiment in load_set(ROOT, "closed_loop")}
    assert set(found) == set(committed)
    for name, run in found.items():
        read_again, kept = run.experiment, committed[name]
        assert (read_again.load_points, read_again.server) == (kept.load_points, kept.server), name
        assert (read_again.workload, read_again.noise) == (kept.workload, kept.noise), name
        assert (read_again.tensor_parallel, read_again.site) == (kept.tensor_parallel, kept.site), name
        assert (read_again.date, kept.source.document.rpartition("; ")[2]) == (kept.date, read_again.source.document)


def test_the_committed_closed_loops_run_the_checkpoints_that_were_served():
    served = Counter((experiment.model, experiment.hardware) for experiment in load_set(ROOT, "closed_loop"))
    assert served == {
        ("llama-3.3-70b-instruct-fp8", "h100-sxm"): 9,
        ("llama-3.3-70b-instruct-fp8", "h200-sxm"): 12,
        ("llama-3.3-70b-instruct-fp8", "b200-sxm"): 12,
        ("qwen3-32b", "h100-sxm"): 18,
        ("minimax-m2.5", "h200-sxm"): 9,
        ("kimi-k2.5", "h200-sxm"): 6,
        ("kimi-k2.5-nvfp4", "b200-sxm"): 12,
    }


def test_of_cells_nobody_has_measured_yet_every_row_that_can_be_is_imported_and_the_rest_named_at_once(
    tmp_path, capsys
):
    cells = {
        "gpt-oss": {"model_hf_id": "openai/gpt-oss-120b", "precision": "fp4", "cudagraph": "sizes 2048"},
        "llama": {"model_hf_id": "nvidia/Llama-3.3-70B-Instruct-FP4", "precision": "fp4", "system": "b200_sxm"},
        "minimax": {"model_hf_id": "nvidia/MiniMax-M2.5-NVFP4", "precision": "fp4", "system": "b300_sxm"},
        "experts": {"model_hf_id": "MiniMaxAI/MiniMax-M2.5", "precision": "fp8", "tp": "4", "ep": "4"},
        "kimi": {"model_hf_id": "moonshotai/Kimi-K2.5", "precision": "int4", "system": "b200_sxm", "tp": "8"},
        "no model": {"model_hf_id": "somebody/Unknown-7B"},
        "no GPU": {"system": "gb999"},
        "no number": {"tp": "two"},
    }
    rows = [ROW | {"run_id": run_id} | change for run_id, change in cells.items()]
    out = tmp_path / "out"
    assert main(["import", "--from-csv", str(table(tmp_path, *rows)), "--root", str(ROOT), "--out", str(out)]) == 1
    found = [yaml.safe_load(path.read_text()) for path in sorted(out.glob("*/experiment.yaml"))]
    assert sorted((each["model"], each["hardware"]) for each in found) == [
        ("gpt-oss-120b", "h100-sxm"),
        ("kimi-k2.5", "b200-sxm"),
        ("llama-3.3-70b-instruct-nvfp4", "b200-sxm"),
        ("minimax-m2.5", "h100-sxm"),
        ("minimax-m2.5-nvfp4", "b300-sxm"),
    ]
    said = "".join(capsys.readouterr())
    for text in ("3 of 8", "somebody/Unknown-7B", "gb999", "line 9 (no number): tp: "):
        assert text in said, said
