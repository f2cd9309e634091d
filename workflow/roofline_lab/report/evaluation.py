"""From results to the files of an evaluation: page, tables, figures, provenance.

Contract: `files_of` is pure text from results, the same for the same inputs wherever they lie; `publish` writes them as
one folder, which appears as a whole or not at all. Only an earlier evaluation is ever replaced. In figures, filling and
marker tell how much of a test a prediction is; where there is nothing to draw a function returns empty text.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from roofline_lab.files import digest_of_files, json_text, write_report
from roofline_lab.formatting import pct
from roofline_lab.ground_truth.quality import flag_lines
from roofline_lab.ground_truth.requests import REQUESTS_FILE
from roofline_lab.predict.evaluate import Evaluation
from roofline_lab.predict.fleet import FleetPredictor
from roofline_lab.predict.predictors import OUT_OF_SAMPLE, CalibratedPredictor, Holdout, Predictor
from roofline_lab.predict.records import EXCLUDED, HEADLINE, PREDICTED_SATURATED, PointResult, Refused, count, label
from roofline_lab.provenance import code_hashes
from roofline_lab.rendering import render
from roofline_lab.report import evaluation_points, evaluation_tables, evaluation_trust
from roofline_lab.report.evaluation_numbers import (
    NOT_IN_THE_FIT,
    by_holdout,
    evaluated,
    group_name,
    group_of,
    grouped,
    holdout_groups,
    levels_of,
    numbers_text,
    predictions_text,
    scored,
    scored_experiments,
)
from roofline_lab.report.evaluation_tables import Pair, SideBySide, headline_pairs
from roofline_lab.report.evaluation_trust import interval_of
from roofline_lab.report.plots import (
    EDGE,
    GRID,
    LEFT_INCHES,
    LINE,
    PANEL_WIDTH,
    SIGN,
    Layout,
    Panel,
    Series,
    dots,
    drawn,
    legend,
    predicted_against_measured,
    scatter,
    signed_error_label,
    svg,
)
from roofline_lab.report.residuals import residual_figure, residual_section
from roofline_lab.residuals.analysis import resampling_of
from roofline_lab.scoring.statistics import median
from roofline_lab.scoring.table import means
from roofline_lab.vocabulary import RowStatus
from simulator.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = "EVALUATION.md"
NUMBERS = "numbers.csv"
PREDICTIONS = "predictions.csv"
PROVENANCE = "provenance.json"
RESIDUALS = "figures/residuals.svg"


class Kind(NamedTuple):
    """What a folder of results is called, and the files it is known by before it is replaced."""

    what: str
    files: tuple[str, ...]


EVALUATION = Kind("evaluation", (PAGE, PREDICTIONS, PROVENANCE))
# What a load point is called that has no error of a mean, by its status.
UNSCORED: Mapping[RowStatus, str] = {
    RowStatus.SATURATED: "saturated",
    RowStatus.UNSUPPORTED: "not predicted",
    RowStatus.OK: "without a measured mean latency that can be predicted",
}


def files_of(root: Path, evaluation: Evaluation) -> dict[str, str]:
    """Return every file of an evaluation by its name in the folder."""
    judged = _judged(evaluation)
    names = [predictor.name for predictor in evaluation.predictors]
    figures = {
        "predicted_vs_measured": predicted_versus_measured(judged),
        "error_by_family": error_by_family(judged),
        "percentiles": percentiles(_tests_first(judged)),
        "against": against_each_other(evaluation.results, names) if len(names) > 1 else "",
    }
    files = {f"figures/{name}.svg": text for name, text in figures.items() if text}
    files |= {_curve_file(name): text for name, text in evaluation_points.latency_over_load(judged).items()}
    if _analysed(judged):
        files[RESIDUALS] = residual_figure([result.residual for result in _analysed(judged) if result.residual])
    compared = evaluation_tables.comparisons(evaluation.results, names, evaluation.settings) if len(names) > 1 else []
    metrics = [*HEADLINE, *evaluation_tables.RANKED, *evaluation_tables.THROUGHPUTS]
    further = [*evaluation_tables.gain_lines(compared, names), *evaluation_trust.number_lines(judged)]
    files[NUMBERS] = numbers_text(evaluation.results, metrics, evaluation.settings, further)
    files[PREDICTIONS] = predictions_text(evaluation.results, evaluation.refused)
    files[PROVENANCE] = _provenance(root, evaluation)
    files[PAGE] = render("evaluation.md.j2", _context(evaluation, judged, compared, set(files)))
    return files


def _curve_file(experiment: str) -> str:
    return f"figures/over_load/{experiment}.svg"


def refuse_taken(out: Path, *, force: bool, own: Kind = EVALUATION) -> None:
    """Refuse a folder that is there, unless it is an earlier one of its kind and may be replaced.

    Raises
    ------
    ConfigError
        If the folder must not be written to.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise ConfigError(f"--out: {out} is a file; name a folder")
    if not all((out / name).is_file() for name in own.files):
        raise ConfigError(f"--out: {out} exists and is no earlier {own.what}; name another folder")
    if not force:
        raise ConfigError(f"--out: {out} holds an earlier {own.what}; name another folder, or replace it with --force")


def publish(out: Path, files: Mapping[str, str]) -> None:
    """Write all files as the folder `out`, replacing what is there.

    Raises
    ------
    ConfigError
        If it cannot be written; what was there then still is.
    """
    try:
        _publish(out.absolute(), files)
    except OSError as error:
        raise ConfigError(f"--out: {out} cannot be written: {error}") from None


def _publish(out: Path, files: Mapping[str, str]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        write_report(folder, files)
        folder.chmod(0o755)
        if out.exists():
            earlier = folder.with_name(f"{folder.name}.earlier")
            out.rename(earlier)
            folder.rename(out)
            shutil.rmtree(earlier)
        else:
            folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def summary(evaluation: Evaluation) -> list[str]:
    """Return the result in a few lines, for a terminal, what could not be evaluated first."""
    judged = _judged(evaluation)
    missing = (*evaluation.refused, *evaluation_tables.unsupported(judged))
    lines = [f"not evaluated: {refusal.place}: {' '.join(refusal.reason.split())}" for refusal in missing]
    lines.append(_counts(evaluation))
    for holdout, members in holdout_groups(judged).items():
        cells = [
            f"{label(metric)} {pct(experiments.mean)} (median {pct(experiments.median)})"
            for metric, (_, experiments, _) in levels_of(evaluated(members)).items()
        ]
        if cells:
            number = count(scored_experiments(members), "experiment")
            lines.append(f"{holdout} ({number}): {', '.join(cells)}")
    if not scored_experiments(judged):
        lines.append(_statement(judged, evaluation.refused).replace("**", ""))
    lines += evaluation_trust.summary_lines(judged)
    lines += [*evaluation_tables.sites(judged), *filter(None, [evaluation_tables.dearest(judged)])]
    return lines


def incomplete(evaluation: Evaluation) -> bool:
    """Whether an experiment or a load point could not be evaluated by the one that is judged."""
    return bool(evaluation.refused) or any(result.status is RowStatus.UNSUPPORTED for result in _judged(evaluation))


def _judged(evaluation: Evaluation) -> list[PointResult]:
    name = evaluation.predictors[0].name
    return [result for result in evaluation.results if result.predictor == name]


def _context(
    evaluation: Evaluation, judged: Sequence[PointResult], compared: Sequence[SideBySide], files: Collection[str]
) -> dict[str, Any]:
    settings, names = evaluation.settings, [predictor.name for predictor in evaluation.predictors]
    curves = evaluation_points.varied(judged)
    analysed = [result.residual for result in _analysed(judged) if result.residual]
    return {
        "tables": evaluation_tables,
        "points": evaluation_points,
        "shown_points": evaluation_points.SHOWN_POINTS,
        "curves": {name: _curve_file(name) for name in curves if _curve_file(name) in files},
        "varied": len(curves),
        "trust": evaluation_trust,
        "title": evaluation.title,
        "predictors": evaluation.predictors,
        "names": names,
        "judged": judged,
        "other": [result for result in evaluation.results if result.predictor in names[1:]],
        "results": evaluation.results,
        "compared": compared,
        "refused": evaluation.refused,
        "settings": settings,
        "noisy": any(figure.noise_pct is not None for result in evaluation.results for figure in result.figures),
        "counts": _counts(evaluation),
        "statement": _statement(judged, evaluation.refused),
        "overlooked": ", ".join(evaluation.overlooked),
        "drawn": _kind(_tests_first(judged)),
        "quality": flag_lines([task.experiment for task in evaluation.tasks]),
        "lost_requests": evaluation_tables.lost_requests(task.experiment for task in evaluation.tasks),
        "residuals": (
            residual_section(analysed, resampling=resampling_of(settings), figure=RESIDUALS) if analysed else ""
        ),
        "residuals_of": _kind(_analysed(judged)),
        "figures": sorted(files),
    }


def _counts(evaluation: Evaluation) -> str:
    judged = _judged(evaluation)
    without = len(_unscored(judged, RowStatus.OK))
    scored_points = sum(result.status is RowStatus.OK for result in judged) - without
    states = [result.status for result in judged]
    return (
        f"{count(len(evaluation.sources), 'experiment')}, {len(evaluation.tasks)} run; "
        f"{count(len(judged), 'load point')}: "
        f"{scored_points} scored on latency, {states.count(RowStatus.SATURATED)} saturated, "
        f"{states.count(RowStatus.UNSUPPORTED)} not predicted"
        + (f", {without} {UNSCORED[RowStatus.OK]}" if without else "")
    )


def _unscored(results: Iterable[PointResult], status: RowStatus) -> list[PointResult]:
    """Return the load points of one status that have no error in any figure of the headline."""
    return [result for result in results if result.status is status and not scored_experiments([result])]


def _statement(judged: Sequence[PointResult], refused: Sequence[Refused]) -> str:
    """Return the headline as a sentence: errors on what is in no fit, or why there are none."""
    tests = [result for result in judged if result.holdout in OUT_OF_SAMPLE]
    by_reason = {reason: [test for test in tests if test.excluded == reason] for reason in ("", *EXCLUDED)}
    # Excluded results make the headline only where there is nothing else.
    reason = next((text for text, members in by_reason.items() if scored_experiments(members)), None)
    if reason is None:
        return f"{_why_no_headline(judged, tests, refused)}, so there is no headline error."
    members = by_reason.pop(reason)
    found = {label(metric): experiments for metric, (_, experiments, _) in levels_of(evaluated(members)).items()}
    errors = ", ".join(f"{name} {pct(level.mean)}" for name, level in found.items())
    medians = ", ".join(pct(level.median) for level in found.values())
    over = f"{count(scored_experiments(members), 'experiment')} on models {group_name(NOT_IN_THE_FIT, reason)}"
    return f"**{errors}** mean absolute error of means over {over} (medians: {medians}).{_left_out(by_reason)}"


def _why_no_headline(judged: Sequence[PointResult], tests: Sequence[PointResult], refused: Sequence[Refused]) -> str:
    """Say what kept every load point out of the headline."""
    if scored_experiments(judged):
        inside = "**No prediction here is known to be of a model outside the fit**"
        unscored = _reasons(tests, ())
        return (
            f"**No load point of a model outside the fit could be scored on latency** ({unscored})" if tests else inside
        )
    return f"**No load point could be scored on latency** ({_reasons(judged, refused)})"


def _reasons(results: Sequence[PointResult], refused: Sequence[Refused]) -> str:
    counts = {words: len(_unscored(results, status)) for status, words in UNSCORED.items()}
    parts = [f"{number} {words}" for words, number in counts.items() if number]
    parts += [f"{count(len(refused), 'experiment')} refused"] if refused else []
    return ", ".join(parts) or "there is none"


def _left_out(by_reason: Mapping[str, Sequence[PointResult]]) -> str:
    """Count the load points outside the fit that the headline does not hold, though they have errors."""
    parts = []
    for reason, members in by_reason.items():
        points = [result for result in members if scored_experiments([result])]
        if points:
            words = "saturated in the simulation alone" if reason == PREDICTED_SATURATED else reason
            parts.append(f"{count(len(points), 'load point')} ({words})")
    return f" Not in it, but on lines of their own below: {', '.join(parts)}." if parts else ""


def _analysed(judged: Sequence[PointResult]) -> list[PointResult]:
    """Return what the residual analysis looks at."""
    chosen = _tests_first([result for result in judged if result.residual is not None])
    holdouts = {result.holdout for result in chosen}
    # Those have no residual, but a line with the reason.
    refused = [result for result in judged if result.falsely_saturated and result.holdout in holdouts]
    return [*chosen, *(result for result in refused if result not in chosen)]


def _tests_first(results: Sequence[PointResult]) -> list[PointResult]:
    """Return the results that can stand together: those that are in no fit, else the first other kind."""
    return next(iter(holdout_groups(results).values()), [])


def _kind(results: Sequence[PointResult]) -> str:
    return " and ".join(dict.fromkeys(group_of(result) for result in results if not result.falsely_saturated))


def _provenance(root: Path, evaluation: Evaluation) -> str:
    """Return content hashes of everything that went in; no path, no host, no time."""
    experiments = {}
    for source in evaluation.sources:
        recorded = source.path.parent / REQUESTS_FILE
        uses = source.experiment is not None and source.experiment.requests_file is not None
        files = [source.path, *([recorded] if uses and recorded.is_file() else [])]
        experiments[source.place] = _digest_if_readable(files)
    used = [task.experiment for task in evaluation.tasks]
    models, hardware = ({getattr(experiment, kind) for experiment in used} for kind in ("model", "hardware"))
    catalogue = evaluation.catalogue
    record = {
        "experiments": experiments,
        "models": {name: _digest(*catalogue.files_of([name], [])) for name in sorted(models)},
        "hardware": {name: _digest(*catalogue.files_of([], [name])) for name in sorted(hardware)},
        "predictors": {
            choice.predictor.name: _predictor(choice.predictor, choice.digest) for choice in evaluation.chosen
        },
        "software_where_not_stated": evaluation.software,
        **({"server_where_not_stated": dict(evaluation.stated)} if evaluation.stated else {}),
        **({"site_from": evaluation.site_from} if evaluation.site_from else {}),
        "seeds": list(evaluation.settings.arrivals.seeds),
        "hashes": code_hashes(root),
    }
    return json_text(record)


def _digest_if_readable(files: Sequence[Path]) -> str:
    """Return the content hash of an experiment's files; a refused one may have no content."""
    try:
        return digest_of_files(files, files[0].parent)
    except OSError:
        return "not readable"


def _digest(*paths: Path) -> str:
    return digest_of_files(paths, paths[0].parent)


def _predictor(predictor: Predictor, digest: str) -> dict[str, str]:
    found = {"files": digest, "what": predictor.described}
    if isinstance(predictor, CalibratedPredictor | FleetPredictor):
        found["fitted_to"] = predictor.calibration.trained_on.data_sha256
    return found


FILLS: Mapping[Holdout, int] = {
    Holdout.NEVER_SEEN: 0,
    Holdout.HELD_OUT: 1,
    Holdout.IN_SAMPLE: 2,
    Holdout.NO_RECORD: 5,
}
RANKS = ("mean", "p50", "p90", "p95", "p99")
LEAST_ROWS = 4
# Errors below this are drawn at it, as a logarithmic axis has no zero.
SMALLEST_PCT = 0.1


def predicted_versus_measured(results: Sequence[PointResult]) -> str:
    """Draw predicted against measured means on log axes, one panel per figure."""
    kept = _kept(results)
    shown = [metric for metric in HEADLINE if scored(kept, metric)]
    if not shown:
        return ""
    panels = [
        predicted_against_measured(
            f"mean {label(metric)}",
            (_with_spans(holdout, own, metric) for holdout, own in by_holdout(kept).items()),
        )
        for metric in shown
    ]
    return scatter(panels, "predicted = measured")


def error_by_family(results: Sequence[PointResult]) -> str:
    """Draw the signed error of every load point, one line per family, one panel per figure."""
    kept = _kept(results)
    families = list(grouped((result for result in kept if _has_error(result)), lambda result: result.family))
    if not families:
        return ""
    signed = means(evaluated(kept), ("family", "metric"), "signed_error_pct")
    panels = [_family_errors(metric, families, kept, signed) for metric in HEADLINE]
    return dots(panels, families, LEAST_ROWS)


def _family_errors(
    metric: str,
    families: Sequence[str],
    results: Sequence[PointResult],
    signed: Mapping[tuple[Hashable, ...], float],
) -> Panel:
    series = tuple(
        _series(holdout, [(error, families.index(result.family)) for result, error in scored(group, metric)])
        for holdout, group in by_holdout(results).items()
    )
    ticks = [(signed[family, metric], float(at)) for at, family in enumerate(families) if (family, metric) in signed]
    words = signed_error_label(f"mean {label(metric)}", "; stroke: mean of the family")
    return Panel(f"mean {label(metric)}", words, series, ticks=tuple(ticks))


def _series(holdout: Holdout, points: Iterable[tuple[float, float]]) -> Series:
    """Marker and filling tell how much of a test a prediction is."""
    place = list(Holdout).index(holdout)
    return Series(holdout.value, tuple(points), place, FILLS[holdout])


def percentiles(results: Sequence[PointResult]) -> str:
    """Draw the signed error of mean and percentiles, one thin line per load point, and the median of each."""
    stems = [stem for stem in ("ttft", "tpot", "e2e") if any(scored(results, f"{stem}_{rank}") for rank in RANKS[1:])]
    if not stems:
        return ""
    with drawn(Layout(len(stems), PANEL_WIDTH * 0.8, LEFT_INCHES, LEFT_INCHES, 2)) as (figure, panels):
        for axes, stem in zip(panels, stems, strict=True):
            _ranks(axes, stem, results)
        legend(figure, panels[0], 2)
        return svg(figure)


def against_each_other(results: Sequence[PointResult], names: Sequence[str]) -> str:
    """Draw the absolute errors of one predictor against those of another; below the line the first is closer."""
    by_metric = headline_pairs(results, names)
    if not any(by_metric.values()):
        return ""
    panels = [
        Panel(
            f"mean {label(metric)}",
            f"absolute error of {names[1]} [%]",
            (Series("one load point", tuple((_shown(pair, 1), _shown(pair, 0)) for pair in pairs)),),
            f"absolute error of {names[0]} [%]",
        )
        for metric, pairs in by_metric.items()
    ]
    return scatter(panels, "equally far; below it, the first is closer", least=SMALLEST_PCT)


def _shown(pair: Pair, side: int) -> float:
    return max(pair[side].ape_pct, SMALLEST_PCT)


def _ranks(axes: Axes, stem: str, results: Sequence[PointResult]) -> None:
    ranks = [rank for rank in RANKS if scored(results, f"{stem}_{rank}")]
    thin = "one load point"
    for result in results:
        known = [(place, error) for place, rank in enumerate(ranks) if (error := result.error_pct(f"{stem}_{rank}"))]
        if len(known) > 1:
            axes.plot(*zip(*known, strict=True), color=LINE, linewidth=0.7, label=thin)
            thin = "_nolegend_"
    found = [[error for _, error in scored(results, f"{stem}_{rank}")] for rank in ranks]
    axes.plot(range(len(ranks)), [median(errors) for errors in found], "o", color=EDGE, markersize=6, label="median")
    axes.axhline(0.0, color=EDGE, linewidth=0.8)
    counts = [f"{rank}\nn = {len(errors)}" for rank, errors in zip(ranks, found, strict=True)]
    axes.set_xticks(range(len(ranks)), counts)
    axes.set_title(label(f"{stem}_mean"))
    axes.set_xlabel("statistic over requests, and load points that have it")
    axes.set_ylabel(f"signed error [%]\n({SIGN})")
    axes.grid(axis="y", color=GRID, linewidth=0.5)


def _with_spans(holdout: Holdout, results: Iterable[PointResult], metric: str) -> Series:
    """Return measured and predicted of every result that has an error, with the interval of each that has one."""
    found = [(result, result.figure(metric)) for result, _ in scored(results, metric)]
    known = [(result, each) for result, each in found if each and each.measured and each.predicted]
    series = _series(holdout, [(each.measured or 0.0, each.predicted or 0.0) for _, each in known])
    ends = [(each.measured or 0.0, interval_of(result, each)) for result, each in known]
    return replace(series, spans=tuple((measured, *span) for measured, span in ends if span is not None))


def _kept(results: Iterable[PointResult]) -> list[PointResult]:
    """Leave out what is saturated in the simulation alone: one such error would hide all others."""
    return [result for result in results if not result.falsely_saturated]


def _has_error(result: PointResult) -> bool:
    return any(result.error_pct(metric) is not None for metric in HEADLINE)
