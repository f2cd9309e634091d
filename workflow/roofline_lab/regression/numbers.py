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

from roofline_lab.regression.records import RIGHT, WRONG, GroupKey, RowKey, Scored, ValueKey
from roofline_lab.scoring.numbers import NUMBER_COLUMNS
from simulator.errors import ConfigError

# Load points that stand for generated points, and for all load points together.
SYNTHETIC = "synthetic"
ALL_LOAD_POINTS = "all"
# Units of numbers that have an error in percent.
QUANTITIES = ("ms", "per_s")
FLAG = "flag"
SIDES = ("predicted", "measured")
# Scope of single rows, and scopes that are means over rows.
EXPERIMENT = "experiment"
AGGREGATES = ("workload", "family", "tp", "load_point", "strategy", "split", "overall")
# Statistics that follow from the two sides.
DERIVED = ("mape", "signed_error", "delta")
NOT_PREDICTED = "not_predicted"
PREDICTION_COLUMNS = ("load_point", "variant", "metric", "predicted_ms", "measured_ms")
CALIBRATION_METHOD = "calibration"
# Where a load point was measured, by (experiment, load point).
MeasuredAt = Mapping[tuple[str, str], str]
SERVER_SIDE = "server"


@dataclass
class Numbers:
    """What one `numbers.csv` holds; see `roofline_lab.regression.records.Report`."""

    rows: dict[RowKey, Scored] = field(default_factory=dict)
    means: dict[GroupKey, float] = field(default_factory=dict)
    values: dict[ValueKey, tuple[float, str]] = field(default_factory=dict)
    unscored: dict[RowKey, str] = field(default_factory=dict)
    is_split: bool = False


def read_numbers(content: bytes, source: str) -> Numbers:
    """Return what a `numbers.csv` holds.

    Raises
    ------
    ConfigError
        Naming file, line and problem.
    """
    sides: dict[RowKey, dict[str, float]] = {}
    units: dict[RowKey, str] = {}
    means: dict[GroupKey, dict[str, float]] = {}
    found = Numbers()
    for line, cells in _lines(content, source):
        value = _number(cells["value"], f"{source}: line {line}")
        row = RowKey(cells["method"], cells["arm"], cells["metric"], cells["key"], cells["load_point"])
        match _part(cells):
            case "row":
                sides.setdefault(row, {})[cells["statistic"]] = value
                units[row] = cells["unit"]
            case "value":
                key = ValueKey(*(cells[name] for name in ValueKey._fields))
                found.values[key] = value, cells["unit"]
            case "mean":
                means.setdefault(row.group, {})[row.load_point] = value
        found.is_split |= cells["scope"] == "split"
    for row, side in sides.items():
        _place(found, row, side, units[row], source)
    found.means = {group: mean for group, by in means.items() if (mean := _overall(by)) is not None}
    return found


def _place(found: Numbers, row: RowKey, side: Mapping[str, float], unit: str, source: str) -> None:
    """Put the sides of one row where they belong: an error, right or wrong, or no prediction."""
    if unit == FLAG and len(side) == len(SIDES):
        found.unscored[row] = RIGHT if side["predicted"] == side["measured"] else WRONG
    elif "predicted" not in side:
        found.unscored[row] = NOT_PREDICTED
    elif unit != FLAG:
        found.rows[row] = _scored(row, side, unit, source)


def _part(cells: Mapping[str, str]) -> str:
    """Return what a line is part of; empty for a mean over some rows, which says nothing new."""
    if cells["load_point"] == SYNTHETIC:
        return "value"
    if cells["scope"] == "overall" and cells["statistic"] == "mape":
        return "mean"
    if cells["scope"] in AGGREGATES or (cells["scope"] == EXPERIMENT and cells["statistic"] in DERIVED):
        return ""
    is_side = cells["statistic"] in SIDES and cells["unit"] in (*QUANTITIES, FLAG)
    return "row" if cells["scope"] == EXPERIMENT and is_side else "value"


def _overall(by_load_point: Mapping[str, float]) -> float | None:
    """Return the mean over all load points: the one that says so, or the only one."""
    if len(by_load_point) == 1:
        return next(iter(by_load_point.values()))
    return by_load_point.get(ALL_LOAD_POINTS)


def read_predictions(content: bytes, source: str, measured_at: MeasuredAt | None = None) -> Numbers:
    """Return the rows of a calibration's `predictions.csv`, one arm per variant and side of the measurement.

    Figures of the server are no part of what a calibration reports for clients; where nothing says on which side a load
    point was measured, it counts as one of the client.

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
        at_server = (measured_at or {}).get((experiment, load_point)) == SERVER_SIDE
        arm = f"{cells['variant']} (server side)" if at_server else cells["variant"]
        key = RowKey(CALIBRATION_METHOD, arm, cells["metric"], experiment, load_point)
        if key in found.rows:
            raise ConfigError(f"{source}: line {line}: gives {', '.join(key)} a second time")
        sides = {name: _number(cells[f"{name}_ms"], f"{source}: line {line}") for name in SIDES}
        found.rows[key] = _scored(key, sides, "ms", source)
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


def _scored(key: RowKey, sides: Mapping[str, float], unit: str, source: str) -> Scored:
    named = f"{source}: {', '.join(key)}"
    if "measured" not in sides:
        raise ConfigError(f"{named}: is predicted, but has no measured value; restore the file or regenerate")
    if sides["measured"] <= 0:
        raise ConfigError(f"{named}: measured must be above 0, got {sides['measured']:g}")
    return Scored(sides["predicted"], sides["measured"], unit)
