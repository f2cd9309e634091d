"""Tables of an evaluation page, as markdown; empty where there is nothing to show.

Every function takes results of one predictor. Predictions that are no test of transfer stand on lines
of their own in every table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from roofline_lab.config import Settings
from roofline_lab.formatting import MISSING, pct, signed_pct, table
from roofline_lab.ground_truth.metrics import PERCENTILES
from roofline_lab.predict.predictors import MEANINGS, OUT_OF_SAMPLE, Flag, Holdout
from roofline_lab.predict.records import (
    EXCLUDED,
    HEADLINE,
    PREDICTED_SATURATED,
    UNKNOWN_SOFTWARE,
    PointResult,
    Refused,
    label,
)
from roofline_lab.report.evaluation.aggregate import (
    GROUPS,
    LEVELS,
    NOT_IN_THE_FIT,
    Level,
    evaluated,
    group_of,
    grouped,
    holdout_groups,
    levels_of,
    natural,
)
from roofline_lab.scoring.comparison import Comparison
from roofline_lab.scoring.errors import PERCENT
from roofline_lab.scoring.table import means, sizes
from roofline_lab.vocabulary import RowStatus

WORST = 12
METRIC_LABELS = tuple(map(label, HEADLINE))
GROUP_TITLES = {
    "family": "family",
    "tp": "tensor parallelism",
    "hardware": "hardware",
    "workload": "workload",
    "strategy": "load",
    "architecture": "architecture",
    "tool": "tool and side",
}
MEANING_EXCLUDED = {
    PREDICTED_SATURATED: "the queue grows in the simulation, and nothing says that it did on the server; in no mean of "
    "the lines above, because such an error has no upper end",
    UNKNOWN_SOFTWARE: "serving software, or a version of it, that no measurement of the fit states",
}
NOT_MEASURED = "the measurement does not have it"
RANKED = tuple(f"{stem}_{rank}" for stem in ("ttft", "tpot", "itl", "e2e") for rank in PERCENTILES)
THROUGHPUTS = {
    "request_throughput": "requests/s",
    "output_token_throughput": "output tokens/s",
    "total_token_throughput": "tokens/s",
}


def headline(results: Sequence[PointResult], settings: Settings) -> str:
    """Mean and median absolute errors of means, three ways, by how much of a test they are."""
    lines = []
    for holdout, members in holdout_groups(results).items():
        found = levels_of(evaluated(members), settings=settings)
        for place, name in enumerate(LEVELS if found else ()):
            levels = [found[metric][place] if metric in found else None for metric in HEADLINE]
            counts = _span({level.count for level in levels if level})
            cells = [_with_interval(level, bold=name == "experiments") for level in levels]
            lines.append([holdout, f"{counts} {name}", *cells])
    return table(["predictions", "mean over", *METRIC_LABELS], lines, left=2) if lines else ""


def holdouts(results: Sequence[PointResult]) -> str:
    """Say what each group of predictions is, those that occur."""
    found = {result.holdout for result in results}
    lines = [f"- *{holdout.value}*: {MEANINGS[holdout]}." for holdout in Holdout if holdout in found]
    if found >= set(OUT_OF_SAMPLE):
        lines.insert(0, f"- *{NOT_IN_THE_FIT}*: never seen and held out together.")
    lines += [
        f"- *..., {name}*: {MEANING_EXCLUDED[name]}."
        for name in EXCLUDED
        if any(each.excluded == name for each in results)
    ]
    return "\n".join(lines)


def by_group(results: Sequence[PointResult]) -> Iterator[tuple[str, str]]:
    """Yield title and table of every grouping that has something scored."""
    scored = evaluated(results)
    for scope, column in GROUPS.items():
        by = (column, "method", "metric")
        absolute, signed, counts = means(scored, by), means(scored, by, "signed_error_pct"), sizes(scored, by)
        groups = {(key, holdout) for key, holdout, metric in absolute if metric in HEADLINE}
        lines = []
        for group in sorted(groups, key=lambda group: (natural(str(group[0])), natural(str(group[1])))):
            known = [(*group, metric) if (*group, metric) in absolute else None for metric in HEADLINE]
            points = _span({counts[key] for key in known if key})
            cells = [_absolute_and_signed(absolute[key], signed[key]) if key else MISSING for key in known]
            lines.append([str(group[0]), str(group[1]), points, *cells])
        if lines:
            yield GROUP_TITLES[scope], table([GROUP_TITLES[scope], "predictions", "n", *METRIC_LABELS], lines, left=2)


def percentiles(results: Sequence[PointResult]) -> str:
    """Mean absolute and mean signed error of every measured percentile."""
    scored, by = evaluated(results), ("metric", "method")
    absolute, signed, counts = means(scored, by), means(scored, by, "signed_error_pct"), sizes(scored, by)
    order = sorted((key for key in absolute if key[0] in RANKED), key=lambda key: (RANKED.index(key[0]), key[1]))
    lines = [
        [label(str(key[0])), str(key[1]), str(counts[key]), pct(absolute[key]), signed_pct(signed[key])]
        for key in order
    ]
    header = ["figure", "predictions", "n", "mean absolute error", "mean signed error"]
    return table(header, lines, left=2) if lines else ""


def saturation(results: Sequence[PointResult]) -> str:
    """Whether each saturated load point was predicted to be one, and how far its throughputs are off."""
    lines = []
    for result in results:
        if result.status is RowStatus.SATURATED:
            cells = [_measured_and_error(result.figure(name)) for name in THROUGHPUTS]
            predicted = {True: "yes", False: "no", None: MISSING}[result.saturated_predicted]
            lines.append([result.place.name, result.holdout.value, predicted, *cells])
    header = ["saturated load point", "predictions", "predicted saturated", *THROUGHPUTS.values()]
    return table(header, lines, left=2) if lines else ""


def saturation_counts(results: Sequence[PointResult]) -> str:
    """How often saturation was predicted as it was measured."""
    lines = []
    for measured, words in ((True, "saturated"), (False, "not saturated"), (None, "not known")):
        known = [
            result
            for result in results
            if result.saturated_measured is measured and result.saturated_predicted is not None
        ]
        for holdout, own in grouped(known, lambda result: result.holdout.value).items():
            said = sum(result.saturated_predicted is True for result in own)
            wrong = len(own) - said if measured else said
            lines.append([words, holdout, str(len(own)), str(said), str(len(own) - said), str(wrong)])
    header = ["measured", "predictions", "load points", "predicted saturated", "predicted not saturated", "wrong"]
    return table(header, lines, left=2) if lines else ""


def worst(results: Sequence[PointResult]) -> str:
    """List the load points with the largest error in any mean."""
    errors = {result.place.name: [abs(result.error_pct(metric) or 0.0) for metric in HEADLINE] for result in results}
    chosen = [result for result in results if any(result.error_pct(metric) is not None for metric in HEADLINE)]
    ranked = sorted(chosen, key=lambda result: (-max(errors[result.place.name]), result.place.name))
    return _signed(ranked[:WORST])


def every_point(results: Sequence[PointResult]) -> str:
    """List every load point, with the reason where there are no errors."""
    return _signed(results)


def not_evaluated(results: Sequence[PointResult], refused: Sequence[Refused]) -> str:
    """List experiments and load points nothing was predicted for."""
    lines = [[refusal.place, refusal.status.value, refusal.reason] for refusal in (*refused, *unsupported(results))]
    return table(["experiment or load point", "status", "reason"], lines, left=3) if lines else ""


def unsupported(results: Sequence[PointResult]) -> list[Refused]:
    """Return what could not be predicted; an experiment of which that is true as a whole is named once."""
    found = []
    for name, own in grouped(results, lambda result: result.place.experiment).items():
        failed = [result for result in own if result.status is RowStatus.UNSUPPORTED]
        reasons = dict.fromkeys(result.reason for result in failed)
        if len(failed) == len(own) and len(reasons) == 1:
            found.append(Refused(name, RowStatus.UNSUPPORTED, failed[0].reason))
        else:
            found += [Refused(result.place.name, RowStatus.UNSUPPORTED, result.reason) for result in failed]
    return found


def without_error(results: Sequence[PointResult]) -> str:
    """List the figures that have no error for another reason than saturation, and at how many load points."""
    counts: dict[tuple[RowStatus, str, str], int] = {}
    for result in (point for point in results if point.status is RowStatus.OK):
        missing = [(RowStatus.NOT_MEASURED, NOT_MEASURED, name) for name in HEADLINE if result.figure(name) is None]
        listed = [(each.status, each.reason, each.name) for each in result.figures if each.status is not RowStatus.OK]
        for key in (*missing, *listed):
            counts[key] = counts.get(key, 0) + 1
    lines = [
        [label(name), status.value, reason, f"{count} of {len(results)}"]
        for (status, reason, name), count in sorted(counts.items())
    ]
    return table(["figure", "status", "reason", "load points"], lines, left=3) if lines else ""


def flags(results: Sequence[PointResult]) -> str:
    """List where predictions leave what the constants rest on, with the experiments concerned."""
    about: dict[tuple[Flag, str], list[str]] = {}
    for result in results:
        for note in result.notes:
            names = about.setdefault((note.flag, note.text), [])
            if result.place.experiment not in names:
                names.append(result.place.experiment)
    order = list(Flag)
    keys = sorted(about, key=lambda key: (order.index(key[0]), key[1]))
    lines = [[f"`{flag.value}`", text, ", ".join(about[flag, text])] for flag, text in keys]
    return table(["flag", "what it means", "experiments"], lines, left=3) if lines else ""


def distances(results: Sequence[PointResult]) -> str:
    """How far distributions over requests lie apart, where single requests were recorded."""
    lines = [
        [
            result.place.name,
            latency.upper(),
            str(found["requests"]),
            f"{found['kolmogorov_smirnov']:.3f}",
            pct(found["quantile_difference"] * PERCENT),
        ]
        for result in results
        for latency, found in result.distances.items()
    ]
    header = ["load point", "figure", "requests", "Kolmogorov-Smirnov", "mean relative quantile difference"]
    return table(header, lines, left=2) if lines else ""


def _signed(results: Sequence[PointResult]) -> str:
    lines = []
    for result in results:
        place = result.place
        what = group_of(result) if result.status is RowStatus.OK else f"{result.holdout.value}, {result.status.value}"
        cells = [signed_pct(result.error_pct(metric)) for metric in HEADLINE]
        marks = ", ".join(dict.fromkeys(f"`{note.flag.value}`" for note in result.notes)) or MISSING
        lines.append([place.name, place.family, place.hardware, str(place.tensor_parallel), what, *cells, marks])
    header = ["load point", "family", "hardware", "TP", "predictions", *METRIC_LABELS, "flags"]
    return table(header, lines, left=3) if lines else ""


def _measured_and_error(figure: Comparison | None) -> str:
    if figure is None or figure.error_pct is None:
        return MISSING
    return f"{figure.measured:.4g} ({signed_pct(figure.error_pct)})"


def _absolute_and_signed(absolute: float, signed: float) -> str:
    return f"{pct(absolute)} ({signed_pct(signed)})"


def _with_interval(level: Level | None, *, bold: bool) -> str:
    if level is None:
        return MISSING
    text = f"**{pct(level.mean)}**" if bold else pct(level.mean)
    text += f" ({level.interval.low:.1f} to {level.interval.high:.1f})" if level.interval else ""
    return f"{text}, median {pct(level.median)}"


def _span(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
