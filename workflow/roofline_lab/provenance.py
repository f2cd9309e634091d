"""What results rest on: the data, recorded beside every report, and the code, which decides what runs again.

A committed record names what was put in and nothing of how it was worked out: it changes when an author, a measurement
or a setting does, not when code is rewritten that gives the same numbers. It holds no time, no host and no path of a
machine, so that the same inputs give the same bytes everywhere. Hashes of code stay in `results/`, one file per stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from roofline_lab.config import Settings
from roofline_lab.files import digest_of, digest_of_files, hash_list, json_text, libraries
from roofline_lab.ground_truth.catalog import EMBEDDED_KERNELS
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE
from roofline_lab.ground_truth.requests import REQUESTS_FILE
from roofline_lab.hypotheses.synthetic.resolve import arm_digests, methods_of
from roofline_lab.hypotheses.synthetic.spec import points
from roofline_lab.places import INSIDE, code_folders, listed, place_of
from roofline_lab.project import Project

SETTINGS_FILE = "configs/lab.yaml"
# What turns files of the ground truth into experiments: nobody below the project imports it, and all rest on it.
READING = "ground_truth.reading"
# What judges hypotheses; only their specs, which are not followed, import it.
CRITERIA = ("hypotheses.criteria", "hypotheses.synthetic.criteria")
# Stage -> the modules that do its work. Whatever they import belongs to the stage too, and so does the simulator.
STAGES: Mapping[str, tuple[str, ...]] = {
    "simulate": ("predict.arms", READING),
    "sweep": ("predict.sweeps", READING),
    "named": ("predict.named", READING),
    "outside": ("predict.outside", READING),
    "ask": ("predict.asking", READING),
    "price": ("predict.synthetic",),
    "score": ("jobs.reports", "report.results", "report.synthetic_results", *CRITERIA, READING),
    "render": ("jobs.reports", "report.findings", "report.synthetic", *CRITERIA, "hypotheses.discussion", READING),
    "compared": ("report.compared", READING),
    "capacity": ("capacity.ask", "report.capacity"),
    "errata": ("errata.evaluation", "report.errata"),
    "index": ("report.index",),
    "calibration_surface": ("calibration.surface",),
    "calibration_fit": ("calibration.jobs", "calibration.terms"),
    "calibration_held_out": ("predict.held_out",),
    "calibration_page": ("report.calibration", "report.calibration_terms"),
}
# Of the settings these stages only use how random arrivals are drawn.
SIMULATING = (
    "simulate",
    "sweep",
    "named",
    "outside",
    "ask",
    "price",
    "calibration_surface",
    "calibration_fit",
    "calibration_held_out",
)
# Modules that know everything because they read or start everything. They count, but not what they import: what
# they make of an author's files reaches a job as a file of its own.
NOT_FOLLOWED = ("project", "hypotheses.spec", "hypotheses.synthetic.spec", "jobs.reports")
_IMPORT = re.compile(r"^[ ]*from roofline_lab([\w.]*) import (\([^)]*\)|[^\n]*)", re.MULTILINE)


def simulator_sources(root: Path) -> list[Path]:
    """Return every source file a simulated number depends on inside `simulator`."""
    simulator, _, _ = code_folders(root)
    return sorted(simulator.rglob("*.py"))


def lab_sources(root: Path) -> list[Path]:
    """Return every source file a report depends on inside `workflow`."""
    return sorted([*modules_of(root).values(), *_templates(root)])


def stage_hashes(root: Path, settings: Settings) -> dict[str, str]:
    """Return stage -> one line per source file, library and setting its results depend on."""
    modules = modules_of(root)
    imports = {name: imported_by(path.read_text(encoding="utf-8"), modules) for name, path in modules.items()}
    simulator, templates = simulator_sources(root), _templates(root)
    lines = {path: hash_list([path], root) for path in (*simulator, *modules.values(), *templates)}
    found = {}
    for stage, entries in STAGES.items():
        used = reachable(entries, imports)
        sources = [*simulator, *(modules[name] for name in used), *(templates if "rendering" in used else ())]
        hashed = "".join(lines[path] for path in sorted(sources))
        found[stage] = f"{hashed}{libraries()}{settings_digest(settings, stage)}  {SETTINGS_FILE}\n"
    return found


def modules_of(root: Path) -> dict[str, Path]:
    """Return every module of the laboratory, by its name inside the package; the package itself has none."""
    _, package, _ = code_folders(root)
    return {
        ".".join(path.relative_to(package).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
        for path in sorted(package.rglob("*.py"))
        if not path.is_relative_to(package / INSIDE)
    }


def imported_by(text: str, modules: Mapping[str, Path]) -> set[str]:
    """Return the modules of the laboratory a source imports, inside functions too."""
    found = set()
    for module, names in _IMPORT.findall(text):
        parent = module.removeprefix(".")
        named = re.findall(r"\w+", re.sub(r"\bas \w+", "", names))
        inner = (f"{parent}.{name}".removeprefix(".") for name in named)
        found |= {parent, *inner} & modules.keys()
    return found


def reachable(entries: Iterable[str], imports: Mapping[str, set[str]]) -> set[str]:
    """Return the entries and everything they import, directly or not."""
    found: set[str] = set()
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += imports[name] if name not in NOT_FOLLOWED else ()
    return found


def settings_digest(settings: Settings, stage: str = "render") -> str:
    """Return a hash of the settings the numbers of a stage depend on; how a check compares is none of them."""
    if stage in SIMULATING:
        return digest_of(settings.arrivals.model_dump(mode="json"))
    return digest_of(settings.model_dump(mode="json", exclude={"check"}))


def run_inputs(project: Project, hypothesis: str, method: str, experiment: str) -> list[Path]:
    """Return the data files one simulated run depends on."""
    root = project.root
    found = {measured.id: measured for measured in project.all_experiments(hypothesis)}[experiment]
    folders = {arm.rules.workload.recordings or method for arm in project.arms(hypothesis, method) if arm.rules}
    measured = root / "ground_truth" / experiment
    return [
        measured / EXPERIMENT_FILE,
        *([measured / REQUESTS_FILE] if found.requests_file is not None else []),
        project.model_file(found.model),
        project.hardware_file(found.hardware),
        place_of(root, EMBEDDED_KERNELS),
        *(path for folder in sorted(folders) for path in listed(root, f"configs/methods/{folder}", "*.csv")),
    ]


def hypothesis_files(root: Path, hypothesis: str) -> list[Path]:
    """Return the author's files of one hypothesis."""
    return sorted(path for path in (root / "hypotheses" / hypothesis).rglob("*") if path.is_file())


def priced_inputs(project: Project, hypothesis: str) -> list[Path]:
    """Return the data files the rows of one synthetic hypothesis depend on."""
    spec = project.synthetic[hypothesis]
    models = {point.model(spec.setup) for sweep in spec.sweeps for point in points(sweep)}
    found = [project.model_file(model) for model in sorted(models)]
    return [*found, project.hardware_file(spec.setup.hardware), place_of(project.root, EMBEDDED_KERNELS)]


def provenance_text(
    project: Project, hypothesis: str, versions: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> str:
    """Return the provenance record of one report as JSON.

    Parameters
    ----------
    versions
        Of the programs of others that its rows were predicted by, by simulator; empty where there are none.
    """
    hashes = {
        "hypothesis": digest_of_files(hypothesis_files(project.root, hypothesis), project.root),
        "settings": settings_digest(project.settings),
    }
    recorded = _priced if hypothesis in project.synthetic else _measured
    runs, more = recorded(project, hypothesis)
    others = {"simulators": {name: list(found) for name, found in versions.items()}} if versions else {}
    return json_text({"hypothesis": hypothesis, "runs": runs, "hashes": hashes | more, **others})


def _measured(project: Project, hypothesis: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the digest of every arm by method, and hashes of what else a measured hypothesis rests on."""
    root, spec = project.root, project.hypotheses[hypothesis]
    runs = project.runs(hypothesis)
    data = {path for run in runs for path in run_inputs(project, hypothesis, run.method.id, run.experiment.id)}
    methods = [place_of(root, f"configs/methods/{method}.yaml") for method in spec.all_methods]
    hashes = {
        "methods": digest_of_files(methods, root),
        "measurements, models, hardware": digest_of_files(data, root),
    }
    tables = {run.arm.simulator.table_file for run in runs} - {None}
    hashes |= {"predictions": digest_of_files([place_of(root, str(name)) for name in tables], root)} if tables else {}
    return {method: project.arm_digests(hypothesis, method) for method in spec.all_methods}, hashes


def _priced(project: Project, hypothesis: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the digest of every arm by kernels, and hashes of what else a synthetic hypothesis rests on."""
    spec = project.synthetic[hypothesis]
    hashes = {"models, hardware, kernels": digest_of_files(priced_inputs(project, hypothesis), project.root)}
    if project.tables_hash:
        hashes["measured tables"] = project.tables_hash
    return {method: arm_digests(project, spec, method) for method in methods_of(project, spec)}, hashes


def code_hashes(root: Path) -> dict[str, str]:
    """Return content hashes of all code and settings, for a page that is kept elsewhere and made only once."""
    return {
        "simulator": digest_of_files(simulator_sources(root), root),
        "laboratory": digest_of_files(lab_sources(root), root),
        "lab.yaml": digest_of_files([place_of(root, SETTINGS_FILE)], root),
        "requirements.lock": digest_of_files([place_of(root, "requirements.lock")], root),
    }


def _templates(root: Path) -> list[Path]:
    _, _, templates = code_folders(root)
    return sorted(templates.rglob("*.j2"))
