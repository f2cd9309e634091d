"""A server that a person describes and nobody measured: what requests are predicted on where there is no experiment.

Contract: a `Deployment` says what runs on what, as an experiment does of its server, and nothing else. Whoever asks
only that takes either (`Ran`).
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import Field

from roofline_lab.ground_truth.experiment import MOST_GPUS, Day, Experiment, Tool
from roofline_lab.ground_truth.load import Text
from roofline_lab.ground_truth.server import Server
from simulator.parallelism import Parallelism
from simulator.validation import Count, StrictModel


class Deployment(StrictModel):
    """One model on one server.

    Attributes
    ----------
    model, hardware
        Names of `configs`.
    date
        The day the server is of, where it is stated: it decides what unnamed software is taken to be.
    """

    model: Text
    hardware: Text
    tensor_parallel: Annotated[Count, Field(le=MOST_GPUS)] = 1
    server: Server
    date: Day | None = None

    @property
    def parallelism(self) -> Parallelism:
        """How the server spreads the model over its GPUs."""
        return self.server.parallelism(self.tensor_parallel)

    @property
    def family(self) -> str:
        """The model alone says what it is like: nobody has named a family."""
        return self.model

    @property
    def tool(self) -> Tool:
        """No client measures, so none is known; no time outside the engine is in a prediction."""
        return "other"

    @property
    def site(self) -> None:
        """Nor does anybody measure anywhere."""
        return None


Ran = Experiment | Deployment
AnyRan = TypeVar("AnyRan", bound=Experiment | Deployment)


def sends_one_at_a_time(ran: Ran) -> bool:
    """Whether all that was measured was sent one request after the other, so that no batch and no cache fills."""
    return isinstance(ran, Experiment) and all(point.strategy == "synchronous" for point in ran.load_points)
