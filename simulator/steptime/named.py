"""Step-time models by name: what a run is priced with where nobody spells out every option.

Contract: `named_step_time` is pure; calibrations are read by whoever calls it. A name gives the options of one family
as plain data, so that single ones can be set on top, and one sentence on what they rest on. Names:

* a calibration (`h100_vllm`): constants fitted to measured servers; the default on the GPUs it was fitted on.
* `roofline`: the MFU roofline as a server runs a model (grouped experts, links, LM head, decodes that share a step with
  a prefill), on kernel curves fitted on the H100 and what is documented about the GPU; the default on any other.
* `v2`: the MFU roofline with the formulas of the upstream program, its divisor per GPU.
* `v1`: the hand-calibrated roofline with the parameters of its calibration guide; GPUs of the guide only.
* `data_sheet`: peaks alone and no cost beside the work; no server can be faster.

Not compiled: it is called once per run, and builds validated records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.errors import ConfigError, UnsupportedError
from simulator.hardware import Hardware
from simulator.model import Model
from simulator.steptime.calibration import Calibration
from simulator.steptime.fleet import FleetCalibration, conditions_of
from simulator.steptime.options import UPSTREAM_CAUSAL_DIVISOR, upstream_options
from simulator.steptime.physics import kernels_per_layer
from simulator.validation import suggest

AnyCalibration = Calibration | FleetCalibration
AUTO = "auto"
ROOFLINE, V1, V2, DATA_SHEET = "roofline", "v1", "v2", "data_sheet"
BUILT_IN = (ROOFLINE, V1, V2, DATA_SHEET)
# In place of a source of kernels: one efficiency per phase.
CONSTANT = "constant"

# Kernels of a dense layer that the roofline's curves price: QKV, attention, O, gate-and-up, down. The others (norms,
# rotation, cache write, activation, and what experts or FP8 add) cost a launch each.
PRICED_KERNELS = 5
# us; a launch within a CUDA graph and the tail of a small kernel: the constant of the GEMM curve in
# configs/kernels/h100/analytic.yaml, the least time one of 112 timed GEMMs took beside its work.
SMALL_KERNEL_US = 3.23


@dataclass(frozen=True, slots=True)
class NamedStepTime:
    """Options of one family as plain data, and what they rest on in one sentence."""

    name: str
    options: dict[str, Any]
    basis: str


def default_name(hardware: Hardware, calibrations: Mapping[str, AnyCalibration]) -> str:
    """Return the calibration that covers a GPU, the first by name; `roofline` where none does."""
    covering = sorted(name for name, found in calibrations.items() if found.covers(hardware.id))
    return covering[0] if covering else ROOFLINE


def named_step_time(
    name: str,
    model: Model,
    hardware: Hardware,
    tensor_parallel: int,
    calibrations: Mapping[str, AnyCalibration],
    *,
    schedule_ahead: bool,
    kernels: str = "embedded",
    by_hand: Collection[str] = (),
) -> NamedStepTime:
    """Return what a name means for one model and server.

    Parameters
    ----------
    calibrations
        Those that can be named.
    schedule_ahead
        Whether the server composes the next step while one runs.
    kernels
        Source of kernel efficiencies where the model rests on them.
    by_hand
        Options that are set on top: the sentence does not speak of the name's values for them.

    Raises
    ------
    ConfigError
        If nothing has this name.
    UnsupportedError
        If it says nothing about this GPU.
    """
    if name in calibrations:
        return _calibrated(name, calibrations[name], model, hardware, tensor_parallel, schedule_ahead=schedule_ahead)
    if name == ROOFLINE:
        basis = "; ".join(_roofline_words(hardware, tensor_parallel, kernels, by_hand))
        return NamedStepTime(name, roofline(model, hardware, kernels), basis)
    if name == V2:
        return NamedStepTime(name, upstream(hardware, kernels), "formulas of the upstream program, to compare with")
    if name == V1:
        return NamedStepTime(name, guide(hardware), "hand-calibrated efficiencies of the programme's calibration guide")
    if name == DATA_SHEET:
        return NamedStepTime(name, {"family": "calibrated_physics"}, "peaks of the data sheet: no server can be faster")
    raise ConfigError(f"steptime: unknown step-time model '{name}'; {suggest(name, [AUTO, *calibrations, *BUILT_IN])}")


def roofline(model: Model, hardware: Hardware, kernels: str = "embedded") -> dict[str, Any]:
    """Return the MFU roofline as a server runs a model: what upstream's leaves out is in, what it discounts counts."""
    stated = hardware.sustained
    embedded = {"bandwidth": "stated"} if kernels == "embedded" else {"source": kernels, "lookup": "latency"}
    small_kernels = kernels_per_layer(model, hardware) - PRICED_KERNELS
    return {
        "family": "mfu_roofline",
        "bandwidth_efficiency": stated.bandwidth_efficiency.value if stated.bandwidth_efficiency else 0,
        "mfu": {"kind": "kernels", **embedded},
        "kv_split": "by_head",
        "kv_read_fraction": {"prefill": 1.0, "decode": 1.0},
        "activation_fraction": {"prefill": 1.0, "decode": 1.0},
        "lm_head": True,
        "lm_head_quantized": False,
        "fused_qkv": True,
        "experts": "grouped",
        "phase_combination": "additive",
        "tensor_parallel_gemm": "split_shape",
        "all_reduce_us": stated.all_reduce.value_us if stated.all_reduce else 0.0,
        "link_efficiency": (stated.link_efficiency.value if stated.link_efficiency else 0) or 1.0,
        "overhead": {"kind": "per_layer", "us": round(small_kernels * SMALL_KERNEL_US, 2)},
    }


def upstream(hardware: Hardware, kernels: str = "embedded") -> dict[str, Any]:
    """Return upstream's final MFU roofline, with what is documented about the GPU."""
    stated = hardware.sustained
    share = stated.bandwidth_efficiency.value if stated.bandwidth_efficiency else 0
    data = upstream_options(share or None).model_dump(mode="json", exclude_defaults=True)
    divisor = stated.causal_divisor.value if stated.causal_divisor else UPSTREAM_CAUSAL_DIVISOR
    lookup = {} if kernels == "embedded" else {"lookup": "latency"}
    mfu = {"kind": "kernels", "style": "mfu", "source": kernels, **lookup}
    return {**data, "family": "mfu_roofline", "causal_divisor": divisor, "mfu": mfu}


def guide(hardware: Hardware) -> dict[str, Any]:
    """Return the hand-calibrated roofline with the guide's parameters for one GPU.

    Raises
    ------
    UnsupportedError
        If the guide has none for it.
    """
    if hardware.sustained.v1 is None:
        raise UnsupportedError(
            f"steptime: v1: nobody calibrated its 17 parameters for {hardware.id}; state them under the key "
            "sustained.v1 of the GPU's file, or choose roofline"
        )
    return {"family": "calibrated_roofline", "variant": "v1_guide", "parameters": dict(hardware.sustained.v1)}


def _calibrated(
    name: str, found: AnyCalibration, model: Model, hardware: Hardware, tp: int, *, schedule_ahead: bool
) -> NamedStepTime:
    experts = bool(model.num_local_experts)
    kind, basis = "mixtures of experts" if experts else "dense models", f"{found.title}; {found.rests_on}"
    errors = "nobody states the error"
    if found.validated is not None:
        errors = str(found.validated.mixture_of_experts if experts else found.validated.dense)
    # Of a fleet no error of families is stated: what was held out of it are cells, of which intervals tell.
    if found.validated is not None or not isinstance(found, FleetCalibration):
        basis += f"; {kind} of families it had not seen there: {errors}"
    departures = "".join(f"; {text}" for text in found.departures(model.id, hardware.id, tp))
    if isinstance(found, FleetCalibration):
        options = found.options(conditions_of(model, hardware, schedule_ahead=schedule_ahead), model, hardware)
    else:
        options = found.step_time(schedule_ahead=schedule_ahead)
    return NamedStepTime(name, options.model_dump(mode="json", exclude_unset=True), basis + departures)


def _roofline_words(hardware: Hardware, tp: int, kernels: str, by_hand: Collection[str]) -> Iterator[str]:
    share = hardware.sustained.bandwidth_efficiency
    if kernels == CONSTANT:
        yield f"constant efficiencies on the data sheet of {hardware.id}"
    elif kernels == "embedded":
        yield f"kernel curves of the H100 on the data sheet of {hardware.id}"
    else:
        yield f"kernels {kernels}"
    if kernels == "embedded" and "bandwidth_efficiency" not in by_hand:
        if share is None or not share.value:
            yield "no bandwidth efficiency is stated, so memory runs at its peak"
        else:
            yield f"{share.value:.0%} of its bandwidth (it may be {share.low:.0%} to {share.high:.0%})"
    yield f"not validated against a measured server on {hardware.id}"
    if tp > 1:
        yield f"dividing prefill by TP {tp} is optimistic, as no prefill was timed under tensor parallelism"
