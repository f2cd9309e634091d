"""Synthetic hypotheses through Snakemake, on the project's kernels and on a folder of tables."""

from __future__ import annotations

import pytest

from roofline_lab.ground_truth.catalog import EMBEDDED_KERNELS
from roofline_lab.jobs.paths import arm_records
from roofline_lab.jobs.targets import refuse_unknown
from roofline_lab.project import load_project
from simulator.errors import ConfigError, TableError
from simulator.kernels.analytic import load_analytic
from simulator.kernels.tabulated import tabulate, write_tables
from tests.roofline_lab.builders import ROOT, SOURCES, copy_project
from tests.roofline_lab.conftest import Bench
from tests.roofline_lab.hypotheses.synthetic.toys import TOY, toy
from tests.roofline_lab.snakemake_runs import contents, remade, snapshot, succeed

NAME = TOY["id"]
ON_KERNELS = {
    "base": {"family": "mfu_roofline", "mfu": {"kind": "kernels", "style": "mfu"}},
    "criteria": [{"id": "slower", "kind": "every_row", "column": "ratio", "at_least": 1}],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a project with one toy, made once, and a folder of tables beside it."""
    root = tmp_path_factory.mktemp("rows") / "project"
    copy_project(root, [name for name in SOURCES if name not in ("hypotheses", "documents")])
    Bench(root).add(toy(**ON_KERNELS))
    write_tables(tabulate(load_analytic(ROOT / EMBEDDED_KERNELS)), root / "tables")
    succeed(root, NAME, "--cores", "1")
    return root


def arms_on(root, tables):
    """Return what the rows of every arm are made from, on a folder of tables."""
    return dict(arm_records(load_project(root, root / tables), NAME, {}))


def test_one_target_makes_one_report(built):
    pages = {"FINDINGS.md", "DETAILS.md"}
    assert {*pages, "numbers.csv", "verdict.json", "provenance.json", "figures/ratio.svg"} == set(
        contents(built / "reports" / NAME)
    )


def test_nothing_is_made_twice(built):
    before = snapshot(built)
    succeed(built, NAME, "--cores", "1")
    again = remade(built, before, "results")
    assert not {name for name in again if name.startswith(NAME)}


def test_with_measured_tables_nothing_is_written_into_reports(built):
    before = contents(built / "reports")
    succeed(built, NAME, "--cores", "1", "--config", "kernels=tables")
    page = (built / "results" / "measured" / NAME / "report" / "FINDINGS.md").read_text(encoding="utf-8")
    assert "made with a folder of measured kernel tables" in page
    details = (built / "results" / "measured" / NAME / "report" / "DETAILS.md").read_text(encoding="utf-8")
    assert "measured tables h100" in details
    assert contents(built / "reports") == before


def test_a_changed_table_changes_what_a_job_depends_on(built):
    path = next((built / "tables").rglob("32-8-128-tp1.csv"))
    kept = path.read_text(encoding="utf-8")
    before = arms_on(built, "tables")
    path.write_text(kept.replace("bf16,bf16,1,", "bf16,bf16,2,", 1), encoding="utf-8")
    after = arms_on(built, "tables")
    path.write_text(kept, encoding="utf-8")
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)


@pytest.mark.parametrize("target", ["check", "index"])
def test_what_is_about_committed_reports_is_refused_with_measured_tables(built, target):
    laboratory = load_project(built, built / "tables")
    with pytest.raises(ConfigError, match=f"'{target}' cannot be run with measured kernel tables"):
        refuse_unknown(laboratory, [target], ["check", "index"])


def test_a_folder_that_is_not_there_is_refused(built):
    with pytest.raises(TableError, match="nowhere"):
        arms_on(built, "nowhere")
