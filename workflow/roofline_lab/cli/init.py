"""`roofline-lab init`: a folder of one's own in which measurements become findings.

Contract: the lab is complete or absent, and holds no path of a machine: its Snakefile finds the installed package.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from roofline_lab.places import SHIPPED, TEMPLATES
from simulator.errors import ConfigError

LAB = TEMPLATES / "lab"
# What a lab has as the package's own clone has it: what plain `snakemake` loads, and what editors check YAML by.
AS_IN_A_CLONE = (Path("profiles") / "default", Path("workflow") / "schemas")
STAGING_PREFIX = ".init-"
FOLDER_MODE = 0o755
EPILOG = """examples:
  roofline-lab init my-lab

Writes a folder with hypotheses/, ground_truth/, configs/, a Snakefile and a README of three commands. Models, GPUs,
methods and calibrations it does not have come with the package; docs/labs.md explains which file wins.
"""


def add_init_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `init` to the commands of a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "init",
        help="make a lab: a folder for one's own measurements and hypotheses",
        description="Make a lab: a folder for one's own measurements and hypotheses.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder to make; it must not exist, or be empty")
    parser.set_defaults(run=init)
    return parser


def init(arguments: argparse.Namespace) -> int:
    """Write the folder, say what to do next and return 0.

    Raises
    ------
    ConfigError
        If there is something already, or nothing can be written there.
    """
    folder: Path = arguments.folder
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(f"{folder}: exists already and is not an empty folder; choose another name")
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=STAGING_PREFIX) as staging:
        made = Path(staging) / "lab"
        _write(made)
        made.rename(folder)
    sys.stdout.write(
        f"made the lab {folder}\n"
        f"  1. go there:             cd {folder}\n"
        f"  2. bring a measurement:  roofline-lab import guidellm RESULTS --out ground_truth/my-run\n"
        f"  3. how well predicted?   the command that the import ends with: roofline-lab evaluate ...\n"
        f"  4. test a claim:         roofline-lab new my_claim --set my-run --claim TEXT --within PERCENT\n"
        f"                           snakemake my_claim\n"
    )
    return 0


def _write(made: Path) -> None:
    from roofline_lab.ground_truth.reading import write_schema

    shutil.copytree(LAB, made, copy_function=shutil.copyfile)
    (made / "gitignore").rename(made / ".gitignore")
    for name in AS_IN_A_CLONE:
        shutil.copytree(SHIPPED / name, made / name, copy_function=shutil.copyfile)
    write_schema(made)
    for path in (made, *(each for each in made.rglob("*") if each.is_dir())):
        path.chmod(FOLDER_MODE)
