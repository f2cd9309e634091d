"""Arithmetic as authors write it: formulas of synthetic hypotheses, and what claims say about printed tables.

Allowed are numbers, quoted words, names (dotted ones too), `+ - * / // %`, comparisons, `and`, `or`, `not`, the
functions of a `Language` and, where it can, brackets that choose rows. Python's parser reads the text, and nothing of
Python runs: what is not listed here is refused, with its place in the text. A language says what numbers are and how
they are computed with; `NUMBERS` are plain ones, where a comparison yields 1 or 0 and words can only be compared.
"""

from __future__ import annotations

import ast
import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from simulator.errors import ConfigError
from simulator.validation import suggest

# Beyond these a formula is a mistake, or an attempt to use up time and memory.
MOST_CHARACTERS = 2_000
MOST_BITS = 1_000

Lookup = Callable[[str], Any]
Evaluator = Callable[[Lookup], Any]
_FAILURES = (ConfigError, ArithmeticError, TypeError, ValueError)


@dataclass(frozen=True, eq=False)
class Language:
    """What formulas compute with.

    Attributes
    ----------
    example
        A formula of the language, for messages.
    number
        Makes a value of a written number.
    operators, comparisons
        Functions of two values, by the node Python's parser gives.
    negative, opposite
        What a minus sign and `not` do.
    every, some
        What `and` and `or` do with their parts, which are worked out one after the other.
    functions
        What may be called, by name.
    select
        What brackets do with the value before them and the one inside; None where there are none.
    """

    example: str
    number: Callable[[Any], Any]
    operators: Mapping[type[ast.operator], Callable[[Any, Any], Any]]
    comparisons: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]]
    negative: Callable[[Any], Any]
    opposite: Callable[[Any], Any]
    every: Callable[[Iterable[Any]], Any]
    some: Callable[[Iterable[Any]], Any]
    functions: Mapping[str, Callable[..., Any]]
    select: Callable[[Any, Any], Any] | None = None


class FormulaError(ConfigError):
    """A formula is wrong or cannot be worked out; the message quotes it and says at which character."""


class Expression:
    """One formula, ready to be worked out with any values of its names.

    Attributes
    ----------
    names
        Every name in the formula, once, in the order written.

    Raises
    ------
    FormulaError
        If the text is not a formula of the language.
    """

    def __init__(self, text: str, language: Language) -> None:
        self.text = text
        self.language = language
        self._names: dict[str, None] = {}
        if len(text) > MOST_CHARACTERS:
            raise FormulaError(f"'{text[:40]}...' has {len(text)} characters; a formula may have {MOST_CHARACTERS}")
        try:
            self._evaluate = self._compiled(ast.parse(text, mode="eval").body)
        except SyntaxError as error:
            # The parser counts from 1, and gives 0 where the text ends too early.
            place = error.offset or len(text) + 1
            raise self._refused(place, f"{error.msg}; write for instance '{language.example}'") from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise self._refused(1, f"{error}; write for instance '{language.example}'") from None
        self.names: tuple[str, ...] = tuple(self._names)

    def __call__(self, value_of: Lookup) -> Any:
        """Work the formula out with the values that `value_of` gives for every name.

        Raises
        ------
        FormulaError
            If `value_of` refuses a name, or something cannot be computed: a division by zero, arithmetic on words.
        """
        try:
            return self._evaluate(value_of)
        except RecursionError:
            raise self._failed(1, "it is nested too deeply") from None

    def _compiled(self, node: ast.expr) -> Evaluator:
        """Return what works out one part, and refuse every part that is not listed."""
        language = self.language
        if (name := _dotted(node)) is not None:
            self._names[name] = None
            return self._at(node, lambda value_of: value_of(name))
        match node:
            case ast.Constant(value=int() | float() | str() as written) if not isinstance(written, bool):
                return self._constant(node, written)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._applied(node, language.negative, [operand])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._applied(node, language.opposite, [operand])
            case ast.BinOp(left=left, op=op, right=right) if type(op) in language.operators:
                return self._applied(node, language.operators[type(op)], [left, right])
            case ast.BoolOp(op=op, values=values):
                parts = [self._compiled(value) for value in values]
                combine = language.every if isinstance(op, ast.And) else language.some
                return self._at(node, lambda value_of: combine(part(value_of) for part in parts))
            case ast.Compare(ops=ops) if all(type(op) in language.comparisons for op in ops):
                return self._comparison(node)
            case ast.Subscript(value=value, slice=index) if language.select is not None:
                return self._applied(node, language.select, [value, index])
            case ast.Call(func=function, args=arguments, keywords=[]):
                return self._applied(node, self._function(function, len(arguments)), arguments)
        raise self._refused(self._place(node), f"{_called(node, language)} cannot be used here; {self._allowed()}")

    def _constant(self, node: ast.expr, written: float | str) -> Evaluator:
        if written.bit_length() > MOST_BITS if isinstance(written, int) else written in (math.inf, -math.inf):
            raise self._refused(self._place(node), "the number is too large")
        value = written if isinstance(written, str) else self.language.number(written)
        return lambda _: value

    def _applied(self, node: ast.expr, function: Callable[..., Any], operands: list[ast.expr]) -> Evaluator:
        parts = [self._compiled(operand) for operand in operands]
        return self._at(node, lambda value_of: function(*[part(value_of) for part in parts]))

    def _comparison(self, node: ast.Compare) -> Evaluator:
        tests = [self.language.comparisons[type(op)] for op in node.ops]
        sides = [self._compiled(side) for side in (node.left, *node.comparators)]

        def compare(value_of: Lookup) -> Any:
            values = [side(value_of) for side in sides]
            pairs = zip(tests, values, values[1:], strict=False)
            return self.language.every(test(left, right) for test, left, right in pairs)

        return self._at(node, compare)

    def _function(self, node: ast.expr, count: int) -> Callable[..., Any]:
        name, functions = ast.unparse(node), self.language.functions
        if name not in functions:
            raise self._refused(self._place(node), f"'{name}' is no function; {suggest(name, functions)}")
        try:
            inspect.signature(functions[name]).bind(*range(count))
        except TypeError:
            raise self._refused(self._place(node), f"{name}: wrong number of arguments ({count})") from None
        return functions[name]

    def _at(self, node: ast.expr, evaluate: Evaluator) -> Evaluator:
        """Return the evaluator with the place of its part in every error."""

        def placed(value_of: Lookup) -> Any:
            try:
                return evaluate(value_of)
            except FormulaError:
                raise
            except _FAILURES as error:
                raise self._failed(self._place(node), str(error)) from None

        return placed

    def _failed(self, character: int, problem: str) -> FormulaError:
        return FormulaError(f"'{self.text}' cannot be worked out at character {character}: {problem}")

    def _refused(self, character: int, problem: str) -> FormulaError:
        return FormulaError(f"'{self.text}' is not a formula at character {character}: {problem}")

    def _place(self, node: ast.expr) -> int:
        """Return the character a part starts at, from 1 on; the parser counts bytes."""
        return len(self.text.encode()[: node.col_offset].decode(errors="ignore")) + 1

    def _allowed(self) -> str:
        signs = " ".join(sign for kind, sign in _SIGNS.items() if kind in self.language.operators)
        rows = ", rows chosen in brackets" if self.language.select else ""
        functions = ", ".join(sorted(self.language.functions))
        return f"allowed: numbers, names, quoted words, {signs}, comparisons, and, or, not{rows}, {functions}"


@lru_cache(maxsize=1024)
def formula(text: str) -> Expression:
    """Return the expression of a text over plain numbers, parsed once."""
    return Expression(text, NUMBERS)


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        below = _dotted(node.value)
        return None if below is None else f"{below}.{node.attr}"
    return None


def _called(node: ast.expr, language: Language) -> str:
    """Return what Python's parser calls a part that is refused: its operator, or its kind."""
    match node:
        case ast.Constant(value=value):
            return f"{value!r}, neither a number nor a word,"
        case ast.Compare(ops=ops):
            refused = next(op for op in ops if type(op) not in language.comparisons)
            return f"the operator {type(refused).__name__}"
        case ast.BinOp(op=op) | ast.UnaryOp(op=op):
            return f"the operator {type(op).__name__}"
    return type(node).__name__


_SIGNS: Mapping[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}


def _computed(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return an operation on numbers alone, whose result is finite and not longer than a formula may make it."""

    def compute(left: Any, right: Any) -> Any:
        if isinstance(left, str) or isinstance(right, str):
            raise TypeError("a word can be compared, not computed with")
        value = function(left, right)
        if not math.isfinite(value) if isinstance(value, float) else value.bit_length() > MOST_BITS:
            raise OverflowError("the result is too large")
        return value

    return compute


def _least(first: Any, *others: Any) -> Any:
    return min((first, *others))


def _greatest(first: Any, *others: Any) -> Any:
    return max((first, *others))


NUMBERS = Language(
    example="other.step_us / step_us",
    number=lambda value: value,
    operators={
        ast.Add: _computed(operator.add),
        ast.Sub: _computed(operator.sub),
        ast.Mult: _computed(operator.mul),
        ast.Div: _computed(operator.truediv),
        ast.FloorDiv: _computed(operator.floordiv),
        ast.Mod: _computed(operator.mod),
    },
    comparisons={
        ast.Eq: operator.eq,
        ast.NotEq: operator.ne,
        ast.Lt: operator.lt,
        ast.LtE: operator.le,
        ast.Gt: operator.gt,
        ast.GtE: operator.ge,
    },
    negative=operator.neg,
    opposite=lambda value: int(not value),
    every=lambda values: int(all(values)),
    some=lambda values: int(any(values)),
    functions={"min": _least, "max": _greatest, "abs": abs},
)
