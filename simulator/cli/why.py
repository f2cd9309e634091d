"""Why a run took as long as it did, for people.

Contract: `explain_run` reads the step log, not the clock of the run: which resource bounds the steps,
weighed by their time, and one typical step explained in at most five lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from simulator.engine.records import StepRecord
from simulator.steptime.base import StepTimeModel
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.cost import MICROSECONDS, LookupUse, PhaseCost, StepCost
from simulator.steptime.observers import BottleneckObserver

# Explaining a step costs up to a few milliseconds.
MAX_EXPLAINED_STEPS = 400

US_PER_MS = 1000
IN_WORDS = {
    "gemm": "matrix multiplication",
    "attention": "attention",
    "vector": "work on the vector units",
    "memory": "memory traffic",
}


def explain_run(step_time: StepTimeModel, steps: Sequence[StepRecord]) -> dict[str, Any]:
    """Return bottleneck shares and the typical step as plain data."""
    if not steps:
        return {"bottlenecks": None, "typical_step": None}
    observer = BottleneckObserver(step_time)
    # Evenly spaced steps stand for the rest of a long run.
    sampled = min(len(steps), MAX_EXPLAINED_STEPS)
    for step in (steps[place * len(steps) // sampled] for place in range(sampled)):
        observer.step_time_us(BatchSums.of(batch_of(step), step_time.kv_breakpoints))
    typical = typical_step(steps)
    cost = step_time.explain(batch_of(typical))
    return {
        "bottlenecks": {"steps_of_run": len(steps), **observer.summary()},
        "typical_step": {
            "kind": kind_of(typical),
            "start_us": typical.start_us,
            "duration_us": typical.duration_us,
            "bottleneck": cost.bottleneck,
            "why": list(_why(typical, steps, cost)),
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


def _why(typical: StepRecord, steps: Sequence[StepRecord], cost: StepCost) -> Iterator[str]:
    """Answer why the typical step takes that long, in at most five lines."""
    alike = [step.duration_us for step in steps if kind_of(step) == kind_of(typical)]
    share = sum(alike) / sum(step.duration_us for step in steps)
    yield (
        f"A typical step takes {typical.duration_us / US_PER_MS:.3f} ms: the median of {len(alike)} {kind_of(typical)} "
        f"step(s), which are {share:.0%} of the run's time."
    )
    yield from (_phase_line(name, phase) for name, phase in cost.phases())
    yield _sum_line(cost)
    if cost.lookups:
        yield _kernel_line(cost.lookups)


def _phase_line(name: str, phase: PhaseCost) -> str:
    served = f"{phase.requests} request(s), {phase.new_tokens:,} new tokens, {phase.past_tokens:,} already cached"
    moved = (
        f"{phase.bytes / 1e9:.2f} GB per GPU (weights {phase.weight_bytes / 1e9:.2f}, KV {phase.kv_bytes / 1e9:.2f})"
    )
    vector = f" + vector units {_ms(phase.vector_s)}" if phase.vector_s else ""
    return (
        f"{name.capitalize()} of {served}: matrix multiplication {_ms(phase.gemm_s)} + attention "
        f"{_ms(phase.attention_s)}{vector} ms, or {_ms(phase.memory_s)} ms to move {moved}; "
        f"counted {_ms(phase.seconds)} ms, bound by {IN_WORDS.get(phase.bottleneck, phase.bottleneck)}."
    )


def _sum_line(cost: StepCost) -> str:
    if not cost.phases():
        return f"A {cost.family} step time has no parts: {cost.notes[0] if cost.notes else 'nothing was scheduled'}."
    both = " by the rule '" + cost.branch.replace("_", " ") + "'" if cost.prefill and cost.decode else ""
    parts = [f"{_ms(cost.combined_s)} ms of work{both}"]
    parts += [f"{cost.communication_us / US_PER_MS:.3f} ms all-reduce"] if cost.communication_us else []
    parts += [f"{cost.overhead_us / US_PER_MS:.3f} ms overhead"] if cost.overhead_us else []
    return f"In all: {' + '.join(parts)} = {cost.total_us / US_PER_MS:.3f} ms, dominated by {cost.bottleneck}."


def _kernel_line(lookups: Sequence[LookupUse]) -> str:
    outside = [use for use in lookups if use.extrapolated]
    example = f", for instance {outside[0].kernel} at {outside[0].asked}" if outside else ""
    borrowed = sum(use.fallback for use in lookups)
    return (
        f"This rests on {len(lookups)} kernel answer(s), {len(outside)} outside what was measured or fitted{example}; "
        f"{borrowed} borrowed from another row."
    )


def _ms(seconds: float) -> str:
    return f"{seconds * MICROSECONDS / US_PER_MS:.3f}"
