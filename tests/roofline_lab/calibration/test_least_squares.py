"""The bounded least-squares solver."""

from __future__ import annotations

import numpy as np
import pytest

from roofline_lab.calibration.fit import bounded_linear, minimise


def test_a_linear_problem_without_active_bounds_is_ordinary_least_squares():
    generator = np.random.default_rng(3)
    matrix, wanted = generator.normal(size=(20, 4)), np.array([0.3, -0.5, 0.1, 0.7])
    target = matrix @ wanted + 0.01 * generator.normal(size=20)
    found = minimise(lambda x: matrix @ x - target, np.zeros(4))
    assert found.x == pytest.approx(np.linalg.lstsq(matrix, target, rcond=None)[0], abs=1e-6)
    assert found.converged


def test_an_optimum_outside_is_replaced_by_the_best_point_on_the_bound():
    """Minimum of (x - 3)^2 + (x + y - 1)^2: with x at most 1, y must be 0 and not what it is without a bound."""
    found = minimise(lambda x: np.array([x[0] - 3.0, x[0] + x[1] - 1.0]), np.zeros(2))
    assert found.x == pytest.approx([1.0, 0.0], abs=1e-6)


def test_a_bound_that_no_longer_binds_is_left_again():
    matrix = np.array([[1.0, 0.9], [0.0, 1.0]])
    step = bounded_linear(matrix, matrix @ np.array([-0.5, -0.5]), np.array([-0.1, -1.0]), np.array([1.0, 1.0]))
    assert step == pytest.approx([0.5, 0.5])


def test_a_curved_problem_converges_to_its_minimum():
    found = minimise(lambda x: np.array([10 * (x[1] - x[0] ** 2), 0.8 - x[0]]), np.array([-0.9, 0.5]))
    assert found.x == pytest.approx([0.8, 0.64], abs=1e-5)


def test_an_unknown_nothing_depends_on_keeps_its_start():
    found = minimise(lambda x: np.array([x[0] - 0.5]), np.array([0.0, 0.25]))
    assert found.x == pytest.approx([0.5, 0.25])


def test_the_same_problem_gives_the_same_bits():
    def residuals(x):
        return np.array([np.exp(x[0]) - 1.3, x[0] * x[1] - 0.1, x[1] - 0.4])

    first, second = (minimise(residuals, np.array([0.9, -0.9])) for _ in range(2))
    assert first.x.tobytes() == second.x.tobytes()
