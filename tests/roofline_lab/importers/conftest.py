"""A project to import into: the laboratory's vocabulary, models and GPUs, without its experiments."""

from __future__ import annotations

import shutil

import pytest

from tests.paths import ROOT

EXAMPLE = "jan30-llama2-7b-tp1-chatsweep"


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    for name in ("configs/models", "configs/hardware", f"ground_truth/{EXAMPLE}"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "ground_truth" / "vocabulary.yaml", root / "ground_truth")
    return root
