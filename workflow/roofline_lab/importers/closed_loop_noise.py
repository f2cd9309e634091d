"""What points that a closed-loop table measured twice say of the scatter of one measurement.

Contract: `noise_of` takes the nearest group of points with enough pairs: the server's own, those of its model, GPU and
precision, else all of the table; its `basis` says which. Only pairs of the same version and flags count. A pair has
the standard deviation |a - b| / sqrt 2 over its mean; of several the median counts, which no single odd point moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import median
from typing import Any, NamedTuple, Protocol

# A median of fewer pairs is the luck of one.
LEAST_PAIRS = 3
# How the class of a repeat begins whose two measurements differ in nothing that matters.
SAME = ("identical version", "same version")


class Repeated(Protocol):
    """A point with what the table says of its repeat: |a - b| over the mean of both, by metric."""

    model_hf_id: str
    system: str
    precision: str
    outlier: str
    repeat_class: str
    repeat_ttft_rel: float | None
    repeat_tpot_rel: float | None

    @property
    def configuration(self) -> tuple[object, ...]:
        """What two measurements of a pair have in common."""


class _Pair(NamedTuple):
    ttft: float
    tpot: float


def noise_of(points: Sequence[Repeated], table: Iterable[Repeated]) -> dict[str, Any] | None:
    """Return the scatter of a server's points as the format writes it; None where too little was repeated.

    Parameters
    ----------
    table
        All points of the table.
    """
    everything, first = list(table), points[0]
    cell = [each for each in everything if _cell(each) == _cell(first)]
    groups: dict[str, Sequence[Repeated]] = {
        "this server": points,
        "servers of this model, GPU and precision": cell,
        "all servers of the table": everything,
    }
    for words, members in groups.items():
        pairs = _pairs(members)
        if len(pairs) >= LEAST_PAIRS:
            return _described(words, pairs)
    return None


def _cell(point: Repeated) -> tuple[str, str, str]:
    return point.model_hf_id, point.system, point.precision


def _pairs(points: Iterable[Repeated]) -> list[_Pair]:
    """Return one pair per configuration that was repeated, none where one of the two is an outlier."""
    found: dict[tuple[object, ...], _Pair] = {}
    odd = set()
    for point in points:
        if point.outlier == "1":
            odd.add(point.configuration)
        if point.repeat_class.startswith(SAME) and point.repeat_ttft_rel is not None:
            found[point.configuration] = _Pair(point.repeat_ttft_rel, point.repeat_tpot_rel or 0.0)
    return [pair for configuration, pair in found.items() if configuration not in odd]


def _described(words: str, pairs: Sequence[_Pair]) -> dict[str, Any]:
    scatter = {
        f"{metric}_mean": round(median(getattr(pair, metric) for pair in pairs) / sqrt(2), 5)
        for metric in _Pair._fields
    }
    return {
        "relative_sd": {name: value for name, value in scatter.items() if value > 0},
        "pairs": len(pairs),
        "basis": f"Median over the pairs of measurements of {words} that agree in version and flags, prefix caching "
        "aside: their difference over their mean, divided by sqrt 2.",
    }
