"""JSON is read value by value: the same values as at once, bounded memory, one message when broken."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roofline_lab.ground_truth import json_stream
from roofline_lab.ground_truth.json_stream import EACH, stream_top, stream_values
from simulator.errors import ConfigError

FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def read(path, *patterns):
    return list(stream_values(path, frozenset(patterns)))


def written(tmp_path, text):
    path = tmp_path / "values.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_come_with_their_place_in_file_order(tmp_path):
    path = written(tmp_path, ' {"a": [1, {"b": 2}], "c": {"d": []} , "e": "x"}\n')
    assert read(path, (), ("a",)) == [(("a", 0), 1), (("a", 1), {"b": 2}), (("c",), {"d": []}), (("e",), "x")]
    assert read(path) == [((), {"a": [1, {"b": 2}], "c": {"d": []}, "e": "x"})]
    assert read(path, (), ("a",), ("a", EACH))[1] == (("a", 1, "b"), 2)


@given(VALUES, st.integers(1, 7))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_is_the_same_whatever_the_chunks(tmp_path, value, chunk):
    path = written(tmp_path, json.dumps({"list": [value, 12345], "last": 0.25}))
    before, json_stream.CHUNK_CHARACTERS = json_stream.CHUNK_CHARACTERS, chunk
    try:
        found = read(path, (), ("list",))
    finally:
        json_stream.CHUNK_CHARACTERS = before
    assert found == [(("list", 0), value), (("list", 1), 12345), (("last",), 0.25)]


def test_memory_is_bounded_by_the_largest_value_and_not_by_the_file(tmp_path):
    path = tmp_path / "large.json"
    entry = json.dumps({"text": "word " * 200, "value": 1.5})
    with path.open("w", encoding="utf-8") as stream:
        stream.write('{"requests": [' + ",\n".join([entry] * 8000) + "]}")
    size = path.stat().st_size
    tracemalloc.start()
    total = sum(value["value"] for _, value in stream_values(path, frozenset({(), ("requests",)})))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 12_000
    assert peak < size / 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Expecting value; is the file complete?"),
        ('{"a": [1, 2', "a comma or a closing bracket is expected; is the file complete?"),
        ('{"a": [1, {"b": 2', "is the file complete?"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": [1, -Infinity]}', "-Infinity is not a number"),
        ('{"a" 1}', "a colon is expected after the key 'a'"),
        ('{"a": 1 "b": 2}', "a comma or a closing brace is expected"),
        ("{a: 1}", "a key in double quotes is expected"),
        ('{"a": 1} {"b": 2}', "there is more behind the end of the value"),
        ('{"c": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"c": ' + "9" * 6000 + "}", "not valid JSON"),
    ],
)
def test_a_broken_file_is_one_message_with_file_and_position(tmp_path, text, problem):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read(path, (), ("a",))
    assert str(caught.value).startswith(f"{path}: not valid JSON at character ")
    assert problem in str(caught.value)


def test_the_position_of_a_problem_is_counted_over_all_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "CHUNK_CHARACTERS", 4)
    path = written(tmp_path, '{"a": [10, 20, 30}')
    with pytest.raises(ConfigError, match=r"at character 18: a comma or a closing bracket"):
        read(path, (), ("a",))


def test_a_value_too_large_to_decode_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "MAX_VALUE_CHARACTERS", 1000)
    monkeypatch.setattr(json_stream, "CHUNK_CHARACTERS", 100)
    path = written(tmp_path, json.dumps({"a": list(range(2000))}))
    with pytest.raises(ConfigError, match="a single value is longer than 1000 characters"):
        read(path, ())
    assert len(read(path, (), ("a",))) == 2000


@pytest.mark.parametrize("content", [b"\xff\xfe{}", b"\x00\x01\x02", b'{"a": "\xc3"}'])
def test_bytes_that_are_no_text_are_one_message(tmp_path, content):
    path = tmp_path / "values.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"values\.json"):
        read(path, ())


def test_a_missing_file_is_one_message(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read"):
        read(tmp_path / "none.json")


def test_keys_come_before_their_values_are_read(tmp_path):
    path = written(tmp_path, '{"a": [1, {"b": []}], "c": {}, "mark": NaN, "d": 1}')
    top = stream_top(path)
    assert [next(top)[0] for _ in range(3)] == ["a", "c", "mark"]
    with pytest.raises(ConfigError, match="NaN is not a number"):
        next(top)


def test_single_values_come_with_their_keys_and_containers_without(tmp_path):
    path = written(tmp_path, '{"tool": "x", "a": [1], "n": 2, "o": {"tool": "y"}, "last": null}')
    assert list(stream_top(path)) == [("tool", "x"), ("a", None), ("n", 2), ("o", None), ("last", None)]


@pytest.mark.parametrize("text", ["[]", "[1, 2]", '"text"', "{}", " 3 "])
def test_a_file_without_an_object_has_no_keys(tmp_path, text):
    assert list(stream_top(written(tmp_path, text))) == []


def test_keys_of_a_file_nested_without_end_are_one_message(tmp_path):
    with pytest.raises(ConfigError, match="nested too deeply"):
        list(stream_top(written(tmp_path, '{"a": ' + "[" * 100_000)))


def test_keys_are_read_in_bounded_memory(tmp_path):
    path = tmp_path / "large.json"
    entry = json.dumps({"text": "word " * 200})
    with path.open("w", encoding="utf-8") as stream:
        stream.write('{"requests": {"all": [' + ",\n".join([entry] * 8000) + ']}, "mark": 1}')
    tracemalloc.start()
    assert list(stream_top(path)) == [("requests", None), ("mark", 1)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 4
