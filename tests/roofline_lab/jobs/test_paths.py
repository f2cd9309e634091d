"""Content decides: whatever a person or an archive puts into the project reaches a rule by its content.

Every rule takes files below `results/` alone, and those that stand for files of a person change with their content. So
no time stamp of such a file can keep a run from being done again.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from roofline_lab.calibration import plan
from roofline_lab.jobs import paths
from roofline_lab.jobs.findings import open_project
from tests.paths import ROOT
from tests.roofline_lab.builders import HYPOTHESIS, copy_project
from tests.roofline_lab.snakemake_runs import EXPERIMENTS, SWEEP, clone, contents, small_project

OLD = (1, 1)
ARMS = f"{HYPOTHESIS}/arms"
RECORDING, PLAIN, RATES = (
    {f"{ARMS}/{method}/{arm}.json" for arm in ("baseline", "treatment")}
    for method in ("as_published", "corrected", "multi_rate")
)
EVERY_ARM = RECORDING | PLAIN | RATES
SPEC = {f"{HYPOTHESIS}/{paths.JUDGED_BY}", f"{HYPOTHESIS}/{paths.WRITTEN}", "inputs/specs.sha256"}
TEXT = {f"{HYPOTHESIS}/{paths.WRITTEN}"}
PAGES = {"inputs/render.sha256", "inputs/calibration_page.sha256"}
DATA = {"inputs/errata_data.sha256"}
CODE = {f"inputs/{stage}.sha256" for stage in paths.CODE}
# Kind of file -> one of them, what to put for what, and which records change.
KINDS = {
    "a measurement": (f"ground_truth/{EXPERIMENTS[0]}/experiment.yaml", "1292.6", "1292.5", RECORDING | PLAIN | DATA),
    "a rate sweep": (f"ground_truth/{SWEEP}/experiment.yaml", "quality:", "quality: # seen", RATES | DATA),
    "sets of experiments": ("ground_truth/sets.yaml", f"- {EXPERIMENTS[0]}", "", RECORDING | PLAIN | DATA),
    "a model": ("configs/models/llama-2-7b-hf.json", '"vocab_size": 32000', '"vocab_size": 32016', EVERY_ARM | DATA),
    "a GPU": ("configs/hardware/h100-sxm.yaml", "name:", "# H100\nname:", EVERY_ARM | DATA),
    "settings": ("configs/lab.yaml", "resamples: 4", "resamples: 5", CODE),
    "a method": ("configs/methods/corrected.yaml", "title: ", "title: More ", SPEC),
    "recorded lengths": ("configs/methods/as_published/request_lengths.csv", "\n", "\n\n", RECORDING),
    "a claim": (f"hypotheses/{HYPOTHESIS}/hypothesis.yaml", "title: ", "title: More ", SPEC),
    "a discussion": (f"hypotheses/{HYPOTHESIS}/discussion.md", "\n## ", "\nMore.\n\n## ", TEXT),
    "a published table": (f"hypotheses/{HYPOTHESIS}/published/absolute.csv", ",3.9,", ",3.8,", SPEC | DATA),
    "a template": (
        "workflow/templates/findings.md.j2",
        "\n",
        "\n\n",
        {f"inputs/{stage}.sha256" for stage in ("render", "calibration_page", "compared", "capacity")},
    ),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return a small project of which only the records of what jobs depend on are there."""
    project = small_project(tmp_path_factory.mktemp("recorded") / "project")
    _record(project)
    return project


def _record(project):
    before = Path.cwd()
    os.chdir(project)
    try:
        open_project(project)
    finally:
        os.chdir(before)
    return _records(project)


def _records(project):
    return {name: hashed for name, hashed in contents(project / "results").items() if name != "made.sha256"}


def _change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    os.utime(path, OLD)


@pytest.mark.parametrize("kind", KINDS)
def test_changed_content_under_an_older_time_stamp_changes_what_jobs_depend_on(recorded, tmp_path, kind):
    name, old, new, expected = KINDS[kind]
    project = clone(recorded, tmp_path / "project")
    before = _records(project)
    _change(project / name, old, new)
    after = _record(project)
    changed = {name for name in after if before.get(name) != after[name]}
    if kind == "settings":
        assert changed <= expected
        assert {"inputs/score.sha256", "inputs/render.sha256"} <= changed
    else:
        assert changed == expected


def test_a_record_whose_content_is_the_same_keeps_its_time(recorded, tmp_path):
    project = clone(recorded, tmp_path / "project")
    times = {path: path.stat().st_mtime_ns for path in (project / "results").rglob("*.*")}
    for name, *_ in KINDS.values():
        os.utime(project / name)
    _record(project)
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_an_edited_record_is_written_again(recorded, tmp_path):
    project = clone(recorded, tmp_path / "project")
    before = _records(project)
    for name in (f"{ARMS}/corrected/treatment.json", "inputs/score.sha256"):
        (project / "results" / name).write_text("edited", encoding="utf-8")
    assert _record(project) == before


def test_no_rule_takes_a_file_of_a_person_as_its_input():
    """Snakemake compares inputs by their times; only what a run itself has written may be an input."""
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        words = re.findall(r"author_files|judging_files|errata_inputs|experiment_files|shared_files|ground_truth", text)
        assert words == [], path.name


@pytest.mark.parametrize("what", ["an experiment", "a plan", "a model"])
def test_a_calibration_depends_on_the_content_of_its_data(tmp_path, what):
    project = copy_project(tmp_path / "project", ("configs", "ground_truth"))
    (name,) = plan.plan_names(project)
    experiment = plan.train_experiments(project, name)[0]
    file = {
        "an experiment": plan.experiment_files(project, experiment)[0],
        "a plan": f"configs/calibration/plans/{name}.yaml",
        "a model": "configs/models/llama-2-7b-hf.json",
    }[what]

    def records():
        made = (plan.experiment_record(project, experiment), plan.shared_record(project, name))
        return [(project / record).read_bytes() for record in made]

    before = records()
    with (project / file).open("a", encoding="utf-8") as stream:
        stream.write("\n")
    os.utime(project / file, OLD)
    assert records() != before
