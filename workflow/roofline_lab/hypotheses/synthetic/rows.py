"""Rows of a synthetic hypothesis: one per point, with the columns worked out of what the arms found.

Pure. A point that an arm could not price keeps its row, with a reason and without columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roofline_lab.hypotheses.expressions import formula

Scalar = int | float | str


@dataclass(frozen=True, slots=True)
class Row:
    """One point of one sweep under one choice of kernels.

    Attributes
    ----------
    key
        Unique name, starting with the sweep.
    axes
        Axis and case values.
    cells
        Column values; None where the column is not of this sweep or was not measured.
    reason
        Why there are no values, or empty.
    """

    sweep: str
    key: str
    label: str
    axes: Mapping[str, Scalar]
    cells: Mapping[str, float | None]
    reason: str = ""

    def has(self, name: str) -> bool:
        """Whether there is a cell or an axis value of this name."""
        return self.cells.get(name) is not None or name in self.axes

    def value(self, name: str) -> Any:
        """Return a cell or an axis value by name."""
        return self.cells[name] if name in self.cells else self.axes[name]


class RowTable:
    """All rows of one choice of kernels, in the order of the sweeps."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)
        self._by_key = {row.key: row for row in self.rows}
        self._by_sweep: dict[str, list[Row]] = {}
        for row in self.rows:
            self._by_sweep.setdefault(row.sweep, []).append(row)
        self._selected: dict[tuple[object, ...], tuple[Row, ...]] = {}

    def row(self, key: str) -> Row | None:
        """Return one row, or None."""
        return self._by_key.get(key)

    def of_sweep(self, sweep: str) -> tuple[Row, ...]:
        """Return the rows of one sweep."""
        return tuple(self._by_sweep.get(sweep, ()))

    def select(self, columns: Sequence[str], sweeps: Sequence[str] = (), where: str | None = None) -> tuple[Row, ...]:
        """Return the rows that have a number in every one of `columns` and satisfy `where`."""
        asked = (tuple(columns), tuple(sweeps), where)
        if asked not in self._selected:
            self._selected[asked] = tuple(self._select(columns, sweeps or tuple(self._by_sweep), where))
        return self._selected[asked]

    def _select(self, columns: Sequence[str], sweeps: Sequence[str], where: str | None) -> Iterator[Row]:
        condition = formula(where) if where is not None else None
        for row in self.rows if len(sweeps) == len(self._by_sweep) else self._in(sweeps):
            if any(row.cells.get(name) is None for name in columns):
                continue
            # A name that a row's sweep does not have excludes the row: the condition is not about it.
            if condition is None or (all(row.has(name) for name in condition.names) and condition(row.value)):
                yield row

    def _in(self, sweeps: Sequence[str]) -> Iterator[Row]:
        return (row for name, rows in self._by_sweep.items() if name in sweeps for row in rows)

    def unmeasured(self) -> tuple[Row, ...]:
        """Return the rows an arm could not price."""
        return tuple(row for row in self.rows if row.reason)


def sequences(rows: Iterable[Row], along: str | None) -> Iterator[list[Row]]:
    """Group rows into sequences: per sweep, and per value of every axis but `along`.

    Without `along` a sweep is one sequence, in the order of its points.
    """
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        others = () if along is None else tuple(item for item in row.axes.items() if item[0] != along)
        found.setdefault((row.sweep, *others), []).append(row)
    yield from found.values()
