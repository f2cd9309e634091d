"""What forges, catalogues and newcomers read beside the README agrees with the project."""

from __future__ import annotations

import re
import tomllib

import pytest

from simulator.input_files import read_yaml
from tests.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"[`(]((?:[\w.-]+/)+[\w.-]+\.(?:py|md|yaml))[`)]", CONTRIBUTING)))


def test_the_citation_names_version_and_licence_of_the_project():
    citation = read_yaml(ROOT / "CITATION.cff")
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"]["text"])
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


def test_the_newest_changes_are_those_of_the_version():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == PROJECT["version"]


def test_the_catalogue_is_told_how_the_workflow_is_run():
    usage = read_yaml(ROOT / ".snakemake-workflow-catalog.yml")["usage"]
    assert usage["software-stack-deployment"].keys() == {"conda", "apptainer"}


@pytest.mark.parametrize("what", ["metric", "criterion", "reader of measurements", "model", "GPU", "hypothesis"])
def test_contributing_tells_how_to_add(what):
    assert re.search(rf"^## An? {what}$", CONTRIBUTING, re.MULTILINE)


@pytest.mark.parametrize("path", PATHS)
def test_a_file_that_contributing_names_is_there(path):
    name = path if (ROOT / path).exists() else f"workflow/roofline_lab/hypotheses/{path}"
    assert (ROOT / name).is_file()


HELD_OUT_LINE = re.compile(
    r"^\| \[(\w+)\]\(calibration/.*?\| \w+ \| (\d+) \| ([\d.]+ %) \| ([\d.]+ %) \|", re.MULTILINE
)


def test_the_errors_that_the_readme_opens_with_are_those_of_the_index():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    lines = HELD_OUT_LINE.findall((ROOT / "reports" / "README.md").read_text(encoding="utf-8"))
    found = {name: (points, ttft, between) for name, points, ttft, between in lines}
    points, ttft, between = found["h100_vllm"]
    assert f"errs by {ttft} in TTFT and {between} in the time between tokens on {points} load points" in readme
    points, ttft, between = found["vllm_fleet"]
    assert f"errs by {ttft} and {between} on {points}" in readme
