"""Tables of a calibration report, as markdown text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from math import isnan
from typing import TYPE_CHECKING, Any

from roofline_lab.calibration.constants import CONSTANTS
from roofline_lab.calibration.judge import MEANS
from roofline_lab.calibration.plan import PerMetric, Plan
from roofline_lab.formatting import MISSING, pct, signed_pct, table
from roofline_lab.report.cells import GROUP_ERRORS, NO_NAMES, group_cells
from roofline_lab.report.tables import tp_speedups
from roofline_lab.scoring.errors import PERCENT, mean
from roofline_lab.scoring.table import errors_by, load_points, mean_of, means

if TYPE_CHECKING:
    import pandas as pd

# (experiment, load point) -> its rows by metric.
Points = Mapping[tuple[str, str], "pd.DataFrame"]
METRIC_LABELS = ("TTFT", "ITL", "E2E")
VARIANTS = {
    "held_out": "held out",
    "lineage_held_out": "lineage held out",
    "in_sample": "in sample",
    "starts": "starts, nothing fitted",
    "data_sheet": "data sheet only",
}
ALONE = {"synchronous_held_out": "held out", "synchronous_lineage_held_out": "lineage held out"}
# Held-out constants with other kernel counts (`kernel_counts`).
KERNEL_VARIANTS = {
    "half_the_extra_kernels": "half as many",
    "held_out": "as counted",
    "half_more_extra_kernels": "half as many again",
}
WORST = 12
NOTABLE_CORRELATION = 0.6


def headline(rows: pd.DataFrame, plan: Plan, variants: Collection[str] = tuple(VARIANTS)) -> str:
    """Compare the errors of some variants with the targets, by group of load points."""
    client = rows[rows["side"] == "client"]
    synchronous, dense = client["strategy"] == "synchronous", ~client["mixture"].astype(bool)
    groups: list[tuple[str, pd.Series, PerMetric | None]] = [
        ("one request at a time", synchronous, plan.targets.synchronous),
        ("all client load points", synchronous | ~synchronous, plan.targets.client),
        ("all client load points, dense", dense, plan.targets.client),
        ("under load, dense", ~synchronous & dense, None),
        ("all client load points, mixture of experts", ~dense, plan.targets.client),
    ]
    lines = []
    for label, belongs, target in groups:
        for variant in variants:
            words = VARIANTS[variant]
            chosen = client[belongs & (client["arm"] == variant)]
            points = str(len(_points(chosen)))
            lines.append([label, words, points, *_errors(chosen, target if variant == "held_out" else None)])
    return table(["load points", "constants", "n", *METRIC_LABELS], lines, left=2)


def lineages(plan: Plan) -> str:
    """Return which families come from one lineage and are held out together."""
    return "; ".join(f"{lineage} ({' and '.join(members)})" for lineage, members in plan.lineages.items())


def synchronous_alone(rows: pd.DataFrame, plan: Plan) -> str:
    """Errors of the synchronous points where only they are fitted to."""
    lines = [
        [words, *_errors(rows[rows["arm"] == variant], plan.targets.synchronous)] for variant, words in ALONE.items()
    ]
    return table(["constants", *METRIC_LABELS], lines)


def by_family(held: pd.DataFrame) -> str:
    """Errors per family and side."""
    sides = held["side"].map({"client": "", "server": " (server side)"})
    return table(["family", "n", *METRIC_LABELS], _group_lines(held, held["family"] + sides))


def by_group(held: pd.DataFrame) -> str:
    """Errors per TP degree, workload and kind of load, client side."""
    client = held[held["side"] == "client"]
    keys = ("TP " + client["tensor_parallel"].astype(str), client["workload"], client["strategy"])
    lines = [line for key in keys for line in _group_lines(client, key)]
    return table(["group", "n", *METRIC_LABELS], lines)


def speedups(held: pd.DataFrame) -> str:
    """Return the speed-up by tensor parallelism, measured and predicted by constants from other families."""
    return tp_speedups(held, ("held_out",), dict(zip(MEANS, METRIC_LABELS, strict=True)))


def worst_points(held: pd.DataFrame, names: Mapping[str, str]) -> str:
    """List the load points with the largest error in any mean, under the names that readers know."""
    means_alone = held[held["metric"].isin(MEANS)]
    largest = means_alone.groupby(["experiment", "load_point"])["ape_pct"].max().to_dict()
    ranked = sorted(_points(held).items(), key=lambda point: (-largest[point[0]], "/".join(point[0])))
    return _signed(dict(ranked[:WORST]), names)


def every_point(held: pd.DataFrame) -> str:
    """List every load point."""
    return _signed(_points(held))


def constants_table(fitted: dict[str, Any]) -> str:
    """List constants with units, intervals, the least and greatest of all folds, ranges and starts."""
    lines = []
    for constant in CONSTANTS:
        low, high = fitted["intervals"][constant.name]
        value = fitted["in_sample"]["values"][constant.name]
        end = fitted["in_sample"]["at_bound"].get(constant.name)
        folds = [fold["values"][constant.name] for fold in fitted["held_out"].values()]
        lines.append(
            [
                f"`{constant.name}`",
                f"{value:.4g}{f' (at its {end} end)' if end else ''}",
                "" if constant.unit == "1" else constant.unit,
                f"{low:.3g} to {high:.3g}",
                f"{min(folds):.3g} to {max(folds):.3g}",
                f"{constant.low:g} to {constant.high:g}",
                f"{constant.start:.4g} ± {constant.spread:.4g}",
                constant.meaning,
                constant.start_source,
            ]
        )
    header = ["constant", "value", "unit", "95 % interval", "folds", "range", "start ± trust"]
    header += ["meaning", "source of the start"]
    return table(header, lines, left=len(header))


def kernel_table(rows: pd.DataFrame) -> str:
    """List the errors of mixtures of experts with fewer and more of the kernels that are counted by hand."""
    lines = []
    for variant, words in KERNEL_VARIANTS.items():
        chosen = rows[(rows["arm"] == variant) & rows["mixture"].astype(bool)]
        signed = mean_of(chosen[chosen["metric"] == "itl_mean"]["signed_error_pct"])
        lines.append([words, *_errors(chosen, None), signed_pct(signed)])
    return table(["kernels beyond those of a dense BF16 layer", *METRIC_LABELS, "ITL, signed"], lines)


def ablation_table(fitted: dict[str, Any]) -> str:
    """List the held-out errors without one term each, most needed first."""
    found = dict(fitted["ablations"])
    whole = found.pop("")
    ranked = sorted(found.items(), key=lambda entry: (-entry[1][1], entry[0]))
    lines = [["all terms", *(pct(PERCENT * value) for value in whole)]]
    lines += [[f"without {name}", *(pct(PERCENT * value) for value in errors)] for name, errors in ranked]
    return table(["terms", *METRIC_LABELS], lines)


def start_table(fitted: dict[str, Any]) -> str:
    """List the held-out errors when starts are trusted more and ever less."""
    sources = (("all client load points", "start_dependence"), ("synchronous alone", "synchronous_start_dependence"))
    lines = []
    for label, key in sources:
        for entry in fitted[key]:
            lines.append([label, _trust(entry["divisor"]), *(pct(PERCENT * value) for value in entry["errors"])])
    return table(["load points", "starts trusted", *METRIC_LABELS], lines, left=2)


def pairs_table(fitted: dict[str, Any]) -> str:
    """List the pairs of constants that go together."""
    matrix = fitted["correlations"]
    found = [
        (matrix[i][j], CONSTANTS[i].name, CONSTANTS[j].name)
        for i in range(len(CONSTANTS))
        for j in range(i)
        if abs(matrix[i][j]) >= NOTABLE_CORRELATION
    ]
    if not found:
        return "None."
    ranked = sorted(found, key=lambda entry: (-abs(entry[0]), entry[1], entry[2]))
    return table(["constant", "goes with", "correlation"], [[f"`{a}`", f"`{b}`", f"{r:+.2f}"] for r, a, b in ranked], 2)


def correlation_table(fitted: dict[str, Any]) -> str:
    """Return the whole matrix, constants numbered."""
    header = ["constant", *(str(i + 1) for i in range(len(CONSTANTS)))]
    lines = [
        [f"{i + 1} `{constant.name}`", *(f"{value:+.2f}" for value in fitted["correlations"][i])]
        for i, constant in enumerate(CONSTANTS)
    ]
    return table(header, lines)


def learning_means(fitted: dict[str, Any]) -> tuple[list[int], list[list[float]]]:
    """Return sizes, and mean errors in percent of TTFT, ITL and E2E, one row per size."""
    sizes, errors = [], []
    for entry in fitted["learning_curve"]:
        rows = entry["errors"]
        sizes.append(entry["families"])
        errors.append([PERCENT * mean([row[place] for row in rows]) for place in range(3)])
    return sizes, errors


def learning_table(fitted: dict[str, Any]) -> str:
    """Errors by number of families in the fit."""
    sizes, errors = learning_means(fitted)
    lines = [[str(size), *(pct(value) for value in row)] for size, row in zip(sizes, errors, strict=True)]
    return table(["families in the fit", *METRIC_LABELS], lines)


def percentile_table(held: pd.DataFrame) -> str:
    """Mean absolute and mean signed error of every measured percentile."""
    errors = errors_by(held[~held["metric"].isin(MEANS)], ("side", "metric"))
    lines = []
    for side, metric in sorted(errors, key=lambda key: (key[0], _percentile_order(str(key[1])))):
        kind, rank = str(metric).split("_")
        lines.append([f"{kind.upper()} {rank}", str(side), *group_cells(errors[side, metric])])
    return table(["metric", "side", *GROUP_ERRORS], lines, left=2)


def sweep_table(rows: pd.DataFrame) -> str:
    """List the load points of a sweep with predicted and measured means."""
    ordered = rows.sort_values(["rate_per_s", "experiment", "load_point"], na_position="first")
    lines = []
    for (_, load_point), point in _points(ordered).items():
        cells = []
        for metric in MEANS:
            row = point.loc[metric]
            cells += [f"{row['predicted']:.1f}", f"{row['measured']:.1f}", signed_pct(row["signed_error_pct"])]
        rate_per_s = point["rate_per_s"].iloc[0]
        lines.append([load_point, MISSING if isnan(rate_per_s) else f"{rate_per_s:.3f}", *cells])
    header = ["load point", "rate [1/s]"]
    header += [f"{label} {what}" for label in METRIC_LABELS for what in ("predicted [ms]", "measured [ms]", "error")]
    return table(header, lines)


def _trust(divisor: float) -> str:
    if divisor == 1:
        return "as planned"
    return f"{divisor:g} times less" if divisor > 1 else f"{1 / divisor:g} times more"


def _points(rows: pd.DataFrame) -> Points:
    """Return the rows of every load point by metric; load points by experiment and name, in their order."""
    return {place: point.set_index("metric") for place, point in rows.groupby(["experiment", "load_point"], sort=False)}


def _errors(rows: pd.DataFrame, target: PerMetric | None) -> Iterator[str]:
    limits = (target.ttft, target.itl, target.e2e) if target else (None, None, None)
    errors = means(rows, ("metric",))
    for metric, limit in zip(MEANS, limits, strict=True):
        error = errors.get((metric,))
        if error is None or limit is None:
            yield pct(error)
        else:
            yield f"**{pct(error)}** ({'met' if error <= limit else 'missed'}: at most {limit:g} %)"


def _group_lines(rows: pd.DataFrame, groups: pd.Series) -> list[list[str]]:
    grouped = rows.assign(group=groups)
    errors, points = means(grouped, ("group", "metric")), load_points(grouped, "group")
    return [
        [str(name), str(points[name]), *(pct(errors.get((name, metric))) for metric in MEANS)]
        for name in sorted(points, key=str)
    ]


def _signed(points: Points, names: Mapping[str, str] = NO_NAMES) -> str:
    lines = []
    for (experiment, load_point), point in points.items():
        first, errors = point.iloc[0], point["signed_error_pct"]
        cells = [signed_pct(errors.get(metric)) for metric in MEANS]
        place = f"{names[experiment]}, {load_point}" if names else f"{experiment}/{load_point}"
        lines.append([place, first["family"], str(first["tensor_parallel"]), *cells])
    return table(["load point", "family", "TP", *METRIC_LABELS], lines, left=2)


def _percentile_order(name: str) -> tuple[str, int]:
    metric, rank = name.split("_")
    return metric, int(rank.removeprefix("p"))
