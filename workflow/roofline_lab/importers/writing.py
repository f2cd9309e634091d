"""Writing imported experiments: all of an import or nothing.

Contract: `write_all` writes every experiment beside the project's ground truth, checks it as it will
be read, flags what its figures and requests show, and only then moves all of them to their places.
An import that fails or is interrupted leaves `ground_truth` as it was.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roofline_lab.files import write_text
from roofline_lab.ground_truth.experiment import Experiment
from roofline_lab.ground_truth.experiment_lint import seen_among, seen_in, unflagged
from roofline_lab.ground_truth.quality import QualityFlag
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE, Words, experiment_from, words_of
from roofline_lab.ground_truth.requests import REQUESTS_FILE, requests_text
from roofline_lab.importers.experiment_text import content_of, yaml_text
from roofline_lab.importers.imported import Imported
from roofline_lab.importers.naming import Names, resolve
from roofline_lab.importers.surroundings import read_mapping
from simulator.errors import ConfigError

GROUND_TRUTH = "ground_truth"
# Where an import is prepared, beside `ground_truth`, so that moving it is one step.
WORKSHOP_PREFIX = ".import-"
# Held while an import runs; the system lets go of it however the import ends.
LOCK_FILE = ".lock"


@dataclass(frozen=True, slots=True)
class Written:
    """What an import wrote, and the sentences that say what it did."""

    experiment: Experiment
    folder: Path
    sentences: tuple[str, ...]


def project_of(out: Path, named: Path | None = None) -> Path:
    """Return the project whose names an experiment uses: the one it is written into, or the one a person named.

    Raises
    ------
    ConfigError
        If `out` is no new folder, or neither it nor `named` tells the project.
    """
    out = out.absolute()
    root = out.parent.parent if named is None else named.absolute()
    if named is not None and not (root / GROUND_TRUTH / "vocabulary.yaml").is_file():
        raise ConfigError(f"--root: {named} has no {GROUND_TRUTH}/vocabulary.yaml; name the project's folder")
    if named is None and (out.parent.name != GROUND_TRUTH or not (out.parent / "vocabulary.yaml").is_file()):
        raise ConfigError(
            f"--out: must be {GROUND_TRUTH}/<id> inside a project, got {out}; to write elsewhere, name the project "
            "whose models and GPUs are used with --root"
        )
    if out.exists() or out.is_symlink():
        raise ConfigError(f"--out: {out} exists already; choose another id, or remove it first")
    return root


def write_all(found: Mapping[Path, Imported], root: Path, names: Names) -> list[Written]:
    """Write experiments into `ground_truth` of a project, or into a folder elsewhere.

    Parameters
    ----------
    found
        What a reader found, by the folder it becomes.
    root
        The project whose names are used.
    names
        What a person says about all of them.

    Raises
    ------
    ConfigError
        If one of them does not fit together or cannot be written; none is there then.
    """
    beside = outside(next(iter(found)), root)
    try:
        with _workshop(beside or root) as workshop:
            others = [*_others(root / GROUND_TRUTH), *(_others(beside) if beside else ())]
            written = []
            for out, imported in found.items():
                written.append(_explained(imported, workshop / out.name, out, root, names, others))
                others.append(written[-1].experiment)
            _move(workshop, [one.folder for one in written])
    except (OSError, UnicodeError) as error:
        place = beside or root / GROUND_TRUTH
        raise ConfigError(f"{place}: cannot be written: {error}; nothing was imported") from None
    return [Written(one.experiment.located(one.folder), one.folder, one.sentences) for one in written]


def outside(out: Path, root: Path) -> Path | None:
    """Return the folder an experiment is written into if that is not the ground truth of the project, else None."""
    parent = out.absolute().parent
    return None if parent.resolve() == (root / GROUND_TRUTH).resolve() else parent


@contextmanager
def _workshop(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(parent)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=WORKSHOP_PREFIX))
    try:
        with (folder / LOCK_FILE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clear_abandoned(parent: Path) -> None:
    """Remove what killed imports left: a running one holds the lock of its workshop."""
    for lock_file in sorted(parent.glob(f"{WORKSHOP_PREFIX}*/{LOCK_FILE}")):
        try:
            with lock_file.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock_file.parent, ignore_errors=True)
        except OSError:  # a running import holds it, or has just removed it
            continue


def _explained(
    found: Imported, folder: Path, out: Path, root: Path, names: Names, others: Sequence[Experiment]
) -> Written:
    """Prepare one experiment; a refusal says that nothing was imported."""
    try:
        return _prepared(found, folder, out, root, names, others)
    except ConfigError as error:
        raise ConfigError(f"{error}\nnothing was imported") from None


def _prepared(
    found: Imported, folder: Path, out: Path, root: Path, names: Names, others: Sequence[Experiment]
) -> Written:
    """Write one experiment into the workshop, with the flags its own numbers ask for."""
    beside = outside(out, root)
    _refuse_unlike(found)
    content = content_of(found, out.name, names, resolve(found, names, root, beside))
    words = words_of(root) if beside is None else Words()
    folder.mkdir()
    if found.requests:
        write_text(folder / REQUESTS_FILE, requests_text(found.requests))
    experiment = _checked(folder, content, found, out.name, words)
    missing = unflagged(experiment, (*seen_in(experiment), *seen_among(experiment, others, newest=True)))
    if missing:
        content["quality"] += [one.quality().model_dump(mode="json", exclude_defaults=True) for one in missing]
        experiment = _checked(folder, content, found, out.name, words)
    return Written(experiment, out, _sentences(found, experiment))


def _refuse_unlike(found: Imported) -> None:
    """Refuse load points whose lengths are not those of the workload and were not recorded one by one."""
    recorded = {request.load_point for request in found.requests}
    problems = [text for point, text in found.unlike_the_workload.items() if point not in recorded]
    if problems:
        raise ConfigError("\n".join(problems))


def _checked(folder: Path, content: Mapping[str, Any], found: Imported, name: str, words: Words) -> Experiment:
    """Write the experiment's file and return what a reader of it gets."""
    write_text(folder / EXPERIMENT_FILE, yaml_text(content))
    source = f"{found.source or found.document}, as experiment '{name}'"
    return experiment_from(read_mapping(folder / EXPERIMENT_FILE), source=source, name=name, folder=folder, words=words)


def _others(folder: Path) -> Iterator[Experiment]:
    """Yield the experiments of a folder; one that is broken is no matter of an import."""
    for path in sorted(folder.glob(f"*/{EXPERIMENT_FILE}")):
        try:
            name = path.parent.name
            yield experiment_from(read_mapping(path), source=name, name=name, folder=path.parent)
        except ConfigError:
            continue


def _move(workshop: Path, targets: Sequence[Path]) -> None:
    """Move prepared folders to their places, or none of them."""
    moved: list[Path] = []
    try:
        for target in targets:
            (workshop / target.name).rename(target)
            moved.append(target)
    except BaseException:
        for target in moved:
            shutil.rmtree(target, ignore_errors=True)
        raise


def _sentences(found: Imported, experiment: Experiment) -> tuple[str, ...]:
    flags = [f"{flag.flag} ({flag.treatment}){_points(flag)}: {flag.text}" for flag in experiment.quality]
    return (*found.conversions, *flags)


def _points(flag: QualityFlag) -> str:
    return f" [{', '.join(flag.load_points)}]" if flag.load_points else ""
