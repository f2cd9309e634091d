"""How far one prediction may be trusted: its word, why, and an interval for every figure.

Contract: `trust_in` is pure and gives None where nothing is known of what predicts, as of a file of options. A
prediction with the constants of a fit without its model, or its cell, is asked as if that had never been fitted to; one
that is in sample keeps its word, and no row of its own server is in its interval. `load_of` says what a server had to
do, of predictions and of held-out rows alike. A prediction that saturates has no interval: its latencies say how long
the run is. What was held out was measured at the client: of figures taken at the server, the interval is what is left
of it without the client's time (`simulator.trust.intervals.within`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

from roofline_lab.load_point import Prediction, Target
from roofline_lab.predict.fleet import FleetPredictor
from roofline_lab.predict.predictors import CalibratedPredictor, Holdout, Predictor
from roofline_lab.trust.held_out import site_of
from roofline_lab.trust.intervals import Validation
from simulator.trust.distance import Cell, Load, Run, kind_of, precision_of
from simulator.trust.distance import load_of as load_of_run
from simulator.trust.intervals import OF_CLIENT, SATURATES, US_PER_MS, Band, NoBand, Trust, within


def trust_in(
    predictor: Predictor, target: Target, prediction: Prediction, predicted_ms: Mapping[str, float | None]
) -> Trust | None:
    """Return how far a prediction may be trusted, with intervals of its latencies.

    Parameters
    ----------
    predicted_ms
        Latencies by name; None where there is no prediction.
    """
    load = load_of(target.experiment.tensor_parallel, prediction)
    if not isinstance(predictor, CalibratedPredictor | FleetPredictor) or predictor.validation is None or load is None:
        return None
    model, experiment = target.model, target.experiment
    cell = Cell(experiment.model, kind_of(model), experiment.hardware, precision_of(model))
    fitted, tested = _validations(predictor, predictor.validation, target, cell)
    reach, reasons = fitted.distance(Run(cell, load, site_of(experiment, target.load_point.id)))
    full = prediction.saturated or target.load_point.saturated
    missing_ms = _client_ms(target, prediction, load)
    bands = {
        name: NoBand(SATURATES) if full else _seen(tested.band(name, reach, cell), name, value_ms, missing_ms)
        for name, value_ms in predicted_ms.items()
    }
    return Trust(reach, reasons, bands)


def _client_ms(target: Target, prediction: Prediction, load: Load) -> float:
    """Return what figures at the client contain beside those of a prediction, in ms; 0 where they contain it."""
    client = prediction.setup.client
    if client.in_figures_of(target.experiment, target.load_point.id) == client:
        return 0.0
    return (client.request_us + client.us_per_prompt_token * load.prompt_tokens) / US_PER_MS


def _seen(band: Band | NoBand, name: str, value_ms: float | None, missing_ms: float) -> Band | NoBand:
    """Return the interval of a figure that lacks the client's time where the held-out ones have it."""
    of_client = name.partition("_")[0] in OF_CLIENT
    if isinstance(band, NoBand) or not value_ms or not missing_ms or not of_client:
        return band
    low_ms, high_ms = within(band, value_ms, missing_ms)
    return replace(band, low=low_ms / value_ms, high=high_ms / value_ms)


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
