"""aiperf: summaries as JSON and CSV by the units they name, single requests as lines, failed ones counted by reason."""

from __future__ import annotations

import json
import shutil

import pytest

from roofline_lab.cli.main import EXIT_FAILURE, main
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.importers import aiperf, import_experiment
from roofline_lab.importers.inspection import kind_of
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import (
    AsWritten,
    Sent,
    aiperf_export,
    aiperf_line,
    sent,
    write_aiperf,
    write_lines,
)

REAL = "formats/aiperf"
SUMMARY_FIGURES = {
    "ttft_mean": 2343.219437,
    "ttft_p50": 2369.317693,
    "ttft_p99": 3833.3894,
    "tpot_mean": 27.763065,
    "tpot_p90": 32.872323,
    "e2e_mean": 9059.654633,
    "e2e_p50": 9097.345015,
    "request_throughput": 9.551622,
}


def read(path):
    return AsWritten(aiperf.read(path))


def values(found):
    return {name: figure["value"] for name, figure in found.load_points[0]["measured"].items()}


def text(found):
    return " ".join(flag.text for flag in found.quality)


# --- summaries ------------------------------------------------------------------------------------


def first_layout(content):
    """Return the layout of the first versions: metrics under `records`, TTFT by another tag."""
    metrics = {
        name: content.pop(name) for name in list(content) if isinstance(content[name], dict) and "unit" in content[name]
    }
    metrics["ttft"] = metrics.pop("time_to_first_token")
    content.pop("aiperf_version")
    return {"records": metrics, **content}


@pytest.mark.parametrize("layout", [dict, first_layout])
def test_the_figures_are_those_of_the_requests_in_either_layout(tmp_path, layout):
    requests = sent()
    path = write_aiperf(tmp_path, layout(aiperf_export(requests)))
    found = read(path)
    figures = values(found)
    assert figures["ttft_mean"] == pytest.approx(1000 * sum(one.ttft_s for one in requests) / 20)
    assert figures["tpot_mean"] == pytest.approx(10.0)
    assert figures["e2e_mean"] == pytest.approx(1000 * sum(one.e2e_s for one in requests) / 20)
    assert (found.model_name, found.date.isoformat()) == ("meta-llama/Llama-2-7b-hf", "2026-01-31")
    assert found.load_points[0]["arrivals"] == {"kind": "constant_rate", "rate_per_s": 1.0}
    assert kind_of(path) == kind_of(tmp_path) == "aiperf"


def test_the_version_is_named_where_the_file_tells_it(tmp_path, capsys):
    assert main(["inspect", str(write_aiperf(tmp_path))]) == 0
    assert capsys.readouterr().out.startswith("aiperf 0.2.0 result profile_export_aiperf.json")


@pytest.mark.parametrize("unit", [("us", 1000.0), ("sec", 0.001), ("ns", 1e6)])
def test_latencies_are_converted_by_the_unit_the_file_names(tmp_path, unit):
    content = aiperf_export(sent())
    name, factor = unit
    ttft = content["time_to_first_token"]
    content["time_to_first_token"] = {key: name if key == "unit" else value * factor for key, value in ttft.items()}
    assert values(read(write_aiperf(tmp_path, content)))["ttft_mean"] == pytest.approx(ttft["avg"])


def test_a_unit_nobody_knows_is_refused(tmp_path):
    content = aiperf_export(sent())
    content["time_to_first_token"]["unit"] = "fortnights"
    with pytest.raises(ConfigError, match=r"time_to_first_token: unit: must be one of ms, .*got 'fortnights'"):
        read(write_aiperf(tmp_path, content))


@pytest.mark.parametrize(
    ("load", "arrivals"),
    [
        ({"concurrency": 4, "request_rate_mode": "concurrency_burst"}, {"kind": "closed_loop", "concurrency": 4}),
        ({"concurrency": 20}, {"kind": "burst"}),
        ({"request_rate": 1.0, "request_rate_mode": "poisson"}, {"kind": "poisson", "rate_per_s": 1.0}),
        ({"request_rate": 1.0, "request_rate_mode": "constant"}, {"kind": "constant_rate", "rate_per_s": 1.0}),
        (
            {"request_rate": 1.0, "arrival_pattern": "gamma", "arrival_smoothness": 4.0},
            {"kind": "gamma", "rate_per_s": 1.0, "cv": 0.5},
        ),
    ],
)
def test_every_load_becomes_its_kind_of_arrivals(tmp_path, load, arrivals):
    assert read(write_aiperf(tmp_path, aiperf_export(sent(), load=load))).load_points[0]["arrivals"] == arrivals


def test_the_load_of_a_newer_configuration_is_that_of_its_last_phase(tmp_path):
    config = {
        "models": {"items": [{"name": "Qwen/Qwen3-14B"}]},
        "phases": [
            {"name": "warm", "kind": "warmup", "type": "concurrency", "concurrency": 1},
            {"name": "profiling", "type": "constant", "rate": 1.0},
        ],
    }
    found = read(write_aiperf(tmp_path, aiperf_export(sent(), input_config=config)))
    assert found.load_points[0]["arrivals"] == {"kind": "constant_rate", "rate_per_s": 1.0}
    assert found.model_name == "Qwen/Qwen3-14B"


def test_failed_and_cancelled_requests_are_counted_by_reason(project, tmp_path, capsys):
    path = write_aiperf(tmp_path, aiperf_export(sent(), failed=1, cancelled=2))
    out = project / "ground_truth" / "mine"
    assert main(["import", "aiperf", str(path), "--out", str(out)]) == 0
    assert "3 of 23 requests are in no figure: 1 failed, 2 cut off" in capsys.readouterr().out
    counts = load_experiment(out).load_points[0].requests
    assert (counts.sent, counts.completed, counts.failed, counts.cancelled) == (23, 20, 1, 2)


def test_gaps_between_chunks_are_gaps_between_tokens_only_where_there_are_as_many(tmp_path):
    tokens = sum(one.output - 1 for one in sent())
    gaps = {"unit": "ms", "avg": 10.0, "p50": 9.9}
    one = values(
        read(write_aiperf(tmp_path / "a", aiperf_export(sent(), inter_chunk_latency={**gaps, "count": tokens})))
    )
    assert (one["itl_mean"], one["itl_p50"]) == (10.0, 9.9)
    half = aiperf_export(sent(), inter_chunk_latency={**gaps, "count": tokens // 2})
    assert "itl_mean" not in values(read(write_aiperf(tmp_path / "b", half)))


def test_a_median_of_zero_is_refused(tmp_path):
    content = aiperf_export(sent())
    content["time_to_first_token"]["p50"] = 0.0
    with pytest.raises(ConfigError, match="ttft_p50: 0, which means not measured"):
        read(write_aiperf(tmp_path, content))


def test_a_run_that_was_cancelled_is_flagged(tmp_path):
    assert "The run was cancelled before its end" in text(
        read(write_aiperf(tmp_path, aiperf_export(sent(), was_cancelled=True)))
    )


# --- CSV ------------------------------------------------------------------------------------------

CSV = """Metric,avg,min,max,p50,p90,p99,std
Input Sequence Length (tokens),500.00,400.00,600.00,500.00,580.00,598.00,20.00
Output Sequence Length (tokens),51.00,40.00,60.00,51.00,58.00,59.00,5.00
Inter Token Latency (ms),10.00,9.00,12.00,9.90,10.80,11.90,0.40
Request Latency (ms),540.00,450.00,700.00,539.00,600.00,680.00,30.00
Time to First Token (ms),40.00,31.20,61.90,39.50,48.00,60.20,5.10

Metric,Value
Benchmark Duration (sec),27.00
Error Request Count,5.00
Request Count,200.00
Request Throughput (requests/sec),7.41
"""


def written_csv(folder, content=CSV):
    folder.mkdir(parents=True)
    path = folder / "profile_export_aiperf.csv"
    path.write_text(content, encoding="utf-8")
    return path


def test_a_csv_is_read_where_its_folder_names_the_load(tmp_path):
    path = written_csv(tmp_path / "llama-openai-chat-concurrency4")
    found = read(path)
    figures = values(found)
    assert (figures["ttft_mean"], figures["ttft_p99"], figures["tpot_p50"]) == (40.0, 60.2, 9.9)
    assert figures["e2e_mean"] == 540.0 == 40 + 50 * 10
    assert found.load_points[0]["arrivals"] == {"kind": "closed_loop", "concurrency": 4}
    assert (found.load_points[0]["requests"]["sent"], found.load_points[0]["requests"]["completed"]) == (205, 200)
    spread = {"stdev_tokens": 5.0, "min_tokens": 40, "max_tokens": 60}
    assert found.workload["output"] == {"kind": "gaussian", "mean_tokens": 51.0, **spread}
    assert kind_of(path) == "aiperf"


def test_a_csv_whose_load_nobody_says_is_refused_with_what_to_give(tmp_path):
    with pytest.raises(ConfigError, match=r"aiperf result, but neither the file nor .* give the JSON summary"):
        read(written_csv(tmp_path / "results"))


def test_a_csv_without_lengths_is_refused_as_one_of_aiperf(tmp_path, capsys):
    table = "\n".join(line for line in CSV.splitlines() if "Sequence" not in line)
    assert main(["inspect", str(written_csv(tmp_path / "concurrency4", table))]) == EXIT_FAILURE
    assert "aiperf result without input or output sequence length" in capsys.readouterr().err


# --- single requests ------------------------------------------------------------------------------


def test_single_requests_are_replayed_with_their_times_and_those_of_a_warm_up_left_out(project, tmp_path):
    requests = sent()
    warm_up = [aiperf_line(99, Sent(0.0, 10, 5, 9.0, 1.0), phase="warmup", begin_s=1_768_000_000.0)]
    write_aiperf(tmp_path, aiperf_export(requests), [*warm_up, *(aiperf_line(*one) for one in enumerate(requests))])
    experiment = import_experiment("aiperf", tmp_path, project / "ground_truth" / "mine").experiment
    recorded = experiment.recorded()
    assert [one.arrival_us for one in recorded] == pytest.approx(
        [1_000_000 * position for position in range(20)], abs=1
    )
    assert [one.output_tokens for one in recorded] == [one.output for one in requests]
    assert recorded[3].ttft_ms == pytest.approx(1000 * requests[3].ttft_s)
    assert load_experiment(project / "ground_truth" / "mine") == experiment


def test_lines_alone_are_a_run_whose_arrivals_are_recorded(project, tmp_path):
    path = write_lines(tmp_path / "in", [aiperf_line(*one) for one in enumerate(sent())])
    assert kind_of(path) == "aiperf"
    out = project / "ground_truth" / "mine"
    assert main(["import", "aiperf", str(path), "--out", str(out), "--model", "llama-2-7b-hf"]) == 0
    experiment = load_experiment(out)
    assert experiment.load_points[0].arrivals.kind == "recorded"
    assert experiment.date.isoformat() == "2026-01-20"


def test_requests_without_an_answer_are_counted_by_reason_and_left_out(tmp_path):
    requests = sent()
    lines = [aiperf_line(*one) for one in enumerate(requests)]
    lines[1] = aiperf_line(1, requests[1], error={"code": 499, "type": "RequestCancellationError"})
    lines[2] = aiperf_line(2, requests[2], error={"code": 500, "type": "ServerError"})
    lines[3]["metrics"]["output_sequence_length"]["value"] = 0
    lines[4]["metrics"]["time_to_first_token"]["value"] = 0
    found = read(write_lines(tmp_path, lines))
    counts = {
        name: found.load_points[0]["requests"].get(name)
        for name in ("sent", "completed", "failed", "cancelled", "without_output")
    }
    assert counts == {"sent": 20, "completed": 17, "failed": 1, "cancelled": 1, "without_output": 1}
    assert "1 of 17 answers have no time to the first token, or one of 0" in text(found)


def test_a_role_chunk_is_no_first_token(tmp_path):
    """5 ms to the role, 45 ms behind it, then 10 ms between tokens: the first token came after 40 ms."""
    lines = [aiperf_line(position, Sent(float(position), 100, 11, 0.04, 0.01)) for position in range(6)]
    for line in lines:
        line["metrics"]["time_to_first_token"]["value"] = 5.0
        line["metrics"]["inter_chunk_latency"]["value"] = [45.0, *([10.0] * 9)]
    found = read(write_lines(tmp_path, lines))
    figures = values(found)
    assert {name: figures[name] for name in ("ttft_mean", "tpot_mean", "e2e_mean", "itl_mean")} == pytest.approx(
        {"ttft_mean": 40.0, "tpot_mean": 10.0, "e2e_mean": 140.0, "itl_mean": 10.0}
    )
    assert Flag.STREAM_LINES_COUNTED in [flag.flag for flag in found.quality]


def test_lines_of_another_run_than_the_summary_are_refused(tmp_path):
    write_aiperf(tmp_path, aiperf_export(sent()), [aiperf_line(*one) for one in enumerate(sent(12))])
    with pytest.raises(ConfigError, match=r"12 answered requests, but .* has a request_count of 20; .* of one run\?"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda line: line["metrics"]["request_latency"].update(value=-1), "line 1: metrics.request_latency.value"),
        (lambda line: line["metrics"]["request_latency"].update(unit="eons"), "metrics.request_latency.unit: must be"),
        (lambda line: line["metrics"].pop("input_sequence_length"), "input_sequence_length: missing or 0"),
        (lambda line: line["metrics"]["time_to_first_token"].update(value=1e6), "is above the request latency"),
        (lambda line: line.pop("metadata"), "line 1: metadata"),
    ],
)
def test_a_damaged_line_is_refused_with_its_place(tmp_path, change, expected):
    lines = [aiperf_line(*one) for one in enumerate(sent())]
    change(lines[0])
    with pytest.raises(ConfigError) as caught:
        read(write_lines(tmp_path, lines))
    assert expected in str(caught.value)


def test_runs_in_folders_of_their_own_are_load_points_of_one_experiment(tmp_path):
    for width in (4, 1):
        requests = sent(ttft_s=0.05 + width / 1000, every_s=0.5 / width)
        write_aiperf(tmp_path / f"concurrency{width}", aiperf_export(requests, load={"concurrency": width}))
    found = aiperf.read(tmp_path)
    assert [point.id for point in found.experiment.load_points] == ["concurrency_1", "concurrency_4"]


# --- recorded results -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["profile_export_aiperf.json", "profile_export.jsonl", ""])
def test_the_recorded_run_has_its_figures_in_every_file(project, shared_dir, name):
    """By hand: 89 of 100 requests answered, 11 cancelled; (9059.65 - 2343.22) / (242.97 - 1) = 27.76."""
    out = project / "ground_truth" / "mine"
    arguments = ["--model", "llama-2-7b-hf", "--out", str(out)]
    assert main(["import", "aiperf", str(shared_dir / REAL / name), *arguments]) == 0
    experiment = load_experiment(out)
    (point,) = experiment.load_points
    assert {key: point.measured[key].value for key in SUMMARY_FIGURES} == pytest.approx(SUMMARY_FIGURES, rel=2e-3)
    counts = point.requests
    assert (counts.sent, counts.completed, counts.failed, counts.cancelled) == (100, 89, None, 11)
    assert experiment.date.isoformat() == "2025-10-03"
    assert point.arrivals.kind == ("recorded" if name.endswith("jsonl") else "burst")
    assert len(experiment.recorded()) == (0 if name.endswith("json") else 89)


def test_the_recorded_csv_has_the_same_figures_as_the_json(shared_dir, tmp_path):
    folder = tmp_path / "openai_gpt-oss-20b-openai-chat-concurrency100"
    folder.mkdir()
    shutil.copy(shared_dir / REAL / "profile_export_aiperf.csv", folder)
    figures = values(read(folder))
    assert {key: figures[key] for key in SUMMARY_FIGURES} == pytest.approx(SUMMARY_FIGURES, rel=1e-3)


def test_the_shared_csv_is_named_as_one_of_aiperf(shared_dir, capsys):
    path = shared_dir / "cases" / "15-yaml-and-csv-reports" / "profile_export_aiperf.csv"
    assert main(["inspect", str(path)]) == EXIT_FAILURE
    assert "aiperf result without input or output sequence length" in capsys.readouterr().err


def test_a_summary_as_json_lines_is_one_document(tmp_path):
    """The summary of one run stands in one file: a second one behind it is of another run."""
    path = write_aiperf(tmp_path)
    path.write_text(2 * (json.dumps(aiperf_export(sent())) + "\n"), encoding="utf-8")
    with pytest.raises(ConfigError, match="give each result a file of its own"):
        read(path)


def told(**given):
    """Return a summary whose client was told so."""
    content = aiperf_export(sent())
    content["input_config"]["input"] = given
    return content


def test_prompts_begin_with_prefixes_of_the_pool_that_the_client_made(tmp_path):
    content = told(prompt={"prefix_prompt": {"pool_size": 3, "length": 90}})
    lines = [aiperf_line(place, one) for place, one in enumerate(sent())]
    found = read(write_aiperf(tmp_path, content, lines).parent)
    assert found.workload["prefix"] == {"kind": "shared", "tokens": 90, "counted": "included", "groups": 3}
    assert [request.prefix_group for request in found.requests[:4]] == ["shared_0", "shared_1", "shared_2", "shared_0"]
    assert {request.prefix_tokens for request in found.requests} == {90}


def test_turns_of_conversations_are_refused_and_single_ones_are_not(tmp_path):
    assert read(write_aiperf(tmp_path / "one", told(conversation={"num": 100, "turn": {"mean": 1}})))
    with pytest.raises(ConfigError, match="3 turns: conversations of several turns are not modelled"):
        read(write_aiperf(tmp_path / "three", told(conversation={"turn": {"mean": 3}})))


def test_answers_without_a_token_leave_the_rate_as_it_was_sent(tmp_path):
    lines = [aiperf_line(place, one) for place, one in enumerate(sent())]
    for line in lines[:3]:
        line["metrics"]["output_sequence_length"]["value"] = 0
    found = read(write_aiperf(tmp_path, aiperf_export(sent()), lines).parent)
    assert found.load_points[0]["arrivals"]["rate_per_s"] == 1.0
    assert Flag.CLIENT_FELL_SHORT not in {flag.flag for flag in found.quality}
