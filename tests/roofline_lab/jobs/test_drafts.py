"""A broken hypothesis stops itself and what builds on it; all else is made, and the run ends with what is wrong."""

from __future__ import annotations

import shutil

import pytest

from roofline_lab.jobs.drafts import left_out_told, load_usable
from roofline_lab.jobs.targets import refuse_unknown
from simulator.errors import ConfigError
from tests.roofline_lab.builders import HYPOTHESIS, ROOT, edit_yaml, replace_text
from tests.roofline_lab.snakemake_runs import ROWS, small_project, snakemake, snapshot

BROKEN, ON_IT = "h3_broken", "h4_on_it"
WRONG = f"hypotheses/{BROKEN}/hypothesis.yaml"


def copy_of(project, name, change):
    """Add a hypothesis like the one that is there."""
    folder = project / "hypotheses" / name
    shutil.copytree(project / "hypotheses" / HYPOTHESIS, folder, ignore=shutil.ignore_patterns("published"))
    edit_yaml(folder / "hypothesis.yaml", lambda spec: (spec.update(id=name), change(spec)))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a small project with a sound hypothesis, a broken one, and one that refers to it."""
    project = small_project(tmp_path_factory.mktemp("drafts") / "project")
    copy_of(project, BROKEN, lambda spec: spec.update(tier=7))
    copy_of(project, ON_IT, lambda spec: spec.update(references=[BROKEN]))
    return project


def test_the_others_are_loaded_and_what_is_wrong_is_kept(project):
    found = load_usable(project)
    assert found.names == (HYPOTHESIS,)
    assert list(found.left_out) == [BROKEN, ON_IT]
    assert found.left_out[BROKEN].startswith(f"{WRONG}: tier: ")
    assert found.left_out[ON_IT] == f"hypotheses/{ON_IT}/hypothesis.yaml: references {BROKEN}, which is left out"
    assert "findings made: 1, left out: 2" in left_out_told(found)


def test_asking_for_what_is_left_out_or_for_all_findings_says_what_is_wrong(project):
    found = load_usable(project)
    with pytest.raises(ConfigError, match=f"{WRONG}: tier: "):
        refuse_unknown(found, [BROKEN], [HYPOTHESIS, "check"])
    with pytest.raises(ConfigError, match=f"'check' is about all findings, and some cannot be made: .*\n  {WRONG}"):
        refuse_unknown(found, ["check"], [HYPOTHESIS, "check"])
    refuse_unknown(found, [HYPOTHESIS], [HYPOTHESIS, "check"])


def test_a_run_makes_the_others_and_ends_with_an_error_that_names_it(project):
    done = snakemake(project, "--cores", "1")
    assert done.returncode == 1
    assert f"left out: {WRONG}: tier: " in done.stdout
    assert "Traceback" not in done.stdout
    assert (project / "reports" / HYPOTHESIS / "FINDINGS.md").is_file()
    assert not (project / "reports" / "README.md").exists()
    assert not (project / "reports" / ON_IT).exists()
    assert done.stdout.rindex("findings made: 1, left out: 2") > done.stdout.index("report written to")
    before = snapshot(project)
    assert snakemake(project, "--cores", "1").returncode == 1
    again = snapshot(project)
    assert [again[folder] for folder in (ROWS, "reports")] == [before[folder] for folder in (ROWS, "reports")]


def test_what_is_no_matter_of_one_hypothesis_is_refused_as_a_whole(project, tmp_path):
    copied = shutil.copytree(
        project, tmp_path / "project", ignore=shutil.ignore_patterns("results", "reports", ".snakemake")
    )
    replace_text(copied / "configs" / "methods" / "corrected.yaml", "id: ", "ide: ")
    with pytest.raises(ConfigError, match=r"configs/methods/corrected\.yaml"):
        load_usable(copied)


def test_a_project_of_nothing_but_broken_hypotheses_is_refused(tmp_path):
    folder = tmp_path / "hypotheses" / BROKEN
    folder.mkdir(parents=True)
    (folder / "hypothesis.yaml").write_text("id: [\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=WRONG):
        load_usable(tmp_path)


def test_the_project_itself_leaves_nothing_out():
    assert load_usable(ROOT).left_out == {}
