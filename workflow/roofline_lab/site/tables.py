"""Tables of the site that filter, sort and plot themselves: what they hold, as a script beside their page.

Contract: a browser loads no JSON from a file, so a table's data are a script that calls `lab.push`. Columns are stored
one by one, words as numbers into a list of the words that occur.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Cell = str | float | int | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes
    ----------
    key
        Its name in links to a selection.
    title
        With the unit.
    numbers
        Whether it holds numbers, None where there is none; else words.
    filters
        Whether a list of its words selects rows.
    link
        Where a cell leads: `{}` stands for the word of the same row in the column `link_by`.
    hidden
        Holds what others link by or plots show, and is not shown itself.
    """

    key: str
    title: str
    cells: Sequence[Cell]
    numbers: bool = False
    filters: bool = False
    decimals: int | None = None
    link: str = ""
    link_by: str = ""
    hidden: bool = False

    def data(self) -> dict[str, Any]:
        """Return the column as its script states it."""
        told: dict[str, Any] = {"key": self.key, "title": self.title}
        told |= {name: True for name in ("filters", "hidden") if getattr(self, name)}
        if self.link:
            told |= {"link": self.link, "by": self.link_by or self.key}
        if self.numbers:
            return told | {"decimals": self.decimals, "values": list(self.cells)}
        words = list(dict.fromkeys(str(cell) for cell in self.cells))
        places = {word: position for position, word in enumerate(words)}
        return told | {"words": words, "codes": [places[str(cell)] for cell in self.cells]}


@dataclass(frozen=True, slots=True)
class Plot:
    """Predicted over measured, and the signed error of each row, coloured by a column.

    Attributes
    ----------
    label
        The column that names a row.
    colours
        Columns that can colour it, the default first.
    target
        The column whose link a click follows.
    """

    measured: str
    predicted: str
    error: str
    label: str
    colours: Sequence[str]
    target: str
    unit: str = "ms"

    def data(self) -> dict[str, Any]:
        """Return the plot as its script states it."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Table:
    """A table that filters and sorts, and what it plots.

    Attributes
    ----------
    name
        What it is of, for readers of the screen.
    defaults
        What is selected at first, by column.
    """

    name: str
    columns: Sequence[Column]
    plot: Plot | None = None
    defaults: Mapping[str, str] = field(default_factory=dict)

    def script(self) -> str:
        """Return the script that holds it."""
        told = {
            "name": self.name,
            "columns": [column.data() for column in self.columns],
            "plot": self.plot.data() if self.plot else None,
            "defaults": dict(self.defaults),
        }
        return pushed(told)


def pushed(value: object) -> str:
    """Return a script that adds a value to `lab`; no text in it can end the script."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    return f"(window.lab=window.lab||[]).push({text});\n"
