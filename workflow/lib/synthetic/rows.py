"""Rows of a synthetic hypothesis: one per point, with the columns worked out of what the arms found.

Pure. A point that an arm could not price keeps its row, with a reason and without columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflow.lib.synthetic.expressions import formula

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

    def row(self, key: str) -> Row | None:
        """Return one row, or None."""
        return self._by_key.get(key)

    def of_sweep(self, sweep: str) -> tuple[Row, ...]:
        """Return the rows of one sweep."""
        return tuple(row for row in self.rows if row.sweep == sweep)

    def select(self, columns: Sequence[str], sweeps: Sequence[str] = (), where: str | None = None) -> tuple[Row, ...]:
        """Return the rows that have a number in every one of `columns` and satisfy `where`."""
        chosen = [
            row
            for row in self.rows
            if (not sweeps or row.sweep in sweeps) and all(row.cells.get(name) is not None for name in columns)
        ]
        if where is None:
            return tuple(chosen)
        condition = formula(where)
        # A name that a row's sweep does not have excludes the row: the condition is not about it.
        concerned = (row for row in chosen if all(row.has(name) for name in condition.names))
        return tuple(row for row in concerned if condition(row.value))

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
