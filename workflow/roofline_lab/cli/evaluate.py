"""`roofline-lab evaluate`: score a calibration on a folder of experiments nobody here has seen."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from pathlib import Path
from typing import Any

from roofline_lab.cli.quiet import add_quiet
from roofline_lab.jobs.progress import PROGRESS
from simulator.errors import ConfigError

EXIT_INCOMPLETE = 1
EXPERIMENTS = "experiments"
EPILOG = """examples:
  roofline-lab evaluate measurements/ --steptime h100_vllm --out evaluations/mine
  roofline-lab evaluate measurements/run-1 --steptime h100_vllm --against h2b_scaled_overhead:scaled --out side
  roofline-lab evaluate measurements/ --steptime h100_vllm --site-from lightest --out evaluations/mine
  roofline-lab evaluate measurements/ --steptime my_options.yaml --models their_models/ --out evaluations/other

GROUND_TRUTH_DIR is an experiment, or a folder that holds some, anywhere on disk. Models and GPUs it names are looked
for in --models and --hardware, beside the experiments (models/<id>.json, hardware/<id>.yaml), and in the project.
--steptime and --against: a name in configs/calibration, the file of a calibration, a YAML file with options of any
step-time model, or HYPOTHESIS:ARM. docs/evaluating.md explains the page.

Exit code 0: everything was evaluated; 1: something was not, and the page says why.
"""


def add_evaluate_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `evaluate` to the commands of a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "evaluate",
        help="score a calibration on a folder of measured experiments",
        description="Score a calibration, or any step-time options, on every load point of a folder of experiments.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("experiments", type=Path, metavar="GROUND_TRUTH_DIR", help="experiment, or folder of some")
    parser.add_argument("--steptime", required=True, metavar="WHAT", help="what is judged: see below")
    parser.add_argument("--against", metavar="WHAT", help="what it is compared with, load point by load point")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the page; must not exist yet")
    parser.add_argument("--force", action="store_true", help="replace an earlier evaluation in --out")
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder with models (<id>.json)")
    parser.add_argument("--hardware", type=Path, metavar="DIR", help="folder with data sheets of GPUs (<id>.yaml)")
    parser.add_argument(
        "--software", metavar="TEXT", help='serving software of experiments that name none, such as "vLLM 0.15.1"'
    )
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="fact about servers of experiments that do not state it (prefix_caching=off), or a file of some",
    )
    parser.add_argument(
        "--site-from",
        metavar="POINT",
        help="take the client's time at a site from a load point's TTFT: EXPERIMENT/LOAD_POINT, or 'lightest' for "
        "the lightest one of every site that was not fitted to",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per core)")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    add_quiet(parser)
    parser.set_defaults(run=evaluate)
    return parser


def evaluate(arguments: argparse.Namespace) -> int:
    """Evaluate as the arguments say, print the result, and return 0, or 1 if something could not be evaluated.

    Raises
    ------
    ConfigError
        If an argument is wrong; nothing is then run or written.
    """
    from roofline_lab.predict.evaluate import Request, prepare, simulate_all
    from roofline_lab.report.evaluation import PAGE, files_of, incomplete, publish, refuse_taken, summary

    jobs = arguments.jobs if arguments.jobs is not None else os.cpu_count() or 1
    if jobs < 1:
        raise ConfigError(f"--jobs: must be 1 or greater, got {jobs}")
    if not (arguments.root / "configs").is_dir():
        raise ConfigError(f"--root: {arguments.root} has no configs/; name the project's folder, or run this in it")
    refuse_taken(arguments.out, force=arguments.force)
    request = Request(
        root=arguments.root,
        experiments=arguments.experiments,
        steptime=arguments.steptime,
        against=arguments.against,
        models=arguments.models,
        hardware=arguments.hardware,
        software=arguments.software,
        server=tuple(arguments.server),
        site_from=arguments.site_from,
    )
    evaluation = prepare(request)
    PROGRESS.start({EXPERIMENTS: len(evaluation.tasks)})
    evaluation = simulate_all(evaluation, jobs, functools.partial(PROGRESS.step, EXPERIMENTS))
    publish(arguments.out, files_of(arguments.root, evaluation))
    sys.stdout.write("\n".join([*summary(evaluation), f"written: {arguments.out / PAGE}"]) + "\n")
    return EXIT_INCOMPLETE if incomplete(evaluation) else 0
