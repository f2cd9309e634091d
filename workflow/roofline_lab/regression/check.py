"""Does a committed report still come out? Row by row for numbers, byte by byte for text.

`compare_reports` takes the folder as found and the freshly regenerated one, changes neither, and
returns what differs. Numbers may differ by the tolerances of `configs/lab.yaml`; figures may differ
in coordinates by less than what an eye can see, not in their labels; everything else must be equal.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from roofline_lab.config import Tolerances
from roofline_lab.scoring.numbers import NUMBER_COLUMNS

KEY_COLUMNS = [column for column in NUMBER_COLUMNS if column != "value"]
# Half a typographic point is invisible; different libraries place text by fractions of one.
FIGURE_TOLERANCE_POINTS = 0.5
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_LABEL = re.compile(r"<text[^>]*>([^<]*)</text>")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was reported: which file, which row or line, and how."""

    file: str
    where: str
    what: str

    def __str__(self) -> str:
        """Return one line for a terminal or a report."""
        return f"{self.file}: {self.where}: {self.what}"


def compare_reports(found: Path, regenerated: Path, tolerances: Tolerances) -> list[Difference]:
    """Return every difference between a committed report folder and a regenerated one."""
    names = sorted(_files(found) | _files(regenerated))
    return [difference for name in names for difference in compare_file(name, found, regenerated, tolerances)]


def compare_numbers(found: str, regenerated: str, tolerances: Tolerances) -> list[Difference]:
    """Compare two `numbers.csv` texts row by row."""
    try:
        old, new = _read_numbers(found), _read_numbers(regenerated)
    except (ValueError, KeyError, pd.errors.ParserError) as error:
        return [Difference("numbers.csv", "file", f"cannot be read as a table of numbers: {error}")]
    merged = old.merge(new, on=KEY_COLUMNS, how="outer", suffixes=("_found", "_new"), indicator=True, sort=True)
    return [difference for row in merged.to_dict("records") for difference in _compare_row(row, tolerances)]


def _compare_row(row: dict[str, object], tolerances: Tolerances) -> Iterator[Difference]:
    where = ", ".join(f"{row[column]}" for column in KEY_COLUMNS)
    if row["_merge"] == "left_only":
        yield Difference("numbers.csv", where, f"reported as {row['value_found']}, but no longer regenerated")
        return
    if row["_merge"] == "right_only":
        yield Difference("numbers.csv", where, f"regenerated as {row['value_new']}, but not in the report")
        return
    found, new = _number(row["value_found"]), _number(row["value_new"])
    if found is None or new is None:
        yield Difference("numbers.csv", where, f"reported {row['value_found']!r} is not a number")
        return
    allowed = tolerances.of(str(row["unit"]))
    # Not `>`: a NaN on either side must count as a difference.
    if not abs(found - new) <= allowed:
        yield Difference("numbers.csv", where, f"reported {found:g}, regenerated {new:g} (tolerance {allowed:g})")


def _read_numbers(text: str) -> pd.DataFrame:
    table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    if list(table.columns) != list(NUMBER_COLUMNS):
        raise ValueError(f"columns must be {','.join(NUMBER_COLUMNS)}")
    if table.duplicated(KEY_COLUMNS).any():
        first = table[table.duplicated(KEY_COLUMNS)].iloc[0]
        raise ValueError(f"row given twice: {', '.join(first[KEY_COLUMNS])}")
    unknown = sorted(set(table["unit"]) - set(Tolerances.model_fields))
    if unknown:
        raise ValueError(f"unknown unit {unknown[0]!r}; allowed: {', '.join(Tolerances.model_fields)}")
    return table


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def compare_file(name: str, found: Path, regenerated: Path, tolerances: Tolerances) -> list[Difference]:
    """Return every difference of one file of a committed folder and the regenerated one."""
    if not (found / name).is_file():
        return [Difference(name, "file", "is regenerated, but missing from the report")]
    if not (regenerated / name).is_file():
        return [Difference(name, "file", "is in the report, but not regenerated")]
    old = (found / name).read_text(encoding="utf-8", errors="replace")
    new = (regenerated / name).read_text(encoding="utf-8", errors="replace")
    if name.endswith("numbers.csv"):
        return compare_numbers(old, new, tolerances)
    if name.endswith(".svg"):
        return _compare_figures(name, old, new)
    return _compare_text(name, old, new)


def _compare_text(name: str, old: str, new: str) -> list[Difference]:
    if old == new:
        return []
    old_lines, new_lines = old.splitlines(), new.splitlines()
    for number, (before, after) in enumerate(zip(old_lines, new_lines, strict=False), start=1):
        if before != after:
            return [Difference(name, f"line {number}", f"reported {before!r}, regenerated {after!r}")]
    return [Difference(name, "end", f"reported {len(old_lines)} lines, regenerated {len(new_lines)}")]


def _compare_figures(name: str, old: str, new: str) -> list[Difference]:
    if old == new:
        return []
    if _NUMBER.sub("#", old) != _NUMBER.sub("#", new) or _LABEL.findall(old) != _LABEL.findall(new):
        return [Difference(name, "figure", "is drawn differently")]
    pairs = zip(_NUMBER.findall(old), _NUMBER.findall(new), strict=True)
    largest = max(abs(float(before) - float(after)) for before, after in pairs)
    if largest <= FIGURE_TOLERANCE_POINTS:
        return []
    return [Difference(name, "figure", f"a coordinate moved by {largest:.1f} points")]
