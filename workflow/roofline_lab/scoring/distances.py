"""How far two samples of latencies lie apart as distributions, not only in their means.

Contract: pure functions of two non-empty samples in one unit; the order of values does not matter.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from roofline_lab.scoring.errors import relative_difference
from simulator.metrics import percentile

# Ranks at which quantiles are compared, percent: every whole one but the extremes, which are single requests.
RANKS = range(1, 100)


def kolmogorov_smirnov(sequence: Sequence[float], other: Sequence[float]) -> float:
    """Return the largest difference of the two empirical distribution functions, from 0 to 1."""
    left, right = sorted(sequence), sorted(other)
    return max(abs(bisect_right(left, at) / len(left) - bisect_right(right, at) / len(right)) for at in left + right)


def wasserstein(sequence: Sequence[float], other: Sequence[float]) -> float:
    """Return the area between the two empirical distribution functions, in the samples' unit.

    For samples of one size it is the mean difference of values of one rank: how far a latency has to be moved, on
    average, to turn one distribution into the other (the Wasserstein distance of order 1).
    """
    left, right = sorted(sequence), sorted(other)
    return math.fsum(
        abs(bisect_right(left, at) / len(left) - bisect_right(right, at) / len(right)) * (later - at)
        for at, later in pairwise(sorted(left + right))
    )


def quantile_difference(predicted: Sequence[float], measured: Sequence[float]) -> float:
    """Return the mean over ranks of |predicted - measured quantile| / measured quantile."""
    ordered, reference = sorted(predicted), sorted(measured)
    gaps = []
    for rank in RANKS:
        expected = percentile(reference, rank) or math.nan
        gaps.append(abs(relative_difference(percentile(ordered, rank) or 0.0, expected)))
    return math.fsum(gaps) / len(gaps)
