"""What a report was made from: content hashes of every input, so that staleness can be seen.

The record names files relative to the project and hashes their content; it holds no time, no host
and no path of a machine, so that the same inputs give the same bytes everywhere.
"""

from __future__ import annotations

from pathlib import Path

from roofline_lab.files import digest_of_files, json_text
from roofline_lab.ground_truth.catalog import EMBEDDED_KERNELS
from roofline_lab.ground_truth.reading import EXPERIMENT_FILE
from roofline_lab.project import Project


def simulator_sources(root: Path) -> list[Path]:
    """Return every source file a simulated number depends on inside `simulator`."""
    return sorted((root / "simulator").rglob("*.py"))


def laboratory_sources(root: Path) -> list[Path]:
    """Return every source file a report depends on inside `workflow`."""
    return sorted(
        [*(root / "workflow" / "roofline_lab").rglob("*.py"), *(root / "workflow" / "templates").rglob("*.j2")]
    )


def run_inputs(project: Project, hypothesis: str, method: str, experiment: str) -> list[Path]:
    """Return the data files one simulated run depends on."""
    root = project.root
    known = (*project.experiments(hypothesis), *project.beyond(hypothesis))
    found = {one.id: one for one in known}[experiment]
    folders = {arm.rules.workload.recordings or method for arm in project.arms(hypothesis, method) if arm.rules}
    return [
        root / "ground_truth" / experiment / EXPERIMENT_FILE,
        project.model_file(found.model),
        project.hardware_file(found.hardware),
        root / EMBEDDED_KERNELS,
        *sorted(path for folder in folders for path in (root / "configs" / "methods" / folder).glob("*.csv")),
    ]


def hypothesis_files(root: Path, hypothesis: str) -> list[Path]:
    """Return the author's files of one hypothesis."""
    return sorted(path for path in (root / "hypotheses" / hypothesis).rglob("*") if path.is_file())


def provenance_text(project: Project, hypothesis: str) -> str:
    """Return the provenance record of one report as JSON."""
    root = project.root
    spec = project.hypotheses[hypothesis]
    data = {
        path
        for run in project.runs(hypothesis)
        for path in run_inputs(project, hypothesis, run.method.id, run.experiment.id)
    }
    methods = [root / "configs" / "methods" / f"{method}.yaml" for method in spec.all_methods]
    hashes = {
        "hypothesis": digest_of_files(hypothesis_files(root, hypothesis), root),
        "methods": digest_of_files(methods, root),
        "measurements, models, hardware": digest_of_files(data, root),
        **code_hashes(root),
    }
    runs = {method: project.arm_digests(hypothesis, method) for method in spec.all_methods}
    return json_text({"hypothesis": hypothesis, "runs": runs, "hashes": hashes})


def code_hashes(root: Path) -> dict[str, str]:
    """Return content hashes of what every report is made with."""
    return {
        "simulator": digest_of_files(simulator_sources(root), root),
        "laboratory": digest_of_files(laboratory_sources(root), root),
        "lab.yaml": digest_of_files([root / "configs" / "lab.yaml"], root),
        "requirements.lock": digest_of_files([root / "requirements.lock"], root),
    }
