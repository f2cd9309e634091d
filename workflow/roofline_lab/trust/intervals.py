"""Intervals of predictions from held-out residuals, by how far a deployment is from what was fitted to.

Contract: pure. A `Validation` is what was held out of one calibration; its `band` is the interval of a figure at a
reach, as factors of the prediction between which the measured value lies with probability `LEVEL`, or the reason why
there is none.

* A residual is log(predicted / measured). A row counts at the reach it had from what remained in the fit without its
  fold (`reach_of`), so that a cell that is left out may be near or outside, whatever its fold is called.
* A cell that was fitted to has an interval of its own, from its servers that were held out. Farther away, cells weigh
  the same, and in them servers (`roofline_lab.scoring.conformal`).
* Rows speak for a kind of model if one of them is of it: dense models say nothing of how far experts are off.
* Uncertainty never shrinks with distance: an interval holds those of every lesser reach, and those of all cells of its
  kind. A reach at which too few cells were held out takes the next wider one that has enough; where none has, there is
  no interval.
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
from roofline_lab.trust.held_out import Fold, HeldOut, figure_of, with_e2e
from simulator.trust.distance import KIND_WORDS, Cell, Reach, Run, Seen, reach_of, reach_of_cell, seen_in
from simulator.trust.intervals import LEVEL, Band, NoBand


@dataclass(frozen=True, slots=True)
class Tested:
    """A held-out row that has a residual, with its reach from what remained in its fit.

    Attributes
    ----------
    cell, figure
        Those of the row, which is asked for them many times.
    """

    row: HeldOut
    cell: Cell
    figure: str
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
        return tuple(sorted({one.figure for one in self.tested}))

    @cached_property
    def _rows(self) -> Mapping[tuple[str, Reach], Sequence[Tested]]:
        """Rows by figure and reach."""
        found: dict[tuple[str, Reach], list[Tested]] = {(name, reach): [] for name in self.figures for reach in Reach}
        for one in self.tested:
            found[one.figure, one.reach].append(one)
        return found

    @cached_property
    def _bands(self) -> dict[tuple[str, str], Mapping[Reach, Band | NoBand]]:
        """Intervals by figure and kind of model, at every reach; worked out when they are first asked for."""
        return {}

    @cached_property
    def _own(self) -> dict[tuple[str, Cell], Band | None]:
        """Intervals of cells that were fitted to, by figure."""
        return {}

    def band(self, metric: str, reach: Reach, cell: Cell) -> Band | NoBand:
        """Return the interval of a metric of a cell at a reach."""
        figure = figure_of(metric)
        if figure not in self.figures:
            return NoBand(f"no {figure} was held out")
        own = self.own_band(figure, cell) if reach is Reach.CELL else None
        if own is None and (figure, cell.kind) not in self._bands:
            self._bands[figure, cell.kind] = self._at_every_reach(figure, cell.kind)
        return own or self._bands[figure, cell.kind][reach]

    def own_band(self, figure: str, cell: Cell) -> Band | None:
        """Return the interval of a cell that was fitted to; None where too few servers of it were held out."""
        if (figure, cell) not in self._own:
            rows = [one for one in self._rows[figure, Reach.CELL] if one.cell == cell]
            self._own[figure, cell] = _band(Reach.CELL, rows, _server_of)
        return self._own[figure, cell]

    def _at_every_reach(self, figure: str, kind: str) -> dict[Reach, Band | NoBand]:
        """Return the intervals of a kind of model, each as wide as those of every lesser reach."""
        rows = {reach: self._rows[figure, reach] for reach in Reach}
        known = {reach: _band(reach, rows[reach], _cell_of) for reach in Reach if _speaks_for(kind, reach, rows[reach])}
        pooled = {reach: band for reach, band in known.items() if band is not None}
        cells = sorted({one.cell for one in rows[Reach.CELL] if one.cell.kind == kind})
        own = [band for cell in cells if (band := self.own_band(figure, cell)) is not None]
        found: dict[Reach, Band | NoBand] = {}
        for reach in Reach:
            wider = next((pooled[each] for each in Reach if each >= reach and each in pooled), None)
            lesser = [pooled[each] for each in Reach if each < reach and each in pooled]
            lesser += own if reach > Reach.CELL else []
            found[reach] = NoBand(_too_few(rows[reach])) if wider is None else reduce(or_, [*lesser, wider])
        return found

    def band_of_deployment(self, metric: str, cells: Iterable[Cell]) -> Band | NoBand:
        """Return the interval that holds those of some cells, each as far away as what was fitted to makes it."""
        found = [self.band(metric, reach_of_cell(cell, self.seen.cells)[0], cell) for cell in cells]
        bands = [band for band in found if isinstance(band, Band)]
        return reduce(or_, bands) if bands else found[0]

    def distance(self, run: Run) -> tuple[Reach, tuple[str, ...]]:
        """Return how far a run is from what was fitted to, and why."""
        return reach_of(run, self.seen)

    def less(self, fold: Fold, cell: Cell, experiment: str = "") -> Validation:
        """Return what is left without everything that a fold leaves out with a cell, or with an experiment on it."""
        key, left_out = LEFT_OUT[fold], LEFT_OUT[fold](cell, experiment)
        if (fold, left_out) not in self._rests:
            self._rests[fold, left_out] = Validation(
                self.name,
                tuple(one for one in self.tested if key(one.cell, one.row.experiment) != left_out),
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
            tested.append(Tested(row, row.cell, row.figure, reach_of(row.run, remaining[key])[0], row.residual))
    return Validation(name, tuple(tested), measured)


def _seen_without(measured: Iterable[Measured], fold: Fold, left_out: object) -> Seen:
    key = LEFT_OUT[fold]
    return seen_in(point.run for point in measured if key(point.run.cell, point.experiment) != left_out)


def _speaks_for(kind: str, reach: Reach, rows: Iterable[Tested]) -> bool:
    """Whether rows say anything of a kind of model: one of it is among them, or it is what was never fitted to."""
    return reach is Reach.UNSEEN or any(one.cell.kind == kind for one in rows)


def _cell_of(one: Tested) -> str:
    return str(one.cell)


def _server_of(one: Tested) -> str:
    return one.row.experiment


def _band(reach: Reach, rows: Sequence[Tested], cluster_of: Callable[[Tested], str]) -> Band | None:
    """Return the interval of some rows alone; None where they are of too few clusters."""
    clusters, servers = [cluster_of(one) for one in rows], [_server_of(one) for one in rows]
    spread = held_out_spread([one.residual for one in rows], clusters, servers, LEVEL)
    if spread is None:
        return None
    low, high = min(1.0, math.exp(-spread.high)), max(1.0, math.exp(-spread.low))
    return Band(low, high, reach, spread.clusters, spread.values)


def _too_few(rows: Iterable[Tested]) -> str:
    cells = {one.cell for one in rows}
    kinds = " and ".join(sorted({KIND_WORDS[cell.kind] for cell in cells})) or "none"
    return f"cells held out as far away: {len(cells)} ({kinds}); an interval needs {FEWEST_CLUSTERS}, one of its kind"
