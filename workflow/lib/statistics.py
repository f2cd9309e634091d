"""Uncertainty of means over few experiments, by a seeded percentile bootstrap.

The unit of resampling is the experiment, never the request: experiments are what a claim
generalises over. Interval ends are percentiles of resampled means (linear interpolation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided confidence interval, in the unit of the sample."""

    low: float
    high: float
    level_pct: float


def bootstrap_mean(sample: Sequence[float], *, resamples: int, level_pct: float, seed: int) -> Interval | None:
    """Return the interval of the mean of `sample`, or None below two experiments."""
    if len(sample) < MIN_SAMPLE:
        return None
    return _interval(_resampled_means(sample, resamples, np.random.default_rng(seed)), level_pct)


def bootstrap_difference(
    first: Sequence[float], second: Sequence[float], *, resamples: int, level_pct: float, seed: int
) -> Interval | None:
    """Return the interval of mean(first) - mean(second), resampled within each group."""
    if min(len(first), len(second)) < MIN_SAMPLE:
        return None
    generator = np.random.default_rng(seed)
    means = _resampled_means(first, resamples, generator) - _resampled_means(second, resamples, generator)
    return _interval(means, level_pct)


def _resampled_means(sample: Sequence[float], resamples: int, generator: np.random.Generator) -> NDArray[np.float64]:
    values = np.sort(np.asarray(sample, dtype=np.float64))
    picks = generator.integers(0, len(values), size=(resamples, len(values)))
    return values[picks].mean(axis=1)


def _interval(means: NDArray[np.float64], level_pct: float) -> Interval:
    tail = (100.0 - level_pct) / 2.0
    low, high = np.percentile(means, [tail, 100.0 - tail])
    return Interval(float(low), float(high), level_pct)
