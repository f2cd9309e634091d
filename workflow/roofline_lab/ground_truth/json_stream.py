"""JSON files of any size, read value by value in bounded memory.

Contract: `stream_values` yields every value of a file with its place. It goes into the containers
that `descend` names and decodes everything else whole, so that memory is bounded by the largest such value (at most
`MAX_VALUE_CHARACTERS`), never by the file. A file that is not JSON, breaks off,
has a key twice or NaN or Infinity for a number raises one `ConfigError` with file and position. `stream_top` yields
what is at the top, so that a file is recognised without being read; `stream_documents` reads several values in one
file, such as JSON lines.

Why not a library: ijson 3.6 streams as fast, but takes the last of two equal keys without a word, does not say where in
the file a problem is (its C backend), refuses whole numbers beyond 64 bits that Python and its tools write, and decodes
brackets a hundred thousand deep until there is no memory left. All four would have to be built around it again.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TextIO, cast

from simulator.errors import ConfigError
from simulator.input_files import READ_ERRORS as READ_ERRORS
from simulator.input_files import open_bytes, unreadable

# From this size on reading takes seconds, and whoever wants to is told how far it is.
LARGE_BYTES = 50_000_000
CHUNK_CHARACTERS = 1 << 18
MAX_VALUE_CHARACTERS = 1 << 26

# Deep enough for the single requests of a result, shallow enough for any stack.
SHALLOW_LEVELS = 6

# Longest beginning of a number's next part that is no number yet, such as `e-`.
NUMBER_TAIL_CHARACTERS = 2

_told: ContextVar[Callable[[Path, int, int], None] | None] = ContextVar("told", default=None)

Place = tuple[str | int, ...]
Pattern = tuple[str, ...]

# In a pattern: any position of a list.
EACH = "*"


class _RefusedError(Exception):
    """What valid JSON may not hold here; no ValueError, as those mean that more of the file is needed."""


def stream_values(path: Path, descend: Container[Pattern]) -> Iterator[tuple[Place, Any]]:
    """Yield (place, value) in file order.

    Parameters
    ----------
    path
        The file.
    descend
        Containers to go into: `()` is the whole file, `("a", "*")` every entry of the list `a`.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not JSON, or holds a single value too large to decode.
    """
    with _opened(path, descend) as reader:
        yield from reader.values()


def stream_documents(
    path: Path, descend: Container[Pattern], infinite: Container[str] = ()
) -> Iterator[tuple[int, Place, Any]]:
    """Yield (number of the document from 0, place, value) of a file that holds one JSON value after the other.

    Parameters
    ----------
    path, descend
        As of `stream_values`.
    infinite
        Keys whose value may be infinite, as some tools write a rate without limit.

    Raises
    ------
    ConfigError
        As `stream_values`.
    """
    with _opened(path, descend, constants=_infinite) as reader:
        yield from reader.documents(infinite)


def stream_top(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of the object a file holds; nothing where it holds no object.

    A list or object is yielded as None before it is read, a damaged value as None before it is refused.

    Raises
    ------
    ConfigError
        As `stream_values`, if it is met before the last key that is asked for.
    """
    with _opened(path, _Shallow(), constants=_infinite) as reader:
        yield from reader.top()


@contextmanager
def _opened(
    path: Path, descend: Container[Pattern], constants: Callable[[str], float] | None = None
) -> Iterator[_Reader]:
    try:
        with open_text(path) as stream:
            yield _Reader(path, stream, descend, constants or _refuse)
    except READ_ERRORS as error:
        raise unreadable(path, error) from None


def open_text(path: Path, errors: str = "strict") -> TextIO:
    """Open a text file, plain or compressed by gzip, with or without a byte order mark.

    Parameters
    ----------
    errors
        What becomes of bytes that are no text, by the names of Python's codecs.

    Raises
    ------
    OSError, ValueError
        If it cannot be opened; reading it raises one of `READ_ERRORS`.
    """
    stream, told = open_bytes(path), _told.get()
    if told is not None and (size := path.stat().st_size) >= LARGE_BYTES:
        stream = cast(BinaryIO, _Watched(stream, lambda done: told(path, done, size)))
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors=errors, newline="")


@contextmanager
def reading_told(told: Callable[[Path, int, int], None]) -> Iterator[None]:
    """Tell a function of every large file that is read as text meanwhile: the file, bytes read so far, its size."""
    before = _told.set(told)
    try:
        yield
    finally:
        _told.reset(before)


class _Watched(io.BufferedIOBase):
    """A file that says how far it is read, in bytes of what lies on the disk, compressed or not."""

    def __init__(self, inner: BinaryIO, told: Callable[[int], None]) -> None:
        self._inner, self._say = inner, told

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1) -> bytes:
        content = cast(io.BufferedReader, self._inner).read1(size)
        self._say(os.lseek(self._inner.fileno(), 0, os.SEEK_CUR))
        return content

    def read(self, size: int | None = -1) -> bytes:
        return self._inner.read(-1 if size is None else size)

    def close(self) -> None:
        self._inner.close()
        super().close()


class _Shallow:
    """Containers near the top of a file, whatever their names."""

    def __contains__(self, pattern: object) -> bool:
        return isinstance(pattern, tuple) and len(pattern) < SHALLOW_LEVELS


class _Reader:
    def __init__(
        self, path: Path, stream: TextIO, descend: Container[Pattern], constants: Callable[[str], float]
    ) -> None:
        self._path = path
        self._stream = stream
        self._descend = descend
        self._infinity_met = False
        self._constants = constants
        self._decoder = json.JSONDecoder(parse_constant=self._met, object_pairs_hook=_unique)
        self._buffer = ""
        self._position = 0
        self._consumed = 0
        self._at_end = False

    def values(self) -> Iterator[tuple[Place, Any]]:
        yield from self._walk((), ())
        if self._peek():
            self._fail("there is more behind the end of the value; give each result a file of its own")

    def documents(self, infinite: Container[str]) -> Iterator[tuple[int, Place, Any]]:
        number = 0
        while True:
            for place, value in self._walk((), ()):
                if self._infinity_met and not (place and place[-1] in infinite):
                    self._fail("Infinity is not a number")
                self._infinity_met = False
                yield number, place, value
            if not self._peek():
                return
            number += 1

    def _met(self, name: str) -> float:
        value = self._constants(name)
        self._infinity_met = True
        return value

    def top(self) -> Iterator[tuple[str, Any]]:
        if self._peek() != "{":
            next(self._walk((), ()), None)
            return
        for key in self._keys():
            if self._peek() in ("{", "["):
                yield key, None
                for _ in self._walk((key,), (key,)):
                    pass
                continue
            try:
                value = self._value()
            except ConfigError:
                yield key, None  # a key tells whose file it is, even where its value is damaged
                raise
            yield key, value

    def _walk(self, place: Place, pattern: Pattern) -> Iterator[tuple[Place, Any]]:
        opening = self._peek()
        if pattern in self._descend and opening == "{":
            yield from self._object(place, pattern)
        elif pattern in self._descend and opening == "[":
            yield from self._array(place, pattern)
        else:
            yield place, self._value()

    def _object(self, place: Place, pattern: Pattern) -> Iterator[tuple[Place, Any]]:
        for key in self._keys():
            yield from self._walk((*place, key), (*pattern, key))

    def _keys(self) -> Iterator[str]:
        """Yield the keys of an object; whoever asks for the next one has read the value of the last."""
        self._position += 1
        if self._take("}"):
            return
        seen: set[str] = set()
        while True:
            if self._peek() != '"':
                self._fail("a key in double quotes is expected")
            key = self._value()
            if key in seen:
                self._fail(f"the key '{key[:40]}' is given twice")
            seen.add(key)
            if not self._take(":"):
                self._fail(f"a colon is expected after the key '{key[:40]}'")
            yield key
            if self._take("}"):
                return
            if not self._take(","):
                self._fail("a comma or a closing brace is expected")

    def _array(self, place: Place, pattern: Pattern) -> Iterator[tuple[Place, Any]]:
        self._position += 1
        if self._take("]"):
            return
        index = 0
        while True:
            yield from self._walk((*place, index), (*pattern, EACH))
            index += 1
            if self._take("]"):
                return
            if not self._take(","):
                self._fail("a comma or a closing bracket is expected")

    def _take(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self._position += 1
        return True

    def _peek(self) -> str:
        """Return the next character that is not white space; empty at the end of the file."""
        while True:
            while self._position < len(self._buffer):
                character = self._buffer[self._position]
                if character not in " \t\n\r":
                    return character
                self._position += 1
            if self._at_end:
                return ""
            self._read(CHUNK_CHARACTERS)

    def _value(self) -> Any:
        while True:
            problem = "the file ends where a value is expected"
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._position)
                # What reaches the end of the buffer may go on behind it, as a number does: `0`, `0.`, `0.2e-`.
                if end + NUMBER_TAIL_CHARACTERS < len(self._buffer) or self._at_end:
                    self._position = end
                    return value
            except _RefusedError as error:
                self._fail(str(error))
            except RecursionError:
                self._fail("values are nested too deeply")
            except ValueError as error:
                if "integer string conversion" in str(error):
                    self._fail("a whole number has thousands of digits")
                problem = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            if self._at_end:
                self._fail(problem)
            pending = len(self._buffer) - self._position
            if pending > MAX_VALUE_CHARACTERS:
                self._fail(f"a single value is longer than {MAX_VALUE_CHARACTERS} characters, or broken ({problem})")
            self._read(max(CHUNK_CHARACTERS, pending))

    def _read(self, characters: int) -> None:
        self._consumed += self._position
        more = self._stream.read(characters)
        self._buffer = self._buffer[self._position :] + more
        self._position = 0
        self._at_end = not more

    def _fail(self, problem: str) -> NoReturn:
        place = self._consumed + self._position + 1
        broken_off = "; is the file complete?" if self._at_end else ""
        raise ConfigError(f"{self._path}: not valid JSON at character {place}: {problem}{broken_off}")


def _refuse(name: str) -> NoReturn:
    raise _RefusedError(f"{name} is not a number")


def _infinite(name: str) -> float:
    return float(name) if name == "Infinity" else _refuse(name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise _RefusedError(f"the key '{twice[:40]}' is given twice")
    return found
