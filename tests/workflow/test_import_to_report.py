"""A folder of another tool becomes ground truth with one command, and its flags reach the report."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.workflow.builders import ROOT, copy_project, edit_yaml
from tests.workflow.snakemake_runs import environment, succeed

HYPOTHESIS = "h7b_mixed_max_end_to_end"
SAMPLES = {
    "guidellm": "guidellm_jan20-codellama-prefill-1",
    "inference-perf": "inference-perf_20260217-155451-llama-2-7b-tp1-codegen",
}
NAMES = ("configs", "ground_truth", "profiles", "simulator", "workflow", "Snakefile", "requirements.lock")


@pytest.fixture(scope="module")
def page(shared_dir, tmp_path_factory):
    """Import both samples, judge one hypothesis by them, and return its page."""
    project = copy_project(tmp_path_factory.mktemp("imported") / "project", NAMES)
    shutil.copytree(ROOT / "hypotheses" / HYPOTHESIS, project / "hypotheses" / HYPOTHESIS)
    for tool, name in SAMPLES.items():
        sample = shared_dir / "ground_truth" / "formats" / name
        command = [sys.executable, "-m", "workflow", "import", tool, str(sample), "--out", f"ground_truth/{tool}"]
        done = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    mine = {"title": "Imported", "experiments": list(SAMPLES)}
    edit_yaml(project / "ground_truth" / "sets.yaml", lambda sets: sets["sets"].update(mine=mine))
    edit_yaml(project / "hypotheses" / HYPOTHESIS / "hypothesis.yaml", use_imported)
    succeed(project, "--cores", "1", HYPOTHESIS)
    return (project / "reports" / HYPOTHESIS / "FINDINGS.md").read_text(encoding="utf-8")


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


def test_every_imported_load_point_is_in_the_report(page):
    conditions = page[page.index("What each load point was") :]
    for tool in SAMPLES:
        assert conditions.count(f"| {tool} ") >= 2
