"""Reading what the simulation jobs wrote, and turning it into error rows.

One line of `results/<hypothesis>/rows/<method>/<arm>.jsonl` is one load point. Every line
becomes one error row per metric, whatever its status; nothing is dropped on the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from roofline_lab.made import is_as_made, read_made
from roofline_lab.project import Run
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.simulators.description import BUILTIN_NAME
from roofline_lab.vocabulary import MEANS, Metric, RowStatus
from simulator.errors import ConfigError

Row = Mapping[str, Any]
Place = tuple[str, str, str, str]

NO_PREDICTION = "no completed request has this metric"
SATURATED = "the server was saturated, so latencies depend on when the run ended; judged by throughput"
OVERLOADED = (
    "the simulated server was saturated ({arms}), the measured one was not; latencies would depend on when the run "
    "ended, so the load point enters no latency error of any arm and counts as a wrong prediction of saturation"
)
NO_MEASUREMENT = "the ground truth does not have this metric"


def read_rows(files: Iterable[tuple[Path, Sequence[Run]]]) -> list[Row]:
    """Read the result lines of a run matrix, in its order.

    Parameters
    ----------
    files
        Each result file with the runs it must hold: one line per load point of their experiments.

    Raises
    ------
    ConfigError
        If a file is not as it was made, of other runs or configurations, or lacks a load point. A missing line would
        silently change every mean.
    """
    return [row for path, runs in files for row in _read_arm(path, runs)]


def standing_rows(path: Path) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Return the rows of an earlier result file by experiment, configuration and digest of code and data.

    A file that is not there or not as it was made has none: what it should hold is then simulated again.
    """
    if not is_as_made(path):
        return {}
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in _rows(path):
        found.setdefault((row["experiment"], row["digest"], row["made_from"]), []).append(row)
    return found


def read_lines(paths: Iterable[Path]) -> list[Row]:
    """Read the lines of result files that no run of the matrix owns, those of a sweep.

    Raises
    ------
    ConfigError
        If a file is not as it was made.
    """
    return [row for path in paths for row in _rows(path)]


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the lines of one file; what they hold needs no further test, for it is what a job wrote."""
    return [json.loads(line) for line in read_made(path).splitlines()]


def _read_arm(path: Path, runs: Sequence[Run]) -> list[Row]:
    rows = _rows(path)
    wanted = [
        (run.hypothesis, run.method.id, run.arm.name, run.experiment.id, run.digest, point.id)
        for run in runs
        for point in run.experiment.load_points
    ]
    if [_identity(row) for row in rows] != wanted:
        raise ConfigError(
            f"{path}: does not hold the load points of its runs and configuration; delete it and run snakemake again"
        )
    return rows


def _identity(row: Row) -> tuple[str, ...]:
    return tuple(row[key] for key in ("hypothesis", "method", "arm", "experiment", "digest", "load_point"))


def overloaded_points(rows: Iterable[Row]) -> dict[Place, tuple[str, ...]]:
    """Return the arms whose simulated server was saturated where the measured one was not, by load point.

    Arms of one simulator are compared over the same load points, so what one of them overloads is compared for none.
    """
    found: dict[Place, list[str]] = {}
    for row in rows:
        saturated = row.get("load", {}).get("saturated", {})
        if saturated.get("predicted") and not saturated.get("measured"):
            found.setdefault(place_of(row), []).append(row["arm"])
    return {place: tuple(sorted(arms)) for place, arms in found.items()}


def place_of(row: Row) -> Place:
    """Return method, experiment, load point and simulator of a result line."""
    return row["method"], row["experiment"], row["load_point"], simulator_of(row)


def simulator_of(row: Row) -> str:
    """Return who predicted a result line."""
    return str(row.get("simulator", BUILTIN_NAME))


def error_rows(
    rows: Iterable[Row], metrics: Iterable[Metric], sides: Mapping[str, str] = MappingProxyType({})
) -> Iterator[ErrorRow]:
    """Yield one error row per line and metric.

    Parameters
    ----------
    sides
        Side of the split, or fold, by experiment, where there is one.
    """
    wanted, lines = tuple(metrics), tuple(rows)
    overloaded = overloaded_points(lines)
    for row in lines:
        side = sides.get(row["experiment"], "")
        for metric in wanted:
            yield _error_row(row, metric, side, overloaded.get(place_of(row), ()))


def figure_rows(rows: Iterable[Row]) -> Iterator[ErrorRow]:
    """Yield one error row per line and measured figure of a replayed load point: means, percentiles, rates."""
    lines = tuple(rows)
    overloaded = overloaded_points(lines)
    for row in lines:
        for name, figure in row.get("load", {}).get("figures", {}).items():
            is_latency = figure["unit"] == "ms"
            status, reason = _status(row, overloaded.get(place_of(row), ())) if is_latency else (RowStatus.OK, "")
            if status is RowStatus.OK and figure["predicted"] is None:
                status, reason = RowStatus.NOT_MEASURED, figure["reason"]
            yield _row(row, name, figure, status, reason)


def _error_row(row: Row, metric: Metric, holdout: str, overloaded: tuple[str, ...]) -> ErrorRow:
    figure = _figure_of(row, metric)
    # A server that is full still has a throughput.
    status, reason = (RowStatus(row["status"]), row["reason"]) if metric.is_rate else _status(row, overloaded)
    if status is RowStatus.OK and "status" in figure:
        status, reason = RowStatus(figure["status"]), figure["reason"]
    missing = [side for side in ("predicted", "measured") if figure.get(side) is None]
    if status is RowStatus.OK and missing:
        status = RowStatus.NOT_MEASURED
        reason = figure.get("reason") or (NO_PREDICTION if missing[0] == "predicted" else NO_MEASUREMENT)
    if "measured" in figure and figure["measured"] is None and "status" not in figure:
        # nothing could have an error, whoever predicts
        status, reason = RowStatus.NOT_MEASURED, figure.get("reason") or NO_MEASUREMENT
    return replace(_row(row, metric, figure, status, reason), holdout=holdout)


def _figure_of(row: Row, metric: Metric) -> Mapping[str, Any]:
    """Return both sides of a metric: of a mean as the method defines it, of any other as it was measured."""
    if metric in MEANS:
        found: Mapping[str, Any] = row["metrics"].get(metric.value, {})
        return found
    absent = {"measured": None, "unit": metric.unit}
    return row.get("load", {}).get("figures", {}).get(metric.value, absent if "load" in row else {"unit": metric.unit})


def _status(row: Row, overloaded: tuple[str, ...]) -> tuple[RowStatus, str]:
    """Return whether latencies of a line can be scored, and why not."""
    status = RowStatus(row["status"])
    if _measured_saturated(row):
        return RowStatus.SATURATED, SATURATED
    if status is RowStatus.OK and overloaded:
        return RowStatus.SATURATED, OVERLOADED.format(arms=", ".join(overloaded))
    return status, row["reason"]


def _measured_saturated(row: Row) -> bool:
    return bool(row.get("load", {}).get("saturated", {}).get("measured"))


def row_at(row: Row, **figures: Any) -> ErrorRow:
    """Return the error of a result line at its place in the run matrix; `figures` are the other fields."""
    return ErrorRow(
        method=row["method"],
        arm=row["arm"],
        experiment=row["experiment"],
        load_point=row["load_point"],
        workload=row["workload"],
        family=row["family"],
        model=row["model"],
        tensor_parallel=row["tensor_parallel"],
        hardware=row.get("hardware", ""),
        **figures,
    )


def _row(row: Row, metric: str, figure: Mapping[str, Any], status: RowStatus, reason: str) -> ErrorRow:
    load = row.get("load", {})
    return row_at(
        row,
        metric=metric,
        predicted=figure.get("predicted"),
        measured=figure.get("measured"),
        half_digit_ms=figure.get("half_digit_ms", 0.0),
        status=status,
        reason=reason,
        strategy=load.get("strategy", ""),
        rate_per_s=load.get("achieved_per_s") or load.get("requested_per_s"),
        mixed_share=_mixed_share(row) if load and "counters" in row else None,
        unit=figure.get("unit", "ms"),
        noise_pct=figure.get("noise_pct"),
        asked=_is_asked(row, figure),
    )


def _is_asked(row: Row, figure: Mapping[str, Any]) -> bool:
    """Say whether a metric could have an error: it was measured, as far as is known, and where a server kept up."""
    scored = figure.get("unit", "ms") != "ms" or not _measured_saturated(row)
    return scored and figure.get("measured", 0.0) is not None


def _mixed_share(row: Row) -> float:
    counters = row["counters"]
    return counters["mixed_steps"] / counters["steps"] if counters["steps"] else 0.0
