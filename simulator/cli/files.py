"""Reading JSON lines and writing results; the only place of the command line that touches files.

Contract: what cannot be read or written is a `ConfigError` that names it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from simulator.errors import ConfigError, RooflineLabError
from simulator.input_files import parse_json

STANDARD_INPUT = "standard input"
LINE_LENGTH = 100
# Of file systems and of Linux; what is longer is refused as a name instead of failing where it is opened.
LONGEST_NAME_BYTES = 255
LONGEST_PATH_BYTES = 4095

Answer = Callable[[Mapping[str, Any], str], dict[str, Any]]


def checked_path(text: str, what: str) -> Path:
    """Return `text` as a path, or refuse a name no file can have."""
    try:
        name = os.fsencode(text)
        possible = bool(name) and b"\0" not in name and max(map(len, name.split(b"/"))) <= LONGEST_NAME_BYTES
        possible = possible and len(name) <= LONGEST_PATH_BYTES
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise ConfigError(f"{what}: {text!r} is not the name of a file or folder")
    return Path(text)


def emit(value: object) -> None:
    """Write one JSON line to standard output."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")


def emit_document(value: object) -> None:
    """Write JSON for reading to standard output: what fits on a line stays on one."""
    sys.stdout.write(_laid_out(value, "") + "\n")


def _laid_out(value: object, margin: str) -> str:
    inline = json.dumps(value, allow_nan=False)
    if len(margin) + len(inline) <= LINE_LENGTH or not value or not isinstance(value, dict | list):
        return inline
    inner = margin + "  "
    if isinstance(value, dict):
        parts = [f"{inner}{json.dumps(key)}: {_laid_out(part, inner)}" for key, part in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{margin}}}"
    return "[\n" + ",\n".join(inner + _laid_out(part, inner) for part in value) + f"\n{margin}]"


def say(message: str) -> None:
    """Write one line to standard error."""
    sys.stderr.write(message + "\n")


def input_objects() -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of every JSON line on standard input; blank lines are skipped.

    Raises
    ------
    ConfigError
        At the first line that is not one JSON object, naming it, or if there is no input to read.
    """
    for number, line in enumerate(_input_lines(), start=1):
        if line.strip():
            yield number, _object(line, number)


def where(line: int) -> str:
    """Name a line of standard input in messages."""
    return f"{STANDARD_INPUT}:{line}"


def answer_lines(answer: Answer) -> int:
    """Write one answer per input line, as soon as it is known.

    Raises
    ------
    ConfigError
        At the first line that has no answer; it says how many were written before.
    """
    written = 0
    try:
        for line, record in input_objects():
            emit(_placed(answer, record, where(line)))
            written += 1
    except RooflineLabError as error:
        raise type(error)(f"{error}\nstopped there; {written} record(s) before it were answered") from None
    return 0


def _placed(answer: Answer, record: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Answer one record; every refusal names its line."""
    try:
        return answer(record, source)
    except RooflineLabError as error:
        text = str(error)
        raise type(error)(text if text.startswith(source) else f"{source}: {text}") from None


def _input_lines() -> Iterator[bytes]:
    if sys.stdin is None:  # closed by the caller
        return
    try:
        yield from sys.stdin.buffer
    except OSError as error:
        raise ConfigError(f"{STANDARD_INPUT}: cannot be read: {error.strerror}") from None


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = parse_json(line.decode("utf-8-sig"), source=where(number))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where(number)}: not one JSON object: {error}; write UTF-8") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{where(number)}: not one JSON object: got {type(value).__name__}")
    return value


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write one JSON document on one line."""
    _write(path, json.dumps(document, allow_nan=False) + "\n")


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line."""
    _write(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV file; None becomes an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _write(path, text.getvalue())


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="\n", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
