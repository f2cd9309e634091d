"""What an evaluation knows about one load point: figures, predicted and measured, and why one is missing.

Contract: records are frozen, picklable and free of paths. An error exists only where a figure was
measured, predicted and comparable; at a saturated load point no latency has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from roofline_lab.predict.predictors import Flag, Holdout, Note
from roofline_lab.residuals.record import Residual
from roofline_lab.scoring.comparison import Comparison
from roofline_lab.scoring.errors import PERCENT, relative_difference
from roofline_lab.vocabulary import RowStatus
from simulator.trust.intervals import INTER_TOKEN, Trust

# Results that no mean of others holds, because one of them can outweigh all, or the server is of another kind.
PREDICTED_SATURATED = "predicted saturated"
UNKNOWN_SOFTWARE = "software not calibrated"
EXCLUDED = (PREDICTED_SATURATED, UNKNOWN_SOFTWARE)
HEADLINE = ("ttft_mean", INTER_TOKEN, "e2e_mean")
LABELS: Mapping[str, str] = {"ttft": "TTFT", "inter_token": "ITL", "itl": "ITL", "tpot": "TPOT", "e2e": "E2E"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a load point belongs: everything results are grouped by.

    Attributes
    ----------
    rate_per_s, clients
        Requests sent per second, or how many are kept in flight; None where the load is of another kind.
    """

    experiment: str
    load_point: str
    family: str
    model: str
    architecture: str
    hardware: str
    tensor_parallel: int
    workload: str
    strategy: str
    tool: str
    side: str
    rate_per_s: float | None = None
    clients: int | None = None

    @property
    def name(self) -> str:
        """Experiment and load point."""
        return f"{self.experiment}/{self.load_point}"


def moved_pct(before: float, after: float) -> float:
    """Return how far a prediction moves when an assumption is the other way round, in percent."""
    return relative_difference(after, before) * PERCENT


@dataclass(frozen=True, slots=True)
class AssumptionCost:
    """How far a prediction moves if one thing that was assumed about a server is the other way round.

    Attributes
    ----------
    load_point
        The load point looked at, with its experiment.
    assumed, otherwise
        In words.
    moves
        Mean latency in ms as assumed and otherwise, by its usual name.
    reason
        Why there is no move, or empty.
    """

    load_point: str
    assumed: str
    otherwise: str
    moves: Mapping[str, tuple[float, float]]
    reason: str = ""

    @property
    def largest_pct(self) -> float:
        """Largest move of a mean in percent of the prediction as assumed."""
        return max((abs(moved_pct(*move)) for move in self.moves.values()), default=0.0)


@dataclass(frozen=True, slots=True)
class PointResult:
    """One load point under one predictor.

    Attributes
    ----------
    status, reason
        `ok`, `saturated`, or why nothing could be predicted.
    quality
        Names of the quality flags of the measurement.
    saturated_measured, saturated_predicted
        None where not known.
    fitted_as
        Family under which the model was fitted to; None if it was not.
    residual
        What the errors of the means may go with; None where there are none.
    distances
        Latency -> distance of its distribution over requests, where single requests were recorded.
    costs
        What assumptions about the server cost, where this is the load point they were looked at.
    trust
        How far it may be trusted, with an interval for every latency; None where nothing is known of what predicts.
    """

    place: Place
    predictor: str
    holdout: Holdout
    status: RowStatus
    reason: str
    figures: tuple[Comparison, ...]
    notes: tuple[Note, ...] = ()
    quality: tuple[str, ...] = ()
    saturated_measured: bool | None = None
    saturated_predicted: bool | None = None
    fitted_as: str | None = None
    requests: int = 0
    completed: int = 0
    residual: Residual | None = None
    distances: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    costs: tuple[AssumptionCost, ...] = ()
    trust: Trust | None = None

    @property
    def family(self) -> str:
        """What errors are shared within: the family that was fitted to, else the one that is stated."""
        return self.fitted_as or self.place.family

    @property
    def falsely_saturated(self) -> bool:
        """Whether a queue grows in the simulation, and nothing says that it did on the server."""
        return self.saturated_predicted is True and self.saturated_measured is not True

    @property
    def excluded(self) -> str:
        """Why the result is in no mean with others, or empty."""
        if self.falsely_saturated:
            return PREDICTED_SATURATED
        return UNKNOWN_SOFTWARE if any(note.flag is Flag.SOFTWARE for note in self.notes) else ""

    def figure(self, name: str) -> Comparison | None:
        """Return one figure, or None if it was not measured."""
        return next((figure for figure in self.figures if figure.name == name), None)

    def error_pct(self, name: str) -> float | None:
        """Return the signed error of one figure, or None."""
        figure = self.figure(name)
        return None if figure is None else figure.error_pct


@dataclass(frozen=True, slots=True)
class Refused:
    """An experiment, or a load point, that nothing could be predicted for."""

    place: str
    status: RowStatus
    reason: str


def label(name: str) -> str:
    """Return a figure's usual name: `ttft_p90` -> `TTFT p90`; a mean has no rank."""
    stem, _, rank = name.rpartition("_")
    words = LABELS.get(stem, stem)
    return words if rank == "mean" else f"{words} {rank}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun in the right form: 1 experiment, 2 experiments."""
    return f"{number} {noun if number == 1 else f'{noun}s'}"
