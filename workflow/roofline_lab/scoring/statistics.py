"""Uncertainty of means over few experiments: bootstrap intervals, permutation tests, sample sizes.

The unit is the experiment, never the request: experiments are what a claim generalises over. Where
clusters are named (the model family of each experiment), whole clusters are resampled, because
experiments on one model share its errors; interval ends are percentiles of resampled means
(linear interpolation), and too few units have none. Permutation tests are exact up to `EXACT_LIMIT`
arrangements, seeded beyond; several values of one experiment are permuted as one block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

MIN_SAMPLE = 2
# Arrangements up to which a permutation test visits all of them: 2**16 takes some milliseconds.
EXACT_LIMIT = 65_536
# Differences of float sums this small, relative to the sample, are ties, not evidence.
TIE = 1e-9
PERCENT = 100.0

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided confidence interval, in the unit of the sample."""

    low: float
    high: float
    level_pct: float


@dataclass(frozen=True, slots=True)
class PValue:
    """A two-sided permutation p-value and over how many arrangements it was taken."""

    value: float
    arrangements: int
    exact: bool


def fewest_units(level_pct: float) -> int:
    """Return from how many independent units on an interval of their mean can be given.

    Of k units drawn k at a time, k**-k of the draws are one unit alone. While that is no less than the tail left out at
    either end, (100 - level) / 2 %, the ends are the smallest and the largest unit whatever the level: 4 units at 95 %.
    """
    tail, units = (1.0 - level_pct / PERCENT) / 2.0, MIN_SAMPLE
    while float(units) ** -units >= tail:
        units += 1
    return units


def bootstrap_mean(
    sample: Sequence[float], *, resamples: int, level_pct: float, seed: int, clusters: Sequence[str] | None = None
) -> Interval | None:
    """Return the interval of the mean of `sample`, or None with fewer units than `fewest_units`.

    Parameters
    ----------
    clusters
        Cluster of each value; whole clusters are drawn. Without any, the values themselves are drawn.
    """
    if _units(sample, clusters) < fewest_units(level_pct):
        return None
    return _interval(_drawn_means(sample, clusters, resamples, np.random.default_rng(seed)), level_pct)


def bootstrap_difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    resamples: int,
    level_pct: float,
    seed: int,
    clusters: tuple[Sequence[str] | None, Sequence[str] | None] = (None, None),
) -> Interval | None:
    """Return the interval of mean(first) - mean(second), or None where a group has fewer units than `fewest_units`.

    Each group is resampled for itself, whether or not a cluster is in both: with clusters (one sequence per group)
    whole clusters of that group are drawn.
    """
    groups = tuple(zip((first, second), clusters, strict=True))
    if min(_units(*group) for group in groups) < fewest_units(level_pct):
        return None
    generator = np.random.default_rng(seed)
    one, other = (_drawn_means(*group, resamples, generator) for group in groups)
    return _interval(one - other, level_pct)


def bootstrap_lowest(
    samples: Mapping[float, Sequence[float]], clusters: Sequence[str], *, resamples: int, level_pct: float, seed: int
) -> Interval | None:
    """Return the interval of the key whose sample has the lowest mean (of equals the smallest key).

    The samples are of the same units in the same order, which are drawn together; None as in `bootstrap_mean`.

    Parameters
    ----------
    clusters
        Cluster of each unit; whole clusters are drawn.
    """
    if _units(clusters, clusters) < fewest_units(level_pct):
        return None
    keys = sorted(samples)
    # The same seed for every key: the same clusters are drawn for each.
    means = [_drawn_means(samples[key], clusters, resamples, np.random.default_rng(seed)) for key in keys]
    return _interval(np.asarray(keys, dtype=np.float64)[np.argmin(means, axis=0)], level_pct)


def sign_flip_p(
    differences: Sequence[float], *, draws: int, seed: int, blocks: Sequence[str] | None = None
) -> PValue | None:
    """Test whether paired differences have mean zero, by flipping their signs.

    Exact over all 2**n sign patterns where these are at most `EXACT_LIMIT`, else over `draws`
    seeded patterns and the observed one. None below two pairs.

    Parameters
    ----------
    blocks
        Block of each difference; signs flip for whole blocks (the load points of one experiment), since
        what made one of them come out as it did made the others.
    """
    sums = _by_block(differences, blocks)
    if len(sums) < MIN_SAMPLE:
        return None
    values = np.sort(np.asarray([total for total, _ in sums], dtype=np.float64))
    count = len(values)
    if 2**count <= EXACT_LIMIT:
        patterns = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return _p_value(np.abs(weighted_sums(1.0 - 2.0 * patterns, values)), abs(values.sum()), values, exact=True)
    signs = np.random.default_rng(seed).integers(0, 2, size=(draws, count)) * 2.0 - 1.0
    flipped = np.append(np.abs(weighted_sums(signs, values)), abs(values.sum()))
    return _p_value(flipped, abs(values.sum()), values, exact=False)


def label_swap_p(
    first: Sequence[float],
    second: Sequence[float],
    *,
    draws: int,
    seed: int,
    blocks: tuple[Sequence[str], Sequence[str]] | None = None,
) -> PValue | None:
    """Test whether two groups have the same mean, by exchanging the labels of their members.

    Exact over all assignments where these are at most `EXACT_LIMIT`, else seeded. None where a
    group is empty or both have one member. With `blocks` (one sequence per group) the members of one
    block and group change their label together.
    """
    groups = [_by_block(group, blocks[side] if blocks else None) for side, group in enumerate((first, second))]
    size, total = len(groups[0]), len(groups[0]) + len(groups[1])
    if not all(groups) or total <= MIN_SAMPLE:
        return None
    sums, counts = (np.array(column, dtype=np.float64) for column in zip(*sorted(groups[0] + groups[1]), strict=True))
    exact = math.comb(total, size) <= EXACT_LIMIT
    if exact:
        chosen = np.array(list(combinations(range(total), size)))
    else:
        generator = np.random.default_rng(seed)
        chosen = np.array([generator.permutation(total)[:size] for _ in range(draws)])
    inside, members = sums[chosen].sum(axis=1), counts[chosen].sum(axis=1)
    differences = np.abs(inside / members - (sums.sum() - inside) / (counts.sum() - members))
    observed = abs(_mean(first) - _mean(second))
    if not exact:
        differences = np.append(differences, observed)
    return _p_value(differences, observed, sums, exact=exact)


def weighted_sums(weights: Floats, values: Floats) -> Floats:
    """Return the sum of `values` under every row of `weights`, added in an order that depends on their number alone.

    A matrix product would depend on the number of threads of the BLAS library in its last digit.
    """
    return (weights * values).sum(axis=1)


def pairs_needed(effect: float, deviation: float, *, level_pct: float, power: float) -> int | None:
    """Return how many paired experiments detect a mean difference of `effect`.

    n = ((z(1 - alpha/2) + z(power)) * s / effect)**2, rounded up, at least 2; s is the standard
    deviation of the paired differences. Normal approximation; None without an effect.
    """
    return _needed(effect, deviation**2, level_pct, power)


def per_group_needed(
    effect: float, first_deviation: float, second_deviation: float, *, level_pct: float, power: float
) -> int | None:
    """Return how many experiments per group detect a difference of `effect` between two groups.

    n = (z(1 - alpha/2) + z(power))**2 * (s1**2 + s2**2) / effect**2, rounded up, at least 2.
    """
    return _needed(effect, first_deviation**2 + second_deviation**2, level_pct, power)


def deviation(sample: Sequence[float]) -> float | None:
    """Return the sample standard deviation (n - 1), or None below two values."""
    return float(np.std(np.sort(np.asarray(sample)), ddof=1)) if len(sample) >= MIN_SAMPLE else None


def median(sample: Sequence[float]) -> float:
    """Return the median of a non-empty sample."""
    return float(np.median(np.asarray(sample, dtype=np.float64)))


def trimmed_mean(sample: Sequence[float], trim_pct: float) -> float:
    """Return the mean without the lowest and the highest `trim_pct` percent, rounded down to whole values."""
    cut = int(len(sample) * trim_pct / PERCENT)
    kept = sorted(sample)[cut : len(sample) - cut]
    return math.fsum(kept) / len(kept)


def _needed(effect: float, variance: float, level_pct: float, power: float) -> int | None:
    if effect == 0:
        return None
    normal = NormalDist()
    factor = normal.inv_cdf(0.5 + level_pct / PERCENT / 2) + normal.inv_cdf(power)
    return max(MIN_SAMPLE, math.ceil(factor**2 * variance / effect**2 - TIE))


def _p_value(statistics: Floats, observed: float, values: Floats, *, exact: bool) -> PValue:
    slack = TIE * (1.0 + float(np.abs(values).sum()))
    return PValue(float(np.mean(statistics >= observed - slack)), len(statistics), exact)


def _by_block(sample: Sequence[float], blocks: Sequence[str] | None) -> list[tuple[float, int]]:
    """Return sum and number of values of every block, in the order of the blocks' names."""
    if blocks is None:
        return [(value, 1) for value in sample]
    pairs = list(zip(sample, blocks, strict=True))
    members = ([value for value, block in pairs if block == name] for name in sorted(set(blocks)))
    return [(math.fsum(values), len(values)) for values in members]


def _mean(sample: Sequence[float]) -> float:
    return math.fsum(sample) / len(sample)


def _units(sample: Sequence[object], clusters: Sequence[str] | None) -> int:
    return len(sample) if clusters is None else len(set(clusters))


def _drawn_means(
    sample: Sequence[float], clusters: Sequence[str] | None, resamples: int, generator: np.random.Generator
) -> Floats:
    """Return the mean of every resample: as many values, or whole clusters, as there are, drawn with replacement."""
    if clusters is None:
        values = np.sort(np.asarray(sample, dtype=np.float64))
        return values[generator.integers(0, len(values), size=(resamples, len(values)))].mean(axis=1)
    members: dict[str, list[float]] = {}
    for value, cluster in zip(sample, clusters, strict=True):
        members.setdefault(cluster, []).append(value)
    sums = np.array([math.fsum(members[name]) for name in sorted(members)])
    counts = np.array([len(members[name]) for name in sorted(members)])
    picks = generator.integers(0, len(sums), size=(resamples, len(sums)))
    return sums[picks].sum(axis=1) / counts[picks].sum(axis=1)


def _interval(means: Floats, level_pct: float) -> Interval:
    tail = (PERCENT - level_pct) / 2.0
    low, high = np.percentile(means, [tail, PERCENT - tail])
    return Interval(float(low), float(high), level_pct)
