"""Predictions of whole load points by the engine itself, beside what was measured.

Contract: `judge` simulates every request of one load point (none are left out, no surface is involved)
and gives predicted and measured value of each metric that was measured: means, and p50, p90, p95, p99
where there are any. `judged_table` gives judgements as the scored table: the arm is the variant of the constants,
and beside the columns of all tables `mixture` says whether the model is a mixture of experts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline_lab.calibration.constants import Values
from roofline_lab.calibration.points import setup_of
from roofline_lab.load_point import Target, compared, simulate
from roofline_lab.scoring.comparison import Comparison, wanted_metrics
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.scoring.table import table_of
from roofline_lab.vocabulary import RowStatus
from simulator.errors import ConfigError
from simulator.trust.intervals import INTER_TOKEN

if TYPE_CHECKING:
    import pandas as pd


# A calibration is judged by latencies; its pages call the time between tokens ITL.
MEAN_NAMES = {"ttft_mean": "ttft_mean", INTER_TOKEN: "itl_mean", "e2e_mean": "e2e_mean"}
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
        "figures": {
            called: _pair(judged[name]) for name, called in (MEAN_NAMES | percentiles).items() if name in judged
        },
        "completed": len(prediction.completed),
        "requests": prediction.requests,
    }


def _pair(comparison: Comparison) -> dict[str, float | None]:
    noise = {} if comparison.noise_pct is None else {"noise_pct": comparison.noise_pct}
    return {"predicted": comparison.predicted, "measured": comparison.measured, **noise}


MEANS = ("ttft_mean", "itl_mean", "e2e_mean")


def read_judged(paths: Iterable[Path]) -> pd.DataFrame:
    """Read the judgements of many experiments."""
    return judged_table(point for path in paths for point in json.loads(path.read_text(encoding="utf-8")))


def judged_table(points: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return judged load points as the scored table."""
    figures = [
        (point, variant, metric, figure)
        for point in points
        for variant, found in point["variants"].items()
        for metric, figure in found["figures"].items()
    ]
    rows = [
        ErrorRow(
            method="calibration",
            arm=variant,
            experiment=point["experiment"],
            load_point=point["load_point"],
            workload=point["workload"],
            family=point["family"],
            model="",
            tensor_parallel=point["tensor_parallel"],
            metric=metric,
            predicted=figure["predicted"],
            measured=figure["measured"],
            strategy=point["strategy"],
            rate_per_s=point["rate_per_s"],
            hardware=point["hardware"],
            side=point["side"],
            noise_pct=figure.get("noise_pct"),
        )
        for point, variant, metric, figure in figures
    ]
    return table_of(rows).assign(mixture=[point["mixture"] for point, *_ in figures])
