"""A recorded run of the upstream simulator: `case.json` and `requests.csv.gz`.

Contract: `read_case(folder)` returns a validated `RecordedCase`, or raises `ConfigError`. Every key either
is honoured, or cannot matter for a replay (it describes how the requests were drawn, or what came out),
or is refused where its value would change the run, or is unknown and named in `unknown_keys`. An absent
key has upstream's default. Values may be text, because some records keep command-line arguments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Strict, field_validator

from simulator.cli.upstream import (
    BandwidthShare,
    OverheadUs,
    Rate,
    TensorParallel,
    known_part,
    upstream_bandwidth_efficiency,
)
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request
from simulator.errors import ConfigError, UnsupportedError
from simulator.steptime.linear import AlphaModel
from simulator.validation import Count, Finite, NonNegativeInt, StrictModel, config_error, parse, read_json, suggest
from simulator.workload.trace import load_trace

COEFFICIENTS = 3
SCHEDULERS = {"fcfs": "fcfs", "sjf": "shortest_job", "priority-fcfs": "priority"}

# Names of the engine's options in upstream, and here.
ENGINE_KEYS = {
    "total_kv_blocks": "kv_blocks",
    "block_size_in_tokens": "block_tokens",
    "max_num_running_reqs": "max_running",
    "max_num_scheduled_tokens": "token_budget",
    "long_prefill_token_threshold": "long_prefill_threshold_tokens",
    "horizon": "horizon_us",
}

WHOLE_NUMBERS = frozenset({*ENGINE_KEYS, "tp"})

# How the requests were drawn, what came out, and settings without any effect on one server.
# fmt: off
WITHOUT_EFFECT = frozenset({
    "case", "comment", "description", "gpu_memory_utilization", "log", "max_model_len", "metrics", "name", "note",
    "notes", "num_requests", "output_tokens", "output_tokens_max", "output_tokens_min", "output_tokens_stdev",
    "prefix_tokens", "prompt_tokens", "prompt_tokens_max", "prompt_tokens_min", "prompt_tokens_stdev", "rate",
    "results_path", "routing", "routing_policy", "seed", "upstream_summary", "vllm_version",
    "workload", "workload_spec",
})
# fmt: on

# Values that leave a run as it is; any other one asks for something this engine does not do.
ONLY_VALUES: Mapping[str, tuple[Any, ...]] = {
    "num_instances": (1,),
    "kv_cpu_blocks": (0,),
    "admission": ("always-admit",),
    "admission_policy": ("always-admit",),
    "admission_latency": (0,),
    "routing_latency": (0,),
    "priority": ("constant",),
    "priority_policy": ("constant",),
}


@dataclass(frozen=True)
class Peaks:
    """Upstream's description of a GPU.

    Attributes
    ----------
    tflops, bandwidth_tbs
        Peak rates, TFLOPS and TB/s.
    bandwidth_efficiency
        Share of the peak; None where none applies.
    per_layer_overhead_us
        us per layer, divided by TP.
    """

    tflops: float
    bandwidth_tbs: float
    bandwidth_efficiency: float | None
    per_layer_overhead_us: float


# Upstream's hardware_config.json; TFLOPS, TB/s, share, us per layer.
DEFAULT_PEAKS = {
    "H100": Peaks(989.5, 3.35, 0.82, 100.0),
    "A100-SXM": Peaks(312.0, 2.039, 0.80, 100.0),
    "A100-80": Peaks(312.0, 2.039, 0.80, 100.0),
    "A100": Peaks(312.0, 2.039, 0.80, 100.0),
}


class HardwareConfig(StrictModel):
    """`hardware_config` of a record; an absent share or overhead is 0, which means none."""

    TFlopsPeak: Rate
    BwPeakTBs: Rate
    bwEfficiencyFactor: BandwidthShare = 0.0  # noqa: N815
    perLayerOverhead: OverheadUs = 0.0  # noqa: N815
    MemoryGiB: Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)] = 0.0


def _without_unknown(value: Any) -> Any:
    """Drop parameters of other upstream models, which have no effect on this one; misspelt ones are refused."""
    if not isinstance(value, dict):
        return value
    return known_part(HardwareConfig, value, source="hardware_config")


Coefficients = Annotated[tuple[Finite, Finite, Finite], Field(strict=False)]


class CaseFile(StrictModel):
    """The keys of `case.json` that determine a run."""

    model: str | None = None
    hardware: str = "H100"
    tp: TensorParallel = 1
    hardware_config: Annotated[HardwareConfig | None, BeforeValidator(_without_unknown)] = None
    steptime: Literal["mfu roofline", "linear alpha/beta"] | None = None
    roofline: bool | None = None
    total_kv_blocks: Count = 1_000_000
    block_size_in_tokens: Annotated[int, Strict(), Field(ge=1, le=1_000_000)] = 16
    max_num_running_reqs: Count = 256
    max_num_scheduled_tokens: Count = 2048
    long_prefill_token_threshold: NonNegativeInt = 0
    horizon: NonNegativeInt | None = None
    scheduler: Literal["fcfs", "sjf", "priority-fcfs"] = "fcfs"
    alpha_coeffs: Coefficients | None = None
    beta_coeffs: Coefficients | None = None

    @field_validator("alpha_coeffs", "beta_coeffs", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        """Accept `"a0,a1,a2"` as well as a list of three numbers."""
        if not isinstance(value, str):
            return value
        parts = [_number(part) for part in value.split(",")]
        if len(parts) != COEFFICIENTS or None in parts:
            raise ValueError("must be three numbers separated by commas")
        return parts


@dataclass(frozen=True)
class RecordedCase:
    """One recorded run, ready to be replayed.

    Attributes
    ----------
    model
        Model name of a roofline run; None where the step time is linear and needs no model.
    peaks
        The GPU of a roofline run.
    beta
        Coefficients of a linear run: us, us per prefill token, us per decode; None for a roofline.
    output_processing_us
        Added to every reported token; it does not delay the engine.
    unknown_keys
        Keys of `case.json` that mean nothing here.
    """

    name: str
    model: str | None
    tensor_parallel: int
    peaks: Peaks | None
    beta: tuple[float, float, float] | None
    options: EngineOptions
    output_processing_us: int
    requests: tuple[Request, ...]
    unknown_keys: tuple[str, ...]


def read_case(folder: Path) -> RecordedCase:
    """Read one recorded run.

    Raises
    ------
    ConfigError
        If a file is missing or a key or cell is wrong.
    UnsupportedError
        If the record asks for something this engine does not do.
    """
    path = folder / "case.json"
    data = read_json(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must be an object of keys and values, got {type(data).__name__}")
    config = _by_name(data, str(path))
    _refuse_other_values(config, str(path))
    idle = WITHOUT_EFFECT | ONLY_VALUES.keys()
    asked = {key: _plain_number(key, value) for key, value in config.items() if key not in idle}
    case = known_part(CaseFile, asked, source=str(path))
    alpha = _alpha(case, str(path))
    linear = _is_linear(case, str(path))
    return RecordedCase(
        name=str(config.get("case", folder.name)),
        model=None if linear else _required_model(case, str(path)),
        tensor_parallel=case.tp,
        peaks=None if linear else _peaks(case, str(path)),
        beta=case.beta_coeffs if linear else None,
        options=_engine_options(case),
        output_processing_us=alpha.output_delay_us(),
        requests=_requests(folder, alpha),
        unknown_keys=tuple(sorted(asked.keys() - CaseFile.model_fields.keys())),
    )


def _refuse_other_values(config: Mapping[str, Any], source: str) -> None:
    problems = [
        f"{key}: {config[key]!r} is not modelled; allowed: {allowed[0]!r}"
        for key, allowed in ONLY_VALUES.items()
        if key in config and config[key] not in allowed and _number(str(config[key])) not in allowed
    ]
    if problems:
        raise UnsupportedError(str(config_error(source, problems)))


def _by_name(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Write keys with `_` where a command line has `-`, and leave out those without a value."""
    config = {key.replace("-", "_"): value for key, value in data.items() if value is not None}
    if len(config) < sum(value is not None for value in data.values()):
        raise ConfigError(f"{source}: a key is given twice, once with '-' and once with '_'")
    return config


def _plain_number(key: str, value: Any) -> Any:
    """Turn a whole number given as text or as 1.0 into one, where a whole number is wanted."""
    if key not in WHOLE_NUMBERS:
        return value
    number = _number(value) if isinstance(value, str) else value
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return value if number is None else number


def _number(text: str) -> int | float | None:
    try:
        value = json.loads(text.strip())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _alpha(case: CaseFile, source: str) -> AlphaModel:
    names = ("queueing_us", "queueing_us_per_prompt_token", "output_processing_us")
    given = zip(names, case.alpha_coeffs or (0.0, 0.0, 0.0), strict=True)
    return parse(AlphaModel, dict(given), source=f"{source}: alpha_coeffs")


def _is_linear(case: CaseFile, source: str) -> bool:
    """Say which step time was recorded.

    Without a word about it, upstream's rule holds: the roofline if asked for, else linear where any coefficient is
    not 0, else the roofline.
    """
    if case.steptime is not None:
        linear = case.steptime == "linear alpha/beta"
        if linear and case.roofline:
            raise ConfigError(f"{source}: roofline: true contradicts steptime 'linear alpha/beta'; drop one of them")
    else:
        linear = not case.roofline and any((*(case.alpha_coeffs or ()), *(case.beta_coeffs or ())))
    if linear and case.beta_coeffs is None:
        raise ConfigError(f"{source}: beta_coeffs: missing; a linear step time needs them")
    return linear


def _required_model(case: CaseFile, source: str) -> str:
    if case.model is None:
        raise ConfigError(f"{source}: model: missing; a roofline step time needs it")
    return case.model


def _peaks(case: CaseFile, source: str) -> Peaks:
    given = case.hardware_config
    if given is not None:
        share = upstream_bandwidth_efficiency(given.bwEfficiencyFactor, source=source)
        return Peaks(given.TFlopsPeak, given.BwPeakTBs, share, given.perLayerOverhead)
    if case.hardware not in DEFAULT_PEAKS:
        hint = suggest(case.hardware, DEFAULT_PEAKS)
        raise ConfigError(f"{source}: hardware: unknown GPU '{case.hardware}'; {hint} (or give hardware_config)")
    return DEFAULT_PEAKS[case.hardware]


def _engine_options(case: CaseFile) -> EngineOptions:
    """Return the recorded limits with the recorded program's behaviour."""
    limits = {ours: getattr(case, theirs) for theirs, ours in ENGINE_KEYS.items()}
    return EngineOptions(
        **limits,
        scheduler=SCHEDULERS[case.scheduler],
        idle_until="step_start",
        cached_prefix_context="ignored",
        full_prefix_hit="admit_empty",
    )


def _requests(folder: Path, alpha: AlphaModel) -> tuple[Request, ...]:
    compressed, plain = folder / "requests.csv.gz", folder / "requests.csv"
    path = plain if plain.is_file() and not compressed.is_file() else compressed
    return tuple(
        replace(request, queueing_delay_us=alpha.queueing_delay_us(request.prompt_tokens))
        for request in load_trace(path)
    )
