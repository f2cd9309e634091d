"""Tables of the site as the scripts that hold them."""

from __future__ import annotations

import json
import re

from roofline_lab.site.numbers import comparison_table, numbers_table
from roofline_lab.site.row_links import Row
from roofline_lab.site.tables import Column, Table, pushed
from tests.roofline_lab.builders import HYPOTHESIS
from tests.roofline_lab.snakemake_runs import EXPERIMENTS

KEY = EXPERIMENTS[0]


def data(script):
    return json.loads(re.fullmatch(r"\(window\.lab=window\.lab\|\|\[\]\)\.push\((.*)\);\n", script, re.DOTALL)[1])


def column(table, key):
    (found,) = (each for each in data(table.script())["columns"] if each["key"] == key)
    return found["values"] if "values" in found else [found["words"][code] for code in found["codes"]]


def rows(*numbers):
    """Return rows of one latency: statistic and value each."""
    place = ("corrected", "base", "synchronous", "experiment", KEY, "ttft_mean")
    units = {"signed_error": "pct", "mape": "pct"}
    return tuple(
        Row(line, *place, statistic, value, units.get(statistic, "ms"))
        for line, (statistic, value) in enumerate(numbers, 2)
    )


def experiments(lab):
    return {each.id: each for each in lab.experiments(HYPOTHESIS)}


def test_words_are_stored_once_and_come_back_in_order():
    table = Table("t", [Column("arm", "Arm", ["b", "a", "b"], filters=True)])
    assert column(table, "arm") == ["b", "a", "b"]
    assert data(table.script())["columns"][0]["words"] == ["b", "a"]


def test_a_number_that_is_not_there_is_null_not_zero():
    assert column(Table("t", [Column("rate", "Rate", [1.5, None], numbers=True)]), "rate") == [1.5, None]


def test_no_text_ends_the_script_it_stands_in():
    assert "</script>" not in pushed("</script><script>alert(1)</script>")
    assert data(pushed("</script>")) == "</script>"


def test_every_row_of_the_file_is_in_the_table_of_numbers_with_its_line():
    table = numbers_table(rows(("measured", "10.000000"), ("predicted", "9.000000")))
    assert column(table, "line") == [2, 3]
    assert column(table, "value") == [10.0, 9.0]


def test_measured_and_predicted_stand_beside_each_other_and_know_their_lines(lab):
    numbers = rows(("mape", "10.0"), ("measured", "10.0"), ("predicted", "9.0"), ("signed_error", "-10.0"))
    table = comparison_table(numbers, experiments(lab), f"reports/{HYPOTHESIS}/explore.html")
    assert (column(table, "measured"), column(table, "predicted"), column(table, "signed_error")) == (
        [10.0],
        [9.0],
        [-10.0],
    )
    assert (column(table, "measured_line"), column(table, "predicted_line")) == ([3], [4])
    assert column(table, "id") == [KEY]


def test_a_latency_that_was_not_predicted_is_in_no_plot(lab):
    assert comparison_table(rows(("measured", "10.0")), experiments(lab), "reports/x/explore.html") is None


def test_a_report_without_experiments_has_no_plots():
    assert comparison_table(rows(("measured", "1"), ("predicted", "1"), ("signed_error", "0")), {}, "x.html") is None
