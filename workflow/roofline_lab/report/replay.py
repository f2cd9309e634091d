"""A replay as files, and whether the committed ones are still true.

Contract: `report_files` is a pure function of recordings, scores and option sets; the same ones give the same bytes.
`publish` writes them, the page last; `judge` says, without the traces, whether a committed page is as it was
written and made with the data and options that are there now. An edited page is a failure. One whose inputs changed is
told of and no failure, because only who has the traces can make it again.

In figures, shape and filling of a marker, or the pattern of a line, tell the sets of options apart. A set that
saturates at a load point the server kept up with is not drawn there: its latencies grow with the length of the run.
Distributions are drawn at whole percentiles, never request by request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline_lab.files import digest_of_files, write_report
from roofline_lab.ground_truth.catalog import EMBEDDED_KERNELS
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.quality import Flag, flag_lines
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.places import place_of
from roofline_lab.predict.choose import OptionSet, load_option_sets
from roofline_lab.predict.published import SentTrace, Server, TracePrediction
from roofline_lab.predict.recording import Recording
from roofline_lab.predict.replay import LATENCIES, StageScore
from roofline_lab.project import Project
from roofline_lab.rendering import render
from roofline_lab.report import predicted_tables, replay_tables
from roofline_lab.report.plots import (
    EDGE,
    GAP_INCHES,
    GRID,
    LEFT_INCHES,
    Layout,
    Panel,
    Series,
    dots,
    drawn,
    legend,
    plain_log_ticks,
    signed_error_label,
    svg,
)
from roofline_lab.report.recorded import (
    PROVENANCE,
    Fault,
    file_faults,
    read_record,
    record_text,
    recorded_names,
    text_digest,
    told,
)
from roofline_lab.report.replay_tables import by_set, by_stage, in_common, numbers_text
from simulator.errors import ConfigError
from simulator.metrics import percentile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = "REPLAY.md"
NUMBERS = "numbers.csv"
ERRORS_FIGURE = "signed_errors.svg"
FEW_REQUESTS = 100
# Flags about lengths and arrivals that an experiment does not record; a trace does.
TOLD_BY_THE_TRACE = (Flag.LENGTHS_UNKNOWN, Flag.LENGTHS_FROM_SEED, Flag.ARRIVALS_IRREGULAR)


@dataclass(frozen=True, slots=True)
class Predicted:
    """Traces that nothing was measured of: what was sent, where it is served, and what is predicted."""

    sent: tuple[SentTrace, ...]
    server: Server
    predictions: tuple[TracePrediction, ...]


def report_files(
    recordings: Sequence[Recording],
    scores: Sequence[StageScore],
    option_sets: Sequence[OptionSet],
    predicted: Predicted | None = None,
) -> dict[str, str]:
    """Return the content of every file by name; the page is the last one.

    What was measured comes first, what is only predicted behind it; a page of predictions alone says so at its head.
    """
    further = list(predicted_tables.number_rows(predicted.predictions)) if predicted else []
    if predicted and not recordings:
        page = render("replay_predicted.md.j2", _predicted_context(predicted, option_sets))
        return {NUMBERS: numbers_text(scores, further), PAGE: page}
    figures = {_figure_name(name): distributions(own) for name, own in drawn_stages(scores).items()}
    if any(score.has_latencies for score in scores):
        figures[ERRORS_FIGURE] = signed_errors(scores)
    context = _context(recordings, scores, option_sets, figures)
    if predicted:
        context |= _predicted_context(predicted, option_sets)
    page = render("replay.md.j2", {"predictions": (), "sent_traces": {}, **context})
    return {NUMBERS: numbers_text(scores, further), **figures, PAGE: page}


def _predicted_context(predicted: Predicted, option_sets: Sequence[OptionSet]) -> dict[str, Any]:
    return {
        "tables": replay_tables,
        "predicted": predicted_tables,
        "sent": predicted.sent,
        "server": predicted.server,
        "predictions": predicted.predictions,
        "option_sets": option_sets,
        "sent_traces": {trace.source: trace.digest for trace in predicted.sent},
    }


def _figure_name(experiment: str) -> str:
    return f"distribution_{experiment}.svg"


def _context(
    recordings: Sequence[Recording],
    scores: Sequence[StageScore],
    option_sets: Sequence[OptionSet],
    figures: Collection[str],
) -> dict[str, Any]:
    experiments = {recording.experiment.id: recording.experiment for recording in recordings}
    stages = [stage for recording in recordings for stage in recording.stages]
    return {
        "tables": replay_tables,
        "recordings": recordings,
        "scores": scores,
        "option_sets": option_sets,
        "summaries": replay_tables.summaries(scores),
        "in_common": replay_tables.summaries(in_common(scores)),
        "traces": {recording.source: recording.digest for recording in recordings},
        "requests": sum(len(stage.requests) for stage in stages),
        "load_points": len(stages),
        "families": sorted({experiment.family for experiment in experiments.values()}),
        "errors_figure": ERRORS_FIGURE if ERRORS_FIGURE in figures else "",
        "few": FEW_REQUESTS,
        "few_points": [stage.name for stage in stages if len(stage.requests) < FEW_REQUESTS],
        "sections": [_section(experiment, scores) for experiment in experiments.values()],
        "drawn_requests": DRAWN_REQUESTS,
        "flags": _flags(experiments.values()),
    }


def _flags(experiments: Iterable[Experiment]) -> tuple[str, ...]:
    kept = [
        experiment.model_copy(
            update={"quality": tuple(flag for flag in experiment.quality if flag.flag not in TOLD_BY_THE_TRACE)}
        )
        for experiment in experiments
    ]
    return flag_lines(kept)


def _section(experiment: Experiment, scores: Sequence[StageScore]) -> dict[str, Any]:
    own = [score for score in scores if score.stage.experiment.id == experiment.id]
    scored = {score.stage.point.id for score in own}
    drawn_stage = drawn_stages(own).get(experiment.id)
    return {
        "experiment": experiment,
        "scores": own,
        "figure": _figure_name(experiment.id),
        "drawn": drawn_stage[0].stage.point.id if drawn_stage else "",
        "saturated": [point.id for point in experiment.load_points if point.saturated and point.id in scored],
        "offset_ms": experiment.server.settings.client_offset_ms or 0.0,
        "offset_assumed": experiment.server.assumed.client_offset_ms is not None,
    }


# Pattern, width in points and shade of each set's line.
LINES: tuple[tuple[Any, float, str], ...] = (
    ("--", 1.1, EDGE),
    ("-.", 1.1, EDGE),
    (":", 1.6, EDGE),
    ((0, (9, 3)), 2.2, "#8c8c8c"),
    ("-", 1.1, EDGE),
    ((0, (1, 4)), 1.6, EDGE),
)
MEASURED: tuple[Any, float, str] = ("-", 4.5, "#c4c4c4")
# A distribution of fewer requests is not drawn: its percentiles would be single requests.
DRAWN_REQUESTS = 200
CDF_HEIGHT = 2.6


def signed_errors(scores: Sequence[StageScore]) -> str:
    """Draw the signed error of the mean of every latency, one row per load point and one marker per set."""
    shown = [score for score in scores if score.has_latencies]
    stages = list(by_stage(shown))
    panels = [
        Panel(
            f"mean {latency.upper()}",
            signed_error_label(f"mean {latency.upper()}"),
            tuple(_errors(own, latency, stages, place) for place, own in enumerate(by_set(shown).values())),
        )
        for latency in LATENCIES
    ]
    return dots(panels, stages)


def _errors(scores: Sequence[StageScore], latency: str, stages: Sequence[str], place: int) -> Series:
    known = [score for score in scores if latency in score.samples and not score.queue_grows]
    points = tuple(
        (score.samples[latency].signed_error_pct("mean"), float(stages.index(score.stage.name))) for score in known
    )
    return Series(scores[0].options.label, points, place, place % 3)


def drawn_stages(scores: Sequence[StageScore]) -> dict[str, list[StageScore]]:
    """Return, by experiment, the scores of its largest load point that is worth a distribution."""
    found: dict[str, list[StageScore]] = {}
    for own in by_stage(score for score in scores if score.has_latencies).values():
        stage = own[0].stage
        best = found.get(stage.experiment.id)
        if len(stage.requests) >= DRAWN_REQUESTS and (
            best is None or len(stage.requests) > len(best[0].stage.requests)
        ):
            found[stage.experiment.id] = own
    return found


def distributions(scores: Sequence[StageScore]) -> str:
    """Draw the distribution of every latency of one load point, measured and with every set of options."""
    shown = [(LINES[place % len(LINES)], score) for place, score in enumerate(scores) if not score.queue_grows]
    layout = Layout(len(LATENCIES), CDF_HEIGHT, LEFT_INCHES, GAP_INCHES, -(-(len(shown) + 1) // 3), right=0.3)
    with drawn(layout) as (figure, panels):
        for axes, latency in zip(panels, LATENCIES, strict=True):
            curves = [(MEASURED, "measured", scores[0].samples[latency].measured)]
            curves += [(line, score.options.label, score.samples[latency].predicted) for line, score in shown]
            for line, label, values in curves:
                _curve(axes, values, line, label)
            _curve_axes(axes, latency, [values for _, _, values in curves])
        panels[0].set_ylabel("requests below [%]")
        for axes in panels[1:]:
            axes.set_yticklabels([])
        legend(figure, panels[0], 3)
        return svg(figure)


def _curve(axes: Axes, values: Sequence[float], line: tuple[Any, float, str], label: str) -> None:
    ranks = range(1, 100)
    ordered = sorted(values)
    quantiles = [percentile(ordered, rank) or 0.0 for rank in ranks]
    axes.plot(quantiles, ranks, linestyle=line[0], linewidth=line[1], color=line[2], label=label)


def _curve_axes(axes: Axes, latency: str, samples: Sequence[Sequence[float]]) -> None:
    low = min(percentile(values, 1) or 1.0 for values in samples) / 1.15
    high = max(percentile(values, 99) or 1.0 for values in samples) * 1.15
    axes.set(xscale="log", xlim=(low, high), ylim=(0, 100), title=latency.upper())
    plain_log_ticks(axes.xaxis, low, high)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_xlabel(f"{latency.upper()} [ms]")
    axes.grid(color=GRID, linewidth=0.5)


FOLDER = Path("reports/replay")
AGAIN = f"`roofline-lab replay TRACES --out {FOLDER.as_posix()}` makes it again"


def publish(folder: Path, files: dict[str, str], made_of: dict[str, Any]) -> None:
    """Write every file and its record, the page last; files of an earlier replay that are not made any more go.

    Raises
    ------
    ConfigError
        If `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder}: is a file; give a folder")
    write_report(folder, {PROVENANCE: record_text(files, made_of), **files}, recorded_names(folder))


def provenance(
    project: Project,
    recordings: Sequence[Recording],
    option_sets: Sequence[OptionSet],
    predicted: Predicted | None = None,
) -> dict[str, Any]:
    """Return what a page is made from: content hashes of data, options and traces."""
    experiments = sorted({recording.experiment.id for recording in recordings})
    return _of_recordings(project, recordings, option_sets, experiments) | _of_predictions(predicted)


def _of_predictions(predicted: Predicted | None) -> dict[str, Any]:
    """Return what predictions were made from; a model or GPU of the command line need not be the project's."""
    if predicted is None:
        return {}
    files = {path.name: digest_of_files([path], path.parent) for path in predicted.server.files}
    return {
        "predicted": {
            "server": predicted.server.deployment.model_dump(mode="json", exclude_none=True),
            "described by": files,
            "traces": {trace.source: trace.digest for trace in predicted.sent},
        }
    }


def _of_recordings(
    project: Project, recordings: Sequence[Recording], option_sets: Sequence[OptionSet], experiments: Sequence[str]
) -> dict[str, Any]:
    return {
        "hashes": _hashes(project, experiments, option_sets),
        "experiments": experiments,
        "traces": {recording.source: recording.digest for recording in recordings},
    }


def judge(project: Project) -> tuple[str, list[Fault]]:
    """Return one sentence about the committed page, and what is wrong with it: file, where, what."""
    folder = project.root / FOLDER
    if not folder.is_dir():
        return f"check replay: no page of replayed traces is committed; {AGAIN}", []
    record = read_record(folder)
    faults = [(f"{FOLDER.as_posix()}/{name}", "file", what) for name, what in file_faults(folder, record, AGAIN)]
    return told("replay", faults, _changed(project, record) if not faults else (), AGAIN), faults


def _changed(project: Project, record: Mapping[str, Any]) -> list[str]:
    """Return what of the inputs changed, in words."""
    try:
        now = _hashes(project, record.get("experiments", []), load_option_sets(project))
    except (ConfigError, OSError) as error:
        return [f"what it refers to ({error})"]
    before = record.get("hashes", {})
    return [name for name, digest in now.items() if before.get(name) != digest]


def _hashes(project: Project, experiments: Sequence[str], option_sets: Sequence[OptionSet]) -> dict[str, str]:
    root = project.root
    measured = [path for name in experiments for path in sorted((root / "ground_truth" / name).glob("*.yaml"))]
    ran = [load_experiment(root / "ground_truth" / name) for name in experiments]
    configured = {project.model_file(experiment.model) for experiment in ran}
    configured |= {project.hardware_file(experiment.hardware) for experiment in ran}
    options = "".join(f"{tried.id} {tried.label} {tried.meaning} {tried.digest}\n" for tried in option_sets)
    return {
        "measurements": digest_of_files(measured, root),
        "models, hardware, kernels": digest_of_files([*configured, place_of(root, EMBEDDED_KERNELS)], root),
        "options": text_digest(options),
    }
