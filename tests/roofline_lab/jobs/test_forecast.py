"""A look ahead says for every finding how much would run, and why, in one line."""

from __future__ import annotations

from roofline_lab.jobs.forecast import PUBLISH, Waiting, forecast
from roofline_lab.jobs.paths import CODE, arms_of, runs_by_arm
from tests.roofline_lab.builders import HYPOTHESIS

SYNTHETIC = "h8_decode_max_kv"
SWEPT = "hg1_overhead_grid"


def predict(method, arm, hypothesis=HYPOTHESIS, **changes):
    return Waiting("predict", {"hypothesis": hypothesis, "method": method, "arm": arm}, **changes)


def step(rule, hypothesis=HYPOTHESIS, **changes):
    return Waiting(rule, {"hypothesis": hypothesis}, **changes)


def told(lab, *waiting, standing=0):
    return forecast(lab, waiting, lambda runs: standing)


def arm_file(method, arm):
    return f"results/{HYPOTHESIS}/arms/{method}/{arm}.json"


def test_runs_of_an_arm_that_changed_are_counted_without_those_that_stand(lab):
    matrix = runs_by_arm(lab, HYPOTHESIS)
    total = sum(map(len, matrix.values()))
    changed = predict("corrected", "treatment", updated=(arm_file("corrected", "treatment"),))
    lines = told(lab, changed, step("score"), step("render"), step(PUBLISH), standing=1)
    new = len(matrix["corrected", "treatment"]) - 1
    assert lines[0] == (
        f"{HYPOTHESIS}: {new} of {total} runs new, because options or data of corrected/treatment changed"
    )


def test_several_arms_that_changed_are_counted(lab):
    waiting = [predict("corrected", arm, updated=(arm_file("corrected", arm),)) for arm in ("baseline", "treatment")]
    assert told(lab, *waiting)[0].endswith("because options or data of 2 arms changed")


def test_a_finding_without_results_says_so_once(lab):
    waiting = [predict(*place, missing=True) for place in runs_by_arm(lab, HYPOTHESIS)]
    lines = told(lab, *waiting, step("score", missing=True))
    assert lines[0].endswith("because there is no result yet")


def test_what_is_forced_is_new_whatever_stands(lab):
    line = told(lab, predict("corrected", "treatment", forced=True), standing=5)[0]
    new = len(runs_by_arm(lab, HYPOTHESIS)["corrected", "treatment"])
    assert line.startswith(f"{HYPOTHESIS}: {new} of ")
    assert line.endswith("because everything asked for is forced")


def test_an_arm_whose_value_is_still_searched_for_counts_as_up_to_all_of_its_runs(lab):
    method, arm = next(place for place in arms_of(lab, SWEPT) if place[1] in lab.hypotheses[SWEPT].sweep.arms)
    line = told(lab, predict(method, arm, SWEPT, missing=True), standing=3)[0]
    assert line.startswith(f"{SWEPT}: up to {len(runs_by_arm(lab, SWEPT)[method, arm])} of ")


def test_a_synthetic_finding_counts_arms(lab):
    method, arm = arms_of(lab, SYNTHETIC)[0]
    line = told(lab, predict(method, arm, SYNTHETIC, updated=(CODE["price"],)))[0]
    total = len(arms_of(lab, SYNTHETIC))
    assert line == f"{SYNTHETIC}: 1 of {total} arms priced again, because code or settings of 'price' changed"


def test_changed_texts_and_criteria_run_nothing(lab):
    written = step("render", updated=(f"results/{HYPOTHESIS}/inputs/written.sha256",))
    assert told(lab, written)[0] == (
        f"{HYPOTHESIS}: no run new, page made again, because what its author wrote changed"
    )
    judged = step("score", updated=(f"results/{HYPOTHESIS}/inputs/judged_by.sha256",))
    assert told(lab, judged, written)[0] == (
        f"{HYPOTHESIS}: no run new, scores and page made again, because its criteria, methods or published tables "
        "changed and what its author wrote changed"
    )


def test_a_report_that_lacks_a_file_is_published_again(lab):
    assert told(lab, step(PUBLISH, missing=True))[0].endswith("because reports/ lacks files of it")


def test_the_last_line_counts_findings_and_names_the_steps_beside_them(lab):
    lines = told(lab, step("render"), Waiting("index", {}), Waiting("ask", {"simulator": "x"}))
    assert lines[-1] == f"1 of {len(lab.names)} findings would be made again; beside them: ask, index"
    assert told(lab) == ["no finding would be made again"]
