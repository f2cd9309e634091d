"""The rows errors are taken of, and the questions that criteria and tables ask of those of one method.

A row is one metric of one load point as one arm predicts it, beside its measurement: the same record for findings,
evaluations, calibrations and replays. A row that was not simulated or not measured carries a status and a reason and
enters no mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from roofline_lab.scoring.errors import gain_pp, is_within_noise, mean, signed_error_pct
from roofline_lab.vocabulary import Quantity, RowStatus, Scope


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One metric of one load point as one arm predicts it, beside its measurement.

    Attributes
    ----------
    method, arm
        How it was predicted, and by which arm, set of options, variant of constants or other predictor.
    predicted, measured
        In `unit`; None where the row has no number, see `status` and `reason`.
    half_digit_ms
        Half of the last printed digit of the measured figures this row rests on.
    holdout
        What the load point is to the prediction: `train` or `test` where a hypothesis splits its experiments, how much
        of a test it is where a calibration predicts; else empty.
    strategy, rate_per_s
        Kind of load, and requests completed (else sent) per second; only where load points were replayed.
    mixed_share
        Simulated steps that hold both phases, as a fraction of all steps.
    side
        Where it was measured: `client` or `server`, empty where that does not matter.
    definition
        How the metric was measured, as the ground truth says.
    noise_pct
        Standard deviation of one such measurement in percent of it; None where nobody repeated one.
    asked
        Whether it was measured on a server that kept up, so that a prediction of it has an error.
    """

    method: str
    arm: str
    experiment: str
    load_point: str
    workload: str
    family: str
    model: str
    tensor_parallel: int
    metric: str
    predicted: float | None
    measured: float | None
    half_digit_ms: float = 0.0
    status: RowStatus = RowStatus.OK
    reason: str = ""
    holdout: str = ""
    strategy: str = ""
    rate_per_s: float | None = None
    mixed_share: float | None = None
    hardware: str = ""
    side: str = ""
    definition: str = ""
    unit: str = "ms"
    noise_pct: float | None = None
    asked: bool = True

    @property
    def place(self) -> str:
        """Experiment and load point."""
        return f"{self.experiment}/{self.load_point}"

    @property
    def is_scored(self) -> bool:
        """Whether both sides have a number."""
        return self.status == RowStatus.OK

    @property
    def signed_error_pct(self) -> float:
        """Predicted minus measured in percent of measured; negative: predicted too fast. Only of a scored row."""
        assert self.measured is not None, "only scored rows have an error"
        return self.signed_error_against(self.measured)

    @property
    def ape_pct(self) -> float:
        """Absolute percentage error of the mean."""
        return abs(self.signed_error_pct)

    @property
    def is_within_noise(self) -> bool:
        """Whether the row is scored, and its error no larger than the measurement scatters."""
        return self.is_scored and is_within_noise(self.ape_pct, self.noise_pct)

    def signed_error_against(self, measured: float) -> float:
        """Return the signed error in percent against another measured value."""
        assert self.predicted is not None, "only scored rows have an error"
        return signed_error_pct(self.predicted, measured)

    def counts_at(self, scope: Scope) -> bool:
        """Whether the row enters aggregates at `scope`: train rows count only as the side they are on.

        What a value was chosen by must not lower the error it is reported with.
        """
        return bool(self.holdout) if scope is Scope.SPLIT else self.holdout != "train"

    def group(self, scope: Scope) -> str:
        """Return the key of the group this row belongs to at `scope`."""
        keys = {
            Scope.EXPERIMENT: self.experiment,
            Scope.WORKLOAD: self.workload,
            Scope.FAMILY: self.family,
            Scope.TP: str(self.tensor_parallel),
            Scope.HARDWARE: self.hardware,
            Scope.LOAD_POINT: self.load_point,
            Scope.STRATEGY: self.strategy,
            Scope.SPLIT: self.holdout,
            Scope.OVERALL: "all",
        }
        return keys[scope]


@dataclass(frozen=True, slots=True)
class Gain:
    """How much closer one arm is than another, for one experiment, in percentage points."""

    row: ErrorRow
    value: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """One answer about capacity as a value in percent that means are taken of: an error, or 100 or 0 of a share.

    Attributes
    ----------
    row
        Of which arm, and where.
    about
        The limits that were asked about; empty of a knee.
    """

    quantity: Quantity
    row: ErrorRow
    about: str
    value_pct: float

    @property
    def place(self) -> tuple[str, str, str]:
        """What was answered, whoever did."""
        return self.row.experiment, self.row.load_point, self.about


@dataclass(frozen=True, slots=True)
class Moved:
    """Where one arm's predictions lie beside another's, and what that does to errors of either sign; counts of rows.

    Attributes
    ----------
    slower, faster
        Rows it predicts slower, or faster; rows it leaves as they are count nowhere.
    too_fast, too_fast_better
        Of both, those the other arm predicts faster than measured; and of these, those whose error falls.
    too_slow, too_slow_worse
        Of both, those the other arm predicts slower than measured; and of these, those whose error rises.
    """

    slower: int
    faster: int
    too_fast: int
    too_fast_better: int
    too_slow: int
    too_slow_worse: int


@dataclass(frozen=True, slots=True)
class Series:
    """The gain of one model and workload along TP."""

    label: str
    tensor_parallel: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of how many load points that were asked an arm predicts a metric; a mean holds the predicted ones alone."""

    predicted: int
    asked: int

    @property
    def is_full(self) -> bool:
        """Whether nothing is missing."""
        return self.predicted == self.asked

    def __str__(self) -> str:
        """Return it as it stands beside a mean."""
        return f"{self.predicted} of {self.asked}"


class Scores:
    """All error rows of one method, with the questions criteria and tables ask of them."""

    def __init__(self, rows: Iterable[ErrorRow], judgements: Iterable[Judgement] = ()) -> None:
        self.rows = tuple(rows)
        self.judgements = tuple(judgements)

    @cached_property
    def _by_key(self) -> dict[tuple[str, str, str, str], ErrorRow]:
        return {(row.arm, row.experiment, row.load_point, row.metric): row for row in self.rows}

    @cached_property
    def has_noise(self) -> bool:
        """Whether the scatter of any measurement is known."""
        return any(row.noise_pct is not None for row in self.rows)

    def select(self, arm: str, metric: str) -> tuple[ErrorRow, ...]:
        """Return the scored rows of one arm and metric, in matrix order."""
        return tuple(row for row in self.rows if row.arm == arm and row.metric == metric and row.is_scored)

    def where(self, keep: Callable[[ErrorRow], bool]) -> Scores:
        """Return the scores of some rows alone."""
        return Scores((row for row in self.rows if keep(row)), (each for each in self.judgements if keep(each.row)))

    def judged(self, arm: str, quantity: Quantity) -> tuple[Judgement, ...]:
        """Return the answers about capacity of one arm that have a value of one kind."""
        return tuple(self._judged.get((arm, quantity), ()))

    @cached_property
    def _judged(self) -> dict[tuple[str, Quantity], list[Judgement]]:
        found: dict[tuple[str, Quantity], list[Judgement]] = {}
        for each in self.judgements:
            found.setdefault((each.row.arm, each.quantity), []).append(each)
        return found

    def ratios(self, metric: str, of: str, over: str) -> dict[tuple[str, str], float]:
        """Return prediction of arm `of` over that of arm `over`, by experiment and load point."""
        return {
            (row.experiment, row.load_point): row.predicted / other.predicted
            for row, other in self.pairs(metric, of, over)
            if row.predicted is not None and other.predicted
        }

    def unscored(self) -> tuple[ErrorRow, ...]:
        """Return the rows that have no number."""
        return tuple(row for row in self.rows if not row.is_scored)

    def row(self, arm: str, experiment: str, metric: str, load_point: str) -> ErrorRow | None:
        """Return one row, or None if the matrix has no such run."""
        return self._by_key.get((arm, experiment, load_point, metric))

    def coverage(self, arm: str, metric: str) -> Coverage:
        """Return at how many load points an arm has an error in a metric, and at how many it could have one."""
        own = [row for row in self.rows if row.arm == arm and row.metric == metric and row.asked]
        return Coverage(sum(row.is_scored for row in own), len(own))

    def shared(self, arms: Iterable[str]) -> Scores:
        """Return the rows of load points at which every arm has an error in the metric.

        An arm that has no error in any metric does not count: nothing would be left to compare the others on.
        """
        known = {row.arm for row in self.rows if row.is_scored}
        wanted = [arm for arm in arms if arm in known]
        return self.where(lambda row: all(self._scored(arm, row) is not None for arm in wanted))

    def mape(self, arm: str, metric: str, where: Callable[[ErrorRow], bool] = lambda row: True) -> float | None:
        """Return the unweighted mean error in percent, or None if nothing was scored."""
        errors = [row.ape_pct for row in self.select(arm, metric) if where(row)]
        return mean(errors) if errors else None

    def pairs(self, metric: str, of: str, over: str) -> tuple[tuple[ErrorRow, ErrorRow], ...]:
        """Return the rows of arm `of` beside those of arm `over`, for every load point scored on both."""
        rows = ((row, self._scored(over, row)) for row in self.select(of, metric))
        return tuple((row, other) for row, other in rows if other is not None)

    def gain_over(self, arm: str, row: ErrorRow) -> float | None:
        """Return the gain of a row over the same one under another arm, or None if one of the two has no error."""
        other = self._scored(arm, row) if row.is_scored else None
        return None if other is None else gain_pp(row.ape_pct, other.ape_pct)

    def gains(self, metric: str, of: str, over: str) -> tuple[Gain, ...]:
        """Return the gain of arm `of` over arm `over`, for every load point scored on both."""
        pairs = self.pairs(metric, of, over)
        return tuple(Gain(row, gain_pp(row.ape_pct, other.ape_pct)) for row, other in pairs)

    def moved(self, metric: str, of: str, over: str) -> Moved:
        """Say which way arm `of` moves the predictions of arm `over`, and whether that helps where they were off."""
        pairs = [(row, other) for row, other in self.pairs(metric, of, over) if row.predicted != other.predicted]
        fast = [(row, other) for row, other in pairs if other.signed_error_pct < 0]
        slow = [(row, other) for row, other in pairs if other.signed_error_pct > 0]
        return Moved(
            slower=sum(row.signed_error_pct > other.signed_error_pct for row, other in pairs),
            faster=sum(row.signed_error_pct < other.signed_error_pct for row, other in pairs),
            too_fast=len(fast),
            too_fast_better=sum(row.ape_pct < other.ape_pct for row, other in fast),
            too_slow=len(slow),
            too_slow_worse=sum(row.ape_pct > other.ape_pct for row, other in slow),
        )

    def _scored(self, arm: str, row: ErrorRow) -> ErrorRow | None:
        """Return the same row under another arm, or None if that has no error."""
        other = self.row(arm, row.experiment, row.metric, row.load_point)
        return other if other is not None and other.is_scored else None

    def tp_series(self, metric: str, of: str, over: str) -> tuple[Series, ...]:
        """Return the gain along TP of every model and workload measured at two or more TP of one GPU.

        Over several load points it is their mean.
        """
        gains = self.gains(metric, of, over)
        one_gpu = len({gain.row.hardware for gain in gains}) <= 1
        found: dict[str, dict[int, list[float]]] = {}
        for gain in gains:
            parts = (gain.row.model, "" if one_gpu else gain.row.hardware, gain.row.workload)
            by_tp = found.setdefault("/".join(filter(None, parts)), {})
            by_tp.setdefault(gain.row.tensor_parallel, []).append(gain.value)
        return tuple(
            Series(label, tuple(sorted(by_tp)), tuple(mean(by_tp[tp]) for tp in sorted(by_tp)))
            for label, by_tp in sorted(found.items())
            if len(by_tp) > 1
        )
