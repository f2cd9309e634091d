"""Without the traces a check still knows an edited page from a stale one, and neither passes for fresh."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest

from roofline_lab.jobs.paths import committed_names
from roofline_lab.project import load_project
from roofline_lab.report import replay
from roofline_lab.report.replay import FOLDER, PROVENANCE, judge, publish
from simulator.errors import ConfigError
from tests.roofline_lab.builders import ROOT, copy_project

NEEDED = ("configs", "ground_truth", "hypotheses", "simulator", "workflow")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Return a copy of the project with its committed page brought up to date."""
    root = copy_project(tmp_path_factory.mktemp("replay") / "project", NEEDED)
    shutil.copytree(ROOT / FOLDER, root / FOLDER)
    lab = load_project(root)
    record = json.loads((root / FOLDER / PROVENANCE).read_text(encoding="utf-8"))
    record["hashes"] = replay._hashes(lab, record["experiments"], replay.load_option_sets(lab))
    (root / FOLDER / PROVENANCE).write_text(json.dumps(record), encoding="utf-8")
    return root


@pytest.fixture
def copied(pristine, tmp_path):
    """Return what judges a changed copy."""
    root = tmp_path / "project"
    shutil.copytree(pristine, root)
    return SimpleNamespace(root=root, page=root / FOLDER, judge=lambda: judge(load_project(root)))


def edit(path, text="\n"):
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_an_untouched_page_is_fresh(pristine):
    told, faults = judge(load_project(pristine))
    assert "as written" in told
    assert faults == []


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("ground_truth/jan21-llama7b-train-1/experiment.yaml", "measurements"),
        ("configs/kernels/h100/analytic.yaml", "models, hardware, kernels"),
    ],
)
def test_a_changed_input_makes_the_page_stale_and_is_named(copied, file, named):
    edit(copied.root / file, "\n# changed\n")
    told, faults = copied.judge()
    assert f"STALE, made before a change of {named};" in told
    assert "roofline-lab replay TRACES --out reports/replay" in told
    assert faults == []


@pytest.mark.parametrize("file", ["simulator/engine/loop.py", "workflow/roofline_lab/predict/replay.py"])
def test_rewritten_code_makes_no_page_stale(copied, file):
    edit(copied.root / file, "\n# changed\n")
    assert copied.judge() == (
        "check replay: the committed page is as written, and its inputs have not changed since",
        [],
    )


@pytest.mark.parametrize(("model", "stale"), [("llama-2-7b-hf", True), ("qwen3-14b", False)])
def test_only_the_models_of_its_experiments_make_a_page_stale(copied, model, stale):
    edit(copied.root / "configs" / "models" / f"{model}.json")
    assert ("STALE" in copied.judge()[0]) is stale


def test_another_option_makes_the_page_stale(copied):
    path = copied.root / "configs" / "replay.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("arm: scaled", "arm: fixed"), encoding="utf-8")
    assert "STALE, made before a change of options" in copied.judge()[0]


def test_an_option_set_that_no_longer_exists_makes_the_page_stale_and_stops_nothing(copied):
    path = copied.root / "configs" / "replay.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("arm: scaled", "arm: gone"), encoding="utf-8")
    told, faults = copied.judge()
    assert "STALE" in told
    assert "unknown 'gone'" in told
    assert faults == []


@pytest.mark.parametrize("name", ["REPLAY.md", "numbers.csv", "signed_errors.svg"])
def test_an_edited_file_is_a_failure_even_if_nothing_else_changed(copied, name):
    edit(copied.page / name)
    told, faults = copied.judge()
    assert "differs" in told
    assert [fault[0] for fault in faults] == [f"{FOLDER.as_posix()}/{name}"]
    assert "is not as it was written" in faults[0][2]


def test_a_missing_and_a_foreign_file_are_failures(copied):
    (copied.page / "numbers.csv").unlink()
    (copied.page / "notes.txt").write_text("mine", encoding="utf-8")
    faults = dict((fault[0], fault[2]) for fault in copied.judge()[1])
    assert "missing from the report" in faults["reports/replay/numbers.csv"]
    assert "belongs to no replay" in faults["reports/replay/notes.txt"]


@pytest.mark.parametrize("content", ["", "[]", "{}", "{broken", '{"files": 3}'])
def test_a_page_without_a_record_is_a_failure(copied, content):
    (copied.page / PROVENANCE).write_text(content, encoding="utf-8")
    assert [fault[0] for fault in copied.judge()[1]] == [f"reports/replay/{PROVENANCE}"]


def test_a_project_without_a_page_is_told_how_to_make_one(copied):
    shutil.rmtree(copied.page)
    told, faults = copied.judge()
    assert "no page of replayed traces is committed" in told
    assert faults == []


def test_the_folder_may_stand_in_reports():
    assert {"replay", "calibration"} <= set(committed_names())


# --- writing ----------------------------------------------------------------------------------


def test_files_of_an_earlier_replay_go_and_others_stay(tmp_path):
    publish(tmp_path, {"old.svg": "a", "REPLAY.md": "one"}, {})
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    publish(tmp_path, {"new.svg": "b", "REPLAY.md": "two"}, {})
    assert {path.name for path in tmp_path.iterdir()} == {"mine.txt", "new.svg", "REPLAY.md", PROVENANCE}


def test_a_record_cannot_remove_files_outside_its_folder(tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("keep", encoding="utf-8")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / PROVENANCE).write_text(json.dumps({"files": {"../precious.txt": "x"}}), encoding="utf-8")
    publish(folder, {"REPLAY.md": "one"}, {})
    assert precious.exists()


def test_a_file_is_no_folder_to_write_to(tmp_path):
    (tmp_path / "out").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="is a file; give a folder"):
        publish(tmp_path / "out", {"REPLAY.md": "one"}, {})
