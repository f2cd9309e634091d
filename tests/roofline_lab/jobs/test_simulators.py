"""Programs of others in the pipeline: asked once, never again while nothing changed, and not needed by a clone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.roofline_lab.builders import SOURCES, copy_project, edit_yaml
from tests.roofline_lab.simulators.samples import (
    EXPERIMENTS,
    FAKE,
    HYPOTHESIS,
    hypothesis,
    keep_experiments,
    write_hypothesis,
)
from tests.roofline_lab.snakemake_runs import clone, snakemake, start_run, succeed

NAME = "mine"
RECORDED = f"configs/simulators/recorded/{NAME}.jsonl"
PAGE = f"reports/{HYPOTHESIS}/FINDINGS.md"
# A program on the PATH, which says in a file how often it was started with questions.
PROGRAM = f"""#!{sys.executable}
import runpy, sys
if "--version" in sys.argv:
    print({{version!r}})
else:
    with open({{log!r}}, "a", encoding="utf-8") as log:
        log.write("started\\n")
    runpy.run_path({str(FAKE)!r}, run_name="__main__")
"""


class Installed:
    """A program of others, as it is installed on a machine, or was."""

    def __init__(self, folder, version="fake 1.0"):
        self.folder, self.log = folder / "bin", folder / "log"
        self.folder.mkdir()
        program = self.folder / "fake-simulator"
        program.write_text(PROGRAM.format(log=str(self.log), version=version), encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    @property
    def path(self):
        """Return a PATH on which it is."""
        return f"{self.folder}{os.pathsep}{os.environ['PATH']}"

    @property
    def starts(self):
        return len(self.log.read_text(encoding="utf-8").splitlines()) if self.log.exists() else 0


def project_with(target, behaviour, **described):
    """Return a project whose one hypothesis compares our simulator with a program on the PATH and with a table."""
    copy_project(target, [name for name in SOURCES if name not in ("hypotheses", "documents")])
    keep_experiments(target)
    simulator = {"kind": "command", "run": ["fake-simulator", behaviour], "version": ["fake-simulator", "--version"]}
    path = target / "configs" / "simulators" / f"{NAME}.yaml"
    path.write_text(yaml.safe_dump({"id": NAME, "title": "Mine", "simulator": simulator | described}), encoding="utf-8")
    table = {"simulator": {"kind": "table", "file": "predictions.csv"}}
    folder = write_hypothesis(target, hypothesis({NAME: {"simulator": NAME}, "elsewhere": table}))
    lines = "".join(f"{one},synchronous,itl_ratio_of_means,7.5\n" for one in EXPERIMENTS[:3])
    (folder / "predictions.csv").write_text(f"experiment,load_point,metric,value\n{lines}", encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a project in which everything was made with the program at hand, and how often that was started."""
    folder = tmp_path_factory.mktemp("built")
    installed = Installed(folder)
    project = project_with(folder / "project", "crashes")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", installed.path)
        told = succeed(project).stdout
        assert f"{NAME}: asked 4 of 4 load points" in told
        assert "Nothing to be done" in succeed(project, HYPOTHESIS).stdout
    return project, installed.starts


def statuses(project, arm=NAME):
    """Return the status of every row of an arm, by experiment."""
    path = project / f"results/{HYPOTHESIS}/rows/corrected/{arm}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["experiment"]: row["status"] for row in rows}


def test_a_program_is_started_once_and_once_more_behind_the_load_point_it_crashes_at(built):
    project, starts = built
    assert statuses(project) == dict(zip(EXPERIMENTS, ("ok", "ok", "failed", "ok"), strict=True))
    assert starts == 2


def test_a_clone_without_the_program_regenerates_everything_and_says_what_it_did_not_check(built, tmp_path):
    project = clone(built[0], tmp_path / "clone")
    shutil.rmtree(project / "results")
    shutil.rmtree(project / ".snakemake")
    told = succeed(project, "check").stdout
    assert f"{NAME}: asked 0 of 4 load points, 4 answers are known" in told
    assert f"check {HYPOTHESIS}: the committed report comes out again" in told
    assert f"check {NAME}: 0 of 4 load points were asked here, the others are not checked" in told
    recorded = project / RECORDED
    recorded.write_text(recorded.read_text(encoding="utf-8").replace("1600.0", "1500.0", 1), encoding="utf-8")
    done = snakemake(project, "check")
    assert done.returncode == 1
    assert f"reports/{HYPOTHESIS}/numbers.csv" in done.stdout, "pages rest on what is recorded"


def test_what_a_clone_without_the_program_cannot_ask_is_a_row_that_says_so(built, tmp_path):
    project = clone(built[0], tmp_path / "clone")
    edit_yaml(
        project / "ground_truth" / EXPERIMENTS[0] / "experiment.yaml",
        lambda content: content["server"]["assumed"].update(token_budget=4096),
    )
    told = succeed(project, HYPOTHESIS).stdout
    missing = "'fake-simulator' cannot be started: No such file or directory; install it"
    assert f"not asked: configs/simulators/{NAME}.yaml: simulator.version: {missing}" in told
    assert statuses(project) == dict(zip(EXPERIMENTS, ("not_asked", "ok", "failed", "ok"), strict=True))
    page = (project / PAGE).read_text(encoding="utf-8")
    assert f"no recorded answer of {NAME}, and it was not asked: configs/simulators/{NAME}.yaml" in page
    assert "(2 of 4)" in page


def test_asked_anew_all_answers_are_of_the_version_that_is_installed(built, tmp_path, monkeypatch):
    project = clone(built[0], tmp_path / "clone")
    monkeypatch.setenv("PATH", Installed(tmp_path, "fake 2.0").path)
    assert "--config ask=twice: must be again" in snakemake(project, HYPOTHESIS, "--config", "ask=twice").stdout
    succeed(project, HYPOTHESIS, "--config", "ask=again")
    text = (project / RECORDED).read_text(encoding="utf-8")
    assert (text.count("fake 2.0"), text.count("fake 1.0")) == (4, 0)
    assert '"fake 2.0"' in (project / "reports" / HYPOTHESIS / "provenance.json").read_text(encoding="utf-8")


def test_an_interrupted_run_leaves_no_program_behind(tmp_path, monkeypatch):
    installed = Installed(tmp_path)
    monkeypatch.setenv("PATH", installed.path)
    project = project_with(tmp_path / "project", "hangs", timeout_s=3600.0)
    run = start_run(project, HYPOTHESIS)
    try:
        for _ in range(6000):
            if installed.starts or run.poll() is not None:
                break
            time.sleep(0.01)
        assert installed.starts == 1
        running = [process.name for process in Path("/proc").glob("[0-9]*") if is_ours(process.name, installed)]
        os.kill(run.pid, signal.SIGTERM)
        assert run.wait(timeout=60) == 143
    finally:
        run.stdout.close()
        run.kill()
    assert running
    for _ in range(1000):
        if not any(is_ours(pid, installed) for pid in running):
            break
        time.sleep(0.01)
    assert [pid for pid in running if is_ours(pid, installed)] == []


def is_ours(pid, installed):
    """Say whether a process is the program of this test."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as words:  # noqa: PTH123 - it may be gone by now
            return str(installed.folder).encode() in words.read()
    except OSError:
        return False
