"""The committed page of replayed traces: what it was made from, and whether it is still true.

Contract: `write_report` writes every file of a replay, the page last; `judge` says, without the traces, whether a
committed page is as it was written and made with the data and options that are there now. An edited page is a failure.
One whose inputs changed is told of and no failure, because only who has the traces can make it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roofline_lab.files import DIGEST_CHARACTERS, digest_of_files, json_text, write_text
from roofline_lab.ground_truth.catalog import EMBEDDED_KERNELS
from roofline_lab.ground_truth.reading import load_experiment
from roofline_lab.predict.choose import OptionSet, load_option_sets
from roofline_lab.predict.recording import Recording
from roofline_lab.project import Project
from simulator.errors import ConfigError

FOLDER = Path("reports/replay")
PROVENANCE = "provenance.json"
AGAIN = f"`roofline-lab replay TRACES --out {FOLDER.as_posix()}` makes it again"
Fault = tuple[str, str, str]


def write_report(folder: Path, files: dict[str, str], made_of: dict[str, Any]) -> None:
    """Write every file and its record, the page last; files of an earlier replay that are not made any more go.

    Raises
    ------
    ConfigError
        If `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder}: is a file; give a folder")
    for name in sorted(set(_recorded_files(folder)) - set(files)):
        (folder / name).unlink(missing_ok=True)
    page = list(files)[-1]
    (folder / page).unlink(missing_ok=True)
    record = {**made_of, "files": {name: _digest(text) for name, text in files.items()}}
    for name, text in {**files, PROVENANCE: json_text(record)}.items():
        if name != page:
            write_text(folder / name, text)
    write_text(folder / page, files[page])


def provenance(project: Project, recordings: Sequence[Recording], option_sets: Sequence[OptionSet]) -> dict[str, Any]:
    """Return what a page is made from: content hashes of data, options and traces."""
    experiments = sorted({recording.experiment.id for recording in recordings})
    return {
        "hashes": _hashes(project, experiments, option_sets),
        "experiments": experiments,
        "traces": {recording.source: recording.digest for recording in recordings},
    }


def judge(project: Project) -> tuple[str, list[Fault]]:
    """Return one sentence about the committed page, and what is wrong with it: file, where, what."""
    folder = project.root / FOLDER
    if not folder.is_dir():
        return f"check replay: no page of replayed traces is committed; {AGAIN}", []
    record = _record(folder)
    if not isinstance(record, dict) or not isinstance(record.get("files"), dict):
        return "check replay: the committed page differs", [_fault(PROVENANCE, f"missing or no record; {AGAIN}")]
    faults = [_fault(name, what) for name, what in _file_faults(folder, record["files"])]
    if faults:
        return "check replay: the committed page differs", faults
    changed = _changed(project, record)
    if changed:
        return f"check replay: STALE, made before a change of {', '.join(changed)}; {AGAIN}", []
    return "check replay: the committed page is as written, and its inputs have not changed since", []


def _file_faults(folder: Path, stated: dict[str, str]) -> list[tuple[str, str]]:
    there = {path.name for path in folder.iterdir()} - {PROVENANCE}
    found = [(name, "is in the record, but missing from the report") for name in sorted(set(stated) - there)]
    found += [(name, "belongs to no replay; delete it") for name in sorted(there - set(stated))]
    for name in sorted(there & set(stated)):
        if _digest((folder / name).read_text(encoding="utf-8", errors="replace")) != stated[name]:
            found.append((name, f"is not as it was written; {AGAIN}"))
    return found


def _changed(project: Project, record: dict[str, Any]) -> list[str]:
    """Return what of the inputs changed, in words."""
    try:
        now = _hashes(project, record.get("experiments", []), load_option_sets(project))
    except (ConfigError, OSError) as error:
        return [f"what it refers to ({error})"]
    before = record.get("hashes", {})
    return [name for name, digest in now.items() if before.get(name) != digest]


def _hashes(project: Project, experiments: Sequence[str], option_sets: Sequence[OptionSet]) -> dict[str, str]:
    root = project.root
    measured = [path for name in experiments for path in sorted((root / "ground_truth" / name).glob("*.yaml"))]
    ran = [load_experiment(root / "ground_truth" / name) for name in experiments]
    configured = {project.model_file(experiment.model) for experiment in ran}
    configured |= {project.hardware_file(experiment.hardware) for experiment in ran}
    options = "".join(f"{tried.id} {tried.label} {tried.meaning} {tried.digest}\n" for tried in option_sets)
    return {
        "measurements": digest_of_files(measured, root),
        "models, hardware, kernels": digest_of_files([*configured, root / EMBEDDED_KERNELS], root),
        "options": _digest(options),
    }


def _record(folder: Path) -> Any:
    try:
        return json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _recorded_files(folder: Path) -> list[str]:
    """Return names an earlier replay recorded; never a path out of the folder."""
    record = _record(folder)
    names = record.get("files", {}) if isinstance(record, dict) else {}
    return [name for name in names if Path(name).name == name]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]


def _fault(name: str, what: str) -> Fault:
    return (f"{FOLDER.as_posix()}/{name}", "file", what)
