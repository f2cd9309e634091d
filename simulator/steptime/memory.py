"""Time to move a phase's bytes: bytes over TP over sustained bandwidth.

Weights and activations stream at one efficiency, KV traffic at its own where an option says so;
the two times add up (rows R-002 to R-009 of the programme's feature table: peak, sustained,
per-phase and access-pattern efficiencies).
"""

from __future__ import annotations

from collections.abc import Callable

from simulator.hardware import Hardware
from simulator.steptime.options import MfuRooflineOptions

PhaseMemory = Callable[[float, float, float, int], float]


def weight_bandwidths(options: MfuRooflineOptions, hardware: Hardware) -> tuple[float, float]:
    """Bytes/s of weights and activations in the prefill and in the decode phase."""
    common = options.bandwidth_efficiency
    return (
        hardware.peak_bandwidth * (options.prefill_bandwidth_efficiency or common or 1.0),
        hardware.peak_bandwidth * (options.decode_bandwidth_efficiency or common or 1.0),
    )


def kv_bandwidth(options: MfuRooflineOptions, hardware: Hardware) -> Callable[[int], float] | None:
    """Bytes/s of KV traffic by number of requests in the phase; None where it moves as the rest."""
    growth = options.kv_bandwidth_growth
    if growth is not None:
        peak, base, gain, full = hardware.peak_bandwidth, growth.base, growth.gain, growth.saturation_batch
        return lambda requests: peak * (base + gain * min(requests / full, 1.0))
    if options.kv_bandwidth_efficiency is not None:
        constant = hardware.peak_bandwidth * options.kv_bandwidth_efficiency
        return lambda requests: constant
    return None


def phase_memory(bandwidth: float, kv: Callable[[int], float] | None, tp: int) -> PhaseMemory:
    """Return seconds as a function of (weight bytes, KV bytes, activation bytes, requests)."""
    if kv is None:

        def at_one_rate(weights: float, kv_bytes: float, activations: float, requests: int) -> float:
            return (weights + kv_bytes + activations) / tp / bandwidth

        return at_one_rate

    def at_two_rates(weights: float, kv_bytes: float, activations: float, requests: int) -> float:
        return (weights + activations) / tp / bandwidth + kv_bytes / tp / kv(requests)

    return at_two_rates
