"""The lines of a `numbers.csv`, and of the file of all error rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from roofline_lab.files import csv_text
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.vocabulary import LoadFigure, Metric, Scope, Statistic

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
    "predicted_ms",
    "measured_ms",
    "signed_error_pct",
    "status",
    "reason",
)
VALUE_DECIMALS = 6
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


def errors_text(rows: Iterable[ErrorRow]) -> str:
    """Format every error row as CSV, those without a number too; what does not exist is empty."""
    return csv_text(ERROR_COLUMNS, [_error_line(row) for row in rows])


def _error_line(row: ErrorRow) -> tuple[object, ...]:
    values = (row.predicted, row.measured, row.signed_error_pct if row.is_scored else None)
    shown = ("" if value is None else f"{value:.{VALUE_DECIMALS}f}" for value in values)
    place = (row.method, row.arm, row.experiment, row.load_point, row.workload, row.family, row.tensor_parallel)
    return (*place, str(row.metric), *shown, str(row.status), row.reason)


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
