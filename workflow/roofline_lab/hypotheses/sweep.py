"""A parameter chosen on some experiments and judged on others: who chooses, who judges, and the search over a range.

A split names both sides. Cross-validation deals all experiments into folds: each is judged once, with what the
others chose. A model family on both sides lets those that judge share their errors with those that choose, so that
needs a reason in the spec, which the report prints.

A sweep searches one option of one arm. Its values are simulated on the experiments that choose alone;
the value with the lowest mean error there (the smallest such value) becomes the arm's, and that of the
arms that follow it. What an arm is worth is then measured on the others, never on those that chose it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.scoring.errors import mean
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.scoring.uncertainty import Located, Uncertainty
from roofline_lab.vocabulary import Metric
from simulator.errors import InvariantError
from simulator.validation import Finite, Positive, StrictModel, suggest

Names = Annotated[tuple[str, ...], Field(min_length=1)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
TRAIN = "train"
TEST = "test"
# Values beyond this many are a mistake in step or range, not a search.
MAX_VALUES = 1000
# Decimals kept of a value, so that 0.1 + 0.2 is the value an author wrote.
VALUE_DECIMALS = 9
COARSE = "coarse"
FINE = "fine"
ALL = "all"


@dataclass(frozen=True, slots=True)
class Fold:
    """Experiments that choose a value together, and those that run with it.

    Attributes
    ----------
    name
        Empty for a split; `all` for the one of cross-validation in which every experiment chooses and none judges.
    """

    name: str
    chose: tuple[str, ...]
    run: tuple[str, ...]


class Split(StrictModel):
    """Experiments by side.

    Attributes
    ----------
    shared_families
        Why a model family may be on both sides; without it that is refused.
    """

    train: Names
    test: Names
    shared_families: Text | None = None

    def folds(self, experiments: Sequence[Experiment]) -> tuple[Fold, ...]:
        """Return the one fold: the train experiments choose for all."""
        return (Fold("", self.train, tuple(experiment.id for experiment in experiments)),)

    def sides(self, experiments: Sequence[Experiment]) -> dict[str, str]:
        """Return the side of every experiment."""
        return {experiment.id: self.side_of(experiment.id) for experiment in experiments}

    def side_of(self, experiment: str) -> str:
        """Return `train` or `test`, or an empty text for an experiment of neither side."""
        if experiment in self.train:
            return TRAIN
        return TEST if experiment in self.test else ""

    def families_on_both_sides(self, experiments: Sequence[Experiment]) -> list[str]:
        """Return the model families with experiments on both sides, sorted."""
        sides = {
            side: {experiment.family for experiment in experiments if self.side_of(experiment.id) == side}
            for side in (TRAIN, TEST)
        }
        return sorted(sides[TRAIN] & sides[TEST])

    def problems(self, experiments: Sequence[Experiment]) -> Iterator[str]:
        """Yield what is wrong with the split of these experiments."""
        known = [experiment.id for experiment in experiments]
        for side, names in ((TRAIN, self.train), (TEST, self.test)):
            for name in names:
                if name not in known:
                    yield f"split.{side}: unknown experiment '{name}'; {suggest(name, known)}"
        for name in sorted(set(self.train) & set(self.test)):
            yield f"split: '{name}' is on both sides; an experiment can only choose or judge"
        for name in known:
            if not self.side_of(name):
                yield f"split: '{name}' is on neither side; add it to train or test"
        shared = self.families_on_both_sides(experiments)
        if shared and self.shared_families is None:
            yield (
                f"split: the model families {', '.join(shared)} are on both sides, so the test is not independent; "
                "move them to one side, or say in shared_families why this is accepted"
            )


class CrossValidation(StrictModel):
    """Experiments dealt into folds, of which each is judged with the value the others choose.

    Attributes
    ----------
    folds
        How many. Whole model families are dealt one after the other, in the order of the set.
    shared_families
        Why single experiments may be dealt instead, so that a family can choose and judge.
    """

    fold_count: Annotated[int, Field(ge=2, alias="folds")]
    shared_families: Text | None = None

    def folds(self, experiments: Sequence[Experiment]) -> tuple[Fold, ...]:
        """Return every fold, and behind them the value that all experiments together choose."""
        sides = self.sides(experiments)
        held_out = {name: tuple(one for one, side in sides.items() if side == name) for name in self._names}
        judging = (Fold(name, tuple(one for one in sides if one not in own), own) for name, own in held_out.items())
        return (*judging, Fold(ALL, tuple(sides), ()))

    def sides(self, experiments: Sequence[Experiment]) -> dict[str, str]:
        """Return the fold that judges every experiment."""
        units = list(dict.fromkeys(map(self._unit, experiments)))
        return {one.id: self._names[units.index(self._unit(one)) % self.fold_count] for one in experiments}

    def problems(self, experiments: Sequence[Experiment]) -> Iterator[str]:
        """Yield what is wrong with dealing these experiments."""
        found = len(set(map(self._unit, experiments)))
        if found < self.fold_count:
            what = "experiments" if self.shared_families else "model families"
            remedy = "" if self.shared_families else ", or say in shared_families why single experiments may be dealt"
            yield f"cross_validation.folds: {self.fold_count} folds of {found} {what}; use at most {found}{remedy}"

    @property
    def _names(self) -> list[str]:
        return [f"fold {number}" for number in range(1, self.fold_count + 1)]

    def _unit(self, experiment: Experiment) -> str:
        return experiment.id if self.shared_families else experiment.family


class Refinement(StrictModel):
    """A second, finer range around the best value of the first."""

    around_optimum: Positive
    step: Positive


class Selection(StrictModel):
    """By which error the best value is chosen, and on which experiments."""

    metric: Metric
    side: Literal["train"] = "train"


class Sweep(StrictModel):
    """The search of one option.

    Attributes
    ----------
    arm
        The arm that takes the chosen value.
    option
        Dotted name of the option within the arm, for instance `overhead.us`.
    start, stop, step
        First range, both ends included, in the option's unit.
    followed_by
        Arms that take the chosen value as well, in the same option, without a search of their own.
    """

    arm: Annotated[str, StringConstraints(min_length=1)]
    option: Annotated[str, StringConstraints(min_length=1)]
    start: Finite
    stop: Finite
    step: Positive
    then: Refinement | None = None
    select: Selection
    followed_by: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_values(self) -> Sweep:
        if self.stop < self.start:
            raise ValueError(f"no values from {self.start:g} to {self.stop:g}: stop must not be below start")
        _refuse_too_many(self.stop - self.start, self.step)
        if self.then is not None:
            _refuse_too_many(2 * self.then.around_optimum, self.then.step)
        return self

    @property
    def arms(self) -> tuple[str, ...]:
        """Every arm that takes the chosen value, the one that is searched first."""
        return (self.arm, *self.followed_by)

    @property
    def stages(self) -> tuple[str, ...]:
        """Stages of the search, in order."""
        return (COARSE, FINE) if self.then else (COARSE,)

    def values(self) -> tuple[float, ...]:
        """Return the values of the first range."""
        return _range(self.start, self.stop, self.step)

    def finer_values(self, optimum: float) -> tuple[float, ...]:
        """Return the values around the optimum of the first range, inside it and without those already known."""
        if self.then is None:
            return ()
        low, high = optimum - self.then.around_optimum, optimum + self.then.around_optimum
        known = set(self.values())
        inside = (value for value in _range(low, high, self.then.step) if self.start <= value <= self.stop)
        return tuple(value for value in inside if value not in known)

    def overlay(self, options: Mapping[str, Any], value: float) -> dict[str, Any]:
        """Return an arm's options with the swept one set."""
        return _with(options, self.option.split("."), value)


@dataclass(frozen=True, slots=True)
class Search:
    """What a sweep found under one method, on the experiments of one fold that choose.

    Attributes
    ----------
    errors
        Their mean error by value, percent.
    chosen
        The value with the lowest one.
    located
        How far that value moves when other model families are drawn.
    """

    sweep: Sweep
    errors: Mapping[float, float]
    chosen: float
    fold: Fold = Fold("", (), ())
    located: Located | None = None

    @property
    def is_at_edge(self) -> bool:
        """Whether the chosen value is an end of the range, so that a better one may lie beyond it."""
        values = self.sweep.values()
        return self.chosen in (values[0], values[-1])

    @property
    def place(self) -> str:
        """Which search of several this is, in words; empty for the one of a split."""
        return f"{self.sweep.arm} ({self.sweep.option}), {self.fold.name}: " if self.fold.name else ""

    @property
    def range_text(self) -> str:
        """The range and the chosen value, in words."""
        values = self.sweep.values()
        return f"{self.chosen:g}, searched from {values[0]:g} to {values[-1]:g}"

    @property
    def interval_text(self) -> str:
        """The interval of the chosen value, or why there is none, in words."""
        if self.located is None or self.located.interval is None:
            return f"no interval: {self.located.no_interval}" if self.located else "no interval"
        found = self.located.interval
        return f"{found.level_pct:g} % interval over {self.located.drawn}: {found.low:g} to {found.high:g}"


def curve(rows: Sequence[tuple[float, ErrorRow]], metric: Metric, chose: Collection[str]) -> dict[float, float]:
    """Return the mean error in percent by value, over the experiments that choose.

    Parameters
    ----------
    rows
        (value, error row) pairs of a sweep.
    chose
        The experiments that choose.

    Raises
    ------
    InvariantError
        If a row is of another experiment: a value may never be chosen by what judges it.
    """
    by_value: dict[float, list[float]] = {}
    for value, row in _choosing(rows, metric, chose):
        by_value.setdefault(value, []).append(row.ape_pct)
    return {value: mean(errors) for value, errors in sorted(by_value.items())}


def located(
    rows: Sequence[tuple[float, ErrorRow]], metric: Metric, chose: Collection[str], uncertainty: Uncertainty
) -> Located:
    """Return how far the best value moves with the experiments that choose it; parameters and errors as of `curve`.

    An experiment without an error at some value is left out, so that all values are compared on the same ones.
    """
    by_place: dict[str, dict[float, ErrorRow]] = {}
    for value, row in _choosing(rows, metric, chose):
        by_place.setdefault(row.place, {})[value] = row
    values = {value for known in by_place.values() for value in known}
    full = [known for known in by_place.values() if known.keys() == values]
    errors = {value: [known[value].ape_pct for known in full] for value in values}
    return uncertainty.of_lowest(errors, [next(iter(known.values())) for known in full])


def _choosing(
    rows: Sequence[tuple[float, ErrorRow]], metric: Metric, chose: Collection[str]
) -> Iterator[tuple[float, ErrorRow]]:
    for value, row in rows:
        if row.experiment not in chose:
            raise InvariantError(f"sweep: {row.experiment} does not choose and may not decide on a value")
        if row.metric is metric and row.is_scored:
            yield value, row


def optimum(errors: Mapping[float, float]) -> float:
    """Return the value with the lowest error; of equals the smallest."""
    if not errors:
        raise InvariantError("sweep: no value has an error")
    return min(errors, key=lambda value: (errors[value], value))


def _refuse_too_many(width: float, step: float) -> None:
    if width / step >= MAX_VALUES:
        raise ValueError(f"{width / step + 1:.6g} values; at most {MAX_VALUES}, use a larger step")


def _range(start: float, stop: float, step: float) -> tuple[float, ...]:
    # A hair more than one step too short still counts: 0.3 / 0.1 is 2.9999999999999996.
    count = math.floor((stop - start) / step + 10**-VALUE_DECIMALS) + 1
    return tuple(round(start + index * step, VALUE_DECIMALS) for index in range(count))


def _with(options: Mapping[str, Any], path: Sequence[str], value: float) -> dict[str, Any]:
    head, *rest = path
    inner = options.get(head)
    nested = inner if isinstance(inner, Mapping) else {}
    return {**options, head: _with(nested, rest, value) if rest else value}
