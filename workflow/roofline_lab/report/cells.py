"""Cells that tables of several pages share, with the heads of their columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roofline_lab.formatting import pct, signed_pct
from roofline_lab.scoring.errors import PERCENT
from roofline_lab.scoring.table import GroupErrors

# Heads of `group_cells` and of `distance_cells`.
GROUP_ERRORS = ("n", "mean absolute error", "mean signed error")
DISTANCES = ("requests", "Kolmogorov-Smirnov", "mean relative quantile difference")


def group_cells(errors: GroupErrors) -> list[str]:
    """Return how many errors a group has, and their means."""
    return [str(errors.count), pct(errors.ape_pct), signed_pct(errors.signed_pct)]


def distance_cells(found: Mapping[str, Any]) -> list[str]:
    """Return how far two distributions over requests lie apart."""
    difference = pct(found["quantile_difference"] * PERCENT)
    return [str(found["requests"]), f"{found['kolmogorov_smirnov']:.3f}", difference]
