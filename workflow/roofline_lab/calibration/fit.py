"""Fitting the constants to load points: relative least squares on mean TTFT, ITL and E2E.

Loss: the sum over load points and metrics of (weight * (predicted / measured - 1))^2, plus the sum
over constants of (scatter * (position - start) / spread)^2: a start counts as much as one figure that
scatters by `scatter` around the model. Predictions come from response surfaces (`surface`); whoever
reports an answer checks it against the engine itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from roofline_lab.calibration.constants import (
    CONSTANTS,
    PER_PROMPT_TOKEN,
    Vector,
    at,
    positions,
    request_constants,
    spreads,
    starts,
    vector_at,
)
from roofline_lab.calibration.points import METRICS, Point
from roofline_lab.calibration.surface import Stack, Surface
from roofline_lab.scoring.errors import relative_difference

NAMES = tuple(constant.name for constant in CONSTANTS)
STARTS, SPREADS = positions(starts()), spreads()


@dataclass(frozen=True, slots=True)
class Problem:
    """Load points with their surfaces, as a function of positions.

    Attributes
    ----------
    families
        Family of every point.
    stack
        Their surfaces.
    client
        Share of every client constant in a point's TTFT, shape (points, constants).
    measured
        Mean TTFT and E2E in us and ITL in us, shape (points, 3).
    weights
        Weight of every residual, shape (points, 3).
    scatter
        Relative scatter of figures around the model against which starts are weighed.
    """

    names: tuple[str, ...]
    families: tuple[str, ...]
    stack: Stack
    client: Vector
    measured: Vector
    weights: Vector
    scatter: float

    def predicted(self, place: Vector) -> Vector:
        """Return predicted means in us, shape (points, 3)."""
        ttft, decode = self.stack.engine(place)
        ttft = ttft + self.client @ vector_at(place)
        return np.array([ttft, decode / self.stack.gaps, ttft + decode]).T

    def errors(self, place: Vector) -> Vector:
        """Return the relative errors of TTFT, ITL and E2E, shape (points, 3)."""
        return relative_difference(self.predicted(place), self.measured)

    def residuals(self, place: Vector) -> Vector:
        """Return the weighted errors and the distances from the starts, flat."""
        distances = (place - STARTS) / SPREADS * self.scatter
        return np.concatenate([(self.errors(place) * self.weights).ravel(), distances])

    def take(self, chosen: Sequence[int]) -> Problem:
        """Return the problem of some points, in the order (and as often) as they are chosen."""
        index = np.array(chosen, dtype=int)
        stack = Stack(*(getattr(self.stack, name)[index] for name in Stack.__slots__))
        return replace(
            self,
            names=tuple(self.names[i] for i in chosen),
            families=tuple(self.families[i] for i in chosen),
            stack=stack,
            client=self.client[index],
            measured=self.measured[index],
            weights=self.weights[index],
        )

    def of_families(self, wanted: frozenset[str]) -> Problem:
        """Return the points of some families."""
        return self.take([i for i, family in enumerate(self.families) if family in wanted])

    def without(self, held_out: frozenset[str]) -> Problem:
        """Return the points of all other families."""
        return self.take([i for i, family in enumerate(self.families) if family not in held_out])


@dataclass(frozen=True, slots=True)
class Fit:
    """Fitted constants, and the solution they come from in positions."""

    values: dict[str, float]
    solution: Solution

    def at_bound(self) -> dict[str, str]:
        """Return which constants ended on an end of their range, and which end."""
        found = {}
        for constant, place in zip(CONSTANTS, self.solution.x, strict=True):
            if abs(abs(place) - 1.0) < ON_BOUND:
                low_end = (place > 0) == constant.inverse
                found[constant.name] = "low" if low_end else "high"
        return found


ON_BOUND = 1e-6


def problem_of(
    points: Sequence[Point], surfaces: Mapping[str, Surface], weights: Mapping[str, float], scatter: float
) -> Problem:
    """Join load points with their surfaces, by name."""
    chosen = [surfaces[point.name] for point in points]
    stack = Stack.of(chosen)
    scale = np.array([weights[metric] for metric in METRICS])
    return Problem(
        names=tuple(point.name for point in points),
        families=tuple(point.family for point in points),
        stack=stack,
        client=np.array(
            [_client_row(point, surface.prompt_tokens) for point, surface in zip(points, chosen, strict=True)]
        ),
        measured=np.array([point.measured for point in points]) * 1000.0,
        weights=np.tile(scale, (len(points), 1)),
        scatter=scatter,
    )


def fit(problem: Problem, ideal: Collection[str] = ()) -> Fit:
    """Fit all constants from their starts, except those `ideal` names, which cost nothing or run at peak."""
    kept = np.array([name not in ideal for name in NAMES])
    # Position -1 is the ideal end of every range: no cost, or all of the peak.
    place = np.where(kept, STARTS, -1.0)

    def whole(free: Vector) -> Vector:
        full = place.copy()
        full[kept] = free
        return full

    found = minimise(lambda free: problem.residuals(whole(free)), place[kept])
    solution = replace(found, x=whole(found.x))
    return Fit(at(solution.x), solution)


def _client_row(point: Point, prompt_tokens: float) -> list[float]:
    """Say how often each constant enters the point's TTFT outside the engine."""
    row = dict.fromkeys(NAMES, 0.0)
    if point.experiment.side_of(point.target.load_point.id) == "client":
        chosen = request_constants(point.experiment.tool, point.experiment.site)
        for name in chosen:
            row[name] = 1.0 / len(chosen)
        row[PER_PROMPT_TOKEN] = prompt_tokens
    return list(row.values())


Residuals = Callable[[Vector], Vector]

# Relative decrease of the sum of squares below which another step is not worth its price.
ENOUGH = 1e-10
MAX_STEPS = 60
FIRST_DAMPING = 1e-3
MAX_REJECTIONS = 12
# Damping beyond which a step is far shorter than the derivatives ask for.
CAUTIOUS = 1.0
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


def minimise(
    residuals: Residuals, start: Vector, derivatives: Residuals | None = None, enough: float = ENOUGH
) -> Solution:
    """Minimise the sum of squares of `residuals` within [-1, 1]^n, from `start`.

    Parameters
    ----------
    derivatives
        Returns the Jacobian, shape (residuals, n); None: differences of residuals.
    enough
        Relative decrease of the sum of squares below which another step is not worth its price.
    """
    jacobian_at = derivatives or (lambda x: _jacobian(residuals, x))
    x = np.clip(start, -1.0, 1.0)
    current = residuals(x)
    if not len(x):
        return Solution(x, current, np.zeros((len(current), 0)), 0, True)
    damping, steps, converged = FIRST_DAMPING, 0, False
    jacobian = jacobian_at(x)
    while steps < MAX_STEPS and not converged:
        accepted, damping = _improved(residuals, x, current, jacobian, damping)
        if accepted is None:
            converged = True
            break
        before = float(current @ current)
        x, current = accepted
        # A small gain of a step that was damped much says nothing: the next one may be longer.
        converged = before - float(current @ current) < enough * before and damping <= CAUTIOUS
        steps += 1
        jacobian = jacobian_at(x)
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
