"""Predictors by name: what `--steptime` and `--against` may name, and the sets of options in `configs/replay.yaml`.

Contract: `load_predictor` reads one of

* a calibration: its name in `configs/calibration`, or the path of its file;
* a step-time model by its name on the simulator's command line: `roofline`, `v2`, `v1`, `data_sheet`;
* the path of a YAML file with options of any step-time model (key `family`), and of the engine under `engine`;
* an arm of a hypothesis, `HYPOTHESIS:ARM`, resolved by the method that repeats load points as measured;

`load_option_sets` resolves the sets of options that recorded traces are replayed with: an arm under a method, of which
it takes the step times alone, or a calibration. Both raise one `ConfigError` that says what is wrong and what is
allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from roofline_lab.calibration.plan import FOLDER
from roofline_lab.calibration.record import load_calibration
from roofline_lab.config import Arrivals, Method, load_methods
from roofline_lab.files import digest_of, digest_of_files
from roofline_lab.ground_truth.catalog import EMBEDDED_KERNELS, HARDWARE, embedded_kernels
from roofline_lab.ground_truth.load import Id, Text
from roofline_lab.ground_truth.reading import ids_of_set
from roofline_lab.hypotheses.arms import Arm, resolve_arm
from roofline_lab.hypotheses.spec import ENGINE_KEY, Hypothesis, load_hypothesis
from roofline_lab.places import listed, place_of
from roofline_lab.predict.coverage import coverage_of
from roofline_lab.predict.fleet import FleetPredictor
from roofline_lab.predict.predictors import CalibratedPredictor, NamedPredictor, OptionsPredictor, Predictor
from roofline_lab.project import Project
from roofline_lab.simulators.description import FittedTo, load_simulators
from roofline_lab.trust import ENDING
from roofline_lab.trust.held_out import HeldOut, read_held_out
from roofline_lab.trust.intervals import validation_of
from simulator.engine.options import EngineOptions
from simulator.errors import ConfigError
from simulator.steptime.fleet import EFFECTS, is_fleet, load_fleet
from simulator.steptime.named import BUILT_IN, DATA_SHEET, ROOFLINE, V2
from simulator.steptime.options import parse_options
from simulator.validation import StrictModel, config_error, parse, read_yaml, suggest

FILE = Path("configs/replay.yaml")
SHELF = Path("configs") / HARDWARE
# The method under which an arm predicts load points as they were measured, where its hypothesis names none that does.
METHOD = "multi_rate"
ALLOWED = (
    "a name in configs/calibration, roofline, v2, v1 or data_sheet, the path of a calibration or of a YAML file with "
    "step-time options, or HYPOTHESIS:ARM"
)
# What the constants of step-time models that go by a name rest on; nobody says what those of `v1` were tuned to.
_BANDWIDTH = (
    "kernel curves of timed GEMMs and attention on the H100; the share of bandwidth there chosen on one request "
    "at a time (configs/hardware/sustained/h100-sxm.yaml)"
)
FITTED_TO: Mapping[str, FittedTo] = {
    ROOFLINE: FittedTo(said=_BANDWIDTH, sets=("synchronous_13",)),
    V2: FittedTo(said=f"{_BANDWIDTH}; formulas of the upstream program", sets=("synchronous_13",)),
    DATA_SHEET: FittedTo(said="nothing: peaks of the data sheet, and no time beside the work"),
}


# --- a word of the command line ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chosen:
    """A predictor and the content hash of the files it was read from."""

    predictor: Predictor
    digest: str


def load_predictor(root: Path, text: str, option: str = "--steptime") -> Chosen:
    """Return the predictor that `text` names; see the module.

    Parameters
    ----------
    root
        The project.
    text, option
        What a person wrote, and the option it was written behind.

    Raises
    ------
    ConfigError
        If nothing is meant by it, or the file it names is wrong.
    """
    if Path(text).is_file():
        return _file(root, Path(text), option)
    named = place_of(root, FOLDER / f"{text}.yaml")
    if named.is_file():
        return _calibration(root, named)
    if text in BUILT_IN:
        return _named(root, text)
    if ":" in text:
        hypothesis, _, arm = text.partition(":")
        return _arm(root, hypothesis, arm, option)
    known = [*(path.stem for path in listed(root, FOLDER, "*.yaml")), *BUILT_IN]
    raise ConfigError(f"{option}: no calibration '{text}'; give {ALLOWED} ({suggest(text, known)})")


def default_name(root: Path, hardware_id: str) -> str:
    """Return what a GPU is predicted with where nobody names anything: the calibration that covers it, else `roofline`.

    Source: the default of the simulator's command line (`simulator.steptime.named.default_name`).
    """
    for path in listed(root, FOLDER, "*.yaml"):
        if (load_fleet(path) if is_fleet(path) else load_calibration(path)).covers(hardware_id):
            return path.stem
    return ROOFLINE


@lru_cache(maxsize=64)
def fitted_experiments(root: Path, fitted: FittedTo | None) -> frozenset[str]:
    """Return the ids of the experiments something was fitted to.

    Raises
    ------
    ConfigError
        If it names a set that is not there.
    """
    return frozenset(member for name in (fitted.sets if fitted else ()) for member in ids_of_set(root, name))


def _named(root: Path, name: str) -> Chosen:
    fitted, files = FITTED_TO.get(name), [place_of(root, EMBEDDED_KERNELS), *listed(root, SHELF, "sustained/*.yaml")]
    seen = fitted_experiments(root, fitted)
    predictor = NamedPredictor(name, fitted, seen, embedded_kernels(root), root)
    return Chosen(predictor, digest_of_files(files, root))


def _file(root: Path, path: Path, option: str) -> Chosen:
    content = read_yaml(path)
    if isinstance(content, Mapping) and ("constants" in content or EFFECTS in content):
        return _calibration(root, path)
    if not isinstance(content, Mapping) or "family" not in content:
        raise ConfigError(f"{option}: {path.name}: has neither 'constants' nor 'family'; give {ALLOWED}")
    engine = content.get(ENGINE_KEY, {})
    parse(EngineOptions, engine, source=f"{path.name}: {ENGINE_KEY}")
    options = parse_options({key: value for key, value in content.items() if key != ENGINE_KEY}, source=path.name)
    embedded = embedded_kernels(root)
    described = f"options of {path.name} (step-time model {options.family})"
    predictor = OptionsPredictor(path.stem, described, Arm(path.stem, options, engine), embedded)
    return Chosen(predictor, digest_of_files([path], path.parent))


def _calibration(root: Path, path: Path) -> Chosen:
    held_out = path.with_name(f"{path.stem}{ENDING}")
    files = [path, *([held_out] if held_out.is_file() else [])]
    rows = read_held_out(held_out) if held_out.is_file() else None
    return Chosen(_predictor(root, path, rows), digest_of_files(files, path.parent))


def _predictor(root: Path, path: Path, rows: tuple[HeldOut, ...] | None) -> Predictor:
    """Return the predictor of a calibration file with what was held out of it."""
    if is_fleet(path):
        fleet = load_fleet(path)
        return FleetPredictor(fleet.name, fleet, None if rows is None else validation_of(fleet.name, rows))
    calibration = load_calibration(path)
    validation = None if rows is None else validation_of(calibration.name, rows)
    return CalibratedPredictor(calibration.name, calibration, coverage_of(calibration, root), validation)


def _arm(root: Path, hypothesis: str, arm: str, option: str) -> Chosen:
    path = root / "hypotheses" / hypothesis / "hypothesis.yaml"
    known = [file.parent.name for file in (root / "hypotheses").glob("*/hypothesis.yaml")]
    if not path.is_file():
        raise ConfigError(f"{option}: unknown hypothesis '{hypothesis}'; {suggest(hypothesis, known)}")
    if "arms" not in (read_yaml(path) or {}) or read_yaml(path).get("kind") == "synthetic":
        raise ConfigError(f"{option}: {hypothesis}: prices generated batches, it has no arm that predicts a server")
    spec: Hypothesis = load_hypothesis(path, root)
    methods = load_methods(root)
    if arm not in spec.arms:
        raise ConfigError(f"{option}: {hypothesis}: unknown arm '{arm}'; {suggest(arm, spec.arms)}")
    method = _method(spec, methods, option)
    resolved = resolve_arm(spec, method, arm, None, load_simulators(root))
    if not resolved.simulator.is_builtin:
        raise ConfigError(
            f"{option}: {hypothesis}:{arm} is predicted by '{resolved.simulator.name}', which is asked for hypotheses "
            "alone; name an arm of our simulator, or make a hypothesis on these measurements"
        )
    predictor = OptionsPredictor(
        name=f"{hypothesis}:{arm}",
        described=f"arm {arm} of {hypothesis} ({spec.title})",
        arm=resolved,
        embedded=embedded_kernels(root),
    )
    files = [path, place_of(root, f"configs/methods/{method.id}.yaml"), place_of(root, EMBEDDED_KERNELS)]
    return Chosen(predictor, digest_of_files(files, root))


def _method(spec: Hypothesis, methods: Mapping[str, Method], option: str) -> Method:
    """Return the hypothesis' own method of replaying load points as measured, else the usual one."""
    own = [name for name in spec.methods if methods[name].workload.arrivals is Arrivals.AS_MEASURED]
    chosen = methods.get(own[-1] if own else METHOD)
    if chosen is None:
        raise ConfigError(f"{option}: configs/methods/{METHOD}.yaml is missing, by which arms predict load points")
    return chosen


# --- sets of options of replayed traces -------------------------------------------------------------


class ArmReference(StrictModel):
    """An arm of a hypothesis under one of the methods."""

    hypothesis: Text
    method: Text
    arm: Text


class OptionSetEntry(StrictModel):
    """One entry of the file; `label` heads its columns, and it has either an `arm` or a `calibration`."""

    id: Id
    label: Text
    meaning: Text
    arm: ArmReference | None = None
    calibration: Id | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.arm is None) == (self.calibration is None):
            raise ValueError("give either arm or calibration")
        return self


class ReplaySettings(StrictModel):
    """The content of the file."""

    option_sets: Annotated[tuple[OptionSetEntry, ...], Field(min_length=1)]


@dataclass(frozen=True)
class OptionSet:
    """One set of options, resolved.

    Attributes
    ----------
    source
        Where the options come from, in words.
    digest
        A hash of everything that is decided.
    """

    id: str
    label: str
    meaning: str
    source: str
    digest: str
    make: Callable[[], Predictor] = field(repr=False)

    @cached_property
    def predictor(self) -> Predictor:
        """Return who predicts load points with these options."""
        return self.make()


def load_option_sets(project: Project) -> tuple[OptionSet, ...]:
    """Read and resolve every set.

    Raises
    ------
    ConfigError
        Naming every wrong key, and every arm or calibration that does not exist.
    """
    entries = parse(ReplaySettings, read_yaml(place_of(project.root, FILE)), source=FILE.as_posix()).option_sets
    ids = [entry.id for entry in entries]
    problems = [f"option_sets: id '{name}' is used twice" for name in sorted(set(ids)) if ids.count(name) > 1]
    problems += [
        f"option_sets.{place}.{problem}"
        for place, entry in enumerate(entries)
        if (problem := _problem(project, entry)) is not None
    ]
    if problems:
        raise config_error(FILE.as_posix(), problems)
    return tuple(_resolved(project, entry) for entry in entries)


def _problem(project: Project, entry: OptionSetEntry) -> str | None:
    """Return what of an entry does not exist."""
    if entry.arm is None:
        known = [path.stem for path in listed(project.root, FOLDER, "*.yaml")]
        return _unknown("calibration", entry.calibration or "", known)
    unknown = _unknown("arm.hypothesis", entry.arm.hypothesis, project.hypotheses)
    unknown = unknown or _unknown("arm.method", entry.arm.method, project.methods)
    unknown = unknown or _unknown("arm.arm", entry.arm.arm, project.hypotheses[entry.arm.hypothesis].arms)
    return unknown or _of_another(project, entry.arm)


def _of_another(project: Project, reference: ArmReference) -> str | None:
    arms = project.arms(reference.hypothesis, reference.method)
    simulator = next(arm.simulator for arm in arms if arm.name == reference.arm)
    told = f"arm.arm: '{reference.arm}' is predicted by '{simulator.name}', which has no step times of ours"
    return None if simulator.is_builtin else f"{told}; name an arm of our simulator"


def _unknown(key: str, name: str, known: Iterable[str]) -> str | None:
    words = list(known)
    return None if name in words else f"{key}: unknown '{name}'; {suggest(name, words)}"


def _resolved(project: Project, entry: OptionSetEntry) -> OptionSet:
    found = _calibrated(project, entry.calibration or "") if entry.arm is None else _steps_of_arm(project, entry.arm)
    return OptionSet(entry.id, entry.label, entry.meaning, *found)


def _calibrated(project: Project, name: str) -> tuple[str, str, Callable[[], Predictor]]:
    """Return source, digest and predictor of a calibration."""
    calibration = load_calibration(place_of(project.root, FOLDER / f"{name}.yaml"))
    decides = [calibration.values, calibration.held_out, list(calibration.trained_on.families)]
    return (
        f"`held_out` of `{FOLDER}/{name}.yaml`",
        digest_of(decides),
        lambda: CalibratedPredictor(name, calibration, coverage_of(calibration, project.root)),
    )


def _steps_of_arm(project: Project, reference: ArmReference) -> tuple[str, str, Callable[[], Predictor]]:
    """Return source, digest and predictor of an arm: its step times, on the server and the client as measured."""
    arms = project.arms(reference.hypothesis, reference.method)
    steptime = next(arm for arm in arms if arm.name == reference.arm).steptime
    source = f"arm `{reference.arm}` of `{reference.hypothesis}`, method `{reference.method}`"
    return (
        source,
        # Departures alone: an option added with a default that changes nothing is no other arm.
        digest_of({"family": steptime.family, **steptime.model_dump(mode="json", exclude_defaults=True)}),
        lambda: OptionsPredictor(
            reference.arm,
            source,
            Arm(reference.arm, steptime, {}),
            embedded_kernels(project.root),
        ),
    )
