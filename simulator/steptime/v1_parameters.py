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
    tflops_peak
        Peak of the tensor cores, TFLOPS. Higher: compute-bound steps, prefill of long prompts above all, get faster.
    bw_peak_tbs
        Peak of the memory, TB/s. Higher: memory-bound steps, decode above all, get faster.
    bw_eff_constant
        Share of that bandwidth which is sustained, measured by a streaming benchmark. Higher: memory-bound steps get
        faster.
    mfu_prefill
        Share of the FLOP rate that prefill reaches. Higher: prefill gets faster where it is compute-bound.
    mfu_decode
        The same of decode, far lower because a decode waits for weights. Higher: decodes of large batches get faster;
        a memory-bound one stays as it is.
    tp_scaling_exponent
        Prefill compute is divided by TP to this power. Higher: prefill gains more from further GPUs.
    decode_tp_scaling_exponent
        The same of decode, compute and bytes; 0 means 1. Higher: decode gains more from further GPUs.
    t_overhead_micros
        Time of every step beside the work, us; grows with the logarithm of the batch. Higher: every step gets slower.
    prefill_overhead_micros
        Time per prefill request of a step without decodes, us. Higher: first tokens come later.
    mixed_prefill_overhead_micros
        Time per prefill request of a step with decodes, us. Higher: tokens come later while others prefill.
    all_reduce_latency
        Time of one all-reduce, us, two per layer where TP > 1. Higher: steps of several GPUs get slower.
    mfu_prefill_multiplier
        Multiplies `mfuPrefill`. Lower it by 10 to 20 % where prefill is predicted too fast.
    mfu_decode_multiplier
        Multiplies `mfuDecode`. Lower it by 10 to 20 % where large decode batches are predicted too fast.
    prefill_bw_factor
        Multiplies the sustained bandwidth in prefill. Lower: memory-bound prefill gets slower.
    decode_bw_factor
        Multiplies the sustained bandwidth in decode, for scattered reads of the KV cache. Lower: decode gets slower.
    vector_peak_fraction
        Rate of the vector units (softmax) over the tensor-core peak. Higher: long contexts get cheaper.
    per_layer_overhead
        Time of every layer in every step, us. Higher: every step gets slower, of deep models most.
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
    """Roofline with hand-calibrated efficiencies.

    Attributes
    ----------
    variant
        One of three historic formula sets, or the guide's, in which all parameters act.
    parameters
        The 17 of one GPU.
    """

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
