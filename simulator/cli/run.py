"""`run`: one simulation, reported as one JSON document; `runs`: many, one JSON line each."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from simulator.cli.catalog import configs_folder, find_hardware, find_model
from simulator.cli.files import (
    answer_lines,
    checked_path,
    emit_document,
    say,
    write_csv,
    write_document,
    write_json_lines,
)
from simulator.cli.run_spec import RunSpec, read_spec, spec_of
from simulator.cli.server import (
    Server,
    ServerOptions,
    batch_warnings,
    length_warnings,
    memory_warnings,
    require_served,
    server_of,
    serving_warnings,
    start_warnings,
)
from simulator.cli.step_time import ChosenStepTime, choose_step_time
from simulator.cli.trust import Predicted, load_in, trust_lines, trust_report
from simulator.cli.why import cost_record, explain_run
from simulator.engine.loop import run as run_engine
from simulator.engine.options import EngineOptions
from simulator.engine.records import RequestResult, RequestState, RunResult, StepRecord
from simulator.errors import AllAtOnce, ConfigError, UnsupportedError
from simulator.hardware import Hardware
from simulator.loading import as_loaded
from simulator.metrics import DEFINITIONS, measure_all, measure_gaps
from simulator.model import Model
from simulator.parallelism import block_warnings, require_linked, require_runnable
from simulator.request_times import MetricOptions, RequestTimes, completed
from simulator.saturation import grows_queue, lacks_room
from simulator.steptime.base import StepTimeModel
from simulator.steptime.build import BuiltStepTime
from simulator.steptime.observers import ExtremesObserver
from simulator.steptime.roofline_check import RooflineObserver
from simulator.trust.distance import Cell, kind_of, precision_of
from simulator.workload.build import Workload, build_workload
from simulator.workload.lock_step import keeps_in_step, spread

US_PER_MS = 1000.0
# Means that a closed loop in step moves.
RANGED = ("ttft_mean", "tpot_request", "e2e_mean")
# Longer than any context window; the engine keeps one counter per position in a block.
MAX_BLOCK_TOKENS = 1_000_000

REQUEST_COLUMNS = (
    "id",
    "state",
    "arrival_us",
    "prompt_tokens",
    "output_tokens",
    "scheduled_us",
    "first_token_us",
    "completed_us",
    "ttft_us",
    "e2e_us",
    "tpot_us",
    "preemptions",
    "cached_tokens",
)


@dataclass(frozen=True)
class Setup:
    """Everything one simulation consists of."""

    spec: RunSpec
    model: Model
    hardware: Hardware
    server: Server
    chosen: ChosenStepTime
    workload: Workload

    @property
    def step_time(self) -> BuiltStepTime:
        """The step-time model."""
        return self.chosen.model

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know before anything was simulated."""
        lengths = length_warnings(self.workload.requests, self.spec.engine, self.model)
        blocks = block_warnings(self.model, self.spec.parallelism)
        start = start_warnings(self.server, self.model)
        return (*self.chosen.model.warnings, *self.chosen.notes, *blocks, *start, *lengths)


class Observers:
    """What watches a run: how near it comes to the peaks, and how large its steps get.

    Attributes
    ----------
    roofline, extremes
        The two observers; `extremes` watches `roofline` and is what the engine asks.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.roofline = RooflineObserver(setup.step_time, setup.model, setup.hardware, setup.spec.parallelism)
        self.extremes = ExtremesObserver(self.roofline)

    def impossible(self) -> Iterator[str]:
        """Say it loudly when a step was faster than the GPU's peaks allow."""
        if self.roofline.fastest < 1:
            tokens, decodes, past = self.roofline.fastest_batch
            yield (
                f"IMPOSSIBLE: a step of {tokens} prefill tokens and {decodes} decodes with {past:,} tokens in the KV "
                f"cache takes {self.roofline.fastest:.0%} of what the peaks of {self._setup.hardware.id} allow; the "
                f"step-time model {self._setup.chosen.name} does not describe this GPU: trust none of these figures"
            )

    def ratios(self) -> dict[str, float | None]:
        """Return the run's time over what the peaks allow, the same of its fastest step, and shares of the peaks."""
        seen = self.roofline
        return {
            "time_over_bound": seen.total_us / seen.bound_us if seen.bound_us else None,
            "fastest_step_over_bound": seen.fastest if seen.bound_us else None,
            "most_of_peak_flops": seen.compute_share,
            "most_of_peak_bandwidth": seen.bandwidth_share,
        }


def run_command(arguments: Namespace) -> int:
    """Simulate, write the files asked for, print the report."""
    outputs = _output_paths(arguments)
    spec, base = read_spec(arguments)
    setup = build_setup(spec, base, configs_folder(arguments.configs))
    say(f"step time: {setup.chosen.name}: {setup.chosen.basis}")
    if setup.chosen.tables:
        say(setup.chosen.tables)
    observer = Observers(setup)
    logged = arguments.explain or bool({"steps", "trace"} & outputs.keys())
    result = simulate(setup, observer.extremes, record_steps=logged)
    report = _report(setup, observer, result)
    for line in (*trust_lines(report["trust"]), *(f"warning: {text}" for text in report["warnings"])):
        say(line)
    if arguments.explain:
        report["explanation"] = explain_run(setup.step_time, result.steps)
        for line in report["explanation"]["typical_step"]["why"] if result.steps else ():
            say(line)
    _write_files(outputs, setup, result)
    emit_document(report)
    return 0


def runs_command(arguments: Namespace) -> int:
    """Simulate every run that standard input describes, one JSON object per line; stop at the first that cannot be."""
    configs = configs_folder(arguments.configs)

    def answer(record: Mapping[str, Any], source: str) -> dict[str, Any]:
        setup = build_setup(spec_of(record, source), Path(), configs)
        observer = Observers(setup)
        return _report(setup, observer, simulate(setup, observer.extremes, record_steps=False))

    return answer_lines(answer)


def build_setup(spec: RunSpec, base: Path, configs: Path) -> Setup:
    """Put together what a simulation needs; `base` is the folder that a relative trace file starts from.

    Raises
    ------
    RooflineLabError
        If anything in it is wrong, unknown, contradictory or not modelled.
    """
    told = AllAtOnce()
    with told:
        described = find_model(spec.model, configs)
    with told:
        hardware = find_hardware(spec.hardware, configs)
    with told:
        workload = build_workload(spec.workload, spec.seed, base=base)
    told.refuse()
    stated = described if spec.kv_cache_dtype == "auto" else described.with_kv_cache(spec.kv_cache_dtype)
    model, notes = as_loaded(stated, hardware)
    with told:
        spec = with_instances(spec, model)
    with told:
        require_runnable(model, spec.parallelism)
    with told:
        require_linked(hardware, spec.parallelism)
    with told:
        require_sane_blocks(spec.engine)
    with told:
        server = server_of(spec.engine, model, hardware, spec.parallelism)
    with told:
        chosen = choose_step_time(spec, model, hardware, configs)
    with told:
        require_served(workload.requests, spec.engine)
    told.refuse()
    return Setup(spec, model, hardware, server, replace(chosen, notes=(*notes, *chosen.notes)), workload)


def with_instances(spec: RunSpec, model: Model) -> RunSpec:
    """Return a simulation whose data-parallel instances are servers behind a router.

    Raises
    ------
    UnsupportedError
        If the model has experts, which instances may share.
    """
    if spec.data_parallel == 1:
        return spec
    if model.num_local_experts:
        raise UnsupportedError(
            f"data_parallel {spec.data_parallel}: {model.id} has experts, and where instances share them that is "
            "engine.attention_data_parallel groups of one server; instances that share nothing are engine.replicas "
            "(--replicas); name one of the two"
        )
    engine = spec.engine.model_dump(exclude_unset=True) | {"replicas": spec.data_parallel}
    return spec.model_copy(update={"engine": ServerOptions.model_validate(engine)})


def require_sane_blocks(engine: EngineOptions) -> None:
    """Refuse KV blocks longer than any context."""
    if engine.block_tokens > MAX_BLOCK_TOKENS:
        raise ConfigError(f"engine.block_tokens: must be at most {MAX_BLOCK_TOKENS}, got {engine.block_tokens}")


def simulate(setup: Setup, step_time: StepTimeModel, *, record_steps: bool = False) -> RunResult:
    """Serve the requests of a simulation.

    Raises
    ------
    UnsupportedError
        If a step takes no finite time.
    """
    workload = setup.workload
    try:
        return run_engine(
            workload.requests,
            step_time,
            setup.server.engine,
            concurrency=workload.concurrency,
            ramp_us=workload.ramp_us,
            record_steps=record_steps,
            count_gaps=True,
        )
    except (OverflowError, ZeroDivisionError) as error:
        raise UnsupportedError(
            f"a step's duration is not a finite number ({error}); a rate, efficiency or length is out of all proportion"
        ) from None


def _report(setup: Setup, observer: Observers, result: RunResult) -> dict[str, Any]:
    spec = setup.spec
    states = Counter(request.state for request in result.requests[setup.workload.warm_up :])
    measured = result.requests[setup.workload.warm_up :]
    values = measure_all(measured, spec.metrics)
    # Gaps are counted as they occur, those of a warm-up among them.
    gaps = {} if setup.workload.warm_up else measure_gaps(result.token_gaps)
    in_step = lock_step_report(setup, result)
    predicted = predicted_of(setup, result, measured, values)
    return {
        "model": setup.model.id,
        "hardware": setup.hardware.id,
        "tensor_parallel": spec.tensor_parallel,
        "expert_parallel": spec.expert_parallel,
        "attention_data_parallel": spec.engine.attention_data_parallel,
        **replicas_report(setup, result),
        "step_time": setup.chosen.family,
        "step_time_name": setup.chosen.name,
        "step_time_basis": setup.chosen.basis,
        "kernels": setup.chosen.kernels,
        "seed": spec.seed,
        "trust": trust_report(setup.chosen.tested, predicted),
        "memory": setup.server.report(),
        "requests": {"total": len(measured)} | {state.value: states[state] for state in RequestState},
        "metrics": {
            **{name: {"value": value, "unit": DEFINITIONS[name].unit} for name, value in values.items()},
            **{name: {"value": value, "unit": "ms"} for name, value in gaps.items()},
        },
        **({"lock_step": in_step} if in_step else {}),
        "counters": asdict(result.counters),
        "roofline": observer.ratios(),
        "warnings": [
            *observer.impossible(),
            *setup.warnings,
            *setup.workload.notes,
            *observer.extremes.warnings(_longest_context(result.requests)),
            *memory_warnings(setup.server, setup.hardware, result.counters),
            *batch_warnings(setup.server, setup.hardware, observer.extremes.most_decodes),
            *serving_warnings(setup.server, measured),
            *([_lock_step_warning(in_step)] if in_step else []),
        ],
    }


def replicas_report(setup: Setup, result: RunResult) -> dict[str, Any]:
    """Return how several servers shared the requests; nothing of a single one."""
    if not result.replicas:
        return {}
    engine = setup.server.engine
    shares = [{"requests": len(share.requests), **asdict(share.counters)} for share in result.replicas]
    return {"replicas": engine.replicas, "router": engine.router, "shares": shares}


def predicted_of(
    setup: Setup, result: RunResult, measured: Sequence[RequestResult], values: Mapping[str, float | None]
) -> Predicted:
    """Return what a run gave, as it is asked how far to trust it; `measured` leaves the warm-up out."""
    spec, model, options = setup.spec, setup.model, setup.spec.metrics
    done = completed(measured[options.skip_first :])
    blocks, closed = setup.server.engine.kv_blocks, setup.workload.concurrency is not None
    full = closed and lacks_room(done, result.counters, blocks)
    return Predicted(
        cell=Cell(model.id, kind_of(model), setup.hardware.id, precision_of(model)),
        load=load_in(done, spec.tensor_parallel, setup.server.engine.replicas, values),
        values=values,
        has_client=bool(options.client_offset_us or options.client_us_per_prompt_token),
        # Turns of sessions stand together in the list, whenever they were sent.
        saturated=full or grows_queue(RequestTimes(sorted(done, key=_sent), options).ttft_us),
    )


def lock_step_report(setup: Setup, result: RunResult) -> dict[str, dict[str, float | None]] | None:
    """Return the range of means where a closed loop keeps all its requests in step for ever, else None.

    Its ends: all clients start at once, as simulated, or spread evenly over the time of one request.
    """
    workload = setup.workload
    if not keeps_in_step(workload):
        return None
    options = setup.spec.metrics
    at_once = measure_all(result.requests[workload.warm_up :], options)
    if at_once["e2e_mean"] is None:
        return None
    apart = spread(workload, at_once["e2e_mean"] * US_PER_MS)
    again = simulate(replace(setup, workload=apart), setup.step_time, record_steps=False)
    spread_out = measure_all(again.requests[workload.warm_up :], options)
    ends = {"all_at_once": at_once, "spread": spread_out}
    return {name: {f"{metric}_ms": values[metric] for metric in RANGED} for name, values in ends.items()}


def _lock_step_warning(in_step: Mapping[str, Mapping[str, float | None]]) -> str:
    at_once, apart = (in_step[name]["ttft_mean_ms"] for name in ("all_at_once", "spread"))
    return (
        "answers of one length keep all requests of this closed loop in step for ever: the mean TTFT is "
        f"{at_once:.4g} ms, all clients starting at once as they do here, and {apart:.4g} ms where they are spread; "
        "give lengths with their scatter, such as --output-tokens 819-1024, or start clients over time with --ramp-s"
    )


def _sent(result: RequestResult) -> int:
    return result.arrival_us


def _longest_context(results: Sequence[RequestResult]) -> int:
    """Return the most KV tokens that the last step of a request attended to; 0 where none decoded."""
    decoded = [result for result in results if result.completed_us and result.output_tokens > 1]
    return max((result.prompt_tokens + result.output_tokens - 2 for result in decoded), default=0)


def _output_paths(arguments: Namespace) -> dict[str, Path]:
    """Return the files to write, refused before the run where their kind is not known."""
    found = {}
    for name in ("requests", "steps", "trace"):
        text = getattr(arguments, name)
        if text is not None:
            found[name] = checked_path(text, f"--{name}")
    if "requests" in found and found["requests"].suffix not in (".csv", ".jsonl"):
        raise ConfigError(f"--requests: the file name must end in .csv or .jsonl, got '{found['requests']}'")
    if "trace" in found and found["trace"].suffix != ".json":
        raise ConfigError(
            f"--trace: writes the run's timeline, so the file name must end in .json, got '{found['trace']}'; "
            "recorded requests to be served are named with --request-trace"
        )
    _require_places(found)
    return found


def _require_places(outputs: Mapping[str, Path]) -> None:
    """Refuse files that cannot be written, or would overwrite one another, before a run is spent on them."""
    taken: dict[Path, str] = {}
    for name, path in outputs.items():
        if path.is_dir() or not path.absolute().parent.is_dir():
            what = "is a folder" if path.is_dir() else f"there is no folder '{path.parent}'"
            raise ConfigError(f"--{name}: {path}: {what}; give the name of a file in a folder that is there")
        first = taken.setdefault(path.absolute(), name)
        if first != name:
            raise ConfigError(f"--{first}, --{name}: both name {path}; give each a file of its own")


def _write_files(outputs: Mapping[str, Path], setup: Setup, result: RunResult) -> None:
    if "requests" in outputs:
        path = outputs["requests"]
        rows = [request_row(request, setup.spec.metrics) for request in result.requests]
        write_csv(path, REQUEST_COLUMNS, rows) if path.suffix == ".csv" else write_json_lines(path, rows)
    if "steps" in outputs:
        write_steps(outputs["steps"], result.steps, setup.step_time)
    if "trace" in outputs:
        from simulator.cli.timeline import timeline

        write_document(outputs["trace"], timeline(result, partial(cost_record, setup.step_time)))


def request_row(result: RequestResult, options: MetricOptions) -> dict[str, Any]:
    """Return one request as plain data; what was not reached is None."""
    times = RequestTimes((result,), options)
    done = result.completed_us is not None
    started = result.first_token_us is not None
    return {
        **{column: getattr(result, column, None) for column in REQUEST_COLUMNS},
        "state": result.state.value,
        "ttft_us": times.ttft_us[0] if started else None,
        "e2e_us": times.e2e_us[0] if done else None,
        "tpot_us": times.tpot_us[0] if done else None,
    }


def write_steps(path: Path, steps: Sequence[StepRecord], step_time: BuiltStepTime) -> None:
    """Write the step log, one JSON object per step and what it cost, in the order the steps started."""
    write_json_lines(path, ({**asdict(step), "cost": cost_record(step_time, step)} for step in steps))
