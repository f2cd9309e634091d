"""The one formula of an error: predicted minus measured, relative to measured.

Negative where a prediction is too fast. The error of an experiment is the error of its mean (predicted mean against
measured mean), never a mean over requests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

PERCENT = 100.0
# One number, or many at once.
Numbers = TypeVar("Numbers", float, "NDArray[np.float64]", "pd.Series[float]")


def relative_difference(value: Numbers, reference: Numbers) -> Numbers:
    """Return (value - reference) / reference: how far a prediction is above its measurement, as a fraction."""
    return (value - reference) / reference


def signed_error_pct(predicted: Numbers, measured: Numbers) -> Numbers:
    """Return the relative error in percent; negative: predicted too fast."""
    return relative_difference(predicted, measured) * PERCENT


def ape_pct(predicted: Numbers, measured: Numbers) -> Numbers:
    """Return the absolute percentage error."""
    return abs(signed_error_pct(predicted, measured))


def is_within_noise(error_pct: float | None, noise_pct: float | None) -> bool:
    """Whether a deviation is no larger than one measurement scatters, so that it says nothing of the prediction."""
    return error_pct is not None and noise_pct is not None and abs(error_pct) <= noise_pct


def gain_pp(ape_of_pct: Numbers, ape_over_pct: Numbers) -> Numbers:
    """Return by how many percentage points an absolute error is smaller than the one it is compared with."""
    return ape_over_pct - ape_of_pct


def mean(values: Sequence[float]) -> float:
    """Return the mean, independent of the order of `values`."""
    return math.fsum(values) / len(values)
