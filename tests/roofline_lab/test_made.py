"""A result is used as it was made or not at all: one hash per file, in a ledger that a kill cannot spoil."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from roofline_lab import made
from roofline_lab.files import libraries
from simulator.errors import ConfigError

ROWS = Path("results/h1/rows/m/a.jsonl")
OTHER = Path("results/h1/rows/m/b.jsonl")


def refusal(path, root):
    with pytest.raises(ConfigError) as caught:
        made.read_made(path, root)
    return str(caught.value)


def test_what_was_made_is_read_back_as_it_was(tmp_path):
    made.write_made(ROWS, "µ\n", tmp_path)
    assert made.read_made(ROWS, tmp_path) == "µ\n"
    assert made.is_as_made(ROWS, tmp_path)


@pytest.mark.parametrize("content", [b"", b"two\n", b"one", b"\xff\xfe", b"one\n\n"])
def test_another_content_is_refused_with_the_file_and_what_to_do(tmp_path, content):
    made.write_made(ROWS, "one\n", tmp_path)
    (tmp_path / ROWS).write_bytes(content)
    assert refusal(ROWS, tmp_path) == f"{ROWS}: was changed after it was made; {made.AGAIN}"
    assert made.discard_changed([Path("results/h1")], tmp_path) == [ROWS]
    assert refusal(ROWS, tmp_path) == f"{ROWS}: is not there; {made.AGAIN}"


def test_files_exchanged_for_each_other_and_files_nobody_made_are_refused(tmp_path):
    for path, text in ((ROWS, "one"), (OTHER, "two")):
        made.write_made(path, text, tmp_path)
    for path, text in ((ROWS, "two"), (OTHER, "one")):
        (tmp_path / path).write_text(text, encoding="utf-8")
    foreign = Path("results/h1/rows/m/c.jsonl")
    (tmp_path / foreign).write_text("three", encoding="utf-8")
    with pytest.raises(ConfigError, match=f"{ROWS}, {OTHER}, {foreign}: not there, or changed"):
        made.require_made([ROWS, OTHER, foreign], tmp_path)


def test_the_last_entry_of_a_file_counts_and_a_tidy_ledger_holds_one_of_each(tmp_path):
    for text in ("one", "two", "one"):
        made.write_made(ROWS, text, tmp_path)
    made.write_made(OTHER, "gone", tmp_path)
    (tmp_path / OTHER).unlink()
    made.tidy_ledger(tmp_path)
    text = (tmp_path / made.LEDGER).read_text(encoding="utf-8")
    assert text == f"{hashlib.sha256(b'one').hexdigest()}  {ROWS}\n"
    assert made.read_made(ROWS, tmp_path) == "one"
    checked = subprocess.run(["sha256sum", "-c", made.LEDGER], cwd=tmp_path, capture_output=True, check=False)
    assert checked.returncode == 0


@pytest.mark.parametrize("spoil", [lambda text: text[:40], lambda text: b"", lambda text: b"\xff\x00  \n" * 9])
def test_a_spoilt_ledger_proves_nothing_and_takes_new_entries(tmp_path, spoil):
    made.write_made(ROWS, "one", tmp_path)
    ledger = tmp_path / made.LEDGER
    ledger.write_bytes(spoil(ledger.read_bytes()))
    assert not made.is_as_made(ROWS, tmp_path)
    made.write_made(OTHER, "two", tmp_path)
    assert made.read_made(OTHER, tmp_path) == "two"


def test_many_threads_lose_no_entry(tmp_path):
    paths = [Path(f"results/h1/rows/m/{number}.jsonl") for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: made.write_made(path, path.name, tmp_path), paths))
    made.require_made(paths, tmp_path)


def test_a_file_written_again_with_its_content_keeps_its_time_and_an_edited_one_does_not(tmp_path):
    made.write_made(ROWS, "one", tmp_path)
    os.utime(tmp_path / ROWS, (1, 1))
    made.write_made_if_changed(ROWS, "one", tmp_path)
    assert (tmp_path / ROWS).stat().st_mtime == 1
    (tmp_path / ROWS).write_text("edited", encoding="utf-8")
    made.write_made_if_changed(ROWS, "one", tmp_path)
    assert made.read_made(ROWS, tmp_path) == "one"


def test_a_result_that_bears_a_time_yet_to_come_is_made_again(tmp_path):
    """What is changed from now on would seem older than it, and nothing would run."""
    for path in (ROWS, OTHER):
        made.write_made(path, "one", tmp_path)
    os.utime(tmp_path / ROWS, (time.time() + 3600, time.time() + 3600))
    assert made.discard_changed([Path("results/h1")], tmp_path) == [ROWS]


def test_a_link_to_nowhere_is_no_result(tmp_path):
    made.write_made(OTHER, "one", tmp_path)
    (tmp_path / ROWS).symlink_to("nowhere")
    assert made.discard_changed([Path("results/h1")], tmp_path) == [ROWS]
    assert not (tmp_path / ROWS).is_symlink()


def test_libraries_whose_release_may_show_in_results_are_named_with_it():
    names = [line.split()[0] for line in libraries().splitlines()]
    assert names == ["python", "numpy", "pandas", "jinja2"]
    assert "not there" not in libraries()


# --- machines of a cluster ----------------------------------------------------------------------------


@pytest.fixture
def on_a_machine(monkeypatch):
    """Return a function that lets this process be one that runs jobs on a machine of some name."""
    monkeypatch.setattr(made, "_own", made.LEDGER)

    def become(name):
        monkeypatch.setattr("platform.node", lambda: name)
        made.enter_apart()

    return become


def test_machines_of_a_cluster_enter_what_they_make_each_into_a_ledger_of_its_own(tmp_path, on_a_machine):
    made.write_made(OTHER, "by the user's process", tmp_path)
    common = (tmp_path / made.LEDGER).read_bytes()
    for name, path in (("node1", ROWS), ("node2", Path("results/h1/verdict.json"))):
        on_a_machine(name)
        made.write_made(path, name, tmp_path)
        assert path.as_posix() in (tmp_path / f"results/made.{name}.sha256").read_text(encoding="utf-8")
        assert made.read_made(path, tmp_path) == name
    assert (tmp_path / made.LEDGER).read_bytes() == common


def test_the_next_run_puts_the_lines_of_machines_into_the_common_ledger(tmp_path, on_a_machine):
    made.write_made(ROWS, "earlier", tmp_path)
    on_a_machine("node1")
    made.write_made(ROWS, "by a machine", tmp_path)
    made.tidy_ledger(tmp_path)
    assert [path.name for path in (tmp_path / "results").glob("made*")] == [made.LEDGER.name]
    assert made.read_made(ROWS, tmp_path) == "by a machine"
    assert made.discard_changed([Path("results/h1")], tmp_path) == []
