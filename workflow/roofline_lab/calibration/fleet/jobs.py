"""From a plan to fitted effects and held-out predictions: what `snakemake calibrate_fleet` asks its workers for.

Contract: `points_job` finds the steps of one experiment's load points, `fit_job` fits all of them or all but a fold;
both are pure. `results_of` puts the answers together; the same points give the same values, whoever worked them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roofline_lab.calibration.fleet.fit import FleetFit, FleetProblem, fit_fleet, problem_of, without_points
from roofline_lab.calibration.fleet.folds import LeftOut, folds_of, held_out_rows
from roofline_lab.calibration.fleet.plan import FOLDER, FleetPlan, load_fleet_plan
from roofline_lab.calibration.fleet.points import METRICS, FleetPoint, fleet_points
from roofline_lab.calibration.plan import digest_of_experiments, experiments_in
from roofline_lab.trust.held_out import HeldOut
from simulator.steptime.calibration import Interval, TrainedOn
from simulator.steptime.fleet import Effect, FleetCalibration

LOSS = (
    "sum over load points and figures of (weight x soft(log(predicted / measured) / scatter))^2 on mean TTFT and mean "
    "time per token, scatter {scatter}; plus, per effect, (log(value / start) / spread)^2"
)
# Digits of values in the file; a fit does not know more.
DIGITS = 6


@dataclass(frozen=True)
class FleetResults:
    """All that a fleet calibration found.

    Attributes
    ----------
    in_sample_ms
        Predicted means of every fitted load point by the fit to all, shape (points, 2).
    """

    plan: FleetPlan
    points: tuple[FleetPoint, ...]
    folds: tuple[LeftOut, ...]
    in_sample_ms: np.ndarray
    rows: tuple[HeldOut, ...]
    calibration: FleetCalibration


def experiments_of(root: Path, name: str) -> tuple[str, ...]:
    """Return the experiments a fleet calibration is fitted to."""
    return tuple(experiment.id for experiment in experiments_in(root, load_fleet_plan(root, name).train_sets))


def points_job(root: Path, name: str, experiment: str) -> tuple[FleetPoint, ...]:
    """Return the load points of one experiment with their steps."""
    return fleet_points(root, load_fleet_plan(root, name).train_sets, only=experiment)


def fit_job(root: Path, problem: FleetProblem) -> FleetFit:
    """Fit a problem."""
    return fit_fleet(problem)


def fitted_points(points: Iterable[FleetPoint]) -> tuple[FleetPoint, ...]:
    """Return the points a fit rests on: not saturated, with both figures."""
    return tuple(point for point in points if not point.saturated and all(point.measured_ms))


def problems(plan: FleetPlan, points: Sequence[FleetPoint]) -> tuple[FleetProblem, tuple[LeftOut, ...]]:
    """Return the problem of all fitted points, and what is left out of it in turn."""
    return problem_of(points, plan), folds_of(points, plan.configuration_folds)


def without(problem: FleetProblem, fold: LeftOut) -> FleetProblem:
    """Return the problem of a fold's fit."""
    return without_points(problem, fold.fitted)


def results_of(
    root: Path,
    name: str,
    everything: Sequence[FleetPoint],
    fit: FleetFit,
    held_out: Sequence[FleetFit],
) -> FleetResults:
    """Put fits together; `held_out` in the order of the folds."""
    plan, points = load_fleet_plan(root, name), fitted_points(everything)
    problem, folds = problems(plan, points)
    rows: list[HeldOut] = []
    for fold, own in zip(folds, held_out, strict=True):
        predicted = problem.predicted_ms(own.logs)[list(fold.judged)]
        rows += held_out_rows(fold, points, [(float(ttft), float(between)) for ttft, between in predicted])
    calibration = _calibration(root, name, plan, everything, fit, zip(folds, held_out, strict=True))
    return FleetResults(plan, tuple(points), folds, problem.predicted_ms(fit.logs), tuple(rows), calibration)


def _calibration(
    root: Path,
    name: str,
    plan: FleetPlan,
    points: Sequence[FleetPoint],
    fit: FleetFit,
    held_out: Iterable[tuple[LeftOut, FleetFit]],
) -> FleetCalibration:
    names = [effect.name for effect in plan.effects]
    scatter = ", ".join(f"{metric} {plan.scatter[metric]:g}" for metric in METRICS)
    return FleetCalibration(
        name=name,
        title=plan.title,
        loss=LOSS.format(scatter=scatter),
        trained_on=_trained_on(root, name, plan, points),
        effects=tuple(_effects(plan, fit)),
        held_out={
            fold.name: dict(zip(names, map(_rounded, np.exp(own.logs)), strict=True))
            for fold, own in held_out
            if fold.fold == "cell"
        },
    )


def _effects(plan: FleetPlan, fit: FleetFit) -> Iterable[Effect]:
    low, high = fit.intervals()
    for place, planned in enumerate(plan.effects):
        yield Effect(
            constant=planned.constant,
            where=planned.where,
            value=_rounded(np.exp(fit.logs[place])),
            interval_90_pct=Interval(low=_rounded(low[place], 4), high=_rounded(high[place], 4)),
            unit=planned.unit,
            start=planned.start,
            spread=planned.spread,
            start_source=planned.why,
        )


def _trained_on(root: Path, name: str, plan: FleetPlan, points: Sequence[FleetPoint]) -> TrainedOn:
    experiments = {point.experiment: point.target.experiment for point in points}
    ran = experiments.values()
    return TrainedOn(
        sets=plan.train_sets,
        experiments=len(experiments),
        load_points=len(fitted_points(points)),
        families=tuple(sorted({one.family for one in ran})),
        models={one.model: one.family for one in sorted(ran, key=lambda one: one.model)},
        hardware=tuple(sorted({one.hardware for one in ran})),
        tensor_parallel=tuple(sorted({one.tensor_parallel for one in ran})),
        data_sha256=digest_of_experiments(root, experiments, [(FOLDER / f"{name}.yaml").as_posix()]),
    )


def _rounded(value: float, digits: int = DIGITS) -> float:
    return float(f"{value:.{digits}g}")
