"""Which files the jobs of a calibration read and write, and what makes which of them run again."""

from __future__ import annotations

from pathlib import Path

from roofline_lab.calibration import plan as paths
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
        f"{NAME}.held_out.csv",
        *(path.name for path in (ROOT / "reports" / "calibration" / NAME).iterdir()),
    }


def test_ground_truth_is_read_once_however_many_jobs_ask_for_their_inputs(monkeypatch):
    """Reading it for every input function took Snakemake minutes before the first job."""
    asked = []
    real = paths.load_set
    monkeypatch.setattr(paths, "load_set", lambda root, name: asked.append(name) or real(root, name))
    paths.experiments_in.cache_clear()
    first = paths.shared_files(ROOT, NAME)
    assert asked
    known = len(asked)
    assert paths.shared_files(ROOT, NAME) == first
    assert len(asked) == known
