"""Judged load points as the scored table: every figure of every load point under every variant of the constants.

The arm is the variant. Beside the columns of all tables, `mixture` says whether the model is a mixture of experts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.scoring.table import table_of

if TYPE_CHECKING:
    import pandas as pd

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
        )
        for point, variant, metric, figure in figures
    ]
    return table_of(rows).assign(mixture=[point["mixture"] for point, *_ in figures])
