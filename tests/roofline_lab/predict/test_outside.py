"""Arms that others predict, from the question to the scored row: programs and tables alike, whatever is answered."""

from __future__ import annotations

import json
import sys

import pytest

from roofline_lab.predict import asking
from roofline_lab.predict.arms import rows_of
from roofline_lab.predict.asking import asked
from roofline_lab.predict.outside import question_of, rows_of_arm
from roofline_lab.project import load_project
from roofline_lab.report.findings import render_report
from roofline_lab.report.results import build_report
from roofline_lab.simulators.contract import Question
from roofline_lab.simulators.description import program_digest
from roofline_lab.simulators.recording import recorded_text
from roofline_lab.vocabulary import MEANS, Metric, RowStatus
from simulator.validation import parse
from tests.roofline_lab.builders import ROOT, edit_yaml
from tests.roofline_lab.simulators.samples import (
    EXPERIMENTS,
    HYPOTHESIS,
    RIGHT,
    describe,
    hypothesis,
    keep_experiments,
    write_hypothesis,
)

METRICS = {"ttft_mean": "ttft_mean", "tpot_mean": "itl_ratio_of_means", "e2e_mean": "e2e_mean"}
LOADED = "qwen3-32b-bf16-h100-tp4-1k-1k"


@pytest.fixture
def others(bench):
    """Return a project of four experiments, and a function that loads it with arms of some fakes and of a table."""
    keep_experiments(bench.root)

    def load(*behaviours, table=None, **changes):
        arms = {name: {"simulator": name} for name in behaviours}
        for name in behaviours:
            describe(bench.root, name, name, **({"timeout_s": 3.0} if name == "hangs" else {}))
        if table is not None:
            arms["elsewhere"] = {"simulator": {"kind": "table", "file": "predictions.csv"}}
        folder = write_hypothesis(bench.root, hypothesis(arms, **changes))
        (folder / "predictions.csv").write_text(table or "experiment,load_point,metric,value\n", encoding="utf-8")
        return bench.load()

    load.root = bench.root
    return load


def answers(project, name, known=None, **how):
    return asked(project, name, known or {}, **{"anew": False, "any_version": False} | how)


def by_key(found):
    return {answer.key: answer for answer in found.answers}


def rows_by_arm(project, method="corrected", why="nobody asked"):
    """Return the result lines of every arm, as the jobs make them."""
    found = {}
    for arm in project.arms(HYPOTHESIS, method):
        if arm.simulator.is_builtin:
            runs = [run for run in project.runs(HYPOTHESIS) if run.arm.name == arm.name]
            found[arm.name] = [row for run in runs for row in rows_of(project, run)]
            continue
        is_table = arm.simulator.table_file is not None
        text = "" if is_table else recorded_text(answers(project, arm.simulator.name).answers)
        found[arm.name] = rows_of_arm(project, HYPOTHESIS, method, arm.name, text, why)
    return found


def report_of(project, method="corrected"):
    rows = [row for own in rows_by_arm(project, method).values() for row in own]
    return build_report(project, HYPOTHESIS, json.loads(json.dumps(rows)), None)


def predicted_table(experiments, **metrics):
    lines = [f"{one},synchronous,{name},{value}\n" for one in experiments for name, value in metrics.items()]
    return "experiment,load_point,metric,value\n" + "".join(lines)


def loaded(bench, behaviour):
    """Return a project of one experiment under load, which our simulator and a fake predict."""
    describe(bench.root, behaviour, behaviour)
    chosen = {"title": "One", "experiments": [LOADED]}
    edit_yaml(bench.root / "ground_truth" / "sets.yaml", lambda content: content["sets"].update(one=chosen))
    spec = hypothesis({behaviour: {"simulator": behaviour}}, "as_measured", "one")
    write_hypothesis(bench.root, spec | {"base": {"family": "mfu_roofline", "compute_term": False}})
    return bench.load()


# --- the question -----------------------------------------------------------------------------------


def test_a_question_holds_what_our_engine_is_given_and_no_measured_latency(others):
    project = others("right")
    run = project.run(HYPOTHESIS, "corrected", "right", EXPERIMENTS[1])
    point = run.experiment.load_points[0]
    asked_of = question_of(project, run, point)
    assert parse(Question, json.loads(json.dumps(asked_of.model_dump(mode="json"))), source="question") == asked_of
    assert asked_of.model.id == "llama-2-7b-hf"
    assert asked_of.model.config["num_hidden_layers"] == 32
    assert asked_of.gpu["memory_bandwidth_tbs"]["value"] == 3.35
    assert asked_of.parallelism.tensor_parallel == 1
    assert asked_of.server["token_budget"] == 2048
    assert "token_budget" in asked_of.assumed
    assert asked_of.workload.arrivals.concurrency == 1
    assert asked_of.workload.requests_counted == point.requests.completed == len(asked_of.workload.requests)
    assert {metric.name for metric in asked_of.asked} == set(METRICS.values())
    text = json.dumps(asked_of.model_dump(mode="json"))
    assert [figure.value for figure in point.measured.values() if str(figure.value) in text] == []


def test_a_replayed_load_point_is_asked_with_its_load_and_everything_that_was_measured(bench):
    describe(bench.root, "right")
    edit_yaml(
        bench.root / "ground_truth" / "sets.yaml",
        lambda c: c["sets"].update(one={"title": "x", "experiments": [LOADED]}),
    )
    spec = hypothesis({"right": {"simulator": "right"}}, "as_measured", "one")
    write_hypothesis(bench.root, spec | {"base": {"family": "mfu_roofline", "compute_term": False}})
    project = bench.load()
    run = project.run(HYPOTHESIS, "as_measured", "right", LOADED)
    point = run.experiment.load_points[0]
    asked_of = question_of(project, run, point)
    assert asked_of.workload.arrivals == point.arrivals
    warm_up = sum(request.warm_up for request in asked_of.workload.requests)
    assert len(asked_of.workload.requests) == asked_of.workload.requests_counted + warm_up
    assert "tpot_request" in {metric.name for metric in asked_of.asked}
    assert asked_of.workload.prompt_tokens.max <= 1024


# --- asking -----------------------------------------------------------------------------------------


def test_what_has_an_answer_that_stands_is_not_asked_and_the_program_not_even_started(others, monkeypatch):
    project = others("right")
    first = answers(project, "right")
    assert (first.questions, first.asked_now, first.why) == (4, 4, "")
    monkeypatch.setattr(asking, "version_of", lambda *_: pytest.fail("started"))
    again = answers(project, "right", by_key(first))
    assert (again.asked_now, again.why, by_key(again)) == (0, "", by_key(first))


def test_a_changed_measurement_or_option_asks_its_own_questions_alone(others):
    project = others("right")
    known = by_key(answers(project, "right"))
    edit_yaml(
        others.root / "ground_truth" / EXPERIMENTS[0] / "experiment.yaml",
        lambda content: content["server"]["assumed"].update(token_budget=4096),
    )
    assert answers(others("right"), "right", known).asked_now == 1


def test_a_changed_adapter_asks_everything_and_a_changed_time_limit_nothing(others):
    known = by_key(answers(others("right"), "right"))
    edit_yaml(
        others.root / "configs" / "simulators" / "right.yaml",
        lambda content: content["simulator"].update(timeout_s=9.0),
    )
    project = others.root
    assert answers(load_project(project), "right", known).asked_now == 0
    adapter = project / "configs" / "simulators" / "fake.py"
    adapter.write_text(adapter.read_text(encoding="utf-8") + "# another way to answer\n", encoding="utf-8")
    assert answers(load_project(project), "right", known).asked_now == 4


def test_an_environment_is_no_part_of_the_program_it_differs_from_machine_to_machine(others):
    project = others("right")
    described = project.simulators["right"].simulator
    hidden = project.root / ".simulators" / "python"
    hidden.parent.mkdir()
    moved = described.model_copy(update={"run": (".simulators/python", *described.run[1:])})
    before = program_digest(moved, project.root)
    hidden.write_text("another build", encoding="utf-8")
    assert program_digest(moved, project.root) == before


def test_a_missing_program_leaves_what_is_known_and_says_why(others):
    project = others("right")
    known = by_key(answers(project, "right"))
    edit_yaml(
        others.root / "configs" / "simulators" / "right.yaml",
        lambda content: content["simulator"].update(version=["no-such-simulator"]),
    )
    edit_yaml(
        others.root / "ground_truth" / EXPERIMENTS[0] / "experiment.yaml",
        lambda content: content["server"]["assumed"].update(token_budget=4096),
    )
    found = answers(load_project(others.root), "right", known)
    assert (len(found.answers), found.asked_now) == (3, 0)
    assert found.why == (
        "configs/simulators/right.yaml: simulator.version: 'no-such-simulator' cannot be started: No such file or "
        "directory; install it"
    )


def test_answers_of_two_versions_are_never_mixed(others):
    known = by_key(answers(others("right"), "right"))
    newer = [sys.executable, "-c", "print('fake 2.0')"]
    edit_yaml(
        others.root / "configs" / "simulators" / "right.yaml",
        lambda content: content["simulator"].update(version=newer),
    )
    project = load_project(others.root)
    some = dict(list(known.items())[:3])
    found = answers(project, "right", some)
    assert (len(found.answers), found.asked_now) == (3, 0)
    assert found.why == (
        "configs/simulators/recorded/right.jsonl: version: its answers are of 'fake 1.0', the program that is "
        "installed says 'fake 2.0'; install the recorded one, or ask all anew: --config ask=again"
    )
    assert answers(project, "right", known, anew=True).why == found.why
    anew = answers(project, "right", known, any_version=True)
    assert (anew.asked_now, {one.predicted.version for one in anew.answers}) == (4, {"fake 2.0"})


def test_asked_again_and_answered_alike_nothing_changes_not_even_how_long_it_took(others):
    project = others("right")
    first = answers(project, "right")
    again = answers(project, "right", by_key(first), anew=True)
    assert again.asked_now == 4
    assert recorded_text(again.answers) == recorded_text(first.answers)


# --- rows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "status", "metrics"),
    [
        ("crashes", RowStatus.FAILED, set(METRICS)),
        ("nan", RowStatus.FAILED, {"ttft_mean"}),
        ("seconds", RowStatus.FAILED, set(METRICS)),
        ("hangs", RowStatus.FAILED, set(METRICS)),
        ("twice", RowStatus.FAILED, set(METRICS)),
        ("unsupported", RowStatus.UNSUPPORTED, set(METRICS)),
    ],
)
def test_what_a_simulator_does_not_answer_is_a_row_with_a_reason_and_nothing_else_is_lost(
    others, behaviour, status, metrics
):
    report = report_of(others(behaviour))
    scores = report.headline.scores
    lost = [row for row in scores.rows if row.arm == behaviour and not row.is_scored]
    assert {(row.experiment, row.metric) for row in lost} == {(EXPERIMENTS[2], metric) for metric in metrics}
    assert {row.status for row in lost} == {status}
    assert all(row.reason for row in lost)
    assert len([row for row in scores.rows if row.arm == behaviour]) == 3 * len(EXPERIMENTS)
    for metric in MEANS:
        predicted = 3 if metric in metrics else 4
        assert str(scores.coverage(behaviour, metric)) == f"{predicted} of 4"
        assert str(scores.coverage("ours", metric)) == "4 of 4"
        assert {row.experiment for row in scores.shared(["ours", behaviour]).select("ours", metric)} == {
            row.experiment for row in scores.select(behaviour, metric)
        }


def test_predictions_of_a_program_and_of_a_table_give_the_same_rows(others):
    project = others("right", table=predicted_table(EXPERIMENTS, **RIGHT))
    found = rows_by_arm(project)
    apart = ("arm", "digest", "simulator", "version", "seconds")
    program, table = (
        [{key: value for key, value in row.items() if key not in apart} for row in found[arm]]
        for arm in ("right", "elsewhere")
    )
    assert program == table
    assert [row["metrics"]["ttft_mean"]["predicted"] for row in found["right"]] == [80.0] * 4


def test_the_time_of_the_client_is_added_unless_the_simulator_says_it_is_in(others):
    spec = {"varied": ["simulator"], "base": {"family": "mfu_roofline", "method": {"client": {"request_us": 5000}}}}
    before, after = (
        [row["metrics"] for row in rows_by_arm(others("right", **changes))["right"]] for changes in ({}, spec)
    )
    assert [row["ttft_mean"]["predicted"] for row in after] == [85.0] * 4
    assert [row["e2e_mean"]["predicted"] for row in after] == [1605.0] * 4
    assert [row["tpot_mean"]["predicted"] for row in after] == [8.0] * 4
    assert [row["ttft_mean"]["predicted"] for row in before] == [80.0] * 4
    edit_yaml(others.root / "configs" / "simulators" / "right.yaml", lambda c: c["simulator"].update(side="client"))
    found = rows_by_arm(load_project(others.root))["right"]
    assert [row["metrics"]["ttft_mean"]["predicted"] for row in found] == [80.0] * 4


def test_what_was_never_asked_is_told_with_what_stands_in_the_way(others):
    project = others("right")
    rows = rows_of_arm(project, HYPOTHESIS, "corrected", "right", "", "it is not installed")
    assert {row["status"] for row in rows} == {"not_asked"}
    assert {row["reason"] for row in rows} == {"no recorded answer of right, and it was not asked: it is not installed"}


def test_criteria_compare_arms_where_both_predict_and_the_page_shows_both_means(others):
    project = others("right", table=predicted_table(EXPERIMENTS[:2], **RIGHT))
    report = report_of(project)
    assert [outcome.id for outcome in report.headline.verdict.criteria] == ["closer_right", "closer_elsewhere"]
    assert "1 of 2 experiments improve" in report.headline.verdict.criteria[1].detail
    page = render_report(project, report)["FINDINGS.md"]
    scores = report.headline.scores
    own, shared = scores.mape("ours", "tpot_mean"), scores.shared(report.spec.arms).mape("ours", "tpot_mean")
    assert own != shared
    assert f"{own:.1f} % (4 of 4)" in page
    assert "| Corrected | TPOT | 2 |" in page
    assert "hypotheses/h90_others/predictions.csv has no line of this load point" in page
    numbers = {(n.arm, n.scope, n.metric, n.statistic): n.value for n in report.numbers if n.load_point == "all"}
    assert numbers["elsewhere", "overall", "tpot_mean", "predicted_points"] == 2
    assert numbers["elsewhere", "overall", "tpot_mean", "asked_points"] == 4
    assert numbers["ours", "shared", "tpot_mean", "mape"] == pytest.approx(shared)


def test_a_simulator_that_calls_a_server_saturated_loses_its_own_load_points_and_nobody_elses(bench):
    report = report_of(loaded(bench, "saturated"), "as_measured")
    scores, points = report.headline.scores, len(report.experiments[0].load_points)
    assert points > 2
    assert str(scores.coverage("ours", Metric.TTFT_MEAN)) == f"{points} of {points}"
    assert str(scores.coverage("saturated", Metric.TTFT_MEAN)) == f"{points - 1} of {points}"
    lost = [row for row in scores.rows if row.metric is Metric.TTFT_MEAN and not row.is_scored]
    assert [(row.arm, row.status) for row in lost] == [("saturated", RowStatus.SATURATED)]
    assert "the simulated server was saturated (saturated), the measured one was not" in lost[0].reason


def test_a_page_comes_out_where_a_program_is_missing_and_none_of_its_answers_is_recorded(bench):
    loaded(bench, "right")
    described = bench.root / "configs" / "simulators" / "right.yaml"
    edit_yaml(described, lambda content: content["simulator"].update(version=["no-such-simulator"]))
    project = load_project(bench.root)
    assert "right.yaml: simulator.version: 'no-such-simulator' cannot be started" in answers(project, "right").why
    report = report_of(project, "as_measured")
    points = len(report.experiments[0].load_points)
    assert str(report.headline.scores.coverage("right", Metric.TTFT_MEAN)) == f"0 of {points}"
    assert (
        "no recorded answer of right, and it was not asked: nobody asked"
        in render_report(project, report)["FINDINGS.md"]
    )


def test_a_page_of_several_simulators_under_load_compares_over_what_all_predict(bench):
    project = loaded(bench, "crashes")
    report = report_of(project, "as_measured")
    files = render_report(project, report)
    page = files["FINDINGS.md"] + files["DETAILS.md"]
    points = len(report.experiments[0].load_points)
    assert f"({points - 1} of {points})" in page
    assert (
        "configs/simulators/crashes.yaml: the program ended with code 7 before it answered; its last words: segm"
        in page
    )
    grouped = page.split("**By group, over the load points that ours, crashes all predict**")[1].split("\n\n**", 1)[0]
    assert f"({points - 1} of {points - 1})" in grouped
    assert f"({points} of {points})" not in grouped
    assert "What each load point was (ours; shares of all steps" in page


# --- the example of the documentation ---------------------------------------------------------------


def test_the_example_of_the_documentation_predicts_as_it_stands_there(others):
    page = (ROOT / "docs" / "simulator-contract.md").read_text(encoding="utf-8")
    description = page.split("```yaml\nid: mine")[1].split("```")[0]
    program = page.split("```python\n")[1].split("```")[0]
    assert len(program.splitlines()) <= 40
    folder = others.root / "configs" / "simulators"
    folder.mkdir(exist_ok=True)
    (folder / "mine.yaml").write_text("id: mine" + description.replace("python3", sys.executable), encoding="utf-8")
    (folder / "mine.py").write_text(program, encoding="utf-8")
    write_hypothesis(others.root, hypothesis({"mine": {"simulator": "mine"}}))
    report = report_of(load_project(others.root))
    scores = report.headline.scores
    assert [str(scores.coverage("mine", metric)) for metric in MEANS] == ["4 of 4"] * 3
    # Weights of 7 billion parameters are read at the data sheet's bandwidth: too fast, by what a server adds.
    assert all(-60 < row.signed_error_pct < 0 for row in scores.select("mine", Metric.TPOT_MEAN))
    assert {row["version"] for row in report.headline.rows if row["arm"] == "mine"} == {"mine 1.0"}
