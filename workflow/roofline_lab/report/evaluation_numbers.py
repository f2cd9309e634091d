"""Results as the scored table, errors of groups of load points, and the two tables that are written as CSV.

Contract: pure functions of results. The error of a load point is that of its figure (predicted mean against measured
mean). A group's error is the plain mean over load points, over experiments (each the mean of its load points) and over
families (each the mean of its experiments). Intervals resample whole families, because experiments on one model share
its errors; a model that was fitted to is of the family it was fitted as, whatever it is called.

`predictions.csv` has one row per load point, predictor and figure, and one per experiment that was refused.
`numbers.csv` has the columns of every report's; `method` holds how much of a test a number is, `arm` who predicted, and
aggregates are named in `key`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from roofline_lab.config import Settings
from roofline_lab.files import csv_text
from roofline_lab.predict.predictors import OUT_OF_SAMPLE, Holdout
from roofline_lab.predict.records import EXCLUDED, HEADLINE, PointResult, Refused
from roofline_lab.scoring.comparison import Comparison
from roofline_lab.scoring.errors import PERCENT
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS, NUMBER_COLUMNS, VALUE_DECIMALS
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.scoring.statistics import Interval, median
from roofline_lab.scoring.table import errors_by, levels, mean_of, means, table_of
from roofline_lab.scoring.uncertainty import Uncertainty
from roofline_lab.vocabulary import RowStatus

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
    noise_pct
        The same mean of the noise of the measurements; None where it is not known of all.
    """

    mean: float
    median: float
    count: int
    interval: Interval | None = None
    noise_pct: float | None = None


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
                noise_pct=figure.noise_pct,
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
        for holdout, members in _with_union(own).items()
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


def _with_union(results: Sequence[PointResult]) -> dict[str, list[PointResult]]:
    found = by_holdout(results)
    tests = [result for holdout in OUT_OF_SAMPLE for result in found.get(holdout, ())]
    both = all(holdout in found for holdout in OUT_OF_SAMPLE)
    groups = {NOT_IN_THE_FIT: tests} if both else {}
    return groups | {holdout.value: members for holdout, members in found.items()}


def by_holdout(results: Sequence[PointResult]) -> dict[Holdout, list[PointResult]]:
    """Return results by how much of a test they are, those kinds that occur."""
    found = {holdout: [result for result in results if result.holdout is holdout] for holdout in Holdout}
    return {holdout: own for holdout, own in found.items() if own}


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


# Characters of a number; a name of more digits is a name.
LONGEST_NUMBER = 19


def natural(name: str) -> tuple[int, str]:
    """Sort numbers by size, before words."""
    return (int(name), "") if name.isdecimal() and len(name) < LONGEST_NUMBER else (0, name)


def _levels(rows: pd.DataFrame, settings: Settings | None) -> tuple[Level, Level, Level]:
    points, experiments, families = levels(rows)
    noise = [mean_of(level) if rows["noise_pct"].notna().all() else None for level in levels(rows, "noise_pct")]
    if settings is None:
        return _level(points, noise[0]), _level(experiments, noise[1]), _level(families, noise[2])
    uncertainty, clusters = Uncertainty.of_settings(settings), experiments.index.get_level_values("family").tolist()
    return (
        _level(points, noise[0]),
        _level(experiments, noise[1], uncertainty.interval_of(experiments.tolist(), clusters)),
        _level(families, noise[2], uncertainty.interval_of(families.tolist())),
    )


def _level(errors: pd.Series, noise_pct: float | None, interval: Interval | None = None) -> Level:
    return Level(mean_of(errors) or 0.0, median(errors.tolist()), len(errors), interval, noise_pct)


PREDICTION_COLUMNS = (
    "experiment",
    "load_point",
    "predictor",
    "holdout",
    "family",
    "fitted_as",
    "model",
    "architecture",
    "hardware",
    "tensor_parallel",
    "workload",
    "strategy",
    "rate_per_s",
    "tool",
    "side",
    "metric",
    "definition",
    "unit",
    "measured",
    "predicted",
    "signed_error_pct",
    "noise_pct",
    "status",
    "reason",
    "flags",
    "quality",
    "trust",
    "interval_low",
    "interval_high",
    "no_interval",
)
# As `configs/lab.yaml` names the units that tolerances are given for.
UNITS = {"ms": "ms", "1/s": "per_s", "tokens/s": "per_s"}
Line = tuple[str, ...]


def predictions_text(results: Iterable[PointResult], refused: Iterable[Refused]) -> str:
    """Return every prediction as CSV, and every experiment nothing was predicted for."""
    lines = [_prediction(result, figure) for result in results for figure in result.figures or (_nothing(result),)]
    return csv_text(PREDICTION_COLUMNS, [*lines, *map(_refused, refused)])


def numbers_text(
    results: Sequence[PointResult], metrics: Sequence[str], settings: Settings, gains: Iterable[Line] = ()
) -> str:
    """Return every number as CSV, sorted.

    Parameters
    ----------
    metrics
        Metrics that are aggregated.
    gains
        Further lines, those of a comparison.
    """
    lines = [*_points(results), *_aggregates(results, metrics, settings), *gains]
    return csv_text(NUMBER_COLUMNS, sorted(lines))


def line(holdout: str, arm: str, load_point: str, scope: str, key: str, metric: str, *value: str | float) -> Line:
    """Return one line of `numbers.csv`; `value` is statistic, number and unit."""
    statistic, number, unit = value
    method = holdout.replace(",", "").replace(" ", "_")
    return (method, arm, load_point, scope, key, metric, str(statistic), f"{number:.{VALUE_DECIMALS}f}", str(unit))


def _points(results: Iterable[PointResult]) -> Iterator[Line]:
    for result in results:
        place = (group_of(result), result.predictor, result.place.load_point, "experiment", result.place.experiment)
        for figure in result.figures:
            error = figure.error_pct
            if error is not None and figure.measured is not None and figure.predicted is not None:
                yield line(*place, figure.name, "predicted", figure.predicted, UNITS[figure.unit])
                yield line(*place, figure.name, "measured", figure.measured, UNITS[figure.unit])
                yield line(*place, figure.name, "mape", abs(error), "pct")
                yield line(*place, figure.name, "signed_error", error, "pct")
        for statistic, known in (("measured", result.saturated_measured), ("predicted", result.saturated_predicted)):
            if known is not None:
                yield line(*place, "saturated", statistic, float(known), "flag")
        for latency, found in result.distances.items():
            yield line(*place, latency, "kolmogorov_smirnov", found["kolmogorov_smirnov"], "ratio")
            yield line(*place, latency, "quantile_difference", PERCENT * found["quantile_difference"], "pct")


def _aggregates(results: Sequence[PointResult], metrics: Sequence[str], settings: Settings) -> Iterator[Line]:
    for arm, own in grouped(results, lambda result: result.predictor).items():
        for holdout, members in holdout_groups(own).items():
            table = evaluated(members)
            wanted = table[table["metric"].isin(metrics)]
            yield from _overall(holdout, arm, wanted, levels_of(wanted, metrics, settings))
            for scope, column in GROUPS.items():
                yield from _grouped(holdout, arm, scope, wanted, column)


def _overall(
    holdout: str, arm: str, table: pd.DataFrame, found: Mapping[str, tuple[Level, Level, Level]]
) -> Iterator[Line]:
    signed = means(table, ("metric",), "signed_error_pct")
    for metric, errors in found.items():
        for name, level in zip(LEVELS, errors, strict=True):
            place = (holdout, arm, ALL_LOAD_POINTS, "overall", name.replace(" ", "_"), metric)
            yield line(*place, "mape", level.mean, "pct")
            yield line(*place, "median", level.median, "pct")
            yield line(*place, "count", level.count, "count")
            if level.interval is not None:
                yield line(*place, "interval_low", level.interval.low, "pct")
                yield line(*place, "interval_high", level.interval.high, "pct")
        place = (holdout, arm, ALL_LOAD_POINTS, "overall", "load_points", metric)
        yield line(*place, "signed_error", signed[metric,], "pct")


def _grouped(holdout: str, arm: str, scope: str, table: pd.DataFrame, column: str) -> Iterator[Line]:
    for (key, metric), errors in errors_by(table, (column, "metric")).items():
        place = (holdout, arm, ALL_LOAD_POINTS, scope, str(key), str(metric))
        yield line(*place, "mape", errors.ape_pct, "pct")
        yield line(*place, "signed_error", errors.signed_pct, "pct")
        yield line(*place, "count", errors.count, "count")


def _prediction(result: PointResult, figure: Comparison) -> Sequence[object]:
    place = result.place
    return (
        place.experiment,
        place.load_point,
        result.predictor,
        result.holdout.value,
        place.family,
        result.fitted_as or "",
        place.model,
        place.architecture,
        place.hardware,
        place.tensor_parallel,
        place.workload,
        place.strategy,
        _shown(place.rate_per_s),
        place.tool,
        place.side,
        figure.name,
        figure.definition,
        figure.unit,
        _shown(figure.measured),
        _shown(figure.predicted),
        _shown(figure.error_pct),
        _shown(figure.noise_pct),
        figure.status.value,
        figure.reason,
        ";".join(dict.fromkeys(note.flag.value for note in result.notes)),
        ";".join(result.quality),
        *_trust(result, figure),
    )


def _trust(result: PointResult, figure: Comparison) -> tuple[str, ...]:
    """Return the word of a prediction, the ends of its interval, and why it has none."""
    if result.trust is None or not figure.is_latency:
        return ("", "", "", "")
    band = result.trust.band(figure.name)
    ends = ("", "") if band is None or figure.predicted is None else tuple(map(_shown, band.of(figure.predicted)))
    return (result.trust.reach.word, *ends, result.trust.refusal(figure.name))


def _nothing(result: PointResult) -> Comparison:
    """Stand for a load point whose figures could not even be listed."""
    return Comparison("", "", "", None, None, result.status, result.reason)


def _refused(refusal: Refused) -> Sequence[object]:
    cells = dict.fromkeys(PREDICTION_COLUMNS, "")
    cells |= {"experiment": refusal.place, "status": RowStatus.REFUSED.value, "reason": refusal.reason}
    return tuple(cells.values())


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.{VALUE_DECIMALS}f}"
