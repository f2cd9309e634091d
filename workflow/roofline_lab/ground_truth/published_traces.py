"""Request traces that others published: when requests were sent and how long they are, and no latency.

Contract: `read_any_trace` reads such a trace, or one with latencies, whatever it is by its content. What only a
comparison can use is refused by `refuse_published`, with what to do instead.
"""

from __future__ import annotations

from pathlib import Path

from roofline_lab.ground_truth.requests import (
    Layout,
    MeasuredRequest,
    Trace,
    digest_of_trace,
    read_trace,
    refuse_too_many,
)
from simulator.errors import ConfigError
from simulator.workload.trace import read_trace as read_published
from simulator.workload.trace import trace_format


def published_format(path: Path) -> str | None:
    """Return whose format a published trace has; None if the file is none, or cannot be read."""
    try:
        return trace_format(path)
    except ConfigError:
        return None


def refuse_published(path: Path) -> None:
    """Refuse a trace that nothing can be compared with.

    Raises
    ------
    ConfigError
        If it is one that was published without latencies.
    """
    published = published_format(path)
    if published is not None:
        raise ConfigError(
            f"{path}: a {published}, which records no latencies, so there is nothing to compare; simulate it with: "
            f"python -m simulator run --request-trace {path} --model MODEL; or give it beside results that were "
            "measured with it: roofline-lab import TOOL PATH --trace FILE"
        )


def read_any_trace(path: Path, layout: Layout) -> Trace:
    """Read a trace, published by others or with the columns of a layout.

    Raises
    ------
    ConfigError
        If it cannot be read; see `read_trace`.
    """
    published = published_format(path)
    if published is None:
        return read_trace(path, layout)
    found = read_published(path)
    refuse_too_many(str(path), len(found.requests))
    requests = tuple(
        MeasuredRequest(
            load_point="0",
            id=request.id,
            arrival_us=request.arrival_us,
            prompt_tokens=request.prompt_tokens,
            output_tokens=request.output_tokens,
            prefix_group=request.prefix_group,
            prefix_tokens=request.prefix_tokens,
        )
        for request in found.requests
    )
    return Trace(path, digest_of_trace(path), requests, (None,) * len(requests), published, found.notes)
