"""The package itself: a public interface that costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import simulator

HEAVY = ("pydantic", "yaml", "numpy", "simulator.engine", "simulator.steptime", "simulator.kernels")


def modules_after(statement: str, project_root) -> set[str]:
    code = f"{statement}\nimport sys\nsys.stderr.write(chr(10).join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, check=True)
    return set(ran.stderr.split())


@pytest.mark.parametrize(
    "statement",
    ["import simulator", "from simulator.cli.main import main\nmain(['--help'])", "import simulator\ndir(simulator)"],
)
def test_importing_the_package_or_asking_for_help_loads_nothing_heavy(statement, project_root):
    assert not modules_after(statement, project_root) & set(HEAVY)


def test_every_public_name_is_what_its_module_defines():
    for name in simulator.__all__:
        value = getattr(simulator, name)
        assert getattr(import_module(value.__module__), name) is value
        assert name in dir(simulator)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="frobnicate"):
        _ = simulator.frobnicate


def test_an_unlisted_submodule_is_still_importable():
    assert import_module("simulator.hardware").Hardware is simulator.Hardware
