"""How far one prediction may be trusted: its word, why, and an interval for every figure.

Contract: `trust_in` is pure and gives None where nothing is known of what predicts, as of a file of options. A
prediction with the constants of a fit without its model, or its cell, is asked as if that had never been fitted to; one
that is in sample keeps its word, and no row of its own server is in its interval. `load_of` says what a server had to
do, of predictions and of held-out rows alike. A prediction that saturates has no interval: its latencies say how long
the run is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

from roofline_lab.load_point import Prediction, Target
from roofline_lab.predict.fleet import FleetPredictor
from roofline_lab.predict.predictors import CalibratedPredictor, Holdout, Predictor
from roofline_lab.trust.held_out import site_of
from roofline_lab.trust.intervals import Validation
from simulator.trust.distance import Cell, Load, Run, kind_of, precision_of
from simulator.trust.distance import load_of as load_of_run
from simulator.trust.intervals import SATURATES, NoBand, Trust


def trust_in(predictor: Predictor, target: Target, prediction: Prediction, latencies: Iterable[str]) -> Trust | None:
    """Return how far a prediction may be trusted, with intervals of some latencies."""
    load = load_of(target.experiment.tensor_parallel, prediction)
    if not isinstance(predictor, CalibratedPredictor | FleetPredictor) or predictor.validation is None or load is None:
        return None
    model, experiment = target.model, target.experiment
    cell = Cell(experiment.model, kind_of(model), experiment.hardware, precision_of(model))
    fitted, tested = _validations(predictor, predictor.validation, target, cell)
    reach, reasons = fitted.distance(Run(cell, load, site_of(experiment, target.load_point.id)))
    full = prediction.saturated or target.load_point.saturated
    bands = {name: NoBand(SATURATES) if full else tested.band(name, reach, cell) for name in latencies}
    return Trust(reach, reasons, bands)


def _validations(
    predictor: CalibratedPredictor | FleetPredictor, whole: Validation, target: Target, cell: Cell
) -> tuple[Validation, Validation]:
    """Return what says how far a deployment is, and what its interval is made from."""
    holdout = predictor.holdout(target.experiment, target.model)
    if holdout is Holdout.IN_SAMPLE:
        return whole, whole.less("configuration", cell, target.experiment.id)
    if holdout is not Holdout.HELD_OUT:
        return whole, whole
    if isinstance(predictor, FleetPredictor):
        rest = whole.less("cell", cell)
        return rest, rest
    family = predictor.fitted_as(target.experiment, target.model)
    models = [name for name, own in predictor.calibration.trained_on.models.items() if own == family]
    rest = reduce(lambda left, name: left.less("model", replace(cell, model=name)), models, whole)
    return rest, rest


def load_of(tensor_parallel: int, prediction: Prediction) -> Load | None:
    """Return what a server has to do in a prediction; None where no request completes."""
    seen, rate, e2e_ms = prediction.occupancy, prediction.value("request_throughput"), prediction.value("e2e_mean")
    if seen is None or rate is None or e2e_ms is None:
        return None
    return load_of_run(tensor_parallel, rate, e2e_ms, seen.prompt_tokens, seen.output_tokens)
