"""Tables of an evaluation page, as markdown; empty where there is nothing to show.

Most functions take results of one predictor. Predictions that are no test of transfer stand on lines of their own in
every table. The last functions put two predictors side by side on the load points both predict: a gain is the absolute
error of the one compared with minus that of the one judged, in percentage points; positive: the one judged is closer.
Its test flips signs of the mean gains of experiments, its interval resamples families.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from roofline_lab.config import Settings
from roofline_lab.formatting import MISSING, pct, pp, signed_pct, table
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.metrics import PERCENTILES
from roofline_lab.predict.predictors import MEANINGS, OUT_OF_SAMPLE, Flag, Holdout
from roofline_lab.predict.records import (
    EXCLUDED,
    HEADLINE,
    PREDICTED_SATURATED,
    UNKNOWN_SOFTWARE,
    AssumptionCost,
    PointResult,
    Refused,
    label,
    moved_pct,
)
from roofline_lab.report.cells import (
    DISTANCES,
    GROUP_ERRORS,
    Noises,
    distance_cells,
    error_text,
    group_cells,
    with_noise,
)
from roofline_lab.report.evaluation_numbers import (
    GROUPS,
    LEVELS,
    NOT_IN_THE_FIT,
    Level,
    Line,
    evaluated,
    group_name,
    group_of,
    grouped,
    holdout_groups,
    levels_of,
    line,
    natural,
    rows_of,
)
from roofline_lab.report.tables import interval_cell, tp_speedups
from roofline_lab.scoring.comparison import Comparison
from roofline_lab.scoring.errors import gain_pp, mean
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS
from roofline_lab.scoring.scores import ErrorRow, Scores
from roofline_lab.scoring.statistics import Interval, PValue, median
from roofline_lab.scoring.table import GroupErrors, errors_by, levels, mean_of, table_of
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import RowStatus

WORST = 12
# From this change of a mean on, an assumption is named beside the result: twice what repeated runs differ by.
WORTH_STATING_PCT = 5.0
# Below this change an assumption stands in a sentence, not in the table of what assumptions cost.
NOTICED_PCT = 1.0
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
    lines, noises = [], []
    for holdout, members in holdout_groups(results).items():
        for name, errors in _levels(levels_of(evaluated(members), settings=settings)):
            cells = [_with_interval(level, bold=name == LEVELS[1]) for level in errors]
            over = _span({level.count for level in errors if level})
            lines.append([holdout, "1 experiment" if over == "1" else f"{over} {name}", *cells])
            noises.append([level.noise_pct if level else None for level in errors])
    return _errors_table(["predictions", "mean over", *METRIC_LABELS], lines, noises) if lines else ""


def _levels(found: Mapping[str, Sequence[Level]]) -> Iterator[tuple[str, list[Level | None]]]:
    """Yield the levels of a headline that have several members; the experiments, by which it goes, in any case."""
    for place, name in enumerate(LEVELS if found else ()):
        errors = [found[metric][place] if metric in found else None for metric in HEADLINE]
        if name == LEVELS[1] or any(level.count > 1 for level in errors if level):
            yield name, errors


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
    """Yield title and table of every grouping that has several groups with something scored."""
    scored = evaluated(results)
    for scope, column in GROUPS.items():
        by = (column, "method", "metric")
        errors = errors_by(scored, by)
        groups = {(key, holdout) for key, holdout, metric in errors if metric in HEADLINE}
        lines, noises = [], []
        for group in sorted(groups, key=lambda group: (natural(str(group[0])), natural(str(group[1])))):
            known = [errors.get((*group, metric)) for metric in HEADLINE]
            points = _span({error.count for error in known if error})
            lines.append([str(group[0]), str(group[1]), points, *map(_absolute_and_signed, known)])
            noises.append([error.noise_pct if error else None for error in known])
        # One group alone is what stands above all groups.
        if len({key for key, _ in groups}) > 1:
            header = [GROUP_TITLES[scope], "predictions", "n", *METRIC_LABELS]
            yield GROUP_TITLES[scope], _errors_table(header, lines, noises)


def speedups(results: Sequence[PointResult], names: Sequence[str]) -> str:
    """Return the speed-up by tensor parallelism, measured and predicted, where something was measured at two TP."""
    return tp_speedups(evaluated(results), names, {name: label(name) for name in HEADLINE})


def percentiles(results: Sequence[PointResult]) -> str:
    """Mean absolute and mean signed error of every measured percentile."""
    errors = errors_by(evaluated(results), ("metric", "method"))
    order = sorted((key for key in errors if key[0] in RANKED), key=lambda key: (RANKED.index(key[0]), key[1]))
    lines = [[label(str(key[0])), str(key[1]), *group_cells(errors[key])] for key in order]
    return table(["figure", "predictions", *GROUP_ERRORS], lines, left=2) if lines else ""


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


def lost_requests(experiments: Iterable[Experiment]) -> str:
    """List the load points of which some requests are in no figure, and what became of them."""
    lines = []
    for experiment in experiments:
        for point in experiment.load_points:
            counts = point.requests
            missing = counts.sent - counts.completed
            if missing:
                known = (counts.failed, counts.cancelled, counts.without_output)
                rest = missing - sum(number or 0 for number in known)
                cells = [MISSING if number is None else str(number) for number in known]
                cells = [str(counts.sent), str(counts.completed), *cells, str(rest)]
                lines.append([f"{experiment.id}, {point.id}", *cells])
    header = [
        "load point",
        "sent",
        "in the figures",
        "failed",
        "cut off",
        "without a token",
        "of which nobody says why",
    ]
    return table(header, lines, left=1) if lines else ""


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


def within(results: Sequence[PointResult], refused: Sequence[Refused]) -> str:
    """Say of what was predicted that no flag is needed; nothing is said of what was not looked at."""
    predicted = [result for result in results if result.status is not RowStatus.UNSUPPORTED]
    if not predicted:
        return "Not known: nothing was predicted."
    words = "hardware, tensor parallelism, tools, models and servers are all within."
    if refused or len(predicted) < len(results):
        return f"Nowhere among the load points that were predicted ({len(predicted)}): there {words}"
    return f"Nowhere: {words}"


def assumptions(results: Sequence[PointResult]) -> str:
    """List what was assumed about servers and moves a mean, once each, the dearest first, where it moves most."""
    lines = [
        [costs[0].assumed, costs[0].otherwise, costs[0].load_point, str(len(costs)), *map(moved, METRIC_LABELS)]
        for costs in _by_assumption(results)
        if costs[0].largest_pct >= NOTICED_PCT
        for moved in [partial(_moved, costs[0])]
    ]
    header = ["assumed", "if it was", "moves most at", "experiments", *(f"{name} [ms]" for name in METRIC_LABELS)]
    return table(header, lines, left=3) if lines else ""


def idle_assumptions(results: Sequence[PointResult]) -> str:
    """Say in a sentence what was assumed about servers and moves no mean, or not known how far."""
    still = [costs for costs in _by_assumption(results) if costs[0].largest_pct < NOTICED_PCT]
    unmoved = [f"{costs[0].assumed} (not {costs[0].otherwise})" for costs in still if costs[0].moves]
    unknown = [f"{costs[0].assumed}: {costs[0].reason}" for costs in still if not costs[0].moves]
    parts = [f"moving no mean by {NOTICED_PCT:g} %: {', '.join(unmoved)}"] if unmoved else []
    return "; ".join([*parts, *unknown])


def _by_assumption(results: Iterable[PointResult]) -> list[list[AssumptionCost]]:
    """Return the costs of each assumption with the experiment it costs most in first, the dearest assumption first."""
    found: dict[tuple[str, str], list[AssumptionCost]] = {}
    for cost in (cost for result in results for cost in result.costs):
        found.setdefault((cost.assumed, cost.otherwise), []).append(cost)
    ranked = [sorted(costs, key=lambda cost: -cost.largest_pct) for costs in found.values()]
    return sorted(ranked, key=lambda costs: -costs[0].largest_pct)


def dearest(results: Sequence[PointResult]) -> str:
    """Say which assumption about a server moves predictions most, if one of them does by `WORTH_STATING_PCT`."""
    costs = [cost for result in results for cost in result.costs]
    cost = max(costs, key=lambda each: each.largest_pct, default=None)
    if cost is None or cost.largest_pct < WORTH_STATING_PCT:
        return ""
    name, (before, after) = max(cost.moves.items(), key=lambda entry: abs(moved_pct(*entry[1])))
    move = signed_pct(moved_pct(before, after))
    return (
        f"assumed, and worth stating: {cost.assumed}; if it was {cost.otherwise}, {name} of {cost.load_point} is "
        f"predicted {move} from {before:.4g} ms"
    )


def sites(results: Sequence[PointResult]) -> list[str]:
    """Say where the client's time comes from at each site that the constants do not know."""
    kinds = (Flag.SITE, Flag.SITE_ESTIMATED)
    found = (note.text for result in results for note in result.notes if note.flag in kinds)
    return list(dict.fromkeys(found))


def _moved(cost: AssumptionCost, name: str) -> str:
    if name not in cost.moves:
        return MISSING
    before, after = cost.moves[name]
    return f"{before:.4g} -> {after:.4g} ({signed_pct(moved_pct(before, after))})"


def distances(results: Sequence[PointResult]) -> str:
    """How far distributions over requests lie apart, where single requests were recorded."""
    lines = [
        [
            result.place.name,
            latency.upper(),
            *distance_cells(found),
        ]
        for result in results
        for latency, found in result.distances.items()
    ]
    return table(["load point", "figure", *DISTANCES], lines, left=2) if lines else ""


def _errors_table(header: Sequence[str], lines: Sequence[Sequence[str]], noises: Sequence[Noises]) -> str:
    """Return a table of errors of the headline's figures, with the noise of the measurements where it is known."""
    return table(*with_noise(header, lines, noises, METRIC_LABELS), left=2)


def _absolute_and_signed(errors: GroupErrors | None) -> str:
    if errors is None:
        return MISSING
    return f"{error_text(errors.ape_pct, errors.noise_pct)} ({signed_pct(errors.signed_pct)})"


def _signed(results: Sequence[PointResult]) -> str:
    lines, noises = [], []
    for result in results:
        place = result.place
        what = group_of(result) if result.status is RowStatus.OK else f"{result.holdout.value}, {result.status.value}"
        figures = [result.figure(metric) for metric in HEADLINE]
        noises.append([figure.noise_pct if figure else None for figure in figures])
        cells = [error_text(each.error_pct, each.noise_pct, signed_pct) if each else MISSING for each in figures]
        marks = ", ".join(dict.fromkeys(f"`{note.flag.value}`" for note in result.notes)) or MISSING
        lines.append([place.name, place.family, place.hardware, str(place.tensor_parallel), what, *cells, marks])
    header = ["load point", "family", "hardware", "TP", "predictions", *METRIC_LABELS, "flags"]
    return table(*with_noise(header, lines, noises, METRIC_LABELS), left=3) if lines else ""


def _measured_and_error(figure: Comparison | None) -> str:
    if figure is None or figure.error_pct is None:
        return MISSING
    return f"{figure.measured:.4g} ({signed_pct(figure.error_pct)})"


def _with_interval(level: Level | None, *, bold: bool) -> str:
    if level is None:
        return MISSING
    mean_error = error_text(level.mean, level.noise_pct)
    text = f"**{mean_error}**" if bold else mean_error
    text += f" ({level.interval.low:.1f} to {level.interval.high:.1f})" if level.interval else ""
    return f"{text}, median {pct(level.median)}"


def _span(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


MOST_CHANGED = 10
# Probability below which a difference is usually called significant; with few experiments no p can get there.
USUAL_P = 0.05


# One load point under both.
Pair = tuple[ErrorRow, ErrorRow]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One figure over one group of load points.

    Attributes
    ----------
    judged, other, gain
        Means over experiments, each the mean of its load points.
    median_gain
        Median over load points; a single one cannot make it.
    better, worse
        Load points on which the one judged is closer, or farther, by more than the laboratory's threshold.
    noise
        Of the measurements, mean over experiments; None where it is not known of all.
    """

    group: str
    metric: str
    points: int
    experiments: int
    judged: float
    other: float
    gain: float
    median_gain: float
    interval: Interval | None
    p_value: PValue | None
    better: int
    worse: int
    noise: float | None = None


def headline_pairs(results: Iterable[PointResult], names: Sequence[str]) -> dict[str, tuple[Pair, ...]]:
    """Return the rows of the one judged beside those of the other, by metric, where both have an error."""
    scores = Scores(rows_of(results))
    return {metric: scores.pairs(metric, *names) for metric in HEADLINE}


def comparisons(results: Sequence[PointResult], names: Sequence[str], settings: Settings) -> list[SideBySide]:
    """Compare both predictors on every headline figure, by how much of a test the one judged is."""
    found = []
    only_other = {result.place for result in results if result.predictor == names[1] and result.falsely_saturated}
    for group, members in holdout_groups(result for result in results if result.predictor == names[0]).items():
        places = {result.place for result in members}
        # Where the other one alone saturates, its error has no upper end, and neither has the gain.
        apart = set() if group.endswith(PREDICTED_SATURATED) else only_other
        parts = {group: places - apart, group_name(group, f"{names[1]} {PREDICTED_SATURATED}"): places & apart}
        for name, chosen in parts.items():
            own = [result for result in results if result.place in chosen]
            for metric, pairs in headline_pairs(own, names).items():
                if pairs:
                    found.append(_comparison(name, metric, pairs, settings))
    return found


def _comparison(group: str, metric: str, pairs: Sequence[Pair], settings: Settings) -> SideBySide:
    gains_pp = [gain_pp(judged.ape_pct, other.ape_pct) for judged, other in pairs]
    rows = table_of(judged for judged, _ in pairs).assign(
        other_pct=[other.ape_pct for _, other in pairs], gain_pp=gains_pp
    )
    judged, other, gains = (levels(rows, value)[1] for value in ("ape_pct", "other_pct", "gain_pp"))
    uncertainty, threshold_pp = Uncertainty.of_settings(settings), settings.bold_above_pp
    return SideBySide(
        group=group,
        metric=metric,
        points=len(pairs),
        experiments=len(gains),
        judged=mean(judged.tolist()),
        other=mean(other.tolist()),
        gain=mean(gains.tolist()),
        median_gain=median(gains_pp),
        interval=uncertainty.interval_of(gains.tolist(), gains.index.get_level_values("family").tolist()),
        p_value=uncertainty.p_of_differences(gains.tolist()),
        better=sum(gain > threshold_pp for gain in gains_pp),
        worse=sum(gain < -threshold_pp for gain in gains_pp),
        noise=mean_of(levels(rows, "noise_pct")[1]) if rows["noise_pct"].notna().all() else None,
    )


def comparison_table(found: Iterable[SideBySide], names: Sequence[str], settings: Settings) -> str:
    """Return the comparison as markdown."""
    found, beyond = list(found), f"{settings.bold_above_pp:g} pp"
    lines = [
        [
            comparison.group,
            label(comparison.metric),
            f"{comparison.experiments} ({comparison.points})",
            error_text(comparison.judged, comparison.noise),
            error_text(comparison.other, comparison.noise),
            pp(comparison.gain, bold_above=settings.bold_above_pp),
            pp(comparison.median_gain),
            interval_cell(comparison.interval),
            f"{comparison.p_value.value:.2g}" if comparison.p_value else MISSING,
            str(comparison.better),
            str(comparison.worse),
        ]
        for comparison in found
    ]
    header = ["predictions", "figure", "experiments (load points)", names[0], names[1], "gain"]
    header += ["median over load points", "95 % interval", "p", f"better by {beyond}", f"worse by {beyond}"]
    return table(*with_noise(header, lines, [[each.noise] for each in found]), left=2) if lines else ""


def changed_table(results: Sequence[PointResult], names: Sequence[str]) -> str:
    """List the load points and figures on which the two differ most, losses of the one judged first."""
    pairs = [pair for pairs in headline_pairs(results, names).values() for pair in pairs]
    gains = [(gain_pp(judged.ape_pct, other.ape_pct), judged, other) for judged, other in pairs]
    ranked = sorted(gains, key=lambda entry: (entry[0], entry[1].place, entry[1].metric))
    lost = [entry for entry in ranked if entry[0] < 0][:MOST_CHANGED]
    lines = [
        [
            judged.place,
            label(judged.metric),
            *(error_text(row.signed_error_pct, row.noise_pct, signed_pct) for row in (judged, other)),
            pp(gain),
        ]
        for gain, judged, other in lost
    ]
    noises = [[judged.noise_pct] for _, judged, _ in lost]
    return table(*with_noise(["load point", "figure", *names, "gain"], lines, noises), left=2) if lines else ""


def unfair(results: Iterable[PointResult], names: Sequence[str]) -> str:
    """Say where one of the two may know the load points: in its own fit, or tuned without a record."""
    results, parts = list(results), []
    for name in names:
        holdouts = [result.holdout for result in results if result.predictor == name]
        seen = holdouts.count(Holdout.IN_SAMPLE)
        if seen:
            parts.append(f"`{name}` was fitted to the families of {seen} of these load points: there it is in sample.")
        if Holdout.NO_RECORD in holdouts:
            parts.append(
                f"`{name}` has no record of what it was tuned to: it may have been tuned to these very load points."
            )
    return " ".join(parts)


def smallest_p(found: Iterable[SideBySide]) -> str:
    """Say below what no p can fall with so few experiments, or empty where that hides nothing."""
    few = sorted(
        {
            comparison.experiments
            for comparison in found
            if comparison.p_value and 2.0 ** (1 - comparison.experiments) > USUAL_P
        }
    )
    words = [f"{number} experiments p cannot fall below {2.0 ** (1 - number):.2g}" for number in few]
    return f"With {', with '.join(words)}, whatever the gains are." if words else ""


def gain_lines(found: Iterable[SideBySide], names: Sequence[str]) -> Iterator[Line]:
    """Yield the lines of `numbers.csv` that hold the comparison."""
    for comparison in found:
        place = (comparison.group, names[0], ALL_LOAD_POINTS, "overall", "experiments", comparison.metric)
        yield line(*place, "delta", comparison.gain, "pp")
        yield line(*place, "delta_median", comparison.median_gain, "pp")
        yield line(*place, "better", comparison.better, "count")
        yield line(*place, "worse", comparison.worse, "count")
        if comparison.interval is not None:
            yield line(*place, "delta_low", comparison.interval.low, "pp")
            yield line(*place, "delta_high", comparison.interval.high, "pp")
        if comparison.p_value is not None:
            yield line(*place, "p_value", comparison.p_value.value, "ratio")
