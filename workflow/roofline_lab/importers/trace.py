"""Request traces beside other results: every request as it was sent, put where it belongs.

Contract: `with_traces` puts the requests of traces into a measurement whose load points they belong to, so that these
are replayed request by request. Reading them is `roofline_lab.ground_truth.requests`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.published_traces import read_any_trace
from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import OF_OTHER_TOOLS, MeasuredRequest, checked_requests
from roofline_lab.importers.common import Measurement
from simulator.errors import ConfigError
from simulator.workload.prefixes import Prompt, PromptPool, SharedPrefix, recognise_pool


def with_traces(found: Measurement, paths: Iterable[Path]) -> Measurement:
    """Return a measurement with the requests of every trace at the load points they belong to.

    Raises
    ------
    ConfigError
        If a trace cannot be read, a stage has no load point, or another number of answered requests.
    """
    for path in paths:
        trace = read_any_trace(path, OF_OTHER_TOOLS)
        experiment = _with_trace(found.experiment, path, trace.requests)
        whose = f", a {trace.published}," if trace.published else ""
        sentence = f"Requests of {path.name}{whose} are replayed one by one."
        found = replace(
            found,
            experiment=experiment,
            conversions=(*found.conversions, sentence, *(f"{path.name}: {note}." for note in trace.notes)),
            source=f"{found.source} and {path}",
        )
    return found


def _with_trace(experiment: Experiment, path: Path, sent: Sequence[MeasuredRequest]) -> Experiment:
    by_stage: dict[int, list[MeasuredRequest]] = {}
    for request in grouped(experiment, sent):
        by_stage.setdefault(int(request.load_point), []).append(request)
    points = _load_points(experiment, path, sorted(by_stage))
    recorded = experiment.recorded()
    if {point.id for point in points.values()} <= {request.load_point for request in recorded}:
        raise ConfigError(f"{path}: its requests are recorded already; leave one of the sources out")
    requests: list[MeasuredRequest] = []
    for stage, point in points.items():
        answered = sum(request.completed for request in by_stage[stage])
        if answered != point.requests.completed:
            raise ConfigError(
                f"{path}: {answered} answered requests of stage {stage}, but load point '{point.id}' has "
                f"{point.requests.completed}; are the files of one run?"
            )
        requests += _at_load_point(by_stage[stage], point)
    traced = {point.id for point in points.values()}
    kept = [request for request in recorded if request.load_point not in traced]
    source = experiment.source
    return experiment.model_copy(
        update={
            "source": source.model_copy(update={"document": f"{source.document}; trace {path.name}"}),
            "quality": tuple(flag for flag in experiment.quality if flag.flag is not Flag.LENGTHS_UNKNOWN),
        }
    ).with_requests((*kept, *checked_requests(str(path), requests)))


def _at_load_point(requests: Sequence[MeasuredRequest], point: LoadPoint) -> list[MeasuredRequest]:
    """Return the requests of one stage on the clock of its load point."""
    return [
        replace(
            request,
            load_point=point.id,
            arrival_us=request.arrival_us - requests[0].arrival_us,
            ttft_ms=request.ttft_ms if request.completed else None,
            e2e_ms=request.e2e_ms if request.completed else None,
        )
        for request in requests
    ]


def grouped(experiment: Experiment, sent: Sequence[MeasuredRequest]) -> list[MeasuredRequest]:
    """Return the requests with what they share with others, as the workload says."""
    match experiment.workload.prefix:
        case SharedPrefix() as shared:
            prompts = [
                Prompt(request.prompt_tokens, shared.group_of(place), min(shared.tokens, request.prompt_tokens))
                for place, request in enumerate(sent)
            ]
        case PromptPool() as pool:
            prompts = recognise_pool(pool, [request.prompt_tokens for request in sent])
        case _:
            return list(sent)
    return [
        replace(
            request,
            prefix_group=prompt.prefix_group,
            prefix_tokens=prompt.prefix_tokens,
            outer_group=prompt.outer_group,
            outer_tokens=prompt.outer_tokens,
        )
        for request, prompt in zip(sent, prompts, strict=True)
    ]


def _load_points(experiment: Experiment, path: Path, stages: Sequence[int]) -> dict[int, LoadPoint]:
    """Return the load point of every stage; those of a source without positions are numbered in order."""
    points = {
        point.benchmark_index if "benchmark_index" in point.model_fields_set else position: point
        for position, point in enumerate(experiment.load_points)
    }
    for stage in stages:
        if stage not in points:
            there = ", ".join(map(str, points))
            raise ConfigError(f"{path}: stage {stage} has no load point; there are stages {there}")
    return {stage: points[stage] for stage in stages}
