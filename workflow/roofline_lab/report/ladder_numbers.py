"""Answers about capacity as numbers: means of what they are judged by, in groups, and every measured capacity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from roofline_lab.hypotheses.capacity import Load
from roofline_lab.scoring.capacity import Answers, Capacity
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS, Number
from roofline_lab.scoring.scores import Judgement
from roofline_lab.scoring.statistics import median
from roofline_lab.vocabulary import LoadFigure, Quantity, Scope, Statistic

OVERALL = "all"
ERRORS = (Quantity.CAPACITY_ERROR, Quantity.KNEE_ERROR)
UNITS: Mapping[Load, str] = {"concurrency": "count", "rate": "per_s"}
# Scope -> the group an answer belongs to in it; nothing where it belongs to none.
GROUPS: Mapping[Scope, Callable[[Judgement], str]] = {
    Scope.OVERALL: lambda each: OVERALL,
    Scope.FAMILY: lambda each: each.row.family,
    Scope.HARDWARE: lambda each: each.row.hardware,
    Scope.LIMIT: lambda each: each.about,
    Scope.EXPERIMENT: lambda each: each.row.experiment if each.quantity is Quantity.CAPACITY_ERROR else "",
}


def capacity_numbers(method: str, arms: Sequence[str], answers: Answers, load: Load) -> Iterator[Number]:
    """Yield every number of the answers of one method, on ladders that go up in a kind of load."""
    found: dict[tuple[str, Scope, str, Quantity], list[float]] = {}
    for each in answers.judgements:
        for scope, group_of in GROUPS.items():
            if group := group_of(each):
                found.setdefault((each.row.arm, scope, group, each.quantity), []).append(each.value_pct)
    for (arm, scope, group, quantity), values in found.items():
        if arm in arms:
            place = (method, arm, ALL_LOAD_POINTS, scope, group, quantity)
            yield Number(*place, Statistic.MEAN, mean(values), "pct")
            if quantity in ERRORS:
                yield Number(*place, Statistic.MEDIAN, median(values), "pct")
            yield Number(*place, Statistic.POINTS, float(len(values)), "count")
    for figure, capacities in ((LoadFigure.CAPACITY, answers.capacities), (LoadFigure.KNEE, answers.knees)):
        for capacity in capacities:
            if capacity.row.arm in arms and capacity.is_divided:
                yield from _of_ladder(method, figure, capacity, UNITS[load])


def _of_ladder(method: str, figure: LoadFigure, capacity: Capacity, unit: str) -> Iterator[Number]:
    """Yield one capacity that was measured, or knee."""
    row = capacity.row
    place = (method, row.arm, capacity.about or ALL_LOAD_POINTS, Scope.EXPERIMENT, row.experiment, figure)
    yield Number(*place, Statistic.MEASURED, capacity.measured, unit)
    yield Number(*place, Statistic.PREDICTED, capacity.shown, unit)
    yield Number(*place, Statistic.SIGNED_ERROR, capacity.error_pct, "pct")
