"""Single requests that are no measurement, taken out of what any reader found.

Contract: `without_unmeasured` is applied to the results of every tool. A latency of 0 was not measured, and a request
without a token is no answer; where single requests show either, the figures of their load point are formed again from
the others, and a flag says so. Readers that form figures from lists themselves have done the same before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from roofline_lab.ground_truth.load import LoadPoint
from roofline_lab.ground_truth.metrics import DEFINITIONS, Measured
from roofline_lab.ground_truth.quality import Finding, Flag, QualityFlag
from roofline_lab.ground_truth.requests import MeasuredRequest
from roofline_lab.importers.common import DECIMALS, Measurement, statistics_of
from simulator.errors import ConfigError

_PERCENTILE = re.compile(r"(?<![a-z])p\d|median")


def without_unmeasured(found: Measurement) -> Measurement:
    """Return a measurement whose figures and requests are measured ones.

    Raises
    ------
    ConfigError
        If no request of a load point was answered with a token.
    """
    experiment = found.experiment
    requests = experiment.recorded()
    points, flags, left_out = [], list(experiment.quality), set[tuple[str, str]]()
    for point in experiment.load_points:
        own = [request for request in requests if request.load_point == point.id and request.completed]
        empty = [request for request in own if not request.output_tokens]
        zeros = [request for request in own if request.output_tokens and _has_zero(request)]
        if not empty and not zeros:
            points.append(point)
            continue
        answered = [_measured(request) for request in own if request.output_tokens]
        if not answered:
            raise ConfigError(f"{found.source}: {point.id}: no request was answered with a token: nothing is measured")
        points.append(_formed_again(point, answered, len(own), zeros=bool(zeros)))
        flags += _flags(point, len(own), len(empty), len(zeros))
        left_out |= {(request.load_point, request.id) for request in empty}
    if len(flags) == len(experiment.quality):
        return found
    kept = tuple(_measured(request) for request in requests if (request.load_point, request.id) not in left_out)
    changed = experiment.model_copy(update={"load_points": tuple(points), "quality": tuple(flags)})
    return replace(found, experiment=changed.with_requests(kept))


def unmeasured_among(figures: Sequence[Sequence[float | None]]) -> Finding | None:
    """Find requests that are no measurement where others were not recorded, whose means contain such ones then.

    Parameters
    ----------
    figures
        Of every recorded request its latencies and its number of tokens.
    """
    spoilt = sum(0 in one for one in figures)
    if not spoilt:
        return None
    return Finding(
        Flag.PART_OF_THE_RUN,
        f"{spoilt} of {len(figures)} recorded requests have a latency of 0 or no token, and so may have others that "
        "were not recorded: the means contain them. Record every request.",
    )


def unmeasured_below(source: str, figures: Mapping[str, Mapping[str, float | None]]) -> Finding | None:
    """Find requests that are no measurement by the lower end of a distribution whose single requests are not recorded.

    Parameters
    ----------
    source
        The file and the place in it, for messages.
    figures
        By `ttft`, `e2e` and `output` (tokens of an answer) the statistics the file has, by any of its names.

    Raises
    ------
    ConfigError
        If a percentile of a latency is 0: so many of a hundred requests, if not more, are zeros in every figure.
    """
    spoilt = []
    for name, what in (("ttft", "TTFT"), ("e2e", "E2E"), ("output", "answer")):
        given = {key: value for key, value in figures.get(name, {}).items() if value is not None}
        zeros = sorted(key for key, value in given.items() if value == 0 and not key.startswith("st"))
        if not zeros or not any(given.values()):
            continue
        ranks = [key if name in key else f"{name}_{key}" for key in zeros if _PERCENTILE.search(key)]
        if ranks and name != "output":
            raise ConfigError(
                f"{source}: {', '.join(ranks)}: 0, which means not measured; then requests without a measurement are "
                f"in every other figure of {what} too; give the single requests of the run, or leave all figures of "
                f"{what} out"
            )
        spoilt.append("the shortest answer has 0 tokens" if name == "output" else f"the least {what} is 0")
    if not spoilt:
        return None
    return Finding(
        Flag.PART_OF_THE_RUN,
        f"It is in the figures that {' and '.join(spoilt)}: requests that were not measured, or not answered with a "
        "token, are in the means. Record every request.",
    )


def _has_zero(request: MeasuredRequest) -> bool:
    return 0 in (request.ttft_ms, request.e2e_ms)


def _measured(request: MeasuredRequest) -> MeasuredRequest:
    return replace(request, ttft_ms=request.ttft_ms or None, e2e_ms=request.e2e_ms or None)


def _formed_again(point: LoadPoint, answered: Sequence[MeasuredRequest], before: int, *, zeros: bool) -> LoadPoint:
    """Return a load point with the figures of its answered requests."""
    spoilt = ("ttft", "tpot", "e2e", *(("itl",) if zeros else ()))
    figures = {name: figure for name, figure in point.measured.items() if name.rpartition("_")[0] not in spoilt}
    for name in ("ttft", "tpot", "e2e"):
        values = [value for request in answered if (value := getattr(request, f"{name}_ms")) is not None]
        definition = "inter_token" if name == "tpot" else next(iter(DEFINITIONS[name]))
        figures |= {
            key: Measured(value=round(value, DECIMALS), unit="ms", definition=definition)
            for key, value in statistics_of(name, values).items()
            if value
        }
    served = figures.get("request_throughput")
    if served is not None:
        per_s = round(served.value * len(answered) / before, DECIMALS)
        figures["request_throughput"] = served.model_copy(update={"value": per_s})
    counts = point.requests
    empty = before - len(answered)
    lost = {"lost_positions": "unknown", "without_output": (counts.without_output or 0) + empty} if empty else {}
    return point.model_copy(
        update={"measured": figures, "requests": counts.model_copy(update={"completed": len(answered), **lost})}
    )


def _flags(point: LoadPoint, all_of_them: int, empty: int, zeros: int) -> Iterator[QualityFlag]:
    texts = []
    if empty:
        texts.append(f"{empty} of {all_of_them} requests count as answered without a token; they are in no figure.")
    if zeros:
        texts.append(
            f"{zeros} of {all_of_them - empty} answers have a latency of 0, which means that it was not measured; "
            "TTFT, TPOT and E2E are formed from those that were."
        )
    for text in texts:
        yield Finding(Flag.PART_OF_THE_RUN, text).quality("corrected", (point.id,))
