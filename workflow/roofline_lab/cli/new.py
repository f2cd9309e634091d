"""`roofline-lab new`: start a hypothesis that runs at once.

Contract: texts and mechanisms of what is written fit the set and the method it names. An experiment without a set
gets one of its own in `ground_truth/sets.yaml`; nothing else of the project is changed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roofline_lab import places
from roofline_lab.files import write_text
from simulator.errors import ConfigError

TEMPLATES = places.TEMPLATES / "new"
NAME = re.compile(r"^[a-z][a-z0-9_]*$")
PLAIN = re.compile(r"[A-Za-z][\w-]*")
DEFAULT_SET = "synchronous_13"
DEFAULT_METHOD = "corrected"
# How the file of sets of a lab begins that has none yet.
FIRST_SET = "# Named groups of experiments. A hypothesis names one; its tables follow this order.\nsets:\n"
RULE = re.compile(r"^rule (\w+):", re.MULTILINE)
EPILOG = """examples:
  roofline-lab new h20_bigger_batches
  roofline-lab new h20_bigger_batches --title "Larger batches hide the overhead"
  roofline-lab new h21_my_server --set my-run --method multi_rate

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
    parser.add_argument(
        "--set",
        default=DEFAULT_SET,
        metavar="SET",
        help="measurements: a set of ground_truth/sets.yaml, or one experiment, which then becomes a set of its own "
        f"(default: {DEFAULT_SET})",
    )
    parser.add_argument(
        "--method",
        default=DEFAULT_METHOD,
        metavar="METHOD",
        help="how they are repeated: a file of configs/methods; multi_rate repeats every load as it was sent "
        f"(default: {DEFAULT_METHOD})",
    )
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: this one)")
    parser.set_defaults(run=new)
    return parser


def new(arguments: argparse.Namespace) -> int:
    """Write the folder, say what to do next and return 0.

    Raises
    ------
    ConfigError
        If the id cannot be used or is taken, the set or the method is unknown, or this is no project.
    """
    from roofline_lab.ground_truth.reading import SETS_FILE
    from simulator.validation import suggest

    root: Path = arguments.root
    folder = root / "hypotheses" / arguments.id
    _refuse(root, arguments.id, folder)
    title = arguments.title or arguments.id.replace("_", " ").capitalize()
    if not title.strip() or "\n" in title:
        raise ConfigError("--title: must be one line of text")
    methods = [path.stem for path in places.listed(root, "configs/methods", "*.yaml")]
    if arguments.method not in methods:
        raise ConfigError(f"--method: unknown method '{arguments.method}'; {suggest(arguments.method, methods)}")
    sets, workloads = _measured(root, arguments.set)
    fields = {
        "ID": arguments.id,
        "TITLE": _quoted(title),
        "SET": arguments.set,
        "METHOD": arguments.method,
        "PREDICTS": ", ".join(f"{_word(workload)}: longer" for workload in workloads),
    }
    texts = {name: _filled(name, fields) for name in ("hypothesis.yaml", "discussion.md")}
    if sets is not None:
        write_text(root / "ground_truth" / SETS_FILE, sets)
        sys.stdout.write(f"added the set '{arguments.set}' to ground_truth/{SETS_FILE}\n")
    for name, text in texts.items():
        write_text(folder / name, text)
    sys.stdout.write(
        f"wrote hypotheses/{arguments.id}/hypothesis.yaml and discussion.md\n"
        f"  1. replace what says TODO\n"
        f"  2. run it:            snakemake {arguments.id}\n"
        f"  3. read the findings: reports/{arguments.id}/FINDINGS.md\n"
        f"  4. check it:          roofline-lab lint {arguments.id}\n"
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
    from roofline_lab.jobs.paths import NOT_REGENERATED, PAGES

    files = [root / "Snakefile", Path(places.SNAKEFILE), *sorted(places.RULES.glob("*.smk"))]
    return {
        *PAGES,
        *NOT_REGENERATED,
        *(rule for path in files for rule in RULE.findall(path.read_text(encoding="utf-8"))),
    }


def _measured(root: Path, name: str) -> tuple[str | None, list[str]]:
    """Return the content of the sets' file if it must gain a set, else None, and the workloads of the experiments."""
    from roofline_lab.ground_truth.reading import EXPERIMENT_FILE, SETS_FILE, load_experiment, load_set
    from simulator.validation import read_yaml, suggest

    path, place = root / "ground_truth" / SETS_FILE, f"ground_truth/{SETS_FILE}"
    text = path.read_text(encoding="utf-8") if path.is_file() else FIRST_SET
    content = read_yaml(path) if path.is_file() else {"sets": {}}
    sets = content.get("sets") if isinstance(content, dict) else None
    if not isinstance(sets, dict):
        raise ConfigError(f"{place}: sets: missing; it is required")
    extended = None
    if name in sets:
        experiments = load_set(root, name)
    else:
        known = sorted(file.parent.name for file in path.parent.glob(f"*/{EXPERIMENT_FILE}"))
        if name not in known:
            nearest = suggest(name, [*sets, *known])
            raise ConfigError(f"--set: neither a set of {place} nor an experiment is '{name}'; {nearest}")
        experiments = (load_experiment(path.parent / name),)
        extended = _with_set(text, sets, name, place)
    if all(experiment.saturated for experiment in experiments):
        raise ConfigError(
            f"--set: every load point of '{name}' is saturated, and latencies of a saturated server enter no error; "
            "choose or import measurements at lower rates"
        )
    return extended, list(dict.fromkeys(experiment.workload.name for experiment in experiments))


def _with_set(text: str, sets: dict[str, Any], name: str, place: str) -> str:
    """Return the sets' file with a set of one experiment below the others, and all else in it as it was."""
    from simulator.input_files import parse_yaml

    entry = f"  {name}:\n    title: Measurements of {name}\n    experiments:\n    - {name}\n"
    extended = text.rstrip() + "\n" + entry
    expected = {**sets, name: {"title": f"Measurements of {name}", "experiments": [name]}}
    try:
        found = parse_yaml(extended, source=place)
    except ConfigError:
        found = None
    if not isinstance(found, dict) or found.get("sets") != expected:
        raise ConfigError(f"{place}: a set cannot be added below its last line; add it by hand:\n{entry}")
    return extended


def _filled(name: str, fields: Mapping[str, str]) -> str:
    template = {"hypothesis.yaml": "validation.yaml.j2", "discussion.md": "discussion.md.j2"}[name]
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    for field, value in fields.items():
        text = text.replace(f"@{field}@", value)
    return text


def _word(text: str) -> str:
    """Return a name as a YAML key, in quotation marks where it needs them."""
    return text if PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _quoted(title: str) -> str:
    """Return a title as a YAML scalar, in quotation marks where it needs them."""
    if re.fullmatch(r"[A-Za-z][\w ,()/-]*", title):
        return title
    return '"' + title.replace("\\", "\\\\").replace('"', '\\"') + '"'
