"""Does a committed report still come out? Number by number, byte by byte for text.

`compare_reports` takes the folder as found and the freshly regenerated one, changes neither, and returns what differs.
Numbers may differ by the tolerances of `configs/lab.yaml`; figures may differ in coordinates by less than what an eye
can see, not in their labels; everything else must be equal.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roofline_lab.config import Tolerances
from roofline_lab.regression.difference import side_by_side
from roofline_lab.regression.reading import NumberKey, read_table
from simulator.errors import ConfigError

# Half a typographic point is invisible; different libraries place text by fractions of one.
FIGURE_TOLERANCE_POINTS = 0.5
PROVENANCE = "provenance.json"
# A binary double has no more.
MOST_DIGITS = 17
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_LABEL = re.compile(r"<text[^>]*>([^<]*)</text>")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was reported: which file, which row or line, and how.

    Attributes
    ----------
    size
        By how many tolerances a number is off; infinite for everything else.
    """

    file: str
    where: str
    what: str
    size: float = math.inf

    def __str__(self) -> str:
        """Return one line for a terminal or a report."""
        return f"{self.file}: {self.where}: {self.what}"


def compare_reports(found: Path, regenerated: Path, tolerances: Tolerances) -> list[Difference]:
    """Return every difference between a committed report folder and a regenerated one."""
    names = sorted(_files(found) | _files(regenerated))
    return [difference for name in names for difference in compare_file(name, found, regenerated, tolerances)]


def compare_file(name: str, found: Path, regenerated: Path, tolerances: Tolerances) -> list[Difference]:
    """Return every difference of one file of a committed folder and the regenerated one."""
    if not (found / name).is_file():
        return [Difference(name, "file", "is regenerated, but missing from the report")]
    if not (regenerated / name).is_file():
        return [Difference(name, "file", "is in the report, but not regenerated")]
    old, new = (found / name).read_bytes(), (regenerated / name).read_bytes()
    if name.endswith("numbers.csv"):
        return compare_numbers(old, new, tolerances)
    if old == new:
        return []
    texts = old.decode(errors="replace"), new.decode(errors="replace")
    if name.endswith(".svg"):
        return _compare_figures(name, *texts)
    if name == PROVENANCE:
        return _compare_provenance(*texts)
    return [_compare_text(name, *texts)]


def compare_numbers(found: bytes, regenerated: bytes, tolerances: Tolerances) -> list[Difference]:
    """Compare two `numbers.csv` row by row; equal ones too, because what is no number may not pass for one."""
    try:
        old = _read_numbers(found, "as reported")
        new = old if found == regenerated else _read_numbers(regenerated, "as regenerated")
    except ConfigError as error:
        return [Difference("numbers.csv", "file", f"cannot be read as a table of numbers: {error}")]
    told = ((key, _difference(key, was, now, tolerances)) for key, was, now in side_by_side(old, new))
    return [Difference("numbers.csv", ", ".join(key), what, size) for key, (what, size) in sorted(told) if what]


def _read_numbers(content: bytes, source: str) -> dict[NumberKey, str]:
    table = {key: text for key, (text, _) in read_table(content, source).items()}
    unknown = sorted({key.unit for key in table} - set(Tolerances.model_fields))
    if unknown:
        raise ConfigError(f"unknown unit {unknown[0]!r}; allowed: {', '.join(Tolerances.model_fields)}")
    return table


def _difference(
    key: NumberKey, reported: str | None, regenerated: str | None, tolerances: Tolerances
) -> tuple[str, float]:
    """Return how a number differs, empty where it does not, and by how many tolerances."""
    if regenerated is None:
        return f"reported as {reported}, but no longer regenerated", math.inf
    if reported is None:
        return f"regenerated as {regenerated}, but not in the report", math.inf
    found, new = _number(reported), _number(regenerated)
    if found is None or new is None:
        return f"reported {reported!r} is not a number", math.inf
    allowed = tolerances.of(key.unit)
    # Not `>`: a NaN on either side must count as a difference.
    if abs(found - new) <= allowed:
        return "", 0.0
    was, now = _told_apart(found, new)
    return f"reported {was}, regenerated {now} (tolerance {allowed:g})", _tolerances(found - new, allowed)


def _tolerances(difference: float, allowed: float) -> float:
    return abs(difference) / allowed if math.isfinite(difference) and allowed else math.inf


def _told_apart(found: float, new: float) -> tuple[str, str]:
    """Return two numbers with as many digits as it takes to see that they differ."""
    shown = ((f"{found:.{digits}g}", f"{new:.{digits}g}") for digits in range(6, MOST_DIGITS + 1))
    return next((pair for pair in shown if pair[0] != pair[1]), (repr(found), repr(new)))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _compare_provenance(old: str, new: str) -> list[Difference]:
    """Name every input whose content is not the one that was recorded."""
    changed = [
        Difference(
            PROVENANCE,
            place,
            f"recorded {was or 'nothing'}, now {now or 'nothing'}: this input changed since the report",
        )
        for place, was, now in side_by_side(_leaves(old), _leaves(new))
        if was != now
    ]
    return changed or [_compare_text(PROVENANCE, old, new)]


def _leaves(text: str) -> dict[str, str]:
    """Return the entries of a record, `hashes.methods` for one inside another; none if it cannot be read."""

    def walk(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from walk(inner, (*place, name))
        else:
            yield ".".join(place), str(value)

    try:
        record = json.loads(text)
    except ValueError:
        return {}
    return dict(walk(record, ())) if isinstance(record, dict) else {}


def _compare_text(name: str, old: str, new: str) -> Difference:
    """Return the first line that differs, between its neighbours."""
    old_lines, new_lines = old.splitlines(), new.splitlines()
    pairs = enumerate(zip(old_lines, new_lines, strict=False))
    first = next((place for place, (before, after) in pairs if before != after), None)
    if first is None:
        return Difference(name, "end", f"reported {len(old_lines)} lines, regenerated {len(new_lines)}")
    what = f"reported {old_lines[first]!r}, regenerated {new_lines[first]!r}"
    return Difference(name, f"line {first + 1}", f"{what}{_neighbours(old_lines, first)}")


def _neighbours(lines: Sequence[str], place: int) -> str:
    """Return the lines around a place in words, without empty ones."""
    before, after = lines[max(place - 1, 0) : place], lines[place + 1 : place + 2]
    told = [f"after {line!r}" for line in before if line] + [f"before {line!r}" for line in after if line]
    return f" ({', '.join(told)})" if told else ""


def _compare_figures(name: str, old: str, new: str) -> list[Difference]:
    if _NUMBER.sub("#", old) != _NUMBER.sub("#", new) or _LABEL.findall(old) != _LABEL.findall(new):
        return [Difference(name, "figure", "is drawn differently")]
    pairs = zip(_NUMBER.findall(old), _NUMBER.findall(new), strict=True)
    largest = max(abs(float(before) - float(after)) for before, after in pairs)
    if largest <= FIGURE_TOLERANCE_POINTS:
        return []
    return [Difference(name, "figure", f"a coordinate moved by {largest:.1f} points")]
