"""A misspelt target is refused with the one that was meant; everything Snakemake understands passes."""

from __future__ import annotations

import pytest

from roofline_lab.jobs.findings import refuse_misspelt_targets, user_error
from simulator.errors import ConfigError
from tests.roofline_lab.builders import HYPOTHESIS


@pytest.mark.parametrize(
    ("word", "meant"),
    [("h1_bw_eficiency", HYPOTHESIS), ("h1_bw_efficency", HYPOTHESIS), ("chek", "check"), ("checks", "check")],
)
def test_a_nearly_right_target_is_refused_with_the_right_one(lab, word, meant):
    with pytest.raises(ConfigError, match=f"unknown target '{word}'; did you mean '{meant}'"):
        refuse_misspelt_targets(lab, ["--cores", "2", word])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [HYPOTHESIS],
        ["all", "check"],
        ["-call"],
        ["--cores", "all", "--forceall"],
        ["-R", f"publish_{HYPOTHESIS}"],
        ["--directory", f"/somewhere/{HYPOTHESIS}2"],
        [f"reports/{HYPOTHESIS}/FINDINGS.md"],
        ["results/h1/x.csv"],
        ["--target-jobs", f"publish_{HYPOTHESIS}:", "--allowed-rules", f"publish_{HYPOTHESIS}"],
        ["predict:hypothesis=h1_bw_efficiency,method=corrected,arm=baseline"],
    ],
)
def test_options_files_rules_and_job_names_pass(lab, arguments):
    """The last ones are what Snakemake passes to the processes it starts for single jobs."""
    refuse_misspelt_targets(lab, arguments)


def test_an_expected_error_reaches_snakemake_as_one_it_prints_without_a_traceback():
    from snakemake.exceptions import WorkflowError

    error = user_error(ConfigError("file: key: wrong"))
    assert isinstance(error, WorkflowError)
    assert "file: key: wrong" in str(error)
