"""Tables of a replay page: what was replayed, how far each set of options is off, and where.

Every function takes scores and returns markdown. A mean error covers the load points that neither the measurement nor
the simulation saturates: elsewhere latencies grow with the length of the run. Means over experiments average each
experiment's load points first. A number that does not exist prints as a dash; a prediction that saturates where the
server did not carries a dagger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from roofline_lab.files import csv_text
from roofline_lab.formatting import MISSING, pct, signed_pct, table
from roofline_lab.predict.choose import OptionSet
from roofline_lab.predict.recording import Recording, Stage
from roofline_lab.predict.replay import LATENCIES, STATISTICS, Sample, StageScore
from roofline_lab.scoring.errors import mean, signed_error_pct
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS, NUMBER_COLUMNS, VALUE_DECIMALS
from roofline_lab.scoring.scores import ErrorRow
from roofline_lab.scoring.table import levels, table_of
from roofline_lab.vocabulary import RowStatus

METHOD = "replay"
PREDICTED_SATURATED = "saturated in the simulation alone"
WAYS = ("load_points", "experiments")
Line = tuple[str, str, float, str]
NumberRow = tuple[str, str, str, str, str, str, str, float, str]


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


def numbers_text(scores: Sequence[StageScore], further: Iterable[NumberRow] = ()) -> str:
    """Return every number as CSV, with the columns of all `numbers.csv`; `further` are those of predictions alone."""
    rows = [
        (METHOD, score.options.id, score.stage.point.id, "experiment", score.stage.experiment.id, *line)
        for score in scores
        for line in _lines(score)
    ]
    for name, own in by_set(scores).items():
        for (way, latency, statistic), error in summary(own).errors_pct.items():
            place = (METHOD, name, ALL_LOAD_POINTS, "overall", f"mean over {way}")
            rows.append((*place, f"{latency}_{statistic}", "mape", error, "pct"))
    rows += further
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


SUMMARISED = ("mean", "p50", "p90")
DAGGER = "†"
SATURATED = {True: "yes", False: "no", None: "not known"}
NOTHING = "nothing"


def summaries(scores: Sequence[StageScore]) -> list[Summary]:
    """Return the summary of every set of options."""
    return [summary(own) for own in by_set(scores).values()]


def saturating(found: Iterable[Summary]) -> list[Summary]:
    """Return the sets of options that do not keep up with every load point the server kept up with."""
    return [summary for summary in found if summary.compared < summary.scored]


def summary_table(found: Sequence[Summary], way: str) -> str:
    """Return the mean absolute error of every set, averaged one way."""
    header = ["Options", "n"]
    header += [f"{latency.upper()} {statistic}" for latency in LATENCIES for statistic in SUMMARISED]
    rows = [
        [summary.label, f"{summary.compared} of {summary.scored}"]
        + [pct(summary.errors_pct.get((way, latency, statistic))) for latency in LATENCIES for statistic in SUMMARISED]
        for summary in found
    ]
    return table(header, rows)


def range_table(scores: Sequence[StageScore]) -> str:
    """Return the lowest and the highest signed error of every mean, of load points nobody saturates."""
    rows = []
    for own in by_set(scores).values():
        compared = [score for score in own if score.has_latencies and not score.queue_grows]
        cells = [
            _range([score.samples[name].signed_error_pct("mean") for score in compared if name in score.samples])
            for name in LATENCIES
        ]
        rows.append([own[0].options.label, *cells])
    return table(["Options", *(f"{latency.upper()} mean" for latency in LATENCIES)], rows)


def _range(errors_pct: Sequence[float]) -> str:
    return f"{signed_pct(min(errors_pct))} to {signed_pct(max(errors_pct))}" if errors_pct else MISSING


def option_table(option_sets: Sequence[OptionSet]) -> str:
    """Return what each set of options is."""
    rows = [[tried.label, tried.meaning, tried.source, f"`{tried.digest}`"] for tried in option_sets]
    return table(["Options", "What they are", "Source", "Configuration"], rows, left=4)


def trace_table(recordings: Sequence[Recording]) -> str:
    """Return what was replayed, and what is in the figures."""
    rows = [
        [
            stage.experiment.id,
            stage.point.id,
            stage.side,
            "a closed loop" if recording.replay.workload.concurrency else "recorded",
            SATURATED[stage.point.saturated],
            "; ".join(f"{exclusion.count} ({exclusion.reason})" for exclusion in stage.exclusions) or NOTHING,
            _rate(stage),
            str(len(stage.requests)),
        ]
        for recording in recordings
        for stage in recording.stages
    ]
    header = ["Experiment", "Load point", "Side", "Arrivals", "Saturated", "Left out", "Requests per s", "Requests"]
    return table(header, rows, left=6)


def stage_table(scores: Sequence[StageScore]) -> str:
    """Return measured and predicted latencies of the load points of one experiment."""
    labels = [own[0].options.label for own in by_set(scores).values()]
    rows = []
    for own in by_stage(score for score in scores if not score.stage.point.saturated).values():
        for latency in LATENCIES:
            for statistic in STATISTICS:
                cells = [_cell(score, latency, statistic) for score in own]
                measured = _measured(own, latency, statistic)
                rows.append([own[0].stage.point.id, latency.upper(), statistic, measured, *cells])
    return table(["Load point", "Latency", "Statistic", "Measured", *labels], rows, left=3) if rows else ""


def distance_table(scores: Sequence[StageScore]) -> str:
    """Return how far the distributions of one experiment lie apart, for every set."""
    labels = [own[0].options.label for own in by_set(scores).values()]
    rows = [
        [own[0].stage.point.id, latency.upper(), *(_distance(score, latency) for score in own)]
        for own in by_stage(score for score in scores if not score.stage.point.saturated).values()
        for latency in LATENCIES
    ]
    return table(["Load point", "Latency", *labels], rows, left=2) if rows else ""


def throughput_table(scores: Sequence[StageScore]) -> str:
    """Return throughput and saturation of every load point, measured and predicted."""
    labels = [own[0].options.label for own in by_set(scores).values()]
    rows = []
    for name, own in by_stage(scores).items():
        known = [score.throughput_per_s for score in own if score.throughput_per_s is not None]
        measured = f"{known[0][0]:.3f}" if known else MISSING
        rows.append([name, SATURATED[own[0].stage.point.saturated], measured, *map(_throughput, own)])
    return table(["Load point", "Saturated", "Measured", *labels], rows, left=1)


def exclusion_table(scores: Sequence[StageScore]) -> str:
    """Return what the figures would be with the requests that were left out for a cold start."""
    rows = []
    for own in by_stage(score for score in scores if score.stage.cold and score.has_latencies).values():
        for statistic in ("mean", "p99"):
            cells = [_pair(score.everything["ttft"], score.samples["ttft"], statistic) for score in own]
            with_all, without = (
                samples["ttft"].figure(statistic)[0] for samples in (own[0].everything, own[0].samples)
            )
            rows.append([own[0].stage.name, f"TTFT {statistic}", f"{with_all:.1f} / {without:.1f}", *cells])
    labels = [own[0].options.label for own in by_set(scores).values()]
    return table(["Load point", "", "Measured, ms", *labels], rows, left=2) if rows else ""


def failures(scores: Sequence[StageScore]) -> list[str]:
    """Say what could not be simulated, and which requests a simulation did not complete."""
    told = [
        f"{score.stage.name}, {score.options.label}: not simulated: {score.failure}"
        for score in scores
        if score.failure
    ]
    told += [
        f"{score.stage.name}, {score.options.label}: {score.unfinished} requests are not completed in the simulation "
        "and in no figure"
        for score in scores
        if score.unfinished
    ]
    return told


def _cell(score: StageScore, latency: str, statistic: str) -> str:
    sample = score.samples.get(latency)
    if sample is None:
        return MISSING
    mark = DAGGER if score.queue_grows else ""
    return f"{ms_text(sample.figure(statistic)[1], latency)} ({signed_pct(sample.signed_error_pct(statistic))}){mark}"


def _measured(scores: Sequence[StageScore], latency: str, statistic: str) -> str:
    sample = next((score.samples[latency] for score in scores if latency in score.samples), None)
    return MISSING if sample is None else ms_text(sample.figure(statistic)[0], latency)


def ms_text(value: float, latency: str) -> str:
    """Format milliseconds; a time per token needs a digit more."""
    return f"{value:,.2f}" if latency == "tpot" else f"{value:,.1f}"


def _distance(score: StageScore, latency: str) -> str:
    sample = score.samples.get(latency)
    if sample is None:
        return MISSING
    mark = DAGGER if score.queue_grows else ""
    return (
        f"{sample.kolmogorov_smirnov:.2f}; {sample.wasserstein_ms:,.2f} ms; {pct(sample.quantile_difference_pct)}; "
        f"{pct(sample.request_error_pct)}{mark}"
    )


def _throughput(score: StageScore) -> str:
    if score.throughput_per_s is None:
        return MISSING
    measured, predicted = score.throughput_per_s
    grows = "; saturated" if score.queue_grows else ""
    return f"{predicted:.3f} ({signed_pct(signed_error_pct(predicted, measured))}{grows})"


def _pair(everything: Sample, kept: Sample, statistic: str) -> str:
    return f"{signed_pct(everything.signed_error_pct(statistic))} / {signed_pct(kept.signed_error_pct(statistic))}"


def _rate(stage: Stage) -> str:
    rate = stage.point.rate_per_s
    return MISSING if rate is None else f"{rate:.3g}"
