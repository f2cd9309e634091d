"""Results as the scored table, and errors of groups of load points: means three ways, with intervals over families.

Contract: pure functions of results. The error of a load point is that of its figure (predicted mean
against measured mean). A group's error is the plain mean over load points, over experiments (each the
mean of its load points) and over families (each the mean of its experiments). Intervals resample
whole families, because experiments on one model share its errors; a model that was fitted to is of the
family it was fitted as, whatever it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from roofline_lab.config import Settings
from roofline_lab.predict.predictors import OUT_OF_SAMPLE, Holdout
from roofline_lab.predict.records import EXCLUDED, HEADLINE, PointResult
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.scoring.statistics import Interval, median
from roofline_lab.scoring.table import levels, mean_of, table_of
from roofline_lab.scoring.uncertainty import Uncertainty

if TYPE_CHECKING:
    import pandas as pd

NOT_IN_THE_FIT = "not in the fit"
# What results are grouped by -> column of the table.
GROUPS: Mapping[str, str] = {
    "family": "family",
    "tp": "tensor_parallel",
    "hardware": "hardware",
    "workload": "workload",
    "strategy": "strategy",
    "architecture": "architecture",
    "tool": "tool",
}
LEVELS = ("load points", "experiments", "families")


@dataclass(frozen=True, slots=True)
class Level:
    """Absolute errors in percent over load points, experiments or families: mean, median, and how many there are.

    Attributes
    ----------
    interval
        Of the mean, by resampling families; None for load points, and below two.
    """

    mean: float
    median: float
    count: int
    interval: Interval | None = None


def rows_of(results: Iterable[PointResult]) -> Iterator[ErrorRow]:
    """Yield every figure of every result; the method is how much of a test it is, the arm who predicted."""
    for result in results:
        place = result.place
        for figure in result.figures:
            yield ErrorRow(
                method=group_of(result),
                arm=result.predictor,
                experiment=place.experiment,
                load_point=place.load_point,
                workload=place.workload,
                family=result.family,
                model=place.model,
                tensor_parallel=place.tensor_parallel,
                metric=figure.name,
                predicted=figure.predicted,
                measured=figure.measured,
                status=figure.status,
                reason=figure.reason,
                holdout=result.holdout.value,
                strategy=place.strategy,
                rate_per_s=place.rate_per_s,
                hardware=place.hardware,
                side=place.side,
                definition=figure.definition,
                unit=figure.unit,
            )


def evaluated(results: Iterable[PointResult]) -> pd.DataFrame:
    """Return results as the scored table, with the architecture of the model, and the tool and its side."""
    chosen = list(results)
    places = [result.place for result in chosen for _ in result.figures]
    tools = [f"{place.tool}, {place.side} side" for place in places]
    return table_of(rows_of(chosen)).assign(architecture=[place.architecture for place in places], tool=tools)


def holdout_groups(results: Iterable[PointResult]) -> dict[str, list[PointResult]]:
    """Return results by how much of a test they are: what is in no fit first, in sample and no record apart.

    Never seen and held out are given together and each, where both occur. Excluded results (`EXCLUDED`) are in
    none of these groups but in groups of their own behind them.
    """
    by_reason: dict[str, list[PointResult]] = {name: [] for name in ("", *EXCLUDED)}
    for result in results:
        by_reason[result.excluded].append(result)
    return {
        group_name(holdout, excluded): members
        for excluded, own in by_reason.items()
        for holdout, members in _by_holdout(own).items()
    }


def group_name(holdout: str, excluded: str) -> str:
    """Return the name of a group: how much of a test its results are, and why they are excluded, if they are."""
    return f"{holdout}, {excluded}" if excluded else holdout


def group_of(result: PointResult) -> str:
    """Return the group of `holdout_groups` a result is in, unions left out."""
    return group_name(result.holdout.value, result.excluded)


def scored_experiments(results: Iterable[PointResult]) -> int:
    """Return how many experiments have an error in any figure of the headline."""
    members = list(results)
    return len({result.place.experiment for metric in HEADLINE for result, _ in scored(members, metric)})


def _by_holdout(results: Iterable[PointResult]) -> dict[str, list[PointResult]]:
    found: dict[Holdout, list[PointResult]] = {one: [] for one in Holdout}
    for result in results:
        found[result.holdout].append(result)
    tests = [one for holdout in OUT_OF_SAMPLE for one in found[holdout]]
    both = all(found[holdout] for holdout in OUT_OF_SAMPLE)
    groups = {NOT_IN_THE_FIT: tests} if both else {}
    return groups | {holdout.value: members for holdout, members in found.items() if members}


def grouped(results: Iterable[PointResult], key: Callable[[PointResult], str]) -> dict[str, list[PointResult]]:
    """Return results by key, keys in their natural order."""
    found: dict[str, list[PointResult]] = {}
    for result in results:
        found.setdefault(key(result), []).append(result)
    return {name: found[name] for name in sorted(found, key=natural)}


def scored(results: Iterable[PointResult], metric: str) -> list[tuple[PointResult, float]]:
    """Return the results that have an error in one figure, with that signed error in percent."""
    return [(result, error) for result in results if (error := result.error_pct(metric)) is not None]


def levels_of(
    table: pd.DataFrame, metrics: Sequence[str] = HEADLINE, settings: Settings | None = None
) -> dict[str, tuple[Level, Level, Level]]:
    """Return the errors over load points, experiments and families of every metric that has one.

    Parameters
    ----------
    settings
        Of the bootstrap; None leaves the intervals out.
    """
    by_metric = dict(list(table[table["ape_pct"].notna()].groupby("metric")))
    return {metric: _levels(by_metric[metric], settings) for metric in metrics if metric in by_metric}


def natural(name: str) -> tuple[int, str]:
    """Sort numbers by size, before words."""
    return (int(name), "") if name.isdigit() else (0, name)


def _levels(rows: pd.DataFrame, settings: Settings | None) -> tuple[Level, Level, Level]:
    points, experiments, families = levels(rows)
    if settings is None:
        return _level(points), _level(experiments), _level(families)
    uncertainty, clusters = Uncertainty.of_settings(settings), experiments.index.get_level_values("family").tolist()
    return (
        _level(points),
        _level(experiments, uncertainty.interval_of(experiments.tolist(), clusters)),
        _level(families, uncertainty.interval_of(families.tolist())),
    )


def _level(errors: pd.Series, interval: Interval | None = None) -> Level:
    return Level(mean_of(errors) or 0.0, median(errors.tolist()), len(errors), interval)
