"""A table of measured runs: units from column names, draws checked against means, bad rows refused."""

from __future__ import annotations

import csv

import pytest
import yaml

from roofline_lab.cli.main import main
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers import table as table_module
from roofline_lab.importers.common import DEFAULT_SETTINGS
from roofline_lab.importers.table_rows import COLUMNS
from simulator.errors import ConfigError
from tests.paths import ROOT
from tests.roofline_lab.importers.samples import AsWritten

ROW = {
    "experiment_id": "20260301-mine",
    "stage": "0",
    "is_summary": "0",
    "metrics_side": "client",
    "client_tool": "inference-perf",
    "model_hf_id": "meta-llama/Llama-2-7b-hf",
    "tp": "1",
    "hardware": "H100-80GB-SXM",
    "workload_kind": "shared_prefix/codegen-lite",
    "wl_question_len_tok": "466",
    "wl_system_prompt_len_tok": "100",
    "wl_output_len_tok": "247",
    "arrival_process": "exponential gaps rescaled to the stage",
    "requested_rate_rps": "5",
    "num_requests": "3000",
    "num_success": "3000",
    "num_failed": "0",
    "overloaded": "0",
    "ttft_mean_ms": "25.0",
    "e2e_mean_ms": "1810.0",
    "tpot_mean_ms": "7.256",
}


def read(*arguments, **options):
    return {name: AsWritten(found) for name, found in table_module.read(*arguments, **options).found.items()}


def table(tmp_path, *rows, columns=COLUMNS):
    path = tmp_path / "measured.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_row_becomes_a_load_point(tmp_path):
    found = read(table(tmp_path, ROW))["20260301-mine"]
    (point,) = found.load_points
    assert point["arrivals"] == {"kind": "poisson", "rate_per_s": 5.0, "rescaled": True}
    assert point["measured"]["ttft_mean"] == {"value": 25.0, "unit": "ms", "definition": "first_token"}
    assert found.workload["prefix"] == {"kind": "prompt_pool", "prompts": 100}
    assert found.workload["prompt"] == {"kind": "constant", "tokens": 566}
    assert (found.workload_name, found.date.isoformat()) == ("codegen", "2026-03-01")


def test_later_stages_meet_a_warm_cache_and_summaries_are_left_out(tmp_path):
    summary = {**ROW, "stage": "-1", "is_summary": "1"}
    found = read(table(tmp_path, ROW, {**ROW, "stage": "1"}, summary))["20260301-mine"]
    assert [point["id"] for point in found.load_points] == ["stage_0", "stage_1"]
    assert [point.get("prompts_seen_before", False) for point in found.load_points] == [False, True]


def test_runs_of_one_publisher_tool_and_gpu_come_from_one_site(tmp_path):
    owned = ROW | {"source_repo": "somebody/runs", "source_commit": "abc", "source_path": "a.json"}
    assert read(table(tmp_path, owned))["20260301-mine"].site == "somebody/inference-perf/H100-80GB-SXM"
    assert read(table(tmp_path, ROW))["20260301-mine"].site is None


def test_an_overloaded_row_is_saturated_and_flagged(tmp_path):
    found = read(table(tmp_path, {**ROW, "overloaded": "1"}))["20260301-mine"]
    assert found.load_points[0]["saturation"]["state"] == "saturated"
    assert Flag.OVERLOADED in {flag.flag for flag in found.quality}


SECOND = {**ROW, "stage": "1", "requested_rate_rps": "10", "num_requests": "6000", "num_success": "6000"}
SLOWER = {"ttft_mean_ms": "29.5", "tpot_mean_ms": "8.888", "e2e_mean_ms": "2215.9"}


@pytest.mark.parametrize(("e2e_ms", "contradicts"), [("2080.7", False), ("1900.0", True)])
def test_a_summary_that_is_not_the_mean_of_its_stages_is_flagged(tmp_path, e2e_ms, contradicts):
    whole = {"stage": "-1", "is_summary": "1", "ttft_mean_ms": "28.0", "tpot_mean_ms": "8.344", "e2e_mean_ms": e2e_ms}
    found = read(table(tmp_path, ROW, SECOND | SLOWER, ROW | whole))["20260301-mine"]
    assert (Flag.FIGURES_CONTRADICT in {flag.flag for flag in found.quality}) == contradicts


def test_an_end_to_end_time_in_seconds_is_converted_and_flagged(tmp_path):
    found = read(table(tmp_path, ROW | {"e2e_mean_ms": "1.81", "e2e_p90_ms": "1.94", "output_len_mean_tok": "247"}))
    measured = found["20260301-mine"].load_points[0]["measured"]
    assert (measured["e2e_mean"]["value"], measured["e2e_p90"]["value"]) == (1810.0, 1940.0)
    assert Flag.SECONDS_CONVERTED in {flag.flag for flag in found["20260301-mine"].quality}


def test_a_time_per_token_that_contains_the_first_is_replaced_and_flagged(tmp_path):
    row = ROW | {
        "ttft_mean_ms": "400",
        "tpot_mean_ms": str(1810 / 247),
        "tpot_p90_ms": "8",
        "output_len_mean_tok": "247",
    }
    found = read(table(tmp_path, row))["20260301-mine"]
    measured = found.load_points[0]["measured"]
    assert measured["tpot_mean"]["value"] == pytest.approx(1410 / 246)
    assert "tpot_p90" not in measured
    assert Flag.TPOT_INCLUDES_TTFT in {flag.flag for flag in found.quality}


def test_a_stage_given_twice_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"stage: 0 of '20260301-mine' is given twice"):
        read(table(tmp_path, ROW, ROW))


def test_assumed_fields_are_not_known_settings(tmp_path):
    row = {**ROW, "max_num_seqs": "128", "block_size_tok": "16", "assumed_fields": "block_size_tok;hardware"}
    found = read(table(tmp_path, row))["20260301-mine"]
    assert (found.known, found.assumed) == ({"max_running": 128}, {**DEFAULT_SETTINGS, "block_tokens": 16})
    assert Flag.SETTING_ASSUMED in {flag.flag for flag in found.quality}


def test_the_recorded_sweep_loses_exactly_the_requests_with_the_shortest_prompt(shared_dir):
    path = shared_dir / "ground_truth" / "measured_runs.csv"
    found = read(path, "jan21-llama7b-train-1", 2026)["jan21-llama7b-train-1"]
    lost = [list(point["requests"]["lost_positions"]) for point in found.load_points]
    assert lost == [
        [5, 21],
        [5, 12, 17],
        [24],
        [21],
        [2, 6],
        [],
        [],
        [22],
        [4, 23],
        [20],
        [23],
        [0, 2, 7, 20],
    ]
    assert {point["requests"]["sent"] for point in found.load_points} == {25}
    assert (found.side, found.workload["prompt"]["adjustment_tokens"]) == ("server", 0)


def test_a_wrong_seed_leaves_the_distribution_the_table_states(tmp_path, shared_dir):
    with (shared_dir / "ground_truth" / "measured_runs.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["experiment_id"] == "jan21-llama7b-train-1"]
    rows[3]["prompt_len_mean_tok"] = "2143.9"
    found = read(table(tmp_path, *rows), year=2026)["jan21-llama7b-train-1"]
    assert found.workload["prompt"]["kind"] == "gaussian"
    assert (found.workload["prompt"]["mean_tokens"], found.workload["output"]["mean_tokens"]) == (1700, 800)
    assert Flag.LENGTHS_UNKNOWN in {flag.flag for flag in found.quality}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ttft_mean_ms": "fast"}, "line 2: column 'ttft_mean_ms': must be a number, got 'fast'"),
        ({"ttft_mean_ms": "-1"}, "column 'ttft_mean_ms': must be a finite number, 0 or greater"),
        ({"e2e_mean_ms": "nan"}, "column 'e2e_mean_ms': must be a finite number"),
        ({"tp": "1.5"}, "column 'tp': must be a whole number"),
        ({"metrics_side": "both"}, "column 'metrics_side': must be client or server"),
        ({"experiment_id": ""}, "column 'experiment_id': must not be empty"),
        ({"arrival_process": "waves"}, "arrival_process 'waves'"),
        ({"is_summary": "1"}, "no row that is a stage of a run"),
    ],
)
def test_a_bad_row_is_refused_with_line_and_column(tmp_path, change, expected):
    with pytest.raises(ConfigError) as caught:
        read(table(tmp_path, {**ROW, **change}))
    assert expected in str(caught.value)


@pytest.mark.parametrize("name", ["no-day", "20261399-x", "jan21-x"])
def test_a_day_that_nothing_states_is_unknown(tmp_path, name):
    found = table_module.read(table(tmp_path, {**ROW, "experiment_id": name})).found[name].experiment
    assert found.date is None
    assert found.date_basis == "Neither the experiment's name nor a year that was given says it."


def test_a_table_of_something_else_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"measured\.csv:1: no column experiment_id .* is this a table of runs"):
        read(table(tmp_path, {"a": "1"}, columns=("a", "b")))
    path = table(tmp_path, ROW)
    path.write_text(path.read_text(encoding="utf-8") + "a,b\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="another number of cells"):
        read(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "none.csv")


def test_an_unknown_experiment_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"no '20260301-mime'; did you mean '20260301-mine'\?"):
        read(table(tmp_path, ROW), "20260301-mime")


# --- what was sent ------------------------------------------------------------------------------

# A closed loop of which the table says neither how long prompts nor how long answers are.
BARE = {name: text for name, text in ROW.items() if not name.startswith("wl_")}
BARE |= {"arrival_process": "closed loop, 8 in flight", "requested_rate_rps": "", "workload_kind": "random"}
STATED = {"wl_prompt_mean_tok": "1000", "wl_out_mean_tok": "200"}
SPREAD = {**STATED, "wl_prompt_sd_tok": "100", "wl_prompt_min_tok": "700", "wl_prompt_max_tok": "1300"}


def workload_of(tmp_path, **cells):
    return read(table(tmp_path, {**BARE, "tpot_mean_ms": "", "e2e_mean_ms": "", **cells}))["20260301-mine"].workload


def test_stated_means_are_used_where_none_was_measured(tmp_path):
    workload = workload_of(tmp_path, **STATED)
    assert workload["prompt"] == {"kind": "constant", "tokens": 1000}
    assert workload["output"] == {"kind": "constant", "tokens": 200}


def test_a_stated_distribution_is_kept(tmp_path):
    limits = {"min_tokens": 700, "max_tokens": 1300}
    expected = {"kind": "gaussian", "mean_tokens": 1000.0, "stdev_tokens": 100.0, **limits}
    assert workload_of(tmp_path, **SPREAD)["prompt"] == expected


def test_a_distribution_without_limits_has_five_deviations_on_either_side(tmp_path):
    prompt = workload_of(tmp_path, **STATED, wl_prompt_sd_tok="100")["prompt"]
    assert (prompt["min_tokens"], prompt["max_tokens"]) == (500, 1500)


def test_limits_around_a_mean_are_a_range(tmp_path):
    cells = {"wl_out_mean_tok": "921.5", "wl_out_min_tok": "819", "wl_out_max_tok": "1024"}
    assert workload_of(tmp_path, **STATED | cells)["output"] == {
        "kind": "uniform",
        "min_tokens": 819,
        "max_tokens": 1024,
    }


@pytest.mark.parametrize(("measured", "kind"), [("1003", "gaussian"), ("640", "constant")])
def test_a_measured_mean_decides_whether_a_stated_distribution_was_sent(tmp_path, measured, kind):
    prompt = workload_of(tmp_path, **SPREAD, prompt_len_mean_tok=measured, output_len_mean_tok="200")["prompt"]
    assert prompt["kind"] == kind
    assert kind == "gaussian" or prompt["tokens"] == 640


def test_a_shared_prefix_is_sent_as_stated_and_is_no_part_of_the_prompts_behind_it(tmp_path):
    workload = workload_of(tmp_path, prompt_len_mean_tok="700", output_len_mean_tok="200", wl_prefix_tok="300")
    assert workload["prompt"] == {"kind": "constant", "tokens": 400}
    assert workload["prefix"] == {"kind": "shared", "tokens": 300, "counted": "on_top"}


def test_lengths_follow_from_throughputs_or_latencies_where_nothing_states_them(tmp_path):
    cells = {"requests_per_s": "2", "input_tok_per_s": "1000", "tpot_mean_ms": "10", "e2e_mean_ms": "1015"}
    workload = workload_of(tmp_path, **cells)
    assert (workload["prompt"]["tokens"], workload["output"]["tokens"]) == (500, 100)


@pytest.mark.parametrize("given", ["wl_out_mean_tok", "wl_prompt_mean_tok"])
def test_lengths_that_nothing_says_are_refused_and_never_one_token(tmp_path, given):
    with pytest.raises(ConfigError, match=r"empty, and nothing else says how long \w+ are; fill one"):
        workload_of(tmp_path, **{given: "100"})


def test_stages_of_different_stated_lengths_are_no_one_run(tmp_path):
    rows = [BARE | STATED, BARE | STATED | {"stage": "1", "wl_out_mean_tok": "400"}]
    with pytest.raises(
        ConfigError, match=r"column 'wl_out_mean_tok': stages of .* have 200\.0 and 400\.0; split the run"
    ):
        read(table(tmp_path, *rows))


def test_a_closed_loop_has_the_clients_its_column_names(tmp_path):
    cells = {"arrival_process": "", "load_mode": "closed-loop", "max_concurrency": "16"}
    found = read(table(tmp_path, BARE | STATED | cells | {"tpot_mean_ms": "", "e2e_mean_ms": ""}))["20260301-mine"]
    assert found.load_points[0]["arrivals"] == {"kind": "closed_loop", "concurrency": 16}


@pytest.mark.parametrize(
    ("text", "on"),
    [("on", True), ("True", True), ("1", True), ("enabled", True), ("off", False), ("False", False), ("0", False)],
)
def test_prefix_caching_is_what_the_cell_says(tmp_path, text, on):
    assert read(table(tmp_path, ROW | {"prefix_caching": text}))["20260301-mine"].known["prefix_caching"] is on


def test_prefix_caching_that_is_neither_on_nor_off_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="column 'prefix_caching': must be on or off, got 'perhaps'"):
        read(table(tmp_path, ROW | {"prefix_caching": "perhaps"}))


# --- two views of one stage ---------------------------------------------------------------------

SERVER = ROW | {
    "metrics_side": "server",
    "client_tool": "vLLM metrics",
    "ttft_mean_ms": "17.0",
    "e2e_mean_ms": "1798.0",
}


def test_a_stage_measured_on_both_sides_is_one_stage_with_two_views(tmp_path):
    found = read(table(tmp_path, ROW, SERVER, ROW | {"stage": "1"}))["20260301-mine"]
    points = {point["id"]: point for point in found.load_points}
    assert list(points) == ["stage_0", "stage_0_server", "stage_1"]
    assert (found.side, points["stage_0_server"]["side"]) == ("client", "server")
    assert points["stage_0_server"]["measured"]["ttft_mean"]["value"] == 17.0
    assert points["stage_0"]["requests"] == points["stage_0_server"]["requests"]
    assert [point.get("prompts_seen_before", False) for point in found.load_points] == [False, False, True]


def test_what_the_client_saw_more_than_the_server_is_the_time_between_both(tmp_path):
    found = read(table(tmp_path, ROW, SERVER))["20260301-mine"]
    assert found.known["client_offset_ms"] == 10.0
    assert any("the client saw 10 ms more" in flag.text for flag in found.quality)


def test_a_client_that_saw_less_than_the_server_says_nothing_about_the_time_between(tmp_path):
    found = read(table(tmp_path, ROW, SERVER | {"ttft_mean_ms": "26.0"}))["20260301-mine"]
    assert found.assumed["client_offset_ms"] == 0.0
    assert Flag.FIGURES_CONTRADICT in {flag.flag for flag in found.quality}


def test_a_stage_that_one_side_measured_twice_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"stage: 0 of '20260301-mine' is given twice at the server"):
        read(table(tmp_path, ROW, SERVER, SERVER))


# --- runs on other GPUs -------------------------------------------------------------------------


def test_a_run_on_a_gpu_by_its_usual_name_is_imported(tmp_path, shared_dir):
    source = shared_dir / "ground_truth" / "measured_runs_other_gpus.csv"
    out = tmp_path / "others"
    command = ["import", "--from-csv", str(source), "--year", "2026", "--root", str(ROOT), "--out", str(out)]
    assert main(command) == 0
    gpus = {path.parent.name: yaml.safe_load(path.read_text())["hardware"] for path in out.glob("*/experiment.yaml")}
    assert sorted(gpus.values()) == ["a100-sxm", "l40s"]
    texts = {gpu: (out / name / "experiment.yaml").read_text() for name, gpu in gpus.items()}
    assert "the form of A100-80GB, as a100-sxm" in " ".join(texts["a100-sxm"].split())
    assert "the form of" not in texts["l40s"]


def test_settings_in_columns_of_any_name_are_known_and_none_is_turned_into_its_opposite(tmp_path):
    facts = {
        "enable_prefix_caching": "False",
        "kv_cache_dtype": "fp8",
        "num_gpu_blocks": "27000",
        "block_size": "32",
        "date": "2025-11-05",
    }
    path = table(tmp_path, ROW | facts, columns=(*COLUMNS, *facts))
    found = table_module.read(path).found["20260301-mine"].experiment
    known = found.server.known
    assert (known.prefix_caching, known.kv_cache_dtype, known.kv_blocks, known.block_tokens) == (
        False,
        "fp8",
        27000,
        32,
    )
    assert str(found.date) == "2025-11-05"


def test_a_setting_that_stages_state_differently_is_refused(tmp_path):
    columns = (*COLUMNS, "enable_prefix_caching")
    rows = [ROW | {"enable_prefix_caching": "on"}, ROW | {"stage": "1", "enable_prefix_caching": "off"}]
    with pytest.raises(ConfigError, match=r"prefix_caching.*contradict each other"):
        read(table(tmp_path, *rows, columns=columns))


@pytest.mark.parametrize(("column", "value"), [("e2e_mean_s", 1.81), ("E2E mean (s)", 1.81), ("e2e_avg_us", 1.81e6)])
def test_a_latency_is_converted_by_the_unit_its_column_ends_in(tmp_path, column, value):
    columns = (*(name for name in COLUMNS if name != "e2e_mean_ms"), column)
    found = read(table(tmp_path, ROW | {column: str(value)}, columns=columns))["20260301-mine"]
    assert found.load_points[0]["measured"]["e2e_mean"]["value"] == pytest.approx(1810.0)


def test_failed_requests_are_taken_from_those_sent_where_only_both_are_counted(tmp_path):
    found = read(table(tmp_path, ROW | {"num_success": "", "num_failed": "600"}))["20260301-mine"]
    counts = found.load_points[0]["requests"]
    assert (counts["sent"], counts["completed"], counts["failed"]) == (3000, 2400, 600)
