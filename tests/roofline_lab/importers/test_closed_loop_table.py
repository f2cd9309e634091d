"""Points of a closed loop: an experiment per server, a load point per number of clients, lengths as they were drawn."""

from __future__ import annotations

import csv

import pytest

from benchmarks.closed_loop import AS_SENT, ONE_LENGTH, compare
from roofline_lab.cli.main import main
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.closed_loop_table import drawn_pairs
from roofline_lab.importers.inspection import TABLE, kind_of
from roofline_lab.importers.table import read
from simulator.errors import ConfigError
from tests.paths import ROOT

ROW = {
    "run_id": "Mine|h100_sxm|tp2", "model_hf_id": "Qwen/Qwen3-32B", "system": "h100_sxm", "tp": "2", "ep": "1",
    "attention_dp": "1", "vllm_version": "0.12.0", "date": "2026-03-01", "isl": "1000", "osl": "200",
    "range_ratio": "0.8", "concurrency": "4", "num_prompts": "40", "max_num_seqs": "4",
    "max_num_batched_tokens": "8192 (vLLM default)", "max_model_len": "unknown", "prefix_caching": "off",
    "gpu_memory_utilization": "0.90", "kv_dtype": "auto", "ttft_ms": "80.5", "tpot_ms": "14.25", "outlier": "0",
    "saturated": "0",
}  # fmt: skip
WIDER = ROW | {"concurrency": "16", "num_prompts": "160", "max_num_seqs": "16", "ttft_ms": "95.0"}
NAME = "Mine-h100_sxm-tp2"


def table(folder, *rows):
    path = folder / "points.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(ROW))
        writer.writeheader()
        writer.writerows(rows)
    return path


def one(folder, *rows):
    return read(table(folder, *rows)).found[NAME].experiment


def test_the_concurrencies_of_a_server_are_the_load_points_of_one_experiment(tmp_path):
    experiment = one(tmp_path, ROW, WIDER)
    assert [point.id for point in experiment.load_points] == ["c4", "c16"]
    assert [point.arrivals.concurrency for point in experiment.load_points] == [4, 16]
    measured = experiment.load_points[0].measured
    assert (measured["ttft_mean"].value, measured["tpot_mean"].value) == (80.5, 14.25)
    assert measured["tpot_mean"].definition == "inter_token"
    assert (experiment.tensor_parallel, experiment.hardware, str(experiment.date)) == (2, "h100_sxm", "2026-03-01")


def test_settings_are_known_as_far_as_cells_state_numbers(tmp_path):
    known = one(tmp_path, ROW, WIDER).server.known
    assert (known.token_budget, known.max_running, known.prefix_caching) == (8192, 16, False)
    assert (known.max_model_len_tokens, known.gpu_memory_utilization) == (None, 0.9)
    assert (known.software, known.kv_cache_dtype) == ("vLLM 0.12.0", "auto")


def test_lengths_of_a_range_are_those_the_client_drew(tmp_path):
    experiment = one(tmp_path, ROW, WIDER)
    sent = experiment.measured_requests("c16")
    assert len(sent) == 160
    assert [(request.prompt_tokens, request.output_tokens) for request in sent] == drawn_pairs(1000, 200, 0.8, 160)
    assert all(800 <= request.prompt_tokens <= 1000 and 160 <= request.output_tokens <= 200 for request in sent)
    assert Flag.LENGTHS_FROM_SEED in {flag.flag for flag in experiment.quality}


def test_the_draws_are_those_the_protocol_of_the_client_prints():
    pairs = drawn_pairs(1024, 1024, 0.8, 40)
    assert pairs[:4] == [(991, 851), (866, 1012), (936, 828), (1011, 1004)]


def test_without_a_range_all_requests_have_the_nominal_lengths_and_the_import_says_so(tmp_path):
    experiment = one(tmp_path, ROW | {"range_ratio": "1.0 (fixed lengths, assumed)"})
    assert experiment.workload.output.model_dump() == {"kind": "constant", "tokens": 200}
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
        ({"attention_dp": "4"}, "attention_dp: 4; data-parallel attention is not simulated"),
        ({"concurrency": "4", "ttft_ms": "90"}, "concurrency: 4 is given twice; remove one row"),
        ({"concurrency": "-4"}, "line 3: concurrency: "),
        ({"tp": "two"}, "line 3: tp: "),
        ({"num_prompts": "900000000"}, "more than 200000 single requests"),
        ({"date": "spring"}, "date: 'spring' is no day such as 2026-03-27"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_by_name_and_costs_no_other_server(tmp_path, change, expected):
    second = ROW | {"run_id": "Other", "attention_dp": "1"}
    bad = [ROW, WIDER | change] if "concurrency" in change else [WIDER | change]
    rows = [*bad, second] if len(bad) > 1 else [second, *bad]
    found = read(table(tmp_path, *rows))
    assert "Other" in found.found
    assert any(expected in one.reason for one in found.refused)


def test_a_table_of_which_nothing_can_be_used_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="data-parallel attention"):
        read(table(tmp_path, ROW | {"attention_dp": "2"}))


def test_the_table_is_known_by_its_columns_and_imported_by_the_same_command(tmp_path, capsys):
    path = table(tmp_path, ROW, WIDER)
    assert kind_of(path) == TABLE
    out = tmp_path / "out" / "mine"
    assert main(["import", "--from-csv", str(path), "--root", str(ROOT), "--out", str(out)]) == 0
    assert "load points: 2" in capsys.readouterr().out
    assert (out / "requests.csv").is_file()


def test_every_configuration_of_the_published_points_is_read(shared_dir):
    found = read(shared_dir / "ground_truth" / "closed_loop" / "runs.csv")
    assert (len(found.found), found.refused) == (78, ())
    assert sum(len(run.experiment.load_points) for run in found.found.values()) == 379


def test_lengths_without_their_scatter_keep_a_loop_in_step_and_multiply_the_error_of_ttft(shared_dir, tmp_path):
    source = shared_dir / "ground_truth" / "closed_loop" / "runs.csv"
    found = compare(source, tmp_path, only="Llama-3.1-70B-h100_sxm-fp8-tp4-ep1-dp1-v0.10.2-1024x1024")
    assert found[AS_SENT].points == found[ONE_LENGTH].points == 5
    assert found[AS_SENT].ttft_pct < 25
    assert found[ONE_LENGTH].ttft_pct > 4 * found[AS_SENT].ttft_pct
