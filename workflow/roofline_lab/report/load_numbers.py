"""What `numbers.csv` says of a load point beyond mean latencies: percentiles, throughput, mixed steps.

Contract: `load_numbers` takes result lines of one method and returns one `Number` per figure that was
measured or counted. A figure that was not measured, or has no prediction of its definition, has no line;
the page says why. Of a load point at which the server, measured or simulated, was saturated no latency is given:
it is judged by throughput and by whether saturation was predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from roofline_lab.run_files import Row, figure_rows
from roofline_lab.scoring.errors import PERCENT
from roofline_lab.scoring.numbers import Number
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.vocabulary import LoadFigure, RowStatus, Scope, Statistic

Line = tuple[LoadFigure, Statistic, float, str]
BRANCHES = (LoadFigure.PREFILL_DOMINATES, LoadFigure.DECODE_DOMINATES, LoadFigure.BY_TOKENS)
# As `configs/lab.yaml` names the units that tolerances are given for.
UNITS = {"ms": "ms", "1/s": "per_s"}


def load_numbers(rows: Sequence[Row]) -> tuple[Number, ...]:
    """Return the figures of every load point that was replayed."""
    figures = (
        Number(row.method, row.arm, row.load_point, Scope.EXPERIMENT, row.experiment, *line)
        for row in figure_rows(rows)
        for line in _figure(row)
    )
    counts = (
        Number(row["method"], row["arm"], row["load_point"], Scope.EXPERIMENT, row["experiment"], *line)
        for row in rows
        if "load" in row
        for line in (*_saturation(row["load"]["saturated"]), *_shares(row["load"]["branches"], row["counters"]))
    )
    return (*figures, *counts)


def _figure(row: ErrorRow) -> Iterator[Line]:
    if row.metric not in list(LoadFigure) or row.status is RowStatus.SATURATED or row.measured is None:
        return
    name, unit = LoadFigure(row.metric), UNITS[row.unit]
    yield name, Statistic.MEASURED, row.measured, unit
    if row.is_scored and row.predicted is not None:
        yield name, Statistic.PREDICTED, row.predicted, unit
        yield name, Statistic.SIGNED_ERROR, row.signed_error_pct, "pct"
        yield name, Statistic.MAPE, row.ape_pct, "pct"


def _saturation(saturated: Mapping[str, bool | None]) -> Iterator[Line]:
    for statistic in (Statistic.MEASURED, Statistic.PREDICTED):
        if (known := saturated[statistic.value]) is not None:
            yield LoadFigure.SATURATED, statistic, float(known), "flag"


def _shares(branches: Mapping[str, int], counters: Mapping[str, int]) -> Iterator[Line]:
    """Give mixed steps and the branch each of them takes, as percent of all steps."""
    if not counters["steps"]:
        return
    counts = {LoadFigure.MIXED_STEPS: counters["mixed_steps"]} | {one: branches.get(one.value, 0) for one in BRANCHES}
    for name, count in counts.items():
        yield name, Statistic.SHARE, count / counters["steps"] * PERCENT, "pct"
