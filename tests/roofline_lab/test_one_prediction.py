"""A load point has one prediction: an arm, `evaluate`, a calibration's judgement and a replay say the same number."""

from __future__ import annotations

import datetime as dt
import json
import shutil

import pytest
import yaml

from roofline_lab.calibration.constants import calibrated_client, options_of
from roofline_lab.calibration.judge import judge
from roofline_lab.calibration.points import load_targets
from roofline_lab.calibration.record import load_calibration
from roofline_lab.config import Client, load_methods, load_settings
from roofline_lab.hypotheses.arms import Arm
from roofline_lab.load_point import measured_server
from roofline_lab.predict.arms import run_lines
from roofline_lab.predict.choose import load_option_sets
from roofline_lab.predict.evaluate import Request, evaluate_experiment, prepare
from roofline_lab.predict.recording import load_recordings
from roofline_lab.predict.replay import score
from roofline_lab.project import Project, Run
from tests.roofline_lab.builders import ROOT, copy_project
from tests.roofline_lab.predict.strangers import CALIBRATION, CALIBRATION_FILE, latency

METHOD = "as_measured"
FAMILY, MODEL = "Llama2-7B", "llama-2-7b-hf"
REQUESTS = 40
LIMITS = {"token_budget": 2048, "prefix_caching": True, "client_offset_ms": 10.0}
# So few KV blocks that requests wait for them, and a batch smaller than the default.
STATED = {"kv_blocks": 300, "block_tokens": 16, "max_running": 16, "schedule_ahead": True}
STATISTICS = ("mean", "p50", "p90", "p95", "p99")
ARRIVALS = {
    "alone": {"kind": "closed_loop", "concurrency": 1},
    "loop": {"kind": "closed_loop", "concurrency": 6},
    "constant": {"kind": "constant_rate", "rate_per_s": 9.0},
    "poisson": {"kind": "poisson", "rate_per_s": 9.0},
    "gamma": {"kind": "gamma", "rate_per_s": 9.0, "cv": 2.0},
    "burst": {"kind": "burst"},
}
RECORDED = ("loop", "poisson")
# Means as a page of findings, `evaluate` and the judgement of a calibration call them.
MEANS = (("ttft_mean",) * 3, ("tpot_mean", "inter_token_mean", "itl_mean"), ("e2e_mean",) * 3)
PERCENTILES = [f"{stem}_{rank}" for stem in ("ttft", "tpot", "e2e") for rank in STATISTICS[1:]]


def load_point(name):
    means_ms = {"ttft": 90.0, "tpot": 30.0, "e2e": 780.0}
    return {
        "id": name,
        "arrivals": ARRIVALS[name],
        "requests": {"sent": REQUESTS, "completed": REQUESTS, "basis": "made up"},
        "saturation": {"state": "not_saturated", "basis": "made up"},
        "measured": {f"{stem}_{rank}": latency(stem, ms) for stem, ms in means_ms.items() for rank in STATISTICS},
    }


def experiment(identifier, side, server, names=tuple(ARRIVALS), **changes):
    return {
        "id": identifier,
        "family": FAMILY,
        "model": MODEL,
        "hardware": "h100-sxm",
        "tensor_parallel": 1,
        "tool": "inference-perf",
        "side": side,
        "date": dt.date(2026, 3, 1),
        "date_basis": "made up",
        "source": {"document": "none", "date": dt.date(2026, 3, 1), "licence": "none"},
        "server": server,
        "workload": {
            "name": "train",
            "prompt": {
                "kind": "guidellm",
                "mean_tokens": 900,
                "stdev_tokens": 400,
                "min_tokens": 50,
                "max_tokens": 1900,
                "random_seed": 42,
            },
            "output": {"kind": "constant", "tokens": 24},
            "prefix": {"kind": "shared", "tokens": 100},
        },
        "load_points": [load_point(name) for name in names],
        **changes,
    }


def requests_csv():
    """Return recorded requests of every recorded load point, of uneven lengths, gaps and latencies."""
    lines = ["load_point,id,arrival_us,prompt_tokens,output_tokens,prefix_group,prefix_tokens,completed,ttft_ms,e2e_ms"]
    for name in RECORDED:
        for place in range(REQUESTS):
            arrival_us, prompt = place * 80_000 + place % 7 * 9_000, 200 + place * 37 % 1500
            ttft_ms = 85 + place % 11
            cells = (name, place, arrival_us, prompt, 21 + place % 7, "shared", 100, "true", ttft_ms, ttft_ms + 690)
            lines.append(",".join(map(str, cells)))
    return "\n".join(lines) + "\n"


KINDS = {
    f"{recorded}-{side}-{stated}": (side, {"known": LIMITS | (STATED if stated == "stated" else {})}, recorded)
    for recorded in ("drawn", "recorded")
    for side in ("client", "server")
    for stated in ("stated", "unstated")
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a project whose only experiments are of every kind, and which replays with the calibration alone."""
    root = copy_project(tmp_path_factory.mktemp("one") / "project", ("configs",))
    folder = root / "ground_truth"
    folder.mkdir()
    shutil.copy2(ROOT / "ground_truth" / "vocabulary.yaml", folder)
    for identifier, (side, server, recorded) in KINDS.items():
        own = {"names": RECORDED, "requests_file": "requests.csv"} if recorded == "recorded" else {}
        (folder / identifier).mkdir()
        content = experiment(identifier, side, server, **own)
        (folder / identifier / "experiment.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        if own:
            (folder / identifier / "requests.csv").write_text(requests_csv(), encoding="utf-8")
    (folder / "sets.yaml").write_text(
        yaml.safe_dump({"sets": {"kinds": {"title": "every kind", "experiments": list(KINDS)}}}), encoding="utf-8"
    )
    option_set = {"id": "calibrated", "label": "calibrated", "meaning": "calibrated", "calibration": CALIBRATION}
    (root / "configs" / "replay.yaml").write_text(yaml.safe_dump({"option_sets": [option_set]}), encoding="utf-8")
    return Project(root, load_settings(root), load_methods(root), {})


@pytest.fixture(scope="module")
def held_out():
    return load_calibration(CALIBRATION_FILE).held_out[FAMILY]


@pytest.fixture(scope="module")
def targets(project):
    found = {}
    for target in load_targets(project.root, ["kinds"], project.settings.arrivals):
        found.setdefault(target.experiment.id, []).append(target)
    return found


def arm_of(project, target, values):
    """Return an arm under the measuring method with the options and the client time of a calibration."""
    engine = measured_server(target.experiment, target.model, target.hardware, {}, "test")
    client = calibrated_client(values, target.experiment.tool).metric_options()
    rules = project.methods[METHOD].model_copy(
        update={
            "client": Client(request_us=client.client_offset_us, us_per_prompt_token=client.client_us_per_prompt_token)
        }
    )
    return Arm("calibrated", options_of(values, schedule_ahead=engine.schedule_ahead), {}, rules)


def on_a_page_of_findings(project, targets, values):
    experiment, arm = targets[0].experiment, arm_of(project, targets[0], values)
    run = Run("h0_test", project.methods[METHOD], arm, experiment, f"digest of {experiment.id}")
    found = {}
    for row in map(json.loads, run_lines(project, run).splitlines()):
        assert row["status"] == "ok", row["reason"]
        means = {name: row["metrics"][name]["predicted"] for name, _, _ in MEANS}
        found[row["load_point"]] = means | {name: row["load"]["figures"][name]["predicted"] for name in PERCENTILES}
    return found


def in_an_evaluation(project, experiment):
    folder = project.root / "ground_truth" / experiment
    (task,) = prepare(Request(project.root, folder, CALIBRATION)).tasks
    found = {}
    for result in evaluate_experiment(task):
        assert result.status.value == "ok", result.reason
        predicted = {one.name: one.predicted for one in result.figures}
        means = {name: predicted[own] for name, own, _ in MEANS}
        found[result.place.load_point] = means | {name: predicted[name] for name in PERCENTILES}
    return found


def in_a_judgement(targets, values):
    found = {}
    for target in targets:
        predicted = {name: one["predicted"] for name, one in judge(target, values)["figures"].items()}
        means = {name: predicted[own] for name, _, own in MEANS}
        found[target.load_point.id] = means | {name: predicted[name] for name in PERCENTILES}
    return found


@pytest.mark.parametrize("experiment", KINDS)
def test_findings_evaluation_and_judgement_give_one_prediction_to_the_last_digit(
    project, targets, held_out, experiment
):
    names = RECORDED if experiment.startswith("recorded") else tuple(ARRIVALS)
    predicted = in_a_judgement(targets[experiment], held_out)
    assert tuple(predicted) == names
    assert on_a_page_of_findings(project, targets[experiment], held_out) == predicted
    assert in_an_evaluation(project, experiment) == predicted


@pytest.mark.parametrize("experiment", [name for name in KINDS if name.startswith("recorded")])
def test_a_replay_gives_that_prediction_too(project, targets, held_out, experiment):
    recordings = load_recordings(project.root, [project.root / "ground_truth" / experiment / "requests.csv"])
    scores = score(project, recordings, load_option_sets(project))
    predicted = in_a_judgement(targets[experiment], held_out)
    assert {one.stage.point.id for one in scores} == predicted.keys()
    for one in scores:
        assert one.stage.cold == one.unfinished == 0
        shared = [(stem, rank) for stem in ("ttft", "e2e") for rank in ("mean", "p50", "p90", "p99")]
        for stem, rank in [*shared, *(("tpot", rank) for rank in ("p50", "p90", "p99"))]:
            _, value = one.samples[stem].figure(rank)
            assert value == predicted[one.stage.point.id][f"{stem}_{rank}"], (stem, rank)


def test_kinds_are_different_load_points(project, targets, held_out):
    """Equal predictions mean something only where server, side and arrivals show in them."""
    for name in ("poisson", "burst"):
        found = [in_a_judgement(targets[kind], held_out)[name]["ttft_mean"] for kind in KINDS if "drawn" in kind]
        assert len(set(found)) == len(found) == 4
    assert {target.draws for target in targets["drawn-client-stated"]} == {1, 5}
    assert {target.draws for target in targets["recorded-client-stated"]} == {1}
