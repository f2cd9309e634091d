"""Request traces beside other results: every request as it was sent, put where it belongs.

Contract: `with_traces` puts the requests of traces into an import whose load points they belong to, so that these are
replayed request by request. Reading them is `roofline_lab.ground_truth.requests`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth.quality import Flag
from roofline_lab.ground_truth.requests import OF_OTHER_TOOLS, MeasuredRequest, checked_requests, read_trace
from roofline_lab.importers.imported import SHARED_GROUP, Imported
from simulator.errors import ConfigError
from simulator.workload.prefixes import recognise_pool


def with_traces(imported: Imported, paths: Iterable[Path]) -> Imported:
    """Return the import with the requests of every trace at the load points they belong to.

    Raises
    ------
    ConfigError
        If a trace cannot be read, a stage has no load point, or another number of answered requests.
    """
    for path in paths:
        imported = _with_trace(imported, path, read_trace(path, OF_OTHER_TOOLS).requests)
    return imported


def _with_trace(imported: Imported, path: Path, sent: Sequence[MeasuredRequest]) -> Imported:
    source = str(path)
    by_stage: dict[int, list[MeasuredRequest]] = {}
    for request in _grouped(imported, sent):
        by_stage.setdefault(int(request.load_point), []).append(request)
    there = {request.load_point for request in imported.requests}
    points = {stage: _load_point(imported, source, stage) for stage in sorted(by_stage)}
    if all(point["id"] in there for point in points.values()):
        raise ConfigError(f"{source}: its requests are recorded already; leave one of the sources out")
    requests: list[MeasuredRequest] = []
    for stage, entries in sorted(by_stage.items()):
        point = points[stage]
        answered = sum(request.completed for request in entries)
        if answered != point["requests"]["completed"]:
            raise ConfigError(
                f"{source}: {answered} answered requests of stage {stage}, but load point '{point['id']}' has "
                f"{point['requests']['completed']}; are the files of one run?"
            )
        begin_us = entries[0].arrival_us
        requests += [
            replace(
                request,
                load_point=point["id"],
                arrival_us=request.arrival_us - begin_us,
                ttft_ms=request.ttft_ms if request.completed else None,
                e2e_ms=request.e2e_ms if request.completed else None,
            )
            for request in entries
        ]
    traced_points = {point["id"] for point in points.values()}
    kept = tuple(request for request in imported.requests if request.load_point not in traced_points)
    return replace(
        imported,
        requests=(*kept, *checked_requests(source, requests)),
        quality=tuple(flag for flag in imported.quality if flag.flag is not Flag.LENGTHS_UNKNOWN),
        conversions=(*imported.conversions, f"Requests of {path.name} are replayed one by one."),
        document=f"{imported.document}; trace {path.name}",
        source=f"{imported.source} and {source}" if imported.source else source,
    )


def _grouped(imported: Imported, sent: Sequence[MeasuredRequest]) -> list[MeasuredRequest]:
    """Return the requests with what they share with others, as the workload says."""
    prefix = imported.workload["prefix"]
    if prefix["kind"] == "shared":
        shared = prefix["tokens"]
        return [
            replace(request, prefix_group=SHARED_GROUP, prefix_tokens=min(shared, request.prompt_tokens))
            for request in sent
        ]
    if "prompts" not in prefix:
        return list(sent)
    pool = recognise_pool(prefix["prompts"], [request.prompt_tokens for request in sent])
    return [
        replace(request, prefix_group=prompt.prefix_group, prefix_tokens=prompt.prefix_tokens)
        for request, prompt in zip(sent, pool, strict=True)
    ]


def _load_point(imported: Imported, source: str, stage: int) -> Mapping[str, Any]:
    points = {point.get("benchmark_index", index): point for index, point in enumerate(imported.load_points)}
    if stage not in points:
        raise ConfigError(f"{source}: stage {stage} has no load point; there are stages {', '.join(map(str, points))}")
    return points[stage]
