"""The highest load that still meets something, by large steps and bisection.

Contract: `highest` asks `meets` at few loads, and at the same ones whatever their answers cost. What it finds is right
where meeting is lost once and for good as the load grows; of several crossings it finds one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

STEP = 4.0
# From the lightest load on: a million million times as much.
MOST_STEPS = 20


@dataclass(frozen=True, slots=True)
class Highest:
    """Between which loads the last one lies that meets.

    Attributes
    ----------
    meets
        The highest load found to meet; None where not even the lightest one does.
    fails
        The lowest load above it found not to; None where there is no end to it.
    """

    meets: float | None
    fails: float | None


def highest(
    meets: Callable[[float], bool],
    lightest: float,
    *,
    tolerance: float,
    whole: bool = False,
    most: float | None = None,
    step: float = STEP,
    first: float | None = None,
) -> Highest:
    """Return the highest load that meets.

    Parameters
    ----------
    meets
        Whether a load does.
    lightest
        Where to begin, above 0.
    tolerance
        How far apart the two ends may stay, relative to the lower one.
    whole
        Whether loads are whole numbers; the two ends are then neighbours, or within `tolerance`.
    most
        The largest load to be asked for.
    step
        Factor between the loads of the first look.
    first
        Where the first look begins, above the lightest load; None: a step from it.
    """
    if not meets(lightest):
        return Highest(None, lightest)
    low, high = _bracket(meets, lightest, most, step, whole=whole, first=first)
    while high is not None and high / low > 1 + tolerance and not (whole and high - low <= 1):
        between = round((low * high) ** 0.5) if whole else (low * high) ** 0.5
        between = min(max(between, low + 1), high - 1) if whole else between
        low, high = (between, high) if meets(between) else (low, between)
    return Highest(low, high)


def _bracket(
    meets: Callable[[float], bool],
    lightest: float,
    most: float | None,
    step: float,
    *,
    whole: bool,
    first: float | None,
) -> tuple[float, float | None]:
    low, next_one = lightest, first
    for _ in range(MOST_STEPS):
        if most is not None and low >= most:
            return low, None
        further = next_one or (max(low + 1, round(low * step)) if whole else low * step)
        higher, next_one = (further if most is None else min(further, most)), None
        if not meets(higher):
            return low, higher
        low = higher
    return low, None
