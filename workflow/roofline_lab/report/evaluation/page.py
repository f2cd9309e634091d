"""From results to the files of an evaluation: page, tables, figures, provenance.

Contract: `files_of` is pure text from results, the same for the same inputs wherever they lie;
`publish` writes them as one folder, which appears as a whole or not at all. Only an earlier
evaluation is ever replaced.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roofline_lab.calibration.record import Calibration
from roofline_lab.files import digest_of_files, json_text, write_text
from roofline_lab.formatting import pct
from roofline_lab.ground_truth.quality import flag_lines
from roofline_lab.ground_truth.requests import REQUESTS_FILE
from roofline_lab.predict.evaluate import Evaluation
from roofline_lab.predict.predictors import OUT_OF_SAMPLE, CalibratedPredictor, Predictor
from roofline_lab.predict.records import EXCLUDED, HEADLINE, PREDICTED_SATURATED, PointResult, count, label
from roofline_lab.provenance import code_hashes
from roofline_lab.rendering import render
from roofline_lab.report.evaluation import against
from roofline_lab.report.evaluation import plots as drawings
from roofline_lab.report.evaluation import tables as page_tables
from roofline_lab.report.evaluation.aggregate import (
    NOT_IN_THE_FIT,
    evaluated,
    group_name,
    group_of,
    holdout_groups,
    levels_of,
    scored_experiments,
)
from roofline_lab.report.evaluation.numbers import numbers_text, predictions_text
from roofline_lab.report.residuals import resampling_of, residual_section
from roofline_lab.report.residuals_plot import residual_figure
from roofline_lab.vocabulary import RowStatus
from simulator.errors import ConfigError

PAGE = "EVALUATION.md"
NUMBERS = "numbers.csv"
PREDICTIONS = "predictions.csv"
PROVENANCE = "provenance.json"
RESIDUALS = "figures/residuals.svg"
# What an evaluation's folder is known by, before it is replaced.
OWN_FILES = (PAGE, PREDICTIONS, PROVENANCE)


def files_of(root: Path, evaluation: Evaluation) -> dict[str, str]:
    """Return every file of an evaluation by its name in the folder."""
    judged = _judged(evaluation)
    names = [predictor.name for predictor in evaluation.predictors]
    figures = {
        "predicted_vs_measured": drawings.predicted_versus_measured(judged),
        "error_by_family": drawings.error_by_family(judged),
        "percentiles": drawings.percentiles(_tests_first(judged)),
        "against": drawings.against(evaluation.results, names) if len(names) > 1 else "",
    }
    files = {f"figures/{name}.svg": text for name, text in figures.items() if text}
    if _analysed(judged):
        files[RESIDUALS] = residual_figure([result.residual for result in _analysed(judged) if result.residual])
    compared = against.comparisons(evaluation.results, names, evaluation.settings) if len(names) > 1 else []
    metrics = [*HEADLINE, *page_tables.RANKED, *page_tables.THROUGHPUTS]
    gains = against.gain_lines(compared, names) if compared else ()
    files[NUMBERS] = numbers_text(evaluation.results, metrics, evaluation.settings, gains)
    files[PREDICTIONS] = predictions_text(evaluation.results, evaluation.refused)
    files[PROVENANCE] = _provenance(root, evaluation)
    files[PAGE] = _page(evaluation, judged, compared, set(files))
    return files


def refuse_taken(out: Path, *, force: bool) -> None:
    """Refuse a folder that is there, unless it is an earlier evaluation and may be replaced.

    Raises
    ------
    ConfigError
        If the folder must not be written to.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise ConfigError(f"--out: {out} is a file; name a folder")
    if not all((out / name).is_file() for name in OWN_FILES):
        raise ConfigError(f"--out: {out} exists and is no earlier evaluation; name another folder")
    if not force:
        raise ConfigError(f"--out: {out} holds an evaluation already; name another folder, or replace it with --force")


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
        for name, text in files.items():
            write_text(folder / name, text)
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
    """Return the result in a few lines, for a terminal."""
    judged = _judged(evaluation)
    lines = [_counts(evaluation)]
    for holdout, members in holdout_groups(judged).items():
        cells = [
            f"{label(metric)} {pct(experiments.mean)} (median {pct(experiments.median)})"
            for metric, (_, experiments, _) in levels_of(evaluated(members)).items()
        ]
        if cells:
            number = count(scored_experiments(members), "experiment")
            lines.append(f"{holdout} ({number}): {', '.join(cells)}")
    missing = (*evaluation.refused, *page_tables.unsupported(judged))
    lines += [f"not evaluated: {refusal.place}: {' '.join(refusal.reason.split())}" for refusal in missing]
    return lines


def incomplete(evaluation: Evaluation) -> bool:
    """Whether an experiment or a load point could not be evaluated by the one that is judged."""
    return bool(evaluation.refused) or any(result.status is RowStatus.UNSUPPORTED for result in _judged(evaluation))


def _judged(evaluation: Evaluation) -> list[PointResult]:
    name = evaluation.predictors[0].name
    return [result for result in evaluation.results if result.predictor == name]


def _page(
    evaluation: Evaluation, judged: Sequence[PointResult], compared: Sequence[against.SideBySide], files: set[str]
) -> str:
    settings, names = evaluation.settings, [predictor.name for predictor in evaluation.predictors]
    analysed = [result.residual for result in _analysed(judged) if result.residual]
    context: dict[str, Any] = {
        "title": evaluation.title,
        "judged": evaluation.predictors[0],
        "counts": _counts(evaluation),
        "statement": _statement(judged),
        "level": f"{settings.bootstrap.level_pct:g}",
        "headline": page_tables.headline(judged, settings),
        "holdouts": page_tables.holdouts(judged),
        "flags": page_tables.flags(judged),
        "not_evaluated": page_tables.not_evaluated(judged, evaluation.refused),
        "overlooked": ", ".join(evaluation.overlooked),
        "groups": list(page_tables.by_group(judged)),
        "percentiles": page_tables.percentiles(judged),
        "drawn": _kind(_tests_first(judged)),
        "saturation": page_tables.saturation(judged),
        "saturation_counts": page_tables.saturation_counts(judged),
        "worst": page_tables.worst(judged),
        "every": page_tables.every_point(judged),
        "without_error": page_tables.without_error(judged),
        "distances": page_tables.distances(judged),
        "quality": flag_lines([task.experiment for task in evaluation.tasks]),
        "residuals": residual_section(analysed, resampling=resampling_of(settings), figure=RESIDUALS)
        if analysed
        else "",
        "residuals_of": _kind(_analysed(judged)),
        "figures": sorted(files),
        "against": None,
    }
    if len(names) > 1:
        context["against"] = {
            "other": evaluation.predictors[1],
            "table": against.comparison_table(compared, names, settings) if compared else "",
            "changed": against.changed_table(evaluation.results, names),
            "smallest_p": against.smallest_p(compared),
            "unfair": against.unfair(evaluation.results, names),
            "unsupported": _unsupported(evaluation.results, names[1]),
        }
    return render("evaluation.md.j2", context)


def _unsupported(results: Sequence[PointResult], name: str) -> str:
    own = [result for result in results if result.predictor == name]
    return page_tables.not_evaluated(own, ())


def _counts(evaluation: Evaluation) -> str:
    judged = _judged(evaluation)
    states = [result.status for result in judged]
    return (
        f"{count(len(evaluation.sources), 'experiment')}, {len(evaluation.tasks)} run; "
        f"{count(len(judged), 'load point')}: "
        f"{states.count(RowStatus.OK)} scored on latency, {states.count(RowStatus.SATURATED)} saturated, "
        f"{states.count(RowStatus.UNSUPPORTED)} not predicted"
    )


def _statement(judged: Sequence[PointResult]) -> str:
    """Return the headline as a sentence: errors on what is in no fit, or that there are none."""
    tests = [result for result in judged if result.holdout in OUT_OF_SAMPLE]
    by_reason = {reason: [test for test in tests if test.excluded == reason] for reason in ("", *EXCLUDED)}
    # Excluded results make the headline only where there is nothing else.
    reason = next((text for text, members in by_reason.items() if scored_experiments(members)), None)
    if reason is None:
        return "**No prediction here is known to be of a model outside the fit**, so there is no headline error."
    members = by_reason.pop(reason)
    found = {label(metric): experiments for metric, (_, experiments, _) in levels_of(evaluated(members)).items()}
    errors = ", ".join(f"{name} {pct(one.mean)}" for name, one in found.items())
    medians = ", ".join(pct(one.median) for one in found.values())
    over = f"{count(scored_experiments(members), 'experiment')} on models {group_name(NOT_IN_THE_FIT, reason)}"
    return f"**{errors}** mean absolute error of means over {over} (medians: {medians}).{_left_out(by_reason)}"


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
        "models": {name: _digest(catalogue.model_files[name]) for name in sorted(models)},
        "hardware": {name: _digest(catalogue.hardware_files[name]) for name in sorted(hardware)},
        "predictors": {
            choice.predictor.name: _predictor(choice.predictor, choice.digest) for choice in evaluation.chosen
        },
        "software_where_not_stated": evaluation.software,
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


def _digest(path: Path) -> str:
    return digest_of_files([path], path.parent)


def _predictor(predictor: Predictor, digest: str) -> dict[str, str]:
    found = {"files": digest, "what": predictor.described}
    if isinstance(predictor, CalibratedPredictor):
        trained: Calibration = predictor.calibration
        found["fitted_to"] = trained.trained_on.data_sha256
    return found
