"""The option that silences progress, the same for every command that takes long."""

from __future__ import annotations

import argparse


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add `--quiet` to a parser; the entry point acts on it."""
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing of progress; errors are said")
