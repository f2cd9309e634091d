"""The published tables and recorded inputs of H1, against the documents they quote."""

from __future__ import annotations

import csv
from collections import Counter

import pytest

from roofline_lab.ground_truth.reading import load_set
from roofline_lab.ground_truth.recorded_inputs import Recorded
from roofline_lab.scoring.published import load_published
from simulator.errors import ConfigError
from tests.paths import ROOT

METHOD = ROOT / "configs" / "methods" / "as_published"
PUBLISHED = load_published(ROOT / "hypotheses" / "h1_bw_efficiency" / "published")
RECORDED = Recorded.load(METHOD)
EXPERIMENTS = {experiment.id: experiment for experiment in load_set(ROOT, "synchronous_13")}
ARMS = {"bl": "baseline", "tr": "treatment"}
METRICS = ("ttft", "tpot", "e2e")


def cells(table):
    return {
        (cell.key, cell.metric.value, cell.arm, cell.statistic.value): (cell.value, cell.unit)
        for cell in PUBLISHED.cells
        if cell.table == table
    }


def rows(shared_dir, name):
    with (shared_dir / "published" / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_published_table_is_complete_and_its_cells_unique():
    counted = Counter(cell.table for cell in PUBLISHED.cells)
    assert counted == {"absolute": 13 * 9, "mape": 13 * 9, "by_workload": 4 * 6, "tp_scaling": 6}
    identities = [(cell.table, cell.arm, cell.scope, cell.key, cell.metric, cell.statistic) for cell in PUBLISHED.cells]
    assert len(set(identities)) == len(identities)
    assert {cell.decimals for cell in PUBLISHED.cells} == {1}


def test_cells_without_published_inputs_are_named_with_their_reason():
    groups = {(group.scope.value, group.key): group.reason for group in PUBLISHED.source.not_reproducible}
    assert set(groups) == {("experiment", "dec17-tp1-qwen7-summarization"), ("workload", "summarization")}
    assert all("not published" in reason or "unpublished" in reason for reason in groups.values())


def test_published_measured_cells_are_the_ground_truth():
    for (key, metric, _, statistic), (value, unit) in cells("absolute").items():
        if statistic == "measured":
            figure = EXPERIMENTS[key].point("synchronous").measured[metric]
            assert (value, unit) == (figure.value, figure.unit)


def test_the_published_gains_are_the_differences_of_the_published_errors():
    errors = cells("mape")
    for (key, metric, _, statistic), (value, _) in errors.items():
        if statistic == "delta":
            difference = errors[key, metric, "baseline", "mape"][0] - errors[key, metric, "treatment", "mape"][0]
            assert value == pytest.approx(difference, abs=0.15 + 1e-9)


def test_the_absolute_table_is_the_published_one(shared_dir):
    expected = {}
    for row in rows(shared_dir, "h1_absolute.csv"):
        for metric in METRICS:
            key = (row["experiment"], f"{metric}_mean")
            expected[*key, "baseline", "measured"] = (float(row[f"gt_{metric}_ms"]), "ms")
            for short, arm in ARMS.items():
                expected[*key, arm, "predicted"] = (float(row[f"{short}_{metric}_ms"]), "ms")
    assert cells("absolute") == expected


def test_the_error_table_is_the_published_one(shared_dir):
    expected = {}
    for row in rows(shared_dir, "h1_mape.csv"):
        for metric in METRICS:
            expected |= error_cells(row["experiment"], metric, row)
    assert cells("mape") == expected


def test_the_aggregates_are_the_published_ones(shared_dir):
    expected = {}
    for row in rows(shared_dir, "h1_by_workload.csv"):
        key = "all" if row["workload"] == "OVERALL" else row["workload"]
        for metric in ("tpot", "e2e"):
            expected |= error_cells(key, metric, row)
    assert cells("by_workload") == expected


def error_cells(key, metric, row):
    errors = {
        (key, f"{metric}_mean", arm, "mape"): (float(row[f"{short}_{metric}_mape_pct"]), "pct")
        for short, arm in ARMS.items()
    }
    return errors | {(key, f"{metric}_mean", "treatment", "delta"): (float(row[f"{metric}_delta_pp"]), "pp")}


def test_the_tp_table_is_the_published_one(shared_dir):
    expected = {
        (f"llama-2-7b-hf/{workload}/tp{row['tp']}", "tpot_mean", "treatment", "delta"): (
            float(row[f"{short}_tpot_delta_pp"]),
            "pp",
        )
        for row in rows(shared_dir, "h1_tp_scaling.csv")
        for workload, short in (("chatsweep", "chat"), ("codesweep", "code"))
    }
    assert cells("tp_scaling") == expected


def test_recorded_inputs_cover_every_experiment():
    assert set(RECORDED.intervals_us) == set(EXPERIMENTS)
    for experiment in EXPERIMENTS.values():
        lengths = RECORDED.lengths(experiment.workload.name)
        assert [length.index for length in lengths] == list(range(50))
        assert all(length.shared_prefix_tokens < length.prompt_tokens for length in lengths)


def test_recorded_intervals_are_the_measured_e2e_within_a_fifth_of_a_percent():
    for identifier, interval_us in RECORDED.intervals_us.items():
        e2e = EXPERIMENTS[identifier].point("synchronous").measured["e2e_mean"]
        assert interval_us / 1000 == pytest.approx(e2e.value, rel=0.002)


def test_recorded_lengths_are_the_published_ones(shared_dir):
    expected = {}
    for row in rows(shared_dir, "h1_request_lengths.csv"):
        figures = ("prompt_tokens_including_prefix", "shared_prefix_tokens", "output_tokens")
        expected.setdefault(row["workload"], []).append(tuple(int(row[name]) for name in ("index", *figures)))
    for workload, lengths in expected.items():
        ours = [
            (length.index, length.prompt_tokens, length.shared_prefix_tokens, length.output_tokens)
            for length in RECORDED.lengths(workload)
        ]
        assert ours == lengths


def test_recorded_intervals_are_the_published_ones(shared_dir):
    expected = {
        row["experiment"]: int(row["arrival_interval_us"]) for row in rows(shared_dir, "h1_arrival_intervals.csv")
    }
    ours = {name: value for name, value in RECORDED.intervals_us.items() if name in expected}
    assert ours == expected
    assert set(RECORDED.intervals_us) - set(expected) == {"dec17-tp1-qwen7-summarization"}


@pytest.mark.parametrize("text", ["0", "-5", "1.5", "", "1e6", "nan", "٣"])
def test_an_interval_that_is_no_positive_whole_number_is_refused_with_its_line(tmp_path, text):
    write(tmp_path, f"experiment,interval_us,note\na,5,\nb,{text},\n")
    with pytest.raises(ConfigError, match=r"arrival_intervals\.csv: line 3: interval_us must be a whole number"):
        Recorded.load(tmp_path)


def test_an_interval_given_twice_is_refused_with_its_line(tmp_path):
    write(tmp_path, "experiment,interval_us,note\na,5,\na,6,\n")
    with pytest.raises(ConfigError, match=r"line 3: experiment 'a' is given twice"):
        Recorded.load(tmp_path)


def test_a_wrong_header_or_a_short_line_is_refused_with_its_line(tmp_path):
    write(tmp_path, "experiment,interval_ms,note\na,5,\n")
    with pytest.raises(ConfigError, match=r"csv:1: the header must be experiment,interval_us,note"):
        Recorded.load(tmp_path)
    write(tmp_path, "experiment,interval_us,note\na,5\n")
    with pytest.raises(ConfigError, match=r"csv:2: 2 cells instead of 3"):
        Recorded.load(tmp_path)


def test_missing_recordings_are_one_clear_message(tmp_path):
    with pytest.raises(ConfigError, match=r"arrival_intervals\.csv: cannot be read"):
        Recorded.load(tmp_path)
    write(tmp_path, "experiment,interval_us,note\na,5,\n")
    with pytest.raises(ConfigError, match=r"request_lengths\.csv: cannot be read"):
        Recorded.load(tmp_path).lengths("chatsweep")


def test_an_unrecorded_experiment_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no interval for 'dec17-tp1-qwen7'; did you mean 'dec17-tp1-qwen7-"):
        RECORDED.interval_us("dec17-tp1-qwen7")


def test_an_unrecorded_workload_is_refused():
    with pytest.raises(ConfigError, match=r"request_lengths\.csv: no request left"):
        RECORDED.lengths("chatswep")


def write(folder, text):
    (folder / "arrival_intervals.csv").write_text(text, encoding="utf-8")
