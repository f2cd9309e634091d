"""The one percentile definition of this package."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return a percentile of sorted values, with linear interpolation between neighbours.

    Parameters
    ----------
    ordered
        At least one value, ascending.
    share
        Rank as a share of the way from the first to the last value, 0 to 1.
    """
    rank = share * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)
