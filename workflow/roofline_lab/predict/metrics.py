"""Every measured figure of a load point, and the definition of the simulator that predicts it.

Contract: `wanted_figures` lists what was measured, means first, and says of each what predicts it or
why nothing does. Time between tokens is compared in one definition for all load points that allow
it, (E2E - TTFT) / (N - 1) of means; where E2E or TTFT is missing, in the one that was measured.
Throughput follows from count and duration where it is not among the figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.metrics import KINDS, LENGTHS, STATISTICS
from roofline_lab.predict.records import INTER_TOKEN, Figure, Status
from roofline_lab.scoring.under_load import NOT_COMPARABLE, prediction_of
from simulator.engine.records import RequestResult
from simulator.metrics import measure
from simulator.request_times import MetricOptions

FROM_MEANS = "(E2E - TTFT) / (N - 1) of means"
ONE_TOKEN = "every answer is one token long: there is no time between tokens"
NO_INTER_TOKEN = "neither E2E and TTFT nor a mean time between tokens were measured"
NO_COMPLETION = "no request completes in the simulation"
# Measured means that stand for the time between tokens, best first, and what predicts each.
STAND_INS = (("itl_mean", "itl_token_weighted"), ("tpot_mean", "tpot_request"))
THROUGHPUT = "request_throughput"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One measured figure and what predicts it.

    Attributes
    ----------
    predicted_by
        A definition of `simulator.metrics`; None if nothing does, for `reason`.
    """

    name: str
    definition: str
    unit: str
    measured: float | None
    predicted_by: str | None
    reason: str = ""

    def against(self, results: Sequence[RequestResult], options: MetricOptions) -> Figure:
        """Return the figure beside its prediction from what became of the requests."""
        if self.predicted_by is None:
            return self.without(Status.NOT_MEASURED if self.measured is None else Status.NOT_COMPARABLE, self.reason)
        predicted = measure(self.predicted_by, results, options)
        if predicted is None:
            return self.without(Status.UNSUPPORTED, NO_COMPLETION)
        return Figure(self.name, self.definition, self.unit, self.measured, predicted, Status.OK)

    def without(self, status: Status, reason: str) -> Figure:
        """Return the figure without a prediction."""
        return Figure(self.name, self.definition, self.unit, self.measured, None, status, reason)


def wanted_figures(experiment: Experiment, point: LoadPoint) -> tuple[Wanted, ...]:
    """Return every measured figure of one load point: means, percentiles, then rates.

    Raises
    ------
    ConfigError
        If the lengths of its requests cannot be told.
    """
    order = {name: place for place, name in enumerate(dict.fromkeys(_order()))}
    found = [_inter_token(experiment, point), *_reported(point), *_throughput(point)]
    return tuple(sorted(found, key=lambda wanted: order[wanted.name]))


def _order() -> Iterator[str]:
    """Yield means of the headline first, then statistic by statistic, as `KINDS` has them."""
    yield from ("ttft_mean", INTER_TOKEN, "e2e_mean")
    for statistic in STATISTICS:
        yield from (name for name in KINDS if name.endswith(f"_{statistic}"))
    yield from KINDS


def _reported(point: LoadPoint) -> Iterator[Wanted]:
    for name, figure in point.measured.items():
        if KINDS[name] in LENGTHS:
            continue
        predicted_by = prediction_of(name, figure.definition)
        reason = "" if predicted_by else NOT_COMPARABLE
        yield Wanted(name, figure.definition, figure.unit, figure.value, predicted_by, reason)


def _inter_token(experiment: Experiment, point: LoadPoint) -> Wanted:
    measured = point.measured
    if experiment.mean_output_tokens(point.id) <= 1:
        return Wanted(INTER_TOKEN, FROM_MEANS, "ms", None, None, ONE_TOKEN)
    if {"ttft_mean", "e2e_mean"} <= measured.keys():
        return Wanted(INTER_TOKEN, FROM_MEANS, "ms", experiment.measured_itl_ms(point.id), "itl_ratio_of_means")
    for name, predicted_by in STAND_INS:
        figure = measured.get(name)
        if figure is not None and figure.definition != "guidellm":
            return Wanted(INTER_TOKEN, f"{name}, {figure.definition}", "ms", figure.value, predicted_by)
    return Wanted(INTER_TOKEN, FROM_MEANS, "ms", None, None, NO_INTER_TOKEN)


def _throughput(point: LoadPoint) -> Iterator[Wanted]:
    if THROUGHPUT not in point.measured and point.duration_s:
        rate = point.requests.completed / point.duration_s
        yield Wanted(THROUGHPUT, "completed / duration", "1/s", rate, THROUGHPUT)


def mean_figure(draws: Sequence[Figure]) -> Figure:
    """Return one figure predicted as the mean over several sequences of arrivals, those that have it."""
    known = [draw.predicted for draw in draws if draw.predicted is not None]
    best = next((draw for draw in draws if draw.predicted is not None), draws[0])
    return replace(best, predicted=math.fsum(known) / len(known)) if known else best
