"""Tables of the page about a calibration that was carried over, as markdown text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from roofline_lab.calibration.constants import BY_NAME, CONSTANTS
from roofline_lab.calibration.judge import MEAN_NAMES
from roofline_lab.calibration.ownership import OWNERSHIP
from roofline_lab.calibration.transfer import FITTED_FROM, NORMAL_95, Carried, alike
from roofline_lab.formatting import MISSING, pct, signed_pct, table
from roofline_lab.predict.onto import VARIANTS, Result
from roofline_lab.predict.records import HEADLINE, label
from roofline_lab.scoring.errors import PERCENT
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.scoring.table import means, table_of

if TYPE_CHECKING:
    import pandas as pd

# For the page: from which share on a constant counts as fitted, percent.
FITTED_FROM_PCT = FITTED_FROM * PERCENT
# Pairs of constants that a run hardly tells apart.
NOTABLE_CORRELATION = 0.4
FITTED, BORROWED = "fitted", "borrowed"


def scored(result: Result) -> pd.DataFrame:
    """Return every figure of every load point as the scored table; the arm is the variant of the constants."""
    return table_of(_rows(result))


def _rows(result: Result) -> Iterator[ErrorRow]:
    for judgement in result.judged:
        experiment, point = judgement.target.experiment, judgement.target.load_point
        for variant, figures in judgement.figures.items():
            for figure in figures:
                yield ErrorRow(
                    method="carried",
                    arm=variant,
                    experiment=experiment.id,
                    load_point=point.id,
                    workload=experiment.workload.name,
                    family=experiment.family,
                    model=experiment.model,
                    tensor_parallel=experiment.tensor_parallel,
                    metric=figure.name,
                    predicted=figure.predicted,
                    measured=figure.measured,
                    status=figure.status,
                    reason=figure.reason,
                    strategy=point.strategy,
                    rate_per_s=point.rate_per_s,
                    hardware=experiment.hardware,
                    side=experiment.side_of(point.id),
                    definition=figure.definition,
                    unit=figure.unit,
                )


def latencies(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have an error of a latency, under the names all calibrations have."""
    chosen = rows[rows["signed_error_pct"].notna() & (rows["unit"] == "ms")]
    return chosen.assign(metric=chosen["metric"].replace(MEAN_NAMES))


def variants_of(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return the variants there are, in the order of pages."""
    there = set(rows["arm"])
    return tuple(variant for variant in VARIANTS if variant in there)


def headline(rows: pd.DataFrame) -> str:
    """Return the mean absolute errors of means by variant."""
    found = means(rows[rows["metric"].isin(HEADLINE)], ["arm", "metric"])
    lines = [
        [VARIANTS[variant], *(pct(found.get((variant, metric))) for metric in HEADLINE)]
        for variant in variants_of(rows)
    ]
    return table(["constants", *map(label, HEADLINE)], lines)


def errors_of(rows: pd.DataFrame, variant: str) -> str:
    """Return the mean absolute errors of a variant in one line."""
    found = means(rows[rows["arm"] == variant], ["metric"])
    return ", ".join(f"{label(metric)} {pct(found[(metric,)])}" for metric in HEADLINE if (metric,) in found)


def every_point(rows: pd.DataFrame, *, ranks: bool) -> str:
    """List measured means, or percentiles, of every load point beside the signed error of every variant."""
    names = [VARIANTS[variant] for variant in variants_of(rows)]
    lines = []
    for (experiment, point), own in rows.groupby(["experiment", "load_point"], sort=False):
        for metric in dict.fromkeys(own["metric"]):
            measured = own[own["metric"] == metric]
            if _is_rank(metric) is not ranks or measured["signed_error_pct"].isna().all():
                continue
            errors = dict(zip(measured["arm"], measured["signed_error_pct"], strict=True))
            value = measured["measured"].iloc[0]
            cells = [signed_pct(errors.get(variant)) for variant in variants_of(rows)]
            lines.append([f"{experiment}/{point}", label(metric), f"{value:.4g}", *cells])
    return table(["load point", "figure", "measured [ms]", *names], lines, left=2) if lines else ""


def _is_rank(metric: str) -> bool | None:
    """Say whether a latency is a percentile; None for what is no mean of the headline and none."""
    if metric in HEADLINE:
        return False
    return True if metric.rpartition("_")[2].startswith("p") and label(metric) != metric else None


def costs(result: Result) -> str:
    """List what the run could show of its server, before and after it was looked at."""
    lines = [
        [experiment, cost.name, _around(cost.before, cost.before_deviation, cost.unit),
         _around(cost.after, cost.after_deviation, cost.unit)]
        for experiment, own in result.costs.items()
        for cost in own
    ]  # fmt: skip
    return table(["run", "cost", "carried over", "with the run"], lines, left=2)


def _around(value: float, deviation: float, unit: str) -> str:
    return f"{_number(value, 3)} ± {_number(NORMAL_95 * deviation, 2)} {unit}"


def _number(value: float, digits: int) -> str:
    """Return a number with so many significant digits, and never in powers of ten."""
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{decimals}f}"


def alone(result: Result) -> str:
    """List what every constant would have to be if it alone differed from the donor's, and the errors that leaves."""
    before = result.carried.expected
    metrics = list(dict.fromkeys(metric for one in result.alone for metric in one.left_pct))
    lines = [
        [
            f"`{one.name}`",
            _number(one.value, 3),
            _span(before[one.name]),
            _unit(one.name),
            *(pct(one.left_pct.get(metric)) for metric in metrics),
        ]
        for one in result.alone
    ]
    return table(["constant", "would be", "expected", "unit", *(f"{label(one)} error left" for one in metrics)], lines)


def constants(result: Result) -> str:
    """List every constant: whose it is, what the donor says, what the run makes of it, and how much the run tells."""
    carried, donor = result.carried, result.prepared.calibration.values
    before = carried.expected
    lines = []
    for one in CONSTANTS:
        interval, told, end = carried.intervals[one.name], carried.told[one.name], carried.at_end().get(one.name)
        lines.append(
            [
                f"`{one.name}`",
                OWNERSHIP[one.name].owner,
                origin(carried, one.name),
                pct(told * PERCENT),
                _number(donor[one.name], 4),
                _span(before[one.name]),
                f"{_number(carried.values[one.name], 4)}{f' (at its {end} end)' if end else ''}",
                _span(interval),
                _unit(one.name),
                OWNERSHIP[one.name].source,
            ]
        )
    header = ["constant", "belongs to", "is", "told by the run", "donor", "expected", "value", "95 % interval", "unit"]
    return table([*header, "source of what is expected"], lines, left=3)


def origin(carried: Carried, name: str) -> str:
    """Return whether a constant counts as fitted or borrowed."""
    return FITTED if name in carried.fitted else BORROWED


def named(carried: Carried, wanted: str) -> list[str]:
    """Return the constants that are fitted, or borrowed, what the run tells most of first."""
    told = carried.told
    return sorted((name for name in BY_NAME if origin(carried, name) == wanted), key=lambda name: (-told[name], name))


def not_apart(carried: Carried) -> str:
    """List pairs of fitted constants that the run hardly tells apart; empty without any."""
    lines = [[f"`{one}`", f"`{other}`", f"{value:+.2f}"] for one, other, value in alike(carried, NOTABLE_CORRELATION)]
    return table(["constant", "constant", "correlation"], lines, left=2) if lines else ""


def worst(rows: Iterable[tuple[str, str, float]]) -> list[str]:
    """Return load points whose means the fitted constants miss, as sentences."""
    return [f"{label(metric)} of {point} is off by {signed_pct(error)} after the fit" for point, metric, error in rows]


def listed(names: Sequence[str]) -> str:
    """Return names in one line."""
    return ", ".join(names) if names else MISSING


def _span(interval: tuple[float, float]) -> str:
    return f"{_number(interval[0], 3)} to {_number(interval[1], 3)}"


def _unit(name: str) -> str:
    """Return the unit of a constant as pages print it; empty for a share."""
    return "" if BY_NAME[name].unit == "1" else BY_NAME[name].unit
