"""Files that people keep beside results: the client's profile, and spans of the server.

Contract: everything here is optional; what is absent is None or empty. A file that is there and cannot be read raises
a `ConfigError`, as its facts were meant to be used. What is stated of the server is no matter of a reader: see
`stated_server`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roofline_lab.importers.common import MS_PER_S
from roofline_lab.importers.server_sources import RUN_FILE, lines, read_mapping
from simulator.errors import ConfigError

PROFILE_FILE = "profile.yaml"
LOG_PATTERN = "vllm*.log*"
SPANS_PATTERN = "traces*.json*"


@dataclass(frozen=True, slots=True)
class RunMetadata:
    """What the files beside results say.

    Attributes
    ----------
    profile
        The client's profile.
    spans
        (TTFT, E2E) in ms by request id, as the engine measured them.
    files
        Names of the files used.
    """

    profile: Mapping[str, Any] = field(default_factory=dict)
    spans: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    files: tuple[str, ...] = ()


def read_run_metadata(folder: Path) -> RunMetadata:
    """Read what lies in a folder of results.

    Raises
    ------
    ConfigError
        If a file that is there cannot be read.
    """
    logs, traces = sorted(folder.glob(LOG_PATTERN)), sorted(folder.glob(SPANS_PATTERN))
    present = [file for file in (folder / RUN_FILE, folder / PROFILE_FILE, *logs[:1], *traces[:1]) if file.is_file()]
    return RunMetadata(
        profile=_mapping(folder / PROFILE_FILE),
        spans=dict(_spans(traces[0])) if traces else {},
        files=tuple(file.name for file in present),
    )


def _mapping(path: Path) -> dict[str, Any]:
    return read_mapping(path) if path.is_file() else {}


def _spans(path: Path) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield request id, TTFT and E2E of every request span of an OpenTelemetry JSON-lines file."""
    for number, line in enumerate(lines(path), start=1):
        if not line.strip():
            continue
        try:
            for resource in json.loads(line)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        latencies = _latencies(span)
                        if latencies is not None:
                            yield latencies
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError) as error:
            raise ConfigError(f"{path}:{number}: not a line of OpenTelemetry spans: {error!r}"[:300]) from None


def _latencies(span: Any) -> tuple[str, tuple[float, float]] | None:
    values = {entry["key"]: next(iter(entry["value"].values())) for entry in span["attributes"]}
    ttft_s, e2e_s = (values.get(f"gen_ai.latency.{name}") for name in ("time_to_first_token", "e2e"))
    if ttft_s is None or e2e_s is None:
        return None
    return str(values["gen_ai.request.id"]), (_ms(ttft_s), _ms(e2e_s))


def _ms(seconds: Any) -> float:
    value = float(seconds) * MS_PER_S
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{seconds!r} is no latency in seconds")
    return value
