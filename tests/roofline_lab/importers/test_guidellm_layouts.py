"""Reports of GuideLLM 0.1 to 0.4, and its YAML and CSV, give the figures that a report of version 1 gives."""

from __future__ import annotations

import csv
import json

import pytest
import yaml

from roofline_lab.cli.main import main
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers import guidellm, import_experiment
from roofline_lab.importers.overrides import Overrides
from simulator.errors import ConfigError
from simulator.metrics import mean, percentile
from tests.roofline_lab.importers.samples import (
    START_S,
    AsWritten,
    guidellm_benchmark,
    guidellm_report,
    sent,
    write_guidellm,
)

CONSTANT = {"type_": "constant", "rate": 1.0}
MODEL = "meta-llama/Llama-2-7b-hf"


def read(path):
    return AsWritten(guidellm.read(path))


def values(point):
    return {name: figure["value"] for name, figure in point["measured"].items()}


def version_1(folder, strategy=CONSTANT):
    return read(write_guidellm(folder, guidellm_report([guidellm_benchmark(sent(), strategy)])))


# --- old layouts ------------------------------------------------------------------------------


def old_summary(values):
    """As GuideLLM 0.2 and 0.3 write it: the median beside the percentiles."""
    ranks = {f"p{rank:02d}": percentile(values, rank) for rank in (90, 95, 99)}
    found = {"mean": mean(values), "median": percentile(values, 50), "max": max(values), "count": len(values)}
    return {"successful": found | {"percentiles": ranks}, "errored": {"count": 2}, "incomplete": {"count": 1}}


def of_0_3(requests, strategy=CONSTANT, *, place="args"):
    benchmark = guidellm_benchmark(requests, strategy)
    tokens = [request.output for request in requests]
    metrics = {
        "request_latency": old_summary([request.e2e_s for request in requests]),
        "time_to_first_token_ms": old_summary([request.ttft_s * 1000 for request in requests]),
        "time_per_output_token_ms": benchmark["metrics"]["time_per_output_token_ms"],
        "inter_token_latency_ms": old_summary([request.gap_s * 1000 for request in requests]),
        "prompt_token_count": old_summary([request.prompt for request in requests]),
        "output_token_count": old_summary(tokens),
    }
    answered = [
        {
            "request_id": f"request-{place}",
            "prompt_tokens": one.prompt,
            "output_tokens": one.output,
            "start_time": START_S + one.start_s,
            "first_token_time": START_S + one.start_s + one.ttft_s,
            "end_time": START_S + one.start_s + one.e2e_s,
        }
        for place, one in enumerate(requests)
    ]
    made = {"successful": len(requests), "errored": 2, "incomplete": 1, "total": len(requests) + 3}
    return {
        "type_": "generative_benchmark",
        place: {"strategy": strategy, **({"strategy_index": 3} if place == "args" else {})},
        **({} if place == "args" else {"run_index": 3}),
        "run_stats": {"requests_made": made, "start_time": benchmark["start_time"], "end_time": benchmark["end_time"]},
        "worker": {"backend_model": MODEL},
        "request_loader": {"data": '{"prompt_tokens": 500, "output_tokens": 30}'},
        "metrics": metrics,
        "requests": {"successful": answered, "errored": [], "incomplete": []},
    }


def of_0_1(requests):
    results = [
        {
            "request": {"id": f"request-{place}"},
            "prompt_token_count": one.prompt,
            "output_token_count": one.output,
            "start_time": START_S + one.start_s,
            "end_time": START_S + one.start_s + one.e2e_s,
            "first_token_time": one.ttft_s,
            "decode_times": {"data": [one.gap_s] * (one.output - 1)},
        }
        for place, one in enumerate(requests)
    ]
    return {"benchmarks": [{"mode": "constant", "rate": 1.0, "results": results, "errors": [{}, {}]}], "args": []}


def old(folder, *benchmarks):
    folder.mkdir(parents=True)
    path = folder / "benchmarks.json"
    path.write_text(json.dumps({"benchmarks": list(benchmarks)}), encoding="utf-8")
    return path


LAYOUTS = {
    "0.1": of_0_1,
    "0.2 or 0.3": of_0_3,
    "0.4": lambda requests: of_0_3(requests, place="scheduler"),
}


@pytest.mark.parametrize("release", sorted(LAYOUTS))
def test_every_old_layout_gives_the_figures_of_version_1(tmp_path, release):
    requests = sent()
    found, expected = read(old(tmp_path / "old", LAYOUTS[release](requests))), version_1(tmp_path / "new")
    assert len(found.requests) == 20
    for place, one in enumerate(requests):
        assert found.requests[place].arrival_us == pytest.approx(one.start_s * 1e6, abs=1)
        assert found.requests[place].ttft_ms == pytest.approx(one.ttft_s * 1000, abs=0.001)
        assert found.requests[place].e2e_ms == pytest.approx(one.e2e_s * 1000, abs=0.001)
    shown, wanted = values(found.load_points[0]), values(expected.load_points[0])
    shared = {name for name in wanted if not name.startswith("itl")}  # 0.1 has single gaps, later ones means of them
    assert {name: shown[name] for name in shared} == pytest.approx({name: wanted[name] for name in shared}, rel=1e-5)
    assert shown["itl_mean"] == pytest.approx(10.0, abs=0.001)
    assert found.load_points[0]["arrivals"] == {"kind": "constant_rate", "rate_per_s": 1.0, "first": "zero"}


@pytest.mark.parametrize(("release", "lost"), [("0.1", (22, 2, None)), ("0.2 or 0.3", (23, 2, 1)), ("0.4", (23, 2, 1))])
def test_old_layouts_count_failed_and_unfinished_requests(tmp_path, release, lost):
    counts = read(old(tmp_path / "old", LAYOUTS[release](sent()))).load_points[0]["requests"]
    assert (counts["sent"], counts["failed"], counts.get("cancelled")) == lost
    assert counts["completed"] == 20


@pytest.mark.parametrize("release", sorted(LAYOUTS))
def test_inspect_names_the_release_that_the_layout_tells(tmp_path, capsys, release):
    path = old(tmp_path / "old", LAYOUTS[release](sent()))
    assert main(["inspect", str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"GuideLLM {release} (by its layout) report benchmarks.json")


@pytest.mark.parametrize("release", ["0.2 or 0.3", "0.4"])
def test_the_position_in_the_run_and_the_model_are_those_the_report_states(tmp_path, release):
    found = read(old(tmp_path / "old", LAYOUTS[release](sent())))
    assert found.load_points[0]["benchmark_index"] == 3
    assert found.model_name == MODEL


def test_a_report_of_version_1_states_its_model_too(tmp_path):
    report = guidellm_report([guidellm_benchmark(sent(), CONSTANT)])
    report["args"]["model"] = MODEL
    path = write_guidellm(tmp_path, report)
    (path / "exp-config.yaml").unlink()
    assert read(path).model_name == MODEL


@pytest.mark.parametrize(
    ("strategy", "kind"),
    [
        ({"type_": "synchronous"}, "closed_loop"),
        ({"type_": "concurrent", "streams": 2}, "closed_loop"),
        ({"type_": "throughput", "max_concurrency": None}, "burst"),
        ({"type_": "poisson", "rate": 1.0, "initial_burst": True, "random_seed": 42}, "poisson"),
    ],
)
def test_strategies_of_old_reports_are_those_of_today(tmp_path, strategy, kind):
    found = read(old(tmp_path / "old", of_0_3(sent(), strategy)))
    assert found.load_points[0]["arrivals"]["kind"] == kind


@pytest.mark.parametrize("key", ["metrics", "run_stats"])
def test_an_old_report_that_lacks_something_names_it(tmp_path, key):
    benchmark = of_0_3(sent())
    del benchmark[key]
    missing = {"metrics": "metrics.request_latency: missing", "run_stats": "start_time: missing"}[key]
    with pytest.raises(ConfigError, match=missing):
        read(old(tmp_path / "old", benchmark))


def test_an_old_run_without_an_answer_is_refused(tmp_path):
    content = of_0_1(sent())
    content["benchmarks"][0]["results"] = []
    with pytest.raises(ConfigError, match=r"benchmarks\.0"):
        read(old(tmp_path / "old", content))


# --- YAML ---------------------------------------------------------------------------------------


def test_a_report_in_yaml_is_the_same_report(tmp_path):
    report = guidellm_report([guidellm_benchmark(sent(), CONSTANT)])
    folder = write_guidellm(tmp_path / "a")
    (folder / "benchmarks.json").unlink()
    (folder / "benchmarks.yaml").write_text("# a comment\n" + yaml.safe_dump(report), encoding="utf-8")
    found, expected = read(folder), version_1(tmp_path / "b")
    assert (found.load_points, found.requests) == (expected.load_points, expected.requests)


def test_content_decides_what_is_yaml(tmp_path):
    report = guidellm_report([guidellm_benchmark(sent(), CONSTANT)])
    (tmp_path / "x.json").write_text(yaml.safe_dump(report), encoding="utf-8")
    (tmp_path / "x.yaml").write_text(json.dumps(report), encoding="utf-8")
    assert read(tmp_path / "x.json").load_points == read(tmp_path / "x.yaml").load_points


def test_yaml_that_cannot_be_read_says_which_file_to_give(tmp_path):
    (tmp_path / "benchmarks.yaml").write_text("benchmarks: [1, 2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"not valid YAML.*benchmarks\.json\): give that"):
        read(tmp_path / "benchmarks.yaml")


def test_yaml_that_lacks_figures_names_them_and_not_its_syntax(shared_dir):
    with pytest.raises(ConfigError, match="metrics: missing; it is required"):
        read(shared_dir / "cases" / "15-yaml-and-csv-reports" / "benchmarks.yaml")


# --- CSV ----------------------------------------------------------------------------------------

RANKS = "[min, 0.1, 1, 5, 10, 25, 75, 90, 95, 99, max]"


def own_csv_row(requests, name="constant@1.00"):
    row = {
        "Type": "generative_benchmark",
        "Run Id": "r",
        "Id": "b",
        "Name": name,
        "Start Time": "2025-06-01 10:00:00",
        "End Time": "2025-06-01 10:00:21",
        "Duration": max(one.start_s + one.e2e_s for one in requests),
        "Successful Requests": len(requests),
        "Errored Requests": 1,
        "Incomplete Requests": 2,
    }
    columns = {
        "Time to first token ms": [one.ttft_s * 1000 for one in requests],
        "Inter token latency ms": [one.gap_s * 1000 for one in requests],
        "Request latency": [one.e2e_s for one in requests],
        "Prompt token count": [one.prompt for one in requests],
        "Output token count": [one.output for one in requests],
    }
    for words, numbers in columns.items():
        ranks = [min(numbers), *(percentile(numbers, rank) for rank in (0.1, 1, 5, 10, 25, 75, 90, 95, 99))]
        row |= {
            f"Successful {words} mean": mean(numbers),
            f"Successful {words} median": percentile(numbers, 50),
            f"Successful {words} std dev": 0.0,
            f"Successful {words} {RANKS}": str([*ranks, max(numbers)]),
        }
    return row


def write_csv(path, rows):
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_csv_of_old_releases_gives_the_means_and_percentiles_of_the_report(tmp_path):
    found = read(write_csv(tmp_path / "benchmarks.csv", [own_csv_row(sent())]))
    (point,) = found.load_points
    expected = values(version_1(tmp_path / "b").load_points[0])
    shown = values(point)
    for name in ("ttft_mean", "ttft_p50", "ttft_p90", "ttft_p99", "e2e_mean", "e2e_p90", "request_throughput"):
        assert shown[name] == pytest.approx(expected[name], rel=1e-6), name
    assert shown["tpot_mean"] == pytest.approx(10.0)
    counts = point["requests"]
    assert (counts["sent"], counts["completed"], counts["failed"], counts["cancelled"]) == (23, 20, 1, 2)
    assert str(found.date) == "2025-06-01"
    assert Flag.LENGTHS_UNKNOWN in {flag.flag for flag in found.quality}


def test_the_csv_of_later_releases_is_named_with_the_file_that_is_read(tmp_path):
    (tmp_path / "benchmarks.csv").write_text("Run Info,Run Info,Timings\nModel,Strategy,Start\n,,\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"GuideLLM 0\.4 or later.*benchmarks\.json\): give that"):
        read(tmp_path / "benchmarks.csv")


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("Name", "warp@9", "row 2: Name: 'warp@9' cannot be repeated; allowed: synchronous"),
        ("Duration", "", "row 2: Duration: missing"),
        ("Successful Requests", "0", "no successful request"),
        ("Successful Time to first token ms mean", "nan", "must be a number, 0 or greater"),
        (f"Successful Request latency {RANKS}", "[1, 2]", "must be a list of 11 numbers"),
        ("Successful Request latency mean", "900", "are seconds and milliseconds mixed"),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_its_column(tmp_path, column, value, expected):
    with pytest.raises(ConfigError, match=f"{expected}".replace("[", r"\[")):
        read(write_csv(tmp_path / "benchmarks.csv", [{**own_csv_row(sent()), column: value}]))


TABLE_ROW = {
    "source_file": "concurrent8",
    "profile": "concurrent",
    "rate": "-",
    "duration_s": "60.0",
    "total_requests": "300",
    "error_requests": "4",
    "ttft_mean_ms": "80.0",
    "ttft_median_ms": "75.0",
    "ttft_p99_ms": "-",
    "itl_mean_ms": "12.0",
    "req_latency_mean_s": "1.52",
    "concurrency_mean": "7.9",
    "prompt_tokens_mean": "250",
    "output_tokens_mean": "121",
}


def test_a_row_of_a_table_of_reports_is_a_load_point(tmp_path):
    (point,) = read(write_csv(tmp_path / "all.csv", [TABLE_ROW])).load_points
    assert point["arrivals"] == {"kind": "closed_loop", "concurrency": 8}
    assert (point["requests"]["sent"], point["requests"]["completed"], point["requests"]["failed"]) == (300, 296, 4)
    shown = values(point)
    assert (shown["ttft_mean"], shown["e2e_mean"], shown["itl_mean"]) == (80.0, 1520.0, 12.0)
    assert "ttft_p99" not in shown


def test_rows_whose_lengths_differ_have_their_own(project, tmp_path):
    rows = [TABLE_ROW, {**TABLE_ROW, "output_tokens_mean": "60", "req_latency_mean_s": "0.79"}]
    path, out = write_csv(tmp_path / "all.csv", rows), project / "ground_truth" / "mine"
    said = Overrides(model="llama-3.1-8b", family="Llama3.1-8B")
    experiment = import_experiment("guidellm", path, out, said).experiment
    points = [point.id for point in experiment.load_points]
    assert [experiment.mean_output_tokens(point) for point in points] == [121, 60]


def test_the_recorded_table_of_reports_has_its_two_load_points(shared_dir):
    """By hand: 259 in 60 s are 4.317 per second; 629 answers at 11.4/s, 35.6 ms apart, 98.9 ms to the first."""
    found = read(shared_dir / "formats" / "guidellm_yaml_csv" / "all-benchmarks.csv")
    closed, constant = found.load_points
    assert closed["arrivals"] == {"kind": "closed_loop", "concurrency": 16}
    assert values(closed) == pytest.approx(
        {
            "ttft_mean": 84.6,
            "ttft_p50": 75.0,
            "tpot_mean": 28.2,
            "itl_mean": 28.2,
            "itl_p50": 28.2,
            "e2e_mean": 3418.0,
            "e2e_p50": 3604.0,
            "request_throughput": 259 / 60,
            "output_token_throughput": 259 * 121 / 60,
        }
    )
    assert constant["arrivals"] == {"kind": "constant_rate", "rate_per_s": 11.4, "first": "zero"}
    assert constant["saturation"]["state"] == "not_saturated"
    assert (values(constant)["ttft_mean"], values(constant)["e2e_mean"]) == (98.9, 4209.0)
    assert (found.workload["output"]["tokens"], constant["output"]["tokens"]) == (121, 118)


def test_the_recorded_table_is_found_in_its_folder_and_imported(shared_dir, project):
    out = project / "ground_truth" / "mine"
    folder = shared_dir / "formats" / "guidellm_yaml_csv"
    written = import_experiment("guidellm", folder, out, Overrides(model="llama-3.1-8b", family="Llama3.1-8B"))
    assert [point.id for point in written.experiment.load_points] == ["00-concurrent-16", "01-constant-11.4"]
