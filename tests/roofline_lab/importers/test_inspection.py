"""One command shows the figures of measurements and what is wrong with them; nothing is written."""

from __future__ import annotations

import gzip
import json

import pytest

from roofline_lab.cli.main import EXIT_FAILURE, main
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.inspection import EXPERIMENT, TABLE, TRACE, inspect, kind_of
from roofline_lab.importers.tools import tools
from tests.roofline_lab.importers.samples import (
    SAMPLES,
    guidellm_benchmark,
    guidellm_report,
    sent,
    vllm_result,
    write_guidellm,
    write_vllm,
)
from tests.roofline_lab.importers.test_table import ROW, table
from tests.roofline_lab.importers.test_trace import trace

GUIDELLM = "ground_truth/formats/guidellm_jan20-codellama-prefill-1"
INFERENCE_PERF = "ground_truth/formats/inference-perf_20260217-155451-llama-2-7b-tp1-codegen"
REPLAYS = (
    "20260217-155451-llama-2-7b-tp1-codegen",
    "20260217-162547-llama-2-7b-tp1-roleplay",
    "20260217-231439-llama-2-7b-tp1-general",
)


def shown(capsys, *paths):
    assert main(["inspect", *map(str, paths)]) == 0
    return capsys.readouterr().out


# --- the recorded samples ---------------------------------------------------------------------


def test_the_convention_of_guidellm_is_shown_with_its_figures(shared_dir, capsys):
    text = shown(capsys, shared_dir / GUIDELLM)
    assert "E2E / TPOT = 30.68 is the mean output length 30.68: the reported 54.72 ms" in text
    assert "between tokens it is 26.06 ms" in text


def test_client_minus_server_is_shown_request_by_request(shared_dir, capsys):
    text = shown(capsys, shared_dir / GUIDELLM)
    cold, warm = [line.split("|")[2:9] for line in text.splitlines() if line.startswith("| cmpl-")]
    assert [float(cell) for cell in cold[:6]] == [1353.10, 1320.27, 32.84, 2784.65, 2751.54, 33.11]
    assert cold[6].strip() == "first, cold"
    assert [float(warm[2]), float(warm[5])] == pytest.approx([10.0, 10.0], abs=0.2)
    assert "client_offset_ms 10.0 was measured" in text


def test_the_halved_gaps_of_inference_perf_are_shown_with_their_factor(shared_dir, capsys):
    text = shown(capsys, shared_dir / INFERENCE_PERF)
    assert "(E2E - TTFT) / TPOT = 495.5 is 2 N + 1 for N = 247" in text
    assert "multiplied by 2.0122" in text


@pytest.mark.parametrize("name", REPLAYS)
def test_the_period_of_a_hundred_requests_is_shown_for_every_replay_trace(shared_dir, capsys, name):
    text = shown(capsys, shared_dir / "ground_truth" / "replay" / f"{name}.csv.gz")
    assert "prompts_repeat (noted): Prompt lengths repeat after 100 requests" in text
    assert "constant_is_poisson (noted) [stage_0]: The gaps between" in text
    assert "cold_start_included (noted) [stage_0]" in text
    assert "output_retokenised (noted) [stage_0]: Reported output lengths vary" in text


def test_the_period_shows_in_the_first_two_hundred_requests_too(shared_dir, capsys):
    text = shown(capsys, shared_dir / INFERENCE_PERF / "replay.first200.json")
    assert "Prompt lengths repeat after 100 requests (96.0% of them are equal" in text


def test_every_run_of_a_table_is_shown(shared_dir, capsys):
    text = shown(capsys, shared_dir / "ground_truth" / "measured_runs.csv")
    assert text.count("Not found, or too few numbers to tell") == 16
    assert "99 % of TTFT are below 138.6 ms, in the busier stage_1 below 79.8 ms" in text


def test_a_sweep_that_has_no_pool_is_not_said_to_have_one(shared_dir):
    path = shared_dir / "ground_truth" / "replay" / "jan21-llama7b-train-1__stage2_server.csv.gz"
    (one,) = inspect(path)
    assert Flag.PROMPTS_REPEAT in one.not_found


# --- what a path holds ------------------------------------------------------------------------


def test_every_kind_is_recognised_by_its_content(tmp_path, project):
    for tool, sample in SAMPLES.items():
        sample.write(tmp_path / tool)
    paths = {
        **{tool: tmp_path / tool for tool in SAMPLES},
        TRACE: trace(tmp_path / "d.csv"),
        TABLE: table(tmp_path, ROW),
        EXPERIMENT: project / "ground_truth" / "jan30-llama2-7b-tp1-chatsweep",
    }
    assert {kind: kind_of(path) for kind, path in paths.items()} == {kind: kind for kind in paths}
    assert {tool: kind_of(tmp_path / tool / sample.file) for tool, sample in SAMPLES.items()} == {
        tool: tool for tool in SAMPLES
    }


def test_an_experiment_of_the_project_shows_its_flags(project, capsys):
    text = shown(capsys, project / "ground_truth" / "jan30-llama2-7b-tp1-chatsweep")
    assert text.startswith("jan30-llama2-7b-tp1-chatsweep: llama-2-7b-hf on h100-sxm, measured by guidellm")


def test_a_compressed_report_is_read_like_a_plain_one(tmp_path):
    plain = write_guidellm(tmp_path / "a") / "benchmarks.json"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "benchmarks.json.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (one,), (other,) = inspect(tmp_path / "a"), inspect(tmp_path / "b")
    assert one.points == other.points


def test_several_paths_are_shown_one_after_the_other(tmp_path, capsys):
    text = shown(capsys, write_guidellm(tmp_path / "a"), write_vllm(tmp_path / "c"))
    assert text.index("GuideLLM") < text.index("vLLM serving benchmark")


def test_nothing_is_written_next_to_what_is_looked_at(tmp_path, capsys):
    folder = write_guidellm(tmp_path / "a", guidellm_report([guidellm_benchmark(sent(), {"type_": "synchronous"})]))
    before = sorted(folder.iterdir())
    shown(capsys, folder)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.json", json.dumps({"hello": 1}), f"nothing that is known; give results of {', '.join(tools())}"),
        ("x.json", "{", "not valid JSON"),
        ("x.txt", "hello", "not valid JSON"),
        ("x.csv", "a,b\n1,2\n", "is this a request trace?"),
        ("x.json.gz", "plain text", "not valid JSON"),
    ],
)
def test_what_nobody_knows_is_one_message(tmp_path, capsys, name, content, expected):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert main(["inspect", str(path)]) == EXIT_FAILURE
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert str(path) in message
    assert expected in message


def test_a_missing_path_and_an_empty_folder_are_one_message(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "gone")]) == EXIT_FAILURE
    assert "cannot be read" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path)]) == EXIT_FAILURE
    assert "nothing that is known" in capsys.readouterr().err


def test_results_without_a_pitfall_say_what_was_looked_for(tmp_path):
    (one,) = inspect(write_vllm(tmp_path / "c", vllm_result(sent())))
    assert Flag.STREAM_LINES_COUNTED in one.not_found
    assert Flag.USED_FOR_FITTING not in one.not_found


def test_requests_that_failed_or_were_cut_off_are_columns_and_a_sentence_of_the_import(project, tmp_path, capsys):
    benchmark = guidellm_benchmark(sent(), {"type_": "constant", "rate": 1.0})
    benchmark["metrics"]["request_totals"] |= {"errored": 1, "incomplete": 3}
    path = write_guidellm(tmp_path / "run", guidellm_report([benchmark]))
    header, _, row = [line.split("|")[2:6] for line in shown(capsys, path).splitlines() if line.startswith("| ")][:3]
    assert [cell.strip() for cell in header] == ["sent", "completed", "failed", "cut off"]
    assert [int(cell) for cell in row] == [24, 20, 1, 3]
    out = project / "ground_truth" / "mine"
    assert main(["import", "guidellm", str(path), "--out", str(out)]) == 0
    assert "4 of 24 requests are in no figure: 1 failed, 3 cut off." in capsys.readouterr().out
    assert "cancelled: 3" in (out / "experiment.yaml").read_text(encoding="utf-8")
