"""Jobs that another process runs, as a cluster does, make what the process of the user would have made."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml
from snakemake.cli import get_argument_parser

from roofline_lab.made import LEDGER
from tests.roofline_lab.builders import HYPOTHESIS, ROOT
from tests.roofline_lab.snakemake_runs import PAGE, ROWS, small_project, states, succeed

ARM = "corrected/baseline.jsonl"
# What an executor plugin adds to the command of every job it hands over.
HANDED_OVER = (
    "--snakefile Snakefile --cores 2 --force --nolock --no-hooks --ignore-incomplete --mode remote --retries 0 "
    "--target-files-omit-workdir-adjustment"
)


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    """Return a project of which a submission has made the rows of one arm, its scores and its page."""
    project = small_project(tmp_path_factory.mktemp("cluster") / "project")
    jobs = [
        f"predict:hypothesis={HYPOTHESIS},method={method},arm={arm}"
        for method in ("as_published", "corrected", "multi_rate")
        for arm in ("baseline", "treatment")
    ]
    jobs += [f"{rule}:hypothesis={HYPOTHESIS}" for rule in ("score", "render")]
    succeed(project, *shlex.split(HANDED_OVER), "--local-groupid", "one", "--target-jobs", *jobs)
    return project


def test_a_submission_makes_what_its_jobs_are_to_make_and_keeps_a_log_of_each(submitted):
    assert (submitted / ROWS / ARM).is_file()
    assert (submitted / f"results/{HYPOTHESIS}/report/FINDINGS.md").is_file()
    log = (submitted / f"results/logs/predict/{HYPOTHESIS}/corrected/baseline.log").read_text(encoding="utf-8")
    assert re.fullmatch(r"2 runs, 0 of them stand as an earlier run left them\nended after .* s\n", log)


def test_the_process_of_the_user_goes_on_from_what_a_submission_made(submitted):
    before = states(submitted / ROWS)
    assert not (submitted / LEDGER).exists()
    succeed(submitted, HYPOTHESIS, "--cores", "1")
    assert (submitted / PAGE).is_file()
    assert states(submitted / ROWS) == before
    assert [path.name for path in (submitted / "results").glob("made*.sha256")] == [LEDGER.name]


# --- profiles -----------------------------------------------------------------------------------------

PROFILES = sorted(path.parent.name for path in ROOT.glob("profiles/*/config.v9+.yaml"))


def settings(profile):
    return yaml.safe_load((ROOT / "profiles" / profile / "config.v9+.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_option_of_a_profile_is_one_of_snakemake_or_of_its_executor(profile):
    known = {word for action in get_argument_parser()._actions for word in action.option_strings}
    plugin = f"--{settings(profile).get('executor', 'none')}-"
    assert [key for key in settings(profile) if f"--{key}" not in known and not f"--{key}".startswith(plugin)] == []


def test_a_profile_groups_what_rules_call_so():
    named = re.findall(r'group:\n +"(\w+)"', "".join(path.read_text("utf-8") for path in ROOT.glob("workflow/rules/*")))
    grouped = {pair.partition("=")[0] for profile in PROFILES for pair in settings(profile).get("group-components", ())}
    assert grouped
    assert grouped <= set(named)


def test_every_job_that_computes_says_how_much_memory_and_time_it_takes_and_every_other_one_stays_here():
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("workflow/rules/*.smk")))
    rules = [one for one in re.split(r"\n *rule\b", text)[1:] if " run:\n" in one]
    silent = [one for one in rules if "localrule: True" not in one and "mem_mb" not in one]
    assert len(rules) > 10
    assert silent == []


def test_a_pod_asks_for_the_cores_its_run_uses():
    pod = yaml.safe_load((ROOT / "profiles" / "kubernetes" / "job.yaml").read_text(encoding="utf-8"))
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    assert container["command"][-2:] == ["--cores", container["resources"]["requests"]["cpu"]]
