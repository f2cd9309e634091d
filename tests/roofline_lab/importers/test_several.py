"""Several results as load points of one experiment: settings said once, names by load, copies refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from roofline_lab.cli.main import main
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.importers import import_experiment, vllm_bench
from roofline_lab.importers.inspection import kind_of
from simulator.errors import ConfigError
from tests.roofline_lab.importers.samples import sent, vllm_result


def at(concurrency, *, seed=0.0, **changes):
    """Return a result with so many requests in flight; `seed` makes its latencies its own."""
    requests = sent(ttft_s=0.05 + 0.001 * concurrency + seed, every_s=0.5 / concurrency)
    return vllm_result(requests, rate="inf", max_concurrency=concurrency, **changes)


def write(folder, **results):
    """Write one file for each result, under its name."""
    for name, result in results.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result), encoding="utf-8")
    return folder


def points(found):
    return [point.id for point in found.experiment.load_points]


def test_a_folder_of_results_becomes_load_points_in_order_of_their_load(tmp_path):
    folder = write(tmp_path / "in", c=at(1), a=at(16), b=at(4))
    found = vllm_bench.read(folder)
    assert points(found) == ["concurrency_1", "concurrency_4", "concurrency_16"]
    assert [point.arrivals.concurrency for point in found.experiment.load_points] == [1, 4, 16]
    assert any("concurrency_1 (c.json), concurrency_4 (b.json)" in sentence for sentence in found.conversions)


def test_rates_are_load_points_too(tmp_path):
    results = {
        f"qps{rate}": vllm_result(sent(every_s=1 / rate, ttft_s=0.05 + rate / 1000), rate=rate) for rate in (2, 1)
    }
    assert points(vllm_bench.read(write(tmp_path / "in", **results))) == ["rate_1", "rate_2"]


def test_the_figures_of_the_shared_sweep_are_those_of_its_files(shared_dir):
    found = vllm_bench.read(shared_dir / "cases" / "24-sweep-of-result-files")
    assert points(found) == ["concurrency_1", "concurrency_4", "concurrency_16"]
    e2e = [point.measured["e2e_mean"].value for point in found.experiment.load_points]
    assert e2e == [30 + 99 * 8.0, 33 + 99 * 8.4, 41 + 99 * 9.5]


def test_a_sweep_is_one_experiment_that_loads(project, tmp_path):
    folder = write(tmp_path / "in", a=at(1), b=at(4))
    out = project / "ground_truth" / "mine"
    assert main(["import", "vllm-bench", str(folder), "--out", str(out)]) == 0
    experiment = load_experiment(out)
    assert [point.id for point in experiment.load_points] == ["concurrency_1", "concurrency_4"]
    assert experiment.completed_workload("concurrency_4").concurrency == 4


def test_the_single_requests_of_every_result_stay_with_their_load_point(project, tmp_path):
    requests = {rate: sent(every_s=1 / rate, ttft_s=0.05 + rate / 1000) for rate in (1, 2)}
    results = {f"r{rate}": vllm_result(one, rate=rate, detailed=True) for rate, one in requests.items()}
    out = project / "ground_truth" / "mine"
    experiment = import_experiment("vllm-bench", write(tmp_path / "in", **results), out).experiment
    for rate, one in requests.items():
        recorded = experiment.measured_requests(f"rate_{rate}")
        assert [request.ttft_ms for request in recorded] == pytest.approx([1000 * request.ttft_s for request in one])


def test_the_layout_of_a_sweep_is_found_below_its_folder(tmp_path):
    folder = write(
        tmp_path / "in",
        **{"run__a__run=0": at(1), "run__b__run=0": at(4), "run__b__summary": at(4)},
    )
    assert kind_of(folder) == "vllm-bench"
    assert points(vllm_bench.read(folder)) == ["concurrency_1", "concurrency_4"]


def test_server_options_of_a_sweep_are_known_settings(tmp_path):
    folder = write(tmp_path / "in", a=at(1, max_num_seqs=32), b=at(4, max_num_seqs=32, **{"tensor-parallel-size": 2}))
    experiment = vllm_bench.read(folder).experiment
    assert experiment.server.known.max_running == 32
    assert experiment.tensor_parallel == 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"max_num_seqs": 64}, "max running 64, but"),
        ({"model_id": "meta-llama/Llama-3.1-8B"}, "model meta-llama/Llama-3.1-8B, but"),
        ({"tensor_parallel_size": 4}, "tensor parallelism 4, but"),
    ],
)
def test_settings_that_differ_are_an_error_that_names_both_files(tmp_path, change, expected):
    stated = {"max_num_seqs": 32, "tensor_parallel_size": 2}
    folder = write(tmp_path / "in", a=at(1, **stated), b=at(4, **stated | change))
    with pytest.raises(ConfigError) as caught:
        vllm_bench.read(folder)
    assert f"{folder / 'b.json'}: {expected} {folder / 'a.json'} has" in str(caught.value)


def test_a_measurement_that_was_repeated_is_a_load_point_for_each_time(tmp_path):
    folder = write(tmp_path / "in", **{"run=0": at(4), "run=1": at(4, seed=0.0005), "other": at(8)})
    found = vllm_bench.read(folder)
    assert points(found) == ["concurrency_4_run_1", "concurrency_4_run_2", "concurrency_8"]


def test_a_result_that_is_there_twice_is_refused_with_both_files(tmp_path):
    folder = write(tmp_path / "in", a=at(4), b=at(4))
    with pytest.raises(ConfigError, match=r"b\.json: every figure is that of .*a\.json; .* one is a copy: remove it"):
        vllm_bench.read(folder)


def test_lengths_that_differ_are_those_of_the_load_point(project, tmp_path):
    longer = [replace(request, prompt=2 * request.prompt, ttft_s=0.07) for request in sent()]
    folder = write(tmp_path / "in", a=at(4), b=vllm_result(longer, rate="inf", max_concurrency=4))
    out = project / "ground_truth" / "mine"
    experiment = import_experiment("vllm-bench", folder, out).experiment
    mean = round(sum(request.prompt for request in sent()) / 20)
    names = [point.id for point in experiment.load_points]
    assert [name.split("_")[2] for name in names] == [f"{mean}in", f"{2 * mean}in"]
    prompts = [experiment.completed_workload(name).requests[0].prompt_tokens for name in names]
    assert prompts == [mean, 2 * mean]
    assert load_experiment(out) == experiment


def test_a_file_of_something_else_in_the_folder_is_left_out_and_said(tmp_path):
    folder = write(tmp_path / "in", a=at(1), b=at(4), config={"hello": 1})
    found = vllm_bench.read(folder)
    assert points(found) == ["concurrency_1", "concurrency_4"]
    assert "No results of vllm-bench, so left out: config.json." in found.conversions


def test_a_damaged_result_in_the_folder_is_refused(tmp_path):
    folder = write(tmp_path / "in", a=at(1), b=at(4))
    (folder / "c.json").write_text(json.dumps(at(8))[:200], encoding="utf-8")
    with pytest.raises(ConfigError, match=r"c\.json: not valid JSON"):
        vllm_bench.read(folder)


def test_results_that_runs_appended_to_one_file_are_load_points(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(at(concurrency)) + "\n" for concurrency in (4, 1)), encoding="utf-8")
    found = vllm_bench.read(path)
    assert points(found) == ["concurrency_1", "concurrency_4"]
    assert kind_of(path) == "vllm-bench"


def test_flags_of_one_result_name_its_load_point_and_those_of_all_name_none(tmp_path):
    failing = at(4)
    failing |= {"failed": 5, "num_prompts": 25}
    found = vllm_bench.read(write(tmp_path / "in", a=at(1), b=failing))
    flags = {flag.flag: flag.load_points for flag in found.experiment.quality}
    assert flags["client_time_included"] == ()
