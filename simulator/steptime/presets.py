"""Option sets that other programs' behaviour is known by."""

from __future__ import annotations

from simulator.steptime.options import KernelMfuOptions, MfuRooflineOptions, NoOverhead, PerLayerOverTpOverhead

# Dense over causal attention FLOPs in upstream, taken from InferSim (dimensionless). Its prefill
# tables count exactly half, so 2.0 would agree with them.
UPSTREAM_CAUSAL_DIVISOR = 1.8


def upstream_options(
    bandwidth_efficiency: float | None = None, per_layer_overhead_us: float = 0.0
) -> MfuRooflineOptions:
    """Return the options of upstream's final MFU roofline, the one its recorded steps come from.

    Parameters
    ----------
    bandwidth_efficiency
        Sustained over peak bandwidth; None means peak.
    per_layer_overhead_us
        us per layer, divided by TP.
    """
    overhead = PerLayerOverTpOverhead(kind="per_layer_over_tp", us=per_layer_overhead_us)
    return MfuRooflineOptions(
        family="mfu_roofline",
        bandwidth_efficiency=bandwidth_efficiency,
        mfu=KernelMfuOptions(kind="kernels", style="mfu"),
        gemm_memory_floor=True,
        decode_attention="flops_weighted",
        prefill_context="actual",
        prefill_mfu_at="bucket",
        prefill_gemm="per_bucket",
        causal_divisor=UPSTREAM_CAUSAL_DIVISOR,
        phase_combination="max",
        overhead=overhead if per_layer_overhead_us else NoOverhead(),
    )
