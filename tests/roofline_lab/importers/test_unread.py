"""A file of a tool that is not read is named, with what to convert; what is listed as allowed is what is allowed."""

from __future__ import annotations

import json

import pytest

from roofline_lab.cli.main import EXIT_FAILURE, main
from roofline_lab.importers.unread import KINDS, what_is
from tests.roofline_lab.importers.samples import SAMPLES

# Beginnings of files as the tools' documentation shows them, with made-up figures.
FILES = {
    "a summary of llmperf": ("s.json", {"name": "x", "num_concurrent_requests": 5, "results_ttft_s_mean": 0.3}),
    "single requests of llmperf": (
        "i.json",
        [{"error_code": None, "ttft_s": 0.2, "inter_token_latency_s": 0.1, "end_to_end_latency_s": 3.0}],
    ),
    "statistics of Locust": (
        "stats.csv",
        "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time\nPOST,/v1,10,0,5,6\n",
    ),
    "a summary of k6": ("k6.json", {"root_group": {"name": ""}, "metrics": {"http_req_duration": {"avg": 3.0}}}),
    "samples of k6": ("k6.csv", "metric_name,timestamp,metric_value,check\nhttp_reqs,1,1,\n"),
    "a report of vegeta": ("v.json", {"latencies": {"mean": 1}, "bytes_in": {"total": 1}, "status_codes": {"200": 5}}),
    "a report of oha": ("o.json", {"summary": {"total": 1.0}, "responseTimeHistogram": {"0.1": 3}}),
    "samples of hey": ("h.csv", "response-time,DNS+dialup,DNS,Request-write,Response-delay\n0.1,0,0,0,0\n"),
    "a result of JMeter": ("j.csv", "timeStamp,elapsed,label,responseCode,Latency\n1,2,a,200,3\n"),
    "a summary of MLPerf LoadGen": (
        "mlperf_log_summary.txt",
        "================================================\nMLPerf Results Summary\n=======\nSUT name : x\n",
    ),
    "a detail log of MLPerf LoadGen": ("mlperf_log_detail.txt", ':::MLLOG {"key": "loadgen_version", "value": "4"}\n'),
    "an accuracy log of MLPerf LoadGen": ("a.json", [{"seq_id": 0, "qsl_idx": 1, "data": "00"}]),
    "a report of Triton perf_analyzer": (
        "p.csv",
        "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv\n1,9.1,10,20\n",
    ),
    "a result of vllm bench latency": ("l.json", {"avg_latency": 1.0, "latencies": [1.0], "percentiles": {"50": 1.0}}),
    "a result of vllm bench throughput": (
        "t.json",
        {
            "elapsed_time": 9.0,
            "num_requests": 9,
            "total_num_tokens": 90,
            "requests_per_second": 1,
            "tokens_per_second": 10,
        },
    ),
    "a dump of a server's Prometheus metrics": ("m.txt", "# HELP vllm:num_requests_running n\nvllm:x 1\n"),
    "a model's configuration": ("config.json", {"architectures": ["X"], "model_type": "llama"}),
}


def write(folder, name, content):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1), encoding="utf-8")
    return path


def refused(capsys, *arguments):
    assert main(list(map(str, arguments))) == EXIT_FAILURE
    return capsys.readouterr().err


@pytest.mark.parametrize("kind", sorted(FILES))
def test_a_file_that_is_not_read_is_named_with_what_to_convert(tmp_path, capsys, kind):
    path = write(tmp_path, *FILES[kind])
    message = refused(capsys, "inspect", path)
    instead = next(one.instead for one in KINDS if one.name == kind)
    assert f"this is {kind}, which is not read; {instead}" in message
    assert f"read are results of {', '.join(sorted(SAMPLES))}" in message


def test_import_names_such_a_file_too_as_a_file_and_in_its_folder(project, tmp_path, capsys):
    path, out = write(tmp_path, *FILES["a summary of llmperf"]), project / "ground_truth" / "mine"
    for given in (path, tmp_path):
        for tool in ("guidellm", "vllm-bench"):
            assert "this is a summary of llmperf" in refused(capsys, "import", tool, given, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize("tool", sorted(SAMPLES))
def test_a_file_that_is_read_is_none_of_them(tmp_path, tool):
    SAMPLES[tool].write(tmp_path)
    assert what_is(tmp_path / SAMPLES[tool].file) is None


def test_a_folder_with_a_readable_result_is_not_refused_for_what_lies_beside_it(tmp_path, capsys):
    SAMPLES["guidellm"].write(tmp_path)
    write(tmp_path, *FILES["a dump of a server's Prometheus metrics"])
    assert main(["inspect", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("GuideLLM")


def test_a_table_of_something_else_lists_what_a_trace_has_and_not_its_own_columns(tmp_path, capsys):
    message = refused(capsys, "inspect", write(tmp_path, "x.csv", "arrival_ns,prompt_tokens,colour\n1,2,red\n"))
    assert "is it 'arrival_ns'? then rename it; a trace has the columns arrival_us, prompt_tokens" in message
    assert "colour" not in message


def test_the_recorded_files_of_llmperf_are_named(shared_dir, capsys):
    folder = shared_dir / "formats" / "llmperf" / "raw_data"
    assert "a summary of llmperf" in refused(capsys, "inspect", folder / "summary" / "together_7b.json")
    assert "single requests of llmperf" in refused(capsys, "inspect", folder / "individual" / "bedrock_13b.json")
    assert "a summary of llmperf" in refused(capsys, "inspect", folder / "summary")
    assert "of llmperf" in refused(capsys, "inspect", folder.parent)
