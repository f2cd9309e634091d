"""One job of the run matrix: simulate an experiment at all its load points, as JSON lines.

An expected reason why a run cannot be done (a model outside the tables, say) becomes a row with a
status and that reason; anything unexpected fails the job. Nothing here decides what is good.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from roofline_lab.client_overhead import at_the_meter
from roofline_lab.config import Arrivals, Definition, Lengths, MeasuredDefinition
from roofline_lab.ground_truth.reading import Experiment
from roofline_lab.ground_truth.recorded_inputs import Recorded, RecordedLength
from roofline_lab.project import Project, Run, engine_options
from roofline_lab.scoring.under_load import load_record
from roofline_lab.vocabulary import Metric, RowStatus
from simulator.engine.loop import run as run_engine
from simulator.engine.records import Request, RunResult
from simulator.errors import UnsupportedError
from simulator.metrics import measure
from simulator.occupancy import occupancy
from simulator.request_times import MetricOptions, completed
from simulator.steptime.build import build_step_time
from simulator.steptime.observers import BranchObserver, PeakObserver
from simulator.steptime.options import ConstantMfuOptions, MfuRooflineOptions, StepTimeOptions
from simulator.workload.build import Workload

SHARED_GROUP = "shared"


def simulate(project: Project, run: Run) -> str:
    """Return one JSON line per load point of the run's experiment."""
    rows = [_row(project, run, point.id) for point in run.experiment.load_points]
    return "".join(json.dumps(row, sort_keys=True, allow_nan=False) + "\n" for row in rows)


def _row(project: Project, run: Run, load_point: str) -> dict[str, Any]:
    experiment = run.experiment
    identity = {
        "hypothesis": run.hypothesis,
        "method": run.method.id,
        "arm": run.arm.name,
        "experiment": experiment.id,
        "load_point": load_point,
        "workload": experiment.workload.name,
        "family": experiment.family,
        "model": experiment.model,
        "hardware": experiment.hardware,
        "tensor_parallel": experiment.tensor_parallel,
        "digest": run.digest,
    }
    try:
        return identity | _once(project, run, load_point)
    except UnsupportedError as error:
        return identity | {"status": RowStatus.UNSUPPORTED.value, "reason": str(error), "metrics": {}}


def _once(project: Project, run: Run, load_point: str) -> dict[str, Any]:
    """Simulate what no other hypothesis has: arms of one configuration give one result under one method."""
    as_measured = run.rules.workload.arrivals is Arrivals.AS_MEASURED
    key = (run.method.id, run.digest, run.experiment.id, load_point)
    known = project.outcomes.get(key)
    if known is None:
        known = project.outcomes[key] = (_replayed if as_measured else _simulated)(project, run, load_point)
    return known


def _simulated(project: Project, run: Run, load_point: str) -> dict[str, Any]:
    experiment = run.experiment
    hardware = project.hardware(experiment.hardware)
    model, tensor_parallel = project.model(experiment.model), experiment.tensor_parallel
    kernels = project.kernels(run.arm.steptime, experiment.hardware)
    step_time = build_step_time(run.arm.steptime, model, hardware, tensor_parallel, kernels)
    observer = PeakObserver(step_time)
    workload = workload_of(project, run, load_point)
    options = engine_options(run.arm, experiment, source=f"{run.hypothesis}/{run.arm.name}")
    result = run_engine(workload.requests, observer, options, concurrency=workload.concurrency)
    seen = at_the_meter(run.rules, experiment, load_point)
    return {
        "status": RowStatus.OK.value,
        "reason": "",
        "metrics": _metrics(run.rules.definitions, experiment, load_point, result, seen),
        "requests": len(workload.requests),
        "counters": dataclasses.asdict(result.counters),
        "occupancy": _occupancy(result, 0),
        "peak_shares": {"flops": observer.compute_share, "bytes": observer.bandwidth_share},
        "kernels": _kernels_in_words(run.arm.steptime),
    }


def _replayed(project: Project, run: Run, load_point: str) -> dict[str, Any]:
    """Simulate one load point as it was measured; what the load did is recorded beside the latencies."""
    experiment = run.experiment
    point = experiment.point(load_point)
    hardware = project.hardware(experiment.hardware)
    kernels = project.kernels(run.arm.steptime, experiment.hardware)
    model = project.model(experiment.model)
    observer = BranchObserver(build_step_time(run.arm.steptime, model, hardware, experiment.tensor_parallel, kernels))
    options = engine_options(run.arm, experiment, source=f"{run.hypothesis}/{run.arm.name}", as_stated=True)
    replay = experiment.replay(load_point, seed=project.settings.seeds.workload)
    result = run_engine(replay.workload.requests, observer, options, concurrency=replay.workload.concurrency)
    seen = at_the_meter(run.rules, experiment, load_point, skip_first=replay.warm_up)
    return {
        "status": RowStatus.OK.value,
        "reason": "",
        "metrics": _metrics(run.rules.definitions, experiment, load_point, result, seen),
        "requests": len(replay.workload.requests) - replay.warm_up,
        "counters": dataclasses.asdict(result.counters),
        "occupancy": _occupancy(result, replay.warm_up),
        "load": load_record(experiment, point, result, seen, observer.mixed),
        "kernels": _kernels_in_words(run.arm.steptime),
    }


def _occupancy(result: RunResult, skip_first: int) -> dict[str, float | None] | None:
    """Return what the requests that count saw of each other; None where none completed."""
    seen = occupancy(completed(result.requests[skip_first:]))
    return dataclasses.asdict(seen) if seen else None


def _kernels_in_words(options: StepTimeOptions) -> str:
    if not isinstance(options, MfuRooflineOptions):
        return f"none (step time of family {options.family})"
    if not options.compute_term:
        return "none (memory traffic alone)"
    if isinstance(options.mfu, ConstantMfuOptions):
        return f"constant MFU {options.mfu.prefill:g} (prefill) and {options.mfu.decode:g} (decode)"
    lookup = f", {options.mfu.policy} lookup" if options.mfu.source != "embedded" else ""
    return f"{options.mfu.source} H100 kernels ({options.mfu.style} style{lookup})"


def workload_of(project: Project, run: Run, load_point: str) -> Workload:
    """Return the requests of one run as its rules want them sent."""
    rule, experiment = run.rules.workload, run.experiment
    measured = experiment.completed_workload(load_point)
    if (rule.lengths, rule.arrivals) == (Lengths.REGENERATED, Arrivals.CLOSED_LOOP):
        return measured
    recorded = Recorded.load(project.root / "configs" / "methods" / (rule.recordings or run.method.id))
    requests = measured.requests
    if rule.lengths is Lengths.RECORDED:
        requests = _recorded_requests(recorded.lengths(experiment.workload.name))
    if rule.arrivals is Arrivals.CLOSED_LOOP:
        return _closed_loop(requests, measured, f"{experiment.id}, {load_point}")
    interval_us = recorded.interval_us(experiment.id)
    spaced = (replace(request, arrival_us=position * interval_us) for position, request in enumerate(requests))
    return Workload(requests=tuple(spaced), concurrency=None)


def _recorded_requests(lengths: Iterable[RecordedLength]) -> tuple[Request, ...]:
    return tuple(
        Request(
            id=str(length.index),
            arrival_us=0,
            prompt_tokens=length.prompt_tokens,
            output_tokens=length.output_tokens,
            prefix_group=SHARED_GROUP if length.shared_prefix_tokens else None,
            prefix_tokens=length.shared_prefix_tokens,
        )
        for length in lengths
    )


def _closed_loop(requests: tuple[Request, ...], measured: Workload, where: str) -> Workload:
    """Keep as many requests in flight as the client did."""
    if measured.concurrency is None:
        raise UnsupportedError(f"{where}: was not measured in a closed loop, so recorded lengths have no place in it")
    return replace(measured, requests=requests)


def _metrics(
    definitions: Mapping[Metric, Definition],
    experiment: Experiment,
    load_point: str,
    result: RunResult,
    options: MetricOptions,
) -> dict[str, Any]:
    return {
        metric.value: {
            "predicted": measure(definition.predicted, result.requests, options),
            **_measured(metric, definition, experiment, load_point),
        }
        for metric, definition in definitions.items()
    }


def _measured(metric: Metric, definition: Definition, experiment: Experiment, load_point: str) -> dict[str, Any]:
    figures = experiment.point(load_point).measured
    if definition.measured is MeasuredDefinition.ITL_FROM_MEANS and {"ttft_mean", "e2e_mean"} <= figures.keys():
        half_digit_ms = experiment.measured_itl_half_digit_ms(load_point)
        return {"measured": experiment.measured_itl_ms(load_point), "half_digit_ms": half_digit_ms}
    figure = figures.get(metric.value)
    if figure is None or definition.measured is MeasuredDefinition.ITL_FROM_MEANS:
        return {"measured": None, "half_digit_ms": 0.0}
    return {"measured": figure.value, "half_digit_ms": figure.half_digit}
