"""The example lab in `.test` is made up as it says, and imported as a user would import it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import yaml

from roofline_lab.cli.main import main
from tests.paths import ROOT
from tests.roofline_lab.builders import example_lab

LAB = ROOT / ".test"
IMPORTED = {"made-up-chat": "chatsweep", "made-up-code": "codesweep"}


def files(folder):
    """Return the content of every file below a folder by its name there."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Return a copy of the example, the working directory of a test."""
    folder = example_lab(tmp_path / "lab")
    monkeypatch.chdir(folder)
    return folder


def test_its_measurements_are_those_the_script_makes_up(tmp_path):
    runpy.run_path(str(LAB / "make_up.py"))["main"](tmp_path / "measured")
    made = files(tmp_path / "measured")
    assert len(made) > len(IMPORTED)
    assert made == files(LAB / "measured")


@pytest.mark.parametrize(("name", "workload"), IMPORTED.items())
def test_its_experiments_are_what_an_import_makes_of_the_results(name, workload, lab):
    source = ("--source", "made up by make_up.py; nobody measured it", "--licence", "none needed: made up")
    words = ("--hardware", "made-up-gpu", "--workload", workload, *source)
    assert main(["import", "vllm-bench", f"measured/{name}", "--out", f"again/{name}", "--root", ".", *words]) == 0
    again, committed = (
        yaml.safe_load(Path(where, name, "experiment.yaml").read_text()) for where in ("again", "ground_truth")
    )
    assert again | {"family": committed["family"]} == committed
    assert (
        Path("again", name, "requests.csv").read_bytes() == (LAB / "ground_truth" / name / "requests.csv").read_bytes()
    )


def test_everything_in_it_says_that_it_is_made_up():
    told = (
        "README.md",
        "make_up.py",
        "truth.yaml",
        "configs/models/made-up-1b.json",
        "configs/hardware/made-up-gpu.yaml",
    )
    told += tuple(f"ground_truth/{name}/experiment.yaml" for name in IMPORTED)
    assert [name for name in told if "made" not in (text := (LAB / name).read_text().lower()) or "up" not in text] == []
