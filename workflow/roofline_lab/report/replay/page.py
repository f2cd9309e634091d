"""A replay as files: the page, its numbers and its figures.

Contract: `report_files` is a pure function of recordings, scores and option sets; the same ones give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.quality import Flag, flag_lines
from roofline_lab.predict.choose import OptionSet
from roofline_lab.predict.recording import Recording
from roofline_lab.predict.replay import StageScore
from roofline_lab.rendering import render
from roofline_lab.report.replay import tables
from roofline_lab.report.replay.plots import DRAWN_REQUESTS, distributions, drawn_stages, signed_errors
from roofline_lab.report.replay.summary import in_common, numbers_text

PAGE = "REPLAY.md"
NUMBERS = "numbers.csv"
ERRORS_FIGURE = "signed_errors.svg"
FEW_REQUESTS = 100
# Flags about lengths and arrivals that an experiment does not record; a trace does.
TOLD_BY_THE_TRACE = (Flag.LENGTHS_UNKNOWN, Flag.LENGTHS_FROM_SEED, Flag.ARRIVALS_IRREGULAR)


def report_files(
    recordings: Sequence[Recording], scores: Sequence[StageScore], option_sets: Sequence[OptionSet]
) -> dict[str, str]:
    """Return the content of every file by name; the page is the last one."""
    drawn = drawn_stages(scores)
    figures = {_figure_name(experiment): distributions(own) for experiment, own in drawn.items()}
    if any(score.has_latencies for score in scores):
        figures[ERRORS_FIGURE] = signed_errors(scores)
    page = _page(recordings, scores, option_sets, drawn)
    return {NUMBERS: numbers_text(scores), **figures, PAGE: page}


def _figure_name(experiment: str) -> str:
    return f"distribution_{experiment}.svg"


def _page(
    recordings: Sequence[Recording],
    scores: Sequence[StageScore],
    option_sets: Sequence[OptionSet],
    drawn: dict[str, list[StageScore]],
) -> str:
    experiments = {one.experiment.id: one.experiment for one in recordings}
    stages = [stage for recording in recordings for stage in recording.stages]
    found = tables.summaries(scores)
    return render(
        "replay.md.j2",
        {
            "traces": len({one.source for one in recordings}),
            "requests": sum(len(stage.requests) for stage in stages),
            "load_points": len(stages),
            "families": sorted({experiment.family for experiment in experiments.values()}),
            "by_experiment": tables.summary_table(found, "experiments"),
            "by_load_point": tables.summary_table(found, "load_points"),
            "in_common": tables.summary_table(tables.summaries(in_common(scores)), "experiments"),
            "ranges": tables.range_table(scores),
            "saturating": [summary for summary in found if summary.compared < summary.scored],
            "errors_figure": ERRORS_FIGURE if any(score.has_latencies for score in scores) else "",
            "options": tables.option_table(option_sets),
            "replayed": tables.trace_table(recordings),
            "few": FEW_REQUESTS,
            "few_points": [stage.name for stage in stages if len(stage.requests) < FEW_REQUESTS],
            "sections": [_section(experiment, scores, drawn) for experiment in experiments.values()],
            "drawn_requests": DRAWN_REQUESTS,
            "throughput": tables.throughput_table(scores),
            "exclusions": tables.exclusion_table(scores),
            "failures": tables.failures(scores),
            "flags": _flags(experiments.values()),
            "files": {one.source: one.digest for one in recordings},
        },
    )


def _flags(experiments: Iterable[Experiment]) -> tuple[str, ...]:
    kept = [
        experiment.model_copy(
            update={"quality": tuple(flag for flag in experiment.quality if flag.flag not in TOLD_BY_THE_TRACE)}
        )
        for experiment in experiments
    ]
    return flag_lines(kept)


def _section(
    experiment: Experiment, scores: Sequence[StageScore], drawn: dict[str, list[StageScore]]
) -> dict[str, object]:
    own = [score for score in scores if score.stage.experiment.id == experiment.id]
    offset_ms = experiment.server.settings.client_offset_ms or 0.0
    return {
        "experiment": experiment,
        "latencies": tables.stage_table(own),
        "distances": tables.distance_table(own),
        "figure": _figure_name(experiment.id) if experiment.id in drawn else "",
        "drawn": drawn[experiment.id][0].stage.point.id if experiment.id in drawn else "",
        "saturated": [point.id for point in experiment.load_points if point.saturated and _has(own, point.id)],
        "offset_ms": offset_ms,
        "offset_assumed": experiment.server.assumed.client_offset_ms is not None,
    }


def _has(scores: Sequence[StageScore], load_point: str) -> bool:
    return any(score.stage.point.id == load_point for score in scores)
