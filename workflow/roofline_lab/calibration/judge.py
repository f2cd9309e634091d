"""Predictions of whole load points by the engine itself, beside what was measured.

Contract: `judge_point` simulates every request of one load point (none are left out, no surface is involved)
and gives predicted and measured figure for each metric that was measured: means, and p50, p90, p95, p99
where there are any. Measured figures play no part in the prediction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from roofline_lab.calibration.constants import Values
from roofline_lab.calibration.points import METRICS, Point
from simulator.engine.records import RequestState
from simulator.errors import ConfigError
from simulator.metrics import measure

# Measured figure -> definition that predicts it. ITL stands for what published means allow.
PERCENTILES = ("p50", "p90", "p95", "p99")
PREDICTED_BY = {
    **{f"{metric}_{rank}": f"{metric}_{rank}" for metric in ("ttft", "e2e") for rank in ("mean", *PERCENTILES)},
    **{f"tpot_{rank}": f"tpot_request_{rank}" for rank in PERCENTILES},
    "itl_mean": "itl_ratio_of_means",
}


def judge_point(point: Point, values: Values) -> dict[str, Any]:
    """Return predicted and measured figures of one load point, in ms, and how many requests completed.

    Raises
    ------
    ConfigError
        If no request completes under these constants.
    """
    results = point.run(values)
    options = point.client(values).metric_options()
    figures = {}
    for name, measured in measured_figures(point):
        predicted = measure(PREDICTED_BY[name], results, options)
        if predicted is None:
            raise ConfigError(f"{point.name}: no request completes; the load is beyond what this server can do")
        figures[name] = {"predicted": predicted, "measured": measured}
    return {
        "figures": figures,
        "completed": sum(result.state is RequestState.COMPLETED for result in results),
        "requests": len(results),
    }


def measured_figures(point: Point) -> Iterator[tuple[str, float]]:
    """Yield every measured figure that can be predicted, means first."""
    means = dict(zip(METRICS, point.measured, strict=True))
    yield from ((f"{metric}_mean", means[metric]) for metric in METRICS)
    for name, figure in sorted(point.load_point.measured.items()):
        if name in PREDICTED_BY and not name.endswith("_mean") and figure.definition != "guidellm":
            yield name, figure.value
