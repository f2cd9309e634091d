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

METHOD = "replay"
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
    scored = [score for score in scores if score.has_latencies]
    compared = [score for score in scored if not score.queue_grows]
    errors = {
        (way, latency, statistic): error
        for way in WAYS
        for latency in LATENCIES
        for statistic in STATISTICS
        if (error := _mean_error(compared, way, latency, statistic)) is not None
    }
    return Summary(scores[0].options.label, len(compared), len(scored), errors)


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


def _mean_error(scores: Sequence[StageScore], way: str, latency: str, statistic: str) -> float | None:
    groups: dict[str, list[float]] = {}
    for score in scores:
        if latency in score.samples:
            key = score.stage.experiment.id if way == "experiments" else score.stage.name
            groups.setdefault(key, []).append(abs(score.samples[latency].signed_error_pct(statistic)))
    return mean([mean(errors) for errors in groups.values()]) if groups else None


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
