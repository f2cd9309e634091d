"""One simulation as a user describes it: a YAML file, flags, or both.

Contract: `read_spec(arguments)` returns a validated `RunSpec` or raises one `ConfigError`. Flags become
keys of the same schema, so there is one place where a value is checked; a flag wins over the file, and
`--set` over both.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from simulator.cli.files import checked_path
from simulator.engine.options import EngineOptions
from simulator.errors import ConfigError
from simulator.input_files import MOST_LEVELS
from simulator.request_times import MetricOptions
from simulator.validation import Count, NonNegativeInt, StrictModel, parse, parse_yaml, read_yaml
from simulator.workload.build import WorkloadSpec

DEFAULT_HARDWARE = "h100-sxm"
DEFAULT_SEED = 42
DEFAULT_STEP_TIME: Mapping[str, Any] = {"family": "mfu_roofline", "mfu": {"kind": "kernels"}}

KERNEL_SOURCES = ("embedded", "tabulated")

# Flags that are a key of the schema under another name.
PLAIN_FLAGS = {
    "model": "model",
    "hardware": "hardware",
    "tensor_parallel": "tensor_parallel",
    "gpu": "tables.gpu",
    "policy": "steptime.mfu.lookup",
    "bandwidth_efficiency": "steptime.bandwidth_efficiency",
    "num_requests": "workload.requests",
    "seed": "seed",
    "token_budget": "engine.token_budget",
    "max_running": "engine.max_running",
    "block_tokens": "engine.block_tokens",
    "kv_blocks": "engine.kv_blocks",
    "scheduler": "engine.scheduler",
    "horizon_us": "engine.horizon_us",
}


class TableFolder(StrictModel):
    """Measured kernel tables.

    Attributes
    ----------
    folder
        Folder with `gemm/` and `mha/`; a relative name starts at the working directory.
    gpu
        Which GPU's tables, where the folder has several.
    """

    folder: str = Field(min_length=1)
    gpu: str | None = Field(default=None, min_length=1)


class RunSpec(StrictModel):
    """One simulation.

    Attributes
    ----------
    model, hardware
        Id, path, or description.
    tensor_parallel
        GPUs the model is split over.
    steptime
        Options of a step-time model; see `simulator.steptime.options`.
    tables
        Measured kernel tables, for `steptime.mfu.source: measured`.
    engine, workload, metrics
        Server, requests, and what lies between the engine's clock and the reported numbers.
    seed
        Seed of every random draw.
    """

    model: str | dict[str, Any]
    hardware: str | dict[str, Any] = DEFAULT_HARDWARE
    tensor_parallel: Count = 1
    steptime: dict[str, Any] = Field(default_factory=lambda: dict(DEFAULT_STEP_TIME))
    tables: TableFolder | None = None
    engine: EngineOptions = EngineOptions()
    workload: WorkloadSpec
    metrics: MetricOptions = MetricOptions()
    seed: NonNegativeInt = DEFAULT_SEED


def read_spec(arguments: Namespace) -> tuple[RunSpec, Path]:
    """Return the simulation asked for, and the folder a relative trace file starts from.

    Raises
    ------
    ConfigError
        Naming the file and every key that is wrong.
    """
    data, source, base = {}, "command line", Path()
    if arguments.config is not None:
        path = checked_path(arguments.config, "--config")
        source, base = str(path), path.parent
        data = read_yaml(path)
        if not isinstance(data, dict):
            raise ConfigError(f"{path}: must be a mapping of keys to values, got {type(data).__name__}")
    for key, value in _flags(arguments):
        _put(data, key, value)
    if arguments.kernels is not None:
        _put_kernels(data, arguments.kernels)
    for text in arguments.set:
        key, value = _assignment(text)
        _put(data, key, value)
    return parse(RunSpec, data, source=source), base


def _flags(arguments: Namespace) -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every flag given."""
    for flag, key in PLAIN_FLAGS.items():
        value = getattr(arguments, flag)
        if value is not None:
            yield key, value
    arrivals = _arrivals(arguments)
    if arrivals is not None:
        yield "workload.arrivals", arrivals
    for side in ("prompt", "output"):
        text = getattr(arguments, f"{side}_tokens")
        if text is not None:
            yield f"workload.{side}", _lengths(text, f"--{side}-tokens")
    if arguments.prefix_tokens is not None:
        tokens = arguments.prefix_tokens
        yield "workload.prefix", {"kind": "shared", "tokens": tokens} if tokens else {"kind": "none"}
    if arguments.request_trace is not None:
        # Absolute, because a flag is relative to the working directory and not to the YAML file.
        yield "workload.trace.file", str(checked_path(arguments.request_trace, "--request-trace").absolute())


def _arrivals(arguments: Namespace) -> dict[str, Any] | None:
    """Return the arrival process that flags name; they exclude each other."""
    start = {"ramp_s": arguments.ramp_s, "warm_up_requests": arguments.warm_up_requests}
    given = {key: value for key, value in start.items() if value is not None}
    if arguments.concurrency is not None:
        return {"kind": "closed_loop", "concurrency": arguments.concurrency, **given}
    if given:
        raise ConfigError(
            "--ramp-s, --warm-up-requests: are of a closed loop; give --concurrency too, or leave them out"
        )
    if arguments.rate is not None:
        return {"kind": "constant_rate", "rate_per_s": arguments.rate}
    if arguments.poisson is not None:
        return {"kind": "poisson", "rate_per_s": arguments.poisson}
    return None


def _lengths(text: str, flag: str) -> dict[str, Any]:
    """Return a length distribution from `LENGTH`, `MIN-MAX` or `MEAN,STDEV,MIN,MAX`."""
    limits = [_number(part) for part in text.split("-")]
    if len(limits) == 2 and None not in limits:
        return {"kind": "uniform", "min_tokens": limits[0], "max_tokens": limits[1]}
    parts = text.split(",")
    numbers = [_number(part) for part in parts]
    if None in numbers or len(numbers) not in (1, 4):
        raise ConfigError(f"{flag}: must be LENGTH, MIN-MAX or MEAN,STDEV,MIN,MAX in tokens, got '{text[:60]}'")
    if len(numbers) == 1:
        return {"kind": "constant", "tokens": numbers[0]}
    return {"kind": "gaussian"} | dict(
        zip(("mean_tokens", "stdev_tokens", "min_tokens", "max_tokens"), numbers, strict=True)
    )


def _number(text: str) -> int | float | None:
    """Return a finite number, whole where it is written whole; None for anything else."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _put_kernels(data: dict[str, Any], which: str) -> None:
    """Make the step time use kernels of one source: a word, or else a folder."""
    source = which if which in KERNEL_SOURCES else "measured"
    if source == "measured":
        _put(data, "tables.folder", which)
    mfu = data.get("steptime", DEFAULT_STEP_TIME)
    given = mfu.get("mfu") if isinstance(mfu, Mapping) else None
    kept = given if isinstance(given, Mapping) and given.get("kind") == "kernels" else {"kind": "kernels"}
    _put(data, "steptime.mfu", {**kept, "source": source})


def _assignment(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set: must be KEY=VALUE, for instance engine.kv_blocks=900, got '{text}'")
    return key, parse_yaml(value, source=f"--set {key}")


def _put(data: dict[str, Any], dotted: str, value: object) -> None:
    """Set one nested key; `steptime` starts from the default where the file does not have it."""
    *path, last = dotted.split(".")
    if len(path) > MOST_LEVELS:
        raise ConfigError(f"'{dotted[:40]}...': {len(path)} keys inside one another; at most {MOST_LEVELS}")
    place = data
    for position, key in enumerate(path):
        if key == "steptime" and position == 0:
            place.setdefault(key, dict(DEFAULT_STEP_TIME))
        inner = place.get(key)
        if inner is not None and not isinstance(inner, Mapping):
            raise ConfigError(f"{'.'.join(path[: position + 1])}: is not a mapping, so '{dotted}' cannot be set in it")
        # A copy, so that neither a default nor an anchored part of the file is changed elsewhere.
        place[key] = dict(inner or {})
        place = place[key]
    place[last] = value
