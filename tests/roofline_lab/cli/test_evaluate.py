"""What the command makes of a stranger's folder: every load point scored or given a reason, nothing lost."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from roofline_lab.config import RandomArrivals
from roofline_lab.scoring.comparison import NO_INTER_TOKEN, ONE_TOKEN, STAND_INS
from roofline_lab.scoring.numbers import NUMBER_COLUMNS
from simulator.metrics import MetricName
from tests.roofline_lab.builders import ROOT
from tests.roofline_lab.predict.strangers import SEEN, STRANGE_MODEL, Stranger, latency, point, poisson, rate, section

PERCENTILES = {f"{stem}_{rank}": latency(stem, 40.0) for stem in ("ttft",) for rank in ("p50", "p90", "p95", "p99")}


def test_every_mean_and_percentile_that_was_measured_is_predicted(stranger):
    measured = point()["measured"] | PERCENTILES | {"e2e_p99": latency("e2e", 230.0), "tpot_p90": latency("tpot", 10.5)}
    stranger.add(load_points=[point(measured=measured)])
    assert stranger.evaluate() == 0
    names = {row["metric"] for row in stranger.rows(status="ok")}
    assert names == {*measured, "inter_token_mean"}
    assert all(float(row["predicted"]) > 0 for row in stranger.rows())
    text = section(stranger.page, "Percentiles")
    for words in ("TTFT p50", "TTFT p90", "TTFT p95", "TTFT p99", "TPOT p90", "E2E p99"):
        assert f"| {words}" in text


def test_a_figure_no_definition_predicts_is_a_row_with_the_reason(stranger):
    pooled = {"value": 12.0, "unit": "ms", "definition": "pooled_gaps"}
    stranger.add(load_points=[point(measured=point()["measured"] | {"itl_p98": pooled})])
    assert stranger.evaluate() == 0
    row = stranger.row("itl_p98")
    assert (row["status"], row["measured"], row["predicted"]) == ("not_comparable", "12.000000", "")
    assert "no prediction has this definition" in section(stranger.page, "Figures without an error")


def test_a_saturated_load_point_is_scored_on_throughput_and_never_on_latency(stranger):
    beyond = poisson("stage_1", per_s=500.0, requests=60, state="saturated")
    beyond["measured"] = beyond["measured"] | {"request_throughput": rate(30.0), "ttft_p99": latency("ttft", 900.0)}
    stranger.add(load_points=[poisson(), beyond])
    assert stranger.evaluate() == 0
    rows = stranger.rows(load_point="stage_1")
    assert {row["status"] for row in rows if row["unit"] == "ms"} == {"saturated"}
    assert {row["signed_error_pct"] for row in rows if row["unit"] == "ms"} == {""}
    assert float(stranger.row("request_throughput", load_point="stage_1")["signed_error_pct"])
    numbers = stranger.numbers(load_point="stage_1")
    assert {row["metric"] for row in numbers} == {"request_throughput", "saturated"}
    assert float(stranger.numbers(key="load_points", metric="e2e_mean", statistic="count")[0]["value"]) == 1
    text = section(stranger.page, "Saturation")
    assert "| run-1/stage_1" in text
    counts = [[cell.strip() for cell in line.split("|")[1:4]] for line in text.splitlines()]
    assert ["saturated", "never seen", "1"] in counts


def test_throughput_follows_from_count_and_duration_where_it_is_not_a_figure(stranger):
    stranger.add(load_points=[poisson(state="saturated", requests=40, duration_s=8.0)])
    stranger.evaluate()
    row = stranger.row("request_throughput")
    assert (float(row["measured"]), row["definition"], row["status"]) == (5.0, "completed / duration", "ok")


def test_saturation_nobody_stated_shows_in_the_figures(stranger):
    figures = point()["measured"]
    kept_up = poisson("kept_up", state="", measured=figures | {"request_throughput": rate(4.0)})
    slow_client = poisson("slow", state="", measured=figures | {"request_throughput": rate(2.0)})
    waited = {
        "ttft_mean": latency("ttft", 9_000.0),
        "e2e_mean": latency("e2e", 9_500.0),
        "request_throughput": rate(1.0),
    }
    stranger.add(load_points=[kept_up, slow_client, poisson("behind", state="", measured=figures | waited)])
    stranger.evaluate()
    assert stranger.row("ttft_mean", load_point="kept_up")["status"] == "ok"
    assert stranger.row("ttft_mean", load_point="slow")["status"] == "ok"
    assert stranger.row("ttft_mean", load_point="behind")["status"] == "saturated"


def test_without_e2e_the_measured_time_between_tokens_stands_in(stranger):
    measured = {"ttft_mean": latency("ttft", 30.0), "itl_mean": latency("itl", 8.0)}
    stranger.add(tool="vllm-bench", load_points=[point(measured=measured)])
    assert stranger.evaluate() == 0
    row = stranger.row("inter_token_mean")
    assert (row["definition"], row["measured"], row["status"]) == ("itl_mean, inter_token", "8.000000", "ok")
    assert "the measurement does not have it" in section(stranger.page, "Figures without an error")


def test_guidellms_tpot_contains_ttft_and_never_stands_in(stranger):
    contains = {"value": 11.0, "unit": "ms", "definition": "guidellm"}
    stranger.add(load_points=[point(measured={"ttft_mean": latency("ttft", 30.0), "tpot_mean": contains})])
    stranger.evaluate()
    row = stranger.row("inter_token_mean")
    assert (row["status"], row["reason"]) == ("not_measured", NO_INTER_TOKEN)
    assert stranger.row("tpot_mean")["status"] == "ok"


def test_answers_of_one_token_have_no_time_between_tokens(stranger):
    one = {
        "name": "prefill",
        "prompt": {"kind": "constant", "tokens": 500},
        "output": {"kind": "constant", "tokens": 1},
    }
    stranger.add(workload=one, load_points=[point(measured={"ttft_mean": latency("ttft", 30.0)})])
    assert stranger.evaluate() == 0
    row = stranger.row("inter_token_mean")
    assert (row["status"], row["reason"]) == ("not_measured", ONE_TOKEN)
    assert stranger.row("ttft_mean")["status"] == "ok"


def test_hardware_not_calibrated_on_is_predicted_from_its_data_sheet_and_flagged(stranger):
    sheet = yaml.safe_load((ROOT / "configs" / "hardware" / "h100-sxm.yaml").read_text(encoding="utf-8"))
    sheet |= {"id": "x900", "name": "X900"}
    sheet["memory_bandwidth_tbs"]["value"] *= 2
    (stranger.folder / "hardware").mkdir()
    (stranger.folder / "hardware" / "x900.yaml").write_text(yaml.safe_dump(sheet), encoding="utf-8")
    stranger.add("known")
    stranger.add("unknown", hardware="x900")
    assert stranger.evaluate() == 0
    known, unknown = (stranger.row("inter_token_mean", experiment=name) for name in ("known", "unknown"))
    assert float(unknown["predicted"]) < float(known["predicted"])
    assert "hardware_not_calibrated" in unknown["flags"]
    assert "hardware_not_calibrated" not in known["flags"]
    assert "x900 was not calibrated on (h100-sxm was): same efficiencies on its data sheet" in stranger.page
    assert [row["key"] for row in stranger.numbers(scope="hardware", metric="e2e_mean", statistic="count")] == [
        "h100-sxm",
        "x900",
    ]


def test_tp_and_sites_outside_the_calibration_are_flagged(stranger):
    stranger.model("wide", STRANGE_MODEL | {"num_key_value_heads": 8})
    stranger.add(model="wide", tensor_parallel=8, tool="other")
    stranger.evaluate()
    assert {"tp_not_calibrated", "site_not_calibrated"} <= set(stranger.row("e2e_mean")["flags"].split(";"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "gpt-9"}, "unknown model 'gpt-9'; put its Hugging Face config.json into models/gpt-9.json"),
        ({"hardware": "tpu"}, "unknown hardware 'tpu'; put its data sheet into hardware/tpu.yaml"),
        ({"load_points": []}, "load_points: empty"),
        ({"tensor_parallel": "two"}, "broken/experiment.yaml: tensor_parallel"),
        ({"id": "good"}, "id: 'good' is that of"),
    ],
)
def test_one_bad_experiment_is_a_row_with_its_reason_and_never_costs_the_others(stranger, changes, reason):
    stranger.add("broken", **changes)
    if changes.get("id") != "good":
        stranger.add("good")
    else:
        stranger.add("also", id="good")
    assert stranger.evaluate() == 1
    (refused,) = stranger.rows(status="refused")
    assert reason in refused["reason"]
    assert reason in section(stranger.page, "What could not be evaluated")
    assert stranger.row("e2e_mean", experiment="good")["status"] == "ok"


def test_whatever_is_no_experiment_is_a_row_too(stranger):
    stranger.add("good")
    for name, content in {"torn": b"id: [torn", "bytes": b"\xff\xfe\x00", "list": b"- a", "empty": b""}.items():
        stranger.add(name).write_bytes(content)
    (stranger.folder / "folder" / "experiment.yaml").mkdir(parents=True)
    assert stranger.evaluate() == 1
    refused = {row["experiment"]: row["reason"] for row in stranger.rows(status="refused")}
    assert set(refused) == {"torn", "bytes", "list", "empty", "folder"}
    assert all(refused.values())
    assert stranger.row("e2e_mean", experiment="good")["status"] == "ok"


def test_a_model_a_server_could_not_shard_is_a_row_with_its_reason(stranger):
    stranger.add("good")
    stranger.add("odd", tensor_parallel=3, load_points=[point(), poisson()])
    assert stranger.evaluate() == 1
    rows = stranger.rows(experiment="odd")
    assert {row["status"] for row in rows} == {"unsupported"}
    assert all("not divisible by tensor_parallel 3" in row["reason"] for row in rows)
    assert section(stranger.page, "What could not be evaluated").count("| odd ") == 1


def test_more_gpus_than_links_join_are_refused_and_a_share_that_splits_blocks_of_weights_is_told(stranger):
    stranger.add("joined", model="minimax-m2.5", tensor_parallel=16)
    stranger.add("cut", model="minimax-m2.5", tensor_parallel=8)
    assert stranger.evaluate() == 1
    (refused,) = stranger.rows(status="refused")
    assert "TP 16 is 16 GPUs, but the links of h100-sxm join 8" in refused["reason"]
    assert "a width of 1536 over 8 GPUs is 192, no whole number of blocks of 128" in stranger.page


@pytest.mark.parametrize("form", ["file", "folder", "named"])
def test_a_strangers_model_needs_no_edit_of_the_project(stranger, tmp_path, form):
    shutil.rmtree(stranger.folder / "models")
    more = []
    if form == "folder":
        folder = stranger.folder / "models" / "strange-1b"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(STRANGE_MODEL), encoding="utf-8")
        (folder / "generation_config.json").write_text(json.dumps({"top_k": 20, "eos_token_id": 2}), encoding="utf-8")
    elif form == "file":
        stranger.model("strange-1b", STRANGE_MODEL)
    else:
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "strange-1b.json").write_text(json.dumps(STRANGE_MODEL), encoding="utf-8")
        more = ["--models", tmp_path / "theirs"]
    stranger.add()
    assert stranger.evaluate(*more) == 0
    row = stranger.row("e2e_mean")
    assert row["status"] == "ok"
    assert ("model_note" in row["flags"]) is (form != "folder"), "only that form states how tokens are sampled"


def test_one_experiment_is_evaluated_by_its_folder_or_its_file(stranger):
    path = stranger.add()
    pages = []
    for one in (path, path.parent):
        assert stranger.evaluate("--force", path=one) == 0
        pages.append(stranger.page)
    assert pages[0].replace("experiment.yaml", "run-1") == pages[1]


def test_experiments_are_found_at_any_depth_and_folders_without_one_are_named(stranger):
    stranger.add("deep/er/run-1", id="run-1")
    (stranger.folder / "raw results").mkdir()
    (stranger.folder / "raw results" / "benchmarks.json").write_text("{}", encoding="utf-8")
    assert stranger.evaluate() == 0
    assert "Folders without an `experiment.yaml`, not looked at: raw results." in stranger.page


def test_requests_that_failed_or_were_cut_off_are_counted_on_the_page(stranger):
    counts = {
        "sent": 40,
        "completed": 36,
        "failed": 1,
        "cancelled": 1,
        "without_output": 1,
        "lost_positions": "unknown",
        "basis": "made up",
    }
    stranger.add("lossy", load_points=[{**poisson(), "requests": counts}])
    stranger.add("whole", load_points=[poisson()])
    stranger.evaluate()
    lines = [line.split() for line in section(stranger.page, "Requests in no figure").splitlines() if "stage" in line]
    assert [" ".join(line) for line in lines] == ["| lossy, stage_0 | 40 | 36 | 1 | 1 | 1 | 1 |"]


def test_quality_flags_of_the_measurement_are_on_the_page_and_in_the_rows(stranger):
    flag = {"flag": "cold_start_included", "treatment": "noted", "text": "The first request took a second."}
    stranger.add(quality=[flag])
    stranger.evaluate()
    assert "`cold_start_included` (noted): The first request took a second. - run-1" in stranger.page
    assert stranger.row("ttft_mean")["quality"] == "cold_start_included"


def test_recorded_requests_give_distances_of_distributions(stranger):
    path = stranger.add(requests_file="requests.csv", load_points=[point(requests=6)])
    lines = ["load_point,id,arrival_us,prompt_tokens,output_tokens,prefix_group,prefix_tokens,completed,ttft_ms,e2e_ms"]
    lines += [f"synchronous,{n},{n * 500000},500,20,,0,true,{29 + n / 10},{219 + n}" for n in range(6)]
    path.with_name("requests.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert stranger.evaluate() == 0
    text = section(stranger.page, "Distance of distributions over single requests")
    assert text.count("| run-1/synchronous") == 3
    assert {row["metric"] for row in stranger.numbers(statistic="kolmogorov_smirnov")} == {"ttft", "tpot", "e2e"}


def test_random_arrivals_are_averaged_over_several_sequences(stranger, monkeypatch):
    stranger.add(load_points=[poisson(per_s=30.0, requests=30)])
    predicted = []
    for draws in (1, 5):
        monkeypatch.setattr(RandomArrivals, "draws", lambda *_, draws=draws: draws)
        stranger.evaluate("--force")
        predicted.append(stranger.row("e2e_mean")["predicted"])
    assert predicted[0] != predicted[1]


def test_the_residual_analysis_is_on_the_page(stranger):
    stranger.add("a", **SEEN)
    stranger.add("b", load_points=[poisson(per_s=per_s, identifier=f"r{per_s:g}") for per_s in (2.0, 5.0, 9.0)])
    stranger.evaluate()
    text = section(stranger.page, "Residual analysis")
    assert "Spearman's rank correlation" in text
    assert "Of predictions: never seen and held out." in text
    assert (stranger.out / "figures" / "residuals.svg").is_file()


def test_the_same_folder_gives_the_same_bytes_anywhere_and_with_any_number_of_processes(stranger, tmp_path):
    stranger.add("a", **SEEN)
    stranger.add("b", load_points=[poisson(), point()])
    stranger.add("c", model="gpt-9")
    other = Stranger(tmp_path / "elsewhere")
    shutil.rmtree(other.folder)
    shutil.copytree(stranger.folder, other.folder)
    stranger.evaluate("--against", "h2b_scaled_overhead:scaled")
    other.evaluate("--against", "h2b_scaled_overhead:scaled", "--jobs", "2")
    names = sorted(path.relative_to(stranger.out) for path in stranger.out.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(other.out) for path in other.out.rglob("*") if path.is_file())
    for name in names:
        text = (stranger.out / name).read_text(encoding="utf-8")
        assert text == (other.out / name).read_text(encoding="utf-8")
        assert str(tmp_path) not in text


def test_numbers_have_the_columns_of_every_report_and_unique_keys(stranger):
    stranger.add("a", **SEEN)
    stranger.add("b", load_points=[poisson(), point()])
    stranger.evaluate()
    rows = stranger.numbers()
    assert tuple(rows[0]) == NUMBER_COLUMNS
    keys = [tuple(value for name, value in row.items() if name != "value") for row in rows]
    assert len(set(keys)) == len(keys)


def test_provenance_names_every_input_by_its_content(stranger):
    path = stranger.add()
    stranger.evaluate()
    first = json.loads((stranger.out / "provenance.json").read_text(encoding="utf-8"))
    assert set(first) >= {"experiments", "models", "hardware", "predictors", "hashes", "seeds"}
    path.write_text(path.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")
    stranger.evaluate("--force")
    second = json.loads((stranger.out / "provenance.json").read_text(encoding="utf-8"))
    assert first["experiments"] != second["experiments"]
    assert {**first, "experiments": 0} == {**second, "experiments": 0}


def test_predicted_definitions_exist():
    assert {name for _, name in STAND_INS} <= {metric.value for metric in MetricName}
