"""Tables of traces that were predicted and not measured: what was sent, on which server, and what is predicted.

Contract: as `replay_tables`, but nothing has a measured column or an error. A number that does not exist prints as a
dash; a prediction whose waiting grows through the trace carries a dagger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from roofline_lab.formatting import MISSING, table
from roofline_lab.predict.published import RATES, SentTrace, Server, TracePrediction, too_long
from roofline_lab.predict.replay import LATENCIES, STATISTICS
from roofline_lab.report.replay_tables import DAGGER, METHOD, SATURATED, NumberRow, ms_text
from roofline_lab.scoring.numbers import ALL_LOAD_POINTS

PREDICTED = "predicted"
US_PER_S = 1e6


def by_trace(predictions: Iterable[TracePrediction]) -> dict[str, list[TracePrediction]]:
    """Return the predictions of each trace, in their order."""
    found: dict[str, list[TracePrediction]] = {}
    for prediction in predictions:
        found.setdefault(prediction.trace.source, []).append(prediction)
    return found


def sent_table(traces: Sequence[SentTrace]) -> str:
    """Return what was sent."""
    rows = [
        [
            trace.source,
            trace.format,
            f"{len(trace.requests):,}",
            f"{trace.requests[-1].arrival_us / US_PER_S:,.1f}",
            MISSING if trace.sent_per_s is None else f"{trace.sent_per_s:.3g}",
            f"{_mean(request.prompt_tokens for request in trace.requests):,.0f}",
            f"{_mean(request.output_tokens for request in trace.requests):,.0f}",
            f"{trace.shared:.0%}",
        ]
        for trace in traces
    ]
    header = ["Trace", "Format", "Requests", "Seconds", "Sent per s", "Prompt tokens", "Answer tokens", "Shared"]
    return table(header, rows, left=2)


def server_table(server: Server) -> str:
    """Return what the requests are served by, as stated."""
    deployment = server.deployment
    known = deployment.server.known.model_dump(exclude_none=True)
    rows = [["model", deployment.model], ["GPUs", f"{deployment.tensor_parallel} {deployment.hardware}"]]
    rows += [[name, str(value)] for name, value in known.items()]
    return table(["Stated", ""], rows, left=2)


def prediction_table(predictions: Sequence[TracePrediction]) -> str:
    """Return the latencies of one trace, ms."""
    rows = [
        [latency.upper(), statistic, *(_cell(one, latency, statistic) for one in predictions)]
        for latency in LATENCIES
        for statistic in STATISTICS
    ]
    return table(["Latency", "Statistic", *(one.options.label for one in predictions)], rows, left=2)


def rate_table(predictions: Sequence[TracePrediction]) -> str:
    """Return throughput and saturation of every trace."""
    rows = [
        [
            one.trace.source,
            one.options.label,
            MISSING if one.prediction is None else SATURATED[one.prediction.saturated],
            *(_number(one.rate(name)) for name in RATES),
        ]
        for one in predictions
    ]
    return table(["Trace", "Options", "Saturated", "Requests per s", "Answer tokens per s"], rows, left=3)


def remarks(predictions: Sequence[TracePrediction], server: Server) -> list[str]:
    """Say what was left out, what could not be simulated, and where a prediction leaves what it rests on."""
    told: dict[str, None] = {}
    for name, own in by_trace(predictions).items():
        trace = own[0].trace
        told |= dict.fromkeys(f"{name}: {note}" for note in (*trace.notes, too_long(trace, server)) if note)
    for one in predictions:
        if one.failure:
            told[f"{one.trace.source}, {one.options.label}: not simulated: {one.failure}"] = None
        if one.unfinished:
            told[
                f"{one.trace.source}, {one.options.label}: {one.unfinished:,} requests are not completed in the "
                "simulation and in no figure"
            ] = None
        told |= dict.fromkeys(f"{one.options.label}: {note}" for note in one.notes)
    return list(told)


def number_rows(predictions: Iterable[TracePrediction]) -> Iterator[NumberRow]:
    """Yield every number with the columns of all `numbers.csv`; what does not exist has no row."""
    for one in predictions:
        place = (METHOD, one.options.id, ALL_LOAD_POINTS, "trace", one.trace.source)
        yield (*place, "requests", "sent", float(len(one.trace.requests)), "count")
        if one.prediction is None:
            continue
        yield (*place, "unfinished", PREDICTED, float(one.unfinished), "count")
        yield (*place, "saturated", PREDICTED, float(one.prediction.saturated), "flag")
        figures = [
            (f"{name}_{statistic}", one.figure(name, statistic), "ms") for name in LATENCIES for statistic in STATISTICS
        ]
        figures += [(name, one.rate(name), unit) for name, unit in RATES.items()]
        yield from ((*place, name, PREDICTED, value, unit) for name, value, unit in figures if value is not None)


def _cell(one: TracePrediction, latency: str, statistic: str) -> str:
    value = one.figure(latency, statistic)
    if value is None or one.prediction is None:
        return MISSING
    return f"{ms_text(value, latency)}{DAGGER if one.prediction.saturated else ''}"


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.3f}"


def _mean(values: Iterable[int]) -> float:
    found = list(values)
    return sum(found) / len(found)
