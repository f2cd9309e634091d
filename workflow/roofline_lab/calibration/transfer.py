"""Carrying a calibration onto another GPU or site by one measured run: what the run says is fitted, the rest borrowed.

Contract: `carry_over` is a pure function of a prior and of errors at any set of constants; whoever calls it runs the
engine. Loss: the sum of (error / scatter)^2 over the figures, plus that of (distance from the donor's value / spread)^2
over the constants. A constant of which the figures tell less than `FITTED_FROM` is borrowed and keeps the donor's
value. Constants are searched in units of their spread, efficiencies by their inverse, because times are linear in it.

Intervals are those of the linearised posterior: at the solution the covariance is (J^T J + I)^-1 with J the derivatives
of errors over scatter by all constants, borrowed ones too, whose uncertainty widens the intervals of the fitted ones.
`told` is by which share the figures shrink the variance that a constant had before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roofline_lab.calibration.constants import CONSTANTS, Constant, Values, Vector
from roofline_lab.calibration.fit import bounded_linear
from roofline_lab.calibration.ownership import OWNERSHIP, Owner

# Standard deviations of a 95 % interval of the normal distribution, to either side.
NORMAL_95 = 1.96
# How far a mean of one load point scatters around a model whose constants are right; twice as far in TTFT, which
# contains the phase of the step a request arrives in. Source: scatter and weights of configs/calibration/plans.
SCATTER: Mapping[str, float] = {"ttft_mean": 0.06, "inter_token_mean": 0.03}
# A constant counts as fitted from this share of its variance on.
FITTED_FROM = 0.1
# Further steps are not worth their price once none moves a constant by this many spreads.
ENOUGH = 0.01
MAX_STEPS = 8
# Probing step of derivatives in spreads: far above what whole microseconds and one step more or less change.
PROBE = 0.25

# Errors of the figures over their scatter, shape (figures,), at a place in spreads from the donor.
Errors = Callable[[Vector], Vector]
# Hears the place of a constant that is tried.
Heard = Callable[[int], None]


class Range(NamedTuple):
    """An interval of a constant."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Prior:
    """Where constants are expected before a run is looked at.

    Attributes
    ----------
    names, inverse
        The constants, and whether times grow with 1 / value, shape (constants,).
    centre, spread
        In the unit times are linear in (the inverse of an efficiency), shape (constants,).
    low, high
        Ends of the ranges in spreads from the centre, shape (constants,).
    """

    names: tuple[str, ...]
    inverse: NDArray[np.bool_]
    centre: Vector
    spread: Vector
    low: Vector
    high: Vector

    @property
    def origin(self) -> Vector:
        """The donor's place."""
        return np.zeros_like(self.centre)

    def values(self, place: Vector) -> dict[str, float]:
        """Return the constants at a place."""
        linear = self.centre + place * self.spread
        values = np.where(self.inverse, 1 / np.where(self.inverse, linear, 1.0), linear)
        return dict(zip(self.names, values.tolist(), strict=True))

    def place(self, values: Values) -> Vector:
        """Return the place of constants; the inverse of `values`."""
        linear = [
            1 / values[name] if turned else values[name] for name, turned in zip(self.names, self.inverse, strict=True)
        ]
        return (np.array(linear, dtype=np.float64) - self.centre) / self.spread

    def interval(self, place: Vector, deviations: Vector) -> dict[str, Range]:
        """Return the 95 % interval of every constant, within its range."""
        ends = [
            self.values(np.clip(place + side * NORMAL_95 * deviations, self.low, self.high)) for side in (-1.0, 1.0)
        ]
        return {name: Range(*sorted((ends[0][name], ends[1][name]))) for name in self.names}


# Of its range: even a constant the donor states without an interval may move a little.
LEAST_SPREAD = 1e-3


def prior_of(values: Values, deviations: Values, at_home: Collection[Owner] = ()) -> Prior:
    """Return what a calibration's constants say of another GPU, server or site.

    Parameters
    ----------
    values, deviations
        The constants, and the standard deviation with which the calibration knows each, in its unit.
    at_home
        Owners that are the calibration's own: their constants are as certain as they were fitted.
    """
    ranges = [_turned(one, OWNERSHIP[one.name].low, OWNERSHIP[one.name].high) for one in CONSTANTS]
    low, high = (np.array(ends, dtype=np.float64) for ends in zip(*ranges, strict=True))
    centre: Vector = np.array([1 / values[one.name] if one.inverse else values[one.name] for one in CONSTANTS])
    spread: Vector = np.array([_spread(one, values[one.name], deviations[one.name], at_home) for one in CONSTANTS])
    return Prior(
        names=tuple(one.name for one in CONSTANTS),
        inverse=np.array([one.inverse for one in CONSTANTS]),
        centre=centre,
        spread=spread,
        low=(low - centre) / spread,
        high=(high - centre) / spread,
    )


def _turned(one: Constant, low: float, high: float) -> tuple[float, float]:
    return (1 / high, 1 / low) if one.inverse else (low, high)


def _spread(one: Constant, value: float, deviation: float, at_home: Collection[Owner]) -> float:
    """Return how far a constant may lie from a value, in the unit times are linear in."""
    row = OWNERSHIP[one.name]
    elsewhere = 0.0 if row.owner in at_home else row.spread
    spread = max(math.hypot(elsewhere, deviation), LEAST_SPREAD * (row.high - row.low))
    return spread / value**2 if one.inverse else spread


@dataclass(frozen=True, slots=True)
class Carried:
    """Constants carried over, and how well they are known.

    Attributes
    ----------
    place
        Of the solution in spreads, shape (constants,).
    residuals
        Errors over scatter there, shape (figures,).
    covariance
        Of the solution in spreads, shape (constants, constants).
    """

    prior: Prior
    place: Vector
    residuals: Vector
    covariance: Vector

    @property
    def values(self) -> dict[str, float]:
        """The constants."""
        return self.prior.values(self.place)

    @property
    def fitted(self) -> frozenset[str]:
        """The constants that the run tells of; all others are borrowed."""
        return frozenset(name for name, share in self.told.items() if share >= FITTED_FROM)

    @property
    def intervals(self) -> dict[str, Range]:
        """The 95 % interval of every constant."""
        return self.prior.interval(self.place, np.sqrt(np.diag(self.covariance)))

    @property
    def expected(self) -> dict[str, Range]:
        """The 95 % interval of every constant before the run was looked at."""
        return self.prior.interval(self.prior.origin, np.ones_like(self.place))

    @property
    def told(self) -> dict[str, float]:
        """By which share the run shrinks the variance of every constant, 0 (all borrowed) to 1."""
        shares = 1.0 - np.diag(self.covariance)
        return dict(zip(self.prior.names, np.clip(shares, 0.0, 1.0).tolist(), strict=True))

    @property
    def correlations(self) -> Vector:
        """Return how the uncertainties of two constants go together, shape (constants, constants)."""
        deviations = np.sqrt(np.diag(self.covariance))
        signs = np.where(self.prior.inverse, -1.0, 1.0)
        found: Vector = self.covariance / np.outer(deviations, deviations) * np.outer(signs, signs)
        return found

    def at_end(self) -> dict[str, str]:
        """Return which constants ended on an end of their range, and which end."""
        prior, found = self.prior, {}
        for place, name in enumerate(prior.names):
            ends = (prior.low[place], prior.high[place])
            if self.place[place] in ends:
                found[name] = "low" if (self.place[place] == ends[0]) != prior.inverse[place] else "high"
        return found

    def from_centre(self, values: Values) -> dict[str, float]:
        """Return the solution as it would be if the donor had said `values`; to first order."""
        moved = self.covariance @ self.prior.place(values)
        return self.prior.values(np.clip(self.place + moved, self.prior.low, self.prior.high))


def jacobian_of(
    errors: Errors, prior: Prior, place: Vector, told: Heard, moving: NDArray[np.bool_] | None = None
) -> Vector:
    """Return the derivatives of errors by constants, shape (figures, constants).

    Parameters
    ----------
    told
        Hears the place of every constant that is tried.
    moving
        Which constants may do anything at all; None for all.
    """
    here = errors(place)
    columns = [np.zeros_like(here)] * len(place)
    for index in range(len(place)):
        if moving is not None and not moving[index]:
            continue
        told(index)
        probe = PROBE if place[index] + PROBE <= prior.high[index] else -PROBE
        there = place.copy()
        there[index] += probe
        columns[index] = (errors(there) - here) / probe
    return np.array(columns).T


def settle(errors: Errors, jacobian: Vector, prior: Prior, start: Vector, trust: float = 1.0) -> tuple[Vector, Vector]:
    """Return where steps with given derivatives come to rest, and the errors there.

    Parameters
    ----------
    trust
        Weight of the distances from the donor's values; 0 asks the figures alone.
    """
    place, found = start, errors(start)
    unit = trust * np.eye(len(place))
    for _ in range(MAX_STEPS):
        whole = np.concatenate([found, trust * place])
        step = bounded_linear(np.vstack([jacobian, unit]), whole, prior.low - place, prior.high - place)
        tried = np.clip(place + step, prior.low, prior.high)
        after = errors(tried)
        if after @ after + trust * (tried @ tried) >= found @ found + trust * (place @ place):
            break
        settled = float(np.max(np.abs(tried - place))) < ENOUGH
        place, found = tried, after
        if settled:
            break
    return place, found


def fit_told(errors: Errors, jacobian: Vector, prior: Prior, start: Vector) -> tuple[Vector, Vector, Vector]:
    """Fit the constants that figures tell of, with given derivatives; the others keep the donor's values.

    Returns
    -------
    place, residuals, covariance
        Of the solution; the covariance is that of all constants.
    """
    covariance = np.linalg.inv(jacobian.T @ jacobian + np.eye(len(start))).astype(np.float64)
    fitted = 1.0 - np.diag(covariance) >= FITTED_FROM
    place, residuals = settle(errors, np.where(fitted, jacobian, 0.0), prior, np.where(fitted, start, 0.0))
    return place, residuals, covariance


def carry_over(errors: Errors, prior: Prior, first: Vector, told: Heard) -> Carried:
    """Fit the constants of a prior to figures.

    Parameters
    ----------
    errors
        Errors over scatter at a place.
    first
        Derivatives at the donor's constants, from which the search begins.
    told
        Hears of every constant that is tried for the derivatives at the solution.
    """
    place, _ = settle(errors, first, prior, prior.origin)
    jacobian = jacobian_of(errors, prior, place, told, np.any(first != 0.0, axis=0))
    place, residuals, covariance = fit_told(errors, jacobian, prior, place)
    return Carried(prior, place, residuals, covariance)


def alone(errors: Errors, first: Vector, prior: Prior) -> list[tuple[str, float, Vector]]:
    """Return what every constant would have to be if it alone were another than the donor's, best first.

    Returns
    -------
    list
        Name, value within its range, and errors over scatter that are left, by the figures alone.
    """
    found = []
    for index in np.flatnonzero(np.any(first != 0.0, axis=0)).tolist():
        only = np.arange(len(prior.names)) == index
        place, left = settle(errors, np.where(only, first, 0.0), prior, prior.origin, trust=0.0)
        name = prior.names[index]
        found.append((name, prior.values(place)[name], left))
    return sorted(found, key=lambda one: (float(one[2] @ one[2]), one[0]))


def spread_of(quantity: Callable[[Values], float], prior: Prior, place: Vector, covariance: Vector) -> float:
    """Return the standard deviation of a quantity at a place where the constants have a covariance."""
    here = quantity(prior.values(place))
    gradient = []
    for index in range(len(place)):
        there = place.copy()
        step = SMALL if place[index] + SMALL <= prior.high[index] else -SMALL
        there[index] += step
        gradient.append((quantity(prior.values(there)) - here) / step)
    slope = np.array(gradient)
    return math.sqrt(float(slope @ covariance @ slope))


# Probing step where a quantity is a formula, in spreads.
SMALL = 1e-3


def alike(carried: Carried, least: float) -> Sequence[tuple[str, str, float]]:
    """Return pairs of fitted constants whose uncertainties go together at least this far, strongest first."""
    fitted, found = carried.fitted, carried.correlations
    names = carried.prior.names
    pairs = [
        (names[a], names[b], float(found[a, b]))
        for a in range(len(names))
        for b in range(a + 1, len(names))
        if abs(found[a, b]) >= least and {names[a], names[b]} <= fitted
    ]
    return sorted(pairs, key=lambda pair: (-abs(pair[2]), pair[:2]))
