"""A synthetic hypothesis as its author writes it: `kind: synthetic` in `hypothesis.yaml`.

Arms are overlays on step-time options, as everywhere. Instead of measured experiments there are
`sweeps`: points generated from axes or listed as cases, at each of which every arm prices one or
more step batches (or answers one kernel look-up). `columns` are formulas over what the arms found at
a point, `summaries` condense a column, `criteria` judge columns and summaries.

From axes and cases to points, and from a batch plan to one engine step, all is pure and ordered: the grid of the axes
in the order written, the last axis fastest, and within each of its points every case.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Annotated, Literal

from pydantic import Field, Strict, StrictBool, StrictInt, StrictStr, model_validator

from roofline_lab.hypotheses.expressions import formula
from roofline_lab.hypotheses.spec import Claim, Name, Text
from roofline_lab.hypotheses.synthetic.criteria import RowCriterion
from roofline_lab.hypotheses.synthetic.rows import Column, Scalar, Summary
from simulator.errors import ConfigError
from simulator.steptime.batch import Batch
from simulator.validation import Count, Finite, Positive, StrictModel, suggest

# Beyond this a sweep is a typing error, not an experiment.
MOST_POINTS = 20_000
# Points before `where` has chosen among them: some seconds of looking.
MOST_CANDIDATES = 200_000
# Requests in one batch; servers run hundreds.
MOST_REQUESTS = 10_000
# Requests of all batches of a sweep, each of which every arm prices.
MOST_PRICED_REQUESTS = 1_000_000
# A length in tokens or a size of a matrix; vocabularies and contexts reach some millions.
LARGEST_TERM = 10**9

AxisValue = StrictInt | Annotated[float, Strict(), Field(allow_inf_nan=False)] | StrictStr
# A whole number, or a formula over the axes of its sweep.
Term = StrictInt | StrictStr
Kernels = Literal["embedded", "tabulated"]


class HardwareOverride(StrictModel):
    """Peaks that differ from the data sheet's, and why."""

    dense_bf16_tflops: Positive | None = None
    memory_bandwidth_tbs: Positive | None = None
    source: Text


class Setup(StrictModel):
    """What a step runs on where a sweep's axes do not say otherwise."""

    model: Text
    hardware: Text
    tensor_parallel: Count = 1
    hardware_override: HardwareOverride | None = None


class Range(StrictModel):
    """Numbers from `from` up to at most `to`, by adding `step` or multiplying by `factor`."""

    start: StrictInt = Field(alias="from")
    to: StrictInt
    step: Count = 1
    factor: Annotated[int, Strict(), Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _grows(self) -> Range:
        if self.to < self.start:
            raise ValueError(f"from {self.start} to {self.to} holds no point")
        if self.factor is not None and self.start < 1:
            raise ValueError("a range with a factor must start at 1 or above")
        count = (self.to - self.start) // self.step + 1
        if self.factor is None and count > MOST_POINTS:
            raise ValueError(f"{count} values; at most {MOST_POINTS}, use a larger step")
        return self

    def values(self) -> Iterator[int]:
        """Yield the numbers."""
        value = self.start
        while value <= self.to:
            yield value
            value = value * self.factor if self.factor is not None else value + self.step


Axis = Range | Annotated[tuple[AxisValue, ...], Field(min_length=1)]


class Spread(StrictModel):
    """`count` lengths spread evenly from `from` to `to`, rounded down."""

    start: Term = Field(alias="from")
    to: Term
    count: Term


class Steps(StrictModel):
    """`count` lengths from `from` on, `step` apart."""

    start: Term = Field(alias="from")
    step: Term
    count: Term


class DecodeGroup(StrictModel):
    """Decode requests of one batch: `count` with `kv` past tokens each, or a row of lengths."""

    kv: Term | Annotated[tuple[Term, ...], Field(min_length=1)] | None = None
    count: Term = 1
    spread: Spread | None = None
    steps: Steps | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> DecodeGroup:
        if sum(part is not None for part in (self.kv, self.spread, self.steps)) != 1:
            raise ValueError("give exactly one of kv, spread and steps")
        return self


class PrefillGroup(StrictModel):
    """`count` prefill chunks of `new` tokens after `past` ones."""

    new: Term
    past: Term = 0
    count: Term = 1


class BatchPlan(StrictModel):
    """One engine step, as formulas over the axes."""

    prefill: tuple[PrefillGroup, ...] = ()
    decode: tuple[DecodeGroup, ...] = ()


class GemmQuestion(StrictModel):
    """Efficiency of an (m x k) @ (k x n)."""

    m: Term
    k: Term
    n: Term


class PrefillQuestion(StrictModel):
    """Efficiency of causal attention over one sequence."""

    tokens: Term


class DecodeQuestion(StrictModel):
    """Efficiency of decode attention over `batch` requests of `kv` tokens."""

    batch: Term
    kv: Term


class KernelQuestion(StrictModel):
    """One kernel look-up."""

    gemm: GemmQuestion | None = None
    prefill: PrefillQuestion | None = None
    decode: DecodeQuestion | None = None

    @model_validator(mode="after")
    def _asks_one_thing(self) -> KernelQuestion:
        if sum(part is not None for part in (self.gemm, self.prefill, self.decode)) != 1:
            raise ValueError("give exactly one of gemm, prefill and decode")
        return self


class Case(StrictModel):
    """One named point."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    values: dict[Name, AxisValue] = Field(default_factory=dict)


class Sweep(StrictModel):
    """Points at which every arm is evaluated: the grid of all axes, times the cases if there are any.

    Attributes
    ----------
    axes
        Named values; `model` and `tensor_parallel` replace what `setup` says.
    where
        Keep only points for which this formula over axes and case values is not 0.
    batches, lookup
        What is priced at a point: named step batches, or one kernel look-up.
    rows
        Whether every point becomes a table row and numbers, or only its summaries do.
    """

    id: Name
    title: Text
    axes: dict[Name, Axis] = Field(default_factory=dict)
    cases: tuple[Case, ...] = ()
    where: Text | None = None
    batches: dict[Name, BatchPlan] = Field(default_factory=dict)
    lookup: KernelQuestion | None = None
    rows: StrictBool = True

    @model_validator(mode="after")
    def _is_complete(self) -> Sweep:
        if not self.axes and not self.cases:
            raise ValueError("give axes, cases or both; a sweep without them has no point")
        if bool(self.batches) == (self.lookup is not None):
            raise ValueError("give either batches or lookup")
        names = [case.id for case in self.cases]
        if len(set(names)) != len(names):
            raise ValueError("cases: an id is given twice")
        return self


class FigureAxis(StrictModel):
    """One axis of a figure."""

    label: Text
    log: StrictBool = False


class Mark(StrictModel):
    """A reference line across a figure."""

    value: Finite
    label: Text


class Figure(StrictModel):
    """Columns drawn over an axis (`lines`) or per point (`bars`), one panel per sweep."""

    id: Name
    kind: Literal["lines", "bars"]
    title: Text
    sweeps: Annotated[tuple[Name, ...], Field(min_length=1)]
    columns: Annotated[tuple[Name, ...], Field(min_length=1, max_length=4)]
    along: Name | None = None
    x: FigureAxis
    y: FigureAxis | None = None
    mark: Mark | None = None

    @model_validator(mode="after")
    def _has_its_axes(self) -> Figure:
        if self.kind == "lines" and (self.along is None or self.y is None):
            raise ValueError("a figure of lines needs along (an axis of the sweep) and y")
        if self.kind == "bars" and (self.along is not None or self.y is not None):
            raise ValueError("a figure of bars has no along and no y; x is the value's axis")
        return self


class SyntheticHypothesis(Claim):
    """A claim about the simulator's own step times, judged on generated points.

    Attributes
    ----------
    kernels
        Which kernels price the steps; the last one gives the page its status.
    vanishes_by
        The criterion or control that looks where the effect should vanish (rule ED-2).
    """

    kind: Literal["synthetic"]
    setup: Setup
    kernels: Annotated[tuple[Kernels, ...], Field(min_length=1)] = ("embedded",)
    sweeps: Annotated[tuple[Sweep, ...], Field(min_length=1)]
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]
    summaries: tuple[Summary, ...] = ()
    criteria: Annotated[tuple[RowCriterion, ...], Field(min_length=1)]
    controls: tuple[RowCriterion, ...] = ()
    vanishes_by: Name | None = None
    figures: tuple[Figure, ...] = ()

    @property
    def judged(self) -> tuple[RowCriterion, ...]:
        """Criteria and controls, in report order."""
        return (*self.criteria, *self.controls)

    def sweep(self, name: str) -> Sweep:
        """Return one sweep by id."""
        return next(sweep for sweep in self.sweeps if sweep.id == name)

    def column(self, name: str) -> Column:
        """Return one column by id."""
        return next(column for column in self.columns if column.id == name)

    @model_validator(mode="after")
    def _names_are_known_and_unique(self) -> SyntheticHypothesis:
        problems = [*_repeated(self), *_unknown(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _repeated(spec: SyntheticHypothesis) -> Iterator[str]:
    groups = {
        "sweeps": [sweep.id for sweep in spec.sweeps],
        "columns and summaries": [one.id for one in (*spec.columns, *spec.summaries)],
        "criteria": [criterion.id for criterion in spec.judged],
        "figures": [figure.id for figure in spec.figures],
        "kernels": list(spec.kernels),
    }
    for where, names in groups.items():
        for name in dict.fromkeys(name for name in names if names.count(name) > 1):
            yield f"{where}: '{name}' is given twice"


def _unknown(spec: SyntheticHypothesis) -> Iterator[str]:
    sweeps, columns = [sweep.id for sweep in spec.sweeps], [column.id for column in spec.columns]
    summaries = [summary.id for summary in spec.summaries]
    used: list[tuple[str, tuple[str, ...], list[str]]] = []
    used += [(f"columns.{column.id}.sweeps", column.sweeps, sweeps) for column in spec.columns]
    used += [(f"summaries.{summary.id}.sweeps", summary.sweeps, sweeps) for summary in spec.summaries]
    used += [(f"summaries.{summary.id}.column", summary.columns, columns) for summary in spec.summaries]
    used += [(f"criteria.{criterion.id}.sweeps", getattr(criterion, "sweeps", ()), sweeps) for criterion in spec.judged]
    used += [(f"criteria.{criterion.id}.column", criterion.columns, columns) for criterion in spec.judged]
    used += [(f"criteria.{criterion.id}.of", criterion.summaries, summaries) for criterion in spec.judged]
    used += [(f"figures.{figure.id}.sweeps", figure.sweeps, sweeps) for figure in spec.figures]
    used += [(f"figures.{figure.id}.columns", figure.columns, columns) for figure in spec.figures]
    if spec.vanishes_by is not None:
        used.append(("vanishes_by", (spec.vanishes_by,), [criterion.id for criterion in spec.judged]))
    for where, names, known in used:
        for name in names:
            if name not in known:
                yield f"{where}: unknown '{name}'; {suggest(name, known)}"


# --- points and batches -----------------------------------------------------------------------


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
    candidates = math.prod(len(_values(axis)) for axis in sweep.axes.values()) * max(1, len(sweep.cases))
    if candidates > MOST_CANDIDATES:
        raise ConfigError(
            f"sweeps.{sweep.id}: its axes and cases make {candidates} points; at most {MOST_CANDIDATES} are looked at, "
            "of which `where` may keep some"
        )
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
    requests = sum(_request_count(group, point) for group in (*plan.prefill, *plan.decode))
    if requests == 0:
        raise ConfigError(f"sweeps.{point.sweep}: the batch at {point.label} has no request")
    if requests > MOST_REQUESTS:
        batch = f"the batch at {point.label}"
        raise ConfigError(f"sweeps.{point.sweep}: {batch} has {requests} requests; at most {MOST_REQUESTS} are priced")
    chunks = tuple(
        (at_least(term(group.past, point), 0, point, "past"), at_least(term(group.new, point), 1, point, "new"))
        for group in plan.prefill
        for _ in range(_request_count(group, point))
    )
    return Batch(chunks, tuple(length for group in plan.decode for length in _lengths(group, point)))


def term(value: Term, point: Point) -> int:
    """Return a whole number at one point."""
    if isinstance(value, int):
        return _sane(value, point, str(value))
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
    return _sane(value, point, what)


def _sane(value: int, point: Point, what: str) -> int:
    if abs(value) > LARGEST_TERM:
        raise ConfigError(
            f"sweeps.{point.sweep}: {what} is {value} at {point.label}; lengths and sizes go up to {LARGEST_TERM}"
        )
    return value


def _request_count(group: PrefillGroup | DecodeGroup, point: Point) -> int:
    """Return how many requests a group adds to a batch."""
    row = (group.spread or group.steps) if isinstance(group, DecodeGroup) else None
    count = at_least(term(row.count if row else group.count, point), 0, point, "count")
    each = len(group.kv) if isinstance(group, DecodeGroup) and isinstance(group.kv, tuple) else 1
    return count * each


def at_least(value: int, smallest: int, point: Point, what: str) -> int:
    """Return `value`, or say where it is too small."""
    if value < smallest:
        raise ConfigError(f"sweeps.{point.sweep}: {what} is {value} at {point.label}; it must be at least {smallest}")
    return value


def _lengths(group: DecodeGroup, point: Point) -> Iterator[int]:
    found: list[int] = []
    count = _request_count(group, point)
    if group.spread is not None:
        start, to = term(group.spread.start, point), term(group.spread.to, point)
        found = [start + (to - start) * place // max(count - 1, 1) for place in range(count)]
    elif group.steps is not None:
        start, step = term(group.steps.start, point), term(group.steps.step, point)
        found = [start + step * place for place in range(count)]
    elif group.kv is not None:
        given = group.kv if isinstance(group.kv, tuple) else (group.kv,)
        found = [term(one, point) for one in given] * (count // len(given))
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
