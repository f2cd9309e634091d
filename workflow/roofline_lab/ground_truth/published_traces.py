"""Request traces that others published: when requests were sent and how long they are, and no latency.

Contract: `read_any_trace` reads such a trace, or one with latencies, whatever it is by its content;
`records_no_latencies` tells them apart, where a comparison needs the one and a prediction is enough for the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from roofline_lab.ground_truth.requests import (
    REQUESTS_FILE,
    Layout,
    MeasuredRequest,
    Trace,
    digest_of_trace,
    read_trace,
    refuse_too_many,
)
from simulator.errors import ConfigError
from simulator.workload.trace import first_columns, has_own_columns, trace_format
from simulator.workload.trace import read_trace as read_published
from simulator.workload.trace_formats import TEXTS, format_of

# Columns of which a trace with measured latencies has at least one.
LATENCIES = ("ttft_ms", "e2e_ms")
# Names of such traces in a folder.
SUFFIXES = tuple(f"{kind}{packed}" for kind in (".csv", ".jsonl", ".json") for packed in ("", ".gz"))


def published_format(path: Path) -> str | None:
    """Return whose format a published trace has; None if the file is none, or cannot be read."""
    try:
        return trace_format(path)
    except ConfigError:
        return None


def records_no_latencies(path: Path) -> bool:
    """Return whether a file says what was sent and nothing of what became of it; False if it cannot be read."""
    try:
        columns = first_columns(path)
    except ConfigError:
        return False
    if not has_own_columns(columns) and (format_of(columns) is not None or {*columns} & {*TEXTS}):
        return True
    return has_own_columns(columns) and not {*columns} & {*LATENCIES}


def find_unmeasured(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the traces without latencies among `paths`; of a folder those in it, sorted by name."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        looked_at = [file for file in inside if not path.is_dir() or file.name.endswith(SUFFIXES)]
        found += [file for file in looked_at if file.is_file() and _is_unmeasured(file)]
    return tuple(found)


def _is_unmeasured(path: Path) -> bool:
    return path.name != REQUESTS_FILE and records_no_latencies(path)


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
