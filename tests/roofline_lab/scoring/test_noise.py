"""Noise of measurements: what an error must exceed to be called one, in the one table and on the pages."""

from __future__ import annotations

import dataclasses

import pytest

from roofline_lab.formatting import signed_pct
from roofline_lab.ground_truth.noise import Noise
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.report.cells import error_text, with_noise
from roofline_lab.report.tables import Tables
from roofline_lab.scoring.comparison import noise_pct, wanted_metrics
from roofline_lab.scoring.scores import ErrorRow, Scores
from roofline_lab.scoring.table import errors_by, noise_by, table_of
from roofline_lab.vocabulary import Metric
from simulator.errors import ConfigError
from simulator.trust.intervals import INTER_TOKEN
from simulator.validation import parse
from tests.paths import ROOT

NOISY = "minimax-m2.5-fp8-h200-tp4-1k-1k-20260301"
QUIET = "20260217-155451-llama-2-7b-tp1-codegen"
ROW = ErrorRow("m", "ours", "e", "p", "chat", "family", "model-a", 1, Metric.TTFT_MEAN, 101.0, 100.0, noise_pct=2.0)


def experiment(name):
    return load_experiment(ROOT / "ground_truth" / name)


def test_an_error_no_larger_than_the_noise_is_none_and_the_next_larger_one_is():
    assert ROW.is_within_noise
    assert dataclasses.replace(ROW, predicted=98.0).is_within_noise
    assert not dataclasses.replace(ROW, predicted=102.1).is_within_noise
    assert not dataclasses.replace(ROW, noise_pct=None).is_within_noise


def test_a_cell_says_so_and_keeps_the_number():
    assert error_text(-1.5, 2.0, signed_pct) == "within noise (-1.5 %)"
    assert error_text(2.5, 2.0) == "2.5 %"
    assert error_text(0.0, None) == "0.0 %"


def test_a_table_without_noise_has_no_column_for_it():
    assert with_noise(["a"], [["1"]], [[None]]) == (["a"], [["1"]])
    header, lines = with_noise(["a"], [["1"], ["2"]], [[2.0, None], [None, None]], ["TTFT", "TPOT"])
    assert header == ["a", "noise: TTFT / TPOT"]
    assert lines == [["1", "2.0 % / –"], ["2", "– / –"]]


def test_the_noise_of_a_group_is_the_mean_of_its_rows_and_unknown_where_one_is():
    two = [ROW, dataclasses.replace(ROW, load_point="q", noise_pct=4.0, predicted=110.0)]
    third = dataclasses.replace(ROW, load_point="r", noise_pct=None)
    assert noise_by(table_of(two), ("metric",)) == {("ttft_mean",): 3.0}
    assert errors_by(table_of(two), ("metric",))["ttft_mean",].noise_pct == 3.0
    assert noise_by(table_of([*two, third]), ("metric",)) == {}


def test_the_time_between_tokens_has_the_noise_of_the_time_per_output_token():
    noisy = experiment(NOISY)
    by_name = {wanted.name: wanted for wanted in wanted_metrics(noisy, noisy.load_points[0])}
    assert by_name[INTER_TOKEN].noise_pct == by_name["tpot_mean"].noise_pct == noise_pct(noisy, "tpot_mean")
    assert noise_pct(noisy, "ttft_mean") == pytest.approx(100 * noisy.noise.relative_sd["ttft_mean"])


def test_an_experiment_that_nobody_repeated_has_none():
    quiet = experiment(QUIET)
    assert {wanted.noise_pct for wanted in wanted_metrics(quiet, quiet.load_points[0])} == {None}


def test_tables_of_findings_show_noise_beside_every_error_only_where_it_is_known():
    tables = Tables(["ours"], [Metric.TTFT_MEAN], 3.0)
    shown = tables.errors(Scores([ROW])), tables.signed_errors(Scores([ROW]))
    assert all("noise" in text.splitlines()[0] and "within noise (" in text for text in shown)
    silent = Scores([dataclasses.replace(ROW, noise_pct=None)])
    assert not any("noise" in text for text in (tables.errors(silent), tables.signed_errors(silent)))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"relative_sd": {"ttft_maen": 0.02}}, "unknown metric 'ttft_maen'; did you mean 'ttft_mean'"),
        ({"relative_sd": {"ttft_mean": 2.3}}, "less than or equal to 1"),
        ({"relative_sd": {}}, "relative_sd"),
        ({"pairs": 0}, "pairs"),
        ({"basis": " "}, "basis"),
    ],
)
def test_noise_that_cannot_be_is_refused(change, expected):
    content = {"relative_sd": {"ttft_mean": 0.02}, "pairs": 3, "basis": "Repeated."} | change
    with pytest.raises(ConfigError, match=expected):
        parse(Noise, content, source="noise")
