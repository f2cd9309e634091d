"""Fixtures: a stranger's folder."""

from __future__ import annotations

import pytest

from tests.workflow.evaluation.strangers import Stranger


@pytest.fixture
def stranger(tmp_path):
    """Return an empty folder with a model nobody has seen beside it."""
    return Stranger(tmp_path)
