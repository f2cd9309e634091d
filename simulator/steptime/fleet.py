"""A calibration of several GPUs, precisions and versions of software: constants, and by what factor they differ where.

Contract: `configs/calibration/<name>.yaml` with a key `effects`. A constant starts at what holds everywhere (a base),
and every effect whose conditions (`Where`) hold on a server multiplies it: what nobody measured there is borrowed from
where it was. `Conditions` says of one server what effects may ask; `FleetCalibration.options` gives the step times.

Efficiencies stay below 1, whatever factors meet. Rates of grouped GEMMs are shares of the 16-bit peak, because their
kernels are bound by what they do beside multiplying; they become shares of the units that multiply here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from simulator.hardware import Hardware
from simulator.model import Model
from simulator.steptime.calibration import Interval, Text, TrainedOn, Validated
from simulator.steptime.gemm import gemm_peak, gemm_unit
from simulator.steptime.options import CalibratedPhysicsOptions
from simulator.validation import Finite, NonNegative, Positive, StrictModel, config_error, parse, read_yaml

# How weights reach the units that multiply them: as they are; FP8 with one scale per matrix or per block; fewer bits
# than are multiplied; 4-bit floats multiplied as such.
WeightKind = Literal["16_bit", "fp8_matrix", "fp8_block", "widened", "fp4"]
# The key by which a file of a fleet is told from one of a single GPU.
EFFECTS = "effects"
EXPERT_RATE = "expert_gemm_of_16_bit_peak"
HOST_STEP, CLIENT_REQUEST, CLIENT_TOKEN = "host_step_us", "client_request_us", "client_us_per_prompt_token"
# Steps with prefill up to this size are captured where nothing is stated: largest default of vLLM's capture sizes.
GRAPH_TOKENS = 512
# vLLM's word for graphs of decode steps alone: those with prefill are launched kernel by kernel.
DECODE_GRAPHS_ONLY = "full_decode_only"
# Constants that are shares of a peak.
SHARES = frozenset(
    {
        *("weight_bandwidth_efficiency", "kv_bandwidth_efficiency", "gemm_efficiency", "attention_efficiency"),
        *("expert_bandwidth_efficiency", EXPERT_RATE, "link_efficiency"),
    }
)
# How closely a share approaches 1: p-norm that keeps a search smooth; 0.9 becomes 0.897, 0.8 stays.
CAP_SHARPNESS = 24.0
COSTS = frozenset(
    {
        *("layer_us", "host_kernel_us", "step_us", HOST_STEP, "request_us", "all_reduce_us"),
        *("sampling_us_per_kilotoken", "sampling_us_per_kilotoken_request", CLIENT_REQUEST, CLIENT_TOKEN),
    }
)
OTHERS = frozenset({"wide_batch_slowdown", "expert_padding_tokens"})
ConstantName = Annotated[Text, Field(pattern=f"^({'|'.join(sorted(SHARES | COSTS | OTHERS))})$")]


class Where(StrictModel):
    """Conditions of an effect; all that are given must hold.

    Attributes
    ----------
    gpus, sites
        Names, one of which it must be.
    weights
        How the model's weights are stored and multiplied.
    kv_cache_bytes
        Bytes of one value of the KV cache.
    latent
        Whether attention is multi-head latent attention.
    since
        Oldest version of vLLM, such as `0.14`; a server of unknown version is a new one.
    decode_graphs_only
        Whether steps with prefill are captured in CUDA graphs at no size.
    """

    gpus: tuple[Text, ...] = ()
    sites: tuple[Text, ...] = ()
    weights: tuple[WeightKind, ...] = ()
    kv_cache_bytes: int | None = None
    latent: bool | None = None
    since: Annotated[Text, Field(pattern=r"^\d+\.\d+$")] | None = None
    decode_graphs_only: bool | None = None

    def holds(self, on: Conditions) -> bool:
        """Say whether an effect acts on a server."""
        if (self.gpus and on.gpu not in self.gpus) or (self.sites and on.site not in self.sites):
            return False
        if self.weights and on.weights not in self.weights:
            return False
        if self.since is not None and on.software is not None and on.software < _version(self.since):
            return False
        stated = {name: getattr(self, name) for name in ("kv_cache_bytes", "latent", "decode_graphs_only")}
        return all(value is None or value == getattr(on, name) for name, value in stated.items())

    def __str__(self) -> str:
        """Name it in one word, as parts of an effect's name."""
        given = self.model_dump(exclude_defaults=True)
        listed = {key: "+".join(map(str, value)) if isinstance(value, tuple) else value for key, value in given.items()}
        return ",".join(f"{key}={value}" for key, value in listed.items())


@dataclass(frozen=True, slots=True)
class Conditions:
    """What effects may ask of a server.

    Attributes
    ----------
    software
        Version of vLLM; None where nobody knows.
    graph_tokens
        Largest step with prefill that is captured in a CUDA graph.
    site
        Where it was measured and with which client; None where it was not.
    """

    gpu: str
    weights: WeightKind
    kv_cache_bytes: int
    latent: bool
    schedule_ahead: bool
    software: tuple[int, int] | None = None
    graph_tokens: int = GRAPH_TOKENS
    decode_graphs_only: bool = False
    site: str | None = None


def conditions_of(
    model: Model,
    hardware: Hardware,
    *,
    schedule_ahead: bool,
    software: tuple[int, int] | None = None,
    graph_mode: str | None = None,
    graph_tokens: int | None = None,
    site: str | None = None,
) -> Conditions:
    """Return what effects may ask of a server that runs `model` as its KV cache is kept there."""
    decode_only = (graph_mode or "").lower() == DECODE_GRAPHS_ONLY
    return Conditions(
        gpu=hardware.id,
        weights=weight_kind(model, hardware),
        kv_cache_bytes=model.kv_value_bytes,
        latent=model.latent,
        schedule_ahead=schedule_ahead,
        software=software,
        graph_tokens=0 if decode_only else (graph_tokens or GRAPH_TOKENS),
        decode_graphs_only=decode_only,
        site=site,
    )


def weight_kind(model: Model, hardware: Hardware) -> WeightKind:
    """Return how a GPU stores and multiplies the weights of a model."""
    if model.quantization in (None, "int8"):
        return "16_bit"
    if model.quantization == "fp8":
        return "fp8_block" if model.quantized_block else "fp8_matrix"
    return "widened" if gemm_unit(model, hardware) == "bf16" else "fp4"


class Effect(StrictModel):
    """One fitted number: a constant that holds everywhere, or the factor on it under conditions.

    Attributes
    ----------
    where
        None: the value everywhere.
    start, spread
        Where the fit began, and how far that is trusted: standard deviation of its logarithm.
    start_source
        What the start rests on; nothing of it is taken from what is fitted to.
    """

    constant: ConstantName
    where: Where | None = None
    value: Positive
    interval_90_pct: Interval
    unit: Text
    start: Positive
    spread: NonNegative
    start_source: Text

    @property
    def name(self) -> str:
        """Constant and conditions, unique within a calibration."""
        return self.constant if self.where is None else f"{self.constant}@{self.where}"


class FleetCalibration(StrictModel):
    """The content of `configs/calibration/<name>.yaml`.

    Attributes
    ----------
    held_out
        Cell (`model/GPU/precision`) -> values of the fit without it, by name of effect.
    """

    name: Text
    title: Text
    loss: Text
    trained_on: TrainedOn
    effects: tuple[Effect, ...]
    held_out: dict[Text, dict[Text, Finite]] = Field(default={})
    validated: Validated | None = None

    @property
    def values(self) -> dict[str, float]:
        """The fitted numbers by name of effect."""
        return {effect.name: effect.value for effect in self.effects}

    @property
    def rests_on(self) -> str:
        """What the constants were fitted to, in words."""
        points, gpus = f"{self.trained_on.load_points} load points", ", ".join(self.trained_on.hardware)
        return f"fitted to {points} of {len(self.trained_on.models)} models on {gpus}"

    def covers(self, hardware_id: str) -> bool:
        """Say whether constants were fitted on a GPU."""
        return hardware_id in self.trained_on.hardware

    def departures(self, model_id: str, hardware_id: str, tensor_parallel: int) -> Iterator[str]:
        """Yield where a run leaves what the constants rest on."""
        trained = self.trained_on
        if not self.covers(hardware_id):
            yield f"{hardware_id} was not calibrated on: constants are borrowed from {', '.join(trained.hardware)}"
        if trained.tensor_parallel and tensor_parallel not in trained.tensor_parallel:
            known = ", ".join(map(str, trained.tensor_parallel))
            yield f"TP {tensor_parallel} was not calibrated on ({known} were)"
        if model_id not in trained.models:
            yield f"{model_id} is none of the {len(trained.models)} models fitted to"

    def options(
        self, on: Conditions, model: Model, hardware: Hardware, values: Mapping[str, float] | None = None
    ) -> CalibratedPhysicsOptions:
        """Return the step-time model on a server, by these values or by those of another fit of the same effects."""
        return fleet_options(self.constants(on, values), on, model, hardware)

    def constants(self, on: Conditions, values: Mapping[str, float] | None = None) -> dict[str, float]:
        """Return every constant as it is on a server."""
        return constants_on(on, ((e.constant, e.where, (values or self.values)[e.name]) for e in self.effects))


def constants_on(on: Conditions, effects: Iterable[tuple[str, Where | None, float]]) -> dict[str, float]:
    """Multiply the effects that act on a server, constant by constant; shares of a peak stay below 1."""
    found: dict[str, float] = {}
    for constant, where, value in effects:
        if where is None or where.holds(on):
            found[constant] = found.get(constant, 1.0) * value
    return {name: below_one(value) if name in SHARES else value for name, value in found.items()}


def below_one(share: float) -> float:
    """Return a share of a peak that no product of factors lifts above 1; far below 1 it stays what it is."""
    return share * (1.0 + share**CAP_SHARPNESS) ** (-1.0 / CAP_SHARPNESS)


def fleet_options(
    constants: Mapping[str, float], on: Conditions, model: Model, hardware: Hardware
) -> CalibratedPhysicsOptions:
    """Return the options that constants on a server mean for a model."""
    own = {name: value for name, value in constants.items() if name in CalibratedPhysicsOptions.model_fields}
    step_us = constants.get("step_us", 0.0) + (0.0 if on.schedule_ahead else constants.get(HOST_STEP, 0.0))
    if EXPERT_RATE in constants:
        share = constants[EXPERT_RATE] * hardware.peak_flops / gemm_peak(model, hardware)
        own["expert_gemm_efficiency"] = min(share, 1.0)
    slowdown = max(own.pop("wide_batch_slowdown", 1.0), 1.0)
    return CalibratedPhysicsOptions(
        family="calibrated_physics",
        **{**own, "step_us": step_us, "wide_batch_slowdown": slowdown, "graph_tokens": on.graph_tokens},
    )


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def is_fleet(path: Path) -> bool:
    """Say whether a file is a calibration of a fleet; what cannot be read is left to whoever reads it."""
    content = read_yaml(path)
    return isinstance(content, Mapping) and EFFECTS in content


def load_fleet(path: Path) -> FleetCalibration:
    """Read one fleet calibration.

    Raises
    ------
    ConfigError
        Naming file and every wrong key; an effect given twice, or values of a left-out cell that are not those of the
        effects, are some.
    """
    found = parse(FleetCalibration, read_yaml(path), source=str(path))
    names = [effect.name for effect in found.effects]
    problems = [
        f"effects: {name} is given twice; keep one" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    for cell, values in sorted(found.held_out.items()):
        problems += [f"held_out.{cell}.{name}: missing; it is required" for name in names if name not in values]
        problems += [f"held_out.{cell}.{name}: no effect has this name" for name in values if name not in names]
    if problems:
        raise config_error(str(path), problems)
    return found
