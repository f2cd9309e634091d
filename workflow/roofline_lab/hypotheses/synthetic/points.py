"""From a sweep's axes and cases to its points, and from a batch plan to one engine step.

Pure and ordered: the grid of the axes in the order written, the last axis fastest, and within each
of its points every case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from roofline_lab.hypotheses.expressions import formula
from roofline_lab.hypotheses.synthetic.rows import Scalar
from roofline_lab.hypotheses.synthetic.spec import Axis, BatchPlan, DecodeGroup, Range, Setup, Sweep, Term
from simulator.errors import ConfigError
from simulator.steptime.batch import Batch

# Beyond this a sweep is a typing error, not an experiment.
MOST_POINTS = 20_000


@dataclass(frozen=True)
class Point:
    """One point of one sweep.

    Attributes
    ----------
    values
        Axes and case values by name.
    parts
        What tells this point from the others of its sweep, in words.
    """

    sweep: str
    values: Mapping[str, Scalar]
    parts: tuple[str, ...]

    @cached_property
    def key(self) -> str:
        """Unique name, starting with the sweep."""
        return "/".join((self.sweep, *(part.replace(" ", "=") for part in self.parts)))

    @property
    def label(self) -> str:
        """The point in words, without its sweep."""
        return ", ".join(self.parts)

    def model(self, setup: Setup) -> str:
        """Return the model that runs here."""
        return str(self.values.get("model", setup.model))

    def tensor_parallel(self, setup: Setup) -> int:
        """Return the TP degree here."""
        return whole(self.values.get("tensor_parallel", setup.tensor_parallel), self, "tensor_parallel")


def points(sweep: Sweep) -> tuple[Point, ...]:
    """Return the points of one sweep.

    Raises
    ------
    ConfigError
        If there is none, or more than a sweep can sensibly have, or `where` names something unknown.
    """
    found = tuple(_kept(sweep))
    if not found:
        raise ConfigError(f"sweeps.{sweep.id}: has no point; widen its axes or its where")
    if len(found) > MOST_POINTS:
        raise ConfigError(f"sweeps.{sweep.id}: has {len(found)} points; at most {MOST_POINTS} are allowed")
    return found


def batch_at(plan: BatchPlan, point: Point) -> Batch:
    """Return one engine step at one point.

    Raises
    ------
    ConfigError
        If a length or a count is not a whole number of the allowed size, or the batch is empty.
    """
    chunks = tuple(
        (at_least(term(group.past, point), 0, point, "past"), at_least(term(group.new, point), 1, point, "new"))
        for group in plan.prefill
        for _ in range(at_least(term(group.count, point), 0, point, "count"))
    )
    decode = tuple(length for group in plan.decode for length in _lengths(group, point))
    if not chunks and not decode:
        raise ConfigError(f"sweeps.{point.sweep}: the batch at {point.label} has no request")
    return Batch(chunks, decode)


def term(value: Term, point: Point) -> int:
    """Return a whole number at one point."""
    if isinstance(value, int):
        return value
    expression = formula(value)
    for name in expression.names:
        if name not in point.values:
            known = ", ".join(point.values)
            raise ConfigError(f"sweeps.{point.sweep}: '{value}' names '{name}', which is no axis; allowed: {known}")
    return whole(expression(point.values.__getitem__), point, value)


def whole(value: object, point: Point, what: str) -> int:
    """Return a whole number, or say where it is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int):
        raise ConfigError(f"sweeps.{point.sweep}: {what} is {value!r} at {point.label}; it must be a whole number")
    return value


def at_least(value: int, smallest: int, point: Point, what: str) -> int:
    """Return `value`, or say where it is too small."""
    if value < smallest:
        raise ConfigError(f"sweeps.{point.sweep}: {what} is {value} at {point.label}; it must be at least {smallest}")
    return value


def _lengths(group: DecodeGroup, point: Point) -> Iterator[int]:
    found: list[int] = []
    if group.spread is not None:
        start, to = term(group.spread.start, point), term(group.spread.to, point)
        count = at_least(term(group.spread.count, point), 0, point, "count")
        found = [start + (to - start) * place // max(count - 1, 1) for place in range(count)]
    elif group.steps is not None:
        start, step = term(group.steps.start, point), term(group.steps.step, point)
        count = at_least(term(group.steps.count, point), 0, point, "count")
        found = [start + step * place for place in range(count)]
    elif group.kv is not None:
        given = group.kv if isinstance(group.kv, tuple) else (group.kv,)
        found = [term(one, point) for one in given] * at_least(term(group.count, point), 0, point, "count")
    yield from (at_least(length, 0, point, "kv") for length in found)


def _kept(sweep: Sweep) -> Iterator[Point]:
    if sweep.where is None:
        yield from _all(sweep)
        return
    condition = formula(sweep.where)
    for point in _all(sweep):
        for name in condition.names:
            if name not in point.values:
                raise ConfigError(f"sweeps.{sweep.id}.where: '{name}' is no axis; allowed: {', '.join(point.values)}")
        if condition(point.values.__getitem__):
            yield point


def _all(sweep: Sweep) -> Iterator[Point]:
    for combination in product(*(_values(axis) for axis in sweep.axes.values())):
        values = dict(zip(sweep.axes, combination, strict=True))
        parts = tuple(_part(name, value) for name, value in values.items())
        if not sweep.cases:
            yield Point(sweep.id, values, parts)
        for case in sweep.cases:
            yield Point(sweep.id, {**values, **case.values}, (*parts, case.id))


def _values(axis: Axis) -> tuple[Scalar, ...]:
    return tuple(axis.values()) if isinstance(axis, Range) else axis


def _part(name: str, value: Scalar) -> str:
    return value if isinstance(value, str) else f"{name} {value}"
