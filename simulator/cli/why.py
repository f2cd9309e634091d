"""Why a run took as long as it did, for people.

Contract: `explain_run` reads the step log, not the clock of the run: which resource bounds the steps,
weighed by their time, and one typical step explained in at most five lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simulator.engine.records import StepRecord
from simulator.steptime.base import StepTimeModel
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.shares import BottleneckMeter

# Explaining a step costs up to a millisecond; of longer runs, evenly spaced steps stand for the rest.
MAX_EXPLAINED_STEPS = 1000


def explain_run(step_time: StepTimeModel, steps: Sequence[StepRecord]) -> dict[str, Any]:
    """Return bottleneck shares and the typical step as plain data."""
    if not steps:
        return {"bottlenecks": None, "typical_step": None}
    meter = BottleneckMeter(step_time)
    for step in _sample(steps):
        meter.price(BatchSums.of(batch_of(step), step_time.kv_breakpoints))
    typical = typical_step(steps)
    cost = step_time.explain(batch_of(typical))
    return {
        "bottlenecks": {"steps_of_run": len(steps), **meter.summary()},
        "typical_step": {
            "kind": kind_of(typical),
            "start_us": typical.start_us,
            "duration_us": typical.duration_us,
            "bottleneck": cost.bottleneck,
            "why": cost.text().splitlines(),
        },
    }


def typical_step(steps: Sequence[StepRecord]) -> StepRecord:
    """Return the step of median duration among those of the kind that takes most of the run's time."""
    by_kind: dict[str, list[StepRecord]] = {}
    for step in steps:
        by_kind.setdefault(kind_of(step), []).append(step)
    busiest = max(sorted(by_kind), key=lambda kind: sum(step.duration_us for step in by_kind[kind]))
    ordered = sorted(by_kind[busiest], key=lambda step: (step.duration_us, step.start_us))
    return ordered[(len(ordered) - 1) // 2]


def kind_of(step: StepRecord) -> str:
    """Return `prefill`, `decode`, `mixed`, or `empty` where nothing was scheduled."""
    if step.prefill:
        return "mixed" if step.decode else "prefill"
    return "decode" if step.decode else "empty"


def batch_of(step: StepRecord) -> Batch:
    """Return what the step-time model was told about a step."""
    return Batch(
        prefill=tuple((past, new) for _, past, new in step.prefill), decode=tuple(past for _, past in step.decode)
    )


def _sample(steps: Sequence[StepRecord]) -> Sequence[StepRecord]:
    if len(steps) <= MAX_EXPLAINED_STEPS:
        return steps
    return [steps[place * len(steps) // MAX_EXPLAINED_STEPS] for place in range(MAX_EXPLAINED_STEPS)]
