"""`roofline-lab inspect`: what measurements show by themselves, before anything is imported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline_lab.cli.tool_names import tool_names
from roofline_lab.formatting import table

if TYPE_CHECKING:
    from roofline_lab.importers.common import BothSides
    from roofline_lab.importers.inspection import Inspection

EPILOG = """examples:
  roofline-lab inspect results/                       results of {tools}
  roofline-lab inspect trace.csv.gz                   a request trace: period of prompts, gaps, cold start
  roofline-lab inspect measured_runs.csv              a table of runs
  roofline-lab inspect ground_truth/my-run            an experiment of this project

Nothing is written. What a path holds is recognised by its content. docs/importing.md explains every pitfall.
"""
ABSENT = "-"
COUNTS = ("sent", "completed", "failed", "cancelled", "without_output")
IN_WORDS = {"cancelled": "cut off", "without_output": "without a token"}
ID_CHARACTERS = 40


def add_inspect_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `inspect` to the commands of a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "inspect",
        help="show the figures of measurements and every pitfall found in them",
        description="Show the figures of measurements and every pitfall that the numbers alone give away.",
        epilog=EPILOG.format(tools=", ".join(tool_names())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files or folders to look at")
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Print what each path shows and return 0.

    Raises
    ------
    ConfigError
        If a path holds nothing that is known, or it cannot be read.
    """
    from roofline_lab.importers.inspection import inspect

    for path in arguments.paths:
        for inspection in inspect(path):
            sys.stdout.write("\n".join(_lines(inspection)) + "\n\n")
    return 0


def _lines(shown: Inspection) -> Iterator[str]:
    from roofline_lab.ground_truth.quality import flag_sentence

    yield shown.title
    if not shown.points:
        return
    yield ""
    yield _metrics(shown)
    if shown.both_sides:
        yield ""
        yield "Client and server, ms:"
        yield _sides(shown.both_sides)
    if shown.conversions:
        yield ""
        yield "Importing converts:"
        yield from (f"  - {sentence}" for sentence in shown.conversions)
    yield ""
    yield "Found:" if shown.found else "Found nothing."
    yield from (f"  - {flag_sentence(flag)}" for flag in shown.found)
    if shown.not_found:
        yield f"Not found, or too few numbers to tell: {', '.join(shown.not_found)}"


def _metrics(shown: Inspection) -> str:
    # Gaps between tokens say little where the time per token of each request is known.
    per_token = "tpot" if any(name.startswith("tpot") for point in shown.points for name in point.metrics) else "itl"
    names = [f"{metric}_{rank}" for metric in ("ttft", per_token, "e2e") for rank in ("mean", "p50", "p90", "p99")]
    there = [name for name in names if any(name in point.metrics for point in shown.points)]
    # A count that no load point has is no column.
    counts = [name for name in COUNTS if any(getattr(point, name) is not None for point in shown.points)]
    names_of_metrics = (name.replace("_", " ").upper() for name in there)
    header = ["Load point, ms", *(IN_WORDS.get(name, name) for name in counts), *names_of_metrics]
    rows = [
        [
            point.id,
            *(_count(getattr(point, name)) for name in counts),
            *(_ms(point.metrics.get(name)) for name in there),
        ]
        for point in shown.points
    ]
    return table(header, rows)


def _sides(both: Sequence[BothSides]) -> str:
    rows = []
    for position, sides in enumerate(both):
        cells = [_ms(value) for values in zip(sides.client, sides.server, strict=True) for value in values]
        differences = [_ms(client - server) for client, server in zip(sides.client, sides.server, strict=True)]
        cold = "first, cold" if position == 0 and len(both) > 1 else ""
        rows.append([sides.request[:ID_CHARACTERS], *cells[:2], differences[0], *cells[2:], differences[1], cold])
    header = ["Request", "TTFT client", "server", "difference", "E2E client", "server", "difference", "note"]
    return table(header, rows)


def _count(value: int | None) -> str:
    return ABSENT if value is None else str(value)


def _ms(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.2f}"
