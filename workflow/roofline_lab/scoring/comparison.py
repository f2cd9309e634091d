"""Every measured metric of a load point, and the definition of the simulator that predicts it.

Contract: `wanted_metrics` lists what was measured, means first, and says of each what predicts it or
why nothing does. Time between tokens is compared in one definition for all load points that allow
it, (E2E - TTFT) / (N - 1) of means; where E2E or TTFT is missing, in the one that was measured.
Throughput follows from count and duration where it is not among the metrics. An error exists only where a metric
was measured, predicted and comparable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.metrics import KINDS, LATENCIES, LENGTHS, STATISTICS
from roofline_lab.scoring.errors import PERCENT, signed_error_pct
from roofline_lab.scoring.under_load import NOT_COMPARABLE, prediction_of
from roofline_lab.vocabulary import RowStatus
from simulator.trust.intervals import INTER_TOKEN
from simulator.workload.arrivals import ClosedLoop

FROM_MEANS = "(E2E - TTFT) / (N - 1) of means"
ONE_TOKEN = "every answer is one token long: there is no time between tokens"
NO_INTER_TOKEN = "neither E2E and TTFT nor a mean time between tokens were measured"
NO_COMPLETION = "no request completes in the simulation"
# Measured means that stand for the time between tokens, best first, and what predicts each.
STAND_INS = (("itl_mean", "itl_token_weighted"), ("tpot_mean", "tpot_request"))
THROUGHPUT = "request_throughput"
# Little's law: where so many are in flight all the time, so many are answered in the time of one request.
IN_FLIGHT = "requests in flight / mean time of a request"
MS_PER_S = 1000.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measured metric beside its prediction.

    Attributes
    ----------
    name, definition, unit
        As the ground-truth format names them.
    measured, predicted
        In `unit`; None where there is none.
    reason
        Why there is no error, where `status` is not `ok`.
    noise_pct
        Standard deviation of one such measurement in percent of it; None where nobody knows it.
    """

    name: str
    definition: str
    unit: str
    measured: float | None
    predicted: float | None
    status: RowStatus
    reason: str = ""
    noise_pct: float | None = None

    @property
    def error_pct(self) -> float | None:
        """(predicted - measured) / measured in percent, or None."""
        if self.status is not RowStatus.OK or self.predicted is None or not self.measured:
            return None
        return signed_error_pct(self.predicted, self.measured)

    @property
    def is_latency(self) -> bool:
        """Whether it is a time, which a saturated load point has no error of."""
        return self.name.split("_")[0] in (*LATENCIES, "inter") and self.unit == "ms"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One measured metric and what predicts it.

    Attributes
    ----------
    predicted_by
        A definition of `simulator.metrics`; None if nothing does, for `reason`.
    in_flight
        Of a rate that is so many requests in flight over the mean time of a request, which `predicted_by` gives in ms.
    """

    name: str
    definition: str
    unit: str
    measured: float | None
    predicted_by: str | None
    reason: str = ""
    noise_pct: float | None = None
    in_flight: int | None = None

    def beside(self, predicted: float | None) -> Comparison:
        """Return the metric beside what its definition gave."""
        if self.predicted_by is None:
            return self.without(
                RowStatus.NOT_MEASURED if self.measured is None else RowStatus.NOT_COMPARABLE, self.reason
            )
        if predicted is None:
            return self.without(RowStatus.UNSUPPORTED, NO_COMPLETION)
        if self.in_flight is not None:
            predicted = self.in_flight / predicted * MS_PER_S
        figures = (self.name, self.definition, self.unit, self.measured, predicted)
        return Comparison(*figures, RowStatus.OK, noise_pct=self.noise_pct)

    def without(self, status: RowStatus, reason: str) -> Comparison:
        """Return the metric without a prediction."""
        return Comparison(self.name, self.definition, self.unit, self.measured, None, status, reason)


def wanted_metrics(experiment: Experiment, point: LoadPoint) -> tuple[Wanted, ...]:
    """Return every measured metric of one load point: means, percentiles, then rates.

    Raises
    ------
    ConfigError
        If the lengths of its requests cannot be told.
    """
    order = {name: place for place, name in enumerate(dict.fromkeys(_order()))}
    found = [_inter_token(experiment, point), *_reported(point), *_throughput(experiment, point)]
    noisy = (replace(wanted, noise_pct=noise_pct(experiment, wanted.name)) for wanted in found)
    return tuple(sorted(noisy, key=lambda wanted: order[wanted.name]))


def noise_pct(experiment: Experiment, metric: str) -> float | None:
    """Return the standard deviation of one measurement in percent of it; None where nobody knows it."""
    if experiment.noise is None:
        return None
    share = experiment.noise.relative_sd.get("tpot_mean" if metric == INTER_TOKEN else metric)
    return None if share is None else share * PERCENT


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


def _throughput(experiment: Experiment, point: LoadPoint) -> Iterator[Wanted]:
    """Yield the rate that follows where none was measured; of a saturated loop it is all that its latencies say."""
    if THROUGHPUT in point.measured:
        return
    if point.duration_s:
        rate = point.requests.completed / point.duration_s
        yield Wanted(THROUGHPUT, "completed / duration", "1/s", rate, THROUGHPUT)
    elif point.saturated and isinstance(point.arrivals, ClosedLoop):
        clients, request_ms = point.arrivals.concurrency, _request_ms(experiment, point)
        if request_ms is not None:
            yield Wanted(THROUGHPUT, IN_FLIGHT, "1/s", clients / request_ms * MS_PER_S, "e2e_mean", in_flight=clients)


def _request_ms(experiment: Experiment, point: LoadPoint) -> float | None:
    """Return the mean time of a request in ms: as measured, else its first token and the time between the others."""
    measured = point.measured
    if "e2e_mean" in measured:
        return measured["e2e_mean"].value
    if not {"ttft_mean", "tpot_mean"} <= measured.keys() or measured["tpot_mean"].definition == "guidellm":
        return None
    return measured["ttft_mean"].value + measured["tpot_mean"].value * (experiment.mean_output_tokens(point.id) - 1)
