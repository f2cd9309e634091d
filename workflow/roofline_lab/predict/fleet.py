"""A fleet calibration as a predictor: effects that act on a server, by the fit that did not see its cell.

Contract: as every `Predictor`. A model on a GPU in a precision that was fitted to is predicted with the values of the
fit without that cell; everything else with those of the fit to all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from roofline_lab.calibration.fleet.points import cell_of, conditions_at
from roofline_lab.calibration.points import SOURCE
from roofline_lab.client_overhead import ClientTime
from roofline_lab.ground_truth.deployment import Ran
from roofline_lab.ground_truth.experiment import Experiment, Replay
from roofline_lab.ground_truth.load import ClosedLoop
from roofline_lab.load_point import Prediction, Setup, Target, measured_server, simulate
from roofline_lab.predict.predictors import Flag, Holdout, Note, measured_sides, split_otherwise
from roofline_lab.predict.sites import not_calibrated
from roofline_lab.trust.intervals import Validation
from simulator.engine.options import EngineOptions
from simulator.hardware import Hardware
from simulator.model import Model
from simulator.steptime.build import build_step_time
from simulator.steptime.fleet import CLIENT_REQUEST, CLIENT_TOKEN, FleetCalibration


@dataclass(frozen=True, slots=True)
class FleetPredictor:
    """A fleet calibration, and what was held out of it."""

    name: str
    calibration: FleetCalibration
    validation: Validation | None = None

    @property
    def described(self) -> str:
        """Title, and what it rests on."""
        trained, cells = self.calibration.trained_on, len(self.calibration.held_out)
        return (
            f"{self.calibration.title}; fitted to {trained.load_points} load points of {cells} cells (model, GPU, "
            f"precision) on {', '.join(trained.hardware)}"
        )

    def fitted_as(self, experiment: Ran, model: Model) -> str | None:
        """Return the cell that was fitted to, or None."""
        cell = cell_of(experiment, model)
        return cell if cell in self.calibration.held_out else None

    def holdout(self, experiment: Ran, model: Model) -> Holdout:
        """Return how much of a test a prediction of `experiment` is."""
        return Holdout.HELD_OUT if self.fitted_as(experiment, model) else Holdout.NEVER_SEEN

    def predict(self, target: Target, replays: Sequence[Replay] | None = None) -> Prediction:
        """Return one load point under the values for its cell."""
        return simulate(target, self.setup(target.experiment, target.model, target.hardware), replays)

    def setup(self, experiment: Ran, model: Model, hardware: Hardware) -> Setup:
        """Return what the effects that act on a server mean for it."""
        engine = measured_server(experiment, model, hardware, {}, SOURCE)
        on = conditions_at(experiment, model, hardware, schedule_ahead=engine.schedule_ahead)
        values = self.calibration.held_out.get(self.fitted_as(experiment, model) or "")
        constants = self.calibration.constants(on, values)
        options = self.calibration.options(on, model, hardware, values)
        step_time = build_step_time(options, model, hardware, experiment.parallelism)
        client = ClientTime(constants.get(CLIENT_REQUEST, 0.0), constants.get(CLIENT_TOKEN, 0.0))
        return Setup(options, step_time, _answered_late(experiment, engine), client)

    def notes(self, experiment: Ran, model: Model, hardware: Hardware) -> tuple[Note, ...]:
        """Return where a prediction leaves what was calibrated on."""
        setup = self.setup(experiment, model, hardware)
        own = (*self._notes(experiment, model), *self._site(experiment, model, hardware))
        return (*own, *(Note(Flag.MODEL, text) for text in setup.step_time.warnings))

    def _notes(self, experiment: Ran, model: Model) -> Iterator[Note]:
        trained = self.calibration.trained_on
        cell = self.fitted_as(experiment, model)
        if experiment.hardware not in trained.hardware:
            known = ", ".join(trained.hardware)
            text = f"{experiment.hardware} was not calibrated on: constants are borrowed from {known}"
            yield Note(Flag.HARDWARE, text)
        elif cell is None:
            text = f"{cell_of(experiment, model)} was not fitted to: its constants are borrowed from other cells"
            yield Note(Flag.ARCHITECTURE, text)
        yield from split_otherwise(experiment, trained.tensor_parallel)

    def _site(self, experiment: Ran, model: Model, hardware: Hardware) -> Iterator[Note]:
        """Yield that the place an experiment was measured at is in no fit, and what is taken for its client."""
        sites = sorted({site for effect in self.calibration.effects if effect.where for site in effect.where.sites})
        if "client" not in measured_sides(experiment) or experiment.site in sites:
            return
        setup = self.setup(experiment, model, hardware)
        on = conditions_at(experiment, model, hardware, schedule_ahead=setup.engine.schedule_ahead)
        values = self.calibration.held_out.get(self.fitted_as(experiment, model) or "")
        known_us = [
            self.calibration.constants(replace(on, site=site), values).get(CLIENT_REQUEST, 0.0) for site in sites
        ]
        text = not_calibrated(experiment, setup.client.request_us, "what the sites of the fit have in common", known_us)
        yield Note(Flag.SITE, text)


def _answered_late(experiment: Ran, engine: EngineOptions) -> EngineOptions:
    """Return the engine of a server whose clients send their next request when one ends.

    Such a client answers too late for the step that then begins, whether the server composes that step ahead or not.
    """
    loops = isinstance(experiment, Experiment) and all(
        isinstance(point.arrivals, ClosedLoop) and point.arrivals.concurrency > 1 for point in experiment.load_points
    )
    return engine.model_copy(update={"schedule_ahead": True}) if loops else engine
