"""The sets of options that recorded traces are replayed with, as `configs/replay.yaml` names them.

Contract: `load_option_sets` reads the file and resolves every set against the laboratory, or raises one `ConfigError`
that names file, key and what is allowed. A set decides how long a step takes and how much time lies between engine and
client, and nothing else. A calibration never predicts a family with constants that were fitted to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from roofline_lab.calibration.plan import FOLDER as CALIBRATIONS
from roofline_lab.calibration.record import load_calibration
from roofline_lab.files import digest_of
from roofline_lab.ground_truth.catalog import EMBEDDED_KERNELS
from roofline_lab.ground_truth.load import Id, Text
from roofline_lab.hypotheses.arms import Arm
from roofline_lab.predict.coverage import coverage_of
from roofline_lab.predict.predictors import CalibratedPredictor, OptionsPredictor, Predictor
from roofline_lab.project import Project
from simulator.kernels.analytic import load_analytic
from simulator.validation import StrictModel, config_error, parse, read_yaml, suggest

FILE = Path("configs/replay.yaml")


class ArmReference(StrictModel):
    """An arm of a hypothesis under one of the methods."""

    hypothesis: Text
    method: Text
    arm: Text


class OptionSetEntry(StrictModel):
    """One entry of the file; `label` heads its columns, and it has either an `arm` or a `calibration`."""

    id: Id
    label: Text
    meaning: Text
    arm: ArmReference | None = None
    calibration: Id | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.arm is None) == (self.calibration is None):
            raise ValueError("give either arm or calibration")
        return self


class ReplaySettings(StrictModel):
    """The content of the file."""

    option_sets: Annotated[tuple[OptionSetEntry, ...], Field(min_length=1)]


@dataclass(frozen=True)
class OptionSet:
    """One set of options, resolved.

    Attributes
    ----------
    source
        Where the options come from, in words.
    digest
        A hash of everything that is decided.
    """

    id: str
    label: str
    meaning: str
    source: str
    digest: str
    make: Callable[[], Predictor] = field(repr=False)

    @cached_property
    def predictor(self) -> Predictor:
        """Return who predicts load points with these options."""
        return self.make()


def load_option_sets(project: Project) -> tuple[OptionSet, ...]:
    """Read and resolve every set.

    Raises
    ------
    ConfigError
        Naming every wrong key, and every arm or calibration that does not exist.
    """
    entries = parse(ReplaySettings, read_yaml(project.root / FILE), source=FILE.as_posix()).option_sets
    ids = [entry.id for entry in entries]
    problems = [f"option_sets: id '{name}' is used twice" for name in sorted(set(ids)) if ids.count(name) > 1]
    problems += [
        f"option_sets.{place}.{problem}"
        for place, entry in enumerate(entries)
        if (problem := _problem(project, entry)) is not None
    ]
    if problems:
        raise config_error(FILE.as_posix(), problems)
    return tuple(_resolved(project, entry) for entry in entries)


def _problem(project: Project, entry: OptionSetEntry) -> str | None:
    """Return what of an entry does not exist."""
    if entry.arm is None:
        known = [path.stem for path in (project.root / CALIBRATIONS).glob("*.yaml")]
        return _unknown("calibration", entry.calibration or "", known)
    unknown = _unknown("arm.hypothesis", entry.arm.hypothesis, project.hypotheses)
    unknown = unknown or _unknown("arm.method", entry.arm.method, project.methods)
    return unknown or _unknown("arm.arm", entry.arm.arm, project.hypotheses[entry.arm.hypothesis].arms)


def _unknown(key: str, name: str, known: Iterable[str]) -> str | None:
    words = list(known)
    return None if name in words else f"{key}: unknown '{name}'; {suggest(name, words)}"


def _resolved(project: Project, entry: OptionSetEntry) -> OptionSet:
    found = _calibrated(project, entry.calibration or "") if entry.arm is None else _arm(project, entry.arm)
    return OptionSet(entry.id, entry.label, entry.meaning, *found)


def _calibrated(project: Project, name: str) -> tuple[str, str, Callable[[], Predictor]]:
    """Return source, digest and predictor of a calibration."""
    calibration = load_calibration(project.root / CALIBRATIONS / f"{name}.yaml")
    decides = [calibration.values, calibration.held_out, list(calibration.trained_on.families)]
    return (
        f"`held_out` of `{CALIBRATIONS}/{name}.yaml`",
        digest_of(decides),
        lambda: CalibratedPredictor(name, calibration, coverage_of(calibration, project.root)),
    )


def _arm(project: Project, reference: ArmReference) -> tuple[str, str, Callable[[], Predictor]]:
    """Return source, digest and predictor of an arm: its step times, on the server and the client as measured."""
    arms = project.arms(reference.hypothesis, reference.method)
    steptime = next(arm for arm in arms if arm.name == reference.arm).steptime
    source = f"arm `{reference.arm}` of `{reference.hypothesis}`, method `{reference.method}`"
    return (
        source,
        digest_of(steptime.model_dump(mode="json")),
        lambda: OptionsPredictor(
            reference.arm, source, Arm(reference.arm, steptime, {}), load_analytic(project.root / EMBEDDED_KERNELS)
        ),
    )
