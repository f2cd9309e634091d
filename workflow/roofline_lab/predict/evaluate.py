"""One experiment at all its load points, under every predictor.

Contract: `evaluate_experiment` is pure; the same task gives the same results in any process. All
requests of a load point are simulated. Measured figures play no part in a prediction. What cannot
be simulated is a result with a reason; only a bug raises.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from roofline_lab.ground_truth import measurement_lint as lint
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.predict.coverage import architecture_of
from roofline_lab.predict.metrics import THROUGHPUT, Wanted, mean_figure, wanted_figures
from roofline_lab.predict.predictors import Note, Predictor
from roofline_lab.predict.records import HEADLINE, Figure, Place, PointResult, Status
from roofline_lab.predict.servers import require_room
from roofline_lab.residuals.build import priced_by, residual_of
from roofline_lab.residuals.record import Figure as ResidualFigure
from roofline_lab.residuals.record import Residual
from roofline_lab.run_files import SATURATED
from roofline_lab.scoring.under_load import distances_of, grows_queue
from simulator.engine.loop import run as run_engine
from simulator.engine.options import EngineOptions
from simulator.engine.records import RequestResult, RunCounters
from simulator.errors import RooflineLabError
from simulator.hardware import Hardware
from simulator.model import Model, require_runnable
from simulator.occupancy import occupancy
from simulator.request_times import completed
from simulator.steptime.build import BuiltStepTime
from simulator.workload.arrivals import GammaGaps, Poisson

ONLY_PREDICTED_SATURATED = "saturated in the simulation alone"
# A prediction is averaged over sequences of arrivals where these are random and were not recorded: as many as make
# up this number of requests, within a limit. From seed to seed, the mean inter-token time of 1,200 requests with
# long answers has a standard deviation of 0.8 %, that of several thousand requests less than 0.1 %.
DRAWN_REQUESTS = 6000
MAX_DRAWS = 5


@dataclass(frozen=True, slots=True)
class Task:
    """What one job needs: an experiment, what it names, and who predicts it.

    Attributes
    ----------
    seed
        Of random arrivals that were not recorded.
    notes
        What had to be assumed about the server.
    """

    experiment: Experiment
    model: Model
    hardware: Hardware
    predictors: tuple[Predictor, ...]
    seed: int
    notes: tuple[Note, ...] = ()


def evaluate_experiment(task: Task) -> tuple[PointResult, ...]:
    """Return every load point under every predictor, load points in the experiment's order."""
    return tuple(
        _point_result(task, point, predictor) for point in task.experiment.load_points for predictor in task.predictors
    )


def _point_result(task: Task, point: LoadPoint, predictor: Predictor) -> PointResult:
    experiment, model = task.experiment, task.model
    empty = PointResult(
        place=_place(task, point),
        predictor=predictor.name,
        standing=predictor.standing(experiment, model),
        status=Status.UNSUPPORTED,
        reason="",
        figures=(),
        quality=tuple(dict.fromkeys(flag.flag.value for flag in experiment.flags_of(point.id))),
        saturated_measured=saturated(experiment, point),
        seen_as=predictor.seen_as(experiment, model),
        requests=point.requests.sent,
    )
    wanted: tuple[Wanted, ...] = ()
    try:
        wanted = wanted_figures(experiment, point)
        require_runnable(model, experiment.tensor_parallel)
        require_room(experiment, model, task.hardware)
        return _simulated(task, point, predictor, wanted, empty)
    except RooflineLabError as error:
        figures = tuple(one.without(Status.UNSUPPORTED, str(error)) for one in wanted)
        return replace(empty, reason=str(error), figures=figures)


def _simulated(
    task: Task, point: LoadPoint, predictor: Predictor, wanted: tuple[Wanted, ...], empty: PointResult
) -> PointResult:
    experiment = task.experiment
    server = predictor.server(experiment)
    step_time = predictor.step_time(experiment, task.model, task.hardware, server)
    seen = predictor.client(experiment, task.model, point.id)
    draws = [_run(task, point, step_time, server, seed) for seed in _seeds(task, point)]
    figures = tuple(mean_figure([one.against(results, seen) for results, _ in draws]) for one in wanted)
    results, counters = draws[0]
    done = completed(results)
    beyond = empty.saturated_measured is True
    found = replace(
        empty,
        status=Status.SATURATED if beyond else Status.OK,
        reason=SATURATED if beyond else "",
        figures=tuple(map(_unjudged, figures)) if beyond else figures,
        notes=(*predictor.notes(experiment, task.model, task.hardware), *task.notes),
        saturated_predicted=2 * sum(grows_queue(completed(draw), seen) for draw, _ in draws) > len(draws),
        requests=len(results),
        completed=len(done),
        distances={} if beyond else distances_of(experiment.measured_requests(point.id), done, seen),
    )
    if beyond:
        return found
    priced = priced_by(predictor.options(experiment, task.model, server), task.model)
    return replace(found, residual=_residual(task, point, found, done, counters, priced))


def _run(
    task: Task, point: LoadPoint, step_time: BuiltStepTime, server: EngineOptions, seed: int
) -> tuple[Sequence[RequestResult], RunCounters]:
    """Return what became of the measured requests, those that only warm the cache left out."""
    replay = task.experiment.replay(point.id, seed)
    run = run_engine(replay.workload.requests, step_time, server, concurrency=replay.workload.concurrency)
    return run.requests[replay.warm_up :], run.counters


def _seeds(task: Task, point: LoadPoint) -> tuple[int, ...]:
    """Return one seed per sequence of arrivals: several where arrivals are random and were not recorded."""
    random = isinstance(point.arrivals, Poisson | GammaGaps) and not task.experiment.measured_requests(point.id)
    draws = min(MAX_DRAWS, math.ceil(DRAWN_REQUESTS / point.requests.sent)) if random else 1
    return tuple(range(task.seed, task.seed + draws))


def _residual(
    task: Task,
    point: LoadPoint,
    result: PointResult,
    done: Sequence[RequestResult],
    counters: RunCounters,
    priced: Mapping[str, float],
) -> Residual:
    """Return the errors of the means with what they may go with, for the residual analysis."""
    figures = {
        name: residual_figure_of(result.figure(metric), ONLY_PREDICTED_SATURATED if result.falsely_saturated else "")
        for name, metric in zip(("ttft", "itl", "e2e"), HEADLINE, strict=True)
    }
    return residual_of(
        experiment=task.experiment.id,
        load_point=point.id,
        family=result.family,
        model=task.model,
        hardware=task.hardware,
        tensor_parallel=task.experiment.tensor_parallel,
        occupancy=occupancy(done),
        figures=figures,
        rate_per_s=point.rate_per_s,
        mixed_share=counters.mixed_steps / counters.steps if counters.steps else None,
        prefill_steps=(counters.prefill_steps + counters.mixed_steps) / len(done) if done else None,
        priced=priced,
    )


def residual_figure_of(figure: Figure | None, refusal: str = "") -> ResidualFigure:
    """Return a figure as the residual analysis takes it; `refusal` says why none of its load point has a residual."""
    if figure is None:
        return ResidualFigure(None, None, "not measured")
    reason = "" if figure.status is Status.OK else figure.reason or figure.status.value
    return ResidualFigure(figure.measured, figure.predicted, refusal or reason)


def saturated(experiment: Experiment, point: LoadPoint) -> bool | None:
    """Return whether the server kept up: as stated, else as the figures or the recorded requests show; None if neither.

    Sources: the checks of `roofline_lab.ground_truth.measurement_lint` that importers use.
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


def _unjudged(figure: Figure) -> Figure:
    """Take the error from a latency of a saturated load point."""
    return replace(figure, status=Status.SATURATED, reason=SATURATED) if figure.is_latency else figure


def _place(task: Task, point: LoadPoint) -> Place:
    experiment, model = task.experiment, task.model
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
