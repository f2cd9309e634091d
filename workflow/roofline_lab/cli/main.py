"""Entry point: choose the command, turn expected failures into one message and an exit code."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType

from roofline_lab.jobs.progress import PROGRESS
from simulator.errors import RooflineLabError
from simulator.input_files import unreadable

EXIT_FAILURE = 2
# 128 + signal number, as shells report a process that a signal ended.
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
EXIT_BROKEN_PIPE = 141

# Set by the shell while it completes a word with argcomplete.
COMPLETES = "_ARGCOMPLETE"
# Command -> its module, which is imported for this command alone or for a look at all of them.
COMMANDS = {
    "list": "list_findings",
    "init": "init",
    "new": "new",
    "lint": "lint",
    "inspect": "inspect",
    "import": "import_measurements",
    "evaluate": "evaluate",
    "calibrate": "calibrate",
    "compare": "compare",
    "gate": "gate",
    "replay": "replay",
    "capacity": "capacity",
    "predict": "predict",
}
EPILOG = """examples:
  roofline-lab init my-lab               a folder for measurements and claims of one's own
  roofline-lab list                      which findings there are, with their statuses
  roofline-lab new my_claim              a hypothesis that runs, to be filled in
  roofline-lab lint                      do all hypotheses keep the experiment standards?
  roofline-lab inspect results/          figures of a measurement, and the pitfalls they show
  roofline-lab import guidellm results/ --out ground_truth/my-run
  roofline-lab evaluate measurements/ --steptime h100_vllm --out evaluations/mine
  roofline-lab calibrate --onto a100-sxm --from h100_vllm --with my-run
  roofline-lab compare main              what changed in errors and verdicts since main?
  roofline-lab gate h_mine               may this version of my simulator be merged?
  roofline-lab capacity q.yaml           which load meets limits on latencies, with which GPUs
  roofline-lab predict --model ...       latencies and throughput of a server, with intervals
  roofline-lab replay traces/            recorded requests served again, and how far off that is

Findings themselves are made by Snakemake: `snakemake ID` makes one, `snakemake` all of them.
Completion of words with the Tab key: docs/running.md.
"""


def parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of the command that `words` begin with, else of all commands."""
    top = argparse.ArgumentParser(
        prog="roofline-lab",
        description="Make labs, list and start hypotheses, check standards, import, evaluate, replay, calibrate.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and leave")
    commands = top.add_subparsers(dest="command", metavar="command", required=True)
    for name in words[:1] if words and words[0] in COMMANDS else COMMANDS:
        module = import_module(f"roofline_lab.cli.{COMMANDS[name]}")
        getattr(module, f"add_{name}_command")(commands)
    return top


def version() -> str:
    """Return the version of the project as installed, or as a clone that was never installed says it."""
    # Imported here because only this option needs it.
    import tomllib
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("roofline-lab")
    except PackageNotFoundError:
        written = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
        return str(tomllib.loads(written)["project"]["version"])


class _Version(argparse.Action):
    """Looks the version up only where it is asked for: that takes a third of the time a page of help has."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        sys.stdout.write(f"{parser.prog} {version()}\n")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv
        Arguments without the program's name; None takes those of the process.
    """
    try:
        with _termination_is_an_interrupt():
            code = _guarded(argv)
            sys.stdout.flush()
    except BrokenPipeError:
        # Point standard output at nothing, so that the interpreter's last flush cannot fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_TERMINATED if isinstance(interrupt, _Terminated) else EXIT_INTERRUPTED
    return code


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which would else end the process without taking half-written files away."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


@contextmanager
def _termination_is_an_interrupt() -> Iterator[None]:
    """Let SIGTERM interrupt a command as Ctrl-C does; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _can_complete() -> bool:
    """Tell the shell what a word may become, and leave; without argcomplete nothing is told."""
    try:
        completer = import_module("argcomplete")
    except ImportError:
        return False
    completer.autocomplete(parser())
    return True


def _guarded(argv: Sequence[str] | None) -> int:
    try:
        words = sys.argv[1:] if argv is None else argv
        if COMPLETES in os.environ and not _can_complete():
            return EXIT_FAILURE
        arguments = parser(words).parse_args(words)
        PROGRESS.quiet = getattr(arguments, "quiet", False)
        code: int = arguments.run(arguments)
    except SystemExit as leaving:  # argparse: 0 after --help, 2 after a wrong flag
        return leaving.code if isinstance(leaving.code, int) else EXIT_FAILURE
    except OSError as error:  # a name no file can have, a folder that may not be entered, a full disk
        if error.filename is None:
            raise
        sys.stdout.flush()
        sys.stderr.write(f"error: {unreadable(error.filename, error)}\n")
        return EXIT_FAILURE
    except RooflineLabError as error:
        sys.stdout.flush()
        sys.stderr.write(f"error: {error}\n")
        return EXIT_FAILURE
    return code
