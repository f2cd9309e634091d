"""Every module of benchmarks/ still finds what it measures; how fast that is, `make bench` says."""

from __future__ import annotations

import importlib

import pytest

from tests.paths import ROOT

MODULES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_imports_what_it_measures(name):
    assert importlib.import_module(f"benchmarks.{name}")
