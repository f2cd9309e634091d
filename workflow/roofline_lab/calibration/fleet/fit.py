"""Fitting the effects of a fleet to its load points: relative least squares with starts that count as observations.

Loss: over load points and figures, (weight * soft(log(predicted / measured) / scatter))^2, where `soft` grows with the
square root beyond one scatter, so that single odd points do not decide; plus, over effects,
(log(value / start) / spread)^2. Values are searched within `REACH` spreads of their start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from roofline_lab.calibration.fit import Vector, minimise
from roofline_lab.calibration.fleet.plan import FleetPlan, PlannedEffect
from roofline_lab.calibration.fleet.points import METRICS, FleetPoint
from roofline_lab.calibration.fleet.terms import PeakTimes, durations_us, stacked
from simulator.steptime.fleet import CAP_SHARPNESS, CLIENT_REQUEST, CLIENT_TOKEN, SHARES

# How many spreads from its start a value may end.
REACH = 5.0
# Relative step of the derivatives of means, which are smooth in every constant.
PROBE = 1e-5
# A step that lowers the loss by less than this share changes no value by a tenth of its interval.
ENOUGH = 1e-5
# Half a 90 % interval of a normal distribution, in standard deviations.
NORMAL_90 = 1.6448536


def below_one(values: Vector) -> Vector:
    """Return shares of a peak as `simulator.steptime.fleet.below_one` does, many at once."""
    return values * (1.0 + values**CAP_SHARPNESS) ** (-1.0 / CAP_SHARPNESS)


@dataclass(frozen=True)
class FleetProblem:
    """Load points as a function of the logarithms of all effects.

    Attributes
    ----------
    acting
        Which effects act on which point, shape (points, effects), 0 or 1.
    slots
        For every step its place in (point, figure), shape (steps,).
    measured_ms
        Shape (points, 2).
    weights
        Of every point's residuals, shape (points,).
    """

    effects: tuple[PlannedEffect, ...]
    constants: tuple[str, ...]
    acting: NDArray[np.float64]
    times: PeakTimes
    slots: NDArray[np.int64]
    prompt_tokens: Vector
    measured_ms: NDArray[np.float64]
    weights: Vector
    scatter: Vector

    @property
    def starts(self) -> Vector:
        """Logarithms of where effects start, shape (effects,)."""
        return np.log(np.array([effect.start for effect in self.effects]))

    @property
    def spreads(self) -> Vector:
        """Standard deviations of these, shape (effects,)."""
        return np.array([effect.spread for effect in self.effects])

    def predicted_ms(self, logs: Vector) -> NDArray[np.float64]:
        """Return mean TTFT and mean time per token of every point, shape (points, 2)."""
        return self._means_ms(self._at_points(logs))

    def _means_ms(self, at_points: dict[str, Vector]) -> NDArray[np.float64]:
        of_step = self.slots // 2
        at_points = {name: below_one(found) if name in SHARES else found for name, found in at_points.items()}
        durations = durations_us(self.times, {name: values[of_step] for name, values in at_points.items()})
        sums = np.bincount(self.slots, self.times.weight * durations, minlength=2 * len(self.prompt_tokens))
        means = sums.reshape(-1, 2).copy()
        means[:, 0] += at_points[CLIENT_REQUEST] + at_points[CLIENT_TOKEN] * self.prompt_tokens
        return means / 1000.0

    def residuals(self, logs: Vector) -> Vector:
        """Return the weighted residuals and the distances from the starts, flat."""
        misfits = self._misfits(self.predicted_ms(logs))
        return np.concatenate([misfits.ravel(), (logs - self.starts) / self.spreads])

    def jacobian(self, logs: Vector) -> NDArray[np.float64]:
        """Return the derivatives of the residuals, shape (residuals, effects).

        An effect moves its constant alone, and only where it acts: one difference per constant gives those of all.
        """
        at_points = self._at_points(logs)
        here = self._misfits(self._means_ms(at_points))
        columns = np.zeros((*here.shape, len(self.effects)))
        for name in self.constants:
            moved = {**at_points, name: at_points[name] * (1.0 + PROBE)}
            slope = (self._misfits(self._means_ms(moved)) - here) / PROBE
            own = [place for place, effect in enumerate(self.effects) if effect.constant == name]
            columns[:, :, own] = slope[:, :, None] * self.acting[:, None, own]
        return np.concatenate([columns.reshape(-1, len(self.effects)), np.diag(1.0 / self.spreads)])

    def _misfits(self, predicted_ms: NDArray[np.float64]) -> NDArray[np.float64]:
        relative = np.log(predicted_ms / self.measured_ms) / self.scatter
        soft = np.sign(relative) * np.sqrt(2.0 * (np.sqrt(1.0 + relative**2) - 1.0))
        return soft * self.weights[:, None]

    def _at_points(self, logs: Vector) -> dict[str, Vector]:
        """Return every constant at every point, shape (points,) each; shares of a peak before `below_one`."""
        found = {}
        for name in self.constants:
            own = np.array([effect.constant == name for effect in self.effects])
            found[name] = np.exp(self.acting[:, own] @ logs[own])
        return found


def problem_of(points: Sequence[FleetPoint], plan: FleetPlan) -> FleetProblem:
    """Join load points and effects; saturated points belong to whoever asks, not here."""
    effects = plan.effects
    acting = np.array([[e.where is None or e.where.holds(point.conditions) for e in effects] for point in points])
    counts: dict[str, int] = {}
    for point in points:
        counts[point.cell] = counts.get(point.cell, 0) + 1
    lengths = [len(times.weight) for point in points for times in point.times]
    return FleetProblem(
        effects=effects,
        constants=tuple(dict.fromkeys(effect.constant for effect in effects)),
        acting=acting.astype(float),
        times=stacked([times for point in points for times in point.times]),
        slots=np.repeat(np.arange(2 * len(points)), lengths),
        prompt_tokens=np.array([point.prompt_tokens for point in points]),
        measured_ms=np.array([point.measured_ms for point in points]),
        weights=np.sqrt(np.array([min(1.0, plan.counted_as / counts[point.cell]) for point in points])),
        scatter=np.array([plan.scatter[metric] for metric in METRICS]),
    )


@dataclass(frozen=True, slots=True)
class FleetFit:
    """Fitted effects.

    Attributes
    ----------
    logs
        Logarithms of their values, shape (effects,).
    spreads
        Standard deviations of these, from the curvature of the loss at the solution, shape (effects,).
    """

    logs: Vector
    spreads: Vector

    def intervals(self) -> tuple[Vector, Vector]:
        """Return the ends of the 90 % intervals of all values."""
        return np.exp(self.logs - NORMAL_90 * self.spreads), np.exp(self.logs + NORMAL_90 * self.spreads)


def fit_fleet(problem: FleetProblem) -> FleetFit:
    """Fit all effects from their starts, so that no fit knows what another one found."""
    starts, reach = problem.starts, REACH * problem.spreads
    found = minimise(
        lambda place: problem.residuals(starts + reach * place),
        np.zeros(len(starts)),
        lambda place: problem.jacobian(starts + reach * place) * reach,
        ENOUGH,
    )
    covariance = np.linalg.inv(found.jacobian.T @ found.jacobian)
    return FleetFit(starts + reach * found.x, reach * np.sqrt(np.diag(covariance)))


def without_points(problem: FleetProblem, kept: Sequence[int]) -> FleetProblem:
    """Return the problem of some of its points."""
    chosen = np.array(kept, dtype=int)
    place = np.full(len(problem.prompt_tokens), -1)
    place[chosen] = np.arange(len(chosen))
    steps = place[problem.slots // 2] >= 0
    times = PeakTimes(**{name: getattr(problem.times, name)[steps] for name in PeakTimes.__slots__})
    return replace(
        problem,
        acting=problem.acting[chosen],
        times=times,
        slots=2 * place[problem.slots[steps] // 2] + problem.slots[steps] % 2,
        prompt_tokens=problem.prompt_tokens[chosen],
        measured_ms=problem.measured_ms[chosen],
        weights=problem.weights[chosen],
    )
