"""The calibrated physical model on many steps at once: the formula of `simulator.steptime.physics`, column by column.

Contract: `times_at_peak` gives, for the steps of one load point, every time at peak rates and every count that a
constant multiplies; `durations_us` puts constants to them. A test holds both to `CalibratedPhysics.duration_us`, which
is what predicts; here it is only made fast enough to be searched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from roofline_lab.calibration.fleet.steps import Column, Steps
from simulator.hardware import Hardware
from simulator.model import Model
from simulator.parallelism import Parallelism
from simulator.steptime.cost import MICROSECONDS
from simulator.steptime.fleet import EXPERT_RATE, HOST_STEP
from simulator.steptime.gemm import gemm_peak, gemm_unit
from simulator.steptime.options import GEMM_CORNER_SHARPNESS, CalibratedPhysicsOptions
from simulator.steptime.overhead import collectives_us
from simulator.steptime.physics import (
    DENSE_KERNELS,
    FUSED_EXPERT_KERNELS,
    HOST_SHARPNESS,
    KILO,
    NARROW_BATCH_TOKENS,
    CalibratedPhysics,
    kernels_per_layer,
)
from simulator.steptime.traffic import GemmFlops, Weights

Constants = Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class PeakTimes:
    """What constants multiply, per step; times in us at peak rates, shape (steps,).

    Attributes
    ----------
    expert_padding
        Arithmetic of one padding token per expert visited, on 16-bit units as all of `expert_arithmetic`.
    launches, host_launches
        Dense layers' worth of kernels on the GPU, and kernels the host launches where no graph holds the step, else 0.
    sampled_kilotokens
        Thousands of vocabulary entries where unlikely tokens are cut off, else 0.
    """

    weight: Column
    wide: Column
    rows: Column
    dense_memory: Column
    dense_arithmetic: Column
    expert_memory: Column
    expert_arithmetic: Column
    expert_padding: Column
    head_memory: Column
    head_arithmetic: Column
    kv: Column
    decode_pairs: Column
    decode_reads: Column
    prefill_pairs: Column
    prefill_expansion: Column
    prefill_reads: Column
    launches: Column
    host_launches: Column
    collectives: Column
    link: Column
    sampled_kilotokens: Column
    host_steps: Column


def times_at_peak(
    steps: Steps,
    model: Model,
    hardware: Hardware,
    parallel: Parallelism,
    *,
    graph_tokens: int,
    schedule_ahead: bool,
) -> PeakTimes:
    """Return what the steps of one load point take at peak rates."""
    peak, tp = hardware.peak_bandwidth, parallel.tensor_parallel
    slowness = gemm_peak(model, hardware) / hardware.peak_flops
    weights, flops = Weights(model, parallel=parallel), GemmFlops(model, slowness, parallel)
    in_16_bits = GemmFlops(model, 1.0, parallel)
    counts = {round(tokens) for tokens in steps.tokens}
    read = {count: weights.of_experts(count) for count in counts}
    done = {count: in_16_bits.of_experts(count) for count in counts}
    padded = {count: in_16_bits.of_experts(count, padding_tokens=1.0) for count in counts}
    each = [round(tokens) for tokens in steps.tokens]
    at_peak = CalibratedPhysics(CalibratedPhysicsOptions(family="calibrated_physics"), model, hardware, parallel)
    head = model.hidden_size * model.vocab_size
    kernels = kernels_per_layer(model, hardware)
    fused = FUSED_EXPERT_KERNELS if model.num_local_experts and gemm_unit(model, hardware) == "fp4" else 0
    outside = (steps.chunks > 0) & (steps.tokens > graph_tokens)
    latency, moved = (collectives_us(*rates, model, hardware, parallel) for rates in ((1.0, None), (0.0, 1.0)))
    truncates = model.generation_config is not None and model.generation_config.truncates
    one = np.ones_like(steps.tokens)
    us_16 = MICROSECONDS / (hardware.peak_flops * tp)
    rates = at_peak.attention_rates
    return PeakTimes(
        weight=steps.weight,
        wide=(steps.tokens > NARROW_BATCH_TOKENS) * one,
        rows=steps.rows,
        dense_memory=one * weights.outside_experts / (peak * tp) * MICROSECONDS,
        dense_arithmetic=steps.tokens * flops.outside_experts(1) / (gemm_peak(model, hardware) * tp) * MICROSECONDS,
        expert_memory=np.array([read[count] for count in each]) / (peak * tp) * MICROSECONDS,
        expert_arithmetic=np.array([done[count] for count in each]) * us_16,
        expert_padding=np.array([padded[count] - done[count] for count in each]) * us_16,
        head_memory=one * head * model.activation_bytes / (peak * tp) * MICROSECONDS,
        head_arithmetic=2 * head * steps.rows * us_16,
        kv=one * rates.kv_token_s * MICROSECONDS,
        decode_pairs=one * rates.decode_pair_s * MICROSECONDS,
        decode_reads=steps.read_tokens + steps.decodes,
        prefill_pairs=steps.pairs * rates.pair_s * MICROSECONDS,
        prefill_expansion=steps.chunk_pasts * rates.expansion_s * MICROSECONDS,
        prefill_reads=steps.chunk_reads,
        launches=one * model.num_hidden_layers * (kernels - fused) / DENSE_KERNELS,
        host_launches=outside * one * model.num_hidden_layers * kernels,
        collectives=one * latency.fixed_us,
        link=steps.tokens * (moved.per_token_us + moved.per_routed_token_us),
        sampled_kilotokens=one * (model.vocab_size / KILO if truncates else 0.0),
        host_steps=one * (0.0 if schedule_ahead else 1.0),
    )


def stacked(times: list[PeakTimes]) -> PeakTimes:
    """Put the steps of many load points under each other."""
    names = [field.name for field in fields(PeakTimes)]
    return PeakTimes(**{name: np.concatenate([getattr(one, name) for one in times]) for name in names})


def durations_us(times: PeakTimes, constants: Constants) -> Column:
    """Return the duration of every step; constants are given per step, shape (steps,), or as one number."""
    c = constants
    slowdown = np.where(times.wide > 0, np.maximum(c.get("wide_batch_slowdown", 1.0), 1.0), 1.0)
    gemm, attention = c["gemm_efficiency"], c["attention_efficiency"]
    dense = _corner(
        times.dense_memory * slowdown / c["weight_bandwidth_efficiency"],
        times.dense_arithmetic / gemm,
        GEMM_CORNER_SHARPNESS,
    )
    padded = times.expert_arithmetic + times.expert_padding * c["expert_padding_tokens"]
    experts = _corner(
        times.expert_memory / c["expert_bandwidth_efficiency"], padded / c[EXPERT_RATE], GEMM_CORNER_SHARPNESS
    )
    head = np.maximum(times.head_memory / c["weight_bandwidth_efficiency"], times.head_arithmetic / gemm)
    kv = times.kv / c["kv_bandwidth_efficiency"]
    decode = times.decode_reads * np.maximum(kv, times.decode_pairs / attention)
    prefill = np.maximum(times.prefill_pairs / attention + times.prefill_expansion / gemm, kv * times.prefill_reads)
    step = c["step_us"] + times.host_steps * c[HOST_STEP] + c["request_us"] * times.rows
    sampling = times.sampled_kilotokens * (
        c["sampling_us_per_kilotoken"] + c["sampling_us_per_kilotoken_request"] * times.rows
    )
    collectives = times.collectives * c["all_reduce_us"] + times.link / c["link_efficiency"]
    total = dense + experts + head + decode + prefill + times.launches * c["layer_us"] + collectives + step + sampling
    return np.where(
        times.host_launches > 0,
        _corner(total, times.host_launches * c["host_kernel_us"], HOST_SHARPNESS),
        total,
    )


def _corner(one: Column, other: Column, sharpness: float) -> Column:
    """Return the p-norm of two times, as `physics.rounded_corner` does."""
    longer, shorter = np.maximum(one, other), np.minimum(one, other)
    share = np.divide(shorter, longer, out=np.zeros_like(longer), where=longer > 0)
    return longer * (1.0 + share**sharpness) ** (1.0 / sharpness)
