"""`replay`: serve the requests of a recorded run of the upstream simulator again and write what each client saw.

Contract: `read_case(folder)` returns what `case.json` and `requests.csv.gz` say as a validated `RecordedCase`, or
raises `ConfigError`. Every key either is honoured, or cannot matter for a replay (it describes how the requests were
drawn, or what came out), or is refused where its value would change the run, or is unknown and named in
`unknown_keys`. An absent key has upstream's default. Values may be text, because some records keep command-line
arguments.

One row is written per request, in order of arrival. `ttft_us` and `e2e_us` have the recorded sense: output
processing is added to the first token and to every later one, and the last step counts once. A time that
was not reached (request dropped, or not finished before the horizon) is an empty cell, never 0. An output
length of 0 is served as 1, as the recorded program did.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Strict, field_validator

from simulator.cli.catalog import configs_folder, find_tables
from simulator.cli.files import checked_path, emit, say, write_csv
from simulator.cli.run import write_steps
from simulator.cli.upstream import (
    BandwidthShare,
    OverheadUs,
    Rate,
    TensorParallel,
    known_part,
    upstream_bandwidth_efficiency,
    upstream_model,
)
from simulator.engine.loop import run as run_engine
from simulator.engine.options import EngineOptions
from simulator.engine.records import Request, RequestResult, RequestState, RunResult
from simulator.errors import ConfigError, UnsupportedError
from simulator.hardware import Hardware
from simulator.kernels.base import Kernels
from simulator.kernels.measured import MeasuredKernels
from simulator.request_times import MetricOptions, RequestTimes
from simulator.steptime.base import StepTimeModel
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.build import build_step_time
from simulator.steptime.cost import StepCost
from simulator.steptime.linear import AlphaModel
from simulator.steptime.options import upstream_options
from simulator.validation import Count, Finite, NonNegativeInt, StrictModel, config_error, parse, read_json, suggest
from simulator.workload.trace import TraceFile, read_trace

COEFFICIENTS = 3
SCHEDULERS: Mapping[str, Literal["fcfs", "shortest_job", "priority"]] = {
    "fcfs": "fcfs",
    "sjf": "shortest_job",
    "priority-fcfs": "priority",
}

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
    notes
        What a reader of the requests should know, where they are a trace of others.
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
    notes: tuple[str, ...] = ()


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
    trace = _trace(folder)
    return RecordedCase(
        name=str(config.get("case", folder.name)),
        model=None if linear else _required_model(case, str(path)),
        tensor_parallel=case.tp,
        peaks=None if linear else _peaks(case, str(path)),
        beta=case.beta_coeffs if linear else None,
        options=_engine_options(case),
        output_processing_us=alpha.output_delay_us(),
        requests=_requests(trace, alpha),
        notes=trace.notes,
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


def _trace(folder: Path) -> TraceFile:
    compressed, plain = folder / "requests.csv.gz", folder / "requests.csv"
    return read_trace(plain if plain.is_file() and not compressed.is_file() else compressed)


def _requests(trace: TraceFile, alpha: AlphaModel) -> tuple[Request, ...]:
    return tuple(
        replace(request, queueing_delay_us=alpha.queueing_delay_us(request.prompt_tokens)) for request in trace.requests
    )


COLUMNS = ("id", "ttft_us", "e2e_us", "sched_delay_us", "preemptions")


def replay_command(arguments: Namespace) -> int:
    """Replay, write the rows, print a summary."""
    out = checked_path(arguments.out, "--out")
    steps = None if arguments.steps is None else checked_path(arguments.steps, "--steps")
    case = read_case(checked_path(arguments.case, "CASE_DIR"))
    step_time = case_step_time(case, _kernels(case, arguments), configs_folder(arguments.configs))
    for key in case.unknown_keys:
        say(f"warning: {case.name}: key '{key}' of case.json is not known; the replay does without it")
    for warning in (*case.notes, *getattr(step_time, "warnings", ())):
        say(f"warning: {case.name}: {warning}")
    result = replay(case, step_time, record_steps=steps is not None)
    write_csv(out, COLUMNS, [row(request, case.output_processing_us) for request in result.requests])
    if steps is not None:
        write_steps(steps, result.steps, step_time)
    emit(_summary(case, step_time, result))
    return 0


def replay(case: RecordedCase, step_time: StepTimeModel, *, record_steps: bool = False) -> RunResult:
    """Serve the requests of a recorded run.

    Raises
    ------
    ConfigError
        If the requests contradict each other.
    UnsupportedError
        If the coefficients or peaks lead to a step without a finite duration.
    """
    try:
        return run_engine(case.requests, step_time, case.options, record_steps=record_steps)
    except (OverflowError, ZeroDivisionError) as error:
        raise UnsupportedError(f"{case.name}: a step's duration is not a finite number ({error})") from None


def row(result: RequestResult, output_processing_us: int) -> dict[str, Any]:
    """Return what one client saw; see the module for what an empty cell means."""
    times = RequestTimes((result,), MetricOptions(output_processing_us=output_processing_us))
    started, done = result.first_token_us is not None, result.completed_us is not None
    return {
        "id": result.id,
        "ttft_us": times.ttft_us[0] if started else None,
        "e2e_us": times.e2e_processing_per_token_us[0] if done else None,
        "sched_delay_us": times.queue_time_us[0] if result.scheduled_us is not None else None,
        "preemptions": result.preemptions,
    }


def case_step_time(case: RecordedCase, kernels: Kernels | None, configs: Path) -> StepTimeModel:
    """Return the step time of a recorded run.

    Raises
    ------
    ConfigError
        If the model is unknown, or a roofline run has no kernel tables.
    """
    if case.beta is not None:
        return LinearStepTime(case.beta)
    if kernels is None:
        raise ConfigError(
            f"{case.name}: its step time is a roofline over kernel tables; give their folder as --kernels"
        )
    peaks, name = case.peaks, case.model
    assert isinstance(peaks, Peaks)  # a roofline case has both
    assert isinstance(name, str)
    return build_step_time(
        upstream_options(peaks.bandwidth_efficiency, peaks.per_layer_overhead_us),
        upstream_model(name, configs, f"{case.name}: model"),
        Hardware.from_peaks(peaks.tflops, peaks.bandwidth_tbs, source=case.name),
        case.tensor_parallel,
        kernels,
    )


class LinearStepTime:
    """The linear step time of a recorded run, whose model need not be known here.

    `simulator.steptime.linear` has the same formula bound to a model and a GPU, for runs whose rates are
    checked against the GPU's peaks.
    """

    kv_breakpoints: tuple[int, ...] = ()

    def __init__(self, beta: tuple[float, float, float]) -> None:
        self._step_us, self._prefill_us, self._decode_us = beta

    def step_time_us(self, sums: BatchSums) -> int:
        """Return the step's duration in whole microseconds, cut off, at least 1."""
        return self._whole_us(sum(new for _, new in sums.prefill), sums.decode_count)

    def explain(self, batch: Batch) -> StepCost:
        """Return the duration; a linear step time has no parts to speak of."""
        total_us = self._whole_us(sum(new for _, new in batch.prefill), len(batch.decode))
        return StepCost(family="linear", total_us=total_us, unrounded_us=float(total_us), branch="linear")

    def _whole_us(self, prefill_tokens: int, decodes: int) -> int:
        return max(1, int(self._step_us + self._prefill_us * prefill_tokens + self._decode_us * decodes))


def _kernels(case: RecordedCase, arguments: Namespace) -> Kernels | None:
    if case.beta is not None or arguments.kernels is None:
        return None
    return MeasuredKernels(find_tables(arguments.kernels, arguments.gpu), arguments.policy)


def _summary(case: RecordedCase, step_time: StepTimeModel, result: RunResult) -> dict[str, Any]:
    states = Counter(request.state for request in result.requests)
    return {
        "case": case.name,
        "requests": {"total": len(result.requests)} | {state.value: states[state] for state in RequestState},
        "steps": result.counters.steps,
        "preemptions": result.counters.preemptions,
        "end_us": result.counters.end_us,
        "step_time": type(step_time).__name__,
    }
