"""Judged load points as rows, and the errors of groups of them.

Contract: a `Row` is one load point under one set of constants; errors are percent of the measured figure,
and a figure that was not measured has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

from roofline_lab.scoring.errors import signed_error_pct

MEANS = ("ttft_mean", "itl_mean", "e2e_mean")


@dataclass(frozen=True, slots=True)
class Row:
    """One load point as one variant of the constants predicts it.

    Attributes
    ----------
    figures
        Metric name -> (predicted, measured), ms.
    """

    name: str
    variant: str
    family: str
    workload: str
    tensor_parallel: int
    side: str
    strategy: str
    rate_per_s: float | None
    mixture: bool
    figures: dict[str, tuple[float, float]]

    def error_pct(self, metric: str) -> float | None:
        """Return the signed relative error of one metric, percent."""
        if metric not in self.figures:
            return None
        predicted, measured = self.figures[metric]
        return signed_error_pct(predicted, measured)


def read_rows(paths: Iterable[Path]) -> tuple[Row, ...]:
    """Read the judgements of many experiments."""
    return tuple(row for path in paths for one in json.loads(path.read_text(encoding="utf-8")) for row in _rows(one))


def mape(rows: Sequence[Row], metric: str) -> float | None:
    """Return the mean absolute percentage error, or None of nothing."""
    errors = [abs(error) for row in rows if (error := row.error_pct(metric)) is not None]
    return fsum(errors) / len(errors) if errors else None


def group_by(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Return rows by key, keys in order of first appearance."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def _rows(judged: dict[str, Any]) -> list[Row]:
    return [
        Row(
            name=judged["name"],
            variant=variant,
            family=judged["family"],
            workload=judged["workload"],
            tensor_parallel=judged["tensor_parallel"],
            side=judged["side"],
            strategy=judged["strategy"],
            rate_per_s=judged["rate_per_s"],
            mixture=judged["mixture"],
            figures={name: (figure["predicted"], figure["measured"]) for name, figure in found["figures"].items()},
        )
        for variant, found in judged["variants"].items()
    ]
