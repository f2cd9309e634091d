"""`roofline-lab lint`: check all hypotheses against the experiment standards."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline_lab.formatting import columns
from simulator.errors import ConfigError

if TYPE_CHECKING:
    from roofline_lab.lint.rules import Result
    from roofline_lab.project import Project

EXIT_BREACHES = 1
EPILOG = """examples:
  roofline-lab lint                      every rule on every hypothesis and on the project
  roofline-lab lint h1_bw_efficiency     one hypothesis
  roofline-lab lint --rules              what the rules ask for
  roofline-lab lint --verbose            also what was looked at

One line per breach: rule, hypothesis, file and key, what is wrong; what to do. Exit code 1 on a breach.
"""


def add_lint_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `lint` to the commands of a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "lint",
        help="check every hypothesis against the experiment standards",
        description="Check every hypothesis, its committed report and the measurements against the standards.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("hypotheses", nargs="*", metavar="ID", help="hypotheses to look at (default: all)")
    parser.add_argument("--rules", action="store_true", help="list the rules and leave")
    parser.add_argument("--verbose", action="store_true", help="say what every rule looked at")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    parser.set_defaults(run=lint)
    return parser


def lint(arguments: argparse.Namespace) -> int:
    """Print every breach and return 1 if there is one, else 0.

    Raises
    ------
    ConfigError
        If a hypothesis does not exist, or the project does not load.
    """
    from roofline_lab.lint.lint import RULES, run
    from roofline_lab.project import load_project

    if arguments.rules:
        rows = [[rule.id, rule.checked.value, rule.statement] for rule in RULES]
        sys.stdout.write(columns([["Rule", "Checked", "Asks for"], *rows]) + "\n")
        return 0
    project = load_project(arguments.root)
    results = run(project, _chosen(project, arguments.hypotheses))
    for result in results:
        _print(result, verbose=arguments.verbose)
    breaches = sum(len(result.lines) for result in results)
    notes = sum(len(result.notes) for result in results)
    subjects = len({result.hypothesis for result in results})
    sys.stdout.write(f"{len(results)} checks on {subjects} subjects: {breaches} breaches, {notes} notes\n")
    return EXIT_BREACHES if breaches else 0


def _chosen(project: Project, names: Sequence[str]) -> Sequence[str] | None:
    from simulator.validation import suggest

    for name in names:
        if name not in project.names:
            raise ConfigError(f"unknown hypothesis '{name}'; {suggest(name, project.names)}")
    return names or None


def _print(result: Result, *, verbose: bool) -> None:
    if verbose:
        sys.stdout.write(f"{result.rule.id} {result.hypothesis} looked at: {result.findings.checked}\n")
    for line in (*result.lines, *result.notes):
        sys.stdout.write(f"{line}\n")
