"""What predicts: a calibration, or any other options of a step-time model.

Contract: a `Predictor` is picklable and pure; it says with which constants an experiment is predicted,
and how much of a test that is (`Standing`). A calibration never predicts a family it was fitted to with
the constants of that fit while its file holds those of the fit without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from simulator.engine.options import EngineOptions
from simulator.errors import ConfigError, RooflineLabError
from simulator.hardware import Hardware
from simulator.kernels.analytic import AnalyticKernels
from simulator.model import Model, load_model
from simulator.request_times import MetricOptions
from simulator.steptime.build import BuiltStepTime, build_step_time
from simulator.steptime.kernel_choice import choose_kernels
from simulator.steptime.options import StepTimeOptions
from workflow.lib.arms import Arm
from workflow.lib.calibration.client import REQUEST_CONSTANTS, client_time
from workflow.lib.calibration.constants import Values, options_of
from workflow.lib.calibration.record import Calibration
from workflow.lib.experiment import Experiment
from workflow.lib.laboratory import engine_options
from workflow.lib.meter import at_the_meter

Shape = tuple[int, ...]


class Standing(StrEnum):
    """How much of a test a prediction is; no figure mixes the first two with the others unsaid."""

    NEVER_SEEN = "never seen"
    HELD_OUT = "held out"
    IN_SAMPLE = "in sample"
    NO_RECORD = "no record"


OUT_OF_SAMPLE = (Standing.NEVER_SEEN, Standing.HELD_OUT)
MEANINGS: Mapping[Standing, str] = {
    Standing.NEVER_SEEN: "the family is in no fit",
    Standing.HELD_OUT: "the family was fitted to, but this prediction has the constants of the fit without it",
    Standing.IN_SAMPLE: "the family was fitted to, and the calibration does not keep the fit without it: no test",
    Standing.NO_RECORD: "options that do not say what they were tuned to",
}


class Flag(StrEnum):
    """Where a prediction leaves what its constants rest on, or had to assume something."""

    IN_SAMPLE = "in_sample"
    OTHER_NAME = "family_under_another_name"
    HARDWARE = "hardware_not_calibrated"
    TENSOR_PARALLEL = "tp_not_calibrated"
    TOOL = "tool_not_calibrated"
    SERVER = "server_not_stated"
    MODEL = "model_note"


@dataclass(frozen=True, slots=True)
class Note:
    """One flag of one prediction, and what it means there."""

    flag: Flag
    text: str


class Predictor(Protocol):
    """Predicts experiments; `name` is unique within an evaluation, `described` says what it is."""

    @property
    def name(self) -> str:
        """Short label of tables."""
        ...

    @property
    def described(self) -> str:
        """One phrase for the page."""
        ...

    def standing(self, experiment: Experiment, model: Model) -> Standing:
        """Return how much of a test a prediction of `experiment` is."""
        ...

    def notes(self, experiment: Experiment, model: Model, hardware: Hardware) -> tuple[Note, ...]:
        """Return where a prediction leaves what the constants rest on."""
        ...

    def server(self, experiment: Experiment) -> EngineOptions:
        """Return the engine that stands for the measured server."""
        ...

    def options(self, experiment: Experiment, model: Model, server: EngineOptions) -> StepTimeOptions:
        """Return the options of the step-time model."""
        ...

    def step_time(
        self, experiment: Experiment, model: Model, hardware: Hardware, server: EngineOptions
    ) -> BuiltStepTime:
        """Return what a step costs."""
        ...

    def client(self, experiment: Experiment, model: Model, load_point: str) -> MetricOptions:
        """Return what the measured figures contain beside the engine's time."""
        ...


@dataclass(frozen=True, slots=True)
class CalibratedPredictor:
    """A calibration file.

    Attributes
    ----------
    shapes
        Family of every model that was fitted to, by its shape: a copy of a model under another name
        is the same family.
    """

    name: str
    calibration: Calibration
    shapes: Mapping[Shape, str]

    @property
    def described(self) -> str:
        """Title, and how many families it rests on."""
        trained = self.calibration.trained_on
        return (
            f"{self.calibration.title}; fitted to {trained.load_points} load points of {len(trained.families)} "
            f"families on {', '.join(trained.hardware)}"
        )

    def seen_as(self, experiment: Experiment, model: Model) -> str | None:
        """Return the family under which a model was fitted to, or None."""
        trained = self.calibration.trained_on
        if experiment.family in trained.families:
            return experiment.family
        return trained.models.get(experiment.model) or self.shapes.get(shape_of(model))

    def standing(self, experiment: Experiment, model: Model) -> Standing:
        """Return how much of a test a prediction of `experiment` is."""
        family = self.seen_as(experiment, model)
        if family is None:
            return Standing.NEVER_SEEN
        return Standing.HELD_OUT if family in self.calibration.held_out else Standing.IN_SAMPLE

    def values(self, experiment: Experiment, model: Model) -> Values:
        """Return the constants an experiment is predicted with."""
        family = self.seen_as(experiment, model)
        return self.calibration.held_out.get(family or "", self.calibration.values)

    def notes(self, experiment: Experiment, model: Model, hardware: Hardware) -> tuple[Note, ...]:
        """Return where a prediction leaves what was calibrated on."""
        step_time = self.step_time(experiment, model, hardware, self.server(experiment))
        return (*self._notes(experiment, model), *(Note(Flag.MODEL, text) for text in step_time.warnings))

    def _notes(self, experiment: Experiment, model: Model) -> Iterator[Note]:
        trained = self.calibration.trained_on
        family = self.seen_as(experiment, model)
        if self.standing(experiment, model) is Standing.IN_SAMPLE:
            yield Note(Flag.IN_SAMPLE, f"family {family} was fitted to: no test of transfer")
        if family not in (None, experiment.family):
            text = f"{experiment.model} ({experiment.family}) has the shape of a model of {family}, which was fitted to"
            yield Note(Flag.OTHER_NAME, f"{text}; it is treated as that family")
        if experiment.hardware not in trained.hardware:
            known = ", ".join(trained.hardware)
            text = f"{experiment.hardware} was not calibrated on ({known} was): same efficiencies on its data sheet"
            yield Note(Flag.HARDWARE, text)
        if trained.tensor_parallel and experiment.tensor_parallel not in trained.tensor_parallel:
            known = ", ".join(map(str, trained.tensor_parallel))
            yield Note(Flag.TENSOR_PARALLEL, f"TP {experiment.tensor_parallel} was not calibrated on ({known} were)")
        if experiment.tool not in REQUEST_CONSTANTS and "client" in _sides(experiment):
            known = " and ".join(REQUEST_CONSTANTS)
            yield Note(Flag.TOOL, f"the client time of {experiment.tool} was not calibrated: mean of {known}")

    def server(self, experiment: Experiment) -> EngineOptions:
        """Return the measured server, as far as its settings are stated."""
        return EngineOptions(**experiment.server.engine_settings)

    def options(self, experiment: Experiment, model: Model, server: EngineOptions) -> StepTimeOptions:
        """Return the constants of the experiment's family as options of the step-time model."""
        return options_of(self.values(experiment, model), schedule_ahead=server.schedule_ahead)

    def step_time(
        self, experiment: Experiment, model: Model, hardware: Hardware, server: EngineOptions
    ) -> BuiltStepTime:
        """Return what a step costs under the constants of the experiment's family."""
        options = self.options(experiment, model, server)
        return build_step_time(options, model, hardware, experiment.tensor_parallel)

    def client(self, experiment: Experiment, model: Model, load_point: str) -> MetricOptions:
        """Return the calibrated time of the measuring client, none for figures of the server."""
        values = self.values(experiment, model)
        return client_time(values, experiment.tool, experiment.side_of(load_point)).metric_options()


@dataclass(frozen=True, slots=True)
class OptionsPredictor:
    """Options of any step-time model, with the engine they belong to."""

    name: str
    described: str
    arm: Arm
    embedded: AnalyticKernels

    def standing(self, experiment: Experiment, model: Model) -> Standing:
        """Return that nothing is known about what the options were tuned to."""
        return Standing.NO_RECORD

    def notes(self, experiment: Experiment, model: Model, hardware: Hardware) -> tuple[Note, ...]:
        """Return what the step-time model says about this model and GPU."""
        step_time = self.step_time(experiment, model, hardware, self.server(experiment))
        return tuple(Note(Flag.MODEL, text) for text in step_time.warnings)

    def server(self, experiment: Experiment) -> EngineOptions:
        """Return the measured server, as far as its settings are stated and the options do not say otherwise."""
        return engine_options(self.arm, experiment, source=self.name, as_stated=True)

    def options(self, experiment: Experiment, model: Model, server: EngineOptions) -> StepTimeOptions:
        """Return the options, which are the same for every experiment."""
        return self.arm.steptime

    def step_time(
        self, experiment: Experiment, model: Model, hardware: Hardware, server: EngineOptions
    ) -> BuiltStepTime:
        """Return what a step costs."""
        kernels = choose_kernels(self.arm.steptime, hardware, embedded=self.embedded)
        return build_step_time(self.arm.steptime, model, hardware, experiment.tensor_parallel, kernels)

    def client(self, experiment: Experiment, model: Model, load_point: str) -> MetricOptions:
        """Return the time between client and engine: the arm's, else the one the experiment states."""
        return at_the_meter(self.arm.rules, experiment, load_point)


def shape_of(model: Model) -> Shape:
    """Return what makes two descriptions the same model: everything but names, vocabulary and number types."""
    return (
        model.hidden_size,
        model.num_hidden_layers,
        model.num_attention_heads,
        model.num_key_value_heads,
        model.head_elements,
        model.expert_width,
        model.num_local_experts,
        model.num_experts_per_tok,
    )


def fitted_shapes(calibration: Calibration, folder: Path) -> Mapping[Shape, str]:
    """Return the family of every model that was fitted to and that `folder` describes, by shape."""
    found: dict[Shape, str] = {}
    for name, family in calibration.trained_on.models.items():
        path = folder / f"{name}.json"
        if path.is_file():
            try:
                found[shape_of(load_model(path))] = family
            except RooflineLabError as error:
                raise ConfigError(f"a model the calibration was fitted to cannot be read: {error}") from None
    return found


def _sides(experiment: Experiment) -> set[str]:
    return {experiment.side_of(one.id) for one in experiment.load_points}
