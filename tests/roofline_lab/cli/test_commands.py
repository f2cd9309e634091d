"""The laboratory's command line: new hypotheses run at once, breaches and bad input have exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from roofline_lab.cli.main import main
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.predict.arms import Simulation
from roofline_lab.predict.named import simulated
from roofline_lab.project import load_project
from roofline_lab.report.findings import render_report
from roofline_lab.report.results import build_report
from tests.roofline_lab.builders import HYPOTHESIS, ROOT, SOURCES, copy_project, edit_yaml, replace_text

# More than a file system gives a name.
LONG = "m" * 300
LINTED = ("configs", "ground_truth", "hypotheses", "simulator", "reports", "Snakefile", "workflow")


@pytest.fixture
def copied(tmp_path):
    return copy_project(tmp_path / "project", LINTED)


def outcome(capsys, *arguments):
    """Return exit code, standard output and standard error of one command."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["new", "--help"],
        ["lint", "--help"],
        ["import", "--help"],
        ["replay", "--help"],
        ["compare", "--help"],
    ],
)
def test_every_command_explains_itself_with_examples(capsys, arguments):
    code, out, _ = outcome(capsys, *arguments)
    assert code == 0
    assert "examples:" in out


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["new"], ["lint", "--unknown"]])
def test_a_wrong_command_line_ends_with_2_and_no_traceback(capsys, arguments):
    code, _, err = outcome(capsys, *arguments)
    assert code == 2
    assert "usage:" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_exits_as_the_signal_wants_it_and_leaves_nothing_half_written(tmp_path, number, code):
    text = (
        "import os, signal, sys; from pathlib import Path; from roofline_lab import files;"
        "from roofline_lab.cli import main, new\n"
        "def interrupted(*_):\n    os.kill(os.getpid(), int(sys.argv[1]))\n"
        "files.Path.replace = interrupted\n"
        "new.new = lambda arguments: files.write_text(Path('out.txt'), 'half') or 0\n"
        "sys.exit(main.main(['new', 'mine']))"
    )
    done = subprocess.run([sys.executable, "-c", text, str(int(number))], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


# --- new --------------------------------------------------------------------------------------


def test_a_new_hypothesis_is_valid_as_it_stands(capsys, copied):
    code, out, _ = outcome(capsys, "new", "toy_claim", "--title", 'A "quoted": title', "--root", copied)
    assert code == 0
    assert "snakemake toy_claim" in out
    spec = load_project(copied).hypotheses["toy_claim"]
    assert spec.title == 'A "quoted": title'


def test_every_key_of_a_new_hypothesis_has_a_comment_near_it(copied, capsys):
    outcome(capsys, "new", "toy_claim", "--root", copied)
    text = (copied / "hypotheses" / "toy_claim" / "hypothesis.yaml").read_text(encoding="utf-8")
    assert sum("#" in line for line in text.splitlines()) >= 20


CLAIM = ("--claim", "It is predicted within 10 %.", "--within", "10")


@pytest.mark.parametrize("name", ["jan21-llama7b-train-1", "multi_rate"])
def test_a_new_hypothesis_speaks_of_the_measurements_and_the_claim_it_is_given(capsys, copied, name):
    code, out, err = outcome(capsys, "new", "toy_claim", "--set", name, *CLAIM, "--root", copied)
    assert code == 0, err
    assert ("added the set" in out) is (name != "multi_rate")
    laboratory = load_project(copied)
    spec = laboratory.hypotheses["toy_claim"]
    assert spec.methods == ("multi_rate",)
    assert spec.claim == "It is predicted within 10 %."
    assert [(each.kind, each.of, each.than_pct) for each in spec.criteria] == [("below", "h100_vllm", 10.0)]
    assert spec.mechanisms == ()
    folder = copied / "hypotheses" / "toy_claim"
    texts = "".join((folder / file).read_text(encoding="utf-8") for file in ("hypothesis.yaml", "discussion.md"))
    assert "@" not in texts
    assert "TODO" not in texts
    assert "corrected" not in texts


def test_about_measurements_of_ones_own_nothing_is_claimed_that_nobody_claims(capsys, copied):
    code, _, err = outcome(capsys, "new", "toy_claim", "--set", "multi_rate", "--root", copied)
    assert code == 2
    assert "--claim: missing" in err
    assert "--within: must be a number above 0" in err
    assert "roofline-lab evaluate ground_truth --steptime h100_vllm --out evaluation" in err
    assert not (copied / "hypotheses" / "toy_claim").exists()


def test_a_claim_may_be_about_a_percentile_or_a_rate_and_about_no_other_word(capsys, copied):
    named = ("new", "toy_claim", "--set", "multi_rate", *CLAIM, "--root", copied)
    code, _, err = outcome(capsys, *named, "--metric", "ttft_p98")
    assert code == 2
    assert "--metric: unknown metric 'ttft_p98'; did you mean 'ttft_p9" in err
    assert outcome(capsys, *named, "--metric", "ttft_p99")[0] == 0
    spec = load_project(copied).hypotheses["toy_claim"]
    assert spec.criteria[0].metric == "ttft_p99"
    assert "ttft_p99" in spec.metrics


def test_a_set_for_one_experiment_leaves_the_other_sets_as_they_were(capsys, copied):
    path = copied / "ground_truth" / "sets.yaml"
    before = path.read_text(encoding="utf-8")
    outcome(capsys, "new", "toy_claim", "--set", "jan21-llama7b-train-1", *CLAIM, "--root", copied)
    assert path.read_text(encoding="utf-8").startswith(before)
    again = path.read_text(encoding="utf-8")
    assert outcome(capsys, "new", "other_claim", "--set", "jan21-llama7b-train-1", *CLAIM, "--root", copied)[0] == 0
    assert path.read_text(encoding="utf-8") == again


def test_measurements_that_enter_no_error_are_refused_with_the_reason(capsys, copied):
    def saturate(experiment):
        for point in experiment["load_points"]:
            point["saturation"] = {"state": "saturated", "basis": "All at once."}

    edit_yaml(copied / "ground_truth" / "jan21-llama7b-train-1" / "experiment.yaml", saturate)
    code, _, err = outcome(capsys, "new", "toy_claim", "--set", "jan21-llama7b-train-1", *CLAIM, "--root", copied)
    assert code == 2
    assert "every load point of 'jan21-llama7b-train-1' is saturated" in err
    assert "lower rates" in err


# 40 requests of a server that serves one a second and is sent ten.
OVERLOADED = {
    "experiment_id": "mine", "stage": "0", "is_summary": "0", "metrics_side": "server", "client_tool": "other",
    "model_hf_id": "meta-llama/Llama-3.1-8B", "tp": "1", "hardware": "H100", "arrival_process": "constant spacing",
    "requested_rate_rps": "10", "num_requests": "40", "num_success": "40", "ttft_mean_ms": "17750",
    "e2e_mean_ms": "18750", "prompt_len_mean_tok": "800", "output_len_mean_tok": "51", "tpot_mean_ms": "20",
}  # fmt: skip


def overloaded_run(folder):
    """Write the table of one run, and the trace of its requests, whose waiting grows."""
    table, trace = folder / "runs.csv", folder / "run.csv"
    table.write_text(f"{','.join(OVERLOADED)}\n{','.join(OVERLOADED.values())}\n", encoding="utf-8")
    lines = [f"{place},{place * 100_000},800,51,{200 + place * 900},{1200 + place * 900}" for place in range(40)]
    header = "id,arrival_us,prompt_tokens,output_tokens,ttft_ms,e2e_ms"
    trace.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return table, trace


@pytest.mark.parametrize("case", [None, "13-new-accepts-then-report-fails"])
def test_waiting_that_grows_in_a_trace_makes_a_load_point_saturated_and_new_is_not_offered(
    request, tmp_path, capsys, copied, case
):
    folder = None if case is None else request.getfixturevalue("shared_dir") / "cases" / case
    table, trace = overloaded_run(tmp_path) if folder is None else (folder / "runs.csv", folder / "run.csv")
    out = copied / "ground_truth" / "mine"
    sources = ["--from-csv", str(table), "--trace", str(trace), "--year", "2026", "--family", "Llama3.1-8B"]
    code, printed, err = outcome(capsys, "import", *sources, "--out", str(out))
    assert code == 0, err
    (point,) = load_experiment(out).load_points
    assert point.saturated is True
    assert point.saturation.basis.startswith("Median TTFT grows from ")
    assert "roofline-lab new" not in printed
    assert "Every load point is saturated" in printed
    code, _, err = outcome(capsys, "new", "toy_claim", "--set", "mine", "--method", "multi_rate", "--root", copied)
    assert code == 2
    assert "every load point of 'mine' is saturated" in err


def test_a_new_page_copes_with_measurements_of_which_nothing_is_scored(capsys, copied):
    name = "jan21-llama7b-train-1"
    outcome(capsys, "new", "toy_claim", "--set", name, *CLAIM, "--root", copied)

    def saturate(experiment):
        experiment["load_points"] = experiment["load_points"][1:2]
        experiment["load_points"][0]["saturation"] = {"state": "saturated", "basis": "All at once."}
        experiment["quality"] = []

    edit_yaml(copied / "ground_truth" / name / "experiment.yaml", saturate)
    project = load_project(copied)
    wanted = (
        Simulation("toy_claim", one.method.id, one.arm.name, one.experiment.id) for one in project.runs("toy_claim")
    )
    rows = [row for each in wanted for row in simulated(project, each)]
    page = render_report(project, build_report(project, "toy_claim", rows, None))["FINDINGS.md"]
    assert "**NOT MEASURED**" in page
    assert "Inconclusive" in page


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--set", "synchronous_31"], "--set: neither a set of ground_truth/sets.yaml nor an experiment"),
        (["--set", "../configs"], "--set: neither"),
        (["--method", "corected"], "--method: unknown method 'corected'; did you mean 'corrected'?"),
    ],
)
def test_an_unknown_set_or_method_is_refused_and_nothing_is_written(capsys, copied, option, words):
    code, _, err = outcome(capsys, "new", "toy_claim", *option, "--root", copied)
    assert code == 2
    assert words in err
    assert not (copied / "hypotheses" / "toy_claim").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Toy", "must begin with a letter"),
        ("2fast", "must begin with a letter"),
        ("../escape", "must begin with a letter"),
        ("check", "name of a rule"),
        ("errata", "name of a rule"),
        (HYPOTHESIS, "exists already"),
    ],
)
def test_an_id_that_cannot_be_used_is_refused(capsys, copied, name, words):
    code, _, err = outcome(capsys, "new", name, "--root", copied)
    assert code == 2
    assert err.startswith("error: ")
    assert words in err


def test_outside_a_project_nothing_is_written(capsys, tmp_path):
    code, _, err = outcome(capsys, "new", "toy_claim", "--root", tmp_path)
    assert code == 2
    assert "run this in the project's folder" in err
    assert list(tmp_path.iterdir()) == []


def test_a_new_hypothesis_runs_with_snakemake_at_once(tmp_path):
    project = copy_project(tmp_path / "project", SOURCES)
    # The newcomer's own hypothesis is what is run; the others are only checked for their form.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    run = {"cwd": project, "capture_output": True, "text": True, "check": False, "env": environment, "timeout": 120}
    made = subprocess.run([sys.executable, "-m", "roofline_lab", "new", "toy_claim"], **run)
    assert made.returncode == 0, made.stderr
    done = subprocess.run([sys.executable, "-m", "snakemake", "toy_claim"], **run)
    assert done.returncode == 0, done.stderr
    page = (project / "reports" / "toy_claim" / "FINDINGS.md").read_text(encoding="utf-8")
    assert "# Toy claim" in page
    assert "**Status:** Confirmed" in page


# --- lint -------------------------------------------------------------------------------------


def test_lint_of_a_good_hypothesis_ends_with_0_and_counts(capsys, copied):
    code, out, _ = outcome(capsys, "lint", HYPOTHESIS, "--root", copied)
    assert code == 0, out
    assert "0 breaches" in out


def test_lint_of_a_breach_ends_with_1_and_one_line(capsys, copied):
    discussion = copied / "hypotheses" / HYPOTHESIS / "discussion.md"
    replace_text(discussion, "`simulator/steptime/`", "`simulator/gone.py`")
    code, out, _ = outcome(capsys, "lint", HYPOTHESIS, "--root", copied)
    assert code == 1
    assert any(line.startswith(f"RCV-1 {HYPOTHESIS} ") and "simulator/gone.py" in line for line in out.splitlines())


def test_lint_of_an_unknown_hypothesis_says_which_was_meant(capsys, copied):
    code, _, err = outcome(capsys, "lint", "h1_bw_eficiency", "--root", copied)
    assert code == 2
    assert f"did you mean '{HYPOTHESIS}'" in err


def test_lint_of_a_project_that_does_not_load_says_why_without_a_traceback(capsys, copied):
    (copied / "hypotheses" / HYPOTHESIS / "hypothesis.yaml").write_text("id: [", encoding="utf-8")
    code, _, err = outcome(capsys, "lint", "--root", copied)
    assert code == 2
    assert "not valid YAML" in err
    assert "Traceback" not in err


def test_lint_lists_its_rules_and_what_it_looked_at(capsys, copied):
    code, out, _ = outcome(capsys, "lint", "--rules")
    assert code == 0
    assert "RCV-3" in out
    code, out, _ = outcome(capsys, "lint", HYPOTHESIS, "--verbose", "--root", copied)
    assert "ED-1 h1_bw_efficiency looked at:" in out


def test_the_commands_run_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "roofline_lab", "lint", "--rules"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith("Rule ")


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", LONG),
        ("evaluate", LONG, "--steptime", "h100_vllm", "--out", "out"),
        ("evaluate", "ground_truth", "--steptime", LONG, "--out", "out"),
        ("replay", LONG),
        ("new", LONG),
    ],
    ids=lambda words: words[0],
)
def test_a_name_no_file_can_have_is_one_message(words, capsys):
    assert main([*words, *(() if words[0] == "inspect" else ("--root", str(ROOT)))]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "name too long" in said
    assert len(said) < 2000
