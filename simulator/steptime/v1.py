"""The calibrated roofline (V1): roofline phases on 17 hand-calibrated hardware parameters.

Three historic formula sets, as the programme's reference states them, and one more. In all of them a phase takes
the longer of compute (GEMM FLOPs over the peak times an MFU, plus other FLOPs over the slower
vector units) and memory (weights, KV and activations over the effective bandwidth).

* `v1_a`: attention's matrix products count as GEMM; all bytes count in full; TP divides linearly;
  phases add up; overhead is per step and per layer.
* `v1_b`: attention runs on the vector units; KV reads and activations are discounted; MFU and
  bandwidth have per-phase multipliers; prefill compute scales with TP**exponent; phases combine by
  the weighted average; overhead is per step (log-scaled with batch) and per prefill request.
* `v1_c`: as `v1_b`, and decode compute and memory scale with TP**exponent (0 means 1).
* `v1_guide`: as `v1_c`, and the per-layer overhead its calibration guide documents counts once per layer and step,
  so that all 17 parameters act.

FLOPs per layer, with q new tokens of average context x = past + (q - 1) / 2:
attention products 4*h*e*q*x; vector work 4*h*q*x (softmax, v1_b and v1_c) or 5*h*q*x + 2*q*d (v1_a).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.errors import UnsupportedError
from simulator.hardware import TERA, Hardware
from simulator.model import Model
from simulator.parallelism import Parallelism
from simulator.steptime.batch import Batch, BatchSums
from simulator.steptime.combination import COMBINATIONS, branch
from simulator.steptime.cost import MICROSECONDS, PhaseCost, StepCost, whole_us
from simulator.steptime.linear import EVERYTHING
from simulator.steptime.options import ACTIVATION_FRACTIONS, KV_READ_FRACTIONS, PhaseCombination
from simulator.steptime.overhead import Overhead, all_reduce_us, per_phase
from simulator.steptime.traffic import DynamicTraffic, Weights, WorkCount, gemm_flops_per_token
from simulator.steptime.v1_parameters import CalibratedRooflineOptions

# Rate of the vector units over the tensor-core peak; fixed in v1_a, a parameter later.
V1A_VECTOR_FRACTION = 0.1


@dataclass(frozen=True, slots=True)
class PhaseRates:
    """Effective rates of one phase over the whole TP group: FLOP/s, FLOP/s, bytes/s."""

    gemm: float
    vector: float
    memory: float


@dataclass(frozen=True, slots=True)
class FlopCounts:
    """FLOPs of all layers: per new token and per (new token x context), on each kind of unit."""

    gemm_per_token: float
    gemm_per_context: float
    vector_per_token: float
    vector_per_context: float


@dataclass(frozen=True, slots=True)
class _Phase:
    """One phase's totals over all GPUs."""

    requests: int
    tokens: int
    past: int
    context: float
    kv_bytes: float
    activation_bytes: float


class CalibratedRoofline:
    """The calibrated roofline; see the module for its formulas."""

    kv_breakpoints: tuple[int, ...] = ()

    def __init__(
        self,
        options: CalibratedRooflineOptions,
        model: Model,
        hardware: Hardware,
        parallel: Parallelism,
        warnings: tuple[str, ...] = (),
    ) -> None:
        _require_described(model, parallel)
        tp = parallel.tensor_parallel
        first = options.variant == "v1_a"
        self.warnings = warnings
        self.peak_flops = hardware.peak_flops
        self.peak_bandwidth = hardware.peak_bandwidth
        self._tp = tp
        self._weights = Weights(model)
        self._traffic = DynamicTraffic(
            model,
            EVERYTHING if first else KV_READ_FRACTIONS,
            EVERYTHING if first else ACTIVATION_FRACTIONS,
        )
        self.work = WorkCount(model, parallel, self._weights, self._traffic, lm_head=False)
        self._flops = _flop_counts(model, first=first)
        self._prefill_rates, self._decode_rates = _rates(options, tp)
        self._rule: PhaseCombination = "sum" if first else "weighted_average"
        self._combine = COMBINATIONS[self._rule]
        self._overhead = _overhead(options, model)
        self._communication_us = all_reduce_us(options.parameters.all_reduce_latency, model.num_hidden_layers, tp)

    def step_time_us(self, sums: BatchSums) -> int:
        """Return the step's duration in whole microseconds, at least 1."""
        count, chunks = sums.decode_count, sums.prefill
        beside_us = self._overhead(len(chunks), count)
        if not chunks and not count:
            return whole_us(beside_us)
        seconds = 0.0
        if count:
            seconds = self._seconds(self._decode_totals(count, sums.decode_past_tokens), self._decode_rates)
        if chunks:
            totals = self._prefill_totals(chunks)
            prefill_s = self._seconds(totals, self._prefill_rates)
            seconds = self._combine(prefill_s, seconds, totals.tokens, count) if count else prefill_s
        return whole_us(seconds * MICROSECONDS + self._communication_us + beside_us)

    def explain(self, batch: Batch) -> StepCost:
        """Return the same duration with everything it is made of."""
        prefill = decode = None
        if batch.prefill:
            prefill = self._cost(self._prefill_totals(batch.prefill), self._prefill_rates)
        if batch.decode:
            decode = self._cost(self._decode_totals(len(batch.decode), sum(batch.decode)), self._decode_rates)
        if prefill and decode:
            combined_s = self._combine(prefill.seconds, decode.seconds, prefill.new_tokens, decode.requests)
        else:
            combined_s = sum([phase.seconds for phase in (prefill, decode) if phase], 0.0)
        communication_us = self._communication_us if prefill or decode else 0.0
        overhead_us = self._overhead(len(batch.prefill), len(batch.decode))
        unrounded_us = combined_s * MICROSECONDS + communication_us + overhead_us
        tokens = prefill.new_tokens if prefill else 0
        return StepCost(
            family="calibrated_roofline",
            total_us=whole_us(unrounded_us),
            unrounded_us=unrounded_us,
            prefill=prefill,
            decode=decode,
            combined_s=combined_s,
            branch=branch(self._rule, len(batch.prefill), tokens, len(batch.decode)),
            communication_us=communication_us,
            overhead_us=overhead_us,
            notes=self.warnings,
        )

    def _decode_totals(self, count: int, past: int) -> _Phase:
        kv, activations = self._traffic.decode(count, past)
        return _Phase(count, count, past, past, kv, activations)

    def _prefill_totals(self, chunks: Sequence[tuple[int, int]]) -> _Phase:
        tokens = sum([new for _, new in chunks])
        past = sum([past for past, _ in chunks])
        context = sum([new * (past + (new - 1) / 2) for past, new in chunks])
        kv, activations = self._traffic.prefill(chunks)
        return _Phase(len(chunks), tokens, past, context, kv, activations)

    def _compute(self, phase: _Phase, rates: PhaseRates) -> tuple[float, float]:
        flops = self._flops
        gemm = flops.gemm_per_token * phase.tokens + flops.gemm_per_context * phase.context
        vector = flops.vector_per_token * phase.tokens + flops.vector_per_context * phase.context
        return gemm / rates.gemm, vector / rates.vector

    def _memory(self, phase: _Phase, rates: PhaseRates) -> float:
        return (self._weights.bytes(phase.tokens) + phase.kv_bytes + phase.activation_bytes) / rates.memory

    def _seconds(self, phase: _Phase, rates: PhaseRates) -> float:
        gemm_s, vector_s = self._compute(phase, rates)
        return max(gemm_s + vector_s, self._memory(phase, rates))

    def _cost(self, phase: _Phase, rates: PhaseRates) -> PhaseCost:
        gemm_s, vector_s = self._compute(phase, rates)
        memory_s = self._memory(phase, rates)
        limits = {"memory": memory_s, "gemm": gemm_s + vector_s}
        bottleneck = max(limits, key=lambda name: limits[name])
        return PhaseCost(
            requests=phase.requests,
            new_tokens=phase.tokens,
            past_tokens=phase.past,
            gemm_s=gemm_s,
            attention_s=0.0,
            vector_s=vector_s,
            memory_s=memory_s,
            seconds=limits[bottleneck],
            weight_bytes=self._weights.bytes(phase.tokens) / self._tp,
            kv_bytes=phase.kv_bytes / self._tp,
            activation_bytes=phase.activation_bytes / self._tp,
            bottleneck="vector" if bottleneck == "gemm" and vector_s > gemm_s else bottleneck,
        )


def _require_described(model: Model, parallel: Parallelism) -> None:
    """Refuse what these formulas have no terms for.

    Raises
    ------
    UnsupportedError
        Naming it.
    """
    beyond = "multi-head latent attention" if model.latent else ""
    if parallel.expert_parallel or parallel.attention_data_parallel > 1:
        beyond += f"{' and ' if beyond else ''}experts spread as in {parallel}"
    if beyond:
        raise UnsupportedError(
            f"model {model.id} has {beyond}, which the calibrated roofline does not describe; "
            "use roofline, data_sheet or a calibration"
        )


def _flop_counts(model: Model, *, first: bool) -> FlopCounts:
    layers, heads = model.num_hidden_layers, model.num_attention_heads
    gemm = float(gemm_flops_per_token(model))
    products = 4.0 * layers * model.query_width
    if first:
        return FlopCounts(gemm, products, 2.0 * layers * model.hidden_size, 5.0 * layers * heads)
    return FlopCounts(gemm, 0.0, 0.0, products + 4.0 * layers * heads)


def _rates(options: CalibratedRooflineOptions, tp: int) -> tuple[PhaseRates, PhaseRates]:
    """Return the effective rates of the prefill and of the decode phase."""
    p = options.parameters
    peak = p.tflops_peak * TERA
    bandwidth = p.bw_peak_tbs * TERA * p.bw_eff_constant
    if options.variant == "v1_a":
        vector = peak * V1A_VECTOR_FRACTION * tp
        return (
            PhaseRates(peak * p.mfu_prefill * tp, vector, bandwidth * tp),
            PhaseRates(peak * p.mfu_decode * tp, vector, bandwidth * tp),
        )
    prefill_speedup = tp**p.tp_scaling_exponent
    # An exponent of 0 means 1, as upstream reads it.
    exponent = p.decode_tp_scaling_exponent
    decode_speedup = tp**exponent if options.variant != "v1_b" and exponent else float(tp)
    vector = peak * p.vector_peak_fraction
    return (
        PhaseRates(
            peak * (p.mfu_prefill * p.mfu_prefill_multiplier) * prefill_speedup,
            vector * prefill_speedup,
            bandwidth * p.prefill_bw_factor * tp,
        ),
        PhaseRates(
            peak * (p.mfu_decode * p.mfu_decode_multiplier) * decode_speedup,
            vector * decode_speedup,
            bandwidth * p.decode_bw_factor * decode_speedup,
        ),
    )


def _overhead(options: CalibratedRooflineOptions, model: Model) -> Overhead:
    p = options.parameters
    if options.variant == "v1_a":
        constant = p.t_overhead_micros + model.num_hidden_layers * p.per_layer_overhead
        return lambda prefill_requests, decode_requests: constant
    by_phase = per_phase(p.t_overhead_micros, p.prefill_overhead_micros, p.mixed_prefill_overhead_micros, scaled=True)
    if options.variant != "v1_guide":
        return by_phase
    layers_us = model.num_hidden_layers * p.per_layer_overhead
    return lambda prefill_requests, decode_requests: layers_us + by_phase(prefill_requests, decode_requests)
