"""`roofline-lab compare`: errors and verdicts of two revisions, before and after."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline_lab.files import write_text
from simulator.errors import ConfigError

if TYPE_CHECKING:
    from roofline_lab.regression.difference import Comparison

EXIT_WORSE = 1
# Half a percentage point: below what repeated measurements of one server agree to, and half of what reports print bold.
DEFAULT_THRESHOLD_PP = 0.5
DEFAULT_ROWS = 10
EPILOG = """examples:
  roofline-lab compare main                        main against the reports in the work tree
  roofline-lab compare HEAD~5 HEAD                 two revisions
  roofline-lab compare old/reports reports         two folders with reports
  roofline-lab compare main --fail-on flip --out comparison.md

Exit code 0: nothing got worse; 1: a row got worse beyond noise or lost its number, or a verdict or criterion flipped
(--fail-on chooses); 2: the comparison could not be made. docs/comparing.md explains what counts as noise.
"""


def add_compare_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `compare` to the commands of a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "compare",
        help="what changed in errors and verdicts between two revisions, as markdown",
        description="Compare the reports of two revisions (or folders): mean errors, rows beyond noise, verdicts.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", metavar="REV_A", help="git revision, or folder with reports")
    parser.add_argument("after", metavar="REV_B", nargs="?", help="the same (default: the reports in the work tree)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the markdown there instead of printing it")
    parser.add_argument(
        "--threshold-pp",
        type=float,
        default=DEFAULT_THRESHOLD_PP,
        metavar="PP",
        help="smallest change of a row's error that counts, in percentage points (default: %(default)s)",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=DEFAULT_ROWS,
        metavar="N",
        help="rows to show of the worst and of the best (default: %(default)s)",
    )
    parser.add_argument(
        "--fail-on",
        choices=tuple(_FAILURES),
        default="any",
        help="what makes the exit code 1 (default: %(default)s, which is worse or flip)",
    )
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Print or write the comparison; return 1 if it holds what `--fail-on` names, else 0.

    Raises
    ------
    ConfigError
        If an option is out of range, or a side cannot be read.
    """
    from roofline_lab.regression.comment import render
    from roofline_lab.regression.difference import compare
    from roofline_lab.regression.reading import read_snapshot
    from roofline_lab.regression.sources import open_source, work_tree

    threshold_pp: float = arguments.threshold_pp
    if not (math.isfinite(threshold_pp) and threshold_pp >= 0):
        raise ConfigError(f"--threshold-pp: must be 0 or greater, got {threshold_pp:g}")
    if arguments.rows < 0:
        raise ConfigError(f"--rows: must be 0 or greater, got {arguments.rows}")
    before = open_source(arguments.before, arguments.root)
    after = work_tree(arguments.root) if arguments.after is None else open_source(arguments.after, arguments.root)
    found = compare(read_snapshot(before), read_snapshot(after), threshold_pp)
    _deliver(render(found, rows=arguments.rows, threshold_pp=threshold_pp), found, arguments.out)
    return EXIT_WORSE if _FAILURES[arguments.fail_on](found) else 0


def _deliver(text: str, found: Comparison, out: Path | None) -> None:
    from roofline_lab.regression.comment import summary

    if out is None:
        sys.stdout.write(text)
        return
    try:
        write_text(out, text)
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written: {error.strerror}") from None
    sys.stdout.write(f"{'nothing changed' if found.is_empty else summary(found)}; written to {out}\n")


def _is_worse(found: Comparison) -> bool:
    from roofline_lab.regression.noise import Fate

    return found.count(Fate.WORSE, Fate.LOST) > 0


def _is_flipped(found: Comparison) -> bool:
    return found.verdicts_flipped > 0


_FAILURES: Mapping[str, Callable[[Comparison], bool]] = {
    "worse": _is_worse,
    "flip": _is_flipped,
    "any": lambda found: _is_worse(found) or _is_flipped(found),
    "never": lambda found: False,
}
