"""The whole pipeline, run from a shell on a small copy of the project.

What runs again is read off the files that were written, not off what Snakemake says. Whether the committed
reports of the whole project come out again is what `make check` finds out.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import time
import zipfile
from pathlib import Path

import pytest

from tests.roofline_lab.builders import HYPOTHESIS, ROOT, replace_text
from tests.roofline_lab.snakemake_runs import (
    EXPERIMENTS,
    PAGE,
    ROWS,
    SWEEP,
    clone,
    contents,
    made_again,
    mark_rows,
    remade,
    small_project,
    snakemake,
    snapshot,
    start_run,
    states,
    succeed,
)

SPEC = f"hypotheses/{HYPOTHESIS}/hypothesis.yaml"
# What is taken from an archive keeps the time it has there; only content decides.
OLD = (1, 1)
NUMBERS = f"reports/{HYPOTHESIS}/numbers.csv"
ARMS = ("baseline", "treatment")
ALL_RUNS = {
    (method, arm, experiment) for method in ("as_published", "corrected") for arm in ARMS for experiment in EXPERIMENTS
} | {("multi_rate", arm, SWEEP) for arm in ARMS}
ALL_ROWS = {f"{method}/{arm}.jsonl" for method, arm, _ in ALL_RUNS}
# Files that only say what runs depend on; they are made when the project is read.
RECORDS = ("inputs/", f"{HYPOTHESIS}/arms/")


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
    """Return a small project in which nothing was made yet; read only."""
    return small_project(tmp_path_factory.mktemp("pristine") / "project")


@pytest.fixture(scope="session")
def built(pristine, tmp_path_factory):
    """Return a small project in which everything was made once; read only."""
    project = clone(pristine, tmp_path_factory.mktemp("built") / "project")
    succeed(project, "--cores", "1")
    return project


@pytest.fixture
def project(built, tmp_path):
    """Return a copy of the built project, free to be changed."""
    return clone(built, tmp_path / "project")


def results_remade(project, before):
    """Return which results were written since, runs and records left out."""
    prefix = f"{HYPOTHESIS}/"
    names = {name for name in remade(project, before, "results") if not name.startswith(RECORDS)}
    return {name.removeprefix(prefix) for name in names if not name.startswith(f"{prefix}rows/")}


def assert_user_error(done):
    """Insist on a failure without a traceback."""
    assert done.returncode != 0
    assert "Traceback" not in done.stdout


# --- a fresh clone ----------------------------------------------------------------------------------


def test_one_command_makes_every_run_the_scores_and_the_report(built):
    assert set(states(built / ROWS)) == ALL_ROWS
    assert made_again(built) == ALL_RUNS
    assert (built / PAGE).read_text(encoding="utf-8").startswith("<!-- Generated")
    for name in ("rows.csv", "numbers.csv", "verdict.json"):
        assert (built / "results" / HYPOTHESIS / name).is_file()
    assert (built / NUMBERS).read_bytes() == (built / "results" / HYPOTHESIS / "numbers.csv").read_bytes()


def test_no_temporary_file_stays_behind(built):
    left = [name for folder in ("results", "reports") for name in states(built / folder) if "partial" in name]
    assert left == []


def test_a_second_time_there_is_nothing_to_be_done(project):
    before = snapshot(project)
    done = succeed(project, HYPOTHESIS)
    assert "Nothing to be done" in done.stdout
    assert snapshot(project) == before


def test_snakemake_finds_nothing_to_be_done_either_and_that_is_kept(project):
    kept = project / "results" / "up_to_date.json"
    before = snapshot(project)
    content = kept.read_bytes()
    kept.unlink()
    assert "Nothing to be done (all requested files" in succeed(project).stdout
    assert remade(project, before, "results") == {"up_to_date.json"}
    assert kept.read_bytes() == content


def test_other_cores_threads_hash_seed_and_another_place_give_the_same_bytes(pristine, built, tmp_path):
    other = clone(pristine, tmp_path / "another place")
    succeed(other, "--cores", "2", hash_seed="4242", threads=8)
    assert contents(other / "reports") == contents(built / "reports")
    assert contents(other / "results") == contents(built / "results")


def test_a_report_names_no_machine_no_user_and_no_place(built):
    for path in (built / "reports").rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert str(built) not in text, path.name
            assert str(ROOT) not in text, path.name


# --- what runs again --------------------------------------------------------------------------------


def test_a_changed_value_of_one_arm_runs_that_arm_its_scores_and_its_report_again(project):
    before = snapshot(project)
    replace_text(
        project / SPEC, "treatment: { bandwidth_efficiency: 0.82 }", "treatment: { bandwidth_efficiency: 0.80 }"
    )
    os.utime(project / SPEC, OLD)
    succeed(project, HYPOTHESIS)
    assert remade(project, before, ROWS) == {name for name in ALL_ROWS if "/treatment" in name}
    assert {"rows.csv", "numbers.csv", "verdict.json", "report/FINDINGS.md"} <= results_remade(project, before)
    assert f"{HYPOTHESIS}/FINDINGS.md" in remade(project, before, "reports")
    assert "0.8 " in (project / PAGE).read_text(encoding="utf-8")


def test_a_changed_line_of_the_simulator_runs_everything_again(project):
    mark_rows(project)
    before = snapshot(project)
    path = project / "simulator" / "metrics.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# One more line.\n", encoding="utf-8")
    succeed(project, HYPOTHESIS)
    assert made_again(project) == ALL_RUNS
    assert f"{HYPOTHESIS}/FINDINGS.md" in remade(project, before, "reports")


def test_a_simulator_that_was_only_touched_runs_nothing_again(project):
    before = snapshot(project)
    for path in (project / "simulator").rglob("*.py"):
        path.touch()
    assert "Nothing to be done" in succeed(project, HYPOTHESIS).stdout
    assert snapshot(project) == before


def test_a_changed_template_renders_the_page_again_without_a_single_run(project):
    before = snapshot(project)
    path = project / "workflow" / "templates" / "findings.md.j2"
    path.write_text(path.read_text(encoding="utf-8") + "\nOne more sentence.\n", encoding="utf-8")
    os.utime(path, OLD)
    succeed(project, HYPOTHESIS)
    assert remade(project, before, ROWS) == set()
    assert not {"rows.csv", "numbers.csv", "verdict.json"} & results_remade(project, before)
    assert "One more sentence." in (project / PAGE).read_text(encoding="utf-8")


def test_changed_scoring_scores_again_without_a_single_run(project):
    before = snapshot(project)
    record = (project / PAGE).with_name("provenance.json").read_bytes()
    path = project / "workflow" / "roofline_lab" / "scoring" / "statistics.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# One more line.\n", encoding="utf-8")
    succeed(project, HYPOTHESIS)
    assert remade(project, before, ROWS) == set()
    assert {"rows.csv", "numbers.csv", "verdict.json", "report/FINDINGS.md"} <= results_remade(project, before)
    assert (project / PAGE).with_name("provenance.json").read_bytes() == record


def test_a_changed_sentence_of_the_discussion_renders_the_page_again_without_a_single_run(project):
    before = snapshot(project)
    path = project / "hypotheses" / HYPOTHESIS / "discussion.md"
    path.write_text(path.read_text(encoding="utf-8") + "\nOne more thought.\n", encoding="utf-8")
    os.utime(path, OLD)
    succeed(project, HYPOTHESIS)
    assert remade(project, before, ROWS) == set()
    assert not {"rows.csv", "numbers.csv"} & results_remade(project, before)
    assert "One more thought." in (project / PAGE).read_text(encoding="utf-8")


def test_a_changed_measurement_runs_only_its_experiment_again(project):
    mark_rows(project)
    path = project / "ground_truth" / EXPERIMENTS[0] / "experiment.yaml"
    replace_text(path, "value: 1292.6", "value: 1292.5")
    os.utime(path, OLD)
    succeed(project, HYPOTHESIS)
    assert made_again(project) == {run for run in ALL_RUNS if EXPERIMENTS[0] in run}


def test_a_forced_run_keeps_no_row(project):
    mark_rows(project)
    succeed(project, HYPOTHESIS, "--forceall")
    assert made_again(project) == ALL_RUNS


def test_a_deleted_report_file_is_made_again_without_a_single_run(project):
    before = snapshot(project)
    (project / NUMBERS).unlink()
    succeed(project, HYPOTHESIS)
    assert remade(project, before, ROWS) == set()
    assert (project / NUMBERS).is_file()


# --- the check --------------------------------------------------------------------------------------


def test_a_check_of_an_untouched_report_passes_and_writes_nothing_there(project):
    before = states(project / "reports")
    done = succeed(project, "check")
    assert f"check {HYPOTHESIS}: the committed report comes out again" in done.stdout
    assert "published numbers: " in done.stdout
    assert states(project / "reports") == before


def test_a_tampered_number_fails_the_check_by_name_and_reports_stay_as_found(project):
    row = f"corrected,treatment,synchronous,experiment,{EXPERIMENTS[0]},tpot_mean,predicted,"
    text = (project / NUMBERS).read_text(encoding="utf-8")
    start = text.index(row) + len(row)
    (project / NUMBERS).write_text(text[:start] + "9" + text[start:], encoding="utf-8")
    before, old = states(project / "reports"), contents(project / "reports")
    done = snakemake(project, "check")
    assert_user_error(done)
    assert f"{NUMBERS}: corrected, treatment, synchronous, experiment, {EXPERIMENTS[0]}, tpot_mean, predicted, ms" in (
        done.stdout
    )
    assert "check failed: 1 differences" in done.stdout
    assert states(project / "reports") == before
    assert contents(project / "reports") == old


def test_missing_report_files_fail_the_check_and_are_not_put_back(project):
    names = [f"reports/{HYPOTHESIS}/{name}" for name in ("reproduction.md", "provenance.json", "FINDINGS.md")]
    for name in names:
        (project / name).unlink()
    done = snakemake(project, "check")
    assert_user_error(done)
    for name in names:
        assert f"{name}: file: is regenerated, but missing from the report" in done.stdout
        assert not (project / name).exists()


# --- Snakemake's own report -------------------------------------------------------------------------


def test_the_report_of_snakemake_holds_page_figures_and_tables_with_captions_by_hypothesis(project):
    succeed(project, "--report", "report.zip", HYPOTHESIS)
    with zipfile.ZipFile(project / "report.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
        shown = archive.read("report/report.html").decode()
    assert {"FINDINGS.md", "DETAILS.md", "numbers.csv", "ttft_mean_signed_errors.svg"} <= names
    assert "provenance.json" not in names
    for caption in (ROOT / "workflow" / "report").glob("*.rst"):
        assert caption.read_text(encoding="utf-8")[:50] in shown, caption.name
    assert f'"{HYPOTHESIS}"' in shown


# --- user errors ------------------------------------------------------------------------------------


def test_a_misspelt_target_suggests_the_right_one_and_runs_nothing(project):
    before = snapshot(project)
    done = snakemake(project, "h1_bw_eficiency")
    assert_user_error(done)
    assert f"unknown target 'h1_bw_eficiency'; did you mean '{HYPOTHESIS}'?" in done.stdout
    assert snapshot(project) == before


def test_a_misspelt_key_is_one_clear_message_before_any_job(pristine, tmp_path):
    project = clone(pristine, tmp_path / "project")
    replace_text(project / SPEC, "\nmetrics:", "\nmetrcis:")
    done = snakemake(project, HYPOTHESIS)
    assert_user_error(done)
    assert f"{SPEC}: " in done.stdout
    assert "metrcis: unknown key; did you mean 'metrics'?" in done.stdout
    assert not (project / "results").exists()
    assert not (project / "reports").exists()


def test_a_text_that_asks_for_a_missing_number_keeps_the_old_report(project):
    before = contents(project / "reports")
    replace_text(project / SPEC, "v.gain('as_published', 'tpot_mean') | pp", "v.gain('as_publishd', 'tpot_mean') | pp")
    done = snakemake(project, HYPOTHESIS)
    assert_user_error(done)
    assert "findings.0" in done.stdout
    assert "as_publishd" in done.stdout
    assert contents(project / "reports") == before


# --- a killed run -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_says_so_leaves_no_half_report_and_resumes_to_the_same_bytes(
    pristine, built, tmp_path, number
):
    """Ended by the terminal, a signal reaches the whole group; SIGTERM reaches the run alone."""
    project = clone(pristine, tmp_path / "project")
    process = start_run(project, HYPOTHESIS, "--cores", "2")
    try:
        _wait_for(lambda: len(list((project / ROWS).rglob("*.jsonl"))) >= len(ALL_ROWS) // 2, process)
    finally:
        (os.kill if number is signal.SIGTERM else os.killpg)(process.pid, number)
        process.communicate()
    assert process.returncode == (-number if number is signal.SIGKILL else 128 + number)
    page = project / PAGE
    assert not page.exists() or page.read_bytes() == (built / PAGE).read_bytes()
    succeed(project)
    for folder in ("reports", "results"):
        assert contents(project / folder) == contents(built / folder)


def test_a_run_beside_a_check_waits_for_it_and_both_are_right(project, built):
    """Regression: one of two runs failed because of what the other was making."""
    shutil.rmtree(project / RESULT)
    runs = [start_run(project, *words) for words in (("check",), (HYPOTHESIS, "--forceall"))]
    told = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    assert sum("another run is at work in this folder" in text for text in told) == 1
    for folder in ("reports", "results"):
        assert contents(project / folder) == contents(built / folder)


def _wait_for(condition, process, patience_s=60.0):
    deadline = time.monotonic() + patience_s
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run made no progress"
        time.sleep(0.002)


# --- nothing stale, nothing missing -----------------------------------------------------------------


def test_a_report_whose_page_failed_is_not_up_to_date_the_next_time(project):
    """A failed page must fail again, not leave the old report to pass for the new one."""
    replace_text(project / SPEC, "bandwidth_efficiency: 0.82", "bandwidth_efficiency: 0.80")
    replace_text(project / SPEC, "v.max_rate('as_published', 'flops')", "v.max_rate('as_publihsed', 'flops')")
    for _ in range(2):
        done = snakemake(project)
        assert_user_error(done)
        assert "as_publihsed" in done.stdout


# --- what is not as it was made ---------------------------------------------------------------------


def _with(key, value):
    """Return an edit of the first row that leaves it a row of the same configuration, code and data."""

    def edit(path):
        first, *others = path.read_text(encoding="utf-8").splitlines(keepends=True)
        row = json.loads(first)
        assert key in row["metrics"]["tpot_mean"]
        row["metrics"]["tpot_mean"][key] = value
        path.write_text("".join([json.dumps(row, sort_keys=True) + "\n", *others]), encoding="utf-8")

    return edit


def _says(old, new):
    """Return an edit that puts one word for another."""

    def edit(path):
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return edit


def _without_a_line(path):
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]), encoding="utf-8")


RESULT = f"results/{HYPOTHESIS}"
BASELINE, TREATMENT = "baseline.jsonl", "treatment.jsonl"
# What a person or a failing disk does to some files of results, which are the better for it made again.
EDITS = {
    "rows of arms": {
        f"{ROWS}/corrected/{TREATMENT}": _with("predicted", 1.0),
        f"{ROWS}/corrected/{BASELINE}": _with("measured", 1.0),
        f"{ROWS}/as_published/{TREATMENT}": _with("predicted", [1.0]),
        f"{ROWS}/as_published/{BASELINE}": _with("measured", math.nan),
        f"{ROWS}/multi_rate/{TREATMENT}": _without_a_line,
        f"{ROWS}/multi_rate/{BASELINE}": Path.unlink,
    },
    "files of rows": {
        f"{ROWS}/corrected/{TREATMENT}": lambda path: path.write_bytes(b"\xef\xbb\xbf\xb1\x00"),
        f"{ROWS}/corrected/{BASELINE}": lambda path: path.write_text("NaN\n", encoding="utf-8"),
        f"{ROWS}/as_published/{BASELINE}": lambda path: path.write_text("", encoding="utf-8"),
        f"{ROWS}/multi_rate": shutil.rmtree,
        f"{RESULT}/rows.csv": _says(",ok,", ",unsupported,"),
    },
    "scores": {
        f"{RESULT}/verdict.json": lambda path: path.write_text("[]", encoding="utf-8"),
        f"{RESULT}/numbers.csv": lambda path: path.write_text("method\n" + "9" * 200_000, encoding="utf-8"),
        f"{RESULT}/rows.csv": Path.unlink,
    },
    "a verdict": {f"{RESULT}/verdict.json": _says("onfirmed", "efuted")},
    "a page": {f"{RESULT}/report/FINDINGS.md": _says("onfirmed", "efuted")},
    "files of a page": {
        f"{RESULT}/report/numbers.csv": _says("1", "2"),
        f"{RESULT}/report/reproduction.md": Path.unlink,
        f"{RESULT}/report/verdict.json": lambda path: path.with_name("more.md").write_text("more", encoding="utf-8"),
    },
    "records of inputs": {
        f"{RESULT}/arms/corrected/{TREATMENT.replace('jsonl', 'json')}": lambda path: path.write_text("7"),
        "results/inputs/score.sha256": lambda path: path.write_text("", encoding="utf-8"),
        "results/made.sha256": lambda path: path.write_bytes(b"\xff  \n" + path.read_bytes()[:2000]),
    },
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_is_not_as_it_was_made_is_made_again_and_reaches_no_page(project, built, edit):
    for number, (name, change) in enumerate(EDITS[edit].items()):
        change(project / name)
        if number % 2 and (project / name).exists():
            os.utime(project / name, OLD)
    done = succeed(project)
    assert "Nothing to be done" not in done.stdout
    assert "Traceback" not in done.stdout
    for folder in ("reports", "results"):
        assert contents(project / folder) == contents(built / folder)


def test_a_check_makes_an_edited_result_again_before_it_compares(project, built):
    """An edited page beside an equally edited report would pass."""
    for folder in (f"{RESULT}/report", f"reports/{HYPOTHESIS}"):
        _says("Confirmed", "Refuted")(project / folder / "FINDINGS.md")
    done = snakemake(project, "check")
    assert_user_error(done)
    assert f"reports/{HYPOTHESIS}/FINDINGS.md: line" in done.stdout
    assert contents(project / "results" / HYPOTHESIS) == contents(built / "results" / HYPOTHESIS)


def test_what_was_changed_is_named_with_what_becomes_of_it(project):
    for name in sorted(ALL_ROWS):
        (project / ROWS / name).write_text("edited", encoding="utf-8")
    told = succeed(project, HYPOTHESIS).stdout
    assert f"{ROWS}/as_published/{BASELINE}: is not as it was made, so it is made again" in told
    assert "1 more files are not as they were made, so they are made again" in told


def test_a_folder_of_ones_own_in_results_is_left_alone(project):
    mine = project / "results" / "mine" / "report" / "notes.md"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="utf-8")
    succeed(project, HYPOTHESIS)
    assert mine.read_text(encoding="utf-8") == "mine"


def test_what_a_killed_run_was_writing_goes_before_the_next_one(project):
    left = [project / name for name in (f"reports/{HYPOTHESIS}/.FINDINGS.md.x.partial", f"{ROWS}/.a.jsonl.y.partial")]
    for path in left:
        path.write_text("half", encoding="utf-8")
    succeed(project, "check")
    assert not any(path.exists() for path in left)


def test_a_report_folder_without_a_hypothesis_fails_the_check(project):
    (project / "reports" / "abandoned").mkdir()
    (project / "reports" / "abandoned" / "FINDINGS.md").write_text("old", encoding="utf-8")
    done = snakemake(project, "check")
    assert_user_error(done)
    assert "reports/abandoned" in done.stdout


def test_a_changed_published_number_is_counted_by_the_next_check(project):
    table = project / "hypotheses" / HYPOTHESIS / "published" / "absolute.csv"
    replace_text(table, "ttft_mean,predicted,3.9,", "ttft_mean,predicted,9.9,")
    before = snakemake(project, "check").stdout
    replace_text(table, "ttft_mean,predicted,9.9,", "ttft_mean,predicted,3.9,")
    after = snakemake(project, "check").stdout
    told = [next(line for line in text.splitlines() if "published numbers" in line) for text in (before, after)]
    assert told[0] != told[1]


def test_a_syntax_error_in_the_discussion_is_told_before_any_run(project):
    page = project / "hypotheses" / HYPOTHESIS / "discussion.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n{{ v.mape( }}\n", encoding="utf-8")
    before = snapshot(project)
    done = snakemake(project)
    assert_user_error(done)
    assert "not a template" in done.stdout
    assert remade(project, before, "results") == set()


@pytest.mark.parametrize("name", ["check", "all", "publish_mine"])
def test_a_hypothesis_named_like_a_rule_is_refused(project, name):
    folder = project / "hypotheses" / name
    (project / "hypotheses" / HYPOTHESIS).rename(folder)
    replace_text(folder / "hypothesis.yaml", f"id: {HYPOTHESIS}", f"id: {name}")
    done = snakemake(project, "-n")
    assert_user_error(done)
    assert "is the name of a command or rule" in done.stdout
