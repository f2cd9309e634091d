"""Whatever a file holds, it is read or refused with one message: file, what is wrong, what is allowed."""

import csv
import gzip
import time

import pytest

from simulator.errors import ConfigError
from simulator.input_files import (
    LARGEST_INTEGER,
    MOST_BYTES,
    MOST_CELL_CHARACTERS,
    MOST_LEVELS,
    MOST_VALUES,
    csv_records,
    parse_json,
    parse_yaml,
    read_json,
    read_text,
    read_yaml,
)

DEEP = 100_000
# Of processor time, far above what any of these takes: what grows with each alias would need hours.
MOST_SECONDS = 60.0


def refusal(read, *arguments, **named):
    started = time.process_time()
    with pytest.raises(ConfigError) as caught:
        read(*arguments, **named)
    assert time.process_time() - started < MOST_SECONDS
    return str(caught.value)


def alias_bomb(opening, entry, closing, generations=12):
    lines = [f"a0: &a0 {opening}{entry.format(key='k', value='lol')}{closing}"]
    for number in range(1, generations):
        repeated = ", ".join(entry.format(key=f"k{i}", value=f"*a{number - 1}") for i in range(9))
        lines.append(f"a{number}: &a{number} {opening}{repeated}{closing}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * DEEP, f"f.yaml:1: not valid YAML: nested more than {MOST_LEVELS} levels deep; write it flatter"),
        ("{a: " * DEEP, f"nested more than {MOST_LEVELS} levels deep"),
        ("- " * DEEP, f"nested more than {MOST_LEVELS} levels deep"),
        ("\n".join(" " * level + "a:" for level in range(500)), f"f.yaml:{MOST_LEVELS}: not valid YAML: nested more"),
        (alias_bomb("[", "{value}", "]"), f"its aliases (*name) make more than {MOST_VALUES} values"),
        (alias_bomb("{{".format(), "{key}: {value}", "}}".format()), f"make more than {MOST_VALUES} values"),
        ("[" + "1," * (MOST_VALUES + 1) + "]", f"more than {MOST_VALUES} keys and values; split the file"),
        ("a: &a [*a]", "f.yaml:1: not valid YAML: an alias (*name) stands inside what it repeats"),
        ("&a {k: *a}", "an alias (*name) stands inside what it repeats"),
        ("a: *b", "found undefined alias"),
        ("a: 1\na: 2", "f.yaml:2: not valid YAML: key 'a' is given twice"),
        ("yes: 1\non: 2", "f.yaml:2: not valid YAML: key 'True' is given twice"),
        ("1: 1\n0x1: 2", "key '1' is given twice"),
        ("a: 1\nb:\n  <<: 5", "expected a mapping"),
        ("a: !!python/object/apply:os.system [x]", "the tag '!!python/object/apply:os.system' belongs to a program"),
        ("a: !!binary abc", "the tag '!!binary' belongs to a program"),
        ("a: !mine 3", "the tag '!mine' belongs to a program"),
        ("a: !!bool maybe", "f.yaml:1: not valid YAML: 'maybe' is no bool"),
        ("b: 1\na: 2024-13-45", "f.yaml:2: not valid YAML: '2024-13-45' is no timestamp (month must be in 1..12)"),
        ("a: " + "9" * 5000, f"a whole number of 5000 digits; at most {LARGEST_INTEGER}"),
        ("a: 0x" + "f" * 5000, f"at most {LARGEST_INTEGER}"),
        (f"a: -{LARGEST_INTEGER + 1}", f"at most {LARGEST_INTEGER}"),
        ('a: "\0"', "f.yaml: not valid YAML: control characters are not allowed"),
        ("a: [1, 2", "not valid YAML: while parsing a flow sequence"),
        ("a: 1\n---\nb: 2", "another document"),
        ("? [a]\n: 1", "unhashable key"),
        ("a: \ud800", "save the file as UTF-8"),
        ('a: "b\\0"', r"the text 'b\x00' holds control characters; write printable text"),
        ('a: "\\e[1mbold"', "holds control characters"),
    ],
    ids=range(29),
)
def test_what_yaml_may_not_hold_is_one_message_at_once(text, told):
    assert told in refusal(parse_yaml, text, source="f.yaml")


def test_yaml_reads_up_to_its_limits():
    deep = "[" * MOST_LEVELS + "]" * MOST_LEVELS
    assert str(parse_yaml(deep, source="f.yaml")) == deep
    assert len(parse_yaml("[" + "1," * 100_000 + "]", source="f.yaml")) == 100_000
    assert parse_yaml(f"a: {LARGEST_INTEGER}", source="f.yaml") == {"a": LARGEST_INTEGER}


def test_anchors_and_merge_keys_are_read_wherever_they_stand():
    text = "z: {b: &b {<<: &a {x: 1, y: 2}, y: 3}}\nc: {<<: *b, x: 4}\nd: {<<: [*a, *b]}\n"
    assert parse_yaml(text, source="f.yaml") == {
        "z": {"b": {"x": 1, "y": 3}},
        "c": {"x": 4, "y": 3},
        "d": {"x": 1, "y": 2},
    }


def test_a_number_of_yaml_is_what_a_person_reads():
    text = "[010, 1:30, 0o7, 1_000, 0x10, .inf, -.inf, .nan, 1.0e999, 1:30.5, 007.5, on, 3.5]"
    assert parse_yaml(text, source="f.yaml") == [
        *("010", "1:30", "0o7", 1000, 16, ".inf", "-.inf", ".nan", "1.0e999", "1:30.5", 7.5, True, 3.5)
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * DEEP, f"f.json: not valid JSON: nested more than {MOST_LEVELS} levels deep; write it flatter"),
        ('{"a":' * DEEP, f"nested more than {MOST_LEVELS} levels deep"),
        ("[" * 900 + "]" * 900, f"nested more than {MOST_LEVELS} levels deep"),
        ("9" * 5000, f"a whole number of 5000 digits; at most {LARGEST_INTEGER}"),
        (str(LARGEST_INTEGER + 1), f"at most {LARGEST_INTEGER}"),
        ('{"a": NaN}', "NaN is not a number; write null for what was not measured"),
        ('{"a": -Infinity}', "-Infinity is not a number"),
        ('{"a": 1, "a": 2}', "key 'a' is given twice"),
        ('{"a": 1\n,}', "f.json:2: not valid JSON"),
        ("", "f.json:1: not valid JSON: Expecting value (column 1)"),
        ('{"a": 1}{"b": 2}', "Extra data"),
    ],
    ids=range(11),
)
def test_what_json_may_not_hold_is_one_message_at_once(text, told):
    assert told in refusal(parse_json, text, source="f.json")


def test_brackets_in_quoted_text_do_not_nest():
    assert parse_json('{"a": "' + "[" * 500 + '\\"' + "{" * 500 + '"}', source="f.json") == {
        "a": "[" * 500 + '"' + "{" * 500
    }


@pytest.mark.parametrize("read", [read_yaml, read_json, read_text])
def test_every_file_may_begin_with_a_byte_order_mark(read, tmp_path):
    plain, marked = tmp_path / "plain", tmp_path / "marked"
    plain.write_bytes(b'{"a": 1}')
    marked.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read(plain) == read(marked)


@pytest.mark.parametrize("read", [read_yaml, read_json, read_text])
def test_a_file_that_cannot_be_read_is_named_once_with_what_to_do(read, tmp_path):
    path = tmp_path / "f"
    told = refusal(read, path)
    assert told == f"{path}: cannot be read: No such file or directory; check the name, or put the file there"
    assert refusal(read, tmp_path) == f"{tmp_path}: cannot be read: Is a directory; give a file that can be read"
    path.write_text("a: ä", encoding="utf-16")
    assert refusal(read, path).endswith("invalid start byte; save the file as UTF-8")
    path.write_bytes(gzip.compress(b"a: 1")[:-6])
    assert refusal(read, path).endswith("; is the file complete?")
    path.write_bytes(gzip.compress(b" " * (MOST_BYTES + 1)))
    assert refusal(read, path).startswith(f"{path}: larger than 16 MiB, the most that is read of such a file")


def test_a_long_cell_or_a_missing_quote_of_a_table_is_one_message_with_its_line():
    assert csv.field_size_limit() == MOST_CELL_CHARACTERS
    long = "a,b\n1," + "x" * (MOST_CELL_CHARACTERS + 1) + "\n"
    assert refusal(lambda: list(csv_records(long.splitlines(), "t.csv"))) == (
        f"t.csv:2: not valid CSV: a cell of more than {MOST_CELL_CHARACTERS} characters; is a quotation mark missing?"
    )
    assert "t.csv:1: not valid CSV" in refusal(lambda: list(csv_records(['a,"b'], "t.csv")))
    assert list(csv_records(['a,"b', 'c"', "", "1,2", ""], "t.csv")) == [(2, ["a", "b" + "c"]), (4, ["1", "2"])]
