"""Tables of predictions made elsewhere: what they may say, and what is refused or becomes a reason."""

from __future__ import annotations

import pytest

from roofline_lab.simulators.answers import read_answers
from roofline_lab.simulators.table import read_table
from roofline_lab.vocabulary import RowStatus
from simulator.errors import ConfigError
from tests.roofline_lab.simulators.samples import RIGHT, question

KNOWN = {"my-run": ["c8", "c16"], "elsewhere": []}
LONG = "experiment,load_point,metric,value\n"
REQUESTS = "experiment,load_point,request,sent_ms,first_token_ms,last_token_ms\n"


@pytest.fixture
def table(tmp_path):
    def read(text):
        path = tmp_path / "predictions.csv"
        path.write_text(text, encoding="utf-8")
        return read_table(path, "predictions.csv", KNOWN)

    return read


def predicted(found, name="my-run/c8"):
    return read_answers(found[name], question(name))


def refusal(table, text):
    with pytest.raises(ConfigError) as caught:
        table(text)
    return str(caught.value)


def test_a_line_per_metric_is_an_answer(table):
    lines = "".join(f"my-run,c8,{name},{value}\n" for name, value in RIGHT.items())
    assert predicted(table(LONG + lines)).metrics == RIGHT


def test_a_line_per_request_is_an_answer(table):
    found = predicted(table(REQUESTS + "my-run,c8,request_0,0,10,110\nmy-run,c8,request_1,0,20,120\n"))
    assert found.metrics == {"ttft_mean": 15.0, "itl_ratio_of_means": 10.0, "e2e_mean": 115.0}


def test_a_reason_without_a_value_says_that_a_load_point_is_not_supported(table):
    text = "experiment,load_point,metric,value,reason\nmy-run,c8,,,no data for this GPU\n"
    found = predicted(table(text))
    assert (found.status, found.reason) == (RowStatus.UNSUPPORTED, "no data for this GPU")


@pytest.mark.parametrize(
    ("value", "told"),
    [("nan", "nan (line 2)"), ("", "nothing (line 2)"), ("fast", "fast (line 2)"), ("0", "0; expected"), ("-1", "-1;")],
)
def test_a_cell_that_is_no_latency_is_told_with_its_line(table, value, told):
    found = predicted(table(f"{LONG}my-run,c8,ttft_mean,{value}\nmy-run,c8,e2e_mean,1600\n"))
    assert told in found.refused["ttft_mean"][1]
    assert found.metrics == {"e2e_mean": 1600.0}


def test_a_metric_given_twice_is_told_with_both_lines(table):
    found = predicted(table(f"{LONG}my-run,c8,ttft_mean,80\nmy-run,c8,e2e_mean,1600\nmy-run,c8,ttft_mean,80\n"))
    assert "given 2 times, on lines 2 and 4" in found.refused["ttft_mean"][1]
    assert found.metrics == {"e2e_mean": 1600.0}


def test_another_unit_is_no_number(table):
    text = "experiment,load_point,metric,value,unit\nmy-run,c8,ttft_mean,0.08,s\nmy-run,c8,e2e_mean,1600,\n"
    found = predicted(table(text))
    assert "metrics.ttft_mean.unit: s; expected is 'ms'" in found.refused["ttft_mean"][1]
    assert found.metrics == {"e2e_mean": 1600.0}


def test_experiments_of_other_sets_are_passed_over(table):
    assert list(table(f"{LONG}elsewhere,any,ttft_mean,80\nmy-run,c8,ttft_mean,80\n")) == ["elsewhere/any", "my-run/c8"]


def test_everything_that_is_wrong_with_a_table_is_told_at_once(table):
    told = refusal(
        table, f"{LONG}myrun,c8,ttft_mean,80\nmy-run,c9,ttft_mean,80\nmy-run,c8,tpot_mean,8\nmy-run,c8,ttft,80\n"
    )
    assert "predictions.csv: 4 problems" in told
    assert "line 2: experiment: unknown experiment 'myrun'; did you mean 'my-run'?" in told
    assert "line 3: load_point: 'my-run' has no load point 'c9'; allowed: c16, c8" in told
    assert (
        "line 4: metric: 'tpot_mean' has several definitions; name one of itl_ratio_of_means, tpot_request, "
        "tpot_guidellm (docs/metrics.md)"
    ) in told
    assert "line 5: metric: unknown metric 'ttft'; did you mean 'ttft_p" in told


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("experiment,load_point,metric", "line 1: column 'value' is missing"),
        ("experiment,load_point,metric,value,units", "line 1: unknown column 'units'; did you mean 'unit'?"),
        ("experiment,load_point,metric,value,value", "line 1: a column is given twice"),
        ("", "line 1: column 'experiment' is missing"),
    ],
)
def test_a_table_with_other_columns_is_refused_with_an_example(table, header, told):
    message = refusal(table, header + "\n")
    assert told in message
    assert "expected is for instance\nexperiment,load_point,metric,value\nmy-run,c8,ttft_mean,74.1" in message


def test_a_line_of_another_length_is_refused(table):
    assert "line 2: has 3 cells, the header 4" in refusal(table, f"{LONG}my-run,c8,ttft_mean\n")


def test_a_table_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"predictions\.csv"):
        read_table(tmp_path / "predictions.csv", "predictions.csv", KNOWN)
