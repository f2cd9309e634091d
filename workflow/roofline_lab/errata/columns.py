"""The language of claims: arithmetic on printed tables.

An expression names columns (`tpot.scaled_tpot`, or `h1.mape.treatment_tpot` of another document),
computes with them row by row, selects rows by a condition in brackets and sums up with a function:

    mean(e2e.additive_e2e_gain[experiments.workload == 'codesweep'])

Values are intervals, words, truths, or columns of these. Rows are matched by name, never by position. What else may be
written, and how mistakes are reported, is `roofline_lab.hypotheses.expressions`.

| function                            | result                                                         |
|-------------------------------------|----------------------------------------------------------------|
| `mean(column)`, `mean(column, w)`   | mean, weighted by the column `w`                               |
| `total(column)`                     | sum                                                            |
| `smallest(column)`, `largest(column)` | least and greatest value                                     |
| `count(condition)`                  | how many rows fulfil a condition, as an interval if undecided  |
| `means(column, by)`, `means(column, by, w)` | mean per group, and `all`                              |
| `parts(column)`                     | the column without its row `all`                               |
| `keyed(column, by)`                 | the same values under the names the word column `by` gives     |
| `at(column, keys)`                  | per row of `keys`, the column's entry of that name             |
| `abs(x)`, `log2(x)`, `ln(x)`        | row by row                                                     |
| `rounded(x)`                        | the interval of the number x prints as without decimals        |
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import partial, reduce
from typing import Any

from roofline_lab.errata.interval import Interval, Truth
from roofline_lab.hypotheses.expressions import Expression, Language
from simulator.errors import ConfigError
from simulator.validation import suggest

ALL_ROWS = "all"
Scalar = Interval | str | bool | None
Column = Mapping[str, Scalar]
Value = Scalar | Column


# --- what a claim asks ------------------------------------------------------------------------


def evaluate(text: str, names: Mapping[str, Any]) -> Value:
    """Compute one expression.

    Parameters
    ----------
    text
        The expression.
    names
        Nested mappings of tables; a column is a `Column`.

    Raises
    ------
    ConfigError
        Naming the expression, the place in it and what is wrong there.
    """
    value: Value = Expression(text, CLAIMS)(lambda name: _named(name, names))
    return value


def scalar(text: str, names: Mapping[str, Any]) -> Interval:
    """Compute an expression that is one number."""
    value = evaluate(text, names)
    if not isinstance(value, Interval):
        raise ConfigError(f"'{text}': must be one number, not {_kind_of(value)}")
    return value


def numbers(text: str, names: Mapping[str, Any]) -> dict[str, Interval]:
    """Compute an expression that is a column of numbers; one number becomes a column of one row."""
    value = evaluate(text, names)
    if isinstance(value, Interval):
        return {"": value}
    entries = value if isinstance(value, Mapping) else {}
    found = {row: entry for row, entry in entries.items() if isinstance(entry, Interval)}
    if not isinstance(value, Mapping) or len(found) != len(value):
        raise ConfigError(f"'{text}': must be numbers, not {_kind_of(value)}")
    if not value:
        raise ConfigError(f"'{text}': selects no row")
    return found


def truths(text: str, names: Mapping[str, Any]) -> dict[str, Truth]:
    """Compute an expression that is a column of conditions."""
    value = evaluate(text, names)
    if not isinstance(value, Mapping) or not all(_is_truth(entry) for entry in value.values()):
        raise ConfigError(f"'{text}': must be a condition on rows, not {_kind_of(value)}")
    if not value:
        raise ConfigError(f"'{text}': has no row")
    return {row: _truth(entry) for row, entry in value.items()}


def counted(conditions: Mapping[str, Truth]) -> Interval:
    """Return how many rows fulfil a condition: those that certainly do, up to those that may."""
    sure = sum(truth is True for truth in conditions.values())
    return Interval(float(sure), float(sure + sum(truth is None for truth in conditions.values())))


# --- values -----------------------------------------------------------------------------------


def _named(name: str, names: Mapping[str, Any]) -> Value:
    """Return the column or number of a dotted name."""
    table, *parts = name.split(".")
    found = _entry(table, names, "table")
    for part in parts:
        found = _entry(part, found, "column")
    if isinstance(found, Mapping) and any(isinstance(entry, Mapping) for entry in found.values()):
        raise ConfigError(f"'{name}' is a table; name one of its columns: {', '.join(sorted(found))}")
    value: Value = found
    return value


def _entry(name: str, names: Any, kind: str) -> Any:
    """Return an entry by name, or say which names there are; `kind` is what it is called in the message."""
    if not isinstance(names, Mapping):
        raise ConfigError(f"'{name}' is asked of something that has no columns")
    if name not in names:
        raise ConfigError(f"unknown {kind} '{name}'; {suggest(name, names)}")
    return names[name]


def _kind_of(value: Any) -> str:
    """Return what a value is, in words."""
    if isinstance(value, Interval):
        return "a number"
    if isinstance(value, Mapping):
        return "a column"
    return "a word" if isinstance(value, str) else "a condition"


def _column(value: Value) -> Column:
    if not isinstance(value, Mapping):
        raise ConfigError(f"must be a column, not {_kind_of(value)}")
    return value


def _number(value: Any) -> Interval:
    if not isinstance(value, Interval):
        raise ConfigError(f"must be a number, not {_kind_of(value)}")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"must be a word, not {_kind_of(value)}")
    return value


def _truth(value: Any) -> Truth:
    if not _is_truth(value):
        raise ConfigError(f"must be a condition, not {_kind_of(value)}")
    return value  # type: ignore[no-any-return]


def _is_truth(value: Any) -> bool:
    """Tell whether a value is a condition: true, false or undecided."""
    return value is None or isinstance(value, bool)


# --- row by row -------------------------------------------------------------------------------


def _each(function: Callable[[Interval], Interval], value: Value) -> Value:
    """Apply a function to a number, or to every number of a column."""
    if isinstance(value, Mapping):
        return {row: function(_number(entry)) for row, entry in value.items()}
    return function(_number(value))


def _row_by_row(function: Callable[[Any, Any], Scalar], left: Value, right: Value) -> Value:
    """Apply a function to two values, matching the rows of columns by name."""
    if not isinstance(left, Mapping) and not isinstance(right, Mapping):
        return function(left, right)
    if not isinstance(left, Mapping):
        return {row: function(left, entry) for row, entry in _column(right).items()}
    if not isinstance(right, Mapping):
        return {row: function(entry, right) for row, entry in left.items()}
    rows = left if set(left) <= set(right) else right
    if not set(rows) <= set(left):
        unmatched = sorted(set(left) - set(right))[0]
        raise ConfigError(f"rows do not match: '{unmatched}' is only on one side")
    return {row: function(left[row], right[row]) for row in rows}


def _computed(function: Callable[[Interval, Interval], Interval]) -> Callable[[Value, Value], Value]:
    def compute(left: Scalar, right: Scalar) -> Interval:
        value = function(_number(left), _number(right))
        if not math.isfinite(value.low) or not math.isfinite(value.high):
            raise OverflowError("the result is too large")
        return value

    return partial(_row_by_row, compute)


def _compared(test: Callable[[Interval, Interval], Truth]) -> Callable[[Value, Value], Value]:
    return partial(_row_by_row, lambda left, right: test(_number(left), _number(right)))


def _equal(left: Scalar, right: Scalar) -> Truth:
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return _number(left).equals(_number(right))


def negated(value: Truth) -> Truth:
    """Return not a; undecided stays undecided."""
    return None if value is None else not value


def _both(left: Truth, right: Truth) -> Truth:
    left, right = _truth(left), _truth(right)
    if left is False or right is False:
        return False
    return True if left and right else None


def _either(left: Truth, right: Truth) -> Truth:
    return negated(_both(negated(_truth(left)), negated(_truth(right))))


def _opposite(value: Value) -> Value:
    return {row: negated(_truth(entry)) for row, entry in _column(value).items()}


def _select(value: Value, index: Value) -> Value:
    """Return the row a word names, or the rows for which a condition holds."""
    column = _column(value)
    if isinstance(index, str):
        entry: Value = _entry(index, column, "row")
        return entry
    chosen = _column(index)
    missing = [row for row in column if row not in chosen]
    if missing:
        raise ConfigError(f"the condition says nothing about row '{missing[0]}'")
    if any(_truth(chosen[row]) is None for row in column):
        raise ConfigError("the printed digits do not decide which rows are meant")
    return {row: entry for row, entry in column.items() if chosen[row]}


# --- functions --------------------------------------------------------------------------------


def _mean(column: Value, weights: Value = None) -> Interval:
    values = {row: _number(entry) for row, entry in _column(column).items()}
    if not values:
        raise ConfigError("mean of no rows")
    known = _column(weights) if weights is not None else dict.fromkeys(values, Interval.exact(1))
    weighted = {row: _number(_entry(row, known, "row")) for row in values}
    return _sum(values[row] * weighted[row] for row in values) / _sum(weighted.values())


def _sum(values: Iterable[Interval]) -> Interval:
    return sum(values, start=Interval.exact(0))


def _total(column: Value) -> Interval:
    return _sum(_number(entry) for entry in _column(column).values())


def _extreme(choose: Callable[[Iterable[float]], float], column: Value) -> Interval:
    found = [_number(entry) for entry in _column(column).values()]
    if not found:
        raise ConfigError("no rows to choose from")
    return Interval(choose(number.low for number in found), choose(number.high for number in found))


def _count(column: Value) -> Interval:
    return counted({row: _truth(entry) for row, entry in _column(column).items()})


def _means(column: Value, by: Value, weights: Value = None) -> Column:
    values, groups = _column(column), _column(by)
    names = dict.fromkeys(_word(_entry(row, groups, "row")) for row in values)
    members = {name: {row: entry for row, entry in values.items() if groups[row] == name} for name in names}
    return {name: _mean(rows, weights) for name, rows in (*members.items(), (ALL_ROWS, dict(values)))}


def _parts(column: Value) -> Column:
    return {row: entry for row, entry in _column(column).items() if row != ALL_ROWS}


def _keyed(column: Value, by: Value) -> Column:
    values, names = _column(column), _column(by)
    found = {_word(_entry(row, names, "row")): entry for row, entry in values.items()}
    if len(found) != len(values):
        raise ConfigError("keyed: two rows would have the same name")
    return found


def _at(column: Value, keys: Value) -> Column:
    values = _column(column)
    return {row: _entry(_word(key), values, "row") for row, key in _column(keys).items()}


def _logarithm(function: Callable[[float], float], value: Value) -> Value:
    def of_interval(number: Interval) -> Interval:
        if number.low <= 0:
            raise ConfigError("logarithm of a number that may not be positive")
        return Interval(function(number.low), function(number.high))

    return _each(of_interval, value)


def _rounded(value: Value) -> Value:
    return _each(lambda number: Interval(round(number.low) - 0.5, round(number.high) + 0.5), value)


CLAIMS = Language(
    example="mean(table.column)",
    number=Interval.exact,
    operators={
        ast.Add: _computed(operator.add),
        ast.Sub: _computed(operator.sub),
        ast.Mult: _computed(operator.mul),
        ast.Div: _computed(operator.truediv),
    },
    comparisons={
        ast.Eq: partial(_row_by_row, _equal),
        ast.NotEq: partial(_row_by_row, lambda left, right: negated(_equal(left, right))),
        ast.Lt: _compared(lambda left, right: left.below(right)),
        ast.Gt: _compared(lambda left, right: right.below(left)),
        ast.LtE: _compared(lambda left, right: negated(right.below(left))),
        ast.GtE: _compared(lambda left, right: negated(left.below(right))),
    },
    negative=partial(_each, operator.neg),
    opposite=_opposite,
    every=partial(reduce, partial(_row_by_row, _both)),
    some=partial(reduce, partial(_row_by_row, _either)),
    functions={
        "abs": partial(_each, abs),
        "at": _at,
        "count": _count,
        "keyed": _keyed,
        "largest": partial(_extreme, max),
        "ln": partial(_logarithm, math.log),
        "log2": partial(_logarithm, math.log2),
        "mean": _mean,
        "means": _means,
        "parts": _parts,
        "rounded": _rounded,
        "smallest": partial(_extreme, min),
        "total": _total,
    },
    select=_select,
)
