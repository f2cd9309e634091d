"""`python -m workflow new`: start a hypothesis that runs at once."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from simulator.errors import ConfigError
from workflow.lib import project_pages
from workflow.lib.files import write_text

TEMPLATES = Path(__file__).parents[2] / "templates" / "new"
NAME = re.compile(r"^[a-z][a-z0-9_]*$")
RULE = re.compile(r"^rule (\w+):", re.MULTILINE)
EPILOG = """examples:
  python -m workflow new h20_bigger_batches
  python -m workflow new h20_bigger_batches --title "Larger batches hide the overhead"

Writes hypotheses/<ID>/hypothesis.yaml and discussion.md, with a comment at every key. The hypothesis runs as it
stands: `snakemake <ID>`. docs/writing-a-hypothesis.md goes on from there.
"""


def add_new_command(subparsers: Any) -> argparse.ArgumentParser:
    """Add `new` to the commands of a parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "new",
        help="write a commented hypothesis that runs at once",
        description="Write a commented hypothesis that runs at once, to be filled in.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("id", metavar="ID", help="name of the folder: lower case, digits and underscores")
    parser.add_argument("--title", help="one line that names the subject (default: made from the id)")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    parser.set_defaults(run=new)
    return parser


def new(arguments: argparse.Namespace) -> int:
    """Write the folder, say what to do next and return 0.

    Raises
    ------
    ConfigError
        If the id cannot be used or is taken, or this is no project.
    """
    root: Path = arguments.root
    folder = root / "hypotheses" / arguments.id
    _refuse(root, arguments.id, folder)
    title = arguments.title or arguments.id.replace("_", " ").capitalize()
    if not title.strip() or "\n" in title:
        raise ConfigError("--title: must be one line of text")
    for name in ("hypothesis.yaml", "discussion.md"):
        write_text(folder / name, _filled(name, arguments.id, title))
    sys.stdout.write(
        f"wrote hypotheses/{arguments.id}/hypothesis.yaml and discussion.md\n"
        f"  1. replace what says TODO\n"
        f"  2. run it:            snakemake {arguments.id}\n"
        f"  3. read the findings: reports/{arguments.id}/FINDINGS.md\n"
        f"  4. check it:          python -m workflow lint {arguments.id}\n"
    )
    return 0


def _refuse(root: Path, name: str, folder: Path) -> None:
    if not (root / "Snakefile").is_file() or not (root / "hypotheses").is_dir():
        raise ConfigError(f"{root.resolve().name}/: has no Snakefile and hypotheses/; run this in the project's folder")
    if not NAME.match(name):
        raise ConfigError(f"'{name}': must begin with a letter and hold only a-z, 0-9 and _")
    if name in _rules(root):
        raise ConfigError(f"'{name}': is the name of a rule of the workflow; choose another")
    if folder.exists():
        raise ConfigError(f"hypotheses/{name}/: exists already; choose another id, or edit that one")


def _rules(root: Path) -> set[str]:
    files = [root / "Snakefile", *sorted((root / "workflow" / "rules").glob("*.smk"))]
    return {
        *project_pages.PAGES,
        *project_pages.NOT_REGENERATED,
        *(rule for path in files for rule in RULE.findall(path.read_text(encoding="utf-8"))),
    }


def _filled(name: str, identifier: str, title: str) -> str:
    template = {"hypothesis.yaml": "validation.yaml.j2", "discussion.md": "discussion.md.j2"}[name]
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    return text.replace("@ID@", identifier).replace("@TITLE@", _quoted(title))


def _quoted(title: str) -> str:
    """Return a title as a YAML scalar, in quotation marks where it needs them."""
    if re.fullmatch(r"[A-Za-z][\w ,()/-]*", title):
        return title
    return '"' + title.replace("\\", "\\\\").replace('"', '\\"') + '"'
