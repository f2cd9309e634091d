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
from workflow.lib.ground_truth import Experiment
from workflow.lib.laboratory import Laboratory, Run, engine_options
from workflow.lib.meter import at_the_meter
from workflow.lib.recorded import Recorded, RecordedLength
from workflow.lib.settings import Arrivals, Definition, Lengths, MeasuredDefinition
from workflow.lib.under_load import load_record
from workflow.lib.vocabulary import Metric, RowStatus

SHARED_GROUP = "shared"


def simulate(laboratory: Laboratory, run: Run) -> str:
    """Return one JSON line per load point of the run's experiment."""
    rows = [_row(laboratory, run, point.id) for point in run.experiment.load_points]
    return "".join(json.dumps(row, sort_keys=True, allow_nan=False) + "\n" for row in rows)


def _row(laboratory: Laboratory, run: Run, load_point: str) -> dict[str, Any]:
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
        return identity | _once(laboratory, run, load_point)
    except UnsupportedError as error:
        return identity | {"status": RowStatus.UNSUPPORTED.value, "reason": str(error), "metrics": {}}


def _once(laboratory: Laboratory, run: Run, load_point: str) -> dict[str, Any]:
    """Simulate what no other hypothesis has: arms of one configuration give one result under one method."""
    as_measured = run.rules.workload.arrivals is Arrivals.AS_MEASURED
    key = (run.method.id, run.digest, run.experiment.id, load_point)
    known = laboratory.outcomes.get(key)
    if known is None:
        known = laboratory.outcomes[key] = (_replayed if as_measured else _simulated)(laboratory, run, load_point)
    return known


def _simulated(laboratory: Laboratory, run: Run, load_point: str) -> dict[str, Any]:
    experiment = run.experiment
    hardware = laboratory.hardware(experiment.hardware)
    model, tensor_parallel = laboratory.model(experiment.model), experiment.tensor_parallel
    kernels = laboratory.kernels(run.arm.steptime, experiment.hardware)
    step_time = build_step_time(run.arm.steptime, model, hardware, tensor_parallel, kernels)
    observer = PeakObserver(step_time)
    workload = workload_of(laboratory, run, load_point)
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


def _replayed(laboratory: Laboratory, run: Run, load_point: str) -> dict[str, Any]:
    """Simulate one load point as it was measured; what the load did is recorded beside the latencies."""
    experiment = run.experiment
    point = experiment.point(load_point)
    hardware = laboratory.hardware(experiment.hardware)
    kernels = laboratory.kernels(run.arm.steptime, experiment.hardware)
    model = laboratory.model(experiment.model)
    observer = BranchObserver(build_step_time(run.arm.steptime, model, hardware, experiment.tensor_parallel, kernels))
    options = engine_options(run.arm, experiment, source=f"{run.hypothesis}/{run.arm.name}", as_stated=True)
    replay = experiment.replay(load_point, seed=laboratory.settings.seeds.workload)
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


def workload_of(laboratory: Laboratory, run: Run, load_point: str) -> Workload:
    """Return the requests of one run as its rules want them sent."""
    rule, experiment = run.rules.workload, run.experiment
    measured = experiment.completed_workload(load_point)
    if (rule.lengths, rule.arrivals) == (Lengths.REGENERATED, Arrivals.CLOSED_LOOP):
        return measured
    recorded = Recorded.load(laboratory.root / "configs" / "methods" / (rule.recordings or run.method.id))
    requests = measured.requests
    if rule.lengths is Lengths.RECORDED:
        requests = _recorded_requests(recorded.lengths(experiment.workload.name))
    if rule.arrivals is Arrivals.CLOSED_LOOP:
        return _closed_loop(requests, measured, f"{experiment.id}, {load_point}")
    interval_us = recorded.interval_us(experiment.id)
    spaced = (replace(one, arrival_us=position * interval_us) for position, one in enumerate(requests))
    return Workload(requests=tuple(spaced), concurrency=None)


def _recorded_requests(lengths: Iterable[RecordedLength]) -> tuple[Request, ...]:
    return tuple(
        Request(
            id=str(one.index),
            arrival_us=0,
            prompt_tokens=one.prompt_tokens,
            output_tokens=one.output_tokens,
            prefix_group=SHARED_GROUP if one.shared_prefix_tokens else None,
            prefix_tokens=one.shared_prefix_tokens,
        )
        for one in lengths
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
            "predicted": measure(one.predicted, result.requests, options),
            **_measured(metric, one, experiment, load_point),
        }
        for metric, one in definitions.items()
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
