"""A hypothesis is one folder and no code: from YAML to a page."""

from __future__ import annotations

import csv
import io

import pytest

from roofline_lab.ground_truth.catalog import EMBEDDED_KERNELS
from roofline_lab.jobs.paths import row_paths
from roofline_lab.jobs.reports import score_files
from roofline_lab.report.synthetic import render_row_report, row_report_files
from roofline_lab.report.values import row_values_of
from roofline_lab.vocabulary import CriterionResult, Status
from simulator.errors import ConfigError
from simulator.kernels.analytic import load_analytic
from simulator.kernels.tabulated import tabulate, write_tables
from tests.roofline_lab.hypotheses.synthetic.toys import TOY, run, toy


def test_a_toy_needs_one_folder_and_comes_out(bench):
    report = bench.run(toy())
    assert report.headline.verdict.status is Status.CONFIRMED
    assert [row.cells["ratio"] for row in report.headline.table.rows] == pytest.approx([2, 2, 2])


def test_a_claim_that_does_not_hold_is_refuted(bench):
    wrong = {"id": "triples", "kind": "every_row", "column": "ratio", "at_least": 3}
    assert bench.run(toy(criteria=[wrong])).headline.verdict.status is Status.REFUTED


def test_an_unmeasured_decisive_clause_forbids_a_confirmation(bench):
    clause = {"id": "server", "kind": "not_measured", "statement": "s", "reason": "r", "decisive": True}
    report = bench.run(toy(criteria=[*TOY["criteria"], clause]))
    assert report.headline.verdict.status is Status.INCONCLUSIVE


def test_a_point_outside_the_formulas_keeps_its_row_and_stops_the_confirmation(bench):
    # A look-up has nobody to ask where the arms use no kernels.
    sweep = {"id": "batch", "title": "t", "axes": {"requests": [1]}, "lookup": {"decode": {"batch": 1, "kv": 8}}}
    columns = [{"id": "ratio", "label": "r", "unit": "ratio", "value": "half.mfu / full.mfu"}]
    report = bench.run(toy(sweeps=[sweep], columns=columns, findings=[]))
    assert [row.reason for row in report.headline.table.rows] == [
        "a look-up needs kernels: give the arm mfu {kind: kernels}"
    ]
    assert report.headline.verdict.criteria[0].result is CriterionResult.NOT_MEASURED


def test_every_page_file_is_named_beforehand(bench):
    project = bench.load(toy())
    files = render_row_report(project, run(project, TOY["id"]))
    assert sorted([*files, "provenance.json"]) == sorted(row_report_files(project, TOY["id"]))
    assert "It is 2" in files["FINDINGS.md"]
    assert files["figures/ratio.svg"].startswith("<?xml")


def test_the_same_run_writes_the_same_bytes(bench):
    project = bench.load(toy())
    first, second = (render_row_report(project, run(project, TOY["id"])) for _ in range(2))
    assert first == second


def test_numbers_have_one_line_each_and_say_which_arm(bench):
    text = score_files(bench.run(toy()))["numbers.csv"]
    lines = list(csv.DictReader(io.StringIO(text)))
    identities = [tuple(value for name, value in line.items() if name != "value") for line in lines]
    assert len(set(identities)) == len(identities)
    arms = {line["metric"]: line["arm"] for line in lines}
    assert arms == {"full_us": "full", "ratio": "all", "largest": "all"}
    assert {line["load_point"] for line in lines} == {"synthetic"}


def test_a_sweep_without_rows_leaves_only_its_summaries_in_the_numbers(bench):
    text = score_files(bench.run(toy(sweeps=[TOY["sweeps"][0] | {"rows": False}])))["numbers.csv"]
    assert {line["scope"] for line in csv.DictReader(io.StringIO(text))} == {"overall", "sweep"}


def test_a_division_by_zero_names_column_and_point(bench):
    columns = [*TOY["columns"], {"id": "bad", "label": "b", "unit": "ratio", "value": "1 / (requests - 2)"}]
    with pytest.raises(ConfigError, match=r"columns\.bad at batch/requests=2: .* cannot be worked out"):
        bench.run(toy(columns=columns))


def test_peaks_can_differ_from_the_data_sheet_with_a_reason(bench):
    override = {"memory_bandwidth_tbs": 1.675, "source": "half an H100"}
    setup = TOY["setup"] | {"hardware_override": override}
    project = bench.load(toy(setup=setup))
    report = run(project, TOY["id"])
    plain = bench.run(toy(id="toy_plain"))
    slow, fast = (one.headline.table.rows[0].cells["full_us"] for one in (report, plain))
    assert slow == pytest.approx(2 * fast)
    assert "half an H100" in render_row_report(project, report)["FINDINGS.md"]


def test_text_that_asks_for_what_is_not_there_is_an_error_of_the_page(bench):
    for asked in ("v.cell('batch/requests=3', 'ratio')", "v.summary('least')", "v.observed('x')", "v.status(on='x')"):
        finding = {"finding": f"{{{{ {asked} }}}}", "type": "Confirmation", "action": "None"}
        project = bench.load(toy(findings=[finding]))
        with pytest.raises(ConfigError, match=r"findings\.0"):
            render_row_report(project, run(project, TOY["id"]))


def test_measured_tables_answer_for_the_tabulated_kernels_and_nobody_for_the_embedded_ones(bench, tmp_path):
    kernels = load_analytic(bench.root / EMBEDDED_KERNELS)
    write_tables(tabulate(kernels), tmp_path / "tables")
    base = {"family": "mfu_roofline", "mfu": {"kind": "kernels", "style": "mfu"}}
    bench.add(toy(base=base, kernels=["tabulated", "embedded"]))
    values = row_values_of(run(bench.load(tables_folder=tmp_path / "tables"), TOY["id"]))
    assert values.summary("largest", on="tabulated") == values.summary("largest")
    assert values.summary("largest", on="embedded") is None
    assert values.result("doubles", on="embedded") == "not run"


def test_there_is_one_job_per_kernels_and_arm(bench):
    project = bench.load(
        toy(base={"family": "mfu_roofline", "mfu": {"kind": "kernels"}}, kernels=["tabulated", "embedded"])
    )
    folder = f"results/{TOY['id']}/rows"
    assert row_paths(project, TOY["id"]) == [
        f"{folder}/{method}/{arm}.jsonl" for method in ("tabulated", "embedded") for arm in ("full", "half")
    ]
