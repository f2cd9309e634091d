"""Kernel tables for the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulator.cli.support import write_small_tables


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of kernel tables sampled from the shipped curves."""
    return write_small_tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="session")
def bench_tables(shared_dir: Path) -> Path:
    """Return the folder of measured tables that the recorded steps were priced with."""
    return shared_dir / "bench_data"
