"""A folder of another tool becomes ground truth with one command, and its flags reach the report."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys

import pytest

from tests.roofline_lab.builders import ROOT, copy_project, edit_yaml
from tests.roofline_lab.importers.samples import guidellm_benchmark, guidellm_report, sent, write_guidellm
from tests.roofline_lab.snakemake_runs import environment, succeed

HYPOTHESIS = "h7b_mixed_max_end_to_end"
SAMPLES = {
    "guidellm": "guidellm_jan20-codellama-prefill-1",
    "inference-perf": "inference-perf_20260217-155451-llama-2-7b-tp1-codegen",
}
TRACED = "20260217-155451-llama-2-7b-tp1-codegen"
NAMES = ("configs", "ground_truth", "profiles", "simulator", "workflow", "Snakefile", "requirements.lock")


@pytest.fixture(scope="module")
def page(shared_dir, tmp_path_factory):
    """Import both samples and a table with its trace, judge one hypothesis by them, and return its details."""
    project = copy_project(tmp_path_factory.mktemp("imported") / "project", NAMES)
    shutil.copytree(ROOT / "hypotheses" / HYPOTHESIS, project / "hypotheses" / HYPOTHESIS)
    folder = shared_dir / "ground_truth"
    sources = {tool: [tool, folder / "formats" / name] for tool, name in SAMPLES.items()}
    sources["table"] = ["--from-csv", folder / "measured_runs.csv", "--experiment", TRACED]
    sources["table"] += ["--trace", folder / "replay" / f"{TRACED}.csv.gz"]
    for name, source in sources.items():
        command = [sys.executable, "-m", "roofline_lab", "import", *map(str, source), "--out", f"ground_truth/{name}"]
        done = subprocess.run(
            command, cwd=project, env=environment(package=project), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    mine = {"title": "Imported", "experiments": list(sources)}
    edit_yaml(project / "ground_truth" / "sets.yaml", lambda sets: sets["sets"].update(mine=mine))
    edit_yaml(project / "hypotheses" / HYPOTHESIS / "hypothesis.yaml", use_imported)
    succeed(project, "--cores", "1", HYPOTHESIS)
    return (project / "reports" / HYPOTHESIS / "DETAILS.md").read_text(encoding="utf-8")


def use_imported(spec):
    spec["ground_truth"] = {"set": "mine"}
    spec["references"] = []
    # Texts quote criteria that these load points do not answer.
    spec["findings"], spec["evidence"] = [], []


@pytest.mark.parametrize(
    "flag",
    ["tpot_includes_ttft", "stream_lines_counted", "prompts_repeat", "client_time_included", "cold_start_included"],
)
def test_the_report_carries_the_flags_of_imported_measurements(page, flag):
    section = page[page.index("What is known to be special about the measurements") :]
    assert f"`{flag}`" in section


def test_recorded_requests_are_compared_as_distributions(page):
    section = page[page.index("Distance of distributions over single requests") :].split("\n\n")[1]
    for stage, requests in (("stage_0", "3000"), ("stage_1", "6000")):
        rows = [line for line in section.splitlines() if line.startswith(f"| table, {stage} ")]
        assert {row.split("|")[3].strip() for row in rows} == {"TTFT", "TPOT", "E2E"}
        assert all(row.split("|")[4].strip() == requests for row in rows)


def test_every_imported_load_point_is_in_the_report(page):
    conditions = page[page.index("What each load point was") :]
    for tool in SAMPLES:
        assert conditions.count(f"| {tool} ") >= 2


def test_the_commands_an_import_prints_give_a_report_without_editing(tmp_path):
    project = copy_project(tmp_path / "project", NAMES)
    (project / "hypotheses").mkdir()
    benchmarks = [
        guidellm_benchmark(sent(), {"type_": "synchronous"}),
        guidellm_benchmark(sent(first_s=100.0), {"type_": "constant", "rate": 1.0}, index=1),
    ]
    results = write_guidellm(tmp_path / "results", guidellm_report(benchmarks))
    run = {"cwd": project, "env": environment(package=project), "capture_output": True, "text": True, "check": False}
    import_ = [sys.executable, "-m", "roofline_lab", "import", "guidellm", str(results), "--out", "ground_truth/my-run"]
    imported = subprocess.run(import_, **run)
    assert imported.returncode == 0, imported.stderr
    evaluate, new = (shlex.split(line[line.index("roofline-lab ") :]) for line in imported.stdout.splitlines()[-2:])
    judged = subprocess.run([sys.executable, "-m", "roofline_lab", *evaluate[1:]], **run)
    assert judged.returncode == 0, judged.stderr
    assert (project / evaluate[-1] / "EVALUATION.md").is_file()
    made = subprocess.run([sys.executable, "-m", "roofline_lab", *new[1:]], **run)
    assert made.returncode == 0, made.stderr
    snakemake = ["snakemake", new[2]]
    succeed(project, "--cores", "1", *snakemake[1:])
    page = (project / "reports" / snakemake[1] / "FINDINGS.md").read_text(encoding="utf-8")
    assert "The time per token is predicted within 10 %" in page
    linted = subprocess.run([sys.executable, "-m", "roofline_lab", "lint", snakemake[1]], **run)
    breaches = [line for line in linted.stdout.splitlines()[:-1] if " note: " not in line]
    assert breaches
    unwritten = ("written_for", "Devil's Advocate", "not_tested")
    assert all(any(word in line for word in unwritten) for line in breaches)
