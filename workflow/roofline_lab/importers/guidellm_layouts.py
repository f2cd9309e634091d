"""Reports of GuideLLM 0.1 to 0.4, as the reports of version 1 would have written them.

Contract: `as_version_1` returns the benchmarks of one entry of a report, each with the keys the reader looks for;
`request_as_version_1` does so for a single request. What is of version 1 or 2 stays as it is, and what an old report
does not have is left out, so that the reader names it. `release_of` tells the release from the layout.

The layouts, as remembered from GuideLLM's public source (no report of these releases was at hand):

* 0.1: `benchmarks[].benchmarks[]` with `mode`, `rate`, `results` and `errors`. Of a result `start_time`, `end_time` are
  Unix times, `first_token_time` and `decode_times.data` are seconds since the event before.
* 0.2, 0.3: the strategy under `args`, counts under `run_stats.requests_made`, the client's description of its data
  under `request_loader`. A distribution has `median` beside its percentiles. Times of a request are `start_time`,
  `first_token_time`, `end_time`.
* 0.4: the strategy under `scheduler`, counts under `request_totals` of the benchmark or its metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from roofline_lab.importers.common import Foreign, Latency
from simulator.metrics import mean, percentile

STATUSES = ("successful", "errored", "incomplete")

# Distributions that the reader looks at.
_METRICS = (
    "request_latency",
    "time_to_first_token_ms",
    "time_per_output_token_ms",
    "inter_token_latency_ms",
    "prompt_token_count",
    "output_token_count",
)
_RANKS = (50, 90, 95, 99)
MS_PER_S = 1000.0

# Strategies of 0.1, by their names of today; `sweep` stands for its parts.
_MODES = {"synchronous": "synchronous", "throughput": "throughput", "constant": "constant", "poisson": "poisson"}


class Percentiles(Foreign):
    """Those that are used, and the lower ones, which say whether some requests were not measured."""

    p01: Latency | None = None
    p05: Latency | None = None
    p10: Latency | None = None
    p25: Latency | None = None
    p50: Latency
    p90: Latency
    p95: Latency
    p99: Latency


class Summary(Foreign):
    """Distribution of one metric over the requests of one status."""

    mean: Latency
    min: Latency | None = None
    max: Latency
    percentiles: Percentiles

    @property
    def lower(self) -> dict[str, float | None]:
        """Its mean, minimum and percentiles, by the names of the report."""
        return {"mean": self.mean, "min": self.min, **self.percentiles.model_dump()}


def release_of(fields: Mapping[str, Any]) -> str | None:
    """Return the release whose layout a benchmark has, or None for that of version 1 and 2."""
    if isinstance(fields.get("benchmarks"), list):
        return "0.1"
    if _has_strategy(fields.get("config")):
        return None
    if _has_strategy(fields.get("args")):
        return "0.2 or 0.3"
    return "0.4" if _has_strategy(fields.get("scheduler")) else None


def _has_strategy(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("strategy"), Mapping)


def as_version_1(fields: Mapping[str, Any], position: int) -> Iterator[dict[str, Any]]:
    """Yield the benchmarks of one entry of a report under the keys of version 1."""
    match release_of(fields):
        case None:
            yield dict(fields)
        case "0.1":
            for index, benchmark in enumerate(fields["benchmarks"]):
                yield _of_results(_mapping(benchmark), position + index)
        case _:
            yield _of_strategy(fields, position)


def model_of(fields: Mapping[str, Any]) -> str | None:
    """Return the model that a benchmark of any release says it asked for."""
    places = (("config", "backend"), ("benchmarker", "backend"), ("worker",))
    for place in places:
        found: Any = fields
        for key in place:
            found = _mapping(found).get(key)
        for name in ("model", "backend_model"):
            if isinstance(_mapping(found).get(name), str) and found[name].strip():
                return str(found[name])
    return None


def data_of(fields: Mapping[str, Any]) -> object:
    """Return the description of synthetic data of release 0.2 to 0.4; None if there is none."""
    loader = _mapping(fields.get("request_loader")) or _mapping(_mapping(fields.get("benchmarker")).get("requests"))
    return loader.get("data")


# --- 0.2 to 0.4 -----------------------------------------------------------------------------------


def _of_strategy(fields: Mapping[str, Any], position: int) -> dict[str, Any]:
    told = _mapping(fields.get("args")) or _mapping(fields.get("scheduler"))
    index = told.get("strategy_index", fields.get("run_index", position))
    metrics, statistics = _mapping(fields.get("metrics")), _mapping(fields.get("run_stats"))
    made = statistics.get("requests_made") or _totals(statistics)
    totals = metrics.get("request_totals") or fields.get("request_totals") or _counted(metrics) or made
    found: dict[str, Any] = {
        **fields,
        "config": {"run_index": index if isinstance(index, int) else position, "strategy": told["strategy"]},
        "metrics": {
            **{name: _with_median(value) for name, value in metrics.items()},
            **({"request_totals": totals} if totals else {}),
        },
        **({"scheduler_metrics": {"requests_made": made}} if made else {}),
    }
    for name in ("start_time", "end_time"):
        if name not in found and name in statistics:
            found[name] = statistics[name]
    return found


def _totals(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts that stand one by one: `total_successful`, `total_errored`, `total_incomplete`."""
    found = {status: statistics.get(f"total_{status}") for status in STATUSES}
    return found if all(isinstance(count, int) for count in found.values()) else {}


def _counted(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many requests stand behind the figures, by status."""
    latency = _mapping(metrics.get("request_latency"))
    found = {status: _mapping(latency.get(status)).get("count") for status in STATUSES}
    return found if all(isinstance(count, int) for count in found.values()) else {}


def _with_median(value: Any) -> Any:
    """Return a distribution by status whose percentiles have their median."""
    if not isinstance(value, Mapping):
        return value
    found = dict(value)
    for status in STATUSES:
        summary = found.get(status)
        if isinstance(summary, Mapping) and isinstance(summary.get("percentiles"), Mapping) and "median" in summary:
            ranks = {"p50": summary["median"], **summary["percentiles"]}
            found[status] = {**summary, "percentiles": ranks}
    return found


def request_as_version_1(value: Any, position: int) -> Any:
    """Return one request of any release under the keys of version 1; what is none stays as it is."""
    if not isinstance(value, Mapping) or "request_start_time" in value or "start_time" not in value:
        return value
    begin_s, first_s, end_s = (value.get(name) for name in ("start_time", "first_token_time", "end_time"))
    found = {"request_id": f"request_{position}", **{key: entry for key, entry in value.items() if entry is not None}}
    found["request_start_time"] = begin_s
    if "request_latency" not in found and _is_number(begin_s) and _is_number(end_s):
        found["request_latency"] = end_s - begin_s
    if "time_to_first_token_ms" not in found and _is_number(begin_s) and _is_number(first_s):
        found["time_to_first_token_ms"] = (first_s - begin_s) * MS_PER_S
    return found


# --- 0.1 ------------------------------------------------------------------------------------------


def _of_results(benchmark: Mapping[str, Any], position: int) -> dict[str, Any]:
    """Form the figures of 0.1 from its single requests."""
    results, errors = ([_mapping(one) for one in _list(benchmark.get(key))] for key in ("results", "errors"))
    requests = [_of_result(one, place) for place, one in enumerate(results)]
    mode, rate = benchmark.get("mode"), benchmark.get("rate")
    kind = _MODES.get(str(mode), str(mode))
    strategy = {"type_": kind, **({"rate": rate} if kind in ("constant", "poisson") else {})}
    columns: dict[str, list[float]] = {
        "request_latency": _values(requests, "request_latency"),
        "time_to_first_token_ms": _values(requests, "time_to_first_token_ms"),
        "prompt_token_count": _values(requests, "prompt_tokens"),
        "output_token_count": _values(requests, "output_tokens"),
        "inter_token_latency_ms": [gap_s * MS_PER_S for one in results for gap_s in _gaps_s(one)],
    }
    tokens = sum(columns["output_token_count"])
    totals = {"successful": len(requests), "errored": len(errors), "incomplete": 0}
    found: dict[str, Any] = {
        "config": {"run_index": position, "strategy": strategy},
        "metrics": {
            "request_totals": totals,
            **{name: {"successful": _summary(values)} for name, values in columns.items() if values},
        },
        "requests": {"successful": requests, "errored": [], "incomplete": []},
    }
    if tokens and columns["request_latency"]:
        each = [latency * MS_PER_S for latency in columns["request_latency"]]
        found["metrics"]["time_per_output_token_ms"] = {
            "successful": {**_summary(each), "mean": sum(each) / tokens},
        }
    starts, ends = _values(requests, "request_start_time"), _values(requests, "end_time")
    return found | ({"start_time": min(starts), "end_time": max(ends)} if starts and ends else {})


def _of_result(result: Mapping[str, Any], position: int) -> dict[str, Any]:
    begin_s, end_s, first_s = (result.get(name) for name in ("start_time", "end_time", "first_token_time"))
    found = {
        "request_id": str(_mapping(result.get("request")).get("id") or f"request_{position}"),
        "prompt_tokens": result.get("prompt_token_count"),
        "output_tokens": result.get("output_token_count"),
        "request_start_time": begin_s,
        "end_time": end_s,
        "request_latency": end_s - begin_s if _is_number(begin_s) and _is_number(end_s) else None,
        "time_to_first_token_ms": first_s * MS_PER_S if _is_number(first_s) else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _gaps_s(result: Mapping[str, Any]) -> Sequence[float]:
    return [gap for gap in _list(_mapping(result.get("decode_times")).get("data")) if _is_number(gap)]


def _values(requests: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [request[name] for request in requests if _is_number(request.get(name))]


def _summary(values: Sequence[float]) -> dict[str, Any]:
    ranks = {f"p{rank}": percentile(values, rank) for rank in _RANKS}
    return {"mean": mean(values), "max": max(values), "percentiles": ranks}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
