"""The two tables of an evaluation: every prediction, and every number a page may print.

`predictions.csv` has one row per load point, predictor and figure, and one per experiment that was
refused. `numbers.csv` has the columns of every report's; `method` holds how much of a test a number is,
`arm` who predicted, and aggregates are named in `key`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from roofline_lab.config import Settings
from roofline_lab.files import csv_text
from roofline_lab.predict.records import PointResult, Refused
from roofline_lab.report.evaluation.aggregate import (
    GROUPS,
    LEVELS,
    Level,
    evaluated,
    group_of,
    grouped,
    holdout_groups,
    levels_of,
)
from roofline_lab.scoring.comparison import Comparison
from roofline_lab.scoring.errors import PERCENT
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS, NUMBER_COLUMNS, VALUE_DECIMALS
from roofline_lab.scoring.table import means, sizes
from roofline_lab.vocabulary import RowStatus

if TYPE_CHECKING:
    import pandas as pd

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
    "status",
    "reason",
    "flags",
    "quality",
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
    for metric, levels in found.items():
        for name, level in zip(LEVELS, levels, strict=True):
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
    by = (column, "metric")
    signed, counts = means(table, by, "signed_error_pct"), sizes(table, by)
    for (key, metric), error in means(table, by).items():
        place = (holdout, arm, ALL_LOAD_POINTS, scope, str(key), str(metric))
        yield line(*place, "mape", error, "pct")
        yield line(*place, "signed_error", signed[key, metric], "pct")
        yield line(*place, "count", counts[key, metric], "count")


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
        figure.status.value,
        figure.reason,
        ";".join(dict.fromkeys(note.flag.value for note in result.notes)),
        ";".join(result.quality),
    )


def _nothing(result: PointResult) -> Comparison:
    """Stand for a load point whose figures could not even be listed."""
    return Comparison("", "", "", None, None, result.status, result.reason)


def _refused(refusal: Refused) -> Sequence[object]:
    cells = dict.fromkeys(PREDICTION_COLUMNS, "")
    cells |= {"experiment": refusal.place, "status": RowStatus.REFUSED.value, "reason": refusal.reason}
    return tuple(cells.values())


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.{VALUE_DECIMALS}f}"
