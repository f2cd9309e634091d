"""`roofline-lab capacity` and `predict`: what they print, write and refuse."""

from __future__ import annotations

import csv
import json

import pytest

from roofline_lab.cli.main import main
from tests.paths import ROOT

LENGTHS = """
requests: 200
prompt: {kind: constant, tokens: 1000}
output: {kind: constant, tokens: 50}
"""
MODEL = ["--model", "llama-3.3-70b-instruct-fp8", "--gpu", "h200-sxm", "--root", str(ROOT), "--jobs", "1"]


@pytest.fixture
def workload(tmp_path):
    path = tmp_path / "lengths.yaml"
    path.write_text(LENGTHS)
    return str(path)


def run(capsys, *arguments):
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_answer_comes_first_with_both_ends_and_how_sure_it_is(capsys, workload):
    code, out, _ = run(
        capsys, "capacity", *MODEL, "--tp", "4", "--workload", workload, "--slo", "ttft_mean<=400ms, tpot_mean<=25ms"
    )
    first, second = out.splitlines()[:2]
    assert code == 0
    assert "meets the limits up to" in first
    assert "pessimistic" in first
    assert "what vllm_fleet was validated on" in second


def test_a_grid_has_a_row_per_server_one_that_cannot_be_with_its_reason(capsys, workload, tmp_path):
    out_folder = tmp_path / "answer"
    arguments = [*MODEL, "--tp", "1,2", "--model", "llama-3.3-70b-instruct", "--steptime", "vllm_fleet"]
    arguments += ["--workload", workload, "--slo", "tpot_mean<=40ms", "--at", "20", "--price", "h200-sxm=3.5"]
    code, out, err = run(capsys, "capacity", *arguments, "--out", str(out_folder))
    assert code == 0
    assert "2 of 2 servers answered" in err
    assert f"written: {out_folder / 'CAPACITY.md'}" in out
    with (out_folder / "answers.csv").open() as stream:
        rows = {row["tensor_parallel"]: row for row in csv.DictReader(stream)}
    assert rows["1"]["status"] == "refused"
    assert "leave no room" in rows["1"]["reason"]
    assert rows["2"]["status"] == "answered"
    page = (out_folder / "CAPACITY.md").read_text()
    assert "GPUs for 20" in page
    assert "Cost per 1M output tokens" in page
    assert not (out_folder / ".answers").exists()


def test_a_limit_nobody_can_meet_is_an_answer_with_the_nearest_question_and_exit_code_one(capsys, workload, tmp_path):
    out_folder = tmp_path / "answer"
    arguments = [*MODEL, "--tp", "4", "--workload", workload, "--slo", "ttft_mean<=1ms", "--out", str(out_folder)]
    code, out, _ = run(capsys, "capacity", *arguments)
    assert code == 1
    assert "No load meets the limits" in out
    nearest = next(line for line in out.splitlines() if line.startswith("nearest question with an answer: "))
    again, _, _ = run(
        capsys, "capacity", *MODEL, "--tp", "4", "--workload", workload, "--slo", nearest.partition(": ")[2]
    )
    assert again == 0
    assert "The nearest question with an answer" in (out_folder / "CAPACITY.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--workload", "chat", "--slo", "ttft_p99<=500"], "500 of what? give the unit"),
        (["--workload", "chat"], "slo: missing; give limits with --slo"),
        (["--slo", "ttft_p99<=500ms"], "workload: missing"),
        (["--workload", "nope", "--slo", "ttft_p99<=500ms"], "workload: unknown 'nope'"),
        (["--workload", "chat", "--slo", "ttft_p99<=500ms", "--tp", "two"], "--tp: must be whole numbers"),
        (["--workload", "chat", "--slo", "ttft_p99<=500ms", "--server", "kv_blocks"], "--server: must be KEY=VALUE"),
        (["--workload", "chat", "--slo", "ttft_p99<=500ms", "--server", "kv_block=9"], "did you mean 'kv_blocks'"),
        (["--workload", "chat", "--slo", "ttft_p99<=500ms", "--tp", "1", "--model", "kimi-k2.5"], "leave no room"),
        (["--workload", "chat", "--slo", "ttft_p99<=500ms", "--gpu", "h900"], "unknown id 'h900'"),
    ],
)
def test_a_question_that_is_wrong_is_refused_in_one_message_and_nothing_is_written(capsys, tmp_path, arguments, told):
    code, out, err = run(capsys, "capacity", *MODEL, *arguments, "--out", str(tmp_path / "answer"))
    assert code == 2
    assert out == ""
    assert err.splitlines()[-1].startswith("error: ") or "error: " in err
    assert told in err
    assert not (tmp_path / "answer" / "CAPACITY.md").exists()


def test_a_question_as_a_file_has_the_same_answer_as_its_flags_and_flags_win(capsys, workload, tmp_path):
    question = tmp_path / "q.yaml"
    data = {
        "model": "llama-3.3-70b-instruct-fp8",
        "hardware": "h200-sxm",
        "tensor_parallel": 4,
        "workload": workload,
        "slo": "tpot_mean<=25ms",
    }
    question.write_text(json.dumps(data))
    _, of_file, _ = run(capsys, "capacity", str(question), "--root", str(ROOT))
    _, of_flags, _ = run(capsys, "capacity", *MODEL, "--tp", "4", "--workload", workload, "--slo", "tpot_mean<=25ms")
    _, tighter, _ = run(capsys, "capacity", str(question), "--root", str(ROOT), "--slo", "tpot_mean<=15ms")
    assert of_file == of_flags
    assert tighter != of_file


def test_a_prediction_says_latencies_memory_and_what_bounds_a_step(capsys, workload):
    code, out, _ = run(capsys, "predict", *MODEL, "--tp", "4", "--workload", workload, "--rate", "2")
    assert code == 0
    assert out.startswith("llama-3.3-70b-instruct-fp8 h200-sxm TP4 at 2 requests/s: TTFT ")
    assert "KV blocks" in out
    assert "bound" in out
    assert [line.split()[0] for line in out.splitlines()[-5:]] == ["ms", "TTFT", "TPOT", "E2E", "ITL"]


@pytest.mark.parametrize(("flags", "told"), [([], "keeps up with"), (["--load", "concurrency"], "hardly more done")])
def test_without_a_load_a_prediction_goes_from_idle_to_saturation_with_a_picture(
    capsys, workload, tmp_path, flags, told
):
    folder = tmp_path / "prediction"
    code, out, _ = run(capsys, "predict", *MODEL, "--tp", "4", "--workload", workload, *flags, "--out", str(folder))
    assert code == 0
    assert told in out
    assert (folder / "latency.svg").read_text().startswith("<?xml")
    with (folder / "points.csv").open() as stream:
        assert len({row["load"] for row in csv.DictReader(stream)}) >= 6


def test_a_rate_and_clients_at_once_are_refused(capsys, workload):
    code, _, err = run(capsys, "predict", *MODEL, "--workload", workload, "--rate", "2", "--concurrency", "3")
    assert code == 2
    assert "leave one out" in err
