"""Limits on latencies, as text and as what a run is held to.

Contract: `read_limits("ttft_p99<=500ms, tpot_p90<=30ms", source)` returns limits or raises one `ConfigError` with
everything that is wrong. A limit is on a statistic of a latency and has a unit; a bare latency ("ttft") or a bare
number ("500") is refused, because either could mean several things.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from simulator.errors import ConfigError
from simulator.metrics import GAP_METRICS, PERCENTILES, MetricName
from simulator.validation import config_error, suggest

MS_PER: Mapping[str, float] = {"us": 0.001, "ms": 1.0, "s": 1000.0}
STATISTICS = ("mean", *(f"p{rank}" for rank in PERCENTILES))
# What a limit calls a latency, and what a run's metrics do: of the mean and of a percentile.
LATENCIES: Mapping[str, tuple[str, str]] = {
    "ttft": (MetricName.TTFT_MEAN, "ttft_{}"),
    "tpot": (MetricName.TPOT_REQUEST, "tpot_request_{}"),
    "itl": (MetricName.ITL_TOKEN_WEIGHTED, "itl_{}"),
    "e2e": (MetricName.E2E_MEAN, "e2e_{}"),
}
METRICS: Mapping[str, str] = {
    f"{latency}_{statistic}": str(of_mean) if statistic == "mean" else of_percentile.format(statistic)
    for latency, (of_mean, of_percentile) in LATENCIES.items()
    for statistic in STATISTICS
}
EXAMPLE = "ttft_p99<=500ms, tpot_p90<=30ms"
_NUMBER = r"(?P<number>[-+]?[\d.]+(?:e[-+]?\d+)?)\s*(?P<unit>\w*)"
_LIMIT = re.compile(rf"\s*(?P<name>\w+)\s*(?P<sign><=|<|=<|≤|>=|>|=)\s*{_NUMBER}\s*")


@dataclass(frozen=True, slots=True)
class Limit:
    """The most a statistic of a latency may be.

    Attributes
    ----------
    name
        As a user writes it, of `METRICS`.
    at_most_ms
        Milliseconds.
    """

    name: str
    at_most_ms: float

    @property
    def metric(self) -> str:
        """What a run's metrics call it."""
        return METRICS[self.name]

    @property
    def latency(self) -> str:
        """Which latency: ttft, tpot, itl or e2e."""
        return self.name.partition("_")[0]

    @property
    def needs_gaps(self) -> bool:
        """Whether the engine has to count the gaps between tokens for it."""
        return self.metric in GAP_METRICS

    @property
    def text(self) -> str:
        """The limit as it may be read again."""
        return f"{self.name}<={self.at_most_ms:g}ms"

    @property
    def words(self) -> str:
        """The limit as a page has it."""
        latency, statistic = self.name.split("_")
        return f"{latency.upper()} {statistic} at most {self.at_most_ms:,g} ms"


def read_limits(text: str, source: str) -> tuple[Limit, ...]:
    """Return the limits that a text names, separated by commas, in its order.

    Raises
    ------
    ConfigError
        Naming every part that is no limit, and what it should be.
    """
    limits: list[Limit] = []
    problems: list[str] = []
    for part in (part for part in text.split(",") if part.strip()):
        try:
            limits.append(_limit(part))
        except ConfigError as error:
            problems.append(str(error))
    names = [limit.name for limit in limits]
    problems += [f"{name}: has two limits; keep one" for name in sorted(set(names)) if names.count(name) > 1]
    if not limits and not problems:
        problems.append(f"no limit; write one such as {EXAMPLE}")
    if problems:
        raise config_error(source, problems)
    return tuple(limits)


def _limit(part: str) -> Limit:
    told = f"'{part.strip()[:60]}'"
    found = _LIMIT.fullmatch(part)
    if found is None:
        raise ConfigError(f"{told}: is no limit; write one such as {EXAMPLE}")
    name, sign = found["name"].lower(), found["sign"]
    if name in LATENCIES:
        raise ConfigError(f"{told}: of which statistic? write {', '.join(f'{name}_{each}' for each in STATISTICS)}")
    if name not in METRICS:
        raise ConfigError(f"{told}: unknown latency '{name}'; {suggest(name, METRICS)}")
    if sign not in ("<=", "<", "=<", "≤"):
        raise ConfigError(f"{told}: a latency has an upper limit; write {name}<=")
    return Limit(name, _milliseconds(found["number"], found["unit"], told))


def _milliseconds(number: str, unit: str, told: str) -> float:
    try:
        value = float(number)
    except ValueError:
        raise ConfigError(f"{told}: '{number}' is no number") from None
    if not unit:
        raise ConfigError(f"{told}: {number} of what? give the unit: {number}ms, {number}s or {number}us")
    if unit not in MS_PER:
        raise ConfigError(f"{told}: unknown unit '{unit}'; allowed: {', '.join(MS_PER)}")
    if not math.isfinite(value) or value <= 0:
        raise ConfigError(f"{told}: must be above 0 and finite")
    return value * MS_PER[unit]
