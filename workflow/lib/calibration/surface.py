"""Predicted means as functions of the constants: one response surface per load point.

Contract: `surface_of` simulates a load point at many sets of constants spread evenly over their ranges and
fits a full quadratic in the positions of the constants, which then answers at any of them. A fold, a
resample or a learning curve then costs milliseconds instead of engine runs. Nothing measured enters a surface, so that
one surface serves every fold.

TTFT is fitted as it is or as a logarithm, whichever is closer, decode time as it is; large residuals are
weighted down, because at some corners of the ranges a server is overloaded and TTFT explodes, where no
fit will ever go.
Method: Latin hypercube (McKay, Beckman, Conover 1979) and iteratively reweighted least squares with
Cauchy weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from workflow.lib.calibration.constants import CONSTANTS, STEP_CONSTANTS, Vector, at
from workflow.lib.calibration.points import Point

REWEIGHTINGS = 6
# Residuals beyond this many medians are weighted down.
CAUCHY_SCALE = 3.0


@dataclass(frozen=True, slots=True)
class Surface:
    """One load point's predictions.

    Attributes
    ----------
    name, experiment, family
        Whose predictions.
    ttft, decode
        Coefficients of mean TTFT and mean decode time in us, shape (terms,).
    logarithmic
        Whether those of TTFT give its natural logarithm.
    gaps, prompt_tokens
        Mean tokens after the first, mean prompt length.
    ttft_error, decode_error
        Median relative error of the surface at its own samples.
    """

    name: str
    experiment: str
    family: str
    ttft: tuple[float, ...]
    logarithmic: bool
    decode: tuple[float, ...]
    gaps: float
    prompt_tokens: float
    ttft_error: float
    decode_error: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {field: getattr(self, field) for field in self.__slots__}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Surface:
        """Read what `as_dict` gave."""
        return cls(**{**data, "ttft": tuple(data["ttft"]), "decode": tuple(data["decode"])})


def spread(samples: int, seed: int) -> Vector:
    """Return positions spread evenly over the ranges of the step constants, shape (samples, step constants)."""
    generator = np.random.default_rng(seed)
    columns = [(generator.permutation(samples) + generator.random(samples)) / samples for _ in STEP_CONSTANTS]
    return 2.0 * np.array(columns).T - 1.0


def quadratic(positions: Vector) -> Vector:
    """Return 1, every position, and every product of two; shape (samples, terms)."""
    count = positions.shape[1]
    pairs = list(combinations_with_replacement(range(count), 2))
    products = positions[:, [a for a, _ in pairs]] * positions[:, [b for _, b in pairs]]
    return np.hstack([np.ones((len(positions), 1)), positions, products])


def surface_of(point: Point, samples: int, seed: int) -> Surface:
    """Simulate `point` at `samples` sets of constants and fit its surface."""
    positions = spread(samples, seed)
    rest = np.full(len(CONSTANTS) - len(STEP_CONSTANTS), -1.0)
    means = [point.engine_means(at(np.concatenate([place, rest]))) for place in positions]
    terms = quadratic(positions)
    ttft = np.array([one.ttft_us for one in means])
    decode = np.array([one.decode_us for one in means])
    as_it_is, logarithm = _relative_fit(terms, ttft), robust_fit(terms, np.log(ttft))
    errors = [_median_error(terms @ as_it_is, ttft), _median_error(np.exp(terms @ logarithm), ttft)]
    logarithmic = errors[1] < errors[0]
    linear = _relative_fit(terms, decode)
    return Surface(
        name=point.name,
        experiment=point.experiment.id,
        family=point.family,
        ttft=tuple(map(float, logarithm if logarithmic else as_it_is)),
        logarithmic=logarithmic,
        decode=tuple(map(float, linear)),
        gaps=means[0].gaps,
        prompt_tokens=means[0].prompt_tokens,
        ttft_error=min(errors),
        decode_error=_median_error(terms @ linear, decode),
    )


def _relative_fit(terms: Vector, target: Vector) -> Vector:
    """Fit with equal weight to relative errors."""
    return robust_fit(terms / target[:, None], np.ones(len(target)))


def _median_error(fitted: Vector, target: Vector) -> float:
    return float(np.median(np.abs(fitted / target - 1.0)))


def robust_fit(terms: Vector, target: Vector) -> Vector:
    """Return least-squares coefficients in which outliers of `target` count little."""
    weights = np.ones(len(target))
    coefficients = np.zeros(terms.shape[1])
    for _ in range(REWEIGHTINGS):
        coefficients = np.linalg.lstsq(terms * weights[:, None], target * weights, rcond=None)[0]
        residuals = np.abs(terms @ coefficients - target)
        scale = CAUCHY_SCALE * float(np.median(residuals)) + 1e-12
        weights = 1.0 / np.sqrt(1.0 + (residuals / scale) ** 2)
    return coefficients


@dataclass(frozen=True, slots=True)
class Stack:
    """Surfaces of many load points, evaluated together.

    Attributes
    ----------
    ttft, decode
        Shape (points, terms).
    logarithmic, gaps, prompt_tokens
        Shape (points,).
    """

    ttft: Vector
    logarithmic: Vector
    decode: Vector
    gaps: Vector
    prompt_tokens: Vector

    @classmethod
    def of(cls, surfaces: Sequence[Surface]) -> Stack:
        """Put surfaces on top of each other."""
        return cls(
            np.array([one.ttft for one in surfaces]),
            np.array([one.logarithmic for one in surfaces]),
            np.array([one.decode for one in surfaces]),
            np.array([one.gaps for one in surfaces]),
            np.array([one.prompt_tokens for one in surfaces]),
        )

    def engine(self, positions: Vector) -> tuple[Vector, Vector]:
        """Return engine-side mean TTFT and decode time in us at one set of positions."""
        terms = quadratic(positions[None, : len(STEP_CONSTANTS)])[0]
        ttft = self.ttft @ terms
        return np.where(self.logarithmic, np.exp(np.where(self.logarithmic, ttft, 0.0)), ttft), self.decode @ terms
