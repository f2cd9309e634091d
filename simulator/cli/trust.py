"""How far a run may be trusted, as a part of its report and in lines for people.

Contract: pure. Every run has a word (inside, near or outside of what its calibration was validated on), why, the
interval of every figure that was held out, and the validated deployments it is most like; where nothing was held out of
what predicts, that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.engine.records import RequestResult
from simulator.metrics import mean
from simulator.trust.distance import KIND_WORDS, Cell, Load, Run, load_of, nearest
from simulator.trust.intervals import INTER_TOKEN, Band, IntervalTable, NoBand, trust_in, within

# Figures that were held out under a name of their own, and the metrics of a run they speak of.
METRICS: Mapping[str, tuple[str, ...]] = {INTER_TOKEN: ("tpot_request", "itl_token_weighted")}
# Means that people are told of.
TOLD: Mapping[str, str] = {"ttft_mean": "TTFT", "tpot_request": "TPOT", "e2e_mean": "E2E"}
# Of more deployments that are equally near the report has all, people are told of these.
MOST_NEAREST = 3
NOT_SERVED = "no request was completed"
# Times from here on are told in whole milliseconds.
WHOLE_FROM_MS = 100.0
PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a run gave.

    Attributes
    ----------
    load
        What the server had to do; None where no request was completed.
    values
        Metrics by name, in ms where they are latencies.
    has_client
        Whether TTFT and E2E contain the time of client and host.
    saturated
        Whether latencies say how long the run was rather than how fast the server is.
    """

    cell: Cell
    load: Load | None
    values: Mapping[str, float | None]
    has_client: bool
    saturated: bool


def load_in(
    done: Sequence[RequestResult], tensor_parallel: int, replicas: int, values: Mapping[str, float | None]
) -> Load | None:
    """Return what one of so many servers had to do in a run that gave these metrics; None where none was completed."""
    prompt_tokens = mean([result.prompt_tokens for result in done])
    rate, e2e_ms, output_tokens = (values[name] for name in ("request_throughput", "e2e_mean", "output_tokens_mean"))
    if rate is None or e2e_ms is None or prompt_tokens is None or output_tokens is None:
        return None
    return load_of(tensor_parallel, rate / replicas, e2e_ms, prompt_tokens, output_tokens)


def trust_report(tested: IntervalTable | NoBand, run: Predicted) -> dict[str, Any]:
    """Return the part of a report; `none` says why there is no word, or no interval of a metric."""
    if isinstance(tested, NoBand) or run.load is None:
        return {"none": tested.reason if isinstance(tested, NoBand) else NOT_SERVED}
    found = trust_in(tested, Run(run.cell, run.load), saturated=run.saturated)
    tokens = run.load.prompt_tokens
    missing_ms = {name: 0.0 if run.has_client else tested.client_ms(name, tokens) for name in tested.figures}
    return {
        "calibration": tested.calibration,
        "word": found.reach.word.value,
        "why": list(found.reasons),
        "client_taken_out_ms": max(missing_ms.values(), default=0.0),
        "level": tested.level,
        "intervals": {
            metric: _interval(found.bands[name], value, missing_ms[name])
            for name in tested.figures
            for metric in METRICS.get(name, (name,))
            if (value := run.values.get(metric)) is not None
        },
        "nearest": [_words(cell) for cell in nearest(run.cell, tested.seen.cells)],
    }


def _interval(band: Band | NoBand, value_ms: float, missing_ms: float) -> dict[str, Any]:
    if isinstance(band, NoBand):
        return {"none": band.reason}
    low, high = within(band, value_ms, missing_ms)
    return {"low": low, "high": high, "unit": "ms"}


def _words(cell: Cell) -> str:
    return f"{cell.model} ({KIND_WORDS.get(cell.kind, cell.kind)}, {cell.precision}) on {cell.hardware}"


def trust_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield what people are told of a report's part on trust."""
    if "none" in report:
        yield f"trust: no interval is known: {report['none']}"
        return
    why = f": {'; '.join(report['why'])}" if report["why"] else ""
    yield f"trust: {report['word']} what {report['calibration']} was validated on{why}"
    found = {name: report["intervals"][metric] for metric, name in TOLD.items() if metric in report["intervals"]}
    known = [f"{name} {_span(each['low'], each['high'])}" for name, each in found.items() if "none" not in each]
    if known:
        yield f"trust: {report['level'] * PERCENT:.0f} % of means measured {_side(report)} lie in: {', '.join(known)}"
    for reason in dict.fromkeys(each["none"] for each in found.values() if "none" in each):
        names = ", ".join(name for name, each in found.items() if each.get("none") == reason)
        yield f"trust: no interval of {names}: {reason}"
    told = report["nearest"][:MOST_NEAREST]
    others = len(report["nearest"]) - len(told)
    yield f"trust: nearest of what was validated: {', '.join(told)}{f', and {others} more' if others else ''}"


def _side(report: Mapping[str, Any]) -> str:
    client_ms = report["client_taken_out_ms"]
    return f"at the server, without {_ms(client_ms)} ms of client and host," if client_ms else "at the client"


def _span(low_ms: float, high_ms: float) -> str:
    return f"{_ms(low_ms)} to {_ms(high_ms)} ms"


def _ms(value_ms: float) -> str:
    return f"{value_ms:,.0f}" if value_ms >= WHOLE_FROM_MS else f"{value_ms:.3g}"
