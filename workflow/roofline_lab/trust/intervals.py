"""Intervals of predictions from held-out residuals, by how far a deployment is from what was fitted to.

Contract: pure. A `Validation` is what was held out of one calibration; its `band` is the interval of a figure at a
reach, as factors of the prediction between which the measured value lies with probability `LEVEL`, or the reason why
there is none.

* A residual is log(predicted / measured). A row counts at the reach it had from what remained in the fit without its
  fold (`reach_of`), so that a cell that is left out may be near or outside, whatever its fold is called.
* Rows speak for a kind of model if one of them is of it: dense models say nothing of how far experts are off.
* Cells weigh the same, and in them server configurations (`roofline_lab.scoring.conformal`).
* Uncertainty never shrinks with distance: an interval holds those of every lesser reach. A reach at which too few cells
  were held out takes the next wider one that has enough; where none has, there is no interval.
* An interval always holds the prediction itself.
* `less` leaves out what a prediction is tested by: what was measured must make neither its distance nor its interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_

from roofline_lab.scoring.conformal import FEWEST_CLUSTERS, held_out_spread
from roofline_lab.trust.distance import KIND_WORDS, Cell, Reach, Run, Seen, reach_of, seen_in
from roofline_lab.trust.held_out import Fold, HeldOut, figure_of, with_e2e

LEVEL = 0.9


@dataclass(frozen=True, slots=True)
class Band:
    """Between which multiples of a prediction the measured value lies.

    Attributes
    ----------
    low, high
        Factors of the prediction; `low` is at most 1, `high` at least 1.
    made_at
        The reach whose held-out rows the widest of it comes from: that of the prediction, or the next wider one that
        has enough cells.
    cells, rows
        How much was held out there.
    """

    low: float
    high: float
    made_at: Reach
    cells: int
    rows: int

    @property
    def width(self) -> float:
        """From end to end, as a fraction of the prediction."""
        return self.high - self.low

    def of(self, predicted: float) -> tuple[float, float]:
        """Return the ends in the unit of a prediction."""
        return self.low * predicted, self.high * predicted

    def holds(self, predicted: float, measured: float) -> bool:
        """Whether a measured value lies inside the interval of its prediction, ends included."""
        low, high = self.of(predicted)
        return low <= measured <= high

    def __or__(self, other: Band) -> Band:
        """Return the interval that holds both; it says of itself what the other one says."""
        return Band(min(self.low, other.low), max(self.high, other.high), other.made_at, other.cells, other.rows)


@dataclass(frozen=True, slots=True)
class NoBand:
    """Why a prediction has no interval."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tested:
    """A held-out row that has a residual, with its reach from what remained in its fit."""

    row: HeldOut
    reach: Reach
    residual: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A load point that was fitted to."""

    experiment: str
    run: Run


@dataclass(frozen=True)
class Validation:
    """What was held out of one calibration, and what all of it was fitted to."""

    name: str
    tested: tuple[Tested, ...]
    measured: frozenset[Measured]

    @cached_property
    def seen(self) -> Seen:
        """Cells that were fitted to, and what was measured on them."""
        return seen_in(point.run for point in self.measured)

    @cached_property
    def figures(self) -> tuple[str, ...]:
        """Figures that were held out."""
        return tuple(sorted({one.row.figure for one in self.tested}))

    @cached_property
    def _bands(self) -> dict[tuple[str, str], Mapping[Reach, Band | NoBand]]:
        """Intervals by figure and kind of model, each worked out when it is first asked for."""
        return {}

    def band(self, metric: str, reach: Reach, kind: str = "") -> Band | NoBand:
        """Return the interval of a metric at a reach; of any kind of model where none is named."""
        figure = figure_of(metric)
        if figure not in self.figures:
            return NoBand(f"no {figure} was held out")
        if (figure, kind) not in self._bands:
            self._bands[figure, kind] = _by_reach([one for one in self.tested if one.row.figure == figure], kind)
        return self._bands[figure, kind][reach]

    def distance(self, run: Run) -> tuple[Reach, tuple[str, ...]]:
        """Return how far a run is from what was fitted to, and why."""
        return reach_of(run, self.seen)

    def less(self, fold: Fold, cell: Cell) -> Validation:
        """Return what is left without everything that a fold leaves out together with a cell."""
        key, left_out = LEFT_OUT[fold], LEFT_OUT[fold](cell, "")
        if (fold, left_out) not in self._rests:
            self._rests[fold, left_out] = Validation(
                self.name,
                tuple(one for one in self.tested if key(one.row.cell, one.row.experiment) != left_out),
                frozenset(point for point in self.measured if key(point.run.cell, point.experiment) != left_out),
            )
        return self._rests[fold, left_out]

    @cached_property
    def _rests(self) -> dict[tuple[Fold, object], Validation]:
        """What is left by what is left out: all predictions of a model ask for the same, and bands take time."""
        return {}


# What a fold leaves out of the fit: everything that has the same of this, of a cell and an experiment.
LEFT_OUT: Mapping[Fold, Callable[[Cell, str], object]] = {
    "configuration": lambda cell, experiment: experiment,
    "model": lambda cell, experiment: cell.model,
    "cell": lambda cell, experiment: cell,
    "gpu": lambda cell, experiment: cell.hardware,
    "kind": lambda cell, experiment: cell.kind,
}


def validation_of(name: str, rows: Iterable[HeldOut]) -> Validation:
    """Return what held-out rows say of a calibration; their order does not matter."""
    found = with_e2e(rows)
    measured = frozenset(Measured(row.experiment, row.run) for row in found if not row.saturated)
    remaining: dict[tuple[Fold, object], Seen] = {}
    tested = []
    for row in found:
        key = (row.fold, LEFT_OUT[row.fold](row.cell, row.experiment))
        if key not in remaining:
            remaining[key] = _seen_without(measured, *key)
        if row.residual is not None:
            tested.append(Tested(row, reach_of(row.run, remaining[key])[0], row.residual))
    return Validation(name, tuple(tested), measured)


def _seen_without(measured: Iterable[Measured], fold: Fold, left_out: object) -> Seen:
    key = LEFT_OUT[fold]
    return seen_in(point.run for point in measured if key(point.run.cell, point.experiment) != left_out)


def _by_reach(tested: Iterable[Tested], kind: str) -> dict[Reach, Band | NoBand]:
    """Return the intervals of one figure, each as wide as those of every lesser reach."""
    found = list(tested)
    rows = {reach: [one for one in found if one.reach is reach] for reach in Reach}
    own = {
        reach: band
        for reach in Reach
        if _speaks_for(kind, reach, rows[reach]) and (band := _own(reach, rows[reach])) is not None
    }
    bands: dict[Reach, Band | NoBand] = {}
    for reach in Reach:
        wider = next((own[each] for each in Reach if each >= reach and each in own), None)
        lesser = [own[each] for each in Reach if each < reach and each in own]
        bands[reach] = NoBand(_too_few(rows[reach])) if wider is None else reduce(or_, [*lesser, wider])
    return bands


def _speaks_for(kind: str, reach: Reach, rows: Iterable[Tested]) -> bool:
    """Whether rows say anything of a kind of model: one of it is among them, or it is what was never fitted to."""
    return not kind or reach is Reach.UNSEEN or any(one.row.kind == kind for one in rows)


def _own(reach: Reach, rows: Sequence[Tested]) -> Band | None:
    """Return the interval of the rows of one reach alone; None where they are of too few cells."""
    cells, servers = [str(one.row.cell) for one in rows], [one.row.experiment for one in rows]
    spread = held_out_spread([one.residual for one in rows], cells, servers, LEVEL)
    if spread is None:
        return None
    low, high = min(1.0, math.exp(-spread.high)), max(1.0, math.exp(-spread.low))
    return Band(low, high, reach, spread.clusters, spread.values)


def _too_few(rows: Iterable[Tested]) -> str:
    cells = {one.row.cell for one in rows}
    kinds = " and ".join(sorted({KIND_WORDS[cell.kind] for cell in cells})) or "none"
    return f"cells held out as far away: {len(cells)} ({kinds}); an interval needs {FEWEST_CLUSTERS}, one of its kind"
