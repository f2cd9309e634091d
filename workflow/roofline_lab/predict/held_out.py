"""Held-out predictions of a calibration that keeps the constants of every fit without one model.

Contract: `held_out_rows` simulates every load point the calibration was fitted to with the constants of the fit without
its model, and gives them as the rows of `roofline_lab.trust.held_out`.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

from roofline_lab.calibration.plan import FOLDER
from roofline_lab.calibration.points import load_targets
from roofline_lab.calibration.record import load_calibration
from roofline_lab.config import load_settings
from roofline_lab.load_point import Target, compared
from roofline_lab.places import place_of
from roofline_lab.predict.coverage import coverage_of
from roofline_lab.predict.predictors import CalibratedPredictor, Holdout
from roofline_lab.predict.trusted import load_of
from roofline_lab.scoring.comparison import wanted_metrics
from roofline_lab.scoring.errors import PERCENT
from roofline_lab.trust.held_out import BETWEEN_TOKENS, HeldOut, site_of
from roofline_lab.vocabulary import RowStatus
from simulator.errors import ConfigError
from simulator.trust.distance import kind_of, precision_of
from simulator.trust.intervals import INTER_TOKEN


def held_out_rows(root: Path, name: str, only: Container[str] | None = None) -> tuple[HeldOut, ...]:
    """Return every latency of every load point a calibration was fitted to, predicted without its model.

    Parameters
    ----------
    only
        Experiments to predict; by default all.

    Raises
    ------
    ConfigError
        If the calibration keeps no constants without some model.
    """
    calibration = load_calibration(place_of(root, FOLDER / f"{name}.yaml"))
    predictor = CalibratedPredictor(name, calibration, coverage_of(calibration, root))
    targets = load_targets(root, calibration.trained_on.sets, load_settings(root).arrivals)
    wanted = [target for target in targets if only is None or target.experiment.id in only]
    return tuple(row for target in wanted for row in _rows(predictor, target))


def _rows(predictor: CalibratedPredictor, target: Target) -> Iterator[HeldOut]:
    experiment, model = target.experiment, target.model
    if predictor.holdout(experiment, model) is not Holdout.HELD_OUT:
        raise ConfigError(f"{predictor.name}: keeps no constants without {experiment.model}; calibrate again")
    prediction = predictor.predict(target)
    load = load_of(experiment.tensor_parallel, prediction)
    for figure in compared(wanted_metrics(experiment, target.load_point), prediction):
        if figure.status is RowStatus.OK and figure.is_latency and figure.name not in BETWEEN_TOKENS and load:
            yield HeldOut(
                fold="model",
                experiment=experiment.id,
                load_point=target.load_point.id,
                model=experiment.model,
                kind=kind_of(model),
                hardware=experiment.hardware,
                precision=precision_of(model),
                site=site_of(experiment, target.load_point.id),
                tensor_parallel=load.tensor_parallel,
                concurrency=load.concurrency,
                prompt_tokens=load.prompt_tokens,
                output_tokens=load.output_tokens,
                saturated=False,
                metric=BETWEEN_TOKENS[0] if figure.name == INTER_TOKEN else figure.name,
                measured_ms=figure.measured,
                predicted_ms=figure.predicted,
                noise=None if figure.noise_pct is None else figure.noise_pct / PERCENT,
            )
