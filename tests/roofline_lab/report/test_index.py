"""The index of all hypotheses: what each concludes, what changes, and how corrections add up."""

from __future__ import annotations

import copy

import pytest
import yaml

from roofline_lab.project import load_project
from roofline_lab.report.index import correction_chain, index_page
from roofline_lab.trust.held_out import read_held_out
from roofline_lab.vocabulary import Metric
from tests.paths import ROOT
from tests.roofline_lab.builders import HYPOTHESIS, copy_project, edit_yaml


def line(method, status="Confirmed", errors=None, criteria=None):
    """Return what a verdict file says of one method."""
    return {
        "method": method,
        "status": status,
        "reason": "because",
        "result": "some result",
        "criteria": criteria or {"improves": "PASS"},
        "errors": {"tpot_mean": errors or {"baseline": 50.0, "treatment": 40.0}, "e2e_mean": {}},
    }


def verdict(*lines):
    return {"methods": list(lines), "reproduction": {}}


@pytest.fixture
def chained(tmp_path):
    """Return a laboratory in which `next_one` starts from what H1 ends with."""
    root = copy_project(tmp_path / "project")
    edit_yaml(root / "hypotheses" / HYPOTHESIS / "hypothesis.yaml", lambda spec: spec.update(adopts="treatment"))
    folder = root / "hypotheses" / "next_one"
    folder.mkdir()
    spec = yaml.safe_load((root / "hypotheses" / HYPOTHESIS / "hypothesis.yaml").read_text(encoding="utf-8"))
    spec |= {"id": "next_one", "title": "The next | one", "aliases": ["N1"], "references": [HYPOTHESIS]}
    spec["base"]["bandwidth_efficiency"] = 0.82
    spec["adopts"] = "treatment"
    spec["arms"] = {"baseline": {}, "treatment": {"overhead": {"kind": "fixed", "us": 100.0}}}
    spec |= {"varied": ["overhead"], "findings": [], "mechanisms": []}
    (folder / "hypothesis.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    discussion = root / "hypotheses" / HYPOTHESIS / "discussion.md"
    (folder / "discussion.md").write_text(discussion.read_text(encoding="utf-8"), encoding="utf-8")
    # Only what this test is about.
    for other in (root / "hypotheses").iterdir():
        if other.name not in (HYPOTHESIS, "next_one"):
            (other / "hypothesis.yaml").unlink(missing_ok=True)
    return load_project(root)


@pytest.fixture
def verdicts():
    return {
        HYPOTHESIS: verdict(
            line("as_published", "Confirmed", {"baseline": 47.7, "treatment": 36.1}),
            line("corrected", "Partially confirmed", {"baseline": 44.5, "treatment": 32.3}, {"improves": "FAIL"}),
        ),
        "next_one": verdict(
            line("as_published", "Confirmed", {"baseline": 36.1, "treatment": 17.3}),
            line("corrected", "Confirmed", {"baseline": 32.3, "treatment": 20.0}),
        ),
    }


def test_every_hypothesis_is_listed_with_status_and_result_of_every_method(chained, verdicts):
    page = index_page(chained, verdicts)
    for name in (HYPOTHESIS, "next_one"):
        assert f"[{name}]({name}/FINDINGS.md)" in page
    assert page.count("some result") == 4
    assert "(N1)" in page
    assert "The next \\| one" in page


def test_a_hypothesis_shows_what_it_builds_on(chained, verdicts):
    row = next(text for text in index_page(chained, verdicts).splitlines() if "next_one/FINDINGS.md" in text)
    assert row.rstrip(" |").endswith(f"[{HYPOTHESIS}]({HYPOTHESIS}/FINDINGS.md)")


def test_conclusions_that_change_with_the_method_are_named(chained, verdicts):
    page = index_page(chained, verdicts)
    assert "Confirmed (as_published) becomes **Partially confirmed** (corrected): because." in page
    assert "`improves` PASS becomes **FAIL**" in page


def test_nothing_that_changes_is_said_to_be_nothing(chained, verdicts):
    same = verdict(line("as_published"), line("corrected"))
    assert "Nothing: every hypothesis" in index_page(chained, dict.fromkeys(verdicts, same))


def errors_of(links):
    return [link.errors[Metric.TPOT_MEAN] for link in links]


def test_corrections_add_up_from_raw_over_each_adopted_arm(chained, verdicts):
    links = correction_chain(chained, "as_published", verdicts)
    assert errors_of(links) == [47.7, 36.1, 17.3]
    assert links[0].label == "raw"
    assert links[-1].label == f"`{HYPOTHESIS}` + `next_one`"


def test_a_refuted_correction_is_not_built_upon(chained, verdicts):
    changed = copy.deepcopy(verdicts)
    changed["next_one"]["methods"][0]["status"] = "Refuted"
    assert errors_of(correction_chain(chained, "as_published", changed)) == [47.7, 36.1]
    changed[HYPOTHESIS]["methods"][0]["status"] = "Refuted"
    assert correction_chain(chained, "as_published", changed) == ()


def test_a_number_that_was_not_measured_is_a_dash_not_a_zero(chained, verdicts):
    page = index_page(chained, verdicts)
    chain = next(text for text in page.splitlines() if text.startswith("| raw"))
    assert chain.rstrip(" |").endswith("–")


def test_a_hypothesis_that_adopts_nothing_ends_the_chain(chained, verdicts):
    changed = chained.hypotheses["next_one"].model_copy(update={"adopts": None})
    chained.hypotheses["next_one"] = changed
    assert errors_of(correction_chain(chained, "as_published", verdicts)) == [47.7, 36.1]


def test_a_hypothesis_that_starts_elsewhere_does_not_continue_the_chain(chained, verdicts):
    changed = chained.hypotheses["next_one"].model_copy(update={"references": ()})
    chained.hypotheses["next_one"] = changed
    assert len(correction_chain(chained, "as_published", verdicts)) == 2  # raw and one of the two


def test_a_single_correction_adds_nothing_up_and_is_no_chain(chained, verdicts):
    changed = copy.deepcopy(verdicts)
    for line_of in changed["next_one"]["methods"]:
        line_of["status"] = "Refuted"
    page = index_page(chained, changed)
    assert "| raw" not in page
    assert "| raw" in index_page(chained, verdicts)


def test_the_index_begins_with_what_the_best_models_miss_on_measurements_left_out(chained, verdicts):
    figures = read_held_out(ROOT / "configs" / "calibration" / "h100_vllm.held_out.csv")
    page = index_page(chained, verdicts, {"h100_vllm": figures})
    means = {name: [row for row in figures if row.metric == name] for name in ("ttft_mean", "itl_mean", "e2e_mean")}
    told = [
        f"{sum(abs(row.predicted_ms / row.measured_ms - 1) for row in rows) / len(rows) * 100:.1f} %"
        for rows in means.values()
    ]
    line = f"| [h100_vllm](calibration/h100_vllm/CALIBRATION.md) | model | 37 | {' | '.join(told)} |"
    assert line in page
    assert page.index(line) < page.index("One row per hypothesis")
    assert "What the corrections led to" not in index_page(chained, verdicts)


def test_the_readme_opens_with_the_errors_the_index_has():
    index = (ROOT / "reports" / "README.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in index.splitlines() if line.startswith("| [") and "CALIBRATION.md" in line]
    told = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    found = {row[0]: row for row in rows}
    one, fleet = (next(row for name, row in found.items() if key in name) for key in ("h100_vllm", "vllm_fleet"))
    assert f"errs by {one[3]} in TTFT and {one[4]} in the time between tokens on {one[2]} load points" in told
    assert f"errs by {fleet[3]} and {fleet[4]} on {fleet[2]}" in told
