"""The step-time model of each family of options, put together from its parts; see `build_step_time`."""

from __future__ import annotations

from simulator.errors import ConfigError, UnsupportedError
from simulator.hardware import Hardware
from simulator.kernels.analytic import AnalyticKernels
from simulator.kernels.base import AttentionMatch, ConstantMfu, Kernels
from simulator.model import Model
from simulator.parallelism import Parallelism, sharding_problems
from simulator.quantization import EIGHT_BIT_UNITS
from simulator.steptime.attention import attention_window, build_attention
from simulator.steptime.gemm import PhaseGemm, gemm_peak, widening
from simulator.steptime.linear import Linear
from simulator.steptime.options import (
    AnyOptions,
    CalibratedPhysicsOptions,
    ConstantMfuOptions,
    KernelMfuOptions,
    MfuRooflineOptions,
)
from simulator.steptime.overhead import build_overhead, collectives_of, collectives_us
from simulator.steptime.physics import CalibratedPhysics
from simulator.steptime.roofline import MfuRoofline, RooflineParts
from simulator.steptime.traffic import (
    DynamicTraffic,
    Weights,
    WorkCount,
    attention_shape,
    kv_bandwidth,
    phase_memory,
    prefill_shape,
    weight_bandwidths,
)
from simulator.steptime.v1 import CalibratedRoofline
from simulator.steptime.v1_parameters import CalibratedRooflineOptions, parameter_warnings
from simulator.steptime.window import not_windowed


def bind(
    options: AnyOptions, model: Model, hardware: Hardware, parallel: Parallelism, kernels: Kernels | None
) -> MfuRoofline | CalibratedRoofline | CalibratedPhysics | Linear:
    """Do what `build_step_time` says."""
    sharding = (f"{model.id}: {problem}" for problem in sharding_problems(model, parallel.tensor_parallel))
    warnings = (*model.warnings, *sharding, *widening(model, hardware))
    if isinstance(options, CalibratedPhysicsOptions):
        return CalibratedPhysics(options, model, hardware, parallel, warnings)
    warnings = (*warnings, *_kept_layers(model))
    if isinstance(options, MfuRooflineOptions):
        if attention_window(options, model) is None:
            warnings = (*warnings, *not_windowed(model))
        return _mfu_roofline(options, model, hardware, parallel, kernels, warnings)
    if isinstance(options, CalibratedRooflineOptions):
        warnings = (*warnings, *not_windowed(model), *parameter_warnings(options, hardware))
        warnings = (*warnings, *_one_rate(options, model, hardware))
        return CalibratedRoofline(options, model, hardware, parallel, warnings)
    return Linear(options, model, hardware, parallel, warnings)


def _kept_layers(model: Model) -> tuple[str, ...]:
    """Say that layers which stay in 16 bits are too fast where a family has one rate for all matrices."""
    kept = max(model.unquantized_attention_layers, model.unquantized_feed_forward_layers)
    if not kept or model.quantization not in EIGHT_BIT_UNITS:
        return ()
    return (f"{model.id}: parts of {kept} layers stay in 16 bits; they are read so, but multiplied at the 8-bit rate",)


def _one_rate(options: CalibratedRooflineOptions, model: Model, hardware: Hardware) -> tuple[str, ...]:
    """Say that the one peak of a hand calibration is that of 16 bits where weights are multiplied in eight."""
    peak = options.parameters.tflops_peak
    if model.quantization not in EIGHT_BIT_UNITS or peak > hardware.dense_bf16_tflops.value:
        return ()
    return (f"{model.id}: 8-bit weights are read so, but multiplied at TFlopsPeak {peak:g}, the rate of 16 bits",)


def _mfu_roofline(
    options: MfuRooflineOptions,
    model: Model,
    hardware: Hardware,
    parallel: Parallelism,
    kernels: Kernels | None,
    warnings: tuple[str, ...],
) -> MfuRoofline:
    tp = parallel.tensor_parallel
    _require_spread_prices(options, model, parallel)
    chosen = _kernels(options, hardware, kernels)
    prefill_bandwidth, decode_bandwidth = weight_bandwidths(options, hardware)
    kv = kv_bandwidth(options, hardware)
    if model.latent:
        _require_latent_prices(options, model, chosen, tp)
    weights = Weights(model, lm_head=options.lm_head, parallel=parallel)
    holders = tp if options.kv_split == "by_head" or model.latent else 1
    window = attention_window(options, model)
    traffic = DynamicTraffic(model, options.kv_read_fraction, options.activation_fraction, holders, window)
    bound, in_prefill = [chosen.attention(shape, tp) for shape in (attention_shape(model), prefill_shape(model))]
    return MfuRoofline(
        RooflineParts(
            options=options,
            parallel=parallel,
            layers=model.num_hidden_layers,
            weights=weights,
            traffic=traffic,
            prefill_memory=phase_memory(prefill_bandwidth, kv, tp),
            decode_memory=phase_memory(decode_bandwidth, kv, tp),
            prefill_gemm=PhaseGemm(options, model, hardware, parallel, chosen, "prefill", prefill_bandwidth),
            decode_gemm=PhaseGemm(options, model, hardware, parallel, chosen, "decode", decode_bandwidth),
            attention=build_attention(options, model, hardware, tp, bound, in_prefill),
            overhead=build_overhead(options.overhead, model.num_hidden_layers, tp),
            collective_count=collectives_of(model, parallel),
            collectives=collectives_us(options.all_reduce_us, options.link_efficiency, model, hardware, parallel),
            work=WorkCount(model, parallel, weights, traffic, lm_head=options.lm_head, window=window),
            window=window,
            peak_flops=gemm_peak(model, hardware),
            peak_bandwidth=hardware.peak_bandwidth,
            kernels_name=chosen.name,
            warnings=(*warnings, *_substitutions(bound.match)),
        )
    )


def _require_spread_prices(options: MfuRooflineOptions, model: Model, parallel: Parallelism) -> None:
    """Refuse experts that are not cut into as many slices as the rest where an option knows only that.

    Raises
    ------
    UnsupportedError
        Naming the options that can price it.
    """
    apart = options.phase_combination != "additive" or options.prefill_gemm == "per_bucket"
    undivided = options.compute_term and options.tensor_parallel_gemm != "split_shape"
    needed = ["tensor_parallel_gemm: split_shape"] if undivided else []
    if parallel.attention_data_parallel > 1 and apart:
        needed.append("phase_combination: additive, without prefill_gemm: per_bucket")
    if needed and (parallel.attention_data_parallel > 1 or parallel.expert_parallel):
        raise UnsupportedError(f"model {model.id} spread as in {parallel} needs {' and '.join(needed)}")


def _require_latent_prices(options: MfuRooflineOptions, model: Model, kernels: Kernels, tp: int) -> None:
    """Refuse latent attention where kernels know only heads with keys and values of their own.

    Raises
    ------
    UnsupportedError
        Naming the options that can price it.
    """
    by_length = isinstance(options.mfu, KernelMfuOptions) and options.mfu.style == "mfu"
    tables = not isinstance(kernels, AnalyticKernels | ConstantMfu)
    undivided = tp > 1 and options.tensor_parallel_gemm != "split_shape"
    if options.compute_term and (by_length or tables or undivided):
        raise UnsupportedError(
            f"model {model.id} has multi-head latent attention, which needs fitted curves in seconds (mfu.source: "
            "embedded, mfu.style: seconds) or constant efficiencies, and tensor_parallel_gemm: split_shape"
        )


def _kernels(options: MfuRooflineOptions, hardware: Hardware, kernels: Kernels | None) -> Kernels:
    if isinstance(options.mfu, ConstantMfuOptions) or not options.compute_term:
        constants = options.mfu if isinstance(options.mfu, ConstantMfuOptions) else ConstantMfuOptions()
        return ConstantMfu(
            constants.prefill,
            constants.decode,
            hardware.peak_flops,
            hardware.peak_fp8_flops or hardware.peak_flops,
        )
    if kernels is None:
        raise ConfigError(
            "mfu: kind 'kernels' needs kernel tables or fitted kernels, and none were given; "
            "name them, or use kind 'constant'"
        )
    return kernels


def _substitutions(match: AttentionMatch) -> tuple[str, ...]:
    found = []
    if match.asked_shape != match.used_shape:
        distance = f"{match.shape_distance:g}"
        found.append(f"attention {match.asked_shape} has no table; {match.used_shape} answers (distance {distance})")
    if match.asked_tp != match.used_tp:
        found.append(f"attention at TP {match.asked_tp} has no table; TP {match.used_tp} answers")
    return tuple(found)
