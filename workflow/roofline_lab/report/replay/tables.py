"""Tables of a replay page: what was replayed, how far each set of options is off, and where.

Every function takes scores and returns markdown. A number that does not exist prints as a dash; a prediction that
saturates where the server did not carries a dagger.
"""

from __future__ import annotations

from collections.abc import Sequence

from roofline_lab.formatting import MISSING, pct, signed_pct, table
from roofline_lab.predict.choose import OptionSet
from roofline_lab.predict.recording import Recording, Stage
from roofline_lab.predict.replay import LATENCIES, STATISTICS, Sample, StageScore
from roofline_lab.report.replay.summary import Summary, by_set, by_stage, summary
from roofline_lab.scoring.errors import signed_error_pct

SUMMARISED = ("mean", "p50", "p90")
DAGGER = "†"
SATURATED = {True: "yes", False: "no", None: "not known"}
NOTHING = "nothing"


def summaries(scores: Sequence[StageScore]) -> list[Summary]:
    """Return the summary of every set of options."""
    return [summary(own) for own in by_set(scores).values()]


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
    rows = [[one.label, one.meaning, one.source, f"`{one.digest}`"] for one in option_sets]
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
            with_all, without = (one["ttft"].figure(statistic)[0] for one in (own[0].everything, own[0].samples))
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
    return f"{_ms(sample.figure(statistic)[1], latency)} ({signed_pct(sample.signed_error_pct(statistic))}){mark}"


def _measured(scores: Sequence[StageScore], latency: str, statistic: str) -> str:
    sample = next((score.samples[latency] for score in scores if latency in score.samples), None)
    return MISSING if sample is None else _ms(sample.figure(statistic)[0], latency)


def _ms(value: float, latency: str) -> str:
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
