"""Small made-up rows, outcomes and folders that tests of the laboratory are built from.

Numbers are chosen so that errors can be worked out in the head: measured means are round, and a
prediction is a stated percentage off.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from functools import cache
from pathlib import Path

import yaml

from roofline_lab.config import Tolerances
from roofline_lab.hypotheses.outcome import CriterionOutcome
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.vocabulary import CriterionResult, Metric, RowStatus
from tests.paths import ROOT

HYPOTHESIS = "h1_bw_efficiency"
# What the laboratory reads, and nothing that it writes.
INPUTS = ("configs", "ground_truth", "hypotheses")
SOURCES = (*INPUTS, "documents", "profiles", "simulator", "workflow", "Snakefile", "requirements.lock")


def error_row(arm="baseline", experiment="one", error_pct=-10.0, measured=100.0, **changes):
    """Return a scored row whose prediction is `error_pct` off `measured` ms."""
    row = ErrorRow(
        method="m",
        arm=arm,
        experiment=experiment,
        load_point="synchronous",
        workload="chat",
        family="Small",
        model="small",
        tensor_parallel=1,
        metric=Metric.TPOT_MEAN,
        predicted=measured * (1 + error_pct / 100),
        measured=measured,
        half_digit_ms=0.0,
        status=RowStatus.OK,
    )
    return dataclasses.replace(row, **changes)


def unscored_row(arm="baseline", experiment="one", reason="the model is too exotic", **changes):
    """Return a row that has a measurement but no prediction."""
    row = error_row(arm, experiment, **changes)
    return dataclasses.replace(row, predicted=None, status=RowStatus.UNSUPPORTED, reason=reason)


def pair(experiment, before_pct, after_pct, **changes):
    """Return the rows of one experiment under `baseline` and `treatment`."""
    return [
        error_row("baseline", experiment, before_pct, **changes),
        error_row("treatment", experiment, after_pct, **changes),
    ]


def outcome(identifier="a", result=CriterionResult.PASS, *, decisive=False):
    """Return one evaluated criterion."""
    return CriterionOutcome(identifier, "statement", result, 1.0, 0.0, 1.0, None, "detail", decisive)


def tolerances(default=0.0, **units):
    """Return tolerances of `default` for every unit that is not given."""
    return Tolerances(**{name: default for name in Tolerances.model_fields} | units)


@cache
def own(folder):
    """Return the entries of a folder that belong to the project, not to who works in it: what git knows, else all."""
    listed = subprocess.run(["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True, check=False)
    names = {Path(name).relative_to(folder).parts[0] for name in listed.stdout.split("\0") if name}
    return frozenset(names or {path.name for path in (ROOT / folder).iterdir()})


def foreign(folder):
    """Return the entries of a folder that who works in the project has added."""
    return {path.name for path in (ROOT / folder).iterdir()} - own(folder)


def copy_project(target, names=INPUTS):
    """Copy files and folders of the project, without caches and without what a user has added."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=_foreign)
        else:
            shutil.copy2(ROOT / name, target / name)
    sets = target / "ground_truth" / "sets.yaml"
    if sets.exists() and foreign("ground_truth"):
        edit_yaml(sets, _without_foreign_experiments)
    return target


def example_lab(target):
    """Copy the example lab, `.test`, without anything a run made there; all of it is made up."""
    made = shutil.ignore_patterns("reports", "results", ".snakemake", "evaluations", "__pycache__")
    return Path(shutil.copytree(ROOT / ".test", target, ignore=made, dirs_exist_ok=True))


def _foreign(folder, names):
    here = Path(folder).relative_to(ROOT).as_posix()
    extra = foreign(here) if here in ("ground_truth", "hypotheses", "reports") else set()
    return {*extra, "__pycache__"} & set(names)


def _without_foreign_experiments(content):
    known = own("ground_truth")
    content["sets"] = {name: one for name, one in content["sets"].items() if known.issuperset(one["experiments"])}


def edit_yaml(path, change):
    """Apply `change` to the content of one YAML file."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def replace_text(path, old, new):
    """Replace the one occurrence of `old`."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
    path.write_text(text.replace(old, new), encoding="utf-8")
