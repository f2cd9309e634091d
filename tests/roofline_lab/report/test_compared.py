"""The page that compares simulators: only tests are ranked, everybody is shown, and it is made from the same rows."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
import yaml

from roofline_lab.jobs import check, paths
from roofline_lab.made import RESULTS
from roofline_lab.predict.arms import Simulation, rows_of
from roofline_lab.predict.named import holdout_of, simulated
from roofline_lab.predict.outside import rows_of_arm
from roofline_lab.predict.predictors import OUT_OF_SAMPLE
from roofline_lab.project import load_project
from roofline_lab.report.compared import FIGURE, NUMBERS, PAGE, files_of
from roofline_lab.report.results import build_report
from roofline_lab.vocabulary import Metric
from simulator.errors import ConfigError
from tests.paths import ROOT
from tests.roofline_lab.builders import copy_project, edit_yaml
from tests.roofline_lab.simulators.samples import EXPERIMENTS, HYPOTHESIS, hypothesis, write_hypothesis

LOOPS = ("llama-3.3-70b-fp8-h100-tp2-1k-1k-20251029", "minimax-m2.5-fp8-h200-tp4-1k-1k-20260301")
COMPARED = {"synchronous_13": "as_measured", "closed_loop": "as_reported"}
NAMED = ("data_sheet", "roofline", "v1", "h100_vllm", "vllm_fleet")
TABLE = {
    "kind": "table",
    "file": "predictions.csv",
    "fitted_to": {"said": "one request at a time", "sets": ["synchronous_13"], "metrics": ["ttft_mean"]},
}


def spec(**changes):
    arms = {name: {"simulator": {"kind": "steptime", "name": name}} for name in NAMED}
    arms["elsewhere"] = {"simulator": TABLE}
    return hypothesis(arms, "as_measured", compared_on=COMPARED, **changes)


def write(root, **changes):
    folder = write_hypothesis(root, spec(**changes))
    lines = [f"{one},synchronous,{name},8\n" for one in EXPERIMENTS for name in ("ttft_mean", "itl_ratio_of_means")]
    lines.append(f"{LOOPS[0]},c4,tpot_request,9\n")
    (folder / "predictions.csv").write_text(f"experiment,load_point,metric,value\n{''.join(lines)}", encoding="utf-8")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Return a project that compares six simulators on two small sets, and the rows of all its runs."""
    root = copy_project(tmp_path_factory.mktemp("compared") / "project", ("configs", "ground_truth"))
    members = {"synchronous_13": list(EXPERIMENTS), "closed_loop": list(LOOPS)}
    edit_yaml(
        root / "ground_truth" / "sets.yaml",
        lambda content: [content["sets"][name].update(experiments=own) for name, own in members.items()],
    )
    write(root, base={"family": "mfu_roofline", "bandwidth_efficiency": 0.82})
    project = load_project(root)
    rows = []
    for (method, arm), runs in paths.runs_by_arm(project, HYPOTHESIS).items():
        if arm == "elsewhere":
            rows += rows_of_arm(project, HYPOTHESIS, method, arm, "", "")
        elif arm == "ours":
            rows += [row for run in runs for row in rows_of(project, run)]
        else:
            wanted = (Simulation(HYPOTHESIS, method, arm, run.experiment.id) for run in runs)
            rows += [row for one in wanted for row in simulated(project, one)]
    return project, json.loads(json.dumps(rows))


@pytest.fixture(scope="module")
def files(compared):
    return files_of(compared[0], HYPOTHESIS, compared[1])


@pytest.fixture(scope="module")
def numbers(files):
    keys = ("method", "arm", "scope", "key", "metric", "statistic")
    found = csv.DictReader(io.StringIO(files[NUMBERS]))
    return {tuple(line[key] for key in keys): float(line["value"]) for line in found}


def ranks(numbers, name, metric="tpot_mean"):
    return {
        arm: int(value)
        for (own, arm, scope, _, what, statistic), value in numbers.items()
        if (own, scope, what, statistic) == (name, "shared", metric, "count")
    }


def test_what_is_no_test_of_an_arm_is_not_ranked_and_stands_below_with_the_reason(files, numbers):
    ranked = ranks(numbers, "synchronous_13")
    assert set(ranked) == {"data_sheet", "h100_vllm", "vllm_fleet", "elsewhere"}
    assert set(ranked.values()) == {1}, "four servers of one model family tell nobody apart"
    page = files[PAGE]
    assert "was fitted to 4 of the 4 it predicts" in page
    assert "nobody states what it was tuned to, so that no error of it is known to be a test" in page
    assert ("synchronous_13", "roofline", "overall", "all sets", "tpot_mean", "mape") in numbers


def test_what_was_fitted_counts_for_the_metrics_it_is_in(numbers):
    assert "elsewhere" in ranks(numbers, "synchronous_13", "tpot_mean")
    assert "elsewhere" not in ranks(numbers, "synchronous_13", "ttft_mean")


def test_who_predicts_less_than_half_is_not_ranked_and_narrows_nobody_elses_load_points(files, numbers):
    assert "elsewhere" not in ranks(numbers, "closed_loop")
    assert re.search(r"predicts 1 of \d+, less than half", files[PAGE])
    asked = numbers["closed_loop", "elsewhere", "overall", "all sets", "tpot_mean", "asked_points"]
    assert numbers["closed_loop", "vllm_fleet", "shared", "all sets", "tpot_mean", "points"] == asked


def test_every_arm_is_on_the_page_with_what_it_was_fitted_to(files):
    page = files[PAGE]
    assert "| roofline" in page
    assert "in sample" in page
    assert "in sample (TTFT), never seen (TPOT, E2E)" in page or "never seen (TPOT, E2E), in sample (TTFT)" in page
    assert "`elsewhere`: one request at a time." in page
    assert "closed_loop" in files[FIGURE]


def test_a_metric_nobody_measured_is_no_question(files, numbers):
    assert "not measured" in files[PAGE].split("![")[0]
    assert ranks(numbers, "closed_loop", "e2e_mean") == {}


def test_errors_are_grouped_by_load_tp_kind_and_gpu_with_their_sign(numbers):
    own = {
        (scope, key): value
        for (name, arm, scope, key, _, statistic), value in numbers.items()
        if (name, arm, statistic) == ("all sets", "data_sheet", "signed_error")
    }
    wanted = {("driver", "1 in flight"), ("tp", "2"), ("driver", "dense"), ("hardware", "h200-sxm")}
    assert wanted <= own.keys()
    assert max(own.values()) < 0.0, "no server is faster than its data sheet"


def test_the_same_rows_give_the_same_bytes(compared, files):
    assert files_of(compared[0], HYPOTHESIS, list(compared[1])) == files


def test_the_report_of_the_hypothesis_is_about_its_own_experiments_alone(compared):
    project, rows = compared
    report = build_report(project, HYPOTHESIS, rows, None)
    assert {row["experiment"] for method in report.methods for row in method.rows} == set(EXPERIMENTS)
    assert [method.method.id for method in report.methods] == ["as_measured"]


def test_what_decides_and_is_compared_is_run_once(compared):
    places = [(run.method.id, run.arm.name, run.experiment.id) for run in compared[0].runs(HYPOTHESIS)]
    assert len(places) == len(set(places)) == 7 * (len(EXPERIMENTS) + len(LOOPS))


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"closed_lop": "as_reported"}, "unknown set 'closed_lop'; did you mean 'closed_loop'"),
        ({"closed_loop": "as_reporte"}, "methods: unknown method 'as_reporte'; did you mean 'as_reported'"),
    ],
)
def test_a_set_or_method_nobody_knows_is_refused(bench, chosen, told):
    write(bench.root, base={})
    edit_yaml(
        bench.root / "hypotheses" / HYPOTHESIS / "hypothesis.yaml", lambda content: content.update(compared_on=chosen)
    )
    with pytest.raises(ConfigError, match=re.escape(told)):
        bench.load()


def test_a_second_hypothesis_cannot_fill_the_page_too(compared, tmp_path):
    root = copy_project(tmp_path / "project", ("configs", "ground_truth"))
    write(root, base={"family": "mfu_roofline"})
    second = spec(base={"family": "mfu_roofline"}) | {"id": "h91_others"}
    write_hypothesis(root, second)
    with pytest.raises(ConfigError, match="compared_on: h90_others fills the page reports/simulators already"):
        load_project(root)


def test_a_check_finds_an_edited_page(compared, files, monkeypatch, tmp_path):
    project = compared[0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(project, "root", tmp_path)
    for folder in (paths.REPORTS / paths.SIMULATORS, RESULTS / "project" / paths.SIMULATORS):
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    assert check._simulators(project) == ("check simulators: the committed page comes out again", [])
    page = tmp_path / paths.REPORTS / paths.SIMULATORS / PAGE
    page.write_text(page.read_text(encoding="utf-8").replace("vllm_fleet", "somebody", 1), encoding="utf-8")
    told, differences = check._simulators(project)
    assert told == "check simulators: the committed page differs"
    assert differences[0].file == f"reports/simulators/{PAGE}"


# --- what is committed --------------------------------------------------------------------------------


def test_no_committed_rank_is_of_what_is_no_test(lab):
    name = lab.comparing
    chosen, sets = lab.hypotheses[name].compared_on, lab.compared_sets(name)
    with (ROOT / paths.REPORTS / paths.SIMULATORS / NUMBERS).open(encoding="utf-8", newline="") as stream:
        lines = [line for line in csv.DictReader(stream) if (line["scope"], line["statistic"]) == ("shared", "count")]
    assert len(lines) > 30
    for line in lines:
        runs = [lab.run(name, chosen[line["method"]], line["arm"], one.id) for one in sets[line["method"]]]
        assert {holdout_of(lab, run, Metric(line["metric"])) for run in runs} <= set(OUT_OF_SAMPLE), line


def test_costs_are_told_with_the_machine_they_were_measured_on():
    found = yaml.safe_load((ROOT / "configs/costs.yaml").read_text(encoding="utf-8"))
    page = (ROOT / paths.REPORTS / paths.SIMULATORS / PAGE).read_text(encoding="utf-8")
    assert found["machine"] in page
    assert f"{found['seconds_per_load_point']['vllm_fleet']['closed_loop']:.2g} s" in page
