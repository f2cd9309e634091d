"""Constants of the calibrated physical step-time model, as one validated record.

Contract: every constant has a physical meaning, a unit and bounds that the record itself enforces:
no efficiency above 1, no negative cost. Defaults are what the data sheet alone says, i.e. peak rates
and no overhead; a calibration replaces them. The formulas that use them: `simulator.steptime.physics`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from simulator.validation import Efficiency, NonNegative, StrictModel

Sharpness = Annotated[float, Strict(), Field(ge=1, allow_inf_nan=False)]

# How rounded the corner between memory- and compute-bound GEMMs is, exponent of a p-norm; 1 adds both
# times, infinity takes the longer. From 112 timed GEMM shapes: configs/kernels/h100/analytic.yaml.
GEMM_CORNER_SHARPNESS = 2.7


class CalibratedPhysicsOptions(StrictModel):
    """What a GPU and a server sustain, and what they spend beside the work itself.

    Attributes
    ----------
    weight_bandwidth_efficiency, kv_bandwidth_efficiency
        Sustained over peak HBM bandwidth while weights, or KV cache, are read.
    gemm_efficiency, attention_efficiency
        Sustained over peak FLOP/s in large GEMMs, and in prefill attention.
    corner_sharpness
        Exponent that joins memory and compute time of the GEMMs; see `GEMM_CORNER_SHARPNESS`.
    layer_us
        Launches and tails of the kernels of one dense BF16 layer, us; every GPU of a tensor-parallel
        group pays it. Layers with more kernels pay in proportion (`simulator.steptime.physics`).
    step_us
        Fixed cost of a step, us.
    request_us
        Cost of a request that is in a step, us.
    all_reduce_us
        Latency of one all-reduce, us; two per layer where TP > 1.
    link_efficiency
        Sustained over peak link bandwidth in those all-reduces; None prices them without their bytes.
    lm_head
        Price the projection to the vocabulary.
    sampling_us_per_kilotoken
        Sampling of a step from 1000 vocabulary entries, us, where unlikely tokens are cut off.
    sampling_us_per_kilotoken_request
        What each request adds to that, us.
    """

    family: Literal["calibrated_physics"]
    weight_bandwidth_efficiency: Efficiency = 1.0
    kv_bandwidth_efficiency: Efficiency = 1.0
    gemm_efficiency: Efficiency = 1.0
    attention_efficiency: Efficiency = 1.0
    corner_sharpness: Sharpness = GEMM_CORNER_SHARPNESS
    layer_us: NonNegative = 0.0
    step_us: NonNegative = 0.0
    request_us: NonNegative = 0.0
    all_reduce_us: NonNegative = 0.0
    link_efficiency: Efficiency | None = 1.0
    lm_head: bool = True
    sampling_us_per_kilotoken: NonNegative = 0.0
    sampling_us_per_kilotoken_request: NonNegative = 0.0
