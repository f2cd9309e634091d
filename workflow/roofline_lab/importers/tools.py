"""The tools whose results can be imported: one module of this folder each, found by its `TOOL`.

Contract: a module that defines `TOOL` (its name on the command line), `MARKS` (what stands at the top of its result
files and of no other tool's) and `read(path) -> Measurement` is a tool; nothing else has to name it. `tool_of`
recognises a file or folder by these marks. Keys that several tools write decide where no other mark does
(`WEAK_MARKS`, if a module has them), after what several keys together say (`recognises`).
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

from roofline_lab.ground_truth.json_stream import READ_ERRORS, open_text, stream_top, stream_values
from roofline_lab.importers.common import Measurement
from roofline_lab.importers.stated_server import RESULTS_FOLDER, stated_of, with_server
from roofline_lab.importers.unmeasured import without_unmeasured
from roofline_lab.importers.unread import refuse_unread
from simulator.errors import ConfigError
from simulator.input_files import unreadable
from simulator.validation import suggest

# Folders between the one given and its results, as a sweep has them.
MAX_DEPTH = 2
MAX_HEADER_CHARACTERS = 1 << 16
_FLAT = (".csv", ".yaml", ".yml")
_YAML_KEY = re.compile(r"[\"']?([A-Za-z_][\w.-]*)[\"']?:(\s|$)")


Marks = frozenset[str] | Mapping[str, str]


class ToolModule(Protocol):
    """What a module of this folder has that reads the results of a tool.

    Attributes
    ----------
    TOOL
        Its name on the command line.
    MARKS
        Keys of which one is enough, or the text that a key has to have where the key alone is a common word.
    """

    TOOL: str
    MARKS: Marks

    def read(self, path: Path) -> Measurement:
        """Read a file or folder of the tool, or raise one `ConfigError`."""
        ...


@cache
def tools() -> Mapping[str, ToolModule]:
    """Return the tools by name, in alphabetical order."""
    package = importlib.import_module(__name__.rpartition(".")[0])
    modules = [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
    ]
    found = {module.TOOL: cast("ToolModule", module) for module in modules if hasattr(module, "TOOL")}
    return dict(sorted(found.items()))


def read_results(tool: str, path: Path, server: Sequence[str] = ()) -> Measurement:
    """Read the results of a tool, with what is stated of the server.

    Parameters
    ----------
    server
        KEY=VALUE, or files that state facts, beside those that lie with the results.

    Raises
    ------
    ConfigError
        If the tool is unknown, or its files cannot be read or do not fit together.
    """
    if tool not in tools():
        raise ConfigError(f"import: unknown tool '{tool}'; {suggest(tool, tools())}")
    try:
        return with_server(without_unmeasured(tools()[tool].read(path)), stated_of(path, server))
    except ConfigError:
        if not _is_of(path, tool):
            refuse_unread(path, tools())
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ConfigError(f"{unreadable(path, error)} (a file or folder of {tool})") from None


def _is_of(path: Path, tool: str) -> bool:
    try:
        return tool_of(path) == tool
    except ConfigError:
        return False


def refuse_other_tool(path: Path, top: Mapping[str, Any], own: str) -> None:
    """Refuse a result file of another tool, naming the command that reads it.

    Raises
    ------
    ConfigError
        If what is at the top of the file marks it as one of another tool.
    """
    other = _tool_marked(top.items())
    if other not in (None, own) and not _is_marked(top.items(), tools()[own].MARKS):
        raise ConfigError(f"{path}: this is a file of {other}, not of {own}; use: import {other} PATH --out ...")


def tool_of(path: Path) -> str | None:
    """Return the tool that wrote a file, or a file of a folder; None if none of `tools` did.

    Raises
    ------
    ConfigError
        If no file is of a tool, and one cannot be read.
    """
    if not path.is_dir():
        return _tool_marked(at_the_top(path))
    unreadable: list[ConfigError] = []
    for file in _files(path):
        try:
            tool = tool_of(file)
        except ConfigError as error:
            unreadable.append(error)
            continue
        if tool is not None:
            return tool
    if unreadable:
        raise unreadable[0]
    return None


def _tool_marked(top: Iterable[tuple[str, Any]]) -> str | None:
    """Return the tool that the first entry marks; one of several that share a key where nothing else tells."""
    weakly, seen = None, dict[str, Any]()
    try:
        for entry in top:
            seen |= dict([entry])
            for name, tool in tools().items():
                if _is_marked([entry], tool.MARKS):
                    return name
                if weakly is None and _is_marked([entry], getattr(tool, "WEAK_MARKS", frozenset())):
                    weakly = name
    except ConfigError:
        if weakly is None:
            raise
    for name, tool in tools().items():
        if getattr(tool, "recognises", lambda _: False)(seen):
            return name
    return weakly


def _is_marked(top: Iterable[tuple[str, Any]], marks: Marks) -> bool:
    return any(key in marks and (not isinstance(marks, Mapping) or marks[key] == value) for key, value in top)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that results are in; those of folders in it where it has none itself."""
    inside = [place for place in (folder / RESULTS_FOLDER, folder) if place.is_dir()]
    found = [file for place in inside for file in sorted(place.iterdir()) if _may_hold_results(file)]
    yield from found
    if not found:
        for depth in range(1, MAX_DEPTH + 1):
            yield from (file for file in sorted(folder.glob("/".join("*" * (depth + 1)))) if _may_hold_results(file))


def _may_hold_results(file: Path) -> bool:
    return file.name.removesuffix(".gz").endswith((".json", ".jsonl", *_FLAT)) and file.is_file()


def _top_of_first(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of the first object of a list, as results that were collected are written."""
    first = next(stream_values(path, frozenset({()})), None)
    if first is not None and isinstance(first[1], dict):
        yield from first[1].items()


def at_the_top(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of a JSON or YAML file, or (column, None) of a CSV, as far as they are asked for.

    Values of YAML are text; lists and objects are None or empty.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    name = path.name.removesuffix(".gz")
    if not name.endswith(_FLAT):
        entries = stream_top(path)
        first = next(entries, None)
        if first is not None:
            yield first
            yield from entries
        else:
            yield from _top_of_first(path)
        return
    try:
        with open_text(path) as stream:
            if name.endswith(".csv"):
                header = stream.readline(MAX_HEADER_CHARACTERS)
                yield from ((cell.strip(' "\r\n'), None) for cell in header.split(","))
                return
            while line := stream.readline(MAX_HEADER_CHARACTERS):
                if match := _YAML_KEY.match(line):
                    yield match[1], line[match.end() :].split(" #")[0].strip(" \"'\r\n")
    except READ_ERRORS as error:
        raise unreadable(path, error) from None
