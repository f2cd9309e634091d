"""The standards lint: every rule passes on a good hypothesis and names what breaks it."""

from __future__ import annotations

import csv
import json
import math

import pytest
import yaml

from roofline_lab import places
from roofline_lab.lint.lint import HYPOTHESIS_RULES, PROJECT_RULES, RULES, run
from roofline_lab.lint.rules import PROJECT
from roofline_lab.project import Project, load_project
from simulator.errors import ConfigError
from tests.roofline_lab.builders import HYPOTHESIS, copy_project, edit_yaml, foreign, replace_text

# What a citation may point at, besides the inputs.
COPIED = ("configs", "ground_truth", "hypotheses", "simulator", "reports")


class Audited:
    """A copy of the project of which one file at a time is spoilt."""

    def __init__(self, root):
        self.root = root
        self.spec = root / "hypotheses" / HYPOTHESIS / "hypothesis.yaml"
        self.discussion = root / "hypotheses" / HYPOTHESIS / "discussion.md"
        self.report = root / "reports" / HYPOTHESIS

    def breaches(self, rule, change=None, name=HYPOTHESIS):
        """Return the lines of one rule after one change of the spec."""
        if change is not None:
            edit_yaml(self.spec, change)
        return self.of(load_project(self.root), rule, name)

    @staticmethod
    def of(laboratory, rule, name=HYPOTHESIS):
        [result] = [one for one in run(laboratory, [name]) if one.rule.id == rule]
        return list(result.lines)


@pytest.fixture
def audited(tmp_path):
    return Audited(copy_project(tmp_path / "project", COPIED))


def breach(lines, *words):
    """Return the one breach, which must say all `words`."""
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


@pytest.mark.parametrize("rule", [rule.id for rule in HYPOTHESIS_RULES if rule.id != "ED-5"])
def test_a_good_hypothesis_breaks_no_rule(audited, rule):
    assert audited.breaches(rule) == []


def test_every_rule_has_a_number_of_its_own_and_a_statement():
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.statement for rule in RULES)


def test_a_breach_names_rule_hypothesis_file_key_and_remedy(audited):
    line = breach(audited.breaches("RCV-6", lambda spec: spec.update(not_tested=[])))
    assert line.startswith(f"RCV-6 {HYPOTHESIS} hypotheses/{HYPOTHESIS}/hypothesis.yaml: not_tested: is empty; ")


# --- design rules -----------------------------------------------------------------------------


def with_spec(laboratory: Project, **changes):
    """Change a spec behind the loader's back, which would refuse it."""
    laboratory.hypotheses[HYPOTHESIS] = laboratory.hypotheses[HYPOTHESIS].model_copy(update=changes)
    return laboratory


def test_arms_that_vary_something_undeclared_break_ed_1(audited):
    laboratory = with_spec(load_project(audited.root), varied=("overhead",))
    assert any("'bandwidth_efficiency' differs" in line for line in audited.of(laboratory, "ED-1"))


def test_no_word_about_a_vanishing_regime_breaks_ed_2(audited):
    breach(audited.breaches("ED-2", lambda spec: spec.pop("vanishing")), "where the effect should vanish")


def test_a_control_that_looks_where_the_effect_vanishes_keeps_ed_2_without_a_note(audited):
    def change(spec):
        spec.pop("vanishing")
        where = {"workload": ["chatsweep"]}
        spec["controls"].append({"id": "gone", "kind": "vanishes", "less_than_pp": 1, "where": where})

    edit_yaml(audited.spec, change)
    [result] = [r for r in run(load_project(audited.root), [HYPOTHESIS]) if r.rule.id == "ED-2"]
    assert (result.lines, result.notes) == ((), ())
    assert "gone" in result.findings.checked


def test_a_missing_description_of_the_hardware_breaks_ed_3(audited, tmp_path, monkeypatch):
    laboratory = load_project(audited.root)
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "nothing")
    (audited.root / "configs" / "hardware" / "h100-sxm.yaml").unlink()
    lines = audited.of(laboratory, "ED-3")
    assert all("configs/hardware/h100-sxm.yaml is missing" in line for line in lines)
    assert len(lines) == 13


def test_a_statistical_claim_with_too_few_seeds_breaks_ed_4(audited):
    lines = audited.breaches("ED-4", lambda spec: spec.update(type="statistical-dominance"))
    breach(lines, "statistical-dominance", "at least 3 seeds")


def test_a_report_older_than_its_hypothesis_breaks_ed_5(audited):
    audited.discussion.write_text(audited.discussion.read_text(encoding="utf-8") + "\nMore.\n", encoding="utf-8")
    breach(audited.breaches("ED-5"), "changed after the report", "snakemake")


def test_a_report_without_a_record_or_without_a_hash_breaks_ed_5(audited):
    path = audited.report / "provenance.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["hashes"].pop("settings")
    path.write_text(json.dumps(record), encoding="utf-8")
    assert any("no content hash of 'settings'" in line for line in audited.breaches("ED-5"))
    path.unlink()
    breach(audited.breaches("ED-5"), "is missing")


def follower(audited, **changes):
    """Add a hypothesis that builds on H1, and return its id."""
    spec = yaml.safe_load(audited.spec.read_text(encoding="utf-8"))
    spec |= {"id": "follower", "references": [HYPOTHESIS], "controls": [], "mechanisms": [], "findings": []}
    spec["base"]["bandwidth_efficiency"] = 0.5
    spec["arms"] = {"baseline": {}, "treatment": {"overhead": {"kind": "fixed", "us": 10.0}}}
    spec["varied"] = ["overhead"]
    spec |= changes
    folder = audited.root / "hypotheses" / "follower"
    folder.mkdir()
    (folder / "hypothesis.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    sections = ("Root Cause Analysis", "Devil's Advocate", "Implications for Users", "Parameters and Generality")
    text = "".join(f"## {name}\n\ntext\n\n" for name in sections)
    (folder / "discussion.md").write_text(text, encoding="utf-8")
    return "follower"


def test_an_undeclared_difference_to_the_referenced_hypothesis_breaks_ed_6(audited):
    name = follower(audited)
    lines = audited.breaches("ED-6", name=name)
    assert lines
    breach(lines, "'bandwidth_efficiency' of baseline is not that of treatment", HYPOTHESIS)


def test_a_declared_difference_keeps_ed_6(audited):
    name = follower(audited, differs={HYPOTHESIS: ["bandwidth_efficiency"]})
    assert audited.breaches("ED-6", name=name) == []


# --- verification rules -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("citation", "words"),
    [
        ("`simulator/no_such_file.py`", "does not exist"),
        ("`simulator/model.py:99999`", "the file ends at line"),
        ("`../outside.py`", "does not exist"),
    ],
)
def test_a_citation_of_what_is_not_there_breaks_rcv_1(audited, citation, words):
    replace_text(audited.discussion, "`simulator/steptime/`", citation)
    breach(audited.breaches("RCV-1"), citation.strip("`").partition(":")[0], words)


def test_a_mechanism_that_cites_what_is_not_there_breaks_rcv_1(audited):
    def change(spec):
        spec["mechanisms"][0]["cites"] = ["simulator/model.py:3", "docs/nothing.md"]

    breach(audited.breaches("RCV-1", change), "docs/nothing.md", "mechanisms.0.cites")


def surprise(spec):
    return next(finding for finding in spec["findings"] if finding["type"] == "Surprise")


def test_a_surprise_without_a_computed_expectation_breaks_rcv_2(audited):
    breach(audited.breaches("RCV-2", lambda spec: surprise(spec).pop("expectation")), "without an `expectation`")


@pytest.mark.parametrize(
    ("expected", "words"), [(2.0, "expected 2, observed"), (None, "asks for something that was not run")]
)
def test_an_expectation_that_is_not_met_or_has_no_number_breaks_rcv_2(audited, expected, words):
    path = audited.report / "expectations.json"
    [computed] = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps([computed | {"expected": expected}]), encoding="utf-8")
    breach(audited.breaches("RCV-2"), words)


def test_an_expectation_that_no_run_has_computed_breaks_rcv_2(audited):
    (audited.report / "expectations.json").unlink()
    breach(audited.breaches("RCV-2"), "was not computed yet")


@pytest.mark.parametrize(
    ("predicts", "words"),
    [
        ({"codesweep": "shorter"}, "'codesweep' is predicted shorter, but 6 of 6 are not"),
        ({"chatsweep": "equal"}, "'chatsweep' is predicted equal"),
        ({"elsewhere": "longer"}, "no experiment in group 'elsewhere'"),
    ],
)
def test_a_mechanism_that_predicts_another_direction_breaks_rcv_3(audited, predicts, words):
    lines = audited.breaches("RCV-3", lambda spec: spec["mechanisms"][0].update(predicts=predicts))
    assert len(lines) == 2  # once per method
    assert all(words in line for line in lines)


def test_a_contradicted_mechanism_is_allowed_as_long_as_the_numbers_contradict_it(audited):
    def change(predicts):
        return lambda spec: spec["mechanisms"][0].update(predicts=predicts, contradicted=True)

    assert audited.breaches("RCV-3", change({"chatsweep": "shorter"})) == []
    breach(audited.breaches("RCV-3", change({"chatsweep": "longer"})), "every predicted direction is seen")


def test_a_hypothesis_without_a_mechanism_is_noted(audited):
    edit_yaml(audited.spec, lambda spec: spec.update(mechanisms=[]))
    notes = [note for result in run(load_project(audited.root), [HYPOTHESIS]) for note in result.notes]
    assert any(note.startswith("RCV-3") for note in notes)


def control(spec, arm, over, at_most_pp):
    spec["mechanisms"][0]["control"] = {"arm": arm, "over": over, "at_most_pp": at_most_pp}


def test_a_control_whose_effect_exceeds_its_bound_breaks_rcv_4(audited):
    lines = audited.breaches("RCV-4", lambda spec: control(spec, "treatment", "baseline", 1.0))
    assert sum("with the mechanism disabled the effect is" in line for line in lines) == 2
    assert sum("differ in nothing" in line for line in lines) == 2


def test_a_control_that_differs_in_one_option_and_has_no_effect_keeps_rcv_4(audited):
    assert audited.breaches("RCV-4", lambda spec: control(spec, "baseline", "baseline", 0.0)) == []


def test_a_control_that_was_not_run_breaks_rcv_4(audited):
    numbers = audited.report / "numbers.csv"
    kept = [line for line in numbers.read_text(encoding="utf-8").splitlines() if ",baseline," not in line]
    numbers.write_text("\n".join(kept) + "\n", encoding="utf-8")
    lines = audited.breaches("RCV-4", lambda spec: control(spec, "baseline", "baseline", 0.0))
    assert all("was not run" in line for line in lines)
    assert lines


def test_an_unknown_arm_of_a_mechanism_is_refused_before_anything_runs(audited):
    edit_yaml(audited.spec, lambda spec: control(spec, "nobody", "baseline", 1.0))
    with pytest.raises(Exception, match=r"mechanisms\.0: unknown arm 'nobody'"):
        load_project(audited.root)


def test_a_one_sided_page_breaks_rcv_5(audited):
    replace_text(audited.discussion, "**Why this might be stronger than it looks.**", "Besides,")
    breach(audited.breaches("RCV-5"), "1 of 2 directions")


# --- words and conclusions --------------------------------------------------------------------


@pytest.mark.parametrize("word", ["Partial confirmation", "Refuted - mechanism not plausible at aggregate level"])
def test_a_status_outside_the_closed_list_is_found(audited, word):
    page = audited.report / "FINDINGS.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("**Status:** Partially confirmed", f"**Status:** {word}"), encoding="utf-8")
    breach(audited.breaches("VOC"), word, "not in the closed list")


def edit_verdict(audited, method="corrected", **results):
    """Change status or results of one method in the committed verdict."""
    path = audited.report / "verdict.json"
    verdict = json.loads(path.read_text(encoding="utf-8"))
    [found] = [entry for entry in verdict["methods"] if entry["method"] == method]
    found["status"] = results.pop("status", found["status"])
    found["criteria"] |= results
    path.write_text(json.dumps(verdict), encoding="utf-8")


def test_confirmed_beside_a_failed_criterion_is_found(audited):
    edit_verdict(audited, status="Confirmed")
    lines = audited.breaches("STATUS")
    assert any("although chat_more_than_code failed" in line for line in lines)
    assert all("verdict.json: corrected" in line for line in lines)


def test_confirmed_beside_an_unmeasured_criterion_is_found(audited):
    edit_verdict(audited, status="Confirmed", chat_more_than_code="NOT MEASURED")
    assert any("was not measured" in line for line in audited.breaches("STATUS"))


def test_refuted_without_a_failed_criterion_is_found(audited):
    edit_verdict(audited, "as_published", status="Refuted")
    assert any("although no criterion failed" in line for line in audited.breaches("STATUS"))


def test_another_status_beside_a_failed_decisive_criterion_is_found(audited):
    edit_verdict(audited, tpot_improves="FAIL")
    assert any("a decisive criterion failed" in line for line in audited.breaches("STATUS"))


def test_a_report_without_a_verdict_is_found(audited):
    (audited.report / "verdict.json").unlink()
    breach(audited.breaches("STATUS"), "verdict.json: is missing", "snakemake")


def test_a_hypothesis_without_a_report_is_found(audited):
    (audited.report / "FINDINGS.md").unlink()
    breach(audited.breaches("STATUS"), "there is no report")


@pytest.mark.parametrize("written", ["Confirmed", None])
def test_findings_written_for_another_status_or_for_none_break_fits(audited, written):
    lines = audited.breaches("FITS", lambda spec: spec.update(written_for=written))
    said = "'Confirmed', but the page says 'Partially confirmed'" if written else "names no status"
    breach(lines, "hypothesis.yaml: written_for", said)


def test_a_discussion_written_for_another_status_breaks_fits(audited):
    replace_text(audited.discussion, "written_for: Partially confirmed", "written_for: Refuted")
    breach(audited.breaches("FITS"), "discussion.md: written_for", "'Refuted', but the page says 'Partially confirmed'")


def test_a_status_that_flips_breaks_fits_in_both_texts(audited):
    verdict = audited.report / "verdict.json"
    content = json.loads(verdict.read_text(encoding="utf-8"))
    content["methods"][-1]["status"] = "Refuted"
    verdict.write_text(json.dumps(content), encoding="utf-8")
    assert len(audited.breaches("FITS")) == 2


def test_a_text_that_is_still_to_be_written_is_found(audited):
    replace_text(audited.discussion, "**Why this might be refuted after all.**", "**Why.** TODO")
    breach(audited.breaches("TEXT"), "says TODO", "discussion.md:")


def test_a_run_that_vanished_from_the_numbers_breaks_r1(audited):
    numbers = audited.report / "numbers.csv"
    lost = "experiment,dec17-tp1-qwen7-summarization,tpot_mean"
    kept = [line for line in numbers.read_text(encoding="utf-8").splitlines() if lost not in line]
    numbers.write_text("\n".join(kept) + "\n", encoding="utf-8")
    lines = audited.breaches("R1")
    assert len(lines) == 4  # two methods, two arms
    assert all("dec17-tp1-qwen7-summarization" in line for line in lines)


def test_a_run_that_is_named_with_its_reason_keeps_r1(audited):
    numbers, verdict = audited.report / "numbers.csv", audited.report / "verdict.json"
    lost = "experiment,dec17-tp1-qwen7-summarization,tpot_mean"
    kept = [line for line in numbers.read_text(encoding="utf-8").splitlines() if lost not in line]
    numbers.write_text("\n".join(kept) + "\n", encoding="utf-8")
    point = next(line for line in kept if "dec17-tp1-qwen7-summarization" in line).split(",")[2]
    named = json.loads(verdict.read_text(encoding="utf-8"))
    for method in named["methods"]:
        method["unscored"] = [
            {
                "arm": arm,
                "metric": "tpot_mean",
                "experiment": "dec17-tp1-qwen7-summarization",
                "load_point": point,
                "status": "saturated",
            }
            for arm in ("baseline", "treatment")
        ]
    verdict.write_text(json.dumps(named), encoding="utf-8")
    assert audited.breaches("R1") == []


# --- the project ------------------------------------------------------------------------------


def test_a_dead_link_breaks_r15_and_a_live_one_does_not(tmp_path, lab):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "there.md").write_text("there\n", encoding="utf-8")
    text = "[a](docs/there.md) [b](https://example.org/x) [c](#part) [d](docs/gone.md)\n"
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    [rule] = [rule for rule in PROJECT_RULES if rule.id == "R15"]
    [found] = rule.check(Project(tmp_path, lab.settings, lab.methods, {})).breaches
    assert (found.where, found.what) == ("README.md", "links to 'docs/gone.md', which does not exist")


def project_rule(root, rule):
    [found] = [one.check(load_project(root)) for one in PROJECT_RULES if one.id == rule]
    return found


def test_a_pitfall_that_is_not_flagged_breaks_gt(audited):
    path = audited.root / "ground_truth" / "17-llama-4-scout-17b-16e-tp2-general-lite-2-1" / "experiment.yaml"
    assert project_rule(audited.root, "GT").breaches == ()
    edit_yaml(path, lambda spec: spec.update(quality=[flag for flag in spec["quality"] if "cold" not in flag["flag"]]))
    [found] = project_rule(audited.root, "GT").breaches
    assert "no flag cold_start_included at stage_0, but: 99 % of TTFT are below 138.6 ms" in found.what


def test_a_copied_experiment_breaks_gt(audited):
    folder = audited.root / "ground_truth"
    (folder / "copy").mkdir()
    text = (folder / "jan30-llama2-7b-tp1-chatsweep" / "experiment.yaml").read_text(encoding="utf-8")
    (folder / "copy" / "experiment.yaml").write_text(
        text.replace("id: jan30-llama2-7b-tp1-chatsweep", "id: copy"), encoding="utf-8"
    )
    assert any("equals that of" in breach.what for breach in project_rule(audited.root, "GT").breaches)


def test_an_unreadable_experiment_breaks_gt(audited):
    (audited.root / "ground_truth" / "broken").mkdir()
    (audited.root / "ground_truth" / "broken" / "experiment.yaml").write_text("id: broken\n", encoding="utf-8")
    [found] = project_rule(audited.root, "GT").breaches
    assert found.where == "ground_truth/broken"


def test_two_published_pages_whose_errors_cannot_both_be_right_are_noted(lab):
    [found] = [rule.check(lab) for rule in PROJECT_RULES if rule.id == "PUB"]
    [note] = [name for name in found.notes if "h2b_scaled_overhead scaled and hg1_overhead_grid per_layer_100" in name]
    assert "jan30-llama2-7b-tp4-chatsweep 37.4 and 8.1" in note


def test_an_overall_error_that_is_a_root_mean_square_is_noted(audited):
    path = audited.root / "hypotheses" / "h2b_scaled_overhead" / "published"
    with (path / "tpot.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["arm"] == "scaled" and row["statistic"] == "mape"]
    training_loss = math.sqrt(math.fsum(float(row["value"]) ** 2 for row in rows) / len(rows))
    assert not any("root mean square" in one for one in project_rule(audited.root, "PUB").notes)
    replace_text(
        path / "overall.csv",
        "scaled,overall,all,tpot_mean,mape,17.3",
        f"scaled,overall,all,tpot_mean,mape,{training_loss:.1f}",
    )
    [note] = [one for one in project_rule(audited.root, "PUB").notes if "root mean square" in one]
    assert note.startswith("h2b_scaled_overhead: the published overall tpot_mean error of scaled")


def test_every_hypothesis_of_the_project_keeps_every_rule(lab):
    added = foreign("ground_truth") | foreign("hypotheses")
    lines = [line for result in run(lab) for line in result.lines]
    assert [line for line in lines if not any(name in line for name in added)] == []


def test_looking_at_named_hypotheses_leaves_the_project_out(lab):
    assert {result.hypothesis for result in run(lab, [HYPOTHESIS])} == {HYPOTHESIS}
    assert PROJECT in {result.hypothesis for result in run(lab)}


# --- advice -----------------------------------------------------------------------------------

ADVISED, LATER = "advised", "h2_fixed_overhead"  # refers to HYPOTHESIS, and is refuted


def with_tested_advice(audited, *, falls_if="refuted", corrected_by=None, named=ADVISED):
    """Let a later hypothesis test the action of a finding, and return what the rule says of the earlier one."""

    def advise(spec):
        spec["findings"][0]["id"] = ADVISED
        spec["findings"][0].pop("corrected_by", None)
        if corrected_by:
            spec["findings"][0]["corrected_by"] = corrected_by

    edit_yaml(audited.spec, advise)
    test = {"of": HYPOTHESIS, "finding": named, "falls_if": falls_if}
    later = audited.root / "hypotheses" / LATER / "hypothesis.yaml"
    edit_yaml(later, lambda spec: spec.update(tests_actions=[test]))
    return audited.of(load_project(audited.root), "ADVICE")


def test_an_action_that_a_later_hypothesis_refuted_is_found(audited):
    breach(with_tested_advice(audited), f"findings: {ADVISED}", f"advises what {LATER} refutes (Refuted)")


def test_a_corrected_action_that_names_what_refuted_it_is_no_breach(audited):
    assert with_tested_advice(audited, corrected_by=LATER) == []


def test_an_action_that_stands_when_the_later_hypothesis_is_refuted_is_no_breach(audited):
    assert with_tested_advice(audited, falls_if="confirmed") == []


def test_a_correction_by_a_hypothesis_that_refutes_nothing_is_found(audited):
    lines = with_tested_advice(audited, falls_if="confirmed", corrected_by=LATER)
    breach(lines, f"{LATER} refutes no such action")


def test_a_test_of_a_finding_that_does_not_exist_is_found(audited):
    breach(with_tested_advice(audited, named="elsewhere"), f"hypotheses/{LATER}", "no such finding: elsewhere")


def test_a_test_of_an_action_of_something_that_is_not_referred_to_is_refused(audited):
    test = {"of": "h9_prefill_bucketing", "finding": "any", "falls_if": "refuted"}
    with pytest.raises(ConfigError, match="tests_actions: 'h9_prefill_bucketing' is not in references"):
        audited.breaches("ADVICE", lambda spec: spec.update(references=[], tests_actions=[test]))


def test_the_project_follows_the_corrections_its_own_hypotheses_ask_for(audited):
    h2b = audited.root / "hypotheses" / "h2b_scaled_overhead" / "hypothesis.yaml"
    assert audited.of(load_project(audited.root), "ADVICE", "h2b_scaled_overhead") == []
    edit_yaml(h2b, lambda spec: [finding.pop("corrected_by", None) for finding in spec["findings"]])
    lines = audited.of(load_project(audited.root), "ADVICE", "h2b_scaled_overhead")
    assert [word for line in lines for word in ("h19_overhead_not_over_tp", "hg1_overhead_grid") if word in line] == [
        "h19_overhead_not_over_tp",
        "hg1_overhead_grid",
    ]
