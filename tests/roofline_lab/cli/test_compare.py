"""`roofline-lab compare`, end to end on small repositories and folders."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from roofline_lab.cli.compare import EPILOG
from roofline_lab.cli.main import main, parser
from tests.paths import ROOT
from tests.roofline_lab.regression.small import (
    H1,
    commit,
    git,
    key,
    synthetic_csv,
    write_ground_truth,
    write_report,
)
from tests.roofline_lab.snakemake_runs import states


@pytest.fixture
def repository(tmp_path):
    """Return a project with two commits: the second made one row worse and refuted the claim."""
    root = tmp_path / "project"
    write_ground_truth(root)
    write_report(root, {"one": 110.0, "two": 105.0})
    commit(root, "first")
    git(root, "tag", "v1")
    write_report(root, {"one": 114.0, "two": 105.0}, status="Refuted", criteria={"improves": "FAIL"})
    commit(root, "second")
    return root


def run(capsys, root, *arguments):
    """Return exit code, standard output and standard error of one comparison."""
    code = main(["compare", *map(str, arguments), "--root", str(root)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refusal(capsys, root, *arguments):
    code, out, err = run(capsys, root, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "Traceback" not in err
    return err


def change(root, predictions, **verdict):
    """Write the report anew in the work tree, without a commit."""
    return write_report(root, predictions, **verdict)


# --- what can be compared ---------------------------------------------------------------------


def test_two_revisions_are_compared_without_touching_the_work_tree(capsys, repository):
    git(repository, "status")
    before = states(repository)
    code, out, err = run(capsys, repository, "v1", "HEAD")
    assert (code, err) == (1, "")
    assert "from `v1` (" in out
    assert "**2 verdicts and criteria flipped; rows: 1 worse, 0 better beyond noise, 1 the same.**" in out
    assert "+4.0 pp" in out
    assert states(repository) == before


def test_one_revision_is_compared_with_the_work_tree(capsys, repository):
    assert run(capsys, repository, "HEAD")[0] == 0
    change(repository, {"one": 120.0, "two": 105.0}, status="Refuted", criteria={"improves": "FAIL"})
    code, out, _ = run(capsys, repository, "HEAD")
    assert code == 1
    assert "to the work tree" in out
    assert "1 worse" in out


@pytest.mark.parametrize("name", ["HEAD~1", "v1", "main~1", "HEAD^{/first}", "@{0}~1"])
def test_whatever_git_takes_for_a_commit_is_a_revision(capsys, repository, name):
    assert run(capsys, repository, name, "HEAD")[0] == 1


def test_a_hash_is_shown_once(capsys, repository):
    commit_hash = git(repository, "rev-parse", "v1")
    assert f"from `{commit_hash[:9]}` to" in run(capsys, repository, commit_hash, "HEAD")[1]


def test_two_folders_are_compared_outside_any_repository(capsys, tmp_path):
    for name, value in (("old", 110.0), ("new", 104.0)):
        write_report(tmp_path / name, {"one": value})
    code, out, _ = run(capsys, tmp_path / "nowhere", tmp_path / "old", tmp_path / "new" / "reports")
    assert code == 0
    assert "1 better" in out


def test_a_project_in_a_subfolder_of_its_repository_is_found(capsys, tmp_path):
    root = tmp_path / "sub" / "project"
    write_report(root, {"one": 110.0})
    commit(tmp_path)
    write_report(root, {"one": 120.0})
    assert run(capsys, root, "HEAD")[0] == 1


def test_a_folder_and_a_revision_of_one_name_have_to_be_told_apart(capsys, tmp_path, monkeypatch):
    write_report(tmp_path, {"one": 110.0})
    write_report(tmp_path / "main", {"one": 110.0})
    commit(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert "is a folder and a revision; write './main'" in refusal(capsys, tmp_path, "main")
    assert run(capsys, tmp_path, "./main")[0] == 0
    assert run(capsys, tmp_path, "refs/heads/main")[0] == 0


def test_of_a_revision_without_verdicts_the_numbers_are_compared_and_the_reader_told(capsys, tmp_path):
    names = (H1, "h2_other")
    for name in names:
        write_report(tmp_path, {"one": 110.0}, name, page="- Corrected: **Confirmed**, because it did\n")
    commit(tmp_path)
    for name in names:
        (tmp_path / "reports" / name / "FINDINGS.md").unlink()
        write_report(tmp_path, {"one": 114.0}, name, status="Refuted", criteria={"improves": "FAIL"})
    code, out, _ = run(capsys, tmp_path, "HEAD")
    assert code == 1
    assert "No verdict flipped; rows: 2 worse" in out
    assert "- HEAD:reports: verdicts and rows without a number of h1_claim, h2_other (no verdict.json" in out
    assert run(capsys, tmp_path, "HEAD", "--fail-on", "flip")[0] == 0


def test_noise_comes_from_the_ground_truth_of_each_side(capsys, repository):
    write_ground_truth(repository, tpot_p90={"value": 200.0, "unit": "ms"})
    change(repository, {"one": 92.0, "two": 105.0})
    commit(repository, "third")
    change(repository, {"one": 110.0, "two": 105.0})
    assert run(capsys, repository, "HEAD", "--fail-on", "worse")[0] == 0
    shutil.rmtree(repository / "ground_truth")
    commit(repository, "without")
    change(repository, {"one": 92.0, "two": 105.0})
    assert "1 better" in run(capsys, repository, "HEAD")[1]


def test_a_report_whose_numbers_alone_were_deleted_is_damaged_and_not_removed(capsys, tmp_path):
    folder = write_report(tmp_path, {"one": 110.0})
    write_report(tmp_path, {"one": 110.0}, "h2_other")
    commit(tmp_path)
    (folder / "numbers.csv").unlink()
    assert f"reports/{H1}: has a verdict but no numbers.csv" in refusal(capsys, tmp_path, "HEAD")
    shutil.rmtree(folder)
    code, out, _ = run(capsys, tmp_path, "HEAD")
    assert code == 0
    assert "1 report removed" in out


def test_reports_that_exist_on_one_side_are_named(capsys, repository):
    shutil.move(repository / "reports" / H1, repository / "reports" / "h2_renamed")
    code, out, _ = run(capsys, repository, "HEAD")
    assert code == 0
    assert "1 report added; 1 report removed" in out
    assert "`h2_renamed`" in out


def test_generated_points_are_compared_by_value(capsys, repository):
    path = repository / "reports" / H1 / "numbers.csv"
    path.write_text(synthetic_csv({"grid/1": 100.0}), encoding="utf-8")
    commit(repository)
    path.write_text(synthetic_csv({"grid/1": 150.0}), encoding="utf-8")
    code, out, _ = run(capsys, repository, "HEAD")
    assert code == 0
    assert "100.0 us → 150.0 us" in out


# --- exit codes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predicted", "status", "codes"),
    [
        (110.0, "Confirmed", {"any": 0, "worse": 0, "flip": 0, "never": 0}),
        (104.0, "Confirmed", {"any": 0, "worse": 0, "flip": 0, "never": 0}),
        (114.0, "Confirmed", {"any": 1, "worse": 1, "flip": 0, "never": 0}),
        (104.0, "Refuted", {"any": 1, "worse": 0, "flip": 1, "never": 0}),
        (114.0, "Refuted", {"any": 1, "worse": 1, "flip": 1, "never": 0}),
    ],
)
def test_the_exit_code_follows_what_was_asked(capsys, repository, predicted, status, codes):
    change(repository, {"one": predicted, "two": 105.0}, status=status)
    for choice, code in codes.items():
        assert run(capsys, repository, "v1", "--fail-on", choice)[0] == code
    assert run(capsys, repository, "v1")[0] == codes["any"]


def test_a_row_that_lost_its_number_is_worse_one_that_is_gone_is_not(capsys, repository):
    change(repository, {"one": 110.0})
    assert run(capsys, repository, "v1")[0] == 0
    change(repository, {"one": 110.0}, unscored=[(key("two"), "unsupported")])
    code, out, _ = run(capsys, repository, "v1")
    assert code == 1
    assert "| unsupported | two, synchronous" in out


def test_the_floor_decides_what_is_worse(capsys, repository):
    assert run(capsys, repository, "v1", "HEAD", "--fail-on", "worse", "--threshold-pp", "5")[0] == 0
    assert run(capsys, repository, "v1", "HEAD", "--fail-on", "worse", "--threshold-pp", "3.9")[0] == 1


# --- output -----------------------------------------------------------------------------------


def test_the_markdown_can_go_to_a_file(capsys, repository, tmp_path):
    target = tmp_path / "new" / "comparison.md"
    printed = run(capsys, repository, "v1", "HEAD")[1]
    code, out, _ = run(capsys, repository, "v1", "HEAD", "--out", target)
    assert code == 1
    assert target.read_text(encoding="utf-8") == printed
    assert out.startswith("2 verdicts and criteria flipped; rows: 1 worse")
    assert out.count("\n") == 1


def test_a_file_that_cannot_be_written_is_told(capsys, repository, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "cannot be written" in refusal(capsys, repository, "v1", "HEAD", "--out", tmp_path / "file" / "x.md")
    assert "cannot be written" in refusal(capsys, repository, "v1", "HEAD", "--out", tmp_path)


def test_no_rows_may_be_asked_for(capsys, repository):
    out = run(capsys, repository, "v1", "HEAD", "--rows", "0")[1]
    assert "<summary>Worst rows (1)</summary>\n\n*1 line not shown.*" in out


def test_the_comment_is_the_same_bytes_whatever_the_hash_seed(repository):
    def printed(seed):
        return subprocess.run(
            [sys.executable, "-m", "roofline_lab", "compare", "v1", "HEAD", "--root", repository],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=False,
        ).stdout

    assert printed("1") == printed("2") != b""


# --- bad input --------------------------------------------------------------------------------


def test_an_unknown_revision_is_answered_with_the_nearest_name(capsys, repository):
    git(repository, "branch", "faster-kernels")
    message = refusal(capsys, repository, "faster-kernel")
    assert "neither a folder nor a revision" in message
    assert "did you mean 'faster-kernels'?" in message
    assert "v1" in message


@pytest.mark.parametrize(
    "name", ["", "--upload-pack=x", "-x", "HEAD\nHEAD", "HEAD~99", "v1:reports", "a b", "x" * 5000]
)
def test_text_that_is_no_revision_is_refused(capsys, repository, name):
    code = main(["compare", "--root", str(repository), "--", name])
    assert code == 2
    assert "error: " in capsys.readouterr().err


def test_outside_a_repository_revisions_cannot_be_read(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    write_report(tmp_path / "p", {"one": 110.0})
    assert "give two folders with reports" in refusal(capsys, tmp_path / "p", "HEAD")


def test_a_machine_without_git_is_told_so(capsys, repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "git: not found" in refusal(capsys, repository, "HEAD")


def test_a_root_that_does_not_exist_is_told(capsys, tmp_path):
    assert "nowhere" in refusal(capsys, tmp_path / "nowhere", "HEAD")


def test_a_repository_without_commits_is_told(capsys, tmp_path):
    git(tmp_path, "init", "--quiet")
    assert "no commit yet" in refusal(capsys, tmp_path, "HEAD")


def test_a_shallow_clone_is_told_how_to_deepen(capsys, repository, tmp_path):
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{repository}", shallow)
    assert run(capsys, shallow, "HEAD")[0] == 0
    message = refusal(capsys, shallow, "HEAD~1")
    assert "git fetch --unshallow" in message
    assert "fetch-depth: 0" in message


def test_a_revision_without_reports_is_told(capsys, tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    commit(tmp_path)
    write_report(tmp_path, {"one": 110.0})
    assert "has no reports/*/numbers.csv" in refusal(capsys, tmp_path, "HEAD")


def test_folders_without_reports_are_told_apart(capsys, tmp_path):
    report = write_report(tmp_path / "good", {"one": 110.0})
    (tmp_path / "empty" / "reports").mkdir(parents=True)
    assert "is a single report; give the folder that holds it" in refusal(capsys, tmp_path, report, tmp_path / "good")
    assert "holds no report" in refusal(capsys, tmp_path, tmp_path / "good", tmp_path / "empty")
    assert "has no reports" in refusal(capsys, tmp_path, tmp_path / "empty" / "reports", tmp_path / "good")
    assert "has no reports" in refusal(capsys, tmp_path, tmp_path / "good")


def test_damaged_numbers_of_a_revision_are_named_with_it(capsys, repository):
    (repository / "reports" / H1 / "numbers.csv").write_text("damaged\n", encoding="utf-8")
    commit(repository)
    assert f"HEAD:reports/{H1}/numbers.csv: line 1" in refusal(capsys, repository, "HEAD", "v1")


def test_an_object_that_is_not_in_the_clone_is_told(capsys, repository):
    name = git(repository, "rev-parse", f"HEAD:reports/{H1}/numbers.csv")
    (repository / ".git" / "objects" / name[:2] / name[2:]).unlink()
    assert "its content is not in this clone" in refusal(capsys, repository, "HEAD", "v1")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--threshold-pp", "-1", "--threshold-pp: must be 0 or greater"),
        ("--threshold-pp", "nan", "--threshold-pp: must be 0 or greater"),
        ("--rows", "-1", "--rows: must be 0 or greater"),
    ],
)
def test_options_out_of_range_are_refused(capsys, repository, option, value, words):
    assert words in refusal(capsys, repository, "v1", f"{option}={value}")


# --- the project itself -----------------------------------------------------------------------


def test_every_command_the_documentation_shows_is_one_the_parser_takes():
    texts = [EPILOG, *((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/comparing.md"))]
    commands = [found.split("#")[0] for text in texts for found in re.findall(r"roofline-lab (compare .*)", text)]
    assert len(commands) >= 8
    for command in commands:
        words = shlex.split(re.split(r"\s{3,}|\|\|", command)[0])
        assert parser().parse_args(words).before, command


def test_the_project_against_itself_is_one_line(capsys):
    code, out, _ = run(capsys, ROOT, ROOT, ROOT / "reports")
    assert code == 0
    assert out.startswith("Nothing changed in the reports")
    assert out.count("\n") == 1
