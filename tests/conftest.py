"""Fixtures every test may use: where the project and the optional third-party data are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Return the project's top folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Return the folder of third-party reference data, which the project never contains."""
    folder = Path(os.environ.get("ROOFLINE_LAB_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("third-party reference data not found: no 'shared' folder beside the project (see docs/reference-data.md)")
    return folder
