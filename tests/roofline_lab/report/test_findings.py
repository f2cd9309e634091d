"""What a report says about runs that have no number, about gains, and about a changed conclusion."""

from __future__ import annotations

import copy
import dataclasses
import re

import pytest

from roofline_lab.ground_truth.names import readable_names
from roofline_lab.report.findings import changes, render_report, report_files
from roofline_lab.report.plots import FILLS, HATCHES, legend_columns
from roofline_lab.report.results import build_report
from roofline_lab.report.tables import Tables
from roofline_lab.residuals.rows import NAMES
from roofline_lab.scoring.numbers import ERROR_COLUMNS, errors_text
from roofline_lab.scoring.scores import Scores
from roofline_lab.vocabulary import MEANS, Metric, Scope, Status
from tests.paths import ROOT
from tests.roofline_lab.builders import HYPOTHESIS, error_row, pair, unscored_row

TPOT = Metric.TPOT_MEAN
LOST = "jan30-llama2-7b-tp1-chatsweep"
REASON = "the tables do not cover this shape"


def unsupported(rows, **where):
    """Return result lines in which the runs that match `where` could not be done."""
    changed = copy.deepcopy(rows)
    for row in changed:
        if all(row[key] == value for key, value in where.items()):
            row.update(status="unsupported", reason=REASON, metrics={})
            row.pop("peak_shares", None)
            row.pop("kernels", None)
    return changed


def lines_with(text, *words):
    return [line for line in text.splitlines() if all(word in line for word in words)]


@pytest.fixture(scope="module")
def lossy(lab, h1_rows):
    """Return H1 with one run of the corrected treatment missing."""
    rows = unsupported(h1_rows, method="corrected", arm="treatment", experiment=LOST)
    return build_report(lab, HYPOTHESIS, rows, lab.published[HYPOTHESIS])


@pytest.fixture(scope="module")
def files(lab, h1_report):
    """Return the files of the complete report, rendered once."""
    return render_report(lab, h1_report)


# --- runs without a number --------------------------------------------------------------------------


def test_a_run_without_a_number_stands_in_the_report_with_status_and_reason(lab, lossy):
    page = render_report(lab, lossy)["FINDINGS.md"]
    assert "**Runs without a number** (they enter no mean)" in page
    for metric in ("TTFT", "TPOT", "E2E"):
        assert len(lines_with(page, "Llama2-7B TP1 chatsweep", "treatment", metric, "unsupported", REASON)) == 1
    assert lines_with(page, "every run of the matrix has a number", "**violated**", "25 of 26")


def test_a_complete_report_does_not_mention_missing_runs(files):
    page = files["FINDINGS.md"]
    assert "Runs without a number" not in page
    assert lines_with(page, "every run of the matrix has a number", "holds", "26 of 26")


def test_pages_of_our_simulator_alone_say_nothing_of_coverage(files, h1_report):
    assert "Who predicts" not in files["FINDINGS.md"]
    assert "(13 of 13)" not in files["FINDINGS.md"]
    assert not [n for n in h1_report.numbers if n.statistic in ("predicted_points", "asked_points")]


def test_a_run_without_a_number_prints_as_a_dash_in_every_table(lossy):
    corrected = lossy.methods[1]
    tables = Tables(lossy.spec.shown_arms, lossy.spec.metrics, 1.0)
    for table in (tables.errors, tables.signed_errors, tables.latencies):
        (line,) = lines_with(table(corrected.scores), LOST)
        assert "–" in line
        assert " 0.0 %" not in line


def test_a_run_without_a_number_is_in_errors_csv_and_not_in_numbers(lossy):
    rows = [row for method in lossy.methods for row in method.scores.rows]
    text = errors_text(rows)
    assert len(text.splitlines()) == 1 + 2 * 2 * 13 * 3
    assert len(lines_with(text, LOST, "unsupported", REASON)) == 3
    assert len(ERROR_COLUMNS) == 14
    missing = [n for n in lossy.numbers if (n.method, n.arm, n.key) == ("corrected", "treatment", LOST)]
    assert missing == []


def test_the_other_method_and_the_other_experiments_keep_their_numbers(lossy, h1_report):
    def kept(report):
        return [n for n in report.numbers if n.method == "as_published" or n.key.startswith("2026")]

    assert kept(lossy) == kept(h1_report)


def test_a_hypothesis_of_which_nothing_could_be_run_is_inconclusive_not_wrong(lab, h1_rows):
    rows = unsupported(h1_rows, method="corrected")
    report = build_report(lab, HYPOTHESIS, rows, lab.published[HYPOTHESIS])
    assert report.headline.verdict.status.value == "Inconclusive"
    assert {criterion.result.value for criterion in report.headline.verdict.criteria} == {"NOT MEASURED"}
    assert [n for n in report.numbers if n.method == "corrected"] == []


# --- tables -----------------------------------------------------------------------------------------


def test_a_tables_gain_is_the_mean_gain_of_runs_scored_on_both_arms():
    """The difference of two means over different runs would be no gain of anything."""
    rows = [*pair("a", -40, -30), *pair("b", -80, -10)[:1], unscored_row("treatment", "b")]
    overall = Tables(("baseline", "treatment"), (TPOT,), 1.0).aggregates(Scores(rows), Scope.WORKLOAD).splitlines()[-1]
    assert "60.0 %" in overall
    assert "30.0 %" in overall
    assert "**+10.0 pp**" in overall


def test_an_aggregate_counts_only_runs_that_were_scored():
    rows = [*pair("a", -40, -30), unscored_row("baseline", "b"), unscored_row("treatment", "b")]
    table = Tables(("baseline", "treatment"), (TPOT,), 1.0).aggregates(Scores(rows), Scope.WORKLOAD)
    assert [line.split("|")[2].strip() for line in table.splitlines()[2:]] == ["1"]


def test_a_single_group_has_no_row_of_everything_that_says_the_same():
    tables, one = Tables(("baseline", "treatment"), (TPOT,), 1.0), pair("a", -40, -30)
    assert "overall" not in tables.aggregates(Scores(one), Scope.WORKLOAD)
    assert tables.aggregates(Scores(one), Scope.WORKLOAD, only_if_several=True) == ""
    other = [dataclasses.replace(row, workload="other") for row in pair("b", -40, -30)]
    assert "overall" in tables.aggregates(Scores([*one, *other]), Scope.WORKLOAD)


def test_the_details_do_not_repeat_the_tables_of_the_deciding_method(files, h1_report):
    gains = lines_with(files["FINDINGS.md"], "| Llama2-7B | 6 |")
    assert len(gains) == 1
    assert gains[0] not in files["DETAILS.md"]
    assert len(lines_with(files["DETAILS.md"], "| Llama2-7B | 6 |")) == 1  # of the other method
    assert "Groups, every experiment and what has no number: [FINDINGS.md](FINDINGS.md)" in files["DETAILS.md"]


@pytest.mark.parametrize("scope", [Scope.SPLIT, "split"])
def test_train_and_test_are_never_averaged_together(scope):
    """Regression: asked for by name, as templates do, the table got a line over both sides."""
    rows = [dataclasses.replace(row, holdout=side) for side in ("train", "test") for row in pair(side, -40, -30)]
    table = Tables(("baseline", "treatment"), (TPOT,), 1.0).aggregates(Scores(rows), scope)
    assert {line.split("|")[1].strip() for line in table.splitlines()[2:]} == {"fitting set", "test set"}


def test_every_gain_of_a_table_is_the_delta_of_numbers_csv(h1_report):
    """Per workload, family, TP and overall, for each method and metric."""
    deltas = {(n.method, n.scope, n.key, n.metric): n.value for n in h1_report.numbers if n.statistic.value == "delta"}
    tables = Tables(h1_report.spec.shown_arms, h1_report.spec.metrics, 1.0)
    for method in h1_report.methods:
        for scope in (Scope.WORKLOAD, Scope.FAMILY, Scope.TP):
            for line in tables.aggregates(method.scores, scope).splitlines()[2:]:
                key = line.split("|")[1].strip()
                found = [float(text) for text in re.findall(r"([+-]\d+\.\d) pp", line)]
                where = (Scope.OVERALL, "all") if "overall" in key else (scope, key)
                expected = [deltas[method.method.id, *where, metric] for metric in MEANS]
                assert found == pytest.approx(expected, abs=0.0501), (method.method.id, key)


def test_no_page_prints_a_negative_zero(files):
    for name, text in files.items():
        if name.endswith(".md"):
            assert re.findall(r"(?<![\d.])-0\.0+(?!\d)", text) == [], name


SECTIONS = {
    "FINDINGS.md": (
        "Implications for Users",
        "Criteria",
        "Experiment Design",
        "Results",
        "Root Cause Analysis",
        "Devil's Advocate",
        "Findings Classification",
        "Standards Audit",
        "Scope and Limitations",
        "Evidence Quality",
        "Filed under",
        "Reproducing",
    ),
    "DETAILS.md": (
        "Design",
        "Results by method",
        "As published method",
        "Corrected method",
        "Figures",
        "Residuals",
        "What changes when the method is corrected",
        "Do the published numbers come out again?",
    ),
}
MOST_VISIBLE_LINES = 250


# --- the page ---------------------------------------------------------------------------------------


def test_a_report_has_exactly_the_files_it_announces_and_the_page_comes_last(lab, files):
    announced = report_files(lab, HYPOTHESIS)
    assert announced[-1] == "FINDINGS.md"
    assert set(announced) == set(files) | {"provenance.json"}


def test_rendering_twice_gives_the_same_bytes(lab, h1_report, files):
    assert render_report(lab, h1_report) == files


def test_every_section_a_reader_looks_for_is_there(files):
    for name, headings in SECTIONS.items():
        found = re.findall(r"^#+ (.+)$", files[name], flags=re.MULTILINE)
        assert [heading for heading in found if heading in headings] == list(headings)
        assert re.findall(r"{{|\bNone\b|\bnan\b|\binf\b", files[name]) == []


def test_a_front_page_answers_before_anything_else_and_is_short(files):
    page = files["FINDINGS.md"]
    places = [
        page.index(text) for text in ("> The simulator predicts", "**Partially confirmed** (corrected", "1. Divide")
    ]
    assert places == sorted(places)
    assert page[: places[-1]].count("\n") < 20
    assert re.sub(r"<details>.*?</details>", "", page, flags=re.DOTALL).count("\n") <= MOST_VISIBLE_LINES


@pytest.mark.parametrize("path", sorted((ROOT / "reports").glob("*/FINDINGS.md")), ids=lambda path: path.parent.name)
def test_the_visible_part_of_every_committed_page_is_short(path):
    text = path.read_text(encoding="utf-8")
    assert re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL).count("\n") <= MOST_VISIBLE_LINES
    assert text.count("<details>") == text.count("</details>")


def test_every_figure_and_file_a_page_links_to_exists(files):
    known = {*files, "provenance.json"}
    for name in ("FINDINGS.md", "DETAILS.md", "reproduction.md"):
        links = re.findall(r"\]\(([^)#]+)\)", files[name])
        assert {link for link in links if not link.startswith("http")} <= known


@pytest.mark.parametrize("metric", list(MEANS))
def test_every_figure_names_its_quantity_and_unit(lab, files, metric):
    scatter = files[f"figures/{metric}_predicted_vs_measured.svg"]
    for words in (f"measured mean {metric.label} [ms]", f"predicted mean {metric.label} [ms]", "predicted = measured"):
        assert words in scatter
    bars = files[f"figures/{metric}_signed_errors.svg"]
    assert f"signed error of mean {metric.label} [%]" in bars
    for name in readable_names(lab.experiments(HYPOTHESIS)).values():
        assert name in bars


def texts_of(svg):
    return [text.partition("</")[0] for text in svg.split(">") if "</text" in text]


def test_model_and_tp_of_every_point_of_a_scatter_stand_in_its_legend(lab, files):
    experiments = lab.experiments(HYPOTHESIS)
    for metric in MEANS:
        shown = set(texts_of(files[f"figures/{metric}_predicted_vs_measured.svg"]))
        assert {f"{each.family} TP{each.tensor_parallel}" for each in experiments} <= shown
        assert {"Corrected: baseline", "Corrected: treatment"} <= shown


def test_bars_are_sorted_by_the_error_of_the_last_arm(lab, files, h1_report):
    names = readable_names(lab.experiments(HYPOTHESIS))
    rows = h1_report.headline.scores.select("treatment", "tpot_mean")
    wanted = [names[row.experiment] for row in sorted(rows, key=lambda row: row.signed_error_pct)]
    shown = texts_of(files["figures/tpot_mean_signed_errors.svg"])
    assert [text for text in shown if text in names.values()] == wanted


def test_bars_have_a_line_at_the_mean_of_the_first_and_last_arm_and_a_band_of_small_errors(files):
    shown = texts_of(files["figures/tpot_mean_signed_errors.svg"])
    assert {"mean of baseline", "mean of treatment", "within 10 %"} <= set(shown)


def test_the_front_page_calls_experiments_by_names_to_read_and_the_details_say_which_those_are(lab, files):
    for key, name in readable_names(lab.experiments(HYPOTHESIS)).items():
        assert key not in files["FINDINGS.md"]
        assert len(lines_with(files["FINDINGS.md"], f"| {name} |", "pp")) == 1
        assert lines_with(files["DETAILS.md"], f"| {name} | {key} |")


def test_the_page_says_what_changes_with_the_method(h1_report):
    found = changes(h1_report)
    assert found["status"] == [
        "The status changes from Confirmed with nuance to Partially confirmed: "
        "the decisive criteria pass, chat_more_than_code fails."
    ]
    assert len(found["criteria"]) == 1
    assert "`chat_more_than_code`: PASS" in found["criteria"][0]
    assert "becomes FAIL" in found["criteria"][0]


def test_equal_methods_change_nothing(lab, h1_rows):
    same = [row | {"method": other} for row in h1_rows if row["method"] == "corrected" for other in ("x",)]
    rows = [row | {"method": method} for method in ("as_published", "corrected") for row in same]
    found = changes(build_report(lab, HYPOTHESIS, rows, None))
    assert found["criteria"] == []
    assert found["signs"] == []
    assert found["status"] == ["The status stays Partially confirmed."]


def test_the_configuration_difference_is_generated_from_the_arms(project, h1_rows):
    project.edit(lambda spec: spec["arms"]["treatment"].update(bandwidth_efficiency=0.75))
    lab = project.load()
    page = render_report(lab, build_report(lab, HYPOTHESIS, h1_rows, None))["FINDINGS.md"]
    assert lines_with(page, "`bandwidth_efficiency`", "not set", "0.75")


def test_measured_figures_stand_beside_each_arm_where_its_definition_differs():
    layout = Tables(("baseline", "treatment"), (Metric.TPOT_MEAN,), 1.0)
    same = layout.latencies(Scores(pair("one", -10.0, -5.0)))
    assert "measured TPOT [ms]" in same
    other = [error_row("baseline", "one", measured=100.0), error_row("treatment", "one", measured=80.0)]
    text = layout.latencies(Scores(other))
    assert "measured for baseline [ms]" in text
    assert "measured for treatment [ms]" in text
    assert "80.0" in text


def test_a_legend_has_as_many_columns_as_fit():
    assert legend_columns(650.0, ["short"] * 9) == 9
    assert legend_columns(360.0, ["an arm with quite a long name, summarization"] * 2) == 1
    assert legend_columns(72.0, ["x" * 99] * 2) == 1


def test_no_two_of_six_arms_look_alike():
    assert len(set(zip(FILLS, HATCHES, strict=True))) == len(set(FILLS)) == 6


# --- texts and the status they were written for ---------------------------------------------------


def test_a_page_whose_texts_were_written_for_its_status_carries_no_banner(files):
    assert "written for another status" not in files["FINDINGS.md"]


def test_a_page_of_another_status_than_its_texts_were_written_for_says_so_at_the_top(lab, h1_report, monkeypatch):
    other = dataclasses.replace(lab.discussions[HYPOTHESIS], written_for=Status.CONFIRMED)
    monkeypatch.setitem(lab.discussions, HYPOTHESIS, other)
    page = render_report(lab, h1_report)["FINDINGS.md"]
    banner = page.index("were written for another status** (reasoning and implications for *Confirmed*)")
    assert banner < page.index("## Implications for Users")
    assert "*Partially confirmed*: take tables and figures as they are" in page


# --- one sign -------------------------------------------------------------------------------------


def test_a_residual_is_the_signed_error_of_the_same_row_in_tables_and_figures(h1_report):
    """Negative is too fast wherever an error has a sign."""
    compared = 0
    for analysis in h1_report.analyses:
        own = [method.scores for method in h1_report.methods if method.method.id == analysis.method.id]
        scores = own[0] if own else h1_report.extra_scores
        for residual in analysis.residuals:
            for metric in analysis.metrics:
                row = scores.row(analysis.arm, residual.experiment, metric, residual.load_point)
                figure = residual.figure(NAMES[metric])
                if row is not None and row.is_scored and figure.is_scored:
                    assert figure.relative * 100 == pytest.approx(row.signed_error_pct, abs=1e-6)
                    assert (row.signed_error_pct < 0) == (row.predicted < row.measured)
                    compared += 1
    assert compared > 30


def test_every_figure_of_signed_errors_names_the_sign_in_the_same_words(files):
    signed = [name for name in files if "signed_errors" in name or "residuals" in name]
    assert len(signed) >= 4
    assert all("(negative: predicted too fast" in files[name] for name in signed)
