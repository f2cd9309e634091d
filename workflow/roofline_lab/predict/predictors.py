"""What predicts: a calibration, or any other options of a step-time model.

Contract: a `Predictor` is picklable and pure; it says with which constants an experiment is predicted,
and how much of a test that is (`Holdout`). A calibration never predicts a family it was fitted to with
the constants of that fit while its file holds those of the fit without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from roofline_lab.calibration.constants import SITES, Values, calibrated_client
from roofline_lab.calibration.points import setup_of
from roofline_lab.calibration.record import Calibration
from roofline_lab.client_overhead import client_time
from roofline_lab.ground_truth.deployment import Ran
from roofline_lab.ground_truth.experiment import Experiment, Replay
from roofline_lab.ground_truth.server import vllm_version
from roofline_lab.hypotheses.arms import Arm
from roofline_lab.load_point import Prediction, Setup, Target, measured_server, simulate
from roofline_lab.places import place_of
from roofline_lab.predict.coverage import Coverage, architecture_of, version_text
from roofline_lab.predict.sites import not_calibrated
from roofline_lab.simulators.description import FittedTo
from roofline_lab.trust.intervals import Validation
from simulator.hardware import Hardware, with_sustained
from simulator.kernels.analytic import AnalyticKernels
from simulator.model import Model
from simulator.steptime.build import build_step_time
from simulator.steptime.kernel_choice import choose_kernels
from simulator.steptime.named import named_step_time
from simulator.steptime.options import CalibratedPhysicsOptions, parse_options

KILO = 1000.0


class Holdout(StrEnum):
    """How much of a test a prediction is; no figure mixes the first two with the others unsaid."""

    NEVER_SEEN = "never seen"
    HELD_OUT = "held out"
    IN_SAMPLE = "in sample"
    NO_RECORD = "no record"


OUT_OF_SAMPLE = (Holdout.NEVER_SEEN, Holdout.HELD_OUT)
MEANINGS: Mapping[Holdout, str] = {
    Holdout.NEVER_SEEN: "the family is in no fit",
    Holdout.HELD_OUT: "the family was fitted to, but this prediction has the constants of the fit without it",
    Holdout.IN_SAMPLE: "the family was fitted to, and the calibration does not keep the fit without it: no test",
    Holdout.NO_RECORD: "options that do not say what they were tuned to",
}


class Flag(StrEnum):
    """Where a prediction leaves what its constants rest on, or had to assume something."""

    IN_SAMPLE = "in_sample"
    OTHER_NAME = "family_under_another_name"
    DISAGREES = "family_disagrees_with_model"
    ARCHITECTURE = "architecture_not_calibrated"
    HARDWARE = "hardware_not_calibrated"
    TENSOR_PARALLEL = "tp_not_calibrated"
    SOFTWARE = "software_not_calibrated"
    SITE = "site_not_calibrated"
    SITE_ESTIMATED = "site_estimated"
    SAMPLING = "sampling_unknown"
    SERVER = "server_not_stated"
    LOCK_STEP = "lock_step"
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

    def holdout(self, experiment: Ran, model: Model) -> Holdout:
        """Return how much of a test a prediction of `experiment` is."""
        ...

    def fitted_as(self, experiment: Ran, model: Model) -> str | None:
        """Return the family under which a model was fitted to, or None."""
        ...

    def notes(self, experiment: Ran, model: Model, hardware: Hardware) -> tuple[Note, ...]:
        """Return where a prediction leaves what the constants rest on."""
        ...

    def setup(self, experiment: Ran, model: Model, hardware: Hardware) -> Setup:
        """Return steps, server and client, or raise `UnsupportedError`."""
        ...

    def predict(self, target: Target, replays: Sequence[Replay] | None = None) -> Prediction:
        """Return one load point as simulated, or raise `UnsupportedError`.

        `replays` are requests somebody recorded elsewhere, instead of those of the measurement.
        """
        ...


@dataclass(frozen=True, slots=True)
class CalibratedPredictor:
    """A calibration file, and what it rests on beyond what the file says.

    Attributes
    ----------
    validation
        What was held out of it; None where no table of that lies beside the file.
    """

    name: str
    calibration: Calibration
    coverage: Coverage
    validation: Validation | None = None

    @property
    def described(self) -> str:
        """Title, and what it rests on."""
        return f"{self.calibration.title}; {self.calibration.rests_on}"

    def fitted_as(self, experiment: Ran, model: Model) -> str | None:
        """Return the family under which a model was fitted to, or None.

        The model itself decides, by shape, then by name; what the experiment calls its family comes last.
        """
        trained = self.calibration.trained_on
        named = trained.models.get(experiment.model)
        known = self.coverage.family_of(model, named) or named
        return known or (experiment.family if experiment.family in trained.families else None)

    def holdout(self, experiment: Ran, model: Model) -> Holdout:
        """Return how much of a test a prediction of `experiment` is."""
        family = self.fitted_as(experiment, model)
        if family is None:
            return Holdout.NEVER_SEEN
        return Holdout.HELD_OUT if family in self.calibration.held_out else Holdout.IN_SAMPLE

    def values(self, experiment: Ran, model: Model) -> Values:
        """Return the constants an experiment is predicted with."""
        family = self.fitted_as(experiment, model)
        return self.calibration.held_out.get(family or "", self.calibration.values)

    def notes(self, experiment: Ran, model: Model, hardware: Hardware) -> tuple[Note, ...]:
        """Return where a prediction leaves what was calibrated on."""
        setup = self.setup(experiment, model, hardware)
        warnings = (Note(Flag.MODEL, text) for text in setup.step_time.warnings)
        return (*self._notes(experiment, model), *self._sampling(setup, model), *warnings)

    def predict(self, target: Target, replays: Sequence[Replay] | None = None) -> Prediction:
        """Return one load point under the constants of its family."""
        return simulate(target, self.setup(target.experiment, target.model, target.hardware), replays)

    def setup(self, experiment: Ran, model: Model, hardware: Hardware) -> Setup:
        """Return what the constants of the experiment's family mean for it."""
        return setup_of(experiment, model, hardware, self.values(experiment, model))

    def _notes(self, experiment: Ran, model: Model) -> Iterator[Note]:
        trained = self.calibration.trained_on
        if self.holdout(experiment, model) is Holdout.IN_SAMPLE:
            family = self.fitted_as(experiment, model)
            yield Note(Flag.IN_SAMPLE, f"family {family} was fitted to: no test of transfer")
        yield from self._identity(experiment, model)
        yield from self._architecture(experiment, model)
        if experiment.hardware not in trained.hardware:
            known = ", ".join(trained.hardware)
            text = f"{experiment.hardware} was not calibrated on ({known} was): same efficiencies on its data sheet"
            yield Note(Flag.HARDWARE, text)
        yield from split_otherwise(experiment, trained.tensor_parallel)
        if experiment.parallelism.expert_parallel:
            yield Note(Flag.TENSOR_PARALLEL, "whole experts on each GPU were not calibrated on: their work is counted")
        yield from self._software(experiment.server.settings.software)
        yield from self._site(experiment, model)

    def _site(self, experiment: Ran, model: Model) -> Iterator[Note]:
        """Yield that the place an experiment was measured at is in no fit, and what is taken for its client."""
        values = self.values(experiment, model)
        known = [site for site in SITES if site.constant in values]
        if "client" not in measured_sides(experiment) or experiment.site in {site.name for site in known}:
            return
        own = any(site.tool == experiment.tool for site in known)
        whose = f"that of {experiment.tool} at a site of the fit" if own else "the mean of the sites of the fit"
        taken_us = calibrated_client(values, experiment.tool, experiment.site).request_us
        known_us = [values[site.constant] for site in known]
        yield Note(Flag.SITE, not_calibrated(experiment, taken_us, whose, known_us))

    def _identity(self, experiment: Ran, model: Model) -> Iterator[Note]:
        """Yield where family, name and shape of a model do not say the same."""
        trained, family, stated = self.calibration.trained_on, self.fitted_as(experiment, model), experiment.family
        named = trained.models.get(experiment.model)
        shape = self.coverage.family_of(model, named)
        known = {shape, named} - {None}
        if stated in trained.families and trained.models and known != {stated}:
            is_what = f"is a model of {' or '.join(sorted(filter(None, known)))}" if known else "is no model of the fit"
            text = f"{experiment.model} is called {stated}, but by shape and name it {is_what}"
            yield Note(Flag.DISAGREES, f"{text}; it is treated as {family}")
        elif len(known) > 1:
            text = f"{experiment.model} has the name of a model of {named}, but the shape of"
            yield Note(Flag.DISAGREES, f"{text} {shape}; it is treated as {family}")
        elif isinstance(experiment, Experiment) and family not in (None, stated):
            text = f"{experiment.model} ({stated}) has the shape of a model of {family}, which was fitted to"
            yield Note(Flag.OTHER_NAME, f"{text}; it is treated as that family")

    def _architecture(self, experiment: Ran, model: Model) -> Iterator[Note]:
        """Yield where the constants that predict a model rest on none of its kind and precision."""
        held_out = self.holdout(experiment, model) is Holdout.HELD_OUT
        known = self.coverage.without(self.fitted_as(experiment, model) if held_out else None)
        own = architecture_of(model)
        if known and own not in known:
            which = "the fit without this family" if held_out else "the fit"
            text = f"{model.id} is {own}; {which} has {' and '.join(sorted(known))} alone"
            yield Note(Flag.ARCHITECTURE, f"{text}: the same constants on its bytes and FLOPs")

    def _software(self, software: str | None) -> Iterator[Note]:
        """Yield where the serving software is stated and not one the calibration knows."""
        if software is None:
            return
        version, known = vllm_version(software), self.coverage.versions
        if known is None and version is not None:
            return
        if version is None or known is None or not known[0] <= version <= known[1]:
            span = f" {' to '.join(dict.fromkeys(map(version_text, known)))}" if known else ""
            text = f"{software} was not calibrated on (vLLM{span} was): its own scheduling and overheads are not known"
            yield Note(Flag.SOFTWARE, text)

    def _sampling(self, setup: Setup, model: Model) -> Iterator[Note]:
        """Yield what sampling costs where the model's default cuts off tokens: no experiment says how it sampled."""
        options = setup.options
        truncates = model.generation_config is not None and model.generation_config.truncates
        if not truncates or not isinstance(options, CalibratedPhysicsOptions):
            return
        thousands = model.vocab_size / KILO
        step = options.sampling_us_per_kilotoken * thousands
        request = options.sampling_us_per_kilotoken_request * thousands
        if step or request:
            text = f"{model.id}: top-p and top-k of its generation_config are priced, {step:.0f} us per step and"
            ending = "how the client sampled is not stated; a greedy run skips that"
            yield Note(Flag.SAMPLING, f"{text} {request:.0f} us per request in it; {ending}")


@dataclass(frozen=True, slots=True)
class OptionsPredictor:
    """Options of any step-time model, with the engine they belong to."""

    name: str
    described: str
    arm: Arm
    embedded: AnalyticKernels

    def holdout(self, experiment: Ran, model: Model) -> Holdout:
        """Return that nothing is known about what the options were tuned to."""
        return Holdout.NO_RECORD

    def fitted_as(self, experiment: Ran, model: Model) -> str | None:
        """Return that no fit is known."""
        return None

    def notes(self, experiment: Ran, model: Model, hardware: Hardware) -> tuple[Note, ...]:
        """Return what the step-time model says about this model and GPU."""
        return tuple(Note(Flag.MODEL, text) for text in self.setup(experiment, model, hardware).step_time.warnings)

    def predict(self, target: Target, replays: Sequence[Replay] | None = None) -> Prediction:
        """Return one load point under the options, which are the same for every experiment."""
        return simulate(target, self.setup(target.experiment, target.model, target.hardware), replays)

    def setup(self, experiment: Ran, model: Model, hardware: Hardware) -> Setup:
        """Return options, server and client: those of the arm, else those the experiment states."""
        options, rules = self.arm.steptime, self.arm.rules
        engine = measured_server(experiment, model, hardware, self.arm.engine, self.name)
        kernels = choose_kernels(options, hardware, embedded=self.embedded)
        step_time = build_step_time(options, model, hardware, experiment.parallelism, kernels)
        return Setup(options, step_time, engine, client_time(rules.client if rules else None, experiment))


@dataclass(frozen=True, slots=True)
class NamedPredictor:
    """A step-time model of `simulator.steptime.named`, set up for each model and GPU as the simulator's command does.

    Attributes
    ----------
    fitted, seen
        What its constants rest on, and the experiments that are therefore no test of it; None where nobody says.
    root
        Project of the data sheets, beside which is documented what runs on a GPU reach.
    """

    name: str
    fitted: FittedTo | None
    seen: frozenset[str]
    embedded: AnalyticKernels
    root: Path

    @property
    def described(self) -> str:
        """What it is called, and what it rests on."""
        return f"the step-time model `{self.name}`" + (f"; {self.fitted.said}" if self.fitted else "")

    def holdout(self, experiment: Ran, model: Model) -> Holdout:
        """Return how much of a test a prediction of `experiment` is."""
        if self.fitted is None:
            return Holdout.NO_RECORD
        known = isinstance(experiment, Experiment) and experiment.id in self.seen
        return Holdout.IN_SAMPLE if known else Holdout.NEVER_SEEN

    def fitted_as(self, experiment: Ran, model: Model) -> str | None:
        """Return that it was fitted to no family of its own."""
        return None

    def notes(self, experiment: Ran, model: Model, hardware: Hardware) -> tuple[Note, ...]:
        """Return what the step-time model says about this model and GPU."""
        return tuple(Note(Flag.MODEL, text) for text in self.setup(experiment, model, hardware).step_time.warnings)

    def predict(self, target: Target, replays: Sequence[Replay] | None = None) -> Prediction:
        """Return one load point on its model and GPU."""
        return simulate(target, self.setup(target.experiment, target.model, target.hardware), replays)

    def setup(self, experiment: Ran, model: Model, hardware: Hardware) -> Setup:
        """Return its options on a model and GPU, with server and client as the experiment states them."""
        engine = measured_server(experiment, model, hardware, {}, self.name)
        documented = with_sustained(hardware, place_of(self.root, f"configs/hardware/{hardware.id}.yaml"))
        spread, ahead = experiment.parallelism, engine.schedule_ahead
        named = named_step_time(self.name, model, documented, spread.tensor_parallel, {}, schedule_ahead=ahead)
        options = parse_options(named.options, source=self.name)
        kernels = choose_kernels(options, documented, embedded=self.embedded)
        step_time = build_step_time(options, model, documented, spread, kernels)
        return Setup(options, step_time, engine, client_time(None, experiment))


def measured_sides(experiment: Ran) -> set[str]:
    """Return the sides on which figures of an experiment were taken."""
    if not isinstance(experiment, Experiment):
        return set()
    return {experiment.side_of(point.id) for point in experiment.load_points}


def split_otherwise(experiment: Ran, degrees: Sequence[int]) -> Iterator[Note]:
    """Yield where a server is spread over its GPUs as none was that a calibration knows; no degrees: nobody says."""
    spread = experiment.parallelism
    if degrees and spread.tensor_parallel not in degrees:
        known = ", ".join(map(str, degrees))
        yield Note(Flag.TENSOR_PARALLEL, f"TP {spread.tensor_parallel} was not calibrated on ({known} were)")
    if spread.attention_data_parallel > 1:
        text = f"{spread.attention_data_parallel} groups of GPUs with requests of their own were not calibrated on"
        yield Note(Flag.TENSOR_PARALLEL, f"{text}: what they exchange is priced as all-reduces")
