"""Recorded runs of the upstream simulator, as engine input and expected output.

The records are third-party data beside the project; tests find them through the `shared_dir` fixture.
`load_case` reads one folder of them. `EXACT` lists what a correct engine must match to the microsecond,
`EXACT_WITH_OVERLAP` what it matches with `idle_until: step_start`, `DIFFERENT` what it cannot match
(docs/engine-differences.md says why).
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from simulator.engine.options import EngineOptions
from simulator.engine.records import Request, RequestResult, StepRecord
from simulator.steptime.batch import BatchSums

EXACT = (
    "01_chat_7b_tp1_idle_bl",
    "02_chat_7b_tp1_idle_tr",
    "03_chat_7b_tp1_r10_full",
    "05_code_7b_tp1_idle",
    "07_code_34b_tp2_saturated",
    "08_chat_70b_tp4_r20",
    "11_summ_qwen7b_tp1_r1",
    "15_small_limits_chat_7b_tp1",
    "16_alpha_chat_7b_tp1",
    "22_code_qwen14b_tp1_r2_bl",
    "23_budget_exhaustion_chat_7b_tp1",
    "24_priority_sjf_code_7b_tp1",
    "25_blocksize32_chat_34b_tp4",
    "golden_1",
    "golden_3",
)
EXACT_WITH_OVERLAP = ("06_code_7b_tp2_r8", "09_code_70b_tp4_r2", "14_longprefill512_code_7b_tp1", "golden_2")
DIFFERENT = (
    "12_kvpressure_chat_7b_tp1",
    "13_kvpressure_code_7b_tp1_900",
)
LINEAR = ("golden_1", "golden_2", "golden_3")

# Option names of the recorded program and ours; absent keys have our defaults, which are the same.
OPTION_KEYS = {
    "max_num_scheduled_tokens": "token_budget",
    "max_num_running_reqs": "max_running",
    "block_size_in_tokens": "block_tokens",
    "total_kv_blocks": "kv_blocks",
    "long_prefill_token_threshold": "long_prefill_threshold_tokens",
}
SCHEDULERS = {"fcfs": "fcfs", "sjf": "shortest_job", "priority-fcfs": "priority"}


@dataclass(frozen=True)
class ExpectedRequest:
    """What the client saw of one request."""

    ttft_us: int
    sched_delay_us: int
    e2e_us: int


@dataclass(frozen=True)
class OracleCase:
    """One recorded run.

    Attributes
    ----------
    config
        `case.json` as it is: model, hardware, tensor-parallel degree and limits.
    options
        The engine options that reproduce the run, the overlapping of idle steps left off.
    output_processing_us
        Time added to every reported token that does not delay the engine.
    expected
        Per request id; `e2e_us` without the last step being counted twice.
    """

    name: str
    config: dict[str, Any]
    requests: tuple[Request, ...]
    options: EngineOptions
    output_processing_us: int
    expected: dict[str, ExpectedRequest] = field(repr=False)
    folder: Path = field(repr=False)

    @cached_property
    def steps(self) -> tuple[StepRecord, ...]:
        """Every recorded step, as the engine would record it."""
        prompts = {request.id: request.prompt_tokens for request in self.requests}
        return tuple(_step(row, prompts) for row in _rows(self.folder / "steps.csv.gz"))

    @cached_property
    def preempting_steps(self) -> tuple[int, ...]:
        """Places in `steps` of those that evicted a request while they were formed."""
        rows = _rows(self.folder / "steps.csv.gz")
        return tuple(place for place, row in enumerate(rows) if int(row["n_preempted"]))

    def with_overlap(self) -> EngineOptions:
        """Return the options with idle steps overlapping, as the recorded program has it."""
        return self.options.model_copy(update={"idle_until": "step_start"})

    def observed(self, result: RequestResult) -> ExpectedRequest | None:
        """Return what the client sees of an engine result, in the recorded sense; None if not completed.

        Output processing is added to the first token and to every later one.
        """
        if result.completed_us is None or result.first_token_us is None or result.scheduled_us is None:
            return None
        tokens = max(result.output_tokens, 1)
        return ExpectedRequest(
            ttft_us=result.first_token_us - result.arrival_us + self.output_processing_us,
            sched_delay_us=result.scheduled_us - result.arrival_us,
            e2e_us=result.completed_us - result.arrival_us + tokens * self.output_processing_us,
        )


def load_case(folder: Path) -> OracleCase:
    """Read one recorded run."""
    config = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    alpha = _coefficients(config.get("alpha_coeffs"))
    return OracleCase(
        name=folder.name,
        config=config,
        requests=tuple(_request(row, alpha) for row in _rows(folder / "requests.csv.gz")),
        options=_options(config),
        output_processing_us=int(alpha[2]),
        expected={row["id"]: _expected(row) for row in _rows(folder / "per_request.csv.gz")},
        folder=folder,
    )


class RecordedStepTime:
    """Gives every step the duration that was recorded for a step of the same composition."""

    kv_breakpoints: tuple[int, ...] = ()

    def __init__(self, steps: Sequence[StepRecord]) -> None:
        self._durations: dict[object, int] = {}
        for step in steps:
            prefill = tuple((past, new) for _, past, new in step.prefill)
            decode = tuple(past for _, past in step.decode)
            known = self._durations.setdefault((prefill, decode), step.duration_us)
            assert known == step.duration_us, "the recorded step time depends on more than the batch"

    def step_time_us(self, sums: BatchSums) -> int:
        """Return the recorded duration; a composition that was never recorded is a `KeyError`."""
        return self._durations[tuple(sums.prefill), tuple(sums.decode_pasts())]


class LinearStepTime:
    """The recorded program's linear step time: trunc(b0 + b1 new prefill tokens + b2 decodes)."""

    kv_breakpoints: tuple[int, ...] = ()

    def __init__(self, case: OracleCase) -> None:
        self._beta = _coefficients(case.config["beta_coeffs"])

    def step_time_us(self, sums: BatchSums) -> int:
        """Return the step's duration in whole microseconds."""
        new_tokens = sum(new for _, new in sums.prefill)
        return int(self._beta[0] + self._beta[1] * new_tokens + self._beta[2] * sums.decode_count)


def _coefficients(value: str | list[float] | None) -> list[float]:
    if value is None:
        return [0.0, 0.0, 0.0]
    return [float(part) for part in (value.split(",") if isinstance(value, str) else value)]


def _options(config: dict[str, Any]) -> EngineOptions:
    given = {ours: config[theirs] for theirs, ours in OPTION_KEYS.items() if theirs in config}
    return EngineOptions(
        **given,
        scheduler=SCHEDULERS[config.get("scheduler", "fcfs")],
        horizon_us=config.get("horizon"),
        cached_prefix_context="ignored",
        full_prefix_hit="admit_empty",
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _request(row: dict[str, str], alpha: Sequence[float]) -> Request:
    prompt_tokens = int(row["input_tokens"])
    prefix_tokens = int(row["shared_prefix_tokens"])
    return Request(
        id=row["id"],
        arrival_us=int(row["arrival_us"]),
        prompt_tokens=prompt_tokens,
        output_tokens=int(row["output_tokens"]),
        prefix_group=row["prefix_group"] if prefix_tokens else None,
        prefix_tokens=prefix_tokens,
        queueing_delay_us=int(alpha[0] + alpha[1] * prompt_tokens),
    )


def _expected(row: dict[str, str]) -> ExpectedRequest:
    return ExpectedRequest(int(row["ttft_us"]), int(row["sched_delay_us"]), int(row["e2e_without_phantom_us"]))


def _step(row: dict[str, str], prompts: dict[str, int]) -> StepRecord:
    prefill, decode = [], []
    for entry in row["batch"].split():
        number, past, new = entry.split(":")
        name = f"request_{number}"
        if int(past) < prompts[name]:
            prefill.append((name, int(past), int(new)))
        else:
            decode.append((name, int(past)))
    return StepRecord(
        start_us=int(row["now_us"]),
        duration_us=int(row["advance_us"]),
        prefill=tuple(prefill),
        decode=tuple(decode),
        waiting=int(row["waitq_after_form"]),
        kv_blocks_used=int(row["kv_used_after_form"]),
    )
