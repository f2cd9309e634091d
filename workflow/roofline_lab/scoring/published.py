"""Whether the numbers once reported come out again.

A published table is `hypotheses/<id>/published/*.csv` in long form. Each cell is compared with the
regenerated number of the same identity. A published cell is rounded, and cells that rest on a
measurement (errors, gains) also rest on measured means we only know to their printed digit; both
roundings are carried as an interval, so "not reproduced" means no admissible unrounded value fits.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roofline_lab.config import Tolerances
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.scores import ErrorRow, Scores
from roofline_lab.vocabulary import Metric, Reproduction, Scope, Statistic
from simulator.errors import ConfigError
from simulator.input_files import csv_records, read_text
from simulator.validation import StrictModel, parse, read_yaml

COLUMNS = ("table", "arm", "scope", "key", "metric", "statistic", "value", "unit", "decimals")


class NotReproducible(StrictModel):
    """A group of published cells whose inputs were never published.

    Attributes
    ----------
    key
        The group's key; `*` is every group at this scope.
    table
        Only cells of this table; None means all tables.
    """

    scope: Scope
    key: str
    reason: str
    table: str | None = None

    def covers(self, cell: Cell) -> bool:
        """Whether a cell belongs to the group; what was measured is known even so."""
        return (
            self.scope is cell.scope
            and self.key in (cell.key, "*")
            and self.table in (cell.table, None)
            and cell.statistic is not Statistic.MEASURED
        )


class Source(StrictModel):
    """`published/source.yaml`: where the figures come from, and what cannot be repeated."""

    document: str
    date: str
    method: str
    note: str = ""
    not_reproducible: tuple[NotReproducible, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """One printed number; `metric` is a column or a summary where the hypothesis is synthetic."""

    table: str
    arm: str
    scope: Scope
    key: str
    metric: Metric
    statistic: Statistic
    value: float
    unit: str
    decimals: int

    @property
    def half_digit(self) -> float:
        """Half of the last printed digit."""
        return 0.5 * 10.0**-self.decimals


@dataclass(frozen=True, slots=True)
class ReproducedCell:
    """One printed number beside the regenerated one.

    Attributes
    ----------
    regenerated
        From the measured means as printed; None if there is no such number.
    low, high
        Range of the regenerated number over all measured means that print the same.
    to_the_digit
        Whether the regenerated number, rounded, is the printed one.
    """

    cell: Cell
    regenerated: float | None
    low: float | None
    high: float | None
    to_the_digit: bool
    verdict: Reproduction
    reason: str

    @property
    def difference(self) -> float | None:
        """Regenerated minus published."""
        return None if self.regenerated is None else self.regenerated - self.cell.value


@dataclass(frozen=True, slots=True)
class Published:
    """All published cells of one hypothesis, with their source."""

    source: Source
    cells: tuple[Cell, ...]


def load_published(folder: Path, metric: Callable[[str], Any] = Metric) -> Published | None:
    """Read the published tables of one hypothesis, or None if there are none.

    Parameters
    ----------
    metric
        Validates the word in the column `metric`; a synthetic hypothesis names its own.

    Raises
    ------
    ConfigError
        Naming file and line of a malformed cell.
    """
    if not folder.is_dir():
        return None
    source_path = folder / "source.yaml"
    source = parse(Source, read_yaml(source_path), source=str(source_path))
    cells = tuple(cell for path in sorted(folder.glob("*.csv")) for cell in load_cells(path, metric))
    return Published(source, cells)


def reproduce(
    published: Published, scores: Scores, reference_arm: str, tolerances: Tolerances
) -> tuple[ReproducedCell, ...]:
    """Compare every published cell with the numbers of one method."""
    return tuple(_compare(cell, published.source, scores, reference_arm, tolerances) for cell in published.cells)


def load_cells(path: Path, metric: Callable[[str], Any] = Metric) -> Iterator[Cell]:
    """Read one file of printed cells.

    Raises
    ------
    ConfigError
        Naming file and line of a malformed cell.
    """
    records = csv_records(io.StringIO(read_text(path), newline=""), str(path))
    if tuple(next(records, (0, []))[1]) != COLUMNS:
        raise ConfigError(f"{path}:1: the header must be {','.join(COLUMNS)}")
    for line, cells in records:
        try:
            if len(cells) != len(COLUMNS):
                raise ValueError(f"{len(cells)} values instead of {len(COLUMNS)}")
            yield _cell(dict(zip(COLUMNS, cells, strict=True)), metric)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path}:{line}: {error}") from None


def _cell(row: Mapping[str, str], metric: Callable[[str], Any]) -> Cell:
    cell = Cell(
        row["table"],
        row["arm"],
        Scope(row["scope"]),
        row["key"],
        metric(row["metric"]),
        Statistic(row["statistic"]),
        float(row["value"]),
        row["unit"],
        int(row["decimals"]),
    )
    if not math.isfinite(cell.value):
        raise ValueError(f"value: must be a finite number (got {row['value']!r})")
    if cell.unit not in Tolerances.model_fields:
        raise ValueError(f"unit: unknown unit '{cell.unit}'; allowed: {', '.join(Tolerances.model_fields)}")
    if cell.decimals < 0:
        raise ValueError(f"decimals: must be 0 or more (got {cell.decimals})")
    return cell


def _compare(cell: Cell, source: Source, scores: Scores, reference: str, tolerances: Tolerances) -> ReproducedCell:
    for group in source.not_reproducible:
        if group.covers(cell):
            regenerated = _value(cell, scores, reference, 0.0)
            return ReproducedCell(cell, regenerated, None, None, False, Reproduction.NOT_REPRODUCIBLE, group.reason)
    values = [_value(cell, scores, reference, shift) for shift in (-1.0, 0.0, 1.0)]
    below, regenerated, above = values
    if below is None or regenerated is None or above is None:
        reason = "the run matrix has no such number"
        return ReproducedCell(cell, None, None, None, False, Reproduction.NOT_REPRODUCED, reason)
    low, high = min(below, regenerated, above), max(below, regenerated, above)
    digit = cell.half_digit * (1 + 1e-9)
    to_the_digit = low - digit <= cell.value <= high + digit
    slack = digit + tolerances.of(cell.unit)
    fits = low - slack <= cell.value <= high + slack
    verdict = Reproduction.REPRODUCED if fits else Reproduction.NOT_REPRODUCED
    reason = "" if to_the_digit else _distance(cell, low, high)
    return ReproducedCell(cell, regenerated, low, high, to_the_digit, verdict, reason)


def _distance(cell: Cell, low: float, high: float) -> str:
    beyond = max(low - cell.value, cell.value - high) - cell.half_digit
    return f"{beyond:.2f} {cell.unit} beyond the printed digit"


def _value(cell: Cell, scores: Scores, reference: str, shift: float) -> float | None:
    """Return the number of a cell, with every measured mean moved by `shift` half digits."""
    rows = [row for row in scores.select(cell.arm, cell.metric) if cell.key in _keys(row, cell.scope)]
    if not rows:
        return None
    if cell.statistic is Statistic.PREDICTED:
        return mean([row.predicted for row in rows if row.predicted is not None])
    if cell.statistic is Statistic.MEASURED:
        return mean([row.measured + 0.0 * shift for row in rows if row.measured is not None])
    return _error_value(cell, rows, scores, reference, shift)


def _error_value(cell: Cell, rows: Iterable[ErrorRow], scores: Scores, reference: str, shift: float) -> float | None:
    per_row: Mapping[Statistic, Callable[[ErrorRow], float | None]] = {
        Statistic.MAPE: lambda row: abs(_signed(row, shift)),
        Statistic.SIGNED_ERROR: lambda row: _signed(row, shift),
        Statistic.DELTA: lambda row: _gain(row, scores, reference, shift),
    }
    values = [per_row[cell.statistic](row) for row in rows]
    known = [value for value in values if value is not None]
    return mean(known) if len(known) == len(values) else None


def _gain(row: ErrorRow, scores: Scores, reference: str, shift: float) -> float | None:
    other = scores.row(reference, row.experiment, row.metric, row.load_point)
    if other is None or not other.is_scored:
        return None
    return abs(_signed(other, shift)) - abs(_signed(row, shift))


def _signed(row: ErrorRow, shift: float) -> float:
    assert row.measured is not None
    return row.signed_error_against(row.measured + shift * row.half_digit_ms)


def _keys(row: ErrorRow, scope: Scope) -> tuple[str, ...]:
    """Return the keys under which a published table may name this row's group."""
    if scope is Scope.TP:
        return (str(row.tensor_parallel), f"{row.model}/{row.workload}/tp{row.tensor_parallel}")
    return (row.group(scope),)
