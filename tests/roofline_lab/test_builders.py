"""Tests run on the project as it is kept, whatever measurements and hypotheses somebody has added to the tree."""

from __future__ import annotations

import yaml

from roofline_lab.project import load_project
from tests.roofline_lab import builders
from tests.roofline_lab.builders import HYPOTHESIS, copy_project, own

ADDED = {"ground_truth": "17-llama-4-scout-17b-16e-tp2-general-lite-2-1", "hypotheses": "hg1_overhead_grid"}


def test_what_a_user_has_added_is_in_no_copy_of_the_project(tmp_path, monkeypatch):
    """Regression: a run of one's own under ground_truth/, or a claim of one's own, made a dozen tests fail."""
    kept = {folder: own(folder) - {name} for folder, name in ADDED.items()}
    monkeypatch.setattr(builders, "own", lambda folder: kept.get(folder, own(folder)))
    root = copy_project(tmp_path / "project")
    assert not any((root / folder / name).exists() for folder, name in ADDED.items())
    sets = yaml.safe_load((root / "ground_truth" / "sets.yaml").read_text(encoding="utf-8"))["sets"]
    assert not any(ADDED["ground_truth"] in one["experiments"] for one in sets.values())


def test_the_entries_of_the_project_are_those_that_git_knows():
    assert HYPOTHESIS in own("hypotheses")
    assert set(load_project(builders.ROOT).names) >= {name for name in own("hypotheses") if name.startswith("h")}
