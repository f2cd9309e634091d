"""The one scored table: a row per metric of a load point as somebody predicts it, and means over groups of rows.

Findings, evaluations, calibrations and replays all average here. A mean is unweighted, over rows that have a number
(`NaN` is none), and exact: it does not depend on the order of the rows.

Columns beside those of `ErrorRow`: `signed_error_pct` and `ape_pct`, NaN where a row is not scored, and `overall`, the
one group of all rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from math import isnan
from typing import TYPE_CHECKING, NamedTuple

from roofline_lab.scoring.errors import mean, signed_error_pct
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS, UNITS, Number
from roofline_lab.scoring.scores import Coverage, ErrorRow, Scores
from roofline_lab.vocabulary import Metric, RowStatus, Scope, Statistic

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = tuple(field.name for field in fields(ErrorRow))
NUMBERS = ("predicted", "measured", "rate_per_s", "mixed_share", "half_digit_ms", "noise_pct")
# The group of all rows.
ALL = "all"
# Scope -> column of the scored table that holds its groups.
GROUPS: Mapping[Scope, str] = {
    Scope.WORKLOAD: "workload",
    Scope.FAMILY: "family",
    Scope.TP: "tensor_parallel",
    Scope.HARDWARE: "hardware",
    Scope.OVERALL: "overall",
    Scope.SPLIT: "holdout",
    Scope.STRATEGY: "strategy",
    Scope.LOAD_POINT: "load_point",
}
# Scopes whose means a findings page may quote.
AGGREGATES = (Scope.WORKLOAD, Scope.FAMILY, Scope.TP, Scope.HARDWARE, Scope.OVERALL, Scope.SPLIT, Scope.STRATEGY)
# Of the two sides the unit is that of the metric.
SIDES = {Statistic.PREDICTED: ("predicted", ""), Statistic.MEASURED: ("measured", "")}
ERRORS = {
    Statistic.MAPE: ("ape_pct", "pct"),
    Statistic.SIGNED_ERROR: ("signed_error_pct", "pct"),
    Statistic.DELTA: ("gain_pp", "pp"),
}


class GroupErrors(NamedTuple):
    """Mean absolute and mean signed error of a group in percent, of how many rows, and the mean noise of theirs."""

    ape_pct: float
    signed_pct: float
    count: int
    noise_pct: float | None = None


def table_of(rows: Iterable[ErrorRow]) -> pd.DataFrame:
    """Return rows as the scored table, in their order."""
    # Imported here because pandas costs a quarter of a second, and who only asks what there is to do scores nothing.
    import pandas as pd

    found = list(rows)
    table = pd.DataFrame({name: [getattr(row, name) for row in found] for name in COLUMNS})
    table = table.astype(dict.fromkeys(NUMBERS, float) | {"asked": bool})  # also where there is no row
    error = signed_error_pct(table["predicted"], table["measured"]).where(table["status"] == RowStatus.OK)
    return table.assign(signed_error_pct=error, ape_pct=error.abs(), overall=ALL)


def means(table: pd.DataFrame, by: Sequence[str], value: str = "ape_pct") -> dict[tuple[Hashable, ...], float]:
    """Return the mean of a column by group: values of the columns `by` -> mean of the rows that have one."""
    known = table.loc[table[value].notna(), [*by, value]]
    values = known[value].to_numpy()
    places = known.groupby(list(by)).indices
    return {_key(group): mean(values[rows].tolist()) for group, rows in places.items()}


def sizes(table: pd.DataFrame, by: Sequence[str], value: str = "ape_pct") -> dict[tuple[Hashable, ...], int]:
    """Return over how many rows `means` of the same groups are."""
    counts = table.loc[table[value].notna(), [*by, value]].groupby(list(by)).size()
    return {_key(group): int(count) for group, count in counts.items()}


def coverage_by(table: pd.DataFrame, by: Sequence[str]) -> dict[tuple[Hashable, ...], Coverage]:
    """Return of how many rows that were asked `means` of the same groups are."""
    asked, predicted = table[table["asked"]].groupby(list(by)).size(), sizes(table, by)
    return {_key(group): Coverage(predicted.get(_key(group), 0), int(count)) for group, count in asked.items()}


def errors_by(table: pd.DataFrame, by: Sequence[str]) -> dict[tuple[Hashable, ...], GroupErrors]:
    """Return the mean errors of every group that has one: values of the columns `by` -> errors.

    A group has noise where it is known of all its rows.
    """
    numbers = ["ape_pct", "signed_error_pct", "noise_pct"]
    known = table.loc[table["ape_pct"].notna(), [*by, *numbers]]
    values = known[numbers].to_numpy()
    found = {}
    for group, rows in known.groupby(list(by)).indices.items():
        ape, signed, noise = values[rows].T.tolist()
        found[_key(group)] = GroupErrors(
            mean(ape), mean(signed), len(rows), None if any(map(isnan, noise)) else mean(noise)
        )
    return found


def noise_by(table: pd.DataFrame, by: Sequence[str]) -> dict[tuple[Hashable, ...], float]:
    """Return the mean noise of every group of rows with an error, where it is known of all of them."""
    scored = table[table["ape_pct"].notna()]
    known, every = sizes(scored, by, "noise_pct"), sizes(scored, by)
    return {group: noise for group, noise in means(scored, by, "noise_pct").items() if known[group] == every[group]}


def mean_of(values: pd.Series) -> float | None:
    """Return the mean of a column over the rows that have it, or None if none has."""
    known = values.dropna()
    return mean(known.tolist()) if len(known) else None


def load_points(table: pd.DataFrame, by: str) -> dict[Hashable, int]:
    """Return how many load points each group of a column has."""
    different = table.drop_duplicates([by, "experiment", "load_point"])
    return different.groupby(by).size().to_dict()


def levels(table: pd.DataFrame, value: str = "ape_pct") -> tuple[pd.Series, pd.Series, pd.Series]:
    """Return a column by load point, by experiment and by family, each a mean over the level before it.

    One experiment has many load points and one family many experiments: their errors are not independent, so that a
    mean over load points says less than it seems to. Experiments are indexed by family and experiment.
    """
    points = table[table[value].notna()]
    experiments = points.groupby(["family", "experiment"])[value].agg(mean)
    return points[value], experiments, experiments.groupby("family").agg(mean)


def gains_table(scores: Scores, reference: str) -> pd.DataFrame:
    """Return the scored table of one method, with the gain of every other arm over the reference in `gain_pp`."""
    gains = [None if row.arm == reference else scores.gain_over(reference, row) for row in scores.rows]
    return table_of(scores.rows).assign(gain_pp=gains).astype({"gain_pp": float})


def numbers_of(scores: Scores, arms: Sequence[str], metrics: Sequence[Metric]) -> tuple[Number, ...]:
    """Return every number of one method; deltas compare each arm with the first one."""
    table = gains_table(scores, arms[0])
    wanted = table["arm"].isin(arms) & table["metric"].isin(metrics) & table["ape_pct"].notna()
    found = [*_row_numbers(table[wanted]), *_group_numbers(table[wanted])]
    return tuple(sorted(found, key=lambda number: number.identity))


def _key(group: Hashable) -> tuple[Hashable, ...]:
    return group if isinstance(group, tuple) else (group,)


def _row_numbers(table: pd.DataFrame) -> Iterator[Number]:
    for statistic, (column, unit) in (SIDES | ERRORS).items():
        for row in table[table[column].notna()].to_dict("records"):
            run, metric = (row["method"], row["arm"], row["load_point"]), Metric(row["metric"])
            of = unit or UNITS[metric.unit]
            yield Number(*run, Scope.EXPERIMENT, row["experiment"], metric, statistic, row[column], of)


def _group_numbers(table: pd.DataFrame) -> Iterator[Number]:
    """Yield means by load point, and over all load points together where an arm has several; by GPU where several are.

    On one GPU the mean is that of all rows.
    """
    several = table.groupby(["arm", "metric"])["load_point"].transform("nunique") > 1
    together = table[several].assign(load_point=ALL_LOAD_POINTS)
    one_gpu = table["hardware"].nunique() <= 1
    for scope in AGGREGATES:
        if scope is Scope.HARDWARE and one_gpu:
            continue
        column = GROUPS[scope]
        for part in (together,) if scope is Scope.STRATEGY else (table, together):
            counting = part[(part["holdout"] != "") if scope is Scope.SPLIT else (part["holdout"] != "train")]
            for statistic, (value, unit) in ERRORS.items():
                found = means(counting, ("method", "arm", "load_point", column, "metric"), value)
                for (method, arm, load_point, key, metric), number in found.items():
                    place = (str(method), str(arm), str(load_point), scope, str(key), Metric(metric))
                    yield Number(*place, statistic, number, unit)
