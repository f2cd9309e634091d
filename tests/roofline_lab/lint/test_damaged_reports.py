"""A committed report that was edited or badly merged: lint and comparison name file and key, and judge nothing."""

from __future__ import annotations

import json
import random

import pytest

from roofline_lab.lint.lint import run
from roofline_lab.lint.rules import Subject, file_of
from roofline_lab.project import load_project
from roofline_lab.regression.reading import read_snapshot
from roofline_lab.regression.sources import Source
from simulator.errors import ConfigError
from tests.paths import ROOT
from tests.roofline_lab.builders import HYPOTHESIS, copy_project

REPORT = f"reports/{HYPOTHESIS}"
JSON_FILES = ("verdict.json", "provenance.json", "expectations.json")
FILES = (*JSON_FILES, "numbers.csv", "FINDINGS.md")
VALUES = ([], {}, None, "x", -1, 0.5, True, [1], {"a": 1}, 10**400, "9" * 5000, "\x85", ["corrected"], "NaN")
RAW = (b"", b"NaN", b"-0", b"1.", b"[]", b"{}", b"\xb1\x00", b"[" * 10**5, b"9" * 5000, b'{"a":1,"a":2}', b"\xff\xfe{}")
FOREIGN = (b"", b"\xb1", b"\x00", b'"', b",,,", b"\n<<<<<<< HEAD\n", b"9" * 200_000)
PER_FILE = 30


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """Return a copy of the project that may be damaged, as loaded."""
    names = ("configs", "ground_truth", "hypotheses", "simulator", "reports")
    return load_project(copy_project(tmp_path_factory.mktemp("copied") / "project", names))


@pytest.fixture
def report(copied):
    """Return the folder of a report; whatever a test does to its files is undone."""
    folder = copied.root / REPORT
    before = {name: (folder / name).read_bytes() for name in FILES}
    yield folder
    for name, content in before.items():
        (folder / name).write_bytes(content)


def _places(value, place=()):
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from _places(one, (*place, key))


def _spoilt_json(content, drawn):
    """Return a document in which one value is another, or gone."""
    document = json.loads(content)
    *path, last = drawn.choice([place for place in _places(document) if place])
    holder = document
    for key in path:
        holder = holder[key]
    if drawn.random() < 0.3:
        del holder[last]
    else:
        holder[last] = drawn.choice(VALUES)
    return json.dumps(document).encode()


def _spoilt_bytes(content, drawn):
    """Return content that is cut off, doubled in part, or has foreign bytes in it."""
    at, length = drawn.randrange(len(content)), drawn.randrange(1, 40)
    foreign = drawn.choice((*FOREIGN, content[at : at + length]))
    return content[:at] + foreign + content[at + drawn.choice((0, length)) :]


def _spoilt(name, content, drawn):
    if drawn.random() < 0.2:
        return drawn.choice(RAW)
    if name in JSON_FILES and drawn.random() < 0.7:
        return _spoilt_json(content, drawn)
    return _spoilt_bytes(content, drawn)


def _refusal(work):
    """Return the message with which something is refused; empty where it is not."""
    try:
        work()
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", FILES)
def test_the_lint_names_a_damaged_file_of_a_report_and_never_breaks(copied, report, name):
    drawn, content, told = random.Random(name), (report / name).read_bytes(), []
    for _ in range(PER_FILE):
        (report / name).write_bytes(_spoilt(name, content, drawn))
        told.append(_refusal(lambda: run(copied, [HYPOTHESIS])))
    refused = [message for message in told if message]
    assert len(refused) >= PER_FILE // 10
    assert all(f"{REPORT}/{name}" in message for message in refused)


@pytest.mark.parametrize("name", ["verdict.json", "numbers.csv"])
def test_a_comparison_names_a_damaged_file_of_a_report_and_never_breaks(name):
    drawn, told = random.Random(name), []
    files = {f"{REPORT}/{one}": (ROOT / REPORT / one).read_bytes() for one in FILES}
    for _ in range(PER_FILE):
        spoilt = files | {f"{REPORT}/{name}": _spoilt(name, files[f"{REPORT}/{name}"], drawn)}
        told.append(_refusal(lambda: read_snapshot(Source("mine", "", spoilt))))  # noqa: B023 - called at once
    refused = [message for message in told if message]
    assert len(refused) >= PER_FILE // 10
    assert all(f"{REPORT}/{name}" in message for message in refused)


def test_all_damaged_files_of_all_reports_are_told_at_once(copied, report):
    for name in FILES:
        (report / name).write_bytes(b"\xb1")
    with pytest.raises(ConfigError) as caught:
        run(copied)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(FILES)
    for name, line in zip(sorted(FILES), sorted(lines), strict=True):
        assert f"{REPORT}/{name}: " in line
        assert "save the file as UTF-8" in line


def test_a_wrong_value_is_told_with_its_key_and_what_to_do(copied, report):
    (report / "expectations.json").write_text('[{"finding": 1, "words": "w", "expected": "1", "observed": 1.0}]')
    [told] = Subject(copied, HYPOTHESIS).problems()
    assert told.startswith(f"{REPORT}/expectations.json: 2 problems")
    assert "expectations.0.expected" in told
    assert "expectations.0.within: missing" in told
    assert told.endswith("restore the file or regenerate the report")


@pytest.mark.parametrize("name", ["a\0b", "x" * 3000, "../" * 50 + "etc/passwd"])
def test_a_name_that_no_file_of_the_project_can_have_is_none(name):
    assert file_of(ROOT, name) is None
