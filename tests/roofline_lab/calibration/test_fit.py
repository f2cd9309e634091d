"""Response surfaces stand for the engine, fits recover what they should, folds stay apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from roofline_lab.calibration.constants import CONSTANTS, STEP_CONSTANTS, at, data_sheet, positions, starts
from roofline_lab.calibration.fit import NAMES, fit, problem_of
from roofline_lab.calibration.points import load_points
from roofline_lab.calibration.surface import CHECKS, Stack, sets_to_check, sets_to_fit, surface_of
from roofline_lab.calibration.validation import (
    TERMS,
    ablations,
    correlations,
    families_of,
    intervals,
    learning_curve,
    resamples,
    start_dependence,
)
from tests.paths import ROOT

WEIGHTS = {"ttft": 0.5, "itl": 1.0, "e2e": 1.0}
SAMPLES = 100
TRUTH = {
    **starts(),
    "weight_bandwidth_efficiency": 0.93,
    "gemm_efficiency": 0.7,
    "layer_us": 42.0,
    "all_reduce_us": 7.0,
    "guidellm_request_us": 4500.0,
    "client_us_per_prompt_token": 5.0,
}


@pytest.fixture(scope="module")
def points():
    return load_points(ROOT, ["synchronous_13"], None, seed=1)


@pytest.fixture(scope="module")
def surfaces(points):
    return {point.name: surface_of(point, SAMPLES, seed=5) for point in points}


@pytest.fixture(scope="module")
def problem(points, surfaces):
    """Thirteen load points whose measured means are what `TRUTH` predicts."""
    measured = problem_of(points, surfaces, WEIGHTS, scatter=1e-6)
    return replace(measured, measured=measured.predicted(positions(TRUTH)))


def unseen_constants():
    generator = np.random.default_rng(11)
    return [at(generator.uniform(-0.9, 0.9, size=len(CONSTANTS))) for _ in range(3)]


def test_a_surface_gives_what_the_engine_gives_for_one_request_at_a_time(points, surfaces):
    for point in points[::4]:
        stack = Stack.of([surfaces[point.name]])
        for values in unseen_constants():
            means = point.engine_means(values)
            (ttft_us,), (decode_us,) = stack.engine(positions(values))
            assert decode_us == pytest.approx(means.decode_us, rel=1e-3)
            assert ttft_us == pytest.approx(means.ttft_us, rel=2e-2)


def test_a_surface_gives_what_the_engine_gives_under_load():
    point = load_points(ROOT, ["inference_perf_stages"], 200, seed=1)[7]
    stack = Stack.of([surface_of(point, SAMPLES, seed=5)])
    for values in unseen_constants():
        means = point.engine_means(values)
        (ttft_us,), (decode_us,) = stack.engine(positions(values))
        assert decode_us == pytest.approx(means.decode_us, rel=5e-3)
        assert ttft_us == pytest.approx(means.ttft_us, rel=5e-2)


@pytest.fixture(scope="module")
def close_to_its_limit():
    """Llama-2-7B at 20 requests/s: at half of all sets of constants this server is overloaded."""
    points = load_points(ROOT, ["inference_perf_stages"], 300, seed=1)
    (point,) = (one for one in points if one.name == "20260217-231439-llama-2-7b-tp1-general/stage_1")
    return point


def test_a_surface_next_to_overload_still_gives_what_the_engine_gives_where_fits_go(close_to_its_limit):
    surface = surface_of(close_to_its_limit, 160, seed=5)
    assert surface.ttft_error < 0.03
    for values in (starts(), data_sheet(), {**starts(), "layer_us": 0.0}):
        means = close_to_its_limit.engine_means(values)
        (ttft_us,), (decode_us,) = Stack.of([surface]).engine(positions(values))
        assert ttft_us == pytest.approx(means.ttft_us, rel=0.06)
        assert decode_us == pytest.approx(means.decode_us, rel=0.03)


def test_half_of_the_sets_lie_on_faces_and_checks_are_apart_from_them():
    fitted, checked = sets_to_fit(100, seed=3), sets_to_check(seed=3)
    ideal = (fitted == -1.0).mean(axis=1)
    assert not ideal[:50].any()
    assert 0.4 < ideal[50:].mean() < 0.6
    assert checked.shape == (CHECKS, len(STEP_CONSTANTS))
    assert not {tuple(row) for row in fitted} & {tuple(row) for row in checked}
    assert sets_to_fit(100, seed=3).tobytes() == fitted.tobytes()


def test_saturated_load_points_are_not_fitted_to():
    points = load_points(ROOT, ["guidellm_sweep_llama2_7b"], 5, seed=1)
    assert points
    assert not any(point.target.load_point.saturated for point in points)


def test_cold_requests_count_as_in_the_whole_run_however_many_are_simulated():
    short = load_points(ROOT, ["inference_perf_stages"], 150, seed=1)[0]
    assert (short.cold, len(short.replay.workload.requests)) == (100, 150)
    assert short.cold_share == pytest.approx(100 / 3000)
    results = short.run(starts())
    cold, warm = (np.mean([r.first_token_us - r.arrival_us for r in part]) for part in (results[:100], results[100:]))
    assert short.engine_means(starts()).ttft_us == pytest.approx(cold / 30 + warm * 29 / 30)


def test_a_fit_predicts_what_constants_in_its_range_produced(problem):
    found = fit(problem)
    assert found.solution.converged
    assert np.abs(problem.errors(found.solution.x)).max() < 1e-3
    for name in ("weight_bandwidth_efficiency", "gemm_efficiency", "client_us_per_prompt_token"):
        assert found.values[name] == pytest.approx(TRUTH[name], rel=0.05)
    assert not found.at_bound()


def test_a_cost_the_data_want_negative_ends_on_its_bound_and_is_reported(problem):
    measured = problem.measured.copy()
    measured[:, [0, 2]] -= 6000.0
    found = fit(replace(problem, measured=measured, scatter=1e-6))
    assert found.at_bound()["guidellm_request_us"] == "low"
    assert found.values["guidellm_request_us"] == 0.0


def test_constants_no_data_speak_about_keep_their_starts(problem):
    found = fit(replace(problem, scatter=0.03))
    assert found.values["inference_perf_request_us"] == pytest.approx(starts()["inference_perf_request_us"])


def test_a_fold_holds_nothing_of_the_family_it_leaves_out(problem):
    left = problem.without(frozenset(["Llama2-7B"]))
    assert "Llama2-7B" not in left.families
    assert not any("llama2-7b" in name for name in left.names)
    assert len(left.names) == 13 - 6


def test_no_data_of_a_held_out_family_reach_its_constants(problem):
    spoiled = problem.measured.copy()
    spoiled[[i for i, family in enumerate(problem.families) if family == "Qwen3-14B"]] *= 3.0
    folds = [fit(one.without(frozenset(["Qwen3-14B"]))) for one in (problem, replace(problem, measured=spoiled))]
    assert folds[0].values == folds[1].values


def test_resamples_draw_whole_families_and_repeat_exactly(problem):
    drawn = [resamples(replace(problem, scatter=0.03), 5, seed=8) for _ in range(2)]
    assert drawn[0].shape == (5, len(CONSTANTS))
    assert drawn[0].tobytes() == drawn[1].tobytes()
    for (low, high), constant in zip(intervals(drawn[0]), CONSTANTS, strict=True):
        assert constant.low - 1e-9 <= low <= high <= constant.high + 1e-9


def test_correlations_are_symmetric_with_ones_on_the_diagonal(problem):
    matrix = correlations(fit(replace(problem, scatter=0.03)))
    assert matrix == pytest.approx(matrix.T)
    assert np.diag(matrix) == pytest.approx(1.0)
    assert np.all(np.abs(matrix) <= 1.0 + 1e-9)


def test_a_learning_curve_has_every_size_but_all(problem):
    curve = dict(learning_curve(replace(problem, scatter=0.03), 2, seed=3))
    assert sorted(curve) == list(range(1, len(families_of(problem))))
    assert all(len(rows) == 2 and len(rows[0]) == 3 for rows in curve.values())


def test_names_follow_the_order_of_the_vector():
    assert tuple(at(np.zeros(len(CONSTANTS)))) == NAMES
    assert NAMES[: len(STEP_CONSTANTS)] == tuple(constant.name for constant in STEP_CONSTANTS)


def test_a_shortened_run_arrives_at_the_rate_of_the_whole():
    whole = load_points(ROOT, ["inference_perf_stages"], None, seed=1)[1]
    short = load_points(ROOT, ["inference_perf_stages"], 300, seed=1)[1]
    rates = []
    for point in (whole, short):
        arrivals = [request.arrival_us for request in point.replay.workload.requests[point.replay.warm_up :]]
        rates.append((len(arrivals) - 1) / (arrivals[-1] - arrivals[0]))
    assert short.replay.warm_up == whole.replay.warm_up
    assert rates[1] == pytest.approx(rates[0], rel=1e-6)


def test_a_term_left_out_is_ideal_and_the_rest_is_fitted_anew(problem):
    whole, without = fit(problem), fit(problem, ideal=("layer_us", "gemm_efficiency"))
    assert (without.values["layer_us"], without.values["gemm_efficiency"]) == (0.0, 1.0)
    assert without.solution.loss > 100 * whole.solution.loss


def test_leaving_out_a_term_the_data_contain_costs_accuracy_on_unseen_families(problem):
    errors = ablations(replace(problem, scatter=1e-4))
    assert errors["launches per layer"][1] > 3 * errors[""][1]
    assert errors["client and API"][0] > 3 * errors[""][0]
    assert set(errors) == {"", *TERMS}


def test_distrusted_starts_leave_the_answer_to_the_data(problem):
    entries = start_dependence(replace(problem, scatter=0.03))
    divisors = [entry["divisor"] for entry in entries]
    assert divisors == sorted(divisors)
    assert min(divisors) < 1.0 < max(divisors), "both more and less trust than planned"
    assert entries[-1]["errors"][1] < entries[0]["errors"][1]
