"""Tables that pages of several kinds share."""

from __future__ import annotations

from dataclasses import replace

from roofline_lab.formatting import MISSING
from roofline_lab.report.tables import tp_speedups
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.scoring.table import table_of

ROW = ErrorRow("m", "ours", "e", "p", "chat", "family", "model-a", 1, "tpot_mean", 8.0, 9.0)
LABELS = {"tpot_mean": "TPOT"}


def lines(*rows: ErrorRow) -> list[list[str]]:
    text = tp_speedups(table_of(rows), ("ours", "theirs"), LABELS)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def test_the_speedup_by_tensor_parallelism_stands_beside_what_each_arm_predicts():
    two = replace(ROW, experiment="f", tensor_parallel=2, predicted=4.0, measured=6.0)
    theirs = [replace(row, arm="theirs", predicted=row.predicted + 1) for row in (ROW, two)]
    assert lines(ROW, two, *theirs) == [["TPOT", "model-a chat p", "1 to 2", "1.50", "2.00", "1.80"]]


def test_what_was_measured_at_one_degree_alone_has_no_speedup():
    assert lines(ROW, replace(ROW, experiment="f", predicted=7.0)) == []
    assert tp_speedups(table_of([ROW]), ("ours",), LABELS) == ""


def test_other_rates_gpus_and_sides_are_not_compared():
    many = replace(ROW, experiment="f", tensor_parallel=4)
    others = [replace(many, rate_per_s=3.0), replace(many, hardware="a100-sxm"), replace(many, side="client")]
    assert lines(ROW, *others) == []


def test_an_arm_without_a_prediction_at_one_degree_has_a_dash_and_not_a_number():
    many = replace(ROW, experiment="f", tensor_parallel=4, predicted=2.0, measured=3.0)
    assert lines(ROW, many, replace(ROW, arm="theirs"))[0][3:] == ["3.00", "4.00", MISSING]
