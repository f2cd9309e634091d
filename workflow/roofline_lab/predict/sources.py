"""Experiments of a folder anywhere on disk, read one by one.

Contract: `find_experiments` says which files a path stands for, or raises before anything is read;
`read_experiments` gives one `Source` per file in order of their places. An experiment that cannot be
read is a source with a reason, and never costs the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE, experiment_from
from simulator.errors import ConfigError, RooflineLabError
from simulator.validation import read_yaml

IMPORT_FIRST = (
    "results of GuideLLM, inference-perf or vllm bench serve become such files with `roofline-lab import` "
    "(docs/importing.md); docs/ground-truth.md describes the format"
)


@dataclass(frozen=True, slots=True)
class Source:
    """One experiment file.

    Attributes
    ----------
    place
        What pages call it: its folder relative to the one evaluated.
    experiment
        What it says; None if it cannot be used, for `reason`.
    """

    place: str
    path: Path
    experiment: Experiment | None
    reason: str = ""


def find_experiments(path: Path) -> tuple[Path, ...]:
    """Return the experiment files a path stands for, sorted.

    Parameters
    ----------
    path
        An experiment's file or folder, or a folder that holds experiments at any depth.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise ConfigError(f"{path}: no such file or folder; give an experiment, or a folder that holds some")
    if (path / EXPERIMENT_FILE).is_file():
        return (path / EXPERIMENT_FILE,)
    found = [one for one in path.rglob(EXPERIMENT_FILE) if not _hidden(one.relative_to(path))]
    if not found:
        raise ConfigError(f"{path}: no {EXPERIMENT_FILE} in this folder or below; {IMPORT_FIRST}")
    return tuple(sorted(found, key=lambda one: one.relative_to(path).as_posix()))


def folders_without(path: Path, files: Iterable[Path]) -> tuple[str, ...]:
    """Return the subfolders of a folder of experiments in which none was found, so that none is missed unnoticed."""
    if not path.is_dir() or (path / EXPERIMENT_FILE).is_file():
        return ()
    used = {file.relative_to(path).parts[0] for file in files}
    # Descriptions of models and GPUs may stand beside experiments.
    known = {*used, "models", "hardware", "configs"}
    return tuple(sorted(one.name for one in path.iterdir() if one.is_dir() and one.name not in known and _seen(one)))


def read_experiments(path: Path, files: Iterable[Path]) -> tuple[Source, ...]:
    """Read every file; an id that is given twice belongs to the first."""
    taken: dict[str, str] = {}
    return tuple(_read(path, file, taken) for file in files)


def _read(path: Path, file: Path, taken: dict[str, str]) -> Source:
    place = _place(path, file)
    try:
        content = read_yaml(file)
        name = str(content.get("id", place)) if isinstance(content, Mapping) else place
        experiment = experiment_from(content, source=f"{place}/{file.name}", name=name, folder=file.parent)
    except RooflineLabError as error:
        return Source(place, file, None, _without_folders(str(error), file))
    first = taken.setdefault(experiment.id, place)
    if first != place:
        return Source(place, file, None, f"id: '{experiment.id}' is that of {first} too; give each experiment its own")
    return Source(place, file, experiment)


def _place(path: Path, file: Path) -> str:
    """Name an experiment by its folder, so that pages do not depend on where the folder lies."""
    inside = file.relative_to(path).parent.as_posix() if path.is_dir() else "."
    return file.absolute().parent.name if inside == "." else inside


def _without_folders(message: str, file: Path) -> str:
    return message.replace(f"{file.parent}/", "")


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _seen(folder: Path) -> bool:
    return not folder.name.startswith(".") and any(folder.iterdir())
