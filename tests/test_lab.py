"""A lab is a folder: made by the installed package, outside any clone, from the example's measurements to a page.

The package is built as a package manager builds it (source distribution, then wheel) and unpacked, not installed: its
dependencies are those of the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from types import SimpleNamespace

import pytest

from roofline_lab import scheduling
from roofline_lab.cli.main import main
from roofline_lab.jobs.freshness import Freshness
from tests.paths import ROOT
from tests.roofline_lab.builders import copy_project, example_lab, replace_text
from tests.roofline_lab.snakemake_runs import SNAKEMAKE, contents, environment

PACKAGED = ("configs", "profiles", "simulator", "workflow", "Snakefile", "requirements.lock")
BUILD = "from setuptools import build_meta; print(build_meta.{}({!r}))"
TIMEOUT_S = 120


def built(source, what, target):
    """Build a distribution of a folder and return it."""
    command = [sys.executable, "-c", BUILD.format(what, str(target))]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Return the source distribution, and the wheel that is made of nothing else."""
    folder = tmp_path_factory.mktemp("distributions")
    clone = copy_project(folder / "clone", (*PACKAGED, "pyproject.toml", "setup.py", "README.md", "LICENSE"))
    (clone / "ground_truth").mkdir()
    for name in ("sets.yaml", "vocabulary.yaml", "experiment.schema.json"):
        shutil.copyfile(ROOT / "ground_truth" / name, clone / "ground_truth" / name)
    source = built(clone, "build_sdist", folder)
    with tarfile.open(source) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return source, built(unpacked, "build_wheel", folder)


@pytest.fixture(scope="module")
def site(distributions, tmp_path_factory):
    """Return a folder of installed packages."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(distributions[1]) as archive:
        archive.extractall(folder)
    return folder


def run(*command, cwd, path):
    """Run a command on the packages of some folders and return what it said."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment() | {"PYTHONPATH": os.pathsep.join(map(str, path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def lab(site, tmp_path_factory):
    """Return a lab from its making to its page: the folder, and what the commands said."""
    folder = tmp_path_factory.mktemp("outside")
    command = (sys.executable, "-m", "roofline_lab")
    run(*command, "init", "my-lab", cwd=folder, path=[site])
    root = example_lab(folder / "my-lab")
    imported = ("vllm-bench", "measured/made-up-mix", "--out", "ground_truth/my-run", "--hardware", "made-up-gpu")
    run(*command, "import", *imported, cwd=root, path=[site])
    run(*command, "new", "my_claim", "--set", "my-run", "--method", "multi_rate", "--example", cwd=root, path=[site])
    return SimpleNamespace(root=root, said=run(SNAKEMAKE, "--cores", "2", cwd=root, path=[site]))


# --- what is packaged ---------------------------------------------------------------------------------


def test_wheel_and_source_distribution_hold_everything_a_lab_takes_from_the_package(distributions):
    source, wheel = distributions
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    inside = set(zipfile.ZipFile(wheel).namelist())
    shipped = ["Snakefile", "requirements.lock", "ground_truth/sets.yaml", "ground_truth/vocabulary.yaml"]
    for folder in (
        "configs",
        "profiles",
        "workflow/report",
        "workflow/rules",
        "workflow/schemas",
        "workflow/templates",
    ):
        files = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        shipped += [path.relative_to(ROOT).as_posix() for path in files]
    assert len(shipped) > 100
    assert set(shipped) <= names
    assert {f"roofline_lab/shipped/{name}" for name in shipped} <= inside


def test_a_wheel_holds_the_code_once_and_no_findings(distributions):
    code = [name for name in zipfile.ZipFile(distributions[1]).namelist() if name.endswith(".py")]
    packaged = {name for name in code if not name.startswith("roofline_lab/shipped/configs/")}
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "simulator").rglob("*.py")}
    expected |= {path.relative_to(ROOT / "workflow").as_posix() for path in (ROOT / "workflow").rglob("*.py")}
    assert packaged == expected
    assert not [name for name in zipfile.ZipFile(distributions[1]).namelist() if "hypothesis.yaml" in name]


# --- from a measurement to a page ---------------------------------------------------------------------


def test_a_lab_outside_the_clone_has_a_page_after_three_commands(lab):
    page = (lab.root / "reports" / "my_claim" / "FINDINGS.md").read_text(encoding="utf-8")
    assert "# My claim" in page
    assert "`made-up-1b`" in page
    index = (lab.root / "reports" / "README.md").read_text(encoding="utf-8")
    assert "[my_claim](my_claim/FINDINGS.md)" in index
    assert "errata" not in index
    assert "docs/" not in index


def test_nothing_a_lab_would_commit_names_a_place_of_the_machine(lab, site):
    scratch = (lab.root / "results", lab.root / ".snakemake")
    files = (path for path in lab.root.rglob("*") if path.is_file() and not any(map(path.is_relative_to, scratch)))
    texts = {path: path.read_bytes() for path in files}
    assert len(texts) > 10
    places = [str(place).encode() for place in (site, lab.root.parent, ROOT)]
    assert [path for path, text in texts.items() if any(place in text for place in places)] == []


def test_the_finished_example_keeps_the_standards(lab, capsys):
    assert main(["lint", "launch_time", "--root", str(lab.root)]) == 0
    assert ": 0 breaches" in capsys.readouterr().out


def test_a_lab_is_done_once_it_is_made(lab, site):
    assert "Nothing to be done" in run(SNAKEMAKE, "--cores", "2", cwd=lab.root, path=[site])


def test_the_commands_for_measurements_and_hypotheses_work_in_a_lab(lab, site):
    command = (sys.executable, "-m", "roofline_lab")
    evaluate = ("evaluate", "ground_truth/my-run", "--steptime", "h100_vllm", "--out", "evaluations/mine")
    assert "evaluations/mine/EVALUATION.md" in run(*command, *evaluate, cwd=lab.root, path=[site])
    linted = subprocess.run(
        [*command, "lint", "my_claim"],
        cwd=lab.root,
        env=environment() | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    breaches = [line for line in linted.stdout.splitlines()[:-1] if " note: " not in line]
    assert breaches
    assert all("says TODO" in line or "written_for" in line for line in breaches)


def test_the_clone_makes_the_same_page_of_a_lab_elsewhere(lab, tmp_path):
    made = ("results", "reports", ".snakemake", "evaluations", "__pycache__")
    other = shutil.copytree(lab.root, tmp_path / "lab", ignore=shutil.ignore_patterns(*made))
    (tmp_path / "here").mkdir()
    words = ("--snakefile", ROOT / "Snakefile", "--cores", "1", "--config", "project=../lab")
    run(SNAKEMAKE, *words, cwd=tmp_path / "here", path=[ROOT / "workflow", ROOT])
    assert contents(other / "reports") == contents(lab.root / "reports")


OWN_RULE = """

rule table:
    input:
        "reports/my_claim/numbers.csv",
    output:
        "table.csv",
    shell:
        "cp {input} {output}"
"""


def test_rules_of_ones_own_stand_beside_the_module(lab, site, tmp_path):
    other = shutil.copytree(lab.root, tmp_path / "lab")
    with (other / "Snakefile").open("a", encoding="utf-8") as stream:
        stream.write(OWN_RULE)
    run(SNAKEMAKE, "--cores", "1", "table", cwd=other, path=[site])
    assert (other / "table.csv").read_bytes() == (lab.root / "reports" / "my_claim" / "numbers.csv").read_bytes()


def test_a_project_that_is_named_and_not_there_is_refused_and_not_made(tmp_path):
    done = subprocess.run(
        [SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--cores", "1", "--config", "project=lab"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1
    assert "--config project=lab: has no hypotheses/; `roofline-lab init` makes a lab there" in done.stderr
    assert not (tmp_path / "lab").exists()


# --- making a lab -------------------------------------------------------------------------------------


def test_a_folder_that_holds_something_is_refused_and_stays_as_it_is(tmp_path, capsys):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "mine.txt").write_text("mine", encoding="utf-8")
    assert main(["init", str(tmp_path / "lab")]) == 2
    assert "exists already and is not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["lab", "mine.txt"]


def test_an_empty_folder_becomes_a_lab_and_an_interrupted_one_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "lab").mkdir()

    def interrupted(root):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("roofline_lab.ground_truth.reading.write_schema", interrupted)
        assert main(["init", str(tmp_path / "lab")]) == 130
    assert [path.name for path in tmp_path.rglob("*")] == ["lab"]
    assert main(["init", str(tmp_path / "lab")]) == 0
    assert (tmp_path / "lab" / "Snakefile").is_file()


def test_a_lab_without_hypotheses_is_told_how_to_write_one(tmp_path, capsys):
    assert main(["init", str(tmp_path / "lab")]) == 0
    assert main(["lint", "--root", str(tmp_path / "lab")]) == 2
    assert "`roofline-lab new my_claim --set SET` writes one" in capsys.readouterr().err


# --- rules as a module --------------------------------------------------------------------------------


def module(is_main):
    """Return a workflow as Snakemake keeps it while a module of it is read."""
    said = []
    workflow = SimpleNamespace(
        modifier=SimpleNamespace(is_main_snakefile=lambda: is_main),
        globals={"onsuccess": SimpleNamespace(func=lambda log: said.append(("ours", log)))},
        _onsuccess=lambda log: said.append(("own", log)),
    )
    return workflow, said


def test_a_workflow_that_uses_the_rules_keeps_its_own_handler_and_gains_ours():
    workflow, said = module(is_main=False)
    scheduling.keep_handlers(workflow)
    workflow._onsuccess("log")
    assert said == [("own", "log"), ("ours", "log")]


def test_handlers_of_the_workflow_itself_are_left_to_snakemake():
    workflow, said = module(is_main=True)
    scheduling.keep_handlers(workflow)
    workflow._onsuccess("log")
    assert said == [("own", "log")]


def test_what_the_package_brings_counts_for_a_lab_to_be_up_to_date(tmp_path, monkeypatch):
    shipped = copy_project(tmp_path / "package", ("configs",))
    (tmp_path / "lab").mkdir()
    monkeypatch.chdir(tmp_path / "lab")
    monkeypatch.setattr("roofline_lab.places.SHIPPED", shipped)
    monkeypatch.setattr("roofline_lab.jobs.freshness.SHIPPED", shipped)
    before = Freshness(["snakemake"])._inputs
    assert Freshness(["snakemake"])._inputs == before
    replace_text(shipped / "configs" / "lab.yaml", "level_pct: 95", "level_pct: 90")
    assert Freshness(["snakemake"])._inputs != before
