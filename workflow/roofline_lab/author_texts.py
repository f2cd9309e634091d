"""Texts that authors write as templates: `discussion.md`, findings and evidence of a hypothesis.

Contract: `problems_of` says what a text may not hold before anything runs, `render_text` fills numbers in. Whatever
goes wrong in either is one message with file, line and expression. A text may ask questions of `v`, compute with the
answers, format them, and choose or repeat by `if` and `for`; nothing else of the template language is there, so that no
text can reach into the program, and none takes longer or grows larger than a page.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined, nodes, pass_context
from jinja2.filters import FILTERS as KNOWN_FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from roofline_lab.rendering import NUMBER_FILTERS
from simulator.errors import ConfigError
from simulator.validation import suggest

MOST_CHARACTERS = 100_000
# Rounds of all loops of one text, and members of one range: more lines than anybody reads.
MOST_ROUNDS = 1_000
MOST_SHOWN = 100
# Digits before and after the point, and blanks, that a format may ask for.
LARGEST_WIDTH = 30

NAMES = ("v", "range")
FILTERS = (
    *("abs", "default", "first", "float", "format", "int", "join", "last", "length", "list", "lower", "max", "min"),
    *("round", "sort", "sum", "title", "trim", "upper"),
)
TESTS = ("defined", "divisibleby", "even", "odd", "none", "number", "string", "in", "eq", "ne", "lt", "le", "gt", "ge")
ALLOWED = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Name, nodes.NSRef, nodes.Const),
    *(nodes.List, nodes.Tuple, nodes.Getattr, nodes.Getitem, nodes.Call, nodes.Keyword, nodes.Filter, nodes.Test),
    *(nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod),
)
_FIELD = re.compile(r"%[-+ #0]*(\*|\d*)(?:\.(\*|\d*))?")
_CODE = re.compile(r"\{\{.*?(?:\}\}|$)|\{%.*?(?:%\}|$)")
_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_FILE = "author's text"

# What expressions of an author raise: questions with wrong arguments, filters given something else than a number,
# arithmetic without a result, text too deep for Python's compiler.
_FAILURES = (
    *(TemplateError, ConfigError, ArithmeticError, AssertionError, AttributeError, LookupError, NameError),
    *(MemoryError, RuntimeError, SyntaxError, TypeError, ValueError),
)


def problems_of(text: str) -> list[str]:
    """Return what a text may not hold, each with line and expression; numbers are not known yet."""
    if len(text) > MOST_CHARACTERS:
        return [f"{len(text)} characters; a text may have {MOST_CHARACTERS}"]
    try:
        parsed = _environment().parse(text)
        problems = [f"{_place(text, node.lineno)}{problem}" for node, problem in _refused(parsed)]
        if not problems:
            _compiled(text)
    except _FAILURES as error:
        return [f"{_place(text, _line_of(error) or _line_that_fails(text))}not a template: {_said(error)}"]
    return list(dict.fromkeys(problems))


def render_text(template: str, values: Mapping[str, Any], source: str) -> str:
    """Fill numbers into a text; `source` names it in an error.

    Parameters
    ----------
    values
        What the text may ask, by name.

    Raises
    ------
    ConfigError
        If it asks for something that is not there, or cannot be worked out.
    """
    problems = problems_of(template)
    if problems:
        raise ConfigError(f"{source}: {'; '.join(problems)}")
    try:
        return _compiled(template).render(**values, rounds=_Rounds()).strip()
    except _FAILURES as error:
        raise ConfigError(f"{source}: {_place(template, _line_of(error))}{_said(error)}") from None


@lru_cache(maxsize=256)
def _compiled(text: str) -> Any:
    environment = _environment()
    tree = environment.parse(text)
    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None, lineno=loop.iter.lineno)
    code = environment.compile(tree, filename=_FILE)
    return environment.template_class.from_code(environment, code, environment.make_globals(None))


# --- what is allowed --------------------------------------------------------------------------


def _refused(tree: nodes.Template) -> Iterator[tuple[nodes.Node, str]]:
    """Yield every part of a text that is not of the language above, and why."""
    known = {*NAMES, "loop", *(name.name for name in tree.find_all(nodes.Name) if name.ctx == "store")}
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, ALLOWED):
            yield node, f"'{type(node).__name__.lower()}' cannot be used here; allowed: numbers, {_ALLOWED_WORDS}"
        elif isinstance(node, nodes.For) and node.recursive:
            yield node, "a loop cannot be recursive"
        elif isinstance(node, nodes.Name) and node.ctx == "load" and node.name not in known:
            yield node, f"unknown name '{node.name}'; {suggest(node.name, NAMES)}"
        elif isinstance(node, nodes.Filter) and node.name not in (*NUMBER_FILTERS, *FILTERS):
            yield node, f"unknown filter '{node.name}'; {suggest(node.name, (*NUMBER_FILTERS, *FILTERS))}"
        elif isinstance(node, nodes.Test) and node.name not in TESTS:
            yield node, f"unknown test '{node.name}'; {suggest(node.name, TESTS)}"


_ALLOWED_WORDS = "quoted words, questions of v, + - * / // %, comparisons, and, or, not, filters, if, for"


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute with numbers alone: a word times a number is a page of words."""
        if not isinstance(left, int | float) or not isinstance(right, int | float):
            raise TypeError(f"'{operator}' computes with numbers, not with {_kind(left)} and {_kind(right)}")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Let a text ask what is there for it, and nothing that every value of Python has."""
        return type(obj).__module__ != "builtins" and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Let no word format itself: it would know no width that is too wide."""


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True)
    environment.globals = {"range": _range}
    environment.filters = {name: KNOWN_FILTERS[name] for name in FILTERS} | dict(NUMBER_FILTERS)
    environment.filters |= {"format": _format, "counted": _counted, "list": _list}
    environment.tests = {name: environment.tests[name] for name in TESTS}
    environment.finalize = _printed
    return environment


def _printed(value: Any) -> Any:
    if isinstance(value, Undefined):
        return value  # says itself what is missing
    if isinstance(value, list | tuple | dict | range) or callable(value):
        raise TypeError(f"{_kind(value)} cannot be printed; ask for one of its values, or join them")
    return value


def _kind(value: object) -> str:
    return {str: "a word", list: "a list", tuple: "a list", type(None): "nothing"}.get(
        type(value), type(value).__name__
    )


def _range(*limits: int) -> range:
    members = range(*limits)
    if members and abs(members[-1] - members[0]) // abs(members.step) >= MOST_ROUNDS:
        raise ValueError(f"a range has at most {MOST_ROUNDS} members")
    return members


def _list(values: Iterable[Any]) -> list[Any]:
    return list(values)


def _format(pattern: str, *values: Any) -> str:
    """Put values into a pattern such as '%.1f', within the width of a line."""
    if not isinstance(pattern, str):
        raise TypeError(f"format needs a pattern such as '%.1f', not {_kind(pattern)}")
    for width in (part for field in _FIELD.findall(pattern) for part in field):
        if width == "*" or len(width) > len(str(LARGEST_WIDTH)) or int(width or 0) > LARGEST_WIDTH:
            raise ValueError(f"a format may be {LARGEST_WIDTH} characters wide, not '{width[:10]}'")
    return pattern % values


class _Rounds:
    """How often the loops of one text have gone round."""

    def __init__(self) -> None:
        self.done = 0

    def another(self) -> None:
        self.done += 1
        if self.done > MOST_ROUNDS:
            raise ValueError(f"its loops go round more than {MOST_ROUNDS} times")


@pass_context
def _counted(context: Context, values: Iterable[Any]) -> list[Any]:
    rounds: _Rounds = context["rounds"]
    found = []
    for value in values:
        rounds.another()
        found.append(value)
    return found


# --- what is said -----------------------------------------------------------------------------


def _line_of(error: BaseException) -> int | None:
    """Return the line of the text an error comes from; None where it says none."""
    if (line := getattr(error, "lineno", None)) and isinstance(error, TemplateError):
        return int(line)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _FILE]
    return lines[-1] if lines else None


def _line_that_fails(text: str) -> int | None:
    """Return the line of the first expression that cannot be read on its own."""
    for expression in _EXPRESSION.finditer(text):
        try:
            _environment().from_string(expression.group())
        except _FAILURES:
            return text.count("\n", 0, expression.start()) + 1
    return None


def _place(text: str, line: int | None) -> str:
    """Return line and expressions of a place in a text, for the beginning of a message."""
    lines = text.split("\n")
    if line is None or not 0 < line <= len(lines):
        return ""
    code = " ".join(_CODE.findall(lines[line - 1]))
    return f"line {line}: {code[:MOST_SHOWN]}{'...' if len(code) > MOST_SHOWN else ''}: " if code else f"line {line}: "


def _said(error: BaseException) -> str:
    """Say what went wrong in a few words, where Python alone says nothing."""
    said = " ".join(str(error).split()) or _WORDLESS.get(type(error), type(error).__name__)
    if isinstance(error, RecursionError | MemoryError):
        return "it is nested too deeply"
    if "integer string conversion" in said:
        return "a number has thousands of digits"
    return said if len(said) <= 3 * MOST_SHOWN else said[: 3 * MOST_SHOWN] + "..."


_WORDLESS: Mapping[type[BaseException], str] = {AssertionError: "a filter cannot be given this", KeyError: "not there"}
