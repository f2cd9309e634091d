"""Why a run took as long as it did, for people.

Contract: `explain_run` reads the step log, not the clock of the run: what bounds the steps, every one of them
weighed by its time, and one typical step explained in at most five lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from simulator.engine.records import StepRecord
from simulator.steptime.base import ItemisesSteps, KnowsWork
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.cost import MICROSECONDS, LookupUse, Operation, PhaseCost, StepCost
from simulator.steptime.observers import BottleneckObserver, step_kind

US_PER_MS = 1000
IN_WORDS = {
    "gemm": "matrix multiplication",
    "attention": "attention",
    "vector": "work on the vector units",
    "memory": "memory traffic",
}


def explain_run(step_time: KnowsWork, steps: Sequence[StepRecord]) -> dict[str, Any]:
    """Return bottleneck shares and the typical step as plain data."""
    if not steps:
        return {"bottlenecks": None, "typical_step": None}
    observer = BottleneckObserver(step_time)
    for step in steps:
        batch = batch_of(step)
        observer.note(BatchSums.of(batch, step_time.kv_breakpoints), step.duration_us, step_time.explain(batch))
    typical = typical_step(steps)
    sums, cost = BatchSums.of(batch_of(typical), step_time.kv_breakpoints), step_time.explain(batch_of(typical))
    bound = observer.bound_by(sums, cost)
    return {
        "bottlenecks": observer.summary(),
        "typical_step": {
            "kind": kind_of(typical),
            "start_us": typical.start_us,
            "duration_us": typical.duration_us,
            "bottleneck": cost.bottleneck,
            "bound": bound,
            "operations": list(_operations(step_time, batch_of(typical), cost)),
            "why": list(_why(typical, steps, cost, _bound_in_words(step_time, sums, bound))),
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
    """Return the kind of a recorded step; see `step_kind`."""
    return step_kind(len(step.prefill), len(step.decode))


def batch_of(step: StepRecord) -> Batch:
    """Return what the step-time model was told about a step."""
    return Batch(
        prefill=tuple((past, new) for _, past, new in step.prefill),
        decode=tuple(past for _, past in step.decode),
        elsewhere=step.elsewhere,
    )


def cost_record(step_time: KnowsWork, step: StepRecord) -> dict[str, Any]:
    """Return one step with everything its duration is made of, as plain data (us and bytes of one GPU)."""
    batch = batch_of(step)
    cost = step_time.explain(batch)
    return {
        "kind": kind_of(step),
        "bound": cost.bound_by(*_seconds_at_the_peaks(step_time, BatchSums.of(batch, step_time.kv_breakpoints))),
        "bottleneck": cost.bottleneck,
        "branch": cost.branch,
        **{name: _phase_record(phase) for name, phase in cost.phases()},
        "communication_us": cost.communication_us,
        "overhead_us": cost.overhead_us,
        **({"terms_us": {term.name: term.us for term in cost.terms}} if cost.terms else {}),
    }


def _operations(step_time: KnowsWork, batch: Batch, cost: StepCost) -> Iterator[dict[str, Any]]:
    """Yield every operation of a step, with its time in one layer and in all (us of one GPU).

    Operations of a phase are its compute time; where the phase's memory traffic takes longer, that is what counts.
    """
    if isinstance(step_time, ItemisesSteps):
        by_phase = step_time.operations(batch)
    else:
        by_phase = {name: _components(phase) for name, phase in cost.phases()}
        beside = {"all-reduce": cost.communication_us, "overhead": cost.overhead_us}
        by_phase["step"] = [Operation(name, 1, us) for name, us in beside.items() if us]
    for phase, operations in by_phase.items():
        for each in operations:
            yield {
                "phase": phase,
                "operation": each.name,
                "times": each.times,
                "each_us": each.each_us,
                "total_us": each.total_us,
            }


def _components(phase: PhaseCost) -> list[Operation]:
    seconds = {"gemm": phase.gemm_s, "attention": phase.attention_s, "vector": phase.vector_s, "memory": phase.memory_s}
    return [Operation(IN_WORDS[name], 1, value * MICROSECONDS) for name, value in seconds.items() if value]


def _phase_record(phase: PhaseCost) -> dict[str, Any]:
    seconds = {"gemm": phase.gemm_s, "attention": phase.attention_s, "vector": phase.vector_s, "memory": phase.memory_s}
    return {
        **{f"{name}_us": value * MICROSECONDS for name, value in seconds.items()},
        "counted_us": phase.seconds * MICROSECONDS,
        "weight_bytes": phase.weight_bytes,
        "kv_bytes": phase.kv_bytes,
        "activation_bytes": phase.activation_bytes,
        "bottleneck": phase.bottleneck,
    }


def _why(typical: StepRecord, steps: Sequence[StepRecord], cost: StepCost, bound: str) -> Iterator[str]:
    """Answer why the typical step takes that long, in at most five lines."""
    alike = [step.duration_us for step in steps if kind_of(step) == kind_of(typical)]
    share = sum(alike) / sum(step.duration_us for step in steps)
    yield (
        f"A typical step takes {typical.duration_us / US_PER_MS:.3f} ms: the median of {len(alike)} {kind_of(typical)} "
        f"step(s), which are {share:.0%} of the run's time. {bound}"
    )
    yield from (_phase_line(name, phase) for name, phase in cost.phases())
    yield _sum_line(cost)
    if cost.lookups:
        yield _kernel_line(cost.lookups)


def _seconds_at_the_peaks(step_time: KnowsWork, sums: BatchSums) -> tuple[float, float]:
    """Return seconds of a step's FLOPs and of its bytes at the peaks of one GPU."""
    flops, moved = step_time.work(sums)
    return flops / step_time.peak_flops, moved / step_time.peak_bandwidth


def _bound_in_words(step_time: KnowsWork, sums: BatchSums, bound: str) -> str:
    flop_s, byte_s = _seconds_at_the_peaks(step_time, sums)
    peaks = f"at the GPU's peaks its bytes take {_ms(byte_s)} ms and its FLOPs {_ms(flop_s)} ms"
    resource = {"memory": "memory-bound", "compute": "compute-bound"}.get(bound, f"bound by {bound}")
    return f"It is {resource}: {peaks}."


def _phase_line(name: str, phase: PhaseCost) -> str:
    served = f"{phase.requests} request(s), {phase.new_tokens:,} new tokens, {phase.past_tokens:,} already cached"
    moved = (
        f"{phase.bytes / 1e9:.2f} GB per GPU (weights {phase.weight_bytes / 1e9:.2f}, KV {phase.kv_bytes / 1e9:.2f})"
    )
    vector = f" + vector units {_ms(phase.vector_s)}" if phase.vector_s else ""
    return (
        f"{name.capitalize()} of {served}: matrix multiplication {_ms(phase.gemm_s)} + attention "
        f"{_ms(phase.attention_s)}{vector} ms, or {_ms(phase.memory_s)} ms to move {moved}; "
        f"counted {_ms(phase.seconds)} ms, most of it {IN_WORDS.get(phase.bottleneck, phase.bottleneck)}."
    )


def _sum_line(cost: StepCost) -> str:
    if cost.terms:
        parts = [f"{term.us / US_PER_MS:.3f} ms {term.name} ({term.what})" for term in cost.terms if term.us]
        return f"In all: {' + '.join(parts)} = {cost.total_us / US_PER_MS:.3f} ms."
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
