"""Options that were given and that the chosen step-time model would ignore.

Contract: `idle_options` names every one with the reason and what to do. What a model has no option for at all is
refused when options are validated; what merely has nothing to act on in one run (an all-reduce on one GPU) is no fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from simulator.steptime.options import (
    ATTENTION_VARIANTS,
    AnyOptions,
    ConstantMfuOptions,
    MfuRooflineOptions,
)

# What prices arithmetic alone, and nothing where `compute_term` is off.
ARITHMETIC = ("mfu", "fused_qkv", "experts", "tensor_parallel", "tensor_parallel_gemm", "prefill_gemm")


def idle_options(options: AnyOptions, given: Mapping[str, Any], hardware_id: str) -> list[str]:
    """Return one sentence per option in `given` that changes nothing."""
    if not isinstance(options, MfuRooflineOptions):
        return []
    reasons = dict(_idle(options, hardware_id))
    return [f"{name}: no effect {reasons[name]}; drop it" for name in sorted(given.keys() & reasons.keys())]


def _idle(options: MfuRooflineOptions, hardware_id: str) -> Iterator[tuple[str, str]]:
    """Yield (option, why it would have no effect)."""
    yield from _idle_in_compute(options)
    if options.prefill_bandwidth_efficiency and options.decode_bandwidth_efficiency:
        yield "bandwidth_efficiency", "beside prefill_bandwidth_efficiency and decode_bandwidth_efficiency"
    if hardware_id in options.causal_divisor_by_gpu:
        yield "causal_divisor", f"on {hardware_id}, which causal_divisor_by_gpu names"
    elif options.causal_divisor_by_gpu:
        yield "causal_divisor_by_gpu", f"on {hardware_id}, which it does not name"
    if options.per_component_roofline:
        yield "gemm_memory_floor", "with per_component_roofline, which has that floor"


def _idle_in_compute(options: MfuRooflineOptions) -> Iterator[tuple[str, str]]:
    if not options.compute_term:
        for name in (*ARITHMETIC, *ATTENTION_VARIANTS):
            yield name, "with compute_term false, which prices memory traffic alone"
    elif isinstance(options.mfu, ConstantMfuOptions):
        yield "prefill_mfu_at", "with one constant efficiency per phase"
        if options.decode_attention != "max_kv":
            yield "decode_attention", "with one constant efficiency, unless it is max_kv"
    if options.decode_attention != "kv_buckets":
        yield "kv_bucket_edges", f"with decode_attention {options.decode_attention}; they are of kv_buckets"
    if options.phase_combination == "additive":
        yield "prefill_gemm", "with phase_combination additive, which has one GEMM over all tokens of a step"
