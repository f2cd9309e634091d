"""What is compared: the rows, numbers and verdicts of every report at one revision.

Frozen records without behaviour beyond their own arithmetic. Metrics, scopes and states are plain words here, not the
laboratory's present vocabulary: an older revision may have used others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from roofline_lab.scoring.errors import signed_error_pct

# State of a row that has a number on both sides, as in `roofline_lab.vocabulary.RowStatus`.
SCORED = "ok"
# States of a yes-or-no prediction (does the server saturate?), which is right or wrong but has no error.
RIGHT = "predicted rightly"
WRONG = "predicted wrongly"


class RowKey(NamedTuple):
    """One metric of one load point, as one arm under one method predicts it."""

    method: str
    arm: str
    metric: str
    experiment: str
    load_point: str

    @property
    def group(self) -> GroupKey:
        """What the row's error is averaged in."""
        return GroupKey(self.method, self.arm, self.metric)

    @property
    def measurement(self) -> Measurement:
        """What the row is compared with."""
        return Measurement(self.experiment, self.load_point, self.metric)


class GroupKey(NamedTuple):
    """The rows of one mean error."""

    method: str
    arm: str
    metric: str


class Measurement(NamedTuple):
    """Name of one measured figure."""

    experiment: str
    load_point: str
    metric: str


class ValueKey(NamedTuple):
    """One number that has no error: of a generated point, a share of steps, of an analysis."""

    method: str
    arm: str
    load_point: str
    scope: str
    key: str
    metric: str
    statistic: str


@dataclass(frozen=True, slots=True)
class Scored:
    """One row with a number: prediction beside measurement, in `unit` as `numbers.csv` writes it."""

    predicted: float
    measured: float
    unit: str = "ms"

    @property
    def signed_error_pct(self) -> float:
        """(predicted - measured) / measured, in percent."""
        return signed_error_pct(self.predicted, self.measured)

    @property
    def ape_pct(self) -> float:
        """Absolute percentage error."""
        return abs(self.signed_error_pct)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure of the ground truth.

    Attributes
    ----------
    half_digit
        Half of its last printed digit, in the unit of `value`; 0 if it was not rounded.
    standard_error
        Sampling error over requests, in the same unit; None where number of requests or spread are not known.
    """

    value: float
    half_digit: float
    standard_error: float | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one method says about a claim: its status and the result of every criterion and control."""

    status: str
    criteria: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """One report at one revision.

    Attributes
    ----------
    rows
        Every row with a number.
    means
        Overall error in percent as the report gives it.
    values
        Numbers that have no error: value and unit.
    rulings
        By method, in the order of the report; empty where the report says nothing that can be read.
    unscored
        State of every row without a number, and of every prediction that is right or wrong.
    is_split
        Whether overall errors are over test experiments alone.
    """

    name: str
    rows: Mapping[RowKey, Scored] = field(default_factory=dict)
    means: Mapping[GroupKey, float] = field(default_factory=dict)
    values: Mapping[ValueKey, tuple[float, str]] = field(default_factory=dict)
    rulings: Mapping[str, Ruling] = field(default_factory=dict)
    unscored: Mapping[RowKey, str] = field(default_factory=dict)
    is_split: bool = False

    def state(self, key: RowKey) -> str | None:
        """Return the state of a row, None if the report has no such row."""
        return SCORED if key in self.rows else self.unscored.get(key)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All reports at one revision.

    Attributes
    ----------
    label
        How a reader knows the revision, as markdown.
    figures
        Measured figures of its ground truth; empty where that was not at hand.
    skipped
        What could not be read, one sentence each.
    """

    label: str
    reports: Mapping[str, Report]
    figures: Mapping[Measurement, Figure]
    skipped: tuple[str, ...] = ()
