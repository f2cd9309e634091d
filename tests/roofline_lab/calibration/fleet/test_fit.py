"""Fitting effects: known values are found again, and what nobody measured stays where it started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roofline_lab.calibration.fleet.fit import fit_fleet, problem_of, without_points
from roofline_lab.calibration.fleet.folds import folds_of, held_out_rows
from roofline_lab.calibration.fleet.plan import load_fleet_plan
from roofline_lab.calibration.fleet.points import fleet_points

ROOT = Path(__file__).resolve().parents[4]
EXPERIMENTS = (
    "llama-3.3-70b-fp8-h100-tp4-1k-1k-20251029",
    "llama-3.3-70b-fp8-h200-tp4-1k-1k-20251029",
    "kimi-k2.5-int4-h200-tp8-1k-1k-20260327",
    "qwen3-32b-bf16-h100-tp4-1k-128",
)


@pytest.fixture(scope="module")
def plan():
    return load_fleet_plan(ROOT, "vllm_fleet")


@pytest.fixture(scope="module")
def points(plan):
    found = [point for one in EXPERIMENTS for point in fleet_points(ROOT, plan.train_sets, only=one)]
    return tuple(point for point in found if not point.saturated)


def measured_as(points, problem, logs):
    values = problem.predicted_ms(logs)
    return tuple(replace(point, measured_ms=tuple(map(float, own))) for point, own in zip(points, values, strict=True))


def place_of(problem, name):
    return [effect.name for effect in problem.effects].index(name)


def test_effects_that_points_tell_of_are_found_again(plan, points):
    problem = problem_of(points, plan)
    logs = problem.starts.copy()
    logs[place_of(problem, "layer_us")] += 0.2
    logs[place_of(problem, "host_kernel_us")] += 0.5
    known = problem_of(measured_as(points, problem, logs), plan)
    fit = fit_fleet(known)
    errors = known.predicted_ms(fit.logs) / known.measured_ms - 1.0
    start = known.predicted_ms(known.starts) / known.measured_ms - 1.0
    assert np.abs(errors).mean() < 0.2 * np.abs(start).mean()
    moved = fit.logs[place_of(problem, "layer_us")] - problem.starts[place_of(problem, "layer_us")]
    assert moved > 0.1


def test_an_effect_that_acts_on_no_point_keeps_start_and_spread(plan, points):
    problem = problem_of(points, plan)
    place = place_of(problem, "host_kernel_us@decode_graphs_only=True")
    fit = fit_fleet(problem)
    assert fit.logs[place] == pytest.approx(problem.starts[place])
    assert fit.spreads[place] == pytest.approx(problem.spreads[place], rel=1e-6)


def test_derivatives_are_those_of_the_residuals(plan, points):
    problem = problem_of(points, plan)
    logs = problem.starts + 0.05
    found = problem.jacobian(logs)
    for place in (place_of(problem, "layer_us"), place_of(problem, "link_efficiency"), 0):
        step = np.zeros(len(logs))
        step[place] = 1e-5
        expected = (problem.residuals(logs + step) - problem.residuals(logs - step)) / 2e-5
        assert found[:, place] == pytest.approx(expected, rel=1e-2, abs=1e-4)


def test_a_problem_of_some_points_predicts_them_as_the_whole_does(plan, points):
    problem = problem_of(points, plan)
    some = without_points(problem, (1, 4, 7))
    assert some.predicted_ms(problem.starts) == pytest.approx(problem.predicted_ms(problem.starts)[[1, 4, 7]])


def test_every_point_is_left_out_once_by_each_kind_of_fold_and_never_in_its_fit(plan, points):
    folds = folds_of(points, 2)
    for kind in ("cell", "configuration", "gpu", "kind"):
        own = [fold for fold in folds if fold.fold == kind]
        left = sorted(place for fold in own for place in (*fold.judged, *fold.light))
        assert left == list(range(len(points)))
        assert all(not set(fold.judged) & set(fold.fitted) for fold in own)


def test_the_lightest_points_of_a_site_nobody_else_knows_stay_in_the_fit_and_are_not_judged(plan, points):
    fold = next(f for f in folds_of(points, 2) if f.fold == "cell" and f.name.startswith("qwen3"))
    (light,) = fold.light
    assert light in fold.fitted
    assert points[light].concurrency == min(p.concurrency for p in points if p.experiment.startswith("qwen3"))
    others = next(f for f in folds_of(points, 2) if f.fold == "cell" and "h100" in f.name and "llama" in f.name)
    assert others.light == ()


def test_rows_of_a_fold_hold_measured_and_predicted_figures_of_its_points(plan, points):
    fold = folds_of(points, 2)[0]
    rows = list(held_out_rows(fold, points, [(10.0, 2.0)] * len(fold.judged)))
    assert {row.metric for row in rows} == {"ttft_mean", "tpot_mean"}
    assert {row.predicted_ms for row in rows if row.metric == "ttft_mean"} == {10.0}
    assert {row.experiment for row in rows} == {points[place].experiment for place in fold.judged}
