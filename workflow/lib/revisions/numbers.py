"""Reading `numbers.csv` and the predictions of a calibration: texts in, rows and values out.

Means over groups of rows are not read but for the overall one: the rows say the same, and more. A damaged
`numbers.csv` is an error, because a row that is silently missing changes every mean.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from simulator.errors import ConfigError
from workflow.lib.revisions.records import GroupKey, RowKey, Scored, ValueKey
from workflow.lib.scoring import NUMBER_COLUMNS

# Load point that stands for generated points in `numbers.csv` of a synthetic hypothesis.
SYNTHETIC = "synthetic"
PREDICTION_COLUMNS = ("load_point", "variant", "metric", "predicted_ms", "measured_ms")
CALIBRATION_METHOD = "calibration"


@dataclass
class Numbers:
    """What one `numbers.csv` holds; see `workflow.lib.revisions.records.Report`."""

    rows: dict[RowKey, Scored] = field(default_factory=dict)
    means: dict[GroupKey, float] = field(default_factory=dict)
    values: dict[ValueKey, tuple[float, str]] = field(default_factory=dict)
    is_split: bool = False


def read_numbers(content: bytes, source: str) -> Numbers:
    """Return what a `numbers.csv` holds.

    Raises
    ------
    ConfigError
        Naming file, line and problem.
    """
    sides: dict[RowKey, dict[str, float]] = {}
    means: dict[GroupKey, list[float]] = {}
    found = Numbers()
    for line, cells in _lines(content, source):
        value = _number(cells["value"], f"{source}: line {line}")
        place = (cells["scope"], cells["statistic"])
        if cells["load_point"] == SYNTHETIC:
            key = ValueKey(*(cells[name] for name in ValueKey._fields))
            found.values[key] = value, cells["unit"]
        elif cells["scope"] == "experiment" and cells["statistic"] in ("predicted", "measured"):
            row = RowKey(cells["method"], cells["arm"], cells["metric"], cells["key"], cells["load_point"])
            sides.setdefault(row, {})[cells["statistic"]] = value
        elif place == ("overall", "mape"):
            means.setdefault(GroupKey(cells["method"], cells["arm"], cells["metric"]), []).append(value)
        found.is_split |= cells["scope"] == "split"
    found.rows = {row: _scored(row, side, source) for row, side in sides.items()}
    found.means = {group: values[0] for group, values in means.items() if len(values) == 1}
    return found


def read_predictions(content: bytes, source: str) -> Numbers:
    """Return the rows of a calibration's `predictions.csv`, one arm per variant.

    Raises
    ------
    ConfigError
        If it lacks a column or gives a row twice.
    """
    reader = csv.DictReader(_text(content, source))
    if missing := [name for name in PREDICTION_COLUMNS if name not in (reader.fieldnames or ())]:
        raise ConfigError(f"{source}: line 1: has no column {missing[0]}; known are {','.join(PREDICTION_COLUMNS)}")
    found = Numbers()
    for line, cells in _records(reader, source):
        experiment, _, load_point = cells["load_point"].rpartition("/")
        key = RowKey(CALIBRATION_METHOD, cells["variant"], cells["metric"], experiment, load_point)
        if key in found.rows:
            raise ConfigError(f"{source}: line {line}: gives {', '.join(key)} a second time")
        sides = {name: _number(cells[f"{name}_ms"], f"{source}: line {line}") for name in ("predicted", "measured")}
        found.rows[key] = _scored(key, sides, source)
    return found


def _lines(content: bytes, source: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    reader = csv.DictReader(_text(content, source))
    if tuple(reader.fieldnames or ()) != NUMBER_COLUMNS:
        raise ConfigError(
            f"{source}: line 1: columns must be {','.join(NUMBER_COLUMNS)}, got "
            f"{','.join(reader.fieldnames or ()) or 'nothing'}; restore the file or regenerate the report"
        )
    seen: set[tuple[str, ...]] = set()
    identity = tuple(name for name in NUMBER_COLUMNS if name != "value")
    for line, cells in _records(reader, source):
        key = tuple(cells[name] for name in identity)
        if key in seen:
            raise ConfigError(f"{source}: line {line}: gives {', '.join(key)} a second time; regenerate the report")
        seen.add(key)
        yield line, cells
    if not seen:
        raise ConfigError(f"{source}: holds no number; regenerate the report or restore the file")


def _records(reader: csv.DictReader[str], source: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield line number and cells of every complete line."""
    try:
        for cells in reader:
            if None in cells or None in cells.values():
                raise ConfigError(
                    f"{source}: line {reader.line_num}: must have {len(reader.fieldnames or ())} columns; the file is "
                    "damaged or holds a merge conflict: restore it or regenerate the report"
                )
            yield reader.line_num, cells
    except csv.Error as error:
        raise ConfigError(f"{source}: line {reader.line_num}: not valid CSV: {error}") from None


def _text(content: bytes, source: str) -> Iterable[str]:
    try:
        return io.StringIO(content.decode("utf-8"), newline="")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source}: is not UTF-8 text ({error.reason} at byte {error.start}); restore it") from None


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{where}: '{text}' is not a finite number; restore the file or regenerate the report")
    return value


def _scored(key: RowKey, sides: Mapping[str, float], source: str) -> Scored:
    named = f"{source}: {', '.join(key)}"
    if missing := [name for name in ("predicted", "measured") if name not in sides]:
        raise ConfigError(f"{named}: has no {missing[0]} value; restore the file or regenerate the report")
    if sides["measured"] <= 0:
        raise ConfigError(f"{named}: measured must be above 0 ms, got {sides['measured']:g}")
    return Scored(sides["predicted"], sides["measured"])
