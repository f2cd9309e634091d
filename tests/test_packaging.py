"""What a newcomer and a package manager see: one set of dependencies, a licence, two commands, no private paths."""

from __future__ import annotations

import re
import subprocess
import tomllib

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.paths import ROOT

# Where conda names a package otherwise than the Python package index; nowhere else may names differ.
CONDA_NAMES = {"snakemake": "snakemake-minimal", "matplotlib": "matplotlib-base", "PyYAML": "pyyaml"}
PYTHONS = ("3.11", "3.12", "3.13")
# Written in parts, so that this file does not contain what it looks for.
MACHINE_PATHS = tuple("/" + name + "/" for name in ("home", "root", "Users", "work", "mnt", "private"))
REGISTRY_HOSTS = ("pypi" + ".org", "python" + "hosted", "index" + "-url", "arti" + "factory", "registry" + ".npmjs")
ENVIRONMENT_LINE = re.compile(r"^([A-Za-z0-9._-]+)(.*)$")


def project_file():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def project():
    return project_file()["project"]


def declared():
    """Return every declared dependency, those of development and of the site included."""
    optional = project()["optional-dependencies"]
    listed = [*project()["dependencies"], *optional["dev"], *optional["site"]]
    return [Requirement(text) for text in listed]


def pins():
    """Return the lines of the lock file as name, version and marker."""
    found = []
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            found.append((requirement.name.lower(), Version(specifier.version), requirement.marker))
    return found


def pinned(name, python):
    """Return the versions of one package that are installed on Linux with one version of Python."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
    }
    return [
        version
        for found, version, marker in pins()
        if found == name.lower() and (marker is None or Marker(str(marker)).evaluate(environment))
    ]


def tracked_texts():
    """Yield name and text of every file that is part of the project."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    assert len(listed) > 50, "git does not list this folder's files"
    for name in filter(None, listed):
        path = ROOT / name
        if path.is_file():
            yield name, path.read_text(encoding="utf-8", errors="replace")


is_a_checkout = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")


# --- dependencies -----------------------------------------------------------------------------------


def test_conda_users_get_the_same_packages_in_the_same_ranges():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = {}
    for line in environment["dependencies"]:
        name, ranges = ENVIRONMENT_LINE.match(line).groups()
        conda[name] = SpecifierSet(ranges)
    expected = {CONDA_NAMES.get(needed.name, needed.name): needed.specifier for needed in declared()}
    expected["python"] = SpecifierSet(project()["requires-python"])
    expected["pip"] = conda["pip"]  # which the Makefile installs the project itself with; a venv has one
    assert conda == expected


def test_conda_takes_packages_from_the_two_open_channels_only():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge", "bioconda"]


def test_every_dependency_has_a_lower_and_an_upper_bound():
    for requirement in declared():
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators == {">=", "<"}, requirement


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_file_satisfies_every_range_once_on_every_python(python):
    for requirement in declared():
        versions = pinned(requirement.name, python)
        assert len(versions) == 1, f"{requirement.name} on Python {python}: {versions}"
        assert versions[0] in requirement.specifier, f"{requirement}: {versions[0]} is locked"


def test_the_lock_file_pins_exact_versions_and_names_no_index():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert len(pins()) > len(declared())
    for word in ("http", "--", " @ ", "file:"):
        assert word not in text


def test_python_3_11_to_3_13_are_supported_and_no_other():
    supported = SpecifierSet(project()["requires-python"])
    candidates = ("3.9", "3.10", *PYTHONS, "3.14", "4.0")
    assert tuple(version for version in candidates if f"{version}.1" in supported) == PYTHONS


def test_the_simulator_needs_neither_numba_nor_scipy():
    assert not {"numba", "scipy"} & {requirement.name for requirement in declared()}
    assert not {"numba", "scipy"} & {name for name, _, _ in pins()}


IMAGE = re.compile(r"^FROM python:(\d+\.\d+)-", re.MULTILINE)
COPIED = re.compile(r"^COPY (.+) \S+$", re.MULTILINE)


def test_the_container_file_takes_a_supported_python_and_what_a_wheel_is_made_of():
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    (python,) = IMAGE.findall(text)
    assert python in PYTHONS
    copied = " ".join(COPIED.findall(text)).split()
    assert [name for name in copied if not (ROOT / name).exists()] == []
    shipped = project_file()["tool"]["setuptools"]["package-data"]["roofline_lab.shipped"]
    needed = {pattern.split("/")[0] for pattern in shipped} | {"pyproject.toml", "setup.py", "README.md", "simulator"}
    assert needed <= set(copied)


# --- what a newcomer sees ---------------------------------------------------------------------------


def test_the_licence_is_apache_2_in_the_file_and_in_the_package():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert project()["license"]["text"] == "Apache-2.0"


def test_the_readmes_first_screen_shows_the_two_commands_and_what_they_print():
    screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:25])
    assert "make findings" in screen
    assert "make test" in screen
    assert re.search(r"TPOT \d+\.\d -> \d+\.\d %", screen)


def test_the_numbers_the_readme_shows_are_the_ones_a_run_prints(h1_numbers):
    """A reader compares them with the terminal; they may not grow stale."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"(as_published|corrected): .*?TPOT (\d+\.\d) -> (\d+\.\d) %", text)
    assert {method for method, _, _ in shown} == {"as_published", "corrected"}
    for method, before, after in shown:
        assert before == f"{h1_numbers[method, 'baseline']:.1f}"
        assert after == f"{h1_numbers[method, 'treatment']:.1f}"


@pytest.fixture
def h1_numbers():
    """Return H1's committed overall TPOT errors by method and arm."""
    found = {}
    for line in (ROOT / "reports/h1_bw_efficiency/numbers.csv").read_text(encoding="utf-8").splitlines()[1:]:
        method, arm, _, scope, _, metric, statistic, value, _ = line.split(",")
        if (scope, metric, statistic) == ("overall", "tpot_mean", "mape"):
            found[method, arm] = float(value)
    return found


@pytest.mark.parametrize("target", ["help", "findings", "test", "check", "setup", "lint"])
def test_make_knows_every_command_the_documents_name(target):
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_relative_link_of_readme_and_documents_leads_somewhere():
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"


# --- what nobody else needs to see ------------------------------------------------------------------


@is_a_checkout
def test_no_file_names_a_path_of_one_machine():
    pattern = re.compile(r"(?<![\w.}>*-])(?:" + "|".join(map(re.escape, MACHINE_PATHS)) + r")\w")
    found = [f"{name}: {match.group()}" for name, text in tracked_texts() for match in pattern.finditer(text)]
    assert found == []


@is_a_checkout
def test_no_file_names_a_package_registry():
    found = [(name, host) for name, text in tracked_texts() for host in REGISTRY_HOSTS if host in text]
    assert found == []


@is_a_checkout
def test_results_and_environments_are_not_part_of_the_project():
    unwanted = ("results/", ".venv/", ".snakemake/", "__pycache__")
    assert [name for name, _ in tracked_texts() if any(part in name for part in unwanted)] == []
