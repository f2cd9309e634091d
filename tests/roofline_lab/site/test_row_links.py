"""Which row of numbers.csv a printed number leads to."""

from __future__ import annotations

from roofline_lab.site.markdown import Place
from roofline_lab.site.row_links import Row, RowFinder, rows_of

LINES = [
    (2, ("published", "base", "synchronous", "experiment", "run-a", "tpot_mean", "mape", "25.04", "pct")),
    (3, ("corrected", "base", "synchronous", "experiment", "run-a", "tpot_mean", "mape", "25.03", "pct")),
    (4, ("corrected", "treated", "synchronous", "experiment", "run-a", "tpot_mean", "mape", "12.5", "pct")),
    (5, ("corrected", "treated", "synchronous", "experiment", "run-a", "tpot_mean", "delta", "12.53", "pp")),
    (6, ("corrected", "treated", "synchronous", "experiment", "run-a", "tpot_mean", "signed_error", "-12.5", "pct")),
    (7, ("corrected", "treated", "all", "overall", "all", "tpot_mean", "mape", "12.5", "pct")),
    (8, ("corrected", "base", "synchronous", "experiment", "run-b", "ttft_p90", "measured", "1234.5", "ms")),
]
ROWS = rows_of(LINES)
IN_CORRECTED = Place(("Title", "Results", "Corrected method"), "TPOT", "base TPOT", "Workload", ("run-a",))


def found(number, **place):
    changed = {name: place.get(name, getattr(IN_CORRECTED, name)) for name in Place.__dataclass_fields__}
    return RowFinder(ROWS, lambda lines: "").lines(number, Place(**changed))


def test_heading_column_and_row_choose_among_rows_that_round_alike():
    assert found("25.0 %") == [3]
    assert found("25.0 %", headings=("Title", "Results", "Published method")) == [2]


def test_rows_that_fit_equally_well_are_all_told():
    assert found("25.0 %", headings=("Title",)) == [2, 3]


def test_a_gain_belongs_to_the_arm_of_the_column_before():
    assert found("+12.5 pp", column="gain", before="treated TPOT") == [5]


def test_a_signed_error_is_told_from_its_size():
    assert found("12.5 %", column="treated TPOT") == [4]
    assert found("-12.5 %", column="treated TPOT", caption="Signed errors") == [6]


def test_the_row_of_an_overall_mean_has_no_experiment():
    assert found("12.5 %", column="treated TPOT", row=("overall",)) == [7]


def test_a_number_with_thousands_is_found_under_its_percentile():
    place = {"row": ("run-b, synchronous", "TTFT"), "caption": "measured, ms", "column": "p90"}
    assert found("1,234.5", **place) == [8]


def test_a_number_that_no_row_rounds_to_leads_nowhere():
    assert found("25.1 %") == []


def test_a_number_of_something_else_leads_nowhere():
    assert found("25.0 %", row=("run-c",), column="share of tokens", headings=("Title",), caption="") == []


def test_the_unit_has_to_be_the_same():
    assert found("25.0 ms") == []
    assert found("12.5 pp", column="treated TPOT") == [5]


def test_the_header_of_the_file_is_no_row():
    header = ("method", "arm", "load_point", "scope", "key", "metric", "statistic", "value", "unit")
    assert rows_of([(1, header), *LINES]) == ROWS
    assert all(isinstance(row, Row) for row in ROWS)
