"""One experiment at all its load points, under every predictor.

Contract: `evaluate_experiment` is pure; the same task gives the same results in any process. All
requests of a load point are simulated. Measured figures play no part in a prediction. What cannot
be simulated is a result with a reason; only a bug raises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from roofline_lab.config import RandomArrivals
from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.load_point import Prediction, Target, compared
from roofline_lab.predict.coverage import architecture_of
from roofline_lab.predict.predictors import Note, Predictor
from roofline_lab.predict.records import HEADLINE, Place, PointResult
from roofline_lab.residuals.build import priced_by, residual_of
from roofline_lab.residuals.record import Figure as ResidualFigure
from roofline_lab.residuals.record import Residual
from roofline_lab.run_files import SATURATED
from roofline_lab.scoring.comparison import THROUGHPUT, Comparison, Wanted, wanted_metrics
from roofline_lab.scoring.under_load import distances_of
from roofline_lab.vocabulary import RowStatus
from simulator.errors import RooflineLabError
from simulator.hardware import Hardware
from simulator.model import Model

ONLY_PREDICTED_SATURATED = "saturated in the simulation alone"


@dataclass(frozen=True, slots=True)
class Task:
    """What one job needs: an experiment, what it names, and who predicts it.

    Attributes
    ----------
    arrivals
        How random arrivals that were not recorded are drawn.
    notes
        What had to be assumed about the server.
    """

    experiment: Experiment
    model: Model
    hardware: Hardware
    predictors: tuple[Predictor, ...]
    arrivals: RandomArrivals
    notes: tuple[Note, ...] = ()


def evaluate_experiment(task: Task) -> tuple[PointResult, ...]:
    """Return every load point under every predictor, load points in the experiment's order."""
    targets = (
        Target(task.experiment, point, task.model, task.hardware, task.arrivals)
        for point in task.experiment.load_points
    )
    return tuple(_result(task, target, predictor) for target in targets for predictor in task.predictors)


def _result(task: Task, target: Target, predictor: Predictor) -> PointResult:
    experiment, model, point = target.experiment, target.model, target.load_point
    empty = PointResult(
        place=_place(target),
        predictor=predictor.name,
        standing=predictor.standing(experiment, model),
        status=RowStatus.UNSUPPORTED,
        reason="",
        figures=(),
        quality=tuple(dict.fromkeys(flag.flag.value for flag in experiment.flags_of(point.id))),
        saturated_measured=saturated(experiment, point),
        seen_as=predictor.seen_as(experiment, model),
        requests=point.requests.sent,
    )
    wanted: tuple[Wanted, ...] = ()
    try:
        wanted = wanted_metrics(experiment, point)
        prediction = predictor.predict(target)
        notes = (*predictor.notes(experiment, model, task.hardware), *task.notes)
        return _compared(target, prediction, replace(empty, notes=notes), compared(wanted, prediction))
    except RooflineLabError as error:
        figures = tuple(metric.without(RowStatus.UNSUPPORTED, str(error)) for metric in wanted)
        return replace(empty, reason=str(error), figures=figures)


def _compared(
    target: Target, prediction: Prediction, empty: PointResult, figures: tuple[Comparison, ...]
) -> PointResult:
    found = replace(
        empty,
        saturated_predicted=prediction.saturated,
        requests=prediction.requests,
        completed=len(prediction.completed),
    )
    if empty.saturated_measured is True:
        unjudged = tuple(map(_unjudged, figures))
        return replace(found, status=RowStatus.SATURATED, reason=SATURATED, figures=unjudged)
    recorded = target.experiment.measured_requests(target.load_point.id)
    distances = distances_of(recorded, prediction.completed, prediction.seen)
    found = replace(found, status=RowStatus.OK, figures=figures, distances=distances)
    return replace(found, residual=_residual(target, found, prediction))


def _residual(target: Target, result: PointResult, prediction: Prediction) -> Residual:
    """Return the errors of the means with what they may go with, for the residual analysis."""
    figures = {
        name: residual_figure_of(result.figure(metric), ONLY_PREDICTED_SATURATED if result.falsely_saturated else "")
        for name, metric in zip(("ttft", "itl", "e2e"), HEADLINE, strict=True)
    }
    counters, done = prediction.counters, result.completed
    return residual_of(
        experiment=target.experiment.id,
        load_point=target.load_point.id,
        family=result.family,
        model=target.model,
        hardware=target.hardware,
        tensor_parallel=target.experiment.tensor_parallel,
        occupancy=prediction.occupancy,
        figures=figures,
        rate_per_s=target.load_point.rate_per_s,
        mixed_share=counters.mixed_steps / counters.steps if counters.steps else None,
        prefill_steps=(counters.prefill_steps + counters.mixed_steps) / done if done else None,
        priced=priced_by(prediction.setup.options, target.model),
    )


def residual_figure_of(figure: Comparison | None, refusal: str = "") -> ResidualFigure:
    """Return a figure as the residual analysis takes it; `refusal` says why none of its load point has a residual."""
    if figure is None:
        return ResidualFigure(None, None, "not measured")
    reason = "" if figure.status is RowStatus.OK else figure.reason or figure.status.value
    return ResidualFigure(figure.measured, figure.predicted, refusal or reason)


def saturated(experiment: Experiment, point: LoadPoint) -> bool | None:
    """Return whether the server kept up: as stated, else as the figures or the recorded requests show; None if neither.

    Sources: the checks of `roofline_lab.ground_truth.lint` that importers use.
    """
    if point.saturated is not None:
        return point.saturated
    served = point.measured.get(THROUGHPUT)
    finding = lint.overloaded(
        requested_per_s=point.rate.requested_per_s if point.rate else None,
        completed_per_s=served.value if served else None,
        sent=point.requests.sent,
        failed=point.requests.failed or 0,
    )
    waits = [request.ttft_ms for request in experiment.measured_requests(point.id) if request.ttft_ms is not None]
    return True if finding or lint.queue_grows(waits) else None


def _unjudged(figure: Comparison) -> Comparison:
    """Take the error from a latency of a saturated load point."""
    return replace(figure, status=RowStatus.SATURATED, reason=SATURATED) if figure.is_latency else figure


def _place(target: Target) -> Place:
    experiment, model, point = target.experiment, target.model, target.load_point
    return Place(
        experiment=experiment.id,
        load_point=point.id,
        family=experiment.family,
        model=experiment.model,
        architecture=architecture_of(model),
        hardware=experiment.hardware,
        tensor_parallel=experiment.tensor_parallel,
        workload=experiment.workload.name,
        strategy=point.strategy,
        tool=experiment.tool,
        side=experiment.side_of(point.id),
        rate_per_s=point.rate_per_s,
    )
