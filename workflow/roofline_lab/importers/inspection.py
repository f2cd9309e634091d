"""What measurements show by themselves: their figures, and every pitfall found in them.

Contract: `inspect` recognises what a path holds by its content - results of a tool, a request trace,
a table of runs, an experiment of a project - and returns one `Inspection` per run. It writes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roofline_lab.files import write_text
from roofline_lab.ground_truth import measurement_lint as lint
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.experiment_lint import seen_in, unflagged
from roofline_lab.ground_truth.json_stream import READ_ERRORS, open_text, stream_values
from roofline_lab.ground_truth.quality import Flag, QualityFlag
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE, load_experiment
from roofline_lab.ground_truth.requests import (
    LOOKED_AT,
    REQUESTS_FILE,
    MeasuredRequest,
    Trace,
    read_trace,
    requests_text,
)
from roofline_lab.importers import READERS, read_results
from roofline_lab.importers.experiment_text import content_of
from roofline_lab.importers.guidellm_report import DESCEND as GUIDELLM_CONTAINERS
from roofline_lab.importers.imported import MS_PER_S, US_PER_S, BothSides, Imported, statistics_of
from roofline_lab.importers.inference_perf import RESULTS_FOLDER
from roofline_lab.importers.inference_perf_report import STAGE_FILE, SUMMARY_FILE
from roofline_lab.importers.measured_csv import read as read_table
from roofline_lab.importers.naming import Names, Resolved
from simulator.errors import ConfigError
from simulator.validation import parse

EXPERIMENT, TABLE, TRACE = "experiment", "table", "trace"

# Keys at the top of a file that only one kind of file has.
_FIRST_KEYS = {
    "benchmarks": "guidellm",
    **dict.fromkeys(("load_summary", "successes", "failures"), "inference-perf"),
    **dict.fromkeys(("num_prompts", "endpoint_type", "backend", "request_throughput", "duration"), "vllm-bench"),
    "requests": TRACE,
}
_OPENED = frozenset({(), ("requests",)}) | GUIDELLM_CONTAINERS

# Flags that only a person, or the absence of a statement, brings up.
STATED = (Flag.USED_FOR_FITTING, Flag.SETTING_ASSUMED, Flag.LENGTHS_UNKNOWN)

# Names nothing in a project has to answer to, where an experiment is only looked at.
_UNNAMED = Resolved("-", "-", "-", "-", 1, {}, {"token_budget": 1, "prefix_caching": True, "client_offset_ms": 0.0}, ())

RANKS = ("mean", "p50", "p90", "p99")
KINDS = ("ttft", "tpot", "e2e")


@dataclass(frozen=True, slots=True)
class Point:
    """One load point: counts, and figures in ms by name; what was not measured is absent."""

    id: str
    sent: int
    completed: int
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one run shows.

    Attributes
    ----------
    title
        What was looked at, in words.
    points
        Its load points.
    conversions
        What importing converts.
    found
        Pitfalls, by the vocabulary of quality flags.
    both_sides
        Requests that client and server recorded.
    """

    title: str
    points: tuple[Point, ...]
    conversions: tuple[str, ...]
    found: tuple[QualityFlag, ...]
    both_sides: tuple[BothSides, ...] = ()

    @property
    def not_found(self) -> tuple[Flag, ...]:
        """Pitfalls that were looked for without result: absent, or the numbers are too few to tell."""
        there = {one.flag for one in self.found}
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
        yield of_experiment(load_experiment(path.absolute()))
    elif kind == TRACE:
        yield of_trace(read_trace(path, LOOKED_AT))
    elif kind == TABLE:
        # The year of an id without one decides nothing here.
        for name, imported in read_table(path, year=1).items():
            yield of_import(f"{name} of {path.name}", imported)
    else:
        imported = read_results(kind, path)
        yield of_import(imported.document, imported)


def kind_of(path: Path) -> str:
    """Say what a path holds: a tool of `READERS`, or one of the constants of this module.

    Raises
    ------
    ConfigError
        If nothing known.
    """
    try:
        kind = _folder_kind(path) if path.is_dir() else _file_kind(path)
    except READ_ERRORS as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    if kind is None:
        raise ConfigError(
            f"{path}: nothing that is known; give results of {', '.join(READERS)}, a request trace, a table of runs, "
            "or an experiment of ground_truth"
        )
    return kind


def of_import(title: str, imported: Imported) -> Inspection:
    """Return what the results of a tool show, before any name of a project is given to them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if imported.requests:
            write_text(folder / REQUESTS_FILE, requests_text(imported.requests))
        content = content_of(imported, "inspected", Names(), _UNNAMED)
        experiment = parse(Experiment, content, source=title).located(folder)
        shown = of_experiment(experiment)
    return Inspection(title, shown.points, imported.conversions, shown.found, imported.both_sides)


def of_experiment(experiment: Experiment) -> Inspection:
    """Return what an experiment shows and says."""
    seen = unflagged(experiment, seen_in(experiment))
    points = [
        Point(
            point.id,
            point.requests.sent,
            point.requests.completed,
            {name: figure.value for name, figure in point.measured.items()},
        )
        for point in experiment.load_points
    ]
    title = f"{experiment.id}: {experiment.model} on {experiment.hardware}, measured by {experiment.tool}"
    return Inspection(title, tuple(points), (), (*experiment.quality, *(one.quality() for one in seen)))


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
    title = f"{trace.path.name}: trace of {len(trace.requests)} requests"
    return Inspection(title, tuple(points), (), tuple(found))


def _of_stage(
    requests: Sequence[MeasuredRequest], client_tokens: Sequence[int | None]
) -> Iterable[lint.Finding | None]:
    done = [(request, tokens) for request, tokens in zip(requests, client_tokens, strict=True) if request.completed]
    ttft = [request.ttft_ms for request, _ in done if request.ttft_ms is not None]
    timed = [(request.output_tokens, request.e2e_ms) for request, _ in done if request.e2e_ms is not None]
    counted = [
        (tokens, request.e2e_ms) for request, tokens in done if request.e2e_ms is not None and tokens is not None
    ]
    return (
        lint.constant_is_poisson([request.arrival_us for request in requests]),
        lint.cold_start(ttft),
        lint.queue_grows(ttft),
        lint.overloaded(sent=len(requests), failed=len(requests) - len(done)),
        lint.lengths_unrelated_to_time([tokens for tokens, _ in timed], [e2e for _, e2e in timed]),
        lint.lengths_unrelated_to_time([tokens for tokens, _ in counted], [e2e for _, e2e in counted]),
    )


def _flags(points: Sequence[str], findings: Iterable[lint.Finding | None]) -> Iterator[QualityFlag]:
    for finding in findings:
        if finding is not None:
            yield finding.quality("noted", points)


def _traced_point(name: str, requests: Sequence[MeasuredRequest]) -> Point:
    done = [request for request in requests if request.completed]
    columns = {
        "ttft": [request.ttft_ms for request in done if request.ttft_ms is not None],
        "e2e": [request.e2e_ms for request in done if request.e2e_ms is not None],
        "tpot": [request.tpot_ms for request in done if request.tpot_ms is not None],
    }
    figures: dict[str, float] = {}
    for kind, values in columns.items():
        if values:
            stated = statistics_of(kind, values)
            figures |= {key: value for key, value in stated.items() if value is not None}
    return Point(name, len(requests), len(done), figures)


def _folder_kind(path: Path) -> str | None:
    results = path / RESULTS_FOLDER if (path / RESULTS_FOLDER).is_dir() else path
    names = [one.name for one in sorted(results.iterdir())]
    if any(STAGE_FILE.fullmatch(name) or name.removesuffix(".gz") == SUMMARY_FILE for name in names):
        return "inference-perf"
    if EXPERIMENT_FILE in names:
        return EXPERIMENT
    if any(name.startswith(("benchmarks.json", "guidellm")) for name in names):
        return "guidellm"
    return "vllm-bench" if any(name.endswith((".json", ".json.gz")) for name in names) else None


def _file_kind(path: Path) -> str | None:
    if path.name.endswith((".csv", ".csv.gz")):
        with open_text(path) as stream:
            header = stream.readline(1 << 16)
        return TABLE if "experiment_id" in header and "is_summary" in header else TRACE
    if STAGE_FILE.fullmatch(path.name) or path.name.removesuffix(".gz") == SUMMARY_FILE:
        return "inference-perf"
    for place, _ in stream_values(path, _OPENED):
        if not place or isinstance(place[0], int):
            return None
        kind = _FIRST_KEYS.get(place[0])
        if kind is not None:
            return kind
    return None
