"""Residuals from what a run knows: a model, a GPU, occupancy, and means beside their measurements.

Contract: pure. `residual_of` fills a `Residual`; `priced_by` says what the options of a step-time model already
spend on each candidate term, in its unit, so that no suggestion takes away what is not there.
"""

from __future__ import annotations

from collections.abc import Mapping

from roofline_lab.residuals.record import Figure, Residual
from simulator.hardware import Hardware
from simulator.model import Model
from simulator.occupancy import Occupancy
from simulator.steptime.options import (
    ByPhaseOverhead,
    CalibratedPhysicsOptions,
    ConstantMfuOptions,
    FixedOverhead,
    MfuRooflineOptions,
    OverheadOptions,
    PerLayerOverhead,
    PerLayerOverTpOverhead,
    PerPhaseOverhead,
    StepTimeOptions,
)
from simulator.steptime.physics import DENSE_KERNELS, kernels_per_layer
from simulator.steptime.traffic import Weights, gemm_flops_per_token

US_PER_MS = 1000.0
NO_FIGURE = Figure(None, None, "not part of this comparison")


def residual_of(
    *,
    experiment: str,
    load_point: str,
    family: str,
    model: Model,
    hardware: Hardware,
    tensor_parallel: int,
    occupancy: Occupancy | None,
    figures: Mapping[str, Figure],
    rate_per_s: float | None = None,
    mixed_share: float | None = None,
    prefill_steps: float | None = None,
    priced: Mapping[str, float] | None = None,
) -> Residual:
    """Return the residual of one load point under one arm.

    Parameters
    ----------
    occupancy
        Of the completed requests that count (`simulator.occupancy`); None where nothing completed.
    figures
        By metric name (`ttft`, `itl`, `e2e`); a metric that is not given is not part of the comparison.
    prefill_steps
        Steps per prompt; taken as 1 below that, and where not known.
    priced
        See `priced_by`.
    """
    seen = occupancy
    batch = seen.decode_requests if seen else None
    return Residual(
        experiment=experiment,
        load_point=load_point,
        family=family,
        model=model.id,
        hardware=hardware.id,
        tensor_parallel=tensor_parallel,
        layers=model.num_hidden_layers,
        hidden_size=model.hidden_size,
        vocab_size=model.vocab_size,
        activation_bytes=model.activation_bytes,
        layer_weight_bytes=Weights(model, parallel=tensor_parallel).bytes(max(1, round(batch or 1))) / tensor_parallel,
        head_weight_bytes=model.hidden_size * model.vocab_size * model.activation_bytes / tensor_parallel,
        kv_bytes_per_token=model.kv_bytes_per_token / tensor_parallel,
        flops_per_token=gemm_flops_per_token(model, tp=tensor_parallel) / tensor_parallel,
        routed=bool(model.num_local_experts),
        peak_bandwidth=hardware.peak_bandwidth,
        peak_flops=hardware.peak_flops,
        link_bandwidth=hardware.link_bandwidth,
        prompt_tokens=seen.prompt_tokens if seen else None,
        computed_tokens=seen.computed_tokens if seen else None,
        output_tokens=seen.output_tokens if seen else None,
        batch=batch,
        kv_tokens=seen.decode_kv_tokens if seen else None,
        prefills_per_gap=seen.prefills_per_gap if seen else None,
        prefill_tokens_per_gap=seen.prefill_tokens_per_gap if seen else None,
        decodes_beside_prefill=seen.decodes_beside_prefill if seen else None,
        prefill_steps=max(prefill_steps or 1.0, 1.0),
        mixed_share=mixed_share,
        queue_ms=seen.queue_us / US_PER_MS if seen else None,
        rate_per_s=rate_per_s,
        ttft=figures.get("ttft", NO_FIGURE),
        itl=figures.get("itl", NO_FIGURE),
        e2e=figures.get("e2e", NO_FIGURE),
        priced={"queue": 1.0, **(priced or {})},
    )


def priced_by(options: StepTimeOptions, model: Model) -> dict[str, float]:
    """Return what a step-time model already spends on each candidate, in the candidate's unit.

    Candidates whose share the options do not tell (kernel tables, fitted lines) are left out.
    """
    if isinstance(options, MfuRooflineOptions):
        return _priced_by_roofline(options)
    if isinstance(options, CalibratedPhysicsOptions):
        return _priced_by_physics(options, model)
    return {}


def _priced_by_roofline(options: MfuRooflineOptions) -> dict[str, float]:
    found = {"all_reduce": options.all_reduce_us, **_priced_by_overhead(options.overhead)}
    if not options.lm_head:
        found["lm_head"] = 0.0
    if not options.compute_term:
        found["prefill_flops"] = 0.0
    if options.compute_term and not isinstance(options.mfu, ConstantMfuOptions):
        # Kernels that know their own time may read weights slower than the bandwidth says.
        return found
    decode = options.decode_bandwidth_efficiency or options.bandwidth_efficiency or 1.0
    found["weights"] = 1.0 / decode
    if options.lm_head:
        found["lm_head"] = 1.0 / decode
    if options.kv_bandwidth_growth is None:
        found["kv_bytes"] = options.kv_read_fraction.decode / (options.kv_bandwidth_efficiency or decode)
    if options.compute_term and isinstance(options.mfu, ConstantMfuOptions):
        found["prefill_flops"] = 1.0 / options.mfu.prefill
    return found


def _priced_by_overhead(options: OverheadOptions) -> dict[str, float]:
    """Return the overhead as the term it is; one that grows with the batch spends at least this."""
    match options:
        case FixedOverhead(us=us):
            return {"step": us}
        case PerLayerOverhead(us=us):
            return {"layer": us}
        case PerLayerOverTpOverhead(us=us):
            return {"layer_over_tp": us}
        case PerPhaseOverhead(step_us=us, times=times) | ByPhaseOverhead(decode_us=us, times=times):
            return {{"one": "step", "layers": "layer", "layers_over_tp": "layer_over_tp"}[times]: us}
        case _:
            return {}


def _priced_by_physics(options: CalibratedPhysicsOptions, model: Model) -> dict[str, float]:
    truncates = model.generation_config is not None and model.generation_config.truncates
    return {
        "weights": 1.0 / options.weight_bandwidth_efficiency,
        "lm_head": 1.0 / options.weight_bandwidth_efficiency,
        "kv_bytes": 1.0 / options.kv_bandwidth_efficiency,
        "prefill_flops": 1.0 / options.gemm_efficiency,
        "layer": options.layer_us * kernels_per_layer(model) / DENSE_KERNELS,
        "step": options.step_us,
        "request_in_step": options.request_us,
        "all_reduce": options.all_reduce_us,
        "all_reduce_bytes": 1.0 / options.link_efficiency,
        "vocabulary": options.sampling_us_per_kilotoken if truncates else 0.0,
        "vocabulary_request": options.sampling_us_per_kilotoken_request if truncates else 0.0,
    }
