"""A command is called done by content alone: one changed byte, read or made, and Snakemake looks for itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from roofline_lab.jobs.freshness import KEPT_IN, Freshness, read_command

HYPOTHESES = ("h1", "h2")
READ = ("Snakefile", "simulator/engine.py", "hypotheses/h1/hypothesis.yaml", "ground_truth/run/experiment.yaml")
MADE = tuple(
    name.format(hypothesis)
    for hypothesis in HYPOTHESES
    for name in ("results/{}/verdict.json", "results/{}/report/FINDINGS.md", "reports/{}/FINDINGS.md")
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a project folder, as the working directory, in which all findings were made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    for name in (*READ, *MADE):
        write(name, "as it was")
    asked().record(HYPOTHESES)
    return tmp_path


def write(name, text):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def asked(*words):
    return Freshness(["/somewhere/bin/snakemake", *words])


def done(*words):
    return asked(*words).nothing_to_do()


def test_after_all_findings_were_made_nothing_is_to_be_done_for_all_and_for_each(folder):
    assert done()
    assert done("all")
    assert done("h1", "h2")
    assert asked("check").regenerated()


@pytest.mark.parametrize("name", READ)
def test_a_changed_input_is_left_to_snakemake(folder, name):
    write(name, "as it is")
    assert not done()
    assert not done("h2")
    assert not asked("check").regenerated()


@pytest.mark.parametrize("name", ["hypotheses/h3/hypothesis.yaml", "configs/lab.yaml", "workflow/new.py"])
def test_a_new_input_is_left_to_snakemake(folder, name):
    write(name, "new")
    assert not done("h1")


def test_a_deleted_input_is_left_to_snakemake(folder):
    (folder / READ[1]).unlink()
    assert not done("h1")


def test_an_input_behind_a_link_counts_by_its_content(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "experiment.yaml").write_text("linked", encoding="utf-8")
    (folder / "ground_truth" / "linked").symlink_to(elsewhere, target_is_directory=True)
    asked().record(HYPOTHESES)
    assert done()
    (elsewhere / "experiment.yaml").write_text("changed", encoding="utf-8")
    assert not done()


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_text("edited")])
def test_a_changed_or_deleted_output_is_left_to_snakemake_where_it_is_asked_for(folder, change):
    change(folder / "reports/h1/FINDINGS.md")
    assert not done()
    assert not done("h1")
    assert done("h2")


def test_a_check_does_not_ask_for_reports_as_they_are_what_it_judges(folder):
    write("reports/h1/FINDINGS.md", "edited")
    assert asked("check").regenerated()
    write("results/h1/verdict.json", "edited")
    assert not asked("check").regenerated()


def test_touched_files_and_byte_code_change_nothing(folder):
    for name in (*READ, *MADE):
        os.utime(folder / name, (1, 1))
    write("simulator/__pycache__/engine.pyc", "byte code")
    assert done()


def test_logs_of_jobs_are_no_results(folder):
    write("results/logs/trust.log", "ended after 1.0 s")
    assert done()
    assert asked("check").regenerated()


def test_what_changes_while_a_run_goes_on_does_not_pass_for_what_it_read(folder):
    running = asked("--forceall")
    write(READ[1], "changed meanwhile")
    running.record(HYPOTHESES)
    assert not done()


def test_a_run_of_one_finding_says_nothing_about_another_and_forgets_nothing(folder):
    write(READ[2], "as it is")
    asked("h1").record(HYPOTHESES)
    assert done("h1")
    assert not done("h2")
    assert not done()
    write(READ[2], "as it was")
    assert done("h2")


def test_a_check_always_runs(folder):
    assert not done("check")


@pytest.mark.parametrize("words", [("--forceall",), ("-F", "h1")])
def test_what_is_forced_is_never_done(folder, words):
    assert not done(*words)


@pytest.mark.parametrize(
    "words",
    [
        ("-n",),
        ("-R", "render"),
        ("--config", "kernels=tables"),
        ("--touch",),
        ("--until", "score"),
        ("reports/h1/FINDINGS.md",),
        ("-s", "Snakefile"),
        ("--cores", "h1"),
        ("unknown",),
        ("errata",),
    ],
)
def test_any_other_word_is_left_to_snakemake(folder, words):
    assert not done(*words)


@pytest.mark.parametrize("cores", [("--cores", "1"), ("--cores=all",), ("-c4",), ("-c", "2")])
def test_the_number_of_cores_changes_nothing(folder, cores):
    assert done(*cores)
    assert done("h1", *cores)


@pytest.mark.parametrize("program", ["snakemake", "/bin/snakemake", "/site-packages/snakemake/__main__.py"])
def test_snakemake_is_known_however_it_is_started(program):
    assert read_command([program, "h1", "-c2"]).targets == ("h1",)


def test_another_profile_and_another_program_are_left_to_snakemake(folder, monkeypatch):
    assert read_command(["pytest", "h1"]) is None
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "mine")
    assert not done()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"all": 3}', '{"all": {"inputs": null}}'])
def test_a_damaged_record_proves_nothing(folder, text):
    write(KEPT_IN, text)
    assert not done()
    asked().record(HYPOTHESES)
    assert done()


@pytest.mark.parametrize("edited", ["reports/h1/FINDINGS.md", "results/h1/report/FINDINGS.md"])
def test_a_page_that_differs_from_what_was_regenerated_is_never_recorded_as_fresh(folder, edited):
    """Regression: Snakemake goes by time and found nothing to do, which was then said to be so by content."""
    write(edited, "edited by hand")
    asked().record(HYPOTHESES)
    asked("h1").record(HYPOTHESES)
    assert not done()
    assert not done("h1")
    assert done("h2")


def test_a_failed_or_dry_run_is_not_recorded(folder):
    before = json.loads(Path(KEPT_IN).read_text(encoding="utf-8"))
    write(READ[0], "as it is")
    asked("-n").record(HYPOTHESES)
    assert json.loads(Path(KEPT_IN).read_text(encoding="utf-8")) == before


def test_a_file_that_cannot_be_read_proves_nothing(folder):
    (folder / "configs").mkdir()
    (folder / "configs" / "dangling.yaml").symlink_to("nowhere")
    asked().record(HYPOTHESES)
    assert not done()
