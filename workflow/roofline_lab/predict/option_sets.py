"""The sets of options that recorded traces are replayed with, as `configs/replay.yaml` names them.

Contract: `load_option_sets` reads the file and resolves every set against the laboratory, or raises one `ConfigError`
that names file, key and what is allowed. A set decides how long a step takes and how much time lies between engine and
client, and nothing else. A calibration never predicts a family with constants that were fitted to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol, Self

from pydantic import Field, model_validator

from roofline_lab.calibration.client_overhead import client_time
from roofline_lab.calibration.constants import Values, options_of
from roofline_lab.calibration.plan import FOLDER as CALIBRATIONS
from roofline_lab.calibration.record import Calibration, load_calibration
from roofline_lab.files import digest_of
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import Id, Side, Text
from roofline_lab.project import Project
from simulator.engine.options import EngineOptions
from simulator.errors import UnsupportedError
from simulator.request_times import MetricOptions
from simulator.steptime.options import StepTimeOptions
from simulator.validation import StrictModel, config_error, parse, read_yaml, suggest

FILE = Path("configs/replay.yaml")
US_PER_MS = 1000.0


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


class StepTimes(Protocol):
    """What a set decides, for every experiment."""

    @property
    def source(self) -> str:
        """Say where the options come from."""

    @property
    def digest(self) -> str:
        """Return a hash of everything that is decided."""

    def options(self, experiment: Experiment) -> StepTimeOptions:
        """Return the step-time model of an experiment's server, or raise `UnsupportedError`."""

    def client(self, experiment: Experiment, side: Side) -> MetricOptions:
        """Return the time between engine and client that figures of a side contain."""


@dataclass(frozen=True, slots=True)
class ArmStepTimes:
    """Options of one arm; the client's time is the one the experiment states."""

    reference: ArmReference
    steptime: StepTimeOptions

    @property
    def source(self) -> str:
        """Say where the options come from."""
        return f"arm `{self.reference.arm}` of `{self.reference.hypothesis}`, method `{self.reference.method}`"

    @property
    def digest(self) -> str:
        """Return a hash of everything that is decided."""
        return digest_of(self.steptime.model_dump(mode="json"))

    def options(self, experiment: Experiment) -> StepTimeOptions:
        """Return the same options for every experiment."""
        return self.steptime

    def client(self, experiment: Experiment, side: Side) -> MetricOptions:
        """Return the experiment's own offset for figures taken at the client."""
        offset_ms = experiment.server.settings.client_offset_ms or 0.0
        return MetricOptions(client_offset_us=round(offset_ms * US_PER_MS) if side == "client" else 0)


@dataclass(frozen=True, slots=True)
class CalibratedStepTimes:
    """A calibration, always with constants that were not fitted to the family they predict."""

    name: str
    calibration: Calibration

    @property
    def source(self) -> str:
        """Say where the options come from."""
        return f"`held_out` of `{CALIBRATIONS}/{self.name}.yaml`"

    @property
    def digest(self) -> str:
        """Return a hash of everything that is decided."""
        return digest_of(
            [self.calibration.values, self.calibration.held_out, list(self.calibration.trained_on.families)]
        )

    def options(self, experiment: Experiment) -> StepTimeOptions:
        """Return the calibrated model of an experiment's server."""
        engine = EngineOptions(**experiment.server.engine_settings)
        return options_of(self._values(experiment.family), schedule_ahead=engine.schedule_ahead)

    def client(self, experiment: Experiment, side: Side) -> MetricOptions:
        """Return the calibrated time of the client that measured."""
        return client_time(self._values(experiment.family), experiment.tool, side).metric_options()

    def _values(self, family: str) -> Values:
        if family in self.calibration.held_out:
            return self.calibration.held_out[family]
        if family in self.calibration.trained_on.families:
            raise UnsupportedError(
                f"calibration {self.name} was fitted to {family} and keeps no constants without it; "
                "its error there would be no prediction"
            )
        return self.calibration.values


@dataclass(frozen=True, slots=True)
class OptionSet:
    """One set of options, resolved."""

    id: str
    label: str
    meaning: str
    step_times: StepTimes


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
    return tuple(OptionSet(entry.id, entry.label, entry.meaning, _step_times(project, entry)) for entry in entries)


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


def _step_times(project: Project, entry: OptionSetEntry) -> StepTimes:
    if entry.arm is None:
        name = entry.calibration or ""
        return CalibratedStepTimes(name, load_calibration(project.root / CALIBRATIONS / f"{name}.yaml"))
    arms = project.arms(entry.arm.hypothesis, entry.arm.method)
    return ArmStepTimes(entry.arm, next(arm for arm in arms if arm.name == entry.arm.arm).steptime)
