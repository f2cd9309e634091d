"""`roofline-lab gate`, on small repositories, and once with a program that got worse."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import yaml

from roofline_lab.cli import gate
from roofline_lab.cli.main import main
from tests.roofline_lab.builders import ROOT, SOURCES, copy_project
from tests.roofline_lab.regression.small import H1, commit, write_ground_truth, write_report
from tests.roofline_lab.simulators.samples import (
    EXPERIMENTS,
    HYPOTHESIS,
    RIGHT,
    hypothesis,
    keep_experiments,
    write_hypothesis,
)
from tests.roofline_lab.snakemake_runs import contents, environment, succeed


@pytest.fixture
def repository(tmp_path):
    """Return a project with one committed report, and the same report as made by a run."""
    root = tmp_path / "project"
    for name in ("one", "two"):
        write_ground_truth(root, name)
    (root / "hypotheses" / H1).mkdir(parents=True)
    (root / "hypotheses" / H1 / "hypothesis.yaml").write_text("", encoding="utf-8")
    (root / "configs").mkdir()
    shutil.copy(ROOT / "configs" / "lab.yaml", root / "configs" / "lab.yaml")
    (root / ".gitignore").write_text("results/\n", encoding="utf-8")
    write_report(root, {"one": 110.0, "two": 105.0})
    commit(root, "committed")
    made(root, {"one": 110.0, "two": 105.0})
    return root


def made(root, predictions, **verdict):
    """Let a run have made the report anew, in `results/`."""
    folder = root / "results" / H1 / "report"
    shutil.rmtree(folder, ignore_errors=True)
    written = write_report(root / "results" / "elsewhere", predictions, **verdict)
    shutil.copytree(written, folder)


def run(capsys, root, *arguments):
    """Return exit code, standard output and standard error of one judgement on what was made."""
    code = main(["gate", *map(str, arguments), "--no-run", "--root", str(root)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_same_report_passes(repository, capsys):
    code, out, _ = run(capsys, repository, H1)
    assert code == 0
    assert out.startswith("## Gate: passed")


def test_a_row_that_got_worse_fails_is_named_and_stands_in_the_json(repository, capsys, tmp_path):
    made(repository, {"one": 160.0, "two": 105.0})
    code, out, _ = run(capsys, repository, H1, "--json", tmp_path / "gate.json")
    assert code == 1
    assert "one, synchronous" in out
    record = json.loads((tmp_path / "gate.json").read_text(encoding="utf-8"))
    assert (record["passed"], [row["experiment"] for row in record["rows"]]) == (False, ["one"])


def test_the_page_goes_to_a_file_if_one_is_named(repository, capsys, tmp_path):
    code, out, _ = run(capsys, repository, H1, "--out", tmp_path / "gate.md")
    assert (code, out) == (0, "")
    assert (tmp_path / "gate.md").read_text(encoding="utf-8").startswith("## Gate: passed")


def test_the_work_tree_counts_for_nothing_only_what_is_committed(repository, capsys):
    write_report(repository, {"one": 160.0, "two": 105.0})
    made(repository, {"one": 160.0, "two": 105.0})
    assert run(capsys, repository, H1)[0] == 1
    commit(repository, "meant")
    assert run(capsys, repository, H1)[0] == 0
    assert run(capsys, repository, H1, "--against", "HEAD~1")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["h1_clam"], "unknown hypothesis 'h1_clam'; did you mean 'h1_claim'?"),
        ([H1, "--against", "nowhere"], "'nowhere': is neither a folder nor a revision"),
        ([H1, "--threshold-pp", "-1"], "--threshold-pp: must be 0 or greater, got -1"),
    ],
)
def test_what_cannot_be_judged_is_told(repository, capsys, arguments, told):
    code, _, err = run(capsys, repository, *arguments)
    assert code == 2
    assert told in err


def test_a_hypothesis_that_was_never_committed_cannot_be_judged(repository, capsys):
    (repository / "hypotheses" / "h2_new").mkdir()
    (repository / "hypotheses" / "h2_new" / "hypothesis.yaml").write_text("", encoding="utf-8")
    code, _, err = run(capsys, repository, "h2_new")
    assert code == 2
    assert "HEAD:reports/h2_new: has no numbers.csv, so there is nothing to compare with; run `snakemake h2_new`" in err


def test_a_report_that_was_not_made_cannot_be_judged(repository, capsys):
    shutil.rmtree(repository / "results")
    code, _, err = run(capsys, repository, H1)
    assert code == 2
    assert f"results/{H1}/report/numbers.csv: is not there; run `snakemake {H1}`" in err


def test_a_run_that_fails_is_no_judgement(repository, capsys):
    code = main(["gate", H1, "--root", str(repository)])
    assert code == 2
    assert "snakemake ended with code 1; what is wrong stands above" in capsys.readouterr().err


# --- a program that got worse -------------------------------------------------------------------------

PROGRAM = """
import json, sys
if "--version" in sys.argv:
    print("mine VERSION")
else:
    for line in sys.stdin:
        question = json.loads(line)
        values = dict(VALUES)
        if question["id"].startswith("WORSE"):
            values["itl_ratio_of_means"] *= 3
        metrics = {name: {"value": value, "unit": "ms"} for name, value in values.items()}
        print(json.dumps({"id": question["id"], "metrics": metrics}), flush=True)
"""


def write_program(root, version, worse="nothing"):
    text = PROGRAM.replace("VERSION", version).replace("VALUES", repr(RIGHT)).replace("WORSE", worse)
    (root / "configs" / "simulators" / "mine.py").write_text(text, encoding="utf-8")


def test_a_new_version_of_a_program_is_asked_all_anew_and_the_row_it_spoils_is_named(tmp_path, capfd, monkeypatch):
    root = copy_project(tmp_path / "project", [name for name in SOURCES if name not in ("hypotheses", "documents")])
    keep_experiments(root)
    words = [sys.executable, "configs/simulators/mine.py"]
    simulator = {"kind": "command", "run": words, "version": [*words, "--version"]}
    described = yaml.safe_dump({"id": "mine", "title": "Mine", "simulator": simulator})
    (root / "configs" / "simulators" / "mine.yaml").write_text(described, encoding="utf-8")
    write_program(root, "1.0")
    write_hypothesis(root, hypothesis({"mine": {"simulator": "mine"}}))
    succeed(root, HYPOTHESIS)
    (root / ".gitignore").write_text("results/\n.snakemake/\n", encoding="utf-8")
    commit(root, "trusted")
    before = contents(root / "reports"), contents(root / "configs" / "simulators" / "recorded")

    write_program(root, "1.1", worse=EXPERIMENTS[3])
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    assert main(["gate", HYPOTHESIS, "--root", str(root)]) == gate.EXIT_FAILED
    out, err = capfd.readouterr()
    assert "mine: asked 4 of 4 load points" in err
    assert f"{EXPERIMENTS[3]}, synchronous" in out
    assert (contents(root / "reports"), contents(root / "configs" / "simulators" / "recorded")) == before
