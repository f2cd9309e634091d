"""`roofline-lab calibrate`: carry a calibration onto a GPU or a site where one run was measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from roofline_lab.cli.quiet import add_quiet
from roofline_lab.jobs.progress import PROGRESS
from simulator.errors import ConfigError

EXIT_NOT_DESCRIBED = 1
DEFAULT_OUT = Path("results/onto")
EPILOG = """examples:
  roofline-lab calibrate --onto a100-sxm --from h100_vllm --with 38-llama-3-1-8b-tp1-general-lite-1-1
  roofline-lab calibrate --onto my-gpu --from h100_vllm --with measurements/my-run --out calibrations/my-gpu
  roofline-lab calibrate --onto h100-sxm --from h100_vllm --with measurements/our-cluster

What the run shows is fitted, everything else stays as the donor has it; the page says of every constant which of both,
and how certain it is. A GPU the donor was fitted on keeps its constants but for server and site: another cluster.
The file is then what `roofline-lab evaluate --steptime` and `python -m simulator run --steptime` take. Calibrations of
many models are made by Snakemake (`snakemake calibrate`); docs/calibration.md explains both.

Exit code 0: written; 1: written, but the constants do not describe the run, and the page says where; 2: an argument was
wrong, and nothing was run.
"""


def add_calibrate_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `calibrate` to the commands of a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "calibrate",
        help="carry a calibration onto another GPU or cluster by one measured run",
        description="Fit to one measured run what it can show, and borrow all other constants from a calibration.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--onto", required=True, metavar="GPU", help="GPU the run was measured on")
    parser.add_argument(
        "--from",
        required=True,
        dest="donor",
        metavar="CALIBRATION",
        help="a name in configs/calibration, or a file",
    )
    parser.add_argument(
        "--with",
        required=True,
        dest="runs",
        nargs="+",
        metavar="RUN",
        help="experiment of the project, or folder of one or several",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"folder of file and page (default: {DEFAULT_OUT}/GPU_from_CALIBRATION)"
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier calibration in --out")
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder with models (<id>.json)")
    parser.add_argument("--hardware", type=Path, metavar="DIR", help="folder with data sheets of GPUs (<id>.yaml)")
    parser.add_argument("--software", metavar="TEXT", help='serving software of runs that name none, "vLLM 0.15.1"')
    parser.add_argument(
        "--server", action="append", default=[], metavar="KEY=VALUE", help="fact about servers that runs do not state"
    )
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    add_quiet(parser)
    parser.set_defaults(run=calibrate)
    return parser


def calibrate(arguments: argparse.Namespace) -> int:
    """Calibrate as the arguments say, print the result, and return 0, or 1 if the constants do not describe the run.

    Raises
    ------
    ConfigError
        If an argument is wrong; nothing is then run or written.
    """
    from roofline_lab.calibration.plan import PAGE
    from roofline_lab.predict.onto import Request, carry, prepare
    from roofline_lab.report.calibration_guard import record_of_carried
    from roofline_lab.report.evaluation import publish, refuse_taken
    from roofline_lab.report.onto import OWN, files_of, misses, name_of, summary
    from roofline_lab.report.recorded import PROVENANCE

    if not (arguments.root / "configs").is_dir():
        raise ConfigError(f"--root: {arguments.root} has no configs/; name the project's folder, or run this in it")
    request = Request(
        root=arguments.root,
        onto=arguments.onto,
        donor=arguments.donor,
        runs=tuple(arguments.runs),
        models=arguments.models,
        hardware=arguments.hardware,
        software=arguments.software,
        server=tuple(arguments.server),
    )
    prepared = prepare(request)
    out = arguments.out or DEFAULT_OUT / name_of(prepared)
    refuse_taken(out, force=arguments.force, own=OWN)
    result = carry(prepared, PROGRESS.say)
    files = files_of(result)
    publish(out, {PROVENANCE: record_of_carried(request, files), **files})
    written = [f"written: {out / PAGE}", f"use it: --steptime {out / name_of(prepared)}.yaml"]
    sys.stdout.write("\n".join([*summary(result), *written]) + "\n")
    return EXIT_NOT_DESCRIBED if misses(result) else 0
