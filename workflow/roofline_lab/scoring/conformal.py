"""Where the next residual will lie, from residuals that were held out: few clusters, each of many values.

Contract: `held_out_spread` is pure, does not depend on the order of values, and gives nothing below `FEWEST_CLUSTERS`.

The idea is that of conformal prediction: what was held out says how far predictions miss, with no model of why. Two
things keep it from being a plain quantile. Values of one cluster (all load points of one model on one GPU) miss
together, so that a thousand values of seven clusters say little more than seven: clusters weigh the same however many
values they have, and the effective number of independent values is Kish's, n / (1 + (m - 1) rho), with the intraclass
correlation rho from a one-way analysis of variance. And that number is small: a distribution-free interval of 90 % with
two ends needs 19 clusters. So the ends, quantiles of the weighted values, are moved away from the median by what a
Student t interval for the next of n values is wider than a normal one that knows mean and variance,
t(n - 1) sqrt((n + 1) / (n - 1)) / z; the factor is 2.5 for three clusters that agree in nothing, 1.36 for seven and
1.03 for seventy. It rests on clusters that are about normal, and keeps the skew of what was seen.

Sources: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005); Dunn, Wasserman and Ramdas,
Distribution-Free Prediction Sets for Two-Layer Hierarchical Models (JASA 2022) for equal weights of clusters; Kish,
Survey Sampling (1965) for the effective number.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from roofline_lab.scoring.errors import mean

# Two clusters say nothing of how far a third may lie: the factor would be above 6.
FEWEST_CLUSTERS = 3
# Shares of weight this close are the same: sums of 1/3 and 1/7 end in different last digits.
TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Spread:
    """Between which values the next residual lies.

    Attributes
    ----------
    low, high
        In the unit of the values.
    values, clusters
        How many it rests on.
    effective
        As how many independent values they count, between `clusters` and `values`.
    """

    low: float
    high: float
    values: int
    clusters: int
    effective: float


def held_out_spread(
    values: Sequence[float], clusters: Sequence[str], parts: Sequence[str], level: float
) -> Spread | None:
    """Return the interval that holds the next value with probability `level`; None below `FEWEST_CLUSTERS`.

    Parameters
    ----------
    values
        Residuals, shape (n,).
    clusters, parts
        Cluster of each value, and the part of its cluster it belongs to (one server); parts weigh the same within a
        cluster, values within a part.
    level
        Between 0 and 1; half of the rest lies on either side.
    """
    number = len(set(clusters))
    if number < FEWEST_CLUSTERS:
        return None
    places = [f"{cluster}\0{part}" for cluster, part in zip(clusters, parts, strict=True)]
    effective = min(effective_number(values, clusters), effective_number(values, places))
    weighted = sorted(zip(values, _weights(clusters, places), strict=True))
    tail = (1.0 - level) / 2.0
    middle = (_quantile(weighted, 0.5) + _upper_quantile(weighted, 0.5)) / 2.0
    factor = stretch(effective, level)
    low = middle - factor * (middle - _upper_quantile(weighted, tail))
    high = middle + factor * (_quantile(weighted, 1.0 - tail) - middle)
    return Spread(low, high, len(values), number, effective)


def effective_number(values: Sequence[float], clusters: Sequence[str]) -> float:
    """Return as how many independent values some clusters of values count, from their number to that of the values."""
    members: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        members.setdefault(cluster, []).append(value)
    total, number = len(values), len(members)
    if number in (1, total):
        return float(number)
    sizes = [len(own) for own in members.values()]
    squares = sum(size * size for size in sizes)
    own_means, overall = {name: mean(own) for name, own in members.items()}, mean(values)
    between = math.fsum(len(own) * (own_means[name] - overall) ** 2 for name, own in members.items()) / (number - 1)
    apart = (value - own_means[name] for name, own in members.items() for value in own)
    within = math.fsum(difference * difference for difference in apart) / (total - number)
    shared = max(0.0, (between - within) / ((total - squares / total) / (number - 1)))
    correlation = shared / (shared + within) if shared else 0.0
    return min(float(total), max(float(number), total / (1.0 + (squares / total - 1.0) * correlation)))


def stretch(number: float, level: float) -> float:
    """Return how much wider an interval for the next of `number` values is than if mean and variance were known."""
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    return student_t(number - 1.0, 0.5 + level / 2.0) * math.sqrt((number + 1.0) / (number - 1.0)) / z


def student_t(freedom: float, probability: float) -> float:
    """Return the quantile of Student's t distribution for two or more degrees of freedom, whole or not.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5; within 0.3 % of the tables at 95 %.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))


def _weights(clusters: Sequence[str], places: Sequence[str]) -> list[float]:
    """Return the weight of every value: one for all, the same for clusters, for parts of one, for values of a part."""
    parts = Counter(cluster for cluster, _ in set(zip(clusters, places, strict=True)))
    sizes = Counter(places)
    shares = zip(clusters, places, strict=True)
    return [1.0 / (len(parts) * parts[cluster] * sizes[place]) for cluster, place in shares]


def _quantile(weighted: Sequence[tuple[float, float]], share: float) -> float:
    """Return the smallest value with at least `share` of the weight at or below it."""
    reached = 0.0
    for value, weight in weighted:
        reached += weight
        if reached >= share - TIE:
            return value
    return weighted[-1][0]


def _upper_quantile(weighted: Sequence[tuple[float, float]], share: float) -> float:
    """Return the largest value with at least `1 - share` of the weight at or above it."""
    return -_quantile([(-value, weight) for value, weight in reversed(weighted)], 1.0 - share)
