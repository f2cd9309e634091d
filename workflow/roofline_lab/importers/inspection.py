"""What measurements show by themselves: their figures, and every pitfall found in them.

Contract: `inspect` recognises what a path holds by its content - results of a tool, a request trace, a table of runs,
an experiment of a project - and returns one `Inspection` per run. It writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from roofline_lab.ground_truth import lint
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.experiment_lint import seen_in, unflagged
from roofline_lab.ground_truth.json_stream import READ_ERRORS
from roofline_lab.ground_truth.published_traces import published_format, read_any_trace
from roofline_lab.ground_truth.quality import Finding, Flag, QualityFlag
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE, load_experiment
from roofline_lab.ground_truth.requests import (
    LOOKED_AT,
    REQUESTS_KEY,
    MeasuredRequest,
    Trace,
)
from roofline_lab.importers import table
from roofline_lab.importers.closed_loop_table import MARKS as CLOSED_LOOP_COLUMNS
from roofline_lab.importers.common import MS_PER_S, US_PER_S, BothSides, Measurement, statistics_of
from roofline_lab.importers.tools import at_the_top, read_results, tool_of, tools
from roofline_lab.importers.unread import refuse_unread
from simulator.errors import ConfigError
from simulator.input_files import unreadable

CSV = (".csv", ".csv.gz")
EXPERIMENT, TABLE, TRACE = "experiment", "table", "trace"

# Flags that only a person, or the absence of a statement, brings up.
STATED = (Flag.USED_FOR_FITTING, Flag.SETTING_ASSUMED, Flag.LENGTHS_UNKNOWN)


@dataclass(frozen=True, slots=True)
class Point:
    """One load point: counts (None where nobody says), and metrics in ms by name; what was not measured is absent."""

    id: str
    sent: int
    completed: int
    metrics: Mapping[str, float]
    failed: int | None = None
    cancelled: int | None = None
    without_output: int | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one run shows.

    Attributes
    ----------
    title
        What was looked at, in words.
    points
        Its load points.
    found
        Pitfalls, by the vocabulary of quality flags.
    conversions
        What importing converts.
    both_sides
        Requests that client and server recorded.
    """

    title: str
    points: tuple[Point, ...]
    found: tuple[QualityFlag, ...]
    conversions: tuple[str, ...] = ()
    both_sides: tuple[BothSides, ...] = ()

    @property
    def not_found(self) -> tuple[Flag, ...]:
        """Pitfalls that were looked for without result: absent, or the numbers are too few to tell."""
        there = {flag.flag for flag in self.found}
        return tuple(flag for flag in Flag if flag not in there and flag not in STATED)


def inspect(path: Path) -> Iterator[Inspection]:
    """Yield what each run of a path shows.

    Raises
    ------
    ConfigError
        If the path holds nothing that is known, or it cannot be read.
    """
    kind = kind_of(path)
    if kind == EXPERIMENT:
        yield of_experiment(load_experiment((path.parent if path.is_file() else path).absolute()))
    elif kind == TRACE:
        yield of_trace(read_any_trace(path, LOOKED_AT))
    elif kind == TABLE:
        # The year of an id without one decides nothing here.
        read = table.read(path, year=1)
        for name, found in read.found.items():
            yield of_measurement(f"{name} of {path.name}", found)
        for refused in read.refused:
            yield Inspection(f"{refused.name} of {path.name}: refused: {refused.reason}", (), ())
    else:
        found = read_results(kind, path)
        yield of_measurement(found.experiment.source.document, found)


def kind_of(path: Path) -> str:
    """Say what a path holds: a tool, or one of the constants of this module.

    Raises
    ------
    ConfigError
        If nothing known.
    """
    try:
        if (path / EXPERIMENT_FILE).is_file() or (path.name == EXPERIMENT_FILE and path.is_file()):
            return EXPERIMENT
        kind = None if path.is_dir() else _told_by_columns(path)
        kind = kind or tool_of(path) or (None if path.is_dir() else _other_kind(path))
    except ConfigError:
        refuse_unread(path, tools())
        raise
    except READ_ERRORS as error:
        raise unreadable(path, error) from None
    if kind is None or kind == TRACE:
        refuse_unread(path, tools())
    if kind is None:
        raise ConfigError(
            f"{path}: nothing that is known; give results of {', '.join(tools())}, a request trace, a table of runs, "
            "or an experiment of ground_truth"
        )
    return kind


def _told_by_columns(path: Path) -> str | None:
    """Say of a file whether its columns together are those of a table of runs, or of a published trace."""
    if path.name.endswith(CSV):
        keys = {key for key, _ in at_the_top(path)}
        if keys >= {"experiment_id", "is_summary"} or keys >= CLOSED_LOOP_COLUMNS:
            return TABLE
    return None if published_format(path) is None else TRACE


def _other_kind(path: Path) -> str | None:
    if path.name.endswith(CSV):
        return TRACE
    return TRACE if REQUESTS_KEY in {key for key, _ in at_the_top(path)} else None


def of_measurement(title: str, found: Measurement) -> Inspection:
    """Return what results show, before any name of a project is given to them."""
    shown = of_experiment(found.experiment)
    return replace(shown, title=title, conversions=found.conversions, both_sides=found.both_sides)


def of_experiment(experiment: Experiment) -> Inspection:
    """Return what an experiment shows and says."""
    seen = unflagged(experiment, seen_in(experiment))
    points = [
        Point(
            point.id,
            point.requests.sent,
            point.requests.completed,
            {name: metric.value for name, metric in point.measured.items()},
            point.requests.failed,
            point.requests.cancelled,
            point.requests.without_output,
        )
        for point in experiment.load_points
    ]
    title = f"{experiment.id}: {experiment.model} on {experiment.hardware}, measured by {experiment.tool}"
    return Inspection(title, tuple(points), (*experiment.quality, *seen))


def of_trace(trace: Trace) -> Inspection:
    """Return what a request trace shows."""
    stages: dict[str, list[int]] = {}
    for position, request in enumerate(trace.requests):
        stages.setdefault(request.load_point, []).append(position)
    found = list(_flags((), [lint.prompts_repeat([request.prompt_tokens for request in trace.requests])]))
    points, spans = [], []
    for stage, positions in stages.items():
        requests = [trace.requests[position] for position in positions]
        name = f"stage_{stage}"
        found += _flags((name,), _of_stage(requests, [trace.client_tokens[position] for position in positions]))
        ends = [request.arrival_us + (request.e2e_ms or 0.0) * US_PER_S / MS_PER_S for request in requests]
        spans.append((requests[0].arrival_us / US_PER_S, max(ends) / US_PER_S))
        points.append(_traced_point(name, requests))
    found += _flags((), [lint.stages_overlap(spans)])
    kind = trace.published or "trace"
    title = f"{trace.path.name}: {kind} of {len(trace.requests)} requests"
    return Inspection(title, tuple(points), tuple(found), trace.notes)


def _of_stage(requests: Sequence[MeasuredRequest], client_tokens: Sequence[int | None]) -> Iterable[Finding | None]:
    done = [(request, tokens) for request, tokens in zip(requests, client_tokens, strict=True) if request.completed]
    ttft = [request.ttft_ms for request, _ in done if request.ttft_ms is not None]
    timed = [(request.output_tokens, tokens, request.e2e_ms) for request, tokens in done if request.e2e_ms is not None]
    counted = [(tokens, e2e) for _, tokens, e2e in timed if tokens is not None]
    return (
        lint.constant_is_poisson([request.arrival_us for request in requests]),
        lint.cold_start(ttft),
        lint.queue_grows(ttft),
        lint.too_many_failed(sent=len(requests), failed=len(requests) - len(done)),
        lint.lengths_unrelated_to_time([tokens for tokens, _, _ in timed], [e2e for _, _, e2e in timed]),
        lint.lengths_unrelated_to_time([tokens for tokens, _ in counted], [e2e for _, e2e in counted]),
    )


def _flags(points: Sequence[str], findings: Iterable[Finding | None]) -> Iterator[QualityFlag]:
    for finding in findings:
        if finding is not None:
            yield finding.quality("noted", points)


def _traced_point(name: str, requests: Sequence[MeasuredRequest]) -> Point:
    done = [request for request in requests if request.completed]
    metrics = {
        key: value
        for metric in ("ttft", "e2e", "tpot")
        for key, value in statistics_of(metric, _given(done, f"{metric}_ms")).items()
        if value is not None
    }
    return Point(name, len(requests), len(done), metrics, failed=len(requests) - len(done))


def _given(requests: Sequence[MeasuredRequest], name: str) -> list[float]:
    return [value for request in requests if (value := getattr(request, name)) is not None]
