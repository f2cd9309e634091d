"""`roofline-lab gate`: may this version of a simulator be merged? For continuous integration of its own repository."""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline_lab.cli.compare import DEFAULT_THRESHOLD_PP
from roofline_lab.files import json_text, write_text
from simulator.errors import ConfigError

if TYPE_CHECKING:
    from roofline_lab.regression.difference import Comparison

EXIT_FAILED = 1
EPILOG = """examples:
  roofline-lab gate h_mine                          run it, and judge against what HEAD has committed
  roofline-lab gate h_mine h_theirs --out gate.md --json gate.json
  roofline-lab gate h_mine --against v1.0           against another revision, or a folder with reports

Simulators of others are asked all anew (snakemake --config ask=again), and nothing in reports/ is changed. Exit code 0:
passed; 1: a verdict flipped, a prediction is lost or an error grew beyond noise; 2: the gate could not be made.
docs/comparing.md has an example for GitHub Actions.
"""


def add_gate_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `gate` to the commands of a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "gate",
        help="run hypotheses and fail if a verdict flips, a prediction is lost or an error grows",
        description="Run hypotheses and judge them against their last committed reports.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("hypotheses", metavar="ID", nargs="+", help="hypotheses to run")
    parser.add_argument(
        "--against", default="HEAD", metavar="REV", help="git revision, or folder with reports (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the markdown there instead of printing it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the judgement there as JSON, too")
    parser.add_argument(
        "--threshold-pp",
        type=float,
        default=DEFAULT_THRESHOLD_PP,
        metavar="PP",
        help="smallest growth of an error that counts, in percentage points (default: %(default)s)",
    )
    parser.add_argument("--no-run", action="store_true", help="judge what the last run left in results/")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run the hypotheses, print or write the judgement, and return 1 if it is against the simulator, else 0.

    Raises
    ------
    ConfigError
        If an option is out of range, a hypothesis is unknown or was never committed, or a run fails.
    """
    from roofline_lab.config import load_settings
    from roofline_lab.regression.difference import compare
    from roofline_lab.regression.gate import judge
    from roofline_lab.regression.gate_text import gate_markdown, gate_record
    from roofline_lab.regression.reading import read_snapshot
    from roofline_lab.regression.sources import chosen_reports, made_reports, open_source
    from roofline_lab.scoring.uncertainty import Uncertainty

    root, names, threshold_pp = arguments.root, _names(arguments), arguments.threshold_pp
    if not (math.isfinite(threshold_pp) and threshold_pp >= 0):
        raise ConfigError(f"--threshold-pp: must be 0 or greater, got {threshold_pp:g}")
    before = chosen_reports(open_source(arguments.against, root), names)
    if not arguments.no_run:
        _regenerate(root, names)
    comparison = compare(read_snapshot(before), read_snapshot(made_reports(root, names)), threshold_pp)
    uncertainty = Uncertainty.of_settings(load_settings(root))
    gate = judge(comparison, _families(root, comparison), uncertainty, threshold_pp)
    _deliver(arguments.json, json_text(gate_record(gate)), "--json")
    _deliver(arguments.out, gate_markdown(gate), "--out")
    if arguments.out is None:
        sys.stdout.write(gate_markdown(gate))
    return 0 if gate.passed else EXIT_FAILED


def _names(arguments: argparse.Namespace) -> tuple[str, ...]:
    from simulator.validation import suggest

    known = sorted(path.parent.name for path in (arguments.root / "hypotheses").glob("*/hypothesis.yaml"))
    for name in arguments.hypotheses:
        if name not in known:
            raise ConfigError(f"unknown hypothesis '{name}'; {suggest(name, known)}")
    return tuple(dict.fromkeys(arguments.hypotheses))


def _families(root: Path, comparison: Comparison) -> dict[str, str]:
    """Return the model family of every experiment that was compared, where its file says it."""
    from roofline_lab.ground_truth.reading import EXPERIMENT_FILE
    from simulator.input_files import read_yaml

    found = {}
    for name in sorted({row.key.experiment for row in comparison.rows}):
        path = root / "ground_truth" / name / EXPERIMENT_FILE
        content = read_yaml(path) if path.is_file() else None
        if isinstance(content, dict) and "family" in content:
            found[name] = str(content["family"])
    return found


def _regenerate(root: Path, names: Sequence[str]) -> None:
    """Make the pages of some hypotheses in results/, with simulators of others asked all anew."""
    pages = [f"results/{name}/report/FINDINGS.md" for name in names]
    command = [sys.executable, "-m", "snakemake", *pages, "--config", "ask=again"]
    sys.stderr.write(f"running {', '.join(names)}\n")
    sys.stderr.flush()
    # Its words are progress; standard output is for the judgement.
    done = subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise ConfigError(f"snakemake ended with code {done.returncode}; what is wrong stands above")


def _deliver(path: Path | None, text: str, option: str) -> None:
    if path is None:
        return
    try:
        write_text(path, text)
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be written: {error.strerror}") from None
