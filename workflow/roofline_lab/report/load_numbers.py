"""What `numbers.csv` says of a load point beyond mean latencies: percentiles, throughput, mixed steps.

Contract: `load_numbers` takes result lines of one method and returns one `Number` per figure that was
measured or counted. A figure that was not measured, or has no prediction of its definition, has no line;
the page says why. Of a load point at which the server, measured or simulated, was saturated no latency is given:
it is judged by throughput and by whether saturation was predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from roofline_lab.run_files import Row, overloaded_points, place_of
from roofline_lab.scoring.errors import PERCENT, signed_error_pct
from roofline_lab.scoring.numbers import Number
from roofline_lab.vocabulary import LoadFigure, Scope, Statistic

Line = tuple[LoadFigure, Statistic, float, str]
BRANCHES = (LoadFigure.PREFILL_DOMINATES, LoadFigure.DECODE_DOMINATES, LoadFigure.BY_TOKENS)
LATENCIES = tuple(figure for figure in LoadFigure if figure.value.startswith(("ttft_", "tpot_", "e2e_")))
# As `configs/lab.yaml` names the units that tolerances are given for.
UNITS = {"ms": "ms", "1/s": "per_s"}


def load_numbers(rows: Sequence[Row]) -> tuple[Number, ...]:
    """Return the figures of every load point that was replayed, in the order of the rows."""
    overloaded = overloaded_points(rows)
    return tuple(
        Number(
            row["method"],
            row["arm"],
            row["load_point"],
            Scope.EXPERIMENT,
            row["experiment"],
            name,
            statistic,
            value,
            unit,
        )
        for row in rows
        if "load" in row
        for name, statistic, value, unit in _lines(row, overloaded=place_of(row) in overloaded)
    )


def _lines(row: Row, *, overloaded: bool) -> Iterator[Line]:
    load = row["load"]
    latencies = () if overloaded or load["saturated"]["measured"] else LATENCIES
    for name in (*latencies, LoadFigure.REQUEST_THROUGHPUT):
        yield from _figure(name, load["figures"].get(name.value))
    yield from _saturation(load["saturated"])
    yield from _shares(load["branches"], row["counters"])


def _figure(name: LoadFigure, figure: Mapping[str, Any] | None) -> Iterator[Line]:
    if figure is None:
        return
    unit = UNITS[figure["unit"]]
    yield name, Statistic.MEASURED, figure["measured"], unit
    if figure["predicted"] is not None:
        error = signed_error_pct(figure["predicted"], figure["measured"])
        yield name, Statistic.PREDICTED, figure["predicted"], unit
        yield name, Statistic.SIGNED_ERROR, error, "pct"
        yield name, Statistic.MAPE, abs(error), "pct"


def _saturation(saturated: Mapping[str, bool | None]) -> Iterator[Line]:
    for statistic in (Statistic.MEASURED, Statistic.PREDICTED):
        if (known := saturated[statistic.value]) is not None:
            yield LoadFigure.SATURATED, statistic, float(known), "flag"


def _shares(branches: Mapping[str, int], counters: Mapping[str, int]) -> Iterator[Line]:
    """Give mixed steps and the branch each of them takes, as percent of all steps."""
    if not counters["steps"]:
        return
    counts = {LoadFigure.MIXED_STEPS: counters["mixed_steps"]} | {
        branch: branches.get(branch.value, 0) for branch in BRANCHES
    }
    for name, count in counts.items():
        yield name, Statistic.SHARE, count / counters["steps"] * PERCENT, "pct"
