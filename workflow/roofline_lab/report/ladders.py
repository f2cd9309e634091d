"""Rows of load points as ladders of load, and what arms answer on them about capacity.

Contract: pure; the order of rows does not matter. Burst loads have no rate and are no rung.

A load point at which a server did not keep up has a latency from the first token on that grows as long as the run goes
on: TTFT and E2E are without end there, on the side, measured or predicted, that did not keep up. Its time between
tokens contains no waiting and says how full a batch was, not what a load that is kept up with would do: it is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import ClosedLoop, LoadPoint
from roofline_lab.hypotheses.capacity import CapacityQuestion, Load
from roofline_lab.run_files import Row, row_at
from roofline_lab.scoring.capacity import Answers, Rung, answers_of
from roofline_lab.scoring.scores import ErrorRow

# Latencies that contain the time a request waits.
WAITING = ("ttft", "e2e")


def capacity_answers(asked: CapacityQuestion, rows: Iterable[Row], experiments: Iterable[Experiment]) -> Answers:
    """Return what every arm answers on every ladder.

    Parameters
    ----------
    rows
        Result lines of one method.
    """
    points = {(experiment.id, point.id): point for experiment in experiments for point in experiment.load_points}
    found = sorted((row for row in rows if "load" in row), key=lambda row: (row["arm"], row["experiment"]))
    with_intervals = {row["arm"] for row in found if row["load"]["intervals"]}
    ladders: dict[tuple[str, str], list[Rung]] = {}
    for row in found:
        load = offered(points[row["experiment"], row["load_point"]], asked.load)
        if load is not None:
            rung = _rung(row, load, has_intervals=row["arm"] in with_intervals)
            ladders.setdefault((row["arm"], row["experiment"]), []).append(rung)
    return answers_of(ladders.values(), asked.question)


def offered(point: LoadPoint, kind: Load) -> float | None:
    """Return the load that was put on a server: requests in flight, or sent per second; None where it is of no such."""
    if isinstance(point.arrivals, ClosedLoop):
        return float(point.arrivals.concurrency) if kind == "concurrency" else None
    return point.rate_per_s if kind == "rate" else None


def _rung(row: Row, load: float, *, has_intervals: bool) -> Rung:
    latencies = {name: figure for name, figure in row["load"]["figures"].items() if figure["unit"] == "ms"}
    saturated, ends = row["load"]["saturated"], row["load"]["intervals"]
    measured, predicted = (
        _served({name: figure[side] for name, figure in latencies.items()}, bool(saturated[side]))
        for side in ("measured", "predicted")
    )
    if saturated["predicted"] and has_intervals:
        return Rung(_place(row), load, measured, predicted, predicted, predicted)
    low, high = ({name: pair[end] for name, pair in ends.items()} for end in (0, 1))
    return Rung(_place(row), load, measured, predicted, low, high)


def _served(latencies: Mapping[str, float | None], saturated: bool) -> dict[str, float]:
    """Return latencies as those of a load that goes on: without end, or unknown, where a server does not keep up."""
    known = {name: value for name, value in latencies.items() if value is not None}
    return {name: math.inf for name in known if name.startswith(WAITING)} if saturated else known


def _place(row: Row) -> ErrorRow:
    return row_at(row, metric="", predicted=None, measured=None, strategy=row["load"]["strategy"])
