"""Small made-up rows, outcomes and folders that tests of the laboratory are built from.

Numbers are chosen so that errors can be worked out in the head: measured means are round, and a
prediction is a stated percentage off.
"""

from __future__ import annotations

import dataclasses
import shutil

import yaml

from roofline_lab.config import Tolerances
from roofline_lab.hypotheses.criteria import CriterionOutcome
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


def copy_project(target, names=INPUTS):
    """Copy files and folders of the project, without caches."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, target / name)
    return target


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
