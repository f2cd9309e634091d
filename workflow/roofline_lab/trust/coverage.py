"""Whether intervals hold what they promise: the share of measured values inside, and how wide they are.

Contract: pure. `held_out_hits` tests every held-out row with the interval made from the rows of all other cells, of
whatever kind, so that no cell is in an interval it is tested by; `tally` counts any group of such tests. A group passes
if its share lies in `WANTED`; of a small group chance alone decides, so a page shows how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from roofline_lab.scoring.statistics import median
from roofline_lab.trust.distance import Cell, Reach
from roofline_lab.trust.held_out import HeldOut
from roofline_lab.trust.intervals import Band, Validation

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
    """Return a test of every held-out row for which the other cells give an interval, sorted by cell."""
    cells = sorted({one.row.cell for one in validation.tested})
    return tuple(hit for cell in cells for hit in _hits(validation, cell))


def _hits(validation: Validation, cell: Cell) -> Iterable[HeldOutHit]:
    others = validation.less("cell", cell)
    for one in validation.tested:
        band = others.band(one.row.figure, one.reach) if one.row.cell == cell else None
        if isinstance(band, Band):
            inside = band.holds(one.row.predicted_ms or 0.0, one.row.measured_ms or 0.0)
            where = " ".join((cell.model, cell.hardware, cell.precision))
            yield HeldOutHit(one.row.figure, one.reach, where, inside, band.width, one.row)
