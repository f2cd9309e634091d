"""Arms that our simulator predicts with steps that go by a name: a calibration, or a model set up for each GPU.

Contract: `simulated` gives the same rows as an arm with options of its own. A calibration predicts a family, or a cell,
it was fitted to with the constants of the fit without it where it keeps them. `holdout_of` says of any arm how much of
a test a run is: of a calibration by what it was fitted to, of everybody else by what they state under `fitted_to`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from roofline_lab.calibration.plan import FOLDER as CALIBRATIONS
from roofline_lab.ground_truth.assumed_server import served
from roofline_lab.load_point import Prediction, Setup, Target
from roofline_lab.places import place_of
from roofline_lab.predict.arms import Simulation, rows_of, run_of
from roofline_lab.predict.choose import fitted_experiments, load_predictor
from roofline_lab.predict.predictors import Holdout, NamedPredictor, Predictor
from roofline_lab.predict.trusted import trust_in
from roofline_lab.project import Project, Run
from roofline_lab.simulators.description import StepTimeSimulator
from roofline_lab.trust import ENDING
from roofline_lab.vocabulary import Metric
from simulator.hardware import SUSTAINED_FOLDER

OPTION = "simulator.name"
NO_RECORD = "nobody states what it was tuned to"
OF_CALIBRATION = "{}; a family, or a cell, that was fitted to is predicted with the constants of the fit without it"


def simulated(project: Project, wanted: Simulation) -> list[dict[str, Any]]:
    """Return one row per load point of a simulation's experiment."""
    return rows_of(project, run_of(project, wanted), _setup, _intervals)


def _setup(project: Project, run: Run) -> Setup:
    hardware = project.hardware(run.experiment.hardware)
    model = served(run.experiment, project.model(run.experiment.model), hardware)
    return predictor_of(project, run.arm.simulator.name).setup(run.experiment, model, hardware)


def _intervals(
    project: Project, run: Run, target: Target, prediction: Prediction, figures: dict[str, Any]
) -> dict[str, tuple[float, float]]:
    """Return between which values in ms measured latencies lie, made without what the run is tested by.

    Whether the measured server kept up is not known to who asks for a prediction.
    """
    asked = replace(target, load_point=target.load_point.model_copy(update={"saturation": None}))
    known = {
        name: figure["predicted"]
        for name, figure in figures.items()
        if figure["unit"] == "ms" and figure["predicted"] is not None
    }
    trust = trust_in(predictor_of(project, run.arm.simulator.name), asked, prediction, known)
    bands = {} if trust is None else {name: trust.band(name) for name in known}
    return {name: band.of(known[name]) for name, band in bands.items() if band is not None}


@lru_cache(maxsize=32)
def predictor_of(project: Project, name: str) -> Predictor:
    """Return who predicts under a name, read once."""
    return load_predictor(project.root, name, OPTION).predictor


def files_behind(project: Project, run: Run) -> Iterator[Path]:
    """Yield what decides what a name means for a run: the calibration, what was held out, what a GPU sustains."""
    name = run.arm.simulator.name
    calibration, held_out = (place_of(project.root, CALIBRATIONS / f"{name}{end}") for end in (".yaml", ENDING))
    described = project.hardware_file(run.experiment.hardware)
    documented = described.parent / SUSTAINED_FOLDER / described.name
    yield from (path for path in (calibration, held_out, documented) if path.is_file())


# --- who was fitted to what ---------------------------------------------------------------------------


def holdout_of(project: Project, run: Run, metric: Metric) -> Holdout:
    """Return how much of a test the prediction of a metric is."""
    simulator = run.arm.simulator
    if isinstance(simulator.described, StepTimeSimulator):
        return predictor_of(project, simulator.name).holdout(run.experiment, project.model(run.experiment.model))
    if simulator.fitted_to is None:
        return Holdout.NO_RECORD
    fitted = metric in simulator.fitted_to.metrics
    seen = fitted and run.experiment.id in fitted_experiments(project.root, simulator.fitted_to)
    return Holdout.IN_SAMPLE if seen else Holdout.NEVER_SEEN


def fitted_in_words(project: Project, run: Run) -> str:
    """Return what the simulator of a run was fitted to."""
    simulator = run.arm.simulator
    if isinstance(simulator.described, StepTimeSimulator):
        predictor = predictor_of(project, simulator.name)
        if not isinstance(predictor, NamedPredictor):
            return OF_CALIBRATION.format(predictor.described)
        return predictor.fitted.said if predictor.fitted else NO_RECORD
    return simulator.fitted_to.said if simulator.fitted_to else NO_RECORD
