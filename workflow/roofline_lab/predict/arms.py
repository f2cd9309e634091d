"""Arms of hypotheses: what is simulated of a run of the matrix, and every load point as a row.

An expected reason why a load point cannot be simulated (a model outside the tables, say) becomes a row with a
status and that reason; anything unexpected fails the job. Nothing here decides what is good.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from roofline_lab.client_overhead import client_time
from roofline_lab.config import Arrivals, Definition, Limits, MeasuredDefinition
from roofline_lab.ground_truth.assumed_server import served
from roofline_lab.ground_truth.experiment import Experiment, Replay
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.requests import MeasuredRequest
from roofline_lab.load_point import Prediction, Setup, Target, measured_server, replay_by_rule, simulate
from roofline_lab.places import place_of
from roofline_lab.project import Project, Run, engine_options
from roofline_lab.scoring.comparison import noise_pct
from roofline_lab.scoring.under_load import (
    NO_REQUESTS,
    NONE_WITHIN,
    NOT_COMPARABLE,
    distances_of,
    goodput_of,
    prediction_of,
    strategy_of,
)
from roofline_lab.vocabulary import Metric, RowStatus
from simulator.errors import UnsupportedError
from simulator.steptime.build import build_step_time
from simulator.steptime.observers import BranchObserver, PeakObserver
from simulator.steptime.options import ConstantMfuOptions, MfuRooflineOptions, StepTimeOptions

Setting = Callable[[Project, Run], Setup]
# Ends of the intervals of a prediction in ms, by figure of a row.
Intervals = Callable[[Project, Run, Target, Prediction, dict[str, Any]], dict[str, tuple[float, float]]]


def rows_of(
    project: Project, run: Run, setting: Setting | None = None, intervals: Intervals | None = None
) -> list[dict[str, Any]]:
    """Return one row per load point of the run's experiment.

    Parameters
    ----------
    setting
        What says how a run is set up; by default the options of its arm do.
    intervals
        What says how far predictions under load may be off; by default nobody does.
    """
    return [
        _row(project, run, point, setting or setup_of, intervals or (lambda *of: {}))
        for point in run.experiment.load_points
    ]


def run_lines(project: Project, run: Run) -> str:
    """Return the same rows as JSON lines."""
    return "".join(json.dumps(row, sort_keys=True, allow_nan=False) + "\n" for row in rows_of(project, run))


def identity_of(run: Run, point: LoadPoint) -> dict[str, Any]:
    """Return what every row of a load point says of itself, whoever predicts it."""
    experiment = run.experiment
    return {
        "hypothesis": run.hypothesis,
        "method": run.method.id,
        "arm": run.arm.name,
        "experiment": experiment.id,
        "load_point": point.id,
        "workload": experiment.workload.name,
        "family": experiment.family,
        "model": experiment.model,
        "hardware": experiment.hardware,
        "tensor_parallel": experiment.tensor_parallel,
        "digest": run.digest,
    }


def _row(project: Project, run: Run, point: LoadPoint, setting: Setting, intervals: Intervals) -> dict[str, Any]:
    identity, experiment = identity_of(run, point), run.experiment
    # Arms of one configuration give one result under one method, whichever hypothesis they are of.
    key = (run.method.id, run.digest, experiment.id, point.id)
    try:
        if key not in project.outcomes:
            project.outcomes[key] = _outcome(project, run, point, setting(project, run), intervals)
        return identity | project.outcomes[key]
    except UnsupportedError as error:
        return identity | {"status": RowStatus.UNSUPPORTED.value, "reason": str(error), **_unanswered(run, point)}


def _unanswered(run: Run, point: LoadPoint) -> dict[str, Any]:
    """Return what a row without prediction holds where its load point is replayed: what was measured all the same."""
    if run.arm.simulator.is_builtin:
        return {"metrics": {}}
    metrics = {
        metric.value: {"predicted": None, **measured(metric, definition, run, point)}
        for metric, definition in run.rules.definitions.items()
    }
    found: dict[str, Any] = {"metrics": metrics, "simulator": run.arm.simulator.name}
    if run.rules.workload.arrivals is Arrivals.AS_MEASURED:
        found["load"] = load_of(point, None, figures_of(run.experiment, point, lambda name: None))
    return found


def _outcome(project: Project, run: Run, point: LoadPoint, setup: Setup, intervals: Intervals) -> dict[str, Any]:
    if run.rules.workload.arrivals is Arrivals.AS_MEASURED:
        prediction, found = _as_measured(project, run, point, setup, intervals)
    else:
        prediction, found = _by_rule(project, run, point, setup)
    seen = prediction.occupancy
    metrics = {
        metric.value: {
            "predicted": prediction.value(definition.predicted),
            **measured(metric, definition, run, point),
            **_incomparable(metric, run),
        }
        for metric, definition in run.rules.definitions.items()
    }
    return {
        "status": RowStatus.OK.value,
        "reason": "",
        "metrics": metrics,
        "occupancy": dataclasses.asdict(seen) if seen else None,
        "kernels": _kernels_in_words(setup.options),
        **(_steps(prediction) if run.arm.simulator.is_builtin else {"simulator": run.arm.simulator.name}),
    } | found


def _incomparable(metric: Metric, run: Run) -> dict[str, str]:
    """Return why a metric has no error where one phase was sent alone; nothing where it has one."""
    workload = run.rules.workload
    if workload.compares(metric):
        return {}
    sent = workload.lengths.value.replace("_", " ")
    return {"status": RowStatus.NOT_COMPARABLE.value, "reason": f"only requests of {sent} were sent"}


def _steps(prediction: Prediction) -> dict[str, Any]:
    return {"requests": prediction.requests, "counters": dataclasses.asdict(prediction.counters)}


def target_of(project: Project, experiment: Experiment, point: LoadPoint) -> Target:
    """Return a load point of the project with the model and the GPU it names."""
    hardware = project.hardware(experiment.hardware)
    model = served(experiment, project.model(experiment.model), hardware)
    return Target(experiment, point, model, hardware, project.settings.arrivals)


def setup_of(project: Project, run: Run) -> Setup:
    """Return what an arm says of one experiment: its step time, and the server as its rules take it.

    Where load points are repeated as measured, every setting of the server counts; else only those that matter to one
    request at a time.
    """
    experiment, options, source = run.experiment, run.arm.steptime, f"{run.hypothesis}/{run.arm.name}"
    hardware = project.hardware(experiment.hardware)
    model = served(experiment, project.model(experiment.model), hardware)
    kernels = project.kernels(options, hardware)
    if run.rules.workload.arrivals is Arrivals.AS_MEASURED:
        engine = measured_server(experiment, model, hardware, run.arm.engine, source)
    else:
        engine = engine_options(run.arm, experiment, source)
    step_time = build_step_time(options, model, hardware, experiment.parallelism, kernels)
    return Setup(options, step_time, engine, client_time(run.rules.client, experiment))


def replay_of(project: Project, run: Run, load_point: str) -> Replay:
    """Return the requests of a run whose rules do not repeat the load point as it was measured."""
    rule = run.rules.workload
    recordings = place_of(project.root, f"configs/methods/{rule.recordings or run.method.id}")
    return replay_by_rule(run.experiment, load_point, rule, recordings)


def _by_rule(project: Project, run: Run, point: LoadPoint, setup: Setup) -> tuple[Prediction, dict[str, Any]]:
    """Simulate requests as the rules of the run want them sent, and say how close steps come to the peaks."""
    observer = PeakObserver(setup.step_time)
    replay = replay_of(project, run, point.id)
    prediction = simulate(target_of(project, run.experiment, point), setup, [replay], observer)
    return prediction, {"peak_shares": {"flops": observer.compute_share, "bytes": observer.bandwidth_share}}


def _as_measured(
    project: Project, run: Run, point: LoadPoint, setup: Setup, intervals: Intervals
) -> tuple[Prediction, dict[str, Any]]:
    """Simulate one load point as it was measured; what the load did is recorded beside the latencies."""
    # Who is compared as a simulator is told by its answers; looking at every step takes longer than the steps.
    observer = BranchObserver(setup.step_time) if run.arm.simulator.is_builtin else None
    target = target_of(project, run.experiment, point)
    prediction = simulate(target, setup, observer=observer)
    recorded = run.experiment.measured_requests(point.id)
    figures = figures_of(run.experiment, point, prediction.value) | _goodput(run.rules.limits, recorded, prediction)
    load = load_of(point, prediction.saturated, figures) | {
        "branches": dict(sorted(observer.mixed.items())) if observer else {},
        "distances": distances_of(recorded, prediction.completed, prediction.seen),
        "intervals": intervals(project, run, target, prediction, figures),
    }
    return prediction, {"load": load}


def load_of(point: LoadPoint, saturated: bool | None, figures: dict[str, Any]) -> dict[str, Any]:
    """Return what the load of a replayed load point was, and its figures on both sides.

    Parameters
    ----------
    saturated
        Whether a queue grows in the prediction; None where nobody says.
    """
    return {
        "strategy": strategy_of(point),
        "requested_per_s": point.rate.requested_per_s if point.rate else None,
        "achieved_per_s": _achieved(point),
        "saturated": {"measured": point.saturated, "predicted": saturated},
        "branches": {},
        "figures": figures,
        "intervals": {},
        "distances": {},
    }


def _achieved(point: LoadPoint) -> float | None:
    completed_per_s = point.measured.get("request_throughput")
    if completed_per_s is not None:
        return completed_per_s.value
    return point.rate.achieved_per_s if point.rate else None


def figures_of(experiment: Experiment, point: LoadPoint, predicted: Callable[[str], float | None]) -> dict[str, Any]:
    """Return every measured figure beside the prediction of the same definition, or why there is none."""
    found = {}
    for name, figure in point.measured.items():
        definition = prediction_of(name, figure.definition)
        value = None if definition is None else predicted(definition)
        found[name] = {
            "measured": figure.value,
            "predicted": value,
            "unit": figure.unit,
            "reason": NOT_COMPARABLE if value is None else "",
            **_noise(experiment, name),
        }
    return found


def _goodput(
    limits: Limits | None, recorded: Sequence[MeasuredRequest], prediction: Prediction
) -> dict[str, dict[str, Any]]:
    """Return goodput on both sides, counted over single requests within the limits; nothing without limits."""
    if limits is None:
        return {}
    measured = goodput_of(recorded, limits)
    reason = NO_REQUESTS if measured is None else "" if measured else NONE_WITHIN
    figure = {"measured": measured or None, "predicted": prediction.goodput(limits), "unit": Metric.GOODPUT.unit}
    return {Metric.GOODPUT.value: figure | {"reason": reason}}


def _noise(experiment: Experiment, metric: str) -> dict[str, float]:
    """Return the scatter of one measurement as a row holds it, empty where nobody knows it."""
    scatter_pct = noise_pct(experiment, metric)
    return {} if scatter_pct is None else {"noise_pct": scatter_pct}


def _kernels_in_words(options: StepTimeOptions) -> str:
    if not isinstance(options, MfuRooflineOptions):
        return f"none (step time of family {options.family})"
    if not options.compute_term:
        return "none (memory traffic alone)"
    if isinstance(options.mfu, ConstantMfuOptions):
        return f"constant MFU {options.mfu.prefill:g} (prefill) and {options.mfu.decode:g} (decode)"
    lookup = f", {options.mfu.policy} lookup" if options.mfu.source != "embedded" else ""
    return f"{options.mfu.source} H100 kernels ({options.mfu.style} style{lookup})"


def measured(metric: Metric, definition: Definition, run: Run, point: LoadPoint) -> dict[str, Any]:
    """Return the measured side of a metric, as the rules of a run define it; None where it was not measured."""
    return _measured(metric, definition, run, point) | _noise(run.experiment, metric.value)


def _measured(metric: Metric, definition: Definition, run: Run, point: LoadPoint) -> dict[str, Any]:
    figures = point.measured
    if definition.measured is MeasuredDefinition.ITL_FROM_MEANS and {"ttft_mean", "e2e_mean"} <= figures.keys():
        half_digit_ms = run.experiment.measured_itl_half_digit_ms(point.id)
        return {"measured": run.experiment.measured_itl_ms(point.id), "half_digit_ms": half_digit_ms}
    figure = figures.get(metric.value)
    if figure is None or definition.measured is MeasuredDefinition.ITL_FROM_MEANS:
        return {"measured": None, "half_digit_ms": 0.0}
    return {"measured": figure.value, "half_digit_ms": figure.half_digit}


# --- one experiment by one arm, at the values of its sweeps if it has some ---------------------------


VALUES = "swept_values"


@dataclass(frozen=True, slots=True)
class Simulation:
    """One experiment, simulated at all its load points.

    Attributes
    ----------
    values
        What swept options of the arm are set to, (option, value) pairs; empty where no sweep sets one.
    """

    hypothesis: str
    method: str
    arm: str
    experiment: str
    values: tuple[tuple[str, float], ...] = ()


def run_of(project: Project, wanted: Simulation) -> Run:
    """Return the method, arm and experiment of a simulation, the arm with its values.

    Raises
    ------
    ConfigError
        If the matrix has no such run, or the option cannot take the value.
    """
    run = project.run(wanted.hypothesis, wanted.method, wanted.arm, wanted.experiment)
    if not wanted.values:
        return run
    arm, digest = project.swept_arm(wanted.hypothesis, wanted.method, wanted.arm, dict(wanted.values))
    return replace(run, arm=arm, digest=digest)


def simulated(project: Project, wanted: Simulation) -> list[dict[str, Any]]:
    """Return one row per load point of a simulation's experiment."""
    return rows_of(project, run_of(project, wanted))


def row_lines(wanted: Simulation, rows: Sequence[dict[str, Any]], made_from: str) -> str:
    """Return rows as JSON lines in the name of the arm that asked, as another of the same options may have been run.

    Parameters
    ----------
    made_from
        Digest of code and data behind the rows; with their configuration it tells whether they still stand.
    """
    own: dict[str, Any] = {"hypothesis": wanted.hypothesis, "arm": wanted.arm, "made_from": made_from}
    if wanted.values:
        own[VALUES] = dict(wanted.values)
    return "".join(json.dumps({**row, **own}, sort_keys=True, allow_nan=False) + "\n" for row in rows)
