"""Tables of a calibration report, as markdown text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import fsum
from typing import Any

from roofline_lab.calibration.constants import CONSTANTS
from roofline_lab.calibration.plan import PerMetric, Plan
from roofline_lab.calibration.rows import MEANS, Row, group_by, mape
from roofline_lab.formatting import MISSING, pct, signed_pct, table

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


def headline(rows: Sequence[Row], plan: Plan) -> str:
    """Compare the errors of all variants with the targets, by group of load points."""
    client = [row for row in rows if row.side == "client"]
    groups: list[tuple[str, Callable[[Row], bool], PerMetric | None]] = [
        ("one request at a time", _synchronous, plan.targets.synchronous),
        ("all client load points", lambda row: True, plan.targets.client),
        ("all client load points, dense", lambda row: not row.mixture, plan.targets.client),
        ("under load, dense", lambda row: not _synchronous(row) and not row.mixture, None),
        ("all client load points, mixture of experts", lambda row: row.mixture, plan.targets.client),
    ]
    lines = []
    for label, belongs, target in groups:
        for variant, words in VARIANTS.items():
            chosen = [row for row in client if row.variant == variant and belongs(row)]
            lines.append([label, words, str(len(chosen)), *_errors(chosen, target if variant == "held_out" else None)])
    return table(["load points", "constants", "n", *METRIC_LABELS], lines, left=2)


def synchronous_alone(rows: Sequence[Row], plan: Plan) -> str:
    """Errors of the synchronous points where only they are fitted to."""
    lines = [
        [words, *_errors([row for row in rows if row.variant == variant], plan.targets.synchronous)]
        for variant, words in ALONE.items()
    ]
    return table(["constants", *METRIC_LABELS], lines)


def by_family(held: Sequence[Row]) -> str:
    """Errors per family and side."""
    return _grouped(held, "family", lambda row: f"{row.family}{'' if row.side == 'client' else ' (server side)'}")


def by_group(held: Sequence[Row]) -> str:
    """Errors per TP degree, workload and kind of load, client side."""
    client = [row for row in held if row.side == "client"]
    keys: tuple[Callable[[Row], str], ...] = (
        lambda row: f"TP {row.tensor_parallel}",
        lambda row: row.workload,
        lambda row: row.strategy,
    )
    lines = []
    for key in keys:
        lines += _group_lines(client, key)
    return table(["group", "n", *METRIC_LABELS], lines)


def worst_points(held: Sequence[Row]) -> str:
    """List the load points with the largest error in any mean."""
    ranked = sorted(held, key=lambda row: (-max(abs(row.error_pct(metric) or 0.0) for metric in MEANS), row.name))
    return _signed(ranked[:WORST])


def every_point(held: Sequence[Row]) -> str:
    """List every load point."""
    return _signed(held)


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


def kernel_table(rows: Sequence[Row]) -> str:
    """List the errors of mixtures of experts with fewer and more of the kernels that are counted by hand."""
    lines = []
    for variant, words in KERNEL_VARIANTS.items():
        chosen = [row for row in rows if row.variant == variant and row.mixture]
        signed = [error for row in chosen if (error := row.error_pct("itl_mean")) is not None]
        mean = fsum(signed) / len(signed) if signed else None
        lines.append([words, *(pct(mape(chosen, metric)) for metric in MEANS), signed_pct(mean)])
    return table(["kernels beyond those of a dense BF16 layer", *METRIC_LABELS, "ITL, signed"], lines)


def ablation_table(fitted: dict[str, Any]) -> str:
    """List the held-out errors without one term each, most needed first."""
    found = dict(fitted["ablations"])
    whole = found.pop("")
    ranked = sorted(found.items(), key=lambda entry: (-entry[1][1], entry[0]))
    lines = [["all terms", *(pct(100.0 * value) for value in whole)]]
    lines += [[f"without {name}", *(pct(100.0 * value) for value in errors)] for name, errors in ranked]
    return table(["terms", *METRIC_LABELS], lines)


def start_table(fitted: dict[str, Any]) -> str:
    """List the held-out errors when starts are trusted more and ever less."""
    sources = (("all client load points", "start_dependence"), ("synchronous alone", "synchronous_start_dependence"))
    lines = []
    for label, key in sources:
        for entry in fitted[key]:
            lines.append([label, _trust(entry["divisor"]), *(pct(100.0 * value) for value in entry["errors"])])
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
        errors.append([100.0 * fsum(row[place] for row in rows) / len(rows) for place in range(3)])
    return sizes, errors


def learning_table(fitted: dict[str, Any]) -> str:
    """Errors by number of families in the fit."""
    sizes, errors = learning_means(fitted)
    lines = [[str(size), *(pct(value) for value in row)] for size, row in zip(sizes, errors, strict=True)]
    return table(["families in the fit", *METRIC_LABELS], lines)


def percentile_table(held: Sequence[Row]) -> str:
    """Mean absolute and mean signed error of every measured percentile."""
    names = sorted({name for row in held for name in row.figures} - set(MEANS), key=_percentile_order)
    lines = []
    for side in ("client", "server"):
        for name in names:
            chosen = [row for row in held if row.side == side and name in row.figures]
            if chosen:
                errors = [row.error_pct(name) or 0.0 for row in chosen]
                metric, rank = name.split("_")
                label = [f"{metric.upper()} {rank}", side, str(len(chosen))]
                lines.append([*label, pct(mape(chosen, name)), signed_pct(fsum(errors) / len(errors))])
    return table(["metric", "side", "n", "mean absolute error", "mean signed error"], lines, left=2)


def sweep_table(rows: Sequence[Row]) -> str:
    """List the load points of a sweep with predicted and measured means."""
    ordered = sorted(rows, key=lambda row: (row.rate_per_s is not None, row.rate_per_s or 0.0, row.name))
    lines = []
    for row in ordered:
        cells = []
        for metric in MEANS:
            got, want = row.figures[metric]
            cells += [f"{got:.1f}", f"{want:.1f}", signed_pct(row.error_pct(metric))]
        rate = MISSING if row.rate_per_s is None else f"{row.rate_per_s:.3f}"
        lines.append([row.name.split("/")[-1], rate, *cells])
    header = ["load point", "rate [1/s]"]
    header += [f"{label} {what}" for label in METRIC_LABELS for what in ("predicted [ms]", "measured [ms]", "error")]
    return table(header, lines)


def _trust(divisor: float) -> str:
    if divisor == 1:
        return "as planned"
    return f"{divisor:g} times less" if divisor > 1 else f"{1 / divisor:g} times more"


def _synchronous(row: Row) -> bool:
    return row.strategy == "synchronous"


def _errors(rows: Sequence[Row], target: PerMetric | None) -> Iterator[str]:
    limits = (target.ttft, target.itl, target.e2e) if target else (None, None, None)
    for metric, limit in zip(MEANS, limits, strict=True):
        error = mape(rows, metric)
        if error is None or limit is None:
            yield pct(error)
        else:
            yield f"**{pct(error)}** ({'met' if error <= limit else 'missed'}: at most {limit:g} %)"


def _grouped(rows: Sequence[Row], title: str, key: Callable[[Row], str]) -> str:
    return table([title, "n", *METRIC_LABELS], _group_lines(rows, key))


def _group_lines(rows: Sequence[Row], key: Callable[[Row], str]) -> list[list[str]]:
    groups = group_by(rows, key)
    return [
        [name, str(len(chosen)), *(pct(mape(chosen, metric)) for metric in MEANS)]
        for name, chosen in sorted(groups.items())
    ]


def _signed(rows: Sequence[Row]) -> str:
    lines = [
        [row.name, row.family, str(row.tensor_parallel), *(signed_pct(row.error_pct(metric)) for metric in MEANS)]
        for row in rows
    ]
    return table(["load point", "family", "TP", *METRIC_LABELS], lines, left=2)


def _percentile_order(name: str) -> tuple[str, int]:
    metric, rank = name.split("_")
    return metric, int(rank.removeprefix("p"))
