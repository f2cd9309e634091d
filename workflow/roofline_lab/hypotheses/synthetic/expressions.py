"""Small arithmetic over named values, as authors write it in a hypothesis.

Allowed are numbers, quoted words, names (dotted ones too), `+ - * / // %`, comparisons, `and`, `or`,
`not`, and the functions `min`, `max` and `abs`. A comparison yields 1 or 0. Nothing else is Python
here: no calls, no indexing, no attribute access on objects.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from simulator.errors import ConfigError

Lookup = Callable[[str], Any]
Evaluator = Callable[[Lookup], Any]

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs}


class Expression:
    """One formula, ready to be evaluated on any row.

    Raises
    ------
    ConfigError
        If the text is not a formula of the kind described above.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            tree = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ConfigError(f"'{text}' is not a formula; write for instance 'other.step_us / step_us'") from None
        self.names: tuple[str, ...] = tuple(dict.fromkeys(_names(tree)))
        self._evaluate = _compile(tree, text)

    def __call__(self, value_of: Lookup) -> Any:
        """Evaluate with the values that `value_of` gives for every name.

        Raises
        ------
        ConfigError
            If a division by zero, or an operation on words, comes up.
        """
        try:
            return self._evaluate(value_of)
        except (ZeroDivisionError, TypeError, OverflowError) as error:
            raise ConfigError(f"'{self.text}' cannot be worked out: {error}") from None


@lru_cache(maxsize=1024)
def formula(text: str) -> Expression:
    """Return the expression of a text, parsed once."""
    return Expression(text)


def _names(node: ast.AST) -> Iterator[str]:
    dotted = _dotted(node)
    if dotted is not None:
        yield dotted
        return
    called = node.func if isinstance(node, ast.Call) else None
    for child in ast.iter_child_nodes(node):
        if child is not called:
            yield from _names(child)


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        below = _dotted(node.value)
        return None if below is None else f"{below}.{node.attr}"
    return None


def _compile(node: ast.AST, text: str) -> Evaluator:
    dotted = _dotted(node)
    if dotted is not None:
        return lambda value_of: value_of(dotted)
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() | str() as constant):
            return lambda _: constant
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _compile(operand, text)
            return lambda value_of: -inner(value_of)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _compile(operand, text)
            return lambda value_of: int(not inner(value_of))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _binary(_BINARY[type(op)], _compile(left, text), _compile(right, text))
        case ast.BoolOp(op=op, values=values):
            return _boolean(isinstance(op, ast.And), [_compile(value, text) for value in values])
        case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in _COMPARISONS for op in ops):
            return _comparison([_COMPARISONS[type(op)] for op in ops], [_compile(one, text) for one in (left, *rest)])
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS and args:
            return _call(_FUNCTIONS[name], [_compile(arg, text) for arg in args])
    raise ConfigError(
        f"'{text}': only numbers, names, + - * / // %, comparisons, and/or/not, min, max and abs can be used"
    )


def _binary(apply: Callable[[Any, Any], Any], left: Evaluator, right: Evaluator) -> Evaluator:
    return lambda value_of: apply(left(value_of), right(value_of))


def _boolean(conjunction: bool, parts: list[Evaluator]) -> Evaluator:
    combine = all if conjunction else any
    return lambda value_of: int(combine(part(value_of) for part in parts))


def _comparison(tests: list[Callable[[Any, Any], bool]], sides: list[Evaluator]) -> Evaluator:
    def evaluate(value_of: Lookup) -> int:
        values = [side(value_of) for side in sides]
        return int(all(test(a, b) for test, a, b in zip(tests, values, values[1:], strict=False)))

    return evaluate


def _call(function: Callable[..., Any], arguments: list[Evaluator]) -> Evaluator:
    return lambda value_of: function(*(argument(value_of) for argument in arguments))
