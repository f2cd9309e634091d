"""The 17 hardware parameters of the calibrated roofline, as its calibration guide names them.

Names, defaults and documented ranges are those of the guide (H100 column), so an entry of an
upstream `hardware_config.json` can be pasted as it is. `parameter_warnings` says which values leave
their documented range, which are not physical, and which have no effect in a variant.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from simulator.hardware import Hardware
from simulator.validation import Efficiency, NonNegative, Positive, StrictModel

Variant = Literal["v1_a", "v1_b", "v1_c", "v1_guide"]


class V1Parameters(StrictModel):
    """One GPU's calibration; units in the alias-named keys' documentation below.

    Attributes
    ----------
    tflops_peak, bw_peak_tbs
        Peak TFLOPS and HBM TB/s.
    bw_eff_constant
        Sustained over peak bandwidth.
    mfu_prefill, mfu_decode, mfu_prefill_multiplier, mfu_decode_multiplier
        FLOPs utilisation per phase and its adjustment.
    tp_scaling_exponent, decode_tp_scaling_exponent
        Speed-up of prefill and decode is TP**exponent.
    t_overhead_micros, prefill_overhead_micros, mixed_prefill_overhead_micros
        us per step, per prefill request of a pure-prefill step, per prefill request of a mixed step.
    all_reduce_latency
        us per all-reduce, two per layer where TP > 1.
    prefill_bw_factor, decode_bw_factor
        Bandwidth adjustment per phase.
    vector_peak_fraction
        Rate of the vector units over the tensor-core peak.
    per_layer_overhead
        us per layer and step.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    tflops_peak: Positive = Field(alias="TFlopsPeak")
    bw_peak_tbs: Positive = Field(alias="BwPeakTBs")
    bw_eff_constant: Efficiency = Field(alias="BwEffConstant")
    mfu_prefill: Efficiency = Field(alias="mfuPrefill")
    mfu_decode: Efficiency = Field(alias="mfuDecode")
    tp_scaling_exponent: NonNegative = Field(default=0.8, alias="tpScalingExponent")
    decode_tp_scaling_exponent: NonNegative = Field(default=1.0, alias="decodeTpScalingExponent")
    t_overhead_micros: NonNegative = Field(default=50.0, alias="TOverheadMicros")
    prefill_overhead_micros: NonNegative = Field(default=100.0, alias="prefillOverheadMicros")
    mixed_prefill_overhead_micros: NonNegative = Field(default=50.0, alias="mixedPrefillOverheadMicros")
    all_reduce_latency: NonNegative = Field(default=20.0, alias="allReduceLatency")
    mfu_prefill_multiplier: Positive = Field(default=1.0, alias="mfuPrefillMultiplier")
    mfu_decode_multiplier: Positive = Field(default=1.0, alias="mfuDecodeMultiplier")
    prefill_bw_factor: Efficiency = Field(default=1.0, alias="prefillBwFactor")
    decode_bw_factor: Efficiency = Field(default=1.0, alias="decodeBwFactor")
    vector_peak_fraction: Efficiency = Field(default=0.1, alias="vectorPeakFraction")
    per_layer_overhead: NonNegative = Field(default=5.0, alias="perLayerOverhead")


class CalibratedRooflineOptions(StrictModel):
    """Roofline with hand-calibrated efficiencies; `variant` is one of three historic formula sets, or the guide's."""

    family: Literal["calibrated_roofline"]
    variant: Variant = "v1_c"
    parameters: V1Parameters


# Documented ranges of the calibration guide; the all-reduce range spans NVLink (10-30 us) and PCIe
# (50-100 us).
DOCUMENTED_RANGES: dict[str, tuple[float, float]] = {
    "BwEffConstant": (0.6, 0.8),
    "mfuPrefill": (0.5, 0.7),
    "mfuDecode": (0.08, 0.15),
    "tpScalingExponent": (0.7, 0.9),
    "decodeTpScalingExponent": (0.95, 1.0),
    "allReduceLatency": (10.0, 100.0),
    "mfuPrefillMultiplier": (0.8, 1.2),
    "mfuDecodeMultiplier": (0.8, 1.2),
    "prefillBwFactor": (0.8, 1.0),
    "decodeBwFactor": (0.7, 1.0),
    "vectorPeakFraction": (0.05, 0.15),
}

# Parameters that do not enter the formulas of a variant.
NO_EFFECT: dict[Variant, frozenset[str]] = {
    "v1_a": frozenset(
        {
            "decodeBwFactor",
            "decodeTpScalingExponent",
            "mfuDecodeMultiplier",
            "mfuPrefillMultiplier",
            "mixedPrefillOverheadMicros",
            "prefillBwFactor",
            "prefillOverheadMicros",
            "tpScalingExponent",
            "vectorPeakFraction",
        }
    ),
    "v1_b": frozenset({"decodeTpScalingExponent", "perLayerOverhead"}),
    "v1_c": frozenset({"perLayerOverhead"}),
    "v1_guide": frozenset(),
}


def parameter_warnings(options: CalibratedRooflineOptions, hardware: Hardware) -> tuple[str, ...]:
    """Say what is odd about a calibration; only values that were given are judged."""
    given = options.parameters.model_dump(by_alias=True, exclude_unset=True)
    found = [f"{name}: no effect in {options.variant}" for name in sorted(given.keys() & NO_EFFECT[options.variant])]
    for name, (low, high) in DOCUMENTED_RANGES.items():
        if name in given and not low <= given[name] <= high:
            found.append(f"{name}: {given[name]:g} is outside its documented range {low:g} to {high:g}")
    return tuple(found + _unphysical(options) + _peak_mismatch(options.parameters, hardware))


def _unphysical(options: CalibratedRooflineOptions) -> list[str]:
    p = options.parameters
    found = []
    if options.variant != "v1_a":
        for phase, product in (
            ("Prefill", p.mfu_prefill * p.mfu_prefill_multiplier),
            ("Decode", p.mfu_decode * p.mfu_decode_multiplier),
        ):
            if product > 1:
                found.append(f"mfu{phase} * mfu{phase}Multiplier = {product:.3g} exceeds the hardware peak")
        if p.tp_scaling_exponent > 1:
            found.append(f"tpScalingExponent: {p.tp_scaling_exponent:g} means a speed-up beyond the number of GPUs")
    if options.variant in ("v1_c", "v1_guide") and p.decode_tp_scaling_exponent > 1:
        found.append(
            f"decodeTpScalingExponent: {p.decode_tp_scaling_exponent:g} means a speed-up beyond the number of GPUs"
        )
    return found


def _peak_mismatch(parameters: V1Parameters, hardware: Hardware) -> list[str]:
    pairs = (
        ("TFlopsPeak", parameters.tflops_peak, hardware.dense_bf16_tflops.value),
        ("BwPeakTBs", parameters.bw_peak_tbs, hardware.memory_bandwidth_tbs.value),
    )
    return [
        f"{name}: {given:g} differs from {hardware.id}'s {peak:g}; the calibration's value is used"
        for name, given, peak in pairs
        if given != peak
    ]
