"""`make setup` keeps what is there, and `ENV=conda` makes the same environment with conda; no package is installed.

Interpreter and conda are stand-ins that write down how they were called.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.paths import ROOT

PYTHON = """#!/bin/sh
echo "python $*" >> "{log}"
if [ "$1 $2" = "-m venv" ]; then
    for last; do :; done
    [ "$3" = --clear ] && rm -rf "$last"
    mkdir -p "$last/bin"
    cp "{folder}/python" "$last/bin/python"
fi
"""
CONDA = """#!/bin/sh
echo "conda $*" >> "{log}"
mkdir -p "$4/bin"
cp "{folder}/python" "$4/bin/python"
"""


@pytest.fixture
def project(tmp_path):
    """Return a folder with the Makefile, what it reads, and stand-ins in `bin`."""
    for name in ("Makefile", "requirements.lock", "environment.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("python", PYTHON), ("conda", CONDA)):
        (folder / name).write_text(text.format(log=tmp_path / "log", folder=folder), encoding="utf-8")
        (folder / name).chmod(0o755)
    return tmp_path


def make(project, *arguments):
    """Run make and return what was called since the last time, one line per call."""
    (project / "log").write_text("", encoding="utf-8")
    path = f"{project / 'bin'}{os.pathsep}{os.environ['PATH']}"
    command = ["make", "setup", f"PYTHON={project / 'bin' / 'python'}", *arguments]
    done = subprocess.run(command, cwd=project, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, (project / "log").read_text(encoding="utf-8").splitlines()


def touched(path):
    later = path.stat().st_mtime + 10
    os.utime(path, (later, later))


def test_what_a_user_installed_stays_when_requirements_change(project):
    make(project)
    mine = project / ".venv" / "mine"
    mine.write_text("installed by the user", encoding="utf-8")
    touched(project / "requirements.lock")
    printed, calls = make(project)
    assert mine.is_file()
    assert "bringing .venv up to date" in printed
    assert not any("-m venv" in call for call in calls)
    assert any(call.endswith("install -r requirements.lock") for call in calls)


def test_an_environment_that_does_not_work_is_made_anew(project):
    make(project)
    (project / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    touched(project / "requirements.lock")
    printed, calls = make(project)
    assert "creating .venv" in printed
    assert any("-m venv --clear .venv" in call for call in calls)


def test_nothing_is_installed_twice(project):
    make(project)
    _, calls = make(project)
    assert not any("pip" in call for call in calls)


def test_conda_makes_the_environment_from_environment_yml_and_the_project_goes_on_top(project):
    _, calls = make(project, "ENV=conda")
    assert calls[0] == f"conda env create --prefix {project / '.conda'} --file environment.yml"
    assert any(call.endswith("install --no-deps --no-build-isolation -e .") for call in calls)
    assert not (project / ".venv").exists()
    touched(project / "environment.yml")
    _, calls = make(project, "ENV=conda")
    assert calls[0].startswith("conda env update --prefix ")


def test_without_conda_the_message_says_what_to_do(project):
    done = subprocess.run(["make", "setup", "ENV=conda", "CONDA="], cwd=project, capture_output=True, text=True)
    assert done.returncode != 0
    assert "no conda, mamba or micromamba found; install one, or leave ENV=conda away" in done.stderr
