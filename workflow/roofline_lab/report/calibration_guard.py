"""Whether the committed calibrations are as they were written, and what they rest on is still the same.

Contract: a calibration takes too long for a check, so each folder of `reports/calibration` has a record of its own
(`recorded`): hashes of page, tables and figures, and of the constants and held-out predictions in
`configs/calibration`. What was measured is in the constants themselves (`trained_on.data_sha256`). `judge` tells an
edited file, which fails a check, from a stale page, which is named with what changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from roofline_lab.calibration.fleet.jobs import experiments_of
from roofline_lab.calibration.fleet.plan import FOLDER as FLEET_PLANS
from roofline_lab.calibration.fleet.plan import fleet_plan_names
from roofline_lab.calibration.plan import (
    FOLDER,
    PLANS,
    REPORTS,
    data_digest,
    digest_of_experiments,
    plan_names,
    terms_discussion_path,
)
from roofline_lab.files import digest_of_files
from roofline_lab.predict.onto import Request, prepare
from roofline_lab.report import onto
from roofline_lab.report.recorded import (
    PROVENANCE,
    Fault,
    file_digest,
    file_faults,
    read_record,
    record_text,
    told,
)
from roofline_lab.trust import ENDING
from simulator.errors import RooflineLabError
from simulator.validation import read_yaml


def kind_of(root: Path, name: str) -> str:
    """Return how a calibration is made: of a `plan`, of a `fleet`, or carried `onto` a GPU."""
    if name in plan_names(root):
        return "plan"
    return "fleet" if name in fleet_plan_names(root) else "onto"


def record_of(root: Path, name: str, files: Mapping[str, str]) -> str:
    """Return the record of a calibration whose constants are written; `files` of its folder, name to text."""
    constants = {path.name: file_digest(path) for path in _constants(root, name) if path.exists()}
    return record_text(files, {"constants": constants, "discussion": _discussion(root, name)})


def record_of_folder(root: Path, name: str) -> str:
    """Return the record of a calibration as its folder lies there."""
    paths = sorted(path for path in (root / REPORTS / name).iterdir() if path.name != PROVENANCE)
    return record_of(root, name, {path.name: path.read_text(encoding="utf-8") for path in paths})


def record_of_carried(request: Request, files: Mapping[str, str]) -> str:
    """Return the record of a calibration that is carried over, whose constants are among its files."""
    carried = {"onto": request.onto, "from": request.donor, "with": list(request.runs)}
    return record_text(files, {"carried": carried})


def judge(root: Path) -> Iterator[tuple[str, list[Fault]]]:
    """Yield one sentence about every committed calibration, and what is wrong with it."""
    for folder in sorted(path for path in (root / REPORTS).glob("*") if path.is_dir()):
        record = read_record(folder)
        again = _again(root, folder.name, record)
        faults = [
            (f"{REPORTS}/{folder.name}/{name}", "file", what) for name, what in file_faults(folder, record, again)
        ]
        faults += [(f"{FOLDER}/{name}", "file", what) for name, what in _edited(root, folder.name, record, again)]
        changed = [] if faults else list(_changed(root, folder.name, record))
        yield told(f"calibration {folder.name}", faults, changed, again), faults


def _edited(root: Path, name: str, record: Mapping[str, Any], again: str) -> Iterator[tuple[str, str]]:
    stated = record.get("constants", {})
    for path in _constants(root, name):
        if path.exists() and file_digest(path) != stated.get(path.name):
            yield path.name, f"is not as it was written; {again}"
        elif not path.exists() and path.name in stated:
            yield path.name, f"is missing; {again}"


def _changed(root: Path, name: str, record: Mapping[str, Any]) -> Iterator[str]:
    """Yield what changed since, in words."""
    try:
        if _measured_then(root, name) != _measured_now(root, name, record):
            yield "measurements, plan or donor"
        if record.get("discussion", "") != _discussion(root, name):
            yield "the discussion"
    except (RooflineLabError, OSError, LookupError) as error:
        yield f"what it refers to ({error})"


def _measured_then(root: Path, name: str) -> str:
    folder = REPORTS / name if kind_of(root, name) == "onto" else FOLDER
    content: Any = read_yaml(root / folder / f"{name}.yaml")
    return str(content["trained_on"]["data_sha256"])


def _measured_now(root: Path, name: str, record: Mapping[str, Any]) -> str:
    kind = kind_of(root, name)
    if kind == "plan":
        return data_digest(root, name)
    if kind == "fleet":
        return digest_of_experiments(root, experiments_of(root, name), [(FLEET_PLANS / f"{name}.yaml").as_posix()])
    carried = record["carried"]
    return onto.data_digest(prepare(Request(root, carried["onto"], carried["from"], tuple(carried["with"]))))


def _again(root: Path, name: str, record: Mapping[str, Any]) -> str:
    """Return what makes a calibration again."""
    kind = kind_of(root, name)
    if kind != "onto":
        return f"`snakemake {'calibrate' if kind == 'plan' else 'calibrate_fleet'}` makes it again"
    carried = record.get("carried", {"onto": "GPU", "from": "CALIBRATION", "with": ["RUN"]})
    runs = " ".join(f"--with {run}" for run in carried["with"])
    start = f"roofline-lab calibrate --onto {carried['onto']} --from {carried['from']} {runs}"
    return f"`{start} --out {REPORTS / name} --force` makes it again"


def _discussion(root: Path, name: str) -> str:
    """Return a hash of what an author wrote for the page; nothing where nobody wrote."""
    paths = [root / place for place in (PLANS / f"{name}.md", terms_discussion_path(name), FLEET_PLANS / f"{name}.md")]
    there = [path for path in paths if path.exists()]
    return digest_of_files(there, root) if there else ""


def _constants(root: Path, name: str) -> list[Path]:
    return [root / FOLDER / f"{name}.yaml", root / FOLDER / f"{name}{ENDING}"]
