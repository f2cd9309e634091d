"""Means over load points, and every number of a replay as the lines of a `numbers.csv`.

Contract: pure functions of scores. A mean error covers the load points that neither the measurement nor the simulation
saturates: elsewhere latencies grow with the length of the run. Means over experiments average each experiment's load
points first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from roofline_lab.files import csv_text
from roofline_lab.predict.replay import LATENCIES, STATISTICS, StageScore
from roofline_lab.scoring.errors import mean, signed_error_pct
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS, NUMBER_COLUMNS, VALUE_DECIMALS
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.scoring.table import levels, table_of
from roofline_lab.vocabulary import RowStatus

METHOD = "replay"
PREDICTED_SATURATED = "saturated in the simulation alone"
WAYS = ("load_points", "experiments")
Line = tuple[str, str, float, str]


@dataclass(frozen=True, slots=True)
class Summary:
    """One set of options over all load points.

    Attributes
    ----------
    compared
        Load points behind the errors.
    scored
        Load points with latencies; those that are not compared are predicted to saturate.
    errors_pct
        Mean absolute error by way of averaging, latency and statistic; empty where nothing is compared.
    """

    label: str
    compared: int
    scored: int
    errors_pct: dict[tuple[str, str, str], float]


def by_set(scores: Iterable[StageScore]) -> dict[str, list[StageScore]]:
    """Return the scores of each set of options, in their order."""
    found: dict[str, list[StageScore]] = {}
    for score in scores:
        found.setdefault(score.options.id, []).append(score)
    return found


def by_stage(scores: Iterable[StageScore]) -> dict[str, list[StageScore]]:
    """Return the scores of each load point, in their order."""
    found: dict[str, list[StageScore]] = {}
    for score in scores:
        found.setdefault(score.stage.name, []).append(score)
    return found


def summary(scores: Sequence[StageScore]) -> Summary:
    """Summarise the scores of one set of options."""
    with_latencies = [score for score in scores if score.has_latencies]
    table = table_of(rows_of(scores))
    errors = {}
    for metric, rows in table[table["ape_pct"].notna()].groupby("metric"):
        latency, _, statistic = str(metric).partition("_")
        for way, level in zip(WAYS, levels(rows), strict=False):
            errors[way, latency, statistic] = mean(level.tolist())
    compared = sum(not score.queue_grows for score in with_latencies)
    return Summary(scores[0].options.label, compared, len(with_latencies), errors)


def rows_of(scores: Iterable[StageScore]) -> Iterator[ErrorRow]:
    """Yield every latency of every load point; the arm is the set of options.

    A load point that the simulation alone saturates is not scored: its latencies grow with the length of the run.
    """
    for score in scores:
        stage, experiment = score.stage, score.stage.experiment
        for latency, sample in score.samples.items() if score.has_latencies else ():
            for statistic in STATISTICS:
                measured, predicted = sample.figure(statistic)
                yield ErrorRow(
                    method=METHOD,
                    arm=score.options.id,
                    experiment=experiment.id,
                    load_point=stage.point.id,
                    workload=experiment.workload.name,
                    family=experiment.family,
                    model=experiment.model,
                    tensor_parallel=experiment.tensor_parallel,
                    metric=f"{latency}_{statistic}",
                    predicted=predicted,
                    measured=measured,
                    status=RowStatus.SATURATED if score.queue_grows else RowStatus.OK,
                    reason=PREDICTED_SATURATED if score.queue_grows else "",
                    strategy=stage.point.strategy,
                    rate_per_s=stage.point.rate_per_s,
                    hardware=experiment.hardware,
                    side=stage.side,
                )


def in_common(scores: Sequence[StageScore]) -> list[StageScore]:
    """Return the scores of load points that every set of options keeps up with, so that sets can be compared."""
    lost = {score.stage.name for score in scores if score.has_latencies and score.queue_grows}
    return [score for score in scores if score.stage.name not in lost]


def numbers_text(scores: Sequence[StageScore]) -> str:
    """Return every number as CSV, with the columns of all `numbers.csv`."""
    rows = [
        (METHOD, score.options.id, score.stage.point.id, "experiment", score.stage.experiment.id, *line)
        for score in scores
        for line in _lines(score)
    ]
    for name, own in by_set(scores).items():
        for (way, latency, statistic), error in summary(own).errors_pct.items():
            place = (METHOD, name, ALL_LOAD_POINTS, "overall", f"mean over {way}")
            rows.append((*place, f"{latency}_{statistic}", "mape", error, "pct"))
    return csv_text(NUMBER_COLUMNS, [(*row[:7], f"{row[7]:.{VALUE_DECIMALS}f}", row[8]) for row in sorted(rows)])


def _lines(score: StageScore) -> Iterator[Line]:
    stage = score.stage
    yield "requests", "measured", float(len(stage.requests)), "count"
    yield "excluded", "count", float(sum(exclusion.count for exclusion in stage.exclusions)), "count"
    if score.failure:
        return
    yield "unfinished", "predicted", float(score.unfinished), "count"
    if stage.point.saturated is not None:
        yield "saturated", "measured", float(stage.point.saturated), "flag"
    yield "saturated", "predicted", float(bool(score.queue_grows)), "flag"
    if score.throughput_per_s is not None:
        yield from _figure("request_throughput", *score.throughput_per_s, "per_s")
    for latency in LATENCIES if score.has_latencies else ():
        yield from _latency(score, latency)


def _latency(score: StageScore, latency: str) -> Iterator[Line]:
    sample = score.samples.get(latency)
    if sample is None:
        return
    for statistic in STATISTICS:
        yield from _figure(f"{latency}_{statistic}", *sample.figure(statistic), "ms")
    yield latency, "count", float(len(sample.measured)), "count"
    yield latency, "kolmogorov_smirnov", sample.kolmogorov_smirnov, "ratio"
    yield latency, "wasserstein", sample.wasserstein_ms, "ms"
    yield latency, "quantile_difference", sample.quantile_difference_pct, "pct"
    yield latency, "median_request_error", sample.request_error_pct, "pct"


def _figure(name: str, measured: float, predicted: float, unit: str) -> Iterator[Line]:
    yield name, "measured", measured, unit
    yield name, "predicted", predicted, unit
    yield name, "signed_error", signed_error_pct(predicted, measured), "pct"
