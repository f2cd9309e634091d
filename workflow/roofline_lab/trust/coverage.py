"""Whether intervals hold what they promise: the share of measured values inside, and how wide they are.

Contract: pure. `held_out_hits` tests every held-out row with an interval made without it: of a cell that was fitted to
from its other servers, farther away from the rows of all other cells. `tally` counts any group of such tests. A group
passes if its share lies in `WANTED`; of a small group chance alone decides, so a page shows how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from roofline_lab.scoring.statistics import median
from roofline_lab.trust.held_out import Fold, HeldOut
from roofline_lab.trust.intervals import Tested, Validation
from simulator.trust.distance import Cell, Reach
from simulator.trust.intervals import Band

# Share of measured values inside intervals of 90 % that a calibration has to reach on what was held out.
WANTED = (0.85, 0.95)
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Hit:
    """One measured value beside the interval of its prediction.

    Attributes
    ----------
    where
        What its load point shares with others that miss together: its cell.
    """

    figure: str
    reach: Reach
    where: str
    inside: bool
    width: float


@dataclass(frozen=True, slots=True)
class HeldOutHit(Hit):
    """The same of a held-out row."""

    cell: Cell
    row: HeldOut


@dataclass(frozen=True, slots=True)
class Tally:
    """How often intervals of a group hold the measured value, and how wide they are at the median.

    Attributes
    ----------
    width
        From end to end, as a fraction of the prediction.
    """

    points: int
    inside: int
    cells: int
    width: float

    @property
    def share(self) -> float:
        """Of measured values inside, from 0 to 1."""
        return self.inside / self.points

    @property
    def holds(self) -> bool:
        """Whether the share is in the range that intervals of 90 % have to reach."""
        return WANTED[0] <= self.share <= WANTED[1]


def tally(hits: Sequence[Hit]) -> Tally:
    """Count some tests, at least one."""
    inside = sum(hit.inside for hit in hits)
    return Tally(len(hits), inside, len({hit.where for hit in hits}), median([hit.width for hit in hits]))


def tallies(hits: Iterable[Hit], key: Callable[[Hit], Key]) -> dict[Key, Tally]:
    """Count tests by group, groups in the order of their first test."""
    groups: dict[Key, list[Hit]] = {}
    for hit in hits:
        groups.setdefault(key(hit), []).append(hit)
    return {name: tally(own) for name, own in groups.items()}


def held_out_hits(validation: Validation) -> tuple[HeldOutHit, ...]:
    """Return a test of every held-out row for which others give an interval, sorted by cell, reach and server."""
    found = (_hit(validation, one) for one in sorted(validation.tested, key=_place))
    return tuple(hit for hit in found if hit is not None)


def _place(one: Tested) -> tuple[Cell, Reach, str]:
    return (one.cell, one.reach, one.row.experiment)


def _hit(validation: Validation, one: Tested) -> HeldOutHit | None:
    row, cell = one.row, one.cell
    fold: Fold = "configuration" if one.reach is Reach.CELL else "cell"
    band = validation.less(fold, cell, row.experiment).band(one.figure, one.reach, cell)
    if not isinstance(band, Band):
        return None
    inside = band.holds(row.predicted_ms or 0.0, row.measured_ms or 0.0)
    return HeldOutHit(
        one.figure, one.reach, f"{cell.model} {cell.hardware} {cell.precision}", inside, band.width, cell, row
    )
