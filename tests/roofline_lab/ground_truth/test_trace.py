"""A trace is read line by line, or refused with one message that names file, line, column and remedy."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline_lab.ground_truth.requests import find_traces, read_trace
from simulator.errors import ConfigError
from tests.roofline_lab.report.replay_toy import COLUMNS, requests, trace_text, write_trace


def refusal(path):
    with pytest.raises(ConfigError) as caught:
        read_trace(path)
    return str(caught.value)


def changed(tmp_path, place, **cells):
    """Return what reading says when one row of twelve has other cells."""
    rows = requests()
    rows[place] |= cells
    return refusal(write_trace(tmp_path / "a.csv", rows))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_trace_is_read_in_file_order_plain_or_compressed(tmp_path, name):
    trace = read_trace(write_trace(tmp_path / name, requests(count=3)))
    assert [
        (request.id, request.arrival_us, request.prompt_tokens, request.output_tokens) for request in trace.requests
    ] == [
        ("0", 0, 500, 20),
        ("1", 500_000, 501, 20),
        ("2", 1_000_000, 502, 20),
    ]
    assert [request.ttft_ms for request in trace.requests] == [30.0, 30.1, 30.2]
    assert {request.load_point for request in trace.requests} == {"0"}


def test_the_digest_changes_with_the_content(tmp_path):
    one = read_trace(write_trace(tmp_path / "a.csv", requests(count=3)))
    other = read_trace(write_trace(tmp_path / "b.csv", requests(count=4)))
    assert one.digest != other.digest


def test_has_error_may_be_missing_and_further_columns_are_left_alone(tmp_path):
    columns = (*(name for name in COLUMNS if name != "has_error"), "queue_ms")
    rows = [request | {"queue_ms": "anything"} for request in requests()]
    trace = read_trace(write_trace(tmp_path / "a.csv", rows, columns))
    assert all(request.completed for request in trace.requests)


def test_a_failed_request_needs_no_latency(tmp_path):
    rows = requests()
    rows[3] |= {"has_error": 1, "ttft_ms": "", "e2e_ms": "", "output_tokens_true": 0}
    trace = read_trace(write_trace(tmp_path / "a.csv", rows))
    assert [request.id for request in trace.requests if not request.completed] == ["3"]


def test_a_missing_column_is_named_with_what_it_holds(tmp_path):
    columns = [name for name in COLUMNS if name != "e2e_ms"]
    told = refusal(write_trace(tmp_path / "a.csv", requests(), columns))
    assert "a.csv" in told
    assert "column 'e2e_ms': missing" in told
    assert "milliseconds" in told


def test_an_unknown_column_is_refused_with_the_nearest_known_one(tmp_path):
    rows = [request | {"ttft_s": 1} for request in requests()]
    told = refusal(write_trace(tmp_path / "a.csv", rows, (*COLUMNS, "ttft_s")))
    assert "column 'ttft_s': unknown; did you mean 'ttft_ms'?" in told


def test_a_column_given_twice_is_refused(tmp_path):
    assert "column 'index': given twice" in refusal(write_trace(tmp_path / "a.csv", requests(), (*COLUMNS, "index")))


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ({"ttft_ms": "-1.0"}, "line 6: column 'ttft_ms': must be milliseconds, 0 or greater"),
        ({"e2e_ms": "-230"}, "line 6: column 'e2e_ms': must be milliseconds, 0 or greater"),
        ({"e2e_ms": "nan"}, "line 6: column 'e2e_ms'"),
        ({"e2e_ms": "inf"}, "line 6: column 'e2e_ms'"),
        ({"ttft_ms": ""}, "line 6: columns 'ttft_ms' and 'e2e_ms': must be above 0 unless has_error is 1"),
        ({"ttft_ms": "0"}, "must be above 0"),
        ({"ttft_ms": "500"}, "column 'ttft_ms': 500 is above e2e_ms 234; check both units"),
        ({"arrival_time_us": "1500000.5"}, "line 6: column 'arrival_time_us': must be a whole number"),
        ({"arrival_time_us": "-5"}, "line 6: column 'arrival_time_us': must be a whole number"),
        ({"arrival_time_us": "1000"}, "line 6: column 'arrival_time_us': 1000 is before the row above (1500000)"),
        ({"input_tokens": "0"}, "line 6: column 'input_tokens': must be a whole number, 1 or greater"),
        ({"output_tokens_true": "0"}, "line 6: column 'output_tokens_true': must be a whole number, 1 or greater"),
        ({"stage": "one"}, "line 6: column 'stage': must be a whole number"),
        ({"has_error": "no"}, "line 6: column 'has_error': must be 0 or 1, got 'no'"),
        ({"index": "2"}, "line 6: column 'index': '2' is already used on line 4; ids are unique"),
        ({"index": ""}, "line 6: column 'index': must not be empty"),
    ],
)
def test_a_wrong_cell_is_named_by_line_and_column(tmp_path, cells, told):
    assert told in changed(tmp_path, 4, **cells)


def test_stages_run_one_after_the_other(tmp_path):
    rows = requests()
    rows[4]["stage"] = 1
    assert "line 7: column 'stage': 0 comes after 1" in refusal(write_trace(tmp_path / "a.csv", rows))


def test_all_problems_are_told_at_once_but_not_thousands(tmp_path):
    told = refusal(write_trace(tmp_path / "a.csv", requests(count=500, ttft_ms="-1")))
    assert told.count("must be milliseconds") == 20
    assert "reading stopped here" in told


def test_a_truncated_gzip_file_is_refused(tmp_path):
    path = write_trace(tmp_path / "a.csv.gz", requests(count=200))
    path.write_bytes(path.read_bytes()[:-300])
    told = refusal(path)
    assert told.endswith("; is the file complete?")
    assert "is the file complete?" in told


def test_a_line_that_breaks_off_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(trace_text(requests())[:-10], encoding="utf-8")
    assert "line 13: 7 cells, but the header names 8 columns" in refusal(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x1f\x8b rubbish", b"", b"\n", b'index,"stage'])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_rubbish_is_refused_with_the_name_of_the_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert name in refusal(path)


def test_a_trace_without_requests_is_refused(tmp_path):
    assert "no requests below the header" in refusal(write_trace(tmp_path / "a.csv", []))


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=400), header=st.booleans(), packed=st.booleans())
def test_any_bytes_are_read_or_refused_and_nothing_else(tmp_path_factory, content, header, packed):
    content = (",".join(COLUMNS) + "\n").encode() + content if header else content
    path = tmp_path_factory.mktemp("trace") / ("a.csv.gz" if packed else "a.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    try:
        found, told = read_trace(path).requests, ""
    except ConfigError as error:
        found, told = (), str(error)
    assert found or path.name in told


def test_empty_lines_are_skipped(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(trace_text(requests(count=3)) + "\n\n", encoding="utf-8")
    assert len(read_trace(path).requests) == 3


def test_a_folder_stands_for_its_traces_sorted_by_name(tmp_path):
    for name in ("b.csv", "a.csv.gz", "notes.txt"):
        write_trace(tmp_path / name, requests())
    assert [path.name for path in find_traces([tmp_path])] == ["a.csv.gz", "b.csv"]


def test_a_folder_without_traces_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no trace in this folder"):
        find_traces([tmp_path])
    with pytest.raises(ConfigError, match=r"gone\.csv: no such file or folder"):
        find_traces([tmp_path / "gone.csv"])
