"""Answers about capacity on ladders of load: the highest load that meets limits on latencies, measured and predicted.

Contract: pure; results do not depend on the order of rungs. A ladder is one server at several loads, each a `Rung` with
the latencies measured there, those an arm predicts, and the ends of its intervals, in ms by name. A latency that grows
without end is infinite; one that is not known is missing, and its rung does not count for limits on it on either side.

* Capacity: from the lowest load up, where the first limit is crossed, between two loads on a straight line in the
  logarithms of load and latency. 0 where the lowest load misses a limit already, infinite where no load does. Next to a
  latency without end it is the last load that meets, which is what the line tends to.
* An error of capacity is taken where the measured one lies on the ladder. A predicted one beyond its ends is taken to
  be at the end: that error is the least it can be.
* Knee: where a latency reaches so many times its value at the lowest load, each side by its own value.
* Verdict: whether one load meets limits, by the prediction and by the upper end of its interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from operator import attrgetter

from roofline_lab.scoring.errors import PERCENT, signed_error_pct
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS
from roofline_lab.scoring.scores import ErrorRow, Judgement
from roofline_lab.vocabulary import Quantity
from simulator.slo import Limit

Latencies = Mapping[str, float]
Slo = tuple[Limit, ...]
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Rung:
    """One load of a ladder, with latencies in ms by name.

    Attributes
    ----------
    row
        Which load point, of which arm; its metric and numbers play no part.
    load
        Requests per second, or requests in flight.
    low, high
        Ends of the intervals of the predictions that have one.
    """

    row: ErrorRow
    load: float
    measured: Latencies
    predicted: Latencies
    low: Latencies = field(default_factory=dict)
    high: Latencies = field(default_factory=dict)


Side = Callable[[Rung], Latencies]
MEASURED: Side = attrgetter("measured")
PREDICTED: Side = attrgetter("predicted")
LOW: Side = attrgetter("low")
HIGH: Side = attrgetter("high")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every ladder.

    Attributes
    ----------
    slos
        Limits that have to be met together, each an entry of its own.
    knee, knee_factor
        Which latency rises at the knee, and to how many times its value at the lowest load.
    close_factor
        A load is a close call where what is measured there lies within this factor of the limit.
    wrong_met_weight
        How many wrong "not met" a wrong "met" counts as.
    """

    slos: tuple[Slo, ...]
    knee: str
    knee_factor: float
    close_factor: float
    wrong_met_weight: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """The highest load of one ladder, or its knee, on all sides.

    Attributes
    ----------
    about
        The limits, as they may be read again; empty of a knee.
    lowest, highest
        Ends of the ladder.
    pessimistic, optimistic
        By the upper and the lower ends of intervals; None where there are none.
    """

    row: ErrorRow
    about: str
    lowest: float
    highest: float
    measured: float
    predicted: float
    pessimistic: float | None = None
    optimistic: float | None = None

    @property
    def is_divided(self) -> bool:
        """Whether the measured one lies on the ladder."""
        return 0.0 < self.measured < math.inf

    @property
    def is_beyond(self) -> bool:
        """Whether the predicted one lies beyond an end of the ladder, so that its error is the least it can be."""
        return not 0.0 < self.predicted < math.inf

    @property
    def shown(self) -> float:
        """The predicted one, at the end of the ladder where it lies beyond."""
        return min(max(self.predicted, self.lowest), self.highest)

    @property
    def error_pct(self) -> float:
        """Signed error; positive: more is promised than there is."""
        return signed_error_pct(self.shown, self.measured)

    @property
    def is_open(self) -> bool:
        """Whether the range of the prediction has no end on the ladder on one side or both."""
        return self.pessimistic == 0.0 or self.optimistic == math.inf

    @property
    def is_inside(self) -> bool | None:
        """Whether the measured one lies in the range of the prediction; None where it has none."""
        if self.pessimistic is None or self.optimistic is None:
            return None
        return self.pessimistic <= self.measured <= self.optimistic


@dataclass(frozen=True, slots=True)
class SloVerdict:
    """Whether one load meets limits.

    Attributes
    ----------
    by_upper_end
        What the upper end of the interval says; None where there is none.
    is_close
        Whether the measured side is a close call.
    """

    row: ErrorRow
    about: str
    measured: bool
    predicted: bool
    by_upper_end: bool | None
    is_close: bool


@dataclass(frozen=True)
class Answers:
    """All answers of all arms on all ladders, and what was asked."""

    question: Question
    capacities: tuple[Capacity, ...]
    knees: tuple[Capacity, ...]
    verdicts: tuple[SloVerdict, ...]

    @property
    def judgements(self) -> Iterator[Judgement]:
        """Every answer as values in percent that means are taken of."""
        for capacity in self.capacities:
            yield from _of_capacity(capacity, Quantity.CAPACITY_ERROR)
        for knee in self.knees:
            yield from _of_capacity(knee, Quantity.KNEE_ERROR)
        for verdict in self.verdicts:
            yield from _of_verdict(verdict, self.question.wrong_met_weight)


def answers_of(ladders: Iterable[Sequence[Rung]], question: Question) -> Answers:
    """Return what is measured and predicted of ladders; one with a single rung has verdicts alone.

    Parameters
    ----------
    ladders
        Each the rungs of one arm on one server.
    """
    sorted_ladders = [sorted(rungs, key=lambda rung: rung.load) for rungs in ladders]
    several = [rungs for rungs in sorted_ladders if len(rungs) > 1]
    capacities = (capacity_of(rungs, slo) for rungs in several for slo in question.slos)
    knees = (knee_of(rungs, question) for rungs in several)
    rungs = [rung for own in sorted_ladders for rung in own]
    verdicts = (verdict_on(rung, slo, question.close_factor) for rung in rungs for slo in question.slos)
    return Answers(
        question,
        tuple(each for each in capacities if each is not None),
        tuple(each for each in knees if each is not None),
        tuple(each for each in verdicts if each is not None),
    )


def text_of(slo: Slo) -> str:
    """Return limits that are met together as they may be read again."""
    return ", ".join(limit.text for limit in slo)


# --- one ladder -----------------------------------------------------------------------------------------


def crossing(points: Points, at_most: float) -> float:
    """Return the load at which a latency crosses a limit for the first time, on lines between logarithms.

    Parameters
    ----------
    points
        Load and latency, at least one, loads rising.
    """
    if points[0][1] > at_most:
        return 0.0
    for (load, latency), (next_load, next_latency) in pairwise(points):
        if next_latency > at_most:
            if math.isinf(next_latency):
                return load
            share = math.log(at_most / latency) / math.log(next_latency / latency)
            return float(load * (next_load / load) ** share)
    return math.inf


def capacity_of(rungs: Sequence[Rung], slo: Slo) -> Capacity | None:
    """Return the capacity of a ladder under limits; None where a latency is not known at two loads on both sides."""
    known = {limit: _points(rungs, limit.name, MEASURED, PREDICTED) for limit in slo}
    if any(len(points) < 2 for points in known.values()):
        return None
    ends = {limit: _points(rungs, limit.name, MEASURED, HIGH, LOW) for limit in slo}
    has_ends = all(len(ends[limit]) == len(known[limit]) for limit in slo)
    pessimistic, optimistic = (_first_crossing(ends, side) if has_ends else None for side in (1, 2))
    loads = sorted({load for points in known.values() for load, *_ in points})
    sides = _first_crossing(known, 0), _first_crossing(known, 1)
    return Capacity(_of_ladder(rungs[0].row), text_of(slo), loads[0], loads[-1], *sides, pessimistic, optimistic)


def knee_of(rungs: Sequence[Rung], question: Question) -> Capacity | None:
    """Return the knee of a ladder; None where its latency is not known at two loads on both sides."""
    points = _points(rungs, question.knee, MEASURED, PREDICTED)
    if len(points) < 2:
        return None
    sides = ([(load, latencies[side]) for load, *latencies in points] for side in (0, 1))
    found = (crossing(side, question.knee_factor * side[0][1]) for side in sides)
    return Capacity(_of_ladder(rungs[0].row), "", points[0][0], points[-1][0], *found)


def verdict_on(rung: Rung, slo: Slo, close_factor: float) -> SloVerdict | None:
    """Return whether a load meets limits; None where that is not known of both sides."""
    measured, predicted = meets(rung.measured, slo), meets(rung.predicted, slo)
    if measured is None or predicted is None:
        return None
    nearest = max(rung.measured[limit.name] / limit.at_most_ms for limit in slo if limit.name in rung.measured)
    is_close = 1.0 / close_factor <= nearest <= close_factor
    return SloVerdict(rung.row, text_of(slo), measured, predicted, meets(rung.high, slo), is_close)


def meets(latencies: Latencies, slo: Slo) -> bool | None:
    """Return whether all limits are met; None where that is not known. One that is missed decides alone."""
    told = [latencies[limit.name] <= limit.at_most_ms for limit in slo if limit.name in latencies]
    if not all(told):
        return False
    return True if len(told) == len(slo) else None


def _points(rungs: Sequence[Rung], name: str, *sides: Side) -> list[tuple[float, ...]]:
    """Return load and latency on each side, of the rungs at which all sides know it."""
    found = ((rung.load, [side(rung).get(name) for side in sides]) for rung in rungs)
    return [(load, *(value for value in values if value is not None)) for load, values in found if None not in values]


def _first_crossing(known: Mapping[Limit, Sequence[tuple[float, ...]]], side: int) -> float:
    """Return where the first of several limits is crossed on one side: the place of its latency behind the load."""
    return min(
        crossing([(load, latencies[side]) for load, *latencies in points], limit.at_most_ms)
        for limit, points in known.items()
    )


def _of_ladder(row: ErrorRow) -> ErrorRow:
    return replace(row, load_point=ALL_LOAD_POINTS)


# --- judged -------------------------------------------------------------------------------------------------


def _of_capacity(capacity: Capacity, error: Quantity) -> Iterator[Judgement]:
    if not capacity.is_divided:
        return
    yield Judgement(error, capacity.row, capacity.about, abs(capacity.error_pct))
    if error is Quantity.CAPACITY_ERROR:
        yield Judgement(Quantity.CAPACITY_BEYOND, capacity.row, capacity.about, _pct(capacity.is_beyond))
    if (inside := capacity.is_inside) is not None:
        yield Judgement(Quantity.CAPACITY_INSIDE, capacity.row, capacity.about, _pct(inside))
        yield Judgement(Quantity.RANGE_OPEN, capacity.row, capacity.about, _pct(capacity.is_open))


def _of_verdict(verdict: SloVerdict, weight: float) -> Iterator[Judgement]:
    right = verdict.predicted == verdict.measured
    yield Judgement(Quantity.VERDICT_RIGHT, verdict.row, verdict.about, _pct(right))
    if verdict.is_close:
        yield Judgement(Quantity.CLOSE_VERDICT_RIGHT, verdict.row, verdict.about, _pct(right))
    yield from _of_decision(verdict, verdict.predicted, weight, PREDICTION_QUANTITIES)
    if verdict.by_upper_end is not None:
        yield from _of_decision(verdict, verdict.by_upper_end, weight, UPPER_END_QUANTITIES)


# Wrong "met", wrong "not met", and both weighted.
PREDICTION_QUANTITIES = (Quantity.WRONG_MET, Quantity.WRONG_NOT_MET, Quantity.VERDICT_COST)
UPPER_END_QUANTITIES = (Quantity.UPPER_WRONG_MET, Quantity.UPPER_WRONG_NOT_MET, Quantity.UPPER_VERDICT_COST)


def _of_decision(
    verdict: SloVerdict, decided: bool, weight: float, quantities: tuple[Quantity, ...]
) -> Iterator[Judgement]:
    wrong_met, wrong_not_met = decided and not verdict.measured, verdict.measured and not decided
    values = (_pct(wrong_met), _pct(wrong_not_met), weight * _pct(wrong_met) + _pct(wrong_not_met))
    for quantity, value in zip(quantities, values, strict=True):
        yield Judgement(quantity, verdict.row, verdict.about, value)


def _pct(holds: bool) -> float:
    return PERCENT if holds else 0.0
