"""From what a run says about its step time to a model bound to it, and what that rests on.

Contract: `choose_step_time` is the one place where a default is chosen. Options are a name, a name with single options
on top, or a whole record (`family`); one that the chosen model has not, or would ignore, is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from simulator.cli.catalog import find_curves, find_tables
from simulator.cli.idle import idle_options
from simulator.cli.run_spec import RunSpec
from simulator.errors import ConfigError, UnsupportedError
from simulator.hardware import Hardware
from simulator.kernels.base import Kernels
from simulator.model import Model
from simulator.steptime.build import BuiltStepTime, build_step_time
from simulator.steptime.calibration import load_calibration
from simulator.steptime.fleet import is_fleet, load_fleet
from simulator.steptime.kernel_choice import choose_kernels
from simulator.steptime.named import (
    AUTO,
    CONSTANT,
    ROOFLINE,
    AnyCalibration,
    NamedStepTime,
    default_name,
    named_step_time,
)
from simulator.steptime.options import (
    FAMILIES,
    AnyOptions,
    ConstantMfuOptions,
    KernelMfuOptions,
    MfuRooflineOptions,
    parse_options,
)
from simulator.steptime.traffic import attention_shape
from simulator.trust.intervals import FOLDER as INTERVALS
from simulator.trust.intervals import IntervalTable, NoBand, load_intervals
from simulator.validation import config_error

CUSTOM = "custom"
# Keys of a `steptime` mapping that choose what the others are options of.
CHOOSING = ("base", "family")


@dataclass(frozen=True, slots=True)
class ChosenStepTime:
    """A bound step-time model, its name, what it rests on, the name of its kernels, notes, and which tables answer.

    Attributes
    ----------
    tested
        Intervals from measurements that were held out of it, or why there are none.
    """

    model: BuiltStepTime
    name: str
    family: str
    basis: str
    kernels: str
    notes: tuple[str, ...]
    tables: str
    tested: IntervalTable | NoBand


def choose_step_time(spec: RunSpec, model: Model, hardware: Hardware, configs: Path) -> ChosenStepTime:
    """Return the step-time model of one run.

    Raises
    ------
    RooflineLabError
        If an option is unknown, wrong, contradictory or without effect, or lies outside what is modelled.
    """
    named, given = _named(spec, model, hardware, configs)
    options = _parsed(named, given)
    idle = idle_options(options, given, hardware.id)
    if idle:
        raise config_error(f"steptime ({named.name})", idle)
    kernels, notes = _kernels(spec, options, hardware, configs)
    bound = build_step_time(options, model, hardware, spec.parallelism, kernels)
    name = kernels.name if kernels else _without_kernels(options)
    tables = "" if spec.tables is None else _contents(kernels, model, spec.tensor_parallel)
    tested = _tested(spec, named.name, given, configs)
    return ChosenStepTime(bound, named.name, options.family, named.basis, name, notes, tables, tested)


def _tested(spec: RunSpec, name: str, given: Mapping[str, Any], configs: Path) -> IntervalTable | NoBand:
    """Return the intervals beside the calibration that a name means, or why there are none."""
    if given:
        return NoBand(f"{name} with options set by hand ({', '.join(sorted(given))}) was tested by nobody")
    stated = spec.steptime if isinstance(spec.steptime, str) else spec.steptime.get("base", AUTO)
    folder, known = configs / "calibration", calibrations(configs)
    calibration = Path(stated) if stated not in known and Path(stated).is_file() else folder / f"{name}.yaml"
    if not calibration.is_file():
        allowed = ", ".join(known) or "none is known"
        return NoBand(
            f"{name} was tested on no measurement that was held out; calibrations were ({allowed}): "
            "choose one with --steptime"
        )
    table = calibration.parent / INTERVALS / calibration.name
    if not table.is_file():
        return NoBand(f"no {INTERVALS}/{calibration.name} lies beside it; `snakemake trust` writes it for calibrations")
    return _intervals(table)


def _contents(kernels: Kernels | None, model: Model, tensor_parallel: int) -> str:
    from simulator.kernels.measured import MeasuredKernels  # most runs use the fitted curves alone

    assert isinstance(kernels, MeasuredKernels), "tables are refused where nothing would use them"
    return kernels.contents(attention_shape(model), tensor_parallel)


def _named(spec: RunSpec, model: Model, hardware: Hardware, configs: Path) -> tuple[NamedStepTime, dict[str, Any]]:
    """Return what is meant by name, and the options given on top of it."""
    stated = {"base": spec.steptime} if isinstance(spec.steptime, str) else spec.steptime
    if "family" in stated:
        if "base" in stated:
            raise ConfigError("steptime: base and family exclude each other: a name, or options from the ground up")
        return NamedStepTime(CUSTOM, dict(stated), _custom_basis(stated)), dict(stated)
    given = {key: value for key, value in stated.items() if key not in CHOOSING}
    known = calibrations(configs)
    name = stated.get("base", AUTO)
    if not isinstance(name, str):
        raise ConfigError(f"steptime.base: must be a name, got {name!r}")
    if name not in known and Path(name).is_file():
        own = _calibration(Path(name))
        known, name = {**known, own.name: own}, own.name
    chosen = _by_default(given, hardware, known) if name == AUTO else name
    found = named_step_time(
        chosen,
        model,
        hardware,
        spec.tensor_parallel,
        known,
        schedule_ahead=spec.engine.schedule_ahead,
        kernels=_kernel_source(given),
        by_hand=given.keys(),
    )
    by_hand = f"; set by hand: {', '.join(sorted(given))}" if given else ""
    return NamedStepTime(found.name, overlaid(found.options, given), found.basis + by_hand), given


def _custom_basis(stated: Mapping[str, Any]) -> str:
    alone = "; model, GPU, tensor parallelism and KV cache do not enter" if stated["family"] == "linear" else ""
    return f"the options given, judged by nobody{alone}"


def _by_default(given: Mapping[str, Any], hardware: Hardware, known: Mapping[str, AnyCalibration]) -> str:
    """Return the default of a GPU, or the roofline where only that has the options given."""
    name = default_name(hardware, known)
    if name != ROOFLINE and not given.keys() <= FAMILIES["calibrated_physics"].model_fields.keys():
        return ROOFLINE if given.keys() <= MfuRooflineOptions.model_fields.keys() else name
    return name


def _kernel_source(given: Mapping[str, Any]) -> str:
    mfu = given.get("mfu")
    if isinstance(mfu, Mapping) and mfu.get("kind") == CONSTANT:
        return CONSTANT
    source = mfu.get("source", "embedded") if isinstance(mfu, Mapping) else "embedded"
    return source if isinstance(source, str) else "embedded"


def overlaid(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `given` on top; a record of another kind replaces one, of the same kind it is changed."""
    merged = dict(base)
    for key, value in given.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        same_kind = both and value.get("kind", old.get("kind")) == old.get("kind")
        merged[key] = overlaid(old, value) if same_kind else value
    return merged


def _parsed(named: NamedStepTime, given: Mapping[str, Any]) -> AnyOptions:
    """Validate; an option that the model of a name does not have says which one has it."""
    try:
        return parse_options(named.options, source=f"steptime ({named.name})")
    except ConfigError as error:
        elsewhere = [name for name in given if named.name != CUSTOM and _of_roofline_alone(name, named)]
        if not elsewhere:
            raise
        listed = ", ".join(elsewhere)
        raise ConfigError(f"{error}\n{listed}: of the MFU roofline; choose it with --steptime {ROOFLINE}") from None


def _of_roofline_alone(option: str, named: NamedStepTime) -> bool:
    """Say whether the MFU roofline has an option that the model of a name has not."""
    return option in MfuRooflineOptions.model_fields and option not in FAMILIES[named.options["family"]].model_fields


def calibrations(configs: Path) -> Mapping[str, AnyCalibration]:
    """Return the calibrations of a folder by name."""
    return {path.stem: _calibration(path) for path in sorted((configs / "calibration").glob("*.yaml"))}


# Read once by a command that simulates many runs.
@cache
def _calibration(path: Path) -> AnyCalibration:
    return load_fleet(path) if is_fleet(path) else load_calibration(path)


@cache
def _intervals(path: Path) -> IntervalTable:
    return load_intervals(path)


def _kernels(
    spec: RunSpec, options: AnyOptions, hardware: Hardware, configs: Path
) -> tuple[Kernels | None, tuple[str, ...]]:
    """Return the kernels that the options name, and notes about them."""
    mfu = options.mfu if isinstance(options, MfuRooflineOptions) and options.compute_term else None
    source = mfu.source if isinstance(mfu, KernelMfuOptions) else None
    if spec.tables is not None and source != "measured":
        raise ConfigError("tables: have no effect; set steptime.mfu to {kind: kernels, source: measured}, or drop them")
    tables = None if spec.tables is None else find_tables(spec.tables.folder, spec.tables.gpu)
    notes: tuple[str, ...] = ()
    if tables is not None and not hardware.id.lower().startswith(tables.gpu.lower()):
        if isinstance(mfu, KernelMfuOptions) and mfu.style == "seconds":
            raise UnsupportedError(
                f"kernel tables hold seconds of {tables.gpu}, the run is on {hardware.id}: its kernels take other "
                "times; give tables of that GPU, or keep their efficiencies alone with --set steptime.mfu.style=mfu"
            )
        notes = (f"kernel tables are of {tables.gpu}, the run is on {hardware.id}: their efficiencies on its peaks",)
    curves = find_curves(hardware, configs) if source in ("embedded", "tabulated") else None
    return choose_kernels(options, hardware, embedded=curves, tables=tables), notes


def _without_kernels(options: AnyOptions) -> str:
    if not isinstance(options, MfuRooflineOptions):
        return f"none ({options.family})"
    if not options.compute_term or not isinstance(options.mfu, ConstantMfuOptions):
        return "none (memory traffic alone)"
    return f"constant MFU (prefill {options.mfu.prefill:g}, decode {options.mfu.decode:g})"
