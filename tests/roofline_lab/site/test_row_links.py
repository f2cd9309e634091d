"""Which row of numbers.csv a printed number leads to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from roofline_lab.site.places import Place
from roofline_lab.site.row_links import RowFinder, read_rows
from simulator.errors import ConfigError

CONTENT = """\
method,arm,load_point,scope,key,metric,statistic,value,unit
published,base,synchronous,experiment,run-a,tpot_mean,mape,25.04,pct
corrected,base,synchronous,experiment,run-a,tpot_mean,mape,25.03,pct
corrected,treated,synchronous,experiment,run-a,tpot_mean,mape,12.5,pct
corrected,treated,synchronous,experiment,run-a,tpot_mean,delta,12.53,pp
corrected,treated,synchronous,experiment,run-a,tpot_mean,signed_error,-12.5,pct
corrected,treated,all,overall,all,tpot_mean,mape,12.5,pct
corrected,base,synchronous,experiment,run-b,ttft_p90,measured,1234.5,ms
published,base,synchronous,overall,all,tpot_mean,mape,54.64,pct
published,base,all,driver,layers,tpot_mean,rank_correlation,0.5,ratio
"""
ROWS = read_rows(CONTENT.encode(), "numbers.csv")
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


def test_an_experiment_is_found_by_the_name_that_pages_call_it():
    finder = RowFinder(ROWS, lambda lines: "", {"run-a": "Llama-7B TP1 chat", "run-b": "Llama-7B TP2 chat"})
    assert finder.lines("25.0 %", replace(IN_CORRECTED, row=("Llama-7B TP1 chat",))) == [3]
    assert finder.lines("25.0 %", replace(IN_CORRECTED, row=("Llama-7B TP1 chat, synchronous",))) == [3]
    assert finder.lines("25.0 %", IN_CORRECTED) == [3]


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
    assert found("+12.5 pp", column="treated TPOT") == [5]


def test_a_number_in_a_sentence_is_an_overall_one_whose_metric_is_named():
    sentence = {"row": (), "column": "", "caption": "The mean TPOT error is 12.5 %.", "headings": ("Title",)}
    assert found("12.5 %", before="The mean TPOT error is ", **sentence) == [7]
    assert found("12.5 %", before="The bandwidth is ", **{**sentence, "caption": "The bandwidth is 12.5 %."}) == []


def test_a_count_is_no_percentage():
    assert found("25", column="base load points") == []
    assert found("25", column="base TPOT [%]") == [3]


def test_a_number_leads_to_no_row_of_another_sign():
    assert found("-12.5 pp", column="treated TPOT") == []
    assert found("+12.5 %", column="treated TPOT") == [], "an absolute error is never printed with a plus"


def test_a_mean_over_the_only_load_point_of_a_method_is_found_without_its_name():
    place = {"row": ("Published", "Refuted"), "column": "TPOT base", "headings": ("Title",), "caption": "Rounds: 1"}
    assert found("54.6 %", **place) == [9]


def test_of_names_within_each_other_the_longest_is_meant():
    content = CONTENT + "corrected,base_case,synchronous,experiment,run-a,tpot_mean,mape,25.02,pct\n"
    finder = RowFinder(read_rows(content.encode(), "numbers.csv"), lambda lines: "")
    assert finder.lines("25.0 %", IN_CORRECTED) == [3]
    assert finder.lines("25.0 %", replace(IN_CORRECTED, column="base_case TPOT")) == [11]


def test_a_row_knows_its_line_in_the_file():
    assert [row.line for row in ROWS] == list(range(2, 11))


def test_a_damaged_value_is_named_with_its_line():
    with pytest.raises(ConfigError, match=r"reports/x/numbers\.csv: line 8: 'much' is not a finite number"):
        read_rows(CONTENT.replace("1234.5", "much").encode(), "reports/x/numbers.csv")
