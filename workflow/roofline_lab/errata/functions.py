"""The functions of the language of claims; `roofline_lab.errata.expression` lists them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from roofline_lab.errata.interval import Interval, Truth
from roofline_lab.errata.operands import (
    ALL_ROWS,
    Column,
    Value,
    column_of,
    each,
    entry_of,
    filled,
    number_of,
    truth_of,
    word_of,
)
from simulator.errors import ConfigError


def counted(conditions: Mapping[str, Truth]) -> Interval:
    """Return how many rows fulfil a condition: those that certainly do, up to those that may."""
    sure = sum(condition is True for condition in conditions.values())
    return Interval(float(sure), float(sure + sum(condition is None for condition in conditions.values())))


def _mean(column: Value, weights: Value = None) -> Interval:
    values = {row: number_of(entry) for row, entry in column_of(column).items()}
    if not values:
        raise ConfigError("mean of no rows")
    known = column_of(weights) if weights is not None else dict.fromkeys(values, Interval.exact(1))
    weighted = {row: number_of(entry_of(row, known, "row")) for row in values}
    return _sum(values[row] * weighted[row] for row in values) / _sum(weighted.values())


def _sum(values: Iterable[Interval]) -> Interval:
    result = Interval.exact(0)
    for value in values:
        result += value
    return result


def _total(column: Value) -> Interval:
    return _sum(number_of(entry) for entry in column_of(column).values())


def _smallest(column: Value) -> Interval:
    found = [number_of(entry) for entry in filled(column)]
    return Interval(min(interval.low for interval in found), min(interval.high for interval in found))


def _largest(column: Value) -> Interval:
    found = [number_of(entry) for entry in filled(column)]
    return Interval(max(interval.low for interval in found), max(interval.high for interval in found))


def _count(column: Value) -> Interval:
    return counted({row: truth_of(entry) for row, entry in column_of(column).items()})


def _means(column: Value, by: Value, weights: Value = None) -> Column:
    values, groups = column_of(column), column_of(by)
    names = dict.fromkeys(word_of(entry_of(row, groups, "row")) for row in values)
    members = {name: {row: entry for row, entry in values.items() if groups[row] == name} for name in names}
    return {name: _mean(rows, weights) for name, rows in (*members.items(), (ALL_ROWS, dict(values)))}


def _parts(column: Value) -> Column:
    return {row: entry for row, entry in column_of(column).items() if row != ALL_ROWS}


def _keyed(column: Value, by: Value) -> Column:
    values, names = column_of(column), column_of(by)
    found = {word_of(entry_of(row, names, "row")): entry for row, entry in values.items()}
    if len(found) != len(values):
        raise ConfigError("keyed: two rows would have the same name")
    return found


def _at(column: Value, keys: Value) -> Column:
    values = column_of(column)
    return {row: entry_of(word_of(key), values, "row") for row, key in column_of(keys).items()}


def _logarithm(function: Callable[[float], float]) -> Callable[[Value], Value]:
    def one(value: Interval) -> Interval:
        if value.low <= 0:
            raise ConfigError("logarithm of a number that may not be positive")
        return Interval(function(value.low), function(value.high))

    return lambda value: each(one, value)


def _rounded(value: Value) -> Value:
    return each(lambda interval: Interval(round(interval.low) - 0.5, round(interval.high) + 0.5), value)


FUNCTIONS: Mapping[str, Callable[..., Value]] = MappingProxyType(
    {
        "abs": lambda value: each(abs, value),
        "at": _at,
        "count": _count,
        "keyed": _keyed,
        "largest": _largest,
        "ln": _logarithm(math.log),
        "log2": _logarithm(math.log2),
        "mean": _mean,
        "means": _means,
        "parts": _parts,
        "rounded": _rounded,
        "smallest": _smallest,
        "total": _total,
    }
)
