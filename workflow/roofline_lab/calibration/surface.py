"""Predicted means as functions of the constants: one response surface per load point.

Contract: `surface_of` simulates a load point at many sets of constants and fits a full quadratic in the
positions of the constants, which then answers at any of them. A fold, a resample or a learning curve then
costs milliseconds instead of engine runs. Nothing measured enters a surface, so that one surface serves
every fold; one without the LM head is worked out from the one with it.

Half of the sets are spread evenly over the ranges; in the other half each constant is ideal (no cost, all
of the peak) with even odds, because there the terms are judged. At some corners of the ranges a server is
overloaded, TTFT explodes, and no quadratic follows both that and what lies before. Such sets are left out
where this helps: of several limits and of TTFT as it is, its logarithm and its reciprocal (which falls in a straight
line as a queue builds up), those are taken that come closest to further sets, near the starts, which no surface is
fitted to. Their median error there is the surface's error.
Method: Latin hypercube (McKay, Beckman, Conover 1979) and iteratively reweighted least squares with
Cauchy weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, product
from typing import Any, Literal, NamedTuple

import numpy as np

from roofline_lab.calibration.constants import (
    BY_NAME,
    CONSTANTS,
    STEP_CONSTANTS,
    Vector,
    at,
    positions,
    spreads,
    starts,
)
from roofline_lab.calibration.points import EngineMeans, Point
from roofline_lab.scoring.errors import relative_difference
from simulator.steptime.physics import DENSE_KERNELS, kernels_per_layer

Scale = Literal["plain", "logarithm", "reciprocal"]

REWEIGHTINGS = 6
# Residuals beyond this many medians are weighted down.
CAUCHY_SCALE = 3.0
# Sets to check a surface with.
CHECKS = 24
# Up to how many times the TTFT at the starts a set is fitted to.
LIMITS = (1.5, 3.0, np.inf)
# How many sets per coefficient must remain.
ENOUGH_SETS = 1.2
# TTFT as a surface describes it, and back.
SCALES: Mapping[Scale, tuple[Callable[[Vector], Vector], Callable[[Vector], Vector]]] = {
    "plain": (lambda us: us, lambda fitted: fitted),
    "logarithm": (np.log, np.exp),
    "reciprocal": (lambda us: 1.0 / us, lambda fitted: 1.0 / np.maximum(fitted, SLOWEST)),
}
# Reciprocal of the longest TTFT a surface gives, 1/us.
SLOWEST = 1e-9


@dataclass(frozen=True, slots=True)
class Surface:
    """One load point's predictions.

    Attributes
    ----------
    name, experiment, family
        Whose predictions.
    ttft, decode
        Coefficients of mean TTFT and mean decode time in us, shape (terms,).
    scale
        What those of TTFT give: itself, its natural logarithm or its reciprocal.
    gaps, prompt_tokens
        Mean tokens after the first, mean prompt length.
    ttft_error, decode_error
        Median relative error at sets of constants near the starts that the surface was not fitted to.
    """

    name: str
    experiment: str
    family: str
    ttft: tuple[float, ...]
    scale: Scale
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
    first, second = np.triu_indices(positions.shape[1])
    return np.hstack([np.ones((len(positions), 1)), positions, positions[:, first] * positions[:, second]])


_FIRST, _SECOND = np.triu_indices(len(STEP_CONSTANTS))


def _one_quadratic(place: Vector) -> Vector:
    """Return what `quadratic` returns for one set of positions, shape (terms,)."""
    return np.concatenate([[1.0], place, place[_FIRST] * place[_SECOND]])


def with_faces(evenly: Vector, generator: np.random.Generator) -> Vector:
    """Return positions of which each constant's is ideal with even odds."""
    return np.where(generator.random(evenly.shape) < 0.5, -1.0, evenly)


def sets_to_fit(samples: int, seed: int) -> Vector:
    """Return the positions a surface is fitted to, shape (samples, step constants)."""
    evenly = samples // 2
    faces = with_faces(spread(samples - evenly, seed + 1), np.random.default_rng(seed + 2))
    return np.vstack([spread(evenly, seed), faces])


def sets_to_check(seed: int) -> Vector:
    """Return positions near the starts, half of them with ideal constants, shape (CHECKS, step constants)."""
    generator = np.random.default_rng(seed + 3)
    count = len(STEP_CONSTANTS)
    middle, width = positions(starts())[:count], spreads()[:count]
    near = np.clip(middle + generator.normal(size=(CHECKS, count)) * width, -1.0, 1.0)
    half = CHECKS // 2
    return np.vstack([near[:half], with_faces(near[half:], generator)])


class _Runs(NamedTuple):
    """What the engine says at some positions: quadratic terms, TTFT and decode time in us."""

    terms: Vector
    ttft: Vector
    decode: Vector


def surface_of(point: Point, samples: int, seed: int) -> Surface:
    """Simulate `point` at `samples` sets of constants and fit its surface."""
    means, fitted = _run(point, sets_to_fit(samples, seed))
    _, checked = _run(point, sets_to_check(seed))
    at_starts = point.engine_means(starts()).ttft_us
    usable = list(_usable(fitted, at_starts))
    ttft_error, _, scale, ttft = min(
        (_ttft_error(checked, coefficients, scale), order, scale, coefficients)
        for order, (one, scale) in enumerate(product(usable, SCALES))
        for coefficients in [tuple(map(float, _fitted_ttft(one, scale)))]
    )
    decode_error, _, decode = min(
        (_median_error(checked.terms @ np.array(coefficients), checked.decode), order, coefficients)
        for order, one in enumerate(usable)
        for coefficients in [tuple(map(float, _relative_fit(one.terms, one.decode)))]
    )
    return Surface(
        name=point.name,
        experiment=point.experiment.id,
        family=point.family,
        ttft=ttft,
        scale=scale,
        decode=decode,
        gaps=means[0].gaps,
        prompt_tokens=means[0].prompt_tokens,
        ttft_error=ttft_error,
        decode_error=decode_error,
    )


def _run(point: Point, places: Vector) -> tuple[list[EngineMeans], _Runs]:
    rest = np.full(len(CONSTANTS) - len(STEP_CONSTANTS), -1.0)
    means = [point.engine_means(at(np.concatenate([place, rest]))) for place in places]
    ttft, decode = np.array([one.ttft_us for one in means]), np.array([one.decode_us for one in means])
    return means, _Runs(quadratic(places), ttft, decode)


def _usable(runs: _Runs, at_starts: float) -> Iterator[_Runs]:
    """Yield the runs below every limit that leaves enough of them."""
    for limit in LIMITS:
        kept = runs.ttft <= limit * at_starts
        if kept.sum() >= ENOUGH_SETS * runs.terms.shape[1] or limit == LIMITS[-1]:
            yield _Runs(*(part[kept] for part in runs))


def _fitted_ttft(runs: _Runs, scale: Scale) -> Vector:
    if scale == "plain":
        return _relative_fit(runs.terms, runs.ttft)
    return robust_fit(runs.terms, SCALES[scale][0](runs.ttft))


def _ttft_error(checked: _Runs, coefficients: Sequence[float], scale: Scale) -> float:
    return _median_error(SCALES[scale][1](checked.terms @ np.array(coefficients)), checked.ttft)


def _relative_fit(terms: Vector, target: Vector) -> Vector:
    """Fit with equal weight to relative errors."""
    return robust_fit(terms / target[:, None], np.ones(len(target)))


def _median_error(fitted: Vector, target: Vector) -> float:
    return float(np.median(np.abs(relative_difference(fitted, target))))


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
    scale, gaps, prompt_tokens
        Shape (points,); a scale by its place in `SCALES`.
    """

    ttft: Vector
    scale: Vector
    decode: Vector
    gaps: Vector
    prompt_tokens: Vector

    @classmethod
    def of(cls, surfaces: Sequence[Surface]) -> Stack:
        """Put surfaces on top of each other."""
        names = list(SCALES)
        return cls(
            np.array([surface.ttft for surface in surfaces]),
            np.array([float(names.index(surface.scale)) for surface in surfaces]),
            np.array([surface.decode for surface in surfaces]),
            np.array([surface.gaps for surface in surfaces]),
            np.array([surface.prompt_tokens for surface in surfaces]),
        )

    def engine(self, places: Vector) -> tuple[Vector, Vector]:
        """Return engine-side mean TTFT and decode time in us at one set of positions."""
        terms = _one_quadratic(places[: len(STEP_CONSTANTS)])
        fitted = self.ttft @ terms
        ttft = fitted.copy()
        for code, (_, back) in enumerate(SCALES.values()):
            chosen = self.scale == code
            ttft[chosen] = back(fitted[chosen])
        return ttft, self.decode @ terms


LAYER, BANDWIDTH = "layer_us", "weight_bandwidth_efficiency"
_PLACES = {constant.name: 1 + place for place, constant in enumerate(STEP_CONSTANTS)}


def without_head(surface: Surface, point: Point) -> Surface:
    """Return the surface of the same load point on a server whose steps have no LM head."""
    moved = _moved(point)
    return replace(surface, ttft=_substituted(surface.ttft, moved), decode=_substituted(surface.decode, moved))


def _moved(point: Point) -> Vector:
    """Return M: the position of the cost per layer less the head's time, which depends on the bandwidth."""
    model, hardware = point.target.model, point.target.hardware
    head_bytes = model.hidden_size * model.vocab_size * model.activation_bytes
    at_peak_us = head_bytes / (hardware.peak_bandwidth * point.experiment.tensor_parallel) * 1e6
    launches = model.num_hidden_layers * kernels_per_layer(model) / DENSE_KERNELS
    layer, bandwidth = BY_NAME[LAYER], BY_NAME[BANDWIDTH]
    per_position_us = launches * (layer.high - layer.low) / 2
    # The inverse of an efficiency is linear in its position.
    middle = (1 / bandwidth.high + 1 / bandwidth.low) / 2
    half_width = (1 / bandwidth.low - 1 / bandwidth.high) / 2
    matrix = np.eye(1 + len(STEP_CONSTANTS))
    matrix[_PLACES[LAYER], 0] = -at_peak_us * middle / per_position_us
    matrix[_PLACES[LAYER], _PLACES[BANDWIDTH]] = -at_peak_us * half_width / per_position_us
    return matrix


def _substituted(coefficients: Sequence[float], moved: Vector) -> tuple[float, ...]:
    """Return the coefficients of a quadratic in which z is replaced by M z."""
    whole = moved.T @ _matrix(coefficients) @ moved
    count = len(whole)
    pairs = [(0, 0), *((0, place) for place in range(1, count)), *combinations_with_replacement(range(1, count), 2)]
    return tuple(float(whole[a, b] if a == b else 2.0 * whole[a, b]) for a, b in pairs)


def _matrix(coefficients: Sequence[float]) -> Vector:
    """Return Q of a quadratic whose terms are ordered as in `surface.quadratic`."""
    count = 1 + len(STEP_CONSTANTS)
    pairs = [(0, 0), *((0, place) for place in range(1, count)), *combinations_with_replacement(range(1, count), 2)]
    matrix = np.zeros((count, count))
    for (a, b), value in zip(pairs, coefficients, strict=True):
        matrix[a, b] += value / 2
        matrix[b, a] += value / 2
    return matrix
