"""Bounded nonlinear least squares, small and deterministic.

Contract: `minimise` finds x in [-1, 1]^n for which the sum of squared residuals is small, by
Levenberg-Marquardt with central differences; `bounded_linear` solves the linear problem exactly by
active sets. Same inputs, same bits.

Source of the method: D. Marquardt, SIAM J. Appl. Math. 11 (1963) 431; bounds by projecting the step and
freezing what would leave.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Residuals = Callable[[Vector], Vector]

# Relative decrease of the sum of squares below which another step is not worth its price.
ENOUGH = 1e-10
MAX_STEPS = 60
FIRST_DAMPING = 1e-3
MAX_REJECTIONS = 12
# Probing step of the derivatives; residuals are smooth polynomials and exponentials of x.
PROBE = 1e-5


@dataclass(frozen=True, slots=True)
class Solution:
    """Where a minimisation ended.

    Attributes
    ----------
    x, residuals, jacobian
        Unknowns (n,), residuals (m,) and derivatives (m, n) there.
    steps
        Accepted steps.
    converged
        The last step gained less than `ENOUGH`, or none gained anything.
    """

    x: Vector
    residuals: Vector
    jacobian: Vector
    steps: int
    converged: bool

    @property
    def loss(self) -> float:
        """Sum of squared residuals."""
        return float(self.residuals @ self.residuals)


def minimise(residuals: Residuals, start: Vector) -> Solution:
    """Minimise the sum of squares of `residuals` within [-1, 1]^n, from `start`."""
    x = np.clip(start, -1.0, 1.0)
    current = residuals(x)
    if not len(x):
        return Solution(x, current, np.zeros((len(current), 0)), 0, True)
    damping, steps, converged = FIRST_DAMPING, 0, False
    jacobian = _jacobian(residuals, x)
    while steps < MAX_STEPS and not converged:
        accepted, damping = _improved(residuals, x, current, jacobian, damping)
        if accepted is None:
            converged = True
            break
        before = float(current @ current)
        x, current = accepted
        converged = before - float(current @ current) < ENOUGH * before
        steps += 1
        jacobian = _jacobian(residuals, x)
    return Solution(x, current, jacobian, steps, converged)


def _improved(
    residuals: Residuals, x: Vector, current: Vector, jacobian: Vector, damping: float
) -> tuple[tuple[Vector, Vector] | None, float]:
    """Return the first damped step that lowers the sum of squares, and the damping to go on with."""
    for _ in range(MAX_REJECTIONS):
        step = bounded_linear(jacobian, current, -1.0 - x, 1.0 - x, damping)
        tried = np.clip(x + step, -1.0, 1.0)
        found = residuals(tried)
        if found @ found < current @ current:
            return (tried, found), max(damping / 10, 1e-9)
        damping *= 10
    return None, damping


def bounded_linear(jacobian: Vector, residuals: Vector, low: Vector, high: Vector, damping: float = 0.0) -> Vector:
    """Return the step s within [low, high] that minimises |r + J s|^2 + damping * |D s|^2.

    D scales every unknown by its own column, so that units do not matter. Unknowns that no residual
    depends on do not move.
    """
    normal = jacobian.T @ jacobian
    diagonal = np.diag(normal).copy()
    gradient = jacobian.T @ residuals
    dead = diagonal <= 0.0
    normal = normal + np.diag(damping * diagonal + np.where(dead, 1.0, 1e-12 * diagonal))
    step = np.zeros_like(gradient)
    free = ~dead
    for _ in range(3 * len(step) + 1):
        step = _with_fixed(normal, gradient, step, free)
        outside = free & ((step < low) | (step > high))
        if outside.any():
            step = np.clip(step, low, high)
            free = free & ~outside
            continue
        slope = normal @ step + gradient
        wants_in = ~free & ~dead & (((step <= low) & (slope < 0)) | ((step >= high) & (slope > 0)))
        wants_in &= low < high
        if not wants_in.any():
            break
        free = free | (np.arange(len(step)) == int(np.argmax(np.where(wants_in, np.abs(slope), -1.0))))
    return np.clip(step, low, high)


def _with_fixed(normal: Vector, gradient: Vector, step: Vector, free: NDArray[np.bool_]) -> Vector:
    """Solve for the free unknowns while the others keep their value."""
    solved = step.copy()
    if free.any():
        right = -gradient[free] - normal[np.ix_(free, ~free)] @ step[~free]
        solved[free] = np.linalg.solve(normal[np.ix_(free, free)], right)
    return solved


def _jacobian(residuals: Residuals, x: Vector) -> Vector:
    columns = []
    for index in range(len(x)):
        above, below = x.copy(), x.copy()
        above[index] += PROBE
        below[index] -= PROBE
        columns.append((residuals(above) - residuals(below)) / (2.0 * PROBE))
    return np.array(columns).T
