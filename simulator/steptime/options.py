"""Every choice a hypothesis can vary in a step-time model, as validated records.

A record is chosen by its key `family`. Unknown keys, wrong types, efficiencies outside (0, 1] and
combinations that contradict each other are refused with one `ConfigError`.
Formulas and their sources stand in the modules that use each option.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, Strict, model_validator

from simulator.errors import ConfigError
from simulator.kernels.base import GUIDE_MFU_DECODE, GUIDE_MFU_PREFILL, Policy
from simulator.steptime.v1_parameters import CalibratedRooflineOptions
from simulator.validation import (
    Count,
    Efficiency,
    Finite,
    NonNegative,
    NonNegativeInt,
    Positive,
    StrictModel,
    parse,
    suggest,
)

# An exponent of a p-norm, or how often longer something takes.
AtLeastOne = Annotated[float, Strict(), Field(ge=1, allow_inf_nan=False)]

# How rounded the corner between memory- and compute-bound GEMMs is, exponent of a p-norm; 1 adds both
# times, infinity takes the longer. From 112 timed GEMM shapes: configs/kernels/h100/analytic.yaml.
GEMM_CORNER_SHARPNESS = 2.7


def _none_where_zero(value: object) -> object:
    """Read 0 as upstream's configurations mean it: no efficiency applies."""
    return None if value == 0 and not isinstance(value, bool) else value


# A share of a peak; absent or 0: the peak itself.
OptionalEfficiency = Annotated[Efficiency | None, BeforeValidator(_none_where_zero)]

# Dense over causal attention FLOPs in upstream, taken from InferSim (dimensionless). Its prefill
# tables count exactly half, so 2.0 would agree with them.
UPSTREAM_CAUSAL_DIVISOR = 1.8


class ConstantMfuOptions(StrictModel):
    """One efficiency per phase, over all FLOPs (GEMM and attention)."""

    kind: Literal["constant"] = "constant"
    prefill: Efficiency = GUIDE_MFU_PREFILL
    decode: Efficiency = GUIDE_MFU_DECODE


class KernelMfuOptions(StrictModel):
    """Efficiencies from kernel tables or fitted curves.

    Attributes
    ----------
    style
        `seconds`: the kernels know their own time. `mfu`: FLOPs over peak times MFU, with the
        attention variants beside it (`decode_attention`, `prefill_context`, ...).
    source
        `embedded`: the project's fitted curves. `tabulated`: those curves sampled as a table.
        `measured`: a folder of tables given by the user.
    lookup
        How a table answers between its rows; curves have no rows.
    bandwidth
        Share of the peak bandwidth at which embedded GEMMs read their weights: as `fitted` to timed kernels, or
        as `stated` by the roofline's `bandwidth_efficiency`.
    """

    kind: Literal["kernels"]
    style: Literal["seconds", "mfu"] = "seconds"
    source: Literal["embedded", "tabulated", "measured"] = "embedded"
    lookup: Literal["nearest", "interpolated", "latency"] | None = None
    bandwidth: Literal["fitted", "stated"] = "fitted"

    @model_validator(mode="after")
    def _lookup_needs_a_table(self) -> KernelMfuOptions:
        if self.source == "embedded" and self.lookup is not None:
            raise ValueError("lookup needs a table: use source 'tabulated' or 'measured', or drop lookup")
        if self.source != "embedded" and self.bandwidth == "stated":
            raise ValueError("bandwidth 'stated' needs fitted curves: use source 'embedded', or drop bandwidth")
        return self

    @property
    def policy(self) -> Policy:
        """Lookup policy of a table; linear interpolation unless another one was asked for."""
        return self.lookup or "interpolated"


MfuOptions = Annotated[ConstantMfuOptions | KernelMfuOptions, Field(discriminator="kind")]


class PhaseFactors(StrictModel):
    """A factor for multi-token (prefill) and for one-token (decode) requests."""

    prefill: NonNegative
    decode: NonNegative


class GrowingEfficiency(StrictModel):
    """KV bandwidth efficiency `base + gain * min(batch / saturation_batch, 1)`, fraction of peak."""

    base: Efficiency = 0.4
    gain: NonNegative = 0.3
    saturation_batch: Count = 64

    @model_validator(mode="after")
    def _at_most_peak(self) -> GrowingEfficiency:
        if self.base + self.gain > 1:
            raise ValueError("base + gain must not exceed 1 (the peak bandwidth)")
        return self


class LinearTensorParallel(StrictModel):
    """Compute and memory time divided by TP."""

    kind: Literal["linear"] = "linear"


class ExponentTensorParallel(StrictModel):
    """Compute time divided by TP**exponent of its phase (`mfu` style); memory stays divided by TP."""

    kind: Literal["exponent"]
    prefill: Positive = 0.8
    decode: Positive = 1.0


class EfficiencyTensorParallel(StrictModel):
    """Compute time divided by TP times the efficiency of that degree; memory stays divided by TP.

    `by_degree` names every degree that is run, for instance `{2: 0.95, 4: 0.9}`.
    """

    kind: Literal["efficiency"]
    by_degree: dict[Annotated[int, Field(ge=2)], Efficiency] = Field(min_length=1)

    def at(self, tp: int) -> float:
        """Return the efficiency of one degree.

        Raises
        ------
        ConfigError
            If it is not stated.
        """
        if tp == 1:
            return 1.0
        if tp not in self.by_degree:
            stated = ", ".join(map(str, sorted(self.by_degree)))
            raise ConfigError(
                f"steptime.tensor_parallel.by_degree: states no efficiency at TP {tp} (stated: {stated}); add it"
            )
        return self.by_degree[tp]


TensorParallelOptions = Annotated[
    LinearTensorParallel | ExponentTensorParallel | EfficiencyTensorParallel, Field(discriminator="kind")
]

Scale = Literal["one", "layers", "layers_over_tp"]


class NoOverhead(StrictModel):
    """No CPU overhead."""

    kind: Literal["none"] = "none"


class FixedOverhead(StrictModel):
    """The same time for every step."""

    kind: Literal["fixed"]
    us: NonNegative


class PerLayerOverhead(StrictModel):
    """`us` per layer for every step."""

    kind: Literal["per_layer"]
    us: NonNegative


class PerLayerOverTpOverhead(StrictModel):
    """`us` per layer, divided by TP, for every step."""

    kind: Literal["per_layer_over_tp"]
    us: NonNegative


class PerPhaseOverhead(StrictModel):
    """The calibrated roofline's overhead: per step, plus per prefill request.

    `prefill_us` counts per prefill request of a step without decodes, `mixed_prefill_us` of a step
    with decodes; `times` multiplies all three; `log_batch_scale` scales `step_us` with batch size.
    """

    kind: Literal["per_phase"]
    step_us: NonNegative = 0.0
    prefill_us: NonNegative = 0.0
    mixed_prefill_us: NonNegative = 0.0
    times: Scale = "one"
    log_batch_scale: bool = False


class ByPhaseOverhead(StrictModel):
    """`prefill_us` for a step with prefill, `decode_us` for a step of decodes alone; `times` multiplies both."""

    kind: Literal["by_phase"]
    prefill_us: NonNegative
    decode_us: NonNegative
    times: Scale = "one"


class CurvedOverhead(StrictModel):
    """`base_us + gain_us * f`, f the square root or natural logarithm of the layers or of a step's new tokens.

    A request that decodes has one new token, so in a step of decodes alone tokens are the batch size; the logarithm
    is that of tokens + 1, which leaves something to a single one.
    """

    kind: Literal["curved"]
    base_us: NonNegative = 0.0
    gain_us: NonNegative
    of: Literal["sqrt_layers", "log_layers", "sqrt_tokens", "log_tokens"]


OverheadOptions = Annotated[
    NoOverhead
    | FixedOverhead
    | PerLayerOverhead
    | PerLayerOverTpOverhead
    | PerPhaseOverhead
    | ByPhaseOverhead
    | CurvedOverhead,
    Field(discriminator="kind"),
]

PhaseCombination = Literal["max", "weighted_average", "smooth", "additive", "sum"]
DecodeAttention = Literal["flops_weighted", "max_kv", "sum_at_max_kv", "per_request", "kv_buckets"]

# KV reads and activations that do not reach HBM, by phase; upstream's undocumented factors, named
# in the review of its MFU-roofline plan ("Memory Calculation").
KV_READ_FRACTIONS = PhaseFactors(prefill=0.92, decode=0.80)
ACTIVATION_FRACTIONS = PhaseFactors(prefill=0.85, decode=0.75)


# Options that only the `mfu` style of kernel pricing reads.
ATTENTION_VARIANTS = (
    "decode_attention",
    "kv_bucket_edges",
    "prefill_context",
    "prefill_mfu_at",
    "causal_divisor",
    "causal_divisor_by_gpu",
)


class MfuRooflineOptions(StrictModel):
    """Phase roofline on kernel efficiencies.

    Attributes
    ----------
    bandwidth_efficiency
        Sustained over peak HBM bandwidth for all bytes; None or 0 means peak.
    prefill_bandwidth_efficiency, decode_bandwidth_efficiency
        The same for this phase only, in place of `bandwidth_efficiency`; None: as that.
    kv_bandwidth_efficiency
        Efficiency of KV reads and writes alone; None: as the rest.
    kv_bandwidth_growth
        That efficiency growing with the batch, in place of a constant; None: it does not.
    kv_split
        `even`: KV bytes are divided by TP (as upstream does). `by_head`: beyond as many GPUs as KV heads
        nothing more is split, because a GPU holds whole heads.
    kv_read_fraction
        Share of KV reads that reaches HBM; the decode value holds for every request with one new token.
    activation_fraction
        Share of activations that reaches HBM, by the same rule.
    compute_term
        False prices memory traffic alone.
    mfu
        Constant efficiencies, or kernels.
    gemm_memory_floor
        No GEMM is faster than loading its own weights.
    per_component_roofline
        max(compute, memory) per GEMM and for attention, instead of per phase.
    lm_head
        Price the projection to the vocabulary, one row per request.
    lm_head_quantized
        Whether it is priced in the type of the layers' weights; checkpoints keep it in 16 bits.
    fused_qkv
        One GEMM for Q, K and V.
    experts
        `grouped`: all experts of a layer in one launch per matrix, as servers do; `one_by_one`: a GEMM each.
    decode_attention
        How KV lengths of a batch enter (`mfu` style only).
    kv_bucket_edges
        Tokens between the buckets of `decode_attention: kv_buckets`.
    prefill_context
        Context each new token attends to: `causal` counts earlier tokens fully and the chunk's own
        half; `actual` past + new, `bucket` that sum rounded up, both divided by `causal_divisor`.
    prefill_mfu_at
        Length at which the prefill efficiency is looked up.
    prefill_gemm
        `single`: one GEMM over all new tokens; `per_bucket`: one per prefill bucket.
    causal_divisor
        Dense over causal FLOPs: exact counting gives 2.
    causal_divisor_by_gpu
        The same by GPU id; wins where it names the GPU.
    phase_combination
        How prefill and decode seconds of a mixed step become one.
    tensor_parallel
        How compute scales with TP.
    tensor_parallel_gemm
        Whether a GEMM is priced whole and its time divided, or priced in its sharded shape.
    all_reduce_us
        Time of one all-reduce, two per layer where TP > 1.
    link_efficiency
        Sustained over peak link bandwidth in those all-reduces; None prices them without their bytes.
    overhead
        Time of a step beside the work: of the host, of launches.
    """

    family: Literal["mfu_roofline"]
    bandwidth_efficiency: OptionalEfficiency = None
    prefill_bandwidth_efficiency: OptionalEfficiency = None
    decode_bandwidth_efficiency: OptionalEfficiency = None
    kv_bandwidth_efficiency: OptionalEfficiency = None
    kv_bandwidth_growth: GrowingEfficiency | None = None
    kv_split: Literal["even", "by_head"] = "even"
    kv_read_fraction: PhaseFactors = KV_READ_FRACTIONS
    activation_fraction: PhaseFactors = ACTIVATION_FRACTIONS
    compute_term: bool = True
    mfu: MfuOptions = ConstantMfuOptions()
    gemm_memory_floor: bool = False
    per_component_roofline: bool = False
    lm_head: bool = False
    lm_head_quantized: bool = True
    fused_qkv: bool = False
    experts: Literal["one_by_one", "grouped"] = "one_by_one"
    decode_attention: DecodeAttention = "flops_weighted"
    kv_bucket_edges: tuple[Count, ...] = (2048, 8192, 32768)
    prefill_context: Literal["causal", "actual", "bucket"] = "causal"
    prefill_mfu_at: Literal["context", "bucket"] = "context"
    prefill_gemm: Literal["single", "per_bucket"] = "single"
    causal_divisor: Positive = 2.0
    causal_divisor_by_gpu: dict[str, Positive] = Field(default={})
    phase_combination: PhaseCombination = "max"
    tensor_parallel: TensorParallelOptions = LinearTensorParallel()
    tensor_parallel_gemm: Literal["split_time", "split_shape"] = "split_time"
    all_reduce_us: NonNegative = 0.0
    link_efficiency: Efficiency | None = None
    overhead: OverheadOptions = NoOverhead()

    @model_validator(mode="after")
    def _consistent(self) -> MfuRooflineOptions:
        if self.kv_bandwidth_efficiency is not None and self.kv_bandwidth_growth is not None:
            raise ValueError("kv_bandwidth_efficiency and kv_bandwidth_growth exclude each other; give one")
        edges = self.kv_bucket_edges
        if not edges or any(low >= high for low, high in pairwise(edges)):
            raise ValueError("kv_bucket_edges must be a non-empty ascending list of token counts")
        if not self.compute_term and (self.per_component_roofline or self.gemm_memory_floor):
            raise ValueError("per_component_roofline and gemm_memory_floor need compute_term: true")
        if isinstance(self.mfu, KernelMfuOptions) and self.mfu.style == "seconds":
            self._refuse_idle(ATTENTION_VARIANTS)
        return self

    def _refuse_idle(self, names: tuple[str, ...]) -> None:
        fields = type(self).model_fields
        idle = [name for name in names if getattr(self, name) != fields[name].default]
        if idle:
            raise ValueError(f"{', '.join(idle)}: no effect with mfu.style 'seconds'; use style 'mfu' or drop it")

    def causal_divisor_on(self, hardware_id: str) -> float:
        """Dense over causal FLOPs on one GPU."""
        return self.causal_divisor_by_gpu.get(hardware_id, self.causal_divisor)


class CalibratedPhysicsOptions(StrictModel):
    """What a GPU and a server sustain, and what they spend beside the work itself.

    Defaults are what the data sheet alone says, peak rates and no overhead; a calibration replaces them.
    Formulas: `simulator.steptime.physics`.

    Attributes
    ----------
    weight_bandwidth_efficiency
        Sustained over peak HBM bandwidth while weights are read.
    kv_bandwidth_efficiency
        Sustained over peak HBM bandwidth while the KV cache is read.
    gemm_efficiency
        Sustained over peak FLOP/s in large GEMMs.
    attention_efficiency
        Sustained over peak FLOP/s in prefill attention.
    corner_sharpness
        Exponent of the p-norm that joins memory and compute time of the GEMMs: 1 adds both, infinity takes the longer.
    wide_batch_slowdown
        Weight reads of a step of more than 16 tokens over those of a smaller one: GEMMs of FP8 weights with one scale
        per matrix change kernels there on Hopper.
    expert_bandwidth_efficiency
        Bandwidth efficiency of grouped GEMMs of routed experts, which then have a corner of their own; None: as other
        weights, in one corner with them.
    expert_gemm_efficiency
        FLOP/s efficiency of these; None: as other weights.
    expert_padding_tokens
        Tokens a grouped GEMM computes beside the real ones, per expert visited: half a tile of its kernel on average.
    layer_us
        Launches and tails of the kernels of one dense BF16 layer, us; every GPU of a tensor-parallel
        group pays it. Layers with more kernels pay in proportion (`simulator.steptime.physics`).
    host_kernel_us
        Time in which the host launches one kernel outside a CUDA graph, us: a step with prefill that is not captured is
        no faster than all its kernels are launched.
    graph_tokens
        Largest step with prefill that is captured in a CUDA graph, in tokens; decodes alone always are.
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
    corner_sharpness: AtLeastOne = GEMM_CORNER_SHARPNESS
    wide_batch_slowdown: AtLeastOne = 1.0
    expert_bandwidth_efficiency: OptionalEfficiency = None
    expert_gemm_efficiency: OptionalEfficiency = None
    expert_padding_tokens: NonNegative = 0.0
    layer_us: NonNegative = 0.0
    host_kernel_us: NonNegative = 0.0
    graph_tokens: NonNegativeInt = 0
    step_us: NonNegative = 0.0
    request_us: NonNegative = 0.0
    all_reduce_us: NonNegative = 0.0
    link_efficiency: Efficiency | None = 1.0
    lm_head: bool = True
    sampling_us_per_kilotoken: NonNegative = 0.0
    sampling_us_per_kilotoken_request: NonNegative = 0.0


class LinearOptions(StrictModel):
    """Step time linear in new tokens, with coefficients that were fitted elsewhere.

    Attributes
    ----------
    step_us
        Time of every step, us.
    prefill_us_per_token
        Time of each new token of a prompt, us.
    decode_us_per_token
        Time of each decode, us.
    """

    family: Literal["linear"]
    step_us: Finite
    prefill_us_per_token: Finite
    decode_us_per_token: Finite


AnyOptions = MfuRooflineOptions | CalibratedRooflineOptions | CalibratedPhysicsOptions | LinearOptions
StepTimeOptions = Annotated[AnyOptions, Field(discriminator="family")]

FAMILIES: dict[str, type[AnyOptions]] = {
    "mfu_roofline": MfuRooflineOptions,
    "calibrated_roofline": CalibratedRooflineOptions,
    "calibrated_physics": CalibratedPhysicsOptions,
    "linear": LinearOptions,
}


def parse_options(data: Mapping[str, object], *, source: str) -> AnyOptions:
    """Validate the options of one step-time model.

    Raises
    ------
    ConfigError
        Naming `source`, every offending key, and what is allowed.
    """
    family = data.get("family")
    if not isinstance(family, str) or family not in FAMILIES:
        raise ConfigError(f"{source}: family: unknown step-time model {family!r}; {suggest(str(family), FAMILIES)}")
    return parse(FAMILIES[family], data, source=source)


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
