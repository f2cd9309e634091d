"""Fixtures every test may use: where the project and the optional third-party data are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.paths import ROOT

# Processes that tests start find the project as the tests do, installed or not.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "workflow"), str(ROOT)])


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch that rewrites frozen outputs instead of comparing with them."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the frozen outputs in tests/golden")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Tell whether frozen outputs are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Return the project's top folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Return the folder of third-party reference data, which the project never contains."""
    folder = Path(os.environ.get("ROOFLINE_LAB_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(
            "third-party reference data not found: no 'shared' folder beside the project (see docs/reference-data.md)"
        )
    return folder
