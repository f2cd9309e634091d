"""`roofline-lab replay`: score recorded request traces."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from roofline_lab.formatting import pct
from roofline_lab.ground_truth.requests import FURTHER_COLUMNS, TRACE_COLUMNS

DEFAULT_OUT = Path("results/replay")
EPILOG = f"""examples:
  roofline-lab replay traces/                      every trace of a folder
  roofline-lab replay my-run.csv.gz --experiment my-experiment --out results/my-run
  roofline-lab replay ground_truth/my-experiment/requests.csv
  roofline-lab replay traces/ --out reports/replay      the committed page

A trace is CSV, plain or .gz, with the columns {", ".join(TRACE_COLUMNS)}
and, if there, {", ".join(FURTHER_COLUMNS)}.
Its name up to the first __ is the experiment in ground_truth/. docs/ground-truth.md explains the columns and the page;
configs/replay.yaml names the options that are tried.
"""


def add_replay_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `replay` to the commands of a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "replay",
        help="replay recorded request traces and compare them with what was measured",
        description="Serve every recorded request again, and write how far the simulation is from the measurement.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("traces", nargs="+", type=Path, metavar="TRACE", help="trace, or folder of traces")
    parser.add_argument("--experiment", metavar="ID", help="experiment of all traces (default: from their names)")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"folder of the page (default: {DEFAULT_OUT})")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    parser.set_defaults(run=replay)
    return parser


def replay(arguments: argparse.Namespace) -> int:
    """Replay, write page, numbers and figures, print a summary and return 0.

    Raises
    ------
    ConfigError
        If a trace cannot be read or belongs to no experiment; nothing is written then.
    """
    from roofline_lab.predict.choose import load_option_sets
    from roofline_lab.predict.recording import load_recordings
    from roofline_lab.predict.replay import LATENCIES, score
    from roofline_lab.project import load_project
    from roofline_lab.report.replay import PAGE, provenance, publish, report_files
    from roofline_lab.report.replay_tables import failures, summaries

    project = load_project(arguments.root)
    option_sets = load_option_sets(project)
    recordings = load_recordings(project.root, arguments.traces, arguments.experiment)
    scores = score(project, recordings, option_sets)
    files = report_files(recordings, scores, option_sets)
    publish(arguments.out, files, provenance(project, recordings, option_sets))
    for line in failures(scores):
        sys.stdout.write(f"note: {line}\n")
    for summary in summaries(scores):
        errors = ", ".join(
            f"{name.upper()} {pct(summary.errors_pct.get(('experiments', name, 'mean')))}" for name in LATENCIES
        )
        sys.stdout.write(f"{summary.label}: mean error {errors} ({summary.compared} of {summary.scored} load points)\n")
    sys.stdout.write(f"page written to {arguments.out / PAGE}\n")
    return 0
