"""`replay`: serve a recorded run's requests again and write what each client saw.

Contract: one row per request, in order of arrival. `ttft_us` and `e2e_us` have the recorded sense: output
processing is added to the first token and to every later one, and the last step counts once. A time that
was not reached (request dropped, or not finished before the horizon) is an empty cell, never 0. An output
length of 0 is served as 1, as the recorded program did.
"""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any

from simulator.cli.case import Peaks, RecordedCase, read_case
from simulator.cli.catalogue import configs_folder, find_tables
from simulator.cli.files import checked_path, emit, say, write_csv
from simulator.cli.run import write_steps
from simulator.cli.upstream import upstream_model
from simulator.engine.loop import run as run_engine
from simulator.engine.records import RequestResult, RequestState, RunResult
from simulator.errors import ConfigError, UnsupportedError
from simulator.hardware import Hardware
from simulator.kernels.base import Kernels
from simulator.kernels.measured import MeasuredKernels
from simulator.request_times import MetricOptions, RequestTimes
from simulator.steptime.base import StepTimeModel
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.build import build_step_time
from simulator.steptime.cost import StepCost
from simulator.steptime.options import upstream_options

COLUMNS = ("id", "ttft_us", "e2e_us", "sched_delay_us", "preemptions")


def command(arguments: Namespace) -> int:
    """Replay, write the rows, print a summary."""
    out = checked_path(arguments.out, "--out")
    steps = None if arguments.steps is None else checked_path(arguments.steps, "--steps")
    case = read_case(checked_path(arguments.case, "CASE_DIR"))
    step_time = case_step_time(case, _kernels(case, arguments), configs_folder(arguments.configs))
    for key in case.unknown_keys:
        say(f"warning: {case.name}: key '{key}' of case.json is not known; the replay does without it")
    for warning in getattr(step_time, "warnings", ()):
        say(f"warning: {case.name}: {warning}")
    result = replay(case, step_time, record_steps=steps is not None)
    write_csv(out, COLUMNS, [row(request, case.output_processing_us) for request in result.requests])
    if steps is not None:
        write_steps(steps, result.steps)
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
