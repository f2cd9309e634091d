"""How far a measurement scatters when it is made again: what an error must exceed to be one."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, Strict, StringConstraints, model_validator

from roofline_lab.ground_truth.metrics import KINDS
from simulator.validation import Count, StrictModel, suggest

Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
# A figure that scatters by more than itself says nothing.
Share = Annotated[float, Strict(), Field(gt=0, le=1, allow_inf_nan=False)]


class Noise(StrictModel):
    """Scatter of one measurement of an experiment, from repeated ones.

    Attributes
    ----------
    relative_sd
        Standard deviation of one measurement over its mean, fraction, by metric name. Of two measurements it is their
        difference over their mean, divided by sqrt 2.
    pairs
        How many pairs of measurements stand behind it.
    basis
        Which measurements were compared, and how several pairs became one figure.
    """

    relative_sd: Annotated[dict[str, Share], Field(min_length=1)]
    pairs: Count
    basis: Sentence

    @model_validator(mode="after")
    def _of_metrics(self) -> Self:
        unknown = [name for name in self.relative_sd if name not in KINDS]
        if unknown:
            raise ValueError(f"relative_sd: unknown metric '{unknown[0]}'; {suggest(unknown[0], KINDS)}")
        return self
