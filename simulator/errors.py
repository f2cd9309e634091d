"""What can go wrong, in two kinds: the user can mend it, or we must.

Every expected failure is a `RooflineLabError` whose text already says where (file, key), what is
wrong, what is allowed and what to do; command lines print it without a traceback and exit non-zero.
An `InvariantError` is a bug in this package and keeps its traceback.
"""

from __future__ import annotations

# Characters of one line of a message: a name or value of a million characters is told by its two ends.
LONGEST_LINE = 2_000
LAST_SHOWN = 400


class RooflineLabError(Exception):
    """An expected failure: bad input, or a question this laboratory cannot answer."""

    def __init__(self, message: str) -> None:
        super().__init__("\n".join(_shortened(line) for line in message.split("\n")))


def _shortened(line: str) -> str:
    if len(line) <= LONGEST_LINE:
        return line
    return f"{line[: LONGEST_LINE - LAST_SHOWN]} [...] {line[-LAST_SHOWN:]}"


class ConfigError(RooflineLabError):
    """A file, option or flag is wrong; the message lists every problem found at once."""


class TableError(RooflineLabError):
    """A kernel table cannot be trusted; the message names file and line."""


class UnsupportedError(RooflineLabError):
    """The input is well formed but asks for something outside the model (architecture, TP, shape).

    The laboratory turns it into a row with a status and this text as the reason.
    """


class InvariantError(AssertionError):
    """A statement that must always hold does not: a bug, never a user error."""
