"""Time a step spends beside its kernels, in microseconds: CPU overhead and all-reduces.

Overhead is a function of the step's two request counts (prefill, decode).
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, log2, sqrt

from simulator.steptime.options import (
    CurvedOverhead,
    FixedOverhead,
    NoOverhead,
    OverheadOptions,
    PerLayerOverhead,
    PerLayerOverTpOverhead,
    PerPhaseOverhead,
    Scale,
)

Overhead = Callable[[int, int], float]

# Growth of the per-step overhead with batch size: 1 + 0.15 * log2(n/2) * (0.3 + 2 * decodes/n) for
# n > 2 requests. Dimensionless; upstream's calibrated roofline, tuned by hand there.
LOG_GAIN = 0.15
LOG_BASE_SHARE = 0.3
LOG_DECODE_SHARE = 2.0
LOG_UNSCALED_REQUESTS = 2


# All-reduces per layer under tensor parallelism: after attention and after the feed-forward layer.
ALL_REDUCES_PER_LAYER = 2


def all_reduce_us(latency_us: float, layers: int, tp: int) -> float:
    """Return the communication of one step: two all-reduces per layer, none on a single GPU."""
    return ALL_REDUCES_PER_LAYER * layers * latency_us if tp > 1 else 0.0


def log_batch_scale(prefill_requests: int, decode_requests: int) -> float:
    """Return the factor on the per-step overhead; exactly 1 for at most two requests."""
    requests = prefill_requests + decode_requests
    if requests <= LOG_UNSCALED_REQUESTS:
        return 1.0
    share = LOG_BASE_SHARE + LOG_DECODE_SHARE * decode_requests / requests
    return 1.0 + LOG_GAIN * log2(requests / LOG_UNSCALED_REQUESTS) * share


def per_phase(step_us: float, prefill_us: float, mixed_us: float, *, scaled: bool) -> Overhead:
    """Return the calibrated roofline's rule: per step, plus per prefill request of its kind of step."""

    def overhead(prefill_requests: int, decode_requests: int) -> float:
        scale = log_batch_scale(prefill_requests, decode_requests) if scaled else 1.0
        each = mixed_us if decode_requests else prefill_us
        return step_us * scale + each * prefill_requests

    return overhead


def build_overhead(options: OverheadOptions, layers: int, tp: int) -> Overhead:
    """Bind an overhead rule to a model's depth and the TP degree."""
    if isinstance(options, PerPhaseOverhead):
        factor = _scale(options.times, layers, tp)
        return per_phase(
            options.step_us * factor,
            options.prefill_us * factor,
            options.mixed_prefill_us * factor,
            scaled=options.log_batch_scale,
        )
    constant = _constant_us(options, layers, tp)
    return lambda prefill_requests, decode_requests: constant


def _constant_us(options: OverheadOptions, layers: int, tp: int) -> float:
    match options:
        case FixedOverhead(us=us):
            return us
        case PerLayerOverhead(us=us):
            return us * layers
        case PerLayerOverTpOverhead(us=us):
            return us * layers / tp
        case CurvedOverhead(base_us=base, gain_us=gain, of=of):
            return base + gain * (sqrt(layers) if of == "sqrt_layers" else log(layers))
        case NoOverhead():
            return 0.0
    raise AssertionError(f"overhead rule without a formula: {options!r}")


def _scale(times: Scale, layers: int, tp: int) -> float:
    return {"one": 1.0, "layers": float(layers), "layers_over_tp": layers / tp}[times]
