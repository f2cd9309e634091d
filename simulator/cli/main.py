"""Entry point: choose the sub-command, turn expected failures into one message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from simulator.cli.arguments import parser
from simulator.errors import RooflineLabError

if TYPE_CHECKING:
    from argparse import Namespace

EXIT_FAILURE = 2
# 128 + signal number, as shells report a process that a signal ended.
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv
        Arguments without the program's name; None takes those of the process.
    """
    try:
        code = _guarded(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _discard_standard_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:  # standard output is full or closed; files name themselves in a ConfigError
        sys.stderr.write(f"error: standard output: cannot be written: {error.strerror}\n")
        _discard_standard_output()
        return EXIT_FAILURE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED


def _guarded(argv: Sequence[str] | None) -> int:
    try:
        arguments = parser().parse_args(argv)
        return _command(arguments.command)(arguments)
    except SystemExit as leaving:  # argparse: 0 after --help, 2 after a wrong flag
        return leaving.code if isinstance(leaving.code, int) else EXIT_FAILURE
    except RooflineLabError as error:
        sys.stdout.flush()
        sys.stderr.write(f"error: {error}\n")
        return EXIT_FAILURE


def _command(name: str) -> Callable[[Namespace], int]:
    """Import the command that is run and no other: imports cost more than most commands."""
    command: Callable[[Namespace], int] = import_module(f"simulator.cli.{name}").command
    return command


def _discard_standard_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush cannot fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
