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
| `parts(column)`                     | the column without its row `all`                               |
| `keyed(column, by)`                 | the same values under the names the word column `by` gives     |
| `at(column, keys)`                  | per row of `keys`, the column's entry of that name             |
| `abs(x)`, `log2(x)`, `ln(x)`        | row by row                                                     |
| `rounded(x)`                        | the interval of the number x prints as without decimals        |
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from roofline_lab.errata.functions import FUNCTIONS
from roofline_lab.errata.interval import Interval, Truth
from roofline_lab.errata.operands import (
    Scalar,
    Value,
    both,
    column_of,
    each,
    either,
    entry_of,
    is_truth,
    kind_of,
    negated,
    number_of,
    row_by_row,
    truth_of,
)
from simulator.errors import ConfigError
from simulator.validation import suggest

_ARITHMETIC: Mapping[type, Callable[[Interval, Interval], Interval]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: Mapping[type, Callable[[Interval, Interval], Truth]] = {
    ast.Lt: lambda a, b: a.below(b),
    ast.Gt: lambda a, b: b.below(a),
    ast.LtE: lambda a, b: negated(b.below(a)),
    ast.GtE: lambda a, b: negated(a.below(b)),
    ast.Eq: lambda a, b: a.equals(b),
    ast.NotEq: lambda a, b: negated(a.equals(b)),
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
        raise ConfigError(f"'{text}': must be one number, not {kind_of(value)}")
    return value


def numbers(text: str, names: Mapping[str, Any]) -> dict[str, Interval]:
    """Compute an expression that is a column of numbers; one number becomes a column of one row."""
    value = evaluate(text, names)
    if isinstance(value, Interval):
        return {"": value}
    entries = value if isinstance(value, Mapping) else {}
    found = {row: entry for row, entry in entries.items() if isinstance(entry, Interval)}
    if not isinstance(value, Mapping) or len(found) != len(value):
        raise ConfigError(f"'{text}': must be numbers, not {kind_of(value)}")
    if not value:
        raise ConfigError(f"'{text}': selects no row")
    return found


def truths(text: str, names: Mapping[str, Any]) -> dict[str, Truth]:
    """Compute an expression that is a column of conditions."""
    value = evaluate(text, names)
    if not isinstance(value, Mapping) or not all(is_truth(entry) for entry in value.values()):
        raise ConfigError(f"'{text}': must be a condition on rows, not {kind_of(value)}")
    if not value:
        raise ConfigError(f"'{text}': has no row")
    return {row: truth_of(entry) for row, entry in value.items()}


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
    found: Any = _lookup(node, names)
    if not isinstance(found, Mapping) or not any(isinstance(entry, Mapping) for entry in found.values()):
        value: Value = found
        return value
    raise ConfigError(f"'{ast.unparse(node)}' is a table; name one of its columns: {', '.join(sorted(found))}")


def _lookup(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return entry_of(node.id, names, "table")
    if isinstance(node, ast.Attribute):
        return entry_of(node.attr, _lookup(node.value, names), "column")
    raise ConfigError(f"'{ast.unparse(node)}' is not a table")


def _binary(node: ast.BinOp, names: Mapping[str, Any]) -> Value:
    function = _ARITHMETIC.get(type(node.op))
    if function is None:
        raise ConfigError(f"operator {type(node.op).__name__} is not part of the language of claims")
    return row_by_row(function, _node(node.left, names), _node(node.right, names))


def _unary(node: ast.UnaryOp, names: Mapping[str, Any]) -> Value:
    value = _node(node.operand, names)
    if isinstance(node.op, ast.Not):
        return {row: negated(truth_of(entry)) for row, entry in column_of(value).items()}
    if isinstance(node.op, ast.USub):
        return each(operator.neg, value)
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
        return function(number_of(a), number_of(b))

    return row_by_row(one, left, right)


def _boolean(node: ast.BoolOp, names: Mapping[str, Any]) -> Value:
    combine = both if isinstance(node.op, ast.And) else either
    value = _node(node.values[0], names)
    for other in node.values[1:]:
        value = row_by_row(lambda a, b: combine(truth_of(a), truth_of(b)), value, _node(other, names))
    return value


def _select(node: ast.Subscript, names: Mapping[str, Any]) -> Value:
    column, index = column_of(_node(node.value, names)), _node(node.slice, names)
    if isinstance(index, str):
        entry: Value = entry_of(index, column, "row")
        return entry
    chosen = column_of(index)
    missing = [row for row in column if row not in chosen]
    if missing:
        raise ConfigError(f"the condition says nothing about row '{missing[0]}'")
    if any(truth_of(chosen[row]) is None for row in column):
        raise ConfigError("the printed digits do not decide which rows are meant")
    return {row: entry for row, entry in column.items() if chosen[row]}


def _call(node: ast.Call, names: Mapping[str, Any]) -> Value:
    if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or node.keywords:
        raise ConfigError(f"'{ast.unparse(node.func)}' is no function; {suggest(ast.unparse(node.func), FUNCTIONS)}")
    try:
        return FUNCTIONS[node.func.id](*(_node(argument, names) for argument in node.args))
    except TypeError:
        raise ConfigError(f"{node.func.id}: wrong number of arguments ({len(node.args)})") from None


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
