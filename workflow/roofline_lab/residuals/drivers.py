"""What signed residuals go with: drivers of a load point, rank correlations, and means by group.

Contract: pure and descriptive; residuals are negative where a prediction is too fast. A driver that does not vary, or
is known for too few load points, has no correlation. Groups are the driver's values where there are few, else thirds
of its distinct values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from roofline_lab.residuals.record import Residual, scored
from roofline_lab.scoring.errors import PERCENT, mean

# Fewest load points of which ranks say anything.
MIN_POINTS = 4
# Distinct values that are still shown one by one.
MAX_VALUES = 4
GROUPS = 3
SHOWN_DIGITS = 3
# From here on values are whole numbers.
WHOLE_ABOVE = 100.0
KILO = 1000.0


@dataclass(frozen=True, slots=True)
class Driver:
    """A property of a load point that a residual may go with."""

    name: str
    label: str
    unit: str
    value: Callable[[Residual], float | None]

    @property
    def title(self) -> str:
        """Label with its unit."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


DRIVERS: tuple[Driver, ...] = (
    Driver("layers", "layers", "", lambda residual: float(residual.layers)),
    Driver("tensor_parallel", "TP", "GPUs", lambda residual: float(residual.tensor_parallel)),
    Driver("prompt", "prompt length", "tokens", lambda residual: residual.prompt_tokens),
    Driver("batch", "batch in decode steps", "requests", lambda residual: residual.batch),
    Driver(
        "kv",
        "KV in a step",
        "1000 tokens",
        lambda residual: None if residual.kv_tokens is None else residual.kv_tokens / KILO,
    ),
    Driver("load", "load", "requests/s", lambda residual: residual.rate_per_s),
)


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's rank correlation of a residual with a driver over `points` load points; None where undefined."""

    value: float | None
    points: int


@dataclass(frozen=True, slots=True)
class Group:
    """Load points with similar values of a driver: how many, and their mean signed residual in percent by metric."""

    label: str
    points: int
    mean_pct: dict[str, float | None]


def pairs(residuals: Sequence[Residual], driver: Driver, metric: str) -> list[tuple[float, float]]:
    """Return (driver, signed residual in percent) of every load point that has both."""
    found = [(driver.value(one), one.figure(metric).relative * PERCENT) for one in scored(residuals, metric)]
    return [(value, residual) for value, residual in found if value is not None]


def varies(residuals: Sequence[Residual], driver: Driver) -> bool:
    """Whether a driver has two or more values among the load points."""
    return len({_shown(value) for residual in residuals if (value := driver.value(residual)) is not None}) > 1


def correlation(residuals: Sequence[Residual], driver: Driver, metric: str) -> Correlation:
    """Return how far the residual rises with a driver."""
    found = pairs(residuals, driver, metric)
    return Correlation(spearman(found) if len(found) >= MIN_POINTS else None, len(found))


def spearman(found: Sequence[tuple[float, float]]) -> float | None:
    """Return the correlation of ranks, equal values sharing their mean rank; None where one side is constant."""
    first, second = ranks([one for one, _ in found]), ranks([other for _, other in found])
    middle = (len(found) + 1) / 2
    together = math.fsum((one - middle) * (other - middle) for one, other in zip(first, second, strict=True))
    spread = math.fsum((one - middle) ** 2 for one in first) * math.fsum((other - middle) ** 2 for other in second)
    return together / math.sqrt(spread) if spread > 0.0 else None


def ranks(values: Sequence[float]) -> list[float]:
    """Return ranks from 1, the mean of their places for equal values."""
    places: dict[float, list[int]] = {}
    for place, value in enumerate(sorted(values), start=1):
        places.setdefault(value, []).append(place)
    return [sum(places[value]) / len(places[value]) for value in values]


def groups(residuals: Sequence[Residual], driver: Driver, metrics: Sequence[str]) -> tuple[Group, ...]:
    """Return mean signed residuals by value of a driver; empty where it does not vary."""
    known = [(_shown(value), residual) for residual in residuals if (value := driver.value(residual)) is not None]
    distinct = sorted({value for value, _ in known})
    if len(distinct) < 2:
        return ()
    found = []
    for low, high in _bounds(distinct):
        members = [residual for value, residual in known if low <= value <= high]
        label = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        means = {metric: _mean_pct(members, metric) for metric in metrics}
        found.append(Group(label, len(members), means))
    return tuple(found)


def _shown(value: float) -> float:
    """Return a value as it is printed, so that what looks the same is one group."""
    return float(round(value)) if abs(value) >= WHOLE_ABOVE else float(f"{value:.{SHOWN_DIGITS}g}")


def _bounds(distinct: Sequence[float]) -> list[tuple[float, float]]:
    if len(distinct) <= MAX_VALUES:
        return [(value, value) for value in distinct]
    edges = [round(len(distinct) * part / GROUPS) for part in range(GROUPS + 1)]
    return [(distinct[low], distinct[high - 1]) for low, high in pairwise(edges)]


def _mean_pct(members: Sequence[Residual], metric: str) -> float | None:
    values = [residual.figure(metric).relative for residual in scored(members, metric)]
    return mean(values) * PERCENT if values else None
