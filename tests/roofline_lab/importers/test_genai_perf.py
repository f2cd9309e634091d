"""genai-perf: the summary as JSON of either layout or as CSV; raw exports are named as such."""

from __future__ import annotations

import json

import pytest

from roofline_lab.cli.main import EXIT_FAILURE, main
from roofline_lab.importers import genai_perf
from roofline_lab.importers.inspection import kind_of
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import AsWritten, genai_perf_export, sent, write_aiperf, write_genai_perf


def read(path):
    return AsWritten(genai_perf.read(path))


def values(found):
    return {name: figure["value"] for name, figure in found.load_points[0]["measured"].items()}


def test_the_figures_are_those_of_the_requests(tmp_path):
    requests = sent()
    path = write_genai_perf(tmp_path, genai_perf_export(requests))
    found = read(path)
    figures = values(found)
    assert figures["ttft_mean"] == pytest.approx(1000 * sum(one.ttft_s for one in requests) / 20)
    assert figures["tpot_mean"] == pytest.approx(10.0)
    assert figures["e2e_mean"] == pytest.approx(1000 * sum(one.e2e_s for one in requests) / 20)
    assert found.load_points[0]["requests"]["completed"] == 20
    assert found.model_name == "meta-llama/Llama-2-7b-hf"
    assert kind_of(path) == kind_of(tmp_path) == "genai-perf"


@pytest.mark.parametrize(
    ("config", "arrivals"),
    [
        ({"perf_analyzer": {"stimulus": {"concurrency": 4}}}, {"kind": "closed_loop", "concurrency": 4}),
        ({"perf_analyzer": {"stimulus": {"request_rate": 1.0}}}, {"kind": "constant_rate", "rate_per_s": 1.0}),
        ({"model": ["m"], "concurrency": 4, "request_rate": None}, {"kind": "closed_loop", "concurrency": 4}),
    ],
)
def test_the_load_is_read_from_either_layout_of_the_configuration(tmp_path, config, arrivals):
    content = genai_perf_export(sent(), input_config=config)
    assert read(write_genai_perf(tmp_path, content)).load_points[0]["arrivals"] == arrivals


def test_a_load_that_only_the_folder_names_is_taken_from_it(tmp_path):
    folder = tmp_path / "llama-openai-chat-request_rate1.0"
    found = read(write_genai_perf(folder, genai_perf_export(sent(), input_config={})))
    assert found.load_points[0]["arrivals"] == {"kind": "constant_rate", "rate_per_s": 1.0}


CSV = """Metric,avg,min,max,p99,p95,p90,p75,p50,p25,p10,p5,p1
Time To First Token (ms),40.00,31.20,61.90,60.20,55.00,48.00,42.00,39.50,35.00,33.00,32.00,31.50
Inter Token Latency (ms),10.00,9.00,12.00,11.90,11.00,10.80,10.20,9.90,9.50,9.20,9.10,9.00
Request Latency (ms),"1,540.00","1,450.00","1,700.00","1,680.00","1,650.00","1,600.00","1,560.00","1,539.00",1,1,1,1
Output Sequence Length (tokens),151.00,140.00,160.00,159.00,158.00,157.00,155.00,151.00,148.00,144.00,142.00,141.00
Input Sequence Length (tokens),500.00,400.00,600.00,598.00,590.00,580.00,550.00,500.00,450.00,420.00,410.00,402.00

Metric,Value
Output Token Throughput (tokens/sec),390.00
Request Throughput (requests/sec),2.58
Request Count (count),100.00
"""


def test_a_csv_with_thousands_set_apart_is_read(tmp_path):
    folder = tmp_path / "llama-openai-chat-concurrency4"
    folder.mkdir()
    path = folder / "profile_export_genai_perf.csv"
    path.write_text(CSV, encoding="utf-8")
    assert kind_of(path) == "genai-perf"
    figures = values(read(path))
    assert (figures["ttft_p90"], figures["tpot_mean"], figures["e2e_mean"]) == (48.0, 10.0, 1540.0)
    assert figures["e2e_mean"] == 40 + 150 * 10


def test_the_csv_beside_a_json_is_no_second_run(tmp_path):
    write_genai_perf(tmp_path)
    (tmp_path / "profile_export_genai_perf.csv").write_text(CSV, encoding="utf-8")
    assert len(genai_perf.read(tmp_path).experiment.load_points) == 1


def test_the_raw_export_is_named_with_the_file_to_give(tmp_path, capsys):
    path = tmp_path / "profile_export.json"
    path.write_text(json.dumps({"service_kind": "openai", "experiments": [], "version": "2.5"}), encoding="utf-8")
    assert main(["inspect", str(path)]) == EXIT_FAILURE
    assert (
        "times of responses without numbers of tokens; give profile_export_genai_perf.json" in capsys.readouterr().err
    )


def test_a_summary_of_aiperf_is_told_apart(tmp_path):
    with pytest.raises(ConfigError, match="this is a file of aiperf, not of genai-perf; use: import aiperf PATH"):
        read(write_aiperf(tmp_path))


def test_prompts_begin_with_the_prefixes_that_the_client_made(tmp_path):
    content = genai_perf_export(sent())
    content["input_config"] |= {"num_prefix_prompts": 5, "prefix_prompt_length": 90}
    found = read(write_genai_perf(tmp_path, content))
    assert found.workload["prefix"] == {"kind": "shared", "tokens": 90, "counted": "included", "groups": 5}
