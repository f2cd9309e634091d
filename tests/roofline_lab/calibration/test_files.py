"""Which files the jobs of a calibration read and write, and what makes which of them run again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from roofline_lab.calibration import files as paths
from tests.paths import ROOT

NAME = "h100_vllm"


def test_only_servers_that_schedule_ahead_are_simulated_without_it():
    waiting = [Path(path).stem for path in paths.waiting_paths(ROOT, NAME)]
    assert "60-llama-3-1-70b-tp4-general-lite-4-1" in waiting
    assert not any("jan30" in name or "20260210" in name for name in waiting)
    assert set(waiting) < set(paths.train_experiments(ROOT, NAME))


def test_every_committed_file_of_a_calibration_is_written_by_one_rule():
    published = paths.all_published(ROOT)
    assert len(published) == len(set(published))
    assert {Path(name).name for name in published} == {
        f"{NAME}.yaml",
        *(path.name for path in (ROOT / "reports" / "calibration" / NAME).iterdir()),
    }


@pytest.fixture
def sources(tmp_path):
    """Return a function that says which lists of sources a changed file of the calibration changes."""
    for package in ("simulator", "workflow/roofline_lab/calibration", "workflow/roofline_lab/report/calibration"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))

    def lists():
        return {one: (tmp_path / one).read_text(encoding="utf-8") for one in LISTS}

    def changed_by(file):
        paths.record_sources(tmp_path)
        before = lists()
        with (tmp_path / file).open("a", encoding="utf-8") as stream:
            stream.write("# changed\n")
        paths.record_sources(tmp_path)
        return {name for name, text in lists().items() if text != before[name]}

    return changed_by


LISTS = (paths.SURFACE_SOURCES, paths.SOURCES, paths.PAGE_SOURCES)


@pytest.mark.parametrize(
    ("file", "lists"),
    [
        ("simulator/steptime/physics.py", {paths.SURFACE_SOURCES, paths.SOURCES}),
        ("workflow/roofline_lab/calibration/surface.py", {paths.SURFACE_SOURCES, paths.SOURCES}),
        ("workflow/roofline_lab/calibration/terms.py", {paths.SOURCES}),
        ("workflow/roofline_lab/report/calibration/tables.py", {paths.PAGE_SOURCES}),
        ("workflow/roofline_lab/report/calibration/terms_page.py", {paths.PAGE_SOURCES}),
    ],
)
def test_a_new_table_needs_no_new_fit_and_a_new_formula_needs_everything(sources, file, lists):
    assert sources(file) == lists


def test_ground_truth_is_read_once_however_many_jobs_ask_for_their_inputs(monkeypatch):
    """Reading it for every input function took Snakemake minutes before the first job."""
    asked = []
    real = paths.load_set
    monkeypatch.setattr(paths, "load_set", lambda root, name: asked.append(name) or real(root, name))
    paths._experiments.cache_clear()
    first = paths.shared_files(ROOT, NAME)
    assert asked
    known = len(asked)
    assert paths.shared_files(ROOT, NAME) == first
    assert len(asked) == known
