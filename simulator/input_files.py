"""Files that people bring, read within limits: text, YAML, JSON and CSV.

Contract: whatever a file holds, it is read or refused with one `ConfigError` that names the file, what is wrong, what
is allowed and what to do - before its size, its depth or its aliases cost memory, time or the stack. Every reader of
the simulator and of the laboratory reads through here, so that a limit is the same wherever a file comes in.

A byte order mark of UTF-8 is skipped. YAML means what it looks like: a number is written in decimal digits, so `010`,
`1:30` and `.inf` are words here, as a person reads them, and no 8, no 90 and no infinity.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

import yaml

from simulator.errors import ConfigError

# Ten times the largest file of settings that anybody was seen to write; results of tools are streamed instead.
MOST_BYTES = 16 * 2**20
# A person nests five or six deep, a tool's settings ten; Python's own limits lie at some hundreds.
MOST_LEVELS = 64
# Keys and values of one file with every alias written out: a second of reading.
MOST_VALUES = 200_000
# The largest whole number a machine counts with, 2^63 - 1; products of two still fit into a float.
LARGEST_INTEGER = 2**63 - 1
MOST_DIGITS = len(str(LARGEST_INTEGER))
# Characters of one cell: a table of numbers and names has tens, `csv` gives up beyond this many.
MOST_CELL_CHARACTERS = 131_072

GZIP_MAGIC = b"\x1f\x8b"
# What reading a damaged file raises: no access, no text or a NUL in its name, a compressed file cut off or damaged.
READ_ERRORS = (OSError, ValueError, EOFError, zlib.error)

_PLAIN_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)")

# Control characters but tab and line ends, and halves of surrogate pairs: no XML and no UTF-8 has them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_TAG = "tag:yaml.org,2002:"


def read_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """Return the text of one file in UTF-8, with or without a byte order mark.

    Raises
    ------
    ConfigError
        If it is not there, not a file, too large or not UTF-8.
    """
    try:
        with open_bytes(path) as stream:
            content = stream.read(most_bytes + 1)
        if len(content) <= most_bytes:
            return content.decode("utf-8-sig")
    except READ_ERRORS as error:
        raise unreadable(path, error) from None
    raise ConfigError(
        f"{path}: larger than {most_bytes // 2**20} MiB, the most that is read of such a file; is it the right one?"
    )


def decoded(content: bytes, source: str) -> str:
    """Return content as text in UTF-8, with or without a byte order mark; see `read_text`."""
    try:
        return content.decode("utf-8-sig")
    except ValueError as error:
        raise unreadable(source, error) from None


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, plain or compressed by gzip, whatever its name says.

    Raises
    ------
    OSError, ValueError
        If it cannot be opened; reading it raises one of `READ_ERRORS`.
    """
    with path.open("rb") as stream:
        compressed = stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return cast(BinaryIO, gzip.open(path)) if compressed else path.open("rb")


def unreadable(path: Path | str, error: Exception) -> ConfigError:
    """Say why a file cannot be read, naming it once, and what to do."""
    reason, remedy = str(error), "is the file complete?"
    if isinstance(error, UnicodeError):
        remedy = "save the file as UTF-8"
    elif isinstance(error, FileNotFoundError):
        reason, remedy = os.strerror(error.errno or 0), "check the name, or put the file there"
    elif isinstance(error, OSError) and error.strerror:
        reason, remedy = error.strerror, "give a file that can be read"
    return ConfigError(f"{path}: cannot be read: {reason}; {remedy}")


# --- YAML -------------------------------------------------------------------------------------


def read_yaml(path: Path) -> Any:
    """Read one YAML file.

    Raises
    ------
    ConfigError
        With the line, for anything but one plain document: wrong syntax, a key given twice, a tag of a program, or
        more bytes, levels or values than the limits above.
    """
    return parse_yaml(read_text(path), source=str(path))


def parse_yaml(text: str, *, source: str) -> Any:
    """Read YAML text; see `read_yaml`."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}{_line_of(error)}: not valid YAML: {_what_of(error)}") from None
    except ValueError as error:  # text that is not Unicode: half of a surrogate pair
        raise ConfigError(f"{source}: not valid YAML: {error}; save the file as UTF-8") from None


def _line_of(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f":{mark.line + 1}" if mark else ""


def _what_of(error: yaml.YAMLError) -> str:
    said = [getattr(error, "context", None), getattr(error, "problem", None) or getattr(error, "reason", None)]
    return ", ".join(" ".join(str(one).split()) for one in said if one) or " ".join(str(error).split())


class _NotReadError(yaml.MarkedYAMLError):
    """What a file may not hold; raised while it is read, so that the rest costs nothing."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(None, None, problem, mark)


class _Loader(yaml.CSafeLoader):
    """YAML's safe loader within limits, where a key given twice is an error instead of the last one winning.

    The two `resolver` hooks are called by the parser around every value it builds: the only place where its depth
    can be stopped before it ends the interpreter.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._levels = 0
        self._values = 0
        self._checked: set[int] = set()
        self._may_repeat = "*" in stream

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        self._levels += 1
        self._values += 1
        if self._levels > MOST_LEVELS:
            problem = f"nested more than {MOST_LEVELS} levels deep; write it flatter"
            raise _NotReadError(problem, current_node.start_mark)
        if self._values > MOST_VALUES:
            raise _NotReadError(f"more than {MOST_VALUES} keys and values; split the file", current_node.start_mark)

    def ascend_resolver(self) -> None:
        self._levels -= 1

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None and self._may_repeat:
            _refuse_multiplied(node)
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Check the keys as they are written, once: merging (`<<`) puts further ones among them."""
        if id(node) not in self._checked:
            self._checked.add(id(node))
            self._refuse_repeated(node)
        super().flatten_mapping(node)

    def _refuse_repeated(self, node: yaml.MappingNode) -> None:
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == f"{_TAG}merge":
                continue
            value = key.value if key.tag == f"{_TAG}str" else self.construct_object(key)
            if value in seen:
                raise _NotReadError(f"key '{value}' is given twice", key.start_mark)
            seen.add(value)


def _refuse_multiplied(root: yaml.Node) -> None:
    """Refuse aliases that contain themselves, or that make more values of a file than one may hold.

    Counted from the leaves up, each node once, so that a file of ten lines that means a billion values costs ten steps.
    """
    counts: dict[int, int] = {}
    open_nodes: set[int] = set()
    stack: list[tuple[yaml.Node, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            counts[id(node)] = 1 + sum(counts[id(child)] for child in _children(node))
            open_nodes.discard(id(node))
            if counts[id(node)] > MOST_VALUES:
                problem = f"its aliases (*name) make more than {MOST_VALUES} values; write out what is meant"
                raise _NotReadError(problem, node.start_mark)
        elif id(node) in open_nodes:
            raise _NotReadError(
                "an alias (*name) stands inside what it repeats; write out what is meant", node.start_mark
            )
        elif id(node) not in counts:
            open_nodes.add(id(node))
            stack.append((node, True))
            stack += [(child, False) for child in _children(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [one for pair in node.value for one in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int | str:
    """Return a whole number written in decimal (or 0x, 0b); anything else stays the word it is."""
    text: str = node.value
    if _PLAIN_INTEGER.fullmatch(text) is None:
        return text
    value = int(loader.construct_yaml_int(node)) if len(text) <= 4 * MOST_DIGITS else None
    if value is None or abs(value) > LARGEST_INTEGER:
        problem = f"a whole number of {len(text)} digits; at most {LARGEST_INTEGER} (put quotes around a name)"
        raise _NotReadError(problem, node.start_mark)
    return value


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    """Return a text that pages, figures and file names can hold."""
    if _UNPRINTABLE.search(node.value):
        problem = f"the text {node.value[:40]!r} holds control characters; write printable text"
        raise _NotReadError(problem, node.start_mark)
    return str(node.value)


def _decimal(loader: _Loader, node: yaml.ScalarNode) -> float | str:
    """Return a finite decimal number; `.inf`, `.nan`, `1.0e999` and `1:30.5` stay the words they are."""
    value = math.nan if ":" in node.value else float(loader.construct_yaml_float(node))
    return value if math.isfinite(value) else str(node.value)


def _refuse_tag(loader: _Loader, node: yaml.Node) -> NoReturn:
    tag = node.tag.replace(_TAG, "!!")
    raise _NotReadError(f"the tag '{tag}' belongs to a program; write the plain value without it", node.start_mark)


def _placed(construct: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a constructor that says where a value is not of the kind its form or tag promises."""

    def constructed(loader: _Loader, node: yaml.ScalarNode) -> Any:
        try:
            return construct(loader, node)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            kind = node.tag.removeprefix(_TAG)
            problem = f"'{node.value[:40]}' is no {kind} ({error}); put quotes around a name"
            raise _NotReadError(problem, node.start_mark) from None

    return constructed


for _kind, _construct in {
    "str": _text,
    "int": _integer,
    "float": _decimal,
    "bool": yaml.constructor.SafeConstructor.construct_yaml_bool,
    "timestamp": yaml.constructor.SafeConstructor.construct_yaml_timestamp,
}.items():
    _Loader.add_constructor(_TAG + _kind, _placed(_construct))
for _kind in ("binary", "omap", "pairs", "set"):
    _Loader.add_constructor(_TAG + _kind, _refuse_tag)
_Loader.add_constructor(None, _refuse_tag)


# --- JSON -------------------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """Read one JSON file.

    Raises
    ------
    ConfigError
        With line and column, for anything but one value of plain JSON: wrong syntax, a key given twice, NaN, or more
        bytes, levels or digits than the limits above.
    """
    return parse_json(read_text(path), source=str(path))


def parse_json(text: str, *, source: str) -> Any:
    """Read JSON text; see `read_json`."""
    try:
        refuse_deep(text)
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source}:{error.lineno}: not valid JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: not valid JSON: {error}") from None


def refuse_deep(text: str) -> None:
    """Refuse JSON whose brackets nest too deeply, before anything is built of it.

    Raises
    ------
    ValueError
        Saying the limit. Brackets inside quoted text do not count.
    """
    if text.count("[") + text.count("{") <= MOST_LEVELS:
        return
    level = 0
    for found in _BRACKET_OR_TEXT.finditer(text):
        character = found.group()[0]
        level += (character in "[{") - (character in "]}")
        if level > MOST_LEVELS:
            raise ValueError(f"nested more than {MOST_LEVELS} levels deep; write it flatter")


_BRACKET_OR_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}]', re.DOTALL)


def json_integer(digits: str) -> int:
    """Return a whole number of a JSON text.

    Raises
    ------
    ValueError
        If it is larger than a machine counts with.
    """
    if len(digits) > MOST_DIGITS + 1 or abs(value := int(digits)) > LARGEST_INTEGER:
        raise ValueError(f"a whole number of {len(digits)} digits; at most {LARGEST_INTEGER}")
    return value


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, except that a key given twice is an error instead of the last one winning.

    Raises
    ------
    ValueError
        Naming the key.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key '{twice[:40]}' is given twice")
    return found


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and infinities, which are no numbers and no JSON.

    Raises
    ------
    ValueError
        Always.
    """
    raise ValueError(f"{name} is not a number; write null for what was not measured")


_DECODER = json.JSONDecoder(parse_int=json_integer, parse_constant=refuse_constant, object_pairs_hook=unique_keys)


# --- CSV --------------------------------------------------------------------------------------


def csv_records(lines: Iterable[str], source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number (of the record's last line) and cells of every record of a table, the header first.

    An empty line, as editors leave one at the end, is no record.

    Raises
    ------
    ConfigError
        With the line, if quotes do not match or a cell is longer than any number or name.
    """
    reader = csv.reader(lines, strict=True)
    try:
        for cells in filter(None, reader):
            yield reader.line_num, cells
    except csv.Error as error:
        raise ConfigError(f"{source}:{reader.line_num}: not valid CSV: {_csv_problem(error)}") from None


def _csv_problem(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"a cell of more than {MOST_CELL_CHARACTERS} characters; is a quotation mark missing?"
    return f"{error}; is a quotation mark missing, or the file cut off?"
