"""`roofline-lab new`: start a hypothesis that runs at once.

Contract: texts and mechanisms of what is written fit the set and the method it names. An experiment without a set
gets one of its own in `ground_truth/sets.yaml`; nothing else of the project is changed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline_lab import places
from roofline_lab.files import write_text
from simulator.errors import ConfigError

if TYPE_CHECKING:
    from roofline_lab.ground_truth.experiment import Experiment

TEMPLATES = places.TEMPLATES / "new"
NAME = re.compile(r"^[a-z][a-z0-9_]*$")
PLAIN = re.compile(r"[A-Za-z][\w-]*")
DEFAULT_SET = "synchronous_13"
DEFAULT_METHOD = "corrected"
# What a claim about measurements of one's own is judged by where nobody says otherwise.
MEASURED_METHOD = "multi_rate"
DEFAULT_METRIC = "tpot_mean"
TEMPLATE_FILES = {
    "example": {"hypothesis.yaml": "validation.yaml.j2", "discussion.md": "discussion.md.j2"},
    "measured": {"hypothesis.yaml": "measured.yaml.j2", "discussion.md": "measured_discussion.md.j2"},
}
# How the file of sets of a lab begins that has none yet.
FIRST_SET = "# Named groups of experiments. A hypothesis names one; its tables follow this order.\nsets:\n"
FIRST_STEP = {
    "example": "replace what says TODO",
    "measured": "who predicts, and what the claim is judged by, stand in hypothesis.yaml",
}
WITHOUT_CLAIM = (
    'for instance: --claim "The time per token is predicted within 10 %" --within 10, or an example to put your own in '
    "the place of: --example; how well {set} is predicted, without a claim: roofline-lab evaluate ground_truth "
    "--steptime {name} --out evaluation"
)
RULE = re.compile(r"^rule (\w+):", re.MULTILINE)
EPILOG = """examples:
  roofline-lab new h20_bigger_batches
  roofline-lab new h20_bigger_batches --title "Larger batches hide the overhead"
  roofline-lab new my_claim --set my-run --claim "The time per token is predicted within 10 %" --within 10
  roofline-lab new my_tail --set my-run --claim "So are the slowest first tokens" --metric ttft_p99 --within 20

Writes hypotheses/<ID>/hypothesis.yaml and discussion.md, with a comment at every key. The hypothesis runs as it
stands: `snakemake <ID>`. docs/writing-a-hypothesis.md goes on from there.

About measurements of your own (--set) nothing is made up: the claim and its number are yours, unless you ask for an
--example. How well they are predicted, without a claim, is what `roofline-lab evaluate` says.
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
        metavar="SET",
        help="measurements: a set of ground_truth/sets.yaml, or one experiment, which then becomes a set of its own "
        f"(default: an example on {DEFAULT_SET})",
    )
    parser.add_argument("--claim", metavar="TEXT", help="with --set: one sentence that could turn out to be wrong")
    parser.add_argument(
        "--within", type=float, metavar="PCT", help="with --set: mean error, in percent, below which the claim is right"
    )
    parser.add_argument(
        "--example",
        action="store_true",
        help="with --set: an example claim with a comment at every key, to put your own in its place",
    )
    parser.add_argument(
        "--metric",
        metavar="METRIC",
        help=f"with --set: what the claim is about; docs/metrics.md lists what there is (default: {DEFAULT_METRIC})",
    )
    parser.add_argument(
        "--method",
        metavar="METHOD",
        help="how they are repeated: a file of configs/methods; multi_rate repeats every load as it was sent "
        f"(default: {MEASURED_METHOD} with --set, else {DEFAULT_METHOD})",
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
    kind, chosen = "example" if arguments.example or not arguments.set else "measured", arguments.set or DEFAULT_SET
    method = arguments.method or (MEASURED_METHOD if arguments.set else DEFAULT_METHOD)
    methods = [path.stem for path in places.listed(root, "configs/methods", "*.yaml")]
    if method not in methods:
        raise ConfigError(f"--method: unknown method '{method}'; {suggest(method, methods)}")
    sets, experiments = _measured(root, chosen)
    fields = {
        "ID": arguments.id,
        "TITLE": _quoted(title),
        "SET": chosen,
        "METHOD": method,
        **(_example(experiments) if kind == "example" else _claimed(arguments, root, experiments)),
    }
    texts = {name: _filled(template, fields) for name, template in TEMPLATE_FILES[kind].items()}
    if sets is not None:
        write_text(root / "ground_truth" / SETS_FILE, sets)
        sys.stdout.write(f"added the set '{chosen}' to ground_truth/{SETS_FILE}\n")
    for name, text in texts.items():
        write_text(folder / name, text)
    sys.stdout.write(
        f"wrote hypotheses/{arguments.id}/hypothesis.yaml and discussion.md\n"
        f"  1. {FIRST_STEP[kind]}\n"
        f"  2. run it:            snakemake {arguments.id}\n"
        f"  3. read the findings: reports/{arguments.id}/FINDINGS.md\n"
        f"  4. check it:          roofline-lab lint {arguments.id}\n"
    )
    return 0


def _example(experiments: Sequence[Experiment]) -> dict[str, str]:
    workloads = dict.fromkeys(experiment.workload.name for experiment in experiments)
    return {"PREDICTS": ", ".join(f"{_word(workload)}: longer" for workload in workloads)}


def _claimed(arguments: argparse.Namespace, root: Path, experiments: Sequence[Experiment]) -> dict[str, str]:
    """Return what somebody claims about measurements; nothing of it is made up.

    Raises
    ------
    ConfigError
        If there is no claim, no number or no such metric.
    """
    from roofline_lab.predict.choose import default_name
    from roofline_lab.vocabulary import MEANS, Metric
    from simulator.validation import suggest

    name = default_name(root, experiments[0].hardware)
    metric, known = arguments.metric or DEFAULT_METRIC, [each.value for each in Metric if each is not Metric.GOODPUT]
    problems = []
    if not (arguments.claim or "").strip():
        problems.append(f"--claim: missing; nothing is claimed about '{arguments.set}' that you do not claim")
    if arguments.within is None or not 0 < arguments.within < float("inf"):
        problems.append("--within: must be a number above 0: the mean error, in percent, below which the claim holds")
    if metric not in known:
        problems.append(f"--metric: unknown metric '{metric}'; {suggest(metric, known)}")
    if problems:
        raise ConfigError("\n".join([*problems, WITHOUT_CLAIM.format(set=arguments.set, name=name)]))
    metrics = list(dict.fromkeys([*(mean.value for mean in MEANS), metric]))
    return {
        "CLAIM": _quoted(" ".join(arguments.claim.split())),
        "NAME": name,
        "METRICS": ", ".join(metrics),
        "METRIC": metric,
        "WITHIN": f"{arguments.within:g}",
    }


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


def _measured(root: Path, name: str) -> tuple[str | None, tuple[Experiment, ...]]:
    """Return the content of the sets' file if it must gain a set, else None, and the experiments."""
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
    return extended, experiments


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


def _filled(template: str, fields: Mapping[str, str]) -> str:
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
