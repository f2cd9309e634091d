"""Time a step spends beside its kernels, in microseconds: CPU overhead and all-reduces.

Overhead is a function of the step's two request counts (prefill, decode), where it needs them also of its new tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, log1p, log2, sqrt

from simulator.errors import ConfigError
from simulator.hardware import Hardware
from simulator.model import Model
from simulator.parallelism import Parallelism
from simulator.steptime.cost import MICROSECONDS
from simulator.steptime.options import (
    ByPhaseOverhead,
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
OverheadOfTokens = Callable[[int, int, int], float]

# Growth of the per-step overhead with batch size: 1 + 0.15 * log2(n/2) * (0.3 + 2 * decodes/n) for
# n > 2 requests. Dimensionless; upstream's calibrated roofline, tuned by hand there.
LOG_GAIN = 0.15
LOG_BASE_SHARE = 0.3
LOG_DECODE_SHARE = 2.0
LOG_UNSCALED_REQUESTS = 2

# Growth with the new tokens of a step (dimensionless).
TOKEN_CURVES: dict[str, Callable[[float], float]] = {"sqrt_tokens": sqrt, "log_tokens": log1p}

# All-reduces per layer under tensor parallelism: after attention and after the feed-forward layer.
ALL_REDUCES_PER_LAYER = 2
# One more where queries and keys are normed across heads, of two numbers per token, whose bytes are left out (vLLM's
# `MiniMaxText01RMSNormTP.forward_qk`).
QK_NORM_ALL_REDUCES = 1
# Between groups with requests of their own, in a layer with experts: the tokens of all are gathered ahead of the
# experts, and what comes out is reduced and scattered (vLLM's `allgather_reducescatter`). The two move what one
# all-reduce moves.
EXCHANGES_PER_LAYER = 2


def all_reduce_us(latency_us: float, layers: int, tp: int) -> float:
    """Return the communication of one step: two all-reduces per layer, none on a single GPU."""
    return ALL_REDUCES_PER_LAYER * layers * latency_us if tp > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Collectives:
    """Microseconds of a step's collectives: at no bytes, per new token, and per new token of all groups."""

    fixed_us: float
    per_token_us: float = 0.0
    per_routed_token_us: float = 0.0

    def of(self, tokens: int, elsewhere: int = 0) -> float:
        """Return microseconds of a step that computes `tokens` new tokens, and in other groups `elsewhere`."""
        own_us = self.fixed_us + self.per_token_us * tokens
        return own_us + self.per_routed_token_us * (tokens + elsewhere) if self.per_routed_token_us else own_us


def collectives_of(model: Model, parallel: Parallelism) -> int:
    """Count the collectives of a step: all-reduces within a group, exchanges between groups."""
    per_layer = ALL_REDUCES_PER_LAYER + (QK_NORM_ALL_REDUCES if model.qk_norm_across_heads else 0)
    reduces = per_layer * model.num_hidden_layers if parallel.tensor_parallel > 1 else 0
    return reduces + (EXCHANGES_PER_LAYER * model.routed_layers if parallel.attention_data_parallel > 1 else 0)


def collectives_us(
    latency_us: float, link_efficiency: float | None, model: Model, hardware: Hardware, parallel: Parallelism
) -> Collectives:
    """Return the time of a step's collectives.

    A ring over n GPUs moves 2 * (n - 1) / n of the message through every GPU's link; so do the exchanges of n groups
    together, whose message is the tokens of all groups. Activations are sent unconverted, and a router's scores
    with them are left out.

    Raises
    ------
    ConfigError
        If they are to be priced by bytes and the GPU's link bandwidth is not stated.
    """
    fixed_us = latency_us * collectives_of(model, parallel)
    if parallel.gpus == 1 or link_efficiency is None:
        return Collectives(fixed_us)
    if hardware.link_bandwidth is None:
        raise ConfigError(
            f"hardware {hardware.id}: link_bandwidth_gbs is missing, which collectives over {parallel.gpus} GPUs need; "
            "add the data sheet's figure per direction"
        )
    rate, message_bytes = hardware.link_bandwidth * link_efficiency, model.hidden_size * model.activation_bytes

    def message_s(over: int) -> float:
        return 2 * (over - 1) / over * message_bytes / rate

    per_token_s = ALL_REDUCES_PER_LAYER * model.num_hidden_layers * message_s(parallel.tensor_parallel)
    per_routed_s = model.routed_layers * message_s(parallel.attention_data_parallel)
    return Collectives(fixed_us, per_token_s * MICROSECONDS, per_routed_s * MICROSECONDS)


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


def build_overhead(options: OverheadOptions, layers: int, tp: int) -> OverheadOfTokens:
    """Bind an overhead rule to a model's depth and the TP degree."""
    if isinstance(options, PerPhaseOverhead):
        factor = _scale(options.times, layers, tp)
        by_counts = per_phase(
            options.step_us * factor,
            options.prefill_us * factor,
            options.mixed_prefill_us * factor,
            scaled=options.log_batch_scale,
        )
        return lambda prefill_requests, decode_requests, new_tokens: by_counts(prefill_requests, decode_requests)
    if isinstance(options, ByPhaseOverhead):
        factor = _scale(options.times, layers, tp)
        prefill_us, decode_us = options.prefill_us * factor, options.decode_us * factor
        return lambda prefill_requests, decode_requests, new_tokens: prefill_us if prefill_requests else decode_us
    if isinstance(options, CurvedOverhead) and options.of in TOKEN_CURVES:
        base_us, gain_us, curve = options.base_us, options.gain_us, TOKEN_CURVES[options.of]
        return lambda prefill_requests, decode_requests, new_tokens: base_us + gain_us * curve(new_tokens)
    constant = _constant_us(options, layers, tp)
    return lambda prefill_requests, decode_requests, new_tokens: constant


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
