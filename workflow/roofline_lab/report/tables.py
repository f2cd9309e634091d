"""The tables of a findings page: errors and gains from the scored rows, criteria, and how sure they are.

Every function returns markdown, empty where it has nothing to say. Columns follow one order everywhere: metric by
metric, arms in the order of the hypothesis, then the gain over the first arm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from roofline_lab.formatting import MISSING, counted, ms, pct, pp, quantity, signed_pct, signless_zero, table
from roofline_lab.hypotheses.outcome import CriterionOutcome, Robust
from roofline_lab.hypotheses.proportional import TOLERANCE_PCT, ExplainedCriterion, ProportionalArm
from roofline_lab.hypotheses.verdict import Verdict
from roofline_lab.report.cells import NO_NAMES, Noises, RunNames, error_text, with_noise
from roofline_lab.scoring.errors import gain_pp, mean
from roofline_lab.scoring.published import ReproducedCell
from roofline_lab.scoring.scores import ErrorRow, Scores
from roofline_lab.scoring.statistics import Interval, PValue
from roofline_lab.scoring.table import GROUPS, coverage_by, gains_table, load_points, means, noise_by, table_of
from roofline_lab.scoring.uncertainty import Evidence
from roofline_lab.vocabulary import SIDES, Metric, Reproduction, RowStatus, Scope

if TYPE_CHECKING:
    import pandas as pd


# Arms up to which one table holds all metrics.
FEW_ARMS = 2


class Tables:
    """Tables of one hypothesis: which arms and metrics, and from where on a gain is bold.

    With more than two arms a table of all metrics would be too wide to read, so that every metric
    gets its own.

    Parameters
    ----------
    covered
        Say beside every mean of how many load points it is, of those asked: arms do not predict the same ones.
    """

    def __init__(
        self, arms: Sequence[str], metrics: Sequence[Metric], bold_above_pp: float, *, covered: bool = False
    ) -> None:
        self.arms = tuple(arms)
        self.metrics = tuple(metrics)
        self.bold_above_pp = bold_above_pp
        self.covered = covered

    def errors(self, scores: Scores, names: Mapping[str, str] = NO_NAMES) -> str:
        """Return error and gain per experiment, under the names that readers know."""
        named = RunNames(scores.rows, names)

        def build(metrics: Sequence[Metric]) -> str:
            rows = []
            for name, load_point, workload in _runs(scores):
                cells = [cell for metric in metrics for cell in self._error_cells(scores, name, metric, load_point)]
                rows.append([named(name, load_point), workload, *cells])
            header = ["Experiment", "Workload", *error_header(self.arms, metrics)]
            return table(*self._with_noise(header, rows, scores, metrics), left=2, only_told=True)

        return self._by_metric(build)

    def aggregates(self, scores: Scores, scope: Scope, *, only_if_several: bool = False) -> str:
        """Return error and gain per group, the overall row last; of one group that alone, or nothing if asked."""
        scored = gains_table(scores, self.arms[0])
        several = scored[GROUPS[Scope(scope)]].nunique() > 1
        if only_if_several and not several:
            return ""
        columns = [GROUPS[scope], GROUPS[Scope.OVERALL]] if several and scope != Scope.SPLIT else [GROUPS[scope]]

        def build(metrics: Sequence[Metric]) -> str:
            found = [row for column in columns for row in self._group_rows(scored, column, metrics)]
            header, rows = [_SCOPE_TITLES[scope], "n", *error_header(self.arms, metrics)], [row for row, _ in found]
            return table(*with_noise(header, rows, [noise for _, noise in found], _labels(metrics)), only_told=True)

        return self._by_metric(build)

    def gaps(self, scores: Scores) -> str:
        """Return predicted minus measured per experiment, in the unit of the metric; negative latencies: too fast."""

        def build(metrics: Sequence[Metric]) -> str:
            names = [f"{metric.label} [{metric.unit}]" for metric in metrics]
            header = ["Experiment", *(f"{arm} {name}" for name in names for arm in self.arms)]
            rows, named = [], RunNames(scores.rows)
            for name, load_point, _ in _kept_up(scores):
                found = [scores.row(arm, name, metric, load_point) for metric in metrics for arm in self.arms]
                rows.append([named(name, load_point), *(_gap(row) for row in found)])
            return table(header, rows, only_told=True)

        return self._by_metric(build)

    def latencies(self, scores: Scores) -> str:
        """Return measured and predicted per experiment, in the unit of the metric."""

        def build(metrics: Sequence[Metric]) -> str:
            header = ["Experiment"]
            for metric in metrics:
                header += self._latency_header(scores, metric)
            rows, named = [], RunNames(scores.rows)
            for name, load_point, _ in _kept_up(scores):
                cells = [named(name, load_point)]
                for metric in metrics:
                    cells += self._latency_cells(scores, name, metric, load_point)
                rows.append(cells)
            return table(header, rows, only_told=True)

        return self._by_metric(build)

    def signed_errors(self, scores: Scores) -> str:
        """Return the signed error per experiment and arm."""

        def build(metrics: Sequence[Metric]) -> str:
            header = ["Experiment", *(f"{arm} {metric.label}" for metric in metrics for arm in self.arms)]
            rows, named = [], RunNames(scores.rows)
            for name, load_point, _ in _runs(scores):
                found = [scores.row(arm, name, metric, load_point) for metric in metrics for arm in self.arms]
                rows.append([named(name, load_point), *map(_signed_error, found)])
            return table(*self._with_noise(header, rows, scores, metrics), only_told=True)

        return self._by_metric(build)

    def tp_speedups(self, scores: Scores) -> str:
        """Return the speed-up by tensor parallelism of every arm; see the function."""
        return tp_speedups(table_of(scores.rows), self.arms, {metric: metric.label for metric in self.metrics})

    def tp_scaling(self, scores: Scores, metric: Metric) -> str:
        """Return the gain of every later arm along TP, per model and workload; empty if nowhere measured."""
        rows = []
        for arm in self.arms[1:]:
            for series in scores.tp_series(metric, arm, self.arms[0]):
                for tensor_parallel, value in zip(series.tensor_parallel, series.values, strict=True):
                    rows.append([series.label, arm, str(tensor_parallel), pp(value, self.bold_above_pp)])
        return table(["Model and workload", "Arm", "TP", f"{metric.label} gain"], rows, left=2) if rows else ""

    def _latency_header(self, scores: Scores, metric: Metric) -> list[str]:
        if not _measured_differs(scores, self.arms, metric):
            return [f"{side} {metric.label} [{metric.unit}]" for side in ("measured", *self.arms)]
        pairs = ((f"measured for {arm} [{metric.unit}]", f"{arm} {metric.label} [{metric.unit}]") for arm in self.arms)
        return [cell for pair in pairs for cell in pair]

    def _latency_cells(self, scores: Scores, name: str, metric: Metric, load_point: str) -> list[str]:
        found = [scores.row(arm, name, metric, load_point) for arm in self.arms]
        if not _measured_differs(scores, self.arms, metric):
            measured = next((row.measured for row in found if row is not None), None)
            return [ms(measured), *(ms(row.predicted if row else None) for row in found)]
        pairs = ((row.measured, row.predicted) if row else (None, None) for row in found)
        return [ms(value) for pair in pairs for value in pair]

    def _by_metric(self, build: Callable[[Sequence[Metric]], str]) -> str:
        if len(self.arms) <= FEW_ARMS or len(self.metrics) == 1:
            return build(self.metrics)
        return "\n\n".join(f"*{metric.label}*\n\n{build((metric,))}" for metric in self.metrics)

    def _error_cells(self, scores: Scores, name: str, metric: Metric, load_point: str) -> list[str]:
        rows = [scores.row(arm, name, metric, load_point) for arm in self.arms]
        errors = [row.ape_pct if row and row.is_scored else None for row in rows]
        return errors_with_gains(errors, self.bold_above_pp, rows[0].noise_pct if rows[0] else None)

    def _with_noise(
        self, header: Sequence[str], lines: Sequence[Sequence[str]], scores: Scores, metrics: Sequence[Metric]
    ) -> tuple[list[str], list[list[str]]]:
        """Return head and lines, one for every load point, with what is known of the noise of its measurements."""
        found = [[scores.row(self.arms[0], name, metric, at) for metric in metrics] for name, at, _ in _runs(scores)]
        return with_noise(
            header, lines, [[row.noise_pct if row else None for row in line] for line in found], _labels(metrics)
        )

    def _group_rows(
        self, scored: pd.DataFrame, column: str, metrics: Sequence[Metric]
    ) -> Iterator[tuple[list[str], Noises]]:
        """Yield a line per group of a column, and its noise by metric: load points with an error, errors, and gains."""
        by = (column, "arm", "metric")
        errors, gains, noise = means(scored, by), means(scored, by, "gain_pp"), noise_by(scored, by)
        counts = coverage_by(scored, by) if self.covered else {}
        sizes = load_points(scored[scored["ape_pct"].notna()], column)

        def error(*group: object) -> str:
            beside = f" ({counts[group]})" if group in counts else ""
            return error_text(errors.get(group), noise.get(group)) + beside

        for key in dict.fromkeys(scored[column]):
            cells = []
            for metric in metrics:
                cells.append(error(key, self.arms[0], metric))
                for arm in self.arms[1:]:
                    cells += [error(key, arm, metric), pp(gains.get((key, arm, metric)), self.bold_above_pp)]
            line = [
                "**overall**" if column == "overall" else SIDES.get(str(key), str(key)),
                str(sizes.get(key, 0)),
                *cells,
            ]
            yield line, [noise.get((key, self.arms[0], metric)) for metric in metrics]


def tp_speedups(rows: pd.DataFrame, arms: Sequence[str], labels: Mapping[str, str]) -> str:
    """Return by how much more GPUs shorten a latency, measured and predicted; empty if nothing was measured at two TP.

    Scored rows of the same model, GPU, workload, load point and, where it is known, rate are one deployment at several
    TP. A speed-up is the latency at the smallest of them over that at a larger one; several measurements at one TP are
    averaged first.

    Parameters
    ----------
    rows
        The scored table.
    arms
        Which predictions, in the order of the columns.
    labels
        Which metrics, and what readers call them.
    """
    known = rows[rows["ape_pct"].notna() & rows["arm"].isin(arms)]
    known = known.assign(deployment=_deployments(known))
    by = ("metric", "deployment", "tensor_parallel")
    measured, predicted = means(known, by, "measured"), means(known, (*by, "arm"), "predicted")
    lines = []
    for metric, label in labels.items():
        degrees: defaultdict[str, list[Any]] = defaultdict(list)
        for name, place, degree in measured:
            if name == metric:
                degrees[str(place)].append(degree)
        for place in sorted(degrees):
            few, *more = sorted(degrees[place])
            for many in more:
                cells = [_speedup(predicted, (metric, place, few, arm), (metric, place, many, arm)) for arm in arms]
                own = _speedup(measured, (metric, place, few), (metric, place, many))
                lines.append([label, place, f"{few} to {many}", own, *cells])
    header = ["Metric", "Deployment", "TP", "measured", *(f"predicted, {arm}" for arm in arms)]
    return table(header, lines, left=3) if lines else ""


def _deployments(rows: pd.DataFrame) -> list[str]:
    """Name what each row's load point would still be at another TP; the GPU where there are several."""
    gpus = rows["hardware"] if rows["hardware"].nunique() > 1 else [""] * len(rows)
    models = rows["model"].where(rows["model"] != "", rows["family"])
    rates = rows["rate_per_s"].map(lambda rate: f"{rate:.2g}/s" if rate == rate else "")
    names = zip(models, gpus, rows["workload"], rows["load_point"], rates, rows["side"], strict=True)
    return [" ".join(filter(None, parts)) for parts in names]


def _speedup(times: Mapping[tuple[Hashable, ...], float], few: tuple[Hashable, ...], many: tuple[Hashable, ...]) -> str:
    return f"{times[few] / times[many]:.2f}" if few in times and many in times else MISSING


def error_header(arms: Sequence[str], metrics: Sequence[Metric]) -> list[str]:
    """Return the columns of errors: metric by metric, each arm behind the first with its gain over it."""
    header = []
    for metric in metrics:
        header.append(f"{arms[0]} {metric.label}")
        for arm in arms[1:]:
            header += [f"{arm} {metric.label}", "gain"]
    return header


def errors_with_gains(
    errors_pct: Sequence[float | None], bold_above_pp: float | None = None, noise_pct: float | None = None
) -> list[str]:
    """Return the error of each arm, each behind the first with its gain over it."""
    first = errors_pct[0]
    cells = [error_text(first, noise_pct)]
    for error in errors_pct[1:]:
        gain = gain_pp(error, first) if first is not None and error is not None else None
        cells += [error_text(error, noise_pct), pp(gain, bold_above_pp)]
    return cells


# Decimals of an interval whose ends are close together; ends that are the same in all of them are one value.
MOST_DECIMALS = 6


def interval_cell(interval: Interval | None, unit: str = "") -> str:
    """Return the ends of an interval of differences, with as many decimals as tell them apart."""
    if interval is None:
        return MISSING
    for decimals in range(1, MOST_DECIMALS + 1):
        low, high = (f"{signless_zero(end, decimals):+.{decimals}f}" for end in (interval.low, interval.high))
        if low != high:
            return f"{low} to {high}{unit}"
    return f"all {signless_zero(interval.low):+.1f}{unit}"


def p_value_cell(p_value: PValue | None) -> str:
    """Return the p of a permutation test, and whether permutations were drawn."""
    return MISSING if p_value is None else f"{p_value.value:.4f}{'' if p_value.exact else ' (drawn)'}"


_SCOPE_TITLES = {
    Scope.WORKLOAD: "Workload",
    Scope.FAMILY: "Model family",
    Scope.TP: "TP",
    Scope.HARDWARE: "GPU",
    Scope.LOAD_POINT: "Load point",
    Scope.SPLIT: "Side",
}


def judged(verdict: Verdict) -> str:
    """Return every criterion and control in one line: what was observed, how sure it is, and the result."""
    rows = []
    for role, outcomes in (("criterion", verdict.criteria), ("control", verdict.controls)):
        for outcome in outcomes:
            evidence = outcome.evidence
            rows.append(
                [
                    f"`{outcome.id}`",
                    outcome.statement
                    + (f" ({role})" if role == "control" else " (decisive)" if outcome.decisive else ""),
                    f"**{outcome.result}**",
                    quantity(outcome.observed, outcome.unit),
                    _interval_of(outcome, evidence) if evidence else MISSING,
                    p_value_cell(evidence.p_value) if evidence else MISSING,
                ]
            )
    return table(["Criterion", "Claim", "Result", "Observed", "95 % interval", "p"], rows, left=3, only_told=True)


def criteria(verdict: Verdict) -> str:
    """Return every criterion and control with what was observed."""
    rows = []
    for role, outcomes in (("criterion", verdict.criteria), ("control", verdict.controls)):
        for outcome in outcomes:
            rows.append(
                [
                    outcome.id,
                    f"{role}, decisive" if outcome.decisive and role == "criterion" else role,
                    outcome.statement,
                    f"**{outcome.result}**",
                    quantity(outcome.observed, outcome.unit),
                    quantity(outcome.margin, outcome.unit),
                    outcome.detail,
                ]
            )
    return table(["Id", "Role", "Statement", "Result", "Observed", "Margin", "Detail"], rows, left=4, only_told=True)


def reproduction_summary(comparisons: Sequence[ReproducedCell]) -> str:
    """Return how many published cells of each table came out again."""
    rows = []
    for name in dict.fromkeys(comparison.cell.table for comparison in comparisons):
        chosen = [comparison for comparison in comparisons if comparison.cell.table == name]
        counts = [sum(c.verdict is verdict for c in chosen) for verdict in Reproduction]
        digit = sum(c.to_the_digit for c in chosen)
        gaps = [abs(c.difference) for c in chosen if c.difference is not None and c.verdict is Reproduction.REPRODUCED]
        largest = f"{max(gaps):.2f}" if gaps else MISSING
        rows.append([name, str(len(chosen)), str(counts[0]), str(digit), str(counts[1]), str(counts[2]), largest])
    header = ["Table", "Cells", "reproduced", "of these to the digit", "not reproduced", "not reproducible"]
    return table([*header, "largest difference of a reproduced cell"], rows)


def reproduction_cells(comparisons: Sequence[ReproducedCell]) -> str:
    """Return every published cell beside its regenerated value; of generated points no arm is named."""
    measured = any(isinstance(comparison.cell.metric, Metric) for comparison in comparisons)
    rows = []
    for comparison in comparisons:
        cell = comparison.cell
        metric = cell.metric.label if isinstance(cell.metric, Metric) else cell.metric
        rows.append(
            [
                cell.table,
                cell.key,
                *([cell.arm] if measured else []),
                metric,
                cell.statistic.value,
                f"{cell.value:.{cell.decimals}f}",
                MISSING if comparison.regenerated is None else f"{comparison.regenerated:.{cell.decimals + 1}f}",
                _difference(comparison),
                cell.unit,
                comparison.verdict.value + (f": {comparison.reason}" if comparison.reason else ""),
            ]
        )
    what = ["Table", "Key", "Arm", "Metric"] if measured else ["Table", "Key", "Number"]
    header = [*what, "Statistic", "Published", "Regenerated", "Difference", "Unit", "Verdict"]
    return table(header, rows, left=len(what) + 1)


def _difference(comparison: ReproducedCell) -> str:
    """Return regenerated minus published, with one digit more than was printed."""
    if comparison.difference is None:
        return MISSING
    decimals = comparison.cell.decimals + 1
    return f"{signless_zero(comparison.difference, decimals):+.{decimals}f}"


def covered_error(scores: Scores, arm: str, metric: Metric) -> str:
    """Return the mean error of an arm over what it predicts, and how many of those asked that is."""
    return f"{pct(scores.mape(arm, metric))} ({scores.coverage(arm, metric)})"


def overall(scores: Scores, arms: Sequence[str], metrics: Sequence[Metric], *, covered: bool = False) -> str:
    """Return the overall error of every arm, one arm per line, with how many load points it predicts if asked for."""
    noise = noise_by(table_of(scores.rows), ("arm", "metric"))
    noises = [[noise.get((arm, metric)) for metric in metrics] for arm in arms]

    def error(arm: str, metric: Metric) -> str:
        text = error_text(scores.mape(arm, metric), noise.get((arm, metric)))
        return f"{text} ({scores.coverage(arm, metric)})" if covered else text

    rows = [[arm, *(error(arm, metric) for metric in metrics)] for arm in arms]
    return table(*with_noise(["Arm", *_labels(metrics)], rows, noises, _labels(metrics)))


def _labels(metrics: Sequence[Metric]) -> list[str]:
    return [metric.label for metric in metrics]


def _signed_error(row: ErrorRow | None) -> str:
    if row is None or not row.is_scored:
        return MISSING
    return error_text(row.signed_error_pct, row.noise_pct, signed_pct)


def overall_gain(scores: Scores, metric: Metric, of: str, over: str) -> float | None:
    """Return the mean gain over all experiments, or None."""
    gains = [gain.value for gain in scores.gains(metric, of, over)]
    return mean(gains) if gains else None


def several_load_points(scores: Scores) -> bool:
    """Return whether experiments were compared at more than one load point."""
    return len({row.load_point for row in scores.rows}) > 1


def _runs(scores: Scores) -> list[tuple[str, str, str]]:
    """Return (experiment, load point, workload) in matrix order."""
    return list(dict.fromkeys((row.experiment, row.load_point, row.workload) for row in scores.rows))


def unscored(scores: Scores, names: Mapping[str, str] = NO_NAMES) -> str:
    """Return the runs without a number, with status and reason, arms and metrics together; empty if there are none."""
    metrics: dict[tuple[str, ...], list[str]] = {}
    for row in scores.unscored():
        run = names.get(row.experiment, row.experiment), row.load_point
        metrics.setdefault((*run, row.status.value, row.reason, row.arm), []).append(Metric(row.metric).label)
    arms: dict[tuple[str, ...], list[str]] = {}
    for (*run, arm), labels in metrics.items():
        arms.setdefault((*run, ", ".join(labels)), []).append(arm)
    rows = [[name, point, ", ".join(own), labels, *why] for (name, point, *why, labels), own in arms.items()]
    return table(["Experiment", "Load point", "Arm", "Metric", "Status", "Reason"], rows, left=6) if rows else ""


def _measured_differs(scores: Scores, arms: Sequence[str], metric: Metric) -> bool:
    """Tell whether arms are compared with different measured figures: their definitions of a metric differ."""
    found: dict[tuple[str, str], set[float | None]] = {}
    for row in scores.rows:
        if row.metric is metric and row.arm in arms:
            found.setdefault((row.experiment, row.load_point), set()).add(row.measured)
    return any(len(measured) > 1 for measured in found.values())


def _kept_up(scores: Scores) -> list[tuple[str, str, str]]:
    """Return the runs at which no server was saturated: a latency of the others depends on when the run ended."""
    return _runs(scores.where(lambda row: row.status is not RowStatus.SATURATED))


def _gap(row: ErrorRow | None) -> str:
    if row is None or row.predicted is None or row.measured is None:
        return MISSING
    return f"{signless_zero(row.predicted - row.measured):+.1f}"


def uncertainty(verdict: Verdict) -> str:
    """Return interval, test and sample size of each criterion; empty if there are none."""
    judged = [(outcome, outcome.evidence) for outcome in verdict.outcomes if outcome.evidence is not None]
    if not judged:
        return ""
    header = ["Id", "Experiments", "Families", "Interval", "p", "Told from the threshold", "Experiments needed"]
    return table(header, [_uncertainty_row(outcome, evidence) for outcome, evidence in judged])


def robust(verdict: Verdict) -> str:
    """Return every criterion beside its robust and relaxed variants; empty if there are none."""
    judged = [(outcome, {variant.name: variant for variant in outcome.robust}) for outcome in verdict.outcomes]
    names = list(dict.fromkeys(name for _, variants in judged for name in variants))
    rows = [
        [f"`{outcome.id}`", str(outcome), *(_variant(variants.get(name), outcome.unit) for name in names)]
        for outcome, variants in judged
        if variants
    ]
    return table(["Criterion", "As fixed", *(name.capitalize() for name in names)], rows, left=2) if rows else ""


def _variant(variant: Robust | None, unit: str) -> str:
    return MISSING if variant is None else f"{quantity(variant.observed, unit)} ({variant.result})"


def _uncertainty_row(outcome: CriterionOutcome, evidence: Evidence) -> list[str]:
    return [
        outcome.id,
        " and ".join(map(str, evidence.sizes)),
        str(evidence.clusters),
        _interval_of(outcome, evidence),
        p_value_cell(evidence.p_value),
        "yes" if evidence.is_distinguishable else "**no**",
        _needed(evidence),
    ]


def _interval_of(outcome: CriterionOutcome, evidence: Evidence) -> str:
    if evidence.no_interval:
        return f"none: {evidence.no_interval}"
    return interval_cell(evidence.interval, " %" if outcome.unit == "pct" else " pp")


def _needed(evidence: Evidence) -> str:
    if evidence.needed is None:
        return MISSING
    return f"{evidence.needed:,}{' per group' if len(evidence.sizes) > 1 else ''} for {abs(evidence.claimed):.1f} pp"


def proportional(found: Sequence[ProportionalArm]) -> str:
    """Return one line per arm and metric: the factor, how constant it is, and the gains it accounts for."""
    rows = []
    for arm in found:
        constant = arm.is_constant_multiple
        rows.append(
            [
                arm.arm,
                arm.metric.label,
                f"{arm.scale:.4f}{' (from the options)' if arm.is_computed and constant else ''}",
                f"{arm.spread_pct:.2f} %",
                _constant(arm),
                pp(arm.gain),
                pp(arm.if_proportional) if constant else MISSING,
                pct(arm.explained_pct) if constant else MISSING,
            ]
        )
    header = ["Arm", "Metric", "Factor", "Largest deviation", f"Constant within {TOLERANCE_PCT:g} %"]
    return table([*header, "Gain", "By the factor alone", "Explained"], rows, left=2)


def _constant(arm: ProportionalArm) -> str:
    if not arm.is_told:
        return f"cannot be told from {counted(arm.points, 'different experiment')}"
    return "**yes**" if arm.is_constant_multiple else "no"


def explained_gains(found: Sequence[ProportionalArm], metrics: Collection[Metric]) -> str:
    """Return, per experiment, observed gain and gain by the factor alone, of some metrics.

    Arms that are no constant multiple have none, and where nothing changes there is nothing to explain.
    """
    rows = [
        [
            row.experiment,
            arm.arm,
            arm.metric.label,
            pp(row.gain),
            pp(row.if_proportional),
            pp(row.gain - row.if_proportional),
        ]
        for arm in found
        if arm.metric in metrics and arm.is_constant_multiple and arm.explained_pct is not None
        for row in arm.rows
    ]
    header = ["Experiment", "Arm", "Metric", "Gain", "By the factor alone", "Left to explain"]
    return table(header, rows, left=3) if rows else ""


def explained_criteria(found: Sequence[ExplainedCriterion]) -> str:
    """Return each criterion beside what the factor alone gives; empty if none is concerned."""
    rows = [
        [
            criterion.observed.id,
            str(criterion.observed),
            str(criterion.if_proportional),
            "**follows from the factor**" if criterion.is_explained else "does not follow",
        ]
        for criterion in found
    ]
    return table(["Criterion", "Observed", "By the factor alone", "Conclusion"], rows, left=4) if rows else ""
