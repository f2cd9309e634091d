"""What expressions compute with: numbers, words and truths, alone or as columns of named rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from roofline_lab.errata.interval import Interval, Truth
from simulator.errors import ConfigError
from simulator.validation import suggest

ALL_ROWS = "all"
Scalar = Interval | str | bool | None
Column = Mapping[str, Scalar]
Value = Scalar | Column


def entry_of(name: str, names: Any, kind: str) -> Any:
    """Return an entry by name, or say which names there are; `kind` is what it is called in the message."""
    if not isinstance(names, Mapping):
        raise ConfigError(f"'{name}' is asked of something that has no columns")
    if name not in names:
        raise ConfigError(f"unknown {kind} '{name}'; {suggest(name, names)}")
    return names[name]


def each(function: Callable[[Interval], Interval], value: Value) -> Value:
    """Apply a function to a number, or to every number of a column."""
    if isinstance(value, Mapping):
        return {row: function(number_of(entry)) for row, entry in value.items()}
    return function(number_of(value))


def row_by_row(function: Callable[[Any, Any], Scalar], left: Value, right: Value) -> Value:
    """Apply a function to two values, matching the rows of columns by name."""
    if not isinstance(left, Mapping) and not isinstance(right, Mapping):
        return function(left, right)
    if not isinstance(left, Mapping):
        return {row: function(left, entry) for row, entry in column_of(right).items()}
    if not isinstance(right, Mapping):
        return {row: function(entry, right) for row, entry in left.items()}
    rows = left if set(left) <= set(right) else right
    if not set(rows) <= set(left):
        raise ConfigError(f"rows do not match: '{_unmatched(left, right)}' is only on one side")
    return {row: function(left[row], right[row]) for row in rows}


def _unmatched(left: Column, right: Column) -> str:
    return sorted(set(left) - set(right))[0]


def column_of(value: Value) -> Column:
    """Return a value that must be a column."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"must be a column, not {kind_of(value)}")
    return value


def filled(value: Value) -> list[Scalar]:
    """Return the entries of a column that must have some."""
    entries = list(column_of(value).values())
    if not entries:
        raise ConfigError("no rows to choose from")
    return entries


def number_of(value: Any) -> Interval:
    """Return a value that must be a number."""
    if not isinstance(value, Interval):
        raise ConfigError(f"must be a number, not {kind_of(value)}")
    return value


def word_of(value: Any) -> str:
    """Return a value that must be a word."""
    if not isinstance(value, str):
        raise ConfigError(f"must be a word, not {kind_of(value)}")
    return value


def truth_of(value: Any) -> Truth:
    """Return a value that must be a condition."""
    if not is_truth(value):
        raise ConfigError(f"must be a condition, not {kind_of(value)}")
    return value  # type: ignore[no-any-return]


def is_truth(value: Any) -> bool:
    """Tell whether a value is a condition: true, false or undecided."""
    return value is None or isinstance(value, bool)


def negated(value: Truth) -> Truth:
    """Return not a; undecided stays undecided."""
    return None if value is None else not value


def both(a: Truth, b: Truth) -> Truth:
    """Return a and b."""
    if a is False or b is False:
        return False
    return True if a and b else None


def either(a: Truth, b: Truth) -> Truth:
    """Return a or b."""
    return negated(both(negated(a), negated(b)))


def kind_of(value: Any) -> str:
    """Return what a value is, in words."""
    if isinstance(value, Interval):
        return "a number"
    if isinstance(value, Mapping):
        return "a column"
    return "a word" if isinstance(value, str) else "a condition"
