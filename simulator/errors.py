"""What can go wrong, in two kinds: the user can mend it, or we must.

Every expected failure is a `RooflineLabError` whose text already says where (file, key), what is
wrong, what is allowed and what to do; command lines print it without a traceback and exit non-zero.
An `InvariantError` is a bug in this package and keeps its traceback.
"""

from __future__ import annotations

from types import TracebackType

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


class AllAtOnce:
    """What is wrong with several things, told in one message: `with told: check()` for each, then `told.refuse()`."""

    def __init__(self) -> None:
        self.errors: list[RooflineLabError] = []

    def __enter__(self) -> None:
        """Begin a check."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        """Keep an expected failure for later."""
        if isinstance(error, RooflineLabError):
            self.errors.append(error)
        return isinstance(error, RooflineLabError)

    def refuse(self) -> None:
        """Raise what was kept, if anything: one failure as it is, several as one.

        Raises
        ------
        RooflineLabError
            An `UnsupportedError` where all of them are, else a `ConfigError`.
        """
        said = list(dict.fromkeys(map(str, self.errors)))
        if len(said) == 1:
            raise self.errors[0]
        if said:
            unsupported = all(isinstance(error, UnsupportedError) for error in self.errors)
            raise (UnsupportedError if unsupported else ConfigError)("\n".join(said))


class InvariantError(AssertionError):
    """A statement that must always hold does not: a bug, never a user error."""
