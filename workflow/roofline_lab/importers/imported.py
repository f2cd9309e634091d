"""What every reader returns, and the small steps they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict

from roofline_lab.ground_truth.measurement_lint import Finding
from roofline_lab.ground_truth.metrics import DEFINITIONS, KINDS, UNITS
from roofline_lab.ground_truth.quality import Flag, QualityFlag, Treatment
from roofline_lab.ground_truth.requests import MeasuredRequest
from simulator.errors import ConfigError
from simulator.metrics import mean, percentile

US_PER_S = 1_000_000
MS_PER_S = 1000.0

# Digits behind the point that imported figures keep: a nanosecond for latencies in ms.
DECIMALS = 6

# Latencies that cannot be 0; between tokens there is no time where an answer is one token.
NEVER_ZERO = ("ttft", "e2e")

# Requests of a prompt pool share a group of this name, with the number of the prompt.
POOL_GROUP = "prompt_"
SHARED_GROUP = "shared"


class Foreign(BaseModel):
    """A record of a file that another tool wrote: keys we do not use are left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


# Beyond any count of tokens or bytes and any time in any unit; keeps a damaged file from overflowing.
LARGEST = 10**12

WholeNumber = Annotated[int, Strict(), Field(ge=0, le=LARGEST)]
Number = Annotated[float, Strict(), Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Latency = Annotated[float, Strict(), Field(ge=0, le=LARGEST, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class BothSides:
    """(TTFT, E2E) in ms of one request, as client and server recorded it."""

    request: str
    client: tuple[float, float]
    server: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Imported:
    """One measured experiment as a reader found it, before names of the project are given to it.

    Attributes
    ----------
    tool, tool_version, side
        What measured, and where.
    document
        The files it was read from, without folders.
    source
        The files as the user named them, for messages.
    date, date_basis
        When it was measured, and how that is known.
    model_name, tensor_parallel, hardware, family, workload_name
        As far as the files say; names are those of the files, not of `configs`.
    known, assumed, server_note
        Server settings.
    workload
        Prompt, output and prefix as the format writes them.
    load_points
        As the format writes them.
    quality, conversions
        Flags, and one sentence per conversion.
    requests
        Single requests, if all of them are recorded.
    both_sides
        Requests that client and server recorded, in order of sending.
    unlike_the_workload
        Load points that the workload's lengths cannot stand for, and the message that says so; to be refused unless
        their single requests are recorded.
    """

    tool: str
    document: str
    date: date
    date_basis: str
    workload: dict[str, Any]
    load_points: list[dict[str, Any]]
    tool_version: str | None = None
    source: str = ""
    side: str = "client"
    model_name: str | None = None
    tensor_parallel: int | None = None
    hardware: str | None = None
    family: str | None = None
    workload_name: str | None = None
    known: dict[str, Any] = field(default_factory=dict)
    assumed: dict[str, Any] = field(default_factory=dict)
    server_note: str | None = None
    source_note: str | None = None
    quality: tuple[QualityFlag, ...] = ()
    conversions: tuple[str, ...] = ()
    requests: tuple[MeasuredRequest, ...] = ()
    both_sides: tuple[BothSides, ...] = ()
    unlike_the_workload: Mapping[str, str] = field(default_factory=dict)


class Notes:
    """Flags and sentences collected while a file is read, each once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Flag, Treatment, str], tuple[Finding, list[str]]] = {}
        self._converted: dict[str, None] = {}

    def flag(self, finding: Finding | None, treatment: Treatment, load_point: str = "", more: str = "") -> None:
        """Note what a check found; the same text about several load points becomes one flag."""
        if finding is None:
            return
        key = (finding.flag, treatment, f"{finding.text} {more}".strip())
        _, points = self._found.setdefault(key, (finding, []))
        if load_point and load_point not in points:
            points.append(load_point)

    def converted(self, sentence: str) -> None:
        """Note a conversion."""
        self._converted[sentence] = None

    def quality(self) -> tuple[QualityFlag, ...]:
        """Return the flags, those of one kind together."""
        order = list(Flag)
        keys = sorted(self._found, key=lambda key: order.index(key[0]))
        return tuple(
            QualityFlag(
                flag=flag, treatment=treatment, text=text, load_points=tuple(self._found[flag, treatment, text][1])
            )
            for flag, treatment, text in keys
        )

    def conversions(self) -> tuple[str, ...]:
        """Return the sentences in the order they were noted."""
        return tuple(self._converted)


def figure(name: str, value: float, definition: str | None = None) -> dict[str, Any]:
    """Return one figure as the format writes it; latencies in ms."""
    kind = KINDS[name]
    return {
        "value": round(float(value), DECIMALS),
        "unit": UNITS[kind],
        "definition": definition or next(iter(DEFINITIONS[kind])),
    }


def figures(source: str, values: Mapping[str, float | None], definitions: Mapping[str, str]) -> dict[str, Any]:
    """Return the figures that were measured; None was not, nor was 0 between tokens or per second.

    Raises
    ------
    ConfigError
        If a request is said to have taken no time.
    """
    for name, value in values.items():
        if value == 0 and KINDS[name] in NEVER_ZERO:
            raise ConfigError(
                f"{source}: {name}: 0; every request takes time; measure with streaming on, or leave the figure out"
            )
    return {name: figure(name, value, definitions.get(KINDS[name])) for name, value in values.items() if value}


def statistics_of(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Return mean, p50, p90 and p99 under their figure names."""
    return {f"{name}_mean": mean(values)} | {f"{name}_p{rank}": percentile(values, rank) for rank in (50, 90, 99)}


def saturation(finding: Finding | None, otherwise: str) -> dict[str, str]:
    """Return whether a load point is saturated: because of a finding, or not for a stated reason."""
    if finding is not None:
        return {"state": "saturated", "basis": finding.text}
    return {"state": "not_saturated", "basis": otherwise}


def day_of(unix_s: float, source: str, key: str) -> date:
    """Return the UTC day of a Unix time.

    Raises
    ------
    ConfigError
        If it is not a time since 2020, so probably no Unix time at all.
    """
    if not 1_577_836_800 <= unix_s < 10_000_000_000:
        raise ConfigError(f"{source}: {key}: {unix_s:g} is not a time since 2020 in seconds since 1970")
    return datetime.fromtimestamp(unix_s, UTC).date()


# Keys at the top of a tool's result file.
_MARKS = {
    "guidellm": {"metadata", "benchmarks"},
    "inference-perf": {"load_summary", "successes"},
    "vllm-bench": {"num_prompts", "request_throughput"},
}


def refuse_other_tool(path: Path, keys: Iterable[str], own: str) -> None:
    """Refuse a result file of another tool, naming the command that reads it.

    Raises
    ------
    ConfigError
        If the keys at the top of the file are those of another tool.
    """
    present = set(keys)
    for tool, marks in _MARKS.items():
        if tool != own and marks <= present and not _MARKS[own] <= present:
            raise ConfigError(f"{path}: this is a file of {tool}, not of {own}; use: import {tool} PATH --out ...")


def refuse_longer_than_run(source: str, key: str, latency_s: float, run_s: float) -> None:
    """Refuse a mean latency that is longer than the whole run, as one in another unit is.

    Raises
    ------
    ConfigError
        If it is.
    """
    if latency_s > run_s > 0:
        raise ConfigError(
            f"{source}: {key}: a mean of {latency_s:.4g} s in a run of {run_s:.4g} s; "
            "are seconds and milliseconds mixed?"
        )


def only_file(path: Path, patterns: Sequence[str], wanted: str, ignored: Sequence[str] = ()) -> Path:
    """Return `path` if it is a file, else the one file in it that matches.

    Raises
    ------
    ConfigError
        If there is none, or more than one.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise ConfigError(f"{path}: no such file or folder; give {wanted} or its folder")
    found = sorted(
        {one for pattern in patterns for one in path.glob(pattern) if not any(one.match(other) for other in ignored)}
    )
    if len(found) != 1:
        names = ", ".join(one.name for one in found) or "none"
        raise ConfigError(f"{path}: one file with {wanted} is expected, found {names}; name the file itself")
    return found[0]
