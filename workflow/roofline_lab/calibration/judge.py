"""Predictions of whole load points by the engine itself, beside what was measured.

Contract: `judge` simulates every request of one load point (none are left out, no surface is involved)
and gives predicted and measured value of each metric that was measured: means, and p50, p90, p95, p99
where there are any.
"""

from __future__ import annotations

import re
from typing import Any

from roofline_lab.calibration.constants import Values
from roofline_lab.calibration.points import setup_of
from roofline_lab.load_point import Target, compared, simulate
from roofline_lab.scoring.comparison import INTER_TOKEN, Comparison, wanted_metrics
from roofline_lab.vocabulary import RowStatus
from simulator.errors import ConfigError

# A calibration is judged by latencies; its pages call the time between tokens ITL.
MEANS = {"ttft_mean": "ttft_mean", INTER_TOKEN: "itl_mean", "e2e_mean": "e2e_mean"}
PERCENTILE = re.compile(r"(ttft|tpot|e2e)_p\d+")


def judge(target: Target, values: Values) -> dict[str, Any]:
    """Return predicted and measured values of one load point, in ms, and how many requests completed.

    Raises
    ------
    ConfigError
        If no request completes under these constants.
    """
    prediction = simulate(target, setup_of(target.experiment, target.model, target.hardware, values))
    if not prediction.completed:
        raise ConfigError(f"{target.name}: no request completes; the load is beyond what this server can do")
    found = compared(wanted_metrics(target.experiment, target.load_point), prediction)
    judged = {comparison.name: comparison for comparison in found if comparison.status is RowStatus.OK}
    percentiles = {name: name for name in sorted(judged) if PERCENTILE.fullmatch(name)}
    return {
        "figures": {called: _pair(judged[name]) for name, called in (MEANS | percentiles).items() if name in judged},
        "completed": len(prediction.completed),
        "requests": prediction.requests,
    }


def _pair(comparison: Comparison) -> dict[str, float | None]:
    return {"predicted": comparison.predicted, "measured": comparison.measured}
