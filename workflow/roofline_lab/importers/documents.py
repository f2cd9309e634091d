"""Files of results in JSON or YAML, read value by value through one door.

Contract: `document_values` yields what `stream_values` yields, of a YAML file too: tools that can write both write the
same content. Which of both a file is, its content decides, as names lie.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth.json_stream import EACH, READ_ERRORS, Pattern, Place, open_text, stream_values
from simulator.errors import ConfigError
from simulator.input_files import read_yaml, unreadable

# Beginning of a file that is looked at: comments may stand above the first key.
HEAD_CHARACTERS = 1 << 16

_YAML_BEGINNING = re.compile(r"(?:---.*|%YAML.*|- .*|[\"']?[A-Za-z_][\w.-]*[\"']?:(?:\s.*)?)")


def document_values(path: Path, descend: Container[Pattern], as_json: str) -> Iterator[tuple[Place, Any]]:
    """Yield (place, value) of a JSON or YAML file in file order.

    Parameters
    ----------
    descend
        Containers to go into, as `stream_values` takes them.
    as_json
        What to do where a YAML file cannot be read, such as which file holds the same as JSON.

    Raises
    ------
    ConfigError
        If the file cannot be read, or is neither.
    """
    if not is_yaml(path):
        yield from stream_values(path, descend)
        return
    try:
        document = read_yaml(path)
    except ConfigError as error:
        raise ConfigError(f"{error}; {as_json}") from None
    yield from _walk(document, (), (), descend)


def is_yaml(path: Path) -> bool:
    """Whether the first line that says something is one of YAML and not of JSON.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    try:
        with open_text(path) as stream:
            lines = stream.read(HEAD_CHARACTERS).splitlines()
    except READ_ERRORS as error:
        raise unreadable(path, error) from None
    first = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")
    return _YAML_BEGINNING.fullmatch(first.rstrip()) is not None


def _walk(value: Any, place: Place, pattern: Pattern, descend: Container[Pattern]) -> Iterator[tuple[Place, Any]]:
    if pattern in descend and isinstance(value, dict):
        for key, entry in value.items():
            yield from _walk(entry, (*place, str(key)), (*pattern, str(key)), descend)
    elif pattern in descend and isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _walk(entry, (*place, index), (*pattern, EACH), descend)
    else:
        yield place, value
