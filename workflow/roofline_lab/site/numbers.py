"""The numbers of one report as tables: every row of `numbers.csv`, and every measured latency beside its prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.names import readable_names
from roofline_lab.site.measurements import page_of
from roofline_lab.site.pages import relative
from roofline_lab.site.row_links import Row
from roofline_lab.site.tables import Cell, Column, Plot, Table
from roofline_lab.trust.held_out import HeldOut
from roofline_lab.vocabulary import Scope, Statistic

COMPARED = (Statistic.MEASURED, Statistic.PREDICTED, Statistic.SIGNED_ERROR)
COLOURS = ("arm", "model", "gpu", "tp", "workload", "load")
METRICS_FIRST = ("e2e_mean", "tpot_mean", "ttft_mean")


def numbers_table(rows: Sequence[Row]) -> Table:
    """Return every row as it stands in the file, with its line."""
    columns = [
        Column("line", "Row", [row.line for row in rows], numbers=True),
        Column("method", "Method", [row.method for row in rows], filters=True),
        Column("arm", "Arm", [row.arm for row in rows], filters=True),
        Column("load", "Load point", [row.load_point for row in rows], filters=True),
        Column("scope", "Over", [row.scope for row in rows], filters=True),
        Column("key", "Which", [row.key for row in rows]),
        Column("metric", "Metric", [row.metric for row in rows], filters=True),
        Column("statistic", "Statistic", [row.statistic for row in rows], filters=True),
        Column("value", "Value", [float(row.value) for row in rows], numbers=True),
        Column("unit", "Unit", [row.unit for row in rows], filters=True),
    ]
    return Table("rows of numbers.csv", columns)


def comparison_table(
    rows: Sequence[Row], experiments: Mapping[str, Experiment], page: str, method: str = ""
) -> Table | None:
    """Return measured beside predicted latencies, one row per method, arm, load point and metric; None without any.

    Parameters
    ----------
    page
        Where the table stands, as links to experiments depend on it.
    method
        The one that is selected at first; empty for all.
    """
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        if row.scope == Scope.EXPERIMENT and row.key in experiments and row.statistic in COMPARED:
            key = (row.method, row.arm, row.load_point, row.key, row.metric)
            found.setdefault(key, {})[row.statistic] = row
    complete = [
        (key, values)
        for key, values in found.items()
        if len(values) == len(COMPARED) and values[Statistic.MEASURED].unit == "ms"
    ]
    if not complete:
        return None
    ran = [experiments[key[3]] for key, _ in complete]
    metrics = [key[4] for key, _ in complete]
    columns = [
        *_of_experiments(ran, page),
        Column("load", "Load point", [key[2] for key, _ in complete], filters=True),
        Column("method", "Method", [key[0] for key, _ in complete], filters=True),
        Column("arm", "Arm", [key[1] for key, _ in complete], filters=True),
        Column("metric", "Metric", metrics, filters=True),
        *(column for statistic in COMPARED for column in _linked(statistic, [values for _, values in complete])),
    ]
    defaults = {"metric": _first_metric(metrics), "method": method}
    plot = Plot("measured", "predicted", "signed_error", "name", COLOURS, "predicted")
    return Table("measured and predicted latencies", columns, plot, defaults)


def held_out_table(rows: Sequence[HeldOut], experiments: Mapping[str, Experiment], page: str) -> Table:
    """Return the held-out predictions of a calibration: every row that is compared and of a known experiment."""
    known = [(row, error) for row in rows if (error := row.error_pct) is not None and row.experiment in experiments]
    kept, errors = [row for row, _ in known], [error for _, error in known]
    columns = [
        *_of_experiments([experiments[row.experiment] for row in kept], page),
        Column("load", "Load point", [row.load_point for row in kept]),
        Column("arm", "Held out", [row.fold for row in kept], filters=True),
        Column("precision", "Precision", [row.precision for row in kept], filters=True),
        Column("metric", "Metric", [row.metric for row in kept], filters=True),
        Column("measured", "Measured [ms]", [row.measured_ms for row in kept], numbers=True, decimals=1),
        Column("predicted", "Predicted [ms]", [row.predicted_ms for row in kept], numbers=True, decimals=1),
        Column("error", "Error [%]", [round(error, 3) for error in errors], numbers=True, decimals=1),
    ]
    metrics = [row.metric for row in kept]
    plot = Plot("measured", "predicted", "error", "name", ("model", "gpu", "tp", "workload", "precision"), "name")
    defaults = {"metric": _first_metric(metrics), "arm": kept[0].fold} if kept else {}
    return Table("held-out predictions", columns, plot, defaults)


def _of_experiments(ran: Sequence[Experiment], page: str) -> list[Column]:
    target, names = relative(page_of("{}"), page), readable_names(ran)
    return [
        Column("name", "Experiment", [names[each.id] for each in ran], link=target, link_by="id"),
        Column("id", "Name in the project", [each.id for each in ran], hidden=True),
        Column("model", "Model", [each.family for each in ran], filters=True),
        Column("gpu", "GPU", [each.hardware for each in ran], filters=True),
        Column("tp", "TP", [str(each.tensor_parallel) for each in ran], filters=True),
        Column("workload", "Workload", [each.workload.name for each in ran], filters=True),
    ]


def _linked(statistic: str, found: Sequence[Mapping[str, Row]]) -> list[Column]:
    """Return a column of values and, hidden, the one of the lines they stand on."""
    rows = [values[statistic] for values in found]
    unit = "%" if statistic == Statistic.SIGNED_ERROR else "ms"
    title = f"{statistic.replace('_', ' ').capitalize()} [{unit}]"
    values: list[Cell] = [float(row.value) for row in rows]
    lines = f"{statistic}_line"
    return [
        Column(statistic, title, values, numbers=True, decimals=1, link="numbers.html#row={}", link_by=lines),
        Column(lines, "Row", [row.line for row in rows], numbers=True, hidden=True),
    ]


def _first_metric(metrics: Sequence[str]) -> str:
    return next((metric for metric in METRICS_FIRST if metric in metrics), metrics[0] if metrics else "")
