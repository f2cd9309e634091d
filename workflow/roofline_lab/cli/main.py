"""Entry point: choose the command, turn expected failures into one message and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from roofline_lab.cli.compare import add_compare_command
from roofline_lab.cli.evaluate import add_evaluate_command
from roofline_lab.cli.import_measurements import add_import_command
from roofline_lab.cli.inspect import add_inspect_command
from roofline_lab.cli.lint import add_lint_command
from roofline_lab.cli.new import add_new_command
from roofline_lab.cli.replay import add_replay_command
from simulator.errors import RooflineLabError

EXIT_FAILURE = 2
# 128 + signal number, as shells report a process that a signal ended.
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

COMMANDS = (
    add_new_command,
    add_lint_command,
    add_inspect_command,
    add_import_command,
    add_evaluate_command,
    add_compare_command,
    add_replay_command,
)
EPILOG = """examples:
  roofline-lab new my_claim              a hypothesis that runs, to be filled in
  roofline-lab lint                      do all hypotheses keep the experiment standards?
  roofline-lab inspect results/          figures of a measurement, and the pitfalls they show
  roofline-lab import guidellm results/ --out ground_truth/my-run
  roofline-lab evaluate measurements/ --steptime h100_vllm --out evaluations/mine
  roofline-lab compare main              what changed in errors and verdicts since main?
  roofline-lab replay traces/            recorded requests served again, and how far off that is

Findings themselves are made by Snakemake: `snakemake --list-target-rules` lists what there is.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="roofline-lab",
        description="Start hypotheses, check the standards, import, evaluate, replay measurements, compare revisions.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="command", required=True)
    for add in COMMANDS:
        add(commands)
    return top


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
    except BrokenPipeError:
        # Point standard output at nothing, so that the interpreter's last flush cannot fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    return code


def _guarded(argv: Sequence[str] | None) -> int:
    try:
        arguments = parser().parse_args(argv)
        code: int = arguments.run(arguments)
    except SystemExit as leaving:  # argparse: 0 after --help, 2 after a wrong flag
        return leaving.code if isinstance(leaving.code, int) else EXIT_FAILURE
    except RooflineLabError as error:
        sys.stdout.flush()
        sys.stderr.write(f"error: {error}\n")
        return EXIT_FAILURE
    return code
