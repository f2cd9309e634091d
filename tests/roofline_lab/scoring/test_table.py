"""The one scored table: means by group are exact, unweighted, and over rows that have a number."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from roofline_lab.scoring.table import COLUMNS, coverage_by, levels, mean_of, means, table_of
from tests.paths import ROOT
from tests.roofline_lab.builders import error_row, unscored_row


def test_a_table_keeps_every_row_and_gives_the_error_of_those_that_have_one():
    table = table_of([error_row(error_pct=-25), unscored_row()])
    assert tuple(table.columns) == (*COLUMNS, "signed_error_pct", "ape_pct", "overall")
    assert table["signed_error_pct"].tolist()[0] == error_row(error_pct=-25).signed_error_pct
    assert table["ape_pct"].isna().tolist() == [False, True]


def test_a_row_that_is_not_scored_has_no_error_even_where_both_sides_are_numbers():
    (error,) = table_of([error_row(status="saturated")])["ape_pct"].isna()
    assert error


def test_means_are_by_group_over_the_rows_that_have_a_number():
    rows = [
        error_row(family="Small", error_pct=-10),
        error_row(family="Small", error_pct=-30),
        error_row(family="Big", error_pct=20),
        unscored_row(family="Empty"),
    ]
    assert means(table_of(rows), ["family"]) == {("Small",): pytest.approx(20.0), ("Big",): pytest.approx(20.0)}
    signed = means(table_of(rows), ["family", "arm"], "signed_error_pct")
    assert signed == {("Small", "baseline"): pytest.approx(-20.0), ("Big", "baseline"): pytest.approx(20.0)}


def test_of_no_rows_there_is_no_coverage():
    assert coverage_by(table_of([]), ["family", "arm"]) == {}


def test_a_mean_does_not_depend_on_the_order_of_the_rows():
    rows = [error_row(experiment=f"e{i}", error_pct=-(10.0**i) / 3) for i in range(5)]
    found = {means(table_of(order), ["family"])["Small",] for order in itertools.permutations(rows)}
    assert len(found) == 1
    assert found == {mean_of(table_of(rows)["ape_pct"])}


def test_a_mean_over_nothing_is_none():
    assert mean_of(table_of([unscored_row()])["ape_pct"]) is None
    assert mean_of(table_of([])["ape_pct"]) is None
    assert means(table_of([unscored_row()]), ["family"]) == {}
    assert [len(level) for level in levels(table_of([unscored_row()]))] == [0, 0, 0]


def test_many_load_points_of_one_experiment_weigh_as_one_and_so_do_many_experiments_of_one_family():
    rows = [
        error_row(experiment="a", load_point="x", error_pct=10),
        error_row(experiment="a", load_point="y", error_pct=30),
        error_row(experiment="b", error_pct=60),
        error_row(experiment="c", family="Big", error_pct=100),
    ]
    points, experiments, families = levels(table_of(rows))
    assert points.tolist() == pytest.approx([10, 30, 60, 100])
    assert experiments.to_dict() == {
        ("Small", "a"): pytest.approx(20),
        ("Small", "b"): pytest.approx(60),
        ("Big", "c"): pytest.approx(100),
    }
    assert families.to_dict() == {"Small": pytest.approx(40), "Big": pytest.approx(100)}


@pytest.mark.parametrize("module", ["roofline_lab.cli.main", "roofline_lab.lint.lint", "roofline_lab.jobs.findings"])
def test_who_only_asks_or_lints_does_not_pay_for_pandas(module):
    code = f"import sys; sys.path.insert(0, 'workflow'); import {module}; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
