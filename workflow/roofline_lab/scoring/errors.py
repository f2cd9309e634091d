"""The one formula of an error, the rows it is taken of, and the numbers a report may print.

An error is predicted minus measured, relative to measured: negative where a prediction is too fast. The error of
an experiment is the error of its mean (predicted mean against measured mean), never a mean over requests. Aggregates
are unweighted means over experiments. A row that was not simulated or not measured carries a status and a reason and
enters no mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from roofline_lab.files import csv_text
from roofline_lab.vocabulary import LoadFigure, Metric, RowStatus, Scope, Statistic

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

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
AGGREGATES = (Scope.WORKLOAD, Scope.FAMILY, Scope.TP, Scope.OVERALL, Scope.SPLIT, Scope.STRATEGY)
PERCENT = 100.0
# One number, or many at once.
Numbers = TypeVar("Numbers", float, "NDArray[np.float64]", "pd.Series[float]")


def relative_difference(value: Numbers, reference: Numbers) -> Numbers:
    """Return (value - reference) / reference: how far a prediction is above its measurement, as a fraction."""
    return (value - reference) / reference


def signed_error_pct(predicted: Numbers, measured: Numbers) -> Numbers:
    """Return the relative error in percent; negative: predicted too fast."""
    return relative_difference(predicted, measured) * PERCENT


def ape_pct(predicted: Numbers, measured: Numbers) -> Numbers:
    """Return the absolute percentage error."""
    return abs(signed_error_pct(predicted, measured))


def gain_pp(ape_of_pct: Numbers, ape_over_pct: Numbers) -> Numbers:
    """Return by how many percentage points an absolute error is smaller than the one it is compared with."""
    return ape_over_pct - ape_of_pct


def mean(values: Sequence[float]) -> float:
    """Return the mean, independent of the order of `values`."""
    return math.fsum(values) / len(values)


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One metric of one run beside its measurement.

    Attributes
    ----------
    predicted, measured
        Means in ms; None where the row has no number, see `status` and `reason`.
    half_digit_ms
        Half of the last printed digit of the measured figures this row rests on.
    side
        `train` or `test` where the hypothesis splits its experiments, else empty.
    strategy, rate_per_s
        Kind of load, and requests completed (else sent) per second; only where load points were replayed.
    mixed_share
        Simulated steps that hold both phases, as a fraction of all steps.
    """

    method: str
    arm: str
    experiment: str
    load_point: str
    workload: str
    family: str
    model: str
    tensor_parallel: int
    metric: Metric
    predicted: float | None
    measured: float | None
    half_digit_ms: float
    status: RowStatus
    reason: str = ""
    side: str = ""
    strategy: str = ""
    rate_per_s: float | None = None
    mixed_share: float | None = None

    @property
    def is_scored(self) -> bool:
        """Whether both sides have a number."""
        return self.status is RowStatus.OK

    @property
    def signed_error_pct(self) -> float:
        """(predicted - measured) / measured, in percent; negative = too fast."""
        return self.signed_error_against(self._measured)

    @property
    def ape_pct(self) -> float:
        """Absolute percentage error of the mean."""
        return abs(self.signed_error_pct)

    @property
    def _measured(self) -> float:
        assert self.measured is not None, "only scored rows have an error"
        return self.measured

    def signed_error_against(self, measured: float) -> float:
        """Return the signed error in percent against another measured value."""
        assert self.predicted is not None, "only scored rows have an error"
        return signed_error_pct(self.predicted, measured)

    def counts_at(self, scope: Scope) -> bool:
        """Whether the row enters aggregates at `scope`: train rows count only as the side they are on.

        What a value was chosen by must not lower the error it is reported with.
        """
        return bool(self.side) if scope is Scope.SPLIT else self.side != "train"

    def group(self, scope: Scope) -> str:
        """Return the key of the group this row belongs to at `scope`."""
        keys = {
            Scope.EXPERIMENT: self.experiment,
            Scope.WORKLOAD: self.workload,
            Scope.FAMILY: self.family,
            Scope.TP: str(self.tensor_parallel),
            Scope.LOAD_POINT: self.load_point,
            Scope.STRATEGY: self.strategy,
            Scope.SPLIT: self.side,
            Scope.OVERALL: "all",
        }
        return keys[scope]


@dataclass(frozen=True, slots=True)
class Gain:
    """How much closer one arm is than another, for one experiment, in percentage points."""

    row: ErrorRow
    value: float

    def group(self, by: str) -> str:
        """Return the key of the group at a scope given by name."""
        return self.row.group(Scope(by))


@dataclass(frozen=True, slots=True)
class Series:
    """The gain of one model and workload along TP."""

    label: str
    tensor_parallel: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Number:
    """One line of `numbers.csv`."""

    method: str
    arm: str
    load_point: str
    scope: Scope
    key: str
    metric: Metric | LoadFigure
    statistic: Statistic
    value: float
    unit: str

    @property
    def identity(self) -> tuple[str, ...]:
        """Everything but the value; unique within one hypothesis."""
        return (self.method, self.arm, self.load_point, self.scope, self.key, self.metric, self.statistic, self.unit)


class Scores:
    """All error rows of one method, with the questions criteria and tables ask of them."""

    def __init__(self, rows: Iterable[ErrorRow]) -> None:
        self.rows = tuple(rows)

    @cached_property
    def _by_key(self) -> dict[tuple[str, str, str, Metric], ErrorRow]:
        return {(row.arm, row.experiment, row.load_point, row.metric): row for row in self.rows}

    def select(self, arm: str, metric: Metric) -> tuple[ErrorRow, ...]:
        """Return the scored rows of one arm and metric, in matrix order."""
        return tuple(row for row in self.rows if row.arm == arm and row.metric == metric and row.is_scored)

    def where(self, keep: Callable[[ErrorRow], bool]) -> Scores:
        """Return the scores of some rows alone."""
        return Scores(row for row in self.rows if keep(row))

    def ratios(self, metric: Metric, of: str, over: str) -> dict[tuple[str, str], float]:
        """Return prediction of arm `of` over that of arm `over`, by experiment and load point."""
        found = {}
        for row in self.select(of, metric):
            other = self.row(over, row.experiment, metric, row.load_point)
            if other is not None and other.is_scored and row.predicted is not None and other.predicted:
                found[row.experiment, row.load_point] = row.predicted / other.predicted
        return found

    def unscored(self) -> tuple[ErrorRow, ...]:
        """Return the rows that have no number."""
        return tuple(row for row in self.rows if not row.is_scored)

    def row(self, arm: str, experiment: str, metric: Metric, load_point: str) -> ErrorRow | None:
        """Return one row, or None if the matrix has no such run."""
        return self._by_key.get((arm, experiment, load_point, metric))

    def mape(self, arm: str, metric: Metric, where: Callable[[ErrorRow], bool] = lambda row: True) -> float | None:
        """Return the unweighted mean error in percent, or None if nothing was scored."""
        errors = [row.ape_pct for row in self.select(arm, metric) if where(row)]
        return mean(errors) if errors else None

    def gains(self, metric: Metric, of: str, over: str) -> tuple[Gain, ...]:
        """Return the gain of arm `of` over arm `over`, for every run scored on both."""
        pairs = []
        for row in self.select(of, metric):
            other = self.row(over, row.experiment, metric, row.load_point)
            if other is not None and other.is_scored:
                pairs.append(Gain(row, gain_pp(row.ape_pct, other.ape_pct)))
        return tuple(pairs)

    def tp_series(self, metric: Metric, of: str, over: str) -> tuple[Series, ...]:
        """Return the gain along TP of every model and workload measured at two or more TP."""
        found: dict[tuple[str, str], dict[int, float]] = {}
        for gain in self.gains(metric, of, over):
            found.setdefault((gain.row.model, gain.row.workload), {})[gain.row.tensor_parallel] = gain.value
        return tuple(
            Series(f"{model}/{workload}", tuple(sorted(by_tp)), tuple(by_tp[tp] for tp in sorted(by_tp)))
            for (model, workload), by_tp in sorted(found.items())
            if len(by_tp) > 1
        )


def numbers_of(scores: Scores, arms: Sequence[str], metrics: Sequence[Metric]) -> tuple[Number, ...]:
    """Return every number of one method; deltas compare each arm with the first one."""
    found: list[Number] = []
    for arm in arms:
        for metric in metrics:
            for row in scores.select(arm, metric):
                found += _row_numbers(row, scores, reference=arms[0])
            found += _aggregate_numbers(scores, arm, metric, reference=arms[0])
    return tuple(sorted(found, key=lambda number: number.identity))


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
    return (*place, row.metric.value, *shown, row.status.value, row.reason)


def _plain(number: Number) -> tuple[str, ...]:
    return (
        number.method,
        number.arm,
        number.load_point,
        number.scope.value,
        number.key,
        number.metric.value,
        number.statistic.value,
    )


def _row_numbers(row: ErrorRow, scores: Scores, reference: str) -> list[Number]:
    assert row.predicted is not None
    assert row.measured is not None
    values = [
        (Statistic.PREDICTED, row.predicted, "ms"),
        (Statistic.MEASURED, row.measured, "ms"),
        (Statistic.MAPE, row.ape_pct, "pct"),
        (Statistic.SIGNED_ERROR, row.signed_error_pct, "pct"),
    ]
    other = scores.row(reference, row.experiment, row.metric, row.load_point)
    if row.arm != reference and other is not None and other.is_scored:
        values.append((Statistic.DELTA, gain_pp(row.ape_pct, other.ape_pct), "pp"))
    where = (row.method, row.arm, row.load_point, Scope.EXPERIMENT, row.experiment, row.metric)
    return [Number(*where, statistic, value, unit) for statistic, value, unit in values]


def _aggregate_numbers(scores: Scores, arm: str, metric: Metric, reference: str) -> list[Number]:
    gains = {(gain.row.experiment, gain.row.load_point): gain.value for gain in scores.gains(metric, arm, reference)}
    found = []
    for (scope, *place), rows in _groups(scores.select(arm, metric)).items():
        where = (rows[0].method, arm, place[0], scope, place[1], metric)
        found.append(Number(*where, Statistic.MAPE, mean([row.ape_pct for row in rows]), "pct"))
        found.append(Number(*where, Statistic.SIGNED_ERROR, mean([row.signed_error_pct for row in rows]), "pct"))
        own = [gains[key] for row in rows if (key := (row.experiment, row.load_point)) in gains]
        if arm != reference and own:
            found.append(Number(*where, Statistic.DELTA, mean(own), "pp"))
    return found


def _groups(rows: Sequence[ErrorRow]) -> dict[tuple[Scope, str, str], list[ErrorRow]]:
    """Group rows by scope, load point and key; by all load points together too, where there are several."""
    several = len({row.load_point for row in rows}) > 1
    groups: dict[tuple[Scope, str, str], list[ErrorRow]] = {}
    for scope in AGGREGATES:
        for row in rows:
            if not row.counts_at(scope):
                continue
            if scope is not Scope.STRATEGY:
                groups.setdefault((scope, row.load_point, row.group(scope)), []).append(row)
            if several:
                groups.setdefault((scope, ALL_LOAD_POINTS, row.group(scope)), []).append(row)
    return groups
