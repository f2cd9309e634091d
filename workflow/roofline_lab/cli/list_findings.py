"""`roofline-lab list`: every finding with its status and its title."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from roofline_lab.formatting import MISSING, columns, natural_order
from simulator.errors import ConfigError

NOT_RUN = "not run yet"
UNREADABLE = "cannot be read"
EPILOG = """examples:
  roofline-lab list                      every finding: id, aliases, status, title
  roofline-lab list overhead             those with the word in id, alias or title

The status is what the method that decides concludes (the last one a hypothesis names), as committed in reports/.
`snakemake ID`, or an alias in its place, makes a finding again.
"""


def add_list_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `list` to the commands of a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "list",
        help="list every finding with its status and title",
        description="List every finding of the project with its status and title. Nothing is run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="show only findings in which all words occur")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    parser.set_defaults(run=list_findings)
    return parser


def list_findings(arguments: argparse.Namespace) -> int:
    """Print one line per finding and return 0.

    Raises
    ------
    ConfigError
        If this is no project, or no finding holds the words.
    """
    folder = arguments.root / "hypotheses"
    found = sorted((path.parent.name for path in folder.glob("*/hypothesis.yaml")), key=natural_order)
    if not found:
        raise ConfigError(f"{folder}/: no */hypothesis.yaml found; run this in the project's folder, or give --root")
    words = [word.lower() for word in arguments.words]
    lines = [_line(arguments.root, name) for name in found]
    chosen = [line for line in lines if all(word in " ".join(line).lower() for word in words)]
    if not chosen:
        raise ConfigError(f"no finding holds {' and '.join(map(repr, words))}; `roofline-lab list` shows all of them")
    sys.stdout.write(columns([["Finding", "Aliases", "Status", "Title"], *chosen]) + "\n")
    return 0


def _line(root: Path, name: str) -> list[str]:
    """Return id, aliases, status and title; a draft that cannot be read says so in place of its status."""
    from simulator.input_files import read_yaml

    try:
        spec = read_yaml(root / "hypotheses" / name / "hypothesis.yaml")
    except ConfigError:
        spec = None
    if not isinstance(spec, dict):
        return [name, MISSING, UNREADABLE, MISSING]
    aliases = spec.get("aliases")
    told = ", ".join(map(str, aliases)) if isinstance(aliases, list) else ""
    title = " ".join(str(spec.get("title") or MISSING).split())
    return [name, told or MISSING, _status(root / "reports" / name / "verdict.json"), title]


def _status(verdict: Path) -> str:
    try:
        return str(json.loads(verdict.read_text(encoding="utf-8"))["methods"][-1]["status"])
    except FileNotFoundError:
        return NOT_RUN
    except (OSError, ValueError, LookupError, TypeError):
        return UNREADABLE
