"""The lines of a `numbers.csv`, written and read back, and of the file of all error rows.

What is committed may have been edited or merged since, so reading a file of a report expects anything, and names file,
line and key.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from roofline_lab.files import csv_text
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.vocabulary import LoadFigure, Metric, Scope, Statistic
from simulator.errors import ConfigError
from simulator.input_files import csv_records, decoded, parse_json
from simulator.validation import Record, parse

NUMBER_COLUMNS = ("method", "arm", "load_point", "scope", "key", "metric", "statistic", "value", "unit")
ERROR_COLUMNS = (
    "method",
    "arm",
    "experiment",
    "load_point",
    "workload",
    "family",
    "tensor_parallel",
    "metric",
    "predicted",
    "measured",
    "unit",
    "signed_error_pct",
    "status",
    "reason",
)
# How `numbers.csv` and the tolerances of `configs/lab.yaml` call the units of metrics.
UNITS = {"ms": "ms", "1/s": "per_s", "tokens/s": "per_s"}
VALUE_DECIMALS = 6
RESTORE = "restore the file or regenerate the report"
_VALUE = NUMBER_COLUMNS.index("value")
# Of a wrong text a message shows no more than this.
SHOWN_CHARACTERS = 200
# What stands for the load point in numbers taken over all of them.
ALL_LOAD_POINTS = "all"


@dataclass(frozen=True, slots=True)
class Number:
    """One line of `numbers.csv`; `metric` is a column or a summary where the hypothesis is synthetic."""

    method: str
    arm: str
    load_point: str
    scope: Scope
    key: str
    metric: Metric | LoadFigure | str
    statistic: Statistic
    value: float
    unit: str

    @property
    def identity(self) -> tuple[str, ...]:
        """Everything but the value; unique within one hypothesis."""
        return (self.method, self.arm, self.load_point, self.scope, self.key, self.metric, self.statistic, self.unit)


def numbers_text(numbers: Iterable[Number]) -> str:
    """Format numbers as the committed CSV."""
    rows = [(*_plain(number), f"{number.value:.{VALUE_DECIMALS}f}", number.unit) for number in numbers]
    return csv_text(NUMBER_COLUMNS, rows)


def read_numbers(content: bytes, source: str) -> dict[tuple[str, ...], tuple[str, int]]:
    """Return the lines of a `numbers.csv`: value as written and line number, by all other columns in their order.

    Raises
    ------
    ConfigError
        If it has other columns, an incomplete line or a row twice.
    """
    lines = report_records(content, source)
    _, header = next(lines, (1, []))
    if tuple(header) != NUMBER_COLUMNS:
        raise ConfigError(
            f"{source}: line 1: columns must be {','.join(NUMBER_COLUMNS)}, got "
            f"{_shortened(','.join(header)) or 'nothing'}; {RESTORE}"
        )
    found: dict[tuple[str, ...], tuple[str, int]] = {}
    for line, cells in lines:
        key = (*cells[:_VALUE], *cells[_VALUE + 1 :])
        if key in found:
            raise ConfigError(f"{source}: line {line}: row given twice: {', '.join(key)}; regenerate the report")
        found[key] = cells[_VALUE], line
    return found


def report_records(content: bytes, source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of every line of a table of a report, the header first, each as long as the header.

    Raises
    ------
    ConfigError
        Naming the line.
    """
    columns = None
    for line, cells in csv_records(io.StringIO(decoded(content, source), newline=""), source):
        columns = columns or len(cells)
        if len(cells) != columns:
            raise ConfigError(
                f"{source}: line {line}: must have {columns} columns; the file is "
                "damaged or holds a merge conflict: restore it or regenerate the report"
            )
        yield line, cells


def report_record(record: type[Record], content: bytes, source: str, list_of: str = "") -> Record:
    """Return what a JSON file of a report holds.

    Parameters
    ----------
    list_of
        The key under which `record` has it, where the file is a list.

    Raises
    ------
    ConfigError
        Naming every key that is not as the laboratory writes it.
    """
    try:
        found = parse_json(decoded(content, source), source=source)
        return parse(record, {list_of: found} if list_of else found, source=source)
    except ConfigError as error:
        raise ConfigError(f"{error}; {RESTORE}") from None


def finite(text: str, where: str) -> float:
    """Return the number a cell holds.

    Raises
    ------
    ConfigError
        If it holds none, or NaN or an infinity.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{where}: '{_shortened(text)}' is not a finite number; {RESTORE}")
    return value


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def errors_text(rows: Iterable[ErrorRow]) -> str:
    """Format every error row as CSV, those without a number too; what does not exist is empty."""
    return csv_text(ERROR_COLUMNS, [_error_line(row) for row in rows])


def _error_line(row: ErrorRow) -> tuple[object, ...]:
    values = (row.predicted, row.measured, row.signed_error_pct if row.is_scored else None)
    shown = ("" if value is None else f"{value:.{VALUE_DECIMALS}f}" for value in values)
    place = (row.method, row.arm, row.experiment, row.load_point, row.workload, row.family, row.tensor_parallel)
    predicted, measured, error = shown
    return (*place, str(row.metric), predicted, measured, row.unit, error, str(row.status), row.reason)


def _plain(number: Number) -> tuple[str, ...]:
    return (
        number.method,
        number.arm,
        number.load_point,
        number.scope.value,
        number.key,
        str(number.metric),
        number.statistic.value,
    )
