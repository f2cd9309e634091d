"""A file is there completely or not at all; hashes depend on content and names alone."""

from __future__ import annotations

import os

import pytest

from roofline_lab.files import csv_text, digest_of, digest_of_files, hash_list, json_text, write_text
from roofline_lab.jobs.findings import replace_report
from roofline_lab.jobs.paths import PAGE

OLD, NEW = "old\n", "new\n" * 1000


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_write_creates_folders_and_replaces_the_old_text(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    write_text(path, OLD)
    write_text(path, NEW)
    assert path.read_text(encoding="utf-8") == NEW
    assert names(path.parent) == ["file.txt"]


def test_text_is_written_as_is_without_translating_line_ends(tmp_path):
    write_text(tmp_path / "file.txt", "ä\nb\r\nc")
    assert (tmp_path / "file.txt").read_bytes() == "ä\nb\r\nc".encode()


def test_a_file_can_be_read_by_others_whatever_temporary_files_are(tmp_path):
    write_text(tmp_path / "file.txt", OLD)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("failing", ["replace", "write"])
def test_a_write_that_fails_leaves_the_old_file_and_no_partial_one(tmp_path, monkeypatch, failing):
    path = tmp_path / "file.txt"
    write_text(path, OLD)

    def fail(*_args, **_keys):
        raise OSError("disk full")

    target = (os, "fdopen") if failing == "write" else (type(path), "replace")
    monkeypatch.setattr(*target, fail)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, NEW)
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == OLD
    assert names(tmp_path) == ["file.txt"]


def test_an_interrupted_write_leaves_no_partial_file_either(tmp_path, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(tmp_path), "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "file.txt", NEW)
    assert names(tmp_path) == []


def test_a_reader_never_sees_a_mixture_because_the_name_moves_at_once(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_text(path, OLD)
    seen = []
    original = type(path).replace

    def spy(temporary, target):
        seen.append((path.read_text(encoding="utf-8"), temporary.read_text(encoding="utf-8")))
        return original(temporary, target)

    monkeypatch.setattr(type(path), "replace", spy)
    write_text(path, NEW)
    assert seen == [(OLD, NEW)]


# --- a report folder --------------------------------------------------------------------------------

REPORT = {"numbers.csv": "n\n", "figures/a.svg": "<svg/>\n", PAGE: "# page\n"}


@pytest.mark.parametrize("killed_after", range(len(REPORT)))
def test_a_report_interrupted_at_any_file_has_no_page(tmp_path, killed_after):
    folder = tmp_path / "report"
    replace_report(folder, {**REPORT, PAGE: "# old page\n"})
    written = []

    def dying(path, text):
        if len(written) == killed_after:
            raise KeyboardInterrupt
        written.append(path.name)
        write_text(path, text)

    with pytest.raises(KeyboardInterrupt):
        replace_report(folder, REPORT, dying)
    assert not (folder / PAGE).exists()
    assert PAGE not in written


def test_a_finished_report_has_exactly_its_files_and_the_page_is_the_newest(tmp_path):
    folder = tmp_path / "report"
    (folder / "figures").mkdir(parents=True)
    for stale in ("old.md", "figures/old.svg", ".FINDINGS.md.x1.partial"):
        (folder / stale).write_text("stale", encoding="utf-8")
    order = []

    def spy(path, text):
        order.append(path.name)
        write_text(path, text)

    replace_report(folder, REPORT, spy)
    found = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert found == REPORT
    assert order[-1] == PAGE


# --- text and hashes --------------------------------------------------------------------------------


def test_json_is_sorted_ends_with_a_newline_and_refuses_nan():
    assert json_text({"b": 1, "a": [2]}) == '{\n  "a": [\n    2\n  ],\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"a": float("nan")})


def test_csv_quotes_what_needs_it_and_uses_unix_line_ends():
    assert csv_text(["a", "b"], [["x,y", 1], ['"', ""]]) == 'a,b\n"x,y",1\n"""",\n'


def test_a_digest_depends_on_values_and_not_on_the_order_of_keys():
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


def test_a_hash_of_files_depends_on_content_and_relative_name_only(tmp_path):
    digests = []
    for root in (tmp_path / "here", tmp_path / "there"):
        write_text(root / "a.txt", "1")
        write_text(root / "b.txt", "2")
        digests.append(digest_of_files([root / "b.txt", root / "a.txt"], root))
        assert digest_of_files([root / "a.txt", root / "b.txt"], root) == digests[-1]
    assert digests[0] == digests[1]
    write_text(tmp_path / "here" / "a.txt", "3")
    assert digest_of_files([tmp_path / "here" / name for name in ("a.txt", "b.txt")], tmp_path / "here") != digests[0]
    assert "here" not in hash_list([tmp_path / "here" / "a.txt"], tmp_path / "here")
