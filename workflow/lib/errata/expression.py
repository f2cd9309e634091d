"""The small language claims are written in: arithmetic on printed tables.

An expression names columns (`tpot.scaled_tpot`, or `h1.mape.treatment_tpot` of another document),
computes with them row by row, selects rows by a condition in brackets and sums up with a function:

    mean(e2e.additive_e2e_gain[experiments.workload == 'codesweep'])

Values are intervals, words, truths, or columns of these. Rows are matched by name, never by position.
Only the constructs listed here exist; a name that is not there is an error of the claim.

| function                            | result                                                         |
|-------------------------------------|----------------------------------------------------------------|
| `mean(column)`, `mean(column, w)`   | mean, weighted by the column `w`                               |
| `total(column)`                     | sum                                                            |
| `smallest(column)`, `largest(column)` | least and greatest value                                     |
| `count(condition)`                  | how many rows fulfil a condition, as an interval if undecided  |
| `means(column, by)`, `means(column, by, w)` | mean per group, and `all`                              |
| `keyed(column, by)`                 | the same values under the names the word column `by` gives     |
| `at(column, keys)`                  | per row of `keys`, the column's entry of that name             |
| `abs(x)`, `log2(x)`, `ln(x)`        | row by row                                                     |
| `rounded(x)`                        | the interval of the number x prints as without decimals        |
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from simulator.errors import ConfigError
from simulator.validation import suggest
from workflow.lib.errata.interval import Interval, Truth

ALL_ROWS = "all"
Scalar = Interval | str | bool | None
Column = Mapping[str, Scalar]
Value = Scalar | Column

_ARITHMETIC: Mapping[type, Callable[[Interval, Interval], Interval]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: Mapping[type, Callable[[Interval, Interval], Truth]] = {
    ast.Lt: lambda a, b: a.below(b),
    ast.Gt: lambda a, b: b.below(a),
    ast.LtE: lambda a, b: _not(b.below(a)),
    ast.GtE: lambda a, b: _not(a.below(b)),
    ast.Eq: lambda a, b: a.equals(b),
    ast.NotEq: lambda a, b: _not(a.equals(b)),
}


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
        Naming the expression and what is wrong with it.
    """
    try:
        return _node(ast.parse(text, mode="eval").body, names)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ConfigError(f"'{text}': not an expression ({error})") from None
    except ConfigError as error:
        raise ConfigError(f"'{text}': {error}") from None


def scalar(text: str, names: Mapping[str, Any]) -> Interval:
    """Compute an expression that is one number."""
    value = evaluate(text, names)
    if not isinstance(value, Interval):
        raise ConfigError(f"'{text}': must be one number, not {_kind(value)}")
    return value


def numbers(text: str, names: Mapping[str, Any]) -> dict[str, Interval]:
    """Compute an expression that is a column of numbers; one number becomes a column of one row."""
    value = evaluate(text, names)
    if isinstance(value, Interval):
        return {"": value}
    if not isinstance(value, Mapping) or not all(isinstance(entry, Interval) for entry in value.values()):
        raise ConfigError(f"'{text}': must be numbers, not {_kind(value)}")
    if not value:
        raise ConfigError(f"'{text}': selects no row")
    return dict(value)


def truths(text: str, names: Mapping[str, Any]) -> dict[str, Truth]:
    """Compute an expression that is a column of conditions."""
    value = evaluate(text, names)
    if not isinstance(value, Mapping) or not all(_is_truth(entry) for entry in value.values()):
        raise ConfigError(f"'{text}': must be a condition on rows, not {_kind(value)}")
    if not value:
        raise ConfigError(f"'{text}': has no row")
    return dict(value)


def counted(conditions: Mapping[str, Truth]) -> Interval:
    """Return how many rows fulfil a condition: those that certainly do, up to those that may."""
    sure = sum(one is True for one in conditions.values())
    return Interval(float(sure), float(sure + sum(one is None for one in conditions.values())))


def _node(node: ast.expr, names: Mapping[str, Any]) -> Value:
    handler = _NODES.get(type(node))
    if handler is None:
        raise ConfigError(f"{type(node).__name__} is not part of the language of claims")
    return handler(node, names)


def _constant(node: ast.Constant, names: Mapping[str, Any]) -> Value:
    if isinstance(node.value, str):
        return node.value
    if isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return Interval.exact(node.value)
    raise ConfigError(f"{node.value!r} is neither a number nor a word")


def _name(node: ast.Name | ast.Attribute, names: Mapping[str, Any]) -> Value:
    found = _lookup(node, names)
    if not isinstance(found, Mapping) or not any(isinstance(entry, Mapping) for entry in found.values()):
        return found
    raise ConfigError(f"'{ast.unparse(node)}' is a table; name one of its columns: {', '.join(sorted(found))}")


def _lookup(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return _entry(node.id, names, "table")
    if isinstance(node, ast.Attribute):
        return _entry(node.attr, _lookup(node.value, names), "column")
    raise ConfigError(f"'{ast.unparse(node)}' is not a table")


def _entry(name: str, names: Any, kind: str) -> Any:
    if not isinstance(names, Mapping):
        raise ConfigError(f"'{name}' is asked of something that has no columns")
    if name not in names:
        raise ConfigError(f"unknown {kind} '{name}'; {suggest(name, names)}")
    return names[name]


def _binary(node: ast.BinOp, names: Mapping[str, Any]) -> Value:
    function = _ARITHMETIC.get(type(node.op))
    if function is None:
        raise ConfigError(f"operator {type(node.op).__name__} is not part of the language of claims")
    return _row_by_row(function, _node(node.left, names), _node(node.right, names))


def _unary(node: ast.UnaryOp, names: Mapping[str, Any]) -> Value:
    value = _node(node.operand, names)
    if isinstance(node.op, ast.Not):
        return {row: _not(_truth(entry)) for row, entry in _column(value).items()}
    if isinstance(node.op, ast.USub):
        return _each(operator.neg, value)
    raise ConfigError(f"operator {type(node.op).__name__} is not part of the language of claims")


def _compare(node: ast.Compare, names: Mapping[str, Any]) -> Value:
    if len(node.ops) != 1:
        raise ConfigError("compare two things at a time and join with 'and'")
    left, right = _node(node.left, names), _node(node.comparators[0], names)
    function = _COMPARISONS.get(type(node.ops[0]))
    if function is None:
        raise ConfigError(f"comparison {type(node.ops[0]).__name__} is not part of the language of claims")
    equal = isinstance(node.ops[0], ast.Eq)

    def one(a: Scalar, b: Scalar) -> Truth:
        if isinstance(a, str) and isinstance(b, str) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            return (a == b) is equal
        return function(_number(a), _number(b))

    return _row_by_row(one, left, right)


def _boolean(node: ast.BoolOp, names: Mapping[str, Any]) -> Value:
    combine = _and if isinstance(node.op, ast.And) else _or
    value = _node(node.values[0], names)
    for other in node.values[1:]:
        value = _row_by_row(lambda a, b: combine(_truth(a), _truth(b)), value, _node(other, names))
    return value


def _select(node: ast.Subscript, names: Mapping[str, Any]) -> Value:
    column, index = _column(_node(node.value, names)), _node(node.slice, names)
    if isinstance(index, str):
        return _entry(index, column, "row")
    chosen = _column(index)
    missing = [row for row in column if row not in chosen]
    if missing:
        raise ConfigError(f"the condition says nothing about row '{missing[0]}'")
    if any(_truth(chosen[row]) is None for row in column):
        raise ConfigError("the printed digits do not decide which rows are meant")
    return {row: entry for row, entry in column.items() if chosen[row]}


def _call(node: ast.Call, names: Mapping[str, Any]) -> Value:
    if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS or node.keywords:
        raise ConfigError(f"'{ast.unparse(node.func)}' is no function; {suggest(ast.unparse(node.func), _FUNCTIONS)}")
    try:
        return _FUNCTIONS[node.func.id](*(_node(argument, names) for argument in node.args))
    except TypeError:
        raise ConfigError(f"{node.func.id}: wrong number of arguments ({len(node.args)})") from None


def _mean(column: Value, weights: Value = None) -> Interval:
    values = {row: _number(entry) for row, entry in _column(column).items()}
    if not values:
        raise ConfigError("mean of no rows")
    known = _column(weights) if weights is not None else dict.fromkeys(values, Interval.exact(1))
    weighted = {row: _number(_entry(row, known, "row")) for row in values}
    return _sum(values[row] * weighted[row] for row in values) / _sum(weighted.values())


def _sum(values: Any) -> Interval:
    result = Interval.exact(0)
    for value in values:
        result += value
    return result


def _total(column: Value) -> Interval:
    return _sum(_number(entry) for entry in _column(column).values())


def _smallest(column: Value) -> Interval:
    found = [_number(entry) for entry in _filled(column)]
    return Interval(min(one.low for one in found), min(one.high for one in found))


def _largest(column: Value) -> Interval:
    found = [_number(entry) for entry in _filled(column)]
    return Interval(max(one.low for one in found), max(one.high for one in found))


def _count(column: Value) -> Interval:
    return counted({row: _truth(entry) for row, entry in _column(column).items()})


def _means(column: Value, by: Value, weights: Value = None) -> Column:
    values, groups = _column(column), _column(by)
    names = dict.fromkeys(_word(_entry(row, groups, "row")) for row in values)
    members = {name: {row: entry for row, entry in values.items() if groups[row] == name} for name in names}
    return {name: _mean(rows, weights) for name, rows in (*members.items(), (ALL_ROWS, dict(values)))}


def _keyed(column: Value, by: Value) -> Column:
    values, names = _column(column), _column(by)
    found = {_word(_entry(row, names, "row")): entry for row, entry in values.items()}
    if len(found) != len(values):
        raise ConfigError("keyed: two rows would have the same name")
    return found


def _at(column: Value, keys: Value) -> Column:
    values = _column(column)
    return {row: _entry(_word(key), values, "row") for row, key in _column(keys).items()}


def _logarithm(function: Callable[[float], float]) -> Callable[[Value], Value]:
    def one(value: Interval) -> Interval:
        if value.low <= 0:
            raise ConfigError("logarithm of a number that may not be positive")
        return Interval(function(value.low), function(value.high))

    return lambda value: _each(one, value)


def _rounded(value: Value) -> Value:
    return _each(lambda one: Interval(round(one.low) - 0.5, round(one.high) + 0.5), value)


def _each(function: Callable[[Interval], Interval], value: Value) -> Value:
    if isinstance(value, Mapping):
        return {row: function(_number(entry)) for row, entry in value.items()}
    return function(_number(value))


def _row_by_row(function: Callable[[Any, Any], Scalar], left: Value, right: Value) -> Value:
    if not isinstance(left, Mapping) and not isinstance(right, Mapping):
        return function(left, right)
    if not isinstance(left, Mapping):
        return {row: function(left, entry) for row, entry in _column(right).items()}
    if not isinstance(right, Mapping):
        return {row: function(entry, right) for row, entry in left.items()}
    rows = left if set(left) <= set(right) else right
    if not set(rows) <= set(left):
        raise ConfigError(f"rows do not match: '{_unmatched(left, right)}' is only on one side")
    return {row: function(left[row], right[row]) for row in rows}


def _unmatched(left: Column, right: Column) -> str:
    return sorted(set(left) - set(right))[0]


def _column(value: Value) -> Column:
    if not isinstance(value, Mapping):
        raise ConfigError(f"must be a column, not {_kind(value)}")
    return value


def _filled(value: Value) -> list[Scalar]:
    entries = list(_column(value).values())
    if not entries:
        raise ConfigError("no rows to choose from")
    return entries


def _number(value: Any) -> Interval:
    if not isinstance(value, Interval):
        raise ConfigError(f"must be a number, not {_kind(value)}")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"must be a word, not {_kind(value)}")
    return value


def _truth(value: Any) -> Truth:
    if not _is_truth(value):
        raise ConfigError(f"must be a condition, not {_kind(value)}")
    return value  # type: ignore[no-any-return]


def _is_truth(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _not(value: Truth) -> Truth:
    return None if value is None else not value


def _and(a: Truth, b: Truth) -> Truth:
    if a is False or b is False:
        return False
    return True if a and b else None


def _or(a: Truth, b: Truth) -> Truth:
    return _not(_and(_not(a), _not(b)))


def _kind(value: Any) -> str:
    if isinstance(value, Interval):
        return "a number"
    if isinstance(value, Mapping):
        return "a column"
    return "a word" if isinstance(value, str) else "a condition"


_FUNCTIONS: Mapping[str, Callable[..., Value]] = MappingProxyType(
    {
        "abs": lambda value: _each(abs, value),
        "at": _at,
        "count": _count,
        "keyed": _keyed,
        "largest": _largest,
        "ln": _logarithm(math.log),
        "log2": _logarithm(math.log2),
        "mean": _mean,
        "means": _means,
        "rounded": _rounded,
        "smallest": _smallest,
        "total": _total,
    }
)
_NODES: Mapping[type, Callable[[Any, Mapping[str, Any]], Value]] = MappingProxyType(
    {
        ast.Attribute: _name,
        ast.BinOp: _binary,
        ast.BoolOp: _boolean,
        ast.Call: _call,
        ast.Compare: _compare,
        ast.Constant: _constant,
        ast.Name: _name,
        ast.Subscript: _select,
        ast.UnaryOp: _unary,
    }
)
