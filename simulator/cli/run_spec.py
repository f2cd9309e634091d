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
from typing import Any, Self

from pydantic import Field, model_validator

from simulator.cli.files import checked_path
from simulator.cli.server import ServerOptions
from simulator.errors import ConfigError, UnsupportedError
from simulator.input_files import MOST_LEVELS
from simulator.model import KvCacheType
from simulator.parallelism import Parallelism
from simulator.request_times import MetricOptions
from simulator.validation import Count, NonNegativeInt, StrictModel, parse, parse_yaml, read_yaml
from simulator.workload.build import WorkloadSpec

DEFAULT_HARDWARE = "h100-sxm"
DEFAULT_SEED = 42

KERNEL_SOURCES = ("embedded", "tabulated")

# Flags that are a key of the schema under another name.
PLAIN_FLAGS = {
    "model": "model",
    "hardware": "hardware",
    "tensor_parallel": "tensor_parallel",
    "expert_parallel": "expert_parallel",
    "attention_data_parallel": "engine.attention_data_parallel",
    "data_parallel": "data_parallel",
    "replicas": "engine.replicas",
    "router": "engine.router",
    "router_load_factor": "engine.router_load_factor",
    "kv_cache_dtype": "kv_cache_dtype",
    "steptime": "steptime.base",
    "gpu": "tables.gpu",
    "policy": "steptime.mfu.lookup",
    "bandwidth_efficiency": "steptime.bandwidth_efficiency",
    "num_requests": "workload.requests",
    "seed": "seed",
    "token_budget": "engine.token_budget",
    "max_running": "engine.max_running",
    "block_tokens": "engine.block_tokens",
    "kv_blocks": "engine.kv_blocks",
    "gpu_memory_utilization": "engine.gpu_memory_utilization",
    "max_model_len": "engine.max_model_len_tokens",
    "scheduler": "engine.scheduler",
    "horizon_us": "engine.horizon_us",
}


# What servers can do and no model here describes: asked for by a flag or a key, it is refused, never ignored.
NOT_MODELLED: Mapping[str, str] = {
    "pipeline_parallel": "pipeline parallelism (layers spread over GPUs); use tensor_parallel",
    "speculative": "speculative decoding (drafted tokens that one step verifies)",
    "disaggregated": "disaggregated prefill and decode (separate servers for each)",
}
# Of these the value is a number of GPUs, and one is what is modelled.
COUNTED = frozenset({"pipeline_parallel"})
# Flags of a setting that is on or off.
SWITCHES = frozenset({"expert_parallel"})
SWITCHED_OFF = frozenset({"", "0", "false", "no", "none", "off"})


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
        GPUs the model is split over; with `engine.attention_data_parallel`, those of one group.
    expert_parallel
        Whether every GPU holds whole experts, in place of a slice of each.
    data_parallel
        Instances of a model without experts, which are `engine.replicas`; of one with experts it could be two things,
        so one of them is to be named.
    kv_cache_dtype
        How the server keeps keys and values; `auto`: as the model's files say, else as activations.
    steptime
        Name of a step-time model (`simulator.steptime.named`), or a mapping: options on top of the name `base`
        (absent: the default of the GPU), or with `family` options from the ground up (`simulator.steptime.options`).
    tables
        Measured kernel tables, for `steptime.mfu.source: measured`.
    engine
        The server: limits and policies.
    workload
        Which requests arrive when.
    metrics
        What lies between the engine's clock and the reported numbers, and limits of goodput.
    seed
        Seed of every random draw.
    """

    model: str | dict[str, Any]
    hardware: str | dict[str, Any] = DEFAULT_HARDWARE
    tensor_parallel: Count = 1
    expert_parallel: bool = False
    data_parallel: Count = 1
    kv_cache_dtype: KvCacheType = "auto"
    steptime: str | dict[str, Any] = Field(default={})
    tables: TableFolder | None = None
    engine: ServerOptions = ServerOptions()
    workload: WorkloadSpec
    metrics: MetricOptions = MetricOptions()
    seed: NonNegativeInt = DEFAULT_SEED

    @model_validator(mode="after")
    def _one_number_of_instances(self) -> Self:
        stated = self.engine.stated("replicas")
        if self.data_parallel > 1 and stated not in (None, self.data_parallel):
            raise ValueError(
                f"data_parallel {self.data_parallel} and engine.replicas {stated} differ; give one of them"
            )
        return self

    @property
    def parallelism(self) -> Parallelism:
        """How the model is spread over GPUs."""
        return Parallelism(self.tensor_parallel, self.engine.attention_data_parallel, self.expert_parallel)


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
        if isinstance(data.get("steptime"), str):
            data["steptime"] = {"base": data["steptime"]}
    for key, value in _flags(arguments):
        _put(data, key, value)
    if arguments.kernels is not None:
        _put_kernels(data, arguments.kernels)
    if arguments.gpu is not None and "folder" not in data["tables"]:
        raise ConfigError(
            "--gpu: says which GPU's kernel tables, and no tables are given; name their folder with --kernels, or the "
            "GPU that is simulated with --hardware"
        )
    for text in arguments.set:
        key, value = _assignment(text)
        _put(data, key, value)
    return spec_of(data, source), base


def spec_of(data: Mapping[str, Any], source: str) -> RunSpec:
    """Return one simulation from plain data.

    Raises
    ------
    ConfigError
        Naming every key that is wrong.
    UnsupportedError
        If it asks for something that no model here describes.
    """
    asked = [f"{key}: {what}" for key, what in NOT_MODELLED.items() if _asked_for(key, data.get(key))]
    if asked:
        raise UnsupportedError(f"{source}: not modelled: {'; '.join(asked)}")
    return parse(RunSpec, {key: value for key, value in data.items() if key not in NOT_MODELLED}, source=source)


def switched_on(text: str) -> bool:
    """Say what a word behind a switch means; any but those for off is on."""
    return text.strip().lower() not in SWITCHED_OFF


def _asked_for(key: str, value: object) -> bool:
    """Say whether a value asks for what is not modelled, and does not say that it is off."""
    if isinstance(value, str):
        return switched_on(value)
    only_one = key in COUNTED and value == 1 and value is not True
    return value not in (None, False, 0) and not only_one


def _flags(arguments: Namespace) -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every flag given."""
    for flag, key in PLAIN_FLAGS.items():
        value = getattr(arguments, flag)
        if value is not None:
            yield key, switched_on(value) if flag in SWITCHES else value
    for flag in NOT_MODELLED:
        value = getattr(arguments, flag)
        if value is not None:
            yield flag, value
    yield from _workload_flags(arguments)


def _workload_flags(arguments: Namespace) -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of the flags that say which requests come when."""
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
    if arguments.turns is not None:
        yield "workload.sessions.turns", _turns(arguments.turns)
    if arguments.think_s is not None:
        yield "workload.sessions.think_s", {"kind": "exponential", "mean_s": arguments.think_s}
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
    if arguments.speed is not None:
        return {"kind": "replayed", "speed": arguments.speed}
    return None


def _turns(text: str) -> dict[str, Any]:
    """Return how many turns sessions have, from `N` or `MIN-MAX`."""
    numbers = [_number(part) for part in text.split("-")]
    if len(numbers) == 1 and numbers[0] is not None:
        return {"kind": "constant", "turns": numbers[0]}
    if len(numbers) == 2 and None not in numbers:
        return {"kind": "uniform", "min_turns": numbers[0], "max_turns": numbers[1]}
    raise ConfigError(f"--turns: must be N or MIN-MAX, got '{text[:60]}'")


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
    stated = data.get("steptime")
    given = stated.get("mfu") if isinstance(stated, Mapping) else None
    other = isinstance(given, Mapping) and given.get("kind", "kernels") != "kernels"
    kept = given if isinstance(given, Mapping) and not other else {}
    _put(data, "steptime.mfu", {**kept, "kind": "kernels", "source": source})


def _assignment(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set: must be KEY=VALUE, for instance engine.kv_blocks=900, got '{text}'")
    return key, parse_yaml(value, source=f"--set {key}")


def _put(data: dict[str, Any], dotted: str, value: object) -> None:
    """Set one nested key; one set to a name of a step-time model keeps that name as its `base`."""
    *path, last = dotted.split(".")
    if len(path) > MOST_LEVELS:
        raise ConfigError(f"'{dotted[:40]}...': {len(path)} keys inside one another; at most {MOST_LEVELS}")
    place = data
    for position, key in enumerate(path):
        inner = place.get(key)
        if position == 0 and key == "steptime" and isinstance(inner, str):
            inner = {"base": inner}
        if inner is not None and not isinstance(inner, Mapping):
            raise ConfigError(f"{'.'.join(path[: position + 1])}: is not a mapping, so '{dotted}' cannot be set in it")
        # A copy, so that neither a default nor an anchored part of the file is changed elsewhere.
        place[key] = dict(inner or {})
        place = place[key]
    place[last] = value
