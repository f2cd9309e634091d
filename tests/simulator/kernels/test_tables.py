"""Reading table folders: what is accepted, and that everything else is refused with file and line."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import TableError
from simulator.kernels.base import AttentionShape
from simulator.kernels.tables import load_tables
from tests.simulator.kernels.folder import (
    DECODE,
    DECODE_HEADER,
    GEMM,
    GEMM_HEADER,
    PREFILL,
    PREFILL_HEADER,
    write_folder,
)

GEMM_PATH = "gemm/toy/data.csv"
PREFILL_PATH = "mha/prefill/toy/8-2-64.csv"
DECODE_PATH = "mha/decode/toy/8-2-64-tp1.csv"


def test_a_complete_folder_is_read_in_file_order(tmp_path):
    tables = load_tables(write_folder(tmp_path))
    assert tables.gpu == "toy"
    assert tables.gemm is not None
    assert [row.key for row in tables.gemm.rows] == [(8, 100, 200), (16, 100, 200), (8, 300, 400), (32, 300, 400)]
    assert tables.gemm.rows[0].line == 2
    assert list(tables.prefill) == [AttentionShape(8, 2, 64)]
    assert [tp for _, tp in tables.decode] == [1, 4]
    assert tables.decode[(AttentionShape(8, 2, 64), 1)].path == DECODE_PATH


def test_windows_line_ends_and_a_missing_last_newline_are_accepted(tmp_path):
    folder = write_folder(tmp_path, {GEMM_PATH: GEMM.replace("\n", "\r\n").rstrip()})
    assert len(load_tables(folder).gemm.rows) == 4


def test_the_digest_changes_with_any_byte_and_with_nothing_else(tmp_path):
    one = load_tables(write_folder(tmp_path / "a"))
    same = load_tables(write_folder(tmp_path / "b"))
    other = load_tables(write_folder(tmp_path / "c", {PREFILL_PATH: PREFILL.replace("0.4", "0.5")}))
    assert one.sha256 == same.sha256 != other.sha256


BAD_ROWS = {
    "missing header": (GEMM_PATH, GEMM.split("\n", 1)[1], ":1: the header must be"),
    "empty file": (GEMM_PATH, "", ":1: the header must be"),
    "wrong header": (PREFILL_PATH, PREFILL.replace("seq_len", "length"), ":1: the header must be"),
    "no row": (GEMM_PATH, GEMM_HEADER + "\n", "no row"),
    "too few columns": (GEMM_PATH, GEMM + "8,1,2,3.0\n", ":6: has 4 columns, expected 5"),
    "too many columns": (GEMM_PATH, GEMM + "8,1,2,3.0,0.1,9\n", ":6: has 6 columns, expected 5"),
    "blank line": (GEMM_PATH, GEMM.replace("\n16", "\n\n16"), ":3: has 1 columns"),
    "nan latency": (GEMM_PATH, GEMM + "8,1,2,nan,0.1\n", ":6: latency_us must be a finite number"),
    "infinite mfu": (GEMM_PATH, GEMM + "8,1,2,3.0,inf\n", ":6: mfu must be a finite number"),
    "overflowing latency": (GEMM_PATH, GEMM + "8,1,2,1e999,0.1\n", ":6: latency_us must be a finite number"),
    "negative latency": (GEMM_PATH, GEMM + "8,1,2,-3.0,0.1\n", ":6: latency_us must be above 0"),
    "zero latency": (GEMM_PATH, GEMM + "8,1,2,0,0.1\n", ":6: latency_us must be above 0"),
    "latency below a nanosecond": (GEMM_PATH, GEMM + "8,1,2,1e-320,0.1\n", ":6: latency_us must be between 0.001"),
    "latency of years": (GEMM_PATH, GEMM + "8,1,2,1e300,0.1\n", ":6: latency_us must be between 0.001"),
    "mfu beyond any peak": (GEMM_PATH, GEMM + "8,1,2,3.0,1e300\n", ":6: mfu must be at most 1000"),
    "negative mfu": (GEMM_PATH, GEMM + "8,1,2,3.0,-0.1\n", ":6: mfu must be at least 0"),
    "fractional size": (GEMM_PATH, GEMM + "8.5,1,2,3.0,0.1\n", ":6: m must be a whole number"),
    "zero size": (DECODE_PATH, DECODE + "bf16,bf16,0,5,3.0,0.1\n", ":7: batch_size must be a whole number"),
    "underscored size": (GEMM_PATH, GEMM + "8_0,1,2,3.0,0.1\n", ":6: m must be a whole number"),
    "duplicate gemm": (GEMM_PATH, GEMM + "8,100,200,3.0,0.1\n", ":6: repeats the sizes of line 2"),
    "duplicate prefill": (PREFILL_PATH, PREFILL + "bf16,1000,3.0,0.1\n", ":4: repeats the sizes of line 2"),
    "duplicate decode": (DECODE_PATH, DECODE + "bf16,bf16,5,1000,3.0,0.1\n", ":7: repeats the sizes of line 4"),
    "mixed types": (PREFILL_PATH, PREFILL + "fp8,4000,3.0,0.1\n", ":4: has other data types than line 2"),
    "no type": (PREFILL_PATH, PREFILL + ",4000,3.0,0.1\n", ":4: dtype must be a type name"),
    "not text": (GEMM_PATH, b"\xff\xfe", ":1: is not UTF-8"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_table_is_refused_with_file_and_line(tmp_path, case):
    path, content, message = BAD_ROWS[case]
    folder = write_folder(tmp_path)
    (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TableError) as caught:
        load_tables(folder)
    assert str(folder / path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "name", ["mha/prefill/toy/8-2.csv", "mha/decode/toy/8-2-64.csv", "mha/decode/toy/8-2-64-tp0.csv"]
)
def test_a_file_name_without_a_shape_is_refused(tmp_path, name):
    with pytest.raises(TableError, match="file name"):
        load_tables(write_folder(tmp_path, {name: PREFILL}))


def test_a_folder_that_is_not_there_or_empty_is_refused(tmp_path):
    with pytest.raises(TableError, match="is not a folder"):
        load_tables(tmp_path / "nowhere")
    with pytest.raises(TableError, match="has no kernel tables"):
        load_tables(tmp_path)
    with pytest.raises(TableError, match="no kernel table for GPU 'b200'"):
        load_tables(write_folder(tmp_path), gpu="b200")


def test_two_gpus_in_one_folder_must_be_told_apart(tmp_path):
    folder = write_folder(tmp_path, {"gemm/other/data.csv": GEMM})
    with pytest.raises(TableError, match=r"several GPUs \(other, toy\)"):
        load_tables(folder)
    assert load_tables(folder, gpu="other").prefill == {}


HEADERS = {GEMM_PATH: GEMM_HEADER, PREFILL_PATH: PREFILL_HEADER, DECODE_PATH: DECODE_HEADER}
CELL = st.one_of(
    st.integers(-5, 10**6).map(str),
    st.floats().map(repr),
    st.sampled_from(["", "bf16", "NaN", "1e400", "-0", "0x10", '"1"', "\u0663", "1\u2028", "9" * 5000]),
    st.text(max_size=6),
)
LINE = st.lists(CELL, min_size=1, max_size=7).map(",".join)


@settings(max_examples=150, deadline=None)
@given(
    path=st.sampled_from(sorted(HEADERS)),
    lines=st.lists(LINE, max_size=4),
    keep_header=st.booleans(),
    raw=st.binary(max_size=40),
)
def test_garbage_is_read_or_refused_cleanly_never_anything_else(path, lines, keep_header, raw):
    header = [HEADERS[path]] if keep_header else []
    text = "\n".join([*header, *lines]).encode("utf-8", "surrogatepass") + (raw if not keep_header else b"")
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_folder(Path(scratch))
        (folder / path).write_bytes(text)
        tables, refusal = _read_or_refusal(folder)
    if tables is None:
        assert str(folder / path) in refusal
    else:
        assert all(row.latency_us > 0 and row.mfu >= 0 for table in tables.tables() for row in table.rows)


def _read_or_refusal(folder):
    try:
        return load_tables(folder), ""
    except TableError as error:
        return None, str(error)


def test_the_reference_tables_are_read_completely(shared_dir):
    tables = load_tables(shared_dir / "bench_data")
    assert tables.gpu == "h100"
    assert len(tables.gemm.rows) == 112
    assert sum(len(table.rows) for table in tables.prefill.values()) == 30
    assert sum(len(table.rows) for table in tables.decode.values()) == 755
