"""Writing imported experiments: all of an import or nothing.

Contract: `write_all` writes every experiment beside the project's ground truth, checks it as it will be read, flags
what its figures and requests show, and only then moves all of them to their places. An import that fails or is
interrupted leaves `ground_truth` as it was.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from roofline_lab.files import write_text
from roofline_lab.ground_truth.catalog import MODELS
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.experiment_lint import seen_among, seen_in, unflagged
from roofline_lab.ground_truth.load import LoadPoint, Saturation
from roofline_lab.ground_truth.quality import Flag, QualityFlag, flag_sentence
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE, Words, experiment_from, words_of
from roofline_lab.ground_truth.requests import REQUESTS_FILE, requests_text
from roofline_lab.importers.common import Measurement
from roofline_lab.importers.overrides import Overrides, UnknownNameError, brought_model, named
from roofline_lab.importers.server_sources import read_mapping
from simulator.errors import ConfigError
from simulator.model_files import load_model, parts_of

GROUND_TRUTH = "ground_truth"
# Where an import is prepared, beside `ground_truth`, so that moving it is one step.
STAGING_PREFIX = ".import-"
# The folder in it of a model that a person brings; no experiment has that name.
STAGED_MODEL = ".model"

SCHEMA_LINE = "# yaml-language-server: $schema=../experiment.schema.json\n"
LINE_CHARACTERS = 110


@dataclass(frozen=True, slots=True)
class Written:
    """What an import wrote, and the sentences that say what it did."""

    experiment: Experiment
    folder: Path
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotImported:
    """A run that could not be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the runs of an import."""

    written: tuple[Written, ...]
    refused: tuple[NotImported, ...] = ()


def project_of(out: Path, root: Path | None = None) -> Path:
    """Return the project whose names an experiment uses: the one it is written into, or the one a person named.

    Raises
    ------
    ConfigError
        If `out` is no new folder, or neither it nor `root` tells the project.
    """
    out = out.absolute()
    if root is not None and not (root.absolute() / GROUND_TRUTH / "vocabulary.yaml").is_file():
        raise ConfigError(f"--root: {root} has no {GROUND_TRUTH}/vocabulary.yaml; name the project's folder")
    if root is None and (out.parent.name != GROUND_TRUTH or not (out.parent / "vocabulary.yaml").is_file()):
        raise ConfigError(
            f"--out: must be {GROUND_TRUTH}/<id> inside a project, got {out}; to write elsewhere, name the project "
            "whose models and GPUs are used with --root"
        )
    if out.exists() or out.is_symlink():
        raise ConfigError(f"--out: {out} exists already; choose another id, or remove it first")
    return root.absolute() if root is not None else out.parent.parent


def write_all(
    found: Mapping[Path, Measurement], root: Path, overrides: Overrides, *, each_alone: bool = False
) -> Imported:
    """Write experiments into `ground_truth` of a project, or into a folder elsewhere.

    Parameters
    ----------
    found
        What was read, by the folder it becomes.
    root
        The project whose names are used.
    overrides
        What a person says about all of them.
    each_alone
        Whether one that does not fit together, or names what nobody describes, is left out with its reason.

    Raises
    ------
    ConfigError
        If one of them, or `each_alone` all of them, cannot be used, or nothing can be written; none is there then.
    """
    parent = next(iter(found)).absolute().parent
    beside = None if parent.resolve() == (root / GROUND_TRUTH).resolve() else parent
    words = words_of(root) if beside is None else Words()
    try:
        (beside or root).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=beside or root, prefix=STAGING_PREFIX, ignore_cleanup_errors=True) as name:
            others = [*_others(root / GROUND_TRUTH), *(_others(beside) if beside else ())]
            written: list[Written] = []
            refused: list[NotImported] = []
            for out, measured in found.items():
                try:
                    experiment = named(measured, out.name, overrides, root, beside)
                    source = f"{measured.source}, as experiment '{out.name}'"
                    checked = _prepared(experiment, Path(name) / out.name, source, words, others)
                except UnknownNameError as error:
                    refused.append(NotImported(out.name, str(error) if each_alone else error.with_option))
                except ConfigError as error:
                    refused.append(NotImported(out.name, str(error)))
                else:
                    others.append(checked)
                    written.append(Written(checked.located(out), out, _sentences(measured, checked)))
            if refused and not (each_alone and written):
                raise ConfigError("\n".join(one.reason for one in refused))
            targets = {Path(name) / one.folder.name: one.folder for one in written}
            _move(_kept_model(overrides, root, beside, Path(name)) | targets)
    except ConfigError as error:
        raise ConfigError(f"{error}\nnothing was imported") from None
    except (OSError, UnicodeError) as error:
        place = beside or root / GROUND_TRUTH
        raise ConfigError(f"{place}: cannot be written: {error}; nothing was imported") from None
    return Imported(tuple(written), tuple(refused))


def yaml_text(experiment: Experiment) -> str:
    """Format an experiment as the content of its file, one line per figure."""
    content = experiment.model_dump(exclude_unset=True, exclude_none=True)
    content["quality"] = [flag.model_dump(exclude_defaults=True) for flag in experiment.quality]
    content["load_points"] = content.pop("load_points")
    text: str = yaml.dump(_compact(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LINE_CHARACTERS)
    return SCHEMA_LINE + text


def _prepared(
    experiment: Experiment, folder: Path, source: str, words: Words, others: Sequence[Experiment]
) -> Experiment:
    """Write one experiment into the staging folder, with the flags its own numbers ask for."""
    folder.mkdir()
    requests = experiment.recorded()
    if requests:
        write_text(folder / REQUESTS_FILE, requests_text(requests))
    checked = _written(experiment, folder, source, words)
    missing = unflagged(checked, (*seen_in(checked), *seen_among(checked, others, newest=True)))
    if not missing:
        return checked
    points = tuple(_judged_by(point, missing) for point in experiment.load_points)
    flagged = experiment.model_copy(update={"quality": (*experiment.quality, *missing), "load_points": points})
    return _written(flagged, folder, source, words)


def _judged_by(point: LoadPoint, found: Sequence[QualityFlag]) -> LoadPoint:
    """Return a load point that is saturated where its requests show an overload its reader had no sight of."""
    shown = [flag for flag in found if flag.flag is Flag.OVERLOADED and point.id in flag.load_points]
    if not shown:
        return point
    return point.model_copy(update={"saturation": Saturation(state="saturated", basis=shown[0].text)})


def _written(experiment: Experiment, folder: Path, source: str, words: Words) -> Experiment:
    """Write the experiment's file and return what a reader of it gets."""
    write_text(folder / EXPERIMENT_FILE, yaml_text(experiment))
    content = read_mapping(folder / EXPERIMENT_FILE)
    return experiment_from(content, source=source, name=experiment.id, folder=folder, words=words)


def _others(folder: Path) -> Iterator[Experiment]:
    """Yield the experiments of a folder; one that is broken is no matter of an import."""
    for path in sorted(folder.glob(f"*/{EXPERIMENT_FILE}")):
        try:
            name = path.parent.name
            yield experiment_from(read_mapping(path), source=name, name=name, folder=path.parent)
        except ConfigError:
            continue


def _kept_model(overrides: Overrides, root: Path, beside: Path | None, staging: Path) -> dict[Path, Path]:
    """Prepare the files of a model that a person brings, so that it is found beside the experiment that names it."""
    file = brought_model(overrides.model, root, beside)
    if file is None or beside is None:
        return {}
    prepared = staging / STAGED_MODEL
    prepared.mkdir()
    for name, part in parts_of(file).items():
        shutil.copyfile(part, prepared / name)
    (beside / MODELS).mkdir(exist_ok=True)
    return {prepared: beside / MODELS / load_model(file).id}


def _move(targets: Mapping[Path, Path]) -> None:
    """Move prepared folders to their places, or none of them."""
    moved: list[Path] = []
    try:
        for prepared, target in targets.items():
            prepared.rename(target)
            moved.append(target)
    except BaseException:
        for target in moved:
            shutil.rmtree(target, ignore_errors=True)
        raise


def _sentences(found: Measurement, experiment: Experiment) -> tuple[str, ...]:
    lost = [f"{point.id}: {text}." for point in experiment.load_points if (text := point.requests.lost_text)]
    return (*found.conversions, *lost, *(flag_sentence(flag) for flag in experiment.quality))


# --- one line per figure ----------------------------------------------------------------------


class _OneLine(dict[str, Any]):
    """A mapping written on one line."""


class _OneLineList(list[Any]):
    """A list of plain values, written on as few lines as it needs."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


_Dumper.add_representer(
    _OneLine, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True)
)
_Dumper.add_representer(
    _OneLineList, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)


def _compact(value: Any) -> Any:
    """Mark what is short and flat, so that a figure takes one line."""
    if isinstance(value, Mapping):
        flat = {key: _compact(entry) for key, entry in value.items()}
        short = len(str(flat)) < LINE_CHARACTERS - 20 and len(flat) > 1
        if short and not any(isinstance(entry, dict | list) or len(str(entry)) > 30 for entry in flat.values()):
            return _OneLine(flat)
        return flat
    if isinstance(value, list | tuple):
        plain = not any(isinstance(entry, Mapping | list | tuple) for entry in value)
        return _OneLineList(value) if plain else [_compact(entry) for entry in value]
    return str(value) if isinstance(value, StrEnum) else value
