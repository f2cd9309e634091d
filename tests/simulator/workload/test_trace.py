"""Reading recorded requests: what is accepted, and that refusals name file and line."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import ConfigError, RooflineLabError
from simulator.workload.trace import load_trace

HEADER = "arrival_us,prompt_tokens,output_tokens"


def trace(folder, *lines):
    path = folder / "trace.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_every_column_reaches_its_field(tmp_path):
    path = trace(
        tmp_path,
        "request_id,arrival_seconds,input_tokens,output_tokens_true,prefix_group,shared_prefix_tokens,"
        "priority,queueing_delay_us,ttft_ms",
        "a,1.2345678,336,278,0,284,-2,15,33.1",
    )

    (only,) = load_trace(path)
    assert (only.id, only.arrival_us, only.prompt_tokens, only.output_tokens) == ("a", 1_234_567, 336, 278)
    assert (only.prefix_group, only.prefix_tokens) == ("0", 284)
    assert (only.priority, only.queueing_delay_us) == (-2, 15)


@pytest.mark.parametrize(
    ("seconds", "microseconds"), [("0.29", 290_000), ("4.35", 4_350_000), ("1.0000019", 1_000_001)]
)
def test_seconds_are_cut_to_microseconds_without_binary_rounding(tmp_path, seconds, microseconds):
    path = trace(tmp_path, "arrival_s,prompt_tokens,output_tokens", f"{seconds},5,5")

    assert load_trace(path)[0].arrival_us == microseconds


def test_a_prefix_without_groups_is_one_prefix_for_all(tmp_path):
    path = trace(tmp_path, "prompt_tokens,output_tokens,prefix_tokens", "9,5,4", "8,5,4", "8,5,0")

    groups = [request.prefix_group for request in load_trace(path, times_required=False)]
    assert groups == ["shared", "shared", None]


def test_rows_can_be_selected_by_the_text_of_a_column(tmp_path):
    path = trace(tmp_path, "workload,prompt_tokens,output_tokens", "chat,9,5", "code,8,4", "chat,7,3")

    kept = load_trace(path, where={"workload": "chat"}, times_required=False)
    assert [request.prompt_tokens for request in kept] == [9, 7]
    with pytest.raises(ConfigError, match="no request left"):
        load_trace(path, where={"workload": "summary"}, times_required=False)
    with pytest.raises(ConfigError, match="filter 'worklod': no such column; did you mean 'workload'"):
        load_trace(path, where={"worklod": "chat"}, times_required=False)


def test_a_compressed_file_reads_like_a_plain_one(tmp_path):
    plain = trace(tmp_path, HEADER, "1,2,3")
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))

    assert load_trace(packed) == load_trace(plain)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((HEADER, "1,2,3", "4,x,6"), "line 3: column 'prompt_tokens': must be a whole number, 0 or greater, got 'x'"),
        ((HEADER, "1,0,3"), "line 2: column 'prompt_tokens': must be 1 or greater, got 0"),
        ((HEADER, "1,5,-3"), "line 2: column 'output_tokens': must be a whole number"),
        ((HEADER, "nan,5,3"), "line 2: column 'arrival_us'"),
        ((HEADER, "1.5,5,3"), "line 2: column 'arrival_us'"),
        ((HEADER, "1,5,٣"), "line 2: column 'output_tokens'"),
        (("arrival_s,prompt_tokens,output_tokens", "1e999999999,5,3"), "line 2: column 'arrival_s': must be seconds"),
        ((HEADER, "1,2"), "trace.csv:2: 2 cells, but the header names 3 columns"),
        ((HEADER,), "no request left"),
        (("arrival_us,prompt_tokens,input_tokens", "1,2,3"), "prompt: given twice, as prompt_tokens and input_tokens"),
        (("arrival_us,prompt_tokens", "1,2"), "output: no such column; allowed names: output_tokens"),
        ((HEADER + ",prefix_grup", "1,2,3,a"), "column 'prefix_grup': looks misspelt; did you mean 'prefix_group'"),
        ((HEADER + ",x,x", "1,2,3,4,5"), "column 'x': given twice"),
        ((HEADER + ",prefix_tokens", "1,2,3,4"), r"line 2: .* the prefix \(4\) is longer than the prompt \(2\)"),
        (("id," + HEADER, "a,1,2,3", "a,1,2,3"), "line 3: id 'a' is already used on line 2"),
        (("id," + HEADER, ",1,2,3"), "line 2: column 'id': must not be empty"),
        ((HEADER, '1,"2,3'), "not valid CSV"),
    ],
)
def test_a_bad_file_is_refused_with_file_and_line(tmp_path, lines, message):
    path = trace(tmp_path, *lines)
    with pytest.raises(ConfigError, match=message) as caught:
        load_trace(path)
    assert "trace.csv" in str(caught.value)


def test_all_bad_lines_are_reported_at_once_up_to_a_limit(tmp_path):
    path = trace(tmp_path, HEADER, *["x,2,3"] * 30)
    with pytest.raises(ConfigError) as caught:
        load_trace(path)
    assert "line 2:" in str(caught.value)
    assert "line 21:" in str(caught.value)
    assert "and 10 more" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\x1f\x8b\x08broken"])
def test_a_file_that_is_no_text_or_empty_is_refused(tmp_path, content):
    for name in ("trace.csv", "trace.csv.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=r"trace\.csv"):
            load_trace(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.csv: cannot be read"):
        load_trace(tmp_path / "nowhere.csv")


@settings(max_examples=150, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.text(alphabet='0123456789,.-e"\n\rx\x00 ', max_size=200).map(lambda text: f"{HEADER}\n{text}".encode()),
    ),
    packed=st.booleans(),
)
def test_garbage_gives_requests_or_a_clean_error(tmp_path_factory, content, packed):
    path = tmp_path_factory.mktemp("garbage") / ("trace.csv.gz" if packed else "trace.csv")
    path.write_bytes(content)
    try:
        requests = load_trace(path)
    except RooflineLabError as error:
        message = str(error)
    else:
        message = str(path)
        assert all(request.prompt_tokens >= 1 and request.arrival_us >= 0 for request in requests)
    assert str(path) in message


def test_every_recorded_engine_case_is_readable(shared_dir):
    files = sorted((shared_dir / "oracle" / "engine").glob("*/requests.csv.gz"))
    if not files:
        pytest.skip("the recorded engine cases are not among the reference data")
    for path in files:
        requests = load_trace(path)
        assert len({request.id for request in requests}) == len(requests) > 0
        assert all(request.prefix_tokens <= request.prompt_tokens for request in requests)
